/* What `weir serve` is told: flag > environment (WEIR_NAME) > config file > default.
 *
 * The file is one JSON object with the options' names, dashes as underscores; what it does not know is refused:
 *
 *     {"listen": "127.0.0.1:8080", "index": ["wiki=/srv/wiki", "/srv/faq"], "cross": ["tiny=/srv/models/tiny"],
 *      "list": "qwen=/srv/models/qwen.gguf",
 *      "dense": "/srv/models/minilm", "sparse": "/srv/models/splade", "threads": 4, "precision": "fp32", "queue": 256, "coordinators": 5,
 *      "connections": 1024, "max_body": 8388608, "api_keys": ["..."], "default_budget_ms": 200,
 *      "max_budget_ms": 2000, "log_jsonl": true}
 *
 * "index", "cross" and "list" also take one string.
 */
#ifndef WR_SERVER_CONFIG_H
#define WR_SERVER_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "data/command.h"
#include "data/hash.h"
#include "data/status.h"

#define WR_MAX_INDEXES 64
#define WR_MAX_KEYS 64

/* An index that is served: "[NAME=]DIR", NAME by default the folder's. */
typedef struct wr_index_spec {
    char name[65]; /* letters, digits, '.', '_', '-' : it stands in paths and in metrics */
    const char *dir;
} wr_index_spec;

/* Strings are borrowed from argv, the environment or file. */
typedef struct wr_config {
    const char *listen;
    wr_index_spec index[WR_MAX_INDEXES]; /* [nindexes] */
    size_t nindexes;
    struct wr_option_list cross, list;
    const char *dense, *sparse, *precision; /* NULL = the index's, as stored */
    size_t threads;                /* 0 = one for each CPU           */
    size_t coordinators;           /* 0 = threads + 1                */
    size_t queue, connections, max_body;
    double default_budget_ms, max_budget_ms; /* 0 = none */
    bool log_jsonl;
    char key[WR_MAX_KEYS][WR_SHA256_HEX]; /* [nkeys] hashes: comparing them tells nothing about a key */
    size_t nkeys;
    json_t *file; /* private */
} wr_config;

/* Reads the command line of `command`. WR_STOPPED when --help was printed; other failures have printed their sentence
 * already when *said is set, else it is in err. */
wr_status wr_config_read(wr_config *config, const struct wr_command *command, int argc, char **argv, bool *said,
                         wr_err *err);
void wr_config_release(wr_config *config);

/* True when one of the keys is key[0..n). Takes the same time whichever it is, and when none is. */
bool wr_config_has_key(const wr_config *config, const char *key, size_t n);

#endif
