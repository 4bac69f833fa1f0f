/* Requests that wait for a coordinator: bounded, earliest deadline first; full means 429 now, not a timeout later.
 *
 * Equal deadlines leave in the order they came. A request without a deadline is given a nominal one when it arrives
 * (WR_NOMINAL_DEADLINE_NS), so later requests with short budgets cannot keep it waiting for ever.
 */
#ifndef WR_SERVER_QUEUE_H
#define WR_SERVER_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

/* One second: about what people wait for an answer without noticing, and ten times the usual budgets, so those go
 * first while there is a choice at all. */
#define WR_NOMINAL_DEADLINE_NS 1000000000u

typedef struct wr_queue wr_queue;

/* capacity 1..2^20. */
wr_status wr_queue_open(wr_queue **queue, size_t capacity, wr_err *err);
void wr_queue_close(wr_queue *queue); /* nobody may wait in it any more; NULL is fine */

/* Any thread; never waits for room. WR_EFULL when capacity items wait already or the queue was ended. O(log n). */
wr_status wr_queue_push(wr_queue *queue, void *item, uint64_t deadline_ns);

/* Waits for an item; NULL once the queue was ended and is empty. O(log n). */
void *wr_queue_pop(wr_queue *queue);

/* Takes no more items; what waits is still handed out, then every pop returns NULL. */
void wr_queue_end(wr_queue *queue);

size_t wr_queue_depth(wr_queue *queue); /* items that wait now */
size_t wr_queue_capacity(const wr_queue *queue);

#endif
