/* Attention in floats on every instruction set that this CPU has: the same bits as the plain C twin at odd sizes, and
 * within the stated tolerance of the formula in double precision; and the packing that it lives on. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels.h"
#include "tests/testlib.h"

static const char *const isas[] = {"ref", "avx2", "avx512", "avx512_vnni"};

enum { NISAS = sizeof isas / sizeof *isas };

#define FOR_EACH_ISA(k)                                                                                                \
    wr_kernels k;                                                                                                      \
    for (int isa_ = 0; isa_ < NISAS; isa_++)                                                                           \
        if (wr_kernels_for(isas[isa_], &k))

static float *numbers(wr_test_random *random, size_t n, float scale)
{
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; i <= n; i++) x[i] = scale * wr_test_normal(random);
    return x;
}

static void check_pack(const wr_kernels *k, size_t out, size_t in, size_t stride, float scale)
{
    wr_test_random random = {out * 31 + in};
    size_t n = wr_kernels_packed(k, out, in), cols = k->gemm_cols;
    float *w = malloc(((out - 1) * stride + in) * sizeof *w), *packed = numbers(&random, n, 1), after = packed[n];
    for (size_t i = 0; i < (out - 1) * stride + in; i++) w[i] = wr_test_normal(&random);
    k->pack_f32(w, stride, out, in, scale, packed);
    for (size_t at = 0; at < n; at++) {
        size_t o = at / (cols * in) * cols + at % cols, i = at / cols % in;
        cr_assert_eq(packed[at], o < out ? scale * w[o * stride + i] : 0, "%s, %zu -> %zu: at %zu", k->isa, in, out,
                     at);
    }
    cr_assert_eq(packed[n], after);
    free(w), free(packed);
}

Test(kernels_attend, packing_turns_panels)
{
    FOR_EACH_ISA(k)
    for (size_t out = 1; out <= 70; out += out < 34 ? 1 : 5)
        for (size_t in = 1; in <= 66; in += in < 34 ? 1 : 5) check_pack(&k, out, in, in + out % 3, out % 2 ? 1 : 0.3f);
}

/* The tolerance of the header, from the numbers at hand. */
static double tolerance(const wr_attention *a)
{
    double most = 0, v = 0;
    for (size_t i = 0; i < a->nq; i++)
        for (size_t j = 0; j < a->n; j++) {
            double size = 0;
            for (size_t c = 0; c < a->width; c++)
                size += fabs((double)a->q[i * a->q_stride + c] * a->k[j * a->kv_stride + c]);
            most = fmax(most, size);
        }
    for (size_t j = 0; j < a->n; j++)
        for (size_t c = 0; c < a->width; c++) v = fmax(v, fabs(a->v[j * a->kv_stride + c]));
    return 2e-6 * (1 + most / sqrt((double)a->width)) * v;
}

static void check_formula(const wr_attention *a)
{
    double *p = malloc(a->n * sizeof *p), limit = tolerance(a);
    for (size_t i = 0; i < a->nq; i++) {
        double sum = 0;
        for (size_t j = 0; j < a->n; j++) {
            double s = 0;
            for (size_t c = 0; c < a->width; c++) s += (double)a->q[i * a->q_stride + c] * a->k[j * a->kv_stride + c];
            sum += p[j] = exp(s / sqrt((double)a->width));
        }
        for (size_t c = 0; c < a->width; c++) {
            double want = 0;
            for (size_t j = 0; j < a->n; j++) want += p[j] / sum * a->v[j * a->kv_stride + c];
            cr_assert_leq(fabs(a->ctx[i * a->ctx_stride + c] - want), limit);
        }
    }
    free(p);
}

static void check_attention(const wr_kernels *k, size_t nq, size_t n, size_t width)
{
    wr_test_random random = {n * 131 + width};
    wr_kernels plain;
    cr_assert(wr_kernels_for("ref", &plain));
    size_t rows = n > nq ? n : nq, stride = 3 * width + 1, count = nq * (width + 2);
    float *x = numbers(&random, rows * stride, 1.5f), *got = calloc(count, sizeof *got);
    float *want = calloc(count, sizeof *want);
    wr_attention a = {x, x + width, x + 2 * width, stride, stride, nq, n, width, got, width + 2, NULL, NULL};
    a.scratch = aligned_alloc(64, (wr_attend_f32_scratch(k, n, width) + 63) / 64 * 64);
    wr_attend_f32(k, &a);
    check_formula(&a);
    free(a.scratch);
    a.ctx = want;
    a.scratch = aligned_alloc(64, (wr_attend_f32_scratch(&plain, n, width) + 63) / 64 * 64);
    wr_attend_f32(&plain, &a);
    cr_assert_eq(memcmp(got, want, count * sizeof *got), 0, "%s: %zu queries, %zu keys, width %zu", k->isa, nq, n,
                 width);
    free(a.scratch), free(x), free(got), free(want);
}

Test(kernels_attend, has_the_same_bits_on_every_isa_and_is_within_its_tolerance)
{
    static const size_t widths[] = {1, 5, 8, 16, 31, 32, 33, 48, 64, 96, 128};
    FOR_EACH_ISA(k)
    {
        for (size_t n = 1; n <= 70; n++) check_attention(&k, n, n, 32);
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            check_attention(&k, 1, 40, widths[i]);
            check_attention(&k, 14, 33, widths[i]);
        }
        check_attention(&k, 100, 97, 64);
        check_attention(&k, 3, 700, 32);
    }
}
