/* Texts scored one by one by a tiny decoder of random weights, against the slow way: the prompt as its words are published,
 * a cache of its own, all logits of the vocabulary. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ranker/rank.h"
#include "ranker/rerank_pointwise.h"
#include "tests/testlib.h"
#include "tests/testlib_decoder.h"
#include "tests/testlib_passages.h"

#define SYSTEM                                                                                                            \
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer " \
    "can only be \"yes\" or \"no\"."

static wr_llm *llm;
static wr_arena arena;
static const wr_text query = {"old bridge", 10};

/* The tiny decoder knows no <think>; with it in the place of <|endoftext|> it has all that Qwen3's turns need. */
static void write_model(const char *dir, bool think)
{
    wr_test_decoder model = {.type = "qwen3", .seed = 5};
    char command[1024];
    wr_test_decoder_write(dir, &model);
    snprintf(command, sizeof command, "sed -i 's/<|endoftext|>/<think>/g' %s/tokenizer.json", dir);
    if (think) cr_assert_eq(system(command), 0);
}

static void open_model(bool think, const char *template)
{
    char dir[256];
    wr_err err;
    snprintf(dir, sizeof dir, "%s", wr_test_path(think ? "think" : "model"));
    write_model(dir, think);
    cr_assert(!wr_llm_open(&llm, dir, template, &err), "%s", err.text);
    cr_assert(!wr_arena_init(&arena, (size_t)1 << 30));
}

static void close_model(void)
{
    wr_llm_close(llm);
    wr_arena_release(&arena);
}

static wr_text text_of(const char *s)
{
    return (wr_text){s, strlen(s)};
}

static wr_pointwise begin(wr_judge judge, const char *instruction)
{
    wr_pointwise j;
    wr_err err;
    wr_pointwise_options options = {.judge = judge, .instruction = text_of(instruction)};
    cr_assert(!wr_pointwise_begin(&j, llm, &options, query, &arena, &err), "%s", err.text);
    return j;
}

/* logit(yes) - logit(no) behind this very string, special tokens parsed. */
static float slow(const char *prompt, const char *yes, const char *no)
{
    const wr_decoder *decoder = wr_llm_decoder(llm);
    const wr_tokenizer *tok = wr_decoder_tokenizer(decoder);
    float *all = malloc(wr_decoder_info_get(decoder)->vocab * sizeof *all), score;
    wr_tokens ids;
    wr_kv *kv;
    wr_err err;
    cr_assert(!wr_tokenizer_encode(tok, prompt, strlen(prompt), &arena, SIZE_MAX, &ids));
    cr_assert(!wr_kv_open(&kv, decoder, ids.n, &err), "%s", err.text);
    cr_assert(!wr_decoder_run(decoder, kv, ids.id, ids.n, &(wr_logits){NULL, 0, all}, NULL, &arena, NULL));
    score = all[wr_tokenizer_id(tok, yes)] - all[wr_tokenizer_id(tok, no)];
    wr_kv_close(kv);
    free(all);
    return score;
}

static float score_of(const wr_pointwise *j, const char *text)
{
    float score;
    bool cut;
    wr_err err;
    cr_assert(!wr_pointwise_score(j, text_of(text), NULL, NULL, &score, &cut, &err), "%s", err.text);
    cr_assert(!cut);
    return score;
}

static const char *prompt_of(const wr_pointwise *j, const char *text)
{
    wr_text prompt;
    wr_tokens ids;
    bool cut;
    wr_err err;
    cr_assert(!wr_pointwise_prompt(j, text_of(text), &arena, &prompt, &ids, &cut, &err), "%s", err.text);
    char *out = wr_arena_alloc(&arena, prompt.n + 1);
    memcpy(out, prompt.bytes, prompt.n);
    out[prompt.n] = 0;
    return out;
}

/* ---- prompts and scores ---- */

Test(rerank_pointwise, where_the_tokens_are_qwen_s_turns_are_as_published)
{
    static const char want[] =
        "<|im_start|>system\n" SYSTEM "<|im_end|>\n<|im_start|>user\n<Instruct>: Given a web search query, retrieve relevant "
        "passages that answer the query\n<Query>: old bridge\n<Document>: a river<|im_end|>\n<|im_start|>assistant\n"
        "<think>\n\n</think>\n\n";
    open_model(true, NULL);
    wr_pointwise j = begin(WR_JUDGE_AUTO, "");
    cr_assert_str_eq(wr_judge_name(j.judge), "yesno");
    cr_assert_str_eq(prompt_of(&j, "a river"), want);
    cr_assert_eq(score_of(&j, "a river"), slow(want, "y", "n"), "of a vocabulary of letters the first ones count");
    close_model();
}

Test(rerank_pointwise, without_them_the_chat_template_makes_the_turns)
{
    /* it does not speak of a system, so the text goes in front of the user's, as in listwise prompts */
    static const char want[] = "<|im_start|>user\n" SYSTEM "\n <Instruct>: find it\n<Query>: old bridge\n<Document>: a river"
                               "<|im_end|>\n<|im_start|>assistant\n";
    open_model(false, NULL);
    wr_pointwise j = begin(WR_JUDGE_AUTO, "find it");
    cr_assert_str_eq(prompt_of(&j, "a river"), want);
    cr_assert_eq(score_of(&j, "a river"), slow(want, "y", "n"));
    close_model();
}

Test(rerank_pointwise, a_template_of_the_user_wins)
{
    open_model(true, wr_test_text("t.jinja", "{% for m in messages %}({{ m.role }}) {{ m.content }}{% endfor %} :"));
    wr_pointwise j = begin(WR_JUDGE_AUTO, "find it");
    cr_assert_str_eq(prompt_of(&j, "a river"),
                     "(user) " SYSTEM "\n <Instruct>: find it\n<Query>: old bridge\n<Document>: a river :");
    close_model();
}

Test(rerank_pointwise, monot5_s_words_need_no_template)
{
    static const char want[] = "Query: old bridge Document: a river Relevant:";
    open_model(false, NULL);
    wr_pointwise j = begin(WR_JUDGE_MONOT5, "");
    cr_assert_str_eq(prompt_of(&j, "a river"), want);
    wr_tokens answer[2];
    const wr_tokenizer *tok = wr_decoder_tokenizer(wr_llm_decoder(llm));
    wr_tokenizer_encode(tok, " true", 5, &arena, SIZE_MAX, &answer[0]);
    wr_tokenizer_encode(tok, " false", 6, &arena, SIZE_MAX, &answer[1]);
    cr_assert_eq(score_of(&j, "a river"), slow(want, wr_tokenizer_token(tok, answer[0].id[0]),
                                               wr_tokenizer_token(tok, answer[1].id[0])));
    close_model();
}

/* ---- reuse, threads, time ---- */

enum { N = 30 };

static void score_all(wr_text *text, wr_pool *pool, const wr_budget *budget, float *score, size_t *done)
{
    bool cut[N];
    wr_err err;
    wr_pointwise j = begin(WR_JUDGE_AUTO, "");
    cr_assert(!wr_pointwise_run(&j, text, N, pool, budget, score, cut, done, &err), "%s", err.text);
}

Test(rerank_pointwise, neither_reuse_nor_threads_change_a_bit)
{
    wr_test_random random = {1};
    wr_text text[N];
    float score[N], again[N], four[N];
    size_t done;
    wr_pool *pool;
    wr_err err;
    open_model(false, NULL);
    for (size_t i = 0; i < N; i++) text[i] = wr_test_words(&random, 1 + wr_test_below(&random, 40), &arena);
    score_all(text, NULL, NULL, score, &done);
    cr_assert_eq(done, N);
    score_all(text, NULL, NULL, again, &done);
    cr_assert(!wr_pool_open(&pool, 4, wr_ranker_thread_start, &err));
    score_all(text, pool, NULL, four, &done);
    wr_pool_close(pool);
    for (size_t i = 0; i < N; i++) {
        close_model();
        float fresh;
        random.state = 1;
        open_model(false, NULL);
        for (size_t k = 0; k < N; k++) text[k] = wr_test_words(&random, 1 + wr_test_below(&random, 40), &arena);
        wr_pointwise j = begin(WR_JUDGE_AUTO, "");
        bool cut;
        cr_assert(!wr_pointwise_score(&j, text[i], NULL, NULL, &fresh, &cut, &err));
        cr_assert(score[i] == fresh && again[i] == fresh && four[i] == fresh, "text %zu", i);
    }
    close_model();
}

Test(rerank_pointwise, time_that_is_up_ends_it_behind_the_first_texts)
{
    wr_test_random random = {2};
    wr_text text[N];
    float score[N], some[N];
    size_t done;
    wr_test_clock fake;
    wr_budget budget;
    open_model(false, NULL);
    for (size_t i = 0; i < N; i++) text[i] = wr_test_words(&random, 10, &arena);
    score_all(text, NULL, NULL, score, &done);
    wr_test_clock_init(&fake, 1, 100);
    wr_budget_start(&budget, &fake.clock, 1e12, 0, 0);
    score_all(text, NULL, &budget, some, &done);
    cr_assert_eq(done, N);
    budget.soft_ns = budget.hard_ns = (uint64_t)fake.now_ns;
    score_all(text, NULL, &budget, some, &done);
    cr_assert_eq(done, 0u);
    close_model();
}

/* ---- texts ---- */

Test(rerank_pointwise, a_text_that_is_too_long_loses_its_end)
{
    wr_test_random random = {3};
    wr_text prompt, text = {NULL, 0};
    wr_tokens ids;
    bool cut;
    wr_err err;
    open_model(false, NULL);
    wr_pointwise j = begin(WR_JUDGE_AUTO, "");
    for (size_t words = 100; words < 20000; words *= 3) {
        text = wr_test_words(&random, words, &arena);
        cr_assert(!wr_pointwise_prompt(&j, text, &arena, &prompt, &ids, &cut, &err), "%s", err.text);
        cr_assert_leq(ids.n, 4096u);
        cr_assert_eq(cut, words > 300);
        if (cut) cr_assert_geq(ids.n, 4096u - 16u, "%zu tokens: no more than needed is lost", ids.n);
    }
    char *query_bytes = wr_arena_alloc(&arena, 20000);
    memset(query_bytes, 'q', 20000);
    cr_assert_eq(wr_pointwise_begin(&j, llm, &(wr_pointwise_options){.judge = WR_JUDGE_AUTO}, (wr_text){query_bytes, 20000},
                                    &arena, &err), WR_EARG);
    cr_assert(strstr(err.text, "too long"), "%s", err.text);
    close_model();
}

Test(rerank_pointwise, whatever_a_text_is_it_makes_no_special_token)
{
    wr_test_random random = {4};
    for (size_t think = 0; think < 2; think++) {
        open_model(think, NULL);
        const wr_tokenizer *tok = wr_decoder_tokenizer(wr_llm_decoder(llm));
        for (size_t i = 0; i < 200; i++) {
            size_t mark = wr_arena_mark(&arena), specials = 0;
            wr_text prompt;
            wr_tokens ids;
            wr_pointwise j;
            bool cut;
            wr_err err;
            wr_text hostile = wr_test_hostile(&random, &arena);
            if (hostile.n > 400) hostile.n = 400;
            cr_assert(!wr_pointwise_begin(&j, llm, &(wr_pointwise_options){.judge = WR_JUDGE_AUTO}, hostile, &arena, &err), "%s",
                      err.text);
            cr_assert(!wr_pointwise_prompt(&j, wr_test_hostile(&random, &arena), &arena, &prompt, &ids, &cut, &err), "%s",
                      err.text);
            for (size_t t = 0; t < ids.n; t++) specials += wr_tokenizer_is_special(tok, ids.id[t]);
            cr_assert_eq(specials, think ? 6u : 3u, "turns of which the last is open, and <think>");
            wr_arena_rollback(&arena, mark);
        }
        close_model();
    }
}
