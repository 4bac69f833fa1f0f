/* A small interpreter for chat templates: the part of Jinja 2 that checkpoints use, run as transformers runs it
 * (ImmutableSandboxedEnvironment with trim_blocks, lstrip_blocks and loop controls; undefined values are lenient).
 *
 * Statements    for (over lists, strings and maps; tuple unpacking, inline if, else, loop variables), break, continue,
 *               if/elif/else, set (also of attributes of a namespace, and as a block), macro, generation, raw, comments
 * Expressions   literals, lists, tuples, maps, attributes, items, slices with step, calls with keywords, filters,
 * tests, arithmetic + - * / // % **, ~, comparisons (chained too), in, not in, and, or, not, inline if Filters trim
 * length count default d tojson first last join upper lower title capitalize replace items list string int float abs
 * reverse map(attribute=) selectattr rejectattr safe Tests         defined undefined none string mapping iterable
 * sequence number integer float boolean true false even odd divisibleby eq equalto ne sameas lt gt le ge in Methods of
 * strings: strip lstrip rstrip split startswith endswith upper lower title capitalize replace join find removeprefix
 * removesuffix; of maps: items keys values get Functions     namespace range dict raise_exception
 *
 * Anything else is refused when the template is opened, by name. strftime_now is not defined: a prompt that changes
 * with the date would make yesterday's answers another model's, and no cache could be trusted. Templates of Llama 3.x
 * ask `is defined` and write their fixed date then; a template that calls it regardless is refused.
 *
 * A template is a program from outside. Its nesting is limited when it is parsed; its steps, the bytes of values it
 * makes and its output when it runs, so that no template hangs or takes the machine's memory.
 */
#ifndef WR_MODELS_JINJA_H
#define WR_MODELS_JINJA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"
#include "data/status.h"
#include "data/text.h"

#define WR_JINJA_SOURCE ((size_t)1 << 20) /* bytes of a template; the longest in use has 30,000               */
#define WR_JINJA_DEPTH 64                 /* nested statements, expressions and macro calls; templates in use: 9  */
#define WR_JINJA_STEPS 1000000            /* expressions and statements run; a chat of 20 turns takes 2000        */
#define WR_JINJA_BYTES ((size_t)64 << 20) /* strings, lists and output made while running; a prompt takes 200 KB  */

typedef struct wr_jinja wr_jinja; /* constant after open; shared by all threads */

/* Values. Strings are valid UTF-8 and borrowed; a context is a map. */
typedef enum wr_jinja_type {
    WR_JINJA_UNDEFINED,
    WR_JINJA_NONE,
    WR_JINJA_BOOL,
    WR_JINJA_INT,
    WR_JINJA_FLOAT,
    WR_JINJA_STRING,
    WR_JINJA_LIST,
    WR_JINJA_MAP,
    WR_JINJA_NAMESPACE,
    WR_JINJA_MACRO
} wr_jinja_type;

typedef struct wr_jinja_map wr_jinja_map;
typedef struct wr_jinja_value {
    wr_jinja_type type;
    bool tuple; /* of a list */
    union {
        int64_t i; /* BOOL (0, 1) and INT */
        double f;
        wr_text s;
        struct {
            struct wr_jinja_value *item; /* [n] */
            size_t n;
        } list;
        wr_jinja_map *map; /* MAP and NAMESPACE, NULL = empty is not allowed */
        const void *macro;
    } u;
} wr_jinja_value;

struct wr_jinja_map {
    wr_text *key; /* [n] distinct, in the order of adding */
    wr_jinja_value *value;
    size_t n, cap;
};

wr_jinja_value wr_jinja_bool(bool value);
wr_jinja_value wr_jinja_text(wr_text text);

/* Parses a template. where names the source in err. WR_EFORMAT when it is no Jinja, WR_EUNSUPPORTED when it needs what
 * is not above. text is copied. */
wr_status wr_jinja_open(wr_jinja **jinja, wr_text text, const char *where, wr_err *err);
void wr_jinja_close(wr_jinja *jinja);

/* Runs it over the variables of context. out is borrowed from the arena. WR_EFORMAT when the template raises an
 * exception or does what Python would refuse (a sum of text and number), WR_EFULL beyond the limits, WR_ENOMEM. */
wr_status wr_jinja_render(const wr_jinja *jinja, const wr_jinja_map *context, wr_arena *arena, wr_text *out,
                          wr_err *err);

#endif
