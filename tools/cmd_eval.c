#include <stdio.h>
#include <string.h>

#include "tools/command.h"
#include "tools/eval.h"

static wr_status check(const wr_eval_args *args, const char *rel_format, const char *run_format, const char *zscores,
                       wr_err *err)
{
    if (!args->run.n) return wr_fail(err, WR_EARG, "--run FILE was expected");
    if (!args->qrels) return wr_fail(err, WR_EARG, "--qrels FILE was expected");
    if (strcmp(rel_format, "qrels")) return wr_fail(err, WR_EARG, "-R %s: weir reads qrels only", rel_format);
    if (strcmp(run_format, "trec_results"))
        return wr_fail(err, WR_EARG, "-T %s: weir reads trec_results only", run_format);
    if (zscores) return wr_fail(err, WR_EARG, "-Z %s: weir prints values, not Z scores", zscores);
    return WR_OK;
}

static int run(int argc, char **argv)
{
    wr_eval_args args = {.min_rel = 1};
    const char *rel_format = "qrels", *run_format = "trec_results", *zscores = NULL;
    const struct wr_option options[] = {
        {"run", "FILE", "a run: lines \"qid Q0 docno rank score tag\"; may repeat", WR_OPT_LIST, &args.run},
        {"qrels", "FILE", "judgments: TREC's four columns, or BEIR's three with a header", WR_OPT_TEXT, &args.qrels},
        {"measures", "\"NAMES\"", "ir_measures' names: \"nDCG@10 RR@10 R(rel=2)@100\"", WR_OPT_TEXT, &args.measures},
        {"m", "NAME", "trec_eval's name: official, all_trec, set, ndcg_cut.10,20; may repeat", WR_OPT_LIST, &args.m},
        {"q", NULL, "print the values of each topic too", WR_OPT_FLAG, &args.per_topic},
        {"c", NULL, "average over all judged topics, also those that the run lacks", WR_OPT_FLAG, &args.complete},
        {"l", "N", "grade from which a document is relevant (1)", WR_OPT_SIZE, &args.min_rel},
        {"M", "N", "look at the first N documents of each topic only", WR_OPT_SIZE, &args.max_docs},
        {"N", "N", "documents in the collection, for utility", WR_OPT_SIZE, &args.ndocs},
        {"n", NULL, "print no averages", WR_OPT_FLAG, &args.no_summary},
        {"J", NULL, "leave unjudged documents out of the rankings", WR_OPT_FLAG, &args.judged_only},
        {"R", "FORMAT", "format of the judgments: qrels", WR_OPT_TEXT, &rel_format},
        {"T", "FORMAT", "format of the runs: trec_results", WR_OPT_TEXT, &run_format},
        {"Z", "FILE", "refused: weir prints no Z scores", WR_OPT_TEXT, &zscores},
        {0}};
    wr_err err = {0};
    wr_status st = wr_options_parse(&wr_cmd_eval, options, argc, argv, NULL, 0, NULL);
    if (st == WR_STOPPED) return 0;
    if (st) return wr_exit_status(st);
    st = check(&args, rel_format, run_format, zscores, &err);
    if (!st) st = wr_eval_runs(&args, stdout, &err);
    if (!st && fflush(stdout)) st = wr_fail(&err, WR_EIO, "standard output: cannot be written");
    return st ? wr_command_fail(&wr_cmd_eval, st, &err) : 0;
}

const struct wr_command wr_cmd_eval = {
    .name = "eval",
    .usage = "weir eval --run FILE --qrels FILE [-q] [-c] [-m MEASURE]... [-l N] [-M N] [--measures \"NAMES\"]",
    .summary = "scores rankings: runs from files, with trec_eval's flags and format",
    .run = run,
};
