#include "ranker/fuse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One document's share from one list; lists are joined by sorting these by docid, then by list, so that the sum is
 * always taken in the order of the pipeline. */
typedef struct share {
    uint32_t docid;
    uint32_t list;
    double value;
} share;

static int by_docid(const void *a, const void *b)
{
    const share *x = a, *y = b;
    if (x->docid != y->docid) return x->docid < y->docid ? -1 : 1;
    return (x->list > y->list) - (x->list < y->list);
}

void wr_minmax(const float *x, size_t n, double *out)
{
    double lo = INFINITY, hi = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (x[i] < lo) lo = x[i];
        if (x[i] > hi) hi = x[i];
    }
    for (size_t i = 0; i < n; i++) out[i] = hi > lo ? (x[i] - lo) / (hi - lo) : 1;
}

static wr_status join(share *all, size_t n, size_t depth, wr_arena *arena, wr_hits *out)
{
    size_t ndocs = 0;
    memset(out, 0, sizeof *out);
    qsort(all, n, sizeof *all, by_docid);
    out->docid = wr_arena_alloc(arena, n * sizeof *out->docid);
    out->score = wr_arena_alloc(arena, n * sizeof *out->score);
    if (!out->docid || !out->score) return WR_ENOMEM;
    for (size_t i = 0; i < n; ndocs++) {
        double sum = 0;
        out->docid[ndocs] = all[i].docid;
        for (; i < n && all[i].docid == out->docid[ndocs]; i++) sum += all[i].value;
        out->score[ndocs] = (float)sum;
    }
    wr_hits_sort(out->docid, out->score, ndocs);
    out->n = ndocs < depth ? ndocs : depth;
    out->seen = ndocs;
    return WR_OK;
}

static size_t total(const wr_hits *list, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += list[i].n;
    return sum;
}

wr_status wr_fuse_rrf(const wr_hits *list, const double *weight, size_t n, size_t depth, wr_arena *arena, wr_hits *out)
{
    share *all = wr_arena_alloc(arena, total(list, n) * sizeof *all), *s = all;
    if (!all) return WR_ENOMEM;
    for (size_t i = 0; i < n; i++)
        for (size_t r = 0; r < list[i].n; r++)
            *s++ = (share){list[i].docid[r], (uint32_t)i, weight[i] / (double)(WR_RRF_K + r + 1)};
    return join(all, (size_t)(s - all), depth, arena, out);
}

wr_status wr_fuse_lin(const wr_hits *list, const double *weight, size_t n, size_t depth, wr_arena *arena, wr_hits *out)
{
    size_t sum = total(list, n);
    share *all = wr_arena_alloc(arena, sum * sizeof *all), *s = all;
    double *norm = wr_arena_alloc(arena, sum * sizeof *norm);
    if (!all || !norm) return WR_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        wr_minmax(list[i].score, list[i].n, norm);
        for (size_t r = 0; r < list[i].n; r++) *s++ = (share){list[i].docid[r], (uint32_t)i, weight[i] * norm[r]};
    }
    return join(all, (size_t)(s - all), depth, arena, out);
}

void wr_scores_monotone(float *score, size_t n, size_t nhead)
{
    if (nhead > 0 && nhead < n) {
        /* One below the head's last: a whole unit keeps the tail's own differences readable beside logits. */
        float shift = score[nhead - 1] - 1 - score[nhead];
        for (size_t i = nhead; i < n; i++) score[i] += shift;
    }
    for (size_t i = 1; i < n; i++)
        if (!(score[i] < score[i - 1])) score[i] = nextafterf(score[i - 1], -INFINITY);
}
