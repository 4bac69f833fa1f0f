/* Every byte of the file against what the writer promises. */
#include <stdlib.h>
#include <string.h>

#include "indexer/sparse_format.h"

/* What the postings of one slice say about themselves. */
struct slice {
    uint64_t entries;
    uint8_t max;
};

static wr_status wrong(const wr_sparse *sparse, uint64_t term, const char *what, wr_err *err)
{
    return wr_fail(err, WR_EFORMAT, "%s: term %llu: %s", sparse->path, (unsigned long long)term, what);
}

/* Checks one posting and counts it; *next is the least docid it may have. NULL when it is sound. */
static const char *check_posting(const wr_sparse *sparse, uint64_t docid, uint8_t q, uint64_t *next,
                                 struct slice *slice)
{
    if (docid < *next) return "docids do not ascend";
    if (docid >= sparse->header.ndocs) return "a docid is beyond the documents";
    if (q == 0) return "an impact is 0";
    *next = docid + 1;
    slice->entries++;
    if (q > slice->max) slice->max = q;
    return NULL;
}

static const char *check_list(const wr_sparse *sparse, const sparse_term *term)
{
    uint64_t next = 0;
    struct slice all = {0};
    const char *what = NULL;
    for (uint32_t i = 0; i < term->df && !what; i++)
        what = check_posting(sparse, term->docid[i], term->impact[i], &next, &all);
    if (!what && all.max != term->max) what = "its largest impact is not the one in the term table";
    return what;
}

static const char *check_low_slice(const wr_sparse *sparse, const sparse_term *term, uint32_t g, uint32_t from,
                                   uint32_t n, struct slice *slice)
{
    uint64_t base = (uint64_t)g * GROUP_DOCS, next = base;
    const char *what = NULL;
    for (uint32_t i = from; i < from + n && !what; i++) {
        if (term->low[i] >= GROUP_DOCS) return "a docid is beyond its group";
        what = check_posting(sparse, base + term->low[i], term->impact[i], &next, slice);
    }
    return what;
}

static const char *check_block_slice(const wr_sparse *sparse, const sparse_term *term, uint32_t g, uint32_t from,
                                     uint32_t n, struct slice *slice)
{
    const uint8_t *low = term->impact + 2 * (size_t)from, *impact = low + n;
    const unsigned char *record = term->record + (size_t)g * GROUP_RECORD;
    uint16_t first[GROUP_BLOCKS + 1];
    memcpy(first, record, 2 * GROUP_BLOCKS);
    first[GROUP_BLOCKS] = (uint16_t)n;
    if (first[0] != 0) return "the first block does not begin its group";
    for (uint32_t b = 0; b < GROUP_BLOCKS; b++) {
        uint64_t base = (uint64_t)g * GROUP_DOCS + b * BLOCK_DOCS, next = base;
        struct slice block = {0};
        if (first[b] > first[b + 1] || first[b + 1] > n) return "its blocks do not ascend";
        for (uint32_t i = first[b]; i < first[b + 1]; i++) {
            if (low[i] >= BLOCK_DOCS) return "a docid is beyond its block";
            const char *what = check_posting(sparse, base + low[i], impact[i], &next, &block);
            if (what) return what;
        }
        if (block.max != record[2 * GROUP_BLOCKS + b]) return "a block's largest impact is not the one stored";
        slice->entries += block.entries;
        if (block.max > slice->max) slice->max = block.max;
    }
    return NULL;
}

static const char *check_slices(const wr_sparse *sparse, const sparse_term *term)
{
    uint32_t at = 0;
    uint8_t max = 0;
    if (term->start[0] != 0 || term->start[sparse->ngroups] != term->df) return "its groups do not hold its postings";
    for (uint32_t g = 0; g < sparse->ngroups; g++) {
        uint32_t from, n;
        struct slice slice = {0};
        sparse_slice(term, g, &from, &n);
        if (n == 0 && term->start[g] != term->start[g + 1]) return "its groups do not ascend";
        const char *what = term->shape == SHAPE_GROUPS ? check_low_slice(sparse, term, g, from, n, &slice)
                                                       : check_block_slice(sparse, term, g, from, n, &slice);
        if (what) return what;
        if (slice.max != term->group_max[g]) return "a group's largest impact is not the one stored";
        if (slice.max > max) max = slice.max;
        at += n;
    }
    if (at != term->df) return "its groups do not hold its postings";
    return max == term->max ? NULL : "its largest impact is not the one in the term table";
}

static const char *check_names(const wr_sparse *sparse, const sparse_entry *before, const sparse_entry *entry)
{
    if (entry->name != before->name + before->name_len) return "its name does not follow the one before";
    size_t n = before->name_len < entry->name_len ? before->name_len : entry->name_len;
    int order = memcmp(sparse->names + before->name, sparse->names + entry->name, n);
    if (before->name_len > 0 && (order > 0 || (order == 0 && before->name_len >= entry->name_len)))
        return "terms are not in byte order";
    return NULL;
}

wr_status wr_sparse_verify(const wr_sparse *sparse, wr_err *err)
{
    const sparse_header *h = &sparse->header;
    sparse_entry before = {0};
    uint64_t end = 0, postings = 0;
    for (uint64_t id = 0; id < h->nterms; id++) {
        sparse_entry entry;
        sparse_term term;
        if (!sparse_entry_get(sparse, id, &entry) || !sparse_term_get(sparse, id, &term))
            return wrong(sparse, id, "its entry points outside the file, or its counts are not possible", err);
        const char *what = check_names(sparse, &before, &entry);
        if (!what && entry.shape != sparse_shape(entry.df, sparse->ngroups)) what = "its shape does not suit its df";
        if (!what && entry.postings != end) what = "its postings do not follow those before";
        if (!what) what = entry.shape == SHAPE_LIST ? check_list(sparse, &term) : check_slices(sparse, &term);
        if (what) return wrong(sparse, id, what, err);
        end += sparse_layout_of(entry.shape, entry.df, sparse->ngroups).bytes;
        postings += entry.df;
        before = entry;
    }
    if (postings != h->npostings || end != h->postings_bytes || before.name + before.name_len != h->names_bytes)
        return wr_fail(err, WR_EFORMAT, "%s: %llu postings in %llu bytes, the header says %llu in %llu", sparse->path,
                       (unsigned long long)postings, (unsigned long long)end, (unsigned long long)h->npostings,
                       (unsigned long long)h->postings_bytes);
    return WR_OK;
}
