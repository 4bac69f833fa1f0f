#include "tools/texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "data/utf8.h"

static wr_status grow(wr_texts *t, wr_err *err)
{
    if (t->n < t->cap) return WR_OK;
    size_t cap = t->cap ? 2 * t->cap : 64;
    char **id = realloc(t->id, cap * sizeof *id);
    if (id) t->id = id;
    char **bytes = realloc(t->bytes, cap * sizeof *bytes);
    if (bytes) t->bytes = bytes;
    wr_text *text = realloc(t->text, cap * sizeof *text);
    if (text) t->text = text;
    size_t *title = realloc(t->title, cap * sizeof *title);
    if (title) t->title = title;
    if (!id || !bytes || !text || !title) return wr_fail(err, WR_ENOMEM, "standard input: out of memory");
    t->cap = cap;
    return WR_OK;
}

/* Takes over id and bytes. */
static wr_status add(wr_texts *t, char *id, char *bytes, size_t n, size_t title, wr_err *err)
{
    wr_status st = id && bytes ? grow(t, err) : wr_fail(err, WR_ENOMEM, "standard input: out of memory");
    if (st) {
        free(id);
        free(bytes);
        return st;
    }
    t->id[t->n] = id;
    t->bytes[t->n] = bytes;
    t->title[t->n] = title;
    t->text[t->n++] = (wr_text){bytes, n};
    return WR_OK;
}

static char *number(size_t line)
{
    char text[24];
    snprintf(text, sizeof text, "%zu", line);
    return strdup(text);
}

static wr_status add_plain(wr_texts *t, const char *line, size_t n, size_t number_of, wr_err *err)
{
    char *bytes = malloc(3 * n + 1);
    return add(t, number(number_of), bytes, bytes ? wr_utf8_repair(line, n, bytes) : 0, 0, err);
}

static const char *member(const json_t *object, const char *name, const char *other, size_t *n)
{
    const json_t *value = json_object_get(object, name);
    if (!value) value = json_object_get(object, other);
    *n = value ? json_string_length(value) : 0;
    return json_string_value(value);
}

static wr_status add_json(wr_texts *t, const char *line, size_t n, size_t number_of, wr_err *err)
{
    char where[64];
    json_t *object = NULL;
    snprintf(where, sizeof where, "standard input: line %zu", number_of);
    wr_status st = wr_json_parse_line(&object, line, n, where, err);
    if (st) return st;
    size_t text_n, title_n, id_n;
    const char *text = member(object, "text", "contents", &text_n);
    const char *title = member(object, "title", "title", &title_n), *id = member(object, "id", "_id", &id_n);
    const json_t *whole = json_object_get(object, "id");
    if (!text) {
        json_decref(object);
        return wr_fail(err, WR_EFORMAT, "%s: an object with a string \"text\" was expected", where);
    }
    char *bytes = malloc(title_n + text_n + 2);
    size_t used = 0;
    if (bytes && title_n) {
        memcpy(bytes, title, title_n);
        bytes[title_n] = ' ';
        used = title_n + 1;
    }
    if (bytes) memcpy(bytes + used, text, text_n);
    char *own = id ? strdup(id) : json_is_integer(whole) ? number((size_t)json_integer_value(whole)) : number(number_of);
    json_decref(object);
    return add(t, own, bytes, used + text_n, title_n, err);
}

wr_status wr_texts_read(wr_texts *t, wr_lines *lines, size_t max, wr_err *err)
{
    for (size_t i = 0; i < max; i++) {
        const char *line;
        size_t n;
        wr_status st = wr_lines_next(lines, &line, &n, err);
        if (st || !line) return st;
        size_t at = wr_lines_number(lines);
        if (at == 1) t->json = n && line[0] == '{';
        st = t->json ? add_json(t, line, n, at, err) : add_plain(t, line, n, at, err);
        if (st) return st;
    }
    return WR_OK;
}

void wr_texts_clear(wr_texts *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->id[i]);
        free(t->bytes[i]);
    }
    t->n = 0;
}

void wr_texts_release(wr_texts *t)
{
    wr_texts_clear(t);
    free(t->id);
    free(t->bytes);
    free(t->text);
    free(t->title);
    *t = (wr_texts){0};
}
