/* What a GGUF file's metadata say about a decoder (names: papers.md 20.2; ggml, docs/gguf.md). */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/blocks.h"
#include "models/decoder_config.h"

typedef struct source {
    const wr_gguf *g;
    const char *arch, *path;
    wr_err *err;
} source;

static const char *key_of(const source *s, const char *name, char key[128])
{
    snprintf(key, 128, "%s.%s", s->arch, name);
    return key;
}

/* An integer in 1..max. Without the key: otherwise, when that is not 0. */
static wr_status size_of(const source *s, const char *name, size_t max, size_t otherwise, size_t *out)
{
    char key[128];
    uint64_t n = otherwise;
    double real;
    const double *list;
    const wr_text *texts;
    wr_text text;
    size_t count;
    key_of(s, name, key);
    bool there = wr_gguf_unsigned(s->g, key, &n);
    /* another kind of value is no value left out */
    if (!there && (!otherwise || wr_gguf_real(s->g, key, &real) || wr_gguf_reals(s->g, key, &list, &count) ||
                   wr_gguf_text(s->g, key, &text) || wr_gguf_texts(s->g, key, &texts, &count)))
        return wr_fail(s->err, WR_EFORMAT, "%s: %s: expected an integer from 1 to %zu", s->path, key, max);
    if (n < 1 || n > max)
        return wr_fail(s->err, WR_EFORMAT, "%s: %s: %" PRIu64 ", expected an integer from 1 to %zu", s->path, key, n,
                       max);
    *out = (size_t)n;
    return WR_OK;
}

static wr_status real_of(const source *s, const char *name, double otherwise, double *out)
{
    char key[128];
    *out = otherwise;
    wr_gguf_real(s->g, key_of(s, name, key), out);
    if (*out > 0 && isfinite(*out)) return WR_OK;
    return wr_fail(s->err, WR_EFORMAT, "%s: %s: expected a number above 0", s->path, key);
}

static wr_status read_sizes(wr_decoder_config *c, const source *s)
{
    size_t value_length, turned, experts;
    double eps;
    wr_status st;
    if ((st = size_of(s, "block_count", WR_DECODER_LAYERS, 0, &c->layers)) ||
        (st = size_of(s, "embedding_length", WR_DECODER_DIM, 0, &c->dim)) ||
        (st = size_of(s, "feed_forward_length", WR_DECODER_FFN, 0, &c->ffn)) ||
        (st = size_of(s, "context_length", WR_DECODER_POSITIONS, 0, &c->positions)) ||
        (st = size_of(s, "attention.head_count", WR_DECODER_DIM, 0, &c->heads)) ||
        (st = size_of(s, "attention.head_count_kv", WR_DECODER_DIM, c->heads, &c->kv_heads)) ||
        (st = real_of(s, "attention.layer_norm_rms_epsilon", 0, &eps)))
        return st;
    c->eps = (float)eps;
    char key[128];
    double there;
    if (!wr_gguf_real(s->g, key_of(s, "attention.key_length", key), &there) && c->dim % c->heads)
        return wr_fail(s->err, WR_EFORMAT, "%s: %zu dimensions cannot be split over %zu heads", s->path, c->dim,
                       c->heads);
    size_t share = c->dim / c->heads ? c->dim / c->heads : 1;
    if ((st = size_of(s, "attention.key_length", WR_DECODER_HEAD, share, &c->head_dim)) ||
        (st = size_of(s, "attention.value_length", WR_DECODER_HEAD, share, &value_length)) ||
        (st = size_of(s, "rope.dimension_count", WR_DECODER_HEAD, c->head_dim, &turned)))
        return st;
    if (value_length != c->head_dim || turned != c->head_dim)
        return wr_fail(s->err, WR_EUNSUPPORTED,
                       "%s: keys of %zu numbers, values of %zu, positions in %zu of them, expected three equal ones",
                       s->path, c->head_dim, value_length, turned);
    uint64_t n = 0;
    experts = wr_gguf_unsigned(s->g, key_of(s, "expert_count", key), &n) ? (size_t)n : 0;
    if (experts) return wr_fail(s->err, WR_EUNSUPPORTED, "%s: a mixture of %zu experts", s->path, experts);
    return WR_OK;
}

static wr_status read_rope(wr_decoder_config *c, const source *s)
{
    char key[128];
    wr_text type = {"", 0};
    double factor = 1;
    wr_status st = real_of(s, "rope.freq_base", 1e4, &c->rope.base);
    if (st) return st;
    bool named = wr_gguf_text(s->g, key_of(s, "rope.scaling.type", key), &type);
    bool linear = type.n == 6 && !memcmp(type.bytes, "linear", 6), none = type.n == 4 && !memcmp(type.bytes, "none", 4);
    if (named && !linear && !none)
        return wr_fail(s->err, WR_EUNSUPPORTED, "%s: %s \"%.*s\", expected linear or none", s->path, key,
                       type.n < 40 ? (int)type.n : 40, type.bytes);
    if (!named) linear = wr_gguf_real(s->g, key_of(s, "rope.scale_linear", key), &factor); /* older files */
    if (!linear || none) return WR_OK;
    c->rope.kind = WR_ROPE_LINEAR;
    return real_of(s, named ? "rope.scaling.factor" : "rope.scale_linear", 0, &c->rope.factor);
}

static wr_status read_window(wr_decoder_config *c, const source *s)
{
    char key[128];
    double there;
    if (!wr_gguf_real(s->g, key_of(s, "attention.sliding_window", key), &there)) return WR_OK;
    wr_status st = size_of(s, "attention.sliding_window", WR_DECODER_POSITIONS, 0, &c->window);
    for (size_t i = 0; i < c->layers; i++) c->slides[i] = true;
    return st;
}

wr_status wr_decoder_config_gguf(wr_decoder_config *config, const wr_gguf *gguf, const char *path, wr_err *err)
{
    static const char *const archs[] = {"llama", "qwen2", "qwen3"};
    wr_text name;
    source s = {gguf, NULL, path, err};
    memset(config, 0, sizeof *config);
    if (!wr_gguf_text(gguf, "general.architecture", &name))
        return wr_fail(err, WR_EFORMAT, "%s: no general.architecture", path);
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (name.n == strlen(archs[i]) && !memcmp(name.bytes, archs[i], name.n)) s.arch = archs[i];
    if (!s.arch)
        return wr_fail(err, WR_EUNSUPPORTED, "%s: general.architecture \"%.*s\", expected llama, qwen2 or qwen3", path,
                       name.n < 40 ? (int)name.n : 40, name.bytes);
    snprintf(config->model_type, sizeof config->model_type, "%s", s.arch);
    snprintf(config->architecture, sizeof config->architecture, "%s", s.arch);
    config->rope.adjacent = !strcmp(s.arch, "llama");
    config->head_norm = !strcmp(s.arch, "qwen3");
    const wr_blocks *table = wr_gguf_tensor(gguf, "token_embd.weight");
    config->vocab = table ? table->out : 0;
    wr_status st;
    if ((st = read_sizes(config, &s)) || (st = read_rope(config, &s)) || (st = read_window(config, &s))) return st;
    if (table && table->out > WR_DECODER_VOCAB)
        return wr_fail(err, WR_EFORMAT, "%s: %zu tokens, expected %u at most", path, table->out, WR_DECODER_VOCAB);
    return wr_decoder_config_check(config, path, err);
}
