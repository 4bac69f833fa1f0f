/* Dense search: the exact scan against FAISS's indexes in front of it.
 *
 *     build/release/tests/bench_dense [ROWS | VECTORS.bin] [FACTORY...]
 *
 * ROWS (20000) seeded unit vectors of 384 components, 24 hidden dimensions and a little noise, or the vector file of an
 * index (gen-N/vectors.bin). 200 queries, one at a time: more vectors of the same kind, or rows of the file moved a
 * little. Recall is against the scan. Memory is what FAISS holds beside the vectors.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "indexer/dense.h"

enum { DIM = 384, HIDDEN = 24, QUERIES = 200, K_MAX = 100 };

static uint64_t state = 1;

static double uniform(void)
{
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static float normal(void)
{
    return (float)(sqrt(-2 * log(1 - uniform())) * cos(2 * M_PI * uniform()));
}

static void unit(float *x, size_t dim)
{
    float sum = 0;
    for (size_t i = 0; i < dim; i++) sum += x[i] * x[i];
    for (size_t i = 0; i < dim; i++) x[i] /= sqrtf(sum);
}

static void die(const wr_err *err)
{
    fprintf(stderr, "bench_dense: %s\n", err->text);
    exit(1);
}

static void make_row(float *row, float mix[HIDDEN][DIM])
{
    memset(row, 0, DIM * sizeof *row);
    for (size_t h = 0; h < HIDDEN; h++) {
        float factor = normal();
        for (size_t i = 0; i < DIM; i++) row[i] += factor * mix[h][i];
    }
    for (size_t i = 0; i < DIM; i++) row[i] += 0.3f * normal();
    unit(row, DIM);
}

static float *make_vectors(const char *path, size_t n)
{
    wr_err err;
    wr_vectors_writer *w;
    static float mix[HIDDEN][DIM], row[DIM];
    float *queries = malloc(QUERIES * DIM * sizeof *queries);
    for (size_t h = 0; h < HIDDEN; h++)
        for (size_t i = 0; i < DIM; i++) mix[h][i] = normal();
    if (wr_vectors_writer_open(&w, path, DIM, &err)) die(&err);
    for (size_t i = 0; i < n; i++) {
        make_row(row, mix);
        if (wr_vectors_writer_add(w, row, 1, &err)) die(&err);
    }
    if (wr_vectors_writer_commit(w, &err)) die(&err);
    for (size_t q = 0; q < QUERIES; q++) make_row(queries + q * DIM, mix);
    return queries;
}

static float *moved_rows(const char *path, size_t *dim)
{
    wr_err err;
    wr_vectors v;
    if (wr_vectors_open(&v, path, &err)) die(&err);
    *dim = v.dim;
    float *queries = malloc(QUERIES * v.dim * sizeof *queries);
    for (size_t q = 0; q < QUERIES; q++) {
        float *x = queries + q * v.dim;
        memcpy(x, v.row + v.count * q / QUERIES * v.dim, v.dim * sizeof *x);
        for (size_t i = 0; i < v.dim; i++) x[i] += 0.6f * normal() / sqrtf((float)v.dim);
        unit(x, v.dim);
    }
    wr_vectors_close(&v);
    return queries;
}

static double now_s(void)
{
    return (double)wr_clock_now(&wr_clock_system) / 1e9;
}

/* Searches all queries; docid[QUERIES * K_MAX] is filled; returns milliseconds a query. */
static double run(const wr_dense *d, const float *queries, size_t k, const wr_dense_params *params, wr_pool *pool,
                  uint32_t *docid)
{
    wr_arena arena;
    if (wr_arena_init(&arena, (size_t)64 << 20)) exit(1);
    double began = now_s();
    for (size_t q = 0; q < QUERIES; q++) {
        wr_hits hits;
        wr_arena_reset(&arena, arena.cap);
        if (wr_dense_search(d, queries + q * wr_dense_dim(d), k, params, NULL, 0, NULL, pool, &arena, &hits)) exit(1);
        for (size_t i = 0; i < k; i++) docid[q * K_MAX + i] = i < hits.n ? hits.docid[i] : UINT32_MAX;
    }
    double ms = (now_s() - began) * 1e3 / QUERIES;
    wr_arena_release(&arena);
    return ms;
}

static double recall(const uint32_t *exact, const uint32_t *got, size_t k)
{
    size_t found = 0;
    for (size_t q = 0; q < QUERIES; q++)
        for (size_t i = 0; i < k; i++)
            for (size_t j = 0; j < k; j++) found += exact[q * K_MAX + i] == got[q * K_MAX + j];
    return (double)found / (double)(QUERIES * k);
}

static void bench_factory(const char *vectors, const char *faiss, const char *factory, const float *queries,
                          const uint32_t *exact)
{
    static const wr_dense_params params[] = {{0, 0}, {64, 4}, {128, 8}, {256, 16}, {512, 32}, {1024, 64}};
    wr_err err;
    wr_dense *d;
    struct stat file;
    static uint32_t got[QUERIES * K_MAX];
    double began = now_s();
    if (wr_dense_build(vectors, factory, false, faiss, &err)) {
        printf("%-16s %s\n", factory, err.text);
        return;
    }
    double build = now_s() - began;
    if (wr_dense_open(&d, vectors, faiss, factory, &err)) die(&err);
    stat(faiss, &file);
    printf("%-16s built in %.1f s on one thread, %.1f MB\n", factory, build, (double)file.st_size / 1e6);
    for (size_t p = 0; p < sizeof params / sizeof *params; p++) {
        double ms10 = run(d, queries, 10, &params[p], NULL, got), r10 = recall(exact, got, 10);
        double ms100 = run(d, queries, 100, &params[p], NULL, got), r100 = recall(exact, got, 100);
        printf("    ef %4zu nprobe %2zu   k 10: %7.3f ms, recall %.4f   k 100: %7.3f ms, recall %.4f\n", params[p].ef,
               params[p].nprobe, ms10, r10, ms100, r100);
    }
    wr_dense_close(d);
    unlink(faiss);
}

int main(int argc, char **argv)
{
    static const char *const usual[] = {"HNSW32", "HNSW32,SQ8", "IVF256,SQ8"};
    static uint32_t exact[QUERIES * K_MAX];
    char made[64], faiss[64];
    wr_err err;
    wr_dense *flat;
    wr_pool *pool;
    size_t dim = DIM, rows = argc > 1 ? strtoul(argv[1], NULL, 10) : 20000;
    snprintf(made, sizeof made, "/tmp/bench-dense-%d.bin", (int)getpid());
    snprintf(faiss, sizeof faiss, "/tmp/bench-dense-%d.faiss", (int)getpid());
    const char *vectors = rows ? made : argv[1];
    float *queries = rows ? make_vectors(made, rows) : moved_rows(vectors, &dim);
    if (wr_dense_open(&flat, vectors, NULL, "Flat", &err) || wr_pool_open(&pool, 2, wr_dense_thread_init, &err))
        die(&err);
    run(flat, queries, 10, NULL, NULL, exact); /* touches the pages */
    printf("%zu vectors of %zu components, %d queries\n", (size_t)wr_dense_count(flat), dim, QUERIES);
    for (size_t k = 10; k <= 100; k *= 10) {
        double two = run(flat, queries, k, NULL, pool, exact), one = run(flat, queries, k, NULL, NULL, exact);
        printf("Flat             k %3zu: %7.3f ms on one thread, %7.3f ms on two\n", k, one, two);
    }
    if (argc > 2)
        for (int i = 2; i < argc; i++) bench_factory(vectors, faiss, argv[i], queries, exact);
    else
        for (size_t i = 0; i < 3; i++) bench_factory(vectors, faiss, usual[i], queries, exact);
    wr_pool_close(pool);
    wr_dense_close(flat);
    if (rows) unlink(made);
    free(queries);
    return 0;
}
