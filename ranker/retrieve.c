/* First stage: the lexical lists on the coordinator, the dense and the learned sparse ones (retrieve_sparse.c) on the
 * pool at the same time. */
#include <stdlib.h>
#include <string.h>

#include "ranker/job.h"

static double ms_since(uint64_t start_ns)
{
    return (double)(wr_clock_now(&wr_clock_system) - start_ns) / 1e6;
}

/* ---- lexical ---- */

static int term_order(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The query's terms as unique ids, ascending, weight = count * idf. */
static wr_status lexical_query(wr_scratch *s, wr_sparse_query *query)
{
    const wr_sparse *bm25 = wr_index_bm25(s->ranker->index);
    wr_term *terms;
    size_t n, nids = 0, nunique = 0;
    wr_status st = wr_analyzer_terms(s->analyzer, s->query, s->query_len, &s->arena, &terms, &n);
    if (st) return st;
    uint32_t *id = wr_arena_alloc(&s->arena, n * sizeof *id);
    float *weight = wr_arena_calloc(&s->arena, n, sizeof *weight);
    if (!id || !weight) return WR_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        int64_t t = wr_sparse_term(bm25, terms[i].text, terms[i].len);
        if (t >= 0) id[nids++] = (uint32_t)t;
    }
    qsort(id, nids, sizeof *id, term_order);
    for (size_t i = 0; i < nids; i++) {
        if (nunique == 0 || id[nunique - 1] != id[i]) id[nunique++] = id[i];
        weight[nunique - 1] += wr_sparse_idf(bm25, id[i]);
    }
    *query = (wr_sparse_query){.term = id, .weight = weight, .n = nunique};
    return WR_OK;
}

static wr_status retrieve_bm25(wr_scratch *s, wr_list_job *job, const wr_sparse_query *query)
{
    uint64_t start = wr_clock_now(&wr_clock_system);
    wr_status st = wr_sparse_search(wr_index_bm25(s->ranker->index), query, job->stage->depth, s->exclude, s->nexclude,
                                    &s->budget, &s->arena, &job->hits);
    job->ms = ms_since(start);
    atomic_store_explicit(&job->published, !st, memory_order_release);
    return st;
}

wr_status wr_query_tokens(wr_scratch *s, const wr_model *model, wr_tokens *out)
{
    const wr_tokenizer *tok = wr_model_tokenizer(model);
    for (size_t i = 0; i < s->nids; i++) {
        if (strcmp(s->ids_of[i], wr_tokenizer_sha256(tok))) continue;
        *out = s->ids[i];
        return WR_OK;
    }
    wr_status st = wr_tokenizer_encode(tok, s->query, s->query_len, &s->arena, SIZE_MAX, out);
    if (st || s->nids == WR_MAX_QUERY_IDS) return st;
    s->ids_of[s->nids] = wr_tokenizer_sha256(tok);
    s->ids[s->nids++] = *out;
    return WR_OK;
}

/* ---- dense ---- */

/* The query's vector into out[dim]; WR_STOPPED when there is no time for it. */
static wr_status encode(wr_scratch *s, wr_arena *arena, float *out)
{
    const wr_model *model = s->ranker->encoder;
    const wr_tokenizer *tok = wr_model_tokenizer(model);
    uint64_t start = wr_clock_now(&wr_clock_system);
    s->query_tokens = wr_tokenizer_single_ids(tok, &s->dense_ids, SIZE_MAX, NULL, NULL);
    uint32_t *id = wr_arena_alloc(arena, s->query_tokens * sizeof *id);
    if (!id) return WR_ENOMEM;
    s->query_tokens_used =
        wr_tokenizer_single_ids(tok, &s->dense_ids, wr_model_info_get(model)->max_query_tokens, id, NULL);
    uint32_t cu[2] = {0, (uint32_t)s->query_tokens_used};
    wr_batch batch = {.id = id, .cu = cu, .nseq = 1};
    wr_crew *crew = wr_crew_gather(s->ranker->pool); /* one query alone gets all idle cores */
    wr_status st = wr_model_embed_shared(model, &batch, crew, arena, &s->budget, out);
    wr_crew_dismiss(crew);
    s->encode_ms = ms_since(start);
    return st;
}

static wr_status search_list(wr_scratch *s, wr_arena *arena, const float *vector, wr_list_job *job)
{
    wr_dense_params params = {.ef = job->stage->ef, .nprobe = job->stage->nprobe};
    uint64_t start = wr_clock_now(&wr_clock_system);
    wr_hits hits;
    wr_status st = wr_dense_search(wr_index_dense(s->ranker->index), vector, job->stage->depth, &params, s->exclude,
                                   s->nexclude, &s->budget, s->ranker->pool, arena, &hits);
    if (st) return st;
    memcpy(job->docid, hits.docid, hits.n * sizeof *hits.docid);
    memcpy(job->score, hits.score, hits.n * sizeof *hits.score);
    job->hits = hits;
    job->hits.docid = job->docid;
    job->hits.score = job->score;
    job->ms = ms_since(start);
    atomic_store_explicit(&job->published, true, memory_order_release);
    return WR_OK;
}

/* One task for all dense lists of the request: they share the vector. */
static void dense_task(void *arg)
{
    wr_scratch *s = arg;
    wr_arena *arena = wr_arena_of_thread();
    size_t mark = arena ? wr_arena_mark(arena) : 0;
    float *own = arena ? wr_arena_alloc(arena, wr_dense_dim(wr_index_dense(s->ranker->index)) * sizeof *own) : NULL;
    wr_status st = own ? WR_OK : WR_ENOMEM;
    const float *vector = s->vector;
    if (!st && !vector) {
        st = encode(s, arena, own);
        vector = own;
    }
    for (size_t i = 0; i < s->pipeline.nlists; i++) {
        wr_list_job *job = &s->list[i];
        if (job->stage->kind == WR_DENSE) job->status = st ? st : search_list(s, arena, vector, job);
    }
    if (arena) wr_arena_rollback(arena, mark);
}

static wr_status start_dense(wr_scratch *s)
{
    bool any = false;
    for (size_t i = 0; i < s->pipeline.nlists; i++) {
        wr_list_job *job = &s->list[i];
        if (job->stage->kind != WR_DENSE) continue;
        any = true;
        job->docid = wr_arena_alloc(&s->arena, job->stage->depth * sizeof *job->docid);
        job->score = wr_arena_alloc(&s->arena, job->stage->depth * sizeof *job->score);
        if (!job->docid || !job->score) return WR_ENOMEM;
    }
    if (!any) return WR_OK;
    wr_status st = s->vector ? WR_OK : wr_query_tokens(s, s->ranker->encoder, &s->dense_ids);
    return st ? st : wr_group_add(&s->list_group, dense_task, s);
}

wr_status wr_retrieve(wr_scratch *s, wr_err *err)
{
    wr_sparse_query query = {0};
    bool analysed = false, sparse_here = false;
    for (size_t i = 0; i < s->pipeline.nlists; i++) {
        wr_list_job *job = &s->list[i];
        memset(job, 0, sizeof *job);
        job->stage = &s->pipeline.list[i];
    }
    wr_status st = wr_retrieve_sparse_start(s, &sparse_here); /* first: it is soon done */
    if (!st) st = start_dense(s);
    for (size_t i = 0; i < s->pipeline.nlists && !st; i++) {
        if (s->list[i].stage->kind != WR_BM25) continue;
        if (!analysed) st = lexical_query(s, &query);
        analysed = true;
        s->bm25_query = query;
        if (!st) st = retrieve_bm25(s, &s->list[i], &query);
    }
    if (!st && sparse_here) wr_retrieve_sparse_here(s);
    bool idle = wr_group_wait(&s->list_group, st ? WR_NO_DEADLINE : s->budget.soft_ns);
    for (size_t i = 0; i < s->pipeline.nlists && !st && idle; i++)
        if (s->list[i].status < 0) st = s->list[i].status;
    return st ? wr_fail(err, st, "retrieval: %s", wr_status_name(st)) : WR_OK;
}
