#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/mapfile.h"
#include "data/pool.h"
#include "indexer/sparse_ann.h"
#include "tests/testlib_sparse.h"

static const wr_sparse_ann_params everything = {UINT32_MAX, UINT32_MAX, 10, 0.4f};
static const wr_sparse_ann_options every_cluster = {-1, UINT32_MAX}, thorough = {0.8f, 20};

static wr_sparse_ann *built(const wr_sparse *sparse, const char *name, const wr_sparse_ann_params *params,
                            wr_pool *pool)
{
    wr_err err = {0};
    wr_sparse_ann *ann;
    const char *path = wr_test_path(name);
    cr_assert_eq(wr_sparse_ann_build(sparse, path, params, pool, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_sparse_ann_open(&ann, sparse, path, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_sparse_ann_verify(ann, &err), WR_OK, "%s", err.text);
    return ann;
}

static wr_sparse *indexed(const wr_test_vectors *v, const char *name, bool bm25)
{
    return wr_test_vectors_index(v, wr_test_dir(), wr_test_path(name), 0, bm25);
}

/* ---- what is stored ---- */

Test(sparse_ann, documents_are_those_of_the_postings)
{
    wr_test_random random = {1};
    wr_test_vectors v = wr_test_vectors_random(&random, 9000, 700, 30, false);
    wr_sparse *sparse = indexed(&v, "a", false);
    wr_sparse_ann *ann = built(sparse, "b", NULL, NULL);
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, 1 << 24), WR_OK);
    for (uint32_t d = 0; d < v.n; d++) {
        const uint32_t *term;
        const float *impact;
        size_t n;
        cr_assert_eq(wr_sparse_ann_document(ann, d, &arena, &term, &impact, &n), WR_OK);
        cr_assert_eq(n, v.start[d + 1] - v.start[d]);
        for (size_t i = 0; i < n; i++) {
            cr_assert_eq(impact[i], wr_sparse_impact(sparse, term[i], d));
            if (i > 0) cr_assert(wr_better(impact[i - 1], term[i - 1], impact[i], term[i]));
        }
        wr_arena_reset(&arena, 1 << 24);
    }
    wr_arena_release(&arena);
    wr_sparse_ann_close(ann);
    wr_sparse_close(sparse);
    wr_test_vectors_free(&v);
}

static void assert_same_file(const char *a, const char *b)
{
    char *x, *y;
    size_t n, m;
    cr_assert_eq(wr_file_read(wr_test_path(a), SIZE_MAX / 2, &x, &n, NULL), WR_OK);
    cr_assert_eq(wr_file_read(wr_test_path(b), SIZE_MAX / 2, &y, &m, NULL), WR_OK);
    cr_assert(n == m && memcmp(x, y, n) == 0);
    free(x);
    free(y);
}

Test(sparse_ann, bytes_do_not_depend_on_the_threads)
{
    wr_test_random random = {2};
    wr_test_vectors v = wr_test_vectors_random(&random, 12000, 2000, 40, false);
    wr_sparse *sparse = indexed(&v, "a", false);
    wr_pool *pool;
    cr_assert_eq(wr_pool_open(&pool, 3, NULL, NULL), WR_OK);
    wr_sparse_ann_close(built(sparse, "one", NULL, NULL));
    wr_sparse_ann_close(built(sparse, "three", NULL, pool));
    wr_sparse_ann_close(built(sparse, "again", NULL, pool));
    assert_same_file("one", "three");
    assert_same_file("one", "again");
    wr_pool_close(pool);
    wr_sparse_close(sparse);
    wr_test_vectors_free(&v);
}

/* ---- searching ---- */

static wr_hits searched(const wr_sparse_ann *ann, const wr_test_query *query, size_t k,
                        const wr_sparse_ann_options *options, wr_arena *arena)
{
    wr_hits hits;
    wr_sparse_query q = {query->term, query->weight, query->n};
    cr_assert_eq(wr_sparse_ann_search(ann, &q, k, options, NULL, 0, NULL, arena, &hits), WR_OK);
    return hits;
}

static wr_hits exact(const wr_sparse *sparse, const wr_test_query *query, size_t k, wr_arena *arena)
{
    wr_hits hits;
    wr_sparse_query q = {query->term, query->weight, query->n};
    cr_assert_eq(wr_sparse_search_exhaustive(sparse, &q, k, NULL, 0, arena, &hits), WR_OK);
    return hits;
}

static void compare_with_exact(wr_test_random *random, size_t n, size_t nterms, size_t most, int cases, bool bm25)
{
    wr_test_vectors v = wr_test_vectors_random(random, n, nterms, most, wr_test_below(random, 2));
    wr_sparse *sparse = indexed(&v, "a", bm25);
    wr_sparse_ann_params params = everything;
    params.cluster_docs = 1 + (uint32_t)wr_test_below(random, 20);
    params.summary_share = (float)(0.1 + 0.9 * wr_test_uniform(random));
    wr_sparse_ann *ann = built(sparse, "b", &params, NULL);
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, (size_t)1 << 28), WR_OK);
    for (int i = 0; i < cases; i++) {
        wr_test_query query = wr_test_query_random(random, sparse, 1 + wr_test_below(random, 40));
        size_t k = 1 + wr_test_below(random, wr_test_below(random, 4) ? 20 : WR_MAX_K);
        wr_hits all = searched(ann, &query, k, &every_cluster, &arena), want = exact(sparse, &query, k, &arena);
        cr_assert(wr_test_same_hits(&all, &want), "%zu documents, case %d, k %zu", n, i, k);
        wr_arena_reset(&arena, (size_t)1 << 24);
    }
    wr_arena_release(&arena);
    wr_sparse_ann_close(ann);
    wr_sparse_close(sparse);
    wr_test_vectors_free(&v);
}

Test(sparse_ann, nothing_left_out_is_exact_search)
{
    wr_test_random random = {3};
    for (int i = 0; i < 120; i++)
        compare_with_exact(&random, wr_test_below(&random, 500), 1 + wr_test_below(&random, 200), 12, 20, i % 3 == 0);
    compare_with_exact(&random, 9000, 900, 30, 300, false);
    compare_with_exact(&random, 20000, 70000, 60, 200, false); /* ids of more than 16 bits */
}

Test(sparse_ann, scores_are_those_of_exact_search)
{
    wr_test_random random = {4};
    wr_test_vectors v = wr_test_vectors_random(&random, 20000, 3000, 60, false);
    wr_sparse *sparse = indexed(&v, "a", false);
    wr_sparse_ann *ann = built(sparse, "b", NULL, NULL);
    wr_arena arena;
    size_t found = 0, wanted = 0;
    cr_assert_eq(wr_arena_init(&arena, (size_t)1 << 28), WR_OK);
    for (int i = 0; i < 200; i++) {
        wr_test_query query = wr_test_query_random(&random, sparse, 20);
        wr_hits all = exact(sparse, &query, WR_MAX_K, &arena), some = searched(ann, &query, 10, &thorough, &arena);
        for (size_t h = 0; h < some.n; h++) {
            size_t at = 0;
            while (at < all.n && all.docid[at] != some.docid[h]) at++;
            if (all.n < WR_MAX_K) cr_assert_lt(at, all.n);
            if (at < all.n) cr_assert_eq(all.score[at], some.score[h]);
            found += at < 10;
            if (h > 0) cr_assert(wr_better(some.score[h - 1], some.docid[h - 1], some.score[h], some.docid[h]));
        }
        wanted += all.n < 10 ? all.n : 10;
        wr_arena_reset(&arena, (size_t)1 << 24);
    }
    cr_assert_geq((double)found, 0.9 * (double)wanted);
    wr_arena_release(&arena);
    wr_sparse_ann_close(ann);
    wr_sparse_close(sparse);
    wr_test_vectors_free(&v);
}

Test(sparse_ann, a_milder_factor_and_more_terms_find_more)
{
    wr_test_random random = {5};
    wr_test_vectors v = wr_test_vectors_random(&random, 20000, 3000, 60, false);
    wr_sparse *sparse = indexed(&v, "a", false);
    wr_sparse_ann *ann = built(sparse, "b", NULL, NULL);
    wr_arena arena;
    uint64_t seen[3] = {0};
    const wr_sparse_ann_options options[] = {{1, 2}, {0.8f, 6}, {-1, UINT32_MAX}};
    cr_assert_eq(wr_arena_init(&arena, (size_t)1 << 28), WR_OK);
    for (int i = 0; i < 50; i++) {
        wr_test_query query = wr_test_query_random(&random, sparse, 20);
        for (size_t o = 0; o < 3; o++) seen[o] += searched(ann, &query, 10, &options[o], &arena).seen;
        wr_arena_reset(&arena, (size_t)1 << 24);
    }
    cr_assert(seen[0] < seen[1] && seen[1] < seen[2]);
    wr_arena_release(&arena);
    wr_sparse_ann_close(ann);
    wr_sparse_close(sparse);
    wr_test_vectors_free(&v);
}

Test(sparse_ann, excluded_documents_do_not_enter)
{
    wr_test_random random = {6};
    wr_test_vectors v = wr_test_vectors_random(&random, 3000, 300, 20, false);
    wr_sparse *sparse = indexed(&v, "a", false);
    wr_sparse_ann *ann = built(sparse, "b", &everything, NULL);
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, (size_t)1 << 26), WR_OK);
    uint32_t exclude[1000];
    for (uint32_t i = 0; i < 1000; i++) exclude[i] = 3 * i;
    for (int i = 0; i < 30; i++) {
        wr_test_query query = wr_test_query_random(&random, sparse, 20);
        wr_sparse_query q = {query.term, query.weight, query.n};
        wr_hits got, want;
        cr_assert_eq(wr_sparse_ann_search(ann, &q, 50, &every_cluster, exclude, 1000, NULL, &arena, &got), WR_OK);
        cr_assert_eq(wr_sparse_search(sparse, &q, 50, exclude, 1000, NULL, &arena, &want), WR_OK);
        cr_assert(wr_test_same_hits(&got, &want));
        wr_arena_reset(&arena, (size_t)1 << 24);
    }
    wr_arena_release(&arena);
    wr_sparse_ann_close(ann);
    wr_sparse_close(sparse);
    wr_test_vectors_free(&v);
}

Test(sparse_ann, time_that_is_up_gives_the_best_so_far)
{
    wr_test_random random = {7};
    wr_test_vectors v = wr_test_vectors_random(&random, 20000, 1000, 60, false);
    wr_sparse *sparse = indexed(&v, "a", false);
    wr_sparse_ann *ann = built(sparse, "b", &everything, NULL);
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, (size_t)1 << 28), WR_OK);
    wr_test_query query = wr_test_query_random(&random, sparse, 20);
    wr_sparse_query q = {query.term, query.weight, query.n};
    size_t partial = 0;
    uint64_t before = 0;
    for (uint64_t steps = 1; steps < 200; steps++) {
        wr_test_clock fake;
        wr_budget budget;
        wr_hits hits;
        wr_test_clock_init(&fake, 1, 1000000);
        wr_budget_start(&budget, &fake.clock, (double)steps, 0, 0);
        cr_assert_eq(wr_sparse_ann_search(ann, &q, 1000, &every_cluster, NULL, 0, &budget, &arena, &hits), WR_OK);
        cr_assert_geq(hits.seen, before);
        before = hits.seen;
        cr_assert_gt(hits.n, 0);
        partial += hits.partial;
        for (size_t i = 0; i + 1 < hits.n; i++)
            cr_assert(wr_better(hits.score[i], hits.docid[i], hits.score[i + 1], hits.docid[i + 1]));
        wr_arena_reset(&arena, (size_t)1 << 24);
    }
    cr_assert_gt(partial, 20);
    wr_arena_release(&arena);
    wr_sparse_ann_close(ann);
    wr_sparse_close(sparse);
    wr_test_vectors_free(&v);
}

Test(sparse_ann, an_exhausted_arena_is_told)
{
    wr_test_random random = {8};
    wr_test_vectors v = wr_test_vectors_random(&random, 3000, 100, 20, false);
    wr_sparse *sparse = indexed(&v, "a", false);
    wr_sparse_ann *ann = built(sparse, "b", NULL, NULL);
    wr_test_query query = wr_test_query_random(&random, sparse, 20);
    wr_sparse_query q = {query.term, query.weight, query.n};
    size_t refused = 0;
    for (size_t cap = 4096; cap < 1 << 20; cap += 4096) {
        wr_arena arena;
        wr_hits hits;
        cr_assert_eq(wr_arena_init(&arena, cap), WR_OK);
        wr_status st = wr_sparse_ann_search(ann, &q, 10, &every_cluster, NULL, 0, NULL, &arena, &hits);
        cr_assert(st == WR_OK || (st == WR_ENOMEM && hits.n == 0));
        refused += st == WR_ENOMEM;
        wr_arena_release(&arena);
    }
    cr_assert(refused > 3 && refused < 250);
    wr_sparse_ann_close(ann);
    wr_sparse_close(sparse);
    wr_test_vectors_free(&v);
}

/* ---- files that do not fit, or are damaged ---- */

Test(sparse_ann, another_index_is_refused)
{
    wr_test_random random = {9};
    wr_test_vectors v = wr_test_vectors_random(&random, 500, 100, 20, false);
    wr_test_vectors w = wr_test_vectors_random(&random, 500, 100, 20, false);
    wr_sparse *sparse = indexed(&v, "a", false), *other = indexed(&w, "b", false);
    wr_sparse_ann *ann = built(sparse, "c", NULL, NULL);
    wr_err err;
    wr_sparse_ann_close(ann);
    cr_assert_eq(wr_sparse_ann_open(&ann, other, wr_test_path("c"), &err), WR_EFORMAT);
    cr_assert_null(ann);
    cr_assert_not_null(strstr(err.text, "built from other postings"), "%s", err.text);
    wr_sparse_close(sparse);
    wr_sparse_close(other);
    wr_test_vectors_free(&v);
    wr_test_vectors_free(&w);
}

/* Searches and asks whatever has opened; true when the hits are within the documents. */
static void search_anything(const wr_sparse *sparse, const wr_sparse_ann *ann, wr_arena *arena)
{
    uint32_t term[4];
    const uint32_t *terms;
    const float *impacts;
    float weight[4] = {1, 2, 3, 4};
    wr_sparse_stats stats;
    wr_hits hits;
    size_t n;
    wr_sparse_stats_get(sparse, &stats);
    for (size_t i = 0; i < 4; i++) term[i] = (uint32_t)(i * (stats.nterms - 1) / 3);
    wr_sparse_query query = {term, weight, 4};
    cr_assert_eq(wr_sparse_ann_search(ann, &query, 20, &every_cluster, NULL, 0, NULL, arena, &hits), WR_OK);
    for (size_t i = 0; i < hits.n; i++) cr_assert_lt(hits.docid[i], stats.ndocs);
    for (uint32_t d = 0; d < stats.ndocs; d += 97) wr_sparse_ann_document(ann, d, arena, &terms, &impacts, &n);
}

static void damage(const wr_sparse *sparse, char *bytes, size_t n, wr_test_random *random, wr_arena *arena)
{
    size_t opened = 0, found = 0;
    for (int round = 0; round < 1500; round++) {
        size_t at = round < 400 ? (size_t)round % 224 : wr_test_below(random, n);
        char flip = (char)(1 << wr_test_below(random, 8));
        wr_sparse_ann *ann;
        wr_err err = {0};
        bytes[at] ^= flip;
        wr_status st = wr_sparse_ann_open(&ann, sparse, wr_test_file("x", bytes, n), &err);
        bytes[at] ^= flip;
        if (st) {
            cr_assert(ann == NULL && err.text[0]);
            continue;
        }
        opened++;
        search_anything(sparse, ann, arena);
        wr_arena_reset(arena, 1 << 24);
        found += wr_sparse_ann_verify(ann, &err) == WR_EFORMAT;
        wr_sparse_ann_close(ann);
    }
    cr_assert_gt(opened, 1000);
    /* header fields that only say how it was built, and which documents share a cluster, are for checksums to find */
    cr_assert_geq((double)found, 0.95 * (double)opened, "%zu of %zu", found, opened);
}

Test(sparse_ann, a_flipped_bit_never_leads_outside)
{
    wr_test_random random = {10};
    wr_test_vectors v = wr_test_vectors_random(&random, 600, 40, 12, false);
    wr_sparse *sparse = indexed(&v, "a", false);
    wr_sparse_ann_close(built(sparse, "b", NULL, NULL));
    char *bytes;
    size_t n;
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, 1 << 26), WR_OK);
    cr_assert_eq(wr_file_read(wr_test_path("b"), SIZE_MAX / 2, &bytes, &n, NULL), WR_OK);
    damage(sparse, bytes, n, &random, &arena);
    for (size_t cut = 0; cut < n; cut += 1 + n / 100) {
        wr_sparse_ann *ann;
        cr_assert_eq(wr_sparse_ann_open(&ann, sparse, wr_test_file("x", bytes, cut), NULL), WR_EFORMAT);
        cr_assert_null(ann);
    }
    free(bytes);
    wr_arena_release(&arena);
    wr_sparse_close(sparse);
    wr_test_vectors_free(&v);
}
