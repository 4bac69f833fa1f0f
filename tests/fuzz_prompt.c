/* Whatever query and passages are, a prompt has the special tokens of its frame and no others, fits its context, and is what
 * its text is tokenised to. Input: a byte of options, then query, titles and texts with NULs between them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ranker/rerank_pointwise.h"
#include "tests/testlib_decoder.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { PASSAGES = 4, TEXTS = 1 + 2 * PASSAGES, CONTEXT = 900 };

static wr_llm *llm;
static wr_arena arena;

static void open_llm(void)
{
    char dir[] = "/tmp/weir-fuzz-XXXXXX";
    wr_err err;
    if (!mkdtemp(dir)) abort();
    wr_test_decoder_write(dir, &(wr_test_decoder){.type = "qwen2", .seed = 1, .layers = 1});
    if (wr_llm_open(&llm, dir, NULL, &err) || wr_arena_init(&arena, (size_t)1 << 30)) abort();
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", dir);
    if (system(command)) abort();
}

static size_t specials(const wr_tokens *ids)
{
    size_t count = 0;
    for (size_t i = 0; i < ids->n; i++)
        count += wr_tokenizer_is_special(wr_decoder_tokenizer(wr_llm_decoder(llm)), ids->id[i]);
    return count;
}

static void check(wr_text text, const wr_tokens *ids, size_t frame)
{
    wr_tokens again;
    const wr_tokenizer *tok = wr_decoder_tokenizer(wr_llm_decoder(llm));
    if (specials(ids) != frame || wr_tokenizer_encode(tok, text.bytes, text.n, &arena, SIZE_MAX, &again)) abort();
    if (again.n != ids->n || memcmp(again.id, ids->id, ids->n * sizeof *ids->id)) abort();
}

static void listwise(wr_prompt kind, const wr_text *text, size_t passages)
{
    const wr_decoder *decoder = wr_llm_decoder(llm);
    wr_passage passage[PASSAGES];
    wr_listwise_prompt prompt;
    wr_err err;
    for (size_t i = 0; i < passages; i++) passage[i] = (wr_passage){text[1 + 2 * i], text[2 + 2 * i]};
    wr_status st = wr_listwise_prompt_make(wr_decoder_tokenizer(decoder), wr_decoder_chat(decoder), kind, text[0], passage, passages,
                                           PASSAGES, CONTEXT, &arena, &prompt, &err);
    if (st && st != WR_EARG) abort();
    if (st) return;
    check(prompt.text, &prompt.ids, 3); /* the user's turn, and the beginning of the assistant's */
    if (prompt.ids.n > CONTEXT) abort();
}

static void pointwise(wr_judge kind, const wr_text *text)
{
    wr_pointwise judge;
    wr_text prompt;
    wr_tokens ids;
    bool cut;
    wr_err err;
    wr_status st = wr_pointwise_begin(&judge, llm, &(wr_pointwise_options){.judge = kind}, text[0], &arena, &err);
    if (st && st != WR_EARG) abort();
    if (st) return;
    if (wr_pointwise_prompt(&judge, text[1], &arena, &prompt, &ids, &cut, &err)) abort();
    check(prompt, &ids, kind == WR_JUDGE_MONOT5 ? 0 : 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    wr_text text[TEXTS] = {{NULL, 0}};
    if (!llm) open_llm();
    if (n < 2) return 0;
    const char *at = (const char *)bytes + 1, *end = (const char *)bytes + n;
    for (size_t i = 0; i < TEXTS && at < end; i++) {
        const char *stop = memchr(at, 0, (size_t)(end - at));
        text[i] = (wr_text){at, (size_t)((stop ? stop : end) - at)};
        at += text[i].n + 1;
    }
    listwise(bytes[0] & 1 ? WR_PROMPT_PAPER : WR_PROMPT_TEMPLATE, text, 1 + (bytes[0] >> 1) % PASSAGES);
    pointwise(bytes[0] & 1 ? WR_JUDGE_MONOT5 : WR_JUDGE_YESNO, text);
    wr_arena_reset(&arena, (size_t)8 << 20);
    return 0;
}
