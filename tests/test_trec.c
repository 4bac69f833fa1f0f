#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/trec.h"
#include "tests/testlib.h"

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* ---- topics */

static wr_topics topics_of(const char *text)
{
    wr_topics topics;
    wr_err err = {0};
    cr_assert_eq(wr_topics_read(&topics, wr_test_text("topics", text), &err), WR_OK, "%s", err.text);
    return topics;
}

static void refuse_topics(const char *text, const char *want)
{
    wr_topics topics;
    wr_err err = {0};
    cr_assert_eq(wr_topics_read(&topics, wr_test_text("topics", text), &err), WR_EFORMAT, "%s", text);
    cr_assert(ends_with(err.text, want), "\"%s\" does not end with \"%s\"", err.text, want);
    cr_assert(topics.n == 0 && !topics.topic && !topics.owner);
}

static void expect_topic(const wr_topics *topics, size_t i, const char *qid, const char *text)
{
    cr_assert_lt(i, topics->n);
    cr_assert_str_eq(topics->topic[i].qid, qid);
    cr_assert_str_eq(topics->topic[i].text, text);
    cr_assert_eq(topics->topic[i].text_len, strlen(text));
}

Test(trec, topics_keep_the_order_of_the_file)
{
    wr_topics t = topics_of(
        "{\"_id\":\"b\",\"text\":\"first\"}\n\n{\"id\":2,\"query\":\"second\"}\n{\"qid\":\"a\",\"title\":\"third\"}");
    cr_assert_eq(t.n, 3u);
    expect_topic(&t, 0, "b", "first");
    expect_topic(&t, 1, "2", "second");
    expect_topic(&t, 2, "a", "third");
    wr_topics_release(&t);
    t = topics_of("qid\tquery\n9\twhat is\ta tab\n8\tbad \xff byte\r\n");
    cr_assert_eq(t.n, 2u);
    expect_topic(&t, 0, "9", "what is\ta tab");
    expect_topic(&t, 1, "8", "bad \xef\xbf\xbd byte");
    wr_topics_release(&t);
}

Test(trec, sgml_topics_are_read_in_every_known_dress)
{
    wr_topics t = topics_of(
        "<top>\n\n<num> Number: 301 \n<title> International Organized\nCrime \n\n<desc> Description: \nIdentify\n\n"
        "<narr> Narrative: \n<title-like> A\n</top>\n\n"
        "<top>\n<head> Tipster Topic\n<num> Number:  051\n<title> Topic:  Airbus &amp; Subsidies\n<desc>x\n</top>\n"
        "<TOP><NUM>3</NUM><TITLE>closed tags</TITLE></TOP>\n");
    cr_assert_eq(t.n, 3u);
    expect_topic(&t, 0, "301", "International Organized Crime");
    expect_topic(&t, 1, "051", "Airbus & Subsidies");
    expect_topic(&t, 2, "3", "closed tags");
    wr_topics_release(&t);
}

Test(trec, a_topic_may_carry_vectors_instead_of_text)
{
    wr_topics t = topics_of(
        "{\"_id\":\"1\",\"sparse\":{\"b\":2.5,\"a\":1},\"dense\":[0.5,-1,2]}\n{\"_id\":\"2\",\"text\":\"x\"}");
    const wr_topic *one = &t.topic[0];
    cr_assert_eq(one->text_len, 0u);
    cr_assert_eq(one->nsparse, 2u);
    cr_assert_str_eq(one->sparse_token[0], "b");
    cr_assert_eq(one->sparse_weight[0], 2.5f);
    cr_assert_str_eq(one->sparse_token[1], "a");
    cr_assert_eq(one->ndense, 3u);
    cr_assert_eq(one->dense[1], -1.0f);
    cr_assert(!t.topic[1].sparse_token && !t.topic[1].dense);
    wr_topics_release(&t);
}

Test(trec, topics_that_are_malformed_are_refused_with_the_line)
{
    refuse_topics("", "holds no topic");
    refuse_topics("qid\ttext\n", "holds no topic");
    refuse_topics("1\ta\n2\tb\n1\tc\n", "line 3: topic \"1\" was given before, in line 1");
    refuse_topics("1\n", "line 1: expected an id, a tab and the topic's text");
    refuse_topics("1\t \n", "line 1: the topic's text is empty");
    refuse_topics("1 2\tx\n", "line 1: the topic's id \"1 2\" holds white space or a control character");
    refuse_topics("{\"_id\":\"1\"}", "line 1: no \"text\", \"query\" or \"title\"");
    refuse_topics("{\"text\":\"1\"}", "line 1: no \"_id\", \"id\" or \"qid\"");
    refuse_topics("{\"_id\":\"1\",\"text\":\"\"}", "line 1: the topic's text is empty");
    refuse_topics("{\"_id\":[],\"text\":\"x\"}", "line 1: the topic's id is neither a string nor an integer");
    refuse_topics("{\"_id\":\"1\",\"text\":{}}", "line 1: the topic's text is not a string");
    refuse_topics("{\"_id\":\"1\",\"text\":\"x\"}\n2\tx",
                  "line 2: not valid JSON at byte 1: '[' or '{' expected near '2'");
    refuse_topics("{\"_id\":\"1\",\"sparse\":[]}", "line 1: \"sparse\" is not an object of token weights");
    refuse_topics("{\"_id\":\"1\",\"sparse\":{\"a\":1e300}}", "line 1: a weight in \"sparse\" is no number");
    refuse_topics("{\"_id\":\"1\",\"dense\":[]}", "line 1: \"dense\" is not an array of numbers");
    refuse_topics("{\"_id\":\"1\",\"dense\":[1,\"2\"]}", "line 1: a component of \"dense\" is no number");
    refuse_topics("<top><num>1<desc>x</top>", "line 1: a topic without <num> or <title>");
    refuse_topics("<top><num>1<title> <desc>x</top>", "line 1: the topic's title is empty");
    refuse_topics("<top><num>1<title>Topic:</top>", "line 1: the topic's title is empty");
    refuse_topics("<top><num><title>x</top>", "line 1: the topic's id is empty");
    refuse_topics("<top><num>1<title>x\n<top><num>2<title>y</top>", "line 2: a second <num> or <title> in one topic");
    refuse_topics("<top>\n<num>1<title>x\n", "the last topic is not closed by </top>");
}

/* ---- judgments */

static wr_qrels qrels_of(const char *text)
{
    wr_qrels qrels;
    wr_err err = {0};
    cr_assert_eq(wr_qrels_read(&qrels, wr_test_text("qrels", text), &err), WR_OK, "%s", err.text);
    return qrels;
}

static void refuse_qrels(const char *text, const char *want)
{
    wr_qrels qrels;
    wr_err err = {0};
    cr_assert_eq(wr_qrels_read(&qrels, wr_test_text("qrels", text), &err), WR_EFORMAT, "%s", text);
    cr_assert(ends_with(err.text, want), "\"%s\" does not end with \"%s\"", err.text, want);
    cr_assert(qrels.n == 0 && !qrels.topic && !qrels.owner);
}

Test(trec, judgments_are_sorted_by_topic_and_document)
{
    const char *both[] = {"2 0 b 1\n# comment\n10 0 x -1\n2 0 a 0\n\n 1\t0  z   3  \n2 Q0 C 2\n",
                          "query-id\tcorpus-id\tscore\n2\tb\t1\n10\tx\t-1\n2\ta\t0\n1\tz\t3\n2\tC\t2\n"};
    for (size_t i = 0; i < 2; i++) {
        wr_qrels q = qrels_of(both[i]);
        long rel = 99;
        cr_assert_eq(q.n, 3u);
        cr_assert_str_eq(q.topic[0].qid, "1");
        cr_assert_str_eq(q.topic[1].qid, "10");
        cr_assert_str_eq(q.topic[2].qid, "2");
        const wr_qrels_topic *two = wr_qrels_find(&q, "2");
        cr_assert_eq(two, &q.topic[2]);
        cr_assert_eq(two->n, 3u);
        cr_assert_str_eq(two->qrel[0].docno, "C");
        cr_assert_str_eq(two->qrel[2].docno, "b");
        cr_assert(wr_qrels_rel(two, "C", &rel) && rel == 2);
        cr_assert(wr_qrels_rel(&q.topic[1], "x", &rel) && rel == -1);
        cr_assert(!wr_qrels_rel(two, "c", &rel) && !wr_qrels_rel(two, "", &rel) && rel == -1);
        cr_assert(!wr_qrels_rel(NULL, "x", &rel));
        cr_assert_null(wr_qrels_find(&q, "3"));
        wr_qrels_release(&q);
    }
    wr_qrels none = {0};
    cr_assert_null(wr_qrels_find(&none, "1"));
    wr_qrels_release(&none);
}

Test(trec, judgments_are_numbers_as_trec_eval_reads_them)
{
    wr_qrels q = qrels_of("1 0 a +2\n1 0 b 1.9\n1 0 c 3x\n1 0 d 007\n");
    static const long want[] = {2, 1, 3, 7};
    for (size_t i = 0; i < 4; i++) cr_assert_eq(q.topic[0].qrel[i].rel, want[i]);
    wr_qrels_release(&q);
    refuse_qrels("1 0 a x\n", "line 1: the judgment is not a whole number");
    refuse_qrels("1 0 a 99999999999999999999\n", "line 1: the judgment is not a whole number");
}

Test(trec, malformed_judgments_are_refused_with_the_line)
{
    refuse_qrels("", "holds no judgment");
    refuse_qrels("# only\n", "holds no judgment");
    refuse_qrels("query-id\tcorpus-id\tscore\n", "holds no judgment");
    refuse_qrels("1 0 a 1\n1 0 b\n", "line 2: expected four columns: qid, iteration, docno, judgment");
    refuse_qrels("1 0 a 1 more\n", "line 1: expected four columns: qid, iteration, docno, judgment");
    refuse_qrels("1\ta\t1\n1\t0\tb\t1\n", "line 2: expected three columns: query-id, corpus-id, score");
    refuse_qrels("1 0 a 1\n2 0 a 1\n1 0 a 1\n", "line 3: document \"a\" of topic \"1\" was judged before, in line 1");
    wr_qrels qrels;
    wr_err err;
    const char *path = wr_test_file("nul", "1 0 a\0b 1\n", 10);
    cr_assert_eq(wr_qrels_read(&qrels, path, &err), WR_EFORMAT);
    cr_assert(ends_with(err.text, "line 1: holds a NUL byte"), "%s", err.text);
    cr_assert_eq(wr_qrels_read(&qrels, wr_test_path("none"), &err), WR_ENOTFOUND);
}

Test(trec, exclusions_may_have_a_header_and_repeat)
{
    const char *text[] = {"query-id\tdoc-id\n1\t486\n2\tb\n1\t486\n", "qid\tdocno\n2\tb\n1\t486\n", "1 486\n2 b\n",
                          "query\tx\n1\t486\n2\tb"};
    for (size_t i = 0; i < 4; i++) {
        wr_qrels x;
        wr_err err = {0};
        long rel = 9;
        cr_assert_eq(wr_exclude_read(&x, wr_test_text("x", text[i]), &err), WR_OK, "%s", err.text);
        cr_assert_eq(x.n, 2u);
        cr_assert_eq(x.topic[0].n, 1u);
        cr_assert(wr_qrels_rel(wr_qrels_find(&x, "1"), "486", &rel) && rel == 0);
        wr_qrels_release(&x);
    }
    wr_qrels x;
    wr_err err;
    cr_assert_eq(wr_exclude_read(&x, wr_test_text("x", "1 2 3\n"), &err), WR_EFORMAT);
    cr_assert_eq(wr_exclude_read(&x, wr_test_text("x", ""), &err), WR_OK);
    cr_assert_eq(x.n, 0u);
    wr_qrels_release(&x);
}

/* ---- runs */

static wr_run run_of(const char *text)
{
    wr_run run;
    wr_err err = {0};
    cr_assert_eq(wr_run_read(&run, wr_test_text("run", text), &err), WR_OK, "%s", err.text);
    return run;
}

static void refuse_run(const char *text, const char *want)
{
    wr_run run;
    wr_err err = {0};
    cr_assert_eq(wr_run_read(&run, wr_test_text("run", text), &err), WR_EFORMAT, "%s", text);
    cr_assert(ends_with(err.text, want), "\"%s\" does not end with \"%s\"", err.text, want);
    cr_assert(run.n == 0 && !run.topic && !run.owner);
}

Test(trec, a_run_is_ordered_by_score_then_docno_whatever_its_ranks)
{
    wr_run r = run_of("1 Q0 a 1 0.5 first\n# comment\n1 Q0 c 9 0.5 t\n\n1 Q0 b 3 0.50 t\n1 Q0 d 4 7e-1 t\n"
                      "0 Q0 x 1 -inf t\n0 Q0 y 1 -3 last more words\n");
    cr_assert_eq(r.n, 2u);
    cr_assert_str_eq(r.tag, "last");
    cr_assert_str_eq(r.topic[0].qid, "0");
    cr_assert_str_eq(r.topic[0].doc[0].docno, "y");
    const wr_run_topic *one = wr_run_find(&r, "1");
    static const char *const want[] = {"d", "c", "b", "a"};
    cr_assert_eq(one->n, 4u);
    for (size_t i = 0; i < 4; i++) cr_assert_str_eq(one->doc[i].docno, want[i]);
    cr_assert_null(wr_run_find(&r, "2"));
    wr_run_release(&r);
}

Test(trec, scores_are_compared_as_doubles)
{
    wr_run r = run_of("1 Q0 a 1 0.40000000000000002 t\n1 Q0 b 2 0.40000000000000001 t\n1 Q0 c 2 0.4000000001 t\n");
    cr_assert_str_eq(r.topic[0].doc[0].docno, "c"); /* equal to the others as float */
    cr_assert_str_eq(r.topic[0].doc[1].docno, "b"); /* equal to a as double         */
    wr_run_release(&r);
}

Test(trec, malformed_runs_are_refused_with_the_line)
{
    refuse_run("", "holds no result");
    refuse_run("1 Q0 a 1 0.5\n", "line 1: expected six columns: qid, Q0, docno, rank, score, tag");
    refuse_run("1 Q0 a 1 0.5 t\n1 Q0 b 1 x t\n", "line 2: the score is not a number");
    refuse_run("1 Q0 a 1 nan t\n", "line 1: the score is not a number");
    refuse_run("1 Q0 a 1 1 t\n1 Q0 b 2 1 t\n1 Q0 a 3 9 t\n",
               "line 3: document \"a\" of topic \"1\" was ranked before, in line 1");
}

struct line {
    int topic, doc;
    double score;
};

Test(trec, a_large_shuffled_run_is_what_a_plain_sort_gives)
{
    enum { N = 200000, TOPICS = 97 };
    static struct line line[N];
    wr_test_random random = {3};
    char *text = malloc(N * 40), *p = text;
    for (int i = 0; i < N; i++) {
        line[i].topic = i % TOPICS, line[i].doc = i / TOPICS;
        line[i].score = (double)wr_test_below(&random, 50) / 8; /* many ties */
    }
    for (size_t i = N - 1; i > 0; i--) {
        size_t j = wr_test_below(&random, i + 1);
        struct line swap = line[i];
        line[i] = line[j], line[j] = swap;
    }
    for (int i = 0; i < N; i++) p += sprintf(p, "q%d Q0 d%d 0 %g t\n", line[i].topic, line[i].doc, line[i].score);
    wr_run r = run_of(text);
    free(text);
    cr_assert_eq(r.n, (size_t)TOPICS);
    size_t seen = 0;
    for (size_t t = 0; t < r.n; t++) {
        cr_assert(t == 0 || strcmp(r.topic[t - 1].qid, r.topic[t].qid) < 0);
        seen += r.topic[t].n;
        for (size_t i = 1; i < r.topic[t].n; i++) {
            const wr_run_doc *a = &r.topic[t].doc[i - 1], *b = &r.topic[t].doc[i];
            cr_assert(a->score > b->score || (a->score == b->score && strcmp(a->docno, b->docno) > 0));
        }
    }
    cr_assert_eq(seen, (size_t)N);
    for (int i = 0; i < N; i += 997) { /* and each line's score went to its document */
        char qid[16], docno[16];
        sprintf(qid, "q%d", line[i].topic), sprintf(docno, "d%d", line[i].doc);
        const wr_run_topic *t = wr_run_find(&r, qid);
        size_t k = 0;
        while (strcmp(t->doc[k].docno, docno) != 0) k++;
        cr_assert_eq(t->doc[k].score, line[i].score);
    }
    wr_run_release(&r);
}

/* ---- the files that trec_eval is tested with */

Test(trec, trec_eval_s_own_files_are_read)
{
    static const struct {
        const char *name;
        size_t topics;
    } runs[] = {{"results.test", 3}, {"results.trunc", 2}, {"results.comment.test", 301}},
      judged[] = {
          {"qrels.test", 3}, {"qrels.test.with-comments", 3}, {"qrels.rel_level", 3}, {"qrels.comment.test", 31}};
    char name[128];
    wr_err err = {0};
    wr_test_shared_or_skip("trec-eval");
    for (size_t i = 0; i < 3; i++) {
        wr_run run;
        snprintf(name, sizeof name, "trec-eval/test/%s", runs[i].name);
        cr_assert_eq(wr_run_read(&run, wr_test_shared_or_skip(name), &err), WR_OK, "%s", err.text);
        cr_assert_eq(run.n, runs[i].topics);
        wr_run_release(&run);
    }
    for (size_t i = 0; i < 4; i++) {
        wr_qrels qrels;
        snprintf(name, sizeof name, "trec-eval/test/%s", judged[i].name);
        cr_assert_eq(wr_qrels_read(&qrels, wr_test_shared_or_skip(name), &err), WR_OK, "%s", err.text);
        cr_assert_eq(qrels.n, judged[i].topics);
        wr_qrels_release(&qrels);
    }
}

/* num_ret, num_rel and num_rel_ret over all topics, as trec_eval printed them for its own files. */
Test(trec, counts_over_trec_eval_s_files_match_its_output)
{
    wr_run run;
    wr_qrels qrels;
    wr_err err = {0};
    size_t ret = 0, relevant = 0, found = 0;
    cr_assert_eq(wr_run_read(&run, wr_test_shared_or_skip("trec-eval/test/results.test"), &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_qrels_read(&qrels, wr_test_shared_or_skip("trec-eval/test/qrels.test"), &err), WR_OK, "%s",
                 err.text);
    for (size_t t = 0; t < run.n; t++) {
        const wr_qrels_topic *judged = wr_qrels_find(&qrels, run.topic[t].qid);
        if (!judged) continue;
        ret += run.topic[t].n;
        for (size_t i = 0; i < judged->n; i++) relevant += judged->qrel[i].rel >= 1;
        for (size_t i = 0; i < run.topic[t].n; i++) {
            long rel;
            found += wr_qrels_rel(judged, run.topic[t].doc[i].docno, &rel) && rel >= 1;
        }
    }
    char line[256], measure[64], topic[64];
    FILE *f = fopen(wr_test_shared_or_skip("trec-eval/test/out.test"), "r");
    cr_assert_not_null(f);
    int compared = 0;
    while (fgets(line, sizeof line, f)) {
        double value;
        if (sscanf(line, "%63s %63s %lf", measure, topic, &value) != 3 || strcmp(topic, "all") != 0) continue;
        size_t got = !strcmp(measure, "num_ret") ? ret : !strcmp(measure, "num_rel") ? relevant : found;
        if (strncmp(measure, "num_re", 6) != 0) continue;
        cr_assert_eq((double)got, value, "%s", measure);
        compared++;
    }
    fclose(f);
    cr_assert_eq(compared, 3);
    wr_run_release(&run);
    wr_qrels_release(&qrels);
}
