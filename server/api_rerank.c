/* POST /v1/rerank (the shape of Cohere and Jina) and POST /rerank (Text Embeddings Inference). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/exchange.h"
#include "server/reply.h"

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

typedef struct scored {
    size_t i; /* of the text in the request */
    float raw;
} scored;

/* The ranking of a request's texts: those that got a score, best first. */
typedef struct ranking {
    const wr_model *model;
    const char *name;
    scored *item; /* [n] */
    size_t n, planned;
} ranking;

static int best_first(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->raw != y->raw) return x->raw > y->raw ? -1 : 1;
    return (x->i > y->i) - (x->i < y->i);
}

/* The logistic function: cross-encoders are trained with it on top of the logit. */
static float relevance(float raw)
{
    return (float)(1.0 / (1.0 + exp(-(double)raw)));
}

static bool find_model(wr_exchange *x, ranking *rank)
{
    const wr_rerank_args *args = &x->args.rerank;
    size_t n;
    const wr_cross_shape *cross = wr_loaded_crosses(x->api->loaded, &n);
    const char *wanted = args->model.n ? args->model.bytes : "";
    if (n == 0)
        return wr_problem_set(&x->problem, WR_PROBLEM_NO_MODEL, NULL,
                              "no cross-encoder is loaded, expected weir serve --cross [NAME=]MODEL");
    rank->model = wr_loaded_cross(x->api->loaded, wanted);
    if (!rank->model)
        return wr_problem_set(&x->problem, WR_PROBLEM_NO_MODEL, "model", "model: %s is not loaded, expected %s%s", wanted,
                              cross[0].name, n > 1 ? " or another one that the server was given" : "");
    rank->name = *wanted ? wanted : cross[0].name;
    return true;
}

/* score, done and cut have room for all texts. */
static bool score_into(wr_exchange *x, ranking *rank, float *score, bool *done, bool *cut)
{
    const wr_rerank_args *args = &x->args.rerank;
    wr_budget budget;
    /* A tenth of the budget, at most 2 ms, is kept for writing the answer, as wr_rank() does it. */
    double reserve_ms = x->budget_ms * 0.1 < 2 ? x->budget_ms * 0.1 : 2;
    wr_budget_start(&budget, &wr_clock_system, x->budget_ms, (uint64_t)(reserve_ms * 1e6), x->call->arrived_ns);
    wr_status st = wr_score_texts(rank->model, x->api->options.pool, args->query, args->text, args->n, &budget, score, done,
                                  cut);
    if (st) return wr_exchange_fail(x, st, "scoring failed");
    for (size_t i = 0; i < args->n; i++) {
        if (cut[i] && done[i] && !args->truncate)
            return wr_problem_set(&x->problem, WR_PROBLEM_INVALID_FIELD, "truncate",
                                  "text %zu is longer than the %zu tokens that the model takes, and it may not be cut", i,
                                  wr_model_info_get(rank->model)->max_doc_tokens);
        if (done[i]) rank->item[rank->n++] = (scored){i, score[i]};
    }
    return true;
}

static bool rank_texts(wr_exchange *x, ranking *rank)
{
    size_t n = x->args.rerank.n;
    if (!find_model(x, rank)) return false;
    float *score = calloc(n, sizeof *score);
    bool *flags = calloc(2 * n, sizeof *flags);
    rank->item = calloc(n, sizeof *rank->item);
    rank->planned = n;
    bool ok = score && flags && rank->item ? score_into(x, rank, score, flags, flags + n)
                                           : wr_exchange_fail(x, WR_ENOMEM, "out of memory");
    free(score);
    free(flags);
    if (!ok) return false;
    qsort(rank->item, rank->n, sizeof *rank->item, best_first);
    wr_metrics_pairs(x->api->metrics, rank->n);
    return true;
}

/* What the budget left out: said in the answer, in a header and in the metrics; an error when the client is strict. */
static bool note_loss(wr_exchange *x, const ranking *rank, wr_degraded *loss, size_t *n)
{
    bool queued = x->budget_ms > 0 && (double)x->waited_ns >= x->budget_ms * 1e6;
    *loss = (wr_degraded){"cross", queued ? WR_REASON_OVERLOAD : WR_REASON_BUDGET, rank->planned, rank->n};
    *n = rank->n < rank->planned;
    if (*n == 0) return true;
    wr_metrics_degraded(x->api->metrics, loss->stage, loss->reason, 1);
    wr_reply_degraded_header(x->call->degraded, sizeof x->call->degraded, loss, 1);
    if (!x->args.rerank.strict) return true;
    return wr_problem_set(&x->problem, WR_PROBLEM_DEADLINE, NULL, "the budget of %g ms ended when %zu of %zu texts were scored",
                          x->budget_ms, rank->n, rank->planned);
}

/* ---- answers ---- */

static void write_results(wr_exchange *x, const ranking *rank)
{
    const wr_rerank_args *args = &x->args.rerank;
    wr_out *out = &x->call->reply;
    wr_out_puts(out, "\"results\":[");
    for (size_t i = 0; i < rank->n && i < args->top_n; i++) {
        const scored *item = &rank->item[i];
        wr_out_puts(out, i ? ",{\"index\":" : "{\"index\":");
        wr_out_u64(out, item->i);
        wr_out_puts(out, ",\"relevance_score\":");
        wr_out_float(out, relevance(item->raw));
        wr_out_puts(out, ",\"raw_score\":");
        wr_out_float(out, item->raw);
        if (args->return_text) {
            wr_out_puts(out, ",\"document\":{\"text\":");
            wr_out_string(out, args->text[item->i].bytes, args->text[item->i].n);
            wr_out_puts(out, "}");
        }
        wr_out_puts(out, "}");
    }
    wr_out_puts(out, "]");
}

static void write_cohere(wr_exchange *x, const ranking *rank, const wr_degraded *loss, size_t nloss)
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

static void write_tei(wr_exchange *x, const ranking *rank)
{
    const wr_rerank_args *args = &x->args.rerank;
    wr_out *out = &x->call->reply;
    wr_out_puts(out, "[");
    for (size_t i = 0; i < rank->n; i++) {
        const scored *item = &rank->item[i];
        wr_out_puts(out, i ? ",{\"index\":" : "{\"index\":");
        wr_out_u64(out, item->i);
        if (args->return_text) {
            wr_out_puts(out, ",\"text\":");
            wr_out_string(out, args->text[item->i].bytes, args->text[item->i].n);
        }
        wr_out_puts(out, ",\"score\":");
        wr_out_float(out, args->raw_scores ? item->raw : relevance(item->raw));
        wr_out_puts(out, "}");
    }
    wr_out_puts(out, "]");
}

static bool run(wr_exchange *x, bool tei)
{
    ranking rank = {0};
    wr_degraded loss;
    size_t nloss;
    bool ok = rank_texts(x, &rank) && note_loss(x, &rank, &loss, &nloss);
    if (ok && tei) write_tei(x, &rank);
    if (ok && !tei) write_cohere(x, &rank, &loss, nloss);
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
