/* What went wrong with a request, as RFC 9457 application/problem+json.
 *
 *     {"type": "urn:weir:problem:unknown_field", "title": "Unknown field", "status": 422,
 *      "detail": "kk: no such field; did you mean k?", "instance": "/v1/search",
 *      "code": "unknown_field", "field": "kk", "request_id": "..."}
 *
 * type and code say the same: code for people who compare strings, type for readers of the RFC. field and
 * retry_after_ms stand only where they apply.
 */
#ifndef WR_SERVER_PROBLEM_H
#define WR_SERVER_PROBLEM_H

#include <stdbool.h>
#include <stdint.h>

#include "data/status.h"
#include "server/out.h"

typedef enum wr_problem_code {
    WR_PROBLEM_NONE,
    WR_PROBLEM_MALFORMED_JSON,     /* 400: not JSON, too deep, or no object   */
    WR_PROBLEM_BAD_REQUEST,        /* 400: a path that cannot be decoded      */
    WR_PROBLEM_UNAUTHORIZED,       /* 401 */
    WR_PROBLEM_NO_ROUTE,           /* 404 */
    WR_PROBLEM_NO_INDEX,           /* 404 */
    WR_PROBLEM_NO_DOCUMENT,        /* 404 */
    WR_PROBLEM_METHOD,             /* 405 */
    WR_PROBLEM_TOO_LARGE,          /* 413 */
    WR_PROBLEM_MISSING_FIELD,      /* 422 */
    WR_PROBLEM_UNKNOWN_FIELD,      /* 422 */
    WR_PROBLEM_INVALID_FIELD,      /* 422: wrong type or out of range         */
    WR_PROBLEM_BAD_PIPELINE,       /* 422 */
    WR_PROBLEM_FILTER,             /* 422: filters do not exist yet           */
    WR_PROBLEM_NO_MODEL,           /* 422: none of that name or kind is there */
    WR_PROBLEM_QUEUE_FULL,         /* 429 */
    WR_PROBLEM_BUFFERS_FULL,       /* 429: bodies in memory                   */
    WR_PROBLEM_INTERNAL,           /* 500 */
    WR_PROBLEM_STARTING,           /* 503 */
    WR_PROBLEM_DRAINING,           /* 503 */
    WR_PROBLEM_DEADLINE,           /* 504: strict and degraded                */
    WR_PROBLEMS
} wr_problem_code;

typedef struct wr_problem {
    wr_problem_code code; /* WR_PROBLEM_NONE: all is well */
    char field[64];       /* "" where none applies        */
    uint64_t retry_after_ms; /* 0 where it does not apply */
    wr_err detail;
} wr_problem;

/* Fills problem; always returns false, so that a parser can `return wr_problem_set(...)`. field may be NULL. */
bool wr_problem_set(wr_problem *problem, wr_problem_code code, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

unsigned wr_problem_status(wr_problem_code code);
const char *wr_problem_name(wr_problem_code code); /* "queue_full" */

/* Writes the object without its closing brace, so that members may follow; instance is the request's path. */
void wr_problem_open(wr_out *out, const wr_problem *problem, const char *instance, const char *request_id);
/* The whole object. */
void wr_problem_write(wr_out *out, const wr_problem *problem, const char *instance, const char *request_id);

#endif
