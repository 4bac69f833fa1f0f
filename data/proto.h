/* Protocol Buffers' wire format, read as a stream from a file, plain or gzip: varints, and fields of messages that are
 * never held as a whole. Every length is checked against the message that it lies in, every read against the file's
 * end.
 *
 *     wr_proto_open(&proto, path, err);
 *     wr_proto_message(proto, &outer, err);                  // a length, then so many bytes
 *     while (!(st = wr_proto_field(proto, &field, err)) && field.number)
 *         st = field.number == 1 ? wr_proto_text(proto, &field, max, &bytes, err) : wr_proto_skip(proto, &field, err);
 *     st = wr_proto_leave(proto, outer, err);
 */
#ifndef WR_DATA_PROTO_H
#define WR_DATA_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/bytes.h"
#include "data/status.h"

typedef struct wr_proto wr_proto;

wr_status wr_proto_open(wr_proto **proto, const char *path, wr_err *err);
void wr_proto_close(wr_proto *proto); /* NULL is fine */

/* Position in the unpacked file; seeking back in a gzip file reads it again from its start. */
uint64_t wr_proto_at(const wr_proto *proto);
wr_status wr_proto_seek(wr_proto *proto, uint64_t at, wr_err *err);
bool wr_proto_ended(wr_proto *proto); /* no byte is left in the file */

uint64_t wr_proto_stored_read(const wr_proto *proto); /* bytes of the file as it is stored */
uint64_t wr_proto_stored_bytes(const wr_proto *proto);
bool wr_proto_is_gzip(const wr_proto *proto);

/* Enters a message: its length, and then only so many bytes may be read. *outer is what wr_proto_leave() wants; leaving
 * skips what was not read. */
wr_status wr_proto_message(wr_proto *proto, uint64_t *outer, wr_err *err);
wr_status wr_proto_leave(wr_proto *proto, uint64_t outer, wr_err *err);

typedef struct wr_proto_value {
    uint32_t number; /* of the field; 0 at the message's end                    */
    unsigned type;   /* 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes */
    uint64_t varint; /* of type 0                                               */
} wr_proto_value;

/* The next field: of a varint also its value. What has a length must be read or skipped before the next call, and so
 * must fixed bytes. */
wr_status wr_proto_field(wr_proto *proto, wr_proto_value *field, wr_err *err);
wr_status wr_proto_skip(wr_proto *proto, const wr_proto_value *field, wr_err *err);

/* A length-delimited field's bytes, at most max of them. */
wr_status wr_proto_text(wr_proto *proto, const wr_proto_value *field, size_t max, wr_bytes *out, wr_err *err);

/* WR_EFORMAT "FILE: byte N: what". */
wr_status wr_proto_fail(const wr_proto *proto, wr_err *err, const char *what);

#endif
