/* Model folders of every kind: the tiny ones of tests/golden/models against PyTorch, and folders that are refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/json.h"
#include "data/mapfile.h"
#include "models/embed.h"
#include "tests/testlib_model.h"
#include "models/kernels.h"
#include "models/model.h"
#include "tests/testlib.h"

#define GOLDEN "./tests/golden/models/"

static wr_model *open_model(const char *path, const wr_model_options *options)
{
    wr_model *model;
    wr_err err = {0};
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
static size_t texts_of(const json_t *root, wr_text *text, size_t max)
{
    const json_t *texts = json_object_get(root, "texts");
    size_t n = json_array_size(texts);
    cr_assert(n > 0 && n <= max);
    for (size_t i = 0; i < n; i++) {
        const json_t *t = json_array_get(texts, i);
        text[i] = (wr_text){json_string_value(t), json_string_length(t)};
    }
    return n;
}

static double number_at(const json_t *root, const char *rows, size_t row, size_t i)
{
    return json_number_value(json_array_get(json_array_get(json_object_get(root, rows), row), i));
}

/* ---- what PyTorch says ---- */

static void check_vectors(const char *name)
{
    char path[256];
    wr_text text[16];
    float out[16 * 20];
    bool cut[16];
    snprintf(path, sizeof path, GOLDEN "%s", name);
    wr_model *model = open_model(path, NULL);
    json_t *root = expected(name);
    size_t n = texts_of(root, text, 16), dim = wr_model_info_get(model)->dim;
    cr_assert_eq(dim, 20);
    cr_assert_eq(wr_embed_texts(model, NULL, text, n, false, NULL, out, cut), WR_OK);
    for (size_t i = 0; i < n * dim; i++)
        cr_assert_float_eq(out[i], number_at(root, "vectors", i / dim, i % dim), 1e-5, "%s, text %zu", name, i / dim);
    cr_assert(cut[4] && !cut[0], "only the text of 60 words is too long");
    json_decref(root);
    wr_model_close(model);
}

Test(model, bert_mean_pooled_and_normalised_equals_pytorch)
{
    check_vectors("bert-mean");
}

Test(model, distilbert_cls_from_a_zipped_checkpoint_equals_pytorch)
{
    check_vectors("distilbert-cls");
}

Test(model, bert_max_pooled_in_bf16_equals_pytorch)
{
    check_vectors("bert-max-bf16");
}

static void check_logits(const char *name, size_t nlabels)
{
    char path[256];
    wr_text text[16];
    float score[16];
    bool done[16], cut[16];
    snprintf(path, sizeof path, GOLDEN "%s", name);
    wr_model *model = open_model(path, NULL);
    json_t *root = expected(name), *query = json_object_get(root, "query");
    size_t n = texts_of(root, text, 16);
    cr_assert_eq(wr_model_info_get(model)->kind, WR_MODEL_CROSS);
    cr_assert_eq(wr_model_info_get(model)->nlabels, nlabels);
    wr_text q = {json_string_value(query), json_string_length(query)};
    cr_assert_eq(wr_score_texts(model, NULL, q, text, n, NULL, score, done, cut), WR_OK);
    for (size_t i = 0; i < n; i++) {
        double want = number_at(root, "logits", i, 0);
        if (nlabels == 2) want = number_at(root, "logits", i, 1) - want;
        cr_assert(done[i]);
        cr_assert_float_eq(score[i], want, 2e-5, "%s, text %zu: %g, expected %g", name, i, score[i], want);
    }
    json_decref(root);
    wr_model_close(model);
}

Test(model, bert_cross_from_an_old_stream_equals_pytorch)
{
    check_logits("bert-cross-stream", 1);
}

Test(model, distilbert_cross_with_two_labels_in_f16_equals_pytorch)
{
    check_logits("distilbert-cross-f16", 2);
}

Test(model, margin_mse_layer_on_distilbert_equals_pytorch)
{
    check_logits("distilbert-cat-f16", 1);
}

/* ---- what it says of itself ---- */

Test(model, info_tells_kind_pooling_and_lengths)
{
    wr_model *model = open_model(GOLDEN "bert-mean", NULL);
    const wr_model_info *info = wr_model_info_get(model);
    cr_assert_eq(info->kind, WR_MODEL_EMBED);
    cr_assert_eq(info->pooling, WR_POOL_MEAN);
    cr_assert(info->normalize);
    cr_assert_eq(info->max_doc_tokens, 30); /* of sentence_bert_config.json, not the 40 positions */
    cr_assert_eq(info->max_query_tokens, 30);
    cr_assert_str_eq(info->model_type, "bert");
    cr_assert_str_eq(info->architecture, "BertModel");
    cr_assert_str_eq(info->name, "bert-mean");
    cr_assert_eq(strlen(info->sha256), 64);
    cr_assert_eq(info->path[0], '/');
    wr_model_close(model);
}

Test(model, without_pooling_files_it_is_cls_and_no_normalisation)
{
    wr_model *model = open_model(GOLDEN "distilbert-cls", NULL);
    cr_assert_eq(wr_model_info_get(model)->pooling, WR_POOL_CLS);
    cr_assert(!wr_model_info_get(model)->normalize);
    cr_assert_eq(wr_model_info_get(model)->max_doc_tokens, 40);
    wr_model_close(model);
}

Test(model, options_win_over_files)
{
    wr_model_options options = {.pooling = WR_POOL_CLS, .max_doc_tokens = 20, .max_query_tokens = 10};
    wr_model *model = open_model(GOLDEN "bert-mean", &options);
    const wr_model_info *info = wr_model_info_get(model);
    cr_assert_eq(info->pooling, WR_POOL_CLS);
    cr_assert_eq(info->max_doc_tokens, 20);
    cr_assert_eq(info->max_query_tokens, 10);
    wr_model_close(model);
}

Test(model, a_name_is_looked_up_in_WEIR_MODELS)
{
    setenv("WEIR_MODELS", "tests/golden/models", 1);
    wr_model *model = open_model("bert-mean", NULL);
    cr_assert_str_eq(wr_model_info_get(model)->name, "bert-mean");
    wr_model_close(model);
}

/* ---- batches ---- */

/* Random sequences; id has room for 4096, cu for 65. */
static size_t random_batch(wr_test_random *random, uint32_t *id, uint32_t *cu, size_t nseq)
{
    cu[0] = 0;
    for (size_t s = 0; s < nseq; s++) cu[s + 1] = cu[s] + 1 + (uint32_t)wr_test_below(random, 40);
    for (size_t t = 0; t < cu[nseq]; t++) id[t] = (uint32_t)wr_test_below(random, 60);
    return cu[nseq];
}

static void check_batch_equals_singles(const char *path)
{
    enum { NSEQ = 64, DIM = 20 };
    static uint32_t id[4096], cu[NSEQ + 1];
    static float all[NSEQ * DIM];
    wr_test_random random = {7};
    wr_arena arena;
    wr_model *model = open_model(path, NULL);
    random_batch(&random, id, cu, NSEQ);
    wr_arena_init(&arena, 64 << 20);
    wr_batch batch = {.id = id, .cu = cu, .nseq = NSEQ};
    bool embed = wr_model_info_get(model)->kind == WR_MODEL_EMBED;
    size_t width = embed ? DIM : wr_model_info_get(model)->nlabels;
    wr_status (*run)(const wr_model *, const wr_batch *, wr_arena *, const wr_budget *, float *) =
        embed ? wr_model_embed : wr_model_score;
    cr_assert_eq(run(model, &batch, &arena, NULL, all), WR_OK);
    for (size_t s = 0; s < NSEQ; s++) {
        float one[DIM];
        uint32_t alone[2] = {0, cu[s + 1] - cu[s]};
        wr_batch single = {.id = id + cu[s], .cu = alone, .nseq = 1};
        cr_assert_eq(run(model, &single, &arena, NULL, one), WR_OK);
        cr_assert(memcmp(one, all + s * width, width * sizeof *one) == 0, "sequence %zu of %zu tokens", s,
                  (size_t)alone[1]);
    }
    cr_assert_eq(arena.used, 0, "the arena is rolled back");
    wr_arena_release(&arena);
    wr_model_close(model);
}

Test(model, a_batch_equals_singles_bit_for_bit)
{
    check_batch_equals_singles(GOLDEN "bert-mean");
    check_batch_equals_singles(GOLDEN "distilbert-cls");
    check_batch_equals_singles(GOLDEN "bert-cross-stream");
}

Test(model, token_types_left_out_are_zero)
{
    uint32_t id[4] = {2, 5, 6, 3}, cu[2] = {0, 4};
    uint8_t type[4] = {0};
    float with[20], without[20];
    wr_arena arena;
    wr_model *model = open_model(GOLDEN "bert-mean", NULL);
    wr_arena_init(&arena, 16 << 20);
    wr_batch batch = {.id = id, .cu = cu, .nseq = 1};
    cr_assert_eq(wr_model_embed(model, &batch, &arena, NULL, without), WR_OK);
    batch.type = type;
    cr_assert_eq(wr_model_embed(model, &batch, &arena, NULL, with), WR_OK);
    cr_assert(memcmp(with, without, sizeof with) == 0);
    wr_arena_release(&arena);
    wr_model_close(model);
}

Test(model, arena_bytes_are_enough_and_not_far_too_many)
{
    static uint32_t id[4096], cu[65];
    static float out[64 * 20];
    const char *const paths[] = {GOLDEN "bert-mean", GOLDEN "distilbert-cls", GOLDEN "bert-cross-stream"};
    for (size_t m = 0; m < 3; m++) {
        wr_model *model = open_model(paths[m], NULL);
        for (size_t nseq = 1; nseq <= 64; nseq += 9) {
            wr_test_random random = {nseq};
            wr_arena arena;
            size_t ntok = random_batch(&random, id, cu, nseq), bytes = wr_model_arena_bytes(model, ntok, 40);
            wr_batch batch = {.id = id, .cu = cu, .nseq = nseq};
            wr_arena_init(&arena, bytes);
            wr_status st = m < 2 ? wr_model_embed(model, &batch, &arena, NULL, out)
                                 : wr_model_score(model, &batch, &arena, NULL, out);
            cr_assert_eq(st, WR_OK);
            cr_assert_leq(arena.high, bytes);
            wr_arena_release(&arena);
        }
        wr_model_close(model);
    }
}

Test(model, what_is_out_of_range_is_refused)
{
    static uint32_t many[41];
    uint32_t id[2] = {2, 60}, cu[3] = {0, 2, 2}, long_cu[2] = {0, 41};
    uint8_t type[2] = {0, 2};
    float out[40];
    wr_arena arena;
    wr_model *model = open_model(GOLDEN "bert-mean", NULL);
    wr_arena_init(&arena, 16 << 20);
    wr_batch batch = {.id = id, .cu = cu, .nseq = 1};
    cr_assert_eq(wr_model_embed(model, &batch, &arena, NULL, out), WR_EARG, "an id behind the vocabulary");
    id[1] = 3;
    cr_assert_eq(wr_model_embed(model, &batch, &arena, NULL, out), WR_OK);
    cr_assert_eq(wr_model_score(model, &batch, &arena, NULL, out), WR_EARG, "no cross-encoder");
    batch.type = type;
    cr_assert_eq(wr_model_embed(model, &batch, &arena, NULL, out), WR_EARG, "a third token type");
    batch = (wr_batch){.id = id, .cu = cu, .nseq = 2};
    cr_assert_eq(wr_model_embed(model, &batch, &arena, NULL, out), WR_EARG, "an empty sequence");
    batch = (wr_batch){.id = many, .cu = long_cu, .nseq = 1};
    cr_assert_eq(wr_model_embed(model, &batch, &arena, NULL, out), WR_EARG, "more tokens than positions");
    batch.nseq = 0;
    cr_assert_eq(wr_model_embed(model, &batch, &arena, NULL, out), WR_OK);
    wr_arena_release(&arena);
    wr_model_close(model);
}

Test(model, a_small_arena_is_WR_ENOMEM_and_rolled_back)
{
    uint32_t id[2] = {2, 3}, cu[2] = {0, 2};
    float out[20];
    wr_arena arena;
    wr_model *model = open_model(GOLDEN "bert-mean", NULL);
    wr_arena_init(&arena, 8192);
    void *mine = wr_arena_alloc(&arena, 100);
    size_t used = arena.used;
    wr_batch batch = {.id = id, .cu = cu, .nseq = 1};
    cr_assert_eq(wr_model_embed(model, &batch, &arena, NULL, out), WR_ENOMEM);
    cr_assert(mine && arena.used == used);
    wr_arena_release(&arena);
    wr_model_close(model);
}

/* ---- time ---- */

Test(model, a_spent_budget_stops_between_layers)
{
    uint32_t id[2] = {2, 3}, cu[2] = {0, 2};
    float out[20];
    wr_arena arena;
    wr_test_clock fake;
    wr_budget budget;
    wr_model *model = open_model(GOLDEN "bert-mean", NULL);
    wr_arena_init(&arena, 16 << 20);
    wr_batch batch = {.id = id, .cu = cu, .nseq = 1};
    /* The clock moves 1 ms each time somebody looks; a pass of two layers looks more than four times. */
    wr_test_clock_init(&fake, 1000000, 1000000);
    wr_budget_start(&budget, &fake.clock, 4, 0, 0);
    cr_assert_eq(wr_model_embed(model, &batch, &arena, &budget, out), WR_STOPPED);
    cr_assert_eq(arena.used, 0);
    wr_budget_start(&budget, &fake.clock, 100, 0, 0);
    cr_assert_eq(wr_model_embed(model, &batch, &arena, &budget, out), WR_OK);
    wr_budget_cancel(&budget);
    cr_assert_eq(wr_model_embed(model, &batch, &arena, &budget, out), WR_STOPPED);
    wr_arena_release(&arena);
    wr_model_close(model);
}

Test(model, a_deadline_changes_no_bit)
{
    enum { NSEQ = 64 };
    static uint32_t id[4096], cu[NSEQ + 1];
    static float with[NSEQ * 20], without[NSEQ * 20];
    wr_test_random random = {9};
    wr_arena arena;
    wr_budget budget;
    wr_model *model = open_model(GOLDEN "bert-mean", NULL);
    random_batch(&random, id, cu, NSEQ);
    wr_arena_init(&arena, 64 << 20);
    wr_batch batch = {.id = id, .cu = cu, .nseq = NSEQ};
    wr_budget_start(&budget, NULL, 1e9, 0, 0);
    cr_assert_eq(wr_model_embed(model, &batch, &arena, &budget, with), WR_OK);
    cr_assert_eq(wr_model_embed(model, &batch, &arena, NULL, without), WR_OK);
    cr_assert(memcmp(with, without, sizeof with) == 0);
    wr_arena_release(&arena);
    wr_model_close(model);
}

Test(model, speed_is_unknown_until_something_ran)
{
    uint32_t id[2] = {2, 3}, cu[2] = {0, 2};
    float out[20];
    wr_arena arena;
    wr_model *model = open_model(GOLDEN "bert-mean", NULL);
    wr_arena_init(&arena, 16 << 20);
    wr_batch batch = {.id = id, .cu = cu, .nseq = 1};
    cr_assert_eq(wr_model_predict_ns(model, 100), 0);
    cr_assert_eq(wr_model_embed(model, &batch, &arena, NULL, out), WR_OK);
    cr_assert_gt(wr_model_predict_ns(model, 100), 0);
    cr_assert_gt(wr_model_predict_ns(model, 100), wr_model_predict_ns(model, 2));
    wr_arena_release(&arena);
    wr_model_close(model);
}

/* ---- folders that are refused ---- */

/* A copy of bert-mean in the test's folder, its files to be changed. */
static const char *copy_of_bert_mean(void)
{
    static const char *const names[] = {"config.json",       "vocab.txt",
                                        "model.safetensors", "sentence_bert_config.json",
                                        "modules.json",      "1_Pooling/config.json"};
    static char folder[4096];
    wr_err err;
    char path[512], pooling[4200];
    snprintf(folder, sizeof folder, "%s", wr_test_dir());
    snprintf(pooling, sizeof pooling, "%s/1_Pooling", folder);
    wr_dir_make(pooling, &err);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *bytes;
        size_t n;
        snprintf(path, sizeof path, GOLDEN "bert-mean/%s", names[i]);
        cr_assert_eq(wr_file_read(path, 1 << 20, &bytes, &n, &err), WR_OK, "%s", err.text);
        wr_test_file(names[i], bytes, n);
        free(bytes);
    }
    return folder;
}

/* Opening the folder fails with this code and a sentence that has both words. */
static void refuses(const char *folder, wr_status code, const char *word, const char *other)
{
    wr_model *model = (wr_model *)1;
    wr_err err = {0};
    cr_assert_eq(wr_model_open(&model, folder, NULL, &err), code, "%s", err.text);
    cr_assert_null(model);
    cr_assert(strstr(err.text, word) && strstr(err.text, other), "%s", err.text);
}

/* bert-mean with one word of a file replaced. */
static const char *changed(const char *name, const char *from, const char *to)
{
    const char *folder = copy_of_bert_mean();
    char *bytes, path[4200], text[16384];
    size_t n;
    wr_err err;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(wr_file_read(path, sizeof text / 2, &bytes, &n, &err), WR_OK);
    char *at = strstr(bytes, from);
    cr_assert_not_null(at, "%s has no %s", name, from);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - bytes), bytes, to, at + strlen(from));
    wr_test_text(name, text);
    free(bytes);
    return folder;
}

Test(model, a_missing_folder_is_not_found)
{
    refuses("/nowhere/at-all", WR_ENOTFOUND, "/nowhere/at-all", "no such model");
    refuses("at-all", WR_ENOTFOUND, "at-all", "WEIR_MODELS");
    refuses(".", WR_ENOTFOUND, "slash", "no such model");
}

Test(model, another_architecture_is_refused_by_its_model_type)
{
    refuses(changed("config.json", "\"bert\"", "\"roberta\""), WR_EUNSUPPORTED, "roberta", "config.json");
}

Test(model, a_token_classifier_is_refused_by_name)
{
    refuses(changed("config.json", "BertModel", "BertForTokenClassification"), WR_EUNSUPPORTED,
            "BertForTokenClassification", "config.json");
}

Test(model, another_activation_is_refused_by_name)
{
    refuses(changed("config.json", "\"gelu\"", "\"gelu_new\""), WR_EUNSUPPORTED, "gelu_new", "expected");
}

Test(model, relative_positions_are_refused)
{
    refuses(changed("config.json", "\"model_type\"", "\"position_embedding_type\": \"relative_key\", \"model_type\""),
            WR_EUNSUPPORTED, "relative_key", "absolute");
}

Test(model, sizes_are_checked_before_anything_is_allocated)
{
    refuses(changed("config.json", "\"hidden_size\": 20", "\"hidden_size\": 99999999"), WR_EFORMAT, "hidden_size",
            "16384");
    refuses(changed("config.json", "\"hidden_size\": 20", "\"hidden_size\": -1"), WR_EFORMAT, "hidden_size",
            "expected");
    refuses(changed("config.json", "\"hidden_size\": 20", "\"hidden_size\": 21"), WR_EFORMAT, "21", "4 heads");
    refuses(changed("config.json", "\"hidden_size\": 20,", ""), WR_EFORMAT, "hidden_size", "no ");
    refuses(changed("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"), WR_EFORMAT,
            "encoder.layer.2.", "missing");
    refuses(changed("config.json", "\"intermediate_size\": 36", "\"intermediate_size\": 35"), WR_EFORMAT, "[36, 20]",
            "[35, 20]");
}

Test(model, a_dense_module_is_refused_by_name)
{
    refuses(changed("modules.json", "models.Normalize", "models.Dense"), WR_EUNSUPPORTED, "Dense", "modules.json");
}

Test(model, a_module_outside_the_folder_is_refused)
{
    refuses(changed("modules.json", "\"1_Pooling\"", "\"../1_Pooling\""), WR_EFORMAT, "modules.json", "outside");
}

Test(model, another_pooling_is_refused_by_name)
{
    refuses(changed("1_Pooling/config.json", "pooling_mode_mean_tokens", "pooling_mode_lasttoken"), WR_EUNSUPPORTED,
            "pooling_mode_lasttoken", "cls");
}

Test(model, broken_json_is_refused_with_its_place)
{
    refuses(changed("config.json", "{", "[["), WR_EFORMAT, "config.json", "JSON");
}

Test(model, a_vocabulary_larger_than_the_embeddings_is_refused)
{
    refuses(changed("vocab.txt", "[PAD]\n", "[PAD]\nmore\nwords\n"), WR_EFORMAT, "62", "60");
}

Test(model, truncated_weights_are_refused)
{
    const char *folder = copy_of_bert_mean();
    char *bytes;
    size_t n;
    wr_err err;
    cr_assert_eq(wr_file_read(GOLDEN "bert-mean/model.safetensors", 1 << 20, &bytes, &n, &err), WR_OK);
    wr_test_file("model.safetensors", bytes, n - 100);
    refuses(folder, WR_EFORMAT, "model.safetensors", "ends at");
    free(bytes);
}

Test(model, limits_beyond_the_positions_are_refused)
{
    wr_model *model;
    wr_err err = {0};
    wr_model_options options = {.max_doc_tokens = 41};
    cr_assert_eq(wr_model_open(&model, GOLDEN "bert-mean", &options, &err), WR_EARG);
    cr_assert(strstr(err.text, "41") && strstr(err.text, "40"), "%s", err.text);
    options.max_doc_tokens = 2;
    cr_assert_eq(wr_model_open(&model, GOLDEN "bert-mean", &options, &err), WR_EARG);
    cr_assert_null(model);
}

Test(model, a_precision_that_does_not_exist_is_refused_by_name)
{
    wr_model *model;
    wr_err err = {0};
    wr_model_options options = {.precision = "int4"};
    cr_assert_eq(wr_model_open(&model, GOLDEN "bert-mean", &options, &err), WR_EUNSUPPORTED);
    cr_assert(strstr(err.text, "int4"));
}

Test(model, bf16_without_the_instruction_is_refused_in_one_sentence)
{
    wr_model *model;
    wr_err err = {0};
    wr_model_options options = {.precision = "bf16"};
    setenv("WEIR_ISA", "avx2", 1);
    cr_assert_eq(wr_model_open(&model, GOLDEN "bert-mean", &options, &err), WR_EUNSUPPORTED);
    cr_assert(strstr(err.text, "bf16") && strstr(err.text, "AVX512-BF16"), "%s", err.text);
    cr_assert_null(model);
}

Test(model, bf16_names_itself)
{
    wr_model_options options = {.precision = "bf16"};
    if (!wr_kernels_get()->gemm_bf16) cr_skip_test("no AVX512-BF16 here");
    wr_model *model = open_model(GOLDEN "bert-mean", &options);
    const wr_model_info *info = wr_model_info_get(model);
    cr_assert_str_eq(info->precision, "bf16");
    cr_assert_eq(info->nbf16, info->nlinear);
    wr_model_close(model);
}

/* ---- the hash ---- */

static void hash_of(const char *folder, char out[WR_SHA256_HEX])
{
    wr_model *model = open_model(folder, NULL);
    memcpy(out, wr_model_info_get(model)->sha256, WR_SHA256_HEX);
    wr_model_close(model);
}

Test(model, the_hash_is_of_what_the_files_say_and_not_where_they_are)
{
    char here[WR_SHA256_HEX], there[WR_SHA256_HEX];
    hash_of(GOLDEN "bert-mean", here);
    hash_of(copy_of_bert_mean(), there);
    cr_assert_str_eq(here, there);
    hash_of(changed("1_Pooling/config.json", "mean", "cls_token\": false, \"pooling_mode_mean"), there);
    cr_assert_str_neq(here, there);
}

/* ---- what is foreseen ---- */

/* How many of three texts are scored in 5 ms of a clock that moves by step_ns at every look; 0 ms = no deadline. */
static size_t scored_in(const wr_model *model, double budget_ms, uint64_t step_ns)
{
    const wr_text text[] = {{"a b c", 5}, {"d e f", 5}, {"g h i", 5}};
    wr_test_clock fake;
    wr_budget budget;
    float score[3];
    bool done[3];
    wr_test_clock_init(&fake, 1000000000, step_ns);
    wr_budget_start(&budget, &fake.clock, budget_ms, 0, 0);
    cr_assert_eq(wr_score_texts(model, NULL, (wr_text){"a b", 3}, text, 3, &budget, score, done, NULL), WR_OK);
    return (size_t)done[0] + done[1] + done[2];
}

Test(model, a_prediction_that_one_burst_made_too_high_is_forgotten)
{
    wr_test_model(wr_test_path("cross"), true, 2);
    wr_model *model = open_model(wr_test_path("cross"), NULL);
    size_t refused = 0;
    cr_assert_eq(scored_in(model, 0, 90000000), 3); /* one pass of all three: 90 ms, 30 a pair */
    while (scored_in(model, 5, 0) == 0 && refused < 200) refused++;
    cr_assert(refused > 10 && refused < 60, "believed for %zu requests", refused);
    for (size_t i = 0; i < 20; i++) scored_in(model, 5, 0);
    cr_assert_eq(scored_in(model, 5, 0), 3, "what is measured from then on counts");
    wr_model_close(model);
}

Test(model, a_pass_that_was_stopped_is_not_tried_again_at_once)
{
    wr_test_model(wr_test_path("cross"), true, 2);
    wr_model *model = open_model(wr_test_path("cross"), NULL);
    cr_assert_eq(scored_in(model, 5, 3000000), 0, "stopped after two looks at the clock");
    cr_assert(wr_model_predict_ns(model, 9) > 5000000);
    cr_assert_eq(scored_in(model, 5, 0), 0);
    wr_model_close(model);
}
