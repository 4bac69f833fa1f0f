#include "server/out.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"

/* A reply of ten hits with texts is 4 to 12 KiB: one allocation, at most two doublings. */
#define FIRST_CAP 4096

void wr_out_release(wr_out *out)
{
    free(out->bytes);
    *out = (wr_out){0};
}

void wr_out_reset(wr_out *out)
{
    out->n = 0;
    out->failed = false;
}

/* Room for n more bytes, or NULL. */
static char *room(wr_out *out, size_t n)
{
    if (out->failed) return NULL;
    if (out->cap - out->n >= n) return out->bytes + out->n;
    size_t cap = out->cap ? out->cap : FIRST_CAP;
    while (cap - out->n < n && cap <= SIZE_MAX / 4) cap *= 2;
    char *bytes = cap - out->n >= n ? realloc(out->bytes, cap) : NULL;
    if (!bytes) return out->failed = true, NULL;
    out->bytes = bytes;
    out->cap = cap;
    return bytes + out->n;
}

void wr_out_raw(wr_out *out, const char *s, size_t n)
{
    char *to = room(out, n);
    if (!to || !n) return;
    memcpy(to, s, n);
    out->n += n;
}

void wr_out_puts(wr_out *out, const char *s)
{
    wr_out_raw(out, s, strlen(s));
}

void wr_out_printf(wr_out *out, const char *fmt, ...)
{
    char text[1024]; /* numbers, names and problem sentences; never a document */
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof text)
        out->failed = true;
    else
        wr_out_raw(out, text, (size_t)n);
}

/* One character that cannot stand as it is; returns the bytes of s that it took. */
static size_t escape(wr_out *out, const char *s, size_t n)
{
    static const char *const named[32] = {['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r"};
    unsigned char c = (unsigned char)*s;
    size_t len = 1;
    if (c >= 0x80) {
        char bytes[4];
        uint32_t cp = wr_utf8_decode(s, n, &len);
        wr_out_raw(out, bytes, wr_utf8_encode(cp, bytes));
    } else if (c == '"' || c == '\\') {
        wr_out_raw(out, c == '"' ? "\\\"" : "\\\\", 2);
    } else if (c < 32 && named[c]) {
        wr_out_puts(out, named[c]);
    } else {
        wr_out_printf(out, "\\u%04x", c);
    }
    return len;
}

static bool plain(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 32 && u < 127 && u != '"' && u != '\\';
}

void wr_out_string(wr_out *out, const char *s, size_t n)
{
    size_t i = 0;
    wr_out_raw(out, "\"", 1);
    while (i < n) {
        size_t from = i;
        while (i < n && plain(s[i])) i++;
        wr_out_raw(out, s + from, i - from);
        if (i < n) i += escape(out, s + i, n - i);
    }
    wr_out_raw(out, "\"", 1);
}

static const double power10[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10,
                                 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* value = m / 10^scale, written without an exponent. */
static void put_decimal(wr_out *out, uint64_t m, int scale)
{
    char text[48], *p = text + sizeof text;
    while (scale > 0 && m % 10 == 0) m /= 10, scale--;
    for (int i = 0; i < scale; i++, m /= 10) *--p = (char)('0' + m % 10);
    if (scale > 0) *--p = '.';
    do *--p = (char)('0' + m % 10);
    while (m /= 10);
    wr_out_raw(out, p, (size_t)(text + sizeof text - p));
}

/* Scores are nearly all within 1e-5 .. 1e8. There m = value * 10^scale is below 2^53 and both m and 10^scale are exact
 * doubles, so m / 10^scale is what a reader's strtod gives: the test below is the reader's own. */
static bool put_short(wr_out *out, float value)
{
    double v = value;
    if (v < 1e-5 || v >= 1e8) return false;
    int whole = 1; /* digits before the point; falls below 1 for 0.0x */
    while (v >= power10[whole]) whole++;
    while (whole <= 1 && whole > -5 && v * power10[1 - whole] < 1) whole--;
    for (int digits = 6; digits <= 9; digits++) {
        int scale = digits - whole;
        if (scale < 0 || scale > 22) continue;
        double m = nearbyint(v * power10[scale]);
        if ((float)(m / power10[scale]) == value) return put_decimal(out, (uint64_t)m, scale), true;
    }
    return false;
}

void wr_out_float(wr_out *out, float value)
{
    if (!isfinite(value)) {
        wr_out_puts(out, "null");
        return;
    }
    if (value == 0) {
        wr_out_puts(out, "0");
        return;
    }
    size_t mark = out->n;
    if (value < 0) wr_out_raw(out, "-", 1);
    if (put_short(out, fabsf(value))) return;
    out->n = mark;
    for (int digits = 6; digits <= 9; digits++) {
        char text[32];
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (digits < 9 && (float)strtod(text, NULL) != value) continue;
        wr_out_puts(out, text);
        return;
    }
}

void wr_out_ms(wr_out *out, double ms)
{
    char text[40], *p = text + sizeof text;
    if (!(ms > 0) || ms > 1e12) ms = 0;
    uint64_t us = (uint64_t)(ms * 1000 + 0.5);
    for (int i = 0; i < 3; i++, us /= 10) *--p = (char)('0' + us % 10);
    *--p = '.';
    do *--p = (char)('0' + us % 10);
    while (us /= 10);
    wr_out_raw(out, p, (size_t)(text + sizeof text - p));
}

void wr_out_number(wr_out *out, double value)
{
    if (isfinite(value))
        wr_out_printf(out, "%.15g", value);
    else
        wr_out_puts(out, "null");
}

void wr_out_u64(wr_out *out, uint64_t value)
{
    put_decimal(out, value, 0);
}

void wr_out_bool(wr_out *out, bool value)
{
    wr_out_puts(out, value ? "true" : "false");
}

void wr_out_base64(wr_out *out, const void *bytes, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = bytes;
    wr_out_raw(out, "\"", 1);
    for (size_t i = 0; i < n; i += 3) {
        unsigned a = in[i], b = i + 1 < n ? in[i + 1] : 0, c = i + 2 < n ? in[i + 2] : 0, word = a << 16 | b << 8 | c;
        char four[4] = {digit[word >> 18], digit[word >> 12 & 63], digit[word >> 6 & 63], digit[word & 63]};
        if (i + 1 >= n) four[2] = '=';
        if (i + 2 >= n) four[3] = '=';
        wr_out_raw(out, four, 4);
    }
    wr_out_raw(out, "\"", 1);
}
