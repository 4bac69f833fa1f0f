#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "server/out.h"
#include "tests/testlib.h"

/* What was written, as a string. */
static const char *text(wr_out *out)
{
    wr_out_raw(out, "", 1);
    cr_assert_not(out->failed);
    return out->bytes;
}

static void is_float(float value, const char *expected)
{
    wr_out out = {0};
    wr_out_float(&out, value);
    cr_assert_str_eq(text(&out), expected);
    wr_out_release(&out);
}

Test(out, floats_are_short)
{
    is_float(0, "0");
    is_float(1, "1");
    is_float(-2.5f, "-2.5");
    is_float(7.31f, "7.31");
    is_float(0.1f, "0.1");
    is_float(0.031f, "0.031");
    is_float(1.0f / 3, "0.33333334");
    is_float(16777216, "16777216");
    is_float(100000, "100000");
    is_float(2e-5f, "0.00002");
    is_float(1e30f, "1e+30");
    is_float(-1e-20f, "-1e-20");
    is_float(NAN, "null");
    is_float(INFINITY, "null");
}

static void comes_back(float value)
{
    wr_out out = {0};
    wr_out_float(&out, value);
    const char *s = text(&out);
    cr_assert_eq((float)strtod(s, NULL), value, "%a is written as %s", (double)value, s);
    cr_assert_eq(strtof(s, NULL), value, "%a is written as %s", (double)value, s);
    wr_out_release(&out);
}

Test(out, every_float_comes_back_from_its_digits)
{
    wr_test_random random = {11};
    for (int i = 0; i < 300000; i++) {
        uint32_t bits = (uint32_t)wr_test_u64(&random);
        float value;
        memcpy(&value, &bits, sizeof value);
        if (isfinite(value)) comes_back(value);
        comes_back(wr_test_normal(&random) * 10);
        comes_back((float)wr_test_uniform(&random));
    }
}

Test(out, strings_are_what_a_parser_reads_back)
{
    static const char *const strings[] = {"", "plain", "\"quoted\" \\ / \b\f\n\r\t \x01\x1f\x7f", "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x90\x9f"};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        wr_out out = {0};
        json_t *value;
        wr_out_puts(&out, "[");
        wr_out_string(&out, strings[i], strlen(strings[i]));
        wr_out_puts(&out, "]");
        cr_assert_eq(wr_json_parse(&value, out.bytes, out.n, "out", NULL), WR_OK);
        cr_assert_str_eq(json_string_value(json_array_get(value, 0)), strings[i]);
        json_decref(value);
        wr_out_release(&out);
    }
}

Test(out, bytes_that_are_no_utf8_become_replacement_characters)
{
    wr_out out = {0};
    wr_out_string(&out, "a\xff" "b\xe2\x82", 5);
    cr_assert_str_eq(text(&out), "\"a\xef\xbf\xbd" "b\xef\xbf\xbd\"");
    wr_out_release(&out);
}

Test(out, a_nul_inside_a_string_is_escaped)
{
    wr_out out = {0};
    wr_out_string(&out, "a\0b", 3);
    cr_assert_str_eq(text(&out), "\"a\\u0000b\"");
    wr_out_release(&out);
}

Test(out, milliseconds_have_three_digits)
{
    const struct { double ms; const char *text; } cases[] = {
        {0, "0.000"}, {41.3, "41.300"}, {0.0004, "0.000"}, {0.0006, "0.001"}, {1234567.8915, "1234567.892"}, {-1, "0.000"}, {NAN, "0.000"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wr_out out = {0};
        wr_out_ms(&out, cases[i].ms);
        cr_assert_str_eq(text(&out), cases[i].text);
        wr_out_release(&out);
    }
}

Test(out, base64_has_its_padding)
{
    const struct { const char *in, *text; } cases[] = {
        {"", "\"\""}, {"f", "\"Zg==\""}, {"fo", "\"Zm8=\""}, {"foo", "\"Zm9v\""}, {"foob", "\"Zm9vYg==\""}, {"\xff\xfe\xfd", "\"//79\""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wr_out out = {0};
        wr_out_base64(&out, cases[i].in, strlen(cases[i].in));
        cr_assert_str_eq(text(&out), cases[i].text);
        wr_out_release(&out);
    }
}

Test(out, numbers_are_as_they_were_written)
{
    wr_out out = {0};
    wr_out_number(&out, 50);
    wr_out_puts(&out, " ");
    wr_out_number(&out, 0.1);
    wr_out_puts(&out, " ");
    wr_out_u64(&out, UINT64_MAX);
    cr_assert_str_eq(text(&out), "50 0.1 18446744073709551615");
    wr_out_release(&out);
}
