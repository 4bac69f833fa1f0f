/* What the machine can do at most, and how much of it the matrix products keep.
 *
 *     build/release/tests/bench_peak [THREADS [ROUNDS]]
 *
 * The peak is a loop of the instruction itself on 14 independent sums, more than its latency times its throughput on
 * every CPU that has it: fused multiply-add for fp32, vpdpbf16ps for bf16, vpdpbusd for int8 (vpmaddwd, which needs two
 * for as many products, where there is no VNNI). The products are the kernel table's own at the shapes of MiniLM-L6 and
 * BERT-base: every thread multiplies its own 512 rows with the same packed weights; dequantising and bias are in it,
 * quantising is not. Both are taken in turn, ROUNDS times (5), on one thread and on THREADS (all that there are), and
 * the best of each counts. Two operations a multiply-add.
 *
 *     peak int8 2 threads  936.1 GOP/s  vpdpbusd zmm
 *     gemm int8 2 threads  512 x 384 x 1536  880.3 GOP/s  94.0 %
 */
#include <cpuid.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/budget.h"
#include "data/pool.h"
#include "models/kernels.h"

enum { SUMS = 14, ROWS = 512, MAX_THREADS = 256, PEAK_NS = 60000000 };

/* Registers 0 to 13 are sums, 14 and 15 hold what is multiplied. The assembler takes any instruction; whether the CPU
 * has it is asked before. */
#define ONE(insn, reg, i) insn " %%" reg "15, %%" reg "14, %%" reg #i "\n\t"
#define SEVEN(insn, reg, a, b, c, d, e, f, g)                                                                          \
    ONE(insn, reg, a)                                                                                                  \
    ONE(insn, reg, b) ONE(insn, reg, c) ONE(insn, reg, d) ONE(insn, reg, e) ONE(insn, reg, f) ONE(insn, reg, g)
#define LOOP(name, isa, insn, reg)                                                                                     \
    __attribute__((target(isa), noinline)) static void name(size_t n, uint32_t bits)                                   \
    {                                                                                                                  \
        __asm__ volatile("vmovd %1, %%xmm14\n\t"                                                                       \
                         "vpbroadcastd %%xmm14, %%" reg "14\n\t"                                                       \
                         "vpbroadcastd %%xmm14, %%" reg "15\n"                                                         \
                         "1:\n\t" SEVEN(insn, reg, 0, 1, 2, 3, 4, 5, 6)                                                \
                             SEVEN(insn, reg, 7, 8, 9, 10, 11, 12, 13) "dec %0\n\t"                                    \
                                                                       "jnz 1b\n\t"                                    \
                                                                       "vzeroupper"                                    \
                         : "+r"(n)                                                                                     \
                         : "r"(bits)                                                                                   \
                         : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",       \
                           "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");                                      \
    }

LOOP(busd_zmm, "avx512f,avx512vnni", "vpdpbusd", "zmm")
LOOP(bf16_zmm, "avx512f,avx512bf16", "vdpbf16ps", "zmm")
LOOP(fma_zmm, "avx512f", "vfmadd231ps", "zmm")
LOOP(busd_ymm, "avx2", "%{vex%} vpdpbusd", "ymm")
LOOP(maddwd_ymm, "avx2", "vpmaddwd", "ymm")
LOOP(fma_ymm, "avx2,fma", "vfmadd231ps", "ymm")

typedef struct instruction {
    const char *precision, *name;
    double ops; /* of one instruction */
    void (*loop)(size_t n, uint32_t bits);
} instruction;

/* Older compilers do not know its name. */
static bool has_avx_vnni(void)
{
    unsigned a = 0, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

/* The best instruction of each precision that this CPU has. */
static size_t instructions(instruction *to)
{
    bool wide = __builtin_cpu_supports("avx512f"), vnni = __builtin_cpu_supports("avx512vnni");
    size_t n = 0;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    if (wide && vnni)
        to[n++] = (instruction){"int8", "vpdpbusd zmm", 128, busd_zmm};
    else if (has_avx_vnni())
        to[n++] = (instruction){"int8", "vpdpbusd ymm", 64, busd_ymm};
    else
        to[n++] = (instruction){"int8", "vpmaddwd ymm", 32, maddwd_ymm};
    if (wide && __builtin_cpu_supports("avx512bf16")) to[n++] = (instruction){"bf16", "vdpbf16ps zmm", 64, bf16_zmm};
    if (wide)
        to[n++] = (instruction){"fp32", "vfmadd231ps zmm", 32, fma_zmm};
    else
        to[n++] = (instruction){"fp32", "vfmadd231ps ymm", 16, fma_ymm};
    return n;
}

/* What every thread of one measurement does, and how often. */
typedef struct work {
    void (*run)(struct work *work, size_t thread);
    size_t repeat, out, in;
    double ops; /* of one repetition */
    const instruction *insn;
    const float *packed;
    wr_s8_weights w8;
    wr_s8_rows *rows8; /* [threads] */
    float **x, **y;    /* [threads] */
    double best;       /* operations a nanosecond, all threads together */
} work;

static void run_peak(work *w, size_t thread)
{
    (void)thread;
    w->insn->loop(w->repeat, 0x01010101);
}

static void run_fp32(work *w, size_t thread)
{
    for (size_t i = 0; i < w->repeat; i++)
        wr_kernels_get()->gemm_f32(w->x[thread], w->in, ROWS, w->in, w->packed, w->out, w->y[thread], w->out);
}

static void run_int8(work *w, size_t thread)
{
    for (size_t i = 0; i < w->repeat; i++)
        wr_kernels_get()->gemm_s8(&w->rows8[thread], ROWS, &w->w8, 0, w->out, WR_S8_PLAIN, w->y[thread], w->out);
}

static void run_one(void *arg, size_t thread)
{
    work *w = arg;
    w->run(w, thread);
}

/* Once to find out how often fills PEAK_NS, then measured. */
static void measure(work *w, wr_pool *pool, unsigned threads)
{
    if (!w->repeat) {
        uint64_t spent = 0;
        for (w->repeat = 1; spent < PEAK_NS / 4; w->repeat *= 2) {
            uint64_t start = wr_clock_now(&wr_clock_system);
            w->run(w, 0);
            spent = wr_clock_now(&wr_clock_system) - start;
        }
    }
    uint64_t start = wr_clock_now(&wr_clock_system);
    wr_pool_for(pool, threads, run_one, w);
    double rate = w->ops * (double)w->repeat * threads / (double)(wr_clock_now(&wr_clock_system) - start);
    if (rate > w->best) w->best = rate;
}

static void *memory(size_t n)
{
    void *p = aligned_alloc(64, (n + 63) / 64 * 64);
    if (!p) abort();
    memset(p, 0, (n + 63) / 64 * 64);
    return p;
}

static float *numbers(size_t n)
{
    static uint64_t state = 1;
    float *x = memory(n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(state >> 33) / 2147483648.0f - 0.5f;
    }
    return x;
}

static void prepare_fp32(work *w, size_t out, size_t in, size_t threads)
{
    const wr_kernels *k = wr_kernels_get();
    float *packed = memory(wr_kernels_packed(k, out, in) * sizeof *packed), *plain = numbers(out * in);
    wr_kernels_pack(k, plain, out, in, packed);
    free(plain);
    *w = (work){.run = run_fp32, .out = out, .in = in, .packed = packed};
    w->ops = 2.0 * ROWS * (double)(out * in);
    w->x = memory(threads * sizeof *w->x);
    w->y = memory(threads * sizeof *w->y);
    for (size_t t = 0; t < threads; t++) {
        w->x[t] = numbers(ROWS * in);
        w->y[t] = memory(ROWS * out * sizeof(float));
    }
}

/* Takes inputs and outputs of an fp32 work of the same shape. */
static void prepare_int8(work *w, const work *from, size_t threads)
{
    const wr_kernels *k = wr_kernels_get();
    size_t out = from->out, in = from->in, stride = wr_s8_stride(in);
    float *scale = numbers(out);
    int8_t *q = memory(out * in);
    for (size_t i = 0; i < out * in; i++) q[i] = (int8_t)((int)(i * 2654435761u >> 16) % 255 - 127);
    void *packed = memory(k->packed_s8(out, in));
    k->pack_s8(q, out, in, packed);
    free(q);
    *w = *from;
    w->run = run_int8;
    w->w8 = (wr_s8_weights){packed, scale, numbers(out), out, in};
    w->rows8 = memory(threads * sizeof *w->rows8);
    for (size_t t = 0; t < threads; t++) {
        w->rows8[t] =
            (wr_s8_rows){memory(ROWS * stride), memory(ROWS * sizeof(float)), memory(ROWS * sizeof(int32_t)), stride};
        k->quantize_s8(w->x[t], ROWS, in, NULL, &w->rows8[t]);
    }
}

static const size_t shapes[][2] = {{1152, 384}, {384, 384}, {1536, 384}, {384, 1536},  /* MiniLM-L6 */
                                   {2304, 768}, {768, 768}, {3072, 768}, {768, 3072}}; /* BERT-base */
enum { SHAPES = sizeof shapes / sizeof *shapes };

static work gemm[2][SHAPES]; /* fp32, int8 */

static void report(const instruction *insn, const work *peak, size_t n, unsigned threads)
{
    static const char *const precision[] = {"fp32", "int8"};
    for (size_t i = 0; i < n; i++)
        printf("peak %s %u threads  %.1f GOP/s  %s\n", insn[i].precision, threads, peak[i].best, insn[i].name);
    for (size_t p = 0; p < 2; p++) {
        double top = 0, ops = 0, time = 0;
        for (size_t i = 0; i < n; i++)
            if (!strcmp(insn[i].precision, precision[p])) top = peak[i].best;
        for (size_t s = 0; s < SHAPES; s++) {
            work *w = &gemm[p][s];
            if (s % 4 == 0) ops = time = 0;
            ops += w->ops;
            time += w->ops / w->best;
            printf("gemm %s %u threads  %d x %zu x %zu  %.1f GOP/s  %.1f %%\n", precision[p], threads, ROWS, w->in,
                   w->out, w->best, 100 * w->best / top);
            if (s % 4 == 3)
                printf("gemm %s %u threads  %s  %.1f GOP/s  %.1f %%\n", precision[p], threads,
                       s == 3 ? "MiniLM-L6 layer" : "BERT-base layer", ops / time, 100 * ops / time / top);
        }
    }
}

static void compare(wr_pool *pool, unsigned threads, size_t rounds)
{
    instruction insn[3];
    work peak[3];
    size_t n = instructions(insn);
    for (size_t i = 0; i < n; i++) peak[i] = (work){.run = run_peak, .insn = &insn[i], .ops = SUMS * insn[i].ops};
    for (size_t i = 0; i < SHAPES; i++) gemm[0][i].best = gemm[1][i].best = 0;
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < n; i++) measure(&peak[i], pool, threads);
        for (size_t i = 0; i < 2 * SHAPES; i++) measure(&gemm[i / SHAPES][i % SHAPES], pool, threads);
    }
    report(insn, peak, n, threads);
}

int main(int argc, char **argv)
{
    wr_err err;
    wr_pool *pool;
    unsigned threads = argc > 1 ? (unsigned)atoi(argv[1]) : wr_cpu_count();
    size_t rounds = argc > 2 ? (size_t)atoi(argv[2]) : 5;
    if (threads < 1 || threads > MAX_THREADS || rounds < 1) {
        fprintf(stderr, "bench_peak: [THREADS [ROUNDS]], 1 to %d threads, was expected\n", MAX_THREADS);
        return 2;
    }
    if (wr_pool_open(&pool, threads, NULL, &err)) {
        fprintf(stderr, "bench_peak: %s\n", err.text);
        return 1;
    }
    printf("kernels %s\n", wr_kernels_get()->isa);
    for (size_t i = 0; i < SHAPES; i++) {
        prepare_fp32(&gemm[0][i], shapes[i][0], shapes[i][1], threads);
        prepare_int8(&gemm[1][i], &gemm[0][i], threads);
    }
    compare(pool, 1, rounds);
    if (threads > 1) compare(pool, threads, rounds);
    wr_pool_close(pool);
    return 0;
}
