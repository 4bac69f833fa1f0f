/* The bodies of the POST routes as structs, one parser for each dialect. Parsers are pure: bytes in, struct or problem
 * out; they know no index and no model. Texts are borrowed from args->root until the release.
 */
#ifndef WR_SERVER_REQUESTS_H
#define WR_SERVER_REQUESTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "models/embed.h"
#include "ranker/rank.h"
#include "server/problem.h"

/* Texts in one body: what Cohere takes to rerank; to embed, what OpenAI takes. */
#define WR_MAX_RERANK_TEXTS 10000
#define WR_MAX_EMBED_TEXTS 2048

/* Tokens of a query that brings its learned sparse weights: more than a text of the longest query has. */
#define WR_MAX_SPARSE_TOKENS 10000

/* POST /v1/search: {"query", "k", "offset", "budget_ms", "pipeline", "filter", "explain", "return_text", "strict",
 * "sparse": {"token": weight}}. */
typedef struct wr_search_args {
    json_t *root;
    wr_text query, pipeline; /* pipeline.bytes NULL = default */
    size_t k, offset;
    double budget_ms; /* 0 = none named */
    bool explain, return_text, strict;
    const char **sparse_token; /* [nsparse] of "sparse", NULL when absent */
    float *sparse_weight;      /* [nsparse] finite, from 0                */
    size_t nsparse;
} wr_search_args;

bool wr_search_parse(const char *body, size_t n, wr_search_args *args, wr_problem *problem);
void wr_search_release(wr_search_args *args);

/* POST /v1/rerank (Cohere, Jina, Voyage): {"query", "documents" | "texts", "top_n" | "top_k", "model",
 * "return_documents", "truncation", "mode", "budget_ms", "strict"}, documents being strings or {"text"}.
 * POST /rerank (TEI): {"query", "texts", "raw_scores", "return_text", "truncate", "truncation_direction", "model", "mode",
 * "budget_ms", "strict"}. */
typedef enum wr_rerank_mode { WR_RERANK_ANY, WR_RERANK_LISTWISE, WR_RERANK_POINTWISE } wr_rerank_mode;

typedef struct wr_rerank_args {
    json_t *root;
    wr_text query, model; /* model.n 0 = the first one loaded */
    wr_rerank_mode mode;
    wr_text *text;        /* [n] */
    size_t n, top_n;      /* top_n 1..n */
    double budget_ms;
    bool return_text, raw_scores, truncate, strict;
} wr_rerank_args;

bool wr_rerank_parse(const char *body, size_t n, wr_rerank_args *args, wr_problem *problem);
bool wr_tei_rerank_parse(const char *body, size_t n, wr_rerank_args *args, wr_problem *problem);
void wr_rerank_release(wr_rerank_args *args);

/* POST /v1/embeddings (OpenAI): {"input", "model", "encoding_format", "dimensions", "user"}.
 * POST /embed (TEI): {"inputs", "normalize", "truncate", "truncation_direction"}.
 * POST /embed_sparse (TEI): {"inputs", "truncate", "truncation_direction", "prompt_name": "document" or "query"}. */
typedef struct wr_embed_args {
    json_t *root;
    wr_text model;
    wr_text *text; /* [n] */
    size_t n;
    size_t dimensions; /* 0 = not named */
    bool base64, normalize, truncate, query;
} wr_embed_args;

bool wr_embed_parse(const char *body, size_t n, wr_embed_args *args, wr_problem *problem);
bool wr_tei_sparse_parse(const char *body, size_t n, wr_embed_args *args, wr_problem *problem);
bool wr_tei_embed_parse(const char *body, size_t n, wr_embed_args *args, wr_problem *problem);
void wr_embed_release(wr_embed_args *args);

/* The same checks wherever a budget is named: more than 0, at most an hour. */
bool wr_budget_check(double budget_ms, const char *field, wr_problem *problem);
bool wr_query_check(wr_text query, wr_problem *problem);

#endif
