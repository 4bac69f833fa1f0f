/* Measures of a ranking whose documents are relevant or not. */
#include "tools/measures.h"

#include <math.h>

/* What a geometric mean takes for 0, and what keeps infAP from dividing by 0: trec_eval's constants. */
#define MIN_GEO_MEAN 0.00001
#define INFAP_EPSILON 0.00001

static bool relevant(const wr_judged *j, size_t i)
{
    return j->rel[i] >= 0 && j->rel[i] >= j->min_rel;
}

static double at_least(double x, double least)
{
    return x > least ? x : least;
}

/* Walks to rank `cut` (or the end) from where *i stands and counts relevant documents in *hits. */
static void walk(const wr_judged *j, double cut, size_t *i, size_t *hits)
{
    for (; *i < j->n && (double)*i < cut; ++*i) *hits += relevant(j, *i);
}

static double precision_sum(const wr_judged *j)
{
    double sum = 0;
    size_t hits = 0;
    for (size_t i = 0; i < j->n; i++)
        if (relevant(j, i)) sum += (double)++hits / (double)(i + 1);
    return sum;
}

void wr_measure_map(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    *value = j->num_rel ? precision_sum(j) / (double)j->num_rel : 0.0;
}

void wr_measure_gm_map(const wr_judged *j, const wr_measure_use *use, double *value)
{
    wr_measure_map(j, use, value);
    *value = log(at_least(*value, MIN_GEO_MEAN));
}

/* Robertson's logit of average precision: log((1 + sum) / (1 + R - sum)). */
void wr_measure_yaap(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    double sum = precision_sum(j);
    *value = log((1.0 + sum) / (1.0 + (double)j->num_rel - sum));
}

void wr_measure_map_cut(const wr_judged *j, const wr_measure_use *use, double *value)
{
    double sum = 0;
    size_t hits = 0, i = 0;
    for (size_t c = 0; c < use->nparams; c++) {
        for (; i < j->n && (double)i < use->param[c]; i++)
            if (relevant(j, i)) sum += (double)++hits / (double)(i + 1);
        value[c] = j->num_rel ? sum / (double)j->num_rel : 0.0;
    }
}

void wr_measure_rprec(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    size_t hits = 0, i = 0;
    walk(j, (double)j->num_rel, &i, &hits);
    *value = j->num_rel ? (double)hits / (double)j->num_rel : 0.0;
}

void wr_measure_recip_rank(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    size_t i = 0;
    while (i < j->n && !relevant(j, i)) i++;
    *value = i < j->n ? 1.0 / (double)(i + 1) : 0.0;
}

/* Each relevant document retrieved counts 1 less the share of the first R judged nonrelevant ones above it. */
void wr_measure_bpref(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    size_t above = 0, most = j->num_nonrel < j->num_rel ? j->num_nonrel : j->num_rel;
    double sum = 0;
    for (size_t i = 0; i < j->n; i++) {
        if (j->rel[i] < 0) continue;
        if (!relevant(j, i))
            above++;
        else if (above)
            sum += 1.0 - (double)(above < j->num_rel ? above : j->num_rel) / (double)most;
        else
            sum += 1.0;
    }
    *value = j->num_rel ? sum / (double)j->num_rel : 0.0;
}

void wr_measure_gm_bpref(const wr_judged *j, const wr_measure_use *use, double *value)
{
    wr_measure_bpref(j, use, value);
    *value = log(at_least(*value, MIN_GEO_MEAN));
}

void wr_measure_p(const wr_judged *j, const wr_measure_use *use, double *value)
{
    size_t hits = 0, i = 0;
    for (size_t c = 0; c < use->nparams; c++) {
        walk(j, use->param[c], &i, &hits);
        value[c] = (double)hits / use->param[c];
    }
}

void wr_measure_recall(const wr_judged *j, const wr_measure_use *use, double *value)
{
    size_t hits = 0, i = 0;
    for (size_t c = 0; c < use->nparams; c++) {
        walk(j, use->param[c], &i, &hits);
        value[c] = j->num_rel ? (double)hits / (double)j->num_rel : 0.0;
    }
}

/* P over the best P that this cut allows. */
void wr_measure_relative_p(const wr_judged *j, const wr_measure_use *use, double *value)
{
    size_t hits = 0, i = 0;
    for (size_t c = 0; c < use->nparams; c++) {
        walk(j, use->param[c], &i, &hits);
        value[c] = j->num_rel ? (double)hits / fmin(use->param[c], (double)j->num_rel) : 0.0;
    }
}

void wr_measure_success(const wr_judged *j, const wr_measure_use *use, double *value)
{
    size_t hits = 0, i = 0;
    for (size_t c = 0; c < use->nparams; c++) {
        walk(j, use->param[c], &i, &hits);
        value[c] = hits ? 1.0 : 0.0;
    }
}

void wr_measure_unj(const wr_judged *j, const wr_measure_use *use, double *value)
{
    size_t unjudged = 0, i = 0;
    for (size_t c = 0; c < use->nparams; c++) {
        for (; i < j->n && (double)i < use->param[c]; i++) unjudged += j->rel[i] < 0;
        value[c] = (double)unjudged / use->param[c];
    }
}

/* Precision at multiples of R, rounded up from .1. */
void wr_measure_rprec_mult(const wr_judged *j, const wr_measure_use *use, double *value)
{
    size_t hits = 0, i = 0;
    for (size_t c = 0; c < use->nparams; c++) {
        double cut = floor(use->param[c] * (double)j->num_rel + 0.9);
        walk(j, cut, &i, &hits);
        value[c] = cut >= 1 ? (double)hits / cut : 0.0;
    }
}

/* Fills value[c] with the highest precision at or behind the document that brings recall to level[c], from the last
 * level to the first; returns their sum. Levels may stand in any order. */
static double interpolate(const wr_judged *j, const double *level, size_t n, double *value)
{
    double sum = 0;
    for (size_t c = n; c-- > 0;) {
        double needed = round(level[c] * (double)j->num_rel), best = 0;
        size_t hits = j->num_rel_ret;
        for (size_t i = j->n; i-- > 0 && hits && (double)hits >= needed;) {
            if (!relevant(j, i)) continue;
            best = at_least((double)hits / (double)(i + 1), best);
            hits--;
        }
        sum += best;
        if (value) value[c] = best;
    }
    return sum;
}

void wr_measure_iprec_at_recall(const wr_judged *j, const wr_measure_use *use, double *value)
{
    interpolate(j, use->param, use->nparams, value);
}

void wr_measure_11pt_avg(const wr_judged *j, const wr_measure_use *use, double *value)
{
    *value = interpolate(j, use->param, use->nparams, NULL) / (double)use->nparams;
}

/* Yilmaz and Aslam: the expected precision at each relevant document, from a pool of which a sample was judged. */
void wr_measure_infap(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    double sum = 0, hits = 0, misses = 0, unjudged = 0;
    for (size_t i = 0; i < j->n; i++) {
        if (relevant(j, i)) {
            double above = (double)i;
            if (i == 0)
                sum += 1.0;
            else
                sum += 1.0 / (above + 1.0) + above / (above + 1.0) * ((hits + misses + unjudged) / above) *
                                                 ((hits + INFAP_EPSILON) / (hits + misses + 2 * INFAP_EPSILON));
            hits++;
        } else if (j->rel[i] >= 0) {
            misses++;
        } else if (j->rel[i] == WR_REL_UNJUDGED) {
            unjudged++;
        }
    }
    *value = j->num_rel ? sum / (double)j->num_rel : 0.0;
}

void wr_measure_relstring(const wr_judged *j, size_t len, char *out)
{
    size_t n = len < j->n ? len : j->n;
    for (size_t i = 0; i < n; i++) {
        long rel = j->rel[i];
        out[i] = rel > 9 ? '>' : rel >= 0 ? (char)('0' + rel) : rel == WR_REL_NONPOOL ? '-' : '.';
    }
    out[n] = 0;
}
