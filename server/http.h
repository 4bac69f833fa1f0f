/* Bytes in, bytes out: the only file that knows libmicrohttpd.
 *
 * One thread of libmicrohttpd waits for sockets (epoll) and never computes: it reads a request, shows it to the handler,
 * and either has the answer at once or puts the connection to sleep (wr_call_suspend) until some other thread has
 * written the answer into the call and wakes it (wr_call_resume). One thread is enough: it moves some 30,000 small
 * requests a second, which is far more than can be ranked.
 *
 *     begin(call)   headers are known, the body is not: an error may be answered already
 *     ready(call)   the body is there: answer, or suspend and hand over
 *     done(call)    the answer is with the client, or the connection was lost
 *
 * A body beyond max_body is read and discarded (up to WR_HTTP_DISCARD) and too_large is set, so that the client, who
 * looks for an answer only after sending everything, sees it.
 */
#ifndef WR_SERVER_HTTP_H
#define WR_SERVER_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/status.h"
#include "server/out.h"

#define WR_HTTP_DISCARD ((size_t)256 << 20)

typedef struct wr_http wr_http;

/* One request with its answer. Strings are borrowed until done() has returned. */
typedef struct wr_call {
    /* The request. */
    const char *method, *path;   /* path without "?...", not decoded */
    const char *index;           /* value of ?index=, not decoded; NULL without */
    const char *authorization, *api_key, *wanted_id, *budget_ms; /* headers; NULL without */
    const char *peer;            /* the client's address as text */
    char *body;                  /* [body_n] and a NUL; NULL when empty; freed with the call */
    size_t body_n;
    bool too_large;              /* the body was longer than max_body */
    bool no_room;                /* the bodies of all calls together were */
    uint64_t began_ns;           /* headers complete */
    uint64_t arrived_ns;         /* body complete: budgets count from here */

    /* The answer, written by the handler. */
    unsigned status;             /* 0 = none yet */
    wr_out reply;                /* taken over when it is sent */
    size_t reply_n;              /* bytes of it that were sent, for done() */
    const char *content_type, *allow; /* constants; allow NULL without */
    char request_id[72];
    unsigned retry_after_s;      /* 0 = no header */
    bool authenticate;           /* WWW-Authenticate: Bearer */
    bool close;                  /* Connection: close */
    char degraded[160];          /* Weir-Degraded; "" = no header */

    void *user;                  /* the handler's own */
    struct wr_http_connection *connection; /* private; NULL in tests */
} wr_call;

typedef struct wr_http_handler {
    void *ctx;
    void (*begin)(void *ctx, wr_call *call); /* sets call->status to answer now */
    void (*ready)(void *ctx, wr_call *call); /* sets call->status, or suspends  */
    void (*done)(void *ctx, wr_call *call, bool delivered);
} wr_http_handler;

typedef struct wr_http_options {
    const char *listen;   /* an address as in listen.h */
    size_t max_body;      /* bytes */
    size_t connections;   /* at most, at one time */
    wr_http_handler handler;
} wr_http_options;

/* Binds and begins to serve. WR_EIO when the address is taken. */
wr_status wr_http_open(wr_http **http, const wr_http_options *options, wr_err *err);
const char *wr_http_url(const wr_http *http); /* "http://127.0.0.1:41234" */

/* New connections are refused from now on; those that are open go on. */
void wr_http_refuse(wr_http *http);
size_t wr_http_calls(const wr_http *http);   /* received whole and not done                               */
size_t wr_http_uploads(const wr_http *http); /* not received whole yet; a client that is gone may count for
                                              * half a minute (libmicrohttpd sees it when the silence ends)   */

/* Closes all connections. No call may be suspended. NULL is fine. */
void wr_http_close(wr_http *http);

/* From inside ready() only, before the call is handed to another thread. */
void wr_call_suspend(wr_call *call);
/* From any thread, once the answer is written; the call is not to be touched afterwards. */
void wr_call_resume(wr_call *call);

/* Decodes %XX (and nothing else) from s[0..n) into out[cap], with a NUL. False when it is malformed, holds %00 or does
 * not fit. */
bool wr_percent_decode(const char *s, size_t n, char *out, size_t cap);

#endif
