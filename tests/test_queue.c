#include <criterion/criterion.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "server/queue.h"
#include "tests/testlib.h"

static wr_queue *queue_of(size_t capacity)
{
    wr_queue *queue;
    cr_assert_eq(wr_queue_open(&queue, capacity, NULL), WR_OK);
    return queue;
}

Test(queue, the_earliest_deadline_leaves_first)
{
    int item[4];
    const uint64_t deadline[4] = {300, 100, 400, 200};
    wr_queue *queue = queue_of(4);
    for (int i = 0; i < 4; i++) cr_assert_eq(wr_queue_push(queue, &item[i], deadline[i]), WR_OK);
    cr_assert_eq(wr_queue_pop(queue), &item[1]);
    cr_assert_eq(wr_queue_pop(queue), &item[3]);
    cr_assert_eq(wr_queue_pop(queue), &item[0]);
    cr_assert_eq(wr_queue_pop(queue), &item[2]);
    wr_queue_close(queue);
}

Test(queue, equal_deadlines_leave_in_the_order_they_came)
{
    int item[64];
    wr_queue *queue = queue_of(64);
    for (int i = 0; i < 64; i++) cr_assert_eq(wr_queue_push(queue, &item[i], 7), WR_OK);
    for (int i = 0; i < 64; i++) cr_assert_eq(wr_queue_pop(queue), &item[i]);
    wr_queue_close(queue);
}

Test(queue, full_is_said_at_once_and_ends_when_something_left)
{
    int item[3];
    wr_queue *queue = queue_of(2);
    cr_assert_eq(wr_queue_push(queue, &item[0], 1), WR_OK);
    cr_assert_eq(wr_queue_push(queue, &item[1], 2), WR_OK);
    cr_assert_eq(wr_queue_depth(queue), 2);
    cr_assert_eq(wr_queue_push(queue, &item[2], 0), WR_EFULL);
    cr_assert_eq(wr_queue_pop(queue), &item[0]);
    cr_assert_eq(wr_queue_push(queue, &item[2], 0), WR_OK);
    cr_assert_eq(wr_queue_pop(queue), &item[2]);
    wr_queue_close(queue);
}

Test(queue, an_ended_queue_gives_what_waits_and_then_nothing)
{
    int item[2];
    wr_queue *queue = queue_of(2);
    wr_queue_push(queue, &item[0], 1);
    wr_queue_end(queue);
    cr_assert_eq(wr_queue_push(queue, &item[1], 1), WR_EFULL);
    cr_assert_eq(wr_queue_pop(queue), &item[0]);
    cr_assert_null(wr_queue_pop(queue));
    cr_assert_null(wr_queue_pop(queue));
    wr_queue_close(queue);
}

Test(queue, agrees_with_a_sorted_list)
{
    enum { N = 200 };
    struct waiting { uint64_t deadline; size_t i; bool here; } list[2000] = {0};
    wr_test_random random = {5};
    wr_queue *queue = queue_of(N);
    size_t waiting = 0;
    for (size_t i = 0; i < 2000; i++) {
        list[i] = (struct waiting){wr_test_below(&random, 50), i, false};
        if (wr_queue_push(queue, &list[i], list[i].deadline) == WR_OK) list[i].here = true, waiting++;
        else cr_assert_eq(waiting, N);
        if (wr_test_below(&random, 2) == 0) continue;
        struct waiting *best = NULL;
        for (size_t j = 0; j <= i; j++)
            if (list[j].here && (!best || list[j].deadline < best->deadline)) best = &list[j];
        if (!best) continue;
        cr_assert_eq(wr_queue_pop(queue), best);
        best->here = false;
        waiting--;
    }
    wr_queue_close(queue);
}

static void *take_all(void *arg)
{
    size_t n = 0;
    while (wr_queue_pop(arg)) n++;
    return (void *)n;
}

Test(queue, every_item_is_taken_once_by_whichever_thread)
{
    static int item;
    wr_queue *queue = queue_of(16);
    pthread_t thread[4];
    size_t taken = 0;
    for (int i = 0; i < 4; i++) pthread_create(&thread[i], NULL, take_all, queue);
    for (size_t pushed = 0; pushed < 10000;)
        if (wr_queue_push(queue, &item, pushed) == WR_OK) pushed++;
    wr_queue_end(queue);
    for (int i = 0; i < 4; i++) {
        void *n;
        pthread_join(thread[i], &n);
        taken += (size_t)n;
    }
    cr_assert_eq(taken, 10000);
    wr_queue_close(queue);
}

Test(queue, a_capacity_that_is_no_queue_is_refused)
{
    wr_queue *queue;
    wr_err err;
    cr_assert_eq(wr_queue_open(&queue, 0, &err), WR_EARG);
    cr_assert_null(queue);
    cr_assert_eq(wr_queue_open(&queue, (size_t)1 << 40, &err), WR_EARG);
    wr_queue_close(NULL);
}
