/* Tensors written to files, and model directories made from others: what is read back is what was written. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/mapfile.h"
#include "models/model.h"
#include "models/safetensors_write.h"
#include "tests/testlib.h"
#include "tests/testlib_model.h"

static const float floats[6] = {1, -2, 3, 4.5f, 5, 6};
static const int8_t bytes[5] = {-128, -1, 0, 1, 127};
static const uint16_t halves[3] = {0x3c00, 0xc000, 0x0001};

static const wr_tensor mixed[] = {
    {.name = "z.weight", .dtype = WR_F32, .ndim = 2, .dim = {2, 3}, .data = floats, .bytes = sizeof floats},
    {.name = "a.weight", .dtype = WR_I8, .ndim = 1, .dim = {5}, .data = bytes, .bytes = sizeof bytes},
    {.name = "h\"\n\xc3\xa9", .dtype = WR_F16, .ndim = 1, .dim = {3}, .data = halves, .bytes = sizeof halves},
    {.name = "scalar", .dtype = WR_F32, .ndim = 0, .data = floats, .bytes = 4},
    {.name = "none", .dtype = WR_F32, .ndim = 2, .dim = {0, 7}, .data = floats, .bytes = 0},
};

enum { NMIXED = sizeof mixed / sizeof *mixed };

static void write_to(const char *path, const wr_tensor *tensor, size_t n)
{
    wr_err err = {0};
    cr_assert_eq(wr_safetensors_write(path, tensor, n, &err), WR_OK, "%s", err.text);
}

static wr_tensors *open_folder(const char *folder)
{
    wr_tensors *tensors;
    wr_err err = {0};
    cr_assert_eq(wr_tensors_open(&tensors, folder, &err), WR_OK, "%s", err.text);
    return tensors;
}

static void same_files(const char *a, const char *b)
{
    wr_map x, y;
    cr_assert_eq(wr_map_open(&x, a, NULL), WR_OK, "%s", a);
    cr_assert_eq(wr_map_open(&y, b, NULL), WR_OK, "%s", b);
    cr_assert(x.size == y.size && !memcmp(x.bytes, y.bytes, x.size), "%s and %s differ", a, b);
    wr_map_close(&x);
    wr_map_close(&y);
}

Test(safetensors_write, what_is_read_back_is_what_was_written)
{
    write_to(wr_test_path("model.safetensors"), mixed, NMIXED);
    cr_assert_not(wr_path_exists(wr_test_path("model.safetensors.tmp")));
    wr_tensors *t = open_folder(wr_test_dir());
    cr_assert_eq(wr_tensors_count(t), NMIXED);
    for (size_t i = 0; i < NMIXED; i++) {
        const wr_tensor *want = &mixed[i], *got = wr_tensors_find(t, want->name);
        cr_assert(got && got->dtype == want->dtype && got->ndim == want->ndim && got->bytes == want->bytes);
        cr_assert_eq(memcmp(got->dim, want->dim, want->ndim * sizeof *want->dim), 0, "%s", want->name);
        cr_assert_eq(memcmp(got->data, want->data, want->bytes), 0, "%s", want->name);
        cr_assert_eq((uintptr_t)got->data % wr_dtype_bytes(got->dtype), 0, "%s", want->name);
    }
    wr_tensors_close(t);
}

Test(safetensors_write, data_starts_on_a_cache_line_whatever_the_names)
{
    char name[70] = "";
    for (size_t i = 0; i < 66; i++) {
        wr_map map;
        uint64_t length;
        strcat(name, "x");
        wr_tensor t = {.name = name, .dtype = WR_I8, .ndim = 1, .dim = {5}, .data = bytes, .bytes = 5};
        write_to(wr_test_path("x.safetensors"), &t, 1);
        cr_assert_eq(wr_map_open(&map, wr_test_path("x.safetensors"), NULL), WR_OK);
        memcpy(&length, map.bytes, 8);
        cr_assert_eq((8 + length) % 64, 0);
        cr_assert_eq(map.size, 8 + length + 5);
        wr_map_close(&map);
    }
}

Test(safetensors_write, the_same_tensors_give_the_same_bytes)
{
    wr_tensor shuffled[NMIXED], again[NMIXED];
    for (size_t i = 0; i < NMIXED; i++) shuffled[i] = mixed[(i * 3 + 2) % NMIXED];
    write_to(wr_test_path("model.safetensors"), mixed, NMIXED);
    write_to(wr_test_path("shuffled"), shuffled, NMIXED);
    same_files(wr_test_path("model.safetensors"), wr_test_path("shuffled"));
    wr_tensors *t = open_folder(wr_test_dir());
    for (size_t i = 0; i < NMIXED; i++) again[i] = *wr_tensors_at(t, i);
    write_to(wr_test_path("again"), again, NMIXED);
    wr_tensors_close(t);
    same_files(wr_test_path("model.safetensors"), wr_test_path("again"));
}

static void refused(const wr_tensor *tensor, size_t n, wr_status code, const char *word)
{
    wr_err err = {0};
    cr_assert_eq(wr_safetensors_write(wr_test_path("bad"), tensor, n, &err), code, "%s", word);
    cr_assert(strstr(err.text, word), "\"%s\" lacks \"%s\"", err.text, word);
    cr_assert_not(wr_path_exists(wr_test_path("bad")));
    cr_assert_not(wr_path_exists(wr_test_path("bad.tmp")));
}

Test(safetensors_write, what_no_reader_could_read_is_refused)
{
    wr_tensor t = mixed[0], two[2] = {mixed[0], mixed[0]};
    refused(two, 2, WR_EARG, "z.weight is there twice");
    t.bytes--;
    refused(&t, 1, WR_EARG, "23 bytes of data, its shape needs 24");
    t = mixed[0], t.dim[0] = SIZE_MAX / 2;
    refused(&t, 1, WR_EARG, "dimension");
    t = mixed[0], t.name = "";
    refused(&t, 1, WR_EARG, "without a name");
    t = mixed[0], t.name = "\xff";
    refused(&t, 1, WR_EARG, "UTF-8");
    t = mixed[0], t.name = "__metadata__";
    refused(&t, 1, WR_EARG, "__metadata__");
    t = mixed[0], t.dtype = WR_OTHER_DTYPE;
    refused(&t, 1, WR_EUNSUPPORTED, "cannot be written");
    t = mixed[0], t.ndim = WR_MAX_DIMS + 1;
    refused(&t, 1, WR_EARG, "dimensions");
}

/* ---- directories ---- */

static void copy_model(const char *from, const char *to)
{
    wr_err err = {0};
    wr_tensors *t = open_folder(from);
    cr_assert_eq(wr_model_dir_write(from, to, wr_tensors_at(t, 0), wr_tensors_count(t), &err), WR_OK, "%s", err.text);
    wr_tensors_close(t);
}

Test(safetensors_write, a_copied_model_opens_and_copies_to_the_same_bytes)
{
    static const char *const files[] = {"config.json", "modules.json", "1_Pooling/config.json", "vocab.txt"};
    char from[256], one[256], two[256], a[512], b[512];
    strcpy(from, wr_test_path("from")), strcpy(one, wr_test_path("one")), strcpy(two, wr_test_path("two"));
    wr_test_model(from, false, 3);
    wr_test_text("from/notes.txt", "not part of the model");
    copy_model(from, one);
    copy_model(one, two);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(a, sizeof a, "%s/%s", from, files[i]), snprintf(b, sizeof b, "%s/%s", one, files[i]);
        same_files(a, b);
    }
    snprintf(a, sizeof a, "%s/model.safetensors", one), snprintf(b, sizeof b, "%s/model.safetensors", two);
    same_files(a, b);
    snprintf(a, sizeof a, "%s/notes.txt", one);
    cr_assert_not(wr_path_exists(a));
    wr_model *model;
    wr_err err = {0};
    wr_model_options options = {0};
    cr_assert_eq(wr_model_open(&model, one, &options, &err), WR_OK, "%s", err.text);
    wr_model_close(model);
}

Test(safetensors_write, a_transformer_in_a_folder_of_its_own_stays_there)
{
    char from[256], to[256], command[1024];
    strcpy(from, wr_test_path("from")), strcpy(to, wr_test_path("to"));
    wr_test_model(from, false, 3);
    snprintf(command, sizeof command,
             "cd '%s' && mkdir encoder && mv vocab.txt config.json model.safetensors encoder && "
             "sed -i 's/\"path\": *\"\"/\"path\":\"encoder\"/' modules.json && grep -q encoder modules.json",
             from);
    cr_assert_eq(system(command), 0);
    char base[512];
    snprintf(base, sizeof base, "%s/encoder", from);
    wr_tensors *t = open_folder(base);
    wr_err err = {0};
    cr_assert_eq(wr_model_dir_write(from, to, wr_tensors_at(t, 0), wr_tensors_count(t), &err), WR_OK, "%s", err.text);
    wr_tensors_close(t);
    cr_assert(wr_path_exists(wr_test_path("to/encoder/model.safetensors")));
    cr_assert(wr_path_exists(wr_test_path("to/encoder/vocab.txt")));
    cr_assert_not(wr_path_exists(wr_test_path("to/model.safetensors")));
}

Test(safetensors_write, a_folder_with_anything_in_it_is_refused_and_left_alone)
{
    char from[256], to[256];
    wr_err err = {0};
    strcpy(from, wr_test_path("from")), strcpy(to, wr_test_path("to"));
    wr_test_model(from, true, 3);
    cr_assert_eq(wr_dir_make(to, NULL), WR_OK);
    cr_assert_eq(wr_model_dir_vacant(to, &err), WR_OK);
    cr_assert_eq(wr_model_dir_vacant(wr_test_path("absent"), &err), WR_OK);
    wr_test_text("to/mine", "mine");
    cr_assert_eq(wr_model_dir_write(from, to, mixed, NMIXED, &err), WR_EARG);
    cr_assert(strstr(err.text, "is not empty"), "%s", err.text);
    cr_assert(wr_path_exists(wr_test_path("to/mine")));
    cr_assert_eq(wr_model_dir_write(from, wr_test_path("to/mine"), mixed, NMIXED, &err), WR_EARG);
    cr_assert(strstr(err.text, "folder was expected"), "%s", err.text);
}

Test(safetensors_write, a_failure_leaves_nothing_behind)
{
    char from[256], to[256];
    wr_tensor bad = mixed[0];
    wr_err err = {0};
    strcpy(from, wr_test_path("from")), strcpy(to, wr_test_path("to"));
    wr_test_model(from, true, 3);
    bad.bytes--;
    cr_assert_eq(wr_model_dir_write(from, to, &bad, 1, &err), WR_EARG);
    cr_assert_not(wr_path_exists(to));
    cr_assert_eq(wr_dir_make(to, NULL), WR_OK);
    cr_assert_eq(wr_model_dir_write(from, to, &bad, 1, &err), WR_EARG);
    cr_assert_eq(wr_model_dir_vacant(to, &err), WR_OK);
    cr_assert(wr_path_is_dir(to));
}
