#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/balance.h"

#define MS INT64_C(1000000)

enum { WORKERS = 2 };

// A machine of two workers that do so many units a millisecond each.
struct machine {
    struct balance balance;
    int64_t now_ns;
    uint64_t units[WORKERS];
    uint64_t spread_rate;   // of each worker
    uint64_t gathered_rate; // of the one
    unsigned active;        // workers that have something to do while it is spread
    unsigned active_eager;  // the same while they are eager
    bool waits;             // something does while another task runs
    int64_t gathered_ms;    // how long it was
    int64_t eager_ms;
};

static struct machine
machine_of(uint64_t spread_rate, uint64_t gathered_rate)
{
    struct machine machine = {
        .now_ns = 1,
        .spread_rate = spread_rate,
        .gathered_rate = gathered_rate,
        .active = WORKERS,
        .active_eager = WORKERS,
        .waits = true,
    };

    hark__balance_init(&machine.balance, machine.now_ns);
    return machine;
}

// Lets it work for so long, with a sample each millisecond.
static void
run_ms(struct machine *machine, int ms)
{
    for (int i = 0; i < ms; i++) {
        bool gathered = hark__balance_is_gathered(&machine->balance);
        bool eager = hark__balance_is_eager(&machine->balance);
        unsigned active = eager ? machine->active_eager : machine->active;
        struct balance_sample sample = {
            .units = machine->units,
            .count = WORKERS,
            .waits = machine->waits,
        };

        assert_false(gathered && eager);
        machine->now_ns += MS;
        if (gathered || active == 1) {
            machine->units[0] += machine->gathered_rate;
        } else {
            for (unsigned w = 0; w < active; w++) {
                machine->units[w] += machine->spread_rate;
            }
        }
        machine->gathered_ms += gathered;
        machine->eager_ms += eager;
        hark__balance_sample(&machine->balance, machine->now_ns, &sample);
    }
}

static void
fine_work_that_spreading_slows_down_is_gathered(void **state)
{
    struct machine machine = machine_of(10000, 40000);

    (void)state;
    run_ms(&machine, 20);
    assert_int_equal(machine.balance.state, BALANCE_GATHERED);
    machine.gathered_ms = 0;
    run_ms(&machine, 5000);
    assert_true(machine.gathered_ms > 4950); // tried anew now and then
    assert_true(machine.gathered_ms < 5000);
}

static void
fine_work_that_gains_from_spreading_stays_spread(void **state)
{
    struct machine machine = machine_of(10000, 11000);

    (void)state;
    run_ms(&machine, 20);
    machine.gathered_ms = 0;
    run_ms(&machine, 5000);
    assert_true(machine.gathered_ms < 200); // the price of trying
    assert_true(machine.gathered_ms > 0);
}

static void
coarse_work_is_never_gathered(void **state)
{
    struct machine machine = machine_of(1500, 3000);

    (void)state;
    run_ms(&machine, 1000);
    assert_int_equal(machine.gathered_ms, 0);
}

static void
one_workers_work_is_left_alone_while_nothing_waits(void **state)
{
    struct machine machine = machine_of(40000, 40000);

    (void)state;
    machine.active = 1;
    machine.waits = false;
    run_ms(&machine, 1000);
    assert_int_equal(machine.gathered_ms + machine.eager_ms, 0);
}

static void
one_workers_work_is_shared_if_that_pays(void **state)
{
    struct machine machine = machine_of(30000, 40000);

    (void)state;
    machine.active = 1;
    run_ms(&machine, 20);
    machine.eager_ms = 0;
    run_ms(&machine, 5000);
    assert_true(machine.eager_ms > 4800);
}

static void
one_workers_work_stays_together_if_sharing_does_not_pay(void **state)
{
    struct machine machine = machine_of(10000, 40000);

    (void)state;
    machine.active = 1;
    run_ms(&machine, 5000);
    assert_true(machine.eager_ms > 0);
    assert_true(machine.eager_ms < 50);
}

// The second worker does not come, as on a machine that is busy: a rate that happens to be
// better then is none of spreading.
static void
a_trial_that_one_worker_was_alone_in_is_lost(void **state)
{
    struct machine machine = machine_of(10000, 40000);

    (void)state;
    machine.active = machine.active_eager = 1;
    while (machine.eager_ms == 0) {
        run_ms(&machine, 1);
    }
    machine.gathered_rate = 60000;
    run_ms(&machine, 30);
    assert_true(machine.eager_ms < 10);
}

// The sample in which the work began has little of it.
static void
what_was_before_the_work_began_is_not_compared(void **state)
{
    struct machine machine = machine_of(15000, 4000);

    (void)state;
    machine.active = 1;
    run_ms(&machine, 1);
    machine.gathered_rate = 40000;
    run_ms(&machine, 200);
    assert_true(machine.eager_ms < 20);
}

static void
work_that_becomes_coarse_is_spread_at_once(void **state)
{
    struct machine machine = machine_of(10000, 40000);

    (void)state;
    run_ms(&machine, 500);
    machine.spread_rate = machine.gathered_rate = 100;
    run_ms(&machine, 20); // it may just be trying
    assert_int_equal(machine.balance.state, BALANCE_LAZY);
    machine.gathered_ms = 0;
    run_ms(&machine, 500);
    assert_int_equal(machine.gathered_ms, 0);
}

// Another process has the processor for a while: that says nothing of the work.
static void
a_moment_without_the_processor_changes_no_verdict(void **state)
{
    struct machine machine = machine_of(10000, 40000);

    (void)state;
    run_ms(&machine, 20);
    machine.gathered_ms = 0;
    for (int i = 0; i < 200; i++) {
        machine.spread_rate = machine.gathered_rate = 100;
        run_ms(&machine, 1);
        machine.spread_rate = 10000;
        machine.gathered_rate = 40000;
        run_ms(&machine, 9);
    }
    assert_true(machine.gathered_ms > 1800); // of 2000
}

static void
what_waits_too_long_spreads_it_for_a_while(void **state)
{
    struct machine machine = machine_of(10000, 40000);

    (void)state;
    run_ms(&machine, 20);
    hark__balance_spread(&machine.balance, machine.now_ns);
    assert_false(hark__balance_is_gathered(&machine.balance));
    machine.gathered_ms = 0;
    run_ms(&machine, 10);
    assert_int_equal(machine.gathered_ms, 0);
    run_ms(&machine, 100);
    assert_true(machine.gathered_ms > 0);
}

static void
what_waits_too_long_again_and_again_leaves_it_spread_for_longer(void **state)
{
    struct machine machine = machine_of(10000, 40000);
    int rounds = 0;

    (void)state;
    for (int ms = 0; ms < 2000; ms++) {
        run_ms(&machine, 1);
        if (machine.balance.state == BALANCE_GATHERED) {
            hark__balance_spread(&machine.balance, machine.now_ns);
            rounds++;
        }
    }
    assert_in_range(rounds, 4, 8); // 16, 32, 64 ms and so on
}

static void
a_verdict_is_kept_longer_each_time(void **state)
{
    struct machine machine = machine_of(10000, 11000);

    (void)state;
    run_ms(&machine, 1000);
    machine.gathered_ms = 0;
    run_ms(&machine, 1000);
    int64_t second = machine.gathered_ms;
    machine.gathered_ms = 0;
    run_ms(&machine, 4000);
    assert_true(machine.gathered_ms <= 4 * (second + 5));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fine_work_that_spreading_slows_down_is_gathered),
        cmocka_unit_test(fine_work_that_gains_from_spreading_stays_spread),
        cmocka_unit_test(coarse_work_is_never_gathered),
        cmocka_unit_test(one_workers_work_is_left_alone_while_nothing_waits),
        cmocka_unit_test(one_workers_work_is_shared_if_that_pays),
        cmocka_unit_test(one_workers_work_stays_together_if_sharing_does_not_pay),
        cmocka_unit_test(a_trial_that_one_worker_was_alone_in_is_lost),
        cmocka_unit_test(what_was_before_the_work_began_is_not_compared),
        cmocka_unit_test(work_that_becomes_coarse_is_spread_at_once),
        cmocka_unit_test(a_moment_without_the_processor_changes_no_verdict),
        cmocka_unit_test(what_waits_too_long_spreads_it_for_a_while),
        cmocka_unit_test(
            what_waits_too_long_again_and_again_leaves_it_spread_for_longer),
        cmocka_unit_test(a_verdict_is_kept_longer_each_time),
    };

    return cmocka_run_group_tests_name("balance", tests, NULL, NULL);
}
