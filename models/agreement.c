/* How the scores of two models agree: the measuring half of models/probe.h. */
#include <math.h>
#include <stdlib.h>

#include "models/probe.h"

/* ---- rankings of n scores ---- */

typedef struct ranked {
    float score;
    size_t i;
} ranked;

static int best_first(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->i > y->i) - (x->i < y->i);
}

static ranked *rank(const float *score, size_t n)
{
    ranked *r = calloc(n + 1, sizeof *r);
    for (size_t i = 0; i < n && r; i++) r[i] = (ranked){score[i], i};
    if (r) qsort(r, n, sizeof *r, best_first);
    return r;
}

/* Place of each score, equal ones share the mean of theirs. */
static double *places(const ranked *r, size_t n)
{
    double *place = calloc(n + 1, sizeof *place);
    for (size_t i = 0, end; i < n && place; i = end) {
        for (end = i + 1; end < n && r[end].score == r[i].score; end++) continue;
        for (size_t j = i; j < end; j++) place[r[j].i] = (double)(i + end - 1) / 2;
    }
    return place;
}

static double correlation(const double *x, const double *y, size_t n)
{
    double mx = 0, my = 0, xy = 0, xx = 0, yy = 0;
    for (size_t i = 0; i < n; i++) mx += x[i], my += y[i];
    mx /= (double)n, my /= (double)n;
    for (size_t i = 0; i < n; i++) {
        xy += (x[i] - mx) * (y[i] - my);
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
    }
    if (xx == 0 || yy == 0) return xx == yy; /* all scores are equal: in both lists is agreement */
    return xy / sqrt(xx * yy);
}

/* tau-b: pairs in the same order minus pairs turned round, over what there is without ties. */
static double kendall(const float *x, const float *y, size_t n)
{
    double both = 0, nx = 0, ny = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++) {
            int a = (x[i] > x[j]) - (x[i] < x[j]), b = (y[i] > y[j]) - (y[i] < y[j]);
            both += a * b;
            nx += a != 0;
            ny += b != 0;
        }
    if (nx == 0 || ny == 0) return nx == ny;
    return both / sqrt(nx * ny);
}

enum { TOP = 10 };

/* -1 where so few are ranked that all are among the first ten. */
static double overlap(const ranked *x, const ranked *y, size_t n)
{
    size_t kept = 0;
    if (n <= TOP) return -1;
    for (size_t i = 0; i < TOP; i++)
        for (size_t j = 0; j < TOP; j++) kept += x[i].i == y[j].i;
    return (double)kept / TOP;
}

/* ---- errors ---- */

static void errors(const float *want, const float *got, size_t n, wr_agreement *out)
{
    double square = 0, sum = 0, mean = 0, spread = 0;
    for (size_t i = 0; i < n; i++) {
        double error = fabs((double)got[i] - (double)want[i]);
        square += error * error;
        sum += error;
        mean += (double)want[i];
        if (!(error <= out->max_error)) out->max_error = error;
    }
    out->mean_error = sum / (double)n;
    mean /= (double)n;
    for (size_t i = 0; i < n; i++) spread += ((double)want[i] - mean) * ((double)want[i] - mean);
    out->loss = square > 0 ? sqrt(square / spread) : 0;
}

wr_status wr_probe_agreement_of(const float *want, const float *got, size_t begin, size_t end, wr_agreement *out)
{
    size_t n = end - begin;
    *out = (wr_agreement){.spearman = 1, .tau = 1, .top10 = 1};
    if (n == 0) return WR_OK;
    want += begin, got += begin;
    ranked *x = rank(want, n), *y = rank(got, n);
    double *px = x ? places(x, n) : NULL, *py = y ? places(y, n) : NULL;
    wr_status st = px && py ? WR_OK : WR_ENOMEM;
    if (!st) {
        errors(want, got, n, out);
        out->spearman = correlation(px, py, n);
        out->tau = kendall(want, got, n);
        out->top10 = overlap(x, y, n);
    }
    free(x);
    free(y);
    free(px);
    free(py);
    return st;
}

/* Errors and Spearman over all; tau and overlap are means over rankings. */
wr_status wr_probe_agreement(const wr_probe *probe, const float *want, const float *got, wr_agreement *out)
{
    double tau = 0, top10 = 0;
    size_t ntau = 0, ntop10 = 0;
    wr_status st = wr_probe_agreement_of(want, got, 0, probe->npairs, out);
    for (size_t begin = 0, end; begin < probe->npairs && !st; begin = end) {
        wr_agreement query;
        end = wr_probe_query_end(probe, begin);
        if (end - begin < 2) continue;
        st = wr_probe_agreement_of(want, got, begin, end, &query);
        tau += query.tau;
        ntau++;
        if (query.top10 < 0) continue;
        top10 += query.top10;
        ntop10++;
    }
    if (ntau) out->tau = tau / (double)ntau;
    if (ntop10)
        out->top10 = top10 / (double)ntop10;
    else
        out->top10 = -1;
    return st;
}

double wr_probe_loss(const wr_probe *probe, const float *want, const float *got)
{
    wr_agreement out = {0};
    errors(want, got, probe->npairs, &out);
    return out.loss;
}
