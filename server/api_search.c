/* POST /v1/search, POST /v1/indexes/{name}/search, GET /v1/documents/{id}. */
#include <string.h>

#include "server/exchange.h"
#include "server/reply.h"

bool wr_api_search_parse(wr_exchange *x)
{
    if (!wr_search_parse(x->call->body ? x->call->body : "", x->call->body_n, &x->args.search, &x->problem)) return false;
    wr_exchange_budget(x, x->args.search.budget_ms);
    return true;
}

void wr_api_search_release(wr_exchange *x)
{
    wr_search_release(&x->args.search);
}

/* ---- the answer ---- */

static bool lease_named(wr_exchange *x, const char *name, wr_lease *lease)
{
    if (!wr_catalog_lease(x->api->catalog, name, lease)) return true;
    return wr_problem_set(&x->problem, WR_PROBLEM_NO_INDEX, NULL, "%s: no index of this name is served", name);
}

/* What was not done because the request waited in the queue until its budget was gone is the load's doing. */
static void blame_queue(const wr_exchange *x, wr_response *reply)
{
    if (x->budget_ms <= 0 || (double)x->waited_ns < x->budget_ms * 1e6) return;
    for (size_t i = 0; i < reply->ndegraded; i++)
        if (reply->degraded[i].reason == WR_REASON_BUDGET) reply->degraded[i].reason = WR_REASON_OVERLOAD;
}

/* 504 with what is known of the loss; strict clients asked for it. */
static void answer_deadline(wr_exchange *x, const wr_response *reply, const wr_err *err)
{
    wr_call *call = x->call;
    wr_problem_set(&x->problem, WR_PROBLEM_DEADLINE, NULL, "%s", err->text);
    wr_problem_open(&call->reply, &x->problem, call->path, call->request_id);
    wr_out_puts(&call->reply, ",\"degraded\":");
    wr_reply_degraded(&call->reply, reply->degraded, reply->ndegraded);
    wr_out_puts(&call->reply, "}");
    call->content_type = "application/problem+json";
    call->status = wr_problem_status(WR_PROBLEM_DEADLINE);
}

static bool search(wr_exchange *x, const wr_lease *lease)
{
    const wr_search_args *args = &x->args.search;
    wr_call *call = x->call;
    wr_request request = {.query = args->query.bytes, .query_len = args->query.n, .k = args->k, .offset = args->offset,
                          .budget_ms = x->budget_ms, .arrived_ns = call->arrived_ns, .pipeline = args->pipeline.bytes,
                          .return_text = args->return_text, .strict = args->strict, .explain = args->explain,
                          .sparse_token = args->sparse_token, .sparse_weight = args->sparse_weight,
                          .nsparse = args->nsparse};
    wr_response reply;
    wr_err err = {0};
    wr_status st = wr_rank(lease->ranker, &request, lease->scratch, &reply, &err);
    /* k and the query were checked before: what is still refused is the pipeline */
    if (st == WR_EARG) return wr_problem_set(&x->problem, WR_PROBLEM_BAD_PIPELINE, "pipeline", "%s", err.text);
    if (st < 0) return wr_exchange_fail(x, st, err.text);
    blame_queue(x, &reply);
    wr_metrics_response(x->api->metrics, &reply);
    if (st == WR_STOPPED) {
        answer_deadline(x, &reply, &err);
        return true;
    }
    const wr_reply_about about = {.request_id = call->request_id, .index = lease->name, .offset = args->offset,
                                  .generation = lease->info->generation, .budget_ms = x->budget_ms,
                                  .return_text = args->return_text, .explain = args->explain};
    wr_reply_search(&call->reply, &reply, &about);
    return true;
}

bool wr_api_search_run(wr_exchange *x)
{
    wr_lease lease;
    if (!lease_named(x, x->parameter, &lease)) return false;
    bool ok = search(x, &lease);
    wr_catalog_return(&lease);
    return ok;
}

static bool document(wr_exchange *x, const wr_lease *lease)
{
    wr_out *out = &x->call->reply;
    wr_doc doc;
    wr_status st = wr_rank_document(lease->ranker, x->parameter, strlen(x->parameter), lease->scratch, &doc);
    if (st == WR_ENOTFOUND)
        return wr_problem_set(&x->problem, WR_PROBLEM_NO_DOCUMENT, NULL, "%s: index %s has no such document", x->parameter,
                              lease->name);
    if (st) return wr_exchange_fail(x, st, "the document store cannot be read");
    wr_out_puts(out, "{");
    wr_reply_document(out, &doc);
    wr_out_puts(out, ",\"index\":{\"name\":");
    wr_out_string(out, lease->name, strlen(lease->name));
    wr_out_puts(out, ",\"generation\":");
    wr_out_string(out, lease->info->generation, strlen(lease->info->generation));
    wr_out_puts(out, "}}");
    return true;
}

bool wr_api_document_run(wr_exchange *x)
{
    wr_lease lease;
    if (!lease_named(x, x->index, &lease)) return false;
    bool ok = document(x, &lease);
    wr_catalog_return(&lease);
    return ok;
}
