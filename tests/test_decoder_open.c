/* Decoders that open, in one file or several, and those that are refused: one sentence that names what is wrong. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/mapfile.h"
#include "models/decoder.h"
#include "models/gguf.h"
#include "models/safetensors_write.h"
#include "tests/testlib.h"
#include "tests/testlib_decoder.h"

static const wr_decoder_options weights_only = {.weights_only = true};

static void put(const char *dir, const char *name, const void *bytes, size_t n)
{
    char path[1024];
    wr_err err;
    cr_assert_eq(wr_path_join(path, sizeof path, dir, name), WR_OK);
    cr_assert_eq(wr_file_replace(path, bytes, n, &err), WR_OK, "%s", err.text);
}

static char *get(const char *dir, const char *name, size_t *n)
{
    char path[1024], *bytes;
    wr_err err;
    cr_assert_eq(wr_path_join(path, sizeof path, dir, name), WR_OK);
    cr_assert_eq(wr_file_read(path, 1 << 24, &bytes, n, &err), WR_OK, "%s", err.text);
    return bytes;
}

static void refuses(const char *path, wr_status code, const char *word, const char *what)
{
    wr_decoder *d = (wr_decoder *)1;
    wr_err err = {0};
    wr_status st = wr_decoder_open(&d, path, &weights_only, &err);
    cr_assert_eq(st, code, "%s: %s, \"%s\"", what, wr_status_name(st), st ? err.text : "");
    cr_assert_null(d);
    cr_assert(strstr(err.text, word), "%s: \"%s\" without \"%s\"", what, err.text, word);
    cr_assert_null(strchr(err.text, '\n'));
}

/* config.json with `from` replaced. */
static void change(const char *dir, const char *config, const char *from, const char *to)
{
    char text[8192];
    const char *at = strstr(config, from);
    cr_assert(at, "no %s in config.json", from);
    int n = snprintf(text, sizeof text, "%.*s%s%s", (int)(at - config), config, to, at + strlen(from));
    put(dir, "config.json", text, (size_t)n);
}

Test(decoder_open, configurations_are_refused_by_name)
{
    static const struct {
        const char *from, *to;
        wr_status code;
        const char *word;
    } bad[] = {
        {"\"llama\"", "\"gemma\"", WR_EUNSUPPORTED, "model_type \"gemma\""},
        {"\"silu\"", "\"gelu\"", WR_EUNSUPPORTED, "hidden_act \"gelu\""},
        {"\"hidden_size\":64", "\"hidden_size\":0", WR_EFORMAT, "hidden_size"},
        {"\"hidden_size\":64", "\"hidden_size\":99999999999", WR_EFORMAT, "hidden_size"},
        {"\"hidden_size\":64", "\"hidden_size\":-1", WR_EFORMAT, "hidden_size"},
        {"\"hidden_size\":64", "\"hidden_size\":\"64\"", WR_EFORMAT, "hidden_size"},
        {"\"hidden_size\":64,", "", WR_EFORMAT, "no hidden_size"},
        {"\"hidden_size\":64", "\"hidden_size\":32", WR_EFORMAT, "expected [320, 32]"},
        {"\"num_attention_heads\":4", "\"num_attention_heads\":0", WR_EFORMAT, "num_attention_heads"},
        {"\"num_attention_heads\":4", "\"num_attention_heads\":3", WR_EFORMAT, "3 heads"},
        {"\"num_attention_heads\":4", "\"num_attention_heads\":65536", WR_EFORMAT, "65536 heads"},
        {"\"num_hidden_layers\":2", "\"num_hidden_layers\":3", WR_EFORMAT, "no tensor model.layers.2."},
        {"\"num_hidden_layers\":2", "\"num_hidden_layers\":1", WR_EUNSUPPORTED, "no place"},
        {"\"num_hidden_layers\":2", "\"num_hidden_layers\":100000", WR_EFORMAT, "num_hidden_layers"},
        {"\"head_dim\":16", "\"head_dim\":15", WR_EFORMAT, "even"},
        {"\"vocab_size\":320", "\"vocab_size\":321", WR_EFORMAT, "expected [321, 64]"},
        {"\"intermediate_size\":128", "\"intermediate_size\":64", WR_EFORMAT, "gate_proj"},
        {"\"tie_word_embeddings\":false", "\"tie_word_embeddings\":1", WR_EFORMAT, "true or false"},
        {"\"attention_bias\":false", "\"attention_bias\":true", WR_EFORMAT, "q_proj.bias"},
        {"\"rms_norm_eps\":1e-06", "\"rms_norm_eps\":0", WR_EFORMAT, "rms_norm_eps"},
        {"\"rope_theta\":10000.0", "\"rope_theta\":-1", WR_EFORMAT, "rope_theta"},
        {"\"rope_theta\":10000.0", "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0}", WR_EUNSUPPORTED, "\"yarn\""},
        {"\"rope_theta\":10000.0", "\"rope_scaling\":{\"type\":\"linear\"}", WR_EFORMAT, "no factor"},
        {"\"rope_theta\":10000.0", "\"rope_scaling\":7", WR_EFORMAT, "expected an object"},
        {"\"rope_theta\":10000.0", "\"partial_rotary_factor\":0.5", WR_EUNSUPPORTED, "partial_rotary_factor"},
        {"\"rope_theta\":10000.0", "\"quantization_config\":{\"quant_method\":\"gptq\"}", WR_EUNSUPPORTED, "gptq"},
        {"{", "[{", WR_EFORMAT, "config.json"},
    };
    const char *dir = wr_test_path("model");
    wr_test_decoder d = {.type = "llama", .seed = 1};
    size_t n;
    wr_test_decoder_write(dir, &d);
    char *config = get(dir, "config.json", &n);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        change(dir, config, bad[i].from, bad[i].to);
        refuses(dir, bad[i].code, bad[i].word, bad[i].to);
    }
    free(config);
}

Test(decoder_open, truncated_files_are_refused)
{
    const char *dir = wr_test_path("model"), *path = wr_test_path("model.gguf");
    wr_test_decoder d = {.type = "qwen2", .seed = 2, .format = WR_BLOCK_Q8_0};
    wr_test_decoder_write_gguf(path, &d);
    d.format = WR_BLOCK_F16;
    wr_test_decoder_write(dir, &d);
    size_t n;
    char *bytes = get(dir, "model.safetensors", &n);
    for (size_t cut = 0; cut < n; cut = cut * 3 / 2 + 1) {
        wr_decoder *opened;
        wr_err err;
        put(dir, "model.safetensors", bytes, cut);
        wr_status st = wr_decoder_open(&opened, dir, &weights_only, &err);
        cr_assert(st == WR_EFORMAT, "%zu of %zu bytes: %s", cut, n, wr_status_name(st));
    }
    free(bytes);
    bytes = get(wr_test_dir(), "model.gguf", &n);
    for (size_t cut = 0; cut + 32 < n; cut = cut * 3 / 2 + 1) {
        put(wr_test_dir(), "cut.gguf", bytes, cut);
        refuses(wr_test_path("cut.gguf"), WR_EFORMAT, "", "cut");
    }
    free(bytes);
}

static void logits_of(const char *path, float *out)
{
    wr_decoder *d;
    wr_kv *kv;
    wr_arena arena;
    wr_err err;
    uint32_t id[] = {5, 40, 7, 300, 5};
    wr_logits logits = {.out = out};
    cr_assert_eq(wr_decoder_open(&d, path, &weights_only, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_kv_open(&kv, d, 5, &err), WR_OK);
    cr_assert_eq(wr_arena_init(&arena, wr_decoder_arena_bytes(d, 5, 1)), WR_OK);
    cr_assert_eq(wr_decoder_run(d, kv, id, 5, &logits, NULL, &arena, NULL), WR_OK);
    wr_arena_release(&arena);
    wr_kv_close(kv);
    wr_decoder_close(d);
}

/* Every other tensor into a second file. */
static void split(const char *dir)
{
    char index[16384], path[2][1024];
    wr_tensors *all;
    wr_err err;
    size_t n = 0, count[2] = {0};
    wr_tensor part[2][64];
    cr_assert_eq(wr_tensors_open(&all, dir, &err), WR_OK);
    n += (size_t)snprintf(index, sizeof index, "{\"weight_map\":{");
    for (size_t i = 0; i < wr_tensors_count(all); i++) {
        const wr_tensor *t = wr_tensors_at(all, i);
        part[i % 2][count[i % 2]++] = *t;
        n += (size_t)snprintf(index + n, sizeof index - n, "%s\"%s\":\"model-%zu.safetensors\"", i ? "," : "", t->name,
                              i % 2);
    }
    n += (size_t)snprintf(index + n, sizeof index - n, "}}");
    for (size_t i = 0; i < 2; i++) {
        snprintf(path[i], sizeof path[i], "%s/model-%zu.safetensors", dir, i);
        cr_assert_eq(wr_safetensors_write(path[i], part[i], count[i], &err), WR_OK, "%s", err.text);
    }
    wr_tensors_close(all);
    put(dir, "model.safetensors.index.json", index, n);
    snprintf(path[0], sizeof path[0], "%s/model.safetensors", dir);
    cr_assert_eq(unlink(path[0]), 0);
}

Test(decoder_open, shards_are_one_model)
{
    const char *dir = wr_test_path("model");
    wr_test_decoder d = {.type = "qwen3", .seed = 3, .format = WR_BLOCK_BF16};
    float one[320], two[320];
    wr_test_decoder_write(dir, &d);
    logits_of(dir, one);
    split(dir);
    logits_of(dir, two);
    cr_assert_eq(memcmp(one, two, sizeof one), 0);
}

Test(decoder_open, info_and_hash_say_what_it_is)
{
    const char *dir = wr_test_path("model"), *path = wr_test_path("m.gguf");
    wr_test_decoder d = {.type = "mistral", .seed = 4, .format = WR_BLOCK_BF16, .window = 64};
    wr_decoder *a, *b;
    wr_err err;
    wr_test_decoder_write(dir, &d);
    cr_assert(wr_decoder_is(dir));
    cr_assert_not(wr_decoder_is(wr_test_dir()));
    cr_assert_eq(wr_decoder_open(&a, dir, &weights_only, &err), WR_OK, "%s", err.text);
    const wr_decoder_info *info = wr_decoder_info_get(a);
    cr_assert_str_eq(info->model_type, "mistral");
    cr_assert_str_eq(info->architecture, "MistralForCausalLM");
    cr_assert_str_eq(info->format, "BF16");
    cr_assert_str_eq(info->name, "model");
    cr_assert(info->layers == 2 && info->dim == 64 && info->heads == 4 && info->kv_heads == 2 && info->head_dim == 16);
    cr_assert(info->ffn == 128 && info->vocab == 320 && info->positions == 4096 && info->window == 64 && !info->tied);
    size_t layer = 2 * 64 + 2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 128;
    cr_assert_eq(info->parameters, 2 * 320 * 64 + 64 + 2 * layer);
    cr_assert_gt(info->file_bytes, 2 * info->parameters);
    d.seed = 5;
    wr_test_decoder_write_gguf(path, &d);
    cr_assert(wr_decoder_is(path));
    cr_assert_eq(wr_decoder_open(&b, path, &weights_only, &err), WR_OK, "%s", err.text);
    cr_assert_str_neq(info->sha256, wr_decoder_info_get(b)->sha256);
    cr_assert_str_eq(wr_decoder_info_get(b)->model_type, "llama");
    wr_decoder_close(a);
    wr_decoder_close(b);
    refuses("/nowhere/at-all", WR_ENOTFOUND, "no such model", "nowhere");
    cr_assert_eq(wr_decoder_open(&a, dir, &(wr_decoder_options){.precision = "int8"}, &err), WR_EUNSUPPORTED);
    cr_assert_eq(wr_decoder_open(&a, dir, &(wr_decoder_options){.max_tokens = 5000}, &err), WR_EARG);
    wr_decoder_close(NULL);
    wr_kv_close(NULL);
}

Test(decoder_open, factors_of_positions_are_checked)
{
    const char *path = wr_test_path("m.gguf");
    float factors[16] = {1, 1, 1, 2, 4, 8, 8, 8};
    wr_test_decoder d = {.type = "llama", .seed = 6, .factors = factors};
    wr_decoder *opened;
    wr_err err;
    wr_test_decoder_write_gguf(path, &d);
    cr_assert_eq(wr_decoder_open(&opened, path, &weights_only, &err), WR_OK, "%s", err.text);
    cr_assert_str_eq(wr_decoder_info_get(opened)->rope_scaling, "factors");
    cr_assert_eq(wr_decoder_info_get(opened)->tensors, 22);
    wr_decoder_close(opened);
    static const float bad[] = {0, -1, NAN, INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        factors[3] = bad[i];
        wr_test_decoder_write_gguf(path, &d);
        refuses(path, WR_EFORMAT, "rope_freqs.weight: a factor", "a factor");
    }
}

/* ---- the hash of what is too large to be read ---- */

enum { STEP = 1 << 20, SAMPLES = 256 };

/* A GGUF file that is more than WR_DECODER_HASH_WHOLE long: one matrix is, and is a hole. */
static const char *large_file(size_t *n, size_t *data_at)
{
    const char *path = wr_test_path("large.gguf");
    wr_test_decoder d = {.type = "llama", .seed = 8, .format = WR_BLOCK_Q8_0, .tied = true};
    wr_gguf *g;
    wr_err err;
    wr_test_decoder_write_gguf(path, &d);
    cr_assert_eq(wr_gguf_open(&g, path, &err), WR_OK, "%s", err.text);
    wr_gguf_bytes(g, n, data_at);
    wr_gguf_close(g);
    *n = WR_DECODER_HASH_WHOLE + 7 * STEP + 5;
    cr_assert_eq(truncate(path, (off_t)*n), 0);
    return path;
}

static void hash_of(const char *path, bool sampled, char *sha256)
{
    wr_decoder *d;
    wr_err err;
    cr_assert_eq(wr_decoder_open(&d, path, &weights_only, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_decoder_info_get(d)->sampled, sampled);
    memcpy(sha256, wr_decoder_info_get(d)->sha256, WR_SHA256_HEX);
    wr_decoder_close(d);
}

/* Changes one byte, hashes, and changes it back. */
static void hash_with(const char *path, size_t at, char *sha256)
{
    int fd = open(path, O_RDWR);
    char was, other;
    cr_assert(fd >= 0 && pread(fd, &was, 1, (off_t)at) == 1);
    other = (char)(was ^ 1);
    cr_assert(pwrite(fd, &other, 1, (off_t)at) == 1);
    hash_of(path, true, sha256);
    cr_assert(pwrite(fd, &was, 1, (off_t)at) == 1 && close(fd) == 0);
}

/* What the header promises, computed from the file by reading it. */
static void plain_hash(const char *path, size_t n, size_t data_at, char *sha256)
{
    static char bytes[STEP];
    char head[64];
    FILE *f = fopen(path, "rb");
    wr_sha256 *hash = wr_sha256_new();
    wr_sha256_add(hash, head, (size_t)snprintf(head, sizeof head, "gguf %zu\n", n));
    cr_assert(f && data_at < STEP && fread(bytes, 1, data_at, f) == data_at);
    wr_sha256_add(hash, bytes, data_at);
    for (size_t i = 0; i < SAMPLES; i++) {
        size_t at = data_at + (n - data_at - STEP) / (SAMPLES - 1) * i;
        if (i + 1 == SAMPLES) at = n - STEP;
        cr_assert(!fseeko(f, (off_t)at, SEEK_SET) && fread(bytes, 1, STEP, f) == STEP);
        wr_sha256_add(hash, bytes, STEP);
    }
    wr_sha256_finish(hash, sha256);
    fclose(f);
}

Test(decoder_open, large_files_are_hashed_by_samples)
{
    size_t n, data_at;
    const char *path = large_file(&n, &data_at);
    char sha256[WR_SHA256_HEX], other[WR_SHA256_HEX];
    hash_of(path, true, sha256);
    plain_hash(path, n, data_at, other);
    cr_assert_str_eq(sha256, other);
    size_t stride = (n - data_at - STEP) / (SAMPLES - 1);
    size_t seen[] = {data_at, data_at + STEP - 1, data_at + 100 * stride, data_at + 254 * stride + 9, n - STEP, n - 1};
    for (size_t i = 0; i < sizeof seen / sizeof *seen; i++) {
        hash_with(path, seen[i], other);
        cr_assert_str_neq(sha256, other, "byte %zu", seen[i]);
    }
    hash_with(path, data_at + STEP + 1, other); /* between two samples: not seen, as the header says */
    cr_assert_str_eq(sha256, other);
    cr_assert_eq(truncate(path, (off_t)n - 1), 0);
    hash_of(path, true, other);
    cr_assert_str_neq(sha256, other, "the length");
}

Test(decoder_open, files_up_to_the_limit_are_hashed_whole)
{
    size_t n, data_at;
    const char *path = large_file(&n, &data_at);
    char sha256[WR_SHA256_HEX];
    cr_assert_eq(truncate(path, (off_t)WR_DECODER_HASH_WHOLE), 0);
    hash_of(path, false, sha256);
}
