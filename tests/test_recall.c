/* What approximate search finds of what exact search finds. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/dense.h"
#include "tests/testlib.h"

/* Unit vectors near a surface of few dimensions, as sentence embeddings are: 16 hidden factors, mixed, and noise.
 * (Pure noise has as many dimensions as components, and no graph finds anything in it.) */
enum { N = 10000, DIM = 64, FACTORS = 16, QUERIES = 100 };

static wr_arena arena;
static float *rows;
static const char *vectors;

static void unit(float *x)
{
    float sum = 0;
    for (size_t i = 0; i < DIM; i++) sum += x[i] * x[i];
    for (size_t i = 0; i < DIM; i++) x[i] /= sqrtf(sum);
}

static void begin(void)
{
    wr_err err;
    wr_test_random random = {42};
    wr_vectors_writer *w;
    float mix[FACTORS][DIM], factor[FACTORS];
    rows = malloc((N + QUERIES) * DIM * sizeof *rows);
    for (size_t f = 0; f < FACTORS; f++)
        for (size_t j = 0; j < DIM; j++) mix[f][j] = wr_test_normal(&random);
    for (size_t i = 0; i < N + QUERIES; i++) {
        float *row = rows + i * DIM;
        for (size_t f = 0; f < FACTORS; f++) factor[f] = wr_test_normal(&random);
        for (size_t j = 0; j < DIM; j++) {
            row[j] = 0.5f * wr_test_normal(&random);
            for (size_t f = 0; f < FACTORS; f++) row[j] += factor[f] * mix[f][j];
        }
        unit(row);
    }
    vectors = wr_test_path("vectors");
    cr_assert_eq(wr_arena_init(&arena, (size_t)64 << 20), WR_OK);
    cr_assert_eq(wr_vectors_writer_open(&w, vectors, DIM, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_vectors_writer_add(w, rows, N, &err), WR_OK);
    cr_assert_eq(wr_vectors_writer_commit(w, &err), WR_OK);
}

static void end(void)
{
    wr_arena_release(&arena);
    free(rows);
}

TestSuite(recall, .init = begin, .fini = end);

static wr_dense *open_index(const char *factory)
{
    wr_err err;
    wr_dense *d;
    const char *path = strcmp(factory, "Flat") ? wr_test_path("faiss") : NULL;
    cr_assert_eq(wr_dense_build(vectors, factory, false, path, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_dense_open(&d, vectors, path, factory, &err), WR_OK, "%s", err.text);
    return d;
}

static double recall(const wr_dense *d, size_t k, const wr_dense_params *params)
{
    wr_dense *flat = open_index("Flat");
    size_t found = 0;
    for (size_t q = 0; q < QUERIES; q++) {
        wr_hits exact, got;
        const float *query = rows + (N + q) * DIM;
        wr_arena_reset(&arena, 0);
        cr_assert_eq(wr_dense_search(flat, query, k, NULL, NULL, 0, NULL, NULL, &arena, &exact), WR_OK);
        cr_assert_eq(wr_dense_search(d, query, k, params, NULL, 0, NULL, NULL, &arena, &got), WR_OK);
        for (size_t i = 0; i < exact.n; i++)
            for (size_t j = 0; j < got.n; j++) found += exact.docid[i] == got.docid[j];
    }
    wr_dense_close(flat);
    return (double)found / (double)(k * QUERIES);
}

static void at_least(const char *factory, size_t k, double want)
{
    wr_dense *d = open_index(factory);
    double got = recall(d, k, NULL);
    cr_assert_geq(got, want, "%s: recall@%zu %.4f, expected at least %.4f", factory, k, got, want);
    wr_dense_close(d);
}

Test(recall, hnsw_finds_95_of_100_of_the_ten_best)
{
    at_least("HNSW32", 10, 0.95);
}

Test(recall, hnsw_finds_95_of_100_of_the_hundred_best)
{
    at_least("HNSW32", 100, 0.95);
}

Test(recall, compressed_codes_lose_nothing_after_rescoring)
{
    at_least("SQ8", 10, 0.999);
    at_least("SQfp16", 100, 0.999);
}

Test(recall, lists_with_the_default_probes_find_95_of_100)
{
    at_least("IVF64,SQ8", 10, 0.95);
}

Test(recall, all_probes_are_exact)
{
    wr_dense *d = open_index("IVF64,Flat");
    cr_assert_eq(recall(d, 10, &(wr_dense_params){.nprobe = 64}), 1.0);
    cr_assert_lt(recall(d, 10, &(wr_dense_params){.nprobe = 1}), 1.0);
    cr_assert_eq(recall(d, 10, &(wr_dense_params){.nprobe = 999}), 1.0);
    wr_dense_close(d);
}

Test(recall, a_larger_ef_finds_more)
{
    wr_dense *d = open_index("HNSW8");
    double small = recall(d, 10, &(wr_dense_params){.ef = 10}), large = recall(d, 10, &(wr_dense_params){.ef = 400});
    cr_assert_gt(large, small);
    cr_assert_geq(large, 0.98);
    wr_dense_close(d);
}
