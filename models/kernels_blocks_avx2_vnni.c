/* The VEX form of vpdpbusd: CPUs with AVX-VNNI and without AVX-512. */
#include "models/kernels_blocks_avx2.h"

void wr_block_kernels_avx2_vnni(wr_block_kernels *table)
{
    fill(table);
}
