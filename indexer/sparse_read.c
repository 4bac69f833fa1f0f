/* The reading half of sparse.h: opening, terms, and where a term's postings lie. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/sparse_format.h"

static wr_status check_section(const wr_sparse *sparse, const char *name, uint64_t offset, uint64_t bytes,
                               uint64_t *end, wr_err *err)
{
    uint64_t want = wr_sparse_round_up(*end, SPARSE_ALIGN);
    uint64_t size = sparse->map.size - WR_CHECKED_HEADER;
    if (offset != want || bytes > size || offset > size - bytes)
        return wr_fail(err, WR_EFORMAT,
                       "%s: section of %s: %llu bytes at %llu, expected at %llu and to end at %llu at most",
                       sparse->path, name, (unsigned long long)bytes, (unsigned long long)offset,
                       (unsigned long long)want, (unsigned long long)size);
    *end = offset + bytes;
    return WR_OK;
}

static wr_status check_header(const wr_sparse *sparse, wr_err *err)
{
    const wr_sparse_header *h = &sparse->header;
    const char *path = sparse->path;
    bool bm25 = h->kind == WR_SPARSE_BM25;
    if ((!bm25 && h->kind != WR_SPARSE_WEIGHTS) || h->impact_bits != IMPACT_BITS)
        return wr_fail(err, WR_EUNSUPPORTED,
                       "%s: postings of kind %u with %u bits, expected kind %d or %d with %d bits", path, h->kind,
                       h->impact_bits, WR_SPARSE_BM25, WR_SPARSE_WEIGHTS, IMPACT_BITS);
    if (h->block_docs != BLOCK_DOCS || h->group_blocks != GROUP_BLOCKS)
        return wr_fail(err, WR_EUNSUPPORTED, "%s: groups of %u blocks of %u documents, expected %u of %u", path,
                       h->group_blocks, h->block_docs, GROUP_BLOCKS, BLOCK_DOCS);
    if (h->ndocs > UINT32_MAX || h->nterms > UINT32_MAX || h->table_bytes != h->nterms * SPARSE_ENTRY)
        return wr_fail(err, WR_EFORMAT,
                       "%s: %llu documents, %llu terms, term table of %llu bytes: the counts do not agree", path,
                       (unsigned long long)h->ndocs, (unsigned long long)h->nterms, (unsigned long long)h->table_bytes);
    if (!bm25 && (!isnormal(h->scale) || h->scale < 0 || h->k1 != 0 || h->b != 0))
        return wr_fail(err, WR_EFORMAT, "%s: scale %g, k1 %g, b %g: expected a scale above 0, and 0 and 0", path,
                       (double)h->scale, h->k1, h->b);
    if (bm25 && (h->scale != IMPACT_SCALE || !(h->k1 >= 0) || !isfinite(h->k1) || !(h->b >= 0 && h->b <= 1)))
        return wr_fail(err, WR_EFORMAT, "%s: scale %g, k1 %g, b %g: expected a scale of %g, k1 >= 0 and 0 <= b <= 1",
                       path, (double)h->scale, h->k1, h->b, (double)IMPACT_SCALE);
    return WR_OK;
}

static wr_status check_layout(const wr_sparse *sparse, wr_err *err)
{
    const wr_sparse_header *h = &sparse->header;
    uint64_t end = SPARSE_HEADER;
    wr_status st;
    if ((st = check_section(sparse, "postings", h->postings, h->postings_bytes, &end, err))) return st;
    if ((st = check_section(sparse, "terms", h->table, h->table_bytes, &end, err))) return st;
    if ((st = check_section(sparse, "names", h->names, h->names_bytes, &end, err))) return st;
    if (end != sparse->map.size - WR_CHECKED_HEADER)
        return wr_fail(err, WR_EFORMAT, "%s: the last section ends at %llu, the payload at %llu", sparse->path,
                       (unsigned long long)end, (unsigned long long)(sparse->map.size - WR_CHECKED_HEADER));
    return WR_OK;
}

wr_status wr_sparse_open(wr_sparse **out, const char *path, wr_err *err)
{
    *out = NULL;
    const unsigned char *payload;
    size_t size, len = strlen(path);
    wr_sparse *sparse = calloc(1, sizeof *sparse + len + 1);
    if (!sparse) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    memcpy(sparse->path, path, len);
    wr_status st = wr_map_open_checked(&sparse->map, path, SPARSE_MAGIC, SPARSE_VERSION, &payload, &size, err);
    if (st) goto done;
    if (size < SPARSE_HEADER) {
        st = wr_fail(err, WR_EFORMAT, "%s: payload of %zu bytes, expected a header of %d", path, size, SPARSE_HEADER);
        goto done;
    }
    memcpy(&sparse->header, payload, SPARSE_HEADER);
    if ((st = check_header(sparse, err)) || (st = check_layout(sparse, err))) goto done;
    sparse->ngroups = wr_sparse_groups(sparse->header.ndocs);
    sparse->postings = payload + sparse->header.postings;
    sparse->table = payload + sparse->header.table;
    sparse->names = payload + sparse->header.names;
    *out = sparse;
done:
    if (st) wr_sparse_close(sparse);
    return st;
}

void wr_sparse_close(wr_sparse *sparse)
{
    if (!sparse) return;
    wr_map_close(&sparse->map);
    free(sparse);
}

bool wr_sparse_entry_get(const wr_sparse *sparse, uint64_t term, wr_sparse_entry *entry)
{
    const wr_sparse_header *h = &sparse->header;
    if (term >= h->nterms) return false;
    memcpy(entry, sparse->table + term * SPARSE_ENTRY, SPARSE_ENTRY);
    if (entry->name_len == 0 || entry->name_len > WR_MAX_TERM_BYTES || entry->name > h->names_bytes ||
        entry->name_len > h->names_bytes - entry->name)
        return false;
    if (entry->df == 0 || entry->df > h->ndocs || entry->shape >= SHAPES) return false;
    if (entry->postings > h->postings_bytes || entry->postings % 4) return false;
    uint64_t bytes = wr_sparse_layout_of(entry->shape, entry->df, sparse->ngroups).bytes;
    return bytes <= h->postings_bytes - entry->postings;
}

bool wr_postings_get(const wr_sparse *sparse, uint64_t id, wr_postings *term)
{
    wr_sparse_entry entry;
    if (!wr_sparse_entry_get(sparse, id, &entry)) return false;
    const unsigned char *base = sparse->postings + entry.postings;
    wr_sparse_layout at = wr_sparse_layout_of(entry.shape, entry.df, sparse->ngroups);
    *term = (wr_postings){.shape = entry.shape, .df = entry.df, .bound = entry.bound};
    if (entry.shape == SHAPE_LIST) {
        term->docid = (const uint32_t *)(const void *)base;
        term->impact = (const uint16_t *)(const void *)(base + at.impact);
        return true;
    }
    term->posting = (const uint32_t *)(const void *)base;
    term->start = (const uint32_t *)(const void *)(base + at.start);
    term->group_bound = base + at.group_bound;
    if (entry.shape == SHAPE_BLOCKS) term->record = base + at.record;
    return true;
}

/* First entry of a list whose docid is at least docid. */
static uint32_t lower_bound(const uint32_t *list, uint32_t n, uint64_t docid)
{
    uint32_t lo = 0;
    while (n > 0) {
        uint32_t half = n / 2;
        if (list[lo + half] < docid) {
            lo += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return lo;
}

void wr_postings_slice(const wr_postings *term, uint32_t g, uint32_t *from, uint32_t *n)
{
    uint32_t to;
    if (term->docid) {
        uint64_t first = (uint64_t)g * GROUP_DOCS;
        *from = lower_bound(term->docid, term->df, first);
        to = *from + lower_bound(term->docid + *from, term->df - *from, first + GROUP_DOCS);
    } else {
        *from = term->start[g];
        to = term->start[g + 1];
    }
    *n = *from <= to && to <= term->df && to - *from <= GROUP_DOCS ? to - *from : 0;
}

static int compare_name(const wr_sparse *sparse, uint64_t id, const char *term, size_t len)
{
    wr_sparse_entry entry;
    if (!wr_sparse_entry_get(sparse, id, &entry)) return -1; /* a damaged file: any answer, but no crash */
    size_t n = entry.name_len < len ? entry.name_len : len;
    int order = memcmp(sparse->names + entry.name, term, n);
    return order ? order : (entry.name_len > len) - (entry.name_len < len);
}

int64_t wr_sparse_term(const wr_sparse *sparse, const char *term, size_t len)
{
    uint64_t lo = 0, hi = sparse->header.nterms;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        int order = compare_name(sparse, mid, term, len);
        if (order == 0) return (int64_t)mid;
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return -1;
}

uint32_t wr_sparse_df(const wr_sparse *sparse, uint32_t term)
{
    wr_sparse_entry entry;
    return wr_sparse_entry_get(sparse, term, &entry) ? entry.df : 0;
}

float wr_sparse_idf(const wr_sparse *sparse, uint32_t term)
{
    double n = (double)sparse->header.ndocs, df = wr_sparse_df(sparse, term);
    return (float)log(1 + (n - df + 0.5) / (df + 0.5));
}

uint32_t wr_postings_find(const wr_postings *term, uint32_t docid)
{
    uint32_t at, n, low = docid % GROUP_DOCS;
    if (term->docid) {
        at = lower_bound(term->docid, term->df, docid);
        return at < term->df && term->docid[at] == docid ? term->impact[at] : 0;
    }
    wr_postings_slice(term, docid / GROUP_DOCS, &at, &n);
    if (n == 0) return 0;
    while (n > 1) {
        uint32_t half = n / 2;
        at = wr_posting_low(term->posting[at + half]) <= low ? at + half : at;
        n -= half;
    }
    return wr_posting_low(term->posting[at]) == low ? wr_posting_impact(term->posting[at]) : 0;
}

float wr_sparse_impact(const wr_sparse *sparse, uint32_t id, uint32_t docid)
{
    wr_postings term;
    if (docid >= sparse->header.ndocs || !wr_postings_get(sparse, id, &term)) return 0;
    return (float)wr_postings_find(&term, docid) * sparse->header.scale;
}

void wr_sparse_stats_get(const wr_sparse *sparse, wr_sparse_stats *stats)
{
    const wr_sparse_header *h = &sparse->header;
    *stats = (wr_sparse_stats){.kind = (wr_sparse_kind)h->kind,
                               .scale = h->scale,
                               .ndocs = h->ndocs,
                               .nterms = h->nterms,
                               .npostings = h->npostings,
                               .total_length = h->total_length,
                               .avg_length = h->ndocs ? (double)h->total_length / (double)h->ndocs : 0,
                               .bytes_terms = h->table_bytes + h->names_bytes};
    for (uint64_t id = 0; id < h->nterms; id++) {
        wr_sparse_entry entry;
        if (!wr_sparse_entry_get(sparse, id, &entry)) continue;
        wr_sparse_layout at = wr_sparse_layout_of(entry.shape, entry.df, sparse->ngroups);
        uint64_t blocks = entry.shape == SHAPE_LIST ? 0 : at.bytes - at.start;
        stats->bytes_blocks += blocks;
        stats->bytes_postings += at.bytes - blocks;
    }
}
