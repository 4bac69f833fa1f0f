/* Tiny seeded models in Hugging Face's layout, so that tests of what stands above the encoder need no download: BERT of
 * 2 layers, 32 dimensions, 64 positions, a vocabulary of letters. They know nothing; they are real all the same. */
#ifndef WR_TESTS_TESTLIB_MODEL_H
#define WR_TESTS_TESTLIB_MODEL_H

#include <stdbool.h>
#include <stdint.h>

/* Writes a cross-encoder with one label, or an embedder (mean pooling, L2), into dir (made when missing). */
void wr_test_model(const char *dir, bool cross, uint64_t seed);

#endif
