/* Blocks of weights: the floats that gguf-py makes of them, to the bit, and sizes that are refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/blocks.h"

/* tests/golden/blocks.bin, made by tests/golden/make_blocks.py: two rows of 256 of every type. */
Test(blocks, floats_are_those_of_gguf_py)
{
    FILE *file = fopen("tests/golden/blocks.bin", "rb");
    cr_assert_not_null(file);
    for (int type = 0; type < WR_BLOCK_TYPES; type++) {
        char name[8], data[2 * 1024];
        uint32_t shape[2];
        float want[512], got[256];
        size_t bytes;
        cr_assert(fread(name, 8, 1, file) && fread(shape, sizeof shape, 1, file));
        cr_assert_str_eq(name, wr_block_name(type));
        cr_assert(wr_blocks_bytes(type, shape[0], shape[1], &bytes));
        cr_assert(shape[0] == 2 && shape[1] == 256 && bytes <= sizeof data);
        cr_assert(fread(data, bytes, 1, file) && fread(want, sizeof want, 1, file));
        wr_blocks w = {type, data, 2, 256};
        for (size_t row = 0; row < 2; row++) {
            wr_blocks_row(&w, row, got);
            cr_assert_eq(memcmp(got, want + 256 * row, sizeof got), 0, "%s, row %zu", name, row);
        }
    }
    cr_assert_eq(fgetc(file), EOF);
    fclose(file);
}

Test(blocks, scales_that_are_no_numbers_are_passed_on)
{
    static const uint16_t bad[] = {0x7c00, 0xfc00, 0x7e00, 0xfd55};
    for (int type = WR_BLOCK_F16; type < WR_BLOCK_TYPES; type++)
        for (size_t i = 0; i < 4 && type != WR_BLOCK_BF16; i++) {
            uint8_t block[256];
            float out[256];
            memset(block, 0xff, sizeof block);
            memcpy(block + (type == WR_BLOCK_Q6_K ? 208 : 0), &bad[i], 2);
            wr_blocks w = {type, block, 1, wr_block_values(type)};
            wr_blocks_row(&w, 0, out);
            for (size_t j = 0; j < w.in; j++) cr_assert(!isfinite(out[j]), "%s", wr_block_name(type));
        }
}

Test(blocks, sizes_are_checked)
{
    size_t bytes = 0;
    cr_assert(wr_blocks_bytes(WR_BLOCK_Q4_K, 3, 512, &bytes) && bytes == 3 * 2 * 144);
    cr_assert(wr_blocks_bytes(WR_BLOCK_Q8_0, 0, 32, &bytes) && bytes == 0);
    cr_assert_not(wr_blocks_bytes(WR_BLOCK_Q8_0, 1, 33, &bytes));
    cr_assert_not(wr_blocks_bytes(WR_BLOCK_Q6_K, 1, 128, &bytes));
    cr_assert_not(wr_blocks_bytes(WR_BLOCK_Q8_0, SIZE_MAX / 8, 32 * 1024, &bytes));
    cr_assert_not(wr_blocks_bytes(WR_BLOCK_F32, SIZE_MAX / 8, SIZE_MAX / 8, &bytes));
    cr_assert_not(wr_blocks_bytes(WR_BLOCK_F32, 1, SIZE_MAX / 2, &bytes));
}
