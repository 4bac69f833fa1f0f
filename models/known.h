/* Published checkpoints whose scores are known: values that their authors printed beside the texts (notebooks of
 * sebastian-hofstaetter/tas-balanced-dense-retrieval and neural-ranking-kd), to 1e-3.
 *
 * A directory is taken for one of them by its name and its shape; their hashes depend on which files were fetched.
 */
#ifndef WR_MODELS_KNOWN_H
#define WR_MODELS_KNOWN_H

#include <stddef.h>

#include "data/status.h"
#include "models/model.h"

typedef struct wr_known wr_known;

/* The checkpoint that a model must be by its name and shape; NULL when none. */
const wr_known *wr_known_find(const wr_model_info *info);

/* Scores the texts in fp32: missed[cap] is one sentence on the first value that differs, "" when none does. */
wr_status wr_known_verify(const wr_known *known, const wr_model *model, char *missed, size_t cap, wr_err *err);

/* Token ids of its query and its two scores, for printing. */
#define WR_KNOWN_SCORES 2
const double *wr_known_scores(const wr_known *known);

#endif
