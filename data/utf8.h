/* UTF-8 from outside: invalid bytes become U+FFFD, as the WHATWG decoder does it (one for each maximal subpart). */
#ifndef WR_DATA_UTF8_H
#define WR_DATA_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes one code point from s[0..n), n > 0; sets *len to the bytes consumed (>= 1). Surrogates, overlong forms,
 * values above 10FFFF and cut sequences give U+FFFD. */
uint32_t wr_utf8_decode(const char *s, size_t n, size_t *len);

/* Writes cp (a scalar value) and returns 1..4. */
size_t wr_utf8_encode(uint32_t cp, char out[4]);

bool wr_utf8_valid(const char *s, size_t n);

/* Copies s to out (capacity 3 * n), replacing what is invalid; returns the bytes written. */
size_t wr_utf8_repair(const char *s, size_t n, char *out);

#endif
