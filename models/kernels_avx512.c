#include <math.h>
#include <stdbool.h>

#include "models/kernels.h"
#include "models/kernels_avx512_lanes.h"

/* 16 -> 8 -> 4 -> 2 -> 1, each lane plus the one half the width away. */
static float halve(__m512 s)
{
    __m256 q = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));
    __m128 h = _mm_add_ps(_mm256_castps256_ps128(q), _mm256_extractf128_ps(q, 1));
    h = _mm_add_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_add_ss(h, _mm_movehdup_ps(h)));
}

/* s + a * b over the first n of 16 lanes (n may be 0 or negative: none). */
static __m512 step(const float *a, const float *b, ptrdiff_t n, __m512 s)
{
    __mmask16 mask = n > 0 ? first((size_t)n) : 0;
    return _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, a), _mm512_maskz_loadu_ps(mask, b), s);
}

/* The sums are named one by one: an array of them would live in memory. */
static float dot_f32(const float *a, const float *b, size_t n)
{
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        s0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), s0);
        s1 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16), s1);
        s2 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 32), _mm512_loadu_ps(b + i + 32), s2);
        s3 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 48), _mm512_loadu_ps(b + i + 48), s3);
    }
    if (i < n) {
        ptrdiff_t left = (ptrdiff_t)(n - i);
        a += i;
        b += i;
        s0 = step(a, b, left, s0);
        s1 = step(a + 16, b + 16, left - 16, s1);
        s2 = step(a + 32, b + 32, left - 32, s2);
        s3 = step(a + 48, b + 48, left - 48, s3);
    }
    return halve(_mm512_add_ps(_mm512_add_ps(s0, s2), _mm512_add_ps(s1, s3)));
}

static void dots_f32(const float *x, size_t rows, size_t dim, const float *q, float *y)
{
    for (size_t r = 0; r < rows; r++) y[r] = dot_f32(x + r * dim, q, dim);
}

/* Horner's rule for degree 4 and 7. */
static __m512 horner4(const float *c, __m512 x)
{
    __m512 y = _mm512_fmadd_ps(_mm512_set1_ps(c[4]), x, _mm512_set1_ps(c[3]));
    y = _mm512_fmadd_ps(y, x, _mm512_set1_ps(c[2]));
    y = _mm512_fmadd_ps(y, x, _mm512_set1_ps(c[1]));
    return _mm512_fmadd_ps(y, x, _mm512_set1_ps(c[0]));
}

static __m512 horner7(const float *c, __m512 x)
{
    __m512 y = _mm512_fmadd_ps(horner4(c + 3, x), x, _mm512_set1_ps(c[2]));
    y = _mm512_fmadd_ps(y, x, _mm512_set1_ps(c[1]));
    return _mm512_fmadd_ps(y, x, _mm512_set1_ps(c[0]));
}

static __m512 exp_f32(__m512 x)
{
    static const float e[] = WR_EXP_E;
    const __m512 round = _mm512_set1_ps(WR_EXP_ROUND);
    x = _mm512_max_ps(x, _mm512_set1_ps(WR_EXP_LOWEST));
    __m512 rounded = _mm512_fmadd_ps(x, _mm512_set1_ps(WR_EXP_LOG2E), round), n = _mm512_sub_ps(rounded, round);
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-WR_EXP_LN2_HI), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-WR_EXP_LN2_LO), r);
    __m512 y = _mm512_fmadd_ps(_mm512_mul_ps(r, r), horner4(e, r), r);
    y = _mm512_add_ps(y, _mm512_set1_ps(1));
    __m512i shift = _mm512_slli_epi32(_mm512_castps_si512(rounded), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(y), shift));
}

static __m512 gelu(__m512 v)
{
    static const float t[] = WR_ERFC_T;
    const __m512 sign = _mm512_set1_ps(-0.0f), zero = _mm512_setzero_ps();
    __m512 size = _mm512_andnot_ps(sign, v);
    __m512 u = _mm512_min_ps(_mm512_mul_ps(size, _mm512_set1_ps(0.70710678f)), _mm512_set1_ps(WR_ERFC_END));
    __m512 erfc = exp_f32(_mm512_mul_ps(u, _mm512_xor_ps(sign, horner7(t, u))));
    return _mm512_fmadd_ps(_mm512_mul_ps(size, _mm512_set1_ps(-0.5f)), erfc, _mm512_max_ps(v, zero));
}

static __m512 keep(__m512 v)
{
    return v;
}

static __m512 relu(__m512 v)
{
    return _mm512_max_ps(v, _mm512_setzero_ps());
}

/* y = f(y + bias), the common shape of three kernels; f is inlined. */
INLINE void each(float *y, const float *bias, size_t rows, size_t n, __m512 (*f)(__m512))
{
    for (size_t r = 0; r < rows; r++, y += n)
        for (size_t i = 0; i < n; i += 16) {
            __mmask16 mask = first(n - i);
            __m512 v = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y + i), _mm512_maskz_loadu_ps(mask, bias + i));
            _mm512_mask_storeu_ps(y + i, mask, f(v));
        }
}

static void bias_f32(float *y, const float *bias, size_t rows, size_t n)
{
    each(y, bias, rows, n, keep);
}

static void bias_gelu_f32(float *y, const float *bias, size_t rows, size_t n)
{
    each(y, bias, rows, n, gelu);
}

static void bias_relu_f32(float *y, const float *bias, size_t rows, size_t n)
{
    each(y, bias, rows, n, relu);
}

static void silu_times_f32(float *y, const float *by, size_t n)
{
    const __m512 one = _mm512_set1_ps(1), zero = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first(n - i);
        __m512 v = _mm512_maskz_loadu_ps(mask, y + i);
        __m512 e = exp_f32(_mm512_or_ps(v, _mm512_set1_ps(-0.0f)));
        __m512 top = _mm512_mask_blend_ps(_mm512_cmp_ps_mask(v, zero, _CMP_LT_OQ), one, e);
        v = _mm512_mul_ps(v, _mm512_div_ps(top, _mm512_add_ps(one, e)));
        _mm512_mask_storeu_ps(y + i, mask, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(mask, by + i)));
    }
}

static void norm_row(float *x, const float *y, const float *bias, const float *gamma, const float *beta, float eps,
                     size_t n)
{
    __m512 sum = _mm512_setzero_ps(), square = sum;
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first(n - i);
        __m512 v = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y + i), _mm512_maskz_loadu_ps(mask, bias + i));
        v = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, x + i), v);
        _mm512_mask_storeu_ps(x + i, mask, v);
        sum = _mm512_add_ps(sum, v);
    }
    const __m512 count = _mm512_set1_ps((float)n);
    __m512 mean = _mm512_div_ps(_mm512_set1_ps(halve(sum)), count);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first(n - i);
        __m512 d = _mm512_maskz_sub_ps(mask, _mm512_maskz_loadu_ps(mask, x + i), mean);
        square = _mm512_fmadd_ps(d, d, square);
    }
    __m512 variance = _mm512_div_ps(_mm512_set1_ps(halve(square)), count);
    __m512 scale = _mm512_div_ps(_mm512_set1_ps(1), _mm512_sqrt_ps(_mm512_add_ps(variance, _mm512_set1_ps(eps))));
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first(n - i);
        __m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), mean), scale);
        v = _mm512_fmadd_ps(v, _mm512_maskz_loadu_ps(mask, gamma + i), _mm512_maskz_loadu_ps(mask, beta + i));
        _mm512_mask_storeu_ps(x + i, mask, v);
    }
}

static void add_norm_f32(float *x, const float *y, const float *bias, const float *gamma, const float *beta, float eps,
                         size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++) norm_row(x + r * n, y + r * n, bias, gamma, beta, eps, n);
}

static void softmax_f32(float *s, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, s += n) {
        __m512 max = _mm512_set1_ps(s[0]), sum = _mm512_setzero_ps();
        for (size_t i = 0; i < n; i += 16)
            max = _mm512_mask_max_ps(max, first(n - i), max, _mm512_maskz_loadu_ps(first(n - i), s + i));
        max = _mm512_set1_ps(_mm512_reduce_max_ps(max));
        for (size_t i = 0; i < n; i += 16) {
            __mmask16 mask = first(n - i);
            __m512 e = exp_f32(_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, s + i), max));
            _mm512_mask_storeu_ps(s + i, mask, e);
            sum = _mm512_mask_add_ps(sum, mask, sum, e);
        }
        const __m512 scale = _mm512_set1_ps(1 / halve(sum));
        for (size_t i = 0; i < n; i += 16) {
            __mmask16 mask = first(n - i);
            _mm512_mask_storeu_ps(s + i, mask, _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, s + i), scale));
        }
    }
}

/* ---- the matrix product ----
 * A tile of up to 12 rows and 32 outputs is held in registers (24 sums, two weights, one broadcast input) while all
 * inputs of a block pass. The number of rows is a constant in each copy of the code, so that the loops over it unroll
 * and the sums stay in registers. */

enum { LANES = 16, COLS = 2 * LANES, ROWS = 12 };

/* y = (more ? y : 0) + x w for `rows` rows, one panel, n inputs. */
INLINE void tile(const size_t rows, const float *x, size_t x_stride, const float *w, size_t n, float *y,
                 size_t y_stride, bool more)
{
    __m512 a[ROWS], b[ROWS];
    UNROLL for (size_t r = 0; r < rows; r++) a[r] = b[r] = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i++, w += COLS) {
        __m512 wa = _mm512_loadu_ps(w), wb = _mm512_loadu_ps(w + LANES);
        UNROLL for (size_t r = 0; r < rows; r++)
        {
            __m512 v = _mm512_set1_ps(x[r * x_stride + i]);
            a[r] = _mm512_fmadd_ps(v, wa, a[r]);
            b[r] = _mm512_fmadd_ps(v, wb, b[r]);
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++)
    {
        float *to = y + r * y_stride;
        _mm512_storeu_ps(to, more ? _mm512_add_ps(_mm512_loadu_ps(to), a[r]) : a[r]);
        _mm512_storeu_ps(to + LANES, more ? _mm512_add_ps(_mm512_loadu_ps(to + LANES), b[r]) : b[r]);
    }
}

#define TILE(ROWS_)                                                                                                    \
    static void tile_##ROWS_(const float *x, size_t x_stride, const float *w, size_t n, float *y, size_t y_stride,     \
                             bool more)                                                                                \
    {                                                                                                                  \
        tile(ROWS_, x, x_stride, w, n, y, y_stride, more);                                                             \
    }

/* clang-format off */
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
    /* clang-format on */

    typedef void (*tile_fn)(const float *x, size_t x_stride, const float *w, size_t n, float *y, size_t y_stride,
                            bool more);

static const tile_fn tiles[ROWS + 1] = {NULL,   tile_1, tile_2, tile_3,  tile_4,  tile_5, tile_6,
                                        tile_7, tile_8, tile_9, tile_10, tile_11, tile_12};

/* The last panel has fewer outputs than a tile: by way of a tile of its own. */
static void narrow_tile(size_t rows, const float *x, size_t x_stride, const float *w, size_t n, float *y,
                        size_t y_stride, size_t cols, bool more)
{
    float whole[ROWS * COLS];
    tiles[rows](x, x_stride, w, n, whole, COLS, false);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            y[r * y_stride + c] = more ? y[r * y_stride + c] + whole[r * COLS + c] : whole[r * COLS + c];
}

static void gemm_f32(const float *x, size_t x_stride, size_t rows, size_t in, const float *packed, size_t out, float *y,
                     size_t y_stride)
{
    size_t groups = (rows + ROWS - 1) / ROWS;
    for (size_t i = 0; i < in; i += WR_GEMM_DEPTH)
        for (size_t o = 0; o < out; o += COLS) {
            const float *w = packed + o * in + i * COLS;
            size_t n = in - i < WR_GEMM_DEPTH ? in - i : WR_GEMM_DEPTH;
            for (size_t g = 0, at = 0; g < groups; g++) { /* rows shared out evenly: 13 are 6 and 7, not 12 and 1 */
                size_t some = rows * (g + 1) / groups - at;
                const float *from = x + at * x_stride + i;
                float *to = y + at * y_stride + o;
                if (out - o < COLS)
                    narrow_tile(some, from, x_stride, w, n, to, y_stride, out - o, i > 0);
                else
                    tiles[some](from, x_stride, w, n, to, y_stride, i > 0);
                at += some;
            }
        }
}

/* Every tile is computed into a buffer of its own and folded. */
static void gemm_max_f32(const float *x, size_t x_stride, size_t rows, size_t in, const float *packed, size_t out,
                         const float *bias, float *m)
{
    size_t groups = (rows + ROWS - 1) / ROWS;
    float sums[ROWS * COLS];
    for (size_t o = 0; o < out; o += COLS) {
        __m512 a = _mm512_set1_ps(-INFINITY), b = a;
        for (size_t g = 0, at = 0; g < groups; g++) {
            size_t some = rows * (g + 1) / groups - at;
            for (size_t i = 0; i < in; i += WR_GEMM_DEPTH)
                tiles[some](x + at * x_stride + i, x_stride, packed + o * in + i * COLS,
                            in - i < WR_GEMM_DEPTH ? in - i : WR_GEMM_DEPTH, sums, COLS, i > 0);
            for (size_t r = 0; r < some; r++) {
                a = _mm512_max_ps(_mm512_loadu_ps(sums + r * COLS), a);
                b = _mm512_max_ps(_mm512_loadu_ps(sums + r * COLS + LANES), b);
            }
            at += some;
        }
        __mmask16 low = first(out - o), high = first(out - o > LANES ? out - o - LANES : 0);
        if (bias) {
            a = _mm512_add_ps(a, _mm512_maskz_loadu_ps(low, bias + o));
            b = _mm512_add_ps(b, _mm512_maskz_loadu_ps(high, bias + o + LANES));
        }
        _mm512_mask_storeu_ps(m + o, low, a);
        _mm512_mask_storeu_ps(m + o + LANES, high, b);
    }
}

/* 16 outputs and 16 inputs at a time pass through registers that are turned. */
static void pack_f32(const float *w, size_t w_stride, size_t out, size_t in, float scale, float *packed)
{
    const __m512 scales = _mm512_set1_ps(scale);
    for (size_t o = 0; o < out; o += LANES) {
        float *panel = packed + o / COLS * COLS * in + o % COLS;
        for (size_t i = 0; i < in; i += LANES) {
            __m512i r[LANES];
            __mmask16 mask = first(in - i);
            UNROLL for (size_t k = 0; k < LANES; k++)
            {
                const float *from = w + (o + k) * w_stride + i;
                r[k] = _mm512_castps_si512(_mm512_mul_ps(_mm512_maskz_loadu_ps(o + k < out ? mask : 0, from), scales));
            }
            transpose(r);
            size_t n = in - i < LANES ? in - i : LANES;
            if (n == LANES)
                UNROLL for (size_t k = 0; k < LANES; k++) _mm512_storeu_si512(panel + (i + k) * COLS, r[k]);
            else
                for (size_t k = 0; k < n; k++) _mm512_storeu_si512(panel + (i + k) * COLS, r[k]);
        }
    }
    if (out % COLS && out % COLS <= LANES) /* a panel's second half without outputs */
        for (size_t i = 0; i < in; i++)
            _mm512_storeu_ps(packed + out / COLS * COLS * in + i * COLS + LANES, _mm512_setzero_ps());
}

void wr_kernels_init_avx512(wr_kernels *table)
{
    table->dot_f32 = dot_f32;
    table->dots_f32 = dots_f32;
    table->bias_f32 = bias_f32;
    table->bias_gelu_f32 = bias_gelu_f32;
    table->bias_relu_f32 = bias_relu_f32;
    table->silu_times_f32 = silu_times_f32;
    table->add_norm_f32 = add_norm_f32;
    table->softmax_f32 = softmax_f32;
    table->gemm_f32 = gemm_f32;
    table->gemm_max_f32 = gemm_max_f32;
    table->gemm_cols = COLS;
    table->pack_f32 = pack_f32;
}
