#include <criterion/criterion.h>
#include <stdlib.h>

#include "indexer/best.h"
#include "tests/testlib.h"

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

/* Unique keys; `few` different scores, so that docids decide. */
static uint64_t *keys_random(wr_test_random *random, size_t n, uint32_t few)
{
    uint64_t *key = calloc(n + 1, sizeof *key);
    for (size_t i = 0; i < n; i++) key[i] = wr_best_key(1 + (uint32_t)wr_test_below(random, few), (uint32_t)i);
    for (size_t i = n; i > 1; i--) {
        size_t j = wr_test_below(random, i);
        uint64_t t = key[i - 1];
        key[i - 1] = key[j];
        key[j] = t;
    }
    return key;
}

Test(best, keys_order_by_score_then_lower_docid)
{
    cr_assert_gt(wr_best_key(2, 9), wr_best_key(1, 1));
    cr_assert_gt(wr_best_key(1, 1), wr_best_key(1, 2));
    cr_assert(wr_best_units(wr_best_key(7, UINT32_MAX)) == 7 &&
              wr_best_docid(wr_best_key(7, UINT32_MAX)) == UINT32_MAX);
    cr_assert_eq(wr_best_docid(wr_best_key(7, 0)), 0);
}

Test(best, equals_sorting_everything)
{
    wr_test_random random = {1};
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    for (int round = 0; round < 1500; round++) {
        size_t n = wr_test_below(&random, 600), k = 1 + wr_test_below(&random, 200);
        uint64_t *key = keys_random(&random, n, 1 + (uint32_t)wr_test_below(&random, 100)), seen = 0;
        wr_best best;
        cr_assert_eq(wr_best_init(&best, k, &arena), WR_OK);
        for (size_t i = 0; i < n; i++) {
            if (key[i] <= best.worst) continue;
            uint64_t before = best.worst;
            cr_assert_eq(wr_best_offer(&best, key[i]), best.worst > before);
            if (wr_test_below(&random, 50) == 0) wr_best_thin(&best);
            cr_assert_leq(best.n, best.room);
            seen++;
        }
        qsort(key, n, sizeof *key, descending);
        cr_assert_eq(wr_best_sort(&best), n < k ? n : k);
        for (size_t i = 0; i < best.n; i++) cr_assert_eq(best.key[i], key[i], "round %d, rank %zu", round, i);
        cr_assert(seen <= n && (n < k || best.worst == key[k - 1]));
        free(key);
        wr_arena_reset(&arena, 1 << 20);
    }
    wr_arena_release(&arena);
}

Test(best, sorts_any_order_of_keys)
{
    wr_test_random random = {2};
    for (size_t n = 0; n < 3000; n += 1 + n / 3) {
        for (int kind = 0; kind < 3; kind++) {
            uint64_t *key = keys_random(&random, n, 1000), *want = calloc(n + 1, sizeof *want);
            for (size_t i = 0; i < n; i++) {
                if (kind == 1) key[i] = i + 1;
                if (kind == 2) key[i] = n - i;
                want[i] = key[i];
            }
            qsort(want, n, sizeof *want, descending);
            wr_best_sort_keys(key, n);
            for (size_t i = 0; i < n; i++) cr_assert_eq(key[i], want[i]);
            free(key);
            free(want);
        }
    }
}
