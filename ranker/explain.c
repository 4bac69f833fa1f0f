#include "ranker/explain.h"

#include <stdlib.h>
#include <string.h>

#include "ranker/fuse.h"
#include "ranker/job.h"

/* The hits of the page by docid, to find them while a stage's documents pass by. */
typedef struct place {
    uint32_t docid, hit;
} place;

typedef struct task {
    wr_scratch *s;
    const wr_ranking *rank;
    wr_response *reply;
    wr_explain *out;   /* [reply->n] */
    place *place;      /* [reply->n] ascending docids */
    uint64_t until_ns; /* look-ups end */
} task;

static const wr_stage *stage_of(const wr_pipeline *p, size_t t)
{
    if (t < p->nlists) return &p->list[t];
    return p->fused && t == p->nlists ? &p->fuse : &p->rerank[t - p->nlists - p->fused];
}

/* What the reply says was not done in a stage; NULL when it was all done. A query that was cut leaves no hit out. */
static const wr_degraded *degraded_of(const wr_response *reply, size_t stage)
{
    for (size_t i = 0; i < reply->ndegraded; i++)
        if (!strcmp(reply->degraded[i].stage, reply->stage[stage].name) &&
            reply->degraded[i].reason != WR_REASON_TRUNCATED_INPUT)
            return &reply->degraded[i];
    return NULL;
}

const char *wr_explain_reason(const wr_response *reply, size_t stage, const wr_explain_stage *of)
{
    const wr_degraded *degraded = of->gap == WR_GAP_DEGRADED ? degraded_of(reply, stage) : NULL;
    if (degraded) return wr_reason_name(degraded->reason);
    return of->gap == WR_GAP_DEPTH ? "depth" : "not_listed";
}

/* ---- where hits stand ---- */

static int by_docid(const void *a, const void *b)
{
    const place *x = a, *y = b;
    return (x->docid > y->docid) - (x->docid < y->docid);
}

static wr_status place_hits(task *t)
{
    t->place = wr_arena_alloc(&t->s->arena, t->reply->n * sizeof *t->place);
    if (!t->place) return WR_ENOMEM;
    for (size_t i = 0; i < t->reply->n; i++) t->place[i] = (place){t->reply->hit[i].docid, (uint32_t)i};
    qsort(t->place, t->reply->n, sizeof *t->place, by_docid);
    return WR_OK;
}

static wr_explain_stage *find(const task *t, uint32_t docid, size_t stage)
{
    const place key = {.docid = docid}, *p = bsearch(&key, t->place, t->reply->n, sizeof *t->place, by_docid);
    return p ? &t->out[p->hit].stage[stage] : NULL;
}

/* Ranks before and after a rerank stage, of the documents it did not score too. */
static void rank_step(const task *t, size_t stage)
{
    const wr_step *step = &t->rank->step[stage];
    for (size_t i = 0; i < step->n; i++) {
        wr_explain_stage *out = find(t, step->docid[i], stage);
        if (out) out->before = (uint32_t)i + 1;
        out = find(t, step->after[i], stage);
        if (out) out->after = (uint32_t)i + 1;
    }
}

/* What is the same for all kinds: the stage's score, and why there is none. */
static void open_stage(const task *t, size_t i)
{
    const wr_stage *stage = stage_of(&t->s->pipeline, i);
    bool degraded = degraded_of(t->reply, i) != NULL, reranks = t->reply->stage[i].reranks;
    if (reranks) rank_step(t, i);
    for (size_t h = 0; h < t->reply->n; h++) {
        const wr_hit *hit = &t->reply->hit[h];
        wr_explain_stage *out = &t->out[h].stage[i];
        out->kind = stage->kind;
        out->score = out->result = hit->stage_score[i];
        if (!reranks) out->after = hit->stage_rank[i];
        if (hit->stage_rank[i]) continue;
        out->gap = degraded ? WR_GAP_DEGRADED : WR_GAP_LISTED;
        if (reranks && out->before > stage->depth) out->gap = WR_GAP_DEPTH;
    }
}

/* ---- sums of parts ---- */

static void bounds(const float *x, size_t n, float *min, float *max)
{
    *min = *max = n ? x[0] : 0;
    for (size_t i = 1; i < n; i++) {
        *min = x[i] < *min ? x[i] : *min;
        *max = x[i] > *max ? x[i] : *max;
    }
}

/* As wr_minmax() does it. */
static void normalise(wr_explain_part *part)
{
    double min = part->min, max = part->max;
    part->normalised = max > min ? (part->score - min) / (max - min) : 1;
    part->contribution = part->weight * part->normalised;
}

/* Room for n parts of each hit. */
static wr_explain_part *open_parts(const task *t, size_t stage, size_t n)
{
    wr_explain_part *all = wr_arena_calloc(&t->s->arena, t->reply->n * n, sizeof *all);
    for (size_t h = 0; all && h < t->reply->n; h++) {
        t->out[h].stage[stage].part = all + h * n;
        t->out[h].stage[stage].nparts = n;
    }
    return all;
}

static wr_status explain_fusion(const task *t, size_t stage)
{
    const wr_pipeline *p = &t->s->pipeline;
    wr_explain_part *part = open_parts(t, stage, p->nlists);
    float min[WR_MAX_LISTS], max[WR_MAX_LISTS];
    if (!part) return WR_ENOMEM;
    for (size_t l = 0; l < p->nlists; l++) bounds(t->rank->trace[l].score, t->rank->trace[l].n, &min[l], &max[l]);
    for (size_t h = 0; h < t->reply->n; h++) {
        const wr_hit *hit = &t->reply->hit[h];
        for (size_t l = 0; l < p->nlists; l++, part++) {
            *part = (wr_explain_part){.name = p->list[l].name, .weight = p->list[l].weight, .rank = hit->stage_rank[l],
                                      .score = hit->stage_score[l]};
            if (p->fuse.kind == WR_LIN) {
                part->min = min[l];
                part->max = max[l];
            }
            if (!part->rank) continue;
            if (p->fuse.kind == WR_LIN) normalise(part);
            else part->contribution = part->weight / (double)(WR_RRF_K + part->rank);
        }
    }
    return WR_OK;
}

static wr_status mix(const task *t, size_t stage, double share)
{
    const wr_step *step = &t->rank->step[stage];
    wr_explain_part *part = open_parts(t, stage, 2);
    float min, max;
    if (!part) return WR_ENOMEM;
    bounds(t->rank->trace[stage].score, t->rank->trace[stage].n, &min, &max);
    for (size_t h = 0; h < t->reply->n; h++, part += 2) {
        wr_explain_stage *out = &t->out[h].stage[stage];
        if (out->gap) {
            out->nparts = 0;
            continue;
        }
        part[0] = (wr_explain_part){.name = t->reply->stage[stage].name, .weight = share, .score = out->score,
                                    .rank = t->reply->hit[h].stage_rank[stage], .min = min, .max = max};
        part[1] = (wr_explain_part){.name = "previous", .weight = 1 - share, .score = step->score[out->before - 1],
                                    .rank = out->before, .min = step->min, .max = step->max};
        normalise(&part[0]);
        normalise(&part[1]);
        out->result = (float)(part[0].contribution + part[1].contribution);
    }
    return WR_OK;
}

/* The model that a stage named, or the first one; "" when it was not loaded. */
static const char *model_of(const task *t, const wr_stage *asked)
{
    size_t n;
    if (asked->missing || asked->model[0]) return asked->missing ? "" : asked->model;
    if (asked->kind == WR_LIST) {
        const wr_list_shape *list = wr_loaded_lists(t->s->ranker->loaded, &n);
        return n ? list[0].name : "";
    }
    const wr_cross_shape *cross = wr_loaded_crosses(t->s->ranker->loaded, &n);
    return n ? cross[0].name : "";
}

static wr_status explain_rerank(const task *t, size_t stage)
{
    const wr_stage *asked = stage_of(&t->s->pipeline, stage);
    const wr_step *step = &t->rank->step[stage];
    const char *model = model_of(t, asked);
    for (size_t h = 0; h < t->reply->n; h++) {
        wr_explain_stage *out = &t->out[h].stage[stage];
        out->model = model;
        out->exit = asked->exit;
        out->keep = asked->keep;
        if (asked->kind == WR_LIST && out->after) out->result = step->score[out->after - 1];
    }
    return asked->weight < 1 ? mix(t, stage, asked->weight) : WR_OK;
}

static void explain_dense(const task *t, size_t stage)
{
    bool unit = wr_index_info_get(t->s->ranker->index)->dense_normalize && !t->s->vector;
    for (size_t h = 0; h < t->reply->n; h++) t->out[h].stage[stage].metric = unit ? "cosine" : "inner_product";
}

/* ---- terms ---- */

static int heaviest_first(const void *a, const void *b)
{
    const wr_explain_term *x = a, *y = b;
    if (x->contribution != y->contribution) return x->contribution > y->contribution ? -1 : 1;
    return (x->text > y->text) - (x->text < y->text); /* names lie in byte order in their file */
}

static void fill_term(const wr_sparse *sparse, wr_stage_kind kind, const wr_sparse_share *share, bool products,
                      wr_explain_term *out)
{
    *out = (wr_explain_term){.query = share->query, .document = share->impact};
    out->text = wr_sparse_name(sparse, share->term, &out->len);
    out->contribution = products ? (double)share->query * share->impact : share->added;
    if (!products) out->document = share->added / share->query;
    if (kind != WR_BM25) return;
    out->idf = wr_sparse_idf(sparse, share->term);
    out->count = (uint32_t)(share->query / out->idf + 0.5f);
}

/* The terms of one hit in one list; of the arena only what they take stays taken. */
static const char *look_up(const task *t, const wr_list_job *job, uint32_t docid, wr_explain_stage *out)
{
    wr_arena *arena = &t->s->arena;
    bool bm25 = out->kind == WR_BM25;
    const wr_sparse *sparse = bm25 ? wr_index_bm25(t->s->ranker->index) : wr_index_sparse(t->s->ranker->index);
    const wr_sparse_query *query = bm25 ? &t->s->bm25_query : &t->s->sparse_query;
    size_t n = 0, mark = wr_arena_mark(arena);
    wr_explain_term *term = wr_arena_alloc(arena, query->n * sizeof *term);
    wr_sparse_share *share = wr_arena_alloc(arena, query->n * sizeof *share);
    bool found = term && share && !wr_sparse_explain(sparse, query, docid, arena, share, &n, &out->unit);
    for (size_t i = 0; i < n; i++) fill_term(sparse, out->kind, &share[i], job->products, &term[i]);
    if (n) qsort(term, n, sizeof *term, heaviest_first);
    wr_arena_rollback(arena, mark);
    if (!found) return "memory";
    if (job->products) out->unit = 0;
    out->term = wr_arena_alloc(arena, n * sizeof *term); /* where they lie already */
    out->nterms = n;
    return NULL;
}

static void explain_terms(const task *t)
{
    const wr_scratch *s = t->s;
    for (size_t h = 0; h < t->reply->n; h++) {
        for (size_t l = 0; l < s->pipeline.nlists; l++) {
            wr_explain_stage *out = &t->out[h].stage[l];
            if ((out->kind != WR_BM25 && out->kind != WR_SPARSE) || out->gap) continue;
            bool late = t->until_ns != WR_NO_DEADLINE && wr_clock_now(s->budget.clock) >= t->until_ns;
            out->left_out = late ? "budget" : look_up(t, &s->list[l], t->reply->hit[h].docid, out);
        }
    }
}

/* ---- all of it ---- */

static wr_status open_task(task *t)
{
    size_t n = t->reply->n, nstages = t->reply->nstages;
    const wr_budget *budget = &t->s->budget;
    wr_explain_stage *stage = wr_arena_calloc(&t->s->arena, n * nstages, sizeof *stage);
    t->out = wr_arena_calloc(&t->s->arena, n, sizeof *t->out);
    if (!stage || !t->out) return WR_ENOMEM;
    for (size_t h = 0; h < n; h++) t->out[h].stage = stage + h * nstages;
    t->until_ns = budget->hard_ns;
    if (wr_budget_has_deadline(budget)) t->until_ns -= (budget->hard_ns - budget->soft_ns) / 4;
    return place_hits(t);
}

wr_status wr_explain_hits(wr_scratch *s, const wr_ranking *rank, wr_response *reply)
{
    task t = {.s = s, .rank = rank, .reply = reply};
    if (!reply->n) return WR_OK;
    wr_status st = open_task(&t);
    for (size_t i = 0; i < reply->nstages && !st; i++) {
        open_stage(&t, i);
        switch (t.out[0].stage[i].kind) {
        case WR_DENSE:
            explain_dense(&t, i);
            break;
        case WR_RRF:
        case WR_LIN:
            st = explain_fusion(&t, i);
            break;
        case WR_CROSS:
        case WR_LIST:
            st = explain_rerank(&t, i);
            break;
        default: /* terms: last, as they may be left out */
            break;
        }
    }
    if (st) return st;
    explain_terms(&t);
    for (size_t h = 0; h < reply->n; h++) {
        wr_hit *hit = &reply->hit[h];
        t.out[h].shift = (double)hit->score - (double)t.out[h].stage[hit->stage].result;
        hit->explain = &t.out[h];
    }
    return WR_OK;
}
