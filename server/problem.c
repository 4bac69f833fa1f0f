#include "server/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct kind {
    unsigned status;
    const char *name, *title;
} kinds[WR_PROBLEMS] = {
    [WR_PROBLEM_NONE] = {200, "none", "No problem"},
    [WR_PROBLEM_MALFORMED_JSON] = {400, "malformed_json", "The body is not the JSON that was expected"},
    [WR_PROBLEM_BAD_REQUEST] = {400, "bad_request", "The request is malformed"},
    [WR_PROBLEM_UNAUTHORIZED] = {401, "unauthorized", "A valid key is needed"},
    [WR_PROBLEM_NO_ROUTE] = {404, "unknown_route", "No such route"},
    [WR_PROBLEM_NO_INDEX] = {404, "unknown_index", "No such index"},
    [WR_PROBLEM_NO_DOCUMENT] = {404, "unknown_document", "No such document"},
    [WR_PROBLEM_METHOD] = {405, "method_not_allowed", "The route does not take this method"},
    [WR_PROBLEM_TOO_LARGE] = {413, "payload_too_large", "The body is too large"},
    [WR_PROBLEM_MISSING_FIELD] = {422, "missing_field", "A required field is missing"},
    [WR_PROBLEM_UNKNOWN_FIELD] = {422, "unknown_field", "Unknown field"},
    [WR_PROBLEM_INVALID_FIELD] = {422, "invalid_field", "A field has a value that is refused"},
    [WR_PROBLEM_BAD_PIPELINE] = {422, "bad_pipeline", "The pipeline cannot be run"},
    [WR_PROBLEM_FILTER] = {422, "unsupported_filter", "Filters are not supported"},
    [WR_PROBLEM_NO_MODEL] = {422, "unknown_model", "No such model is loaded"},
    [WR_PROBLEM_QUEUE_FULL] = {429, "queue_full", "Too many requests are waiting"},
    [WR_PROBLEM_BUFFERS_FULL] = {429, "buffers_full", "Too many bodies are being received"},
    [WR_PROBLEM_INTERNAL] = {500, "internal", "The server failed"},
    [WR_PROBLEM_STARTING] = {503, "starting", "The server is not ready yet"},
    [WR_PROBLEM_DRAINING] = {503, "draining", "The server is shutting down"},
    [WR_PROBLEM_DEADLINE] = {504, "deadline", "The budget ended before the work was done"},
};

bool wr_problem_set(wr_problem *problem, wr_problem_code code, const char *field, const char *fmt, ...)
{
    char text[sizeof problem->detail.text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    wr_fail(&problem->detail, WR_EARG, "%s", text);
    problem->code = code;
    problem->retry_after_ms = 0;
    snprintf(problem->field, sizeof problem->field, "%s", field ? field : "");
    return false;
}

unsigned wr_problem_status(wr_problem_code code)
{
    return kinds[code].status;
}

const char *wr_problem_name(wr_problem_code code)
{
    return kinds[code].name;
}

static void member(wr_out *out, const char *name, const char *value)
{
    wr_out_printf(out, ",\"%s\":", name);
    wr_out_string(out, value, strlen(value));
}

void wr_problem_open(wr_out *out, const wr_problem *problem, const char *instance, const char *request_id)
{
    const struct kind *kind = &kinds[problem->code];
    wr_out_printf(out, "{\"type\":\"urn:weir:problem:%s\"", kind->name);
    member(out, "title", kind->title);
    wr_out_printf(out, ",\"status\":%u", kind->status);
    member(out, "detail", problem->detail.text);
    member(out, "instance", instance);
    member(out, "code", kind->name);
    if (problem->field[0]) member(out, "field", problem->field);
    if (request_id && *request_id) member(out, "request_id", request_id);
    if (problem->retry_after_ms) wr_out_printf(out, ",\"retry_after_ms\":%llu", (unsigned long long)problem->retry_after_ms);
}

void wr_problem_write(wr_out *out, const wr_problem *problem, const char *instance, const char *request_id)
{
    wr_problem_open(out, problem, instance, request_id);
    wr_out_puts(out, "}");
}
