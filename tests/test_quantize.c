#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/mapfile.h"
#include "models/certificate.h"
#include "models/linear.h"
#include "models/model.h"
#include "models/quantize.h"
#include "models/safetensors.h"
#include "tests/testlib.h"
#include "tests/testlib_model.h"
#include "tools/model_quantize.h"

static const char *source(bool cross)
{
    const char *dir = wr_test_path(cross ? "cross" : "embed");
    wr_test_model(dir, cross, 7);
    return dir;
}

static wr_model *open_model(const char *dir, const wr_model_options *options)
{
    wr_model *model;
    wr_err err;
    cr_assert_eq(wr_model_open(&model, dir, options, &err), WR_OK, "%s", err.text);
    return model;
}

static void texts(wr_probe *calibration, wr_probe *held_out, bool cross)
{
    wr_err err;
    cr_assert_eq(wr_probe_own(calibration, held_out, cross ? WR_MODEL_CROSS : WR_MODEL_EMBED, &err), WR_OK);
}

static float *scores(const char *dir, const wr_model_options *options, const wr_probe *probe)
{
    wr_err err;
    wr_model *model = open_model(dir, options);
    float *score = calloc(probe->npairs, sizeof *score);
    cr_assert_eq(wr_probe_score(probe, model, NULL, score, &err), WR_OK, "%s", err.text);
    wr_model_close(model);
    return score;
}

static void decide(wr_quant *quant, const char *dir, const wr_probe *probe, double max_loss)
{
    wr_err err;
    cr_assert_eq(wr_quant_decide(quant, dir, probe, max_loss, NULL, NULL, NULL, &err), WR_OK, "%s", err.text);
}

static void write_model(const wr_quant *quant, const char *from, const char *to)
{
    wr_err err;
    cr_assert_eq(wr_quant_write(quant, from, to, &err), WR_OK, "%s", err.text);
}

/* ---- writing ---- */

static size_t count(const wr_quant *quant)
{
    size_t n = 0;
    for (size_t i = 0; i < quant->n; i++) n += quant->part[i].bytes;
    return n;
}

/* What is decided in memory and what is written give the same bits; mixed where the limit lies in between. */
static void written_equals_planned_from(const char *from, wr_model_kind kind, double share)
{
    wr_probe calibration, held_out;
    wr_quant quant;
    wr_linear_plan plan[64];
    const char *to = wr_test_path("int8");
    wr_err err;
    cr_assert_eq(wr_probe_own(&calibration, &held_out, kind, &err), WR_OK);
    decide(&quant, from, &calibration, 1e9);
    double limit = share * quant.all_loss;
    cr_assert_gt(limit, 0);
    if (share < 1) {
        wr_quant_release(&quant);
        decide(&quant, from, &calibration, limit);
        cr_assert_gt(count(&quant), 0);
        cr_assert_lt(count(&quant), quant.n);
        cr_assert_leq(quant.loss, limit);
    }
    write_model(&quant, from, to);
    wr_model_options options = {.precision = "int8", .plan = plan, .nplan = wr_quant_plan(&quant, plan)};
    float *want = scores(from, &options, &held_out), *got = scores(to, NULL, &held_out);
    cr_assert_arr_eq(got, want, held_out.npairs * sizeof *got);
    free(want), free(got);
    wr_quant_release(&quant);
    wr_probe_release(&calibration);
    wr_probe_release(&held_out);
}

static void written_equals_planned(bool cross, double share)
{
    written_equals_planned_from(source(cross), cross ? WR_MODEL_CROSS : WR_MODEL_EMBED, share);
}

Test(quantize, a_written_embedder_gives_the_planned_bits)
{
    written_equals_planned(false, 1);
}

Test(quantize, a_written_cross_encoder_gives_the_planned_bits)
{
    written_equals_planned(true, 1);
}

Test(quantize, a_mixed_model_gives_the_planned_bits)
{
    written_equals_planned(false, .5);
    wr_model *model = open_model(wr_test_path("int8"), NULL);
    cr_assert_str_eq(wr_model_info_get(model)->precision, "mixed");
    wr_model_close(model);
}

/* What a sparse model has beside its weights is copied: the table of its queries, and what its pooling says. */
static void assert_same_query_side(const wr_model *a, const wr_model *b)
{
    const wr_model_info *x = wr_model_info_get(a), *y = wr_model_info_get(b);
    const wr_idf *t = wr_model_idf(a), *u = wr_model_idf(b);
    cr_assert_eq(x->kind, y->kind);
    cr_assert_eq(x->act, y->act);
    cr_assert_eq(x->density, y->density);
    cr_assert_eq(x->has_idf, y->has_idf);
    if (!t) return;
    cr_assert_eq(t->n, u->n);
    cr_assert_arr_eq(t->weight, u->weight, t->n * sizeof *t->weight);
}

/* Both architectures, all heads, and weights that are stored as F16, BF16, a pickle. */
Test(quantize, every_kind_of_checkpoint_can_be_written, .timeout = 300)
{
    static const char *const name[] = {"bert-cross-stream",  "bert-max-bf16",     "bert-mean",
                                       "distilbert-cat-f16", "distilbert-cls",    "distilbert-cross-f16",
                                       "bert-sparse-idf",    "distilbert-splade", "distilbert-sparse-router"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        char from[256];
        snprintf(from, sizeof from, "tests/golden/models/%s", name[i]);
        wr_model *model = open_model(from, NULL);
        wr_model_kind kind = wr_model_info_get(model)->kind;
        written_equals_planned_from(from, kind, 1);
        wr_model *written = open_model(wr_test_path("int8"), NULL);
        assert_same_query_side(model, written);
        wr_model_close(model);
        wr_model_close(written);
        wr_dir_remove(wr_test_path("int8"), NULL);
    }
}

Test(quantize, a_tighter_limit_keeps_no_more_bytes)
{
    wr_probe calibration, held_out;
    const char *from = source(true);
    size_t before = SIZE_MAX;
    texts(&calibration, &held_out, true);
    for (double limit = .2; limit > 1e-4; limit /= 5) {
        wr_quant quant;
        decide(&quant, from, &calibration, limit);
        cr_assert_leq(count(&quant), before);
        cr_assert(count(&quant) == 0 || quant.loss <= limit);
        before = count(&quant);
        wr_quant_release(&quant);
    }
    wr_probe_release(&calibration);
    wr_probe_release(&held_out);
}

/* All parts as bytes with a given input scale on each. */
static void force(wr_quant *quant, const char *from, wr_probe *probe)
{
    decide(quant, from, probe, 1e9);
    for (size_t i = 0; i < quant->n; i++) {
        wr_quant_part *p = &quant->part[i];
        p->bytes = true;
        if (p->table) continue;
        if (!p->migrate) p->migrate = malloc(p->cols * sizeof *p->migrate);
        for (size_t c = 0; c < p->cols; c++) p->migrate[c] = (float)(.5 + .01 * (double)(c % 100));
    }
}

/* A tensor's numbers, owned by the caller: in files of others they may lie at any address. */
static float *floats_of(const wr_tensors *t, const char *name)
{
    wr_err err;
    const wr_tensor *tensor = wr_tensors_find(t, name);
    cr_assert_not_null(tensor, "%s", name);
    size_t n = wr_tensor_elements(tensor);
    float *x = calloc(n, sizeof *x);
    cr_assert_eq(wr_tensor_to_f32(tensor, x, n, &err), WR_OK);
    return x;
}

static float dequantised(const wr_tensors *t, const char *stem, size_t row, size_t col, size_t cols)
{
    char name[512];
    snprintf(name, sizeof name, "%s.weight", stem);
    const int8_t *q = wr_tensors_find(t, name)->data;
    snprintf(name, sizeof name, "%s.weight_scale", stem);
    const float *scale = wr_tensors_find(t, name)->data;
    snprintf(name, sizeof name, "%s.input_scale", stem);
    const float *input = wr_tensors_find(t, name)->data;
    return (float)q[row * cols + col] * scale[row] * input[col];
}

/* I8 * weight_scale * input_scale is the weight within half a step. */
Test(quantize, stored_bytes_and_scales_stand_for_the_weights)
{
    wr_probe calibration, held_out;
    wr_quant quant;
    wr_tensors *a, *b;
    wr_err err;
    const char *from = source(false), *to = wr_test_path("int8");
    texts(&calibration, &held_out, false);
    force(&quant, from, &calibration);
    write_model(&quant, from, to);
    cr_assert_eq(wr_tensors_open(&a, from, &err), WR_OK);
    cr_assert_eq(wr_tensors_open(&b, to, &err), WR_OK);
    for (size_t i = 1; i < quant.n; i++) {
        const wr_quant_part *p = &quant.part[i];
        char name[512];
        snprintf(name, sizeof name, "%s.weight", p->name[0]);
        float *w = floats_of(a, name);
        snprintf(name, sizeof name, "%s.weight_scale", p->name[0]);
        const float *scale = wr_tensors_find(b, name)->data;
        for (size_t r = 0; r < p->rows; r++)
            for (size_t c = 0; c < p->cols; c++) {
                float step = scale[r] * p->migrate[c], got = dequantised(b, p->name[0], r, c, p->cols);
                cr_assert_leq(fabsf(got - w[r * p->cols + c]), .5001f * step);
            }
        free(w);
    }
    wr_tensors_close(a);
    wr_tensors_close(b);
    wr_quant_release(&quant);
    wr_probe_release(&calibration);
    wr_probe_release(&held_out);
}

/* fp32 with the numbers that the bytes stand for: written out as floats, they are the same model. */
Test(quantize, precision_fp32_takes_bytes_back_with_their_input_scale)
{
    wr_probe calibration, held_out;
    wr_quant quant;
    wr_model_options fp32 = {.precision = "fp32"};
    const char *from = source(true), *to = wr_test_path("int8");
    wr_agreement agreement;
    texts(&calibration, &held_out, true);
    force(&quant, from, &calibration);
    write_model(&quant, from, to);
    float *want = scores(from, &fp32, &held_out), *got = scores(to, &fp32, &held_out);
    cr_assert_eq(wr_probe_agreement(&held_out, want, got, &agreement), WR_OK);
    cr_assert_gt(agreement.spearman, .98); /* only the weights are rounded; a scale left out would leave nothing */
    cr_assert_lt(agreement.loss, .2);
    free(want), free(got);
    wr_quant_release(&quant);
    wr_probe_release(&calibration);
    wr_probe_release(&held_out);
}

/* Without a plan the product behind a layer's first LayerNorm has the scale (|beta| + 2 |gamma|)^-.75. */
Test(quantize, floats_that_become_bytes_on_the_way_are_scaled_by_their_layer_norm)
{
    enum { LAYERS = 2, MAX = 64 };
    static float scale[LAYERS][MAX];
    static char name[LAYERS][128];
    wr_linear_plan plan[LAYERS];
    wr_probe calibration, held_out;
    wr_tensors *tensors;
    wr_err err;
    const char *from = source(true);
    texts(&calibration, &held_out, true);
    cr_assert_eq(wr_tensors_open(&tensors, from, &err), WR_OK);
    for (size_t l = 0; l < LAYERS; l++) {
        char norm[2][128];
        for (int i = 0; i < 2; i++)
            snprintf(norm[i], sizeof norm[i], "bert.encoder.layer.%zu.attention.output.LayerNorm.%s", l,
                     i ? "bias" : "weight");
        float *gamma = floats_of(tensors, norm[0]), *beta = floats_of(tensors, norm[1]);
        for (size_t i = 0; i < wr_tensors_find(tensors, norm[0])->dim[0]; i++) {
            float most = fabsf(beta[i]) + 2 * fabsf(gamma[i]);
            scale[l][i] = 1 / (sqrtf(most) * sqrtf(sqrtf(most)));
        }
        free(gamma), free(beta);
        snprintf(name[l], sizeof name[l], "bert.encoder.layer.%zu.intermediate.dense", l);
        plan[l] = (wr_linear_plan){.name = name[l], .precision = WR_PRECISION_INT8, .migrate = scale[l]};
    }
    wr_model_options planned = {.precision = "int8", .plan = plan, .nplan = LAYERS}, int8 = {.precision = "int8"};
    float *want = scores(from, &planned, &held_out), *got = scores(from, &int8, &held_out);
    cr_assert_arr_eq(got, want, held_out.npairs * sizeof *got);
    free(want), free(got);
    wr_tensors_close(tensors);
    wr_probe_release(&calibration);
    wr_probe_release(&held_out);
}

Test(quantize, a_model_of_bytes_is_refused)
{
    wr_probe calibration, held_out;
    wr_quant quant;
    wr_err err;
    const char *from = source(false), *to = wr_test_path("int8");
    texts(&calibration, &held_out, false);
    decide(&quant, from, &calibration, 1e9);
    write_model(&quant, from, to);
    wr_quant_release(&quant);
    cr_assert_eq(wr_quant_decide(&quant, to, &calibration, 1, NULL, NULL, NULL, &err), WR_EARG);
    cr_assert_not_null(strstr(err.text, "weights of bytes"), "%s", err.text);
    wr_probe_release(&calibration);
    wr_probe_release(&held_out);
}

/* The bits of a score do not depend on who computes it, so neither do decisions. */
Test(quantize, decisions_do_not_depend_on_threads)
{
    wr_probe calibration, held_out;
    wr_quant one, four;
    wr_pool *pool;
    wr_err err;
    const char *from = source(false);
    texts(&calibration, &held_out, false);
    decide(&one, from, &calibration, .05);
    cr_assert_eq(wr_pool_open(&pool, 4, wr_model_thread_init, &err), WR_OK);
    cr_assert_eq(wr_quant_decide(&four, from, &calibration, .05, pool, NULL, NULL, &err), WR_OK);
    wr_pool_close(pool);
    cr_assert_eq(one.loss, four.loss);
    cr_assert_eq(one.n, four.n);
    for (size_t i = 0; i < one.n; i++) {
        cr_assert_eq(one.part[i].bytes, four.part[i].bytes);
        cr_assert_eq(one.part[i].alone, four.part[i].alone);
    }
    wr_quant_release(&one);
    wr_quant_release(&four);
    wr_probe_release(&calibration);
    wr_probe_release(&held_out);
}

/* ---- agreement ---- */

static wr_agreement agree(const float *want, const float *got, size_t n)
{
    wr_agreement a;
    wr_probe_pair pair[32] = {0};
    wr_probe probe = {.pair = pair, .npairs = n};
    cr_assert_eq(wr_probe_agreement(&probe, want, got, &a), WR_OK);
    return a;
}

Test(agreement, equal_lists_agree)
{
    const float x[] = {3, 1, 2};
    wr_agreement a = agree(x, x, 3);
    cr_assert(a.loss == 0 && a.max_error == 0 && a.spearman == 1 && a.tau == 1 && a.top10 == -1);
}

/* scipy.stats: spearmanr 0.8, kendalltau (b) 0.6 */
Test(agreement, values_are_those_of_scipy)
{
    const float x[] = {1, 2, 3, 4, 5}, y[] = {2, 1, 4, 3, 5};
    wr_agreement a = agree(x, y, 5);
    cr_assert_float_eq(a.spearman, .8, 1e-12);
    cr_assert_float_eq(a.tau, .6, 1e-12);
    cr_assert_float_eq(a.max_error, 1, 1e-12);
    cr_assert_float_eq(a.mean_error, .8, 1e-12);
    cr_assert_float_eq(a.loss, sqrt(4. / 10), 1e-12);
}

/* scipy.stats of [1 1 2 3] and [1 2 2 3]: spearmanr 0.8333.., kendalltau 0.8 */
Test(agreement, ties_share_their_place)
{
    const float x[] = {1, 1, 2, 3}, y[] = {1, 2, 2, 3};
    wr_agreement a = agree(x, y, 4);
    cr_assert_float_eq(a.spearman, 5. / 6, 1e-12);
    cr_assert_float_eq(a.tau, .8, 1e-12);
}

Test(agreement, the_first_ten_are_compared_as_sets)
{
    float x[12], y[12];
    for (size_t i = 0; i < 12; i++) x[i] = y[i] = -(float)i;
    y[9] = -20;
    cr_assert_float_eq(agree(x, y, 12).top10, .9, 1e-12);
}

/* ---- texts ---- */

static wr_status read_file(const char *text, wr_model_kind kind, wr_probe *a, wr_probe *b, wr_err *err)
{
    return wr_probe_read(a, b, kind, wr_test_text("texts.txt", text), err);
}

Test(probe, pairs_of_one_query_stay_in_one_half)
{
    wr_probe a, b;
    wr_err err;
    cr_assert_eq(read_file("q1\ta\nq1\tb\nq1\tc\nq1\td\nq2\te\nq2\tf\nq2\tg\n", WR_MODEL_CROSS, &a, &b, &err), WR_OK,
                 "%s", err.text);
    cr_assert_eq(a.npairs, 4);
    cr_assert_eq(b.npairs, 3);
    cr_assert_str_eq(b.text[b.pair[0].query], "q2");
    cr_assert_eq(wr_probe_query_end(&a, 0), 4);
    wr_probe_release(&a);
    wr_probe_release(&b);
}

Test(probe, plain_lines_are_paired_with_those_that_follow)
{
    wr_probe a, b;
    wr_err err;
    cr_assert_eq(read_file("a\nb\n\nc\nd\ne\nf\n", WR_MODEL_CROSS, &a, &b, &err), WR_OK, "%s", err.text);
    cr_assert_eq(a.npairs, 6);
    cr_assert(a.pair[2].query == 1 && a.pair[2].passage == 2 && a.pair[3].passage == 0);
    wr_probe_release(&a);
    wr_probe_release(&b);
}

Test(probe, an_embedder_compares_every_query_with_every_passage)
{
    wr_probe a, b;
    wr_err err;
    cr_assert_eq(read_file("q1\ta\nq1\tb\nq2\tc\nq3\td\nq3\te\nq4\tf\n", WR_MODEL_EMBED, &a, &b, &err), WR_OK, "%s",
                 err.text);
    cr_assert_eq(a.npairs, 6);
    wr_probe_release(&a);
    wr_probe_release(&b);
}

Test(probe, what_cannot_be_used_is_refused)
{
    static const char *const bad[] = {"", "a\nb\n", "a\tb\nc\n", "a\nb\xff\nc\nd\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        wr_probe a, b;
        wr_err err;
        cr_assert_eq(read_file(bad[i], WR_MODEL_CROSS, &a, &b, &err), WR_EFORMAT, "file %zu", i);
    }
}

/* ---- certificates ---- */

static void quantize(bool cross, const char *to)
{
    wr_err err;
    wr_quantize_args args = {.model = source(cross), .out = to, .max_loss = .5, .progress = "none", .threads = 1};
    cr_assert_eq(wr_model_quantize(&args, &err), WR_OK, "%s", err.text);
}

static wr_status verify(const char *dir, int *exit_status, wr_err *err)
{
    wr_quantize_args args = {.model = dir, .threads = 1};
    *exit_status = 0;
    return wr_model_verify(&args, exit_status, err);
}

static void overwrite(const char *path, size_t at, const char *bytes, size_t n)
{
    FILE *file = fopen(path, "r+");
    cr_assert_not_null(file);
    cr_assert_eq(fseek(file, (long)at, SEEK_SET), 0);
    fwrite(bytes, 1, n, file);
    fclose(file);
}

static void a_certificate_is_reproduced(bool cross)
{
    const char *to = wr_test_path("int8");
    wr_err err;
    int exit_status;
    quantize(cross, to);
    cr_assert_eq(verify(to, &exit_status, &err), WR_OK, "%s", err.text);
    cr_assert_eq(exit_status, 0);
}

Test(certificate, of_an_embedder_is_reproduced)
{
    a_certificate_is_reproduced(false);
}

Test(certificate, of_a_cross_encoder_is_reproduced)
{
    a_certificate_is_reproduced(true);
}

Test(certificate, a_changed_weight_is_seen)
{
    const char *to = wr_test_path("int8");
    char path[4096];
    struct wr_map map;
    wr_err err;
    int exit_status;
    quantize(true, to);
    wr_path_join(path, sizeof path, to, "model.safetensors");
    cr_assert_eq(wr_map_open(&map, path, &err), WR_OK);
    size_t at = map.size - 100;
    char flipped = (char)(map.bytes[at] ^ 1);
    wr_map_close(&map);
    overwrite(path, at, &flipped, 1);
    cr_assert_eq(verify(to, &exit_status, &err), WR_OK, "%s", err.text);
    cr_assert_eq(exit_status, 3);
}

static char *certificate_text(const char *dir, char path[4096])
{
    char *text;
    size_t n;
    wr_err err;
    wr_path_join(path, 4096, dir, WR_CERTIFICATE_NAME);
    cr_assert_eq(wr_file_read(path, 1 << 24, &text, &n, &err), WR_OK);
    return text;
}

/* Any figure that is not what is measured again is missed, whichever it is. */
Test(certificate, a_figure_that_is_not_reproduced_is_missed)
{
    static const char *const key[] = {"\"loss\": ", "\"spearman\": ", "\"kendall_tau\": ", "\"int8_sha256\": \""};
    const char *to = wr_test_path("int8");
    char path[4096];
    wr_err err;
    quantize(false, to);
    char *text = certificate_text(to, path);
    for (size_t i = 0; i < sizeof key / sizeof *key; i++) {
        int exit_status;
        char *at = strstr(text, key[i]) + strlen(key[i]), kept = at[3];
        at[3] = kept == '1' ? '2' : '1';
        cr_assert_eq(wr_file_replace(path, text, strlen(text), &err), WR_OK);
        cr_assert_eq(verify(to, &exit_status, &err), WR_OK, "%s", err.text);
        cr_assert_eq(exit_status, 3, "%s", key[i]);
        at[3] = kept;
    }
    free(text);
}

/* A cross-encoder that may end earlier: what is said of its exits is measured again, and a change is missed. */
Test(certificate, of_exits_is_reproduced_and_a_change_is_missed)
{
    static const struct {
        const char *from, *to;
        int exit_status;
    } edit[] = {{"\"layer\": 1", "\"layer\": 2", 3},           {"\"layer\": 2", "\"layer\": 9", 3},
                {"\"layer\": 1", "\"layer\": 0", 4},           {"\"layer\"", "\"lazer\"", 4},
                {"\"top10_overlap\"", "\"top11_overlap\"", 4}, {"\"fp32\": [", "\"fp16\": [", 4}};
    const char *to = wr_test_path("int8");
    char path[4096];
    int exit_status;
    wr_err err;
    wr_certificate c;
    wr_quantize_args args = {
        .model = "./tests/golden/models/bert-interaction", .out = to, .max_loss = 5, .progress = "none", .threads = 1};
    cr_assert_eq(wr_model_quantize(&args, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_certificate_read(&c, to, &err), WR_OK, "%s", err.text);
    cr_assert(c.nexits == 2 && c.exit[0].layer == 1 && c.exit[1].layer == 2);
    wr_certificate_release(&c);
    cr_assert_eq(verify(to, &exit_status, &err), WR_OK, "%s", err.text);
    cr_assert_eq(exit_status, 0);
    char *text = certificate_text(to, path), *exits = strstr(text, "\"exits\"");
    cr_assert_not_null(exits);
    for (size_t i = 0; i < sizeof edit / sizeof *edit; i++) {
        char *at = strstr(exits, edit[i].from);
        cr_assert_not_null(at, "%s", edit[i].from);
        memcpy(at, edit[i].to, strlen(edit[i].to));
        cr_assert_eq(wr_file_replace(path, text, strlen(text), &err), WR_OK);
        wr_status st = verify(to, &exit_status, &err);
        cr_assert_eq(st ? wr_exit_status(st) : exit_status, edit[i].exit_status, "%s", edit[i].to);
        memcpy(at, edit[i].from, strlen(edit[i].from));
    }
    free(text);
}

Test(certificate, a_malformed_one_is_bad_data)
{
    static const char *const key[] = {"\"format\"",  "\"version\"", "\"kind\"",     "\"result\"",  "\"texts\": [",
                                      "\"queries\"", "\"fp32\": [", "\"passages\"", "\"figures\"", "\"spearman\""};
    const char *to = wr_test_path("int8");
    char path[4096];
    wr_err err;
    int exit_status;
    quantize(true, to);
    char *text = certificate_text(to, path);
    for (size_t i = 0; i < sizeof key / sizeof *key; i++) {
        char *at = strstr(text, key[i]);
        cr_assert_not_null(at, "%s", key[i]);
        at[1] ^= 1;
        cr_assert_eq(wr_file_replace(path, text, strlen(text), &err), WR_OK);
        wr_status st = verify(to, &exit_status, &err);
        cr_assert_eq(st, WR_EFORMAT, "%s: %d", key[i], st);
        cr_assert_eq(wr_exit_status(st), 4);
        at[1] ^= 1;
    }
    text[strlen(text) / 2] = 0;
    cr_assert_eq(wr_file_replace(path, text, strlen(text), &err), WR_OK);
    cr_assert_eq(verify(to, &exit_status, &err), WR_EFORMAT);
    free(text);
}

Test(certificate, a_model_without_one_has_nothing_to_verify)
{
    wr_err err;
    int exit_status;
    cr_assert_eq(verify(source(false), &exit_status, &err), WR_EFORMAT);
    cr_assert_not_null(strstr(err.text, "nothing to verify"), "%s", err.text);
}

Test(certificate, names_what_is_kept_and_why)
{
    const char *to = wr_test_path("int8");
    wr_err err;
    wr_certificate c;
    size_t kept = 0;
    wr_quantize_args args = {.model = source(true), .out = to, .max_loss = .01, .progress = "none", .threads = 1};
    cr_assert_eq(wr_model_quantize(&args, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_certificate_read(&c, to, &err), WR_OK, "%s", err.text);
    const json_t *parts = json_object_get(c.json, "parts");
    cr_assert_eq(json_array_size(parts), 11);
    for (size_t i = 0; i < json_array_size(parts); i++)
        kept += json_object_get(json_array_get(parts, i), "why") != NULL;
    cr_assert(kept > 0 && kept < 11, "%zu", kept);
    cr_assert_eq(json_array_size(json_object_get(c.json, "worst")), WR_CERTIFICATE_WORST);
    wr_certificate_release(&c);
}

/* After a failure nothing is left behind. */
Test(quantize, an_impossible_limit_is_refused_and_leaves_nothing)
{
    const char *to = wr_test_path("int8");
    wr_err err;
    wr_quantize_args args = {.model = source(false), .out = to, .max_loss = 0, .progress = "none", .threads = 1};
    cr_assert_eq(wr_model_quantize(&args, &err), WR_EARG);
    cr_assert_not(wr_path_exists(to));
    args.max_loss = -1, args.calibrate = wr_test_text("two", "a\nb\n");
    cr_assert_eq(wr_model_quantize(&args, &err), WR_EFORMAT);
    cr_assert_not(wr_path_exists(to));
    args.calibrate = NULL, args.collection = wr_test_path("nowhere");
    cr_assert_neq(wr_model_quantize(&args, &err), WR_OK);
    cr_assert_not(wr_path_exists(to));
}

/* Judged by the project's own collection, which every checkout has. */
Test(quantize, a_collection_is_measured_and_verified, .timeout = 300)
{
    const char *to = wr_test_path("int8");
    wr_err err;
    int exit_status = 0;
    const char *from[] = {"tests/golden/models/distilbert-splade", source(false), source(true)};
    for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
        wr_quantize_args args = {.model = from[i],
                                 .out = to,
                                 .max_loss = .5,
                                 .progress = "none",
                                 .threads = 2,
                                 .collection = "data/sample",
                                 .depth = 3};
        cr_assert_eq(wr_model_quantize(&args, &err), WR_OK, "%s", err.text);
        args.model = to;
        cr_assert_eq(wr_model_verify(&args, &exit_status, &err), WR_OK, "%s", err.text);
        cr_assert_eq(exit_status, 0);
        char path[4096], *text = certificate_text(to, path), *at = strstr(text, "\"ndcg10_int8\": ");
        at[17] = at[17] == '1' ? '2' : '1';
        cr_assert_eq(wr_file_replace(path, text, strlen(text), &err), WR_OK);
        cr_assert_eq(wr_model_verify(&args, &exit_status, &err), WR_OK, "%s", err.text);
        cr_assert_eq(exit_status, 3);
        exit_status = 0;
        free(text);
        wr_dir_remove(to, NULL);
    }
}
