#include "data/budget.h"

#include <math.h>
#include <stddef.h>
#include <time.h>

static uint64_t system_now(void *arg)
{
    (void)arg;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

const wr_clock wr_clock_system = {system_now, NULL};

uint64_t wr_clock_now(const wr_clock *clock)
{
    return clock->now_ns(clock->arg);
}

void wr_budget_start(wr_budget *budget, const wr_clock *clock, double budget_ms, uint64_t reserve_ns, uint64_t start_ns)
{
    budget->clock = clock ? clock : &wr_clock_system;
    budget->start_ns = start_ns ? start_ns : wr_clock_now(budget->clock);
    budget->soft_ns = budget->hard_ns = WR_NO_DEADLINE;
    atomic_init(&budget->cancelled, false);
    if (!isfinite(budget_ms) || budget_ms <= 0) return;
    double ns = budget_ms * 1e6;
    uint64_t room = WR_NO_DEADLINE - 1 - budget->start_ns;
    uint64_t span = ns >= 0x1p63 ? UINT64_MAX : (uint64_t)ns; /* a double beyond 2^63 does not convert */
    if (span > room) span = room;
    budget->hard_ns = budget->start_ns + span;
    budget->soft_ns = budget->hard_ns - (reserve_ns < span ? reserve_ns : span);
}

bool wr_budget_has_deadline(const wr_budget *budget)
{
    return budget && budget->hard_ns != WR_NO_DEADLINE;
}

uint64_t wr_budget_left_ns(const wr_budget *budget)
{
    if (!budget) return UINT64_MAX;
    if (atomic_load_explicit(&budget->cancelled, memory_order_relaxed)) return 0;
    if (budget->soft_ns == WR_NO_DEADLINE) return UINT64_MAX;
    uint64_t now = wr_clock_now(budget->clock);
    return now < budget->soft_ns ? budget->soft_ns - now : 0;
}

bool wr_budget_spent(const wr_budget *budget)
{
    return wr_budget_left_ns(budget) == 0;
}

void wr_budget_cancel(wr_budget *budget)
{
    atomic_store_explicit(&budget->cancelled, true, memory_order_relaxed);
}

double wr_budget_elapsed_ms(const wr_budget *budget)
{
    if (!budget) return 0;
    uint64_t now = wr_clock_now(budget->clock);
    return now > budget->start_ns ? (double)(now - budget->start_ns) / 1e6 : 0;
}
