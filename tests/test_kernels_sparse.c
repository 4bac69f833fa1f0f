/* Products with weights that are zero in blocks of four outputs, on every instruction set that this CPU has: the same
 * bits as the dense product of the same table and of the plain C twin, at odd sizes and every kind of sparsity. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels_sparse.h"
#include "tests/testlib.h"

static const char *const isas[] = {"ref", "avx2", "avx512", "avx512_vnni", "avx2_madd", "avx2_vnni", "avx2_vnni_evex"};

enum { NISAS = sizeof isas / sizeof *isas };

#define FOR_EACH_ISA(k)                                                                                                \
    wr_kernels k;                                                                                                      \
    for (int isa_ = 0; isa_ < NISAS; isa_++)                                                                           \
        if (wr_kernels_for(isas[isa_], &k))

typedef struct problem {
    size_t rows, in, out;
    int8_t *w;           /* [out, in]                         */
    float *scale, *bias; /* [out]                             */
    wr_s8_rows x;        /* every value that quantising gives */
} problem;

/* Each block of 4 x 1 weights is kept with probability `kept`; some of a kept block's weights are zero too. */
static int8_t *sparse_weights(wr_test_random *random, size_t out, size_t in, double kept)
{
    int8_t *w = calloc(out * in + 1, 1);
    for (size_t group = 0; group < out; group += 4)
        for (size_t i = 0; i < in; i++) {
            bool keep = wr_test_uniform(random) < kept;
            for (size_t o = group; o < group + 4 && o < out && keep; o++)
                w[o * in + i] = (int8_t)((int)wr_test_below(random, 256) - 128);
        }
    return w;
}

static problem problem_of(size_t rows, size_t in, size_t out, double kept)
{
    wr_test_random random = {rows * 1000003 + in * 1009 + out};
    problem p = {.rows = rows, .in = in, .out = out, .w = sparse_weights(&random, out, in, kept)};
    p.scale = calloc(out + 1, sizeof *p.scale);
    p.bias = calloc(out + 1, sizeof *p.bias);
    for (size_t o = 0; o < out; o++) p.scale[o] = 0.01f * wr_test_normal(&random), p.bias[o] = wr_test_normal(&random);
    p.x.stride = wr_s8_stride(in);
    p.x.q = calloc(rows * p.x.stride + 1, 1);
    p.x.scale = calloc(rows + 1, sizeof *p.x.scale);
    p.x.sum = calloc(rows + 1, sizeof *p.x.sum);
    for (size_t r = 0; r < rows; r++) {
        p.x.scale[r] = 0.1f * wr_test_normal(&random);
        for (size_t i = 0; i < in; i++) {
            int8_t q = (int8_t)((int)wr_test_below(&random, 255) - 127);
            p.x.q[r * p.x.stride + i] = r % 7 == 3 ? -127 : r % 7 == 5 ? 127 : q;
            p.x.sum[r] += p.x.q[r * p.x.stride + i];
        }
    }
    return p;
}

static void problem_free(problem *p)
{
    free(p->w), free(p->scale), free(p->bias);
    free(p->x.q), free(p->x.scale), free(p->x.sum);
}

static void *aligned(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    memset(memory, 0x55, bytes);
    return memory;
}

/* y from the table's sparse kernel, in two parts; what lies between the rows keeps its 0x33. */
static float *sparse_product(const wr_kernels *k, const problem *p, wr_s8_act act, bool with_bias, size_t stride)
{
    wr_s8_sparse s;
    float *y = malloc((p->rows * stride + 1) * sizeof *y);
    void *packed = aligned(wr_s8_sparse_bytes(p->w, p->out, p->in)), *scratch = aligned(wr_s8_sparse_scratch(p->in));
    memset(y, 0x33, (p->rows * stride + 1) * sizeof *y);
    wr_s8_sparse_pack(p->w, p->out, p->in, packed, &s);
    s.scale = p->scale;
    s.bias = with_bias ? p->bias : NULL;
    size_t middle = p->out / 2 / 32 * 32;
    k->spmm_s8(&p->x, p->rows, &s, middle, p->out, act, scratch, y, stride);
    k->spmm_s8(&p->x, p->rows, &s, 0, middle, act, scratch, y, stride);
    free(packed), free(scratch);
    return y;
}

static float *dense_product(const wr_kernels *k, const problem *p, wr_s8_act act, bool with_bias, size_t stride)
{
    float *y = malloc((p->rows * stride + 1) * sizeof *y);
    void *packed = aligned(k->packed_s8(p->out, p->in));
    memset(y, 0x33, (p->rows * stride + 1) * sizeof *y);
    k->pack_s8(p->w, p->out, p->in, packed);
    wr_s8_weights w = {packed, p->scale, with_bias ? p->bias : NULL, p->out, p->in};
    k->gemm_s8(&p->x, p->rows, &w, 0, p->out, act, y, stride);
    free(packed);
    return y;
}

static void check(const wr_kernels *k, size_t rows, size_t in, size_t out, double kept, wr_s8_act act, bool with_bias)
{
    wr_kernels plain;
    cr_assert(wr_kernels_for("ref", &plain));
    problem p = problem_of(rows, in, out, kept);
    size_t stride = out + 3;
    float *got = sparse_product(k, &p, act, with_bias, stride),
          *want = dense_product(&plain, &p, act, with_bias, stride);
    float *dense = dense_product(k, &p, act, with_bias, stride);
    for (size_t i = 0; i <= rows * stride; i++)
        cr_assert(!memcmp(&got[i], &want[i], sizeof *got) && !memcmp(&got[i], &dense[i], sizeof *got),
                  "%s, %zu rows, %zu -> %zu, %g kept, act %d: row %zu, output %zu: %g, expected %g, dense %g", k->isa,
                  rows, in, out, kept, act, i / stride, i % stride, (double)got[i], (double)want[i], (double)dense[i]);
    free(got), free(want), free(dense);
    problem_free(&p);
}

Test(kernels_sparse, a_product_has_the_bits_of_the_dense_one_for_1_to_140_rows)
{
    FOR_EACH_ISA(k)
    {
        for (size_t rows = 0; rows <= 140; rows += rows < 40 ? 1 : 5)
            check(&k, rows, 70, 40, 0.2, (wr_s8_act)(rows % 3), rows % 2);
    }
}

Test(kernels_sparse, any_number_of_inputs_and_outputs_will_do)
{
    FOR_EACH_ISA(k)
    {
        for (size_t in = 1; in <= 70; in++) check(&k, 5, in, 1 + in % 9, 0.3, (wr_s8_act)(in % 3), in % 2);
        for (size_t out = 1; out <= 70; out++) check(&k, 3, 1 + out % 11, out, 0.3, (wr_s8_act)(out % 3), out % 2);
        check(&k, 17, 384, 1152, 0.1, WR_S8_PLAIN, true);
        check(&k, 50, 1536, 99, 0.2, WR_S8_GELU, true);
        check(&k, 33, 3072, 34, 0.05, WR_S8_PLAIN, false);
    }
}

Test(kernels_sparse, any_sparsity_will_do_and_groups_may_be_empty)
{
    static const double kept[] = {0, 0.001, 0.01, 0.1, 0.5, 0.9, 1};
    FOR_EACH_ISA(k)
    {
        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
            check(&k, 20, 200, 64, kept[i], WR_S8_PLAIN, true);
            check(&k, 3, 9, 21, kept[i], WR_S8_RELU, false);
        }
    }
}

Test(kernels_sparse, groups_of_any_length_follow_each_other)
{
    FOR_EACH_ISA(k)
    {
        enum { IN = 37, OUT = 4 * (IN + 2) };
        problem p = problem_of(6, IN, OUT, 1);
        for (size_t o = 0; o < OUT; o++) /* group g keeps its last g inputs; the last group none */
            for (size_t i = 0; i < IN; i++)
                if (i + o / 4 < IN || o / 4 > IN) p.w[o * IN + i] = 0;
        float *got = sparse_product(&k, &p, WR_S8_PLAIN, true, OUT),
              *want = dense_product(&k, &p, WR_S8_PLAIN, true, OUT);
        cr_assert_eq(memcmp(got, want, 6 * OUT * sizeof *got), 0, "%s", k.isa);
        free(got), free(want);
        problem_free(&p);
    }
}

Test(kernels_sparse, the_packed_form_is_as_documented)
{
    static const int8_t w[4 * 6] = {0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6};
    static const int8_t want[16] = {7, 0, 1, 0, 0, 2, 0, 0, 3, 0, 0, 0, 0, 0, 6, 0};
    static const uint16_t index[4] = {1, 3, 5, 0};
    wr_s8_sparse s;
    void *memory = aligned(wr_s8_sparse_bytes(w, 4, 6));
    wr_s8_sparse_pack(w, 4, 6, memory, &s);
    cr_assert(s.start[0] == 0 && s.start[1] == 1 && s.out == 4 && s.in == 6);
    cr_assert_eq(memcmp(s.index, index, sizeof index), 0);
    cr_assert_eq(memcmp(s.w, want, sizeof want), 0);
    cr_assert(s.sum[0] == 8 && s.sum[1] == 2 && s.sum[2] == 3 && s.sum[3] == 6);
    cr_assert_float_eq(wr_s8_sparsity(w, 4, 6), 0.5, 1e-12);
    cr_assert_eq(wr_s8_sparse_bytes(w, 1, WR_SPARSE_MAX_IN + 1), 0);
    free(memory);
}
