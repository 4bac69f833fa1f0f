/* The list: scoring, summing and printing. Its parser is measures_parse.c. */
#include "tools/measures.h"

#include <math.h>
#include <stdlib.h>

#define LINE "%-22s\t%s\t" /* name and topic, as trec_eval lays them out */

static bool whole(const wr_measure_use *use)
{
    return use->cut == 0 && use->measure->params != WR_PARAM_CUTS && use->measure->kind != WR_RELSTRING;
}

size_t wr_measures_depth(const wr_measures *measures)
{
    double depth = 1;
    for (size_t i = 0; i < measures->n; i++) {
        const wr_measure_use *use = &measures->use[i];
        if (use->measure->kind == WR_TOPICS || use->measure->kind == WR_RUNID) continue;
        if (whole(use)) return 0;
        double cut = use->cut ? (double)use->cut : use->param[use->nparams - 1];
        if (cut > depth) depth = cut;
    }
    return (size_t)depth;
}

void wr_measures_score(const wr_measures *measures, const wr_judged *judged, long min_rel, double *value)
{
    for (size_t i = 0; i < measures->n; i++) {
        const wr_measure_use *use = &measures->use[i];
        for (size_t v = 0; v < use->nvalues; v++) value[use->first + v] = 0;
        if (!use->measure->compute) continue;
        wr_judged view = wr_judged_at(judged, use->min_rel ? use->min_rel : min_rel, use->cut);
        use->measure->compute(&view, use, value + use->first);
    }
}

void wr_measures_add(const wr_measures *measures, const double *value, double *sum)
{
    for (size_t v = 0; v < measures->nvalues; v++) sum[v] += value[v];
}

void wr_measures_average(const wr_measures *measures, double *sum, size_t topics)
{
    for (size_t i = 0; i < measures->n; i++) {
        const wr_measure_use *use = &measures->use[i];
        double *value = sum + use->first;
        if (use->measure->kind == WR_TOPICS) *value = (double)topics;
        if (use->measure->kind != WR_MEAN && use->measure->kind != WR_GEOMETRIC) continue;
        for (size_t v = 0; v < use->nvalues; v++) {
            if (topics) value[v] /= (double)topics;
            if (use->measure->kind == WR_GEOMETRIC) value[v] = topics ? exp(value[v]) : 0.0;
        }
    }
}

static void print_values(const wr_measures *measures, const wr_measure_use *use, const double *value, const char *qid,
                         FILE *out)
{
    bool count = use->measure->kind == WR_SUM || use->measure->kind == WR_TOPICS;
    for (size_t v = use->first; v < use->first + use->nvalues; v++) {
        fprintf(out, LINE, measures->name[v], qid);
        if (count)
            fprintf(out, "%ld\n", (long)value[v]);
        else
            fprintf(out, "%6.4f\n", value[v]);
    }
}

static void print_relstring(const wr_judged *judged, const wr_measure_use *use, const char *name, const char *qid,
                            FILE *out)
{
    double len = use->param[0] > 0 ? use->param[0] : 0;
    size_t n = len < (double)judged->n ? (size_t)len : judged->n;
    char *text = malloc(n + 1);
    if (!text) return;
    wr_measure_relstring(judged, n, text);
    fprintf(out, LINE "'%s'\n", name, qid, text);
    free(text);
}

void wr_measures_print_topic(const wr_measures *measures, const wr_judged *judged, const double *value, const char *qid,
                             FILE *out)
{
    for (size_t i = 0; i < measures->n; i++) {
        const wr_measure_use *use = &measures->use[i];
        if (use->measure->kind == WR_RELSTRING)
            print_relstring(judged, use, measures->name[use->first], qid, out);
        else if (use->measure->kind == WR_MEAN || use->measure->kind == WR_SUM)
            print_values(measures, use, value, qid, out);
    }
}

void wr_measures_print_all(const wr_measures *measures, const double *value, const char *runid, FILE *out)
{
    for (size_t i = 0; i < measures->n; i++) {
        const wr_measure_use *use = &measures->use[i];
        if (use->measure->kind == WR_RUNID)
            fprintf(out, LINE "%s\n", measures->name[use->first], "all", runid);
        else if (use->measure->kind != WR_RELSTRING)
            print_values(measures, use, value, "all", out);
    }
}
