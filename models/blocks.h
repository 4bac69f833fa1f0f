/* Matrices of weights as GGUF files store them: rows of blocks, each a few dozen integers with their scales.
 *
 * A row of `in` inputs is in / wr_block_values(type) blocks, one behind the other. All numbers are little-endian, half
 * is IEEE fp16. What a block says (the names and the layouts are ggml's, ggml-common.h and ggml-quants.c):
 *
 *     type   values  bytes  layout                                                     value
 *     F32         1      4  float
 *     F16         1      2  half
 *     BF16        1      2  the upper half of a float
 *     Q8_0       32     34  half d; i8 q[32]                                           d q
 *     Q4_0       32     18  half d; u8 qs[16]     low nibbles first, then high ones    d (q - 8)
 *     Q4_K      256    144  half d, dmin; u8 scales[12], qs[128]                       d sc_s q - dmin m_s
 *     Q5_K      256    176  half d, dmin; u8 scales[12], qh[32], qs[128]               d sc_s q - dmin m_s
 *     Q6_K      256    210  u8 ql[128], qh[64]; i8 sc[16]; half d                      d sc_s (q - 32)
 *
 * Sub-blocks s are of 32 values in Q4_K and Q5_K (scales and minima of 6 bits each in 12 bytes), of 16 in Q6_K.
 *
 *     wr_blocks w = {WR_BLOCK_Q8_0, tensor, 896, 896};
 *     wr_blocks_row(&w, 7, row);     // what output 7 multiplies its inputs with, as floats
 *
 * Nothing here allocates; the data stay where they are (a map of the file) and belong to whoever opened it.
 */
#ifndef WR_MODELS_BLOCKS_H
#define WR_MODELS_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum wr_block_type {
    WR_BLOCK_F32,
    WR_BLOCK_F16,
    WR_BLOCK_BF16,
    WR_BLOCK_Q8_0,
    WR_BLOCK_Q4_0,
    WR_BLOCK_Q4_K,
    WR_BLOCK_Q5_K,
    WR_BLOCK_Q6_K
} wr_block_type;

enum { WR_BLOCK_TYPES = WR_BLOCK_Q6_K + 1 };

/* [out, in] row-major; a vector has out 1. data need not be aligned to more than a byte. */
typedef struct wr_blocks {
    wr_block_type type;
    const void *data; /* wr_blocks_bytes(type, out, in) bytes, borrowed */
    size_t out, in;   /* in is a multiple of wr_block_values(type)      */
} wr_blocks;

const char *wr_block_name(wr_block_type type);  /* "F32", ..., as ggml spells it     */
size_t wr_block_values(wr_block_type type);     /* values in a block: 1, 32, 256     */
size_t wr_block_bytes(wr_block_type type);      /* bytes of a block                  */
bool wr_block_is_quantized(wr_block_type type); /* integers with scales, not floats  */

/* Bytes of a matrix. False when `in` is no multiple of a block or the product is more than a size_t. */
bool wr_blocks_bytes(wr_block_type type, size_t out, size_t in, size_t *bytes);

/* out[0..in) = row `row` as floats: to the bit what ggml and gguf-py make of it. row < w->out. */
void wr_blocks_row(const wr_blocks *w, size_t row, float *out);

/* ---- what a block of integers is made of; the kernels are defined by it ---- */

/* value[i] = scale[i / group] * q[i] - min[i / 32], each operation rounded to fp32, group 16 in Q6_K and 32 else. */
typedef struct wr_block_parts {
    int16_t q[256];
    float scale[16]; /* d, d sc_s */
    float min[8];    /* dmin m_s, 0 where the type has none */
} wr_block_parts;

/* parts of one block of a quantised type, as many as it has: 32 values and one scale, or 256 and 8 or 16. */
void wr_block_open(wr_block_type type, const void *block, wr_block_parts *parts);
size_t wr_block_group(wr_block_type type); /* values that share a scale: 16 or 32 */

#endif
