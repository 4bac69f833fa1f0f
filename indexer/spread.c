#include "indexer/spread.h"

#include <stdlib.h>

#include "indexer/sparse_format.h"

/* Counts a term's documents; false when a docid is none. */
static bool count_term(const wr_sparse *sparse, const wr_postings *term, uint32_t *count)
{
    uint64_t ndocs = sparse->header.ndocs;
    for (uint32_t g = 0; g < sparse->ngroups; g++) {
        uint32_t from, n;
        wr_postings_slice(term, g, &from, &n);
        for (uint32_t i = from; i < from + n; i++) {
            uint64_t docid = term->docid ? term->docid[i] : (uint64_t)g * GROUP_DOCS + wr_posting_low(term->posting[i]);
            if (docid >= ndocs) return false;
            count[docid]++;
        }
    }
    return true;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void describe(uint32_t *count, uint64_t n, wr_spread *s)
{
    if (n == 0) return;
    qsort(count, n, sizeof *count, ascending);
    for (uint64_t i = 0; i < n; i++) s->mean += count[i];
    s->mean /= (double)n;
    while (s->empty < n && count[s->empty] == 0) s->empty++;
    s->least = count[0];
    s->p5 = count[n * 5 / 100];
    s->median = count[n / 2];
    s->p95 = count[n * 95 / 100];
    s->p99 = count[n * 99 / 100];
    s->most = count[n - 1];
}

wr_status wr_spread_get(const wr_sparse *sparse, wr_spread *spread, wr_err *err)
{
    const wr_sparse_header *h = &sparse->header;
    *spread = (wr_spread){0};
    uint32_t *count = calloc(h->ndocs + 1, sizeof *count);
    if (!count) return wr_fail(err, WR_ENOMEM, "%s: out of memory", sparse->path);
    wr_status st = WR_OK;
    for (uint64_t t = 0; t < h->nterms && !st; t++) {
        wr_postings term;
        if (!wr_postings_get(sparse, t, &term) || !count_term(sparse, &term, count)) {
            st = wr_fail(err, WR_EFORMAT, "%s: term %zu: its postings are damaged", sparse->path, (size_t)t);
            break;
        }
        double share = (double)term.df / (double)h->ndocs;
        spread->flops += share * share;
    }
    if (!st) describe(count, h->ndocs, spread);
    free(count);
    return st;
}

double wr_spread_query(const wr_sparse *sparse, const uint32_t *term, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)wr_sparse_df(sparse, term[i]);
    return sparse->header.ndocs ? sum / (double)sparse->header.ndocs : 0;
}
