/* Greedy generation on a tiny decoder of random weights, against the slow way: a fresh prefill of everything for every
 * token, and a search through all logits. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/generate.h"
#include "ranker/listwise.h"
#include "tests/testlib.h"
#include "tests/testlib_decoder.h"

enum { PROMPT = 40, REPLY = 24, ROOM = 512, ITEMS = 12, ARENA = 64 << 20 };

static wr_decoder *decoder;
static wr_kv *kv;
static wr_arena arena;
static wr_generator by;
static size_t vocab;

static void open_decoder(void)
{
    wr_test_decoder model = {.type = "qwen2", .seed = 11};
    wr_err err;
    const char *dir = wr_test_path("model");
    wr_test_decoder_write(dir, &model);
    cr_assert(!wr_decoder_open(&decoder, dir, NULL, &err), "%s", err.text);
    cr_assert(!wr_kv_open(&kv, decoder, ROOM, &err), "%s", err.text);
    cr_assert(!wr_arena_init(&arena, ARENA));
    vocab = wr_decoder_info_get(decoder)->vocab;
    by = (wr_generator){decoder, kv, NULL, &arena, NULL};
}

static void close_decoder(void)
{
    wr_arena_release(&arena);
    wr_kv_close(kv);
    wr_decoder_close(decoder);
}

TestSuite(generate, .init = open_decoder, .fini = close_decoder);

static void random_ids(uint64_t seed, uint32_t *id, size_t n)
{
    wr_test_random random = {seed};
    for (size_t i = 0; i < n; i++) id[i] = (uint32_t)wr_test_below(&random, vocab);
}

/* All logits behind id[0..n) of a sequence of its own; to be freed. */
static float *logits_of(const uint32_t *id, size_t n)
{
    wr_kv *fresh;
    float *out = malloc(vocab * sizeof *out);
    wr_logits logits = {NULL, 0, out};
    cr_assert(!wr_kv_open(&fresh, decoder, ROOM, NULL));
    cr_assert(!wr_decoder_run(decoder, fresh, id, n, &logits, NULL, &arena, NULL));
    wr_kv_close(fresh);
    return out;
}

static bool is_among(uint32_t id, const uint32_t *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == id) return true;
    return false;
}

/* The slow way of wr_generate(): id[n + REPLY] gets the reply behind the prompt; returns its length. */
static size_t slow(uint32_t *id, size_t n, const wr_generate_free *how, size_t limit)
{
    for (size_t made = 0; made < limit; made++) {
        float *logit = logits_of(id, n + made);
        size_t best = vocab;
        float most = -INFINITY;
        for (size_t i = 0; i < vocab; i++) {
            bool may = !how->only || is_among((uint32_t)i, how->only, how->nonly) ||
                       is_among((uint32_t)i, how->stop, how->nstop);
            if (may && logit[i] > most) most = logit[i], best = i;
        }
        free(logit);
        cr_assert_lt(best, vocab);
        if (is_among((uint32_t)best, how->stop, how->nstop)) return made;
        id[n + made] = (uint32_t)best;
    }
    return limit;
}

static void check_free(uint64_t seed, const wr_generate_free *how)
{
    uint32_t id[PROMPT + REPLY], out[REPLY];
    size_t nout;
    random_ids(seed, id, PROMPT);
    cr_assert_eq(wr_generate(&by, id, PROMPT, how, REPLY, out, &nout), WR_OK);
    cr_assert_eq(nout, slow(id, PROMPT, how, REPLY));
    cr_assert_arr_eq(out, id + PROMPT, nout * sizeof *out);
    cr_assert_eq(arena.used, 0);
}

Test(generate, each_token_is_the_most_probable_behind_those_before_it)
{
    for (uint64_t seed = 1; seed <= 4; seed++) check_free(seed, &(wr_generate_free){0});
}

Test(generate, only_the_ids_that_were_given_are_chosen)
{
    const uint32_t only[] = {7, 200, 30, 31, 45};
    for (uint64_t seed = 1; seed <= 4; seed++) check_free(seed, &(wr_generate_free){.only = only, .nonly = 5});
}

Test(generate, a_stop_id_ends_the_reply_and_is_not_in_it)
{
    uint32_t id[PROMPT], out[REPLY], again[REPLY];
    size_t nout, nagain, at = 0;
    random_ids(1, id, PROMPT);
    cr_assert(!wr_generate(&by, id, PROMPT, &(wr_generate_free){0}, REPLY, out, &nout));
    cr_assert_eq(nout, REPLY);
    wr_generate_free how = {.stop = out + 5, .nstop = 1};
    while (out[at] != out[5]) at++; /* where it comes first */
    cr_assert(!wr_generate(&by, id, PROMPT, &how, REPLY, again, &nagain));
    cr_assert_eq(nagain, at);
    cr_assert_arr_eq(again, out, at * sizeof *out);
    uint32_t only[] = {7, 200, 30, 31, 45, 99};
    for (uint64_t seed = 1; seed <= 4; seed++)
        check_free(seed, &(wr_generate_free){.only = only, .nonly = 3, .stop = only + 3, .nstop = 3});
}

/* Identifier i is named by ids 32 + i ("A" ...) and, if it is even, by 150 + i too. */
typedef struct identifiers {
    uint32_t row[2 * ITEMS];
    size_t first[ITEMS + 1];
} identifiers;

static const uint32_t behind[] = {60, 220, 29, 58};

static wr_generate_list list_of(identifiers *ids, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        ids->first[i] = at;
        ids->row[at++] = (uint32_t)(32 + i);
        if (i % 2 == 0) ids->row[at++] = (uint32_t)(150 + i);
    }
    ids->first[n] = at;
    return (wr_generate_list){.n = n, .row = ids->row, .first = ids->first, .behind = behind, .nbehind = 4};
}

/* The slow way of wr_generate_order(). */
static void slow_order(const uint32_t *prompt, size_t n, const wr_generate_list *list, size_t *order)
{
    uint32_t id[PROMPT + ITEMS * 5];
    bool named[ITEMS] = {false};
    memcpy(id, prompt, n * sizeof *id);
    for (size_t step = 0; step < list->n; step++) {
        float *logit = logits_of(id, n), most = -INFINITY;
        size_t best = 0;
        for (size_t i = 0; i < list->n; i++)
            for (size_t j = list->first[i]; !named[i] && j < list->first[i + 1]; j++)
                if (logit[list->row[j]] > most) most = logit[list->row[j]], best = i, id[n] = list->row[j];
        free(logit);
        named[best] = true;
        order[step] = best;
        memcpy(id + n + 1, list->behind, list->nbehind * sizeof *id);
        n += 1 + list->nbehind;
    }
}

static void check_order(uint64_t seed, size_t n, size_t nbehind)
{
    identifiers ids;
    wr_generate_list list = list_of(&ids, n);
    uint32_t id[PROMPT];
    size_t order[ITEMS], want[ITEMS], named;
    list.nbehind = nbehind;
    random_ids(seed, id, PROMPT);
    slow_order(id, PROMPT, &list, want);
    for (int plain = 0; plain < 2; plain++) {
        list.plain = plain;
        cr_assert_eq(wr_generate_order(&by, id, PROMPT, &list, order, &named), WR_OK);
        cr_assert_eq(named, n);
        cr_assert_arr_eq(order, want, n * sizeof *order, "seed %d, %zu identifiers, plain %d", (int)seed, n, plain);
        cr_assert_eq(arena.used, 0);
    }
}

Test(generate, a_list_names_the_most_probable_of_what_is_left_until_all_are_named)
{
    for (uint64_t seed = 1; seed <= 4; seed++) check_order(seed, ITEMS, 4);
    for (size_t n = 0; n <= 4; n++) check_order(9, n, 4);
    check_order(10, ITEMS, 0);
    check_order(11, ITEMS, 1);
}

Test(generate, a_list_begins_with_the_first_of_the_order_from_one_token)
{
    identifiers ids;
    wr_generate_list list = list_of(&ids, ITEMS);
    wr_letters letters = {.n = ITEMS};
    memcpy(letters.row, ids.row, sizeof ids.row);
    memcpy(letters.first, ids.first, sizeof ids.first);
    for (uint64_t seed = 1; seed <= 50; seed++) {
        uint32_t id[PROMPT];
        float out[2 * ITEMS], logit[ITEMS];
        size_t first[ITEMS], order[ITEMS];
        wr_logits logits = {letters.row, letters.first[ITEMS], out};
        random_ids(100 + seed, id, PROMPT);
        wr_kv_cut(kv, 0);
        cr_assert(!wr_decoder_run(decoder, kv, id, PROMPT, &logits, NULL, &arena, NULL));
        wr_letters_read(&letters, out, ITEMS, logit);
        wr_listwise_order(logit, ITEMS, first);
        cr_assert(!wr_generate_order(&by, id, PROMPT, &list, order, NULL));
        cr_assert_eq(order[0], first[0], "seed %d", (int)seed);
    }
}

Test(generate, threads_and_what_was_reused_change_nothing)
{
    identifiers ids;
    wr_generate_list list = list_of(&ids, ITEMS);
    uint32_t id[PROMPT], out[REPLY], again[REPLY];
    size_t order[ITEMS], other[ITEMS], nout, nagain;
    wr_pool *pool;
    cr_assert(!wr_pool_open(&pool, 3, NULL, NULL));
    random_ids(3, id, PROMPT);
    cr_assert(!wr_generate(&by, id, PROMPT, &(wr_generate_free){0}, REPLY, out, &nout));
    cr_assert(!wr_generate_order(&by, id, PROMPT, &list, order, NULL));
    for (size_t keep = 0; keep <= PROMPT; keep += 8) {
        uint32_t before[PROMPT];
        wr_crew *crew = by.crew = wr_crew_gather(pool);
        random_ids(50 + keep, before, PROMPT);
        memcpy(before, id, keep * sizeof *id);
        wr_kv_cut(kv, 0);
        cr_assert(!wr_decoder_run(decoder, kv, before, PROMPT, NULL, crew, &arena, NULL));
        cr_assert(!wr_generate_order(&by, id, PROMPT, &list, other, NULL));
        cr_assert(!wr_generate(&by, id, PROMPT, &(wr_generate_free){0}, REPLY, again, &nagain));
        wr_crew_dismiss(crew);
        cr_assert_eq(nagain, nout);
        cr_assert_arr_eq(again, out, sizeof out);
        cr_assert_arr_eq(other, order, sizeof order);
    }
    by.crew = NULL;
    wr_pool_close(pool);
}

/* Every reading of the clock is a nanosecond later: a budget of n ms ends after so many million looks at it. */
Test(generate, a_budget_that_ends_leaves_a_beginning_of_the_unlimited_reply)
{
    identifiers ids;
    wr_generate_list list = list_of(&ids, ITEMS);
    uint32_t id[PROMPT], out[REPLY], all[REPLY];
    size_t order[ITEMS], want[ITEMS], named, nout, nall, most = 0, stops = 0;
    random_ids(4, id, PROMPT);
    cr_assert(!wr_generate(&by, id, PROMPT, &(wr_generate_free){0}, REPLY, all, &nall));
    cr_assert(!wr_generate_order(&by, id, PROMPT, &list, want, NULL));
    for (size_t looks = 0; looks < 400; looks += 5) {
        wr_test_clock fake;
        wr_budget budget;
        by.budget = &budget;
        wr_test_clock_init(&fake, 1, 1000000);
        wr_budget_start(&budget, &fake.clock, 1 + (double)looks, 0, 1);
        wr_kv_cut(kv, 0);
        wr_status st = wr_generate(&by, id, PROMPT, &(wr_generate_free){0}, REPLY, out, &nout);
        cr_assert(st == WR_STOPPED || (st == WR_OK && nout == nall));
        cr_assert_arr_eq(out, all, nout * sizeof *out);

        wr_test_clock_init(&fake, 1, 1000000);
        wr_budget_start(&budget, &fake.clock, 1 + (double)looks, 0, 1);
        wr_kv_cut(kv, 0);
        st = wr_generate_order(&by, id, PROMPT, &list, order, &named);
        cr_assert(st == WR_STOPPED || (st == WR_OK && named == ITEMS));
        cr_assert_arr_eq(order, want, named * sizeof *order);
        for (size_t i = named + 1; i < ITEMS; i++) cr_assert_gt(order[i], order[i - 1]);
        bool seen[ITEMS] = {false};
        for (size_t i = 0; i < ITEMS; i++) {
            cr_assert(!seen[order[i]]);
            seen[order[i]] = true;
        }
        if (st == WR_STOPPED) stops++;
        if (named > most) most = named;
        cr_assert_eq(arena.used, 0);
    }
    by.budget = NULL;
    cr_assert(stops > 3 && most > 1, "%zu stops, at most %zu named", stops, most);
}

Test(generate, what_cannot_be_run_is_refused)
{
    identifiers ids;
    wr_generate_list list = list_of(&ids, ITEMS);
    uint32_t id[ROOM] = {0}, out[REPLY];
    size_t order[ITEMS], nout;
    cr_assert_eq(wr_generate(&by, id, 0, &(wr_generate_free){0}, REPLY, out, &nout), WR_EARG);
    cr_assert_eq(wr_generate_order(&by, id, 0, &list, order, NULL), WR_EARG);
    id[3] = (uint32_t)vocab;
    cr_assert_eq(wr_generate(&by, id, 8, &(wr_generate_free){0}, REPLY, out, &nout), WR_EARG);
    cr_assert_eq(wr_generate_order(&by, id, 8, &list, order, NULL), WR_EARG);
    id[3] = 0;
    cr_assert_eq(wr_generate(&by, id, ROOM, &(wr_generate_free){0}, 2, out, &nout), WR_EARG);
    cr_assert_eq(nout, 1, "there was room for the prompt");
    ids.row[3] = (uint32_t)vocab;
    cr_assert_eq(wr_generate_order(&by, id, 8, &list, order, NULL), WR_EARG);
    for (size_t i = 0; i < ITEMS; i++) cr_assert_eq(order[i], i);
}

Test(generate, so_much_arena_is_enough)
{
    identifiers ids;
    wr_generate_list list = list_of(&ids, ITEMS);
    uint32_t id[PROMPT], out[REPLY];
    size_t order[ITEMS], nout;
    random_ids(5, id, PROMPT);
    wr_arena_release(&arena);
    cr_assert(!wr_arena_init(&arena, wr_generate_arena_bytes(decoder, PROMPT, 2 * ITEMS + 5, 1)));
    wr_kv_cut(kv, 0);
    cr_assert_eq(wr_generate_order(&by, id, PROMPT, &list, order, NULL), WR_OK);
    list.plain = true;
    wr_kv_cut(kv, 0);
    cr_assert_eq(wr_generate_order(&by, id, PROMPT, &list, order, NULL), WR_OK);
    wr_kv_cut(kv, 0);
    cr_assert_eq(wr_generate(&by, id, PROMPT, &(wr_generate_free){0}, REPLY, out, &nout), WR_OK);
}

Test(generate, the_text_between_two_letters_is_what_follows_one)
{
    const wr_tokenizer *tok = wr_decoder_tokenizer(decoder);
    wr_tokens between, answer;
    wr_err err;
    cr_assert(!wr_letters_between(tok, &arena, &between, &err), "%s", err.text);
    static const char text[] = "A] > [";
    cr_assert(!wr_tokenizer_encode(tok, text, strlen(text), &arena, SIZE_MAX, &answer));
    cr_assert_eq(answer.n, between.n + 1);
    char bytes[16];
    size_t n = 0;
    for (size_t i = 0; i < between.n; i++) n += wr_tokenizer_bytes(tok, between.id[i], bytes + n, sizeof bytes - n);
    cr_assert(n == 5 && !memcmp(bytes, "] > [", 5));
    wr_arena_reset(&arena, 0);
}
