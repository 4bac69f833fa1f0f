/* Byte-pair encoding, from text to ids: GPT-2's over bytes, SentencePiece's over characters.
 *
 * A text goes through these steps, as tokenizer.json names them:
 *   added tokens    found in the text as given, then in what the normaliser makes of the stretches between them
 *   normaliser      models/normalizer.h
 *   pre-tokenizers  each cuts the pieces of the one before it: Split by a pattern, Metaspace, ByteLevel at the end
 *   words           a word's characters are its first symbols (in ByteLevel the 256 letters that stand for bytes); of all
 *                   neighbours that can be merged those of the lowest rank are, the leftmost first, until none can
 *
 * The order of merges is that of `tokenizers`, including its corner: an entry of the queue that has been overtaken still
 * counts when what stands at its place now would give the same token. It matters where a token has several merges
 * (Llama 3, everything made from SentencePiece).
 *
 * A word may be a megabyte: its merges take n log n by a queue, and before that it is cut wherever two neighbouring
 * characters stand together in no token that a merge makes, which no merge can reach across. SentencePiece's models have
 * no pre-tokenizer, their whole text is one word; it falls apart here into what people call words.
 */
#ifndef WR_MODELS_BPE_H
#define WR_MODELS_BPE_H

#include <stdatomic.h>

#include "models/normalizer.h"
#include "models/pattern.h"
#include "models/tokenizer_parts.h"

typedef enum wr_stage_kind { WR_STAGE_SPLIT, WR_STAGE_METASPACE, WR_STAGE_BYTES } wr_stage_kind;

/* What becomes of a match and of what lies between matches. */
typedef enum wr_behavior {
    WR_SPLIT_REMOVED,
    WR_SPLIT_ISOLATED,
    WR_SPLIT_CONTIGUOUS,
    WR_SPLIT_PREVIOUS, /* a match goes with what stands before it */
    WR_SPLIT_NEXT
} wr_behavior;

typedef enum wr_prepend { WR_PREPEND_ALWAYS, WR_PREPEND_FIRST, WR_PREPEND_NEVER } wr_prepend;

/* One pre-tokenizer. */
typedef struct wr_stage {
    wr_stage_kind kind;
    wr_pattern *pattern; /* SPLIT; BYTES with use_regex; METASPACE that splits */
    wr_behavior behavior;
    bool invert;       /* SPLIT: what is between the matches counts as the match */
    bool prefix_space; /* BYTES */
    wr_prepend scheme; /* METASPACE */
    char mark[5];      /* METASPACE: what replaces a space, one character; NUL-terminated */
} wr_stage;

/* A slot of the table of merges; id UINT32_MAX: empty. */
typedef struct wr_merge {
    uint32_t left, right;
    uint32_t rank;
    uint32_t id;
} wr_merge;

struct wr_bpe {
    wr_normal normal;
    wr_stage *stage; /* [nstages] */
    size_t nstages;
    bool bytes; /* the last stage is BYTES: words are in its alphabet */
    bool ignore_merges, byte_fallback, fuse_unk;
    int64_t unk;      /* -1: what has no token vanishes, as in `tokenizers` */
    bool whole;       /* nothing vanishes: every word gives a token */
    wr_merge *merge;  /* [1 << bits], at most half full */
    size_t nmerges;   /* distinct pairs */
    unsigned bits;
    uint64_t *seen;   /* a bit for each pair of neighbouring characters inside of merged tokens, by its hash */
    uint32_t *single; /* [WR_QUICK] 1 + id of the token that is this character, 0: none */
    int64_t byte_id[256]; /* <0x00> .. <0xFF>; -1 without */
    /* [ids] what is known of a token's own text: nothing yet, it is that one token, or it becomes others. Found out when a
     * text first has it; threads that find out at one time find the same. */
    _Atomic unsigned char *own;
};

void wr_bpe_free(wr_bpe *bpe); /* NULL is fine */

/* Room for n merges. WR_ENOMEM. */
wr_status wr_bpe_reserve(wr_bpe *bpe, size_t n);

/* Both tokens and what they make together are in the vocabulary: ids. A pair that comes again takes the later rank, as
 * in `tokenizers`. */
void wr_bpe_add_merge(wr_bpe *bpe, uint32_t left, uint32_t right, uint32_t rank, uint32_t id);

/* The merge of two tokens by their bytes. WR_EFORMAT, WR_EUNSUPPORTED with a sentence that names merge `rank`. */
wr_status wr_bpe_merge_of(struct wr_tokenizer *tok, wr_text left, wr_text right, size_t rank, const char *path,
                          wr_err *err);

/* Adds a pre-tokenizer; pattern (bytes NULL: none, or the stage has one) is compiled. Owns stage.pattern once WR_OK.
 * WR_EUNSUPPORTED, WR_EFORMAT, WR_ENOMEM with a sentence. */
wr_status wr_bpe_add_stage(wr_bpe *bpe, wr_stage stage, wr_text pattern, const char *path, wr_err *err);

/* ByteLevel, the last of them, by GPT-2's pattern or by none. */
wr_status wr_bpe_add_bytes(wr_bpe *bpe, bool prefix_space, bool by_gpt2, const char *path, wr_err *err);

/* Fills sorted[nmerges] by rank; returns their number. */
size_t wr_bpe_merges(const wr_bpe *bpe, const wr_merge **sorted);

/* Fills the tables from vocabulary and merges. WR_ENOMEM. */
wr_status wr_bpe_prepare(struct wr_tokenizer *tok);

/* Appends the ids of text[0..n). WR_STOPPED when there are more than ids->max. Working memory stays in the arena of ids;
 * the caller rolls it back. WR_ENOMEM, WR_EUNSUPPORTED (models/pattern.h). */
wr_status wr_bpe_encode(const struct wr_tokenizer *tok, const char *text, size_t n, wr_ids *ids);

/* ---- between bpe.c and bpe_split.c */

/* Working memory of one text, in the arena of its ids. */
typedef struct wr_bpe_work {
    const struct wr_tokenizer *tok;
    wr_ids *ids;
    void *match;           /* wr_pattern_memory(), made when it is needed */
    struct wr_symbol *symbol; /* [cap] */
    struct wr_queued *queue;  /* [2 * cap] */
    size_t cap;
} wr_bpe_work;

/* One word, in plain text even where the alphabet stands for its bytes. */
wr_status wr_bpe_word(wr_bpe_work *work, const char *word, size_t n);

/* A stretch of normalised text through the pre-tokenizers to wr_bpe_word(); first: it begins where the text begins. */
wr_status wr_bpe_split(wr_bpe_work *work, const char *text, size_t n, bool first);

/* ---- GPT-2's alphabet: a character for each byte, none of them white space or a control character */

bool wr_bpe_is_bytes(const wr_bpe *bpe);
uint32_t wr_bpe_letter(unsigned char byte);

/* The byte that the character at s stands for, -1 when it stands for none; *len: its bytes. s is not at its NUL. */
int wr_bpe_byte_of(const char *s, size_t *len);

#endif
