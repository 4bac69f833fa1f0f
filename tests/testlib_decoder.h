/* Tiny seeded decoders in Hugging Face's layout and as GGUF, so that tests of what stands above models/decoder.h need no
 * download: 2 layers, 64 dimensions, 4 heads over 2 of keys and values, 4096 positions, a byte-level BPE tokenizer with
 * the 256 bytes (ids of GPT-2: "A" is 32), a few merges and special tokens, a ChatML template. They know nothing; they
 * are real all the same.
 *
 *     wr_test_decoder d = {.type = "qwen2", .seed = 7};
 *     wr_test_decoder_write(dir, &d);                  // model.safetensors, config.json, tokenizer.json ...
 *     wr_test_decoder_write_gguf("x.gguf", &d);        // the same model in one file
 *
 * The weights are a formula of seed, name and place, which tests/golden/make_decoders.py has too: u = the upper 24 bits of
 * a SplitMix64 number as -1 <= u < 1; matrices u * 2^k with 2^k about sqrt(3 / in), norms 1 + u / 4, biases u / 4. */
#ifndef WR_TESTS_TESTLIB_DECODER_H
#define WR_TESTS_TESTLIB_DECODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "models/blocks.h"

/* Zero everything but the type for defaults. */
typedef struct wr_test_decoder {
    const char *type; /* "llama", "mistral", "qwen2", "qwen3" */
    uint64_t seed;
    wr_block_type format; /* of matrices; a directory takes F32, F16, BF16, a GGUF file any. Norms and biases of a
                             directory too, in a GGUF file they are F32                                              */
    bool widened;         /* written as F32, with the values that `format` rounds them to                            */
    size_t layers, dim, heads, kv_heads, head_dim, ffn, vocab, positions; /* vocab at least 300                      */
    size_t window;        /* mistral's sliding_window                                                                */
    const float *factors; /* [head_dim / 2] rope_freqs.weight of a GGUF file, or NULL                                */
    bool gguf;            /* wr_test_decoder_tensor(): the values that a GGUF file has                               */
    bool tied;
    bool attention_bias;  /* llama: q, k, v and o; qwen2 has those of q, k and v anyway                              */
    const char *config;   /* text of config.json, which then must say the same as the above; NULL = made of it       */
    const char *more;     /* further members for the one that is made, as ",\"x\":1"                                 */
} wr_test_decoder;

/* The same with the defaults filled in. */
wr_test_decoder wr_test_decoder_full(const wr_test_decoder *wanted);

/* Writes the model into dir (made when missing). Aborts when it cannot. */
void wr_test_decoder_write(const char *dir, const wr_test_decoder *wanted);
void wr_test_decoder_write_gguf(const char *path, const wr_test_decoder *wanted);

/* ---- what a reference needs ---- */

/* A tensor by Hugging Face's name, with the values that are stored; [rows, cols], a vector has rows 1. False when the
 * model has none of this name. To be freed. */
bool wr_test_decoder_tensor(const wr_test_decoder *wanted, const char *name, float **values, size_t *rows, size_t *cols);

/* n ids below the vocabulary of the tokenizer, by the same formula (name "ids"). */
void wr_test_decoder_ids(const wr_test_decoder *wanted, uint32_t *id, size_t n);

/* The tokenizer's files, which depend on vocab alone. */
void wr_test_decoder_write_tokenizer(const char *dir, const wr_test_decoder *full);

/* ---- GGUF ---- */

enum { WR_TEST_MERGES = 16, WR_TEST_SPECIALS = 6 };

/* Token id as tokenizer.json spells it, into out[64]; merge i as "a b". */
void wr_test_decoder_token(size_t id, char *out);
const char *wr_test_decoder_merge(size_t i);
bool wr_test_decoder_is_special(size_t id);
extern const char wr_test_chatml[];

/* The metadata of tokenizer and template, for a model of d->vocab tokens; returns how many entries there are. arch is
 * general.architecture. */
size_t wr_test_decoder_put_tokenizer(FILE *f, const wr_test_decoder *d, const char *arch);

typedef struct wr_test_tensor {
    char name[96];
    wr_block_type type;
    size_t rows, cols;
    void *data;
    size_t bytes;
} wr_test_tensor;

/* All tensors in Hugging Face's order and names, data to be freed by wr_test_tensors_release(). */
size_t wr_test_decoder_tensors(const wr_test_decoder *full, bool gguf, wr_test_tensor **out);
void wr_test_tensors_release(wr_test_tensor *tensor, size_t n);

#endif
