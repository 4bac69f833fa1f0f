#include "models/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"

/* ---- GPT-2's alphabet */

/* Printable Latin-1 stands for itself; the other 68 bytes are U+0100.. in their order. */
static bool itself(unsigned byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

uint32_t wr_bpe_letter(unsigned char byte)
{
    if (itself(byte)) return byte;
    if (byte <= 32) return 0x100u + byte;
    return byte == 173 ? 0x143 : 0x121u + (byte - 127u);
}

int wr_bpe_byte_of(const char *s, size_t *len)
{
    uint32_t cp = wr_utf8_decode(s, strnlen(s, 4), len);
    if (cp < 0x100) return itself(cp) ? (int)cp : -1;
    if (cp <= 0x120) return (int)(cp - 0x100);
    if (cp <= 0x142) return (int)(cp - 0x121 + 127);
    return cp == 0x143 ? 173 : -1;
}

bool wr_bpe_is_bytes(const wr_bpe *bpe)
{
    return bpe->bytes;
}

/* ---- merges */

#define EMPTY UINT32_MAX

static uint64_t mix(uint32_t a, uint32_t b)
{
    uint64_t h = ((uint64_t)a << 32 | b) * UINT64_C(0x9E3779B97F4A7C15); /* 2^64 / the golden ratio */
    return (h ^ h >> 32) * UINT64_C(0xBF58476D1CE4E5B9);
}

wr_status wr_bpe_reserve(wr_bpe *bpe, size_t n)
{
    bpe->bits = 4;
    while (((size_t)1 << bpe->bits) < 2 * n) bpe->bits++;
    size_t slots = (size_t)1 << bpe->bits;
    bpe->merge = malloc(slots * sizeof *bpe->merge);
    if (!bpe->merge) return WR_ENOMEM;
    for (size_t i = 0; i < slots; i++) bpe->merge[i].id = EMPTY;
    return WR_OK;
}

/* Where the pair stands or would stand. */
static inline wr_merge *slot_of(const wr_bpe *bpe, uint32_t left, uint32_t right)
{
    size_t mask = ((size_t)1 << bpe->bits) - 1;
    for (size_t i = mix(left, right) >> (64 - bpe->bits);; i = (i + 1) & mask) {
        wr_merge *slot = &bpe->merge[i];
        if (slot->id == EMPTY || (slot->left == left && slot->right == right)) return slot;
    }
}

void wr_bpe_add_merge(wr_bpe *bpe, uint32_t left, uint32_t right, uint32_t rank, uint32_t id)
{
    wr_merge *slot = slot_of(bpe, left, right);
    bpe->nmerges += slot->id == EMPTY;
    *slot = (wr_merge){left, right, rank, id};
}

static int by_rank(const void *a, const void *b)
{
    const wr_merge *x = *(const wr_merge *const *)a, *y = *(const wr_merge *const *)b;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

size_t wr_bpe_merges(const wr_bpe *bpe, const wr_merge **sorted)
{
    size_t n = 0;
    for (size_t i = 0; i < (size_t)1 << bpe->bits; i++)
        if (bpe->merge[i].id != EMPTY) sorted[n++] = &bpe->merge[i];
    qsort(sorted, n, sizeof *sorted, by_rank);
    return n;
}

/* ---- pairs of characters that a merge may join */

#define SEEN_BITS 21 /* 256 KiB for some ten thousand pairs: one boundary in a hundred is taken for one by mistake */

static inline bool seen(const wr_bpe *bpe, uint32_t a, uint32_t b)
{
    uint64_t h = mix(a, b) >> (64 - SEEN_BITS);
    return bpe->seen[h / 64] >> h % 64 & 1;
}

static void see(wr_bpe *bpe, const char *token)
{
    uint32_t before = 0;
    size_t n = strlen(token);
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t cp = wr_utf8_decode(token + i, n - i, &len);
        if (i) {
            uint64_t h = mix(before, cp) >> (64 - SEEN_BITS);
            bpe->seen[h / 64] |= UINT64_C(1) << h % 64;
        }
        before = cp;
    }
}

/* ---- the first symbols of a word */

typedef struct wr_symbol {
    uint32_t id;
    uint32_t before, after; /* neighbours, NONE at the ends    */
    bool gone;              /* merged into the one before      */
} wr_symbol;

#define NONE UINT32_MAX

typedef struct wr_queued {
    uint64_t key; /* rank << 32 | position: what is merged first is lowest */
    uint32_t id;  /* what the merge makes                                  */
} wr_queued;

/* The token that is this one character, -1 when there is none. */
static int64_t single(const struct wr_tokenizer *tok, uint32_t cp)
{
    char code[4];
    if (cp < WR_QUICK) return (int64_t)tok->bpe->single[cp] - 1;
    return wr_vocab_id(&tok->vocab, code, wr_utf8_encode(cp, code));
}

/* Room for n symbols. What was there is not kept. */
static wr_status reserve(wr_bpe_work *w, size_t n)
{
    if (n <= w->cap) return WR_OK;
    if (n >= UINT32_MAX / 4) return WR_ENOMEM;
    size_t cap = n < 128 ? 128 : n + n / 2;
    w->symbol = wr_arena_alloc(w->ids->arena, cap * sizeof *w->symbol);
    w->queue = wr_arena_alloc(w->ids->arena, 2 * cap * sizeof *w->queue);
    w->cap = w->symbol && w->queue ? cap : 0;
    return w->cap ? WR_OK : WR_ENOMEM;
}

/* Symbols of a piece as they are put together. */
typedef struct first {
    const struct wr_tokenizer *tok;
    wr_symbol *symbol;
    size_t n;
    size_t unknown; /* characters without token that wait for their <unk> */
} first;

static void add(first *f, uint32_t id)
{
    f->symbol[f->n] = (wr_symbol){.id = id, .before = f->n ? (uint32_t)f->n - 1 : NONE, .after = (uint32_t)f->n + 1};
    f->n++;
}

/* As `tokenizers` does it: an <unk> is held back until the next character that has a token, bytes overtake it. */
static void add_character(first *f, uint32_t cp, int64_t id)
{
    const wr_bpe *bpe = f->tok->bpe;
    if (id >= 0) {
        if (f->unknown) add(f, (uint32_t)bpe->unk);
        f->unknown = 0;
        add(f, (uint32_t)id);
        return;
    }
    char code[4];
    size_t n = wr_utf8_encode(cp, code);
    bool all = bpe->byte_fallback;
    for (size_t i = 0; i < n && all; i++) all = bpe->byte_id[(unsigned char)code[i]] >= 0;
    for (size_t i = 0; i < n && all; i++) add(f, (uint32_t)bpe->byte_id[(unsigned char)code[i]]);
    if (all || bpe->unk < 0) return;
    if (f->unknown && !bpe->fuse_unk) add(f, (uint32_t)bpe->unk);
    f->unknown = 1;
}

/* ---- merging */

static void sift_up(wr_queued *queue, size_t at)
{
    wr_queued item = queue[at];
    for (size_t up; at; at = up) {
        up = (at - 1) / 2;
        if (queue[up].key <= item.key) break;
        queue[at] = queue[up];
    }
    queue[at] = item;
}

static void sift_down(wr_queued *queue, size_t n, wr_queued item)
{
    size_t at = 0;
    for (size_t down; (down = 2 * at + 1) < n; at = down) {
        if (down + 1 < n && queue[down + 1].key < queue[down].key) down++;
        if (item.key <= queue[down].key) break;
        queue[at] = queue[down];
    }
    queue[at] = item;
}

static void enqueue(const wr_bpe *bpe, wr_bpe_work *w, size_t *n, uint32_t at)
{
    const wr_symbol *left = &w->symbol[at];
    const wr_merge *merge = slot_of(bpe, left->id, w->symbol[left->after].id);
    if (merge->id == EMPTY) return;
    w->queue[*n] = (wr_queued){(uint64_t)merge->rank << 32 | at, merge->id};
    sift_up(w->queue, (*n)++);
}

/* symbol[0..n) are linked; those that are left are not gone. The queue never holds more than 2n: a merge takes one entry
 * out and puts at most two in, and there are fewer than n merges. */
static void merge_all(wr_bpe_work *w, size_t n)
{
    const wr_bpe *bpe = w->tok->bpe;
    size_t queued = 0;
    w->symbol[n - 1].after = NONE;
    for (uint32_t i = 0; i + 1 < n; i++) enqueue(bpe, w, &queued, i);
    while (queued) {
        wr_queued top = w->queue[0];
        if (--queued) sift_down(w->queue, queued, w->queue[queued]);
        uint32_t at = (uint32_t)top.key;
        wr_symbol *left = &w->symbol[at];
        if (left->gone || left->after == NONE) continue;
        wr_symbol *right = &w->symbol[left->after];
        if (slot_of(bpe, left->id, right->id)->id != top.id) continue;
        left->id = top.id;
        left->after = right->after;
        right->gone = true;
        if (right->after != NONE) w->symbol[right->after].before = at;
        if (left->before != NONE) enqueue(bpe, w, &queued, left->before);
        if (left->after != NONE) enqueue(bpe, w, &queued, at);
    }
}

static wr_status emit(wr_bpe_work *w, size_t n)
{
    if (!n) return WR_OK;
    if (n > 1) merge_all(w, n);
    for (size_t i = 0; i < n; i++) {
        if (w->symbol[i].gone) continue;
        wr_status st = wr_ids_put(w->ids, w->symbol[i].id);
        if (st) return st;
    }
    return WR_OK;
}

/* ---- words */

/* The next character of a word: of the alphabet where there is one. */
static uint32_t character(const wr_bpe *bpe, const char *word, size_t n, size_t at, size_t *len)
{
    unsigned char byte = (unsigned char)word[at];
    *len = 1;
    if (bpe->bytes) return wr_bpe_letter(byte);
    return byte < 0x80 ? byte : wr_utf8_decode(word + at, n - at, len);
}

/* Where a piece of the word that begins at `from` ends: no merge reaches across, and both neighbours are known, so that
 * no <unk> does. *symbols: how many it begins with, at most. */
static size_t piece_end(const wr_bpe_work *w, const char *word, size_t n, size_t from, size_t *symbols)
{
    const wr_bpe *bpe = w->tok->bpe;
    size_t len, at = from;
    uint32_t before = character(bpe, word, n, at, &len);
    for (at += len, *symbols = 1; at < n; at += len) {
        uint32_t cp = character(bpe, word, n, at, &len);
        if (!seen(bpe, before, cp) && single(w->tok, before) >= 0 && single(w->tok, cp) >= 0) return at;
        *symbols += single(w->tok, cp) >= 0 ? 1 : 4;
        before = cp;
    }
    return at;
}

static wr_status piece(wr_bpe_work *w, const char *word, size_t n, size_t symbols)
{
    wr_status st = reserve(w, symbols + 4);
    if (st) return st;
    first f = {.tok = w->tok, .symbol = w->symbol};
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t cp = character(w->tok->bpe, word, n, i, &len);
        add_character(&f, cp, single(w->tok, cp));
    }
    if (f.unknown) add(&f, (uint32_t)w->tok->bpe->unk);
    return emit(w, f.n);
}

#define WHOLE 256 /* bytes of a word that may be one token: the longest tokens in use are runs of 128 spaces */

/* The word's token where it is one as a whole, -1 where not. */
static int64_t token_of(const wr_bpe_work *w, const char *word, size_t n)
{
    const wr_vocab *vocab = &w->tok->vocab;
    if (n > vocab->longest[0]) return -1;
    if (!w->tok->bpe->bytes) return wr_vocab_id(vocab, word, n);
    char spelled[2 * WHOLE];
    size_t at = 0;
    if (n > WHOLE) return -1;
    for (size_t i = 0; i < n; i++) at += wr_utf8_encode(wr_bpe_letter((unsigned char)word[i]), spelled + at);
    return wr_vocab_id(vocab, spelled, at);
}

enum { NOT_ASKED, ONE_TOKEN, SEVERAL };

/* text[0..n) that no merge reaches across, by make(): or at once, where it is known to be one token. */
static wr_status known_or(wr_bpe_work *w, const char *text, size_t n, size_t symbols,
                          wr_status (*make)(wr_bpe_work *, const char *, size_t, size_t))
{
    const wr_bpe *bpe = w->tok->bpe;
    int64_t id = token_of(w, text, n);
    if (id < 0) return make(w, text, n, symbols);
    int what = atomic_load_explicit(&bpe->own[id], memory_order_relaxed);
    if (what == ONE_TOKEN) return wr_ids_put(w->ids, (uint32_t)id);
    size_t before = w->ids->n;
    wr_status st = make(w, text, n, symbols);
    if (what || st) return st;
    bool one = w->ids->n == before + 1 && w->ids->id[before] == id;
    atomic_store_explicit(&bpe->own[id], one ? ONE_TOKEN : SEVERAL, memory_order_relaxed);
    return st;
}

static wr_status pieces(wr_bpe_work *w, const char *word, size_t n, size_t symbols)
{
    const wr_bpe *bpe = w->tok->bpe;
    wr_status st = WR_OK;
    for (size_t at = 0; at < n && !st;) {
        if (w->ids->n == w->ids->max && bpe->whole) return WR_STOPPED; /* a piece gives one id at least */
        size_t end = piece_end(w, word, n, at, &symbols);
        st = bpe->bytes ? piece(w, word + at, end - at, symbols) : known_or(w, word + at, end - at, symbols, piece);
        at = end;
    }
    return st;
}

wr_status wr_bpe_word(wr_bpe_work *w, const char *word, size_t n)
{
    const wr_bpe *bpe = w->tok->bpe;
    if (!n) return WR_OK;
    if (w->ids->n == w->ids->max && bpe->whole) return WR_STOPPED;
    if (bpe->ignore_merges) {
        int64_t id = token_of(w, word, n);
        return id >= 0 ? wr_ids_put(w->ids, (uint32_t)id) : pieces(w, word, n, 0);
    }
    return bpe->bytes ? known_or(w, word, n, 0, pieces) : pieces(w, word, n, 0);
}

/* ---- texts */

static wr_status stretch(wr_bpe_work *w, const char *text, size_t n, bool at_start)
{
    wr_text normal;
    wr_added_walk walk = {0};
    wr_added_piece part;
    if (!n) return WR_OK;
    wr_status st = wr_normalize(&w->tok->bpe->normal, (wr_text){text, n}, w->ids->arena, &normal, NULL);
    if (!st && !w->tok->as_normalized.n) return wr_bpe_split(w, normal.bytes, normal.n, at_start);
    while (!st && wr_added_next(&w->tok->as_normalized, normal.bytes, normal.n, &walk, &part)) {
        st = wr_bpe_split(w, normal.bytes + part.start, part.n, at_start && !part.start);
        if (!st && part.token) st = wr_ids_put(w->ids, part.token->id);
    }
    return st;
}

wr_status wr_bpe_encode(const struct wr_tokenizer *tok, const char *text, size_t n, wr_ids *ids)
{
    wr_bpe_work w = {.tok = tok, .ids = ids};
    wr_added_walk walk = {0};
    wr_added_piece part;
    wr_status st = WR_OK;
    if (!wr_utf8_valid(text, n)) {
        char *valid = n <= SIZE_MAX / 3 ? wr_arena_alloc(ids->arena, 3 * n) : NULL;
        if (!valid) return WR_ENOMEM;
        n = wr_utf8_repair(text, n, valid);
        text = valid;
    }
    while (!st && wr_added_next(&tok->as_given, text, n, &walk, &part)) {
        st = stretch(&w, text + part.start, part.n, !part.start);
        if (!st && part.token) st = wr_ids_put(ids, part.token->id);
    }
    return st;
}

/* ---- tables */

wr_status wr_bpe_prepare(struct wr_tokenizer *tok)
{
    wr_bpe *bpe = tok->bpe;
    bool all_letters = true, all_bytes = true;
    bpe->seen = calloc((size_t)1 << (SEEN_BITS - 6), sizeof *bpe->seen);
    bpe->single = calloc(WR_QUICK, sizeof *bpe->single);
    bpe->own = calloc(tok->ids + 1, sizeof *bpe->own);
    if (!bpe->seen || !bpe->single || !bpe->own) return WR_ENOMEM;
    for (size_t i = 0; i < (size_t)1 << bpe->bits; i++)
        if (bpe->merge[i].id != EMPTY) see(bpe, wr_vocab_token(&tok->vocab, bpe->merge[i].id));
    for (uint32_t cp = 1; cp < WR_QUICK; cp++) {
        char code[4];
        bpe->single[cp] = (uint32_t)(wr_vocab_id(&tok->vocab, code, wr_utf8_encode(cp, code)) + 1);
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        static const char hex[] = "0123456789ABCDEF";
        char name[] = {'<', '0', 'x', hex[byte >> 4], hex[byte & 15], '>'};
        bpe->byte_id[byte] = wr_vocab_id(&tok->vocab, name, sizeof name);
        all_letters = all_letters && bpe->single[wr_bpe_letter((unsigned char)byte)];
        all_bytes = all_bytes && bpe->byte_id[byte] >= 0;
    }
    bpe->whole = bpe->unk >= 0 || (bpe->bytes && all_letters) || (bpe->byte_fallback && all_bytes);
    return WR_OK;
}

void wr_bpe_free(wr_bpe *bpe)
{
    if (!bpe) return;
    wr_normal_release(&bpe->normal);
    for (size_t i = 0; i < bpe->nstages; i++) wr_pattern_free(bpe->stage[i].pattern);
    free(bpe->stage);
    free(bpe->merge);
    free(bpe->seen);
    free(bpe->single);
    free((void *)bpe->own);
    free(bpe);
}
