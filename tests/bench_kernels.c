/* How fast the matrix products and the attention of one head are on one core, at every level of the kernel table.
 *
 *     make bench
 *     build/release/tests/bench_kernels [ROWS]
 *
 * ROWS tokens (512) at the shapes of MiniLM-L6 and BERT-base; GFLOP/s and GOP/s count a multiplication and an addition
 * as two. The s8 figure includes no quantising (its own line, microseconds for the rows), the bf16 figure the rounding
 * of the inputs. Attention: 12 heads of 32 over 89 tokens, quantising included. Each figure is the best of several
 * runs.
 */
#include <stdio.h>
#include <stdlib.h>

#include "data/budget.h"
#include "models/kernels.h"

typedef struct shape {
    size_t in, out;
} shape;

static const shape shapes[] = {{384, 1152}, {384, 384},  {384, 1536}, {1536, 384},
                               {768, 2304}, {768, 3072}, {3072, 768}};
static const char *const isas[] = {"ref", "avx2", "avx2_madd", "avx2_vnni_evex", "avx512", "avx512_vnni"};

enum {
    NSHAPES = sizeof shapes / sizeof *shapes,
    NISAS = sizeof isas / sizeof *isas,
    RUNS = 15,
    TOKENS = 89,
    VOCAB = 30522
};

/* The same numbers every time (a linear congruential generator; its high bits will do). */
static uint32_t next(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 64) / 64 * 64);
    return p ? p : (abort(), NULL);
}

static float *numbers(size_t n)
{
    float *x = memory(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = 4 * ((float)next() / 2147483648.0f - 0.5f);
    return x;
}

/* What one shape is measured with. */
typedef struct work {
    const wr_kernels *k;
    size_t rows, in, out;
    float *x, *w, *y, *f32;
    uint16_t *bf16;
    wr_s8_rows q;
    wr_s8_weights s8;
} work;

static void run_f32(const work *w)
{
    w->k->gemm_f32(w->x, w->in, w->rows, w->in, w->f32, w->out, w->y, w->out);
}

static void run_bf16(const work *w)
{
    w->k->gemm_bf16(w->x, w->in, w->rows, w->in, w->bf16, w->out, w->y, w->out);
}

static void run_quantize(const work *w)
{
    w->k->quantize_s8(w->x, w->rows, w->in, NULL, &w->q);
}

static void run_s8(const work *w)
{
    w->k->gemm_s8(&w->q, w->rows, &w->s8, 0, w->out, WR_S8_PLAIN, w->y, w->out);
}

static void run_s8_gelu(const work *w)
{
    w->k->gemm_s8(&w->q, w->rows, &w->s8, 0, w->out, WR_S8_GELU, w->y, w->out);
}

static void run_max_f32(const work *w)
{
    w->k->gemm_max_f32(w->x, w->in, w->rows, w->in, w->f32, w->out, NULL, w->y);
}

static void run_max_s8(const work *w)
{
    w->k->gemm_max_s8(&w->q, w->rows, &w->s8, 0, w->out, w->y);
}

static double best_ns(void (*run)(const work *w), const work *w)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < RUNS; i++) {
        uint64_t start = wr_clock_now(&wr_clock_system);
        run(w);
        uint64_t took = wr_clock_now(&wr_clock_system) - start;
        best = took < best ? took : best;
    }
    return (double)best;
}

static work work_for(const wr_kernels *k, size_t rows, shape s)
{
    work w = {.k = k, .rows = rows, .in = s.in, .out = s.out};
    w.x = numbers(rows * s.in);
    w.w = numbers(s.out * s.in);
    w.y = memory(rows * s.out * sizeof *w.y);
    w.f32 = memory(wr_kernels_packed(k, s.out, s.in) * sizeof *w.f32);
    wr_kernels_pack(k, w.w, s.out, s.in, w.f32);
    w.bf16 = memory(wr_kernels_packed_bf16(s.out, s.in) * sizeof *w.bf16);
    wr_kernels_pack_bf16(w.w, s.out, s.in, w.bf16);
    size_t stride = wr_s8_stride(s.in);
    w.q = (wr_s8_rows){memory(rows * stride), memory(rows * 4), memory(rows * 4), stride};
    int8_t *bytes = memory(s.out * s.in);
    for (size_t i = 0; i < s.out * s.in; i++) bytes[i] = (int8_t)((int)(next() % 255) - 127);
    void *packed = memory(k->packed_s8(s.out, s.in));
    k->pack_s8(bytes, s.out, s.in, packed);
    free(bytes);
    w.s8 = (wr_s8_weights){packed, numbers(s.out), numbers(s.out), s.out, s.in};
    return w;
}

static void work_free(work *w)
{
    free(w->x), free(w->w), free(w->y), free(w->f32), free(w->bf16);
    free(w->q.q), free(w->q.scale), free(w->q.sum);
    free((void *)w->s8.packed), free((void *)w->s8.scale), free((void *)w->s8.bias);
}

static void bench_shape(const wr_kernels *k, size_t rows, shape s)
{
    work w = work_for(k, rows, s);
    double ops = 2.0 * (double)rows * (double)s.in * (double)s.out;
    printf("  %4zu -> %-4zu  f32 %5.1f GFLOP/s", s.in, s.out, ops / best_ns(run_f32, &w));
    if (k->gemm_bf16) printf("  bf16 %5.1f GFLOP/s", ops / best_ns(run_bf16, &w));
    double quantize = best_ns(run_quantize, &w) / 1e3;
    printf("  s8 %5.1f GOP/s", ops / best_ns(run_s8, &w));
    printf(", with GELU %5.1f", ops / best_ns(run_s8_gelu, &w));
    printf("  quantize %5.1f us\n", quantize);
    work_free(&w);
}

/* A passage against a vocabulary, with every logit written and with the maximum over its tokens alone. */
static void bench_max(const wr_kernels *k, size_t dim)
{
    work w = work_for(k, TOKENS, (shape){dim, VOCAB});
    double ops = 2.0 * TOKENS * (double)dim * VOCAB;
    run_quantize(&w);
    printf("  %4zu -> %d, %d rows, and only the maximum", dim, VOCAB, TOKENS);
    printf(": f32 %5.1f, %5.1f GFLOP/s", ops / best_ns(run_f32, &w), ops / best_ns(run_max_f32, &w));
    printf("  s8 %5.1f, %5.1f GOP/s\n", ops / best_ns(run_s8, &w), ops / best_ns(run_max_s8, &w));
    work_free(&w);
}

static void bench_attention(const wr_kernels *k)
{
    enum { HEADS = 12, WIDTH = 32, DIM = HEADS * WIDTH };
    float *x = numbers(TOKENS * 3 * DIM), *ctx = numbers(TOKENS * DIM);
    void *scratch = memory(wr_attend_scratch(TOKENS, TOKENS, WIDTH));
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 10 * RUNS; i++) {
        uint64_t start = wr_clock_now(&wr_clock_system);
        for (size_t h = 0; h < HEADS; h++) {
            const float *q = x + h * WIDTH;
            wr_attention a = {.q = q, .k = q + DIM, .v = q + 2 * DIM, .q_stride = 3 * DIM, .kv_stride = 3 * DIM};
            a.nq = a.n = TOKENS;
            a.width = WIDTH;
            a.ctx = ctx + h * WIDTH;
            a.ctx_stride = DIM;
            a.scratch = scratch;
            k->attend_s16(&a);
        }
        uint64_t took = wr_clock_now(&wr_clock_system) - start;
        best = took < best ? took : best;
    }
    printf("  attention, 12 heads over %d tokens: %.1f us\n", TOKENS, (double)best / 1e3);
    free(x), free(ctx), free(scratch);
}

int main(int argc, char **argv)
{
    size_t rows = argc > 1 ? strtoul(argv[1], NULL, 10) : 512;
    wr_kernels k;
    for (size_t i = 0; i < NISAS; i++) {
        if (!wr_kernels_for(isas[i], &k)) continue;
        printf("%s, %zu rows\n", isas[i], rows);
        bool slow = !i; /* the twins: one shape, few rows */
        for (size_t s = 0; s < (slow ? 1 : NSHAPES); s++) bench_shape(&k, slow ? 8 : rows, shapes[s]);
        if (!slow) bench_max(&k, 384), bench_max(&k, 768);
        bench_attention(&k);
    }
    return 0;
}
