/* Regular expressions of tokenizer files, matched as Oniguruma in `tokenizers` matches them: PCRE2 does the work.
 *
 * The two differ in what classes hold and in some corners of the syntax, so a pattern is read and written anew:
 *   \s           without U+180E, which PCRE2 counts as white space
 *   \p{L} ...    of Unicode 16; what PCRE2 of an older Unicode lacks is added (a newer one may have more)
 * Known are literals, ".", groups (plain, ?: ?> ?= ?! ?<= ?<! and ?i: around literals), alternatives, classes,
 * quantifiers (greedy, lazy and possessive; {n,m} greedy), \s \S \d \r \n \t, \p and \P with L N M P S Lu Ll Lt Lm Lo Nd,
 * and escaped punctuation. What means another thing in the other library, or nothing, is refused by name.
 */
#ifndef WR_MODELS_PATTERN_H
#define WR_MODELS_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "data/arena.h"
#include "data/status.h"
#include "data/text.h"

typedef struct wr_pattern wr_pattern; /* constant; shared by all threads */

/* WR_EUNSUPPORTED names what we do not know, also a pattern that may match nothing; WR_EFORMAT: no pattern at all. */
wr_status wr_pattern_compile(wr_pattern **pattern, wr_text source, wr_err *err);

/* The pattern that finds exactly this string. */
wr_status wr_pattern_literal(wr_pattern **pattern, wr_text string, wr_err *err);

void wr_pattern_free(wr_pattern *pattern); /* NULL is fine */

/* As it was given, of a literal the pattern for it; NUL-terminated. */
const char *wr_pattern_source(const wr_pattern *pattern);

/* Memory that matching needs, from the arena; good for every pattern and one thread. NULL when exhausted. */
void *wr_pattern_memory(wr_arena *arena);

/* The first match at or behind text[from], text valid UTF-8. WR_OK with start < end, WR_STOPPED: there is none,
 * WR_ENOMEM, WR_EUNSUPPORTED when the search takes more than a million steps. */
wr_status wr_pattern_find(const wr_pattern *pattern, void *memory, wr_text text, size_t from, size_t *start,
                          size_t *end);

#endif
