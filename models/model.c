#include "models/model.h"

#include <limits.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/mapfile.h"
#include "models/encoder.h"
#include "models/find.h"
#include "models/heads.h"
#include "models/heads_interaction.h"
#include "models/heads_mlm.h"
#include "models/model_config.h"
#include "models/safetensors.h"
#include "models/weights.h"

/* Speeds are kept for batches of 1, 2..3, 4..7 ... tokens: a short batch costs more a token than a long one. */
#define SPEED_CLASSES 20

/* A new measurement counts an eighth. */
#define SPEED_SHIFT 3

/* Doubt takes a sixteenth: after a burst that made things look twice as slow, the eleventh request tries again, and what
 * is really too slow costs one useless attempt in seven requests (learn_stopped() adds a half). */
#define DOUBT_SHIFT 4

struct wr_model {
    wr_model_info info;
    wr_tensors *tensors;
    wr_weights weights;
    bool planned; /* single layers are not what the file says */
    wr_encoder encoder;
    wr_classifier classifier;
    wr_mlm mlm;
    wr_idf idf;
    uint32_t *mute; /* [nmute] sparse: special tokens and ids without one, ascending */
    size_t nmute;
    wr_classifier *exit; /* [layers] a cross-encoder's heads by layer, its own where the file has none */
    wr_interaction *compare; /* [layers] likewise, where the parts of a pair are compared: then exit is NULL */
    size_t exit_layers[WR_MAX_LAYERS];
    wr_tokenizer *tokenizer;
    char *path;
    char model_type[32], architecture[128];
    _Atomic uint64_t speed[SPEED_CLASSES]; /* nanoseconds a token, 0 = nothing measured yet */
};

/* ---- finding it ---- */

/* What the user wrote, as a folder: a path; or the name of a model in one of the places; or a folder's name. */
static wr_status locate(const char *name, char *out, wr_err *err)
{
    wr_err looked;
    bool is_path = strchr(name, '/'), is_dots = !strcmp(name, ".") || !strcmp(name, "..");
    if (strlen(name) >= WR_MAX_PATH) return wr_fail(err, WR_EARG, "the model's path is too long");
    bool found = !is_path && !wr_model_find(name, out, &looked);
    if (!found) strcpy(out, name);
    if (!is_dots && wr_path_is_dir(out)) return WR_OK;
    if ((is_path || found) && wr_path_exists(out))
        return wr_fail(err, WR_EUNSUPPORTED, "%s: a file, expected the folder of a model that encodes or scores texts",
                       out);
    if (is_path) return wr_fail(err, WR_ENOTFOUND, "%s: no such model folder", name);
    return wr_fail(err, WR_ENOTFOUND, "%s (a folder is written with a slash, as in ./%s)", looked.text, name);
}

/* ---- its hash ---- */

/* Weights are hashed this much at a time and their pages given back: what is in memory is what a pass needs. */
#define HASH_STEP ((size_t)4 << 20)

/* The head of a part of `n` bytes, and the first `have` of them. */
static void hash_part(wr_sha256 *hash, const char *name, const void *bytes, size_t have, size_t n)
{
    char head[WR_MAX_PATH];
    int length = snprintf(head, sizeof head, "%s %zu\n", name, n);
    wr_sha256_add(hash, head, (size_t)length);
    if (have) wr_sha256_add(hash, bytes, have);
}

static wr_status hash_file(wr_sha256 *hash, const char *name, const char *path, wr_err *err)
{
    wr_map map;
    wr_status st = wr_map_open(&map, path, err);
    if (st) return st;
    hash_part(hash, name, map.bytes, map.size, map.size);
    wr_map_close(&map);
    return WR_OK;
}

/* Everything that decides what the model computes: name, length and bytes of each file, always in this order. */
static wr_status hash_model(wr_model *model, const wr_model_config *config, wr_err *err)
{
    static const char *const names[] = {
        "config.json",           "tokenizer.json",          "vocab.txt",
        "tokenizer_config.json", "special_tokens_map.json", "sentence_bert_config.json"};
    char path[WR_MAX_PATH];
    wr_status st = WR_OK;
    wr_sha256 *hash = wr_sha256_new();
    if (!hash) return wr_fail(err, WR_ENOMEM, "out of memory");
    for (size_t i = 0; i < sizeof names / sizeof *names && !st; i++)
        if (!wr_path_join(path, sizeof path, config->base, names[i]) && wr_path_exists(path))
            st = hash_file(hash, names[i], path, err);
    if (!st && !wr_path_join(path, sizeof path, model->path, "modules.json") && wr_path_exists(path))
        st = hash_file(hash, "modules.json", path, err);
    if (!st && config->pooling_path[0]) st = hash_file(hash, "pooling", config->pooling_path, err);
    if (!st && model->info.has_idf) {
        size_t n = model->idf.n * sizeof *model->idf.weight;
        hash_part(hash, "idf", model->idf.weight, n, n);
    }
    for (size_t i = 0; i < wr_tensors_nfiles(model->tensors) && !st; i++) {
        const void *bytes;
        size_t n;
        const char *name = wr_tensors_file(model->tensors, i, &bytes, &n);
        hash_part(hash, name, NULL, 0, n);
        for (size_t at = 0; at < n; at += HASH_STEP) {
            wr_sha256_add(hash, (const char *)bytes + at, n - at < HASH_STEP ? n - at : HASH_STEP);
            wr_tensors_give_back(model->tensors);
        }
    }
    wr_sha256_finish(hash, model->info.sha256);
    return st;
}

/* ---- opening ---- */

/* The least that a sequence can be: [CLS] x [SEP]; for a pair [CLS] q [SEP] p [SEP], of two parts [CLS] q [SEP] [CLS] p
 * [SEP]. */
static size_t least_tokens(const wr_model_info *info)
{
    return info->kind != WR_MODEL_CROSS ? 3 : info->joins ? 6 : 5;
}

static wr_status check_limit(const wr_model *model, const char *what, size_t tokens, wr_err *err)
{
    size_t least = least_tokens(&model->info);
    if (tokens >= least && tokens <= model->info.positions) return WR_OK;
    return wr_fail(err, WR_EARG, "%s: %zu tokens for a %s, expected %zu to %zu", model->path, tokens, what, least,
                   model->info.positions);
}

static wr_status set_limits(wr_model *model, const wr_model_config *config, const wr_model_options *options,
                            wr_err *err)
{
    wr_model_info *info = &model->info;
    info->max_doc_tokens = options->max_doc_tokens ? options->max_doc_tokens : config->max_tokens;
    info->max_query_tokens = options->max_query_tokens ? options->max_query_tokens : info->max_doc_tokens;
    wr_status st = check_limit(model, "document", info->max_doc_tokens, err);
    return st ? st : check_limit(model, "query", info->max_query_tokens, err);
}

/* Raw checkpoints of masked language models are sparse ones, unless a pooling is asked for. */
static bool is_sparse(const wr_model_config *config, const wr_model_options *options)
{
    return config->sparse && (config->has_modules || !options->pooling);
}

/* Pooling and normalisation of an embedder, the classifier of a cross-encoder, the decoder of a sparse model. */
static wr_status read_head(wr_model *model, const wr_model_config *config, const wr_model_options *options, wr_err *err)
{
    wr_model_info *info = &model->info;
    if (config->interaction) {
        info->kind = WR_MODEL_CROSS;
        info->nlabels = 1;
        return WR_OK; /* read with its exits */
    }
    if (config->classification || wr_classifier_is_in(&model->weights)) {
        info->kind = WR_MODEL_CROSS;
        wr_status st = wr_classifier_read(&model->classifier, config, &model->weights, err);
        info->nlabels = model->classifier.out.out;
        return st;
    }
    if (is_sparse(config, options)) {
        info->kind = WR_MODEL_SPARSE;
        if (!wr_mlm_is_in(&model->weights, config->distil))
            return wr_fail(err, WR_EFORMAT, "no masked-language-model head in its tensors, which a sparse model needs");
        return wr_mlm_open(&model->mlm, config, &model->encoder.word, &model->weights, err);
    }
    info->kind = WR_MODEL_EMBED;
    info->pooling = options->pooling ? options->pooling : config->pooling ? config->pooling : WR_POOL_CLS;
    info->normalize = config->normalize;
    return WR_OK;
}

/* A cross-encoder's head for each layer that it may end behind. */
static wr_status read_exits(wr_model *model, const wr_model_config *config, wr_err *err)
{
    wr_status st = WR_OK;
    bool found;
    model->exit = calloc(config->layers, sizeof *model->exit);
    if (!model->exit) return wr_fail(err, WR_ENOMEM, "out of memory");
    for (size_t i = 0; i < config->layers; i++) model->exit[i] = model->classifier;
    for (size_t i = 0; i < config->nexits && !st; i++) {
        size_t layer = config->exit_layers[i];
        st = wr_classifier_read_exit(&model->exit[layer - 1], &model->classifier, layer, config, &model->weights, &found,
                                     err);
    }
    return st;
}

/* The same of a model that compares. */
static wr_status read_comparisons(wr_model *model, const wr_model_config *config, wr_err *err)
{
    wr_interaction own;
    wr_status st = wr_interaction_read(&own, config->dim, &model->weights, err);
    model->compare = calloc(config->layers, sizeof *model->compare);
    if (!st && !model->compare) st = wr_fail(err, WR_ENOMEM, "out of memory");
    for (size_t i = 0; i < config->layers && !st; i++) model->compare[i] = own;
    for (size_t i = 0; i < config->nexits && !st; i++) {
        size_t layer = config->exit_layers[i];
        st = wr_interaction_read_exit(&model->compare[layer - 1], &own, layer, config->dim, &model->weights, err);
    }
    return st;
}

static wr_status read_weights(wr_model *model, const wr_model_config *config, const wr_model_options *options,
                              wr_err *err)
{
    wr_status st = wr_tensors_open(&model->tensors, config->base, err);
    if (st || options->tokenizer_only) return st;
    wr_weights *w = &model->weights;
    if ((st = wr_weights_init(w, model->tensors, config->base, err))) return st;
    w->plan = options->plan;
    w->nplan = options->nplan;
    model->planned = options->nplan > 0;
    st = wr_encoder_open(&model->encoder, config, w, err);
    if (!st) st = read_head(model, config, options, err);
    if (!st && model->info.kind == WR_MODEL_CROSS)
        st = (config->interaction ? read_comparisons : read_exits)(model, config, err);
    w->plan = NULL;
    w->nplan = 0;
    if (st) wr_fail_prefix(err, "%s", config->base);
    return st;
}

static wr_status read_tokenizer(wr_model *model, const wr_model_config *config, wr_err *err)
{
    wr_status st = wr_tokenizer_open(&model->tokenizer, config->base, err);
    if (st) return st;
    size_t n = wr_tokenizer_vocab_size(model->tokenizer);
    wr_tokens none = {0};
    if (config->interaction && wr_tokenizer_single_ids(model->tokenizer, &none, 2, NULL, NULL) != 2)
        return wr_fail(err, WR_EFORMAT, "%s: the tokenizer puts no two special tokens around a text, which %s needs",
                       config->base, config->architecture);
    if (n <= config->vocab) return WR_OK;
    return wr_fail(err, WR_EFORMAT, "%s: the tokenizer has %zu tokens, the model embeds %zu", config->base, n,
                   config->vocab);
}

/* What a sparse model has beside its weights: the table of its queries, and the ids that never weigh anything. */
static wr_status read_sparse(wr_model *model, const wr_model_config *config, const wr_model_options *options,
                             wr_err *err)
{
    wr_model_info *info = &model->info;
    info->act = config->sparse_act;
    info->prune_ratio = options->prune_ratio;
    info->density = config->density;
    info->idf_documents = config->idf_documents;
    info->lexical = config->lexical;
    info->query_tf = config->query_tf;
    if (!(options->prune_ratio >= 0 && options->prune_ratio < 1))
        return wr_fail(err, WR_EARG, "a prune ratio of %g, expected 0 to below 1", options->prune_ratio);
    model->mute = malloc(info->vocab * sizeof *model->mute);
    if (!model->mute) return wr_fail(err, WR_ENOMEM, "%s: out of memory", model->path);
    for (uint32_t id = 0; id < info->vocab; id++)
        if (!wr_tokenizer_token(model->tokenizer, id) || wr_tokenizer_is_special(model->tokenizer, id))
            model->mute[model->nmute++] = id;
    info->has_idf = config->query_path[0] != 0;
    return info->has_idf ? wr_idf_read(&model->idf, config->query_path, model->tokenizer, err) : WR_OK;
}

static void describe(wr_model *model, const wr_model_config *config)
{
    wr_model_info *info = &model->info;
    const char *slash = strrchr(model->path, '/');
    memcpy(model->model_type, config->model_type, sizeof model->model_type);
    memcpy(model->architecture, config->architecture, sizeof model->architecture);
    info->path = model->path;
    info->name = slash ? slash + 1 : model->path;
    info->model_type = model->model_type;
    info->architecture = model->architecture;
    info->layers = config->layers;
    info->dim = config->dim;
    info->heads = config->heads;
    info->ffn = config->ffn;
    info->vocab = config->vocab;
    info->positions = config->positions;
    memcpy(model->exit_layers, config->exit_layers, config->nexits * sizeof *model->exit_layers);
    info->exit_layers = model->exit_layers;
    info->nexits = config->nexits;
    info->joins = config->interaction;
    info->join_layer = config->join;
}

static void describe_weights(wr_model *model)
{
    wr_model_info *info = &model->info;
    info->parameters = model->weights.parameters;
    info->nlinear = WR_LAYER_LINEARS * info->layers;
    info->nint8 = model->encoder.nint8;
    info->nbf16 = model->encoder.nbf16;
    info->precision = info->nint8 == info->nlinear   ? "int8"
                      : info->nbf16 == info->nlinear ? "bf16"
                      : info->nint8 || info->nbf16   ? "mixed"
                                                     : "fp32";
}

static wr_status open_folder(wr_model *model, const char *folder, const wr_model_options *options, wr_err *err)
{
    wr_model_config config;
    wr_status st;
    if (!(model->path = realpath(folder, NULL))) return wr_fail(err, WR_EIO, "%s: no absolute path for it", folder);
    if ((st = wr_model_config_read(&config, model->path, err))) return st;
    describe(model, &config);
    if ((st = read_weights(model, &config, options, err)) || (st = read_tokenizer(model, &config, err)) ||
        (st = set_limits(model, &config, options, err)))
        return st;
    if (options->tokenizer_only && is_sparse(&config, options)) model->info.kind = WR_MODEL_SPARSE;
    if (model->info.kind == WR_MODEL_SPARSE && (st = read_sparse(model, &config, options, err))) return st;
    describe_weights(model);
    st = hash_model(model, &config, err);
    wr_tensors_give_back(model->tensors);
    return st;
}

static wr_status precision_of(const char *name, wr_precision *precision, wr_err *err)
{
    static const struct {
        const char *name;
        wr_precision precision;
    } all[] = {{"fp32", WR_PRECISION_FP32}, {"bf16", WR_PRECISION_BF16}, {"int8", WR_PRECISION_INT8}};
    *precision = WR_PRECISION_STORED;
    if (!name) return WR_OK;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i].name, name)) {
            *precision = all[i].precision;
            return WR_OK;
        }
    return wr_fail(err, WR_EUNSUPPORTED, "precision %s: expected fp32, bf16 or int8", name);
}

wr_status wr_model_open(wr_model **model, const char *name_or_path, const wr_model_options *options, wr_err *err)
{
    static const wr_model_options defaults;
    char folder[WR_MAX_PATH];
    *model = NULL;
    if (!options) options = &defaults;
    wr_precision precision;
    wr_status st = precision_of(options->precision, &precision, err);
    if (st) return st;
    st = locate(name_or_path, folder, err);
    if (st) return st;
    wr_model *m = calloc(1, sizeof *m);
    if (!m) return wr_fail(err, WR_ENOMEM, "%s: out of memory", folder);
    m->weights.precision = precision;
    if ((st = open_folder(m, folder, options, err))) {
        wr_model_close(m);
        return st;
    }
    wr_model_thread_init();
    *model = m;
    return WR_OK;
}

void wr_model_close(wr_model *model)
{
    if (!model) return;
    wr_tokenizer_close(model->tokenizer);
    wr_encoder_close(&model->encoder);
    wr_mlm_close(&model->mlm);
    wr_idf_release(&model->idf);
    free(model->mute);
    free(model->exit);
    free(model->compare);
    wr_weights_release(&model->weights);
    wr_tensors_close(model->tensors);
    free(model->path);
    free(model);
}

const wr_model_info *wr_model_info_get(const wr_model *model)
{
    return &model->info;
}

const wr_tokenizer *wr_model_tokenizer(const wr_model *model)
{
    return model->tokenizer;
}

/* ---- running ---- */

static size_t speed_class(size_t ntok)
{
    size_t halvings = 0;
    while (ntok >>= 1) halvings++;
    return halvings < SPEED_CLASSES ? halvings : SPEED_CLASSES - 1;
}

/* The model is constant to its users; what it learns about speed is its own. */
static _Atomic uint64_t *speed_of(const wr_model *model, size_t class)
{
    return &((wr_model *)(uintptr_t)model)->speed[class];
}

static void learn(const wr_model *model, size_t ntok, double share, uint64_t ns)
{
    _Atomic uint64_t *speed = speed_of(model, speed_class(ntok));
    double all = (double)ns / (share * (double)ntok);
    uint64_t each = all > 1 ? (uint64_t)all : 1, old = atomic_load_explicit(speed, memory_order_relaxed), new;
    do new = old ? old - (old >> SPEED_SHIFT) + (each >> SPEED_SHIFT) : each;
    while (
        !atomic_compare_exchange_weak_explicit(speed, &old, new ? new : 1, memory_order_relaxed, memory_order_relaxed));
}

/* The nearest class that has been measured; of two equally near the one of shorter batches, which promises less.
 * SPEED_CLASSES when none has. */
static size_t measured_class(const wr_model *model, size_t ntok)
{
    size_t at = speed_class(ntok);
    for (size_t away = 0; away < SPEED_CLASSES; away++) {
        if (at >= away && atomic_load_explicit(&model->speed[at - away], memory_order_relaxed)) return at - away;
        if (at + away < SPEED_CLASSES && atomic_load_explicit(&model->speed[at + away], memory_order_relaxed))
            return at + away;
    }
    return SPEED_CLASSES;
}

uint64_t wr_model_predict_ns(const wr_model *model, size_t ntok)
{
    size_t class = measured_class(model, ntok);
    return class < SPEED_CLASSES ? atomic_load_explicit(&model->speed[class], memory_order_relaxed) * ntok : 0;
}

/* A pass that was stopped after ns is as slow as that at least; a guess that were no higher would be tried again at once. */
static void learn_stopped(const wr_model *model, size_t ntok, double share, uint64_t ns)
{
    uint64_t least = (uint64_t)(1.5 * (double)ns / share);
    if (least <= wr_model_predict_ns(model, ntok)) return;
    atomic_store_explicit(speed_of(model, speed_class(ntok)), least / ntok + 1, memory_order_relaxed);
}

void wr_model_doubt(const wr_model *model, size_t ntok)
{
    size_t class = measured_class(model, ntok);
    if (class == SPEED_CLASSES) return;
    _Atomic uint64_t *speed = speed_of(model, class);
    uint64_t old = atomic_load_explicit(speed, memory_order_relaxed), new;
    do new = old - (old >> DOUBT_SHIFT) - (old >> DOUBT_SHIFT == 0);
    while (
        !atomic_compare_exchange_weak_explicit(speed, &old, new ? new : 1, memory_order_relaxed, memory_order_relaxed));
}

/* Logits to weights, in place: the activation of what is above 0. */
static void weigh(const wr_model *model, float *m)
{
    for (size_t i = 0; i < model->nmute; i++) m[model->mute[i]] = 0;
    for (size_t v = 0; v < model->info.vocab; v++) {
        float w = m[v] > 0 ? log1pf(m[v]) : 0;
        m[v] = model->info.act == WR_SPARSE_LOG_LOG && w > 0 ? log1pf(w) : w;
    }
}

/* A passage of MS MARCO with its query. */
#define TYPICAL_TOKENS 96

static wr_pass pass_of(const wr_model *model, const wr_effort *effort)
{
    const wr_model_info *info = &model->info;
    bool classifies = info->kind == WR_MODEL_CROSS && !info->joins;
    wr_pass pass = {.first_only = classifies || info->pooling == WR_POOL_CLS};
    if (effort) {
        pass.exit = effort->exit;
        pass.keep = effort->keep;
        pass.crew = effort->crew;
    }
    return pass;
}

/* The work of a pass against all layers of all tokens. */
static double share_of_work(const wr_model *model, const wr_pass *pass)
{
    wr_pass whole = {.first_only = pass->first_only};
    if (!pass->exit && !(pass->keep > 0)) return 1;
    return wr_encoder_work(&model->encoder, pass, TYPICAL_TOKENS) /
           wr_encoder_work(&model->encoder, &whole, TYPICAL_TOKENS);
}

uint64_t wr_model_predict_ns_with(const wr_model *model, const wr_effort *effort, size_t ntok)
{
    wr_pass pass = pass_of(model, effort);
    return (uint64_t)((double)wr_model_predict_ns(model, ntok) * share_of_work(model, &pass));
}

static wr_status run_head(const wr_model *model, const wr_batch *batch, const wr_pass *pass, const float *states,
                          wr_arena *arena, const wr_budget *budget, float *out)
{
    const wr_model_info *info = &model->info;
    if (info->kind == WR_MODEL_SPARSE) {
        wr_status st = wr_mlm_max(&model->mlm, states, batch, arena, budget, out);
        for (size_t s = 0; s < batch->nseq && !st; s++) weigh(model, out + s * info->vocab);
        return st;
    }
    size_t last = (pass->exit ? pass->exit : info->layers) - 1;
    if (info->joins)
        return wr_interaction_run(&model->compare[last], states, batch, pass->kept ? pass->kept->cu : batch->cu, arena,
                                  out);
    if (info->kind == WR_MODEL_CROSS)
        return wr_classifier_run(&model->exit[last], states, batch->nseq, arena, out);
    wr_batch left = *batch;
    if (pass->kept) left.cu = pass->kept->cu;
    wr_pool_states(info->pooling, info->normalize, states, &left, info->dim, out);
    return WR_OK;
}

/* Encoder and head: out is what the kind of model gives. */
static wr_status run(const wr_model *model, const wr_batch *batch, wr_pass *pass, wr_arena *arena,
                     const wr_budget *budget, float *out)
{
    const wr_clock *clock = budget ? budget->clock : &wr_clock_system;
    uint64_t start = wr_clock_now(clock);
    const float *states;
    wr_kept kept = {0};
    if (pass->keep > 0 && !pass->first_only) {
        kept.cu = wr_arena_alloc(arena, (batch->nseq + 1) * sizeof *kept.cu);
        if (!kept.cu) return WR_ENOMEM;
        pass->kept = &kept;
    }
    wr_model_thread_init();
    wr_status st = wr_encoder_run(&model->encoder, batch, pass, arena, budget, &states);
    if (!st) st = run_head(model, batch, pass, states, arena, budget, out);
    if ((!st || st == WR_STOPPED) && !pass->crew)
        (st ? learn_stopped : learn)(model, batch->cu[batch->nseq], share_of_work(model, pass),
                                     wr_clock_now(clock) - start);
    return st;
}

static wr_status run_as(wr_model_kind kind, const wr_model *model, const wr_batch *batch, const wr_effort *effort,
                        wr_crew *crew, wr_arena *arena, const wr_budget *budget, float *out)
{
    wr_pass pass = pass_of(model, effort);
    if (crew) pass.crew = crew;
    if (model->info.kind != kind || !model->encoder.layer || pass.exit > model->info.layers ||
        !(pass.keep >= 0 && pass.keep <= 1))
        return WR_EARG;
    if (batch->nseq == 0) return WR_OK;
    size_t mark = wr_arena_mark(arena);
    wr_status st = run(model, batch, &pass, arena, budget, out);
    wr_arena_rollback(arena, mark);
    return st;
}

wr_status wr_model_embed(const wr_model *model, const wr_batch *batch, wr_arena *arena, const wr_budget *budget,
                         float *out)
{
    return run_as(WR_MODEL_EMBED, model, batch, NULL, NULL, arena, budget, out);
}

wr_status wr_model_embed_shared(const wr_model *model, const wr_batch *batch, wr_crew *crew, wr_arena *arena,
                                const wr_budget *budget, float *out)
{
    return run_as(WR_MODEL_EMBED, model, batch, NULL, crew, arena, budget, out);
}

wr_status wr_model_embed_with(const wr_model *model, const wr_batch *batch, const wr_effort *effort, wr_arena *arena,
                              const wr_budget *budget, float *out)
{
    return run_as(WR_MODEL_EMBED, model, batch, effort, NULL, arena, budget, out);
}

wr_status wr_model_score(const wr_model *model, const wr_batch *batch, wr_arena *arena, const wr_budget *budget,
                         float *out)
{
    return run_as(WR_MODEL_CROSS, model, batch, NULL, NULL, arena, budget, out);
}

wr_status wr_model_score_with(const wr_model *model, const wr_batch *batch, const wr_effort *effort, wr_arena *arena,
                              const wr_budget *budget, float *out)
{
    return run_as(WR_MODEL_CROSS, model, batch, effort, NULL, arena, budget, out);
}

wr_status wr_model_sparse(const wr_model *model, const wr_batch *batch, wr_arena *arena, const wr_budget *budget,
                          float *out)
{
    return run_as(WR_MODEL_SPARSE, model, batch, NULL, NULL, arena, budget, out);
}

/* ---- one pass for two models ---- */

bool wr_model_one_pass(const wr_model *dense, const wr_model *sparse)
{
    const wr_model_info *d = &dense->info, *s = &sparse->info;
    if (d->kind != WR_MODEL_EMBED || s->kind != WR_MODEL_SPARSE || dense->planned || sparse->planned) return false;
    if (!dense->encoder.layer || !sparse->encoder.layer || d->max_doc_tokens != s->max_doc_tokens) return false;
    /* BLAS rounds the first tokens' rows otherwise when they are multiplied without the rest */
    if (pass_of(dense, NULL).first_only && dense->encoder.layer->query.form == WR_LINEAR_BLAS) return false;
    return !strcmp(wr_tokenizer_sha256(dense->tokenizer), wr_tokenizer_sha256(sparse->tokenizer)) &&
           wr_encoder_same(&dense->encoder, &dense->weights, &sparse->encoder, &sparse->weights);
}

/* Pooling by the first token finds its states among all. */
static wr_status pool_all(const wr_model *model, const wr_batch *batch, const float *states, wr_arena *arena,
                          float *out)
{
    const wr_model_info *info = &model->info;
    float *first = NULL;
    if (info->pooling == WR_POOL_CLS) {
        if (!(first = wr_arena_alloc(arena, batch->nseq * info->dim * sizeof *first))) return WR_ENOMEM;
        for (size_t s = 0; s < batch->nseq; s++)
            memcpy(first + s * info->dim, states + batch->cu[s] * info->dim, info->dim * sizeof *first);
    }
    wr_pool_states(info->pooling, info->normalize, first ? first : states, batch, info->dim, out);
    return WR_OK;
}

wr_status wr_model_embed_sparse(const wr_model *dense, const wr_model *sparse, const wr_batch *batch, wr_crew *crew,
                                wr_arena *arena, const wr_budget *budget, float *vectors, float *weights)
{
    wr_pass pass = {.crew = crew};
    const float *states;
    if (dense->info.kind != WR_MODEL_EMBED || sparse->info.kind != WR_MODEL_SPARSE || !dense->encoder.layer ||
        !sparse->encoder.layer)
        return WR_EARG;
    if (batch->nseq == 0) return WR_OK;
    wr_model_thread_init();
    size_t mark = wr_arena_mark(arena);
    wr_status st = wr_encoder_run(&dense->encoder, batch, &pass, arena, budget, &states);
    if (!st) st = pool_all(dense, batch, states, arena, vectors);
    if (!st) st = run_head(sparse, batch, &pass, states, arena, budget, weights);
    wr_arena_rollback(arena, mark);
    return st;
}

const wr_idf *wr_model_idf(const wr_model *model)
{
    return model->info.has_idf ? &model->idf : NULL;
}

float wr_model_relevance(const wr_model *model, const float *logits)
{
    return model->info.nlabels == 2 ? logits[1] - logits[0] : logits[0];
}

size_t wr_model_arena_bytes(const wr_model *model, size_t ntok, size_t longest)
{
    /* a head's dense layer at most doubles the first tokens' states */
    if (model->info.kind == WR_MODEL_SPARSE)
        return wr_encoder_arena_bytes(&model->encoder, ntok, longest) + wr_mlm_arena_bytes(&model->mlm, ntok);
    if (model->info.joins)
        return wr_encoder_arena_bytes(&model->encoder, ntok, longest) +
               wr_interaction_arena_bytes(model->info.dim, longest) + (ntok + 1) * sizeof(uint32_t) + WR_ARENA_ALIGN;
    return wr_encoder_arena_bytes(&model->encoder, ntok, longest) +
           wr_padded_rows(ntok) * model->info.dim * sizeof(float) + (ntok + 1) * sizeof(uint32_t) + 2 * WR_ARENA_ALIGN;
}

void wr_model_thread_init(void)
{
    wr_linear_thread_init();
}
