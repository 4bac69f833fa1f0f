#include "models/chat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "data/mapfile.h"
#include "data/utf8.h"
#include "models/gguf.h"
#include "models/jinja.h"

enum { TOKENS = 16, PATH_BYTES = 4096 };

struct wr_chat {
    wr_jinja *jinja;
    bool has_system;
    wr_arena names;      /* keys and values below */
    wr_text key[TOKENS]; /* "bos_token" ... */
    wr_jinja_value value[TOKENS];
    size_t n;
};

static wr_status add_token(wr_chat *chat, const char *key, const char *text, size_t n)
{
    if (chat->n == TOKENS) return WR_OK; /* more token strings than any tokenizer names */
    char *name = wr_arena_strndup(&chat->names, key, strlen(key)), *copy = wr_arena_alloc(&chat->names, 3 * n + 1);
    if (!name || !copy) return WR_ENOMEM;
    chat->key[chat->n] = (wr_text){name, strlen(name)};
    chat->value[chat->n++] = wr_jinja_text((wr_text){copy, wr_utf8_repair(text, n, copy)});
    return WR_OK;
}

static wr_status chat_new(wr_chat **chat, wr_err *err)
{
    wr_chat *made = calloc(1, sizeof *made);
    *chat = NULL;
    if (!made || wr_arena_init(&made->names, (size_t)16 << 20)) {
        free(made);
        return wr_fail(err, WR_ENOMEM, "chat template: out of memory");
    }
    *chat = made;
    return WR_OK;
}

static wr_status set_template(wr_chat *chat, wr_text text, const char *where, wr_err *err)
{
    chat->has_system = text.n && memmem(text.bytes, text.n, "system", 6);
    return wr_jinja_open(&chat->jinja, text, where, err);
}

static wr_status set_template_file(wr_chat *chat, const char *path, wr_err *err)
{
    char *bytes = NULL;
    size_t n = 0;
    wr_status st = wr_file_read(path, WR_CHAT_MAX_BYTES, &bytes, &n, err);
    if (!st) st = set_template(chat, (wr_text){bytes, n}, path, err);
    free(bytes);
    return st;
}

/* ---- tokenizer_config.json */

static const json_t *template_of(const json_t *config)
{
    const json_t *value = json_object_get(config, "chat_template");
    if (json_is_string(value)) return value;
    for (size_t i = 0; json_is_array(value) && i < json_array_size(value); i++) {
        const json_t *one = json_array_get(value, i), *name = json_object_get(one, "name");
        const json_t *text = json_object_get(one, "template");
        if (json_is_string(name) && !strcmp(json_string_value(name), "default") && json_is_string(text)) return text;
    }
    return NULL;
}

static bool ends_with(const char *text, const char *with)
{
    size_t n = strlen(text), m = strlen(with);
    return n >= m && !strcmp(text + n - m, with);
}

static wr_status add_tokens(wr_chat *chat, json_t *config)
{
    const char *key;
    json_t *value;
    json_object_foreach(config, key, value)
    {
        if (!ends_with(key, "_token")) continue;
        if (json_is_object(value)) value = json_object_get(value, "content");
        if (!json_is_string(value)) continue;
        wr_status st = add_token(chat, key, json_string_value(value), json_string_length(value));
        if (st) return st;
    }
    return WR_OK;
}

static wr_status open_directory(wr_chat *chat, const char *dir, const char *file, wr_err *err)
{
    char path[PATH_BYTES], config_path[PATH_BYTES];
    json_t *config = NULL;
    wr_err missing;
    wr_status st = wr_path_join(path, sizeof path, dir, "chat_template.jinja");
    if (!st) st = wr_path_join(config_path, sizeof config_path, dir, "tokenizer_config.json");
    if (st) return wr_fail(err, st, "%s: path too long", dir);
    st = wr_json_load(&config, config_path, WR_CHAT_MAX_BYTES, &missing);
    if (st == WR_ENOTFOUND)
        st = WR_OK;
    else if (st)
        wr_fail(err, st, "%s", missing.text);
    if (!st && config && add_tokens(chat, config)) st = wr_fail(err, WR_ENOMEM, "%s: out of memory", config_path);
    const json_t *text = template_of(config);
    if (st) goto done;
    if (file)
        st = set_template_file(chat, file, err);
    else if (wr_path_exists(path))
        st = set_template_file(chat, path, err);
    else if (text)
        st = set_template(chat, (wr_text){json_string_value(text), json_string_length(text)}, config_path, err);
    else
        st = wr_fail(err, WR_ENOTFOUND, "%s: no chat template; give one by --chat-template FILE", dir);
done:
    json_decref(config);
    return st;
}

static wr_status finish(wr_chat **chat, wr_chat *made, wr_status st)
{
    if (st)
        wr_chat_close(made);
    else
        *chat = made;
    return st;
}

wr_status wr_chat_open(wr_chat **chat, const char *dir, const char *file, wr_err *err)
{
    wr_chat *made;
    wr_status st = chat_new(&made, err);
    *chat = NULL;
    return st ? st : finish(chat, made, open_directory(made, dir, file, err));
}

/* ---- GGUF */

static wr_status add_gguf_token(wr_chat *chat, const wr_gguf *gguf, const char *key, const char *name)
{
    const wr_text *token;
    uint64_t id;
    size_t n;
    if (!wr_gguf_unsigned(gguf, key, &id) || !wr_gguf_texts(gguf, "tokenizer.ggml.tokens", &token, &n) || id >= n)
        return WR_OK;
    return add_token(chat, name, token[id].bytes, token[id].n);
}

static wr_status open_gguf(wr_chat *chat, const wr_gguf *gguf, const char *file, wr_err *err)
{
    static const char *const key[][2] = {{"tokenizer.ggml.bos_token_id", "bos_token"},
                                         {"tokenizer.ggml.eos_token_id", "eos_token"},
                                         {"tokenizer.ggml.unknown_token_id", "unk_token"},
                                         {"tokenizer.ggml.padding_token_id", "pad_token"}};
    wr_text text;
    for (size_t i = 0; i < sizeof key / sizeof *key; i++)
        if (add_gguf_token(chat, gguf, key[i][0], key[i][1]))
            return wr_fail(err, WR_ENOMEM, "chat template: out of memory");
    if (file) return set_template_file(chat, file, err);
    if (wr_gguf_text(gguf, "tokenizer.chat_template", &text))
        return set_template(chat, text, "tokenizer.chat_template", err);
    return wr_fail(err, WR_ENOTFOUND, "no chat template in the GGUF file; give one by --chat-template FILE");
}

wr_status wr_chat_open_gguf(wr_chat **chat, const wr_gguf *gguf, const char *file, wr_err *err)
{
    wr_chat *made;
    wr_status st = chat_new(&made, err);
    *chat = NULL;
    return st ? st : finish(chat, made, open_gguf(made, gguf, file, err));
}

void wr_chat_close(wr_chat *chat)
{
    if (!chat) return;
    wr_jinja_close(chat->jinja);
    wr_arena_release(&chat->names);
    free(chat);
}

bool wr_chat_has_system(const wr_chat *chat)
{
    return chat->has_system;
}

wr_text wr_chat_bos(const wr_chat *chat)
{
    for (size_t i = 0; i < chat->n; i++)
        if (chat->key[i].n == 9 && !memcmp(chat->key[i].bytes, "bos_token", 9)) return chat->value[i].u.s;
    return (wr_text){"", 0};
}

/* ---- rendering */

static wr_status message_of(const wr_message *message, wr_arena *arena, wr_jinja_value *out)
{
    static wr_text key[] = {{"role", 4}, {"content", 7}}; /* never written: the map is full and its keys are these */
    wr_text content = message->content;
    wr_jinja_map *map = wr_arena_calloc(arena, 1, sizeof *map);
    wr_jinja_value *value = wr_arena_calloc(arena, 2, sizeof *value);
    if (!map || !value) return WR_ENOMEM;
    if (!wr_utf8_valid(content.bytes, content.n)) {
        char *copy = content.n <= SIZE_MAX / 3 ? wr_arena_alloc(arena, 3 * content.n) : NULL;
        if (!copy) return WR_ENOMEM;
        content = (wr_text){copy, wr_utf8_repair(content.bytes, content.n, copy)};
    }
    value[0] = wr_jinja_text((wr_text){message->role, strlen(message->role)});
    value[1] = wr_jinja_text(content);
    *map = (wr_jinja_map){key, value, 2, 2};
    *out = (wr_jinja_value){.type = WR_JINJA_MAP, .u.map = map};
    return WR_OK;
}

wr_status wr_chat_render(const wr_chat *chat, const wr_message *message, size_t n, bool generate, wr_arena *arena,
                         wr_text *out, wr_err *err)
{
    enum { OWN = 5 };
    wr_text key[OWN + TOKENS] = {
        {"messages", 8}, {"add_generation_prompt", 21}, {"tools", 5}, {"documents", 9}, {"enable_thinking", 15}};
    wr_jinja_value value[OWN + TOKENS] = {{0}}, *item = wr_arena_calloc(arena, n, sizeof *item);
    wr_jinja_map context = {key, value, OWN + chat->n, OWN + TOKENS};
    *out = (wr_text){"", 0};
    if (!item) return wr_fail(err, WR_ENOMEM, "chat template: out of memory");
    for (size_t i = 0; i < n; i++)
        if (message_of(&message[i], arena, &item[i])) return wr_fail(err, WR_ENOMEM, "chat template: out of memory");
    value[0] = (wr_jinja_value){.type = WR_JINJA_LIST, .u.list = {item, n}};
    value[1] = wr_jinja_bool(generate);
    value[2] = value[3] = (wr_jinja_value){.type = WR_JINJA_NONE};
    value[4] = wr_jinja_bool(false);
    memcpy(key + OWN, chat->key, chat->n * sizeof *key);
    memcpy(value + OWN, chat->value, chat->n * sizeof *value);
    return wr_jinja_render(chat->jinja, &context, arena, out, err);
}
