#include <criterion/criterion.h>
#include <math.h>

#include "data/budget.h"
#include "tests/testlib.h"

#define MS UINT64_C(1000000)

Test(budget, the_soft_deadline_leaves_the_reserve)
{
    wr_test_clock fake;
    wr_budget budget;
    wr_test_clock_init(&fake, 1000 * MS, 0);
    wr_budget_start(&budget, &fake.clock, 50, 5 * MS, 0);
    cr_assert_eq(budget.start_ns, 1000 * MS);
    cr_assert_eq(budget.soft_ns, 1045 * MS);
    cr_assert_eq(budget.hard_ns, 1050 * MS);
    cr_assert_eq(wr_budget_left_ns(&budget), 45 * MS);
    fake.now_ns = 1045 * MS - 1;
    cr_assert(!wr_budget_spent(&budget));
    fake.now_ns = 1045 * MS;
    cr_assert(wr_budget_spent(&budget));
    cr_assert_eq(wr_budget_left_ns(&budget), 0u);
    cr_assert_float_eq(wr_budget_elapsed_ms(&budget), 45, 1e-9);
}

Test(budget, waiting_before_the_start_counts)
{
    wr_test_clock fake;
    wr_budget budget;
    wr_test_clock_init(&fake, 1000 * MS, 0);
    wr_budget_start(&budget, &fake.clock, 50, 0, 960 * MS);
    cr_assert_eq(wr_budget_left_ns(&budget), 10 * MS);
    wr_budget_start(&budget, &fake.clock, 50, 0, 900 * MS);
    cr_assert(wr_budget_spent(&budget));
}

Test(budget, a_reserve_larger_than_the_budget_leaves_nothing)
{
    wr_test_clock fake;
    wr_budget budget;
    wr_test_clock_init(&fake, 1000 * MS, 0);
    wr_budget_start(&budget, &fake.clock, 2, 5 * MS, 0);
    cr_assert_eq(budget.soft_ns, budget.start_ns);
    cr_assert(wr_budget_spent(&budget));
}

Test(budget, without_a_deadline_time_is_unlimited)
{
    const double none[] = {0, -1, NAN, INFINITY, -INFINITY};
    wr_budget budget;
    for (size_t i = 0; i < 5; i++) {
        wr_budget_start(&budget, &wr_clock_system, none[i], 0, 0);
        cr_assert(!wr_budget_has_deadline(&budget));
        cr_assert_eq(wr_budget_left_ns(&budget), UINT64_MAX);
        cr_assert(!wr_budget_spent(&budget));
    }
    cr_assert(!wr_budget_has_deadline(NULL));
    cr_assert_eq(wr_budget_left_ns(NULL), UINT64_MAX);
    cr_assert(!wr_budget_spent(NULL));
}

Test(budget, an_enormous_budget_does_not_overflow)
{
    const double huge[] = {1e12, 1e13, 1e15, 1e300};
    wr_budget budget;
    for (size_t i = 0; i < 4; i++) {
        wr_budget_start(&budget, &wr_clock_system, huge[i], MS, 0);
        cr_assert_leq(budget.start_ns, budget.soft_ns);
        cr_assert_leq(budget.soft_ns, budget.hard_ns);
        cr_assert(!wr_budget_spent(&budget));
    }
}

Test(budget, calling_off_ends_it_at_once)
{
    wr_budget budget;
    wr_budget_start(&budget, &wr_clock_system, 0, 0, 0);
    wr_budget_cancel(&budget);
    cr_assert(wr_budget_spent(&budget));
    cr_assert_eq(wr_budget_left_ns(&budget), 0u);
}

Test(budget, the_system_clock_never_goes_back)
{
    uint64_t before = wr_clock_now(&wr_clock_system);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = wr_clock_now(&wr_clock_system);
        cr_assert_leq(before, now);
        before = now;
    }
}
