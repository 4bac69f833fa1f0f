/* The VEX form of vpdpbusd: CPUs with AVX-VNNI and without AVX-512, such as Alder Lake. */
#include "models/kernels_s8_256.h"

void wr_kernels_init_avxvnni(wr_kernels *table)
{
    fill_s8(table);
}
