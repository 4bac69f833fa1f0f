/* /v1/rerank and /rerank by a decoder. */
#include <math.h>
#include <stdlib.h>

#include "ranker/rerank_listwise.h"
#include "ranker/rerank_pointwise.h"
#include "server/rerank.h"

/* Texts and models that do not go together are the client's to know; the rest is ours. */
static bool refuse(wr_exchange *x, wr_status st, const wr_err *err)
{
    if (st == WR_EARG || st == WR_EFORMAT)
        return wr_problem_set(&x->problem, WR_PROBLEM_INVALID_FIELD, "query", "query: %s", err->text);
    if (st == WR_EUNSUPPORTED) return wr_problem_set(&x->problem, WR_PROBLEM_NO_MODEL, "model", "model: %s", err->text);
    return wr_exchange_fail(x, st, "scoring failed");
}

static bool refuse_cut(wr_exchange *x, size_t i)
{
    return wr_problem_set(&x->problem, WR_PROBLEM_INVALID_FIELD, "truncate",
                          "text %zu is longer than what the model takes of it, and it may not be cut", i);
}

/* ---- lists ---- */

/* What wr_listwise_result() fills, by text. */
typedef struct outcome {
    uint32_t *item;
    float *logit;
    wr_cut *cut;
    size_t first;
} outcome;

static bool take_list(wr_exchange *x, const wr_listwise *list, wr_arena *arena, wr_reranking *rank)
{
    size_t n = list->n;
    outcome o = {wr_arena_alloc(arena, n * sizeof *o.item), wr_arena_alloc(arena, n * sizeof *o.logit),
                 wr_arena_alloc(arena, n * sizeof *o.cut), 0};
    if (!o.item || !o.logit || !o.cut) return wr_exchange_fail(x, WR_ENOMEM, "out of memory");
    wr_listwise_result(list, o.item, o.logit, o.cut, &o.first);
    for (size_t i = 0; i < n; i++) {
        if (o.cut[i] != WR_CUT_NOT && !x->args.rerank.truncate) return refuse_cut(x, i);
        rank->cut += o.cut[i] == WR_CUT_HARDER;
        /* Logits of different windows do not compare: what falls along a list is 1 / rank. */
        rank->item[i] = (wr_reranked){o.item[i], o.logit[o.item[i]], (float)(1.0 / (double)(i + 1))};
    }
    rank->n = n;
    rank->done = n - o.first;
    return true;
}

static bool by_windows(wr_exchange *x, const wr_budget *budget, wr_arena *arena, wr_reranking *rank)
{
    const wr_rerank_args *args = &x->args.rerank;
    const wr_listwise_options options = {.prompt = WR_PROMPT_TEMPLATE};
    wr_listwise list;
    wr_err err;
    wr_passage *passage = wr_arena_alloc(arena, args->n * sizeof *passage);
    if (!passage) return wr_exchange_fail(x, WR_ENOMEM, "out of memory");
    for (size_t i = 0; i < args->n; i++) passage[i] = (wr_passage){.text = args->text[i]};
    wr_status st = wr_listwise_begin(&list, rank->llm, &options, args->query, passage, args->n, arena, &err);
    if (!st) st = wr_listwise_run(&list, x->api->options.pool, budget, NULL, NULL, &err);
    return st ? refuse(x, st, &err) : take_list(x, &list, arena, rank);
}

/* ---- texts ---- */

static bool by_texts(wr_exchange *x, const wr_budget *budget, wr_arena *arena, wr_reranking *rank)
{
    const wr_rerank_args *args = &x->args.rerank;
    const wr_pointwise_options options = {.judge = WR_JUDGE_AUTO};
    wr_pointwise judge;
    wr_err err;
    float *score = wr_arena_alloc(arena, args->n * sizeof *score);
    bool *cut = wr_arena_alloc(arena, args->n * sizeof *cut);
    if (!score || !cut) return wr_exchange_fail(x, WR_ENOMEM, "out of memory");
    wr_status st = wr_pointwise_begin(&judge, rank->llm, &options, args->query, arena, &err);
    if (!st)
        st = wr_pointwise_run(&judge, args->text, args->n, x->api->options.pool, budget, score, cut, &rank->done, &err);
    if (st) return refuse(x, st, &err);
    for (size_t i = 0; i < rank->done; i++) {
        if (cut[i] && !args->truncate) return refuse_cut(x, i);
        rank->item[rank->n++] = (wr_reranked){i, score[i], wr_relevance(score[i])};
    }
    wr_reranked_sort(rank->item, rank->n);
    return true;
}

bool wr_api_rerank_llm(wr_exchange *x, const wr_budget *budget, wr_reranking *rank)
{
    bool texts = x->args.rerank.mode == WR_RERANK_POINTWISE;
    wr_arena *arena = wr_arena_of_thread();
    if (!arena) return wr_exchange_fail(x, WR_ENOMEM, "out of memory");
    size_t mark = wr_arena_mark(arena);
    rank->stage = texts ? "pointwise" : "list";
    bool ok = (texts ? by_texts : by_windows)(x, budget, arena, rank);
    wr_arena_rollback(arena, mark);
    return ok;
}
