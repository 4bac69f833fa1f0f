/* A decoder that ranks: the model, the letters of its vocabulary, and keys and values that are kept from prompt to prompt.
 *
 * Shared by all threads. A prompt is read (prefilled) into one of the caches that are free, the one that begins with most
 * of it: prompts of one request share the system text, the query and whatever else is equal, prompts of different requests
 * at least what stands before the query, and a request that comes again shares all. A cache is one prompt's while it is
 * read; when all are in use another one is made, so there are as many as prompts are read at one time, and
 * WR_LLM_CACHES stay afterwards. What was reused changes no bit of a logit (models/decoder.h).
 *
 *     size_t ran;
 *     wr_logits logits = {letters->row, letters->first[n], out};
 *     st = wr_llm_read(llm, &prompt.ids, &logits, crew, arena, budget, &ran);
 */
#ifndef WR_RANKER_LLM_H
#define WR_RANKER_LLM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"
#include "data/budget.h"
#include "data/crew.h"
#include "data/status.h"
#include "models/decoder.h"
#include "ranker/listwise.h"

/* Caches that are kept when nobody reads. A 7 B model takes 128 KiB a token in fp16, half a gigabyte a window: as many
 * requests as small machines work on at one time, and no more. */
#define WR_LLM_CACHES 4

/* Tokens of the longest prompt: 4096 for a window of a list, 8192 for Qwen3-Reranker's pairs. */
#define WR_LLM_MAX_TOKENS 8192

typedef struct wr_llm wr_llm;

/* Opens the decoder (models/decoder.h) and finds its letters. chat_template: NULL, or a file whose template takes the
 * place of the model's own. */
wr_status wr_llm_open(wr_llm **llm, const char *name_or_path, const char *chat_template, wr_err *err);
void wr_llm_close(wr_llm *llm); /* nobody reads any more; NULL is fine */

const wr_decoder *wr_llm_decoder(const wr_llm *llm);
bool wr_llm_template_given(const wr_llm *llm); /* chat_template was not NULL */

/* Tokens that a prompt may have: min(WR_LLM_MAX_TOKENS, the model's positions). */
size_t wr_llm_tokens(const wr_llm *llm);

/* NULL when the vocabulary has no letters; err (may be NULL) says so. */
const wr_letters *wr_llm_letters(const wr_llm *llm, wr_err *err);

/* Logits behind a prompt of 1..wr_llm_tokens() ids.
 *
 *   crew    NULL = the caller alone
 *   arena   rolled back before returning
 *   budget  may be NULL. WR_STOPPED when it ended the reading, and when the model's measured speed says beforehand that
 *           it would: then nothing is begun
 *   ran     may be NULL; filled: ids that were not in the cache and had to be run, also when nothing was begun
 *
 * WR_ENOMEM; WR_EARG when there are too many ids or one is no token. */
wr_status wr_llm_read(wr_llm *llm, const wr_tokens *prompt, const wr_logits *logits, wr_crew *crew, wr_arena *arena,
                      const wr_budget *budget, size_t *ran);

/* ---- for who runs the decoder differently (generation) ---- */

/* A cache of one prompt at a time. kv holds what is left of an earlier prompt; wr_kv_reuse() is the holder's business. */
typedef struct wr_llm_cache {
    wr_kv *kv;
    uint32_t *id; /* private */
    size_t n;
    uint64_t used;
    struct wr_llm_cache *next;
} wr_llm_cache;

/* The free cache that begins with most of the prompt, or a new one. WR_ENOMEM. */
wr_status wr_llm_take(wr_llm *llm, const wr_tokens *prompt, wr_llm_cache **cache);

/* Gives it back; of prompt[0..n) as much is in its kv as wr_kv_tokens() says (more is forgotten). */
void wr_llm_give(wr_llm *llm, wr_llm_cache *cache, const wr_tokens *prompt);

#endif
