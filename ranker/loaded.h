/* The models that this process has loaded: encoders by hash, cross-encoders by name. Opened once, shared by every index
 * and every generation, closed at the end.
 */
#ifndef WR_RANKER_LOADED_H
#define WR_RANKER_LOADED_H

#include <stddef.h>

#include "data/status.h"
#include "indexer/index.h"
#include "models/model.h"

#define WR_MAX_MODELS 16

typedef struct wr_loaded wr_loaded;

typedef struct wr_loaded_options {
    const char *dense;        /* MODEL instead of the one that the manifest names; NULL = the manifest's */
    const char *const *cross; /* [ncross] "[NAME=]MODEL"; without NAME the directory's name              */
    size_t ncross;
    const char *precision; /* NULL = as stored */
} wr_loaded_options;

/* Opens the cross-encoders. */
wr_status wr_loaded_open(wr_loaded **loaded, const wr_loaded_options *options, wr_err *err);
void wr_loaded_close(wr_loaded *loaded);

/* The query encoder of an index, opened on first use: options.dense, else the manifest's path, else a default model
 * with that hash. WR_EFORMAT when the hash differs from the one that the index was built with. Thread-safe. */
wr_status wr_loaded_dense(wr_loaded *loaded, const wr_index_info *info, const wr_model **model, wr_err *err);

/* Names of the cross-encoders in the order they were given; borrowed. */
const char *const *wr_loaded_cross_names(const wr_loaded *loaded, size_t *n);
const wr_model *wr_loaded_cross(const wr_loaded *loaded, const char *name); /* "" = the first; NULL = none */

/* Any loaded embedder by directory name, "" = the first one opened; NULL = none. For /v1/embeddings. */
const wr_model *wr_loaded_embedder(wr_loaded *loaded, const char *name);

#endif
