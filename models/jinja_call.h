/* Inside the interpreter of chat templates: what filters, tests and methods share (jinja_call.c), and the methods of
 * strings (jinja_strings.c). */
#ifndef WR_MODELS_JINJA_CALL_H
#define WR_MODELS_JINJA_CALL_H

#include "models/jinja_tree.h"

enum {
    M_STRIP,
    M_LSTRIP,
    M_RSTRIP,
    M_SPLIT,
    M_STARTS,
    M_ENDS,
    M_UPPER,
    M_LOWER,
    M_TITLE,
    M_CAPITALIZE,
    M_REPLACE,
    M_JOIN,
    M_FIND,
    M_NOPREFIX,
    M_NOSUFFIX,
    M_ITEMS,
    M_KEYS,
    M_VALUES,
    M_GET
};

typedef enum jn_case { UPPER, LOWER, TITLE, CAPITAL } jn_case;

wr_jinja_value jn_argument(const jn_args *args, size_t at, const char *key); /* undefined when it is not given */
wr_text jn_text_argument(jn_run *run, const jn_args *args, size_t at, const char *key);
bool jn_whole(wr_jinja_value value); /* an integer or a boolean, which is one in Python */
wr_jinja_value jn_integer(size_t i);

wr_text jn_strip(wr_text text, const wr_text *set, bool left, bool right); /* set NULL: white space */
wr_text jn_cased(jn_run *run, wr_text text, jn_case how);
wr_text jn_replaced(jn_run *run, wr_text text, wr_text old, wr_text new, size_t most);
wr_text jn_joined(jn_run *run, wr_text by, wr_jinja_value value);
wr_jinja_value jn_string_method(jn_run *run, int what, wr_text text, const jn_args *args);

#endif
