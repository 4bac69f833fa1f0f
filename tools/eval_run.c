/* Scores run files as trec_eval does: topics that have both a ranking and judgments, in the order of their ids. */
#include "tools/eval.h"

#include <stdlib.h>

#include "data/trec.h"
#include "tools/measures.h"

struct scorer {
    const wr_eval_args *args;
    const wr_measures *measures;
    FILE *out;
    wr_judged judged;
    double *value, *sum; /* [nvalues] */
    size_t topics;
};

/* ranking is NULL for a judged topic that the run does not have. */
static wr_status score_topic(struct scorer *s, const wr_qrels_topic *topic, const wr_run_topic *ranking)
{
    size_t n = ranking ? ranking->n : 0;
    if (s->args->max_docs && n > s->args->max_docs) n = s->args->max_docs;
    if (wr_judged_reset(&s->judged, topic, n)) return WR_ENOMEM;
    for (size_t i = 0; i < n; i++) wr_judged_add(&s->judged, ranking->doc[i].docno);
    wr_measures_score(s->measures, &s->judged, (long)s->args->min_rel, s->value);
    wr_measures_add(s->measures, s->value, s->sum);
    s->topics++;
    if (s->args->per_topic) wr_measures_print_topic(s->measures, &s->judged, s->value, topic->qid, s->out);
    return WR_OK;
}

static wr_status score_run(const wr_eval_args *args, const wr_measures *measures, const wr_qrels *qrels,
                           const char *path, FILE *out, wr_err *err)
{
    struct scorer s = {.args = args, .measures = measures, .out = out};
    wr_run run;
    wr_status st = wr_run_read(&run, path, err);
    if (st) return st;
    s.judged.judged_only = args->judged_only;
    s.judged.ndocs = (double)args->ndocs;
    s.value = calloc(measures->nvalues, sizeof *s.value);
    s.sum = calloc(measures->nvalues, sizeof *s.sum);
    st = s.value && s.sum ? WR_OK : WR_ENOMEM;
    for (size_t i = 0; i < qrels->n && !st; i++) {
        const wr_run_topic *ranking = wr_run_find(&run, qrels->topic[i].qid);
        if (ranking || args->complete) st = score_topic(&s, &qrels->topic[i], ranking);
    }
    if (st) wr_fail(err, st, "%s: out of memory", path);
    if (!st && s.topics == 0) st = wr_fail(err, WR_EFORMAT, "%s: no topic has judgments in %s", path, args->qrels);
    if (!st) wr_measures_average(measures, s.sum, s.topics);
    if (!st && !args->no_summary) wr_measures_print_all(measures, s.sum, run.tag, out);
    free(s.value);
    free(s.sum);
    wr_judged_release(&s.judged);
    wr_run_release(&run);
    return st;
}

wr_status wr_eval_runs(const wr_eval_args *args, FILE *out, wr_err *err)
{
    static const char *const official[] = {"official"};
    bool otherwise = args->m.n || args->measures;
    wr_measures measures;
    wr_qrels qrels = {0};
    wr_status st = wr_measures_parse(&measures, otherwise ? args->m.item : official, otherwise ? args->m.n : 1,
                                     args->measures, err);
    if (!st) st = wr_qrels_read(&qrels, args->qrels, err);
    for (size_t i = 0; i < args->run.n && !st; i++)
        st = score_run(args, &measures, &qrels, args->run.item[i], out, err);
    wr_qrels_release(&qrels);
    wr_measures_release(&measures);
    return st;
}
