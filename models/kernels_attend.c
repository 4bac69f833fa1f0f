#include <assert.h>
#include <math.h>
#include <string.h>

#include "models/kernels.h"

/* Query rows whose similarities are held at a time: whole tiles of 12 and of 6 rows; [96, 512] floats are a fifth of a
 * second-level cache. */
#define ATTEND_ROWS 96

static size_t whole(size_t n, size_t step)
{
    return (n + step - 1) / step * step;
}

/* Keys [width][whole panels], values [n][whole panels], similarities [ATTEND_ROWS][keys in whole panels]. */
size_t wr_attend_f32_scratch(const wr_kernels *table, size_t n, size_t width)
{
    size_t keys = whole(n, table->gemm_cols), cols = whole(width, table->gemm_cols);
    return (whole(keys * width, 16) + whole(n * cols, 16) + ATTEND_ROWS * keys) * sizeof(float);
}

/* Values are weights [width, n] that lie the right way round already: a panel's row is a part of a row. */
static void pack_values(const wr_attention *a, size_t cols, float *packed)
{
    for (size_t c = 0; c < a->width; c += cols)
        for (size_t j = 0; j < a->n; j++, packed += cols) {
            size_t some = a->width - c < cols ? a->width - c : cols;
            memcpy(packed, a->v + j * a->kv_stride + c, some * sizeof *packed);
            memset(packed + some, 0, (cols - some) * sizeof *packed);
        }
}

void wr_attend_f32(const wr_kernels *table, const wr_attention *a)
{
    assert(a->n >= 1);
    size_t keys = whole(a->n, table->gemm_cols);
    float *k = a->scratch, *v = k + whole(keys * a->width, 16);
    float *s = v + whole(a->n * whole(a->width, table->gemm_cols), 16);
    table->pack_f32(a->k, a->kv_stride, a->n, a->width, 1 / sqrtf((float)a->width), k);
    pack_values(a, table->gemm_cols, v);
    for (size_t at = 0; at < a->nq; at += ATTEND_ROWS) {
        size_t rows = a->nq - at < ATTEND_ROWS ? a->nq - at : ATTEND_ROWS;
        table->gemm_f32(a->q + at * a->q_stride, a->q_stride, rows, a->width, k, keys, s, keys);
        for (size_t r = 0; r < rows; r++) {
            table->softmax_f32(s + r * keys, 1, a->n);
            if (a->received) table->bias_f32(a->received, s + r * keys, 1, a->n);
        }
        table->gemm_f32(s, keys, rows, a->n, v, a->width, a->ctx + at * a->ctx_stride, a->ctx_stride);
    }
}
