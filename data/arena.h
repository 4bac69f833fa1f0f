/* Bump allocator: mark, roll back, reset. One per scratch, never shared between threads at one time.
 *
 * The capacity is reserved as address space when the arena is made and becomes memory as it is touched, so a generous
 * capacity costs nothing until it is used. Nothing is freed one by one.
 *
 *     size_t mark = wr_arena_mark(arena);
 *     float *row = wr_arena_alloc(arena, n * sizeof *row);   // NULL when exhausted
 *     wr_arena_rollback(arena, mark);
 */
#ifndef WR_DATA_ARENA_H
#define WR_DATA_ARENA_H

#include <stddef.h>

#include "data/status.h"

/* Every allocation starts on a cache line, which is also the width of the widest vector register. */
#define WR_ARENA_ALIGN 64

typedef struct wr_arena {
    unsigned char *base; /* [cap] reserved address range                   */
    size_t used;         /* bytes handed out, a multiple of WR_ARENA_ALIGN */
    size_t cap;
    size_t high; /* largest `used` since init: what it really costs */
} wr_arena;

/* Reserves cap bytes of address space (rounded up to pages). WR_ENOMEM when the system refuses. */
wr_status wr_arena_init(wr_arena *arena, size_t cap);

/* Gives everything back; a zeroed arena may be released too. */
void wr_arena_release(wr_arena *arena);

/* Borrowed until rollback or reset; contents undefined. NULL when exhausted. size 0 gives a valid pointer. */
void *wr_arena_alloc(wr_arena *arena, size_t size);

/* As above for n elements of size bytes, zeroed; NULL too when n * size overflows. */
void *wr_arena_calloc(wr_arena *arena, size_t n, size_t size);

/* Copies n bytes and adds a NUL. */
char *wr_arena_strndup(wr_arena *arena, const char *s, size_t n);

size_t wr_arena_mark(const wr_arena *arena);
void wr_arena_rollback(wr_arena *arena, size_t mark);

/* Forgets everything. Pages beyond keep bytes are given back to the system, so one huge request does not stay. */
void wr_arena_reset(wr_arena *arena, size_t keep);

/* The calling thread's own arena (1 GiB of address space, given back when the thread ends), for what is temporary inside
 * one task: mark it, use it, roll it back. NULL when the system refuses. */
wr_arena *wr_arena_of_thread(void);

#endif
