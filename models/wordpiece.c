#include "models/wordpiece.h"

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

size_t wr_wordpiece_normalize(const wr_fold *fold, const char *text, size_t n, char *out, size_t *origin)
{
    size_t at = 0, from = 0;
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t code[FOLD_MAX];
        bool barrier;
        size_t count = fold_code(fold, wr_utf8_decode(text + i, n - i, &len), code, &barrier), before = at;
        for (size_t j = 0; j < count; j++) {
            if (fold->strip)
                at = append_ordered(out, at, from, code[j]);
            else
                at += wr_utf8_encode(code[j], out + at);
        }
        for (; origin && before < at; before++) origin[before] = i;
        if (barrier) from = at;
    }
    return at;
}

/* ---- words */

/* A text on its way: ids found so far, and the word being read. */
typedef struct walk {
    const wr_tokenizer *tok;
    wr_ids ids;
    size_t chars;   /* of the word, all of them                                         */
    size_t bytes;   /* of the word, as long as chars <= max_chars                       */
    size_t barrier; /* bytes of the word before which marks do not move                 */
    char word[WR_MAX_WORD_BYTES];
} walk;

static wr_status end_word(walk *w)
{
    size_t chars = w->chars, bytes = w->bytes;
    if (!chars) return WR_OK;
    w->chars = w->bytes = w->barrier = 0;
    if (w->ids.n == w->ids.max) return WR_STOPPED;
    uint32_t id[WR_MAX_WORD_BYTES];
    size_t n = chars <= w->tok->max_chars ? wr_vocab_cut(&w->tok->vocab, w->word, bytes, id) : 0;
    if (!n) return wr_ids_put(&w->ids, w->tok->unk);
    for (size_t i = 0; i < n; i++) {
        wr_status st = wr_ids_put(&w->ids, id[i]);
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
        if (i >= passed && how->added->begin[first] < how->added->begin[first + 1]) {
            bool stands;
            const wr_added *token = wr_added_at(how->added, text, n, i, &stands);
            if (token) passed = i + token->n;
            if (token && stands) {
                size_t stop = wr_added_after(token, text, n, passed, done);
                len = token->n;
                st = end_word(w);
                /* One that lies in white space which the token before it took, and takes some itself, is lost. */
                if (!st && !(token->lstrip && done >= stop)) st = wr_ids_put(&w->ids, token->id);
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
    char *plain = wr_arena_alloc(w->ids.arena, size);
    if (!plain) return WR_ENOMEM;
    return split(w, &w->tok->plain, plain, wr_wordpiece_normalize(&w->tok->raw.fold, text, n, plain, NULL));
}

static wr_status split_twice(walk *w, const char *text, size_t n)
{
    wr_added_walk walked = {0};
    wr_added_piece piece;
    wr_status st = WR_OK;
    while (!st && wr_added_next(&w->tok->as_given, text, n, &walked, &piece)) {
        st = split_stretch(w, text + piece.start, piece.n);
        if (!st && piece.token) st = wr_ids_put(&w->ids, piece.token->id);
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
        bool token = how->added->begin[first] < how->added->begin[first + 1];
        how->quick[cp] = token ? ENTRY(TOKEN, cp) : entry_of(&how->fold, cp);
    }
}

void wr_wordpiece_prepare(struct wr_tokenizer *tok)
{
    tok->raw.added = &tok->as_given;
    tok->plain.added = &tok->as_normalized;
    tabulate(&tok->raw);
    tabulate(&tok->plain);
}

wr_status wr_wordpiece_encode(const struct wr_tokenizer *tok, const char *text, size_t n, wr_ids *ids)
{
    walk w;
    w.tok = tok, w.ids = *ids;
    w.chars = w.bytes = w.barrier = 0;
    wr_status st = tok->as_normalized.n ? split_twice(&w, text, n) : split(&w, &tok->raw, text, n);
    *ids = w.ids;
    return st;
}
