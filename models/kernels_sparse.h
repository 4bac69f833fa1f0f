/* 8-bit products with weights of which most are zero in blocks: 4 neighbouring outputs x 1 input (arXiv 2306.16601).
 *
 * Same inputs, same results to the bit as gemm_s8 with the same weights (kernels.h): leaving out zeros does not change
 * a sum of integers. Where a dense product costs out * in multiplications a row, this one costs what is left of them,
 * and the work of bringing four rows of activations together, shared by four outputs.
 *
 * Packed weights, one layout for every instruction set. Outputs are taken in groups of 4. The inputs at which a group
 * has a weight that is not zero follow each other in ascending order, four to a tile; the last tile of a group is
 * filled up with input 0 and weights of 0. Tiles of group g are start[g] .. start[g + 1]:
 *
 *     index[4 t + j]           input j of tile t
 *     w[16 t + 4 o + j]        its weight for output 4 g + o
 *
 *     outputs 0..3 of 6 inputs      0 7 0 0 0 1
 *                                   0 0 0 2 0 0     inputs 1 3 5, start = {0, 1}, index = {1, 3, 5, 0},
 *                                   0 3 0 0 0 0     w = {7 0 1 0, 0 2 0 0, 3 0 0 0, 0 0 6 0}
 *                                   0 0 0 0 0 6
 *
 * Tokens lie along the lanes of a register. The kernels turn up to 64 (or 16) rows of activations so that an input's
 * values for all of these rows lie side by side, pick the four rows of a tile by index, interleave them to four bytes a
 * lane, and multiply with four weights broadcast to all lanes: one multiplication instruction for 16 rows, 4 inputs, 1
 * output.
 */
#ifndef WR_MODELS_KERNELS_SPARSE_H
#define WR_MODELS_KERNELS_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/kernels.h"

#define WR_SPARSE_OUTS 4 /* outputs in a block, inputs in a tile */

/* The share of zero blocks from which weights are better kept without them. Measured (BENCHMARKS.md): here 90 rows
 * go 1.2 to 2.5 times as fast as with the dense product, and a query of 8 tokens, which leaves lanes idle, 0.6 to 1.1
 * times; with 75 % it is 0.8 to 1.5. */
#define WR_SPARSE_FROM 0.65

/* An index has 16 bits. */
#define WR_SPARSE_MAX_IN 65536

typedef struct wr_s8_sparse {
    const uint32_t *start; /* [groups + 1], groups = (out + 3) / 4            */
    const uint16_t *index; /* [start[groups]][4]                              */
    const int8_t *w;       /* [start[groups]][4 outputs][4 inputs]            */
    const int32_t *sum;    /* [4 * groups] of an output's weights, for kernels with unsigned activations */
    const float *scale;    /* [out]                                           */
    const float *bias;     /* [out] or NULL                                   */
    size_t out, in;
} wr_s8_sparse;

/* The share of blocks of w [out, in] that are all zero: 0..1. Missing outputs of the last group count as zeros. */
double wr_s8_sparsity(const int8_t *w, size_t out, size_t in);

/* Bytes that w takes once packed, 0 when in is larger than WR_SPARSE_MAX_IN; and the packing into that many bytes
 * aligned to 64, which everything but scale and bias (the caller's business) then points into. */
size_t wr_s8_sparse_bytes(const int8_t *w, size_t out, size_t in);
void wr_s8_sparse_pack(const int8_t *w, size_t out, size_t in, void *memory, wr_s8_sparse *to);

/* Bytes that spmm_s8 needs beside its inputs, aligned to 64. */
size_t wr_s8_sparse_scratch(size_t in);

/* The plain C twin, which needs no scratch. */
void wr_spmm_s8_plain(const wr_s8_rows *x, size_t rows, const wr_s8_sparse *w, size_t from, size_t to, wr_s8_act act,
                      void *scratch, float *y, size_t y_stride);

/* In registers of 256 bits with the instructions of AVX-512 VNNI. */
void wr_spmm_s8_narrow(const wr_s8_rows *x, size_t rows, const wr_s8_sparse *w, size_t from, size_t to, wr_s8_act act,
                       void *scratch, float *y, size_t y_stride);

void wr_kernels_init_sparse_ref(wr_kernels *table);
void wr_kernels_init_avx2_sparse(wr_kernels *table);
void wr_kernels_init_avx2_vnni_sparse(wr_kernels *table);
void wr_kernels_init_avx2_vnni_evex_sparse(wr_kernels *table);
void wr_kernels_init_avx512_sparse(wr_kernels *table);

#endif
