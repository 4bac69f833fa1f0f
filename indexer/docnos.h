/* Outside names sorted by an external merge: (docno, docid) pairs in any order in, byte order out, repeats found.
 *
 * Memory is bounded whatever the corpus: pairs are gathered, sorted and written as a run when WR_DOCNOS_PER_RUN of them
 * or their text has filled its share, and all runs are merged at the end. Run files are unlinked as soon as they are
 * open, so a crash leaves none behind. LMDB is fed with the sorted stream (MDB_APPEND): pages are filled in order and
 * never read again, where random inserts would touch one page per document.
 */
#ifndef WR_INDEXER_DOCNOS_H
#define WR_INDEXER_DOCNOS_H

#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

/* Pairs in memory at a time: a million take about 40 MB with docnos of 20 bytes; 100 million documents are 100 runs. */
#define WR_DOCNOS_PER_RUN ((size_t)1 << 20)

typedef struct wr_docnos wr_docnos;

/* Run files are made beside path ("PATH.run", unlinked at once). per_run 0 = WR_DOCNOS_PER_RUN (tests ask for less). */
wr_status wr_docnos_open(wr_docnos **names, const char *path, size_t per_run, wr_err *err);
void wr_docnos_close(wr_docnos *names); /* NULL is fine */

/* len 1..WR_MAX_DOCNO. A docno that repeats within the run in memory is WR_EFORMAT at once, naming it and both
 * documents; one of an earlier run is found by wr_docnos_next(). */
wr_status wr_docnos_add(wr_docnos *names, const char *docno, size_t len, uint32_t docid, wr_err *err);

/* The pairs in byte order of the docno; nothing may be added after the first call. WR_OK with *docno == NULL at the
 * end. *docno is borrowed until the next call. WR_EFORMAT names a docno that repeats. O(log runs). */
wr_status wr_docnos_next(wr_docnos *names, const char **docno, size_t *len, uint32_t *docid, wr_err *err);

#endif
