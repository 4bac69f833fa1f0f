/* Learned sparse models: the tiny ones of tests/golden/models against PyTorch in every layout, tables of query weights,
 * and folders that are refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "data/mapfile.h"
#include "models/embed.h"
#include "models/kernels.h"
#include "tests/testlib.h"

#define GOLDEN "./tests/golden/models/"
#define MAX_TEXTS 16

static const char *const folders[] = {"bert-sparse-idf", "distilbert-sparse-router", "distilbert-splade"};
enum { FOLDERS = sizeof folders / sizeof *folders };

static wr_model *open_model(const char *name, const wr_model_options *options)
{
    char path[256];
    wr_model *model;
    wr_err err = {0};
    snprintf(path, sizeof path, "%s%s", strchr(name, '/') ? "" : GOLDEN, name);
    cr_assert_eq(wr_model_open(&model, path, options, &err), WR_OK, "%s", err.text);
    return model;
}

static json_t *expected(const char *name)
{
    char path[256];
    json_t *root;
    wr_err err = {0};
    snprintf(path, sizeof path, GOLDEN "%s/expected.json", name);
    cr_assert_eq(wr_json_load(&root, path, 1 << 20, &err), WR_OK, "%s", err.text);
    return root;
}

/* The texts of an expected.json, borrowed from it. */
static size_t texts_of(const json_t *root, wr_text text[MAX_TEXTS])
{
    const json_t *texts = json_object_get(root, "texts");
    size_t n = json_array_size(texts);
    cr_assert(n > 0 && n <= MAX_TEXTS);
    for (size_t i = 0; i < n; i++) {
        const json_t *t = json_array_get(texts, i);
        text[i] = (wr_text){json_string_value(t), json_string_length(t)};
    }
    return n;
}

/* The weights are those of `want`, to the tolerance; what is that close to 0 may be missing on either side. */
static void check(const wr_token_weights *got, const json_t *want, double tolerance, const char *what)
{
    const char *id;
    json_t *value;
    char name[16];
    for (size_t i = 0; i < got->n; i++) {
        cr_assert(i == 0 || got->id[i - 1] < got->id[i]);
        snprintf(name, sizeof name, "%u", got->id[i]);
        double w = json_number_value(json_object_get(want, name));
        cr_assert_float_eq(got->weight[i], w, tolerance, "%s: token %s weighs %g, expected %g", what, name,
                           got->weight[i], w);
    }
    json_object_foreach((json_t *)(uintptr_t)want, id, value)
    {
        uint32_t number = (uint32_t)strtoul(id, NULL, 10);
        size_t i = 0;
        while (i < got->n && got->id[i] != number) i++;
        cr_assert(i < got->n || json_number_value(value) < tolerance, "%s: token %s is missing", what, id);
    }
}

static void compare(const char *name, const wr_model_options *options, const char *rows, bool query, double tolerance)
{
    wr_text text[MAX_TEXTS];
    wr_token_weights out[MAX_TEXTS];
    bool cut[MAX_TEXTS];
    wr_model *model = open_model(name, options);
    json_t *root = expected(name);
    size_t n = texts_of(root, text);
    cr_assert_eq(wr_model_info_get(model)->kind, WR_MODEL_SPARSE);
    cr_assert_eq(wr_sparse_texts(model, NULL, text, n, query, NULL, out, cut), WR_OK);
    for (size_t i = 0; i < n; i++) check(&out[i], json_array_get(json_object_get(root, rows), i), tolerance, name);
    cr_assert(cut[4] && !cut[0], "only the text of 60 words is too long");
    wr_token_weights_release(out, n);
    json_decref(root);
    wr_model_close(model);
}

Test(sparse_model, weights_of_documents_equal_pytorch)
{
    for (size_t i = 0; i < FOLDERS; i++) compare(folders[i], NULL, "documents", false, 1e-4);
}

Test(sparse_model, so_do_those_that_are_pruned)
{
    const wr_model_options options = {.prune_ratio = 0.5};
    for (size_t i = 0; i < FOLDERS; i++) compare(folders[i], &options, "pruned", false, 1e-4);
}

Test(sparse_model, queries_are_looked_up_or_go_through_the_model)
{
    for (size_t i = 0; i < FOLDERS; i++) compare(folders[i], NULL, "queries", true, i < 2 ? 1e-6 : 1e-4);
}

/* ---- the same whatever is beside it ---- */

Test(sparse_model, a_batch_on_threads_equals_singles)
{
    wr_text text[MAX_TEXTS];
    wr_token_weights all[MAX_TEXTS], one;
    wr_pool *pool;
    wr_err err;
    cr_assert_eq(wr_pool_open(&pool, 3, NULL, &err), WR_OK);
    const wr_model_options int8 = {.precision = "int8"};
    for (size_t f = 0; f < 2 * FOLDERS; f++) {
        const char *name = folders[f / 2];
        bool portable = f % 2 || strcmp(wr_kernels_get()->isa, "ref"); /* BLAS promises no bits */
        wr_model *model = open_model(name, f % 2 ? &int8 : NULL);
        json_t *root = expected(name);
        size_t n = texts_of(root, text);
        cr_assert_eq(wr_sparse_texts(model, pool, text, n, false, NULL, all, NULL), WR_OK);
        for (size_t i = 0; i < n; i++) {
            cr_assert_eq(wr_sparse_texts(model, NULL, &text[i], 1, false, NULL, &one, NULL), WR_OK);
            cr_assert_eq(one.n, all[i].n);
            cr_assert_eq(memcmp(one.id, all[i].id, one.n * sizeof *one.id), 0);
            for (size_t t = 0; t < one.n; t++) cr_assert_float_eq(one.weight[t], all[i].weight[t], portable ? 0 : 1e-5);
            wr_token_weights_release(&one, 1);
        }
        wr_token_weights_release(all, n);
        json_decref(root);
        wr_model_close(model);
    }
    wr_pool_close(pool);
}

Test(sparse_model, bytes_stay_close_to_floats)
{
    const wr_model_options int8 = {.precision = "int8"};
    wr_text text[MAX_TEXTS];
    wr_token_weights floats[MAX_TEXTS], bytes[MAX_TEXTS];
    double off = 0, of = 0;
    for (size_t f = 0; f < FOLDERS; f++) {
        wr_model *a = open_model(folders[f], NULL), *b = open_model(folders[f], &int8);
        json_t *root = expected(folders[f]);
        size_t n = texts_of(root, text);
        cr_assert_eq(wr_sparse_texts(a, NULL, text, n, false, NULL, floats, NULL), WR_OK);
        cr_assert_eq(wr_sparse_texts(b, NULL, text, n, false, NULL, bytes, NULL), WR_OK);
        for (size_t i = 0; i < n; i++)
            for (size_t x = 0, y = 0; x < floats[i].n; x++) { /* weights of tokens that both have */
                while (y < bytes[i].n && bytes[i].id[y] < floats[i].id[x]) y++;
                bool both = y < bytes[i].n && bytes[i].id[y] == floats[i].id[x];
                off += fabs((both ? bytes[i].weight[y] : 0) - floats[i].weight[x]);
                of += floats[i].weight[x];
            }
        wr_token_weights_release(floats, n);
        wr_token_weights_release(bytes, n);
        json_decref(root);
        wr_model_close(a);
        wr_model_close(b);
    }
    cr_assert_lt(off, .05 * of, "weights are %.3f %% off, on average", 100 * off / of);
}

Test(sparse_model, a_spent_budget_stops_it)
{
    wr_test_clock fake;
    wr_budget budget;
    wr_text text = {"water flows over the weir", 25};
    wr_token_weights out;
    wr_model *model = open_model(folders[0], NULL);
    wr_test_clock_init(&fake, 1000000, 0);
    wr_budget_start(&budget, &fake.clock, 1, 0, 0);
    cr_assert_eq(wr_sparse_texts(model, NULL, &text, 1, false, &budget, &out, NULL), WR_OK);
    wr_token_weights_release(&out, 1);
    fake.now_ns += 2000000;
    cr_assert_eq(wr_sparse_texts(model, NULL, &text, 1, false, &budget, &out, NULL), WR_STOPPED);
    cr_assert_null(out.id);
    wr_model_close(model);
}

Test(sparse_model, a_tokenizer_alone_has_the_hash_and_weighs_queries)
{
    const wr_model_options alone = {.tokenizer_only = true};
    wr_model *whole = open_model(folders[1], NULL), *model = open_model(folders[1], &alone);
    wr_text text = {"fish", 4};
    wr_token_weights out;
    cr_assert_str_eq(wr_model_info_get(whole)->sha256, wr_model_info_get(model)->sha256);
    cr_assert(wr_model_info_get(model)->has_idf);
    cr_assert_eq(wr_sparse_texts(model, NULL, &text, 1, true, NULL, &out, NULL), WR_OK);
    cr_assert_eq(out.n, 1);
    wr_token_weights_release(&out, 1);
    cr_assert_eq(wr_sparse_texts(model, NULL, &text, 1, false, NULL, &out, NULL), WR_EARG);
    wr_model_close(whole);
    wr_model_close(model);
}

/* A raw masked language model is a sparse one, unless a pooling is asked for. */
Test(sparse_model, a_pooling_makes_it_an_embedder)
{
    const wr_model_options mean = {.pooling = WR_POOL_MEAN};
    wr_model *model = open_model(folders[0], &mean);
    cr_assert_eq(wr_model_info_get(model)->kind, WR_MODEL_EMBED);
    wr_model_close(model);
}

/* ---- tables of query weights ---- */

static wr_tokenizer *open_tokenizer(const char *dir)
{
    wr_tokenizer *tok;
    wr_err err = {0};
    cr_assert_eq(wr_tokenizer_open(&tok, dir, &err), WR_OK, "%s", err.text);
    return tok;
}

static float weight_of(const wr_idf *idf, const wr_tokenizer *tok, const char *token)
{
    return idf->weight[wr_tokenizer_id(tok, token)];
}

Test(sparse_model, tables_are_read_from_json_and_text)
{
    const char *const path[] = {
        wr_test_text("idf.json", "{\"fish\": 4.5, \"weir\": 2, \"the\": -1, \"[SEP]\": 3, \"nowhere\": 9}"),
        wr_test_text("query_token_weights.txt", "fish\t4.5\nweir\t2\nthe\t-1\n[SEP]\t3\nnowhere\t9\n")};
    wr_tokenizer *tok = open_tokenizer(GOLDEN "bert-sparse-idf");
    for (size_t i = 0; i < 2; i++) {
        wr_idf idf;
        wr_err err = {0};
        cr_assert_eq(wr_idf_read(&idf, path[i], tok, &err), WR_OK, "%s", err.text);
        cr_assert_eq(idf.n, wr_tokenizer_vocab_size(tok));
        cr_assert_eq(weight_of(&idf, tok, "fish"), 4.5f);
        cr_assert_eq(weight_of(&idf, tok, "weir"), 2);
        cr_assert_eq(weight_of(&idf, tok, "river"), 1, "what a table does not name weighs 1");
        cr_assert_eq(weight_of(&idf, tok, "the"), 0, "below 0 is 0");
        cr_assert_eq(weight_of(&idf, tok, "[SEP]"), 0, "special tokens never weigh");
        wr_idf_release(&idf);
    }
    wr_tokenizer_close(tok);
}

static void refused_table(const wr_tokenizer *tok, const char *text, const char *want)
{
    wr_idf idf;
    wr_err err = {0};
    cr_assert_eq(wr_idf_read(&idf, wr_test_text("bad", text), tok, &err), WR_EFORMAT);
    cr_assert(strstr(err.text, want), "\"%s\" does not hold \"%s\"", err.text, want);
    cr_assert_null(idf.weight);
}

Test(sparse_model, tables_that_are_none_are_refused)
{
    wr_tokenizer *tok = open_tokenizer(GOLDEN "bert-sparse-idf");
    refused_table(tok, "{\"fish\": \"much\"}", "the weight of \"fish\" is no number");
    refused_table(tok, "{\"fish\": 1e300}", "the weight of \"fish\" is no number");
    refused_table(tok, "{\"fish\": 1", "bad");
    refused_table(tok, "fish 4\n", "line 1: expected a token, a tab and its weight");
    refused_table(tok, "fish\t4\nweir\tnan\n", "line 2");
    wr_tokenizer_close(tok);
}

/* The values of the published idf.json, which is Lucene's BM25 over 8,841,823 passages of MS MARCO. */
Test(sparse_model, a_table_of_a_collection_has_lucenes_formula)
{
    wr_tokenizer *tok = open_tokenizer(GOLDEN "bert-sparse-idf");
    uint32_t *df = calloc(wr_tokenizer_vocab_size(tok), sizeof *df);
    df[wr_tokenizer_id(tok, "fish")] = 1;
    df[wr_tokenizer_id(tok, "weir")] = 2;
    df[wr_tokenizer_id(tok, "water")] = 1573;
    df[wr_tokenizer_id(tok, "[CLS]")] = 5;
    wr_idf idf;
    cr_assert_eq(wr_idf_compute(&idf, df, 8841823, tok), WR_OK);
    cr_assert_float_eq(weight_of(&idf, tok, "fish"), 15.58954, 1e-5);
    cr_assert_float_eq(weight_of(&idf, tok, "weir"), 15.07871, 1e-5);
    cr_assert_float_eq(weight_of(&idf, tok, "water"), 8.63395, 1e-5);
    cr_assert_gt(weight_of(&idf, tok, "river"), 15.6f, "a token of no document is as rare as can be");
    cr_assert_eq(weight_of(&idf, tok, "[CLS]"), 0);
    wr_idf_release(&idf);
    wr_tokenizer_close(tok);
    free(df);
}

/* A table that counts as no document leaves the documents' own; one that counts for all but everything leaves itself. */
Test(sparse_model, documents_and_a_table_are_blended_by_what_each_counts_for)
{
    wr_tokenizer *tok = open_tokenizer(GOLDEN "bert-sparse-idf");
    size_t n = wr_tokenizer_vocab_size(tok);
    uint32_t *df = calloc(n, sizeof *df);
    df[wr_tokenizer_id(tok, "fish")] = 10;
    df[wr_tokenizer_id(tok, "water")] = 90;
    wr_idf model, own, none, all, half;
    wr_err err = {0};
    const char *table = wr_test_text("table.json", "{\"fish\": 6.0, \"water\": 0.7, \"river\": 3.0}");
    cr_assert_eq(wr_idf_read(&model, table, tok, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_idf_compute(&own, df, 100, tok), WR_OK);
    cr_assert_eq(wr_idf_blend(&none, df, 100, &model, 0, tok), WR_OK);
    cr_assert_eq(wr_idf_blend(&all, df, 100, &model, (size_t)1 << 40, tok), WR_OK);
    cr_assert_eq(wr_idf_blend(&half, df, 100, &model, 100, tok), WR_OK);
    static const char *const token[] = {"fish", "water", "river"};
    for (size_t i = 0; i < 3; i++) {
        float a = weight_of(&own, tok, token[i]), b = weight_of(&model, tok, token[i]), w = weight_of(&half, tok, token[i]);
        cr_assert_eq(weight_of(&none, tok, token[i]), a, "%s", token[i]);
        cr_assert_float_eq(weight_of(&all, tok, token[i]), b, 1e-4, "%s", token[i]);
        cr_assert(w > (a < b ? a : b) && w < (a < b ? b : a), "%s: %g is not between %g and %g", token[i], (double)w,
                  (double)a, (double)b);
    }
    cr_assert_float_eq(weight_of(&half, tok, "fish"), log(1 + (200 - 10 - 100 * exp(-6) + .5) / (10 + 100 * exp(-6) + .5)),
                       1e-5);
    cr_assert_eq(weight_of(&half, tok, "[CLS]"), 0);
    wr_idf_release(&model), wr_idf_release(&own), wr_idf_release(&none), wr_idf_release(&all), wr_idf_release(&half);
    wr_tokenizer_close(tok);
    free(df);
}

/* OpenSearch's documentation shows what its tokenizer model makes of this query. */
Test(sparse_model, a_published_query_has_the_published_tokens)
{
    static const char *const want[] = {"ny", "weather", "now", "?", "what", "'", "s", "in", "the"};
    static const char query[] = "What's the weather in ny now?";
    wr_tokenizer *tok = open_tokenizer(wr_test_uncased_or_skip());
    wr_idf idf;
    wr_err err = {0};
    wr_arena arena;
    wr_token_weights out;
    bool cut;
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    cr_assert_eq(wr_idf_read(&idf, wr_test_text("idf.json", "{\"ny\": 5.772862}"), tok, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_idf_query(idf.weight, idf.n, tok, query, sizeof query - 1, 512, &arena, &out, &cut), WR_OK);
    cr_assert_eq(out.n, 9);
    cr_assert_not(cut);
    for (size_t i = 0; i < 9; i++) {
        size_t at = 0;
        while (at < out.n && (int64_t)out.id[at] != wr_tokenizer_id(tok, want[i])) at++;
        cr_assert_lt(at, out.n, "%s is missing", want[i]);
        cr_assert_eq(out.weight[at], i ? 1 : 5.772862f);
    }
    wr_idf_release(&idf);
    wr_arena_release(&arena);
    wr_tokenizer_close(tok);
}

/* ---- folders that are refused ---- */

/* A copy of a golden folder in which one file has another text. */
static const char *changed(const char *name, const char *file, const char *text)
{
    static char dir[512];
    char command[2048];
    snprintf(dir, sizeof dir, "%s/%s", wr_test_dir(), name);
    snprintf(command, sizeof command, "rm -rf '%s' && cp -r " GOLDEN "%s '%s'", dir, name, dir);
    cr_assert_eq(system(command), 0);
    snprintf(command, sizeof command, "%s/%s", dir, file);
    wr_err err;
    cr_assert_eq(wr_file_replace(command, text, strlen(text), &err), WR_OK, "%s", err.text);
    return dir;
}

static void refused_model(const char *dir, wr_status code, const char *want)
{
    wr_model *model;
    wr_err err = {0};
    cr_assert_eq(wr_model_open(&model, dir, NULL, &err), code, "%s", err.text);
    cr_assert_null(model);
    cr_assert(strstr(err.text, want), "\"%s\" does not hold \"%s\"", err.text, want);
}

Test(sparse_model, what_is_not_implemented_is_refused_by_name)
{
    refused_model(changed("distilbert-splade", "1_SpladePooling/config.json", "{\"pooling_strategy\": \"sum\"}"),
                  WR_EUNSUPPORTED, "pooling_strategy \"sum\", expected max");
    refused_model(changed("distilbert-splade", "1_SpladePooling/config.json", "{\"activation_function\": \"elu\"}"),
                  WR_EUNSUPPORTED, "activation_function \"elu\", expected relu or log1p_relu");
    refused_model(changed("distilbert-sparse-router", "router_config.json",
                          "{\"types\": {\"\": \"a.MLMTransformer\", \"document_1_SpladePooling\": \"a.SpladePooling\", "
                          "\"q\": \"a.MLMTransformer\"}, \"structure\": {\"query\": [\"q\"], \"document\": [\"\", "
                          "\"document_1_SpladePooling\"]}}"),
                  WR_EUNSUPPORTED, "queries need an encoder of their own");
    refused_model(changed("distilbert-sparse-router", "router_config.json", "{\"structure\": {\"document\": []}}"),
                  WR_EFORMAT, "expected routes");
    refused_model(changed("distilbert-sparse-router", "router_config.json",
                          "{\"types\": {\"../x\": \"a.SpladePooling\"}, \"structure\": {\"query\": [], \"document\": "
                          "[\"../x\"]}}"),
                  WR_EFORMAT, "a path outside the model");
    refused_model(changed("bert-sparse-idf", "idf.json", "{\"fish\": null}"), WR_EFORMAT, "is no number");
}

Test(sparse_model, a_folder_without_the_head_is_refused)
{
    const char *dir = changed("bert-mean", "config.json",
                              "{\"model_type\":\"bert\",\"architectures\":[\"BertForMaskedLM\"],\"hidden_size\":20,"
                              "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"intermediate_size\":36,"
                              "\"vocab_size\":60,\"max_position_embeddings\":40}");
    char path[600];
    snprintf(path, sizeof path, "%s/modules.json", dir);
    cr_assert_eq(remove(path), 0);
    snprintf(path, sizeof path, "%s/1_Pooling/config.json", dir);
    cr_assert_eq(remove(path), 0);
    refused_model(dir, WR_EFORMAT, "no masked-language-model head");
}

Test(sparse_model, a_prune_ratio_of_one_leaves_nothing_and_is_refused)
{
    const wr_model_options options = {.prune_ratio = 1};
    wr_model *model;
    wr_err err = {0};
    cr_assert_eq(wr_model_open(&model, GOLDEN "bert-sparse-idf", &options, &err), WR_EARG);
    cr_assert(strstr(err.text, "prune ratio"), "%s", err.text);
}
