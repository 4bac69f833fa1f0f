/* Random sparse vectors and queries, for the tests of indexer/sparse.h and what stands on it. */
#ifndef WR_TESTS_TESTLIB_SPARSE_H
#define WR_TESTS_TESTLIB_SPARSE_H

#include "indexer/sparse.h"
#include "tests/testlib.h"

/* Documents as rows of distinct terms with weights; term t is spelt "t<t>". */
typedef struct wr_test_vectors {
    size_t n, nterms;
    size_t *start;  /* [n + 1] */
    uint32_t *term; /* ascending in a row */
    float *weight;
} wr_test_vectors;

/* Rows of up to most terms of nterms, some of them empty. Frequent terms are Zipf-like, half of a row's terms come from
 * one of a few topics, and with `ties` weights are one of three. */
wr_test_vectors wr_test_vectors_random(wr_test_random *random, size_t n, size_t nterms, size_t most, bool ties);
void wr_test_vectors_free(wr_test_vectors *vectors);

/* Writes and opens them, verified: as weights, or (bm25) every term once. What goes wrong ends the program. */
wr_sparse *wr_test_vectors_index(const wr_test_vectors *vectors, const char *dir, const char *path, size_t budget,
                                 bool bm25);

/* A query of up to most terms that the index has, its memory in the struct. */
typedef struct wr_test_query {
    uint32_t term[64];
    float weight[64];
    size_t n;
} wr_test_query;

wr_test_query wr_test_query_random(wr_test_random *random, const wr_sparse *sparse, size_t most);

/* Whether the lists are whole and the same to the bit. */
bool wr_test_same_hits(const wr_hits *a, const wr_hits *b);

#endif
