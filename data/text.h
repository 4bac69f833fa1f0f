/* A piece of text: borrowed bytes and their number. */
#ifndef WR_DATA_TEXT_H
#define WR_DATA_TEXT_H

#include <stddef.h>

typedef struct wr_text {
    const char *bytes; /* [n] need not be NUL-terminated */
    size_t n;
} wr_text;

#endif
