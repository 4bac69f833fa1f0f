#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/budget.h"
#include "data/mapfile.h"
#include "data/pool.h"
#include "tests/testlib.h"

#define MS UINT64_C(1000000)

static wr_pool *open_pool(unsigned threads)
{
    wr_pool *pool;
    wr_err err = {0};
    cr_assert_eq(wr_pool_open(&pool, threads, NULL, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_pool_threads(pool), threads);
    return pool;
}

static void count_up(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

/* A task that stays until it is let go. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool open, entered;
};
#define GATE                                                                                                           \
    {                                                                                                                  \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false                                              \
    }

static void stay(void *arg)
{
    struct gate *gate = arg;
    pthread_mutex_lock(&gate->lock);
    gate->entered = true;
    pthread_cond_broadcast(&gate->moved);
    while (!gate->open) pthread_cond_wait(&gate->moved, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
}

static void wait_entered(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    while (!gate->entered) pthread_cond_wait(&gate->moved, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
}

static void let_go(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    pthread_cond_broadcast(&gate->moved);
    pthread_mutex_unlock(&gate->lock);
}

Test(pool, every_task_runs_once)
{
    for (unsigned threads = 1; threads <= 8; threads *= 2) {
        wr_pool *pool = open_pool(threads);
        atomic_int count[200] = {0};
        wr_group group;
        wr_group_init(&group, pool);
        for (int i = 0; i < 200; i++) cr_assert_eq(wr_group_add(&group, count_up, &count[i]), WR_OK);
        cr_assert(wr_group_wait(&group, WR_NO_DEADLINE));
        for (int i = 0; i < 200; i++) cr_assert_eq(count[i], 1);
        wr_group_release(&group);
        wr_pool_close(pool);
    }
}

struct order {
    atomic_int next;
    int seen[50];
};
struct step {
    struct order *order;
    int i;
};

static void note(void *arg)
{
    struct step *step = arg;
    step->order->seen[atomic_fetch_add(&step->order->next, 1)] = step->i;
}

Test(pool, tasks_are_taken_in_the_order_they_were_added)
{
    wr_pool *pool = open_pool(1);
    struct order order = {0};
    struct step step[50];
    wr_group group;
    wr_group_init(&group, pool);
    for (int i = 0; i < 50; i++) {
        step[i] = (struct step){&order, i};
        wr_group_add(&group, note, &step[i]);
    }
    wr_group_wait(&group, WR_NO_DEADLINE);
    for (int i = 0; i < 50; i++) cr_assert_eq(order.seen[i], i);
    wr_group_release(&group);
    wr_pool_close(pool);
}

Test(pool, waiting_ends_at_the_deadline_although_work_goes_on)
{
    wr_pool *pool = open_pool(1);
    struct gate gate = GATE;
    wr_group group;
    wr_group_init(&group, pool);
    wr_group_add(&group, stay, &gate);
    wait_entered(&gate);
    uint64_t now = wr_clock_now(&wr_clock_system);
    cr_assert(!wr_group_wait(&group, now + 5 * MS));
    cr_assert_geq(wr_clock_now(&wr_clock_system), now + 5 * MS);
    cr_assert(!wr_group_wait(&group, 0)); /* a time long past: only asks */
    let_go(&gate);
    cr_assert(wr_group_wait(&group, WR_NO_DEADLINE));
    cr_assert(wr_group_wait(&group, 0));
    wr_group_release(&group);
    wr_pool_close(pool);
}

Test(pool, groups_are_waited_for_one_by_one)
{
    wr_pool *pool = open_pool(2);
    struct gate gate = GATE;
    atomic_int count = 0;
    wr_group slow, quick;
    wr_group_init(&slow, pool);
    wr_group_init(&quick, pool);
    wr_group_add(&slow, stay, &gate);
    for (int i = 0; i < 10; i++) wr_group_add(&quick, count_up, &count);
    cr_assert(wr_group_wait(&quick, WR_NO_DEADLINE));
    cr_assert_eq(count, 10);
    let_go(&gate);
    cr_assert(wr_group_wait(&slow, WR_NO_DEADLINE));
    wr_group_release(&slow);
    wr_group_release(&quick);
    wr_pool_close(pool);
}

Test(pool, without_a_pool_the_caller_does_the_work)
{
    atomic_int count = 0;
    wr_group group;
    wr_group_init(&group, NULL);
    wr_group_add(&group, count_up, &count);
    cr_assert_eq(count, 1);
    cr_assert(wr_group_wait(&group, 0));
    wr_group_release(&group);
    cr_assert_eq(wr_pool_threads(NULL), 1u);
    cr_assert_eq(wr_pool_worker(), -1);
    wr_pool_close(NULL);
}

struct table {
    wr_pool *pool;
    atomic_int hit[1000];
    atomic_int outside; /* a worker's number was out of range */
};

static void hit(void *arg, size_t i)
{
    struct table *table = arg;
    int worker = wr_pool_worker();
    if (worker < -1 || worker >= (int)wr_pool_threads(table->pool)) atomic_fetch_add(&table->outside, 1);
    atomic_fetch_add(&table->hit[i], 1);
}

Test(pool, for_visits_every_index_once)
{
    for (unsigned threads = 0; threads <= 4; threads++) {
        wr_pool *pool = threads ? open_pool(threads) : NULL;
        for (size_t n = 0; n <= 1000; n = n ? n * 10 : 1) {
            struct table table = {.pool = pool};
            wr_pool_for(pool, n, hit, &table);
            for (size_t i = 0; i < 1000; i++) cr_assert_eq(table.hit[i], i < n);
            cr_assert_eq(table.outside, 0);
        }
        wr_pool_close(pool);
    }
}

static void inner(void *arg, size_t i)
{
    (void)i;
    atomic_fetch_add(&((struct table *)arg)->hit[0], 1);
}

static void outer(void *arg, size_t i)
{
    (void)i;
    wr_pool_for(((struct table *)arg)->pool, 10, inner, arg);
}

Test(pool, for_may_be_nested_without_a_deadlock)
{
    struct table table = {.pool = open_pool(3)};
    wr_pool_for(table.pool, 50, outer, &table);
    cr_assert_eq(table.hit[0], 500);
    wr_pool_close(table.pool);
}

Test(pool, for_does_not_wait_for_workers_that_are_busy_elsewhere)
{
    struct table table = {.pool = open_pool(2)};
    struct gate gate = GATE;
    wr_group group;
    wr_group_init(&group, table.pool);
    wr_group_add(&group, stay, &gate);
    wr_group_add(&group, stay, &gate);
    wr_pool_for(table.pool, 100, hit, &table);
    for (size_t i = 0; i < 100; i++) cr_assert_eq(table.hit[i], 1);
    let_go(&gate);
    wr_group_wait(&group, WR_NO_DEADLINE);
    wr_group_release(&group);
    wr_pool_close(table.pool);
}

static atomic_int started;

static void on_start(void)
{
    atomic_fetch_add(&started, 1);
}

Test(pool, on_start_runs_once_in_each_worker)
{
    wr_pool *pool;
    cr_assert_eq(wr_pool_open(&pool, 3, on_start, NULL), WR_OK);
    wr_pool_close(pool);
    cr_assert_eq(started, 3);
}

Test(pool, too_many_threads_are_refused)
{
    wr_pool *pool;
    wr_err err;
    cr_assert_eq(wr_pool_open(&pool, 100000, NULL, &err), WR_EARG);
    cr_assert_null(pool);
}

/* ---- CPU quotas */

static void put(const char *root, const char *name, const char *text)
{
    char path[2048];
    snprintf(path, sizeof path, "%s/%s", root, name);
    *strrchr(path, '/') = 0;
    cr_assert_eq(wr_dir_make(path, NULL), WR_OK);
    path[strlen(path)] = '/';
    cr_assert_eq(wr_file_replace(path, text, strlen(text), NULL), WR_OK);
}

Test(pool, the_smallest_quota_of_all_ancestors_counts_v2)
{
    const char *root = wr_test_dir();
    put(root, "proc/self/cgroup", "0::/a/b\n");
    put(root, "proc/self/mountinfo",
        "24 1 0:22 / /proc rw - proc proc rw\n"
        "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
    cr_assert_eq(wr_cpu_quota(root), INFINITY);
    put(root, "sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    cr_assert_eq(wr_cpu_quota(root), INFINITY);
    put(root, "sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    cr_assert_float_eq(wr_cpu_quota(root), 1.5, 1e-9);
    put(root, "sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
    cr_assert_float_eq(wr_cpu_quota(root), 1.5, 1e-9);
    put(root, "sys/fs/cgroup/cpu.max", "50000 100000\n");
    cr_assert_float_eq(wr_cpu_quota(root), 0.5, 1e-9);
}

Test(pool, quotas_of_v1_and_a_container_mount_are_read)
{
    const char *root = wr_test_dir();
    put(root, "proc/self/cgroup", "5:cpuset:/x\n4:cpu,cpuacct:/docker/0a/sub\n0::/\n");
    put(root, "proc/self/mountinfo",
        "30 23 0:27 /x /sys/fs/cgroup/cpuset ro - cgroup cgroup rw,cpuset\n"
        "31 23 0:28 /docker/0a /sys/fs/my\\040group/cpu ro master:7 - cgroup cgroup rw,cpu,cpuacct\n");
    put(root, "sys/fs/my group/cpu/sub/cpu.cfs_quota_us", "-1\n");
    put(root, "sys/fs/my group/cpu/sub/cpu.cfs_period_us", "100000\n");
    cr_assert_eq(wr_cpu_quota(root), INFINITY);
    put(root, "sys/fs/my group/cpu/cpu.cfs_quota_us", "250000\n");
    put(root, "sys/fs/my group/cpu/cpu.cfs_period_us", "100000\n");
    cr_assert_float_eq(wr_cpu_quota(root), 2.5, 1e-9);
}

Test(pool, broken_cgroup_files_mean_no_quota)
{
    const char *root = wr_test_dir();
    cr_assert_eq(wr_cpu_quota(root), INFINITY);
    put(root, "proc/self/cgroup", "garbage\n0::/../..\n");
    put(root, "proc/self/mountinfo", "too short\n1 2 3 - cgroup2 x y\n31 23 0:28 / /cg rw - cgroup2 cgroup2 rw\n");
    put(root, "cg/cpu.max", "\n");
    cr_assert_eq(wr_cpu_quota(root), INFINITY);
    put(root, "cg/cpu.max", "-5 0\n");
    cr_assert_eq(wr_cpu_quota(root), INFINITY);
    cr_assert_geq(wr_cpu_count(), 1u);
}
