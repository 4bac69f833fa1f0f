/* Loops by a crew: every index once, in order of loops, with or without helpers. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>

#include "data/budget.h"
#include "data/crew.h"

enum { N = 500 };

typedef struct loop {
    atomic_int times[N];
    int plain[N]; /* not atomic on purpose: a loop's end must make it visible */
    int add;
} loop;

static void count(void *arg, size_t i)
{
    loop *l = arg;
    atomic_fetch_add(&l->times[i], 1);
    l->plain[i] += l->add;
}

static void check(wr_pool *pool, int loops)
{
    static loop l;
    memset(&l, 0, sizeof l);
    wr_crew *crew = wr_crew_gather(pool);
    int want = 0;
    for (int round = 1; round <= loops; round++) {
        size_t n = (size_t)(round * 37 % N) + 1;
        l.add = round;
        wr_crew_for(crew, n, count, &l);
        want += round;
        for (size_t i = 0; i < N; i++) cr_assert_eq(atomic_exchange(&l.times[i], 0), i < n);
        cr_assert_leq(l.plain[0], want);
    }
    cr_assert_eq(l.plain[0], want);
    wr_crew_dismiss(crew);
}

Test(crew, every_index_of_every_loop_is_run_once)
{
    wr_pool *pool;
    cr_assert_eq(wr_pool_open(&pool, 4, NULL, NULL), WR_OK);
    for (int i = 0; i < 50; i++) check(pool, 40);
    wr_pool_close(pool);
}

Test(crew, nobody_is_a_crew_too)
{
    cr_assert_eq(wr_crew_size(NULL), 1u);
    check(NULL, 10);
}

static void nothing(void *arg, size_t i)
{
    (void)arg, (void)i;
    cr_assert_fail("called");
}

Test(crew, a_loop_of_nothing_calls_nothing)
{
    wr_pool *pool;
    cr_assert_eq(wr_pool_open(&pool, 2, NULL, NULL), WR_OK);
    wr_crew *crew = wr_crew_gather(pool);
    wr_crew_for(crew, 0, nothing, NULL);
    wr_crew_dismiss(crew);
    wr_pool_close(pool);
}

static void inside(void *arg)
{
    loop *l = arg;
    l->add = 1;
    wr_crew *crew = wr_crew_gather(NULL);
    wr_crew_for(crew, N, count, l);
    wr_crew_dismiss(crew);
}

typedef struct nested {
    wr_pool *pool;
    loop loop;
} nested;

static void gather_inside(void *arg)
{
    nested *n = arg;
    n->loop.add = 1;
    wr_crew *crew = wr_crew_gather(n->pool);
    for (int i = 0; i < 20; i++) wr_crew_for(crew, N, count, &n->loop);
    wr_crew_dismiss(crew);
}

Test(crew, tasks_of_the_pool_gather_crews_while_others_do)
{
    enum { TASKS = 12 };
    static nested job[TASKS];
    static loop alone;
    wr_pool *pool;
    wr_group group;
    cr_assert_eq(wr_pool_open(&pool, 3, NULL, NULL), WR_OK);
    wr_group_init(&group, pool);
    for (size_t i = 0; i < TASKS; i++) {
        job[i].pool = pool;
        cr_assert_eq(wr_group_add(&group, gather_inside, &job[i]), WR_OK);
    }
    cr_assert_eq(wr_group_add(&group, inside, &alone), WR_OK);
    wr_group_wait(&group, WR_NO_DEADLINE);
    wr_group_release(&group);
    for (size_t i = 0; i < TASKS; i++)
        for (size_t j = 0; j < N; j++) cr_assert_eq(job[i].loop.plain[j], 20);
    wr_pool_close(pool);
}
