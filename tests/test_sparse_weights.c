#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/mapfile.h"
#include "indexer/sparse.h"
#include "tests/testlib_sparse.h"

static wr_sparse *indexed(const wr_test_vectors *v, const char *name, size_t budget)
{
    return wr_test_vectors_index(v, wr_test_dir(), wr_test_path(name), budget, false);
}

static int64_t term_id(const wr_sparse *sparse, uint32_t term)
{
    char text[16];
    snprintf(text, sizeof text, "t%u", term);
    return wr_sparse_term(sparse, text, strlen(text));
}

Test(sparse_weights, impacts_are_the_weights_to_half_a_step)
{
    wr_test_random random = {1};
    wr_test_vectors v = wr_test_vectors_random(&random, 20000, 2000, 30, false);
    wr_sparse *sparse = indexed(&v, "a", 0);
    wr_sparse_stats stats;
    float most = 0;
    wr_sparse_stats_get(sparse, &stats);
    for (size_t i = 0; i < v.start[v.n]; i++) most = fmaxf(most, v.weight[i]);
    cr_assert_eq(stats.kind, WR_SPARSE_WEIGHTS);
    cr_assert_eq(stats.scale, most / 65535);
    cr_assert_eq(stats.ndocs, v.n);
    cr_assert_eq(stats.npostings, v.start[v.n]);
    for (size_t d = 0; d < v.n; d += 7) {
        for (size_t i = v.start[d]; i < v.start[d + 1]; i++) {
            int64_t id = term_id(sparse, v.term[i]);
            cr_assert_geq(id, 0);
            cr_assert_float_eq(wr_sparse_impact(sparse, (uint32_t)id, (uint32_t)d), v.weight[i], stats.scale * 0.51f);
        }
    }
    wr_sparse_close(sparse);
    wr_test_vectors_free(&v);
}

Test(sparse_weights, bytes_do_not_depend_on_the_memory_budget)
{
    wr_test_random random = {2};
    wr_test_vectors v = wr_test_vectors_random(&random, 20000, 9000, 40, false);
    char *bytes[2];
    size_t n[2];
    wr_sparse_close(indexed(&v, "a", 0));
    wr_sparse_close(indexed(&v, "b", 1));
    cr_assert_eq(wr_file_read(wr_test_path("a"), SIZE_MAX / 2, &bytes[0], &n[0], NULL), WR_OK);
    cr_assert_eq(wr_file_read(wr_test_path("b"), SIZE_MAX / 2, &bytes[1], &n[1], NULL), WR_OK);
    cr_assert(n[0] == n[1] && memcmp(bytes[0], bytes[1], n[0]) == 0);
    free(bytes[0]);
    free(bytes[1]);
    wr_test_vectors_free(&v);
}

Test(sparse_weights, the_order_of_terms_in_a_document_does_not_matter)
{
    const char *there[] = {"b", "a", "c"}, *back[] = {"c", "b", "a"};
    const float weight[] = {1, 2, 3}, other[] = {3, 1, 2};
    const uint32_t len[] = {1, 1, 1};
    char *bytes[2];
    size_t n[2];
    for (int i = 0; i < 2; i++) {
        wr_sparse_writer *writer;
        const char *path = wr_test_path(i ? "b" : "a");
        cr_assert_eq(wr_sparse_writer_open(&writer, wr_test_dir(), 0, NULL), WR_OK);
        cr_assert_eq(wr_sparse_writer_add_weights(writer, i ? back : there, len, i ? other : weight, 3, NULL), WR_OK);
        cr_assert_eq(wr_sparse_writer_commit_weights(writer, path, NULL), WR_OK);
        cr_assert_eq(wr_file_read(path, SIZE_MAX / 2, &bytes[i], &n[i], NULL), WR_OK);
    }
    cr_assert(n[0] == n[1] && memcmp(bytes[0], bytes[1], n[0]) == 0);
    free(bytes[0]);
    free(bytes[1]);
}

static wr_status add(wr_sparse_writer *writer, size_t n, const float *weight, wr_err *err)
{
    const char *term[] = {"a", "b", "b"};
    const uint32_t len[] = {1, 1, 1};
    return wr_sparse_writer_add_weights(writer, term, len, weight, n, err);
}

Test(sparse_weights, what_is_no_weight_is_refused)
{
    const float bad[] = {-1, NAN, INFINITY, -INFINITY, -FLT_MIN};
    wr_sparse_writer *writer;
    wr_err err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(wr_sparse_writer_open(&writer, wr_test_dir(), 0, NULL), WR_OK);
        cr_assert_eq(add(writer, 1, &bad[i], &err), WR_EARG);
        wr_sparse_writer_abort(writer);
    }
    cr_assert_eq(wr_sparse_writer_open(&writer, wr_test_dir(), 0, NULL), WR_OK);
    cr_assert_eq(add(writer, 3, (float[]){1, 2, 3}, &err), WR_EARG);
    cr_assert_not_null(strstr(err.text, "comes twice"), "%s", err.text);
    wr_sparse_writer_abort(writer);
}

Test(sparse_weights, kinds_do_not_mix_in_one_file)
{
    const char *term = "a";
    const uint32_t len = 1;
    wr_sparse_writer *writer;
    wr_err err;
    cr_assert_eq(wr_sparse_writer_open(&writer, wr_test_dir(), 0, NULL), WR_OK);
    cr_assert_eq(add(writer, 1, (float[]){1}, &err), WR_OK);
    cr_assert_eq(wr_sparse_writer_add(writer, &term, &len, 1, &err), WR_EARG);
    cr_assert_eq(wr_sparse_writer_commit_bm25(writer, wr_test_path("a"), &(wr_bm25_params){0.9, 0.4}, &err), WR_EARG);
    cr_assert_eq(wr_sparse_writer_open(&writer, wr_test_dir(), 0, NULL), WR_OK);
    cr_assert_eq(wr_sparse_writer_add(writer, &term, &len, 1, &err), WR_OK);
    cr_assert_eq(wr_sparse_writer_commit_weights(writer, wr_test_path("a"), &err), WR_EARG);
    cr_assert(!wr_path_exists(wr_test_path("a")));
}

Test(sparse_weights, extreme_weights_keep_their_order)
{
    const float weight[] = {1e37f, 1e-45f, 1, 0, FLT_MIN};
    wr_sparse_writer *writer;
    wr_sparse *sparse;
    wr_arena arena;
    for (size_t largest = 0; largest < 3;
         largest++) { /* of all, of what is left without the first, of the least alone */
        wr_hits hits;
        cr_assert_eq(wr_sparse_writer_open(&writer, wr_test_dir(), 0, NULL), WR_OK);
        for (size_t i = largest; i < (largest == 1 ? 2 : 5); i++) cr_assert_eq(add(writer, 1, &weight[i], NULL), WR_OK);
        cr_assert_eq(wr_sparse_writer_commit_weights(writer, wr_test_path("a"), NULL), WR_OK);
        cr_assert_eq(wr_sparse_open(&sparse, wr_test_path("a"), NULL), WR_OK);
        cr_assert_eq(wr_sparse_verify(sparse, NULL), WR_OK);
        cr_assert_eq(wr_arena_init(&arena, 1 << 24), WR_OK);
        cr_assert_eq(wr_sparse_search(sparse, &(wr_sparse_query){&(uint32_t){0}, &(float){1}, 1}, 5, NULL, 0, NULL,
                                      &arena, &hits),
                     WR_OK);
        cr_assert_eq(hits.n, largest == 1 ? 1 : largest == 0 ? 4 : 2);
        cr_assert_eq(hits.docid[0], 0);
        for (size_t i = 0; i < hits.n; i++) cr_assert(isfinite(hits.score[i]) && hits.score[i] > 0);
        wr_arena_release(&arena);
        wr_sparse_close(sparse);
    }
}

/* The definition by way of the given vectors: to half a step of each weight and half a unit of each product. */
static void assert_obvious(const wr_test_vectors *v, const wr_sparse *sparse, const wr_test_query *query,
                           const wr_hits *hits, size_t k)
{
    float *weight = calloc(v->nterms, sizeof *weight);
    double *score = calloc(v->n + 1, sizeof *score), all = 0;
    wr_sparse_stats stats;
    size_t matching = 0;
    wr_sparse_stats_get(sparse, &stats);
    for (uint32_t t = 0; t < v->nterms; t++) {
        int64_t id = term_id(sparse, t);
        for (size_t i = 0; i < query->n; i++)
            if (id == (int64_t)query->term[i]) weight[t] = query->weight[i];
        all += (double)weight[t];
    }
    double tolerance =
        all * (double)stats.scale * 0.51 + all * 65535 * (double)stats.scale * (double)(query->n + 1) / (1 << 22);
    for (size_t d = 0; d < v->n; d++) {
        for (size_t i = v->start[d]; i < v->start[d + 1]; i++)
            score[d] += (double)v->weight[i] * (double)weight[v->term[i]];
        matching += score[d] > 0;
    }
    cr_assert_eq(hits->n, matching < k ? matching : k);
    for (size_t i = 0; i < hits->n; i++) {
        cr_assert_float_eq(score[hits->docid[i]], (double)hits->score[i], tolerance);
        score[hits->docid[i]] = -1; /* once only, and not better than the last below */
    }
    for (size_t d = 0; d < v->n && hits->n > 0; d++)
        cr_assert_leq(score[d], (double)hits->score[hits->n - 1] + tolerance);
    free(weight);
    free(score);
}

static void compare_searches(wr_test_random *random, size_t n, size_t nterms, size_t most, int cases)
{
    bool ties = wr_test_below(random, 2);
    wr_test_vectors v = wr_test_vectors_random(random, n, nterms, most, ties);
    wr_sparse *sparse = indexed(&v, "a", 0);
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, (size_t)1 << 28), WR_OK);
    for (int i = 0; i < cases; i++) {
        wr_test_query drawn = wr_test_query_random(random, sparse, 1 + wr_test_below(random, 40));
        wr_sparse_query query = {drawn.term, drawn.weight, drawn.n};
        wr_hits fast, slow;
        size_t k = 1 + wr_test_below(random, wr_test_below(random, 4) ? 20 : WR_MAX_K);
        cr_assert_eq(wr_sparse_search_exhaustive(sparse, &query, k, NULL, 0, &arena, &slow), WR_OK);
        cr_assert_eq(wr_sparse_search(sparse, &query, k, NULL, 0, NULL, &arena, &fast), WR_OK);
        cr_assert(wr_test_same_hits(&fast, &slow), "%zu documents, case %d, k %zu", n, i, k);
        if (i < 2) assert_obvious(&v, sparse, &drawn, &fast, k);
        wr_arena_reset(&arena, (size_t)1 << 24);
    }
    wr_arena_release(&arena);
    wr_sparse_close(sparse);
    wr_test_vectors_free(&v);
}

/* The k best by all terms among the 5 k best by the heavy terms, units apart. */
static void compare_two_phase(const wr_sparse *sparse, const wr_test_query *query, size_t k, wr_arena *arena)
{
    wr_test_query heavy = {.n = 0};
    float most = 0;
    wr_hits all, first, got;
    size_t at = 0;
    for (size_t i = 0; i < query->n; i++) most = fmaxf(most, query->weight[i]);
    for (size_t i = 0; i < query->n; i++) {
        if (query->weight[i] < 0.4f * most) continue;
        heavy.term[heavy.n] = query->term[i];
        heavy.weight[heavy.n++] = query->weight[i];
    }
    wr_sparse_query q = {query->term, query->weight, query->n}, h = {heavy.term, heavy.weight, heavy.n};
    cr_assert_eq(wr_sparse_search_exhaustive(sparse, &q, WR_MAX_K, NULL, 0, arena, &all), WR_OK);
    cr_assert_eq(wr_sparse_search_exhaustive(sparse, &h, 5 * k, NULL, 0, arena, &first), WR_OK);
    cr_assert_eq(wr_sparse_search_two_phase(sparse, &q, k, NULL, NULL, 0, NULL, arena, &got), WR_OK);
    cr_assert_eq(got.n, first.n < k ? first.n : k);
    for (size_t i = 0; i < all.n && at < got.n; i++) {
        size_t j = 0;
        while (j < first.n && first.docid[j] != all.docid[i]) j++;
        if (j == first.n && got.docid[at] != all.docid[i]) continue; /* but for equal scores at the end of the first */
        cr_assert_eq(got.docid[at], all.docid[i]);
        cr_assert_eq(got.score[at++], all.score[i]);
    }
    cr_assert_eq(at, got.n);
}

Test(sparse_weights, two_phases_score_by_all_terms_what_the_heavy_ones_find)
{
    wr_test_random random = {4};
    wr_test_vectors v = wr_test_vectors_random(&random, 9500, 1000, 30, false);
    wr_sparse *sparse = indexed(&v, "a", 0);
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, (size_t)1 << 28), WR_OK);
    for (int i = 0; i < 200; i++) {
        wr_test_query query = wr_test_query_random(&random, sparse, 20);
        compare_two_phase(sparse, &query, 1 + wr_test_below(&random, 100), &arena);
        wr_arena_reset(&arena, (size_t)1 << 24);
    }
    wr_arena_release(&arena);
    wr_sparse_close(sparse);
    wr_test_vectors_free(&v);
}

Test(sparse_weights, search_equals_exhaustive_scoring_in_10000_cases)
{
    wr_test_random random = {3};
    for (int i = 0; i < 240; i++)
        compare_searches(&random, wr_test_below(&random, 400), 1 + wr_test_below(&random, 200), 12, 25);
    for (int i = 0; i < 6; i++) compare_searches(&random, 9000 + wr_test_below(&random, 3000), 1500, 30, 400);
    compare_searches(&random, 60000, 3000, 40, 1600);
}
