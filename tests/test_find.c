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

Test(find, a_file_is_no_model_unless_it_is_called_gguf)
{
    char out[WR_MAX_PATH];
    wr_err err;
    wr_test_text("some-model", "");
    wr_test_text(".gguf", "");
    setenv("WEIR_MODELS", wr_test_dir(), 1);
    cr_assert_eq(wr_model_find("some-model", out, &err), WR_ENOTFOUND);
    cr_assert_eq(wr_model_find(".gguf", out, &err), WR_ENOTFOUND);
    folder("other.gguf");
    cr_assert_eq(wr_model_find("other", out, &err), WR_ENOTFOUND);
}

Test(find, a_gguf_file_is_found_by_its_name_with_and_without_the_ending)
{
    char out[WR_MAX_PATH];
    wr_err err;
    wr_test_text("some-model.gguf", "");
    setenv("WEIR_MODELS", wr_test_dir(), 1);
    cr_assert_eq(wr_model_find("some-model", out, &err), WR_OK, "%s", err.text);
    cr_assert_str_eq(out, wr_test_path("some-model.gguf"));
    cr_assert_eq(wr_model_find("some-model.gguf", out, &err), WR_OK, "%s", err.text);
    cr_assert_str_eq(out, wr_test_path("some-model.gguf"));
    cr_assert_eq(wr_model_find("some-model.gguf.gguf", out, &err), WR_ENOTFOUND);
    folder("some-model");
    cr_assert_eq(wr_model_find("some-model", out, &err), WR_OK, "%s", err.text);
    cr_assert_str_eq(out, wr_test_path("some-model"), "the folder goes first");
}

/* What reads texts with an encoder says so, whether the file was named or found. */
Test(find, a_file_is_no_encoder)
{
    wr_err err;
    wr_model *model;
    wr_test_text("some-model.gguf", "GGUF");
    setenv("WEIR_MODELS", wr_test_dir(), 1);
    cr_assert_eq(wr_model_open(&model, "some-model", NULL, &err), WR_EUNSUPPORTED);
    cr_assert(strstr(err.text, "some-model.gguf: a file, expected the folder"), "%s", err.text);
    cr_assert_eq(wr_model_open(&model, wr_test_path("some-model.gguf"), NULL, &err), WR_EUNSUPPORTED);
    cr_assert(strstr(err.text, "some-model.gguf: a file, expected the folder"), "%s", err.text);
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
