#include <math.h>
#include <stdbool.h>

#include "models/kernels.h"
#include "models/kernels_avx2_lanes.h"

/* 8 -> 4 -> 2 -> 1, each lane plus the one half the width away. */
static float halve(__m256 s)
{
    __m128 h = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    h = _mm_add_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_add_ss(h, _mm_movehdup_ps(h)));
}

/* s + a * b over the first n of 8 lanes (n may be 0 or negative: none). */
static __m256 step(const float *a, const float *b, ptrdiff_t n, __m256 s)
{
    return n > 0 ? _mm256_fmadd_ps(load(a, (size_t)n), load(b, (size_t)n), s) : s;
}

/* The sums are named one by one: an array of them would live in memory. */
static float dot_f32(const float *a, const float *b, size_t n)
{
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
        s1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), s1);
        s2 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 16), _mm256_loadu_ps(b + i + 16), s2);
        s3 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 24), _mm256_loadu_ps(b + i + 24), s3);
        s4 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 32), _mm256_loadu_ps(b + i + 32), s4);
        s5 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 40), _mm256_loadu_ps(b + i + 40), s5);
        s6 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 48), _mm256_loadu_ps(b + i + 48), s6);
        s7 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 56), _mm256_loadu_ps(b + i + 56), s7);
    }
    if (i < n) {
        ptrdiff_t left = (ptrdiff_t)(n - i);
        a += i;
        b += i;
        s0 = step(a, b, left, s0);
        s1 = step(a + 8, b + 8, left - 8, s1);
        s2 = step(a + 16, b + 16, left - 16, s2);
        s3 = step(a + 24, b + 24, left - 24, s3);
        s4 = step(a + 32, b + 32, left - 32, s4);
        s5 = step(a + 40, b + 40, left - 40, s5);
        s6 = step(a + 48, b + 48, left - 48, s6);
        s7 = step(a + 56, b + 56, left - 56, s7);
    }
    s0 = _mm256_add_ps(s0, s4), s1 = _mm256_add_ps(s1, s5), s2 = _mm256_add_ps(s2, s6), s3 = _mm256_add_ps(s3, s7);
    return halve(_mm256_add_ps(_mm256_add_ps(s0, s2), _mm256_add_ps(s1, s3)));
}

static void dots_f32(const float *x, size_t rows, size_t dim, const float *q, float *y)
{
    for (size_t r = 0; r < rows; r++) y[r] = dot_f32(x + r * dim, q, dim);
}

/* Horner's rule for degree 4 and 7. */
static __m256 horner4(const float *c, __m256 x)
{
    __m256 y = _mm256_fmadd_ps(_mm256_set1_ps(c[4]), x, _mm256_set1_ps(c[3]));
    y = _mm256_fmadd_ps(y, x, _mm256_set1_ps(c[2]));
    y = _mm256_fmadd_ps(y, x, _mm256_set1_ps(c[1]));
    return _mm256_fmadd_ps(y, x, _mm256_set1_ps(c[0]));
}

static __m256 horner7(const float *c, __m256 x)
{
    __m256 y = _mm256_fmadd_ps(horner4(c + 3, x), x, _mm256_set1_ps(c[2]));
    y = _mm256_fmadd_ps(y, x, _mm256_set1_ps(c[1]));
    return _mm256_fmadd_ps(y, x, _mm256_set1_ps(c[0]));
}

static __m256 exp_f32(__m256 x)
{
    static const float e[] = WR_EXP_E;
    const __m256 round = _mm256_set1_ps(WR_EXP_ROUND);
    x = _mm256_max_ps(x, _mm256_set1_ps(WR_EXP_LOWEST));
    __m256 rounded = _mm256_fmadd_ps(x, _mm256_set1_ps(WR_EXP_LOG2E), round), n = _mm256_sub_ps(rounded, round);
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-WR_EXP_LN2_HI), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-WR_EXP_LN2_LO), r);
    __m256 y = _mm256_fmadd_ps(_mm256_mul_ps(r, r), horner4(e, r), r);
    y = _mm256_add_ps(y, _mm256_set1_ps(1));
    __m256i shift = _mm256_slli_epi32(_mm256_castps_si256(rounded), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), shift));
}

static __m256 gelu(__m256 v)
{
    static const float t[] = WR_ERFC_T;
    const __m256 sign = _mm256_set1_ps(-0.0f), zero = _mm256_setzero_ps();
    __m256 size = _mm256_andnot_ps(sign, v);
    __m256 u = _mm256_min_ps(_mm256_mul_ps(size, _mm256_set1_ps(0.70710678f)), _mm256_set1_ps(WR_ERFC_END));
    __m256 erfc = exp_f32(_mm256_mul_ps(u, _mm256_xor_ps(sign, horner7(t, u))));
    return _mm256_fmadd_ps(_mm256_mul_ps(size, _mm256_set1_ps(-0.5f)), erfc, _mm256_max_ps(v, zero));
}

static __m256 keep(__m256 v)
{
    return v;
}

static __m256 relu(__m256 v)
{
    return _mm256_max_ps(v, _mm256_setzero_ps());
}

/* y = f(y + bias), the common shape of three kernels; f is inlined. */
INLINE void each(float *y, const float *bias, size_t rows, size_t n, __m256 (*f)(__m256))
{
    for (size_t r = 0; r < rows; r++, y += n)
        for (size_t i = 0; i < n; i += 8)
            store(y + i, n - i, f(_mm256_add_ps(load(y + i, n - i), load(bias + i, n - i))));
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
    const __m256 one = _mm256_set1_ps(1), zero = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += 8) {
        __m256 v = load(y + i, n - i), e = exp_f32(_mm256_or_ps(v, _mm256_set1_ps(-0.0f)));
        __m256 top = _mm256_blendv_ps(one, e, _mm256_cmp_ps(v, zero, _CMP_LT_OQ));
        v = _mm256_mul_ps(v, _mm256_div_ps(top, _mm256_add_ps(one, e)));
        store(y + i, n - i, _mm256_mul_ps(v, load(by + i, n - i)));
    }
}

/* Lanes 0..7 and 8..15 of the 16 partial sums are two registers; a step of 8 elements goes to them in turn: the sum
 * that was added to becomes the other one. Which of them is which does not matter when they are added in the end. */
static void norm_row(float *x, const float *y, const float *bias, const float *gamma, const float *beta, float eps,
                     size_t n)
{
    __m256 sum = _mm256_setzero_ps(), other = sum;
    for (size_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_add_ps(load(y + i, n - i), load(bias + i, n - i));
        v = _mm256_add_ps(load(x + i, n - i), v);
        store(x + i, n - i, v);
        v = _mm256_add_ps(sum, v);
        sum = other;
        other = v;
    }
    const __m256 count = _mm256_set1_ps((float)n);
    __m256 mean = _mm256_div_ps(_mm256_set1_ps(halve(_mm256_add_ps(sum, other))), count);
    sum = other = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += 8) {
        __m256 d = _mm256_sub_ps(load(x + i, n - i), mean);
        if (n - i < 8) d = _mm256_and_ps(d, _mm256_castsi256_ps(first(n - i)));
        d = _mm256_fmadd_ps(d, d, sum);
        sum = other;
        other = d;
    }
    __m256 variance = _mm256_div_ps(_mm256_set1_ps(halve(_mm256_add_ps(sum, other))), count);
    __m256 scale = _mm256_div_ps(_mm256_set1_ps(1), _mm256_sqrt_ps(_mm256_add_ps(variance, _mm256_set1_ps(eps))));
    for (size_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_mul_ps(_mm256_sub_ps(load(x + i, n - i), mean), scale);
        v = _mm256_fmadd_ps(v, load(gamma + i, n - i), load(beta + i, n - i));
        store(x + i, n - i, v);
    }
}

static void add_norm_f32(float *x, const float *y, const float *bias, const float *gamma, const float *beta, float eps,
                         size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++) norm_row(x + r * n, y + r * n, bias, gamma, beta, eps, n);
}

static float max_of(const float *s, size_t n)
{
    __m256 max = _mm256_set1_ps(s[0]);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) max = _mm256_max_ps(_mm256_loadu_ps(s + i), max);
    if (i < n) {
        __m256i mask = first(n - i);
        __m256 tail = load(s + i, n - i);
        max = _mm256_max_ps(_mm256_blendv_ps(max, tail, _mm256_castsi256_ps(mask)), max);
    }
    __m128 h = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps(max, 1));
    h = _mm_max_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)));
}

static void softmax_f32(float *s, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, s += n) {
        const __m256 max = _mm256_set1_ps(max_of(s, n));
        __m256 sum = _mm256_setzero_ps(), other = sum;
        for (size_t i = 0; i < n; i += 8) {
            __m256 e = exp_f32(_mm256_sub_ps(load(s + i, n - i), max));
            if (n - i < 8) e = _mm256_and_ps(e, _mm256_castsi256_ps(first(n - i)));
            store(s + i, n - i, e);
            e = _mm256_add_ps(sum, e);
            sum = other;
            other = e;
        }
        const __m256 scale = _mm256_set1_ps(1 / halve(_mm256_add_ps(sum, other)));
        for (size_t i = 0; i < n; i += 8) store(s + i, n - i, _mm256_mul_ps(load(s + i, n - i), scale));
    }
}

/* ---- the matrix product ----
 * A tile of up to 6 rows and 16 outputs is held in registers (12 sums, two weights, one broadcast input) while all
 * inputs of a block pass. The number of rows is a constant in each copy of the code, so that the loops over it unroll
 * and the sums stay in registers. */

enum { LANES = 8, COLS = 2 * LANES, ROWS = 6 };

/* y = (more ? y : 0) + x w for `rows` rows, one panel, n inputs. */
INLINE void tile(const size_t rows, const float *x, size_t x_stride, const float *w, size_t n, float *y,
                 size_t y_stride, bool more)
{
    __m256 a[ROWS], b[ROWS];
    UNROLL for (size_t r = 0; r < rows; r++) a[r] = b[r] = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i++, w += COLS) {
        __m256 wa = _mm256_loadu_ps(w), wb = _mm256_loadu_ps(w + LANES);
        UNROLL for (size_t r = 0; r < rows; r++)
        {
            __m256 v = _mm256_set1_ps(x[r * x_stride + i]);
            a[r] = _mm256_fmadd_ps(v, wa, a[r]);
            b[r] = _mm256_fmadd_ps(v, wb, b[r]);
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++)
    {
        float *to = y + r * y_stride;
        _mm256_storeu_ps(to, more ? _mm256_add_ps(_mm256_loadu_ps(to), a[r]) : a[r]);
        _mm256_storeu_ps(to + LANES, more ? _mm256_add_ps(_mm256_loadu_ps(to + LANES), b[r]) : b[r]);
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
    /* clang-format on */

    typedef void (*tile_fn)(const float *x, size_t x_stride, const float *w, size_t n, float *y, size_t y_stride,
                            bool more);

static const tile_fn tiles[ROWS + 1] = {NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};

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
        __m256 a = _mm256_set1_ps(-INFINITY), b = a;
        for (size_t g = 0, at = 0; g < groups; g++) {
            size_t some = rows * (g + 1) / groups - at;
            for (size_t i = 0; i < in; i += WR_GEMM_DEPTH)
                tiles[some](x + at * x_stride + i, x_stride, packed + o * in + i * COLS,
                            in - i < WR_GEMM_DEPTH ? in - i : WR_GEMM_DEPTH, sums, COLS, i > 0);
            for (size_t r = 0; r < some; r++) {
                a = _mm256_max_ps(_mm256_loadu_ps(sums + r * COLS), a);
                b = _mm256_max_ps(_mm256_loadu_ps(sums + r * COLS + LANES), b);
            }
            at += some;
        }
        store(m + o, out - o, bias ? _mm256_add_ps(a, load(bias + o, out - o)) : a);
        if (out - o <= LANES) continue;
        size_t rest = out - o - LANES;
        store(m + o + LANES, rest, bias ? _mm256_add_ps(b, load(bias + o + LANES, rest)) : b);
    }
}

/* 8 outputs and 8 inputs at a time pass through registers that are turned. */
static void pack_f32(const float *w, size_t w_stride, size_t out, size_t in, float scale, float *packed)
{
    const __m256 scales = _mm256_set1_ps(scale);
    for (size_t o = 0; o < out; o += LANES) {
        float *panel = packed + o / COLS * COLS * in + o % COLS;
        for (size_t i = 0; i < in; i += LANES) {
            __m256i r[LANES];
            UNROLL for (size_t k = 0; k < LANES; k++)
            {
                const float *from = w + (o + k) * w_stride + i;
                r[k] = o + k < out ? _mm256_castps_si256(_mm256_mul_ps(load(from, in - i), scales))
                                   : _mm256_setzero_si256();
            }
            transpose(r);
            size_t n = in - i < LANES ? in - i : LANES;
            if (n == LANES)
                UNROLL for (size_t k = 0; k < LANES; k++)
                    _mm256_storeu_si256((__m256i *)(void *)(panel + (i + k) * COLS), r[k]);
            else
                for (size_t k = 0; k < n; k++) _mm256_storeu_si256((__m256i *)(void *)(panel + (i + k) * COLS), r[k]);
        }
    }
    if (out % COLS && out % COLS <= LANES) /* a panel's second half without outputs */
        for (size_t i = 0; i < in; i++)
            _mm256_storeu_ps(packed + out / COLS * COLS * in + i * COLS + LANES, _mm256_setzero_ps());
}

void wr_kernels_init_avx2(wr_kernels *table)
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
