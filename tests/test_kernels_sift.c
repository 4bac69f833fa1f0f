#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels_sift.h"
#include "tests/testlib.h"

static const char *const isas[] = {"avx2", "avx512"};
static const size_t sizes[] = {0, 1, 7, 31, 32, 33, 63, 64, 65, 127, 129, 300, 511, WR_SIFT};

static wr_sparse_sieve sieve_random(wr_test_random *random, size_t nterms)
{
    wr_sparse_sieve sieve = {0};
    for (size_t i = 0; i < nterms; i++) {
        size_t term = wr_test_below(random, 65536);
        for (unsigned j = 0; j < 4; j++) sieve.table[j][term >> 4 * j & 15] |= (uint8_t)(1u << i % 8);
    }
    return sieve;
}

Test(kernels_sift, sift_is_the_same_on_every_isa)
{
    wr_test_random random = {1};
    wr_sparse_kernels ref, other;
    wr_sparse_kernels_init_ref(&ref);
    for (size_t isa = 0; isa < 2; isa++) {
        if (!wr_sparse_kernels_for(isas[isa], &other)) continue;
        for (size_t s = 0; s < 14; s++) {
            for (size_t nterms = 0; nterms < 60; nterms += 7) {
                uint8_t low[WR_SIFT + 32], high[WR_SIFT + 32];
                uint64_t want[WR_SIFT / 64] = {0}, got[WR_SIFT / 64] = {0};
                wr_sparse_sieve sieve = sieve_random(&random, nterms);
                for (size_t i = 0; i < sizeof low; i++) {
                    low[i] = (uint8_t)wr_test_below(&random, 256);
                    high[i] = (uint8_t)wr_test_below(&random, 256);
                }
                ref.sift(&sieve, low, high, sizes[s], want);
                other.sift(&sieve, low, high, sizes[s], got);
                cr_assert(memcmp(want, got, sizeof want) == 0, "%s, %zu entries", isas[isa], sizes[s]);
            }
        }
    }
}

Test(kernels_sift, sift_passes_every_term_of_the_query)
{
    wr_test_random random = {2};
    const wr_sparse_kernels *kernels = wr_sparse_kernels_get();
    for (int round = 0; round < 200; round++) {
        uint8_t low[64], high[64];
        uint64_t mask;
        wr_sparse_sieve sieve = {0};
        for (size_t i = 0; i < 32; i++) {
            size_t term = wr_test_below(&random, 65536);
            low[i] = (uint8_t)term;
            high[i] = (uint8_t)(term >> 8);
            for (unsigned j = 0; j < 4; j++) sieve.table[j][term >> 4 * j & 15] |= (uint8_t)(1u << i % 8);
        }
        kernels->sift(&sieve, low, high, 32, &mask);
        cr_assert_eq(mask, UINT32_MAX);
    }
}

Test(kernels_sift, select_is_the_same_on_every_isa)
{
    wr_test_random random = {3};
    wr_sparse_kernels ref, other;
    wr_sparse_kernels_init_ref(&ref);
    for (size_t isa = 0; isa < 2; isa++) {
        if (!wr_sparse_kernels_for(isas[isa], &other)) continue;
        for (size_t s = 0; s < 14; s++) {
            uint32_t x[WR_SIFT + 16], want[WR_SIFT + 16], got[WR_SIFT + 16];
            for (size_t i = 0; i < WR_SIFT + 16; i++)
                x[i] = (uint32_t)wr_test_u64(&random) >> wr_test_below(&random, 32);
            uint32_t least = (uint32_t)wr_test_u64(&random) >> wr_test_below(&random, 32);
            size_t n = ref.select_u32(x, sizes[s], least, want);
            cr_assert_eq(other.select_u32(x, sizes[s], least, got), n);
            cr_assert(memcmp(want, got, n * sizeof *want) == 0);
        }
    }
}
