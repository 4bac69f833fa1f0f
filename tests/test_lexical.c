/* What a document's own words add to learned weights, and what a query's repeated ones are worth. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "indexer/lexical.h"
#include "models/model.h"
#include "tests/testlib.h"

#define TEXT "a b a c a zzz\xe6\xbc\xa2"
#define MAX_WEIGHTS 64

static wr_tokenizer *tokenizer(void)
{
    static const char *const token[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d"};
    char text[200] = "";
    wr_tokenizer *tok;
    wr_err err = {0};
    for (size_t i = 0; i < sizeof token / sizeof *token; i++) {
        strcat(text, token[i]);
        strcat(text, "\n");
    }
    wr_test_text("vocab.txt", text);
    cr_assert_eq(wr_tokenizer_open(&tok, wr_test_dir(), &err), WR_OK, "%s", err.text);
    return tok;
}

Test(lexical, the_share_of_a_word_is_bm25s_with_a_fixed_length)
{
    for (uint32_t tf = 1; tf < 50; tf++)
        for (size_t n = tf; n < 2000; n += 37) {
            double k = 2 * (1 - 0.8 + 0.8 * (double)n / 128);
            cr_assert_float_eq(wr_lexical_share(tf, n), tf / (tf + k), 1e-6);
        }
    cr_assert_float_eq(wr_lexical_share(1, 128), 1 / 3., 1e-7);
}

Test(lexical, every_word_of_the_text_gains_what_it_occurs)
{
    wr_tokenizer *tok = tokenizer();
    wr_arena arena;
    wr_tokens tokens;
    wr_term_counts counts;
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    cr_assert_eq(wr_term_counts_init(&counts, wr_tokenizer_vocab_size(tok)), WR_OK);
    cr_assert_eq(wr_tokenizer_encode(tok, TEXT, strlen(TEXT), &arena, SIZE_MAX, &tokens), WR_OK);
    uint32_t a = (uint32_t)wr_tokenizer_id(tok, "a"), b = a + 1, c = a + 2, d = a + 3;
    for (int again = 0; again < 2; again++) { /* nothing is left of the text before */
        uint32_t id[MAX_WEIGHTS] = {b, d};
        float weight[MAX_WEIGHTS] = {1, 0.25F};
        wr_token_weights w = {id, weight, 2};
        wr_lexical_add(&counts, tok, &tokens, NULL, 2, &w);
        cr_assert_eq(w.n, 4, "b and d were there, a and c are new, unknown words are left out");
        cr_assert(id[0] == b && id[1] == d && id[2] == a && id[3] == c, "the new ones in the order of the text");
        cr_assert_float_eq(weight[0], 1 + 2 * wr_lexical_share(1, tokens.n), 1e-6);
        cr_assert_float_eq(weight[1], 0.25, 0, "a word that the text has not");
        cr_assert_float_eq(weight[2], 2 * wr_lexical_share(3, tokens.n), 1e-6);
        cr_assert_float_eq(weight[3], 2 * wr_lexical_share(1, tokens.n), 1e-6);
    }
    wr_term_counts_release(&counts);
    wr_arena_release(&arena);
    wr_tokenizer_close(tok);
}

Test(lexical, words_of_little_weight_add_nothing)
{
    wr_tokenizer *tok = tokenizer();
    wr_arena arena;
    wr_tokens tokens;
    wr_term_counts counts;
    float worth[] = {0, 0, 0, 0, 0, 0.99F, 1, 5, 5}; /* a, b, c, d */
    const wr_idf idf = {worth, 8};
    uint32_t id[MAX_WEIGHTS] = {5};
    float weight[MAX_WEIGHTS] = {2};
    wr_token_weights w = {id, weight, 1};
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    cr_assert_eq(wr_term_counts_init(&counts, wr_tokenizer_vocab_size(tok)), WR_OK);
    cr_assert_eq(wr_tokenizer_encode(tok, "a b c d a", 9, &arena, SIZE_MAX, &tokens), WR_OK);
    wr_lexical_add(&counts, tok, &tokens, &idf, 1, &w);
    cr_assert_eq(w.n, 3, "a is too common, d behind the table's end");
    cr_assert(id[0] == 5 && weight[0] == 2 && id[1] == 6 && id[2] == 7);
    wr_term_counts_release(&counts);
    wr_arena_release(&arena);
    wr_tokenizer_close(tok);
}

Test(lexical, a_text_without_words_adds_nothing)
{
    wr_tokenizer *tok = tokenizer();
    wr_term_counts counts;
    const wr_tokens none = {0};
    uint32_t id[1] = {7};
    float weight[1] = {1};
    wr_token_weights w = {id, weight, 1};
    cr_assert_eq(wr_term_counts_init(&counts, wr_tokenizer_vocab_size(tok)), WR_OK);
    wr_lexical_add(&counts, tok, &none, NULL, 1, &w);
    cr_assert(w.n == 1 && weight[0] == 1);
    wr_term_counts_release(&counts);
    wr_tokenizer_close(tok);
}

Test(lexical, a_query_counts_a_repeated_token_once_or_by_its_root)
{
    const float table[] = {0, 2, 3, 0.5F};
    wr_arena arena;
    wr_token_weights w;
    cr_assert_eq(wr_arena_init(&arena, 1 << 16), WR_OK);
    for (int root = 0; root < 2; root++) {
        uint32_t id[] = {2, 1, 2, 0, 9, 2, 3, 2, 0};
        wr_tokens tokens = {.id = id, .n = 9};
        cr_assert_eq(wr_idf_weigh(table, 4, root ? WR_QUERY_ROOT : WR_QUERY_SET, &tokens, &arena, &w), WR_OK);
        cr_assert_eq(w.n, 3);
        cr_assert(w.id[0] == 1 && w.id[1] == 2 && w.id[2] == 3);
        cr_assert(w.weight[0] == 2 && w.weight[2] == 0.5F);
        cr_assert_float_eq(w.weight[1], root ? 6 : 3, 0, "three, four times");
    }
    wr_arena_release(&arena);
}
