#include "models/vocab.h"

#include <stdlib.h>
#include <string.h>

/* Any odd number with well-mixed bits will do: this is 2^64 divided by the golden ratio. */
#define BASE UINT64_C(0x9E3779B97F4A7C15)

/* Continuing tokens live in the same table under another hash. */
#define CONTINUING UINT64_C(0xD1B54A32D192ED03)

#define MAX_TOKEN ((size_t)1 << 20)

void wr_vocab_release(wr_vocab *vocab)
{
    free(vocab->text);
    free(vocab->entry);
    free(vocab->slot);
    free(vocab->by_id);
    free(vocab->power);
    free(vocab->prefix);
    *vocab = (wr_vocab){0};
}

/* Makes room for `more` elements of `size` bytes behind n. */
static bool reserve(void **at, size_t *cap, size_t n, size_t more, size_t size)
{
    if (more <= *cap - n) return true;
    size_t want = *cap ? *cap * 2 : 1024;
    while (want - n < more) want *= 2;
    void *bigger = realloc(*at, want * size);
    if (!bigger) return false;
    *at = bigger;
    *cap = want;
    return true;
}

static bool place_id(wr_vocab *vocab, uint32_t id, uint32_t entry)
{
    if (id >= vocab->ids) {
        size_t more = (size_t)id + 1 - vocab->ids;
        void *by_id = vocab->by_id;
        bool room = reserve(&by_id, &vocab->ids_cap, vocab->ids, more, sizeof *vocab->by_id);
        vocab->by_id = by_id;
        if (!room) return false;
        memset(vocab->by_id + vocab->ids, 0, more * sizeof *vocab->by_id);
        vocab->ids += more;
    }
    vocab->by_id[id] = entry + 1;
    return true;
}

wr_status wr_vocab_add(wr_vocab *vocab, const char *token, size_t n, uint32_t id)
{
    if (id >= WR_VOCAB_MAX_ID || n > MAX_TOKEN || vocab->n >= WR_VOCAB_MAX_ID) return WR_EFORMAT;
    if (id < vocab->ids && vocab->by_id[id]) return WR_EFORMAT;
    if (vocab->text_n + n + 1 > UINT32_MAX) return WR_EFORMAT;
    void *text = vocab->text, *entry = vocab->entry;
    bool room = reserve(&text, &vocab->text_cap, vocab->text_n, n + 1, 1);
    vocab->text = text;
    room = room && reserve(&entry, &vocab->cap, vocab->n, 1, sizeof *vocab->entry);
    vocab->entry = entry;
    if (!room || !place_id(vocab, id, (uint32_t)vocab->n)) return WR_ENOMEM;
    memcpy(vocab->text + vocab->text_n, token, n);
    vocab->text[vocab->text_n + n] = '\0';
    vocab->entry[vocab->n++] = (wr_vocab_entry){(uint32_t)vocab->text_n, (uint32_t)n, id};
    vocab->text_n += n + 1;
    return WR_OK;
}

static uint64_t hash_of(const char *s, size_t n)
{
    uint64_t h = 0;
    for (size_t i = 0; i < n; i++) h = h * BASE + (unsigned char)s[i] + 1;
    return h;
}

/* The polynomial's low bits are weak; a multiplication carries them up, and the slot is taken from above. */
static inline uint64_t mix(uint64_t h, bool continuing)
{
    if (continuing) h ^= CONTINUING;
    h ^= h >> 32;
    return h * UINT64_C(0xBF58476D1CE4E5B9);
}

/* The slot that holds exactly s[0..n), whose hash is h, or the empty one where it would stand. */
static inline size_t probe(const wr_vocab *vocab, uint64_t h, const char *s, size_t n, bool continuing)
{
    uint64_t m = mix(h, continuing);
    uint32_t tag = (uint32_t)m;
    size_t mask = ((size_t)1 << vocab->bits) - 1;
    size_t skip = continuing ? vocab->prefix_n : 0;
    for (size_t i = m >> (64 - vocab->bits);; i = (i + 1) & mask) {
        wr_vocab_slot slot = vocab->slot[i];
        if (!slot.entry) return i;
        if (slot.tag != tag || (slot.entry & 1) != continuing) continue;
        const wr_vocab_entry *entry = &vocab->entry[(slot.entry >> 1) - 1];
        if (entry->n - skip == n && !memcmp(vocab->text + entry->offset + skip, s, n)) return i;
    }
}

static bool insert(wr_vocab *vocab, uint32_t index, const char *s, size_t n, bool continuing)
{
    uint64_t h = hash_of(s, n);
    wr_vocab_slot *slot = &vocab->slot[probe(vocab, h, s, n, continuing)];
    bool fresh = !slot->entry;
    *slot = (wr_vocab_slot){(uint32_t)mix(h, continuing), (index + 1) << 1 | continuing};
    if (n > vocab->longest[continuing]) vocab->longest[continuing] = n;
    return fresh;
}

wr_status wr_vocab_seal(wr_vocab *vocab, const char *prefix)
{
    size_t prefix_n = prefix ? strlen(prefix) : 0;
    if (prefix && !(vocab->prefix = strdup(prefix))) return WR_ENOMEM;
    vocab->prefix_n = prefix_n;
    vocab->bits = 4;
    while (((size_t)1 << vocab->bits) < 4 * vocab->n) vocab->bits++; /* at most half full with both kinds */
    vocab->slot = calloc((size_t)1 << vocab->bits, sizeof *vocab->slot);
    if (!vocab->slot) return WR_ENOMEM;
    for (size_t i = 0; i < vocab->n; i++) {
        const char *s = vocab->text + vocab->entry[i].offset;
        size_t n = vocab->entry[i].n;
        vocab->tokens += insert(vocab, (uint32_t)i, s, n, false);
        if (prefix && n > prefix_n && !memcmp(s, prefix, prefix_n))
            insert(vocab, (uint32_t)i, s + prefix_n, n - prefix_n, true);
    }
    size_t longest = vocab->longest[0] > vocab->longest[1] ? vocab->longest[0] : vocab->longest[1];
    vocab->power = malloc((longest + 1) * sizeof *vocab->power);
    if (!vocab->power) return WR_ENOMEM;
    vocab->power[0] = 1;
    for (size_t i = 0; i < longest; i++) vocab->power[i + 1] = vocab->power[i] * BASE;
    return WR_OK;
}

static inline uint32_t found_at(const wr_vocab *vocab, size_t slot)
{
    return vocab->slot[slot].entry >> 1;
}

int64_t wr_vocab_id(const wr_vocab *vocab, const char *token, size_t n)
{
    uint32_t found = found_at(vocab, probe(vocab, hash_of(token, n), token, n, false));
    return found ? (int64_t)vocab->entry[found - 1].id : -1;
}

const char *wr_vocab_token(const wr_vocab *vocab, uint32_t id)
{
    if (id >= vocab->ids || !vocab->by_id[id]) return NULL;
    return vocab->text + vocab->entry[vocab->by_id[id] - 1].offset;
}

size_t wr_vocab_cut(const wr_vocab *vocab, const char *word, size_t n, uint32_t *id)
{
    uint64_t upto[WR_MAX_WORD_BYTES + 1]; /* hash of word[0..i) */
    upto[0] = 0;
    for (size_t i = 0; i < n; i++) upto[i + 1] = upto[i] * BASE + (unsigned char)word[i] + 1;
    size_t count = 0;
    for (size_t from = 0; from < n;) {
        bool continuing = from > 0;
        size_t len = n - from;
        if (len > vocab->longest[continuing]) len = vocab->longest[continuing];
        uint32_t found = 0;
        for (; len && !found; len -= !found) {
            if (from + len < n && ((unsigned char)word[from + len] & 0xC0) == 0x80) continue; /* inside a character */
            uint64_t h = upto[from + len] - upto[from] * vocab->power[len];
            found = found_at(vocab, probe(vocab, h, word + from, len, continuing));
        }
        if (!found) return 0;
        id[count++] = vocab->entry[found - 1].id;
        from += len;
    }
    return count;
}
