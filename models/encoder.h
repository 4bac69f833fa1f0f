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
 * A batch is cut into chunks of whole sequences whose activations stay in the second-level cache, and every chunk goes
 * through all layers. A sequence's bits do not depend on its neighbours nor on the cuts: a row of a product depends on
 * that row alone, and attention on the sequence alone.
 * Between blocks of rows and layers the budget is looked at.
 *
 * With `keep` tokens that receive little attention are dropped on the way (models/eliminate.h), with `exit` the pass
 * ends behind an earlier layer.
 *
 * A pair may be read in two parts that meet late (PreTTR, arXiv 2004.14255; Pyramid-ERNIE, arXiv 2105.11108): query and
 * passage are texts of their own, each with its [CLS], positions from 0 and token type 0; up to layer `join` attention
 * sees one part alone, from there on both, the query's rows before the passage's. In a packed batch that is another
 * list of bounds for the first layers, twice as many sequences; no kernel knows of it. The batch's types tell the
 * parts. Where all pairs of a chunk have the same query, it is run once until the parts meet, with the same bits.
 *
 * Where a layer's weights are bytes, activations are taken to bytes row by row and attention runs in 16-bit integers
 * (models/kernels.h): then the whole pass gives the same bits on every instruction set.
 */
#ifndef WR_MODELS_ENCODER_H
#define WR_MODELS_ENCODER_H

#include <stdbool.h>
#include <stddef.h>

#include "data/arena.h"
#include "data/budget.h"
#include "data/status.h"
#include "models/linear.h"
#include "models/model.h"
#include "models/model_config.h"
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
    bool parts;  /* sequences are pairs of two parts ...                               */
    size_t join; /* ... that the first so many layers see apart, 0..layers             */
    wr_table word;                /* [vocab, dim]                                      */
    const float *position, *type; /* [positions | types, dim]; type NULL for DistilBERT */
    wr_norm embedding_norm;
    wr_layer *layer; /* [layers] */
    size_t nint8;    /* linear layers that multiply bytes                                            */
    size_t nbf16;    /* ... bf16                                                                    */
    bool integers;   /* attention in 16-bit integers, the same bits on every CPU: where nint8 > 0 */
} wr_encoder;

/* Products of one layer, and how many of them multiply bytes. */
#define WR_LAYER_LINEARS 5
size_t wr_layer_nint8(const wr_layer *layer);

/* Names of layer i's linear layers in the file, without ".weight": query, key, value, attended, up, down. Key and value
 * are one product. */
#define WR_LAYER_NAMES 6
void wr_layer_names(const wr_model_config *config, const char *prefix, size_t i,
                    char name[WR_LAYER_NAMES][WR_MAX_TENSOR_NAME]);

/* Reads every tensor that the configuration asks for; weights must outlive the encoder. */
wr_status wr_encoder_open(wr_encoder *encoder, const wr_model_config *config, wr_weights *weights, wr_err *err);
void wr_encoder_close(wr_encoder *encoder);

/* Whether two encoders give the same states for the same ids, to the bit: the same network, every tensor of it byte for
 * byte the same in both files (under whatever prefix), multiplied in the same forms. Reads both files' encoders and
 * gives their pages back: some 10 ms for 20 MB. Weights that a plan changed are the caller's to know of. */
bool wr_encoder_same(const wr_encoder *a, const wr_weights *a_weights, const wr_encoder *b,
                     const wr_weights *b_weights);

/* What was left of a batch; the caller's memory. */
typedef struct wr_kept {
    uint32_t *cu;   /* [nseq + 1] filled: cumulative lengths of the states; needed to drop tokens without first_only */
    uint64_t *rows; /* [layers] filled: how many rows passed through all of a layer; may be NULL                      */
} wr_kept;

/* What is wanted of a pass. Zero everything for the last layer's states of all tokens. */
typedef struct wr_pass {
    bool first_only; /* of the first token alone                                           */
    size_t exit;     /* after this many layers, 0 = all; more than there are counts as all */
    wr_crew *crew;   /* who shares the work on a short batch, or NULL                      */
    float keep;      /* the share of tokens kept at the end; 0 or 1 = all                  */
    wr_kept *kept;   /* what was left, or NULL                                             */
} wr_pass;

/* The states behind the last layer: [cu[nseq], dim] (kept->cu's where tokens are dropped), or with first_only [nseq,
 * dim] of each sequence's first token; rows are padded. Borrowed from arena, which is not rolled back. WR_EARG when a
 * length, id or type is out of range, when a pair's parts are wanted apart and types do not tell them (some 0, then some
 * 1), or when tokens are dropped and there is nothing to tell which. */
wr_status wr_encoder_run(const wr_encoder *encoder, const wr_batch *batch, const wr_pass *pass, wr_arena *arena,
                         const wr_budget *budget, const float **states);

/* Multiply-adds of a pass over one sequence of n tokens, two of which are kept always: products with weights, and
 * attention over the tokens of the moment. A layer's tokens are dropped behind its attention. */
double wr_encoder_work(const wr_encoder *encoder, const wr_pass *pass, size_t n);

/* Upper bound of the arena bytes that wr_encoder_run takes for ntok tokens in sequences of up to `longest`. */
size_t wr_encoder_arena_bytes(const wr_encoder *encoder, size_t ntok, size_t longest);

#endif
