#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/mapfile.h"
#include "tests/testlib_decoder.h"

const char wr_test_chatml[] =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/* "G" with a dot above is the alphabet's space. */
static const char *const merges[WR_TEST_MERGES] = {
    "\xc4\xa0 t",  "h e", "i n", "e r",  "\xc4\xa0 a",    "\xc4\xa0t he", "r e",  "o n",
    "\xc4\xa0 w",  "a t", "o u", "e n", "\xc4\xa0 s", "i s",           "in g", "\xc4\xa0 c"};

static const char *const specials[WR_TEST_SPECIALS] = {"<s>",           "</s>",       "<|endoftext|>",
                                                       "<|im_start|>", "<|im_end|>", "<|begin_of_text|>"};

const char *wr_test_decoder_merge(size_t i)
{
    return merges[i];
}

/* GPT-2's alphabet: printable bytes stand for themselves and come first; the others are characters from 256 on. */
static unsigned alphabet(size_t id)
{
    if (id < 94) return (unsigned)id + 33;
    if (id < 106) return (unsigned)(id - 94) + 161;
    if (id < 188) return (unsigned)(id - 106) + 174;
    return (unsigned)(id - 188) + 256;
}

bool wr_test_decoder_is_special(size_t id)
{
    return id >= 256 + WR_TEST_MERGES && id < 256 + WR_TEST_MERGES + WR_TEST_SPECIALS;
}

void wr_test_decoder_token(size_t id, char *out)
{
    if (id < 256) {
        unsigned c = alphabet(id);
        if (c < 128)
            snprintf(out, 64, "%c", (char)c);
        else
            snprintf(out, 64, "%c%c", (char)(0xc0 | c >> 6), (char)(0x80 | (c & 63)));
    } else if (id < 256 + WR_TEST_MERGES) {
        const char *merge = merges[id - 256], *space = strchr(merge, ' ');
        snprintf(out, 64, "%.*s%s", (int)(space - merge), merge, space + 1);
    } else if (wr_test_decoder_is_special(id)) {
        snprintf(out, 64, "%s", specials[id - 256 - WR_TEST_MERGES]);
    } else {
        snprintf(out, 64, "<unused%zu>", id);
    }
}

static void put_string(FILE *f, const char *text)
{
    putc('"', f);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') putc('\\', f);
        if (*text == '\n')
            fputs("\\n", f);
        else
            putc(*text, f);
    }
    putc('"', f);
}

static void put_tokens(FILE *f)
{
    char token[64];
    fputs("\"vocab\":{", f);
    for (size_t id = 0; id < 256 + WR_TEST_MERGES; id++) {
        wr_test_decoder_token(id, token);
        if (id) putc(',', f);
        put_string(f, token);
        fprintf(f, ":%zu", id);
    }
    fputs("},\"merges\":[", f);
    for (size_t i = 0; i < WR_TEST_MERGES; i++) {
        if (i) putc(',', f);
        put_string(f, merges[i]);
    }
    putc(']', f);
}

static void put_added(FILE *f)
{
    fputs("\"added_tokens\":[", f);
    for (size_t i = 0; i < WR_TEST_SPECIALS; i++) {
        fprintf(f, "%s{\"id\":%zu,\"content\":", i ? "," : "", 256 + WR_TEST_MERGES + i);
        put_string(f, specials[i]);
        fputs(",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}", f);
    }
    putc(']', f);
}

static FILE *create(const char *dir, const char *name)
{
    char path[1024];
    if (wr_path_join(path, sizeof path, dir, name)) abort();
    FILE *f = fopen(path, "w");
    if (!f) abort();
    return f;
}

static void end(FILE *f)
{
    if (ferror(f) | fclose(f)) abort();
}

void wr_test_decoder_write_tokenizer(const char *dir, const wr_test_decoder *full)
{
    FILE *f = create(dir, "tokenizer.json");
    if (full->vocab < 256 + WR_TEST_MERGES + WR_TEST_SPECIALS) abort();
    fputs("{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,", f);
    put_added(f);
    fputs(",\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
          "\"trim_offsets\":true,\"use_regex\":true},\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\","
          "\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},\"model\":{\"type\":\"BPE\","
          "\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
          "\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false,",
          f);
    put_tokens(f);
    fputs("}}\n", f);
    end(f);
    f = create(dir, "tokenizer_config.json");
    fputs("{\"tokenizer_class\":\"PreTrainedTokenizerFast\",\"bos_token\":\"<s>\",\"eos_token\":\"<|im_end|>\","
          "\"pad_token\":\"<|endoftext|>\",\"chat_template\":",
          f);
    put_string(f, wr_test_chatml);
    fputs("}\n", f);
    end(f);
}
