/* wr_score_texts() of embed.h: relevance of texts to a query. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "models/embed.h"

typedef struct score_job {
    const wr_model *model;
    const wr_budget *budget;
    wr_effort effort;
    const wr_text *text;
    const wr_sized *order; /* [n] */
    const size_t *begin;   /* micro-batch b is order[begin[b]..begin[b + 1]) */
    wr_tokens query;
    float *score;
    bool *done, *cut;
    _Atomic wr_status status;
} score_job;

static wr_status score_range(score_job *job, const wr_sized *pair, size_t n, bool first, wr_arena *arena)
{
    size_t max = wr_model_info_get(job->model)->max_doc_tokens;
    wr_tokens *doc = wr_arena_alloc(arena, n * sizeof *doc);
    float *score = wr_arena_alloc(arena, n * sizeof *score);
    bool *cut = wr_arena_alloc(arena, n * sizeof *cut);
    if (!doc || !score || !cut) return WR_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const wr_text *t = &job->text[pair[i].i];
        wr_status st = wr_tokenizer_encode(wr_model_tokenizer(job->model), t->bytes, t->n, arena, max, &doc[i]);
        if (st) return st;
    }
    wr_status st = wr_score_pairs(job->model, &job->effort, &job->query, doc, n, first, arena, job->budget, score, cut);
    for (size_t i = 0; i < n && !st; i++) {
        job->score[pair[i].i] = score[i];
        job->done[pair[i].i] = true;
        if (job->cut) job->cut[pair[i].i] = cut[i];
    }
    return st;
}

static void score_batch(void *arg, size_t b)
{
    score_job *job = arg;
    wr_status none = WR_OK;
    wr_arena *arena = wr_arena_of_thread();
    if (atomic_load(&job->status) || wr_budget_spent(job->budget)) return;
    wr_model_thread_init();
    size_t mark = arena ? wr_arena_mark(arena) : 0;
    wr_status st = WR_ENOMEM;
    if (arena) st = score_range(job, job->order + job->begin[b], job->begin[b + 1] - job->begin[b], b == 0, arena);
    if (arena) wr_arena_rollback(arena, mark);
    if (st < 0) atomic_store(&job->status, st);
    else if (st) atomic_compare_exchange_strong(&job->status, &none, st);
}

/* One after the other with a deadline, the best first; else sorted by what their lengths seem to be. */
static size_t plan(wr_sized *order, size_t *begin, const score_job *job, size_t n, size_t threads)
{
    size_t max = wr_model_info_get(job->model)->max_doc_tokens;
    for (size_t i = 0; i < n; i++)
        order[i] = (wr_sized){i, job->query.n + wr_microbatch_guess(job->text[i].n, max)};
    if (wr_budget_has_deadline(job->budget)) return wr_microbatch_cut(order, n, 0, begin);
    wr_microbatch_sort(order, n);
    return wr_microbatch_cut(order, n, wr_microbatch_tokens(order, n, threads), begin);
}

/* All micro-batches; where there are fewer than threads, one after the other by a crew. */
static void score_batches(score_job *job, wr_pool *pool, size_t nbatches)
{
    if (nbatches >= wr_pool_threads(pool)) {
        wr_pool_for(pool, nbatches, score_batch, job);
        return;
    }
    job->effort.crew = wr_crew_gather(pool);
    for (size_t b = 0; b < nbatches; b++) score_batch(job, b);
    wr_crew_dismiss(job->effort.crew);
}

wr_status wr_score_texts(const wr_model *model, wr_pool *pool, wr_text query, const wr_text *text, size_t n,
                         const wr_budget *budget, float *score, bool *done, bool *cut)
{
    return wr_score_texts_with(model, NULL, pool, query, text, n, budget, score, done, cut);
}

wr_status wr_score_texts_with(const wr_model *model, const wr_effort *effort, wr_pool *pool, wr_text query,
                              const wr_text *text, size_t n, const wr_budget *budget, float *score, bool *done,
                              bool *cut)
{
    const wr_model_info *info = wr_model_info_get(model);
    wr_arena *arena = wr_arena_of_thread();
    if (info->kind != WR_MODEL_CROSS) return WR_EARG;
    if (!arena) return WR_ENOMEM;
    score_job job = {.model = model, .budget = budget, .text = text, .score = score, .done = done, .cut = cut};
    if (effort) job.effort = *effort;
    size_t mark = wr_arena_mark(arena);
    wr_sized *order = calloc(n + 1, sizeof *order);
    size_t *begin = calloc(n + 1, sizeof *begin);
    wr_status st = order && begin ? WR_OK : WR_ENOMEM;
    memset(done, 0, n * sizeof *done);
    if (cut) memset(cut, 0, n * sizeof *cut);
    if (!st)
        st = wr_tokenizer_encode(wr_model_tokenizer(model), query.bytes, query.n, arena, info->max_doc_tokens,
                                 &job.query);
    job.order = order;
    job.begin = begin;
    if (!st) score_batches(&job, pool, plan(order, begin, &job, n, wr_pool_threads(pool)));
    if (!st) st = atomic_load(&job.status);
    wr_arena_rollback(arena, mark);
    free(order);
    free(begin);
    return st > 0 ? WR_OK : st;
}
