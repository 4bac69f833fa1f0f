#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "tests/testlib.h"

static wr_status parse(const char *text, wr_err *err)
{
    json_t *value;
    wr_status st = wr_json_parse(&value, text, strlen(text), "here", err);
    cr_assert_eq(value == NULL, st != WR_OK);
    json_decref(value);
    return st;
}

Test(json, what_is_malformed_is_refused_with_the_place)
{
    static const char *const bad[] = {
        "",
        "{",
        "{\"a\":1,}",
        "[1 2]",
        "{\"a\":1}x",
        "{\"a\":1,\"a\":2}",
        "nul",
        "\"\xff\"",
        "\"\\ud800\"",
        "{\"a\":1e999}",
        "[01]",
        "{'a':1}",
        "\"a\nb\"",
        "[1]]",
        "{\"a\" 1}",
        "\"",
        "[\"\\x\"]",
        "[+1]",
        "{\"a\":1}{\"b\":2}",
        "// x\n1",
        "[NaN]",
    };
    wr_err err;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(parse(bad[i], &err), WR_EFORMAT, "%s", bad[i]);
        cr_assert_eq(strncmp(err.text, "here: not valid JSON at byte ", 29), 0, "%s", err.text);
    }
}

Test(json, nesting_is_limited)
{
    char text[2 * WR_JSON_DEPTH + 3];
    wr_err err;
    memset(text, '[', WR_JSON_DEPTH);
    memset(text + WR_JSON_DEPTH, ']', WR_JSON_DEPTH);
    text[2 * WR_JSON_DEPTH] = 0;
    cr_assert_eq(parse(text, &err), WR_OK);
    memset(text, '[', WR_JSON_DEPTH + 1);
    memset(text + WR_JSON_DEPTH + 1, ']', WR_JSON_DEPTH + 1);
    text[2 * WR_JSON_DEPTH + 2] = 0;
    cr_assert_eq(parse(text, &err), WR_EFORMAT);
    cr_assert_str_eq(err.text, "here: JSON nested deeper than 64");
}

Test(json, brackets_inside_strings_do_not_nest)
{
    char text[300] = "[\"\\\"";
    wr_err err;
    memset(text + 4, '[', 200);
    strcpy(text + 204, "\"]");
    cr_assert_eq(parse(text, &err), WR_OK, "%s", err.text);
}

Test(json, a_nul_inside_a_string_is_kept)
{
    json_t *value;
    cr_assert_eq(wr_json_parse(&value, "[\"a\\u0000b\"]", 12, "here", NULL), WR_OK);
    cr_assert_eq(json_string_length(json_array_get(value, 0)), 3u);
    json_decref(value);
}

Test(json, a_nul_outside_of_strings_is_refused)
{
    json_t *value;
    cr_assert_eq(wr_json_parse(&value, "[1]\0", 4, "here", NULL), WR_EFORMAT);
    cr_assert_eq(wr_json_parse(&value, "[1\0]", 4, "here", NULL), WR_EFORMAT);
}

Test(json, files_are_limited_in_size)
{
    json_t *value;
    wr_err err;
    const char *path = wr_test_text("a.json", "{\"a\": 1}");
    cr_assert_eq(wr_json_load(&value, path, 8, &err), WR_OK);
    cr_assert_eq(json_integer_value(json_object_get(value, "a")), 1);
    json_decref(value);
    cr_assert_eq(wr_json_load(&value, path, 7, &err), WR_EFORMAT);
    cr_assert_null(value);
    cr_assert_eq(wr_json_load(&value, wr_test_path("none"), 100, &err), WR_ENOTFOUND);
    cr_assert_eq(wr_json_load(&value, wr_test_text("b.json", "{\"a\""), 100, &err), WR_EFORMAT);
    cr_assert(strstr(err.text, "b.json: not valid JSON"), "%s", err.text);
}

Test(json, an_integer_of_a_file_that_is_too_large_becomes_the_largest)
{
    static const char text[] = "{\"a\": 1000000000000000019884624838656, \"b\": -99999999999999999999,\"c\":9223372036854775808,"
                               "\"d\": \"1\\\"00000000000000000000\", \"e\": 100000000000000000000.5, \"f\": 1e00000000000000000000,"
                               "\"g\": 9223372036854775807, \"h\": 0.10000000000000000000001, \"i\": 1e-00000000000000000001}";
    json_t *value;
    wr_err err = {0};
    cr_assert_eq(wr_json_load(&value, wr_test_text("a.json", text), 1000, &err), WR_OK, "%s", err.text);
    cr_assert_eq(json_integer_value(json_object_get(value, "a")), INT64_MAX);
    cr_assert_eq(json_integer_value(json_object_get(value, "b")), -INT64_MAX);
    cr_assert_eq(json_integer_value(json_object_get(value, "c")), INT64_MAX);
    cr_assert_str_eq(json_string_value(json_object_get(value, "d")), "1\"00000000000000000000");
    cr_assert_eq(json_real_value(json_object_get(value, "e")), 1e20);
    cr_assert_eq(json_real_value(json_object_get(value, "f")), 1);
    cr_assert_eq(json_integer_value(json_object_get(value, "g")), INT64_MAX);
    cr_assert_eq(json_real_value(json_object_get(value, "h")), 0.1);
    cr_assert_eq(json_real_value(json_object_get(value, "i")), 0.1);
    json_decref(value);
    cr_assert_eq(parse("[100000000000000000000]", &err), WR_EFORMAT, "of a text from elsewhere it is an error");
}

Test(json, half_a_surrogate_pair_in_a_line_becomes_a_replacement)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"[\"\\ud83d\"]", "\xef\xbf\xbd"},
        {"[\"\\uDE00x\"]", "\xef\xbf\xbdx"},
        {"[\"\\ud83d\\ude00\"]", "\xf0\x9f\x98\x80"},
        {"[\"\\ud83d\\ud83d\\ude00\"]", "\xef\xbf\xbd\xf0\x9f\x98\x80"},
        {"[\"\\\\ud83d \\ude00\"]", "\\ud83d \xef\xbf\xbd"},
        {"[\"\\ud83d\\u0041\"]", "\xef\xbf\xbd"
                                 "A"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *value;
        wr_err err = {0};
        cr_assert_eq(wr_json_parse_line(&value, cases[i].in, strlen(cases[i].in), "here", &err), WR_OK, "%s", err.text);
        cr_assert_str_eq(json_string_value(json_array_get(value, 0)), cases[i].out);
        json_decref(value);
    }
    json_t *value;
    cr_assert_eq(wr_json_parse_line(&value, "[\"\\ud83d\"", 9, "here", NULL), WR_EFORMAT);
    cr_assert_eq(wr_json_parse_line(&value, "[\"\\ud8", 6, "here", NULL), WR_EFORMAT);
    cr_assert_eq(wr_json_parse_line(&value, "[\"\\ud83d\\", 9, "here", NULL), WR_EFORMAT);
}
