#include "server/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Clients that wait to be accepted: the kernel's own ceiling (net.core.somaxconn) since Linux 5.4. */
#define BACKLOG 4096

/* Cuts an address into host ("" = all) and port. */
static wr_status split(const char *address, char *host, size_t cap, char port[8], wr_err *err)
{
    const char *colon = strrchr(address, ':'), *from = address, *end = colon;
    const char *digits = colon ? colon + 1 : address;
    size_t n = strspn(digits, "0123456789");
    if (n < 1 || n > 5 || digits[n] || atoi(digits) > 65535) goto bad;
    if (!colon) from = "127.0.0.1", end = from + 9;
    else if (*from == '[') {
        if (colon[-1] != ']') goto bad;
        from++, end--;
    } else if (memchr(from, ':', (size_t)(colon - from)))
        goto bad; /* an IPv6 address has brackets: else its last group might be meant as the port */
    if ((size_t)(end - from) >= cap) goto bad;
    memcpy(host, from, (size_t)(end - from));
    host[end - from] = 0;
    memcpy(port, digits, n + 1);
    return WR_OK;
bad:
    return wr_fail(err, WR_EARG, "--listen %s: expected HOST:PORT, [IPV6]:PORT, PORT or :PORT", address);
}

static wr_status resolve(const char *address, struct addrinfo **all, wr_err *err)
{
    char host[256], port[8];
    *all = NULL;
    wr_status st = split(address, host, sizeof host, port, err);
    if (st) return st;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    int rc = getaddrinfo(*host ? host : NULL, port, &hints, all);
    if (rc) return wr_fail(err, WR_EARG, "--listen %s: %s", address, gai_strerror(rc));
    return WR_OK;
}

static bool is_local(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (sa->sa_family != AF_INET6) return false;
    const struct in6_addr *in = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(in) || (IN6_IS_ADDR_V4MAPPED(in) && in->s6_addr[12] == 127);
}

wr_status wr_listen_is_local(const char *address, bool *local, wr_err *err)
{
    struct addrinfo *all;
    wr_status st = resolve(address, &all, err);
    if (st) return st;
    *local = true;
    for (struct addrinfo *a = all; a; a = a->ai_next) *local = *local && is_local(a->ai_addr);
    freeaddrinfo(all);
    return WR_OK;
}

static int open_socket(const struct addrinfo *a)
{
    int on = 1, off = 0, fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off); /* [::] takes both */
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static void name_socket(int fd, char *url, size_t cap)
{
    struct sockaddr_storage sa = {0};
    socklen_t n = sizeof sa;
    char host[INET6_ADDRSTRLEN] = "", port[8] = "";
    getsockname(fd, (struct sockaddr *)&sa, &n);
    getnameinfo((struct sockaddr *)&sa, n, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(url, cap, sa.ss_family == AF_INET6 ? "http://[%s]:%s" : "http://%s:%s", host, port);
}

wr_status wr_listen(const char *address, int *fd, char *url, size_t cap, wr_err *err)
{
    struct addrinfo *all;
    wr_status st = resolve(address, &all, err);
    if (st) return st;
    const struct addrinfo *best = all; /* of "all addresses" the IPv6 one, which takes both */
    for (const struct addrinfo *a = all; a; a = a->ai_next)
        if (*address == ':' && a->ai_family == AF_INET6) best = a;
    *fd = open_socket(best);
    if (*fd < 0 && best != all) *fd = open_socket(all); /* a machine without IPv6 */
    int why = errno;
    freeaddrinfo(all);
    if (*fd < 0) return wr_fail(err, WR_EIO, "--listen %s: %s", address, strerror(why));
    name_socket(*fd, url, cap);
    return WR_OK;
}
