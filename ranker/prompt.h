/* What prompts of all kinds share: the ids of a finished string, the beginning of a text that fits, and the check that no
 * text from outside became a special token.
 */
#ifndef WR_RANKER_PROMPT_H
#define WR_RANKER_PROMPT_H

#include <stdbool.h>
#include <stddef.h>

#include "data/arena.h"
#include "data/status.h"
#include "data/text.h"
#include "models/tokenizer.h"

/* The ids of a whole prompt, special tokens parsed, and with the token in front (BOS) that the tokenizer puts before a
 * text, unless the string begins with it already. text is the string with the words of that token: tokenising it with
 * special tokens parsed and none added gives ids. Both are borrowed from the arena, or from string. WR_ENOMEM. */
wr_status wr_prompt_encode(const wr_tokenizer *tok, wr_text string, wr_arena *arena, wr_text *text, wr_tokens *ids);

/* No prompt looks at more bytes of a text: the longest prompt has 8,192 tokens, and text of more than 128 bytes a token is
 * none (the longest tokens in use are runs of one sign). What is longer is cut before it is repaired and guarded, which take
 * many times its size of memory, and counts as cut. */
#define WR_PROMPT_TEXT_MOST ((size_t)1 << 20)

/* The first WR_PROMPT_TEXT_MOST bytes of a text, whole characters; text itself when it has no more. */
wr_text wr_prompt_head(wr_text text);

/* A beginning of the text, whole characters, of about as many tokens as are allowed and seldom more: it is found by
 * bisection over bytes, and half a word may have more tokens than the word. Who must know counts again. *out is borrowed
 * from text; it is the text itself when all of it fits.
 * Cost: one tokenisation of so many tokens where it fits, else one for each bit of its length. WR_ENOMEM. */
wr_status wr_prompt_cut(const wr_tokenizer *tok, wr_text text, size_t tokens, wr_arena *arena, wr_text *out);

/* Whether two prompts hold the same special tokens in the same order; those for what the vocabulary lacks do not count. */
bool wr_prompt_same_specials(const wr_tokenizer *tok, const wr_tokens *a, const wr_tokens *b);

/* How many ids two prompts begin with together. */
size_t wr_prompt_shared(const uint32_t *a, size_t na, const uint32_t *b, size_t nb);

#endif
