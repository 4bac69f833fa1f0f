/* The masked-language-model head of BERT and DistilBERT as learned sparse retrieval uses it: what a text says about
 * every token of the vocabulary, the largest of its tokens' logits.
 *
 *     h = LayerNorm(act(x Wt' + bt))                    for every token of the text, [CLS] and [SEP] too
 *     m[v] = max over the text's tokens of h . D[v] + b[v]
 *
 *     BERT        cls.predictions.transform.dense, .transform.LayerNorm, .decoder.weight, cls.predictions.bias
 *     DistilBERT  vocab_transform, vocab_layer_norm, vocab_projector.weight, vocab_projector.bias
 * D [vocab, dim] is the word embeddings where the file has no decoder of its own (tied weights).
 *
 * The maximum is taken while the product runs, in the kernel: D is cut into tiles of some outputs, and each is
 * multiplied with one text after the other. The logits [tokens, vocab] (60 MB for a passage of BERT's length) never
 * exist. (SPLADE's max pooling, arXiv 2109.10086; the order of maximum, bias and activation does not matter.)
 */
#ifndef WR_MODELS_HEADS_MLM_H
#define WR_MODELS_HEADS_MLM_H

#include <stdbool.h>
#include <stddef.h>

#include "models/encoder.h"

typedef struct wr_mlm {
    wr_activation act;
    float eps;
    size_t dim, vocab;
    wr_linear transform; /* [dim, dim]                                  */
    wr_norm norm;        /* [dim]                                       */
    wr_linear *tile;     /* [ntiles] D's rows, WR_MLM_TILE and the rest */
    size_t ntiles;
    const float *bias; /* [vocab]                                       */
} wr_mlm;

/* Outputs of a tile: a multiple of every kernel's panel. Its weights (600 KB for 768 dimensions in fp32) stay in the
 * second-level cache while the batch passes over them. */
#define WR_MLM_TILE 192

/* Whether the weights have such a head. */
bool wr_mlm_is_in(const wr_weights *weights, bool distil);

/* What the decoder is called where it has weights of its own, without ".weight". */
const char *wr_mlm_decoder_name(bool distil);

/* Reads the head; word is the encoder's embeddings, for a decoder that is tied to them. The decoder is multiplied in
 * what weights->precision says: as bytes for int8, or where the embeddings are stored as bytes. Close in any case. */
wr_status wr_mlm_open(wr_mlm *mlm, const wr_model_config *config, const wr_table *word, wr_weights *weights,
                      wr_err *err);
void wr_mlm_close(wr_mlm *mlm); /* a zeroed one is fine */

/* m[nseq, vocab] of the encoder's last states [cu[nseq], dim] (rows padded). The bits of a text do not depend on its
 * neighbours. budget (may be NULL) is looked at between tiles: WR_STOPPED leaves m undefined. WR_ENOMEM. */
wr_status wr_mlm_max(const wr_mlm *mlm, const float *states, const wr_batch *batch, wr_arena *arena,
                     const wr_budget *budget, float *m);

/* Upper bound of the arena bytes of that. */
size_t wr_mlm_arena_bytes(const wr_mlm *mlm, size_t ntok);

#endif
