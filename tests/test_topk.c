#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/topk.h"
#include "tests/testlib.h"

/* The definition: sort everything, keep the first k. */
struct pair {
    uint32_t docid;
    float score;
};

static int by_better(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (wr_better(x->score, x->docid, y->score, y->docid)) return -1;
    return wr_better(y->score, y->docid, x->score, x->docid);
}

Test(topk, better_is_higher_score_then_lower_docid)
{
    cr_assert(wr_better(2.0f, 9, 1.0f, 1));
    cr_assert(!wr_better(1.0f, 1, 2.0f, 9));
    cr_assert(wr_better(1.0f, 1, 1.0f, 2));
    cr_assert(!wr_better(1.0f, 2, 1.0f, 1));
    cr_assert(!wr_better(1.0f, 1, 1.0f, 1));
}

Test(topk, equals_sorting_everything_in_any_order_of_arrival)
{
    wr_test_random rng = {5};
    for (int round = 0; round < 2000; round++) {
        size_t n = wr_test_below(&rng, 60), k = 1 + wr_test_below(&rng, 70);
        struct pair all[60];
        uint32_t docid[70];
        float score[70];
        wr_topk top;
        wr_topk_init(&top, k, docid, score);
        for (size_t i = 0; i < n; i++) all[i] = (struct pair){(uint32_t)i, (float)wr_test_below(&rng, 8)};
        for (size_t i = n; i > 1; i--) {
            size_t j = wr_test_below(&rng, i);
            struct pair t = all[i - 1];
            all[i - 1] = all[j];
            all[j] = t;
        }
        for (size_t i = 0; i < n; i++) wr_topk_push(&top, all[i].docid, all[i].score);
        qsort(all, n, sizeof *all, by_better);
        size_t want = n < k ? n : k;
        cr_assert_eq(wr_topk_threshold(&top), n < k ? -INFINITY : all[k - 1].score);
        cr_assert_eq(wr_topk_sort(&top), want);
        for (size_t i = 0; i < want; i++) {
            cr_assert_eq(docid[i], all[i].docid, "round %d, rank %zu", round, i);
            cr_assert_eq(score[i], all[i].score);
        }
    }
}

Test(topk, hits_sort_orders_pairs_in_place)
{
    wr_test_random rng = {5};
    for (size_t n = 0; n < 200; n++) {
        struct pair all[200];
        uint32_t docid[200];
        float score[200];
        for (size_t i = 0; i < n; i++) {
            all[i] = (struct pair){(uint32_t)(n - i), (float)wr_test_below(&rng, 5) - 2.0f};
            docid[i] = all[i].docid;
            score[i] = all[i].score;
        }
        qsort(all, n, sizeof *all, by_better);
        wr_hits_sort(docid, score, n);
        for (size_t i = 0; i < n; i++) cr_assert(docid[i] == all[i].docid && score[i] == all[i].score);
    }
}

Test(topk, threshold_is_open_while_there_is_room)
{
    uint32_t docid[2];
    float score[2];
    wr_topk top;
    wr_topk_init(&top, 2, docid, score);
    cr_assert_eq(wr_topk_threshold(&top), -INFINITY);
    wr_topk_push(&top, 7, -3.0f);
    cr_assert_eq(wr_topk_threshold(&top), -INFINITY);
    wr_topk_push(&top, 8, 1.0f);
    cr_assert_eq(wr_topk_threshold(&top), -3.0f);
    wr_topk_push(&top, 9, -3.0f); /* equal, but later: stays out */
    wr_topk_push(&top, 6, -3.0f); /* equal and earlier: enters   */
    cr_assert_eq(wr_topk_sort(&top), 2);
    cr_assert(docid[0] == 8 && docid[1] == 6);
}
