/* Searching the postings of sparse.h: MaxScore (Turtle & Flood 1995), a group of docids at a time, best groups first.
 *
 * In each group the query's terms are divided: those whose largest impacts there together do not reach the k-th best
 * score so far are optional, for a document that has no other term cannot enter. The postings of the required terms are
 * added up in an array over the group, without merging and without branches. Documents that may enter with what the
 * optional terms can add are candidates; they take what the optional terms have for them, one term after the other,
 * the one that may bring most first, and after each term those that can no longer enter are dropped. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/sparse_format.h"

/* Postings between two looks at the clock: about 20 us of work, so that a deadline is met by a small part of a
 * millisecond, while the look (30 ns) does not show. */
#define POSTINGS_PER_CHECK 16384

/* Looking one candidate up in a slice takes the time of passing over this many of its postings (measured: 6 to 12). */
#define LOOK_UP_POSTINGS 8

/* A sum's mark: the document is in the list of candidates. Sums are below (see set_unit). */
#define CANDIDATE ((uint32_t)1 << 31)

/* A term of the query: its postings, what each stored impact adds to a sum, and what it has in the group at hand. */
struct part {
    sparse_term term;
    uint32_t id;
    float weight, cost; /* cost: df by weight; the higher, the sooner it is optional */
    uint32_t add[256];  /* by stored impact, in units */
    uint32_t n;         /* postings in the group: */
    const uint16_t *low;
    const uint8_t *impact;
    const unsigned char *record; /* of the group, or NULL            */
    uint16_t *own_low;           /* [min(df, GROUP_DOCS)] of a list  */
    uint32_t bound;              /* the most it adds in the group    */
    uint32_t rest;               /* the most that it and the optional parts before it add */
};

struct search {
    const wr_sparse *sparse;
    const wr_budget *budget;
    struct part *part; /* [n] highest cost first */
    size_t n;
    struct part **active; /* [n] parts that the group has: [noptional] optional ones, then the required */
    size_t nactive, noptional;
    uint32_t *sum;       /* [GROUP_DOCS], in units, all zero between groups */
    uint16_t *candidate; /* [GROUP_DOCS + 1] */
    size_t ncandidates;
    const uint32_t *exclude;
    size_t nexclude;
    uint64_t *best; /* [room] keys of documents that may be among the best, in no order */
    size_t nbest, room, k;
    uint64_t worst;     /* keys up to it are not among the best */
    float unit;         /* scores are multiples of it */
    uint32_t threshold; /* the k-th best score in units; 0 while there is room */
    uint32_t need;      /* what a sum must reach to enter from the group at hand */
    bool begun; /* a group was searched */
    uint32_t unchecked; /* postings since the last look at the clock */
    uint64_t seen;
};

/* ---- setting up ---- */

static int by_cost(const void *a, const void *b)
{
    const struct part *x = a, *y = b;
    if (x->cost != y->cost) return x->cost < y->cost ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* The unit of scores: the power of two of which the largest possible score has 2^22 to 2^23. */
static void set_unit(struct search *s)
{
    int exponent;
    float most = 0;
    for (size_t i = 0; i < s->n; i++) most += s->part[i].weight * (UINT8_MAX * s->sparse->header.scale);
    frexpf(most, &exponent);
    s->unit = ldexpf(1, exponent - 23);
    for (size_t i = 0; i < s->n; i++) {
        struct part *part = &s->part[i];
        float each = part->weight * s->sparse->header.scale / s->unit;
        for (int q = 0; q < 256; q++) part->add[q] = (uint32_t)(int32_t)((float)q * each + 0.5f);
        for (int q = 1; q < 256 && part->add[q] == 0; q++) part->add[q] = 1; /* a match is a match */
    }
}

/* Takes the query's terms; those that the index does not have, or whose weight adds nothing, are left out. */
static wr_status search_init(struct search *s, const wr_sparse *sparse, const wr_sparse_query *query, size_t k,
                             const uint32_t *exclude, size_t nexclude, wr_arena *arena)
{
    assert(k >= 1 && k <= WR_MAX_K);
    if (k > sparse->header.ndocs) k = sparse->header.ndocs ? (size_t)sparse->header.ndocs : 1;
    *s = (struct search){.sparse = sparse, .exclude = exclude, .nexclude = nexclude};
    s->k = k;
    s->room = 2 * k > k + 32 ? 2 * k : k + 32;
    s->best = wr_arena_alloc(arena, s->room * sizeof *s->best);
    s->part = wr_arena_calloc(arena, query->n, sizeof *s->part);
    s->active = wr_arena_calloc(arena, query->n, sizeof(struct part *));
    s->sum = wr_arena_calloc(arena, GROUP_DOCS, sizeof *s->sum);
    s->candidate = wr_arena_alloc(arena, (GROUP_DOCS + 1) * sizeof *s->candidate);
    if (!s->best || !s->part || !s->active || !s->sum || !s->candidate) return WR_ENOMEM;
    for (size_t i = 0; i < query->n; i++) {
        struct part *part = &s->part[s->n];
        if (!(query->weight[i] > 0) || !sparse_term_get(sparse, query->term[i], &part->term)) continue;
        part->id = query->term[i];
        part->weight = query->weight[i];
        part->cost = (float)part->term.df / part->weight;
        if (part->term.docid) {
            part->own_low = wr_arena_alloc(arena, (part->term.df < GROUP_DOCS ? part->term.df : GROUP_DOCS) *
                                                      sizeof *part->own_low);
            if (!part->own_low) return WR_ENOMEM;
        }
        s->n++;
    }
    qsort(s->part, s->n, sizeof *s->part, by_cost);
    set_unit(s);
    return WR_OK;
}

static int compare_docid(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void swap(uint64_t *a, uint64_t *b)
{
    uint64_t t = *a;
    *a = *b;
    *b = t;
}

/* Brings the k greatest of n > k keys to the front (Hoare's selection). */
static void select_best(uint64_t *key, size_t n, size_t k)
{
    while (n > 1) {
        uint64_t a = key[0], b = key[n / 2], c = key[n - 1];
        uint64_t pivot = a > b ? (b > c ? b : a > c ? c : a) : (a > c ? a : b > c ? c : b);
        size_t m = 0; /* keys above the pivot, to the front without a branch */
        for (size_t i = 0; i < n; i++) {
            uint64_t x = key[i];
            key[i] = key[m];
            key[m] = x;
            m += x > pivot;
        }
        if (m == k) return;
        if (m > k) {
            n = m;
            continue;
        }
        size_t at = m;
        while (key[at] != pivot) at++;
        swap(&key[m], &key[at]);
        m++;
        if (m >= k) return;
        key += m;
        n -= m;
        k -= m;
    }
}

static void refresh(struct search *s)
{
    if (s->nbest < s->k) return;
    if (s->nbest > s->k) select_best(s->best, s->nbest, s->k);
    s->nbest = s->k;
    uint64_t worst = UINT64_MAX;
    for (size_t i = 0; i < s->k; i++) worst = s->best[i] < worst ? s->best[i] : worst;
    s->worst = worst;
    s->threshold = (uint32_t)(worst >> 32);
    if (s->threshold > s->need) s->need = s->threshold;
}

static void offer(struct search *s, uint32_t docid, uint32_t sum)
{
    uint64_t key = (uint64_t)sum << 32 | (UINT32_MAX - docid);
    if (key <= s->worst || docid >= s->sparse->header.ndocs) return; /* the latter only in a damaged file */
    if (s->nexclude && bsearch(&docid, s->exclude, s->nexclude, sizeof docid, compare_docid)) return;
    s->best[s->nbest++] = key;
    if (s->nbest == s->room) refresh(s);
}

static uint32_t needed(const struct search *s, uint32_t group)
{
    if (s->worst == 0) return 1;
    return s->threshold + (group * GROUP_DOCS > UINT32_MAX - (uint32_t)s->worst);
}

/* False when the time is up. */
static bool in_time(struct search *s, size_t postings)
{
    s->unchecked += (uint32_t)postings;
    if (s->unchecked < POSTINGS_PER_CHECK) return true;
    s->unchecked = 0;
    return !wr_budget_spent(s->budget);
}

/* ---- one group ---- */

/* A list's docids become offsets in the group, as the other shapes have them. */
static void enter_list(struct part *part, const sparse_slice *slice)
{
    uint8_t max = 0;
    for (uint32_t i = 0; i < slice->n; i++) {
        part->own_low[i] = (uint16_t)(slice->docid[i] % GROUP_DOCS);
        if (slice->impact[i] > max) max = slice->impact[i];
    }
    part->low = part->own_low;
    part->bound = part->add[max];
}

/* Fills in what the part has in the group; false when that is nothing. */
static bool part_enter(struct part *part, uint32_t group)
{
    const sparse_term *term = &part->term;
    sparse_slice slice = sparse_slice_get(term, group);
    part->n = slice.n;
    part->low = slice.low;
    part->impact = slice.impact;
    if (slice.n == 0) return false;
    part->record = term->record ? term->record + (size_t)group * GROUP_RECORD : NULL;
    if (term->docid)
        enter_list(part, &slice);
    else
        part->bound = part->add[term->group_max[group]];
    return true;
}

/* Divides the group's terms into optional and required ones. */
static void enter_group(struct search *s, uint32_t group)
{
    uint32_t rest = 0;
    s->nactive = s->noptional = s->ncandidates = 0;
    s->need = needed(s, group);
    for (size_t i = 0; i < s->n; i++) {
        struct part *part = &s->part[i];
        if (!part_enter(part, group)) continue;
        part->rest = rest += part->bound;
        s->active[s->nactive++] = part;
        if (rest < s->need) s->noptional = s->nactive;
    }
}

static void add_postings(const struct part *part, uint32_t *restrict sum)
{
    const uint32_t *restrict add = part->add;
    for (uint32_t i = 0; i < part->n; i++) sum[part->low[i] % GROUP_DOCS] += add[part->impact[i]];
}

/* As above, for candidates alone. */
static void add_to_candidates(const struct part *part, uint32_t *restrict sum)
{
    const uint32_t *restrict add = part->add;
    for (uint32_t i = 0; i < part->n; i++) {
        uint32_t low = part->low[i] % GROUP_DOCS, mask = 0 - (sum[low] >> 31);
        sum[low] += add[part->impact[i]] & mask;
    }
}

/* Scores the documents of a part, all terms being required. */
static void score_documents(struct search *s, uint32_t group, const struct part *part)
{
    for (uint32_t i = 0; i < part->n; i++) {
        uint32_t low = part->low[i] % GROUP_DOCS, sum = s->sum[low];
        s->sum[low] = 0;
        s->seen += sum > 0;
        if (sum >= s->need) offer(s, group * GROUP_DOCS + low, sum);
    }
}

/* Makes candidates of a part's documents that may enter with what the optional terms add; clears the others. */
static void choose(struct search *s, const struct part *part)
{
    uint32_t least = s->need - s->active[s->noptional - 1]->rest, *restrict all = s->sum;
    uint16_t *restrict candidate = s->candidate;
    size_t n = s->ncandidates;
    for (uint32_t i = 0; i < part->n; i++) {
        uint32_t low = part->low[i] % GROUP_DOCS, sum = all[low], old = sum >> 31;
        uint32_t fresh = (sum >= least) & (old ^ 1);
        candidate[n] = (uint16_t)low;
        n += fresh;
        all[low] = (sum | fresh << 31) & (0 - (fresh | old));
    }
    s->seen += n - s->ncandidates;
    s->ncandidates = n;
}

/* What a part adds to the document at `low` in the group. */
static uint32_t find(const struct part *part, uint32_t low)
{
    uint32_t i = 0, n = part->n;
    if (part->record) {
        uint16_t first[2] = {0, 0};
        uint32_t block = low / BLOCK_DOCS;
        memcpy(first, part->record + 2 * block, block + 1 < GROUP_BLOCKS ? 4 : 2);
        i = first[0];
        if (block + 1 < GROUP_BLOCKS && first[1] < n) n = first[1];
        while (i < n && part->low[i] < low) i++;
    } else {
        while (n > 1) {
            uint32_t half = n / 2;
            i = part->low[i + half] <= low ? i + half : i;
            n -= half;
        }
        n = part->n;
    }
    return i < n && part->low[i] == low ? part->add[part->impact[i]] : 0;
}

/* Looks the candidates up in a part; those that cannot enter whatever the parts before it add are dropped. */
static void look_up(struct search *s, const struct part *part, uint32_t rest)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->ncandidates; i++) {
        uint32_t low = s->candidate[i], sum = s->sum[low] & ~CANDIDATE;
        uint32_t most = part->record ? part->add[part->record[2 * GROUP_BLOCKS + low / BLOCK_DOCS]] : part->bound;
        if (sum + most + rest >= s->need) sum += find(part, low);
        bool keep = sum + rest >= s->need;
        s->sum[low] = keep ? sum | CANDIDATE : 0;
        s->candidate[kept] = (uint16_t)low;
        kept += keep;
    }
    s->ncandidates = kept;
}

/* The same by passing over the part's postings. */
static void pass_over(struct search *s, const struct part *part, uint32_t rest)
{
    uint32_t least = s->need - rest, *restrict all = s->sum;
    uint16_t *restrict candidate = s->candidate;
    size_t kept = 0;
    add_to_candidates(part, all);
    for (size_t i = 0; i < s->ncandidates; i++) {
        uint32_t low = candidate[i], sum = all[low];
        bool keep = (sum & ~CANDIDATE) >= least;
        all[low] = keep ? sum : 0;
        candidate[kept] = (uint16_t)low;
        kept += keep;
    }
    s->ncandidates = kept;
}

/* False when the time was up; the sums are not cleared then. */
static bool search_group(struct search *s, uint32_t group)
{
    /* The first group is begun in any case: a few hits cost 20 us, and none would leave the later stages nothing. */
    if (s->begun && wr_budget_spent(s->budget)) return false;
    s->begun = true;
    if (s->nbest > s->k + s->k / 4) refresh(s);
    s->unchecked = 0;
    enter_group(s, group);
    for (size_t i = s->noptional; i < s->nactive; i++) {
        add_postings(s->active[i], s->sum);
        if (!in_time(s, s->active[i]->n)) return false;
    }
    for (size_t i = s->noptional; i < s->nactive; i++) {
        if (s->noptional == 0)
            score_documents(s, group, s->active[i]);
        else
            choose(s, s->active[i]);
        if (!in_time(s, s->active[i]->n)) return false;
    }
    for (size_t i = s->noptional; i-- > 0 && s->ncandidates > 0;) {
        const struct part *part = s->active[i];
        uint32_t rest = i > 0 ? s->active[i - 1]->rest : 0;
        size_t work = LOOK_UP_POSTINGS * s->ncandidates;
        if (work < part->n)
            look_up(s, part, rest);
        else
            pass_over(s, part, rest);
        if (!in_time(s, work < part->n ? work : part->n)) return false;
    }
    for (size_t i = 0; i < s->ncandidates; i++) {
        uint32_t low = s->candidate[i];
        offer(s, group * GROUP_DOCS + low, s->sum[low] & ~CANDIDATE);
        s->sum[low] = 0;
    }
    return true;
}

/* ---- all groups ---- */

static void add_group_bounds(const struct part *part, float *bound, uint64_t ngroups)
{
    const sparse_term *term = &part->term;
    if (!term->docid) {
        for (uint64_t g = 0; g < ngroups; g++) bound[g] += (float)part->add[term->group_max[g]];
        return;
    }
    for (uint32_t i = 0; i < term->df;) {
        uint64_t g = term->docid[i] / GROUP_DOCS;
        uint8_t max = 0;
        for (; i < term->df && term->docid[i] / GROUP_DOCS == g; i++)
            if (term->impact[i] > max) max = term->impact[i];
        if (g < ngroups) bound[g] += (float)part->add[max];
    }
}

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : -1;
}

static wr_status hits_fill(struct search *s, bool partial, wr_arena *arena, wr_hits *hits)
{
    refresh(s);
    size_t n = s->nbest;
    qsort(s->best, n, sizeof *s->best, descending);
    *hits = (wr_hits){wr_arena_alloc(arena, n * 4), wr_arena_alloc(arena, n * 4), n, partial, s->seen};
    for (size_t i = 0; i < n; i++) {
        hits->docid[i] = UINT32_MAX - (uint32_t)s->best[i];
        hits->score[i] = (float)(s->best[i] >> 32) * s->unit;
    }
    return WR_OK;
}

wr_status wr_sparse_search(const wr_sparse *sparse, const wr_sparse_query *query, size_t k, const uint32_t *exclude,
                           size_t nexclude, const wr_budget *budget, wr_arena *arena, wr_hits *hits)
{
    struct search s;
    bool partial = false;
    *hits = (wr_hits){0};
    size_t ngroups = (size_t)sparse->ngroups;
    wr_status st = search_init(&s, sparse, query, k, exclude, nexclude, arena);
    float *bound = wr_arena_calloc(arena, ngroups, sizeof *bound); /* in units: below 2^24, exact as float */
    uint32_t *group = wr_arena_calloc(arena, ngroups, sizeof *group);
    if (st || !bound || !group) return WR_ENOMEM;
    s.budget = budget;
    for (size_t i = 0; i < s.n; i++) add_group_bounds(&s.part[i], bound, ngroups);
    for (size_t g = 0; g < ngroups; g++) group[g] = (uint32_t)g;
    wr_hits_sort(group, bound, ngroups);
    for (size_t g = 0; g < ngroups && !partial && bound[g] >= (float)s.threshold && bound[g] > 0; g++)
        if (bound[g] >= (float)needed(&s, group[g])) partial = !search_group(&s, group[g]);
    return hits_fill(&s, partial, arena, hits);
}

wr_status wr_sparse_search_exhaustive(const wr_sparse *sparse, const wr_sparse_query *query, size_t k,
                                      const uint32_t *exclude, size_t nexclude, wr_arena *arena, wr_hits *hits)
{
    struct search s;
    *hits = (wr_hits){0};
    if (search_init(&s, sparse, query, k, exclude, nexclude, arena)) return WR_ENOMEM;
    for (uint32_t group = 0; group < sparse->ngroups; group++) {
        s.need = 1;
        for (size_t i = 0; i < s.n; i++)
            if (part_enter(&s.part[i], group)) add_postings(&s.part[i], s.sum);
        for (uint32_t low = 0; low < GROUP_DOCS; low++) {
            s.seen += s.sum[low] > 0;
            if (s.sum[low] > 0) offer(&s, group * GROUP_DOCS + low, s.sum[low]);
            s.sum[low] = 0;
        }
    }
    return hits_fill(&s, false, arena, hits);
}
