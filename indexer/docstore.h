/* Documents by number and by name, in one LMDB file: the only file that knows LMDB.
 *
 * docid (u32) -> docno, title, text, metadata; docid -> token ids; docno -> docid. Written once by the index builder, then opened read-only
 * and without locks (MDB_RDONLY | MDB_NOLOCK | MDB_NOSUBDIR) by any number of processes: an index never changes.
 * Records are untrusted like any file: lengths are checked at every read.
 *
 * Here a docid is the number of a document; passages are mapped to documents by indexer/index.h.
 */
#ifndef WR_INDEXER_DOCSTORE_H
#define WR_INDEXER_DOCSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"
#include "data/corpus.h"
#include "data/status.h"
#include "models/tokenizer.h"

typedef struct wr_docstore_writer wr_docstore_writer;
wr_status wr_docstore_writer_open(wr_docstore_writer **writer, const char *path, wr_err *err);
/* The next document; docids count from 0. A docno that repeats is WR_EFORMAT naming it: at once while the docnos fit
 * into memory (docnos.h), else by the commit. */
wr_status wr_docstore_writer_add(wr_docstore_writer *writer, const wr_doc *doc, wr_err *err);
/* The ids of the document added last, of its text as it is encoded, without special tokens; ids->cut tells whether the
 * text had more. Either every document has ids or none: else the commit is WR_EARG. */
wr_status wr_docstore_writer_add_tokens(wr_docstore_writer *writer, const wr_tokens *ids, wr_err *err);
wr_status wr_docstore_writer_commit(wr_docstore_writer *writer, wr_err *err); /* durable; frees in any case */
void wr_docstore_writer_abort(wr_docstore_writer *writer);                    /* and removes; NULL is fine  */

typedef struct wr_docstore wr_docstore; /* shared by all threads */
/* LMDB trusts its pages: the file's checksums must have been verified before (wr_index_open() does it). */
wr_status wr_docstore_open(wr_docstore **store, const char *path, wr_err *err);
void wr_docstore_close(wr_docstore *store);
uint32_t wr_docstore_count(const wr_docstore *store);
bool wr_docstore_has_tokens(const wr_docstore *store);
uint64_t wr_docstore_token_bytes(const wr_docstore *store); /* of the file, pages of the table of ids; 0 without */

/* A read transaction, one per thread at a time (part of a scratch); renewed cheaply. */
typedef struct wr_docreader wr_docreader;
wr_status wr_docreader_open(wr_docreader **reader, const wr_docstore *store, wr_err *err);
void wr_docreader_close(wr_docreader *reader);

/* Fills doc; its pointers go into the map and are borrowed until wr_docstore_close(). WR_ENOTFOUND, WR_EFORMAT. */
wr_status wr_docreader_get(wr_docreader *reader, uint32_t docid, wr_doc *doc);
wr_status wr_docreader_find(wr_docreader *reader, const char *docno, size_t len, uint32_t *docid);

/* The stored ids, at most the first max, copied into arena. WR_ENOTFOUND when there are none, or fewer than max were kept
 * of a text that has more (tokenise it then); WR_EFORMAT, WR_ENOMEM. */
wr_status wr_docreader_tokens(wr_docreader *reader, uint32_t docid, size_t max, wr_arena *arena, wr_tokens *out);
/* Only how many there are; for planning. Statuses as above. */
wr_status wr_docreader_ntokens(wr_docreader *reader, uint32_t docid, size_t *n);

/* Walks the whole file and checks that both directions agree, and that ids are readable. For fsck. */
wr_status wr_docstore_verify(const wr_docstore *store, wr_err *err);

#endif
