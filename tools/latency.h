/* What a list of times says: their mean and the times that most of them kept. */
#ifndef WR_TOOLS_LATENCY_H
#define WR_TOOLS_LATENCY_H

#include <stddef.h>

/* Percentiles by nearest rank: p95 is the smallest time that at least 95 % of all do not exceed. All 0 for none. */
typedef struct wr_latency {
    double mean_ms, p50_ms, p95_ms, p99_ms;
} wr_latency;

/* Sorts ms[n]. */
wr_latency wr_latency_of(double *ms, size_t n);

#endif
