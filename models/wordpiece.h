/* Inside of the tokenizer: what tokenizer_load.c reads from files and wordpiece.c runs. Others include tokenizer.h.
 *
 * A text goes through three steps, one word at a time, so that nothing behind the last wanted token is touched:
 *   added tokens   found in the raw text (leftmost, then longest); what lies between them goes on
 *   normaliser     per code point: drop, space, or some code points (NFD, no marks, lower case)
 *   pre-tokenizer  words end at white space; a punctuation mark and a CJK character is a word of its own
 * then each word is cut by the vocabulary (vocab.h). Added tokens with "normalized": true are looked for in the
 * normalised text, so a tokenizer that has any normalises whole stretches first.
 */
#ifndef WR_MODELS_WORDPIECE_H
#define WR_MODELS_WORDPIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/hash.h"
#include "models/added.h"
#include "models/tokenizer.h"
#include "models/vocab.h"

/* The steps of BertNormalizer that are on. */
typedef struct wr_fold {
    bool clean, han, strip, lower;
} wr_fold;

/* Code points below this have their answer in a table: Latin to Kana, all that a page of text usually holds. */
#define WR_QUICK 0x3400

/* One way of splitting text into words: fold every code point, look for these added tokens on the way. */
typedef struct wr_splitter {
    wr_fold fold;
    wr_added_set added;
    uint32_t quick[WR_QUICK]; /* kind << 24 | code point */
} wr_splitter;

/* Ids around the parts; -1 for none. */
typedef struct wr_template {
    int64_t before, between, after;
    uint8_t before_type, a_type, between_type, b_type, after_type;
} wr_template;

struct wr_tokenizer {
    wr_vocab vocab;
    uint32_t unk;
    size_t max_chars; /* of a word, <= WR_MAX_WORD */
    wr_added *added;  /* [nadded] by id ascending  */
    size_t nadded;
    size_t ids;        /* 1 + the largest id of all */
    wr_splitter raw;   /* the text as given: the normaliser's fold, added tokens that are not normalised */
    wr_splitter plain; /* text that is normalised already: no fold, added tokens that are */
    wr_template single, pair;
    char sha256[WR_SHA256_HEX];
};

/* Fills sha256 from vocab, unk, max_chars, added and raw.fold. WR_ENOMEM. */
wr_status wr_wordpiece_hash(struct wr_tokenizer *tok);

/* Fills what follows from vocab, added and raw.fold: the sets, their tables. WR_ENOMEM. */
wr_status wr_wordpiece_prepare(struct wr_tokenizer *tok);

/* text[0..n) through the normaliser into out[cap], cap >= 3 * n; returns the bytes written. */
size_t wr_wordpiece_normalize(const wr_fold *fold, const char *text, size_t n, char *out);

#endif
