/* The 8-bit kernels in 512-bit registers: private to the files that compile it, with AVX-512 VNNI or without. With it,
 * four bytes a lane go through vpdpbusd, weights unsigned (128 too large, which the rows' sums take off again); without
 * it both sides are widened to 16 bits and two of them a lane go through vpmaddwd.
 *
 * A tile of up to 12 rows and 2 vectors of 16 outputs is held in registers (24 sums, two weights, one broadcast input)
 * while all inputs pass. The number of rows is a constant in each copy of the code, so that the loops over it unroll
 * and the sums stay in registers. */
#ifndef WR_MODELS_KERNELS_AVX512_S8_H
#define WR_MODELS_KERNELS_AVX512_S8_H

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "models/kernels.h"
#include "models/kernels_avx512_lanes.h"

#ifdef __AVX512VNNI__
#define WITH_VNNI 1
#else
#define WITH_VNNI 0
#endif

/* Without VNNI, inputs of a row that are widened at a time: a tile's are 12 KB of stack. Widened once for PANELS
 * panels, they cost a hundredth of the products. */
enum { LANES = 16, COLS = 2 * LANES, ROWS = 12, GROUP = WITH_VNNI ? 4 : 2, OFFSET = WITH_VNNI ? 128 : 0 };
enum { DEPTH = 512, PANELS = 4 };

/* Four bytes or two 16-bit numbers in every lane. */
INLINE __m512i broadcast(const void *x)
{
    int32_t v;
    memcpy(&v, x, sizeof v);
    return _mm512_set1_epi32(v);
}

/* Sums are kept in the type that the instruction works on: where gcc has to convert __m512i to it, it copies every sum
 * to another register and back, and half of the speed is gone. */
typedef int32_t sums __attribute__((vector_size(64)));

INLINE sums dot2(sums s, __m512i a, __m512i b)
{
#if WITH_VNNI
    return (sums)_mm512_dpwssd_epi32((__m512i)s, a, b);
#else
    return (sums)_mm512_add_epi32((__m512i)s, _mm512_madd_epi16(a, b));
#endif
}

/* GROUP weights a lane times as many inputs. */
INLINE sums dot(sums s, __m512i w, __m512i x)
{
#if WITH_VNNI
    return (sums)_mm512_dpbusd_epi32((__m512i)s, w, x);
#else
    return dot2(s, w, x);
#endif
}

INLINE __m512 size_of(__m512 v)
{
    return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), v);
}

/* ---- quantising ---- */

/* Masks cost as much as the rest of the work, so that only a row's end has them: i + 16 <= n is known elsewhere. */
INLINE __m512 value(const float *x, const float *migrate, size_t i, size_t n)
{
    if (i + 16 <= n) {
        __m512 v = _mm512_loadu_ps(x + i);
        return migrate ? _mm512_mul_ps(v, _mm512_loadu_ps(migrate + i)) : v;
    }
    __mmask16 mask = first(n > i ? n - i : 0);
    __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
    return migrate ? _mm512_mul_ps(v, _mm512_maskz_loadu_ps(mask, migrate + i)) : v;
}

/* 64 numbers as bytes, in order. */
INLINE __m512i bytes(const float *x, const float *migrate, size_t i, size_t n, __m512 scale)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i a = _mm512_cvtps_epi32(_mm512_mul_ps(value(x, migrate, i, n), scale));
    __m512i b = _mm512_cvtps_epi32(_mm512_mul_ps(value(x, migrate, i + 16, n), scale));
    __m512i c = _mm512_cvtps_epi32(_mm512_mul_ps(value(x, migrate, i + 32, n), scale));
    __m512i d = _mm512_cvtps_epi32(_mm512_mul_ps(value(x, migrate, i + 48, n), scale));
    __m512i packed = _mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
    return _mm512_permutexvar_epi32(order, packed);
}

INLINE __m512i add_bytes(__m512i sum, __m512i q)
{
    const __m512i ones = _mm512_set1_epi8(1);
#if WITH_VNNI
    return _mm512_dpbusd_epi32(sum, ones, q);
#else
    return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(ones, q), _mm512_set1_epi16(1)));
#endif
}

INLINE void quantize_row(const float *x, size_t n, const float *migrate, const wr_s8_rows *to, size_t r)
{
    __m512 max[4];
    size_t whole = n / 64 * 64;
    UNROLL for (size_t j = 0; j < 4; j++) max[j] = _mm512_setzero_ps();
    for (size_t i = 0; i < whole; i += 64)
        UNROLL for (size_t j = 0; j < 4; j++) max[j] =
            _mm512_max_ps(max[j], size_of(value(x, migrate, i + 16 * j, i + 64)));
    for (size_t i = whole; i < n; i += 16) max[0] = _mm512_max_ps(max[0], size_of(value(x, migrate, i, n)));
    float most = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(max[0], max[1]), _mm512_max_ps(max[2], max[3])));
    __m512 scale = _mm512_set1_ps(most > 0 ? 127 / most : 0);
    __m512i sum = _mm512_setzero_si512();
    for (size_t i = 0; i < to->stride; i += 64) {
        __m512i q = i < whole ? bytes(x, migrate, i, i + 64, scale) : bytes(x, migrate, i, n, scale);
        _mm512_storeu_si512(to->q + r * to->stride + i, q);
        sum = add_bytes(sum, q);
    }
    to->scale[r] = most / 127;
    to->sum[r] = _mm512_reduce_add_epi32(sum);
}

static void quantize_s8(const float *x, size_t rows, size_t n, const float *migrate, const wr_s8_rows *to)
{
    if (migrate)
        for (size_t r = 0; r < rows; r++) quantize_row(x + r * n, n, migrate, to, r);
    else
        for (size_t r = 0; r < rows; r++) quantize_row(x + r * n, n, NULL, to, r);
}

/* ---- the matrix product ---- */

static size_t packed_s8(size_t out, size_t in)
{
    return (out + COLS - 1) / COLS * COLS * ((in + GROUP - 1) / GROUP * GROUP);
}

/* Panels of 32 outputs, each [in / GROUP][32][GROUP]. */
static void pack_s8(const int8_t *w, size_t out, size_t in, void *packed)
{
    uint8_t *to = packed;
    for (size_t panel = 0; panel < out; panel += COLS)
        for (size_t i = 0; i < in; i += GROUP)
            for (size_t c = 0; c < COLS; c++)
                for (size_t j = 0; j < GROUP; j++)
                    *to++ = (uint8_t)((panel + c < out && i + j < in ? w[(panel + c) * in + i + j] : 0) + OFFSET);
}

INLINE __m512i weights(const int8_t *w)
{
#if WITH_VNNI
    return _mm512_loadu_si512(w);
#else
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)w));
#endif
}

/* acc [rows, 32] = (more ? acc : 0) + x w: n groups of inputs, each 4 bytes of a row, rows `stride` bytes apart. */
INLINE void tile(const size_t rows, const char *x, size_t stride, const int8_t *w, size_t n, bool more, int32_t *acc)
{
    sums a[ROWS], b[ROWS];
    UNROLL for (size_t r = 0; r < rows; r++)
    {
        a[r] = (sums)(more ? _mm512_loadu_si512(acc + r * COLS) : _mm512_setzero_si512());
        b[r] = (sums)(more ? _mm512_loadu_si512(acc + r * COLS + LANES) : _mm512_setzero_si512());
    }
    for (size_t g = 0; g < n; g++, w += COLS * GROUP, x += 4) {
        __m512i wa = weights(w), wb = weights(w + LANES * GROUP);
        UNROLL for (size_t r = 0; r < rows; r++)
        {
            __m512i v = broadcast(x + r * stride);
            a[r] = dot(a[r], wa, v);
            b[r] = dot(b[r], wb, v);
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++)
    {
        _mm512_storeu_si512(acc + r * COLS, (__m512i)a[r]);
        _mm512_storeu_si512(acc + r * COLS + LANES, (__m512i)b[r]);
    }
}

#define TILE(ROWS_)                                                                                                    \
    static __attribute__((noinline)) void tile_##ROWS_(const char *x, size_t stride, const int8_t *w, size_t n,        \
                                                       bool more, int32_t *acc)                                        \
    {                                                                                                                  \
        tile(ROWS_, x, stride, w, n, more, acc);                                                                       \
    }

/* clang-format off */
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
    /* clang-format on */

    typedef void (*tile_fn)(const char *x, size_t stride, const int8_t *w, size_t n, bool more, int32_t *acc);

static const tile_fn tiles[ROWS + 1] = {NULL,   tile_1, tile_2, tile_3,  tile_4,  tile_5, tile_6,
                                        tile_7, tile_8, tile_9, tile_10, tile_11, tile_12};

INLINE __m512 gelu(__m512 x)
{
    static const float g[] = WR_GELU8_G;
    const __m512 end = _mm512_set1_ps(WR_GELU8_END);
    __m512 z = _mm512_min_ps(_mm512_max_ps(x, _mm512_sub_ps(_mm512_setzero_ps(), end)), end);
    __m512 square = _mm512_mul_ps(z, z), y = _mm512_set1_ps(g[6]);
    UNROLL for (size_t i = 6; i-- > 0;) y = _mm512_fmadd_ps(y, square, _mm512_set1_ps(g[i]));
    return _mm512_mul_ps(_mm512_fmadd_ps(z, y, _mm512_set1_ps(0.5f)), x);
}

/* 16 outputs from o: sums of a tile's rows to numbers. */
INLINE void finish_half(const wr_s8_rows *x, size_t at, size_t rows, const wr_s8_weights *w, size_t o,
                        const int32_t *acc, const wr_s8_act act, float *y, size_t y_stride)
{
    __mmask16 mask = first(w->out - o);
    __m512 scale = _mm512_maskz_loadu_ps(mask, w->scale + o);
    __m512 bias = w->bias ? _mm512_maskz_loadu_ps(mask, w->bias + o) : scale;
    for (size_t r = 0; r < rows; r++) {
        __m512i sum = _mm512_sub_epi32(_mm512_loadu_si512(acc + r * COLS), _mm512_set1_epi32(OFFSET * x->sum[at + r]));
        __m512 s = _mm512_mul_ps(_mm512_set1_ps(x->scale[at + r]), scale), v = _mm512_cvtepi32_ps(sum);
        v = w->bias ? _mm512_fmadd_ps(s, v, bias) : _mm512_mul_ps(s, v);
        if (act == WR_S8_GELU) v = gelu(v);
        if (act == WR_S8_RELU) v = _mm512_max_ps(v, _mm512_setzero_ps());
        _mm512_mask_storeu_ps(y + (at + r) * y_stride + o, mask, v);
    }
}

static void finish(const wr_s8_rows *x, size_t at, size_t rows, const wr_s8_weights *w, size_t o, const int32_t *acc,
                   wr_s8_act act, float *y, size_t y_stride)
{
    for (; o < w->out; o += LANES, acc += LANES) {
        if (act == WR_S8_GELU)
            finish_half(x, at, rows, w, o, acc, WR_S8_GELU, y, y_stride);
        else if (act == WR_S8_RELU)
            finish_half(x, at, rows, w, o, acc, WR_S8_RELU, y, y_stride);
        else
            finish_half(x, at, rows, w, o, acc, WR_S8_PLAIN, y, y_stride);
        if (o % COLS) return;
    }
}

/* Inputs i .. i + n of some rows as the tiles read them: 4 bytes a group. */
typedef struct inputs {
    const char *at;
    size_t stride; /* bytes */
#if !WITH_VNNI
    int16_t wide[ROWS * DEPTH];
#endif
} inputs;

INLINE void read_inputs(const wr_s8_rows *x, size_t at, size_t rows, size_t i, size_t n, inputs *to)
{
    const int8_t *q = x->q + at * x->stride + i;
#if WITH_VNNI
    (void)rows, (void)n;
    to->at = (const char *)q;
    to->stride = x->stride;
#else
    to->at = (const char *)to->wide;
    to->stride = DEPTH * sizeof *to->wide;
    for (size_t r = 0; r < rows; r++, q += x->stride)
        for (size_t c = 0; c < n; c += 32) /* rows are multiples of 64 bytes */
            _mm512_storeu_si512(to->wide + r * DEPTH + c,
                                _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(q + c))));
#endif
}

/* The largest of a tile's products for each output, and of those that m holds when it is not the first tile. */
INLINE void fold(const wr_s8_rows *x, size_t at, size_t rows, const wr_s8_weights *w, size_t o, const int32_t *acc,
                 float *m)
{
    for (size_t half = 0; half < 2 && o < w->out; half++, o += LANES, acc += LANES) {
        __mmask16 mask = first(w->out - o);
        __m512 scale = _mm512_maskz_loadu_ps(mask, w->scale + o);
        __m512 max = at ? _mm512_maskz_loadu_ps(mask, m + o) : _mm512_set1_ps(-INFINITY);
        for (size_t r = 0; r < rows; r++) {
            __m512i offset = _mm512_set1_epi32(OFFSET * x->sum[at + r]);
            __m512 v = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(acc + r * COLS), offset));
            max = _mm512_max_ps(_mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(x->scale[at + r]), scale), v), max);
        }
        _mm512_mask_storeu_ps(m + o, mask, max);
    }
}

/* Outputs from .. to of all rows, or with max what the rows' largest are. */
INLINE void multiply(const wr_s8_rows *x, size_t rows, const wr_s8_weights *w, size_t from, size_t to, wr_s8_act act,
                     const bool max, float *y, size_t y_stride)
{
    size_t groups = (rows + ROWS - 1) / ROWS, row_bytes = (w->in + GROUP - 1) / GROUP * GROUP;
    inputs in;
    for (size_t o = from; o < to; o += PANELS * COLS) {
        size_t panels = ((to - o < PANELS * COLS ? to - o : PANELS * COLS) + COLS - 1) / COLS;
        for (size_t g = 0, at = 0; g < groups; g++) { /* rows shared out evenly: 13 are 6 and 7, not 12 and 1 */
            size_t some = rows * (g + 1) / groups - at;
            int32_t acc[PANELS][ROWS * COLS];
            for (size_t i = 0; i < w->in; i += DEPTH) {
                size_t n = w->in - i < DEPTH ? w->in - i : DEPTH;
                const int8_t *weight = (const int8_t *)w->packed + o * row_bytes + i * COLS;
                read_inputs(x, at, some, i, n, &in);
                for (size_t p = 0; p < panels; p++, weight += COLS * row_bytes)
                    tiles[some](in.at, in.stride, weight, (n + GROUP - 1) / GROUP, i > 0, acc[p]);
            }
            for (size_t p = 0; p < panels; p++)
                if (max)
                    fold(x, at, some, w, o + p * COLS, acc[p], y);
                else
                    finish(x, at, some, w, o + p * COLS, acc[p], act, y, y_stride);
            at += some;
        }
    }
}

static void gemm_s8(const wr_s8_rows *x, size_t rows, const wr_s8_weights *w, size_t from, size_t to, wr_s8_act act,
                    float *y, size_t y_stride)
{
    multiply(x, rows, w, from, to, act, false, y, y_stride);
}

static void gemm_max_s8(const wr_s8_rows *x, size_t rows, const wr_s8_weights *w, size_t from, size_t to, float *m)
{
    multiply(x, rows, w, from, to, WR_S8_PLAIN, true, m, 0);
    for (size_t o = from; o < to && w->bias; o++) m[o] += w->bias[o];
}

/* ---- attention ---- */

/* out[r][0 .. 16 vecs) = sum_k a[r][2k] b[k][2c] + a[r][2k + 1] b[k][2c + 1]: pairs of 16-bit numbers, b one register
 * of 16 pairs after the other. */
INLINE void tile_s16(const size_t rows, const size_t vecs, const int16_t *a, size_t a_stride, const int32_t *b,
                     size_t b_stride, size_t n, int32_t *out, size_t out_stride)
{
    sums s[ROWS], t[ROWS];
    UNROLL for (size_t r = 0; r < rows; r++) s[r] = t[r] = (sums)_mm512_setzero_si512();
    for (size_t k = 0; k < n; k++, b += b_stride) {
        __m512i x = _mm512_loadu_si512(b), y = vecs > 1 ? _mm512_loadu_si512(b + LANES) : x;
        UNROLL for (size_t r = 0; r < rows; r++)
        {
            __m512i v = broadcast(a + r * a_stride + 2 * k);
            s[r] = dot2(s[r], x, v);
            if (vecs > 1) t[r] = dot2(t[r], y, v);
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++)
    {
        _mm512_storeu_si512(out + r * out_stride, (__m512i)s[r]);
        if (vecs > 1) _mm512_storeu_si512(out + r * out_stride + LANES, (__m512i)t[r]);
    }
}

#define TILE16(ROWS_)                                                                                                  \
    static __attribute__((noinline)) void tile16_##ROWS_(const int16_t *a, size_t a_stride, const int32_t *b,          \
                                                         size_t b_stride, size_t n, int32_t *out, size_t out_stride,   \
                                                         size_t vecs)                                                  \
    {                                                                                                                  \
        size_t v = 0;                                                                                                  \
        for (; v + 2 <= vecs; v += 2)                                                                                  \
            tile_s16(ROWS_, 2, a, a_stride, b + v * LANES, b_stride, n, out + v * LANES, out_stride);                  \
        if (v < vecs) tile_s16(ROWS_, 1, a, a_stride, b + v * LANES, b_stride, n, out + v * LANES, out_stride);        \
    }

/* clang-format off */
TILE16(1) TILE16(2) TILE16(3) TILE16(4) TILE16(5) TILE16(6)
TILE16(7) TILE16(8) TILE16(9) TILE16(10) TILE16(11) TILE16(12)
    /* clang-format on */

    typedef void (*tile16_fn)(const int16_t *a, size_t a_stride, const int32_t *b, size_t b_stride, size_t n,
                              int32_t *out, size_t out_stride, size_t vecs);

static const tile16_fn tiles16[ROWS + 1] = {NULL,     tile16_1, tile16_2, tile16_3,  tile16_4,  tile16_5, tile16_6,
                                            tile16_7, tile16_8, tile16_9, tile16_10, tile16_11, tile16_12};

/* What one head works on; all in the caller's scratch. */
typedef struct head {
    size_t pairs;    /* of a query's numbers: 16 for each 32 of the width       */
    size_t key_vecs; /* registers of 16 keys                                    */
    size_t col_vecs; /* registers of 16 columns                                 */
    int32_t *k;      /* [pairs][key_vecs * 16] pairs of numbers of a key        */
    int32_t *v;      /* [(n + 1) / 2][col_vecs * 16] pairs of keys of a column  */
    int16_t *q;      /* [nq][2 * pairs]                                         */
    float *unit;     /* [nq] what a difference of similarities is multiplied by */
    int32_t *sum;    /* [ROWS][max(key_vecs, col_vecs) * 16]                    */
    int16_t *p;      /* [ROWS][key_vecs * 16]                                   */
    float k_unit, v_unit;
} head;

/* n numbers of 4 bytes, on a multiple of 64 bytes. */
static void *take(char **at, size_t n)
{
    void *from = *at;
    *at += (n * 4 + 63) / 64 * 64;
    return from;
}

static head head_at(const wr_attention *a)
{
    char *at = a->scratch;
    head h = {.pairs = (a->width + 31) / 32 * 16, .key_vecs = (a->n + 15) / 16, .col_vecs = (a->width + 15) / 16};
    size_t vecs = h.key_vecs > h.col_vecs ? h.key_vecs : h.col_vecs;
    h.k = take(&at, h.pairs * h.key_vecs * LANES);
    h.v = take(&at, (a->n + 1) / 2 * h.col_vecs * LANES);
    h.q = take(&at, a->nq * h.pairs);
    h.unit = take(&at, a->nq);
    h.sum = take(&at, ROWS * vecs * LANES);
    h.p = take(&at, ROWS * h.key_vecs * LANES / 2);
    return h;
}

static float absmax(const float *x, size_t rows, size_t stride, size_t n)
{
    __m512 max = _mm512_setzero_ps(), other = max;
    if (n % 32 == 0)
        for (size_t r = 0; r < rows; r++, x += stride)
            for (size_t i = 0; i < n; i += 32) {
                max = _mm512_max_ps(max, size_of(_mm512_loadu_ps(x + i)));
                other = _mm512_max_ps(other, size_of(_mm512_loadu_ps(x + i + 16)));
            }
    else
        for (size_t r = 0; r < rows; r++, x += stride)
            for (size_t i = 0; i < n; i += 16)
                max = _mm512_max_ps(max, size_of(_mm512_maskz_loadu_ps(first(n - i), x + i)));
    return _mm512_reduce_max_ps(_mm512_max_ps(max, other));
}

/* 32 numbers as 16 pairs, in an order that is the same for queries and keys. */
INLINE __m512i pairs_of(const float *x, size_t n, __m512 scale)
{
    __m512 a = _mm512_maskz_loadu_ps(first(n), x), b = _mm512_maskz_loadu_ps(first(n > 16 ? n - 16 : 0), x + 16);
    return _mm512_packs_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(a, scale)), _mm512_cvtps_epi32(_mm512_mul_ps(b, scale)));
}

static void quantize_queries(const wr_attention *a, const head *h)
{
    float over_root = WR_EXP_LOG2E / sqrtf((float)a->width);
    for (size_t i = 0; i < a->nq; i++) {
        const float *q = a->q + i * a->q_stride;
        float max = absmax(q, 1, 0, a->width);
        __m512 scale = _mm512_set1_ps(max > 0 ? WR_ATTEND_QK / max : 0);
        for (size_t c = 0; c < a->width; c += 32)
            _mm512_storeu_si512(h->q + i * 2 * h->pairs + c, pairs_of(q + c, a->width - c, scale));
        h->unit[i] = (max / WR_ATTEND_QK * h->k_unit) * over_root;
    }
}

static void quantize_keys(const wr_attention *a, head *h)
{
    float max = absmax(a->k, a->n, a->kv_stride, a->width);
    __m512 scale = _mm512_set1_ps(max > 0 ? WR_ATTEND_QK / max : 0);
    size_t stride = h->key_vecs * LANES;
    h->k_unit = max / WR_ATTEND_QK;
    for (size_t c = 0; c < a->width; c += 32)
        for (size_t j = 0; j < a->n; j += 16) {
            __m512i key[16];
            const float *k = a->k + j * a->kv_stride + c;
            UNROLL for (size_t i = 0; i < 16; i++) key[i] =
                j + i < a->n ? pairs_of(k + i * a->kv_stride, a->width - c, scale) : _mm512_setzero_si512();
            transpose(key);
            UNROLL for (size_t i = 0; i < 16; i++) _mm512_storeu_si512(h->k + (c / 2 + i) * stride + j, key[i]);
        }
}

static void quantize_values(const wr_attention *a, head *h)
{
    float max = absmax(a->v, a->n, a->kv_stride, a->width);
    __m512 scale = _mm512_set1_ps(max > 0 ? WR_ATTEND_V / max : 0);
    size_t stride = h->col_vecs * LANES;
    h->v_unit = max / WR_ATTEND_V;
    for (size_t j = 0; j < a->n; j += 2)
        for (size_t c = 0; c < a->width; c += 16) {
            const float *v = a->v + j * a->kv_stride + c;
            __mmask16 mask = first(a->width - c), second = j + 1 < a->n ? mask : 0;
            __m512i x = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(mask, v), scale));
            __m512i y = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(second, v + a->kv_stride), scale));
            __m512i both = _mm512_mask_blend_epi16(0xaaaaaaaau, x, _mm512_slli_epi32(y, 16));
            _mm512_storeu_si512(h->v + j / 2 * stride + c, both);
        }
}

INLINE __m512i probability(__m512 x, __m512 peak)
{
    static const float e[] = WR_EXP2_E;
    const __m512 round = _mm512_set1_ps(WR_EXP_ROUND);
    x = _mm512_max_ps(x, _mm512_set1_ps(WR_EXP2_LOWEST));
    __m512 shifted = _mm512_add_ps(x, round), r = _mm512_sub_ps(x, _mm512_sub_ps(shifted, round));
    __m512 y = _mm512_fmadd_ps(_mm512_set1_ps(e[2]), r, _mm512_set1_ps(e[1]));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(e[0]));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1));
    __m512i bits = _mm512_add_epi32(_mm512_castps_si512(y), _mm512_slli_epi32(_mm512_castps_si512(shifted), 23));
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_castsi512_ps(bits), peak));
}

/* Similarities s [n] to probabilities p; returns their sum. What lies between n and whole registers becomes 0. */
INLINE int32_t softmax_row(const int32_t *s, size_t n, float unit, float peak, int16_t *p)
{
    __m512i max = _mm512_set1_epi32(INT32_MIN), sum = _mm512_setzero_si512();
    size_t whole = n / 16 * 16;
    __mmask16 rest = first(n - whole);
    for (size_t j = 0; j < whole; j += 16) max = _mm512_max_epi32(max, _mm512_loadu_si512(s + j));
    if (rest) max = _mm512_mask_max_epi32(max, rest, max, _mm512_loadu_si512(s + whole));
    max = _mm512_set1_epi32(_mm512_reduce_max_epi32(max));
    const __m512 units = _mm512_set1_ps(unit), peaks = _mm512_set1_ps(peak);
    for (size_t j = 0; j < whole; j += 16) {
        __m512i d = _mm512_sub_epi32(_mm512_loadu_si512(s + j), max);
        __m512i v = probability(_mm512_mul_ps(_mm512_cvtepi32_ps(d), units), peaks);
        sum = _mm512_add_epi32(sum, v);
        _mm256_storeu_si256((__m256i *)(p + j), _mm512_cvtepi32_epi16(v));
    }
    if (rest) {
        __m512i d = _mm512_sub_epi32(_mm512_loadu_si512(s + whole), max);
        __m512i v = _mm512_maskz_mov_epi32(rest, probability(_mm512_mul_ps(_mm512_cvtepi32_ps(d), units), peaks));
        sum = _mm512_add_epi32(sum, v);
        _mm256_storeu_si256((__m256i *)(p + whole), _mm512_cvtepi32_epi16(v));
    }
    return _mm512_reduce_add_epi32(sum);
}

static void gather_row(const wr_attention *a, const head *h, const int32_t *sum, int32_t total, float *ctx)
{
    __m512 unit = _mm512_set1_ps(h->v_unit / (float)total);
    for (size_t c = 0; c < a->width; c += 16)
        _mm512_mask_storeu_ps(ctx + c, first(a->width - c),
                              _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sum + c)), unit));
}

/* received [n] += p / total, of 16-bit probabilities. */
INLINE void add_received(const int16_t *p, size_t n, int32_t total, float *received)
{
    __m512 share = _mm512_set1_ps(1 / (float)total);
    for (size_t j = 0; j < n; j += LANES) {
        __mmask16 mask = first(n - j);
        __m512 v = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)(p + j))));
        __m512 sum = _mm512_fmadd_ps(v, share, _mm512_maskz_loadu_ps(mask, received + j));
        _mm512_mask_storeu_ps(received + j, mask, sum);
    }
}

static void attend_s16(const wr_attention *a)
{
    assert(a->n >= 1 && a->n <= WR_ATTEND_KEYS && a->width <= WR_ATTEND_WIDTH);
    head h = head_at(a);
    size_t keys = h.key_vecs * LANES, cols = h.col_vecs * LANES, groups = (a->nq + ROWS - 1) / ROWS;
    float peak = (float)wr_attend_peak(a->n);
    quantize_keys(a, &h);
    quantize_values(a, &h);
    quantize_queries(a, &h);
    for (size_t g = 0, at = 0; g < groups; g++) {
        size_t rows = a->nq * (g + 1) / groups - at;
        int32_t total[ROWS];
        tiles16[rows](h.q + at * 2 * h.pairs, 2 * h.pairs, h.k, keys, h.pairs, h.sum, keys, h.key_vecs);
        for (size_t r = 0; r < rows; r++)
            total[r] = softmax_row(h.sum + r * keys, a->n, h.unit[at + r], peak, h.p + r * keys);
        for (size_t r = 0; r < rows && a->received; r++) add_received(h.p + r * keys, a->n, total[r], a->received);
        tiles16[rows](h.p, keys, h.v, cols, (a->n + 1) / 2, h.sum, cols, h.col_vecs);
        for (size_t r = 0; r < rows; r++)
            gather_row(a, &h, h.sum + r * cols, total[r], a->ctx + (at + r) * a->ctx_stride);
        at += rows;
    }
}

static void fill_s8(wr_kernels *table)
{
    table->quantize_s8 = quantize_s8;
    table->gemm_s8 = gemm_s8;
    table->gemm_max_s8 = gemm_max_s8;
    table->s8_cols = COLS;
    table->packed_s8 = packed_s8;
    table->pack_s8 = pack_s8;
    table->attend_s16 = attend_s16;
}

#endif
