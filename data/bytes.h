/* A string of bytes that grows; always NUL-terminated once something was added. */
#ifndef WR_DATA_BYTES_H
#define WR_DATA_BYTES_H

#include <stddef.h>

#include "data/status.h"

typedef struct wr_bytes {
    char *at; /* [n] and a NUL; NULL while nothing was ever added */
    size_t n;
    size_t cap;
} wr_bytes;

/* All of them: WR_OK or WR_ENOMEM, which leaves the string as it was. */
wr_status wr_bytes_reserve(wr_bytes *bytes, size_t more); /* room for `more` bytes and the NUL */
wr_status wr_bytes_add(wr_bytes *bytes, const char *s, size_t n);
wr_status wr_bytes_add_char(wr_bytes *bytes, char c);
wr_status wr_bytes_add_code(wr_bytes *bytes, unsigned cp);                 /* as UTF-8       */
wr_status wr_bytes_add_repaired(wr_bytes *bytes, const char *s, size_t n); /* invalid: U+FFFD */

void wr_bytes_clear(wr_bytes *bytes); /* keeps the memory, which then holds "" */
void wr_bytes_release(wr_bytes *bytes);

#endif
