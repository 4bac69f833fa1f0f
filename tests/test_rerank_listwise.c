/* Lists reranked by a tiny decoder of random weights, against the slow way: every window's prompt into a cache of its own,
 * all logits of the vocabulary, a search through them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ranker/rank.h"
#include "ranker/rerank_listwise.h"
#include "tests/testlib.h"
#include "tests/testlib_decoder.h"
#include "tests/testlib_passages.h"

static wr_llm *llm;
static wr_arena arena;
static wr_text query = {"old bridge [3] over the river", 29};

static void open_llm(void)
{
    wr_test_decoder model = {.type = "qwen2", .seed = 5};
    wr_err err;
    wr_test_decoder_write(wr_test_path("model"), &model);
    cr_assert(!wr_llm_open(&llm, wr_test_path("model"), NULL, &err), "%s", err.text);
    cr_assert(!wr_arena_init(&arena, (size_t)1 << 30));
}

static void close_llm(void)
{
    wr_llm_close(llm);
    wr_arena_release(&arena);
}

TestSuite(rerank_listwise, .init = open_llm, .fini = close_llm);

/* ---- the slow way ---- */

/* The largest logit of the tokens that are this letter, alone or behind SentencePiece's space. */
static float slow_letter(const float *all, size_t vocab, char letter)
{
    const wr_tokenizer *tok = wr_decoder_tokenizer(wr_llm_decoder(llm));
    float most = -INFINITY;
    for (size_t id = 0; id < vocab; id++) {
        char bytes[2];
        bool is = wr_tokenizer_bytes(tok, (uint32_t)id, bytes, 2) == 1 && bytes[0] == letter;
        if (is && all[id] > most) most = all[id];
    }
    return most;
}

static void slow_window(const wr_listwise_options *o, const wr_passage *passage, size_t n, float *logit)
{
    const wr_decoder *decoder = wr_llm_decoder(llm);
    size_t vocab = wr_decoder_info_get(decoder)->vocab;
    float *all = malloc(vocab * sizeof *all);
    wr_logits wanted = {NULL, 0, all};
    wr_listwise_prompt prompt;
    wr_kv *kv;
    wr_err err;
    cr_assert(!wr_listwise_prompt_make(wr_decoder_tokenizer(decoder), wr_decoder_chat(decoder), o->prompt, query, passage, n,
                                       o->window, WR_LISTWISE_CONTEXT, &arena, &prompt, &err), "%s", err.text);
    cr_assert(!wr_kv_open(&kv, decoder, prompt.ids.n, &err), "%s", err.text);
    cr_assert(!wr_decoder_run(decoder, kv, prompt.ids.id, prompt.ids.n, &wanted, NULL, &arena, NULL));
    for (size_t i = 0; i < n; i++) logit[i] = slow_letter(all, vocab, (char)('A' + i));
    for (size_t i = 0; i < n && o->top30; i++) {
        size_t above = 0;
        for (size_t id = 0; id < vocab; id++) above += all[id] > logit[i];
        if (above >= 30) logit[i] = -INFINITY;
    }
    wr_kv_close(kv);
    free(all);
}

/* item[n] and, by passage, the last logit. */
static void slow_list(const wr_listwise_options *o, const wr_passage *passage, size_t n, uint32_t *item, float *last)
{
    for (size_t i = 0; i < n; i++) item[i] = (uint32_t)i, last[i] = -INFINITY;
    for (size_t end = n;; end -= o->stride) {
        wr_passage in[WR_WINDOW_MAX];
        float logit[WR_WINDOW_MAX];
        uint32_t was[WR_WINDOW_MAX];
        size_t start = end > o->window ? end - o->window : 0, m = end - start;
        for (size_t i = 0; i < m; i++) in[i] = passage[was[i] = item[start + i]];
        slow_window(o, in, m, logit);
        for (size_t i = 0; i < m; i++) {
            size_t before = 0;
            for (size_t j = 0; j < m; j++) before += logit[j] > logit[i] || (!(logit[j] < logit[i]) && j < i);
            item[start + before] = was[i];
            last[was[i]] = logit[i];
        }
        if (!start) return;
    }
}

/* ---- the fast way ---- */

typedef struct outcome {
    uint32_t item[100];
    float logit[100];
    wr_cut cut[100];
    size_t first;
    wr_listwise list;
} outcome;

static outcome rerank(const wr_listwise_options *o, const wr_passage *passage, size_t n, wr_pool *pool,
                      const wr_budget *budget)
{
    outcome out;
    wr_err err;
    cr_assert(!wr_listwise_begin(&out.list, llm, o, query, passage, n, &arena, &err), "%s", err.text);
    cr_assert(!wr_listwise_run(&out.list, pool, budget, NULL, NULL, &err), "%s", err.text);
    wr_listwise_result(&out.list, out.item, out.logit, out.cut, &out.first);
    return out;
}

static void same(const outcome *a, const outcome *b, size_t n)
{
    cr_assert_arr_eq(a->item, b->item, n * sizeof *a->item);
    cr_assert_arr_eq(a->logit, b->logit, n * sizeof *a->logit);
    cr_assert_eq(a->first, b->first);
}

static void complete(const uint32_t *item, size_t n)
{
    bool seen[100] = {false};
    for (size_t i = 0; i < n; i++) {
        cr_assert(item[i] < n && !seen[item[i]]);
        seen[item[i]] = true;
    }
}

Test(rerank_listwise, the_order_is_that_of_a_fresh_prefill_for_each_window)
{
    static const struct { size_t n; wr_listwise_options o; } cases[] = {
        {7, {.window = 20, .stride = 10}},
        {20, {.window = 20, .stride = 10}},
        {33, {.window = 20, .stride = 10}},
        {40, {.prompt = WR_PROMPT_PAPER, .window = 10, .stride = 5}},
        {15, {.window = 4, .stride = 3}},
        {9, {.window = 2, .stride = 1}},
        {25, {.top30 = true, .window = 20, .stride = 10}}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        wr_test_random random = {c + 1};
        size_t n = cases[c].n;
        uint32_t item[100];
        float last[100];
        wr_passage *passage = wr_test_passages(&random, n, &arena);
        outcome got = rerank(&cases[c].o, passage, n, NULL, NULL);
        slow_list(&cases[c].o, passage, n, item, last);
        cr_assert_arr_eq(got.item, item, n * sizeof *item, "case %zu", c);
        cr_assert_arr_eq(got.logit, last, n * sizeof *last, "case %zu", c);
        cr_assert_eq(got.first, 0u);
    }
}

Test(rerank_listwise, a_list_that_fits_one_window_is_one_pass)
{
    wr_test_random random = {3};
    wr_listwise_options o = {0};
    wr_passage *passage = wr_test_passages(&random, 21, &arena);
    cr_assert_eq(rerank(&o, passage, 20, NULL, NULL).list.nwindows, 1u);
    cr_assert_eq(rerank(&o, passage, 21, NULL, NULL).list.nwindows, 2u);
    outcome none = rerank(&o, passage, 0, NULL, NULL);
    cr_assert(none.list.nwindows == 0 && none.first == 0);
    outcome one = rerank(&o, passage, 1, NULL, NULL);
    cr_assert(one.list.nwindows == 1 && one.item[0] == 0 && isfinite(one.logit[0]));
}

Test(rerank_listwise, what_was_reused_changes_no_bit)
{
    wr_test_random random = {4};
    wr_listwise_options o = {.window = 10, .stride = 5};
    wr_passage *a = wr_test_passages(&random, 30, &arena), *b = wr_test_passages(&random, 30, &arena);
    outcome fresh = rerank(&o, a, 30, NULL, NULL), other = rerank(&o, b, 30, NULL, NULL);
    outcome again = rerank(&o, a, 30, NULL, NULL), twice = rerank(&o, a, 30, NULL, NULL);
    same(&fresh, &again, 30);
    same(&fresh, &twice, 30);
    close_llm();
    open_llm();
    random.state = 4;
    a = wr_test_passages(&random, 30, &arena), b = wr_test_passages(&random, 30, &arena);
    outcome other_fresh = rerank(&o, b, 30, NULL, NULL);
    same(&other, &other_fresh, 30);
}

Test(rerank_listwise, one_thread_and_four_give_the_same_bits)
{
    wr_test_random random = {5};
    wr_listwise_options o = {0};
    wr_passage *passage = wr_test_passages(&random, 50, &arena);
    outcome alone = rerank(&o, passage, 50, NULL, NULL);
    wr_pool *pool;
    wr_err err;
    cr_assert(!wr_pool_open(&pool, 4, wr_ranker_thread_start, &err), "%s", err.text);
    outcome four = rerank(&o, passage, 50, pool, NULL);
    wr_pool_close(pool);
    same(&alone, &four, 50);
}

/* ---- time ---- */

/* A clock that jumps past every deadline once so many windows have been run. */
static void stop_after(wr_test_clock *fake, const wr_listwise *list, size_t windows)
{
    if (atomic_load(&list->done) >= windows) fake->now_ns = (uint64_t)1 << 40;
}

Test(rerank_listwise, what_there_was_no_time_for_keeps_its_order)
{
    wr_test_random random = {6};
    wr_listwise_options o = {.window = 10, .stride = 5};
    enum { N = 40 };
    wr_passage *passage = wr_test_passages(&random, N, &arena);
    outcome whole = rerank(&o, passage, N, NULL, NULL);
    for (size_t stop = 0; stop <= whole.list.nwindows; stop++) {
        wr_test_clock fake;
        wr_budget budget;
        outcome got;
        wr_err err;
        wr_test_clock_init(&fake, 1, 0);
        wr_budget_start(&budget, &fake.clock, 1e6, 0, 0);
        cr_assert(!wr_listwise_begin(&got.list, llm, &o, query, passage, N, &arena, &err));
        wr_status st = WR_OK;
        for (; !st; stop_after(&fake, &got.list, stop)) {
            if (stop == 0) stop_after(&fake, &got.list, 0);
            st = wr_listwise_step(&got.list, NULL, &budget, NULL, NULL, &err);
        }
        cr_assert_eq(st, WR_STOPPED);
        wr_listwise_result(&got.list, got.item, got.logit, got.cut, &got.first);
        cr_assert_eq(got.list.done, stop);
        cr_assert_eq(got.first, stop ? whole.list.window[stop - 1].start : (size_t)N);
        complete(got.item, N);
        for (size_t i = 0; i < got.first; i++) cr_assert(got.item[i] == i && got.logit[i] == -INFINITY);
        for (size_t i = got.first; i < N; i++) cr_assert(got.item[i] >= got.first && isfinite(got.logit[got.item[i]]));
        if (stop == whole.list.nwindows) same(&whole, &got, N);
    }
}

Test(rerank_listwise, a_window_that_cannot_end_in_time_is_not_begun)
{
    wr_test_random random = {7};
    wr_listwise_options o = {0};
    wr_passage *passage = wr_test_passages(&random, 20, &arena);
    outcome whole = rerank(&o, passage, 20, NULL, NULL); /* the speed is known now */
    wr_test_clock fake;
    wr_budget budget;
    wr_test_clock_init(&fake, 1, 0);
    wr_budget_start(&budget, &fake.clock, 1e-5, 0, 0); /* 10 ns, and the clock stands still */
    random.state = 8;
    outcome late = rerank(&o, wr_test_passages(&random, 20, &arena), 20, NULL, &budget);
    cr_assert(late.first == 20 && late.list.done == 0);
    outcome again = rerank(&o, passage, 20, NULL, NULL);
    same(&whole, &again, 20);
}

/* ---- texts ---- */

Test(rerank_listwise, passages_that_are_cut_are_told)
{
    wr_test_random random = {9};
    wr_listwise_options o = {.window = 4, .stride = 2};
    wr_passage passage[4] = {{.text = wr_test_words(&random, 20, &arena)}, {.text = wr_test_words(&random, 301, &arena)}};
    passage[2] = passage[3] = passage[0];
    cr_assert_eq(rerank(&o, passage, 2, NULL, NULL).cut[0], WR_CUT_NOT);
    outcome got = rerank(&o, passage, 2, NULL, NULL);
    cr_assert(got.cut[0] == WR_CUT_NOT && got.cut[1] == WR_CUT_RULE);
    passage[2].text = passage[3].text = wr_test_words(&random, 290, &arena);
    got = rerank(&o, passage, 4, NULL, NULL); /* some 900 words: 4,500 tokens of letters */
    cr_assert(got.cut[0] == WR_CUT_NOT && got.cut[1] == WR_CUT_HARDER && got.cut[2] == WR_CUT_HARDER);
}

static size_t specials_of(const wr_listwise_prompt *prompt)
{
    const wr_tokenizer *tok = wr_decoder_tokenizer(wr_llm_decoder(llm));
    size_t n = 0;
    for (size_t i = 0; i < prompt->ids.n; i++) n += wr_tokenizer_is_special(tok, prompt->ids.id[i]);
    return n;
}

static void count_specials(void *arg, const wr_window_seen *seen)
{
    size_t *want = arg, n = specials_of(seen->prompt);
    if (!*want) *want = n;
    cr_assert_eq(n, *want);
}

/* tests/golden/list_windows.c does ten thousand. */
Test(rerank_listwise, whatever_the_texts_are_the_permutation_is_complete)
{
    wr_test_random random = {10};
    size_t specials = 0;
    for (size_t i = 0; i < 60; i++) {
        wr_listwise_options o = {.prompt = i % 2 ? WR_PROMPT_PAPER : WR_PROMPT_TEMPLATE, .top30 = i % 3 == 0,
                                 .window = 2 + wr_test_below(&random, 19)};
        size_t mark = wr_arena_mark(&arena), n = 1 + wr_test_below(&random, 20);
        wr_passage passage[20];
        outcome got;
        wr_err err;
        for (size_t j = 0; j < n; j++)
            passage[j] = (wr_passage){wr_test_hostile(&random, &arena), wr_test_hostile(&random, &arena)};
        query = wr_test_hostile(&random, &arena);
        if (query.n > 400) query.n = 400; /* a query that fills the prompt is refused, see test_listwise.c */
        cr_assert(!wr_listwise_begin(&got.list, llm, &o, query, passage, n, &arena, &err), "%s", err.text);
        cr_assert(!wr_listwise_run(&got.list, NULL, NULL, count_specials, &specials, &err), "%zu: %s", i, err.text);
        wr_listwise_result(&got.list, got.item, got.logit, got.cut, &got.first);
        cr_assert_eq(got.first, 0u);
        complete(got.item, n);
        wr_arena_rollback(&arena, mark);
    }
}

/* ---- answers that are generated ---- */

typedef struct replies {
    char text[20][512];
    size_t n;
} replies;

static void keep_reply(void *arg, const wr_window_seen *seen)
{
    replies *all = arg;
    snprintf(all->text[all->n++], sizeof all->text[0], "%.*s", (int)seen->reply.n, seen->reply.bytes);
}

static outcome generate(wr_answer answer, const wr_passage *passage, size_t n, const wr_budget *budget, replies *all)
{
    const wr_listwise_options o = {.window = 8, .stride = 4, .answer = answer};
    outcome out;
    wr_err err;
    all->n = 0;
    cr_assert(!wr_listwise_begin(&out.list, llm, &o, query, passage, n, &arena, &err), "%s", err.text);
    cr_assert(!wr_listwise_run(&out.list, NULL, budget, keep_reply, all, &err), "%s", err.text);
    wr_listwise_result(&out.list, out.item, out.logit, out.cut, &out.first);
    return out;
}

/* test_generate.c has what is chosen against a prefill for every letter. */
Test(rerank_listwise, a_generated_list_is_an_order_that_begins_with_the_same_letter)
{
    wr_test_random random = {11};
    static replies list, again;
    wr_passage *passage = wr_test_passages(&random, 8, &arena);
    wr_listwise_options o = {.window = 8, .stride = 4};
    outcome token = rerank(&o, passage, 8, NULL, NULL), got = generate(WR_ANSWER_LIST, passage, 8, NULL, &list);
    complete(got.item, 8);
    cr_assert_eq(got.item[0], token.item[0]);
    for (size_t i = 0; i < 8; i++) {
        cr_assert_eq(list.text[0][6 * i], (char)('A' + got.item[i]), "%s", list.text[0]);
        cr_assert_eq(got.logit[got.item[i]], (float)(8 - i));
    }
    passage = wr_test_passages(&random, 30, &arena);
    got = generate(WR_ANSWER_LIST, passage, 30, NULL, &list);
    complete(got.item, 30);
    cr_assert_eq(list.n, got.list.nwindows);
    outcome repeated = generate(WR_ANSWER_LIST, passage, 30, NULL, &again);
    same(&got, &repeated, 30);
}

Test(rerank_listwise, a_free_answer_is_read_as_far_as_it_names_letters)
{
    wr_test_random random = {12};
    static replies all;
    wr_passage *passage = wr_test_passages(&random, 8, &arena);
    outcome got = generate(WR_ANSWER_FREE, passage, 8, NULL, &all);
    size_t order[8];
    wr_listwise_parse((wr_text){all.text[0], strlen(all.text[0])}, 8, order);
    complete(got.item, 8);
    for (size_t i = 0; i < 8; i++) cr_assert_eq(got.item[i], order[i], "%s", all.text[0]);
}

Test(rerank_listwise, an_answer_that_time_ends_changes_nothing)
{
    wr_test_random random = {13};
    static replies all;
    wr_passage *passage = wr_test_passages(&random, 12, &arena);
    wr_test_clock fake;
    wr_budget budget;
    size_t stopped = 0;
    for (double ms = 1e-4; stopped < 20 && ms < 1e3; ms *= 1.7) { /* every look at the clock takes 10 ns */
        wr_test_clock_init(&fake, 1, 10);
        wr_budget_start(&budget, &fake.clock, ms, 0, 0);
        outcome got = generate(WR_ANSWER_LIST, passage, 12, &budget, &all);
        complete(got.item, 12);
        for (size_t i = 0; i < got.first; i++) cr_assert_eq(got.item[i], i);
        stopped += got.list.done < got.list.nwindows;
        if (got.list.done == got.list.nwindows) break;
    }
    cr_assert(stopped > 0 && stopped < 20);
}

/* ---- options ---- */

Test(rerank_listwise, options_out_of_range_are_refused)
{
    static const struct { wr_listwise_options o; const char *says; } bad[] = {
        {{.window = 1}, "window: 1, expected 2 to 26"},
        {{.window = 27}, "window: 27, expected 2 to 26"},
        {{.window = 10, .stride = 11}, "stride: 11, expected 1 to 10"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        wr_listwise list;
        wr_err err;
        cr_assert_eq(wr_listwise_begin(&list, llm, &bad[i].o, query, NULL, 0, &arena, &err), WR_EARG);
        cr_assert(strstr(err.text, bad[i].says), "%s", err.text);
    }
}
