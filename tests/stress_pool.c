/* The thread pool under load, for ThreadSanitizer: several callers, groups with deadlines, nested loops, cancelled
 * budgets, closing while helpers are still queued. Exit status 0 when every count is right. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/arena.h"
#include "data/budget.h"
#include "data/crew.h"
#include "data/pool.h"

enum { CALLERS = 4, ROUNDS = 60, TASKS = 24, WIDTH = 40 };

static atomic_ulong done;

struct job {
    wr_pool *pool;
    wr_budget *budget;
    unsigned long plain; /* not atomic on purpose: the pool must order the task before the wait */
};

static void add_one(void *arg, size_t i)
{
    unsigned long *cell = arg;
    cell[i]++;
}

static void task(void *arg)
{
    struct job *job = arg;
    unsigned long cells[WIDTH] = {0};
    wr_pool_for(job->pool, WIDTH, add_one, cells); /* nested inside a task */
    for (size_t i = 0; i < WIDTH; i++) cells[i]--;
    wr_crew *crew = wr_crew_gather(job->pool);
    for (int i = 0; i < 3; i++) wr_crew_for(crew, WIDTH, add_one, cells);
    wr_crew_dismiss(crew);
    for (size_t i = 0; i < WIDTH; i++) job->plain += cells[i] - 2;
    if (wr_budget_spent(job->budget)) job->plain += 1000000;
    atomic_fetch_add(&done, 1);
}

static int one_round(wr_pool *pool, int round)
{
    struct job job[TASKS] = {0};
    wr_budget budget;
    wr_group group;
    wr_budget_start(&budget, &wr_clock_system, 0, 0, 0);
    wr_group_init(&group, pool);
    for (size_t i = 0; i < TASKS; i++) {
        job[i] = (struct job){pool, &budget, 0};
        if (wr_group_add(&group, task, &job[i])) return 1;
    }
    if (round % 3 == 0) wr_group_wait(&group, wr_clock_now(&wr_clock_system) + 100000); /* gives up early */
    if (round % 5 == 0) wr_budget_cancel(&budget);
    wr_group_wait(&group, WR_NO_DEADLINE);
    wr_group_release(&group);
    for (size_t i = 0; i < TASKS; i++)
        if (job[i].plain % 1000000 != WIDTH) return 1;
    return 0;
}

static void *caller(void *pool)
{
    int bad = 0;
    for (int round = 0; round < ROUNDS; round++) bad |= one_round(pool, round);
    return bad ? pool : NULL;
}

static void start_up(void)
{
    atomic_fetch_add(&done, 0);
}

int main(void)
{
    int bad = 0;
    for (unsigned threads = 1; threads <= 4; threads++) {
        wr_pool *pool;
        pthread_t thread[CALLERS];
        if (wr_pool_open(&pool, threads, start_up, NULL)) return 1;
        for (size_t i = 0; i < CALLERS; i++) pthread_create(&thread[i], NULL, caller, pool);
        for (size_t i = 0; i < CALLERS; i++) {
            void *result;
            pthread_join(thread[i], &result);
            bad |= result != NULL;
        }
        wr_pool_close(pool); /* with helpers of finished loops still in its queue */
    }
    unsigned long want = 4ul * CALLERS * ROUNDS * TASKS;
    printf("%lu tasks, %lu expected%s\n", atomic_load(&done), want, bad ? ", wrong sums" : "");
    return bad || atomic_load(&done) != want;
}
