/* nDCG@10 of a model on a collection, measured as a user would: an index is built in a temporary folder, and the
 * server's cascade runs the topics over it. An embedder ranks all documents exactly (a flat index), a learned sparse
 * model all that share a token; a cross-encoder reranks the best of BM25.
 */
#ifndef WR_TOOLS_QUALITY_H
#define WR_TOOLS_QUALITY_H

#include <jansson.h>
#include <stddef.h>

#include "data/pool.h"
#include "data/status.h"
#include "models/model.h"

typedef struct wr_quality {
    double ndcg;            /* nDCG@10, four digits behind the point           */
    json_t *topics;         /* {"qid": nDCG@10}, owned                         */
    size_t ntopics;         /* with judgments                                  */
    char corpus_sha256[65]; /* of the documents                                */
    char pipeline[64];      /* "dense:10", "bm25:100 > cross:100"              */
} wr_quality;

/* folder: BEIR's (corpus.jsonl[.gz], queries.jsonl, qrels/test.tsv or the only file there, and exclude.tsv where there
 * is one). precision NULL = as stored. depth: how many of BM25's a cross-encoder reranks. */
wr_status wr_quality_measure(wr_quality *quality, const char *folder, const char *model, const char *precision,
                             wr_model_kind kind, size_t depth, size_t threads, wr_err *err);
void wr_quality_release(wr_quality *quality); /* a zeroed one is fine */

/* What a certificate says of a collection: {"name", "corpus_sha256", "pipeline", "topics", "ndcg10_fp32",
 * "ndcg10_int8", "delta", "worst": [{"qid", "fp32", "int8"}]}. */
json_t *wr_quality_compare(const char *folder, const wr_quality *fp32, const wr_quality *int8);

#endif
