#include "indexer/batch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "data/arena.h"

/* No more text than this is gathered, so that long documents do not pile up. */
#define BATCH_BYTES ((size_t)8 << 20)

/* Address space: the batch and one document of a line's 64 MiB, twice (as it is, and joined). */
#define TEXT_SPACE ((size_t)256 << 20)

/* A batch is analysed in this many parts, each with an analyzer and an arena of its own. A document whose terms do not
 * fit there (some 20 MB of text) is analysed afterwards in a larger one, which is made when it is needed: 64 MiB of
 * words of one letter are 32 million terms of 28 bytes, and the analyzer's own list grows by doubling. */
#define PARTS 8
#define PART_SPACE ((size_t)128 << 20)
#define LONG_SPACE ((size_t)8 << 30)
#define KEEP ((size_t)16 << 20) /* memory kept from batch to batch */

struct wr_batch_memory {
    wr_arena text;
    struct part {
        wr_arena arena;
        wr_analyzer *analyzer;
    } part[PARTS];
    wr_arena ids[WR_TOKEN_PARTS];  /* zeroed until texts are tokenised        */
    wr_arena longer;               /* zeroed until a document needs it         */
    bool left_over[WR_BATCH_DOCS]; /* did not fit into its part's arena      */
};

wr_status wr_batch_open(wr_doc_batch **batch, const char *analyzer, wr_err *err)
{
    *batch = NULL;
    wr_doc_batch *b = calloc(1, sizeof *b);
    if (!b || !(b->memory = calloc(1, sizeof *b->memory))) {
        free(b);
        return wr_fail(err, WR_ENOMEM, "index: out of memory");
    }
    wr_status st = wr_arena_init(&b->memory->text, TEXT_SPACE);
    for (size_t i = 0; i < PARTS && !st; i++) st = wr_arena_init(&b->memory->part[i].arena, PART_SPACE);
    if (st) wr_fail(err, st, "index: no address space for a batch of documents");
    for (size_t i = 0; i < PARTS && !st; i++) st = wr_analyzer_open(&b->memory->part[i].analyzer, analyzer, err);
    if (st) {
        wr_batch_close(b);
        return st;
    }
    *batch = b;
    return WR_OK;
}

void wr_batch_close(wr_doc_batch *b)
{
    if (!b) return;
    wr_arena_release(&b->memory->text);
    wr_arena_release(&b->memory->longer);
    for (size_t i = 0; i < WR_TOKEN_PARTS; i++) wr_arena_release(&b->memory->ids[i]);
    for (size_t i = 0; i < PARTS; i++) {
        wr_arena_release(&b->memory->part[i].arena);
        wr_analyzer_close(b->memory->part[i].analyzer);
    }
    free(b->memory);
    free(b);
}

/* ---- reading ---- */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static wr_text trimmed(const char *bytes, size_t n)
{
    while (n && is_space(*bytes)) bytes++, n--;
    while (n && is_space(bytes[n - 1])) n--;
    return (wr_text){bytes, n};
}

wr_status wr_doc_join(const wr_doc *doc, wr_arena *arena, wr_text *out)
{
    if (doc->title_len == 0) {
        *out = trimmed(doc->text, doc->text_len);
        return WR_OK;
    }
    char *both = wr_arena_alloc(arena, doc->title_len + 1 + doc->text_len);
    if (!both) return WR_ENOMEM;
    memcpy(both, doc->title, doc->title_len);
    both[doc->title_len] = ' ';
    memcpy(both + doc->title_len + 1, doc->text, doc->text_len);
    *out = trimmed(both, doc->title_len + 1 + doc->text_len);
    return WR_OK;
}

static wr_status copy_vector(wr_doc *to, const wr_doc *from, wr_arena *arena)
{
    const char **token = wr_arena_alloc(arena, from->ntokens * sizeof *token);
    float *weight = wr_arena_alloc(arena, from->ntokens * sizeof *weight);
    size_t bytes = 0;
    for (size_t i = 0; i < from->ntokens; i++) bytes += strlen(from->token[i]) + 1;
    char *text = wr_arena_alloc(arena, bytes);
    if (!token || !weight || !text) return WR_ENOMEM;
    for (size_t i = 0; i < from->ntokens; i++) {
        size_t n = strlen(from->token[i]) + 1;
        token[i] = memcpy(text, from->token[i], n);
        weight[i] = from->weight[i];
        text += n;
    }
    to->token = token;
    to->weight = weight;
    return WR_OK;
}

static wr_status copy(wr_doc *to, const wr_doc *from, wr_arena *arena)
{
    *to = *from;
    to->docno = wr_arena_strndup(arena, from->docno, from->docno_len);
    to->title = wr_arena_strndup(arena, from->title, from->title_len);
    to->text = wr_arena_strndup(arena, from->text, from->text_len);
    to->metadata = wr_arena_strndup(arena, from->metadata, from->metadata_len);
    if (!to->docno || !to->title || !to->text || !to->metadata) return WR_ENOMEM;
    return from->ntokens ? copy_vector(to, from, arena) : WR_OK;
}

wr_status wr_batch_read(wr_doc_batch *b, wr_corpus *corpus, wr_err *err)
{
    wr_arena *arena = &b->memory->text;
    b->n = 0;
    b->tok = NULL;
    wr_arena_reset(arena, KEEP);
    while (b->n < WR_BATCH_DOCS && arena->used < BATCH_BYTES) {
        wr_doc next, *doc = &b->doc[b->n];
        wr_status st = wr_corpus_next(corpus, &next, err);
        if (st || !next.docno) return st;
        st = copy(doc, &next, arena);
        if (!st) st = wr_doc_join(doc, arena, &b->text[b->n]);
        if (st) return wr_fail(err, st, "document %s: too long to be held in memory", next.docno);
        b->n++;
    }
    return WR_OK;
}

/* ---- token ids ---- */

/* Address space: a document of 64 MiB whose normalised text is three times as long, and the ids it begins with. */
#define IDS_SPACE ((size_t)256 << 20)

wr_status wr_batch_tokenise(wr_doc_batch *b, const wr_tokenizer *tok, size_t max, wr_pool *pool, wr_err *err)
{
    wr_status st = WR_OK;
    for (size_t i = 0; i < WR_TOKEN_PARTS && !st; i++) {
        wr_arena *arena = &b->memory->ids[i];
        if (arena->base) wr_arena_reset(arena, KEEP / WR_TOKEN_PARTS);
        else st = wr_arena_init(arena, IDS_SPACE);
    }
    if (!st) st = wr_tokenise_texts(tok, pool, b->text, b->n, max, b->memory->ids, b->ids);
    if (st)
        return wr_fail(err, st, "documents %s to %s: cannot be tokenised: %s", b->doc[0].docno, b->doc[b->n - 1].docno,
                       wr_status_name(st));
    b->tok = tok;
    b->max_ids = max;
    return WR_OK;
}

bool wr_batch_ids_serve(const wr_doc_batch *b, const wr_tokenizer *tok, size_t max)
{
    return b->tok && max <= b->max_ids && !strcmp(wr_tokenizer_sha256(b->tok), wr_tokenizer_sha256(tok));
}

/* ---- analysis ---- */

static wr_status analyse(wr_doc_batch *b, size_t i, wr_analyzer *analyzer, wr_arena *arena)
{
    wr_term *found;
    wr_batch_terms *t = &b->terms[i];
    wr_status st = wr_analyzer_terms(analyzer, b->text[i].bytes, b->text[i].n, arena, &found, &t->n);
    if (st) return st;
    t->term = wr_arena_alloc(arena, t->n * sizeof *t->term);
    t->len = wr_arena_alloc(arena, t->n * sizeof *t->len);
    if (!t->term || !t->len) return WR_ENOMEM;
    for (size_t j = 0; j < t->n; j++) {
        t->term[j] = found[j].text;
        t->len[j] = (uint32_t)found[j].len;
    }
    return WR_OK;
}

static void analyse_part(void *arg, size_t number)
{
    wr_doc_batch *b = arg;
    struct part *part = &b->memory->part[number];
    wr_arena_reset(&part->arena, KEEP / PARTS);
    for (size_t i = b->n * number / PARTS; i < b->n * (number + 1) / PARTS; i++) {
        size_t mark = wr_arena_mark(&part->arena);
        b->memory->left_over[i] = analyse(b, i, part->analyzer, &part->arena) != WR_OK;
        if (b->memory->left_over[i]) wr_arena_rollback(&part->arena, mark);
    }
}

wr_status wr_batch_analyse(wr_doc_batch *b, wr_pool *pool, wr_err *err)
{
    struct wr_batch_memory *m = b->memory;
    wr_pool_for(pool, PARTS, analyse_part, b);
    wr_arena_release(&m->longer);
    for (size_t i = 0; i < b->n; i++) {
        if (!m->left_over[i]) continue;
        wr_status st = m->longer.base ? WR_OK : wr_arena_init(&m->longer, LONG_SPACE);
        if (!st) st = analyse(b, i, m->part[0].analyzer, &m->longer);
        if (st) return wr_fail(err, st, "document %s: no memory to analyse its text", b->doc[i].docno);
    }
    return WR_OK;
}
