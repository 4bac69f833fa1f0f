/* Feeds the tokenizer texts and files. An input that begins with '{' is a tokenizer.json, any other is a text for a
 * tokenizer with added tokens of every kind. Beyond not crashing: ids stay below the vocabulary's size, max tokens are
 * the first of all tokens, and what is opened can encode. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/mapfile.h"
#include "models/tokenizer.h"

static const char model[] =
    "{\"added_tokens\":["
    "{\"content\":\"[SEP]\",\"special\":true,\"normalized\":false,\"single_word\":false,\"lstrip\":false,\"rstrip\":"
    "true},"
    "{\"content\":\"<m>\",\"special\":true,\"normalized\":false,\"single_word\":true,\"lstrip\":true,\"rstrip\":false},"
    "{\"content\":\"\\u00c1b "
    "\",\"special\":false,\"normalized\":true,\"single_word\":false,\"lstrip\":true,\"rstrip\":true}],"
    "\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,"
    "\"strip_accents\":null,\"lowercase\":true},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
    "\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",2],\"cls\":[\"[CLS]\",1]},"
    "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\","
    "\"max_input_chars_per_word\":100,\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,\"a\":3,\"b\":4,\"##b\":5,\"##"
    "\xC3\x9F\":6,"
    "\"\xE4\xB8\xAD\":7,\"##\xE1\x85\xA1\":8,\"\xE1\x84\x80\":9}}}";

static char dir[] = "/tmp/weir-fuzz-XXXXXX";
static char path[sizeof dir + 16];
static wr_tokenizer *fixed;
static wr_arena arena;

static void need(bool fact)
{
    if (!fact) abort();
}

static void write_file(const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    need(f && fwrite(bytes, 1, n, f) == n);
    need(fclose(f) == 0);
}

static void leave(void)
{
    wr_tokenizer_close(fixed);
    wr_arena_release(&arena);
    wr_dir_remove(dir, NULL);
}

static void begin(void)
{
    need(mkdtemp(dir) && wr_arena_init(&arena, (size_t)64 << 20) == WR_OK);
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    write_file(model, sizeof model - 1);
    need(wr_tokenizer_open(&fixed, dir, NULL) == WR_OK);
    atexit(leave);
}

static void check(const wr_tokenizer *tok, const char *text, size_t n, size_t max)
{
    wr_tokens all, some;
    need(wr_tokenizer_encode(tok, text, n, &arena, SIZE_MAX, &all) == WR_OK && !all.cut);
    for (size_t i = 0; i < all.n; i++)
        need(wr_tokenizer_token(tok, all.id[i]) && all.id[i] < wr_tokenizer_vocab_size(tok));
    need(wr_tokenizer_encode(tok, text, n, &arena, max, &some) == WR_OK);
    need(some.n == (max < all.n ? max : all.n) && some.cut == (max < all.n));
    need(!some.n || !memcmp(some.id, all.id, some.n * sizeof *some.id));
    need(wr_tokenizer_single(tok, text, n, &arena, max + 2, &some) == WR_OK && some.n <= max + 2);
    wr_arena_reset(&arena, (size_t)1 << 20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!fixed) begin();
    if (!n) return 0;
    if (data[0] != '{') {
        check(fixed, (const char *)data + 1, n - 1, data[0] % 16);
        return 0;
    }
    wr_tokenizer *tok;
    wr_err err;
    write_file(data, n);
    if (wr_tokenizer_open(&tok, dir, &err)) {
        need(!tok && err.text[0]);
        return 0;
    }
    static const char text[] = "Some [SEP] t\xC3\xABxt, \xE4\xB8\xAD\xEA\xB0\x80 a<m>b [MASK] aabbaab";
    check(tok, text, sizeof text - 1, 5);
    wr_tokenizer_close(tok);
    return 0;
}
