#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "models/decoder_parts.h"

/* Bytes of ids, then keys, then values, each a multiple of a page's worth of cache lines; false when out of range. */
static bool measure(const wr_decoder_config *c, size_t tokens, size_t width, size_t *ids, size_t *half)
{
    size_t n = tokens;
    *ids = (tokens * sizeof(uint32_t) + 4095) / 4096 * 4096;
    if (__builtin_mul_overflow(n, c->layers * c->kv_heads * c->head_dim, &n) || __builtin_mul_overflow(n, width, half) ||
        *half > SIZE_MAX / 4)
        return false;
    *half = (*half + 4095) / 4096 * 4096;
    return true;
}

wr_status wr_kv_open(wr_kv **kv, const wr_decoder *decoder, size_t tokens, wr_err *err)
{
    size_t ids, half, width = decoder->half ? sizeof(uint16_t) : sizeof(float);
    *kv = NULL;
    if (tokens < 1 || tokens > decoder->info.positions)
        return wr_fail(err, WR_EARG, "%s: room for %zu tokens, expected 1 to %zu", decoder->path, tokens,
                       decoder->info.positions);
    if (!measure(&decoder->config, tokens, width, &ids, &half))
        return wr_fail(err, WR_ENOMEM, "%s: keys and values of %zu tokens are out of range", decoder->path, tokens);
    wr_kv *made = calloc(1, sizeof *made);
    size_t bytes = ids + 2 * half;
    void *map = made ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                     : MAP_FAILED;
    if (map == MAP_FAILED) {
        free(made);
        return wr_fail(err, WR_ENOMEM, "%s: no memory for keys and values of %zu tokens", decoder->path, tokens);
    }
    *made = (wr_kv){.decoder = decoder, .room = tokens, .width = width, .id = map, .map = map, .bytes = bytes};
    made->keys = (char *)map + ids;
    made->values = made->keys + half;
    *kv = made;
    return WR_OK;
}

void wr_kv_close(wr_kv *kv)
{
    if (!kv) return;
    munmap(kv->map, kv->bytes);
    free(kv);
}

size_t wr_kv_tokens(const wr_kv *kv)
{
    return kv->n;
}

size_t wr_kv_reuse(wr_kv *kv, const uint32_t *id, size_t n)
{
    size_t same = 0;
    while (same + 1 < n && same < kv->n && kv->id[same] == id[same]) same++;
    wr_kv_cut(kv, same);
    return same;
}

void wr_kv_cut(wr_kv *kv, size_t tokens)
{
    if (tokens < kv->n) kv->n = tokens;
}
