/* The 8-bit kernels in 256-bit registers: private to the files that compile it, each with another way to multiply.
 * With AVX-VNNI four bytes a lane go through vpdpbusd, weights unsigned (128 too large, which the rows' sums take off
 * again); without it both sides are widened to 16 bits and two of them a lane go through vpmaddwd, which cannot
 * saturate. vpmaddubsw, the byte instruction of AVX2, does.
 *
 * A tile of up to 6 rows and 2 vectors of 8 outputs is held in registers (12 sums, two weights, one broadcast input,
 * one product) while the inputs pass. The number of rows is a constant in each copy of the code, so that the loops over
 * it unroll and the sums stay in registers. */
#ifndef WR_MODELS_KERNELS_AVX2_S8_H
#define WR_MODELS_KERNELS_AVX2_S8_H

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "models/kernels.h"
#include "models/kernels_avx2_lanes.h"

#if defined(__AVXVNNI__) && !defined(__AVX512VNNI__)
#define WITH_VNNI 1
#define DPBUSD _mm256_dpbusd_avx_epi32
#define DPWSSD _mm256_dpwssd_avx_epi32
#elif defined(__AVX512VNNI__)
#define WITH_VNNI 1
#define DPBUSD _mm256_dpbusd_epi32
#define DPWSSD _mm256_dpwssd_epi32
#else
#define WITH_VNNI 0
#endif

/* Inputs of a row that are widened at a time: a tile's are 9 KB of stack, a panel's weights 12 KB, both in the
 * first-level cache. Widened once for PANELS panels, they cost a hundredth of the products. */
enum { LANES = 8, COLS = 2 * LANES, ROWS = 6, GROUP = WITH_VNNI ? 4 : 2, OFFSET = WITH_VNNI ? 128 : 0 };
enum { DEPTH = 768, PANELS = 4 };

/* Sums are kept in the type that the instructions work on: gcc copies __m256i to and fro. */
typedef int32_t sums __attribute__((vector_size(32)));

INLINE __m256i load_words(const void *p)
{
    return _mm256_loadu_si256(p);
}

INLINE void store_words(void *p, __m256i v)
{
    _mm256_storeu_si256(p, v);
}

/* Four bytes or two 16-bit numbers in every lane. */
INLINE __m256i broadcast(const void *x)
{
    int32_t v;
    memcpy(&v, x, sizeof v);
    return _mm256_set1_epi32(v);
}

INLINE sums dot2(sums s, __m256i a, __m256i b)
{
#if WITH_VNNI
    return (sums)DPWSSD((__m256i)s, a, b);
#else
    return (sums)_mm256_add_epi32((__m256i)s, _mm256_madd_epi16(a, b));
#endif
}

/* GROUP weights a lane times as many inputs. */
INLINE sums dot(sums s, __m256i w, __m256i x)
{
#if WITH_VNNI
    return (sums)DPBUSD((__m256i)s, w, x);
#else
    return dot2(s, w, x);
#endif
}

INLINE __m256 size_of(__m256 v)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);
}

INLINE float largest(__m256 v)
{
    __m128 h = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    h = _mm_max_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)));
}

INLINE int32_t total_of(__m256i v)
{
    __m128i h = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(h, _mm_shuffle_epi32(h, 0xb1)));
}

/* ---- quantising ---- */

INLINE __m256 value(const float *x, const float *migrate, size_t i, size_t n)
{
    if (i >= n) return _mm256_setzero_ps();
    __m256 v = load(x + i, n - i);
    return migrate ? _mm256_mul_ps(v, load(migrate + i, n - i)) : v;
}

/* 32 numbers as bytes, in order. */
INLINE __m256i bytes(const float *x, const float *migrate, size_t i, size_t n, __m256 scale)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(value(x, migrate, i, n), scale));
    __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(value(x, migrate, i + 8, n), scale));
    __m256i c = _mm256_cvtps_epi32(_mm256_mul_ps(value(x, migrate, i + 16, n), scale));
    __m256i d = _mm256_cvtps_epi32(_mm256_mul_ps(value(x, migrate, i + 24, n), scale));
    __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    return _mm256_permutevar8x32_epi32(packed, order);
}

INLINE __m256i sum_of_bytes(__m256i q)
{
    const __m256i ones = _mm256_set1_epi8(1);
    return _mm256_madd_epi16(_mm256_maddubs_epi16(ones, q), _mm256_set1_epi16(1));
}

INLINE void quantize_row(const float *x, size_t n, const float *migrate, const wr_s8_rows *to, size_t r)
{
    __m256 max[4];
    size_t whole = n / 32 * 32;
    UNROLL for (size_t j = 0; j < 4; j++) max[j] = _mm256_setzero_ps();
    for (size_t i = 0; i < whole; i += 32)
        UNROLL for (size_t j = 0; j < 4; j++) max[j] =
            _mm256_max_ps(max[j], size_of(value(x, migrate, i + 8 * j, whole)));
    for (size_t i = whole; i < n; i += 8) max[0] = _mm256_max_ps(max[0], size_of(value(x, migrate, i, n)));
    float most = largest(_mm256_max_ps(_mm256_max_ps(max[0], max[1]), _mm256_max_ps(max[2], max[3])));
    __m256 scale = _mm256_set1_ps(most > 0 ? 127 / most : 0);
    __m256i sum = _mm256_setzero_si256();
    int8_t *q = to->q + r * to->stride;
    for (size_t i = 0; i < to->stride; i += 32) {
        __m256i v = i < whole ? bytes(x, migrate, i, i + 32, scale) : bytes(x, migrate, i, n, scale);
        store_words(q + i, v);
        sum = _mm256_add_epi32(sum, sum_of_bytes(v));
    }
    to->scale[r] = most / 127;
    to->sum[r] = total_of(sum);
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

/* Panels of 16 outputs, each [in / GROUP][16][GROUP]. */
static void pack_s8(const int8_t *w, size_t out, size_t in, void *packed)
{
    uint8_t *to = packed;
    for (size_t panel = 0; panel < out; panel += COLS)
        for (size_t i = 0; i < in; i += GROUP)
            for (size_t c = 0; c < COLS; c++)
                for (size_t j = 0; j < GROUP; j++)
                    *to++ = (uint8_t)((panel + c < out && i + j < in ? w[(panel + c) * in + i + j] : 0) + OFFSET);
}

INLINE __m256i weights(const int8_t *w)
{
#if WITH_VNNI
    return load_words(w);
#else
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)w));
#endif
}

/* acc [rows, 16] = (more ? acc : 0) + x w: n groups of inputs, each 4 bytes of a row, rows `stride` bytes apart. */
INLINE void tile(const size_t rows, const char *x, size_t stride, const int8_t *w, size_t n, bool more, int32_t *acc)
{
    sums a[ROWS], b[ROWS];
    UNROLL for (size_t r = 0; r < rows; r++)
    {
        a[r] = (sums)(more ? load_words(acc + r * COLS) : _mm256_setzero_si256());
        b[r] = (sums)(more ? load_words(acc + r * COLS + LANES) : _mm256_setzero_si256());
    }
    for (size_t g = 0; g < n; g++, w += COLS * GROUP, x += 4) {
        __m256i wa = weights(w), wb = weights(w + LANES * GROUP);
        UNROLL for (size_t r = 0; r < rows; r++)
        {
            __m256i v = broadcast(x + r * stride);
            a[r] = dot(a[r], wa, v);
            b[r] = dot(b[r], wb, v);
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++)
    {
        store_words(acc + r * COLS, (__m256i)a[r]);
        store_words(acc + r * COLS + LANES, (__m256i)b[r]);
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
    /* clang-format on */

    typedef void (*tile_fn)(const char *x, size_t stride, const int8_t *w, size_t n, bool more, int32_t *acc);

static const tile_fn tiles[ROWS + 1] = {NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};

INLINE __m256 gelu(__m256 x)
{
    static const float g[] = WR_GELU8_G;
    const __m256 end = _mm256_set1_ps(WR_GELU8_END);
    __m256 z = _mm256_min_ps(_mm256_max_ps(x, _mm256_sub_ps(_mm256_setzero_ps(), end)), end);
    __m256 square = _mm256_mul_ps(z, z), y = _mm256_set1_ps(g[6]);
    UNROLL for (size_t i = 6; i-- > 0;) y = _mm256_fmadd_ps(y, square, _mm256_set1_ps(g[i]));
    return _mm256_mul_ps(_mm256_fmadd_ps(z, y, _mm256_set1_ps(0.5f)), x);
}

/* 8 outputs from o: sums of a tile's rows to numbers. */
INLINE void finish_half(const wr_s8_rows *x, size_t at, size_t rows, const wr_s8_weights *w, size_t o,
                        const int32_t *acc, const wr_s8_act act, float *y, size_t y_stride)
{
    size_t n = w->out - o;
    __m256 scale = load(w->scale + o, n), bias = w->bias ? load(w->bias + o, n) : scale;
    for (size_t r = 0; r < rows; r++) {
        __m256i sum = _mm256_sub_epi32(load_words(acc + r * COLS), _mm256_set1_epi32(OFFSET * x->sum[at + r]));
        __m256 s = _mm256_mul_ps(_mm256_set1_ps(x->scale[at + r]), scale), v = _mm256_cvtepi32_ps(sum);
        v = w->bias ? _mm256_fmadd_ps(s, v, bias) : _mm256_mul_ps(s, v);
        if (act == WR_S8_GELU) v = gelu(v);
        if (act == WR_S8_RELU) v = _mm256_max_ps(v, _mm256_setzero_ps());
        store(y + (at + r) * y_stride + o, n, v);
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
        for (size_t c = 0; c < n; c += 16) /* rows are multiples of 64 bytes */
            store_words(to->wide + r * DEPTH + c, _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(q + c))));
#endif
}

/* The largest of a tile's products for each output, and of those that m holds when it is not the first tile. */
INLINE void fold(const wr_s8_rows *x, size_t at, size_t rows, const wr_s8_weights *w, size_t o, const int32_t *acc,
                 float *m)
{
    for (size_t half = 0; half < 2 && o < w->out; half++, o += LANES, acc += LANES) {
        size_t n = w->out - o;
        __m256 scale = load(w->scale + o, n), max = at ? load(m + o, n) : _mm256_set1_ps(-INFINITY);
        for (size_t r = 0; r < rows; r++) {
            __m256i offset = _mm256_set1_epi32(OFFSET * x->sum[at + r]);
            __m256 v = _mm256_cvtepi32_ps(_mm256_sub_epi32(load_words(acc + r * COLS), offset));
            max = _mm256_max_ps(_mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(x->scale[at + r]), scale), v), max);
        }
        store(m + o, n, max);
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
        for (size_t g = 0, at = 0; g < groups; g++) { /* rows shared out evenly: 7 are 3 and 4, not 6 and 1 */
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

/* out[r][0 .. 8 vecs) = sum_k a[r][2k] b[k][2c] + a[r][2k + 1] b[k][2c + 1]: pairs of 16-bit numbers, b one register of
 * 8 pairs after the other. */
INLINE void tile_s16(const size_t rows, const size_t vecs, const int16_t *a, size_t a_stride, const int32_t *b,
                     size_t b_stride, size_t n, int32_t *out, size_t out_stride)
{
    sums s[ROWS], t[ROWS];
    UNROLL for (size_t r = 0; r < rows; r++) s[r] = t[r] = (sums)_mm256_setzero_si256();
    for (size_t k = 0; k < n; k++, b += b_stride) {
        __m256i x = load_words(b), y = vecs > 1 ? load_words(b + LANES) : x;
        UNROLL for (size_t r = 0; r < rows; r++)
        {
            __m256i v = broadcast(a + r * a_stride + 2 * k);
            s[r] = dot2(s[r], x, v);
            if (vecs > 1) t[r] = dot2(t[r], y, v);
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++)
    {
        store_words(out + r * out_stride, (__m256i)s[r]);
        if (vecs > 1) store_words(out + r * out_stride + LANES, (__m256i)t[r]);
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
    /* clang-format on */

    typedef void (*tile16_fn)(const int16_t *a, size_t a_stride, const int32_t *b, size_t b_stride, size_t n,
                              int32_t *out, size_t out_stride, size_t vecs);

static const tile16_fn tiles16[ROWS + 1] = {NULL, tile16_1, tile16_2, tile16_3, tile16_4, tile16_5, tile16_6};

/* What one head works on; all in the caller's scratch. */
typedef struct head {
    size_t pairs;    /* of a query's numbers: 8 for each 16 of the width        */
    size_t key_vecs; /* registers of 8 keys                                     */
    size_t col_vecs; /* registers of 8 columns                                  */
    int32_t *k;      /* [pairs][key_vecs * 8] pairs of numbers of a key         */
    int32_t *v;      /* [(n + 1) / 2][col_vecs * 8] pairs of keys of a column   */
    int16_t *q;      /* [nq][2 * pairs]                                         */
    float *unit;     /* [nq] what a difference of similarities is multiplied by */
    int32_t *sum;    /* [ROWS][max(key_vecs, col_vecs) * 8]                     */
    int16_t *p;      /* [ROWS][key_vecs * 8]                                    */
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
    head h = {.pairs = (a->width + 15) / 16 * 8, .key_vecs = (a->n + 7) / 8, .col_vecs = (a->width + 7) / 8};
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
    __m256 max = _mm256_setzero_ps(), other = max;
    for (size_t r = 0; r < rows; r++, x += stride) {
        size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            max = _mm256_max_ps(max, size_of(_mm256_loadu_ps(x + i)));
            other = _mm256_max_ps(other, size_of(_mm256_loadu_ps(x + i + 8)));
        }
        for (; i < n; i += 8) max = _mm256_max_ps(max, size_of(load(x + i, n - i)));
    }
    return largest(_mm256_max_ps(max, other));
}

/* The first n of 8 numbers as integers (n may be more). */
INLINE __m256i rounded(const float *x, size_t n, __m256 scale)
{
    return _mm256_cvtps_epi32(_mm256_mul_ps(load(x, n), scale));
}

/* 16 numbers as 8 pairs, in an order that is the same for queries and keys. */
INLINE __m256i pairs_of(const float *x, size_t n, __m256 scale)
{
    return _mm256_packs_epi32(rounded(x, n, scale), n > 8 ? rounded(x + 8, n - 8, scale) : _mm256_setzero_si256());
}

static void quantize_queries(const wr_attention *a, const head *h)
{
    float over_root = WR_EXP_LOG2E / sqrtf((float)a->width);
    for (size_t i = 0; i < a->nq; i++) {
        const float *q = a->q + i * a->q_stride;
        float max = absmax(q, 1, 0, a->width);
        __m256 scale = _mm256_set1_ps(max > 0 ? WR_ATTEND_QK / max : 0);
        for (size_t c = 0; c < a->width; c += 16)
            store_words(h->q + i * 2 * h->pairs + c, pairs_of(q + c, a->width - c, scale));
        h->unit[i] = (max / WR_ATTEND_QK * h->k_unit) * over_root;
    }
}

static void quantize_keys(const wr_attention *a, head *h)
{
    float max = absmax(a->k, a->n, a->kv_stride, a->width);
    __m256 scale = _mm256_set1_ps(max > 0 ? WR_ATTEND_QK / max : 0);
    size_t stride = h->key_vecs * LANES;
    h->k_unit = max / WR_ATTEND_QK;
    for (size_t c = 0; c < a->width; c += 16)
        for (size_t j = 0; j < a->n; j += 8) {
            __m256i key[8];
            const float *k = a->k + j * a->kv_stride + c;
            UNROLL for (size_t i = 0; i < 8; i++) key[i] =
                j + i < a->n ? pairs_of(k + i * a->kv_stride, a->width - c, scale) : _mm256_setzero_si256();
            transpose(key);
            UNROLL for (size_t i = 0; i < 8; i++) store_words(h->k + (c / 2 + i) * stride + j, key[i]);
        }
}

static void quantize_values(const wr_attention *a, head *h)
{
    float max = absmax(a->v, a->n, a->kv_stride, a->width);
    __m256 scale = _mm256_set1_ps(max > 0 ? WR_ATTEND_V / max : 0);
    size_t stride = h->col_vecs * LANES;
    h->v_unit = max / WR_ATTEND_V;
    for (size_t j = 0; j < a->n; j += 2)
        for (size_t c = 0; c < a->width; c += 8) {
            const float *v = a->v + j * a->kv_stride + c;
            __m256i x = rounded(v, a->width - c, scale);
            __m256i y = j + 1 < a->n ? rounded(v + a->kv_stride, a->width - c, scale) : _mm256_setzero_si256();
            store_words(h->v + j / 2 * stride + c, _mm256_blend_epi16(x, _mm256_slli_epi32(y, 16), 0xaa));
        }
}

INLINE __m256i probability(__m256 x, __m256 peak)
{
    static const float e[] = WR_EXP2_E;
    const __m256 round = _mm256_set1_ps(WR_EXP_ROUND);
    x = _mm256_max_ps(x, _mm256_set1_ps(WR_EXP2_LOWEST));
    __m256 shifted = _mm256_add_ps(x, round), r = _mm256_sub_ps(x, _mm256_sub_ps(shifted, round));
    __m256 y = _mm256_fmadd_ps(_mm256_set1_ps(e[2]), r, _mm256_set1_ps(e[1]));
    y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(e[0]));
    y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1));
    __m256i bits = _mm256_add_epi32(_mm256_castps_si256(y), _mm256_slli_epi32(_mm256_castps_si256(shifted), 23));
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_castsi256_ps(bits), peak));
}

/* Similarities s [n] to probabilities p; returns their sum. What lies between n and whole registers becomes 0. */
INLINE int32_t softmax_row(const int32_t *s, size_t n, float unit, float peak, int16_t *p)
{
    const __m256i lowest = _mm256_set1_epi32(INT32_MIN), rest = first(n % 8);
    __m256i max = lowest, sum = _mm256_setzero_si256();
    size_t whole = n / 8 * 8;
    for (size_t j = 0; j < whole; j += 8) max = _mm256_max_epi32(max, load_words(s + j));
    if (whole < n) max = _mm256_max_epi32(max, _mm256_blendv_epi8(lowest, load_words(s + whole), rest));
    __m128i h = _mm_max_epi32(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
    h = _mm_max_epi32(h, _mm_shuffle_epi32(h, 0x4e));
    max = _mm256_broadcastd_epi32(_mm_max_epi32(h, _mm_shuffle_epi32(h, 0xb1)));
    const __m256 units = _mm256_set1_ps(unit), peaks = _mm256_set1_ps(peak);
    for (size_t j = 0; j < n; j += 8) {
        __m256i d = _mm256_sub_epi32(load_words(s + j), max);
        __m256i v = probability(_mm256_mul_ps(_mm256_cvtepi32_ps(d), units), peaks);
        if (j == whole) v = _mm256_and_si256(v, rest);
        sum = _mm256_add_epi32(sum, v);
        _mm_storeu_si128((__m128i *)(p + j),
                         _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
    }
    return total_of(sum);
}

static void gather_row(const wr_attention *a, const head *h, const int32_t *sum, int32_t total, float *ctx)
{
    __m256 unit = _mm256_set1_ps(h->v_unit / (float)total);
    for (size_t c = 0; c < a->width; c += 8)
        store(ctx + c, a->width - c, _mm256_mul_ps(_mm256_cvtepi32_ps(load_words(sum + c)), unit));
}

/* received [n] += p / total, of 16-bit probabilities. */
INLINE void add_received(const int16_t *p, size_t n, int32_t total, float *received)
{
    __m256 share = _mm256_set1_ps(1 / (float)total);
    for (size_t j = 0; j < n; j += LANES) {
        __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(p + j))));
        store(received + j, n - j, _mm256_fmadd_ps(v, share, load(received + j, n - j)));
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
