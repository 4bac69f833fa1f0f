/* Filters, tests, methods and functions: tables of names, which the parser asks, and what they do. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/jinja_call.h"

enum {
    F_TRIM,
    F_LENGTH,
    F_DEFAULT,
    F_TOJSON,
    F_FIRST,
    F_LAST,
    F_JOIN,
    F_UPPER,
    F_LOWER,
    F_TITLE,
    F_CAPITALIZE,
    F_REPLACE,
    F_ITEMS,
    F_LIST,
    F_STRING,
    F_INT,
    F_FLOAT,
    F_ABS,
    F_REVERSE,
    F_MAP,
    F_SELECT,
    F_REJECT,
    F_SAFE
};
typedef struct name {
    const char *text;
    int what;
} name;

static const name filters[] = {{"trim", F_TRIM},
                               {"length", F_LENGTH},
                               {"count", F_LENGTH},
                               {"default", F_DEFAULT},
                               {"d", F_DEFAULT},
                               {"tojson", F_TOJSON},
                               {"first", F_FIRST},
                               {"last", F_LAST},
                               {"join", F_JOIN},
                               {"upper", F_UPPER},
                               {"lower", F_LOWER},
                               {"title", F_TITLE},
                               {"capitalize", F_CAPITALIZE},
                               {"replace", F_REPLACE},
                               {"items", F_ITEMS},
                               {"list", F_LIST},
                               {"string", F_STRING},
                               {"int", F_INT},
                               {"float", F_FLOAT},
                               {"abs", F_ABS},
                               {"reverse", F_REVERSE},
                               {"map", F_MAP},
                               {"selectattr", F_SELECT},
                               {"rejectattr", F_REJECT},
                               {"safe", F_SAFE},
                               {NULL, 0}};

enum {
    T_DEFINED,
    T_UNDEFINED,
    T_NONE,
    T_STRING,
    T_MAPPING,
    T_ITERABLE,
    T_SEQUENCE,
    T_NUMBER,
    T_INTEGER,
    T_FLOAT,
    T_BOOLEAN,
    T_TRUE,
    T_FALSE,
    T_EVEN,
    T_ODD,
    T_DIVISIBLE,
    T_EQ,
    T_NE,
    T_SAME,
    T_LT,
    T_GT,
    T_LE,
    T_GE,
    T_IN
};
static const name tests[] = {{"defined", T_DEFINED},
                             {"undefined", T_UNDEFINED},
                             {"none", T_NONE},
                             {"string", T_STRING},
                             {"mapping", T_MAPPING},
                             {"iterable", T_ITERABLE},
                             {"sequence", T_SEQUENCE},
                             {"number", T_NUMBER},
                             {"integer", T_INTEGER},
                             {"float", T_FLOAT},
                             {"boolean", T_BOOLEAN},
                             {"true", T_TRUE},
                             {"false", T_FALSE},
                             {"even", T_EVEN},
                             {"odd", T_ODD},
                             {"divisibleby", T_DIVISIBLE},
                             {"eq", T_EQ},
                             {"equalto", T_EQ},
                             {"ne", T_NE},
                             {"sameas", T_SAME},
                             {"lt", T_LT},
                             {"lessthan", T_LT},
                             {"gt", T_GT},
                             {"greaterthan", T_GT},
                             {"le", T_LE},
                             {"ge", T_GE},
                             {"in", T_IN},
                             {NULL, 0}};

static const name methods[] = {{"strip", M_STRIP},
                               {"lstrip", M_LSTRIP},
                               {"rstrip", M_RSTRIP},
                               {"split", M_SPLIT},
                               {"startswith", M_STARTS},
                               {"endswith", M_ENDS},
                               {"upper", M_UPPER},
                               {"lower", M_LOWER},
                               {"title", M_TITLE},
                               {"capitalize", M_CAPITALIZE},
                               {"replace", M_REPLACE},
                               {"join", M_JOIN},
                               {"find", M_FIND},
                               {"removeprefix", M_NOPREFIX},
                               {"removesuffix", M_NOSUFFIX},
                               {"items", M_ITEMS},
                               {"keys", M_KEYS},
                               {"values", M_VALUES},
                               {"get", M_GET},
                               {NULL, 0}};

enum { N_NAMESPACE, N_RANGE, N_DICT, N_RAISE, N_NOW };
static const name functions[] = {{"namespace", N_NAMESPACE},   {"range", N_RANGE},      {"dict", N_DICT},
                                 {"raise_exception", N_RAISE}, {"strftime_now", N_NOW}, {NULL, 0}};

static const wr_jinja_value nothing;

static int find(const name *table, wr_text text)
{
    for (; table->text; table++)
        if (jn_text_is(text, table->text)) return table->what;
    return -1;
}

int jn_filter_find(wr_text text)
{
    return find(filters, text);
}

int jn_test_find(wr_text text)
{
    return find(tests, text);
}

int jn_method_find(wr_text text)
{
    return find(methods, text);
}

int jn_function_find(wr_text text)
{
    return find(functions, text);
}

/* ---- maps */

static wr_jinja_value pairs(jn_run *run, const wr_jinja_map *map, int what)
{
    wr_jinja_value list = {.type = WR_JINJA_LIST};
    wr_jinja_value *item = list.u.list.item = jn_alloc(run, map->n, sizeof *item);
    for (size_t i = 0; item && i < map->n; i++) {
        wr_jinja_value *pair = what == M_ITEMS ? jn_alloc(run, 2, sizeof *pair) : NULL;
        if (pair) {
            pair[0] = wr_jinja_text(map->key[i]), pair[1] = map->value[i];
            item[i] = (wr_jinja_value){.type = WR_JINJA_LIST, .tuple = true, .u.list = {pair, 2}};
        } else {
            item[i] = what == M_KEYS ? wr_jinja_text(map->key[i]) : map->value[i];
        }
    }
    list.u.list.n = item ? map->n : 0;
    return list;
}

static wr_jinja_value map_method(jn_run *run, int what, const wr_jinja_map *map, const jn_args *args)
{
    if (what != M_GET) return pairs(run, map, what);
    const wr_jinja_value *found = jn_map_get(map, jn_text_argument(run, args, 0, "key"));
    if (found) return *found;
    wr_jinja_value otherwise = jn_argument(args, 1, "default");
    return otherwise.type ? otherwise : (wr_jinja_value){.type = WR_JINJA_NONE};
}

wr_jinja_value jn_method(jn_run *run, int index, wr_jinja_value value, const jn_args *args)
{
    if (value.type == WR_JINJA_STRING && index < M_ITEMS) return jn_string_method(run, index, value.u.s, args);
    if (value.type == WR_JINJA_MAP && index >= M_ITEMS) return map_method(run, index, value.u.map, args);
    for (const name *row = methods; row->text; row++)
        if (row->what == index) jn_fail(run, WR_EFORMAT, "\".%s()\" of a value that has no such method", row->text);
    return nothing;
}

/* ---- filters */

static wr_jinja_value attribute(jn_run *run, wr_jinja_value value, wr_text path)
{
    while (path.n && !run->st) {
        const char *dot = memchr(path.bytes, '.', path.n);
        wr_text head = {path.bytes, dot ? (size_t)(dot - path.bytes) : path.n};
        value = jn_attribute(run, value, head);
        size_t skip = head.n + (dot != NULL);
        path.bytes += skip, path.n -= skip;
    }
    return value;
}

/* selectattr("role", "equalto", "user"): without a test the attribute itself decides. */
static wr_jinja_value selected(jn_run *run, wr_jinja_value value, const jn_args *args, bool keep)
{
    wr_jinja_value list, out = {.type = WR_JINJA_LIST};
    wr_text path = jn_text_argument(run, args, 0, "attribute");
    jn_args rest = {args->n > 2 ? args->at + 2 : NULL, args->n > 2 ? args->n - 2 : 0, args->named};
    int test = args->n > 1 ? jn_test_find(jn_text_argument(run, args, 1, "test")) : 0;
    if (args->n > 1 && test < 0) jn_fail(run, WR_EUNSUPPORTED, "a test that is not supported");
    if (run->st || !jn_items(run, value, &list)) return nothing;
    wr_jinja_value *item = out.u.list.item = jn_alloc(run, list.u.list.n, sizeof *item);
    for (size_t i = 0; item && i < list.u.list.n && !run->st; i++) {
        wr_jinja_value of = attribute(run, list.u.list.item[i], path);
        if ((args->n > 1 ? jn_test(run, test, of, &rest) : jn_true(of)) == keep)
            item[out.u.list.n++] = list.u.list.item[i];
    }
    return out;
}

static wr_jinja_value mapped(jn_run *run, wr_jinja_value value, const jn_args *args)
{
    wr_jinja_value list, by = jn_argument(args, SIZE_MAX, "attribute"), out = {.type = WR_JINJA_LIST};
    jn_args none = {0};
    int filter = -1;
    if (by.type != WR_JINJA_STRING) filter = jn_filter_find(jn_text_argument(run, args, 0, "filter"));
    if (by.type != WR_JINJA_STRING && filter < 0)
        jn_fail(run, WR_EUNSUPPORTED, "map by a filter that is not supported");
    if (run->st || !jn_items(run, value, &list)) return nothing;
    wr_jinja_value *item = out.u.list.item = jn_alloc(run, list.u.list.n, sizeof *item);
    for (size_t i = 0; item && i < list.u.list.n && !run->st; i++)
        item[out.u.list.n++] = filter < 0 ? attribute(run, list.u.list.item[i], by.u.s)
                                          : jn_filter(run, filter, list.u.list.item[i], &none);
    return out;
}

static wr_jinja_value reversed(jn_run *run, wr_jinja_value value)
{
    wr_jinja_value list, out = {.type = WR_JINJA_LIST};
    if (!jn_items(run, value, &list)) return nothing;
    size_t n = list.u.list.n;
    wr_jinja_value *item = out.u.list.item = jn_alloc(run, n, sizeof *item);
    for (size_t i = 0; item && i < n; i++) item[i] = list.u.list.item[n - 1 - i];
    out.u.list.n = item ? n : 0;
    return value.type == WR_JINJA_STRING ? wr_jinja_text(jn_joined(run, (wr_text){"", 0}, out)) : out;
}

static wr_jinja_value length(jn_run *run, wr_jinja_value value)
{
    if (value.type == WR_JINJA_STRING) return jn_integer(jn_length(value.u.s));
    if (value.type == WR_JINJA_LIST) return jn_integer(value.u.list.n);
    if (value.type == WR_JINJA_MAP) return jn_integer(value.u.map->n);
    if (value.type != WR_JINJA_UNDEFINED) jn_fail(run, WR_EFORMAT, "length of a value that has none");
    return jn_integer(0);
}

/* Python's int() and float() of clean numbers; the filters' default, 0, for anything else. */
static wr_jinja_value number(wr_jinja_value value, bool real)
{
    char digits[64], *end = digits;
    wr_jinja_value zero = {.type = real ? WR_JINJA_FLOAT : WR_JINJA_INT};
    if (value.type == WR_JINJA_STRING) {
        wr_text text = jn_strip(value.u.s, NULL, true, true);
        if (!text.n || text.n >= sizeof digits) return zero;
        memcpy(digits, text.bytes, text.n);
        digits[text.n] = 0;
        double f = strtod(digits, &end);
        if (*end || end == digits || strpbrk(digits, "xXpPnN")) return zero;
        value = (wr_jinja_value){.type = WR_JINJA_FLOAT, .u.f = f};
    }
    if (jn_whole(value))
        return real ? (wr_jinja_value){.type = WR_JINJA_FLOAT, .u.f = (double)value.u.i}
                    : (wr_jinja_value){.type = WR_JINJA_INT, .u.i = value.u.i};
    if (value.type != WR_JINJA_FLOAT) return zero;
    if (real) return value;
    if (!(fabs(value.u.f) < 9e18)) return zero;
    return (wr_jinja_value){.type = WR_JINJA_INT, .u.i = (int64_t)value.u.f};
}

static wr_jinja_value end_of(jn_run *run, wr_jinja_value value, bool last)
{
    wr_jinja_value list;
    if (!jn_items(run, value, &list) || !list.u.list.n) return nothing;
    return list.u.list.item[last ? list.u.list.n - 1 : 0];
}

static wr_jinja_value text_filter(jn_run *run, int index, wr_jinja_value value, const jn_args *args)
{
    wr_text text = jn_string(run, value);
    wr_jinja_value set = jn_argument(args, 0, "chars"), most = jn_argument(args, 2, "count");
    if (run->st) return nothing;
    switch (index) {
    case F_TRIM:
        return wr_jinja_text(jn_strip(text, set.type == WR_JINJA_STRING ? &set.u.s : NULL, true, true));
    case F_UPPER:
        return wr_jinja_text(jn_cased(run, text, UPPER));
    case F_LOWER:
        return wr_jinja_text(jn_cased(run, text, LOWER));
    case F_TITLE:
        return wr_jinja_text(jn_cased(run, text, TITLE));
    case F_CAPITALIZE:
        return wr_jinja_text(jn_cased(run, text, CAPITAL));
    case F_REPLACE:
        return wr_jinja_text(jn_replaced(run, text, jn_text_argument(run, args, 0, "old"),
                                         jn_text_argument(run, args, 1, "new"),
                                         jn_whole(most) && most.u.i >= 0 ? (size_t)most.u.i : SIZE_MAX));
    default:
        return wr_jinja_text(text); /* string, safe */
    }
}

wr_jinja_value jn_filter(jn_run *run, int index, wr_jinja_value value, const jn_args *args)
{
    wr_jinja_value list, first = jn_argument(args, 0,
                                             index == F_TOJSON ? "ensure_ascii"
                                             : index == F_JOIN ? "d"
                                                               : "default_value");
    switch (index) {
    case F_LENGTH:
        return length(run, value);
    case F_DEFAULT:
        if (value.type && !(jn_true(jn_argument(args, 1, "boolean")) && !jn_true(value))) return value;
        return first.type ? first : wr_jinja_text((wr_text){"", 0});
    case F_TOJSON:
        if (jn_true(first)) return jn_fail(run, WR_EUNSUPPORTED, "tojson with ensure_ascii"), nothing;
        list = jn_argument(args, 1, "indent");
        if (jn_whole(list) && list.u.i > 16) return jn_fail(run, WR_EUNSUPPORTED, "tojson with a wide indent"), nothing;
        return wr_jinja_text(jn_json(run, value, jn_whole(list) && list.u.i >= 0 ? (int)list.u.i : -1));
    case F_FIRST:
        return end_of(run, value, false);
    case F_LAST:
        return end_of(run, value, true);
    case F_JOIN:
        return wr_jinja_text(jn_joined(run, first.type == WR_JINJA_STRING ? first.u.s : (wr_text){"", 0}, value));
    case F_ITEMS:
        return value.type == WR_JINJA_UNDEFINED ? (wr_jinja_value){.type = WR_JINJA_LIST}
                                                : jn_method(run, M_ITEMS, value, args);
    case F_LIST:
        if (!jn_items(run, value, &list)) return nothing;
        list.tuple = false;
        return list;
    case F_INT:
        return number(value, false);
    case F_FLOAT:
        return number(value, true);
    case F_ABS:
        if (value.type == WR_JINJA_FLOAT) return value.u.f = fabs(value.u.f), value;
        if (!jn_whole(value)) return jn_fail(run, WR_EFORMAT, "abs of something that is no number"), nothing;
        if (value.u.i < 0 && value.u.i != INT64_MIN) value.u.i = -value.u.i;
        return value;
    case F_REVERSE:
        return reversed(run, value);
    case F_MAP:
        return mapped(run, value, args);
    case F_SELECT:
    case F_REJECT:
        return selected(run, value, args, index == F_SELECT);
    default:
        return text_filter(run, index, value, args);
    }
}

/* ---- tests */

static int64_t whole_of(jn_run *run, wr_jinja_value value)
{
    if (!jn_whole(value)) jn_fail(run, WR_EFORMAT, "a test of integers is given something else");
    return jn_whole(value) ? value.u.i : 0;
}

bool jn_test(jn_run *run, int index, wr_jinja_value value, const jn_args *args)
{
    wr_jinja_value other = jn_argument(args, 0, "other");
    int64_t by;
    switch (index) {
    case T_DEFINED:
        return value.type != WR_JINJA_UNDEFINED;
    case T_UNDEFINED:
        return value.type == WR_JINJA_UNDEFINED;
    case T_NONE:
        return value.type == WR_JINJA_NONE;
    case T_STRING:
        return value.type == WR_JINJA_STRING;
    case T_MAPPING:
        return value.type == WR_JINJA_MAP;
    case T_ITERABLE:
    case T_SEQUENCE:
        return value.type == WR_JINJA_STRING || value.type == WR_JINJA_LIST || value.type == WR_JINJA_MAP ||
               value.type == WR_JINJA_UNDEFINED;
    case T_NUMBER:
        return jn_whole(value) || value.type == WR_JINJA_FLOAT;
    case T_INTEGER:
        return value.type == WR_JINJA_INT;
    case T_FLOAT:
        return value.type == WR_JINJA_FLOAT;
    case T_BOOLEAN:
        return value.type == WR_JINJA_BOOL;
    case T_TRUE:
        return value.type == WR_JINJA_BOOL && value.u.i;
    case T_FALSE:
        return value.type == WR_JINJA_BOOL && !value.u.i;
    case T_EVEN:
        return whole_of(run, value) % 2 == 0;
    case T_ODD:
        return whole_of(run, value) % 2 != 0;
    case T_DIVISIBLE:
        by = whole_of(run, other);
        if (!by) jn_fail(run, WR_EFORMAT, "division by zero");
        return by && (by == -1 || whole_of(run, value) % by == 0);
    case T_EQ:
        return jn_equal(value, other);
    case T_NE:
        return !jn_equal(value, other);
    case T_SAME:
        return value.type == other.type && jn_equal(value, other);
    case T_LT:
        return jn_compare(run, value, other) < 0;
    case T_GT:
        return jn_compare(run, value, other) > 0;
    case T_LE:
        return jn_compare(run, value, other) <= 0;
    case T_GE:
        return jn_compare(run, value, other) >= 0;
    default:
        return jn_contains(run, other, value);
    }
}

/* ---- functions */

static wr_jinja_value range(jn_run *run, const jn_args *args)
{
    wr_jinja_value list = {.type = WR_JINJA_LIST};
    int64_t part[3] = {0, 0, 1}, n = 0;
    if (!args->n || args->n > 3) return jn_fail(run, WR_EFORMAT, "range needs one to three integers"), nothing;
    for (size_t i = 0; i < args->n; i++) part[args->n == 1 ? 1 : i] = whole_of(run, args->at[i]);
    for (size_t i = 0; i < 3; i++)
        if (part[i] > INT32_MAX || part[i] < INT32_MIN) jn_fail(run, WR_EFULL, "a range of large numbers");
    if (!part[2]) jn_fail(run, WR_EFORMAT, "a range whose step is 0");
    if (run->st) return nothing;
    int64_t span = part[2] > 0 ? part[1] - part[0] : part[0] - part[1], by = part[2] > 0 ? part[2] : -part[2];
    if (span > 0) n = (span + by - 1) / by;
    wr_jinja_value *item = list.u.list.item = jn_alloc(run, (size_t)n, sizeof *item);
    for (int64_t i = 0; item && i < n; i++)
        item[i] = (wr_jinja_value){.type = WR_JINJA_INT, .u.i = part[0] + i * part[2]};
    list.u.list.n = item ? (size_t)n : 0;
    return list;
}

wr_jinja_value jn_function(jn_run *run, int index, const jn_args *args)
{
    wr_jinja_value made = {.type = index == N_NAMESPACE ? WR_JINJA_NAMESPACE : WR_JINJA_MAP};
    wr_text text;
    switch (index) {
    case N_RANGE:
        return range(run, args);
    case N_RAISE:
        text = args->n ? jn_string(run, args->at[0]) : (wr_text){"", 0};
        jn_fail(run, WR_EFORMAT, "it says: %.*s", (int)(text.n < 300 ? text.n : 300), text.bytes);
        return nothing;
    case N_NOW:
        jn_fail(run, WR_EUNSUPPORTED,
                "function \"strftime_now()\" is not supported, a prompt has no clock; give another by --chat-template "
                "FILE");
        return nothing;
    default:
        if (args->n) return jn_fail(run, WR_EUNSUPPORTED, "namespace and dict take named arguments only"), nothing;
        made.u.map = jn_alloc(run, 1, sizeof *made.u.map);
        for (size_t i = 0; made.u.map && args->named && i < args->named->n; i++)
            jn_map_set(run, made.u.map, args->named->key[i], args->named->value[i]);
        return made.u.map ? made : nothing;
    }
}
