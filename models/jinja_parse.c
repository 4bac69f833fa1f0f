/* Template -> tree. Text between tags is trimmed as trim_blocks and lstrip_blocks say; inside tags a recursive descent in
 * Jinja's order of precedence: inline if, or, and, not, comparisons, + -, ~, * / // %, unary, **, postfix, literals. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"
#include "models/jinja_tree.h"

enum { T_END, T_NAME, T_STRING, T_INT, T_FLOAT, T_OP, T_CLOSE, T_BAD };

typedef struct token {
    int type, op;
    const char *at;
    wr_text text; /* name, or the string's value */
    double number;
    int64_t whole;
} token;

typedef struct parser {
    wr_jinja *jinja;
    const char *at, *end, *begin;
    token now;
    wr_status st;
    wr_err *err;
    size_t depth;
    wr_text closing;  /* the end tag that a body stopped at ("endif", "else") */
    wr_text macro[64];
    size_t macros;
} parser;

static bool failed(parser *p, wr_status code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static bool failed(parser *p, wr_status code, const char *fmt, ...)
{
    char what[256];
    va_list args;
    if (p->st) return true;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    size_t line = 1;
    for (const char *c = p->begin; c < p->at && c < p->end; c++) line += *c == '\n';
    p->st = wr_fail(p->err, code, "%s: chat template, line %zu: %s%s", p->jinja->where, line, what,
                    code == WR_EUNSUPPORTED ? "; give a simpler template by --chat-template FILE" : "");
    return true;
}

static void *keep(parser *p, size_t size)
{
    void *memory = wr_arena_calloc(&p->jinja->arena, 1, size);
    if (!memory) failed(p, WR_ENOMEM, "out of memory");
    return memory;
}

static jn_node *node(parser *p, jn_kind kind)
{
    static jn_node spare; /* what a parser that has failed may write to: never read */
    jn_node *made = keep(p, sizeof *made);
    if (!made) return spare.kind = kind, &spare;
    made->kind = kind;
    return made;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f);
}

static bool is_word(char c)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c & 0x80);
}

static bool starts(const parser *p, const char *at, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(p->end - at) >= n && !memcmp(at, word, n);
}

/* ---- tokens */

static size_t hex_of(const parser *p, const char *at, size_t digits, uint32_t *cp)
{
    *cp = 0;
    if ((size_t)(p->end - at) < digits) return 0;
    for (size_t i = 0; i < digits; i++) {
        char c = at[i];
        uint32_t v = c >= '0' && c <= '9' ? (uint32_t)(c - '0') : (c | 32) >= 'a' && (c | 32) <= 'f' ? (uint32_t)((c | 32) - 'a' + 10) : 99;
        if (v == 99) return 0;
        *cp = *cp << 4 | v;
    }
    return digits;
}

/* Python's escapes; an unknown one stays as it is written. Writes to out, returns the length. */
static size_t unescape(parser *p, const char *from, const char *to, char *out)
{
    static const char plain[] = "n\nt\tr\rb\bf\fv\va\a0\0\\\\''\"\"";
    size_t n = 0;
    for (const char *c = from; c < to; c++) {
        if (*c != '\\' || c + 1 == to) {
            out[n++] = *c;
            continue;
        }
        c++;
        size_t i = 0, digits = *c == 'x' ? 2 : *c == 'u' ? 4 : *c == 'U' ? 8 : 0;
        uint32_t cp;
        while (i + 1 < sizeof plain && plain[i] != *c) i += 2;
        if (i + 1 < sizeof plain) {
            out[n++] = plain[i + 1];
        } else if (*c == '\n') {
            continue;
        } else if (digits && hex_of(p, c + 1, digits, &cp) && cp && cp < 0x110000 && (cp < 0xd800 || cp > 0xdfff)) {
            n += wr_utf8_encode(cp, out + n);
            c += digits;
        } else {
            out[n++] = '\\';
            out[n++] = *c;
        }
    }
    return n;
}

static void take_string(parser *p)
{
    char quote = *p->at;
    const char *from = ++p->at;
    while (p->at < p->end && *p->at != quote) p->at += *p->at == '\\' && p->at + 1 < p->end ? 2 : 1;
    if (p->at >= p->end) {
        failed(p, WR_EFORMAT, "a string without its closing quote");
        return;
    }
    char *value = wr_arena_alloc(&p->jinja->arena, (size_t)(p->at - from) + 8);
    if (!value) {
        failed(p, WR_ENOMEM, "out of memory");
        return;
    }
    p->now = (token){.type = T_STRING, .at = from, .text = {value, unescape(p, from, p->at, value)}};
    p->at++;
}

static void take_number(parser *p)
{
    char digits[64];
    size_t n = 0;
    bool real = false;
    const char *from = p->at;
    for (; p->at < p->end && n + 1 < sizeof digits; p->at++) {
        char c = *p->at;
        if (c == '_') continue;
        if (c == '.' && !real && p->at + 1 < p->end && p->at[1] >= '0' && p->at[1] <= '9') real = true;
        else if (c < '0' || c > '9') break;
        digits[n++] = c;
    }
    digits[n] = 0;
    if (!real && n > 18) failed(p, WR_EUNSUPPORTED, "a number of more than 18 digits");
    p->now = (token){.type = real ? T_FLOAT : T_INT, .at = from, .number = real ? strtod(digits, NULL) : 0,
                     .whole = real ? 0 : strtoll(digits, NULL, 10)};
}

static void advance(parser *p)
{
    static const struct { char text[3]; int op; } two[] = {{"<=", JN_LE}, {">=", JN_GE}, {"==", JN_EQ}, {"!=", JN_NE}, {"**", JN_POW}, {"//", JN_FLOORDIV}};
    while (p->at < p->end && is_space(*p->at)) p->at++;
    p->now = (token){.type = T_END, .at = p->at};
    if (p->st || p->at >= p->end) return;
    const char *at = p->at;
    char c = *at;
    size_t sign = (c == '-' || c == '+') ? 1 : 0;
    if (starts(p, at + sign, "%}") || starts(p, at + sign, "}}")) {
        p->now = (token){.type = T_CLOSE, .at = at, .op = at[sign]};
        return; /* the brace of a map may be meant: whoever expects one looks at op */
    }
    if (c == '\'' || c == '"') {
        take_string(p);
    } else if (c >= '0' && c <= '9') {
        take_number(p);
    } else if (is_word(c)) {
        while (p->at < p->end && is_word(*p->at)) p->at++;
        p->now = (token){.type = T_NAME, .at = at, .text = {at, (size_t)(p->at - at)}};
    } else {
        for (size_t i = 0; i < sizeof two / sizeof *two; i++)
            if (starts(p, at, two[i].text)) {
                p->at += 2;
                p->now = (token){.type = T_OP, .op = two[i].op, .at = at};
                return;
            }
        p->at++;
        p->now = (token){.type = strchr("+-*/%~<>=()[]{},.:|", c) && c ? T_OP : T_BAD, .op = c, .at = at};
    }
}

static bool is_op(const parser *p, int op)
{
    if (p->now.type == T_OP) return p->now.op == op;
    return op == '}' && p->now.type == T_CLOSE && *p->now.at == '}';
}

static bool skip_op(parser *p, int op)
{
    if (!is_op(p, op)) return false;
    if (p->now.type == T_CLOSE) p->at = p->now.at + 1;
    advance(p);
    return true;
}

static bool is_word_now(const parser *p, const char *word)
{
    return p->now.type == T_NAME && jn_text_is(p->now.text, word);
}

static bool skip_word(parser *p, const char *word)
{
    if (!is_word_now(p, word)) return false;
    advance(p);
    return true;
}

static void expect(parser *p, int op)
{
    if (!skip_op(p, op)) failed(p, WR_EFORMAT, "expected '%c'", op);
}

/* ---- expressions */

static jn_node *expression(parser *p);
static jn_node *unary(parser *p);

static jn_node *constant(parser *p, wr_jinja_value value)
{
    jn_node *made = node(p, JN_VALUE);
    made->value = keep(p, sizeof value);
    if (made->value) *made->value = value;
    return made;
}

/* "(a, b, key=c)" behind a call, a filter or a test: JN_NAMED has text and a. The opening one is skipped already. */
static jn_node *arguments(parser *p)
{
    jn_node *first = NULL, **last = &first;
    while (!p->st && !is_op(p, ')')) {
        jn_node *arg;
        token name = p->now;
        const char *back = p->at;
        if (name.type == T_NAME) advance(p);
        if (name.type == T_NAME && is_op(p, '=')) {
            advance(p);
            arg = node(p, JN_NAMED);
            arg->text = name.text;
            arg->a = expression(p);
        } else {
            p->at = back, p->now = name;
            arg = node(p, JN_NAMED);
            arg->a = expression(p);
        }
        *last = arg, last = &arg->next;
        if (!skip_op(p, ',')) break;
    }
    expect(p, ')');
    return first;
}

static jn_node *sequence(parser *p, int close, jn_node *first)
{
    jn_node *list = node(p, JN_LIST), **last = &list->list;
    if (first) *last = first, last = &first->next;
    while (!p->st && !is_op(p, close)) {
        jn_node *item = node(p, JN_NAMED);
        item->a = expression(p);
        *last = item, last = &item->next;
        if (!skip_op(p, ',')) break;
    }
    expect(p, close);
    return list;
}

static jn_node *map(parser *p)
{
    jn_node *made = node(p, JN_MAP), **last = &made->list;
    while (!p->st && !is_op(p, '}')) {
        jn_node *pair = node(p, JN_NAMED);
        pair->b = expression(p);
        expect(p, ':');
        pair->a = expression(p);
        *last = pair, last = &pair->next;
        if (!skip_op(p, ',')) break;
    }
    expect(p, '}');
    return made;
}

static jn_node *name_or_literal(parser *p)
{
    wr_text text = p->now.text;
    advance(p);
    if (jn_text_is(text, "true") || jn_text_is(text, "True")) return constant(p, wr_jinja_bool(true));
    if (jn_text_is(text, "false") || jn_text_is(text, "False")) return constant(p, wr_jinja_bool(false));
    if (jn_text_is(text, "none") || jn_text_is(text, "None"))
        return constant(p, (wr_jinja_value){.type = WR_JINJA_NONE});
    jn_node *made = node(p, JN_NAME);
    made->text = text;
    return made;
}

static jn_node *strings(parser *p)
{
    wr_text text = p->now.text;
    advance(p);
    while (p->now.type == T_STRING && !p->st) { /* "a" "b" is one string */
        char *both = keep(p, text.n + p->now.text.n + 1);
        if (!both) break;
        memcpy(both, text.bytes, text.n);
        memcpy(both + text.n, p->now.text.bytes, p->now.text.n);
        text = (wr_text){both, text.n + p->now.text.n};
        advance(p);
    }
    return constant(p, wr_jinja_text(text));
}

static jn_node *primary(parser *p)
{
    token now = p->now;
    if (now.type == T_NAME) return name_or_literal(p);
    if (now.type == T_STRING) return strings(p);
    if (now.type == T_INT) {
        advance(p);
        return constant(p, (wr_jinja_value){.type = WR_JINJA_INT, .u.i = now.whole});
    }
    if (now.type == T_FLOAT) {
        advance(p);
        return constant(p, (wr_jinja_value){.type = WR_JINJA_FLOAT, .u.f = now.number});
    }
    if (skip_op(p, '[')) return sequence(p, ']', NULL);
    if (skip_op(p, '{')) return map(p);
    if (skip_op(p, '(')) {
        jn_node *first = node(p, JN_NAMED);
        if (is_op(p, ')')) return sequence(p, ')', NULL);
        first->a = expression(p);
        if (skip_op(p, ',')) {
            jn_node *tuple = sequence(p, ')', first);
            tuple->op = 1;
            return tuple;
        }
        expect(p, ')');
        return first->a;
    }
    failed(p, WR_EFORMAT, "expected a value");
    return node(p, JN_LIST);
}

/* x[a], x[a:b:c]: JN_ITEM a[b]; JN_SLICE of a with list = three JN_NAMED, whose a may be NULL. */
static jn_node *subscript(parser *p, jn_node *of)
{
    jn_node *part[3] = {0}, *made;
    size_t n = 0;
    bool slice = false;
    while (!p->st && !is_op(p, ']') && n < 3) {
        if (skip_op(p, ':')) {
            slice = true, n++;
            continue;
        }
        part[n] = expression(p);
        if (!is_op(p, ':')) break;
    }
    expect(p, ']');
    made = node(p, slice ? JN_SLICE : JN_ITEM);
    made->a = of;
    if (!slice) {
        if (!part[0]) failed(p, WR_EFORMAT, "[] without an index");
        made->b = part[0];
        return made;
    }
    for (size_t i = 3; i-- > 0;) {
        jn_node *at = node(p, JN_NAMED);
        at->a = part[i];
        at->next = made->list;
        made->list = at;
    }
    return made;
}

static jn_node *call(parser *p, jn_node *of)
{
    jn_node *made;
    if (of->kind == JN_ATTR) {
        made = node(p, JN_METHOD);
        made->a = of->a;
        made->text = of->text;
        made->op = jn_method_find(of->text);
        if (made->op < 0) failed(p, WR_EUNSUPPORTED, "method \".%.*s()\" is not supported", (int)(of->text.n % 64), of->text.bytes);
    } else if (of->kind == JN_NAME) {
        made = node(p, JN_CALL);
        made->text = of->text;
        made->op = jn_function_find(of->text);
        bool known = made->op >= 0;
        for (size_t i = 0; i < p->macros && !known; i++)
            known = p->macro[i].n == of->text.n && !memcmp(p->macro[i].bytes, of->text.bytes, of->text.n);
        if (!known) failed(p, WR_EUNSUPPORTED, "function \"%.*s()\" is not supported", (int)(of->text.n % 64), of->text.bytes);
    } else {
        made = of;
        failed(p, WR_EUNSUPPORTED, "a call of something that is not a name");
    }
    made->list = arguments(p);
    return made;
}

static jn_node *filtered(parser *p, jn_node *of)
{
    jn_node *made = node(p, JN_FILTER);
    made->a = of;
    made->text = p->now.text;
    if (p->now.type != T_NAME) {
        failed(p, WR_EFORMAT, "expected a filter's name");
        return made;
    }
    made->op = jn_filter_find(p->now.text);
    if (made->op < 0) failed(p, WR_EUNSUPPORTED, "filter \"%.*s\" is not supported", (int)(made->text.n % 64), made->text.bytes);
    advance(p);
    if (skip_op(p, '(')) made->list = arguments(p);
    return made;
}

/* "is name", "is not name", "is name(args)", "is name value". */
static jn_node *tested(parser *p, jn_node *of)
{
    jn_node *made = node(p, JN_TEST);
    bool negate = skip_word(p, "not");
    made->a = of;
    made->b = negate ? of : NULL; /* "is not" */
    made->text = p->now.text;
    if (p->now.type != T_NAME) {
        failed(p, WR_EFORMAT, "expected a test's name");
        return made;
    }
    made->op = jn_test_find(p->now.text);
    if (made->op < 0) failed(p, WR_EUNSUPPORTED, "test \"%.*s\" is not supported", (int)(made->text.n % 64), made->text.bytes);
    advance(p);
    if (skip_op(p, '(')) {
        made->list = arguments(p);
    } else if (p->now.type == T_STRING || p->now.type == T_INT || p->now.type == T_FLOAT) {
        made->list = node(p, JN_NAMED);
        made->list->a = primary(p);
    }
    return made;
}

static jn_node *postfix(parser *p, jn_node *of, bool tails)
{
    while (!p->st) {
        if (skip_op(p, '.')) {
            jn_node *made = node(p, JN_ATTR);
            made->a = of;
            made->text = p->now.text;
            if (p->now.type != T_NAME) failed(p, WR_EFORMAT, "expected a name after '.'");
            advance(p);
            of = made;
        } else if (skip_op(p, '[')) {
            of = subscript(p, of);
        } else if (skip_op(p, '(')) {
            of = call(p, of);
        } else if (tails && skip_op(p, '|')) {
            of = filtered(p, of);
        } else if (tails && skip_word(p, "is")) {
            of = tested(p, of);
        } else {
            break;
        }
    }
    return of;
}

static jn_node *binary(parser *p, int op, jn_node *a, jn_node *b)
{
    jn_node *made = node(p, JN_BINARY);
    made->op = op, made->a = a, made->b = b;
    return made;
}

static bool deeper(parser *p)
{
    if (++p->depth > 4 * WR_JINJA_DEPTH) failed(p, WR_EUNSUPPORTED, "expressions nested deeper than %d", WR_JINJA_DEPTH);
    return !p->st;
}

static jn_node *power(parser *p)
{
    jn_node *a = postfix(p, primary(p), false);
    while (!p->st && skip_op(p, JN_POW)) a = binary(p, JN_POW, a, unary(p));
    return a;
}

/* Filters and tests bind tighter than any operator but those of a sign's own operand: -x|abs is -(x)|abs. */
static jn_node *unary(parser *p)
{
    jn_node *made;
    if (!deeper(p)) return node(p, JN_LIST);
    int sign = is_op(p, '-') ? JN_NEG : is_op(p, '+') ? JN_POS : 0;
    if (sign) {
        advance(p);
        made = node(p, (jn_kind)sign);
        made->a = power(p);
    } else {
        made = power(p);
    }
    made = postfix(p, made, true);
    p->depth--;
    return made;
}

static jn_node *product(parser *p)
{
    jn_node *a = unary(p);
    while (!p->st && (is_op(p, '*') || is_op(p, '/') || is_op(p, '%') || is_op(p, JN_FLOORDIV))) {
        int op = p->now.op;
        advance(p);
        a = binary(p, op, a, unary(p));
    }
    return a;
}

static jn_node *joined(parser *p)
{
    jn_node *a = product(p);
    while (!p->st && skip_op(p, '~')) a = binary(p, '~', a, product(p));
    return a;
}

static jn_node *sum(parser *p)
{
    jn_node *a = joined(p);
    while (!p->st && (is_op(p, '+') || is_op(p, '-'))) {
        int op = p->now.op;
        advance(p);
        a = binary(p, op, a, joined(p));
    }
    return a;
}

static int comparison(parser *p)
{
    static const int ops[] = {'<', '>', JN_LE, JN_GE, JN_EQ, JN_NE};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (skip_op(p, ops[i])) return ops[i];
    if (skip_word(p, "in")) return JN_IN;
    if (!is_word_now(p, "not")) return 0;
    token now = p->now;
    const char *back = p->at;
    advance(p);
    if (skip_word(p, "in")) return JN_NOT_IN;
    p->at = back, p->now = now;
    return 0;
}

/* JN_COMPARE: a, then list of JN_NAMED with op and a: a < b <= c. */
static jn_node *compared(parser *p)
{
    jn_node *a = sum(p), *made = NULL, **last = NULL;
    for (int op; !p->st && (op = comparison(p));) {
        if (!made) {
            made = node(p, JN_COMPARE);
            made->a = a;
            last = &made->list;
        }
        jn_node *right = node(p, JN_NAMED);
        right->op = op;
        right->a = sum(p);
        *last = right, last = &right->next;
    }
    return made ? made : a;
}

static jn_node *negated(parser *p)
{
    if (!deeper(p)) return node(p, JN_LIST);
    jn_node *made;
    if (skip_word(p, "not")) {
        made = node(p, JN_NOT);
        made->a = negated(p);
    } else {
        made = compared(p);
    }
    p->depth--;
    return made;
}

static jn_node *conjunction(parser *p, bool any)
{
    jn_node *a = any ? conjunction(p, false) : negated(p);
    while (!p->st && skip_word(p, any ? "or" : "and")) {
        jn_node *made = node(p, any ? JN_OR : JN_AND);
        made->a = a;
        made->b = any ? conjunction(p, false) : negated(p);
        a = made;
    }
    return a;
}

/* a if b else c: JN_WHEN. */
static jn_node *expression(parser *p)
{
    if (!deeper(p)) return node(p, JN_LIST);
    jn_node *a = conjunction(p, true);
    while (!p->st && skip_word(p, "if")) {
        jn_node *made = node(p, JN_WHEN);
        made->a = a;
        made->b = conjunction(p, true);
        made->c = skip_word(p, "else") ? expression(p) : NULL;
        a = made;
    }
    p->depth--;
    return a;
}

/* ---- statements */

static jn_node *body(parser *p, const char *const *ends);

/* The end of a tag: "%}" or "}}" with its sign, and the white space that goes with it. */
static void close_tag(parser *p, char brace)
{
    if (p->st) return;
    if (p->now.type != T_CLOSE || p->now.op != brace) {
        failed(p, WR_EFORMAT, "expected \"%c}\"", brace);
        return;
    }
    char sign = *p->now.at;
    p->at = p->now.at + 2 + (sign == '-' || sign == '+');
    if (sign == '-')
        while (p->at < p->end && is_space(*p->at)) p->at++;
    else if (brace == '%' && sign != '+' && p->at < p->end && *p->at == '\n')
        p->at++;
}

static jn_node *target(parser *p)
{
    jn_node *first = NULL, **last = &first;
    do {
        jn_node *name = node(p, JN_NAME);
        name->text = p->now.text;
        if (p->now.type != T_NAME) failed(p, WR_EFORMAT, "expected a name");
        advance(p);
        *last = name, last = &name->next;
    } while (!p->st && skip_op(p, ','));
    return first;
}

/* JN_FOR: list = targets, a = what is walked over, b = filter or NULL, c = JN_LIST of two JN_NAMED: body and else. */
static jn_node *statement_for(parser *p)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    jn_node *made = node(p, JN_FOR);
    made->list = target(p);
    if (!skip_word(p, "in")) failed(p, WR_EFORMAT, "expected \"in\"");
    made->a = conjunction(p, true);
    if (skip_word(p, "if")) made->b = expression(p);
    if (is_word_now(p, "recursive")) failed(p, WR_EUNSUPPORTED, "\"recursive\" loops are not supported");
    close_tag(p, '%');
    made->c = node(p, JN_LIST);
    made->c->a = body(p, ends);
    if (jn_text_is(p->closing, "else")) {
        close_tag(p, '%');
        made->c->b = body(p, ends);
    }
    return made;
}

/* JN_IF: a = condition, b = body, c = what else: a JN_IF with a NULL condition for else. */
static jn_node *statement_if(parser *p)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    jn_node *first = node(p, JN_IF), *made = first;
    made->a = expression(p);
    for (;;) {
        close_tag(p, '%');
        made->b = body(p, ends);
        if (p->st || jn_text_is(p->closing, "endif")) break;
        made->c = node(p, JN_IF);
        made = made->c;
        if (jn_text_is(p->closing, "elif")) made->a = expression(p);
    }
    return first;
}

/* JN_SET: list = targets (one JN_ATTR of a namespace, or names), a = value. JN_SET_BLOCK: list, b = body, a = filters. */
static jn_node *statement_set(parser *p)
{
    static const char *const ends[] = {"endset", NULL};
    jn_node *made = node(p, JN_SET);
    made->list = target(p);
    if (skip_op(p, '.')) {
        jn_node *attribute = node(p, JN_ATTR);
        attribute->a = made->list;
        attribute->text = p->now.text;
        if (p->now.type != T_NAME) failed(p, WR_EFORMAT, "expected a name after '.'");
        advance(p);
        made->list = attribute;
    }
    if (skip_op(p, '=')) {
        made->a = expression(p);
        if (!is_op(p, ',')) return made;
        jn_node *head = node(p, JN_NAMED), *tuple = node(p, JN_LIST), **last = &head->next;
        head->a = made->a, tuple->list = head, tuple->op = 1;
        while (!p->st && skip_op(p, ',')) {
            *last = node(p, JN_NAMED);
            (*last)->a = expression(p);
            last = &(*last)->next;
        }
        made->a = tuple;
        return made;
    }
    made->kind = JN_SET_BLOCK;
    if (is_op(p, '|')) failed(p, WR_EUNSUPPORTED, "\"set\" blocks with filters are not supported");
    close_tag(p, '%');
    made->b = body(p, ends);
    return made;
}

/* JN_MACRO: text = name, list = JN_NAMED parameters (text, a = default or NULL), b = body. */
static jn_node *statement_macro(parser *p)
{
    static const char *const ends[] = {"endmacro", NULL};
    jn_node *made = node(p, JN_MACRO), **last = &made->list;
    made->text = p->now.text;
    if (p->macros == sizeof p->macro / sizeof *p->macro) failed(p, WR_EUNSUPPORTED, "more than 64 macros");
    if (p->st || p->now.type != T_NAME) return failed(p, WR_EFORMAT, "expected a macro's name"), made;
    p->macro[p->macros++] = made->text;
    advance(p);
    expect(p, '(');
    while (!p->st && !is_op(p, ')')) {
        jn_node *name = node(p, JN_NAMED);
        name->text = p->now.text;
        if (p->now.type != T_NAME) failed(p, WR_EFORMAT, "expected a parameter's name");
        advance(p);
        if (skip_op(p, '=')) name->a = expression(p);
        *last = name, last = &name->next;
        if (!skip_op(p, ',')) break;
    }
    expect(p, ')');
    close_tag(p, '%');
    made->b = body(p, ends);
    return made;
}

static jn_node *generation(parser *p)
{
    static const char *const ends[] = {"endgeneration", NULL};
    jn_node *made = node(p, JN_GENERATION);
    close_tag(p, '%');
    made->b = body(p, ends);
    return made;
}

static jn_node *statement(parser *p)
{
    token name = p->now;
    jn_node *made = NULL;
    advance(p);
    if (jn_text_is(name.text, "for")) made = statement_for(p);
    else if (jn_text_is(name.text, "if")) made = statement_if(p);
    else if (jn_text_is(name.text, "set")) made = statement_set(p);
    else if (jn_text_is(name.text, "macro")) made = statement_macro(p);
    else if (jn_text_is(name.text, "generation")) made = generation(p);
    else if (jn_text_is(name.text, "break")) made = node(p, JN_BREAK);
    else if (jn_text_is(name.text, "continue")) made = node(p, JN_CONTINUE);
    else if (name.type == T_NAME)
        failed(p, WR_EUNSUPPORTED, "statement \"%.*s\" is not supported", (int)(name.text.n % 64), name.text.bytes);
    else failed(p, WR_EFORMAT, "expected a statement");
    close_tag(p, '%');
    return made ? made : node(p, JN_LIST);
}

/* Plain text up to the next tag, without the white space that the tag takes away on its left. */
static jn_node *plain(parser *p, const char *to)
{
    const char *from = p->at, *stop = to;
    if (to < p->end) {
        char sign = to + 2 < p->end ? to[2] : 0;
        const char *line = stop;
        while (line > from && line[-1] != '\n') line--;
        bool begins = line > from || from == p->begin || from[-1] == '\n';
        if (sign == '-') {
            while (stop > from && is_space(stop[-1])) stop--;
        } else if (to[1] != '{' && sign != '+' && begins) {
            const char *c = line;
            while (c < stop && is_space(*c)) c++;
            if (c == stop) stop = line;
        }
    }
    p->at = to;
    if (stop == from) return NULL;
    jn_node *made = node(p, JN_TEXT);
    made->text = (wr_text){from, (size_t)(stop - from)};
    return made;
}

static void comment(parser *p)
{
    const char *c = p->at + 2;
    while (c < p->end && !starts(p, c, "#}")) c++;
    if (c >= p->end) {
        failed(p, WR_EFORMAT, "a comment without \"#}\"");
        return;
    }
    char sign = c > p->at + 2 ? c[-1] : 0;
    p->at = c + 2;
    if (sign == '-')
        while (p->at < p->end && is_space(*p->at)) p->at++;
    else if (sign != '+' && p->at < p->end && *p->at == '\n')
        p->at++;
}

/* Behind "{% raw %}": everything up to "{% endraw %}" as it stands. */
static jn_node *raw(parser *p)
{
    close_tag(p, '%');
    for (const char *c = p->at; !p->st && c < p->end; c++) {
        if (!starts(p, c, "{%")) continue;
        const char *name = c + 2;
        if (name < p->end && (*name == '-' || *name == '+')) name++;
        while (name < p->end && is_space(*name)) name++;
        if (!starts(p, name, "endraw")) continue;
        jn_node *made = plain(p, c);
        p->at = name + 6;
        advance(p);
        close_tag(p, '%');
        return made;
    }
    failed(p, WR_EFORMAT, "\"raw\" without \"endraw\"");
    return NULL;
}

static jn_node *tag(parser *p)
{
    bool output = p->at[1] == '{';
    p->at += 2;
    if (p->at < p->end && (*p->at == '-' || *p->at == '+')) p->at++;
    advance(p);
    if (!output) {
        if (!is_word_now(p, "raw")) return statement(p);
        advance(p);
        return raw(p);
    }
    jn_node *made = node(p, JN_OUTPUT);
    made->a = expression(p);
    close_tag(p, '}');
    return made;
}

/* Statements up to a tag named in ends, whose name goes to closing and which is left open; without ends to the end. */
static jn_node *body(parser *p, const char *const *ends)
{
    jn_node *first = NULL, **last = &first;
    p->closing = (wr_text){"", 0};
    if (!deeper(p)) return NULL;
    while (!p->st) {
        const char *to = p->at;
        while (to < p->end && !(to[0] == '{' && to + 1 < p->end && (to[1] == '{' || to[1] == '%' || to[1] == '#'))) to++;
        jn_node *made = plain(p, to);
        if (made) *last = made, last = &made->next;
        if (p->at >= p->end) break;
        if (p->at[1] == '#') {
            comment(p);
            continue;
        }
        const char *back = p->at;
        if (back[1] == '%') {
            p->at += 2 + (p->at + 2 < p->end && (p->at[2] == '-' || p->at[2] == '+'));
            advance(p);
            for (size_t i = 0; ends && ends[i]; i++) {
                if (!is_word_now(p, ends[i])) continue;
                p->closing = p->now.text;
                advance(p);
                p->depth--;
                return first;
            }
            p->at = back;
        }
        made = tag(p);
        if (made) *last = made, last = &made->next;
    }
    if (ends && !p->st) failed(p, WR_EFORMAT, "expected \"%s\" before the end", ends[0]);
    p->depth--;
    return first;
}

/* ---- the whole */

/* Jinja's own first steps: line ends become "\n", and one at the very end goes. */
static wr_text source_of(wr_arena *arena, wr_text text)
{
    char *copy = wr_arena_alloc(arena, text.n + 1);
    size_t n = 0;
    if (!copy) return (wr_text){NULL, 0};
    for (size_t i = 0; i < text.n; i++) {
        if (text.bytes[i] == '\r') {
            copy[n++] = '\n';
            if (i + 1 < text.n && text.bytes[i + 1] == '\n') i++;
        } else {
            copy[n++] = text.bytes[i];
        }
    }
    if (n && copy[n - 1] == '\n') n--;
    return (wr_text){copy, n};
}

/* A node takes a cache line or two; a template of 30 KB has 4,000. */
#define NODES_PER_BYTE 512

wr_status wr_jinja_open(wr_jinja **jinja, wr_text text, const char *where, wr_err *err)
{
    wr_status st;
    parser p = {.err = err};
    wr_jinja *made = calloc(1, sizeof *made);
    *jinja = NULL;
    if (!made) return wr_fail(err, WR_ENOMEM, "%s: out of memory", where);
    snprintf(made->where, sizeof made->where, "%s", where);
    if (!wr_utf8_valid(text.bytes, text.n)) {
        st = wr_fail(err, WR_EFORMAT, "%s: chat template: not valid UTF-8", where);
        goto done;
    }
    if (text.n > WR_JINJA_SOURCE) {
        st = wr_fail(err, WR_EUNSUPPORTED, "%s: chat template: %zu bytes, at most %zu", where, text.n, WR_JINJA_SOURCE);
        goto done;
    }
    if ((st = wr_arena_init(&made->arena, ((size_t)1 << 20) + text.n * NODES_PER_BYTE))) goto done;
    made->source = source_of(&made->arena, text);
    if (!made->source.bytes) {
        st = wr_fail(err, WR_ENOMEM, "%s: out of memory", where);
        goto done;
    }
    p.jinja = made;
    p.begin = p.at = made->source.bytes;
    p.end = p.begin + made->source.n;
    made->body = body(&p, NULL);
    st = p.st;
done:
    if (st) wr_jinja_close(made);
    else *jinja = made;
    return st;
}

void wr_jinja_close(wr_jinja *jinja)
{
    if (!jinja) return;
    wr_arena_release(&jinja->arena);
    free(jinja);
}
