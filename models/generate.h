/* Greedy generation with a KV cache: one token after the other, each the most probable.
 *
 * What full listwise rerankers do (RankGPT, arXiv 2304.09542; RankZephyr, arXiv 2312.02724) and first-token ranking
 * (FIRST, arXiv 2406.15657) does without. It is here to be compared with, so it has all that makes it fast: keys and
 * values are kept, a shared prefix is reused, a token is one pass over the weights as they are stored.
 *
 *     wr_generator by = {decoder, kv, crew, arena, budget};
 *     wr_generate_free how = {.stop = &eos, .nstop = 1};
 *     st = wr_generate(&by, prompt, n, &how, 128, reply, &nreply);
 *
 * The most probable id is the one with the largest logit, of equal ones the one that comes first in the vocabulary or in
 * the list that was given; a logit that is NaN is never the largest. So a reply is a function of the prompt, the same at
 * any number of threads and whatever was reused (models/decoder.h, "Bits").
 *
 * In all functions here the prompt id[0..n), n >= 1, is the whole one: what kv shares with it is reused and the rest is
 * run. Afterwards kv holds the prompt and those tokens behind it that were run (the last one chosen is not).
 */
#ifndef WR_MODELS_GENERATE_H
#define WR_MODELS_GENERATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/decoder.h"

/* What runs a reply; all of it is the caller's. */
typedef struct wr_generator {
    const wr_decoder *decoder;
    wr_kv *kv;
    wr_crew *crew;           /* NULL = the caller alone                                           */
    wr_arena *arena;         /* rolled back; wr_generate_arena_bytes() says how much is needed    */
    const wr_budget *budget; /* may be NULL; looked at between layers, as wr_decoder_run() does   */
} wr_generator;

/* What may be chosen and what ends a reply. Zero everything: the whole vocabulary, and no end before the limit. */
typedef struct wr_generate_free {
    const uint32_t *only; /* [nonly] ids that may be chosen, those in stop besides; NULL: all. Only their rows of the
                             head are multiplied                                                                   */
    size_t nonly;
    const uint32_t *stop; /* [nstop] ids that end the reply and are not part of it                                 */
    size_t nstop;
} wr_generate_free;

/* Writes at most `limit` ids to out[limit] and their number to *nout.
 *
 * WR_STOPPED: the budget ended it; the *nout ids that there are are those of an unlimited run. WR_EARG when an id is no
 * token, n is 0 or kv has not the room: n + limit - 1 tokens are enough. WR_ENOMEM. *nout is right in every case.
 * Cost: a prefill of what is new in the prompt, then *nout passes of one token (one less at the limit). */
wr_status wr_generate(const wr_generator *by, const uint32_t *id, size_t n, const wr_generate_free *how, size_t limit,
                      uint32_t *out, size_t *nout);

/* A reply that is a list of identifiers, "B] > [A] > [C": an identifier that was not yet named, fixed text, another one,
 * and so on until all are named. The prompt ends in front of the first ("["). */
typedef struct wr_generate_list {
    size_t n;               /* identifiers                                                                          */
    const uint32_t *row;    /* [first[n]] identifier i is named by any of row[first[i]] .. row[first[i + 1] - 1], at
                               least one; the layout of wr_letters                                                   */
    const size_t *first;    /* [n + 1], first[0] = 0                                                                */
    const uint32_t *behind; /* [nbehind] the text between two identifiers, "] > ["; may be empty                    */
    size_t nbehind;
    bool plain; /* every token in a pass of its own that ends with the logits of the whole vocabulary, the last
                   identifier and the text behind it too: what a generation spends that knows no grammar. The order is
                   the same. Without it the fixed text goes along with the identifier in front of it, only the rows of
                   what may be named are multiplied, and what must come is not asked for. */
} wr_generate_list;

/* Fills order[list->n] with a permutation: the identifiers as they were named, the most probable of those left at each
 * step (several rows of one count by their maximum; the one with the maximum is what is appended). The first is therefore
 * the first of the order that the prompt's own logits give (FIRST), with equal logits and NaN treated alike.
 *
 *   named   filled, may be NULL: how many of order[] were chosen; the rest follow in ascending order. All on WR_OK
 *
 * WR_STOPPED: the budget ended it. WR_EARG as above, also for a row that is no token (n + (list->n - 1) * (1 + nbehind)
 * tokens of room are enough, 1 + nbehind more when plain); WR_ENOMEM. order is a permutation in every case.
 * Cost: a prefill, then list->n - 2 passes of 1 + nbehind tokens; plain, list->n * (1 + nbehind) passes of one. */
wr_status wr_generate_order(const wr_generator *by, const uint32_t *id, size_t n, const wr_generate_list *list,
                            size_t *order, size_t *named);

/* Upper bound of the arena bytes that a call takes whose prompt has at most n tokens and which has `rows` rows to choose
 * from, those that end and those of fixed text counted too, or all of the vocabulary; by a crew of so many threads. */
size_t wr_generate_arena_bytes(const wr_decoder *decoder, size_t n, size_t rows, size_t threads);

#endif
