/* The access log: one line of JSON for each request, written by a thread of its own, so that a slow reader of standard
 * error (a pipe, a full disk) holds up nobody. Lines that find the ring full are dropped and counted in a later line.
 *
 *     {"ts":"2026-11-24T12:00:00.123Z","request_id":"...","peer":"127.0.0.1","method":"POST","path":"/v1/search",
 *      "status":200,"ms":12.345,"queue_ms":0.012,"bytes_in":41,"bytes_out":5120,"delivered":true}
 */
#ifndef WR_SERVER_LOG_H
#define WR_SERVER_LOG_H

#include <stddef.h>

#include "data/status.h"

typedef struct wr_log wr_log;

wr_status wr_log_open(wr_log **log, int fd, wr_err *err);
void wr_log_close(wr_log *log); /* writes what waits; NULL is fine */

/* Adds a line (a newline is appended). Never waits for the reader. */
void wr_log_line(wr_log *log, const char *line, size_t n);

#endif
