#include <criterion/criterion.h>
#include <string.h>

#include "data/status.h"
#include "data/utf8.h"

Test(status, a_sentence_carries_its_code)
{
    wr_err err;
    cr_assert_eq(wr_fail(&err, WR_EFORMAT, "%s: line %d", "a.tsv", 7), WR_EFORMAT);
    cr_assert_eq(err.code, WR_EFORMAT);
    cr_assert_str_eq(err.text, "a.tsv: line 7");
    cr_assert_eq(wr_fail(NULL, WR_EIO, "nobody listens"), WR_EIO);
}

Test(status, control_characters_cannot_forge_a_line)
{
    wr_err err;
    wr_fail(&err, WR_EARG, "%s", "a\nERROR\x1b[31m\x7f");
    cr_assert_str_eq(err.text, "a?ERROR?[31m?");
}

Test(status, a_long_sentence_is_cut_and_stays_utf8)
{
    wr_err err;
    char name[2000];
    for (size_t lead = 0; lead < 4; lead++) {
        memset(name, 'x', lead);
        for (size_t i = lead; i + 3 < sizeof name; i += 3) memcpy(name + i, "\xe2\x82\xac", 4);
        wr_fail(&err, WR_EARG, "%s", name);
        cr_assert_lt(strlen(err.text), sizeof err.text);
        cr_assert_gt(strlen(err.text), sizeof err.text - 10);
        cr_assert(wr_utf8_valid(err.text, strlen(err.text)));
    }
    memset(name, '\xff', sizeof name - 1);
    name[sizeof name - 1] = 0;
    wr_fail(&err, WR_EARG, "%s", name);
    cr_assert(wr_utf8_valid(err.text, strlen(err.text)));
}

Test(status, a_prefix_keeps_code_and_sentence)
{
    wr_err err;
    wr_fail(&err, WR_ENOTFOUND, "no config.json");
    cr_assert_eq(wr_fail_prefix(&err, "model %s", "m"), WR_ENOTFOUND);
    cr_assert_str_eq(err.text, "model m: no config.json");
}

Test(status, exit_statuses_are_the_contract)
{
    cr_assert_eq(wr_exit_status(WR_OK), 0);
    cr_assert_eq(wr_exit_status(WR_EARG), 2);
    cr_assert_eq(wr_exit_status(WR_EFORMAT), 4);
    cr_assert_eq(wr_exit_status(WR_EUNSUPPORTED), 4);
    cr_assert_eq(wr_exit_status(WR_EIO), 1);
    cr_assert_eq(wr_exit_status(WR_ENOTFOUND), 1);
    cr_assert_str_eq(wr_status_name(WR_EFULL), "WR_EFULL");
}
