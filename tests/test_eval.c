#include "data/command.h"
#include "tools/eval.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdlib.h>
#include <string.h>

#include "data/trec.h"
#include "tests/testlib.h"
#include "tools/measures.h"

/* The whole file, NUL-terminated; freed by the caller. */
static char *contents(const char *path)
{
    FILE *f = fopen(path, "rb");
    cr_assert(f, "%s", path);
    size_t n = 0, cap = 1 << 20;
    char *text = malloc(cap);
    cr_assert(text);
    n = fread(text, 1, cap - 1, f);
    cr_assert_lt(n, cap - 1, "%s", path);
    text[n] = 0;
    fclose(f);
    return text;
}

/* `weir eval` with the words of the line; returns its exit status. What it prints is in the file "out". */
static int eval(const char *line)
{
    char copy[2048], *argv[64];
    int argc = 0;
    cr_assert_lt((size_t)snprintf(copy, sizeof copy, "%s", line), sizeof copy);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) argv[argc++] = word;
    argv[argc] = NULL;
    cr_assert(freopen(wr_test_path("out"), "w", stdout));
    int status = wr_cmd_eval.run(argc, argv);
    fflush(stdout);
    return status;
}

/* Standard output and the expected file are the same; the first line that differs is shown. */
static void expect_file(const char *expected, const char *line)
{
    char *got = contents(wr_test_path("out")), *want = contents(expected);
    size_t at = 0;
    for (size_t i = 0; got[i] && got[i] == want[i]; i++)
        if (got[i] == '\n') at = i + 1;
    cr_assert_str_eq(got, want, "%s: got \"%.60s\", expected \"%.60s\"", line, got + at, want + at);
    free(got);
    free(want);
}

/* What trec_eval's own tests run, in its options; the last two words are judgments and run. */
static const struct {
    const char *options, *qrels, *run, *expected;
} vectors[] = {
    {"", "qrels.test", "results.test", "out.test"},
    {"", "qrels.test.with-comments", "results.test", "out.test"},
    {"", "qrels.comment.test", "results.comment.test", "out.comment.test"},
    {"-m all_trec", "qrels.test", "results.test", "out.test.a"},
    {"-m all_trec -q", "qrels.test", "results.test", "out.test.aq"},
    {"-m all_trec -q -c", "qrels.test", "results.trunc", "out.test.aqc"},
    {"-m all_trec -q -c -M100", "qrels.test", "results.trunc", "out.test.aqcM"},
    {"-m all_trec -mrelstring.20 -q -l2", "qrels.rel_level", "results.test", "out.test.aql"},
    {"-qm all_trec -mrelstring.20 -l 2", "qrels.rel_level", "results.test", "out.test.aql"},
    {"-q -miprec_at_recall..10,.20,.25,.75,.50 -m P.5,7,3 -m recall.20,2000 -m Rprec_mult.5.0,0.2,0.35"
     " -mutility.2,-1,0,0 -m 11pt_avg..25,.5,.75 -mndcg.1=3,2=9,4=4.5 -mndcg_cut.10,20,23.4 -msuccess.2,5,20",
     "qrels.test", "results.test", "out.test.meas_params"},
};

Test(eval, prints_what_trec_eval_prints)
{
    char line[2048], folder[512];
    snprintf(folder, sizeof folder, "%s", wr_test_shared_or_skip("trec-eval/test"));
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        snprintf(line, sizeof line, "eval %s --qrels %s/%s --run %s/%s", vectors[i].options, folder, vectors[i].qrels,
                 folder, vectors[i].run);
        cr_assert_eq(eval(line), 0, "%s", line);
        snprintf(line, sizeof line, "%s/%s", folder, vectors[i].expected);
        expect_file(line, vectors[i].options);
    }
}

/* tests/eval holds a made-up run with many equal scores, and graded judgments; a topic without a relevant document, one
 * that the run lacks, one that the judgments lack. Lines of the expected files are "measure topic value". */
static void expect_values(const char *expected, const wr_measures *measures, long min_rel, double tolerance)
{
    wr_qrels qrels;
    wr_run run;
    wr_err err;
    wr_judged judged = {0};
    double *value = calloc(measures->nvalues, sizeof *value);
    size_t compared = 0;
    FILE *f = fopen(expected, "r");
    char name[64], qid[16];
    double want;
    cr_assert(f && value);
    cr_assert_eq(wr_qrels_read(&qrels, "tests/eval/qrels", &err), WR_OK);
    cr_assert_eq(wr_run_read(&run, "tests/eval/run", &err), WR_OK);
    while (fscanf(f, "%63s %15s %lf", name, qid, &want) == 3) {
        const wr_run_topic *ranking = wr_run_find(&run, qid);
        size_t n = ranking ? ranking->n : 0, v = 0;
        cr_assert_eq(wr_judged_reset(&judged, wr_qrels_find(&qrels, qid), n), WR_OK);
        for (size_t i = 0; i < n; i++) wr_judged_add(&judged, ranking->doc[i].docno);
        wr_measures_score(measures, &judged, min_rel, value);
        while (v < measures->nvalues && strcmp(measures->name[v], name)) v++;
        cr_assert_lt(v, measures->nvalues, "%s", name);
        cr_assert_float_eq(value[v], want, tolerance, "%s of %s: %.12g, expected %.12g", name, qid, value[v], want);
        compared++;
    }
    cr_assert_gt(compared, 100);
    fclose(f);
    free(value);
    wr_judged_release(&judged);
    wr_run_release(&run);
    wr_qrels_release(&qrels);
}

Test(eval, values_are_those_of_pytrec_eval)
{
    const char *const all[] = {"all_trec"};
    wr_measures measures;
    wr_err err;
    cr_assert_eq(wr_measures_parse(&measures, all, 1, NULL, &err), WR_OK);
    expect_values("tests/eval/pytrec_eval.l1", &measures, 1, 1e-10);
    expect_values("tests/eval/pytrec_eval.l2", &measures, 2, 1e-10);
    wr_measures_release(&measures);
}

Test(eval, values_are_those_of_ir_measures)
{
    const char *names = "nDCG@10 nDCG nDCG@3 RR RR@10 RR@2 RR(rel=2)@10 R@100 R@5 R(rel=2)@10 AP AP@10 AP(rel=2) "
                        "AP(rel=2)@100 P@5 P(rel=3)@10 Rprec Rprec(rel=2) Bpref Bpref(rel=2) Success@1 "
                        "Success(rel=3)@10 Judged@10 Judged SetP SetR SetF SetF(beta=0.5) SetAP infAP";
    wr_measures measures;
    wr_err err;
    cr_assert_eq(wr_measures_parse(&measures, NULL, 0, names, &err), WR_OK);
    expect_values("tests/eval/ir_measures", &measures, 1, 1e-10);
    wr_measures_release(&measures);
}

Test(eval, names_of_both_languages_print_in_one_table)
{
    const char *line = "eval --run tests/eval/run --qrels tests/eval/qrels -m num_q -c";
    char *text;
    FILE *out = fopen(wr_test_path("want"), "w");
    fprintf(out, "num_q                 \tall\t6\n");
    fclose(out);
    cr_assert_eq(eval(line), 0);
    expect_file(wr_test_path("want"), line);
    wr_eval_args args = {.min_rel = 1, .qrels = "tests/eval/qrels", .measures = "Success@10 NumQ"};
    args.run = (struct wr_option_list){{"tests/eval/run", "tests/eval/run"}, 2};
    args.m = (struct wr_option_list){{"num_rel"}, 1};
    size_t n;
    wr_err err;
    out = open_memstream(&text, &n);
    cr_assert_eq(wr_eval_runs(&args, out, &err), WR_OK, "%s", err.text);
    fclose(out);
    cr_assert_eq(n % 2, 0);
    cr_assert_arr_eq(text, text + n / 2, n / 2); /* two runs, one after the other */
    cr_assert(strstr(text, "num_rel               \tall\t"));
    cr_assert(strstr(text, "NumQ                  \tall\t5\n"), "%s", text);
    free(text);
}

Test(eval, refuses_with_a_sentence, .init = cr_redirect_stderr)
{
    cr_assert_eq(eval("eval --qrels tests/eval/qrels"), 2);
    cr_assert_eq(eval("eval --run tests/eval/run"), 2);
    cr_assert_eq(eval("eval --run tests/eval/run --qrels tests/eval/qrels -R prefs"), 2);
    cr_assert_eq(eval("eval --run tests/eval/run --qrels tests/eval/qrels -m nothing"), 2);
    cr_assert_eq(eval("eval --run tests/eval/qrels --qrels tests/eval/qrels"), 4);
    cr_assert_eq(eval("eval --run tests/eval/nowhere --qrels tests/eval/qrels"), 1);
    const char *qrels = wr_test_text("qrels", "other 0 d1 1\n");
    char line[512];
    snprintf(line, sizeof line, "eval --run tests/eval/run --qrels %s", qrels);
    cr_assert_eq(eval(line), 4);
    snprintf(line, sizeof line, "eval -c --run tests/eval/run --qrels %s", qrels);
    cr_assert_eq(eval(line), 0);
}
