/* Scores run files as trec_eval does: topics that have both a ranking and judgments, in the order of their ids. */
#include "data/trec.h"
#include "tools/eval.h"

static const char *docno_of(const void *ranking, size_t i)
{
    return ((const wr_run_topic *)ranking)->doc[i].docno;
}

static wr_status score_run(const wr_eval_args *args, const wr_measures *measures, const wr_qrels *qrels,
                           const char *path, FILE *out, wr_err *err)
{
    wr_scorer s = {0};
    wr_run run;
    wr_status st = wr_run_read(&run, path, err);
    if (!st) st = wr_scorer_open(&s, args, measures, err);
    for (size_t i = 0; i < qrels->n && !st; i++) {
        const wr_qrels_topic *topic = &qrels->topic[i];
        const wr_run_topic *ranking = wr_run_find(&run, topic->qid);
        if (!ranking && !args->complete) continue;
        st = wr_scorer_add(&s, topic, ranking ? ranking->n : 0, docno_of, ranking);
        if (st)
            wr_fail(err, st, "%s: topic %s: out of memory", path, topic->qid);
        else if (args->per_topic)
            wr_measures_print_topic(measures, &s.judged, s.value, topic->qid, out);
    }
    if (!st && s.topics == 0) st = wr_fail(err, WR_EFORMAT, "%s: no topic has judgments in %s", path, args->qrels);
    if (!st) wr_measures_average(measures, s.sum, s.topics);
    if (!st && !args->no_summary) wr_measures_print_all(measures, s.sum, run.tag, out);
    wr_scorer_close(&s);
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
