/* Many texts into few passes: sorted by length, cut by tokens; pairs of a query and documents packed and scored.
 *
 * A sequence's result does not depend on its neighbours (model.h), so how texts are grouped is a question of speed
 * alone, and lengths may be estimates.
 */
#ifndef WR_MODELS_MICROBATCH_H
#define WR_MODELS_MICROBATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "data/arena.h"
#include "data/budget.h"
#include "data/status.h"
#include "models/model.h"

/* Tokens in one micro-batch when nobody is waiting: enough rows to keep GEMM near its peak (it is flat from about 256
 * rows on), few enough that activations stay in the second-level cache. */
#define WR_MICRO_BATCH_TOKENS 1024
#define WR_MICRO_BATCH_LEAST 256

/* Texts of one micro-batch: a sparse model's weights of so many, before they are thinned out, are 8 MB of BERT's
 * vocabulary. */
#define WR_MICRO_BATCH_TEXTS 64

typedef struct wr_sized {
    size_t i;    /* index of the text in the input */
    size_t ntok; /* its tokens                     */
} wr_sized;

/* Longest first, equal lengths by index: the last micro-batches to finish are then the short ones. */
void wr_microbatch_sort(wr_sized *text, size_t n);

/* Cuts where more than `tokens` would come together, or WR_MICRO_BATCH_TEXTS: micro-batch b is
 * text[begin[b]..begin[b + 1]). begin has room for n + 1. Returns the number of micro-batches. */
size_t wr_microbatch_cut(const wr_sized *text, size_t n, size_t tokens, size_t *begin);

/* Tokens of a micro-batch when n texts are to keep `threads` threads busy to the end: at least two for each thread while
 * they do not become smaller than WR_MICRO_BATCH_LEAST, never more than WR_MICRO_BATCH_TOKENS. */
size_t wr_microbatch_tokens(const wr_sized *text, size_t n, size_t threads);

/* A text's length when only its bytes are known: English WordPiece has 4 to 5 bytes a token. */
size_t wr_microbatch_guess(size_t bytes, size_t max);

/* Relevance of documents to a query in one pass: score[n], and cut[n] (may be NULL) for pairs longer than the model takes.
 *   effort          NULL = all layers, all tokens
 *   query, doc[n]   ids without special tokens, from the model's own tokenizer; more than the model takes is fine
 *   first           nothing of this stage has been scored yet
 * WR_STOPPED, with score undefined, when the budget ended on the way, or when the model's measured speed says that it
 * would. Where that keeps a stage from scoring its first pair, the prediction is doubted (wr_model_doubt), so that one
 * burst of contention is forgotten although nothing runs that could correct it. */
wr_status wr_score_pairs(const wr_model *model, const wr_effort *effort, const wr_tokens *query, const wr_tokens *doc,
                         size_t n, bool first, wr_arena *arena, const wr_budget *budget, float *score, bool *cut);

#endif
