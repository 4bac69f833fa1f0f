#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/find.h"
#include "models/model.h"
#include "tests/testlib.h"

static void folder(const char *name)
{
    cr_assert_eq(mkdir(wr_test_path(name), 0777), 0, "%s", name);
}

Test(find, a_name_is_looked_up_in_WEIR_MODELS_first)
{
    char out[WR_MAX_PATH];
    wr_err err;
    folder("models");
    folder("models/some-model");
    cr_assert_eq(wr_model_find("some-model", out, &err), WR_ENOTFOUND);
    cr_assert(strstr(err.text, "some-model: no such model in WEIR_MODELS"), "%s", err.text);
    setenv("WEIR_MODELS", wr_test_path("models"), 1);
    cr_assert_eq(wr_model_find("some-model", out, &err), WR_OK, "%s", err.text);
    cr_assert_str_eq(out, wr_test_path("models/some-model"));
    cr_assert(wr_model_in_place("some-model", 0, out));
    for (size_t place = 1; place <= WR_MODEL_PLACES; place++) cr_assert_not(wr_model_in_place("some-model", place, out));
}

Test(find, a_file_is_no_model)
{
    char out[WR_MAX_PATH];
    wr_err err;
    wr_test_text("some-model", "");
    setenv("WEIR_MODELS", wr_test_dir(), 1);
    cr_assert_eq(wr_model_find("some-model", out, &err), WR_ENOTFOUND);
}

Test(find, a_path_is_no_name)
{
    static const char *const names[] = {"", ".", "..", "models/some-model", "/tmp", "../models"};
    char out[WR_MAX_PATH];
    wr_err err;
    folder("models");
    folder("models/some-model");
    setenv("WEIR_MODELS", wr_test_dir(), 1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cr_assert_eq(wr_model_find(names[i], out, &err), WR_ENOTFOUND, "%s", names[i]);
}

/* A folder that happens to be called like a default is not taken for it; one that was named is opened. */
Test(find, the_current_directory_is_no_place)
{
    char out[WR_MAX_PATH];
    wr_err err;
    wr_model *model;
    folder("some-model");
    cr_assert_eq(chdir(wr_test_dir()), 0);
    cr_assert_eq(wr_model_find("some-model", out, &err), WR_ENOTFOUND);
    cr_assert_neq(wr_model_open(&model, "some-model", NULL, &err), WR_OK);
    cr_assert(strstr(err.text, "some-model/config.json"), "it is empty: %s", err.text);
    cr_assert_eq(wr_model_open(&model, "no-model", NULL, &err), WR_ENOTFOUND);
    cr_assert(strstr(err.text, "./no-model"), "%s", err.text);
}

/* What lies in the place is opened, not what lies here. */
Test(find, a_place_goes_before_a_folder_of_that_name)
{
    wr_err err;
    wr_model *model;
    char places[1024];
    cr_assert_not_null(realpath("tests/golden/models", places));
    folder("bert-mean");
    setenv("WEIR_MODELS", places, 1);
    cr_assert_eq(chdir(wr_test_dir()), 0);
    cr_assert_eq(wr_model_open(&model, "bert-mean", NULL, &err), WR_OK, "%s", err.text);
    wr_model_close(model);
}
