#include <immintrin.h>

#include "models/kernels_sparse.h"

/* Up to 64 rows pass at a time, as 2 to 4 vectors of 16: 16 sums (4 outputs x 4 vectors) stay in registers while the
 * tiles of a group pass. */

enum { LANES = 16, VECS = 4, ROWS = VECS * LANES, OUTS = 16 };

/* Up to so many rows half of a register would be idle, and loading it takes as long as when it is full. */
enum { NARROW = 16 };

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
 * Four times 16 rows x 16 inputs side by side: four steps of interleaving register i with register i + 8 turn them. */
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

/* 16 inputs from i of row 16 v + 4 l + j for l = 0..3. */
INLINE __m512i four_rows(const wr_s8_rows *x, size_t row, size_t end, size_t i)
{
    const int8_t *q = x->q + row * x->stride + i;
    __m512i r = _mm512_setzero_si512();
    if (row < end) r = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)q));
    if (row + 4 < end)
        r = _mm512_inserti32x4(r, _mm_loadu_si128((const __m128i *)(const void *)(q + 4 * x->stride)), 1);
    if (row + 8 < end)
        r = _mm512_inserti32x4(r, _mm_loadu_si128((const __m128i *)(const void *)(q + 8 * x->stride)), 2);
    if (row + 12 < end)
        r = _mm512_inserti32x4(r, _mm_loadu_si128((const __m128i *)(const void *)(q + 12 * x->stride)), 3);
    return _mm512_xor_si512(r, _mm512_set1_epi8(-128));
}

static void turn_rows(const wr_s8_rows *x, size_t from, size_t rows, size_t in, uint8_t *panel)
{
    for (size_t i = 0; i < in; i += 16) {
        __m512i r[16];
        UNROLL for (size_t k = 0; k < 16; k++) r[k] = four_rows(x, from + k / 4 * LANES + k % 4, from + rows, i);
        turn(r);
        UNROLL for (size_t k = 0; k < 16; k++) _mm512_store_si512(panel + (i + k) * 64, r[k]);
    }
}

INLINE __m512i broadcast(const int8_t *x)
{
    int32_t v;
    __builtin_memcpy(&v, x, sizeof v);
    return _mm512_set1_epi32(v);
}

/* A vector of sums of each of four outputs, to four registers to[j]: of rows j, 4 + j, 8 + j, 12 + j the four sums. */
INLINE void store_sums(const sums a[4], int32_t *to)
{
    __m512i ab = _mm512_unpacklo_epi32((__m512i)a[0], (__m512i)a[1]);
    __m512i AB = _mm512_unpackhi_epi32((__m512i)a[0], (__m512i)a[1]);
    __m512i cd = _mm512_unpacklo_epi32((__m512i)a[2], (__m512i)a[3]);
    __m512i CD = _mm512_unpackhi_epi32((__m512i)a[2], (__m512i)a[3]);
    _mm512_store_si512(to, _mm512_unpacklo_epi64(ab, cd));
    _mm512_store_si512(to + LANES, _mm512_unpackhi_epi64(ab, cd));
    _mm512_store_si512(to + 2 * LANES, _mm512_unpacklo_epi64(AB, CD));
    _mm512_store_si512(to + 3 * LANES, _mm512_unpackhi_epi64(AB, CD));
}

/* One tile: four rows of the panel, interleaved, times the weights of four outputs. */
INLINE void tile(const size_t vecs, sums a[VECS][4], const uint16_t *index, const int8_t *weight, const uint8_t *panel)
{
    __m512i r0 = _mm512_load_si512(panel + 64 * (size_t)index[0]);
    __m512i r1 = _mm512_load_si512(panel + 64 * (size_t)index[1]);
    __m512i r2 = _mm512_load_si512(panel + 64 * (size_t)index[2]);
    __m512i r3 = _mm512_load_si512(panel + 64 * (size_t)index[3]);
    __m512i low = _mm512_unpacklo_epi8(r0, r1), low2 = _mm512_unpacklo_epi8(r2, r3), x[VECS];
    x[0] = _mm512_unpacklo_epi16(low, low2);
    x[1] = _mm512_unpackhi_epi16(low, low2);
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

/* Group g: the sums of its four outputs for vecs vectors of rows, to[vecs][4] registers. */
INLINE void group(const size_t vecs, const wr_s8_sparse *w, size_t g, const uint8_t *panel, int32_t *to)
{
    sums a[VECS][4];
    UNROLL for (size_t o = 0; o < 4; o++) UNROLL for (size_t v = 0; v < vecs; v++) a[v][o] =
        (sums)_mm512_set1_epi32(-128 * w->sum[4 * g + o]);
    const uint16_t *index = w->index + 4 * (size_t)w->start[g], *end = w->index + 4 * (size_t)w->start[g + 1];
    const int8_t *weight = w->w + 16 * (size_t)w->start[g];
    for (; index < end; index += 4, weight += 16) tile(vecs, a, index, weight, panel);
    UNROLL for (size_t v = 0; v < vecs; v++) store_sums(a[v], to + v * 4 * LANES);
}

#define GROUP(VECS_)                                                                                                   \
    static __attribute__((noinline)) void group_##VECS_(const wr_s8_sparse *w, size_t g, const uint8_t *panel,         \
                                                        int32_t *to)                                                   \
    {                                                                                                                  \
        group(VECS_, w, g, panel, to);                                                                                 \
    }

GROUP(2)
GROUP(3)
GROUP(4)

typedef void (*group_fn)(const wr_s8_sparse *w, size_t g, const uint8_t *panel, int32_t *to);

static const group_fn group_of[VECS + 1] = {NULL, NULL, group_2, group_3, group_4};

INLINE __m512 gelu(__m512 x)
{
    static const float c[] = WR_GELU8_G;
    const __m512 end = _mm512_set1_ps(WR_GELU8_END);
    __m512 z = _mm512_min_ps(_mm512_max_ps(x, _mm512_sub_ps(_mm512_setzero_ps(), end)), end);
    __m512 square = _mm512_mul_ps(z, z), y = _mm512_set1_ps(c[6]);
    UNROLL for (size_t i = 6; i-- > 0;) y = _mm512_fmadd_ps(y, square, _mm512_set1_ps(c[i]));
    return _mm512_mul_ps(_mm512_fmadd_ps(z, y, _mm512_set1_ps(0.5f)), x);
}

/* What the sums of n <= 16 outputs stand for. */
typedef struct ending {
    __m512 scale, bias;
    __mmask16 mask;
    bool has_bias;
    const float *row_scale;
    float *y;
    size_t y_stride;
} ending;

INLINE void finish_row(const ending *e, size_t row, __m512i sum, const wr_s8_act act)
{
    __m512 s = _mm512_mul_ps(_mm512_set1_ps(e->row_scale[row]), e->scale), v = _mm512_cvtepi32_ps(sum);
    v = e->has_bias ? _mm512_fmadd_ps(s, v, e->bias) : _mm512_mul_ps(s, v);
    if (act == WR_S8_GELU) v = gelu(v);
    if (act == WR_S8_RELU) v = _mm512_max_ps(v, _mm512_setzero_ps());
    _mm512_mask_storeu_ps(e->y + row * e->y_stride, e->mask, v);
}

/* sum[4 groups][VECS][4] registers, as group() leaves them: rows of 16 outputs out of four times 4. */
INLINE void finish(const ending *e, const int32_t *sum, size_t rows, const wr_s8_act act)
{
    enum { GROUP = VECS * 4 * LANES };
    for (size_t i = 0; i < (rows + LANES - 1) / LANES * 4; i++, sum += LANES) {
        __m512i a = _mm512_load_si512(sum), b = _mm512_load_si512(sum + GROUP);
        __m512i c = _mm512_load_si512(sum + 2 * GROUP), d = _mm512_load_si512(sum + 3 * GROUP);
        __m512i ab = _mm512_shuffle_i32x4(a, b, 0x44), AB = _mm512_shuffle_i32x4(a, b, 0xee);
        __m512i cd = _mm512_shuffle_i32x4(c, d, 0x44), CD = _mm512_shuffle_i32x4(c, d, 0xee);
        size_t row = i / 4 * LANES + i % 4;
        if (row < rows) finish_row(e, row, _mm512_shuffle_i32x4(ab, cd, 0x88), act);
        if (row + 4 < rows) finish_row(e, row + 4, _mm512_shuffle_i32x4(ab, cd, 0xdd), act);
        if (row + 8 < rows) finish_row(e, row + 8, _mm512_shuffle_i32x4(AB, CD, 0x88), act);
        if (row + 12 < rows) finish_row(e, row + 12, _mm512_shuffle_i32x4(AB, CD, 0xdd), act);
    }
}

static ending ending_at(const wr_s8_sparse *w, size_t o, size_t n, const float *row_scale, float *y, size_t y_stride)
{
    ending e = {.mask = (__mmask16)(0xffffu >> (16 - n)), .has_bias = w->bias != NULL, .row_scale = row_scale};
    e.scale = _mm512_maskz_loadu_ps(e.mask, w->scale + o);
    e.bias = w->bias ? _mm512_maskz_loadu_ps(e.mask, w->bias + o) : _mm512_setzero_ps();
    e.y = y + o;
    e.y_stride = y_stride;
    return e;
}

static void spmm_s8(const wr_s8_rows *x, size_t rows, const wr_s8_sparse *w, size_t from, size_t to, wr_s8_act act,
                    void *scratch, float *y, size_t y_stride)
{
    if (rows <= NARROW) {
        wr_spmm_s8_narrow(x, rows, w, from, to, act, scratch, y, y_stride);
        return;
    }
    uint8_t *panel = scratch;
    int32_t *sum = (int32_t *)(void *)(panel + wr_s8_stride(w->in) * ROWS);
    size_t vecs = (rows + LANES - 1) / LANES, parts = (vecs + VECS - 1) / VECS;
    for (size_t part = 0, done = 0; part < parts; part++) { /* shared out evenly: 5 vectors are 2 and 3 */
        size_t some = vecs * (part + 1) / parts - vecs * part / parts;
        size_t n = rows - done < some * LANES ? rows - done : some * LANES;
        turn_rows(x, done, n, w->in, panel);
        for (size_t o = from; o < to; o += OUTS) {
            size_t outs = to - o < OUTS ? to - o : OUTS;
            for (size_t g = 0; 4 * g < outs; g++) group_of[some](w, o / 4 + g, panel, sum + g * VECS * 4 * LANES);
            ending e = ending_at(w, o, outs, x->scale + done, y + done * y_stride, y_stride);
            if (act == WR_S8_GELU)
                finish(&e, sum, n, WR_S8_GELU);
            else
                finish(&e, sum, n, act);
        }
        done += n;
    }
}

void wr_kernels_init_avx512_sparse(wr_kernels *table)
{
    table->spmm_s8 = spmm_s8;
}
