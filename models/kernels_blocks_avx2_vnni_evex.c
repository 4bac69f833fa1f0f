/* The same source as kernels_blocks_avx2_vnni.c with the EVEX form of the instruction, for tests on CPUs with AVX-512
 * VNNI. */
#include "models/kernels_blocks_avx2.h"

void wr_block_kernels_avx2_vnni_evex(wr_block_kernels *table)
{
    fill(table);
}
