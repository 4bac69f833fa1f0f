#include "models/idf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "data/lines.h"
#include "data/mapfile.h"
#include "models/model_config.h"
#include "models/safetensors.h"
#include "models/vocab.h"

/* A table of the largest vocabulary that we read, 32 bytes a token. */
#define MAX_TABLE ((size_t)512 << 20)

static wr_status make(wr_idf *idf, const wr_tokenizer *tok, float otherwise)
{
    idf->n = wr_tokenizer_vocab_size(tok);
    idf->weight = calloc(idf->n ? idf->n : 1, sizeof *idf->weight);
    if (!idf->weight) return WR_ENOMEM;
    for (size_t i = 0; i < idf->n; i++)
        if (!wr_tokenizer_is_special(tok, (uint32_t)i)) idf->weight[i] = otherwise;
    return WR_OK;
}

/* False when w is no weight. What is below 0 counts as 0, as the training of these models has it. */
static bool set(wr_idf *idf, const wr_tokenizer *tok, int64_t id, double w)
{
    if (!isfinite((float)w)) return false;
    if (id < 0 || (size_t)id >= idf->n || wr_tokenizer_is_special(tok, (uint32_t)id)) return true;
    idf->weight[id] = w > 0 ? (float)w : 0;
    return true;
}

/* ---- JSON and text ---- */

static wr_status read_json(wr_idf *idf, const char *path, const wr_tokenizer *tok, wr_err *err)
{
    json_t *root = NULL, *value;
    const char *token;
    wr_status st = wr_json_load(&root, path, MAX_TABLE, err);
    if (!st && !json_is_object(root)) st = wr_fail(err, WR_EFORMAT, "%s: expected an object of token weights", path);
    json_object_foreach(root, token, value)
    {
        if (st) break;
        if (!json_is_number(value) || !set(idf, tok, wr_tokenizer_id(tok, token), json_number_value(value)))
            st = wr_fail(err, WR_EFORMAT, "%s: the weight of \"%.60s\" is no number", path, token);
    }
    json_decref(root);
    return st;
}

static wr_status read_line(wr_idf *idf, const char *line, size_t n, const wr_tokenizer *tok)
{
    char token[WR_MAX_WORD_BYTES + 1], *end;
    const char *tab = memchr(line, '\t', n);
    size_t length = tab ? (size_t)(tab - line) : 0;
    if (!tab || length >= sizeof token) return WR_EFORMAT;
    memcpy(token, line, length);
    token[length] = 0;
    double w = strtod(tab + 1, &end);
    if (end == tab + 1 || *end) return WR_EFORMAT;
    return set(idf, tok, wr_tokenizer_id(tok, token), w) ? WR_OK : WR_EFORMAT;
}

static wr_status read_text(wr_idf *idf, const char *path, const wr_tokenizer *tok, wr_err *err)
{
    wr_lines *lines = NULL;
    const char *line;
    size_t n;
    wr_status st = wr_lines_open(&lines, path, err);
    while (!st && !(st = wr_lines_next(lines, &line, &n, err)) && line)
        if (n && read_line(idf, line, n, tok))
            st = wr_fail(err, WR_EFORMAT, "%s: line %zu: expected a token, a tab and its weight", path,
                         wr_lines_number(lines));
    wr_lines_close(lines);
    return st;
}

static wr_status first_byte(const char *path, char *out, wr_err *err)
{
    wr_map map;
    wr_status st = wr_map_open(&map, path, err);
    if (st) return st;
    size_t i = 0;
    while (i < map.size && strchr(" \t\r\n", map.bytes[i]) && map.bytes[i]) i++;
    *out = i < map.size ? (char)map.bytes[i] : 0;
    wr_map_close(&map);
    return WR_OK;
}

static wr_status read_file(wr_idf *idf, const char *path, const wr_tokenizer *tok, wr_err *err)
{
    char first = 0;
    wr_status st = first_byte(path, &first, err);
    if (!st && make(idf, tok, 1)) st = wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    if (st) return st;
    return first == '{' ? read_json(idf, path, tok, err) : read_text(idf, path, tok, err);
}

/* ---- SparseStaticEmbedding ---- */

static wr_status read_tensor(wr_idf *idf, const char *folder, const wr_tokenizer *tok, wr_err *err)
{
    wr_tensors *tensors = NULL;
    float *values = NULL;
    wr_status st = wr_tensors_open(&tensors, folder, err);
    const wr_tensor *t = st ? NULL : wr_tensors_find(tensors, "weight");
    size_t n = t && t->ndim == 1 ? t->dim[0] : 0;
    if (!st && (n == 0 || n > WR_MAX_VOCAB))
        st = wr_fail(err, WR_EFORMAT, "%s: expected a tensor \"weight\" [vocabulary]", folder);
    if (!st && (!(values = malloc(n * sizeof *values)) || make(idf, tok, 0)))
        st = wr_fail(err, WR_ENOMEM, "%s: out of memory", folder);
    if (!st) st = wr_tensor_to_f32(t, values, n, err);
    for (size_t i = 0; i < n && !st; i++)
        if (!set(idf, tok, (int64_t)i, values[i]))
            st = wr_fail(err, WR_EFORMAT, "%s: the weight of token %zu is no number", folder, i);
    free(values);
    wr_tensors_close(tensors);
    return st;
}

/* The file that the folder's config.json names as "path", into out; "" when it names none. */
static wr_status named_file(const char *folder, char *out, wr_err *err)
{
    char path[WR_MAX_PATH];
    json_t *root = NULL;
    out[0] = 0;
    if (wr_path_join(path, sizeof path, folder, "config.json"))
        return wr_fail(err, WR_EARG, "%s: the path is too long", folder);
    if (!wr_path_exists(path)) return WR_OK;
    wr_status st = wr_json_load(&root, path, (size_t)1 << 20, err);
    const char *name = json_string_value(json_object_get(root, "path"));
    if (!st && name && (!wr_module_is_inside(name) || wr_path_join(out, WR_MAX_PATH, folder, name)))
        st = wr_fail(err, WR_EFORMAT, "%s: path: expected a file inside the folder", path);
    json_decref(root);
    return st;
}

wr_status wr_idf_read(wr_idf *idf, const char *path, const wr_tokenizer *tok, wr_err *err)
{
    char file[WR_MAX_PATH] = "";
    *idf = (wr_idf){0};
    wr_status st = WR_OK;
    if (wr_path_is_dir(path)) {
        st = named_file(path, file, err);
        if (!st) st = file[0] ? read_file(idf, file, tok, err) : read_tensor(idf, path, tok, err);
    } else {
        st = read_file(idf, path, tok, err);
    }
    if (st) wr_idf_release(idf);
    return st;
}

wr_status wr_idf_compute(wr_idf *idf, const uint32_t *df, uint64_t ndocs, const wr_tokenizer *tok)
{
    *idf = (wr_idf){0};
    if (make(idf, tok, 1)) return WR_ENOMEM;
    for (size_t i = 0; i < idf->n; i++)
        if (idf->weight[i] > 0) idf->weight[i] = (float)log(1 + ((double)ndocs - df[i] + 0.5) / ((double)df[i] + 0.5));
    return WR_OK;
}

wr_status wr_idf_blend(wr_idf *idf, const uint32_t *df, uint64_t ndocs, const wr_idf *prior_table, size_t prior,
                       const wr_tokenizer *tok)
{
    *idf = (wr_idf){0};
    if (make(idf, tok, 1)) return WR_ENOMEM;
    double all = (double)ndocs + (double)prior;
    for (size_t i = 0; i < idf->n; i++) {
        if (!(idf->weight[i] > 0)) continue;
        double weight = i < prior_table->n ? prior_table->weight[i] : 0;
        double n = (double)df[i] + (double)prior * exp(-weight);
        idf->weight[i] = (float)log(1 + (all - n + 0.5) / (n + 0.5));
    }
    return WR_OK;
}

void wr_idf_release(wr_idf *idf)
{
    free(idf->weight);
    *idf = (wr_idf){0};
}

/* ---- queries ---- */

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

wr_status wr_idf_weigh(const float *weight, size_t ntable, wr_query_tf tf, wr_tokens *tokens, wr_arena *arena,
                       wr_token_weights *out)
{
    *out = (wr_token_weights){.id = tokens->id, .weight = wr_arena_alloc(arena, tokens->n * sizeof *out->weight)};
    if (!out->weight) return WR_ENOMEM;
    qsort(tokens->id, tokens->n, sizeof *tokens->id, ascending);
    for (size_t i = 0, count; i < tokens->n; i += count) {
        uint32_t id = tokens->id[i];
        for (count = 1; i + count < tokens->n && tokens->id[i + count] == id;) count++;
        if (id >= ntable || !(weight[id] > 0)) continue;
        out->id[out->n] = id;
        out->weight[out->n++] = tf == WR_QUERY_ROOT ? weight[id] * sqrtf((float)count) : weight[id];
    }
    return WR_OK;
}

wr_status wr_idf_query(const float *weight, size_t ntable, const wr_tokenizer *tok, const char *text, size_t n,
                       size_t max, wr_arena *arena, wr_token_weights *out, bool *cut)
{
    wr_tokens tokens;
    wr_status st = wr_tokenizer_encode(tok, text, n, arena, max > 2 ? max - 2 : 0, &tokens);
    if (st) return st;
    if (cut) *cut = tokens.cut;
    return wr_idf_weigh(weight, ntable, WR_QUERY_SET, &tokens, arena, out);
}
