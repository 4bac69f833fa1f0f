/* Magnitude pruning in blocks of 4 outputs x 1 input, the pattern that models/kernels_sparse.h multiplies quickly.
 *
 * In every linear layer of the encoder's layers, each tensor by itself, the share of blocks with the smallest sum of
 * squares becomes zero; of equal blocks the first ones. Where a tensor is bytes, squares are those of the numbers that
 * the bytes stand for (weight_scale, input_scale). Pruning this way without training costs quality, more the more is
 * taken: it makes models to measure kernels with, and a starting point for fine-tuning.
 */
#ifndef WR_MODELS_PRUNE_H
#define WR_MODELS_PRUNE_H

#include <stddef.h>

#include "data/status.h"

/* One tensor that was pruned. */
typedef struct wr_pruned {
    const char *name; /* borrowed during the call                                 */
    size_t out, in;   /* its shape                                                */
    double sparsity;  /* the share of its blocks that are zero now                */
} wr_pruned;

/* Writes the model directory `from`, pruned, to `to` (new or empty: models/safetensors_write.h). sparsity: 0..1, the
 * share of blocks; blocks that were zero before count. each (may be NULL) is called for every pruned tensor, by name.
 * WR_EUNSUPPORTED when a layer's weights are neither F32, F16, BF16 nor I8. After a failure nothing is left in `to`. */
wr_status wr_model_prune(const char *from, const char *to, double sparsity,
                         void (*each)(const wr_pruned *pruned, void *arg), void *arg, wr_err *err);

#endif
