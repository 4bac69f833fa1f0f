/* Listwise reranking from one token's logits (FIRST, arXiv 2406.15657): prompts, letters, windows and permutations.
 * Pure functions; ranker/rerank_listwise.c runs a decoder over them.
 *
 * A window of passages is lettered A, B, C...; the prompt asks for the order "[B] > [A] > ..." and ends with the forced
 * "[", so that the logits of the last position are the model's opinion of which letter comes first. FIRST takes their
 * order as the order of all passages: one prefill, no generation, and never a malformed list.
 *
 * The prompt, byte by byte (papers.md 1.2; "template" is rank_llm's rank_zephyr_alpha_template.yaml of today, "paper"
 * is rank_llm of November 2024):
 *
 *     system    You are RankLLM, an intelligent assistant that can rank passages based on their relevancy to the query
 *     user      I will provide you with {num} passages, each indicated by an alphabetical identifier []. Rank ...\n
 *               [A] {passage}\n
 *               [B] {passage}\n
 *               Search Query: {query}.\nRank the {num} passages above ...
 *
 * in the checkpoint's chat template with add_generation_prompt; a template that knows no "system" gets the system text,
 * a newline and a space in front of the user's. The whole string is repaired as ftfy.fix_text() does it
 * (models/repair.h), then "[" is added.
 *
 * A passage is "Title: {title} Content: {text}", or the text alone without title; stripped, repaired, cut to a number
 * of words joined by single spaces, and [12] in it becomes (12), as in the query. That is rank_llm's rule and both
 * prompts use it: the paper's runs were made by rank_llm too, and llm-reranker's rule for letters ([A-z]+, and "Title:
 * Content: " deleted) belongs to another program with the paper's wording.
 *
 * Of a text of more than a million bytes only these are looked at (WR_PROMPT_TEXT_MOST of ranker/prompt.h).
 *
 * A text from outside never becomes a special token: such strings in query and passages are broken by a space
 * (wr_tokenizer_guard) before the template sees them, and the special tokens of the finished prompt must be those of
 * the same prompt with harmless texts. Where the repair of the whole string has made a new one (out of "&lt;s&gt;",
 * say) the texts are repaired before they are guarded and the whole is left alone.
 */
#ifndef WR_RANKER_LISTWISE_H
#define WR_RANKER_LISTWISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"
#include "data/status.h"
#include "data/text.h"
#include "models/chat.h"
#include "models/tokenizer.h"

#define WR_WINDOW_MAX 26 /* letters of the alphabet; the published window is 20 */
#define WR_WINDOW 20
#define WR_STRIDE 10
#define WR_LISTWISE_CONTEXT 4096 /* tokens of a prompt with its answer, in every published run */

typedef enum wr_prompt { WR_PROMPT_TEMPLATE, WR_PROMPT_PAPER } wr_prompt;

typedef struct wr_window {
    size_t start, end; /* positions of the list, end exclusive */
} wr_window;

/* The windows over positions [start, n) in the order they are run, back to front (papers.md 1.6): end = n, then every
 * window begins `window` before its end, but not before start, and the next ends `stride` earlier; a window at start is
 * the last. 1 <= stride <= window. Writes at most cap of them and returns their number: 100 positions by 20 and 10
 * are 9. */
size_t wr_windows(size_t n, size_t start, size_t window, size_t stride, wr_window *out, size_t cap);

typedef struct wr_passage {
    wr_text title; /* n 0: none */
    wr_text text;
} wr_passage;

typedef struct wr_listwise_prompt {
    wr_text text;  /* what is prefilled: with the text of BOS and the forced "[" */
    wr_tokens ids; /* the same in ids                                            */
    size_t words;  /* what every passage was cut to                              */
    size_t tokens; /* what a passage was cut to besides; 0: by words alone       */
    size_t shared; /* ids in front of the first that depends on query or passage */
    uint32_t cut;  /* bit i: passage i is not whole                              */
} wr_listwise_prompt;

/* The prompt of one window, fitted to `context` tokens with the answer of a full window "[A] > [B] > ...". Passages
 * begin at 300 words ("paper": 300 * 20 / window); while the prompt is too long by `over` tokens, max(1, over / (4 *
 * window)) words are taken off and it is built again. Passages of one word that are still too long (no white space in
 * them) are cut to their share of the tokens that are left.
 *
 *   chat      NULL: the model has no template; system and user text stand below each other
 *   n         1..window passages, window <= WR_WINDOW_MAX
 *   out       borrowed from the arena
 *
 * WR_EARG when not even empty passages fit (a query of thousands of tokens), WR_EFORMAT when query or passages form a
 * special token with the template whatever is done, or the template fails; err says so. */
wr_status wr_listwise_prompt_make(const wr_tokenizer *tok, const wr_chat *chat, wr_prompt kind, wr_text query,
                                  const wr_passage *passage, size_t n, size_t window, size_t context, wr_arena *arena,
                                  wr_listwise_prompt *out, wr_err *err);

/* The words that a passage may have before anything must be cut to fit. */
size_t wr_listwise_words(wr_prompt kind, size_t window);

/* The ids whose logits decide. A letter may have several: the bare one ("A"), which training reads, and what decodes to
 * the same letter (SentencePiece's "\u2581A", the byte token <0x41>); its logit is the maximum over them. */
#define WR_LETTER_IDS 8 /* ids a letter may have; 3 in the vocabularies in use */

typedef struct wr_letters {
    size_t n;                                    /* letters that have ids: A.. without a hole, <= WR_WINDOW_MAX */
    uint32_t id[WR_WINDOW_MAX];                  /* the bare letters                                            */
    uint32_t row[WR_WINDOW_MAX * WR_LETTER_IDS]; /* every id, letter after letter: rows of the head to multiply */
    size_t first[WR_WINDOW_MAX + 1];             /* letter i has row[first[i]] .. row[first[i + 1] - 1]         */
} wr_letters;

/* Looks through the vocabulary once. WR_EUNSUPPORTED when A and B are not tokens. */
wr_status wr_letters_find(wr_letters *letters, const wr_tokenizer *tok, wr_err *err);

/* The ids of "] > [" as they stand behind a letter in an answer "A] > [B] > [C": what models/generate.h appends between two
 * identifiers. Borrowed from the arena. WR_EUNSUPPORTED when the vocabulary has no token that is a letter alone there. */
wr_status wr_letters_between(const wr_tokenizer *tok, wr_arena *arena, wr_tokens *out, wr_err *err);

/* logit[n] of the first n letters from out[first[n]], the logits of row[0 .. first[n]). */
void wr_letters_read(const wr_letters *letters, const float *out, size_t n, float *logit);

/* Parity with the published code, which is given the 30 best tokens only: logit[n] from all[vocab], -INFINITY for a
 * letter that is not among the 30 highest (equal logits: the smaller id is higher). A letter beyond the window's n
 * passages has no passage and is dropped. */
void wr_letters_read_top30(const wr_letters *letters, const float *all, size_t vocab, size_t n, float *logit);

/* order[n]: the window's passages best first, by logit descending; equal ones keep their order, and those without
 * logit (-INFINITY or NaN) come last in theirs. Always a permutation of 0..n-1. */
void wr_listwise_order(const float *logit, size_t n, size_t *order);

/* The same from a generated list: every letter of the reply is an identifier ("[B] > [A]"), what is out of range or
 * comes twice is dropped, what is missing is appended in its order. */
void wr_listwise_parse(wr_text reply, size_t n, size_t *order);

/* item[n], n <= WR_WINDOW_MAX, becomes item[order[0]], item[order[1]], ... Scores are not permuted: position j keeps
 * the score that stood there before, so that a run file stays monotone (papers.md 1.6). */
void wr_listwise_apply(const size_t *order, size_t n, uint32_t *item);

#endif
