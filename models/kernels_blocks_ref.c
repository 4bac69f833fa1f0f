#include <math.h>
#include <string.h>

#include "models/kernels.h"
#include "models/kernels_blocks.h"

/* To nearest even; max * (127 / max) may be a little more than 127. What is no number becomes the smallest, as the
 * vector instructions have it. */
static int8_t rounded(float v)
{
    return (int8_t)(v > -128 && v < 128 ? lrintf(v) : -128);
}

static void quantize(const float *x, int8_t *q, float *scale)
{
    float max = 0;
    for (size_t i = 0; i < 32; i++) max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    float by = max < WR_BLOCK_TINY ? 0 : 127 / max;
    for (size_t i = 0; i < 32; i++) q[i] = rounded(x[i] * by);
    *scale = max < WR_BLOCK_TINY ? 0 : max / 127;
}

static int32_t sum_of(const int8_t *q, size_t n)
{
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += q[i];
    return sum;
}

static void input(const wr_blocks *w, const float *x, size_t x_stride, size_t rows, void *to)
{
    wr_block_shape shape = wr_block_shape_of(w);
    size_t group = wr_block_group(w->type);
    int32_t offset = wr_block_offset(w->type);
    for (size_t r = 0; r < rows; r++, x += x_stride) {
        char *row = (char *)to + r * shape.bytes;
        int8_t *q = (int8_t *)row;
        float *scale = (float *)(void *)(row + shape.scale);
        memset(row, 0, shape.bytes);
        for (size_t b = 0; b < w->in / 32; b++) quantize(x + 32 * b, q + 32 * b, scale + b);
        for (size_t g = 0; g < w->in / group; g++) {
            int32_t sum = sum_of(q + g * group, group), correction = -offset * sum;
            float scaled = (float)sum * scale[g * group / 32];
            memcpy(row + shape.extra + 4 * g, offset ? (void *)&correction : (void *)&scaled, 4);
        }
    }
}

/* One block of weights times the inputs above it, added to y. */
static float add_block(const wr_block_parts *w, size_t values, size_t group, bool has_min, const int8_t *q,
                       const float *scale, float y)
{
    for (size_t g = 0; g < values / group; g++) {
        int32_t sum = 0;
        float s = scale[g * group / 32];
        for (size_t i = g * group; i < (g + 1) * group; i++) sum += w->q[i] * q[i];
        float scaled = (float)sum * s;
        y = fmaf(scaled, w->scale[g], y);
        if (!has_min) continue;
        float all = (float)sum_of(q + g * group, group) * s;
        y = fmaf(all, -w->min[g], y);
    }
    return y;
}

static void gemm(const wr_blocks *w, const void *x, size_t rows, size_t from, size_t to, float *y, size_t y_stride,
                 void *scratch)
{
    (void)scratch;
    wr_block_shape shape = wr_block_shape_of(w);
    wr_block_parts parts;
    size_t values = wr_block_values(w->type), bytes = wr_block_bytes(w->type), n = w->in / values;
    bool has_min = w->type == WR_BLOCK_Q4_K || w->type == WR_BLOCK_Q5_K;
    for (size_t o = from; o < to; o++) {
        for (size_t r = 0; r < rows; r++) y[r * y_stride + o] = 0;
        for (size_t b = 0; b < n; b++) {
            wr_block_open(w->type, (const char *)w->data + (o * n + b) * bytes, &parts);
            for (size_t r = 0; r < rows; r++) {
                const char *row = (const char *)x + r * shape.bytes;
                const float *scale = (const float *)(const void *)(row + shape.scale) + b * values / 32;
                float *at = y + r * y_stride + o;
                *at = add_block(&parts, values, wr_block_group(w->type), has_min, (const int8_t *)row + b * values,
                                scale, *at);
            }
        }
    }
}

static void gemm_float(const wr_blocks *w, const void *x, size_t rows, size_t from, size_t to, float *y,
                       size_t y_stride, void *scratch)
{
    (void)scratch;
    size_t bytes = wr_block_bytes(w->type);
    float part[WR_GEMM_DEPTH];
    for (size_t o = from; o < to; o++)
        for (size_t i = 0; i < w->in; i += WR_GEMM_DEPTH) {
            size_t n = w->in - i < WR_GEMM_DEPTH ? w->in - i : WR_GEMM_DEPTH;
            wr_blocks piece = {w->type, (const char *)w->data + (o * w->in + i) * bytes, 1, n};
            wr_blocks_row(&piece, 0, part);
            for (size_t r = 0; r < rows; r++) {
                const float *row = (const float *)(const void *)((const char *)x + r * wr_block_shape_of(w).bytes) + i;
                float sum = 0;
                for (size_t j = 0; j < n; j++) sum = fmaf(row[j], part[j], sum);
                y[r * y_stride + o] = i ? y[r * y_stride + o] + sum : sum;
            }
        }
}

static float number(wr_block_type type, const void *data, size_t i)
{
    wr_blocks one = {type, (const char *)data + i * wr_block_bytes(type), 1, 1};
    float v;
    wr_blocks_row(&one, 0, &v);
    return v;
}

static void scores(wr_block_type type, const void *k, size_t k_stride, size_t n, size_t width, const float *q,
                   size_t rows, float *s, size_t s_stride, void *scratch)
{
    (void)scratch;
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < n; j++)
            for (size_t i = 0; i < width; i += WR_GEMM_DEPTH) {
                float sum = 0;
                for (size_t c = i; c < width && c < i + WR_GEMM_DEPTH; c++)
                    sum = fmaf(q[r * width + c], number(type, k, j * k_stride + c), sum);
                s[r * s_stride + j] = i ? s[r * s_stride + j] + sum : sum;
            }
}

static void mix(wr_block_type type, const void *v, size_t v_stride, size_t n, size_t width, const float *p,
                size_t p_stride, size_t rows, float *y, size_t y_stride)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < width; c++)
            for (size_t i = 0; i < n; i += WR_GEMM_DEPTH) {
                float sum = 0;
                for (size_t j = i; j < n && j < i + WR_GEMM_DEPTH; j++)
                    sum = fmaf(p[r * p_stride + j], number(type, v, j * v_stride + c), sum);
                y[r * y_stride + c] = i ? y[r * y_stride + c] + sum : sum;
            }
}

/* To nearest even: the bits that are dropped decide, and at half way the last one that stays. */
static uint16_t half_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    uint32_t sign = u >> 16 & 0x8000, size = u & 0x7fffffff;
    if (size > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (size >> 13 & 0x3ff));
    if (size >= 0x477ff000) return (uint16_t)(sign | 0x7c00);                              /* rounds to 65536 or more */
    if (size < 0x38800000) return (uint16_t)(sign | (uint32_t)lrintf(fabsf(x) * 0x1p24f)); /* subnormal halves */
    return (uint16_t)(sign | (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13);
}

static void narrow(const float *x, size_t n, uint16_t *h)
{
    for (size_t i = 0; i < n; i++) h[i] = half_of(x[i]);
}

void wr_block_kernels_ref(wr_block_kernels *table)
{
    *table = (wr_block_kernels){"ref", input, gemm, gemm_float, scores, mix, narrow};
}
