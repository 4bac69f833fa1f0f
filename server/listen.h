/* The address that a server listens on, and its socket. */
#ifndef WR_SERVER_LISTEN_H
#define WR_SERVER_LISTEN_H

#include <stdbool.h>
#include <stddef.h>

#include "data/status.h"

/* HOST:PORT, [IPV6]:PORT, PORT (this machine only) or :PORT (all addresses). Port 0 is a free one. */

/* True when no other machine can reach the address: 127.0.0.0/8, ::1, and names that mean nothing else. WR_EARG when it
 * is no address. */
wr_status wr_listen_is_local(const char *address, bool *local, wr_err *err);

/* Binds and listens; *fd is owned by the caller. url[cap] gets "http://HOST:PORT" with the port that was bound. */
wr_status wr_listen(const char *address, int *fd, char *url, size_t cap, wr_err *err);

#endif
