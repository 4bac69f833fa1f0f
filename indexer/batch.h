/* A few hundred documents between reading and writing: copied out of the corpus, joined, analysed side by side.
 *
 *     while (!(st = wr_batch_read(batch, corpus, err)) && batch->n) {
 *         st = wr_batch_analyse(batch, pool, err);   // batch->terms[0..n)
 *         ...
 *     }
 */
#ifndef WR_INDEXER_BATCH_H
#define WR_INDEXER_BATCH_H

#include <stdbool.h>
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
    wr_tokens ids[WR_BATCH_DOCS]; /* of text, without special tokens; wr_batch_tokenise() */
    const wr_tokenizer *tok;      /* whose ids they are; NULL before */
    size_t max_ids;
    struct wr_batch_memory *memory;
} wr_doc_batch;

wr_status wr_batch_open(wr_doc_batch **batch, const char *analyzer, wr_err *err);
void wr_batch_close(wr_doc_batch *batch); /* NULL is fine */

/* The next documents, at most WR_BATCH_DOCS and some megabytes of text; n is 0 at the end of the corpus. What the batch
 * held before is forgotten. */
wr_status wr_batch_read(wr_doc_batch *batch, wr_corpus *corpus, wr_err *err);

/* ids[0..n) by tok, at most max of each: once, for the document store and every model that has the same tokenizer. */
wr_status wr_batch_tokenise(wr_doc_batch *batch, const wr_tokenizer *tok, size_t max, wr_pool *pool, wr_err *err);

/* True when ids are what a model with this tokenizer sees of each text, cut at max with its special tokens. */
bool wr_batch_ids_serve(const wr_doc_batch *batch, const wr_tokenizer *tok, size_t max);

/* Title, one space, text, trimmed: what is analysed and encoded of a document. Borrowed from doc, or from arena when it
 * has a title. WR_ENOMEM. */
wr_status wr_doc_join(const wr_doc *doc, wr_arena *arena, wr_text *out);

wr_status wr_batch_analyse(wr_doc_batch *batch, wr_pool *pool, wr_err *err);

#endif
