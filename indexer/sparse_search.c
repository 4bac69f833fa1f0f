/* Searching the postings of sparse.h: groups of documents by falling bound, until no group is left that may have a hit.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "indexer/sparse_search.h"

/* The unit of scores: the power of two of which the largest possible score has 2^22 to 2^23. In double, because weights
 * may be so large or small that float would not hold it. */
static double set_unit(struct search *s)
{
    int exponent;
    double most = 0, scale = (double)s->sparse->header.scale;
    for (size_t i = 0; i < s->n; i++) most += (double)s->part[i].weight * (UINT8_MAX * scale);
    frexp(most, &exponent);
    double unit = ldexp(1, exponent - 23);
    for (size_t i = 0; i < s->n; i++) {
        struct part *part = &s->part[i];
        float each = (float)((double)part->weight * scale / unit);
        part->each = each;
        for (int q = 0; q < 256; q++) part->add[q] = (uint32_t)(int32_t)((float)q * each + 0.5f);
        for (int q = 1; q < 256 && part->add[q] == 0; q++) part->add[q] = 1; /* a match is a match */
    }
    return unit;
}

/* Puts those first that have many postings and little weight. */
static wr_status order_parts(struct search *s, wr_arena *arena)
{
    uint64_t *key = wr_arena_alloc(arena, s->n * sizeof *key);
    if (!key) return WR_ENOMEM;
    for (size_t i = 0; i < s->n; i++) {
        float cost = (float)s->part[i].term.df / s->part[i].weight;
        uint32_t bits; /* of a float > 0: in its order */
        memcpy(&bits, &cost, sizeof bits);
        key[i] = wr_best_key(bits, (uint32_t)i);
    }
    wr_best_sort_keys(key, s->n);
    for (size_t i = 0; i < s->n; i++) s->by_cost[i] = &s->part[wr_best_docid(key[i])];
    return WR_OK;
}

/* A term that the index does not have, or whose weight is no weight, is left out. */
static wr_status add_part(struct search *s, uint32_t id, float weight, wr_arena *arena)
{
    struct part *part = &s->part[s->n];
    if (!(weight > 0 && isfinite(weight)) || !wr_postings_get(s->sparse, id, &part->term)) return WR_OK;
    part->weight = weight;
    s->n++;
    if (!part->term.docid) return WR_OK;
    size_t most = part->term.df < GROUP_DOCS ? part->term.df : GROUP_DOCS;
    part->own_low = wr_arena_alloc(arena, most * sizeof *part->own_low);
    return part->own_low ? WR_OK : WR_ENOMEM;
}

static wr_status search_init(struct search *s, const wr_sparse *sparse, const wr_sparse_query *query, size_t k,
                             wr_arena *arena)
{
    assert(k >= 1 && k <= WR_MAX_K);
    if (k > sparse->header.ndocs) k = sparse->header.ndocs ? (size_t)sparse->header.ndocs : 1;
    *s = (struct search){.sparse = sparse};
    s->part = wr_arena_calloc(arena, query->n, sizeof *s->part);
    s->by_cost = wr_arena_calloc(arena, query->n, sizeof(struct part *));
    s->active = wr_arena_calloc(arena, query->n, sizeof(struct part *));
    s->sum = wr_arena_calloc(arena, GROUP_DOCS, sizeof *s->sum);
    s->candidate = wr_arena_alloc(arena, (GROUP_DOCS + 1) * sizeof *s->candidate);
    if (wr_best_init(&s->best, k, arena) || !s->part || !s->by_cost || !s->active || !s->sum || !s->candidate)
        return WR_ENOMEM;
    for (size_t i = 0; i < query->n; i++)
        if (add_part(s, query->term[i], query->weight[i], arena)) return WR_ENOMEM;
    return order_parts(s, arena);
}

static wr_status hits_fill(struct search *s, double unit, bool partial, wr_arena *arena, wr_hits *hits)
{
    size_t n = wr_best_sort(&s->best);
    uint32_t *docid = wr_arena_calloc(arena, n, sizeof *docid);
    float *score = wr_arena_calloc(arena, n, sizeof *score);
    if (!docid || !score) return WR_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        docid[i] = wr_best_docid(s->best.key[i]);
        score[i] = (float)(wr_best_units(s->best.key[i]) * unit);
    }
    *hits = (wr_hits){docid, score, n, partial, s->seen};
    return WR_OK;
}

/* ---- groups by bound ---- */

static void add_group_bounds(const struct part *part, uint32_t *bound, uint64_t ngroups)
{
    const wr_postings *term = &part->term;
    if (!term->docid) {
        for (uint64_t g = 0; g < ngroups; g++) bound[g] += part->add[term->group_max[g]];
        return;
    }
    for (uint32_t i = 0; i < term->df;) {
        uint64_t g = term->docid[i] / GROUP_DOCS;
        uint8_t max = 0;
        for (; i < term->df && term->docid[i] / GROUP_DOCS == g; i++)
            if (term->impact[i] > max) max = term->impact[i];
        if (g < ngroups) bound[g] += part->add[max];
    }
}

/* Keys of the groups that have anything, the largest bound first; *n is their number. */
static uint64_t *groups_by_bound(const struct search *s, wr_arena *arena, size_t *n)
{
    size_t ngroups = (size_t)s->sparse->ngroups;
    uint32_t *bound = wr_arena_calloc(arena, ngroups, sizeof *bound);
    uint64_t *key = wr_arena_alloc(arena, ngroups * sizeof *key);
    *n = 0;
    if (!bound || !key) return NULL;
    for (size_t i = 0; i < s->n; i++) add_group_bounds(&s->part[i], bound, ngroups);
    for (size_t g = 0; g < ngroups; g++)
        if (bound[g] > 0) key[(*n)++] = wr_best_key(bound[g], (uint32_t)g);
    wr_best_sort_keys(key, *n);
    return key;
}

wr_status wr_sparse_search(const wr_sparse *sparse, const wr_sparse_query *query, size_t k, const uint32_t *exclude,
                           size_t nexclude, const wr_budget *budget, wr_arena *arena, wr_hits *hits)
{
    struct search s;
    size_t n;
    bool partial = false;
    *hits = (wr_hits){0};
    if (search_init(&s, sparse, query, k, arena)) return WR_ENOMEM;
    s.budget = budget;
    s.exclude = exclude;
    s.nexclude = nexclude;
    double unit = set_unit(&s);
    const uint64_t *group = groups_by_bound(&s, arena, &n);
    if (!group) return WR_ENOMEM;
    for (size_t i = 0; i < n && !partial; i++) {
        uint32_t g = wr_best_docid(group[i]), bound = wr_best_units(group[i]);
        if (s.best.n > s.best.k + s.best.k / 4) wr_best_thin(&s.best);
        if (bound < wr_best_units(s.best.worst)) break;
        if (bound < wr_sparse_need(&s, g)) continue;
        /* Late before it began, it searches one group all the same: 20 us, and there are hits to show. */
        partial = (i > 0 && wr_budget_spent(budget)) || !wr_sparse_group_search(&s, g);
    }
    return hits_fill(&s, unit, partial, arena, hits);
}

wr_status wr_sparse_search_exhaustive(const wr_sparse *sparse, const wr_sparse_query *query, size_t k,
                                      const uint32_t *exclude, size_t nexclude, wr_arena *arena, wr_hits *hits)
{
    struct search s;
    *hits = (wr_hits){0};
    if (search_init(&s, sparse, query, k, arena)) return WR_ENOMEM;
    s.exclude = exclude;
    s.nexclude = nexclude;
    double unit = set_unit(&s);
    for (uint32_t group = 0; group < sparse->ngroups; group++) wr_sparse_group_exhaust(&s, group);
    return hits_fill(&s, unit, false, arena, hits);
}
