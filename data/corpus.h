/* A corpus as a stream of documents, whatever its format.
 *
 * BEIR folder (corpus.jsonl[.gz]), jsonl ({"_id"|"id"|"docno", "title", "text"|"contents"|"body", others -> metadata}),
 * MS MARCO tsv (pid<TAB>text, or docid<TAB>url<TAB>title<TAB>body), TREC SGML (<DOC><DOCNO>, <TITLE>|<HEADLINE>|<HL>|
 * <TI>, <TEXT> and the other text elements, tags stripped, entities resolved). Every file may be gzip.
 *
 * Two formats bring documents whose learned sparse vectors are computed already: Anserini's JsonVectorCollection (jsonl
 * with "vector": {"token": weight}; the text, "contents", may be missing) and CIFF (data/ciff.h; without texts).
 */
#ifndef WR_DATA_CORPUS_H
#define WR_DATA_CORPUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

typedef enum wr_corpus_format {
    WR_CORPUS_AUTO,
    WR_CORPUS_BEIR,
    WR_CORPUS_JSONL,
    WR_CORPUS_MSMARCO,
    WR_CORPUS_TREC,
    WR_CORPUS_VECTORS, /* JsonVectorCollection: {"id","contents","vector"} */
    WR_CORPUS_CIFF
} wr_corpus_format;

/* A docno has at most this many bytes: LMDB's key limit is 511. */
#define WR_MAX_DOCNO 500

/* A token of a vector has at most this many bytes. */
#define WR_MAX_TOKEN_BYTES 1024

/* One document; every pointer is borrowed until the next call and NUL-terminated. docno is not empty, has no white
 * space or control characters (run files are split at white space) and is valid UTF-8; the others may be empty. */
typedef struct wr_doc {
    const char *docno;
    size_t docno_len;
    const char *title;
    size_t title_len;
    const char *text;
    size_t text_len;
    const char *metadata; /* a compact JSON object of what else the record holds; "" for none */
    size_t metadata_len;
    const char *const *token; /* [ntokens] distinct, of formats that carry vectors; else NULL */
    const float *weight;      /* [ntokens] finite, above 0                                   */
    size_t ntokens;
} wr_doc;

typedef struct wr_corpus wr_corpus;

/* "auto": a folder is BEIR; a file is told by its first non-space character and its first line. "-" is standard input.
 */
wr_status wr_corpus_open(wr_corpus **corpus, const char *path, wr_corpus_format format, wr_err *err);
void wr_corpus_close(wr_corpus *corpus);

/* WR_OK with doc->docno == NULL at the end. A malformed record is WR_EFORMAT, "FILE: line N: what". Whether a docno
 * repeats is the index builder's business. */
wr_status wr_corpus_next(wr_corpus *corpus, wr_doc *doc, wr_err *err);

/* For progress: bytes of the stored file read so far, and in all (0 = unknown); documents of a CIFF. */
void wr_corpus_progress(const wr_corpus *corpus, uint64_t *read, uint64_t *total);

/* The hash of the documents read so far (SHA-256 over length-prefixed docno, title, text, metadata of each, and of what
 * has a vector its tokens and weights): the same for the same documents in any format. Call once, at the end. */
void wr_corpus_sha256(wr_corpus *corpus, char hex[65]);

/* Refuses an id (docno or qid) that is empty, too long, not valid UTF-8, or holds white space or control characters:
 * WR_EFORMAT, "where: line N: what ...". what names it: "the topic's id". */
wr_status wr_docno_check(const char *what, const char *docno, size_t n, const char *where, size_t line, wr_err *err);

/* The format that is being read: what WR_CORPUS_AUTO turned out to be. */
wr_corpus_format wr_corpus_format_of(const wr_corpus *corpus);

/* Whether documents of this format bring vectors. */
bool wr_corpus_format_has_vectors(wr_corpus_format format);

const char *wr_corpus_format_name(wr_corpus_format format);
wr_status wr_corpus_format_parse(const char *name, wr_corpus_format *format, wr_err *err);

#endif
