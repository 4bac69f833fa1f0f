/* Models pruned in blocks of four outputs: the smallest blocks are zero, all else is as it was, and the result opens.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/mapfile.h"
#include "models/model.h"
#include "models/prune.h"
#include "models/safetensors_write.h"
#include "tests/testlib.h"
#include "tests/testlib_model.h"

static wr_tensors *open_folder(const char *folder)
{
    wr_tensors *tensors;
    wr_err err = {0};
    cr_assert_eq(wr_tensors_open(&tensors, folder, &err), WR_OK, "%s", err.text);
    return tensors;
}

static void count(const wr_pruned *pruned, void *arg)
{
    (void)pruned;
    ++*(size_t *)arg;
}

static void pruned(const char *from, const char *to, double sparsity, size_t tensors)
{
    wr_err err = {0};
    size_t n = 0;
    cr_assert_eq(wr_model_prune(from, to, sparsity, count, &n, &err), WR_OK, "%s", err.text);
    cr_assert_eq(n, tensors, "%zu tensors", n);
}

static bool is_pruned(const wr_tensor *t)
{
    return t->ndim == 2 && strstr(t->name, "encoder.layer.");
}

/* A block's sum of squares as the tensor's numbers have it. scale and input: [out] and [in] of bytes, else NULL. */
static double square(const wr_tensor *t, const float *w, const float *scale, const float *input, size_t group, size_t i)
{
    double sum = 0;
    for (size_t o = 4 * group; o < 4 * group + 4 && o < t->dim[0]; o++) {
        double v = (double)w[o * t->dim[1] + i] * (scale ? scale[o] : 1) * (input ? input[i] : 1);
        sum += v * v;
    }
    return sum;
}

/* What is gone is smaller than what is left, and what is left has not changed. */
static void check_tensor(const wr_tensor *was, const wr_tensor *is, double sparsity, const float *scale,
                         const float *input)
{
    size_t out = was->dim[0], in = was->dim[1], groups = (out + 3) / 4, zeros = 0, size = wr_dtype_bytes(was->dtype);
    float *a = malloc(out * in * sizeof *a), *b = malloc(out * in * sizeof *b);
    double largest = 0, smallest = INFINITY;
    cr_assert(was->dtype == is->dtype && is->dim[0] == out && is->dim[1] == in);
    cr_assert_eq(wr_tensor_to_f32(was, a, out * in, NULL), WR_OK);
    cr_assert_eq(wr_tensor_to_f32(is, b, out * in, NULL), WR_OK);
    for (size_t g = 0; g < groups; g++)
        for (size_t i = 0; i < in; i++) {
            double before = square(was, a, scale, input, g, i), after = square(is, b, scale, input, g, i);
            zeros += after == 0;
            if (after == 0)
                largest = before > largest ? before : largest;
            else
                smallest = before < smallest ? before : smallest;
            for (size_t o = 4 * g; o < 4 * g + 4 && o < out && after > 0; o++)
                cr_assert_eq(memcmp((const char *)was->data + (o * in + i) * size,
                                    (const char *)is->data + (o * in + i) * size, size),
                             0);
        }
    cr_assert_eq(zeros, (size_t)(sparsity * (double)(groups * in) + 0.5), "%s: %zu zeros", was->name, zeros);
    cr_assert_leq(largest, smallest * (1 + 1e-5), "%s", was->name);
    free(a), free(b);
}

static void check_models(const char *from, const char *to, double sparsity)
{
    wr_tensors *a = open_folder(from), *b = open_folder(to);
    cr_assert_eq(wr_tensors_count(a), wr_tensors_count(b));
    for (size_t i = 0; i < wr_tensors_count(a); i++) {
        const wr_tensor *was = wr_tensors_at(a, i), *is = wr_tensors_at(b, i);
        cr_assert_str_eq(was->name, is->name);
        if (is_pruned(was))
            check_tensor(was, is, sparsity, NULL, NULL);
        else
            cr_assert(was->bytes == is->bytes && !memcmp(was->data, is->data, was->bytes), "%s", was->name);
    }
    wr_tensors_close(a);
    wr_tensors_close(b);
}

Test(prune, the_smallest_blocks_of_each_layer_are_zero_and_the_model_opens)
{
    static const double sparsity[] = {0, 0.3, 0.8, 1};
    char from[256], to[256];
    strcpy(from, wr_test_path("from"));
    wr_test_model(from, true, 5);
    for (size_t i = 0; i < sizeof sparsity / sizeof *sparsity; i++) {
        wr_model *model;
        wr_err err = {0};
        wr_model_options options = {0};
        char name[16];
        snprintf(name, sizeof name, "to%zu", i);
        strcpy(to, wr_test_path(name));
        pruned(from, to, sparsity[i], 12);
        check_models(from, to, sparsity[i]);
        cr_assert_eq(wr_model_open(&model, to, &options, &err), WR_OK, "%s", err.text);
        wr_model_close(model);
    }
}

Test(prune, pruning_again_changes_nothing)
{
    char from[256], one[256], two[256];
    strcpy(from, wr_test_path("from")), strcpy(one, wr_test_path("one")), strcpy(two, wr_test_path("two"));
    wr_test_model(from, false, 5);
    pruned(from, one, 0.7, 12);
    pruned(one, two, 0.7, 12);
    wr_tensors *a = open_folder(one), *b = open_folder(two);
    for (size_t i = 0; i < wr_tensors_count(a); i++)
        cr_assert_eq(memcmp(wr_tensors_at(a, i)->data, wr_tensors_at(b, i)->data, wr_tensors_at(a, i)->bytes), 0);
    wr_tensors_close(a);
    wr_tensors_close(b);
}

/* A model directory of one layer tensor beside what stands in wr_test_model's. */
static void single(const char *to, const wr_tensor *tensor, size_t n)
{
    char from[256];
    wr_err err = {0};
    strcpy(from, wr_test_path("base"));
    wr_test_model(from, true, 5);
    cr_assert_eq(wr_model_dir_write(from, to, tensor, n, &err), WR_OK, "%s", err.text);
}

Test(prune, halves_and_bytes_are_judged_by_the_numbers_that_they_stand_for)
{
    enum { OUT = 10, IN = 9 };
    wr_test_random random = {4};
    int8_t q[OUT * IN];
    uint16_t h[OUT * IN], brain[OUT * IN];
    float scale[OUT], input[IN];
    for (size_t i = 0; i < OUT * IN; i++) {
        q[i] = (int8_t)(1 + (int)wr_test_below(&random, 127));
        h[i] = (uint16_t)(wr_test_below(&random, 0x7c00) | 1);
        brain[i] = (uint16_t)(0x3000 + wr_test_below(&random, 0x1000));
    }
    for (size_t o = 0; o < OUT; o++) scale[o] = (float)(o * o + 1);
    for (size_t i = 0; i < IN; i++) input[i] = 1 + (float)i / 4;
    wr_tensor t[] = {
        {.name = "encoder.layer.0.a.weight", .dtype = WR_I8, .ndim = 2, .dim = {OUT, IN}, .data = q, .bytes = sizeof q},
        {.name = "encoder.layer.0.a.weight_scale",
         .dtype = WR_F32,
         .ndim = 1,
         .dim = {OUT},
         .data = scale,
         .bytes = sizeof scale},
        {.name = "encoder.layer.0.a.input_scale",
         .dtype = WR_F32,
         .ndim = 1,
         .dim = {IN},
         .data = input,
         .bytes = sizeof input},
        {.name = "encoder.layer.0.b.weight",
         .dtype = WR_F16,
         .ndim = 2,
         .dim = {OUT, IN},
         .data = h,
         .bytes = sizeof h},
        {.name = "encoder.layer.0.c.weight",
         .dtype = WR_BF16,
         .ndim = 2,
         .dim = {OUT, IN},
         .data = brain,
         .bytes = sizeof brain},
    };
    char from[256], to[256];
    strcpy(from, wr_test_path("from")), strcpy(to, wr_test_path("to"));
    single(from, t, 5);
    pruned(from, to, 0.6, 3);
    wr_tensors *is = open_folder(to);
    check_tensor(&t[0], wr_tensors_find(is, t[0].name), 0.6, scale, input);
    check_tensor(&t[3], wr_tensors_find(is, t[3].name), 0.6, NULL, NULL);
    check_tensor(&t[4], wr_tensors_find(is, t[4].name), 0.6, NULL, NULL);
    wr_tensors_close(is);
}

static void refused(const char *from, const char *to, double sparsity, wr_status code, const char *word)
{
    wr_err err = {0};
    cr_assert_eq(wr_model_prune(from, to, sparsity, NULL, NULL, &err), code, "%s: %s", word, err.text);
    cr_assert(strstr(err.text, word), "\"%s\" lacks \"%s\"", err.text, word);
}

Test(prune, what_cannot_be_pruned_is_refused_and_leaves_nothing)
{
    static const int8_t q[16] = {1};
    wr_tensor lonely = {
        .name = "encoder.layer.0.a.weight", .dtype = WR_I8, .ndim = 2, .dim = {4, 4}, .data = q, .bytes = 16};
    wr_tensor other = {.name = "pooler.dense.weight", .dtype = WR_I8, .ndim = 2, .dim = {4, 4}, .data = q, .bytes = 16};
    char one[256], two[256], to[256];
    strcpy(one, wr_test_path("one")), strcpy(two, wr_test_path("two")), strcpy(to, wr_test_path("to"));
    single(one, &lonely, 1);
    single(two, &other, 1);
    refused(one, to, 0.5, WR_EFORMAT, "weight_scale");
    refused(two, to, 0.5, WR_EFORMAT, "no linear layer");
    refused(one, to, 1.5, WR_EARG, "expected 0 to 1");
    refused(one, to, (double)NAN, WR_EARG, "expected 0 to 1");
    refused(one, two, 0.5, WR_EARG, "is not empty");
    refused(wr_test_path("absent"), to, 0.5, WR_ENOTFOUND, "absent");
    cr_assert_not(wr_path_exists(to));
}
