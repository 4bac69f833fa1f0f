#include "server/http.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "data/budget.h"
#include "server/listen.h"

/* Per connection: request line and headers, the answer's headers, and the buffer that bodies pass through. Browsers and
 * proxies stay below 16 KiB of headers. */
#define CONNECTION_BYTES ((size_t)32 << 10)

/* A client that is silent for so long inside a request, or between two, is gone. */
#define SILENCE_S 30u

/* A body has this long, and a second more for each 64 KiB that came: slower is no network, it is an attack. */
#define BODY_GRACE_NS 30000000000u
#define BODY_BYTES_PER_S 65536u

/* Bodies of all requests together, in units of max_body. */
#define BODIES_IN_MEMORY 32

#define FIRST_BODY 4096

/* A socket. In a list while it waits for headers, so that those who never send them can be told from the rest. */
typedef struct peer {
    int fd;
    uint64_t waits_since_ns; /* 0 inside a request */
    struct peer *next, **link;
    char address[INET6_ADDRSTRLEN];
} peer;

struct wr_http_connection {
    wr_http *http;
    struct MHD_Connection *mhd;
    bool suspended, complete, queued;
    size_t cap; /* of call.body */
    size_t received;
    wr_call call;
};

struct wr_http {
    struct MHD_Daemon *daemon;
    wr_http_options options;
    int fd;
    char url[96];
    atomic_size_t calls, uploads;
    size_t body_bytes; /* reserved by all calls; used by libmicrohttpd's thread alone, as the list of peers */
    peer *peers;
    size_t npeers;
};

static uint64_t now(void)
{
    return wr_clock_now(&wr_clock_system);
}

/* ---- sockets ---- */

/* Once half of the connections are in use, those that have been waiting for headers for too long are hung up on.
 * libmicrohttpd's own timeout starts again with every byte that trickles in. */
static void sweep(wr_http *http)
{
    if (http->npeers * 2 < http->options.connections) return;
    uint64_t t = now();
    for (peer *p = http->peers; p; p = p->next)
        if (p->waits_since_ns && t - p->waits_since_ns > SILENCE_S * 1000000000ull) shutdown(p->fd, SHUT_RDWR);
}

static void name_address(peer *p, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *sa = info ? info->client_addr : NULL;
    if (sa && sa->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, p->address, sizeof p->address);
    else if (sa && sa->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, p->address, sizeof p->address);
}

static void on_socket(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode what)
{
    wr_http *http = cls;
    peer *p = *context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
        if (!(p = calloc(1, sizeof *p))) return;
        p->fd = info ? info->connect_fd : -1;
        p->waits_since_ns = now();
        name_address(p, mhd);
        p->next = http->peers;
        p->link = &http->peers;
        if (p->next) p->next->link = &p->next;
        http->peers = p;
        http->npeers++;
        *context = p;
        sweep(http);
    } else if (p) {
        *p->link = p->next;
        if (p->next) p->next->link = p->link;
        http->npeers--;
        free(p);
        *context = NULL;
    }
}

static peer *peer_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* ---- the answer ---- */

static void header(struct MHD_Response *response, const char *name, const char *value)
{
    if (value && *value) MHD_add_response_header(response, name, value);
}

static enum MHD_Result send_answer(struct wr_http_connection *c)
{
    wr_call *call = &c->call;
    char seconds[16] = "";
    bool whole = !call->reply.failed;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(whole ? call->reply.n : 0, whole ? call->reply.bytes : NULL, MHD_RESPMEM_MUST_FREE);
    if (!response) return MHD_NO;
    call->reply_n = whole ? call->reply.n : 0;
    if (whole) call->reply = (wr_out){0}; /* taken over */
    else call->status = MHD_HTTP_INTERNAL_SERVER_ERROR; /* out of memory: a status without a body */
    if (call->retry_after_s) snprintf(seconds, sizeof seconds, "%u", call->retry_after_s);
    header(response, MHD_HTTP_HEADER_CONTENT_TYPE, call->content_type);
    header(response, "X-Request-ID", call->request_id);
    header(response, "X-Content-Type-Options", "nosniff");
    header(response, MHD_HTTP_HEADER_ALLOW, call->allow);
    header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, call->authenticate ? "Bearer realm=\"weir\"" : NULL);
    header(response, MHD_HTTP_HEADER_CONNECTION, call->close ? "close" : NULL);
    header(response, "Weir-Degraded", call->degraded);
    enum MHD_Result queued = MHD_queue_response(c->mhd, call->status, response);
    MHD_destroy_response(response);
    c->queued = true;
    return queued;
}

void wr_call_suspend(wr_call *call)
{
    if (!call->connection) return;
    call->connection->suspended = true;
    MHD_suspend_connection(call->connection->mhd);
}

void wr_call_resume(wr_call *call)
{
    if (call->connection) MHD_resume_connection(call->connection->mhd);
}

/* ---- the request ---- */

static const char *lookup(struct MHD_Connection *mhd, enum MHD_ValueKind kind, const char *name)
{
    return MHD_lookup_connection_value(mhd, kind, name);
}

static struct wr_http_connection *begin(wr_http *http, struct MHD_Connection *mhd, const char *url, const char *method)
{
    struct wr_http_connection *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    peer *p = peer_of(mhd);
    if (p) p->waits_since_ns = 0;
    c->http = http;
    c->mhd = mhd;
    c->call = (wr_call){.method = method,
                        .path = url,
                        .index = lookup(mhd, MHD_GET_ARGUMENT_KIND, "index"),
                        .authorization = lookup(mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION),
                        .api_key = lookup(mhd, MHD_HEADER_KIND, "X-API-Key"),
                        .wanted_id = lookup(mhd, MHD_HEADER_KIND, "X-Request-ID"),
                        .budget_ms = lookup(mhd, MHD_HEADER_KIND, "Weir-Budget-Ms"),
                        .peer = p ? p->address : "",
                        .began_ns = now(),
                        .connection = c};
    atomic_fetch_add(&http->uploads, 1);
    return c;
}

/* The length that the client announced; 0 when it did not. libmicrohttpd has checked the digits. */
static size_t announced(struct MHD_Connection *mhd)
{
    const char *text = lookup(mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    unsigned long long n = text ? strtoull(text, NULL, 10) : 0;
    return n > SIZE_MAX / 4 ? SIZE_MAX / 4 : (size_t)n;
}

/* The request is there as far as we want it. */
static void complete(struct wr_http_connection *c)
{
    c->complete = true;
    c->call.arrived_ns = now();
    atomic_fetch_add(&c->http->calls, 1);
    atomic_fetch_sub(&c->http->uploads, 1);
}

/* Headers are known. A client that waits for "100 Continue" gets an error at once and need not send its body; one that
 * announces more than we would even discard, too. */
static enum MHD_Result on_headers(wr_http *http, struct wr_http_connection *c)
{
    wr_call *call = &c->call;
    size_t length = announced(c->mhd);
    call->too_large = length > http->options.max_body;
    http->options.handler.begin(http->options.handler.ctx, call);
    bool waits = lookup(c->mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_EXPECT) != NULL;
    if (call->status && (waits || length > WR_HTTP_DISCARD)) {
        complete(c);
        call->close = true;
        return send_answer(c);
    }
    return MHD_YES;
}

static void drop_body(struct wr_http_connection *c)
{
    c->http->body_bytes -= c->cap;
    free(c->call.body);
    c->call.body = NULL;
    c->call.body_n = c->cap = 0;
}

/* Room for n more bytes of body and a NUL; false when it is refused, the reason set. */
static bool make_room(struct wr_http_connection *c, size_t n)
{
    wr_http *http = c->http;
    wr_call *call = &c->call;
    size_t max = http->options.max_body, need = call->body_n + n + 1, cap = c->cap ? c->cap : FIRST_BODY;
    if (call->body_n + n > max) return call->too_large = true, false;
    if (need <= c->cap) return true;
    if (c->cap == 0 && announced(c->mhd) >= FIRST_BODY) cap = announced(c->mhd) + 1;
    while (cap < need) cap *= 2;
    if (http->body_bytes - c->cap + cap > BODIES_IN_MEMORY * (max + 1)) return call->no_room = true, false;
    char *body = realloc(call->body, cap);
    if (!body) return call->no_room = true, false;
    http->body_bytes += cap - c->cap;
    call->body = body;
    c->cap = cap;
    return true;
}

static enum MHD_Result on_body(struct wr_http_connection *c, const char *bytes, size_t n)
{
    wr_call *call = &c->call;
    c->received += n;
    if (c->received > WR_HTTP_DISCARD) return MHD_NO;
    if (now() - call->began_ns > BODY_GRACE_NS + c->received / BODY_BYTES_PER_S * 1000000000ull) return MHD_NO;
    if (call->status || call->too_large || call->no_room) return MHD_YES; /* discarded */
    if (!make_room(c, n)) {
        drop_body(c);
        return MHD_YES;
    }
    memcpy(call->body + call->body_n, bytes, n);
    call->body_n += n;
    call->body[call->body_n] = 0;
    return MHD_YES;
}

/* Called with headers, with each part of the body, when the body is complete, and again after wr_call_resume(). */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                  const char *version, const char *bytes, size_t *n, void **context)
{
    wr_http *http = cls;
    struct wr_http_connection *c = *context;
    (void)version;
    if (!c) {
        if (!(*context = c = begin(http, mhd, url, method))) return MHD_NO;
        return on_headers(http, c);
    }
    if (*n) {
        size_t part = *n;
        *n = 0;
        return on_body(c, bytes, part);
    }
    if (!c->complete) {
        complete(c);
        if (!c->call.status) http->options.handler.ready(http->options.handler.ctx, &c->call);
        if (c->suspended) return MHD_YES;
    }
    return send_answer(c);
}

static void on_done(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode how)
{
    wr_http *http = cls;
    struct wr_http_connection *c = *context;
    if (!c) return;
    peer *p = peer_of(mhd);
    if (p) p->waits_since_ns = now();
    http->options.handler.done(http->options.handler.ctx, &c->call,
                               c->queued && how == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    atomic_size_t *count = c->complete ? &http->calls : &http->uploads;
    drop_body(c);
    wr_out_release(&c->call.reply);
    free(c);
    *context = NULL;
    atomic_fetch_sub(count, 1);
}

/* ---- life ---- */

/* Paths and arguments are handed on as they came: a docno may hold an encoded slash. */
static size_t keep_escapes(void *cls, struct MHD_Connection *mhd, char *s)
{
    (void)cls, (void)mhd;
    return strlen(s);
}

static void ignore_log(void *cls, const char *fmt, va_list args)
{
    (void)cls, (void)fmt, (void)args; /* what clients do wrong is no news for the operator */
}

wr_status wr_http_open(wr_http **out, const wr_http_options *options, wr_err *err)
{
    *out = NULL;
    wr_http *http = calloc(1, sizeof *http);
    if (!http) return wr_fail(err, WR_ENOMEM, "http: out of memory");
    http->options = *options;
    wr_status st = wr_listen(options->listen, &http->fd, http->url, sizeof http->url, err);
    if (st) return free(http), st;
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, http,
        MHD_OPTION_EXTERNAL_LOGGER, ignore_log, NULL, MHD_OPTION_LISTEN_SOCKET, http->fd,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES, MHD_OPTION_CONNECTION_LIMIT, (unsigned)options->connections,
        MHD_OPTION_CONNECTION_TIMEOUT, SILENCE_S, MHD_OPTION_NOTIFY_COMPLETED, on_done, http,
        MHD_OPTION_NOTIFY_CONNECTION, on_socket, http, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_END);
    if (!http->daemon) {
        close(http->fd);
        free(http);
        return wr_fail(err, WR_EIO, "%s: libmicrohttpd does not start", options->listen);
    }
    *out = http;
    return WR_OK;
}

const char *wr_http_url(const wr_http *http)
{
    return http->url;
}

void wr_http_refuse(wr_http *http)
{
    /* libmicrohttpd forgets the socket; shutting it down makes the kernel refuse instead of letting clients wait in a
     * queue that nobody serves. It may be closed only after the daemon has ended. */
    if (MHD_quiesce_daemon(http->daemon) != MHD_INVALID_SOCKET) shutdown(http->fd, SHUT_RDWR);
}

size_t wr_http_calls(const wr_http *http)
{
    return atomic_load(&http->calls);
}

size_t wr_http_uploads(const wr_http *http)
{
    return atomic_load(&http->uploads);
}

void wr_http_close(wr_http *http)
{
    if (!http) return;
    wr_http_refuse(http);
    MHD_stop_daemon(http->daemon);
    close(http->fd);
    free(http);
}

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool wr_percent_decode(const char *s, size_t n, char *out, size_t cap)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        int c = (unsigned char)s[i];
        if (c == '%') {
            int high = i + 2 < n ? hex(s[i + 1]) : -1, low = high >= 0 ? hex(s[i + 2]) : -1;
            if (low < 0) return false;
            c = high * 16 + low;
            i += 2;
        }
        if (c == 0 || m + 1 >= cap) return false;
        out[m++] = (char)c;
    }
    if (m >= cap) return false;
    out[m] = 0;
    return true;
}
