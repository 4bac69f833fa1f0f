/* Every byte of the file against what the writer promises. */
#include <stdlib.h>
#include <string.h>

#include "indexer/sparse_format.h"

/* What postings say about themselves. */
struct counted {
    uint64_t next; /* the least docid that the next one may have */
    uint8_t bound;
};

static wr_status wrong(const wr_sparse *sparse, uint64_t term, const char *what, wr_err *err)
{
    return wr_fail(err, WR_EFORMAT, "%s: term %llu: %s", sparse->path, (unsigned long long)term, what);
}

/* Checks one posting and counts it. NULL when it is sound. */
static const char *check_posting(const wr_sparse *sparse, uint64_t docid, uint32_t impact, struct counted *counted)
{
    if (docid < counted->next) return "docids do not ascend";
    if (docid >= sparse->header.ndocs) return "a docid is beyond the documents";
    if (impact == 0) return "an impact is 0";
    uint8_t bound = wr_sparse_bound((uint16_t)impact);
    counted->next = docid + 1;
    if (bound > counted->bound) counted->bound = bound;
    return NULL;
}

static const char *check_list(const wr_sparse *sparse, const wr_postings *term)
{
    struct counted all = {0};
    const char *what = NULL;
    for (uint32_t i = 0; i < term->df && !what; i++)
        what = check_posting(sparse, term->docid[i], term->impact[i], &all);
    if (!what && all.bound != term->bound) what = "the bound of its impacts is not the one in the term table";
    return what;
}

static const char *check_slice(const wr_sparse *sparse, const uint32_t *posting, uint32_t n, uint32_t g,
                               struct counted *slice)
{
    uint64_t base = (uint64_t)g * GROUP_DOCS;
    const char *what = NULL;
    slice->next = base;
    for (uint32_t i = 0; i < n && !what; i++) {
        if (posting[i] % 65536 >= GROUP_DOCS) return "a docid is beyond its group";
        what = check_posting(sparse, base + wr_posting_low(posting[i]), wr_posting_impact(posting[i]), slice);
    }
    return what;
}

/* The slice's postings are sound; whether its blocks begin where they should, and their bounds. */
static const char *check_record(const uint32_t *posting, uint32_t n, const unsigned char *record)
{
    uint32_t i = 0;
    for (uint32_t b = 0; b < GROUP_BLOCKS; b++) {
        uint16_t first, most = 0;
        memcpy(&first, record + 2 * b, 2);
        if (first != i) return "a block does not begin where it should";
        for (; i < n && wr_posting_low(posting[i]) / BLOCK_DOCS == b; i++)
            if (wr_posting_impact(posting[i]) > most) most = (uint16_t)wr_posting_impact(posting[i]);
        if (wr_sparse_bound(most) != record[2 * GROUP_BLOCKS + b]) return "a block's bound is not that of its impacts";
    }
    return NULL;
}

static const char *check_slices(const wr_sparse *sparse, const wr_postings *term)
{
    uint32_t at = 0;
    uint8_t bound = 0;
    for (uint32_t g = 0; g < sparse->ngroups; g++) {
        uint32_t from, n;
        struct counted slice = {0};
        wr_postings_slice(term, g, &from, &n);
        if (from != at || (n == 0 && term->start[g + 1] != at)) return "its groups do not ascend";
        const char *what = check_slice(sparse, term->posting + from, n, g, &slice);
        if (!what && term->record)
            what = check_record(term->posting + from, n, term->record + (size_t)g * GROUP_RECORD);
        if (what) return what;
        if (slice.bound != term->group_bound[g]) return "a group's bound is not that of its impacts";
        if (slice.bound > bound) bound = slice.bound;
        at += n;
    }
    if (at != term->df || term->start[sparse->ngroups] != at) return "its groups do not hold its postings";
    return bound == term->bound ? NULL : "the bound of its impacts is not the one in the term table";
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
