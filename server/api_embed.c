/* POST /v1/embeddings (the shape of OpenAI), POST /embed and /embed_sparse (Text Embeddings Inference).
 *
 * Texts are encoded as documents, for /embed_sparse as queries when prompt_name says so. A budget cannot make half a vector, so these routes take none. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/arena.h"
#include "server/exchange.h"

/* ---- bodies ---- */

bool wr_api_embed_parse(wr_exchange *x)
{
    return wr_embed_parse(x->call->body ? x->call->body : "", x->call->body_n, &x->args.embed, &x->problem);
}

bool wr_api_tei_embed_parse(wr_exchange *x)
{
    return wr_tei_embed_parse(x->call->body ? x->call->body : "", x->call->body_n, &x->args.embed, &x->problem);
}

bool wr_api_tei_sparse_parse(wr_exchange *x)
{
    return wr_tei_sparse_parse(x->call->body ? x->call->body : "", x->call->body_n, &x->args.embed, &x->problem);
}

void wr_api_embed_release(wr_exchange *x)
{
    wr_embed_release(&x->args.embed);
}

/* ---- encoding ---- */

static const wr_model *find_model(wr_exchange *x)
{
    const wr_embed_args *args = &x->args.embed;
    const char *wanted = args->model.n ? args->model.bytes : "";
    const wr_model *model = wr_loaded_embedder(x->api->loaded, wanted), *any = wr_loaded_embedder(x->api->loaded, "");
    if (!any)
        wr_problem_set(&x->problem, WR_PROBLEM_NO_MODEL, NULL, "no embedder is loaded: no index here has vectors");
    else if (!model)
        wr_problem_set(&x->problem, WR_PROBLEM_NO_MODEL, "model", "model: %s is not loaded, expected %s", wanted,
                       wr_model_info_get(any)->name);
    else if (args->dimensions && args->dimensions != wr_model_info_get(model)->dim)
        wr_problem_set(&x->problem, WR_PROBLEM_INVALID_FIELD, "dimensions", "dimensions: %zu, the model's vectors have %zu",
                       args->dimensions, wr_model_info_get(model)->dim);
    else
        return model;
    return NULL;
}

static void normalise(float *v, size_t dim)
{
    double sum = 0;
    for (size_t i = 0; i < dim; i++) sum += (double)v[i] * v[i];
    if (sum <= 0) return;
    double scale = 1 / sqrt(sum);
    for (size_t i = 0; i < dim; i++) v[i] = (float)(v[i] * scale);
}

/* What was cut, where it may not be, is a problem. */
static bool may_be_cut(wr_exchange *x, const bool *cut, size_t limit)
{
    for (size_t i = 0; i < x->args.embed.n && !x->args.embed.truncate; i++)
        if (cut[i])
            return wr_problem_set(&x->problem, WR_PROBLEM_INVALID_FIELD, "truncate",
                                  "input %zu is longer than the %zu tokens that the model takes, and it may not be cut",
                                  i, limit);
    return true;
}

/* Vectors of all texts, owned by the caller, or NULL with a problem. */
static float *encode(wr_exchange *x, const wr_model *model)
{
    const wr_embed_args *args = &x->args.embed;
    const wr_model_info *info = wr_model_info_get(model);
    float *vector = calloc(args->n * info->dim, sizeof *vector);
    bool *cut = calloc(args->n, sizeof *cut), ok = vector && cut;
    wr_status st = ok ? wr_embed_texts(model, x->api->options.pool, args->text, args->n, false, NULL, vector, cut)
                      : WR_ENOMEM;
    if (st) ok = wr_exchange_fail(x, st, "encoding failed");
    if (ok) ok = may_be_cut(x, cut, info->max_doc_tokens);
    for (size_t i = 0; i < args->n && ok && args->normalize && !info->normalize; i++)
        normalise(vector + i * info->dim, info->dim);
    free(cut);
    if (ok) return vector;
    free(vector);
    return NULL;
}

/* Tokens that the model sees of all texts, special ones included. */
static bool count_tokens(wr_exchange *x, const wr_model *model, uint64_t *total)
{
    const wr_embed_args *args = &x->args.embed;
    wr_arena *arena = wr_arena_of_thread();
    wr_status st = arena ? WR_OK : WR_ENOMEM;
    *total = 0;
    for (size_t i = 0; i < args->n && !st; i++) {
        wr_tokens tokens;
        size_t mark = wr_arena_mark(arena);
        st = wr_tokenizer_single(wr_model_tokenizer(model), args->text[i].bytes, args->text[i].n, arena,
                                 wr_model_info_get(model)->max_doc_tokens, &tokens);
        if (!st) *total += tokens.n;
        wr_arena_rollback(arena, mark);
    }
    return st ? wr_exchange_fail(x, st, "tokenizing failed") : true;
}

/* ---- learned sparse weights ---- */

/* Weights of all texts, in an array owned by the caller, or NULL with a problem. */
static wr_token_weights *expand(wr_exchange *x, const wr_model *model)
{
    const wr_embed_args *args = &x->args.embed;
    const wr_model_info *info = wr_model_info_get(model);
    wr_token_weights *out = calloc(args->n, sizeof *out);
    bool *cut = calloc(args->n, sizeof *cut), ok = out && cut;
    wr_status st = ok ? wr_sparse_texts(model, x->api->options.pool, args->text, args->n, args->query, NULL, out, cut)
                      : WR_ENOMEM;
    if (st) ok = wr_exchange_fail(x, st, "encoding failed");
    if (ok && !(ok = may_be_cut(x, cut, args->query ? info->max_query_tokens : info->max_doc_tokens)))
        wr_token_weights_release(out, args->n);
    free(cut);
    if (ok) return out;
    free(out);
    return NULL;
}

/* ---- answers ---- */

static void write_vector(wr_out *out, const float *v, size_t dim)
{
    wr_out_puts(out, "[");
    for (size_t i = 0; i < dim; i++) {
        if (i) wr_out_puts(out, ",");
        wr_out_float(out, v[i]);
    }
    wr_out_puts(out, "]");
}

static void write_openai(wr_exchange *x, const wr_model_info *info, const float *vector, uint64_t tokens)
{
    const wr_embed_args *args = &x->args.embed;
    wr_out *out = &x->call->reply;
    wr_out_puts(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < args->n; i++) {
        const float *v = vector + i * info->dim;
        wr_out_puts(out, i ? ",{\"object\":\"embedding\",\"index\":" : "{\"object\":\"embedding\",\"index\":");
        wr_out_u64(out, i);
        wr_out_puts(out, ",\"embedding\":");
        if (args->base64) wr_out_base64(out, v, info->dim * sizeof *v); /* little-endian floats, as this machine's */
        else write_vector(out, v, info->dim);
        wr_out_puts(out, "}");
    }
    wr_out_puts(out, "],\"model\":");
    wr_out_string(out, info->name, strlen(info->name));
    wr_out_printf(out, ",\"usage\":{\"prompt_tokens\":%llu,\"total_tokens\":%llu}}", (unsigned long long)tokens,
                  (unsigned long long)tokens);
}

bool wr_api_embed_run(wr_exchange *x)
{
    const wr_model *model = find_model(x);
    uint64_t tokens;
    float *vector = model && count_tokens(x, model, &tokens) ? encode(x, model) : NULL;
    if (!vector) return false;
    write_openai(x, wr_model_info_get(model), vector, tokens);
    free(vector);
    return true;
}

bool wr_api_tei_embed_run(wr_exchange *x)
{
    const wr_model *model = find_model(x);
    float *vector = model ? encode(x, model) : NULL;
    if (!vector) return false;
    size_t dim = wr_model_info_get(model)->dim;
    wr_out *out = &x->call->reply;
    wr_out_puts(out, "[");
    for (size_t i = 0; i < x->args.embed.n; i++) {
        if (i) wr_out_puts(out, ",");
        write_vector(out, vector + i * dim, dim);
    }
    wr_out_puts(out, "]");
    free(vector);
    return true;
}

static void write_weights(wr_out *out, const wr_token_weights *w)
{
    wr_out_puts(out, "[");
    for (size_t i = 0; i < w->n; i++) {
        wr_out_puts(out, i ? ",{\"index\":" : "{\"index\":");
        wr_out_u64(out, w->id[i]);
        wr_out_puts(out, ",\"value\":");
        wr_out_float(out, w->weight[i]);
        wr_out_puts(out, "}");
    }
    wr_out_puts(out, "]");
}

bool wr_api_tei_sparse_run(wr_exchange *x)
{
    const wr_model *model = wr_loaded_expander(x->api->loaded, "");
    if (!model)
        return wr_problem_set(&x->problem, WR_PROBLEM_NO_MODEL, NULL,
                              "no learned sparse model is loaded: no index here was built with one");
    wr_token_weights *weights = expand(x, model);
    if (!weights) return false;
    wr_out *out = &x->call->reply;
    wr_out_puts(out, "[");
    for (size_t i = 0; i < x->args.embed.n; i++) {
        if (i) wr_out_puts(out, ",");
        write_weights(out, &weights[i]);
    }
    wr_out_puts(out, "]");
    wr_token_weights_release(weights, x->args.embed.n);
    free(weights);
    return true;
}
