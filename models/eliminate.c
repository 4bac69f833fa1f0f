#include "models/eliminate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FULL_LAYERS 2

static size_t full_layers(size_t layers)
{
    size_t half = layers ? (layers - 1) / 2 : 0;
    return half < FULL_LAYERS ? half : FULL_LAYERS;
}

static bool drops(float keep)
{
    return keep > 0 && keep < 1;
}

double wr_keep_share(float keep, size_t i, size_t layers)
{
    size_t full = full_layers(layers), end = layers ? layers - 1 : 0, at = i < end ? i + 1 : end;
    if (!drops(keep) || at <= full) return 1;
    double t = (double)(at - full) / (double)(end - full);
    return 1 / (1 + t * (1 / (double)keep - 1));
}

size_t wr_keep_count(float keep, size_t i, size_t layers, size_t n, size_t fixed)
{
    return fixed + (size_t)ceil(wr_keep_share(keep, i, layers) * (double)(n - fixed));
}

wr_status wr_elimination_init(wr_elimination *e, wr_arena *arena, float keep, size_t layers, size_t rows, size_t heads)
{
    *e = (wr_elimination){.keep = keep, .layers = layers};
    if (!drops(keep)) return WR_OK;
    e->cu = wr_arena_alloc(arena, (rows + 1) * sizeof *e->cu);
    e->fixed = wr_arena_alloc(arena, rows);
    e->received = wr_arena_alloc(arena, rows * sizeof *e->received);
    e->heads = wr_arena_alloc(arena, heads * sizeof *e->heads);
    e->order = wr_arena_alloc(arena, rows * sizeof *e->order);
    return e->cu && e->fixed && e->received && e->heads && e->order ? WR_OK : WR_ENOMEM;
}

size_t wr_elimination_bytes(size_t rows, size_t heads)
{
    return (rows + 1) * (sizeof(uint32_t) + 1 + sizeof(float) + sizeof(uint64_t)) + heads * sizeof(float) +
           5 * WR_ARENA_ALIGN;
}

/* Marks what is kept always of one sequence of n tokens. */
static void fix(const uint8_t *type, size_t n, bool parts, uint8_t *fixed)
{
    bool pair = false;
    for (size_t t = 0; t < n && type; t++) pair |= type[t] == 1;
    for (size_t t = 0; t < n; t++) fixed[t] = pair ? type[t] == 0 : t == 0;
    fixed[n - 1] = 1;
    for (size_t t = 1; t < n && parts; t++) fixed[t] |= type[t] == 1 && type[t - 1] == 0;
}

void wr_elimination_begin(wr_elimination *e, const uint32_t *cu, size_t nseq, const uint8_t *type)
{
    if (!drops(e->keep)) return;
    e->whole = cu;
    e->nseq = nseq;
    for (size_t s = 0; s <= nseq; s++) e->cu[s] = cu[s] - cu[0];
    for (size_t s = 0; s < nseq; s++)
        fix(type ? type + e->cu[s] : NULL, e->cu[s + 1] - e->cu[s], e->parts, e->fixed + e->cu[s]);
}

bool wr_elimination_due(wr_elimination *e, size_t i)
{
    if (!drops(e->keep) || i < full_layers(e->layers) || i < e->apart || i + 1 >= e->layers) return false;
    memset(e->received, 0, e->cu[e->nseq] * sizeof *e->received);
    return true;
}

/* Descending. */
static int larger_first(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x < y) - (x > y);
}

/* Marks in fixed, as 2, the best `free` of those that are not kept always. The bits of floats that are not negative
 * have their order; position decides below them, the earlier being the larger number. */
static void choose(wr_elimination *e, const float *received, size_t n, size_t free, uint8_t *fixed)
{
    size_t m = 0;
    for (size_t t = 0; t < n; t++) {
        uint32_t bits;
        memcpy(&bits, &received[t], sizeof bits);
        if (!fixed[t]) e->order[m++] = (uint64_t)bits << 32 | (UINT32_MAX - (uint32_t)t);
    }
    qsort(e->order, m, sizeof *e->order, larger_first);
    for (size_t k = 0; k < free && k < m; k++) fixed[UINT32_MAX - (uint32_t)e->order[k]] = 2;
}

size_t wr_elimination_run(wr_elimination *e, size_t i, float *x, float *ctx, size_t dim)
{
    size_t to = 0;
    for (size_t s = 0, from = 0; s < e->nseq; s++) {
        size_t end = e->cu[s + 1], n = end - from, always = 0;
        for (size_t t = from; t < end; t++) always += e->fixed[t];
        choose(e, e->received + from, n,
               wr_keep_count(e->keep, i, e->layers, e->whole[s + 1] - e->whole[s], always) - always, e->fixed + from);
        for (; from < end; from++) {
            if (!e->fixed[from]) continue;
            if (to < from) {
                memcpy(x + to * dim, x + from * dim, dim * sizeof *x);
                memcpy(ctx + to * dim, ctx + from * dim, dim * sizeof *ctx);
            }
            e->fixed[to++] = e->fixed[from] == 1;
        }
        e->cu[s + 1] = (uint32_t)to;
    }
    return to;
}
