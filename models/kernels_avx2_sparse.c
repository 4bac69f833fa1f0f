#include <immintrin.h>

#include "models/kernels_sparse.h"

/* 16 rows pass at a time, as 2 vectors of 8: 8 sums (4 outputs x 2 vectors) stay in registers. Without a byte
 * instruction that does not saturate, both sides are widened to 16 bits, and two inputs a lane go through vpmaddwd. */

enum { LANES = 8, VECS = 2, ROWS = VECS * LANES, OUTS = 16 };

/* Tiles whose weights are widened at a time: 4 KB of stack. */
enum { CHUNK = 128 };

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline))

/* In the type that the instruction works on, or gcc copies every sum to and fro. */
typedef int32_t sums __attribute__((vector_size(32)));

/* Activations turned and widened: panel[16 i + 8 l + 4 v + j] is input i of row 8 v + 4 l + j. Interleaving two such
 * rows of 16 numbers with unpack, which works inside of 16 bytes, gives vector v the rows 8 v .. 8 v + 7 in order.
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

static void turn_rows(const wr_s8_rows *x, size_t from, size_t rows, size_t in, int16_t *panel)
{
    for (size_t i = 0; i < in; i += 16) {
        __m128i r[16];
        UNROLL for (size_t k = 0; k < 16; k++)
        {
            size_t row = k / 4 % 2 * 8 + k / 8 * 4 + k % 4;
            const int8_t *q = x->q + (from + row) * x->stride + i;
            r[k] = row < rows ? _mm_loadu_si128((const __m128i *)(const void *)q) : _mm_setzero_si128();
        }
        turn(r);
        UNROLL for (size_t k = 0; k < 16; k++)
            _mm256_store_si256((__m256i *)(void *)(panel + (i + k) * ROWS), _mm256_cvtepi8_epi16(r[k]));
    }
}

/* Two 16-bit weights in every lane. */
INLINE __m256i broadcast(const int16_t *x)
{
    int32_t v;
    __builtin_memcpy(&v, x, sizeof v);
    return _mm256_set1_epi32(v);
}

INLINE sums dot2(sums s, __m256i a, __m256i b)
{
    return (sums)_mm256_add_epi32((__m256i)s, _mm256_madd_epi16(a, b));
}

/* Inputs k and k + 1 of a tile. */
INLINE void pair(sums a[VECS][4], const uint16_t *index, const int16_t *weight, const int16_t *panel)
{
    const int16_t *first = panel + ROWS * (size_t)index[0], *second = panel + ROWS * (size_t)index[1];
    __m256i r0 = _mm256_load_si256((const __m256i *)(const void *)first);
    __m256i r1 = _mm256_load_si256((const __m256i *)(const void *)second);
    __m256i low = _mm256_unpacklo_epi16(r0, r1), high = _mm256_unpackhi_epi16(r0, r1);
    UNROLL for (size_t o = 0; o < 4; o++)
    {
        __m256i b = broadcast(weight + 4 * o);
        a[0][o] = dot2(a[0][o], low, b);
        a[1][o] = dot2(a[1][o], high, b);
    }
}

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

/* Group g: the sums of its four outputs for 16 rows, to[row][OUTS]. */
static void group(const wr_s8_sparse *w, size_t g, const int16_t *panel, int32_t *to)
{
    _Alignas(32) int16_t wide[CHUNK * 16];
    sums a[VECS][4];
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
        _mm256_maskstore_ps(y + o, mask, v);
    }
}

static void spmm_s8(const wr_s8_rows *x, size_t rows, const wr_s8_sparse *w, size_t from, size_t to, wr_s8_act act,
                    void *scratch, float *y, size_t y_stride)
{
    int16_t *panel = scratch;
    int32_t *sum = (int32_t *)(void *)(panel + wr_s8_stride(w->in) * ROWS);
    for (size_t done = 0; done < rows; done += ROWS) {
        size_t n = rows - done < ROWS ? rows - done : ROWS;
        float *out = y + done * y_stride;
        turn_rows(x, done, n, w->in, panel);
        for (size_t o = from; o < to; o += OUTS) {
            size_t outs = to - o < OUTS ? to - o : OUTS;
            for (size_t g = 0; 4 * g < outs; g++) group(w, o / 4 + g, panel, sum + 4 * g);
            for (size_t at = 0; at < outs; at += LANES)
                finish(w, o + at, outs - at < LANES ? outs - at : LANES, sum + at, x->scale + done, n, act, out,
                       y_stride);
        }
    }
}

void wr_kernels_init_avx2_sparse(wr_kernels *table)
{
    table->spmm_s8 = spmm_s8;
    table->sparse_from = 0.75;
}
