/* Every byte of the file against what the writer promises. */
#include <stdlib.h>
#include <string.h>

#include "indexer/sparse_format.h"

/* What postings say about themselves. */
struct counted {
    uint64_t entries;
    uint8_t max;
};

static wr_status wrong(const wr_sparse *sparse, uint64_t term, const char *what, wr_err *err)
{
    return wr_fail(err, WR_EFORMAT, "%s: term %llu: %s", sparse->path, (unsigned long long)term, what);
}

/* Checks one posting and counts it; *next is the least docid it may have. NULL when it is sound. */
static const char *check_posting(const wr_sparse *sparse, uint64_t docid, uint8_t q, uint64_t *next,
                                 struct counted *counted)
{
    if (docid < *next) return "docids do not ascend";
    if (docid >= sparse->header.ndocs) return "a docid is beyond the documents";
    if (q == 0) return "an impact is 0";
    *next = docid + 1;
    counted->entries++;
    if (q > counted->max) counted->max = q;
    return NULL;
}

static const char *check_list(const wr_sparse *sparse, const wr_postings *term)
{
    uint64_t next = 0;
    struct counted all = {0};
    const char *what = NULL;
    for (uint32_t i = 0; i < term->df && !what; i++)
        what = check_posting(sparse, term->docid[i], term->impact[i], &next, &all);
    if (!what && all.max != term->max) what = "its largest impact is not the one in the term table";
    return what;
}

static const char *check_slice(const wr_sparse *sparse, const wr_slice *slice, uint32_t g, struct counted *counted)
{
    uint64_t base = (uint64_t)g * GROUP_DOCS, next = base;
    const char *what = NULL;
    for (uint32_t i = 0; i < slice->n && !what; i++) {
        if (slice->low[i] >= GROUP_DOCS) return "a docid is beyond its group";
        what = check_posting(sparse, base + slice->low[i], slice->impact[i], &next, counted);
    }
    return what;
}

/* The slice's postings are sound; whether its blocks begin where they should, and their largest impacts. */
static const char *check_record(const wr_slice *slice, const unsigned char *record)
{
    uint32_t i = 0;
    for (uint32_t b = 0; b < GROUP_BLOCKS; b++) {
        uint16_t first;
        uint8_t max = 0;
        memcpy(&first, record + 2 * b, 2);
        if (first != i) return "a block does not begin where it should";
        for (; i < slice->n && slice->low[i] / BLOCK_DOCS == b; i++)
            if (slice->impact[i] > max) max = slice->impact[i];
        if (max != record[2 * GROUP_BLOCKS + b]) return "a block's largest impact is not the one stored";
    }
    return NULL;
}

static const char *check_slices(const wr_sparse *sparse, const wr_postings *term)
{
    uint32_t at = 0;
    uint8_t max = 0;
    for (uint32_t g = 0; g < sparse->ngroups; g++) {
        wr_slice slice = wr_postings_slice(term, g);
        struct counted counted = {0};
        if (term->start[g] != at || (slice.n == 0 && term->start[g + 1] != at)) return "its groups do not ascend";
        const char *what = check_slice(sparse, &slice, g, &counted);
        if (!what && term->record) what = check_record(&slice, term->record + (size_t)g * GROUP_RECORD);
        if (what) return what;
        if (counted.max != term->group_max[g]) return "a group's largest impact is not the one stored";
        if (counted.max > max) max = counted.max;
        at += slice.n;
    }
    if (at != term->df || term->start[sparse->ngroups] != at) return "its groups do not hold its postings";
    return max == term->max ? NULL : "its largest impact is not the one in the term table";
}

static const char *check_names(const wr_sparse *sparse, const wr_sparse_entry *before, const wr_sparse_entry *entry)
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
    const wr_sparse_header *h = &sparse->header;
    wr_sparse_entry before = {0};
    uint64_t end = 0, postings = 0;
    for (uint64_t id = 0; id < h->nterms; id++) {
        wr_sparse_entry entry;
        wr_postings term;
        if (!wr_sparse_entry_get(sparse, id, &entry) || !wr_postings_get(sparse, id, &term))
            return wrong(sparse, id, "its entry points outside the file, or its counts are not possible", err);
        const char *what = check_names(sparse, &before, &entry);
        if (!what && entry.shape != wr_sparse_shape(entry.df, sparse->ngroups)) what = "its shape does not suit its df";
        if (!what && entry.postings != end) what = "its postings do not follow those before";
        if (!what) what = entry.shape == SHAPE_LIST ? check_list(sparse, &term) : check_slices(sparse, &term);
        if (what) return wrong(sparse, id, what, err);
        end += wr_sparse_layout_of(entry.shape, entry.df, sparse->ngroups).bytes;
        postings += entry.df;
        before = entry;
    }
    if (postings != h->npostings || end != h->postings_bytes || before.name + before.name_len != h->names_bytes)
        return wr_fail(err, WR_EFORMAT, "%s: %llu postings in %llu bytes, the header says %llu in %llu", sparse->path,
                       (unsigned long long)postings, (unsigned long long)end, (unsigned long long)h->npostings,
                       (unsigned long long)h->postings_bytes);
    return WR_OK;
}
