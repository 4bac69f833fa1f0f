/* The product with block-sparse weights against the dense one of the same table: how much faster at which sparsity.
 *
 *     make bench
 *
 * Shapes of MiniLM-L6 and BERT-base, 4 x 1 blocks, one thread. Rows are turned and results stored in the time of the
 * sparse product, as in the encoder. Dense and sparse alternate and the best of each counts, so that a neighbour on the
 * machine disturbs both. The ratio of multiplications, 1 / (1 - sparsity), is 5 at 80 %. GOP/s is the dense kernel's.
 * With an argument, that level of instructions (avx2, avx512_vnni); with a second one, the number of rows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/budget.h"
#include "models/kernels_sparse.h"
#include "tests/testlib.h"

typedef struct shape {
    const char *name;
    size_t in, out;
    wr_s8_act act;
} shape;

static const shape shapes[] = {
    {"MiniLM keys, values", 384, 768, WR_S8_PLAIN}, {"MiniLM attended", 384, 384, WR_S8_PLAIN},
    {"MiniLM up", 384, 1536, WR_S8_GELU},           {"MiniLM down", 1536, 384, WR_S8_PLAIN},
    {"BERT attended", 768, 768, WR_S8_PLAIN},       {"BERT up", 768, 3072, WR_S8_GELU},
    {"BERT down", 3072, 768, WR_S8_PLAIN},
};

static const double levels[] = {0, 0.5, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95};

enum { NSHAPES = sizeof shapes / sizeof *shapes, NLEVELS = sizeof levels / sizeof *levels };

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    return p ? memset(p, 1, bytes) : (abort(), NULL);
}

static double seconds_since(uint64_t start)
{
    return (double)(wr_clock_now(&wr_clock_system) - start) / 1e9;
}

/* Exactly that share of blocks, at random places. */
static int8_t *weights(wr_test_random *random, size_t out, size_t in, double sparsity)
{
    int8_t *w = memory(out * in);
    size_t blocks = out / 4 * in, left = (size_t)((double)blocks * (1 - sparsity) + 0.5);
    for (size_t b = 0; b < blocks; b++) {
        bool keep = wr_test_below(random, blocks - b) < left;
        left -= keep;
        for (size_t o = 0; o < 4; o++)
            w[(b / in * 4 + o) * in + b % in] = keep ? (int8_t)(1 + wr_test_below(random, 127)) : 0;
    }
    return w;
}

/* Best seconds of the dense and of the sparse product, in turn. */
static void compare(const wr_kernels *k, const shape *s, size_t rows, double sparsity, double *dense, double *sparse)
{
    wr_test_random random = {s->in * 31 + s->out};
    int8_t *w = weights(&random, s->out, s->in, sparsity);
    float *scale = memory(s->out * sizeof *scale), *y = memory(rows * s->out * sizeof *y);
    wr_s8_rows x = {.stride = wr_s8_stride(s->in)};
    x.q = memory(rows * x.stride);
    x.scale = memory(rows * sizeof *x.scale);
    x.sum = memory(rows * sizeof *x.sum);
    for (size_t o = 0; o < s->out; o++) scale[o] = 0.01f;
    for (size_t r = 0; r < rows; r++) x.scale[r] = 0.01f;
    for (size_t i = 0; i < rows * x.stride; i++) x.q[i] = (int8_t)((int)wr_test_below(&random, 255) - 127);
    void *packed = memory(k->packed_s8(s->out, s->in)), *blocks = memory(wr_s8_sparse_bytes(w, s->out, s->in));
    void *scratch = memory(wr_s8_sparse_scratch(s->in));
    k->pack_s8(w, s->out, s->in, packed);
    wr_s8_weights d = {packed, scale, scale, s->out, s->in};
    wr_s8_sparse b = {.scale = scale, .bias = scale};
    wr_s8_sparse_pack(w, s->out, s->in, blocks, &b);
    *dense = *sparse = 1e9;
    for (int run = 0; run < 30; run++) {
        uint64_t start = wr_clock_now(&wr_clock_system);
        k->gemm_s8(&x, rows, &d, 0, s->out, s->act, y, s->out);
        double t = seconds_since(start);
        *dense = t < *dense ? t : *dense;
        start = wr_clock_now(&wr_clock_system);
        k->spmm_s8(&x, rows, &b, 0, s->out, s->act, scratch, y, s->out);
        t = seconds_since(start);
        *sparse = t < *sparse ? t : *sparse;
    }
    free(w), free(scale), free(y), free(x.q), free(x.scale), free(x.sum), free(packed), free(blocks), free(scratch);
}

int main(int argc, char **argv)
{
    wr_kernels named;
    const wr_kernels *k = wr_kernels_get();
    size_t rows = argc > 2 ? (size_t)atoi(argv[2]) : 512;
    if (argc > 1 && !wr_kernels_for(argv[1], &named)) return fprintf(stderr, "%s: not on this CPU\n", argv[1]), 2;
    if (argc > 1) k = &named;
    printf("kernels %s, %zu rows, one thread: times faster than the dense product at a sparsity of\n",
           argc > 1 ? argv[1] : k->isa, rows);
    printf("%-20s %12s %7s", "", "in -> out", "GOP/s");
    for (size_t i = 0; i < NLEVELS; i++) printf(" %5.0f%%", 100 * levels[i]);
    printf("\n");
    for (size_t i = 0; i < NSHAPES; i++) {
        double dense[NLEVELS], sparse[NLEVELS], best = 1e9;
        for (size_t j = 0; j < NLEVELS; j++) {
            compare(k, &shapes[i], rows, levels[j], &dense[j], &sparse[j]);
            best = dense[j] < best ? dense[j] : best;
        }
        printf("%-20s %4zu -> %4zu %7.0f", shapes[i].name, shapes[i].in, shapes[i].out,
               2e-9 * (double)(rows * shapes[i].in * shapes[i].out) / best);
        for (size_t j = 0; j < NLEVELS; j++) printf(" %6.2f", dense[j] / sparse[j]);
        printf("\n");
    }
    return 0;
}
