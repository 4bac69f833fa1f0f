/* Caches of keys and values that are kept from prompt to prompt: what is run, what is kept, and that nobody sees it in a
 * logit. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ranker/llm.h"
#include "tests/testlib.h"
#include "tests/testlib_decoder.h"

enum { MOST = 400 };

static wr_llm *llm;
static wr_arena arena;

static void open_llm(void)
{
    wr_test_decoder model = {.type = "mistral", .seed = 9, .positions = 1000};
    wr_err err;
    wr_test_decoder_write(wr_test_path("model"), &model);
    cr_assert(!wr_llm_open(&llm, wr_test_path("model"), NULL, &err), "%s", err.text);
    cr_assert(!wr_arena_init(&arena, (size_t)1 << 28));
}

static void close_llm(void)
{
    wr_llm_close(llm);
    wr_arena_release(&arena);
}

TestSuite(llm, .init = open_llm, .fini = close_llm);

/* n ids: the first `same` are those of every prompt, then those of this seed. */
static wr_tokens prompt_of(uint64_t seed, size_t same, size_t n, uint32_t *id)
{
    wr_test_random all = {1}, own = {seed + 100};
    for (size_t i = 0; i < n; i++) id[i] = (uint32_t)wr_test_below(i < same ? &all : &own, 256);
    return (wr_tokens){id, n, false};
}

static float fresh(const wr_tokens *prompt, uint32_t row)
{
    const wr_decoder *decoder = wr_llm_decoder(llm);
    float out;
    wr_kv *kv;
    wr_err err;
    cr_assert(!wr_kv_open(&kv, decoder, prompt->n, &err));
    cr_assert(!wr_decoder_run(decoder, kv, prompt->id, prompt->n, &(wr_logits){&row, 1, &out}, NULL, &arena, NULL));
    wr_kv_close(kv);
    return out;
}

/* Reads it, compares with a fresh one; how many ids were run. */
static size_t read_prompt(const wr_tokens *prompt)
{
    const uint32_t row = 40;
    float out;
    size_t ran;
    cr_assert(!wr_llm_read(llm, prompt, &(wr_logits){&row, 1, &out}, NULL, &arena, NULL, &ran));
    cr_assert_eq(out, fresh(prompt, row));
    return ran;
}

Test(llm, what_prompts_begin_with_is_run_once)
{
    uint32_t id[MOST];
    wr_tokens a = prompt_of(1, 50, 200, id);
    cr_assert_eq(read_prompt(&a), 200u);
    cr_assert_eq(read_prompt(&a), 1u, "of a prompt that comes again the last token, for its logits");
    wr_tokens b = prompt_of(2, 50, 100, id);
    cr_assert_eq(read_prompt(&b), 50u);
    b = prompt_of(2, 50, 130, id);
    cr_assert_eq(read_prompt(&b), 30u, "the beginning of a longer one");
    b = prompt_of(2, 50, 80, id);
    cr_assert_eq(read_prompt(&b), 1u, "and of a shorter one");
}

/* One prompt at a time needs one cache; a second is made while the first is taken, and the better one is found again. */
Test(llm, the_cache_with_most_of_the_prompt_is_taken)
{
    uint32_t id[2][MOST];
    wr_llm_cache *one, *two, *three;
    wr_tokens a = prompt_of(1, 50, 200, id[0]), b = prompt_of(2, 50, 200, id[1]);
    cr_assert_eq(read_prompt(&a), 200u);
    cr_assert(!wr_llm_take(llm, &a, &one));
    cr_assert_eq(read_prompt(&b), 200u);
    wr_llm_give(llm, one, &a);
    cr_assert_eq(read_prompt(&b), 1u);
    cr_assert_eq(read_prompt(&a), 1u);
    cr_assert(!wr_llm_take(llm, &b, &two) && two != one);
    cr_assert(!wr_llm_take(llm, &b, &three) && three == one, "the other one is what is left");
    wr_llm_give(llm, two, &b);
    wr_llm_give(llm, three, &a);
}

Test(llm, so_many_caches_are_kept_and_the_oldest_go)
{
    uint32_t id[WR_LLM_CACHES + 2][MOST];
    wr_tokens prompt[WR_LLM_CACHES + 2];
    wr_llm_cache *cache[WR_LLM_CACHES + 2];
    for (size_t i = 0; i < WR_LLM_CACHES + 2; i++) {
        prompt[i] = prompt_of(i, 0, 60, id[i]);
        cr_assert(!wr_llm_take(llm, &prompt[i], &cache[i]));
        cr_assert_eq(wr_kv_tokens(cache[i]->kv), 0u);
        cr_assert(!wr_decoder_run(wr_llm_decoder(llm), cache[i]->kv, id[i], 60, NULL, NULL, &arena, NULL));
    }
    for (size_t i = 0; i < WR_LLM_CACHES + 2; i++) wr_llm_give(llm, cache[i], &prompt[i]);
    for (size_t i = WR_LLM_CACHES + 1; i >= 2; i--) cr_assert_eq(read_prompt(&prompt[i]), 1u, "%zu is there", i);
    cr_assert_eq(read_prompt(&prompt[0]), 60u);
}

Test(llm, what_was_stopped_is_kept_as_far_as_it_came)
{
    uint32_t id[MOST];
    wr_tokens prompt = prompt_of(1, 0, MOST, id);
    wr_test_clock fake;
    wr_budget budget;
    size_t ran, stopped = 0;
    for (double ms = 1.5e-5; ms < 1; ms *= 1.3) { /* a look at the clock takes 10 ns */
        wr_test_clock_init(&fake, 1, 10);
        wr_budget_start(&budget, &fake.clock, ms, 0, 0);
        wr_status st = wr_llm_read(llm, &prompt, NULL, NULL, &arena, &budget, &ran);
        cr_assert(st == WR_OK || st == WR_STOPPED);
        stopped += st == WR_STOPPED;
        if (!st) break;
    }
    cr_assert_gt(stopped, 0u);
    cr_assert_eq(read_prompt(&prompt), 1u);
}

Test(llm, a_prediction_that_was_too_high_is_doubted_until_something_runs)
{
    uint32_t id[MOST];
    wr_tokens prompt = prompt_of(1, 0, MOST, id);
    wr_test_clock fake;
    wr_budget budget;
    size_t tries = 0;
    cr_assert_eq(read_prompt(&prompt), (size_t)MOST);
    id[0]++; /* nothing of it is kept any more */
    uint64_t predicted = wr_decoder_predict_ns(wr_llm_decoder(llm), MOST);
    cr_assert_gt(predicted, 0u);
    wr_test_clock_init(&fake, 1, 0);
    wr_budget_start(&budget, &fake.clock, (double)predicted / 2e6, 0, 0); /* half of it, on a clock that stands still */
    while (wr_llm_read(llm, &prompt, NULL, NULL, &arena, &budget, NULL) == WR_STOPPED) cr_assert_lt(++tries, 40u);
    cr_assert_gt(tries, 3u);
}

/* What a run costs at its beginning would count as its speed. */
Test(llm, a_run_that_was_stopped_early_teaches_nothing_and_a_later_one_does)
{
    uint32_t id[700];
    wr_tokens prompt = prompt_of(1, 0, 700, id); /* three chunks through two layers */
    size_t nothing = 0, something = 0;
    for (double ms = 1.5e-5; ms < 1; ms += 1e-5) { /* a look at the clock takes 10 ns */
        wr_test_clock fake;
        wr_budget budget;
        close_llm();
        open_llm();
        wr_test_clock_init(&fake, 1, 10);
        wr_budget_start(&budget, &fake.clock, ms, 0, 0);
        if (wr_llm_read(llm, &prompt, NULL, NULL, &arena, &budget, NULL) == WR_OK) break;
        bool learnt = wr_decoder_predict_ns(wr_llm_decoder(llm), 700) > 0;
        cr_assert(learnt || !something, "the longer it ran the more it knows");
        nothing += !learnt;
        something += learnt;
    }
    cr_assert(nothing > 1 && something > 0, "%zu and %zu", nothing, something);
}

Test(llm, prompts_that_do_not_fit_and_ids_that_are_none_are_refused)
{
    uint32_t *id = calloc(1001, sizeof *id);
    wr_tokens prompt = {id, 1001, false};
    cr_assert_eq(wr_llm_tokens(llm), 1000u);
    cr_assert_eq(wr_llm_read(llm, &prompt, NULL, NULL, &arena, NULL, NULL), WR_EARG);
    prompt.n = 0;
    cr_assert_eq(wr_llm_read(llm, &prompt, NULL, NULL, &arena, NULL, NULL), WR_EARG);
    prompt.n = 3, id[1] = UINT32_MAX;
    cr_assert_eq(wr_llm_read(llm, &prompt, NULL, NULL, &arena, NULL, NULL), WR_EARG);
    id[1] = 1;
    cr_assert_eq(read_prompt(&prompt), 3u);
    free(id);
}

/* ---- threads ---- */

static void *reader(void *arg)
{
    wr_test_random random = {(uintptr_t)arg};
    wr_arena own;
    uint32_t id[MOST];
    size_t wrong = wr_arena_init(&own, (size_t)1 << 28) != WR_OK;
    for (size_t i = 0; i < 40; i++) {
        size_t which = wr_test_below(&random, 6);
        const uint32_t row = 40;
        float got, want;
        wr_kv *kv;
        wr_err err;
        wr_tokens prompt = prompt_of(which, 30, 60 + 10 * which, id);
        wrong += wr_llm_read(llm, &prompt, &(wr_logits){&row, 1, &got}, NULL, &own, NULL, NULL) != WR_OK;
        if (wr_kv_open(&kv, wr_llm_decoder(llm), prompt.n, &err)) return (void *)1;
        wrong += wr_decoder_run(wr_llm_decoder(llm), kv, id, prompt.n, &(wr_logits){&row, 1, &want}, NULL, &own, NULL) != WR_OK;
        wr_kv_close(kv);
        wrong += got != want;
    }
    wr_arena_release(&own);
    return (void *)(uintptr_t)wrong;
}

Test(llm, many_readers_at_one_time_each_get_their_own)
{
    pthread_t thread[8];
    for (uintptr_t i = 0; i < 8; i++) cr_assert(!pthread_create(&thread[i], NULL, reader, (void *)(i + 1)));
    for (size_t i = 0; i < 8; i++) {
        void *wrong;
        pthread_join(thread[i], &wrong);
        cr_assert_null(wrong);
    }
}
