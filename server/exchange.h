/* One request on its way through the routes, and what the routes share: private to server/api*.c. */
#ifndef WR_SERVER_EXCHANGE_H
#define WR_SERVER_EXCHANGE_H

#include <stdatomic.h>

#include "server/api.h"
#include "server/catalog.h"
#include "server/http.h"
#include "server/queue.h"
#include "server/requests.h"

typedef struct wr_exchange wr_exchange;

/* How a route works. parse reads the body (NULL: there is none), run writes the answer into call->reply. Both return
 * false with x->problem filled. */
typedef struct wr_route_def {
    wr_route route;
    const char *path; /* '*' stands for one segment, the parameter */
    bool post;        /* else GET and HEAD */
    bool open;        /* needs no key */
    bool queued;      /* run on a coordinator, not at once */
    bool (*parse)(wr_exchange *x);
    bool (*run)(wr_exchange *x);
    void (*release)(wr_exchange *x);
} wr_route_def;

struct wr_exchange {
    wr_api *api;
    wr_call *call;
    const wr_route_def *def; /* NULL: no such route */
    char parameter[3 * 512]; /* decoded: name of an index or a docno */
    char index[72];          /* decoded ?index= */
    bool parsed;
    double header_budget_ms; /* Weir-Budget-Ms; 0 = none */
    double budget_ms;        /* what holds in the end; 0 = none */
    uint64_t waited_ns;      /* in the queue */
    wr_problem problem;
    union {
        wr_search_args search;
        wr_rerank_args rerank;
        wr_embed_args embed;
    } args;
};

struct wr_api {
    wr_api_options options;
    wr_metrics *metrics;
    wr_queue *queue;
    wr_catalog *catalog; /* NULL until wr_api_serve() */
    wr_loaded *loaded;
    wr_thread **coordinator; /* [ncoordinators] */
    size_t ncoordinators;
    _Atomic int state; /* enum wr_api_state */
    _Atomic uint64_t service_ns; /* moving average of what one request takes a coordinator */
    _Atomic uint64_t ids;
    atomic_size_t open; /* requests received and not done */
    uint64_t seed;
};

/* The body's budget, the header's, the default and the ceiling: what holds. Call after the body was parsed. */
void wr_exchange_budget(wr_exchange *x, double body_budget_ms);

/* A code that only a bug, a full disk or a dying machine explains: 500. */
bool wr_exchange_fail(wr_exchange *x, wr_status st, const char *what);

bool wr_api_search_parse(wr_exchange *x);
bool wr_api_search_run(wr_exchange *x);
void wr_api_search_release(wr_exchange *x);
bool wr_api_document_run(wr_exchange *x);

bool wr_api_rerank_parse(wr_exchange *x);
bool wr_api_rerank_run(wr_exchange *x);
bool wr_api_tei_rerank_parse(wr_exchange *x);
bool wr_api_tei_rerank_run(wr_exchange *x);
void wr_api_rerank_release(wr_exchange *x);

bool wr_api_embed_parse(wr_exchange *x);
bool wr_api_embed_run(wr_exchange *x);
bool wr_api_tei_embed_parse(wr_exchange *x);
bool wr_api_tei_sparse_parse(wr_exchange *x);
bool wr_api_tei_embed_run(wr_exchange *x);
bool wr_api_tei_sparse_run(wr_exchange *x);
void wr_api_embed_release(wr_exchange *x);

#endif
