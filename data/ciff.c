#include "data/ciff.h"

#include <stdlib.h>
#include <string.h>

#include "data/arena.h"
#include "data/chunks.h"
#include "data/proto.h"
#include "data/utf8.h"

#define WINDOW_POSTINGS ((uint64_t)32 << 20) /* 8 bytes each: 256 MiB */

/* A record takes at least 4 bytes (its length, and a field of one character), and gzip packs at most 1032 to 1. */
#define LEAST_RECORD 4
#define MOST_PACKED 1032

typedef struct posting {
    uint32_t term, impact;
} posting;

struct wr_ciff {
    wr_proto *lists, *records; /* two positions in the file */
    uint32_t nlists, ndocs;
    uint64_t first_list, window_postings;
    wr_chunks chunks;
    const char **term; /* [nlists] */
    size_t nterms;
    wr_arena counts;
    uint32_t *count; /* [ndocs] postings of each document */

    uint32_t next;     /* document given out next             */
    uint32_t from, to; /* the window: from <= next < to       */
    uint64_t *begin;   /* [to - from + 1] its documents' postings */
    posting *postings; /* [begin[to - from]]                  */
    wr_bytes text, docno;
    const char **token; /* [room] of the document given out */
    float *weight;
    size_t room;
};

/* ---- messages ---- */

static wr_status need_varint(wr_proto *p, const wr_proto_value *field, uint64_t max, uint64_t *out, wr_err *err)
{
    if (field->type != 0 || field->varint > max) return wr_proto_fail(p, err, "a number that is out of range");
    *out = field->varint;
    return WR_OK;
}

static wr_status read_header(wr_ciff *c, wr_err *err)
{
    wr_proto *p = c->lists;
    wr_proto_value field;
    uint64_t outer, version = 0, nlists = 0, ndocs = 0;
    wr_status st = wr_proto_message(p, &outer, err);
    while (!st && !(st = wr_proto_field(p, &field, err)) && field.number) {
        if (field.number == 1)
            st = need_varint(p, &field, INT32_MAX, &version, err);
        else if (field.number == 2)
            st = need_varint(p, &field, INT32_MAX, &nlists, err);
        else if (field.number == 3)
            st = need_varint(p, &field, INT32_MAX, &ndocs, err);
        else
            st = wr_proto_skip(p, &field, err);
    }
    if (!st) st = wr_proto_leave(p, outer, err);
    if (!st && version != 1) st = wr_proto_fail(p, err, "no header of CIFF version 1");
    uint64_t most = wr_proto_stored_bytes(p) / LEAST_RECORD * (wr_proto_is_gzip(p) ? MOST_PACKED : 1);
    if (!st && (nlists > most || ndocs > most))
        st = wr_proto_fail(p, err, "the header promises more lists or documents than the file has room for");
    c->nlists = (uint32_t)nlists;
    c->ndocs = (uint32_t)ndocs;
    c->first_list = wr_proto_at(p);
    return st;
}

/* What is done with a posting of the list that is being read. */
typedef void (*posting_fn)(wr_ciff *c, uint32_t term, uint32_t docid, uint32_t impact);

static wr_status read_posting(wr_ciff *c, uint32_t term, int64_t *docid, posting_fn each, wr_err *err)
{
    wr_proto *p = c->lists;
    wr_proto_value field;
    uint64_t outer, step = 0, tf = 0;
    wr_status st = wr_proto_message(p, &outer, err);
    while (!st && !(st = wr_proto_field(p, &field, err)) && field.number) {
        if (field.number == 1)
            st = need_varint(p, &field, INT32_MAX, &step, err);
        else if (field.number == 2)
            st = need_varint(p, &field, INT32_MAX, &tf, err);
        else
            st = wr_proto_skip(p, &field, err);
    }
    if (!st) st = wr_proto_leave(p, outer, err);
    if (st) return st;
    if (*docid >= 0 && step == 0) return wr_proto_fail(p, err, "a document that stands twice in a postings list");
    *docid = *docid < 0 ? (int64_t)step : *docid + (int64_t)step;
    if (*docid >= (int64_t)c->ndocs) return wr_proto_fail(p, err, "a posting of a document that there is not");
    if (tf > 0) each(c, term, (uint32_t)*docid, (uint32_t)tf);
    return WR_OK;
}

/* One postings list; its term goes to c->text when that is wanted. */
static wr_status read_list(wr_ciff *c, uint32_t term, bool want_text, posting_fn each, wr_err *err)
{
    wr_proto *p = c->lists;
    wr_proto_value field;
    uint64_t outer;
    int64_t docid = -1;
    wr_bytes_clear(&c->text);
    wr_status st = wr_proto_message(p, &outer, err);
    while (!st && !(st = wr_proto_field(p, &field, err)) && field.number) {
        if (field.number == 1 && want_text)
            st = wr_proto_text(p, &field, WR_MAX_TOKEN_BYTES, &c->text, err);
        else if (field.number == 4 && field.type == 2)
            st = read_posting(c, term, &docid, each, err);
        else
            st = wr_proto_skip(p, &field, err);
    }
    return st ? st : wr_proto_leave(p, outer, err);
}

/* ---- the first pass ---- */

static void count(wr_ciff *c, uint32_t term, uint32_t docid, uint32_t impact)
{
    (void)term;
    (void)impact;
    c->count[docid]++;
}

static wr_status keep_term(wr_ciff *c, wr_err *err)
{
    if (c->text.n == 0 || strlen(c->text.at) != c->text.n || !wr_utf8_valid(c->text.at, c->text.n))
        return wr_proto_fail(c->lists, err, "a term that is empty or no UTF-8");
    const char *copy = wr_chunks_strndup(&c->chunks, c->text.at, c->text.n);
    if (!copy) return wr_fail(err, WR_ENOMEM, "out of memory for the terms");
    c->term[c->nterms++] = copy;
    return WR_OK;
}

static wr_status count_all(wr_ciff *c, wr_err *err)
{
    c->term = calloc((size_t)c->nlists + 1, sizeof *c->term);
    wr_status st = wr_arena_init(&c->counts, (size_t)c->ndocs * sizeof *c->count + WR_ARENA_ALIGN);
    if (!st) c->count = wr_arena_calloc(&c->counts, c->ndocs, sizeof *c->count);
    if (st || !c->term || !c->count) return wr_fail(err, WR_ENOMEM, "out of memory for %u documents", c->ndocs);
    for (uint32_t i = 0; i < c->nlists && !st; i++) {
        st = read_list(c, i, true, count, err);
        if (!st) st = keep_term(c, err);
    }
    return st ? st : wr_proto_seek(c->records, wr_proto_at(c->lists), err);
}

wr_status wr_ciff_open(wr_ciff **ciff, const char *path, wr_err *err)
{
    *ciff = NULL;
    wr_ciff *c = calloc(1, sizeof *c);
    if (!c) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    c->window_postings = WINDOW_POSTINGS;
    wr_status st = wr_proto_open(&c->lists, path, err);
    if (!st) st = wr_proto_open(&c->records, path, err);
    if (!st) st = read_header(c, err);
    if (!st) st = count_all(c, err);
    if (st)
        wr_ciff_close(c);
    else
        *ciff = c;
    return st;
}

void wr_ciff_close(wr_ciff *c)
{
    if (!c) return;
    wr_proto_close(c->lists);
    wr_proto_close(c->records);
    wr_chunks_release(&c->chunks);
    wr_arena_release(&c->counts);
    wr_bytes_release(&c->text);
    wr_bytes_release(&c->docno);
    free(c->term);
    free(c->begin);
    free(c->postings);
    free(c->token);
    free(c->weight);
    free(c);
}

/* ---- windows ---- */

static void keep(wr_ciff *c, uint32_t term, uint32_t docid, uint32_t impact)
{
    if (docid < c->from || docid >= c->to) return;
    uint64_t at = c->begin[docid - c->from]++;
    if (at < c->begin[c->to - c->from]) c->postings[at] = (posting){term, impact}; /* else the file has changed */
}

/* Where each document's postings begin. */
static void layout(wr_ciff *c)
{
    uint64_t at = 0;
    for (uint32_t d = c->from; d < c->to; d++) {
        c->begin[d - c->from] = at;
        at += c->count[d];
    }
    c->begin[c->to - c->from] = at;
}

/* The next documents whose postings fit, at least one. */
static wr_status load_window(wr_ciff *c, wr_err *err)
{
    uint64_t total = 0;
    free(c->begin);
    free(c->postings);
    c->begin = NULL;
    c->postings = NULL;
    c->from = c->to = c->next;
    while (c->to < c->ndocs && (c->to == c->from || total + c->count[c->to] <= c->window_postings))
        total += c->count[c->to++];
    c->begin = malloc(((size_t)(c->to - c->from) + 1) * sizeof *c->begin);
    c->postings = malloc((total + 1) * sizeof *c->postings);
    if (!c->begin || !c->postings) return wr_fail(err, WR_ENOMEM, "out of memory for %u documents", c->to - c->from);
    layout(c);
    wr_status st = wr_proto_seek(c->lists, c->first_list, err);
    for (uint32_t i = 0; i < c->nlists && !st; i++) st = read_list(c, i, false, keep, err);
    layout(c); /* filling moved the beginnings */
    return st;
}

/* ---- documents ---- */

static wr_status read_record(wr_ciff *c, wr_err *err)
{
    wr_proto *p = c->records;
    wr_proto_value field;
    uint64_t outer, docid = 0;
    wr_bytes_clear(&c->docno);
    wr_status st = wr_proto_message(p, &outer, err);
    while (!st && !(st = wr_proto_field(p, &field, err)) && field.number) {
        if (field.number == 1)
            st = need_varint(p, &field, INT32_MAX, &docid, err);
        else if (field.number == 2)
            st = wr_proto_text(p, &field, WR_MAX_DOCNO, &c->docno, err);
        else
            st = wr_proto_skip(p, &field, err);
    }
    if (!st) st = wr_proto_leave(p, outer, err);
    if (!st && docid != c->next) st = wr_proto_fail(p, err, "a document's record that is out of order");
    if (!st && c->docno.n == 0) st = wr_proto_fail(p, err, "a document without an id");
    return st;
}

static wr_status fill_vector(wr_ciff *c, wr_doc *doc, wr_err *err)
{
    const posting *from = c->postings + c->begin[c->next - c->from];
    size_t n = c->count[c->next];
    if (n > c->room) {
        const char **token = realloc(c->token, n * sizeof *token);
        if (token) c->token = token;
        float *weight = realloc(c->weight, n * sizeof *weight);
        if (weight) c->weight = weight;
        if (!token || !weight) return wr_fail(err, WR_ENOMEM, "out of memory");
        c->room = n;
    }
    for (size_t i = 0; i < n; i++) {
        c->token[i] = c->term[from[i].term];
        c->weight[i] = (float)from[i].impact;
    }
    doc->token = c->token;
    doc->weight = c->weight;
    doc->ntokens = n;
    return WR_OK;
}

wr_status wr_ciff_next(wr_ciff *c, wr_doc *doc, wr_err *err)
{
    *doc = (wr_doc){.title = "", .text = "", .metadata = ""};
    if (c->next == c->ndocs)
        return wr_proto_ended(c->records) ? WR_OK : wr_proto_fail(c->records, err, "bytes behind the last document");
    wr_status st = c->next == c->to ? load_window(c, err) : WR_OK;
    if (!st) st = read_record(c, err);
    if (!st) st = fill_vector(c, doc, err);
    if (st) return st;
    doc->docno = c->docno.at;
    doc->docno_len = c->docno.n;
    c->next++;
    return WR_OK;
}

uint32_t wr_ciff_ndocs(const wr_ciff *c)
{
    return c->ndocs;
}

void wr_ciff_set_window(wr_ciff *c, uint64_t postings)
{
    c->window_postings = postings;
}

bool wr_ciff_is(const char *path)
{
    wr_proto *p;
    wr_proto_value field = {0};
    uint64_t outer;
    wr_err err;
    if (wr_proto_open(&p, path, &err)) return false;
    bool is = !wr_proto_message(p, &outer, &err) && !wr_proto_field(p, &field, &err) && field.number == 1 &&
              field.type == 0 && field.varint == 1;
    wr_proto_close(p);
    return is;
}
