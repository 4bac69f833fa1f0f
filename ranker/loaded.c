#include "ranker/loaded.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "models/find.h"

/* A model as an index asks for it: it may cut elsewhere than the model would. */
typedef struct wanted {
    wr_model_kind kind;
    const char *path, *name, *sha256; /* of the manifest                  */
    const char *given, *option;       /* the one named instead, and where */
    const char *otherwise;            /* the default of its kind          */
    bool documents;                   /* may be asked to encode them      */
    wr_model_options options;
} wanted;

typedef struct encoder {
    wr_model *model;
    wr_model_kind kind;
    wr_model_options options; /* as asked for */
    wr_model *whole;          /* beside a tokenizer alone: opened when documents are to be encoded; NULL before */
    bool documents;           /* ... which can be asked for */
} encoder;

struct wr_loaded {
    const char *dense, *sparse;
    bool sparse_documents;
    const char *precision;
    pthread_mutex_t lock; /* guards encoder[] and nencoders */
    encoder encoder[WR_MAX_MODELS];
    size_t nencoders;
    wr_cross_shape shape[WR_MAX_MODELS]; /* [ncross] names are ours */
    wr_model *cross[WR_MAX_MODELS];
    size_t ncross;
    wr_list_shape list_shape[WR_MAX_MODELS]; /* [nlist] likewise */
    wr_llm *list[WR_MAX_MODELS];
    size_t nlist;
};

/* "[NAME=]MODEL". Without NAME name_n is 0: the directory's name. */
typedef struct spec {
    const char *name, *path;
    size_t name_n;
} spec;

static spec read_spec(const char *text)
{
    const char *eq = strchr(text, '='), *slash = strchr(text, '/');
    bool named = eq && eq > text && (!slash || eq < slash);
    return (spec){text, named ? eq + 1 : text, named ? (size_t)(eq - text) : 0};
}

static wr_status name_model(const spec *of, const char *otherwise, char **out, wr_err *err)
{
    *out = of->name_n ? strndup(of->name, of->name_n) : strdup(otherwise);
    return *out ? WR_OK : wr_fail(err, WR_ENOMEM, "%s: out of memory", of->path);
}

static wr_status open_cross(wr_loaded *loaded, const spec *of, wr_err *err)
{
    wr_model_options options = {.precision = loaded->precision};
    wr_model *model = NULL;
    char *name = NULL;
    wr_status st = wr_model_open(&model, of->path, &options, err);
    if (st) return st;
    const wr_model_info *info = wr_model_info_get(model);
    if (info->kind != WR_MODEL_CROSS)
        st = wr_fail(err, WR_EARG, "%s: no cross-encoder, which was expected", info->path);
    if (!st) st = name_model(of, info->name, &name, err);
    if (st) {
        wr_model_close(model);
        return st;
    }
    loaded->shape[loaded->ncross] =
        (wr_cross_shape){.name = name, .layers = info->layers, .exit = info->exit_layers, .nexits = info->nexits};
    loaded->cross[loaded->ncross++] = model;
    return WR_OK;
}

static wr_status open_list(wr_loaded *loaded, const spec *of, wr_err *err)
{
    wr_llm *llm = NULL;
    char *name = NULL;
    wr_status st = wr_llm_open(&llm, of->path, NULL, err);
    if (!st) st = name_model(of, wr_decoder_info_get(wr_llm_decoder(llm))->name, &name, err);
    if (st) {
        wr_llm_close(llm);
        return st;
    }
    const wr_letters *letters = wr_llm_letters(llm, NULL);
    loaded->list_shape[loaded->nlist] = (wr_list_shape){name, letters ? letters->n : 0};
    loaded->list[loaded->nlist++] = llm;
    return WR_OK;
}

static wr_status open_default(wr_loaded *loaded, wr_err *err)
{
    char path[WR_MAX_PATH];
    const spec of = {WR_DEFAULT_CROSS, path, sizeof WR_DEFAULT_CROSS - 1};
    return wr_model_find(WR_DEFAULT_CROSS, path, err) ? WR_OK : open_cross(loaded, &of, err);
}

/* A second model of one name would never be asked. */
static wr_status check_names(const wr_loaded *loaded, wr_err *err)
{
    for (size_t i = 0; i < loaded->ncross; i++)
        for (size_t j = 0; j < i; j++)
            if (!strcmp(loaded->shape[i].name, loaded->shape[j].name))
                return wr_fail(err, WR_EARG, "--cross: two models are called %s, expected NAME=MODEL", loaded->shape[i].name);
    for (size_t i = 0; i < loaded->nlist; i++)
        for (size_t j = 0; j < i; j++)
            if (!strcmp(loaded->list_shape[i].name, loaded->list_shape[j].name))
                return wr_fail(err, WR_EARG, "--list: two models are called %s, expected NAME=MODEL",
                               loaded->list_shape[i].name);
    return WR_OK;
}

static wr_status open_all(wr_loaded *loaded, const wr_loaded_options *options, wr_err *err)
{
    wr_status st = WR_OK;
    for (size_t i = 0; i < options->ncross && !st; i++) {
        const spec of = read_spec(options->cross[i]);
        st = open_cross(loaded, &of, err);
    }
    if (!st && options->default_cross && !options->ncross) st = open_default(loaded, err);
    for (size_t i = 0; i < options->nlist && !st; i++) {
        const spec of = read_spec(options->list[i]);
        st = open_list(loaded, &of, err);
    }
    return st ? st : check_names(loaded, err);
}

wr_status wr_loaded_open(wr_loaded **out, const wr_loaded_options *options, wr_err *err)
{
    *out = NULL;
    if (options->ncross > WR_MAX_MODELS || options->nlist > WR_MAX_MODELS)
        return wr_fail(err, WR_EARG, "%zu cross-encoders and %zu decoders are named, at most %d of a kind are loaded",
                       options->ncross, options->nlist, WR_MAX_MODELS);
    wr_loaded *loaded = calloc(1, sizeof *loaded);
    if (!loaded) return wr_fail(err, WR_ENOMEM, "models: out of memory");
    pthread_mutex_init(&loaded->lock, NULL);
    loaded->dense = options->dense;
    loaded->sparse = options->sparse;
    loaded->sparse_documents = options->sparse_documents;
    loaded->precision = options->precision;
    wr_status st = open_all(loaded, options, err);
    if (st) wr_loaded_close(loaded);
    else *out = loaded;
    return st;
}

void wr_loaded_close(wr_loaded *loaded)
{
    if (!loaded) return;
    for (size_t i = 0; i < loaded->nencoders; i++) {
        wr_model_close(loaded->encoder[i].model);
        wr_model_close(loaded->encoder[i].whole);
    }
    for (size_t i = 0; i < loaded->ncross; i++) {
        free((char *)loaded->shape[i].name);
        wr_model_close(loaded->cross[i]);
    }
    for (size_t i = 0; i < loaded->nlist; i++) {
        free((char *)loaded->list_shape[i].name);
        wr_llm_close(loaded->list[i]);
    }
    pthread_mutex_destroy(&loaded->lock);
    free(loaded);
}

static bool serves(const encoder *e, const wanted *w)
{
    const wr_model_options *has = &e->options, *asked = &w->options;
    return e->kind == w->kind && !strcmp(wr_model_info_get(e->model)->sha256, w->sha256) &&
           has->pooling == asked->pooling && has->max_doc_tokens == asked->max_doc_tokens &&
           has->max_query_tokens == asked->max_query_tokens && has->tokenizer_only == asked->tokenizer_only &&
           !(has->prune_ratio < asked->prune_ratio) && !(has->prune_ratio > asked->prune_ratio);
}

static wr_pooling pooling_named(const char *name)
{
    if (!strcmp(name, "cls")) return WR_POOL_CLS;
    if (!strcmp(name, "mean")) return WR_POOL_MEAN;
    return strcmp(name, "max") ? WR_POOL_AUTO : WR_POOL_MAX;
}

static bool is_wanted(const wanted *w, const wr_model *model)
{
    return !strcmp(wr_model_info_get(model)->sha256, w->sha256);
}

/* A model with the manifest's hash under this name, in whichever place; NULL = none. */
static wr_model *find_by_hash(const wanted *w, const char *name)
{
    char path[WR_MAX_PATH];
    wr_err err;
    for (size_t place = 0; place < WR_MODEL_PLACES; place++) {
        wr_model *model = NULL;
        if (!wr_model_in_place(name, place, path) || wr_model_open(&model, path, &w->options, &err)) continue;
        if (is_wanted(w, model)) return model;
        wr_model_close(model);
    }
    return NULL;
}

/* What the user named; else what lies where the manifest says, else a default with its hash. */
static wr_status open_encoder(const wanted *w, wr_model **model, wr_err *err)
{
    if (w->given) return wr_model_open(model, w->given, &w->options, err);
    wr_status st = wr_model_open(model, w->path, &w->options, err);
    if (!st && is_wanted(w, *model)) return WR_OK;
    wr_model *other = find_by_hash(w, w->name);
    if (!other && strcmp(w->name, w->otherwise)) other = find_by_hash(w, w->otherwise);
    if (!other) return st;
    if (!st) wr_model_close(*model);
    *model = other;
    return WR_OK;
}

static wr_status add_encoder(wr_loaded *loaded, const wanted *w, const char *dir, const wr_model **out, wr_err *err)
{
    wr_model *model = NULL;
    if (loaded->nencoders == WR_MAX_MODELS)
        return wr_fail(err, WR_EFULL, "%s: %d encoders are loaded already", dir, WR_MAX_MODELS);
    wr_status st = open_encoder(w, &model, err);
    if (st == WR_ENOTFOUND)
        return wr_fail_prefix(err, "%s: its query encoder (%s MODEL names another place)", dir, w->option);
    if (st) return st;
    const wr_model_info *got = wr_model_info_get(model);
    if (strcmp(got->sha256, w->sha256)) {
        st = wr_fail(err, WR_EFORMAT, "%s: was built with model %.12s, but %s is %.12s", dir, w->sha256, got->path,
                     got->sha256);
        wr_model_close(model);
        return st;
    }
    loaded->encoder[loaded->nencoders++] =
        (encoder){.model = model, .kind = w->kind, .options = w->options, .documents = w->documents};
    *out = model;
    return WR_OK;
}

static wr_status find_or_add(wr_loaded *loaded, const wanted *w, const char *dir, const wr_model **model, wr_err *err)
{
    wr_status st = WR_OK;
    *model = NULL;
    pthread_mutex_lock(&loaded->lock);
    for (size_t i = 0; i < loaded->nencoders && !*model; i++)
        if (serves(&loaded->encoder[i], w)) {
            *model = loaded->encoder[i].model;
            loaded->encoder[i].documents |= w->documents;
        }
    if (!*model) st = add_encoder(loaded, w, dir, model, err);
    pthread_mutex_unlock(&loaded->lock);
    return st;
}

wr_status wr_loaded_dense(wr_loaded *loaded, const wr_index_info *info, const wr_model **model, wr_err *err)
{
    const wanted w = {.kind = WR_MODEL_EMBED,
                      .path = info->dense_model_path,
                      .name = info->dense_model_name,
                      .sha256 = info->dense_model_sha256,
                      .given = loaded->dense,
                      .option = "--dense",
                      .otherwise = WR_DEFAULT_DENSE,
                      .options = {.pooling = pooling_named(info->dense_pooling),
                                  .max_doc_tokens = info->dense_max_doc_tokens,
                                  .max_query_tokens = info->dense_max_query_tokens,
                                  .precision = loaded->precision}};
    return find_or_add(loaded, &w, info->dir, model, err);
}

/* Whether the index was built by this kind of model, and with it whether the model can encode documents. */
static bool encodes_documents(const wr_index_info *info)
{
    return !strcmp(info->sparse_documents, "model") || !strcmp(info->sparse_query, "model");
}

wr_status wr_loaded_sparse(wr_loaded *loaded, const wr_index_info *info, const wr_model **model, wr_err *err)
{
    const wanted w = {.kind = WR_MODEL_SPARSE,
                      .path = info->sparse_model_path,
                      .name = info->sparse_model_name,
                      .sha256 = info->sparse_model_sha256,
                      .given = loaded->sparse,
                      .option = "--sparse",
                      .otherwise = WR_DEFAULT_SPARSE,
                      .documents = loaded->sparse_documents && encodes_documents(info),
                      .options = {.max_doc_tokens = info->sparse_max_doc_tokens,
                                  .max_query_tokens = info->sparse_max_query_tokens,
                                  .prune_ratio = encodes_documents(info) ? info->sparse_prune_ratio : 0,
                                  .tokenizer_only = strcmp(info->sparse_query, "model") != 0,
                                  .precision = loaded->precision}};
    *model = NULL;
    return *info->sparse_model_sha256 ? find_or_add(loaded, &w, info->dir, model, err) : WR_OK;
}

const wr_cross_shape *wr_loaded_crosses(const wr_loaded *loaded, size_t *n)
{
    *n = loaded->ncross;
    return loaded->shape;
}

const wr_model *wr_loaded_cross(const wr_loaded *loaded, const char *name)
{
    for (size_t i = 0; i < loaded->ncross; i++)
        if (!*name || !strcmp(name, loaded->shape[i].name)) return loaded->cross[i];
    return NULL;
}

const wr_list_shape *wr_loaded_lists(const wr_loaded *loaded, size_t *n)
{
    *n = loaded->nlist;
    return loaded->list_shape;
}

wr_llm *wr_loaded_list(const wr_loaded *loaded, const char *name)
{
    for (size_t i = 0; i < loaded->nlist; i++)
        if (!*name || !strcmp(name, loaded->list_shape[i].name)) return loaded->list[i];
    return NULL;
}

/* The encoder with all of its weights; NULL when it has none, or they cannot be read any more. */
static const wr_model *whole_of(encoder *e)
{
    wr_model_options options = e->options;
    wr_err err;
    if (!options.tokenizer_only) return e->model;
    if (!e->documents || e->whole) return e->whole;
    const wr_model_info *info = wr_model_info_get(e->model);
    options.tokenizer_only = false;
    if (wr_model_open(&e->whole, info->path, &options, &err)) return NULL;
    if (!strcmp(wr_model_info_get(e->whole)->sha256, info->sha256)) return e->whole;
    wr_model_close(e->whole); /* another one lies there by now */
    return e->whole = NULL;
}

static const wr_model *find_named(wr_loaded *loaded, wr_model_kind kind, const char *name)
{
    const wr_model *found = NULL;
    pthread_mutex_lock(&loaded->lock);
    for (size_t i = 0; i < loaded->nencoders && !found; i++) {
        encoder *e = &loaded->encoder[i];
        if (e->kind != kind) continue;
        if (!*name || !strcmp(name, wr_model_info_get(e->model)->name)) found = whole_of(e);
    }
    pthread_mutex_unlock(&loaded->lock);
    return found;
}

const wr_model *wr_loaded_expander(wr_loaded *loaded, const char *name)
{
    return find_named(loaded, WR_MODEL_SPARSE, name);
}

const wr_model *wr_loaded_embedder(wr_loaded *loaded, const char *name)
{
    return find_named(loaded, WR_MODEL_EMBED, name);
}
