/* Searching the postings of sparse.h: best groups first, in a group best bounds only, blocks scored where they lie.
 *
 * Floating-point sums keep their order when every summand does, so a bound that adds the largest impacts in the order
 * in which a score adds its own is never below the score: no slack is needed, and what is skipped could not have
 * entered. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/sparse_format.h"

/* Postings between two looks at the clock: about 20 us of work, so that a deadline is met by a small part of a
 * millisecond, while the look (30 ns) does not show. */
#define POSTINGS_PER_CHECK 16384

/* A term of the query: its postings, what each stored impact contributes, and its slice of the group at hand. */
struct part {
    sparse_term term;
    uint32_t id;
    float weight, scale;
    float contribution[256]; /* weight * (q * scale) */

    uint32_t n; /* entries of the slice */
    const uint8_t *impact;
    const uint8_t *low8;   /* offset in the block, of shape blocks */
    const uint16_t *low16; /* offset in the group, of shape groups */
    const uint32_t *docid; /* of shape list */
    const uint16_t *first; /* [GROUP_BLOCKS] */
    const uint8_t *max;    /* [GROUP_BLOCKS] */
    uint16_t own_first[GROUP_BLOCKS];
    uint8_t own_max[GROUP_BLOCKS];
};

struct search {
    const wr_sparse *sparse;
    struct part *part; /* [n] by ascending id */
    size_t n;
    struct part **active; /* [n] parts with entries in the group at hand */
    size_t nactive;
    const uint32_t *exclude;
    size_t nexclude;
    wr_topk top;
    uint64_t seen;
};

static int by_id(const void *a, const void *b)
{
    const struct part *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* Takes the query's terms; those that the index does not have, or whose weight adds nothing, are left out. */
static wr_status search_init(struct search *s, const wr_sparse *sparse, const wr_sparse_query *query, size_t k,
                             const uint32_t *exclude, size_t nexclude, wr_arena *arena)
{
    assert(k >= 1 && k <= WR_MAX_K);
    if (k > sparse->header.ndocs) k = sparse->header.ndocs ? (size_t)sparse->header.ndocs : 1;
    *s = (struct search){.sparse = sparse, .exclude = exclude, .nexclude = nexclude};
    uint32_t *docid = wr_arena_calloc(arena, k, sizeof *docid);
    float *score = wr_arena_calloc(arena, k, sizeof *score);
    s->part = wr_arena_calloc(arena, query->n, sizeof *s->part);
    s->active = wr_arena_calloc(arena, query->n, sizeof(struct part *));
    if (!docid || !score || !s->part || !s->active) return WR_ENOMEM;
    wr_topk_init(&s->top, k, docid, score);
    for (size_t i = 0; i < query->n; i++) {
        struct part *part = &s->part[s->n];
        if (!(query->weight[i] > 0) || !sparse_term_get(sparse, query->term[i], &part->term)) continue;
        part->id = query->term[i];
        part->weight = query->weight[i];
        part->scale = sparse->header.scale;
        for (unsigned q = 0; q < 256; q++) part->contribution[q] = part->weight * ((float)q * part->scale);
        s->n++;
    }
    qsort(s->part, s->n, sizeof *s->part, by_id);
    return WR_OK;
}

static int compare_docid(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void offer(struct search *s, uint32_t docid, float score)
{
    if (docid >= s->sparse->header.ndocs) return; /* only in a damaged file */
    if (s->nexclude && bsearch(&docid, s->exclude, s->nexclude, sizeof docid, compare_docid)) return;
    wr_topk_push(&s->top, docid, score);
}

/* True when a document whose score is at most bound and whose docid is at least first may still enter. */
static bool may_enter(const wr_topk *top, float bound, uint32_t first)
{
    return bound > 0 && (top->n < top->k || wr_better(bound, first, top->score[0], top->docid[0]));
}

/* ---- the slice of one group ---- */

/* Places of the entries of a slice by block, and the largest impact of each block, where the file does not have them.
 */
static void part_blocks(struct part *part)
{
    unsigned block = 0;
    memset(part->own_max, 0, sizeof part->own_max);
    part->own_first[0] = 0;
    for (uint32_t i = 0; i < part->n; i++) {
        uint32_t low = part->docid ? part->docid[i] : part->low16[i];
        unsigned at = low % GROUP_DOCS / BLOCK_DOCS;
        while (block < at) part->own_first[++block] = (uint16_t)i;
        if (part->impact[i] > part->own_max[block]) part->own_max[block] = part->impact[i];
    }
    while (block < GROUP_BLOCKS - 1) part->own_first[++block] = (uint16_t)part->n;
    part->first = part->own_first;
    part->max = part->own_max;
}

static void part_slice(struct part *part, uint32_t group)
{
    const sparse_term *term = &part->term;
    uint32_t from;
    sparse_slice(term, group, &from, &part->n);
    if (part->n == 0) return;
    part->impact = term->impact + from;
    if (term->shape == SHAPE_BLOCKS) {
        const unsigned char *record = term->record + (size_t)group * GROUP_RECORD;
        part->low8 = part->impact + from;
        part->impact = part->low8 + part->n;
        part->first = (const uint16_t *)(const void *)record;
        part->max = record + 2 * GROUP_BLOCKS;
        return;
    }
    part->docid = term->shape == SHAPE_LIST ? term->docid + from : NULL;
    part->low16 = term->low + from;
    part_blocks(part);
}

static void enter_group(struct search *s, uint32_t group)
{
    s->nactive = 0;
    for (size_t i = 0; i < s->n; i++) {
        part_slice(&s->part[i], group);
        if (s->part[i].n > 0) s->active[s->nactive++] = &s->part[i];
    }
}

/* Adds what the part has in one block to the sums of its documents. */
static uint32_t add_block(const struct part *part, unsigned block, float sum[BLOCK_DOCS])
{
    uint32_t from = part->first[block], to = block + 1 < GROUP_BLOCKS ? part->first[block + 1] : part->n;
    if (to > part->n || from > to) return 0; /* only in a damaged file */
    const float *contribution = part->contribution;
    if (part->term.shape == SHAPE_BLOCKS)
        for (uint32_t i = from; i < to; i++) sum[part->low8[i] % BLOCK_DOCS] += contribution[part->impact[i]];
    else if (part->term.shape == SHAPE_GROUPS)
        for (uint32_t i = from; i < to; i++) sum[part->low16[i] % BLOCK_DOCS] += contribution[part->impact[i]];
    else
        for (uint32_t i = from; i < to; i++) sum[part->docid[i] % BLOCK_DOCS] += contribution[part->impact[i]];
    return to - from;
}

/* Scores every document of a block; returns the postings read. */
static uint32_t score_block(struct search *s, uint32_t first, unsigned block)
{
    float sum[BLOCK_DOCS] = {0};
    uint32_t postings = 0;
    for (size_t i = 0; i < s->nactive; i++) postings += add_block(s->active[i], block, sum);
    for (uint32_t d = 0; d < BLOCK_DOCS; d++) {
        if (!(sum[d] > 0)) continue;
        s->seen++;
        if (may_enter(&s->top, sum[d], first + d)) offer(s, first + d, sum[d]);
    }
    return postings;
}

/* ---- bounds ---- */

static void add_group_bounds(const struct part *part, float *bound, uint64_t ngroups)
{
    const sparse_term *term = &part->term;
    if (term->shape != SHAPE_LIST) {
        for (uint64_t g = 0; g < ngroups; g++) bound[g] += part->contribution[term->group_max[g]];
        return;
    }
    for (uint32_t i = 0; i < term->df;) {
        uint64_t g = term->docid[i] / GROUP_DOCS;
        uint8_t max = 0;
        for (; i < term->df && term->docid[i] / GROUP_DOCS == g; i++)
            if (term->impact[i] > max) max = term->impact[i];
        if (g < ngroups) bound[g] += part->contribution[max];
    }
}

static void block_bounds(const struct search *s, float bound[GROUP_BLOCKS])
{
    memset(bound, 0, GROUP_BLOCKS * sizeof *bound);
    for (size_t i = 0; i < s->nactive; i++) {
        const struct part *part = s->active[i];
        const uint8_t *max = part->max;
        float weight = part->weight, scale = part->scale;
        for (unsigned b = 0; b < GROUP_BLOCKS; b++) bound[b] += weight * ((float)max[b] * scale);
    }
}

/* Scores the blocks of a group that may hold a hit. False when the time was up. */
static bool search_group(struct search *s, uint32_t group, const wr_budget *budget)
{
    float bound[GROUP_BLOCKS];
    uint32_t postings = 0;
    if (wr_budget_spent(budget)) return false;
    enter_group(s, group);
    block_bounds(s, bound);
    for (unsigned block = 0; block < GROUP_BLOCKS; block++) {
        uint32_t first = group * GROUP_DOCS + block * BLOCK_DOCS;
        if (!may_enter(&s->top, bound[block], first)) continue;
        postings += score_block(s, first, block);
        if (postings < POSTINGS_PER_CHECK) continue;
        if (wr_budget_spent(budget)) return false;
        postings = 0;
    }
    return true;
}

/* ---- the two searches ---- */

static void hits_fill(struct search *s, wr_hits *hits)
{
    size_t n = wr_topk_sort(&s->top);
    *hits = (wr_hits){s->top.docid, s->top.score, n, hits->partial, s->seen};
}

wr_status wr_sparse_search(const wr_sparse *sparse, const wr_sparse_query *query, size_t k, const uint32_t *exclude,
                           size_t nexclude, const wr_budget *budget, wr_arena *arena, wr_hits *hits)
{
    struct search s;
    *hits = (wr_hits){0};
    size_t ngroups = (size_t)sparse->ngroups;
    wr_status st = search_init(&s, sparse, query, k, exclude, nexclude, arena);
    float *bound = wr_arena_calloc(arena, ngroups, sizeof *bound);
    uint32_t *group = wr_arena_calloc(arena, ngroups, sizeof *group);
    if (st || !bound || !group) return WR_ENOMEM;
    for (size_t i = 0; i < s.n; i++) add_group_bounds(&s.part[i], bound, ngroups);
    for (size_t g = 0; g < ngroups; g++) group[g] = (uint32_t)g;
    wr_hits_sort(group, bound, ngroups);
    for (size_t g = 0; g < ngroups && !hits->partial; g++) {
        if (!may_enter(&s.top, bound[g], group[g] * GROUP_DOCS)) {
            if (s.top.n < s.top.k || bound[g] < s.top.score[0]) break;
            continue;
        }
        hits->partial = !search_group(&s, group[g], budget);
    }
    hits_fill(&s, hits);
    return WR_OK;
}

wr_status wr_sparse_search_exhaustive(const wr_sparse *sparse, const wr_sparse_query *query, size_t k,
                                      const uint32_t *exclude, size_t nexclude, wr_arena *arena, wr_hits *hits)
{
    struct search s;
    *hits = (wr_hits){0};
    if (search_init(&s, sparse, query, k, exclude, nexclude, arena)) return WR_ENOMEM;
    for (uint32_t group = 0; group < sparse->ngroups; group++) {
        enter_group(&s, group);
        for (unsigned block = 0; block < GROUP_BLOCKS; block++)
            score_block(&s, group * GROUP_DOCS + block * BLOCK_DOCS, block);
    }
    hits_fill(&s, hits);
    return WR_OK;
}
