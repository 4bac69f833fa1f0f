/* Snowball's English stemmer (Porter2), with the rules of Snowball 3.
 *
 * Our own, unlike the other languages', for two reasons. An index must be searched with the stemmer it was built with,
 * and distributions carry libstemmer 2.2 or 3.x, which stem thousands of words differently ("organic" and "organism"
 * both to "organ", or apart). And it takes a fifth of the time, which is what indexing without vectors mostly waits
 * for. tests/test_stem_english.c compares it with what PyStemmer 3.1 (Snowball 3) gives.
 */
#ifndef WR_INDEXER_STEM_ENGLISH_H
#define WR_INDEXER_STEM_ENGLISH_H

#include <stddef.h>

/* Stems word[0..len), lower-case UTF-8 without apostrophes, in place; returns the stem's length, at most len. */
size_t wr_stem_english(char *word, size_t len);

#endif
