/* The kernel table: each kernel's formula, shapes and tolerance. Chosen once per process; WEIR_ISA=ref|avx2|avx512|
 * avx512_vnni lowers it. kernels_ref.c defines every kernel in plain C.
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
#include <stdint.h>

/* ---- what the 8-bit kernels work on ---- */

/* Rows of activations as signed bytes, x[r][i] ~ scale[r] * q[r * stride + i]. The bytes from n to stride are zeros. */
typedef struct wr_s8_rows {
    int8_t *q;     /* [rows, stride]                              */
    float *scale;  /* [rows] absmax / 127                         */
    int32_t *sum;  /* [rows] of q, for kernels with unsigned weights */
    size_t stride; /* wr_s8_stride(n)                             */
} wr_s8_rows;

/* Weights w[o][i] ~ scale[o] * q[o][i], packed by pack_s8 of the table that multiplies. */
typedef struct wr_s8_weights {
    const void *packed;
    const float *scale; /* [out]         */
    const float *bias;  /* [out] or NULL */
    size_t out, in;
} wr_s8_weights;

typedef enum wr_s8_act { WR_S8_PLAIN, WR_S8_GELU, WR_S8_RELU } wr_s8_act;

/* One head of one sequence: nq queries over n keys and values of `width` numbers each. */
typedef struct wr_attention {
    const float *q, *k, *v; /* [nq | n | n, width] with their strides          */
    size_t q_stride, kv_stride;
    size_t nq, n, width; /* 1 <= n; in integers n <= WR_ATTEND_KEYS, width <= WR_ATTEND_WIDTH */
    float *ctx;          /* [nq, width] with its stride                     */
    size_t ctx_stride;
    void *scratch;   /* of the function below, aligned to 64 */
    float *received; /* [n] or NULL: what every key receives of the queries' attention is added to it */
} wr_attention;

struct wr_s8_sparse;

typedef struct wr_kernels {
    const char *isa; /* "ref", "avx2", "avx512", "avx512_vnni" */
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

    /* y[i] = silu(y[i]) * by[i], silu(x) = x / (1 + exp(-x)) (arXiv 2002.05202, SwiGLU): (y * (t / (1 + e))) * by with
     * e = exp(-|y|), t = e below 0 and 1 above, so that nothing overflows. |got - want| <= 1e-6 * |want| for |y| <= 87. */
    void (*silu_times_f32)(float *y, const float *by, size_t n);

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
    /* m[o] = max_r y[r][o] + bias[o] (bias may be NULL) of the same product, rows >= 1: what a text says about every
     * word of a vocabulary, without y, which would be larger than anything else. Same bits as the product, then the
     * maximum, then the bias. Likewise gemm_max_bf16 and gemm_max_s8. */
    void (*gemm_max_f32)(const float *x, size_t x_stride, size_t rows, size_t in, const float *packed, size_t out,
                         const float *bias, float *m);
    size_t gemm_cols; /* outputs in a panel: what the registers hold */

    /* Packs scale * w[o * w_stride + i], panel after panel, missing outputs as zeros. */
    void (*pack_f32)(const float *w, size_t w_stride, size_t out, size_t in, float scale, float *packed);

    /* The same with both sides rounded to bf16 (8 bits of mantissa, to nearest even) and sums in fp32, w packed by
     * wr_kernels_pack_bf16(). NULL where the CPU cannot: only AVX512-BF16 does it, in a way of its own (subnormals are
     * zeros, a pair's sum is rounded to odd), so there is a twin for tests, but not the same bits. A row's bits do not
     * depend on the batch. |got - want| <= 1e-6 * sum_i |x w| of the rounded numbers, 8e-3 of the unrounded. */
    void (*gemm_bf16)(const float *x, size_t x_stride, size_t rows, size_t in, const uint16_t *packed, size_t out,
                      float *y, size_t y_stride);
    void (*gemm_max_bf16)(const float *x, size_t x_stride, size_t rows, size_t in, const uint16_t *packed, size_t out,
                          const float *bias, float *m);

    /* ---- 8-bit integers: the same bits on every instruction set, since sums of integers are exact in any order, no
     * intermediate saturates, and every float operation is written down below with its order ---- */

    /* q = round(v * (127 / absmax)), to nearest even, v = x or with migrate (may be NULL) x[i] * migrate[i]; absmax is
     * the row's largest |v|. A row of zeros has scale 0. */
    void (*quantize_s8)(const float *x, size_t rows, size_t n, const float *migrate, const wr_s8_rows *to);

    /* y[r][o] = act(fmaf(x.scale[r] * w.scale[o], (float)sum_i x.q[r][i] * w.q[o][i], bias[o])) for from <= o < to,
     * from a multiple of s8_cols. The product alone without a bias. GELU: |got - gelu(x)| <= 2e-4, a fiftieth of what
     * the result is rounded by next: gelu(x) = x * fmaf(z, G(z * z), 1/2), z = x held to +-WR_GELU8_END. */
    void (*gemm_s8)(const wr_s8_rows *x, size_t rows, const wr_s8_weights *w, size_t from, size_t to, wr_s8_act act,
                    float *y, size_t y_stride);
    /* m[o] = max_r y[r][o] + bias[o] for from <= o < to, y the product without bias and act; rows >= 1. */
    void (*gemm_max_s8)(const wr_s8_rows *x, size_t rows, const wr_s8_weights *w, size_t from, size_t to, float *m);
    size_t s8_cols;
    size_t (*packed_s8)(size_t out, size_t in);                            /* bytes of a packed matrix */
    void (*pack_s8)(const int8_t *w, size_t out, size_t in, void *packed); /* w [out, in]              */

    /* The same product, to the bit, with weights that are zero in blocks of 4 outputs: models/kernels_sparse.h. from is
     * a multiple of 4; scratch has wr_s8_sparse_scratch(in) bytes, aligned to 64. */
    void (*spmm_s8)(const wr_s8_rows *x, size_t rows, const struct wr_s8_sparse *w, size_t from, size_t to,
                    wr_s8_act act, void *scratch, float *y, size_t y_stride);

    /* ctx[i] = sum_j P_ij v_j / sum_j P_ij, P = softmax(q k' / sqrt(width)), in 16-bit integers:
     *     every query is taken to +-WR_ATTEND_QK by its own absmax, all keys by theirs, all values to +-WR_ATTEND_V;
     *     s_ij = sum_c q k exactly; p_ij = round(peak * 2^((s_ij - max_j s_ij) * c_i)),
     *     c_i = (q scale * k scale) * (log2 e / sqrt(width)), peak = wr_attend_peak(n);
     *     ctx = (float)(sum_j p_ij v_jc) * (v scale / (float)sum_j p_ij);
     *     received_j = fmaf((float)p_ij, 1 / (float)sum_j p_ij, received_j), query after query.
     * 2^x = 2^round(x) * (1 + r (E0 + r (E1 + r E2))), 1e-4 relative, below a rounding of p. Within 2e-3 * max |v|. */
    void (*attend_s16)(const wr_attention *a);
} wr_kernels;

/* Positions of the largest BERT; widths of its heads are 32, 64, rarely 128. They bound the sums below. */
#define WR_ATTEND_KEYS 4096
#define WR_ATTEND_WIDTH 128

/* 128 products of two numbers up to 2895, and the difference of two such sums, fit 31 bits; so do 512 products of 4095
 * and 1023. */
#define WR_ATTEND_QK 2895
#define WR_ATTEND_V 1023

/* The largest probability as an integer: 4095, less where more than 512 keys could add up beyond 31 bits. */
static inline int wr_attend_peak(size_t n)
{
    return n <= 512 ? 4095 : (int)(4095 * 512 / n);
}

/* ctx[i] = sum_j P_ij v_j, P = softmax(q k' / sqrt(width)) in floats, of the table's own products: keys and values are
 * packed as their weights. The bits depend on this sequence alone, and on no instruction set.
 * received_j += P_ij, query after query. |got - want| <= 2e-6 * (1 + max_ij sum_c |q_ic k_jc| / sqrt(width)) * max |v|.
 * Scratch: wr_attend_f32_scratch(n, width) bytes. No limit to n and width. */
void wr_attend_f32(const wr_kernels *table, const wr_attention *a);
size_t wr_attend_f32_scratch(const wr_kernels *table, size_t n, size_t width);

/* Bytes that attend_s16 needs beside its inputs. */
size_t wr_attend_scratch(size_t nq, size_t n, size_t width);

/* Bytes of a quantised row of n numbers: kernels read whole registers of 64. */
static inline size_t wr_s8_stride(size_t n)
{
    return (n + 63) / 64 * 64;
}

/* Inputs that a panel passes through the registers at a time: a panel's part is 24 or 48 KB, which stays in
 * the first- or second-level cache while all rows pass over it. Sums over more inputs are split here, which also keeps
 * rounding errors from growing with the number of inputs. */
#define WR_GEMM_DEPTH 384

/* Floats that weights [out, in] take once packed, and the packing of w [out, in]. */
size_t wr_kernels_packed(const wr_kernels *table, size_t out, size_t in);
void wr_kernels_pack(const wr_kernels *table, const float *w, size_t out, size_t in, float *packed);

/* 16-bit numbers that weights [out, in] take as bf16, and the packing: panels of WR_BF16_COLS outputs, each
 * [(in + 1) / 2][WR_BF16_COLS][2]. */
#define WR_BF16_COLS 32
size_t wr_kernels_packed_bf16(size_t out, size_t in);
void wr_kernels_pack_bf16(const float *w, size_t out, size_t in, uint16_t *packed);

/* The table for this CPU; the same pointer for the life of the process. */
const wr_kernels *wr_kernels_get(void);

/* Fills a table for one level, for tests; false when this CPU has not got it. "avx2_madd", "avx2_vnni" and
 * "avx2_vnni_evex" are what the level avx2 chooses between (AVX-VNNI or not) and a form of the latter for tests only.
 */
int wr_kernels_for(const char *isa, wr_kernels *table);

void wr_kernels_init_ref(wr_kernels *table);
void wr_kernels_init_ref_s8(wr_kernels *table);
void wr_kernels_init_ref_bf16(wr_kernels *table); /* in no table but a test's */
void wr_kernels_init_avx2(wr_kernels *table);
void wr_kernels_init_avx2_s8(wr_kernels *table);
void wr_kernels_init_avx2_vnni(wr_kernels *table);
void wr_kernels_init_avx2_vnni_evex(wr_kernels *table);
void wr_kernels_init_avx512(wr_kernels *table);
void wr_kernels_init_avx512_s8(wr_kernels *table);
void wr_kernels_init_avx512_vnni(wr_kernels *table);
void wr_kernels_init_avx512_bf16(wr_kernels *table);

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
/* gelu for the 8-bit path: minimax of |x| * |Phi - fit|, 1.7e-4 with float coefficients; Phi(-END) = 0, Phi(END) = 1.
 */
#define WR_GELU8_END 3.94f
#define WR_GELU8_G                                                                                                     \
    {                                                                                                                  \
        3.979999366e-01f, -6.474224987e-02f, 8.852277521e-03f, -8.310727493e-04f, 4.977265058e-05f, -1.692828942e-06f, \
            2.467556433e-08f                                                                                           \
    }

/* The twins' gelu for the 8-bit path. */
float wr_gelu8(float x);

/* 2^r = 1 + r * E(r), |r| <= 1/2, minimax (1.0e-4 relative); exponents below LOWEST give a probability of 0 anyway. */
#define WR_EXP2_LOWEST (-30.0f)
#define WR_EXP2_E                                                                                                      \
    {                                                                                                                  \
        6.932829294e-01f, 2.422109611e-01f, 5.500892317e-02f                                                           \
    }

#define WR_EXP_E                                                                                                       \
    {                                                                                                                  \
        4.999999341e-1f, 1.666652011e-1f, 4.166839422e-2f, 8.368780444e-3f, 1.381446662e-3f                            \
    }

#endif
