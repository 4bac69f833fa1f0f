/* Values of a running template: comparing, printing, looking up. Python's rules where they can be seen. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"
#include "models/jinja_tree.h"

void jn_fail(jn_run *run, wr_status code, const char *fmt, ...)
{
    char what[384];
    va_list args;
    if (run->st) return;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    run->st = wr_fail(run->err, code, "%s: chat template: %s", run->jinja->where, what);
}

void *jn_alloc(jn_run *run, size_t n, size_t size)
{
    if (run->st) return NULL;
    if ((size && n > WR_JINJA_BYTES / size) || n * size > WR_JINJA_BYTES - run->bytes) {
        jn_fail(run, WR_EFULL, "it makes more than %zu bytes", WR_JINJA_BYTES);
        return NULL;
    }
    run->bytes += n * size;
    void *memory = wr_arena_calloc(run->arena, n, size);
    if (!memory) jn_fail(run, WR_ENOMEM, "out of memory");
    return memory;
}

wr_jinja_value wr_jinja_bool(bool value)
{
    return (wr_jinja_value){.type = WR_JINJA_BOOL, .u.i = value};
}

wr_jinja_value wr_jinja_text(wr_text text)
{
    return (wr_jinja_value){.type = WR_JINJA_STRING, .u.s = text};
}

bool jn_text_is(wr_text text, const char *word)
{
    size_t n = strlen(word);
    return text.n == n && (!n || !memcmp(text.bytes, word, n));
}

static bool same(wr_text a, wr_text b)
{
    return a.n == b.n && (!a.n || !memcmp(a.bytes, b.bytes, a.n));
}

bool jn_true(wr_jinja_value value)
{
    switch (value.type) {
    case WR_JINJA_UNDEFINED:
    case WR_JINJA_NONE:
        return false;
    case WR_JINJA_BOOL:
    case WR_JINJA_INT:
        return value.u.i != 0;
    case WR_JINJA_FLOAT:
        return value.u.f != 0;
    case WR_JINJA_STRING:
        return value.u.s.n != 0;
    case WR_JINJA_LIST:
        return value.u.list.n != 0;
    case WR_JINJA_MAP:
        return value.u.map->n != 0;
    default:
        return true;
    }
}

static bool whole(wr_jinja_value value)
{
    return value.type == WR_JINJA_BOOL || value.type == WR_JINJA_INT;
}

static bool number(wr_jinja_value value)
{
    return whole(value) || value.type == WR_JINJA_FLOAT;
}

static double real(wr_jinja_value value)
{
    return value.type == WR_JINJA_FLOAT ? value.u.f : (double)value.u.i;
}

const wr_jinja_value *jn_map_get(const wr_jinja_map *map, wr_text key)
{
    for (size_t i = 0; i < map->n; i++)
        if (same(map->key[i], key)) return &map->value[i];
    return NULL;
}

void jn_map_set(jn_run *run, wr_jinja_map *map, wr_text key, wr_jinja_value value)
{
    for (size_t i = 0; i < map->n; i++)
        if (same(map->key[i], key)) {
            map->value[i] = value;
            return;
        }
    if (map->n == map->cap) {
        size_t cap = map->cap ? 2 * map->cap : 8;
        wr_text *keys = jn_alloc(run, cap, sizeof *keys);
        wr_jinja_value *values = jn_alloc(run, cap, sizeof *values);
        if (!keys || !values) return;
        if (map->n) {
            memcpy(keys, map->key, map->n * sizeof *keys);
            memcpy(values, map->value, map->n * sizeof *values);
        }
        map->key = keys, map->value = values, map->cap = cap;
    }
    map->key[map->n] = key;
    map->value[map->n++] = value;
}

/* Values are trees: a map is changed only by whoever made it before it is seen (loop and namespace apart, which compare
 * as themselves), so this ends; its depth is that of literals in the template, WR_JINJA_DEPTH, and of the context. */
bool jn_equal(wr_jinja_value a, wr_jinja_value b)
{
    if (number(a) && number(b)) return whole(a) && whole(b) ? a.u.i == b.u.i : real(a) == real(b);
    if (a.type != b.type) return false;
    switch (a.type) {
    case WR_JINJA_STRING:
        return same(a.u.s, b.u.s);
    case WR_JINJA_LIST:
        if (a.u.list.n != b.u.list.n || a.tuple != b.tuple) return false;
        for (size_t i = 0; i < a.u.list.n; i++)
            if (!jn_equal(a.u.list.item[i], b.u.list.item[i])) return false;
        return true;
    case WR_JINJA_MAP:
        if (a.u.map == b.u.map) return true;
        if (a.u.map->n != b.u.map->n) return false;
        for (size_t i = 0; i < a.u.map->n; i++) {
            const wr_jinja_value *other = jn_map_get(b.u.map, a.u.map->key[i]);
            if (!other || !jn_equal(a.u.map->value[i], *other)) return false;
        }
        return true;
    case WR_JINJA_NAMESPACE:
        return a.u.map == b.u.map;
    case WR_JINJA_MACRO:
        return a.u.macro == b.u.macro;
    default:
        return true;
    }
}

/* UTF-8 sorts as code points do. */
int jn_compare(jn_run *run, wr_jinja_value a, wr_jinja_value b)
{
    if (whole(a) && whole(b)) return a.u.i < b.u.i ? -1 : a.u.i > b.u.i;
    if (number(a) && number(b)) return real(a) < real(b) ? -1 : real(a) > real(b);
    if (a.type == WR_JINJA_STRING && b.type == WR_JINJA_STRING) {
        size_t n = a.u.s.n < b.u.s.n ? a.u.s.n : b.u.s.n;
        int order = n ? memcmp(a.u.s.bytes, b.u.s.bytes, n) : 0;
        return order ? order : a.u.s.n < b.u.s.n ? -1 : a.u.s.n > b.u.s.n;
    }
    jn_fail(run, WR_EFORMAT, "'<' between values that have no order");
    return 0;
}

bool jn_contains(jn_run *run, wr_jinja_value box, wr_jinja_value value)
{
    if (box.type == WR_JINJA_STRING && value.type == WR_JINJA_STRING)
        return !value.u.s.n || (box.u.s.n && memmem(box.u.s.bytes, box.u.s.n, value.u.s.bytes, value.u.s.n));
    if (box.type == WR_JINJA_LIST) {
        for (size_t i = 0; i < box.u.list.n; i++)
            if (jn_equal(box.u.list.item[i], value)) return true;
        return false;
    }
    if (box.type == WR_JINJA_MAP) return value.type == WR_JINJA_STRING && jn_map_get(box.u.map, value.u.s);
    if (box.type == WR_JINJA_UNDEFINED) return false;
    jn_fail(run, WR_EFORMAT, "'in' needs a string, a list or a map on its right");
    return false;
}

size_t jn_length(wr_text text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) n += ((unsigned char)text.bytes[i] & 0xc0) != 0x80;
    return n;
}

wr_text jn_cat(jn_run *run, wr_text a, wr_text b)
{
    char *both = a.n && b.n ? jn_alloc(run, a.n + b.n, 1) : NULL;
    if (!both) return run->st ? (wr_text){"", 0} : a.n ? a : b;
    memcpy(both, a.bytes, a.n);
    memcpy(both + a.n, b.bytes, b.n);
    return (wr_text){both, a.n + b.n};
}

wr_jinja_value jn_attribute(jn_run *run, wr_jinja_value value, wr_text name)
{
    if (value.type == WR_JINJA_MAP || value.type == WR_JINJA_NAMESPACE) {
        const wr_jinja_value *found = jn_map_get(value.u.map, name);
        return found ? *found : (wr_jinja_value){0};
    }
    if (value.type == WR_JINJA_UNDEFINED)
        jn_fail(run, WR_EFORMAT, "\".%.*s\" of something undefined", (int)(name.n % 64), name.bytes);
    return (wr_jinja_value){0};
}

static wr_jinja_value letters(jn_run *run, wr_text text)
{
    wr_jinja_value list = {.type = WR_JINJA_LIST};
    list.u.list.item = jn_alloc(run, jn_length(text), sizeof *list.u.list.item);
    for (size_t at = 0, len; list.u.list.item && at < text.n; at += len) {
        wr_utf8_decode(text.bytes + at, text.n - at, &len);
        list.u.list.item[list.u.list.n++] = wr_jinja_text((wr_text){text.bytes + at, len});
    }
    return list;
}

bool jn_items(jn_run *run, wr_jinja_value value, wr_jinja_value *list)
{
    *list = (wr_jinja_value){.type = WR_JINJA_LIST};
    if (value.type == WR_JINJA_LIST) return *list = value, true;
    if (value.type == WR_JINJA_UNDEFINED) return true;
    if (value.type == WR_JINJA_STRING) return *list = letters(run, value.u.s), !run->st;
    if (value.type == WR_JINJA_MAP) {
        wr_jinja_value *item = jn_alloc(run, value.u.map->n, sizeof *item);
        for (size_t i = 0; item && i < value.u.map->n; i++) item[i] = wr_jinja_text(value.u.map->key[i]);
        list->u.list.item = item;
        list->u.list.n = item ? value.u.map->n : 0;
        return !run->st;
    }
    jn_fail(run, WR_EFORMAT, "a loop over something that is no list, string or map");
    return false;
}

/* ---- printing: str(), and what repr() and JSON have in common */

typedef struct text {
    jn_run *run;
    char *at;
    size_t n, cap;
    bool json;
    int indent;
} text;

static void put(text *to, const char *bytes, size_t n)
{
    if (to->n + n > to->cap) {
        size_t cap = 2 * (to->n + n) + 64;
        char *at = jn_alloc(to->run, cap, 1);
        if (!at) return;
        if (to->n) memcpy(at, to->at, to->n);
        to->at = at, to->cap = cap;
    }
    if (n) memcpy(to->at + to->n, bytes, n);
    to->n += n;
}

static void word(text *to, const char *bytes)
{
    put(to, bytes, strlen(bytes));
}

/* JSON always quotes by "; Python by ' unless the string has ' and no ". */
static void quoted(text *to, wr_text s)
{
    char quote = to->json ? '"' : s.n && memchr(s.bytes, '\'', s.n) && !memchr(s.bytes, '"', s.n) ? '"' : '\'';
    put(to, &quote, 1);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.bytes[i];
        char code[8];
        if (c == (unsigned char)quote || c == '\\') {
            code[0] = '\\', code[1] = (char)c, code[2] = 0;
        } else if (c == '\n' || c == '\r' || c == '\t' || (to->json && (c == '\b' || c == '\f'))) {
            code[0] = '\\', code[2] = 0;
            code[1] = c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : c == '\b' ? 'b' : 'f';
        } else if (c < 0x20 || (!to->json && c == 0x7f)) {
            snprintf(code, sizeof code, to->json ? "\\u%04x" : "\\x%02x", (unsigned)c);
        } else {
            put(to, (const char *)&c, 1);
            continue;
        }
        word(to, code);
    }
    put(to, &quote, 1);
}

/* The shortest digits that read back as the same double, as Python has it. */
static void digits(text *to, double f)
{
    char s[64];
    int n = 1;
    if (isnan(f) || isinf(f)) {
        word(to, isnan(f)   ? (to->json ? "NaN" : "nan")
                 : f < 0    ? (to->json ? "-Infinity" : "-inf")
                 : to->json ? "Infinity"
                            : "inf");
        return;
    }
    double size = fabs(f);
    do snprintf(s, sizeof s, "%.*e", n - 1, f);
    while (strtod(s, NULL) != f && ++n <= 17);
    if (size == 0 || (size >= 1e-4 && size < 1e16)) {
        int exponent = atoi(strchr(s, 'e') + 1);
        snprintf(s, sizeof s, "%.*f", n - 1 - exponent > 1 ? n - 1 - exponent : 1, f);
    }
    word(to, s);
}

static void line(text *to, size_t depth)
{
    if (to->indent < 0) return;
    put(to, "\n", 1);
    for (size_t i = 0; i < depth * (size_t)to->indent; i++) put(to, " ", 1);
}

static void write_value(text *to, wr_jinja_value value, size_t depth)
{
    char s[32];
    if (to->run->st) return;
    if (depth > WR_JINJA_DEPTH) {
        jn_fail(to->run, WR_EFULL, "a value nested deeper than %d", WR_JINJA_DEPTH);
        return;
    }
    bool list = value.type == WR_JINJA_LIST, round = list && value.tuple && !to->json;
    size_t n = list ? value.u.list.n : value.type == WR_JINJA_MAP ? value.u.map->n : 0;
    const char *comma = to->indent < 0 ? ", " : ",";
    switch (value.type) {
    case WR_JINJA_NONE:
        word(to, to->json ? "null" : "None");
        break;
    case WR_JINJA_BOOL:
        word(to, to->json ? (value.u.i ? "true" : "false") : value.u.i ? "True" : "False");
        break;
    case WR_JINJA_INT:
        snprintf(s, sizeof s, "%lld", (long long)value.u.i), word(to, s);
        break;
    case WR_JINJA_FLOAT:
        digits(to, value.u.f);
        break;
    case WR_JINJA_STRING:
        quoted(to, value.u.s);
        break;
    case WR_JINJA_LIST:
    case WR_JINJA_MAP:
        word(to, round ? "(" : list ? "[" : "{");
        for (size_t i = 0; i < n; i++) {
            if (i) word(to, comma);
            line(to, depth + 1);
            if (!list) quoted(to, value.u.map->key[i]), word(to, ": ");
            write_value(to, list ? value.u.list.item[i] : value.u.map->value[i], depth + 1);
        }
        if (round && n == 1) word(to, ",");
        if (n) line(to, depth);
        word(to, round ? ")" : list ? "]" : "}");
        break;
    case WR_JINJA_UNDEFINED:
        if (!to->json)
            word(to, "Undefined");
        else
            jn_fail(to->run, WR_EFORMAT, "tojson of something undefined");
        break;
    default:
        jn_fail(to->run, WR_EFORMAT, "a namespace or macro cannot be printed");
    }
}

wr_text jn_json(jn_run *run, wr_jinja_value value, int indent)
{
    text to = {.run = run, .json = true, .indent = indent, .at = (char *)""};
    write_value(&to, value, 0);
    return run->st ? (wr_text){"", 0} : (wr_text){to.at, to.n};
}

wr_text jn_string(jn_run *run, wr_jinja_value value)
{
    text to = {.run = run, .indent = -1, .at = (char *)""};
    if (value.type == WR_JINJA_STRING) return value.u.s;
    if (value.type == WR_JINJA_UNDEFINED) return (wr_text){"", 0};
    write_value(&to, value, 0);
    return run->st ? (wr_text){"", 0} : (wr_text){to.at, to.n};
}
