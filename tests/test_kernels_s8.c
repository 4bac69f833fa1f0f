/* The 8-bit kernels on every instruction set that this CPU has: the same bits as the plain C twin at odd sizes, and the
 * twin within the stated tolerance of the formula in double precision. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels.h"
#include "tests/testlib.h"

static const char *const isas[] = {"ref", "avx2", "avx512", "avx512_vnni", "avx2_madd", "avx2_vnni", "avx2_vnni_evex"};

enum { NISAS = sizeof isas / sizeof *isas };

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

static float *numbers(wr_test_random *random, size_t n, float scale)
{
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; i <= n; i++) x[i] = scale * wr_test_normal(random);
    return x;
}

/* n numbers behind which memory ends, so that reading too far is seen by a sanitizer. */
static wr_s8_rows rows_for(size_t rows, size_t n)
{
    wr_s8_rows to = {.stride = wr_s8_stride(n)};
    to.q = malloc(rows * to.stride + 1);
    memset(to.q, 77, rows * to.stride + 1);
    to.scale = calloc(rows + 1, sizeof *to.scale);
    to.sum = calloc(rows + 1, sizeof *to.sum);
    return to;
}

static void rows_free(wr_s8_rows *rows)
{
    free(rows->q);
    free(rows->scale);
    free(rows->sum);
}

/* ---- quantising ---- */

static void check_quantize(const wr_kernels *k, size_t rows, size_t n, bool migrate)
{
    wr_test_random random = {rows * 977 + n};
    wr_kernels plain = ref();
    float *x = numbers(&random, rows * n, 3), *m = numbers(&random, n, 1);
    for (size_t i = 0; i < n && rows > 1; i++) x[n + i] = 0; /* the second row */
    wr_s8_rows got = rows_for(rows, n), want = rows_for(rows, n);
    k->quantize_s8(x, rows, n, migrate ? m : NULL, &got);
    plain.quantize_s8(x, rows, n, migrate ? m : NULL, &want);
    cr_assert_eq(memcmp(got.q, want.q, rows * got.stride + 1), 0, "%s, %zu rows of %zu: bytes", k->isa, rows, n);
    cr_assert_eq(memcmp(got.scale, want.scale, rows * sizeof(float)), 0, "%s, %zu rows of %zu: scales", k->isa, rows,
                 n);
    cr_assert_eq(memcmp(got.sum, want.sum, rows * sizeof(int32_t)), 0, "%s, %zu rows of %zu: sums", k->isa, rows, n);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) {
            float v = migrate ? x[r * n + i] * m[i] : x[r * n + i];
            cr_assert_leq(fabsf(v - got.scale[r] * got.q[r * got.stride + i]), 0.501f * got.scale[r]);
        }
    rows_free(&got);
    rows_free(&want);
    free(x);
    free(m);
}

Test(kernels_s8, rows_are_rounded_alike_on_every_isa)
{
    FOR_EACH_ISA(k)
    {
        for (size_t n = 1; n <= 130; n++) check_quantize(&k, 3, n, n % 2);
        check_quantize(&k, 5, 384, false);
        check_quantize(&k, 2, 1536, true);
        check_quantize(&k, 2, 3073, false);
    }
}

Test(kernels_s8, what_is_no_number_does_no_harm)
{
    FOR_EACH_ISA(k)
    {
        float x[70] = {NAN, INFINITY, -INFINITY, 1};
        wr_s8_rows to = rows_for(1, 70);
        k.quantize_s8(x, 1, 70, NULL, &to);
        rows_free(&to);
    }
}

/* ---- the product ---- */

static int8_t *random_bytes(wr_test_random *random, size_t n)
{
    int8_t *w = malloc(n + 1);
    for (size_t i = 0; i < n; i++) w[i] = (int8_t)((int)wr_test_below(random, 256) - 128);
    return w;
}

static void check_gemm(const wr_kernels *k, size_t rows, size_t in, size_t out, wr_s8_act act, bool with_bias)
{
    wr_test_random random = {rows * 1000003 + in * 1009 + out};
    wr_kernels plain = ref();
    float *x = numbers(&random, rows * in, 2), *scale = numbers(&random, out, 0.01f), *bias = numbers(&random, out, 1);
    size_t y_stride = out + 3;
    float *got = numbers(&random, rows * y_stride, 1), *want = malloc((rows * y_stride + 1) * sizeof *want);
    memcpy(want, got, (rows * y_stride + 1) * sizeof *want);
    int8_t *w = random_bytes(&random, out * in);
    wr_s8_rows q = rows_for(rows, in);
    plain.quantize_s8(x, rows, in, NULL, &q);
    for (size_t i = 0; i < in && rows; i++) q.q[i] = -127, q.sum[0] = -127 * (int)in; /* the most that a sum can be */
    void *packed = malloc(k->packed_s8(out, in));
    k->pack_s8(w, out, in, packed);
    wr_s8_weights ours = {packed, scale, with_bias ? bias : NULL, out, in}, theirs = ours;
    theirs.packed = w;
    size_t middle = out / 2 / k->s8_cols * k->s8_cols;
    k->gemm_s8(&q, rows, &ours, middle, out, act, got, y_stride);
    k->gemm_s8(&q, rows, &ours, 0, middle, act, got, y_stride);
    plain.gemm_s8(&q, rows, &theirs, 0, out, act, want, y_stride);
    for (size_t i = 0; i <= rows * y_stride; i++)
        cr_assert(memcmp(&got[i], &want[i], sizeof *got) == 0,
                  "%s, %zu rows, %zu -> %zu, act %d: row %zu, output %zu: %g, expected %g", k->isa, rows, in, out, act,
                  i / y_stride, i % y_stride, got[i], want[i]);
    rows_free(&q);
    free(x), free(scale), free(bias), free(got), free(want), free(w), free(packed);
}

Test(kernels_s8, a_product_has_the_same_bits_on_every_isa)
{
    static const size_t widths[] = {1, 2, 3, 4, 5, 15, 16, 31, 32, 33, 63, 64, 65, 385, 800};
    enum { NWIDTHS = sizeof widths / sizeof *widths };
    FOR_EACH_ISA(k)
    {
        for (size_t rows = 0; rows <= 26; rows++) check_gemm(&k, rows, 37, 40, (wr_s8_act)(rows % 3), rows % 2);
        for (size_t i = 0; i < NWIDTHS; i++)
            check_gemm(&k, 5, widths[i], widths[NWIDTHS - 1 - i], (wr_s8_act)(i % 3), i % 2);
        check_gemm(&k, 13, 384, 96, WR_S8_GELU, true);
        check_gemm(&k, 3, 3072, 33, WR_S8_PLAIN, false);
    }
}

static void check_max(const wr_kernels *k, size_t rows, size_t in, size_t out, bool with_bias)
{
    wr_test_random random = {rows * 77 + in * 5 + out};
    float *x = numbers(&random, rows * in, 2), *scale = numbers(&random, out, 0.01f), *bias = numbers(&random, out, 1);
    float *y = numbers(&random, rows * out, 1), *got = numbers(&random, out, 1), after = got[out];
    int8_t *w = random_bytes(&random, out * in);
    void *packed = malloc(k->packed_s8(out, in));
    wr_s8_rows q = rows_for(rows, in);
    k->quantize_s8(x, rows, in, NULL, &q);
    k->pack_s8(w, out, in, packed);
    wr_s8_weights weights = {packed, scale, NULL, out, in};
    k->gemm_s8(&q, rows, &weights, 0, out, WR_S8_PLAIN, y, out);
    size_t middle = out / 2 / k->s8_cols * k->s8_cols;
    if (with_bias) weights.bias = bias;
    k->gemm_max_s8(&q, rows, &weights, middle, out, got);
    k->gemm_max_s8(&q, rows, &weights, 0, middle, got);
    for (size_t o = 0; o < out; o++) {
        float want = y[o];
        for (size_t r = 1; r < rows; r++) want = y[r * out + o] > want ? y[r * out + o] : want;
        if (with_bias) want += bias[o];
        cr_assert_eq(got[o], want, "%s, %zu rows, %zu -> %zu: output %zu: %g, expected %g", k->isa, rows, in, out, o,
                     got[o], want);
    }
    cr_assert_eq(got[out], after);
    rows_free(&q);
    free(x), free(scale), free(bias), free(y), free(got), free(w), free(packed);
}

Test(kernels_s8, the_maximum_over_rows_is_that_of_the_product)
{
    FOR_EACH_ISA(k)
    {
        for (size_t rows = 1; rows <= 26; rows++) check_max(&k, rows, 37, 40, rows % 2);
        for (size_t out = 1; out <= 140; out += 9) check_max(&k, 14, 66, out, out % 2);
        check_max(&k, 30, 800, 33, true);
    }
}

Test(kernels_s8, gelu_is_within_its_tolerance)
{
    wr_kernels plain = ref();
    double worst = 0;
    for (int i = -9000; i <= 9000; i++) {
        int8_t q = 1, weight = 1;
        int32_t sum = 1;
        float scale = 1, bias = 0, y, x = (float)i * 1e-3f;
        wr_s8_rows row = {&q, &x, &sum, 64};
        wr_s8_weights w = {&weight, &scale, &bias, 1, 1};
        plain.gemm_s8(&row, 1, &w, 0, 1, WR_S8_GELU, &y, 1);
        double want = 0.5 * x * (1 + erf(x / sqrt(2))), d = fabs(y - want);
        worst = d > worst ? d : worst;
    }
    cr_assert_lt(worst, 2e-4);
}

/* ---- attention ---- */

static void check_attention(const wr_kernels *k, size_t nq, size_t n, size_t width)
{
    wr_test_random random = {n * 131 + width};
    wr_kernels plain = ref();
    size_t stride = 3 * width + 1;
    float *x = numbers(&random, n * stride, 1.5f), *got = calloc(nq * (width + 2), sizeof *got);
    float *want = calloc(nq * (width + 2), sizeof *want), received[2][1024] = {{0}};
    size_t bytes = (wr_attend_scratch(nq, n, width) + 63) / 64 * 64;
    wr_attention a = {x,   x + width, x + 2 * width,           stride, stride, nq, n, width,
                      got, width + 2, aligned_alloc(64, bytes), NULL};
    k->attend_s16(&a);
    a.ctx = want;
    plain.attend_s16(&a);
    for (size_t i = 0; i < nq * (width + 2); i++)
        cr_assert(memcmp(&got[i], &want[i], sizeof *got) == 0,
                  "%s: %zu queries, %zu keys, width %zu: at %zu %g, expected %g", k->isa, nq, n, width, i, got[i],
                  want[i]);
    a.received = received[0];
    k->attend_s16(&a);
    a.received = received[1];
    plain.attend_s16(&a);
    cr_assert_eq(memcmp(received[0], received[1], sizeof *received), 0, "%s: %zu queries, %zu keys, width %zu", k->isa,
                 nq, n, width);
    free(a.scratch), free(x), free(got), free(want);
}

Test(kernels_s8, attention_has_the_same_bits_on_every_isa)
{
    static const size_t widths[] = {1, 5, 8, 16, 31, 32, 33, 48, 64, 96, 128};
    FOR_EACH_ISA(k)
    {
        for (size_t n = 1; n <= 70; n++) check_attention(&k, n, n, 32);
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            check_attention(&k, 1, 40, widths[i]);
            check_attention(&k, 14, 33, widths[i]);
        }
        check_attention(&k, 3, 512, 64);
        check_attention(&k, 2, 700, 32);
    }
}

Test(kernels_s8, attention_is_within_its_tolerance)
{
    enum { N = 300, WIDTH = 32 };
    wr_test_random random = {5};
    float *q = numbers(&random, N * WIDTH, 2), *k = numbers(&random, N * WIDTH, 1), *v = numbers(&random, N * WIDTH, 1);
    float ctx[WIDTH], most = 0;
    float received[N];
    wr_attention a = {q, k, v, WIDTH, WIDTH, 1, N, WIDTH, ctx, WIDTH, aligned_alloc(64, 1 << 20), received};
    cr_assert_leq(wr_attend_scratch(1, N, WIDTH), (size_t)1 << 20);
    for (size_t i = 0; i < N * WIDTH; i++) most = fabsf(v[i]) > most ? fabsf(v[i]) : most;
    for (size_t i = 0; i < N; i++) {
        double sum = 0, want[WIDTH] = {0};
        a.q = q + i * WIDTH;
        memset(received, 0, sizeof received);
        wr_kernels_get()->attend_s16(&a);
        double share[N];
        for (size_t j = 0; j < N; j++) {
            double s = 0;
            for (size_t c = 0; c < WIDTH; c++) s += (double)a.q[c] * k[j * WIDTH + c];
            s = share[j] = exp(s / sqrt(WIDTH));
            sum += s;
            for (size_t c = 0; c < WIDTH; c++) want[c] += s * v[j * WIDTH + c];
        }
        for (size_t c = 0; c < WIDTH; c++)
            cr_assert_lt(fabs(ctx[c] - want[c] / sum), 2e-3 * most, "query %zu: %g, expected %g", i, ctx[c],
                         want[c] / sum);
        for (size_t j = 0; j < N; j++) cr_assert_float_eq(received[j], share[j] / sum, 2e-3);
    }
    free(a.scratch), free(q), free(k), free(v);
}
