/* Whatever a text is: its repair is valid UTF-8, and what a model may have
 * replied is read as a permutation. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"
#include "models/repair.h"
#include "ranker/listwise.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static wr_arena arena;
    size_t order[WR_WINDOW_MAX], count = n ? 1 + bytes[0] % WR_WINDOW_MAX : 1;
    bool seen[WR_WINDOW_MAX] = {false};
    wr_text text = {(const char *)bytes, n}, out;
    if (!arena.base && wr_arena_init(&arena, (size_t)1 << 30)) abort();
    if (wr_repair(text, &arena, &out) || !wr_utf8_valid(out.bytes, out.n)) abort();
    wr_listwise_parse(text, count, order);
    for (size_t i = 0; i < count; i++) {
        if (order[i] >= count || seen[order[i]]) abort();
        seen[order[i]] = true;
    }
    wr_arena_reset(&arena, (size_t)8 << 20);
    return 0;
}
