/* The models that this process has loaded: encoders of both kinds by hash, cross-encoders and decoders by name. Opened
 * once, shared by every index and every generation, closed at the end.
 */
#ifndef WR_RANKER_LOADED_H
#define WR_RANKER_LOADED_H

#include <stdbool.h>
#include <stddef.h>

#include "data/status.h"
#include "indexer/index.h"
#include "models/model.h"
#include "ranker/llm.h"
#include "ranker/pipeline.h"

#define WR_MAX_MODELS 16

typedef struct wr_loaded wr_loaded;

typedef struct wr_loaded_options {
    const char *dense;     /* MODEL instead of the one that the manifest names; NULL = the manifest's */
    const char *sparse;    /* likewise                                                                 */
    bool sparse_documents; /* sparse models may encode documents too, also where queries need none: wr_loaded_expander()
                            */
    const char *const *cross; /* [ncross] "[NAME=]MODEL"; without NAME the directory's name              */
    size_t ncross;
    bool default_cross;    /* with ncross 0: WR_DEFAULT_CROSS, where it is found */
    const char *const *list; /* [nlist] likewise: decoders */
    size_t nlist;
    const char *precision; /* NULL = as stored; decoders are always multiplied as they are stored */
} wr_loaded_options;

/* Opens the cross-encoders and the decoders. WR_EARG when two of a kind have one name. */
wr_status wr_loaded_open(wr_loaded **loaded, const wr_loaded_options *options, wr_err *err);
void wr_loaded_close(wr_loaded *loaded);

/* The query encoder of an index, opened on first use: options.dense; else what lies at the manifest's path; else, where
 * that is gone or another one by now, a model with the manifest's hash among those that have its name or are called
 * WR_DEFAULT_DENSE (WR_DEFAULT_SPARSE) in any place of models/find.h. WR_EFORMAT when the hash differs from the one
 * that the index was built with. Thread-safe. */
wr_status wr_loaded_dense(wr_loaded *loaded, const wr_index_info *info, const wr_model **model, wr_err *err);

/* The same for the learned sparse index: options.sparse, else the manifest's. *model stays NULL where the index has
 * none: then queries bring their weights. Where they are looked up in a table the tokenizer is all that is opened: no
 * weights are made ready, and the model's memory is that of its vocabulary. */
wr_status wr_loaded_sparse(wr_loaded *loaded, const wr_index_info *info, const wr_model **model, wr_err *err);

/* [n] the cross-encoders in the order they were given; borrowed. */
const wr_cross_shape *wr_loaded_crosses(const wr_loaded *loaded, size_t *n);
const wr_model *wr_loaded_cross(const wr_loaded *loaded, const char *name); /* "" = the first; NULL = none */

/* The same of decoders. */
const wr_list_shape *wr_loaded_lists(const wr_loaded *loaded, size_t *n);
wr_llm *wr_loaded_list(const wr_loaded *loaded, const char *name); /* "" = the first; NULL = none */

/* Any sparse model by directory name, "" = the first one; NULL = none. For /embed_sparse. One of which the tokenizer
 * alone was opened is opened whole by the first call that asks for it, where options.sparse_documents allows that; the
 * others wait meanwhile. Thread-safe. */
const wr_model *wr_loaded_expander(wr_loaded *loaded, const char *name);

/* Any loaded embedder by directory name, "" = the first one opened; NULL = none. For /v1/embeddings. */
const wr_model *wr_loaded_embedder(wr_loaded *loaded, const char *name);

#endif
