/* The two forms of `weir eval`: runs of any system scored from files, and pipelines run over an index. */
#ifndef WR_TOOLS_EVAL_H
#define WR_TOOLS_EVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "data/command.h"
#include "data/status.h"
#include "tools/measures.h"

/* What the command line says, see the options of cmd_eval.c. */
typedef struct wr_eval_args {
    const char *qrels;
    struct wr_option_list m; /* trec_eval's -m                              */
    const char *measures;    /* ir_measures' names, or NULL                 */
    bool per_topic;          /* -q                                          */
    bool complete;           /* -c                                          */
    bool judged_only;        /* -J                                          */
    size_t min_rel;          /* -l                                          */
    size_t max_docs;         /* -M, 0 = all                                 */
    size_t ndocs;            /* -N; an index knows it                       */

    struct wr_option_list run; /* files */
    bool no_summary;           /* -n    */

    const char *index, *topics, *exclude, *run_out, *progress; /* each may be NULL */
    struct wr_option_list pipeline, budget_ms;                 /* none: "default", no deadline */
    const char *dense, *sparse, *precision;
    struct wr_option_list cross, list;
    size_t threads; /* 0 = all that the process may use              */
    size_t k;       /* 0 = as deep as the measures and --run-out look */
    size_t repeat;  /* times that each row runs the topics, from 1   */
    bool all_topics, json;
} wr_eval_args;

/* Scores each run and prints trec_eval's lines. */
wr_status wr_eval_runs(const wr_eval_args *args, FILE *out, wr_err *err);

/* Runs each pipeline with each budget through wr_rank(), one topic at a time, and prints one row for each as a table or
 * as JSON. A query outside the measurement warms each row up; nothing is cached between queries. What a query took is
 * what a reply calls took_ms. */
wr_status wr_eval_index(const wr_eval_args *args, FILE *out, wr_err *err);

/* Laying a topic's ranking over its judgments and adding it up, the same for both forms. */
typedef struct wr_scorer {
    const wr_eval_args *args;
    const wr_measures *measures;
    wr_judged judged;
    double *value; /* [nvalues] of the last topic        */
    double *sum;   /* [nvalues] of all topics since open */
    size_t topics;
} wr_scorer;

wr_status wr_scorer_open(wr_scorer *scorer, const wr_eval_args *args, const wr_measures *measures, wr_err *err);
void wr_scorer_close(wr_scorer *scorer); /* a zeroed one may be closed too */

/* n is what docno(i, arg) may be asked for, best first; 0 for a topic that was not ranked. Fills value, adds to sum. */
wr_status wr_scorer_add(wr_scorer *scorer, const wr_qrels_topic *topic, size_t n,
                        const char *(*docno)(const void *arg, size_t i), const void *arg);

#endif
