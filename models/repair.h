/* Text repair: what ftfy.fix_text() (6.x, its default settings) does, because FIRST's prompts went through it
 * (papers.md 1.3, 1.4) and a passage of the web holds what it mends: UTF-8 that was read as Latin-1 or Windows-1252
 * ("mojibake"), entities, curly quotes, ligatures, full-width letters, control characters, decomposed accents.
 *
 *     wr_repair("The Mona Lisa doesn\u00e2\u20ac\u2122t have eyebrows.")   gives   "... doesn't have eyebrows."
 */
#ifndef WR_MODELS_REPAIR_H
#define WR_MODELS_REPAIR_H

#include "data/arena.h"
#include "data/status.h"
#include "data/text.h"

/* out is borrowed from the arena, or is text itself when there is nothing to mend. Invalid UTF-8 becomes U+FFFD first.
 * WR_ENOMEM when the arena is exhausted. */
wr_status wr_repair(wr_text text, wr_arena *arena, wr_text *out);

#endif
