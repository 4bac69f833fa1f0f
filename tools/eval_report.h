/* The rows of `weir eval --index` as a table for people, or as JSON for programs (the same numbers). */
#ifndef WR_TOOLS_EVAL_REPORT_H
#define WR_TOOLS_EVAL_REPORT_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#include "indexer/index.h"
#include "ranker/rank.h"
#include "tools/latency.h"
#include "tools/measures.h"

/* One pipeline under one budget. */
typedef struct wr_eval_row {
    const char *pipeline;           /* as it was given                                     */
    char resolved[WR_MAX_PIPELINE]; /* as it ran: aliases and defaults spelled out         */
    double budget_ms;               /* 0 = no deadline                                     */
    double *value;                  /* [nvalues] of the measures                           */
    wr_latency latency;             /* over all queries                                    */
    struct {
        char name[16];
        double ms;              /* mean over all queries */
    } stage[WR_MAX_STAGES + 1]; /* "encode" (the query, for dense vectors), then what replies call stages */
    size_t nstages;
    size_t queries;  /* that were run: topics times repeats              */
    size_t degraded; /* whose reply says that something was left undone  */
    json_t *topics;  /* {"qid": {"measure": value}}, or NULL             */
} wr_eval_row;

typedef struct wr_eval_report {
    const wr_index_info *index;
    const wr_measures *measures;
    size_t topics, judged; /* that were run, and those of them with judgments */
    wr_eval_row *row;      /* [n] */
    size_t n;
} wr_eval_report;

void wr_eval_print_table(const wr_eval_report *report, FILE *out);

/* contracts: {"index":{..},"topics":N,"rows":[{"pipeline","budget_ms","measures","latency_ms","stages","degraded"}]};
 * budget_ms is null without a deadline, latencies are rounded to a microsecond. A row has "topics" too when it keeps
 * the values of each topic. WR_ENOMEM or WR_EIO. */
wr_status wr_eval_print_json(const wr_eval_report *report, FILE *out, wr_err *err);

/* {"nDCG@10": 0.35, ...}: what a table has a column for. NULL when memory is short. */
json_t *wr_eval_measures_json(const wr_measures *measures, const double *value);

#endif
