/* Cross-encoder stage: query and document through one encoder, in micro-batches over the pool, best candidates first.
 *
 * A few runner tasks claim pairs in rank order. After each micro-batch a runner goes to the end of the pool's queue, so
 * that several requests share the workers pair by pair. With a deadline a micro-batch is begun only when the model's
 * measured speed says that it will end in time; one that was begun stops at the soft deadline between two layers.
 */
#include <string.h>

#include "ranker/job.h"

/* Pairs in one micro-batch without a deadline: 8 passages of about 90 tokens are the rows from which GEMM runs near its
 * peak (models/embed.h). */
#define STEP_UNBOUNDED 8

/* With a deadline a micro-batch should last about this long: short enough that little is lost when time runs out, long
 * enough that handing out work is nothing beside it. */
#define STEP_NS 4000000

/* What a pair is taken to have when the next step is planned: a passage of MS MARCO with its query. */
#define TYPICAL_PAIR_TOKENS 96

wr_status wr_document_text(const wr_doc *doc, wr_arena *arena, const char **text, size_t *n)
{
    const char *from = doc->text, *to;
    *n = doc->text_len;
    if (doc->title_len) {
        char *both = wr_arena_alloc(arena, doc->title_len + 1 + doc->text_len + 1);
        if (!both) return WR_ENOMEM;
        memcpy(both, doc->title, doc->title_len);
        both[doc->title_len] = ' ';
        memcpy(both + doc->title_len + 1, doc->text, doc->text_len);
        from = both;
        *n += doc->title_len + 1;
    }
    to = from + *n;
    while (from < to && strchr(" \t\r\n", *from) && *from) from++;
    while (to > from && strchr(" \t\r\n", to[-1]) && to[-1]) to--;
    *text = from;
    *n = (size_t)(to - from);
    return WR_OK;
}

static size_t step_for(const wr_model *model, const wr_effort *effort, const wr_budget *budget)
{
    if (!wr_budget_has_deadline(budget)) return STEP_UNBOUNDED;
    uint64_t pair_ns = wr_model_predict_ns_with(model, effort, TYPICAL_PAIR_TOKENS);
    size_t step = pair_ns ? STEP_NS / pair_ns : 1;
    return step < 1 ? 1 : step > STEP_UNBOUNDED ? STEP_UNBOUNDED : step;
}

/* Appends pair i to the batch that is being built: id/type at *ntok. */
static wr_status add_pair(wr_cross_job *job, size_t i, wr_arena *arena, wr_docreader *reader, uint32_t *id,
                          uint8_t *type, size_t *ntok)
{
    const wr_tokenizer *tok = wr_model_tokenizer(job->model);
    size_t max = wr_model_info_get(job->model)->max_doc_tokens, n;
    uint32_t document = wr_index_document(job->scratch->ranker->index, job->docid[i]);
    const char *text;
    wr_doc doc;
    wr_tokens tokens;
    bool cut;
    wr_status st = wr_docreader_get(reader, document, &doc);
    if (!st) st = wr_document_text(&doc, arena, &text, &n);
    if (!st) st = wr_tokenizer_encode(tok, text, n, arena, max, &tokens);
    if (st) return st;
    *ntok += wr_tokenizer_pair(tok, &job->query, &tokens, max, id + *ntok, type + *ntok, &cut);
    if (cut || tokens.cut) atomic_fetch_add(&job->cut, 1);
    return WR_OK;
}

/* How many of the n sequences can be done in the time that is left. */
static size_t affordable(const wr_cross_job *job, const uint32_t *cu, size_t n)
{
    uint64_t left = wr_budget_left_ns(&job->scratch->budget);
    while (n > 0 && left != UINT64_MAX && wr_model_predict_ns_with(job->model, &job->effort, cu[n]) > left) n--;
    return left ? n : 0;
}

static wr_status score_range(wr_cross_job *job, size_t from, size_t to, wr_arena *arena, wr_docreader *reader)
{
    const wr_model_info *info = wr_model_info_get(job->model);
    size_t n = to - from, ntok = 0;
    uint32_t *id = wr_arena_alloc(arena, n * info->max_doc_tokens * sizeof *id);
    uint8_t *type = wr_arena_alloc(arena, n * info->max_doc_tokens);
    uint32_t *cu = wr_arena_calloc(arena, n + 1, sizeof *cu);
    float *logits = wr_arena_alloc(arena, n * info->nlabels * sizeof *logits);
    if (!id || !type || !cu || !logits) return WR_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        wr_status st = add_pair(job, from + i, arena, reader, id, type, &ntok);
        if (st) return st;
        cu[i + 1] = (uint32_t)ntok;
    }
    n = affordable(job, cu, n);
    if (n == 0) return WR_STOPPED;
    wr_batch batch = {.id = id, .type = type, .cu = cu, .nseq = n};
    wr_status st = wr_model_score_with(job->model, &batch, &job->effort, arena, &job->scratch->budget, logits);
    if (st) return st;
    for (size_t i = 0; i < n; i++) {
        job->score[from + i] = wr_model_relevance(job->model, logits + i * info->nlabels);
        atomic_store_explicit(&job->done[from + i], true, memory_order_release);
    }
    return from + n < to ? WR_STOPPED : WR_OK;
}

static void runner(void *arg)
{
    wr_cross_job *job = arg;
    wr_arena *arena = wr_arena_of_thread();
    size_t from = atomic_fetch_add(&job->next, job->step);
    if (from >= job->n || wr_budget_spent(&job->scratch->budget)) return;
    size_t to = from + job->step < job->n ? from + job->step : job->n;
    wr_status st = WR_ENOMEM;
    if (arena) {
        size_t mark = wr_arena_mark(arena);
        st = score_range(job, from, to, arena, job->scratch->ranker->worker[wr_pool_worker()].reader);
        wr_arena_rollback(arena, mark);
    }
    if (!st) st = wr_group_add(&job->scratch->cross_group, runner, job);
    if (st) atomic_store(&job->next, job->n); /* nobody begins another */
    if (st < 0) atomic_store(&job->status, st);
}

static wr_cross_job *new_job(wr_scratch *s, const wr_model *model, const wr_effort *effort, const uint32_t *docid,
                             size_t n)
{
    wr_cross_job *job = wr_arena_calloc(&s->arena, 1, sizeof *job);
    if (!job) return NULL;
    job->scratch = s;
    job->model = model;
    job->effort = *effort;
    job->docid = docid;
    job->n = n;
    job->step = step_for(model, effort, &s->budget);
    job->score = wr_arena_calloc(&s->arena, n, sizeof *job->score);
    job->done = wr_arena_calloc(&s->arena, n, sizeof *job->done);
    return job->score && job->done ? job : NULL;
}

wr_status wr_rerank_cross(wr_scratch *s, const wr_model *model, const wr_effort *effort, const uint32_t *docid,
                          size_t n, wr_cross_job **out, wr_err *err)
{
    wr_cross_job *job = *out = new_job(s, model, effort, docid, n);
    if (!job) return wr_fail(err, WR_ENOMEM, "cross: out of memory");
    wr_status st = wr_tokenizer_encode(wr_model_tokenizer(model), s->query, s->query_len, &s->arena,
                                       wr_model_info_get(model)->max_doc_tokens, &job->query);
    size_t runners = wr_pool_threads(s->ranker->pool);
    for (size_t i = 0; i < runners && i < n && !st; i++) st = wr_group_add(&s->cross_group, runner, job);
    /* A layer that was begun before the soft deadline may end after it: half of the reserve is left for that. */
    uint64_t until = s->budget.soft_ns;
    if (wr_budget_has_deadline(&s->budget)) until += (s->budget.hard_ns - s->budget.soft_ns) / 2;
    bool idle = wr_group_wait(&s->cross_group, until);
    wr_status worst = idle ? atomic_load(&job->status) : WR_OK;
    if (!st) st = worst;
    return st ? wr_fail(err, st, "cross: %s", wr_status_name(st)) : WR_OK;
}
