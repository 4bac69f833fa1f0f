/* POST /v1/rerank (the shape of Cohere and Jina) and POST /rerank (Text Embeddings Inference). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/reply.h"
#include "server/rerank.h"

/* ---- bodies ---- */

static bool parsed(wr_exchange *x, bool ok)
{
    if (ok) wr_exchange_budget(x, x->args.rerank.budget_ms);
    return ok;
}

bool wr_api_rerank_parse(wr_exchange *x)
{
    const char *body = x->call->body ? x->call->body : "";
    return parsed(x, wr_rerank_parse(body, x->call->body_n, &x->args.rerank, &x->problem));
}

bool wr_api_tei_rerank_parse(wr_exchange *x)
{
    const char *body = x->call->body ? x->call->body : "";
    return parsed(x, wr_tei_rerank_parse(body, x->call->body_n, &x->args.rerank, &x->problem));
}

void wr_api_rerank_release(wr_exchange *x)
{
    wr_rerank_release(&x->args.rerank);
}

/* ---- scoring ---- */

static int best_first(const void *a, const void *b)
{
    const wr_reranked *x = a, *y = b;
    if (x->raw != y->raw) return x->raw > y->raw ? -1 : 1;
    return (x->i > y->i) - (x->i < y->i);
}

void wr_reranked_sort(wr_reranked *item, size_t n)
{
    qsort(item, n, sizeof *item, best_first);
}

float wr_relevance(float raw)
{
    return (float)(1.0 / (1.0 + exp(-(double)raw)));
}

/* Of one name a cross-encoder comes before a decoder; where none is wanted the first cross-encoder, unless a list is. */
static bool find_model(wr_exchange *x, wr_reranking *rank)
{
    const wr_rerank_args *args = &x->args.rerank;
    size_t n, nlist;
    const wr_cross_shape *cross = wr_loaded_crosses(x->api->loaded, &n);
    const wr_list_shape *list = wr_loaded_lists(x->api->loaded, &nlist);
    const char *wanted = args->model.n ? args->model.bytes : "";
    if (n + nlist == 0)
        return wr_problem_set(&x->problem, WR_PROBLEM_NO_MODEL, NULL,
                              "no model to rerank with is loaded, expected weir serve --cross or --list [NAME=]MODEL");
    if (*wanted || args->mode != WR_RERANK_LISTWISE) rank->model = wr_loaded_cross(x->api->loaded, wanted);
    if (!rank->model) rank->llm = wr_loaded_list(x->api->loaded, wanted);
    rank->name = *wanted ? wanted : rank->model ? cross[0].name : nlist ? list[0].name : "";
    if (rank->model && args->mode == WR_RERANK_LISTWISE)
        return wr_problem_set(&x->problem, WR_PROBLEM_INVALID_FIELD, "mode",
                              "mode: %s is a cross-encoder and ranks no lists, expected pointwise", wanted);
    if (rank->model || rank->llm) return true;
    if (!*wanted)
        return wr_problem_set(&x->problem, WR_PROBLEM_NO_MODEL, "mode",
                              "mode: no decoder is loaded, expected weir serve --list [NAME=]MODEL");
    return wr_problem_set(&x->problem, WR_PROBLEM_NO_MODEL, "model", "model: %s is not loaded, expected %s%s", wanted,
                          n ? cross[0].name : list[0].name,
                          n + nlist > 1 ? " or another one that the server was given" : "");
}

/* score, done and cut have room for all texts. */
static bool score_into(wr_exchange *x, const wr_budget *budget, wr_reranking *rank, float *score, bool *done, bool *cut)
{
    const wr_rerank_args *args = &x->args.rerank;
    wr_status st = wr_score_texts(rank->model, x->api->options.pool, args->query, args->text, args->n, budget, score, done,
                                  cut);
    if (st) return wr_exchange_fail(x, st, "scoring failed");
    for (size_t i = 0; i < args->n; i++) {
        if (cut[i] && done[i] && !args->truncate)
            return wr_problem_set(&x->problem, WR_PROBLEM_INVALID_FIELD, "truncate",
                                  "text %zu is longer than the %zu tokens that the model takes, and it may not be cut", i,
                                  wr_model_info_get(rank->model)->max_doc_tokens);
        if (done[i]) rank->item[rank->n++] = (wr_reranked){i, score[i], wr_relevance(score[i])};
    }
    rank->done = rank->n;
    wr_reranked_sort(rank->item, rank->n);
    wr_metrics_pairs(x->api->metrics, rank->n);
    return true;
}

static bool by_cross_encoder(wr_exchange *x, const wr_budget *budget, wr_reranking *rank)
{
    size_t n = x->args.rerank.n;
    float *score = calloc(n, sizeof *score);
    bool *flags = calloc(2 * n, sizeof *flags);
    rank->stage = "cross";
    bool ok = score && flags ? score_into(x, budget, rank, score, flags, flags + n)
                             : wr_exchange_fail(x, WR_ENOMEM, "out of memory");
    free(score);
    free(flags);
    return ok;
}

static bool rank_texts(wr_exchange *x, wr_reranking *rank)
{
    wr_budget budget;
    if (!find_model(x, rank)) return false;
    rank->planned = x->args.rerank.n;
    rank->item = calloc(rank->planned, sizeof *rank->item);
    if (!rank->item) return wr_exchange_fail(x, WR_ENOMEM, "out of memory");
    /* A tenth of the budget, at most 2 ms, is kept for writing the answer, as wr_rank() does it. */
    double reserve_ms = x->budget_ms * 0.1 < 2 ? x->budget_ms * 0.1 : 2;
    wr_budget_start(&budget, &wr_clock_system, x->budget_ms, (uint64_t)(reserve_ms * 1e6), x->call->arrived_ns);
    return (rank->model ? by_cross_encoder : wr_api_rerank_llm)(x, &budget, rank);
}

/* What was left out, loss[2], and how many there are: said in the answer, in a header and in the metrics; an error when the
 * client is strict. */
static bool note_loss(wr_exchange *x, const wr_reranking *rank, wr_degraded *loss, size_t *n)
{
    bool queued = x->budget_ms > 0 && (double)x->waited_ns >= x->budget_ms * 1e6;
    *n = 0;
    if (rank->done < rank->planned)
        loss[(*n)++] = (wr_degraded){rank->stage, queued ? WR_REASON_OVERLOAD : WR_REASON_BUDGET, rank->planned, rank->done};
    if (rank->cut)
        loss[(*n)++] = (wr_degraded){rank->stage, WR_REASON_TRUNCATED_INPUT, rank->done, rank->done - rank->cut};
    if (*n == 0) return true;
    for (size_t i = 0; i < *n; i++) wr_metrics_degraded(x->api->metrics, loss[i].stage, loss[i].reason, 1);
    wr_reply_degraded_header(x->call->degraded, sizeof x->call->degraded, loss, *n);
    if (!x->args.rerank.strict) return true;
    if (rank->done < rank->planned)
        return wr_problem_set(&x->problem, WR_PROBLEM_DEADLINE, NULL,
                              "the budget of %g ms ended when %zu of %zu texts were scored", x->budget_ms, rank->done,
                              rank->planned);
    return wr_problem_set(&x->problem, WR_PROBLEM_DEADLINE, NULL, "%zu of %zu texts had to be cut to fit the model", rank->cut,
                          rank->planned);
}

/* ---- answers ---- */

static void write_results(wr_exchange *x, const wr_reranking *rank)
{
    const wr_rerank_args *args = &x->args.rerank;
    wr_out *out = &x->call->reply;
    wr_out_puts(out, "\"results\":[");
    for (size_t i = 0; i < rank->n && i < args->top_n; i++) {
        const wr_reranked *item = &rank->item[i];
        wr_out_puts(out, i ? ",{\"index\":" : "{\"index\":");
        wr_out_u64(out, item->i);
        wr_out_puts(out, ",\"relevance_score\":");
        wr_out_float(out, item->relevance);
        wr_out_puts(out, ",\"raw_score\":");
        if (isfinite(item->raw)) wr_out_float(out, item->raw);
        else wr_out_puts(out, "null");
        if (args->return_text) {
            wr_out_puts(out, ",\"document\":{\"text\":");
            wr_out_string(out, args->text[item->i].bytes, args->text[item->i].n);
            wr_out_puts(out, "}");
        }
        wr_out_puts(out, "}");
    }
    wr_out_puts(out, "]");
}

static void write_cohere(wr_exchange *x, const wr_reranking *rank, const wr_degraded *loss, size_t nloss)
{
    wr_out *out = &x->call->reply;
    wr_out_puts(out, "{\"id\":");
    wr_out_string(out, x->call->request_id, strlen(x->call->request_id));
    wr_out_puts(out, ",\"model\":");
    wr_out_string(out, rank->name, strlen(rank->name));
    wr_out_puts(out, ",");
    write_results(x, rank);
    wr_out_puts(out, ",\"meta\":{\"took_ms\":");
    wr_out_ms(out, (double)(wr_clock_now(&wr_clock_system) - x->call->arrived_ns) / 1e6);
    wr_out_puts(out, ",\"budget_ms\":");
    if (x->budget_ms > 0) wr_out_number(out, x->budget_ms);
    else wr_out_puts(out, "null");
    wr_out_puts(out, "},\"degraded\":");
    wr_reply_degraded(out, loss, nloss);
    wr_out_puts(out, ",\"partial\":");
    wr_out_bool(out, nloss > 0);
    wr_out_puts(out, "}");
}

static void write_tei(wr_exchange *x, const wr_reranking *rank)
{
    const wr_rerank_args *args = &x->args.rerank;
    bool listwise = rank->llm && args->mode != WR_RERANK_POINTWISE; /* then logits do not fall along the answer */
    wr_out *out = &x->call->reply;
    wr_out_puts(out, "[");
    for (size_t i = 0; i < rank->n; i++) {
        const wr_reranked *item = &rank->item[i];
        wr_out_puts(out, i ? ",{\"index\":" : "{\"index\":");
        wr_out_u64(out, item->i);
        if (args->return_text) {
            wr_out_puts(out, ",\"text\":");
            wr_out_string(out, args->text[item->i].bytes, args->text[item->i].n);
        }
        wr_out_puts(out, ",\"score\":");
        wr_out_float(out, args->raw_scores && !listwise ? item->raw : item->relevance);
        wr_out_puts(out, "}");
    }
    wr_out_puts(out, "]");
}

static bool run(wr_exchange *x, bool tei)
{
    wr_reranking rank = {0};
    wr_degraded loss[2];
    size_t nloss;
    bool ok = rank_texts(x, &rank) && note_loss(x, &rank, loss, &nloss);
    if (ok && tei) write_tei(x, &rank);
    if (ok && !tei) write_cohere(x, &rank, loss, nloss);
    free(rank.item);
    return ok;
}

bool wr_api_rerank_run(wr_exchange *x)
{
    return run(x, false);
}

bool wr_api_tei_rerank_run(wr_exchange *x)
{
    return run(x, true);
}
