#include "models/kernels_s8_256.h"

void wr_kernels_init_avx2_s8(wr_kernels *table)
{
    fill_s8(table);
}
