/* The normalisers of BPE tokenizers: text in, text out.
 *
 *   Prepend   a string in front of a text that is not empty
 *   Replace   every occurrence of a string by another, from left to right
 *   NFC       canonical composition, by Unicode 9 as `tokenizers` has it (models/unicode.h)
 *
 * They run one after another. Time is linear in the text, n log n in a run of combining marks.
 */
#ifndef WR_MODELS_NORMALIZER_H
#define WR_MODELS_NORMALIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"
#include "data/status.h"
#include "data/text.h"

typedef enum wr_normal_kind { WR_NORMAL_PREPEND, WR_NORMAL_REPLACE, WR_NORMAL_NFC } wr_normal_kind;

typedef struct wr_normal_step {
    wr_normal_kind kind;
    char *from; /* [from_n] of Replace, from_n > 0 */
    size_t from_n;
    char *to; /* [to_n] of Prepend and Replace */
    size_t to_n;
} wr_normal_step;

typedef struct wr_normal {
    wr_normal_step *step; /* [n] */
    size_t n;
} wr_normal;

/* Adds a step; from and to are copied (NULL with 0). WR_ENOMEM. */
wr_status wr_normal_add(wr_normal *normal, wr_normal_kind kind, wr_text from, wr_text to);
void wr_normal_release(wr_normal *normal); /* a zeroed one is fine */

/* text is valid UTF-8; *out is text itself when nothing changes, else in the arena. origin (may be NULL): for every byte
 * of *out the place in text of the character that it came from, in the arena; *origin is NULL when nothing changed.
 * WR_ENOMEM. */
wr_status wr_normalize(const wr_normal *normal, wr_text text, wr_arena *arena, wr_text *out, size_t **origin);

#endif
