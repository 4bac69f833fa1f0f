#include "models/kernels_avx2_sparse.h"

void wr_kernels_init_avx2_vnni_sparse(wr_kernels *table)
{
    table->spmm_s8 = spmm_s8;
}
