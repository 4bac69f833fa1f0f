#include "models/embed.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "data/arena.h"

typedef struct embed_job {
    const wr_model *model;
    const wr_model *second; /* a sparse model that shares the pass of an embedder, or NULL */
    const wr_budget *budget;
    const wr_tokens *ids;     /* [n] without specials */
    size_t max;               /* tokens of one, specials included */
    const wr_sized *order;    /* [n] by length */
    const size_t *begin;      /* [nbatches + 1] micro-batch b is order[begin[b] .. begin[b + 1]) */
    wr_crew *crew;            /* where there are fewer batches than threads */
    float *out;               /* [n, dim] an embedder's   */
    wr_token_weights *sparse; /* [n] a sparse model's     */
    double share;             /* of a text's largest weight: what is not above is dropped */
    _Atomic wr_status status;
} embed_job;

/* Keeps the first status that is not WR_OK; errors win over WR_STOPPED. */
static void note(_Atomic wr_status *status, wr_status st)
{
    wr_status none = WR_OK;
    if (st < 0)
        atomic_store(status, st);
    else if (st)
        atomic_compare_exchange_strong(status, &none, st);
}

/* A copy of what weighs more than a share of the largest, in one block that begins with the ids. */
static wr_status keep_weights(const float *row, size_t vocab, double share, wr_token_weights *out)
{
    float max = 0;
    size_t n = 0;
    for (size_t v = 0; v < vocab; v++) max = row[v] > max ? row[v] : max;
    float least = (float)share * max;
    for (size_t v = 0; v < vocab; v++) n += row[v] > least;
    uint32_t *id = malloc(n * (sizeof *out->id + sizeof *out->weight) + 1);
    if (!id) return WR_ENOMEM;
    *out = (wr_token_weights){.id = id, .weight = (float *)(void *)(id + n)};
    for (size_t v = 0; v < vocab; v++) {
        if (!(row[v] > least)) continue;
        out->id[out->n] = (uint32_t)v;
        out->weight[out->n++] = row[v];
    }
    return WR_OK;
}

void wr_token_weights_release(wr_token_weights *weights, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(weights[i].id);
        weights[i] = (wr_token_weights){0};
    }
}

/* Runs the models that the job has; vectors [nseq, dim] and weights [nseq, vocab] are what it asks for, else NULL. */
static wr_status run_models(const embed_job *job, const wr_batch *batch, wr_arena *arena, float *vectors,
                            float *weights)
{
    if (job->second)
        return wr_model_embed_sparse(job->model, job->second, batch, job->crew, arena, job->budget, vectors, weights);
    if (weights) return wr_model_sparse(job->model, batch, arena, job->budget, weights);
    return wr_model_embed_shared(job->model, batch, job->crew, arena, job->budget, vectors);
}

static wr_status run_batch(const embed_job *job, const wr_sized *text, const wr_batch *batch, wr_arena *arena)
{
    size_t n = batch->nseq, dim = wr_model_info_get(job->model)->dim, vocab = wr_model_info_get(job->model)->vocab;
    float *vectors = job->out ? wr_arena_alloc(arena, n * dim * sizeof *vectors) : NULL;
    float *weights = job->sparse ? wr_arena_alloc(arena, n * vocab * sizeof *weights) : NULL;
    if ((job->out && !vectors) || (job->sparse && !weights)) return WR_ENOMEM;
    wr_status st = run_models(job, batch, arena, vectors, weights);
    for (size_t i = 0; i < n && !st; i++) {
        if (vectors) memcpy(job->out + text[i].i * dim, vectors + i * dim, dim * sizeof *vectors);
        if (weights) st = keep_weights(weights + i * vocab, vocab, job->share, &job->sparse[text[i].i]);
    }
    return st;
}

static wr_status embed_range(const embed_job *job, const wr_sized *text, size_t n, wr_arena *arena)
{
    size_t ntok = 0;
    for (size_t i = 0; i < n; i++) ntok += text[i].ntok;
    uint32_t *id = wr_arena_alloc(arena, ntok * sizeof *id), *cu = wr_arena_alloc(arena, (n + 1) * sizeof *cu);
    if (!id || !cu) return WR_ENOMEM;
    cu[0] = 0;
    for (size_t i = 0; i < n; i++)
        cu[i + 1] = cu[i] + (uint32_t)wr_tokenizer_single_ids(wr_model_tokenizer(job->model), &job->ids[text[i].i],
                                                              job->max, id + cu[i], NULL);
    wr_batch batch = {.id = id, .cu = cu, .nseq = n};
    return run_batch(job, text, &batch, arena);
}

static void embed_batch(void *arg, size_t b)
{
    embed_job *job = arg;
    wr_arena *arena = wr_arena_of_thread();
    if (atomic_load(&job->status)) return;
    if (!arena) {
        note(&job->status, WR_ENOMEM);
        return;
    }
    wr_model_thread_init();
    size_t mark = wr_arena_mark(arena);
    note(&job->status, embed_range(job, job->order + job->begin[b], job->begin[b + 1] - job->begin[b], arena));
    wr_arena_rollback(arena, mark);
}

typedef struct token_job {
    const wr_tokenizer *tok;
    const wr_text *text;
    size_t n, max;
    wr_arena *arena; /* [parts] one for each part: what they hold lives until the texts are encoded */
    wr_tokens *out;
    size_t parts;
    _Atomic wr_status status;
} token_job;

static void tokenise_part(void *arg, size_t part)
{
    token_job *job = arg;
    size_t from = job->n * part / job->parts, to = job->n * (part + 1) / job->parts;
    for (size_t i = from; i < to && !atomic_load(&job->status); i++)
        note(&job->status, wr_tokenizer_encode(job->tok, job->text[i].bytes, job->text[i].n, &job->arena[part],
                                               job->max, &job->out[i]));
}

wr_status wr_tokenise_texts(const wr_tokenizer *tok, wr_pool *pool, const wr_text *text, size_t n, size_t max,
                            wr_arena *part, wr_tokens *out)
{
    token_job job = {tok, text, n, max, part, out, WR_TOKEN_PARTS, WR_OK};
    wr_pool_for(pool, job.parts, tokenise_part, &job);
    return atomic_load(&job.status);
}

/* Address space for one part's ids and what the tokenizer needs on the way. */
#define PART_BYTES ((size_t)256 << 20)

/* Texts of no more than this together are tokenised by the caller: handing out a part takes as long as 16 KB. */
#define FEW_BYTES 16384

static wr_status tokenise(const wr_tokenizer *tok, wr_pool *pool, const wr_text *text, size_t n, size_t max,
                          wr_arena part[], wr_tokens *out)
{
    size_t bytes = 0;
    wr_status st = WR_OK;
    for (size_t i = 0; i < n; i++) bytes += text[i].n;
    if (bytes <= FEW_BYTES) {
        token_job job = {tok, text, n, max, wr_arena_of_thread(), out, 1, WR_OK};
        if (!job.arena) return WR_ENOMEM;
        tokenise_part(&job, 0);
        return atomic_load(&job.status);
    }
    for (size_t i = 0; i < WR_TOKEN_PARTS && !st; i++) st = wr_arena_init(&part[i], PART_BYTES);
    return st ? st : wr_tokenise_texts(tok, pool, text, n, max, part, out);
}

/* All batches; where there are fewer than threads, one after the other by a crew. */
static void embed_batches(embed_job *job, wr_pool *pool, size_t nbatches)
{
    if (nbatches >= wr_pool_threads(pool)) {
        wr_pool_for(pool, nbatches, embed_batch, job);
        return;
    }
    job->crew = wr_crew_gather(pool);
    for (size_t b = 0; b < nbatches; b++) embed_batch(job, b);
    wr_crew_dismiss(job->crew);
}

/* Sorts, cuts into micro-batches and runs them as job says. */
static wr_status run_tokens(embed_job *job, wr_pool *pool, const wr_tokens *ids, size_t n, bool query, bool *cut)
{
    const wr_model_info *info = wr_model_info_get(job->model);
    wr_sized *order = calloc(n + 1, sizeof *order);
    size_t *begin = calloc(n + 1, sizeof *begin);
    wr_status st = order && begin ? WR_OK : WR_ENOMEM;
    job->ids = ids;
    job->max = query ? info->max_query_tokens : info->max_doc_tokens;
    for (size_t i = 0; i < n && !st; i++)
        order[i] = (wr_sized){i, wr_tokenizer_single_ids(wr_model_tokenizer(job->model), &ids[i], job->max, NULL,
                                                         cut ? &cut[i] : NULL)};
    if (!st) {
        wr_microbatch_sort(order, n);
        job->order = order;
        job->begin = begin;
        embed_batches(job, pool, wr_microbatch_cut(order, n, WR_MICRO_BATCH_TOKENS, begin));
        st = atomic_load(&job->status);
    }
    free(order);
    free(begin);
    return st;
}

static wr_status run_texts(embed_job *job, wr_pool *pool, const wr_text *text, size_t n, bool query, bool *cut)
{
    const wr_model_info *info = wr_model_info_get(job->model);
    size_t max = query ? info->max_query_tokens : info->max_doc_tokens;
    wr_arena part[WR_TOKEN_PARTS] = {0}, *own = wr_arena_of_thread();
    wr_tokens *ids = calloc(n + 1, sizeof *ids);
    size_t mark = own ? wr_arena_mark(own) : 0;
    wr_status st = ids ? tokenise(wr_model_tokenizer(job->model), pool, text, n, max, part, ids) : WR_ENOMEM;
    if (!st) st = run_tokens(job, pool, ids, n, query, cut);
    for (size_t i = 0; i < WR_TOKEN_PARTS; i++) wr_arena_release(&part[i]);
    if (own) wr_arena_rollback(own, mark);
    free(ids);
    return st;
}

wr_status wr_embed_tokens(const wr_model *model, wr_pool *pool, const wr_tokens *ids, size_t n, bool query,
                          const wr_budget *budget, float *out, bool *cut)
{
    embed_job job = {.model = model, .budget = budget, .out = out};
    if (wr_model_info_get(model)->kind != WR_MODEL_EMBED) return WR_EARG;
    return run_tokens(&job, pool, ids, n, query, cut);
}

wr_status wr_embed_sparse_tokens(const wr_model *dense, const wr_model *sparse, wr_pool *pool, const wr_tokens *ids,
                                 size_t n, const wr_budget *budget, float *vectors, wr_token_weights *weights,
                                 bool *cut)
{
    embed_job job = {.model = dense,
                     .second = sparse,
                     .budget = budget,
                     .out = vectors,
                     .sparse = weights,
                     .share = wr_model_info_get(sparse)->prune_ratio};
    memset(weights, 0, n * sizeof *weights);
    wr_status st = run_tokens(&job, pool, ids, n, false, cut);
    if (st) wr_token_weights_release(weights, n);
    return st;
}

wr_status wr_embed_texts(const wr_model *model, wr_pool *pool, const wr_text *text, size_t n, bool query,
                         const wr_budget *budget, float *out, bool *cut)
{
    embed_job job = {.model = model, .budget = budget, .out = out};
    if (wr_model_info_get(model)->kind != WR_MODEL_EMBED) return WR_EARG;
    return run_texts(&job, pool, text, n, query, cut);
}

/* Queries that need no model: one look-up a token, on this thread. */
static wr_status look_up(const wr_model *model, const wr_text *text, size_t n, wr_token_weights *out, bool *cut)
{
    const wr_idf *idf = wr_model_idf(model);
    wr_arena *arena = wr_arena_of_thread();
    wr_status st = arena ? WR_OK : WR_ENOMEM;
    size_t mark = arena ? wr_arena_mark(arena) : 0;
    for (size_t i = 0; i < n && !st; i++) {
        wr_token_weights found;
        st = wr_idf_query(idf->weight, idf->n, wr_model_tokenizer(model), text[i].bytes, text[i].n,
                          wr_model_info_get(model)->max_query_tokens, arena, &found, cut ? &cut[i] : NULL);
        if (st) break;
        uint32_t *id = malloc(found.n * (sizeof *id + sizeof *found.weight) + 1);
        if (!id)
            st = WR_ENOMEM;
        else {
            out[i] = (wr_token_weights){.id = id, .weight = (float *)(void *)(id + found.n), .n = found.n};
            memcpy(out[i].id, found.id, found.n * sizeof *id);
            memcpy(out[i].weight, found.weight, found.n * sizeof *found.weight);
        }
        wr_arena_rollback(arena, mark);
    }
    if (arena) wr_arena_rollback(arena, mark);
    return st;
}

wr_status wr_sparse_texts(const wr_model *model, wr_pool *pool, const wr_text *text, size_t n, bool query,
                          const wr_budget *budget, wr_token_weights *out, bool *cut)
{
    const wr_model_info *info = wr_model_info_get(model);
    embed_job job = {.model = model, .budget = budget, .sparse = out, .share = query ? 0 : info->prune_ratio};
    memset(out, 0, n * sizeof *out);
    if (info->kind != WR_MODEL_SPARSE) return WR_EARG;
    wr_status st =
        query && info->has_idf ? look_up(model, text, n, out, cut) : run_texts(&job, pool, text, n, query, cut);
    if (st) wr_token_weights_release(out, n);
    return st;
}

wr_status wr_sparse_tokens(const wr_model *model, wr_pool *pool, const wr_tokens *ids, size_t n, const wr_budget *budget,
                           wr_token_weights *out, bool *cut)
{
    const wr_model_info *info = wr_model_info_get(model);
    embed_job job = {.model = model, .budget = budget, .sparse = out, .share = info->prune_ratio};
    memset(out, 0, n * sizeof *out);
    if (info->kind != WR_MODEL_SPARSE) return WR_EARG;
    wr_status st = run_tokens(&job, pool, ids, n, false, cut);
    if (st) wr_token_weights_release(out, n);
    return st;
}
