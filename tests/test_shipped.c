/* The models that come with the project are what their certificates and their cards say. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "models/certificate.h"
#include "models/model.h"

static wr_model *shipped(const char *dir)
{
    wr_model *model = NULL;
    wr_err err;
    cr_assert_eq(wr_model_open(&model, dir, NULL, &err), WR_OK, "%s", err.text);
    return model;
}

static void reproduces(const char *dir)
{
    wr_certificate c = {0};
    char missed[320] = "";
    wr_err err;
    wr_model *model = shipped(dir);
    cr_assert_eq(wr_certificate_read(&c, dir, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_certificate_verify(&c, model, NULL, missed, sizeof missed, &err), WR_OK, "%s", err.text);
    cr_assert_str_empty(missed, "%s: %s", dir, missed);
    wr_certificate_release(&c);
    wr_model_close(model);
}

/* With the folders in it. */
static long long bytes_of(const char *dir)
{
    long long total = 0;
    DIR *d = opendir(dir);
    cr_assert_not_null(d, "%s", dir);
    for (struct dirent *e; (e = readdir(d));) {
        char path[512];
        struct stat s;
        snprintf(path, sizeof path, "%s/%.200s", dir, e->d_name);
        if (e->d_name[0] == '.' || stat(path, &s)) continue;
        total += S_ISDIR(s.st_mode) ? bytes_of(path) : s.st_size;
    }
    closedir(d);
    return total;
}

Test(shipped, weir_dense_embeds_whole_passages_in_bytes)
{
    wr_model *model = shipped("models/weir-dense");
    const wr_model_info *info = wr_model_info_get(model);
    cr_assert_eq(info->kind, WR_MODEL_EMBED);
    cr_assert_eq(info->dim, 384);
    cr_assert_eq(info->max_doc_tokens, 512);
    cr_assert_eq(info->nint8, info->nlinear);
    wr_model_close(model);
}

Test(shipped, weir_cross_has_three_exits)
{
    wr_model *model = shipped("models/weir-cross");
    const wr_model_info *info = wr_model_info_get(model);
    cr_assert_eq(info->kind, WR_MODEL_CROSS);
    cr_assert_eq(info->nexits, 3);
    cr_assert_eq(info->exit_layers[0], 2);
    cr_assert_eq(info->exit_layers[1], 4);
    cr_assert_eq(info->exit_layers[2], 6);
    cr_assert_eq(info->join_layer, 4);
    wr_model_close(model);
}

Test(shipped, weir_sparse_shares_the_encoder_of_weir_dense)
{
    wr_model *dense = shipped("models/weir-dense"), *sparse = shipped("models/weir-sparse");
    const wr_model_info *info = wr_model_info_get(sparse);
    cr_assert_eq(info->kind, WR_MODEL_SPARSE);
    cr_assert(info->has_idf, "queries need no model");
    cr_assert_eq(info->density, 100);
    cr_assert_eq(info->idf_documents, 5000);
    cr_assert_float_eq(info->lexical, 1, 0);
    cr_assert_eq(info->query_tf, WR_QUERY_ROOT);
    cr_assert(wr_model_one_pass(dense, sparse));
    wr_model_close(dense);
    wr_model_close(sparse);
}

/* So the token ids that an index stores serve all. */
Test(shipped, all_read_the_same_tokens)
{
    wr_model *dense = shipped("models/weir-dense");
    static const char *const other[] = {"models/weir-cross", "models/weir-sparse"};
    for (size_t i = 0; i < 2; i++) {
        wr_model *m = shipped(other[i]);
        cr_assert_str_eq(wr_tokenizer_sha256(wr_model_tokenizer(dense)), wr_tokenizer_sha256(wr_model_tokenizer(m)));
        wr_model_close(m);
    }
    wr_model_close(dense);
}

/* 24 MB is what a clone should have to pay for a model. */
Test(shipped, each_is_below_24_MB)
{
    cr_assert_lt(bytes_of("models/weir-dense"), 24000000);
    cr_assert_lt(bytes_of("models/weir-cross"), 24000000);
    cr_assert_lt(bytes_of("models/weir-sparse"), 24000000);
}

Test(shipped, certificates_are_reproduced)
{
    reproduces("models/weir-dense");
    reproduces("models/weir-cross");
    reproduces("models/weir-sparse");
}
