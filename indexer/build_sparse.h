/* The learned sparse part of a build: documents' weights, from a model or brought by the corpus, into sparse.bin, and
 * what a query's tokens weigh into query.bin.
 *
 * What decides about queries (`idf`, and the model):
 *   the model's own table, one computed from the documents, or one from a file: queries need no model (idf.h)
 *   no table: queries go through the model
 *   no model: only queries that bring their weights are answered
 * From the documents: n_t is the number of texts that have the token, or where the corpus brings vectors of vectors.
 *
 * A document of up to WR_DENSITY_BYTES keeps at most `density` tokens, a longer one in proportion (a vector that the corpus
 * brings: `density`, whatever it is of): those whose weight times the query's weight of the token is largest. That
 * product is what a query which has the token loses without it. (Which queries there will be is not known; a token's
 * frequency in the collection says little about those that look for this document.) Where queries have no table, or one
 * that is computed at the end and the model has none of its own, a document's weight alone decides. Equal ones: the
 * first by token id, or as the corpus has them.
 */
#ifndef WR_INDEXER_BUILD_SPARSE_H
#define WR_INDEXER_BUILD_SPARSE_H

#include "indexer/batch.h"
#include "indexer/build.h"
#include "indexer/generation.h"
#include "indexer/index.h"

/* A token of English takes five bytes, with its space; a text of 128 is what learned sparse encoders are trained on, and
 * what their numbers of tokens a document are reported for. */
#define WR_BYTES_OF_TOKEN 5
#define WR_DENSITY_BYTES (128 * WR_BYTES_OF_TOKEN)

typedef struct wr_sparse_build wr_sparse_build;

/* *build stays NULL when the options ask for no learned sparse index. options and generation are borrowed until close.
 */
wr_status wr_sparse_build_open(wr_sparse_build **build, const wr_build_options *options,
                               const wr_generation *generation, wr_corpus_format format, wr_err *err);
void wr_sparse_build_close(wr_sparse_build *build); /* removes what was not committed; NULL is fine */

/* Whether documents are encoded, and not brought as vectors. */
bool wr_sparse_build_encodes(const wr_sparse_build *build);

/* The batch's documents, in order; adds to *cut those that the model cut. Where they are encoded, weights [batch->n]
 * are what wr_sparse_tokens() would give, when the caller has them already; else NULL. */
wr_status wr_sparse_build_add(wr_sparse_build *build, const wr_doc_batch *batch, const wr_token_weights *weights,
                              uint64_t *cut, wr_err *err);

wr_status wr_sparse_build_commit(wr_sparse_build *build, uint64_t documents, wr_err *err);

/* Fills the manifest's sparse fields; strings are borrowed from the build's model. */
void wr_sparse_build_describe(const wr_sparse_build *build, wr_index_info *info);

#endif
