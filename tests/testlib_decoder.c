#include "tests/testlib_decoder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/mapfile.h"
#include "models/kernels_causal.h"
#include "models/safetensors_write.h"
#include "tests/testlib.h"

static size_t or_else(size_t n, size_t otherwise)
{
    return n ? n : otherwise;
}

wr_test_decoder wr_test_decoder_full(const wr_test_decoder *wanted)
{
    wr_test_decoder d = *wanted;
    d.layers = or_else(d.layers, 2);
    d.dim = or_else(d.dim, 64);
    d.heads = or_else(d.heads, 4);
    d.kv_heads = or_else(d.kv_heads, 2);
    d.head_dim = or_else(d.head_dim, !strcmp(d.type, "qwen3") ? 32 : d.dim / d.heads);
    d.ffn = or_else(d.ffn, 128);
    d.vocab = or_else(d.vocab, 320);
    d.positions = or_else(d.positions, 4096);
    return d;
}

static void *take(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    if (!p) abort();
    return p;
}

/* ---- the formula ---- */

static uint64_t hash_name(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

static void fill(uint64_t seed, const char *name, size_t n, float scale, float shift, float *out)
{
    wr_test_random random = {seed ^ hash_name(name)};
    for (size_t i = 0; i < n; i++) {
        float u = (float)((int32_t)(wr_test_u64(&random) >> 40) - (1 << 23)) * 0x1p-23f;
        out[i] = shift + u * scale;
    }
}

void wr_test_decoder_ids(const wr_test_decoder *wanted, uint32_t *id, size_t n)
{
    wr_test_random random = {wanted->seed ^ hash_name("ids")};
    for (size_t i = 0; i < n; i++) id[i] = (uint32_t)wr_test_below(&random, 256 + WR_TEST_MERGES);
}

/* ---- rounding to a format ---- */

static void put_half(uint16_t h, uint8_t *out)
{
    out[0] = (uint8_t)h;
    out[1] = (uint8_t)(h >> 8);
}

static uint16_t bf16_from(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* 32 numbers as a block of Q8_0 or Q4_0, in any way that is good enough for a test. */
static void put_block(wr_block_type type, const float *x, uint8_t *out)
{
    float most = 0, d;
    uint16_t h;
    for (size_t i = 0; i < 32; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    d = most / (type == WR_BLOCK_Q8_0 ? 127 : 7);
    wr_halves_from(&d, 1, &h);
    put_half(h, out);
    for (size_t i = 0; i < 32; i++) {
        int q = d > 0 ? (int)lrintf(x[i] / d) : 0;
        if (type == WR_BLOCK_Q8_0)
            out[2 + i] = (uint8_t)(int8_t)(q > 127 ? 127 : q < -127 ? -127 : q);
        else if (i < 16)
            out[2 + i] = (uint8_t)(q + 8);
        else
            out[2 + i - 16] |= (uint8_t)((q + 8) << 4);
    }
}

/* A super-block with any bits, but scales that keep the weights as large as they are. */
static void put_super_block(wr_block_type type, const float *x, uint8_t *out)
{
    size_t bytes = wr_block_bytes(type);
    uint64_t seed;
    uint16_t h;
    memcpy(&seed, x, sizeof seed);
    wr_test_random random = {seed};
    for (size_t i = 0; i < bytes; i++) out[i] = (uint8_t)wr_test_u64(&random);
    float d = type == WR_BLOCK_Q6_K ? 0x1p-15f : 0x1p-13f, min = type == WR_BLOCK_Q5_K ? 0x1p-9f : 0x1p-10f;
    wr_halves_from(&d, 1, &h);
    put_half(h, out + (type == WR_BLOCK_Q6_K ? 208 : 0));
    wr_halves_from(&min, 1, &h);
    if (type != WR_BLOCK_Q6_K) put_half(h, out + 2);
}

static void *rounded(wr_block_type type, const float *x, size_t rows, size_t cols, size_t *bytes)
{
    if (!wr_blocks_bytes(type, rows, cols, bytes)) abort();
    uint8_t *out = take(*bytes);
    size_t n = rows * cols, values = wr_block_values(type);
    for (size_t i = 0; i < n; i += values) {
        uint8_t *at = out + i / values * wr_block_bytes(type);
        uint16_t h = 0;
        if (type == WR_BLOCK_F32) memcpy(at, x + i, sizeof *x);
        if (type == WR_BLOCK_F16) wr_halves_from(x + i, 1, &h);
        if (type == WR_BLOCK_BF16) h = bf16_from(x[i]);
        if (values == 1 && type != WR_BLOCK_F32) put_half(h, at);
        if (values == 32) put_block(type, x + i, at);
        if (values == 256) put_super_block(type, x + i, at);
    }
    return out;
}

static float *widen(wr_block_type type, const void *data, size_t rows, size_t cols)
{
    wr_blocks w = {type, data, rows, cols};
    float *out = take(rows * cols * sizeof *out);
    for (size_t r = 0; r < rows; r++) wr_blocks_row(&w, r, out + r * cols);
    return out;
}

/* ---- tensors ---- */

typedef struct list {
    const wr_test_decoder *d;
    bool gguf;
    wr_test_tensor *tensor;
    size_t n;
} list;

/* rows 0: a vector. */
static void add(list *l, const char *name, size_t rows, size_t cols, float scale, float shift)
{
    const wr_test_decoder *d = l->d;
    size_t n = (rows ? rows : 1) * cols;
    wr_block_type type = rows || !l->gguf ? d->format : WR_BLOCK_F32;
    float *x = take(n * sizeof *x);
    l->tensor = realloc(l->tensor, (l->n + 1) * sizeof *l->tensor);
    if (!l->tensor) abort();
    wr_test_tensor *t = &l->tensor[l->n++];
    *t = (wr_test_tensor){.type = type, .rows = rows, .cols = cols};
    snprintf(t->name, sizeof t->name, "%s", name);
    fill(d->seed, name, n, scale, shift, x);
    t->data = rounded(type, x, rows ? rows : 1, cols, &t->bytes);
    if (d->widened) {
        float *wide = widen(type, t->data, rows ? rows : 1, cols);
        free(t->data);
        t->data = wide;
        t->type = WR_BLOCK_F32;
        t->bytes = n * sizeof *wide;
    }
    free(x);
}

static void matrix(list *l, const char *prefix, const char *name, size_t rows, size_t cols, float gain)
{
    char full[96];
    snprintf(full, sizeof full, "%s%s.weight", prefix, name);
    add(l, full, rows, cols, gain * exp2f(roundf(log2f(sqrtf(3 / (float)cols)))), 0);
}

static void vector(list *l, const char *prefix, const char *name, size_t n, float shift)
{
    char full[96];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    add(l, full, 0, n, .25f, shift);
}

static void layer(list *l, size_t i)
{
    const wr_test_decoder *d = l->d;
    bool qwen2 = !strcmp(d->type, "qwen2"), qwen3 = !strcmp(d->type, "qwen3");
    size_t q = d->heads * d->head_dim, kv = d->kv_heads * d->head_dim;
    char at[64];
    snprintf(at, sizeof at, "model.layers.%zu.", i);
    vector(l, at, "input_layernorm.weight", d->dim, 1);
    matrix(l, at, "self_attn.q_proj", q, d->dim, 2);
    matrix(l, at, "self_attn.k_proj", kv, d->dim, 2);
    matrix(l, at, "self_attn.v_proj", kv, d->dim, 1);
    matrix(l, at, "self_attn.o_proj", d->dim, q, 1);
    if (qwen2 || d->attention_bias) {
        vector(l, at, "self_attn.q_proj.bias", q, 0);
        vector(l, at, "self_attn.k_proj.bias", kv, 0);
        vector(l, at, "self_attn.v_proj.bias", kv, 0);
        if (!qwen2) vector(l, at, "self_attn.o_proj.bias", d->dim, 0);
    }
    if (qwen3) {
        vector(l, at, "self_attn.q_norm.weight", d->head_dim, 1);
        vector(l, at, "self_attn.k_norm.weight", d->head_dim, 1);
    }
    vector(l, at, "post_attention_layernorm.weight", d->dim, 1);
    matrix(l, at, "mlp.gate_proj", d->ffn, d->dim, 1);
    matrix(l, at, "mlp.up_proj", d->ffn, d->dim, 1);
    matrix(l, at, "mlp.down_proj", d->dim, d->ffn, 1);
}

size_t wr_test_decoder_tensors(const wr_test_decoder *full, bool gguf, wr_test_tensor **out)
{
    list l = {.d = full, .gguf = gguf};
    add(&l, "model.embed_tokens.weight", full->vocab, full->dim, 1, 0);
    for (size_t i = 0; i < full->layers; i++) layer(&l, i);
    vector(&l, "model.", "norm.weight", full->dim, 1);
    if (!full->tied) matrix(&l, "", "lm_head", full->vocab, full->dim, 2);
    *out = l.tensor;
    return l.n;
}

void wr_test_tensors_release(wr_test_tensor *tensor, size_t n)
{
    for (size_t i = 0; i < n; i++) free(tensor[i].data);
    free(tensor);
}

bool wr_test_decoder_tensor(const wr_test_decoder *wanted, const char *name, float **values, size_t *rows, size_t *cols)
{
    wr_test_decoder full = wr_test_decoder_full(wanted);
    wr_test_tensor *tensor;
    bool found = false, gguf = full.gguf || wr_block_is_quantized(full.format);
    size_t n = wr_test_decoder_tensors(&full, gguf, &tensor);
    for (size_t i = 0; i < n && !found; i++) {
        if (strcmp(tensor[i].name, name)) continue;
        *rows = tensor[i].rows ? tensor[i].rows : 1;
        *cols = tensor[i].cols;
        *values = widen(tensor[i].type, tensor[i].data, *rows, *cols);
        found = true;
    }
    wr_test_tensors_release(tensor, n);
    return found;
}

/* ---- a directory ---- */

static void put(const char *dir, const char *name, const char *text)
{
    char path[1024];
    wr_err err;
    if (wr_path_join(path, sizeof path, dir, name) || wr_file_replace(path, text, strlen(text), &err)) abort();
}

static const char *architecture(const char *type)
{
    if (!strcmp(type, "llama")) return "LlamaForCausalLM";
    if (!strcmp(type, "mistral")) return "MistralForCausalLM";
    return !strcmp(type, "qwen2") ? "Qwen2ForCausalLM" : "Qwen3ForCausalLM";
}

static void put_config(const char *dir, const wr_test_decoder *d)
{
    char text[4096], window[64] = "null";
    if (d->config) {
        put(dir, "config.json", d->config);
        return;
    }
    if (d->window) snprintf(window, sizeof window, "%zu", d->window);
    snprintf(text, sizeof text,
             "{\"model_type\":\"%s\",\"architectures\":[\"%s\"],\"hidden_size\":%zu,\"intermediate_size\":%zu,"
             "\"num_hidden_layers\":%zu,\"num_attention_heads\":%zu,\"num_key_value_heads\":%zu,\"head_dim\":%zu,"
             "\"hidden_act\":\"silu\",\"rms_norm_eps\":1e-06,\"rope_theta\":10000.0,\"max_position_embeddings\":%zu,"
             "\"vocab_size\":%zu,\"tie_word_embeddings\":%s,\"attention_bias\":%s,\"sliding_window\":%s,"
             "\"use_sliding_window\":%s%s}\n",
             d->type, architecture(d->type), d->dim, d->ffn, d->layers, d->heads, d->kv_heads, d->head_dim, d->positions,
             d->vocab, d->tied ? "true" : "false", d->attention_bias ? "true" : "false", window,
             d->window && !strcmp(d->type, "qwen2") ? "true" : "false", d->more ? d->more : "");
    put(dir, "config.json", text);
}

static wr_dtype dtype_of(wr_block_type type)
{
    return type == WR_BLOCK_F32 ? WR_F32 : type == WR_BLOCK_F16 ? WR_F16 : WR_BF16;
}

void wr_test_decoder_write(const char *dir, const wr_test_decoder *wanted)
{
    wr_test_decoder full = wr_test_decoder_full(wanted);
    char path[1024];
    wr_err err;
    if (wr_dir_make(dir, &err) || wr_path_join(path, sizeof path, dir, "model.safetensors")) abort();
    put_config(dir, &full);
    wr_test_decoder_write_tokenizer(dir, &full);
    wr_test_tensor *tensor;
    size_t n = wr_test_decoder_tensors(&full, full.widened && wr_block_is_quantized(full.format), &tensor);
    wr_tensor *all = take(n * sizeof *all);
    for (size_t i = 0; i < n; i++) {
        const wr_test_tensor *t = &tensor[i];
        all[i] = (wr_tensor){.name = t->name,
                             .dtype = dtype_of(t->type),
                             .ndim = t->rows ? 2 : 1,
                             .dim = {t->rows ? t->rows : t->cols, t->cols},
                             .data = t->data,
                             .bytes = t->bytes};
    }
    if (wr_safetensors_write(path, all, n, &err)) abort();
    free(all);
    wr_test_tensors_release(tensor, n);
}
