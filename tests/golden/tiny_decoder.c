/* For tests/api/run: writes a decoder that any machine can run and nobody has trained (tests/testlib_decoder.h).
 *
 *     tiny_decoder DIR */
#include <stdio.h>

#include "tests/testlib_decoder.h"

int main(int argc, char **argv)
{
    const wr_test_decoder model = {.type = "qwen2", .seed = 3};
    if (argc != 2) {
        fputs("usage: tiny_decoder DIR\n", stderr);
        return 2;
    }
    wr_test_decoder_write(argv[1], &model);
    return 0;
}
