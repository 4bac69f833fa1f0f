#include <immintrin.h>

#include "models/kernels_sift.h"

static __m512i table_of(const uint8_t table[16])
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)table));
}

static void sift(const wr_sparse_sieve *sieve, const uint8_t *low, const uint8_t *high, size_t n, uint64_t *mask)
{
    const __m512i t0 = table_of(sieve->table[0]), t1 = table_of(sieve->table[1]), t2 = table_of(sieve->table[2]),
                  t3 = table_of(sieve->table[3]), nibble = _mm512_set1_epi8(15);
    for (size_t i = 0; i < n; i += 64) {
        __mmask64 there = n - i < 64 ? ((uint64_t)1 << (n - i)) - 1 : UINT64_MAX;
        __m512i l = _mm512_maskz_loadu_epi8(there, low + i), h = _mm512_maskz_loadu_epi8(there, high + i);
        __m512i a = _mm512_and_si512(_mm512_shuffle_epi8(t0, _mm512_and_si512(l, nibble)),
                                     _mm512_shuffle_epi8(t1, _mm512_and_si512(_mm512_srli_epi16(l, 4), nibble)));
        __m512i b = _mm512_and_si512(_mm512_shuffle_epi8(t2, _mm512_and_si512(h, nibble)),
                                     _mm512_shuffle_epi8(t3, _mm512_and_si512(_mm512_srli_epi16(h, 4), nibble)));
        mask[i / 64] = _mm512_mask_test_epi8_mask(there, a, b);
    }
}

static size_t select_u32(const uint32_t *x, size_t n, uint32_t least, uint32_t *out)
{
    const __m512i bound = _mm512_set1_epi32((int)least), sixteen = _mm512_set1_epi32(16);
    __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t count = 0;
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 there = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : (__mmask16)0xffff;
        __mmask16 found = _mm512_mask_cmpge_epu32_mask(there, _mm512_maskz_loadu_epi32(there, x + i), bound);
        /* compressed in a register: into memory it is slow on Zen 4 */
        _mm512_storeu_si512(out + count, _mm512_maskz_compress_epi32(found, place));
        count += (size_t)__builtin_popcount(found);
        place = _mm512_add_epi32(place, sixteen);
    }
    return count;
}

void wr_sparse_kernels_init_avx512(wr_sparse_kernels *table)
{
    table->isa = "avx512";
    table->sift = sift;
    table->select_u32 = select_u32;
}
