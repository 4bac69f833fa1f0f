#include "data/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define CHUNK ((size_t)1 << 16) /* bytes asked of the system at a time; four fit in a level 2 cache */

struct wr_lines {
    char *path;
    int fd;
    bool gzip, started, ended; /* ended: no stored byte is left                */
    bool in_member;            /* between a gzip member's first and last byte  */
    z_stream zip;
    unsigned char *in; /* [CHUNK] stored bytes, in[in_at..in_n) not used yet   */
    size_t in_at, in_n;
    char *text; /* [cap] plain bytes, text[at..n) not given out yet            */
    size_t at, n, cap;
    size_t number;
    uint64_t bytes_read, bytes_total;
};

static wr_status fill_in(wr_lines *l, wr_err *err)
{
    if (l->in_at > 0) memmove(l->in, l->in + l->in_at, l->in_n - l->in_at);
    l->in_n -= l->in_at;
    l->in_at = 0;
    while (!l->ended && l->in_n < CHUNK) {
        ssize_t got = read(l->fd, l->in + l->in_n, CHUNK - l->in_n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return wr_fail(err, WR_EIO, "%s: cannot read: %s", l->path, strerror(errno));
        l->ended = got == 0;
        l->in_n += (size_t)got;
        l->bytes_read += (uint64_t)got;
        if (got > 0 && l->started) break; /* at the start two bytes must be there to tell gzip; a pipe may give one */
        if (l->in_n >= 3) break;
    }
    return WR_OK;
}

static wr_status start(wr_lines *l, wr_err *err)
{
    wr_status st = fill_in(l, err);
    if (st) return st;
    l->started = true;
    l->gzip = l->in_n >= 2 && l->in[0] == 0x1f && l->in[1] == 0x8b;
    if (!l->gzip) return WR_OK;
    if (inflateInit2(&l->zip, 15 + 16) != Z_OK) { /* the largest window, gzip wrapping */
        l->gzip = false;
        return wr_fail(err, WR_ENOMEM, "%s: out of memory", l->path);
    }
    l->in_member = true;
    return WR_OK;
}

/* Inflates into text[n..cap). Members follow one another (RFC 1952, 2.2); zero bytes behind the last are padding. */
static wr_status inflate_some(wr_lines *l, wr_err *err)
{
    l->zip.next_in = l->in + l->in_at;
    l->zip.avail_in = (uInt)(l->in_n - l->in_at);
    l->zip.next_out = (Bytef *)l->text + l->n;
    l->zip.avail_out = (uInt)(l->cap - l->n < CHUNK ? l->cap - l->n : CHUNK);
    uInt asked = l->zip.avail_out;
    int rc = inflate(&l->zip, Z_NO_FLUSH);
    l->in_at = l->in_n - l->zip.avail_in;
    l->n += asked - l->zip.avail_out;
    if (rc == Z_STREAM_END)
        l->in_member = false;
    else if (rc == Z_MEM_ERROR)
        return wr_fail(err, WR_ENOMEM, "%s: out of memory", l->path);
    else if (rc != Z_OK && rc != Z_BUF_ERROR)
        return wr_fail(err, WR_EFORMAT, "%s: damaged gzip stream after line %zu: %s", l->path, l->number,
                       l->zip.msg ? l->zip.msg : "unexpected end");
    return WR_OK;
}

static void next_member(wr_lines *l)
{
    while (l->in_at < l->in_n && l->in[l->in_at] == 0) l->in_at++;
    if (l->in_at == l->in_n) return;
    inflateReset(&l->zip);
    l->in_member = true;
}

/* Adds plain bytes behind text[n); *more is false when none are left. */
static wr_status fill_text(wr_lines *l, bool *more, wr_err *err)
{
    wr_status st = WR_OK;
    size_t before = l->n;
    *more = true;
    while (!st && l->n == before) {
        if (l->in_at == l->in_n && !l->ended) st = fill_in(l, err);
        if (st) break;
        if (l->gzip && !l->in_member) next_member(l);
        if (l->in_at == l->in_n && l->ended) {
            if (l->gzip && l->in_member) { /* what zlib still holds back, then a stream that is cut */
                st = inflate_some(l, err);
                if (!st && l->n == before && l->in_member)
                    st = wr_fail(err, WR_EFORMAT, "%s: gzip stream ends early, after line %zu", l->path, l->number);
                continue;
            }
            *more = false;
            break;
        }
        if (l->gzip) {
            st = inflate_some(l, err);
        } else {
            size_t take = l->in_n - l->in_at, room = l->cap - l->n;
            if (take > room) take = room;
            memcpy(l->text + l->n, l->in + l->in_at, take);
            l->in_at += take;
            l->n += take;
        }
    }
    return st;
}

/* Makes room behind text[n): moves what is left to the front, or doubles. One byte is kept for the NUL. */
static wr_status make_room(wr_lines *l, wr_err *err)
{
    if (l->at > 0) {
        memmove(l->text, l->text + l->at, l->n - l->at);
        l->n -= l->at;
        l->at = 0;
    }
    if (l->n < l->cap) return WR_OK;
    char *text = realloc(l->text, 2 * l->cap + 1);
    if (!text) return wr_fail(err, WR_ENOMEM, "%s: line %zu: out of memory", l->path, l->number + 1);
    l->text = text;
    l->cap *= 2;
    return WR_OK;
}

wr_status wr_lines_open(wr_lines **lines, const char *path, wr_err *err)
{
    *lines = NULL;
    wr_status st = WR_OK;
    wr_lines *l = calloc(1, sizeof *l);
    if (!l) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    bool standard = !strcmp(path, "-");
    l->fd = -1;
    l->cap = CHUNK;
    l->path = strdup(standard ? "standard input" : path);
    l->in = malloc(CHUNK);
    l->text = malloc(l->cap + 1);
    if (!l->path || !l->in || !l->text) {
        st = wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
        goto done;
    }
    l->fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (l->fd < 0) {
        st = wr_fail(err, errno == ENOENT ? WR_ENOTFOUND : WR_EIO, "%s: cannot open: %s", path, strerror(errno));
        goto done;
    }
    struct stat info;
    if (fstat(l->fd, &info) == 0) {
        if (S_ISDIR(info.st_mode)) {
            st = wr_fail(err, WR_EFORMAT, "%s: a folder, expected a file", path);
            goto done;
        }
        if (S_ISREG(info.st_mode)) l->bytes_total = (uint64_t)info.st_size;
    }
done:
    if (st)
        wr_lines_close(l);
    else
        *lines = l;
    return st;
}

void wr_lines_close(wr_lines *l)
{
    if (!l) return;
    if (l->gzip) inflateEnd(&l->zip);
    if (l->fd > STDIN_FILENO) close(l->fd);
    free(l->path);
    free(l->in);
    free(l->text);
    free(l);
}

/* Gives out text[at..end) and steps over `skip` bytes of line end. */
static void give(wr_lines *l, size_t end, size_t skip, const char **line, size_t *n)
{
    char *s = l->text + l->at;
    size_t len = end - l->at;
    if (l->number == 0 && len >= 3 && !memcmp(s, "\xef\xbb\xbf", 3)) s += 3, len -= 3;
    if (len && s[len - 1] == '\r') len--;
    s[len] = 0;
    l->at = end + skip;
    l->number++;
    *line = s;
    *n = len;
}

wr_status wr_lines_next(wr_lines *l, const char **line, size_t *n, wr_err *err)
{
    wr_status st = WR_OK;
    size_t searched = 0; /* bytes from `at` that hold no LF */
    bool more = true;
    *line = NULL;
    *n = 0;
    if (!l->started && (st = start(l, err))) return st;
    for (;;) {
        char *lf = memchr(l->text + l->at + searched, '\n', l->n - l->at - searched);
        if (lf) return give(l, (size_t)(lf - l->text), 1, line, n), WR_OK;
        searched = l->n - l->at;
        if (searched > WR_MAX_LINE)
            return wr_fail(err, WR_EFORMAT, "%s: line %zu: longer than %zu bytes", l->path, l->number + 1, WR_MAX_LINE);
        if ((l->at > 0 || l->n == l->cap) && (st = make_room(l, err))) return st;
        if ((st = fill_text(l, &more, err))) return st;
        if (more) continue;
        if (l->n > l->at) give(l, l->n, 0, line, n); /* a last line without LF */
        return WR_OK;
    }
}

size_t wr_lines_number(const wr_lines *l)
{
    return l->number;
}

uint64_t wr_lines_bytes_read(const wr_lines *l)
{
    return l->bytes_read;
}

uint64_t wr_lines_bytes_total(const wr_lines *l)
{
    return l->bytes_total;
}

const char *wr_lines_path(const wr_lines *l)
{
    return l->path;
}
