#include "models/tokenizer.h"

#include <assert.h>
#include <string.h>

#include "models/bpe.h"
#include "models/tokenizer_parts.h"
#include "models/wordpiece.h"

/* An arena hands out neighbours, so an array that ends on its last allocation grows where it stands. */
wr_status wr_ids_grow(wr_ids *ids)
{
    size_t unit = WR_ARENA_ALIGN / sizeof *ids->id;
    size_t more = (ids->cap + unit) / unit * unit;
    uint32_t *next = wr_arena_alloc(ids->arena, more * sizeof *next);
    if (!next) return WR_ENOMEM;
    if (ids->id && next != ids->id + ids->cap) {
        next = wr_arena_alloc(ids->arena, (ids->cap + more) * sizeof *next);
        if (!next) return WR_ENOMEM;
        memcpy(next, ids->id, ids->n * sizeof *next);
        ids->id = next;
    }
    if (!ids->id) ids->id = next;
    ids->cap += more;
    return WR_OK;
}

static wr_status run(const wr_tokenizer *tok, const char *text, size_t n, wr_ids *ids)
{
    wr_status st = tok->bpe ? wr_bpe_encode(tok, text, n, ids) : wr_wordpiece_encode(tok, text, n, ids);
    return st >= 0 && !ids->id ? wr_ids_grow(ids) ? WR_ENOMEM : st : st;
}

/* BPE leaves its working memory between the ids: they move down to where it began. */
static void settle(wr_ids *ids, size_t mark)
{
    wr_arena_rollback(ids->arena, mark);
    uint32_t *low = wr_arena_alloc(ids->arena, (size_t)((unsigned char *)(ids->id + ids->n) - ids->arena->base) - mark);
    memmove(low, ids->id, ids->n * sizeof *low);
    wr_arena_rollback(ids->arena, mark);
    ids->id = wr_arena_alloc(ids->arena, ids->n * sizeof *low);
    ids->cap = ids->n;
}

wr_status wr_tokenizer_encode(const wr_tokenizer *tok, const char *text, size_t n, wr_arena *arena, size_t max,
                              wr_tokens *out)
{
    size_t mark = wr_arena_mark(arena);
    wr_ids ids = {.arena = arena, .max = max};
    *out = (wr_tokens){0};
    wr_status st = run(tok, text, n, &ids);
    if (st < 0) return st;
    if (tok->bpe) settle(&ids, mark);
    *out = (wr_tokens){ids.id, ids.n, st == WR_STOPPED};
    return WR_OK;
}

wr_status wr_tokenizer_single(const wr_tokenizer *tok, const char *text, size_t n, wr_arena *arena, size_t max,
                              wr_tokens *out)
{
    size_t mark = wr_arena_mark(arena);
    wr_ids ids = {.arena = arena, .max = max};
    const wr_template *t = &tok->single;
    *out = (wr_tokens){0};
    assert(max >= 2);
    wr_status st = t->before >= 0 ? wr_ids_put(&ids, (uint32_t)t->before) : WR_OK;
    if (st) return st;
    ids.max = t->after >= 0 ? max - 1 : max;
    st = run(tok, text, n, &ids);
    if (st < 0) return st;
    bool cut = st == WR_STOPPED;
    ids.max = max;
    if (t->after >= 0 && (st = wr_ids_put(&ids, (uint32_t)t->after))) return st;
    if (tok->bpe) settle(&ids, mark);
    *out = (wr_tokens){ids.id, ids.n, cut};
    return WR_OK;
}

wr_tokens wr_tokens_first(const wr_tokens *tokens, size_t max)
{
    bool more = tokens->n > max;
    return (wr_tokens){tokens->id, more ? max : tokens->n, tokens->cut || more};
}

size_t wr_tokenizer_single_ids(const wr_tokenizer *tok, const wr_tokens *ids, size_t max, uint32_t *id, bool *cut)
{
    const wr_template *t = &tok->single;
    size_t specials = (size_t)(t->before >= 0) + (t->after >= 0), n = 0;
    wr_tokens kept = wr_tokens_first(ids, max > specials ? max - specials : 0);
    if (cut) *cut = kept.cut;
    if (!id) return kept.n + specials;
    if (t->before >= 0) id[n++] = (uint32_t)t->before;
    if (kept.n) memcpy(id + n, kept.id, kept.n * sizeof *id);
    n += kept.n;
    if (t->after >= 0) id[n++] = (uint32_t)t->after;
    return n;
}

/* How many tokens of either part stay, as `tokenizers` decides it (truncation, longest_first): the shorter part stays
 * whole when it fits beside half of the room; where both are cut, each gets half, and an odd one goes to the longer
 * part, the second when they are equal. */
static void share(size_t *na, size_t *nb, size_t room)
{
    size_t total;
    if (!__builtin_add_overflow(*na, *nb, &total) && total <= room) return;
    bool swap = *na > *nb;
    size_t shorter = swap ? *nb : *na, longer;
    if (shorter > room / 2) {
        shorter = room / 2;
        longer = room - shorter;
    } else {
        longer = room - shorter;
    }
    *na = swap ? longer : shorter;
    *nb = swap ? shorter : longer;
}

size_t wr_tokenizer_pair(const wr_tokenizer *tok, const wr_tokens *a, const wr_tokens *b, size_t max, uint32_t *id,
                         uint8_t *type, bool *cut)
{
    const wr_template *t = &tok->pair;
    size_t specials = (size_t)(t->before >= 0) + (t->between >= 0) + (t->after >= 0);
    size_t room = max > specials ? max - specials : 0, na = a->n, nb = b->n, n = 0;
    share(&na, &nb, room);
    *cut = na < a->n || nb < b->n || a->cut || b->cut;
    if (t->before >= 0 && n < max) id[n] = (uint32_t)t->before, type[n++] = t->before_type;
    for (size_t i = 0; i < na; i++) id[n] = a->id[i], type[n++] = t->a_type;
    if (t->between >= 0 && n < max) id[n] = (uint32_t)t->between, type[n++] = t->between_type;
    for (size_t i = 0; i < nb; i++) id[n] = b->id[i], type[n++] = t->b_type;
    if (t->after >= 0 && n < max) id[n] = (uint32_t)t->after, type[n++] = t->after_type;
    return n;
}

size_t wr_tokenizer_parts(const wr_tokenizer *tok, const wr_tokens *a, const wr_tokens *b, size_t max, uint32_t *id,
                          uint8_t *type, bool *cut)
{
    const wr_template *t = &tok->single;
    size_t specials = 2 * ((size_t)(t->before >= 0) + (t->after >= 0));
    size_t na = a->n, nb = b->n, n = 0;
    share(&na, &nb, max > specials ? max - specials : 0);
    *cut = na < a->n || nb < b->n || a->cut || b->cut;
    for (uint8_t part = 0; part < 2; part++) {
        const uint32_t *from = part ? b->id : a->id;
        size_t many = part ? nb : na;
        if (t->before >= 0 && n < max) id[n] = (uint32_t)t->before, type[n++] = part;
        for (size_t i = 0; i < many; i++) id[n] = from[i], type[n++] = part;
        if (t->after >= 0 && n < max) id[n] = (uint32_t)t->after, type[n++] = part;
    }
    return n;
}

static const wr_added *added_by_id(const wr_tokenizer *tok, uint32_t id)
{
    size_t lo = 0, hi = tok->nadded;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (tok->added[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < tok->nadded && tok->added[lo].id == id ? &tok->added[lo] : NULL;
}

size_t wr_tokenizer_vocab_size(const wr_tokenizer *tok)
{
    return tok->ids;
}

const char *wr_tokenizer_token(const wr_tokenizer *tok, uint32_t id)
{
    const char *token = wr_vocab_token(&tok->vocab, id);
    if (token) return token;
    const wr_added *added = added_by_id(tok, id);
    return added ? added->content : NULL;
}

int64_t wr_tokenizer_id(const wr_tokenizer *tok, const char *token)
{
    int64_t id = wr_vocab_id(&tok->vocab, token, strlen(token));
    for (size_t i = 0; id < 0 && i < tok->nadded; i++)
        if (!strcmp(tok->added[i].content, token)) id = tok->added[i].id;
    return id;
}

bool wr_tokenizer_is_special(const wr_tokenizer *tok, uint32_t id)
{
    const wr_added *added = added_by_id(tok, id);
    return added && added->special;
}

int64_t wr_tokenizer_unknown(const wr_tokenizer *tok)
{
    return tok->bpe ? tok->bpe->unk : (int64_t)tok->unk;
}

const char *wr_tokenizer_sha256(const wr_tokenizer *tok)
{
    return tok->sha256;
}

/* ---- from ids back to bytes */

/* What "<0x0A>" stands for, -1 when the token is no such thing. */
static int byte_named(const char *token)
{
    static const char hex[] = "0123456789ABCDEF";
    if (strlen(token) != 6 || strncmp(token, "<0x", 3) || token[5] != '>') return -1;
    const char *high = strchr(hex, token[3]), *low = strchr(hex, token[4]);
    return high && low ? (int)(high - hex) << 4 | (int)(low - hex) : -1;
}

/* Copies what fits; counts all. */
static void put(char *out, size_t cap, size_t *n, char byte)
{
    if (*n < cap) out[*n] = byte;
    ++*n;
}

static size_t whole(const char *s, char *out, size_t cap)
{
    size_t n = strlen(s);
    if (cap && n) memcpy(out, s, n < cap ? n : cap);
    return n;
}

size_t wr_tokenizer_bytes(const wr_tokenizer *tok, uint32_t id, char *out, size_t cap)
{
    static const char mark[] = "\xE2\x96\x81";
    const wr_added *added = added_by_id(tok, id);
    if (added) return whole(added->content, out, cap);
    const char *token = wr_tokenizer_token(tok, id);
    if (!token) return 0;
    if (!tok->bpe) {
        size_t skip = tok->vocab.prefix_n;
        return whole(token + (!strncmp(token, tok->vocab.prefix, skip) && token[skip] ? skip : 0), out, cap);
    }
    size_t n = 0;
    if (wr_bpe_is_bytes(tok->bpe)) {
        for (int byte; *token;) {
            size_t len = 1;
            if ((byte = wr_bpe_byte_of(token, &len)) >= 0)
                put(out, cap, &n, (char)byte);
            else
                for (size_t i = 0; i < len; i++) put(out, cap, &n, token[i]);
            token += len;
        }
        return n;
    }
    int byte = byte_named(token);
    if (byte >= 0) put(out, cap, &n, (char)byte);
    for (; byte < 0 && *token; token++) {
        bool space = !strncmp(token, mark, 3);
        put(out, cap, &n, space ? ' ' : *token);
        if (space) token += 2;
    }
    return n;
}

const char *wr_tokenizer_kind(const wr_tokenizer *tok)
{
    return !tok->bpe ? "WordPiece" : tok->bpe->bytes ? "byte-level BPE" : "SentencePiece BPE";
}
