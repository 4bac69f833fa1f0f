/* The vector file, its scan, and FAISS behind it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/hash.h"
#include "indexer/dense.h"
#include "indexer/factory.h"
#include "models/kernels.h"
#include "tests/testlib.h"

/* FAISS loses 72 bytes of a coarse quantizer when it refuses what stands behind "IVF16,". */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfaiss.so";
}
const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "print_suppressions=0";
}

static wr_arena arena;

static void begin(void)
{
    cr_assert_eq(wr_arena_init(&arena, (size_t)256 << 20), WR_OK);
}

static void end(void)
{
    wr_arena_release(&arena);
}

TestSuite(dense, .init = begin, .fini = end);

static float *random_rows(size_t n, size_t dim, uint64_t seed)
{
    wr_test_random random = {seed};
    float *rows = malloc((n * dim + 1) * sizeof *rows);
    for (size_t i = 0; i < n * dim; i++) rows[i] = wr_test_normal(&random);
    return rows;
}

static const char *write_vectors(const char *name, const float *rows, size_t n, size_t dim)
{
    wr_err err;
    wr_vectors_writer *w;
    static char paths[4][256]; /* a test's paths outlive wr_test_path()'s turn */
    static size_t turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s", wr_test_path(name));
    cr_assert_eq(wr_vectors_writer_open(&w, path, dim, &err), WR_OK, "%s", err.text);
    for (size_t i = 0; i < n; i += 1000)
        cr_assert_eq(wr_vectors_writer_add(w, rows + i * dim, n - i < 1000 ? n - i : 1000, &err), WR_OK);
    cr_assert_eq(wr_vectors_writer_commit(w, &err), WR_OK, "%s", err.text);
    return path;
}

static wr_dense *open_flat(const char *path)
{
    wr_err err;
    wr_dense *d;
    cr_assert_eq(wr_dense_open(&d, path, NULL, "Flat", &err), WR_OK, "%s", err.text);
    return d;
}

static bool is_excluded(const uint32_t *exclude, size_t n, uint32_t docid)
{
    for (size_t i = 0; i < n; i++)
        if (exclude[i] == docid) return true;
    return false;
}

/* The definition: every row scored, the k best picked one after another. */
static size_t brute_force(const float *rows, size_t n, size_t dim, const float *query, size_t k,
                          const uint32_t *exclude, size_t nexclude, uint32_t *docid, float *score)
{
    bool *used = calloc(n + 1, sizeof *used);
    size_t found = 0;
    for (; found < k; found++) {
        size_t best = n;
        float best_score = 0;
        for (size_t i = 0; i < n; i++) {
            if (used[i] || is_excluded(exclude, nexclude, (uint32_t)i)) continue;
            float s = wr_kernels_get()->dot_f32(rows + i * dim, query, dim);
            if (best == n || s > best_score) best = i, best_score = s;
        }
        if (best == n) break;
        used[best] = true;
        docid[found] = (uint32_t)best;
        score[found] = best_score;
    }
    free(used);
    return found;
}

Test(dense, a_scan_equals_brute_force)
{
    const size_t rows[] = {1, 2, 255, 256, 257, 3000, 9001}, dims[] = {1, 7, 64, 100};
    wr_err err;
    wr_pool *pool;
    cr_assert_eq(wr_pool_open(&pool, 3, wr_dense_thread_init, &err), WR_OK);
    for (size_t r = 0; r < 7; r++) {
        size_t n = rows[r], dim = dims[r % 4], k = 1 + r * 7;
        float *x = random_rows(n, dim, r), *query = random_rows(1, dim, 100 + r);
        const uint32_t exclude[] = {0, 1, 200, 256, 5000, 9000};
        uint32_t docid[64];
        float score[64];
        wr_dense *d = open_flat(write_vectors("v", x, n, dim));
        for (int with_exclude = 0; with_exclude < 2; with_exclude++) {
            size_t nex = with_exclude ? 6 : 0;
            size_t want = brute_force(x, n, dim, query, k, exclude, nex, docid, score);
            for (int with_pool = 0; with_pool < 2; with_pool++) {
                wr_hits hits;
                wr_arena_reset(&arena, 0);
                cr_assert_eq(
                    wr_dense_search(d, query, k, NULL, exclude, nex, NULL, with_pool ? pool : NULL, &arena, &hits),
                    WR_OK);
                cr_assert_eq(hits.n, want);
                cr_assert_eq(memcmp(hits.docid, docid, want * sizeof *docid), 0);
                cr_assert_eq(memcmp(hits.score, score, want * sizeof *score), 0);
                cr_assert_not(hits.partial);
            }
        }
        cr_assert(wr_dense_interruptible(d));
        wr_dense_close(d);
        free(x);
        free(query);
    }
    wr_pool_close(pool);
}

Test(dense, equal_scores_order_by_docid)
{
    enum { N = 5000, DIM = 4 };
    static float x[N * DIM];
    for (size_t i = 0; i < N; i++) x[i * DIM] = (float)(i % 3);
    const float query[DIM] = {1};
    wr_hits hits;
    wr_dense *d = open_flat(write_vectors("v", x, N, DIM));
    cr_assert_eq(wr_dense_search(d, query, 100, NULL, NULL, 0, NULL, NULL, &arena, &hits), WR_OK);
    for (uint32_t i = 0; i < 100; i++) cr_assert_eq(hits.docid[i], 3 * i + 2);
    wr_dense_close(d);
}

Test(dense, a_spent_budget_gives_what_was_seen_and_says_so)
{
    enum { N = 10000, DIM = 8 };
    float *x = random_rows(N, DIM, 1);
    wr_test_clock fake;
    wr_budget budget;
    wr_hits hits;
    wr_dense *d = open_flat(write_vectors("v", x, N, DIM));
    wr_test_clock_init(&fake, 1000, 100000); /* 0.1 ms at every look: ten looks in a millisecond */
    wr_budget_start(&budget, &fake.clock, 1, 0, 0);
    cr_assert_eq(wr_dense_search(d, x, 10, NULL, NULL, 0, &budget, NULL, &arena, &hits), WR_OK);
    cr_assert(hits.partial);
    cr_assert_eq(hits.n, 10);
    cr_assert_lt(hits.seen, N);
    cr_assert_gt(hits.seen, 0);
    wr_dense_close(d);
    free(x);
}

Test(dense, the_writer_refuses_what_is_not_finite)
{
    wr_err err;
    wr_vectors_writer *w;
    float x[6] = {0, 1, 2, 3, NAN, 5};
    cr_assert_eq(wr_vectors_writer_open(&w, wr_test_path("v"), 2, &err), WR_OK);
    cr_assert_eq(wr_vectors_writer_add(w, x, 3, &err), WR_EFORMAT);
    cr_assert(strstr(err.text, "passage 2"), "%s", err.text);
    wr_vectors_writer_abort(w);
    cr_assert_not(wr_path_exists(wr_test_path("v")));
    cr_assert_eq(wr_vectors_writer_open(&w, wr_test_path("v"), 0, &err), WR_EARG);
    cr_assert_null(w);
}

Test(dense, a_row_damaged_to_nan_or_infinity_is_passed_over_and_named_by_verify)
{
    enum { N = 1000, DIM = 4 };
    float *x = random_rows(N, DIM, 1);
    const char *path = write_vectors("v", x, N, DIM);
    const float bad[2] = {NAN, INFINITY};
    FILE *f = fopen(path, "r+b");
    for (long i = 0; i < 2; i++) {
        fseek(f, 64 + (500 + i) * DIM * 4, SEEK_SET);
        fwrite(&bad[i], 4, 1, f);
    }
    fclose(f);
    wr_err err;
    wr_hits hits;
    wr_vectors v;
    const float query[DIM] = {1};
    wr_dense *d = open_flat(path);
    cr_assert_eq(wr_dense_search(d, query, N, NULL, NULL, 0, NULL, NULL, &arena, &hits), WR_OK);
    cr_assert_eq(hits.n, N - 2);
    for (size_t i = 0; i < hits.n; i++) cr_assert(isfinite(hits.score[i]));
    wr_dense_close(d);
    cr_assert_eq(wr_vectors_open(&v, path, &err), WR_OK);
    cr_assert_eq(wr_vectors_verify(&v, path, &err), WR_EFORMAT);
    cr_assert(strstr(err.text, "passage 500"), "%s", err.text);
    wr_vectors_close(&v);
    free(x);
}

/* Builds and opens; the caller closes. */
static wr_dense *build(const char *vectors, const char *factory, const char *name)
{
    wr_err err;
    wr_dense *d;
    const char *path = wr_test_path(name);
    cr_assert_eq(wr_dense_build(vectors, factory, false, path, &err), WR_OK, "%s: %s", factory, err.text);
    cr_assert_eq(wr_dense_open(&d, vectors, path, factory, &err), WR_OK, "%s: %s", factory, err.text);
    return d;
}

Test(dense, every_usual_factory_gives_exact_scores_and_keeps_exclusions)
{
    enum { N = 1500, DIM = 32 };
    static const char *const factory[] = {"HNSW16",
                                          "HNSW16,SQ8",
                                          "IVF16,Flat",
                                          "IVF16,SQ8",
                                          "SQ8",
                                          "SQfp16",
                                          "PQ8x4np",
                                          "IVF16,PQ8x5np",
                                          "OPQ2_16,IVF16,PQ8x4np",
                                          "PCAR16,Flat",
                                          "IVF16_HNSW8,SQ8",
                                          "NSG16",
                                          "IVF16,PQ8x4fs,RFlat",
                                          "L2norm,HNSW16"};
    float *x = random_rows(N, DIM, 1);
    const char *vectors = write_vectors("v", x, N, DIM);
    const uint32_t exclude[] = {3, 77, 1000};
    for (size_t f = 0; f < sizeof factory / sizeof *factory; f++) {
        wr_dense *d = build(vectors, factory[f], "faiss");
        wr_dense_params params = {.ef = 200, .nprobe = 4};
        cr_assert_eq(wr_dense_count(d), N);
        cr_assert_eq(wr_dense_dim(d), DIM);
        cr_assert_not(wr_dense_interruptible(d));
        wr_hits hits;
        for (uint32_t q = 77; q < 80; q++) {
            wr_arena_reset(&arena, 0);
            const float *query = wr_dense_vector(d, q);
            cr_assert_eq(wr_dense_search(d, query, 20, &params, exclude, 3, NULL, NULL, &arena, &hits), WR_OK);
            cr_assert_gt(hits.n, 10, "%s", factory[f]);
            cr_assert_leq(hits.n, 20);
            for (size_t i = 0; i < hits.n; i++) {
                cr_assert_not(is_excluded(exclude, 3, hits.docid[i]));
                cr_assert_eq(hits.score[i], wr_kernels_get()->dot_f32(x + (size_t)hits.docid[i] * DIM, query, DIM));
                if (i) cr_assert(wr_better(hits.score[i - 1], hits.docid[i - 1], hits.score[i], hits.docid[i]));
            }
        }
        wr_dense_close(d);
    }
    free(x);
}

Test(dense, the_same_vectors_give_the_same_index_bytes)
{
    enum { N = 3000, DIM = 24 };
    static const char *const factory[] = {"HNSW16", "IVF32,SQ8", "RR8,IVF16,PQ4x6np"};
    float *x = random_rows(N, DIM, 5);
    const char *vectors = write_vectors("v", x, N, DIM);
    for (size_t f = 0; f < 3; f++) {
        wr_err err;
        char a[WR_SHA256_HEX], b[WR_SHA256_HEX];
        for (int i = 0; i < 2; i++) {
            cr_assert_eq(wr_dense_build(vectors, factory[f], false, wr_test_path("i"), &err), WR_OK, "%s", err.text);
            cr_assert_eq(wr_sha256_file(wr_test_path("i"), i ? b : a, &err), WR_OK);
        }
        cr_assert_str_eq(a, b, "%s", factory[f]);
    }
    free(x);
}

Test(dense, a_fast_build_finds_as_much)
{
    enum { N = 4000, DIM = 16 };
    float *x = random_rows(N, DIM, 5);
    const char *vectors = write_vectors("v", x, N, DIM);
    wr_err err;
    wr_dense *d;
    wr_hits hits;
    cr_assert_eq(wr_dense_build(vectors, "HNSW16", true, wr_test_path("i"), &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_dense_open(&d, vectors, wr_test_path("i"), "HNSW16", &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_dense_search(d, x, 10, NULL, NULL, 0, NULL, NULL, &arena, &hits), WR_OK);
    cr_assert_eq(hits.n, 10);
    wr_dense_close(d);
    free(x);
}

Test(dense, strings_that_would_stop_or_fill_the_process_are_refused)
{
    static const char *const odd[] = {
        "",
        "HNSW0",
        "HNSW1",
        "HNSW999999",
        "HNSW99999999999999999999",
        "HNSW-3",
        "PQ0",
        "PQ8x0",
        "PQ8x64",
        "PQ7",
        "IVF0,Flat",
        "IVF999999999,Flat",
        "IVF16,",
        ",IVF16",
        "IVF16",
        "IVF16,PQ0",
        "IVF16,PQ3",
        "IVF16(HNSW0),Flat",
        "IVF4(Index7),Flat",
        "IVF16(IVF16,Flat,Flat",
        ")",
        "((((",
        "()",
        ",",
        ",,,,",
        "_",
        "x",
        "np",
        "8",
        "SQ3",
        "SQ7",
        "SQfp32",
        "OPQ0,Flat",
        "OPQ3,Flat",
        "PCA0,Flat",
        "PCA9999,Flat",
        "RR0,Flat",
        "ITQ0,Flat",
        "Pad99999999,Flat",
        "IDMap,Flat",
        "IDMap2,HNSW32",
        "LSH",
        "ZnLattice3x10_4",
        "Residual99x99,PQ8",
        "IMI2x99,PQ8",
        "RCQ9x9",
        "Flat,Flat",
        "Flat ",
        " Flat",
        "flat",
        "hnsw32",
        "%s%n",
        "Fl\xc3\xa4t",
        "IVF16,Flat\n",
        "IVF4096,Flat",
        "Refine(Flat)",
        "RFlat",
        "HNSW32_PQ8",
        "NSG0",
        "NSG1",
        "NSG9999",
        "IVF16_HNSW0,Flat",
        "IVF16,PQ4x4fs_0",
        "PQ4x4fs_1",
        "IVF4,ITQ8,SH",
        "MinMax,Flat",
        "L2norm",
        "L2norm,",
        "PCAR8",
        "OPQ8",
        "2x4",
        "Refine(Refine(Refine(Refine(Refine(Refine(Refine(Refine(Refine(Refine(Flat))))))))))"};
    enum { N = 1200, DIM = 16 };
    float *x = random_rows(N, DIM, 5);
    const char *vectors = write_vectors("v", x, N, DIM);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        wr_err err = {0};
        const char *path = wr_test_path("odd");
        cr_assert_eq(wr_dense_build(vectors, odd[i], false, path, &err), WR_EARG, "'%s': %s", odd[i], err.text);
        cr_assert(strstr(err.text, "dense index '"), "'%s': %s", odd[i], err.text);
        cr_assert_not(wr_path_exists(path));
    }
    free(x);
}

Test(dense, a_corpus_too_small_for_its_lists_is_told_so)
{
    float *x = random_rows(100, 8, 5);
    wr_err err;
    const char *vectors = write_vectors("v", x, 100, 8);
    cr_assert_eq(wr_dense_build(vectors, "IVF256,SQ8", false, wr_test_path("i"), &err), WR_EARG);
    cr_assert_str_eq(err.text,
                     "dense index 'IVF256,SQ8': 256 lists need at least 256 passages to train on, there are 100");
    free(x);
}

Test(dense, files_that_do_not_belong_together_are_refused)
{
    float *x = random_rows(500, 16, 5);
    wr_err err;
    wr_dense *d;
    wr_dense_close(build(write_vectors("a", x, 500, 16), "HNSW8", "i"));
    cr_assert_eq(wr_dense_open(&d, write_vectors("b", x, 400, 16), wr_test_path("i"), "HNSW8", &err), WR_EFORMAT);
    cr_assert_null(d);
    cr_assert_eq(wr_dense_open(&d, write_vectors("c", x, 1000, 8), wr_test_path("i"), "HNSW8", &err), WR_EFORMAT);
    cr_assert_eq(wr_dense_open(&d, wr_test_path("a"), wr_test_path("i"), "HNSW0", &err), WR_EFORMAT);
    cr_assert_eq(wr_dense_open(&d, wr_test_path("a"), wr_test_path("a"), "HNSW8", &err), WR_EFORMAT);
    cr_assert_eq(wr_dense_open(&d, wr_test_path("none"), NULL, "Flat", &err), WR_ENOTFOUND);
    cr_assert_null(d);
    free(x);
}
