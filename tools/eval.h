/* The two forms of `weir eval`: runs of any system scored from files, and pipelines run over an index. */
#ifndef WR_TOOLS_EVAL_H
#define WR_TOOLS_EVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "data/command.h"
#include "data/status.h"

/* What the command line says, see the options of cmd_eval.c. */
typedef struct wr_eval_args {
    struct wr_option_list run; /* files */
    const char *qrels;
    struct wr_option_list m; /* trec_eval's -m */
    const char *measures;    /* ir_measures' names, or NULL */
    bool per_topic;          /* -q */
    bool complete;           /* -c */
    bool no_summary;         /* -n */
    bool judged_only;        /* -J */
    size_t min_rel;          /* -l */
    size_t max_docs;         /* -M, 0 = all */
    size_t ndocs;            /* -N */
} wr_eval_args;

/* Scores each run and prints trec_eval's lines. */
wr_status wr_eval_runs(const wr_eval_args *args, FILE *out, wr_err *err);

#endif
