/* The one definition of "better", a ranked list, and a bounded heap with a threshold.
 *
 * Better: higher score; equal scores: lower docid. Scores are never NaN. Every list inside weir is in this order.
 */
#ifndef WR_INDEXER_TOPK_H
#define WR_INDEXER_TOPK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest list that a stage may be asked for: 10,000 is what the deepest published pipelines use. */
#define WR_MAX_K 10000

/* A ranked list, best first. */
typedef struct wr_hits {
    uint32_t *docid; /* [n] passages, 0 <= docid < wr_index_ndocs()                */
    float *score;    /* [n] comparable within this list only                       */
    size_t n;        /* 0 <= n <= k                                                */
    bool partial;    /* the budget ended the walk: a good list, not the whole one  */
    uint64_t seen;   /* candidates that matched or were scored, for the stage line */
} wr_hits;

static inline bool wr_better(float score_a, uint32_t docid_a, float score_b, uint32_t docid_b)
{
    return score_a > score_b || (score_a == score_b && docid_a < docid_b);
}

typedef struct wr_topk {
    uint32_t *docid; /* [k] the caller's memory; a heap with the worst on top */
    float *score;    /* [k] */
    size_t k, n;
} wr_topk;

/* k >= 1; docid and score have room for k. */
void wr_topk_init(wr_topk *top, size_t k, uint32_t *docid, float *score);

/* Offers one candidate; O(log k) when it enters, O(1) when it does not. A docid is offered at most once. */
void wr_topk_push(wr_topk *top, uint32_t docid, float score);

/* What a candidate must beat: the worst score held, -INFINITY while there is room. A candidate with an equal score and
 * a higher docid than everything held cannot enter. */
float wr_topk_threshold(const wr_topk *top);

/* Sorts what is held best first, in place; returns n. The heap is used up. */
size_t wr_topk_sort(wr_topk *top);

/* Sorts any n pairs best first, in place. */
void wr_hits_sort(uint32_t *docid, float *score, size_t n);

#endif
