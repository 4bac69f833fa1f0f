#include "data/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "data/utf8.h"

/* Cuts at a character's boundary: a sentence that fills the buffer must stay valid UTF-8 for JSON answers. */
static void clean(char *text, size_t n)
{
    char repaired[3 * sizeof((wr_err *)0)->text];
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) text[i] = '?';
    if (wr_utf8_valid(text, n)) return;
    size_t len = wr_utf8_repair(text, n, repaired), keep = 0;
    while (keep < len) {
        size_t step;
        wr_utf8_decode(repaired + keep, len - keep, &step);
        if (keep + step >= sizeof((wr_err *)0)->text) break;
        keep += step;
    }
    memcpy(text, repaired, keep);
    text[keep] = 0;
}

wr_status wr_fail(wr_err *err, wr_status code, const char *fmt, ...)
{
    if (!err) return code;
    char text[sizeof err->text]; /* apart from err, whose own text may be an argument */
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    clean(text, strlen(text));
    memcpy(err->text, text, sizeof text);
    err->code = code;
    return code;
}

wr_status wr_fail_prefix(wr_err *err, const char *fmt, ...)
{
    if (!err) return WR_EIO;
    char text[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return wr_fail(err, err->code, "%s: %s", text, err->text);
}

const char *wr_status_name(wr_status code)
{
    switch (code) {
    case WR_OK:
        return "WR_OK";
    case WR_STOPPED:
        return "WR_STOPPED";
    case WR_ENOMEM:
        return "WR_ENOMEM";
    case WR_EIO:
        return "WR_EIO";
    case WR_EFORMAT:
        return "WR_EFORMAT";
    case WR_EARG:
        return "WR_EARG";
    case WR_EFULL:
        return "WR_EFULL";
    case WR_ENOTFOUND:
        return "WR_ENOTFOUND";
    case WR_EUNSUPPORTED:
        return "WR_EUNSUPPORTED";
    }
    return "WR_UNKNOWN";
}

int wr_exit_status(wr_status code)
{
    switch (code) {
    case WR_OK:
    case WR_STOPPED:
        return 0;
    case WR_EARG:
        return 2;
    case WR_EFORMAT:
    case WR_EUNSUPPORTED:
        return 4;
    default:
        return 1;
    }
}
