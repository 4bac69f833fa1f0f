/* One FAISS build measured through its C API, to compare it with another (BENCHMARKS.md, "FAISS builds").
 *
 *     make build/release/faiss-bench FAISS_PREFIX=DIR
 *     OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 build/release/faiss-bench [VECTORS] [LATENT]
 *
 * VECTORS seeded unit vectors (100000 by default) of 384 dimensions, 200 queries of the same kind, inner
 * product, k = 10, queries one at a time as a server gets them. With LATENT = 0 (the default) the vectors
 * are white noise, the worst case for a graph; with LATENT = n they are n hidden dimensions spread over
 * 384 plus a little noise, which is nearer to what encoders make. For each index: seconds to build,
 * microseconds a query (median of the 200), recall@10 against the flat index. */
#include <faiss/c_api/AutoTune_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/error_c.h>
#include <faiss/c_api/index_factory_c.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DIM = 384, QUERIES = 200, K = 10, MAX_LATENT = DIM };

static uint64_t rng = 0x9E3779B97F4A7C15u;

static double uniform(void)
{
    uint64_t x = rng += 0x9E3779B97F4A7C15u; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return (double)((x ^ (x >> 31)) >> 11) / 9007199254740992.0 + 1e-17;
}

static double gauss(void)
{
    double radius = sqrt(-2.0 * log(uniform()));
    return radius * cos(6.283185307179586 * uniform());
}

static void fill(float *v, size_t n, const float *mix, int latent)
{
    double hidden[MAX_LATENT];
    for (size_t i = 0; i < n; i++) {
        double norm = 0;
        for (int j = 0; j < latent; j++) hidden[j] = gauss();
        for (int d = 0; d < DIM; d++) {
            double x = latent ? 0.2 * gauss() : gauss();
            for (int j = 0; j < latent; j++) x += hidden[j] * (double)mix[d * latent + j];
            v[i * DIM + (size_t)d] = (float)x;
            norm += x * x;
        }
        for (int d = 0; d < DIM; d++) v[i * DIM + (size_t)d] /= (float)sqrt(norm);
    }
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(int code, const char *what)
{
    if (!code) return;
    fprintf(stderr, "faiss-bench: %s: %s\n", what, faiss_get_last_error());
    exit(1);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Searches one query at a time; returns the median in microseconds. */
static double search(FaissIndex *index, const float *queries, idx_t *ids)
{
    static double us[QUERIES];
    float scores[K];
    for (size_t q = 0; q < QUERIES; q++) {
        double start = now_s();
        check(faiss_Index_search(index, 1, queries + q * DIM, K, scores, ids + q * K), "search");
        us[q] = 1e6 * (now_s() - start);
    }
    qsort(us, QUERIES, sizeof *us, by_size);
    return us[QUERIES / 2];
}

static double recall(const idx_t *got, const idx_t *want)
{
    size_t found = 0;
    for (size_t q = 0; q < QUERIES; q++)
        for (size_t i = 0; i < K; i++)
            for (size_t j = 0; j < K; j++) found += got[q * K + i] == want[q * K + j];
    return (double)found / (QUERIES * K);
}

static FaissIndex *build(const char *factory, const float *docs, size_t n)
{
    FaissIndex *index = NULL;
    double start = now_s();
    check(faiss_index_factory(&index, DIM, factory, METRIC_INNER_PRODUCT), factory);
    check(faiss_Index_train(index, (idx_t)n, docs), "train");
    check(faiss_Index_add(index, (idx_t)n, docs), "add");
    printf("%-8s build %.2f s\n", factory, now_s() - start);
    return index;
}

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    int latent = argc > 2 ? atoi(argv[2]) : 0;
    static idx_t want[QUERIES * K], got[QUERIES * K];
    if (n < 1000 || n > 10000000 || latent < 0 || latent > MAX_LATENT) {
        fprintf(stderr, "usage: faiss-bench [VECTORS 1000..10000000] [LATENT 0..%d]\n", MAX_LATENT);
        return 2;
    }
    float *mix = calloc(DIM * MAX_LATENT, sizeof *mix);
    float *docs = malloc(n * DIM * sizeof *docs), *queries = malloc(sizeof *queries * QUERIES * DIM);
    if (!mix || !docs || !queries) return 1;
    for (int i = 0; i < DIM * latent; i++) mix[i] = (float)(gauss() / sqrt(latent));
    fill(docs, n, mix, latent);
    fill(queries, QUERIES, mix, latent);

    FaissIndex *flat = build("Flat", docs, n);
    printf("%-8s search %.0f us\n", "Flat", search(flat, queries, want));
    FaissIndex *graph = build("HNSW32", docs, n);
    FaissParameterSpace *space = NULL;
    check(faiss_ParameterSpace_new(&space), "parameters");
    for (int ef = 16; ef <= 256; ef *= 4) {
        check(faiss_ParameterSpace_set_index_parameter(space, graph, "efSearch", ef), "efSearch");
        double us = search(graph, queries, got);
        printf("%-8s search %.0f us, efSearch %d, recall@10 %.4f\n", "HNSW32", us, ef, recall(got, want));
    }
    faiss_ParameterSpace_free(space);
    faiss_Index_free(graph);
    faiss_Index_free(flat);
    free(mix);
    free(docs);
    free(queries);
    return 0;
}
