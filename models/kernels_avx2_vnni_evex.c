/* The same source as kernels_avx2_vnni.c with the EVEX form of the instruction, so that it can be tested on CPUs with
 * AVX-512 VNNI; never chosen. */
#include "models/kernels_avx2_s8.h"

void wr_kernels_init_avx2_vnni_evex(wr_kernels *table)
{
    fill_s8(table);
}
