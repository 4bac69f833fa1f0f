/* WordPiece, from text to ids.
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

#include "models/tokenizer_parts.h"

/* Fills the tables of raw and plain from raw.fold and the sets of added tokens. */
void wr_wordpiece_prepare(struct wr_tokenizer *tok);

/* text[0..n) through the normaliser into out[cap], cap >= 3 * n; returns the bytes written. origin[cap] (may be NULL):
 * for every byte of out the place in text of the character that it came from; marks that changed places keep the order
 * in which they stood. */
size_t wr_wordpiece_normalize(const wr_fold *fold, const char *text, size_t n, char *out, size_t *origin);

/* Appends the ids of text[0..n). WR_STOPPED when there are more than ids->max, WR_ENOMEM. */
wr_status wr_wordpiece_encode(const struct wr_tokenizer *tok, const char *text, size_t n, wr_ids *ids);

#endif
