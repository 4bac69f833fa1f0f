/* Learned sparse lists: the query's tokens and their weights, and the search.
 *
 * The weights are the ones the request brought; else a table's for the query's tokens, each once or by the root of how
 * often it occurs (models/idf.h), which takes microseconds; else the model's (SPLADE). The coordinator does it itself when no model runs and no lexical list is its
 * business; otherwise it is one task on the pool. The search looks at the clock, so the lists end at the soft deadline
 * by themselves.
 *
 * Exact unless the stage says otherwise. Two phases, as OpenSearch has them: the first searches with the heavy tokens
 * alone, at least `two_phase` times the heaviest, and keeps TWO_PHASE_EXPANSION times as many documents as are asked
 * for; the second scores those with all.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ranker/job.h"

/* OpenSearch's defaults of neural_sparse_two_phase_processor: expansion_rate, and what the window is at least. */
#define TWO_PHASE_EXPANSION 5
#define TWO_PHASE_LEAST 50

static double ms_since(uint64_t start_ns)
{
    return (double)(wr_clock_now(&wr_clock_system) - start_ns) / 1e6;
}

wr_status wr_retrieve_sparse_prepare(wr_ranker *r)
{
    const wr_sparse *sparse = wr_index_sparse(r->index);
    if (!sparse || !r->expander) return WR_OK;
    const wr_tokenizer *tok = wr_model_tokenizer(r->expander);
    r->nterm_of = wr_tokenizer_vocab_size(tok);
    r->term_of = malloc((r->nterm_of + 1) * sizeof *r->term_of);
    if (!r->term_of) return WR_ENOMEM;
    for (uint32_t id = 0; id < r->nterm_of; id++) {
        const char *token = wr_tokenizer_token(tok, id);
        if (token && wr_tokenizer_id(tok, token) != (int64_t)id) token = NULL; /* it stands twice in the vocabulary */
        r->term_of[id] = token ? wr_sparse_term(sparse, token, strlen(token)) : -1;
    }
    return WR_OK;
}

/* ---- the query ---- */

typedef struct entry {
    uint32_t term;
    float weight;
} entry;

static int by_term(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    return (x->term > y->term) - (x->term < y->term);
}

/* Room for a query of n tokens; those that the index has are put in by put(). */
static wr_status open_query(wr_arena *arena, size_t n, entry **all)
{
    *all = wr_arena_alloc(arena, (n + 1) * sizeof **all);
    return *all ? WR_OK : WR_ENOMEM;
}

static void put(int64_t term, float weight, entry *all, size_t *n)
{
    if (term >= 0 && weight > 0) all[(*n)++] = (entry){(uint32_t)term, weight};
}

/* Unique terms, ascending; of what came twice the sum. */
static wr_status close_query(wr_arena *arena, entry *all, size_t n, wr_sparse_query *out)
{
    uint32_t *term = wr_arena_alloc(arena, n * sizeof *term);
    float *weight = wr_arena_alloc(arena, n * sizeof *weight);
    size_t unique = 0;
    if (!term || !weight) return WR_ENOMEM;
    qsort(all, n, sizeof *all, by_term);
    for (size_t i = 0; i < n; i++) {
        if (unique && term[unique - 1] == all[i].term) {
            weight[unique - 1] += all[i].weight;
            continue;
        }
        term[unique] = all[i].term;
        weight[unique++] = all[i].weight;
    }
    *out = (wr_sparse_query){.term = term, .weight = weight, .n = unique};
    return WR_OK;
}

static wr_status given_query(const wr_scratch *s, wr_arena *arena, wr_sparse_query *out)
{
    const wr_sparse *sparse = wr_index_sparse(s->ranker->index);
    entry *all;
    size_t n = 0;
    wr_status st = open_query(arena, s->ngiven, &all);
    for (size_t i = 0; i < s->ngiven && !st; i++)
        put(wr_sparse_term(sparse, s->given[i], strlen(s->given[i])), s->given_weight[i], all, &n);
    return st ? st : close_query(arena, all, n, out);
}

static wr_status ids_query(const wr_scratch *s, const wr_token_weights *w, wr_arena *arena, wr_sparse_query *out)
{
    const wr_ranker *r = s->ranker;
    entry *all;
    size_t n = 0;
    wr_status st = open_query(arena, w->n, &all);
    for (size_t i = 0; i < w->n && !st; i++)
        if (w->id[i] < r->nterm_of) put(r->term_of[w->id[i]], w->weight[i], all, &n);
    return st ? st : close_query(arena, all, n, out);
}

/* Cut to the model's limit; two places are the special tokens'. */
static wr_status tokenise(wr_scratch *s, wr_arena *arena, bool specials, wr_tokens *tokens)
{
    const wr_tokenizer *tok = wr_model_tokenizer(s->ranker->expander);
    size_t max = wr_model_info_get(s->ranker->expander)->max_query_tokens, apart = specials ? 0 : 2;
    size_t all = specials ? wr_tokenizer_single_ids(tok, &s->sparse_ids, SIZE_MAX, NULL, NULL) : s->sparse_ids.n;
    *tokens = (wr_tokens){.id = wr_arena_alloc(arena, (all + 1) * sizeof *tokens->id)};
    if (!tokens->id) return WR_ENOMEM;
    if (specials)
        tokens->n = wr_tokenizer_single_ids(tok, &s->sparse_ids, max, tokens->id, NULL);
    else { /* a copy: weighing sorts them */
        tokens->n = all + apart > max ? max - apart : all;
        if (tokens->n) memcpy(tokens->id, s->sparse_ids.id, tokens->n * sizeof *tokens->id);
    }
    s->sparse_tokens = all + apart;
    s->sparse_tokens_used = tokens->n + apart;
    return WR_OK;
}

static wr_status looked_up_query(wr_scratch *s, wr_arena *arena, wr_sparse_query *out)
{
    wr_tokens tokens;
    wr_token_weights w;
    size_t n;
    const float *table = wr_index_query_weights(s->ranker->index, &n);
    wr_query_tf tf = wr_index_info_get(s->ranker->index)->sparse_query_tf;
    wr_status st = tokenise(s, arena, false, &tokens);
    if (!st) st = wr_idf_weigh(table, n, tf, &tokens, arena, &w);
    return st ? st : ids_query(s, &w, arena, out);
}

static wr_status inferred_query(wr_scratch *s, wr_arena *arena, wr_sparse_query *out)
{
    const wr_model *model = s->ranker->expander;
    size_t vocab = wr_model_info_get(model)->vocab;
    wr_tokens tokens;
    wr_token_weights w = {.id = wr_arena_alloc(arena, vocab * sizeof *w.id),
                          .weight = wr_arena_alloc(arena, vocab * sizeof *w.weight)};
    float *row = wr_arena_alloc(arena, vocab * sizeof *row);
    wr_status st = w.id && w.weight && row ? tokenise(s, arena, true, &tokens) : WR_ENOMEM;
    if (st) return st;
    uint32_t cu[2] = {0, (uint32_t)tokens.n};
    wr_batch batch = {.id = tokens.id, .cu = cu, .nseq = 1};
    if ((st = wr_model_sparse(model, &batch, arena, &s->budget, row))) return st;
    for (size_t v = 0; v < vocab; v++) {
        if (!(row[v] > 0)) continue;
        w.id[w.n] = (uint32_t)v;
        w.weight[w.n++] = row[v];
    }
    return ids_query(s, &w, arena, out);
}

static bool has_table(const wr_scratch *s)
{
    size_t n;
    return wr_index_query_weights(s->ranker->index, &n) != NULL;
}

static wr_status weigh(wr_scratch *s, wr_arena *arena, wr_sparse_query *out)
{
    if (s->given) return given_query(s, arena, out);
    return has_table(s) ? looked_up_query(s, arena, out) : inferred_query(s, arena, out);
}

/* Room for the query as it is searched, when the hits are to be explained: at most so many tokens can weigh. */
static wr_status open_room(wr_scratch *s)
{
    s->room = s->given ? s->ngiven : has_table(s) ? s->sparse_ids.n : wr_model_info_get(s->ranker->expander)->vocab;
    s->room_term = wr_arena_alloc(&s->arena, s->room * sizeof *s->room_term);
    s->room_weight = wr_arena_alloc(&s->arena, s->room * sizeof *s->room_weight);
    return s->room_term && s->room_weight ? WR_OK : WR_ENOMEM;
}

static void keep_query(wr_scratch *s, const wr_sparse_query *query)
{
    if (!s->room_term || !query->n || query->n > s->room) return;
    memcpy(s->room_term, query->term, query->n * sizeof *query->term);
    memcpy(s->room_weight, query->weight, query->n * sizeof *query->weight);
    s->sparse_query = (wr_sparse_query){.term = s->room_term, .weight = s->room_weight, .n = query->n};
}

bool wr_sparse_can_query(const wr_scratch *s)
{
    return s->given || s->ranker->expander;
}

/* ---- the search ---- */

/* The heavy part of a query; what is left over is the light part. */
static wr_status heavy_part(const wr_sparse_query *query, double share, wr_arena *arena, wr_sparse_query *out)
{
    uint32_t *term = wr_arena_alloc(arena, query->n * sizeof *term);
    float *weight = wr_arena_alloc(arena, query->n * sizeof *weight), max = 0;
    if (!term || !weight) return WR_ENOMEM;
    *out = (wr_sparse_query){.term = term, .weight = weight};
    for (size_t i = 0; i < query->n; i++) max = query->weight[i] > max ? query->weight[i] : max;
    for (size_t i = 0; i < query->n; i++) {
        if (query->weight[i] < (float)share * max) continue;
        term[out->n] = query->term[i];
        weight[out->n++] = query->weight[i];
    }
    return WR_OK;
}

static wr_status search_once(const wr_scratch *s, const wr_sparse_query *query, size_t depth, wr_arena *arena,
                             wr_hits *hits)
{
    return wr_sparse_search(wr_index_sparse(s->ranker->index), query, depth, s->exclude, s->nexclude, &s->budget, arena,
                            hits);
}

static wr_status search_twice(const wr_scratch *s, wr_list_job *job, const wr_sparse_query *query, wr_arena *arena,
                              wr_hits *hits)
{
    const wr_sparse *sparse = wr_index_sparse(s->ranker->index);
    const wr_stage *stage = job->stage;
    size_t window = stage->depth * TWO_PHASE_EXPANSION;
    window = window < TWO_PHASE_LEAST ? TWO_PHASE_LEAST : window > WR_MAX_K ? WR_MAX_K : window;
    wr_sparse_query heavy;
    wr_status st = heavy_part(query, stage->two_phase, arena, &heavy);
    if (!st && heavy.n == query->n) return search_once(s, query, stage->depth, arena, hits);
    if (!st) st = search_once(s, &heavy, window, arena, hits);
    if (st) return st;
    job->products = true;
    for (size_t i = 0; i < hits->n; i++) {
        double sum = 0;
        for (size_t t = 0; t < query->n; t++)
            sum += (double)query->weight[t] * wr_sparse_impact(sparse, query->term[t], hits->docid[i]);
        hits->score[i] = (float)sum;
    }
    wr_hits_sort(hits->docid, hits->score, hits->n);
    if (hits->n > stage->depth) hits->n = stage->depth;
    return WR_OK;
}

static wr_status search(const wr_scratch *s, wr_list_job *job, const wr_sparse_query *query, wr_arena *arena,
                        wr_hits *hits)
{
    const wr_stage *stage = job->stage;
    bool approx = stage->mode == WR_SPARSE_APPROX || stage->heap_factor > 0 || stage->query_cut;
    const wr_sparse_ann_options options = {(float)stage->heap_factor, (uint32_t)stage->query_cut};
    if (approx)
        return wr_sparse_ann_search(wr_index_clusters(s->ranker->index), query, stage->depth, &options, s->exclude,
                                    s->nexclude, &s->budget, arena, hits);
    if (stage->two_phase > 0) return search_twice(s, job, query, arena, hits);
    return search_once(s, query, stage->depth, arena, hits);
}

/* ---- the lists ---- */

/* Hits into the arrays that the coordinator reads, when they lie in another thread's arena. */
static void keep(wr_list_job *job, const wr_hits *hits)
{
    job->hits = *hits;
    if (!job->docid) return;
    memcpy(job->docid, hits->docid, hits->n * sizeof *hits->docid);
    memcpy(job->score, hits->score, hits->n * sizeof *hits->score);
    job->hits.docid = job->docid;
    job->hits.score = job->score;
}

/* All sparse lists of the request: they share the query. */
static void run_lists(wr_scratch *s, wr_arena *arena)
{
    wr_sparse_query query = {0};
    uint64_t start = wr_clock_now(&wr_clock_system);
    wr_status st = weigh(s, arena, &query);
    if (!st) keep_query(s, &query);
    for (size_t i = 0; i < s->pipeline.nlists; i++) {
        wr_list_job *job = &s->list[i];
        wr_hits hits = {0};
        if (job->stage->kind != WR_SPARSE) continue;
        job->status = st ? st : search(s, job, &query, arena, &hits);
        job->ms = ms_since(start);
        if (job->status) continue;
        keep(job, &hits);
        atomic_store_explicit(&job->published, true, memory_order_release);
        start = wr_clock_now(&wr_clock_system);
    }
}

static void sparse_task(void *arg)
{
    wr_scratch *s = arg;
    wr_arena *arena = wr_arena_of_thread();
    size_t mark = arena ? wr_arena_mark(arena) : 0;
    if (arena) {
        run_lists(s, arena);
        wr_arena_rollback(arena, mark);
        return;
    }
    for (size_t i = 0; i < s->pipeline.nlists; i++)
        if (s->list[i].stage->kind == WR_SPARSE) s->list[i].status = WR_ENOMEM;
}

wr_status wr_retrieve_sparse_start(wr_scratch *s, bool *later)
{
    bool any = false, lexical = false;
    *later = false;
    for (size_t i = 0; i < s->pipeline.nlists; i++) {
        any |= s->list[i].stage->kind == WR_SPARSE;
        lexical |= s->list[i].stage->kind == WR_BM25;
    }
    if (!any || !wr_sparse_can_query(s)) return WR_OK;
    wr_status st = s->given ? WR_OK : wr_query_tokens(s, s->ranker->expander, &s->sparse_ids);
    if (!st && s->request->explain) st = open_room(s);
    if (st) return st;
    if (!lexical && (s->given || has_table(s))) {
        *later = true;
        return WR_OK;
    }
    for (size_t i = 0; i < s->pipeline.nlists; i++) {
        wr_list_job *job = &s->list[i];
        if (job->stage->kind != WR_SPARSE) continue;
        job->docid = wr_arena_alloc(&s->arena, job->stage->depth * sizeof *job->docid);
        job->score = wr_arena_alloc(&s->arena, job->stage->depth * sizeof *job->score);
        if (!job->docid || !job->score) return WR_ENOMEM;
    }
    return wr_group_add(&s->list_group, sparse_task, s);
}

void wr_retrieve_sparse_here(wr_scratch *s)
{
    run_lists(s, &s->arena);
}
