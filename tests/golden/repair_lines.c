/* For tests/golden/compare_repair.py: reads JSON strings, one a line, writes what wr_repair() makes of each. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "models/repair.h"

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    wr_arena arena;
    wr_text out;
    if (wr_arena_init(&arena, (size_t)1 << 30)) return 1;
    for (ssize_t n; (n = getline(&line, &cap, stdin)) > 0;) {
        json_t *text = json_loadb(line, (size_t)n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        if (!text || wr_repair((wr_text){json_string_value(text), json_string_length(text)}, &arena, &out)) return 1;
        json_t *fixed = json_stringn(out.bytes, out.n);
        char *answer = json_dumps(fixed, JSON_ENCODE_ANY);
        puts(answer ? answer : "null");
        free(answer), json_decref(fixed), json_decref(text);
        wr_arena_reset(&arena, (size_t)1 << 20);
    }
    free(line);
    wr_arena_release(&arena);
    return 0;
}
