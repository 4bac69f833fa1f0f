#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/command.h"
#include "models/find.h"
#include "tools/eval.h"

/* Options of trec_eval that ask for what weir does not read or print. */
struct formats {
    const char *judgments, *run, *zscores;
};

static wr_status check(wr_eval_args *args, const struct formats *formats, wr_err *err)
{
    /* An index named in the environment is no wish to use it. */
    if (args->run.n && args->index == getenv("WEIR_INDEX")) args->index = NULL;
    if (!args->run.n == !args->index) return wr_fail(err, WR_EARG, "either --run FILE or --index DIR was expected");
    if (args->index && !args->topics) return wr_fail(err, WR_EARG, "--topics FILE was expected with --index");
    bool ranks_only = args->index && args->run_out && !args->measures && !args->m.n;
    if (!args->qrels && !ranks_only) return wr_fail(err, WR_EARG, "--qrels FILE was expected");
    if (args->run.n && args->json)
        return wr_fail(err, WR_EARG, "--json: goes with --index, a run has trec_eval's format");
    if (args->repeat < 1 || args->repeat > 1000000)
        return wr_fail(err, WR_EARG, "--repeat %zu: expected 1 to 1000000", args->repeat);
    if (args->threads > 1024) return wr_fail(err, WR_EARG, "--threads %zu: at most 1024", args->threads);
    if (args->min_rel > 1000000) return wr_fail(err, WR_EARG, "-l %zu: at most 1000000", args->min_rel);
    if (strcmp(formats->judgments, "qrels"))
        return wr_fail(err, WR_EARG, "-R %s: weir reads qrels only", formats->judgments);
    if (strcmp(formats->run, "trec_results"))
        return wr_fail(err, WR_EARG, "-T %s: weir reads trec_results only", formats->run);
    if (formats->zscores) return wr_fail(err, WR_EARG, "-Z %s: weir prints values, not Z scores", formats->zscores);
    return WR_OK;
}

static int run(int argc, char **argv)
{
    wr_eval_args args = {.min_rel = 1, .repeat = 1};
    struct formats formats = {"qrels", "trec_results", NULL};
    const struct wr_option options[] = {
        {"run", "FILE", "a run: lines \"qid Q0 docno rank score tag\"; may repeat", WR_OPT_LIST, &args.run},
        {"index", "DIR", "an index to run pipelines over, instead of a run", WR_OPT_TEXT, &args.index},
        {"topics", "FILE", "topics: BEIR's queries.jsonl, qid<TAB>text, or TREC", WR_OPT_TEXT, &args.topics},
        {"qrels", "FILE", "judgments: TREC's four columns, or BEIR's three with a header", WR_OPT_TEXT, &args.qrels},
        {"measures", "\"NAMES\"", "ir_measures' names (with --index \"nDCG@10 RR@10 R@100\")", WR_OPT_TEXT,
         &args.measures},
        {"m", "NAME", "trec_eval's name: official, all_trec, set, ndcg_cut.10,20; may repeat", WR_OPT_LIST, &args.m},
        {"q", NULL, "print the values of each topic too", WR_OPT_FLAG, &args.per_topic},
        {"c", NULL, "average over all judged topics, also those without a ranking", WR_OPT_FLAG, &args.complete},
        {"l", "N", "grade from which a document is relevant (1)", WR_OPT_SIZE, &args.min_rel},
        {"M", "N", "look at the first N documents of each topic only", WR_OPT_SIZE, &args.max_docs},
        {"N", "N", "documents in the collection, for utility", WR_OPT_SIZE, &args.ndocs},
        {"n", NULL, "print no averages of a run", WR_OPT_FLAG, &args.no_summary},
        {"J", NULL, "leave unjudged documents out of the rankings", WR_OPT_FLAG, &args.judged_only},
        {"R", "FORMAT", "format of the judgments: qrels", WR_OPT_TEXT, &formats.judgments},
        {"T", "FORMAT", "format of the runs: trec_results", WR_OPT_TEXT, &formats.run},
        {"Z", "FILE", "refused: weir prints no Z scores", WR_OPT_TEXT, &formats.zscores},
        {"pipeline", "P", "a pipeline (default); may repeat", WR_OPT_LIST, &args.pipeline},
        {"budget-ms", "B", "a budget for each query, 0 for none (0); may repeat", WR_OPT_LIST, &args.budget_ms},
        {"exclude", "FILE", "qid<TAB>docno: left out of every list before fusion", WR_OPT_TEXT, &args.exclude},
        {"all-topics", NULL, "run topics without judgments too", WR_OPT_FLAG, &args.all_topics},
        {"run-out", "FILE", "write the ranking as a run (one row only; --qrels is optional)", WR_OPT_TEXT,
         &args.run_out},
        {"k", "N", "hits of a reply (as many as the measures look at)", WR_OPT_SIZE, &args.k},
        {"repeat", "N", "times that each row runs the topics (1)", WR_OPT_SIZE, &args.repeat},
        {"json", NULL, "print JSON instead of the table", WR_OPT_FLAG, &args.json},
        {"dense", "MODEL", "query encoder instead of the one that the index names", WR_OPT_TEXT, &args.dense},
        {"sparse", "MODEL", "learned sparse model instead of the one that the index names", WR_OPT_TEXT, &args.sparse},
        {"cross", "[NAME=]MODEL", "a cross-encoder (" WR_DEFAULT_CROSS " where it is found); may repeat", WR_OPT_LIST, &args.cross},
        {"list", "[NAME=]MODEL", "a decoder for stages \"list\"; may repeat", WR_OPT_LIST, &args.list},
        {"precision", "P", "fp32, bf16 or int8 (as the model is stored)", WR_OPT_TEXT, &args.precision},
        {"threads", "N", "threads that compute (all that the process may use)", WR_OPT_SIZE, &args.threads},
        {"progress", "KIND", "auto, json or none (auto: a line on a terminal)", WR_OPT_TEXT, &args.progress},
        {0}};
    wr_err err = {0};
    wr_status st = wr_options_parse(&wr_cmd_eval, options, argc, argv, NULL, 0, NULL);
    if (st == WR_STOPPED) return 0;
    if (st) return wr_exit_status(st);
    st = check(&args, &formats, &err);
    if (!st) st = args.index ? wr_eval_index(&args, stdout, &err) : wr_eval_runs(&args, stdout, &err);
    return st ? wr_command_fail(&wr_cmd_eval, st, &err) : 0;
}

const struct wr_command wr_cmd_eval = {
    .name = "eval",
    .usage = "weir eval --run FILE --qrels FILE [-q] [-c] [-m MEASURE]... [-l N] [-M N] [--measures \"NAMES\"]\n"
             "weir eval --index DIR --topics FILE --qrels FILE [--pipeline P]... [--budget-ms B]... [--json]",
    .summary = "measures rankings: of run files, as trec_eval does, or of pipelines over an index",
    .run = run,
};
