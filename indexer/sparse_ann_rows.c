/* Postings turned round into vectors, a group of documents at a time: what they take is in the processor's cache, and
 * the postings are read in the order of the file. */
#include <stdlib.h>
#include <string.h>

#include "indexer/best.h"
#include "indexer/sparse_ann_format.h"

wr_status wr_ann_rows_init(wr_ann_rows *rows)
{
    *rows = (wr_ann_rows){.start = calloc(GROUP_DOCS + 1, sizeof *rows->start)};
    return rows->start ? WR_OK : WR_ENOMEM;
}

void wr_ann_rows_release(wr_ann_rows *rows)
{
    free(rows->start);
    free(rows->key);
}

/* Row of posting i of a term in group g. */
static uint32_t row_of(const wr_postings *term, uint32_t i)
{
    return term->docid ? term->docid[i] % GROUP_DOCS : wr_posting_low(term->posting[i]);
}

static uint32_t impact_of(const wr_postings *term, uint32_t i)
{
    return term->docid ? term->impact[i] : wr_posting_impact(term->posting[i]);
}

/* Counts the rows' entries in start[row + 1]; false when a posting is beyond the documents. */
static bool count(wr_ann_rows *rows, const wr_sparse *sparse, uint32_t g)
{
    for (uint64_t id = 0; id < sparse->header.nterms; id++) {
        wr_postings term;
        uint32_t from, n;
        if (!wr_postings_get(sparse, id, &term)) return false;
        wr_postings_slice(&term, g, &from, &n);
        for (uint32_t i = from; i < from + n; i++) {
            uint32_t row = row_of(&term, i);
            if (row >= rows->n) return false;
            rows->start[row + 1]++;
        }
    }
    return true;
}

/* Puts each entry at the end of its row, start[row] being where that is; afterwards start[row] is the row's end. */
static void fill(wr_ann_rows *rows, const wr_sparse *sparse, uint32_t g)
{
    for (uint64_t id = 0; id < sparse->header.nterms; id++) {
        wr_postings term;
        uint32_t from, n;
        if (!wr_postings_get(sparse, id, &term)) continue;
        wr_postings_slice(&term, g, &from, &n);
        for (uint32_t i = from; i < from + n; i++)
            rows->key[rows->start[row_of(&term, i)]++] = wr_best_key(impact_of(&term, i), (uint32_t)id);
    }
}

static wr_status make_room(wr_ann_rows *rows, size_t n)
{
    if (n <= rows->room) return WR_OK;
    free(rows->key);
    rows->room = n + n / 4;
    rows->key = malloc(rows->room * sizeof *rows->key);
    if (rows->key) return WR_OK;
    rows->room = 0;
    return WR_ENOMEM;
}

wr_status wr_ann_rows_fill(wr_ann_rows *rows, const wr_sparse *sparse, uint32_t g, wr_err *err)
{
    uint64_t left = sparse->header.ndocs - (uint64_t)g * GROUP_DOCS, total = 0;
    rows->first = (uint64_t)g * GROUP_DOCS;
    rows->n = left < GROUP_DOCS ? (uint32_t)left : GROUP_DOCS;
    memset(rows->start, 0, (GROUP_DOCS + 1) * sizeof *rows->start);
    if (!count(rows, sparse, g))
        return wr_fail(err, WR_EFORMAT, "%s: postings that no document can have", sparse->path);
    for (uint32_t i = 0; i < rows->n; i++) total += rows->start[i + 1];
    if (total > UINT32_MAX || make_room(rows, (size_t)total))
        return wr_fail(err, WR_ENOMEM, "%s: out of memory for %llu postings of %u documents", sparse->path,
                       (unsigned long long)total, rows->n);
    for (uint32_t i = 0; i < rows->n; i++) rows->start[i + 1] += rows->start[i];
    fill(rows, sparse, g);
    for (uint32_t i = rows->n; i > 0; i--) rows->start[i] = rows->start[i - 1];
    rows->start[0] = 0;
    for (uint32_t i = 0; i < rows->n; i++)
        wr_best_sort_keys(rows->key + rows->start[i], rows->start[i + 1] - rows->start[i]);
    return WR_OK;
}

size_t wr_ann_rows_record(const wr_ann_rows *rows, uint32_t i, bool wide, unsigned char *out)
{
    const uint64_t *key = rows->key + rows->start[i];
    uint32_t n = rows->start[i + 1] - rows->start[i], docid = (uint32_t)rows->first + i;
    size_t bytes = (size_t)wr_sparse_round_up(wr_ann_record_bytes(n, wide), RECORD_ALIGN);
    uint16_t *words = (uint16_t *)(void *)(out + RECORD_HEAD + 2 * (size_t)n);
    memset(out, 0, bytes);
    memcpy(out, &docid, 4);
    memcpy(out + 4, &n, 4);
    for (uint32_t j = 0; j < n; j++) {
        uint32_t term = wr_best_docid(key[j]);
        out[RECORD_HEAD + j] = (unsigned char)term;
        out[RECORD_HEAD + n + j] = (unsigned char)(term >> 8);
        if (wide) words[j] = (uint16_t)(term >> 16);
        words[wide ? n + j : j] = (uint16_t)wr_best_units(key[j]);
    }
    return bytes;
}
