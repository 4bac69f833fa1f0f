/* The kernel table: each kernel's formula, shapes and tolerance. Chosen once per process; WEIR_ISA=ref|avx2|avx512
 * lowers it. kernels_ref.c defines every kernel in plain C.
 *
 * The dot products use one fixed tree on every instruction set: 64 partial sums s[j] = fma(a[i+j], b[i+j], s[j]), the
 * tail (n mod 64) masked with zeros, then halved 64 -> 32 -> ... -> 1 by s[j] += s[j + half]. All tables therefore give
 * the same bits, so an index searched on another machine ranks the same.
 */
#ifndef WR_MODELS_KERNELS_H
#define WR_MODELS_KERNELS_H

#include <stddef.h>

typedef struct wr_kernels {
    const char *isa; /* "ref", "avx2", "avx512" */
    /* sum_i a[i] * b[i], in the order above: bit-identical on every ISA. */
    float (*dot_f32)(const float *a, const float *b, size_t n);
    /* y[r] = dot(x[r * dim ..], q) for 0 <= r < rows. */
    void (*dots_f32)(const float *x, size_t rows, size_t dim, const float *q, float *y);
} wr_kernels;

/* The table for this CPU; the same pointer for the life of the process. */
const wr_kernels *wr_kernels_get(void);

/* Fills a table for one level ("ref", "avx2", "avx512"), for tests; false when this CPU has not got it. */
int wr_kernels_for(const char *isa, wr_kernels *table);

void wr_kernels_init_ref(wr_kernels *table);
void wr_kernels_init_avx2(wr_kernels *table);
void wr_kernels_init_avx512(wr_kernels *table);

#endif
