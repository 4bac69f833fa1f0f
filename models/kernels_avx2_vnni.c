/* The VEX form of vpdpbusd: CPUs with AVX-VNNI and without AVX-512, such as Alder Lake. */
#include "models/kernels_avx2_s8.h"

void wr_kernels_init_avx2_vnni(wr_kernels *table)
{
    fill_s8(table);
}
