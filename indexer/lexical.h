/* What a document's own words add to its learned weights.
 *
 * A learned weight is the largest that any position of the text gives its token (heads.h), so it does not know how often
 * the token occurs, and a masked language model's vocabulary cuts rare words into pieces that say little alone. Term
 * frequency is what BM25 ranks by; a document gets its part of it once, when it is indexed:
 *
 *     w'[t] = w[t] + lambda tf / (tf + k1 (1 - b + b n / L))         k1 = 2, b = 0.8, L = 128
 *
 * for the tokens t of its text, tf how often each occurs among the text's n tokens. BM25's formula without its idf, which
 * the query's weights bring, and with a fixed length in place of the collection's mean, so that a document's weights
 * depend on it alone. lambda is the model's word (config.json: sparse_lexical) or --sparse-lexical; 0 leaves the weights
 * alone. All the text counts, also what is behind the model's limit.
 *
 * k1, b, L and lambda 1 were chosen on five development collections, whose nDCG@10 of .563 moves by at most .004 for k1 2
 * to 3, L 128 to 200, lambda 0.7 to 1.5 (BENCHMARKS.md, "Learned sparse by default").
 */
#ifndef WR_INDEXER_LEXICAL_H
#define WR_INDEXER_LEXICAL_H

#include <stddef.h>
#include <stdint.h>

#include "data/status.h"
#include "models/idf.h"
#include "models/tokenizer.h"

#define WR_LEXICAL_K1 2.0F
#define WR_LEXICAL_B 0.8F
#define WR_LEXICAL_LENGTH 128.0F /* what learned sparse encoders are trained on */
/* Words that a query weighs less by the model's table add nothing: more than a third of all texts have them (exp(-1), idf.h),
 * and without them queries meet half as many postings on DL19 and rank no worse. */
#define WR_LEXICAL_LEAST 1.0F

/* tf / (tf + k1 (1 - b + b n / L)), tf >= 1. */
float wr_lexical_share(uint32_t tf, size_t n);

/* How often each token occurs in one text; reused for the next. */
typedef struct wr_term_counts {
    uint32_t *count; /* [vocab], all 0 between two texts */
    size_t vocab;
} wr_term_counts;

wr_status wr_term_counts_init(wr_term_counts *counts, size_t vocab); /* WR_ENOMEM */
void wr_term_counts_release(wr_term_counts *counts);                 /* a zeroed one is fine */

/* w, with room for w->n + tokens->n, gets lambda times the share of every token of the text: those that it has first,
 * behind them the others in the order of the text. Special tokens (unknown words) are left out, and those that idf (NULL:
 * it is not known) weighs below WR_LEXICAL_LEAST. */
void wr_lexical_add(wr_term_counts *counts, const wr_tokenizer *tok, const wr_tokens *tokens, const wr_idf *idf,
                    float lambda, wr_token_weights *w);

#endif
