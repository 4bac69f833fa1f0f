#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "server/api.h"

/* Requests that are answered before any index is asked, handed to the routes without a socket. */
static wr_config config;
static wr_api *api;
static wr_http_handler handler;

static void open_api(void)
{
    config = (wr_config){.queue = 4, .max_body = 1000};
    const wr_api_options options = {.config = &config, .coordinators = 1, .version = "test"};
    wr_err err;
    cr_assert_eq(wr_api_open(&api, &options, &err), WR_OK, "%s", err.text);
    handler = wr_api_handler(api);
}

static void close_api(void)
{
    wr_api_close(api);
}

static void ask(wr_call *call)
{
    call->began_ns = call->arrived_ns = wr_clock_now(&wr_clock_system);
    handler.begin(handler.ctx, call);
    if (!call->status) handler.ready(handler.ctx, call);
    cr_assert_neq(call->status, 0);
}

static void forget(wr_call *call)
{
    handler.done(handler.ctx, call, true);
    wr_out_release(&call->reply);
}

/* The status, and that the reply is a problem with this code. */
static void refused(wr_call call, unsigned status, const char *code)
{
    json_t *reply;
    ask(&call);
    cr_assert_eq(call.status, status, "%s: %u", call.path, call.status);
    cr_assert_str_eq(call.content_type, "application/problem+json");
    cr_assert_eq(wr_json_parse(&reply, call.reply.bytes, call.reply.n, "reply", NULL), WR_OK);
    cr_assert_str_eq(json_string_value(json_object_get(reply, "code")), code);
    cr_assert_str_eq(json_string_value(json_object_get(reply, "instance")), call.path);
    cr_assert_str_eq(json_string_value(json_object_get(reply, "request_id")), call.request_id);
    json_decref(reply);
    forget(&call);
}

static unsigned status_of(wr_call call)
{
    ask(&call);
    unsigned status = call.status;
    forget(&call);
    return status;
}

TestSuite(api, .init = open_api, .fini = close_api);

Test(api, says_503_while_indexes_are_opened_but_is_alive)
{
    cr_assert_eq(status_of((wr_call){.method = "GET", .path = "/livez"}), 200);
    refused((wr_call){.method = "GET", .path = "/readyz"}, 503, "starting");
    refused((wr_call){.method = "GET", .path = "/health"}, 503, "starting");
    refused((wr_call){.method = "POST", .path = "/v1/search"}, 503, "starting");
    wr_api_serve(api, NULL, NULL);
    cr_assert_eq(status_of((wr_call){.method = "GET", .path = "/readyz"}), 200);
}

Test(api, says_503_and_closes_while_it_drains)
{
    wr_api_serve(api, NULL, NULL);
    wr_api_drain(api);
    wr_call call = {.method = "POST", .path = "/v1/search"};
    ask(&call);
    cr_assert_eq(call.status, 503);
    cr_assert(call.close);
    cr_assert_gt(call.retry_after_s, 0);
    forget(&call);
    cr_assert_eq(status_of((wr_call){.method = "GET", .path = "/livez"}), 200);
    refused((wr_call){.method = "GET", .path = "/readyz"}, 503, "draining");
}

Test(api, routes_are_matched_whole)
{
    static const char *const none[] = {"/", "", "/v1", "/v1/searc", "/v1/search/", "/v1/searchx", "/v1/documents", "/v1/documents/",
                                       "/v1/documents/a/b", "/v1/indexes//search", "/v1/indexes/a", "/livez/"};
    wr_api_serve(api, NULL, NULL);
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        refused((wr_call){.method = "GET", .path = none[i]}, 404, "unknown_route");
}

Test(api, a_method_that_is_wrong_is_told_the_right_one)
{
    wr_call call = {.method = "DELETE", .path = "/v1/documents/a"};
    wr_api_serve(api, NULL, NULL);
    ask(&call);
    cr_assert_eq(call.status, 405);
    cr_assert_str_eq(call.allow, "GET, HEAD");
    forget(&call);
    refused((wr_call){.method = "GET", .path = "/v1/search"}, 405, "method_not_allowed");
    refused((wr_call){.method = "POST", .path = "/livez"}, 405, "method_not_allowed");
    cr_assert_eq(status_of((wr_call){.method = "HEAD", .path = "/livez"}), 200);
}

Test(api, bodies_are_checked_where_they_arrive)
{
    char bad[] = "{\"query\":", unknown[] = "{\"query\":\"a\",\"b\":1}";
    wr_api_serve(api, NULL, NULL);
    refused((wr_call){.method = "POST", .path = "/v1/search", .body = bad, .body_n = sizeof bad - 1}, 400, "malformed_json");
    refused((wr_call){.method = "POST", .path = "/v1/search", .body = unknown, .body_n = sizeof unknown - 1}, 422, "unknown_field");
    refused((wr_call){.method = "POST", .path = "/v1/search"}, 400, "malformed_json");
    refused((wr_call){.method = "POST", .path = "/v1/search", .too_large = true}, 413, "payload_too_large");
    refused((wr_call){.method = "POST", .path = "/v1/search", .no_room = true}, 429, "buffers_full");
    refused((wr_call){.method = "POST", .path = "/v1/search", .budget_ms = "1e999"}, 422, "invalid_field");
    refused((wr_call){.method = "POST", .path = "/v1/search", .budget_ms = "nan"}, 422, "invalid_field");
    refused((wr_call){.method = "POST", .path = "/v1/search", .budget_ms = "-1"}, 422, "invalid_field");
    refused((wr_call){.method = "GET", .path = "/v1/documents/%zz"}, 400, "bad_request");
}

Test(api, keys_are_asked_for_before_anything_is_told)
{
    wr_sha256_bytes("secret", 6, config.key[0]);
    config.nkeys = 1;
    wr_api_serve(api, NULL, NULL);
    wr_call call = {.method = "GET", .path = "/nowhere"};
    ask(&call);
    cr_assert_eq(call.status, 401);
    cr_assert(call.authenticate);
    forget(&call);
    refused((wr_call){.method = "GET", .path = "/metrics", .api_key = "wrong"}, 401, "unauthorized");
    refused((wr_call){.method = "GET", .path = "/metrics", .authorization = "Basic secret"}, 401, "unauthorized");
    refused((wr_call){.method = "GET", .path = "/nowhere", .api_key = "secret"}, 404, "unknown_route");
    cr_assert_eq(status_of((wr_call){.method = "GET", .path = "/metrics", .api_key = "secret"}), 200);
    cr_assert_eq(status_of((wr_call){.method = "GET", .path = "/metrics", .authorization = "bearer secret"}), 200);
    cr_assert_eq(status_of((wr_call){.method = "GET", .path = "/readyz"}), 200);
}

Test(api, ids_are_taken_over_when_they_are_harmless_and_else_made)
{
    static const char *const harmless[] = {"a", "0123-4567_89.ab:c/d+e=f@g"};
    static const char *const harmful[] = {"", "a b", "a\"b", "\xc3\xa4", "a\r\nb",
                                          "0123456789012345678901234567890123456789012345678901234567890123456789"};
    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
        wr_call call = {.method = "GET", .path = "/livez", .wanted_id = harmless[i]};
        ask(&call);
        cr_assert_str_eq(call.request_id, harmless[i]);
        forget(&call);
    }
    char last[72] = "";
    for (size_t i = 0; i < sizeof harmful / sizeof harmful[0]; i++) {
        wr_call call = {.method = "GET", .path = "/livez", .wanted_id = harmful[i]};
        ask(&call);
        cr_assert_eq(strlen(call.request_id), 16);
        cr_assert_str_neq(call.request_id, last);
        strcpy(last, call.request_id);
        forget(&call);
    }
}
