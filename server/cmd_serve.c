/* weir serve: options, start, reload, drain, stop.
 *
 * The main thread does nothing but wait for signals: SIGHUP asks the reload thread to look for newer generations, SIGTERM
 * and SIGINT begin the drain, a second one ends the process at once. Signals are blocked in every thread and taken by
 * sigtimedwait(), so there is no handler and nothing that a handler may not do. */
#include <errno.h>
#include <jansson.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "data/command.h"
#include "data/version.h"
#include "models/find.h"
#include "server/api.h"

/* The time that requests in work get after SIGTERM: what orchestrators wait before they kill. */
#define DRAIN_S 30
/* And those that are still being sent: enough for what is on its way, not for a client that sleeps. */
#define UPLOAD_S 3

static int run(int argc, char **argv);

const struct wr_command wr_cmd_serve = {
    "serve", "weir serve --index [NAME=]DIR [options]", "serves indexes over REST; SIGHUP switches to the newest generation",
    run};

typedef struct server {
    wr_config config;
    wr_pool *pool;
    wr_log *log;
    wr_api *api;
    wr_http *http;
    wr_loaded *loaded;
    wr_catalog *catalog;
    wr_thread *reloader;
    pthread_mutex_t lock; /* guards the next two */
    pthread_cond_t woken;
    bool reload, stop;
} server;

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    fprintf(stderr, "weir serve: %s\n", text);
}

/* ---- reload ---- */

static void reload_all(server *s)
{
    for (size_t i = 0; i < wr_catalog_size(s->catalog); i++) {
        const char *name = wr_catalog_name(s->catalog, i);
        char generation[64];
        wr_err err = {0};
        wr_status st = wr_catalog_reload(s->catalog, i, generation, sizeof generation, &err);
        wr_metrics_reload(wr_api_metrics(s->api), st >= 0);
        if (st == WR_STOPPED) say("index %s: %s is the newest generation", name, generation);
        else if (st) say("index %s: stays at %s: %s", name, generation, err.text);
        else say("index %s: serves %s now", name, generation);
    }
    malloc_trim(0); /* what the old generation held */
}

static void reload_loop(void *arg)
{
    server *s = arg;
    wr_ranker_thread_start();
    pthread_mutex_lock(&s->lock);
    while (!s->stop) {
        if (!s->reload) {
            pthread_cond_wait(&s->woken, &s->lock);
            continue;
        }
        s->reload = false;
        pthread_mutex_unlock(&s->lock);
        reload_all(s);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

static void wake_reloader(server *s, bool stop)
{
    pthread_mutex_lock(&s->lock);
    s->reload = !stop;
    s->stop = stop;
    pthread_cond_signal(&s->woken);
    pthread_mutex_unlock(&s->lock);
}

/* ---- start ---- */

static sigset_t our_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    return set;
}

/* Before the first thread: they inherit what is blocked. */
static void prepare_process(void)
{
    sigset_t set = our_signals();
    struct rlimit files;
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN); /* a log reader that went away */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) { /* a socket for each connection */
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    json_object_seed(0); /* once, before threads parse */
}

static wr_status start_serving(server *s, wr_err *err)
{
    const wr_config *config = &s->config;
    size_t coordinators = config->coordinators ? config->coordinators : wr_pool_threads(s->pool) + 1;
    const wr_api_options api = {.config = config, .pool = s->pool, .coordinators = coordinators, .version = WR_VERSION,
                                .log = s->log};
    wr_status st = wr_api_open(&s->api, &api, err);
    if (st) return st;
    const wr_http_options http = {.listen = config->listen, .max_body = config->max_body,
                                  .connections = config->connections, .handler = wr_api_handler(s->api)};
    if ((st = wr_http_open(&s->http, &http, err))) return st;
    const wr_loaded_options models = {.dense = config->dense, .sparse = config->sparse, .sparse_documents = true, .cross = config->cross.item, .ncross = config->cross.n,
                                      .default_cross = true, .list = config->list.item, .nlist = config->list.n, .precision = config->precision};
    if ((st = wr_loaded_open(&s->loaded, &models, err))) return st;
    /* Twice as many scratches as coordinators: one whose straggler still writes is passed over. */
    const wr_catalog_options catalog = {.index = config->index, .n = config->nindexes, .scratches = 2 * coordinators,
                                        .loaded = s->loaded, .pool = s->pool};
    if ((st = wr_catalog_open(&s->catalog, &catalog, err))) return st;
    if ((st = wr_thread_start(&s->reloader, reload_loop, s, err))) return st;
    wr_api_serve(s->api, s->catalog, s->loaded);
    return WR_OK;
}

static wr_status start(server *s, wr_err *err)
{
    wr_status st = WR_OK;
    if (s->config.log_jsonl) st = wr_log_open(&s->log, STDERR_FILENO, err);
    if (!st) st = wr_pool_open(&s->pool, (unsigned)s->config.threads, wr_ranker_thread_start, err);
    return st ? st : start_serving(s, err);
}

static void introduce(server *s)
{
    size_t ncross, nlist;
    const wr_cross_shape *cross = wr_loaded_crosses(s->loaded, &ncross);
    const wr_list_shape *list = wr_loaded_lists(s->loaded, &nlist);
    for (size_t i = 0; i < wr_catalog_size(s->catalog); i++) {
        wr_lease lease;
        if (wr_catalog_lease(s->catalog, wr_catalog_name(s->catalog, i), &lease)) continue;
        say("index %s: %s, %llu documents, %s, %s%s, default pipeline %s", lease.name, lease.info->generation,
            (unsigned long long)lease.info->documents,
            lease.info->has_dense ? lease.info->dense_model_name : "no dense vectors",
            lease.info->has_sparse ? "learned sparse " : "no learned sparse postings",
            lease.info->has_sparse ? lease.info->sparse_model_name : "", lease.info->default_pipeline);
        if (!ncross && strstr(lease.info->default_pipeline, "cross"))
            say("index %s: no cross-encoder is loaded (" WR_DEFAULT_CROSS " was not found, --cross MODEL names one): the "
                "default pipeline goes without and names that in \"degraded\"", lease.name);
        wr_catalog_return(&lease);
    }
    for (size_t i = 0; i < ncross; i++) say("cross-encoder %s", cross[i].name);
    for (size_t i = 0; i < nlist; i++) say("decoder %s", list[i].name);
    say("%u threads, queue of %zu, %s", wr_pool_threads(s->pool), s->config.queue,
        s->config.nkeys ? "keys are asked for" : "no key is asked for");
    say("listening on %s", wr_http_url(s->http));
}

/* ---- stop ---- */

/* Waits until every request has its answer. False when DRAIN_S passed; a second signal ends the process here. */
static bool drain(server *s)
{
    const struct timespec tick = {0, 5000000};
    sigset_t set = our_signals();
    uint64_t start = wr_clock_now(&wr_clock_system), gone = 0;
    wr_api_drain(s->api);
    wr_http_refuse(s->http);
    while (wr_http_calls(s->http) > 0 || (wr_http_uploads(s->http) > 0 && gone < UPLOAD_S * 1000000000ull)) {
        int signal = sigtimedwait(&set, NULL, &tick);
        if (signal == SIGTERM || signal == SIGINT) {
            say("stopped by a second signal with %zu requests in work", wr_http_calls(s->http));
            _exit(1);
        }
        gone = wr_clock_now(&wr_clock_system) - start;
        if (gone > DRAIN_S * 1000000000ull) return false;
    }
    return true;
}

static void wait_for_end(server *s)
{
    sigset_t set = our_signals();
    for (;;) {
        int signal = sigwaitinfo(&set, NULL);
        if (signal == SIGHUP) wake_reloader(s, false);
        else if (signal > 0) return;
        else if (errno != EINTR) return;
    }
}

static void release(server *s)
{
    wr_http_close(s->http); /* first: no new request can come */
    wr_api_close(s->api);
    if (s->reloader) wake_reloader(s, true);
    wr_thread_join(s->reloader);
    wr_catalog_close(s->catalog);
    wr_loaded_close(s->loaded);
    wr_pool_close(s->pool);
    wr_log_close(s->log);
    wr_config_release(&s->config);
    pthread_cond_destroy(&s->woken);
    pthread_mutex_destroy(&s->lock);
}

static int run(int argc, char **argv)
{
    server s = {.lock = PTHREAD_MUTEX_INITIALIZER, .woken = PTHREAD_COND_INITIALIZER};
    wr_err err = {0};
    bool said;
    wr_status st = wr_config_read(&s.config, &wr_cmd_serve, argc, argv, &said, &err);
    if (st == WR_STOPPED) return 0;
    if (st) return said ? wr_exit_status(st) : wr_command_fail(&wr_cmd_serve, st, &err);
    prepare_process();
    st = start(&s, &err);
    if (!st) {
        introduce(&s);
        wait_for_end(&s);
        say("draining");
        if (!drain(&s)) {
            say("%zu requests had no answer after %d s", wr_http_calls(s.http), DRAIN_S);
            _exit(1); /* their connections sleep: nothing can be closed in order */
        }
        say("stopped");
    }
    int status = st ? wr_command_fail(&wr_cmd_serve, st, &err) : 0;
    release(&s);
    return status;
}
