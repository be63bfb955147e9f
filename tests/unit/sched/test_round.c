#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sched.h>

#include <cmocka.h>

#include "sched/sched.h"

enum { WORKERS = 3, ROUNDS = 200 };

#define SECOND INT64_C(1000000000)

struct fixture {
    struct env *env;
    struct sched *sched;
    _Atomic(uint32_t) passes[WORKERS]; // by worker, which is given one as its own
};

static void
pass(void *local)
{
    // release: pairs with the test's acquire.
    atomic_fetch_add_explicit((_Atomic(uint32_t) *)local, 1, memory_order_release);
}

static int
setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);
    void *locals[WORKERS];

    f->env = hark__env_real();
    for (unsigned i = 0; i < WORKERS; i++) {
        locals[i] = &f->passes[i];
    }
    const struct sched_options options = {
        .env = f->env, .workers = WORKERS, .locals = locals, .pass = pass};
    *state = f;
    return hark__sched_open(&options, &f->sched);
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    hark__sched_stop(f->sched);
    hark__sched_free(f->sched, NULL, NULL);
    test_free(f);
    return 0;
}

static void
wait_until_passed(struct fixture *f)
{
    int64_t until_ns = hark__env_now(f->env) + 20 * SECOND;

    while (!hark__sched_has_passed(f->sched)) {
        assert_true(hark__env_now(f->env) < until_ns);
        sched_yield();
    }
}

static void
each_worker_passes_once_a_round_though_it_sleeps(void **state)
{
    struct fixture *f = *state;

    assert_true(hark__sched_has_passed(f->sched)); // there was none
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        hark__sched_begin_round(f->sched);
        wait_until_passed(f);
        for (int i = 0; i < WORKERS; i++) {
            assert_int_equal(atomic_load(&f->passes[i]), round);
        }
    }
}

// A turn that lasts until it is told to end.
struct long_turn {
    struct task task;
    _Atomic(int) at; // 0: queued, 1: runs, 2: is to end, 3: has
};

static void
run_long(struct task *task, struct worker *worker, void *local)
{
    struct long_turn *turn = (struct long_turn *)(void *)task;

    (void)worker;
    (void)local;
    atomic_store(&turn->at, 1);
    while (atomic_load(&turn->at) != 2) {
        sched_yield();
    }
    atomic_store(&turn->at, 3);
}

static void
a_worker_in_a_turn_passes_when_it_is_over(void **state)
{
    struct fixture *f = *state;
    struct long_turn turn = {.task.run = run_long};
    uint32_t passed = 0;

    hark__sched_submit(f->sched, NULL, &turn.task);
    while (atomic_load(&turn.at) != 1) {
        sched_yield();
    }
    hark__sched_begin_round(f->sched);
    while (passed != WORKERS - 1) { // the others do
        passed = 0;
        for (int i = 0; i < WORKERS; i++) {
            passed += atomic_load(&f->passes[i]);
        }
        assert_true(passed < WORKERS);
        sched_yield();
    }
    assert_false(hark__sched_has_passed(f->sched));
    atomic_store(&turn.at, 2);
    wait_until_passed(f);
    assert_int_equal(atomic_load(&turn.at), 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_worker_passes_once_a_round_though_it_sleeps),
        TEST(a_worker_in_a_turn_passes_when_it_is_over),
    };
    return cmocka_run_group_tests_name("sched/round", tests, NULL, NULL);
}
