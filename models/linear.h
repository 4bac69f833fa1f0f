/* y = f(x w' + b): one layer's weights, in the form that its product works on, and the product.
 *
 *   BLAS  w [out, in] as it is, multiplied by OpenBLAS: the reference (WEIR_ISA=ref)
 *   F32   packed for the kernel in use
 *   BF16  packed for AVX512-BF16, half as large; activations are rounded while they pass. Refused on other CPUs
 *   S8    signed bytes and a scale for every output, packed for the kernel in use; activations are taken to bytes row
 * by row while they pass (models/kernels.h). A layer may have an input scale (SmoothQuant, arXiv 2211.10438): its
 *         activations are multiplied by it first, which the weights undo.
 *
 *         Weights of which enough are zero in blocks of 4 outputs x 1 input are packed without these zeros and take
 *         another kernel (models/kernels_sparse.h), with the same bits.
 *
 * What a file stores: "X.weight" as F32, F16 or BF16, or as I8 with "X.weight_scale" F32 [out] and where it has one
 * "X.input_scale" F32 [in]; w[o][i] = I8[o][i] * weight_scale[o] * input_scale[i]. What is stored as bytes is
 * multiplied as bytes, unless another precision is asked for; a float matrix that is to become bytes gets scale =
 * absmax / 127 in each row.
 */
#ifndef WR_MODELS_LINEAR_H
#define WR_MODELS_LINEAR_H

#include "data/arena.h"
#include "data/crew.h"
#include "models/kernels_sparse.h"
#include "models/model_config.h"
#include "models/weights.h"

typedef enum wr_linear_form { WR_LINEAR_BLAS, WR_LINEAR_F32, WR_LINEAR_BF16, WR_LINEAR_S8 } wr_linear_form;

typedef struct wr_linear {
    wr_linear_form form;
    const float *w;       /* BLAS, F32                              */
    const uint16_t *bf16; /* BF16                             */
    const float *b;       /* [out]                                  */
    size_t out, in;
    wr_s8_weights s8;     /* S8; without the bias             */
    wr_s8_sparse sparse;  /* S8 instead of s8 where sparse.w is not NULL; without the bias */
    const float *migrate; /* [in] S8: the input scale or NULL */
    float *seen;          /* [in] largest |input| so far, or NULL */
} wr_linear;

/* "prefix name.weight" [out, in] and "prefix name.bias" [out] as they are, for dot products. */
wr_status wr_linear_read(wr_linear *linear, wr_weights *weights, const char *prefix, const char *name, size_t out,
                         size_t in, wr_err *err);

/* n of these that have the same input, one below the other, made ready to multiply: [n * out, in]. All get the highest
 * precision that one of them asks for. precision is what they are wanted in where weights->plan does not name them.
 * WR_EUNSUPPORTED when that is bf16 and the CPU cannot. */
wr_status wr_linear_read_ready(wr_linear *linear, wr_weights *weights, const char *prefix, const char *const *name,
                               size_t n, size_t out, size_t in, wr_precision precision, wr_err *err);

/* Makes w [out, in] and b [out] ready: w is packed into memory of weights, or borrowed where BLAS multiplies; b is
 * borrowed. WR_ENOMEM, WR_EUNSUPPORTED. */
wr_status wr_linear_init(wr_linear *linear, wr_weights *weights, const float *w, const float *b, size_t out, size_t in,
                         wr_precision precision);

/* Bytes q [out, in] of w = q * scale, scale [out] (borrowed), made ready for wr_linear_max(), which has no kernel for
 * weights without their zeros; likewise floats that become bytes. WR_ENOMEM. */
wr_status wr_linear_init_max(wr_linear *linear, wr_weights *weights, const int8_t *q, const float *scale, size_t out,
                             size_t in);
wr_status wr_linear_round_max(wr_linear *linear, wr_weights *weights, const float *w, size_t out, size_t in);

/* Rows of a matrix that is given to a product: the next multiple of WR_ROW_STEP. */
#define WR_ROW_STEP 12
size_t wr_padded_rows(size_t rows);

/* Room for `rows` rows of n numbers as bytes. False when the arena is exhausted. */
bool wr_s8_rows_init(wr_s8_rows *to, wr_arena *arena, size_t rows, size_t n);

/* Upper bound of the arena bytes of that. */
size_t wr_s8_rows_bytes(size_t rows, size_t n);

/* What is done to a product. WR_LINEAR_SUM leaves out the bias. */
typedef enum wr_linear_end { WR_LINEAR_SUM, WR_LINEAR_BIAS, WR_LINEAR_GELU, WR_LINEAR_RELU } wr_linear_end;

/* y[rows, out] = f(x[rows, in] w' + b). Both matrices have wr_padded_rows(rows) rows of memory; where BLAS multiplies,
 * those beyond are read and written. bytes has room for `rows` rows of `in` numbers.
 *
 * With our own kernels a row's bits depend on nothing else. OpenBLAS has inner kernels for 16, 12, 8, 4, 2 or 1 rows,
 * each with its own rounding; in multiples of 12 rows are taken alike, by fours (SkylakeX, Cooperlake) or twelves
 * (Haswell, Zen), but for products of less than 100^3 multiply-adds, where SkylakeX takes other kernels. */
void wr_linear_run(const wr_linear *linear, const float *x, size_t rows, wr_linear_end end, const wr_s8_rows *bytes,
                   float *y);

/* The same shared out over a crew (NULL = the caller alone), in strips of outputs. The same bits. */
void wr_linear_run_shared(const wr_linear *linear, const float *x, size_t rows, wr_linear_end end,
                          const wr_s8_rows *bytes, float *y, wr_crew *crew);

/* m[o] = max_r y[r][o] + bias[o], y[rows, out] = x w' without the layer's own bias, which is never held as a whole.
 * rows >= 1; x as above, or bytes (from wr_linear_quantize) where the layer multiplies bytes: then it was made ready by
 * one of the two above. Same bits as
 * wr_linear_run(WR_LINEAR_SUM), then the maximum, then the bias. */
void wr_linear_max(const wr_linear *linear, const float *x, const wr_s8_rows *bytes, size_t rows, const float *bias,
                   float *m);

/* The two steps of a product of bytes, for layers that share an input. */
void wr_linear_quantize(const wr_linear *linear, const float *x, size_t rows, const wr_s8_rows *bytes);
void wr_linear_run_bytes(const wr_linear *linear, const wr_s8_rows *bytes, size_t rows, wr_linear_end end, float *y,
                         wr_crew *crew);

/* Holds BLAS to one thread (a setting of the whole process). Idempotent, cheap. */
void wr_linear_thread_init(void);

#endif
