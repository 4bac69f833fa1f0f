/* A few hundred documents between reading and writing: copied out of the corpus, joined, analysed side by side.
 *
 *     while (!(st = wr_batch_read(batch, corpus, err)) && batch->n) {
 *         st = wr_batch_analyse(batch, pool, err);   // batch->terms[0..n)
 *         ...
 *     }
 */
#ifndef WR_INDEXER_BATCH_H
#define WR_INDEXER_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "data/corpus.h"
#include "data/pool.h"
#include "data/status.h"
#include "indexer/analyzer.h"
#include "models/embed.h"

/* Enough for sorting by length to fill micro-batches evenly, few enough that progress is seen every second or two. */
#define WR_BATCH_DOCS 256

/* A document's terms as the postings writer takes them. */
typedef struct wr_batch_terms {
    const char **term; /* [n] */
    uint32_t *len;     /* [n] */
    size_t n;
} wr_batch_terms;

typedef struct wr_doc_batch {
    size_t n;
    wr_doc doc[WR_BATCH_DOCS];
    wr_text text[WR_BATCH_DOCS]; /* title, one space, text, trimmed: what is analysed and encoded */
    wr_batch_terms terms[WR_BATCH_DOCS];
    struct wr_batch_memory *memory;
} wr_doc_batch;

wr_status wr_batch_open(wr_doc_batch **batch, const char *analyzer, wr_err *err);
void wr_batch_close(wr_doc_batch *batch); /* NULL is fine */

/* The next documents, at most WR_BATCH_DOCS and some megabytes of text; n is 0 at the end of the corpus. What the batch
 * held before is forgotten. */
wr_status wr_batch_read(wr_doc_batch *batch, wr_corpus *corpus, wr_err *err);

wr_status wr_batch_analyse(wr_doc_batch *batch, wr_pool *pool, wr_err *err);

#endif
