/* weir encode: texts on standard input -> one JSON line each, vectors of a model or weights of its vocabulary's tokens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/command.h"
#include "data/json.h"
#include "models/model.h"
#include "ranker/rank.h"
#include "tools/texts.h"

/* Texts that are held at a time: enough to fill the pool with micro-batches of equal length, a few megabytes. */
#define BATCH 512

typedef struct encode_args {
    const char *model, *as, *pooling, *max_tokens, *precision;
    size_t threads;
    double prune_ratio;
} encode_args;

static wr_status parse_pooling(const char *name, wr_pooling *out, wr_err *err)
{
    if (!name) *out = WR_POOL_AUTO;
    else if (!strcmp(name, "cls")) *out = WR_POOL_CLS;
    else if (!strcmp(name, "mean")) *out = WR_POOL_MEAN;
    else if (!strcmp(name, "max")) *out = WR_POOL_MAX;
    else return wr_fail(err, WR_EARG, "--pooling %s: cls, mean or max was expected", name);
    return WR_OK;
}

/* "N" or "N,Q" */
static wr_status parse_max_tokens(const char *text, wr_model_options *options, wr_err *err)
{
    char *end;
    if (!text) return WR_OK;
    unsigned long doc = strtoul(text, &end, 10), query = doc;
    if (end != text && *end == ',') query = strtoul(end + 1, &end, 10);
    /* [CLS] and [SEP] take two; the upper end is the model's, which checks it. */
    if (*end || *text == '-' || doc < 2 || query < 2 || doc > 1u << 20 || query > 1u << 20)
        return wr_fail(err, WR_EARG, "--max-tokens %s: N or N,Q with numbers from 2 was expected", text);
    options->max_doc_tokens = doc;
    options->max_query_tokens = query;
    return WR_OK;
}

static void print_string(const char *text)
{
    json_t *string = json_string(text);
    char *quoted = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
    fputs(quoted ? quoted : "null", stdout);
    free(quoted);
    json_decref(string);
}

static void print_vector(const char *id, const float *x, size_t dim)
{
    fputs("{\"id\":", stdout);
    print_string(id);
    fputs(",\"vector\":[", stdout);
    for (size_t i = 0; i < dim; i++) printf("%s%.9g", i ? "," : "", (double)x[i]);
    puts("]}");
}

typedef struct entry {
    uint32_t id;
    float weight;
} entry;

static int heaviest_first(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->weight < y->weight || x->weight > y->weight) return x->weight > y->weight ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static wr_status print_weights(const char *id, const wr_token_weights *w, const wr_tokenizer *tok)
{
    entry *all = malloc((w->n + 1) * sizeof *all);
    if (!all) return WR_ENOMEM;
    for (size_t i = 0; i < w->n; i++) all[i] = (entry){w->id[i], w->weight[i]};
    qsort(all, w->n, sizeof *all, heaviest_first);
    fputs("{\"id\":", stdout);
    print_string(id);
    fputs(",\"sparse\":{", stdout);
    for (size_t i = 0; i < w->n; i++) {
        if (i) putchar(',');
        print_string(wr_tokenizer_token(tok, all[i].id));
        printf(":%.9g", (double)all[i].weight);
    }
    puts("}}");
    free(all);
    return WR_OK;
}

/* What one batch of texts is encoded into, by what the model is. */
typedef struct encoded {
    float *vector;            /* [BATCH, dim] */
    wr_token_weights *weight; /* [BATCH]      */
} encoded;

static wr_status encode_batch(const wr_model *model, wr_pool *pool, bool query, const wr_texts *texts, encoded *out)
{
    size_t dim = wr_model_info_get(model)->dim;
    if (out->vector) {
        wr_status st = wr_embed_texts(model, pool, texts->text, texts->n, query, NULL, out->vector, NULL);
        for (size_t i = 0; i < texts->n && !st; i++) print_vector(texts->id[i], out->vector + i * dim, dim);
        return st;
    }
    wr_status st = wr_sparse_texts(model, pool, texts->text, texts->n, query, NULL, out->weight, NULL);
    if (st) return st;
    for (size_t i = 0; i < texts->n && !st; i++)
        st = print_weights(texts->id[i], &out->weight[i], wr_model_tokenizer(model));
    wr_token_weights_release(out->weight, texts->n);
    return st;
}

static wr_status encode_all(const wr_model *model, wr_pool *pool, bool query, wr_lines *lines, wr_err *err)
{
    const wr_model_info *info = wr_model_info_get(model);
    bool sparse = info->kind == WR_MODEL_SPARSE;
    encoded out = {.vector = sparse ? NULL : malloc(BATCH * info->dim * sizeof *out.vector),
                   .weight = sparse ? malloc(BATCH * sizeof *out.weight) : NULL};
    wr_texts texts = {0};
    wr_status st = out.vector || out.weight ? WR_OK : wr_fail(err, WR_ENOMEM, "out of memory");
    while (!st) {
        wr_texts_clear(&texts);
        if ((st = wr_texts_read(&texts, lines, BATCH, err)) || texts.n == 0) break;
        st = encode_batch(model, pool, query, &texts, &out);
        if (st) wr_fail(err, st, "encoding: %s", wr_status_name(st));
    }
    wr_texts_release(&texts);
    free(out.vector);
    free(out.weight);
    return st;
}

/* Queries that are looked up in a table do not wait for the model's weights. */
static wr_status open_model(wr_model **model, const char *name, bool query, wr_model_options *options, wr_err *err)
{
    options->tokenizer_only = query;
    wr_status st = wr_model_open(model, name, options, err);
    if (st || !query || wr_model_info_get(*model)->has_idf) return st;
    options->tokenizer_only = false;
    wr_model_close(*model);
    return wr_model_open(model, name, options, err);
}

static wr_status encode(const encode_args *args, wr_err *err)
{
    wr_model_options options = {.precision = args->precision, .prune_ratio = args->prune_ratio};
    bool query = args->as && !strcmp(args->as, "query");
    wr_model *model = NULL;
    wr_pool *pool = NULL;
    wr_lines *lines = NULL;
    wr_status st = parse_pooling(args->pooling, &options.pooling, err);
    if (!st && !args->model) st = wr_fail(err, WR_EARG, "--model MODEL is needed");
    if (!st && args->as && strcmp(args->as, "query") && strcmp(args->as, "document"))
        st = wr_fail(err, WR_EARG, "--as %s: query or document was expected", args->as);
    if (!st) st = parse_max_tokens(args->max_tokens, &options, err);
    if (!st) st = open_model(&model, args->model, query, &options, err);
    if (!st && wr_model_info_get(model)->kind == WR_MODEL_CROSS)
        st = wr_fail(err, WR_EARG, "%s: is a cross-encoder, it gives scores and no vectors (weir rerank)", args->model);
    if (!st) st = wr_pool_open(&pool, (unsigned)args->threads, wr_ranker_thread_start, err);
    if (!st) st = wr_lines_open(&lines, "-", err);
    if (!st) st = encode_all(model, pool, query, lines, err);
    wr_lines_close(lines);
    wr_pool_close(pool);
    wr_model_close(model);
    return st;
}

static int run(int argc, char **argv)
{
    encode_args args = {0};
    const struct wr_option options[] = {
        {"model", "MODEL", "a Hugging Face directory or the name of a default model", WR_OPT_TEXT, &args.model},
        {"as", "query|document", "which token limit applies, and for a sparse model how (document)", WR_OPT_TEXT, &args.as},
        {"pooling", "cls|mean|max", "instead of what the model's files say", WR_OPT_TEXT, &args.pooling},
        {"max-tokens", "N[,Q]", "token limit of documents and queries", WR_OPT_TEXT, &args.max_tokens},
        {"prune-ratio", "R", "sparse: drops weights up to this share of a text's largest (0)", WR_OPT_DOUBLE,
         &args.prune_ratio},
        {"precision", "P", "arithmetic: fp32, bf16 or int8 (as the model is stored)", WR_OPT_TEXT, &args.precision},
        {"threads", "N", "workers (all that the process may use)", WR_OPT_SIZE, &args.threads},
        {0}};
    wr_err err;
    wr_status st = wr_options_parse(&wr_cmd_encode, options, argc, argv, NULL, 0, NULL);
    if (st) return wr_exit_status(st > 0 ? WR_OK : st);
    st = encode(&args, &err);
    return st ? wr_command_fail(&wr_cmd_encode, st, &err) : 0;
}

const struct wr_command wr_cmd_encode = {
    "encode", "weir encode --model MODEL [options] < texts",
    "turns texts on standard input (one a line, or jsonl) into vectors or token weights, one JSON line each", run};
