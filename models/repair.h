/* Text repair: what ftfy.fix_text() (6.x, its default settings) does, because FIRST's prompts went through it
 * (papers.md 1.3, 1.4) and a passage of the web holds what it mends: UTF-8 that was read as Latin-1 or Windows-1252
 * ("mojibake"), entities, curly quotes, ligatures, full-width letters, control characters, decomposed accents.
 *
 * In ftfy's order, line by line, each line until nothing changes: entities (not once a line has had a "<", which is
 * markup), encodings, C1 controls, Latin ligatures, character width, curly quotes, line breaks, terminal escapes,
 * control characters, NFC. Of encodings all is done: Latin-1, Windows-1252, -1251, -1250, -1253, -1254, -1257 in their
 * sloppy forms, ISO-8859-2, MacRoman, CP437; the heuristic for what looks bad; bytes A0 that became spaces; lost bytes;
 * mojibake inside a sound text; CESU-8 and Java's NUL.
 *
 * Left out: the named entities of HTML 5 beyond HTML 4's 252 (numbers are all done); cutting lines at a million
 * characters (a line is repaired as a whole); surrogates, which no UTF-8 holds. tests/golden/compare_repair.py
 * compares: all lines of garbled text in 16 scripts and noise are equal to ftfy 6.3.1's.
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
