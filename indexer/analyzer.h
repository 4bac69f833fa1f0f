/* Text -> terms for BM25: words, lower-cased, stop words dropped, stemmed.
 *
 * A word is a maximal run of Unicode letters, digits and marks (underscore counts as a letter) of two characters at
 * least, each lower-cased on its own; a letter and a combining mark are composed. Stop words are dropped before stemming.
 * Names: "english" (default; Snowball 3's English and Lucene's 33 stop words), every other language that
 * libstemmer knows ("german", "french", ...; stop words of our own lists where we have one, else none) and "none"
 * (words as they are, lower-cased). The name is recorded in the manifest; queries are analysed alike.
 */
#ifndef WR_INDEXER_ANALYZER_H
#define WR_INDEXER_ANALYZER_H

#include <stddef.h>

#include "data/arena.h"
#include "data/status.h"

typedef struct wr_analyzer wr_analyzer; /* holds a stemmer's state: one per thread */

/* WR_EARG names the analyzers that exist when name is not one of them. */
wr_status wr_analyzer_open(wr_analyzer **analyzer, const char *name, wr_err *err);
void wr_analyzer_close(wr_analyzer *analyzer);

typedef struct wr_term {
    const char *text; /* not NUL-terminated; UTF-8 */
    size_t len;       /* 1..WR_MAX_TERM            */
} wr_term;

/* Longer words are cut at a character boundary: what is longer is no word that anybody types. Lucene cuts at 255. */
#define WR_MAX_TERM 255

/* Terms of text[0..n) in order, repeats included, borrowed from the arena. Invalid UTF-8 separates words. */
wr_status wr_analyzer_terms(wr_analyzer *analyzer, const char *text, size_t n, wr_arena *arena, wr_term **terms,
                            size_t *nterms);

#endif
