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
#include "models/safetensors.h"

typedef struct wr_weights {
    const wr_tensors *tensors;
    const char *prefix; /* of the encoder's tensors: "", "bert.", "distilbert.", "bert_model." ... */
    size_t parameters;  /* elements handed out                                                     */
    float **owned;      /* [nowned] what was converted or packed                                   */
    size_t nowned;
} wr_weights;

/* y = x w' + b */
typedef struct wr_linear {
    const float *w; /* [out, in]; or as wr_kernels_pack() leaves it */
    const float *b; /* [out]                                        */
    size_t out, in;
    bool packed;
} wr_linear;

typedef struct wr_norm {
    const float *gamma, *beta; /* [dim] */
} wr_norm;

/* Finds the prefix; WR_EFORMAT when there are no word embeddings under any that we know. tensors must outlive it. */
wr_status wr_weights_init(wr_weights *weights, const wr_tensors *tensors, const char *dir, wr_err *err);
void wr_weights_release(wr_weights *weights); /* a zeroed one is fine */

/* Whether "prefix name" is there. */
bool wr_weights_has(const wr_weights *weights, const char *prefix, const char *name);

/* The values of "prefix name": [rows, cols], or [cols] when rows is 0. Borrowed until wr_weights_release(). */
wr_status wr_weights_get(wr_weights *weights, const char *prefix, const char *name, size_t rows, size_t cols,
                         const float **out, wr_err *err);

/* n floats that are released with the others; NULL when out of memory. */
float *wr_weights_own(wr_weights *weights, size_t n);

/* "prefix name.weight" [out, in] and "prefix name.bias" [out] as they are, for dot products. */
wr_status wr_linear_read(wr_linear *linear, wr_weights *weights, const char *prefix, const char *name, size_t out,
                         size_t in, wr_err *err);

/* n of these that have the same input, one below the other, made ready for wr_linear_multiply(): [n * out, in]. */
wr_status wr_linear_read_ready(wr_linear *linear, wr_weights *weights, const char *prefix, const char *const *name,
                               size_t n, size_t out, size_t in, wr_err *err);

/* Makes w [out, in] and b [out] ready for wr_linear_multiply(): w is packed into memory of weights, or borrowed where
 * BLAS multiplies; b is borrowed. WR_ENOMEM. */
wr_status wr_linear_init(wr_linear *linear, wr_weights *weights, const float *w, const float *b, size_t out, size_t in);

/* "prefix name.weight" and ".bias" [dim]; very old files call them gamma and beta. */
wr_status wr_norm_read(wr_norm *norm, wr_weights *weights, const char *prefix, const char *name, size_t dim,
                       wr_err *err);

#endif
