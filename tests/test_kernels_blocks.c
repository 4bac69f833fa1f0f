/* Products with blocks on every instruction set that this CPU has: the bits of the plain C twin at odd sizes, whatever
 * else is multiplied with them, and the twin close to the product of the floats. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels_blocks.h"
#include "tests/testlib.h"

static const char *const isas[] = {"ref", "avx2", "avx512", "avx512_vnni", "avx2_madd", "avx2_vnni", "avx2_vnni_evex"};

#define FOR_EACH_ISA(k)                                                                                                \
    wr_block_kernels k;                                                                                                \
    for (size_t isa_ = 0; isa_ < sizeof isas / sizeof *isas; isa_++)                                                   \
        if (wr_block_kernels_for(isas[isa_], &k))

static wr_block_kernels ref(void)
{
    wr_block_kernels table;
    cr_assert(wr_block_kernels_for("ref", &table));
    return table;
}

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    cr_assert_not_null(p);
    return memset(p, 77, bytes);
}

/* Any bits but in the scales, which are halves of 2^-14 .. 2^1, some subnormal, some zero. Exact size, so that reading
 * too far is seen by a sanitizer. */
static wr_blocks random_blocks(wr_test_random *random, wr_block_type type, size_t out, size_t in)
{
    size_t bytes, block = wr_block_bytes(type);
    cr_assert(wr_blocks_bytes(type, out, in, &bytes));
    uint8_t *data = malloc(bytes);
    for (size_t i = 0; i < bytes; i++) data[i] = (uint8_t)wr_test_u64(random);
    for (size_t b = 0; b < bytes / block; b++) {
        uint8_t *at = data + b * block;
        if (type == WR_BLOCK_F32) {
            float v = wr_test_normal(random);
            memcpy(at, &v, 4);
        } else if (type == WR_BLOCK_BF16 || type == WR_BLOCK_F16)
            at[1] = (uint8_t)((at[1] & 0x83) | 0x38);
        else {
            size_t halves = type == WR_BLOCK_Q4_K || type == WR_BLOCK_Q5_K ? 2 : 1;
            for (size_t h = 0; h < halves; h++) {
                uint8_t *d = at + (type == WR_BLOCK_Q6_K ? 208 : 0) + 2 * h;
                unsigned kind = (unsigned)wr_test_below(random, 8);
                if (kind > 1)
                    d[1] &= 0xbf; /* not the largest exponents */
                else
                    d[1] &= kind ? 0x83 : 0x80;
                if (!kind) d[0] = 0;
            }
        }
    }
    return (wr_blocks){type, data, out, in};
}

static float *random_rows(wr_test_random *random, size_t rows, size_t stride, size_t in)
{
    float *x = malloc(rows * stride * sizeof *x);
    for (size_t i = 0; i < rows * stride; i++) x[i] = 3 * wr_test_normal(random);
    for (size_t i = 0; i < in && i < 32 && rows > 1; i++) x[stride + i] = 0;
    for (size_t i = 0; i < in && i < 32 && rows > 2; i++) x[2 * stride + i] *= 1e-39f;
    return x;
}

static void product(const wr_block_kernels *k, const wr_blocks *w, const void *input, size_t rows, size_t from,
                    size_t to, float *y, size_t y_stride)
{
    void *scratch = memory(wr_block_scratch_bytes(w));
    (wr_block_is_quantized(w->type) ? k->gemm : k->gemm_float)(w, input, rows, from, to, y, y_stride, scratch);
    free(scratch);
}

/* Everything a product's result might depend on and must not: the instruction set, other rows, the range of outputs. */
static void check(const wr_block_kernels *k, wr_block_type type, size_t rows, size_t out, size_t in)
{
    wr_test_random random = {(uint64_t)type * 1000003 + rows * 1009 + out * 31 + in};
    wr_block_kernels plain = ref();
    wr_blocks w = random_blocks(&random, type, out, in);
    size_t stride = in + 3, y_stride = out + 5, bytes = wr_block_input_bytes(&w, rows);
    float *x = random_rows(&random, rows, stride, in);
    char *input = memory(bytes), *want_input = memory(bytes);
    if (wr_block_is_quantized(type)) {
        memset(input, 0, bytes);
        k->input(&w, x, stride, rows, input);
        plain.input(&w, x, stride, rows, want_input);
        cr_assert_eq(memcmp(input, want_input, bytes), 0, "%s %s: inputs, %zu rows of %zu", k->isa, wr_block_name(type),
                     rows, in);
    } else
        wr_block_input(&w, x, stride, rows, input);
    float *want = memory(rows * y_stride * sizeof *want), *got = memory(rows * y_stride * sizeof *got);
    product(&plain, &w, input, rows, 0, out, want, y_stride);
    product(k, &w, input, rows, 0, out, got, y_stride);
    cr_assert_eq(memcmp(got, want, rows * y_stride * sizeof *want), 0, "%s %s: %zu rows, %zu x %zu", k->isa,
                 wr_block_name(type), rows, out, in);
    memset(got, 77, rows * y_stride * sizeof *got);
    size_t middle = out / 3, row = wr_block_input_bytes(&w, 1);
    product(k, &w, input, rows, middle, out, got, y_stride);
    for (size_t r = 0; r < rows; r++) product(k, &w, input + r * row, 1, 0, middle, got + r * y_stride, y_stride);
    cr_assert_eq(memcmp(got, want, rows * y_stride * sizeof *want), 0, "%s %s: %zu rows, %zu x %zu in parts", k->isa,
                 wr_block_name(type), rows, out, in);
    free((void *)(uintptr_t)w.data), free(x), free(input), free(want_input), free(want), free(got);
}

Test(kernels_blocks, products_are_the_same_on_every_isa)
{
    static const size_t rows[] = {1, 2, 3, 4, 5, 6, 7, 17}, outs[] = {1, 7, 16, 33, 70};
    FOR_EACH_ISA(k)
    for (int type = 0; type < WR_BLOCK_TYPES; type++)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
            for (size_t o = 0; o < sizeof outs / sizeof *outs; o++)
                for (size_t in = 32; in <= 1056; in += in < 128 ? 32 : 464)
                    if (in % wr_block_values(type) == 0) check(&k, type, rows[r], outs[o], in);
}

Test(kernels_blocks, k_quants_of_several_blocks_too)
{
    FOR_EACH_ISA(k)
    for (int type = WR_BLOCK_Q8_0; type < WR_BLOCK_TYPES; type++)
        for (size_t in = 256; in <= 1280; in += 256) check(&k, type, 9, 37, in), check(&k, type, 1, 37, in);
}

/* The rounding of activations is all that a product may lose: half a step of each times the weight. */
Test(kernels_blocks, products_are_those_of_the_floats)
{
    wr_block_kernels k = ref();
    for (int type = 0; type < WR_BLOCK_TYPES; type++) {
        enum { ROWS = 3, OUT = 5, IN = 768 };
        wr_test_random random = {(uint64_t)type};
        wr_blocks w = random_blocks(&random, type, OUT, IN);
        float *x = random_rows(&random, ROWS, IN, IN), y[ROWS * OUT], row[IN];
        void *input = memory(wr_block_input_bytes(&w, ROWS));
        wr_block_input(&w, x, IN, ROWS, input);
        product(&k, &w, input, ROWS, 0, OUT, y, OUT);
        for (size_t o = 0; o < OUT; o++) {
            wr_blocks_row(&w, o, row);
            for (size_t r = 0; r < ROWS; r++) {
                double want = 0, loss = 0, all = 0;
                for (size_t i = 0; i < IN; i++) {
                    double max = 0;
                    for (size_t j = i / 32 * 32; j < i / 32 * 32 + 32; j++) max = fmax(max, fabsf(x[r * IN + j]));
                    want += (double)x[r * IN + i] * row[i];
                    all += fabs((double)x[r * IN + i] * row[i]);
                    loss += fabs(row[i]) * max / 127 * 0.501;
                }
                /* sums and minima are added up in fp32: terms of Q4_K reach a multiple of what is left of them */
                double limit = (wr_block_is_quantized(type) ? loss : 0) + 1e-5 * all;
                cr_assert_leq(fabs(want - y[r * OUT + o]), limit, "%s: %g, %g", wr_block_name(type), want,
                              y[r * OUT + o]);
            }
        }
        free((void *)(uintptr_t)w.data), free(x), free(input);
    }
}

Test(kernels_blocks, what_is_no_number_does_no_harm)
{
    FOR_EACH_ISA(k)
    for (int type = WR_BLOCK_Q8_0; type < WR_BLOCK_TYPES; type++) {
        enum { ROWS = 3, OUT = 5, IN = 256 };
        uint8_t data[OUT * 8 * 34 + 1024];
        memset(data, 0xff, sizeof data); /* scales are NaN */
        wr_blocks w = {type, data, OUT, IN};
        float x[ROWS * IN] = {NAN, INFINITY, -INFINITY}, y[ROWS * OUT];
        x[IN] = 1e38f, x[IN + 40] = 1;
        void *input = memory(wr_block_input_bytes(&w, ROWS));
        k.input(&w, x, IN, ROWS, input);
        product(&k, &w, input, ROWS, 0, OUT, y, OUT);
        product(&k, &w, input, 1, 0, OUT, y, OUT);
        for (size_t o = 0; o < OUT; o++) cr_assert(!isfinite(y[o]));
        free(input);
    }
}
