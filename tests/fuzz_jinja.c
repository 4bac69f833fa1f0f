/* Whatever a template and a message are: refused with a sentence or rendered to valid UTF-8, in bounded time and
 * memory. The input is a template, a NUL, and the content of the message. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"
#include "models/jinja.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static wr_arena arena;
    if (!arena.base && wr_arena_init(&arena, (size_t)256 << 20)) abort();
    const uint8_t *nul = n ? memchr(bytes, 0, n) : NULL;
    size_t size = nul ? (size_t)(nul - bytes) : n, rest = nul ? n - size - 1 : 0;
    wr_text text = {(const char *)bytes, size}, out, content = {rest ? (const char *)nul + 1 : "", rest};
    if (!wr_utf8_valid(content.bytes, content.n)) content.n = 0;
    wr_jinja *jinja;
    wr_err err = {0};
    wr_status st = wr_jinja_open(&jinja, text, "fuzz", &err);
    if ((st == WR_OK) != (jinja != NULL)) abort();
    if (!st) {
        wr_text keys[] = {{"role", 4}, {"content", 7}}, name[] = {{"messages", 8}, {"add_generation_prompt", 21}};
        wr_jinja_value values[] = {wr_jinja_text((wr_text){"user", 4}), wr_jinja_text(content)};
        wr_jinja_map one = {keys, values, 2, 2};
        wr_jinja_value message = {.type = WR_JINJA_MAP, .u.map = &one};
        wr_jinja_value value[] = {{.type = WR_JINJA_LIST, .u.list = {&message, 1}}, wr_jinja_bool(true)};
        wr_jinja_map context = {name, value, 2, 2};
        st = wr_jinja_render(jinja, &context, &arena, &out, &err);
        if (!st && !wr_utf8_valid(out.bytes, out.n)) abort();
        if (one.n != 2 || context.n != 2) abort();
    }
    if (st && (!err.text[0] || strchr(err.text, '\n'))) abort();
    wr_jinja_close(jinja);
    wr_arena_reset(&arena, (size_t)8 << 20);
    return 0;
}
