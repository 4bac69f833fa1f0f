/* weir search: one query, readable on a terminal or as the REST reply. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/command.h"
#include "models/find.h"
#include "ranker/rank.h"
#include "server/reply.h"
#include "tools/explained.h"

/* Characters of a hit's text on a terminal: two lines. */
#define EXCERPT 160

typedef struct search_args {
    const char *index, *pipeline, *dense, *sparse, *precision;
    struct wr_option_list cross, list;
    size_t k, offset, threads;
    double budget_ms;
    bool json, explain;
} search_args;

/* An excerpt that ends at a character and holds no line break. */
static void print_excerpt(const char *text, size_t n)
{
    size_t end = n < EXCERPT ? n : EXCERPT;
    while (end > 0 && end < n && ((unsigned char)text[end] & 0xc0) == 0x80) end--;
    fputs("    ", stdout);
    for (size_t i = 0; i < end; i++) putchar((unsigned char)text[i] < ' ' ? ' ' : text[i]);
    puts(end < n ? "..." : "");
}

static void print_text(const search_args *args, const wr_response *reply)
{
    for (size_t i = 0; i < reply->n; i++) {
        const wr_hit *hit = &reply->hit[i];
        printf("%zu. %s  [%.4g %s]  %s\n", args->offset + i + 1, hit->doc.docno, (double)hit->score,
               reply->stage[hit->stage].name, hit->doc.title_len ? hit->doc.title : "");
        print_excerpt(hit->doc.text, hit->doc.text_len);
        if (args->explain) wr_explained_print(hit, reply);
    }
    printf("%zu hits in %.1f ms, %s:", reply->n, reply->took_ms, reply->pipeline);
    for (size_t i = 0; i < reply->nstages; i++)
        printf("%s %s %.1f ms", i ? "," : "", reply->stage[i].name, reply->stage[i].ms);
    putchar('\n');
    for (size_t i = 0; i < reply->ndegraded; i++) {
        const wr_degraded *d = &reply->degraded[i];
        bool cut = d->reason == WR_REASON_TRUNCATED_INPUT; /* of a query's tokens, of a list's passages */
        printf(cut ? "cut short: %s, %llu of %llu whole (%s)\n" : "left out: %s did %llu of %llu (%s)\n", d->stage,
               (unsigned long long)d->done, (unsigned long long)d->planned, wr_reason_name(d->reason));
    }
}

static wr_status print_json(const search_args *args, wr_ranker *ranker, const wr_response *reply, wr_err *err)
{
    const wr_index_info *info = wr_index_info_get(wr_ranker_index(ranker));
    wr_reply_about about = {.index = info->name, .generation = info->generation, .budget_ms = args->budget_ms,
                            .offset = args->offset, .return_text = true, .explain = args->explain};
    wr_out out = {0};
    wr_reply_search(&out, reply, &about);
    wr_status st = out.failed ? wr_fail(err, WR_ENOMEM, "reply: out of memory") : WR_OK;
    if (!st) printf("%.*s\n", (int)out.n, out.bytes);
    wr_out_release(&out);
    return st;
}

static wr_status ask(const search_args *args, const char *query, wr_ranker *ranker, wr_err *err)
{
    wr_scratch *scratch;
    wr_response reply;
    wr_request request = {.query = query, .query_len = strlen(query), .k = args->k, .offset = args->offset,
                          .budget_ms = args->budget_ms, .pipeline = args->pipeline, .return_text = true,
                          .explain = args->explain};
    wr_status st = wr_scratch_open(&scratch, ranker, err);
    if (st) return st;
    st = wr_rank(ranker, &request, scratch, &reply, err);
    if (!st && args->json) st = print_json(args, ranker, &reply, err);
    else if (!st) print_text(args, &reply);
    wr_scratch_close(scratch);
    return st;
}

/* A model takes longer to open than a query to answer: the default one is opened where the pipeline may ask for it. */
static bool may_rerank(const char *pipeline)
{
    return !pipeline || strstr(pipeline, "default") || strstr(pipeline, "full") || strstr(pipeline, "cross");
}

static wr_status search(const search_args *args, const char *query, wr_err *err)
{
    wr_loaded_options options = {.dense = args->dense, .sparse = args->sparse, .cross = args->cross.item, .ncross = args->cross.n,
                                 .default_cross = may_rerank(args->pipeline), .list = args->list.item, .nlist = args->list.n,
                                 .precision = args->precision};
    wr_pool *pool = NULL;
    wr_loaded *loaded = NULL;
    wr_ranker *ranker = NULL;
    wr_status st = args->index ? WR_OK : wr_fail(err, WR_EARG, "--index DIR is needed");
    if (!st) st = wr_pool_open(&pool, (unsigned)args->threads, wr_ranker_thread_start, err);
    if (!st) st = wr_loaded_open(&loaded, &options, err);
    if (!st) st = wr_ranker_open(&ranker, args->index, loaded, pool, err);
    if (!st) st = ask(args, query, ranker, err);
    wr_ranker_close(ranker);
    wr_loaded_close(loaded);
    wr_pool_close(pool);
    return st;
}

static int run(int argc, char **argv)
{
    search_args args = {.k = 10};
    const char *query;
    size_t n = 0;
    const struct wr_option options[] = {
        {"index", "DIR", "the index", WR_OPT_TEXT, &args.index},
        {"pipeline", "P", "retrievers, fusion and rerank stages in one line (default)", WR_OPT_TEXT, &args.pipeline},
        {"k", "N", "hits (10)", WR_OPT_SIZE, &args.k},
        {"offset", "N", "hits to skip first (0)", WR_OPT_SIZE, &args.offset},
        {"budget-ms", "B", "milliseconds until the answer (no deadline)", WR_OPT_DOUBLE, &args.budget_ms},
        {"json", NULL, "the reply of POST /v1/search", WR_OPT_FLAG, &args.json},
        {"explain", NULL, "how each hit came by its score: terms, fusion, reranking, ranks", WR_OPT_FLAG, &args.explain},
        {"cross", "[NAME=]MODEL", "loads a cross-encoder (" WR_DEFAULT_CROSS " where it is found); may repeat", WR_OPT_LIST, &args.cross},
        {"list", "[NAME=]MODEL", "loads a decoder for stages \"list\"; may repeat", WR_OPT_LIST, &args.list},
        {"dense", "MODEL", "the query encoder (the one that the index names)", WR_OPT_TEXT, &args.dense},
        {"sparse", "MODEL", "the learned sparse model (the one that the index names)", WR_OPT_TEXT, &args.sparse},
        {"precision", "P", "arithmetic: fp32, bf16 or int8 (as the model is stored)", WR_OPT_TEXT, &args.precision},
        {"threads", "N", "workers (all that the process may use)", WR_OPT_SIZE, &args.threads},
        {0}};
    wr_err err;
    wr_status st = wr_options_parse(&wr_cmd_search, options, argc, argv, &query, 1, &n);
    if (st) return wr_exit_status(st > 0 ? WR_OK : st);
    st = n == 1 ? search(&args, query, &err) : wr_fail(&err, WR_EARG, "one query was expected, in quotes");
    return st ? wr_command_fail(&wr_cmd_search, st, &err) : 0;
}

const struct wr_command wr_cmd_search = {"search", "weir search --index DIR [options] \"QUERY\"",
                                         "answers one query on the terminal", run};
