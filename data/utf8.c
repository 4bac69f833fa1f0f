#include "data/utf8.h"

#include <string.h>

#define REPLACEMENT 0xfffdu

/* What the first byte says: length, bits it carries, and the range of the second byte, which is where overlong forms,
 * surrogates and values above 10FFFF show (Unicode 15, table 3-7). */
static size_t lead(unsigned char c, uint32_t *bits, unsigned char *lo, unsigned char *hi)
{
    *lo = 0x80, *hi = 0xbf;
    if (c >= 0xc2 && c <= 0xdf) return *bits = c & 0x1fu, 2;
    if (c >= 0xe0 && c <= 0xef) {
        if (c == 0xe0) *lo = 0xa0;
        if (c == 0xed) *hi = 0x9f;
        return *bits = c & 0x0fu, 3;
    }
    if (c >= 0xf0 && c <= 0xf4) {
        if (c == 0xf0) *lo = 0x90;
        if (c == 0xf4) *hi = 0x8f;
        return *bits = c & 0x07u, 4;
    }
    return 0;
}

/* As wr_utf8_decode, and tells a genuine U+FFFD from a repaired one. */
static uint32_t decode(const char *s, size_t n, size_t *len, bool *ok)
{
    unsigned char c = (unsigned char)s[0], lo, hi;
    uint32_t cp = 0;
    *len = 1;
    *ok = c < 0x80;
    if (*ok) return c;
    size_t want = lead(c, &cp, &lo, &hi);
    if (!want) return REPLACEMENT;
    while (*len < want) {
        if (*len == n) return REPLACEMENT;
        c = (unsigned char)s[*len];
        if (c < lo || c > hi) return REPLACEMENT;
        lo = 0x80, hi = 0xbf;
        cp = cp << 6 | (c & 0x3fu);
        ++*len;
    }
    *ok = true;
    return cp;
}

uint32_t wr_utf8_decode(const char *s, size_t n, size_t *len)
{
    bool ok;
    return decode(s, n, len, &ok);
}

size_t wr_utf8_encode(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    static const unsigned char mark[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, cp >>= 6) out[i] = (char)(0x80 | (cp & 0x3f));
    out[0] = (char)(mark[n] | cp);
    return n;
}

/* The end of the run of ASCII that starts at i, eight bytes at a time. */
static size_t skip_ascii(const char *s, size_t n, size_t i)
{
    for (uint64_t word; i + 8 <= n; i += 8) {
        memcpy(&word, s + i, 8);
        if (word & 0x8080808080808080u) break;
    }
    while (i < n && !((unsigned char)s[i] & 0x80)) i++;
    return i;
}

bool wr_utf8_valid(const char *s, size_t n)
{
    size_t i = 0, len;
    bool ok;
    while ((i = skip_ascii(s, n, i)) < n) {
        decode(s + i, n - i, &len, &ok);
        if (!ok) return false;
        i += len;
    }
    return true;
}

size_t wr_utf8_repair(const char *s, size_t n, char *out)
{
    size_t w = 0, i = 0, len;
    while (i < n) {
        bool ok;
        decode(s + i, n - i, &len, &ok);
        if (ok)
            memmove(out + w, s + i, len), w += len;
        else
            w += wr_utf8_encode(REPLACEMENT, out + w);
        i += len;
    }
    return w;
}
