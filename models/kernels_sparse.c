#include "models/kernels_sparse.h"

#include <string.h>

static size_t groups_of(size_t out)
{
    return (out + WR_SPARSE_OUTS - 1) / WR_SPARSE_OUTS;
}

/* Whether input i has a weight for one of the outputs of group g. */
static bool has_block(const int8_t *w, size_t out, size_t in, size_t g, size_t i)
{
    for (size_t o = WR_SPARSE_OUTS * g; o < WR_SPARSE_OUTS * (g + 1) && o < out; o++)
        if (w[o * in + i]) return true;
    return false;
}

static size_t blocks_of(const int8_t *w, size_t out, size_t in, size_t g)
{
    size_t n = 0;
    for (size_t i = 0; i < in; i++) n += has_block(w, out, in, g, i);
    return n;
}

double wr_s8_sparsity(const int8_t *w, size_t out, size_t in)
{
    size_t n = 0, all = groups_of(out) * in;
    for (size_t g = 0; g < groups_of(out); g++) n += blocks_of(w, out, in, g);
    return all ? 1 - (double)n / (double)all : 0;
}

/* Where the parts lie in packed memory, each on a cache line. */
typedef struct layout {
    size_t sum, index, w, bytes;
} layout;

static size_t lines(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static layout layout_of(size_t groups, size_t tiles)
{
    layout at = {.sum = lines((groups + 1) * sizeof(uint32_t))};
    at.index = at.sum + lines(groups * WR_SPARSE_OUTS * sizeof(int32_t));
    at.w = at.index + lines(tiles * 4 * sizeof(uint16_t));
    at.bytes = at.w + lines(tiles * 16);
    return at;
}

static size_t tiles_of(const int8_t *w, size_t out, size_t in)
{
    size_t tiles = 0;
    for (size_t g = 0; g < groups_of(out); g++) tiles += (blocks_of(w, out, in, g) + 3) / 4;
    return tiles;
}

size_t wr_s8_sparse_bytes(const int8_t *w, size_t out, size_t in)
{
    return in > WR_SPARSE_MAX_IN ? 0 : layout_of(groups_of(out), tiles_of(w, out, in)).bytes;
}

void wr_s8_sparse_pack(const int8_t *w, size_t out, size_t in, void *memory, wr_s8_sparse *to)
{
    size_t groups = groups_of(out), n = 0; /* blocks so far, those that fill tiles up included */
    layout at = layout_of(groups, tiles_of(w, out, in));
    char *base = memory;
    uint32_t *start = (uint32_t *)memory;
    int32_t *sum = (int32_t *)(void *)(base + at.sum);
    uint16_t *index = (uint16_t *)(void *)(base + at.index);
    int8_t *packed = (int8_t *)(base + at.w);
    memset(base, 0, at.bytes);
    for (size_t g = 0; g < groups; g++) {
        start[g] = (uint32_t)(n / 4);
        for (size_t i = 0; i < in; i++) {
            if (!has_block(w, out, in, g, i)) continue;
            index[n] = (uint16_t)i;
            for (size_t o = 0; o < WR_SPARSE_OUTS && 4 * g + o < out; o++) {
                int8_t weight = w[(4 * g + o) * in + i];
                packed[n / 4 * 16 + 4 * o + n % 4] = weight;
                sum[4 * g + o] += weight;
            }
            n++;
        }
        n = (n + 3) / 4 * 4;
    }
    start[groups] = (uint32_t)(n / 4);
    to->start = start;
    to->sum = sum;
    to->index = index;
    to->w = packed;
    to->out = out;
    to->in = in;
}

/* 64 rows' bytes for each input, inputs padded to 64: see the kernels. 16 rows of 16-bit numbers take half of it.
 * Behind it the sums of 64 rows and 16 outputs. */
size_t wr_s8_sparse_scratch(size_t in)
{
    return wr_s8_stride(in) * 64 + 64 * 16 * sizeof(int32_t);
}
