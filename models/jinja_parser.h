/* Inside the parser of chat templates: tokens and expressions (jinja_expression.c), which statements are made of
 * (jinja_parse.c). A parser that has failed goes on returning nodes that nobody reads. */
#ifndef WR_MODELS_JINJA_PARSER_H
#define WR_MODELS_JINJA_PARSER_H

#include "models/jinja_tree.h"

enum { T_END, T_NAME, T_STRING, T_INT, T_FLOAT, T_OP, T_CLOSE, T_BAD };

typedef struct jn_token {
    int type, op;
    const char *at;
    wr_text text; /* name, or the string's value */
    double number;
    int64_t whole;
} jn_token;

typedef struct jn_parser {
    wr_jinja *jinja;
    const char *at, *end, *begin;
    jn_token now;
    wr_status st;
    wr_err *err;
    size_t depth;
    wr_text closing; /* the end tag that a body stopped at ("endif", "else") */
    wr_text macro[64];
    size_t macros;
} jn_parser;

/* Fails with a sentence that names file and line (the first failure counts); returns true. */
bool jn_failed(jn_parser *p, wr_status code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
jn_node *jn_new(jn_parser *p, jn_kind kind); /* never NULL */
bool jn_deeper(jn_parser *p);                /* one level more; the caller takes it back from p->depth */

bool jn_is_space(char c);
bool jn_starts(const jn_parser *p, const char *at, const char *word);
void jn_advance(jn_parser *p); /* the next token of a tag becomes p->now */
bool jn_is_op(const jn_parser *p, int op);
bool jn_skip_op(jn_parser *p, int op);
bool jn_is_word(const jn_parser *p, const char *word);
bool jn_skip_word(jn_parser *p, const char *word);
void jn_expect(jn_parser *p, int op);

jn_node *jn_expression(jn_parser *p);
jn_node *jn_conjunction(jn_parser *p, bool any); /* without an inline if: any "or", else "and" */

#endif
