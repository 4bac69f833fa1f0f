/* Texts from standard input, one a line or jsonl {"id", "title", "text"}, for `weir encode` and `weir rerank`. */
#ifndef WR_TOOLS_TEXTS_H
#define WR_TOOLS_TEXTS_H

#include <stdbool.h>
#include <stddef.h>

#include "data/lines.h"
#include "data/status.h"
#include "models/embed.h"

/* A batch of texts; everything is owned by it. */
typedef struct wr_texts {
    char **id;     /* [n] NUL-terminated */
    char **bytes;  /* [n] */
    wr_text *text; /* [n] views of bytes, as the models take them */
    size_t *title; /* [n] bytes of text that are its title; one space follows. 0: there is none */
    size_t n, cap;
    bool json; /* the input is jsonl */
} wr_texts;

/* Appends at most max texts. A first line that begins with '{' makes the whole input jsonl: objects with "text" (or
 * "contents") and, where there is one, "id" (or "_id") and "title", which goes before the text with one space. Without
 * an id it is the line's number, from 1. n stays as it was at the end of the input. */
wr_status wr_texts_read(wr_texts *texts, wr_lines *lines, size_t max, wr_err *err);

void wr_texts_clear(wr_texts *texts);   /* empties it for the next batch */
void wr_texts_release(wr_texts *texts); /* a zeroed one is fine */

#endif
