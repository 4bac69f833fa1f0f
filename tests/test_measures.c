#include "tools/measures.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testlib.h"

#define DEPTH 40

/* One made-up topic: judgments d00.. and a ranking of some of these and of others. */
struct topic {
    char docno[2 * DEPTH][8];
    wr_qrel qrel[DEPTH];
    wr_qrels_topic qrels;
    long grade[2 * DEPTH]; /* of the ranking; WR_REL_NONPOOL */
    size_t n;
    wr_judged judged;
};

static struct topic made; /* released by the process that ran the test */

static void make_topic(wr_test_random *random)
{
    struct topic *t = &made;
    bool used[2 * DEPTH] = {false};
    size_t judgments = 1 + wr_test_below(random, DEPTH);
    for (size_t i = 0; i < 2 * DEPTH; i++) snprintf(t->docno[i], sizeof t->docno[i], "d%02zu", i);
    for (size_t i = 0; i < judgments; i++) {
        static const long scale[] = {0, 0, 0, 1, 1, 2, 3, -1};
        t->qrel[i] = (wr_qrel){t->docno[i], scale[wr_test_below(random, 8)]};
    }
    t->qrels = (wr_qrels_topic){"t", t->qrel, judgments};
    t->n = wr_test_below(random, DEPTH);
    cr_assert_eq(wr_judged_reset(&t->judged, &t->qrels, t->n), WR_OK);
    for (size_t i = 0; i < t->n; i++) {
        size_t d;
        do d = wr_test_below(random, 2 * DEPTH);
        while (used[d]);
        used[d] = true;
        wr_judged_add(&t->judged, t->docno[d]);
        t->grade[i] = d >= judgments ? WR_REL_NONPOOL : t->qrel[d].rel < 0 ? WR_REL_UNJUDGED : t->qrel[d].rel;
    }
}

static double score(const char *trec, const char *ir, long min_rel)
{
    wr_measures m;
    wr_err err = {0};
    double value[64];
    cr_assert_eq(wr_measures_parse(&m, &trec, trec ? 1 : 0, ir, &err), WR_OK, "%s", err.text);
    cr_assert_eq(m.nvalues, 1);
    wr_measures_score(&m, &made.judged, min_rel, value);
    wr_measures_release(&m);
    return value[0];
}

static long num_rel(long min_rel)
{
    long n = 0;
    for (size_t i = 0; i < made.qrels.n; i++) n += made.qrel[i].rel >= min_rel;
    return n;
}

static double average_precision(long min_rel, size_t cut)
{
    double sum = 0, hits = 0;
    for (size_t i = 0; i < made.n && i < cut; i++)
        if (made.grade[i] >= min_rel) sum += ++hits / (double)(i + 1);
    return num_rel(min_rel) ? sum / (double)num_rel(min_rel) : 0;
}

static int falling(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;
    return (x < y) - (x > y);
}

static double ndcg(size_t cut)
{
    long best[DEPTH];
    double have = 0, ideal = 0;
    for (size_t i = 0; i < made.qrels.n; i++) best[i] = made.qrel[i].rel;
    qsort(best, made.qrels.n, sizeof *best, falling);
    for (size_t i = 0; i < made.n && i < cut; i++)
        if (made.grade[i] > 0) have += (double)made.grade[i] / log2((double)i + 2);
    for (size_t i = 0; i < made.qrels.n && i < cut; i++)
        if (best[i] > 0) ideal += (double)best[i] / log2((double)i + 2);
    return ideal > 0 ? have / ideal : 0;
}

/* Every rank Y at which recall has reached the level: the best precision there. */
static double interpolated_precision(double level)
{
    double best = 0, hits = 0, needed = round(level * (double)num_rel(1));
    for (size_t i = 0; i < made.n; i++) {
        hits += made.grade[i] >= 1;
        if (hits >= needed) best = fmax(best, hits / (double)(i + 1));
    }
    return best;
}

static double bpref(void)
{
    double sum = 0, all = 0;
    for (size_t i = 0; i < made.qrels.n; i++) all += made.qrel[i].rel == 0;
    for (size_t i = 0; i < made.n; i++) {
        double above = 0;
        for (size_t k = 0; k < i; k++) above += made.grade[k] == 0;
        double relevant = (double)num_rel(1);
        if (made.grade[i] >= 1) sum += above > 0 ? 1 - fmin(above, relevant) / fmin(all, relevant) : 1;
    }
    return num_rel(1) ? sum / (double)num_rel(1) : 0;
}

Test(measures, random_rankings_score_as_the_definitions_say)
{
    wr_test_random random = {7};
    for (int round = 0; round < 500; round++) {
        make_topic(&random);
        cr_assert_float_eq(score("map", NULL, 1), average_precision(1, DEPTH), 1e-12);
        cr_assert_float_eq(score("map", NULL, 2), average_precision(2, DEPTH), 1e-12);
        cr_assert_float_eq(score(NULL, "AP(rel=2)@7", 1), average_precision(2, 7), 1e-12);
        cr_assert_float_eq(score(NULL, "nDCG@10", 1), ndcg(10), 1e-12);
        cr_assert_float_eq(score("ndcg", NULL, 1), ndcg(DEPTH), 1e-12);
        cr_assert_float_eq(score("ndcg_cut.3", NULL, 3), ndcg(3), 1e-12);
        cr_assert_float_eq(score("bpref", NULL, 1), bpref(), 1e-12);
        for (int level = 0; level <= 10; level++) {
            char name[32];
            snprintf(name, sizeof name, "iprec_at_recall.%.1f", level / 10.0);
            cr_assert_float_eq(score(name, NULL, 1), interpolated_precision(level / 10.0), 1e-12);
        }
        cr_assert_eq(score("num_rel", NULL, 2), (double)num_rel(2));
    }
    wr_judged_release(&made.judged);
}

Test(measures, every_value_is_finite_whatever_the_ranking)
{
    const char *const sets[] = {"all_trec", "yaap", "num_nonjudged_ret", "dcg", "ideal_dcg", "Judged"};
    wr_measures m;
    wr_err err;
    wr_test_random random = {11};
    double value[256];
    cr_assert_eq(wr_measures_parse(&m, sets, 6, NULL, &err), WR_OK);
    cr_assert_lt(m.nvalues, 256);
    for (int round = 0; round < 500; round++) {
        make_topic(&random);
        for (long level = 0; level <= 4; level++) {
            wr_measures_score(&m, &made.judged, level, value);
            for (size_t v = 0; v < m.nvalues; v++) cr_assert(isfinite(value[v]), "%s", m.name[v]);
        }
    }
    wr_measures_release(&m);
    wr_judged_release(&made.judged);
}

Test(measures, judged_only_closes_the_gaps)
{
    wr_qrel qrel[] = {{"a", 1}, {"b", 0}, {"c", -1}};
    wr_qrels_topic topic = {"t", qrel, 3};
    wr_judged judged = {.judged_only = true};
    cr_assert_eq(wr_judged_reset(&judged, &topic, 4), WR_OK);
    for (const char *d = "xcba"; *d; d++) wr_judged_add(&judged, (char[]){*d, 0});
    cr_assert_eq(judged.n, 2);
    cr_assert_eq(judged.rel[1], 1);
    wr_judged_release(&judged);
}

Test(measures, gains_may_be_given_for_grades)
{
    wr_qrel qrel[] = {{"a", 1}, {"b", 2}};
    wr_qrels_topic topic = {"t", qrel, 2};
    cr_assert_eq(wr_judged_reset(&made.judged, &topic, 2), WR_OK);
    wr_judged_add(&made.judged, "b");
    wr_judged_add(&made.judged, "a");
    cr_assert_float_eq(score("ndcg", NULL, 1), 1.0, 1e-12);
    cr_assert_float_eq(score("ndcg.1=5,7=9", NULL, 1), (2 + 5 / log2(3)) / (5 + 2 / log2(3)), 1e-12);
    cr_assert_float_eq(score("rbp.p=0.5,1=0.25,2=1", NULL, 1), 0.5 * (1 + 0.25 * 0.5), 1e-12);
    wr_judged_release(&made.judged);
}

/* The documents that a measure looks at decide how deep a pipeline must go. */
Test(measures, depth_is_that_of_the_deepest_cut)
{
    static const struct {
        const char *ir;
        size_t depth;
    } cases[] = {{"nDCG@10 RR@20 P@5", 20}, {"nDCG@10 AP", 0}, {"R(rel=2)@100 NumQ", 100}, {"Judged@3", 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wr_measures m;
        wr_err err;
        cr_assert_eq(wr_measures_parse(&m, NULL, 0, cases[i].ir, &err), WR_OK);
        cr_assert_eq(wr_measures_depth(&m), cases[i].depth);
        wr_measures_release(&m);
    }
}

Test(measures, names_come_back_as_they_print)
{
    const char *const trec[] = {"ndcg_cut.20,10,23.4", "P", "relstring.20", "iprec_at_recall..5,.25", "official"};
    const char *const expected[] = {"runid", "num_q"};
    wr_measures m;
    wr_err err;
    cr_assert_eq(wr_measures_parse(&m, trec, 5, "nDCG@10 R(rel=2)@100", &err), WR_OK);
    for (size_t i = 0; i < 2; i++) cr_assert_str_eq(m.name[i], expected[i]);
    cr_assert_str_eq(m.name[m.nvalues - 6], "relstring_20");
    cr_assert_str_eq(m.name[m.nvalues - 5], "ndcg_cut_10");
    cr_assert_str_eq(m.name[m.nvalues - 3], "ndcg_cut_23");
    cr_assert_str_eq(m.name[m.nvalues - 2], "nDCG@10");
    cr_assert_str_eq(m.name[m.nvalues - 1], "R(rel=2)@100");
    wr_measures_release(&m);
}

static void expect_refusal(const char *trec, const char *ir, const char *part)
{
    wr_measures m;
    wr_err err = {0};
    cr_assert_eq(wr_measures_parse(&m, &trec, trec ? 1 : 0, ir, &err), WR_EARG, "%s", trec ? trec : ir);
    cr_assert(strstr(err.text, part), "%s", err.text);
    cr_assert_null(m.use);
    cr_assert_eq(m.nvalues, 0);
}

Test(measures, what_is_unknown_or_malformed_is_named)
{
    expect_refusal("mapp", NULL, "-m mapp: no such measure");
    expect_refusal("", NULL, "no such measure");
    expect_refusal("map.5", NULL, "map takes no parameters");
    expect_refusal("official.5", NULL, "official takes no parameters");
    expect_refusal("P.", NULL, "-m P.: expected numbers");
    expect_refusal("P.5,", NULL, "expected numbers");
    expect_refusal("P.5,x", NULL, "expected numbers");
    expect_refusal("P.0", NULL, "expected ranks from 1");
    expect_refusal("P.1e300", NULL, "expected ranks from 1");
    expect_refusal("P.nan", NULL, "expected numbers");
    expect_refusal("P.5,5", NULL, "expected each number once");
    expect_refusal("utility.1,2", NULL, "expected four numbers");
    expect_refusal("ndcg.1", NULL, "expected pairs");
    expect_refusal("ndcg.1=", NULL, "expected a number");
    expect_refusal("ndcg.1=2,1=3", NULL, "expected each grade once");
    expect_refusal("ndcg.p=0.5", NULL, "expected pairs");
    expect_refusal("rbp.p=2", NULL, "expected p between 0 and 1");
    expect_refusal("prefs_simp", NULL, "needs preferences");
    expect_refusal(NULL, "nDCG@", "expected a number behind '@'");
    expect_refusal(NULL, "nDCG@0", "expected a rank from 1");
    expect_refusal(NULL, "nDCG@1.5", "expected a rank from 1");
    expect_refusal(NULL, "P", "expected a number behind '@'");
    expect_refusal(NULL, "Bpref@5", "expected no '@'");
    expect_refusal(NULL, "AP(rel=0)", "rel to be a grade");
    expect_refusal(NULL, "AP(rel=2", "expected a ')'");
    expect_refusal(NULL, "nDCG(rel=2)@10", "nothing between the parentheses");
    expect_refusal(NULL, "nDCG10", "no such measure");
    expect_refusal(NULL, "ndcg@10", "no such measure");
    expect_refusal(NULL, "IPrec@2", "a recall between 0 and 1");
    expect_refusal(NULL, " ", "names no measure");
}
