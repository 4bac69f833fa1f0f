/* Products with weights stored as floats, F32, F16 or BF16, in registers of either width: private to the files that
 * compile it. A panel of two vectors of outputs x WR_GEMM_DEPTH inputs is turned to one input after the other and
 * multiplied with tiles of rows; for one row, LANES inputs of LANES outputs are turned in registers. */
#ifndef WR_MODELS_KERNELS_BLOCKS_FLOAT_H
#define WR_MODELS_KERNELS_BLOCKS_FLOAT_H

#include <string.h>

#ifdef __AVX512F__
#include "models/kernels_avx512_lanes.h"
#define VEC(name) _mm512_##name
#define VEC_BITS(name) _mm512_##name##_si512
typedef __m512 vec;
typedef __m512i bits;
enum { LANES = 16, ROWS = 12 };
#else
#include "models/kernels_avx2_lanes.h"
#define VEC(name) _mm256_##name
#define VEC_BITS(name) _mm256_##name##_si256
typedef __m256 vec;
typedef __m256i bits;
enum { LANES = 8, ROWS = 6 };
#endif

#include "models/kernels.h"
#include "models/kernels_blocks.h"

enum { COLS = 2 * LANES, SHORT = 4096 };

typedef float panel[WR_GEMM_DEPTH][COLS];

typedef struct job {
    const uint8_t *data;
    const char *x;
    size_t in, row, x_bytes; /* row: bytes from an output's weights to the next one's */
} job;

INLINE size_t bytes_of(wr_block_type type)
{
    return type == WR_BLOCK_F32 ? 4 : 2;
}

/* The first n of LANES numbers at y (n may be more). */
INLINE vec load_some(const float *y, size_t n)
{
#ifdef __AVX512F__
    return _mm512_maskz_loadu_ps(first(n), y);
#else
    return load(y, n);
#endif
}

INLINE void store_some(float *y, size_t n, vec v)
{
#ifdef __AVX512F__
    _mm512_mask_storeu_ps(y, first(n), v);
#else
    store(y, n, v);
#endif
}

/* LANES weights at p as floats, in the form that transpose() wants; n of them are there, zeros follow. */
INLINE bits load_weights(wr_block_type type, const uint8_t *p, size_t n)
{
    uint8_t tail[4 * LANES];
    if (n < LANES) {
        memset(tail, 0, sizeof tail);
        memcpy(tail, p, n * bytes_of(type));
        p = tail;
    }
    if (type == WR_BLOCK_F32) return VEC_BITS(loadu)((const void *)p);
#ifdef __AVX512F__
    __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)p);
#else
    __m128i h = _mm_loadu_si128((const __m128i *)(const void *)p);
#endif
    if (type == WR_BLOCK_BF16) return VEC(slli_epi32)(VEC(cvtepu16_epi32)(h), 16);
#ifdef __AVX512F__
    return _mm512_castps_si512(_mm512_cvtph_ps(h));
#else
    return _mm256_castps_si256(_mm256_cvtph_ps(h));
#endif
}

INLINE vec as_floats(bits v)
{
#ifdef __AVX512F__
    return _mm512_castsi512_ps(v);
#else
    return _mm256_castsi256_ps(v);
#endif
}

/* Inputs i to i + LANES of outputs o to o + LANES, n inputs and `to` outputs being there: column[k] is input i + k. */
INLINE void columns(wr_block_type type, const job *j, size_t o, size_t to, size_t i, size_t n, bits column[LANES])
{
    UNROLL for (size_t lane = 0; lane < LANES; lane++)
    {
        size_t output = o + lane < to ? o + lane : to - 1;
        column[lane] = load_weights(type, j->data + output * j->row + i * bytes_of(type), n);
    }
    transpose(column);
}

/* ---- many rows ---- */

INLINE void unpack(wr_block_type type, const job *j, size_t o, size_t to, size_t i, size_t n, panel p)
{
    bits column[LANES];
    for (size_t at = 0; at < COLS; at += LANES)
        for (size_t k = 0; k < n; k += LANES) {
            columns(type, j, o + at, to, i + k, n - k, column);
            for (size_t t = 0; t < LANES && k + t < n; t++) VEC(storeu_ps)(&p[k + t][at], as_floats(column[t]));
        }
}

INLINE void tile(size_t rows, const job *j, const char *x, size_t i, size_t n, panel p, float *y, size_t y_stride,
                 size_t cols)
{
    vec sum[ROWS][2];
    size_t second = cols > LANES ? cols - LANES : 0;
    UNROLL for (size_t r = 0; r < rows; r++) sum[r][0] = sum[r][1] = VEC(setzero_ps)();
    for (size_t k = 0; k < n; k++) {
        vec a = VEC(loadu_ps)(p[k]), b = VEC(loadu_ps)(p[k] + LANES);
        UNROLL for (size_t r = 0; r < rows; r++)
        {
            vec v = VEC(set1_ps)(((const float *)(const void *)(x + r * j->x_bytes))[i + k]);
            sum[r][0] = VEC(fmadd_ps)(v, a, sum[r][0]);
            sum[r][1] = VEC(fmadd_ps)(v, b, sum[r][1]);
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++)
    {
        float *at = y + r * y_stride;
        store_some(at, cols, i ? VEC(add_ps)(load_some(at, cols), sum[r][0]) : sum[r][0]);
        if (!second) continue;
        at += LANES;
        store_some(at, second, i ? VEC(add_ps)(load_some(at, second), sum[r][1]) : sum[r][1]);
    }
}

INLINE void many(wr_block_type type, const job *j, size_t rows, size_t from, size_t to, float *y, size_t y_stride,
                 panel p)
{
    for (size_t o = from; o < to; o += COLS)
        for (size_t i = 0; i < j->in; i += WR_GEMM_DEPTH) {
            size_t n = j->in - i < WR_GEMM_DEPTH ? j->in - i : WR_GEMM_DEPTH;
            size_t cols = to - o < COLS ? to - o : COLS, r = 0;
            unpack(type, j, o, to, i, n, p);
            for (; r + ROWS <= rows; r += ROWS)
                tile(ROWS, j, j->x + r * j->x_bytes, i, n, p, y + r * y_stride + o, y_stride, cols);
            for (; r + 3 <= rows; r += 3)
                tile(3, j, j->x + r * j->x_bytes, i, n, p, y + r * y_stride + o, y_stride, cols);
            for (; r < rows; r++) tile(1, j, j->x + r * j->x_bytes, i, n, p, y + r * y_stride + o, y_stride, cols);
        }
}

/* ---- one row ---- */

/* Processors follow 16 streams of short rows badly: the next outputs' are fetched meanwhile, line after line. Measured
 * from memory, rows of 896: 9 -> 18 GB/s of F16. */
INLINE void fetch(wr_block_type type, const job *j, size_t o, size_t i)
{
    size_t piece = LANES * LANES * bytes_of(type);
    if (j->row > SHORT) return;
    uintptr_t next = (uintptr_t)j->data + (o + LANES) * j->row + i / LANES * piece;
    UNROLL for (size_t at = 0; at < piece; at += 64) _mm_prefetch((const char *)(next + at), _MM_HINT_T1);
}

INLINE void one(wr_block_type type, const job *j, size_t from, size_t to, float *y)
{
    const float *x = (const float *)(const void *)j->x;
    bits column[LANES];
    for (size_t o = from; o < to; o += LANES) {
        vec all = VEC(setzero_ps)();
        for (size_t i = 0; i < j->in; i += WR_GEMM_DEPTH) {
            size_t n = j->in - i < WR_GEMM_DEPTH ? j->in - i : WR_GEMM_DEPTH;
            vec sum = VEC(setzero_ps)();
            for (size_t k = 0; k + LANES <= n; k += LANES) {
                fetch(type, j, o, i + k);
                columns(type, j, o, to, i + k, LANES, column);
                UNROLL for (size_t t = 0; t < LANES; t++) sum =
                    VEC(fmadd_ps)(VEC(set1_ps)(x[i + k + t]), as_floats(column[t]), sum);
            }
            size_t k = n / LANES * LANES;
            if (k < n) columns(type, j, o, to, i + k, n - k, column);
            for (size_t t = 0; k + t < n; t++)
                sum = VEC(fmadd_ps)(VEC(set1_ps)(x[i + k + t]), as_floats(column[t]), sum);
            all = i ? VEC(add_ps)(all, sum) : sum;
        }
        store_some(y + o, to - o, all);
    }
}

#define PRODUCT(name, type)                                                                                            \
    static void name(const job *j, size_t rows, size_t from, size_t to, float *y, size_t y_stride, panel p)            \
    {                                                                                                                  \
        if (rows == 1)                                                                                                 \
            one(type, j, from, to, y);                                                                                 \
        else                                                                                                           \
            many(type, j, rows, from, to, y, y_stride, p);                                                             \
    }

PRODUCT(product_f32, WR_BLOCK_F32)
PRODUCT(product_f16, WR_BLOCK_F16)
PRODUCT(product_bf16, WR_BLOCK_BF16)

static void gemm_float(const wr_blocks *w, const void *input, size_t rows, size_t from, size_t to, float *y,
                       size_t y_stride, void *scratch)
{
    job j = {w->data, input, w->in, w->in * wr_block_bytes(w->type), wr_block_shape_of(w).bytes};
    _Static_assert(sizeof(panel) <= WR_BLOCK_PANEL_BYTES, "the scratch");
    if (w->type == WR_BLOCK_F32) product_f32(&j, rows, from, to, y, y_stride, scratch);
    if (w->type == WR_BLOCK_F16) product_f16(&j, rows, from, to, y, y_stride, scratch);
    if (w->type == WR_BLOCK_BF16) product_bf16(&j, rows, from, to, y, y_stride, scratch);
}

/* ---- attention ---- */

static void scores(wr_block_type type, const void *k, size_t k_stride, size_t n, size_t width, const float *q,
                   size_t rows, float *s, size_t s_stride, void *scratch)
{
    size_t bytes = wr_block_bytes(type);
    job j = {k, (const char *)q, width, k_stride * bytes, width * sizeof *q};
    if (type == WR_BLOCK_F32)
        product_f32(&j, rows, 0, n, s, s_stride, scratch);
    else
        product_f16(&j, rows, 0, n, s, s_stride, scratch);
}

/* Columns at v, of which cols are there, from key `from` on, n keys. */
INLINE void mix_tile(wr_block_type type, size_t rows, const uint8_t *v, size_t v_bytes, size_t n, size_t cols,
                     const float *p, size_t p_stride, float *y, size_t y_stride, bool more)
{
    vec sum[ROWS][2];
    size_t second = cols > LANES ? cols - LANES : 0;
    UNROLL for (size_t r = 0; r < rows; r++) sum[r][0] = sum[r][1] = VEC(setzero_ps)();
    for (size_t k = 0; k < n; k++, v += v_bytes) {
        vec a = as_floats(load_weights(type, v, cols)), b = VEC(setzero_ps)();
        if (second) b = as_floats(load_weights(type, v + LANES * bytes_of(type), second));
        UNROLL for (size_t r = 0; r < rows; r++)
        {
            vec w = VEC(set1_ps)(p[r * p_stride + k]);
            sum[r][0] = VEC(fmadd_ps)(w, a, sum[r][0]);
            sum[r][1] = VEC(fmadd_ps)(w, b, sum[r][1]);
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++)
    {
        float *at = y + r * y_stride;
        store_some(at, cols, more ? VEC(add_ps)(load_some(at, cols), sum[r][0]) : sum[r][0]);
        if (!second) continue;
        at += LANES;
        store_some(at, second, more ? VEC(add_ps)(load_some(at, second), sum[r][1]) : sum[r][1]);
    }
}

INLINE void mix_of(wr_block_type type, const uint8_t *v, size_t v_stride, size_t n, size_t width, const float *p,
                   size_t p_stride, size_t rows, float *y, size_t y_stride)
{
    size_t v_bytes = v_stride * bytes_of(type);
    for (size_t i = 0; i < n; i += WR_GEMM_DEPTH)
        for (size_t c = 0; c < width; c += COLS) {
            size_t some = n - i < WR_GEMM_DEPTH ? n - i : WR_GEMM_DEPTH, cols = width - c < COLS ? width - c : COLS;
            const uint8_t *at = v + i * v_bytes + c * bytes_of(type);
            size_t r = 0;
#define MIX(R)                                                                                                         \
    for (; r + R <= rows; r += R)                                                                                      \
    mix_tile(type, R, at, v_bytes, some, cols, p + r * p_stride + i, p_stride, y + r * y_stride + c, y_stride, i > 0)
            MIX(ROWS);
            MIX(3);
            MIX(1);
#undef MIX
        }
}

static void mix(wr_block_type type, const void *v, size_t v_stride, size_t n, size_t width, const float *p,
                size_t p_stride, size_t rows, float *y, size_t y_stride)
{
    if (type == WR_BLOCK_F32)
        mix_of(WR_BLOCK_F32, v, v_stride, n, width, p, p_stride, rows, y, y_stride);
    else
        mix_of(WR_BLOCK_F16, v, v_stride, n, width, p, p_stride, rows, y, y_stride);
}

/* ---- halves ---- */

static void narrow(const float *x, size_t n, uint16_t *h)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(void *)(h + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    for (; i < n; i++) h[i] = (uint16_t)_mm_extract_epi16(_mm_cvtps_ph(_mm_load_ss(x + i), 0), 0);
}

static void fill(wr_block_kernels *table)
{
    table->gemm_float = gemm_float;
    table->scores = scores;
    table->mix = mix;
    table->narrow = narrow;
}

#endif
