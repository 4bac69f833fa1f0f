#include <stdlib.h>

#include "tools/eval.h"

wr_status wr_scorer_open(wr_scorer *s, const wr_eval_args *args, const wr_measures *measures, wr_err *err)
{
    size_t n = measures->nvalues ? measures->nvalues : 1;
    *s = (wr_scorer){.args = args, .measures = measures};
    s->judged.judged_only = args->judged_only;
    s->judged.ndocs = (double)args->ndocs;
    s->value = calloc(n, sizeof *s->value);
    s->sum = calloc(n, sizeof *s->sum);
    if (s->value && s->sum) return WR_OK;
    wr_scorer_close(s);
    return wr_fail(err, WR_ENOMEM, "out of memory for the values of %zu measures", n);
}

void wr_scorer_close(wr_scorer *s)
{
    free(s->value);
    free(s->sum);
    wr_judged_release(&s->judged);
    *s = (wr_scorer){0};
}

wr_status wr_scorer_add(wr_scorer *s, const wr_qrels_topic *topic, size_t n,
                        const char *(*docno)(const void *arg, size_t i), const void *arg)
{
    if (s->args->max_docs && n > s->args->max_docs) n = s->args->max_docs;
    if (wr_judged_reset(&s->judged, topic, n)) return WR_ENOMEM;
    for (size_t i = 0; i < n; i++) wr_judged_add(&s->judged, docno(arg, i));
    wr_measures_score(s->measures, &s->judged, (long)s->args->min_rel, s->value);
    wr_measures_add(s->measures, s->value, s->sum);
    s->topics++;
    return WR_OK;
}
