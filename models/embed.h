/* Many texts through one model over the pool: tokenised, sorted by length, cut into micro-batches by tokens, the
 * results in the order of the input. The bits of a result do not depend on the number of threads nor on its neighbours.
 *
 * Used by the index builder, `weir encode`, `weir rerank`, the REST routes and the cross-encoder stage.
 */
#ifndef WR_MODELS_EMBED_H
#define WR_MODELS_EMBED_H

#include <stdbool.h>
#include <stddef.h>

#include "data/budget.h"
#include "data/pool.h"
#include "data/status.h"
#include "data/text.h"
#include "models/microbatch.h"
#include "models/model.h"

/* Texts are tokenised in this many parts side by side, the ids of each in an arena of its own. */
#define WR_TOKEN_PARTS 16

/* Vectors of n texts, out[n * dim]; query picks the query's token limit instead of the document's. cut (may be NULL)
 * [n] tells which were longer than the limit. An empty text is encoded as its special tokens alone.
 * WR_STOPPED when the budget ran out (out undefined). */
wr_status wr_embed_texts(const wr_model *model, wr_pool *pool, const wr_text *text, size_t n, bool query,
                         const wr_budget *budget, float *out, bool *cut);

/* Ids of n texts without special tokens, at most max of each, out[n]; borrowed from part[WR_TOKEN_PARTS], which are not
 * reset here. WR_ENOMEM. */
wr_status wr_tokenise_texts(const wr_tokenizer *tok, wr_pool *pool, const wr_text *text, size_t n, size_t max,
                            wr_arena *part, wr_tokens *out);

/* The same vectors from ids without special tokens, as wr_tokenise_texts() gives them with a max of the model's limit
 * or more. */
wr_status wr_embed_tokens(const wr_model *model, wr_pool *pool, const wr_tokens *ids, size_t n, bool query,
                          const wr_budget *budget, float *out, bool *cut);

/* Learned sparse weights of n texts, out[n], each owned by the caller until wr_token_weights_release(); otherwise as
 * above. A query goes through the model only when the model has no table for queries; documents are pruned by the
 * model's ratio. After a failure nothing is owned. */
wr_status wr_sparse_texts(const wr_model *model, wr_pool *pool, const wr_text *text, size_t n, bool query,
                          const wr_budget *budget, wr_token_weights *out, bool *cut);
/* The same weights of n documents from their ids. */
wr_status wr_sparse_tokens(const wr_model *model, wr_pool *pool, const wr_tokens *ids, size_t n,
                           const wr_budget *budget, wr_token_weights *out, bool *cut);
void wr_token_weights_release(wr_token_weights *weights, size_t n); /* zeroed ones are fine */

/* Both of n documents in one pass, where wr_model_one_pass() says that it serves both models: what wr_embed_tokens()
 * and wr_sparse_tokens() give. */
wr_status wr_embed_sparse_tokens(const wr_model *dense, const wr_model *sparse, wr_pool *pool, const wr_tokens *ids,
                                 size_t n, const wr_budget *budget, float *vectors, wr_token_weights *weights,
                                 bool *cut);

/* Relevance of n texts to a query, score[n]. done[n] is set for what was scored; with a budget the first texts are
 * scored first and the rest may be left out (then WR_OK all the same: look at done). Returns when no thread works on
 * it any more. */
wr_status wr_score_texts(const wr_model *model, wr_pool *pool, wr_text query, const wr_text *text, size_t n,
                         const wr_budget *budget, float *score, bool *done, bool *cut);

/* The same with as much of the model as effort says, NULL = all of it. */
wr_status wr_score_texts_with(const wr_model *model, const wr_effort *effort, wr_pool *pool, wr_text query,
                              const wr_text *text, size_t n, const wr_budget *budget, float *score, bool *done,
                              bool *cut);

#endif
