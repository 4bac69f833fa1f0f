/* Listwise reranking of a list by a decoder: windows back to front, each ordered by the logits of one position (FIRST,
 * arXiv 2406.15657; ranker/listwise.h has prompts, letters and permutations).
 *
 * A list that fits one window is one pass. Otherwise the windows overlap, the best of one are carried into the next, and
 * the last one orders the head. A window's order depends on the one before, so windows run one after the other, each by all
 * cores (prefill in chunks, models/decoder.h). The deadline is looked at before a window begins (will it end in time?) and
 * between layers; a window that was stopped changes nothing. So after a deadline positions [first, n) are reranked and
 * those before keep their order.
 *
 *     wr_listwise list;
 *     st = wr_listwise_begin(&list, llm, &options, query, passage, n, arena, err);
 *     while (!st && list.done < list.nwindows) st = wr_listwise_step(&list, pool, budget, NULL, NULL, err);
 *     wr_listwise_result(&list, item, logit, cut, &first);
 *
 * Scores are not the decoder's: position j keeps the score that stood there before (papers.md 1.6), and a letter's logit
 * compares with those of its own window only. What is told beside a passage is its letter's logit in the last window that
 * it was in.
 */
#ifndef WR_RANKER_RERANK_LISTWISE_H
#define WR_RANKER_RERANK_LISTWISE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"
#include "data/budget.h"
#include "data/pool.h"
#include "data/status.h"
#include "ranker/listwise.h"
#include "ranker/llm.h"

/* Where a window's order comes from. What is generated is there to be compared with (models/generate.h): the same prompts
 * and the same reuse, but every letter of the answer costs passes of its own. Its logits are places counted from the end,
 * n for the passage that was named first and 1 for the last. */
typedef enum wr_answer {
    WR_ANSWER_TOKEN, /* the letters' logits behind the prompt (FIRST)                                              */
    WR_ANSWER_LIST,  /* "B] > [A] > [C": greedy, restricted to letters that were not yet named and what is between */
    WR_ANSWER_FREE   /* greedy from the whole vocabulary until a special token comes or the prompt's share of the context is
                        used up; what it holds of letters is read as published code does (wr_listwise_parse())     */
} wr_answer;

/* How a list is read. Zero everything for defaults. */
typedef struct wr_listwise_options {
    wr_prompt prompt;
    bool top30;    /* letters that are not among the 30 most probable tokens have no logit: the published code's view */
    size_t window; /* 2..26 and no more than there are letters; 0 = 20                                                */
    size_t stride; /* 1..window; 0 = half of the window                                                               */
    wr_answer answer;
} wr_listwise_options;

typedef struct wr_listwise {
    wr_llm *llm;
    const wr_letters *letters;
    wr_listwise_options options; /* none is 0 */
    size_t context;              /* tokens of a prompt with its answer */
    wr_text query;
    const wr_passage *passage; /* [n] */
    size_t n;
    wr_window *window; /* [nwindows] in the order they are run */
    size_t nwindows;
    float *logit;        /* [nwindows * WR_WINDOW_MAX] of the passages of a window, as they stood in it */
    uint32_t *cut;       /* [nwindows] bit i: passage i of the window is not whole                       */
    bool *harder;        /* [nwindows] ... and has fewer words than the rule leaves                      */
    uint32_t *item;      /* [n] the order after the windows that were run: private to who steps          */
    atomic_size_t done;  /* windows that were run; what they wrote does not change any more              */
} wr_listwise;

/* Checks the options against the model and lays out the windows. llm, query and passages are borrowed; what list holds is
 * borrowed from the arena. n may be 0: then there is no window.
 * WR_EARG for options out of range, WR_EUNSUPPORTED when the model has no letters; WR_ENOMEM. */
wr_status wr_listwise_begin(wr_listwise *list, wr_llm *llm, const wr_listwise_options *options, wr_text query,
                            const wr_passage *passage, size_t n, wr_arena *arena, wr_err *err);

/* What one window was, for who wants to see it: called by the thread that steps, everything borrowed during the call. */
typedef struct wr_window_seen {
    wr_window at;
    const wr_listwise_prompt *prompt;
    const float *logit; /* [at.end - at.start] of the passages as they stood in it; -INFINITY = none (top30) */
    wr_text reply;      /* what was generated behind the forced "["; n 0 where nothing was               */
} wr_window_seen;

typedef void (*wr_window_fn)(void *arg, const wr_window_seen *seen);

/* Runs the next window with the calling thread's arena and the pool's idle workers (pool may be NULL). One thread at a
 * time. done grows by one on WR_OK.
 * WR_STOPPED: there is no time for it, or no window is left. WR_EARG and WR_EFORMAT as wr_listwise_prompt_make(), WR_ENOMEM; err says so. */
wr_status wr_listwise_step(wr_listwise *list, wr_pool *pool, const wr_budget *budget, wr_window_fn seen, void *arg,
                           wr_err *err);

/* Runs the windows that are left. WR_OK also when the budget ended it: done < nwindows then. */
wr_status wr_listwise_run(wr_listwise *list, wr_pool *pool, const wr_budget *budget, wr_window_fn seen, void *arg,
                          wr_err *err);

/* What a prompt had of a passage. */
typedef enum wr_cut {
    WR_CUT_NOT,    /* all of it                                                      */
    WR_CUT_RULE,   /* the words that the rule keeps (300)                            */
    WR_CUT_HARDER, /* fewer: a window of such passages is longer than the model takes */
} wr_cut;

/* What the windows that were run make of the list. May be called while another thread steps.
 *
 *   item   [n] filled: passages in their new order, a permutation of 0..n-1
 *   logit  [n] filled, by passage: its letter's logit in the last window that it was in, -INFINITY = none
 *   cut    [n] filled, by passage: the worst that a window did to it
 *   first  filled: positions from here on were in a window; n when no window was run */
void wr_listwise_result(const wr_listwise *list, uint32_t *item, float *logit, wr_cut *cut, size_t *first);

#endif
