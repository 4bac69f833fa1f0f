/* The forward pass against the formulas in double precision, and what batches may not change. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "models/eliminate.h"
#include "models/encoder.h"
#include "models/kernels.h"
#include "tests/testlib.h"

/* ---- random encoders ---- */

typedef struct network {
    wr_encoder e;
    wr_weights weights; /* owns what is packed */
    wr_linear *plain;   /* [5 layers] the same weights unpacked */
} network;

static float *numbers(wr_test_random *random, size_t n, float scale, float centre)
{
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = centre + scale * wr_test_normal(random);
    return x;
}

static wr_norm random_norm(wr_test_random *random, size_t dim)
{
    return (wr_norm){numbers(random, dim, 0.2f, 1), numbers(random, dim, 0.2f, 0)};
}

/* Weights of a size at which attention and GELU leave their linear parts; the plain ones are kept at *plain. */
static wr_linear random_linear(wr_test_random *random, network *net, size_t out, size_t in, wr_precision precision,
                               wr_linear *plain)
{
    wr_linear l;
    *plain = (wr_linear){.out = out, .in = in};
    plain->w = numbers(random, out * in, 1.5f / sqrtf((float)in), 0);
    plain->b = numbers(random, out, 0.3f, 0);
    cr_assert_eq(wr_linear_init(&l, &net->weights, plain->w, plain->b, out, in, precision), WR_OK);
    return l;
}

/* What is allocated here lives until the test's process ends; LeakSanitizer sees it through this. */
static network made[8];
static size_t nmade;

static network *make_network(size_t layers, size_t dim, size_t heads, size_t ffn, bool types, wr_precision precision)
{
    enum { VOCAB = 50, POSITIONS = 300 };
    network *net = &made[nmade++];
    wr_test_random random = {layers * 7 + dim};
    wr_linear_thread_init();
    net->e = (wr_encoder){.layers = layers, .dim = dim, .heads = heads, .ffn = ffn, .vocab = VOCAB, .types = 2};
    net->e.positions = POSITIONS;
    net->e.eps = 1e-12f;
    net->e.word = (wr_table){.f32 = numbers(&random, VOCAB * dim, 1, 0), .cols = dim};
    net->e.position = numbers(&random, POSITIONS * dim, 0.3f, 0);
    net->e.type = types ? numbers(&random, 2 * dim, 0.3f, 0) : NULL;
    net->e.embedding_norm = random_norm(&random, dim);
    net->e.layer = calloc(layers, sizeof *net->e.layer);
    net->plain = calloc(5 * layers, sizeof *net->plain);
    for (size_t i = 0; i < layers; i++) {
        wr_layer *l = &net->e.layer[i];
        wr_linear *plain = net->plain + 5 * i;
        l->query = random_linear(&random, net, dim, dim, precision, &plain[0]);
        l->keys_values = random_linear(&random, net, 2 * dim, dim, precision, &plain[1]);
        l->attended = random_linear(&random, net, dim, dim, precision, &plain[2]);
        l->attended_norm = random_norm(&random, dim);
        l->up = random_linear(&random, net, ffn, dim, precision, &plain[3]);
        l->down = random_linear(&random, net, dim, ffn, precision, &plain[4]);
        l->output_norm = random_norm(&random, dim);
        net->e.nint8 += wr_layer_nint8(l);
    }
    net->e.integers = net->e.nint8 > 0;
    return net;
}

static network *random_network(size_t layers, size_t dim, size_t heads, size_t ffn, bool types)
{
    return make_network(layers, dim, heads, ffn, types, WR_PRECISION_FP32);
}

/* ---- the formulas, one sequence, double precision ---- */

static void slow_linear(const wr_linear *l, const double *x, size_t rows, double *y)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < l->out; o++) {
            double sum = l->b[o];
            for (size_t i = 0; i < l->in; i++) sum += x[r * l->in + i] * l->w[o * l->in + i];
            y[r * l->out + o] = sum;
        }
}

static void slow_norm(const wr_norm *norm, double *x, size_t rows, size_t dim)
{
    for (size_t r = 0; r < rows; r++, x += dim) {
        double mean = 0, variance = 0;
        for (size_t i = 0; i < dim; i++) mean += x[i] / (double)dim;
        for (size_t i = 0; i < dim; i++) variance += (x[i] - mean) * (x[i] - mean) / (double)dim;
        for (size_t i = 0; i < dim; i++) x[i] = (x[i] - mean) / sqrt(variance + 1e-12) * norm->gamma[i] + norm->beta[i];
    }
}

static void slow_attention(const wr_encoder *e, const double *q, const double *kv, size_t n, double *ctx,
                           double *received)
{
    size_t dim = e->dim, width = dim / e->heads;
    for (size_t j = 0; j < n; j++) received[j] = 0;
    for (size_t h = 0; h < dim; h += width)
        for (size_t i = 0; i < n; i++) {
            double weight[512], sum = 0;
            for (size_t j = 0; j < n; j++) {
                double score = 0;
                for (size_t d = h; d < h + width; d++) score += q[i * dim + d] * kv[j * 2 * dim + d];
                sum += weight[j] = exp(score / sqrt((double)width));
            }
            for (size_t j = 0; j < n; j++) received[j] += weight[j] / sum;
            for (size_t d = h; d < h + width; d++) {
                double value = 0;
                for (size_t j = 0; j < n; j++) value += weight[j] / sum * kv[j * 2 * dim + dim + d];
                ctx[i * dim + d] = value;
            }
        }
}

/* Which tokens go on; fixed ones always, of the others those that fewer than `count` surpass. Returns how many. */
static size_t slow_drop(double *x, double *ctx, bool *fixed, const double *received, size_t n, size_t count, size_t dim)
{
    bool stays[512];
    size_t left = 0;
    for (size_t t = 0; t < n; t++) {
        size_t better = 0;
        for (size_t j = 0; j < n; j++) better += !fixed[j] && (received[j] > received[t]);
        stays[t] = fixed[t] || better < count;
    }
    for (size_t t = 0; t < n; t++) {
        if (!stays[t]) continue;
        memmove(x + left * dim, x + t * dim, dim * sizeof *x);
        memmove(ctx + left * dim, ctx + t * dim, dim * sizeof *ctx);
        fixed[left++] = fixed[t];
    }
    return left;
}

/* The states behind the last layer; with keep < 1 those of *left tokens. */
static double *slow_run_kept(const network *net, const uint32_t *id, const uint8_t *type, size_t n, float keep,
                             size_t *left)
{
    const wr_encoder *e = &net->e;
    double received[512];
    bool fixed[512], pair = false;
    size_t whole = n, always = 0;
    for (size_t t = 0; t < n; t++) pair |= type && type[t] == 1;
    for (size_t t = 0; t < n; t++) always += fixed[t] = t == n - 1 || (pair ? type[t] == 0 : t == 0);
    size_t dim = e->dim;
    double *x = calloc(n * dim, sizeof *x), *q = calloc(n * dim, sizeof *q), *kv = calloc(n * 2 * dim, sizeof *kv);
    double *ctx = calloc(n * dim, sizeof *ctx), *mid = calloc(n * e->ffn, sizeof *mid), *y = calloc(n * dim, sizeof *y);
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < dim; i++)
            x[t * dim + i] = (double)e->word.f32[id[t] * dim + i] + e->position[t * dim + i] +
                             (e->type ? e->type[(type ? type[t] : 0) * dim + i] : 0);
    slow_norm(&e->embedding_norm, x, n, dim);
    for (size_t l = 0; l < e->layers; l++) {
        const wr_linear *plain = net->plain + 5 * l;
        slow_linear(&plain[0], x, n, q);
        slow_linear(&plain[1], x, n, kv);
        slow_attention(e, q, kv, n, ctx, received);
        n = slow_drop(x, ctx, fixed, received, n, wr_keep_count(keep, l, e->layers, whole, always) - always, dim);
        slow_linear(&plain[2], ctx, n, y);
        for (size_t i = 0; i < n * dim; i++) x[i] += y[i];
        slow_norm(&e->layer[l].attended_norm, x, n, dim);
        slow_linear(&plain[3], x, n, mid);
        for (size_t i = 0; i < n * e->ffn; i++)
            mid[i] = e->act == WR_ACT_RELU ? fmax(mid[i], 0) : 0.5 * mid[i] * (1 + erf(mid[i] * M_SQRT1_2));
        slow_linear(&plain[4], mid, n, y);
        for (size_t i = 0; i < n * dim; i++) x[i] += y[i];
        slow_norm(&e->layer[l].output_norm, x, n, dim);
    }
    free(q);
    free(kv);
    free(ctx);
    free(mid);
    free(y);
    *left = n;
    return x;
}

static double *slow_run(const network *net, const uint32_t *id, const uint8_t *type, size_t n)
{
    return slow_run_kept(net, id, type, n, 1, &n);
}

/* ---- batches ---- */

enum { MAX_TOKENS = 4096, MAX_SEQUENCES = 64 };

typedef struct sequences {
    uint32_t id[MAX_TOKENS], cu[MAX_SEQUENCES + 1];
    uint8_t type[MAX_TOKENS];
    wr_batch batch;
} sequences;

/* nseq sequences of 1..longest tokens. */
static sequences *random_sequences(size_t nseq, size_t longest, uint64_t seed)
{
    static sequences s;
    wr_test_random random = {seed};
    s.cu[0] = 0;
    for (size_t i = 0; i < nseq; i++) s.cu[i + 1] = s.cu[i] + 1 + (uint32_t)wr_test_below(&random, longest);
    cr_assert_leq(s.cu[nseq], (uint32_t)MAX_TOKENS);
    for (size_t t = 0; t < s.cu[nseq]; t++) {
        s.id[t] = (uint32_t)wr_test_below(&random, 50);
        s.type[t] = (uint8_t)wr_test_below(&random, 2);
    }
    s.batch = (wr_batch){.id = s.id, .type = s.type, .cu = s.cu, .nseq = nseq};
    return &s;
}

static const float *run(const network *net, const wr_batch *batch, bool first_only, wr_arena *arena)
{
    const float *states;
    if (!arena->base) cr_assert_eq(wr_arena_init(arena, 1u << 30), WR_OK);
    wr_pass pass = {.first_only = first_only};
    cr_assert_eq(wr_encoder_run(&net->e, batch, &pass, arena, NULL, &states), WR_OK);
    return states;
}

static void check_formula(const network *net, double tolerance)
{
    wr_arena arena = {0};
    sequences *s = random_sequences(6, 70, 3);
    const float *got = run(net, &s->batch, false, &arena);
    size_t dim = net->e.dim;
    for (size_t i = 0; i < s->batch.nseq; i++) {
        size_t begin = s->cu[i], n = s->cu[i + 1] - begin;
        double *want = slow_run(net, s->id + begin, s->type + begin, n);
        for (size_t j = 0; j < n * dim; j++)
            cr_assert_float_eq(got[begin * dim + j], want[j], tolerance,
                               "sequence %zu, token %zu, dimension %zu: %g, %g", i, j / dim, j % dim,
                               (double)got[begin * dim + j], want[j]);
        free(want);
    }
    wr_arena_release(&arena);
}

Test(encoder, a_pass_is_what_the_formulas_say)
{
    check_formula(random_network(2, 24, 3, 40, true), 2e-5);
    check_formula(random_network(2, 30, 5, 50, false), 2e-5);
}

Test(encoder, so_it_is_with_blas)
{
    setenv("WEIR_ISA", "ref", 1);
    check_formula(random_network(2, 24, 3, 40, true), 2e-5);
    check_formula(random_network(2, 30, 5, 50, false), 2e-5);
}

Test(encoder, so_it_is_with_avx2)
{
    setenv("WEIR_ISA", "avx2", 1);
    check_formula(random_network(2, 30, 5, 50, true), 2e-5);
}

Test(encoder, relu_is_relu)
{
    network *net = random_network(1, 24, 3, 40, true);
    net->e.act = WR_ACT_RELU;
    check_formula(net, 2e-5);
}

static double length(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sqrt(sum);
}

/* Every state of the batch, taken to length 1, equals that of its sequence alone, to the bit or within a tolerance. */
static void check_singles(const network *net, sequences *s, bool first_only, double tolerance)
{
    wr_arena all = {0}, one = {0};
    const float *states = run(net, &s->batch, first_only, &all);
    size_t dim = net->e.dim;
    for (size_t i = 0; i < s->batch.nseq; i++) {
        uint32_t begin = s->cu[i], alone[2] = {0, s->cu[i + 1] - begin};
        size_t row = first_only ? i : begin, rows = first_only ? 1 : alone[1];
        wr_batch single = {.id = s->id + begin, .type = s->type + begin, .cu = alone, .nseq = 1};
        const float *got = run(net, &single, first_only, &one);
        for (size_t j = 0; j < rows * dim; j++) {
            const float *want = states + row * dim;
            double d = fabs((double)got[j] - want[j]) / length(want + j / dim * dim, dim);
            cr_assert(d <= tolerance, "sequence %zu of %u tokens: differs by %g", i, (unsigned)alone[1], d);
        }
        wr_arena_reset(&one, 0);
    }
    wr_arena_release(&all);
    wr_arena_release(&one);
}

Test(encoder, a_batch_equals_singles_bit_for_bit_at_real_sizes)
{
    if (!strcmp(wr_kernels_get()->isa, "ref")) cr_skip_test("BLAS multiplies here");
    const network *mini = random_network(1, 384, 12, 1536, true), *tiny = random_network(2, 128, 2, 512, true);
    check_singles(mini, random_sequences(20, 60, 5), false, 0);
    check_singles(mini, random_sequences(13, 60, 6), true, 0);
    check_singles(tiny, random_sequences(64, 50, 7), false, 0);
    check_singles(tiny, random_sequences(64, 1, 8), true, 0);
}

Test(encoder, a_batch_equals_singles_within_1e_6_with_blas)
{
    setenv("WEIR_ISA", "ref", 1);
    check_singles(random_network(1, 384, 12, 1536, true), random_sequences(6, 40, 5), false, 1e-6);
    check_singles(random_network(2, 128, 2, 512, true), random_sequences(6, 40, 7), true, 1e-6);
}

/* ---- bf16 ---- */

/* Root mean square of the difference from the formulas, whose states have size 1. */
static double error_of(const network *net)
{
    wr_arena arena = {0};
    sequences *s = random_sequences(6, 70, 3);
    const float *got = run(net, &s->batch, false, &arena);
    size_t dim = net->e.dim, count = s->cu[6] * dim;
    double sum = 0;
    for (size_t i = 0; i < s->batch.nseq; i++) {
        size_t begin = s->cu[i], n = s->cu[i + 1] - begin;
        double *want = slow_run(net, s->id + begin, s->type + begin, n);
        for (size_t j = 0; j < n * dim; j++) sum += pow(got[begin * dim + j] - want[j], 2);
        free(want);
    }
    wr_arena_release(&arena);
    return sqrt(sum / (double)count);
}

static void only_with_bf16(void)
{
    if (!wr_kernels_get()->gemm_bf16) cr_skip_test("no AVX512-BF16 here");
}

Test(encoder, bf16_stays_near_the_formulas)
{
    only_with_bf16();
    /* two layers of random weights: each product rounds both sides to a 256th of each number */
    cr_assert_lt(error_of(make_network(2, 24, 3, 40, true, WR_PRECISION_BF16)), 0.02);
    cr_assert_lt(error_of(make_network(2, 30, 5, 50, false, WR_PRECISION_BF16)), 0.02);
}

Test(encoder, a_batch_of_bf16_equals_singles_bit_for_bit)
{
    only_with_bf16();
    check_singles(make_network(1, 384, 12, 1536, true, WR_PRECISION_BF16), random_sequences(20, 60, 5), false, 0);
    check_singles(make_network(2, 128, 2, 512, true, WR_PRECISION_BF16), random_sequences(64, 50, 7), true, 0);
    check_singles(make_network(2, 30, 5, 50, false, WR_PRECISION_BF16), random_sequences(30, 100, 8), false, 0);
}

Test(encoder, without_the_instruction_bf16_is_refused)
{
    setenv("WEIR_ISA", "avx2", 1);
    wr_linear l;
    wr_weights weights = {0};
    float w[4] = {0};
    cr_assert_eq(wr_linear_init(&l, &weights, w, w, 2, 2, WR_PRECISION_BF16), WR_EUNSUPPORTED);
}

/* ---- bytes ---- */

Test(encoder, bytes_stay_near_the_formulas)
{
    /* two layers of random weights: each product rounds its inputs to a 254th of their largest */
    cr_assert_lt(error_of(make_network(2, 24, 3, 40, true, WR_PRECISION_INT8)), 0.05);
    cr_assert_lt(error_of(make_network(2, 30, 5, 50, false, WR_PRECISION_INT8)), 0.05);
}

Test(encoder, a_batch_of_bytes_equals_singles_bit_for_bit)
{
    check_singles(make_network(1, 384, 12, 1536, true, WR_PRECISION_INT8), random_sequences(20, 60, 5), false, 0);
    check_singles(make_network(2, 128, 2, 512, true, WR_PRECISION_INT8), random_sequences(64, 50, 7), true, 0);
    check_singles(make_network(2, 30, 5, 50, false, WR_PRECISION_INT8), random_sequences(30, 100, 8), false, 0);
}

/* The states as another process computes them, whose kernels are those of `isa`. */
static float *states_on(const char *isa, size_t n, void (*compute)(float *out))
{
    float *out = mmap(NULL, n * sizeof *out, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(out, MAP_FAILED);
    pid_t child = fork();
    if (child == 0) {
        setenv("WEIR_ISA", isa, 1);
        compute(out);
        _exit(0);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return out;
}

enum { BYTES_DIM = 96, BYTES_ROWS = 4096 };

static void compute(float *out, wr_precision precision)
{
    wr_arena arena = {0};
    network *net = make_network(2, BYTES_DIM, 3, 200, true, precision);
    sequences *s = random_sequences(12, 90, 11);
    memcpy(out, run(net, &s->batch, false, &arena), s->cu[12] * BYTES_DIM * sizeof *out);
    wr_arena_release(&arena);
}

static void compute_bytes(float *out)
{
    compute(out, WR_PRECISION_INT8);
}

static void compute_floats(float *out)
{
    compute(out, WR_PRECISION_FP32);
}

Test(encoder, floats_give_the_same_bits_with_avx2_and_avx512)
{
    wr_kernels k;
    if (!wr_kernels_for("avx2", &k)) cr_skip_test("BLAS multiplies here");
    size_t n = (size_t)BYTES_ROWS * BYTES_DIM;
    float *want = states_on("avx2", n, compute_floats), *got = states_on("avx512", n, compute_floats);
    cr_assert_eq(memcmp(got, want, n * sizeof *got), 0);
    munmap(want, n * sizeof *want);
    munmap(got, n * sizeof *got);
}

static void same_on_every_isa(void (*states)(float *out))
{
    static const char *const isas[] = {"avx2", "avx512", "avx512_vnni"};
    size_t n = (size_t)BYTES_ROWS * BYTES_DIM;
    float *want = states_on("ref", n, states);
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        float *got = states_on(isas[i], n, states);
        cr_assert_eq(memcmp(got, want, n * sizeof *got), 0, "%s", isas[i]);
        munmap(got, n * sizeof *got);
    }
    munmap(want, n * sizeof *want);
}

Test(encoder, bytes_give_the_same_bits_on_every_instruction_set)
{
    same_on_every_isa(compute_bytes);
}

Test(encoder, an_exit_is_the_state_of_an_encoder_with_fewer_layers)
{
    wr_arena a = {0}, b = {0};
    network *net = random_network(3, 48, 4, 100, true);
    sequences *s = random_sequences(5, 60, 9);
    const float *early, *want;
    wr_pass pass = {.exit = 2};
    cr_assert_eq(wr_arena_init(&a, 1u << 30), WR_OK);
    cr_assert_eq(wr_encoder_run(&net->e, &s->batch, &pass, &a, NULL, &early), WR_OK);
    net->e.layers = 2;
    want = run(net, &s->batch, false, &b);
    cr_assert_eq(memcmp(early, want, s->cu[5] * 48 * sizeof *want), 0);
    wr_arena_release(&a);
    wr_arena_release(&b);
}

/* ---- tokens that are dropped on the way ---- */

typedef struct kept {
    uint32_t cu[MAX_SEQUENCES + 1];
    uint64_t rows[8];
    wr_kept kept;
} kept;

static const float *run_kept(const network *net, const wr_batch *batch, wr_pass pass, wr_arena *arena, kept *k)
{
    const float *states;
    k->kept = (wr_kept){k->cu, k->rows};
    pass.kept = &k->kept;
    if (!arena->base) cr_assert_eq(wr_arena_init(arena, 1u << 30), WR_OK);
    cr_assert_eq(wr_encoder_run(&net->e, batch, &pass, arena, NULL, &states), WR_OK);
    return states;
}

/* States, lengths and the count of rows against the formulas. */
static void check_kept(const network *net, float keep, bool first_only, double tolerance)
{
    wr_arena arena = {0};
    kept k;
    sequences *s = random_sequences(24, 70, 3);
    uint64_t rows[8] = {0};
    size_t dim = net->e.dim, layers = net->e.layers;
    for (size_t i = 0; i < s->batch.nseq; i += 2) memset(s->type + s->cu[i], 0, s->cu[i + 1] - s->cu[i]);
    const float *got = run_kept(net, &s->batch, (wr_pass){.keep = keep, .first_only = first_only}, &arena, &k);
    for (size_t i = 0; i < s->batch.nseq; i++) {
        size_t begin = s->cu[i], n = s->cu[i + 1] - begin, left, always = 0;
        const uint8_t *type = s->type + begin;
        double *want = slow_run_kept(net, s->id + begin, type, n, keep, &left);
        for (size_t t = 0; t < n; t++)
            always += t == n - 1 || (memchr(type, 1, n) ? type[t] == 0 : t == 0);
        for (size_t l = 0; l < layers; l++)
            rows[l] += first_only && l == layers - 1 ? 1 : wr_keep_count(keep, l, layers, n, always);
        cr_assert_eq(k.cu[i + 1] - k.cu[i], left);
        const float *states = got + (first_only ? i : k.cu[i]) * dim;
        for (size_t j = 0; j < (first_only ? 1 : left) * dim; j++)
            cr_assert_float_eq(states[j], want[j], tolerance, "sequence %zu, row %zu: %g, %g", i, j / dim,
                               (double)states[j], want[j]);
        free(want);
    }
    for (size_t l = 0; l < layers; l++) cr_assert_eq(k.rows[l], rows[l]);
    wr_arena_release(&arena);
}

Test(encoder, what_receives_least_is_dropped)
{
    check_kept(random_network(4, 24, 3, 40, true), 0.5f, false, 1e-4);
    check_kept(random_network(4, 24, 3, 40, true), 0.2f, true, 1e-4);
    check_kept(random_network(2, 30, 5, 50, false), 0.6f, false, 1e-4);
}

Test(encoder, so_it_is_dropped_with_blas)
{
    setenv("WEIR_ISA", "ref", 1);
    check_kept(random_network(4, 24, 3, 40, true), 0.5f, false, 1e-4);
}

Test(encoder, keeping_everything_changes_nothing)
{
    for (int bytes = 0; bytes < 2; bytes++)
        for (int first_only = 0; first_only < 2; first_only++) {
            wr_arena a = {0}, b = {0};
            kept k;
            network *net = make_network(3, 48, 4, 100, true, bytes ? WR_PRECISION_INT8 : WR_PRECISION_FP32);
            sequences *s = random_sequences(30, 60, 9);
            const float *plain = run(net, &s->batch, first_only, &a);
            const float *all = run_kept(net, &s->batch, (wr_pass){.keep = 1, .first_only = first_only}, &b, &k);
            cr_assert_eq(memcmp(plain, all, (first_only ? 30 : s->cu[30]) * 48 * sizeof *all), 0);
            cr_assert_eq(memcmp(k.cu, s->cu, 31 * sizeof *k.cu), 0);
            wr_arena_release(&a);
            wr_arena_release(&b);
        }
}

static void check_kept_singles(const network *net, sequences *s, bool first_only)
{
    wr_arena all = {0}, one = {0};
    kept k, lone;
    wr_pass pass = {.keep = 0.3f, .first_only = first_only};
    const float *states = run_kept(net, &s->batch, pass, &all, &k);
    size_t dim = net->e.dim;
    for (size_t i = 0; i < s->batch.nseq; i++) {
        uint32_t begin = s->cu[i], alone[2] = {0, s->cu[i + 1] - begin};
        wr_batch single = {.id = s->id + begin, .type = s->type + begin, .cu = alone, .nseq = 1};
        const float *got = run_kept(net, &single, pass, &one, &lone);
        size_t row = first_only ? i : k.cu[i], rows = first_only ? 1 : lone.cu[1];
        cr_assert_eq(lone.cu[1], k.cu[i + 1] - k.cu[i]);
        cr_assert_eq(memcmp(got, states + row * dim, rows * dim * sizeof *got), 0, "sequence %zu", i);
        wr_arena_reset(&one, 0);
    }
    wr_arena_release(&all);
    wr_arena_release(&one);
}

Test(encoder, dropping_gives_a_batch_the_bits_of_singles)
{
    if (!strcmp(wr_kernels_get()->isa, "ref")) cr_skip_test("BLAS multiplies here");
    check_kept_singles(make_network(4, 96, 3, 200, true, WR_PRECISION_FP32), random_sequences(40, 60, 5), false);
    check_kept_singles(make_network(4, 96, 3, 200, true, WR_PRECISION_INT8), random_sequences(40, 60, 5), false);
    check_kept_singles(make_network(4, 96, 3, 200, true, WR_PRECISION_INT8), random_sequences(40, 60, 6), true);
}

static void compute_dropped_bytes(float *out)
{
    wr_arena arena = {0};
    kept k;
    network *net = make_network(4, BYTES_DIM, 3, 200, true, WR_PRECISION_INT8);
    sequences *s = random_sequences(12, 90, 11);
    const float *states = run_kept(net, &s->batch, (wr_pass){.keep = 0.4f}, &arena, &k);
    memcpy(out, states, k.cu[12] * BYTES_DIM * sizeof *out);
    wr_arena_release(&arena);
}

Test(encoder, bytes_drop_the_same_tokens_on_every_instruction_set)
{
    same_on_every_isa(compute_dropped_bytes);
}

Test(encoder, without_room_for_lengths_nothing_is_dropped)
{
    wr_arena arena = {0};
    const network *net = random_network(2, 24, 3, 40, true);
    const float *states;
    cr_assert_eq(wr_arena_init(&arena, 1u << 30), WR_OK);
    cr_assert_eq(wr_encoder_run(&net->e, &random_sequences(2, 9, 1)->batch, &(wr_pass){.keep = 0.5f}, &arena, NULL,
                                &states),
                 WR_EARG);
    wr_arena_release(&arena);
}

Test(encoder, work_is_what_the_layers_multiply)
{
    const network *net = random_network(3, 24, 3, 40, true);
    double layer = 50 * (4 * 24 * 24 + 2 * 24 * 40) + 2 * 50 * 50 * 24;
    double first = 50 * 2 * 24 * 24 + 2 * 24 * 24 + 2 * 24 * 40 + 2 * 50 * 24;
    cr_assert_float_eq(wr_encoder_work(&net->e, &(wr_pass){0}, 50), 3 * layer, 1e-6);
    cr_assert_float_eq(wr_encoder_work(&net->e, &(wr_pass){.exit = 2}, 50), 2 * layer, 1e-6);
    cr_assert_float_eq(wr_encoder_work(&net->e, &(wr_pass){.exit = 2, .first_only = true}, 50), layer + first, 1e-6);
    /* 50, then half of 48 and the two ends, from the second layer's attention on */
    double second = layer - 24 * (24 * 24 + 2 * 24 * 40);
    double third = 26 * (4 * 24 * 24 + 2 * 24 * 40) + 2 * 26 * 26 * 24;
    cr_assert_float_eq(wr_encoder_work(&net->e, &(wr_pass){.keep = 0.5f}, 50), layer + second + third, 1e-6);
}

Test(encoder, first_only_gives_the_first_tokens_states)
{
    wr_arena a = {0}, b = {0};
    const network *net = random_network(3, 48, 4, 100, true);
    sequences *s = random_sequences(30, 60, 9);
    const float *all = run(net, &s->batch, false, &a), *first = run(net, &s->batch, true, &b);
    for (size_t i = 0; i < s->batch.nseq; i++)
        for (size_t d = 0; d < 48; d++) cr_assert_float_eq(first[i * 48 + d], all[s->cu[i] * 48 + d], 1e-5);
    wr_arena_release(&a);
    wr_arena_release(&b);
}

Test(encoder, a_long_sequence_crosses_blocks_of_rows)
{
    /* 300 tokens are more than attention holds at a time, 12 of them more than a block of rows */
    const network *net = random_network(1, 24, 3, 40, true);
    sequences *s = random_sequences(1, 1, 10);
    wr_arena arena = {0};
    for (size_t i = 0; i < 12; i++) s->cu[i + 1] = (uint32_t)(300 * (i + 1));
    for (size_t t = 0; t < 3600; t++) s->id[t] = (uint32_t)(t * 7 % 50);
    s->batch.type = NULL;
    s->batch.nseq = 12;
    const float *got = run(net, &s->batch, false, &arena);
    double *want = slow_run(net, s->id + 3300, NULL, 300);
    for (size_t j = 0; j < 300 * 24; j++) cr_assert_float_eq(got[3300 * 24 + j], want[j], 2e-5);
    free(want);
    wr_arena_release(&arena);
}

Test(encoder, arena_bytes_are_an_upper_bound)
{
    const network *net = random_network(1, 24, 3, 40, true);
    for (size_t nseq = 1; nseq <= 64; nseq += 21)
        for (int first_only = 0; first_only < 2; first_only++) {
            wr_arena arena = {0};
            sequences *s = random_sequences(nseq, 60, nseq);
            run(net, &s->batch, first_only, &arena);
            cr_assert_leq(arena.high, wr_encoder_arena_bytes(&net->e, s->cu[nseq], 60));
            wr_arena_release(&arena);
        }
    wr_arena arena = {0};
    kept k;
    sequences *s = random_sequences(20, 60, 3);
    run_kept(net, &s->batch, (wr_pass){.keep = 0.5f, .first_only = true}, &arena, &k);
    cr_assert_leq(arena.high, wr_encoder_arena_bytes(&net->e, s->cu[20], 60));
    wr_arena_release(&arena);
}
