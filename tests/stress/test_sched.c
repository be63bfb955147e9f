// A scheduler full of tasks that wake each other, with timers and outside threads.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <sched.h>

#include <cmocka.h>

#include "sched/sched.h"

#define MS INT64_C(1000000)
#define RUN_NS (1200 * MS) // tasks stop then

enum { WORKERS = 4, OUTSIDE = 2, TASKS = 3000 };

// A task hops on through the scheduler until the time is over. `hops` is plain: two
// turns of one task at once would be a race, and so would a turn that does not see the
// last.
struct hopper {
    struct task task; // first member
    struct crowd *crowd;
    uint64_t hops;
    uint32_t random;
};

struct crowd {
    struct env *env;
    struct sched *sched;
    int64_t deadline_ns;
    struct hopper hoppers[TASKS];
    _Atomic(uint32_t) ended;    // hoppers that have stopped
    _Atomic(uint32_t) all_over; // 1: all have
    _Atomic(uint64_t) armed, fired;
};

static void
hop_later(void *poll_arg, struct timer_action *action)
{
    struct hopper *hopper = action->data;

    // relaxed: a count.
    atomic_fetch_add_explicit(&hopper->crowd->fired, 1, memory_order_relaxed);
    hark__sched_submit(hopper->crowd->sched, poll_arg, &hopper->task);
}

static void
end_hopper(struct crowd *crowd)
{
    // acq_rel: all hoppers' turns come before the end that the last one tells.
    if (atomic_fetch_add_explicit(&crowd->ended, 1, memory_order_acq_rel)
        == TASKS - 1) {
        // release: pairs with the test's acquire.
        atomic_store_explicit(&crowd->all_over, 1, memory_order_release);
        crowd->env->ops->wake(crowd->env, &crowd->all_over);
    }
}

static void
arm_hop(struct hopper *hopper, struct worker *worker)
{
    struct crowd *crowd = hopper->crowd;
    const struct timer_action action = {.fire = hop_later, .data = hopper};
    int64_t when = hark__env_now(crowd->env) + hopper->random % 2000 * 1000;

    // relaxed: a count.
    atomic_fetch_add_explicit(&crowd->armed, 1, memory_order_relaxed);
    hark__sched_arm(crowd->sched, worker, when, &action);
}

static void
hop(struct task *task, struct worker *worker, void *local)
{
    (void)local;
    struct hopper *hopper = (struct hopper *)task;
    struct crowd *crowd = hopper->crowd;

    hopper->hops++;
    hopper->random = hopper->random * 1664525 + 1013904223;
    if (hark__worker_now(worker) > crowd->deadline_ns) {
        end_hopper(crowd);
        return;
    }
    switch (hopper->random >> 28) {
    case 0:
        arm_hop(hopper, worker);
        return;
    case 1:
        arm_hop(hopper, NULL);
        return;
    case 2:
        hark__sched_submit(crowd->sched, NULL, task);
        return;
    case 3:
    case 4:
    case 5:
        hark__sched_yield(worker, task);
        return;
    default:
        hark__sched_submit(crowd->sched, worker, task);
    }
}

struct outsider {
    struct crowd *crowd;
    unsigned first;
};

static void *
submit_from_outside(void *arg)
{
    const struct outsider *outsider = arg;

    for (unsigned i = outsider->first; i < TASKS; i += OUTSIDE) {
        hark__sched_submit(outsider->crowd->sched, NULL,
                           &outsider->crowd->hoppers[i].task);
        if (i % 64 == 0) {
            sched_yield();
        }
    }
    return NULL;
}

static void
open_crowd(struct crowd *crowd, unsigned workers)
{
    void *locals[WORKERS] = {NULL};
    struct sched_options options = {
        .env = hark__env_real(), .workers = workers, .locals = locals};

    crowd->env = options.env;
    crowd->deadline_ns = hark__env_now(crowd->env) + RUN_NS / 2;
    for (uint32_t i = 0; i < TASKS; i++) {
        crowd->hoppers[i] =
            (struct hopper){.task.run = hop, .crowd = crowd, .random = i * 2654435761U};
    }
    assert_int_equal(hark__sched_open(&options, &crowd->sched), HARK_OK);
}

static void
run_crowd(unsigned workers)
{
    struct crowd *crowd = test_calloc(1, sizeof *crowd);
    struct outsider outsiders[OUTSIDE];
    pthread_t threads[OUTSIDE];

    open_crowd(crowd, workers);
    int64_t limit = crowd->deadline_ns + 10000 * MS;
    for (unsigned i = 0; i < OUTSIDE; i++) {
        outsiders[i] = (struct outsider){crowd, i};
        assert_int_equal(
            pthread_create(&threads[i], NULL, submit_from_outside, &outsiders[i]), 0);
    }
    for (unsigned i = 0; i < OUTSIDE; i++) {
        pthread_join(threads[i], NULL);
    }
    // acquire: pairs with end_hopper.
    while (atomic_load_explicit(&crowd->all_over, memory_order_acquire) == 0
           && hark__env_now(crowd->env) < limit) {
        crowd->env->ops->wait(crowd->env, &crowd->all_over, 0, limit);
    }
    hark__sched_stop(crowd->sched);
    hark__sched_free(crowd->sched, NULL, NULL);
    assert_int_equal(crowd->ended, TASKS);
    assert_true(crowd->fired == crowd->armed);
    test_free(crowd);
}

static void
no_task_is_lost_among_many_workers(void **state)
{
    (void)state;
    run_crowd(WORKERS);
}

static void
no_task_is_lost_on_one_worker(void **state)
{
    (void)state;
    run_crowd(1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_task_is_lost_among_many_workers),
        cmocka_unit_test(no_task_is_lost_on_one_worker),
    };
    return cmocka_run_group_tests_name("stress/sched", tests, NULL, NULL);
}
