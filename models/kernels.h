/* The kernel table: each kernel's formula, shapes and tolerance. Chosen once per process; WEIR_ISA=ref|avx2|avx512
 * lowers it. kernels_ref.c defines every kernel in plain C.
 *
 * The dot products use one fixed tree on every instruction set: 64 partial sums s[j] = fma(a[i+j], b[i+j], s[j]), the
 * tail (n mod 64) masked with zeros, then halved 64 -> 32 -> ... -> 1 by s[j] += s[j + half]. All tables therefore give
 * the same bits, so an index searched on another machine ranks the same.
 *
 * The kernels between the matrix products of an encoder keep to the same rule with 16 partial sums, and to the same
 * polynomials with the same fused steps, so they too are bit-identical on every instruction set.
 *
 * The matrix product works on weights that were packed once: panels of `gemm_cols` outputs, each [in, gemm_cols]. An
 * output is one chain of fused multiply-adds over the inputs, in blocks of WR_GEMM_DEPTH whose sums are added up in
 * order: it depends on its own row and column alone, so that a text has the same bits alone, in any batch and on any
 * instruction set. BLAS promises none of these, and it packs the weights anew at every call.
 */
#ifndef WR_MODELS_KERNELS_H
#define WR_MODELS_KERNELS_H

#include <stddef.h>

typedef struct wr_kernels {
    const char *isa; /* "ref", "avx2", "avx512" */
    /* sum_i a[i] * b[i], in the order above: bit-identical on every ISA. */
    float (*dot_f32)(const float *a, const float *b, size_t n);
    /* y[r] = dot(x[r * dim ..], q) for 0 <= r < rows. */
    void (*dots_f32)(const float *x, size_t rows, size_t dim, const float *q, float *y);

    /* y[r][i] += bias[i] for 0 <= r < rows, 0 <= i < n. */
    void (*bias_f32)(float *y, const float *bias, size_t rows, size_t n);

    /* y[r][i] = gelu(y[r][i] + bias[i]), gelu(x) = x/2 * (1 + erf(x / sqrt 2)).
     * |got - gelu(x)| <= 1e-7 * max(1, |x|). */
    void (*bias_gelu_f32)(float *y, const float *bias, size_t rows, size_t n);

    /* y[r][i] = max(0, y[r][i] + bias[i]). */
    void (*bias_relu_f32)(float *y, const float *bias, size_t rows, size_t n);

    /* x[r] = LayerNorm(x[r] + (y[r] + bias)): v -> (v - mean) / sqrt(variance + eps) * gamma + beta, two passes. */
    void (*add_norm_f32)(float *x, const float *y, const float *bias, const float *gamma, const float *beta, float eps,
                         size_t rows, size_t n);

    /* s[r][i] = exp(s[r][i] - max_r) / sum_r, rows of n >= 1 one behind the other. Each value within
     * 4e-7 of the true one, relative, down to exp(-87); what is below counts as exp(-87). */
    void (*softmax_f32)(float *s, size_t rows, size_t n);

    /* y[r][o] = sum_i x[r][i] * w[o][i]: x [rows, in] and y [rows, out] with their row strides, w packed by
     * wr_kernels_pack() for this table. Bits as said above; |got - want| <= 1e-6 * sum_i |x[r][i] * w[o][i]|. */
    void (*gemm_f32)(const float *x, size_t x_stride, size_t rows, size_t in, const float *packed, size_t out, float *y,
                     size_t y_stride);
    size_t gemm_cols; /* outputs in a panel: what the registers hold */
} wr_kernels;

/* Inputs that a panel passes through the registers at a time: a panel's part is 24 or 48 KB, which stays in
 * the first- or second-level cache while all rows pass over it. Sums over more inputs are split here, which also keeps
 * rounding errors from growing with the number of inputs. */
#define WR_GEMM_DEPTH 384

/* Floats that weights [out, in] take once packed, and the packing: panel after panel, missing outputs as zeros. */
size_t wr_kernels_packed(const wr_kernels *table, size_t out, size_t in);
void wr_kernels_pack(const wr_kernels *table, const float *w, size_t out, size_t in, float *packed);

/* The table for this CPU; the same pointer for the life of the process. */
const wr_kernels *wr_kernels_get(void);

/* Fills a table for one level ("ref", "avx2", "avx512"), for tests; false when this CPU has not got it. */
int wr_kernels_for(const char *isa, wr_kernels *table);

void wr_kernels_init_ref(wr_kernels *table);
void wr_kernels_init_avx2(wr_kernels *table);
void wr_kernels_init_avx512(wr_kernels *table);

/* ---- constants that every instruction set shares ---- */

/* gelu(x) = max(x, 0) - |x|/2 * erfc(u), u = |x| / sqrt 2, which loses nothing to cancellation on either side of 0.
 * erfc(u) = exp(-u * T(u)), T a minimax fit of degree 7 for 0 <= u <= WR_ERFC_END, 9e-9 in the value of gelu before
 * rounding; a larger u counts as WR_ERFC_END, where erfc is 1.5e-12. */
#define WR_ERFC_END 5.0f
#define WR_ERFC_T                                                                                                      \
    {                                                                                                                  \
        1.128385976e+0f, 6.365338947e-1f, 1.031772683e-1f, -2.008853348e-2f, 1.066775065e-3f, 7.290675384e-4f,         \
            -2.200319689e-4f, 2.109550229e-5f                                                                          \
    }

/* exp(x) = 2^n * exp(r), n = round(x / ln 2), |r| <= ln 2 / 2, exp(r) = 1 + r + r^2 * E(r), minimax (3.1e-9).
 * Adding WR_EXP_ROUND rounds to an integer and leaves it in the low bits. ln 2 is split so that n * LN2_HI is exact. */
#define WR_EXP_LOWEST (-87.0f)
#define WR_EXP_LOG2E 1.442695041f
#define WR_EXP_ROUND 12582912.0f
#define WR_EXP_LN2_HI 0.693359375f
#define WR_EXP_LN2_LO (-2.12194440e-4f)
#define WR_EXP_E                                                                                                       \
    {                                                                                                                  \
        4.999999341e-1f, 1.666652011e-1f, 4.166839422e-2f, 8.368780444e-3f, 1.381446662e-3f                            \
    }

#endif
