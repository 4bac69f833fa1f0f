/* A vocabulary: token <-> id, and the longest token that a word begins with at some byte.
 *
 * One hash table holds every token as it is written and, for those that begin with the continuing prefix ("##"), once
 * more without it. The hash of a string is a polynomial in its bytes, so the hashes of all substrings of a word follow
 * from one pass over the word, and each candidate costs one multiplication and one probe.
 */
#ifndef WR_MODELS_VOCAB_H
#define WR_MODELS_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

#define WR_VOCAB_MAX_ID ((uint32_t)1 << 24) /* ids are below: fifty times the largest vocabulary of an encoder */
#define WR_MAX_WORD 256                     /* code points; BERT's own limit of a word is 100 */
#define WR_MAX_WORD_BYTES (4 * WR_MAX_WORD)

typedef struct wr_vocab_entry {
    uint32_t offset, n; /* text[offset..offset + n), a NUL behind it */
    uint32_t id;
} wr_vocab_entry;

typedef struct wr_vocab_slot {
    uint32_t tag;   /* high half of the hash                         */
    uint32_t entry; /* 1 + index << 1 | continuing; 0 means empty    */
} wr_vocab_slot;

typedef struct wr_vocab {
    char *text; /* all tokens, each with a NUL */
    size_t text_n, text_cap;
    wr_vocab_entry *entry; /* [n] in the order of adding */
    size_t n, cap;
    size_t tokens;       /* distinct ones, <= n; known once sealed */
    wr_vocab_slot *slot; /* [1 << bits] */
    unsigned bits;
    uint32_t *by_id; /* [ids] 1 + index of an entry, 0 for a hole */
    size_t ids;      /* 1 + the largest id */
    size_t ids_cap;
    char *prefix; /* the continuing prefix, NULL: none */
    size_t prefix_n;
    size_t longest[2]; /* bytes of the longest token: first in a word, continuing (without its prefix) */
    uint64_t *power;   /* [1 + max(longest)] powers of the hash's base */
} wr_vocab;

void wr_vocab_release(wr_vocab *vocab); /* a zeroed one is fine */

/* Adds a token (n bytes of valid UTF-8 without NUL, at most 1 MiB) before the vocabulary is sealed. WR_EFORMAT when the
 * id is taken or too large. A token that comes twice keeps both ids, and the later one is the one that is found. */
wr_status wr_vocab_add(wr_vocab *vocab, const char *token, size_t n, uint32_t id);

/* Builds the table; prefix is the continuing prefix, NULL where every token is found by itself alone. WR_ENOMEM. */
wr_status wr_vocab_seal(wr_vocab *vocab, const char *prefix);

int64_t wr_vocab_id(const wr_vocab *vocab, const char *token, size_t n); /* -1 when there is none    */
const char *wr_vocab_token(const wr_vocab *vocab, uint32_t id);          /* NULL for a hole; borrowed */

/* Cuts word[0..n), 0 < n <= WR_MAX_WORD_BYTES, into the longest tokens from left to right: ids to id[] (room for one a
 * byte). Returns their number, 0 when some rest begins with no token. */
size_t wr_vocab_cut(const wr_vocab *vocab, const char *word, size_t n, uint32_t *id);

#endif
