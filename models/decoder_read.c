#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/decoder_parts.h"

/* A tensor's two names behind "model.layers.N." and "blk.N.". */
typedef struct names {
    const char *hf, *gguf;
} names;

static const names attention_norm = {"input_layernorm", "attn_norm"}, ffn_norm = {"post_attention_layernorm", "ffn_norm"},
                   query = {"self_attn.q_proj", "attn_q"}, key = {"self_attn.k_proj", "attn_k"},
                   value = {"self_attn.v_proj", "attn_v"}, output = {"self_attn.o_proj", "attn_output"},
                   query_norm = {"self_attn.q_norm", "attn_q_norm"}, key_norm = {"self_attn.k_norm", "attn_k_norm"},
                   gate = {"mlp.gate_proj", "ffn_gate"}, up = {"mlp.up_proj", "ffn_up"},
                   down = {"mlp.down_proj", "ffn_down"};

enum { NAME = 128 };

static const char *full_name(const wr_decoder *d, size_t layer, names n, const char *part, char out[NAME])
{
    if (d->gguf)
        snprintf(out, NAME, "blk.%zu.%s.%s", layer, n.gguf, part);
    else
        snprintf(out, NAME, "model.layers.%zu.%s.%s", layer, n.hf, part);
    return out;
}

static bool has(const wr_decoder *d, const char *name)
{
    return d->gguf ? wr_gguf_tensor_type(d->gguf, name) != NULL : wr_tensors_find(d->tensors, name) != NULL;
}

static wr_status not_there(const wr_decoder *d, const char *name, wr_err *err)
{
    return wr_fail(err, WR_EFORMAT, "%s: no tensor %s", d->path, name);
}

static wr_status find_gguf(const wr_decoder *d, const char *name, wr_blocks *w, wr_err *err)
{
    const wr_blocks *found = wr_gguf_tensor(d->gguf, name);
    const char *type = wr_gguf_tensor_type(d->gguf, name);
    if (!type) return not_there(d, name, err);
    if (!found)
        return wr_fail(err, WR_EUNSUPPORTED,
                       "%s: tensor %s: %s, expected a matrix of F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K or Q6_K", d->path,
                       name, type);
    *w = *found;
    return WR_OK;
}

bool wr_decoder_blocks(const wr_tensor *t, wr_blocks *w)
{
    if ((t->dtype != WR_F32 && t->dtype != WR_F16 && t->dtype != WR_BF16) || t->ndim < 1 || t->ndim > 2) return false;
    w->type = t->dtype == WR_F32 ? WR_BLOCK_F32 : t->dtype == WR_F16 ? WR_BLOCK_F16 : WR_BLOCK_BF16;
    w->out = t->ndim == 2 ? t->dim[0] : 1;
    w->in = t->dim[t->ndim - 1];
    w->data = t->data;
    return true;
}

static wr_status find_stored(const wr_decoder *d, const char *name, wr_blocks *w, wr_err *err)
{
    const wr_tensor *t = wr_tensors_find(d->tensors, name);
    if (!t) return not_there(d, name, err);
    if (t->dtype != WR_F32 && t->dtype != WR_F16 && t->dtype != WR_BF16)
        return wr_fail(err, WR_EUNSUPPORTED, "%s: tensor %s: dtype %s, expected F32, F16 or BF16", d->path, name,
                       wr_dtype_name(t->dtype));
    if (t->ndim < 1 || t->ndim > 2)
        return wr_fail(err, WR_EFORMAT, "%s: tensor %s: %zu dimensions, expected 1 or 2", d->path, name, t->ndim);
    wr_decoder_blocks(t, w);
    return WR_OK;
}

static wr_status find(wr_decoder *d, const char *name, size_t out, size_t in, wr_blocks *w, wr_err *err)
{
    wr_status st = (d->gguf ? find_gguf : find_stored)(d, name, w, err);
    if (st) return st;
    if (w->out != out || w->in != in)
        return wr_fail(err, WR_EFORMAT, "%s: tensor %s: shape [%zu, %zu], expected [%zu, %zu]", d->path, name, w->out,
                       w->in, out, in);
    d->info.parameters += out * in;
    d->nread++;
    return WR_OK;
}

static wr_status vector(wr_decoder *d, const char *name, size_t n, const float **out, wr_err *err)
{
    wr_blocks w;
    wr_status st = find(d, name, 1, n, &w, err);
    if (st) return st;
    float **more = realloc(d->owned, (d->nowned + 1) * sizeof *more), *x = malloc(n * sizeof *x);
    if (more) d->owned = more;
    if (!more || !x) {
        free(x);
        return wr_fail(err, WR_ENOMEM, "%s: out of memory", d->path);
    }
    wr_blocks_row(&w, 0, x);
    *out = d->owned[d->nowned++] = x;
    return WR_OK;
}

static wr_status norm(wr_decoder *d, size_t layer, names n, size_t dim, const float **out, wr_err *err)
{
    char name[NAME];
    return vector(d, full_name(d, layer, n, "weight", name), dim, out, err);
}

/* A GGUF file does not say whether there are biases: those that are there are used. */
static wr_status projection(wr_decoder *d, size_t layer, names n, size_t out, size_t in, bool bias, wr_projection *p,
                            wr_err *err)
{
    char name[NAME];
    wr_status st = find(d, full_name(d, layer, n, "weight", name), out, in, &p->w, err);
    full_name(d, layer, n, "bias", name);
    if (st || (d->gguf ? !has(d, name) : !bias)) return st;
    return vector(d, name, out, &p->bias, err);
}

static wr_status read_layer(wr_decoder *d, size_t i, wr_err *err)
{
    const wr_decoder_config *c = &d->config;
    wr_decoder_layer *l = &d->layer[i];
    size_t heads = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    wr_status st;
    l->window = c->slides[i] ? c->window : 0;
    if ((st = norm(d, i, attention_norm, c->dim, &l->norm_in, err)) ||
        (st = projection(d, i, query, heads, c->dim, c->qkv_bias, &l->q, err)) ||
        (st = projection(d, i, key, kv, c->dim, c->qkv_bias, &l->k, err)) ||
        (st = projection(d, i, value, kv, c->dim, c->qkv_bias, &l->v, err)) ||
        (st = projection(d, i, output, c->dim, heads, c->out_bias, &l->out, err)) ||
        (st = norm(d, i, ffn_norm, c->dim, &l->norm_post, err)) ||
        (st = projection(d, i, gate, c->ffn, c->dim, c->ffn_bias, &l->gate, err)) ||
        (st = projection(d, i, up, c->ffn, c->dim, c->ffn_bias, &l->up, err)) ||
        (st = projection(d, i, down, c->dim, c->ffn, c->ffn_bias, &l->down, err)))
        return st;
    if (!c->head_norm) return WR_OK;
    if ((st = norm(d, i, query_norm, c->head_dim, &l->norm_q, err))) return st;
    return norm(d, i, key_norm, c->head_dim, &l->norm_k, err);
}

/* Old checkpoints store tables of positions, tied ones their head twice: nobody reads them. */
static bool is_unread(const wr_decoder *d, const char *name)
{
    return strstr(name, "rotary_emb.inv_freq") || (d->config.tied && !strcmp(name, "lm_head.weight"));
}

static wr_status check_all_read(const wr_decoder *d, wr_err *err)
{
    size_t n = d->gguf ? wr_gguf_ntensors(d->gguf) : wr_tensors_count(d->tensors), unread = 0;
    for (size_t i = 0; i < n && !d->gguf; i++) unread += is_unread(d, wr_tensors_at(d->tensors, i)->name);
    if (d->nread + unread == n) return WR_OK;
    return wr_fail(err, WR_EUNSUPPORTED, "%s: %zu tensors, of which a %s of %zu layers has no place for %zu", d->path, n,
                   d->config.model_type, d->config.layers, n - unread - d->nread);
}

/* Llama 3's scaling worked out beforehand: what each frequency is divided by. */
static wr_status divide_frequencies(wr_decoder *d, wr_err *err)
{
    const float *factor;
    size_t n = d->config.head_dim / 2;
    if (!d->gguf || !has(d, "rope_freqs.weight")) return WR_OK;
    wr_status st = vector(d, "rope_freqs.weight", n, &factor, err);
    for (size_t i = 0; i < n && !st; i++) {
        if (!(factor[i] > 0) || isinf(factor[i]))
            return wr_fail(err, WR_EFORMAT, "%s: rope_freqs.weight: a factor is no number above 0", d->path);
        d->turn[i] /= factor[i];
    }
    d->info.rope_scaling = "factors";
    return st;
}

static wr_status read_rest(wr_decoder *d, wr_err *err)
{
    const wr_decoder_config *c = &d->config;
    const char *head = d->gguf ? "output.weight" : "lm_head.weight";
    wr_status st = find(d, d->gguf ? "token_embd.weight" : "model.embed_tokens.weight", c->vocab, c->dim, &d->table, err);
    if (!st) st = vector(d, d->gguf ? "output_norm.weight" : "model.norm.weight", c->dim, &d->norm, err);
    if (st) return st;
    if (d->gguf) d->config.tied = !has(d, head);
    d->head = d->table;
    if (!c->tied && (st = find(d, head, c->vocab, c->dim, &d->head, err))) return st;
    wr_rope_frequencies(&c->rope, c->head_dim, d->turn);
    return divide_frequencies(d, err);
}

/* What most bytes of weights are stored as, and whether any matrix of a layer is quantised. */
static void judge_formats(wr_decoder *d)
{
    size_t *bytes = d->info.bytes, most = 0, n;
    const wr_blocks *ends[] = {&d->table, d->config.tied ? NULL : &d->head};
    for (size_t i = 0; i < 2; i++)
        if (ends[i] && wr_blocks_bytes(ends[i]->type, ends[i]->out, ends[i]->in, &n)) bytes[ends[i]->type] += n;
    for (size_t i = 0; i < d->config.layers; i++) {
        const wr_decoder_layer *l = &d->layer[i];
        const wr_blocks *all[] = {&l->q.w, &l->k.w, &l->v.w, &l->out.w, &l->gate.w, &l->up.w, &l->down.w};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++) {
            if (wr_blocks_bytes(all[j]->type, all[j]->out, all[j]->in, &n)) bytes[all[j]->type] += n;
            d->half |= wr_block_is_quantized(all[j]->type);
        }
    }
    for (size_t t = 0; t < WR_BLOCK_TYPES; t++)
        if (bytes[t] > bytes[most]) most = t;
    d->info.format = wr_block_name((wr_block_type)most);
}

wr_status wr_decoder_read(wr_decoder *d, wr_err *err)
{
    d->layer = calloc(d->config.layers, sizeof *d->layer);
    d->turn = malloc(d->config.head_dim / 2 * sizeof *d->turn);
    if (!d->layer || !d->turn) return wr_fail(err, WR_ENOMEM, "%s: out of memory", d->path);
    wr_status st = read_rest(d, err);
    for (size_t i = 0; i < d->config.layers && !st; i++) st = read_layer(d, i, err);
    if (!st) st = check_all_read(d, err);
    if (!st) judge_formats(d);
    return st;
}
