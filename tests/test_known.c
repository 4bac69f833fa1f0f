#include <criterion/criterion.h>
#include <string.h>

#include "models/known.h"
#include "models/model.h"
#include "tests/testlib.h"

static const wr_known *find(const char *name, wr_model_kind kind, size_t layers)
{
    return wr_known_find(
        &(wr_model_info){.name = name, .model_type = "distilbert", .kind = kind, .layers = layers, .dim = 768});
}

Test(known, a_published_checkpoint_is_told_by_name_and_shape)
{
    const wr_known *tas_b = find("msmarco-distilbert-base-tas-b", WR_MODEL_EMBED, 6);
    cr_assert_not_null(tas_b);
    cr_assert_float_eq(wr_known_scores(tas_b)[0], 103.33966, 1e-5);
    cr_assert_not_null(find("distilbert-cat-margin_mse-T2-msmarco", WR_MODEL_CROSS, 6));
    cr_assert_null(find("distilbert-cat-margin_mse-T2-msmarco", WR_MODEL_EMBED, 6));
    cr_assert_null(find("msmarco-distilbert-base-tas-b", WR_MODEL_EMBED, 2));
    cr_assert_null(find("all-MiniLM-L6-v2", WR_MODEL_EMBED, 6));
}

static void verify(const char *dir, char *missed, size_t cap)
{
    wr_model *model;
    wr_err err;
    const wr_known *tas_b = find("msmarco-distilbert-base-tas-b", WR_MODEL_EMBED, 6);
    cr_assert_eq(wr_model_open(&model, dir, NULL, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_known_verify(tas_b, model, missed, cap, &err), WR_OK, "%s", err.text);
    wr_model_close(model);
}

Test(known, another_vocabulary_is_missed)
{
    char missed[320];
    verify("tests/golden/models/distilbert-cls", missed, sizeof missed);
    cr_assert_not_null(strstr(missed, "other token ids than published"), "%s", missed);
}

/* With the vocabulary of bert-base-uncased the ids are those that were published; the scores are not. */
Test(known, tokens_are_the_published_ones_and_other_scores_are_missed)
{
    char missed[320];
    verify(wr_test_uncased_or_skip(), missed, sizeof missed);
    cr_assert_not_null(strstr(missed, "published is 103.339661"), "%s", missed);
}
