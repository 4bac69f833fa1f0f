/* The k best of many offers, when most are refused by a threshold: offers are collected and thinned out by selection,
 * which costs a few comparisons an offer where a heap (topk.h) costs log k. For k = 1000 the heap took half of a
 * search's time.
 *
 * An offer is a key of 64 bits: a score in units above, the complement of the docid below. So the greater key is the
 * better document in the sense of topk.h, and keys are unique.
 */
#ifndef WR_INDEXER_BEST_H
#define WR_INDEXER_BEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"
#include "data/status.h"

typedef struct wr_best {
    uint64_t *key; /* [n], n <= room, in no order                                     */
    size_t n, room, k;
    uint64_t worst; /* keys up to it are not among the best: 0 until there were k offers */
} wr_best;

static inline uint64_t wr_best_key(uint32_t units, uint32_t docid)
{
    return (uint64_t)units << 32 | (UINT32_MAX - docid);
}

static inline uint32_t wr_best_units(uint64_t key)
{
    return (uint32_t)(key >> 32);
}

static inline uint32_t wr_best_docid(uint64_t key)
{
    return UINT32_MAX - (uint32_t)key;
}

/* Room for k and some more keys from the arena. */
wr_status wr_best_init(wr_best *best, size_t k, wr_arena *arena);

/* Takes a key that is above worst; true when worst has risen. */
bool wr_best_offer(wr_best *best, uint64_t key);

/* Throws away what is not among the k best so far and raises worst to the k-th; true when there are k. */
bool wr_best_thin(wr_best *best);

/* The k best, greatest first; returns their number. */
size_t wr_best_sort(wr_best *best);

/* Any n keys, greatest first, in place. */
void wr_best_sort_keys(uint64_t *key, size_t n);

#endif
