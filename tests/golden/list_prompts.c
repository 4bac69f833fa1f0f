/* For tests/golden/compare_prompt.py: prompts of listwise reranking.
 *
 *     list_prompts MODEL TEMPLATE   MODEL: a folder with tokenizer.json and tokenizer_config.json; TEMPLATE: a file
 *
 * Reads {"query", "passages": [[title, text], ...], "paper": bool, "context": n} a line, writes {"text", "tokens",
 * "words"} or {"error"}. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "ranker/listwise.h"

static wr_text text_of(const json_t *value)
{
    return (wr_text){json_string_value(value), json_string_length(value)};
}

static json_t *answer(const wr_tokenizer *tok, const wr_chat *chat, const json_t *request, wr_arena *arena)
{
    wr_passage passage[WR_WINDOW_MAX];
    wr_listwise_prompt prompt;
    wr_err err;
    const json_t *list = json_object_get(request, "passages");
    size_t n = json_array_size(list) < WR_WINDOW_MAX ? json_array_size(list) : WR_WINDOW_MAX;
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(list, i);
        passage[i] = (wr_passage){text_of(json_array_get(one, 0)), text_of(json_array_get(one, 1))};
    }
    wr_prompt kind = json_is_true(json_object_get(request, "paper")) ? WR_PROMPT_PAPER : WR_PROMPT_TEMPLATE;
    size_t context = (size_t)json_integer_value(json_object_get(request, "context"));
    if (wr_listwise_prompt_make(tok, chat, kind, text_of(json_object_get(request, "query")), passage, n, WR_WINDOW,
                                context, arena, &prompt, &err))
        return json_pack("{s:s}", "error", err.text);
    return json_pack("{s:o,s:I,s:I}", "text", json_stringn(prompt.text.bytes, prompt.text.n), "tokens",
                     (json_int_t)prompt.ids.n, "words", (json_int_t)prompt.words);
}

int main(int argc, char **argv)
{
    char *line = NULL;
    size_t cap = 0;
    wr_arena arena;
    wr_err err;
    wr_tokenizer *tok = NULL;
    wr_chat *chat = NULL;
    if (argc != 3 || wr_arena_init(&arena, (size_t)1 << 30)) return 2;
    if (wr_tokenizer_open(&tok, argv[1], &err) || wr_chat_open(&chat, argv[1], argv[2], &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (ssize_t n; (n = getline(&line, &cap, stdin)) > 0; wr_arena_reset(&arena, (size_t)8 << 20)) {
        json_t *request = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL), *out = answer(tok, chat, request, &arena);
        char *text = json_dumps(out, JSON_COMPACT);
        puts(text ? text : "null");
        free(text);
        json_decref(out);
        json_decref(request);
    }
    free(line);
    wr_chat_close(chat);
    wr_tokenizer_close(tok);
    wr_arena_release(&arena);
    return 0;
}
