#include <math.h>
#include <string.h>

#include "models/kernels.h"

/* The upper half of a float, to nearest even; numbers too small for a full mantissa are zeros, as the instructions that
 * multiply have it. */
static uint16_t bf16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (isnan(x)) return (uint16_t)(bits >> 16 | 0x40); /* quiet */
    if (fabsf(x) < 0x1p-126f) return (uint16_t)(bits >> 16 & 0x8000);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float float_of(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}

size_t wr_kernels_packed_bf16(size_t out, size_t in)
{
    return (out + WR_BF16_COLS - 1) / WR_BF16_COLS * WR_BF16_COLS * ((in + 1) / 2 * 2);
}

void wr_kernels_pack_bf16(const float *w, size_t out, size_t in, uint16_t *packed)
{
    for (size_t panel = 0; panel < out; panel += WR_BF16_COLS)
        for (size_t i = 0; i < in; i += 2)
            for (size_t o = panel; o < panel + WR_BF16_COLS; o++)
                for (size_t j = i; j < i + 2; j++) *packed++ = o < out && j < in ? bf16_of(w[o * in + j]) : 0;
}

static void gemm_bf16(const float *x, size_t x_stride, size_t rows, size_t in, const uint16_t *packed, size_t out,
                      float *y, size_t y_stride)
{
    size_t row_len = (in + 1) / 2 * 2;
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < out; o++) {
            const uint16_t *w = packed + o / WR_BF16_COLS * WR_BF16_COLS * row_len + o % WR_BF16_COLS * 2;
            float sum = 0;
            for (size_t i = 0; i < in; i++)
                sum += float_of(bf16_of(x[r * x_stride + i])) * float_of(w[i / 2 * 2 * WR_BF16_COLS + i % 2]);
            y[r * y_stride + o] = sum;
        }
}

static void gemm_max_bf16(const float *x, size_t x_stride, size_t rows, size_t in, const uint16_t *packed, size_t out,
                          const float *bias, float *m)
{
    size_t row_len = (in + 1) / 2 * 2;
    for (size_t o = 0; o < out; o += WR_BF16_COLS) {
        size_t n = out - o < WR_BF16_COLS ? out - o : WR_BF16_COLS;
        float y[WR_BF16_COLS];
        for (size_t c = 0; c < n; c++) m[o + c] = -INFINITY;
        for (size_t r = 0; r < rows; r++) {
            gemm_bf16(x + r * x_stride, x_stride, 1, in, packed + o * row_len, n, y, WR_BF16_COLS);
            for (size_t c = 0; c < n; c++) m[o + c] = y[c] > m[o + c] ? y[c] : m[o + c];
        }
        for (size_t c = 0; c < n && bias; c++) m[o + c] += bias[o + c];
    }
}

void wr_kernels_init_ref_bf16(wr_kernels *table)
{
    table->gemm_bf16 = gemm_bf16;
    table->gemm_max_bf16 = gemm_max_bf16;
}
