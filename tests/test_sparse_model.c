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
    for (size_t i = 0; i < n; i++)
        check(&out[i], json_array_get(json_object_get(root, rows), i), tolerance, name);
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
