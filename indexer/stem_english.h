/* Snowball's English stemmer (Porter2), with the rules of Snowball 3.
 *
 * Our own, unlike the other languages', because an index must be searched with the stemmer it was built with, and
 * distributions carry libstemmer 2.2 or 3.x, which stem thousands of words differently ("organic" and "organ" alike, or
 * apart). It also takes half of libstemmer's time. tests/test_stem_english.c has the stems of PyStemmer 3.1 (Snowball
 * 3).
 */
#ifndef WR_INDEXER_STEM_ENGLISH_H
#define WR_INDEXER_STEM_ENGLISH_H

#include <stddef.h>

/* Stems word[0..len), lower-case UTF-8 without apostrophes, in place; returns the stem's length, at most len. */
size_t wr_stem_english(char *word, size_t len);

#endif
