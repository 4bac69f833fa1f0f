/* What stands on top of the encoder: a pooled vector, or the logits of a classification. */
#ifndef WR_MODELS_HEADS_H
#define WR_MODELS_HEADS_H

#include <stdbool.h>
#include <stddef.h>

#include "models/encoder.h"
#include "models/model.h"

/* Pooled vectors out[nseq, dim].
 *   CLS   the first token's state; states [nseq, dim], as the encoder leaves them with first_only
 *   MEAN  the mean of all tokens' states, [CLS] and [SEP] included; states [cu[nseq], dim]
 *   MAX   the largest value in each dimension
 * normalize divides by the L2 norm, or by 1e-12 where that is smaller (as PyTorch's normalize does). */
void wr_pool_states(wr_pooling pooling, bool normalize, const float *states, const wr_batch *batch, size_t dim,
                    float *out);

/* How the first token's state becomes logits: dense, f, classifier; dense may be missing.
 *   BERT          pooler.dense, tanh, classifier
 *   DistilBERT    pre_classifier, ReLU, classifier
 *   Margin-MSE    _classification_layer on DistilBERT's state; on BERT's after its pooler */
typedef enum wr_dense_act { WR_DENSE_NONE, WR_DENSE_TANH, WR_DENSE_RELU } wr_dense_act;

typedef struct wr_classifier {
    wr_dense_act act;
    wr_linear dense; /* [dim, dim], unless act is WR_DENSE_NONE */
    wr_linear out;   /* [nlabels, dim]                          */
} wr_classifier;

/* Whether the weights have a classifier at all. */
bool wr_classifier_is_in(const wr_weights *weights);

/* WR_EUNSUPPORTED for more than two labels: there is no one score in them. */
wr_status wr_classifier_read(wr_classifier *classifier, const wr_model_config *config, wr_weights *weights,
                             wr_err *err);

/* The head of an exit: its dense layer and its classifier are each read from under "exits.LAYER." where the file has them
 * ("exits.2.pooler.dense.weight", "exits.2.classifier.weight", "exits.2.pre_classifier.weight" ...), else the model's own
 * are used. It has as many labels as the model's own. *found says whether the file had any of it. */
wr_status wr_classifier_read_exit(wr_classifier *classifier, const wr_classifier *own, size_t layer,
                                  const wr_model_config *config, wr_weights *weights, bool *found, wr_err *err);

/* Raw logits out[nseq, nlabels] of first-token states [nseq, dim] (rows padded). */
wr_status wr_classifier_run(const wr_classifier *classifier, const float *states, size_t nseq, wr_arena *arena,
                            float *out);

#endif
