/* For tests/golden/compare_chat.py: renders chat templates.
 *
 *     render_chat   reads pairs of lines: a template as a JSON string, a JSON list of cases [[[role, content], ...],
 * generate]; writes for each template one JSON line: a list of strings, or of null where rendering is refused
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/chat.h"

static char dir[] = "/tmp/weir-chat-XXXXXX", path[64];

static json_t *rendered(const wr_chat *chat, const json_t *test, wr_arena *arena)
{
    wr_message message[64];
    wr_text out;
    wr_err err;
    const json_t *list = json_array_get(test, 0);
    size_t n = json_array_size(list);
    for (size_t i = 0; i < n && i < 64; i++) {
        const json_t *one = json_array_get(list, i), *content = json_array_get(one, 1);
        message[i] = (wr_message){json_string_value(json_array_get(one, 0)),
                                  {json_string_value(content), json_string_length(content)}};
    }
    wr_status st = wr_chat_render(chat, message, n, json_is_true(json_array_get(test, 1)), arena, &out, &err);
    if (st) fprintf(stderr, "%s\n", err.text);
    return st ? json_null() : json_stringn(out.bytes, out.n);
}

static json_t *line_of(char **line, size_t *cap)
{
    ssize_t n = getline(line, cap, stdin);
    return n > 0 ? json_loadb(*line, (size_t)n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    wr_arena arena;
    json_t *text, *tests;
    if (!mkdtemp(dir) || wr_arena_init(&arena, (size_t)1 << 30)) return 1;
    snprintf(path, sizeof path, "%s/t.jinja", dir);
    while ((text = line_of(&line, &cap)) && (tests = line_of(&line, &cap))) {
        FILE *f = fopen(path, "wb");
        if (!f || fwrite(json_string_value(text), 1, json_string_length(text), f) != json_string_length(text) ||
            fclose(f))
            return 1;
        char config[64];
        snprintf(config, sizeof config, "%s/tokenizer_config.json", dir);
        FILE *c = fopen(config, "w");
        if (c) fputs("{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"}}", c), fclose(c);
        wr_chat *chat;
        wr_err err;
        json_t *out = json_array();
        if (wr_chat_open(&chat, dir, path, &err)) fprintf(stderr, "%s\n", err.text);
        for (size_t i = 0; i < json_array_size(tests); i++) {
            json_array_append_new(out, chat ? rendered(chat, json_array_get(tests, i), &arena) : json_null());
            wr_arena_reset(&arena, (size_t)1 << 20);
        }
        wr_chat_close(chat);
        char *answer = json_dumps(out, JSON_COMPACT);
        puts(answer);
        free(answer);
        json_decref(out), json_decref(text), json_decref(tests);
        unlink(config);
    }
    unlink(path), rmdir(dir);
    free(line);
    wr_arena_release(&arena);
    return 0;
}
