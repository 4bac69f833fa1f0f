/* Counters and latency histograms, written as Prometheus text. Everything is a relaxed atomic: recording takes no lock
 * and never waits. Label values come from closed sets (routes, statuses, stages, reasons), so that no client can make
 * the output grow.
 *
 *     weir_requests_total{route,status}           weir_degraded_total{stage,reason}
 *     weir_request_seconds{route} histogram       weir_shed_total{reason}
 *     weir_stage_seconds{stage} histogram         weir_rerank_pairs_total
 *     weir_queue_seconds histogram                weir_queue_depth, weir_queue_capacity
 *     weir_budget_seconds histogram               weir_resident_bytes
 *     weir_reloads_total{result}                  weir_build_info{version}
 */
#ifndef WR_SERVER_METRICS_H
#define WR_SERVER_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "ranker/rank.h"
#include "server/out.h"

typedef enum wr_route {
    WR_ROUTE_SEARCH,
    WR_ROUTE_INDEX_SEARCH,
    WR_ROUTE_DOCUMENT,
    WR_ROUTE_RERANK,
    WR_ROUTE_TEI_RERANK,
    WR_ROUTE_EMBEDDINGS,
    WR_ROUTE_TEI_EMBED,
    WR_ROUTE_TEI_EMBED_SPARSE,
    WR_ROUTE_LIVE,
    WR_ROUTE_READY,
    WR_ROUTE_HEALTHZ,
    WR_ROUTE_HEALTH,
    WR_ROUTE_METRICS,
    WR_ROUTE_OTHER, /* what matches none */
    WR_ROUTES
} wr_route;

const char *wr_route_path(wr_route route); /* "/v1/indexes/{name}/search"; "other" */

typedef enum wr_shed {
    WR_SHED_QUEUE_FULL,
    WR_SHED_BUFFERS_FULL,
    WR_SHED_DRAINING,
    WR_SHED_STARTING,
    WR_SHEDS
} wr_shed;

typedef struct wr_metrics wr_metrics;

wr_metrics *wr_metrics_new(void); /* NULL when out of memory */
void wr_metrics_free(wr_metrics *metrics);

/* A request that was answered, in nanoseconds from its arrival to its last byte. */
void wr_metrics_request(wr_metrics *metrics, wr_route route, unsigned status, uint64_t ns);
void wr_metrics_queued(wr_metrics *metrics, uint64_t waited_ns);
void wr_metrics_budget(wr_metrics *metrics, double budget_ms);
void wr_metrics_shed(wr_metrics *metrics, wr_shed reason);
void wr_metrics_reload(wr_metrics *metrics, bool ok);
void wr_metrics_pairs(wr_metrics *metrics, uint64_t pairs);

/* Stages, encoding, scored pairs and degradations of one answer. Names that are no stage of ours count as "other". */
void wr_metrics_response(wr_metrics *metrics, const wr_response *reply);
void wr_metrics_degraded(wr_metrics *metrics, const char *stage, wr_reason reason, uint64_t n);

/* What is read at the time of writing. */
typedef struct wr_metrics_gauges {
    const char *version;
    size_t queue_depth, queue_capacity;
    size_t open_requests; /* received and not answered yet */
} wr_metrics_gauges;
void wr_metrics_write(wr_metrics *metrics, const wr_metrics_gauges *gauges, wr_out *out);

#endif
