/* The head of a cross-encoder whose query and passage are two texts that meet late (encoder.h): it compares the two
 * texts' states, instead of asking one token what became of both.
 *
 * x are the states behind the layer that is asked, q the rows of the query's text, p those of the passage's, their
 * special tokens included:
 *
 *     c   = cos(mean of q, mean of p)
 *     a_i = softmax of (u . x_i) over the rows of q without its [CLS] and [SEP]
 *     m   = sum_i a_i max_j cos(x_i, x_j)          j over all rows of p; 0 for a query without tokens
 *     s   = w0 c + w1 m + v . x_[CLS of p] + b
 *
 * m is the late interaction of ColBERT (arXiv 2004.12832, equation 3) with learned weights of the query's terms; c is
 * an embedder's score; v sees the passage's [CLS], which has seen the query once the two have met. A norm below 1e-12
 * counts as that, as in PyTorch's normalize.
 *
 *     interaction.weight [2] w         interaction.term.weight [1, dim] u
 *     interaction.passage.bias [1] b   interaction.passage.weight [1, dim] v
 *     exits.L. before these names      the head behind layer L, all four or none: then it is the model's own
 *
 * Sums are over rows in their order, dot products those of kernels.h: a pair's bits depend on its states alone, and on
 * no instruction set. Cost: (rows of q) * (rows of p) * dim multiply-adds, a thousandth of the layers'.
 */
#ifndef WR_MODELS_HEADS_INTERACTION_H
#define WR_MODELS_HEADS_INTERACTION_H

#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"
#include "data/status.h"
#include "models/model.h"
#include "models/weights.h"

typedef struct wr_interaction {
    size_t dim;
    const float *weight;  /* [2]   w */
    const float *term;    /* [dim] u */
    const float *passage; /* [dim] v */
    float bias;
} wr_interaction;

/* The model's own head; borrows from weights. */
wr_status wr_interaction_read(wr_interaction *head, size_t dim, wr_weights *weights, wr_err *err);

/* The head of an exit: `own` where the file has nothing of it. */
wr_status wr_interaction_read_exit(wr_interaction *head, const wr_interaction *own, size_t layer, size_t dim,
                                   wr_weights *weights, wr_err *err);

/* One score for each pair, out[nseq].
 *   states  [cu[nseq], dim], pair s in rows cu[s].. : its query's, all of them, then its passage's
 *   batch   the pairs as they were encoded: types tell how many rows the query has */
wr_status wr_interaction_run(const wr_interaction *head, const float *states, const wr_batch *batch, const uint32_t *cu,
                             wr_arena *arena, float *out);

/* Upper bound of the arena bytes of that, for pairs of up to `longest` tokens. */
size_t wr_interaction_arena_bytes(size_t dim, size_t longest);

#endif
