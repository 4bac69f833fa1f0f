/* Layers of bytes whose zero blocks are left out: the same bits as with all of them, in one layer and in an encoder. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "models/encoder.h"
#include "models/linear.h"
#include "models/prune.h"
#include "tests/testlib.h"
#include "tests/testlib_model.h"

/* What was packed for this test; LeakSanitizer sees it through this. */
static void *kept[64];
static size_t nkept;

static void *keep(void *memory)
{
    cr_assert(memory && nkept < sizeof kept / sizeof *kept);
    return kept[nkept++] = memory;
}

/* Packs a sparse layer again as a dense one; false when it is dense already. */
static bool make_dense(wr_linear *l)
{
    const wr_kernels *k = wr_kernels_get();
    const wr_s8_sparse *s = &l->sparse;
    if (!s->w) return false;
    int8_t *q = calloc(l->out * l->in, 1);
    for (size_t o = 0; o < l->out; o++)
        for (size_t t = s->start[o / 4]; t < s->start[o / 4 + 1]; t++)
            for (size_t j = 0; j < 4; j++)
                if (s->w[16 * t + o % 4 * 4 + j]) q[o * l->in + s->index[4 * t + j]] = s->w[16 * t + o % 4 * 4 + j];
    void *packed = keep(aligned_alloc(64, (k->packed_s8(l->out, l->in) + 63) / 64 * 64));
    k->pack_s8(q, l->out, l->in, packed);
    l->s8 = (wr_s8_weights){.packed = packed, .scale = s->scale, .out = l->out, .in = l->in};
    l->sparse = (wr_s8_sparse){0};
    free(q);
    return true;
}

/* ---- one layer ---- */

static float *numbers(wr_test_random *random, size_t n)
{
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = wr_test_normal(random);
    return keep(x);
}

static wr_linear layer_of(wr_weights *weights, wr_test_random *random, size_t out, size_t in, double sparsity)
{
    wr_linear l;
    float *w = numbers(random, out * in), *b = numbers(random, out);
    for (size_t group = 0; group < out; group += 4)
        for (size_t i = 0; i < in; i++) {
            bool zero = wr_test_uniform(random) < sparsity;
            for (size_t o = group; o < group + 4 && o < out && zero; o++) w[o * in + i] = 0;
        }
    cr_assert_eq(wr_linear_init(&l, weights, w, b, out, in, WR_PRECISION_INT8), WR_OK);
    return l;
}

static void check_layer(size_t rows, size_t out, size_t in)
{
    wr_test_random random = {rows + 31 * out + in};
    wr_weights weights = {0};
    wr_arena arena;
    wr_s8_rows bytes;
    cr_assert_eq(wr_arena_init(&arena, 1u << 26), WR_OK);
    cr_assert(wr_s8_rows_init(&bytes, &arena, rows, in));
    wr_linear sparse = layer_of(&weights, &random, out, in, 0.93), dense = sparse;
    float *x = numbers(&random, wr_padded_rows(rows) * in), *got = numbers(&random, wr_padded_rows(rows) * out);
    float *want = numbers(&random, wr_padded_rows(rows) * out);
    cr_assert(make_dense(&dense), "%zu x %zu is not packed sparsely", out, in);
    for (wr_linear_end end = WR_LINEAR_SUM; end <= WR_LINEAR_RELU; end++) {
        wr_linear_run(&sparse, x, rows, end, &bytes, got);
        wr_linear_run(&dense, x, rows, end, &bytes, want);
        cr_assert_eq(memcmp(got, want, rows * out * sizeof *got), 0, "%zu rows, %zu x %zu", rows, out, in);
    }
    wr_arena_release(&arena);
    wr_weights_release(&weights);
}

/* A decoder most of whose rows are zero (tokens that nobody uses) would be packed without them, which the maximum has
 * no kernel for: it is made ready in another way. */
Test(linear_sparse, the_maximum_multiplies_zeros_too)
{
    enum { ROWS = 30, OUT = 192, IN = 64 };
    wr_test_random random = {9};
    wr_weights weights = {0};
    wr_arena arena;
    wr_s8_rows bytes;
    wr_linear l, max;
    float got[OUT];
    cr_assert_eq(wr_arena_init(&arena, 1u << 26), WR_OK);
    cr_assert(wr_s8_rows_init(&bytes, &arena, ROWS, IN));
    float *w = numbers(&random, OUT * IN), *x = numbers(&random, wr_padded_rows(ROWS) * IN),
          *bias = numbers(&random, OUT);
    float *y = numbers(&random, wr_padded_rows(ROWS) * OUT);
    for (size_t i = 0; i < OUT * IN; i++) w[i] = i / IN < 180 ? 0 : w[i];
    cr_assert_eq(wr_linear_init(&l, &weights, w, bias, OUT, IN, WR_PRECISION_INT8), WR_OK);
    cr_assert(l.sparse.w, "so many zeros are left out of a product");
    wr_linear_run(&l, x, ROWS, WR_LINEAR_SUM, &bytes, y);
    cr_assert_eq(wr_linear_round_max(&max, &weights, w, OUT, IN), WR_OK);
    wr_linear_quantize(&max, x, ROWS, &bytes);
    wr_linear_max(&max, x, &bytes, ROWS, bias, got);
    for (size_t o = 0; o < OUT; o++) {
        float most = y[o];
        for (size_t r = 1; r < ROWS; r++) most = y[r * OUT + o] > most ? y[r * OUT + o] : most;
        cr_assert_eq(got[o], most + bias[o]);
    }
    wr_arena_release(&arena);
    wr_weights_release(&weights);
}

Test(linear_sparse, a_layer_without_its_zeros_has_the_same_bits)
{
    check_layer(1, 64, 48);
    check_layer(13, 101, 67);
    check_layer(90, 96, 384);
    check_layer(300, 384, 200);
}

Test(linear_sparse, a_layer_with_few_zeros_is_packed_whole)
{
    wr_test_random random = {3};
    wr_weights weights = {0};
    wr_linear l = layer_of(&weights, &random, 64, 64, 0.2);
    cr_assert(l.form == WR_LINEAR_S8 && !l.sparse.w && l.s8.packed);
    wr_weights_release(&weights);
}

/* ---- a pruned model ---- */

typedef struct opened {
    wr_model_config config;
    wr_tensors *tensors;
    wr_weights weights;
    wr_encoder e;
} opened;

static void open_bytes(opened *o, const char *dir)
{
    wr_err err = {0};
    cr_assert_eq(wr_model_config_read(&o->config, dir, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_tensors_open(&o->tensors, dir, &err), WR_OK, "%s", err.text);
    o->weights.precision = WR_PRECISION_INT8;
    cr_assert_eq(wr_weights_init(&o->weights, o->tensors, dir, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_encoder_open(&o->e, &o->config, &o->weights, &err), WR_OK, "%s", err.text);
}

static void close_bytes(opened *o)
{
    wr_encoder_close(&o->e);
    wr_weights_release(&o->weights);
    wr_tensors_close(o->tensors);
}

static size_t make_all_dense(wr_encoder *e)
{
    size_t n = 0;
    for (size_t i = 0; i < e->layers; i++) {
        wr_layer *l = &e->layer[i];
        n += make_dense(&l->query) + make_dense(&l->keys_values) + make_dense(&l->attended) + make_dense(&l->up) +
             make_dense(&l->down);
    }
    return n;
}

enum { NSEQ = 40 };

static const float *states(const wr_encoder *e, bool first_only, wr_arena *arena, size_t *n)
{
    static uint32_t id[NSEQ * 60], cu[NSEQ + 1];
    wr_test_random random = {8};
    const float *out;
    for (size_t s = 0; s < NSEQ; s++) {
        cu[s + 1] = cu[s] + 1 + (uint32_t)wr_test_below(&random, 59);
        for (size_t t = cu[s]; t < cu[s + 1]; t++) id[t] = (uint32_t)wr_test_below(&random, e->vocab);
    }
    wr_batch batch = {.id = id, .cu = cu, .nseq = NSEQ};
    wr_pass pass = {.first_only = first_only};
    *n = (first_only ? NSEQ : cu[NSEQ]) * e->dim;
    cr_assert_eq(wr_arena_init(arena, 1u << 28), WR_OK);
    cr_assert_eq(wr_encoder_run(e, &batch, &pass, arena, NULL, &out), WR_OK);
    return out;
}

Test(linear_sparse, a_pruned_encoder_has_the_bits_of_its_dense_self)
{
    char from[256], to[256];
    wr_err err = {0};
    opened o = {0};
    size_t n;
    wr_arena a, b, c, d;
    strcpy(from, wr_test_path("from")), strcpy(to, wr_test_path("to"));
    wr_test_model(from, true, 5);
    cr_assert_eq(wr_model_prune(from, to, 0.9, NULL, NULL, &err), WR_OK, "%s", err.text);
    open_bytes(&o, to);
    const float *all = states(&o.e, false, &a, &n), *first = states(&o.e, true, &b, &n);
    cr_assert_eq(make_all_dense(&o.e), 5 * o.e.layers);
    cr_assert_eq(memcmp(first, states(&o.e, true, &d, &n), n * sizeof *first), 0);
    cr_assert_eq(memcmp(all, states(&o.e, false, &c, &n), n * sizeof *all), 0);
    wr_arena_release(&a), wr_arena_release(&b), wr_arena_release(&c), wr_arena_release(&d);
    close_bytes(&o);
}
