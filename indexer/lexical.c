#include "indexer/lexical.h"

#include <stdbool.h>
#include <stdlib.h>

float wr_lexical_share(uint32_t tf, size_t n)
{
    float length = 1 - WR_LEXICAL_B + WR_LEXICAL_B * ((float)n / WR_LEXICAL_LENGTH);
    return (float)tf / ((float)tf + WR_LEXICAL_K1 * length);
}

wr_status wr_term_counts_init(wr_term_counts *counts, size_t vocab)
{
    *counts = (wr_term_counts){.count = calloc(vocab + 1, sizeof *counts->count), .vocab = vocab};
    return counts->count ? WR_OK : WR_ENOMEM;
}

void wr_term_counts_release(wr_term_counts *counts)
{
    free(counts->count);
    *counts = (wr_term_counts){0};
}

/* The count of a token, which is then 0. */
static uint32_t take(wr_term_counts *counts, uint32_t id)
{
    if (id >= counts->vocab) return 0;
    uint32_t count = counts->count[id];
    counts->count[id] = 0;
    return count;
}

static bool counts_as_word(const wr_term_counts *counts, const wr_tokenizer *tok, const wr_idf *idf, uint32_t id)
{
    if (id >= counts->vocab || wr_tokenizer_is_special(tok, id)) return false;
    return !idf || (id < idf->n && idf->weight[id] >= WR_LEXICAL_LEAST);
}

void wr_lexical_add(wr_term_counts *counts, const wr_tokenizer *tok, const wr_tokens *tokens, const wr_idf *idf,
                    float lambda, wr_token_weights *w)
{
    for (size_t t = 0; t < tokens->n; t++)
        if (counts_as_word(counts, tok, idf, tokens->id[t])) counts->count[tokens->id[t]]++;
    for (size_t i = 0; i < w->n; i++) {
        uint32_t tf = take(counts, w->id[i]);
        if (tf) w->weight[i] += lambda * wr_lexical_share(tf, tokens->n);
    }
    for (size_t t = 0; t < tokens->n; t++) {
        uint32_t tf = take(counts, tokens->id[t]);
        if (!tf) continue;
        w->id[w->n] = tokens->id[t];
        w->weight[w->n++] = lambda * wr_lexical_share(tf, tokens->n);
    }
}
