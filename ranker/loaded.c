#include "ranker/loaded.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct encoder {
    wr_model *model;
    size_t max_doc, max_query; /* as asked for: an index may cut elsewhere than the model would */
    char pooling[8];
} encoder;

struct wr_loaded {
    const char *dense;
    const char *precision;
    pthread_mutex_t lock; /* guards encoder[] and nencoders */
    encoder encoder[WR_MAX_MODELS];
    size_t nencoders;
    char *cross_name[WR_MAX_MODELS];
    wr_model *cross[WR_MAX_MODELS];
    size_t ncross;
};

static wr_status open_cross(wr_loaded *loaded, const char *spec, wr_err *err)
{
    const char *eq = strchr(spec, '='), *slash = strchr(spec, '/');
    bool named = eq && eq > spec && (!slash || eq < slash);
    wr_model_options options = {.precision = loaded->precision};
    wr_model *model = NULL;
    wr_status st = wr_model_open(&model, named ? eq + 1 : spec, &options, err);
    if (st) return st;
    const wr_model_info *info = wr_model_info_get(model);
    char *name = named ? strndup(spec, (size_t)(eq - spec)) : strdup(info->name);
    if (!name || info->kind != WR_MODEL_CROSS) {
        st = name ? wr_fail(err, WR_EARG, "%s: is an embedder, a cross-encoder was expected", info->path)
                  : wr_fail(err, WR_ENOMEM, "%s: out of memory", info->path);
        free(name);
        wr_model_close(model);
        return st;
    }
    loaded->cross_name[loaded->ncross] = name;
    loaded->cross[loaded->ncross++] = model;
    return WR_OK;
}

wr_status wr_loaded_open(wr_loaded **out, const wr_loaded_options *options, wr_err *err)
{
    wr_status st = WR_OK;
    *out = NULL;
    if (options->ncross > WR_MAX_MODELS)
        return wr_fail(err, WR_EARG, "%zu cross-encoders are named, at most %d are loaded", options->ncross,
                       WR_MAX_MODELS);
    wr_loaded *loaded = calloc(1, sizeof *loaded);
    if (!loaded) return wr_fail(err, WR_ENOMEM, "models: out of memory");
    pthread_mutex_init(&loaded->lock, NULL);
    loaded->dense = options->dense;
    loaded->precision = options->precision;
    for (size_t i = 0; i < options->ncross && !st; i++) st = open_cross(loaded, options->cross[i], err);
    if (st) wr_loaded_close(loaded);
    else *out = loaded;
    return st;
}

void wr_loaded_close(wr_loaded *loaded)
{
    if (!loaded) return;
    for (size_t i = 0; i < loaded->nencoders; i++) wr_model_close(loaded->encoder[i].model);
    for (size_t i = 0; i < loaded->ncross; i++) {
        free(loaded->cross_name[i]);
        wr_model_close(loaded->cross[i]);
    }
    pthread_mutex_destroy(&loaded->lock);
    free(loaded);
}

static bool serves(const encoder *e, const wr_index_info *info)
{
    return !strcmp(wr_model_info_get(e->model)->sha256, info->dense_model_sha256) &&
           e->max_doc == info->dense_max_doc_tokens && e->max_query == info->dense_max_query_tokens &&
           !strcmp(e->pooling, info->dense_pooling);
}

static wr_pooling pooling_named(const char *name)
{
    if (!strcmp(name, "cls")) return WR_POOL_CLS;
    if (!strcmp(name, "mean")) return WR_POOL_MEAN;
    return strcmp(name, "max") ? WR_POOL_AUTO : WR_POOL_MAX;
}

/* The places to look, in order: what the user named; else what the manifest names, else a default of that name. */
static wr_status open_encoder(const wr_loaded *loaded, const wr_index_info *info, wr_model **model, wr_err *err)
{
    wr_model_options options = {.pooling = pooling_named(info->dense_pooling),
                                .max_doc_tokens = info->dense_max_doc_tokens,
                                .max_query_tokens = info->dense_max_query_tokens,
                                .precision = loaded->precision};
    if (loaded->dense) return wr_model_open(model, loaded->dense, &options, err);
    wr_status st = wr_model_open(model, info->dense_model_path, &options, err);
    if (st != WR_ENOTFOUND || strchr(info->dense_model_name, '/')) return st;
    wr_err second;
    return wr_model_open(model, info->dense_model_name, &options, &second) ? st : WR_OK;
}

static wr_status add_encoder(wr_loaded *loaded, const wr_index_info *info, const wr_model **out, wr_err *err)
{
    wr_model *model = NULL;
    if (loaded->nencoders == WR_MAX_MODELS)
        return wr_fail(err, WR_EFULL, "%s: %d encoders are loaded already", info->dir, WR_MAX_MODELS);
    wr_status st = open_encoder(loaded, info, &model, err);
    if (st == WR_ENOTFOUND) return wr_fail_prefix(err, "%s: its query encoder (--dense MODEL names another place)", info->dir);
    if (st) return st;
    const wr_model_info *got = wr_model_info_get(model);
    if (strcmp(got->sha256, info->dense_model_sha256)) {
        st = wr_fail(err, WR_EFORMAT, "%s: was built with model %.12s, but %s is %.12s", info->dir,
                     info->dense_model_sha256, got->path, got->sha256);
        wr_model_close(model);
        return st;
    }
    encoder *e = &loaded->encoder[loaded->nencoders++];
    *e = (encoder){.model = model, .max_doc = info->dense_max_doc_tokens, .max_query = info->dense_max_query_tokens};
    strncpy(e->pooling, info->dense_pooling, sizeof e->pooling - 1);
    *out = model;
    return WR_OK;
}

wr_status wr_loaded_dense(wr_loaded *loaded, const wr_index_info *info, const wr_model **model, wr_err *err)
{
    wr_status st = WR_OK;
    *model = NULL;
    pthread_mutex_lock(&loaded->lock);
    for (size_t i = 0; i < loaded->nencoders && !*model; i++)
        if (serves(&loaded->encoder[i], info)) *model = loaded->encoder[i].model;
    if (!*model) st = add_encoder(loaded, info, model, err);
    pthread_mutex_unlock(&loaded->lock);
    return st;
}

const char *const *wr_loaded_cross_names(const wr_loaded *loaded, size_t *n)
{
    *n = loaded->ncross;
    return (const char *const *)loaded->cross_name;
}

const wr_model *wr_loaded_cross(const wr_loaded *loaded, const char *name)
{
    for (size_t i = 0; i < loaded->ncross; i++)
        if (!*name || !strcmp(name, loaded->cross_name[i])) return loaded->cross[i];
    return NULL;
}

const wr_model *wr_loaded_embedder(wr_loaded *loaded, const char *name)
{
    const wr_model *found = NULL;
    pthread_mutex_lock(&loaded->lock);
    for (size_t i = 0; i < loaded->nencoders && !found; i++)
        if (!*name || !strcmp(name, wr_model_info_get(loaded->encoder[i].model)->name)) found = loaded->encoder[i].model;
    pthread_mutex_unlock(&loaded->lock);
    return found;
}
