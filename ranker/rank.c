#include "ranker/rank.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "ranker/fuse.h"
#include "ranker/job.h"

/* Address space of one request: lists of WR_MAX_K from eight retrievers with their fusion take 3 MiB; explanations and
 * texts borrowed from the map take nothing. */
#define SCRATCH_BYTES ((size_t)64 << 20)
#define SCRATCH_KEEP ((size_t)1 << 20)

/* Left between the soft and the hard deadline for ending what was begun, reading documents and serialising: a tenth of
 * the budget, at most 2 ms. */
#define RESERVE_MAX_NS 2000000u

const char *wr_reason_name(wr_reason reason)
{
    static const char *const name[] = {"budget",          "overload",        "model_unavailable", "index_unavailable",
                                       "truncated_input", "backend_timeout", "backend_error"};
    return name[reason];
}

/* ---- the ranker: one generation, open ---- */

void wr_ranker_thread_start(void)
{
    wr_model_thread_init();
    wr_dense_thread_init();
}

static wr_status open_workers(wr_ranker *r, wr_err *err)
{
    unsigned n = wr_pool_threads(r->pool);
    r->worker = calloc(n, sizeof *r->worker);
    if (!r->worker) return wr_fail(err, WR_ENOMEM, "ranker: out of memory");
    wr_status st = WR_OK;
    for (unsigned i = 0; i < n && !st; i++)
        st = wr_docreader_open(&r->worker[i].reader, wr_index_docstore(r->index), err);
    return st;
}

wr_status wr_ranker_open(wr_ranker **out, const char *dir, wr_loaded *loaded, wr_pool *pool, wr_err *err)
{
    *out = NULL;
    wr_ranker *r = calloc(1, sizeof *r);
    if (!r) return wr_fail(err, WR_ENOMEM, "ranker: out of memory");
    r->loaded = loaded;
    r->pool = pool;
    wr_sparse_stats bm25;
    wr_status st = wr_index_open(&r->index, dir, err);
    if (!st) {
        wr_sparse_stats_get(wr_index_bm25(r->index), &bm25);
        r->has_bm25 = bm25.nterms > 0 || !wr_index_info_get(r->index)->has_sparse;
    }
    if (!st && wr_index_info_get(r->index)->has_dense)
        st = wr_loaded_dense(loaded, wr_index_info_get(r->index), &r->encoder, err);
    if (!st && r->encoder && wr_model_info_get(r->encoder)->dim != wr_dense_dim(wr_index_dense(r->index)))
        st = wr_fail(err, WR_EFORMAT, "%s: vectors have %zu components, the model gives %zu", dir,
                     wr_dense_dim(wr_index_dense(r->index)), wr_model_info_get(r->encoder)->dim);
    if (!st && wr_index_info_get(r->index)->has_sparse)
        st = wr_loaded_sparse(loaded, wr_index_info_get(r->index), &r->expander, err);
    if (!st && wr_retrieve_sparse_prepare(r)) st = wr_fail(err, WR_ENOMEM, "ranker: out of memory");
    if (!st) st = open_workers(r, err);
    if (st) wr_ranker_close(r);
    else *out = r;
    return st;
}

void wr_ranker_close(wr_ranker *r)
{
    if (!r) return;
    for (unsigned i = 0; r->worker && i < wr_pool_threads(r->pool); i++) wr_docreader_close(r->worker[i].reader);
    free(r->worker);
    free(r->term_of);
    wr_index_close(r->index);
    free(r);
}

const wr_index *wr_ranker_index(const wr_ranker *r)
{
    return r->index;
}

wr_status wr_scratch_open(wr_scratch **out, wr_ranker *r, wr_err *err)
{
    *out = NULL;
    wr_scratch *s = calloc(1, sizeof *s);
    if (!s) return wr_fail(err, WR_ENOMEM, "scratch: out of memory");
    s->ranker = r;
    wr_group_init(&s->list_group, r->pool);
    wr_group_init(&s->rerank_group, r->pool);
    wr_status st = wr_arena_init(&s->arena, SCRATCH_BYTES);
    if (st) wr_fail(err, st, "scratch: no address space for %zu bytes", SCRATCH_BYTES);
    if (!st) st = wr_analyzer_open(&s->analyzer, wr_index_info_get(r->index)->analyzer, err);
    if (!st) st = wr_docreader_open(&s->reader, wr_index_docstore(r->index), err);
    if (st) wr_scratch_close(s);
    else *out = s;
    return st;
}

static void settle(wr_scratch *s)
{
    wr_group_wait(&s->list_group, WR_NO_DEADLINE);
    wr_group_wait(&s->rerank_group, WR_NO_DEADLINE);
}

void wr_scratch_close(wr_scratch *s)
{
    if (!s) return;
    settle(s);
    wr_group_release(&s->list_group);
    wr_group_release(&s->rerank_group);
    wr_analyzer_close(s->analyzer);
    wr_docreader_close(s->reader);
    wr_arena_release(&s->arena);
    free(s);
}

bool wr_scratch_busy(wr_scratch *s)
{
    return !wr_group_wait(&s->list_group, 0) || !wr_group_wait(&s->rerank_group, 0);
}

/* ---- beginning a request ---- */

static int docid_order(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static wr_status begin_exclude(wr_scratch *s, const wr_request *request)
{
    const wr_index *index = s->ranker->index;
    uint32_t document, first, n, *all;
    size_t count = 0;
    s->exclude = NULL;
    s->nexclude = 0;
    if (request->nexclude == 0) return WR_OK;
    all = wr_arena_alloc(&s->arena, request->nexclude * sizeof *all);
    if (!all) return WR_ENOMEM;
    for (size_t i = 0; i < request->nexclude; i++) {
        const char *docno = request->exclude[i];
        if (wr_docreader_find(s->reader, docno, strlen(docno), &document)) continue;
        wr_index_passages(index, document, &first, &n);
        if (n) all[count++] = first; /* one passage a document today */
    }
    qsort(all, count, sizeof *all, docid_order);
    s->exclude = all;
    s->nexclude = count;
    return WR_OK;
}

/* The request's own token weights, copied; what weighs nothing is left out. */
static wr_status begin_given(wr_scratch *s, const wr_request *request, wr_err *err)
{
    s->given = NULL;
    s->ngiven = 0;
    if (!request->sparse_token || !wr_index_sparse(s->ranker->index)) return WR_OK;
    const char **token = wr_arena_alloc(&s->arena, request->nsparse * sizeof *token);
    float *weight = wr_arena_alloc(&s->arena, request->nsparse * sizeof *weight);
    if (!token || !weight) return wr_fail(err, WR_ENOMEM, "query: out of memory");
    for (size_t i = 0; i < request->nsparse; i++) {
        const char *text = request->sparse_token[i];
        if (!(request->sparse_weight[i] > 0 && request->sparse_weight[i] <= FLT_MAX)) continue;
        if (!(token[s->ngiven] = wr_arena_strndup(&s->arena, text, strlen(text))))
            return wr_fail(err, WR_ENOMEM, "query: out of memory");
        weight[s->ngiven++] = request->sparse_weight[i];
    }
    s->given = token;
    s->given_weight = weight;
    return WR_OK;
}

static wr_status begin_query(wr_scratch *s, const wr_request *request, wr_err *err)
{
    s->query = wr_arena_strndup(&s->arena, request->query, request->query_len);
    s->query_len = request->query_len;
    s->vector = NULL;
    s->encode_ms = 0;
    s->nids = 0;
    s->query_tokens = s->query_tokens_used = s->sparse_tokens = s->sparse_tokens_used = 0;
    s->bm25_query = s->sparse_query = (wr_sparse_query){0};
    s->room_term = NULL;
    if (!s->query) return wr_fail(err, WR_ENOMEM, "query: out of memory");
    if (!request->dense || !s->ranker->encoder) return WR_OK;
    size_t dim = wr_dense_dim(wr_index_dense(s->ranker->index));
    if (request->ndense != dim)
        return wr_fail(err, WR_EARG, "query vector: %zu components, the index has %zu", request->ndense, dim);
    float *copy = wr_arena_alloc(&s->arena, dim * sizeof *copy);
    if (!copy) return wr_fail(err, WR_ENOMEM, "query: out of memory");
    memcpy(copy, request->dense, dim * sizeof *copy);
    s->vector = copy;
    return WR_OK;
}

static wr_status begin(wr_scratch *s, const wr_request *request, wr_err *err)
{
    const wr_index_info *info = wr_index_info_get(s->ranker->index);
    wr_pipeline_scope scope = {.default_pipeline = info->default_pipeline, .has_bm25 = s->ranker->has_bm25,
                               .has_dense = info->has_dense, .has_sparse = info->has_sparse,
                               .has_sparse_ann = info->has_sparse && info->sparse_clusters};
    if (request->query_len > WR_MAX_QUERY_BYTES)
        return wr_fail(err, WR_EARG, "query: %zu bytes, at most %d", request->query_len, WR_MAX_QUERY_BYTES);
    if (request->k < 1 || request->k > WR_MAX_K || request->offset > WR_MAX_K - request->k)
        return wr_fail(err, WR_EARG, "k: offset + k must be 1 to %d", WR_MAX_K);
    wr_budget_start(&s->budget, request->clock ? request->clock : &wr_clock_system, request->budget_ms, 0,
                    request->arrived_ns);
    if (wr_budget_has_deadline(&s->budget)) {
        uint64_t tenth = (s->budget.hard_ns - s->budget.start_ns) / 10;
        s->budget.soft_ns -= tenth < RESERVE_MAX_NS ? tenth : RESERVE_MAX_NS;
    }
    wr_arena_reset(&s->arena, SCRATCH_KEEP);
    s->request = request;
    scope.cross = wr_loaded_crosses(s->ranker->loaded, &scope.ncross);
    scope.list = wr_loaded_lists(s->ranker->loaded, &scope.nlist);
    wr_status st = wr_pipeline_parse(&s->pipeline, request->pipeline ? request->pipeline : "default", &scope, err);
    if (!st) st = begin_query(s, request, err);
    if (!st) st = begin_given(s, request, err);
    if (!st && begin_exclude(s, request)) st = wr_fail(err, WR_ENOMEM, "exclude: out of memory");
    return st;
}

/* ---- the ranking while it passes through the stages ---- */

static void degrade(wr_response *reply, const char *stage, wr_reason reason, uint64_t planned, uint64_t done)
{
    reply->degraded[reply->ndegraded++] =
        (wr_degraded){.stage = stage, .reason = reason, .planned = planned, .done = done};
}

static wr_stage_report *report(wr_response *reply, const wr_stage *stage, double ms, uint64_t in, uint64_t out)
{
    wr_stage_report *r = &reply->stage[reply->nstages++];
    *r = (wr_stage_report){.name = stage->name, .ms = ms, .in = in, .out = out};
    return r;
}

/* What the retrievers published: one trace and one report each; what is missing is named. */
static void collect(wr_scratch *s, wr_ranking *rank, wr_response *reply, wr_hits *list, double *weight)
{
    for (size_t i = 0; i < s->pipeline.nlists; i++) {
        wr_list_job *job = &s->list[i];
        bool there = atomic_load_explicit(&job->published, memory_order_acquire);
        list[i] = there ? job->hits : (wr_hits){.partial = true};
        weight[i] = job->stage->weight;
        rank->trace[reply->nstages] = (wr_trace){list[i].docid, list[i].score, list[i].n};
        report(reply, job->stage, there ? job->ms : wr_budget_elapsed_ms(&s->budget), list[i].seen, list[i].n);
        if (list[i].partial && job->stage->kind == WR_SPARSE && !wr_sparse_can_query(s))
            degrade(reply, job->stage->name, WR_REASON_MODEL_UNAVAILABLE, job->stage->depth, 0);
        else if (list[i].partial)
            degrade(reply, job->stage->name, WR_REASON_BUDGET, job->stage->depth, list[i].n);
        if (there && job->stage->kind == WR_SPARSE && s->sparse_tokens > s->sparse_tokens_used && !list[i].partial)
            degrade(reply, job->stage->name, WR_REASON_TRUNCATED_INPUT, s->sparse_tokens, s->sparse_tokens_used);
        if (!there || job->stage->kind != WR_DENSE) continue;
        reply->encode_ms = s->encode_ms;
        if (s->query_tokens > s->query_tokens_used && !list[i].partial)
            degrade(reply, job->stage->name, WR_REASON_TRUNCATED_INPUT, s->query_tokens, s->query_tokens_used);
    }
}

/* Room for a new order of the ranking. */
static wr_status new_order(wr_arena *arena, size_t n, wr_ranking *out)
{
    out->n = n;
    out->docid = wr_arena_alloc(arena, n * sizeof *out->docid);
    out->score = wr_arena_alloc(arena, n * sizeof *out->score);
    out->stage = wr_arena_alloc(arena, n);
    return out->docid && out->score && out->stage ? WR_OK : WR_ENOMEM;
}

static wr_status first_stage(wr_scratch *s, wr_ranking *rank, wr_response *reply, wr_err *err)
{
    wr_hits list[WR_MAX_LISTS], hits;
    double weight[WR_MAX_LISTS];
    const wr_stage *fuse = &s->pipeline.fuse;
    wr_status st = wr_retrieve(s, err);
    if (st) return st;
    collect(s, rank, reply, list, weight);
    hits = list[0];
    if (s->pipeline.fused) {
        double start = wr_budget_elapsed_ms(&s->budget);
        st = (fuse->kind == WR_RRF ? wr_fuse_rrf : wr_fuse_lin)(list, weight, s->pipeline.nlists, fuse->depth,
                                                                &s->arena, &hits);
        if (st) return wr_fail(err, st, "fusion: out of memory");
        rank->trace[reply->nstages] = (wr_trace){hits.docid, hits.score, hits.n};
        report(reply, fuse, wr_budget_elapsed_ms(&s->budget) - start, hits.seen, hits.n);
    }
    if (new_order(&s->arena, hits.n, rank)) return wr_fail(err, WR_ENOMEM, "ranking: out of memory");
    if (hits.n == 0) return WR_OK;
    memcpy(rank->docid, hits.docid, hits.n * sizeof *rank->docid);
    memcpy(rank->score, hits.score, hits.n * sizeof *rank->score);
    memset(rank->stage, (int)(reply->nstages - 1), hits.n);
    return WR_OK;
}

/* Replaces raw stage scores by share * stage + (1 - share) * before, both min-max normalised over the head. */
static wr_status interpolate(float *head, const float *before, size_t n, double share, wr_arena *arena)
{
    double *a = wr_arena_alloc(arena, n * sizeof *a), *b = wr_arena_alloc(arena, n * sizeof *b);
    if (!a || !b) return WR_ENOMEM;
    wr_minmax(head, n, a);
    wr_minmax(before, n, b);
    for (size_t i = 0; i < n; i++) head[i] = (float)(share * a[i] + (1 - share) * b[i]);
    return WR_OK;
}

/* The scored documents as the stage itself ranks them, for the trace. */
static wr_status keep_trace(wr_arena *arena, const wr_ranking *order, size_t head, wr_trace *out)
{
    uint32_t *docid = wr_arena_alloc(arena, head * sizeof *docid);
    float *score = wr_arena_alloc(arena, head * sizeof *score);
    if (!docid || !score) return WR_ENOMEM;
    memcpy(docid, order->docid, head * sizeof *docid);
    memcpy(score, order->score, head * sizeof *score);
    wr_hits_sort(docid, score, head);
    *out = (wr_trace){docid, score, head};
    return WR_OK;
}

static void keep_step(const wr_ranking *rank, const float *before, size_t head, const uint32_t *after, wr_step *out)
{
    *out = (wr_step){.docid = rank->docid, .score = rank->score, .after = after, .n = rank->n};
    if (head) out->min = out->max = before[0];
    for (size_t i = 1; i < head; i++) {
        out->min = before[i] < out->min ? before[i] : out->min;
        out->max = before[i] > out->max ? before[i] : out->max;
    }
}

/* Moves what was scored to the head, best first; the others keep their order behind it. Each done flag is read once:
 * a straggler may raise another while we look. */
static wr_status reorder(wr_scratch *s, wr_ranking *rank, const wr_cross_job *job, const wr_stage *stage, size_t index,
                         size_t *nhead)
{
    wr_ranking order;
    size_t head = 0, tail = 0, n = rank->n;
    float *before = wr_arena_alloc(&s->arena, n * sizeof *before);
    uint32_t *rest = wr_arena_alloc(&s->arena, n * sizeof *rest);
    if (!before || !rest || new_order(&s->arena, n, &order)) return WR_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (i >= job->n || !atomic_load_explicit(&job->done[i], memory_order_acquire)) {
            rest[tail++] = (uint32_t)i;
            continue;
        }
        order.docid[head] = rank->docid[i];
        order.score[head] = job->score[i];
        before[head++] = rank->score[i];
    }
    if (keep_trace(&s->arena, &order, head, &rank->trace[index])) return WR_ENOMEM;
    keep_step(rank, before, head, order.docid, &rank->step[index]);
    if (stage->weight < 1 && interpolate(order.score, before, head, stage->weight, &s->arena)) return WR_ENOMEM;
    wr_hits_sort(order.docid, order.score, head);
    memset(order.stage, (int)index, head);
    for (size_t i = 0; i < tail; i++) {
        order.docid[head + i] = rank->docid[rest[i]];
        order.score[head + i] = rank->score[rest[i]];
        order.stage[head + i] = rank->stage[rest[i]];
    }
    wr_scores_monotone(order.score, n, head);
    rank->docid = order.docid;
    rank->score = order.score;
    rank->stage = order.stage;
    *nhead = head;
    return WR_OK;
}

/* A stage that is not run: the list stays as it is. */
static void leave_out(const wr_stage *stage, wr_reason reason, size_t planned, wr_ranking *rank, wr_response *reply)
{
    keep_step(rank, NULL, 0, rank->docid, &rank->step[reply->nstages]);
    report(reply, stage, 0, rank->n, rank->n)->reranks = true;
    degrade(reply, stage->name, reason, planned, 0);
}

static wr_status cross_stage(wr_scratch *s, const wr_stage *stage, size_t n, wr_ranking *rank, wr_response *reply,
                             wr_err *err)
{
    const wr_model *model = wr_loaded_cross(s->ranker->loaded, stage->model);
    double start = wr_budget_elapsed_ms(&s->budget);
    size_t head = 0;
    wr_cross_job *job;
    wr_effort effort = {.exit = stage->exit, .keep = (float)stage->keep};
    wr_status st = wr_rerank_cross(s, model, &effort, rank->docid, n, &job, err);
    if (st) return st;
    if (reorder(s, rank, job, stage, reply->nstages, &head)) return wr_fail(err, WR_ENOMEM, "rerank: out of memory");
    wr_stage_report *r = report(reply, stage, wr_budget_elapsed_ms(&s->budget) - start, rank->n, rank->n);
    r->reranks = true;
    r->scored = head;
    r->cut = atomic_load(&job->cut);
    if (head < n) degrade(reply, stage->name, WR_REASON_BUDGET, n, head);
    return WR_OK;
}

static wr_status list_stage(wr_scratch *s, const wr_stage *stage, size_t n, wr_ranking *rank, wr_response *reply,
                            wr_err *err)
{
    double start = wr_budget_elapsed_ms(&s->budget);
    wr_list_outcome did;
    wr_status st = wr_rerank_list(s, stage, n, rank, reply->nstages, &did, err);
    if (st) return st;
    wr_stage_report *r = report(reply, stage, wr_budget_elapsed_ms(&s->budget) - start, rank->n, rank->n);
    r->reranks = true;
    r->scored = did.done;
    r->cut = did.cut;
    if (did.done < did.planned)
        degrade(reply, stage->name, did.failed ? WR_REASON_BACKEND_ERROR : WR_REASON_BUDGET, did.planned, did.done);
    if (did.cut) degrade(reply, stage->name, WR_REASON_TRUNCATED_INPUT, did.done, did.done - did.cut);
    return WR_OK;
}

static wr_status rerank_stage(wr_scratch *s, const wr_stage *stage, wr_ranking *rank, wr_response *reply, wr_err *err)
{
    size_t n = rank->n < stage->depth ? rank->n : stage->depth;
    if (stage->missing) { /* of the default pipeline, whose model is not loaded */
        leave_out(stage, WR_REASON_MODEL_UNAVAILABLE, n, rank, reply);
        return WR_OK;
    }
    uint64_t least = stage->kind == WR_LIST ? WR_LIST_MARGIN_NS : 0;
    if (!n || wr_budget_left_ns(&s->budget) > least)
        return (stage->kind == WR_LIST ? list_stage : cross_stage)(s, stage, n, rank, reply, err);
    /* Reading texts that there is no time to score took up to 2.4 ms of the reserve, and the reply came late. */
    leave_out(stage, WR_REASON_BUDGET, n, rank, reply);
    return WR_OK;
}

/* ---- the reply ---- */

typedef struct place {
    uint32_t docid, rank;
} place;

static int place_order(const void *a, const void *b)
{
    const place *x = a, *y = b;
    return (x->docid > y->docid) - (x->docid < y->docid);
}

/* Fills column t of every hit: where the stage had it, and with which score. */
static wr_status fill_column(wr_scratch *s, const wr_trace *from, size_t t, wr_response *reply)
{
    size_t mark = wr_arena_mark(&s->arena);
    place *all = wr_arena_alloc(&s->arena, from->n * sizeof *all);
    if (!all) return WR_ENOMEM;
    for (size_t i = 0; i < from->n; i++) all[i] = (place){from->docid[i], (uint32_t)i};
    qsort(all, from->n, sizeof *all, place_order);
    for (size_t i = 0; i < reply->n; i++) {
        wr_hit *hit = &reply->hit[i];
        place key = {.docid = hit->docid}, *p = bsearch(&key, all, from->n, sizeof *all, place_order);
        hit->stage_rank[t] = p ? p->rank + 1 : 0;
        hit->stage_score[t] = p ? from->score[p->rank] : 0;
    }
    wr_arena_rollback(&s->arena, mark);
    return WR_OK;
}

static wr_status fill(wr_scratch *s, const wr_ranking *rank, wr_response *reply, wr_err *err)
{
    const wr_request *request = s->request;
    size_t from = request->offset < rank->n ? request->offset : rank->n;
    reply->n = rank->n - from < request->k ? rank->n - from : request->k;
    reply->hit = wr_arena_calloc(&s->arena, reply->n, sizeof *reply->hit);
    if (!reply->hit) return wr_fail(err, WR_ENOMEM, "reply: out of memory");
    for (size_t i = 0; i < reply->n; i++) {
        wr_hit *hit = &reply->hit[i];
        hit->docid = rank->docid[from + i];
        hit->score = rank->score[from + i];
        hit->stage = rank->stage[from + i];
        uint32_t document = wr_index_document(s->ranker->index, hit->docid);
        wr_status st = wr_docreader_get(s->reader, document, &hit->doc);
        if (st) return wr_fail(err, st, "document %u: cannot be read from the document store", document);
        if (!request->return_text) hit->doc.title = hit->doc.text = hit->doc.metadata = NULL;
    }
    for (size_t t = 0; t < reply->nstages; t++)
        if (fill_column(s, &rank->trace[t], t, reply)) return wr_fail(err, WR_ENOMEM, "reply: out of memory");
    return WR_OK;
}

static bool blank(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r\n", text[i]) || !text[i]) return false;
    return true;
}

static wr_status refuse_degraded(const wr_request *request, const wr_degraded *first, wr_err *err)
{
    if (first->reason == WR_REASON_BUDGET)
        return wr_fail(err, WR_STOPPED, "the budget of %g ms ended before stage %s was done", request->budget_ms,
                       first->stage);
    return wr_fail(err, WR_STOPPED, "stage %s did %llu of %llu: %s", first->stage, (unsigned long long)first->done,
                   (unsigned long long)first->planned, wr_reason_name(first->reason));
}

wr_status wr_rank(wr_ranker *r, const wr_request *request, wr_scratch *s, wr_response *reply, wr_err *err)
{
    wr_ranking rank = {0};
    (void)r;
    memset(reply, 0, sizeof *reply);
    settle(s);
    wr_status st = begin(s, request, err);
    if (st) return st;
    wr_pipeline_print(&s->pipeline, reply->pipeline, sizeof reply->pipeline);
    if (!blank(s->query, s->query_len) || s->vector || s->given) st = first_stage(s, &rank, reply, err);
    for (size_t i = 0; i < s->pipeline.nrerank && !st && rank.n; i++)
        st = rerank_stage(s, &s->pipeline.rerank[i], &rank, reply, err);
    if (st) return st;
    wr_scores_monotone(rank.score, rank.n, 0);
    if ((st = fill(s, &rank, reply, err))) return st;
    if (request->explain && (st = wr_explain_hits(s, &rank, reply))) return wr_fail(err, st, "explain: out of memory");
    reply->took_ms = wr_budget_elapsed_ms(&s->budget);
    return request->strict && reply->ndegraded ? refuse_degraded(request, &reply->degraded[0], err) : WR_OK;
}

wr_status wr_rank_document(wr_ranker *r, const char *docno, size_t len, wr_scratch *s, wr_doc *doc)
{
    uint32_t document;
    (void)r;
    wr_status st = wr_docreader_find(s->reader, docno, len, &document);
    return st ? st : wr_docreader_get(s->reader, document, doc);
}
