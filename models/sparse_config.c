/* What the files of a learned sparse model say, in the two layouts they are published in.
 *
 *   sentence-transformers   modules.json names a Transformer (MLMTransformer) and a SpladePooling, or one Router whose
 *                           router_config.json has them under "document" and a SparseStaticEmbedding under "query"
 *   OpenSearch              a masked language model with idf.json, or query_token_weights.txt, beside config.json
 */
#include <stdio.h>
#include <string.h>

#include "data/json.h"
#include "data/mapfile.h"
#include "models/model_config.h"

#define MAX_JSON ((size_t)1 << 20) /* a router's configuration names a few folders */

static wr_status load(json_t **root, char path[WR_MAX_PATH], const char *dir, const char *folder, const char *name,
                      wr_err *err)
{
    char at[WR_MAX_PATH];
    if (wr_path_join(at, sizeof at, dir, folder) || wr_path_join(path, WR_MAX_PATH, at, name))
        return wr_fail(err, WR_EARG, "%s/%s: the path is too long", dir, folder);
    wr_status st = wr_json_load(root, path, MAX_JSON, err);
    if (!st && !json_is_object(*root)) st = wr_fail(err, WR_EFORMAT, "%s: expected an object", path);
    return st;
}

/* ---- SpladePooling ---- */

/* The member's text, or `otherwise` when absent. */
static const char *text_of(const json_t *root, const char *name, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(root, name));
    return text ? text : otherwise;
}

static wr_status read_pooling(wr_model_config *c, const json_t *root, const char *path, wr_err *err)
{
    const char *strategy = text_of(root, "pooling_strategy", "max"),
               *act = text_of(root, "activation_function", "relu");
    if (strcmp(strategy, "max"))
        return wr_fail(err, WR_EUNSUPPORTED, "%s: pooling_strategy \"%s\", expected max", path, strategy);
    if (!strcmp(act, "relu"))
        c->sparse_act = WR_SPARSE_LOG;
    else if (!strcmp(act, "log1p_relu"))
        c->sparse_act = WR_SPARSE_LOG_LOG;
    else
        return wr_fail(err, WR_EUNSUPPORTED, "%s: activation_function \"%s\", expected relu or log1p_relu", path, act);
    c->sparse = true;
    return WR_OK;
}

wr_status wr_sparse_config_pooling(wr_model_config *c, const char *dir, const char *folder, wr_err *err)
{
    json_t *root = NULL;
    wr_status st = load(&root, c->pooling_path, dir, folder, "config.json", err);
    if (!st) st = read_pooling(c, root, c->pooling_path, err);
    json_decref(root);
    return st;
}

/* ---- Router ---- */

typedef struct router {
    wr_model_config *config;
    const char *dir; /* of the router: its folders lie beside router_config.json */
    const char *path;
    const json_t *root;
    wr_err *err;
} router;

/* The class of a module, without what it lies in; NULL when the router does not say or the path leaves the model. */
static const char *class_of(const router *r, const char *folder)
{
    const char *type = json_string_value(json_object_get(json_object_get(r->root, "types"), folder));
    const char *dot = type ? strrchr(type, '.') : NULL;
    return wr_module_is_inside(folder) && type ? dot ? dot + 1 : type : NULL;
}

static wr_status read_document(const router *r, const char *folder, const char *class)
{
    if (!strcmp(class, "SpladePooling")) return wr_sparse_config_pooling(r->config, r->dir, folder, r->err);
    if (strcmp(class, "Transformer") && strcmp(class, "MLMTransformer"))
        return wr_fail(r->err, WR_EUNSUPPORTED, "%s: document module %s, expected MLMTransformer and SpladePooling",
                       r->path, class);
    if (wr_path_join(r->config->base, sizeof r->config->base, r->dir, folder))
        return wr_fail(r->err, WR_EARG, "%s/%s: the path is too long", r->dir, folder);
    return WR_OK;
}

static wr_status read_query(const router *r, const char *folder, const char *class)
{
    if (strcmp(class, "SparseStaticEmbedding"))
        return wr_fail(
            r->err, WR_EUNSUPPORTED,
            "%s: query module %s: queries need an encoder of their own, expected SparseStaticEmbedding or the "
            "document's modules",
            r->path, class);
    if (wr_path_join(r->config->query_path, sizeof r->config->query_path, r->dir, folder))
        return wr_fail(r->err, WR_EARG, "%s/%s: the path is too long", r->dir, folder);
    return WR_OK;
}

static wr_status read_route(const router *r, const json_t *route,
                            wr_status (*read)(const router *r, const char *folder, const char *class))
{
    size_t i;
    json_t *name;
    wr_status st = WR_OK;
    json_array_foreach(route, i, name)
    {
        const char *folder = json_string_value(name), *class = folder ? class_of(r, folder) : NULL;
        if (st) return st;
        st = class ? read(r, folder, class)
                   : wr_fail(r->err, WR_EFORMAT, "%s: a module without type or with a path outside the model", r->path);
    }
    return st;
}

wr_status wr_sparse_config_router(wr_model_config *c, const char *dir, const char *folder, wr_err *err)
{
    json_t *root = NULL;
    char path[WR_MAX_PATH], at[WR_MAX_PATH];
    wr_status st = load(&root, path, dir, folder, "router_config.json", err);
    if (!st && wr_path_join(at, sizeof at, dir, folder)) st = wr_fail(err, WR_EARG, "%s: the path is too long", path);
    if (!st) {
        const router r = {.config = c, .dir = at, .path = path, .root = root, .err = err};
        const json_t *structure = json_object_get(root, "structure"),
                     *document = json_object_get(structure, "document");
        const json_t *query = json_object_get(structure, "query");
        if (!json_is_array(document) || !json_is_array(query))
            st = wr_fail(err, WR_EFORMAT, "%s: expected routes \"query\" and \"document\"", path);
        if (!st) st = read_route(&r, document, read_document);
        if (!st && !c->sparse) st = wr_fail(err, WR_EUNSUPPORTED, "%s: no SpladePooling for documents", path);
        if (!st && !json_equal(query, document)) st = read_route(&r, query, read_query);
    }
    json_decref(root);
    return st;
}

/* ---- OpenSearch ---- */

void wr_sparse_config_query(wr_model_config *c, const char *dir)
{
    static const char *const name[] = {"idf.json", "query_token_weights.txt"};
    char path[WR_MAX_PATH];
    if (!c->has_modules && c->masked && !c->pooling_path[0]) c->sparse = true;
    if (!c->sparse || c->query_path[0]) return;
    for (size_t i = 0; i < 2 && !c->query_path[0]; i++)
        if (!wr_path_join(path, sizeof path, dir, name[i]) && wr_path_exists(path)) strcpy(c->query_path, path);
}
