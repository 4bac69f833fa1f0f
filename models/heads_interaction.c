#include "models/heads_interaction.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/kernels.h"

static wr_status read(wr_interaction *head, const char *prefix, size_t dim, wr_weights *weights, wr_err *err)
{
    const float *bias;
    wr_status st;
    *head = (wr_interaction){.dim = dim};
    if ((st = wr_weights_get(weights, prefix, "interaction.weight", 0, 2, &head->weight, err)) ||
        (st = wr_weights_get(weights, prefix, "interaction.term.weight", 1, dim, &head->term, err)) ||
        (st = wr_weights_get(weights, prefix, "interaction.passage.weight", 1, dim, &head->passage, err)) ||
        (st = wr_weights_get(weights, prefix, "interaction.passage.bias", 0, 1, &bias, err)))
        return st;
    head->bias = *bias;
    return WR_OK;
}

wr_status wr_interaction_read(wr_interaction *head, size_t dim, wr_weights *weights, wr_err *err)
{
    return read(head, "", dim, weights, err);
}

wr_status wr_interaction_read_exit(wr_interaction *head, const wr_interaction *own, size_t layer, size_t dim,
                                   wr_weights *weights, wr_err *err)
{
    static const char *const names[] = {"interaction.weight", "interaction.term.weight", "interaction.passage.weight",
                                        "interaction.passage.bias"};
    char prefix[32];
    snprintf(prefix, sizeof prefix, "exits.%zu.", layer);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (wr_weights_has(weights, prefix, names[i])) return read(head, prefix, dim, weights, err);
    *head = *own;
    return WR_OK;
}

/* ---- running ---- */

/* Where one pair's intermediate values lie. */
typedef struct room {
    float *mean[2]; /* [dim] of either part                     */
    float *inverse; /* [longest] 1 / norm of the passage's rows */
    float *dots;    /* [longest] one term with these rows       */
    float *share;   /* [longest] a                              */
    float *best;    /* [longest] each term's max                */
} room;

static bool make_room(room *r, wr_arena *arena, size_t dim, size_t longest)
{
    float **const sized[] = {&r->mean[0], &r->mean[1], &r->inverse, &r->dots, &r->share, &r->best};
    for (size_t i = 0; i < sizeof sized / sizeof *sized; i++)
        if (!(*sized[i] = wr_arena_alloc(arena, (i < 2 ? dim : longest) * sizeof **sized[i]))) return false;
    return true;
}

size_t wr_interaction_arena_bytes(size_t dim, size_t longest)
{
    return (2 * dim + 4 * longest) * sizeof(float) + 6 * WR_ARENA_ALIGN;
}

static float inverse_norm(const wr_kernels *k, const float *x, size_t dim)
{
    return 1 / fmaxf(sqrtf(k->dot_f32(x, x, dim)), 1e-12f);
}

static void mean_of(const wr_kernels *k, const float *x, size_t rows, size_t dim, float *out)
{
    memset(out, 0, dim * sizeof *out);
    for (size_t r = 0; r < rows; r++) k->bias_f32(out, x + r * dim, 1, dim);
    for (size_t i = 0; i < dim; i++) out[i] /= (float)rows;
}

/* c */
static float alike(const wr_kernels *k, const float *q, size_t nq, const float *p, size_t np, size_t dim, room *r)
{
    mean_of(k, q, nq, dim, r->mean[0]);
    mean_of(k, p, np, dim, r->mean[1]);
    return k->dot_f32(r->mean[0], r->mean[1], dim) * inverse_norm(k, r->mean[0], dim) *
           inverse_norm(k, r->mean[1], dim);
}

/* max_j cos(x, p_j) */
static float best_match(const wr_kernels *k, const float *x, const float *p, size_t np, size_t dim, const room *r)
{
    float best = -INFINITY;
    k->dots_f32(p, np, dim, x, r->dots);
    for (size_t j = 0; j < np; j++) {
        float cos = r->dots[j] * r->inverse[j];
        best = cos > best ? cos : best;
    }
    return best * inverse_norm(k, x, dim);
}

/* m: of the query's rows the first and the last one are special tokens. */
static float covered(const wr_interaction *h, const wr_kernels *k, const float *q, size_t nq, const float *p, size_t np,
                     room *r)
{
    size_t dim = h->dim, terms = nq > 2 ? nq - 2 : 0;
    float sum = 0;
    if (terms == 0) return 0;
    q += dim;
    k->dots_f32(q, terms, dim, h->term, r->share);
    k->softmax_f32(r->share, 1, terms);
    for (size_t j = 0; j < np; j++) r->inverse[j] = inverse_norm(k, p + j * dim, dim);
    for (size_t i = 0; i < terms; i++) r->best[i] = best_match(k, q + i * dim, p, np, dim, r);
    for (size_t i = 0; i < terms; i++) sum += r->share[i] * r->best[i];
    return sum;
}

static size_t count_first(const uint8_t *type, size_t n)
{
    size_t first = 0;
    while (first < n && type[first] == 0) first++;
    return first;
}

wr_status wr_interaction_run(const wr_interaction *head, const float *states, const wr_batch *batch, const uint32_t *cu,
                             wr_arena *arena, float *out)
{
    const wr_kernels *k = wr_kernels_get();
    size_t dim = head->dim, longest = 0;
    room r;
    for (size_t s = 0; s < batch->nseq; s++) longest = cu[s + 1] - cu[s] > longest ? cu[s + 1] - cu[s] : longest;
    if (!make_room(&r, arena, dim, longest)) return WR_ENOMEM;
    for (size_t s = 0; s < batch->nseq; s++) {
        size_t nq = count_first(batch->type + batch->cu[s], batch->cu[s + 1] - batch->cu[s]);
        size_t np = cu[s + 1] - cu[s] - nq;
        const float *q = states + cu[s] * dim, *p = q + nq * dim;
        out[s] = head->weight[0] * alike(k, q, nq, p, np, dim, &r) +
                 head->weight[1] * covered(head, k, q, nq, p, np, &r) + k->dot_f32(head->passage, p, dim) + head->bias;
    }
    return WR_OK;
}
