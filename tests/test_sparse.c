#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/mapfile.h"
#include "indexer/sparse.h"
#include "tests/testlib.h"

static const wr_bm25_params usual = {0.9, 0.4};

/* Documents as lists of term numbers; term t is spelt "t<t>". */
struct docs {
    size_t n;
    uint32_t *len;
    uint32_t **term;
};

static void docs_free(struct docs *docs)
{
    for (size_t i = 0; i < docs->n; i++) free(docs->term[i]);
    free(docs->term);
    free(docs->len);
}

/* Zipf-like: term t is drawn about twice as often as term 2t, so that every shape of postings occurs. */
static struct docs docs_random(wr_test_random *random, size_t n, size_t nterms, size_t max_len)
{
    struct docs docs = {n, calloc(n + 1, sizeof *docs.len), calloc(n + 1, sizeof *docs.term)};
    for (size_t i = 0; i < n; i++) {
        docs.len[i] = (uint32_t)wr_test_below(random, max_len + 1);
        docs.term[i] = calloc(docs.len[i] + 1, sizeof **docs.term);
        for (size_t j = 0; j < docs.len[i]; j++)
            docs.term[i][j] = (uint32_t)(pow((double)nterms, wr_test_uniform(random)) - 1);
    }
    return docs;
}

static const char *spell(uint32_t term, char text[16])
{
    snprintf(text, 16, "t%u", term);
    return text;
}

static wr_sparse_writer *writer_filled(const struct docs *docs, size_t budget)
{
    wr_sparse_writer *writer;
    cr_assert_eq(wr_sparse_writer_open(&writer, wr_test_dir(), budget, NULL), WR_OK);
    for (size_t i = 0; i < docs->n; i++) {
        char(*text)[16] = calloc(docs->len[i] + 1, sizeof *text);
        const char **term = calloc(docs->len[i] + 1, sizeof *term);
        uint32_t *len = calloc(docs->len[i] + 1, sizeof *len);
        for (size_t j = 0; j < docs->len[i]; j++) {
            term[j] = spell(docs->term[i][j], text[j]);
            len[j] = (uint32_t)strlen(term[j]);
        }
        cr_assert_eq(wr_sparse_writer_add(writer, term, len, docs->len[i], NULL), WR_OK);
        free(text);
        free(term);
        free(len);
    }
    return writer;
}

static wr_sparse *indexed(const struct docs *docs, const char *name, size_t budget)
{
    wr_err err = {0};
    wr_sparse *sparse;
    wr_sparse_writer *writer = writer_filled(docs, budget);
    cr_assert_eq(wr_sparse_writer_commit_bm25(writer, wr_test_path(name), &usual, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_sparse_open(&sparse, wr_test_path(name), &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_sparse_verify(sparse, &err), WR_OK, "%s", err.text);
    return sparse;
}

/* ---- the stored numbers ---- */

Test(sparse, impacts_are_bm25_to_half_a_step)
{
    wr_test_random random = {1};
    struct docs docs = docs_random(&random, 20000, 3000, 20);
    wr_sparse *sparse = indexed(&docs, "a", 0);
    wr_sparse_stats stats;
    wr_sparse_stats_get(sparse, &stats);
    uint64_t total = 0, postings = 0;
    for (size_t i = 0; i < docs.n; i++) total += docs.len[i];
    double avg = (double)total / (double)docs.n;
    for (size_t i = 0; i < docs.n; i++) {
        for (size_t j = 0; j < docs.len[i]; j++) {
            char text[16];
            bool again = false;
            double tf = 0, norm = usual.k1 * (1 - usual.b + usual.b * docs.len[i] / avg);
            for (size_t l = 0; l < docs.len[i]; l++) tf += docs.term[i][l] == docs.term[i][j];
            for (size_t l = 0; l < j; l++) again |= docs.term[i][l] == docs.term[i][j];
            postings += !again;
            spell(docs.term[i][j], text);
            int64_t id = wr_sparse_term(sparse, text, strlen(text));
            cr_assert_geq(id, 0);
            float impact = wr_sparse_impact(sparse, (uint32_t)id, (uint32_t)i);
            cr_assert_float_eq(impact, tf / (tf + norm), 0.5 / 65535 + 1e-6);
        }
    }
    cr_assert_eq(stats.ndocs, docs.n);
    cr_assert_eq(stats.total_length, total);
    cr_assert_eq(stats.npostings, postings);
    cr_assert_float_eq(stats.avg_length, avg, 1e-12);
    wr_sparse_close(sparse);
    docs_free(&docs);
}

Test(sparse, impact_of_an_absent_posting_is_0)
{
    wr_test_random random = {2};
    struct docs docs = docs_random(&random, 9000, 400, 6);
    wr_sparse *sparse = indexed(&docs, "a", 0);
    for (uint32_t t = 0; t < 400; t++) {
        char text[16];
        spell(t, text);
        int64_t id = wr_sparse_term(sparse, text, strlen(text));
        uint32_t df = 0;
        for (uint32_t i = 0; i < docs.n; i++) {
            bool has = false;
            for (size_t j = 0; j < docs.len[i]; j++) has |= docs.term[i][j] == t;
            df += has;
            if (id >= 0) cr_assert_eq(wr_sparse_impact(sparse, (uint32_t)id, i) > 0, has);
        }
        cr_assert_eq(df > 0, id >= 0);
        if (id < 0) continue;
        cr_assert_eq(wr_sparse_df(sparse, (uint32_t)id), df);
        cr_assert_float_eq(wr_sparse_idf(sparse, (uint32_t)id), log(1 + (9000 - df + 0.5) / (df + 0.5)), 1e-6);
        cr_assert_eq(wr_sparse_impact(sparse, (uint32_t)id, 9000), 0);
    }
    wr_sparse_close(sparse);
    docs_free(&docs);
}

Test(sparse, terms_are_numbered_in_byte_order)
{
    const char *word[] = {"b", "a", "ab", "\xff", "a\x01", "B", "", "abc"};
    wr_sparse_writer *writer;
    wr_sparse *sparse;
    cr_assert_eq(wr_sparse_writer_open(&writer, wr_test_dir(), 0, NULL), WR_OK);
    for (size_t i = 0; i < 8; i++) {
        uint32_t len = (uint32_t)strlen(word[i]);
        if (len) cr_assert_eq(wr_sparse_writer_add(writer, &word[i], &len, 1, NULL), WR_OK);
    }
    cr_assert_eq(wr_sparse_writer_commit_bm25(writer, wr_test_path("a"), &usual, NULL), WR_OK);
    cr_assert_eq(wr_sparse_open(&sparse, wr_test_path("a"), NULL), WR_OK);
    const char *sorted[] = {"B", "a", "a\x01", "ab", "abc", "b", "\xff"};
    for (size_t i = 0; i < 7; i++) cr_assert_eq(wr_sparse_term(sparse, sorted[i], strlen(sorted[i])), (int64_t)i);
    const char *absent[] = {"", "A", "aa", "abcd", "c", "\xff\xff"};
    for (size_t i = 0; i < 6; i++) cr_assert_eq(wr_sparse_term(sparse, absent[i], strlen(absent[i])), -1);
    cr_assert_eq(wr_sparse_term(sparse, "abx", 2), 3);
    wr_sparse_close(sparse);
}

/* ---- writing ---- */

static void assert_same_file(const char *a, const char *b)
{
    char *x, *y;
    size_t n, m;
    cr_assert_eq(wr_file_read(wr_test_path(a), SIZE_MAX / 2, &x, &n, NULL), WR_OK);
    cr_assert_eq(wr_file_read(wr_test_path(b), SIZE_MAX / 2, &y, &m, NULL), WR_OK);
    cr_assert_eq(n, m);
    cr_assert(memcmp(x, y, n) == 0);
    free(x);
    free(y);
}

Test(sparse, bytes_do_not_depend_on_the_memory_budget)
{
    wr_test_random random = {3};
    struct docs docs = docs_random(&random, 30000, 20000, 40); /* about 70 runs of the least budget */
    wr_sparse_close(indexed(&docs, "a", 0));
    wr_sparse_close(indexed(&docs, "b", 1));
    wr_sparse_close(indexed(&docs, "c", 1 << 20));
    assert_same_file("a", "b");
    assert_same_file("a", "c");
    docs_free(&docs);
}

Test(sparse, no_documents_and_empty_documents_are_fine)
{
    for (size_t n = 0; n < 3; n++) {
        struct docs docs = {n, calloc(n + 1, sizeof(uint32_t)), calloc(n + 1, sizeof(uint32_t *))};
        wr_sparse *sparse = indexed(&docs, "a", 0);
        wr_sparse_stats stats;
        wr_arena arena;
        wr_hits hits;
        wr_sparse_stats_get(sparse, &stats);
        cr_assert(stats.ndocs == n && stats.nterms == 0 && stats.avg_length == 0);
        cr_assert_eq(wr_sparse_term(sparse, "a", 1), -1);
        cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
        cr_assert_eq(wr_sparse_search(sparse, &(wr_sparse_query){0}, 10, NULL, 0, NULL, &arena, &hits), WR_OK);
        cr_assert_eq(hits.n, 0);
        wr_arena_release(&arena);
        wr_sparse_close(sparse);
        docs_free(&docs);
    }
}

Test(sparse, what_cannot_be_indexed_is_refused)
{
    static const char text[WR_MAX_TERM_BYTES + 1];
    const char *term = text;
    wr_sparse_writer *writer;
    wr_err err;
    for (uint32_t len = 0; len <= sizeof text; len += sizeof text) {
        cr_assert_eq(wr_sparse_writer_open(&writer, wr_test_dir(), 0, NULL), WR_OK);
        cr_assert_eq(wr_sparse_writer_add(writer, &term, &len, 1, &err), WR_EARG);
        wr_sparse_writer_abort(writer);
    }
    const wr_bm25_params bad[] = {{-1, 0.4}, {NAN, 0.4}, {INFINITY, 0.4}, {0.9, -0.1}, {0.9, 1.1}, {0.9, NAN}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(wr_sparse_writer_open(&writer, wr_test_dir(), 0, NULL), WR_OK);
        cr_assert_eq(wr_sparse_writer_commit_bm25(writer, wr_test_path("a"), &bad[i], &err), WR_EARG);
    }
    cr_assert_eq(wr_sparse_writer_open(&writer, wr_test_path("nowhere"), 0, NULL), WR_OK);
    uint32_t len = 1;
    cr_assert_eq(wr_sparse_writer_add(writer, &term, &len, 1, &err), WR_OK);
    cr_assert_eq(wr_sparse_writer_commit_bm25(writer, wr_test_path("a"), &usual, &err), WR_EIO);
    cr_assert(!wr_path_exists(wr_test_path("a")));
    wr_sparse_writer_abort(NULL);
}

/* ---- searching ---- */

struct case_ {
    uint32_t term[40], exclude[60];
    float weight[40];
    size_t n, nexclude, k;
};

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Terms of any df, in any order; equal weights in every other case, for ties. */
static struct case_ case_random(wr_test_random *random, const wr_sparse *sparse)
{
    wr_sparse_stats stats;
    struct case_ c = {.k = 1 + wr_test_below(random, wr_test_below(random, 4) ? 30 : WR_MAX_K)};
    wr_sparse_stats_get(sparse, &stats);
    size_t want = wr_test_below(random, wr_test_below(random, 8) ? 8 : 40);
    bool ties = wr_test_below(random, 2);
    while (c.n < want) {
        char text[16];
        spell((uint32_t)(pow((double)stats.nterms, wr_test_uniform(random)) - 1), text);
        int64_t id = wr_sparse_term(sparse, text, strlen(text));
        bool again = id < 0;
        for (size_t i = 0; i < c.n; i++) again |= c.term[i] == (uint32_t)id;
        if (again) {
            want--; /* a repeated or absent word of the query */
            continue;
        }
        c.term[c.n] = (uint32_t)id;
        c.weight[c.n++] = ties ? 1.0f : (float)(1 + wr_test_below(random, 3)) * wr_sparse_idf(sparse, (uint32_t)id);
    }
    if (wr_test_below(random, 3) == 0) c.nexclude = wr_test_below(random, 60);
    for (size_t i = 0; i < c.nexclude; i++) c.exclude[i] = (uint32_t)wr_test_below(random, stats.ndocs);
    qsort(c.exclude, c.nexclude, sizeof *c.exclude, compare_u32);
    return c;
}

static double obvious_score(const wr_sparse *sparse, const struct case_ *c, uint32_t docid)
{
    double sum = 0;
    for (size_t i = 0; i < c->n; i++) sum += (double)c->weight[i] * (double)wr_sparse_impact(sparse, c->term[i], docid);
    return sum;
}

/* The definition, by way of wr_sparse_impact() alone: scores to half a unit a term, nothing better left out. */
static void assert_obvious(const wr_sparse *sparse, const struct case_ *c, const wr_hits *hits)
{
    wr_sparse_stats stats;
    size_t matching = 0;
    double most = 0;
    wr_sparse_stats_get(sparse, &stats);
    bool *hit = calloc(stats.ndocs + 1, sizeof *hit);
    for (size_t i = 0; i < c->n; i++) most += (double)c->weight[i];
    double tolerance = most * (double)(c->n + 1) / (1 << 22);
    for (size_t i = 0; i < hits->n; i++) {
        cr_assert_float_eq((double)hits->score[i], obvious_score(sparse, c, hits->docid[i]), tolerance);
        cr_assert(!hit[hits->docid[i]]);
        hit[hits->docid[i]] = true;
        if (i > 0) cr_assert(wr_better(hits->score[i - 1], hits->docid[i - 1], hits->score[i], hits->docid[i]));
    }
    for (uint32_t d = 0; d < stats.ndocs; d++) {
        bool excluded = bsearch(&d, c->exclude, c->nexclude, sizeof d, compare_u32) != NULL;
        double score = excluded ? 0 : obvious_score(sparse, c, d);
        matching += score > 0;
        cr_assert(!excluded || !hit[d]);
        if (!hit[d] && hits->n > 0) cr_assert_leq(score, (double)hits->score[hits->n - 1] + tolerance);
    }
    cr_assert_eq(hits->n, matching < c->k ? matching : c->k);
    free(hit);
}

static void assert_equal_hits(const wr_hits *a, const wr_hits *b, const char *where)
{
    cr_assert_eq(a->n, b->n, "%s: %zu hits, expected %zu", where, a->n, b->n);
    for (size_t i = 0; i < a->n; i++)
        cr_assert(a->docid[i] == b->docid[i] && a->score[i] == b->score[i], "%s: rank %zu: %u (%a), expected %u (%a)",
                  where, i, a->docid[i], (double)a->score[i], b->docid[i], (double)b->score[i]);
    cr_assert(!a->partial && !b->partial);
}

static void compare_searches(uint64_t seed, size_t ndocs, size_t nterms, size_t max_len, int cases, int obvious)
{
    wr_test_random random = {seed};
    struct docs docs = docs_random(&random, ndocs, nterms, max_len);
    wr_sparse *sparse = indexed(&docs, "a", 0);
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, (size_t)1 << 28), WR_OK);
    for (int i = 0; i < cases; i++) {
        struct case_ c = case_random(&random, sparse);
        wr_sparse_query query = {c.term, c.weight, c.n};
        wr_hits fast, slow;
        char where[80];
        snprintf(where, sizeof where, "%zu docs, case %d, k %zu, %zu terms", ndocs, i, c.k, c.n);
        cr_assert_eq(wr_sparse_search_exhaustive(sparse, &query, c.k, c.exclude, c.nexclude, &arena, &slow), WR_OK);
        cr_assert_eq(wr_sparse_search(sparse, &query, c.k, c.exclude, c.nexclude, NULL, &arena, &fast), WR_OK);
        assert_equal_hits(&fast, &slow, where);
        if (i < obvious) assert_obvious(sparse, &c, &fast);
        wr_arena_reset(&arena, (size_t)1 << 28);
    }
    wr_arena_release(&arena);
    wr_sparse_close(sparse);
    docs_free(&docs);
}

Test(sparse, search_equals_exhaustive_scoring)
{
    compare_searches(11, 1, 5, 4, 100, 100);
    compare_searches(12, 63, 20, 6, 300, 300);
    compare_searches(13, 1000, 300, 12, 1000, 200);
    compare_searches(14, 8192, 2000, 12, 500, 20);
    compare_searches(15, 30011, 5000, 20, 1000, 5);
    compare_searches(16, 100000, 300, 8, 400, 2);
}

Test(sparse, time_that_is_up_gives_the_best_so_far)
{
    wr_test_random random = {21};
    struct docs docs = docs_random(&random, 100000, 50, 10);
    wr_sparse *sparse = indexed(&docs, "a", 0);
    wr_arena arena;
    wr_test_clock fake;
    wr_hits hits, all;
    const uint32_t term[] = {0, 1, 2};
    const float weight[] = {1, 1, 1};
    const wr_sparse_query query = {term, weight, 3};
    cr_assert_eq(wr_arena_init(&arena, (size_t)1 << 28), WR_OK);
    for (uint64_t steps = 1; steps < 100; steps++) {
        wr_budget budget;
        wr_test_clock_init(&fake, 1, 1000000);
        wr_budget_start(&budget, &fake.clock, (double)steps, 0, 0);
        cr_assert_eq(wr_sparse_search(sparse, &query, 1000, NULL, 0, &budget, &arena, &hits), WR_OK);
        cr_assert_eq(wr_sparse_search(sparse, &query, 1000, NULL, 0, NULL, &arena, &all), WR_OK);
        cr_assert(!all.partial);
        if (!hits.partial) assert_equal_hits(&hits, &all, "in time");
        if (steps < 5) cr_assert(hits.partial, "%llu looks at the clock were enough", (unsigned long long)steps);
        for (size_t i = 0; i + 1 < hits.n; i++)
            cr_assert(wr_better(hits.score[i], hits.docid[i], hits.score[i + 1], hits.docid[i + 1]));
        wr_arena_reset(&arena, (size_t)1 << 28);
    }
    wr_budget budget;
    wr_budget_start(&budget, &fake.clock, 0, 0, 0);
    wr_budget_cancel(&budget);
    cr_assert_eq(wr_sparse_search(sparse, &query, 10, NULL, 0, &budget, &arena, &hits), WR_OK);
    cr_assert(hits.partial);
    wr_arena_release(&arena);
    wr_sparse_close(sparse);
    docs_free(&docs);
}

Test(sparse, an_exhausted_arena_is_told)
{
    wr_test_random random = {22};
    struct docs docs = docs_random(&random, 100, 50, 10);
    wr_sparse *sparse = indexed(&docs, "a", 0);
    wr_arena arena;
    wr_hits hits;
    const uint32_t term[40] = {0};
    const float weight[40] = {0};
    cr_assert_eq(wr_arena_init(&arena, 4096), WR_OK);
    cr_assert_eq(wr_sparse_search(sparse, &(wr_sparse_query){term, weight, 40}, 10, NULL, 0, NULL, &arena, &hits),
                 WR_ENOMEM);
    cr_assert_eq(hits.n, 0);
    wr_arena_release(&arena);
    wr_sparse_close(sparse);
    docs_free(&docs);
}

/* ---- damaged files ---- */

static void search_anything(const wr_sparse *sparse, wr_arena *arena)
{
    wr_sparse_stats stats;
    wr_sparse_stats_get(sparse, &stats);
    if (stats.nterms == 0) return;
    uint32_t term[4];
    float weight[4] = {1, 2, 3, 4};
    for (size_t i = 0; i < 4; i++) term[i] = (uint32_t)(i * (stats.nterms - 1) / 3);
    wr_sparse_query query = {term, weight, stats.nterms < 4 ? 1 : 4};
    wr_hits hits;
    cr_assert_eq(wr_sparse_search(sparse, &query, 20, NULL, 0, NULL, arena, &hits), WR_OK);
    for (size_t i = 0; i < hits.n; i++) cr_assert_lt(hits.docid[i], stats.ndocs);
    wr_sparse_term(sparse, "t17", 3);
    for (uint32_t d = 0; d < stats.ndocs; d += 97) wr_sparse_impact(sparse, term[d % query.n], d);
}

Test(sparse, a_flipped_byte_never_leads_outside)
{
    wr_test_random random = {31};
    struct docs docs = docs_random(&random, 9000, 40, 8);
    wr_sparse_close(indexed(&docs, "a", 0));
    char *bytes;
    size_t n, opened = 0, found = 0;
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, 1 << 24), WR_OK);
    cr_assert_eq(wr_file_read(wr_test_path("a"), SIZE_MAX / 2, &bytes, &n, NULL), WR_OK);
    for (int round = 0; round < 1500; round++) {
        size_t at = round < 500    ? (size_t)round % 200
                    : round < 1000 ? n - 1 - wr_test_below(&random, 2000)
                                   : wr_test_below(&random, n);
        char flip = (char)(1 << wr_test_below(&random, 8));
        wr_sparse *sparse;
        wr_err err = {0};
        bytes[at] ^= flip;
        const char *path = wr_test_file("b", bytes, n);
        bytes[at] ^= flip;
        wr_status st = wr_sparse_open(&sparse, path, &err);
        if (st) {
            cr_assert(sparse == NULL && err.text[0]);
            continue;
        }
        opened++;
        search_anything(sparse, &arena);
        wr_arena_reset(&arena, 1 << 24);
        found += wr_sparse_verify(sparse, &err) == WR_EFORMAT; /* another docid in order is for checksums to find */
        wr_sparse_close(sparse);
    }
    cr_assert_gt(opened, 900);
    cr_assert_gt(2 * found, opened);
    for (size_t cut = 0; cut < n; cut += 1 + n / 100) {
        wr_sparse *sparse;
        cr_assert_eq(wr_sparse_open(&sparse, wr_test_file("b", bytes, cut), NULL), WR_EFORMAT);
        cr_assert_null(sparse);
    }
    free(bytes);
    docs_free(&docs);
    wr_arena_release(&arena);
}
