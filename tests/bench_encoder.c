/* How fast the encoder is on one core, and how much of BLAS's own speed it keeps. Weights are random: only shapes
 * matter.
 *
 *     make bench
 *
 * For each shape and precision: one query of 8 tokens, and 32 passages of 90 tokens as an embedder (all tokens' states)
 * and as a cross-encoder (first tokens only in the last layer). GFLOP/s counts matrix products of weights and of
 * attention; "of sgemm" compares with one plain cblas_sgemm of [384, dim] x [dim, ffn]. Each figure is the best of
 * several runs.
 */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/budget.h"
#include "models/encoder.h"
#include "models/kernels.h"

typedef struct shape {
    const char *name;
    size_t layers, dim, heads, ffn;
} shape;

static const shape shapes[] = {
    {"MiniLM-L6", 6, 384, 12, 1536}, {"BERT-base", 12, 768, 12, 3072}, {"TinyBERT-L2", 2, 128, 2, 512}};

enum { VOCAB = 1000, POSITIONS = 512 };

/* The same numbers every time (a linear congruential generator; its high bits will do). */
static uint32_t next(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static const float *numbers(size_t n)
{
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; x && i < n; i++) x[i] = 0.1f * ((float)next() / 2147483648.0f - 0.5f);
    return x ? x : (abort(), NULL);
}

static wr_weights owner;

static wr_linear linear(size_t out, size_t in, wr_precision precision)
{
    wr_linear l;
    if (wr_linear_init(&l, &owner, numbers(out * in), numbers(out), out, in, precision)) abort();
    return l;
}

static wr_encoder random_encoder(const shape *s, wr_precision p)
{
    wr_encoder e = {.layers = s->layers, .dim = s->dim, .heads = s->heads, .ffn = s->ffn, .vocab = VOCAB};
    wr_norm norm = {numbers(s->dim), numbers(s->dim)};
    e.positions = POSITIONS;
    e.types = 2;
    e.eps = 1e-12f;
    e.word = (wr_table){.f32 = numbers(VOCAB * s->dim), .cols = s->dim};
    e.position = numbers(POSITIONS * s->dim);
    e.type = numbers(2 * s->dim);
    e.embedding_norm = norm;
    e.layer = calloc(s->layers, sizeof *e.layer);
    for (size_t i = 0; i < s->layers; i++)
        e.layer[i] = (wr_layer){.query = linear(s->dim, s->dim, p),
                                .keys_values = linear(2 * s->dim, s->dim, p),
                                .attended = linear(s->dim, s->dim, p),
                                .attended_norm = norm,
                                .up = linear(s->ffn, s->dim, p),
                                .down = linear(s->dim, s->ffn, p),
                                .output_norm = norm};
    for (size_t i = 0; i < s->layers; i++) e.nint8 += wr_layer_nint8(&e.layer[i]);
    e.integers = e.nint8 > 0;
    return e;
}

/* Multiply-adds of one pass over nseq sequences of n tokens, times two. */
static double flops(const shape *s, double nseq, double n, bool first_only)
{
    double dim = (double)s->dim, ffn = (double)s->ffn, rows = nseq * n;
    double layer = rows * (4 * dim * dim + 2 * dim * ffn) + nseq * 2 * n * n * dim;
    double last = rows * 2 * dim * dim + nseq * (2 * dim * dim + 2 * dim * ffn) + nseq * 2 * n * dim;
    return 2 * ((double)s->layers * layer - (first_only ? layer - last : 0));
}

static double seconds_of(const wr_encoder *e, size_t nseq, size_t n, bool first_only, wr_arena *arena)
{
    uint32_t *id = calloc(nseq * n, sizeof *id), *cu = calloc(nseq + 1, sizeof *cu);
    for (size_t i = 0; i < nseq * n; i++) id[i] = next() % VOCAB;
    for (size_t i = 0; i <= nseq; i++) cu[i] = (uint32_t)(i * n);
    wr_batch batch = {.id = id, .cu = cu, .nseq = nseq};
    uint64_t best = UINT64_MAX, spent = 0;
    for (size_t run = 0; run < 3 || (spent < 1500000000u && run < 500); run++) {
        const float *states;
        uint64_t start = wr_clock_now(&wr_clock_system);
        wr_arena_reset(arena, arena->cap);
        wr_pass pass = {.first_only = first_only};
        if (wr_encoder_run(e, &batch, &pass, arena, NULL, &states)) abort();
        uint64_t ns = wr_clock_now(&wr_clock_system) - start;
        spent += ns;
        if (ns < best) best = ns;
    }
    free(id);
    free(cu);
    return (double)best / 1e9;
}

static double sgemm_rate(const shape *s)
{
    enum { ROWS = 384 };
    const float *x = numbers(ROWS * s->dim), *w = numbers(s->ffn * s->dim);
    float *y = malloc(ROWS * s->ffn * sizeof *y);
    double best = 0;
    for (int run = 0; run < 50; run++) {
        uint64_t start = wr_clock_now(&wr_clock_system);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, ROWS, (int)s->ffn, (int)s->dim, 1, x, (int)s->dim, w,
                    (int)s->dim, 0, y, (int)s->ffn);
        double rate = 2.0 * ROWS * (double)(s->ffn * s->dim) / (double)(wr_clock_now(&wr_clock_system) - start);
        if (rate > best) best = rate;
    }
    free(y);
    return best;
}

static void bench(const shape *s, const char *name, wr_precision precision, wr_arena *arena)
{
    wr_encoder e = random_encoder(s, precision);
    double one = seconds_of(&e, 1, 8, false, arena), all = seconds_of(&e, 32, 90, false, arena);
    double pairs = seconds_of(&e, 32, 90, true, arena), rate = flops(s, 32, 90, false) / all / 1e9;
    double peak = sgemm_rate(s);
    printf("%-12s %-5s %12.3f %14.1f %14.1f %12.1f %12.1f %9.0f%%\n", s->name, name, one * 1e3, 32 / all, 32 / pairs,
           rate, peak, 100 * rate / peak);
}

int main(void)
{
    wr_arena arena;
    wr_linear_thread_init();
    if (wr_arena_init(&arena, (size_t)1 << 30)) return 1;
    printf("kernels %s, BLAS %s, one core\n", wr_kernels_get()->isa, openblas_get_corename());
    printf("%-12s %-5s %12s %14s %14s %12s %12s %10s\n", "shape", "", "8 tokens ms", "passages/s", "pairs/s", "GFLOP/s",
           "sgemm", "of sgemm");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        bench(&shapes[i], "fp32", WR_PRECISION_FP32, &arena);
        if (wr_kernels_get()->gemm_bf16) bench(&shapes[i], "bf16", WR_PRECISION_BF16, &arena);
        bench(&shapes[i], "int8", WR_PRECISION_INT8, &arena);
    }
    wr_arena_release(&arena);
    return 0;
}
