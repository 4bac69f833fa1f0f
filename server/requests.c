#include "server/requests.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "server/body.h"

#define DEFAULT_K 10
#define MAX_BUDGET_MS 3600000.0 /* an hour: more is a mistake of units */

bool wr_budget_check(double budget_ms, const char *field, wr_problem *problem)
{
    if (budget_ms > 0 && budget_ms <= MAX_BUDGET_MS) return true;
    return wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, field,
                          "%s: %g, expected more than 0 and at most %g (leave it out for no deadline)", field, budget_ms,
                          MAX_BUDGET_MS);
}

bool wr_query_check(wr_text query, wr_problem *problem)
{
    if (query.n <= WR_MAX_QUERY_BYTES) return true;
    return wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, "query", "query: %zu bytes, expected at most %d", query.n,
                          WR_MAX_QUERY_BYTES);
}

/* ---- search ---- */

static bool check_search(const wr_search_args *args, const json_t *filter, wr_problem *problem)
{
    if (!wr_query_check(args->query, problem)) return false;
    if (args->k < 1 || args->k > WR_MAX_K)
        return wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, "k", "k: %zu, expected 1 to %d", args->k, WR_MAX_K);
    if (args->offset > WR_MAX_K - args->k)
        return wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, "offset", "offset: %zu, expected offset + k to be at most %d",
                              args->offset, WR_MAX_K);
    if (filter && json_object_size(filter))
        return wr_problem_set(problem, WR_PROBLEM_FILTER, "filter", "filter: is not empty, and filters do not exist yet");
    if (args->pipeline.bytes && strlen(args->pipeline.bytes) != args->pipeline.n)
        return wr_problem_set(problem, WR_PROBLEM_BAD_PIPELINE, "pipeline", "pipeline: holds a NUL");
    return true;
}

static bool read_sparse(json_t *sparse, wr_search_args *args, wr_problem *problem)
{
    const char *token;
    json_t *value;
    size_t n = json_object_size(sparse);
    if (!sparse) return true;
    if (n > WR_MAX_SPARSE_TOKENS)
        return wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, "sparse", "sparse: %zu tokens, expected at most %d", n,
                              WR_MAX_SPARSE_TOKENS);
    args->sparse_token = malloc((n + 1) * sizeof *args->sparse_token);
    args->sparse_weight = malloc((n + 1) * sizeof *args->sparse_weight);
    if (!args->sparse_token || !args->sparse_weight)
        return wr_problem_set(problem, WR_PROBLEM_INTERNAL, NULL, "out of memory");
    json_object_foreach(sparse, token, value)
    {
        double weight = json_is_number(value) ? json_number_value(value) : -1;
        if (!(weight >= 0 && weight <= FLT_MAX))
            return wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, "sparse",
                                  "sparse: the weight of \"%.60s\" is no number from 0", token);
        args->sparse_token[args->nsparse] = token;
        args->sparse_weight[args->nsparse++] = (float)weight;
    }
    return true;
}

bool wr_search_parse(const char *body, size_t n, wr_search_args *args, wr_problem *problem)
{
    json_t *filter = NULL, *sparse = NULL;
    double budget_ms = 1; /* a value that passes when none is named */
    *args = (wr_search_args){.k = DEFAULT_K, .return_text = true};
    const wr_field fields[] = {
        {"query", WR_FIELD_TEXT, WR_FIELD_REQUIRED, &args->query},
        {"k", WR_FIELD_SIZE, 0, &args->k},
        {"offset", WR_FIELD_SIZE, 0, &args->offset},
        {"budget_ms", WR_FIELD_DOUBLE, 0, &budget_ms},
        {"pipeline", WR_FIELD_TEXT, 0, &args->pipeline},
        {"filter", WR_FIELD_OBJECT, 0, &filter},
        {"explain", WR_FIELD_BOOL, 0, &args->explain},
        {"return_text", WR_FIELD_BOOL, 0, &args->return_text},
        {"strict", WR_FIELD_BOOL, 0, &args->strict},
        {"sparse", WR_FIELD_OBJECT, 0, &sparse},
        {0}};
    if (!wr_body_read(&args->root, body, n, fields, problem)) return false;
    if (json_object_get(args->root, "budget_ms")) args->budget_ms = budget_ms;
    if (check_search(args, filter, problem) && wr_budget_check(budget_ms, "budget_ms", problem) &&
        read_sparse(sparse, args, problem))
        return true;
    wr_search_release(args);
    return false;
}

void wr_search_release(wr_search_args *args)
{
    free(args->sparse_token);
    free(args->sparse_weight);
    args->sparse_token = NULL;
    args->sparse_weight = NULL;
    json_decref(args->root);
    args->root = NULL;
}

/* ---- rerank ---- */

static bool direction_check(wr_text direction, wr_problem *problem)
{
    if (!direction.bytes || !strcasecmp(direction.bytes, "right")) return true;
    return wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, "truncation_direction",
                          "truncation_direction: texts are cut on the right only");
}

static bool read_mode(wr_rerank_args *args, wr_text mode, wr_problem *problem)
{
    static const char *const names[] = {[WR_RERANK_LISTWISE] = "listwise", [WR_RERANK_POINTWISE] = "pointwise"};
    for (size_t i = WR_RERANK_LISTWISE; i <= WR_RERANK_POINTWISE && mode.bytes; i++)
        if (mode.n == strlen(names[i]) && !memcmp(mode.bytes, names[i], mode.n)) args->mode = (wr_rerank_mode)i;
    if (!mode.bytes || args->mode != WR_RERANK_ANY) return true;
    return wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, "mode", "mode: expected listwise or pointwise");
}

static bool finish_rerank(wr_rerank_args *args, json_t *texts, const char *field, double budget_ms, wr_problem *problem)
{
    if (json_object_get(args->root, "budget_ms") && !json_is_null(json_object_get(args->root, "budget_ms"))) {
        if (!wr_budget_check(budget_ms, "budget_ms", problem)) return false;
        args->budget_ms = budget_ms;
    }
    if (!wr_query_check(args->query, problem)) return false;
    if (!json_is_array(texts))
        return wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, field, "%s: expected an array", field);
    if (!wr_body_texts(texts, field, WR_MAX_RERANK_TEXTS, true, &args->text, &args->n, problem)) return false;
    if (args->top_n == 0 || args->top_n > args->n) args->top_n = args->n;
    return true;
}

/* Of two names for one field at most one may be used. */
static bool one_of(const wr_rerank_args *args, const char *a, const char *b, bool required, wr_problem *problem)
{
    bool has_a = json_object_get(args->root, a), has_b = json_object_get(args->root, b);
    if (has_a && has_b)
        return wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, b, "%s: is another name for %s, expected one of them", b,
                              a);
    if (required && !has_a && !has_b)
        return wr_problem_set(problem, WR_PROBLEM_MISSING_FIELD, a, "%s (or %s): is missing", a, b);
    return true;
}

bool wr_rerank_parse(const char *body, size_t n, wr_rerank_args *args, wr_problem *problem)
{
    json_t *documents = NULL, *texts = NULL;
    wr_text mode = {0};
    size_t top_n = 1, top_k = 1;
    double budget_ms = 0;
    *args = (wr_rerank_args){.truncate = true};
    const wr_field fields[] = {
        {"query", WR_FIELD_TEXT, WR_FIELD_REQUIRED, &args->query},
        {"documents", WR_FIELD_ANY, 0, &documents},
        {"texts", WR_FIELD_ANY, 0, &texts},
        {"top_n", WR_FIELD_SIZE, WR_FIELD_NULLABLE, &top_n},
        {"top_k", WR_FIELD_SIZE, WR_FIELD_NULLABLE, &top_k},
        {"model", WR_FIELD_TEXT, WR_FIELD_NULLABLE, &args->model},
        {"return_documents", WR_FIELD_BOOL, WR_FIELD_NULLABLE, &args->return_text},
        {"truncation", WR_FIELD_BOOL, WR_FIELD_NULLABLE, &args->truncate},
        {"mode", WR_FIELD_TEXT, WR_FIELD_NULLABLE, &mode},
        {"budget_ms", WR_FIELD_DOUBLE, WR_FIELD_NULLABLE, &budget_ms},
        {"strict", WR_FIELD_BOOL, WR_FIELD_NULLABLE, &args->strict},
        {0}};
    if (!wr_body_read(&args->root, body, n, fields, problem)) return false;
    bool named = !json_is_null(json_object_get(args->root, "top_n")) && json_object_get(args->root, "top_n");
    bool ok = one_of(args, "documents", "texts", true, problem) && one_of(args, "top_n", "top_k", false, problem) &&
              read_mode(args, mode, problem);
    if (ok && (top_n == 0 || top_k == 0))
        ok = wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, top_n ? "top_k" : "top_n", "%s: 0, expected 1 or more",
                            top_n ? "top_k" : "top_n");
    args->top_n = named ? top_n : json_is_integer(json_object_get(args->root, "top_k")) ? top_k : 0;
    if (ok && finish_rerank(args, documents ? documents : texts, documents ? "documents" : "texts", budget_ms, problem)) return true;
    wr_rerank_release(args);
    return false;
}

bool wr_tei_rerank_parse(const char *body, size_t n, wr_rerank_args *args, wr_problem *problem)
{
    json_t *texts = NULL;
    wr_text direction = {0}, mode = {0};
    double budget_ms = 0;
    *args = (wr_rerank_args){.truncate = true};
    const wr_field fields[] = {
        {"query", WR_FIELD_TEXT, WR_FIELD_REQUIRED, &args->query},
        {"texts", WR_FIELD_ANY, WR_FIELD_REQUIRED, &texts},
        {"raw_scores", WR_FIELD_BOOL, WR_FIELD_NULLABLE, &args->raw_scores},
        {"return_text", WR_FIELD_BOOL, WR_FIELD_NULLABLE, &args->return_text},
        {"truncate", WR_FIELD_BOOL, WR_FIELD_NULLABLE, &args->truncate},
        {"truncation_direction", WR_FIELD_TEXT, WR_FIELD_NULLABLE, &direction},
        {"model", WR_FIELD_TEXT, WR_FIELD_NULLABLE, &args->model},
        {"mode", WR_FIELD_TEXT, WR_FIELD_NULLABLE, &mode},
        {"budget_ms", WR_FIELD_DOUBLE, WR_FIELD_NULLABLE, &budget_ms},
        {"strict", WR_FIELD_BOOL, WR_FIELD_NULLABLE, &args->strict},
        {0}};
    if (!wr_body_read(&args->root, body, n, fields, problem)) return false;
    if (direction_check(direction, problem) && read_mode(args, mode, problem) &&
        finish_rerank(args, texts, "texts", budget_ms, problem)) return true;
    wr_rerank_release(args);
    return false;
}

void wr_rerank_release(wr_rerank_args *args)
{
    free(args->text);
    args->text = NULL;
    json_decref(args->root);
    args->root = NULL;
}

/* ---- embed ---- */

bool wr_embed_parse(const char *body, size_t n, wr_embed_args *args, wr_problem *problem)
{
    json_t *input = NULL;
    wr_text format = {0}, user = {0};
    size_t dimensions = 1;
    *args = (wr_embed_args){.normalize = false, .truncate = true};
    const wr_field fields[] = {
        {"input", WR_FIELD_ANY, WR_FIELD_REQUIRED, &input},
        {"model", WR_FIELD_TEXT, WR_FIELD_NULLABLE, &args->model},
        {"encoding_format", WR_FIELD_TEXT, WR_FIELD_NULLABLE, &format},
        {"dimensions", WR_FIELD_SIZE, WR_FIELD_NULLABLE, &dimensions},
        {"user", WR_FIELD_TEXT, WR_FIELD_NULLABLE, &user}, /* OpenAI's field for its own abuse reports */
        {0}};
    if (!wr_body_read(&args->root, body, n, fields, problem)) return false;
    bool ok = true;
    args->base64 = format.bytes && !strcmp(format.bytes, "base64");
    if (format.bytes && !args->base64 && strcmp(format.bytes, "float"))
        ok = wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, "encoding_format",
                            "encoding_format: expected float or base64");
    if (ok && dimensions == 0)
        ok = wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, "dimensions", "dimensions: 0, expected the model's");
    if (json_is_integer(json_object_get(args->root, "dimensions"))) args->dimensions = dimensions;
    if (ok && wr_body_texts(input, "input", WR_MAX_EMBED_TEXTS, false, &args->text, &args->n, problem)) return true;
    wr_embed_release(args);
    return false;
}

bool wr_tei_embed_parse(const char *body, size_t n, wr_embed_args *args, wr_problem *problem)
{
    json_t *inputs = NULL;
    wr_text direction = {0};
    *args = (wr_embed_args){.normalize = true, .truncate = true};
    const wr_field fields[] = {
        {"inputs", WR_FIELD_ANY, WR_FIELD_REQUIRED, &inputs},
        {"normalize", WR_FIELD_BOOL, WR_FIELD_NULLABLE, &args->normalize},
        {"truncate", WR_FIELD_BOOL, WR_FIELD_NULLABLE, &args->truncate},
        {"truncation_direction", WR_FIELD_TEXT, WR_FIELD_NULLABLE, &direction},
        {0}};
    if (!wr_body_read(&args->root, body, n, fields, problem)) return false;
    if (direction_check(direction, problem) &&
        wr_body_texts(inputs, "inputs", WR_MAX_EMBED_TEXTS, false, &args->text, &args->n, problem)) return true;
    wr_embed_release(args);
    return false;
}

bool wr_tei_sparse_parse(const char *body, size_t n, wr_embed_args *args, wr_problem *problem)
{
    json_t *inputs = NULL;
    wr_text direction = {0}, prompt = {0};
    *args = (wr_embed_args){.truncate = true};
    const wr_field fields[] = {
        {"inputs", WR_FIELD_ANY, WR_FIELD_REQUIRED, &inputs},
        {"truncate", WR_FIELD_BOOL, WR_FIELD_NULLABLE, &args->truncate},
        {"truncation_direction", WR_FIELD_TEXT, WR_FIELD_NULLABLE, &direction},
        {"prompt_name", WR_FIELD_TEXT, WR_FIELD_NULLABLE, &prompt},
        {0}};
    if (!wr_body_read(&args->root, body, n, fields, problem)) return false;
    bool ok = direction_check(direction, problem);
    args->query = prompt.bytes && !strcmp(prompt.bytes, "query");
    if (ok && prompt.bytes && !args->query && strcmp(prompt.bytes, "document"))
        ok = wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, "prompt_name", "prompt_name: expected query or document");
    if (ok && wr_body_texts(inputs, "inputs", WR_MAX_EMBED_TEXTS, false, &args->text, &args->n, problem)) return true;
    wr_embed_release(args);
    return false;
}

void wr_embed_release(wr_embed_args *args)
{
    free(args->text);
    args->text = NULL;
    json_decref(args->root);
    args->root = NULL;
}
