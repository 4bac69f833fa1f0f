/* The EVEX form of kernels_avx2_vnni_sparse.c: for tests on CPUs without AVX-VNNI, and for few rows with AVX-512. */
#include "models/kernels_avx2_sparse.h"

void wr_kernels_init_avx2_vnni_evex_sparse(wr_kernels *table)
{
    table->spmm_s8 = spmm_s8;
}

void wr_spmm_s8_narrow(const wr_s8_rows *x, size_t rows, const wr_s8_sparse *w, size_t from, size_t to, wr_s8_act act,
                       void *scratch, float *y, size_t y_stride)
{
    spmm_s8(x, rows, w, from, to, act, scratch, y, y_stride);
}
