#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "models/kernels.h"
#include "models/kernels_avx512_lanes.h"

/* The tile of the other 512-bit products: 12 rows and 2 vectors of 16 outputs, two inputs a step. A tile's rows are
 * rounded into 12 KB of stack, once for PANELS panels. */

enum { LANES = 16, COLS = WR_BF16_COLS, ROWS = 12, DEPTH = 512, PANELS = 4 };

/* Two inputs in every lane. */
INLINE __m512bh broadcast(const uint16_t *x)
{
    int32_t v;
    memcpy(&v, x, sizeof v);
    return (__m512bh)_mm512_set1_epi32(v);
}

/* sums [rows, 32] = (more ? sums : 0) + x w, n pairs of inputs; rows of x are DEPTH apart. */
INLINE void tile(const size_t rows, const uint16_t *x, const uint16_t *w, size_t n, bool more, float *sums)
{
    __m512 a[ROWS], b[ROWS];
    UNROLL for (size_t r = 0; r < rows; r++)
    {
        a[r] = more ? _mm512_loadu_ps(sums + r * COLS) : _mm512_setzero_ps();
        b[r] = more ? _mm512_loadu_ps(sums + r * COLS + LANES) : _mm512_setzero_ps();
    }
    for (size_t i = 0; i < n; i++, w += 2 * COLS, x += 2) {
        __m512bh wa = (__m512bh)_mm512_loadu_si512(w), wb = (__m512bh)_mm512_loadu_si512(w + COLS);
        UNROLL for (size_t r = 0; r < rows; r++)
        {
            __m512bh v = broadcast(x + r * DEPTH);
            a[r] = _mm512_dpbf16_ps(a[r], wa, v);
            b[r] = _mm512_dpbf16_ps(b[r], wb, v);
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++)
    {
        _mm512_storeu_ps(sums + r * COLS, a[r]);
        _mm512_storeu_ps(sums + r * COLS + LANES, b[r]);
    }
}

#define TILE(ROWS_)                                                                                                    \
    static __attribute__((noinline)) void tile_##ROWS_(const uint16_t *x, const uint16_t *w, size_t n, bool more,      \
                                                       float *sums)                                                    \
    {                                                                                                                  \
        tile(ROWS_, x, w, n, more, sums);                                                                              \
    }

/* clang-format off */
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
    /* clang-format on */

    typedef void (*tile_fn)(const uint16_t *x, const uint16_t *w, size_t n, bool more, float *sums);

static const tile_fn tiles[ROWS + 1] = {NULL,   tile_1, tile_2, tile_3,  tile_4,  tile_5, tile_6,
                                        tile_7, tile_8, tile_9, tile_10, tile_11, tile_12};

/* n inputs of some rows to the nearest bf16; an odd number of them is followed by a zero. */
INLINE void round_inputs(const float *x, size_t x_stride, size_t rows, size_t n, uint16_t *to)
{
    for (size_t r = 0; r < rows; r++, x += x_stride, to += DEPTH)
        for (size_t i = 0; i < n; i += 32) {
            __m512 a = _mm512_maskz_loadu_ps(first(n - i), x + i);
            __m512 b = _mm512_maskz_loadu_ps(first(n - i > 16 ? n - i - 16 : 0), x + i + 16);
            _mm512_storeu_si512(to + i, (__m512i)_mm512_cvtne2ps_pbh(b, a));
        }
}

static void store_tile(const float *sums, size_t rows, size_t cols, float *y, size_t y_stride)
{
    __mmask16 low = first(cols), high = first(cols > LANES ? cols - LANES : 0);
    for (size_t r = 0; r < rows; r++, sums += COLS, y += y_stride) {
        _mm512_mask_storeu_ps(y, low, _mm512_loadu_ps(sums));
        _mm512_mask_storeu_ps(y + LANES, high, _mm512_loadu_ps(sums + LANES));
    }
}

/* The largest of a tile's products for each output, and of those that m holds when it is not the first tile. */
static void fold(const float *sums, size_t rows, size_t cols, bool more, float *m)
{
    for (size_t half = 0; half < 2 && half * LANES < cols; half++, sums += LANES, m += LANES) {
        __mmask16 mask = first(cols - half * LANES);
        __m512 max = more ? _mm512_maskz_loadu_ps(mask, m) : _mm512_set1_ps(-INFINITY);
        for (size_t r = 0; r < rows; r++) max = _mm512_max_ps(_mm512_loadu_ps(sums + r * COLS), max);
        _mm512_mask_storeu_ps(m, mask, max);
    }
}

/* All outputs of all rows, or with max what the rows' largest are. */
INLINE void multiply(const float *x, size_t x_stride, size_t rows, size_t in, const uint16_t *packed, size_t out,
                     const bool max, float *y, size_t y_stride)
{
    size_t groups = (rows + ROWS - 1) / ROWS, row_len = (in + 1) / 2 * 2;
    uint16_t inputs[ROWS * DEPTH];
    float sums[PANELS][ROWS * COLS];
    for (size_t o = 0; o < out; o += PANELS * COLS) {
        size_t panels = ((out - o < PANELS * COLS ? out - o : PANELS * COLS) + COLS - 1) / COLS;
        for (size_t g = 0, at = 0; g < groups; g++) { /* rows shared out evenly: 13 are 6 and 7, not 12 and 1 */
            size_t some = rows * (g + 1) / groups - at;
            for (size_t i = 0; i < in; i += DEPTH) {
                size_t n = in - i < DEPTH ? in - i : DEPTH;
                const uint16_t *w = packed + o * row_len + i * COLS;
                round_inputs(x + at * x_stride + i, x_stride, some, n, inputs);
                for (size_t p = 0; p < panels; p++, w += COLS * row_len)
                    tiles[some](inputs, w, (n + 1) / 2, i > 0, sums[p]);
            }
            for (size_t p = 0, c = o; p < panels; p++, c += COLS)
                if (max)
                    fold(sums[p], some, out - c, at > 0, y + c);
                else
                    store_tile(sums[p], some, out - c, y + at * y_stride + c, y_stride);
            at += some;
        }
    }
}

static void gemm_bf16(const float *x, size_t x_stride, size_t rows, size_t in, const uint16_t *packed, size_t out,
                      float *y, size_t y_stride)
{
    multiply(x, x_stride, rows, in, packed, out, false, y, y_stride);
}

static void gemm_max_bf16(const float *x, size_t x_stride, size_t rows, size_t in, const uint16_t *packed, size_t out,
                          const float *bias, float *m)
{
    multiply(x, x_stride, rows, in, packed, out, true, m, 0);
    for (size_t o = 0; o < out && bias; o++) m[o] += bias[o];
}

void wr_kernels_init_avx512_bf16(wr_kernels *table)
{
    table->gemm_bf16 = gemm_bf16;
    table->gemm_max_bf16 = gemm_max_bf16;
}
