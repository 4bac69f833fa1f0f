/* Searching the clusters of sparse_ann.h.
 *
 * Step 1: the lists of the terms that may add most; those that are not divided are scored at once. Step 2: every
 * cluster of the others is estimated. Step 3: the best clusters are scored, in waves, until there are k hits. Step 4:
 * so are those that are estimated at heap_factor times what is needed by now, the best first, until none is left. */
#include <assert.h>
#include <string.h>

#include "indexer/sparse_ann_format.h"
#include "indexer/sparse_search.h"
#include "models/kernels_sift.h"

/* Documents between asking for a record and scoring it: what memory takes to answer is about ten scorings. */
#define AHEAD 16

#define LINE_BYTES 64
#define DOCUMENTS_PER_CHECK 64 /* about 3 us */
#define FIRST_SEEN 4096        /* places in the set of seen documents; it grows */

/* A wave has so many clusters for ten hits: about two documents of a cluster are worth having. */
#define WAVE_CLUSTERS 8

/* A term of the query, found by its id. */
struct slot {
    uint32_t term, taken;
    uint64_t units; /* struct part's */
};

struct ann_search {
    const wr_sparse_ann *ann;
    const wr_sparse_kernels *kernels;
    wr_arena *arena;
    const wr_budget *budget;
    struct part *part; /* [n] */
    size_t n;
    wr_sparse_sieve sieve;
    struct slot *slot; /* [slots], a power of two */
    uint32_t slots;

    wr_ann_list *list; /* [nlists] divided ones                             */
    uint32_t *base;    /* [nlists + 1] where a list's clusters are in estimate */
    size_t nlists;
    uint32_t *estimate; /* [base[nlists]] units */

    uint32_t *seen; /* [1 << seen_bits] places + 1, open addressing, at most half full */
    uint32_t seen_bits, nseen;
    uint32_t queue[AHEAD]; /* places whose records were asked for */
    uint32_t queued;
    uint32_t unchecked;
    uint64_t scored;
    bool late;

    float heap_factor;
    wr_best best;
    const uint32_t *exclude;
    size_t nexclude;
};

/* ---- one document ---- */

static void offer(struct ann_search *s, uint32_t docid, uint32_t sum)
{
    uint64_t key = wr_best_key(sum, docid);
    if (sum == 0 || key <= s->best.worst || docid >= s->ann->header.ndocs) return;
    if (wr_sparse_excluded(s->exclude, s->nexclude, docid)) return;
    wr_best_offer(&s->best, key);
}

/* A multiplicative hash, whose high bits are the good ones. */
static uint32_t slot_of(uint32_t term)
{
    return term * 0x9e3779b1u >> 16;
}

static uint32_t units_of(const struct ann_search *s, uint32_t term, uint32_t impact)
{
    for (uint32_t i = slot_of(term) & (s->slots - 1); s->slot[i].taken; i = (i + 1) & (s->slots - 1))
        if (s->slot[i].term == term) return wr_sparse_units(s->slot[i].units, impact);
    return 0;
}

static uint32_t sum_of(const struct ann_search *s, const wr_ann_record *record)
{
    uint64_t mask[WR_SIFT / 64];
    uint32_t sum = 0;
    for (uint32_t at = 0; at < record->n; at += WR_SIFT) {
        uint32_t n = record->n - at < WR_SIFT ? record->n - at : WR_SIFT;
        s->kernels->sift(&s->sieve, record->low + at, record->high + at, n, mask);
        for (uint32_t word = 0; word < (n + 63) / 64; word++) {
            for (uint64_t bits = mask[word]; bits; bits &= bits - 1) {
                uint32_t i = at + 64 * word + (uint32_t)__builtin_ctzll(bits);
                sum += units_of(s, wr_ann_record_term(record, i), record->impact[i]);
            }
        }
    }
    return sum;
}

static void score(struct ann_search *s, uint32_t place)
{
    wr_ann_record record;
    if (!wr_ann_record_get(s->ann, place, &record)) return; /* only in a damaged file */
    s->scored++;
    s->unchecked++;
    offer(s, record.docid, sum_of(s, &record));
}

/* ---- many documents ---- */

static bool seen_grow(struct ann_search *s)
{
    uint32_t bits = s->seen_bits ? s->seen_bits + 2 : (uint32_t)__builtin_ctz(FIRST_SEEN), old = s->seen_bits;
    uint32_t *seen = bits < 32 ? wr_arena_calloc(s->arena, (size_t)1 << bits, sizeof *seen) : NULL;
    if (!seen) return false;
    for (size_t i = 0; old && i < (size_t)1 << old; i++) {
        if (!s->seen[i]) continue;
        uint32_t at = (s->seen[i] - 1) * 0x9e3779b1u >> (32 - bits);
        while (seen[at]) at = (at + 1) & ((1u << bits) - 1);
        seen[at] = s->seen[i];
    }
    s->seen = seen;
    s->seen_bits = bits;
    return true;
}

/* True when the place is new. There is room. */
static bool see(struct ann_search *s, uint32_t place)
{
    uint32_t at = place * 0x9e3779b1u >> (32 - s->seen_bits);
    for (; s->seen[at]; at = (at + 1) & ((1u << s->seen_bits) - 1))
        if (s->seen[at] == place + 1) return false;
    s->seen[at] = place + 1;
    s->nseen++;
    return true;
}

/* Asks for a record, and scores the one that was asked for AHEAD documents ago. */
static void enqueue(struct ann_search *s, uint32_t place)
{
    const unsigned char *at = s->ann->records + (uint64_t)place * RECORD_ALIGN;
    for (unsigned i = 0; i < s->ann->prefetch_lines; i++) __builtin_prefetch(at + (size_t)i * LINE_BYTES);
    uint32_t i = s->queued++ % AHEAD;
    if (s->queued > AHEAD) score(s, s->queue[i]);
    s->queue[i] = place;
}

static void drain(struct ann_search *s)
{
    uint32_t from = s->queued > AHEAD ? s->queued - AHEAD : 0;
    for (; from < s->queued; from++) score(s, s->queue[from % AHEAD]);
    s->queued = 0;
}

/* Scores documents, those seen before left out. False without memory. */
static bool score_places(struct ann_search *s, const uint32_t *place, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (place[i] == UINT32_MAX) continue; /* only in a damaged file */
        if (2 * (s->nseen + 1) > 1u << s->seen_bits && !seen_grow(s)) return false;
        if (see(s, place[i])) enqueue(s, place[i]);
    }
    if (s->best.n > s->best.k + s->best.k / 4) wr_best_thin(&s->best);
    if (s->unchecked >= DOCUMENTS_PER_CHECK) {
        s->unchecked = 0;
        s->late = s->late || wr_budget_spent(s->budget);
    }
    return true;
}

/* ---- clusters ---- */

static void prefetch_cluster(const struct ann_search *s, uint32_t id, bool first)
{
    size_t l = 0;
    while (id >= s->base[l + 1]) l++;
    const wr_ann_list *list = &s->list[l];
    uint32_t c = id - s->base[l];
    if (first)
        __builtin_prefetch(&list->first[c]);
    else
        __builtin_prefetch(&list->place[list->first[c] < list->n ? list->first[c] : 0]);
}

static bool score_cluster(struct ann_search *s, uint32_t id)
{
    size_t l = 0;
    while (id >= s->base[l + 1]) l++;
    const wr_ann_list *list = &s->list[l];
    uint32_t c = id - s->base[l], from = list->first[c], to = list->first[c + 1];
    if (from > to || to > list->n) return true; /* only in a damaged file */
    return score_places(s, list->place + from, to - from);
}

static uint32_t least_estimate(const struct ann_search *s)
{
    float least = s->heap_factor * (float)wr_best_units(s->best.worst);
    return least > 0 ? (uint32_t)least : 0;
}

/* Late before it began, a search scores something all the same: a few us, and there are hits to show. */
static bool stops(const struct ann_search *s)
{
    return s->late && s->scored > 0;
}

/* Scores the clusters of id[n], the best first, as long as they may have a hit. */
static bool score_wave(struct ann_search *s, const uint32_t *id, size_t n, uint64_t *key)
{
    for (size_t i = 0; i < n; i++) key[i] = wr_best_key(s->estimate[id[i]], id[i]);
    wr_best_sort_keys(key, n);
    for (size_t i = 0; i < n && !stops(s); i++) {
        uint32_t cluster = wr_best_docid(key[i]);
        if (wr_best_units(key[i]) < least_estimate(s)) break;
        if (i + 8 < n) prefetch_cluster(s, wr_best_docid(key[i + 8]), true);
        if (i + 4 < n) prefetch_cluster(s, wr_best_docid(key[i + 4]), false);
        s->estimate[cluster] = 0;
        if (!score_cluster(s, cluster)) return false;
    }
    drain(s);
    wr_best_thin(&s->best);
    return true;
}

static bool score_clusters(struct ann_search *s)
{
    size_t all = s->base[s->nlists], n = 0, wave = WAVE_CLUSTERS + s->best.k / 4;
    uint32_t *id = wr_arena_alloc(s->arena, (all + 16) * sizeof *id), bound = 0;
    uint64_t *key = wr_arena_alloc(s->arena, (all + 1) * sizeof *key);
    if (!id || !key) return false;
    for (size_t i = 0; i < all; i++) bound = s->estimate[i] > bound ? s->estimate[i] : bound;
    for (; s->best.worst == 0 && bound > 0 && !stops(s); wave *= 2) {
        do {
            bound -= bound / 8 + 1;
            n = s->kernels->select_u32(s->estimate, all, bound > 0 ? bound : 1, id);
        } while (n < wave && bound > 0);
        if (!score_wave(s, id, n, key)) return false;
    }
    if (stops(s)) return true;
    n = s->kernels->select_u32(s->estimate, all, least_estimate(s), id);
    return score_wave(s, id, n, key);
}

/* ---- estimates ---- */

/* at[p] = where the list has part p's term, or where it would be: binary searches side by side, because each step waits
 * for memory. */
static void find_terms(const struct ann_search *s, const wr_ann_list *list, uint32_t *at)
{
    for (size_t p = 0; p < s->n; p++) at[p] = 0;
    for (uint32_t n = list->m, half; n > 1; n -= half) {
        half = n / 2;
        for (size_t p = 0; p < s->n; p++) {
            at[p] = list->term[at[p] + half] <= s->part[p].id ? at[p] + half : at[p];
            __builtin_prefetch(&list->term[at[p] + (n - half) / 2]);
        }
    }
    for (size_t p = 0; p < s->n; p++) __builtin_prefetch(&list->start[at[p]]);
}

/* Makes at[p] where the entries of part p's term begin and end[p] where they end; none when it has none. */
static void find_entries(const struct ann_search *s, const wr_ann_list *list, uint32_t *at, uint32_t *end)
{
    for (size_t p = 0; p < s->n; p++) {
        uint32_t i = at[p];
        bool there = list->m > 0 && list->term[i] == s->part[p].id && list->start[i + 1] <= list->e;
        end[p] = there ? list->start[i + 1] : 0;
        at[p] = there ? list->start[i] : 0;
        if (at[p] > end[p]) at[p] = end[p]; /* only in a damaged file */
        for (uint32_t j = at[p]; j < end[p] && j < at[p] + 128; j += 32) __builtin_prefetch(&list->cluster[j]);
        for (uint32_t j = at[p]; j < end[p] && j < at[p] + 128; j += 64) __builtin_prefetch(&list->value[j]);
    }
}

/* What a damaged list says of clusters that it has not goes to other lists' or into the room behind all of them. */
static void estimate_list(const struct ann_search *s, const wr_ann_list *list, const uint32_t *at, const uint32_t *end,
                          uint32_t *estimate)
{
    for (size_t p = 0; p < s->n; p++) {
        uint32_t step = (uint32_t)(s->part[p].units * list->step >> 24);
        for (uint32_t i = at[p]; i < end[p]; i++) estimate[list->cluster[i]] += list->value[i] * step;
    }
}

static bool estimate_clusters(struct ann_search *s)
{
    size_t all = s->base[s->nlists];
    uint32_t *at = wr_arena_alloc(s->arena, s->nlists * s->n * sizeof *at);
    uint32_t *end = wr_arena_alloc(s->arena, s->nlists * s->n * sizeof *end);
    s->estimate = wr_arena_alloc(s->arena, (all + MAX_CLUSTERS + 1) * sizeof *s->estimate);
    if (!at || !end || !s->estimate) return false;
    memset(s->estimate, 0, all * sizeof *s->estimate);
    for (size_t l = 0; l < s->nlists; l++) find_terms(s, &s->list[l], at + l * s->n);
    for (size_t l = 0; l < s->nlists; l++) find_entries(s, &s->list[l], at + l * s->n, end + l * s->n);
    for (size_t l = 0; l < s->nlists && !s->late; l++) {
        estimate_list(s, &s->list[l], at + l * s->n, end + l * s->n, s->estimate + s->base[l]);
        s->late = wr_budget_spent(s->budget);
    }
    return true;
}

/* ---- the query ---- */

static void sieve_add(wr_sparse_sieve *sieve, uint32_t term, size_t place)
{
    for (unsigned i = 0; i < 4; i++) sieve->table[i][term >> 4 * i & 15] |= (uint8_t)(1u << place % 8);
}

static bool set_parts(struct ann_search *s, const wr_sparse_query *query, double *unit)
{
    s->slots = 64;
    while (s->slots < 8 * query->n) s->slots *= 2;
    s->part = wr_arena_calloc(s->arena, query->n, sizeof *s->part);
    s->slot = wr_arena_calloc(s->arena, s->slots, sizeof *s->slot);
    if (!s->part || !s->slot) return false;
    for (size_t i = 0; i < query->n; i++)
        s->n += wr_sparse_part_get(s->ann->sparse, query->term[i], query->weight[i], &s->part[s->n]);
    *unit = wr_sparse_set_units(s->ann->sparse, s->part, s->n);
    for (size_t i = 0; i < s->n; i++) {
        uint32_t term = s->part[i].id, at = slot_of(term) & (s->slots - 1);
        while (s->slot[at].taken) at = (at + 1) & (s->slots - 1);
        s->slot[at] = (struct slot){term, 1, s->part[i].units};
        sieve_add(&s->sieve, term, i);
    }
    return true;
}

/* Step 1. */
static bool enter_lists(struct ann_search *s, uint32_t query_cut)
{
    uint64_t *key = wr_arena_alloc(s->arena, s->n * sizeof *key);
    s->list = wr_arena_calloc(s->arena, s->n, sizeof *s->list);
    s->base = wr_arena_calloc(s->arena, s->n + 1, sizeof *s->base);
    if (!key || !s->list || !s->base) return false;
    for (size_t i = 0; i < s->n; i++)
        key[i] = wr_best_key(wr_sparse_most(&s->part[i], s->part[i].term.bound), (uint32_t)i);
    wr_best_sort_keys(key, s->n);
    for (size_t i = 0; i < s->n && i < query_cut && !s->late; i++) {
        wr_ann_list *list = &s->list[s->nlists];
        if (!wr_ann_list_get(s->ann, s->part[wr_best_docid(key[i])].id, list)) continue;
        if (list->clusters == 0) {
            if (!score_places(s, list->place, list->n)) return false;
            continue;
        }
        if (s->base[s->nlists] > UINT32_MAX - list->clusters) break;
        s->base[s->nlists + 1] = s->base[s->nlists] + list->clusters;
        s->nlists++;
    }
    return true;
}

wr_status wr_sparse_ann_search(const wr_sparse_ann *ann, const wr_sparse_query *query, size_t k,
                               const wr_sparse_ann_options *options, const uint32_t *exclude, size_t nexclude,
                               const wr_budget *budget, wr_arena *arena, wr_hits *hits)
{
    assert(k >= 1 && k <= WR_MAX_K);
    struct ann_search s = {.ann = ann,
                           .kernels = wr_sparse_kernels_get(),
                           .arena = arena,
                           .budget = budget,
                           .exclude = exclude,
                           .nexclude = nexclude,
                           .heap_factor = WR_SPARSE_ANN_HEAP_FACTOR};
    uint32_t cut = options && options->query_cut ? options->query_cut : WR_SPARSE_ANN_QUERY_CUT;
    double unit;
    *hits = (wr_hits){0};
    if (options && options->heap_factor != 0) s.heap_factor = options->heap_factor;
    if (k > ann->header.ndocs) k = ann->header.ndocs ? (size_t)ann->header.ndocs : 1;
    if (wr_best_init(&s.best, k, arena) || !seen_grow(&s) || !set_parts(&s, query, &unit)) return WR_ENOMEM;
    if (!enter_lists(&s, cut)) return WR_ENOMEM;
    drain(&s);
    wr_best_thin(&s.best);
    if (!stops(&s) && s.nlists > 0 && (!estimate_clusters(&s) || !score_clusters(&s))) return WR_ENOMEM;
    wr_status st = wr_sparse_hits_fill(&s.best, unit, arena, hits);
    hits->partial = s.late;
    hits->seen = s.scored;
    return st;
}
