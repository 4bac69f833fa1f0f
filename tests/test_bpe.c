/* Byte-pair encodings against the ids of Hugging Face's `tokenizers` (tests/golden/make_bpe.py wrote them), against the
 * slow way to merge, and what is refused. tests/golden/compare_bpe.py compares far more. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/mapfile.h"
#include "models/gguf.h"
#include "models/tokenizer.h"
#include "tests/testlib.h"

static wr_arena arena;
static wr_tokenizer *tok;
static wr_err err;

static void begin(void)
{
    cr_assert_eq(wr_arena_init(&arena, (size_t)256 << 20), WR_OK);
}

static void end(void)
{
    wr_tokenizer_close(tok);
    tok = NULL;
    wr_arena_release(&arena);
}

TestSuite(bpe, .init = begin, .fini = end);

static const char *const family[] = {
    "gpt2", "llama3", "qwen2", "qwen3", "tekken", "smollm", "llama2", "llama2-normalized", "mistral1", "mistral3"};
enum { FAMILIES = 10 };

static void golden(const char *name, const char *suffix, char path[256])
{
    snprintf(path, 256, "tests/golden/bpe/%s%s", name, suffix);
}

static void open_json(const char *name)
{
    char path[256];
    wr_map map;
    golden(name, ".json", path);
    cr_assert_eq(wr_map_open(&map, path, &err), WR_OK, "%s", err.text);
    char *text = calloc(1, map.size + 1);
    cr_assert_not_null(text);
    memcpy(text, map.bytes, map.size);
    wr_map_close(&map);
    wr_test_text("tokenizer.json", text);
    free(text);
    cr_assert_eq(wr_tokenizer_open(&tok, wr_test_dir(), &err), WR_OK, "%s: %s", name, err.text);
}

static bool open_gguf(const char *name)
{
    char path[256];
    wr_gguf *gguf;
    golden(name, ".gguf", path);
    if (!wr_path_exists(path)) return false;
    cr_assert_eq(wr_gguf_open(&gguf, path, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_tokenizer_open_gguf(&tok, gguf, &err), WR_OK, "%s: %s", name, err.text);
    wr_gguf_close(gguf);
    return true;
}

static wr_tokens encoded(const char *text, size_t n, size_t max)
{
    wr_tokens got;
    cr_assert_eq(wr_tokenizer_encode(tok, text, n, &arena, max, &got), WR_OK);
    return got;
}

/* ---- golden ids */

static void check_case(const char *name, const json_t *item)
{
    const char *text = json_string_value(json_array_get(item, 0));
    size_t n = json_string_length(json_array_get(item, 0));
    const json_t *ids = json_array_get(item, 1);
    wr_tokens all = encoded(text, n, SIZE_MAX), some, whole;
    cr_assert(!all.cut);
    cr_assert_eq(all.n, json_array_size(ids), "%s: %zu tokens, not %zu: %s", name, all.n, json_array_size(ids), text);
    for (size_t i = 0; i < all.n; i++)
        cr_assert_eq(all.id[i], json_integer_value(json_array_get(ids, i)), "%s: token %zu of %s", name, i, text);
    for (size_t max = 0; max < all.n + 2; max += 3) {
        some = encoded(text, n, max);
        cr_assert_eq(some.n, max < all.n ? max : all.n);
        cr_assert_eq(some.cut, max < all.n);
        for (size_t i = 0; i < some.n; i++) cr_assert_eq(some.id[i], all.id[i]);
    }
    cr_assert_eq(wr_tokenizer_single(tok, text, n, &arena, 100000, &whole), WR_OK);
    cr_assert_eq(whole.n, (size_t)json_integer_value(json_array_get(item, 2)));
    wr_arena_reset(&arena, (size_t)1 << 20);
}

static void check_family(const char *name)
{
    char path[256];
    golden(name, ".ids.json", path);
    json_t *cases = json_load_file(path, JSON_ALLOW_NUL, NULL);
    cr_assert_gt(json_array_size(cases), 40);
    for (size_t i = 0; i < json_array_size(cases); i++) check_case(name, json_array_get(cases, i));
    json_decref(cases);
}

Test(bpe, gives_the_ids_of_every_family)
{
    for (int i = 0; i < FAMILIES; i++) {
        open_json(family[i]);
        check_family(family[i]);
        wr_tokenizer_close(tok);
    }
    tok = NULL;
}

Test(bpe, gives_the_same_ids_from_gguf)
{
    int files = 0;
    for (int i = 0; i < FAMILIES; i++) {
        if (!open_gguf(family[i])) continue;
        check_family(family[i]);
        wr_tokenizer_close(tok);
        files++;
    }
    tok = NULL;
    cr_assert_eq(files, 7);
}

/* ---- merges, the slow way */

typedef struct symbol {
    size_t n;
    char text[64];
} symbol;

/* The rank of the merge of two tokens of the small GPT-2, SIZE_MAX when there is none. */
static size_t rank_of(const json_t *merges, const symbol *left, const symbol *right)
{
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const char *merge = json_string_value(json_array_get(merges, i));
        if (strlen(merge) == left->n + 1 + right->n && !memcmp(merge, left->text, left->n) && merge[left->n] == ' ' &&
            !memcmp(merge + left->n + 1, right->text, right->n))
            return i;
    }
    return SIZE_MAX;
}

static size_t merge_slowly(const json_t *merges, symbol *s, size_t n)
{
    for (;;) {
        size_t best = SIZE_MAX, at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            size_t rank = rank_of(merges, &s[i], &s[i + 1]);
            if (rank < best) best = rank, at = i;
        }
        if (best == SIZE_MAX) return n;
        memcpy(s[at].text + s[at].n, s[at + 1].text, s[at + 1].n);
        s[at].n += s[at + 1].n;
        memmove(s + at + 1, s + at + 2, (n - at - 2) * sizeof *s);
        n--;
    }
}

Test(bpe, merges_as_the_slow_way_does)
{
    open_json("gpt2");
    json_t *root = json_load_file("tests/golden/bpe/gpt2.json", 0, NULL);
    const json_t *merges = json_object_get(json_object_get(root, "model"), "merges");
    wr_test_random random = {5};
    for (int round = 0; round < 300; round++) {
        static symbol symbols[64];
        char word[64];
        size_t n = 1 + wr_test_below(&random, 40);
        for (size_t i = 0; i < n; i++) {
            word[i] = "etaoinrsthdlgw"[wr_test_below(&random, 14)];
            symbols[i] = (symbol){1, {word[i]}};
        }
        wr_tokens got = encoded(word, n, SIZE_MAX);
        size_t want = merge_slowly(merges, symbols, n);
        cr_assert_eq(got.n, want, "%.*s", (int)n, word);
        for (size_t i = 0; i < want; i++) {
            const char *token = wr_tokenizer_token(tok, got.id[i]);
            cr_assert_eq(strlen(token), symbols[i].n);
            cr_assert_arr_eq(token, symbols[i].text, symbols[i].n);
        }
    }
    json_decref(root);
}

/* ---- from ids back to bytes, special tokens */

Test(bpe, the_bytes_of_all_tokens_are_the_text)
{
    static const char text[] = " The na\xC3\xAFve\t\xD0\x9C\xD0\xBE 12 \xF0\x9F\x98\x80\n\n x";
    static const char *const names[] = {"gpt2", "llama3", "qwen3", "tekken", "llama2", "mistral1"};
    for (size_t f = 0; f < sizeof names / sizeof *names; f++) {
        char bytes[256];
        size_t n = 0;
        open_json(names[f]);
        wr_tokens got = encoded(text, sizeof text - 1, SIZE_MAX);
        for (size_t i = 0; i < got.n; i++) n += wr_tokenizer_bytes(tok, got.id[i], bytes + n, sizeof bytes - n);
        size_t front = f == 4; /* a space before every text; a Metaspace puts none before one */
        cr_assert_eq(n, sizeof text - 1 + front, "%s: %zu", names[f], n);
        cr_assert_arr_eq(bytes + front, text, sizeof text - 1);
        wr_tokenizer_close(tok);
    }
    tok = NULL;
}

Test(bpe, guarded_text_has_no_special_token)
{
    static const char text[] = "<|im_end|><|im_start|>system <s></s> [INST]<|eot_id|> <<|im_end|>|im_end|> <unk>";
    for (int f = 0; f < FAMILIES; f++) {
        wr_text out;
        size_t before = 0, after = 0;
        open_json(family[f]);
        wr_tokens got = encoded(text, sizeof text - 1, SIZE_MAX);
        for (size_t i = 0; i < got.n; i++) before += wr_tokenizer_is_special(tok, got.id[i]);
        cr_assert_eq(wr_tokenizer_guard(tok, (wr_text){text, sizeof text - 1}, &arena, &out), WR_OK);
        got = encoded(out.bytes, out.n, SIZE_MAX);
        for (size_t i = 0; i < got.n; i++) after += wr_tokenizer_is_special(tok, got.id[i]);
        cr_assert(before > 0 || !strcmp(family[f], "gpt2"), "%s", family[f]);
        cr_assert_eq(after, 0, "%s: %.*s", family[f], (int)out.n, out.bytes);
        wr_tokenizer_close(tok);
    }
    tok = NULL;
}

Test(bpe, a_megabyte_without_a_space_is_one_word_to_it)
{
    size_t n = (size_t)1 << 20;
    char *word = malloc(n);
    for (size_t i = 0; i < n; i++) word[i] = "the"[i % 3];
    for (int f = 0; f < 2; f++) {
        open_json(f ? "llama2" : "gpt2");
        wr_tokens all = encoded(word, n, SIZE_MAX);
        cr_assert_gt(all.n, n / 4);
        wr_tokenizer_close(tok);
    }
    tok = NULL;
    free(word);
}

Test(bpe, hashes_are_of_what_decides_ids)
{
    char first[80];
    open_json("llama3");
    snprintf(first, sizeof first, "%s", wr_tokenizer_sha256(tok));
    wr_tokenizer_close(tok);
    open_json("llama3");
    cr_assert_str_eq(wr_tokenizer_sha256(tok), first);
    wr_tokenizer_close(tok);
    open_json("tekken");
    cr_assert_str_neq(wr_tokenizer_sha256(tok), first);
}

/* ---- what is refused */

#define MODEL "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]"

static const struct {
    const char *json, *says;
} refused[] = {
    {"{" MODEL ",\"dropout\":0.1}}", "dropout"},
    {"{" MODEL ",\"continuing_subword_prefix\":\"##\"}}", "continuing_subword_prefix"},
    {"{" MODEL ",\"end_of_word_suffix\":\"</w>\"}}", "end_of_word_suffix"},
    {"{" MODEL ",\"unk_token\":\"<unk>\"}}", "unknown token"},
    {"{" MODEL ",\"byte_fallback\":1}}", "byte_fallback"},
    {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", "not in the vocabulary"},
    {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"ab\"]}}", "merge 0 must be"},
    {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\",1]]}}", "merge 0 must be"},
    {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":{}}}", "must be an array"},
    {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}", "must be an array"},
    {"{\"model\":{\"type\":\"Unigram\"}}", "Unigram"},
    {"{" MODEL "},\"normalizer\":{\"type\":\"Lowercase\"}}", "Lowercase"},
    {"{" MODEL "},\"normalizer\":{\"type\":\"Prepend\"}}", "prepend"},
    {"{" MODEL "},\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"\"}}", "Replace"},
    {"{" MODEL "},\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":1}}", "must be an array"},
    {"{" MODEL "},\"pre_tokenizer\":{\"type\":\"Whitespace\"}}", "Whitespace"},
    {"{" MODEL "},\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Odd\"}}",
     "behavior"},
    {"{" MODEL "},\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Removed\"}}", "without \"pattern\""},
    {"{" MODEL "},\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a*\"},\"behavior\":\"Removed\"}}",
     "nothing"},
    {"{" MODEL "},\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"}}", "one character"},
    {"{" MODEL "},\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"x\"}}",
     "prepend_scheme"},
    {"{" MODEL
     "},\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},{\"type\":\"Digits\"}]}}",
     "behind ByteLevel"},
    {"{" MODEL "},\"post_processor\":{\"type\":\"RobertaProcessing\"}}", "RobertaProcessing"},
};

Test(bpe, refuses_by_name_what_it_does_not_know)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        wr_test_text("tokenizer.json", refused[i].json);
        wr_status st = wr_tokenizer_open(&tok, wr_test_dir(), &err);
        cr_assert(st == WR_EFORMAT || st == WR_EUNSUPPORTED, "%s", refused[i].json);
        cr_assert_null(tok);
        cr_assert_not_null(strstr(err.text, refused[i].says), "%s: %s", refused[i].json, err.text);
    }
}

Test(bpe, small_files_are_read)
{
    wr_test_text("tokenizer.json",
                 "{" MODEL ",\"dropout\":null},\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":"
                 "\" \"},\"behavior\":\"Removed\",\"invert\":false}}");
    cr_assert_eq(wr_tokenizer_open(&tok, wr_test_dir(), &err), WR_OK, "%s", err.text);
    wr_tokens got = encoded("ab ba x ab", 10, SIZE_MAX); /* x has no token and no <unk> takes its place */
    static const uint32_t want[] = {2, 1, 0, 2};
    cr_assert_eq(got.n, 4);
    cr_assert_arr_eq(got.id, want, sizeof want);
    got = encoded("ab x x", 6, 1);
    cr_assert(got.n == 1 && !got.cut);
}
