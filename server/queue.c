#include "server/queue.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#define MAX_CAPACITY ((size_t)1 << 20) /* a million waiting requests are no queue but an outage */

typedef struct entry {
    uint64_t deadline_ns, number; /* number: order of arrival */
    void *item;
} entry;

struct wr_queue {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t filled;
    bool ended;
    uint64_t arrivals;
    size_t n, capacity;
    entry heap[]; /* [capacity] a binary heap, the most urgent at 0 */
};

static bool before(const entry *a, const entry *b)
{
    return a->deadline_ns != b->deadline_ns ? a->deadline_ns < b->deadline_ns : a->number < b->number;
}

wr_status wr_queue_open(wr_queue **out, size_t capacity, wr_err *err)
{
    *out = NULL;
    if (capacity < 1 || capacity > MAX_CAPACITY)
        return wr_fail(err, WR_EARG, "queue of %zu requests, expected 1 to %zu", capacity, MAX_CAPACITY);
    wr_queue *queue = calloc(1, sizeof *queue + capacity * sizeof queue->heap[0]);
    if (!queue) return wr_fail(err, WR_ENOMEM, "queue: out of memory");
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->filled, NULL);
    queue->capacity = capacity;
    *out = queue;
    return WR_OK;
}

void wr_queue_close(wr_queue *queue)
{
    if (!queue) return;
    pthread_cond_destroy(&queue->filled);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

static void sift_up(wr_queue *queue, size_t i, entry e)
{
    for (size_t up; i > 0 && (up = (i - 1) / 2, before(&e, &queue->heap[up])); i = up) queue->heap[i] = queue->heap[up];
    queue->heap[i] = e;
}

static void sift_down(wr_queue *queue, entry e)
{
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < queue->n; i = child) {
        if (child + 1 < queue->n && before(&queue->heap[child + 1], &queue->heap[child])) child++;
        if (!before(&queue->heap[child], &e)) break;
        queue->heap[i] = queue->heap[child];
    }
    queue->heap[i] = e;
}

wr_status wr_queue_push(wr_queue *queue, void *item, uint64_t deadline_ns)
{
    wr_status st = WR_EFULL;
    pthread_mutex_lock(&queue->lock);
    if (!queue->ended && queue->n < queue->capacity) {
        st = WR_OK;
        sift_up(queue, queue->n++, (entry){deadline_ns, queue->arrivals++, item});
        pthread_cond_signal(&queue->filled);
    }
    pthread_mutex_unlock(&queue->lock);
    return st;
}

void *wr_queue_pop(wr_queue *queue)
{
    void *item = NULL;
    pthread_mutex_lock(&queue->lock);
    while (queue->n == 0 && !queue->ended) pthread_cond_wait(&queue->filled, &queue->lock);
    if (queue->n) {
        item = queue->heap[0].item;
        entry last = queue->heap[--queue->n];
        if (queue->n) sift_down(queue, last);
    }
    pthread_mutex_unlock(&queue->lock);
    return item;
}

void wr_queue_end(wr_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->ended = true;
    pthread_cond_broadcast(&queue->filled);
    pthread_mutex_unlock(&queue->lock);
}

size_t wr_queue_depth(wr_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    size_t n = queue->n;
    pthread_mutex_unlock(&queue->lock);
    return n;
}

size_t wr_queue_capacity(const wr_queue *queue)
{
    return queue->capacity;
}
