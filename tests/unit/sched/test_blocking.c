#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "sched/blocking.h"

enum { MANY = 200 };

#define MS INT64_C(1000000)
#define LONG_NS (INT64_C(3600) * 1000 * MS)

// A gate that tasks wait at, and a count of those who have come to it.
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned waiting; // are at the gate now
    unsigned allowed; // may still pass
    unsigned passed;
    unsigned most;        // waited at once
    unsigned order[MANY]; // numbers of those who came, in order
    unsigned came;
};

struct piece {
    struct blocking_task task;
    struct gate *gate;
    unsigned number;
};

// Fixture: a gate, an environment that may be told to have no more threads.
struct fixture {
    struct gate gate;
    struct env env;
    struct env_ops ops;
    struct blocking *pool;
    struct piece pieces[MANY];
};

static _Atomic(unsigned) threads_left; // how many may still be started

static struct thread *
start_if_left(struct env *env, const char *name, void (*run)(void *), void *arg)
{
    unsigned left = atomic_load(&threads_left);

    if (left == 0) {
        return NULL;
    }
    atomic_store(&threads_left, left - 1);
    return hark__env_real()->ops->thread_start(env, name, run, arg);
}

static int
setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);

    pthread_mutex_init(&f->gate.lock, NULL);
    pthread_cond_init(&f->gate.changed, NULL);
    f->ops = *hark__env_real()->ops;
    f->ops.thread_start = start_if_left;
    f->env.ops = &f->ops;
    atomic_store(&threads_left, UINT32_MAX);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    struct list queued;

    hark__list_init(&queued);
    if (f->pool != NULL) {
        hark__blocking_stop(f->pool, &queued);
        hark__blocking_close(f->pool);
    }
    pthread_cond_destroy(&f->gate.changed);
    pthread_mutex_destroy(&f->gate.lock);
    test_free(f);
    return 0;
}

static void
open_pool(struct fixture *f, uint32_t threads, uint32_t queue, int64_t idle_ns)
{
    f->pool = hark__blocking_open(&(struct blocking_options){
        .env = &f->env,
        .name = "a name of more than fifteen bytes",
        .thread_limit = threads,
        .queue_limit = queue,
        .idle_ns = idle_ns,
    });
    assert_non_null(f->pool);
}

static void
pass(struct task *task, struct worker *worker, void *local)
{
    struct piece *piece = CONTAINER_OF(task, struct piece, task.task);
    struct gate *gate = piece->gate;

    (void)worker;
    (void)local;
    pthread_mutex_lock(&gate->lock);
    gate->order[gate->came++ % MANY] = piece->number;
    gate->waiting++;
    gate->most = gate->waiting > gate->most ? gate->waiting : gate->most;
    pthread_cond_broadcast(&gate->changed);
    while (gate->allowed == 0) {
        pthread_cond_wait(&gate->changed, &gate->lock);
    }
    gate->allowed--;
    gate->waiting--;
    gate->passed++;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

static hark_err
submit(struct fixture *f, unsigned number)
{
    f->pieces[number].task.task.run = pass;
    f->pieces[number].gate = &f->gate;
    f->pieces[number].number = number;
    return hark__blocking_submit(f->pool, &f->pieces[number].task);
}

static void
submit_all(struct fixture *f, unsigned from, unsigned count)
{
    for (unsigned i = from; i < from + count; i++) {
        assert_int_equal(submit(f, i), HARK_OK);
    }
}

static void
allow(struct gate *gate, unsigned count)
{
    pthread_mutex_lock(&gate->lock);
    gate->allowed += count;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

static void
until_waiting(struct gate *gate, unsigned count)
{
    pthread_mutex_lock(&gate->lock);
    while (gate->waiting != count) {
        pthread_cond_wait(&gate->changed, &gate->lock);
    }
    pthread_mutex_unlock(&gate->lock);
}

static void
until_passed(struct gate *gate, unsigned count)
{
    pthread_mutex_lock(&gate->lock);
    while (gate->passed != count) {
        pthread_cond_wait(&gate->changed, &gate->lock);
    }
    pthread_mutex_unlock(&gate->lock);
}

static struct blocking_stats
stats_of(struct fixture *f)
{
    struct blocking_stats stats;

    hark__blocking_stats_read(f->pool, &stats);
    return stats;
}

static void
until_threads(struct fixture *f, unsigned count)
{
    while (stats_of(f).threads != count) {
        sched_yield();
    }
}

static void
a_pool_has_no_thread_before_there_is_work(void **state)
{
    struct fixture *f = *state;

    open_pool(f, 4, 4, LONG_NS);
    assert_int_equal(stats_of(f).threads, 0);
}

static void
each_task_has_a_thread_up_to_the_limit_and_others_wait_in_order(void **state)
{
    struct fixture *f = *state;

    open_pool(f, 3, MANY, LONG_NS);
    submit_all(f, 0, 20);
    until_waiting(&f->gate, 3);
    assert_int_equal(stats_of(f).threads, 3);
    assert_int_equal(stats_of(f).waiting, 17);
    for (unsigned i = 1; i <= 17; i++) { // one at a time, so that the order is theirs
        allow(&f->gate, 1);
        until_passed(&f->gate, i);
        until_waiting(&f->gate, 3);
        assert_int_equal(f->gate.order[i + 2], i + 2);
    }
    allow(&f->gate, 3);
    until_passed(&f->gate, 20);
    assert_int_equal(stats_of(f).started, 3);
    assert_int_equal(f->gate.most, 3);
}

static void
a_full_queue_refuses(void **state)
{
    struct fixture *f = *state;

    open_pool(f, 1, 2, LONG_NS);
    submit_all(f, 0, 3);
    assert_int_equal(submit(f, 3), HARK_ELIMIT);
    allow(&f->gate, 3);
    until_passed(&f->gate, 3);
    submit_all(f, 3, 1);
    allow(&f->gate, 1);
    until_passed(&f->gate, 4);
}

static void
an_idle_thread_is_used_again(void **state)
{
    struct fixture *f = *state;

    open_pool(f, 8, MANY, LONG_NS);
    allow(&f->gate, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        submit_all(f, i, 1);
        until_passed(&f->gate, i + 1);
    }
    // The one that has just passed may not be idle yet: then another is started.
    assert_in_range(stats_of(f).started, 1, 8);
}

static void
threads_that_have_nothing_to_do_end(void **state)
{
    struct fixture *f = *state;

    open_pool(f, 8, 0, 1 * MS);
    for (unsigned round = 1; round <= 3; round++) {
        submit_all(f, 0, 8);
        until_waiting(&f->gate, 8);
        allow(&f->gate, 8);
        until_passed(&f->gate, 8 * round);
        until_threads(f, 0);
        assert_int_equal(stats_of(f).started, 8 * round);
    }
}

// Tasks come just when threads that were idle for long are about to end.
static void
no_task_is_lost_between_idle_and_ended(void **state)
{
    struct fixture *f = *state;

    open_pool(f, 4, MANY, 1); // a nanosecond
    allow(&f->gate, 20 * MANY);
    for (unsigned round = 1; round <= 20; round++) {
        submit_all(f, 0, MANY);
        until_passed(&f->gate, round * MANY);
    }
    until_threads(f, 0);
}

static void
a_task_that_waits_can_be_withdrawn_and_one_that_runs_cannot(void **state)
{
    struct fixture *f = *state;

    open_pool(f, 1, 2, LONG_NS);
    submit_all(f, 0, 3);
    until_waiting(&f->gate, 1);
    assert_false(hark__blocking_withdraw(f->pool, &f->pieces[0].task));
    assert_true(hark__blocking_withdraw(f->pool, &f->pieces[1].task));
    assert_false(hark__blocking_withdraw(f->pool, &f->pieces[1].task));
    submit_all(f, 3, 1); // into its place
    allow(&f->gate, 3);
    until_passed(&f->gate, 3);
    assert_int_equal(f->gate.order[1], 2);
    assert_int_equal(f->gate.order[2], 3);
}

static void
stop_gives_back_what_waits_and_leaves_what_runs(void **state)
{
    struct fixture *f = *state;
    struct list queued;

    open_pool(f, 2, 5, LONG_NS);
    submit_all(f, 0, 4);
    until_waiting(&f->gate, 2);
    hark__list_init(&queued);
    hark__blocking_stop(f->pool, &queued);
    assert_ptr_equal(queued.next, &f->pieces[2].task.by_queue);
    assert_ptr_equal(queued.next->next, &f->pieces[3].task.by_queue);
    assert_ptr_equal(queued.next->next->next, &queued);
    assert_int_equal(submit(f, 4), HARK_ESTOPPED);
    assert_false(hark__blocking_is_over(f->pool));
    allow(&f->gate, 2);
    while (!hark__blocking_is_over(f->pool)) {
        sched_yield();
    }
    assert_int_equal(f->gate.passed, 2);
}

static void
without_any_thread_a_task_is_refused(void **state)
{
    struct fixture *f = *state;

    open_pool(f, 2, 2, LONG_NS);
    atomic_store(&threads_left, 0);
    assert_int_equal(submit(f, 0), HARK_ENOMEM);
    atomic_store(&threads_left, 1);
    submit_all(f, 0, 2); // the second waits for the only thread
    assert_int_equal(stats_of(f).threads, 1);
    assert_int_equal(stats_of(f).waiting, 1);
    allow(&f->gate, 2);
    until_passed(&f->gate, 2);
}

struct submitter {
    struct fixture *f;
    unsigned from;
};

static void *
submit_share(void *arg)
{
    struct submitter *s = arg;

    for (unsigned i = s->from; i < s->from + MANY / 4; i++) {
        assert_int_equal(submit(s->f, i), HARK_OK);
    }
    return NULL;
}

static void
many_threads_may_submit_at_once(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[4];
    struct submitter submitters[4];

    open_pool(f, 3, MANY, 1 * MS);
    allow(&f->gate, MANY);
    for (unsigned i = 0; i < 4; i++) {
        submitters[i] = (struct submitter){f, i * (MANY / 4)};
        assert_int_equal(
            pthread_create(&threads[i], NULL, submit_share, &submitters[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    until_passed(&f->gate, MANY);
    assert_in_range(f->gate.most, 1, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pool_has_no_thread_before_there_is_work),
        TEST(each_task_has_a_thread_up_to_the_limit_and_others_wait_in_order),
        TEST(a_full_queue_refuses),
        TEST(an_idle_thread_is_used_again),
        TEST(threads_that_have_nothing_to_do_end),
        TEST(no_task_is_lost_between_idle_and_ended),
        TEST(a_task_that_waits_can_be_withdrawn_and_one_that_runs_cannot),
        TEST(stop_gives_back_what_waits_and_leaves_what_runs),
        TEST(without_any_thread_a_task_is_refused),
        TEST(many_threads_may_submit_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
