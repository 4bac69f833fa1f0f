/* Every kernel on every instruction set that this CPU has: the same bits as the plain C twin at odd sizes, and the twin
 * within the stated tolerance of the formula in double precision. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels.h"
#include "tests/testlib.h"

static const char *const isas[] = {"ref", "avx2", "avx512", "avx512_vnni"};
static const size_t sizes[] = {0,  1,  2,  7,  8,   9,   15,  16,  17,  31,  32,
                               33, 63, 64, 65, 100, 127, 128, 129, 384, 768, 1023};

enum { NISAS = 4, NSIZES = sizeof sizes / sizeof *sizes, ROWS = 3, MOST = 1023 };

/* Fills n floats, one more than asked for: a kernel that writes too far changes the last. */
static float *numbers(wr_test_random *random, size_t n, float scale)
{
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; i <= n; i++) x[i] = scale * wr_test_normal(random);
    return x;
}

static float *copy(const float *x, size_t n)
{
    float *y = malloc((n + 1) * sizeof *y);
    memcpy(y, x, (n + 1) * sizeof *y);
    return y;
}

#define FOR_EACH_ISA(k)                                                                                                \
    wr_kernels k;                                                                                                      \
    for (int isa_ = 0; isa_ < NISAS; isa_++)                                                                           \
        if (wr_kernels_for(isas[isa_], &k))

static wr_kernels ref(void)
{
    wr_kernels table;
    cr_assert(wr_kernels_for("ref", &table));
    return table;
}

Test(kernels, the_table_is_chosen_once_and_named)
{
    const wr_kernels *table = wr_kernels_get();
    cr_assert_eq(table, wr_kernels_get());
    cr_assert(!strcmp(table->isa, "ref") || !strcmp(table->isa, "avx2") || !strncmp(table->isa, "avx512", 6));
}

Test(kernels, WEIR_ISA_lowers_the_level)
{
    setenv("WEIR_ISA", "ref", 1);
    cr_assert_str_eq(wr_kernels_get()->isa, "ref");
}

Test(kernels, a_level_that_does_not_exist_is_refused)
{
    wr_kernels table;
    cr_assert(!wr_kernels_for("avx1024", &table));
}

/* The tree of models/kernels.h, written down once more in the slowest way. */
static float tree(const float *a, const float *b, size_t n)
{
    float s[64] = {0};
    for (size_t i = 0; i < n; i++) s[i % 64] = fmaf(a[i], b[i], s[i % 64]);
    for (size_t half = 32; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++) s[j] += s[j + half];
    return s[0];
}

Test(kernels, dot_has_the_same_bits_on_every_isa)
{
    wr_test_random random = {1};
    float *a = numbers(&random, MOST + 1, 1), *b = numbers(&random, MOST + 1, 1);
    FOR_EACH_ISA(k)
    for (size_t i = 0; i < NSIZES; i++)
        for (size_t shift = 0; shift < 2; shift++) { /* aligned or not */
            float got = k.dot_f32(a + shift, b, sizes[i]), want = tree(a + shift, b, sizes[i]);
            cr_assert(memcmp(&got, &want, sizeof got) == 0, "%s, n %zu: %a, expected %a", k.isa, sizes[i], got, want);
        }
    free(a);
    free(b);
}

Test(kernels, dot_is_within_its_tolerance)
{
    wr_test_random random = {2};
    float *a = numbers(&random, MOST, 1), *b = numbers(&random, MOST, 1);
    double sum = 0, magnitude = 0;
    for (size_t i = 0; i < MOST; i++) {
        sum += (double)a[i] * b[i];
        magnitude += fabs((double)a[i] * b[i]);
    }
    cr_assert_lt(fabs(ref().dot_f32(a, b, MOST) - sum), 1e-6 * magnitude);
    free(a);
    free(b);
}

Test(kernels, dots_are_dot_of_each_row)
{
    wr_test_random random = {3};
    float *x = numbers(&random, 5 * MOST, 1), *q = numbers(&random, MOST, 1);
    FOR_EACH_ISA(k)
    for (size_t i = 0; i < NSIZES; i++) {
        float y[6] = {0, 0, 0, 0, 0, 7};
        k.dots_f32(x, 5, sizes[i], q, y);
        for (size_t r = 0; r < 5; r++) cr_assert_eq(y[r], tree(x + r * sizes[i], q, sizes[i]));
        cr_assert_eq(y[5], 7);
    }
    free(x);
    free(q);
}

typedef void (*biased)(float *y, const float *bias, size_t rows, size_t n);

static biased biased_kernel(const wr_kernels *k, int which)
{
    return which == 0 ? k->bias_f32 : which == 1 ? k->bias_gelu_f32 : k->bias_relu_f32;
}

Test(kernels, bias_gelu_and_relu_have_the_same_bits_on_every_isa)
{
    wr_kernels plain = ref();
    FOR_EACH_ISA(k)
    for (int which = 0; which < 3; which++)
        for (size_t i = 0; i < NSIZES; i++) {
            wr_test_random random = {4 + i};
            size_t n = sizes[i];
            float *y = numbers(&random, ROWS * n, 3), *bias = numbers(&random, n, 1), *want = copy(y, ROWS * n);
            biased_kernel(&k, which)(y, bias, ROWS, n);
            biased_kernel(&plain, which)(want, bias, ROWS, n);
            cr_assert(memcmp(y, want, (ROWS * n + 1) * sizeof *y) == 0, "%s, kernel %d, n %zu", k.isa, which, n);
            free(y);
            free(bias);
            free(want);
        }
}

Test(kernels, gelu_is_within_its_tolerance)
{
    enum { N = 400001 };
    float *y = malloc(N * sizeof *y), *bias = calloc(N, sizeof *bias);
    for (size_t i = 0; i < N; i++) y[i] = -20 + 40.0f * (float)i / N;
    float *x = malloc(N * sizeof *x);
    memcpy(x, y, N * sizeof *x);
    wr_kernels_get()->bias_gelu_f32(y, bias, 1, N);
    for (size_t i = 0; i < N; i++) {
        double v = x[i], want = 0.5 * v * (1 + erf(v * M_SQRT1_2)), limit = 1e-7 * fmax(1, fabs(v));
        cr_assert_lt(fabs(y[i] - want), limit, "x %g: %g, expected %g", v, y[i], want);
    }
    free(x);
    free(y);
    free(bias);
}

Test(kernels, gelu_of_large_numbers_is_the_number_or_nothing)
{
    float y[4] = {-1000, 1000, 0, 3e38f}, bias[4] = {0};
    wr_kernels_get()->bias_gelu_f32(y, bias, 1, 4);
    cr_assert(fabsf(y[0]) < 1e-8f && y[1] == 1000 && y[2] == 0 && y[3] == 3e38f);
}

Test(kernels, silu_times_has_the_same_bits_on_every_isa)
{
    wr_kernels plain = ref();
    FOR_EACH_ISA(k)
    for (size_t i = 0; i < NSIZES; i++) {
        wr_test_random random = {14 + i};
        size_t n = sizes[i];
        float *y = numbers(&random, n, 30), *by = numbers(&random, n, 2), *want = copy(y, n);
        k.silu_times_f32(y, by, n);
        plain.silu_times_f32(want, by, n);
        cr_assert(memcmp(y, want, (n + 1) * sizeof *y) == 0, "%s, n %zu", k.isa, n);
        free(y);
        free(by);
        free(want);
    }
}

Test(kernels, silu_times_is_within_its_tolerance)
{
    enum { N = 400001 };
    float *y = malloc(N * sizeof *y), *by = malloc(N * sizeof *by), *x = malloc(N * sizeof *x);
    for (size_t i = 0; i < N; i++) {
        x[i] = y[i] = -87 + 174.0f * (float)i / N;
        by[i] = 1 + (float)(i % 7);
    }
    wr_kernels_get()->silu_times_f32(y, by, N);
    for (size_t i = 0; i < N; i++) {
        double v = x[i], want = v / (1 + exp(-v)) * by[i];
        cr_assert_leq(fabs(y[i] - want), 1e-6 * fabs(want), "x %g: %g, expected %g", v, y[i], want);
    }
    free(x);
    free(y);
    free(by);
}

Test(kernels, silu_times_of_large_numbers_is_the_number_or_nothing)
{
    float y[4] = {-1000, 1000, 0, 3e38f}, by[4] = {1, 2, 3, 1};
    wr_kernels_get()->silu_times_f32(y, by, 4);
    cr_assert(fabsf(y[0]) < 1e-30f && y[1] == 2000 && y[2] == 0 && y[3] == 3e38f);
}

Test(kernels, add_norm_has_the_same_bits_on_every_isa)
{
    wr_kernels plain = ref();
    FOR_EACH_ISA(k)
    for (size_t i = 1; i < NSIZES; i++) {
        wr_test_random random = {40 + i};
        size_t n = sizes[i];
        float *x = numbers(&random, ROWS * n, 2), *y = numbers(&random, ROWS * n, 1), *want = copy(x, ROWS * n);
        float *bias = numbers(&random, n, 1), *gamma = numbers(&random, n, 1), *beta = numbers(&random, n, 1);
        k.add_norm_f32(x, y, bias, gamma, beta, 1e-12f, ROWS, n);
        plain.add_norm_f32(want, y, bias, gamma, beta, 1e-12f, ROWS, n);
        cr_assert(memcmp(x, want, (ROWS * n + 1) * sizeof *x) == 0, "%s, n %zu", k.isa, n);
        free(x);
        free(y);
        free(want);
        free(bias);
        free(gamma);
        free(beta);
    }
}

Test(kernels, add_norm_is_within_2e_6_of_the_formula)
{
    enum { N = 384 };
    wr_test_random random = {5};
    float *x = numbers(&random, N, 2), *y = numbers(&random, N, 1), *bias = numbers(&random, N, 1);
    float *gamma = numbers(&random, N, 1), *beta = numbers(&random, N, 1);
    double v[N], mean = 0, variance = 0;
    for (size_t i = 0; i < N; i++) mean += (v[i] = (double)x[i] + y[i] + bias[i]) / N;
    for (size_t i = 0; i < N; i++) variance += (v[i] - mean) * (v[i] - mean) / N;
    wr_kernels_get()->add_norm_f32(x, y, bias, gamma, beta, 1e-12f, 1, N);
    for (size_t i = 0; i < N; i++) {
        double want = (v[i] - mean) / sqrt(variance + 1e-12) * gamma[i] + beta[i];
        cr_assert_lt(fabs(x[i] - want), 2e-6 * (1 + fabs(want)));
    }
    free(x);
    free(y);
    free(bias);
    free(gamma);
    free(beta);
}

Test(kernels, softmax_has_the_same_bits_on_every_isa)
{
    wr_kernels plain = ref();
    FOR_EACH_ISA(k)
    for (size_t i = 1; i < NSIZES; i++) {
        wr_test_random random = {60 + i};
        size_t n = sizes[i];
        float *s = numbers(&random, ROWS * n, 20), *want = copy(s, ROWS * n);
        k.softmax_f32(s, ROWS, n);
        plain.softmax_f32(want, ROWS, n);
        cr_assert(memcmp(s, want, (ROWS * n + 1) * sizeof *s) == 0, "%s, n %zu", k.isa, n);
        free(s);
        free(want);
    }
}

Test(kernels, softmax_is_within_its_tolerance)
{
    enum { N = 1000 };
    float s[N];
    double sum = 0;
    for (size_t i = 0; i < N; i++) s[i] = 5 - 80.0f * (float)i / N;
    for (size_t i = 0; i < N; i++) sum += exp((double)s[i] - 5);
    float x[N];
    memcpy(x, s, sizeof x);
    wr_kernels_get()->softmax_f32(s, 1, N);
    for (size_t i = 0; i < N; i++) {
        double want = exp((double)x[i] - 5) / sum;
        cr_assert_lt(fabs(s[i] - want), 4e-7 * want, "x %g: %g, expected %g", x[i], s[i], want);
    }
}

Test(kernels, softmax_of_scores_far_apart_is_one_and_almost_nothing)
{
    float s[3] = {3e38f, -3e38f, 0};
    wr_kernels_get()->softmax_f32(s, 1, 3);
    cr_assert(s[0] == 1 && s[1] < 1e-37f && s[2] < 1e-37f);
}

/* One product in the way that models/kernels.h tells, the slowest way. */
static float product(const float *x, const float *w, size_t in)
{
    float total = 0;
    for (size_t block = 0; block < in; block += WR_GEMM_DEPTH) {
        float sum = 0;
        for (size_t i = block; i < in && i < block + WR_GEMM_DEPTH; i++) sum = fmaf(x[i], w[i], sum);
        total = block ? total + sum : sum;
    }
    return total;
}

static void check_gemm(const wr_kernels *k, size_t rows, size_t in, size_t out)
{
    wr_test_random random = {rows * 1000003 + in * 1009 + out};
    size_t x_stride = in + 3, y_stride = out + 5;
    float *x = numbers(&random, rows * x_stride, 1), *w = numbers(&random, out * in, 1);
    float *packed = malloc((wr_kernels_packed(k, out, in) + 1) * sizeof *packed);
    float *y = numbers(&random, rows * y_stride, 1), *before = copy(y, rows * y_stride);
    wr_kernels_pack(k, w, out, in, packed);
    k->gemm_f32(x, x_stride, rows, in, packed, out, y, y_stride);
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < y_stride; o++) {
            size_t at = r * y_stride + o;
            float want = o < out ? product(x + r * x_stride, w + o * in, in) : before[at];
            cr_assert(memcmp(&y[at], &want, sizeof want) == 0, "%s, %zu rows, %zu -> %zu: row %zu, output %zu", k->isa,
                      rows, in, out, r, o);
        }
    free(x);
    free(w);
    free(packed);
    free(y);
    free(before);
}

Test(kernels, gemm_has_the_same_bits_on_every_isa_and_for_any_number_of_rows)
{
    static const size_t widths[] = {1, 2, 15, 16, 17, 31, 32, 33, 65, 385, 800};
    enum { NWIDTHS = sizeof widths / sizeof *widths };
    FOR_EACH_ISA(k)
    {
        for (size_t rows = 0; rows <= 26; rows++) check_gemm(&k, rows, 37, 40);
        for (size_t i = 0; i < NWIDTHS; i++) check_gemm(&k, 5, widths[i], widths[NWIDTHS - 1 - i]);
    }
}

static void check_max(const wr_kernels *k, size_t rows, size_t in, size_t out, bool with_bias)
{
    wr_test_random random = {rows * 77 + in * 5 + out};
    float *x = numbers(&random, rows * (in + 1), 1), *w = numbers(&random, out * in, 1);
    float *bias = numbers(&random, out, 1), *got = numbers(&random, out, 1), after = got[out];
    float *y = numbers(&random, rows * out, 1), *packed = malloc(wr_kernels_packed(k, out, in) * sizeof *packed);
    wr_kernels_pack(k, w, out, in, packed);
    k->gemm_f32(x, in + 1, rows, in, packed, out, y, out);
    k->gemm_max_f32(x, in + 1, rows, in, packed, out, with_bias ? bias : NULL, got);
    for (size_t o = 0; o < out; o++) {
        float want = y[o];
        for (size_t r = 1; r < rows; r++) want = y[r * out + o] > want ? y[r * out + o] : want;
        if (with_bias) want += bias[o];
        cr_assert_eq(got[o], want, "%s, %zu rows, %zu -> %zu: output %zu", k->isa, rows, in, out, o);
    }
    cr_assert_eq(got[out], after);
    free(x), free(w), free(bias), free(got), free(y), free(packed);
}

Test(kernels, the_maximum_over_rows_is_that_of_the_product)
{
    FOR_EACH_ISA(k)
    {
        for (size_t rows = 1; rows <= 26; rows++) check_max(&k, rows, 37, 40, rows % 2);
        for (size_t out = 1; out <= 70; out += 3) check_max(&k, 14, 66, out, out % 2);
        check_max(&k, 30, 800, 33, true);
    }
}

Test(kernels, gemm_is_within_its_tolerance)
{
    enum { IN = 3072, OUT = 32 };
    wr_test_random random = {8};
    const wr_kernels *k = wr_kernels_get();
    float *x = numbers(&random, IN, 1), *w = numbers(&random, OUT * IN, 1), y[OUT];
    float *packed = malloc(wr_kernels_packed(k, OUT, IN) * sizeof *packed);
    wr_kernels_pack(k, w, OUT, IN, packed);
    k->gemm_f32(x, IN, 1, IN, packed, OUT, y, OUT);
    for (size_t o = 0; o < OUT; o++) {
        double sum = 0, magnitude = 0;
        for (size_t i = 0; i < IN; i++) {
            sum += (double)x[i] * w[o * IN + i];
            magnitude += fabs((double)x[i] * w[o * IN + i]);
        }
        cr_assert_lt(fabs(y[o] - sum), 1e-6 * magnitude);
    }
    free(x);
    free(w);
    free(packed);
}
