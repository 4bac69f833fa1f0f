#include "models/model_config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/mapfile.h"
#include "models/config_source.h"

static bool is_true(const wr_source *s, const char *name)
{
    return json_is_true(json_object_get(s->root, name));
}

/* Loads dir/name as an object; *present is false when the file is missing and that is allowed. */
static wr_status load(wr_source *s, char *path, const char *dir, const char *name, bool needed, bool *present,
                      wr_err *err)
{
    *s = (wr_source){.path = path, .err = err};
    *present = false;
    wr_status st = wr_path_join(path, WR_MAX_PATH, dir, name);
    if (st) return wr_fail(err, st, "%s/%s: the path is too long", dir, name);
    if (!needed && !wr_path_exists(path)) return WR_OK;
    if ((st = wr_json_load(&s->root, path, WR_CONFIG_MAX_BYTES, err))) return st;
    *present = true;
    return WR_OK;
}

/* ---- config.json ---- */

/* matchmaker's concatenating re-rankers name the base model instead of its sizes. */
static bool is_base(const wr_source *s, const char *name)
{
    const char *base = wr_source_text(s, "bert_model", NULL), *slash = strrchr(base, '/');
    return !strcmp(slash ? slash + 1 : base, name);
}

/* model_type "BERT_Cat" (arXiv 2010.02666's published checkpoints): a DistilBERT or BERT base under `bert_model.` and
 * one linear layer; config.json holds the base model's name instead of its sizes. */
static wr_status read_cat(wr_model_config *c, const wr_source *s)
{
    c->distil = is_base(s, "distilbert-base-uncased");
    if (!c->distil && !is_base(s, "bert-base-uncased"))
        return wr_fail(s->err, WR_EUNSUPPORTED,
                       "%s: model_type BERT_Cat on bert_model \"%s\", expected distilbert-base-uncased or "
                       "bert-base-uncased",
                       s->path, wr_source_text(s, "bert_model", NULL));
    snprintf(c->model_type, sizeof c->model_type, "%s", c->distil ? "distilbert" : "bert");
    c->layers = c->distil ? 6 : 12;
    c->dim = 768;
    c->heads = 12;
    c->ffn = 3072;
    c->vocab = 30522;
    return WR_OK;
}

static wr_status read_activation(wr_model_config *c, const wr_source *s)
{
    const char *act = wr_source_text(s, "hidden_act", "activation");
    if (!*act || !strcmp(act, "gelu"))
        c->act = WR_ACT_GELU;
    else if (!strcmp(act, "relu"))
        c->act = WR_ACT_RELU;
    else
        return wr_fail(s->err, WR_EUNSUPPORTED, "%s: activation \"%s\", expected gelu or relu", s->path, act);
    return WR_OK;
}

/* What is already set (a base model's sizes) holds where the file says nothing. */
static wr_status read_sizes(wr_model_config *c, const wr_source *s)
{
    wr_status st;
    if ((st = wr_source_size(s, "hidden_size", "dim", 1, WR_MAX_DIM, c->dim, &c->dim)) ||
        (st = wr_source_size(s, "num_hidden_layers", "n_layers", 1, WR_MAX_LAYERS, c->layers, &c->layers)) ||
        (st = wr_source_size(s, "num_attention_heads", "n_heads", 1, WR_MAX_DIM, c->heads, &c->heads)) ||
        (st = wr_source_size(s, "intermediate_size", "hidden_dim", 1, WR_MAX_FFN, c->ffn, &c->ffn)) ||
        (st = wr_source_size(s, "vocab_size", NULL, 1, WR_MAX_VOCAB, c->vocab, &c->vocab)) ||
        (st = wr_source_size(s, "max_position_embeddings", NULL, 2, WR_MAX_POSITIONS, 512, &c->positions)) ||
        (st = wr_source_size(s, "type_vocab_size", NULL, 1, 256, 2, &c->types)))
        return st;
    if (c->dim % c->heads)
        return wr_fail(s->err, WR_EFORMAT, "%s: %zu dimensions cannot be split over %zu heads", s->path, c->dim,
                       c->heads);
    const json_t *eps = wr_source_member(s, "layer_norm_eps", NULL);
    double value = eps ? json_number_value(eps) : 1e-12;
    if (!(value > 0 && value < 1)) return wr_fail(s->err, WR_EFORMAT, "%s: layer_norm_eps is not in 0..1", s->path);
    c->eps = (float)value;
    return WR_OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* Heads that have tensors of the same names as ours but mean something else. */
static wr_status read_architecture(wr_model_config *c, const wr_source *s)
{
    static const char *const others[] = {"ForTokenClassification", "ForMultipleChoice", "ForQuestionAnswering",
                                         "ForNextSentencePrediction", "LMHeadModel"};
    const json_t *first = json_array_get(json_object_get(s->root, "architectures"), 0);
    const char *name = json_string_value(first);
    snprintf(c->architecture, sizeof c->architecture, "%s", name ? name : "");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (ends_with(c->architecture, others[i]))
            return wr_fail(s->err, WR_EUNSUPPORTED,
                           "%s: architecture %s, expected an encoder or sequence classification", s->path,
                           c->architecture);
    c->classification = ends_with(c->architecture, "ForSequenceClassification");
    c->masked = ends_with(c->architecture, "ForMaskedLM");
    c->interaction = ends_with(c->architecture, "ForInteraction");
    return WR_OK;
}

/* "exit_layers": [2, 4]. */
static wr_status read_exits(wr_model_config *c, const wr_source *s)
{
    const json_t *list = wr_source_member(s, "exit_layers", NULL), *each;
    size_t i, last = 0;
    if (!list) return WR_OK;
    if (!json_is_array(list)) return wr_fail(s->err, WR_EFORMAT, "%s: exit_layers: expected an array", s->path);
    json_array_foreach(list, i, each)
    {
        json_int_t layer = json_is_integer(each) ? json_integer_value(each) : 0;
        if (layer <= (json_int_t)last || (uint64_t)layer > c->layers)
            return wr_fail(s->err, WR_EFORMAT, "%s: exit_layers: expected ascending integers from 1 to %zu", s->path,
                           c->layers);
        c->exit_layers[c->nexits++] = last = (size_t)layer;
    }
    return WR_OK;
}

/* How many layers see each part of a pair alone; a model that compares the parts must say. */
static wr_status read_join(wr_model_config *c, const wr_source *s)
{
    return c->interaction ? wr_source_size(s, "join_layer", NULL, 0, c->layers, 0, &c->join) : WR_OK;
}

/* How many tokens of a document a learned sparse index should keep. */
static wr_status read_density(wr_model_config *c, const wr_source *s)
{
    return wr_source_member(s, "sparse_density", NULL)
               ? wr_source_size(s, "sparse_density", NULL, 1, c->vocab, 0, &c->density)
               : WR_OK;
}

/* How many documents of a corpus its table of query weights counts for. The largest is a web's. */
static wr_status read_idf_documents(wr_model_config *c, const wr_source *s)
{
    return wr_source_member(s, "sparse_idf_documents", NULL)
               ? wr_source_size(s, "sparse_idf_documents", NULL, 1, (size_t)1 << 40, 0, &c->idf_documents)
               : WR_OK;
}

/* What an index adds for a document's own words. */
static wr_status read_lexical(wr_model_config *c, const wr_source *s)
{
    const json_t *value = wr_source_member(s, "sparse_lexical", NULL);
    if (!value) return WR_OK;
    c->lexical = json_number_value(value);
    if (json_is_number(value) && c->lexical >= 0 && c->lexical <= WR_MAX_LEXICAL) return WR_OK;
    return wr_fail(s->err, WR_EFORMAT, "%s: sparse_lexical: expected a number from 0 to %g", s->path, WR_MAX_LEXICAL);
}

static wr_status read_query_tf(wr_model_config *c, const wr_source *s)
{
    const char *tf = wr_source_text(s, "sparse_query_tf", NULL);
    c->query_tf = strcmp(tf, "sqrt") ? WR_QUERY_SET : WR_QUERY_ROOT;
    if (!*tf || !strcmp(tf, "set") || !strcmp(tf, "sqrt")) return WR_OK;
    return wr_fail(s->err, WR_EUNSUPPORTED, "%s: sparse_query_tf \"%s\", expected set or sqrt", s->path, tf);
}

static wr_status read_sparse(wr_model_config *c, const wr_source *s)
{
    wr_status st = read_density(c, s);
    if (!st) st = read_idf_documents(c, s);
    if (!st) st = read_lexical(c, s);
    return st ? st : read_query_tf(c, s);
}

static wr_status read_model(wr_model_config *c, const wr_source *s)
{
    const char *type = wr_source_text(s, "model_type", NULL);
    wr_status st = read_architecture(c, s);
    if (st) return st;
    if (!strcmp(type, "BERT_Cat"))
        return (st = read_cat(c, s)) || (st = read_sizes(c, s)) || (st = read_exits(c, s)) ? st : read_join(c, s);
    c->distil = !strcmp(type, "distilbert");
    if (!c->distil && strcmp(type, "bert"))
        return wr_fail(s->err, WR_EUNSUPPORTED, "%s: model_type \"%s\", expected bert or distilbert", s->path, type);
    snprintf(c->model_type, sizeof c->model_type, "%s", type);
    const char *positions = wr_source_text(s, "position_embedding_type", NULL);
    if (*positions && strcmp(positions, "absolute"))
        return wr_fail(s->err, WR_EUNSUPPORTED, "%s: position_embedding_type \"%s\", expected absolute", s->path,
                       positions);
    if (is_true(s, "is_decoder")) return wr_fail(s->err, WR_EUNSUPPORTED, "%s: is_decoder is true", s->path);
    if ((st = read_sizes(c, s)) || (st = read_exits(c, s)) || (st = read_join(c, s)) || (st = read_sparse(c, s)))
        return st;
    return read_activation(c, s);
}

static wr_status read_config(wr_model_config *c, wr_err *err)
{
    char path[WR_MAX_PATH];
    bool present;
    wr_source s;
    wr_status st = load(&s, path, c->base, "config.json", true, &present, err);
    if (!st && !json_is_object(s.root)) st = wr_fail(err, WR_EFORMAT, "%s: expected an object", path);
    if (!st) st = read_model(c, &s);
    json_decref(s.root);
    return st;
}

/* ---- sentence-transformers ---- */

static wr_status read_pooling_mode(wr_model_config *c, const wr_source *s)
{
    static const struct {
        const char *key, *mode;
        wr_pooling pooling;
    } modes[] = {{"pooling_mode_cls_token", "cls", WR_POOL_CLS},
                 {"pooling_mode_mean_tokens", "mean", WR_POOL_MEAN},
                 {"pooling_mode_max_tokens", "max", WR_POOL_MAX}};
    static const char *const others[] = {"pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens",
                                         "pooling_mode_lasttoken"};
    const char *mode = wr_source_text(s, "pooling_mode", NULL); /* the newer spelling */
    size_t asked = 0;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (*mode ? !strcmp(mode, modes[i].mode) : is_true(s, modes[i].key)) {
            c->pooling = modes[i].pooling;
            asked++;
        }
    for (size_t i = 0; i < sizeof others / sizeof *others && !*mode; i++)
        if (is_true(s, others[i]))
            return wr_fail(s->err, WR_EUNSUPPORTED, "%s: %s, expected cls, mean or max pooling", s->path, others[i]);
    if (asked == 1) return WR_OK;
    if (*mode)
        return wr_fail(s->err, WR_EUNSUPPORTED, "%s: pooling_mode \"%s\", expected cls, mean or max", s->path, mode);
    return wr_fail(s->err, WR_EUNSUPPORTED, "%s: %zu kinds of pooling at once, expected one", s->path, asked);
}

static wr_status read_pooling(wr_model_config *c, const char *dir, const char *folder, bool needed, wr_err *err)
{
    char at[WR_MAX_PATH];
    bool present;
    wr_source s;
    wr_status st = wr_path_join(at, sizeof at, dir, folder);
    if (st) return wr_fail(err, st, "%s/%s: the path is too long", dir, folder);
    st = load(&s, c->pooling_path, at, "config.json", needed, &present, err);
    if (!present) c->pooling_path[0] = 0;
    if (present) st = read_pooling_mode(c, &s);
    json_decref(s.root);
    return st;
}

bool wr_module_is_inside(const char *path)
{
    return path[0] != '/' && !strstr(path, "..");
}

static wr_status read_module(wr_model_config *c, const char *dir, const wr_source *s, const json_t *module)
{
    const char *type = json_string_value(json_object_get(module, "type"));
    const char *folder = json_string_value(json_object_get(module, "path"));
    if (!type || !folder || !wr_module_is_inside(folder))
        return wr_fail(s->err, WR_EFORMAT, "%s: a module without type or with a path outside the model", s->path);
    const char *dot = strrchr(type, '.'), *name = dot ? dot + 1 : type;
    if (!strcmp(name, "Pooling")) return read_pooling(c, dir, folder, true, s->err);
    if (!strcmp(name, "Normalize")) return c->normalize = true, WR_OK;
    if (!strcmp(name, "SpladePooling")) return wr_sparse_config_pooling(c, dir, folder, s->err);
    if (!strcmp(name, "Router")) return wr_sparse_config_router(c, dir, folder, s->err);
    if (strcmp(name, "Transformer") && strcmp(name, "MLMTransformer"))
        return wr_fail(s->err, WR_EUNSUPPORTED,
                       "%s: module %s, expected Transformer, Pooling and Normalize, or SpladePooling, or Router",
                       s->path, name);
    if (*folder && wr_path_join(c->base, sizeof c->base, dir, folder))
        return wr_fail(s->err, WR_EARG, "%s/%s: the path is too long", dir, folder);
    return WR_OK;
}

static wr_status read_modules(wr_model_config *c, const char *dir, wr_err *err)
{
    char path[WR_MAX_PATH];
    bool present;
    wr_source s;
    size_t i;
    json_t *module;
    wr_status st = load(&s, path, dir, "modules.json", false, &present, err);
    if (st) return st;
    c->has_modules = present;
    if (!present) return read_pooling(c, dir, "1_Pooling", false, err);
    if (!json_is_array(s.root)) st = wr_fail(err, WR_EFORMAT, "%s: expected an array", path);
    json_array_foreach(s.root, i, module) if (!st) st = read_module(c, dir, &s, module);
    json_decref(s.root);
    return st;
}

/* The tokenizer's own truncation does not count (all-MiniLM-L6-v2's says 128, its maximum is 256). */
static wr_status read_length(wr_model_config *c, wr_err *err)
{
    char path[WR_MAX_PATH];
    bool present;
    wr_source s;
    size_t max = c->positions;
    wr_status st = load(&s, path, c->base, "sentence_bert_config.json", false, &present, err);
    if (!st && present) st = wr_source_size(&s, "max_seq_length", NULL, 2, 1u << 30, c->positions, &max);
    c->max_tokens = max < c->positions ? max : c->positions;
    json_decref(s.root);
    return st;
}

wr_status wr_model_config_read(wr_model_config *config, const char *dir, wr_err *err)
{
    memset(config, 0, sizeof *config);
    if (strlen(dir) >= sizeof config->base) return wr_fail(err, WR_EARG, "%s: the path is too long", dir);
    strcpy(config->base, dir);
    wr_status st = read_modules(config, dir, err);
    if (!st) st = read_config(config, err);
    if (!st) st = read_length(config, err);
    if (!st) wr_sparse_config_query(config, dir);
    return st;
}
