/* Products with weights that stay in their blocks (models/blocks.h): what a decoder spends its time on.
 *
 * Activations are brought into the form that the type of weights wants once, by wr_block_input(), and multiplied with
 * any number of matrices of that type and width, by any number of threads, each with its own range of outputs and its
 * own scratch:
 *
 *     void *input = ..., *scratch = ...;     // aligned to 64
 *     wr_block_input(&w, x, in, rows, input);
 *     wr_block_gemm(&w, input, rows, 0, out, y, out, scratch);
 *
 * Weights of integers. Each 32 inputs of a row become signed bytes with one scale:
 *
 *     q = round(x * (127 / max |x|)), to nearest even, scale = max |x| / 127; all zeros when max |x| < 2^-120
 *
 * and an output is, over the groups g of inputs that share a scale of weights (32, in Q6_K 16), in ascending order,
 *
 *     y = fmaf((float)(sum_i q_i w_i) * scale, w.scale_g, y)                    from y = 0
 *     y = fmaf((float)(sum_i q_i) * scale, -w.min_g, y)                         behind it, in Q4_K and Q5_K
 *
 * with the parts that wr_block_open() gives. Sums of integers are exact in any order and these operations are not
 * reordered by anybody, so all instruction sets give the same bits, and a row's result depends neither on other rows
 * nor on the range of outputs. ggml's products (which round the activations' scales to fp16, and in K-quants share one
 * among 256 inputs) differ from these by more than these from exact ones.
 *
 * Weights of floats are multiplied in fp32, as gemm_f32 of models/kernels.h does it: chains of fused multiply-adds over
 * WR_GEMM_DEPTH inputs, whose sums are added up in order.
 *
 * Many rows: a panel of outputs is unpacked into the scratch, a few hundred inputs at a time, and multiplied with all
 * rows; the weights are never copied as a whole. One row, which is what generating a token asks for: straight from the
 * blocks, at the speed of memory.
 */
#ifndef WR_MODELS_KERNELS_BLOCKS_H
#define WR_MODELS_KERNELS_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/blocks.h"

/* Memory of `rows` rows of activations, aligned to 64 by its owner. Rows lie one behind the other: row r begins at byte
 * r * wr_block_input_bytes(w, 1), so that several threads may fill one input, and a part of it is one too. */
size_t wr_block_input_bytes(const wr_blocks *w, size_t rows);
void wr_block_input(const wr_blocks *w, const float *x, size_t x_stride, size_t rows, void *input);

/* Whether what was made for a may be multiplied with b. */
bool wr_block_input_fits(const wr_blocks *a, const wr_blocks *b);

/* Memory that a thread needs beside its inputs, aligned to 64. */
size_t wr_block_scratch_bytes(const wr_blocks *w);

/* y[r * y_stride + o] = sum_i x[r][i] w[o][i] for from <= o < to <= w->out; other elements of y are left alone. */
void wr_block_gemm(const wr_blocks *w, const void *input, size_t rows, size_t from, size_t to, float *y,
                   size_t y_stride, void *scratch);

/* ---- for the files that implement it, and tests ---- */

/* A quantised row of activations: q[in] bytes, then from the next multiple of 64 scale[in / 32], then what `extra`
 * says, [in / 32], in Q6_K [in / 16] numbers of 4 bytes. */
typedef struct wr_block_shape {
    size_t scale, extra, bytes; /* where parts begin, and what a row takes; a multiple of 64 */
} wr_block_shape;

wr_block_shape wr_block_shape_of(const wr_blocks *w);

/* extra: int32 -offset * sum of the group's q, which makes up for weights stored too large by offset; where the offset
 * is 0, in Q4_K and Q5_K, float (float)sum * scale. */
int32_t wr_block_offset(wr_block_type type); /* Q8_0 128, Q4_0 8, Q6_K 32, Q4_K and Q5_K 0 */

#define WR_BLOCK_TINY 0x1p-120f /* 127 divided by a smaller number overflows sooner or later */

typedef struct wr_block_kernels {
    const char *isa; /* as in models/kernels.h */
    /* The functions above, for quantised weights. */
    void (*input)(const wr_blocks *w, const float *x, size_t x_stride, size_t rows, void *input);
    void (*gemm)(const wr_blocks *w, const void *input, size_t rows, size_t from, size_t to, float *y, size_t y_stride,
                 void *scratch);
    /* The same for weights of floats. */
    void (*gemm_float)(const wr_blocks *w, const void *input, size_t rows, size_t from, size_t to, float *y,
                       size_t y_stride, void *scratch);

    /* What attention needs (models/kernels_causal.h). type is F32 or F16, strides count numbers, scratch is that of
     * gemm_float, and sums are chains as in gemm_float.
     * s[r][j] = sum_c q[r][c] k[j][c], q [rows, width], for 0 <= j < n. */
    void (*scores)(wr_block_type type, const void *k, size_t k_stride, size_t n, size_t width, const float *q,
                   size_t rows, float *s, size_t s_stride, void *scratch);
    /* y[r][c] = sum_j p[r][j] v[j][c] for 0 <= c < width, over 0 <= j < n. */
    void (*mix)(wr_block_type type, const void *v, size_t v_stride, size_t n, size_t width, const float *p,
                size_t p_stride, size_t rows, float *y, size_t y_stride);
    /* h[i] = x[i] as IEEE fp16, to nearest even. */
    void (*narrow)(const float *x, size_t n, uint16_t *h);
} wr_block_kernels;

/* The table for this CPU, chosen once, lowered by WEIR_ISA; and one by name, false when this CPU has not got it. */
const wr_block_kernels *wr_block_kernels_get(void);
bool wr_block_kernels_for(const char *isa, wr_block_kernels *table);

/* What an unpacked panel takes at most in any of them: 32 outputs of WR_GEMM_DEPTH inputs as floats. */
#define WR_BLOCK_PANEL_BYTES (48 * 1024)

/* In registers of 256 bits with the instructions of AVX-512 VNNI. */
void wr_block_gemm_narrow(const wr_blocks *w, const void *input, size_t rows, size_t from, size_t to, float *y,
                          size_t y_stride, void *scratch);

/* Each sets what it does better than the one before it. */
void wr_block_kernels_ref(wr_block_kernels *table);
void wr_block_kernels_avx2(wr_block_kernels *table);
void wr_block_kernels_avx2_vnni(wr_block_kernels *table);
void wr_block_kernels_avx2_vnni_evex(wr_block_kernels *table); /* for tests */
void wr_block_kernels_avx2_float(wr_block_kernels *table);
void wr_block_kernels_avx512_float(wr_block_kernels *table);
void wr_block_kernels_avx512_vnni(wr_block_kernels *table);

#endif
