/* Text -> token ids, from tokenizer.json, vocab.txt or the metadata of a GGUF file:
 *
 *   WordPiece        BERT, DistilBERT, MiniLM and their kin
 *   byte-level BPE   GPT-2, Llama 3, Qwen2, Qwen2.5, Qwen3
 *   SentencePiece's  Llama 2, Mistral, Zephyr: BPE over characters, bytes where a character has no token
 *
 * Exactly Hugging Face's `tokenizers`: added tokens are split out first, then normaliser, pre-tokenizer and model as the
 * file names them, then the special tokens of the post-processor. A truncation or padding stored in tokenizer.json is
 * ignored: lengths are the model's business. Invalid UTF-8 becomes U+FFFD (which BERT's clean_text drops), as Python's
 * errors="replace" would give it.
 *
 *     wr_tokens toks;
 *     wr_tokenizer_encode(tok, text, n, arena, SIZE_MAX, &toks);   // without [CLS] and [SEP]
 */
#ifndef WR_MODELS_TOKENIZER_H
#define WR_MODELS_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"
#include "data/status.h"
#include "data/text.h"

typedef struct wr_gguf wr_gguf; /* models/gguf.h */

typedef struct wr_tokenizer wr_tokenizer; /* constant after open; shared by all threads */

/* Ids of one text. Borrowed from the arena that was given. */
typedef struct wr_tokens {
    uint32_t *id; /* [n], never NULL after WR_OK */
    size_t n;
    bool cut; /* the text had more than max tokens */
} wr_tokens;

/* dir holds tokenizer.json, or vocab.txt (+ tokenizer_config.json with do_lower_case, strip_accents,
 * tokenize_chinese_chars; + special_tokens_map.json). WR_EUNSUPPORTED names a component that we do not implement. */
wr_status wr_tokenizer_open(wr_tokenizer **tok, const char *dir, wr_err *err);

/* From tokenizer.ggml.*: model "gpt2" (byte-level BPE, its pattern by tokenizer.ggml.pre) or "llama" (SentencePiece's by
 * scores). The gguf is no longer needed afterwards. WR_EUNSUPPORTED names a model or a pre that we do not know,
 * WR_ENOTFOUND: the file has no tokenizer. */
wr_status wr_tokenizer_open_gguf(wr_tokenizer **tok, const wr_gguf *gguf, wr_err *err);

void wr_tokenizer_close(wr_tokenizer *tok);

/* The ids of text[0..n) without special tokens added, at most max of them (the first max). Added tokens, special or not,
 * that stand in the text are found: encode(text, add_special_tokens=False). Words beyond are not even looked at, so a
 * huge document costs no more than its head. WR_ENOMEM when the arena is exhausted. */
wr_status wr_tokenizer_encode(const wr_tokenizer *tok, const char *text, size_t n, wr_arena *arena, size_t max,
                              wr_tokens *out);

/* [CLS] a [SEP]: at most max ids in all (max >= 2), a cut on the right. */
wr_status wr_tokenizer_single(const wr_tokenizer *tok, const char *text, size_t n, wr_arena *arena, size_t max,
                              wr_tokens *out);

/* The same from ids without specials, written to id[], which has room for min(n + 2, max); id may be NULL when only the
 * number is wanted. Returns the number written; *cut (may be NULL) tells whether any was dropped, here or before. */
size_t wr_tokenizer_single_ids(const wr_tokenizer *tok, const wr_tokens *ids, size_t max, uint32_t *id, bool *cut);

/* [CLS] a [SEP] b [SEP] from ids without specials, written to id[] and type[] (0 for the first part with its [SEP],
 * 1 for the second), at most max in all by "longest first" truncation as `tokenizers` does it: the shorter part stays
 * whole while it fits into half of the room, else each part gets half, and an odd token goes to the longer part, the
 * second when they are equal. max < 3 leaves the first of the specials. Returns the number written; *cut tells whether
 * any was dropped, here or when a and b were made. id and type have room for min(na + nb + 3, max). */
size_t wr_tokenizer_pair(const wr_tokenizer *tok, const wr_tokens *a, const wr_tokens *b, size_t max, uint32_t *id,
                         uint8_t *type, bool *cut);

/* [CLS] a [SEP] [CLS] b [SEP]: two texts of their own, for models that read them apart first (models/encoder.h). As
 * above: types 0 and 1 tell the parts, "longest first" cuts them, max < 4 leaves the first of the specials; id and type
 * have room for min(na + nb + 4, max). */
size_t wr_tokenizer_parts(const wr_tokenizer *tok, const wr_tokens *a, const wr_tokens *b, size_t max, uint32_t *id,
                          uint8_t *type, bool *cut);

/* What wr_tokenizer_encode() would have given with a smaller max: the first max ids. */
wr_tokens wr_tokens_first(const wr_tokens *tokens, size_t max);

/* SHA-256 in hex over all that decides wr_tokenizer_encode(): tokens with their ids, added tokens, normaliser. Equal
 * hashes mean equal ids for every text, whatever files they came from. What stands around a text is not in it. */
const char *wr_tokenizer_sha256(const wr_tokenizer *tok);

const char *wr_tokenizer_kind(const wr_tokenizer *tok); /* "WordPiece", "byte-level BPE", "SentencePiece BPE" */
size_t wr_tokenizer_vocab_size(const wr_tokenizer *tok);                 /* ids are < this, added tokens included  */
const char *wr_tokenizer_token(const wr_tokenizer *tok, uint32_t id);    /* NULL when there is none; borrowed      */
int64_t wr_tokenizer_id(const wr_tokenizer *tok, const char *token);     /* -1 when there is none                  */
bool wr_tokenizer_is_special(const wr_tokenizer *tok, uint32_t id);
int64_t wr_tokenizer_unknown(const wr_tokenizer *tok);                   /* what no token spells becomes this; -1: none */

/* The bytes that a token stands for inside a text: the byte alphabet undone, "\u2581" a space, "<0x0A>" a line feed, a
 * continuing "##" gone; an added token is its content. Not always whole characters. The first cap bytes to out (NULL with
 * cap 0); returns how many there are, 0 when there is no such token. */
size_t wr_tokenizer_bytes(const wr_tokenizer *tok, uint32_t id, char *out, size_t cap);

/* The text, such that wr_tokenizer_encode(*out) gives no special token: wherever one would be found, a space goes in
 * behind its first character, again and again until none is found. What joins up with the text around it ("<|im_" here
 * and "end|>" there) is the caller's business: guard what is put together of several. *out is the text itself when there is nothing to do,
 * else borrowed from the arena. WR_ENOMEM when the arena is exhausted. */
wr_status wr_tokenizer_guard(const wr_tokenizer *tok, wr_text text, wr_arena *arena, wr_text *out);

#endif
