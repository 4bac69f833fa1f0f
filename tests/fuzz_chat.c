/* Feeds chat templates as a Hugging Face directory brings them: tokenizer_config.json, and behind a NUL a
 * chat_template.jinja (without it there is none). What opens renders a conversation to valid UTF-8 or fails with a
 * sentence, in bounded time and memory. fuzz_jinja has the template language itself. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/mapfile.h"
#include "data/utf8.h"
#include "models/chat.h"

static char dir[] = "/tmp/weir-fuzz-XXXXXX";
static char config[sizeof dir + 32], template[sizeof dir + 32];
static wr_arena arena;

static void need(int fact)
{
    if (!fact) abort();
}

static void leave(void)
{
    wr_arena_release(&arena);
    wr_dir_remove(dir, NULL);
}

static void begin(void)
{
    need(mkdtemp(dir) && wr_arena_init(&arena, (size_t)256 << 20) == WR_OK);
    snprintf(config, sizeof config, "%s/tokenizer_config.json", dir);
    snprintf(template, sizeof template, "%s/chat_template.jinja", dir);
    atexit(leave);
}

static void put(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    need(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

static void render(const wr_chat *chat)
{
    static const char bytes[] = "wind \xff and {{ tide }}";
    wr_text text = {bytes, sizeof bytes - 1}, empty = {"", 0}, out;
    wr_message turn[] = {{"system", text}, {"user", text}, {"assistant", empty}, {"user", text}};
    wr_err err = {0};
    for (size_t first = 0; first < 2; first++) { /* with and without a system text */
        wr_status st = wr_chat_render(chat, turn + first, 4 - first, first, &arena, &out, &err);
        if (st)
            need(err.text[0] && !strchr(err.text, '\n'));
        else
            need(wr_utf8_valid(out.bytes, out.n));
        wr_arena_reset(&arena, (size_t)8 << 20);
    }
    text = wr_chat_bos(chat);
    need(wr_utf8_valid(text.bytes, text.n));
    wr_chat_has_system(chat);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
    wr_chat *chat;
    wr_err err = {0};
    if (!arena.base) begin();
    const uint8_t *nul = n ? memchr(input, 0, n) : NULL;
    size_t first = nul ? (size_t)(nul - input) : n;
    put(config, input, first);
    if (nul)
        put(template, nul + 1, n - first - 1);
    else
        unlink(template);
    if (wr_chat_open(&chat, dir, NULL, &err)) {
        need(!chat && err.text[0] && !strchr(err.text, '\n'));
        return 0;
    }
    render(chat);
    wr_chat_close(chat);
    return 0;
}
