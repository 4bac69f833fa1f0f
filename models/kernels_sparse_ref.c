#include <math.h>

#include "models/kernels_sparse.h"

static int32_t sum_of(const wr_s8_sparse *w, size_t o, const int8_t *q)
{
    const int8_t *weight = w->w + o % WR_SPARSE_OUTS * 4;
    int32_t sum = 0;
    for (size_t t = w->start[o / WR_SPARSE_OUTS]; t < w->start[o / WR_SPARSE_OUTS + 1]; t++)
        for (size_t j = 0; j < 4; j++) sum += q[w->index[4 * t + j]] * weight[16 * t + j];
    return sum;
}

void wr_spmm_s8_plain(const wr_s8_rows *x, size_t rows, const wr_s8_sparse *w, size_t from, size_t to, wr_s8_act act,
                      void *scratch, float *y, size_t y_stride)
{
    (void)scratch;
    for (size_t r = 0; r < rows; r++)
        for (size_t o = from; o < to; o++) {
            float scale = x->scale[r] * w->scale[o], sum = (float)sum_of(w, o, x->q + r * x->stride);
            float v = w->bias ? fmaf(scale, sum, w->bias[o]) : scale * sum;
            y[r * y_stride + o] = act == WR_S8_GELU ? wr_gelu8(v) : act == WR_S8_RELU && !(v > 0) ? 0 : v;
        }
}

void wr_kernels_init_sparse_ref(wr_kernels *table)
{
    table->spmm_s8 = wr_spmm_s8_plain;
}
