#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/mapfile.h"
#include "indexer/defaults.h"
#include "indexer/manifest.h"
#include "tests/testlib_rank.h"
#include "tests/testlib.h"
#include "tests/testlib_model.h"

#define NDOCS 400

static wr_test_service service;

static void open_lexical(void)
{
    const char *dir = wr_test_path("index");
    wr_test_index(dir, NDOCS, NULL, NULL);
    wr_test_service_open(&service, dir, 2, NULL);
}

static void close_service(void)
{
    wr_test_service_close(&service);
}

TestSuite(rank, .init = open_lexical, .fini = close_service);

static wr_request ask(const char *query, size_t k)
{
    return (wr_request){.query = query, .query_len = strlen(query), .k = k, .return_text = true};
}

static void run(const wr_request *request, wr_response *reply)
{
    wr_err err;
    cr_assert_eq(wr_rank(service.ranker, request, service.scratch, reply, &err), WR_OK, "%s", err.text);
}

static void refused(const wr_request *request)
{
    wr_err err;
    wr_response reply;
    cr_assert_eq(wr_rank(service.ranker, request, service.scratch, &reply, &err), WR_EARG);
}

Test(rank, hits_fall_strictly_and_carry_their_documents)
{
    for (size_t q = 0; q < 50; q++) {
        wr_response reply;
        wr_request request = ask(wr_test_query(q), 20);
        run(&request, &reply);
        cr_assert_eq(reply.n, 20);
        cr_assert_eq(reply.ndegraded, 0);
        cr_assert_str_eq(reply.stage[0].name, "bm25");
        for (size_t i = 0; i < reply.n; i++) {
            cr_assert(reply.hit[i].doc.docno[0] == 'd');
            cr_assert(reply.hit[i].doc.text_len > 0);
            cr_assert_eq(reply.hit[i].stage_rank[0], i + 1);
            if (i) cr_assert(reply.hit[i].score < reply.hit[i - 1].score);
        }
    }
}

Test(rank, pages_join_to_the_whole_list)
{
    wr_response reply;
    uint32_t whole[30];
    wr_request request = ask(wr_test_query(3), 30);
    run(&request, &reply);
    for (size_t i = 0; i < 30; i++) whole[i] = reply.hit[i].docid;
    for (size_t from = 0; from < 30; from += 7) {
        wr_request page = ask(wr_test_query(3), 7);
        page.offset = from;
        run(&page, &reply);
        for (size_t i = 0; i < reply.n && from + i < 30; i++) cr_assert_eq(reply.hit[i].docid, whole[from + i]);
    }
    request.offset = 5000;
    run(&request, &reply);
    cr_assert_eq(reply.n, 0);
}

Test(rank, excluded_documents_never_appear)
{
    wr_response reply;
    char first[32];
    wr_request request = ask(wr_test_query(5), 10);
    run(&request, &reply);
    snprintf(first, sizeof first, "%s", reply.hit[0].doc.docno);
    const char *exclude[] = {"no-such-document", first};
    request.exclude = exclude;
    request.nexclude = 2;
    run(&request, &reply);
    cr_assert_eq(reply.n, 10);
    for (size_t i = 0; i < reply.n; i++) cr_assert_str_neq(reply.hit[i].doc.docno, first);
}

Test(rank, a_blank_query_finds_nothing)
{
    wr_response reply;
    wr_request request = ask(" \n", 10);
    run(&request, &reply);
    cr_assert_eq(reply.n, 0);
    cr_assert_eq(reply.ndegraded, 0);
}

Test(rank, refuses_what_it_cannot_do)
{
    wr_request request = ask("river", 0);
    refused(&request);
    request.k = WR_MAX_K + 1;
    refused(&request);
    request = ask("river", 10);
    request.pipeline = "dense:10";
    refused(&request);
    request.pipeline = "bm25:10 > cross:5";
    refused(&request);
    request.pipeline = NULL;
    request.query_len = WR_MAX_QUERY_BYTES + 1;
    refused(&request);
}

Test(rank, a_budget_that_is_never_spent_changes_nothing)
{
    for (size_t q = 0; q < 20; q++) {
        wr_response reply;
        uint32_t docid[10];
        float score[10];
        wr_request request = ask(wr_test_query(q), 10);
        run(&request, &reply);
        for (size_t i = 0; i < 10; i++) docid[i] = reply.hit[i].docid, score[i] = reply.hit[i].score;
        request.budget_ms = 1e6;
        run(&request, &reply);
        cr_assert_eq(reply.ndegraded, 0);
        for (size_t i = 0; i < 10; i++) cr_assert(reply.hit[i].docid == docid[i] && reply.hit[i].score == score[i]);
    }
}

Test(rank, a_list_that_was_finished_is_whole_although_time_is_up)
{
    static wr_test_clock fake; /* work that was begun reads it until the scratch is reset */
    wr_response reply;
    wr_test_clock_init(&fake, 1000000000, 0);
    wr_request request = ask(wr_test_query(1), 10);
    request.clock = &fake.clock;
    request.budget_ms = 5;
    request.arrived_ns = 1000000000 - 6000000; /* six milliseconds in the queue */
    request.strict = true;
    run(&request, &reply);
    cr_assert_eq(reply.n, 10);
    cr_assert_eq(reply.ndegraded, 0, "400 documents are scored before the first look at the clock");
}

Test(rank, documents_are_found_by_docno)
{
    wr_doc doc;
    cr_assert_eq(wr_rank_document(service.ranker, "d17", 3, service.scratch, &doc), WR_OK);
    cr_assert_str_eq(doc.docno, "d17");
    cr_assert_eq(wr_rank_document(service.ranker, "d1700", 5, service.scratch, &doc), WR_ENOTFOUND);
}

/* ---- with an encoder and a cross-encoder ---- */

static void open_dense(void)
{
    const char *dir = wr_test_path("index"), *cross = wr_test_path("cross");
    wr_test_model(wr_test_path("encoder"), false, 1);
    wr_test_model(cross, true, 2);
    wr_test_index_dense(dir, NDOCS, wr_test_path("encoder"));
    wr_test_service_open(&service, dir, 2, cross);
}

TestSuite(rank_dense, .init = open_dense, .fini = close_service);

Test(rank_dense, the_default_pipeline_fuses_both_lists)
{
    wr_response reply;
    wr_request request = ask(wr_test_query(2), 10);
    run(&request, &reply);
    size_t first = strcspn(WR_PIPELINE_DENSE, ">");
    cr_assert_eq(strncmp(reply.pipeline, WR_PIPELINE_DENSE, first), 0, "%s", reply.pipeline);
    cr_assert_geq(reply.nstages, 3);
    cr_assert_eq(reply.ndegraded, 0);
    for (size_t i = 0; i < reply.n; i++) {
        const wr_hit *hit = &reply.hit[i];
        cr_assert_geq(hit->stage, 2);
        if (hit->stage == 2) cr_assert_eq(hit->stage_rank[2], i + 1);
        cr_assert(hit->stage_rank[0] || hit->stage_rank[1]);
    }
}

Test(rank_dense, time_that_is_up_is_named_and_is_no_error)
{
    static wr_test_clock fake; /* work that was begun reads it until the scratch is reset */
    wr_response reply;
    wr_test_clock_init(&fake, 1000000000, 0);
    wr_request request = ask(wr_test_query(1), 10);
    request.pipeline = "lin(0.4*bm25,0.6*dense):100";
    request.clock = &fake.clock;
    request.budget_ms = 5;
    request.arrived_ns = 1000000000 - 6000000;
    run(&request, &reply);
    cr_assert_eq(reply.n, 10);
    cr_assert_eq(reply.ndegraded, 1);
    cr_assert_str_eq(reply.degraded[0].stage, "dense");
    cr_assert_eq(reply.degraded[0].reason, WR_REASON_BUDGET);
    cr_assert_eq(reply.degraded[0].planned, 100);
    cr_assert_eq(reply.degraded[0].done, 0);
    request.strict = true;
    wr_err err;
    cr_assert_eq(wr_rank(service.ranker, &request, service.scratch, &reply, &err), WR_STOPPED);
    cr_assert(strstr(err.text, "dense"), "%s", err.text);
}

Test(rank_dense, a_vector_in_the_request_replaces_encoding)
{
    wr_response reply;
    const wr_dense *dense = wr_index_dense(wr_ranker_index(service.ranker));
    wr_request request = ask("", 1);
    request.pipeline = "dense:10";
    request.dense = wr_dense_vector(dense, 123);
    request.ndense = wr_dense_dim(dense);
    run(&request, &reply);
    cr_assert_eq(reply.encode_ms, 0);
    cr_assert_float_eq(reply.hit[0].score, 1, 1e-5);
    request.ndense--;
    refused(&request);
}

Test(rank_dense, a_cross_encoder_reorders_the_head_and_leaves_the_rest)
{
    wr_response reply;
    uint32_t before[40];
    wr_request request = ask(wr_test_query(4), 40);
    request.pipeline = "bm25:40";
    run(&request, &reply);
    for (size_t i = 0; i < 40; i++) before[i] = reply.hit[i].docid;
    request.pipeline = "bm25:40 > cross:15";
    run(&request, &reply);
    cr_assert_eq(reply.n, 40);
    cr_assert_eq(reply.ndegraded, 0);
    cr_assert_eq(reply.stage[1].scored, 15);
    for (size_t i = 0; i < 40; i++) {
        const wr_hit *hit = &reply.hit[i];
        cr_assert_eq(hit->stage, i < 15);
        cr_assert_eq(hit->stage_rank[1], i < 15 ? i + 1 : 0);
        if (i < 15) cr_assert_eq(hit->score, hit->stage_score[1]);
        else cr_assert_eq(hit->docid, before[i]);
        if (i) cr_assert(hit->score < reply.hit[i - 1].score);
    }
}

Test(rank_dense, a_quick_look_at_many_then_a_whole_one_at_the_best)
{
    wr_response reply;
    float quick[20];
    wr_request request = ask(wr_test_query(4), 20);
    request.pipeline = "bm25:20 > cross[exit=1,keep=0.5]:20 > cross:5";
    run(&request, &reply);
    cr_assert_eq(reply.ndegraded, 0);
    cr_assert_eq(reply.stage[1].scored, 20);
    cr_assert_eq(reply.stage[2].scored, 5);
    for (size_t i = 0; i < 20; i++) quick[i] = reply.hit[i].stage_score[1];
    for (size_t i = 0; i < 20; i++) {
        cr_assert_eq(reply.hit[i].stage, i < 5 ? 2 : 1);
        if (i > 5) cr_assert(quick[i] <= quick[i - 1], "the others keep the quick look's order");
    }
    request.pipeline = "bm25:20 > cross:20";
    run(&request, &reply);
    size_t changed = 0;
    for (size_t i = 0; i < 20; i++) changed += reply.hit[i].stage_score[1] != quick[i];
    cr_assert_gt(changed, 0);
    request.pipeline = "bm25:20 > cross[exit=3]:20";
    wr_err err;
    cr_assert_eq(wr_rank(service.ranker, &request, service.scratch, &reply, &err), WR_EARG);
    cr_assert(strstr(err.text, "2 layers"), "%s", err.text);
}

Test(rank_dense, a_share_mixes_the_stage_with_the_one_before)
{
    wr_response all, mixed;
    wr_request request = ask(wr_test_query(4), 15);
    request.pipeline = "bm25:15 > cross@0:15";
    run(&request, &mixed);
    uint32_t docid[15];
    for (size_t i = 0; i < 15; i++) docid[i] = mixed.hit[i].docid;
    request.pipeline = "bm25:15";
    run(&request, &all);
    for (size_t i = 0; i < 15; i++) cr_assert_eq(all.hit[i].docid, docid[i], "a share of 0 is the order before");
}

Test(rank_dense, no_time_for_the_cross_encoder_leaves_the_first_stage)
{
    static wr_test_clock fake; /* work that was begun reads it until the scratch is reset */
    wr_response reply;
    wr_test_clock_init(&fake, 1000000000, 0);
    wr_request request = ask(wr_test_query(1), 10);
    request.pipeline = "bm25:100 > cross:30";
    request.clock = &fake.clock;
    request.budget_ms = 5;
    request.arrived_ns = 1000000000 - 6000000;
    run(&request, &reply);
    cr_assert_eq(reply.n, 10);
    cr_assert_eq(reply.ndegraded, 1);
    cr_assert_str_eq(reply.degraded[0].stage, "cross");
    cr_assert_eq(reply.degraded[0].planned, 30);
    cr_assert_eq(reply.degraded[0].done, 0);
    for (size_t i = 0; i < 10; i++) cr_assert_eq(reply.hit[i].stage, 0);
}

Test(rank_dense, threads_do_not_change_a_bit)
{
    wr_test_service eight;
    wr_err err;
    wr_test_service_open(&eight, wr_test_path("index"), 8, wr_test_path("cross"));
    for (size_t q = 0; q < 10; q++) {
        wr_response two, many;
        wr_request request = ask(wr_test_query(q), 20);
        request.pipeline = "rrf(bm25,dense):50 > cross:20";
        run(&request, &two);
        cr_assert_eq(wr_rank(eight.ranker, &request, eight.scratch, &many, &err), WR_OK);
        cr_assert_eq(two.n, many.n);
        for (size_t i = 0; i < two.n; i++)
            cr_assert(two.hit[i].docid == many.hit[i].docid && two.hit[i].score == many.hit[i].score);
    }
    wr_test_service_close(&eight);
}

Test(rank_dense, another_model_than_the_index_was_built_with_is_refused)
{
    wr_loaded *loaded;
    wr_ranker *ranker;
    wr_err err;
    wr_test_model(wr_test_path("other"), false, 3);
    wr_loaded_options options = {.dense = wr_test_path("other")};
    cr_assert_eq(wr_loaded_open(&loaded, &options, &err), WR_OK);
    cr_assert_eq(wr_ranker_open(&ranker, wr_test_path("index"), loaded, service.pool, &err), WR_EFORMAT);
    cr_assert(strstr(err.text, "was built with model"), "%s", err.text);
    cr_assert_null(ranker);
    wr_loaded_close(loaded);
}

/* ---- token ids from the document store ---- */

/* Publishes the manifest again with another tokenizer's hash or another default pipeline; NULL = as it is. */
static void change_manifest(const char *dir, const char *tokenizer, const char *pipeline)
{
    char path[4200], *text;
    size_t n;
    wr_err err;
    wr_manifest m;
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    cr_assert_eq(wr_manifest_load(&m, dir, &err), WR_OK, "%s", err.text);
    cr_assert_eq(strlen(m.info.tokenizer_sha256), 64);
    if (tokenizer) m.info.tokenizer_sha256 = tokenizer;
    if (pipeline) m.info.default_pipeline = pipeline;
    cr_assert_eq(wr_manifest_text(&m, &text, &n, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_file_replace(path, text, n, &err), WR_OK, "%s", err.text);
    free(text);
    wr_manifest_release(&m);
}

/* The manifest as it would be had the index been built with another tokenizer: then texts are tokenised again. */
static void forget_tokenizer(const char *dir)
{
    change_manifest(dir, "0000000000000000000000000000000000000000000000000000000000000000", NULL);
}

static void assert_same_hits(const wr_response *a, const wr_response *b)
{
    cr_assert_eq(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) cr_assert(a->hit[i].docid == b->hit[i].docid && a->hit[i].score == b->hit[i].score);
}

/* A cross-encoder whose query and passage meet late, behind an index with its tokenizer. */
Test(rank, a_model_that_compares_two_texts_ranks_by_their_ids)
{
    static const char *const pipelines[] = {"bm25:40 > cross:40", "bm25:40 > cross[exit=1,keep=0.5]:40",
                                            "rrf(bm25,dense):40 > cross@0.5[exit=2]:20"};
    static const char cross[] = "./tests/golden/models/bert-interaction";
    const char *dir = wr_test_path("compared");
    wr_test_service with, without;
    wr_response stored, text;
    wr_err err;
    wr_test_index_dense(dir, NDOCS, "./tests/golden/models/bert-mean");
    wr_test_service_open(&with, dir, 2, cross);
    forget_tokenizer(dir);
    wr_test_service_open(&without, dir, 2, cross);
    for (size_t p = 0; p < sizeof pipelines / sizeof *pipelines; p++)
        for (size_t q = 0; q < 5; q++) {
            wr_request request = ask(wr_test_query(q), 40);
            request.pipeline = pipelines[p];
            cr_assert_eq(wr_rank(with.ranker, &request, with.scratch, &stored, &err), WR_OK, "%s", err.text);
            cr_assert(stored.n > 10 && stored.hit[0].score > stored.hit[9].score);
            request.budget_ms = q % 2 ? 1e6 : 0;
            cr_assert_eq(wr_rank(without.ranker, &request, without.scratch, &text, &err), WR_OK, "%s", err.text);
            assert_same_hits(&stored, &text);
        }
    wr_test_service_close(&with);
    wr_test_service_close(&without);
}

Test(rank_dense, stored_token_ids_give_the_bits_of_the_text)
{
    wr_test_service plain;
    wr_err err;
    const char *queries[] = {"river", "", ("a query that is longer than all that the model takes, again and again and again "
                                          "and again and again and again and again and again and again and again")};
    forget_tokenizer(wr_test_path("index"));
    wr_test_service_open(&plain, wr_test_path("index"), 2, wr_test_path("cross"));
    for (size_t q = 0; q < 20; q++) {
        wr_response stored, text;
        wr_request request = ask(q < 3 ? queries[q] : wr_test_query(q), 60);
        request.pipeline = "rrf(bm25,dense):60 > cross:60";
        run(&request, &stored);
        cr_assert_eq(wr_rank(plain.ranker, &request, plain.scratch, &text, &err), WR_OK);
        assert_same_hits(&stored, &text);
        request.budget_ms = 1e6; /* one pair at a time */
        cr_assert_eq(wr_rank(plain.ranker, &request, plain.scratch, &text, &err), WR_OK);
        assert_same_hits(&stored, &text);
        if (stored.nstages > 3) cr_assert_eq(stored.stage[3].cut, text.stage[3].cut);
    }
    wr_test_service_close(&plain);
}

/* ---- models that are not where they were, or not there at all ---- */

/* A service on an index with another default pipeline. */
static void reopen(const char *pipeline, const char *cross)
{
    wr_test_service_close(&service);
    change_manifest(wr_test_path("index"), NULL, pipeline);
    wr_test_service_open(&service, wr_test_path("index"), 2, cross);
}

Test(rank_dense, a_default_pipeline_goes_on_without_its_cross_encoder_and_says_so)
{
    wr_response reply;
    wr_err err;
    uint32_t before[10];
    wr_request request = ask(wr_test_query(4), 10);
    request.pipeline = "rrf(bm25,dense):40";
    run(&request, &reply);
    for (size_t i = 0; i < 10; i++) before[i] = reply.hit[i].docid;
    reopen("rrf(bm25,dense):40 > cross@0.5[exit=4]:20", NULL);
    request.pipeline = NULL;
    run(&request, &reply);
    cr_assert_eq(reply.n, 10);
    for (size_t i = 0; i < 10; i++) cr_assert(reply.hit[i].docid == before[i] && reply.hit[i].stage == 2);
    cr_assert_str_eq(reply.pipeline, "rrf(bm25,dense):40 > cross@0.5[exit=4]:20");
    cr_assert_eq(reply.nstages, 4);
    cr_assert_eq(reply.stage[3].scored, 0);
    cr_assert_eq(reply.ndegraded, 1);
    cr_assert_str_eq(reply.degraded[0].stage, "cross");
    cr_assert_eq(reply.degraded[0].reason, WR_REASON_MODEL_UNAVAILABLE);
    cr_assert_eq(reply.degraded[0].planned, 20);
    cr_assert_eq(reply.degraded[0].done, 0);
    request.strict = true;
    cr_assert_eq(wr_rank(service.ranker, &request, service.scratch, &reply, &err), WR_STOPPED);
    cr_assert(strstr(err.text, "model_unavailable"), "%s", err.text);
    request.strict = false;
    request.pipeline = "rrf(bm25,dense):40 > cross:20";
    refused(&request);
}

Test(rank_dense, a_default_pipeline_with_a_cross_encoder_is_run_whole)
{
    wr_response reply;
    wr_request request = ask(wr_test_query(4), 10);
    reopen("rrf(bm25,dense):40 > cross@0.5[exit=4]:20", wr_test_path("cross"));
    run(&request, &reply);
    cr_assert_str_eq(reply.pipeline, "rrf(bm25,dense):40 > cross@0.5:20", "it has two layers and no exit");
    cr_assert_eq(reply.ndegraded, 0);
    cr_assert_eq(reply.stage[3].scored, 20);
}

/* Opens the index with a fresh set of models. */
static wr_status open_again(wr_err *err)
{
    wr_loaded *loaded;
    wr_ranker *ranker;
    wr_loaded_options options = {0};
    cr_assert_eq(wr_loaded_open(&loaded, &options, err), WR_OK);
    wr_status st = wr_ranker_open(&ranker, wr_test_path("index"), loaded, service.pool, err);
    wr_ranker_close(ranker);
    wr_loaded_close(loaded);
    return st;
}

Test(rank_dense, an_encoder_that_is_gone_is_found_by_its_hash_among_the_defaults)
{
    wr_err err;
    cr_assert_eq(mkdir(wr_test_path("models"), 0777), 0);
    setenv("WEIR_MODELS", wr_test_path("models"), 1);
    cr_assert_eq(open_again(&err), WR_OK, "%s", err.text);
    cr_assert_eq(rename(wr_test_path("encoder"), wr_test_path("moved")), 0);
    cr_assert_eq(open_again(&err), WR_ENOTFOUND);
    cr_assert(strstr(err.text, "--dense MODEL"), "%s", err.text);
    wr_test_model(wr_test_path("models/weir-dense"), false, 9);
    cr_assert_eq(open_again(&err), WR_ENOTFOUND, "another model of that name does not do");
    cr_assert_eq(rename(wr_test_path("models/weir-dense"), wr_test_path("encoder")), 0);
    cr_assert_eq(open_again(&err), WR_EFORMAT, "nor one at that path");
    cr_assert_eq(rename(wr_test_path("moved"), wr_test_path("models/weir-dense")), 0);
    cr_assert_eq(open_again(&err), WR_OK, "%s", err.text);
    cr_assert_eq(rename(wr_test_path("models/weir-dense"), wr_test_path("models/encoder")), 0);
    cr_assert_eq(open_again(&err), WR_OK, "its own name does too: %s", err.text);
}

Test(rank_dense, the_default_cross_encoder_is_loaded_where_none_is_named)
{
    wr_err err;
    wr_loaded *loaded;
    size_t n;
    const char *given[] = {wr_test_path("cross")};
    wr_test_model(wr_test_path("models/weir-cross"), true, 5);
    setenv("WEIR_MODELS", wr_test_path("models"), 1);
    wr_loaded_options options = {.default_cross = true};
    cr_assert_eq(wr_loaded_open(&loaded, &options, &err), WR_OK, "%s", err.text);
    const wr_cross_shape *cross = wr_loaded_crosses(loaded, &n);
    cr_assert_eq(n, 1);
    cr_assert_str_eq(cross[0].name, "weir-cross");
    cr_assert_eq(cross[0].layers, 2);
    cr_assert_eq(wr_loaded_cross(loaded, ""), wr_loaded_cross(loaded, "weir-cross"));
    wr_loaded_close(loaded);
    options.cross = given;
    options.ncross = 1;
    cr_assert_eq(wr_loaded_open(&loaded, &options, &err), WR_OK, "%s", err.text);
    cross = wr_loaded_crosses(loaded, &n);
    cr_assert_eq(n, 1);
    cr_assert_str_eq(cross[0].name, "cross");
    wr_loaded_close(loaded);
}
