#include <math.h>
#include <stdint.h>
#include <string.h>

#include "models/kernels.h"

/* Outputs in a packed panel: any number would do here. */
enum { COLS = 16 };

/* Partial sums: 64 for dot products (four of the widest registers, enough to hide the latency of fma), 16 elsewhere. */
enum { DOT_LANES = 64, LANES = 16 };

/* s[j] += s[j + half] until one is left. */
static float halve(float *s, size_t lanes)
{
    for (size_t half = lanes / 2; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++) s[j] += s[j + half];
    return s[0];
}

/* A lane beyond the end takes part with zeros, as a masked register does. */
static float dot_f32(const float *a, const float *b, size_t n)
{
    float s[DOT_LANES] = {0};
    for (size_t i = 0; i < n; i += DOT_LANES)
        for (size_t j = 0; j < DOT_LANES; j++) s[j] = i + j < n ? fmaf(a[i + j], b[i + j], s[j]) : fmaf(0, 0, s[j]);
    return halve(s, DOT_LANES);
}

static void dots_f32(const float *x, size_t rows, size_t dim, const float *q, float *y)
{
    for (size_t r = 0; r < rows; r++) y[r] = dot_f32(x + r * dim, q, dim);
}

static void bias_f32(float *y, const float *bias, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, y += n)
        for (size_t i = 0; i < n; i++) y[i] += bias[i];
}

static void bias_relu_f32(float *y, const float *bias, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, y += n)
        for (size_t i = 0; i < n; i++) {
            float v = y[i] + bias[i];
            y[i] = v > 0 ? v : 0;
        }
}

/* Horner's rule. */
static float polynomial(const float *c, size_t degree, float x)
{
    float y = c[degree];
    while (degree-- > 0) y = fmaf(y, x, c[degree]);
    return y;
}

/* For x <= 0. */
static float exp_f32(float x)
{
    static const float e[] = WR_EXP_E;
    float clamped = x > WR_EXP_LOWEST ? x : WR_EXP_LOWEST;
    float rounded = fmaf(clamped, WR_EXP_LOG2E, WR_EXP_ROUND), n = rounded - WR_EXP_ROUND;
    float r = fmaf(n, -WR_EXP_LN2_LO, fmaf(n, -WR_EXP_LN2_HI, clamped));
    float y = fmaf(r * r, polynomial(e, 4, r), r) + 1;
    uint32_t bits, shift;
    memcpy(&bits, &y, sizeof bits);
    memcpy(&shift, &rounded, sizeof shift);
    bits += shift << 23; /* n in the exponent; what lies above it in shift falls off */
    memcpy(&y, &bits, sizeof y);
    return y;
}

static float gelu(float v)
{
    static const float t[] = WR_ERFC_T;
    float u = fabsf(v) * 0.70710678f, end = u < WR_ERFC_END ? u : WR_ERFC_END;
    return fmaf(fabsf(v) * -0.5f, exp_f32(end * -polynomial(t, 7, end)), v > 0 ? v : 0);
}

static void bias_gelu_f32(float *y, const float *bias, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, y += n)
        for (size_t i = 0; i < n; i++) y[i] = gelu(y[i] + bias[i]);
}

static void silu_times_f32(float *y, const float *by, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float e = exp_f32(-fabsf(y[i])), top = y[i] < 0 ? e : 1;
        y[i] = y[i] * (top / (1 + e)) * by[i];
    }
}

static void add_norm_f32(float *x, const float *y, const float *bias, const float *gamma, const float *beta, float eps,
                         size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, x += n, y += n) {
        float sum[LANES] = {0}, square[LANES] = {0};
        for (size_t i = 0; i < n; i++) {
            x[i] += y[i] + bias[i];
            sum[i % LANES] += x[i];
        }
        float mean = halve(sum, LANES) / (float)n;
        for (size_t i = 0; i < n; i++) {
            float d = x[i] - mean;
            square[i % LANES] = fmaf(d, d, square[i % LANES]);
        }
        float scale = 1 / sqrtf(halve(square, LANES) / (float)n + eps);
        for (size_t i = 0; i < n; i++) x[i] = fmaf((x[i] - mean) * scale, gamma[i], beta[i]);
    }
}

static void softmax_f32(float *s, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, s += n) {
        float max = s[0], sum[LANES] = {0};
        for (size_t i = 1; i < n; i++) max = s[i] > max ? s[i] : max;
        for (size_t i = 0; i < n; i++) {
            s[i] = exp_f32(s[i] - max);
            sum[i % LANES] += s[i];
        }
        float scale = 1 / halve(sum, LANES);
        for (size_t i = 0; i < n; i++) s[i] *= scale;
    }
}

static void gemm_f32(const float *x, size_t x_stride, size_t rows, size_t in, const float *packed, size_t out, float *y,
                     size_t y_stride)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < out; o++) {
            const float *w = packed + o / COLS * COLS * in + o % COLS;
            float total = 0;
            for (size_t block = 0; block < in; block += WR_GEMM_DEPTH) {
                float sum = 0;
                for (size_t i = block; i < in && i < block + WR_GEMM_DEPTH; i++)
                    sum = fmaf(x[r * x_stride + i], w[i * COLS], sum);
                total = block ? total + sum : sum;
            }
            y[r * y_stride + o] = total;
        }
}

static void gemm_max_f32(const float *x, size_t x_stride, size_t rows, size_t in, const float *packed, size_t out,
                         const float *bias, float *m)
{
    for (size_t o = 0; o < out; o += COLS) {
        size_t n = out - o < COLS ? out - o : COLS;
        float y[COLS];
        for (size_t c = 0; c < n; c++) m[o + c] = -INFINITY;
        for (size_t r = 0; r < rows; r++) {
            gemm_f32(x + r * x_stride, x_stride, 1, in, packed + o * in, n, y, COLS);
            for (size_t c = 0; c < n; c++) m[o + c] = y[c] > m[o + c] ? y[c] : m[o + c];
        }
        for (size_t c = 0; c < n && bias; c++) m[o + c] += bias[o + c];
    }
}

static void pack_f32(const float *w, size_t w_stride, size_t out, size_t in, float scale, float *packed)
{
    for (size_t panel = 0; panel < out; panel += COLS, packed += COLS * in)
        for (size_t o = panel; o < panel + COLS; o++)
            for (size_t i = 0; i < in; i++) packed[i * COLS + o - panel] = o < out ? w[o * w_stride + i] * scale : 0;
}

void wr_kernels_init_ref(wr_kernels *table)
{
    *table = (wr_kernels){
        .isa = "ref",
        .dot_f32 = dot_f32,
        .dots_f32 = dots_f32,
        .bias_f32 = bias_f32,
        .bias_gelu_f32 = bias_gelu_f32,
        .bias_relu_f32 = bias_relu_f32,
        .silu_times_f32 = silu_times_f32,
        .add_norm_f32 = add_norm_f32,
        .softmax_f32 = softmax_f32,
        .gemm_f32 = gemm_f32,
        .gemm_max_f32 = gemm_max_f32,
        .gemm_cols = COLS,
        .pack_f32 = pack_f32,
    };
    wr_kernels_init_ref_s8(table);
}
