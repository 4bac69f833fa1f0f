#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/encoder.h"

typedef struct layer_names {
    const char *layers; /* what comes before a layer's number */
    const char *query, *keys_values[2], *attended, *attended_norm, *up, *down, *output_norm;
} layer_names;

static const layer_names bert_names = {
    .layers = "encoder.layer.",
    .query = "attention.self.query",
    .keys_values = {"attention.self.key", "attention.self.value"},
    .attended = "attention.output.dense",
    .attended_norm = "attention.output.LayerNorm",
    .up = "intermediate.dense",
    .down = "output.dense",
    .output_norm = "output.LayerNorm",
};

static const layer_names distil_names = {
    .layers = "transformer.layer.",
    .query = "attention.q_lin",
    .keys_values = {"attention.k_lin", "attention.v_lin"},
    .attended = "attention.out_lin",
    .attended_norm = "sa_layer_norm",
    .up = "ffn.lin1",
    .down = "ffn.lin2",
    .output_norm = "output_layer_norm",
};

void wr_layer_names(const wr_model_config *config, const char *prefix, size_t i,
                    char name[WR_LAYER_NAMES][WR_MAX_TENSOR_NAME])
{
    const layer_names *n = config->distil ? &distil_names : &bert_names;
    const char *all[WR_LAYER_NAMES] = {n->query, n->keys_values[0], n->keys_values[1], n->attended, n->up, n->down};
    for (size_t l = 0; l < WR_LAYER_NAMES; l++)
        snprintf(name[l], WR_MAX_TENSOR_NAME, "%s%s%zu.%s", prefix, n->layers, i, all[l]);
}

/* How large the places of what a LayerNorm gives are: its bias and so many of its standard deviations. The shares
 * matter, not the factor: 2, 3 and 4 are equally good. */
#define DEVIATIONS 2

/* Places below this share of the largest count as that, so that none is enlarged without end. */
#define LEAST_PLACE .01f

/* The input scale of a layer behind a LayerNorm without calibration, as migrated for SmoothQuant with exponent .75:
 * 1 / max|x_j|^.75, by two exact roots, since a library's pow has not the same bits everywhere. */
static float *scale_behind(const wr_norm *norm, size_t n, wr_weights *weights)
{
    float *scale = wr_weights_own(weights, n), most = 0;
    for (size_t i = 0; i < n && scale; i++) {
        scale[i] = fabsf(norm->beta[i]) + DEVIATIONS * fabsf(norm->gamma[i]);
        most = scale[i] > most ? scale[i] : most;
    }
    for (size_t i = 0; i < n && scale; i++) {
        float root = sqrtf(scale[i] > LEAST_PLACE * most ? scale[i] : LEAST_PLACE * most);
        scale[i] = 1 / (root * sqrtf(root));
        if (!isfinite(scale[i])) scale[i] = 1; /* a norm that gives nothing, or no numbers */
    }
    return scale;
}

/* The product up has inputs with a few large places behind its LayerNorm, which its rows' bytes must span. Where floats
 * become bytes without a plan that says how, they are made alike: the product's error is halved (BENCHMARKS.md). */
static wr_status read_up(wr_layer *l, const char *name, wr_weights *weights, const char *prefix, size_t out, size_t in,
                         wr_err *err)
{
    char weight[WR_MAX_TENSOR_NAME], full[WR_MAX_TENSOR_NAME];
    const wr_tensor *t;
    const wr_linear_plan *plan = weights->plan;
    size_t nplan = weights->nplan;
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(full, sizeof full, "%s%s", prefix, name);
    wr_linear_plan scaled = {.name = full, .precision = WR_PRECISION_INT8};
    wr_status st = wr_weights_find(weights, prefix, weight, out, in, &t, err);
    if (st) return st;
    bool rounded =
        weights->precision == WR_PRECISION_INT8 && t->dtype != WR_I8 && !wr_weights_plan(weights, prefix, name);
    if (rounded) {
        scaled.migrate = scale_behind(&l->attended_norm, in, weights);
        if (!scaled.migrate) return wr_fail(err, WR_ENOMEM, "tensor %s: out of memory", full);
        weights->plan = &scaled;
        weights->nplan = 1;
    }
    st = wr_linear_read_ready(&l->up, weights, prefix, &name, 1, out, in, weights->precision, err);
    weights->plan = plan;
    weights->nplan = nplan;
    return st;
}

static wr_status read_layer(wr_encoder *e, size_t i, const layer_names *names, wr_weights *weights, wr_err *err)
{
    char prefix[128];
    wr_layer *l = &e->layer[i];
    size_t dim = e->dim;
    wr_precision p = weights->precision;
    wr_status st;
    snprintf(prefix, sizeof prefix, "%s%s%zu.", weights->prefix, names->layers, i);
    if ((st = wr_linear_read_ready(&l->query, weights, prefix, &names->query, 1, dim, dim, p, err)) ||
        (st = wr_linear_read_ready(&l->keys_values, weights, prefix, names->keys_values, 2, dim, dim, p, err)) ||
        (st = wr_linear_read_ready(&l->attended, weights, prefix, &names->attended, 1, dim, dim, p, err)) ||
        (st = wr_norm_read(&l->attended_norm, weights, prefix, names->attended_norm, dim, err)) ||
        (st = read_up(l, names->up, weights, prefix, e->ffn, dim, err)) ||
        (st = wr_linear_read_ready(&l->down, weights, prefix, &names->down, 1, dim, e->ffn, p, err)))
        return st;
    return wr_norm_read(&l->output_norm, weights, prefix, names->output_norm, dim, err);
}

static wr_status read_embeddings(wr_encoder *e, bool distil, wr_weights *weights, wr_err *err)
{
    const char *prefix = weights->prefix;
    wr_status st;
    if ((st = wr_table_read(&e->word, weights, prefix, "embeddings.word_embeddings", e->vocab, e->dim, err)) ||
        (st = wr_weights_get(weights, prefix, "embeddings.position_embeddings.weight", e->positions, e->dim,
                             &e->position, err)))
        return st;
    if (!distil && (st = wr_weights_get(weights, prefix, "embeddings.token_type_embeddings.weight", e->types, e->dim,
                                        &e->type, err)))
        return st;
    return wr_norm_read(&e->embedding_norm, weights, prefix, "embeddings.LayerNorm", e->dim, err);
}

static size_t count(const wr_layer *l, wr_linear_form form)
{
    const wr_linear *all[] = {&l->query, &l->keys_values, &l->attended, &l->up, &l->down};
    size_t n = 0;
    for (size_t i = 0; i < WR_LAYER_LINEARS; i++) n += all[i]->form == form;
    return n;
}

size_t wr_layer_nint8(const wr_layer *l)
{
    return count(l, WR_LINEAR_S8);
}

wr_status wr_encoder_open(wr_encoder *encoder, const wr_model_config *config, wr_weights *weights, wr_err *err)
{
    *encoder = (wr_encoder){.layers = config->layers,
                            .dim = config->dim,
                            .heads = config->heads,
                            .ffn = config->ffn,
                            .vocab = config->vocab,
                            .positions = config->positions,
                            .types = config->types,
                            .eps = config->eps,
                            .parts = config->interaction,
                            .join = config->join,
                            .act = config->act};
    encoder->layer = calloc(config->layers, sizeof *encoder->layer);
    if (!encoder->layer) return wr_fail(err, WR_ENOMEM, "out of memory");
    wr_status st = read_embeddings(encoder, config->distil, weights, err);
    const layer_names *names = config->distil ? &distil_names : &bert_names;
    for (size_t i = 0; i < config->layers && !st; i++) {
        st = read_layer(encoder, i, names, weights, err);
        wr_tensors_give_back(weights->tensors); /* what was packed is not read again */
    }
    for (size_t i = 0; i < config->layers && !st; i++) {
        encoder->nint8 += wr_layer_nint8(&encoder->layer[i]);
        encoder->nbf16 += count(&encoder->layer[i], WR_LINEAR_BF16);
    }
    encoder->integers = encoder->nint8 > 0;
    if (!st && encoder->integers && config->dim / config->heads > WR_ATTEND_WIDTH)
        st = wr_fail(err, WR_EUNSUPPORTED, "heads of %zu numbers in int8, expected at most %d",
                     config->dim / config->heads, WR_ATTEND_WIDTH);
    if (encoder->integers && encoder->positions > WR_ATTEND_KEYS) encoder->positions = WR_ATTEND_KEYS;
    if (st) wr_encoder_close(encoder);
    return st;
}

/* ---- two of them ---- */

/* Whether the encoder reads a tensor of this name, which stands behind the prefix. Position ids are a table of 0, 1, 2,
 * ... that old files store and nobody reads. */
static bool is_read(const char *name)
{
    static const char *const parts[] = {"embeddings.", "encoder.layer.", "transformer.layer."};
    if (!strcmp(name, "embeddings.position_ids")) return false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strncmp(name, parts[i], strlen(parts[i]))) return true;
    return false;
}

/* The tensor's name behind the prefix, where the encoder reads it; else NULL. */
static const char *own_name(const wr_weights *weights, const wr_tensor *t)
{
    size_t n = strlen(weights->prefix);
    return !strncmp(t->name, weights->prefix, n) && is_read(t->name + n) ? t->name + n : NULL;
}

static bool same_tensor(const wr_tensor *a, const wr_tensor *b)
{
    bool same = a->dtype == b->dtype && a->ndim == b->ndim && a->bytes == b->bytes;
    for (size_t i = 0; i < a->ndim && same; i++) same = a->dim[i] == b->dim[i];
    return same && !memcmp(a->data, b->data, a->bytes);
}

/* All that a's encoder reads is the same in b; *n counts it. */
static bool has_all(const wr_weights *a, const wr_weights *b, size_t *n)
{
    char full[WR_MAX_TENSOR_NAME];
    *n = 0;
    for (size_t i = 0; i < wr_tensors_count(a->tensors); i++) {
        const wr_tensor *t = wr_tensors_at(a->tensors, i), *other;
        const char *name = own_name(a, t);
        if (!name) continue;
        snprintf(full, sizeof full, "%s%s", b->prefix, name);
        if (!(other = wr_tensors_find(b->tensors, full)) || !same_tensor(t, other)) return false;
        ++*n;
    }
    return true;
}

static size_t count_read(const wr_weights *weights)
{
    size_t n = 0;
    for (size_t i = 0; i < wr_tensors_count(weights->tensors); i++)
        n += own_name(weights, wr_tensors_at(weights->tensors, i)) != NULL;
    return n;
}

static bool same_network(const wr_encoder *a, const wr_encoder *b)
{
    return a->layers == b->layers && a->dim == b->dim && a->heads == b->heads && a->ffn == b->ffn &&
           a->vocab == b->vocab && a->positions == b->positions && a->types == b->types && !(a->eps < b->eps) &&
           !(a->eps > b->eps) && a->act == b->act && !a->parts && !b->parts && a->nint8 == b->nint8 &&
           a->nbf16 == b->nbf16 && a->integers == b->integers;
}

bool wr_encoder_same(const wr_encoder *a, const wr_weights *a_weights, const wr_encoder *b, const wr_weights *b_weights)
{
    size_t n;
    if (!same_network(a, b) || a_weights->precision != b_weights->precision ||
        a_weights->portable != b_weights->portable)
        return false;
    bool same = has_all(a_weights, b_weights, &n) && n == count_read(b_weights);
    wr_tensors_give_back(a_weights->tensors);
    wr_tensors_give_back(b_weights->tensors);
    return same;
}

void wr_encoder_close(wr_encoder *encoder)
{
    free(encoder->layer);
    *encoder = (wr_encoder){0};
}
