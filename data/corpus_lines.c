/* Formats with one document in a line: jsonl, which is BEIR's too, and MS MARCO's tsv. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/corpus_formats.h"

bool wr_corpus_json_has_vector(const char *line, size_t n)
{
    json_t *record;
    if (wr_json_parse(&record, line, n, "", NULL)) return false;
    bool has = json_is_object(json_object_get(record, "vector"));
    json_decref(record);
    return has;
}

static wr_status no_memory(const wr_corpus *corpus, wr_err *err)
{
    return wr_fail(err, WR_ENOMEM, "%s: line %zu: out of memory", wr_lines_path(corpus->lines),
                   wr_lines_number(corpus->lines));
}

/* Fills in the metadata with what `object` holds. */
static wr_status dump(wr_corpus *corpus, const json_t *object, wr_doc *doc, wr_err *err)
{
    if (json_object_size(object) == 0) return WR_OK;
    corpus->dumped = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    if (!corpus->dumped) return no_memory(corpus, err);
    doc->metadata = corpus->dumped;
    doc->metadata_len = strlen(corpus->dumped); /* jansson escapes a NUL as \u0000 */
    return WR_OK;
}

/* The first of `names` that the record has and that is not null, taken out of what will be the metadata. */
static json_t *take(wr_corpus *corpus, json_t *metadata, const char *const *names, const char **name)
{
    for (; *names; names++) {
        json_t *value = json_object_get(corpus->record, *names);
        if (!value || json_is_null(value)) continue;
        *name = *names;
        json_object_del(metadata, *names);
        return value;
    }
    return NULL;
}

/* A string field, borrowed from the record. */
static wr_status take_text(wr_corpus *corpus, json_t *metadata, const char *const *names, const char **text, size_t *n,
                           bool *found, wr_err *err)
{
    const char *name = "";
    json_t *value = take(corpus, metadata, names, &name);
    *found = *found || value;
    if (!value) return WR_OK;
    if (!json_is_string(value))
        return wr_fail(err, WR_EFORMAT, "%s: line %zu: \"%s\" is not a string", wr_lines_path(corpus->lines),
                       wr_lines_number(corpus->lines), name);
    *text = json_string_value(value);
    *n = json_string_length(value);
    return WR_OK;
}

/* The id may be a string or an integer. */
static wr_status take_id(wr_corpus *corpus, json_t *metadata, wr_doc *doc, wr_err *err)
{
    static const char *const names[] = {"_id", "id", "docno", NULL};
    const char *name = "";
    json_t *value = take(corpus, metadata, names, &name);
    if (!value) return wr_corpus_fail(corpus, err, "no \"_id\", \"id\" or \"docno\"");
    if (json_is_string(value)) {
        doc->docno = json_string_value(value);
        doc->docno_len = json_string_length(value);
        return WR_OK;
    }
    if (!json_is_integer(value))
        return wr_corpus_fail(corpus, err, "the document's id is neither a string nor an integer");
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    wr_bytes_clear(&corpus->docno);
    if (wr_bytes_add(&corpus->docno, digits, (size_t)n)) return no_memory(corpus, err);
    doc->docno = corpus->docno.at;
    doc->docno_len = corpus->docno.n;
    return WR_OK;
}

/* Dissolves an object "metadata" (BEIR has one) into the other fields, which win. */
static wr_status dissolve(wr_corpus *corpus, json_t *metadata, wr_err *err)
{
    json_t *inner = json_object_get(corpus->record, "metadata");
    if (!json_is_object(inner) && !json_is_null(inner)) return WR_OK;
    json_object_del(metadata, "metadata");
    return json_is_object(inner) && json_object_update_missing(metadata, inner) ? no_memory(corpus, err) : WR_OK;
}

static wr_status grow_vector(wr_corpus *corpus, size_t n, wr_err *err)
{
    if (n <= corpus->token_cap) return WR_OK;
    const char **token = realloc(corpus->token, n * sizeof *token);
    if (token) corpus->token = token;
    float *weight = realloc(corpus->weight, n * sizeof *weight);
    if (weight) corpus->weight = weight;
    if (!token || !weight) return no_memory(corpus, err);
    corpus->token_cap = n;
    return WR_OK;
}

/* "vector": {"token": weight}; a weight of 0 says nothing. Tokens are borrowed from the record. */
static wr_status take_vector(wr_corpus *corpus, json_t *metadata, wr_doc *doc, wr_err *err)
{
    static const char *const names[] = {"vector", NULL};
    const char *name = "", *token;
    json_t *vector = take(corpus, metadata, names, &name), *value;
    if (!json_is_object(vector)) return wr_corpus_fail(corpus, err, "no \"vector\", an object of token weights");
    wr_status st = grow_vector(corpus, json_object_size(vector), err);
    if (st) return st;
    doc->token = corpus->token;
    doc->weight = corpus->weight;
    json_object_foreach(vector, token, value)
    {
        float w = json_is_number(value) ? (float)json_number_value(value) : NAN;
        size_t n = strlen(token);
        if (!(w >= 0 && w <= FLT_MAX)) return wr_corpus_fail(corpus, err, "a weight in \"vector\" is no number from 0");
        if (n == 0 || n > WR_MAX_TOKEN_BYTES)
            return wr_corpus_fail(corpus, err, "a token in \"vector\" is empty or longer than 1024 bytes");
        if (!(w > 0)) continue;
        corpus->token[doc->ntokens] = token;
        corpus->weight[doc->ntokens++] = w;
    }
    return WR_OK;
}

static wr_status read_record(wr_corpus *corpus, json_t *metadata, wr_doc *doc, wr_err *err)
{
    static const char *const text[] = {"text", "contents", "body", NULL}, *const title[] = {"title", NULL};
    bool found = false;
    wr_status st = take_id(corpus, metadata, doc, err);
    if (!st) st = take_text(corpus, metadata, text, &doc->text, &doc->text_len, &found, err);
    if (!st) st = take_text(corpus, metadata, title, &doc->title, &doc->title_len, &found, err);
    if (!st && corpus->format == WR_CORPUS_VECTORS) st = take_vector(corpus, metadata, doc, err);
    else if (!st && !found) st = wr_corpus_fail(corpus, err, "no \"text\", \"contents\", \"body\" or \"title\"");
    if (!st) st = dissolve(corpus, metadata, err);
    return st ? st : dump(corpus, metadata, doc, err);
}

wr_status wr_corpus_next_json(wr_corpus *corpus, wr_doc *doc, wr_err *err)
{
    const char *line;
    size_t n;
    char where[512];
    json_decref(corpus->record);
    free(corpus->dumped);
    corpus->record = NULL;
    corpus->dumped = NULL;
    wr_status st = wr_corpus_filled_line(corpus, &line, &n, err);
    if (st || !line) return st;
    snprintf(where, sizeof where, "%s: line %zu", wr_lines_path(corpus->lines), wr_lines_number(corpus->lines));
    if ((st = wr_json_parse_line(&corpus->record, line, n, where, err))) return st;
    if (!json_is_object(corpus->record)) return wr_corpus_fail(corpus, err, "expected a JSON object");
    json_t *metadata = json_copy(corpus->record); /* shallow: the values are shared */
    if (!metadata) return no_memory(corpus, err);
    st = read_record(corpus, metadata, doc, err);
    json_decref(metadata);
    return st;
}

/* Cuts the line at its tabs; returns the number of columns, of which at most max are filled in. */
static size_t columns(char *line, size_t n, const char **column, size_t *length, size_t max)
{
    size_t count = 0;
    for (char *end = line + n;; count++) {
        char *tab = memchr(line, '\t', (size_t)(end - line));
        char *stop = tab ? tab : end;
        if (count < max) {
            column[count] = line;
            length[count] = (size_t)(stop - line);
        }
        if (!tab) return count + 1;
        *tab = 0;
        line = tab + 1;
    }
}

static wr_status add_url(wr_corpus *corpus, const char *url, size_t n, wr_doc *doc, wr_err *err)
{
    if (n == 0) return WR_OK;
    json_t *object = json_pack("{s:s%}", "url", url, n);
    if (!object) return no_memory(corpus, err);
    wr_status st = dump(corpus, object, doc, err);
    json_decref(object);
    return st;
}

wr_status wr_corpus_next_tsv(wr_corpus *corpus, wr_doc *doc, wr_err *err)
{
    const char *line, *column[4];
    size_t n, length[4];
    free(corpus->dumped);
    corpus->dumped = NULL;
    wr_status st = wr_corpus_filled_line(corpus, &line, &n, err);
    if (st || !line) return st;
    wr_bytes_clear(&corpus->raw);
    if (wr_bytes_add_repaired(&corpus->raw, line, n)) return no_memory(corpus, err);
    size_t found = columns(corpus->raw.at, corpus->raw.n, column, length, 4);
    if (!corpus->columns) corpus->columns = found == 4 ? 4 : 2;
    if (found != corpus->columns) {
        char what[96];
        snprintf(what, sizeof what, "%zu tab-separated columns, expected %s", found,
                 corpus->columns == 4 ? "4 (id, url, title, body)" : "2 (id, text) or 4 (id, url, title, body)");
        return wr_corpus_fail(corpus, err, what);
    }
    size_t last = found - 1;
    doc->docno = column[0], doc->docno_len = length[0];
    doc->text = column[last], doc->text_len = length[last];
    if (found == 2) return WR_OK;
    doc->title = column[2], doc->title_len = length[2];
    return add_url(corpus, column[1], length[1], doc, err);
}
