/* Impact postings in one memory-mapped file: BM25 today, learned sparse weights by the same format.
 *
 * Score of a document for a query with terms t and weights w_t: sum_t w_t * impact(t, d). For BM25 the impact is
 *     tf / (tf + k1 * (1 - b + b * len / avglen))      (Lucene's form, without the constant factor k1 + 1)
 * and the weight is the query's count of t times idf(t) = ln(1 + (N - n_t + 0.5) / (n_t + 0.5)).
 * Robertson & Zaragoza 2009; impacts computed at build time as in Anh & Moffat's impact-ordered indexes.
 *
 * THE FILE (checked file "WRSPARSE", version 1): the layout byte by byte is at the top of sparse_write.c's format
 * section below.
 */
#ifndef WR_INDEXER_SPARSE_H
#define WR_INDEXER_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"
#include "data/budget.h"
#include "data/status.h"
#include "indexer/topk.h"

/* ---- writing: documents in docid order in, one file out; memory bounded by external merging ---- */

typedef struct wr_bm25_params {
    double k1; /* 0.9: Anserini's default, the best single setting on MS MARCO and BEIR */
    double b;  /* 0.4: likewise */
} wr_bm25_params;

typedef struct wr_sparse_writer wr_sparse_writer;

/* tmp_dir holds run files until commit; budget_bytes bounds what the writer holds in memory (0 = 256 MiB). */
wr_status wr_sparse_writer_open(wr_sparse_writer **writer, const char *tmp_dir, size_t budget_bytes, wr_err *err);

/* The next document (docids are given out from 0): its terms in order, repeats included (BM25 counts them). */
wr_status wr_sparse_writer_add(wr_sparse_writer *writer, const char *const *term, const uint32_t *term_len, size_t n,
                               wr_err *err);

/* Merges the runs and writes path, durable; the bytes depend on the documents and params alone. Frees the writer. */
wr_status wr_sparse_writer_commit_bm25(wr_sparse_writer *writer, const char *path, const wr_bm25_params *params,
                                       wr_err *err);
void wr_sparse_writer_abort(wr_sparse_writer *writer); /* removes its run files; NULL is fine */

/* ---- reading: constant and shared ---- */

typedef struct wr_sparse wr_sparse;

wr_status wr_sparse_open(wr_sparse **sparse, const char *path, wr_err *err);
void wr_sparse_close(wr_sparse *sparse);

typedef struct wr_sparse_stats {
    uint64_t ndocs, nterms, npostings, total_length;
    double avg_length;
    uint64_t bytes_terms, bytes_postings, bytes_blocks;
} wr_sparse_stats;
void wr_sparse_stats_get(const wr_sparse *sparse, wr_sparse_stats *stats);

/* Term -> term id (terms in byte order), -1 when no document has it. O(log nterms). */
int64_t wr_sparse_term(const wr_sparse *sparse, const char *term, size_t len);
uint32_t wr_sparse_df(const wr_sparse *sparse, uint32_t term);
float wr_sparse_idf(const wr_sparse *sparse, uint32_t term); /* the BM25 formula above */

/* A query: unique term ids, weights > 0. */
typedef struct wr_sparse_query {
    const uint32_t *term; /* [n] */
    const float *weight;  /* [n] */
    size_t n;
} wr_sparse_query;

/* The k best documents, exact over the stored impacts: identical to exhaustive scoring, ties by docid, for every k.
 * A score is summed over the query's terms in ascending order of term id, in float, so the same document gets the same
 * bits whatever path computed it. Dynamic pruning (block-max MaxScore).
 * The budget is checked at least every few ten thousand postings; past it hits are the best so far, hits->partial set.
 * hits is borrowed from arena. k in 1..WR_MAX_K. WR_ENOMEM when the arena is exhausted. exclude[nexclude] (ascending
 * docids, may be NULL) never enter. */
wr_status wr_sparse_search(const wr_sparse *sparse, const wr_sparse_query *query, size_t k, const uint32_t *exclude,
                           size_t nexclude, const wr_budget *budget, wr_arena *arena, wr_hits *hits);

/* The same by scoring every posting: the definition, for tests. */
wr_status wr_sparse_search_exhaustive(const wr_sparse *sparse, const wr_sparse_query *query, size_t k,
                                      const uint32_t *exclude, size_t nexclude, wr_arena *arena, wr_hits *hits);

/* Stored impact of one term in one document (0 when it does not occur), for explanations. */
float wr_sparse_impact(const wr_sparse *sparse, uint32_t term, uint32_t docid);

/* Reads every byte and checks what opening did not: order of docids and terms, block maxima, counts. For fsck. */
wr_status wr_sparse_verify(const wr_sparse *sparse, wr_err *err);

#endif
