/* Explanations: of every stage of every pipeline the parts add up to the score that was served, and the parts are what a
 * slow look at the index gives: every term looked up, every list asked for by itself. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/analyzer.h"
#include "indexer/build.h"
#include "ranker/fuse.h"
#include "server/reply.h"
#include "tests/testlib.h"
#include "tests/testlib_model.h"
#include "tests/testlib_rank.h"

#define GOLDEN "./tests/golden/models/"
#define NDOCS 300
#define QUERY "old stone bridge over the river, old weir"

static const char *const words[] = {"water", "river", "weir",  "wind", "fish", "old",  "new",
                                    "stone", "over",  "flows", "what", "how",  "abba", "bridge"};
enum { WORDS = sizeof words / sizeof *words };

static wr_test_service service;

static const char *corpus(bool vectors)
{
    wr_test_random random = {7};
    const char *path = wr_test_path(vectors ? "vectors.jsonl" : "texts.jsonl");
    FILE *f = fopen(path, "w");
    cr_assert(f);
    for (size_t i = 0; i < NDOCS; i++) {
        fprintf(f, "{\"_id\":\"d%zu\",\"text\":\"", i);
        for (size_t j = 0, n = 2 + wr_test_below(&random, 10); j < n; j++)
            fprintf(f, "%s ", words[wr_test_below(&random, WORDS)]);
        fputs("\"", f);
        if (vectors) {
            fputs(",\"vector\":{", f);
            for (size_t w = wr_test_below(&random, 3), k = 0; w < WORDS; w += 1 + wr_test_below(&random, 4), k++)
                fprintf(f, "%s\"%s\":%.4f", k ? "," : "", words[w], .01 + 3 * wr_test_uniform(&random));
            fputs("}", f);
        }
        fputs("}\n", f);
    }
    fclose(f);
    return path;
}

static wr_model *open_model(const char *name)
{
    wr_model *model;
    wr_err err = {0};
    const wr_model_options options = {0};
    cr_assert_eq(wr_model_open(&model, name, &options, &err), WR_OK, "%s", err.text);
    return model;
}

/* Words, learned weights with clusters, vectors: all that an index can hold. NULL = without. */
static void build(const char *dir, wr_build_options o, const char *sparse, const char *dense)
{
    wr_build_report report;
    wr_err err = {0};
    wr_pool *pool;
    wr_model *a = sparse ? open_model(sparse) : NULL, *b = dense ? open_model(dense) : NULL;
    cr_assert_eq(wr_pool_open(&pool, 2, wr_ranker_thread_start, &err), WR_OK);
    o.out = dir;
    o.bm25 = (wr_bm25_params){.9, .4};
    o.sparse = a;
    o.dense = b;
    o.pool = pool;
    cr_assert_eq(wr_build(&o, &report, &err), WR_OK, "%s", err.text);
    wr_pool_close(pool);
    wr_model_close(a);
    wr_model_close(b);
}

static void open_all(void)
{
    const wr_build_options o = {.corpus = corpus(false), .sparse_index = WR_SPARSE_INDEX_APPROX};
    const char *dir = wr_test_path("index"), *cross = wr_test_path("tiny");
    wr_test_model(cross, true, 2);
    build(dir, o, GOLDEN "bert-sparse-idf", GOLDEN "bert-mean");
    wr_test_service_open(&service, dir, 2, cross);
}

static void close_all(void)
{
    wr_test_service_close(&service);
}

TestSuite(explain, .init = open_all, .fini = close_all);

static wr_request ask(const char *pipeline, size_t k)
{
    return (wr_request){.query = QUERY, .query_len = strlen(QUERY), .k = k, .pipeline = pipeline, .explain = true};
}

static void run(const wr_request *request, wr_response *reply)
{
    wr_err err = {0};
    cr_assert_eq(wr_rank(service.ranker, request, service.scratch, reply, &err), WR_OK, "%s", err.text);
}

/* ---- sums ---- */

static void assert_near(double got, double want, const char *what)
{
    cr_assert_leq(fabs(got - want), 1e-6 * fmax(1, fabs(want)), "%s: %.9g, expected %.9g", what, got, want);
}

static void stage_adds_up(const wr_explain_stage *stage)
{
    double sum = 0;
    for (size_t i = 0; i < stage->nterms; i++) {
        sum += stage->term[i].contribution;
        cr_assert_float_eq(stage->term[i].query * stage->term[i].document, stage->term[i].contribution, 1e-12);
        if (i) cr_assert_leq(stage->term[i].contribution, stage->term[i - 1].contribution);
    }
    if (stage->kind == WR_BM25 || stage->kind == WR_SPARSE) {
        assert_near(sum, stage->score, "terms");
        if (stage->unit > 0) cr_assert_eq(sum, (double)stage->score, "units add up to the bit");
    }
    sum = 0;
    for (size_t i = 0; i < stage->nparts; i++) sum += stage->part[i].contribution;
    if (stage->nparts) assert_near(sum, stage->result, "parts");
    if (stage->kind != WR_CROSS) cr_assert_eq(stage->result, stage->score);
}

static void adds_up(const wr_response *reply)
{
    for (size_t h = 0; h < reply->n; h++) {
        const wr_hit *hit = &reply->hit[h];
        cr_assert_not_null(hit->explain);
        for (size_t t = 0; t < reply->nstages; t++) {
            const wr_explain_stage *stage = &hit->explain->stage[t];
            cr_assert_eq(stage->gap == WR_GAP_NONE, hit->stage_rank[t] > 0);
            if (stage->gap) {
                cr_assert_eq(stage->nterms + stage->nparts, 0, "nothing is invented");
                continue;
            }
            cr_assert_eq(stage->score, hit->stage_score[t]);
            if (!stage->left_out) stage_adds_up(stage);
        }
        assert_near(hit->explain->stage[hit->stage].result + hit->explain->shift, hit->score, "served");
    }
}

static const char *const pipelines[] = {"bm25:100",
                                        "sparse:100",
                                        "dense:100",
                                        "sparse[mode=approx]:50",
                                        "sparse[mode=exact,two_phase=0.9]:50",
                                        "rrf(2*bm25,sparse:20,dense:30):100",
                                        "lin(0.3*bm25:40,0.3*sparse,0.4*dense:25):100",
                                        "lin(bm25:10,0.5*bm25:30,sparse,0.2*sparse[two_phase=0.9]):60",
                                        "bm25:40 > cross:15",
                                        "lin(0.4*bm25,0.6*dense):60 > cross@0.2:15",
                                        "rrf(bm25,dense):60 > cross@0.5[exit=1,keep=0.5]:20 > cross@0.7:5"};
enum { PIPELINES = sizeof pipelines / sizeof *pipelines };

Test(explain, parts_add_up_in_every_pipeline)
{
    for (size_t p = 0; p < PIPELINES; p++) {
        wr_response reply;
        wr_request request = ask(pipelines[p], 40);
        run(&request, &reply);
        cr_assert_gt(reply.n, 10, "%s", pipelines[p]);
        adds_up(&reply);
    }
}

Test(explain, a_ranking_is_the_same_with_and_without)
{
    for (size_t p = 0; p < PIPELINES; p++) {
        wr_response reply;
        wr_request request = ask(pipelines[p], 40);
        wr_hit hit[40];
        run(&request, &reply);
        size_t n = reply.n;
        memcpy(hit, reply.hit, n * sizeof *hit);
        request.explain = false;
        run(&request, &reply);
        cr_assert_eq(reply.n, n);
        for (size_t i = 0; i < n; i++) {
            cr_assert(reply.hit[i].docid == hit[i].docid && reply.hit[i].score == hit[i].score);
            cr_assert_null(reply.hit[i].explain);
        }
    }
}

/* ---- terms, by looking at all of them ---- */

static const wr_explain_term *term_named(const wr_explain_stage *stage, const char *text, size_t len)
{
    for (size_t i = 0; i < stage->nterms; i++)
        if (stage->term[i].len == len && !memcmp(stage->term[i].text, text, len)) return &stage->term[i];
    return NULL;
}

/* A term with a weight in the query: among the explained if the document has it, with its stored weight. */
static size_t check_term(const wr_sparse *sparse, const wr_hit *hit, size_t t, const char *text, size_t len,
                         float weight)
{
    const wr_explain_stage *stage = &hit->explain->stage[t];
    int64_t id = wr_sparse_term(sparse, text, len);
    float impact = id < 0 ? 0 : wr_sparse_impact(sparse, (uint32_t)id, hit->docid);
    const wr_explain_term *term = term_named(stage, text, len);
    cr_assert_eq(term != NULL, impact > 0, "%.*s", (int)len, text);
    if (!term) return 0;
    cr_assert_float_eq(term->query, weight, 1e-6);
    /* taken to the next unit; what float rounded away of the stored weight is a quarter of one at most */
    cr_assert_leq(fabs(term->document - impact), 1.3 * stage->unit / weight + 1e-12);
    return 1;
}

Test(explain, terms_of_bm25_are_those_of_the_query_that_the_document_has)
{
    const wr_index *index = wr_ranker_index(service.ranker);
    const wr_sparse *bm25 = wr_index_bm25(index);
    wr_request request = ask("bm25:60", 60);
    wr_response reply;
    wr_analyzer *analyzer;
    wr_arena arena;
    wr_term *term;
    wr_err err = {0};
    size_t n;
    run(&request, &reply);
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    cr_assert_eq(wr_analyzer_open(&analyzer, "english", &err), WR_OK);
    cr_assert_eq(wr_analyzer_terms(analyzer, QUERY, strlen(QUERY), &arena, &term, &n), WR_OK);
    for (size_t h = 0; h < reply.n; h++) {
        size_t found = 0;
        for (size_t i = 0; i < n; i++) {
            size_t count = 0, first = n;
            for (size_t j = 0; j < n; j++) {
                if (term[j].len != term[i].len || memcmp(term[j].text, term[i].text, term[i].len)) continue;
                count++;
                if (first == n) first = j;
            }
            if (first != i) continue;
            int64_t id = wr_sparse_term(bm25, term[i].text, term[i].len);
            float idf = id < 0 ? 0 : wr_sparse_idf(bm25, (uint32_t)id);
            found += check_term(bm25, &reply.hit[h], 0, term[i].text, term[i].len, (float)count * idf);
            const wr_explain_term *got = term_named(&reply.hit[h].explain->stage[0], term[i].text, term[i].len);
            if (got) cr_assert(got->count == count && got->idf == idf);
        }
        cr_assert_eq(found, reply.hit[h].explain->stage[0].nterms);
    }
    wr_analyzer_close(analyzer);
    wr_arena_release(&arena);
}

static void check_tokens(const char *pipeline, bool products)
{
    const wr_index *index = wr_ranker_index(service.ranker);
    wr_model *model = open_model(GOLDEN "bert-sparse-idf");
    const wr_tokenizer *tok = wr_model_tokenizer(model);
    wr_request request = ask(pipeline, 50);
    wr_response reply;
    wr_arena arena;
    wr_tokens tokens;
    wr_token_weights w;
    size_t ntable;
    const float *table = wr_index_query_weights(index, &ntable);
    run(&request, &reply);
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    cr_assert_eq(wr_tokenizer_encode(tok, QUERY, strlen(QUERY), &arena, SIZE_MAX, &tokens), WR_OK);
    cr_assert_eq(wr_idf_weigh(table, ntable, WR_QUERY_SET, &tokens, &arena, &w), WR_OK);
    for (size_t h = 0; h < reply.n; h++) {
        size_t found = 0;
        for (size_t i = 0; i < w.n; i++) {
            const char *token = wr_tokenizer_token(tok, w.id[i]);
            found += check_term(wr_index_sparse(index), &reply.hit[h], 0, token, strlen(token), table[w.id[i]]);
        }
        cr_assert_eq(found, reply.hit[h].explain->stage[0].nterms);
        cr_assert_eq(reply.hit[h].explain->stage[0].unit == 0, products);
    }
    wr_arena_release(&arena);
    wr_model_close(model);
}

Test(explain, tokens_of_sparse_are_those_of_the_query_that_the_document_has)
{
    check_tokens("sparse:50", false);
    check_tokens("sparse[mode=approx]:50", false);
    check_tokens("sparse[two_phase=0.9]:50", true);
}

/* ---- fusion and rerank stages, by asking for what went in ---- */

static uint32_t rank_in(const wr_response *reply, uint32_t docid)
{
    for (size_t i = 0; i < reply->n; i++)
        if (reply->hit[i].docid == docid) return (uint32_t)i + 1;
    return 0;
}

/* Part l of every hit against the list of this pipeline. */
static void check_list(const wr_response *fused, size_t l, const wr_response *list, bool lin)
{
    double min = list->hit[list->n - 1].stage_score[0], max = list->hit[0].stage_score[0];
    for (size_t h = 0; h < fused->n; h++) {
        const wr_hit *hit = &fused->hit[h];
        const wr_explain_part *part = &hit->explain->stage[fused->nstages - 1].part[l];
        cr_assert_eq(part->rank, rank_in(list, hit->docid));
        if (!part->rank) {
            cr_assert_eq(part->contribution, 0);
            continue;
        }
        double score = list->hit[part->rank - 1].stage_score[0];
        if (lin) {
            cr_assert(part->score == score && part->min == min && part->max == max);
            cr_assert_float_eq(part->normalised, (score - min) / (max - min), 1e-12);
        }
        cr_assert_float_eq(part->contribution,
                           part->weight * (lin ? (score - min) / (max - min) : 1. / (60 + part->rank)), 1e-12);
    }
}

static void check_fusion(const char *pipeline, const char *const *list, size_t n, bool lin)
{
    wr_test_service other; /* its reply stays while the lists are asked for */
    wr_request request = ask(pipeline, 100);
    wr_response fused, alone;
    wr_err err = {0};
    wr_test_service_open(&other, wr_test_path("index"), 1, NULL);
    cr_assert_eq(wr_rank(other.ranker, &request, other.scratch, &fused, &err), WR_OK, "%s", err.text);
    for (size_t l = 0; l < n; l++) {
        request = ask(list[l], 100);
        run(&request, &alone);
        check_list(&fused, l, &alone, lin);
    }
    wr_test_service_close(&other);
}

Test(explain, parts_of_a_fusion_are_its_lists)
{
    static const char *const list[] = {"bm25:40", "sparse:100", "dense:25"};
    check_fusion("lin(0.3*bm25:40,0.3*sparse,0.4*dense:25):100", list, 3, true);
    check_fusion("rrf(0.3*bm25:40,sparse,2*dense:25):100", list, 3, false);
}

Test(explain, a_share_mixes_what_came_in_with_what_the_model_says)
{
    wr_response reply, before;
    wr_test_service other;
    wr_err err = {0};
    wr_request request = ask("bm25:40", 40);
    wr_test_service_open(&other, wr_test_path("index"), 1, wr_test_path("tiny"));
    cr_assert_eq(wr_rank(other.ranker, &request, other.scratch, &before, &err), WR_OK, "%s", err.text);
    request = ask("bm25:40 > cross@0.3[exit=1]:15", 40);
    run(&request, &reply);
    double lo = INFINITY, hi = -INFINITY;
    for (size_t h = 0; h < 15; h++) {
        lo = fmin(lo, reply.hit[h].stage_score[1]);
        hi = fmax(hi, reply.hit[h].stage_score[1]);
    }
    for (size_t h = 0; h < reply.n; h++) {
        const wr_explain_stage *stage = &reply.hit[h].explain->stage[1];
        cr_assert_eq(stage->before, rank_in(&before, reply.hit[h].docid));
        cr_assert_eq(stage->after, h + 1);
        cr_assert_str_eq(stage->model, "tiny");
        cr_assert_eq(stage->exit, 1);
        cr_assert_eq(stage->gap, h < 15 ? WR_GAP_NONE : WR_GAP_DEPTH);
        if (stage->gap) {
            cr_assert_str_eq(wr_explain_reason(&reply, 1, stage), "depth");
            cr_assert_eq(reply.hit[h].stage, 0);
            continue;
        }
        double first = before.hit[0].score, last = before.hit[14].score, was = before.hit[stage->before - 1].score;
        cr_assert_float_eq(stage->part[0].normalised, (stage->score - lo) / (hi - lo), 1e-12);
        cr_assert_float_eq(stage->part[1].normalised, (was - last) / (first - last), 1e-12);
        assert_near(.3 * stage->part[0].normalised + .7 * stage->part[1].normalised, reply.hit[h].score, "served");
    }
    wr_test_service_close(&other);
}

Test(explain, dense_names_its_metric)
{
    const wr_dense *dense = wr_index_dense(wr_ranker_index(service.ranker));
    bool unit = wr_index_info_get(wr_ranker_index(service.ranker))->dense_normalize;
    wr_request request = ask("dense:10", 10);
    wr_response reply;
    run(&request, &reply);
    cr_assert_str_eq(reply.hit[0].explain->stage[0].metric, unit ? "cosine" : "inner_product");
    request.dense = wr_dense_vector(dense, 17);
    request.ndense = wr_dense_dim(dense);
    run(&request, &reply);
    adds_up(&reply);
    cr_assert_str_eq(reply.hit[0].explain->stage[0].metric, "inner_product");
}

/* ---- pages, exclusion, nothing, haste ---- */

Test(explain, a_page_is_explained_as_the_whole_is)
{
    static double contribution[40][8];
    wr_request request = ask("lin(0.4*bm25,0.3*sparse,0.3*dense):60 > cross@0.2:15", 40);
    wr_response reply;
    run(&request, &reply);
    for (size_t h = 0; h < 40; h++)
        for (size_t l = 0; l < 3; l++) contribution[h][l] = reply.hit[h].explain->stage[3].part[l].contribution;
    request.offset = 13;
    request.k = 7;
    run(&request, &reply);
    cr_assert_eq(reply.n, 7);
    adds_up(&reply);
    for (size_t h = 0; h < 7; h++) {
        cr_assert_eq(reply.hit[h].explain->stage[4].after, h + 14);
        for (size_t l = 0; l < 3; l++)
            cr_assert_eq(reply.hit[h].explain->stage[3].part[l].contribution, contribution[h + 13][l]);
    }
}

Test(explain, what_is_excluded_counts_nowhere)
{
    wr_request request = ask("lin(0.4*bm25:20,0.6*sparse:20):60", 1);
    wr_response reply;
    char docno[64];
    run(&request, &reply);
    snprintf(docno, sizeof docno, "%s", reply.hit[0].doc.docno);
    const char *exclude[] = {docno};
    request.exclude = exclude;
    request.nexclude = 1;
    request.k = 30;
    run(&request, &reply);
    adds_up(&reply);
    double most = 0;
    for (size_t h = 0; h < reply.n; h++) {
        cr_assert_str_neq(reply.hit[h].doc.docno, docno);
        most = fmax(most, reply.hit[h].explain->stage[2].part[0].normalised);
    }
    cr_assert_eq(most, 1, "the best of those that are left");
}

Test(explain, nothing_found_is_nothing_to_explain)
{
    wr_response reply;
    wr_request request = ask("lin(bm25,sparse,dense):10 > cross:5", 10);
    request.query = "";
    request.query_len = 0;
    run(&request, &reply);
    cr_assert_eq(reply.n, 0);
    request = ask("bm25:10 > cross:5", 10);
    request.query = "qqqq";
    request.query_len = 4;
    run(&request, &reply);
    cr_assert_eq(reply.n, 0);
}

Test(explain, the_request_may_bring_its_weights)
{
    static const char *const token[] = {"fish", "nothing", "wind", "river"};
    static const float weight[] = {2, 1, 0, .5f};
    const char *dir = wr_test_path("given");
    wr_test_service given;
    wr_response reply;
    wr_err err = {0};
    wr_request request = {.query = "", .k = 50, .pipeline = "sparse:50", .explain = true, .sparse_token = token,
                          .sparse_weight = weight, .nsparse = 4};
    build(dir, (wr_build_options){.corpus = corpus(true), .format = WR_CORPUS_VECTORS}, NULL, NULL);
    wr_test_service_open(&given, dir, 1, NULL);
    const wr_sparse *sparse = wr_index_sparse(wr_ranker_index(given.ranker));
    cr_assert_eq(wr_rank(given.ranker, &request, given.scratch, &reply, &err), WR_OK, "%s", err.text);
    cr_assert_gt(reply.n, 10);
    adds_up(&reply);
    for (size_t h = 0; h < reply.n; h++) {
        size_t found = check_term(sparse, &reply.hit[h], 0, "fish", 4, 2) +
                       check_term(sparse, &reply.hit[h], 0, "river", 5, .5f);
        cr_assert_eq(found, reply.hit[h].explain->stage[0].nterms);
    }
    wr_test_service_close(&given);
}

Test(explain, time_that_is_up_leaves_terms_out_and_says_so)
{
    static wr_test_clock fake; /* work that was begun reads it until the scratch is reset */
    wr_response reply;
    wr_test_clock_init(&fake, 1000000000, 0);
    wr_request request = ask("lin(0.4*bm25,0.6*dense):100 > cross@0.2:20", 10);
    request.clock = &fake.clock;
    request.budget_ms = 5;
    request.arrived_ns = 1000000000 - 6000000; /* six milliseconds in the queue */
    run(&request, &reply);
    cr_assert_eq(reply.n, 10);
    cr_assert_eq(reply.ndegraded, 2, "the vectors and the cross-encoder");
    adds_up(&reply);
    for (size_t h = 0; h < reply.n; h++) {
        const wr_explain_stage *stage = reply.hit[h].explain->stage;
        cr_assert_str_eq(stage[0].left_out, "budget");
        cr_assert_eq(stage[0].nterms, 0);
        cr_assert_eq(stage[1].gap, WR_GAP_DEGRADED);
        cr_assert_str_eq(wr_explain_reason(&reply, 1, &stage[1]), "budget");
        cr_assert_eq(stage[2].part[1].rank, 0);
        cr_assert_eq(stage[2].part[1].contribution, 0);
        cr_assert_eq(stage[3].gap, WR_GAP_DEGRADED);
        cr_assert_eq(stage[3].before, stage[3].after);
    }
}

/* ---- as JSON ---- */

static double sum_of(json_t *list)
{
    double sum = 0;
    json_t *value;
    size_t i;
    json_array_foreach(list, i, value) sum += json_number_value(json_object_get(value, "contribution"));
    return sum;
}

static double member(json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    cr_assert(json_is_number(value), "%s", key);
    return json_number_value(value);
}

static void check_json(json_t *hit)
{
    const char *name;
    json_t *stage, *all = json_object_get(hit, "explain");
    size_t served = 0;
    json_object_foreach(all, name, stage)
    {
        json_t *score = json_object_get(json_object_get(hit, "stage_scores"), name);
        cr_assert_eq(json_is_true(json_object_get(stage, "held")), score != NULL, "%s", name);
        if (!score) continue;
        assert_near(member(stage, "score"), json_number_value(score), name);
        json_t *terms = json_object_get(stage, "terms"), *parts = json_object_get(stage, "parts");
        json_t *result = json_object_get(stage, "result");
        if (terms) assert_near(sum_of(terms), json_number_value(score), name);
        if (parts) assert_near(sum_of(parts), json_number_value(result ? result : score), name);
        json_t *place = json_object_get(stage, "served");
        if (!place) continue;
        served++;
        assert_near(member(place, "result") + member(place, "shift"), member(hit, "score"), "served");
    }
    cr_assert_eq(served, 1);
}

Test(explain, the_json_adds_up_too)
{
    for (size_t p = 0; p < PIPELINES; p++) {
        wr_response reply;
        wr_request request = ask(pipelines[p], 30);
        const wr_reply_about about = {.index = "i", .generation = "g", .explain = true};
        wr_out out = {0};
        json_error_t error;
        json_t *hit;
        size_t i;
        run(&request, &reply);
        wr_reply_search(&out, &reply, &about);
        json_t *root = json_loadb(out.bytes, out.n, 0, &error);
        cr_assert(root, "%s", error.text);
        json_array_foreach(json_object_get(root, "hits"), i, hit) check_json(hit);
        cr_assert_eq(i, reply.n);
        json_decref(root);
        wr_out_release(&out);
    }
}
