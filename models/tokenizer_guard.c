/* Text from users never becomes a special token. */
#include <string.h>

#include "data/utf8.h"
#include "models/bpe.h"
#include "models/wordpiece.h"

/* Where a special token would be found. */
typedef struct place {
    size_t start, end;
} place;

typedef struct places {
    wr_arena *arena;
    place *at; /* [n] ascending */
    size_t n, cap;
} places;

static wr_status note(places *found, size_t start, size_t end)
{
    if (found->n == found->cap) {
        size_t cap = 2 * found->cap + 16;
        place *at = wr_arena_alloc(found->arena, cap * sizeof *at);
        if (!at) return WR_ENOMEM;
        if (found->n) memcpy(at, found->at, found->n * sizeof *at);
        found->at = at, found->cap = cap;
    }
    found->at[found->n++] = (place){start, end};
    return WR_OK;
}

/* A stretch as the normaliser makes it, with the place in it that every byte came from; *origin NULL: unchanged. */
static wr_status normalized(const wr_tokenizer *tok, wr_text text, wr_arena *arena, wr_text *out, size_t **origin)
{
    if (tok->bpe) return wr_normalize(&tok->bpe->normal, text, arena, out, origin);
    if (text.n > SIZE_MAX / 4 / sizeof **origin) return WR_ENOMEM;
    char *bytes = wr_arena_alloc(arena, 3 * text.n);
    *origin = wr_arena_alloc(arena, 3 * text.n * sizeof **origin);
    if (!bytes || !*origin) return WR_ENOMEM;
    *out = (wr_text){bytes, wr_wordpiece_normalize(&tok->raw.fold, text.bytes, text.n, bytes, *origin)};
    return WR_OK;
}

static size_t character_end(wr_text text, size_t at)
{
    size_t len = 0;
    if (at < text.n) wr_utf8_decode(text.bytes + at, text.n - at, &len);
    return at + len;
}

static wr_status find_normalized(const wr_tokenizer *tok, wr_text text, size_t start, size_t n, places *found)
{
    wr_text normal, part = {text.bytes + start, n};
    size_t *origin = NULL;
    wr_added_walk walk = {0};
    wr_added_piece piece;
    wr_status st = n ? normalized(tok, part, found->arena, &normal, &origin) : WR_STOPPED;
    while (!st && wr_added_next(&tok->as_normalized, normal.bytes, normal.n, &walk, &piece)) {
        if (!piece.token || !piece.token->special) continue;
        size_t first = piece.at, last = piece.at + piece.token->n - 1;
        if (origin) first = origin[first], last = origin[last];
        st = note(found, start + first, character_end(text, start + last));
    }
    return st < 0 ? st : WR_OK;
}

static wr_status find(const wr_tokenizer *tok, wr_text text, places *found)
{
    wr_added_walk walk = {0};
    wr_added_piece piece;
    wr_status st = WR_OK;
    found->n = 0;
    while (!st && wr_added_next(&tok->as_given, text.bytes, text.n, &walk, &piece)) {
        if (tok->as_normalized.n) st = find_normalized(tok, text, piece.start, piece.n, found);
        if (!st && piece.token && piece.token->special) st = note(found, piece.at, piece.at + piece.token->n);
    }
    return st;
}

/* Where a space breaks the token: behind its first character that is none; its end when nothing is left to break off.
 */
static size_t break_at(wr_text text, place p)
{
    size_t at = p.start;
    while (at < p.end && text.bytes[at] == ' ') at++;
    at = character_end(text, at);
    return at < p.end ? at : p.end;
}

/* Spaces into what was found; what no space can break, or whatever was found when drop is true, is left out. */
static wr_status mend(wr_text text, const places *found, bool drop, wr_text *out)
{
    char *bytes = wr_arena_alloc(found->arena, text.n + found->n);
    size_t n = 0, done = 0;
    if (!bytes) return WR_ENOMEM;
    for (size_t i = 0; i < found->n; i++) {
        place p = found->at[i];
        if (p.start < done) continue; /* two that one character gave rise to */
        size_t at = drop ? p.end : break_at(text, p), keep = at < p.end ? at : p.start;
        memcpy(bytes + n, text.bytes + done, keep - done);
        n += keep - done;
        if (at < p.end) bytes[n++] = ' ';
        done = at;
    }
    memcpy(bytes + n, text.bytes + done, text.n - done);
    *out = (wr_text){bytes, n + text.n - done};
    return WR_OK;
}

/* A space may complete another token, which the next turn breaks. Files with such tokens are rare; after some turns
 * what is found is left out instead, which comes to an end. */
#define TURNS 8

wr_status wr_tokenizer_guard(const wr_tokenizer *tok, wr_text text, wr_arena *arena, wr_text *out)
{
    places found = {.arena = arena};
    *out = text;
    if (!wr_utf8_valid(text.bytes, text.n)) {
        char *valid = text.n <= SIZE_MAX / 3 ? wr_arena_alloc(arena, 3 * text.n) : NULL;
        if (!valid) return WR_ENOMEM;
        *out = (wr_text){valid, wr_utf8_repair(text.bytes, text.n, valid)};
    }
    for (int turn = 0;; turn++) {
        wr_status st = find(tok, *out, &found);
        if (st || !found.n) return st;
        st = mend(*out, &found, turn >= TURNS, out);
        if (st) return st;
    }
}
