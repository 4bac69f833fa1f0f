#include "models/kernels_blocks_avx2.h"

void wr_block_kernels_avx2(wr_block_kernels *table)
{
    fill(table);
}
