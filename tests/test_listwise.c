/* Windows, letters and permutations of FIRST: papers.md 1.6's worked cases, and that a permutation is one whatever the
 * logits or the reply. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ranker/listwise.h"
#include "ranker/prompt.h"
#include "tests/testlib.h"

static void windows(size_t n, size_t start, size_t window, size_t stride, const wr_window *want, size_t count)
{
    wr_window got[64];
    cr_assert_eq(wr_windows(n, start, window, stride, got, 64), count, "%zu positions", n);
    for (size_t i = 0; i < count; i++)
        cr_assert(got[i].start == want[i].start && got[i].end == want[i].end, "window %zu: [%zu, %zu)", i, got[i].start,
                  got[i].end);
}

Test(listwise, windows_are_those_of_the_published_cases)
{
    windows(40, 0, 20, 10, (wr_window[]){{20, 40}, {10, 30}, {0, 20}}, 3);
    windows(25, 0, 20, 10, (wr_window[]){{5, 25}, {0, 15}}, 2);
    windows(8, 0, 20, 10, (wr_window[]){{0, 8}}, 1);
    windows(30, 5, 20, 10, (wr_window[]){{10, 30}, {5, 20}}, 2);
    windows(100, 0, 20, 10,
            (wr_window[]){{80, 100}, {70, 90}, {60, 80}, {50, 70}, {40, 60}, {30, 50}, {20, 40}, {10, 30}, {0, 20}}, 9);
    windows(10, 0, 20, 10, (wr_window[]){{0, 10}}, 1);
    windows(20, 0, 20, 10, (wr_window[]){{0, 20}}, 1);
    windows(0, 0, 20, 10, NULL, 0);
    windows(5, 5, 20, 10, NULL, 0);
}

Test(listwise, every_position_is_in_a_window_and_the_last_begins_at_the_start)
{
    wr_window got[256];
    for (size_t n = 1; n <= 60; n++)
        for (size_t window = 1; window <= 26; window++)
            for (size_t stride = 1; stride <= window; stride++) {
                size_t count = wr_windows(n, 0, window, stride, got, 256), low = n;
                for (size_t i = 0; i < count; i++) {
                    cr_assert(got[i].end >= low && got[i].start < low && got[i].end - got[i].start <= window);
                    low = got[i].start;
                }
                cr_assert_eq(low, 0);
            }
}

static void is_permutation(const size_t *order, size_t n)
{
    bool seen[WR_WINDOW_MAX] = {false};
    for (size_t i = 0; i < n; i++) {
        cr_assert(order[i] < n && !seen[order[i]]);
        seen[order[i]] = true;
    }
}

Test(listwise, the_order_is_by_logit_and_equal_ones_stay)
{
    size_t order[6];
    const float logit[6] = {1, 3, -INFINITY, 3, NAN, 2};
    const size_t want[6] = {1, 3, 5, 0, 2, 4};
    wr_listwise_order(logit, 6, order);
    cr_assert_arr_eq(order, want, sizeof want);
}

Test(listwise, any_logits_give_a_permutation)
{
    wr_test_random random = {1};
    for (int round = 0; round < 10000; round++) {
        float logit[WR_WINDOW_MAX];
        size_t order[WR_WINDOW_MAX], n = 1 + wr_test_below(&random, WR_WINDOW_MAX);
        for (size_t i = 0; i < n; i++) {
            size_t kind = wr_test_below(&random, 8);
            logit[i] = kind == 0   ? NAN
                       : kind == 1 ? -INFINITY
                       : kind == 2 ? INFINITY
                                   : (float)wr_test_below(&random, 4);
        }
        wr_listwise_order(logit, n, order);
        is_permutation(order, n);
        for (size_t i = 1; i < n; i++) {
            float a = logit[order[i - 1]], b = logit[order[i]];
            bool unranked_a = !(a > -INFINITY), unranked_b = !(b > -INFINITY);
            if (unranked_a)
                cr_assert(unranked_b && order[i - 1] < order[i]);
            else if (!unranked_b)
                cr_assert(a > b || (a == b && order[i - 1] < order[i]));
        }
    }
}

Test(listwise, a_generated_list_loses_what_is_wrong_and_gains_what_is_missing)
{
    size_t order[4];
    const size_t want[4] = {1, 0, 2, 3};
    static const char reply[] = "[B] > [A] > [B] > [Z] > z?";
    wr_listwise_parse((wr_text){reply, sizeof reply - 1}, 4, order);
    cr_assert_arr_eq(order, want, sizeof want);
    const size_t same[4] = {0, 1, 2, 3};
    wr_listwise_parse((wr_text){"", 0}, 4, order);
    cr_assert_arr_eq(order, same, sizeof same);
}

Test(listwise, any_reply_gives_a_permutation)
{
    wr_test_random random = {2};
    for (int round = 0; round < 10000; round++) {
        char reply[80];
        size_t order[WR_WINDOW_MAX], n = 1 + wr_test_below(&random, WR_WINDOW_MAX),
                                     size = wr_test_below(&random, sizeof reply);
        for (size_t i = 0; i < size; i++) reply[i] = (char)wr_test_below(&random, 256);
        wr_listwise_parse((wr_text){reply, size}, n, order);
        is_permutation(order, n);
    }
}

Test(listwise, items_move_and_positions_keep_their_scores)
{
    uint32_t item[3] = {7, 8, 9};
    const uint32_t want[3] = {9, 7, 8};
    wr_listwise_apply((size_t[]){2, 0, 1}, 3, item);
    cr_assert_arr_eq(item, want, sizeof want);
}

/* A has ids 3 and 5, B has 4. */
static const wr_letters letters = {.n = 2, .id = {3, 4}, .row = {3, 5, 4}, .first = {0, 2, 3}};

Test(listwise, a_letter_counts_by_the_best_of_its_ids)
{
    float logit[2];
    wr_letters_read(&letters, (const float[]){1, 5, 2}, 2, logit);
    cr_assert(logit[0] == 5 && logit[1] == 2);
}

Test(listwise, beyond_the_thirty_best_a_letter_has_no_logit)
{
    float all[64], logit[2];
    for (size_t i = 0; i < 64; i++) all[i] = (float)i;
    all[5] = 100;
    wr_letters_read_top30(&letters, all, 64, 2, logit);
    cr_assert(logit[0] == 100 && logit[1] == -INFINITY);
    for (size_t i = 0; i < 64; i++) all[i] = 1; /* equal ones: the smaller ids are in */
    wr_letters_read_top30(&letters, all, 64, 2, logit);
    cr_assert(logit[0] == 1 && logit[1] == 1);
}

/* ---- prompts; any tokenizer will do */

static wr_tokenizer *tok;
static wr_arena arena;

static void open_tokenizer(void)
{
    wr_err err;
    cr_assert_eq(wr_tokenizer_open(&tok, "tests/golden/models/bert-mean", &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_arena_init(&arena, (size_t)1 << 28), WR_OK);
}

static void close_tokenizer(void)
{
    wr_tokenizer_close(tok);
    wr_arena_release(&arena);
}

TestSuite(listwise_prompt, .init = open_tokenizer, .fini = close_tokenizer);

static wr_text words(size_t n)
{
    char *bytes = wr_arena_alloc(&arena, 6 * n + 1);
    for (size_t i = 0; i < n; i++) memcpy(bytes + 6 * i, "river ", 6);
    return (wr_text){bytes, 6 * n};
}

static wr_status make(const wr_passage *passage, size_t n, size_t context, wr_listwise_prompt *out, wr_err *err)
{
    return wr_listwise_prompt_make(tok, NULL, WR_PROMPT_TEMPLATE, (wr_text){"old weir", 8}, passage, n, WR_WINDOW, context,
                                   &arena, out, err);
}

Test(listwise_prompt, a_passage_that_is_not_whole_is_told)
{
    wr_passage passage[3] = {{.text = words(10)}, {.text = words(300)}, {.text = words(301)}};
    wr_listwise_prompt prompt;
    wr_err err;
    cr_assert_eq(make(passage, 3, 10000, &prompt, &err), WR_OK, "%s", err.text);
    cr_assert_eq(prompt.words, wr_listwise_words(WR_PROMPT_TEMPLATE, WR_WINDOW));
    cr_assert_eq(prompt.cut, 4u, "the rule's 300 words");
    cr_assert_eq(make(passage, 3, prompt.ids.n - 100, &prompt, &err), WR_OK, "%s", err.text);
    cr_assert(prompt.words < 300 && prompt.words > 10);
    cr_assert_eq(prompt.cut, 6u);
}

Test(listwise_prompt, words_that_are_too_long_get_their_share_of_the_tokens)
{
    char *bytes = wr_arena_alloc(&arena, 20000);
    for (size_t i = 0; i < 20000; i++) bytes[i] = i % 2 ? '-' : (char)('a' + i % 26);
    wr_passage passage[2] = {{.text = {bytes, 20000}}, {.text = {"x", 1}}};
    wr_listwise_prompt prompt;
    wr_err err;
    cr_assert_eq(make(passage, 2, 1000, &prompt, &err), WR_OK, "%s", err.text);
    cr_assert_leq(prompt.ids.n, 1000u);
    cr_assert_eq(prompt.cut & 1, 1u);
}

Test(listwise_prompt, of_a_text_of_millions_of_bytes_the_first_million_counts)
{
    static const char *const unit[] = {"a", "\xff", "<", "&lt;", "\xc3\x83\xc2\xa9", "[1] ", "\xef\xac\x83"};
    for (size_t u = 0; u < sizeof unit / sizeof *unit; u++) {
        size_t mark = wr_arena_mark(&arena), each = strlen(unit[u]), n = ((size_t)3 << 20) / each * each;
        char *bytes = malloc(n);
        wr_listwise_prompt all, head;
        wr_passage long_one[2] = {{.text = {bytes, n}}, {.text = {"x", 1}}}, same[2];
        wr_err err;
        for (size_t i = 0; i < n; i++) bytes[i] = unit[u][i % each];
        cr_assert_eq(make(long_one, 2, 1000, &all, &err), WR_OK, "%s", err.text);
        memcpy(same, long_one, sizeof same);
        same[0].text = wr_prompt_head(same[0].text);
        cr_assert(same[0].text.n <= WR_PROMPT_TEXT_MOST && same[0].text.n + 4 > WR_PROMPT_TEXT_MOST);
        cr_assert_eq(make(same, 2, 1000, &head, &err), WR_OK, "%s", err.text);
        cr_assert_eq(all.text.n, head.text.n);
        cr_assert_arr_eq(all.text.bytes, head.text.bytes, all.text.n);
        cr_assert_eq(all.cut, 1u);
        free(bytes);
        wr_arena_rollback(&arena, mark);
    }
}

Test(listwise_prompt, a_query_that_leaves_no_room_is_refused)
{
    wr_passage passage = {.text = words(5)};
    wr_listwise_prompt prompt;
    wr_err err;
    cr_assert_eq(make(&passage, 1, 50, &prompt, &err), WR_EARG);
    cr_assert(strstr(err.text, "too long"), "%s", err.text);
}

Test(listwise_prompt, a_text_is_cut_at_a_character_and_near_the_number_of_tokens)
{
    wr_text text = {"the \xc3\xa9t\xc3\xa9 of the old river \xc3\xbc\xc3\xbc\xc3\xbc and the new bridge", 49}, out;
    wr_tokens all, ids;
    cr_assert_eq(wr_tokenizer_encode(tok, text.bytes, text.n, &arena, SIZE_MAX, &all), WR_OK);
    for (size_t n = 0; n < all.n; n++) {
        cr_assert_eq(wr_prompt_cut(tok, text, n, &arena, &out), WR_OK);
        cr_assert(out.bytes == text.bytes && out.n < text.n);
        cr_assert_neq((unsigned char)text.bytes[out.n] & 0xc0, 0x80);
        cr_assert_eq(wr_tokenizer_encode(tok, out.bytes, out.n, &arena, SIZE_MAX, &ids), WR_OK);
        cr_assert_leq(ids.n, n + 1);
    }
    cr_assert_eq(wr_prompt_cut(tok, text, all.n, &arena, &out), WR_OK);
    cr_assert_eq(out.n, text.n);
}
