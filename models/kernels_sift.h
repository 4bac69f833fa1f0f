/* Kernels of approximate sparse search (indexer/sparse_ann.h), chosen once per process as those of models/kernels.h are
 * (WEIR_ISA lowers them too): plain C, AVX2, AVX-512. Integers only, so all give the same. */
#ifndef WR_MODELS_KERNELS_SIFT_H
#define WR_MODELS_KERNELS_SIFT_H

#include <stddef.h>
#include <stdint.h>

/* The terms of a query, to sift a document's by: term t is in set s = its place in the query mod 8, and sets bit s of
 * table[i][nibble i of t] for i = 0..3. A term passes when the four bytes have a bit in common: all of the query's do,
 * and of others one in a hundred when the query is short. */
typedef struct wr_sparse_sieve {
    uint8_t table[4][16];
} wr_sparse_sieve;

/* Entries sifted by one call at most. */
#define WR_SIFT 512

typedef struct wr_sparse_kernels {
    const char *isa;
    /* Bit i % 64 of mask[i / 64] for 0 <= i < n <= WR_SIFT: whether low[i] | high[i] << 8 passes. Bits from n on are 0.
     * From low and from high, n rounded up to 32 bytes may be read. */
    void (*sift)(const wr_sparse_sieve *sieve, const uint8_t *low, const uint8_t *high, size_t n, uint64_t *mask);

    /* Appends every i with x[i] >= least to out, in order; returns their number. out has room for n rounded up to 16.
     */
    size_t (*select_u32)(const uint32_t *x, size_t n, uint32_t least, uint32_t *out);
} wr_sparse_kernels;

const wr_sparse_kernels *wr_sparse_kernels_get(void);

/* For tests: fills table for an ISA by name; 0 when this CPU lacks it. */
int wr_sparse_kernels_for(const char *isa, wr_sparse_kernels *table);

void wr_sparse_kernels_init_ref(wr_sparse_kernels *table);
void wr_sparse_kernels_init_avx2(wr_sparse_kernels *table);
void wr_sparse_kernels_init_avx512(wr_sparse_kernels *table);

#endif
