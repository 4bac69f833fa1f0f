/* Measures of a ranking whose documents have grades, each grade with a gain: the grade itself, or what the parameters
 * "grade=gain" say. A document that was not judged gains nothing. The ideal ranking has the topic's judged documents in
 * falling order of their gains, as far as these are positive. */
#include "tools/measures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct gains {
    wr_gain *by_rel;  /* [n] ascending grades  */
    wr_gain *by_gain; /* [n] descending gains  */
    size_t n;
};

static int by_rel(const void *a, const void *b)
{
    const wr_gain *x = a, *y = b;
    return (x->rel > y->rel) - (x->rel < y->rel);
}

static int by_gain(const void *a, const void *b)
{
    const wr_gain *x = a, *y = b;
    if (x->gain != y->gain) return x->gain > y->gain ? -1 : 1;
    return by_rel(a, b);
}

/* The topic's grades with their gains; a pair may name a grade that no document of the topic has. */
static struct gains weigh(const wr_judged *j, const wr_measure_use *use)
{
    struct gains g = {j->scratch, j->scratch + j->ngrades + WR_MAX_GAIN_PAIRS, j->ngrades};
    memcpy(g.by_rel, j->grade, g.n * sizeof *g.by_rel);
    for (size_t p = 0; p < use->npairs; p++) {
        wr_gain *found = bsearch(&use->pair[p], g.by_rel, j->ngrades, sizeof *found, by_rel);
        if (found)
            found->gain = use->pair[p].gain;
        else
            g.by_rel[g.n++] = use->pair[p];
    }
    qsort(g.by_rel, g.n, sizeof *g.by_rel, by_rel);
    memcpy(g.by_gain, g.by_rel, g.n * sizeof *g.by_gain);
    qsort(g.by_gain, g.n, sizeof *g.by_gain, by_gain);
    return g;
}

static double gain_of(const struct gains *g, long rel)
{
    const wr_gain key = {rel, 0, 0}, *found = bsearch(&key, g->by_rel, g->n, sizeof key, by_rel);
    return found ? found->gain : 0.0;
}

static double discount(size_t i)
{
    return log2((double)(i + 2));
}

/* Goes down the ideal ranking, one document a call; 0 when there is none left with a positive gain. */
struct ideal {
    const wr_gain *next, *end;
    size_t taken; /* of next */
};

static struct ideal ideal_of(const struct gains *g)
{
    return (struct ideal){g->by_gain, g->by_gain + g->n, 0};
}

static double ideal_next(struct ideal *ideal)
{
    while (ideal->next < ideal->end && ideal->taken == ideal->next->count) {
        ideal->next++;
        ideal->taken = 0;
    }
    if (ideal->next == ideal->end || ideal->next->gain <= 0) return 0.0;
    ideal->taken++;
    return ideal->next->gain;
}

static double dcg(const wr_judged *j, const struct gains *g)
{
    double sum = 0;
    for (size_t i = 0; i < j->n; i++) {
        double gain = gain_of(g, j->rel[i]);
        if (gain != 0) sum += gain / discount(i);
    }
    return sum;
}

static double ideal_dcg(const struct gains *g)
{
    struct ideal ideal = ideal_of(g);
    double sum = 0, gain;
    for (size_t i = 0; (gain = ideal_next(&ideal)) > 0; i++) sum += gain / discount(i);
    return sum;
}

void wr_measure_dcg(const wr_judged *j, const wr_measure_use *use, double *value)
{
    struct gains g = weigh(j, use);
    *value = dcg(j, &g);
}

void wr_measure_ideal_dcg(const wr_judged *j, const wr_measure_use *use, double *value)
{
    struct gains g = weigh(j, use);
    *value = ideal_dcg(&g);
}

void wr_measure_ndcg(const wr_judged *j, const wr_measure_use *use, double *value)
{
    struct gains g = weigh(j, use);
    double best = ideal_dcg(&g);
    *value = best > 0 ? dcg(j, &g) / best : 0.0;
}

void wr_measure_ndcg_cut(const wr_judged *j, const wr_measure_use *use, double *value)
{
    struct gains g = weigh(j, use);
    struct ideal ideal = ideal_of(&g);
    double sum = 0, best = 0, gain = 1;
    size_t i = 0, k = 0;
    for (size_t c = 0; c < use->nparams; c++) {
        for (; i < j->n && (double)i < use->param[c]; i++)
            if (j->rel[i] > 0) sum += gain_of(&g, j->rel[i]) / discount(i);
        for (; (double)k < use->param[c] && gain > 0; k++)
            if ((gain = ideal_next(&ideal)) > 0) best += gain / discount(k);
        value[c] = best > 0 ? sum / best : 0.0;
    }
}

/* nDCG at each relevant document retrieved; those that were not count with the nDCG at the end. */
void wr_measure_ndcg_rel(const wr_judged *j, const wr_measure_use *use, double *value)
{
    struct gains g = weigh(j, use);
    struct ideal ideal = ideal_of(&g);
    double have = 0, best = 0, sum = 0, missed = 0, gain;
    size_t i = 0;
    for (; i < j->n; i++) {
        double step = ideal_next(&ideal);
        gain = gain_of(&g, j->rel[i]);
        if (gain != 0) have += gain / discount(i);
        if (step > 0) best += step / discount(i);
        missed += (step > 0) - (gain > 0);
        if (gain > 0 && best > 0) sum += have / best;
    }
    for (; (gain = ideal_next(&ideal)) > 0; i++, missed++) best += gain / discount(i);
    size_t relevant = 0;
    for (size_t k = 0; k < g.n && g.by_gain[k].gain > 0; k++) relevant += g.by_gain[k].count;
    if (best > 0) sum += missed * have / best;
    *value = sum > 0 && relevant ? sum / (double)relevant : 0.0;
}

/* The mean of nDCG at each rank behind which the ideal gain changes, and at the end of a ranking that is longer by two
 * or more than the ideal one. */
void wr_measure_rndcg(const wr_judged *j, const wr_measure_use *use, double *value)
{
    struct gains g = weigh(j, use);
    struct ideal ideal = ideal_of(&g);
    double have = 0, best = 0, sum = 0, changes = 0, old = 0;
    bool open = true; /* the ideal ranking goes on */
    size_t length = 0;
    for (size_t i = 0; i < j->n || open; i++) {
        double step = open ? ideal_next(&ideal) : 0.0;
        if (open && step != old && best > 0) {
            sum += have / best;
            changes++;
        }
        open = step > 0;
        old = step;
        length += open;
        double gain = i < j->n ? gain_of(&g, j->rel[i]) : 0.0;
        if (gain != 0) have += gain / discount(i);
        if (open) best += step / discount(i);
    }
    if (j->n > length + 1 && best > 0) {
        sum += have / best;
        changes++;
    }
    *value = j->num_rel && changes > 0 ? sum / changes : 0.0;
}

/* Each gain over log2(2 + cost - gain so far), where a rank costs its ideal gain, 1 at least; over the ideal sum. */
void wr_measure_g(const wr_judged *j, const wr_measure_use *use, double *value)
{
    struct gains g = weigh(j, use);
    struct ideal ideal = ideal_of(&g);
    double sum = 0, have = 0, cost = 0, best = 0, step;
    for (size_t i = 0; i < j->n; i++) {
        double gain = gain_of(&g, j->rel[i]);
        step = ideal_next(&ideal);
        have += gain;
        best += step;
        cost += step > 1.0 ? step : 1.0;
        if (gain != 0) sum += gain / log2(2.0 + cost - have);
    }
    while ((step = ideal_next(&ideal)) > 0) best += step;
    *value = best > 0 ? sum / best : 0.0;
}

void wr_measure_bin_g(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    double sum = 0;
    size_t hits = 0;
    for (size_t i = 0; i < j->n; i++)
        if (j->rel[i] >= 0 && j->rel[i] >= j->min_rel) sum += 1.0 / log2((double)(3 + i - ++hits));
    *value = hits ? sum / (double)j->num_rel : 0.0;
}

/* Moffat and Zobel's rank-biased precision; gains outside 0..1 are scaled into it. */
void wr_measure_rbp(const wr_judged *j, const wr_measure_use *use, double *value)
{
    struct gains g = weigh(j, use);
    double high = g.by_gain[0].gain, low = g.by_gain[g.n - 1].gain, p = use->p;
    bool scale = (low < 0 || high > 1) && high > low;
    double sum = 0, weight = 1;
    for (size_t i = 0; i < j->n; i++) {
        const wr_gain key = {j->rel[i], 0, 0}, *found = bsearch(&key, g.by_rel, g.n, sizeof key, by_rel);
        if (found) sum += (scale ? (found->gain - low) / (high - low) : found->gain) * weight;
        weight *= p;
    }
    *value = (1.0 - p) * sum;
}

/* What rank-biased precision could still gain from documents that were not judged. */
void wr_measure_rbp_resid(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    double sum = 0, weight = 1;
    bool unjudged = false;
    for (size_t i = 0; i < j->n; i++) {
        if (j->rel[i] < 0) {
            sum += weight;
            unjudged = true;
        }
        weight *= WR_PERSISTENCE;
    }
    *value = unjudged ? weight + (1.0 - WR_PERSISTENCE) * sum : 0.0;
}
