/* What the files of a search share: sparse_search.c (the query, the order of groups), sparse_group.c (one group), and
 * sparse_ann_search.c, whose scores are the same. */
#ifndef WR_INDEXER_SPARSE_SEARCH_H
#define WR_INDEXER_SPARSE_SEARCH_H

#include "indexer/best.h"
#include "indexer/sparse_format.h"

/* A term of the query: its postings, what each stored impact adds to a sum, and what it has in the group at hand. */
struct part {
    wr_postings term;
    uint32_t id;
    float weight;
    uint64_t units; /* by stored impact, in 2^-24 */

    uint32_t n;                  /* postings in the group              */
    const uint32_t *posting;     /* [n]                                */
    const unsigned char *record; /* the group's block record, or NULL  */
    uint32_t bound;              /* the most it adds in the group      */
    uint32_t rest;               /* the most that it and the optional parts before it add */
    uint32_t *own;               /* [min(df, GROUP_DOCS)] of a list: its postings in the group */
};

/* What a stored impact adds to a sum: a unit too much rather than none, a match being a match. */
static inline uint32_t wr_sparse_units(uint64_t units, uint32_t impact)
{
    return (uint32_t)(impact * units >> 24) + 1;
}

/* The most that impacts of a bound add; 0 means that there are none. */
static inline uint32_t wr_sparse_most(const struct part *part, uint8_t bound)
{
    return bound > 0 ? wr_sparse_units(part->units, bound * BOUND_STEP) : 0;
}

/* A part of a query's term; false when the index does not have it, or its weight is no weight: it is left out then. */
bool wr_sparse_part_get(const wr_sparse *sparse, uint32_t id, float weight, struct part *part);

/* Sets the units of all parts of a query; returns the unit. */
double wr_sparse_set_units(const wr_sparse *sparse, struct part *part, size_t n);

/* Whether a docid is among exclude[n], which ascend. */
static inline bool wr_sparse_excluded(const uint32_t *exclude, size_t n, uint32_t docid)
{
    const uint32_t *from = exclude;
    if (n == 0) return false;
    for (size_t half; n > 1; n -= half) {
        half = n / 2;
        from = from[half] <= docid ? from + half : from;
    }
    return *from == docid;
}

/* The best as docids and scores. */
wr_status wr_sparse_hits_fill(wr_best *best, double unit, wr_arena *arena, wr_hits *hits);

struct search {
    const wr_sparse *sparse;
    const wr_budget *budget;
    struct part *part; /* [n] */
    size_t n;
    struct part **by_cost; /* [n] the sooner a part should be optional, the earlier */
    struct part **active;  /* [n] parts that the group has: [noptional] optional ones, then the required */
    size_t nactive, noptional;
    uint32_t *sum;       /* [GROUP_DOCS] units; all zero between groups */
    uint16_t *candidate; /* [ncandidates <= GROUP_DOCS], and room for a slice more */
    size_t ncandidates;
    int32_t least[GROUP_BLOCKS]; /* what a sum must reach to be a candidate, by block */
    const uint32_t *exclude;
    size_t nexclude;
    wr_best best;
    uint32_t need;      /* what a sum must reach to be among the best, from the group at hand */
    uint32_t unchecked; /* postings since the last look at the clock */
    uint64_t seen;
};

/* What a sum must reach to be among the best when it comes from this group: an equal score enters by its docid, so from
 * a group behind the worst hit it does not. At least 1. */
uint32_t wr_sparse_need(const struct search *s, uint32_t group);

/* Offers what the group has. False when the time was up: s is of no further use then but for its hits. */
bool wr_sparse_group_search(struct search *s, uint32_t group);

/* The same by adding up all that the parts have. */
void wr_sparse_group_exhaust(struct search *s, uint32_t group);

#endif
