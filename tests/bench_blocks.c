/* Products with blocks of a file: GOP/s of a prefill and GB/s of a generated token, by type and instruction set.
 *
 *     make bench                                  # everything, one thread
 *     build/release/tests/bench_blocks 512        # rows of the prefill
 *     build/release/tests/bench_blocks 512 avx2   # and one level of instructions
 *
 * Shapes of Qwen2.5-0.5B and of a decoder of 0.1 B. A multiplication and an addition are two operations; bytes are
 * those of the blocks, of which there are more than caches hold, as in a real model. The best of several rounds counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/budget.h"
#include "models/kernels_blocks.h"
#include "tests/testlib.h"

static const struct {
    size_t out, in;
} shapes[] = {{896, 896}, {4864, 896}, {896, 4864}, {768, 768}, {2048, 768}, {768, 2048}};

static const char *const isas[] = {"avx2_madd", "avx2_vnni", "avx512_vnni"};

enum { NSHAPES = sizeof shapes / sizeof *shapes, NISAS = sizeof isas / sizeof *isas };
enum { SWEEP = 64 << 20, ROUNDS = 7 }; /* bytes: twice the last cache of most CPUs */

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    return p ? memset(p, 0, bytes) : (abort(), NULL);
}

static double seconds_since(uint64_t start)
{
    return (double)(wr_clock_now(&wr_clock_system) - start) / 1e9;
}

/* Random bits with scales that are small numbers: every byte of a half's upper one is the same. */
static void fill(uint8_t *data, size_t bytes, wr_block_type type)
{
    wr_test_random random = {1};
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        uint64_t bits = wr_test_u64(&random);
        memcpy(data + i, &bits, 8);
    }
    size_t block = wr_block_bytes(type), at = type == WR_BLOCK_Q6_K ? 209 : 1;
    for (size_t i = 0; i + block <= bytes; i += block) {
        data[i + at] = 0x20;
        if (type == WR_BLOCK_Q4_K || type == WR_BLOCK_Q5_K) data[i + 3] = 0x20;
        if (type == WR_BLOCK_F32) data[i + 3] = 0x3c;
    }
}

typedef struct bench {
    const wr_block_kernels *k;
    wr_blocks w;
    void *input, *scratch;
    float *x, *y;
} bench;

static double seconds(const bench *b, const wr_blocks *w, size_t rows)
{
    bool quantized = wr_block_is_quantized(w->type);
    uint64_t start = wr_clock_now(&wr_clock_system);
    (quantized ? b->k->gemm : b->k->gemm_float)(w, b->input, rows, 0, w->out, b->y, w->out, b->scratch);
    return seconds_since(start);
}

/* One row with one matrix after the other, until memory has been swept; seconds of one. */
static double one_row(const bench *b, size_t bytes)
{
    double all = 0;
    size_t n = SWEEP / bytes;
    for (size_t i = 0; i < n; i++) {
        wr_blocks w = b->w;
        w.data = (const char *)b->w.data + i * bytes;
        all += seconds(b, &w, 1);
    }
    return all / (double)n;
}

static void measure(const wr_block_kernels *k, const void *data, wr_block_type type, size_t shape, size_t rows)
{
    bench b = {.k = k, .w = {type, data, shapes[shape].out, shapes[shape].in}};
    size_t bytes;
    if (!wr_blocks_bytes(type, b.w.out, b.w.in, &bytes)) return;
    b.input = memory(wr_block_input_bytes(&b.w, rows));
    b.scratch = memory(wr_block_scratch_bytes(&b.w));
    b.x = memory(rows * b.w.in * sizeof(float));
    b.y = memory(rows * b.w.out * sizeof(float));
    wr_test_random random = {2};
    for (size_t i = 0; i < rows * b.w.in; i++) b.x[i] = wr_test_normal(&random);
    double many = 1e9, one = 1e9, input = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = wr_clock_now(&wr_clock_system);
        wr_block_input(&b.w, b.x, b.w.in, rows, b.input);
        double s = seconds_since(start);
        input = s < input ? s : input;
        s = seconds(&b, &b.w, rows);
        many = s < many ? s : many;
        s = one_row(&b, bytes);
        one = s < one ? s : one;
    }
    double operations = 2 * (double)b.w.out * (double)b.w.in;
    printf("%-14s %-5s %5zu x %-5zu %8.1f GOP/s, inputs %4.1f %%   %6.2f GB/s %7.1f us a row\n", k->isa,
           wr_block_name(type), b.w.out, b.w.in, operations * (double)rows / many / 1e9, 100 * input / many,
           (double)bytes / one / 1e9, one * 1e6);
    free(b.input), free(b.scratch), free(b.x), free(b.y);
}

int main(int argc, char **argv)
{
    size_t rows = argc > 1 ? (size_t)atoi(argv[1]) : 512;
    uint8_t *data = memory(SWEEP + 64);
    for (int type = 0; type < WR_BLOCK_TYPES; type++) {
        if (argc > 3 && strcmp(argv[3], wr_block_name(type))) continue;
        fill(data, SWEEP, type);
        for (size_t i = 0; i < NISAS; i++) {
            wr_block_kernels k;
            if ((argc > 2 && strcmp(isas[i], argv[2])) || !wr_block_kernels_for(isas[i], &k)) continue;
            for (size_t shape = 0; shape < NSHAPES; shape++) measure(&k, data, type, shape, rows);
        }
    }
    free(data);
    return 0;
}
