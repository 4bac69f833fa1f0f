/* The same source as kernels_blocks_avx2_vnni.c with the EVEX form of the instruction: for tests on CPUs with AVX-512
 * VNNI, which also take single short rows from here. */
#include "models/kernels_blocks_avx2.h"

void wr_block_gemm_narrow(const wr_blocks *w, const void *input, size_t rows, size_t from, size_t to, float *y,
                          size_t y_stride, void *scratch)
{
    gemm(w, input, rows, from, to, y, y_stride, scratch);
}

void wr_block_kernels_avx2_vnni_evex(wr_block_kernels *table)
{
    fill(table);
}
