#include <criterion/criterion.h>
#include <string.h>

#include "data/json.h"
#include "server/problem.h"

static json_t *written(const wr_problem *problem)
{
    wr_out out = {0};
    json_t *value;
    wr_problem_write(&out, problem, "/v1/search", "abc");
    cr_assert_not(out.failed);
    cr_assert_eq(wr_json_parse(&value, out.bytes, out.n, "problem", NULL), WR_OK);
    wr_out_release(&out);
    return value;
}

static const char *member(const json_t *value, const char *name)
{
    return json_string_value(json_object_get(value, name));
}

Test(problem, has_the_members_of_rfc_9457)
{
    wr_problem problem = {0};
    cr_assert_not(wr_problem_set(&problem, WR_PROBLEM_UNKNOWN_FIELD, "kk", "kk: no such field"));
    json_t *value = written(&problem);
    cr_assert_str_eq(member(value, "type"), "urn:weir:problem:unknown_field");
    cr_assert_str_eq(member(value, "title"), "Unknown field");
    cr_assert_eq(json_integer_value(json_object_get(value, "status")), 422);
    cr_assert_str_eq(member(value, "detail"), "kk: no such field");
    cr_assert_str_eq(member(value, "instance"), "/v1/search");
    cr_assert_str_eq(member(value, "code"), "unknown_field");
    cr_assert_str_eq(member(value, "field"), "kk");
    cr_assert_str_eq(member(value, "request_id"), "abc");
    cr_assert_null(json_object_get(value, "retry_after_ms"));
    json_decref(value);
}

Test(problem, names_no_field_where_none_applies_and_a_time_where_one_does)
{
    wr_problem problem = {0};
    wr_problem_set(&problem, WR_PROBLEM_QUEUE_FULL, NULL, "full");
    problem.retry_after_ms = 120;
    json_t *value = written(&problem);
    cr_assert_null(json_object_get(value, "field"));
    cr_assert_eq(json_integer_value(json_object_get(value, "retry_after_ms")), 120);
    json_decref(value);
}

Test(problem, every_code_has_a_status_and_a_name_of_its_own)
{
    for (int i = WR_PROBLEM_NONE + 1; i < WR_PROBLEMS; i++) {
        unsigned status = wr_problem_status((wr_problem_code)i);
        cr_assert(status >= 400 && status <= 504, "%d", i);
        cr_assert_not_null(wr_problem_name((wr_problem_code)i), "%d", i);
        for (int j = 1; j < i; j++)
            cr_assert_str_neq(wr_problem_name((wr_problem_code)i), wr_problem_name((wr_problem_code)j));
    }
}

Test(problem, what_a_client_sent_cannot_break_the_json)
{
    wr_problem problem = {0};
    wr_problem_set(&problem, WR_PROBLEM_UNKNOWN_FIELD, "a\"b\n\xff", "%s: no such field", "a\"b\n\xff");
    json_decref(written(&problem));
}
