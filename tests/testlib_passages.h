/* Passages and queries for tests of what decoders rank: plain words, and whatever a text from outside may hold. */
#ifndef WR_TESTS_TESTLIB_PASSAGES_H
#define WR_TESTS_TESTLIB_PASSAGES_H

#include "data/arena.h"
#include "ranker/listwise.h"
#include "tests/testlib.h"

/* n words, made up. Borrowed from the arena, as all here. */
wr_text wr_test_words(wr_test_random *random, size_t n, wr_arena *arena);

/* n passages of 5 to 30 words, every second with a title. */
wr_passage *wr_test_passages(wr_test_random *random, size_t n, wr_arena *arena);

/* Any of: nothing, brackets and identifiers, control characters and NUL, broken UTF-8, markup and entities, special
 * tokens of chat templates in pieces and whole, orders to the model, 20,000 characters with white space and without. */
wr_text wr_test_hostile(wr_test_random *random, wr_arena *arena);

#endif
