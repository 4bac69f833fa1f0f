#include "models/kernels_sift.h"

#include <pthread.h>
#include <string.h>

#include "models/kernels.h"

static void sift_ref(const wr_sparse_sieve *sieve, const uint8_t *low, const uint8_t *high, size_t n, uint64_t *mask)
{
    memset(mask, 0, (n + 63) / 64 * sizeof *mask);
    for (size_t i = 0; i < n; i++) {
        unsigned sets = sieve->table[0][low[i] & 15] & sieve->table[1][low[i] >> 4] & sieve->table[2][high[i] & 15] &
                        sieve->table[3][high[i] >> 4];
        mask[i / 64] |= (uint64_t)(sets != 0) << i % 64;
    }
}

static size_t select_ref(const uint32_t *x, size_t n, uint32_t least, uint32_t *out)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        out[count] = (uint32_t)i;
        count += x[i] >= least;
    }
    return count;
}

void wr_sparse_kernels_init_ref(wr_sparse_kernels *table)
{
    *table = (wr_sparse_kernels){"ref", sift_ref, select_ref};
}

/* The level is the one that models/kernels.c has found for this CPU. */
static void fill(const char *isa, wr_sparse_kernels *table)
{
    wr_sparse_kernels_init_ref(table);
    if (!strncmp(isa, "avx2", 4) || !strncmp(isa, "avx512", 6)) wr_sparse_kernels_init_avx2(table);
    if (!strncmp(isa, "avx512", 6)) wr_sparse_kernels_init_avx512(table);
}

int wr_sparse_kernels_for(const char *isa, wr_sparse_kernels *table)
{
    wr_kernels there;
    if (!wr_kernels_for(isa, &there)) return 0;
    fill(isa, table);
    return 1;
}

static wr_sparse_kernels chosen;

static void choose(void)
{
    fill(wr_kernels_get()->isa, &chosen);
}

const wr_sparse_kernels *wr_sparse_kernels_get(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
    return &chosen;
}
