#include "models/wordpiece.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"
#include "models/unicode.h"

/* What one code point means for the words, in the top byte of an entry; the code point it becomes stands below. */
enum kind {
    LETTER,  /* goes on with the word                                           */
    SPACE,   /* ends the word                                                   */
    ALONE,   /* ends the word and is one itself                                 */
    DROP,    /* vanishes                                                        */
    SEVERAL, /* becomes several code points, or its place among marks matters */
    TOKEN    /* an added token may begin here                                   */
};

#define ENTRY(kind, cp) ((uint32_t)(kind) << 24 | (cp))
#define KIND(entry) ((enum kind)((entry) >> 24))
#define CODE(entry) ((entry)&0xFFFFFFu)

/* ---- normaliser */

#define FOLD_MAX (2 + WR_NFD_MAX * WR_LOWER_MAX) /* a space on either side of a CJK character */

/* BertNormalizer on one code point: what it becomes, in out[]. *barrier: a starter that is dropped after the order of
 * marks is settled, so that marks do not move across its place. */
static size_t fold_code(const wr_fold *fold, uint32_t cp, uint32_t out[FOLD_MAX], bool *barrier)
{
    *barrier = false;
    if (fold->clean && wr_unicode_is_control(cp)) return 0;
    if (fold->clean && wr_unicode_is_space(cp)) return out[0] = ' ', 1;
    bool han = fold->han && wr_unicode_is_han(cp);
    uint32_t part[WR_NFD_MAX] = {cp};
    size_t n = fold->strip ? wr_unicode_nfd(cp, part) : 1, count = 0;
    if (han) out[count++] = ' ';
    for (size_t i = 0; i < n; i++) {
        if (fold->strip && wr_unicode_is_mark(part[i])) {
            *barrier = *barrier || !wr_unicode_order(part[i]);
            continue;
        }
        if (fold->lower)
            count += wr_unicode_lower(part[i], out + count);
        else
            out[count++] = part[i];
    }
    if (han) out[count++] = ' ';
    return count;
}

static enum kind kind_of(uint32_t cp)
{
    if (wr_unicode_is_space(cp)) return SPACE;
    return wr_unicode_is_punct(cp) ? ALONE : LETTER;
}

static uint32_t entry_of(const wr_fold *fold, uint32_t cp)
{
    uint32_t out[FOLD_MAX];
    bool barrier;
    size_t n = fold_code(fold, cp, out, &barrier);
    if (n == 0) return ENTRY(barrier ? SEVERAL : DROP, cp);
    if (n == 3 && out[0] == ' ' && out[2] == ' ') return ENTRY(ALONE, out[1]);
    if (n > 1 || (fold->strip && wr_unicode_order(out[0]))) return ENTRY(SEVERAL, cp);
    return ENTRY(kind_of(out[0]), out[0]);
}

/* Appends cp at buf[n]. Marks that follow one starter stand in the order of their class: a mark moves before those of a
 * higher one, at most down to `from`, and never farther than a word that is not unknown is long: a text of nothing but
 * marks would take quadratic time. */
static size_t append_ordered(char *buf, size_t n, size_t from, uint32_t cp)
{
    unsigned order = wr_unicode_order(cp);
    size_t at = n, step, len;
    if (from + WR_MAX_WORD_BYTES < n) from = n - WR_MAX_WORD_BYTES;
    while (order && at > from) {
        size_t before = at - 1;
        while (before > from && ((unsigned char)buf[before] & 0xC0) == 0x80) before--;
        if (wr_unicode_order(wr_utf8_decode(buf + before, at - before, &step)) <= order) break;
        at = before;
    }
    char code[4];
    len = wr_utf8_encode(cp, code);
    memmove(buf + at + len, buf + at, n - at);
    memcpy(buf + at, code, len);
    return n + len;
}

size_t wr_wordpiece_normalize(const wr_fold *fold, const char *text, size_t n, char *out)
{
    size_t at = 0, from = 0;
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t code[FOLD_MAX];
        bool barrier;
        size_t count = fold_code(fold, wr_utf8_decode(text + i, n - i, &len), code, &barrier);
        for (size_t j = 0; j < count; j++) {
            if (fold->strip)
                at = append_ordered(out, at, from, code[j]);
            else
                at += wr_utf8_encode(code[j], out + at);
        }
        if (barrier) from = at;
    }
    return at;
}

/* ---- words */

/* A text on its way: ids found so far, and the word being read. */
typedef struct walk {
    const wr_tokenizer *tok;
    wr_arena *arena;
    uint32_t *id;
    size_t n, cap, max;
    size_t chars;   /* of the word, all of them                                         */
    size_t bytes;   /* of the word, as long as chars <= max_chars                       */
    size_t barrier; /* bytes of the word before which marks do not move                 */
    char word[WR_MAX_WORD_BYTES];
} walk;

/* An arena hands out neighbours, so an array that ends on its last allocation grows where it stands. */
static wr_status grow(walk *w)
{
    size_t unit = WR_ARENA_ALIGN / sizeof *w->id;
    size_t more = (w->cap + unit) / unit * unit;
    uint32_t *next = wr_arena_alloc(w->arena, more * sizeof *next);
    if (!next) return WR_ENOMEM;
    if (w->id && next != w->id + w->cap) {
        next = wr_arena_alloc(w->arena, (w->cap + more) * sizeof *next);
        if (!next) return WR_ENOMEM;
        memcpy(next, w->id, w->n * sizeof *next);
        w->id = next;
    }
    if (!w->id) w->id = next;
    w->cap += more;
    return WR_OK;
}

/* WR_STOPPED when id is one too many. */
static wr_status put(walk *w, uint32_t id)
{
    if (w->n == w->max) return WR_STOPPED;
    if (w->n == w->cap) {
        wr_status st = grow(w);
        if (st) return st;
    }
    w->id[w->n++] = id;
    return WR_OK;
}

static wr_status end_word(walk *w)
{
    size_t chars = w->chars, bytes = w->bytes;
    if (!chars) return WR_OK;
    w->chars = w->bytes = w->barrier = 0;
    if (w->n == w->max) return WR_STOPPED;
    uint32_t id[WR_MAX_WORD_BYTES];
    size_t n = chars <= w->tok->max_chars ? wr_vocab_cut(&w->tok->vocab, w->word, bytes, id) : 0;
    if (!n) return put(w, w->tok->unk);
    for (size_t i = 0; i < n; i++) {
        wr_status st = put(w, id[i]);
        if (st) return st;
    }
    return WR_OK;
}

static inline void letter(walk *w, uint32_t cp)
{
    if (++w->chars > w->tok->max_chars) return;
    if (cp < 0x80)
        w->word[w->bytes++] = (char)cp;
    else
        w->bytes += wr_utf8_encode(cp, w->word + w->bytes);
}

static wr_status alone(walk *w, uint32_t cp)
{
    wr_status st = end_word(w);
    if (st) return st;
    letter(w, cp);
    return end_word(w);
}

/* The slow road: whatever fold_code() makes of cp, each part by its own kind, marks in their order. */
static wr_status several(walk *w, const wr_fold *fold, uint32_t cp)
{
    uint32_t out[FOLD_MAX];
    bool barrier;
    wr_status st = WR_OK;
    size_t n = fold_code(fold, cp, out, &barrier);
    for (size_t i = 0; i < n && !st; i++) {
        enum kind kind = kind_of(out[i]);
        if (kind == SPACE)
            st = end_word(w);
        else if (kind == ALONE)
            st = alone(w, out[i]);
        else if (++w->chars <= w->tok->max_chars && fold->strip)
            w->bytes = append_ordered(w->word, w->bytes, w->barrier, out[i]);
        else if (w->chars <= w->tok->max_chars)
            w->bytes += wr_utf8_encode(out[i], w->word + w->bytes);
    }
    if (barrier) w->barrier = w->bytes;
    return st;
}

static wr_status step(walk *w, const wr_fold *fold, uint32_t entry)
{
    switch (KIND(entry)) {
    case LETTER:
        letter(w, CODE(entry));
        return WR_OK;
    case SPACE:
        return end_word(w);
    case ALONE:
        return alone(w, CODE(entry));
    case SEVERAL:
        return several(w, fold, CODE(entry));
    default:
        return WR_OK;
    }
}

/* All words and added tokens of text[0..n). */
static wr_status split(walk *w, const wr_splitter *how, const char *text, size_t n)
{
    wr_status st = WR_OK;
    size_t passed = 0; /* no added token is looked for before this place                         */
    size_t done = 0;   /* text before this place belongs to an added token or to its white space */
    for (size_t i = 0, len; i < n && !st; i += len) {
        uint32_t cp = (unsigned char)text[i];
        len = 1;
        if (cp >= 0x80) cp = wr_utf8_decode(text + i, n - i, &len);
        uint32_t entry = cp < WR_QUICK ? how->quick[cp] : 0;
        if (KIND(entry) == LETTER && cp < WR_QUICK) {
            letter(w, CODE(entry));
            continue;
        }
        unsigned char first = (unsigned char)text[i];
        if (i >= passed && how->added.begin[first] < how->added.begin[first + 1]) {
            bool stands;
            const wr_added *token = wr_added_at(&how->added, text, n, i, &stands);
            if (token) passed = i + token->n;
            if (token && stands) {
                size_t stop = wr_added_after(token, text, n, passed, done);
                len = token->n;
                st = end_word(w);
                /* One that lies in white space which the token before it took, and takes some itself, is lost. */
                if (!st && !(token->lstrip && done >= stop)) st = put(w, token->id);
                done = stop;
                continue;
            }
        }
        if (cp >= WR_QUICK || KIND(entry) == TOKEN) entry = entry_of(&how->fold, cp);
        st = step(w, &how->fold, entry);
    }
    return st ? st : end_word(w);
}

/* Added tokens that are looked for in normalised text: every stretch between raw ones is normalised, then split. */
static wr_status split_stretch(walk *w, const char *text, size_t n)
{
    if (!n) return WR_OK;
    size_t size;
    if (__builtin_mul_overflow(n, (size_t)3, &size)) return WR_ENOMEM;
    char *plain = wr_arena_alloc(w->arena, size);
    if (!plain) return WR_ENOMEM;
    return split(w, &w->tok->plain, plain, wr_wordpiece_normalize(&w->tok->raw.fold, text, n, plain));
}

static wr_status split_twice(walk *w, const char *text, size_t n)
{
    wr_added_walk walked = {0};
    wr_added_piece piece;
    wr_status st = WR_OK;
    while (!st && wr_added_next(&w->tok->raw.added, text, n, &walked, &piece)) {
        st = split_stretch(w, text + piece.start, piece.n);
        if (!st && piece.token) st = put(w, piece.token->id);
    }
    return st;
}

/* ---- the tables */

static void tabulate(wr_splitter *how)
{
    for (uint32_t cp = 0; cp < WR_QUICK; cp++) {
        char code[4];
        wr_utf8_encode(cp, code);
        unsigned char first = (unsigned char)code[0];
        bool token = how->added.begin[first] < how->added.begin[first + 1];
        how->quick[cp] = token ? ENTRY(TOKEN, cp) : entry_of(&how->fold, cp);
    }
}

wr_status wr_wordpiece_prepare(struct wr_tokenizer *tok)
{
    wr_status st = wr_added_collect(&tok->raw.added, tok->added, tok->nadded, false);
    if (!st) st = wr_added_collect(&tok->plain.added, tok->added, tok->nadded, true);
    if (st) return st;
    tabulate(&tok->raw);
    tabulate(&tok->plain);
    return WR_OK;
}

/* ---- what tokenizer.h promises */

static wr_status run(walk *w, const char *text, size_t n, wr_tokens *out)
{
    wr_status st = w->tok->plain.added.n ? split_twice(w, text, n) : split(w, &w->tok->raw, text, n);
    if (st >= 0 && !w->id && grow(w)) st = WR_ENOMEM;
    if (st < 0) return st;
    *out = (wr_tokens){w->id, w->n, st == WR_STOPPED};
    return WR_OK;
}

wr_status wr_tokenizer_encode(const wr_tokenizer *tok, const char *text, size_t n, wr_arena *arena, size_t max,
                              wr_tokens *out)
{
    *out = (wr_tokens){0};
    walk w;
    w.tok = tok, w.arena = arena, w.id = NULL;
    w.n = w.cap = w.chars = w.bytes = w.barrier = 0;
    w.max = max;
    return run(&w, text, n, out);
}

wr_status wr_tokenizer_single(const wr_tokenizer *tok, const char *text, size_t n, wr_arena *arena, size_t max,
                              wr_tokens *out)
{
    *out = (wr_tokens){0};
    assert(max >= 2);
    walk w;
    w.tok = tok, w.arena = arena, w.id = NULL;
    w.n = w.cap = w.chars = w.bytes = w.barrier = 0;
    w.max = max;
    wr_status st = tok->single.before >= 0 ? put(&w, (uint32_t)tok->single.before) : WR_OK;
    if (st) return st;
    w.max = tok->single.after >= 0 ? max - 1 : max;
    st = run(&w, text, n, out);
    w.max = max;
    if (!st && tok->single.after >= 0) st = put(&w, (uint32_t)tok->single.after);
    if (st) return *out = (wr_tokens){0}, st;
    *out = (wr_tokens){w.id, w.n, out->cut};
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
