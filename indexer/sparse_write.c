/* The writing half of sparse.h, until the merge: terms are hashed and their postings kept as the bytes of a run; when
 * the budget is reached they are sorted and become one. sparse_commit.c merges the runs into the file. */
#include "indexer/sparse_write.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/hash.h"

#define DEFAULT_BUDGET ((size_t)256 << 20)

/* Below this a run would hold hardly more than one document. */
#define LEAST_BUDGET ((size_t)64 << 10)

/* Address space for the one document that goes beyond the budget; a line has 64 MiB at most, and of what it becomes,
 * terms of few bytes and their entries, sixteen times that. */
#define ONE_DOCUMENT ((size_t)1 << 30)

/* The arena's blocks are cut up further: its own alignment of 64 bytes would double what a rare term takes. */
#define PIECE ((size_t)64 << 10)

/* Postings of a term are in a chain of chunks. The first is small, most terms being rare; each next one is twice as
 * large up to the greatest, which wastes little of a long chain. */
#define FIRST_CHUNK 16
#define GREATEST_CHUNK 4096

struct chunk {
    struct chunk *next;
    uint32_t used, cap;
    unsigned char bytes[];
};

struct term {
    struct chunk *head, *tail;
    uint64_t df;
    uint32_t last;      /* docid of the posting before the open one */
    uint32_t docid, tf; /* the open posting: tf still counts, 0 = none yet */
    uint32_t hash, len;
    char text[];
};

/* ---- memory ---- */

static void *piece_alloc(wr_sparse_writer *writer, size_t size)
{
    size = (size + 7) & ~(size_t)7;
    if (size > writer->piece_left) {
        size_t get = size > PIECE ? size : PIECE;
        writer->piece = wr_arena_alloc(&writer->arena, get);
        writer->piece_left = writer->piece ? get : 0;
        if (!writer->piece) return NULL;
    }
    void *got = writer->piece;
    writer->piece += size;
    writer->piece_left -= size;
    return got;
}

static bool table_grow(wr_sparse_writer *writer)
{
    size_t places = writer->places ? 2 * writer->places : 4096;
    struct term **table = calloc(places, sizeof *table);
    if (!table) return false;
    for (size_t i = 0; i < writer->places; i++) {
        struct term *term = writer->table[i];
        if (!term) continue;
        size_t at = term->hash & (places - 1);
        while (table[at]) at = (at + 1) & (places - 1);
        table[at] = term;
    }
    free(writer->table);
    writer->table = table;
    writer->places = places;
    return true;
}

static struct term *term_find(wr_sparse_writer *writer, const char *text, uint32_t len)
{
    if (2 * (writer->nterms + 1) > writer->places && !table_grow(writer)) return NULL;
    uint32_t hash = (uint32_t)wr_checksum(text, len);
    size_t at = hash & (writer->places - 1);
    for (struct term *term; (term = writer->table[at]); at = (at + 1) & (writer->places - 1))
        if (term->hash == hash && term->len == len && !memcmp(term->text, text, len)) return term;
    struct term *term = piece_alloc(writer, sizeof *term + len);
    if (!term) return NULL;
    *term = (struct term){.hash = hash, .len = len};
    memcpy(term->text, text, len);
    writer->table[at] = term;
    writer->nterms++;
    return term;
}

/* Appends the open posting to the term's bytes. */
static bool term_close(wr_sparse_writer *writer, struct term *term)
{
    unsigned char bytes[20];
    size_t n = wr_sparse_posting(term->docid - term->last, term->tf, bytes), done = 0;
    while (done < n) {
        struct chunk *tail = term->tail;
        if (!tail || tail->used == tail->cap) {
            uint32_t cap = !tail ? FIRST_CHUNK : tail->cap < GREATEST_CHUNK ? 2 * tail->cap : GREATEST_CHUNK;
            struct chunk *chunk = piece_alloc(writer, sizeof *chunk + cap);
            if (!chunk) return false;
            *chunk = (struct chunk){.cap = cap};
            if (tail)
                tail->next = chunk;
            else
                term->head = chunk;
            term->tail = tail = chunk;
        }
        size_t fit = tail->cap - tail->used < n - done ? tail->cap - tail->used : n - done;
        memcpy(tail->bytes + tail->used, bytes + done, fit);
        tail->used += (uint32_t)fit;
        done += fit;
    }
    term->last = term->docid;
    term->df++;
    return true;
}

/* ---- runs ---- */

static int by_text(const void *a, const void *b)
{
    const struct term *x = *(struct term *const *)a, *y = *(struct term *const *)b;
    int order = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

static bool write_term(FILE *file, const struct term *term)
{
    unsigned char bytes[10];
    size_t n = wr_sparse_varint(term->len, bytes);
    if (fwrite(bytes, 1, n, file) != n || fwrite(term->text, 1, term->len, file) != term->len) return false;
    n = wr_sparse_varint(term->df, bytes);
    if (fwrite(bytes, 1, n, file) != n) return false;
    for (const struct chunk *chunk = term->head; chunk; chunk = chunk->next)
        if (fwrite(chunk->bytes, 1, chunk->used, file) != chunk->used) return false;
    return true;
}

/* The last MAX_FANIN runs become one. */
static wr_status fold(wr_sparse_writer *writer, wr_err *err)
{
    struct run *first = &writer->run[writer->nruns - MAX_FANIN];
    FILE *file[MAX_FANIN], *merged;
    for (size_t i = 0; i < MAX_FANIN; i++) file[i] = first[i].file;
    wr_status st = wr_sparse_merge_run(file, MAX_FANIN, writer->dir, &merged, err);
    if (st) return st;
    for (size_t i = 0; i < MAX_FANIN; i++) fclose(file[i]);
    first->file = merged;
    first->level++;
    writer->nruns -= MAX_FANIN - 1;
    return WR_OK;
}

/* Runs are folded when they are of one level: so each posting is written once a level. */
static wr_status fold_full_levels(wr_sparse_writer *writer, wr_err *err)
{
    wr_status st = WR_OK;
    while (!st && writer->nruns >= MAX_FANIN &&
           writer->run[writer->nruns - MAX_FANIN].level == writer->run[writer->nruns - 1].level)
        st = fold(writer, err);
    return st;
}

static wr_status flush(wr_sparse_writer *writer, wr_err *err)
{
    size_t n = 0;
    if (writer->nterms == 0) return WR_OK;
    for (size_t i = 0; i < writer->places; i++) {
        struct term *term = writer->table[i];
        if (!term) continue;
        if (!term_close(writer, term)) return wr_fail(err, WR_ENOMEM, "postings: one document fills the memory");
        writer->table[n++] = term;
    }
    qsort(writer->table, n, sizeof *writer->table, by_text);
    struct run *run = &writer->run[writer->nruns];
    wr_status st = wr_sparse_tmp_open(&run->file, writer->dir, err);
    if (st) return st;
    writer->nruns++;
    run->level = 0;
    for (size_t i = 0; i < n; i++)
        if (!write_term(run->file, writer->table[i]))
            return wr_fail(err, WR_EIO, "%s: a temporary file cannot be written: %s", writer->dir, strerror(errno));
    free(writer->table);
    writer->table = NULL;
    writer->places = writer->nterms = 0;
    writer->piece_left = 0;
    wr_arena_reset(&writer->arena, writer->budget);
    return fold_full_levels(writer, err);
}

wr_status wr_sparse_writer_finish(wr_sparse_writer *writer, wr_err *err)
{
    wr_status st = flush(writer, err);
    while (!st && writer->nruns > MAX_FANIN) st = fold(writer, err);
    wr_arena_reset(&writer->arena, 0);
    return st;
}

/* ---- the writer ---- */

wr_status wr_sparse_writer_open(wr_sparse_writer **out, const char *tmp_dir, size_t budget_bytes, wr_err *err)
{
    *out = NULL;
    size_t budget = budget_bytes ? budget_bytes : DEFAULT_BUDGET;
    if (budget < LEAST_BUDGET) budget = LEAST_BUDGET;
    wr_sparse_writer *writer = calloc(1, sizeof *writer);
    if (!writer) return wr_fail(err, WR_ENOMEM, "postings: out of memory");
    writer->budget = budget;
    writer->dir = strdup(tmp_dir);
    if (!writer->dir || budget > SIZE_MAX - ONE_DOCUMENT || wr_arena_init(&writer->arena, budget + ONE_DOCUMENT)) {
        wr_sparse_writer_abort(writer);
        return wr_fail(err, WR_ENOMEM, "postings: %zu bytes of memory cannot be reserved", budget);
    }
    *out = writer;
    return WR_OK;
}

void wr_sparse_writer_abort(wr_sparse_writer *writer)
{
    if (!writer) return;
    for (size_t i = 0; i < writer->nruns; i++)
        if (writer->run[i].file) fclose(writer->run[i].file);
    wr_arena_release(&writer->arena);
    free(writer->table);
    free(writer->length);
    free(writer->dir);
    free(writer);
}

static wr_status add_length(wr_sparse_writer *writer, size_t n, wr_err *err)
{
    if (writer->ndocs == UINT32_MAX) return wr_fail(err, WR_EFULL, "postings: more than %u documents", UINT32_MAX);
    if (n > UINT32_MAX)
        return wr_fail(err, WR_EARG, "postings: document %u: %zu terms, at most %u", writer->ndocs, n, UINT32_MAX);
    if (writer->ndocs == writer->room) {
        size_t room = writer->room ? writer->room + writer->room / 2 : 1024;
        uint32_t *length = realloc(writer->length, room * sizeof *length);
        if (!length) return wr_fail(err, WR_ENOMEM, "postings: out of memory for the lengths of %zu documents", room);
        writer->length = length;
        writer->room = room;
    }
    writer->length[writer->ndocs] = (uint32_t)n;
    writer->total_length += n;
    return WR_OK;
}

/* The term, its open posting that of the current document, where tf is 0 when it is a new one. NULL without memory. */
static struct term *term_enter(wr_sparse_writer *writer, const char *text, uint32_t len)
{
    struct term *term = term_find(writer, text, len);
    if (!term) return NULL;
    if (term->tf && term->docid != writer->ndocs) {
        if (!term_close(writer, term)) return NULL;
        term->tf = 0;
    }
    term->docid = writer->ndocs;
    return term;
}

/* One kind of documents in a writer; what a document has is counted. */
static wr_status document_begin(wr_sparse_writer *writer, wr_sparse_kind kind, size_t n, wr_err *err)
{
    if (writer->kind && writer->kind != kind)
        return wr_fail(err, WR_EARG, "postings: document %u: with and without weights in one index", writer->ndocs);
    writer->kind = kind;
    return add_length(writer, n, err);
}

static wr_status document_end(wr_sparse_writer *writer, wr_err *err)
{
    writer->ndocs++;
    if (writer->arena.used + writer->places * sizeof *writer->table < writer->budget) return WR_OK;
    return flush(writer, err);
}

/* The term of a length that is allowed. */
static wr_status term_checked(wr_sparse_writer *writer, const char *text, uint32_t len, struct term **term, wr_err *err)
{
    if (len == 0 || len > WR_MAX_TERM_BYTES)
        return wr_fail(err, WR_EARG, "postings: document %u: a term of %u bytes, expected 1 to %d", writer->ndocs, len,
                       WR_MAX_TERM_BYTES);
    *term = term_enter(writer, text, len);
    return *term ? WR_OK : wr_fail(err, WR_ENOMEM, "postings: document %u: out of memory", writer->ndocs);
}

wr_status wr_sparse_writer_add(wr_sparse_writer *writer, const char *const *term, const uint32_t *term_len, size_t n,
                               wr_err *err)
{
    wr_status st = document_begin(writer, WR_SPARSE_BM25, n, err);
    for (size_t i = 0; !st && i < n; i++) {
        struct term *entered;
        if (!(st = term_checked(writer, term[i], term_len[i], &entered, err))) entered->tf++;
    }
    return st ? st : document_end(writer, err);
}

/* A weight travels through the runs as the bits of its float. */
static wr_status add_weight(wr_sparse_writer *writer, const char *text, uint32_t len, float weight, wr_err *err)
{
    struct term *term;
    if (weight == 0) return WR_OK;
    if (!(weight > 0 && isfinite(weight)))
        return wr_fail(err, WR_EARG, "postings: document %u: a weight of %g, expected a finite one above 0",
                       writer->ndocs, (double)weight);
    wr_status st = term_checked(writer, text, len, &term, err);
    if (st) return st;
    if (term->tf)
        return wr_fail(err, WR_EARG, "postings: document %u: term \"%.*s\" comes twice", writer->ndocs,
                       len < 64 ? (int)len : 64, text);
    memcpy(&term->tf, &weight, sizeof weight);
    if (weight > writer->most) writer->most = weight;
    return WR_OK;
}

wr_status wr_sparse_writer_add_weights(wr_sparse_writer *writer, const char *const *term, const uint32_t *term_len,
                                       const float *weight, size_t n, wr_err *err)
{
    wr_status st = document_begin(writer, WR_SPARSE_WEIGHTS, n, err);
    for (size_t i = 0; !st && i < n; i++) st = add_weight(writer, term[i], term_len[i], weight[i], err);
    return st ? st : document_end(writer, err);
}
