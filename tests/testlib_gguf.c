/* The same tiny decoders as a GGUF file (models/gguf.h has the layout). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testlib_decoder.h"

enum { U32 = 4, I32 = 5, F32 = 6, STRING = 8, ARRAY = 9, ALIGN = 32 };

static void u32(FILE *f, uint32_t v)
{
    for (int i = 0; i < 4; i++) putc((int)(v >> 8 * i & 255), f);
}

static void u64(FILE *f, uint64_t v)
{
    for (int i = 0; i < 8; i++) putc((int)(v >> 8 * i & 255), f);
}

static void text(FILE *f, const char *s)
{
    u64(f, strlen(s));
    fputs(s, f);
}

static void key(FILE *f, const char *arch, const char *name, uint32_t type)
{
    char full[96];
    snprintf(full, sizeof full, "%s%s%s", arch, *arch ? "." : "", name);
    text(f, full);
    u32(f, type);
}

static void key_text(FILE *f, const char *name, const char *value)
{
    key(f, "", name, STRING);
    text(f, value);
}

static void key_u32(FILE *f, const char *arch, const char *name, size_t value)
{
    key(f, arch, name, U32);
    u32(f, (uint32_t)value);
}

static void key_f32(FILE *f, const char *arch, const char *name, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    key(f, arch, name, F32);
    u32(f, bits);
}

static size_t put_sizes(FILE *f, const wr_test_decoder *d, const char *arch)
{
    key_u32(f, arch, "block_count", d->layers);
    key_u32(f, arch, "context_length", d->positions);
    key_u32(f, arch, "embedding_length", d->dim);
    key_u32(f, arch, "feed_forward_length", d->ffn);
    key_u32(f, arch, "attention.head_count", d->heads);
    key_u32(f, arch, "attention.head_count_kv", d->kv_heads);
    key_u32(f, arch, "attention.key_length", d->head_dim);
    key_u32(f, arch, "attention.value_length", d->head_dim);
    key_u32(f, arch, "rope.dimension_count", d->head_dim);
    key_f32(f, arch, "rope.freq_base", 10000);
    key_f32(f, arch, "attention.layer_norm_rms_epsilon", 1e-6f);
    if (d->window) key_u32(f, arch, "attention.sliding_window", d->window);
    return d->window ? 12 : 11;
}

size_t wr_test_decoder_put_tokenizer(FILE *f, const wr_test_decoder *d, const char *arch)
{
    char token[64];
    key_text(f, "tokenizer.ggml.model", "gpt2");
    key_text(f, "tokenizer.ggml.pre", !strcmp(arch, "llama") ? "gpt-2" : "qwen2");
    key(f, "", "tokenizer.ggml.tokens", ARRAY);
    u32(f, STRING);
    u64(f, d->vocab);
    for (size_t id = 0; id < d->vocab; id++) {
        wr_test_decoder_token(id, token);
        text(f, token);
    }
    key(f, "", "tokenizer.ggml.token_type", ARRAY);
    u32(f, I32);
    u64(f, d->vocab);
    for (size_t id = 0; id < d->vocab; id++) /* normal, control, unused */
        u32(f, id < 256 + WR_TEST_MERGES ? 1 : wr_test_decoder_is_special(id) ? 3 : 5);
    key(f, "", "tokenizer.ggml.merges", ARRAY);
    u32(f, STRING);
    u64(f, WR_TEST_MERGES);
    for (size_t i = 0; i < WR_TEST_MERGES; i++) text(f, wr_test_decoder_merge(i));
    key_u32(f, "", "tokenizer.ggml.bos_token_id", 256 + WR_TEST_MERGES);
    key_u32(f, "", "tokenizer.ggml.eos_token_id", 256 + WR_TEST_MERGES + 4);
    key_text(f, "tokenizer.chat_template", wr_test_chatml);
    return 8;
}

/* model.layers.3.mlp.up_proj.weight -> blk.3.ffn_up.weight */
static void rename_tensor(const char *from, char *to, size_t cap)
{
    static const char *const parts[][2] = {{"input_layernorm", "attn_norm"},
                                           {"post_attention_layernorm", "ffn_norm"},
                                           {"self_attn.q_proj", "attn_q"},
                                           {"self_attn.k_proj", "attn_k"},
                                           {"self_attn.v_proj", "attn_v"},
                                           {"self_attn.o_proj", "attn_output"},
                                           {"self_attn.q_norm", "attn_q_norm"},
                                           {"self_attn.k_norm", "attn_k_norm"},
                                           {"mlp.gate_proj", "ffn_gate"},
                                           {"mlp.up_proj", "ffn_up"},
                                           {"mlp.down_proj", "ffn_down"}};
    unsigned layer;
    int n = 0;
    snprintf(to, cap, "%s",
             !strncmp(from, "lm_head", 7)      ? "output.weight"
             : !strncmp(from, "rope_", 5)      ? from
             : !strncmp(from, "model.norm", 9) ? "output_norm.weight"
                                               : "token_embd.weight");
    if (sscanf(from, "model.layers.%u.%n", &layer, &n) != 1 || !n) return;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t length = strlen(parts[i][0]);
        if (!strncmp(from + n, parts[i][0], length) && from[n + (int)length] == '.')
            snprintf(to, cap, "blk.%u.%s%s", layer, parts[i][1], from + n + length);
    }
}

/* llama.cpp's files of the llama kind hold rows of a head in the order 0, h/2, 1, h/2 + 1, ... */
static void permute(wr_test_tensor *t, size_t head_dim)
{
    size_t rows = t->rows ? t->rows : t->cols, row = t->bytes / rows, half = head_dim / 2;
    char *out = malloc(t->bytes);
    if (!out) abort();
    for (size_t r = 0; r < rows; r++) {
        size_t head = r / head_dim * head_dim, at = r % head_dim;
        memcpy(out + r * row, (char *)t->data + (head + at / 2 + at % 2 * half) * row, row);
    }
    free(t->data);
    t->data = out;
}

static size_t add_factors(const wr_test_decoder *d, wr_test_tensor **tensor, size_t n)
{
    size_t bytes = d->head_dim / 2 * sizeof *d->factors;
    wr_test_tensor *all = realloc(*tensor, (n + 1) * sizeof *all), *last = all + n;
    if (!all) abort();
    *last = (wr_test_tensor){"rope_freqs.weight", WR_BLOCK_F32, 0, d->head_dim / 2, malloc(bytes), bytes};
    if (!last->data) abort();
    memcpy(last->data, d->factors, bytes);
    *tensor = all;
    return n + 1;
}

static unsigned ggml_type(wr_block_type type)
{
    static const unsigned number[WR_BLOCK_TYPES] = {0, 1, 30, 8, 2, 12, 13, 14};
    return number[type];
}

static void pad(FILE *f)
{
    while (ftell(f) % ALIGN) putc(0, f);
}

static void put_tensors(FILE *f, const wr_test_tensor *tensor, size_t n)
{
    uint64_t offset = 0;
    char name[96];
    for (size_t i = 0; i < n; i++) {
        const wr_test_tensor *t = &tensor[i];
        rename_tensor(t->name, name, sizeof name);
        text(f, name);
        u32(f, t->rows ? 2 : 1);
        u64(f, t->cols);
        if (t->rows) u64(f, t->rows);
        u32(f, ggml_type(t->type));
        u64(f, offset);
        offset += (t->bytes + ALIGN - 1) / ALIGN * ALIGN;
    }
    pad(f);
    for (size_t i = 0; i < n; i++) {
        fwrite(tensor[i].data, 1, tensor[i].bytes, f);
        pad(f);
    }
}

void wr_test_decoder_write_gguf(const char *path, const wr_test_decoder *wanted)
{
    wr_test_decoder d = wr_test_decoder_full(wanted);
    const char *arch = strcmp(d.type, "mistral") ? d.type : "llama";
    wr_test_tensor *tensor;
    size_t n = wr_test_decoder_tensors(&d, true, &tensor), keys = 2;
    for (size_t i = 0; i < n && !strcmp(arch, "llama"); i++)
        if (strstr(tensor[i].name, ".q_proj.") || strstr(tensor[i].name, ".k_proj.")) permute(&tensor[i], d.head_dim);
    if (d.factors) n = add_factors(&d, &tensor, n);
    FILE *f = fopen(path, "wb+");
    if (!f) abort();
    fputs("GGUF", f);
    u32(f, 3);
    u64(f, n);
    long count = ftell(f);
    u64(f, 0);
    key_text(f, "general.architecture", arch);
    key_text(f, "general.name", "tiny");
    keys += put_sizes(f, &d, arch) + wr_test_decoder_put_tokenizer(f, &d, arch);
    long here = ftell(f);
    fseek(f, count, SEEK_SET);
    u64(f, keys);
    fseek(f, here, SEEK_SET);
    put_tensors(f, tensor, n);
    if (ferror(f) | fclose(f)) abort();
    wr_test_tensors_release(tensor, n);
}
