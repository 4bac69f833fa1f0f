#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/command.h"

static const struct wr_command command = {"test", "weir test [options] A", "Tests.", NULL};

/* What the options below are read into. */
static struct {
    bool fast, slow;
    const char *index, *measure, *upper;
    size_t k;
    double budget;
    struct wr_option_list pipelines;
} got;

static const struct wr_option options[] = {
    {"fast", NULL, "a flag", WR_OPT_FLAG, &got.fast},
    {"no-slow", NULL, "a flag that clears", WR_OPT_NOFLAG, &got.slow},
    {"index", "DIR", "text", WR_OPT_TEXT, &got.index},
    {"k", "N", "a size", WR_OPT_SIZE, &got.k},
    {"budget-ms", "B", "a number", WR_OPT_DOUBLE, &got.budget},
    {"pipeline", "P", "may repeat", WR_OPT_LIST, &got.pipelines},
    {"m", "M", "one letter", WR_OPT_TEXT, &got.measure},
    {"M", "N", "another letter", WR_OPT_TEXT, &got.upper},
    {"q", NULL, "a flag of one letter", WR_OPT_FLAG, &got.fast},
    {0},
};

static const char *operand[3];
static size_t noperands;

static wr_status parse(int argc, const char *const *argv)
{
    memset(&got, 0, sizeof got);
    got.slow = true;
    noperands = 99;
    return wr_options_parse(&command, options, argc, (char **)argv, operand, 3, &noperands);
}
#define PARSE(...)                                                                                                     \
    parse(sizeof((const char *[]){"test", __VA_ARGS__}) / sizeof(char *), (const char *const[]){"test", __VA_ARGS__})

Test(command, values_stand_apart_or_behind_an_equals_sign)
{
    cr_assert_eq(PARSE("--index", "a b", "--k=10", "--budget-ms", "2.5", "--fast", "--no-slow", "x"), WR_OK);
    cr_assert_str_eq(got.index, "a b");
    cr_assert_eq(got.k, 10u);
    cr_assert_eq(got.budget, 2.5);
    cr_assert(got.fast && !got.slow);
    cr_assert_eq(noperands, 1u);
    cr_assert_str_eq(operand[0], "x");
    cr_assert_eq(PARSE("--index=", "--budget-ms", "-1"), WR_OK);
    cr_assert_str_eq(got.index, "");
    cr_assert_eq(got.budget, -1);
}

Test(command, one_letter_takes_its_value_attached_or_apart)
{
    cr_assert_eq(PARSE("-mP.5,10", "-qM100"), WR_OK);
    cr_assert_str_eq(got.measure, "P.5,10");
    cr_assert_str_eq(got.upper, "100");
    cr_assert(got.fast);
    cr_assert_eq(PARSE("-m", "map", "--k", "3"), WR_OK);
    cr_assert_str_eq(got.measure, "map");
    cr_assert_eq(PARSE("-k3"), WR_OK);
    cr_assert_eq(got.k, 3u);
}

Test(command, a_list_repeats_and_another_option_s_last_value_counts)
{
    cr_assert_eq(PARSE("--pipeline", "bm25:10", "--k", "1", "--pipeline=dense:10", "--k", "2"), WR_OK);
    cr_assert_eq(got.pipelines.n, 2u);
    cr_assert_str_eq(got.pipelines.item[0], "bm25:10");
    cr_assert_str_eq(got.pipelines.item[1], "dense:10");
    cr_assert_eq(got.k, 2u);
}

Test(command, two_dashes_end_the_options)
{
    cr_assert_eq(PARSE("-", "--", "--fast", "--"), WR_OK);
    cr_assert_eq(noperands, 3u);
    cr_assert_str_eq(operand[0], "-");
    cr_assert_str_eq(operand[1], "--fast");
    cr_assert_str_eq(operand[2], "--");
    cr_assert(!got.fast);
}

Test(command, the_environment_gives_way_to_options)
{
    setenv("WEIR_K", "7", 1);
    setenv("WEIR_BUDGET_MS", "50", 1);
    setenv("WEIR_PIPELINE", "bm25:5", 1);
    setenv("WEIR_M", "map", 1);
    setenv("WEIR_INDEX", "", 1);
    setenv("WEIR_FAST", "1", 1);
    cr_assert_eq(PARSE("--k", "3"), WR_OK);
    cr_assert_eq(got.k, 3u);
    cr_assert_eq(got.budget, 50);
    cr_assert_eq(got.pipelines.n, 1u);
    cr_assert_str_eq(got.measure, "map");
    cr_assert_null(got.upper);
    cr_assert_null(got.index);
    cr_assert(!got.fast);
    cr_assert_eq(PARSE("--pipeline", "dense:5"), WR_OK);
    cr_assert_eq(got.pipelines.n, 1u);
    cr_assert_str_eq(got.pipelines.item[0], "dense:5");
}

Test(command, what_does_not_parse_is_a_usage_error, .init = cr_redirect_stderr)
{
    cr_assert_eq(PARSE("--nothing"), WR_EARG);
    cr_assert_eq(PARSE("--ind", "x"), WR_EARG);
    cr_assert_eq(PARSE("-z"), WR_EARG);
    cr_assert_eq(PARSE("--index"), WR_EARG);
    cr_assert_eq(PARSE("--index", "--fast"), WR_EARG);
    cr_assert_eq(PARSE("--fast=yes"), WR_EARG);
    cr_assert_eq(PARSE("a", "b", "c", "d"), WR_EARG);
    static const char *const no_size[] = {"", "-1", "+1", " 1", "1.5", "1x", "99999999999999999999999", "0x10"};
    for (size_t i = 0; i < sizeof no_size / sizeof no_size[0]; i++) cr_assert_eq(PARSE("--k", no_size[i]), WR_EARG);
    static const char *const no_number[] = {"", "x", "1x", "nan", "inf", "1e999", " 1"};
    for (size_t i = 0; i < sizeof no_number / sizeof no_number[0]; i++)
        cr_assert_eq(PARSE("--budget-ms", no_number[i]), WR_EARG);
    setenv("WEIR_K", "many", 1);
    cr_assert_eq(PARSE("x"), WR_EARG);
}

Test(command, a_usage_error_is_one_sentence, .init = cr_redirect_stderr)
{
    PARSE("--k", "ten");
    fflush(stderr);
    cr_assert_stderr_eq_str("weir test: --k ten: a whole number without a sign was expected (see weir test --help)\n");
}

Test(command, more_repeats_than_a_table_has_are_refused, .init = cr_redirect_stderr)
{
    const char *argv[WR_OPTION_LIST_MAX + 2] = {"test"};
    for (int i = 1; i < WR_OPTION_LIST_MAX + 2; i++) argv[i] = "--pipeline=x";
    cr_assert_eq(parse(WR_OPTION_LIST_MAX + 1, argv), WR_OK);
    cr_assert_eq(parse(WR_OPTION_LIST_MAX + 2, argv), WR_EARG);
}

Test(command, help_names_every_option, .init = cr_redirect_stdout)
{
    cr_assert_eq(PARSE("--k", "3", "--help"), WR_STOPPED);
    fflush(stdout);
    static const char want[] = "weir test [options] A\n\nTests.\n\nOptions:\n"
                               "  --fast                      a flag\n"
                               "  --no-slow                   a flag that clears\n"
                               "  --index DIR                 text\n"
                               "  -k, --k N                   a size\n"
                               "  --budget-ms B               a number\n"
                               "  --pipeline P                may repeat\n"
                               "  -m, --m M                   one letter\n"
                               "  -M, --M N                   another letter\n"
                               "  -q, --q                     a flag of one letter\n";
    char printed[sizeof want + 1] = {0}; /* Criterion's own comparison errs beyond 512 bytes */
    cr_assert_eq(fread(printed, 1, sizeof want, cr_get_redirected_stdout()), sizeof want - 1);
    cr_assert_str_eq(printed, want);
}

Test(command, a_failure_is_printed_with_its_exit_status, .init = cr_redirect_stderr)
{
    wr_err err;
    wr_fail(&err, WR_EFORMAT, "a.tsv: line 3: bad");
    cr_assert_eq(wr_command_fail(&command, WR_EFORMAT, &err), 4);
    fflush(stderr);
    cr_assert_stderr_eq_str("weir test: a.tsv: line 3: bad\n");
}
