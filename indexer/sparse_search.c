/* Searching the postings of sparse.h: groups of documents by falling bound, until no group is left that may have a hit.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "indexer/sparse_search.h"

/* Of each slice this much is asked for ahead: the processor goes on by itself. Measured: 512 to 1024 gain 5 to 12 %. */
#define PREFETCH_BYTES 1024
#define LINE_BYTES 64

/* Of the second phase, between two looks at the clock: about 20 us. */
#define DOCUMENTS_PER_CHECK 16

/* The unit of scores: the power of two of which the largest possible score has 2^22 to 2^23. In double, because weights
 * may be so large or small that float would not hold it. */
double wr_sparse_set_units(const wr_sparse *sparse, struct part *part, size_t n)
{
    int exponent;
    double most = 0, scale = (double)sparse->header.scale;
    for (size_t i = 0; i < n; i++) most += (double)part[i].weight * (IMPACT_MAX * scale);
    frexp(most, &exponent);
    double unit = ldexp(1, exponent - 23);
    for (size_t i = 0; i < n; i++) part[i].units = (uint64_t)((double)part[i].weight * scale / unit * 0x1p24 + 0.5);
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

bool wr_sparse_part_get(const wr_sparse *sparse, uint32_t id, float weight, struct part *part)
{
    if (!(weight > 0 && isfinite(weight)) || !wr_postings_get(sparse, id, &part->term)) return false;
    part->id = id;
    part->weight = weight;
    return true;
}

static wr_status add_part(struct search *s, uint32_t id, float weight, wr_arena *arena)
{
    struct part *part = &s->part[s->n];
    if (!wr_sparse_part_get(s->sparse, id, weight, part)) return WR_OK;
    s->n++;
    if (!part->term.docid) return WR_OK;
    size_t most = part->term.df < GROUP_DOCS ? part->term.df : GROUP_DOCS;
    part->own = wr_arena_alloc(arena, most * sizeof *part->own);
    return part->own ? WR_OK : WR_ENOMEM;
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
    s->candidate = wr_arena_alloc(arena, (2 * GROUP_DOCS + 1) * sizeof *s->candidate);
    if (wr_best_init(&s->best, k, arena) || !s->part || !s->by_cost || !s->active || !s->sum || !s->candidate)
        return WR_ENOMEM;
    for (size_t i = 0; i < query->n; i++)
        if (add_part(s, query->term[i], query->weight[i], arena)) return WR_ENOMEM;
    return order_parts(s, arena);
}

wr_status wr_sparse_hits_fill(wr_best *best, double unit, wr_arena *arena, wr_hits *hits)
{
    size_t n = wr_best_sort(best);
    uint32_t *docid = wr_arena_calloc(arena, n, sizeof *docid);
    float *score = wr_arena_calloc(arena, n, sizeof *score);
    if (!docid || !score) return WR_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        docid[i] = wr_best_docid(best->key[i]);
        score[i] = (float)(wr_best_units(best->key[i]) * unit);
    }
    hits->docid = docid;
    hits->score = score;
    hits->n = n;
    return WR_OK;
}

static wr_status finish(struct search *s, double unit, bool partial, wr_arena *arena, wr_hits *hits)
{
    wr_status st = wr_sparse_hits_fill(&s->best, unit, arena, hits);
    hits->partial = partial;
    hits->seen = s->seen;
    return st;
}

/* ---- groups by bound ---- */

static void add_group_bounds(const struct part *part, uint32_t *bound, uint64_t ngroups)
{
    const wr_postings *term = &part->term;
    if (!term->docid) {
        for (uint64_t g = 0; g < ngroups; g++) bound[g] += wr_sparse_most(part, term->group_bound[g]);
        return;
    }
    for (uint32_t i = 0; i < term->df;) {
        uint64_t g = term->docid[i] / GROUP_DOCS;
        uint16_t most = 0;
        for (; i < term->df && term->docid[i] / GROUP_DOCS == g; i++)
            if (term->impact[i] > most) most = term->impact[i];
        if (g < ngroups) bound[g] += wr_sparse_units(part->units, most);
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

/* Asks for what the parts have in a group which is searched next: it lies far apart in the file. */
static void prefetch_group(const struct search *s, uint32_t group)
{
    for (size_t i = 0; i < s->n; i++) {
        const wr_postings *term = &s->part[i].term;
        if (term->docid) continue;
        uint32_t from = term->start[group], n = term->start[group + 1] - from;
        if (from > term->df) continue; /* only in a damaged file */
        const char *at = (const char *)(term->posting + from);
        size_t bytes = n < PREFETCH_BYTES / 4 ? 4 * (size_t)n : PREFETCH_BYTES;
        for (size_t b = 0; b < bytes; b += LINE_BYTES) __builtin_prefetch(at + b);
        if (!term->record) continue;
        const unsigned char *bound = term->record + (size_t)group * GROUP_RECORD + 2 * GROUP_BLOCKS;
        for (size_t b = 0; b < GROUP_BLOCKS; b += LINE_BYTES) __builtin_prefetch(bound + b);
    }
}

static wr_status search_groups(struct search *s, wr_arena *arena, bool *partial)
{
    size_t n;
    const uint64_t *group = groups_by_bound(s, arena, &n);
    *partial = false;
    if (!group) return WR_ENOMEM;
    for (size_t i = 0; i < n && !*partial; i++) {
        uint32_t g = wr_best_docid(group[i]), bound = wr_best_units(group[i]);
        if (s->best.n > s->best.k + s->best.k / 4) wr_best_thin(&s->best);
        if (bound < wr_best_units(s->best.worst)) break;
        if (bound < wr_sparse_need(s, g)) continue;
        if (i + 1 < n) prefetch_group(s, wr_best_docid(group[i + 1]));
        /* Late before it began, it searches one group all the same: 20 us, and there are hits to show. */
        *partial = (i > 0 && wr_budget_spent(s->budget)) || !wr_sparse_group_search(s, g);
    }
    return WR_OK;
}

wr_status wr_sparse_search(const wr_sparse *sparse, const wr_sparse_query *query, size_t k, const uint32_t *exclude,
                           size_t nexclude, const wr_budget *budget, wr_arena *arena, wr_hits *hits)
{
    struct search s;
    bool partial;
    *hits = (wr_hits){0};
    if (search_init(&s, sparse, query, k, arena)) return WR_ENOMEM;
    s.budget = budget;
    s.exclude = exclude;
    s.nexclude = nexclude;
    double unit = wr_sparse_set_units(sparse, s.part, s.n);
    if (search_groups(&s, arena, &partial)) return WR_ENOMEM;
    return finish(&s, unit, partial, arena, hits);
}

/* ---- two phases ---- */

/* Puts the parts that are heavy enough first; returns their number. */
static size_t heavy_first(struct search *s, float ratio)
{
    float most = 0;
    size_t heavy = 0;
    for (size_t i = 0; i < s->n; i++) most = s->part[i].weight > most ? s->part[i].weight : most;
    for (size_t i = 0; i < s->n; i++) {
        if (s->part[i].weight < ratio * most) continue;
        struct part part = s->part[i];
        s->part[i] = s->part[heavy];
        s->part[heavy++] = part;
    }
    return heavy;
}

/* The best of the first phase, with what parts [from, to) have for them, into the k best of s. False when the time was
 * up: they are the best as the first phase has them then. */
static bool second_phase(struct search *s, const wr_best *first, size_t from, size_t to)
{
    bool partial = false;
    for (size_t i = 0; i < first->n; i++) {
        uint32_t docid = wr_best_docid(first->key[i]), sum = wr_best_units(first->key[i]);
        partial = partial || (i % DOCUMENTS_PER_CHECK == DOCUMENTS_PER_CHECK - 1 && wr_budget_spent(s->budget));
        for (size_t p = from; p < to && !partial; p++) {
            uint32_t impact = wr_postings_find(&s->part[p].term, docid);
            if (impact) sum += wr_sparse_units(s->part[p].units, impact);
        }
        wr_best_offer(&s->best, wr_best_key(sum, docid));
    }
    return !partial;
}

wr_status wr_sparse_search_two_phase(const wr_sparse *sparse, const wr_sparse_query *query, size_t k,
                                     const wr_sparse_two_phase *phases, const uint32_t *exclude, size_t nexclude,
                                     const wr_budget *budget, wr_arena *arena, wr_hits *hits)
{
    struct search s;
    bool partial;
    float ratio = phases && phases->ratio > 0 ? phases->ratio : WR_SPARSE_TWO_PHASE_RATIO;
    float expansion = phases && phases->expansion >= 1 ? phases->expansion : WR_SPARSE_TWO_PHASE_EXPANSION;
    double depth = (double)expansion * (double)k;
    *hits = (wr_hits){0};
    if (search_init(&s, sparse, query, depth < WR_MAX_K ? (size_t)depth : WR_MAX_K, arena)) return WR_ENOMEM;
    s.budget = budget;
    s.exclude = exclude;
    s.nexclude = nexclude;
    double unit = wr_sparse_set_units(sparse, s.part, s.n);
    size_t all = s.n;
    s.n = heavy_first(&s, ratio);
    if (order_parts(&s, arena) || search_groups(&s, arena, &partial)) return WR_ENOMEM;
    wr_best first = s.best;
    first.n = wr_best_sort(&first);
    if (wr_best_init(&s.best, k, arena)) return WR_ENOMEM;
    partial = !second_phase(&s, &first, s.n, all) || partial;
    return finish(&s, unit, partial, arena, hits);
}

wr_status wr_sparse_search_exhaustive(const wr_sparse *sparse, const wr_sparse_query *query, size_t k,
                                      const uint32_t *exclude, size_t nexclude, wr_arena *arena, wr_hits *hits)
{
    struct search s;
    *hits = (wr_hits){0};
    if (search_init(&s, sparse, query, k, arena)) return WR_ENOMEM;
    s.exclude = exclude;
    s.nexclude = nexclude;
    double unit = wr_sparse_set_units(sparse, s.part, s.n);
    for (uint32_t group = 0; group < sparse->ngroups; group++) wr_sparse_group_exhaust(&s, group);
    return finish(&s, unit, false, arena, hits);
}
