#include "server/metrics.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef _Atomic uint64_t counter;

/* Upper bounds in nanoseconds: 1-2.5-5 steps from the fastest lexical search (0.25 ms) to the slowest rerank (10 s). */
static const uint64_t bound_ns[] = {250000,    500000,    1000000,    2500000,    5000000,    10000000,   25000000,  50000000,
                                    100000000, 250000000, 500000000, 1000000000, 2500000000, 5000000000, 10000000000};
#define BOUNDS (sizeof bound_ns / sizeof bound_ns[0])

typedef struct histogram {
    counter bucket[BOUNDS + 1]; /* not cumulated; the last one is above all bounds */
    counter sum_ns;
} histogram;

/* Statuses that the server can give (MHD gives some by itself, which nobody counts). */
static const unsigned statuses[] = {200, 400, 401, 404, 405, 413, 422, 429, 500, 503, 504};
#define STATUSES (sizeof statuses / sizeof statuses[0])

static const char *const stages[] = {"bm25", "sparse", "dense", "rrf", "lin", "cross", "list", "pointwise", "encode", "other"};
#define STAGES (sizeof stages / sizeof stages[0])
#define STAGE_ENCODE (STAGES - 2)

#define REASONS (WR_REASON_BACKEND_ERROR + 1)

static const char *const sheds[WR_SHEDS] = {"queue_full", "buffers_full", "draining", "starting"};

struct wr_metrics {
    counter requests[WR_ROUTES][STATUSES + 1]; /* the last one: a lost connection or an unforeseen status */
    histogram request[WR_ROUTES];
    histogram stage[STAGES];
    histogram queue, budget;
    counter degraded[STAGES][REASONS];
    counter shed[WR_SHEDS];
    counter reload[2]; /* failed, done */
    counter pairs;
};

const char *wr_route_path(wr_route route)
{
    static const char *const path[WR_ROUTES] = {
        [WR_ROUTE_SEARCH] = "/v1/search",
        [WR_ROUTE_INDEX_SEARCH] = "/v1/indexes/{name}/search",
        [WR_ROUTE_DOCUMENT] = "/v1/documents/{id}",
        [WR_ROUTE_RERANK] = "/v1/rerank",
        [WR_ROUTE_TEI_RERANK] = "/rerank",
        [WR_ROUTE_EMBEDDINGS] = "/v1/embeddings",
        [WR_ROUTE_TEI_EMBED] = "/embed",
        [WR_ROUTE_TEI_EMBED_SPARSE] = "/embed_sparse",
        [WR_ROUTE_LIVE] = "/livez",
        [WR_ROUTE_READY] = "/readyz",
        [WR_ROUTE_HEALTHZ] = "/healthz",
        [WR_ROUTE_HEALTH] = "/health",
        [WR_ROUTE_METRICS] = "/metrics",
        [WR_ROUTE_OTHER] = "other",
    };
    return path[route];
}

wr_metrics *wr_metrics_new(void)
{
    return calloc(1, sizeof(wr_metrics));
}

void wr_metrics_free(wr_metrics *metrics)
{
    free(metrics);
}

/* ---- recording ---- */

static void add(counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

static void observe(histogram *h, uint64_t ns)
{
    size_t i = 0;
    while (i < BOUNDS && ns > bound_ns[i]) i++;
    add(&h->bucket[i], 1);
    add(&h->sum_ns, ns);
}

static uint64_t ns_of_ms(double ms)
{
    return ms > 0 && ms < 1e12 ? (uint64_t)(ms * 1e6) : 0;
}

void wr_metrics_request(wr_metrics *metrics, wr_route route, unsigned status, uint64_t ns)
{
    size_t i = 0;
    while (i < STATUSES && statuses[i] != status) i++;
    add(&metrics->requests[route][i], 1);
    observe(&metrics->request[route], ns);
}

void wr_metrics_queued(wr_metrics *metrics, uint64_t waited_ns)
{
    observe(&metrics->queue, waited_ns);
}

void wr_metrics_budget(wr_metrics *metrics, double budget_ms)
{
    observe(&metrics->budget, ns_of_ms(budget_ms));
}

void wr_metrics_shed(wr_metrics *metrics, wr_shed reason)
{
    add(&metrics->shed[reason], 1);
}

void wr_metrics_reload(wr_metrics *metrics, bool ok)
{
    add(&metrics->reload[ok], 1);
}

void wr_metrics_pairs(wr_metrics *metrics, uint64_t pairs)
{
    add(&metrics->pairs, pairs);
}

/* "cross_2" is a cross. */
static size_t stage_number(const char *name)
{
    size_t n = strcspn(name, "_"), i = 0;
    while (i < STAGES - 1 && (strlen(stages[i]) != n || memcmp(stages[i], name, n))) i++;
    return i;
}

void wr_metrics_degraded(wr_metrics *metrics, const char *stage, wr_reason reason, uint64_t n)
{
    add(&metrics->degraded[stage_number(stage)][reason], n);
}

void wr_metrics_response(wr_metrics *metrics, const wr_response *reply)
{
    for (size_t i = 0; i < reply->nstages; i++) {
        const wr_stage_report *stage = &reply->stage[i];
        observe(&metrics->stage[stage_number(stage->name)], ns_of_ms(stage->ms));
        if (stage->reranks) wr_metrics_pairs(metrics, stage->scored);
    }
    if (reply->encode_ms > 0) observe(&metrics->stage[STAGE_ENCODE], ns_of_ms(reply->encode_ms));
    for (size_t i = 0; i < reply->ndegraded; i++)
        wr_metrics_degraded(metrics, reply->degraded[i].stage, reply->degraded[i].reason, 1);
}

/* ---- writing ---- */

static uint64_t value(counter *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

static void head(wr_out *out, const char *name, const char *type, const char *help)
{
    wr_out_printf(out, "# HELP weir_%s %s\n# TYPE weir_%s %s\n", name, help, name, type);
}

static void sample(wr_out *out, const char *name, uint64_t v)
{
    wr_out_printf(out, "weir_%s %llu\n", name, (unsigned long long)v);
}

/* label is "" or `stage="bm25"`. Buckets are read once each; the count is their sum, so the two always agree. */
static void write_histogram(wr_out *out, const char *name, const char *label, histogram *h)
{
    uint64_t total = 0;
    const char *comma = *label ? "," : "", *open = *label ? "{" : "", *close = *label ? "}" : "";
    for (size_t i = 0; i <= BOUNDS; i++) {
        char le[32] = "+Inf";
        if (i < BOUNDS) snprintf(le, sizeof le, "%g", (double)bound_ns[i] / 1e9);
        total += value(&h->bucket[i]);
        wr_out_printf(out, "weir_%s_bucket{%s%sle=\"%s\"} %llu\n", name, label, comma, le, (unsigned long long)total);
    }
    wr_out_printf(out, "weir_%s_sum%s%s%s %.9g\n", name, open, label, close, (double)value(&h->sum_ns) / 1e9);
    wr_out_printf(out, "weir_%s_count%s%s%s %llu\n", name, open, label, close, (unsigned long long)total);
}

static uint64_t count(histogram *h)
{
    uint64_t n = 0;
    for (size_t i = 0; i <= BOUNDS; i++) n += value(&h->bucket[i]);
    return n;
}

static void write_requests(wr_metrics *metrics, wr_out *out)
{
    char label[64];
    head(out, "requests_total", "counter", "Requests by route and status; status 0 is a connection that was lost.");
    for (size_t r = 0; r < WR_ROUTES; r++)
        for (size_t s = 0; s <= STATUSES; s++) {
            uint64_t n = value(&metrics->requests[r][s]);
            if (n)
                wr_out_printf(out, "weir_requests_total{route=\"%s\",status=\"%u\"} %llu\n", wr_route_path((wr_route)r),
                              s < STATUSES ? statuses[s] : 0, (unsigned long long)n);
        }
    head(out, "request_seconds", "histogram", "From the last byte of a request to the last byte of its answer.");
    for (size_t r = 0; r < WR_ROUTES; r++) {
        snprintf(label, sizeof label, "route=\"%s\"", wr_route_path((wr_route)r));
        if (count(&metrics->request[r])) write_histogram(out, "request_seconds", label, &metrics->request[r]);
    }
}

static void write_stages(wr_metrics *metrics, wr_out *out)
{
    char label[64];
    head(out, "stage_seconds", "histogram", "Time in one stage of a search; encode is part of dense.");
    for (size_t s = 0; s < STAGES; s++) {
        snprintf(label, sizeof label, "stage=\"%s\"", stages[s]);
        if (count(&metrics->stage[s])) write_histogram(out, "stage_seconds", label, &metrics->stage[s]);
    }
    head(out, "degraded_total", "counter", "Stages that did less than was planned, by reason.");
    for (size_t s = 0; s < STAGES; s++)
        for (size_t r = 0; r < REASONS; r++) {
            uint64_t n = value(&metrics->degraded[s][r]);
            if (n)
                wr_out_printf(out, "weir_degraded_total{stage=\"%s\",reason=\"%s\"} %llu\n", stages[s],
                              wr_reason_name((wr_reason)r), (unsigned long long)n);
        }
}

static void write_queue(wr_metrics *metrics, const wr_metrics_gauges *gauges, wr_out *out)
{
    head(out, "queue_depth", "gauge", "Requests that wait for a coordinator.");
    sample(out, "queue_depth", gauges->queue_depth);
    head(out, "queue_capacity", "gauge", "How many may wait.");
    sample(out, "queue_capacity", gauges->queue_capacity);
    head(out, "queue_seconds", "histogram", "Time that a request waited for a coordinator.");
    write_histogram(out, "queue_seconds", "", &metrics->queue);
    head(out, "budget_seconds", "histogram", "Budgets that requests came with.");
    write_histogram(out, "budget_seconds", "", &metrics->budget);
    head(out, "shed_total", "counter", "Requests that were turned away, by reason.");
    for (size_t i = 0; i < WR_SHEDS; i++)
        wr_out_printf(out, "weir_shed_total{reason=\"%s\"} %llu\n", sheds[i],
                      (unsigned long long)value(&metrics->shed[i]));
}

/* The second number of /proc/self/statm is the resident set in pages. */
static uint64_t resident_bytes(void)
{
    unsigned long long size, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    int n = file ? fscanf(file, "%llu %llu", &size, &resident) : 0;
    if (file) fclose(file);
    return n == 2 ? (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

void wr_metrics_write(wr_metrics *metrics, const wr_metrics_gauges *gauges, wr_out *out)
{
    write_requests(metrics, out);
    write_stages(metrics, out);
    write_queue(metrics, gauges, out);
    head(out, "rerank_pairs_total", "counter", "Query-document pairs that a cross-encoder scored.");
    sample(out, "rerank_pairs_total", value(&metrics->pairs));
    head(out, "reloads_total", "counter", "Looks for a newer generation, by how they ended.");
    wr_out_printf(out, "weir_reloads_total{result=\"failed\"} %llu\nweir_reloads_total{result=\"done\"} %llu\n",
                  (unsigned long long)value(&metrics->reload[0]), (unsigned long long)value(&metrics->reload[1]));
    head(out, "open_requests", "gauge", "Requests received and not answered yet.");
    sample(out, "open_requests", gauges->open_requests);
    head(out, "resident_bytes", "gauge", "Memory of the process in RAM, mapped index files included.");
    sample(out, "resident_bytes", resident_bytes());
    head(out, "build_info", "gauge", "The version that runs.");
    wr_out_printf(out, "weir_build_info{version=\"%s\"} 1\n", gauges->version);
}
