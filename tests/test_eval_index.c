/* `weir eval --index` over an index of data/sample without dense vectors. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "data/command.h"
#include "data/trec.h"
#include "indexer/build.h"
#include "ranker/rank.h"
#include "tests/testlib.h"
#include "tools/eval.h"
#include "tools/latency.h"

#define TOPICS "data/sample/queries.jsonl"
#define QRELS "data/sample/qrels/test.tsv"

static char index_dir[512];

static void build_index(void)
{
    snprintf(index_dir, sizeof index_dir, "%s", wr_test_path("index"));
    const wr_build_options options = {
        .corpus = "data/sample", .format = WR_CORPUS_AUTO, .out = index_dir, .bm25 = {.k1 = 0.9f, .b = 0.4f}};
    wr_build_report report;
    wr_err err;
    cr_assert_eq(wr_build(&options, &report, &err), WR_OK, "%s", err.text);
}

TestSuite(eval_index, .init = build_index);

static wr_eval_args sample(void)
{
    wr_eval_args args = {.min_rel = 1, .repeat = 1, .threads = 1, .progress = "none", .json = true};
    args.index = index_dir;
    args.topics = TOPICS;
    args.qrels = QRELS;
    return args;
}

/* What it prints; freed by the caller. */
static char *printed(const wr_eval_args *args)
{
    char *text;
    size_t n;
    wr_err err;
    FILE *out = open_memstream(&text, &n);
    cr_assert(out);
    cr_assert_eq(wr_eval_index(args, out, &err), WR_OK, "%s", err.text);
    fclose(out);
    return text;
}

static json_t *report(const wr_eval_args *args)
{
    char *text = printed(args);
    json_t *root = json_loads(text, 0, NULL);
    cr_assert(root, "%s", text);
    free(text);
    return root;
}

static double number(const json_t *row, const char *object, const char *key)
{
    const json_t *value = json_object_get(json_object_get(row, object), key);
    cr_assert(json_is_number(value), "%s.%s", object, key);
    return json_number_value(value);
}

Test(eval_index, rows_are_pipelines_by_budgets)
{
    wr_eval_args args = sample();
    args.pipeline = (struct wr_option_list){{"bm25:100", "bm25:5"}, 2};
    args.budget_ms = (struct wr_option_list){{"0", "60000"}, 2};
    json_t *root = report(&args), *rows = json_object_get(root, "rows");
    cr_assert_eq(json_array_size(rows), 4);
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(rows, 2), "pipeline")), "bm25:5");
    cr_assert(json_is_null(json_object_get(json_array_get(rows, 2), "budget_ms")));
    cr_assert_eq(json_number_value(json_object_get(json_array_get(rows, 3), "budget_ms")), 60000);
    json_t *deep = json_array_get(rows, 0), *same = json_array_get(rows, 1), *shallow = json_array_get(rows, 2);
    cr_assert_eq(number(deep, "measures", "nDCG@10"), number(same, "measures", "nDCG@10"));
    cr_assert_geq(number(deep, "measures", "R@100"), number(shallow, "measures", "R@100"));
    cr_assert_gt(number(deep, "measures", "nDCG@10"), 0.3);
    cr_assert_leq(number(deep, "latency_ms", "p50"), number(deep, "latency_ms", "p99"));
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(json_object_get(deep, "stages"), 0), "name")),
                     "bm25");
    cr_assert_eq(json_integer_value(json_object_get(deep, "degraded")), 0);
    cr_assert_eq(json_integer_value(json_object_get(root, "topics")), 24);
    cr_assert(json_is_object(json_object_get(root, "index")));
    json_decref(root);
}

/* Sorting the run as trec_eval does gives back the order that was served, and its values are those of the row. */
Test(eval_index, run_holds_the_served_order)
{
    char path[512];
    snprintf(path, sizeof path, "%s", wr_test_path("run"));
    wr_eval_args args = sample();
    args.pipeline = (struct wr_option_list){{"bm25:100"}, 1};
    args.run_out = path;
    args.measures = "nDCG@10 AP Bpref";
    json_t *root = report(&args), *row = json_array_get(json_object_get(root, "rows"), 0);
    FILE *f = fopen(path, "r");
    char qid[256], docno[256], before[256] = "";
    size_t rank, lines = 0;
    double score;
    wr_run run;
    wr_err err;
    cr_assert(f);
    cr_assert_eq(wr_run_read(&run, path, &err), WR_OK, "%s", err.text);
    while (fscanf(f, "%255s Q0 %255s %zu %lf weir", qid, docno, &rank, &score) == 4) {
        cr_assert(rank == 1 || !strcmp(qid, before));
        snprintf(before, sizeof before, "%s", qid);
        cr_assert_str_eq(wr_run_find(&run, qid)->doc[rank - 1].docno, docno);
        lines++;
    }
    cr_assert_gt(lines, 100);
    fclose(f);

    char *text, want[128];
    size_t n;
    wr_eval_args again = {.min_rel = 1, .repeat = 1, .qrels = QRELS, .measures = "nDCG@10 AP Bpref"};
    again.run = (struct wr_option_list){{path}, 1};
    FILE *out = open_memstream(&text, &n);
    cr_assert_eq(wr_eval_runs(&again, out, &err), WR_OK, "%s", err.text);
    fclose(out);
    snprintf(want, sizeof want, "nDCG@10               \tall\t%6.4f\nAP                    \tall\t%6.4f\n",
             number(row, "measures", "nDCG@10"), number(row, "measures", "AP"));
    cr_assert_eq(strncmp(text, want, strlen(want)), 0, "%s", text);
    free(text);
    wr_run_release(&run);
    json_decref(root);
}

Test(eval_index, repeats_add_times_and_change_no_value)
{
    wr_eval_args args = sample();
    args.measures = "nDCG@10 NumRet";
    json_t *once = report(&args);
    args.repeat = 3;
    json_t *often = report(&args);
    json_t *a = json_array_get(json_object_get(once, "rows"), 0),
           *b = json_array_get(json_object_get(often, "rows"), 0);
    cr_assert_float_eq(number(a, "measures", "nDCG@10"), number(b, "measures", "nDCG@10"), 1e-12);
    cr_assert_eq(number(a, "measures", "NumRet"), number(b, "measures", "NumRet"));
    args.json = false;
    char *text = printed(&args);
    cr_assert(strstr(text, "24 topics, 24 of them judged; 72 queries a row"), "%s", text);
    free(text);
    json_decref(once);
    json_decref(often);
}

/* A table for people: one line per row, the pipeline first. */
Test(eval_index, table_has_a_line_for_each_row)
{
    wr_eval_args args = sample();
    args.json = false;
    args.pipeline = (struct wr_option_list){{"bm25:100", "bm25:5"}, 2};
    char *text = printed(&args);
    cr_assert(strstr(text, "\nbm25:100 "));
    cr_assert(strstr(text, "\nbm25:5 "));
    cr_assert(strstr(text, "  nDCG@10    RR@10    R@100  "));
    free(text);
}

/* Of three topics one is not judged; one judged topic is not in the file. */
static const char *three_topics(char path[512])
{
    snprintf(path, 512, "%s", wr_test_text("topics", "a\twater\nb\tlight and water\nc\tthe history of the garden\n"));
    return wr_test_text("qrels", "a 0 nothing 1\nb 0 nothing 1\nd 0 nothing 1\n");
}

Test(eval_index, only_judged_topics_run_unless_all_are_asked_for)
{
    char topics[512];
    wr_eval_args args = sample();
    args.qrels = three_topics(topics);
    args.topics = topics;
    args.measures = "NumQ";
    args.per_topic = true;
    json_t *root = report(&args), *row = json_array_get(json_object_get(root, "rows"), 0);
    cr_assert_eq(json_integer_value(json_object_get(root, "topics")), 2);
    cr_assert_eq(number(row, "measures", "NumQ"), 2);
    cr_assert_eq(json_object_size(json_object_get(row, "topics")), 2);
    json_decref(root);
    args.all_topics = args.complete = true;
    root = report(&args), row = json_array_get(json_object_get(root, "rows"), 0);
    cr_assert_eq(json_integer_value(json_object_get(root, "topics")), 3);
    cr_assert_eq(number(row, "measures", "NumQ"), 3); /* a, b and with -c also d */
    json_decref(root);
}

Test(eval_index, excluded_documents_never_appear)
{
    char path[512], line[1024], topics[512];
    wr_run run;
    wr_err err;
    wr_eval_args args = sample();
    three_topics(topics);
    snprintf(path, sizeof path, "%s", wr_test_path("run"));
    args.topics = topics;
    args.qrels = NULL;
    args.run_out = path;
    free(printed(&args));
    cr_assert_eq(wr_run_read(&run, path, &err), WR_OK, "%s", err.text);
    const wr_run_topic *b = wr_run_find(&run, "b");
    cr_assert(b && b->n > 2);
    snprintf(line, sizeof line, "query-id\tcorpus-id\nb\t%s\nb\tunknown\n", b->doc[0].docno);
    char second[256], first[256];
    snprintf(first, sizeof first, "%s", b->doc[0].docno);
    snprintf(second, sizeof second, "%s", b->doc[1].docno);
    args.exclude = wr_test_text("exclude", line);
    wr_run_release(&run);
    free(printed(&args));
    cr_assert_eq(wr_run_read(&run, path, &err), WR_OK, "%s", err.text);
    b = wr_run_find(&run, "b");
    cr_assert_str_eq(b->doc[0].docno, second);
    for (size_t i = 0; i < b->n; i++) cr_assert_str_neq(b->doc[i].docno, first);
    wr_run_release(&run);
}

static void expect_failure(const wr_eval_args *args, wr_status code, const char *part)
{
    wr_err err = {0};
    FILE *out = fopen("/dev/null", "w");
    cr_assert_eq(wr_eval_index(args, out, &err), code, "%s", err.text);
    cr_assert(strstr(err.text, part), "%s", err.text);
    fclose(out);
}

Test(eval_index, what_is_wrong_is_named)
{
    wr_eval_args args = sample();
    args.pipeline = (struct wr_option_list){{"bm25:100", "nonsense"}, 2};
    expect_failure(&args, WR_EARG, "--pipeline nonsense: ");
    args = sample();
    args.budget_ms = (struct wr_option_list){{"soon"}, 1};
    expect_failure(&args, WR_EARG, "--budget-ms soon");
    args = sample();
    args.run_out = wr_test_path("run");
    args.budget_ms = (struct wr_option_list){{"10", "20"}, 2};
    expect_failure(&args, WR_EARG, "not 2 rows");
    args = sample();
    args.qrels = wr_test_text("qrels", "nobody 0 d1 1\n");
    expect_failure(&args, WR_EFORMAT, "no topic has judgments");
    args = sample();
    args.k = WR_MAX_K + 1;
    expect_failure(&args, WR_EARG, "--k 10001");
    args = sample();
    args.progress = "loud";
    expect_failure(&args, WR_EARG, "--progress loud");

    /* A query that fails is an error with its topic's id. */
    static char long_topic[WR_MAX_QUERY_BYTES + 64] = "long\t";
    memset(long_topic + 5, 'w', WR_MAX_QUERY_BYTES + 1);
    args = sample();
    args.topics = wr_test_text("topics", long_topic);
    args.qrels = wr_test_text("qrels", "long 0 d1 1\n");
    expect_failure(&args, WR_EARG, "topic long: ");
}

Test(eval_index, usage_is_checked_before_anything_is_opened, .init = cr_redirect_stderr)
{
    static char *const cases[][8] = {
        {"eval", "--index", "x"},
        {"eval", "--index", "x", "--topics", "t"},
        {"eval", "--index", "x", "--run", "y", "--qrels", "q"},
        {"eval", "--run", "y", "--qrels", "q", "--json"},
        {"eval", "--index", "x", "--topics", "t", "--qrels", "q", "--repeat=0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *argv[9] = {NULL};
        int argc = 0;
        for (; argc < 8 && cases[i][argc]; argc++) argv[argc] = cases[i][argc];
        cr_assert_eq(wr_cmd_eval.run(argc, argv), 2, "case %zu", i);
    }
}

Test(latency, percentiles_are_by_nearest_rank)
{
    double ms[200];
    for (size_t i = 0; i < 200; i++) ms[i] = (double)(200 - i);
    wr_latency l = wr_latency_of(ms, 200);
    cr_assert_eq(l.p50_ms, 100);
    cr_assert_eq(l.p95_ms, 190);
    cr_assert_eq(l.p99_ms, 198);
    cr_assert_float_eq(l.mean_ms, 100.5, 1e-9);
    l = wr_latency_of(ms, 1);
    cr_assert_eq(l.p50_ms, l.p99_ms);
    cr_assert_eq(wr_latency_of(ms, 0).p99_ms, 0);
}
