/* The vector file and its exact scan: what dense search is measured against, and what rescores its candidates.
 *
 * The file (checked file "WRVECTOR", version 1), little-endian:
 *     0  u32 dim           8  u64 count
 *     4  u32 metric       16  zeros to 32: row 0 stands at byte 64 of the file, on a cache line
 *    32  float [count, dim], row = passage
 * metric is 0, the inner product; with a model that normalises it is the cosine.
 */
#ifndef WR_INDEXER_VECTORS_H
#define WR_INDEXER_VECTORS_H

#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"
#include "data/budget.h"
#include "data/mapfile.h"
#include "data/pool.h"
#include "data/status.h"
#include "indexer/topk.h"

/* Wider than any encoder's output; bounds what a damaged header can ask for. */
#define WR_MAX_DIM 65536

/* Streaming writer of the vector file. */
typedef struct wr_vectors_writer wr_vectors_writer;
wr_status wr_vectors_writer_open(wr_vectors_writer **writer, const char *path, size_t dim, wr_err *err);
/* rows[n * dim], finite only: WR_EFORMAT names the first row that is not. */
wr_status wr_vectors_writer_add(wr_vectors_writer *writer, const float *rows, size_t n, wr_err *err);
wr_status wr_vectors_writer_commit(wr_vectors_writer *writer, wr_err *err); /* durable; frees in any case */
void wr_vectors_writer_abort(wr_vectors_writer *writer);                    /* and removes; NULL is fine  */

typedef struct wr_vectors {
    wr_map map;
    const float *row; /* [count, dim] in the map */
    size_t dim;
    uint64_t count; /* at most UINT32_MAX: a row's number is a docid */
} wr_vectors;

wr_status wr_vectors_open(wr_vectors *vectors, const char *path, wr_err *err);
void wr_vectors_close(wr_vectors *vectors); /* a zeroed one is fine */

/* Reads every float; WR_EFORMAT names the first row that is not finite. For fsck. */
wr_status wr_vectors_verify(const wr_vectors *vectors, const char *path, wr_err *err);

/* The k best rows by inner product with query[dim], exactly; ties by docid. exclude[nexclude] ascending, may be NULL.
 * The rows are shared out over pool (may be NULL) and the budget is checked every few hundred of them: past it the hits
 * are the best of what was seen and hits->partial is set. Without a budget the result does not depend on the pool.
 * Rows that are not finite are passed over. hits borrowed from arena; WR_ENOMEM when it is exhausted. */
wr_status wr_vectors_scan(const wr_vectors *vectors, const float *query, size_t k, const uint32_t *exclude,
                          size_t nexclude, const wr_budget *budget, wr_pool *pool, wr_arena *arena, wr_hits *hits);

/* The k best of docid[n] (distinct, < count), scored as the scan scores them: same bits, same order. */
wr_status wr_vectors_rescore(const wr_vectors *vectors, const float *query, const uint32_t *docid, size_t n, size_t k,
                             wr_arena *arena, wr_hits *hits);

#endif
