#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "indexer/analyzer.h"
#include "tests/testlib.h"

/* Terms joined by "|". */
static const char *terms_n(const char *name, const char *text, size_t n)
{
    static char joined[4096];
    wr_arena arena;
    wr_analyzer *analyzer;
    wr_term *term;
    size_t count, used = 0;
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    cr_assert_eq(wr_analyzer_open(&analyzer, name, NULL), WR_OK);
    cr_assert_eq(wr_analyzer_terms(analyzer, text, n, &arena, &term, &count), WR_OK);
    joined[0] = '\0';
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(joined + used, sizeof joined - used, "%s%.*s", i ? "|" : "", (int)term[i].len,
                                 term[i].text);
    wr_analyzer_close(analyzer);
    wr_arena_release(&arena);
    return joined;
}

static const char *terms(const char *name, const char *text)
{
    return terms_n(name, text, strlen(text));
}

Test(analyzer, english_drops_stop_words_and_stems)
{
    cr_assert_str_eq(terms("english", "The Cats are running, and it was NOT raining!"), "cat|run|rain");
    cr_assert_str_eq(terms("english", "don't U.S.A. snake_case x86_64 3.14 C++"), "don|snake_cas|x86_64|14");
    cr_assert_str_eq(terms("english", ""), "");
    cr_assert_str_eq(terms("english", " \t\n--- the a an"), "");
}

Test(analyzer, repeats_and_order_are_kept)
{
    cr_assert_str_eq(terms("english", "dogs bark dog barked dogs"), "dog|bark|dog|bark|dog");
}

Test(analyzer, none_keeps_words_as_they_are)
{
    cr_assert_str_eq(terms("none", "The Cats are running"), "the|cats|are|running");
}

Test(analyzer, other_languages_have_their_stemmer_and_stop_words)
{
    cr_assert_str_eq(terms("german", "Die Katzen und der Hund für ÄPFEL"), "katz|hund|apfel");
    cr_assert_str_eq(terms("french", "L'homme et les chevaux qu'il était"), "homm|cheval");
    cr_assert_str_eq(terms("russian", "Кошки и собаки"), "кошк|собак");
    cr_assert_str_eq(terms("hungarian", "házak"), "ház");
}

Test(analyzer, words_are_letters_digits_and_marks_of_any_script)
{
    cr_assert_str_eq(terms("none", "naïve café — ΑΘΗΝΑ 東京 हिन्दी ٣٤٥"), "naïve|café|αθηνα|東京|हिन्दी|٣٤٥");
    cr_assert_str_eq(terms("none", "cafe\xcc\x81 caf\xc3\xa9"), "café|café");
}

Test(analyzer, invalid_utf8_separates_words)
{
    cr_assert_str_eq(terms("none", "ab\xff"
                                   "cd\xc3 ef\xed\xa0\x80gh\xe6\x9d"),
                     "ab|cd|ef|gh");
    cr_assert_str_eq(terms_n("none", "ab\0cd", 5), "ab|cd");
}

Test(analyzer, long_words_are_cut_at_a_character)
{
    char text[1200];
    for (size_t i = 0; i < 600; i++) memcpy(text + 2 * i, "\xc3\xa9", 2); /* é */
    const char *got = terms_n("none", text, sizeof text);
    cr_assert_eq(strlen(got), 254);
    cr_assert_eq(memcmp(got, text, 254), 0);
    memset(text, 'a', sizeof text);
    cr_assert_eq(strlen(terms_n("none", text, sizeof text)), 255);
}

Test(analyzer, unknown_names_are_refused_with_those_that_exist)
{
    wr_analyzer *analyzer = (wr_analyzer *)1;
    wr_err err;
    cr_assert_eq(wr_analyzer_open(&analyzer, "klingon", &err), WR_EARG);
    cr_assert_null(analyzer);
    cr_assert(strstr(err.text, "klingon") && strstr(err.text, "none") && strstr(err.text, "english"));
    cr_assert_eq(wr_analyzer_open(&analyzer, "", &err), WR_EARG);
    cr_assert_eq(wr_analyzer_open(&analyzer, "en", &err), WR_EARG);
}

Test(analyzer, any_bytes_give_terms_within_bounds)
{
    wr_test_random random = {3};
    wr_arena arena;
    wr_analyzer *analyzer;
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    cr_assert_eq(wr_analyzer_open(&analyzer, "english", NULL), WR_OK);
    for (int round = 0; round < 3000; round++) {
        char text[300];
        wr_term *term;
        size_t n = wr_test_below(&random, sizeof text + 1), count, total = 0;
        for (size_t i = 0; i < n; i++)
            text[i] =
                (char)(wr_test_below(&random, 3) ? 0x80 + wr_test_below(&random, 128) : wr_test_below(&random, 128));
        cr_assert_eq(wr_analyzer_terms(analyzer, text, n, &arena, &term, &count), WR_OK);
        for (size_t i = 0; i < count; i++) {
            cr_assert(term[i].len >= 1 && term[i].len <= WR_MAX_TERM);
            total += term[i].len;
        }
        cr_assert_leq(total, 2 * n + 8);
        wr_arena_reset(&arena, 1 << 20);
    }
    wr_analyzer_close(analyzer);
    wr_arena_release(&arena);
}

Test(analyzer, an_exhausted_arena_is_told)
{
    wr_arena arena;
    wr_analyzer *analyzer;
    wr_term *term;
    size_t count;
    static char text[1 << 16];
    memset(text, 'x', sizeof text);
    cr_assert_eq(wr_arena_init(&arena, 4096), WR_OK);
    cr_assert_eq(wr_analyzer_open(&analyzer, "english", NULL), WR_OK);
    cr_assert_eq(wr_analyzer_terms(analyzer, text, sizeof text, &arena, &term, &count), WR_ENOMEM);
    wr_analyzer_close(analyzer);
    wr_arena_release(&arena);
}
