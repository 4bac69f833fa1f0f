/* Counts, and measures of the retrieved set that do not look at its order. */
#include "tools/measures.h"

static double ratio(size_t part, size_t whole)
{
    return whole ? (double)part / (double)whole : 0.0;
}

static size_t count_unjudged(const wr_judged *j)
{
    size_t n = 0;
    for (size_t i = 0; i < j->n; i++) n += j->rel[i] < 0;
    return n;
}

void wr_measure_num_ret(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    *value = (double)j->n;
}

void wr_measure_num_rel(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    *value = (double)j->num_rel;
}

void wr_measure_num_rel_ret(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    *value = (double)j->num_rel_ret;
}

void wr_measure_num_nonrel_judged_ret(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    *value = (double)(j->n - j->num_rel_ret - count_unjudged(j));
}

void wr_measure_num_nonjudged_ret(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    *value = (double)count_unjudged(j);
}

void wr_measure_set_p(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    *value = ratio(j->num_rel_ret, j->n);
}

void wr_measure_set_relative_p(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    *value = ratio(j->num_rel_ret, j->n < j->num_rel ? j->n : j->num_rel);
}

void wr_measure_set_recall(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    *value = ratio(j->num_rel_ret, j->num_rel);
}

/* Precision times recall. */
void wr_measure_set_map(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    double hits = (double)j->num_rel_ret, both = (double)j->n * (double)j->num_rel;
    *value = both > 0 ? hits * hits / both : 0.0;
}

/* (x + 1) P R / (x P + R), x from the parameter. */
void wr_measure_set_f(const wr_judged *j, const wr_measure_use *use, double *value)
{
    double precision = ratio(j->num_rel_ret, j->n), recall = ratio(j->num_rel_ret, j->num_rel), x = use->param[0];
    double below = x * precision + recall;
    *value = j->num_rel_ret && below != 0 ? (x + 1.0) * precision * recall / below : 0.0;
}

/* The four cells of the contingency table, each with its worth. */
void wr_measure_utility(const wr_judged *j, const wr_measure_use *use, double *value)
{
    double hits = (double)j->num_rel_ret, retrieved = (double)j->n, relevant = (double)j->num_rel;
    const double *worth = use->param;
    *value = worth[0] * hits + worth[1] * (retrieved - hits) + worth[2] * (relevant - hits) +
             worth[3] * (j->ndocs + hits - retrieved - relevant);
}

/* The share of the retrieved documents that the judgments name, whatever they say. */
void wr_measure_judged(const wr_judged *j, const wr_measure_use *use, double *value)
{
    (void)use;
    size_t named = 0;
    for (size_t i = 0; i < j->n; i++) named += j->rel[i] != WR_REL_NONPOOL;
    *value = ratio(named, j->n);
}
