#include <criterion/criterion.h>
#include <math.h>

#include "data/arena.h"
#include "ranker/fuse.h"
#include "tests/testlib.h"

static wr_hits hits(uint32_t *docid, float *score, size_t n)
{
    return (wr_hits){.docid = docid, .score = score, .n = n};
}

Test(fuse, rrf_is_the_sum_of_reciprocal_ranks)
{
    wr_arena arena;
    wr_hits out;
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    wr_hits list[] = {hits((uint32_t[]){7, 3}, (float[]){9, 1}, 2), hits((uint32_t[]){3, 5}, (float[]){.2f, .1f}, 2)};
    cr_assert_eq(wr_fuse_rrf(list, (double[]){1, 2}, 2, 10, &arena, &out), WR_OK);
    cr_assert_eq(out.n, 3);
    cr_assert_eq(out.docid[0], 3);
    cr_assert_float_eq(out.score[0], 1.0 / 62 + 2.0 / 61, 1e-8);
    cr_assert_eq(out.docid[1], 5);
    cr_assert_float_eq(out.score[1], 2.0 / 62, 1e-8);
    cr_assert_eq(out.docid[2], 7);
    wr_arena_release(&arena);
}

Test(fuse, lin_adds_minmax_normalised_scores)
{
    wr_arena arena;
    wr_hits out;
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    wr_hits list[] = {hits((uint32_t[]){7, 3, 9}, (float[]){9, 4, -1}, 3), hits((uint32_t[]){3}, (float[]){.2f}, 1),
                      hits(NULL, NULL, 0)};
    cr_assert_eq(wr_fuse_lin(list, (double[]){.4, .6, 1}, 3, 2, &arena, &out), WR_OK);
    cr_assert_eq(out.n, 2);
    cr_assert_eq(out.seen, 3);
    cr_assert_eq(out.docid[0], 3);
    cr_assert_float_eq(out.score[0], .4 * .5 + .6, 1e-7, "the only document of a list counts fully");
    cr_assert_eq(out.docid[1], 7);
    cr_assert_float_eq(out.score[1], .4, 1e-7);
    wr_arena_release(&arena);
}

Test(fuse, equal_scores_order_by_docid)
{
    wr_arena arena;
    wr_hits out;
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    wr_hits list[] = {hits((uint32_t[]){9}, (float[]){1}, 1), hits((uint32_t[]){4}, (float[]){1}, 1)};
    cr_assert_eq(wr_fuse_rrf(list, (double[]){1, 1}, 2, 10, &arena, &out), WR_OK);
    cr_assert_eq(out.docid[0], 4);
    cr_assert_eq(out.docid[1], 9);
    wr_arena_release(&arena);
}

Test(fuse, nothing_from_nothing)
{
    wr_arena arena;
    wr_hits out, list[2] = {{0}, {0}};
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    cr_assert_eq(wr_fuse_rrf(list, (double[]){1, 1}, 2, 10, &arena, &out), WR_OK);
    cr_assert_eq(out.n, 0);
    cr_assert_eq(wr_fuse_lin(list, (double[]){1, 1}, 2, 10, &arena, &out), WR_OK);
    cr_assert_eq(out.n, 0);
    wr_arena_release(&arena);
}

Test(fuse, served_scores_fall_strictly_and_heads_keep_theirs)
{
    float s[] = {3, 1, 1, 20, 20, 19.5f};
    wr_scores_monotone(s, 6, 3);
    cr_assert_eq(s[0], 3);
    cr_assert_eq(s[1], 1);
    cr_assert_eq(s[2], nextafterf(1, -INFINITY));
    cr_assert_float_eq(s[3], 0, 1e-6);
    cr_assert_float_eq(s[5], -.5, 1e-6);
    for (size_t i = 1; i < 6; i++) cr_assert(s[i] < s[i - 1]);
}

Test(fuse, random_scores_become_strictly_falling)
{
    wr_test_random random = {7};
    for (size_t round = 0; round < 1000; round++) {
        float s[40];
        size_t n = 1 + wr_test_below(&random, 40), head = wr_test_below(&random, n + 1);
        for (size_t i = 0; i < n; i++) s[i] = (float)wr_test_below(&random, 5) * 1e-7f;
        wr_hits_sort((uint32_t[40]){0}, s, head);
        wr_hits_sort((uint32_t[40]){0}, s + head, n - head);
        wr_scores_monotone(s, n, head);
        for (size_t i = 1; i < n; i++) cr_assert(s[i] < s[i - 1]);
    }
}
