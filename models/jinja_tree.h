/* Inside the interpreter of chat templates (models/jinja.h): the tree that the parser makes and the values that run. */
#ifndef WR_MODELS_JINJA_TREE_H
#define WR_MODELS_JINJA_TREE_H

#include "models/jinja.h"

typedef enum jn_kind {
    JN_TEXT,
    JN_OUTPUT,
    JN_IF,
    JN_FOR,
    JN_SET,
    JN_SET_BLOCK,
    JN_MACRO,
    JN_BREAK,
    JN_CONTINUE,
    JN_GENERATION, /* statements */
    JN_VALUE,
    JN_NAME,
    JN_LIST,
    JN_MAP,
    JN_ATTR,
    JN_ITEM,
    JN_SLICE,
    JN_CALL,
    JN_METHOD,
    JN_FILTER,
    JN_TEST, /* expressions */
    JN_NOT,
    JN_NEG,
    JN_POS,
    JN_AND,
    JN_OR,
    JN_BINARY,
    JN_COMPARE,
    JN_WHEN,
    JN_NAMED
} jn_kind;

/* One node. What a, b, c and list mean is said where the parser makes it; lists are linked by next. */
typedef struct jn_node {
    jn_kind kind;
    int op; /* of JN_BINARY and JN_COMPARE: a token; of JN_FILTER, JN_TEST, JN_METHOD, JN_CALL: index into the table of
               names */
    wr_text text;
    wr_jinja_value *value;
    struct jn_node *a, *b, *c, *list, *next;
} jn_node;

/* Operators as the parser writes them into jn_node.op. */
enum { JN_LE = 128, JN_GE, JN_EQ, JN_NE, JN_IN, JN_NOT_IN, JN_POW, JN_FLOORDIV }; /* others are their character */

struct wr_jinja {
    wr_arena arena;
    jn_node *body;
    wr_text source;
    char where[256];
};

/* A run: values live in arena, their bytes are counted. */
typedef struct jn_frame {
    wr_jinja_map *names;
    struct jn_frame *parent;
} jn_frame;

typedef struct jn_run {
    const wr_jinja *jinja;
    wr_arena *arena;
    wr_err *err;
    wr_status st; /* the first failure; everything returns at once then */
    size_t steps, bytes, depth;
    jn_frame *frame, *top;
    char *out; /* [out_n] of out_cap */
    size_t out_n, out_cap;
    int jump; /* 0, JN_BREAK or JN_CONTINUE */
} jn_run;

/* Fails the run with a sentence (the first one counts). */
void jn_fail(jn_run *run, wr_status code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void *jn_alloc(jn_run *run, size_t n, size_t size); /* NULL after jn_fail */
wr_jinja_value jn_eval(jn_run *run, const jn_node *node);

typedef struct jn_args {
    const wr_jinja_value *at; /* [n] by position */
    size_t n;
    const wr_jinja_map *named; /* NULL: none */
} jn_args;

/* Tables of names that the parser asks and the run calls by index; -1 when unknown. */
int jn_filter_find(wr_text name);
int jn_test_find(wr_text name);
int jn_method_find(wr_text name);
int jn_function_find(wr_text name);
wr_jinja_value jn_filter(jn_run *run, int index, wr_jinja_value value, const jn_args *args);
bool jn_test(jn_run *run, int index, wr_jinja_value value, const jn_args *args);
wr_jinja_value jn_method(jn_run *run, int index, wr_jinja_value value, const jn_args *args);
wr_jinja_value jn_function(jn_run *run, int index, const jn_args *args);

/* Values. */
bool jn_text_is(wr_text text, const char *word);
bool jn_true(wr_jinja_value value);
bool jn_equal(wr_jinja_value a, wr_jinja_value b);
int jn_compare(jn_run *run, wr_jinja_value a, wr_jinja_value b);
bool jn_contains(jn_run *run, wr_jinja_value box, wr_jinja_value value);
wr_text jn_string(jn_run *run, wr_jinja_value value);           /* as {{ }} prints it */
wr_text jn_json(jn_run *run, wr_jinja_value value, int indent); /* -1: on one line   */
wr_text jn_cat(jn_run *run, wr_text a, wr_text b);
wr_jinja_value jn_attribute(jn_run *run, wr_jinja_value value, wr_text name);
bool jn_items(jn_run *run, wr_jinja_value value, wr_jinja_value *list); /* what a for loop walks over, as a list */
size_t jn_length(wr_text text);                                         /* in code points */
const wr_jinja_value *jn_map_get(const wr_jinja_map *map, wr_text key);
void jn_map_set(jn_run *run, wr_jinja_map *map, wr_text key, wr_jinja_value value);

#endif
