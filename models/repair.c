#include "models/repair.h"

#include <string.h>
#include <utf8proc.h>

#include "data/utf8.h"
#include "models/repair_parts.h"

/* ---- one pass over code points: everything but encodings, in ftfy's order of fixes */

static const struct entity {
    const char *name;
    uint32_t cp;
} entities[] = {
#include "models/repair_entities.h"
};

static uint32_t entity_of(const uint32_t *s, size_t n)
{
    char name[32];
    if (n >= sizeof name) return 0;
    for (size_t i = 0; i < n; i++) name[i] = (char)s[i];
    name[n] = 0;
    for (size_t low = 0, high = sizeof entities / sizeof *entities; low < high;) {
        size_t middle = (low + high) / 2;
        int order = strcmp(name, entities[middle].name);
        if (!order) return entities[middle].cp;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return 0;
}

/* What &#N; means (HTML 5): Windows-1252 for the C1 controls, U+FFFD for what is no character. 0: nothing (a control).
 */
static uint32_t numbered(uint32_t cp)
{
    if (cp >= 0x80 && cp <= 0x9f) return wr_repair_windows_1252((uint8_t)cp);
    if (!cp || (cp >= 0xd800 && cp <= 0xdfff) || cp > 0x10ffff) return 0xfffd;
    bool control = (cp < 0x20 && cp != 9 && cp != 10 && cp != 12 && cp != 13) || cp == 0x7f;
    bool none = (cp >= 0xfdd0 && cp <= 0xfdef) || (cp & 0xfffe) == 0xfffe;
    return control || none ? 0 : cp;
}

/* The entity at s[0] == '&': *len its length with ';', *cp what it means; false when it is none. */
static bool entity_at(const uint32_t *s, size_t n, size_t *len, uint32_t *cp)
{
    size_t end = 1;
    while (end < n && end < 27 && s[end] != ';') {
        uint32_t c = s[end];
        bool word = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z' && c < 128);
        if (!word && !(end == 1 && c == '#')) return false;
        end++;
    }
    *len = end + 1;
    if (end >= n || end == 1 || s[end] != ';') return false;
    if (s[1] != '#') return (*cp = entity_of(s + 1, end - 1)) != 0;
    bool hex = end > 2 && (s[2] | 32) == 'x';
    size_t i = hex ? 3 : 2;
    uint32_t value = 0;
    if (i == end || end - 2 > 24) return false;
    for (; i < end; i++) {
        uint32_t c = s[i] | 32, digit = s[i] >= '0' && s[i] <= '9'    ? s[i] - '0'
                                        : c >= 'a' && c <= 'f' && hex ? c - 'a' + 10
                                                                      : 99;
        if (digit == 99) return false;
        value = value > 0x110000 ? value : value * (hex ? 16 : 10) + digit;
    }
    *cp = numbered(value);
    return true;
}

static size_t unescape(uint32_t *s, size_t n)
{
    size_t out = 0, len;
    uint32_t cp;
    for (size_t i = 0; i < n;) {
        if (s[i] != '&' || !entity_at(s + i, n - i, &len, &cp)) {
            s[out++] = s[i++];
            continue;
        }
        if (cp && cp != ';')
            s[out++] = cp;
        else if (cp)
            memmove(s + out, s + i, len * sizeof *s), out += len; /* "&#59;" stays, as there */
        i += len;
    }
    return out;
}

static const char *ligature(uint32_t cp)
{
    switch (cp) {
    case 0x132:
        return "IJ";
    case 0x133:
        return "ij";
    case 0x149:
        return "\xCA\xBCn";
    case 0x1F1:
        return "DZ";
    case 0x1F2:
        return "Dz";
    case 0x1F3:
        return "dz";
    case 0x1C4:
        return "D\xC5\xBD";
    case 0x1C5:
        return "D\xC5\xBE";
    case 0x1C6:
        return "d\xC5\xBE";
    case 0x1C7:
        return "LJ";
    case 0x1C8:
        return "Lj";
    case 0x1C9:
        return "lj";
    case 0x1CA:
        return "NJ";
    case 0x1CB:
        return "Nj";
    case 0x1CC:
        return "nj";
    case 0xFB00:
        return "ff";
    case 0xFB01:
        return "fi";
    case 0xFB02:
        return "fl";
    case 0xFB03:
        return "ffi";
    case 0xFB04:
        return "ffl";
    case 0xFB05:
        return "\xC5\xBFt";
    case 0xFB06:
        return "st";
    default:
        return NULL;
    }
}

/* Full width and half width forms to the usual ones: what NFKC says of U+FF01..U+FFEE, and the ideographic space. */
static uint32_t usual_width(uint32_t cp)
{
    if (cp == 0x3000) return ' ';
    if (cp < 0xff01 || cp > 0xffee) return cp;
    if (cp <= 0xff5e) return cp - 0xfee0;
    utf8proc_int32_t part[8];
    int boundary = 0;
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)cp, part, 8, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, &boundary);
    return n == 1 ? (uint32_t)part[0] : cp;
}

static uint32_t straight(uint32_t cp)
{
    if (cp >= 0x201c && cp <= 0x201f) return '"';
    return cp == 0x2bc || (cp >= 0x2018 && cp <= 0x201b) ? '\'' : cp;
}

static bool dropped(uint32_t cp)
{
    if (cp < 0x20) return cp != 9 && cp != 10 && cp != 12 && cp != 13;
    return cp == 0x7f || (cp >= 0x206a && cp <= 0x206f) || cp == 0xfeff || (cp >= 0xfff9 && cp <= 0xfffc);
}

/* ESC [ digits and semicolons, a letter. */
static size_t escape_at(const uint32_t *s, size_t n)
{
    size_t i = 2;
    if (n < 3 || s[0] != 0x1b || s[1] != '[') return 0;
    while (i < n && ((s[i] >= '0' && s[i] <= '9') || s[i] == ';')) i++;
    return i < n && s[i] < 128 && (s[i] | 32) >= 'a' && (s[i] | 32) <= 'z' ? i + 1 : 0;
}

/* Ligatures, widths, quotes, line ends, escapes and controls. out has room for 3n. C1 controls are Windows-1252's. */
static size_t characters(const uint32_t *s, size_t n, uint32_t *out)
{
    size_t at = 0, skip;
    for (size_t i = 0; i < n; i++) {
        uint32_t cp = s[i];
        if (cp < 0x7f && cp >= 0x20) {
            out[at++] = cp;
            continue;
        }
        if (cp >= 0x80 && cp <= 0x9f) cp = wr_repair_windows_1252((uint8_t)cp);
        const char *parts = cp >= 0x132 ? ligature(cp) : NULL;
        for (size_t j = 0, end = parts ? strlen(parts) : 0, len; j < end; j += len)
            out[at++] = straight(wr_utf8_decode(parts + j, end - j, &len));
        if (parts) continue;
        if (cp == 0xffe3) out[at++] = ' '; /* the full width macron is a space and a combining one */
        cp = cp == 0xffe3 ? 0x304 : straight(usual_width(cp));
        if (cp == '\r' || cp == 0x2028 || cp == 0x2029 || cp == 0x85) {
            if (cp == '\r' && i + 1 < n && s[i + 1] == '\n') i++;
            cp = '\n';
        }
        if (cp == 0x1b && (skip = escape_at(s + i, n - i)))
            i += skip - 1;
        else if (!dropped(cp))
            out[at++] = cp;
    }
    return at;
}

/* NFC. Nothing below U+0300 changes or joins. */
static wr_status compose(uint32_t **s, size_t *n, wr_arena *arena)
{
    size_t high = 0;
    while (high < *n && (*s)[high] < 0x300) high++;
    if (high == *n) return WR_OK;
    size_t cap = 4 * *n + 16, out = 0;
    utf8proc_int32_t *part = wr_arena_alloc(arena, cap * sizeof *part);
    if (!part) return WR_ENOMEM;
    for (size_t i = 0; i < *n; i++) {
        int boundary = 0;
        utf8proc_ssize_t wrote = utf8proc_decompose_char((utf8proc_int32_t)(*s)[i], part + out,
                                                         (utf8proc_ssize_t)(cap - out), UTF8PROC_DECOMPOSE, &boundary);
        if (wrote < 0 || (size_t)wrote > cap - out) return WR_ENOMEM;
        out += (size_t)wrote;
    }
    for (size_t i = 1; i < out; i++) { /* canonical order: short runs of marks, insertion sort within them */
        utf8proc_int32_t cp = part[i];
        int order = utf8proc_get_property(cp)->combining_class;
        size_t j = i;
        for (; order && j && utf8proc_get_property(part[j - 1])->combining_class > order; j--) part[j] = part[j - 1];
        part[j] = cp;
    }
    utf8proc_ssize_t kept = utf8proc_normalize_utf32(part, (utf8proc_ssize_t)out, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    if (kept < 0) return WR_ENOMEM;
    *s = (uint32_t *)part, *n = (size_t)kept;
    return WR_OK;
}

/* ---- segments */

typedef struct run {
    uint32_t *s;
    size_t n;
} run;

static wr_status pass(run *r, bool entities_too, wr_arena *arena)
{
    wr_status st = WR_OK;
    if (entities_too) r->n = unescape(r->s, r->n);
    st = wr_repair_encoding(&r->s, &r->n, arena);
    uint32_t *out = st ? NULL : wr_arena_alloc(arena, (3 * r->n + 1) * sizeof *out);
    if (!out) return WR_ENOMEM;
    r->n = characters(r->s, r->n, out);
    r->s = out;
    return compose(&r->s, &r->n, arena);
}

/* Until nothing changes. A pass shortens what it undoes, so this ends; the bound is for what neither we nor ftfy
 * foresaw. */
enum { PASSES = 32 };

static wr_status segment(run *r, bool entities_too, wr_arena *arena)
{
    for (int i = 0; i < PASSES; i++) {
        run before = {wr_arena_alloc(arena, r->n * sizeof *before.s), r->n};
        if (!before.s) return WR_ENOMEM;
        if (r->n) memcpy(before.s, r->s, r->n * sizeof *before.s);
        wr_status st = pass(r, entities_too, arena);
        if (st) return st;
        if (r->n == before.n && !memcmp(r->s, before.s, r->n * sizeof *before.s)) break;
    }
    return WR_OK;
}

static bool harmless(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x7f || c == '&' || (c < 0x20 && c != '\n' && c != '\t')) return false;
    }
    return true;
}

static wr_status line_of(const char *s, size_t n, bool entities_too, wr_arena *arena, char **out, size_t *size)
{
    run r = {wr_arena_alloc(arena, (n + 1) * sizeof *r.s), 0};
    if (!r.s) return WR_ENOMEM;
    for (size_t at = 0, len; at < n; at += len) r.s[r.n++] = wr_utf8_decode(s + at, n - at, &len);
    wr_status st = segment(&r, entities_too, arena);
    if (st) return st;
    if (!(*out = wr_arena_alloc(arena, 4 * r.n + 1))) return WR_ENOMEM;
    *size = 0;
    for (size_t i = 0; i < r.n; i++) *size += wr_utf8_encode(r.s[i], *out + *size);
    return WR_OK;
}

wr_status wr_repair(wr_text text, wr_arena *arena, wr_text *out)
{
    bool entities_too = true;
    size_t n = 0, cap = text.n;
    *out = text;
    if (harmless(text.bytes, text.n)) return WR_OK;
    if (text.n > SIZE_MAX / 64) return WR_ENOMEM;
    char *to = wr_arena_alloc(arena, cap + 1);
    for (size_t from = 0, len; to && from < text.n; from += len) {
        const char *s = text.bytes + from, *line = memchr(s, '\n', text.n - from);
        char *fixed = (char *)s;
        size_t mark = wr_arena_mark(arena), size = len = line ? (size_t)(line - s) + 1 : text.n - from;
        if (memchr(s, '<', len)) entities_too = false; /* markup: here and in everything after it */
        if (!harmless(s, len) && line_of(s, len, entities_too, arena, &fixed, &size)) return WR_ENOMEM;
        if (size > cap - n) {
            char *more = wr_arena_alloc(arena, cap = 2 * cap + size);
            if (!more) return WR_ENOMEM;
            memcpy(more, to, n);
            memcpy(more + n, fixed, size);
            to = more;
        } else {
            memcpy(to + n, fixed, size);
            wr_arena_rollback(arena, mark);
        }
        n += size;
    }
    *out = (wr_text){to ? to : "", n};
    return to ? WR_OK : WR_ENOMEM;
}
