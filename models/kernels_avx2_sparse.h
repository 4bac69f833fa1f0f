/* The sparse product in 256-bit registers: private to the files that compile it, each with another way to multiply.
 * With AVX-VNNI four bytes a lane go through vpdpbusd, activations unsigned (128 too large, which the weights' sums
 * take off again); without it both sides are widened to 16 bits and two inputs a lane go through vpmaddwd, which cannot
 * saturate.
 *
 * 16 rows pass at a time, as 2 vectors of 8: 8 sums (4 outputs x 2 vectors) stay in registers. */
#ifndef WR_MODELS_KERNELS_AVX2_SPARSE_H
#define WR_MODELS_KERNELS_AVX2_SPARSE_H

#include <immintrin.h>

#include "models/kernels_sparse.h"

#if defined(__AVX512VNNI__)
#define WITH_VNNI 1
#define DPBUSD _mm256_dpbusd_epi32
#elif defined(__AVXVNNI__)
#define WITH_VNNI 1
#define DPBUSD _mm256_dpbusd_avx_epi32
#else
#define WITH_VNNI 0
#endif

/* LINE: bytes that 16 rows take in the panel for one input. */
enum { LANES = 8, VECS = 2, ROWS = VECS * LANES, OUTS = 16, LINE = 32 };

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline))

/* In the type that the instruction works on, or gcc copies every sum to and fro. */
typedef int32_t sums __attribute__((vector_size(32)));

INLINE __m128i load_row(const wr_s8_rows *x, size_t row, size_t end, size_t i)
{
    if (row >= end) return _mm_setzero_si128();
    return _mm_loadu_si128((const __m128i *)(const void *)(x->q + row * x->stride + i));
}

INLINE __m256i load_line(const char *panel, size_t input)
{
    return _mm256_load_si256((const __m256i *)(const void *)(panel + LINE * input));
}

/* Four bytes or two 16-bit weights in every lane. */
INLINE __m256i broadcast(const void *x)
{
    int32_t v;
    __builtin_memcpy(&v, x, sizeof v);
    return _mm256_set1_epi32(v);
}

#if WITH_VNNI

/* Activations turned: byte 16 l + 4 v + j of line i is input i of row 8 v + 4 l + j; the other half is not used.
 * Interleaving four such lines with unpack, which works inside of 16 bytes, gives vector v the rows 8 v .. 8 v + 7 in
 * order.
 *
 * Twice 8 rows x 16 inputs side by side: four steps of interleaving register i with register i + 8 turn them. */
INLINE void turn(__m256i r[16])
{
    __m256i s[16];
    UNROLL for (size_t step = 0; step < 4; step++)
    {
        UNROLL for (size_t i = 0; i < 8; i++)
        {
            s[2 * i] = _mm256_unpacklo_epi8(r[i], r[i + 8]);
            s[2 * i + 1] = _mm256_unpackhi_epi8(r[i], r[i + 8]);
        }
        UNROLL for (size_t i = 0; i < 16; i++) r[i] = s[i];
    }
}

static void turn_rows(const wr_s8_rows *x, size_t from, size_t end, size_t in, char *panel)
{
    const __m256i offset = _mm256_set1_epi8(-128);
    for (size_t i = 0; i < in; i += 16) {
        __m256i r[16];
        UNROLL for (size_t k = 0; k < 8; k++)
        {
            size_t row = from + k / 4 * LANES + k % 4;
            r[k] = _mm256_set_m128i(load_row(x, row + 4, end, i), load_row(x, row, end, i));
            r[k] = _mm256_xor_si256(r[k], offset);
            r[k + 8] = _mm256_setzero_si256();
        }
        turn(r);
        UNROLL for (size_t k = 0; k < 16; k++) _mm256_store_si256((__m256i *)(void *)(panel + (i + k) * LINE), r[k]);
    }
}

/* The sums of group g's four outputs. */
INLINE void sum_group(const wr_s8_sparse *w, size_t g, const char *panel, sums a[VECS][4])
{
    UNROLL for (size_t o = 0; o < 4; o++) a[0][o] = a[1][o] = (sums)_mm256_set1_epi32(-128 * w->sum[4 * g + o]);
    const uint16_t *index = w->index + 4 * (size_t)w->start[g], *end = w->index + 4 * (size_t)w->start[g + 1];
    const int8_t *weight = w->w + 16 * (size_t)w->start[g];
    for (; index < end; index += 4, weight += 16) {
        __m256i low = _mm256_unpacklo_epi8(load_line(panel, index[0]), load_line(panel, index[1]));
        __m256i high = _mm256_unpacklo_epi8(load_line(panel, index[2]), load_line(panel, index[3]));
        __m256i x = _mm256_unpacklo_epi16(low, high), y = _mm256_unpackhi_epi16(low, high);
        UNROLL for (size_t o = 0; o < 4; o++)
        {
            __m256i b = broadcast(weight + 4 * o);
            a[0][o] = (sums)DPBUSD((__m256i)a[0][o], x, b);
            a[1][o] = (sums)DPBUSD((__m256i)a[1][o], y, b);
        }
    }
}

#else

/* Tiles whose weights are widened at a time: 4 KB of stack. */
enum { CHUNK = 128 };

/* Activations turned and widened: number 8 l + 4 v + j of line i is input i of row 8 v + 4 l + j. Interleaving two such
 * lines with unpack, which works inside of 16 bytes, gives vector v the rows 8 v .. 8 v + 7 in order.
 *
 * 16 rows x 16 inputs: four steps of interleaving register i with register i + 8 turn them. */
INLINE void turn(__m128i r[16])
{
    __m128i s[16];
    UNROLL for (size_t step = 0; step < 4; step++)
    {
        UNROLL for (size_t i = 0; i < 8; i++)
        {
            s[2 * i] = _mm_unpacklo_epi8(r[i], r[i + 8]);
            s[2 * i + 1] = _mm_unpackhi_epi8(r[i], r[i + 8]);
        }
        UNROLL for (size_t i = 0; i < 16; i++) r[i] = s[i];
    }
}

static void turn_rows(const wr_s8_rows *x, size_t from, size_t end, size_t in, char *panel)
{
    for (size_t i = 0; i < in; i += 16) {
        __m128i r[16];
        UNROLL for (size_t k = 0; k < 16; k++) r[k] = load_row(x, from + k / 4 % 2 * LANES + k / 8 * 4 + k % 4, end, i);
        turn(r);
        UNROLL for (size_t k = 0; k < 16; k++)
            _mm256_store_si256((__m256i *)(void *)(panel + (i + k) * LINE), _mm256_cvtepi8_epi16(r[k]));
    }
}

INLINE sums dot2(sums s, __m256i a, __m256i b)
{
    return (sums)_mm256_add_epi32((__m256i)s, _mm256_madd_epi16(a, b));
}

/* Two inputs of a tile. */
INLINE void pair(sums a[VECS][4], const uint16_t *index, const int16_t *weight, const char *panel)
{
    __m256i r0 = load_line(panel, index[0]), r1 = load_line(panel, index[1]);
    __m256i low = _mm256_unpacklo_epi16(r0, r1), high = _mm256_unpackhi_epi16(r0, r1);
    UNROLL for (size_t o = 0; o < 4; o++)
    {
        __m256i b = broadcast(weight + 4 * o);
        a[0][o] = dot2(a[0][o], low, b);
        a[1][o] = dot2(a[1][o], high, b);
    }
}

/* The sums of group g's four outputs. */
INLINE void sum_group(const wr_s8_sparse *w, size_t g, const char *panel, sums a[VECS][4])
{
    _Alignas(32) int16_t wide[CHUNK * 16];
    UNROLL for (size_t o = 0; o < 4; o++) a[0][o] = a[1][o] = (sums)_mm256_setzero_si256();
    for (size_t t = w->start[g], end = w->start[g + 1]; t < end; t += CHUNK) {
        size_t n = end - t < CHUNK ? end - t : CHUNK;
        const uint16_t *index = w->index + 4 * t;
        for (size_t i = 0; i < n; i++) {
            __m128i narrow = _mm_loadu_si128((const __m128i *)(const void *)(w->w + 16 * (t + i)));
            _mm256_store_si256((__m256i *)(void *)(wide + 16 * i), _mm256_cvtepi8_epi16(narrow));
        }
        for (size_t i = 0; i < n; i++) {
            pair(a, index + 4 * i, wide + 16 * i, panel);
            pair(a, index + 4 * i + 2, wide + 16 * i + 2, panel);
        }
    }
}

#endif

/* A vector of sums of each of four outputs, to 8 rows of 4 numbers. */
INLINE void store_sums(const sums a[4], int32_t *to)
{
    __m256i ab = _mm256_unpacklo_epi32((__m256i)a[0], (__m256i)a[1]);
    __m256i AB = _mm256_unpackhi_epi32((__m256i)a[0], (__m256i)a[1]);
    __m256i cd = _mm256_unpacklo_epi32((__m256i)a[2], (__m256i)a[3]);
    __m256i CD = _mm256_unpackhi_epi32((__m256i)a[2], (__m256i)a[3]);
    __m256i t[4] = {_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd), _mm256_unpacklo_epi64(AB, CD),
                    _mm256_unpackhi_epi64(AB, CD)};
    UNROLL for (size_t j = 0; j < 4; j++)
    {
        int32_t *row = to + j * OUTS;
        _mm_store_si128((__m128i *)(void *)row, _mm256_castsi256_si128(t[j]));
        _mm_store_si128((__m128i *)(void *)(row + 4 * OUTS), _mm256_extracti128_si256(t[j], 1));
    }
}

/* Group g for 16 rows, to[row][OUTS]. */
static void group(const wr_s8_sparse *w, size_t g, const char *panel, int32_t *to)
{
    sums a[VECS][4];
    sum_group(w, g, panel, a);
    UNROLL for (size_t v = 0; v < VECS; v++) store_sums(a[v], to + v * LANES * OUTS);
}

INLINE __m256 gelu(__m256 x)
{
    static const float c[] = WR_GELU8_G;
    const __m256 end = _mm256_set1_ps(WR_GELU8_END);
    __m256 z = _mm256_min_ps(_mm256_max_ps(x, _mm256_sub_ps(_mm256_setzero_ps(), end)), end);
    __m256 square = _mm256_mul_ps(z, z), y = _mm256_set1_ps(c[6]);
    UNROLL for (size_t i = 6; i-- > 0;) y = _mm256_fmadd_ps(y, square, _mm256_set1_ps(c[i]));
    return _mm256_mul_ps(_mm256_fmadd_ps(z, y, _mm256_set1_ps(0.5f)), x);
}

/* n <= 8 outputs from o of some rows: what the sums mean. */
static void finish(const wr_s8_sparse *w, size_t o, size_t n, const int32_t *sum, const float *row_scale, size_t rows,
                   wr_s8_act act, float *y, size_t y_stride)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
    __m256 scale = _mm256_maskload_ps(w->scale + o, mask), zero = _mm256_setzero_ps();
    __m256 bias = w->bias ? _mm256_maskload_ps(w->bias + o, mask) : zero;
    for (size_t r = 0; r < rows; r++, sum += OUTS, y += y_stride) {
        __m256 s = _mm256_mul_ps(_mm256_set1_ps(row_scale[r]), scale);
        __m256 v = _mm256_cvtepi32_ps(_mm256_load_si256((const __m256i *)(const void *)sum));
        v = w->bias ? _mm256_fmadd_ps(s, v, bias) : _mm256_mul_ps(s, v);
        if (act == WR_S8_GELU) v = gelu(v);
        if (act == WR_S8_RELU) v = _mm256_max_ps(v, zero);
        if (n >= LANES)
            _mm256_storeu_ps(y + o, v); /* a masked store takes ten times as long */
        else
            _mm256_maskstore_ps(y + o, mask, v);
    }
}

static void spmm_s8(const wr_s8_rows *x, size_t rows, const wr_s8_sparse *w, size_t from, size_t to, wr_s8_act act,
                    void *scratch, float *y, size_t y_stride)
{
    char *panel = scratch;
    int32_t *sum = (int32_t *)(void *)(panel + wr_s8_stride(w->in) * LINE);
    for (size_t done = 0; done < rows; done += ROWS) {
        size_t n = rows - done < ROWS ? rows - done : ROWS;
        float *out = y + done * y_stride;
        turn_rows(x, done, done + n, w->in, panel);
        for (size_t o = from; o < to; o += OUTS) {
            size_t outs = to - o < OUTS ? to - o : OUTS;
            for (size_t g = 0; 4 * g < outs; g++) group(w, o / 4 + g, panel, sum + 4 * g);
            for (size_t at = 0; at < outs; at += LANES)
                finish(w, o + at, outs - at < LANES ? outs - at : LANES, sum + at, x->scale + done, n, act, out,
                       y_stride);
        }
    }
}

#endif
