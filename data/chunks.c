#include "data/chunks.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK ((size_t)1 << 18) /* one system call's worth; what is left unused at the end is at most this */

struct wr_chunk {
    struct wr_chunk *before;
    size_t n, cap;
    alignas(max_align_t) char bytes[];
};

static void *take(wr_chunks *chunks, size_t size, size_t align)
{
    struct wr_chunk *c = chunks->last;
    size_t at = c ? (c->n + align - 1) / align * align : 0;
    if (!c || at > c->cap || size > c->cap - at) {
        if (size > SIZE_MAX - sizeof *c) return NULL;
        size_t cap = size > CHUNK ? size : CHUNK;
        if (!(c = malloc(sizeof *c + cap))) return NULL;
        *c = (struct wr_chunk){chunks->last, 0, cap};
        chunks->last = c;
        at = 0;
    }
    c->n = at + size;
    return c->bytes + at;
}

void *wr_chunks_alloc(wr_chunks *chunks, size_t size)
{
    return take(chunks, size, alignof(max_align_t));
}

void *wr_chunks_calloc(wr_chunks *chunks, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
    void *p = wr_chunks_alloc(chunks, bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

char *wr_chunks_strndup(wr_chunks *chunks, const char *s, size_t n)
{
    char *copy = n < SIZE_MAX ? take(chunks, n + 1, 1) : NULL;
    if (!copy) return NULL;
    if (n) memcpy(copy, s, n);
    copy[n] = 0;
    return copy;
}

void wr_chunks_release(wr_chunks *chunks)
{
    for (struct wr_chunk *c = chunks->last, *before; c; c = before) {
        before = c->before;
        free(c);
    }
    chunks->last = NULL;
}
