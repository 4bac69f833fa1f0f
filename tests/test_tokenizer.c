/* Ids as Hugging Face's `tokenizers` gives them. The tiny vocabulary here is written by the tests; the real one is that
 * of all-MiniLM-L6-v2 in build/models (make test fetches it). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "data/mapfile.h"
#include "models/tokenizer.h"
#include "tests/testlib.h"

static const char tiny[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\n##able\naff\n,\n!\ncafe\nthe\ncat\ns\n##s\n\xE4\xBD\xA0\n"
    "\xE5\xA5\xBD\ni\n\xE1\x84\x92\n##\xE1\x85\xA1\n##\xE1\x86\xAB\n";
enum { PAD, UNK, CLS, SEP, MASK, UN, XAFF, XABLE, AFF, COMMA, BANG, CAFE, THE, CAT, S, XS, NI, HAO, I, HA, XA, XN };

static wr_arena arena;
static wr_tokenizer *tok;
static wr_err err;

static void open_tiny(void)
{
    cr_assert_eq(wr_arena_init(&arena, 1 << 24), WR_OK);
    wr_test_text("vocab.txt", tiny);
    cr_assert_eq(wr_tokenizer_open(&tok, wr_test_dir(), &err), WR_OK, "%s", err.text);
}

static void close_tiny(void)
{
    wr_tokenizer_close(tok);
    tok = NULL;
    wr_arena_release(&arena);
}

static void same(const wr_tokens *got, const uint32_t *want, size_t n)
{
    cr_assert_eq(got->n, n, "%zu tokens, expected %zu", got->n, n);
    for (size_t i = 0; i < n; i++) cr_assert_eq(got->id[i], want[i], "token %zu: %u, not %u", i, got->id[i], want[i]);
}

#define GIVES(text, ...)                                                                                               \
    do {                                                                                                               \
        const uint32_t want[] = {__VA_ARGS__};                                                                         \
        wr_tokens got;                                                                                                 \
        cr_assert_eq(wr_tokenizer_encode(tok, text, sizeof(text) - 1, &arena, SIZE_MAX, &got), WR_OK);                 \
        same(&got, want, sizeof want / sizeof *want);                                                                  \
    } while (0)

TestSuite(tokenizer, .init = open_tiny, .fini = close_tiny);

Test(tokenizer, takes_the_longest_piece_first)
{
    GIVES("unaffable", UN, XAFF, XABLE);
    GIVES("The cats, the CAT!", THE, CAT, XS, COMMA, THE, CAT, BANG);
}

Test(tokenizer, a_word_with_an_unknown_rest_is_one_unknown_token)
{
    GIVES("unaffzable un", UNK, UN);
}

Test(tokenizer, strips_accents_and_lowers)
{
    GIVES("CAF\xC3\x89 caf\x65\xCC\x81 \xC4\xB0", CAFE, CAFE, I);
}

Test(tokenizer, cjk_characters_are_words_and_hangul_is_taken_apart)
{
    GIVES("\xE4\xBD\xA0\xE5\xA5\xBD"
          "cat",
          NI, HAO, CAT);
    GIVES("\xED\x95\x9C", HA, XA, XN);
}

Test(tokenizer, drops_nul_controls_and_invalid_bytes)
{
    GIVES("c\0a\x01t\xFF\xED\xA0\x80s\xE4\xBD", CAT, XS);
}

Test(tokenizer, special_tokens_in_the_text_are_special_tokens)
{
    GIVES("un[SEP]aff [sep]", UN, SEP, AFF, UNK, UNK, UNK);
}
