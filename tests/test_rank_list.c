/* The listwise stage of a pipeline: what it does to a ranking, against the driver that it runs (test_rerank_listwise.c has
 * that against the slow way). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "ranker/rank.h"
#include "ranker/rerank_listwise.h"
#include "tests/testlib.h"
#include "tests/testlib_decoder.h"
#include "tests/testlib_model.h"
#include "tests/testlib_rank.h"

enum { NDOCS = 80, MOST = 60 };

static wr_test_service service;
static char dir[256], list[256], cross[256];

static void open_all(void)
{
    wr_test_decoder model = {.type = "llama", .seed = 2};
    wr_err err;
    snprintf(dir, sizeof dir, "%s", wr_test_path("index"));
    snprintf(list, sizeof list, "%s", wr_test_path("list"));
    snprintf(cross, sizeof cross, "%s", wr_test_path("cross"));
    wr_test_decoder_write(list, &model);
    wr_test_model(cross, true, 2);
    cr_assert(!wr_pool_open(&service.pool, 2, wr_ranker_thread_start, &err));
    wr_test_index(dir, NDOCS, NULL, service.pool);
    wr_pool_close(service.pool);
    wr_test_service_open_list(&service, dir, 2, cross, list);
}

static void close_all(void)
{
    wr_test_service_close(&service);
}

TestSuite(rank_list, .init = open_all, .fini = close_all);

static wr_request ask(size_t query, const char *pipeline)
{
    static char text[64];
    snprintf(text, sizeof text, "%s", wr_test_query(query));
    return (wr_request){.query = text, .query_len = strlen(text), .k = MOST, .pipeline = pipeline};
}

/* What a reply is, kept beyond the next request. */
typedef struct kept {
    uint32_t docid[MOST];
    float score[MOST], logit[MOST];
    size_t stage[MOST], rank[MOST], n;
    wr_response reply;
} kept;

static kept run(const wr_request *request)
{
    kept out = {.n = 0};
    wr_err err;
    cr_assert(!wr_rank(service.ranker, request, service.scratch, &out.reply, &err), "%s", err.text);
    out.n = out.reply.n;
    for (size_t i = 0; i < out.n; i++) {
        const wr_hit *hit = &out.reply.hit[i];
        size_t last = out.reply.nstages - 1;
        out.docid[i] = hit->docid, out.score[i] = hit->score, out.stage[i] = hit->stage;
        out.logit[i] = hit->stage_score[last], out.rank[i] = hit->stage_rank[last];
    }
    return out;
}

/* The n best of a ranking by the driver alone. */
static void by_driver(const wr_request *request, const kept *before, size_t n, const wr_listwise_options *o, uint32_t *item,
                      float *logit)
{
    wr_passage passage[MOST];
    wr_cut cut[MOST];
    wr_docreader *reader;
    wr_listwise driver;
    wr_arena arena;
    wr_llm *llm;
    wr_err err;
    size_t first;
    const wr_index *index = wr_ranker_index(service.ranker);
    cr_assert(!wr_arena_init(&arena, (size_t)1 << 30));
    cr_assert(!wr_llm_open(&llm, list, NULL, &err), "%s", err.text);
    cr_assert(!wr_docreader_open(&reader, wr_index_docstore(index), &err), "%s", err.text);
    for (size_t i = 0; i < n; i++) {
        wr_doc doc;
        cr_assert(!wr_docreader_get(reader, wr_index_document(index, before->docid[i]), &doc));
        passage[i] = (wr_passage){{doc.title, doc.title_len}, {doc.text, doc.text_len}};
    }
    cr_assert(!wr_listwise_begin(&driver, llm, o, (wr_text){request->query, request->query_len}, passage, n, &arena, &err));
    cr_assert(!wr_listwise_run(&driver, NULL, NULL, NULL, NULL, &err));
    wr_listwise_result(&driver, item, logit, cut, &first);
    wr_docreader_close(reader);
    wr_llm_close(llm);
    wr_arena_release(&arena);
}

Test(rank_list, documents_move_and_scores_stay)
{
    static const struct { const char *pipeline; size_t n; wr_listwise_options o; } cases[] = {
        {"bm25:40 > list:20", 20, {.window = 20, .stride = 10}},
        {"bm25:40 > list", 20, {.window = 20, .stride = 10}},
        {"bm25:40 > list[window=6,stride=4,prompt=paper]:30", 30, {.prompt = WR_PROMPT_PAPER, .window = 6, .stride = 4}},
        {"bm25:40 > list[model=list]:40", 40, {.window = 20, .stride = 10}}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        wr_request request = ask(c, "bm25:40");
        uint32_t item[MOST];
        float logit[MOST];
        kept before = run(&request);
        size_t n = before.n < cases[c].n ? before.n : cases[c].n;
        request.pipeline = cases[c].pipeline;
        kept got = run(&request);
        by_driver(&request, &before, n, &cases[c].o, item, logit);
        cr_assert_eq(got.n, before.n);
        cr_assert_eq(got.reply.ndegraded, 0u);
        cr_assert_eq(got.reply.stage[1].scored, n);
        cr_assert_arr_eq(got.score, before.score, got.n * sizeof *got.score);
        for (size_t i = 0; i < n; i++) {
            cr_assert_eq(got.docid[i], before.docid[item[i]]);
            cr_assert(got.stage[i] == 1 && got.rank[i] == i + 1 && got.logit[i] == logit[item[i]]);
        }
        for (size_t i = n; i < got.n; i++) cr_assert(got.docid[i] == before.docid[i] && got.stage[i] == 0 && !got.rank[i]);
    }
}

Test(rank_list, it_goes_on_from_what_a_cross_encoder_left)
{
    wr_request request = ask(5, "bm25:40 > cross:10");
    kept before = run(&request);
    request.pipeline = "full";
    kept full = run(&request);
    cr_assert_str_eq(full.reply.pipeline, "bm25:100 > cross:50 > list:20");
    request.pipeline = "bm25:40 > cross:10 > list[window=5]:10";
    kept got = run(&request);
    cr_assert_arr_eq(got.score, before.score, got.n * sizeof *got.score);
    cr_assert_eq(got.reply.nstages, 3u);
    for (size_t i = 0; i < got.n; i++) cr_assert_eq(got.stage[i], i < 10 ? 2u : 0u);
}

Test(rank_list, a_letter_beyond_the_thirty_best_has_no_score_of_the_stage)
{
    wr_request request = ask(1, "bm25:40 > list[logits=top30]:20");
    kept got = run(&request);
    size_t with = 0;
    while (with < 20 && got.rank[with]) with++;
    for (size_t i = 0; i < 20; i++) cr_assert(got.stage[i] == 1 && (got.rank[i] != 0) == (i < with));
    for (size_t i = 1; i < with; i++) cr_assert_leq(got.logit[i], got.logit[i - 1]);
}

/* ---- time ---- */

Test(rank_list, no_time_leaves_the_first_stage_and_says_so)
{
    static wr_test_clock fake; /* work that was begun reads it until the scratch is reset */
    wr_err err;
    wr_request request = ask(1, "bm25:40");
    kept before = run(&request);
    wr_test_clock_init(&fake, 1000000000, 0);
    request.pipeline = "bm25:40 > list:30";
    request.clock = &fake.clock;
    request.budget_ms = 5;
    request.arrived_ns = 1000000000 - 6000000;
    kept late = run(&request);
    cr_assert_arr_eq(late.docid, before.docid, late.n * sizeof *late.docid);
    cr_assert_eq(late.reply.ndegraded, 1u);
    cr_assert_str_eq(late.reply.degraded[0].stage, "list");
    cr_assert_eq(late.reply.degraded[0].reason, WR_REASON_BUDGET);
    cr_assert(late.reply.degraded[0].planned == (before.n < 30 ? before.n : 30) && late.reply.degraded[0].done == 0);
    for (size_t i = 0; i < late.n; i++) cr_assert_eq(late.stage[i], 0u);
    request.strict = true;
    cr_assert_eq(wr_rank(service.ranker, &request, service.scratch, &late.reply, &err), WR_STOPPED);
    cr_assert(strstr(err.text, "before stage list was done"), "%s", err.text);
}

Test(rank_list, a_little_time_is_a_prefix_of_the_windows_and_a_complete_ranking)
{
    wr_request request = ask(2, "bm25:60 > list[window=4,stride=2]:60");
    kept whole = run(&request);
    for (double ms = 2; ms < 60; ms *= 1.3) {
        bool seen[NDOCS] = {false};
        request.budget_ms = ms;
        kept got = run(&request);
        cr_assert_eq(got.n, whole.n);
        for (size_t i = 0; i < got.n; i++) {
            cr_assert(!seen[got.docid[i]] && (!i || got.score[i] < got.score[i - 1]));
            seen[got.docid[i]] = true;
        }
        size_t done = got.reply.stage[1].scored;
        cr_assert_eq(got.reply.ndegraded, done < got.n);
        for (size_t i = 0; i < got.n; i++) cr_assert_eq(got.stage[i], i < got.n - done ? 0u : 1u);
        if (done == got.n) cr_assert_arr_eq(got.docid, whole.docid, got.n * sizeof *got.docid);
    }
}

Test(rank_list, a_query_that_fills_the_prompt_is_named_and_leaves_the_order)
{
    static char query[20000];
    wr_request request = ask(1, "bm25:40");
    for (size_t i = 0; i < sizeof query; i++) query[i] = (i % 6) == 5 ? ' ' : "river"[i % 6];
    request.query = query, request.query_len = sizeof query;
    kept before = run(&request);
    request.pipeline = "bm25:40 > list:20";
    kept got = run(&request);
    cr_assert(got.n && got.n == before.n);
    cr_assert_arr_eq(got.docid, before.docid, got.n * sizeof *got.docid);
    cr_assert_eq(got.reply.ndegraded, 1u);
    cr_assert_eq(got.reply.degraded[0].reason, WR_REASON_BACKEND_ERROR);
    cr_assert_eq(got.reply.degraded[0].done, 0u);
}

/* ---- explanations ---- */

Test(rank_list, an_explanation_tells_position_and_score)
{
    wr_request request = ask(3, "bm25:40 > list[window=8]:20");
    request.explain = true;
    kept got = run(&request);
    cr_assert(got.n > 20);
    for (size_t i = 0; i < got.n; i++) {
        const wr_explain *e = got.reply.hit[i].explain;
        const wr_explain_stage *stage = &e->stage[1];
        cr_assert_str_eq(stage->model, "list");
        cr_assert_eq(stage->after, i + 1);
        if (i >= 20) continue;
        cr_assert(stage->before >= 1 && stage->before <= 20);
        cr_assert_eq(stage->score, got.logit[i]);
        cr_assert_float_eq(stage->result + e->shift, got.score[i], 1e-6);
    }
}

/* ---- models ---- */

Test(rank_list, decoders_are_loaded_by_name)
{
    char named[300];
    wr_loaded *loaded;
    wr_err err;
    size_t n;
    snprintf(named, sizeof named, "tiny=%s", list);
    const char *const two[] = {list, named}, *const twice[] = {named, named}, *const encoder[] = {cross};
    cr_assert(!wr_loaded_open(&loaded, &(wr_loaded_options){.list = two, .nlist = 2}, &err), "%s", err.text);
    const wr_list_shape *shape = wr_loaded_lists(loaded, &n);
    cr_assert(n == 2 && shape[0].letters == 26);
    cr_assert_str_eq(shape[0].name, "list");
    cr_assert_str_eq(shape[1].name, "tiny");
    cr_assert(wr_loaded_list(loaded, "") == wr_loaded_list(loaded, "list") && wr_loaded_list(loaded, "tiny"));
    cr_assert(!wr_loaded_list(loaded, "other") && wr_loaded_list(loaded, "tiny") != wr_loaded_list(loaded, ""));
    wr_loaded_close(loaded);
    cr_assert_eq(wr_loaded_open(&loaded, &(wr_loaded_options){.list = twice, .nlist = 2}, &err), WR_EARG);
    cr_assert(strstr(err.text, "two models are called tiny"), "%s", err.text);
    cr_assert(wr_loaded_open(&loaded, &(wr_loaded_options){.list = encoder, .nlist = 1}, &err) < 0);
}
