#include "models/microbatch.h"

#include <stdlib.h>

#define BYTES_PER_TOKEN 4

static int longest_first(const void *a, const void *b)
{
    const wr_sized *x = a, *y = b;
    if (x->ntok != y->ntok) return x->ntok > y->ntok ? -1 : 1;
    return (x->i > y->i) - (x->i < y->i);
}

void wr_microbatch_sort(wr_sized *text, size_t n)
{
    qsort(text, n, sizeof *text, longest_first);
}

size_t wr_microbatch_cut(const wr_sized *text, size_t n, size_t tokens, size_t *begin)
{
    size_t nbatches = 0, sum = 0;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || sum + text[i].ntok > tokens || i - begin[nbatches - 1] == WR_MICRO_BATCH_TEXTS) {
            begin[nbatches++] = i;
            sum = 0;
        }
        sum += text[i].ntok;
    }
    begin[nbatches] = n;
    return nbatches;
}

size_t wr_microbatch_tokens(const wr_sized *text, size_t n, size_t threads)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += text[i].ntok;
    size_t each = threads ? sum / (2 * threads) : sum;
    return each < WR_MICRO_BATCH_LEAST    ? WR_MICRO_BATCH_LEAST
           : each > WR_MICRO_BATCH_TOKENS ? WR_MICRO_BATCH_TOKENS
                                          : each;
}

size_t wr_microbatch_guess(size_t bytes, size_t max)
{
    size_t ntok = bytes / BYTES_PER_TOKEN + 1;
    return ntok < max ? ntok : max;
}

static wr_status pack(const wr_model *model, const wr_tokens *query, const wr_tokens *doc, size_t n, wr_arena *arena,
                      wr_batch *batch, bool *cut)
{
    const wr_model_info *info = wr_model_info_get(model);
    size_t max = info->max_doc_tokens, ntok = 0;
    /* Both parts are cut to what a pair has at most before they share it, as if each had been tokenised so far only. */
    wr_tokens q = wr_tokens_first(query, max);
    uint32_t *id = wr_arena_alloc(arena, n * max * sizeof *id), *cu = wr_arena_calloc(arena, n + 1, sizeof *cu);
    uint8_t *type = wr_arena_alloc(arena, n * max);
    if (!id || !cu || !type) return WR_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        bool any;
        wr_tokens d = wr_tokens_first(&doc[i], max);
        ntok += (info->joins ? wr_tokenizer_parts : wr_tokenizer_pair)(wr_model_tokenizer(model), &q, &d, max,
                                                                       id + ntok, type + ntok, &any);
        cu[i + 1] = (uint32_t)ntok;
        if (cut) cut[i] = any;
    }
    *batch = (wr_batch){.id = id, .type = type, .cu = cu, .nseq = n};
    return WR_OK;
}

wr_status wr_score_pairs(const wr_model *model, const wr_effort *effort, const wr_tokens *query, const wr_tokens *doc,
                         size_t n, bool first, wr_arena *arena, const wr_budget *budget, float *score, bool *cut)
{
    size_t nlabels = wr_model_info_get(model)->nlabels, mark = wr_arena_mark(arena);
    float *logits = wr_arena_alloc(arena, n * nlabels * sizeof *logits);
    wr_batch batch;
    wr_status st = logits ? pack(model, query, doc, n, arena, &batch, cut) : WR_ENOMEM;
    uint64_t left = wr_budget_left_ns(budget);
    if (!st && left != UINT64_MAX && wr_model_predict_ns_with(model, effort, batch.cu[n]) > left) {
        if (first && left) wr_model_doubt(model, batch.cu[n]);
        st = WR_STOPPED;
    }
    if (!st) st = wr_model_score_with(model, &batch, effort, arena, budget, logits);
    for (size_t i = 0; i < n && !st; i++) score[i] = wr_model_relevance(model, logits + i * nlabels);
    wr_arena_rollback(arena, mark);
    return st;
}
