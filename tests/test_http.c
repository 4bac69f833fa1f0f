#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/http.h"
#include "server/queue.h"
#include "tests/testlib.h"

/* A server that answers each request with the length of its body, the path, and what was odd about it. "/slow..." is
 * answered by another thread. */
static struct world {
    wr_http *http;
    wr_queue *queue;
    pthread_t worker;
    atomic_int done, lost;
} world;

static void answer(wr_call *call)
{
    call->status = call->too_large ? 413 : call->no_room ? 429 : 200;
    call->content_type = "text/plain";
    snprintf(call->request_id, sizeof call->request_id, "%s", call->wanted_id ? call->wanted_id : "none");
    wr_out_printf(&call->reply, "%s %zu %s %.100s", call->method, call->body_n, call->path, call->index ? call->index : "-");
}

static void begin(void *ctx, wr_call *call)
{
    (void)ctx;
    if (strcmp(call->path, "/early")) return;
    answer(call);
    call->status = 401;
}

static void ready(void *ctx, wr_call *call)
{
    (void)ctx;
    if (strncmp(call->path, "/slow", 5)) {
        answer(call);
        return;
    }
    wr_call_suspend(call);
    cr_assert_eq(wr_queue_push(world.queue, call, 0), WR_OK);
}

static void done(void *ctx, wr_call *call, bool delivered)
{
    (void)ctx, (void)call;
    atomic_fetch_add(delivered ? &world.done : &world.lost, 1);
}

static void *work(void *arg)
{
    wr_call *call;
    (void)arg;
    while ((call = wr_queue_pop(world.queue))) {
        answer(call);
        wr_call_resume(call);
    }
    return NULL;
}

static void open_world(void)
{
    wr_err err;
    const wr_http_options options = {"127.0.0.1:0", 10000, 64, {NULL, begin, ready, done}};
    cr_assert_eq(wr_queue_open(&world.queue, 64, &err), WR_OK);
    cr_assert_eq(wr_http_open(&world.http, &options, &err), WR_OK, "%s", err.text);
    pthread_create(&world.worker, NULL, work, NULL);
}

static void close_world(void)
{
    wr_http_close(world.http);
    wr_queue_end(world.queue);
    pthread_join(world.worker, NULL);
    wr_queue_close(world.queue);
}

static int dial(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval patience = {20, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sa.sin_port = htons((uint16_t)atoi(strrchr(wr_http_url(world.http), ':') + 1));
    return connect(fd, (struct sockaddr *)&sa, sizeof sa) ? close(fd), -1 : fd;
}

static void say(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0) return;
        bytes += sent;
        n -= (size_t)sent;
    }
}

static void say_text(int fd, const char *text)
{
    say(fd, text, strlen(text));
}

/* Reads until `answers` status lines and the last one's body have come, or the end. */
static size_t hear(int fd, char *out, size_t cap, const char *until)
{
    size_t n = 0;
    ssize_t got;
    while (n + 1 < cap && (got = recv(fd, out + n, cap - n - 1, 0)) > 0) {
        n += (size_t)got;
        out[n] = 0;
        if (until && strstr(out, until)) break;
    }
    out[n] = 0;
    return n;
}

static void exchange(const char *request, const char *expected)
{
    char text[4096];
    int fd = dial();
    say(fd, request, strlen(request));
    hear(fd, text, sizeof text, expected);
    cr_assert_not_null(strstr(text, expected), "to %.60s came %s", request, text);
    close(fd);
}

TestSuite(http, .init = open_world, .fini = close_world, .timeout = 60);

Test(http, a_request_is_answered)
{
    exchange("GET /a%2Fb?index=x%20y HTTP/1.1\r\nHost: a\r\n\r\n", "GET 0 /a%2Fb x%20y");
    exchange("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST 5 /p -");
    exchange("POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "POST 5 /p -");
    exchange("GET /h HTTP/1.1\r\nHost: a\r\nX-Request-ID: mine\r\n\r\n", "X-Request-ID: mine");
}

Test(http, another_thread_may_answer)
{
    for (int i = 0; i < 200; i++)
        exchange("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST 5 /slow -");
}

Test(http, a_connection_is_used_again)
{
    char text[4096];
    int fd = dial();
    for (int i = 0; i < 50; i++) {
        const char *request = i % 2 ? "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" : "GET /fast HTTP/1.1\r\nHost: a\r\n\r\n";
        say(fd, request, strlen(request));
        hear(fd, text, sizeof text, i % 2 ? "GET 0 /slow -" : "GET 0 /fast -");
        cr_assert_not_null(strstr(text, "200 OK"));
    }
    close(fd);
}

Test(http, a_body_that_is_too_large_is_read_and_refused)
{
    enum { N = 3000000 };
    char *body = calloc(1, N), text[4096];
    const char *head = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n";
    int fd = dial();
    say(fd, head, strlen(head));
    say(fd, body, N);
    hear(fd, text, sizeof text, "POST 0 /p -");
    cr_assert_not_null(strstr(text, " 413 "), "%s", text);
    say_text(fd, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"); /* the connection lives on */
    hear(fd, text, sizeof text, "GET 0 /next -");
    cr_assert_not_null(strstr(text, "200 OK"), "%s", text);
    close(fd);
    free(body);
}

Test(http, a_body_of_exactly_the_limit_is_taken)
{
    char request[10200], expected[] = "POST 10000 /p -";
    int n = snprintf(request, sizeof request, "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n%010000d", 0);
    cr_assert_lt(n, (int)sizeof request);
    exchange(request, expected);
}

Test(http, a_client_that_waits_for_100_gets_the_error_at_once)
{
    exchange("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n", " 401 ");
    exchange("POST /fine HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", "100 Continue");
}

Test(http, an_early_error_waits_for_the_body_otherwise)
{
    exchange("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /next HTTP/1.1\r\nHost: a\r\n\r\n", "GET 0 /next -");
}

Test(http, clients_that_hang_up_are_survived)
{
    for (int i = 0; i < 50; i++) {
        const char *request = i % 2 ? "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
                                    : "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhello";
        int fd = dial();
        say(fd, request, strlen(request));
        close(fd);
    }
    exchange("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "GET 0 /a -");
    for (int i = 0; i < 2000 && wr_http_calls(world.http); i++) usleep(1000);
    cr_assert_eq(wr_http_calls(world.http), 0, "%zu calls", wr_http_calls(world.http));
}

Test(http, refuses_connections_when_told_to_and_serves_those_that_are_open)
{
    char text[4096];
    int fd = dial();
    say_text(fd, "GET /one HTTP/1.1\r\nHost: a\r\n\r\n");
    hear(fd, text, sizeof text, "GET 0 /one -");
    wr_http_refuse(world.http);
    cr_assert_eq(dial(), -1);
    say_text(fd, "GET /two HTTP/1.1\r\nHost: a\r\n\r\n");
    hear(fd, text, sizeof text, "GET 0 /two -");
    cr_assert_not_null(strstr(text, "200 OK"), "%s", text);
    close(fd);
}

Test(percent, decodes_what_is_well_formed_and_refuses_the_rest)
{
    char out[8];
    cr_assert(wr_percent_decode("a%2Fb+", 6, out, sizeof out));
    cr_assert_str_eq(out, "a/b+");
    cr_assert(wr_percent_decode("", 0, out, sizeof out));
    cr_assert_str_eq(out, "");
    cr_assert(wr_percent_decode("%C3%A4", 6, out, sizeof out));
    cr_assert_str_eq(out, "\xc3\xa4");
    static const char *const bad[] = {"%", "%4", "%4g", "%g4", "%00", "abcdefgh"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_not(wr_percent_decode(bad[i], strlen(bad[i]), out, sizeof out), "%s", bad[i]);
}
