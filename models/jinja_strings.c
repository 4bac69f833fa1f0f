/* Methods of strings, and how arguments are read. */
#include <string.h>

#include "data/utf8.h"
#include "models/jinja_call.h"
#include "models/unicode.h"

/* ---- arguments */

static const wr_jinja_value nothing;

wr_jinja_value jn_argument(const jn_args *args, size_t at, const char *key)
{
    if (at < args->n) return args->at[at];
    const wr_jinja_value *found = args->named ? jn_map_get(args->named, (wr_text){key, strlen(key)}) : NULL;
    return found ? *found : nothing;
}

wr_text jn_text_argument(jn_run *run, const jn_args *args, size_t at, const char *key)
{
    wr_jinja_value value = jn_argument(args, at, key);
    if (value.type == WR_JINJA_STRING) return value.u.s;
    jn_fail(run, WR_EFORMAT, "a string is expected as argument \"%s\"", key);
    return (wr_text){"", 0};
}

bool jn_whole(wr_jinja_value value)
{
    return value.type == WR_JINJA_INT || value.type == WR_JINJA_BOOL;
}

wr_jinja_value jn_integer(size_t i)
{
    return (wr_jinja_value){.type = WR_JINJA_INT, .u.i = (int64_t)i};
}

/* ---- strings */

/* Python's str.isspace(): Unicode's White_Space and the four separators of ASCII. */
static bool is_space(uint32_t cp)
{
    return wr_unicode_is_space(cp) || (cp >= 0x1c && cp <= 0x1f);
}

static bool stripped(uint32_t cp, const wr_text *set)
{
    if (!set) return is_space(cp);
    for (size_t at = 0, len; at < set->n; at += len)
        if (wr_utf8_decode(set->bytes + at, set->n - at, &len) == cp) return true;
    return false;
}

wr_text jn_strip(wr_text text, const wr_text *set, bool left, bool right)
{
    size_t len;
    while (left && text.n && stripped(wr_utf8_decode(text.bytes, text.n, &len), set)) text.bytes += len, text.n -= len;
    while (right && text.n) {
        size_t at = text.n - 1;
        while (at && ((unsigned char)text.bytes[at] & 0xc0) == 0x80) at--;
        if (!stripped(wr_utf8_decode(text.bytes + at, text.n - at, &len), set)) break;
        text.n = at;
    }
    return text;
}

/* Lower case of every letter; upper case of ASCII's alone, others are refused: no template asks for them. */
wr_text jn_cased(jn_run *run, wr_text text, jn_case how)
{
    char *out = jn_alloc(run, text.n, 3);
    size_t n = 0;
    bool inside = false;
    for (size_t at = 0, len; out && at < text.n; at += len) {
        uint32_t cp = wr_utf8_decode(text.bytes + at, text.n - at, &len), low[WR_LOWER_MAX];
        bool big = how == UPPER || (how == TITLE && !inside) || (how == CAPITAL && at == 0);
        if (cp >= 0x80 && big && !run->st) jn_fail(run, WR_EUNSUPPORTED, "upper case of letters beyond ASCII");
        if (big) {
            out[n++] = (char)(cp >= 'a' && cp <= 'z' ? cp - 32 : cp);
        } else {
            size_t parts = wr_unicode_lower(cp, low);
            for (size_t i = 0; i < parts; i++) n += wr_utf8_encode(low[i], out + n);
        }
        inside = cp >= 0x80 ? wr_unicode_is_word(cp) : (cp | 32) >= 'a' && (cp | 32) <= 'z';
    }
    return run->st ? (wr_text){"", 0} : (wr_text){out, n};
}

static size_t occurs(wr_text text, size_t from, wr_text what)
{
    if (from > text.n || what.n > text.n - from) return SIZE_MAX;
    if (!what.n) return from;
    const char *at = memmem(text.bytes + from, text.n - from, what.bytes, what.n);
    return at ? (size_t)(at - text.bytes) : SIZE_MAX;
}

wr_text jn_replaced(jn_run *run, wr_text text, wr_text old, wr_text new, size_t most)
{
    size_t count = 0, n = 0, from = 0;
    if (!old.n) return jn_fail(run, WR_EUNSUPPORTED, "replace of an empty string"), text;
    for (size_t at = 0; count < most && (at = occurs(text, at, old)) != SIZE_MAX; at += old.n) count++;
    if (!count) return text;
    if (new.n > WR_JINJA_BYTES / count)
        return jn_fail(run, WR_EFULL, "it makes more than %zu bytes", WR_JINJA_BYTES), text;
    char *out = jn_alloc(run, text.n - count * old.n + count * new.n, 1);
    for (; out && count--; from += old.n) {
        size_t at = occurs(text, from, old);
        memcpy(out + n, text.bytes + from, at - from), n += at - from;
        if (new.n) memcpy(out + n, new.bytes, new.n), n += new.n;
        from = at;
    }
    if (!out) return text;
    if (text.n > from) memcpy(out + n, text.bytes + from, text.n - from), n += text.n - from;
    return (wr_text){out, n};
}

static wr_jinja_value split(jn_run *run, wr_text text, const jn_args *args)
{
    wr_jinja_value list = {.type = WR_JINJA_LIST}, by = jn_argument(args, 0, "sep"),
                   most = jn_argument(args, 1, "maxsplit");
    size_t cap = text.n + 1, left = jn_whole(most) && most.u.i >= 0 ? (size_t)most.u.i : SIZE_MAX;
    wr_jinja_value *item = list.u.list.item = jn_alloc(run, cap < 64 ? cap : cap / 2 + 64, sizeof *item);
    if (!item) return nothing;
    if (by.type == WR_JINJA_STRING && by.u.s.n) {
        size_t from = 0, at;
        while (left-- && (at = occurs(text, from, by.u.s)) != SIZE_MAX) {
            if (list.u.list.n + 2 > (cap < 64 ? cap : cap / 2 + 64))
                return jn_fail(run, WR_EFULL, "a split into too many parts"), nothing;
            item[list.u.list.n++] = wr_jinja_text((wr_text){text.bytes + from, at - from});
            from = at + by.u.s.n;
        }
        item[list.u.list.n++] = wr_jinja_text((wr_text){text.bytes + from, text.n - from});
        return list;
    }
    if (by.type != WR_JINJA_UNDEFINED && by.type != WR_JINJA_NONE)
        return jn_fail(run, WR_EFORMAT, "split by something that is no text"), nothing;
    for (text = jn_strip(text, NULL, true, false); text.n; text = jn_strip(text, NULL, true, false)) {
        size_t at = 0, len = 0;
        if (!left--) {
            item[list.u.list.n++] = wr_jinja_text(jn_strip(text, NULL, false, true));
            break;
        }
        while (at < text.n && !is_space(wr_utf8_decode(text.bytes + at, text.n - at, &len))) at += len;
        item[list.u.list.n++] = wr_jinja_text((wr_text){text.bytes, at});
        text.bytes += at, text.n -= at;
    }
    return list;
}

static bool begins(wr_text text, wr_text with)
{
    return text.n >= with.n && (!with.n || !memcmp(text.bytes, with.bytes, with.n));
}

static bool finishes(wr_text text, wr_text with)
{
    return text.n >= with.n && (!with.n || !memcmp(text.bytes + text.n - with.n, with.bytes, with.n));
}

/* startswith("a") and startswith(("a", "b")). */
static bool affix(jn_run *run, wr_text text, const jn_args *args, bool (*has)(wr_text, wr_text))
{
    wr_jinja_value with = jn_argument(args, 0, "prefix");
    if (with.type != WR_JINJA_LIST) return has(text, jn_text_argument(run, args, 0, "prefix"));
    for (size_t i = 0; i < with.u.list.n; i++)
        if (with.u.list.item[i].type == WR_JINJA_STRING && has(text, with.u.list.item[i].u.s)) return true;
    return false;
}

wr_text jn_joined(jn_run *run, wr_text by, wr_jinja_value value)
{
    wr_jinja_value list;
    wr_text out = {"", 0};
    size_t n = 0;
    if (!jn_items(run, value, &list)) return out;
    for (size_t i = 0; i < list.u.list.n && !run->st; i++) {
        wr_jinja_value *item = &list.u.list.item[i];
        if (item->type != WR_JINJA_STRING) return jn_fail(run, WR_EUNSUPPORTED, "join of what is no string"), out;
        n += item->u.s.n + (i ? by.n : 0);
        if (n > WR_JINJA_BYTES) return jn_fail(run, WR_EFULL, "it makes more than %zu bytes", WR_JINJA_BYTES), out;
    }
    char *at = jn_alloc(run, n, 1);
    for (size_t i = 0; at && i < list.u.list.n; i++) {
        wr_text s = list.u.list.item[i].u.s;
        if (i && by.n) memcpy(at + out.n, by.bytes, by.n), out.n += by.n;
        if (s.n) memcpy(at + out.n, s.bytes, s.n), out.n += s.n;
    }
    return at ? (wr_text){at, out.n} : (wr_text){"", 0};
}

wr_jinja_value jn_string_method(jn_run *run, int what, wr_text text, const jn_args *args)
{
    wr_jinja_value set = jn_argument(args, 0, "chars"), most;
    wr_text first;
    switch (what) {
    case M_STRIP:
    case M_LSTRIP:
    case M_RSTRIP:
        return wr_jinja_text(
            jn_strip(text, set.type == WR_JINJA_STRING ? &set.u.s : NULL, what != M_RSTRIP, what != M_LSTRIP));
    case M_SPLIT:
        return split(run, text, args);
    case M_STARTS:
        return wr_jinja_bool(affix(run, text, args, begins));
    case M_ENDS:
        return wr_jinja_bool(affix(run, text, args, finishes));
    case M_UPPER:
        return wr_jinja_text(jn_cased(run, text, UPPER));
    case M_LOWER:
        return wr_jinja_text(jn_cased(run, text, LOWER));
    case M_TITLE:
        return wr_jinja_text(jn_cased(run, text, TITLE));
    case M_CAPITALIZE:
        return wr_jinja_text(jn_cased(run, text, CAPITAL));
    case M_REPLACE:
        most = jn_argument(args, 2, "count");
        return wr_jinja_text(jn_replaced(run, text, jn_text_argument(run, args, 0, "old"),
                                         jn_text_argument(run, args, 1, "new"),
                                         jn_whole(most) && most.u.i >= 0 ? (size_t)most.u.i : SIZE_MAX));
    case M_JOIN:
        return wr_jinja_text(jn_joined(run, text, jn_argument(args, 0, "iterable")));
    case M_FIND: {
        size_t at = occurs(text, 0, jn_text_argument(run, args, 0, "sub"));
        return at == SIZE_MAX ? (wr_jinja_value){.type = WR_JINJA_INT, .u.i = -1}
                              : jn_integer(jn_length((wr_text){text.bytes, at}));
    }
    case M_NOPREFIX:
        first = jn_text_argument(run, args, 0, "prefix");
        return wr_jinja_text(begins(text, first) ? (wr_text){text.bytes + first.n, text.n - first.n} : text);
    default:
        first = jn_text_argument(run, args, 0, "suffix");
        return wr_jinja_text(finishes(text, first) ? (wr_text){text.bytes, text.n - first.n} : text);
    }
}
