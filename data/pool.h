/* The one thread pool of the process: micro-batches of one query or of many.
 *
 * Work is handed over in groups. A group belongs to its caller, who may wait for it, with or without a time limit.
 * Tasks are taken in the order they were added. A task never blocks on another task. Threads that compute are created
 * here and nowhere else; BLAS and OpenMP are held to one thread each (see on_start).
 *
 *     wr_group group;
 *     wr_group_init(&group, pool);
 *     wr_group_add(&group, score_batch, &job[0]);
 *     wr_group_add(&group, score_batch, &job[1]);
 *     if (!wr_group_wait(&group, deadline_ns)) ...   // something still runs: do not touch its memory yet
 *     wr_group_wait(&group, WR_NO_DEADLINE);
 *     wr_group_release(&group);
 */
#ifndef WR_DATA_POOL_H
#define WR_DATA_POOL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

typedef struct wr_pool wr_pool;

/* The number of threads that this process may really use: CPUs in its affinity mask, lowered by the cgroup's CPU quota
 * (v2 cpu.max, v1 cpu.cfs_quota_us, of every ancestor), rounded up, at least 1. */
unsigned wr_cpu_count(void);

/* The CPU time per time that the cgroups of this process allow, INFINITY without a quota. root is put before every path
 * that is read ("" in production; tests give a folder with proc/self/cgroup, proc/self/mountinfo and the mounts). */
double wr_cpu_quota(const char *root);

/* Starts `threads` workers (0 = wr_cpu_count()). on_start, when not NULL, runs once in each worker before its first
 * task: the place where a library with thread-local settings is told to use one thread. */
wr_status wr_pool_open(wr_pool **pool, unsigned threads, void (*on_start)(void), wr_err *err);

/* Runs what was added, then joins. No group may be added to meanwhile. NULL is fine. */
void wr_pool_close(wr_pool *pool);

unsigned wr_pool_threads(const wr_pool *pool); /* 1 for NULL */

/* Index of the calling worker, 0 <= i < threads; -1 on a thread that is not the pool's. */
int wr_pool_worker(void);

typedef void (*wr_task_fn)(void *arg);

typedef struct wr_group {
    wr_pool *pool;
    size_t pending;      /* added and not finished; guarded by the pool's lock */
    pthread_cond_t idle; /* CLOCK_MONOTONIC; signalled when pending falls to 0 */
} wr_group;

void wr_group_init(wr_group *group, wr_pool *pool);
void wr_group_release(wr_group *group); /* nothing may be pending */

/* Queues one task. With group->pool == NULL the task runs at once in the caller. WR_ENOMEM leaves nothing queued. */
wr_status wr_group_add(wr_group *group, wr_task_fn fn, void *arg);

/* Queues a task that nobody waits for: it must own what it uses. False when out of memory. */
bool wr_pool_post(wr_pool *pool, wr_task_fn fn, void *arg);

/* Whether tasks wait for a worker at this moment: who only helps out should then give way. */
bool wr_pool_is_wanted(const wr_pool *pool);

/* Waits until nothing is pending or the monotonic time until_ns has come (WR_NO_DEADLINE = forever). True when idle.
 * The caller executes no task, so it returns in time whatever the workers do. */
bool wr_group_wait(wr_group *group, uint64_t until_ns);

/* Calls fn(arg, i) for every 0 <= i < n and returns when all are done. At most wr_pool_threads() threads take part, the
 * caller is one of them (wr_pool_worker() is -1 there unless it is a worker itself). Which thread takes which i is not
 * fixed: results must not depend on it. May be called from inside a task. pool may be NULL. */
void wr_pool_for(wr_pool *pool, size_t n, void (*fn)(void *arg, size_t i), void *arg);

/* A thread that waits for others more than it computes (the coordinator of a request, a reload behind the server's
 * back), so it is not one of a pool: pool tasks must never block, and these do. wr_pool_worker() is -1 on it. */
typedef struct wr_thread wr_thread;
wr_status wr_thread_start(wr_thread **thread, void (*fn)(void *arg), void *arg, wr_err *err);
void wr_thread_join(wr_thread *thread); /* waits for fn to return, then frees; NULL is fine */

#endif
