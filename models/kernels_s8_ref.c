#include <assert.h>
#include <math.h>
#include <string.h>

#include "models/kernels.h"

/* To nearest even, held to +-limit; what is no number counts as -limit, as the vector instructions have it. */
static int rounded(float v, int limit)
{
    if (!(fabsf(v) < (float)limit)) return v > 0 && v <= 1e9f ? limit : -limit;
    return (int)lrintf(v);
}

static float absmax(const float *x, size_t n)
{
    float max = 0;
    for (size_t i = 0; i < n; i++) max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    return max;
}

/* What numbers up to max are multiplied with to reach limit; 0 for zeros alone. */
static float scale_to(float limit, float max)
{
    return max > 0 ? limit / max : 0;
}

static void quantize_s8(const float *x, size_t rows, size_t n, const float *migrate, const wr_s8_rows *to)
{
    for (size_t r = 0; r < rows; r++, x += n) {
        int8_t *q = to->q + r * to->stride;
        float max = 0;
        int32_t sum = 0;
        for (size_t i = 0; i < n; i++) {
            float v = fabsf(migrate ? x[i] * migrate[i] : x[i]);
            max = v > max ? v : max;
        }
        float scale = scale_to(127, max);
        for (size_t i = 0; i < n; i++) {
            q[i] = (int8_t)rounded((migrate ? x[i] * migrate[i] : x[i]) * scale, 127);
            sum += q[i];
        }
        memset(q + n, 0, to->stride - n);
        to->scale[r] = max / 127;
        to->sum[r] = sum;
    }
}

float wr_gelu8(float x)
{
    static const float g[] = WR_GELU8_G;
    float z = x > WR_GELU8_END ? WR_GELU8_END : x > -WR_GELU8_END ? x : -WR_GELU8_END, square = z * z, y = g[6];
    for (size_t i = 6; i-- > 0;) y = fmaf(y, square, g[i]);
    return fmaf(z, y, 0.5f) * x;
}

/* scale and sum of one output of one row. */
static int32_t product(const wr_s8_rows *x, size_t r, const wr_s8_weights *w, size_t o, float *scale)
{
    const int8_t *q = x->q + r * x->stride, *weight = (const int8_t *)w->packed + o * w->in;
    int32_t sum = 0;
    for (size_t i = 0; i < w->in; i++) sum += q[i] * weight[i];
    *scale = x->scale[r] * w->scale[o];
    return sum;
}

static void gemm_s8(const wr_s8_rows *x, size_t rows, const wr_s8_weights *w, size_t from, size_t to, wr_s8_act act,
                    float *y, size_t y_stride)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t o = from; o < to; o++) {
            float scale, sum = (float)product(x, r, w, o, &scale);
            float v = w->bias ? fmaf(scale, sum, w->bias[o]) : scale * sum;
            y[r * y_stride + o] = act == WR_S8_GELU ? wr_gelu8(v) : act == WR_S8_RELU && !(v > 0) ? 0 : v;
        }
}

static void gemm_max_s8(const wr_s8_rows *x, size_t rows, const wr_s8_weights *w, size_t from, size_t to, float *m)
{
    for (size_t o = from; o < to; o++) {
        float scale, max = -INFINITY;
        for (size_t r = 0; r < rows; r++) {
            float sum = (float)product(x, r, w, o, &scale), v = scale * sum;
            max = v > max ? v : max;
        }
        m[o] = w->bias ? max + w->bias[o] : max;
    }
}

static size_t packed_s8(size_t out, size_t in)
{
    return out * in;
}

static void pack_s8(const int8_t *w, size_t out, size_t in, void *packed)
{
    memcpy(packed, w, out * in);
}

/* 2^x * peak as an integer, x <= 0. */
static int probability(float x, float peak)
{
    static const float e[] = WR_EXP2_E;
    float clamped = x > WR_EXP2_LOWEST ? x : WR_EXP2_LOWEST;
    float shifted = clamped + WR_EXP_ROUND, n = shifted - WR_EXP_ROUND, r = clamped - n;
    float y = fmaf(fmaf(fmaf(e[2], r, e[1]), r, e[0]), r, 1);
    uint32_t bits, shift;
    memcpy(&bits, &y, sizeof bits);
    memcpy(&shift, &shifted, sizeof shift);
    bits += shift << 23;
    memcpy(&y, &bits, sizeof y);
    return (int)lrintf(y * peak);
}

typedef struct head {
    const wr_attention *a;
    float k_scale, v_scale; /* what numbers were multiplied with */
    float k_unit, v_unit;   /* what an integer stands for        */
    int32_t *p;             /* [n] */
} head;

static float columns_absmax(const float *x, size_t rows, size_t stride, size_t n)
{
    float max = 0;
    for (size_t r = 0; r < rows; r++) {
        float m = absmax(x + r * stride, n);
        max = m > max ? m : max;
    }
    return max;
}

static int32_t similarity(const head *h, const float *q, float q_scale, size_t j)
{
    const float *k = h->a->k + j * h->a->kv_stride;
    int32_t sum = 0;
    for (size_t c = 0; c < h->a->width; c++)
        sum += rounded(q[c] * q_scale, WR_ATTEND_QK) * rounded(k[c] * h->k_scale, WR_ATTEND_QK);
    return sum;
}

static void attend_row(const head *h, size_t i)
{
    const wr_attention *a = h->a;
    const float *q = a->q + i * a->q_stride;
    float q_max = absmax(q, a->width), q_scale = scale_to(WR_ATTEND_QK, q_max);
    float c = (q_max / WR_ATTEND_QK * h->k_unit) * (WR_EXP_LOG2E / sqrtf((float)a->width));
    float peak = (float)wr_attend_peak(a->n);
    int32_t max = INT32_MIN, total = 0;
    for (size_t j = 0; j < a->n; j++) {
        h->p[j] = similarity(h, q, q_scale, j);
        max = h->p[j] > max ? h->p[j] : max;
    }
    for (size_t j = 0; j < a->n; j++) {
        h->p[j] = probability((float)(h->p[j] - max) * c, peak);
        total += h->p[j];
    }
    for (size_t j = 0; j < a->n && a->received; j++)
        a->received[j] = fmaf((float)h->p[j], 1 / (float)total, a->received[j]);
    for (size_t col = 0; col < a->width; col++) {
        int32_t sum = 0;
        for (size_t j = 0; j < a->n; j++)
            sum += h->p[j] * rounded(a->v[j * a->kv_stride + col] * h->v_scale, WR_ATTEND_V);
        a->ctx[i * a->ctx_stride + col] = (float)sum * (h->v_unit / (float)total);
    }
}

static void attend_s16(const wr_attention *a)
{
    assert(a->n >= 1 && a->n <= WR_ATTEND_KEYS && a->width <= WR_ATTEND_WIDTH);
    float k_max = columns_absmax(a->k, a->n, a->kv_stride, a->width);
    float v_max = columns_absmax(a->v, a->n, a->kv_stride, a->width);
    head h = {.a = a,
              .k_scale = scale_to(WR_ATTEND_QK, k_max),
              .v_scale = scale_to(WR_ATTEND_V, v_max),
              .k_unit = k_max / WR_ATTEND_QK,
              .v_unit = v_max / WR_ATTEND_V,
              .p = a->scratch};
    for (size_t i = 0; i < a->nq; i++) attend_row(&h, i);
}

void wr_kernels_init_ref_s8(wr_kernels *table)
{
    table->quantize_s8 = quantize_s8;
    table->gemm_s8 = gemm_s8;
    table->gemm_max_s8 = gemm_max_s8;
    table->s8_cols = 1;
    table->packed_s8 = packed_s8;
    table->pack_s8 = pack_s8;
    table->attend_s16 = attend_s16;
}
