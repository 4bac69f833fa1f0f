#include "models/kernels_causal.h"

#include <string.h>

#include "models/kernels.h"
#include "models/kernels_blocks.h"

/* Rows of similarities at a time: whole tiles of 12 and of 6 rows, since keys are unpacked anew for each such lot. [96,
 * 2048] floats are three quarters of a second-level cache of 1 MiB (half of it: 5 to 10 % slower behind 1,500 keys and
 * more); of more keys fewer rows, down to a tile. */
enum { MOST_ROWS = 96, LEAST_ROWS = 12, KEYS = 2048 };

/* Floats from a row of n similarities to the next: an odd number of lines, so that rows do not fall upon each other in
 * the caches. */
static size_t stride_of(size_t n)
{
    return (n + 15) / 16 * 16 | 16;
}

static size_t rows_for(size_t keys)
{
    size_t rows = keys > KEYS ? MOST_ROWS * stride_of(KEYS) / stride_of(keys) / LEAST_ROWS * LEAST_ROWS : MOST_ROWS;
    return rows < LEAST_ROWS ? LEAST_ROWS : rows;
}

static size_t lines(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

/* Queries and contexts of the rows, their similarities, and what the products need. */
size_t wr_causal_scratch(size_t keys, size_t width)
{
    size_t many = MOST_ROWS * stride_of(KEYS), few = LEAST_ROWS * stride_of(keys);
    return sizeof(float) * (2 * lines(MOST_ROWS * width) + lines(many > few ? many : few)) + WR_BLOCK_PANEL_BYTES;
}

/* The first key that position t sees. */
static size_t first_seen(const wr_causal *a, size_t t)
{
    return a->window && t + 1 > a->window ? t + 1 - a->window : 0;
}

/* Similarities of keys from..to of the query at t become probabilities; what it does not see, zeros. */
static void soften(const wr_causal *a, size_t t, float *s, size_t from, size_t to)
{
    size_t low = first_seen(a, t);
    memset(s, 0, (low - from) * sizeof *s);
    memset(s + (t + 1 - from), 0, (to - t - 1) * sizeof *s);
    wr_kernels_get()->softmax_f32(s + (low - from), 1, t + 1 - low);
}

/* Rows at .. at + rows of all queries' heads, taken as one list. */
static void part(const wr_causal *a, size_t at, size_t rows)
{
    const wr_block_kernels *k = wr_block_kernels_get();
    wr_block_type type = a->half ? WR_BLOCK_F16 : WR_BLOCK_F32;
    size_t begin = a->first + at / a->group, to = a->first + (at + rows - 1) / a->group + 1;
    /* A multiple of the depth, so that chains are cut at the same keys whichever rows are here. */
    size_t from = first_seen(a, begin) / WR_GEMM_DEPTH * WR_GEMM_DEPTH, n = to - from, bytes = wr_block_bytes(type);
    size_t stride = stride_of(n);
    float *q = (float *)((char *)a->scratch + WR_BLOCK_PANEL_BYTES), *ctx = q + lines(MOST_ROWS * a->width);
    float *s = ctx + lines(MOST_ROWS * a->width);
    for (size_t r = 0; r < rows; r++) {
        const float *x = a->q + (at + r) / a->group * a->q_stride + (at + r) % a->group * a->width;
        for (size_t c = 0; c < a->width; c++) q[r * a->width + c] = x[c] * a->scale;
    }
    k->scores(type, (const char *)a->k + from * a->kv_stride * bytes, a->kv_stride, n, a->width, q, rows, s, stride,
              a->scratch);
    for (size_t r = 0; r < rows; r++) soften(a, a->first + (at + r) / a->group, s + r * stride, from, to);
    k->mix(type, (const char *)a->v + from * a->kv_stride * bytes, a->kv_stride, n, a->width, s, stride, rows, ctx,
           a->width);
    for (size_t r = 0; r < rows; r++)
        memcpy(a->ctx + (at + r) / a->group * a->ctx_stride + (at + r) % a->group * a->width, ctx + r * a->width,
               a->width * sizeof *ctx);
}

void wr_causal_attend(const wr_causal *a)
{
    size_t all = a->nq * a->group, most = rows_for(a->first + a->nq);
    for (size_t at = 0; at < all; at += most) part(a, at, all - at < most ? all - at : most);
}

void wr_halves_from(const float *x, size_t n, uint16_t *h)
{
    wr_block_kernels_get()->narrow(x, n, h);
}
