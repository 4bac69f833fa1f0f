/* Learned sparse lists from corpus to ranking: what is built, that lists are exact, and what the deadline leaves. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/hash.h"
#include "indexer/build.h"
#include "indexer/manifest.h"
#include "models/embed.h"
#include "tests/testlib.h"
#include "tests/testlib_rank.h"

#define GOLDEN "./tests/golden/models/"
#define NDOCS 300

static const char *const words[] = {"water", "river", "weir",  "wind", "fish", "old",  "new",
                                    "stone", "over",  "flows", "what", "how",  "abba", "bridge"};
enum { WORDS = sizeof words / sizeof *words };

/* A corpus of the golden vocabulary; with vectors as JsonVectorCollection. */
static const char *corpus(bool vectors)
{
    static char path[300];
    wr_test_random random = {7};
    snprintf(path, sizeof path, "%s/%s.jsonl", wr_test_dir(), vectors ? "vectors" : "texts");
    FILE *f = fopen(path, "w");
    cr_assert(f);
    for (size_t i = 0; i < NDOCS; i++) {
        fprintf(f, "{\"_id\":\"d%zu\",\"text\":\"", i);
        size_t n = 2 + wr_test_below(&random, 10);
        for (size_t j = 0; j < n; j++) fprintf(f, "%s ", words[wr_test_below(&random, WORDS)]);
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

static wr_model *open_model(const char *name, bool tokenizer_only)
{
    char path[300];
    wr_model *model;
    wr_err err = {0};
    const wr_model_options options = {.tokenizer_only = tokenizer_only};
    snprintf(path, sizeof path, GOLDEN "%s", name);
    cr_assert_eq(wr_model_open(&model, path, &options, &err), WR_OK, "%s", err.text);
    return model;
}

static wr_status build(const char *dir, const char *model_name, wr_build_options o, unsigned threads, wr_err *err)
{
    wr_pool *pool;
    wr_build_report report;
    bool vectors = o.corpus && strstr(o.corpus, "vectors");
    wr_model *model = model_name ? open_model(model_name, vectors) : NULL;
    cr_assert_eq(wr_pool_open(&pool, threads, wr_ranker_thread_start, err), WR_OK);
    o.out = dir;
    o.bm25 = (wr_bm25_params){.9, .4};
    o.sparse = model;
    o.pool = pool;
    wr_status st = wr_build(&o, &report, err);
    wr_pool_close(pool);
    wr_model_close(model);
    return st;
}

static const char *built(const char *name, const char *model_name, wr_build_options o)
{
    wr_err err = {0};
    const char *dir = wr_test_path(name);
    cr_assert_eq(build(dir, model_name, o, 2, &err), WR_OK, "%s", err.text);
    return dir;
}

static void rank(wr_test_service *s, wr_request request, wr_response *reply)
{
    wr_err err = {0};
    request.query_len = strlen(request.query);
    cr_assert_eq(wr_rank(s->ranker, &request, s->scratch, reply, &err), WR_OK, "%s", err.text);
}

/* What the list must be: every posting scored, with the query's weights from the table or the model. */
static void check_exact(const char *dir, const char *model_name, const char *query, const wr_response *reply, size_t k)
{
    wr_model *model = open_model(model_name, false);
    wr_index *index;
    wr_err err = {0};
    wr_arena arena;
    wr_token_weights w;
    wr_hits hits;
    uint32_t term[512];
    float weight[512];
    size_t n = 0, ntable;
    const wr_text text = {query, strlen(query)};
    cr_assert_eq(wr_index_open(&index, dir, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_arena_init(&arena, (size_t)64 << 20), WR_OK);
    const float *table = wr_index_query_weights(index, &ntable);
    cr_assert_eq(wr_sparse_texts(model, NULL, &text, 1, true, NULL, &w, NULL), WR_OK);
    for (size_t i = 0; i < w.n; i++) {
        const char *token = wr_tokenizer_token(wr_model_tokenizer(model), w.id[i]);
        int64_t t = wr_sparse_term(wr_index_sparse(index), token, strlen(token));
        if (t < 0 || wr_tokenizer_id(wr_model_tokenizer(model), token) != (int64_t)w.id[i]) continue;
        term[n] = (uint32_t)t;
        weight[n++] = table ? table[w.id[i]] : w.weight[i];
    }
    const wr_sparse_query q = {term, weight, n};
    cr_assert_eq(wr_sparse_search_exhaustive(wr_index_sparse(index), &q, k, NULL, 0, &arena, &hits), WR_OK);
    cr_assert_eq(reply->n, hits.n);
    for (size_t i = 0; i < hits.n; i++) {
        cr_assert_eq(reply->hit[i].docid, hits.docid[i]);
        cr_assert_eq(reply->hit[i].stage_score[0], hits.score[i]);
    }
    wr_token_weights_release(&w, 1);
    wr_arena_release(&arena);
    wr_index_close(index);
    wr_model_close(model);
}

Test(rank_sparse, lists_are_exact_with_a_table_and_with_a_model)
{
    static const char *const name[] = {"bert-sparse-idf", "distilbert-sparse-router", "distilbert-splade"};
    for (size_t m = 0; m < 3; m++) {
        const char *dir = built(name[m], name[m], (wr_build_options){.corpus = corpus(false)});
        wr_test_service s;
        wr_test_service_open(&s, dir, 2, NULL);
        for (size_t i = 0; i < 20; i++) {
            char query[64];
            wr_response reply;
            snprintf(query, sizeof query, "%s %s bridge?", words[i % WORDS], words[i * 5 % WORDS]);
            rank(&s, (wr_request){.query = query, .k = 50, .pipeline = "sparse:50"}, &reply);
            check_exact(dir, name[m], query, &reply, 50);
        }
        wr_test_service_close(&s);
    }
}

/* Beside BM25 the list is made on the pool: the same one. */
Test(rank_sparse, a_list_is_the_same_alone_and_in_a_fusion)
{
    const char *dir = built("index", "bert-sparse-idf", (wr_build_options){.corpus = corpus(false)});
    wr_test_service s;
    wr_response reply;
    float score[NDOCS] = {0};
    size_t seen = 0;
    wr_test_service_open(&s, dir, 2, NULL);
    rank(&s, (wr_request){.query = "old stone bridge", .k = 100, .pipeline = "sparse:100"}, &reply);
    for (size_t i = 0; i < reply.n; i++) score[reply.hit[i].docid] = reply.hit[i].stage_score[0];
    rank(&s, (wr_request){.query = "old stone bridge", .k = 100, .pipeline = "rrf(bm25:10,sparse:100):100"}, &reply);
    cr_assert_str_eq(reply.stage[1].name, "sparse");
    for (size_t i = 0; i < reply.n; i++) {
        if (!reply.hit[i].stage_rank[1]) continue;
        cr_assert_eq(reply.hit[i].stage_score[1], score[reply.hit[i].docid]);
        seen++;
    }
    cr_assert_geq(seen, 90);
    cr_assert_eq(reply.ndegraded, 0);
    wr_test_service_close(&s);
}

Test(rank_sparse, the_request_may_bring_its_weights)
{
    static const char *const token[] = {"fish", "nothing", "wind"};
    static const float weight[] = {2, 1, 0};
    const char *dir = built("index", NULL, (wr_build_options){.corpus = corpus(true), .format = WR_CORPUS_VECTORS});
    wr_test_service s;
    wr_response reply;
    wr_test_service_open(&s, dir, 1, NULL);
    rank(&s,
         (wr_request){.query = "",
                      .k = 300,
                      .pipeline = "sparse:300",
                      .sparse_token = token,
                      .sparse_weight = weight,
                      .nsparse = 3},
         &reply);
    const wr_sparse *sparse = wr_index_sparse(wr_ranker_index(s.ranker));
    uint32_t fish = (uint32_t)wr_sparse_term(sparse, "fish", 4);
    cr_assert_eq(reply.n, wr_sparse_df(sparse, fish), "the documents that have fish, and no others");
    for (size_t i = 0; i < reply.n; i++)
        cr_assert_float_eq(reply.hit[i].stage_score[0], 2 * wr_sparse_impact(sparse, fish, reply.hit[i].docid), 1e-4);
    wr_test_service_close(&s);
}

Test(rank_sparse, without_a_model_a_text_is_degraded)
{
    const char *dir = built("index", NULL, (wr_build_options){.corpus = corpus(true), .format = WR_CORPUS_VECTORS});
    wr_test_service s;
    wr_response reply;
    wr_test_service_open(&s, dir, 1, NULL);
    rank(&s, (wr_request){.query = "fish", .k = 10}, &reply);
    cr_assert_str_eq(reply.pipeline, "sparse:100");
    cr_assert_eq(reply.n, 0);
    cr_assert_eq(reply.ndegraded, 1);
    cr_assert_eq(reply.degraded[0].reason, WR_REASON_MODEL_UNAVAILABLE);
    wr_test_service_close(&s);
}

Test(rank_sparse, two_phases_with_every_token_are_one)
{
    const char *dir = built("index", "bert-sparse-idf", (wr_build_options){.corpus = corpus(false)});
    wr_test_service s;
    wr_response reply;
    uint32_t docid[10];
    wr_test_service_open(&s, dir, 1, NULL);
    rank(&s, (wr_request){.query = "old stone bridge", .k = 10, .pipeline = "sparse:10"}, &reply);
    for (size_t i = 0; i < 10; i++) docid[i] = reply.hit[i].docid;
    rank(&s, (wr_request){.query = "old stone bridge", .k = 10, .pipeline = "sparse[two_phase=0.0001]:10"}, &reply);
    for (size_t i = 0; i < 10; i++) cr_assert_eq(reply.hit[i].docid, docid[i]);
    rank(&s, (wr_request){.query = "old stone bridge", .k = 10, .pipeline = "sparse[two_phase=0.6]:10"}, &reply);
    for (size_t i = 1; i < reply.n; i++) cr_assert_leq(reply.hit[i].stage_score[0], reply.hit[i - 1].stage_score[0]);
    wr_test_service_close(&s);
}

Test(rank_sparse, clusters_serve_the_approximate_mode)
{
    const char *dir = built("index", "bert-sparse-idf",
                            (wr_build_options){.corpus = corpus(false), .sparse_index = WR_SPARSE_INDEX_APPROX});
    wr_test_service s;
    wr_response reply;
    wr_test_service_open(&s, dir, 1, NULL);
    rank(&s, (wr_request){.query = "old stone bridge", .k = 10, .pipeline = "sparse[mode=approx]:10"}, &reply);
    cr_assert_gt(reply.n, 0);
    wr_test_service_close(&s);
    wr_err err = {0};
    cr_assert_eq(wr_index_fsck(dir, NULL, NULL, &err), WR_OK, "%s", err.text);
}

Test(rank_sparse, time_leaves_a_list_out_and_says_so)
{
    const char *dir = built("index", "distilbert-splade", (wr_build_options){.corpus = corpus(false)});
    wr_test_service s;
    wr_test_clock fake;
    wr_response reply;
    wr_test_service_open(&s, dir, 2, NULL);
    wr_test_clock_init(&fake, 1000000, 600000); /* every look at the clock takes more than half of the budget */
    rank(&s,
         (wr_request){
             .query = "old stone bridge", .k = 10, .pipeline = "sparse:10", .budget_ms = 1, .clock = &fake.clock},
         &reply);
    cr_assert_eq(reply.ndegraded, 1);
    cr_assert_str_eq(reply.degraded[0].stage, "sparse");
    cr_assert_eq(reply.degraded[0].reason, WR_REASON_BUDGET);
    wr_test_service_close(&s);
}

/* ---- building ---- */

static void sha_of(const char *dir, enum wr_index_file which, char hex[WR_SHA256_HEX])
{
    char path[600];
    wr_err err = {0};
    snprintf(path, sizeof path, "%s/gen-000001/%s", dir, wr_index_file_name[which]);
    cr_assert_eq(wr_sha256_file(path, hex, &err), WR_OK, "%s", err.text);
}

Test(rank_sparse, the_bytes_do_not_depend_on_threads)
{
    static const enum wr_index_file which[] = {WR_FILE_SPARSE, WR_FILE_QUERY, WR_FILE_CLUSTERS};
    const wr_build_options o = {.corpus = corpus(false), .idf = WR_IDF_CORPUS, .sparse_index = WR_SPARSE_INDEX_APPROX};
    wr_err err = {0};
    cr_assert_eq(build(wr_test_path("one"), "bert-sparse-idf", o, 1, &err), WR_OK, "%s", err.text);
    cr_assert_eq(build(wr_test_path("four"), "bert-sparse-idf", o, 4, &err), WR_OK, "%s", err.text);
    for (size_t i = 0; i < 3; i++) {
        char a[WR_SHA256_HEX], b[WR_SHA256_HEX];
        sha_of(wr_test_path("one"), which[i], a);
        sha_of(wr_test_path("four"), which[i], b);
        cr_assert_str_eq(a, b, "%s", wr_index_file_name[which[i]]);
    }
}

static size_t documents_with_fish(void)
{
    FILE *f = fopen(corpus(false), "r");
    char line[1024];
    size_t n = 0;
    while (fgets(line, sizeof line, f)) n += strstr(line, "fish ") != NULL;
    fclose(f);
    return n;
}

Test(rank_sparse, a_table_of_the_collection_counts_its_texts)
{
    const char *dir =
        built("index", "bert-sparse-idf", (wr_build_options){.corpus = corpus(false), .idf = WR_IDF_CORPUS});
    wr_model *model = open_model("bert-sparse-idf", true);
    wr_index *index;
    wr_err err = {0};
    size_t n, df = documents_with_fish();
    cr_assert_eq(wr_index_open(&index, dir, &err), WR_OK, "%s", err.text);
    const float *table = wr_index_query_weights(index, &n);
    double want = log(1 + (NDOCS - (double)df + .5) / ((double)df + .5));
    cr_assert_eq(n, wr_tokenizer_vocab_size(wr_model_tokenizer(model)));
    cr_assert_float_eq(table[wr_tokenizer_id(wr_model_tokenizer(model), "fish")], want, 1e-6);
    cr_assert_str_eq(wr_index_info_get(index)->sparse_idf, "corpus");
    wr_index_close(index);
    wr_model_close(model);
}

Test(rank_sparse, weights_of_both_are_the_models_beside_the_documents)
{
    const char *dir = built("index", "bert-sparse-idf", (wr_build_options){.corpus = corpus(false), .idf = WR_IDF_BOTH});
    wr_model *model = open_model("bert-sparse-idf", true);
    wr_index *index;
    wr_err err = {0};
    size_t n, df = documents_with_fish();
    cr_assert_eq(wr_index_open(&index, dir, &err), WR_OK, "%s", err.text);
    const float *table = wr_index_query_weights(index, &n);
    int64_t fish = wr_tokenizer_id(wr_model_tokenizer(model), "fish");
    double have = (double)df + WR_IDF_DOCUMENTS * exp(-(double)wr_model_idf(model)->weight[fish]);
    cr_assert_float_eq(table[fish], log(1 + (NDOCS + WR_IDF_DOCUMENTS - have + .5) / (have + .5)), 1e-5);
    cr_assert_str_eq(wr_index_info_get(index)->sparse_idf, "both");
    wr_index_close(index);
    wr_model_close(model);
}

static void refused(const char *model_name, wr_build_options o, const char *want)
{
    wr_err err = {0};
    cr_assert_eq(build(wr_test_path("refused"), model_name, o, 1, &err), WR_EARG, "%s", err.text);
    cr_assert(strstr(err.text, want), "\"%s\" does not hold \"%s\"", err.text, want);
}

Test(rank_sparse, what_cannot_be_built_is_refused)
{
    refused("distilbert-splade", (wr_build_options){.corpus = corpus(false), .idf = WR_IDF_MODEL},
            "has no table of query weights");
    refused(NULL, (wr_build_options){.corpus = corpus(false), .idf = WR_IDF_CORPUS}, "expected --sparse MODEL");
    refused(NULL, (wr_build_options){.corpus = corpus(true), .format = WR_CORPUS_VECTORS, .idf = WR_IDF_CORPUS},
            "there is no model whose tokens it could weigh");
    refused("bert-mean", (wr_build_options){.corpus = corpus(false)}, "no learned sparse model");
    refused("bert-mean", (wr_build_options){.corpus = corpus(true), .format = WR_CORPUS_VECTORS},
            "expected --idf corpus or --idf FILE");
}

Test(rank_sparse, another_model_than_the_indexs_is_refused)
{
    const char *dir = built("index", "bert-sparse-idf", (wr_build_options){.corpus = corpus(false)});
    const wr_loaded_options options = {.sparse = GOLDEN "distilbert-splade"};
    wr_loaded *loaded;
    wr_pool *pool;
    wr_ranker *ranker;
    wr_err err = {0};
    cr_assert_eq(wr_pool_open(&pool, 1, NULL, &err), WR_OK);
    cr_assert_eq(wr_loaded_open(&loaded, &options, &err), WR_OK);
    cr_assert_eq(wr_ranker_open(&ranker, dir, loaded, pool, &err), WR_EFORMAT);
    cr_assert(strstr(err.text, "was built with model"), "%s", err.text);
    wr_loaded_close(loaded);
    wr_pool_close(pool);
}

/* Opens what an index needs at query time; the caller closes loaded. */
static const wr_model *query_side(const char *dir, wr_loaded_options options, wr_loaded **loaded)
{
    const wr_model *model;
    wr_index *index;
    wr_err err = {0};
    cr_assert_eq(wr_index_open(&index, dir, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_loaded_open(loaded, &options, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_loaded_sparse(*loaded, wr_index_info_get(index), &model, &err), WR_OK, "%s", err.text);
    wr_index_close(index);
    return model;
}

/* Whether documents can be encoded: not by a tokenizer alone. */
static bool encodes(const wr_model *model)
{
    const wr_text text = {"fish", 4};
    wr_token_weights w;
    if (wr_sparse_texts(model, NULL, &text, 1, false, NULL, &w, NULL)) return false;
    wr_token_weights_release(&w, 1);
    return true;
}

Test(rank_sparse, a_query_with_a_table_opens_no_weights)
{
    const char *dir = built("index", "bert-sparse-idf", (wr_build_options){.corpus = corpus(false)});
    wr_loaded *loaded;
    const wr_model *model = query_side(dir, (wr_loaded_options){0}, &loaded);
    cr_assert_not(encodes(model));
    cr_assert_null(wr_loaded_expander(loaded, ""), "nobody said that documents would be asked for");
    wr_loaded_close(loaded);
    model = query_side(dir, (wr_loaded_options){.sparse_documents = true}, &loaded);
    cr_assert_not(encodes(model));
    const wr_model *whole = wr_loaded_expander(loaded, "");
    cr_assert(whole && encodes(whole), "who asks for documents gets them");
    cr_assert_eq(wr_loaded_expander(loaded, "bert-sparse-idf"), whole);
    cr_assert_null(wr_loaded_expander(loaded, "another"));
    wr_loaded_close(loaded);
}

/* The model of an index that was moved or deleted is found among the defaults by its hash. */
Test(rank_sparse, a_default_with_the_hash_stands_in)
{
    char command[1200];
    const char *models = wr_test_path("models");
    snprintf(command, sizeof command,
             "mkdir -p '%s/gone' '%s' && cp -r " GOLDEN "bert-sparse-idf/. '%s/gone/' && cp -r " GOLDEN
             "bert-sparse-idf '%s/weir-sparse'",
             wr_test_dir(), models, wr_test_dir(), models);
    cr_assert_eq(system(command), 0);
    char given[300];
    snprintf(given, sizeof given, "%s/gone", wr_test_dir());
    wr_model *sparse;
    wr_loaded *loaded;
    wr_build_report report;
    wr_err err = {0};
    cr_assert_eq(wr_model_open(&sparse, given, NULL, &err), WR_OK, "%s", err.text);
    const wr_build_options o = {
        .corpus = corpus(false), .out = wr_test_path("index"), .bm25 = {.9, .4}, .sparse = sparse};
    cr_assert_eq(wr_build(&o, &report, &err), WR_OK, "%s", err.text);
    wr_model_close(sparse);
    wr_dir_remove(given, NULL);
    cr_assert_eq(setenv("WEIR_MODELS", models, 1), 0);
    const wr_model *model = query_side(wr_test_path("index"), (wr_loaded_options){0}, &loaded);
    cr_assert_str_eq(wr_model_info_get(model)->name, "weir-sparse");
    wr_loaded_close(loaded);
}

/* Damage in the table of query weights: found by its checksum, and by itself when the checksum agrees. */
Test(rank_sparse, a_damaged_table_is_refused)
{
    const char *dir = built("index", "bert-sparse-idf", (wr_build_options){.corpus = corpus(false)});
    char path[600];
    wr_index *index;
    wr_err err = {0};
    snprintf(path, sizeof path, "%s/gen-000001/query.bin", dir);
    for (size_t at = 0; at < 200; at += 13) {
        FILE *f = fopen(path, "r+b");
        fseek(f, (long)at, SEEK_SET);
        int old = fgetc(f);
        fseek(f, (long)at, SEEK_SET);
        fputc(old ^ 0x40, f);
        fclose(f);
        cr_assert_eq(wr_index_open(&index, dir, &err), WR_EFORMAT);
        cr_assert(strstr(err.text, "query.bin"), "%s", err.text);
        f = fopen(path, "r+b");
        fseek(f, (long)at, SEEK_SET);
        fputc(old, f);
        fclose(f);
    }
    cr_assert_eq(wr_index_open(&index, dir, &err), WR_OK, "%s", err.text);
    wr_index_close(index);
}
