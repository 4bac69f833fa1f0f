#include <immintrin.h>

#include "models/kernels_sparse.h"

/* Up to 64 rows pass at a time, as 1 to 4 vectors of 16: 16 sums (4 outputs x 4 vectors) stay in registers while the
 * tiles of a group pass. */

enum { LANES = 16, VECS = 4, ROWS = VECS * LANES, OUTS = 16 };

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline))

/* In the type that the instruction works on, or gcc copies every sum to and fro. */
typedef int32_t sums __attribute__((vector_size(64)));

/* Activations turned: panel[64 i + 16 l + 4 v + j] is input i of row 16 v + 4 l + j, 128 too large. Interleaving four
 * such rows of 64 bytes with unpack, which works inside of 16 bytes, gives vector v the rows 16 v .. 16 v + 15 in
 * order.
 *
 * 16 rows x 64 inputs: four steps of interleaving register i with register i + 8 turn each 16 x 16 bytes. */
INLINE void turn(__m512i r[16])
{
    __m512i s[16];
    UNROLL for (size_t step = 0; step < 4; step++)
    {
        UNROLL for (size_t i = 0; i < 8; i++)
        {
            s[2 * i] = _mm512_unpacklo_epi8(r[i], r[i + 8]);
            s[2 * i + 1] = _mm512_unpackhi_epi8(r[i], r[i + 8]);
        }
        UNROLL for (size_t i = 0; i < 16; i++) r[i] = s[i];
    }
}

static void turn_rows(const wr_s8_rows *x, size_t from, size_t rows, size_t in, uint8_t *panel)
{
    const __m512i offset = _mm512_set1_epi8(-128);
    for (size_t i = 0; i < in; i += 64)
        for (size_t lane = 0; lane < 4; lane++) {
            __m512i r[16];
            UNROLL for (size_t k = 0; k < 16; k++)
            {
                size_t row = k / 4 * 16 + 4 * lane + k % 4;
                const int8_t *q = x->q + (from + row) * x->stride + i;
                r[k] = row < rows ? _mm512_xor_si512(_mm512_loadu_si512(q), offset) : _mm512_setzero_si512();
            }
            turn(r);
            UNROLL for (size_t k = 0; k < 16; k++)
            {
                uint8_t *to = panel + (i + k) * 64 + 16 * lane;
                _mm_store_si128((__m128i *)(void *)to, _mm512_castsi512_si128(r[k]));
                _mm_store_si128((__m128i *)(void *)(to + 16 * 64), _mm512_extracti32x4_epi32(r[k], 1));
                _mm_store_si128((__m128i *)(void *)(to + 32 * 64), _mm512_extracti32x4_epi32(r[k], 2));
                _mm_store_si128((__m128i *)(void *)(to + 48 * 64), _mm512_extracti32x4_epi32(r[k], 3));
            }
        }
}

INLINE __m512i broadcast(const int8_t *x)
{
    int32_t v;
    __builtin_memcpy(&v, x, sizeof v);
    return _mm512_set1_epi32(v);
}

/* A vector of sums of each of four outputs, to 16 rows of 4 numbers. */
INLINE void store_sums(const sums a[4], int32_t *to)
{
    __m512i ab = _mm512_unpacklo_epi32((__m512i)a[0], (__m512i)a[1]);
    __m512i AB = _mm512_unpackhi_epi32((__m512i)a[0], (__m512i)a[1]);
    __m512i cd = _mm512_unpacklo_epi32((__m512i)a[2], (__m512i)a[3]);
    __m512i CD = _mm512_unpackhi_epi32((__m512i)a[2], (__m512i)a[3]);
    __m512i t[4] = {_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd), _mm512_unpacklo_epi64(AB, CD),
                    _mm512_unpackhi_epi64(AB, CD)};
    UNROLL for (size_t j = 0; j < 4; j++)
    {
        int32_t *row = to + j * OUTS;
        _mm_store_si128((__m128i *)(void *)row, _mm512_castsi512_si128(t[j]));
        _mm_store_si128((__m128i *)(void *)(row + 4 * OUTS), _mm512_extracti32x4_epi32(t[j], 1));
        _mm_store_si128((__m128i *)(void *)(row + 8 * OUTS), _mm512_extracti32x4_epi32(t[j], 2));
        _mm_store_si128((__m128i *)(void *)(row + 12 * OUTS), _mm512_extracti32x4_epi32(t[j], 3));
    }
}

/* Group g: the sums of its four outputs for vecs vectors of rows, to[row][OUTS]. */
INLINE void group(const size_t vecs, const wr_s8_sparse *w, size_t g, const uint8_t *panel, int32_t *to)
{
    sums a[VECS][4];
    UNROLL for (size_t o = 0; o < 4; o++) UNROLL for (size_t v = 0; v < vecs; v++) a[v][o] =
        (sums)_mm512_set1_epi32(-128 * w->sum[4 * g + o]);
    const uint16_t *index = w->index + 4 * (size_t)w->start[g], *end = w->index + 4 * (size_t)w->start[g + 1];
    const int8_t *weight = w->w + 16 * (size_t)w->start[g];
    for (; index < end; index += 4, weight += 16) {
        __m512i r0 = _mm512_load_si512(panel + 64 * (size_t)index[0]);
        __m512i r1 = _mm512_load_si512(panel + 64 * (size_t)index[1]);
        __m512i r2 = _mm512_load_si512(panel + 64 * (size_t)index[2]);
        __m512i r3 = _mm512_load_si512(panel + 64 * (size_t)index[3]);
        __m512i low = _mm512_unpacklo_epi8(r0, r1), low2 = _mm512_unpacklo_epi8(r2, r3), x[VECS];
        x[0] = _mm512_unpacklo_epi16(low, low2);
        if (vecs > 1) x[1] = _mm512_unpackhi_epi16(low, low2);
        if (vecs > 2) {
            __m512i high = _mm512_unpackhi_epi8(r0, r1), high2 = _mm512_unpackhi_epi8(r2, r3);
            x[2] = _mm512_unpacklo_epi16(high, high2);
            if (vecs > 3) x[3] = _mm512_unpackhi_epi16(high, high2);
        }
        UNROLL for (size_t o = 0; o < 4; o++)
        {
            __m512i b = broadcast(weight + 4 * o);
            UNROLL for (size_t v = 0; v < vecs; v++) a[v][o] = (sums)_mm512_dpbusd_epi32((__m512i)a[v][o], x[v], b);
        }
    }
    UNROLL for (size_t v = 0; v < vecs; v++) store_sums(a[v], to + v * LANES * OUTS);
}

#define GROUP(VECS_)                                                                                                   \
    static __attribute__((noinline)) void group_##VECS_(const wr_s8_sparse *w, size_t g, const uint8_t *panel,         \
                                                        int32_t *to)                                                   \
    {                                                                                                                  \
        group(VECS_, w, g, panel, to);                                                                                 \
    }

GROUP(1)
GROUP(2)
GROUP(3)
GROUP(4)

typedef void (*group_fn)(const wr_s8_sparse *w, size_t g, const uint8_t *panel, int32_t *to);

static const group_fn group_of[VECS + 1] = {NULL, group_1, group_2, group_3, group_4};

INLINE __m512 gelu(__m512 x)
{
    static const float c[] = WR_GELU8_G;
    const __m512 end = _mm512_set1_ps(WR_GELU8_END);
    __m512 z = _mm512_min_ps(_mm512_max_ps(x, _mm512_sub_ps(_mm512_setzero_ps(), end)), end);
    __m512 square = _mm512_mul_ps(z, z), y = _mm512_set1_ps(c[6]);
    UNROLL for (size_t i = 6; i-- > 0;) y = _mm512_fmadd_ps(y, square, _mm512_set1_ps(c[i]));
    return _mm512_mul_ps(_mm512_fmadd_ps(z, y, _mm512_set1_ps(0.5f)), x);
}

/* n <= 16 outputs from o of some rows: what the sums mean. */
static void finish(const wr_s8_sparse *w, size_t o, size_t n, const int32_t *sum, const float *row_scale, size_t rows,
                   wr_s8_act act, float *y, size_t y_stride)
{
    __mmask16 mask = (__mmask16)(0xffffu >> (16 - n));
    __m512 scale = _mm512_maskz_loadu_ps(mask, w->scale + o), zero = _mm512_setzero_ps();
    __m512 bias = w->bias ? _mm512_maskz_loadu_ps(mask, w->bias + o) : zero;
    for (size_t r = 0; r < rows; r++, sum += OUTS, y += y_stride) {
        __m512 s = _mm512_mul_ps(_mm512_set1_ps(row_scale[r]), scale);
        __m512 v = _mm512_cvtepi32_ps(_mm512_load_si512(sum));
        v = w->bias ? _mm512_fmadd_ps(s, v, bias) : _mm512_mul_ps(s, v);
        if (act == WR_S8_GELU) v = gelu(v);
        if (act == WR_S8_RELU) v = _mm512_max_ps(v, zero);
        _mm512_mask_storeu_ps(y + o, mask, v);
    }
}

static void spmm_s8(const wr_s8_rows *x, size_t rows, const wr_s8_sparse *w, size_t from, size_t to, wr_s8_act act,
                    void *scratch, float *y, size_t y_stride)
{
    uint8_t *panel = scratch;
    int32_t *sum = (int32_t *)(void *)(panel + wr_s8_stride(w->in) * ROWS);
    size_t vecs = (rows + LANES - 1) / LANES, parts = (vecs + VECS - 1) / VECS;
    for (size_t part = 0, done = 0; part < parts; part++) { /* shared out evenly: 5 vectors are 2 and 3 */
        size_t some = vecs * (part + 1) / parts - vecs * part / parts;
        size_t n = rows - done < some * LANES ? rows - done : some * LANES;
        turn_rows(x, done, n, w->in, panel);
        for (size_t o = from; o < to; o += OUTS) {
            size_t outs = to - o < OUTS ? to - o : OUTS;
            for (size_t g = 0; 4 * g < outs; g++) group_of[some](w, o / 4 + g, panel, sum + 4 * g);
            finish(w, o, outs, sum, x->scale + done, n, act, y + done * y_stride, y_stride);
        }
        done += n;
    }
}

void wr_kernels_init_avx512_sparse(wr_kernels *table)
{
    table->spmm_s8 = spmm_s8;
    table->sparse_from = 0.75;
}
