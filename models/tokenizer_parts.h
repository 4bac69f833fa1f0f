/* Inside of the tokenizer: what the loaders fill and wordpiece.c and bpe.c run. Others include tokenizer.h. */
#ifndef WR_MODELS_TOKENIZER_PARTS_H
#define WR_MODELS_TOKENIZER_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/hash.h"
#include "models/added.h"
#include "models/tokenizer.h"
#include "models/vocab.h"

typedef struct wr_bpe wr_bpe; /* models/bpe.h */

/* The steps of BertNormalizer that are on. */
typedef struct wr_fold {
    bool clean, han, strip, lower;
} wr_fold;

/* Code points below this have their answer in a table: Latin to Kana, all that a page of text usually holds. */
#define WR_QUICK 0x3400

/* WordPiece's way of splitting text into words: fold every code point, look for these added tokens on the way. */
typedef struct wr_splitter {
    wr_fold fold;
    const wr_added_set *added;
    uint32_t quick[WR_QUICK]; /* kind << 24 | code point */
} wr_splitter;

/* Ids around the parts; -1 for none. */
typedef struct wr_template {
    int64_t before, between, after;
    uint8_t before_type, a_type, between_type, b_type, after_type;
} wr_template;

struct wr_tokenizer {
    wr_vocab vocab;
    wr_added *added; /* [nadded] by id ascending */
    size_t nadded;
    wr_added_set as_given, as_normalized; /* the same, by the form of text in which they are looked for */
    size_t ids;                           /* 1 + the largest id of all */
    wr_template single, pair;
    char sha256[WR_SHA256_HEX];
    wr_bpe *bpe; /* NULL: WordPiece, which has the rest */
    uint32_t unk;
    size_t max_chars;  /* of a word, <= WR_MAX_WORD */
    wr_splitter raw;   /* the text as given: the normaliser's fold, added tokens that are not normalised */
    wr_splitter plain; /* text that is normalised already: no fold, added tokens that are */
};

/* Ids on their way out. */
typedef struct wr_ids {
    wr_arena *arena;
    uint32_t *id;
    size_t n, cap, max;
} wr_ids;

/* Makes room for one more at least. WR_ENOMEM. */
wr_status wr_ids_grow(wr_ids *ids);

/* WR_STOPPED when id is one too many. */
static inline wr_status wr_ids_put(wr_ids *ids, uint32_t id)
{
    if (ids->n == ids->max) return WR_STOPPED;
    if (ids->n == ids->cap) {
        wr_status st = wr_ids_grow(ids);
        if (st) return st;
    }
    ids->id[ids->n++] = id;
    return WR_OK;
}

/* Fills sha256 from all that decides ids. WR_ENOMEM. */
wr_status wr_tokenizer_hash(struct wr_tokenizer *tok);

#endif
