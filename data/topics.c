/* Topics, the first part of data/trec.h: jsonl, tsv and TREC's SGML. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/bytes.h"
#include "data/chunks.h"
#include "data/corpus.h"
#include "data/json.h"
#include "data/lines.h"
#include "data/sgml.h"
#include "data/trec.h"

struct reader {
    wr_lines *lines;
    wr_chunks *chunks;
    wr_topic *topic; /* [n] of cap */
    size_t *line;    /* [n] where each topic ended */
    size_t n, cap;
};

static wr_status no_memory(const struct reader *r, wr_err *err)
{
    return wr_fail(err, WR_ENOMEM, "%s: out of memory", wr_lines_path(r->lines));
}

static wr_status fail(const struct reader *r, wr_err *err, const char *what)
{
    return wr_fail(err, WR_EFORMAT, "%s: line %zu: %s", wr_lines_path(r->lines), wr_lines_number(r->lines), what);
}

static wr_status grow(struct reader *r, wr_err *err)
{
    if (r->n < r->cap) return WR_OK;
    size_t cap = r->cap ? 2 * r->cap : 64;
    wr_topic *topic = realloc(r->topic, cap * sizeof *topic);
    if (topic) r->topic = topic;
    size_t *line = topic ? realloc(r->line, cap * sizeof *line) : NULL;
    if (!line) return no_memory(r, err);
    r->line = line;
    r->cap = cap;
    return WR_OK;
}

/* Adds a topic, whose vectors the caller fills in. */
static wr_status add(struct reader *r, const char *qid, size_t qid_n, const char *text, size_t n, wr_err *err)
{
    wr_status st =
        wr_docno_check("the topic's id", qid, qid_n, wr_lines_path(r->lines), wr_lines_number(r->lines), err);
    if (!st) st = grow(r, err);
    if (st) return st;
    wr_topic *t = &r->topic[r->n];
    *t = (wr_topic){.qid = wr_chunks_strndup(r->chunks, qid, qid_n), .text = wr_chunks_strndup(r->chunks, text, n)};
    t->text_len = n;
    r->line[r->n] = wr_lines_number(r->lines);
    if (!t->qid || !t->text) return no_memory(r, err);
    r->n++;
    return WR_OK;
}

static bool blank(const char *s, size_t n)
{
    while (n && *s && strchr(" \t\r\n\f\v", *s)) s++, n--;
    return n == 0;
}

/* ---- jsonl */

static bool to_float(const json_t *value, float *out)
{
    if (!json_is_number(value)) return false;
    *out = (float)json_number_value(value);
    return isfinite(*out);
}

static wr_status read_sparse(struct reader *r, json_t *object, wr_topic *t, wr_err *err)
{
    if (!json_is_object(object)) return fail(r, err, "\"sparse\" is not an object of token weights");
    size_t n = json_object_size(object);
    t->sparse_token = wr_chunks_calloc(r->chunks, n, sizeof *t->sparse_token);
    t->sparse_weight = wr_chunks_calloc(r->chunks, n, sizeof *t->sparse_weight);
    if (!t->sparse_token || !t->sparse_weight) return no_memory(r, err);
    const char *token;
    json_t *weight;
    json_object_foreach(object, token, weight)
    {
        if (!to_float(weight, &t->sparse_weight[t->nsparse]))
            return fail(r, err, "a weight in \"sparse\" is no number");
        char *copy = wr_chunks_strndup(r->chunks, token, strlen(token));
        if (!copy) return no_memory(r, err);
        t->sparse_token[t->nsparse++] = copy;
    }
    return WR_OK;
}

static wr_status read_dense(struct reader *r, json_t *array, wr_topic *t, wr_err *err)
{
    if (!json_is_array(array) || json_array_size(array) == 0)
        return fail(r, err, "\"dense\" is not an array of numbers");
    t->dense = wr_chunks_calloc(r->chunks, json_array_size(array), sizeof *t->dense);
    if (!t->dense) return no_memory(r, err);
    size_t i;
    json_t *value;
    json_array_foreach(array, i, value)
    {
        if (!to_float(value, &t->dense[i])) return fail(r, err, "a component of \"dense\" is no number");
    }
    t->ndense = i;
    return WR_OK;
}

static json_t *first_of(const json_t *record, const char *a, const char *b, const char *c)
{
    const char *const name[] = {a, b, c};
    for (size_t i = 0; i < 3; i++) {
        json_t *value = json_object_get(record, name[i]);
        if (value && !json_is_null(value)) return value;
    }
    return NULL;
}

static wr_status read_record(struct reader *r, const json_t *record, wr_err *err)
{
    char digits[32];
    if (!json_is_object(record)) return fail(r, err, "expected a JSON object");
    json_t *id = first_of(record, "_id", "id", "qid"), *text = first_of(record, "text", "query", "title");
    json_t *sparse = json_object_get(record, "sparse"), *dense = json_object_get(record, "dense");
    if (json_is_null(sparse)) sparse = NULL;
    if (json_is_null(dense)) dense = NULL;
    if (!id) return fail(r, err, "no \"_id\", \"id\" or \"qid\"");
    if (!json_is_string(id) && !json_is_integer(id))
        return fail(r, err, "the topic's id is neither a string nor an integer");
    if (!text && !sparse && !dense) return fail(r, err, "no \"text\", \"query\" or \"title\"");
    if (text && !json_is_string(text)) return fail(r, err, "the topic's text is not a string");
    const char *qid = json_string_value(id), *s = text ? json_string_value(text) : "";
    size_t qid_n = json_string_length(id), n = text ? json_string_length(text) : 0;
    if (json_is_integer(id)) {
        qid_n = (size_t)snprintf(digits, sizeof digits, "%" JSON_INTEGER_FORMAT, json_integer_value(id));
        qid = digits;
    }
    if (blank(s, n) && !sparse && !dense) return fail(r, err, "the topic's text is empty");
    wr_status st = add(r, qid, qid_n, s, n, err);
    if (!st && sparse) st = read_sparse(r, sparse, &r->topic[r->n - 1], err);
    if (!st && dense) st = read_dense(r, dense, &r->topic[r->n - 1], err);
    return st;
}

static wr_status read_json_line(struct reader *r, const char *line, size_t n, wr_err *err)
{
    char where[512];
    json_t *record;
    snprintf(where, sizeof where, "%s: line %zu", wr_lines_path(r->lines), wr_lines_number(r->lines));
    wr_status st = wr_json_parse_line(&record, line, n, where, err);
    if (st) return st;
    st = read_record(r, record, err);
    json_decref(record);
    return st;
}

/* ---- tsv */

static bool is_header(const char *s, size_t n)
{
    static const char *const name[] = {"qid", "query-id", "query_id", "query"};
    for (size_t i = 0; i < sizeof name / sizeof name[0]; i++)
        if (strlen(name[i]) == n && strncasecmp(name[i], s, n) == 0) return true;
    return false;
}

static wr_status read_tsv_line(struct reader *r, const char *line, size_t n, bool first, wr_err *err)
{
    const char *tab = memchr(line, '\t', n);
    if (!tab) return fail(r, err, "expected an id, a tab and the topic's text");
    size_t qid_n = (size_t)(tab - line), text_n = n - qid_n - 1;
    if (first && is_header(line, qid_n)) return WR_OK;
    wr_bytes text = {0};
    wr_status st = wr_bytes_add_repaired(&text, tab + 1, text_n) ? no_memory(r, err) : WR_OK;
    if (!st && blank(text.at, text.n)) st = fail(r, err, "the topic's text is empty");
    if (!st) st = add(r, line, qid_n, text.at, text.n, err);
    wr_bytes_release(&text);
    return st;
}

/* ---- TREC's SGML: elements are not always closed, so each ends where the next tag begins */

/* Drops a label such as "Number:" from the start. */
static void drop_label(wr_bytes *s, const char *label)
{
    size_t n = strlen(label);
    if (s->n < n || strncasecmp(s->at, label, n) != 0) return;
    while (n < s->n && s->at[n] == ' ') n++;
    memmove(s->at, s->at + n, s->n - n + 1);
    s->n -= n;
}

static wr_status add_sgml(struct reader *r, wr_bytes *num, wr_bytes *title, wr_err *err)
{
    if (!num->at || !title->at) return fail(r, err, "a topic without <num> or <title>");
    wr_sgml_trim(num);
    wr_sgml_trim(title);
    drop_label(num, "number:");
    drop_label(title, "topic:");
    if (title->n == 0) return fail(r, err, "the topic's title is empty");
    wr_status st = add(r, num->at, num->n, title->at, title->n, err);
    wr_bytes_release(num);
    wr_bytes_release(title);
    return st;
}

/* One line; `into` is where text goes, across lines. */
static wr_status read_sgml_line(struct reader *r, const char *line, size_t n, wr_bytes *num, wr_bytes *title,
                                wr_bytes **into, wr_err *err)
{
    wr_sgml walk;
    wr_status st = WR_OK;
    wr_sgml_start(&walk, line, n);
    for (wr_sgml_kind kind; !st && (kind = wr_sgml_next(&walk)) != WR_SGML_END;) {
        if (kind == WR_SGML_TEXT) {
            if (*into && wr_sgml_add_text(*into, walk.span, walk.span_n)) return no_memory(r, err);
            continue;
        }
        *into = kind == WR_SGML_CLOSE        ? NULL
                : wr_sgml_is(&walk, "num")   ? num
                : wr_sgml_is(&walk, "title") ? title
                                             : NULL;
        if (*into && (*into)->n)
            st = fail(r, err, "a second <num> or <title> in one topic");
        else if (*into && wr_bytes_reserve(*into, 0))
            st = no_memory(r, err);
        else if (kind == WR_SGML_CLOSE && wr_sgml_is(&walk, "top"))
            st = add_sgml(r, num, title, err);
    }
    if (!st && *into && wr_sgml_add_text(*into, " ", 1)) st = no_memory(r, err);
    return st;
}

static wr_status read_sgml(struct reader *r, const char *line, size_t n, wr_err *err)
{
    wr_bytes num = {0}, title = {0}, repaired = {0}, *into = NULL;
    wr_status st = WR_OK;
    while (!st && line) {
        wr_bytes_clear(&repaired);
        st = wr_bytes_add_repaired(&repaired, line, n) ? no_memory(r, err) : WR_OK;
        if (!st) st = read_sgml_line(r, repaired.at, repaired.n, &num, &title, &into, err);
        if (!st) st = wr_lines_next(r->lines, &line, &n, err);
    }
    if (!st && (num.at || title.at)) st = fail(r, err, "the last topic is not closed by </top>");
    wr_bytes_release(&num);
    wr_bytes_release(&title);
    wr_bytes_release(&repaired);
    return st;
}

/* ---- all */

static wr_status read_all(struct reader *r, wr_err *err)
{
    const char *line;
    size_t n;
    char kind = 0; /* the first character of the file that is not white space */
    wr_status st;
    for (bool first = true; !(st = wr_lines_next(r->lines, &line, &n, err)) && line;) {
        if (blank(line, n)) continue;
        if (!kind) kind = line[strspn(line, " \t\r\f\v")];
        if (kind == '<') return read_sgml(r, line, n, err);
        st = kind == '{' ? read_json_line(r, line, n, err) : read_tsv_line(r, line, n, first, err);
        if (st) return st;
        first = false;
    }
    return st;
}

static int by_qid(const void *a, const void *b, void *arg)
{
    const wr_topic *topic = arg;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    int c = strcmp(topic[i].qid, topic[j].qid);
    return c ? c : (i > j) - (i < j);
}

static wr_status refuse_repeated(const struct reader *r, wr_err *err)
{
    wr_status st = WR_OK;
    size_t *order = malloc((r->n + 1) * sizeof *order);
    if (!order) return no_memory(r, err);
    for (size_t i = 0; i < r->n; i++) order[i] = i;
    qsort_r(order, r->n, sizeof *order, by_qid, r->topic);
    for (size_t i = 1; !st && i < r->n; i++)
        if (!strcmp(r->topic[order[i - 1]].qid, r->topic[order[i]].qid))
            st = wr_fail(err, WR_EFORMAT, "%s: line %zu: topic \"%s\" was given before, in line %zu",
                         wr_lines_path(r->lines), r->line[order[i]], r->topic[order[i]].qid, r->line[order[i - 1]]);
    free(order);
    return st;
}

wr_status wr_topics_read(wr_topics *topics, const char *path, wr_err *err)
{
    struct reader r = {0};
    *topics = (wr_topics){0};
    wr_status st = wr_lines_open(&r.lines, path, err);
    if (!st && !(r.chunks = calloc(1, sizeof *r.chunks))) st = no_memory(&r, err);
    if (!st) st = read_all(&r, err);
    if (!st && r.n == 0) st = wr_fail(err, WR_EFORMAT, "%s: holds no topic", wr_lines_path(r.lines));
    if (!st) st = refuse_repeated(&r, err);
    wr_lines_close(r.lines);
    free(r.line);
    *topics = (wr_topics){r.topic, r.n, r.chunks};
    if (st) wr_topics_release(topics);
    return st;
}

void wr_topics_release(wr_topics *topics)
{
    if (topics->owner) wr_chunks_release(topics->owner);
    free(topics->owner);
    free(topics->topic);
    *topics = (wr_topics){0};
}
