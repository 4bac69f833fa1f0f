/* An index to rank on: a small generated corpus, with or without vectors. */
#ifndef WR_TESTS_TESTLIB_RANK_H
#define WR_TESTS_TESTLIB_RANK_H

#include <stdbool.h>
#include <stddef.h>

#include "data/pool.h"
#include "ranker/rank.h"

/* Builds an index of ndocs generated documents under dir; with dense through model. */
void wr_test_index(const char *dir, size_t ndocs, const wr_model *dense, wr_pool *pool);

/* The same, with the encoder at model_path. */
void wr_test_index_dense(const char *dir, size_t ndocs, const char *model_path);

/* A query of a few words that the corpus has. i picks one of many. */
const char *wr_test_query(size_t i);

typedef struct wr_test_service {
    wr_pool *pool;
    wr_loaded *loaded;
    wr_ranker *ranker;
    wr_scratch *scratch;
} wr_test_service;

/* Opens an index with `threads` workers and one scratch. cross may be NULL. */
void wr_test_service_open(wr_test_service *service, const char *dir, unsigned threads, const char *cross);

/* The same with a decoder, which may be NULL too. */
void wr_test_service_open_list(wr_test_service *service, const char *dir, unsigned threads, const char *cross,
                               const char *list);
void wr_test_service_close(wr_test_service *service);

#endif
