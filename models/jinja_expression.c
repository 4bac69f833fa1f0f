/* Tokens and expressions of chat templates: a recursive descent in Jinja's order of precedence: inline if, or, and,
 * not, comparisons, + -, ~, * / // %, signs, **, postfix with filters and tests, literals. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"
#include "models/jinja_parser.h"

bool jn_failed(jn_parser *p, wr_status code, const char *fmt, ...)
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

static void *keep(jn_parser *p, size_t size)
{
    void *memory = wr_arena_calloc(&p->jinja->arena, 1, size);
    if (!memory) jn_failed(p, WR_ENOMEM, "out of memory");
    return memory;
}

jn_node *jn_new(jn_parser *p, jn_kind kind)
{
    static jn_node spare; /* what a parser that has failed may write to: never read */
    jn_node *made = keep(p, sizeof *made);
    if (!made) return spare.kind = kind, &spare;
    made->kind = kind;
    return made;
}

bool jn_is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f);
}

static bool is_word(char c)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c & 0x80);
}

bool jn_starts(const jn_parser *p, const char *at, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(p->end - at) >= n && !memcmp(at, word, n);
}

/* ---- tokens */

static size_t hex_of(const jn_parser *p, const char *at, size_t digits, uint32_t *cp)
{
    *cp = 0;
    if ((size_t)(p->end - at) < digits) return 0;
    for (size_t i = 0; i < digits; i++) {
        char c = at[i];
        uint32_t v = c >= '0' && c <= '9'                 ? (uint32_t)(c - '0')
                     : (c | 32) >= 'a' && (c | 32) <= 'f' ? (uint32_t)((c | 32) - 'a' + 10)
                                                          : 99;
        if (v == 99) return 0;
        *cp = *cp << 4 | v;
    }
    return digits;
}

/* Python's escapes; an unknown one stays as it is written. Writes to out, returns the length. */
static size_t unescape(jn_parser *p, const char *from, const char *to, char *out)
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

static void take_string(jn_parser *p)
{
    char quote = *p->at;
    const char *from = ++p->at;
    while (p->at < p->end && *p->at != quote) p->at += *p->at == '\\' && p->at + 1 < p->end ? 2 : 1;
    if (p->at >= p->end) {
        jn_failed(p, WR_EFORMAT, "a string without its closing quote");
        return;
    }
    char *value = wr_arena_alloc(&p->jinja->arena, (size_t)(p->at - from) + 8);
    if (!value) {
        jn_failed(p, WR_ENOMEM, "out of memory");
        return;
    }
    p->now = (jn_token){.type = T_STRING, .at = from, .text = {value, unescape(p, from, p->at, value)}};
    p->at++;
}

static void take_number(jn_parser *p)
{
    char digits[64];
    size_t n = 0;
    bool real = false;
    const char *from = p->at;
    for (; p->at < p->end && n + 1 < sizeof digits; p->at++) {
        char c = *p->at;
        if (c == '_') continue;
        if (c == '.' && !real && p->at + 1 < p->end && p->at[1] >= '0' && p->at[1] <= '9')
            real = true;
        else if (c < '0' || c > '9')
            break;
        digits[n++] = c;
    }
    digits[n] = 0;
    if (!real && n > 18) jn_failed(p, WR_EUNSUPPORTED, "a number of more than 18 digits");
    p->now = (jn_token){.type = real ? T_FLOAT : T_INT,
                        .at = from,
                        .number = real ? strtod(digits, NULL) : 0,
                        .whole = real ? 0 : strtoll(digits, NULL, 10)};
}

void jn_advance(jn_parser *p)
{
    static const struct {
        char text[3];
        int op;
    } two[] = {{"<=", JN_LE}, {">=", JN_GE}, {"==", JN_EQ}, {"!=", JN_NE}, {"**", JN_POW}, {"//", JN_FLOORDIV}};
    while (p->at < p->end && jn_is_space(*p->at)) p->at++;
    p->now = (jn_token){.type = T_END, .at = p->at};
    if (p->st || p->at >= p->end) return;
    const char *at = p->at;
    char c = *at;
    size_t sign = (c == '-' || c == '+') ? 1 : 0;
    if (jn_starts(p, at + sign, "%}") || jn_starts(p, at + sign, "}}")) {
        p->now = (jn_token){.type = T_CLOSE, .at = at, .op = at[sign]};
        return; /* the brace of a map may be meant: whoever expects one looks at op */
    }
    if (c == '\'' || c == '"') {
        take_string(p);
    } else if (c >= '0' && c <= '9') {
        take_number(p);
    } else if (is_word(c)) {
        while (p->at < p->end && is_word(*p->at)) p->at++;
        p->now = (jn_token){.type = T_NAME, .at = at, .text = {at, (size_t)(p->at - at)}};
    } else {
        for (size_t i = 0; i < sizeof two / sizeof *two; i++)
            if (jn_starts(p, at, two[i].text)) {
                p->at += 2;
                p->now = (jn_token){.type = T_OP, .op = two[i].op, .at = at};
                return;
            }
        p->at++;
        p->now = (jn_token){.type = strchr("+-*/%~<>=()[]{},.:|", c) && c ? T_OP : T_BAD, .op = c, .at = at};
    }
}

bool jn_is_op(const jn_parser *p, int op)
{
    if (p->now.type == T_OP) return p->now.op == op;
    return op == '}' && p->now.type == T_CLOSE && *p->now.at == '}';
}

bool jn_skip_op(jn_parser *p, int op)
{
    if (!jn_is_op(p, op)) return false;
    if (p->now.type == T_CLOSE) p->at = p->now.at + 1;
    jn_advance(p);
    return true;
}

bool jn_is_word(const jn_parser *p, const char *word)
{
    return p->now.type == T_NAME && jn_text_is(p->now.text, word);
}

bool jn_skip_word(jn_parser *p, const char *word)
{
    if (!jn_is_word(p, word)) return false;
    jn_advance(p);
    return true;
}

void jn_expect(jn_parser *p, int op)
{
    if (!jn_skip_op(p, op)) jn_failed(p, WR_EFORMAT, "expected '%c'", op);
}

/* ---- expressions */

static jn_node *unary(jn_parser *p);

static jn_node *constant(jn_parser *p, wr_jinja_value value)
{
    jn_node *made = jn_new(p, JN_VALUE);
    made->value = keep(p, sizeof value);
    if (made->value) *made->value = value;
    return made;
}

/* "(a, b, key=c)" behind a call, a filter or a test: JN_NAMED has text and a. The opening one is skipped already. */
static jn_node *arguments(jn_parser *p)
{
    jn_node *first = NULL, **last = &first;
    while (!p->st && !jn_is_op(p, ')')) {
        jn_node *arg;
        jn_token name = p->now;
        const char *back = p->at;
        if (name.type == T_NAME) jn_advance(p);
        if (name.type == T_NAME && jn_is_op(p, '=')) {
            jn_advance(p);
            arg = jn_new(p, JN_NAMED);
            arg->text = name.text;
            arg->a = jn_expression(p);
        } else {
            p->at = back, p->now = name;
            arg = jn_new(p, JN_NAMED);
            arg->a = jn_expression(p);
        }
        *last = arg, last = &arg->next;
        if (!jn_skip_op(p, ',')) break;
    }
    jn_expect(p, ')');
    return first;
}

static jn_node *sequence(jn_parser *p, int close, jn_node *first)
{
    jn_node *list = jn_new(p, JN_LIST), **last = &list->list;
    if (first) *last = first, last = &first->next;
    while (!p->st && !jn_is_op(p, close)) {
        jn_node *item = jn_new(p, JN_NAMED);
        item->a = jn_expression(p);
        *last = item, last = &item->next;
        if (!jn_skip_op(p, ',')) break;
    }
    jn_expect(p, close);
    return list;
}

static jn_node *map(jn_parser *p)
{
    jn_node *made = jn_new(p, JN_MAP), **last = &made->list;
    while (!p->st && !jn_is_op(p, '}')) {
        jn_node *pair = jn_new(p, JN_NAMED);
        pair->b = jn_expression(p);
        jn_expect(p, ':');
        pair->a = jn_expression(p);
        *last = pair, last = &pair->next;
        if (!jn_skip_op(p, ',')) break;
    }
    jn_expect(p, '}');
    return made;
}

static jn_node *name_or_literal(jn_parser *p)
{
    wr_text text = p->now.text;
    jn_advance(p);
    if (jn_text_is(text, "true") || jn_text_is(text, "True")) return constant(p, wr_jinja_bool(true));
    if (jn_text_is(text, "false") || jn_text_is(text, "False")) return constant(p, wr_jinja_bool(false));
    if (jn_text_is(text, "none") || jn_text_is(text, "None"))
        return constant(p, (wr_jinja_value){.type = WR_JINJA_NONE});
    jn_node *made = jn_new(p, JN_NAME);
    made->text = text;
    return made;
}

static jn_node *strings(jn_parser *p)
{
    wr_text text = p->now.text;
    jn_advance(p);
    while (p->now.type == T_STRING && !p->st) { /* "a" "b" is one string */
        char *both = keep(p, text.n + p->now.text.n + 1);
        if (!both) break;
        memcpy(both, text.bytes, text.n);
        memcpy(both + text.n, p->now.text.bytes, p->now.text.n);
        text = (wr_text){both, text.n + p->now.text.n};
        jn_advance(p);
    }
    return constant(p, wr_jinja_text(text));
}

static jn_node *primary(jn_parser *p)
{
    jn_token now = p->now;
    if (now.type == T_NAME) return name_or_literal(p);
    if (now.type == T_STRING) return strings(p);
    if (now.type == T_INT) {
        jn_advance(p);
        return constant(p, (wr_jinja_value){.type = WR_JINJA_INT, .u.i = now.whole});
    }
    if (now.type == T_FLOAT) {
        jn_advance(p);
        return constant(p, (wr_jinja_value){.type = WR_JINJA_FLOAT, .u.f = now.number});
    }
    if (jn_skip_op(p, '[')) return sequence(p, ']', NULL);
    if (jn_skip_op(p, '{')) return map(p);
    if (jn_skip_op(p, '(')) {
        jn_node *first = jn_new(p, JN_NAMED);
        if (jn_is_op(p, ')')) return sequence(p, ')', NULL);
        first->a = jn_expression(p);
        if (jn_skip_op(p, ',')) {
            jn_node *tuple = sequence(p, ')', first);
            tuple->op = 1;
            return tuple;
        }
        jn_expect(p, ')');
        return first->a;
    }
    jn_failed(p, WR_EFORMAT, "expected a value");
    return jn_new(p, JN_LIST);
}

/* x[a], x[a:b:c]: JN_ITEM a[b]; JN_SLICE of a with list = three JN_NAMED, whose a may be NULL. */
static jn_node *subscript(jn_parser *p, jn_node *of)
{
    jn_node *part[3] = {0}, *made;
    size_t n = 0;
    bool slice = false;
    while (!p->st && !jn_is_op(p, ']') && n < 3) {
        if (jn_skip_op(p, ':')) {
            slice = true, n++;
            continue;
        }
        part[n] = jn_expression(p);
        if (!jn_is_op(p, ':')) break;
    }
    jn_expect(p, ']');
    made = jn_new(p, slice ? JN_SLICE : JN_ITEM);
    made->a = of;
    if (!slice) {
        if (!part[0]) jn_failed(p, WR_EFORMAT, "[] without an index");
        made->b = part[0];
        return made;
    }
    for (size_t i = 3; i-- > 0;) {
        jn_node *at = jn_new(p, JN_NAMED);
        at->a = part[i];
        at->next = made->list;
        made->list = at;
    }
    return made;
}

static jn_node *call(jn_parser *p, jn_node *of)
{
    jn_node *made;
    if (of->kind == JN_ATTR) {
        made = jn_new(p, JN_METHOD);
        made->a = of->a;
        made->text = of->text;
        made->op = jn_method_find(of->text);
        if (made->op < 0)
            jn_failed(p, WR_EUNSUPPORTED, "method \".%.*s()\" is not supported", (int)(of->text.n % 64),
                      of->text.bytes);
    } else if (of->kind == JN_NAME) {
        made = jn_new(p, JN_CALL);
        made->text = of->text;
        made->op = jn_function_find(of->text);
        bool known = made->op >= 0;
        for (size_t i = 0; i < p->macros && !known; i++)
            known = p->macro[i].n == of->text.n && !memcmp(p->macro[i].bytes, of->text.bytes, of->text.n);
        if (!known)
            jn_failed(p, WR_EUNSUPPORTED, "function \"%.*s()\" is not supported", (int)(of->text.n % 64),
                      of->text.bytes);
    } else {
        made = of;
        jn_failed(p, WR_EUNSUPPORTED, "a call of something that is not a name");
    }
    made->list = arguments(p);
    return made;
}

static jn_node *filtered(jn_parser *p, jn_node *of)
{
    jn_node *made = jn_new(p, JN_FILTER);
    made->a = of;
    made->text = p->now.text;
    if (p->now.type != T_NAME) {
        jn_failed(p, WR_EFORMAT, "expected a filter's name");
        return made;
    }
    made->op = jn_filter_find(p->now.text);
    if (made->op < 0)
        jn_failed(p, WR_EUNSUPPORTED, "filter \"%.*s\" is not supported", (int)(made->text.n % 64), made->text.bytes);
    jn_advance(p);
    if (jn_skip_op(p, '(')) made->list = arguments(p);
    return made;
}

/* "is name", "is not name", "is name(args)", "is name value". */
static jn_node *tested(jn_parser *p, jn_node *of)
{
    jn_node *made = jn_new(p, JN_TEST);
    bool negate = jn_skip_word(p, "not");
    made->a = of;
    made->b = negate ? of : NULL; /* "is not" */
    made->text = p->now.text;
    if (p->now.type != T_NAME) {
        jn_failed(p, WR_EFORMAT, "expected a test's name");
        return made;
    }
    made->op = jn_test_find(p->now.text);
    if (made->op < 0)
        jn_failed(p, WR_EUNSUPPORTED, "test \"%.*s\" is not supported", (int)(made->text.n % 64), made->text.bytes);
    jn_advance(p);
    if (jn_skip_op(p, '(')) {
        made->list = arguments(p);
    } else if (p->now.type == T_STRING || p->now.type == T_INT || p->now.type == T_FLOAT) {
        made->list = jn_new(p, JN_NAMED);
        made->list->a = primary(p);
    }
    return made;
}

static jn_node *postfix(jn_parser *p, jn_node *of, bool tails)
{
    while (!p->st) {
        if (jn_skip_op(p, '.')) {
            jn_node *made = jn_new(p, JN_ATTR);
            made->a = of;
            made->text = p->now.text;
            if (p->now.type != T_NAME) jn_failed(p, WR_EFORMAT, "expected a name after '.'");
            jn_advance(p);
            of = made;
        } else if (jn_skip_op(p, '[')) {
            of = subscript(p, of);
        } else if (jn_skip_op(p, '(')) {
            of = call(p, of);
        } else if (tails && jn_skip_op(p, '|')) {
            of = filtered(p, of);
        } else if (tails && jn_skip_word(p, "is")) {
            of = tested(p, of);
        } else {
            break;
        }
    }
    return of;
}

static jn_node *binary(jn_parser *p, int op, jn_node *a, jn_node *b)
{
    jn_node *made = jn_new(p, JN_BINARY);
    made->op = op, made->a = a, made->b = b;
    return made;
}

bool jn_deeper(jn_parser *p)
{
    if (++p->depth > 4 * WR_JINJA_DEPTH)
        jn_failed(p, WR_EUNSUPPORTED, "expressions nested deeper than %d", WR_JINJA_DEPTH);
    return !p->st;
}

static jn_node *power(jn_parser *p)
{
    jn_node *a = postfix(p, primary(p), false);
    while (!p->st && jn_skip_op(p, JN_POW)) a = binary(p, JN_POW, a, unary(p));
    return a;
}

/* Filters and tests bind tighter than any operator but those of a sign's own operand: -x|abs is -(x)|abs. */
static jn_node *unary(jn_parser *p)
{
    jn_node *made;
    if (!jn_deeper(p)) return jn_new(p, JN_LIST);
    int sign = jn_is_op(p, '-') ? JN_NEG : jn_is_op(p, '+') ? JN_POS : 0;
    if (sign) {
        jn_advance(p);
        made = jn_new(p, (jn_kind)sign);
        made->a = power(p);
    } else {
        made = power(p);
    }
    made = postfix(p, made, true);
    p->depth--;
    return made;
}

static jn_node *product(jn_parser *p)
{
    jn_node *a = unary(p);
    while (!p->st && (jn_is_op(p, '*') || jn_is_op(p, '/') || jn_is_op(p, '%') || jn_is_op(p, JN_FLOORDIV))) {
        int op = p->now.op;
        jn_advance(p);
        a = binary(p, op, a, unary(p));
    }
    return a;
}

static jn_node *joined(jn_parser *p)
{
    jn_node *a = product(p);
    while (!p->st && jn_skip_op(p, '~')) a = binary(p, '~', a, product(p));
    return a;
}

static jn_node *sum(jn_parser *p)
{
    jn_node *a = joined(p);
    while (!p->st && (jn_is_op(p, '+') || jn_is_op(p, '-'))) {
        int op = p->now.op;
        jn_advance(p);
        a = binary(p, op, a, joined(p));
    }
    return a;
}

static int comparison(jn_parser *p)
{
    static const int ops[] = {'<', '>', JN_LE, JN_GE, JN_EQ, JN_NE};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (jn_skip_op(p, ops[i])) return ops[i];
    if (jn_skip_word(p, "in")) return JN_IN;
    if (!jn_is_word(p, "not")) return 0;
    jn_token now = p->now;
    const char *back = p->at;
    jn_advance(p);
    if (jn_skip_word(p, "in")) return JN_NOT_IN;
    p->at = back, p->now = now;
    return 0;
}

/* JN_COMPARE: a, then list of JN_NAMED with op and a: a < b <= c. */
static jn_node *compared(jn_parser *p)
{
    jn_node *a = sum(p), *made = NULL, **last = NULL;
    for (int op; !p->st && (op = comparison(p));) {
        if (!made) {
            made = jn_new(p, JN_COMPARE);
            made->a = a;
            last = &made->list;
        }
        jn_node *right = jn_new(p, JN_NAMED);
        right->op = op;
        right->a = sum(p);
        *last = right, last = &right->next;
    }
    return made ? made : a;
}

static jn_node *negated(jn_parser *p)
{
    if (!jn_deeper(p)) return jn_new(p, JN_LIST);
    jn_node *made;
    if (jn_skip_word(p, "not")) {
        made = jn_new(p, JN_NOT);
        made->a = negated(p);
    } else {
        made = compared(p);
    }
    p->depth--;
    return made;
}

jn_node *jn_conjunction(jn_parser *p, bool any)
{
    jn_node *a = any ? jn_conjunction(p, false) : negated(p);
    while (!p->st && jn_skip_word(p, any ? "or" : "and")) {
        jn_node *made = jn_new(p, any ? JN_OR : JN_AND);
        made->a = a;
        made->b = any ? jn_conjunction(p, false) : negated(p);
        a = made;
    }
    return a;
}

/* a if b else c: JN_WHEN. */
jn_node *jn_expression(jn_parser *p)
{
    if (!jn_deeper(p)) return jn_new(p, JN_LIST);
    jn_node *a = jn_conjunction(p, true);
    while (!p->st && jn_skip_word(p, "if")) {
        jn_node *made = jn_new(p, JN_WHEN);
        made->a = a;
        made->b = jn_conjunction(p, true);
        made->c = jn_skip_word(p, "else") ? jn_expression(p) : NULL;
        a = made;
    }
    p->depth--;
    return a;
}
