// Executors: limits of blocking work, bulkheads, and what their end means for it.

#include "api/gate.h"

// ---- limits ----

static void
more_work_than_threads_is_done_in_order(void **state)
{
    struct world *w = open_with(1, 0);
    hark_future futures[MANY];

    (void)state;
    for (int64_t i = 0; i < MANY; i++) {
        futures[i] = hark_blocking(w->here, at_gate, number(i));
    }
    gate_allow(MANY);
    for (int64_t i = 0; i < MANY; i++) {
        assert_int_equal(get(w, futures[i]), i);
        assert_int_equal(gate.order[i], i);
    }
    assert_int_equal(gate.most, 1);
    assert_int_equal(world_stats(w->here_system).blocking_started, 1);
    world_close(w);
    assert_int_equal(gate.dropped, MANY);
}

static void
many_pieces_share_a_few_threads(void **state)
{
    struct world *w = open_with(4, 0);
    hark_future futures[MANY];

    (void)state;
    for (int64_t i = 0; i < MANY; i++) {
        futures[i] = hark_blocking(w->here, at_gate, number(i));
    }
    gate_until(&gate.waiting, 4);
    assert_int_equal(world_stats(w->here_system).blocking_threads, 4);
    assert_int_equal(world_stats(w->here_system).blocking_waiting, MANY - 4);
    gate_allow(MANY);
    hark_future all = hark_all(w->here, futures, MANY);
    const hark_all_done *done = hark_await(w->here, all, hark_all_done);
    assert_non_null(done);
    assert_int_equal(gate.most, 4);
    world_close(w);
    assert_int_equal(gate.dropped, MANY);
}

static void
a_full_queue_fails_at_once_and_says_so(void **state)
{
    struct world *w = open_with(1, 1);
    hark_future first = hark_blocking(w->here, at_gate, number(1));
    hark_future second = hark_blocking(w->here, at_gate, number(2));

    (void)state;
    assert_fails(w, hark_blocking(w->here, at_gate, number(3)), HARK_ELIMIT,
                 HARK_STAGE_NOT_SENT,
                 "at_gate: executor \"blocking\" is full: 1 threads are busy, and 1 "
                 "wait");
    assert_int_equal(gate.dropped, 1);
    gate_allow(2);
    assert_int_equal(get(w, first), 1);
    assert_int_equal(get(w, second), 2);
    world_close(w);
}

static void
threads_end_when_there_is_nothing_to_do(void **state)
{
    struct world *w;

    (void)state;
    world_close(open_with(0, 0));
    w = world_open(REACH_LOCAL, &(hark_options){.blocking_idle_ms = 1});
    for (uint64_t round = 1; round <= 2; round++) {
        hark_future f[3];

        for (int i = 0; i < 3; i++) {
            f[i] = hark_blocking(w->here, at_gate, number(i));
        }
        gate_until(&gate.waiting, 3);
        assert_int_equal(world_stats(w->here_system).blocking_threads, 3);
        gate_allow(3);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(get(w, f[i]), i);
        }
        while (world_stats(w->here_system).blocking_threads > 0) {
            sched_yield();
        }
        assert_int_equal(world_stats(w->here_system).blocking_started, 3 * round);
    }
    world_close(w);
}

static void
no_room_for_another_ctx_is_a_clear_error(void **state)
{
    struct world *w;

    (void)state;
    world_close(open_with(0, 0));
    w = world_open(REACH_LOCAL, &(hark_options){.actor_limit = 1}); // this thread
    assert_fails(w, hark_blocking(w->here, twice, number(1)), HARK_ELIMIT,
                 HARK_STAGE_QUEUED, "no room");
    gate_until(&gate.dropped, 1);
    world_close(w);
}

// ---- executors ----

static void
executors_do_not_take_threads_of_each_other(void **state)
{
    struct world *w = open_with(1, 0);
    hark_executor *slow = hark_executor_new(
        w->here_system,
        &(hark_executor_options){.name = "slow", .threads = 2, .queue = 1});
    hark_executor *fast = hark_executor_new(
        w->here_system, &(hark_executor_options){.name = "fast", .threads = 1});
    hark_future held[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        held[i] = hark_blocking_on(w->here, slow, at_gate, number(i));
    }
    gate_until(&gate.waiting, 2);
    assert_fails(w, hark_blocking_on(w->here, slow, at_gate, number(3)), HARK_ELIMIT,
                 HARK_STAGE_NOT_SENT,
                 "executor \"slow\" is full: 2 threads are busy, and 1 wait");
    for (int i = 0; i < 20; i++) {
        assert_int_equal(get(w, hark_blocking_on(w->here, fast, twice, number(i))),
                         2 * i);
        assert_int_equal(get(w, hark_blocking(w->here, twice, number(i))), 2 * i);
    }
    assert_int_equal(world_stats(w->here_system).blocking_threads, 4);
    gate_allow(3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(get(w, held[i]), i);
    }
    world_close(w);
}

static void
an_executor_without_a_queue_refuses_what_finds_no_thread(void **state)
{
    struct world *w = open_with(0, 0);
    hark_executor *one = hark_executor_new(
        w->here_system, &(hark_executor_options){.threads = 1, .queue = HARK_NO_QUEUE});
    hark_future f = hark_blocking_on(w->here, one, at_gate, number(1));

    (void)state;
    assert_fails(w, hark_blocking_on(w->here, one, at_gate, number(2)), HARK_ELIMIT,
                 HARK_STAGE_NOT_SENT, "executor \"executor\" is full");
    gate_allow(1);
    assert_int_equal(get(w, f), 1);
    world_close(w);
}

static void
an_executor_that_is_freed_fails_what_waits_and_lets_run_what_runs(void **state)
{
    struct world *w = open_with(0, 0);
    hark_executor *e =
        hark_executor_new(w->here_system, &(hark_executor_options){.threads = 1});
    hark_future running = hark_blocking_on(w->here, e, at_gate, number(1));
    hark_future waiting = hark_blocking_on(w->here, e, at_gate, number(2));

    (void)state;
    gate_until(&gate.waiting, 1);
    hark_executor_free(e);
    assert_fails(w, waiting, HARK_ESTOPPED, HARK_STAGE_QUEUED, "executor was freed");
    assert_int_equal(gate.dropped, 1);
    gate_allow(1);
    assert_int_equal(get(w, running), 1);
    while (world_stats(w->here_system).blocking_threads > 0) {
        sched_yield();
    }
    for (int i = 0; i < 100; i++) { // each takes over what is left of the one before
        e = hark_executor_new(w->here_system, NULL);
        assert_non_null(e);
        assert_int_equal(get(w, hark_blocking_on(w->here, e, twice, number(i))), 2 * i);
        hark_executor_free(e);
    }
    assert_int_equal(world_stats(w->here_system).blocking_started, 101);
    world_close(w);
}

static void
a_name_that_is_too_long_gives_no_executor(void **state)
{
    struct world *w = open_with(0, 0);
    char name[300];

    (void)state;
    memset(name, 'x', sizeof name);
    name[299] = '\0';
    assert_null(
        hark_executor_new(w->here_system, &(hark_executor_options){.name = name}));
    world_close(w);
}

// ---- the end of the system ----

// Awaits what never comes.
HARK_BLOCKING(waits_for_ever, void) {
    gate_count(&gate.came);
    hark_message *none = hark_receive(ctx, HARK_FOREVER);

    assert_null(none);
    if (hark_error_of(ctx)->code == HARK_ESTOPPED && hark_blocking_cancelled(ctx)) {
        gate_count(&gate.cancelled);
    }
}

static void *
stop_system(void *arg)
{
    return (void *)(intptr_t)hark_stop(arg, HARK_SECONDS(20));
}

static void
stop_fails_what_waits_and_waits_for_what_runs(void **state)
{
    struct world *w = open_with(1, 0);
    hark_future running = hark_blocking(w->here, at_gate, number(1));
    hark_future waiting = hark_blocking(w->here, at_gate, number(2));
    pthread_t stopper;
    void *err;

    (void)state;
    gate_until(&gate.waiting, 1);
    assert_int_equal(pthread_create(&stopper, NULL, stop_system, w->here_system), 0);
    assert_fails(w, waiting, HARK_ESTOPPED, HARK_STAGE_QUEUED, "the system stops");
    gate_until(&gate.dropped, 1);
    assert_fails(w, hark_blocking(w->here, at_gate, number(3)), HARK_ESTOPPED,
                 HARK_STAGE_NOT_SENT, "stops");
    assert_null(hark_executor_new(w->here_system, NULL));
    assert_int_not_equal(running.id, 0);
    hark_detach(w->here);
    gate_allow(1);
    pthread_join(stopper, &err);
    assert_int_equal((intptr_t)err, HARK_OK);
    assert_int_equal(gate.passed, 1);
    assert_int_equal(gate.dropped, 3);
    w->here_system = w->there_system = NULL;
    world_close(w);
}

static void
stop_times_out_while_work_runs_and_may_be_called_again(void **state)
{
    struct world *w = open_with(1, 0);
    hark_future f = hark_blocking(w->here, at_gate, number(1));

    (void)state;
    assert_int_not_equal(f.id, 0);
    gate_until(&gate.waiting, 1);
    assert_int_equal(hark_stop(w->here_system, 10), HARK_ETIMEOUT);
    gate_allow(1);
    world_close(w); // stops it again
    assert_int_equal(gate.cancelled, 1);
    assert_int_equal(gate.dropped, 1);
}

static void
stop_ends_the_waits_of_functions(void **state)
{
    struct world *w = open_with(1, 0);
    hark_future f = hark_blocking(w->here, waits_for_ever, NULL);

    (void)state;
    assert_int_not_equal(f.id, 0);
    gate_until(&gate.came, 1);
    world_close(w);
    assert_int_equal(gate.cancelled, 1);
}

static void
stop_in_a_storm_of_work_drops_each_argument_once(void **state)
{
    enum { ROUNDS = 20 };

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct world *w = open_with(3, 0);

        gate_allow(MANY);
        for (int i = 0; i < MANY; i++) {
            hark_future f = hark_blocking(w->here, at_gate, number(i));
            assert_int_not_equal(f.id, 0);
        }
        world_close(w);
        assert_int_equal(gate.dropped, MANY);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_work_than_threads_is_done_in_order),
        cmocka_unit_test(many_pieces_share_a_few_threads),
        cmocka_unit_test(a_full_queue_fails_at_once_and_says_so),
        cmocka_unit_test(threads_end_when_there_is_nothing_to_do),
        cmocka_unit_test(no_room_for_another_ctx_is_a_clear_error),
        cmocka_unit_test(executors_do_not_take_threads_of_each_other),
        cmocka_unit_test(an_executor_without_a_queue_refuses_what_finds_no_thread),
        cmocka_unit_test(
            an_executor_that_is_freed_fails_what_waits_and_lets_run_what_runs),
        cmocka_unit_test(a_name_that_is_too_long_gives_no_executor),
        cmocka_unit_test(stop_fails_what_waits_and_waits_for_what_runs),
        cmocka_unit_test(stop_times_out_while_work_runs_and_may_be_called_again),
        cmocka_unit_test(stop_ends_the_waits_of_functions),
        cmocka_unit_test(stop_in_a_storm_of_work_drops_each_argument_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
