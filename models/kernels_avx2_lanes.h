/* What the files for 256-bit registers share: private to them. */
#ifndef WR_MODELS_KERNELS_AVX2_LANES_H
#define WR_MODELS_KERNELS_AVX2_LANES_H

#include <immintrin.h>
#include <stddef.h>

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline))

/* Mask of the first n of 8 lanes (n may be more). */
INLINE __m256i first(size_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n < 8 ? (int)n : 8), lane);
}

/* The first n of 8 lanes at p (n may be more), zeros beyond. Masked moves are slow on some CPUs, so only the tail's. */
INLINE __m256 load(const float *p, size_t n)
{
    return n >= 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, first(n));
}

INLINE void store(float *p, size_t n, __m256 v)
{
    if (n >= 8)
        _mm256_storeu_ps(p, v);
    else
        _mm256_maskstore_ps(p, first(n), v);
}

/* Rows of 8 numbers become columns. */
INLINE void transpose(__m256i r[8])
{
    __m256i t[8];
    UNROLL for (size_t i = 0; i < 8; i += 2)
    {
        t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
    UNROLL for (size_t i = 0; i < 8; i += 4)
    {
        r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    UNROLL for (size_t i = 0; i < 4; i++)
    {
        __m256i low = r[i], high = r[i + 4];
        r[i] = _mm256_permute2x128_si256(low, high, 0x20);
        r[i + 4] = _mm256_permute2x128_si256(low, high, 0x31);
    }
}

#endif
