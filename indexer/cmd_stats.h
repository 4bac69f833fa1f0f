/* What `weir stats` is made of, and what `weir index` says at its end. */
#ifndef WR_INDEXER_CMD_STATS_H
#define WR_INDEXER_CMD_STATS_H

#include "indexer/index.h"
#include "indexer/manifest.h"
#include "indexer/spread.h"

/* What is said of the learned sparse index. */
typedef struct wr_sparse_report {
    wr_sparse_stats postings;
    wr_spread spread;
    size_t nqueries;           /* of the topics, 0 without                        */
    double query_terms, flops; /* means over the topics                 */
} wr_sparse_report;

/* Fills the report; topics (may be NULL) is a file of queries, sparse_model (may be NULL) the model instead of the one
 * that the index names. */
wr_status wr_sparse_report_make(const wr_index *index, const char *topics, const char *sparse_model,
                                wr_sparse_report *report, wr_err *err);

/* Prints what a document takes in each kind of index that there is: bytes, and postings where their number is not 0. */
void wr_print_costs(const wr_manifest *manifest, uint64_t bm25_postings, uint64_t sparse_postings);

#endif
