#include "data/json.h"

#include <stdlib.h>
#include <string.h>

#include "data/mapfile.h"

/* jansson's own limit (2048) is compiled in, so ours is checked first: one pass over the brackets outside strings.
 * NUL bytes are looked for on the way, because jansson steps over one that follows a number. */
static size_t depth_of(const char *text, size_t n, size_t *nul)
{
    size_t depth = 0, deepest = 0;
    bool quoted = false;
    *nul = n;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > deepest) deepest = depth;
        } else if ((c == '}' || c == ']') && depth) {
            depth--;
        } else if (c == 0 && *nul == n) {
            *nul = i;
        }
    }
    return deepest;
}

wr_status wr_json_parse(json_t **out, const char *text, size_t n, const char *where, wr_err *err)
{
    size_t nul;
    *out = NULL;
    if (depth_of(text, n, &nul) > WR_JSON_DEPTH)
        return wr_fail(err, WR_EFORMAT, "%s: JSON nested deeper than %d", where, WR_JSON_DEPTH);
    if (nul < n) return wr_fail(err, WR_EFORMAT, "%s: not valid JSON at byte %zu: a NUL byte", where, nul + 1);
    json_error_t why;
    json_t *value = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (value) return *out = value, WR_OK;
    if (json_error_code(&why) == json_error_out_of_memory) return wr_fail(err, WR_ENOMEM, "%s: out of memory", where);
    return wr_fail(err, WR_EFORMAT, "%s: not valid JSON at byte %d: %s", where, why.position, why.text);
}

wr_status wr_json_load(json_t **out, const char *path, size_t max, wr_err *err)
{
    char *text;
    size_t n;
    *out = NULL;
    wr_status st = wr_file_read(path, max, &text, &n, err);
    if (st) return st;
    st = wr_json_parse(out, text, n, path, err);
    free(text);
    return st;
}
