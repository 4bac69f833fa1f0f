#include "models/kernels_avx512_s8.h"

void wr_kernels_init_avx512_s8(wr_kernels *table)
{
    fill_s8(table);
}
