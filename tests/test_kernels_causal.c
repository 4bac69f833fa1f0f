/* Causal attention: against plain sums in double precision, and the same bits however the queries come. The products
 * that it is made of: the same bits on every instruction set. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels_blocks.h"
#include "models/kernels_causal.h"
#include "tests/testlib.h"

static float *numbers(wr_test_random *random, size_t n)
{
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; i <= n; i++) x[i] = wr_test_normal(random);
    return x;
}

/* A cache of [n][heads * width] with one head looked at, as floats that halves can say, and as halves. */
static void cache(wr_test_random *random, size_t n, float **floats, uint16_t **halves)
{
    *floats = numbers(random, n);
    *halves = malloc((n + 1) * sizeof **halves);
    wr_halves_from(*floats, n, *halves);
    wr_blocks row = {WR_BLOCK_F16, *halves, 1, n};
    wr_blocks_row(&row, 0, *floats);
}

static void attend(const wr_causal *shape, size_t first, size_t nq, const float *q, float *ctx)
{
    wr_causal a = *shape;
    a.first = first, a.nq = nq;
    a.q = q + first * a.q_stride, a.ctx = ctx + first * a.ctx_stride;
    a.scratch = aligned_alloc(64, (wr_causal_scratch(first + nq, a.width) + 63) / 64 * 64);
    wr_causal_attend(&a);
    free(a.scratch);
}

static void want(const wr_causal *a, size_t t, size_t head, const float *q, const float *k, const float *v, double *ctx)
{
    size_t low = a->window && t + 1 > a->window ? t + 1 - a->window : 0;
    double max = -INFINITY, sum = 0, *s = malloc((t + 1) * sizeof *s);
    for (size_t j = low; j <= t; j++) {
        s[j] = 0;
        for (size_t c = 0; c < a->width; c++)
            s[j] += (double)q[t * a->q_stride + head * a->width + c] * a->scale * k[j * a->kv_stride + c];
        max = fmax(max, s[j]);
    }
    for (size_t c = 0; c < a->width; c++) ctx[c] = 0;
    for (size_t j = low; j <= t; j++) sum += s[j] = exp(s[j] - max);
    for (size_t j = low; j <= t; j++)
        for (size_t c = 0; c < a->width; c++) ctx[c] += s[j] / sum * v[j * a->kv_stride + c];
    free(s);
}

static void check(size_t n, size_t width, size_t group, size_t window, bool half)
{
    wr_test_random random = {n * 31 + width * 7 + group + window};
    size_t kv_stride = 2 * width + 3, q_stride = group * width + 5;
    float *q = numbers(&random, n * q_stride), *k, *v;
    uint16_t *hk, *hv;
    cache(&random, n * kv_stride, &k, &hk);
    cache(&random, n * kv_stride, &v, &hv);
    float *whole = calloc(n * q_stride, sizeof *whole), *parts = calloc(n * q_stride, sizeof *parts);
    wr_causal a = {.q_stride = q_stride,
                   .group = group,
                   .width = width,
                   .scale = 1 / sqrtf((float)width),
                   .window = window,
                   .half = half,
                   .k = k,
                   .v = v,
                   .kv_stride = kv_stride,
                   .ctx_stride = q_stride};
    if (half) a.k = hk, a.v = hv;
    attend(&a, 0, n, q, whole);
    for (size_t at = 0, step = 1; at < n; at += step, step = step % 5 * 7 + 1)
        attend(&a, at, n - at < step ? n - at : step, q, parts);
    cr_assert_eq(memcmp(whole, parts, n * q_stride * sizeof *whole), 0, "%zu of %zu, window %zu: parts", n, width,
                 window);
    double *ctx = malloc(width * sizeof *ctx);
    for (size_t t = 0; t<n; t += t> 20 && t + 13 < n ? 13 : 1)
        for (size_t head = 0; head < group; head++) {
            want(&a, t, head, q, k, v, ctx);
            for (size_t c = 0; c < width; c++)
                cr_assert_float_eq(whole[t * q_stride + head * width + c], ctx[c], 2e-6, "position %zu", t);
        }
    free(q), free(k), free(v), free(hk), free(hv), free(whole), free(parts), free(ctx);
}

Test(kernels_causal, contexts_are_those_of_plain_sums)
{
    check(1, 64, 7, 0, false);
    check(50, 64, 7, 0, true);
    check(100, 16, 1, 0, false);
    check(70, 80, 3, 0, true);
    check(530, 32, 2, 0, true);
    check(900, 48, 4, 100, true);
    check(60, 64, 2, 1, false);
    check(40, 64, 2, 1000, false);
}

static const char *const isas[] = {"avx2", "avx512", "avx512_vnni"};

Test(kernels_causal, products_are_the_same_on_every_isa)
{
    wr_block_kernels plain, k;
    cr_assert(wr_block_kernels_for("ref", &plain));
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        if (!wr_block_kernels_for(isas[i], &k)) continue;
        for (size_t width = 1; width < 100; width = width * 3 + 1)
            for (size_t n = 1; n < 500; n = n * 5 + 2)
                for (size_t rows = 1; rows < 20; rows = rows * 2 + 1) {
                    wr_test_random random = {width * 1000 + n * 10 + rows};
                    float *q = numbers(&random, rows * width), *p = numbers(&random, rows * n), *f;
                    float *got = calloc(rows * (n + width), sizeof *got),
                          *ref = calloc(rows * (n + width), sizeof *ref);
                    void *scratch = aligned_alloc(64, WR_BLOCK_PANEL_BYTES);
                    uint16_t *h;
                    cache(&random, n * width, &f, &h);
                    for (int half = 0; half < 2; half++) {
                        wr_block_type type = half ? WR_BLOCK_F16 : WR_BLOCK_F32;
                        const void *data = half ? (void *)h : (void *)f;
                        k.scores(type, data, width, n, width, q, rows, got, n, scratch);
                        plain.scores(type, data, width, n, width, q, rows, ref, n, scratch);
                        k.mix(type, data, width, n, width, p, n, rows, got + rows * n, width);
                        plain.mix(type, data, width, n, width, p, n, rows, ref + rows * n, width);
                        cr_assert_eq(memcmp(got, ref, rows * (n + width) * sizeof *got), 0, "%s: %zu, %zu, %zu rows",
                                     isas[i], n, width, rows);
                    }
                    free(q), free(p), free(f), free(h), free(got), free(ref), free(scratch);
                }
    }
}

Test(kernels_causal, halves_are_rounded_to_nearest_even)
{
    wr_block_kernels k;
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        if (!wr_block_kernels_for(isas[i], &k)) continue;
        wr_block_kernels plain;
        wr_block_kernels_for("ref", &plain);
        wr_test_random random = {7};
        for (int round = 0; round < 20000; round++) {
            float x[11];
            uint16_t got[11], want_[11];
            for (size_t j = 0; j < 11; j++) {
                uint32_t bits = (uint32_t)wr_test_u64(&random);
                if (round % 2) bits = (bits & 0x8fffffff) | 0x30000000; /* about the range of halves */
                if (round % 4 == 3) bits &= 0xfffff000;                 /* half way */
                if (round % 8 == 7) bits = (bits & 0x80ffffff) | 0x47000000;
                if ((bits & 0x7fffffff) > 0x7f800000) bits = 0;
                memcpy(&x[j], &bits, 4);
            }
            k.narrow(x, 11, got);
            plain.narrow(x, 11, want_);
            cr_assert_eq(memcmp(got, want_, sizeof got), 0, "%s: %a %x %x", isas[i], x[0], got[0], want_[0]);
        }
    }
}
