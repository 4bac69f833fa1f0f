/* The same source as kernels_avxvnni.c with the EVEX form of the instruction, so that it can be tested on CPUs with
 * AVX-512 VNNI; never chosen. */
#include "models/kernels_s8_256.h"

void wr_kernels_init_avxvnni_evex(wr_kernels *table)
{
    fill_s8(table);
}
