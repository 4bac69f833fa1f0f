/* A model's tensors as fp32 matrices, checked against the shapes that its configuration promises.
 *
 * What the file holds as aligned F32 is borrowed from its map; F16, BF16 and unaligned tensors are converted once, and
 * what is multiplied with is packed once for the kernel in use.
 */
#ifndef WR_MODELS_WEIGHTS_H
#define WR_MODELS_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>

#include "data/status.h"
#include "models/model.h"
#include "models/safetensors.h"

/* A tensor's name: the longest of a BERT has some 70 bytes. */
#define WR_MAX_TENSOR_NAME 256

typedef struct wr_weights {
    const wr_tensors *tensors;
    const char *prefix; /* of the encoder's tensors: "", "bert.", "distilbert.", "bert_model." ... */
    size_t parameters;  /* elements handed out                                                     */
    float **owned;      /* [nowned] what was converted or packed                                   */
    size_t nowned;
    wr_precision precision;     /* what the encoder's layers are wanted in                                  */
    const wr_linear_plan *plan; /* [nplan] what is wanted for single ones; borrowed while reading           */
    size_t nplan;
    bool portable; /* some of it is bytes, and then the same bits are promised on every CPU: no BLAS */
} wr_weights;

typedef struct wr_norm {
    const float *gamma, *beta; /* [dim] */
} wr_norm;

/* Finds the prefix; weights is zeroed but for the precision that is wanted. WR_EFORMAT when there are no word
 * embeddings under any that we know. tensors must outlive it. */
wr_status wr_weights_init(wr_weights *weights, const wr_tensors *tensors, const char *dir, wr_err *err);
void wr_weights_release(wr_weights *weights); /* a zeroed one is fine */

/* Whether "prefix name" is there. */
bool wr_weights_has(const wr_weights *weights, const char *prefix, const char *name);

/* The tensor "prefix name" of shape [rows, cols], or [cols] when rows is 0; borrowed from the file. */
wr_status wr_weights_find(const wr_weights *weights, const char *prefix, const char *name, size_t rows, size_t cols,
                          const wr_tensor **out, wr_err *err);

/* What the plan says of the linear layer "prefix name"; NULL when nothing. */
const wr_linear_plan *wr_weights_plan(const wr_weights *weights, const char *prefix, const char *name);

/* Rows of w [rows, cols], divided by migrate [cols] (or NULL), to bytes by their absmax: w ~ q * scale, scale [rows]. */
void wr_round_rows(const float *w, const float *migrate, size_t rows, size_t cols, int8_t *q, float *scale);

/* A matrix that is read row by row: floats, or bytes with a scale for each row ("X.weight" I8, "X.weight_scale"). */
typedef struct wr_table {
    const float *f32;   /* [rows, cols], or NULL */
    const int8_t *s8;   /* [rows, cols], or NULL */
    const float *scale; /* [rows] of s8         */
    size_t cols;
} wr_table;

/* "prefix name.weight" and its scale. Floats become bytes where the plan wants that. */
wr_status wr_table_read(wr_table *table, wr_weights *weights, const char *prefix, const char *name, size_t rows,
                        size_t cols, wr_err *err);
void wr_table_row(const wr_table *table, size_t row, float *out); /* out[cols] */

/* The values of "prefix name" as floats: [rows, cols], or [cols] when rows is 0. Borrowed until wr_weights_release().
 */
wr_status wr_weights_get(wr_weights *weights, const char *prefix, const char *name, size_t rows, size_t cols,
                         const float **out, wr_err *err);

/* n floats that are released with the others; NULL when out of memory. */
float *wr_weights_own(wr_weights *weights, size_t n);

/* "prefix name.weight" and ".bias" [dim]; very old files call them gamma and beta. */
wr_status wr_norm_read(wr_norm *norm, wr_weights *weights, const char *prefix, const char *name, size_t dim,
                       wr_err *err);

#endif
