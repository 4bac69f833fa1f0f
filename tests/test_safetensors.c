/* Tensors out of files, good and bad: safetensors, its shards, and PyTorch's checkpoints. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/mapfile.h"
#include "models/safetensors.h"
#include "tests/testlib.h"

#define GOLDEN "./tests/golden/models/"

/* A safetensors file from its header's text and n bytes of data; returns its length in out. */
static size_t compose(unsigned char *out, const char *header, const void *data, size_t n)
{
    uint64_t length = strlen(header);
    memcpy(out, &length, 8);
    memcpy(out + 8, header, length);
    memcpy(out + 8 + length, data, n);
    return 8 + length + n;
}

static wr_tensors *open_folder(const char *folder)
{
    wr_tensors *tensors;
    wr_err err = {0};
    cr_assert_eq(wr_tensors_open(&tensors, folder, &err), WR_OK, "%s", err.text);
    return tensors;
}

/* ---- what is well-formed ---- */

Test(safetensors, tensors_are_found_by_name_with_shape_and_data)
{
    static const float data[6] = {1, 2, 3, 4, 5, 6};
    unsigned char file[1024];
    size_t n = compose(file,
                       "{\"__metadata__\":{\"format\":\"pt\"},"
                       "\"w\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[8,24]},"
                       "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}   ",
                       data, sizeof data);
    wr_test_file("model.safetensors", file, n);
    wr_tensors *t = open_folder(wr_test_dir());
    cr_assert_eq(wr_tensors_count(t), 2);
    cr_assert_str_eq(wr_tensors_at(t, 0)->name, "b");
    const wr_tensor *w = wr_tensors_find(t, "w");
    cr_assert(w && w->dtype == WR_F32 && w->ndim == 2 && w->dim[0] == 2 && w->dim[1] == 2 && w->bytes == 16);
    float out[4];
    cr_assert_eq(wr_tensor_to_f32(w, out, 4, NULL), WR_OK);
    cr_assert(out[0] == 3 && out[3] == 6);
    cr_assert_eq(wr_tensor_to_f32(w, out, 3, NULL), WR_EARG);
    cr_assert_null(wr_tensors_find(t, "W"));
    wr_tensors_close(t);
}

Test(safetensors, halves_and_bytes_become_floats_exactly)
{
    static const uint16_t half[8] = {0x3c00, 0xc000, 0x0001, 0x83ff, 0x7bff, 0x7c00, 0xfc00, 0x8000};
    static const float want[8] = {1, -2, 0x1p-24f, -0x1.ff8p-15f, 65504, INFINITY, -INFINITY, -0.0f};
    static const uint16_t brain[2] = {0x3f80, 0xc0a0};
    static const int8_t bytes[2] = {-128, 127};
    float out[8];
    wr_tensor t = {.name = "t", .dtype = WR_F16, .ndim = 1, .dim = {8}, .data = half, .bytes = 16};
    cr_assert_eq(wr_tensor_to_f32(&t, out, 8, NULL), WR_OK);
    cr_assert(memcmp(out, want, sizeof want) == 0);
    t = (wr_tensor){.name = "t", .dtype = WR_BF16, .ndim = 1, .dim = {2}, .data = brain, .bytes = 4};
    cr_assert_eq(wr_tensor_to_f32(&t, out, 2, NULL), WR_OK);
    cr_assert(out[0] == 1 && out[1] == -5);
    t = (wr_tensor){.name = "t", .dtype = WR_I8, .ndim = 1, .dim = {2}, .data = bytes, .bytes = 2};
    cr_assert_eq(wr_tensor_to_f32(&t, out, 2, NULL), WR_OK);
    cr_assert(out[0] == -128 && out[1] == 127);
    t.dtype = WR_I64;
    cr_assert_eq(wr_tensor_to_f32(&t, out, 2, NULL), WR_EUNSUPPORTED);
}

Test(safetensors, every_half_but_nan_survives_the_way_through_float)
{
    for (uint32_t h = 0; h < 0x10000; h++) {
        uint16_t half = (uint16_t)h;
        if ((h & 0x7c00) == 0x7c00 && h & 0x3ff) continue;
        wr_tensor t = {.name = "t", .dtype = WR_F16, .data = &half, .bytes = 2};
        float got;
        cr_assert_eq(wr_tensor_to_f32(&t, &got, 1, NULL), WR_OK);
        double mantissa = h & 0x3ff, exponent = (h >> 10) & 0x1f;
        double want = exponent == 0    ? mantissa * 0x1p-24
                      : exponent == 31 ? (double)INFINITY
                                       : (1 + mantissa / 1024) * pow(2, exponent - 15);
        cr_assert_eq((double)got, h & 0x8000 ? -want : want, "%04x", h);
    }
}

Test(safetensors, shards_are_one_set_of_tensors)
{
    static const float data[2] = {1, 2};
    unsigned char file[256];
    size_t n = compose(file, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", data, 4);
    wr_test_file("one.safetensors", file, n);
    n = compose(file, "{\"b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", data + 1, 4);
    wr_test_file("two.safetensors", file, n);
    wr_test_text("model.safetensors.index.json",
                 "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}");
    wr_tensors *t = open_folder(wr_test_dir());
    float out;
    cr_assert_eq(wr_tensors_count(t), 2);
    cr_assert_eq(wr_tensors_nfiles(t), 3);
    cr_assert_eq(wr_tensor_to_f32(wr_tensors_find(t, "b"), &out, 1, NULL), WR_OK);
    cr_assert_eq(out, 2);
    wr_tensors_close(t);
}

/* ---- what is not ---- */

static void refuses_bytes(const unsigned char *bytes, size_t n, wr_status code, const char *word)
{
    wr_tensor_list list = {0};
    wr_err err = {0};
    cr_assert_eq(wr_safetensors_read(bytes, n, "x.safetensors", &list, &err), code, "%s", err.text);
    cr_assert(strstr(err.text, "x.safetensors") && strstr(err.text, word), "%s", err.text);
    wr_tensor_list_release(&list);
}

/* A header that is refused, before 16 bytes of data. */
static void refuses(const char *header, wr_status code, const char *word)
{
    static const char data[16];
    unsigned char file[2048];
    refuses_bytes(file, compose(file, header, data, sizeof data), code, word);
}

#define TENSOR(name, dtype, shape, begin, end)                                                                         \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

Test(safetensors, a_header_longer_than_the_file_is_refused)
{
    unsigned char file[16] = {0};
    refuses_bytes(file, 0, WR_EFORMAT, "0 bytes");
    refuses_bytes(file, 7, WR_EFORMAT, "7 bytes");
    memset(file, 0xff, 8);
    refuses_bytes(file, 16, WR_EFORMAT, "header of");
    uint64_t length = 9;
    memcpy(file, &length, 8);
    refuses_bytes(file, 16, WR_EFORMAT, "header of 9");
}

Test(safetensors, a_header_that_is_no_json_object_is_refused)
{
    refuses("[1]", WR_EFORMAT, "object");
    refuses("{\"a\":", WR_EFORMAT, "JSON");
    refuses("{\"a\":7}", WR_EFORMAT, "tensor a");
    refuses("{" TENSOR("a", "F32", "[4]", 0, 16) "," TENSOR("a", "F32", "[4]", 0, 16) "}", WR_EFORMAT, "JSON");
}

Test(safetensors, offsets_outside_the_data_are_refused)
{
    refuses("{" TENSOR("a", "F32", "[5]", 0, 20) "}", WR_EFORMAT, "tensor a");
    refuses("{" TENSOR("a", "F32", "[4]", 16, 0) "}", WR_EFORMAT, "tensor a");
    refuses("{" TENSOR("a", "F32", "[4]", -16, 0) "}", WR_EFORMAT, "data_offsets");
    refuses("{" TENSOR("a", "F32", "[4]", 0, 99999999999999999999) "}", WR_EFORMAT, "JSON");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", WR_EFORMAT, "data_offsets");
}

Test(safetensors, a_shape_that_does_not_fit_the_data_is_refused)
{
    refuses("{" TENSOR("a", "F32", "[3]", 0, 16) "}", WR_EFORMAT, "shape");
    refuses("{" TENSOR("a", "F32", "[-4]", 0, 16) "}", WR_EFORMAT, "dimension 0");
    refuses("{" TENSOR("a", "F32", "[4294967296,4294967296,4]", 0, 16) "}", WR_EFORMAT, "dimension");
    refuses("{" TENSOR("a", "F32", "[4611686018427387905]", 0, 4) "}", WR_EFORMAT, "shape");
    refuses("{" TENSOR("a", "F32", "[1,1,1,1,1,1,1,1,4]", 0, 16) "}", WR_EUNSUPPORTED, "9 dimensions");
    refuses("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}", WR_EFORMAT, "shape");
}

Test(safetensors, an_unknown_dtype_is_refused_by_name)
{
    refuses("{" TENSOR("a", "F3", "[4]", 0, 16) "}", WR_EUNSUPPORTED, "F3");
    refuses("{\"a\":{\"shape\":[4],\"data_offsets\":[0,16]}}", WR_EFORMAT, "dtype");
}

Test(safetensors, tensors_may_not_overlap)
{
    refuses("{" TENSOR("a", "F32", "[4]", 0, 16) "," TENSOR("b", "F32", "[2]", 8, 16) "}", WR_EFORMAT, "overlaps");
}

Test(safetensors, bytes_that_belong_to_no_tensor_are_refused)
{
    static char data[200];
    unsigned char file[512];
    size_t n = compose(file, "{" TENSOR("a", "F32", "[4]", 0, 16) "}", data, sizeof data);
    refuses_bytes(file, n, WR_EFORMAT, "16");
    n = compose(file, "{" TENSOR("a", "F32", "[4]", 184, 200) "}", data, sizeof data);
    refuses_bytes(file, n, WR_EFORMAT, "184 bytes before");
}

Test(safetensors, a_few_bytes_of_padding_are_allowed)
{
    static char data[128];
    unsigned char file[512];
    wr_tensor_list list = {0};
    size_t n = compose(file, "{" TENSOR("a", "I8", "[5]", 0, 5) "," TENSOR("b", "F32", "[4]", 64, 80) "}", data, 100);
    cr_assert_eq(wr_safetensors_read(file, n, "x", &list, NULL), WR_OK);
    cr_assert_eq(list.n, 2);
    wr_tensor_list_release(&list);
}

Test(safetensors, a_folder_without_weights_is_not_found)
{
    wr_tensors *t;
    wr_err err = {0};
    cr_assert_eq(wr_tensors_open(&t, wr_test_dir(), &err), WR_ENOTFOUND);
    cr_assert_null(t);
    cr_assert(strstr(err.text, "pytorch_model.bin"));
}

Test(safetensors, a_shard_outside_the_folder_is_refused)
{
    wr_tensors *t;
    wr_err err = {0};
    wr_test_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"../one.safetensors\"}}");
    cr_assert_eq(wr_tensors_open(&t, wr_test_dir(), &err), WR_EFORMAT);
    cr_assert(strstr(err.text, "file name"), "%s", err.text);
    wr_test_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"gone.safetensors\"}}");
    cr_assert_eq(wr_tensors_open(&t, wr_test_dir(), &err), WR_ENOTFOUND);
    wr_test_text("model.safetensors.index.json", "{}");
    cr_assert_eq(wr_tensors_open(&t, wr_test_dir(), &err), WR_EFORMAT);
}

/* ---- PyTorch's checkpoints ---- */

static char *read_golden(const char *name, size_t *n)
{
    char *bytes, path[256];
    wr_err err = {0};
    snprintf(path, sizeof path, GOLDEN "%s/pytorch_model.bin", name);
    cr_assert_eq(wr_file_read(path, 1 << 20, &bytes, n, &err), WR_OK, "%s", err.text);
    return bytes;
}

static void check_checkpoint(const char *name, const char *tensor, wr_dtype dtype, size_t rows, size_t cols)
{
    char folder[256];
    snprintf(folder, sizeof folder, GOLDEN "%s", name);
    wr_tensors *t = open_folder(folder);
    const wr_tensor *found = wr_tensors_find(t, tensor);
    cr_assert(found && found->dtype == dtype && found->ndim == 2 && found->dim[0] == rows && found->dim[1] == cols);
    wr_tensors_close(t);
}

Test(safetensors, zipped_checkpoints_have_their_tensors)
{
    check_checkpoint("distilbert-cls", "transformer.layer.1.ffn.lin1.weight", WR_F32, 36, 20);
    check_checkpoint("distilbert-cat-f16", "_classification_layer.weight", WR_F16, 1, 20);
}

Test(safetensors, old_streams_have_their_tensors)
{
    check_checkpoint("bert-cross-stream", "bert.pooler.dense.weight", WR_F32, 20, 20);
}

/* Cut anywhere, a checkpoint is refused with a sentence. */
static void check_truncated(const char *name)
{
    size_t n;
    char *bytes = read_golden(name, &n);
    for (size_t cut = 0; cut < n; cut += cut < 3000 ? 1 : 97) {
        unsigned char *part = malloc(cut + 1); /* its own allocation, so that a sanitizer sees a read too far */
        wr_tensor_list list = {0};
        wr_err err = {0};
        memcpy(part, bytes, cut);
        cr_assert_lt(wr_checkpoint_read(part, cut, "x.bin", &list, &err), 0, "%zu of %zu bytes", cut, n);
        cr_assert(strstr(err.text, "x.bin"), "%s", err.text);
        wr_tensor_list_release(&list);
        free(part);
    }
    free(bytes);
}

Test(safetensors, truncated_checkpoints_are_refused)
{
    check_truncated("distilbert-cat-f16");
    check_truncated("bert-cross-stream");
}

static const unsigned char stream_head[] = {0x80, 2,   0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50,
                                            0x19, '.', 0x80, 2,  'M',  0xe9, 3,    '.',  0x80, 2,    '}',  '.'};

/* A stream whose state dict is this pickle. */
static void refuses_pickle(const char *pickle, size_t n, wr_status code, const char *word)
{
    unsigned char file[512];
    wr_tensor_list list = {0};
    wr_err err = {0};
    memcpy(file, stream_head, sizeof stream_head);
    memcpy(file + sizeof stream_head, pickle, n);
    cr_assert_eq(wr_checkpoint_read(file, sizeof stream_head + n, "x.bin", &list, &err), code, "%s", err.text);
    cr_assert(strstr(err.text, word), "%s", err.text);
    wr_tensor_list_release(&list);
}

#define REFUSES_PICKLE(pickle, code, word) refuses_pickle(pickle, sizeof pickle - 1, code, word)

Test(safetensors, a_pickle_that_wants_to_call_something_is_refused_by_name)
{
    REFUSES_PICKLE("cposix\nsystem\n(X\x04\x00\x00\x00"
                   "echotR.",
                   WR_EUNSUPPORTED, "posix.system");
    REFUSES_PICKLE("\x8c\x08"
                   "builtins\x8c\x04"
                   "eval\x93.",
                   WR_EUNSUPPORTED, "builtins.eval");
    REFUSES_PICKLE("i__builtin__\nexec\n.", WR_EUNSUPPORTED, "opcode");
}

Test(safetensors, a_damaged_pickle_is_refused)
{
    REFUSES_PICKLE(".", WR_EFORMAT, "stack");
    REFUSES_PICKLE("(.", WR_EFORMAT, "stack");
    REFUSES_PICKLE("t.", WR_EFORMAT, "mark");
    REFUSES_PICKLE("h\x07.", WR_EFORMAT, "memo");
    REFUSES_PICKLE("Nr\xff\xff\xff\x7f.", WR_EFORMAT, "memo");
    REFUSES_PICKLE("NNu.", WR_EFORMAT, "mark");
    REFUSES_PICKLE("N(NNu.", WR_EFORMAT, "container");
    REFUSES_PICKLE("}(Nu.", WR_EFORMAT, "container");
    REFUSES_PICKLE("NNR.", WR_EFORMAT, "call");
    REFUSES_PICKLE("NQ.", WR_EFORMAT, "persistent");
    REFUSES_PICKLE("ccollections\nOrderedDict\nN\x85R.", WR_EFORMAT, "arguments");
    REFUSES_PICKLE("X\xff\xff\xff\xff"
                   "abc.",
                   WR_EFORMAT, "middle");
    REFUSES_PICKLE("\x80\x07.", WR_EFORMAT, "protocol");
}

Test(safetensors, something_else_under_the_name_is_refused)
{
    wr_tensor_list list = {0};
    wr_err err = {0};
    cr_assert_eq(wr_checkpoint_read((const unsigned char *)"<html>", 6, "x.bin", &list, &err), WR_EFORMAT);
    cr_assert(strstr(err.text, "zip"), "%s", err.text);
}
