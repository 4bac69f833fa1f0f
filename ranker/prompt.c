#include "ranker/prompt.h"

#include <string.h>

/* The id that the tokenizer puts before a text, where the string has not written it already; -1: none. */
static int64_t bos_of(const wr_tokenizer *tok, const wr_tokens *ids)
{
    uint32_t word_id = UINT32_MAX, id[3] = {UINT32_MAX}; /* [BOS] word [EOS] */
    wr_tokens text = {&word_id, 1, false};
    wr_tokenizer_single_ids(tok, &text, 3, id, NULL);
    return id[0] == UINT32_MAX || (ids->n && ids->id[0] == id[0]) ? -1 : (int64_t)id[0];
}

wr_status wr_prompt_encode(const wr_tokenizer *tok, wr_text string, wr_arena *arena, wr_text *text, wr_tokens *ids)
{
    *text = string;
    if (wr_tokenizer_encode(tok, string.bytes, string.n, arena, SIZE_MAX, ids)) return WR_ENOMEM;
    int64_t bos = bos_of(tok, ids);
    if (bos < 0) return WR_OK;
    const char *name = wr_tokenizer_token(tok, (uint32_t)bos);
    size_t n = name ? strlen(name) : 0;
    uint32_t *id = wr_arena_alloc(arena, (ids->n + 1) * sizeof *id);
    char *with = wr_arena_alloc(arena, n + string.n);
    if (!id || !with) return WR_ENOMEM;
    id[0] = (uint32_t)bos;
    memcpy(id + 1, ids->id, ids->n * sizeof *id);
    ids->id = id, ids->n++;
    if (n) memcpy(with, name, n);
    if (string.n) memcpy(with + n, string.bytes, string.n);
    *text = (wr_text){with, n + string.n};
    return WR_OK;
}

wr_text wr_prompt_head(wr_text text)
{
    if (text.n <= WR_PROMPT_TEXT_MOST) return text;
    size_t n = WR_PROMPT_TEXT_MOST;
    while (n && ((unsigned char)text.bytes[n] & 0xc0) == 0x80) n--;
    return (wr_text){text.bytes, n};
}

wr_status wr_prompt_cut(const wr_tokenizer *tok, wr_text text, size_t tokens, wr_arena *arena, wr_text *out)
{
    wr_status st = WR_OK;
    size_t low = 0, high = text.n;
    *out = text;
    for (size_t middle = high; !st && low < high; middle = high - (high - low) / 2) {
        size_t mark = wr_arena_mark(arena);
        wr_tokens ids;
        st = wr_tokenizer_encode(tok, text.bytes, middle, arena, tokens, &ids);
        if (!st && ids.cut)
            high = middle - 1;
        else
            low = middle;
        wr_arena_rollback(arena, mark);
    }
    while (low && low < text.n && ((unsigned char)text.bytes[low] & 0xc0) == 0x80) low--;
    out->n = low;
    return st;
}

/* The unknown token is special where vocabularies have one, but it says nothing: a rare character becomes it. */
static bool next_special(const wr_tokenizer *tok, const wr_tokens *ids, size_t *at)
{
    int64_t unknown = wr_tokenizer_unknown(tok);
    while (*at < ids->n && (!wr_tokenizer_is_special(tok, ids->id[*at]) || ids->id[*at] == unknown)) ++*at;
    return *at < ids->n;
}

bool wr_prompt_same_specials(const wr_tokenizer *tok, const wr_tokens *a, const wr_tokens *b)
{
    for (size_t i = 0, j = 0;; i++, j++) {
        bool in_a = next_special(tok, a, &i), in_b = next_special(tok, b, &j);
        if (!in_a || !in_b) return in_a == in_b;
        if (a->id[i] != b->id[j]) return false;
    }
}

size_t wr_prompt_shared(const uint32_t *a, size_t na, const uint32_t *b, size_t nb)
{
    size_t n = na < nb ? na : nb, i = 0;
    while (i < n && a[i] == b[i]) i++;
    return i;
}
