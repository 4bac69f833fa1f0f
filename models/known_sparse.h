/* The same as models/known.h for OpenSearch's published learned sparse models: how many tokens two texts get and what
 * one of them weighs (tests of opensearch-py-ml, to 1e-3), and what the table gives for one query (OpenSearch's
 * documentation).
 *
 *     opensearch-neural-sparse-encoding-doc-v2-distill          documents and the query
 *     opensearch-neural-sparse-encoding-doc-v1, -v2-mini, ...   the query: they share one table
 */
#ifndef WR_MODELS_KNOWN_SPARSE_H
#define WR_MODELS_KNOWN_SPARSE_H

#include <stdbool.h>
#include <stddef.h>

#include "data/status.h"
#include "models/model.h"

/* Whether something was published of a model of this name. */
bool wr_known_sparse_is(const wr_model_info *info);

/* missed[cap] is one sentence on the first value that differs, "" when none does. */
wr_status wr_known_sparse_verify(const wr_model *model, char *missed, size_t cap, wr_err *err);

#endif
