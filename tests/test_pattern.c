/* What tokenizers of decoders do to a text before they cut it: patterns and normalisers. Pieces are those of
 * `tokenizers` 0.23 (Split, isolated). */
#include <criterion/criterion.h>
#include <string.h>

#include "models/normalizer.h"
#include "models/pattern.h"
#include "tests/testlib.h"

#define TEXT "Hello world'S 123456 \n\n  x\xc3\xa9!? \xe6\xbc\xa2\xe5\xad\x97 we're\t(a) \xd9\xa3\xd9\xa4"

static wr_text text_of(const char *s)
{
    return (wr_text){s, strlen(s)};
}

/* The matches of a pattern that leaves nothing out, each behind the one before, with bars between. */
static void check_pieces(const char *source, const char *want)
{
    wr_pattern *pattern;
    wr_arena arena;
    wr_err err = {0};
    char got[300] = "";
    size_t at = 0, start, end;
    cr_assert_eq(wr_pattern_compile(&pattern, text_of(source), &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    void *memory = wr_pattern_memory(&arena);
    cr_assert_not_null(memory);
    while (!wr_pattern_find(pattern, memory, text_of(TEXT), at, &start, &end)) {
        cr_assert(start == at && end > start, "nothing is left out");
        if (at) strcat(got, "|");
        strncat(got, &TEXT[start], end - start);
        at = end;
    }
    cr_assert_eq(at, strlen(TEXT));
    cr_assert_str_eq(got, want);
    wr_arena_release(&arena);
    wr_pattern_free(pattern);
}

Test(pattern, pieces_are_those_of_llama_3_and_gpt_2)
{
    check_pieces("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
                 "\\s+(?!\\S)|\\s+",
                 "Hello| world|'S| |123|456| \n\n| | x\xc3\xa9|!?| \xe6\xbc\xa2\xe5\xad\x97| we|'re|\t|(a|)| |\xd9\xa3\xd9\xa4");
    check_pieces("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
                 "Hello| world|'|S| 123456| \n\n | x\xc3\xa9|!?| \xe6\xbc\xa2\xe5\xad\x97| we|'re|\t|(|a|)| \xd9\xa3\xd9\xa4");
}

Test(pattern, what_is_not_known_is_refused)
{
    static const char *const bad[] = {"(", "a*", "\\p{Greek}+", "(a)\\1", "[a"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        wr_pattern *pattern;
        wr_err err = {0};
        cr_assert_neq(wr_pattern_compile(&pattern, text_of(bad[i]), &err), WR_OK, "%s", bad[i]);
        cr_assert_gt(strlen(err.text), 0);
    }
}

Test(pattern, a_literal_is_found_as_it_stands)
{
    wr_pattern *pattern;
    wr_arena arena;
    wr_err err = {0};
    size_t start, end;
    cr_assert_eq(wr_pattern_literal(&pattern, text_of("<|im_end|>"), &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    void *memory = wr_pattern_memory(&arena);
    const wr_text text = text_of("im_end <|im_end|>.");
    cr_assert_eq(wr_pattern_find(pattern, memory, text, 0, &start, &end), WR_OK);
    cr_assert(start == 7 && end == 17);
    cr_assert_eq(wr_pattern_find(pattern, memory, text, 8, &start, &end), WR_STOPPED);
    wr_arena_release(&arena);
    wr_pattern_free(pattern);
}

Test(normalizer, steps_run_one_after_another)
{
    wr_normal normal = {0};
    wr_arena arena;
    wr_text out;
    size_t *origin;
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    cr_assert_eq(wr_normal_add(&normal, WR_NORMAL_PREPEND, text_of(""), text_of("\xe2\x96\x81")), WR_OK);
    cr_assert_eq(wr_normal_add(&normal, WR_NORMAL_REPLACE, text_of(" "), text_of("\xe2\x96\x81")), WR_OK);
    cr_assert_eq(wr_normalize(&normal, text_of("a  b"), &arena, &out, NULL), WR_OK);
    cr_assert(out.n == 11 && !memcmp(out.bytes, "\xe2\x96\x81" "a\xe2\x96\x81\xe2\x96\x81" "b", 11));
    cr_assert_eq(wr_normalize(&normal, text_of(""), &arena, &out, NULL), WR_OK);
    cr_assert_eq(out.n, 0);
    wr_normal_release(&normal);
    cr_assert_eq(wr_normal_add(&normal, WR_NORMAL_NFC, text_of(""), text_of("")), WR_OK);
    cr_assert_eq(wr_normalize(&normal, text_of("e\xcc\x81"), &arena, &out, &origin), WR_OK);
    cr_assert(out.n == 2 && !memcmp(out.bytes, "\xc3\xa9", 2));
    cr_assert(origin && origin[0] == 0);
    wr_normal_release(&normal);
    wr_arena_release(&arena);
}
