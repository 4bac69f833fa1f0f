/* Pre-tokenizers: each cuts what the one before it left whole. */
#include <string.h>

#include "models/bpe.h"

static wr_status from_stage(wr_bpe_work *w, size_t at, wr_text text, bool first);

/* Pieces on their way to the next stage: the last one waits, for what follows may join it. */
typedef struct pieces {
    wr_bpe_work *work;
    size_t stage; /* that takes them       */
    wr_text text; /* they are part of      */
    bool first;   /* text begins the whole */
    wr_behavior behavior;
    size_t start, end; /* the one that waits */
    bool waits, match; /* it is a match      */
} pieces;

static wr_status pass(pieces *p)
{
    if (!p->waits || p->start == p->end) return WR_OK;
    return from_stage(p->work, p->stage, (wr_text){p->text.bytes + p->start, p->end - p->start}, p->first && !p->start);
}

/* The next stretch of text, a match or what lies between two. */
static wr_status piece(pieces *p, size_t start, size_t end, bool match)
{
    bool joins = false;
    if (p->behavior == WR_SPLIT_REMOVED && match) return WR_OK;
    if (p->waits) {
        joins = (p->behavior == WR_SPLIT_CONTIGUOUS && match == p->match) ||
                (p->behavior == WR_SPLIT_PREVIOUS && match && !p->match) ||
                (p->behavior == WR_SPLIT_NEXT && !match && p->match);
    }
    if (!joins) {
        wr_status st = pass(p);
        if (st) return st;
        p->start = start;
    }
    p->end = end;
    p->waits = true;
    p->match = match;
    return WR_OK;
}

static wr_status by_pattern(wr_bpe_work *w, size_t at, const wr_stage *stage, wr_text text, bool first)
{
    pieces p = {.work = w, .stage = at + 1, .text = text, .first = first, .behavior = stage->behavior};
    wr_status st = WR_OK, found = WR_OK;
    if (!w->match && !(w->match = wr_pattern_memory(w->ids->arena))) return WR_ENOMEM;
    for (size_t done = 0, start, end; !st && done < text.n; done = end) {
        found = wr_pattern_find(stage->pattern, w->match, text, done, &start, &end);
        if (found < 0) return found;
        if (found == WR_STOPPED) start = end = text.n;
        if (start > done) st = piece(&p, done, start, stage->invert);
        if (!st && end > start) st = piece(&p, start, end, !stage->invert);
    }
    return st ? st : pass(&p);
}

/* A copy with something in front. */
static wr_status with_prefix(wr_bpe_work *w, const char *prefix, wr_text *text)
{
    size_t n = strlen(prefix);
    char *bytes = wr_arena_alloc(w->ids->arena, n + text->n);
    if (!bytes) return WR_ENOMEM;
    memcpy(bytes, prefix, n);
    memcpy(bytes + n, text->bytes, text->n);
    *text = (wr_text){bytes, n + text->n};
    return WR_OK;
}

/* Every space becomes the mark, which is longer. */
static wr_status with_marks(wr_bpe_work *w, const char *mark, wr_text *text)
{
    size_t n = strlen(mark), spaces = 0, to = 0;
    for (size_t i = 0; i < text->n; i++) spaces += text->bytes[i] == ' ';
    if (!spaces) return WR_OK;
    char *bytes = wr_arena_alloc(w->ids->arena, text->n + spaces * n);
    if (!bytes) return WR_ENOMEM;
    for (size_t i = 0; i < text->n; i++) {
        if (text->bytes[i] != ' ')
            bytes[to++] = text->bytes[i];
        else
            memcpy(bytes + to, mark, n), to += n;
    }
    *text = (wr_text){bytes, to};
    return WR_OK;
}

static bool begins_with(wr_text text, const char *s)
{
    size_t n = strlen(s);
    return text.n >= n && !memcmp(text.bytes, s, n);
}

static wr_status metaspace(wr_bpe_work *w, size_t at, const wr_stage *stage, wr_text text, bool first)
{
    wr_status st = with_marks(w, stage->mark, &text);
    bool wanted = stage->scheme == WR_PREPEND_ALWAYS || (stage->scheme == WR_PREPEND_FIRST && first);
    if (!st && wanted && !begins_with(text, stage->mark)) st = with_prefix(w, stage->mark, &text);
    if (st) return st;
    return stage->pattern ? by_pattern(w, at, stage, text, first) : from_stage(w, at + 1, text, first);
}

static wr_status from_stage(wr_bpe_work *w, size_t at, wr_text text, bool first)
{
    if (!text.n) return WR_OK;
    if (at == w->tok->bpe->nstages) return wr_bpe_word(w, text.bytes, text.n);
    const wr_stage *stage = &w->tok->bpe->stage[at];
    if (stage->kind == WR_STAGE_METASPACE) return metaspace(w, at, stage, text, first);
    if (stage->prefix_space && !begins_with(text, " ")) {
        wr_status st = with_prefix(w, " ", &text);
        if (st) return st;
    }
    return stage->pattern ? by_pattern(w, at, stage, text, first) : from_stage(w, at + 1, text, first);
}

wr_status wr_bpe_split(wr_bpe_work *work, const char *text, size_t n, bool first)
{
    return from_stage(work, 0, (wr_text){text, n}, first);
}
