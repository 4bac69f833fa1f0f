/* Which tokens a pass drops, and when. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "models/eliminate.h"
#include "tests/testlib.h"

static void check_shares(float keep, size_t layers, const double *want)
{
    for (size_t i = 0; i < layers; i++)
        cr_assert_float_eq(wr_keep_share(keep, i, layers), want[i], 1e-7, "layer %zu of %zu: %g, expected %g", i,
                           layers, wr_keep_share(keep, i, layers), want[i]);
}

Test(eliminate, one_number_scales_the_schedule)
{
    check_shares(0.5f, 6, (double[]){1, 1, 0.75, 0.6, 0.5, 0.5});
    check_shares(0.25f, 6, (double[]){1, 1, 0.5, 1 / 3.0, 0.25, 0.25});
    check_shares(0.5f, 5, (double[]){1, 1, 1 / 1.5, 0.5, 0.5});
    check_shares(0.5f, 4, (double[]){1, 1 / 1.5, 0.5, 0.5});
    check_shares(0.5f, 3, (double[]){1, 0.5, 0.5});
    check_shares(0.5f, 2, (double[]){0.5, 0.5});
    check_shares(0.5f, 1, (double[]){1});
    check_shares(1, 6, (double[]){1, 1, 1, 1, 1, 1});
    check_shares(0, 6, (double[]){1, 1, 1, 1, 1, 1});
}

Test(eliminate, the_share_is_of_those_that_may_go)
{
    cr_assert_eq(wr_keep_count(0.5f, 4, 6, 102, 2), 52);
    cr_assert_eq(wr_keep_count(0.5f, 2, 6, 102, 2), 77);
    cr_assert_eq(wr_keep_count(0.5f, 4, 6, 103, 2), 53, "rounded up");
    cr_assert_eq(wr_keep_count(0.5f, 4, 6, 12, 12), 12, "all are kept always");
    cr_assert_eq(wr_keep_count(0.5f, 4, 6, 1, 1), 1);
    cr_assert_eq(wr_keep_count(1, 4, 6, 102, 2), 102);
    for (size_t n = 2; n < 60; n++)
        for (size_t i = 1; i < 12; i++)
            cr_assert_leq(wr_keep_count(0.3f, i, 12, n, 2), wr_keep_count(0.3f, i - 1, 12, n, 2));
}

/* ---- the choice ---- */

enum { DIM = 3, TOKENS = 200, LAYERS = 6 };

typedef struct group {
    wr_arena arena;
    wr_elimination e;
    uint8_t type[TOKENS];
    float x[TOKENS * DIM], ctx[TOKENS * DIM];
} group;

/* Row t holds t, so that it can be found again. */
static void begin(group *g, float keep, const uint32_t *cu, size_t nseq, bool types)
{
    cr_assert_eq(wr_arena_init(&g->arena, 1 << 20), WR_OK);
    cr_assert_eq(wr_elimination_init(&g->e, &g->arena, keep, LAYERS, TOKENS, 0), WR_OK);
    wr_elimination_begin(&g->e, cu, nseq, types ? g->type : NULL);
    for (size_t i = 0; i < TOKENS * DIM; i++) g->x[i] = g->ctx[i] = (float)(i / DIM);
}

static void end(group *g)
{
    wr_arena_release(&g->arena);
}

/* Whether token t is among the n - fixed largest that may go, slowly. */
static bool is_among(const float *received, const bool *fixed, size_t n, size_t t, size_t count)
{
    size_t better = 0;
    for (size_t j = 0; j < n; j++)
        better += !fixed[j] && (received[j] > received[t] || (received[j] >= received[t] && j < t));
    return fixed[t] || better < count;
}

Test(eliminate, the_tokens_with_the_largest_contribution_stay)
{
    static group g;
    static const uint32_t cu[] = {40, 41, 43, 80, 140, 200}; /* a group in the middle of a batch */
    wr_test_random random = {4};
    float received[TOKENS];
    begin(&g, 0.4f, cu, 5, false);
    cr_assert(wr_elimination_due(&g.e, 3));
    for (size_t t = 0; t < 160; t++)
        received[t] = g.e.received[t] = (float)wr_test_below(&random, 30); /* many are equal */
    size_t rows = wr_elimination_run(&g.e, 3, g.x, g.ctx, DIM), row = 0;
    for (size_t s = 0; s < 5; s++) {
        size_t from = cu[s] - 40, n = cu[s + 1] - cu[s], fixed = n < 2 ? n : 2;
        size_t count = wr_keep_count(0.4f, 3, LAYERS, n, fixed) - fixed;
        bool ends[TOKENS] = {false};
        ends[0] = ends[n - 1] = true;
        for (size_t t = 0; t < n; t++)
            if (is_among(received + from, ends, n, t, count)) {
                cr_assert_eq(g.x[row * DIM], (float)(from + t), "sequence %zu, token %zu", s, t);
                cr_assert_eq(g.ctx[row++ * DIM + 2], (float)(from + t));
            }
        cr_assert_eq(g.e.cu[s + 1], row);
    }
    cr_assert_eq(rows, row);
    end(&g);
}

Test(eliminate, a_pair_keeps_its_query_and_its_ends)
{
    static group g;
    static const uint32_t cu[] = {0, 50};
    memset(g.type, 0, 10);
    memset(g.type + 10, 1, 40);
    begin(&g, 0.1f, cu, 1, true);
    for (size_t i = 0; i < LAYERS; i++) {
        if (!wr_elimination_due(&g.e, i)) continue;
        for (size_t t = 0; t < g.e.cu[1]; t++) g.e.received[t] = t < 10 ? 0 : 100 - (float)t;
        wr_elimination_run(&g.e, i, g.x, g.ctx, DIM);
    }
    cr_assert_eq(g.e.cu[1], 11 + 4, "a tenth of 39, rounded up");
    for (size_t t = 0; t < 14; t++) cr_assert_eq(g.x[t * DIM], (float)t, "row %zu is token %g", t, g.x[t * DIM]);
    cr_assert_eq(g.x[14 * DIM], 49.0f, "the last [SEP]");
    end(&g);
}

Test(eliminate, the_first_layers_and_the_last_drop_nothing)
{
    static group g;
    static const uint32_t cu[] = {0, 50};
    begin(&g, 0.5f, cu, 1, false);
    for (size_t i = 0; i < LAYERS; i++) cr_assert_eq(wr_elimination_due(&g.e, i), i >= 2 && i < 5);
    end(&g);
    begin(&g, 1, cu, 1, false);
    for (size_t i = 0; i < LAYERS; i++) cr_assert_not(wr_elimination_due(&g.e, i));
    end(&g);
}
