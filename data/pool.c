#include "data/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "data/budget.h"

#define MAX_THREADS 1024 /* more than any machine this was built for; a typing error must not fork-bomb */

struct task {
    wr_task_fn fn;
    void *arg;
    wr_group *group; /* NULL: nobody waits */
    struct task *next;
};

/* A worker without work looks out for some this long before it sleeps: about what it takes to wake a sleeping thread,
 * so that spinning costs no more than it can save. */
#define LOOK_OUT_NS 50000

/* Rounds between two looks at the clock. */
#define LOOK_OUT_ROUNDS 64

struct wr_pool {
    pthread_mutex_t lock; /* guards everything below, and every group's pending */
    pthread_cond_t ready; /* a task was queued, or the pool closes              */
    struct task *first, *last;
    struct task *spare; /* finished tasks, kept for the next: the steady state allocates nothing */
    bool closing;
    unsigned looking, sleeping; /* workers without work: in look_out(), in pthread_cond_wait() */
    atomic_size_t waiting;      /* tasks in the queue; written under the lock, read by who only wants to know */
    void (*on_start)(void);
    unsigned threads;
    pthread_t thread[];
};

static _Thread_local int worker = -1;

struct birth {
    wr_pool *pool;
    int index;
};

static void finish(wr_pool *pool, struct task *task)
{
    wr_group *group = task->group;
    task->next = pool->spare;
    pool->spare = task;
    if (group && --group->pending == 0) pthread_cond_broadcast(&group->idle);
}

/* Waits a little for a task to come, without the lock. */
static void look_out(wr_pool *pool)
{
    uint64_t until = wr_clock_now(&wr_clock_system) + LOOK_OUT_NS;
    do
        for (int i = 0; i < LOOK_OUT_ROUNDS; i++) {
            if (atomic_load_explicit(&pool->waiting, memory_order_relaxed)) return;
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
        }
    while (wr_clock_now(&wr_clock_system) < until);
}

static void *work(void *arg)
{
    struct birth *birth = arg;
    wr_pool *pool = birth->pool;
    worker = birth->index;
    free(birth);
    if (pool->on_start) pool->on_start();
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        if (!pool->first && !pool->closing) {
            pool->looking++;
            pthread_mutex_unlock(&pool->lock);
            look_out(pool);
            pthread_mutex_lock(&pool->lock);
            pool->looking--;
        }
        pool->sleeping++;
        while (!pool->first && !pool->closing) pthread_cond_wait(&pool->ready, &pool->lock);
        pool->sleeping--;
        struct task *task = pool->first;
        if (!task) break;
        pool->first = task->next;
        if (!pool->first) pool->last = NULL;
        atomic_fetch_sub_explicit(&pool->waiting, 1, memory_order_relaxed);
        pthread_mutex_unlock(&pool->lock);
        task->fn(task->arg);
        pthread_mutex_lock(&pool->lock);
        finish(pool, task);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static int start_worker(wr_pool *pool, unsigned i)
{
    struct birth *birth = malloc(sizeof *birth);
    if (!birth) return ENOMEM;
    *birth = (struct birth){pool, (int)i};
    int rc = pthread_create(&pool->thread[i], NULL, work, birth);
    if (rc) free(birth);
    return rc;
}

wr_status wr_pool_open(wr_pool **out, unsigned threads, void (*on_start)(void), wr_err *err)
{
    *out = NULL;
    if (threads == 0) threads = wr_cpu_count();
    if (threads > MAX_THREADS) return wr_fail(err, WR_EARG, "%u threads, at most %d", threads, MAX_THREADS);
    wr_pool *pool = calloc(1, sizeof *pool + threads * sizeof pool->thread[0]);
    if (!pool) return wr_fail(err, WR_ENOMEM, "thread pool: out of memory");
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->ready, NULL);
    pool->on_start = on_start;
    for (int rc; pool->threads < threads; pool->threads++) {
        if ((rc = start_worker(pool, pool->threads)) == 0) continue;
        wr_pool_close(pool);
        return wr_fail(err, WR_EIO, "cannot start thread %u of %u: %s", pool->threads + 1, threads, strerror(rc));
    }
    *out = pool;
    return WR_OK;
}

void wr_pool_close(wr_pool *pool)
{
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->ready);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads; i++) pthread_join(pool->thread[i], NULL);
    for (struct task *t = pool->spare, *next; t; t = next) next = t->next, free(t);
    pthread_cond_destroy(&pool->ready);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

unsigned wr_pool_threads(const wr_pool *pool)
{
    return pool ? pool->threads : 1;
}

int wr_pool_worker(void)
{
    return worker;
}

void wr_group_init(wr_group *group, wr_pool *pool)
{
    pthread_condattr_t attr;
    group->pool = pool;
    group->pending = 0;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&group->idle, &attr);
    pthread_condattr_destroy(&attr);
}

void wr_group_release(wr_group *group)
{
    assert(group->pending == 0);
    pthread_cond_destroy(&group->idle);
}

static wr_status queue_task(wr_pool *pool, wr_group *group, wr_task_fn fn, void *arg)
{
    pthread_mutex_lock(&pool->lock);
    struct task *task = pool->spare;
    if (task)
        pool->spare = task->next;
    else
        task = malloc(sizeof *task);
    if (task) {
        *task = (struct task){fn, arg, group, NULL};
        if (pool->last)
            pool->last->next = task;
        else
            pool->first = task;
        pool->last = task;
        if (group) group->pending++;
        size_t waiting = 1 + atomic_fetch_add_explicit(&pool->waiting, 1, memory_order_relaxed);
        if (pool->sleeping && waiting > pool->looking) pthread_cond_signal(&pool->ready);
    }
    pthread_mutex_unlock(&pool->lock);
    return task ? WR_OK : WR_ENOMEM;
}

bool wr_pool_post(wr_pool *pool, wr_task_fn fn, void *arg)
{
    return queue_task(pool, NULL, fn, arg) == WR_OK;
}

bool wr_pool_is_wanted(const wr_pool *pool)
{
    return atomic_load_explicit(&pool->waiting, memory_order_relaxed) > 0;
}

wr_status wr_group_add(wr_group *group, wr_task_fn fn, void *arg)
{
    if (group->pool) return queue_task(group->pool, group, fn, arg);
    fn(arg);
    return WR_OK;
}

bool wr_group_wait(wr_group *group, uint64_t until_ns)
{
    wr_pool *pool = group->pool;
    if (!pool) return true;
    struct timespec until = {(time_t)(until_ns / 1000000000u), (long)(until_ns % 1000000000u)};
    int rc = 0;
    pthread_mutex_lock(&pool->lock);
    while (group->pending && rc != ETIMEDOUT) {
        if (until_ns == WR_NO_DEADLINE)
            pthread_cond_wait(&group->idle, &pool->lock);
        else
            rc = pthread_cond_timedwait(&group->idle, &pool->lock, &until);
    }
    bool idle = group->pending == 0;
    pthread_mutex_unlock(&pool->lock);
    return idle;
}

/* A loop that is shared out. The caller works on it too and never waits for a helper that has not begun: a helper may
 * be stuck in the queue behind the very tasks that call us, so it owns a reference and finds nothing to do later. */
struct loop {
    void (*fn)(void *arg, size_t i);
    void *arg;
    size_t n;
    atomic_size_t next; /* first index that nobody has taken */
    atomic_uint holders;
    pthread_mutex_t lock;
    pthread_cond_t all_done;
    size_t done; /* indices finished; guarded by lock */
};

static void run_loop(struct loop *loop)
{
    size_t mine = 0, i;
    while ((i = atomic_fetch_add(&loop->next, 1)) < loop->n) loop->fn(loop->arg, i), mine++;
    if (!mine) return;
    pthread_mutex_lock(&loop->lock);
    loop->done += mine;
    if (loop->done == loop->n) pthread_cond_signal(&loop->all_done);
    pthread_mutex_unlock(&loop->lock);
}

static void drop_loop(struct loop *loop)
{
    if (atomic_fetch_sub(&loop->holders, 1) != 1) return;
    pthread_cond_destroy(&loop->all_done);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

static void help_loop(void *arg)
{
    run_loop(arg);
    drop_loop(arg);
}

void wr_pool_for(wr_pool *pool, size_t n, void (*fn)(void *arg, size_t i), void *arg)
{
    size_t helpers = wr_pool_threads(pool) - 1u; /* the caller is the last of the threads */
    if (n && helpers > n - 1) helpers = n - 1;
    struct loop *loop = n && helpers ? malloc(sizeof *loop) : NULL;
    if (!loop) {
        for (size_t i = 0; i < n; i++) fn(arg, i);
        return;
    }
    *loop = (struct loop){.fn = fn, .arg = arg, .n = n};
    atomic_init(&loop->next, 0);
    atomic_init(&loop->holders, 1);
    pthread_mutex_init(&loop->lock, NULL);
    pthread_cond_init(&loop->all_done, NULL);
    while (helpers-- > 0) {
        atomic_fetch_add(&loop->holders, 1);
        if (queue_task(pool, NULL, help_loop, loop)) drop_loop(loop); /* out of memory: fewer helpers */
    }
    run_loop(loop);
    pthread_mutex_lock(&loop->lock);
    while (loop->done < loop->n) pthread_cond_wait(&loop->all_done, &loop->lock);
    pthread_mutex_unlock(&loop->lock);
    drop_loop(loop);
}

struct wr_thread {
    pthread_t id;
    void (*fn)(void *arg);
    void *arg;
};

static void *run_thread(void *arg)
{
    wr_thread *thread = arg;
    thread->fn(thread->arg);
    return NULL;
}

wr_status wr_thread_start(wr_thread **out, void (*fn)(void *arg), void *arg, wr_err *err)
{
    *out = NULL;
    wr_thread *thread = malloc(sizeof *thread);
    if (!thread) return wr_fail(err, WR_ENOMEM, "thread: out of memory");
    thread->fn = fn;
    thread->arg = arg;
    int rc = pthread_create(&thread->id, NULL, run_thread, thread);
    if (rc) {
        free(thread);
        return wr_fail(err, WR_EIO, "cannot start a thread: %s", strerror(rc));
    }
    *out = thread;
    return WR_OK;
}

void wr_thread_join(wr_thread *thread)
{
    if (!thread) return;
    pthread_join(thread->id, NULL);
    free(thread);
}
