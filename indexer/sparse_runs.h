/* Runs: sorted postings on their way from the writer's memory to the index file.
 *
 * A run holds the postings of consecutive documents by term in byte order. Its file is, for each term,
 *     varint length of the term, the term, varint df, then df postings
 * and a posting is a varint: docid delta * 2 + 1 when tf is 1, else docid delta * 2 and varint tf. The first delta of a
 * term is its docid. Varints have 7 bits a byte, low ones first, the high bit set on all bytes but the last.
 *
 * Run files are removed by name as soon as they are made, so that nothing stays behind, whatever ends the process.
 */
#ifndef WR_INDEXER_SPARSE_RUNS_H
#define WR_INDEXER_SPARSE_RUNS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "data/status.h"
#include "indexer/sparse.h"

/* Merged at once at most: the buffers of so many open runs (64 KiB each) are 4 MiB. */
#define MAX_FANIN 64
#define RUN_BUFFER ((size_t)64 << 10)

/* Appends x to out and returns the bytes, at most 10. */
size_t wr_sparse_varint(uint64_t x, unsigned char out[10]);
/* One posting, at most 20 bytes. */
size_t wr_sparse_posting(uint64_t delta, uint32_t tf, unsigned char out[20]);

/* An anonymous file in dir for writing and reading. */
wr_status wr_sparse_tmp_open(FILE **file, const char *dir, wr_err *err);

/* Who takes merged postings: term() first, then its df postings in docid order. A status stops the merge. */
typedef struct wr_sparse_sink {
    void *arg;
    wr_status (*term)(void *arg, const unsigned char *name, size_t len, uint64_t df, wr_err *err);
    wr_status (*posting)(void *arg, uint32_t docid, uint32_t tf, wr_err *err);
} wr_sparse_sink;

/* Merges n <= MAX_FANIN runs, given in document order, into sink. */
wr_status wr_sparse_merge(FILE *const *run, size_t n, const wr_sparse_sink *sink, wr_err *err);

/* Merges them into a new run. */
wr_status wr_sparse_merge_run(FILE *const *run, size_t n, const char *dir, FILE **merged, wr_err *err);

#endif
