/* The bf16 product: the twin in plain C within the stated tolerance of the formula in double precision, over odd sizes,
 * and so the instruction where this CPU has it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels.h"
#include "tests/testlib.h"

static float *numbers(wr_test_random *random, size_t n)
{
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; i <= n; i++) x[i] = wr_test_normal(random);
    return x;
}

/* bf16 by arithmetic instead of bits: 8 bits of mantissa, to nearest even. */
static double rounded(float x)
{
    int exponent;
    double mantissa = frexp(x, &exponent);
    return ldexp(nearbyint(ldexp(mantissa, 8)), exponent - 8);
}

static wr_kernels twin(void)
{
    wr_kernels table;
    cr_assert(wr_kernels_for("ref", &table));
    wr_kernels_init_ref_bf16(&table);
    return table;
}

/* The table with the instruction; the test is skipped where there is none. */
static wr_kernels best(void)
{
    wr_kernels table;
    if (!wr_kernels_for("avx512_vnni", &table) || !table.gemm_bf16) cr_skip_test("this CPU has no AVX512-BF16");
    return table;
}

static uint16_t *packed(const float *w, size_t out, size_t in)
{
    uint16_t *to = malloc(wr_kernels_packed_bf16(out, in) * sizeof *to);
    wr_kernels_pack_bf16(w, out, in, to);
    return to;
}

static void check(const wr_kernels *k, size_t rows, size_t in, size_t out)
{
    wr_test_random random = {rows * 1000003 + in * 1009 + out};
    size_t x_stride = in + 5, y_stride = out + 3;
    float *x = numbers(&random, rows * x_stride), *w = numbers(&random, out * in);
    float *y = numbers(&random, rows * y_stride), *before = malloc((rows * y_stride + 1) * sizeof *before);
    memcpy(before, y, (rows * y_stride + 1) * sizeof *before);
    uint16_t *p = packed(w, out, in);
    k->gemm_bf16(x, x_stride, rows, in, p, out, y, y_stride);
    for (size_t r = 0; r < rows; r++) {
        for (size_t o = 0; o < out; o++) {
            double near = 0, near_size = 0, want = 0, size = 0;
            for (size_t i = 0; i < in; i++) {
                double a = rounded(x[r * x_stride + i]) * rounded(w[o * in + i]);
                double b = (double)x[r * x_stride + i] * w[o * in + i];
                near += a, near_size += fabs(a), want += b, size += fabs(b);
            }
            float got = y[r * y_stride + o];
            cr_assert_leq(fabs(got - near), 1e-6 * near_size,
                          "%s, %zu rows, %zu -> %zu: row %zu, output %zu: %g for %g", k->isa, rows, in, out, r, o, got,
                          near);
            cr_assert_leq(fabs(got - want), 8e-3 * size);
        }
        cr_assert_eq(memcmp(y + r * y_stride + out, before + r * y_stride + out, 3 * sizeof *y), 0);
    }
    cr_assert_eq(memcmp(y + rows * y_stride, before + rows * y_stride, sizeof *y), 0);
    free(x), free(w), free(y), free(before), free(p);
}

static void check_sizes(const wr_kernels *k)
{
    static const size_t widths[] = {1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 65, 129, 385, 511, 1030};
    enum { NWIDTHS = sizeof widths / sizeof *widths };
    for (size_t rows = 0; rows <= 26; rows++) check(k, rows, 37, 40);
    for (size_t i = 0; i < NWIDTHS; i++) check(k, 5, widths[i], widths[NWIDTHS - 1 - i]);
    check(k, 13, 1536, 100);
}

Test(kernels_bf16, the_twin_is_within_its_tolerance)
{
    wr_kernels k = twin();
    check_sizes(&k);
}

Test(kernels_bf16, the_instruction_is_within_its_tolerance)
{
    wr_kernels k = best();
    check_sizes(&k);
}

Test(kernels_bf16, a_row_has_the_same_bits_in_every_batch)
{
    enum { ROWS = 40, IN = 700, OUT = 70 };
    wr_kernels k = best();
    wr_test_random random = {3};
    float *x = numbers(&random, ROWS * IN), *w = numbers(&random, OUT * IN), one[OUT];
    float *y = malloc(sizeof *y * ROWS * OUT);
    uint16_t *p = packed(w, OUT, IN);
    for (size_t rows = 1; rows <= ROWS; rows++) {
        k.gemm_bf16(x, IN, rows, IN, p, OUT, y, OUT);
        for (size_t r = 0; r < rows; r++) {
            k.gemm_bf16(x + r * IN, IN, 1, IN, p, OUT, one, OUT);
            cr_assert_eq(memcmp(one, y + r * OUT, sizeof one), 0, "row %zu of %zu", r, rows);
        }
    }
    free(x), free(w), free(y), free(p);
}

static void check_max(const wr_kernels *k, size_t rows, size_t in, size_t out, bool with_bias)
{
    wr_test_random random = {rows * 77 + in * 5 + out};
    float *x = numbers(&random, rows * (in + 1)), *w = numbers(&random, out * in), *y = numbers(&random, rows * out);
    float *bias = numbers(&random, out), *got = numbers(&random, out), after = got[out];
    uint16_t *p = packed(w, out, in);
    k->gemm_bf16(x, in + 1, rows, in, p, out, y, out);
    k->gemm_max_bf16(x, in + 1, rows, in, p, out, with_bias ? bias : NULL, got);
    for (size_t o = 0; o < out; o++) {
        float want = y[o];
        for (size_t r = 1; r < rows; r++) want = y[r * out + o] > want ? y[r * out + o] : want;
        if (with_bias) want += bias[o];
        cr_assert_eq(got[o], want, "%s, %zu rows, %zu -> %zu: output %zu", k->isa, rows, in, out, o);
    }
    cr_assert_eq(got[out], after);
    free(x), free(w), free(y), free(bias), free(got), free(p);
}

static void check_maxima(const wr_kernels *k)
{
    for (size_t rows = 1; rows <= 26; rows++) check_max(k, rows, 37, 40, rows % 2);
    for (size_t out = 1; out <= 140; out += 9) check_max(k, 14, 66, out, out % 2);
    check_max(k, 30, 800, 33, true);
}

Test(kernels_bf16, the_maximum_over_rows_is_that_of_the_product)
{
    wr_kernels plain = twin();
    check_maxima(&plain);
    wr_kernels k = best();
    check_maxima(&k);
}

Test(kernels_bf16, a_level_without_the_instruction_has_no_product)
{
    static const char *const isas[] = {"ref", "avx2", "avx512"};
    wr_kernels k;
    for (size_t i = 0; i < 3; i++)
        if (wr_kernels_for(isas[i], &k)) cr_assert_null(k.gemm_bf16);
}
