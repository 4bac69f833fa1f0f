/* Ids as Hugging Face's `tokenizers` gives them. The small vocabularies are written by the tests; the real one is that of
 * bert-base-uncased, which a model has to bring. tests/golden/compare_tokenizer.py compares far more. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/mapfile.h"
#include "models/tokenizer.h"
#include "models/vocab.h"
#include "tests/testlib.h"

static const char tiny[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\n##able\naff\n,\n!\ncafe\nthe\ncat\ns\n##s\n"
                           "\xE4\xBD\xA0\n\xE5\xA5\xBD\ni\n\xE1\x84\x92\n##\xE1\x85\xA1\n##\xE1\x86\xAB\n";
enum { PAD, UNK, CLS, SEP, MASK, UN, XAFF, XABLE, AFF, COMMA, BANG, CAFE, THE, CAT, S, XS, NI, HAO, I, HA, XA, XN };

static wr_arena arena;
static wr_tokenizer *tok;
static wr_err err;

static void begin(void)
{
    cr_assert_eq(wr_arena_init(&arena, (size_t)64 << 20), WR_OK);
}

static void begin_tiny(void)
{
    begin();
    wr_test_text("vocab.txt", tiny);
    cr_assert_eq(wr_tokenizer_open(&tok, wr_test_dir(), &err), WR_OK, "%s", err.text);
}

static void end(void)
{
    wr_tokenizer_close(tok);
    tok = NULL;
    wr_arena_release(&arena);
}

static wr_tokens encoded(const char *text, size_t n, size_t max)
{
    wr_tokens got;
    cr_assert_eq(wr_tokenizer_encode(tok, text, n, &arena, max, &got), WR_OK);
    return got;
}

static void same(const wr_tokens *got, const uint32_t *want, size_t n)
{
    cr_assert_eq(got->n, n, "%zu tokens, expected %zu", got->n, n);
    for (size_t i = 0; i < n; i++) cr_assert_eq(got->id[i], want[i], "token %zu: %u, not %u", i, got->id[i], want[i]);
}

#define GIVES(text, ...)                                                                                               \
    do {                                                                                                               \
        const uint32_t want_ids[] = {__VA_ARGS__};                                                                     \
        wr_tokens got_ids = encoded(text, sizeof(text) - 1, SIZE_MAX);                                                 \
        same(&got_ids, want_ids, sizeof want_ids / sizeof *want_ids);                                                  \
    } while (0)

/* ---- words and pieces */

TestSuite(tokenizer, .init = begin_tiny, .fini = end);

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
    GIVES("the\t\n\xC2\xA0 \xE2\x80\xA8the", THE, THE);
}

Test(tokenizer, special_tokens_in_the_text_are_special_tokens)
{
    GIVES("un[SEP]aff [sep]", UN, SEP, AFF, UNK, UNK, UNK);
    GIVES("[[MASK]] ", UNK, MASK, UNK);
}

Test(tokenizer, nothing_gives_nothing)
{
    cr_assert_eq(encoded("", 0, SIZE_MAX).n, 0);
    cr_assert_not_null(encoded("", 0, SIZE_MAX).id);
    cr_assert_eq(encoded(" \0\xC2\x80 ", 5, SIZE_MAX).n, 0);
    cr_assert_not(encoded("", 0, 0).cut);
    cr_assert(encoded("un", 2, 0).cut);
}

Test(tokenizer, a_word_of_more_than_100_characters_is_unknown)
{
    char word[2 * 101];
    for (size_t i = 0; i < 101; i++)
        memcpy(word + 2 * i, i ? "\xC3\xA9" : "un", 2); /* 'é' is two bytes, one character */
    cr_assert_eq(encoded(word, 200, SIZE_MAX).id[0], UNK);
    for (size_t i = 0; i < sizeof word; i++) word[i] = 's';
    cr_assert_eq(encoded(word, 100, SIZE_MAX).n, 100);
    cr_assert_eq(encoded(word, 101, SIZE_MAX).n, 1);
    cr_assert_eq(encoded(word, sizeof word, SIZE_MAX).id[0], UNK);
}

Test(tokenizer, at_most_max_are_the_first_of_all)
{
    const char text[] = "unaffable cats, [SEP]\xE4\xBD\xA0 the unaffable";
    wr_tokens all = encoded(text, sizeof text - 1, SIZE_MAX);
    cr_assert_not(all.cut);
    for (size_t max = 0; max <= all.n + 1; max++) {
        wr_tokens some = encoded(text, sizeof text - 1, max);
        same(&some, all.id, max < all.n ? max : all.n);
        cr_assert_eq(some.cut, max < all.n);
    }
}

Test(tokenizer, what_stands_behind_the_last_wanted_word_is_not_read)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *text = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(text, MAP_FAILED);
    for (size_t i = 0; i < page; i++) text[i] = "un "[i % 3];
    cr_assert_eq(mprotect(text + page, page, PROT_NONE), 0);
    wr_tokens got = encoded(text, 2 * page, 10);
    cr_assert_eq(got.n, 10);
    cr_assert(got.cut);
    munmap(text, 2 * page);
}

Test(tokenizer, the_ids_of_a_long_text_stay_in_one_piece)
{
    size_t n = 300000;
    char *text = malloc(3 * n);
    for (size_t i = 0; i < n; i++) memcpy(text + 3 * i, i % 2 ? "un " : "s, ", 3);
    wr_tokens got = encoded(text, 3 * n, SIZE_MAX);
    cr_assert_eq(got.n, n + n / 2);
    const uint32_t want[] = {S, COMMA, UN};
    for (size_t i = 0; i < got.n; i++) cr_assert_eq(got.id[i], want[i % 3]);
    free(text);
}

Test(tokenizer, an_exhausted_arena_is_said_and_leaves_nothing)
{
    wr_arena small;
    char text[8192];
    memset(text, '!', sizeof text);
    cr_assert_eq(wr_arena_init(&small, 4096), WR_OK);
    wr_tokens got;
    cr_assert_eq(wr_tokenizer_encode(tok, text, sizeof text, &small, SIZE_MAX, &got), WR_ENOMEM);
    cr_assert_eq(got.n, 0);
    cr_assert_null(got.id);
    wr_arena_release(&small);
}

/* ---- special tokens, pairs */

Test(tokenizer, a_single_text_stands_between_cls_and_sep)
{
    wr_tokens got;
    const uint32_t whole[] = {CLS, UN, XAFF, XABLE, SEP}, some[] = {CLS, UN, SEP}, none[] = {CLS, SEP};
    cr_assert_eq(wr_tokenizer_single(tok, "unaffable", 9, &arena, 5, &got), WR_OK);
    same(&got, whole, 5);
    cr_assert_not(got.cut);
    cr_assert_eq(wr_tokenizer_single(tok, "unaffable", 9, &arena, 3, &got), WR_OK);
    same(&got, some, 3);
    cr_assert(got.cut);
    cr_assert_eq(wr_tokenizer_single(tok, "unaffable", 9, &arena, 2, &got), WR_OK);
    same(&got, none, 2);
    cr_assert_eq(wr_tokenizer_single(tok, "", 0, &arena, 512, &got), WR_OK);
    same(&got, none, 2);
    cr_assert_not(got.cut);
}

static void pair_is(size_t na, size_t nb, size_t max, size_t want_a, size_t want_b)
{
    uint32_t ids[64], id[64];
    uint8_t type[64];
    bool cut;
    for (uint32_t i = 0; i < 64; i++) ids[i] = 100 + i;
    wr_tokens a = {ids, na, false}, b = {ids + 32, nb, false};
    size_t n = wr_tokenizer_pair(tok, &a, &b, max, id, type, &cut);
    cr_assert_eq(n, want_a + want_b + 3, "%zu and %zu in %zu: %zu", na, nb, max, n);
    cr_assert_eq(cut, want_a < na || want_b < nb);
    for (size_t i = 0; i < n; i++) {
        uint32_t want = i == 0                          ? (uint32_t)CLS
                        : i == want_a + 1 || i == n - 1 ? (uint32_t)SEP
                        : i <= want_a                   ? ids[i - 1]
                                                        : ids[32 + i - want_a - 2];
        cr_assert_eq(id[i], want);
        cr_assert_eq(type[i], i > want_a + 1);
    }
}

/* The cases of the Rust test truncate_encodings_longest_first: lengths 0, 2, 4 and 8 in 7. */
Test(tokenizer, a_pair_is_cut_longest_first)
{
    static const size_t want[][4] = {{0, 0, 0, 0}, {0, 2, 0, 2}, {0, 4, 0, 4}, {0, 8, 0, 7}, {2, 0, 2, 0}, {2, 2, 2, 2},
                                     {2, 4, 2, 4}, {2, 8, 2, 5}, {4, 0, 4, 0}, {4, 2, 4, 2}, {4, 4, 3, 4}, {4, 8, 3, 4},
                                     {8, 0, 7, 0}, {8, 2, 5, 2}, {8, 4, 4, 3}, {8, 8, 3, 4}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        pair_is(want[i][0], want[i][1], 7 + 3, want[i][2], want[i][3]);
    pair_is(5, 5, 3, 0, 0);
    pair_is(5, 5, 64, 5, 5);
}

Test(tokenizer, a_pair_never_exceeds_max)
{
    uint32_t ids[8] = {9}, id[16];
    uint8_t type[16];
    bool cut;
    for (size_t max = 2; max < 12; max++) {
        for (size_t i = 0; i < 64; i++) {
            wr_tokens a = {ids, i % 8, false}, b = {ids, i / 8, i == 63};
            size_t n = wr_tokenizer_pair(tok, &a, &b, max, id, type, &cut);
            cr_assert_leq(n, max);
            if (max > 2) cr_assert_eq(cut, n < a.n + b.n + 3 || b.cut);
        }
    }
}

/* ---- what is known about ids */

Test(tokenizer, ids_and_tokens_belong_together)
{
    cr_assert_eq(wr_tokenizer_vocab_size(tok), 22);
    cr_assert_eq(wr_tokenizer_id(tok, "##able"), XABLE);
    cr_assert_eq(wr_tokenizer_id(tok, "able"), -1);
    cr_assert_str_eq(wr_tokenizer_token(tok, XABLE), "##able");
    cr_assert_null(wr_tokenizer_token(tok, 22));
    cr_assert_null(wr_tokenizer_token(tok, UINT32_MAX));
    cr_assert(wr_tokenizer_is_special(tok, MASK));
    cr_assert_not(wr_tokenizer_is_special(tok, UN));
    cr_assert_not(wr_tokenizer_is_special(tok, UINT32_MAX));
}

/* The longest piece by looking at every token of the vocabulary for every length. */
static size_t cut_slowly(const char *const *token, size_t ntokens, const char *word, uint32_t *id)
{
    size_t n = strlen(word), count = 0;
    for (size_t from = 0; from < n;) {
        char piece[32] = "##";
        size_t len = n - from, t = ntokens;
        for (; len && t == ntokens; len -= t == ntokens) {
            snprintf(piece + 2, sizeof piece - 2, "%.*s", (int)len, word + from);
            for (t = 0; t < ntokens && strcmp(token[t], from ? piece : piece + 2); t++) continue;
        }
        if (t == ntokens) return 0;
        id[count++] = (uint32_t)t;
        from += len;
    }
    return count;
}

Test(tokenizer, pieces_are_those_of_the_obvious_search)
{
    wr_test_random random = {7};
    for (int round = 0; round < 50; round++) {
        char text[24][16];
        const char *token[24];
        wr_vocab vocab = {0};
        size_t ntokens = 0;
        while (ntokens < 24) {
            char *t = text[ntokens];
            size_t len = 1 + wr_test_below(&random, 4), at = wr_test_below(&random, 2) * 2;
            memcpy(t, "##", 2);
            for (size_t i = 0; i < len; i++) t[at + i] = "ab"[wr_test_below(&random, 2)];
            t[at + len] = '\0';
            bool known = false;
            for (size_t i = 0; i < ntokens; i++) known = known || !strcmp(token[i], t);
            if (known) continue;
            token[ntokens] = t;
            cr_assert_eq(wr_vocab_add(&vocab, t, strlen(t), (uint32_t)ntokens++), WR_OK);
        }
        cr_assert_eq(wr_vocab_seal(&vocab, "##"), WR_OK);
        for (int i = 0; i < 200; i++) {
            char word[13] = {0};
            size_t n = 1 + wr_test_below(&random, 12);
            for (size_t j = 0; j < n; j++) word[j] = "aabbc"[wr_test_below(&random, j == 11 ? 5 : 4)];
            uint32_t got[16], want[16];
            size_t count = wr_vocab_cut(&vocab, word, n, got);
            cr_assert_eq(count, cut_slowly(token, ntokens, word, want));
            cr_assert_eq(memcmp(got, want, count * sizeof *got), 0);
        }
        wr_vocab_release(&vocab);
    }
}

/* ---- tokenizer.json */

TestSuite(tokenizer_json, .init = begin, .fini = end);

#define VOCAB "{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,\"a\":3,\"b\":4,\"##b\":5,\"x\":6}"
#define MODEL_WITH(vocab)                                                                                              \
    "{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\","                            \
    "\"max_input_chars_per_word\":100,\"vocab\":" vocab "}"
#define MODEL MODEL_WITH(VOCAB)
#define BERT                                                                                                           \
    "{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":null,"           \
    "\"lowercase\":true}"
#define PRE "{\"type\":\"BertPreTokenizer\"}"
#define POST "{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",2],\"cls\":[\"[CLS]\",1]}"
#define ADDED(content, special, normalized, single, left, right)                                                       \
    "{\"id\":99,\"content\":\"" content "\",\"special\":" special ",\"normalized\":" normalized                        \
    ",\"single_word\":" single ",\"lstrip\":" left ",\"rstrip\":" right "}"

#define JSON(added, normalizer, pre, post, model)                                                                      \
    "{\"version\":\"1.0\",\"truncation\":{\"max_length\":2,\"strategy\":\"LongestFirst\",\"stride\":0},"               \
    "\"padding\":{\"strategy\":{\"Fixed\":9}},\"added_tokens\":[" added "],\"normalizer\":" normalizer                 \
    ",\"pre_tokenizer\":" pre ",\"post_processor\":" post ",\"decoder\":null,\"model\":" model "}"

static wr_status open_json(const char *json)
{
    wr_tokenizer_close(tok);
    wr_test_text("tokenizer.json", json);
    return wr_tokenizer_open(&tok, wr_test_dir(), &err);
}

Test(tokenizer_json, ignores_truncation_and_padding_of_the_file)
{
    cr_assert_eq(open_json(JSON("", BERT, PRE, POST, MODEL)), WR_OK, "%s", err.text);
    GIVES("a ab abbb x", 3, 3, 5, 3, 5, 5, 5, 6);
}

Test(tokenizer_json, goes_before_vocab_txt)
{
    wr_test_text("vocab.txt", tiny);
    cr_assert_eq(open_json(JSON("", BERT, PRE, POST, MODEL)), WR_OK, "%s", err.text);
    cr_assert_eq(wr_tokenizer_vocab_size(tok), 7);
}

Test(tokenizer_json, added_tokens_get_the_next_ids_and_are_found_first)
{
    cr_assert_eq(open_json(JSON(ADDED("ab", "false", "false", "false", "false",
                                      "false") "," ADDED("abb", "true", "false", "false", "false", "false"),
                                BERT, PRE, POST, MODEL)),
                 WR_OK, "%s", err.text);
    GIVES("xabbab", 6, 8, 7);
    GIVES("AB", 3, 5);
    cr_assert_eq(wr_tokenizer_vocab_size(tok), 9);
    cr_assert_str_eq(wr_tokenizer_token(tok, 8), "abb");
    cr_assert_eq(wr_tokenizer_id(tok, "ab"), 7);
    cr_assert(wr_tokenizer_is_special(tok, 8));
    cr_assert_not(wr_tokenizer_is_special(tok, 7));
}

Test(tokenizer_json, a_single_word_stands_alone)
{
    cr_assert_eq(open_json(JSON(ADDED("ab", "false", "false", "true", "false", "false"), BERT, PRE, POST, MODEL)),
                 WR_OK);
    GIVES("ab xab abx ab, (ab)", 7, 0, 0, 7, 0, 0, 7, 0);
    GIVES("\xCC\xB0"
          "ab ab\xE2\x92\xB6 ab",
          3, 5, 0, 7); /* marks and circled letters belong to words */
}

Test(tokenizer_json, a_normalized_token_is_found_in_normalised_text)
{
    cr_assert_eq(open_json(JSON(ADDED("\\u00c1B", "false", "true", "false", "false", "false"), BERT, PRE, POST, MODEL)),
                 WR_OK);
    GIVES("xaBx x\xC3\xA1\x01\xC3\xA2"
          "b",
          6, 7, 6, 0, 7);
}

Test(tokenizer_json, white_space_that_a_token_strips_is_gone_for_others)
{
    cr_assert_eq(open_json(JSON(ADDED("<m>", "false", "false", "false", "true",
                                      "true") "," ADDED(" ", "false", "false", "false", "true", "false"),
                                BERT, PRE, POST, MODEL)),
                 WR_OK);
    GIVES("a <m> a  b", 3, 8, 7, 3, 8, 8, 4);
}

Test(tokenizer_json, templates_say_what_stands_where)
{
    const char *post =
        "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},"
        "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":1}},"
        "{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":1}},{\"Sequence\":{\"id\":\"B\",\"type_id\":0}}],"
        "\"special_tokens\":{\"[CLS]\":{\"id\":\"[CLS]\",\"ids\":[1],\"tokens\":[\"[CLS]\"]},"
        "\"[SEP]\":{\"id\":\"[SEP]\",\"ids\":[2],\"tokens\":[\"[SEP]\"]}}}";
    char json[4096];
    snprintf(json, sizeof json, JSON("", BERT, PRE, "%s", MODEL), post);
    cr_assert_eq(open_json(json), WR_OK, "%s", err.text);
    wr_tokens a;
    cr_assert_eq(wr_tokenizer_single(tok, "ab x", 4, &arena, 3, &a), WR_OK);
    same(&a, (const uint32_t[]){1, 3, 5}, 3);
    cr_assert(a.cut);
    a = encoded("x", 1, 9);
    const uint32_t want[] = {6, 2, 6};
    const uint8_t want_type[] = {1, 1, 0};
    uint32_t id[5];
    uint8_t type[5];
    bool cut;
    cr_assert_eq(wr_tokenizer_pair(tok, &a, &a, 9, id, type, &cut), 3);
    cr_assert_eq(memcmp(id, want, sizeof want), 0);
    cr_assert_eq(memcmp(type, want_type, sizeof want_type), 0);
}

Test(tokenizer_json, sequences_of_one_component_are_that_component)
{
    cr_assert_eq(open_json(JSON("", "{\"type\":\"Sequence\",\"normalizers\":[" BERT "]}",
                                "{\"type\":\"Sequence\",\"pretokenizers\":[" PRE "]}",
                                "{\"type\":\"Sequence\",\"processors\":[" POST "]}", MODEL)),
                 WR_OK, "%s", err.text);
    GIVES("A\xC3\x81", 0);
    GIVES("AB!", 3, 5, 0);
}

Test(tokenizer_json, refuses_what_it_cannot_do_by_name)
{
    static const struct {
        const char *json, *says;
    } refused[] = {
        {JSON("", "{\"type\":\"Lowercase\"}", PRE, POST, MODEL), "Lowercase"},
        {JSON("", "{\"type\":\"Sequence\",\"normalizers\":[" BERT "," BERT "]}", PRE, POST, MODEL), "Sequence"},
        {JSON("", BERT, "{\"type\":\"Whitespace\"}", POST, MODEL), "Whitespace"},
        {JSON("", BERT, "null", POST, MODEL), "pre-tokenizer"},
        {JSON("", BERT, PRE, "{\"type\":\"RobertaProcessing\"}", MODEL), "RobertaProcessing"},
        {JSON("", BERT, PRE, POST, "{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}"), "BPE"},
        {JSON("", BERT, PRE, POST, "{\"type\":\"Unigram\",\"vocab\":[]}"), "Unigram"},
        {JSON(ADDED("\\u0301", "false", "true", "false", "false", "false"), BERT, PRE, POST, MODEL), "empty"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        cr_assert_eq(open_json(refused[i].json), WR_EUNSUPPORTED, "case %zu", i);
        cr_assert_null(tok);
        cr_assert(strstr(err.text, refused[i].says), "case %zu: %s", i, err.text);
        cr_assert(strstr(err.text, "tokenizer.json"), "%s", err.text);
    }
}

Test(tokenizer_json, refuses_what_is_malformed)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{\"model\":",
        JSON("", BERT, PRE, POST, "null"),
        JSON("", BERT, PRE, POST, MODEL_WITH("[]")),
        JSON("", BERT, PRE, POST, MODEL_WITH("{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":1}")),
        JSON("", BERT, PRE, POST, MODEL_WITH("{\"[UNK]\":0,\"[CLS]\":-1}")),
        JSON("", BERT, PRE, POST, MODEL_WITH("{\"[UNK]\":4294967296}")),
        JSON("", BERT, PRE, POST, MODEL_WITH("{\"[UNK]\":1.5}")),
        JSON("", BERT, PRE, POST, MODEL_WITH("{\"a\":0,\"[CLS]\":1,\"[SEP]\":2}")),
        JSON("", BERT, PRE, POST, MODEL_WITH("{\"[UNK]\":0}")), /* the post-processor's ids are no token's */
        JSON("", "{\"type\":\"BertNormalizer\"}", PRE, POST, MODEL),
        JSON("{\"content\":\"q\"}", BERT, PRE, POST, MODEL),
        JSON(ADDED("q", "true", "false", "false", "false", "false") "," ADDED("q", "false", "false", "false", "false",
                                                                              "false"),
             BERT, PRE, POST, MODEL),
        JSON("", BERT, PRE, "{\"type\":\"BertProcessing\",\"sep\":2}", MODEL),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        wr_status st = open_json(bad[i]);
        cr_assert_eq(st, WR_EFORMAT, "case %zu: %d %s", i, st, err.text);
        cr_assert_null(tok);
        cr_assert(strstr(err.text, "tokenizer.json"), "%s", err.text);
    }
}

/* ---- vocab.txt */

TestSuite(tokenizer_text, .init = begin, .fini = end);

static wr_status open_text(const char *vocab, const char *config)
{
    wr_tokenizer_close(tok);
    wr_test_text("vocab.txt", vocab);
    wr_test_text("tokenizer_config.json", config);
    return wr_tokenizer_open(&tok, wr_test_dir(), &err);
}

Test(tokenizer_text, settings_come_from_tokenizer_config)
{
    cr_assert_eq(open_text(tiny, "{\"do_lower_case\":false}"), WR_OK, "%s", err.text);
    GIVES("the The caf\xC3\xA9", THE, UNK, UNK);
    cr_assert_eq(open_text(tiny, "{\"do_lower_case\":false,\"strip_accents\":true}"), WR_OK, "%s", err.text);
    GIVES("The caf\xC3\xA9", UNK, CAFE);
    cr_assert_eq(open_text(tiny, "{\"strip_accents\":false,\"tokenizer_class\":\"DistilBertTokenizer\"}"), WR_OK);
    GIVES("The caf\xC3\xA9", THE, UNK);
    cr_assert_eq(open_text(tiny, "{\"tokenize_chinese_chars\":false}"), WR_OK, "%s", err.text);
    GIVES("\xE4\xBD\xA0\xE5\xA5\xBD \xE4\xBD\xA0", UNK, NI);
}

Test(tokenizer_text, lines_may_end_with_carriage_returns)
{
    cr_assert_eq(open_text("[UNK]\r\n[CLS]\r\n[SEP]\r\ncat\r\n", "{}"), WR_OK, "%s", err.text);
    GIVES("cat", 3);
}

Test(tokenizer_text, special_tokens_may_have_other_names)
{
    cr_assert_eq(open_text("<u>\n<c>\n<s>\ncat\n", "{\"unk_token\":\"<u>\",\"cls_token\":{\"content\":\"<c>\"}}"),
                 WR_EFORMAT);
    cr_assert(strstr(err.text, "sep_token"), "%s", err.text);
    wr_test_text("special_tokens_map.json", "{\"sep_token\":\"<s>\",\"mask_token\":\"<m>\"}");
    cr_assert_eq(open_text("<u>\n<c>\n<s>\ncat\n", "{\"unk_token\":\"<u>\",\"cls_token\":{\"content\":\"<c>\"}}"),
                 WR_OK);
    GIVES("dog<s>cat<m>[MASK]", 0, 2, 3, 4, 0, 0, 0);
    cr_assert(wr_tokenizer_is_special(tok, 2));
}

Test(tokenizer_text, refuses_what_is_not_bert)
{
    cr_assert_eq(open_text(tiny, "{\"tokenizer_class\":\"BertJapaneseTokenizer\"}"), WR_EUNSUPPORTED);
    cr_assert(strstr(err.text, "BertJapaneseTokenizer"), "%s", err.text);
    cr_assert_eq(open_text(tiny, "[1]"), WR_EFORMAT);
    cr_assert_eq(open_text("[UNK]\n[CLS]\n[SEP]\n\xFF\n", "{}"), WR_EFORMAT);
    cr_assert(strstr(err.text, "line 4"), "%s", err.text);
    cr_assert_eq(open_text("", "{}"), WR_EFORMAT);
    cr_assert_null(tok);
}

Test(tokenizer_text, an_empty_folder_has_no_tokenizer)
{
    cr_assert_eq(wr_tokenizer_open(&tok, wr_test_dir(), &err), WR_ENOTFOUND);
    cr_assert_null(tok);
}

/* ---- the real vocabulary */

TestSuite(tokenizer_golden, .init = begin, .fini = end);

static size_t unescape(const char *from, size_t n, char *to)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (from[i] == '\\') {
            char hex[3] = {from[i + 2], from[i + 3], 0};
            to[count++] = (char)strtoul(hex, NULL, 16);
            i += 3;
        } else {
            to[count++] = from[i];
        }
    }
    return count;
}

Test(tokenizer_golden, ids_are_those_of_hugging_face)
{
    cr_assert_eq(wr_tokenizer_open(&tok, wr_test_uncased_or_skip(), &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_tokenizer_vocab_size(tok), 30522);
    char *bytes, text[4096];
    size_t size, lines = 0;
    cr_assert_eq(wr_file_read("tests/golden/tokenizer.txt", (size_t)1 << 20, &bytes, &size, &err), WR_OK, "%s",
                 err.text);
    for (char *line = bytes, *next; line < bytes + size; line = next + 1, lines++) {
        next = strchr(line, '\n');
        char *tab = strchr(line, '\t');
        cr_assert(next && tab && tab < next && tab - line < (long)sizeof text);
        size_t n = unescape(line, (size_t)(tab - line), text), want = 0;
        wr_tokens got = encoded(text, n, SIZE_MAX);
        for (char *at = tab + 1, *stop; at < next; at = stop + 1, want++) {
            unsigned long id = strtoul(at, &stop, 10);
            cr_assert(want < got.n && got.id[want] == id, "line %zu, token %zu", lines + 1, want);
        }
        cr_assert_eq(got.n, want, "line %zu: %zu tokens, expected %zu", lines + 1, got.n, want);
        wr_arena_reset(&arena, 0);
    }
    cr_assert_eq(lines, 300);
    free(bytes);
}

Test(tokenizer_golden, vocab_txt_gives_the_same_as_tokenizer_json)
{
    wr_tokenizer *other;
    char *vocab, path[128];
    const char *uncased = wr_test_uncased_or_skip();
    size_t n;
    cr_assert_eq(wr_tokenizer_open(&tok, uncased, &err), WR_OK, "%s", err.text);
    snprintf(path, sizeof path, "%s/vocab.txt", uncased);
    cr_assert_eq(wr_file_read(path, (size_t)1 << 20, &vocab, &n, &err), WR_OK);
    wr_test_file("vocab.txt", vocab, n);
    cr_assert_eq(wr_tokenizer_open(&other, wr_test_dir(), &err), WR_OK, "%s", err.text);
    wr_tokens a, b; /* the vocabulary itself is a text with every token in it */
    cr_assert_eq(wr_tokenizer_single(tok, vocab, n, &arena, SIZE_MAX, &a), WR_OK);
    cr_assert_eq(wr_tokenizer_single(other, vocab, n, &arena, SIZE_MAX, &b), WR_OK);
    cr_assert_gt(a.n, 30522);
    same(&a, b.id, b.n);
    free(vocab);
    wr_tokenizer_close(other);
}

/* ---- what users write never becomes a special token */

static wr_text guarded(const char *text)
{
    wr_text out;
    cr_assert_eq(wr_tokenizer_guard(tok, (wr_text){text, strlen(text)}, &arena, &out), WR_OK);
    return out;
}

static size_t specials_in(wr_text text)
{
    wr_tokens got = encoded(text.bytes, text.n, SIZE_MAX);
    size_t n = 0;
    for (size_t i = 0; i < got.n; i++) n += wr_tokenizer_is_special(tok, got.id[i]) && got.id[i] != UNK;
    return n;
}

Test(tokenizer, guard_breaks_special_tokens_with_a_space)
{
    static const char clean[] = "the cat [sep SEP] [ MASK ]";
    wr_text out = guarded("the [SEP] cat[CLS][MASK]");
    cr_assert_eq(out.n, strlen("the [ SEP] cat[ CLS][ MASK]"));
    cr_assert_arr_eq(out.bytes, "the [ SEP] cat[ CLS][ MASK]", out.n);
    cr_assert_eq(specials_in((wr_text){"[SEP]", 5}), 1);
    cr_assert_eq(specials_in(out), 0);
    out = guarded(clean);
    cr_assert_eq(out.bytes, clean);
    out = guarded("[[SEP]SEP]");
    cr_assert_eq(specials_in(out), 0);
    out = guarded("");
    cr_assert_eq(out.n, 0);
}

Test(tokenizer, guard_repairs_what_is_no_utf8)
{
    wr_text out = guarded("a\xFF[SEP]");
    cr_assert_eq(out.n, 10);
    cr_assert_arr_eq(out.bytes, "a\xEF\xBF\xBD[ SEP]", out.n);
}

/* Special tokens that are looked for in normalised text, that are one character, that begin and end with spaces. */
static const char odd[] =
    "{\"added_tokens\":["
    "{\"content\":\"<E\xCC\x81>\",\"special\":true,\"normalized\":true,\"single_word\":false,\"lstrip\":true,\"rstrip\":true},"
    "{\"content\":\"X\",\"special\":true,\"normalized\":false,\"single_word\":false,\"lstrip\":false,\"rstrip\":false},"
    "{\"content\":\" y\",\"special\":true,\"normalized\":false,\"single_word\":false,\"lstrip\":false,\"rstrip\":false},"
    "{\"content\":\"a  b\",\"special\":true,\"normalized\":false,\"single_word\":false,\"lstrip\":false,\"rstrip\":false},"
    "{\"content\":\"ab\",\"special\":true,\"normalized\":false,\"single_word\":true,\"lstrip\":false,\"rstrip\":false},"
    "{\"content\":\"a b\",\"special\":true,\"normalized\":false,\"single_word\":false,\"lstrip\":false,\"rstrip\":false}],"
    "\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,"
    "\"strip_accents\":null,\"lowercase\":true},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
    "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"?\",\"continuing_subword_prefix\":\"##\","
    "\"max_input_chars_per_word\":100,\"vocab\":{\"?\":0,\"a\":1,\"b\":2,\"e\":3,\"y\":4,\"<\":5,\">\":6}}}";

Test(tokenizer_odd, guard_breaks_every_kind_of_special_token, .init = begin, .fini = end)
{
    static const char *const text[] = {"a <\xC3\x89> b", "a  <e>", "<e\xCC\x81>", "X", "aXXb", "b y", "  y", "ab", "a b", "a  b", "aXb ab",
                                       "a<e>b<\xC3\xA9>\xE4\xB8\xAD<e>"};
    wr_test_text("tokenizer.json", odd);
    cr_assert_eq(wr_tokenizer_open(&tok, wr_test_dir(), &err), WR_OK, "%s", err.text);
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        cr_assert_gt(specials_in((wr_text){text[i], strlen(text[i])}), 0, "%s", text[i]);
        wr_text out = guarded(text[i]);
        cr_assert_eq(specials_in(out), 0, "%s -> %.*s", text[i], (int)out.n, out.bytes);
    }
}

Test(tokenizer, bytes_are_those_of_the_text)
{
    static const struct {
        uint32_t id;
        const char *bytes;
    } want[] = {{XAFF, "aff"}, {UN, "un"}, {SEP, "[SEP]"}, {NI, "\xE4\xBD\xA0"}};
    char out[8];
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        size_t n = strlen(want[i].bytes);
        cr_assert_eq(wr_tokenizer_bytes(tok, want[i].id, out, sizeof out), n);
        cr_assert_arr_eq(out, want[i].bytes, n);
    }
    cr_assert_eq(wr_tokenizer_bytes(tok, XABLE, out, 2), 4);
    cr_assert_arr_eq(out, "ab", 2);
    cr_assert_eq(wr_tokenizer_bytes(tok, XABLE, NULL, 0), 4);
    cr_assert_eq(wr_tokenizer_bytes(tok, 1000, out, sizeof out), 0);
}
