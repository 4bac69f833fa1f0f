#include "data/bytes.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"

wr_status wr_bytes_reserve(wr_bytes *bytes, size_t more)
{
    size_t need;
    if (__builtin_add_overflow(bytes->n, more, &need) || need >= SIZE_MAX / 2) return WR_ENOMEM;
    if (need < bytes->cap) return WR_OK;
    size_t cap = bytes->cap ? bytes->cap : 256;
    while (cap <= need) cap *= 2;
    char *at = realloc(bytes->at, cap);
    if (!at) return WR_ENOMEM;
    bytes->at = at;
    bytes->cap = cap;
    bytes->at[bytes->n] = 0;
    return WR_OK;
}

wr_status wr_bytes_add(wr_bytes *bytes, const char *s, size_t n)
{
    wr_status st = wr_bytes_reserve(bytes, n);
    if (st) return st;
    if (n) memcpy(bytes->at + bytes->n, s, n);
    bytes->n += n;
    bytes->at[bytes->n] = 0;
    return WR_OK;
}

wr_status wr_bytes_add_char(wr_bytes *bytes, char c)
{
    return wr_bytes_add(bytes, &c, 1);
}

wr_status wr_bytes_add_code(wr_bytes *bytes, unsigned cp)
{
    char utf8[4];
    return wr_bytes_add(bytes, utf8, wr_utf8_encode(cp, utf8));
}

wr_status wr_bytes_add_repaired(wr_bytes *bytes, const char *s, size_t n)
{
    if (wr_utf8_valid(s, n)) return wr_bytes_add(bytes, s, n);
    size_t most;
    if (__builtin_mul_overflow(n, (size_t)3, &most)) return WR_ENOMEM;
    wr_status st = wr_bytes_reserve(bytes, most);
    if (st) return st;
    bytes->n += wr_utf8_repair(s, n, bytes->at + bytes->n);
    bytes->at[bytes->n] = 0;
    return WR_OK;
}

void wr_bytes_clear(wr_bytes *bytes)
{
    bytes->n = 0;
    if (bytes->at) bytes->at[0] = 0;
}

void wr_bytes_release(wr_bytes *bytes)
{
    free(bytes->at);
    *bytes = (wr_bytes){0};
}
