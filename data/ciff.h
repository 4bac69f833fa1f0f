/* The Common Index File Format (Lin et al., SIGIR 2020): an inverted index as another engine exported it, read as
 * documents, in order, each with its terms and impacts.
 *
 * THE FILE, plain or gzip: messages of Protocol Buffers, each after its length as a varint
 *   Header                   1 version (1), 2 postings lists, 3 documents; others are passed over
 *   PostingsList, so often   1 term, 2 df, 3 cf, 4 Posting, repeated: 1 docid (the first as it is, then differences), 2 tf
 *   DocRecord, so often      1 docid (0, 1, ...), 2 collection's docid, 3 length
 *
 * tf is the impact as quantised by who wrote it: the document's weight of the term.
 *
 * The file is by term and we want documents, so it is read several times: once to count each document's postings, then
 * once for each window of documents whose postings fit into WINDOW_POSTINGS. Memory: the dictionary, 4 bytes a
 * document, and 256 MiB.
 */
#ifndef WR_DATA_CIFF_H
#define WR_DATA_CIFF_H

#include "data/corpus.h"

typedef struct wr_ciff wr_ciff;

/* Reads the file once. WR_EFORMAT names the byte (of the unpacked file) and what was expected there. Not from a pipe.
 */
wr_status wr_ciff_open(wr_ciff **ciff, const char *path, wr_err *err);
void wr_ciff_close(wr_ciff *ciff); /* NULL is fine */

/* Fills docno, token and weight; docno is NULL at the end. Borrowed until the next call. */
wr_status wr_ciff_next(wr_ciff *ciff, wr_doc *doc, wr_err *err);

uint32_t wr_ciff_ndocs(const wr_ciff *ciff);

/* Whether a file begins as CIFF does: no text begins so. False when it cannot be read. */
bool wr_ciff_is(const char *path);

/* For tests: windows of so many postings. */
void wr_ciff_set_window(wr_ciff *ciff, uint64_t postings);

#endif
