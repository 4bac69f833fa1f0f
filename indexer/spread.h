/* How learned sparse postings are spread over documents and terms: what `weir stats` says of them. */
#ifndef WR_INDEXER_SPREAD_H
#define WR_INDEXER_SPREAD_H

#include "indexer/sparse.h"

typedef struct wr_spread {
    double mean; /* terms of a document                             */
    uint32_t least, p5, median, p95, p99, most;
    uint64_t empty; /* documents without any                        */
    double
        flops; /* two documents drawn at random: the terms that both have, expected: sum over terms of (df / ndocs)^2 */
} wr_spread;

/* Reads every posting; 4 bytes a document. WR_ENOMEM; WR_EFORMAT for a damaged file. */
wr_status wr_spread_get(const wr_sparse *sparse, wr_spread *spread, wr_err *err);

/* The same for a query and a document drawn at random, the measure of SPLADE's papers (arXiv 2010.09391): what this
 * query adds to the mean, sum over its terms of df / ndocs. term[n] are ids. */
double wr_spread_query(const wr_sparse *sparse, const uint32_t *term, size_t n);

#endif
