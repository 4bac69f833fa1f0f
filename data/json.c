#include "data/json.h"

#include <stdlib.h>
#include <string.h>

#include "data/mapfile.h"

/* jansson's own limit (2048) is compiled in, so ours is checked first: one pass over the brackets outside strings.
 * NUL bytes are looked for on the way, because jansson steps over one that follows a number. */
static size_t depth_of(const char *text, size_t n, size_t *nul)
{
    size_t depth = 0, deepest = 0;
    bool quoted = false;
    *nul = n;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > deepest) deepest = depth;
        } else if ((c == '}' || c == ']') && depth) {
            depth--;
        } else if (c == 0 && *nul == n) {
            *nul = i;
        }
    }
    return deepest;
}

wr_status wr_json_parse(json_t **out, const char *text, size_t n, const char *where, wr_err *err)
{
    size_t nul;
    *out = NULL;
    if (depth_of(text, n, &nul) > WR_JSON_DEPTH)
        return wr_fail(err, WR_EFORMAT, "%s: JSON nested deeper than %d", where, WR_JSON_DEPTH);
    if (nul < n) return wr_fail(err, WR_EFORMAT, "%s: not valid JSON at byte %zu: a NUL byte", where, nul + 1);
    json_error_t why;
    json_t *value = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (value) return *out = value, WR_OK;
    if (json_error_code(&why) == json_error_out_of_memory) return wr_fail(err, WR_ENOMEM, "%s: out of memory", where);
    return wr_fail(err, WR_EFORMAT, "%s: not valid JSON at byte %d: %s", where, why.position, why.text);
}

/* The code unit of "\uXXXX" at s, or 0. */
static unsigned escape(const char *s, const char *end)
{
    unsigned unit = 0;
    if (end - s < 6 || s[0] != '\\' || s[1] != 'u') return 0;
    for (int i = 2; i < 6; i++) {
        char c = s[i], lower = (char)(c | 0x20);
        if (c >= '0' && c <= '9')
            unit = unit << 4 | (unsigned)(c - '0');
        else if (lower >= 'a' && lower <= 'f')
            unit = unit << 4 | (unsigned)(lower - 'a' + 10);
        else
            return 0;
    }
    return unit;
}

/* Writes FFFD over every half of a pair that stands alone; true when there was one. */
static bool mend_surrogates(char *text, size_t n)
{
    bool any = false;
    for (char *p = text, *end = text + n; (p = memchr(p, '\\', (size_t)(end - p)));) {
        unsigned unit = escape(p, end), next = unit ? escape(p + 6, end) : 0;
        bool high = unit >= 0xd800 && unit <= 0xdbff, low = unit >= 0xdc00 && unit <= 0xdfff;
        if (high && next >= 0xdc00 && next <= 0xdfff) {
            p += 12;
            continue;
        }
        if (high || low) {
            memcpy(p + 2, "fffd", 4);
            any = true;
        }
        p += unit ? 6 : end - p > 1 ? 2 : 1; /* a backslash and what it escapes */
    }
    return any;
}

wr_status wr_json_parse_line(json_t **out, const char *text, size_t n, const char *where, wr_err *err)
{
    wr_status st = wr_json_parse(out, text, n, where, err);
    if (st != WR_EFORMAT || !memmem(text, n, "\\u", 2)) return st;
    char *mended = malloc(n);
    if (!mended) return wr_fail(err, WR_ENOMEM, "%s: out of memory", where);
    memcpy(mended, text, n);
    if (mend_surrogates(mended, n)) st = wr_json_parse(out, mended, n, where, err);
    free(mended);
    return st;
}

/* Writes the nearest number of 64 bits over every integer that is beyond; true when there was one. Beyond are those of more
 * digits and the larger ones of as many. */
static bool saturate(char *text, size_t n)
{
    static const char most[] = "9223372036854775807";
    const size_t digits = sizeof most - 1;
    bool any = false, quoted = false;
    for (size_t i = 0, end; i < n; i = end) {
        end = i + 1;
        if (quoted && text[i] == '\\') end++;
        else if (text[i] == '"') quoted = !quoted;
        if (quoted || text[i] < '0' || text[i] > '9') continue;
        while (end < n && text[end] >= '0' && text[end] <= '9') end++;
        bool large = end - i > digits || (end - i == digits && memcmp(text + i, most, digits) > 0);
        bool whole = end == n || !strchr(".eE", text[end]), fraction = i && strchr(".eE+", text[i - 1]);
        bool exponent = i > 1 && text[i - 1] == '-' && strchr("eE", text[i - 2]);
        if (!large || !whole || fraction || exponent) continue;
        memcpy(text + i, most, digits);
        memset(text + i + digits, ' ', end - i - digits);
        any = true;
    }
    return any;
}

wr_status wr_json_load(json_t **out, const char *path, size_t max, wr_err *err)
{
    char *text;
    size_t n;
    *out = NULL;
    wr_status st = wr_file_read(path, max, &text, &n, err);
    if (st) return st;
    st = wr_json_parse(out, text, n, path, err);
    if (st == WR_EFORMAT && saturate(text, n)) st = wr_json_parse(out, text, n, path, err);
    free(text);
    return st;
}
