/* The query side of inference-free learned sparse retrieval: a weight for every token, and no model. A query is the set
 * of its tokens, each with its weight (arXiv 2411.04403); it costs a look-up a token.
 *
 * A table is read from
 *   a folder  sentence-transformers' SparseStaticEmbedding: the tensor "weight" [n] by token id, n at most the
 *             vocabulary (config.json may name a JSON file inside the folder instead)
 *   JSON      idf.json: {"token": weight, ..}
 *   text      query_token_weights.txt: token, tab, weight; one a line
 * A token that a JSON or text file does not name weighs 1, as in OpenSearch; one behind the tensor's end 0. Negative
 * weights count as 0; special tokens always as 0.
 *
 * A token that a query has n times weighs what the table says, or the root of n times as much: a long query's repeated
 * words are what it is about.
 *
 * Or it is computed from the documents that have each token: Lucene's BM25 formula, which is what published tables
 * hold: idf(t) = ln(1 + (N - n_t + 0.5) / (n_t + 0.5)) A token that no document has is taken to be as rare as can be
 * (n_t = 0): expansion may still bring it to documents.
 *
 * Or both: the documents, and the model's table counted as `prior` documents more. By the same formula a weight w stands
 * for a token that a share of about exp(-w) of its documents has, so n'_t = n_t + prior exp(-w_t), N' = N + prior. A few
 * documents then change little, and many say what is common among them.
 */
#ifndef WR_MODELS_IDF_H
#define WR_MODELS_IDF_H

#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"
#include "data/status.h"
#include "models/tokenizer.h"

/* Weights of tokens: of a text, or of a query. */
typedef struct wr_token_weights {
    uint32_t *id;  /* [n] ascending         */
    float *weight; /* [n] finite, above 0   */
    size_t n;
} wr_token_weights;

typedef struct wr_idf {
    float *weight; /* [n] by token id; owned */
    size_t n;      /* of the tokenizer       */
} wr_idf;

/* WR_EFORMAT says which file, and where in it, is wrong. idf is zeroed after a failure. */
wr_status wr_idf_read(wr_idf *idf, const char *path, const wr_tokenizer *tok, wr_err *err);

/* From document frequencies df[n], n the tokenizer's vocabulary, of ndocs documents. WR_ENOMEM. */
wr_status wr_idf_compute(wr_idf *idf, const uint32_t *df, uint64_t ndocs, const wr_tokenizer *tok);

/* The same with a table that counts as `prior` documents; prior_table belongs to the same tokenizer. WR_ENOMEM. */
wr_status wr_idf_blend(wr_idf *idf, const uint32_t *df, uint64_t ndocs, const wr_idf *prior_table, size_t prior,
                       const wr_tokenizer *tok);

void wr_idf_release(wr_idf *idf); /* a zeroed one is fine */

/* The largest weight of a document's own words (config.json's sparse_lexical): a thousand times the largest learned weight in
 * use, so that nothing else would count. */
#define WR_MAX_LEXICAL 1000.0

/* What a token that occurs n times in a query is worth, in table weights. */
typedef enum wr_query_tf {
    WR_QUERY_SET, /* 1: the published way       */
    WR_QUERY_ROOT /* sqrt(n): config.json's "sparse_query_tf": "sqrt" */
} wr_query_tf;

/* The set of tokens with weight[ntable]'s weights, in place: tokens->id is sorted. Those of weight 0 are left out. out
 * is borrowed from arena. WR_ENOMEM. */
wr_status wr_idf_weigh(const float *weight, size_t ntable, wr_query_tf tf, wr_tokens *tokens, wr_arena *arena,
                       wr_token_weights *out);

/* The set of the text's tokens with weight[ntable]'s weights; those of weight 0 are left out. max counts tokens with
 * the two special ones that a model would see, as everywhere. Borrowed from the arena; *cut (may be NULL) tells whether
 * the text was longer. WR_ENOMEM. */
wr_status wr_idf_query(const float *weight, size_t ntable, const wr_tokenizer *tok, const char *text, size_t n,
                       size_t max, wr_arena *arena, wr_token_weights *out, bool *cut);

#endif
