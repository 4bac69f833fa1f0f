#include "server/api.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "server/exchange.h"

/* Bodies up to this size are parsed where they arrive: tens of microseconds, and the queue knows their budgets. Longer
 * ones are parsed by a coordinator, and have the header's budget or the nominal one until then. */
#define PARSE_AT_ONCE ((size_t)16 << 10)

enum wr_api_state { STARTING, SERVING, DRAINING };

static bool live(wr_exchange *x);
static bool ready(wr_exchange *x);
static bool metrics(wr_exchange *x);

static const wr_route_def routes[] = {
    {WR_ROUTE_SEARCH, "/v1/search", true, false, true, wr_api_search_parse, wr_api_search_run, wr_api_search_release},
    {WR_ROUTE_INDEX_SEARCH, "/v1/indexes/*/search", true, false, true, wr_api_search_parse, wr_api_search_run,
     wr_api_search_release},
    {WR_ROUTE_DOCUMENT, "/v1/documents/*", false, false, true, NULL, wr_api_document_run, NULL},
    {WR_ROUTE_RERANK, "/v1/rerank", true, false, true, wr_api_rerank_parse, wr_api_rerank_run, wr_api_rerank_release},
    {WR_ROUTE_TEI_RERANK, "/rerank", true, false, true, wr_api_tei_rerank_parse, wr_api_tei_rerank_run,
     wr_api_rerank_release},
    {WR_ROUTE_EMBEDDINGS, "/v1/embeddings", true, false, true, wr_api_embed_parse, wr_api_embed_run,
     wr_api_embed_release},
    {WR_ROUTE_TEI_EMBED, "/embed", true, false, true, wr_api_tei_embed_parse, wr_api_tei_embed_run, wr_api_embed_release},
    {WR_ROUTE_TEI_EMBED_SPARSE, "/embed_sparse", true, false, true, wr_api_tei_sparse_parse, wr_api_tei_sparse_run,
     wr_api_embed_release},
    {WR_ROUTE_LIVE, "/livez", false, true, false, NULL, live, NULL},
    {WR_ROUTE_READY, "/readyz", false, true, false, NULL, ready, NULL},
    {WR_ROUTE_HEALTHZ, "/healthz", false, true, false, NULL, ready, NULL},
    {WR_ROUTE_HEALTH, "/health", false, true, false, NULL, ready, NULL},
    {WR_ROUTE_METRICS, "/metrics", false, false, false, NULL, metrics, NULL},
};
#define NROUTES (sizeof routes / sizeof routes[0])

static uint64_t now(void)
{
    return wr_clock_now(&wr_clock_system);
}

/* ---- the answer ---- */

static void answer_ok(wr_exchange *x)
{
    if (!x->call->content_type) x->call->content_type = "application/json";
    if (!x->call->status) x->call->status = 200;
}

static void answer_problem(wr_exchange *x)
{
    wr_call *call = x->call;
    wr_out_reset(&call->reply);
    wr_problem_write(&call->reply, &x->problem, call->path, call->request_id);
    call->content_type = "application/problem+json";
    call->status = wr_problem_status(x->problem.code);
    call->authenticate = x->problem.code == WR_PROBLEM_UNAUTHORIZED;
    call->retry_after_s = (unsigned)((x->problem.retry_after_ms + 999) / 1000);
    if (x->problem.code == WR_PROBLEM_METHOD) call->allow = x->def->post ? "POST" : "GET, HEAD";
    if (x->problem.code == WR_PROBLEM_DRAINING) call->close = true;
}

static void answer(wr_exchange *x, bool ok)
{
    if (ok) answer_ok(x);
    else answer_problem(x);
}

bool wr_exchange_fail(wr_exchange *x, wr_status st, const char *what)
{
    return wr_problem_set(&x->problem, WR_PROBLEM_INTERNAL, NULL, "%s (%s)", what, wr_status_name(st));
}

/* ---- routes that answer at once ---- */

static bool state_problem(wr_exchange *x)
{
    int state = atomic_load(&x->api->state);
    if (state == SERVING) return false;
    if (state == STARTING)
        wr_problem_set(&x->problem, WR_PROBLEM_STARTING, NULL, "indexes and models are being opened");
    else
        wr_problem_set(&x->problem, WR_PROBLEM_DRAINING, NULL, "the server is shutting down");
    x->problem.retry_after_ms = 1000; /* a restart takes about that long */
    return true;
}

static bool live(wr_exchange *x)
{
    wr_out_puts(&x->call->reply, "{\"status\":\"ok\"}");
    return true;
}

static bool ready(wr_exchange *x)
{
    return !state_problem(x) && live(x);
}

static bool metrics(wr_exchange *x)
{
    wr_api *api = x->api;
    const wr_metrics_gauges gauges = {.version = api->options.version,
                                      .queue_depth = wr_queue_depth(api->queue),
                                      .queue_capacity = wr_queue_capacity(api->queue),
                                      .open_requests = atomic_load(&api->open)};
    wr_metrics_write(api->metrics, &gauges, &x->call->reply);
    x->call->content_type = "text/plain; version=0.0.4; charset=utf-8";
    return true;
}

/* ---- headers ---- */

/* Somebody else's id is taken over when it is short and harmless in a header, a log and a URL. */
static void name_request(wr_api *api, wr_call *call)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/+=@";
    const char *wanted = call->wanted_id;
    size_t n = wanted ? strlen(wanted) : 0;
    if (n >= 1 && n <= 64 && strspn(wanted, plain) == n) {
        memcpy(call->request_id, wanted, n + 1);
        return;
    }
    /* SplitMix64 of a counter: a permutation, so no two ids of a process are equal */
    uint64_t z = api->seed + atomic_fetch_add_explicit(&api->ids, 1, memory_order_relaxed) * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    snprintf(call->request_id, sizeof call->request_id, "%016llx", (unsigned long long)(z ^ z >> 31));
}

/* Matches a path; what stands for '*' goes to parameter. */
static bool matches(const wr_route_def *def, const char *path, const char **parameter, size_t *n)
{
    const char *star = strchr(def->path, '*');
    *n = 0;
    if (!star) return !strcmp(def->path, path);
    size_t head = (size_t)(star - def->path), tail = strlen(star + 1), all = strlen(path);
    if (all <= head + tail || memcmp(path, def->path, head) || memcmp(path + all - tail, star + 1, tail)) return false;
    *parameter = path + head;
    *n = all - head - tail;
    return !memchr(*parameter, '/', *n);
}

static bool find_route(wr_exchange *x)
{
    const char *path = x->call->path, *parameter = "", *index = x->call->index;
    size_t n = 0;
    for (size_t i = 0; i < NROUTES && !x->def; i++)
        if (matches(&routes[i], path, &parameter, &n)) x->def = &routes[i];
    if (!x->def) return wr_problem_set(&x->problem, WR_PROBLEM_NO_ROUTE, NULL, "nothing is served at this path");
    if (!wr_percent_decode(parameter, n, x->parameter, sizeof x->parameter))
        return wr_problem_set(&x->problem, WR_PROBLEM_BAD_REQUEST, NULL, "the path holds a broken %%XX or is too long");
    if (index && !wr_percent_decode(index, strlen(index), x->index, sizeof x->index))
        return wr_problem_set(&x->problem, WR_PROBLEM_NO_INDEX, "index", "no index of this name is served");
    return true;
}

static bool check_key(wr_exchange *x)
{
    const wr_config *config = x->api->options.config;
    const char *key = x->call->api_key, *bearer = x->call->authorization;
    if (config->nkeys == 0 || (x->def && x->def->open)) return true;
    if (bearer && !strncasecmp(bearer, "Bearer ", 7)) key = bearer + 7 + strspn(bearer + 7, " ");
    if (key && wr_config_has_key(config, key, strlen(key))) return true;
    return wr_problem_set(&x->problem, WR_PROBLEM_UNAUTHORIZED, NULL, "%s, expected \"Authorization: Bearer KEY\" or X-API-Key",
                          key ? "the key is not known here" : "no key was shown");
}

static bool check_method(wr_exchange *x)
{
    const char *method = x->call->method;
    if (x->def->post ? !strcmp(method, "POST") : !strcmp(method, "GET") || !strcmp(method, "HEAD")) return true;
    return wr_problem_set(&x->problem, WR_PROBLEM_METHOD, NULL, "%s: expected %s", method, x->def->post ? "POST" : "GET");
}

static bool too_large(wr_exchange *x)
{
    return wr_problem_set(&x->problem, WR_PROBLEM_TOO_LARGE, NULL, "the body is larger than %zu bytes",
                          x->api->options.config->max_body);
}

static bool read_budget_header(wr_exchange *x)
{
    const char *text = x->call->budget_ms;
    char *end;
    if (!text) return true;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value))
        return wr_problem_set(&x->problem, WR_PROBLEM_INVALID_FIELD, "Weir-Budget-Ms", "Weir-Budget-Ms: expected a number");
    x->header_budget_ms = value;
    return wr_budget_check(value, "Weir-Budget-Ms", &x->problem);
}

static bool check_state(wr_exchange *x)
{
    if (x->def->open || x->def->route == WR_ROUTE_METRICS || !state_problem(x)) return true;
    wr_metrics_shed(x->api->metrics, x->problem.code == WR_PROBLEM_DRAINING ? WR_SHED_DRAINING : WR_SHED_STARTING);
    return false;
}

static bool check_headers(wr_exchange *x)
{
    bool found = find_route(x);
    wr_problem why = x->problem;
    if (!check_key(x)) return false; /* before anything else is told */
    x->problem = why;
    if (!found || !check_method(x)) return false;
    if (x->call->too_large) return too_large(x);
    return check_state(x) && read_budget_header(x);
}

static void begin(void *ctx, wr_call *call)
{
    wr_api *api = ctx;
    name_request(api, call);
    atomic_fetch_add_explicit(&api->open, 1, memory_order_relaxed);
    wr_exchange *x = call->user = calloc(1, sizeof *x);
    if (!x) {
        call->status = 500;
        return;
    }
    x->api = api;
    x->call = call;
    if (!check_headers(x)) answer_problem(x);
}

/* ---- bodies and the queue ---- */

void wr_exchange_budget(wr_exchange *x, double body_ms)
{
    const wr_config *config = x->api->options.config;
    double ms = body_ms;
    if (x->header_budget_ms > 0 && (ms <= 0 || x->header_budget_ms < ms)) ms = x->header_budget_ms;
    if (ms <= 0) ms = config->default_budget_ms;
    if (config->max_budget_ms > 0 && (ms <= 0 || ms > config->max_budget_ms)) ms = config->max_budget_ms;
    x->budget_ms = ms;
    if (ms > 0) wr_metrics_budget(x->api->metrics, ms);
}

static bool parse(wr_exchange *x)
{
    x->parsed = !x->def->parse || x->def->parse(x);
    return x->parsed;
}

/* How long until the queue as it is now is worked off: what a client should wait before it tries again. */
static uint64_t backlog_ms(wr_api *api)
{
    uint64_t each = atomic_load_explicit(&api->service_ns, memory_order_relaxed);
    uint64_t ms = each * (wr_queue_depth(api->queue) + 1) / api->ncoordinators / 1000000;
    return ms < 10 ? 10 : ms > 30000 ? 30000 : ms; /* sooner is no relief, later is a guess */
}

static bool refuse_full(wr_exchange *x, wr_problem_code code, wr_shed reason, const char *why)
{
    wr_metrics_shed(x->api->metrics, reason);
    wr_problem_set(&x->problem, code, NULL, "%s", why);
    x->problem.retry_after_ms = backlog_ms(x->api);
    return false;
}

static uint64_t deadline_of(const wr_exchange *x)
{
    double ms = x->budget_ms > 0 ? x->budget_ms : x->header_budget_ms;
    return x->call->arrived_ns + (ms > 0 ? (uint64_t)(ms * 1e6) : WR_NOMINAL_DEADLINE_NS);
}

/* The connection sleeps before the request is in the queue: a coordinator may have answered before push returns. */
static void enqueue(wr_exchange *x)
{
    wr_call *call = x->call;
    wr_call_suspend(call);
    if (wr_queue_push(x->api->queue, x, deadline_of(x)) == WR_OK) return;
    answer(x, refuse_full(x, WR_PROBLEM_QUEUE_FULL, WR_SHED_QUEUE_FULL, "as many requests wait as the queue takes"));
    wr_call_resume(call);
}

static void on_ready(void *ctx, wr_call *call)
{
    wr_exchange *x = call->user;
    (void)ctx;
    if (call->too_large) {
        answer(x, too_large(x));
    } else if (call->no_room) {
        answer(x, refuse_full(x, WR_PROBLEM_BUFFERS_FULL, WR_SHED_BUFFERS_FULL, "too many large bodies are in memory"));
    } else if (!x->def->queued) {
        answer(x, x->def->run(x));
    } else if (call->body_n <= PARSE_AT_ONCE && !parse(x)) {
        answer(x, false);
    } else {
        enqueue(x);
    }
}

/* ---- coordinators ---- */

/* An average over the last sixteen or so; two threads that write at once lose one sample. */
static void learn(wr_api *api, uint64_t took_ns)
{
    uint64_t old = atomic_load_explicit(&api->service_ns, memory_order_relaxed);
    uint64_t mean = old ? old - old / 16 + took_ns / 16 : took_ns;
    atomic_store_explicit(&api->service_ns, mean, memory_order_relaxed);
}

static void coordinate(void *arg)
{
    wr_api *api = arg;
    wr_exchange *x;
    wr_ranker_thread_start();
    while ((x = wr_queue_pop(api->queue))) {
        uint64_t start = now();
        x->waited_ns = start - x->call->arrived_ns;
        wr_metrics_queued(api->metrics, x->waited_ns);
        answer(x, (x->parsed || parse(x)) && x->def->run(x));
        learn(api, now() - start);
        wr_call_resume(x->call);
    }
}

/* ---- the end of a request ---- */

static void log_request(wr_api *api, const wr_call *call, const wr_exchange *x, uint64_t ns, bool delivered)
{
    wr_out line = {0};
    struct timespec ts;
    struct tm tm;
    char when[32];
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    wr_out_printf(&line, "{\"ts\":\"%s.%03ldZ\",\"request_id\":\"%s\",\"peer\":\"%s\",\"method\":", when,
                  ts.tv_nsec / 1000000, call->request_id, call->peer);
    wr_out_string(&line, call->method, strlen(call->method));
    wr_out_puts(&line, ",\"path\":");
    wr_out_string(&line, call->path, strlen(call->path));
    wr_out_printf(&line, ",\"status\":%u,\"ms\":", call->status);
    wr_out_ms(&line, (double)ns / 1e6);
    wr_out_puts(&line, ",\"queue_ms\":");
    wr_out_ms(&line, x ? (double)x->waited_ns / 1e6 : 0);
    wr_out_printf(&line, ",\"bytes_in\":%zu,\"bytes_out\":%zu,\"delivered\":%s}", call->body_n, call->reply_n,
                  delivered ? "true" : "false");
    if (!line.failed) wr_log_line(api->options.log, line.bytes, line.n);
    wr_out_release(&line);
}

static void done(void *ctx, wr_call *call, bool delivered)
{
    wr_api *api = ctx;
    wr_exchange *x = call->user;
    uint64_t ns = now() - (call->arrived_ns ? call->arrived_ns : call->began_ns);
    wr_metrics_request(api->metrics, x && x->def ? x->def->route : WR_ROUTE_OTHER, delivered ? call->status : 0, ns);
    if (api->options.log) log_request(api, call, x, ns, delivered);
    if (x && x->parsed && x->def->release) x->def->release(x);
    free(x);
    call->user = NULL;
    atomic_fetch_sub_explicit(&api->open, 1, memory_order_relaxed);
}

/* ---- life ---- */

wr_status wr_api_open(wr_api **out, const wr_api_options *options, wr_err *err)
{
    *out = NULL;
    wr_api *api = calloc(1, sizeof *api);
    if (!api) return wr_fail(err, WR_ENOMEM, "api: out of memory");
    api->options = *options;
    api->metrics = wr_metrics_new();
    api->coordinator = calloc(options->coordinators, sizeof(wr_thread *));
    if (getrandom(&api->seed, sizeof api->seed, 0) < 0) api->seed = now();
    wr_status st = api->metrics && api->coordinator ? WR_OK : wr_fail(err, WR_ENOMEM, "api: out of memory");
    if (!st) st = wr_queue_open(&api->queue, options->config->queue, err);
    for (; !st && api->ncoordinators < options->coordinators; api->ncoordinators++)
        if ((st = wr_thread_start(&api->coordinator[api->ncoordinators], coordinate, api, err))) break;
    if (st) wr_api_close(api);
    else *out = api;
    return st;
}

void wr_api_close(wr_api *api)
{
    if (!api) return;
    if (api->queue) wr_queue_end(api->queue);
    for (size_t i = 0; i < api->ncoordinators; i++) wr_thread_join(api->coordinator[i]);
    wr_queue_close(api->queue);
    wr_metrics_free(api->metrics);
    free(api->coordinator);
    free(api);
}

wr_http_handler wr_api_handler(wr_api *api)
{
    return (wr_http_handler){api, begin, on_ready, done};
}

wr_metrics *wr_api_metrics(wr_api *api)
{
    return api->metrics;
}

void wr_api_serve(wr_api *api, wr_catalog *catalog, wr_loaded *loaded)
{
    api->catalog = catalog;
    api->loaded = loaded;
    atomic_store(&api->state, SERVING);
}

void wr_api_drain(wr_api *api)
{
    atomic_store(&api->state, DRAINING);
}
