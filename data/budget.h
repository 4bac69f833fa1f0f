/* Time: a monotonic clock, a soft and a hard deadline, and a way to call work off.
 *
 * Past the soft deadline no new work begins; at the hard deadline the answer is sent as it stands. A budget is shared
 * by every stage and every micro-batch of one request, on any thread; only `cancelled` changes after the start.
 * A fake clock (tests) is any wr_clock whose function returns what the test wants.
 */
#ifndef WR_DATA_BUDGET_H
#define WR_DATA_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct wr_clock {
    uint64_t (*now_ns)(void *arg); /* never goes back */
    void *arg;
} wr_clock;

/* CLOCK_MONOTONIC. */
extern const wr_clock wr_clock_system;
uint64_t wr_clock_now(const wr_clock *clock);

/* No deadline. */
#define WR_NO_DEADLINE UINT64_MAX

typedef struct wr_budget {
    const wr_clock *clock;
    uint64_t start_ns;
    uint64_t soft_ns; /* absolute; WR_NO_DEADLINE without a budget */
    uint64_t hard_ns; /* absolute; soft_ns <= hard_ns              */
    atomic_bool cancelled;
} wr_budget;

/* budget_ms <= 0 or not finite: no deadline. The hard deadline is budget_ms after start_ns, the soft one leaves
 * reserve_ns before it for fusion and serialising. start_ns may lie in the past: pass the time the request arrived
 * (0 = now), so that waiting in the queue counts against the budget. */
void wr_budget_start(wr_budget *budget, const wr_clock *clock, double budget_ms, uint64_t reserve_ns, uint64_t start_ns);

bool wr_budget_has_deadline(const wr_budget *budget);

/* Nanoseconds to the soft deadline; 0 when it has passed or the work was called off; UINT64_MAX without one. A NULL
 * budget means unlimited time everywhere. */
uint64_t wr_budget_left_ns(const wr_budget *budget);

/* True past the soft deadline or when called off: begin nothing new, stop at the next check. Cheap (one vDSO call). */
bool wr_budget_spent(const wr_budget *budget);

/* Calls the work off: every later wr_budget_spent() is true, on every thread. */
void wr_budget_cancel(wr_budget *budget);

double wr_budget_elapsed_ms(const wr_budget *budget);

#endif
