/* Runs the tree of a chat template. Every function returns at once when run->st is set. */
#include <math.h>
#include <string.h>

#include "data/utf8.h"
#include "models/jinja_tree.h"

static const wr_jinja_value undefined;

static bool step(jn_run *run)
{
    if (!run->st && ++run->steps > WR_JINJA_STEPS)
        jn_fail(run, WR_EFULL, "it takes more than %d steps", WR_JINJA_STEPS);
    return !run->st;
}

static bool push(jn_run *run, jn_frame *frame)
{
    *frame = (jn_frame){jn_alloc(run, 1, sizeof *frame->names), run->frame};
    if (!frame->names) return false;
    run->frame = frame;
    return true;
}

static const wr_jinja_value *lookup(const jn_run *run, wr_text name)
{
    for (const jn_frame *frame = run->frame; frame; frame = frame->parent) {
        const wr_jinja_value *found = jn_map_get(frame->names, name);
        if (found) return found;
    }
    return NULL;
}

/* ---- operators */

static bool whole(wr_jinja_value value)
{
    return value.type == WR_JINJA_INT || value.type == WR_JINJA_BOOL;
}

static bool number(wr_jinja_value value)
{
    return whole(value) || value.type == WR_JINJA_FLOAT;
}

static wr_jinja_value integer(int64_t i)
{
    return (wr_jinja_value){.type = WR_JINJA_INT, .u.i = i};
}

static wr_jinja_value real(double f)
{
    return (wr_jinja_value){.type = WR_JINJA_FLOAT, .u.f = f};
}

static wr_jinja_value whole_math(jn_run *run, int op, int64_t a, int64_t b)
{
    int64_t r = 0;
    bool over = false;
    if ((op == '%' || op == JN_FLOORDIV || op == '/') && !b)
        return jn_fail(run, WR_EFORMAT, "division by zero"), undefined;
    switch (op) {
    case '+':
        over = __builtin_add_overflow(a, b, &r);
        break;
    case '-':
        over = __builtin_sub_overflow(a, b, &r);
        break;
    case '*':
        over = __builtin_mul_overflow(a, b, &r);
        break;
    case '/':
        return real((double)a / (double)b);
    case '%':
    case JN_FLOORDIV:
        if (b == -1) {
            if (op == '%') break;
            over = __builtin_sub_overflow((int64_t)0, a, &r);
            break;
        }
        r = op == '%' ? a % b : a / b;
        if (a % b && (a < 0) != (b < 0)) r = op == '%' ? r + b : r - 1;
        break;
    default: /* ** */
        if (b < 0) return real(pow((double)a, (double)b));
        r = 1;
        for (int64_t i = 0; i < b && !over && (a < -1 || a > 1 || i < 2); i++) over = __builtin_mul_overflow(r, a, &r);
        if (!over && a == -1) r = b % 2 ? -1 : 1;
    }
    if (over) return jn_fail(run, WR_EUNSUPPORTED, "an integer beyond 64 bits"), undefined;
    return integer(r);
}

static wr_jinja_value real_math(jn_run *run, int op, double a, double b)
{
    if ((op == '%' || op == JN_FLOORDIV || op == '/') && b == 0)
        return jn_fail(run, WR_EFORMAT, "division by zero"), undefined;
    switch (op) {
    case '+':
        return real(a + b);
    case '-':
        return real(a - b);
    case '*':
        return real(a * b);
    case '/':
        return real(a / b);
    case '%':
        return real(a - b * floor(a / b));
    case JN_FLOORDIV:
        return real(floor(a / b));
    default:
        return real(pow(a, b));
    }
}

static wr_jinja_value repeat(jn_run *run, wr_text text, int64_t times)
{
    size_t n = times > 0 ? (size_t)times : 0;
    if (!n || !text.n) return wr_jinja_text((wr_text){"", 0});
    char *at = n <= WR_JINJA_BYTES ? jn_alloc(run, n, text.n) : jn_alloc(run, WR_JINJA_BYTES, 2);
    for (size_t i = 0; at && i < n; i++) memcpy(at + i * text.n, text.bytes, text.n);
    return at ? wr_jinja_text((wr_text){at, n * text.n}) : undefined;
}

static wr_jinja_value chain(jn_run *run, wr_jinja_value a, wr_jinja_value b)
{
    wr_jinja_value *item = jn_alloc(run, a.u.list.n + b.u.list.n, sizeof *item);
    if (!item) return undefined;
    if (a.u.list.n) memcpy(item, a.u.list.item, a.u.list.n * sizeof *item);
    if (b.u.list.n) memcpy(item + a.u.list.n, b.u.list.item, b.u.list.n * sizeof *item);
    a.u.list.item = item;
    a.u.list.n += b.u.list.n;
    return a;
}

static wr_jinja_value binary(jn_run *run, const jn_node *node)
{
    wr_jinja_value a = jn_eval(run, node->a), b = jn_eval(run, node->b);
    int op = node->op;
    if (run->st) return undefined;
    if (op == '~') return wr_jinja_text(jn_cat(run, jn_string(run, a), jn_string(run, b)));
    if (whole(a) && whole(b)) return whole_math(run, op, a.u.i, b.u.i);
    if (number(a) && number(b))
        return real_math(run, op, whole(a) ? (double)a.u.i : a.u.f, whole(b) ? (double)b.u.i : b.u.f);
    if (op == '+' && a.type == WR_JINJA_STRING && b.type == WR_JINJA_STRING)
        return wr_jinja_text(jn_cat(run, a.u.s, b.u.s));
    if (op == '+' && a.type == WR_JINJA_LIST && b.type == WR_JINJA_LIST && a.tuple == b.tuple) return chain(run, a, b);
    if (op == '*' && a.type == WR_JINJA_STRING && whole(b)) return repeat(run, a.u.s, b.u.i);
    if (op == '*' && b.type == WR_JINJA_STRING && whole(a)) return repeat(run, b.u.s, a.u.i);
    jn_fail(run, WR_EFORMAT, "'%s' between values that do not go together",
            op == JN_POW        ? "**"
            : op == JN_FLOORDIV ? "//"
                                : (char[]){(char)op, 0});
    return undefined;
}

static bool holds(jn_run *run, int op, wr_jinja_value a, wr_jinja_value b)
{
    switch (op) {
    case JN_EQ:
        return jn_equal(a, b);
    case JN_NE:
        return !jn_equal(a, b);
    case JN_IN:
        return jn_contains(run, b, a);
    case JN_NOT_IN:
        return !jn_contains(run, b, a);
    case '<':
        return jn_compare(run, a, b) < 0;
    case '>':
        return jn_compare(run, a, b) > 0;
    case JN_LE:
        return jn_compare(run, a, b) <= 0;
    default:
        return jn_compare(run, a, b) >= 0;
    }
}

static wr_jinja_value compare(jn_run *run, const jn_node *node)
{
    wr_jinja_value a = jn_eval(run, node->a);
    for (const jn_node *right = node->list; right; right = right->next) {
        wr_jinja_value b = jn_eval(run, right->a);
        if (run->st || !holds(run, right->op, a, b)) return wr_jinja_bool(false);
        a = b;
    }
    return wr_jinja_bool(true);
}

/* ---- items and slices, by code points in strings */

static size_t offset_of(wr_text text, size_t code)
{
    size_t at = 0;
    for (size_t n = 0; at < text.n; at++) {
        if (((unsigned char)text.bytes[at] & 0xc0) == 0x80) continue;
        if (n++ == code) break;
    }
    return at;
}

static wr_jinja_value item(jn_run *run, const jn_node *node)
{
    wr_jinja_value of = jn_eval(run, node->a), at = jn_eval(run, node->b);
    if (run->st) return undefined;
    if (at.type == WR_JINJA_STRING) return jn_attribute(run, of, at.u.s);
    if (of.type == WR_JINJA_UNDEFINED) return jn_fail(run, WR_EFORMAT, "an item of something undefined"), undefined;
    if (!whole(at) || (of.type != WR_JINJA_LIST && of.type != WR_JINJA_STRING)) return undefined;
    int64_t n = (int64_t)(of.type == WR_JINJA_LIST ? of.u.list.n : jn_length(of.u.s)), i = at.u.i;
    if (i < 0) i += n;
    if (i < 0 || i >= n) return undefined;
    if (of.type == WR_JINJA_LIST) return of.u.list.item[i];
    size_t from = offset_of(of.u.s, (size_t)i), to = offset_of(of.u.s, (size_t)i + 1);
    return wr_jinja_text((wr_text){of.u.s.bytes + from, to - from});
}

static int64_t bound(jn_run *run, const jn_node *part, int64_t otherwise, int64_t n, int64_t low, int64_t high)
{
    if (!part->a) return otherwise;
    wr_jinja_value value = jn_eval(run, part->a);
    if (value.type == WR_JINJA_NONE) return otherwise;
    if (!whole(value)) return jn_fail(run, WR_EFORMAT, "a slice whose bounds are no integers"), 0;
    int64_t i = value.u.i;
    if (n && i < 0) i = i < -n ? low : i + n;
    return i < low ? low : i > high ? high : i;
}

static wr_jinja_value slice(jn_run *run, const jn_node *node)
{
    wr_jinja_value of = jn_eval(run, node->a), list = of, out = {.type = WR_JINJA_LIST};
    const jn_node *from = node->list, *to = from->next, *by = to->next;
    if (run->st) return undefined;
    if (of.type != WR_JINJA_STRING && of.type != WR_JINJA_LIST)
        return jn_fail(run, WR_EFORMAT, "a slice of something that is no list or string"), undefined;
    int64_t n = (int64_t)(of.type == WR_JINJA_LIST ? of.u.list.n : jn_length(of.u.s));
    int64_t s = bound(run, by, 1, 0, -INT64_MAX, INT64_MAX);
    if (!run->st && !s) jn_fail(run, WR_EFORMAT, "a slice whose step is 0");
    int64_t low = s < 0 ? -1 : 0, high = s < 0 ? n - 1 : n;
    int64_t a = bound(run, from, s < 0 ? high : low, n ? n : 1, low, high);
    int64_t b = bound(run, to, s < 0 ? low : high, n ? n : 1, low, high);
    if (run->st) return undefined;
    if (of.type == WR_JINJA_STRING && s == 1) {
        size_t begin = offset_of(of.u.s, (size_t)a), end = offset_of(of.u.s, (size_t)b);
        return wr_jinja_text((wr_text){of.u.s.bytes + begin, end > begin ? end - begin : 0});
    }
    if (!jn_items(run, of, &list)) return undefined;
    wr_jinja_value *at = out.u.list.item = jn_alloc(run, (size_t)n, sizeof *at);
    out.tuple = of.type == WR_JINJA_LIST && of.tuple;
    for (int64_t i = a; at && (s > 0 ? i < b : i > b); i += s) {
        at[out.u.list.n++] = list.u.list.item[i];
        if (s > 0 ? s >= b - i : s <= b - i) break; /* and i + s cannot overflow */
    }
    if (of.type == WR_JINJA_LIST) return out;
    wr_text text = {"", 0};
    char *bytes = jn_alloc(run, of.u.s.n, 1);
    for (size_t i = 0; bytes && i < out.u.list.n; i++) {
        memcpy(bytes + text.n, at[i].u.s.bytes, at[i].u.s.n);
        text = (wr_text){bytes, text.n + at[i].u.s.n};
    }
    return wr_jinja_text(text);
}

/* ---- calls */

static bool arguments(jn_run *run, const jn_node *list, jn_args *args)
{
    size_t n = 0;
    wr_jinja_map *named = NULL;
    *args = (jn_args){0};
    for (const jn_node *arg = list; arg; arg = arg->next) n++;
    if (!n) return true;
    wr_jinja_value *at = jn_alloc(run, n, sizeof *at);
    for (const jn_node *arg = list; at && arg; arg = arg->next) {
        wr_jinja_value value = jn_eval(run, arg->a);
        if (run->st) return false;
        if (!arg->text.n) {
            at[args->n++] = value;
            continue;
        }
        if (!named && !(named = jn_alloc(run, 1, sizeof *named))) return false;
        jn_map_set(run, named, arg->text, value);
    }
    args->at = at;
    args->named = named;
    return !run->st;
}

static void statements(jn_run *run, const jn_node *first);

/* Runs statements into a text of their own. */
static wr_text captured(jn_run *run, const jn_node *first)
{
    char *out = run->out;
    size_t n = run->out_n, cap = run->out_cap;
    run->out = NULL, run->out_n = run->out_cap = 0;
    statements(run, first);
    wr_text text = {run->out_n ? run->out : "", run->out_n};
    run->out = out, run->out_n = n, run->out_cap = cap;
    return text;
}

static wr_jinja_value macro(jn_run *run, const jn_node *of, const jn_args *args)
{
    jn_frame *caller = run->frame, own;
    size_t i = 0;
    run->frame = run->top;
    if (push(run, &own)) {
        for (const jn_node *name = of->list; name && !run->st; name = name->next, i++) {
            const wr_jinja_value *given = args->named ? jn_map_get(args->named, name->text) : NULL;
            wr_jinja_value value = i < args->n ? args->at[i]
                                   : given     ? *given
                                   : name->a   ? jn_eval(run, name->a)
                                               : undefined;
            jn_map_set(run, own.names, name->text, value);
        }
        if (args->n > i) jn_fail(run, WR_EFORMAT, "a macro is given %zu arguments, it takes %zu", args->n, i);
    }
    wr_text text = captured(run, of->b);
    run->frame = caller;
    return wr_jinja_text(text);
}

static wr_jinja_value call(jn_run *run, const jn_node *node)
{
    jn_args args;
    if (!arguments(run, node->list, &args)) return undefined;
    const wr_jinja_value *named = lookup(run, node->text);
    if (named && named->type == WR_JINJA_MACRO) return macro(run, named->u.macro, &args);
    if (node->op >= 0) return jn_function(run, node->op, &args);
    jn_fail(run, WR_EFORMAT, "\"%.*s()\" is called before it is defined", (int)(node->text.n % 64), node->text.bytes);
    return undefined;
}

/* ---- expressions */

static wr_jinja_value list_of(jn_run *run, const jn_node *node)
{
    wr_jinja_value list = {.type = WR_JINJA_LIST, .tuple = node->op == 1};
    jn_args args;
    if (!arguments(run, node->list, &args)) return undefined;
    list.u.list.item = (wr_jinja_value *)args.at;
    list.u.list.n = args.n;
    return list;
}

static wr_jinja_value map_of(jn_run *run, const jn_node *node)
{
    wr_jinja_value made = {.type = WR_JINJA_MAP};
    wr_jinja_map *map = made.u.map = jn_alloc(run, 1, sizeof *map);
    for (const jn_node *pair = node->list; map && pair; pair = pair->next) {
        wr_jinja_value key = jn_eval(run, pair->b), value = jn_eval(run, pair->a);
        if (!run->st && key.type != WR_JINJA_STRING) jn_fail(run, WR_EUNSUPPORTED, "a map whose key is no string");
        if (run->st) break;
        jn_map_set(run, map, key.u.s, value);
    }
    return run->st ? undefined : made;
}

static wr_jinja_value sign(jn_run *run, const jn_node *node)
{
    wr_jinja_value value = jn_eval(run, node->a);
    if (run->st) return undefined;
    if (value.type == WR_JINJA_FLOAT) return real(node->kind == JN_NEG ? -value.u.f : value.u.f);
    if (!whole(value)) return jn_fail(run, WR_EFORMAT, "a sign in front of something that is no number"), undefined;
    return node->kind == JN_NEG ? whole_math(run, '-', 0, value.u.i) : integer(value.u.i);
}

static wr_jinja_value applied(jn_run *run, const jn_node *node)
{
    jn_args args;
    wr_jinja_value of = jn_eval(run, node->a);
    if (run->st || !arguments(run, node->list, &args)) return undefined;
    if (node->kind == JN_FILTER) return jn_filter(run, node->op, of, &args);
    if (node->kind == JN_METHOD) return jn_method(run, node->op, of, &args);
    bool is = jn_test(run, node->op, of, &args);
    return wr_jinja_bool(node->b ? !is : is);
}

static wr_jinja_value eval(jn_run *run, const jn_node *node)
{
    const wr_jinja_value *found;
    wr_jinja_value value;
    switch (node->kind) {
    case JN_VALUE:
        return *node->value;
    case JN_NAME:
        return (found = lookup(run, node->text)) ? *found : undefined;
    case JN_LIST:
        return list_of(run, node);
    case JN_MAP:
        return map_of(run, node);
    case JN_ATTR:
        value = jn_eval(run, node->a);
        return run->st ? undefined : jn_attribute(run, value, node->text);
    case JN_ITEM:
        return item(run, node);
    case JN_SLICE:
        return slice(run, node);
    case JN_CALL:
        return call(run, node);
    case JN_METHOD:
    case JN_FILTER:
    case JN_TEST:
        return applied(run, node);
    case JN_NOT:
        return wr_jinja_bool(!jn_true(jn_eval(run, node->a)));
    case JN_NEG:
    case JN_POS:
        return sign(run, node);
    case JN_AND:
        value = jn_eval(run, node->a);
        return run->st || !jn_true(value) ? value : jn_eval(run, node->b);
    case JN_OR:
        value = jn_eval(run, node->a);
        return run->st || jn_true(value) ? value : jn_eval(run, node->b);
    case JN_BINARY:
        return binary(run, node);
    case JN_COMPARE:
        return compare(run, node);
    case JN_WHEN:
        if (jn_true(jn_eval(run, node->b))) return jn_eval(run, node->a);
        return node->c && !run->st ? jn_eval(run, node->c) : undefined;
    default:
        return undefined;
    }
}

/* A chain "a + b + c + ..." is as deep as it is long, hence the wide limit; a frame here takes some 300 bytes. */
wr_jinja_value jn_eval(jn_run *run, const jn_node *node)
{
    if (!step(run)) return undefined;
    if (++run->depth > 16 * WR_JINJA_DEPTH) jn_fail(run, WR_EFULL, "calls or expressions nested too deeply");
    wr_jinja_value value = run->st ? undefined : eval(run, node);
    run->depth--;
    return run->st ? undefined : value;
}

/* ---- statements */

static void write_out(jn_run *run, wr_text text)
{
    if (run->st || !text.n) return;
    if (text.n > run->out_cap - run->out_n) {
        size_t cap = 2 * run->out_cap + text.n + 4096;
        char *out = jn_alloc(run, cap, 1);
        if (!out) return;
        if (run->out_n) memcpy(out, run->out, run->out_n);
        run->out = out, run->out_cap = cap;
    }
    memcpy(run->out + run->out_n, text.bytes, text.n);
    run->out_n += text.n;
}

static void assign(jn_run *run, const jn_node *names, wr_jinja_value value)
{
    if (run->st) return;
    if (names->kind == JN_ATTR) {
        wr_jinja_value space = jn_eval(run, names->a);
        if (run->st) return;
        if (space.type == WR_JINJA_NAMESPACE)
            jn_map_set(run, space.u.map, names->text, value);
        else
            jn_fail(run, WR_EFORMAT, "an attribute is set of something that is no namespace");
        return;
    }
    if (!names->next) {
        jn_map_set(run, run->frame->names, names->text, value);
        return;
    }
    wr_jinja_value list;
    size_t i = 0;
    if (!jn_items(run, value, &list)) return;
    for (const jn_node *name = names; name && !run->st; name = name->next, i++) {
        if (i < list.u.list.n)
            jn_map_set(run, run->frame->names, name->text, list.u.list.item[i]);
        else
            jn_fail(run, WR_EFORMAT, "too few values to unpack");
    }
    if (i < list.u.list.n) jn_fail(run, WR_EFORMAT, "too many values to unpack");
}

static void set_loop(jn_run *run, wr_jinja_map *loop, const wr_jinja_value *list, size_t i)
{
    size_t n = list->u.list.n;
    const struct {
        const char *name;
        wr_jinja_value value;
    } all[] = {{"index", integer((int64_t)i + 1)},
               {"index0", integer((int64_t)i)},
               {"first", wr_jinja_bool(i == 0)},
               {"last", wr_jinja_bool(i + 1 == n)},
               {"length", integer((int64_t)n)},
               {"revindex", integer((int64_t)(n - i))},
               {"revindex0", integer((int64_t)(n - i) - 1)},
               {"previtem", i ? list->u.list.item[i - 1] : undefined},
               {"nextitem", i + 1 < n ? list->u.list.item[i + 1] : undefined}};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        jn_map_set(run, loop, (wr_text){all[k].name, strlen(all[k].name)}, all[k].value);
}

/* The inline "if" sees the targets and chooses before the loop counts. */
static wr_jinja_value chosen(jn_run *run, const jn_node *node, wr_jinja_value list)
{
    wr_jinja_value out = list;
    jn_frame own, *outer = run->frame;
    wr_jinja_value *at = jn_alloc(run, list.u.list.n, sizeof *at);
    out.u.list.item = at;
    out.u.list.n = 0;
    for (size_t i = 0; at && i < list.u.list.n && push(run, &own); i++, run->frame = outer) {
        assign(run, node->list, list.u.list.item[i]);
        if (jn_true(jn_eval(run, node->b))) at[out.u.list.n++] = list.u.list.item[i];
    }
    run->frame = outer;
    return out;
}

static void run_for(jn_run *run, const jn_node *node)
{
    static const wr_text name = {"loop", 4};
    wr_jinja_value list, loop = {.type = WR_JINJA_MAP}, over = jn_eval(run, node->a);
    jn_frame own, *outer = run->frame;
    if (run->st || !jn_items(run, over, &list)) return;
    if (node->b) list = chosen(run, node, list);
    if (!run->st && !list.u.list.n) {
        if (push(run, &own)) statements(run, node->c->b);
        run->frame = outer;
        return;
    }
    for (size_t i = 0; i < list.u.list.n && step(run) && push(run, &own); i++) {
        loop.u.map = jn_alloc(run, 1, sizeof *loop.u.map);
        if (!loop.u.map) break;
        set_loop(run, loop.u.map, &list, i);
        jn_map_set(run, own.names, name, loop);
        assign(run, node->list, list.u.list.item[i]);
        statements(run, node->c->a);
        run->frame = outer;
        int jump = run->jump;
        run->jump = 0;
        if (jump == JN_BREAK) break;
    }
    run->frame = outer;
}

static void run_if(jn_run *run, const jn_node *node)
{
    for (; node && !run->st; node = node->c)
        if (!node->a || jn_true(jn_eval(run, node->a))) {
            statements(run, node->b);
            return;
        }
}

static void statement(jn_run *run, const jn_node *node)
{
    switch (node->kind) {
    case JN_TEXT:
        write_out(run, node->text);
        break;
    case JN_OUTPUT:
        write_out(run, jn_string(run, jn_eval(run, node->a)));
        break;
    case JN_IF:
        run_if(run, node);
        break;
    case JN_FOR:
        run_for(run, node);
        break;
    case JN_SET:
        assign(run, node->list, jn_eval(run, node->a));
        break;
    case JN_SET_BLOCK:
        assign(run, node->list, wr_jinja_text(captured(run, node->b)));
        break;
    case JN_MACRO:
        jn_map_set(run, run->frame->names, node->text, (wr_jinja_value){.type = WR_JINJA_MACRO, .u.macro = node});
        break;
    case JN_GENERATION:
        statements(run, node->b);
        break;
    case JN_BREAK:
    case JN_CONTINUE:
        run->jump = (int)node->kind;
        break;
    default:
        break;
    }
}

static void statements(jn_run *run, const jn_node *first)
{
    if (++run->depth > 16 * WR_JINJA_DEPTH) jn_fail(run, WR_EFULL, "statements nested too deeply");
    for (const jn_node *node = first; node && !run->jump && step(run); node = node->next) statement(run, node);
    run->depth--;
}

wr_status wr_jinja_render(const wr_jinja *jinja, const wr_jinja_map *context, wr_arena *arena, wr_text *out,
                          wr_err *err)
{
    wr_jinja_map given = *context;
    jn_frame outside = {&given, NULL}, top;
    jn_run run = {.jinja = jinja, .arena = arena, .err = err, .frame = &outside};
    *out = (wr_text){"", 0};
    if (push(&run, &top)) {
        run.top = &top;
        statements(&run, jinja->body);
    }
    if (run.st) return run.st;
    if (run.out_n) *out = (wr_text){run.out, run.out_n};
    return WR_OK;
}
