#include "models/decoder_config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/mapfile.h"
#include "models/config_source.h"
#include "models/find.h"

/* A number above 0. Without the member: otherwise, when that is above 0. */
static wr_status real_of(const wr_source *s, const char *name, double otherwise, double *out)
{
    const json_t *value = wr_source_member(s, name, NULL);
    *out = otherwise;
    if (!value && otherwise > 0) return WR_OK;
    if (!value) return wr_fail(s->err, WR_EFORMAT, "%s: no %s", s->path, name);
    *out = json_number_value(value);
    if (*out > 0 && isfinite(*out)) return WR_OK;
    return wr_fail(s->err, WR_EFORMAT, "%s: %s: expected a number above 0", s->path, name);
}

static wr_status flag_of(const wr_source *s, const char *name, bool *out)
{
    const json_t *value = wr_source_member(s, name, NULL);
    *out = json_is_true(value);
    if (!value || json_is_boolean(value)) return WR_OK;
    return wr_fail(s->err, WR_EFORMAT, "%s: %s: expected true or false", s->path, name);
}

/* ---- sizes ---- */

static const char *const types[] = {"llama", "mistral", "qwen2", "qwen3"};
enum { NTYPES = sizeof types / sizeof *types };

static bool is_known(const char *type)
{
    for (size_t i = 0; i < NTYPES; i++)
        if (!strcmp(types[i], type)) return true;
    return false;
}

static bool is_type(const wr_decoder_config *c, const char *type)
{
    return !strcmp(c->model_type, type);
}

/* Where the file is silent its family's default holds: of the number of key heads Llama's alone is known from the rest. */
static wr_status read_sizes(wr_decoder_config *c, const wr_source *s)
{
    wr_status st;
    double eps;
    if ((st = wr_source_size(s, "hidden_size", NULL, 1, WR_DECODER_DIM, 0, &c->dim)) ||
        (st = wr_source_size(s, "num_hidden_layers", NULL, 1, WR_DECODER_LAYERS, 0, &c->layers)) ||
        (st = wr_source_size(s, "num_attention_heads", NULL, 1, WR_DECODER_DIM, 0, &c->heads)) ||
        (st = wr_source_size(s, "num_key_value_heads", NULL, 1, WR_DECODER_DIM, is_type(c, "llama") ? c->heads : 0,
                             &c->kv_heads)) ||
        (st = wr_source_size(s, "intermediate_size", NULL, 1, WR_DECODER_FFN, 0, &c->ffn)) ||
        (st = wr_source_size(s, "vocab_size", NULL, 1, WR_DECODER_VOCAB, 0, &c->vocab)) ||
        (st = wr_source_size(s, "max_position_embeddings", NULL, 1, WR_DECODER_POSITIONS, 0, &c->positions)) ||
        (st = real_of(s, "rms_norm_eps", 1e-6, &eps)))
        return st;
    c->eps = (float)eps;
    if (!wr_source_member(s, "head_dim", NULL) && !is_type(c, "qwen3") && c->dim % c->heads)
        return wr_fail(s->err, WR_EFORMAT, "%s: %zu dimensions cannot be split over %zu heads", s->path, c->dim,
                       c->heads);
    return wr_source_size(s, "head_dim", NULL, 1, WR_DECODER_HEAD, is_type(c, "qwen3") ? 128 : c->dim / c->heads,
                          &c->head_dim);
}

/* Which tensors a layer has beside its matrices. */
static wr_status read_extras(wr_decoder_config *c, const wr_source *s)
{
    bool attention, feed_forward, qwen2 = is_type(c, "qwen2");
    wr_status st;
    if ((st = flag_of(s, "attention_bias", &attention)) || (st = flag_of(s, "mlp_bias", &feed_forward)) ||
        (st = flag_of(s, "tie_word_embeddings", &c->tied)))
        return st;
    bool asked = attention && (is_type(c, "llama") || is_type(c, "qwen3"));
    c->qkv_bias = qwen2 || asked;
    c->out_bias = asked;
    c->ffn_bias = feed_forward && is_type(c, "llama");
    c->head_norm = is_type(c, "qwen3");
    return WR_OK;
}

/* ---- sliding windows ---- */

/* "layer_types": ["full_attention", "sliding_attention", ...] */
static wr_status read_layer_types(wr_decoder_config *c, const wr_source *s, const json_t *list)
{
    size_t i;
    json_t *each;
    if (json_array_size(list) != c->layers)
        return wr_fail(s->err, WR_EFORMAT, "%s: layer_types: expected %zu strings", s->path, c->layers);
    json_array_foreach(list, i, each)
    {
        const char *type = json_string_value(each);
        c->slides[i] = type && !strcmp(type, "sliding_attention");
        if (!type || (!c->slides[i] && strcmp(type, "full_attention")))
            return wr_fail(s->err, WR_EUNSUPPORTED,
                           "%s: layer_types: \"%s\", expected full_attention or sliding_attention", s->path,
                           type ? type : "");
    }
    return WR_OK;
}

/* Mistral slides where sliding_window is a number; Qwen where use_sliding_window is true, from layer max_window_layers
 * on (28, its default). */
static wr_status read_window(wr_decoder_config *c, const wr_source *s)
{
    bool use, mistral = is_type(c, "mistral");
    size_t from = 0, otherwise = mistral ? 0 : 4096;
    const json_t *list = wr_source_member(s, "layer_types", NULL);
    wr_status st = flag_of(s, "use_sliding_window", &use);
    if (st || is_type(c, "llama") || (mistral ? !wr_source_member(s, "sliding_window", NULL) : !use)) return st;
    if ((st = wr_source_size(s, "sliding_window", NULL, 1, WR_DECODER_POSITIONS, otherwise, &c->window)) ||
        (!mistral && (st = wr_source_size(s, "max_window_layers", NULL, 0, SIZE_MAX >> 1, 28, &from))))
        return st;
    for (size_t i = from; i < c->layers; i++) c->slides[i] = true;
    if (list) st = read_layer_types(c, s, list);
    bool any = false;
    for (size_t i = 0; i < c->layers; i++) any |= c->slides[i];
    if (!any) c->window = 0;
    return st;
}

/* ---- positions ---- */

static wr_status read_llama3(wr_rope_config *rope, const wr_source *s)
{
    wr_status st;
    rope->kind = WR_ROPE_LLAMA3;
    if ((st = real_of(s, "factor", 0, &rope->factor)) || (st = real_of(s, "low_freq_factor", 0, &rope->low)) ||
        (st = real_of(s, "high_freq_factor", 0, &rope->high)) ||
        (st = real_of(s, "original_max_position_embeddings", 0, &rope->original)))
        return st;
    if (rope->high > rope->low) return WR_OK;
    return wr_fail(s->err, WR_EFORMAT, "%s: high_freq_factor is not above low_freq_factor", s->path);
}

/* "rope_parameters" (newer) or "rope_scaling", with "rope_type" or (older) "type". */
static wr_status read_scaling(wr_rope_config *rope, const wr_source *s)
{
    const char *type =
        *wr_source_text(s, "rope_type", NULL) ? wr_source_text(s, "rope_type", NULL) : wr_source_text(s, "type", NULL);
    if (!*type || !strcmp(type, "default")) return WR_OK;
    if (!strcmp(type, "llama3")) return read_llama3(rope, s);
    if (strcmp(type, "linear"))
        return wr_fail(s->err, WR_EUNSUPPORTED, "%s: rope_type \"%s\", expected default, linear or llama3", s->path,
                       type);
    rope->kind = WR_ROPE_LINEAR;
    return real_of(s, "factor", 0, &rope->factor);
}

static wr_status check_partial(const wr_source *s)
{
    const json_t *part = wr_source_member(s, "partial_rotary_factor", NULL);
    if (!part || !(json_number_value(part) < 1 || json_number_value(part) > 1)) return WR_OK;
    return wr_fail(s->err, WR_EUNSUPPORTED, "%s: partial_rotary_factor other than 1", s->path);
}

static wr_status read_rope(wr_decoder_config *c, const wr_source *s)
{
    wr_source inner = *s;
    json_t *parameters = wr_source_member(s, "rope_parameters", NULL);
    double base;
    wr_status st = real_of(s, "rope_theta", 1e4, &base);
    if (!st) st = check_partial(s);
    inner.root = parameters ? parameters : wr_source_member(s, "rope_scaling", NULL);
    if (!st && inner.root && !json_is_object(inner.root))
        st = wr_fail(s->err, WR_EFORMAT, "%s: %s: expected an object", s->path,
                     parameters ? "rope_parameters" : "rope_scaling");
    if (!st) st = real_of(&inner, "rope_theta", base, &c->rope.base);
    if (!st) st = check_partial(&inner);
    return st ? st : read_scaling(&c->rope, &inner);
}

/* ---- the whole ---- */

/* What would change the numbers and is not implemented. */
static wr_status check_rest(const wr_source *s)
{
    const char *act = wr_source_text(s, "hidden_act", NULL);
    if (*act && strcmp(act, "silu") && strcmp(act, "swish"))
        return wr_fail(s->err, WR_EUNSUPPORTED, "%s: hidden_act \"%s\", expected silu", s->path, act);
    if (!wr_source_member(s, "quantization_config", NULL)) return WR_OK;
    wr_source inner = {wr_source_member(s, "quantization_config", NULL), s->path, s->err};
    return wr_fail(s->err, WR_EUNSUPPORTED, "%s: quantization_config (%s): quantised weights are read from GGUF files",
                   s->path, wr_source_text(&inner, "quant_method", NULL));
}

static wr_status read_model(wr_decoder_config *c, const wr_source *s)
{
    const char *type = wr_source_text(s, "model_type", NULL);
    const char *architecture = json_string_value(json_array_get(wr_source_member(s, "architectures", NULL), 0));
    wr_status st;
    if (!is_known(type))
        return wr_fail(s->err, WR_EUNSUPPORTED, "%s: model_type \"%s\", expected llama, mistral, qwen2 or qwen3",
                       s->path, type);
    snprintf(c->model_type, sizeof c->model_type, "%s", type);
    snprintf(c->architecture, sizeof c->architecture, "%s", architecture ? architecture : "");
    if ((st = check_rest(s)) || (st = read_sizes(c, s)) || (st = read_extras(c, s)) || (st = read_window(c, s)) ||
        (st = read_rope(c, s)))
        return st;
    return wr_decoder_config_check(c, s->path, s->err);
}

static wr_status load(json_t **root, char *path, const char *dir, wr_err *err)
{
    *root = NULL;
    wr_status st = wr_path_join(path, WR_MAX_PATH, dir, "config.json");
    return st ? wr_fail(err, st, "%s: the path is too long", dir) : wr_json_load(root, path, WR_CONFIG_MAX_BYTES, err);
}

wr_status wr_decoder_config_read(wr_decoder_config *config, const char *dir, wr_err *err)
{
    char path[WR_MAX_PATH];
    json_t *root;
    memset(config, 0, sizeof *config);
    wr_status st = load(&root, path, dir, err);
    wr_source s = {root, path, err};
    if (!st && !json_is_object(root)) st = wr_fail(err, WR_EFORMAT, "%s: expected an object", path);
    if (!st) st = read_model(config, &s);
    json_decref(root);
    return st;
}

bool wr_decoder_config_is(const char *dir)
{
    char path[WR_MAX_PATH];
    json_t *root;
    if (load(&root, path, dir, NULL)) return false;
    wr_source s = {root, path, NULL};
    bool is = is_known(wr_source_text(&s, "model_type", NULL));
    json_decref(root);
    return is;
}

wr_status wr_decoder_config_check(const wr_decoder_config *c, const char *path, wr_err *err)
{
    if (c->heads % c->kv_heads)
        return wr_fail(err, WR_EFORMAT, "%s: %zu heads cannot share %zu heads of keys and values", path, c->heads,
                       c->kv_heads);
    if (c->head_dim % 2)
        return wr_fail(err, WR_EFORMAT, "%s: heads of %zu numbers, expected an even number", path, c->head_dim);
    if (c->heads > WR_DECODER_DIM / c->head_dim)
        return wr_fail(err, WR_EFORMAT, "%s: %zu heads of %zu numbers, expected %d numbers at most", path, c->heads,
                       c->head_dim, WR_DECODER_DIM);
    return WR_OK;
}

/* In floats, operation by operation, as transformers' modeling_rope_utils.py has them: checkpoints were trained so. */
void wr_rope_frequencies(const wr_rope_config *rope, size_t head_dim, float *f)
{
    float factor = (float)rope->factor, low = (float)rope->low, high = (float)rope->high;
    for (size_t i = 0; i < head_dim / 2; i++) {
        f[i] = 1 / (float)pow(rope->base, (double)((float)(2 * i) / (float)head_dim));
        if (rope->kind == WR_ROPE_LINEAR) f[i] /= factor;
        if (rope->kind != WR_ROPE_LLAMA3) continue;
        float wave = (float)(2 * 3.14159265358979323846) / f[i];
        if ((double)wave > rope->original / rope->low) {
            f[i] /= factor;
        } else if ((double)wave >= rope->original / rope->high) {
            float s = ((float)rope->original / wave - low) / (high - low);
            f[i] = (1 - s) * f[i] / factor + s * f[i];
        }
    }
}
