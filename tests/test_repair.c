/* Text repair. Expected texts are ftfy 6.3.1's; tests/golden/compare_repair.py compares thousands more. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "models/repair.h"

static wr_arena arena;

static void begin(void)
{
    cr_assert_eq(wr_arena_init(&arena, (size_t)256 << 20), WR_OK);
}

static void end(void)
{
    wr_arena_release(&arena);
}

TestSuite(repair, .init = begin, .fini = end);

static void gives(const char *text, size_t n, const char *want)
{
    wr_text out;
    cr_assert_eq(wr_repair((wr_text){text, n}, &arena, &out), WR_OK);
    cr_assert(out.n == strlen(want) && !memcmp(out.bytes, want, out.n), "\"%.*s\" is \"%.*s\", not \"%s\"", (int)n,
              text, (int)out.n, out.bytes, want);
    cr_assert_eq(wr_repair(out, &arena, &out), WR_OK);
    cr_assert(out.n == strlen(want) && !memcmp(out.bytes, want, out.n), "repaired twice: \"%.*s\"", (int)out.n,
              out.bytes);
}

#define GIVES(text, want) gives(text, sizeof(text) - 1, want)

Test(repair, plain_text_is_not_even_copied)
{
    wr_text text = {"nothing to do\nhere", 18}, out;
    cr_assert_eq(wr_repair(text, &arena, &out), WR_OK);
    cr_assert_eq(out.bytes, text.bytes);
}

Test(repair, mojibake_is_undone_however_often_it_happened)
{
    GIVES("doesn\xC3\xA2\xE2\x82\xAC\xE2\x84\xA2t", "doesn't");
    GIVES("caf\xC3\x83\xC2\xA9", "caf\xC3\xA9");
    GIVES("caf\xC3\x83\xC6\x92\xC3\x82\xC2\xA9", "caf\xC3\xA9");
    GIVES("voil\xC3\x83 le travail", "voil\xC3\xA0 le travail");
    GIVES("\xD0\xA0\xD1\x9F\xD0\xA1\xD0\x82\xD0\xA0\xD1\x91\xD0\xA0\xD0\x86\xD0\xA0\xC2\xB5\xD0\xA1\xE2\x80\x9A",
          "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82");
}

Test(repair, sound_text_in_any_script_stays)
{
    GIVES("\xC3\x9C"
          "bergr\xC3\xB6\xC3\x9F"
          "e, S\xC3\xA3o Paulo, 20 \xC2\xB0"
          "C",
          "\xC3\x9C"
          "bergr\xC3\xB6\xC3\x9F"
          "e, S\xC3\xA3o Paulo, 20 \xC2\xB0"
          "C");
    GIVES("\xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F\x98\x80", "\xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F\x98\x80");
}

Test(repair, entities_are_resolved_where_there_is_no_markup)
{
    GIVES("&lt;b&gt; &amp; &eacute;&#233;&#xE9; &#150; &unknown;",
          "<b> & \xC3\xA9\xC3\xA9\xC3\xA9 \xE2\x80\x93 &unknown;");
    GIVES("<b>&amp;</b>\n&amp;", "<b>&amp;</b>\n&amp;");
    GIVES("&amp;\n<b>", "&\n<b>");
}

Test(repair, characters_take_their_usual_form)
{
    GIVES("\xE2\x80\x9Cq\xE2\x80\x9D \xE2\x80\x98s\xE2\x80\x99", "\"q\" 's'");
    GIVES("\xEF\xAC\x81nd \xEF\xBC\xA6\xEF\xBD\x95\xE3\x80\x80w", "find Fu w");
    GIVES("e\xCC\x81", "\xC3\xA9");
    GIVES("a\r\nb\rc\xE2\x80\xA8"
          "d",
          "a\nb\nc\nd");
    GIVES("\x1b[31mred\x1b[0m\x01\x7f\xEF\xBB\xBF", "red");
    GIVES("a\0b", "ab");
    GIVES("bad \xFF byte", "bad \xEF\xBF\xBD byte");
}

Test(repair, lines_of_any_length_end)
{
    enum { N = 20000 };
    char *text = malloc(4 * N);
    wr_text out;
    for (size_t i = 0; i < N; i++) memcpy(text + 4 * i, "\xC3\x83\xC2\xA9", 4);
    cr_assert_eq(wr_repair((wr_text){text, 4 * N}, &arena, &out), WR_OK);
    cr_assert_eq(out.n, 2 * N);
    free(text);
}
