#include <criterion/criterion.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/arena.h"

static size_t resident_bytes(void)
{
    size_t pages = 0, all;
    FILE *f = fopen("/proc/self/statm", "r");
    cr_assert(f && fscanf(f, "%zu %zu", &all, &pages) == 2);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

Test(arena, every_allocation_starts_on_a_cache_line)
{
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    unsigned char *before = NULL;
    for (size_t size = 0; size < 200; size++) {
        unsigned char *p = wr_arena_alloc(&arena, size);
        cr_assert_not_null(p);
        cr_assert_eq((uintptr_t)p % WR_ARENA_ALIGN, 0u);
        cr_assert(!before || p >= before + WR_ARENA_ALIGN);
        memset(p, 1, size);
        before = p;
    }
    wr_arena_release(&arena);
}

Test(arena, an_exhausted_arena_gives_null_and_stays_usable)
{
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, 4096), WR_OK);
    cr_assert_eq(arena.cap % 4096, 0u);
    cr_assert_not_null(wr_arena_alloc(&arena, arena.cap));
    cr_assert_null(wr_arena_alloc(&arena, 0));
    cr_assert_null(wr_arena_alloc(&arena, 1));
    wr_arena_reset(&arena, 0);
    cr_assert_null(wr_arena_alloc(&arena, arena.cap + 1));
    cr_assert_null(wr_arena_alloc(&arena, SIZE_MAX));
    cr_assert_null(wr_arena_calloc(&arena, SIZE_MAX / 2, 3));
    cr_assert_null(wr_arena_strndup(&arena, "", SIZE_MAX));
    cr_assert_not_null(wr_arena_alloc(&arena, arena.cap));
    wr_arena_release(&arena);
}

Test(arena, rollback_gives_the_same_memory_again)
{
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, 1 << 16), WR_OK);
    cr_assert_not_null(wr_arena_alloc(&arena, 100));
    size_t mark = wr_arena_mark(&arena);
    void *a = wr_arena_alloc(&arena, 1000);
    memset(a, 7, 1000);
    wr_arena_rollback(&arena, mark);
    char *b = wr_arena_calloc(&arena, 10, 100);
    cr_assert_eq(a, b);
    for (size_t i = 0; i < 1000; i++) cr_assert_eq(b[i], 0);
    cr_assert_eq(arena.high, 1024u + 128u);
    wr_arena_release(&arena);
}

Test(arena, strndup_ends_with_a_nul)
{
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, 1 << 16), WR_OK);
    cr_assert_str_eq(wr_arena_strndup(&arena, "abcdef", 3), "abc");
    cr_assert_str_eq(wr_arena_strndup(&arena, NULL, 0), "");
    wr_arena_release(&arena);
}

Test(arena, reset_gives_pages_beyond_keep_back)
{
    wr_arena arena;
    size_t big = (size_t)64 << 20, slack = (size_t)8 << 20; /* slack: whatever else the process does meanwhile */
    cr_assert_eq(wr_arena_init(&arena, (size_t)1 << 30), WR_OK);
    size_t before = resident_bytes();
    memset(wr_arena_alloc(&arena, big), 1, big);
    cr_assert_gt(resident_bytes(), before + big - slack);
    wr_arena_reset(&arena, 1 << 20);
    cr_assert_lt(resident_bytes(), before + slack);
    cr_assert_eq(arena.used, 0u);
    wr_arena_release(&arena);
}

Test(arena, a_zeroed_arena_may_be_released_and_reset)
{
    wr_arena arena = {0};
    wr_arena_reset(&arena, 0);
    cr_assert_null(wr_arena_alloc(&arena, 1));
    wr_arena_release(&arena);
}

static void *own_arena(void *arg)
{
    (void)arg;
    wr_arena *arena = wr_arena_of_thread();
    return arena == wr_arena_of_thread() ? arena : NULL;
}

Test(arena, each_thread_has_one_of_its_own)
{
    pthread_t thread;
    void *other;
    wr_arena *mine = wr_arena_of_thread();
    cr_assert_not_null(mine);
    cr_assert_eq(pthread_create(&thread, NULL, own_arena, NULL), 0);
    cr_assert_eq(pthread_join(thread, &other), 0);
    cr_assert_not_null(other);
    cr_assert_neq(other, mine);
}
