// Idle workers and the idler, with a fake one.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sched/sched.h"

#define MS INT64_C(1000000)
#define LONG_NS (20000 * MS) // whatever takes longer will never come

enum { WORKERS = 3, THINGS = 2000 };

struct fixture;

struct job {
    struct task task; // first
    struct fixture *f;
    struct worker *polled_by; // NULL: not from the idler
    _Atomic(bool) done;
    bool ran_where_polled;
};

// Fixture: a scheduler and an idler; put makes something come.
struct fixture {
    struct idler idler; // first
    struct env *env;
    struct sched *sched;
    unsigned workers;
    struct job jobs[THINGS];
    pthread_mutex_t lock; // guards all below but the atomics
    pthread_cond_t moved;
    unsigned put, polled; // jobs that have come, and that a worker has polled
    bool unwaits;
    bool stirs; // what has come is no job
    _Atomic(unsigned) waiting, most_waiting, polls, leaves;
    _Atomic(bool) holding, may_go;    // a long turn
    _Atomic(struct job *) at_the_end; // another thread's, when a wait ends by what came
};

static int64_t
now_ns(void)
{
    return hark__env_now(hark__env_real());
}

static bool
fake_wait(struct idler *idler, int64_t until_ns)
{
    struct fixture *f = (struct fixture *)idler;
    struct timespec until = {until_ns / (1000 * MS), until_ns % (1000 * MS)};

    unsigned waiting = atomic_fetch_add(&f->waiting, 1) + 1;
    if (waiting > atomic_load(&f->most_waiting)) {
        atomic_store(&f->most_waiting, waiting);
    }
    pthread_mutex_lock(&f->lock);
    int late = 0;
    while (f->put == f->polled && !f->unwaits && !f->stirs && late == 0) {
        late = until_ns == INT64_MAX
                   ? pthread_cond_wait(&f->moved, &f->lock)
                   : pthread_cond_timedwait(&f->moved, &f->lock, &until);
    }
    f->unwaits = false;
    bool came = f->put != f->polled || f->stirs;
    f->stirs = false;
    pthread_mutex_unlock(&f->lock);
    atomic_fetch_sub(&f->waiting, 1);
    struct job *job = came ? atomic_exchange(&f->at_the_end, NULL) : NULL;
    if (job != NULL) {
        hark__sched_submit(f->sched, NULL, &job->task);
    }
    return came;
}

static void
fake_poll(struct idler *idler, struct worker *worker)
{
    struct fixture *f = (struct fixture *)idler;

    atomic_fetch_add(&f->polls, 1);
    pthread_mutex_lock(&f->lock);
    while (f->polled < f->put) {
        struct job *job = &f->jobs[f->polled++];

        job->polled_by = worker;
        hark__sched_submit(f->sched, worker, &job->task);
    }
    pthread_mutex_unlock(&f->lock);
}

static void
fake_wake(struct idler *idler)
{
    struct fixture *f = (struct fixture *)idler;

    pthread_mutex_lock(&f->lock);
    f->unwaits = true;
    pthread_cond_broadcast(&f->moved);
    pthread_mutex_unlock(&f->lock);
}

static void
fake_leave(struct idler *idler)
{
    struct fixture *f = (struct fixture *)idler;

    atomic_fetch_add(&f->leaves, 1);
}

static void
run_job(struct task *task, struct worker *worker, void *local)
{
    struct job *job = (struct job *)task;

    (void)local;
    job->ran_where_polled = worker == job->polled_by;
    atomic_store(&job->done, true);
}

// Lets a worker hold until it may go, with something to do next all the while.
static void
run_holder(struct task *task, struct worker *worker, void *local)
{
    struct job *job = (struct job *)task;

    (void)worker;
    (void)local;
    atomic_store(&job->f->holding, true);
    while (!atomic_load(&job->f->may_go)) {
        sched_yield();
    }
    atomic_store(&job->done, true);
}

static void
run_again(struct task *task, struct worker *worker, void *local)
{
    struct job *job = (struct job *)task;

    (void)local;
    if (atomic_load(&job->f->may_go)) {
        atomic_store(&job->done, true);
    } else {
        atomic_store(&job->f->holding, true);
        hark__sched_submit(job->f->sched, worker, task);
    }
}

static void
wait_for(_Atomic(bool) *flag)
{
    int64_t deadline = now_ns() + LONG_NS;

    while (!atomic_load(flag)) {
        assert_true(now_ns() < deadline);
        sched_yield();
    }
}

static void
wait_until_one_waits(struct fixture *f)
{
    int64_t deadline = now_ns() + LONG_NS;

    while (atomic_load(&f->waiting) == 0) {
        assert_true(now_ns() < deadline);
        sched_yield();
    }
}

static struct job *
job_of(struct fixture *f, unsigned i,
       void (*run)(struct task *, struct worker *, void *))
{
    f->jobs[i].task.run = run;
    f->jobs[i].f = f;
    atomic_store(&f->jobs[i].done, false);
    return &f->jobs[i];
}

// The next thing comes from outside.
static struct job *
put(struct fixture *f)
{
    pthread_mutex_lock(&f->lock);
    struct job *job = job_of(f, f->put++, run_job);
    pthread_cond_broadcast(&f->moved);
    pthread_mutex_unlock(&f->lock);
    return job;
}

static int
setup_workers(void **state, unsigned workers)
{
    struct fixture *f = calloc(1, sizeof *f);
    void *locals[WORKERS] = {NULL};
    pthread_condattr_t clock;

    assert_non_null(f);
    f->idler = (struct idler){fake_wait, fake_poll, fake_wake, fake_leave};
    f->env = hark__env_real();
    f->workers = workers;
    pthread_mutex_init(&f->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&f->moved, &clock);
    pthread_condattr_destroy(&clock);
    const struct sched_options options = {
        .env = f->env, .workers = workers, .locals = locals};
    *state = f;
    return hark__sched_open(&options, &f->sched);
}

static int
setup_one(void **state)
{
    return setup_workers(state, 1);
}

static int
setup_two(void **state)
{
    return setup_workers(state, 2);
}

static int
setup_three(void **state)
{
    return setup_workers(state, WORKERS);
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    atomic_store(&f->may_go, true);
    hark__sched_stop(f->sched);
    hark__sched_free(f->sched, NULL, NULL);
    pthread_cond_destroy(&f->moved);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return 0;
}

static void
a_worker_that_sleeps_already_comes_to_wait_in_the_idler(void **state)
{
    struct fixture *f = *state;

    hark__sched_wait_in(f->sched, &f->idler);
    wait_until_one_waits(f);
}

static void
one_worker_at_a_time_waits_in_the_idler(void **state)
{
    struct fixture *f = *state;

    hark__sched_wait_in(f->sched, &f->idler);
    for (unsigned i = 0; i < 500; i++) {
        wait_until_one_waits(f);
        struct job *job = job_of(f, i, run_job);
        hark__sched_submit(f->sched, NULL, &job->task);
        wait_for(&job->done);
    }
    assert_int_equal(atomic_load(&f->most_waiting), 1);
}

static void
what_comes_runs_on_the_worker_that_polled_it(void **state)
{
    struct fixture *f = *state;

    hark__sched_wait_in(f->sched, &f->idler);
    for (unsigned i = 0; i < THINGS; i++) {
        struct job *job = put(f); // sometimes before the worker waits again

        wait_for(&job->done);
        assert_true(job->ran_where_polled);
    }
}

static void
a_task_from_another_thread_ends_the_wait(void **state)
{
    struct fixture *f = *state;

    hark__sched_wait_in(f->sched, &f->idler);
    for (unsigned i = 0; i < 1000; i++) { // at every point of the worker's way there
        struct job *job = job_of(f, i, run_job);

        if (i % 3 == 0) {
            wait_until_one_waits(f);
        }
        hark__sched_submit(f->sched, NULL, &job->task);
        wait_for(&job->done);
    }
}

static void
fire(void *poll_arg, struct timer_action *action)
{
    struct job *job = action->data;

    (void)poll_arg;
    atomic_store(&job->done, true);
}

static void
a_timer_ends_the_wait(void **state)
{
    struct fixture *f = *state;

    hark__sched_wait_in(f->sched, &f->idler);
    wait_until_one_waits(f);
    for (unsigned i = 0; i < 20; i++) {
        struct job *job = job_of(f, i, run_job);
        const struct timer_action action = {.fire = fire, .data = job};

        assert_true(hark__sched_arm(f->sched, NULL, now_ns() + 2 * MS, &action) != 0);
        wait_for(&job->done);
    }
}

static void
who_found_something_to_do_leaves_and_who_did_not_stays(void **state)
{
    struct fixture *f = *state;

    hark__sched_wait_in(f->sched, &f->idler);
    wait_for(&put(f)->done);
    wait_until_one_waits(f);
    unsigned before = atomic_load(&f->leaves);
    for (unsigned i = 0; i < 100; i++) { // something comes that is nobody's task
        unsigned polls = atomic_load(&f->polls);

        pthread_mutex_lock(&f->lock);
        f->stirs = true;
        pthread_cond_broadcast(&f->moved);
        pthread_mutex_unlock(&f->lock);
        while (atomic_load(&f->polls) == polls) {
            sched_yield();
        }
        wait_until_one_waits(f);
    }
    assert_int_equal(atomic_load(&f->leaves), before);
    for (unsigned i = 0; i < 100; i++) {
        struct job *job = put(f);

        wait_until_one_waits(f);
        wait_for(&job->done);
    }
    assert_true(atomic_load(&f->leaves) > before); // it may be busy with the last one
}

static void
a_busy_worker_polls_between_turns(void **state)
{
    struct fixture *f = *state;
    struct job *busy = job_of(f, THINGS - 1, run_again);

    hark__sched_submit(f->sched, NULL, &busy->task);
    wait_for(&f->holding);
    hark__sched_wait_in(f->sched, &f->idler);
    for (unsigned i = 0; i < 50; i++) {
        wait_for(&put(f)->done);
        assert_false(atomic_load(&busy->done));
    }
    assert_int_equal(atomic_load(&f->most_waiting), 0);
    atomic_store(&f->may_go, true);
    wait_for(&busy->done);
}

static void
another_worker_waits_while_one_is_in_a_long_turn(void **state)
{
    struct fixture *f = *state;
    struct job *holder = job_of(f, THINGS - 1, run_holder);

    hark__sched_submit(f->sched, NULL, &holder->task);
    wait_for(&f->holding);
    hark__sched_wait_in(f->sched, &f->idler);
    wait_until_one_waits(f);
    for (unsigned i = 0; i < 50; i++) {
        wait_for(&put(f)->done);
    }
    atomic_store(&f->may_go, true);
    wait_for(&holder->done);
}

static void
run_until_the_next_is_done(struct task *task, struct worker *worker, void *local)
{
    struct job *job = (struct job *)task;
    int64_t deadline = now_ns() + LONG_NS;

    (void)worker;
    (void)local;
    while (!atomic_load(&job[1].done) && now_ns() < deadline) {
        sched_yield();
    }
    job->ran_where_polled = atomic_load(&job[1].done);
    atomic_store(&job->done, true);
}

static void
a_worker_woken_while_something_comes_leaves_no_task_behind_it(void **state)
{
    struct fixture *f = *state;

    hark__sched_wait_in(f->sched, &f->idler);
    for (unsigned round = 0; round < 100; round++) {
        wait_until_one_waits(f);
        pthread_mutex_lock(&f->lock);
        struct job *polled = job_of(f, f->put, run_until_the_next_is_done);
        struct job *other = job_of(f, f->put + 1, run_job);
        atomic_store(&f->at_the_end, other);
        f->put++;
        pthread_cond_broadcast(&f->moved);
        pthread_mutex_unlock(&f->lock);
        wait_for(&polled->done);
        assert_true(polled->ran_where_polled);
        wait_for(&put(f)->done); // takes the other one's place, which has run
    }
}

static void
stop_ends_a_wait_in_the_idler(void **state)
{
    for (unsigned round = 0; round < 100; round++) {
        void *own = NULL;

        (void)state;
        assert_int_equal(setup_workers(&own, 2), HARK_OK);
        struct fixture *f = own;
        hark__sched_wait_in(f->sched, &f->idler);
        if (round % 2 == 0) {
            wait_until_one_waits(f);
        }
        teardown(&own);
    }
}

static void
idle_workers_do_not_poll_again_and_again(void **state)
{
    struct fixture *f = *state;
    struct sched_stats before, after;
    _Atomic(uint32_t) nothing = 0;

    hark__sched_wait_in(f->sched, &f->idler);
    wait_for(&put(f)->done);
    for (int i = 0; i < 2; i++) { // the watcher looks on for some ticks; then measure
        unsigned polls = atomic_load(&f->polls);
        int64_t until = now_ns() + 150 * MS;

        hark__sched_stats_read(f->sched, &before);
        while (now_ns() < until) {
            f->env->ops->wait(f->env, &nothing, 0, until);
        }
        hark__sched_stats_read(f->sched, &after);
        assert_true(i == 0 || atomic_load(&f->polls) == polls);
    }
    assert_true(after.parks == before.parks);
}

#define ONE(name) cmocka_unit_test_setup_teardown(name, setup_one, teardown)
#define TWO(name) cmocka_unit_test_setup_teardown(name, setup_two, teardown)
#define THREE(name) cmocka_unit_test_setup_teardown(name, setup_three, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        THREE(a_worker_that_sleeps_already_comes_to_wait_in_the_idler),
        THREE(one_worker_at_a_time_waits_in_the_idler),
        ONE(who_found_something_to_do_leaves_and_who_did_not_stays),
        ONE(what_comes_runs_on_the_worker_that_polled_it),
        ONE(a_task_from_another_thread_ends_the_wait),
        THREE(a_task_from_another_thread_ends_the_wait),
        ONE(a_timer_ends_the_wait),
        ONE(a_busy_worker_polls_between_turns),
        THREE(another_worker_waits_while_one_is_in_a_long_turn),
        TWO(a_worker_woken_while_something_comes_leaves_no_task_behind_it),
        cmocka_unit_test(stop_ends_a_wait_in_the_idler),
        THREE(idle_workers_do_not_poll_again_and_again),
    };
    return cmocka_run_group_tests_name("sched/idler", tests, NULL, NULL);
}
