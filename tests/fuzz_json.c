/* Whatever the bytes are: refused with a sentence or parsed, and what was parsed is valid UTF-8 when written again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "data/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    json_t *value;
    wr_err err;
    wr_status st = wr_json_parse_line(&value, (const char *)bytes, n, "fuzz", &err);
    if ((st == WR_OK) != (value != NULL)) abort();
    if (st) {
        if (!wr_utf8_valid(err.text, strlen(err.text)) || strchr(err.text, '\n')) abort();
        return 0;
    }
    char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text || !wr_utf8_valid(text, strlen(text))) abort();
    json_t *again;
    if (wr_json_parse(&again, text, strlen(text), "again", &err) || !json_equal(value, again)) abort();
    json_decref(again);
    json_decref(value);
    free(text);
    return 0;
}
