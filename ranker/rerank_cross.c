/* Cross-encoder stage: query and document through one encoder, in micro-batches over the pool.
 *
 * A few runner tasks claim micro-batches. After each one a runner goes to the end of the pool's queue, so that several
 * requests share the workers piece by piece.
 *
 * Without a deadline pairs are sorted by length and cut by tokens. With one, pairs are scored one at a time, best first,
 * each begun only when the model's measured speed says that it will end in time; one that was begun stops at the soft
 * deadline between two layers. The first pair that does not fit ends the stage, although a shorter one further down might
 * have fitted: what was scored moves to the head, and a long document would fall behind shorter ones for its length alone.
 * So what `degraded` tells as done is what was scored, and all of it is from the head of the list, but for pairs that
 * other threads had begun by then.
 *
 * Documents' ids come from the document store when the index was built with an equal tokenizer, else from the text; they
 * are the same ids.
 */
#include <string.h>

#include "indexer/batch.h"
#include "ranker/job.h"

/* The document's ids without special tokens, as many as a pair can need. */
static wr_status document_tokens(const wr_cross_job *job, size_t i, wr_arena *arena, wr_docreader *reader,
                                 wr_tokens *out)
{
    size_t max = wr_model_info_get(job->model)->max_doc_tokens;
    uint32_t document = wr_index_document(job->scratch->ranker->index, job->docid[i]);
    wr_status st = job->stored ? wr_docreader_tokens(reader, document, max, arena, out) : WR_ENOTFOUND;
    if (st != WR_ENOTFOUND) return st; /* there, or the store keeps fewer than this model takes */
    wr_text text;
    wr_doc doc;
    st = wr_docreader_get(reader, document, &doc);
    if (!st) st = wr_doc_join(&doc, arena, &text);
    return st ? st : wr_tokenizer_encode(wr_model_tokenizer(job->model), text.bytes, text.n, arena, max, out);
}

static wr_status score_batch(wr_cross_job *job, size_t b, wr_arena *arena, wr_docreader *reader)
{
    const wr_sized *pair = job->order + job->begin[b];
    size_t n = job->begin[b + 1] - job->begin[b];
    wr_tokens *doc = wr_arena_alloc(arena, n * sizeof *doc);
    float *score = wr_arena_alloc(arena, n * sizeof *score);
    bool *cut = wr_arena_alloc(arena, n * sizeof *cut);
    if (!doc || !score || !cut) return WR_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        wr_status st = document_tokens(job, pair[i].i, arena, reader, &doc[i]);
        if (st) return st;
    }
    wr_status st = wr_score_pairs(job->model, &job->effort, &job->query, doc, n, b == 0, arena,
                                  &job->scratch->budget, score, cut);
    if (st) return st;
    for (size_t i = 0; i < n; i++) {
        job->score[pair[i].i] = score[i];
        if (cut[i]) atomic_fetch_add(&job->cut, 1);
        atomic_store_explicit(&job->done[pair[i].i], true, memory_order_release);
    }
    return WR_OK;
}

static void runner(void *arg)
{
    wr_cross_job *job = arg;
    wr_arena *arena = wr_arena_of_thread();
    size_t b = atomic_fetch_add(&job->next, 1);
    if (b >= job->nbatches || wr_budget_spent(&job->scratch->budget)) return;
    wr_status st = WR_ENOMEM;
    if (arena) {
        size_t mark = wr_arena_mark(arena);
        st = score_batch(job, b, arena, job->scratch->ranker->worker[wr_pool_worker()].reader);
        wr_arena_rollback(arena, mark);
    }
    if (!st) st = wr_group_add(&job->scratch->rerank_group, runner, job);
    if (st) atomic_store(&job->next, job->nbatches); /* nobody begins another */
    if (st < 0) atomic_store(&job->status, st);
}

/* A pair's tokens, exact from stored ids, else guessed from the document's bytes. */
static wr_status pair_tokens(const wr_cross_job *job, size_t i, size_t *ntok)
{
    size_t max = wr_model_info_get(job->model)->max_doc_tokens, n = 0;
    uint32_t document = wr_index_document(job->scratch->ranker->index, job->docid[i]);
    wr_status st = job->stored ? wr_docreader_ntokens(job->scratch->reader, document, &n) : WR_ENOTFOUND;
    if (st == WR_ENOTFOUND) {
        wr_doc doc;
        st = wr_docreader_get(job->scratch->reader, document, &doc);
        n = st ? 0 : wr_microbatch_guess(doc.title_len + doc.text_len, max);
    }
    n += job->query.n;
    *ntok = n < 1 ? 1 : n > max ? max : n;
    return st;
}

static wr_status plan(wr_cross_job *job)
{
    bool deadline = wr_budget_has_deadline(&job->scratch->budget);
    size_t n = job->n, tokens = 0;
    for (size_t i = 0; i < n; i++) {
        job->order[i] = (wr_sized){i, 1};
        wr_status st = deadline ? WR_OK : pair_tokens(job, i, &job->order[i].ntok);
        if (st) return st;
    }
    if (!deadline) {
        wr_microbatch_sort(job->order, n);
        tokens = wr_microbatch_tokens(job->order, n, wr_pool_threads(job->scratch->ranker->pool));
    }
    job->nbatches = wr_microbatch_cut(job->order, n, tokens, job->begin);
    return WR_OK;
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
    job->stored = !strcmp(wr_index_info_get(s->ranker->index)->tokenizer_sha256,
                          wr_tokenizer_sha256(wr_model_tokenizer(model)));
    job->order = wr_arena_alloc(&s->arena, n * sizeof *job->order);
    job->begin = wr_arena_alloc(&s->arena, (n + 1) * sizeof *job->begin);
    job->score = wr_arena_calloc(&s->arena, n, sizeof *job->score);
    job->done = wr_arena_calloc(&s->arena, n, sizeof *job->done);
    return job->order && job->begin && job->score && job->done ? job : NULL;
}

wr_status wr_rerank_cross(wr_scratch *s, const wr_model *model, const wr_effort *effort, const uint32_t *docid,
                          size_t n, wr_cross_job **out, wr_err *err)
{
    wr_cross_job *job = *out = new_job(s, model, effort, docid, n);
    if (!job) return wr_fail(err, WR_ENOMEM, "cross: out of memory");
    wr_status st = wr_query_tokens(s, model, &job->query);
    if (!st) st = plan(job);
    size_t runners = wr_pool_threads(s->ranker->pool);
    for (size_t i = 0; i < runners && i < job->nbatches && !st; i++) st = wr_group_add(&s->rerank_group, runner, job);
    /* A layer that was begun before the soft deadline may end after it: half of the reserve is left for that. */
    uint64_t until = s->budget.soft_ns;
    if (wr_budget_has_deadline(&s->budget)) until += (s->budget.hard_ns - s->budget.soft_ns) / 2;
    bool idle = wr_group_wait(&s->rerank_group, until);
    wr_status worst = idle ? atomic_load(&job->status) : WR_OK;
    if (!st) st = worst;
    return st ? wr_fail(err, st, "cross: %s", wr_status_name(st)) : WR_OK;
}
