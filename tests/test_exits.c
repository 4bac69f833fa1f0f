/* Models that are run in part: to an earlier layer, with fewer tokens. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/mapfile.h"
#include "models/embed.h"
#include "models/model.h"
#include "tests/testlib.h"
#include "tests/testlib_model.h"

enum { DIM = 32, NSEQ = 20, LONGEST = 40, VOCAB = 77 };

static wr_model *model_of(const char *name, wr_test_exits wanted)
{
    wr_model *model;
    wr_err err = {0};
    wr_test_model_exits(wr_test_path(name), &wanted);
    cr_assert_eq(wr_model_open(&model, wr_test_path(name), NULL, &err), WR_OK, "%s", err.text);
    return model;
}

static uint32_t id[NSEQ * LONGEST], cu[NSEQ + 1];
static uint8_t type[NSEQ * LONGEST];

/* Pairs: a few tokens of type 0, then some of type 1. */
static wr_batch pairs(void)
{
    wr_test_random random = {3};
    for (size_t s = 0; s < NSEQ; s++) {
        uint32_t n = 8 + (uint32_t)wr_test_below(&random, LONGEST - 8);
        cu[s + 1] = cu[s] + n;
        for (size_t t = 0; t < n; t++) {
            id[cu[s] + t] = (uint32_t)wr_test_below(&random, VOCAB);
            type[cu[s] + t] = t > 5;
        }
    }
    return (wr_batch){.id = id, .type = type, .cu = cu, .nseq = NSEQ};
}

static wr_arena arena;

static void room(void)
{
    cr_assert_eq(wr_arena_init(&arena, 64 << 20), WR_OK);
}

static void no_room(void)
{
    wr_arena_release(&arena);
}

TestSuite(exits, .init = room, .fini = no_room);

static void score(const wr_model *model, size_t exit, float keep, float *out)
{
    wr_batch batch = pairs();
    wr_effort effort = {.exit = exit, .keep = keep};
    cr_assert_eq(wr_model_score_with(model, &batch, &effort, &arena, NULL, out), WR_OK);
}

static void same(const float *a, const float *b, bool expected)
{
    cr_assert_eq(memcmp(a, b, NSEQ * sizeof *a) == 0, expected);
}

Test(exits, an_exit_has_the_head_that_the_file_has_for_it)
{
    float got[NSEQ], want[NSEQ], own[NSEQ];
    wr_model *all = model_of("all", (wr_test_exits){true, 2, 5, 7, 9});
    wr_model *first = model_of("first", (wr_test_exits){true, 1, 5, 9, 0});
    const wr_model_info *info = wr_model_info_get(all);
    cr_assert_eq(info->nexits, 1);
    cr_assert_eq(info->exit_layers[0], 1);
    score(all, 1, 0, got);
    score(first, 0, 0, want);
    same(got, want, true);
    score(all, 2, 0, got);
    score(all, 0, 0, want);
    same(got, want, true);
    wr_model *plain = model_of("plain", (wr_test_exits){true, 2, 5, 7, 0});
    score(plain, 0, 0, own);
    same(own, want, true);
    wr_model_close(all);
    wr_model_close(first);
    wr_model_close(plain);
}

Test(exits, without_one_it_has_the_models_own)
{
    float got[NSEQ], want[NSEQ];
    wr_model *plain = model_of("plain", (wr_test_exits){true, 2, 5, 7, 0});
    wr_model *first = model_of("first", (wr_test_exits){true, 1, 5, 7, 0});
    cr_assert_eq(wr_model_info_get(plain)->nexits, 0);
    score(plain, 1, 0, got);
    score(first, 0, 0, want);
    same(got, want, true);
    wr_model_close(plain);
    wr_model_close(first);
}

Test(exits, an_embedder_pools_the_states_of_that_layer)
{
    static float got[NSEQ * DIM], want[NSEQ * DIM];
    wr_batch batch = pairs();
    wr_model *all = model_of("all", (wr_test_exits){false, 2, 5, 0, 1});
    wr_model *first = model_of("first", (wr_test_exits){false, 1, 5, 0, 0});
    cr_assert_eq(wr_model_info_get(all)->nexits, 1);
    cr_assert_eq(wr_model_embed_with(all, &batch, &(wr_effort){.exit = 1}, &arena, NULL, got), WR_OK);
    cr_assert_eq(wr_model_embed(first, &batch, &arena, NULL, want), WR_OK);
    cr_assert_eq(memcmp(got, want, sizeof got), 0);
    wr_model_close(all);
    wr_model_close(first);
}

Test(exits, keeping_all_tokens_changes_no_bit_and_dropping_some_does)
{
    float plain[NSEQ], all[NSEQ], some[NSEQ];
    wr_model *model = model_of("cross", (wr_test_exits){true, 2, 5, 7, 0});
    wr_batch batch = pairs();
    cr_assert_eq(wr_model_score(model, &batch, &arena, NULL, plain), WR_OK);
    score(model, 0, 1, all);
    same(plain, all, true);
    score(model, 0, 0.5f, some);
    same(plain, some, false);
    cr_assert_eq(arena.used, 0, "the arena is rolled back");
    wr_model_close(model);
}

Test(exits, a_mean_is_over_the_tokens_that_were_kept)
{
    static float all[NSEQ * DIM], some[NSEQ * DIM];
    float one[DIM];
    wr_effort half = {.keep = 0.5f};
    wr_batch batch = pairs();
    wr_model *model = model_of("embedder", (wr_test_exits){false, 2, 5, 0, 0});
    cr_assert_eq(wr_model_embed(model, &batch, &arena, NULL, all), WR_OK);
    cr_assert_eq(wr_model_embed_with(model, &batch, &half, &arena, NULL, some), WR_OK);
    cr_assert_neq(memcmp(all, some, sizeof all), 0);
    for (size_t s = 0; s < NSEQ; s++) {
        uint32_t alone[2] = {0, cu[s + 1] - cu[s]};
        double length = 0, alike = 0;
        wr_batch single = {.id = id + cu[s], .type = type + cu[s], .cu = alone, .nseq = 1};
        cr_assert_eq(wr_model_embed_with(model, &single, &half, &arena, NULL, one), WR_OK);
        cr_assert_eq(memcmp(one, some + s * DIM, sizeof one), 0, "sequence %zu", s);
        for (size_t i = 0; i < DIM; i++) length += one[i] * one[i], alike += one[i] * all[s * DIM + i];
        cr_assert_float_eq(length, 1, 1e-5);
        cr_assert_gt(alike, 0.3, "sequence %zu: %g", s, alike);
    }
    wr_model_close(model);
}

Test(exits, what_is_no_layer_and_no_share_is_refused)
{
    static const wr_effort bad[] = {{.exit = 3}, {.keep = 1.5f}, {.keep = -0.5f}, {.keep = NAN}};
    float out[NSEQ * DIM];
    wr_batch batch = pairs();
    wr_model *model = model_of("cross", (wr_test_exits){true, 2, 5, 7, 0});
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(wr_model_score_with(model, &batch, &bad[i], &arena, NULL, out), WR_EARG, "effort %zu", i);
    cr_assert_eq(wr_model_score_with(model, &batch, NULL, &arena, NULL, out), WR_OK);
    cr_assert_eq(wr_model_embed_with(model, &batch, NULL, &arena, NULL, out), WR_EARG, "no embedder");
    wr_model_close(model);
}

Test(exits, what_was_learnt_in_part_predicts_the_whole)
{
    float out[NSEQ];
    wr_effort cheap = {.exit = 1}, fewer = {.keep = 0.3f};
    wr_model *model = model_of("cross", (wr_test_exits){true, 2, 5, 7, 0});
    cr_assert_eq(wr_model_predict_ns_with(model, &cheap, 100), 0);
    score(model, 1, 0, out);
    uint64_t whole = wr_model_predict_ns(model, 100);
    cr_assert_eq(wr_model_predict_ns_with(model, NULL, 100), whole);
    cr_assert_lt(wr_model_predict_ns_with(model, &cheap, 100), whole);
    cr_assert_lt(wr_model_predict_ns_with(model, &fewer, 100), whole);
    cr_assert_gt(wr_model_predict_ns_with(model, &cheap, 100), 0);
    wr_model_close(model);
}

Test(exits, texts_are_scored_with_the_effort_that_is_asked_for)
{
    static const wr_text text[] = {{"a bc def", 8}, {"ghi j klm nop qrs tuv wxy z", 27}, {"0 1 2 3 4 5 6 7 8", 17}};
    float whole[3], part[3], again[3];
    bool done[3];
    wr_text query = {"abc d", 5};
    wr_effort effort = {.exit = 1, .keep = 0.5f};
    wr_model *model = model_of("cross", (wr_test_exits){true, 2, 5, 7, 9});
    cr_assert_eq(wr_score_texts(model, NULL, query, text, 3, NULL, whole, done, NULL), WR_OK);
    cr_assert_eq(wr_score_texts_with(model, NULL, NULL, query, text, 3, NULL, again, done, NULL), WR_OK);
    cr_assert_eq(wr_score_texts_with(model, &effort, NULL, query, text, 3, NULL, part, done, NULL), WR_OK);
    cr_assert_eq(memcmp(whole, again, sizeof whole), 0);
    cr_assert_neq(memcmp(whole, part, sizeof whole), 0);
    cr_assert(done[0] && done[1] && done[2]);
    wr_model_close(model);
}

/* ---- files that are refused ---- */

static void refuses(const char *list, const char *word)
{
    char *bytes, text[4096];
    size_t n;
    wr_model *model;
    wr_err err = {0};
    wr_test_model_exits(wr_test_path("bad"), &(wr_test_exits){true, 2, 5, 7, 9});
    cr_assert_eq(wr_file_read(wr_test_path("bad/config.json"), 4096, &bytes, &n, &err), WR_OK);
    char *at = strstr(bytes, "[1]");
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - bytes), bytes, list, at + 3);
    wr_test_text("bad/config.json", text);
    free(bytes);
    cr_assert_eq(wr_model_open(&model, wr_test_path("bad"), NULL, &err), WR_EFORMAT, "%s", list);
    cr_assert(strstr(err.text, "exit_layers") && strstr(err.text, word), "%s", err.text);
}

Test(exits, a_list_of_exits_that_is_none_is_refused)
{
    refuses("[3]", "1 to 2");
    refuses("[0]", "1 to 2");
    refuses("[2,1]", "ascending");
    refuses("[1,1]", "ascending");
    refuses("[\"1\"]", "integers");
    refuses("[9223372036854775807]", "1 to 2");
    refuses("1", "an array");
}
