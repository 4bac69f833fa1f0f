/* MaxScore (Turtle & Flood 1995) within one group of documents.
 *
 * The query's terms are divided: those whose largest impacts in the group together do not reach what is needed are
 * optional, for a document that has no other term cannot enter. The postings of the required terms are added up in an
 * array over the group, without merging and without branches. Documents that may enter with what the optional terms
 * have at most in their block are candidates; they take what the optional terms have for them, one term after the
 * other, the one that may bring most first, and after each term those that can no longer enter are dropped. */
#include <string.h>

#include "indexer/sparse_search.h"

/* Postings between two looks at the clock: about 20 us of work, so that a deadline is met by a small part of a
 * millisecond, while the look (30 ns) does not show. */
#define POSTINGS_PER_CHECK 16384

/* Looking one candidate up in a slice takes the time of passing over this many of its postings (measured: 6 to 12). */
#define LOOK_UP_POSTINGS 8

/* A sum's mark: the document is in the list of candidates. Sums themselves are below 2^24 (sparse_search.c, set_unit).
 */
#define CANDIDATE ((uint32_t)1 << 31)

static void offer(struct search *s, uint32_t docid, uint32_t sum)
{
    uint64_t key = wr_best_key(sum, docid);
    if (sum < s->need || key <= s->best.worst || docid >= s->sparse->header.ndocs)
        return; /* the latter only in a damaged file */
    if (wr_sparse_excluded(s->exclude, s->nexclude, docid)) return;
    if (!wr_best_offer(&s->best, key)) return;
    uint32_t worst = wr_best_units(s->best.worst);
    if (worst > s->need) s->need = worst;
}

uint32_t wr_sparse_need(const struct search *s, uint32_t group)
{
    if (s->best.worst == 0) return 1;
    return wr_best_units(s->best.worst) + (group * GROUP_DOCS > wr_best_docid(s->best.worst));
}

/* False when the time is up. */
static bool in_time(struct search *s, size_t postings)
{
    s->unchecked += (uint32_t)postings;
    if (s->unchecked < POSTINGS_PER_CHECK) return true;
    s->unchecked = 0;
    return !wr_budget_spent(s->budget);
}

/* ---- what the parts have in the group ---- */

/* A list's entries become postings as the other shapes have them. */
static void enter_list(struct part *part, uint32_t from)
{
    uint16_t most = 0;
    for (uint32_t i = 0; i < part->n; i++) {
        uint16_t impact = part->term.impact[from + i];
        part->own[i] = wr_posting(part->term.docid[from + i], impact);
        if (impact > most) most = impact;
    }
    part->posting = part->own;
    part->bound = wr_sparse_units(part->units, most);
}

/* False when the part has nothing in the group. */
static bool part_enter(struct part *part, uint32_t group)
{
    const wr_postings *term = &part->term;
    uint32_t from;
    wr_postings_slice(term, group, &from, &part->n);
    if (part->n == 0) return false;
    part->record = term->record ? term->record + (size_t)group * GROUP_RECORD : NULL;
    if (term->docid) {
        enter_list(part, from);
    } else {
        part->posting = term->posting + from;
        part->bound = wr_sparse_most(part, term->group_bound[group]);
    }
    return true;
}

static void enter_group(struct search *s, uint32_t group)
{
    uint32_t rest = 0;
    s->nactive = s->noptional = s->ncandidates = 0;
    s->need = wr_sparse_need(s, group);
    for (size_t i = 0; i < s->n; i++) {
        struct part *part = s->by_cost[i];
        if (!part_enter(part, group)) continue;
        part->rest = rest += part->bound;
        s->active[s->nactive++] = part;
        if (rest < s->need) s->noptional = s->nactive;
    }
}

/* ---- required terms ---- */

static void add_postings(const struct part *part, uint32_t *restrict sum)
{
    for (uint32_t i = 0; i < part->n; i++) {
        uint32_t posting = part->posting[i];
        sum[wr_posting_low(posting)] += wr_sparse_units(part->units, wr_posting_impact(posting));
    }
}

/* Scores the documents of a part, all terms being required. `added`: what the part adds is in the sums already. */
static inline void score_documents(struct search *s, uint32_t group, const struct part *part, bool added)
{
    for (uint32_t i = 0; i < part->n; i++) {
        uint32_t posting = part->posting[i], low = wr_posting_low(posting), sum = s->sum[low];
        if (!added) sum += wr_sparse_units(part->units, wr_posting_impact(posting));
        s->sum[low] = 0;
        s->seen += sum > 0;
        if (sum >= s->need) offer(s, group * GROUP_DOCS + low, sum);
    }
}

/* Sets what a sum must reach in each block to be a candidate: what is needed less what the optional terms have there at
 * most. In float, which is exact to half a unit here; three units for each term, for its rounding and this one, are
 * taken off. */
static void set_least(struct search *s)
{
    float least[GROUP_BLOCKS], all = (float)s->need;
    for (size_t i = 0; i < s->noptional; i++) all -= s->active[i]->record ? 3 : (float)s->active[i]->bound;
    for (unsigned b = 0; b < GROUP_BLOCKS; b++) least[b] = all;
    for (size_t i = 0; i < s->noptional; i++) {
        if (!s->active[i]->record) continue;
        const uint8_t *bound = s->active[i]->record + 2 * GROUP_BLOCKS;
        float step = (float)(s->active[i]->units * BOUND_STEP) * 0x1p-24f;
        for (unsigned b = 0; b < GROUP_BLOCKS; b++) least[b] -= (float)bound[b] * step;
    }
    for (unsigned b = 0; b < GROUP_BLOCKS; b++) s->least[b] = (int32_t)least[b];
}

/* Makes candidates of the documents of a part that may enter, and clears the others' sums. `first`: no part was here
 * before, and what this one adds is not in the sums yet. */
static inline void choose(struct search *s, const struct part *part, bool first)
{
    uint32_t *restrict sums = s->sum;
    uint16_t *restrict candidate = s->candidate;
    const int32_t *restrict least = s->least;
    size_t n = s->ncandidates;
    for (uint32_t i = 0; i < part->n; i++) {
        uint32_t posting = part->posting[i], low = wr_posting_low(posting), sum = sums[low];
        if (first) sum += wr_sparse_units(part->units, wr_posting_impact(posting));
        uint32_t old = first ? 0 : sum >> 31, enters = (int32_t)(sum & ~CANDIDATE) >= least[low / BLOCK_DOCS];
        candidate[n] = (uint16_t)low;
        n += enters & (old ^ 1);
        sums[low] = (sum | enters << 31) & (0 - (enters | old));
    }
    if (n > GROUP_DOCS) n = GROUP_DOCS; /* only in a damaged file, which has a document twice */
    s->seen += n - s->ncandidates;
    s->ncandidates = n;
}

static size_t largest_required(const struct search *s)
{
    size_t largest = s->noptional;
    for (size_t i = s->noptional; i < s->nactive; i++)
        if (s->active[i]->n > s->active[largest]->n) largest = i;
    return largest;
}

/* The largest part is added and taken out in one pass. False when the time was up. */
static bool search_required(struct search *s, uint32_t group)
{
    if (s->noptional == s->nactive) return true;
    size_t last = largest_required(s);
    for (size_t i = s->noptional; i < s->nactive; i++)
        if (i != last) add_postings(s->active[i], s->sum);
    if (s->noptional == 0)
        score_documents(s, group, s->active[last], false);
    else
        choose(s, s->active[last], true);
    for (size_t i = s->noptional; i < s->nactive; i++) {
        if (!in_time(s, s->active[i]->n)) return false;
        if (i == last) continue;
        if (s->noptional == 0)
            score_documents(s, group, s->active[i], true);
        else
            choose(s, s->active[i], false);
    }
    return true;
}

/* ---- optional terms ---- */

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
        while (i < n && wr_posting_low(part->posting[i]) < low) i++;
    } else {
        while (n > 1) {
            uint32_t half = n / 2;
            i = wr_posting_low(part->posting[i + half]) <= low ? i + half : i;
            n -= half;
        }
        n = part->n;
    }
    if (i >= n || wr_posting_low(part->posting[i]) != low) return 0;
    return wr_sparse_units(part->units, wr_posting_impact(part->posting[i]));
}

static uint32_t most_in_block(const struct part *part, uint32_t low)
{
    return part->record ? wr_sparse_most(part, part->record[2 * GROUP_BLOCKS + low / BLOCK_DOCS]) : part->bound;
}

/* Looks the candidates up in a part; those that cannot enter whatever the parts before it add are dropped. */
static void look_up(struct search *s, const struct part *part, uint32_t rest)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->ncandidates; i++) {
        uint32_t low = s->candidate[i], sum = s->sum[low] & ~CANDIDATE;
        if (sum + most_in_block(part, low) + rest >= s->need) sum += find(part, low);
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
    uint32_t *restrict sums = s->sum;
    size_t kept = 0;
    for (uint32_t i = 0; i < part->n; i++) {
        uint32_t posting = part->posting[i], low = wr_posting_low(posting), mask = 0 - (sums[low] >> 31);
        sums[low] += wr_sparse_units(part->units, wr_posting_impact(posting)) & mask;
    }
    for (size_t i = 0; i < s->ncandidates; i++) {
        uint32_t low = s->candidate[i], sum = sums[low];
        bool keep = (sum & ~CANDIDATE) + rest >= s->need;
        sums[low] = keep ? sum : 0;
        s->candidate[kept] = (uint16_t)low;
        kept += keep;
    }
    s->ncandidates = kept;
}

static bool search_optional(struct search *s)
{
    for (size_t i = s->noptional; i-- > 0 && s->ncandidates > 0;) {
        const struct part *part = s->active[i];
        uint32_t rest = i > 0 ? s->active[i - 1]->rest : 0;
        size_t work = LOOK_UP_POSTINGS * s->ncandidates;
        if (work < part->n) {
            look_up(s, part, rest);
        } else {
            work = part->n;
            pass_over(s, part, rest);
        }
        if (!in_time(s, work)) return false;
    }
    return true;
}

/* ---- the group ---- */

bool wr_sparse_group_search(struct search *s, uint32_t group)
{
    s->unchecked = 0;
    enter_group(s, group);
    if (s->noptional > 0 && s->noptional < s->nactive) set_least(s);
    if (!search_required(s, group) || !search_optional(s)) return false;
    for (size_t i = 0; i < s->ncandidates; i++) {
        uint32_t low = s->candidate[i];
        offer(s, group * GROUP_DOCS + low, s->sum[low] & ~CANDIDATE);
        s->sum[low] = 0;
    }
    return true;
}

void wr_sparse_group_exhaust(struct search *s, uint32_t group)
{
    for (size_t i = 0; i < s->n; i++)
        if (part_enter(&s->part[i], group)) add_postings(&s->part[i], s->sum);
    s->need = 1;
    for (uint32_t low = 0; low < GROUP_DOCS; low++) {
        s->seen += s->sum[low] > 0;
        if (s->sum[low] > 0) offer(s, group * GROUP_DOCS + low, s->sum[low]);
        s->sum[low] = 0;
    }
}
