/* Pipelines run over an index, one topic at a time, exactly as a server would. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ranker/rank.h"
#include "tools/eval.h"
#include "tools/eval_report.h"

/* What stays open while the rows run. */
struct bench {
    const wr_eval_args *args;
    FILE *out;
    wr_pool *pool;
    wr_loaded *loaded;
    wr_ranker *ranker;
    wr_scratch *scratch;
    wr_measures measures;
    wr_topics topics;
    wr_qrels qrels, exclude;
    const wr_topic **topic; /* [ntopics] those that are run, in the file's order */
    size_t ntopics, judged;
    const char **docno; /* [longest exclusion] of the topic that is run */
    size_t k;
    FILE *run_out;
    enum { SILENT, LINE, JSON_LINES } progress;
};

/* One row while it runs. */
struct row_run {
    wr_eval_row *row;
    size_t index, rows;
    wr_scorer scorer;
    double *ms; /* [queries] */
    size_t queries;
};

/* ---- one query */

static size_t excluded(struct bench *b, const char *qid)
{
    const wr_qrels_topic *list = wr_qrels_find(&b->exclude, qid);
    for (size_t i = 0; list && i < list->n; i++) b->docno[i] = list->qrel[i].docno;
    return list ? list->n : 0;
}

static wr_status ask(struct bench *b, const wr_eval_row *row, const wr_topic *topic, double budget_ms,
                     wr_response *reply, wr_err *err)
{
    wr_request request = {.query = topic->text,
                          .query_len = topic->text_len,
                          .k = b->k,
                          .budget_ms = budget_ms,
                          .pipeline = row->pipeline,
                          .dense = topic->dense,
                          .ndense = topic->ndense,
                          .sparse_token = topic->sparse_token,
                          .sparse_weight = topic->sparse_weight,
                          .nsparse = topic->nsparse,
                          .exclude = b->docno,
                          .nexclude = excluded(b, topic->qid)};
    wr_status st = wr_rank(b->ranker, &request, b->scratch, reply, err);
    return st ? wr_fail_prefix(err, "%s: topic %s", row->pipeline, topic->qid) : WR_OK;
}

static bool has_space(const char *text)
{
    while (*text && !isspace((unsigned char)*text)) text++;
    return *text != 0;
}

static wr_status write_run(struct bench *b, const char *qid, const wr_response *reply, wr_err *err)
{
    for (size_t i = 0; i < reply->n; i++) {
        const wr_hit *hit = &reply->hit[i];
        if (has_space(qid) || has_space(hit->doc.docno))
            return wr_fail(err, WR_EFORMAT, "topic %s, document %s: a run's ids cannot hold white space", qid,
                           hit->doc.docno);
        fprintf(b->run_out, "%s Q0 %s %zu %.9g weir\n", qid, hit->doc.docno, i + 1, (double)hit->score);
    }
    return ferror(b->run_out) ? wr_fail(err, WR_EIO, "%s: %s", b->args->run_out, strerror(errno)) : WR_OK;
}

static const char *docno_of(const void *reply, size_t i)
{
    return ((const wr_response *)reply)->hit[i].doc.docno;
}

static void add_stage(wr_eval_row *row, const char *name, double ms)
{
    size_t s = 0;
    while (s < row->nstages && strcmp(row->stage[s].name, name)) s++;
    if (s > WR_MAX_STAGES) return;
    if (s == row->nstages) snprintf(row->stage[row->nstages++].name, sizeof row->stage[s].name, "%s", name);
    row->stage[s].ms += ms;
}

/* Times and stages of a reply join those of the row; times of stages are summed until the row ends. Encoding the query
 * is no stage of a reply, but often most of its time. */
static void account(struct row_run *r, const wr_response *reply)
{
    r->ms[r->queries++] = reply->took_ms;
    r->row->degraded += reply->ndegraded > 0;
    if (reply->encode_ms > 0) add_stage(r->row, "encode", reply->encode_ms);
    for (size_t i = 0; i < reply->nstages; i++) add_stage(r->row, reply->stage[i].name, reply->stage[i].ms);
}

/* ---- one row */

static void show_progress(const struct bench *b, const struct row_run *r)
{
    size_t all = b->ntopics * b->args->repeat;
    if (b->progress == LINE)
        fprintf(stderr, "\r\033[Krow %zu of %zu, query %zu of %zu", r->index + 1, r->rows, r->queries, all);
    else if (b->progress == JSON_LINES)
        fprintf(stderr, "{\"row\": %zu, \"rows\": %zu, \"done\": %zu, \"total\": %zu}\n", r->index + 1, r->rows,
                r->queries, all);
}

static wr_status keep_topic(struct bench *b, struct row_run *r, const char *qid, wr_err *err)
{
    if (!b->args->json) {
        wr_measures_print_topic(&b->measures, &r->scorer.judged, r->scorer.value, qid, b->out);
        return WR_OK;
    }
    if (!r->row->topics) r->row->topics = json_object();
    if (json_object_set_new(r->row->topics, qid, wr_eval_measures_json(&b->measures, r->scorer.value)))
        return wr_fail(err, WR_ENOMEM, "topic %s: out of memory, or its id is not UTF-8", qid);
    return WR_OK;
}

static wr_status score_topic(struct bench *b, struct row_run *r, const char *qid, const wr_response *reply, bool first,
                             wr_err *err)
{
    const wr_qrels_topic *judgments = wr_qrels_find(&b->qrels, qid);
    if (!judgments) return WR_OK;
    if (wr_scorer_add(&r->scorer, judgments, reply->n, docno_of, reply))
        return wr_fail(err, WR_ENOMEM, "topic %s: out of memory", qid);
    return first && b->args->per_topic ? keep_topic(b, r, qid, err) : WR_OK;
}

static wr_status run_topics(struct bench *b, struct row_run *r, bool first, wr_err *err)
{
    for (size_t i = 0; i < b->ntopics; i++) {
        const wr_topic *topic = b->topic[i];
        wr_response reply;
        wr_status st = ask(b, r->row, topic, r->row->budget_ms, &reply, err);
        if (st) return st;
        account(r, &reply);
        if (first && b->run_out && (st = write_run(b, topic->qid, &reply, err))) return st;
        if ((st = score_topic(b, r, topic->qid, &reply, first, err))) return st;
        show_progress(b, r);
    }
    return WR_OK;
}

static bool is_topic(const struct bench *b, const char *qid)
{
    for (size_t i = 0; i < b->topics.n; i++)
        if (!strcmp(b->topics.topic[i].qid, qid)) return true;
    return false;
}

/* -c: a judged topic that the topics file lacks counts as a ranking without documents. */
static wr_status add_missing(struct bench *b, struct row_run *r, bool first, wr_err *err)
{
    const wr_response nothing = {0};
    for (size_t i = 0; i < b->qrels.n && b->args->complete; i++) {
        const char *qid = b->qrels.topic[i].qid;
        wr_status st = is_topic(b, qid) ? WR_OK : score_topic(b, r, qid, &nothing, first, err);
        if (st) return st;
    }
    return WR_OK;
}

/* Sums of so many passes become the values of one. */
static void finish_row(const struct bench *b, struct row_run *r)
{
    wr_eval_row *row = r->row;
    double passes = (double)b->args->repeat;
    for (size_t v = 0; v < b->measures.nvalues; v++) row->value[v] = r->scorer.sum[v] / passes;
    wr_measures_average(&b->measures, row->value, r->scorer.topics / b->args->repeat);
    for (size_t s = 0; s < row->nstages; s++) row->stage[s].ms /= (double)r->queries;
    row->queries = r->queries;
    row->latency = wr_latency_of(r->ms, r->queries);
}

static wr_status run_row(struct bench *b, wr_eval_row *row, size_t index, size_t rows, wr_err *err)
{
    struct row_run r = {.row = row, .index = index, .rows = rows};
    wr_response reply;
    wr_status st = wr_scorer_open(&r.scorer, b->args, &b->measures, err);
    r.ms = calloc(b->ntopics * b->args->repeat, sizeof *r.ms);
    row->value = calloc(b->measures.nvalues ? b->measures.nvalues : 1, sizeof *row->value);
    if (!st && (!r.ms || !row->value)) st = wr_fail(err, WR_ENOMEM, "out of memory for the times of a row");
    if (!st)
        st = ask(b, row, b->topic[0], 0, &reply, err); /* touches pages and packs weights, outside the measurement */
    if (!st && b->args->per_topic && !b->args->json)
        fprintf(b->out, "# %s, budget %g ms\n", row->pipeline, row->budget_ms);
    for (size_t pass = 0; pass < b->args->repeat && !st; pass++) {
        st = run_topics(b, &r, pass == 0, err);
        if (!st) st = add_missing(b, &r, pass == 0, err);
    }
    if (!st) finish_row(b, &r);
    if (b->progress == LINE) fprintf(stderr, "\r\033[K");
    free(r.ms);
    wr_scorer_close(&r.scorer);
    return st;
}

/* ---- all rows */

static wr_status parse_budget(const char *text, double *ms, wr_err *err)
{
    char *end;
    *ms = strtod(text, &end);
    if (end == text || *end || isspace((unsigned char)*text) || !isfinite(*ms) || *ms < 0)
        return wr_fail(err, WR_EARG, "--budget-ms %s: expected milliseconds, 0 for no deadline", text);
    return WR_OK;
}

/* Rows are pipelines by budgets. An empty query checks a pipeline's text before the first long row begins. */
static wr_status plan_rows(struct bench *b, wr_eval_report *report, wr_err *err)
{
    const struct wr_option_list *pipeline = &b->args->pipeline, *budget = &b->args->budget_ms;
    size_t pipelines = pipeline->n ? pipeline->n : 1, budgets = budget->n ? budget->n : 1;
    report->n = pipelines * budgets;
    report->row = calloc(report->n, sizeof *report->row);
    if (!report->row) return wr_fail(err, WR_ENOMEM, "out of memory for %zu rows", report->n);
    for (size_t i = 0; i < report->n; i++) {
        wr_eval_row *row = &report->row[i];
        wr_response reply;
        row->pipeline = pipeline->n ? pipeline->item[i / budgets] : "default";
        const wr_request nothing = {.query = "", .k = 1, .pipeline = row->pipeline};
        wr_status st = budget->n ? parse_budget(budget->item[i % budgets], &row->budget_ms, err) : WR_OK;
        if (st) return st;
        st = wr_rank(b->ranker, &nothing, b->scratch, &reply, err);
        if (st) return wr_fail_prefix(err, "--pipeline %s", row->pipeline);
        snprintf(row->resolved, sizeof row->resolved, "%s", reply.pipeline);
    }
    if (b->args->run_out && report->n > 1)
        return wr_fail(err, WR_EARG, "--run-out %s: one pipeline and one budget were expected, not %zu rows",
                       b->args->run_out, report->n);
    return WR_OK;
}

static wr_status run_rows(struct bench *b, wr_eval_report *report, wr_err *err)
{
    wr_status st = plan_rows(b, report, err);
    if (!st && b->args->run_out && !(b->run_out = fopen(b->args->run_out, "w")))
        st = wr_fail(err, WR_EIO, "%s: %s", b->args->run_out, strerror(errno));
    for (size_t i = 0; i < report->n && !st; i++) st = run_row(b, &report->row[i], i, report->n, err);
    if (b->run_out && fclose(b->run_out) && !st) st = wr_fail(err, WR_EIO, "%s: %s", b->args->run_out, strerror(errno));
    return st;
}

/* ---- opening */

static wr_status read_files(struct bench *b, wr_err *err)
{
    const wr_eval_args *args = b->args;
    wr_status st = wr_topics_read(&b->topics, args->topics, err);
    if (!st && args->qrels) st = wr_qrels_read(&b->qrels, args->qrels, err);
    if (!st && args->exclude) st = wr_exclude_read(&b->exclude, args->exclude, err);
    return st;
}

/* Topics without judgments are run when they are asked for, or when there is nothing to judge by. */
static wr_status choose_topics(struct bench *b, wr_err *err)
{
    size_t longest = 1;
    b->topic = calloc(b->topics.n ? b->topics.n : 1, sizeof *b->topic);
    for (size_t i = 0; i < b->exclude.n; i++)
        if (b->exclude.topic[i].n > longest) longest = b->exclude.topic[i].n;
    b->docno = calloc(longest, sizeof *b->docno);
    if (!b->topic || !b->docno) return wr_fail(err, WR_ENOMEM, "out of memory for %zu topics", b->topics.n);
    for (size_t i = 0; i < b->topics.n; i++) {
        bool judged = wr_qrels_find(&b->qrels, b->topics.topic[i].qid) != NULL;
        if (!judged && b->args->qrels && !b->args->all_topics) continue;
        b->topic[b->ntopics++] = &b->topics.topic[i];
        b->judged += judged;
    }
    if (b->ntopics && (b->judged || !b->args->qrels)) return WR_OK;
    return wr_fail(err, WR_EFORMAT, "%s: no topic%s%s", b->args->topics, b->args->qrels ? " has judgments in " : "",
                   b->args->qrels ? b->args->qrels : "");
}

/* How many hits a reply has: what the measures look at. A pipeline's own depth bounds it, and hits that nobody looks at
 * would only lengthen the times; a run file holds all there are. */
static wr_status choose_depth(struct bench *b, wr_err *err)
{
    const wr_eval_args *args = b->args;
    size_t depth = args->qrels ? wr_measures_depth(&b->measures) : 1;
    if (args->k > WR_MAX_K) return wr_fail(err, WR_EARG, "--k %zu: at most %d", args->k, WR_MAX_K);
    b->k = args->run_out || depth == 0 || depth > WR_MAX_K ? WR_MAX_K : depth;
    if (args->k) b->k = args->k;
    return WR_OK;
}

static wr_status open_ranker(struct bench *b, wr_err *err)
{
    const wr_eval_args *args = b->args;
    const wr_loaded_options models = {
        .dense = args->dense, .sparse = args->sparse, .cross = args->cross.item, .ncross = args->cross.n,
        .default_cross = true, .list = args->list.item, .nlist = args->list.n, .precision = args->precision};
    wr_status st = wr_pool_open(&b->pool, (unsigned)args->threads, wr_ranker_thread_start, err);
    wr_ranker_thread_start(); /* this thread runs the lexical search itself */
    if (!st) st = wr_loaded_open(&b->loaded, &models, err);
    if (!st) st = wr_ranker_open(&b->ranker, args->index, b->loaded, b->pool, err);
    if (!st) st = wr_scratch_open(&b->scratch, b->ranker, err);
    return st;
}

static wr_status choose_progress(struct bench *b, wr_err *err)
{
    const char *kind = b->args->progress ? b->args->progress : "auto";
    if (!strcmp(kind, "json"))
        b->progress = JSON_LINES;
    else if (!strcmp(kind, "auto"))
        b->progress = isatty(STDERR_FILENO) ? LINE : SILENT;
    else if (strcmp(kind, "none"))
        return wr_fail(err, WR_EARG, "--progress %s: expected auto, json or none", kind);
    return WR_OK;
}

static void release(struct bench *b, wr_eval_report *report)
{
    for (size_t i = 0; i < report->n && report->row; i++) {
        free(report->row[i].value);
        json_decref(report->row[i].topics);
    }
    free(report->row);
    wr_scratch_close(b->scratch);
    wr_ranker_close(b->ranker);
    wr_loaded_close(b->loaded);
    wr_pool_close(b->pool);
    free(b->topic);
    free(b->docno);
    wr_topics_release(&b->topics);
    wr_qrels_release(&b->qrels);
    wr_qrels_release(&b->exclude);
    wr_measures_release(&b->measures);
}

wr_status wr_eval_index(const wr_eval_args *given, FILE *out, wr_err *err)
{
    wr_eval_args args = *given;
    struct bench b = {.args = &args, .out = out};
    wr_eval_report report = {.measures = &b.measures};
    const char *names = args.measures || args.m.n ? args.measures : "nDCG@10 RR@10 R@100";
    wr_status st = choose_progress(&b, err);
    if (!st && args.qrels) st = wr_measures_parse(&b.measures, args.m.item, args.m.n, names, err);
    if (!st) st = choose_depth(&b, err);
    if (!st) st = read_files(&b, err);
    if (!st) st = choose_topics(&b, err);
    if (!st) st = open_ranker(&b, err);
    if (st) goto done;
    report.index = wr_index_info_get(wr_ranker_index(b.ranker));
    report.topics = b.ntopics;
    report.judged = b.judged;
    if (!args.ndocs) args.ndocs = (size_t)report.index->documents;
    if ((st = run_rows(&b, &report, err))) goto done;
    if (args.json)
        st = wr_eval_print_json(&report, out, err);
    else
        wr_eval_print_table(&report, out);
done:
    release(&b, &report);
    return st;
}
