/* Lines of a text file, plain or gzip (told by its first two bytes, not by its name), or of standard input ("-"). */
#ifndef WR_DATA_LINES_H
#define WR_DATA_LINES_H

#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

typedef struct wr_lines wr_lines;

/* One line may have this many bytes: eight times the largest REST body, more than any document we were shown. */
#define WR_MAX_LINE ((size_t)64 << 20)

wr_status wr_lines_open(wr_lines **lines, const char *path, wr_err *err);
void wr_lines_close(wr_lines *lines);

/* The next line without its LF or CRLF: *n bytes at *line, NUL-terminated (the line may hold NUL bytes itself),
 * borrowed until the next call. WR_OK with *line == NULL at the end. A damaged gzip stream and a line that is too long
 * are WR_EFORMAT. A UTF-8 byte order mark at the start of the file is skipped. */
wr_status wr_lines_next(wr_lines *lines, const char **line, size_t *n, wr_err *err);

size_t wr_lines_number(const wr_lines *lines);        /* of the last line given, from 1               */
uint64_t wr_lines_bytes_read(const wr_lines *lines);  /* of the file as stored (compressed)           */
uint64_t wr_lines_bytes_total(const wr_lines *lines); /* 0 when unknown (a pipe)                      */
const char *wr_lines_path(const wr_lines *lines);

#endif
