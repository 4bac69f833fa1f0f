/* What BERT's normaliser asks about a code point, answered as Hugging Face's `tokenizers` answers it.
 *
 * `tokenizers` takes its categories from a table of Unicode 8, its decompositions from Unicode 9, and its lower case
 * and word characters from Unicode 17. The first two therefore stand here as frozen sets; utf8proc gives decompositions
 * and lower case, corrected where a version of it may differ. tests/golden/compare_tokenizer.py proves all 1,112,064
 * scalar values equal, one by one.
 */
#ifndef WR_MODELS_UNICODE_H
#define WR_MODELS_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WR_UNICODE_LIMIT 0x110000u /* code points are below this */
#define WR_NFD_MAX 4               /* code points in the longest full decomposition (U+1F82 and others) */
#define WR_LOWER_MAX 2             /* U+0130 becomes "i" and U+0307 */

bool wr_unicode_is_control(uint32_t cp); /* Cc, Cf, Co without tab, LF, CR; NUL and U+FFFD too: dropped by clean_text */
bool wr_unicode_is_space(uint32_t cp);   /* White_Space */
bool wr_unicode_is_mark(uint32_t cp);    /* Mn: dropped by strip_accents */
bool wr_unicode_is_punct(uint32_t cp);   /* P*, and every ASCII symbol: a word of its own */
bool wr_unicode_is_han(uint32_t cp);     /* gets a space on either side */
bool wr_unicode_is_digit(uint32_t cp);   /* Nd: what \d matches in Python */
bool wr_unicode_is_word(uint32_t cp);    /* what \w matches */

/* Canonical combining class: 0 for a starter, which marks are not moved across. */
unsigned wr_unicode_order(uint32_t cp);

/* Full canonical decomposition into out[]; returns the number of code points (1 when there is none). */
size_t wr_unicode_nfd(uint32_t cp, uint32_t out[WR_NFD_MAX]);

/* The character that a and b compose to canonically, 0 when there is none. */
uint32_t wr_unicode_compose(uint32_t a, uint32_t b);

/* Lower case of one code point without context (no final sigma); returns the number of code points. */
size_t wr_unicode_lower(uint32_t cp, uint32_t out[WR_LOWER_MAX]);

#endif
