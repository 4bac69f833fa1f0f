/* Tiny seeded models in Hugging Face's layout, so that tests of what stands above the encoder need no download: BERT of
 * 2 layers, 32 dimensions, 64 positions, a vocabulary of letters. They know nothing; they are real all the same. */
#ifndef WR_TESTS_TESTLIB_MODEL_H
#define WR_TESTS_TESTLIB_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes a cross-encoder with one label, or an embedder (mean pooling, L2), into dir (made when missing). */
void wr_test_model(const char *dir, bool cross, uint64_t seed);

/* Models that differ in one thing only: the same encoder for the same seed, whatever its layers (1 or 2); the head is
 * seeded by itself; an exit behind the first layer, with a head that is the own head of another model with that seed. */
typedef struct wr_test_exits {
    bool cross;
    size_t layers;
    uint64_t seed, head, exit; /* exit 0: none is listed */
} wr_test_exits;

void wr_test_model_exits(const char *dir, const wr_test_exits *wanted);

#endif
