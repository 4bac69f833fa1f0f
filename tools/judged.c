#include "tools/judged.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

static wr_status reserve(void **array, size_t *cap, size_t n, size_t size)
{
    if (n <= *cap && *array) return WR_OK;
    void *grown = reallocarray(*array, n ? n : 1, size);
    if (!grown) return WR_ENOMEM;
    *array = grown;
    *cap = n;
    return WR_OK;
}

static int by_rel(const void *a, const void *b)
{
    const wr_gain *x = a, *y = b;
    return (x->rel > y->rel) - (x->rel < y->rel);
}

/* Counts the documents of each grade. Grade 0 is there even when no document has it: measures may give it a gain. */
static void count_grades(wr_judged *judged, const wr_qrels_topic *topic)
{
    wr_gain *grade = judged->grade;
    size_t n = 0, kept = 0;
    grade[n++] = (wr_gain){0, 0, 0};
    for (size_t i = 0; topic && i < topic->n; i++)
        if (topic->qrel[i].rel >= 0) grade[n++] = (wr_gain){topic->qrel[i].rel, 1, (double)topic->qrel[i].rel};
    qsort(grade, n, sizeof *grade, by_rel);
    for (size_t i = 1; i < n; i++) {
        if (grade[i].rel == grade[kept].rel)
            grade[kept].count += grade[i].count;
        else
            grade[++kept] = grade[i];
    }
    judged->ngrades = kept + 1;
}

wr_status wr_judged_reset(wr_judged *judged, const wr_qrels_topic *topic, size_t n)
{
    size_t judgments = topic ? topic->n : 0;
    if (judgments > SIZE_MAX / 4) return WR_ENOMEM;
    if (reserve((void **)&judged->rel, &judged->cap, n, sizeof *judged->rel)) return WR_ENOMEM;
    if (reserve((void **)&judged->grade, &judged->grade_cap, judgments + 1, sizeof *judged->grade)) return WR_ENOMEM;
    count_grades(judged, topic);
    size_t gains = 2 * (judged->ngrades + WR_MAX_GAIN_PAIRS);
    if (reserve((void **)&judged->scratch, &judged->scratch_cap, gains, sizeof *judged->scratch)) return WR_ENOMEM;
    judged->topic = topic;
    judged->n = 0;
    return WR_OK;
}

void wr_judged_add(wr_judged *judged, const char *docno)
{
    long rel;
    if (!wr_qrels_rel(judged->topic, docno, &rel))
        rel = WR_REL_NONPOOL;
    else if (rel < 0)
        rel = WR_REL_UNJUDGED;
    if (rel < 0 && judged->judged_only) return;
    assert(judged->n < judged->cap);
    judged->rel[judged->n++] = rel;
}

wr_judged wr_judged_at(const wr_judged *judged, long min_rel, size_t cut)
{
    wr_judged view = *judged;
    view.min_rel = min_rel;
    view.num_rel = view.num_nonrel = view.num_rel_ret = 0;
    if (cut && cut < view.n) view.n = cut;
    for (size_t i = 0; i < view.ngrades; i++)
        *(view.grade[i].rel >= min_rel ? &view.num_rel : &view.num_nonrel) += view.grade[i].count;
    for (size_t i = 0; i < view.n; i++) view.num_rel_ret += view.rel[i] >= 0 && view.rel[i] >= min_rel;
    return view;
}

void wr_judged_release(wr_judged *judged)
{
    free(judged->rel);
    free(judged->grade);
    free(judged->scratch);
    *judged = (wr_judged){0};
}
