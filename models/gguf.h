/* GGUF, the container of llama.cpp's models: metadata and tensors of one file, borrowed from its map.
 *
 * Versions 2 and 3, little-endian (papers.md 20.1; ggml, docs/gguf.md):
 *     0  char magic[4] "GGUF"    4  u32 version    8  u64 tensors    16  u64 metadata entries
 *    24  entries: string key (u64 length, bytes), u32 type, value
 *        tensors: string name, u32 dimensions, u64 dim[] (fastest first), u32 type, u64 offset into the data
 *        padding to general.alignment (32 without it), then the data
 *
 * The file is untrusted. Every count, length, type, dimension and offset is checked against the bytes that are left
 * before anything is allocated by it; keys and tensors are there once, tensors lie inside the data, aligned, and do not
 * overlap. Nothing of the data is copied: pages are read as they are used. Arrays of arrays are well-formed and
 * skipped: nothing here needs one. Tensors of a type that models/blocks.h has not (Q5_0, IQ2_XS...) stay in the file
 * unnamed by wr_gguf_tensor(); wr_gguf_tensor_type() tells what they are, so that a model can refuse them by name.
 *
 *     uint64_t layers;
 *     st = wr_gguf_open(&g, "model.gguf", err);
 *     if (!st && !wr_gguf_unsigned(g, "llama.block_count", &layers)) ...
 */
#ifndef WR_MODELS_GGUF_H
#define WR_MODELS_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/status.h"
#include "data/text.h"

typedef struct wr_blocks wr_blocks; /* models/blocks.h */
typedef struct wr_gguf wr_gguf;     /* constant after open; shared by all threads */

/* Maps and checks a file. WR_ENOTFOUND, WR_EIO, WR_EFORMAT with a sentence, WR_EUNSUPPORTED for another version,
 * WR_ENOMEM. Time and memory are linear in the metadata, whatever the size of the data. */
wr_status wr_gguf_open(wr_gguf **gguf, const char *path, wr_err *err);
void wr_gguf_close(wr_gguf *gguf); /* NULL is fine */

/* Whether path is a regular file that begins with the magic. */
bool wr_gguf_is(const char *path);

/* ---- metadata: false when there is no such key or its value is of another kind; out is left alone then ---- */

bool wr_gguf_text(const wr_gguf *g, const char *key, wr_text *out);      /* a string; borrowed, any bytes          */
bool wr_gguf_unsigned(const wr_gguf *g, const char *key, uint64_t *out); /* an integer of any width >= 0, or a bool */
bool wr_gguf_real(const wr_gguf *g, const char *key, double *out);       /* f32, f64 or any integer                */

/* Arrays: of strings; of numbers (also integers, bools). Borrowed until wr_gguf_close(); *out is never NULL when true.
 */
bool wr_gguf_texts(const wr_gguf *g, const char *key, const wr_text **out, size_t *n);
bool wr_gguf_reals(const wr_gguf *g, const char *key, const double **out, size_t *n);

/* ---- tensors ---- */

/* A matrix [out, in] in the map, a vector with out 1; NULL when there is none of that name, or it has another type or
 * more than two dimensions that are not 1. O(log n). */
const wr_blocks *wr_gguf_tensor(const wr_gguf *g, const char *name);

/* "Q4_K", "Q5_0"... of a tensor, "unknown" for a type without a name here; NULL when there is none of that name. */
const char *wr_gguf_tensor_type(const wr_gguf *g, const char *name);

size_t wr_gguf_ntensors(const wr_gguf *g);
const char *wr_gguf_tensor_name(const wr_gguf *g, size_t i); /* ascending; borrowed */

/* ---- the file ---- */

/* Its bytes and how many of them come before the data: for hashing. */
const unsigned char *wr_gguf_bytes(const wr_gguf *g, size_t *n, size_t *data_at);

/* Gives the pages read so far back to the system; they are read again when they are used again. */
void wr_gguf_give_back(const wr_gguf *g);

/* A file's bytes that are in memory already (the fuzzer); borrowed until wr_gguf_close(). path is for sentences. */
wr_status wr_gguf_read(wr_gguf **gguf, const unsigned char *bytes, size_t n, const char *path, wr_err *err);

#endif
