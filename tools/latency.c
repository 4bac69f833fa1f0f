#include "tools/latency.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double nearest_rank(const double *sorted, size_t n, double share)
{
    double rank = ceil(share * (double)n);
    return sorted[rank < 1 ? 0 : (size_t)rank - 1];
}

wr_latency wr_latency_of(double *ms, size_t n)
{
    double sum = 0;
    if (n == 0) return (wr_latency){0};
    qsort(ms, n, sizeof *ms, ascending);
    for (size_t i = 0; i < n; i++) sum += ms[i];
    return (wr_latency){sum / (double)n, nearest_rank(ms, n, 0.50), nearest_rank(ms, n, 0.95),
                        nearest_rank(ms, n, 0.99)};
}
