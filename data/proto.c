#include "data/proto.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#define CHUNK 65536 /* bytes unpacked at a time */

struct wr_proto {
    char *path;
    gzFile file;
    uint64_t stored;
    bool gzip;
    unsigned char *buffer; /* [CHUNK], buffer[at..n) not read yet                   */
    size_t at, n;
    uint64_t before; /* position of buffer[0]                                       */
    uint64_t limit;  /* where the message that is being read ends                   */
};

wr_status wr_proto_fail(const wr_proto *p, wr_err *err, const char *what)
{
    return wr_fail(err, WR_EFORMAT, "%s: byte %" PRIu64 ": %s", p->path, wr_proto_at(p), what);
}

wr_status wr_proto_open(wr_proto **proto, const char *path, wr_err *err)
{
    struct stat stat_of;
    *proto = NULL;
    if (stat(path, &stat_of))
        return wr_fail(err, errno == ENOENT ? WR_ENOTFOUND : WR_EIO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(stat_of.st_mode)) return wr_fail(err, WR_EARG, "%s: no regular file, which can be read twice", path);
    wr_proto *p = calloc(1, sizeof *p);
    if (!p || !(p->path = strdup(path)) || !(p->buffer = malloc(CHUNK))) {
        wr_proto_close(p);
        return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    }
    p->stored = (uint64_t)stat_of.st_size;
    p->limit = UINT64_MAX;
    if (!(p->file = gzopen(path, "rb"))) {
        wr_proto_close(p);
        return wr_fail(err, WR_EIO, "%s: cannot open: %s", path, strerror(errno));
    }
    gzbuffer(p->file, CHUNK);
    p->gzip = !gzdirect(p->file);
    *proto = p;
    return WR_OK;
}

void wr_proto_close(wr_proto *p)
{
    if (!p) return;
    if (p->file) gzclose_r(p->file);
    free(p->buffer);
    free(p->path);
    free(p);
}

uint64_t wr_proto_at(const wr_proto *p)
{
    return p->before + p->at;
}

uint64_t wr_proto_stored_read(const wr_proto *p)
{
    z_off_t at = gzoffset(p->file);
    return at > 0 ? (uint64_t)at : 0;
}

uint64_t wr_proto_stored_bytes(const wr_proto *p)
{
    return p->stored;
}

bool wr_proto_is_gzip(const wr_proto *p)
{
    return p->gzip;
}

/* ---- bytes ---- */

static wr_status refill(wr_proto *p, wr_err *err)
{
    int why;
    p->before += p->n;
    p->at = p->n = 0;
    int got = gzread(p->file, p->buffer, CHUNK);
    const char *sentence = gzerror(p->file, &why);
    if (got < 0 || (got == 0 && why != Z_OK))
        return wr_proto_fail(p, err, why == Z_ERRNO ? strerror(errno) : sentence && *sentence ? sentence : "damaged");
    p->n = (size_t)got;
    return got > 0 ? WR_OK : WR_STOPPED;
}

bool wr_proto_ended(wr_proto *p)
{
    wr_err err;
    return p->at == p->n && refill(p, &err) == WR_STOPPED;
}

static wr_status next_byte(wr_proto *p, unsigned char *out, wr_err *err)
{
    if (wr_proto_at(p) >= p->limit) return wr_proto_fail(p, err, "a message ends inside of a field");
    if (p->at == p->n) {
        wr_status st = refill(p, err);
        if (st) return st < 0 ? st : wr_proto_fail(p, err, "the file ends inside of a message");
    }
    *out = p->buffer[p->at++];
    return WR_OK;
}

static wr_status read_varint(wr_proto *p, uint64_t *out, wr_err *err)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        unsigned char byte = 0;
        wr_status st = next_byte(p, &byte, err);
        if (st) return st;
        *out |= (uint64_t)(byte & 127) << shift;
        if (!(byte & 128)) return WR_OK;
    }
    return wr_proto_fail(p, err, "a number of more than ten bytes");
}

/* n bytes, which must lie in the message, to the end of out, or nowhere when out is NULL. */
static wr_status take(wr_proto *p, uint64_t n, wr_bytes *out, wr_err *err)
{
    if (n > p->limit - wr_proto_at(p)) return wr_proto_fail(p, err, "a field reaches beyond its message");
    while (n > 0) {
        if (p->at == p->n) {
            wr_status st = refill(p, err);
            if (st) return st < 0 ? st : wr_proto_fail(p, err, "the file ends inside of a message");
        }
        size_t part = p->n - p->at < n ? p->n - p->at : (size_t)n;
        if (out && wr_bytes_add(out, (const char *)p->buffer + p->at, part))
            return wr_fail(err, WR_ENOMEM, "%s: out of memory", p->path);
        p->at += part;
        n -= part;
    }
    return WR_OK;
}

wr_status wr_proto_seek(wr_proto *p, uint64_t at, wr_err *err)
{
    if (at > INT64_MAX || gzseek(p->file, (z_off_t)at, SEEK_SET) < 0)
        return wr_fail(err, WR_EIO, "%s: cannot go to byte %" PRIu64, p->path, at);
    p->before = at;
    p->at = p->n = 0;
    p->limit = UINT64_MAX;
    return WR_OK;
}

/* ---- messages ---- */

wr_status wr_proto_message(wr_proto *p, uint64_t *outer, wr_err *err)
{
    uint64_t length;
    wr_status st = read_varint(p, &length, err);
    if (st) return st;
    if (length > p->limit - wr_proto_at(p)) return wr_proto_fail(p, err, "a message reaches beyond the one around it");
    *outer = p->limit;
    p->limit = wr_proto_at(p) + length;
    return WR_OK;
}

wr_status wr_proto_leave(wr_proto *p, uint64_t outer, wr_err *err)
{
    wr_status st = take(p, p->limit - wr_proto_at(p), NULL, err);
    p->limit = outer;
    return st;
}

wr_status wr_proto_field(wr_proto *p, wr_proto_value *field, wr_err *err)
{
    uint64_t key;
    *field = (wr_proto_value){0};
    if (wr_proto_at(p) >= p->limit) return WR_OK;
    wr_status st = read_varint(p, &key, err);
    if (st) return st;
    if (key >> 3 == 0 || key >> 3 > 536870911) return wr_proto_fail(p, err, "a field with a number that cannot be");
    field->number = (uint32_t)(key >> 3);
    field->type = (unsigned)(key & 7);
    if (field->type == 0) return read_varint(p, &field->varint, err);
    if (field->type == 1 || field->type == 2 || field->type == 5) return WR_OK;
    return wr_proto_fail(p, err, "a field of a type that cannot be");
}

wr_status wr_proto_skip(wr_proto *p, const wr_proto_value *field, wr_err *err)
{
    uint64_t n = 0;
    if (field->type == 0) return WR_OK;
    if (field->type == 1) return take(p, 8, NULL, err);
    if (field->type == 5) return take(p, 4, NULL, err);
    wr_status st = read_varint(p, &n, err);
    return st ? st : take(p, n, NULL, err);
}

wr_status wr_proto_text(wr_proto *p, const wr_proto_value *field, size_t max, wr_bytes *out, wr_err *err)
{
    uint64_t n;
    wr_bytes_clear(out);
    if (field->type != 2) return wr_proto_fail(p, err, "a text was expected");
    wr_status st = read_varint(p, &n, err);
    if (st) return st;
    if (n > max) return wr_proto_fail(p, err, "a text that is too long");
    return take(p, n, out, err);
}
