/* Dense search: the vectors' exact scan, or an index of FAISS in front of it. The only file that knows FAISS.
 *
 * Vectors stand in our own mapped file (vectors.h). A FAISS index beside it is optional:
 *   factory "Flat"      no FAISS file: the vectors are scanned (exact; can stop at a deadline; ties by docid)
 *   any other factory   built and searched through FAISS's C API; its candidates are scored again exactly from the
 *                       vector file, so that scores and ties are the same as Flat's for the documents found.
 */
#ifndef WR_INDEXER_DENSE_H
#define WR_INDEXER_DENSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"
#include "data/budget.h"
#include "data/pool.h"
#include "data/status.h"
#include "indexer/topk.h"
#include "indexer/vectors.h"

/* The factory string that is used when none is named: "Flat" for small corpora, "HNSW32" beyond. The threshold and its
 * reason stand in dense.c. */
const char *wr_dense_default_factory(uint64_t count);

/* Tells early, before anything is encoded, whether FAISS can make such an index of vectors of dim components: WR_EARG
 * with the reason when not. "Flat" is fine. */
wr_status wr_dense_check(const char *factory, size_t dim, wr_err *err);

/* Builds the FAISS index of the vectors at vectors_path into faiss_path, durable (nothing for "Flat"). One thread, so
 * that the bytes are always the same, unless fast: then all threads of FAISS, and the bytes may differ from run to run.
 * WR_EARG when the factory string is refused, by us (factory.h) or by FAISS, with the reason. Memory: FAISS holds what
 * it builds, for HNSW the vectors and 8 * links bytes each. */
wr_status wr_dense_build(const char *vectors_path, const char *factory, bool fast, const char *faiss_path, wr_err *err);

typedef struct wr_dense wr_dense;
/* faiss_path NULL: Flat. The FAISS file's bytes must have been verified before (FAISS trusts what it reads): its
 * checksums are checked by wr_index_open(). */
wr_status wr_dense_open(wr_dense **dense, const char *vectors_path, const char *faiss_path, const char *factory,
                        wr_err *err);
void wr_dense_close(wr_dense *dense);
size_t wr_dense_dim(const wr_dense *dense);
uint64_t wr_dense_count(const wr_dense *dense);
bool wr_dense_interruptible(const wr_dense *dense); /* false: a search inside FAISS cannot be stopped */

/* What the kind of index has no use for is ignored: Flat is exact without either. */
typedef struct wr_dense_params {
    size_t ef;     /* HNSW efSearch, 0 = default (reason in dense.c); at most 65536 count */
    size_t nprobe; /* lists of an IVF to look into, 0 = default; at most all              */
} wr_dense_params;

/* The k best by inner product. exclude as in wr_sparse_search. Flat splits its scan over pool (may be NULL) and checks
 * the budget between blocks (hits->partial); FAISS is begun while there is time and then runs to its end. hits borrowed
 * from arena. Thread-safe; with FAISS, searches whose ef or nprobe differ take turns, all others run side by side. */
wr_status wr_dense_search(const wr_dense *dense, const float *query, size_t k, const wr_dense_params *params,
                          const uint32_t *exclude, size_t nexclude, const wr_budget *budget, wr_pool *pool,
                          wr_arena *arena, wr_hits *hits);

const float *wr_dense_vector(const wr_dense *dense, uint32_t docid); /* [dim], borrowed from the map */

/* Holds OpenMP to one thread on the calling thread; idempotent. For a pool's on_start. */
void wr_dense_thread_init(void);

#endif
