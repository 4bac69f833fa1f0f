/* What data/corpus.c and the readers of its formats share; nobody else includes this. */
#ifndef WR_DATA_CORPUS_FORMATS_H
#define WR_DATA_CORPUS_FORMATS_H

#include <stdbool.h>

#include "data/bytes.h"
#include "data/ciff.h"
#include "data/corpus.h"
#include "data/hash.h"
#include "data/json.h"
#include "data/lines.h"

struct wr_corpus {
    wr_lines *lines;
    wr_corpus_format format;
    bool peeked; /* `first` was read to tell the format and is to be read again */
    const char *first;
    size_t first_n;
    wr_sha256 *sha; /* NULL once it was asked for */

    /* What the current document borrows from. */
    json_t *record;                   /* jsonl              */
    char *dumped;                     /* its metadata       */
    wr_bytes raw, docno, title, text; /* the other formats  */

    wr_ciff *ciff; /* instead of lines */
    char *path;
    size_t number; /* CIFF: documents so far */

    const char **token; /* [token_cap] of the vector */
    float *weight;
    size_t token_cap;

    size_t columns;   /* tsv: of the first line, which all have               */
    const char *rest; /* TREC: what follows </DOC> in the same line, or NULL  */
    size_t rest_n;
    bool any; /* TREC: at least one <DOC> was seen */
};

/* The next line, or the one that was peeked at; as wr_lines_next(). */
wr_status wr_corpus_line(wr_corpus *corpus, const char **line, size_t *n, wr_err *err);

/* The same, past lines of white space. */
wr_status wr_corpus_filled_line(wr_corpus *corpus, const char **line, size_t *n, wr_err *err);

/* WR_EFORMAT "FILE: line N: what" for the line read last. */
wr_status wr_corpus_fail(const wr_corpus *corpus, wr_err *err, const char *what);

/* Fill doc, whose docno is checked by the caller; docno stays NULL at the end. */
wr_status wr_corpus_next_json(wr_corpus *corpus, wr_doc *doc, wr_err *err);
wr_status wr_corpus_next_tsv(wr_corpus *corpus, wr_doc *doc, wr_err *err);
wr_status wr_corpus_next_trec(wr_corpus *corpus, wr_doc *doc, wr_err *err);

/* Does this JSON object carry "vector": {..}, so that it is a document of JsonVectorCollection? */
bool wr_corpus_json_has_vector(const char *line, size_t n);

#endif
