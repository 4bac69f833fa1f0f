#include "models/kernels_blocks_float.h"

void wr_block_kernels_avx512_float(wr_block_kernels *table)
{
    fill(table);
}
