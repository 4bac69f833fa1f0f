/* JSON <-> wr_request and wr_response: the routes, what they check, and the threads that answer.
 *
 * libmicrohttpd's thread calls begin() and ready() (http.h): what needs no computing is answered there, everything else
 * is parsed and queued. Coordinators take requests from the queue, earliest deadline first, run them and wake their
 * connections. Everything that is refused is application/problem+json (problem.h).
 *
 *     wr_api_open(&api, &options, &err);                  // 503 for all but /livez
 *     wr_http_open(&http, ... .handler = wr_api_handler(api));
 *     wr_api_serve(api, catalog, loaded);                 // ready
 *     wr_api_drain(api);                                  // 503 for what is new; what waits is still answered
 *     wr_api_close(api);
 */
#ifndef WR_SERVER_API_H
#define WR_SERVER_API_H

#include "server/catalog.h"
#include "server/config.h"
#include "server/http.h"
#include "server/log.h"
#include "server/metrics.h"

typedef struct wr_api wr_api;

typedef struct wr_api_options {
    const wr_config *config; /* borrowed until close, as all here */
    wr_pool *pool;
    size_t coordinators; /* threads that answer */
    const char *version;
    wr_log *log; /* NULL = no access log */
} wr_api_options;

/* Starts the coordinators. */
wr_status wr_api_open(wr_api **api, const wr_api_options *options, wr_err *err);

/* Answers what is queued, then ends the coordinators. NULL is fine. */
void wr_api_close(wr_api *api);

wr_http_handler wr_api_handler(wr_api *api);
wr_metrics *wr_api_metrics(wr_api *api);

/* Ready from now on. catalog and loaded outlive the api. */
void wr_api_serve(wr_api *api, wr_catalog *catalog, wr_loaded *loaded);
void wr_api_drain(wr_api *api);

#endif
