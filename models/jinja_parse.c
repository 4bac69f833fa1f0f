/* Template -> tree: text between tags, trimmed as trim_blocks and lstrip_blocks say, and statements. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"
#include "models/jinja_parser.h"

/* ---- statements */

static jn_node *body(jn_parser *p, const char *const *ends);

/* The end of a tag: "%}" or "}}" with its sign, and the white space that goes with it. */
static void close_tag(jn_parser *p, char brace)
{
    if (p->st) return;
    if (p->now.type != T_CLOSE || p->now.op != brace) {
        jn_failed(p, WR_EFORMAT, "expected \"%c}\"", brace);
        return;
    }
    char sign = *p->now.at;
    p->at = p->now.at + 2 + (sign == '-' || sign == '+');
    if (sign == '-')
        while (p->at < p->end && jn_is_space(*p->at)) p->at++;
    else if (brace == '%' && sign != '+' && p->at < p->end && *p->at == '\n')
        p->at++;
}

static jn_node *target(jn_parser *p)
{
    jn_node *first = NULL, **last = &first;
    do {
        jn_node *name = jn_new(p, JN_NAME);
        name->text = p->now.text;
        if (p->now.type != T_NAME) jn_failed(p, WR_EFORMAT, "expected a name");
        jn_advance(p);
        *last = name, last = &name->next;
    } while (!p->st && jn_skip_op(p, ','));
    return first;
}

/* JN_FOR: list = targets, a = what is walked over, b = filter or NULL, c = JN_LIST of two JN_NAMED: body and else. */
static jn_node *statement_for(jn_parser *p)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    jn_node *made = jn_new(p, JN_FOR);
    made->list = target(p);
    if (!jn_skip_word(p, "in")) jn_failed(p, WR_EFORMAT, "expected \"in\"");
    made->a = jn_conjunction(p, true);
    if (jn_skip_word(p, "if")) made->b = jn_expression(p);
    if (jn_is_word(p, "recursive")) jn_failed(p, WR_EUNSUPPORTED, "\"recursive\" loops are not supported");
    close_tag(p, '%');
    made->c = jn_new(p, JN_LIST);
    made->c->a = body(p, ends);
    if (jn_text_is(p->closing, "else")) {
        close_tag(p, '%');
        made->c->b = body(p, ends);
    }
    return made;
}

/* JN_IF: a = condition, b = body, c = what else: a JN_IF with a NULL condition for else. */
static jn_node *statement_if(jn_parser *p)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    jn_node *first = jn_new(p, JN_IF), *made = first;
    made->a = jn_expression(p);
    for (;;) {
        close_tag(p, '%');
        made->b = body(p, ends);
        if (p->st || jn_text_is(p->closing, "endif")) break;
        made->c = jn_new(p, JN_IF);
        made = made->c;
        if (jn_text_is(p->closing, "elif")) made->a = jn_expression(p);
    }
    return first;
}

/* JN_SET: list = targets (one JN_ATTR of a namespace, or names), a = value. JN_SET_BLOCK: list, b = body, a = filters.
 */
static jn_node *statement_set(jn_parser *p)
{
    static const char *const ends[] = {"endset", NULL};
    jn_node *made = jn_new(p, JN_SET);
    made->list = target(p);
    if (jn_skip_op(p, '.')) {
        jn_node *attribute = jn_new(p, JN_ATTR);
        attribute->a = made->list;
        attribute->text = p->now.text;
        if (p->now.type != T_NAME) jn_failed(p, WR_EFORMAT, "expected a name after '.'");
        jn_advance(p);
        made->list = attribute;
    }
    if (jn_skip_op(p, '=')) {
        made->a = jn_expression(p);
        if (!jn_is_op(p, ',')) return made;
        jn_node *head = jn_new(p, JN_NAMED), *tuple = jn_new(p, JN_LIST), **last = &head->next;
        head->a = made->a, tuple->list = head, tuple->op = 1;
        while (!p->st && jn_skip_op(p, ',')) {
            *last = jn_new(p, JN_NAMED);
            (*last)->a = jn_expression(p);
            last = &(*last)->next;
        }
        made->a = tuple;
        return made;
    }
    made->kind = JN_SET_BLOCK;
    if (jn_is_op(p, '|')) jn_failed(p, WR_EUNSUPPORTED, "\"set\" blocks with filters are not supported");
    close_tag(p, '%');
    made->b = body(p, ends);
    return made;
}

/* JN_MACRO: text = name, list = JN_NAMED parameters (text, a = default or NULL), b = body. */
static jn_node *statement_macro(jn_parser *p)
{
    static const char *const ends[] = {"endmacro", NULL};
    jn_node *made = jn_new(p, JN_MACRO), **last = &made->list;
    made->text = p->now.text;
    if (p->macros == sizeof p->macro / sizeof *p->macro) jn_failed(p, WR_EUNSUPPORTED, "more than 64 macros");
    if (p->st || p->now.type != T_NAME) return jn_failed(p, WR_EFORMAT, "expected a macro's name"), made;
    p->macro[p->macros++] = made->text;
    jn_advance(p);
    jn_expect(p, '(');
    while (!p->st && !jn_is_op(p, ')')) {
        jn_node *name = jn_new(p, JN_NAMED);
        name->text = p->now.text;
        if (p->now.type != T_NAME) jn_failed(p, WR_EFORMAT, "expected a parameter's name");
        jn_advance(p);
        if (jn_skip_op(p, '=')) name->a = jn_expression(p);
        *last = name, last = &name->next;
        if (!jn_skip_op(p, ',')) break;
    }
    jn_expect(p, ')');
    close_tag(p, '%');
    made->b = body(p, ends);
    return made;
}

static jn_node *generation(jn_parser *p)
{
    static const char *const ends[] = {"endgeneration", NULL};
    jn_node *made = jn_new(p, JN_GENERATION);
    close_tag(p, '%');
    made->b = body(p, ends);
    return made;
}

static jn_node *statement(jn_parser *p)
{
    jn_token name = p->now;
    jn_node *made = NULL;
    jn_advance(p);
    if (jn_text_is(name.text, "for"))
        made = statement_for(p);
    else if (jn_text_is(name.text, "if"))
        made = statement_if(p);
    else if (jn_text_is(name.text, "set"))
        made = statement_set(p);
    else if (jn_text_is(name.text, "macro"))
        made = statement_macro(p);
    else if (jn_text_is(name.text, "generation"))
        made = generation(p);
    else if (jn_text_is(name.text, "break"))
        made = jn_new(p, JN_BREAK);
    else if (jn_text_is(name.text, "continue"))
        made = jn_new(p, JN_CONTINUE);
    else if (name.type == T_NAME)
        jn_failed(p, WR_EUNSUPPORTED, "statement \"%.*s\" is not supported", (int)(name.text.n % 64), name.text.bytes);
    else
        jn_failed(p, WR_EFORMAT, "expected a statement");
    close_tag(p, '%');
    return made ? made : jn_new(p, JN_LIST);
}

/* Plain text up to the next tag, without the white space that the tag takes away on its left. */
static jn_node *plain(jn_parser *p, const char *to)
{
    const char *from = p->at, *stop = to;
    if (to < p->end) {
        char sign = to + 2 < p->end ? to[2] : 0;
        const char *line = stop;
        while (line > from && line[-1] != '\n') line--;
        bool begins = line > from || from == p->begin || from[-1] == '\n';
        if (sign == '-') {
            while (stop > from && jn_is_space(stop[-1])) stop--;
        } else if (to[1] != '{' && sign != '+' && begins) {
            const char *c = line;
            while (c < stop && jn_is_space(*c)) c++;
            if (c == stop) stop = line;
        }
    }
    p->at = to;
    if (stop == from) return NULL;
    jn_node *made = jn_new(p, JN_TEXT);
    made->text = (wr_text){from, (size_t)(stop - from)};
    return made;
}

static void comment(jn_parser *p)
{
    const char *c = p->at + 2;
    while (c < p->end && !jn_starts(p, c, "#}")) c++;
    if (c >= p->end) {
        jn_failed(p, WR_EFORMAT, "a comment without \"#}\"");
        return;
    }
    char sign = c > p->at + 2 ? c[-1] : 0;
    p->at = c + 2;
    if (sign == '-')
        while (p->at < p->end && jn_is_space(*p->at)) p->at++;
    else if (sign != '+' && p->at < p->end && *p->at == '\n')
        p->at++;
}

/* Behind "{% raw %}": everything up to "{% endraw %}" as it stands. */
static jn_node *raw(jn_parser *p)
{
    close_tag(p, '%');
    for (const char *c = p->at; !p->st && c < p->end; c++) {
        if (!jn_starts(p, c, "{%")) continue;
        const char *name = c + 2;
        if (name < p->end && (*name == '-' || *name == '+')) name++;
        while (name < p->end && jn_is_space(*name)) name++;
        if (!jn_starts(p, name, "endraw")) continue;
        jn_node *made = plain(p, c);
        p->at = name + 6;
        jn_advance(p);
        close_tag(p, '%');
        return made;
    }
    jn_failed(p, WR_EFORMAT, "\"raw\" without \"endraw\"");
    return NULL;
}

static jn_node *tag(jn_parser *p)
{
    bool output = p->at[1] == '{';
    p->at += 2;
    if (p->at < p->end && (*p->at == '-' || *p->at == '+')) p->at++;
    jn_advance(p);
    if (!output) {
        if (!jn_is_word(p, "raw")) return statement(p);
        jn_advance(p);
        return raw(p);
    }
    jn_node *made = jn_new(p, JN_OUTPUT);
    made->a = jn_expression(p);
    close_tag(p, '}');
    return made;
}

/* Statements up to a tag named in ends, whose name goes to closing and which is left open; without ends to the end. */
static jn_node *body(jn_parser *p, const char *const *ends)
{
    jn_node *first = NULL, **last = &first;
    p->closing = (wr_text){"", 0};
    if (!jn_deeper(p)) return NULL;
    while (!p->st) {
        const char *to = p->at;
        while (to < p->end && !(to[0] == '{' && to + 1 < p->end && (to[1] == '{' || to[1] == '%' || to[1] == '#')))
            to++;
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
            jn_advance(p);
            for (size_t i = 0; ends && ends[i]; i++) {
                if (!jn_is_word(p, ends[i])) continue;
                p->closing = p->now.text;
                jn_advance(p);
                p->depth--;
                return first;
            }
            p->at = back;
        }
        made = tag(p);
        if (made) *last = made, last = &made->next;
    }
    if (ends && !p->st) jn_failed(p, WR_EFORMAT, "expected \"%s\" before the end", ends[0]);
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
    jn_parser p = {.err = err};
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
    if (st)
        wr_jinja_close(made);
    else
        *jinja = made;
    return st;
}

void wr_jinja_close(wr_jinja *jinja)
{
    if (!jinja) return;
    wr_arena_release(&jinja->arena);
    free(jinja);
}
