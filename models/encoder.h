/* BERT's and DistilBERT's forward pass over a packed batch: one flat matrix of tokens, no padding.
 *
 * Every token is one row. Matrix products run over all rows at once, attention runs over one sequence at a time:
 *
 *     x = LayerNorm(word + position + type)
 *     each layer:
 *         q, k, v = x Wq' + b, x Wk' + b, x Wv' + b   keys and values in one product
 *         a = softmax(q k' / sqrt(dim / heads)) v     per sequence and head
 *         x = LayerNorm(x + a Wo' + b)
 *         x = LayerNorm(x + gelu(x W1' + b) W2' + b)
 *
 * When only the first token's state is wanted (CLS pooling, classification), the last layer computes keys and values
 * for every row and the rest for the first rows alone.
 *
 * A sequence's bits do not depend on its neighbours nor on how a batch is cut into blocks of rows: a row of a product
 * depends on that row alone, and attention calls BLAS with the sequence's own sizes only.
 * Between blocks and layers the budget is looked at.
 */
#ifndef WR_MODELS_ENCODER_H
#define WR_MODELS_ENCODER_H

#include <stdbool.h>
#include <stddef.h>

#include "data/arena.h"
#include "data/budget.h"
#include "data/status.h"
#include "models/model_config.h"
#include "models/model.h"
#include "models/weights.h"

typedef struct wr_layer {
    wr_linear query;       /* dim -> dim   */
    wr_linear keys_values; /* dim -> 2 dim */
    wr_linear attended;
    wr_norm attended_norm;
    wr_linear up, down; /* dim -> ffn -> dim */
    wr_norm output_norm;
} wr_layer;

typedef struct wr_encoder {
    size_t layers, dim, heads, ffn, vocab, positions, types;
    float eps;
    wr_activation act;
    const float *word, *position, *type; /* [vocab | positions | types, dim]; type NULL for DistilBERT */
    wr_norm embedding_norm;
    wr_layer *layer; /* [layers] */
} wr_encoder;

/* Reads every tensor that the configuration asks for; weights must outlive the encoder. */
wr_status wr_encoder_open(wr_encoder *encoder, const wr_model_config *config, wr_weights *weights, wr_err *err);
void wr_encoder_close(wr_encoder *encoder);

/* Rows of a matrix that is given to wr_linear_multiply(): the next multiple of WR_ROW_STEP. */
#define WR_ROW_STEP 12
size_t wr_padded_rows(size_t rows);

/* y[rows, out] = x[rows, in] w', without the bias. Both matrices have wr_padded_rows(rows) rows; those beyond are zeros
 * in x and become zeros in y, or are left alone.
 *
 * With AVX2 or better by our own kernel (models/kernels.h): a row's bits depend on nothing else. Otherwise, and with
 * WEIR_ISA=ref, by OpenBLAS, the reference: its inner kernels take 16, 12, 8, 4, 2 or 1 rows at a time, each with its
 * own rounding; in multiples of 12 rows are taken alike, by fours (SkylakeX, Cooperlake) or twelves (Haswell, Zen), but
 * for products of less than 100^3 multiply-adds, where SkylakeX takes other kernels. */
void wr_linear_multiply(const wr_linear *linear, const float *x, size_t rows, float *y);

/* Holds BLAS to one thread (a setting of the whole process). Idempotent, cheap. */
void wr_linear_thread_init(void);

/* The last layer's states: [cu[nseq], dim], or with first_only [nseq, dim] of each sequence's first token; rows are
 * padded. Borrowed from arena, which is not rolled back. WR_EARG when a length, id or type is out of range. */
wr_status wr_encoder_run(const wr_encoder *encoder, const wr_batch *batch, bool first_only, wr_arena *arena,
                         const wr_budget *budget, const float **states);

/* Upper bound of the arena bytes that wr_encoder_run takes. */
size_t wr_encoder_arena_bytes(const wr_encoder *encoder, size_t ntok, size_t longest);

#endif
