#include "data/crew.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* A loop of a short text has about a dozen parts of some microseconds: more threads would wait for each other. */
#define MOST_HELPERS 7

/* Rounds of waiting with open eyes (some 40 ns each) before the processor is offered to others: a phase takes tens of
 * microseconds, and who is not done by then has lost its processor. */
#define PATIENCE 2000

/* Loop number and next index in one word, so that an index can only be taken of the loop that is open. */
#define LOOP_SHIFT 32
#define ALL_TAKEN 0xffffffffu

typedef void (*loop_fn)(void *arg, size_t i);

struct wr_crew {
    wr_pool *pool;
    size_t size;
    atomic_uint holders;
    atomic_bool dismissed;
    _Atomic(loop_fn) fn;
    _Atomic(void *) arg;
    atomic_size_t n;
    _Alignas(64) _Atomic uint64_t ticket; /* on lines of their own: everybody writes them */
    _Alignas(64) atomic_size_t done;
};

static void pause_once(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Takes and runs one index of the open loop; false when there is none. */
static bool work_once(wr_crew *crew)
{
    uint64_t ticket = atomic_load_explicit(&crew->ticket, memory_order_acquire);
    for (;;) {
        uint32_t i = (uint32_t)ticket;
        if (i == ALL_TAKEN) return false;
        loop_fn fn = atomic_load_explicit(&crew->fn, memory_order_relaxed);
        void *arg = atomic_load_explicit(&crew->arg, memory_order_relaxed);
        size_t n = atomic_load_explicit(&crew->n, memory_order_relaxed);
        uint64_t next = i + 1 < n ? ticket + 1 : ticket | ALL_TAKEN;
        /* what was read belongs to this loop if its number is still the same */
        if (!atomic_compare_exchange_weak_explicit(&crew->ticket, &ticket, next, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        fn(arg, i);
        atomic_fetch_add_explicit(&crew->done, 1, memory_order_release);
        return true;
    }
}

/* The crew that was left last, for the next: one query after the other allocates nothing. */
static _Atomic(wr_crew *) spare;

static void release(wr_crew *crew)
{
    if (atomic_fetch_sub(&crew->holders, 1) == 1) free(atomic_exchange(&spare, crew));
}

static void help(void *arg)
{
    wr_crew *crew = arg;
    for (unsigned idle = 0; !atomic_load_explicit(&crew->dismissed, memory_order_acquire);) {
        if (work_once(crew)) {
            idle = 0;
            continue;
        }
        if (wr_pool_is_wanted(crew->pool)) break;
        pause_once();
        if (++idle % PATIENCE == 0) sched_yield();
    }
    release(crew);
}

wr_crew *wr_crew_gather(wr_pool *pool)
{
    size_t helpers = wr_pool_threads(pool) - 1u;
    if (helpers > MOST_HELPERS) helpers = MOST_HELPERS;
    if (helpers == 0) return NULL;
    wr_crew *crew = atomic_exchange(&spare, NULL);
    if (!crew) crew = aligned_alloc(64, sizeof *crew);
    if (!crew) return NULL;
    crew->pool = pool;
    crew->size = helpers + 1;
    atomic_init(&crew->holders, 1);
    atomic_init(&crew->dismissed, false);
    atomic_init(&crew->fn, NULL);
    atomic_init(&crew->arg, NULL);
    atomic_init(&crew->n, 0);
    atomic_init(&crew->ticket, ALL_TAKEN);
    atomic_init(&crew->done, 0);
    while (helpers-- > 0) {
        atomic_fetch_add(&crew->holders, 1);
        if (!wr_pool_post(pool, help, crew)) release(crew);
    }
    return crew;
}

size_t wr_crew_size(const wr_crew *crew)
{
    return crew ? crew->size : 1;
}

void wr_crew_for(wr_crew *crew, size_t n, void (*fn)(void *arg, size_t i), void *arg)
{
    if (!crew || n < 2 || n >= ALL_TAKEN) {
        for (size_t i = 0; i < n; i++) fn(arg, i);
        return;
    }
    uint64_t loop = (atomic_load_explicit(&crew->ticket, memory_order_relaxed) >> LOOP_SHIFT) + 1;
    atomic_store_explicit(&crew->fn, fn, memory_order_relaxed);
    atomic_store_explicit(&crew->arg, arg, memory_order_relaxed);
    atomic_store_explicit(&crew->n, n, memory_order_relaxed);
    atomic_store_explicit(&crew->done, 0, memory_order_relaxed);
    atomic_store_explicit(&crew->ticket, loop << LOOP_SHIFT, memory_order_release);
    while (work_once(crew)) {
    }
    for (unsigned idle = 1; atomic_load_explicit(&crew->done, memory_order_acquire) != n; idle++) {
        pause_once();
        if (idle % PATIENCE == 0) sched_yield();
    }
}

void wr_crew_dismiss(wr_crew *crew)
{
    if (!crew) return;
    atomic_store_explicit(&crew->dismissed, true, memory_order_release);
    release(crew);
}
