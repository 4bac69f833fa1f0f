#include "data/arena.h"

#include <assert.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Under AddressSanitizer what is not handed out is poisoned, so that a pointer kept over a rollback is caught. */
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

wr_status wr_arena_init(wr_arena *arena, size_t cap)
{
    *arena = (wr_arena){0};
    size_t page = page_bytes();
    if (cap > SIZE_MAX - page) return WR_ENOMEM;
    cap = round_up(cap ? cap : 1, page);
    void *base = mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return WR_ENOMEM;
    arena->base = base;
    arena->cap = cap;
    POISON(arena->base, cap);
    return WR_OK;
}

void wr_arena_release(wr_arena *arena)
{
    if (arena->base) {
        UNPOISON(arena->base, arena->cap);
        munmap(arena->base, arena->cap);
    }
    *arena = (wr_arena){0};
}

void *wr_arena_alloc(wr_arena *arena, size_t size)
{
    if (size > arena->cap - arena->used) return NULL;
    size_t step = round_up(size ? size : 1, WR_ARENA_ALIGN); /* cannot overflow: size <= cap, cap is page-rounded */
    if (step > arena->cap - arena->used) return NULL;
    unsigned char *p = arena->base + arena->used;
    UNPOISON(p, size);
    arena->used += step;
    if (arena->used > arena->high) arena->high = arena->used;
    return p;
}

void *wr_arena_calloc(wr_arena *arena, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
    void *p = wr_arena_alloc(arena, bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

char *wr_arena_strndup(wr_arena *arena, const char *s, size_t n)
{
    if (n == SIZE_MAX) return NULL;
    char *copy = wr_arena_alloc(arena, n + 1);
    if (!copy) return NULL;
    if (n) memcpy(copy, s, n);
    copy[n] = 0;
    return copy;
}

size_t wr_arena_mark(const wr_arena *arena)
{
    return arena->used;
}

void wr_arena_rollback(wr_arena *arena, size_t mark)
{
    assert(mark <= arena->used && mark % WR_ARENA_ALIGN == 0);
    if (arena->base) POISON(arena->base + mark, arena->used - mark);
    arena->used = mark;
}

void wr_arena_reset(wr_arena *arena, size_t keep)
{
    if (!arena->base) return;
    size_t page = page_bytes();
    size_t touched = round_up(arena->used, page);
    if (keep < touched) {
        keep = round_up(keep, page);
        if (keep < touched) madvise(arena->base + keep, touched - keep, MADV_DONTNEED);
    }
    wr_arena_rollback(arena, 0);
}

/* ---- one arena for each thread ---- */

/* Activations of the largest batch that weir makes of a 24-layer encoder take a third of this; the rest is address
 * space that costs nothing. */
#define THREAD_ARENA_BYTES ((size_t)1 << 30)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void thread_arena_free(void *arena)
{
    wr_arena_release(arena);
    free(arena);
}

static void key_make(void)
{
    pthread_key_create(&key, thread_arena_free);
}

wr_arena *wr_arena_of_thread(void)
{
    pthread_once(&once, key_make);
    wr_arena *arena = pthread_getspecific(key);
    if (arena) return arena;
    arena = calloc(1, sizeof *arena);
    if (!arena || wr_arena_init(arena, THREAD_ARENA_BYTES) || pthread_setspecific(key, arena)) {
        if (arena) thread_arena_free(arena);
        return NULL;
    }
    return arena;
}
