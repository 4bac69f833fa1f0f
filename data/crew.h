/* Threads that stay together for many short loops: the phases of one forward pass, a few microseconds each.
 *
 * wr_pool_for() hands every loop to the pool anew, which costs more than such a loop takes. A crew is called once: idle
 * workers join, take indices of the loops that the caller gives out one after the other, and wait for the next with
 * their eyes open. Whoever does not come, or comes late, is not waited for: the caller works on every loop too. A worker
 * leaves as soon as other work waits for the pool, so that many queries share the cores instead of hoarding them.
 *
 *     wr_crew *crew = wr_crew_gather(pool);
 *     wr_crew_for(crew, 12, multiply_panel, &job);
 *     wr_crew_for(crew, 4, attend_head, &job);    // begins when all of the first has ended
 *     wr_crew_dismiss(crew);
 *
 * Which thread takes which index is not fixed: results must not depend on it.
 */
#ifndef WR_DATA_CREW_H
#define WR_DATA_CREW_H

#include <stddef.h>

#include "data/pool.h"

typedef struct wr_crew wr_crew;

/* Never fails: NULL (no pool, one thread, no memory) is a crew of the caller alone, for all functions here. */
wr_crew *wr_crew_gather(wr_pool *pool);

/* Threads that may take part, the caller included. */
size_t wr_crew_size(const wr_crew *crew);

/* Calls fn(arg, i) for 0 <= i < n and returns when all have returned. From the thread that gathered, never nested. */
void wr_crew_for(wr_crew *crew, size_t n, void (*fn)(void *arg, size_t i), void *arg);

void wr_crew_dismiss(wr_crew *crew);

#endif
