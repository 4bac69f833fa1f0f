#include <immintrin.h>
#include <string.h>

#include "models/kernels_sift.h"

static __m256i table_of(const uint8_t table[16])
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table));
}

static void sift(const wr_sparse_sieve *sieve, const uint8_t *low, const uint8_t *high, size_t n, uint64_t *mask)
{
    const __m256i t0 = table_of(sieve->table[0]), t1 = table_of(sieve->table[1]), t2 = table_of(sieve->table[2]),
                  t3 = table_of(sieve->table[3]), nibble = _mm256_set1_epi8(15);
    memset(mask, 0, (n + 63) / 64 * sizeof *mask);
    for (size_t i = 0; i < n; i += 32) {
        __m256i l = _mm256_loadu_si256((const __m256i *)(const void *)(low + i));
        __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)(high + i));
        __m256i a = _mm256_and_si256(_mm256_shuffle_epi8(t0, _mm256_and_si256(l, nibble)),
                                     _mm256_shuffle_epi8(t1, _mm256_and_si256(_mm256_srli_epi16(l, 4), nibble)));
        __m256i b = _mm256_and_si256(_mm256_shuffle_epi8(t2, _mm256_and_si256(h, nibble)),
                                     _mm256_shuffle_epi8(t3, _mm256_and_si256(_mm256_srli_epi16(h, 4), nibble)));
        __m256i none = _mm256_cmpeq_epi8(_mm256_and_si256(a, b), _mm256_setzero_si256());
        uint32_t bits = ~(uint32_t)_mm256_movemask_epi8(none);
        if (n - i < 32) bits &= ((uint32_t)1 << (n - i)) - 1;
        mask[i / 64] |= (uint64_t)bits << i % 64;
    }
}

void wr_sparse_kernels_init_avx2(wr_sparse_kernels *table)
{
    table->isa = "avx2";
    table->sift = sift;
}
