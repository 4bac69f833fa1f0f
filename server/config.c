#include "server/config.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "data/json.h"
#include "models/find.h"
#include "server/listen.h"

#define MAX_CONFIG_BYTES ((size_t)1 << 20)
#define UNSET SIZE_MAX

/* 256 waiting requests are a second or two of work for two cores: who comes later would time out in the queue. */
#define DEFAULT_QUEUE 256
/* A connection that waits costs 33 KiB; a proxy in front needs a few hundred. */
#define DEFAULT_CONNECTIONS 1024
/* A query is a few hundred bytes, a batch to rerank or embed a few megabytes. */
#define DEFAULT_MAX_BODY ((size_t)8 << 20)
#define MAX_MAX_BODY ((size_t)256 << 20)
#define MAX_BUDGET_MS 3600000.0 /* an hour: more is a typing error */

/* The command line before the file is merged in. */
typedef struct arguments {
    const char *config, *listen, *dense, *sparse, *precision, *api_key;
    struct wr_option_list index, cross, list;
    size_t threads, coordinators, queue, connections, max_body;
    double default_budget_ms, max_budget_ms;
    bool log_jsonl;
} arguments;

static wr_status read_arguments(arguments *a, const struct wr_command *command, int argc, char **argv)
{
    const struct wr_option options[] = {
        {"index", "[NAME=]DIR", "an index to serve; may repeat, the first one is the default", WR_OPT_LIST, &a->index},
        {"listen", "ADDRESS", "HOST:PORT, [IPV6]:PORT, PORT or :PORT (127.0.0.1:8080)", WR_OPT_TEXT, &a->listen},
        {"config", "FILE", "options as JSON; flags and environment win", WR_OPT_TEXT, &a->config},
        {"cross", "[NAME=]MODEL", "a cross-encoder to load (" WR_DEFAULT_CROSS " where it is found); may repeat", WR_OPT_LIST, &a->cross},
        {"list", "[NAME=]MODEL", "a decoder to load, for stages \"list\" and for reranking; may repeat", WR_OPT_LIST, &a->list},
        {"dense", "MODEL", "query encoder instead of the one that the index names", WR_OPT_TEXT, &a->dense},
        {"sparse", "MODEL", "learned sparse model instead of the one that the index names", WR_OPT_TEXT, &a->sparse},
        {"precision", "P", "fp32, bf16 or int8 (as the model is stored)", WR_OPT_TEXT, &a->precision},
        {"threads", "N", "threads that compute (one for each CPU)", WR_OPT_SIZE, &a->threads},
        {"coordinators", "N", "requests in work at one time (threads + 1)", WR_OPT_SIZE, &a->coordinators},
        {"queue", "N", "requests that may wait (256); more get 429", WR_OPT_SIZE, &a->queue},
        {"connections", "N", "connections that may be open (1024)", WR_OPT_SIZE, &a->connections},
        {"max-body", "BYTES", "largest body (8388608); more gets 413", WR_OPT_SIZE, &a->max_body},
        {"default-budget-ms", "B", "budget of requests that name none", WR_OPT_DOUBLE, &a->default_budget_ms},
        {"max-budget-ms", "B", "no request gets more than this", WR_OPT_DOUBLE, &a->max_budget_ms},
        {"api-key", "KEY", "clients must show this key; needed to listen beyond this machine", WR_OPT_TEXT, &a->api_key},
        {"log-jsonl", NULL, "one line of JSON for each request on standard error", WR_OPT_FLAG, &a->log_jsonl},
        {0}};
    *a = (arguments){.threads = UNSET, .coordinators = UNSET, .queue = UNSET, .connections = UNSET, .max_body = UNSET,
                     .default_budget_ms = -1, .max_budget_ms = -1};
    return wr_options_parse(command, options, argc, argv, NULL, 0, NULL);
}

/* ---- the file ---- */

static wr_status refuse(const char *path, const char *name, const char *expected, wr_err *err)
{
    return wr_fail(err, WR_EARG, "%s: \"%s\": expected %s", path, name, expected);
}

static wr_status file_text(const char *path, const char *name, json_t *value, const char **out, wr_err *err)
{
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
        return refuse(path, name, "a string", err);
    if (!*out) *out = json_string_value(value);
    return WR_OK;
}

static wr_status file_size(const char *path, const char *name, json_t *value, size_t *out, wr_err *err)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) return refuse(path, name, "a whole number", err);
    if (*out == UNSET) *out = (size_t)json_integer_value(value);
    return WR_OK;
}

static wr_status file_double(const char *path, const char *name, json_t *value, double *out, wr_err *err)
{
    if (!json_is_number(value) || json_number_value(value) < 0) return refuse(path, name, "a number, 0 or more", err);
    if (*out < 0) *out = json_number_value(value);
    return WR_OK;
}

/* One string or an array of them; ignored when the command line has named some. */
static wr_status file_list(const char *path, const char *name, json_t *value, struct wr_option_list *out, wr_err *err)
{
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    struct wr_option_list list = {0};
    if (n > WR_OPTION_LIST_MAX) return refuse(path, name, "at most 64 strings", err);
    for (; list.n < n; list.n++) {
        json_t *item = json_is_array(value) ? json_array_get(value, list.n) : value;
        wr_status st = file_text(path, name, item, &list.item[list.n], err);
        if (st) return st;
    }
    if (out->n == 0) *out = list;
    return WR_OK;
}

static wr_status file_member(arguments *a, struct wr_option_list *keys, const char *path, const char *name,
                             json_t *value, wr_err *err)
{
    const struct { const char *name; const char **out; } texts[] = {
        {"listen", &a->listen}, {"dense", &a->dense}, {"sparse", &a->sparse}, {"precision", &a->precision}};
    const struct { const char *name; size_t *out; } sizes[] = {
        {"threads", &a->threads}, {"coordinators", &a->coordinators}, {"queue", &a->queue},
        {"connections", &a->connections}, {"max_body", &a->max_body}};
    const struct { const char *name; double *out; } doubles[] = {
        {"default_budget_ms", &a->default_budget_ms}, {"max_budget_ms", &a->max_budget_ms}};
    const struct { const char *name; struct wr_option_list *out; } lists[] = {
        {"index", &a->index}, {"cross", &a->cross}, {"list", &a->list}, {"api_keys", keys}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (!strcmp(name, texts[i].name)) return file_text(path, name, value, texts[i].out, err);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (!strcmp(name, sizes[i].name)) return file_size(path, name, value, sizes[i].out, err);
    for (size_t i = 0; i < sizeof doubles / sizeof doubles[0]; i++)
        if (!strcmp(name, doubles[i].name)) return file_double(path, name, value, doubles[i].out, err);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (!strcmp(name, lists[i].name)) return file_list(path, name, value, lists[i].out, err);
    if (strcmp(name, "log_jsonl")) return wr_fail(err, WR_EARG, "%s: \"%s\": no such option", path, name);
    if (!json_is_boolean(value)) return refuse(path, name, "true or false", err);
    a->log_jsonl = a->log_jsonl || json_is_true(value);
    return WR_OK;
}

static wr_status read_file(wr_config *config, arguments *a, struct wr_option_list *keys, wr_err *err)
{
    const char *name;
    json_t *value;
    wr_status st = wr_json_load(&config->file, a->config, MAX_CONFIG_BYTES, err);
    if (st) return st;
    if (!json_is_object(config->file)) return wr_fail(err, WR_EARG, "%s: expected one JSON object", a->config);
    json_object_foreach(config->file, name, value)
        if ((st = file_member(a, keys, a->config, name, value, err))) return st;
    return WR_OK;
}

/* ---- what was read, checked ---- */

static wr_status add_key(wr_config *config, const char *key, wr_err *err)
{
    size_t n = strlen(key);
    if (config->nkeys == WR_MAX_KEYS) return wr_fail(err, WR_EARG, "more than %d keys", WR_MAX_KEYS);
    if (n < 1) return wr_fail(err, WR_EARG, "a key is empty");
    for (size_t i = 0; i < n; i++)
        if (key[i] <= ' ' || key[i] > '~')
            return wr_fail(err, WR_EARG, "a key holds a space or a character that no header may hold");
    wr_sha256_bytes(key, n, config->key[config->nkeys++]);
    return WR_OK;
}

static bool name_is_plain(const char *name, size_t n)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    return n >= 1 && n <= 64 && strspn(name, plain) >= n;
}

/* The last component of a folder's path, slashes at the end left out. */
static const char *folder_name(const char *dir, size_t *n)
{
    const char *end = dir + strlen(dir), *from;
    while (end > dir && end[-1] == '/') end--;
    for (from = end; from > dir && from[-1] != '/';) from--;
    *n = (size_t)(end - from);
    return from;
}

static wr_status add_index(wr_config *config, const char *text, wr_err *err)
{
    const char *equals = strchr(text, '='), *slash = strchr(text, '/'), *name = text;
    bool named = equals && equals > text && (!slash || equals < slash);
    size_t n = named ? (size_t)(equals - text) : 0;
    wr_index_spec *spec = &config->index[config->nindexes];
    if (config->nindexes == WR_MAX_INDEXES) return wr_fail(err, WR_EARG, "more than %d indexes", WR_MAX_INDEXES);
    spec->dir = named ? equals + 1 : text;
    if (!named) name = folder_name(spec->dir, &n);
    if (!*spec->dir || !name_is_plain(name, n))
        return wr_fail(err, WR_EARG, "--index %s: expected [NAME=]DIR with a name of letters, digits, '.', '_' and '-'",
                       text);
    snprintf(spec->name, sizeof spec->name, "%.*s", (int)n, name);
    for (size_t i = 0; i < config->nindexes; i++)
        if (!strcmp(config->index[i].name, spec->name))
            return wr_fail(err, WR_EARG, "--index %s: the name %s is taken, expected NAME=DIR with another one", text,
                           spec->name);
    config->nindexes++;
    return WR_OK;
}

static wr_status check_range(const char *name, size_t value, size_t least, size_t most, wr_err *err)
{
    if (value >= least && value <= most) return WR_OK;
    return wr_fail(err, WR_EARG, "%s: %zu, expected %zu to %zu", name, value, least, most);
}

static wr_status check_budgets(const wr_config *config, wr_err *err)
{
    if (!(config->default_budget_ms <= MAX_BUDGET_MS) || !(config->max_budget_ms <= MAX_BUDGET_MS))
        return wr_fail(err, WR_EARG, "a budget is more than %g ms", MAX_BUDGET_MS);
    if (config->max_budget_ms > 0 && config->default_budget_ms > config->max_budget_ms)
        return wr_fail(err, WR_EARG, "default_budget_ms %g is more than max_budget_ms %g", config->default_budget_ms,
                       config->max_budget_ms);
    return WR_OK;
}

static wr_status check_address(const wr_config *config, wr_err *err)
{
    bool local;
    wr_status st = wr_listen_is_local(config->listen, &local, err);
    if (st || local || config->nkeys) return st;
    return wr_fail(err, WR_EARG, "--listen %s: other machines could reach it; that needs a key (--api-key, WEIR_API_KEY or "
                   "\"api_keys\")", config->listen);
}

static size_t or_default(size_t value, size_t otherwise)
{
    return value == UNSET ? otherwise : value;
}

static wr_status take(wr_config *config, const arguments *a, const struct wr_option_list *keys, wr_err *err)
{
    wr_status st = WR_OK;
    config->listen = a->listen ? a->listen : "127.0.0.1:8080";
    config->cross = a->cross;
    config->list = a->list;
    config->dense = a->dense;
    config->sparse = a->sparse;
    config->precision = a->precision;
    config->threads = or_default(a->threads, 0);
    config->coordinators = or_default(a->coordinators, 0);
    config->queue = or_default(a->queue, DEFAULT_QUEUE);
    config->connections = or_default(a->connections, DEFAULT_CONNECTIONS);
    config->max_body = or_default(a->max_body, DEFAULT_MAX_BODY);
    config->default_budget_ms = a->default_budget_ms > 0 ? a->default_budget_ms : 0;
    config->max_budget_ms = a->max_budget_ms > 0 ? a->max_budget_ms : 0;
    config->log_jsonl = a->log_jsonl;
    if (a->index.n == 0) return wr_fail(err, WR_EARG, "no index is named, expected --index [NAME=]DIR");
    for (size_t i = 0; i < a->index.n && !st; i++) st = add_index(config, a->index.item[i], err);
    if (!st && a->api_key) st = add_key(config, a->api_key, err);
    for (size_t i = 0; i < keys->n && !st; i++) st = add_key(config, keys->item[i], err);
    if (!st) st = check_range("threads", config->threads, 0, 1024, err);
    if (!st) st = check_range("coordinators", config->coordinators, 0, 1024, err);
    if (!st) st = check_range("queue", config->queue, 1, (size_t)1 << 20, err);
    if (!st) st = check_range("connections", config->connections, 1, 100000, err);
    if (!st) st = check_range("max-body", config->max_body, 1, MAX_MAX_BODY, err);
    if (!st) st = check_budgets(config, err);
    return st ? st : check_address(config, err);
}

wr_status wr_config_read(wr_config *config, const struct wr_command *command, int argc, char **argv, bool *said,
                         wr_err *err)
{
    arguments a;
    struct wr_option_list keys = {0};
    memset(config, 0, sizeof *config);
    wr_status st = read_arguments(&a, command, argc, argv);
    *said = st != WR_OK;
    if (st) return st;
    if (a.config) st = read_file(config, &a, &keys, err);
    if (!st) st = take(config, &a, &keys, err);
    if (st) wr_config_release(config);
    return st;
}

void wr_config_release(wr_config *config)
{
    json_decref(config->file);
    config->file = NULL;
}

bool wr_config_has_key(const wr_config *config, const char *key, size_t n)
{
    char got[WR_SHA256_HEX];
    unsigned found = 0;
    wr_sha256_bytes(key, n, got);
    for (size_t i = 0; i < config->nkeys; i++) {
        unsigned differs = 0;
        for (size_t j = 0; j < WR_SHA256_HEX; j++) differs |= (unsigned char)(config->key[i][j] ^ got[j]);
        found |= differs == 0;
    }
    return found;
}
