/* Listwise stage: a decoder orders the best of a ranking, one window a pool task, back to front.
 *
 * The task that ran a window goes to the end of the pool's queue for the next, so that requests share the workers window by
 * window; the workers that are idle help with the window (models/decoder.h). At the deadline the answer is made of the
 * windows that were run by then: their logits do not change any more, and the new order is worked out from these alone.
 */
#include <math.h>
#include <string.h>

#include "ranker/job.h"
#include "ranker/rerank_listwise.h"

typedef struct list_job {
    wr_scratch *scratch;
    wr_listwise list;
    _Atomic wr_status status;
} list_job;

static void run_window(void *arg)
{
    list_job *job = arg;
    wr_scratch *s = job->scratch;
    wr_err err;
    wr_status st = wr_listwise_step(&job->list, s->ranker->pool, &s->budget, NULL, NULL, &err);
    if (!st && atomic_load(&job->list.done) < job->list.nwindows) st = wr_group_add(&s->rerank_group, run_window, job);
    if (st) atomic_store(&job->status, st);
}

static wr_status read_passages(wr_scratch *s, const uint32_t *docid, size_t n, wr_passage *out)
{
    for (size_t i = 0; i < n; i++) {
        wr_doc doc;
        wr_status st = wr_docreader_get(s->reader, wr_index_document(s->ranker->index, docid[i]), &doc);
        if (st) return st;
        out[i] = (wr_passage){{doc.title, doc.title_len}, {doc.text, doc.text_len}};
    }
    return WR_OK;
}

static wr_status start(wr_scratch *s, const wr_stage *stage, const uint32_t *docid, size_t n, list_job *job, wr_err *err)
{
    const wr_listwise_options options = {
        .prompt = stage->prompt, .top30 = stage->top30, .window = stage->window, .stride = stage->stride};
    wr_passage *passage = wr_arena_alloc(&s->arena, n * sizeof *passage);
    job->scratch = s;
    wr_status st = passage ? read_passages(s, docid, n, passage) : WR_ENOMEM;
    if (st) return wr_fail(err, st, "list: the passages cannot be read: %s", wr_status_name(st));
    st = wr_listwise_begin(&job->list, wr_loaded_list(s->ranker->loaded, stage->model), &options,
                           (wr_text){s->query, s->query_len}, passage, n, &s->arena, err);
    if (!st && job->list.nwindows && wr_group_add(&s->rerank_group, run_window, job))
        st = wr_fail(err, WR_ENOMEM, "list: out of memory");
    return st;
}

/* ---- what came of it ---- */

/* By passage, as wr_listwise_result() has it. */
typedef struct result {
    uint32_t *item;
    float *logit;
    wr_cut *cut;
    size_t n, first;
} result;

static wr_status read_result(wr_arena *arena, const wr_listwise *list, result *r)
{
    r->n = list->n;
    r->item = wr_arena_alloc(arena, r->n * sizeof *r->item);
    r->logit = wr_arena_alloc(arena, r->n * sizeof *r->logit);
    r->cut = wr_arena_alloc(arena, r->n * sizeof *r->cut);
    if (!r->item || !r->logit || !r->cut) return WR_ENOMEM;
    wr_listwise_result(list, r->item, r->logit, r->cut, &r->first);
    return WR_OK;
}

/* The passages that have a logit, in their new order. */
static wr_status keep_trace(wr_arena *arena, const wr_ranking *rank, const result *r, wr_trace *out)
{
    uint32_t *docid = wr_arena_alloc(arena, r->n * sizeof *docid);
    float *logit = wr_arena_alloc(arena, r->n * sizeof *logit);
    size_t n = 0;
    if (!docid || !logit) return WR_ENOMEM;
    for (size_t i = r->first; i < r->n; i++) {
        if (!isfinite(r->logit[r->item[i]])) continue;
        docid[n] = rank->docid[r->item[i]];
        logit[n++] = r->logit[r->item[i]];
    }
    *out = (wr_trace){docid, logit, n};
    return WR_OK;
}

/* Documents move, scores stay with their positions. */
static wr_status reorder(wr_arena *arena, wr_ranking *rank, const result *r, size_t index)
{
    uint32_t *docid = wr_arena_alloc(arena, rank->n * sizeof *docid);
    uint8_t *stage = wr_arena_alloc(arena, rank->n);
    if (!docid || !stage || keep_trace(arena, rank, r, &rank->trace[index])) return WR_ENOMEM;
    memcpy(docid, rank->docid, rank->n * sizeof *docid);
    memcpy(stage, rank->stage, rank->n);
    for (size_t i = r->first; i < r->n; i++) {
        docid[i] = rank->docid[r->item[i]];
        stage[i] = (uint8_t)index;
    }
    rank->step[index] = (wr_step){.docid = rank->docid, .score = rank->score, .after = docid, .n = rank->n};
    rank->docid = docid;
    rank->stage = stage;
    return WR_OK;
}

static void count(const result *r, wr_list_outcome *out)
{
    out->planned = r->n;
    out->done = r->n - r->first;
    for (size_t i = 0; i < r->n; i++) out->cut += r->cut[i] == WR_CUT_HARDER;
}

wr_status wr_rerank_list(wr_scratch *s, const wr_stage *stage, size_t n, wr_ranking *rank, size_t index,
                         wr_list_outcome *out, wr_err *err)
{
    result r;
    *out = (wr_list_outcome){0};
    list_job *job = wr_arena_calloc(&s->arena, 1, sizeof *job);
    wr_status st = job ? start(s, stage, rank->docid, n, job, err) : wr_fail(err, WR_ENOMEM, "list: out of memory");
    if (st) return st;
    uint64_t until = s->budget.soft_ns;
    if (wr_budget_has_deadline(&s->budget)) until -= until < WR_LIST_MARGIN_NS ? until : WR_LIST_MARGIN_NS;
    bool idle = wr_group_wait(&s->rerank_group, until);
    st = idle ? atomic_load(&job->status) : WR_STOPPED;
    if (st == WR_ENOMEM || read_result(&s->arena, &job->list, &r) || reorder(&s->arena, rank, &r, index))
        return wr_fail(err, WR_ENOMEM, "list: out of memory");
    count(&r, out);
    out->failed = st < 0;
    return WR_OK;
}
