#include "indexer/best.h"

/* So many offers beyond k before they are thinned out: as many again for large k, for small k enough that the selection
 * is paid for. More would leave the threshold behind. */
#define LEAST_SPARE 32

/* Below this insertion sort is faster. */
#define SHORT 16

wr_status wr_best_init(wr_best *best, size_t k, wr_arena *arena)
{
    size_t spare = k > LEAST_SPARE ? k : LEAST_SPARE;
    best->k = k;
    best->room = k + spare;
    best->n = 0;
    best->worst = 0;
    best->key = wr_arena_alloc(arena, best->room * sizeof *best->key);
    return best->key ? WR_OK : WR_ENOMEM;
}

static uint64_t median(uint64_t a, uint64_t b, uint64_t c)
{
    if (a > b) return b > c ? b : a > c ? c : a;
    return a > c ? a : b > c ? c : b;
}

/* Brings the keys above a pivot to the front and the pivot behind them; returns its place. */
static size_t partition(uint64_t *key, size_t n)
{
    uint64_t pivot = median(key[0], key[n / 2], key[n - 1]);
    size_t above = 0, place = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t x = key[i];
        key[i] = key[above];
        key[above] = x;
        above += x > pivot; /* no branch: it would be taken every other time */
    }
    for (place = above; key[place] != pivot;) place++;
    key[place] = key[above];
    key[above] = pivot;
    return above;
}

/* Brings the k greatest of n keys to the front. */
static void select_greatest(uint64_t *key, size_t n, size_t k)
{
    while (k > 0 && k < n) {
        size_t at = partition(key, n);
        if (at >= k) {
            n = at;
        } else {
            key += at + 1;
            n -= at + 1;
            k -= at + 1;
        }
    }
}

void wr_best_sort_keys(uint64_t *key, size_t n)
{
    while (n > SHORT) {
        size_t at = partition(key, n), behind = n - at - 1;
        if (at < behind) {
            wr_best_sort_keys(key, at);
            key += at + 1;
            n = behind;
        } else {
            wr_best_sort_keys(key + at + 1, behind);
            n = at;
        }
    }
    for (size_t i = 1; i < n; i++) {
        uint64_t x = key[i];
        size_t j = i;
        for (; j > 0 && key[j - 1] < x; j--) key[j] = key[j - 1];
        key[j] = x;
    }
}

bool wr_best_thin(wr_best *best)
{
    if (best->n < best->k) return false;
    select_greatest(best->key, best->n, best->k);
    best->n = best->k;
    best->worst = UINT64_MAX;
    for (size_t i = 0; i < best->k; i++)
        if (best->key[i] < best->worst) best->worst = best->key[i];
    return true;
}

bool wr_best_offer(wr_best *best, uint64_t key)
{
    best->key[best->n++] = key;
    return best->n == best->room && wr_best_thin(best);
}

size_t wr_best_sort(wr_best *best)
{
    wr_best_thin(best);
    wr_best_sort_keys(best->key, best->n);
    return best->n;
}
