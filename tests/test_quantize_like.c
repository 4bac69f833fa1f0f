/* Two models that share an encoder: an embedder, and a masked language model with idf.json. When the second becomes
 * bytes like the first, its encoder has the first one's bytes. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/mapfile.h"
#include "models/certificate.h"
#include "models/model.h"
#include "models/quantize.h"
#include "models/safetensors.h"
#include "models/safetensors_write.h"
#include "tests/testlib.h"
#include "tests/testlib_model.h"
#include "tools/model_quantize.h"

/* Of wr_test_model(). */
#define DIM 32
#define VOCAB 77
#define PREFIX "bert."

/* A path in the test's folder that stays where it is, unlike wr_test_path()'s. */
static const char *place(const char *name)
{
    static char path[16][2][256];
    size_t i = 0;
    while (i < 16 && *path[i][0] && strcmp(path[i][0], name)) i++;
    cr_assert_lt(i, 16);
    snprintf(path[i][0], sizeof path[i][0], "%s", name);
    snprintf(path[i][1], sizeof path[i][1], "%s", wr_test_path(name));
    return path[i][1];
}

/* ---- the two ---- */

typedef struct list {
    wr_tensor tensor[128];
    size_t n;
    char name[128][128];
    float head[4 * DIM + DIM * DIM + VOCAB];
} list;

static void add(list *l, const wr_tensor *t, const char *name)
{
    snprintf(l->name[l->n], sizeof l->name[l->n], "%s", name);
    l->tensor[l->n] = *t;
    l->tensor[l->n].name = l->name[l->n];
    l->n++;
}

/* The encoder's tensors, with the prefix or without. */
static void add_encoder(list *l, const wr_tensors *tensors, bool prefixed)
{
    for (size_t i = 0; i < wr_tensors_count(tensors); i++) {
        const wr_tensor *t = wr_tensors_at(tensors, i);
        cr_assert(!strncmp(t->name, PREFIX, strlen(PREFIX)));
        add(l, t, t->name + (prefixed ? 0 : strlen(PREFIX)));
    }
}

static void add_head(list *l)
{
    static const struct {
        const char *name;
        size_t ndim, rows, cols;
        float shift, scale;
    } part[] = {{"cls.predictions.transform.dense.weight", 2, DIM, DIM, 0, .2f},
                {"cls.predictions.transform.dense.bias", 1, DIM, 1, 0, .1f},
                {"cls.predictions.transform.LayerNorm.weight", 1, DIM, 1, 1, .1f},
                {"cls.predictions.transform.LayerNorm.bias", 1, DIM, 1, 0, .1f},
                {"cls.predictions.bias", 1, VOCAB, 1, 0, .5f}};
    wr_test_random random = {11};
    float *at = l->head;
    for (size_t p = 0; p < sizeof part / sizeof *part; p++) {
        size_t n = part[p].rows * part[p].cols;
        wr_tensor t = {.dtype = WR_F32, .ndim = part[p].ndim, .dim = {part[p].rows, part[p].cols}, .data = at};
        t.bytes = n * sizeof *at;
        for (size_t i = 0; i < n; i++) *at++ = part[p].shift + part[p].scale * wr_test_normal(&random);
        add(l, &t, part[p].name);
    }
}

static void put(const char *dir, const char *name, const char *text)
{
    char path[4096];
    wr_err err;
    cr_assert_eq(wr_path_join(path, sizeof path, dir, name), 0);
    cr_assert_eq(wr_file_replace(path, text, strlen(text), &err), WR_OK, "%s", err.text);
}

static void write_tensors(const char *dir, const list *l)
{
    char path[4096];
    wr_err err;
    wr_path_join(path, sizeof path, dir, "model.safetensors");
    cr_assert_eq(wr_safetensors_write(path, l->tensor, l->n, &err), WR_OK, "%s", err.text);
}

static wr_tensors *open_tensors(const char *dir)
{
    wr_tensors *t;
    wr_err err;
    cr_assert_eq(wr_tensors_open(&t, dir, &err), WR_OK, "%s", err.text);
    return t;
}

/* An embedder with the encoder that seed 7 gives. */
static const char *embedder(bool prefixed)
{
    static list l;
    l.n = 0;
    wr_test_model(place("seeded"), false, 7);
    wr_test_model(place("embed"), false, 7);
    wr_tensors *tensors = open_tensors(place("seeded"));
    add_encoder(&l, tensors, prefixed);
    write_tensors(place("embed"), &l);
    wr_tensors_close(tensors);
    return place("embed");
}

/* A masked language model with the same, and a tied decoder. */
static const char *masked(bool prefixed)
{
    static const char config[] =
        "{\"model_type\":\"bert\",\"architectures\":[\"BertForMaskedLM\"],\"hidden_size\":32,\"num_hidden_layers\":2,"
        "\"num_attention_heads\":4,\"intermediate_size\":64,\"hidden_act\":\"gelu\",\"max_position_embeddings\":64,"
        "\"type_vocab_size\":2,\"vocab_size\":77,\"layer_norm_eps\":1e-12,\"pad_token_id\":0}";
    static list l;
    char path[4096];
    wr_err err;
    l.n = 0;
    wr_test_model(place("seeded"), false, 7);
    const char *dir = place("masked");
    wr_tensors *tensors = open_tensors(place("seeded"));
    add_encoder(&l, tensors, prefixed);
    add_head(&l);
    cr_assert_eq(wr_dir_make(dir, &err), WR_OK);
    write_tensors(dir, &l);
    wr_tensors_close(tensors);
    put(dir, "config.json", config);
    put(dir, "idf.json", "{\"a\": 2.5, \"##b\": 1.5, \"[CLS]\": 0}");
    char *vocab;
    size_t n;
    wr_path_join(path, sizeof path, place("seeded"), "vocab.txt");
    cr_assert_eq(wr_file_read(path, 1 << 16, &vocab, &n, &err), WR_OK);
    put(dir, "vocab.txt", vocab);
    free(vocab);
    return dir;
}

/* A few texts: what is asked here does not depend on how well they measure. */
static const char *texts(void)
{
    return wr_test_text("texts.txt", "the tides of the sea\nhow cheese is made\nbread and salt\nsnow on the roof\n"
                                     "a bridge of stone\nbees in the garden\nwhy leaves turn red\nold maps\n"
                                     "a wooden boat\nrain in may\nthe price of tea\nfish under ice\n");
}

static wr_status quantize(const char *from, const char *to, const char *like, double max_loss, wr_err *err)
{
    wr_quantize_args args = {.model = from,
                             .out = to,
                             .like = like,
                             .calibrate = texts(),
                             .max_loss = max_loss,
                             .progress = "none",
                             .threads = 1};
    return wr_model_quantize(&args, err);
}

static void quantized(const char *from, const char *to, const char *like, double max_loss)
{
    wr_err err;
    cr_assert_eq(quantize(from, to, like, max_loss, &err), WR_OK, "%s", err.text);
}

/* ---- what is the same ---- */

static bool same(const wr_tensor *a, const wr_tensor *b)
{
    return a->dtype == b->dtype && a->ndim == b->ndim && !memcmp(a->dim, b->dim, a->ndim * sizeof *a->dim) &&
           a->bytes == b->bytes && !memcmp(a->data, b->data, a->bytes);
}

static const char *plain(const char *name)
{
    return strncmp(name, PREFIX, strlen(PREFIX)) ? name : name + strlen(PREFIX);
}

/* Every tensor of the embedder is in the other, byte for byte, and but for the head nothing else is. */
static void encoders_are_the_same(const char *embed, const char *sparse)
{
    wr_tensors *a = open_tensors(embed), *b = open_tensors(sparse);
    size_t found = 0, bytes = 0, head = 0;
    for (size_t i = 0; i < wr_tensors_count(b); i++) {
        const wr_tensor *t = wr_tensors_at(b, i);
        head += !strncmp(t->name, "cls.", 4);
        for (size_t k = 0; k < wr_tensors_count(a); k++) {
            if (strcmp(plain(wr_tensors_at(a, k)->name), plain(t->name))) continue;
            cr_assert(same(wr_tensors_at(a, k), t), "%s", t->name);
            found++;
            bytes += t->dtype == WR_I8;
        }
    }
    cr_assert_eq(found, wr_tensors_count(a));
    cr_assert_eq(found + head, wr_tensors_count(b));
    cr_assert_eq(head, 5);
    cr_assert_gt(bytes, 0);
    wr_tensors_close(a);
    wr_tensors_close(b);
}

static size_t count_named(const char *dir, const char *ending)
{
    wr_tensors *t = open_tensors(dir);
    size_t n = 0;
    for (size_t i = 0; i < wr_tensors_count(t); i++) n += strstr(wr_tensors_at(t, i)->name, ending) != NULL;
    wr_tensors_close(t);
    return n;
}

Test(quantize_like, the_encoder_has_the_others_bytes_whatever_the_prefixes)
{
    for (int i = 0; i < 4; i++) {
        const char *embed = place("embed-int8"), *sparse = place("sparse-int8");
        quantized(embedder(i & 1), embed, NULL, .5);
        quantized(masked(i & 2), sparse, embed, .9);
        encoders_are_the_same(embed, sparse);
        wr_dir_remove(embed, NULL);
        wr_dir_remove(sparse, NULL);
    }
}

/* Some parts as bytes, some as stored, some with an input scale: each as there. */
Test(quantize_like, mixed_decisions_are_taken_over_with_their_input_scales)
{
    const char *embed = place("embed-int8"), *sparse = place("sparse-int8");
    quantized(embedder(false), embed, NULL, .01);
    quantized(masked(true), sparse, embed, .9);
    encoders_are_the_same(embed, sparse);
    size_t scaled = count_named(embed, ".input_scale"), bytes = count_named(embed, ".weight_scale");
    cr_assert(scaled > 0 && bytes > scaled && bytes < 13, "%zu %zu", scaled, bytes);
    cr_assert_eq(count_named(sparse, ".input_scale"), scaled);
    cr_assert_eq(count_named(sparse, ".weight_scale"), bytes);
}

/* Decided by itself the masked model comes out differently: the test above is not met by chance. */
Test(quantize_like, a_models_own_decisions_are_others)
{
    const char *embed = place("embed-int8"), *sparse = place("sparse-int8");
    quantized(embedder(true), embed, NULL, .01);
    quantized(masked(true), sparse, NULL, .01);
    wr_tensors *a = open_tensors(embed), *b = open_tensors(sparse);
    size_t others = 0;
    for (size_t i = 0; i < wr_tensors_count(a); i++) {
        const wr_tensor *t = wr_tensors_find(b, wr_tensors_at(a, i)->name);
        others += !t || !same(wr_tensors_at(a, i), t);
    }
    cr_assert_gt(others, 0);
    wr_tensors_close(a);
    wr_tensors_close(b);
}

/* ---- the certificate ---- */

static void sha256_of(const char *dir, char hex[65])
{
    wr_model *model;
    wr_err err;
    cr_assert_eq(wr_model_open(&model, dir, NULL, &err), WR_OK, "%s", err.text);
    snprintf(hex, 65, "%s", wr_model_info_get(model)->sha256);
    wr_model_close(model);
}

Test(quantize_like, the_certificate_says_whose_decisions_they_are_and_is_reproduced)
{
    const char *embed = place("embed-int8"), *sparse = place("sparse-int8");
    wr_quantize_args args = {.model = sparse, .threads = 1};
    wr_certificate c;
    wr_err err;
    char hex[65];
    int exit_status = 0;
    quantized(embedder(false), embed, NULL, .01);
    quantized(masked(true), sparse, embed, .9);
    cr_assert_eq(wr_model_verify(&args, &exit_status, &err), WR_OK, "%s", err.text);
    cr_assert_eq(exit_status, 0);
    cr_assert_eq(wr_certificate_read(&c, sparse, &err), WR_OK, "%s", err.text);
    cr_assert_eq(c.kind, WR_MODEL_SPARSE);
    const json_t *from = json_object_get(c.json, "decisions_from"), *parts = json_object_get(c.json, "parts");
    sha256_of(embed, hex);
    cr_assert_str_eq(json_string_value(json_object_get(from, "name")), "embed-int8");
    cr_assert_str_eq(json_string_value(json_object_get(from, "sha256")), hex);
    cr_assert_gt(json_number_value(json_object_get(json_object_get(c.json, "calibration"), "loss")), 0);
    cr_assert_null(json_object_get(json_object_get(c.json, "calibration"), "loss_all_int8"));
    cr_assert_eq(json_array_size(parts), 11);
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        bool bytes = !strcmp(json_string_value(json_object_get(part, "precision")), "int8");
        cr_assert_null(json_object_get(part, "loss_alone"));
        cr_assert_eq(json_object_get(part, "why") == NULL, bytes);
    }
    wr_certificate_release(&c);
    cr_assert_eq(wr_certificate_read(&c, embed, &err), WR_OK, "%s", err.text);
    cr_assert_null(json_object_get(c.json, "decisions_from"));
    wr_certificate_release(&c);
}

/* ---- what is refused ---- */

static void refused(const char *from, const char *like, double max_loss, wr_status want, const char *sentence)
{
    wr_err err;
    wr_status st = quantize(from, place("refused"), like, max_loss, &err);
    cr_assert_eq(st, want, "%d, %s", st, st ? err.text : "");
    cr_assert_not_null(strstr(err.text, sentence), "%s", err.text);
    cr_assert_not(wr_path_exists(place("refused")));
}

Test(quantize_like, a_model_of_floats_or_of_other_sizes_is_refused)
{
    const char *sparse = masked(true), *floats = embedder(true);
    refused(sparse, floats, .9, WR_EARG, "no weights of bytes");
    wr_test_model_exits(place("short"), &(wr_test_exits){.layers = 1, .seed = 7});
    quantized(place("short"), place("short-int8"), NULL, .9);
    refused(sparse, place("short-int8"), .9, WR_EARG, "1 layers of 32 dimensions");
    quantized("./tests/golden/models/distilbert-cls", place("distil-int8"), NULL, .9);
    refused(sparse, place("distil-int8"), .9, WR_EARG, "is a distilbert, a bert");
    refused(sparse, place("nowhere"), .9, WR_ENOTFOUND, "nowhere");
    quantized(floats, place("embed-int8"), NULL, .9);
    refused(place("embed-int8"), place("embed-int8"), .9, WR_EARG, "weights of bytes");
}

Test(quantize_like, a_loss_above_the_limit_is_refused)
{
    const char *embed = place("embed-int8");
    quantized(embedder(true), embed, NULL, .9);
    refused(masked(true), embed, 1e-6, WR_EARG, "--max-loss 1e-06");
}

/* Calls change() on the tensors of the quantised embedder and takes its decisions. */
static void changed(void (*change)(list *l), wr_status want, const char *sentence)
{
    static list l;
    wr_quant quant;
    wr_probe calibration, held_out;
    wr_err err;
    const char *embed = place("embed-int8"), *bad = place("changed");
    l.n = 0;
    wr_tensors *tensors = open_tensors(embed);
    for (size_t i = 0; i < wr_tensors_count(tensors); i++)
        add(&l, wr_tensors_at(tensors, i), wr_tensors_at(tensors, i)->name);
    change(&l);
    cr_assert_eq(wr_model_dir_write(embed, bad, l.tensor, l.n, &err), WR_OK, "%s", err.text);
    wr_tensors_close(tensors);
    cr_assert_eq(wr_probe_read(&calibration, &held_out, WR_MODEL_SPARSE, texts(), &err), WR_OK);
    wr_status st = wr_quant_adopt(&quant, place("masked"), bad, &calibration, NULL, NULL, NULL, &err);
    cr_assert_eq(st, want, "%d, %s", st, st ? err.text : "");
    cr_assert_not_null(strstr(err.text, sentence), "%s", err.text);
    cr_assert(quant.n == 0 && !quant.part);
    wr_probe_release(&calibration);
    wr_probe_release(&held_out);
}

static wr_tensor *find(list *l, const char *name)
{
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(l->name[i], name)) return &l->tensor[i];
    cr_assert_fail("%s", name);
    return NULL;
}

#define QUERY "bert.encoder.layer.0.attention.self.query"
#define VALUE "bert.encoder.layer.1.attention.self.value"

/* An input scale of n numbers, replacing what is there. */
static void put_scale(list *l, const char *name, size_t n, float value)
{
    static float scale[2 * DIM];
    for (size_t i = 0; i < n; i++) scale[i] = value;
    size_t i = 0;
    while (i < l->n && strcmp(l->name[i], name)) i++;
    wr_tensor t = {.dtype = WR_F32, .ndim = 1, .dim = {n}, .data = scale, .bytes = n * sizeof *scale};
    if (i == l->n) {
        add(l, &t, name);
    } else {
        t.name = l->name[i];
        l->tensor[i] = t;
    }
}

static void lose_a_tensor(list *l)
{
    *find(l, QUERY ".weight") = l->tensor[--l->n];
}

static void scale_by_zero(list *l)
{
    put_scale(l, QUERY ".input_scale", DIM, 0);
}

static void shorten_a_scale(list *l)
{
    put_scale(l, QUERY ".input_scale", DIM - 1, 1);
}

static void scale_the_value_alone(list *l)
{
    put_scale(l, VALUE ".input_scale", DIM, 3);
}

static void widen_a_tensor(list *l)
{
    wr_tensor *t = find(l, QUERY ".weight");
    t->dim[0] *= 2, t->dim[1] /= 2;
}

Test(quantize_like, a_damaged_model_is_refused)
{
    static const struct {
        void (*change)(list *l);
        wr_status want;
        const char *sentence;
    } bad[] = {{lose_a_tensor, WR_EFORMAT, "tensor " QUERY ".weight is missing"},
               {scale_by_zero, WR_EFORMAT, QUERY ".input_scale: a number above 0"},
               {shorten_a_scale, WR_EFORMAT, "expected [32]"},
               {scale_the_value_alone, WR_EARG, "one input scale for both"},
               {widen_a_tensor, WR_EFORMAT, "expected [32, 32]"}};
    masked(true);
    quantized(embedder(true), place("embed-int8"), NULL, .9);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        changed(bad[i].change, bad[i].want, bad[i].sentence);
        wr_dir_remove(place("changed"), NULL);
    }
}

/* ---- the files of a sparse model ---- */

/* Whether all that `from` has is in `to` with the same bytes; not the encoder's weights and what tests added. */
static void files_are_there(const char *from, const char *to, bool inside)
{
    DIR *dir = opendir(from);
    cr_assert_not_null(dir, "%s", from);
    for (struct dirent *e; (e = readdir(dir));) {
        char a[4096], b[4096];
        wr_map x, y;
        wr_err err;
        if (*e->d_name == '.' || !strcmp(e->d_name, "expected.json")) continue;
        wr_path_join(a, sizeof a, from, e->d_name), wr_path_join(b, sizeof b, to, e->d_name);
        if (wr_path_is_dir(a)) {
            files_are_there(a, b, strncmp(e->d_name, "document_0", 10) != 0);
            continue;
        }
        cr_assert(wr_path_exists(b), "%s", b);
        if (!inside && !strcmp(e->d_name, "model.safetensors")) continue;
        cr_assert(!wr_map_open(&x, a, &err) && !wr_map_open(&y, b, &err), "%s", err.text);
        cr_assert(x.size == y.size && !memcmp(x.bytes, y.bytes, x.size), "%s", b);
        wr_map_close(&x), wr_map_close(&y);
    }
    closedir(dir);
}

static bool has_table(const char *dir)
{
    wr_model *model;
    wr_err err;
    cr_assert_eq(wr_model_open(&model, dir, NULL, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_model_info_get(model)->kind, WR_MODEL_SPARSE);
    bool has = wr_model_info_get(model)->has_idf;
    wr_model_close(model);
    return has;
}

Test(quantize_like, every_file_of_a_sparse_model_is_copied, .timeout = 120)
{
    static const char *const name[] = {"bert-sparse-idf", "distilbert-splade", "distilbert-sparse-router"};
    const char *to = place("int8");
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        char from[256];
        snprintf(from, sizeof from, "./tests/golden/models/%s", name[i]);
        quantized(from, to, NULL, .9);
        files_are_there(from, to, false);
        cr_assert_eq(has_table(to), has_table(from));
        wr_dir_remove(to, NULL);
    }
}

/* sentence-transformers' layout with every module in a folder of its own. */
static const char *routed(void)
{
    const char *from = masked(true), *dir = place("routed");
    static const char *const folder[] = {"document_0_MLMTransformer", "document_1_SpladePooling",
                                         "query_0_SparseStaticEmbedding"};
    char path[4096];
    list l = {0};
    float weight[VOCAB];
    wr_err err;
    cr_assert_eq(wr_dir_make(dir, &err), WR_OK);
    put(dir, "modules.json",
        "[{\"idx\":0,\"name\":\"0\",\"path\":\"\",\"type\":\"sentence_transformers.models.Router\"}]");
    put(dir, "router_config.json",
        "{\"types\":{\"query_0_SparseStaticEmbedding\":\"a.SparseStaticEmbedding\",\"document_0_MLMTransformer\":"
        "\"a.MLMTransformer\",\"document_1_SpladePooling\":\"a.SpladePooling\"},\"structure\":{\"query\":["
        "\"query_0_SparseStaticEmbedding\"],\"document\":[\"document_0_MLMTransformer\",\"document_1_SpladePooling\"]},"
        "\"parameters\":{}}");
    for (size_t i = 0; i < 3; i++) {
        wr_path_join(path, sizeof path, dir, folder[i]);
        cr_assert_eq(wr_dir_make(path, &err), WR_OK);
    }
    wr_path_join(path, sizeof path, dir, folder[1]);
    put(path, "config.json", "{\"pooling_strategy\":\"max\",\"activation_function\":\"log1p_relu\"}");
    wr_path_join(path, sizeof path, dir, folder[2]);
    put(path, "config.json", "{\"frozen\":false}");
    for (size_t i = 0; i < VOCAB; i++) weight[i] = (float)(i % 7);
    add(&l, &(wr_tensor){.dtype = WR_F32, .ndim = 1, .dim = {VOCAB}, .data = weight, .bytes = sizeof weight}, "weight");
    write_tensors(path, &l);
    wr_path_join(path, sizeof path, dir, folder[0]);
    static const char *const file[] = {"config.json", "vocab.txt", "model.safetensors"};
    for (size_t i = 0; i < 3; i++) {
        wr_map map;
        char source[4096], target[4096];
        wr_path_join(source, sizeof source, from, file[i]), wr_path_join(target, sizeof target, path, file[i]);
        cr_assert_eq(wr_map_open(&map, source, &err), WR_OK);
        cr_assert_eq(wr_file_replace(target, map.bytes, map.size, &err), WR_OK);
        wr_map_close(&map);
    }
    return dir;
}

Test(quantize_like, a_router_takes_decisions_over_and_keeps_its_folders)
{
    const char *embed = place("embed-int8"), *to = place("int8"), *from = routed();
    char base[4096];
    wr_quantize_args args = {.model = to, .threads = 1};
    wr_err err;
    int exit_status = 0;
    quantized(embedder(false), embed, NULL, .9);
    quantized(from, to, embed, .9);
    files_are_there(from, to, false);
    cr_assert(has_table(to));
    wr_path_join(base, sizeof base, to, "document_0_MLMTransformer");
    encoders_are_the_same(embed, base);
    cr_assert_eq(wr_model_verify(&args, &exit_status, &err), WR_OK, "%s", err.text);
    cr_assert_eq(exit_status, 0);
}
