/* What several test files need: seeded random numbers, a temporary folder, a fake clock, the optional ../shared. */
#ifndef WR_TESTS_TESTLIB_H
#define WR_TESTS_TESTLIB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/budget.h"

/* Random numbers that are the same on every machine (SplitMix64). */
typedef struct wr_test_random {
    uint64_t state;
} wr_test_random;

uint64_t wr_test_u64(wr_test_random *random);
size_t wr_test_below(wr_test_random *random, size_t n); /* 0 <= x < n, n > 0            */
double wr_test_uniform(wr_test_random *random);         /* 0 <= x < 1                   */
float wr_test_normal(wr_test_random *random);           /* mean 0, standard deviation 1 */

/* A folder under $TMPDIR or /tmp, made on the first call of a test and removed with all it holds when the test ends. */
const char *wr_test_dir(void);

/* Path of a file in that folder; one of 16 buffers in turn. */
const char *wr_test_path(const char *name);

/* Writes a file into that folder (what cannot be written fails the test) and returns its path, as above. */
const char *wr_test_file(const char *name, const void *bytes, size_t n);
const char *wr_test_text(const char *name, const char *text);

/* Time that passes only when told to: `now_ns` is what the clock shows, and it moves by step_ns at every reading. */
typedef struct wr_test_clock {
    wr_clock clock; /* give &fake.clock to wr_budget_start() */
    _Atomic uint64_t now_ns;
    uint64_t step_ns;
} wr_test_clock;

void wr_test_clock_init(wr_test_clock *fake, uint64_t now_ns, uint64_t step_ns);

/* Path of a file or folder under ../shared (seen from the project's root; $WEIR_SHARED names another place), or NULL. */
const char *wr_test_shared(const char *name);

/* The same; skips the calling test, and says so, when it is not there. */
const char *wr_test_shared_or_skip(const char *name);

/* Folder of a real embedder: models/weir-dense, else all-MiniLM-L6-v2 in build/models. Skips the calling test, and says
 * so, where there is neither. */
const char *wr_test_embedder_or_skip(void);

/* The same of one with the vocabulary of bert-base-uncased, whose token ids are published: all-MiniLM-L6-v2 or, if it has
 * kept that vocabulary, models/weir-dense. */
const char *wr_test_uncased_or_skip(void);

#endif
