/* jansson with our limits: what every JSON file and line of weir is read by.
 *
 * Depth is limited (a text nested deeper than WR_JSON_DEPTH is malformed), duplicate keys and invalid UTF-8 are
 * refused, a NUL inside a string is allowed.
 */
#ifndef WR_DATA_JSON_H
#define WR_DATA_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "data/status.h"

/* Deep enough for every real file (tokenizer.json uses 6); shallow enough that no recursion can exhaust a stack. */
#define WR_JSON_DEPTH 64

/* Parses one text. where names the source in err ("corpus.jsonl: line 12"). Owned by the caller (json_decref). */
wr_status wr_json_parse(json_t **out, const char *text, size_t n, const char *where, wr_err *err);

/* The same for a line of a corpus or of topics, where a half of a surrogate pair ("\ud83d" alone, which Python writes
 * and no Unicode text can hold) becomes U+FFFD instead of ending the work. */
wr_status wr_json_parse_line(json_t **out, const char *text, size_t n, const char *where, wr_err *err);

/* Reads a file of at most max bytes. An integer beyond 64 bits becomes the nearest of 64: Python writes "no limit" as
 * 1000000000000000019884624838656 (transformers' model_max_length). WR_ENOTFOUND when it is missing. */
wr_status wr_json_load(json_t **out, const char *path, size_t max, wr_err *err);

#endif
