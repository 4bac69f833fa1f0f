#include "models/kernels_s8_512.h"

void wr_kernels_init_vnni(wr_kernels *table)
{
    fill_s8(table);
}
