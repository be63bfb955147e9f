#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/resource.h>

#include <cmocka.h>

#include "sched/sched.h"

#include "cpu.h"

#define MS INT64_C(1000000)
#define LONG_NS (4000 * MS) // whatever takes longer will never come

enum { JOBS = 1024, WORKERS = 3 };

// Opens once; one waiter.
struct latch {
    _Atomic(uint32_t) open;
};

struct job;

// Fixture: a scheduler, jobs for it, and the order in which they ran.
struct fixture {
    struct env *env;
    struct sched *sched;
    unsigned workers;
    int locals[WORKERS];
    struct job {
        struct task task;
        void (*turn)(struct job *job, struct worker *worker);
        struct fixture *f;
        uint32_t number;
        uint32_t count;
        struct latch done;
    } jobs[JOBS];
    struct latch gate, reached, fired;
    _Atomic(uint32_t) ran; // jobs that have run
    uint32_t order[JOBS];  // one worker: their numbers
    int64_t fired_at;
};

static void
latch_open(struct fixture *f, struct latch *latch)
{
    // release: pairs with latch_wait.
    atomic_store_explicit(&latch->open, 1, memory_order_release);
    f->env->ops->wake(f->env, &latch->open);
}

static bool
latch_is_open(struct latch *latch)
{
    // acquire: pairs with latch_open.
    return atomic_load_explicit(&latch->open, memory_order_acquire) != 0;
}

// False: it took too long.
static bool
latch_wait(struct fixture *f, struct latch *latch)
{
    int64_t deadline = hark__env_now(f->env) + LONG_NS;

    while (!latch_is_open(latch)) {
        if (hark__env_now(f->env) >= deadline) {
            return false;
        }
        f->env->ops->wait(f->env, &latch->open, 0, deadline);
    }
    return true;
}

// Waits without regard to anybody: only to measure over a time.
static void
let_pass(struct env *env, int64_t ns)
{
    _Atomic(uint32_t) nothing = 0;
    int64_t deadline = hark__env_now(env) + ns;

    while (hark__env_now(env) < deadline) {
        env->ops->wait(env, &nothing, 0, deadline);
    }
}

static void
run_job(struct task *task, struct worker *worker, void *local)
{
    (void)local;
    struct job *job = (struct job *)task; // its first member

    job->turn(job, worker);
}

static void
note_order(struct job *job, struct worker *worker)
{
    struct fixture *f = job->f;

    (void)worker;
    // relaxed: one worker writes order; the latch publishes it.
    uint32_t at = atomic_fetch_add_explicit(&f->ran, 1, memory_order_relaxed);
    f->order[at] = job->number;
    latch_open(f, &job->done);
}

static struct job *
job_of(struct fixture *f, uint32_t number, void (*turn)(struct job *, struct worker *))
{
    struct job *job = &f->jobs[number];

    job->task.run = run_job;
    job->turn = turn;
    job->f = f;
    job->number = number;
    job->count = 0;
    // relaxed: published by the submit; who waits already sees it open later.
    atomic_store_explicit(&job->done.open, 0, memory_order_relaxed);
    return job;
}

static void
submit(struct fixture *f, struct worker *self, struct job *job)
{
    hark__sched_submit(f->sched, self, &job->task);
}

static int
setup_workers(void **state, unsigned workers)
{
    struct fixture *f = test_calloc(1, sizeof *f);
    void *locals[WORKERS];

    f->env = hark__env_real();
    f->workers = workers;
    for (unsigned i = 0; i < WORKERS; i++) {
        locals[i] = &f->locals[i];
    }
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
    return setup_workers(state, 3);
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    if (f->sched != NULL) {
        hark__sched_stop(f->sched);
        hark__sched_free(f->sched, NULL, NULL);
    }
    test_free(f);
    return 0;
}

// ---- submitting ----

static void
check_local(struct job *job, struct worker *worker)
{
    int *local = hark__worker_local(worker);

    job->count = (uint32_t)(local - job->f->locals);
    latch_open(job->f, &job->done);
}

static void
a_task_from_outside_runs_on_a_worker(void **state)
{
    struct fixture *f = *state;
    struct job *job = job_of(f, 0, check_local);

    submit(f, NULL, job);
    assert_true(latch_wait(f, &job->done));
    assert_in_range(job->count, 0, f->workers - 1);
}

static void
hold_gate(struct job *job, struct worker *worker)
{
    (void)worker;
    latch_open(job->f, &job->f->reached);
    latch_wait(job->f, &job->f->gate);
}

static void
tasks_from_outside_run_in_the_order_they_were_submitted(void **state)
{
    struct fixture *f = *state;

    submit(f, NULL, job_of(f, 0, hold_gate));
    assert_true(latch_wait(f, &f->reached));
    for (uint32_t i = 1; i <= 40; i++) { // no more than are taken at once
        submit(f, NULL, job_of(f, i, note_order));
    }
    latch_open(f, &f->gate);
    assert_true(latch_wait(f, &f->jobs[40].done));
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(f->order[i], i + 1);
    }
}

static void
submit_three(struct job *job, struct worker *worker)
{
    for (uint32_t i = 1; i <= 3; i++) {
        submit(job->f, worker, job_of(job->f, i, note_order));
    }
}

static void
the_task_woken_last_runs_next_and_the_others_in_order(void **state)
{
    struct fixture *f = *state;

    submit(f, NULL, job_of(f, 0, submit_three));
    assert_true(latch_wait(f, &f->jobs[2].done));
    assert_int_equal(f->order[0], 3);
    assert_int_equal(f->order[1], 1);
    assert_int_equal(f->order[2], 2);
}

static void
submit_three_and_yield(struct job *job, struct worker *worker)
{
    submit_three(job, worker);
    job->turn = note_order;
    hark__sched_yield(worker, &job->task);
}

static void
a_task_that_yields_goes_behind_all_others(void **state)
{
    struct fixture *f = *state;
    struct job *job = job_of(f, 0, submit_three_and_yield);

    submit(f, NULL, job);
    assert_true(latch_wait(f, &job->done));
    assert_int_equal(f->ran, 4);
    assert_int_equal(f->order[3], 0);
}

static void
submit_itself_until_the_gate_opens(struct job *job, struct worker *worker)
{
    if (latch_is_open(&job->f->gate)) {
        latch_open(job->f, &job->done);
    } else {
        latch_open(job->f, &job->f->reached);
        submit(job->f, worker, job);
    }
}

static void
open_gate(struct job *job, struct worker *worker)
{
    (void)worker;
    latch_open(job->f, &job->f->gate);
}

static void
yield_a_gate_opener_and_chatter(struct job *job, struct worker *worker)
{
    hark__sched_yield(worker, &job_of(job->f, 1, open_gate)->task);
    job->turn = submit_itself_until_the_gate_opens;
    submit(job->f, worker, job);
}

static void
a_chatty_task_does_not_starve_the_ring(void **state)
{
    struct fixture *f = *state;
    struct job *job = job_of(f, 0, yield_a_gate_opener_and_chatter);

    submit(f, NULL, job);
    assert_true(latch_wait(f, &job->done));
}

static void
a_chatty_task_does_not_starve_tasks_from_outside(void **state)
{
    struct fixture *f = *state;
    struct job *job = job_of(f, 0, submit_itself_until_the_gate_opens);

    submit(f, NULL, job);
    assert_true(latch_wait(f, &f->reached));
    submit(f, NULL, job_of(f, 1, open_gate));
    assert_true(latch_wait(f, &job->done));
}

static void
count_down(struct job *job, struct worker *worker)
{
    (void)worker;
    // acq_rel: each job's turn comes before the end that the last one tells.
    if (atomic_fetch_add_explicit(&job->f->ran, 1, memory_order_acq_rel) == JOBS - 2) {
        latch_open(job->f, &job->f->reached);
    }
}

static void
submit_all_others(struct job *job, struct worker *worker)
{
    for (uint32_t i = 1; i < JOBS; i++) {
        submit(job->f, worker, job_of(job->f, i, count_down));
    }
}

static void
more_tasks_than_a_ring_holds_all_run(void **state)
{
    struct fixture *f = *state;

    submit(f, NULL, job_of(f, 0, submit_all_others));
    assert_true(latch_wait(f, &f->reached));
    assert_int_equal(f->ran, JOBS - 1);
}

static void
submit_all_in_order(struct job *job, struct worker *worker)
{
    for (uint32_t i = 1; i < JOBS; i++) {
        submit(job->f, worker, job_of(job->f, i, note_order));
    }
}

static void
more_tasks_than_a_ring_holds_run_in_order(void **state)
{
    struct fixture *f = *state;

    submit(f, NULL, job_of(f, 0, submit_all_in_order));
    assert_true(latch_wait(f, &f->jobs[JOBS - 2].done));
    assert_int_equal(f->order[0], JOBS - 1); // the run-next
    for (uint32_t i = 1; i < JOBS - 1; i++) {
        assert_int_equal(f->order[i], i);
    }
}

// No new addresses: a ring can't grow.
static void
submit_all_others_without_memory(struct job *job, struct worker *worker)
{
    struct rlimit before;

    if (getrlimit(RLIMIT_AS, &before) == 0) {
        struct rlimit none = {.rlim_cur = 1, .rlim_max = before.rlim_max};

        job->count = setrlimit(RLIMIT_AS, &none) == 0;
        submit_all_others(job, worker);
        (void)setrlimit(RLIMIT_AS, &before);
    }
}

static void
more_tasks_than_a_ring_holds_all_run_without_memory(void **state)
{
    struct fixture *f = *state;

    submit(f, NULL, job_of(f, 0, submit_all_others_without_memory));
    assert_true(latch_wait(f, &f->reached));
    assert_int_equal(f->ran, JOBS - 1);
    assert_int_equal(f->jobs[0].count, 1);
}

// ---- long turns ----

static void
end(struct job *job, struct worker *worker)
{
    (void)worker;
    latch_open(job->f, &job->done);
}

static void
wait_for_what_it_woke(struct job *job, struct worker *worker)
{
    struct job *woken = job_of(job->f, 1, end);

    submit(job->f, worker, woken);
    job->count = latch_wait(job->f, &woken->done);
    latch_open(job->f, &job->done);
}

static void
a_task_behind_a_long_turn_is_taken_by_another_worker(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 20; round++) {
        struct job *job = job_of(f, 0, wait_for_what_it_woke);

        submit(f, NULL, job);
        assert_true(latch_wait(f, &job->done));
        assert_int_equal(job->count, 1);
    }
}

static void
wait_for_what_it_queued(struct job *job, struct worker *worker)
{
    struct job *queued = job_of(job->f, 1, end);

    hark__sched_yield(worker, &queued->task);
    job->count = latch_wait(job->f, &queued->done);
    latch_open(job->f, &job->done);
}

static void
a_task_in_the_ring_of_a_busy_worker_is_stolen(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 200; round++) {
        struct job *job = job_of(f, 0, wait_for_what_it_queued);

        submit(f, NULL, job);
        assert_true(latch_wait(f, &job->done));
        assert_int_equal(job->count, 1);
    }
    struct sched_stats stats;
    hark__sched_stats_read(f->sched, &stats);
    assert_true(stats.steals >= 200);
}

static void
hold_until_the_gate_opens(struct job *job, struct worker *worker)
{
    (void)worker;
    job->count = latch_wait(job->f, &job->f->gate);
    latch_open(job->f, &job->done);
}

// Leaves a task to run next, keeps one more worker busy, and waits for the task.
static void
wait_while_another_is_busy(struct job *job, struct worker *worker)
{
    struct fixture *f = job->f;

    submit(f, worker, job_of(f, 1, end));
    submit(f, NULL, job_of(f, 2, hold_until_the_gate_opens));
    job->count = latch_wait(f, &f->jobs[1].done);
    latch_open(f, &f->gate);
    latch_open(f, &job->done);
}

static void
a_task_behind_a_long_turn_is_taken_though_the_watcher_is_called_away(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 50; round++) {
        struct job *job = job_of(f, 0, wait_while_another_is_busy);

        atomic_store(&f->gate.open, 0);
        submit(f, NULL, job);
        assert_true(latch_wait(f, &job->done));
        assert_int_equal(job->count, 1);
        assert_true(latch_wait(f, &f->jobs[2].done));
    }
}

static void
two_long_turns_from_outside_run_side_by_side(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 300; round++) {
        struct job *first = job_of(f, 0, hold_until_the_gate_opens);

        atomic_store(&f->gate.open, 0);
        submit(f, NULL, first);
        submit(f, NULL, job_of(f, 1, open_gate));
        assert_true(latch_wait(f, &first->done));
        assert_int_equal(first->count, 1);
    }
}

// ---- timers ----

static void
fire(void *poll_arg, struct timer_action *action)
{
    struct fixture *f = action->data;

    f->fired_at = hark__env_now(f->env);
    f->order[0] = (uint32_t)action->word;
    f->order[1] = poll_arg != NULL && hark__worker_local(poll_arg) != NULL;
    latch_open(f, &f->fired);
}

static uint64_t
arm(struct fixture *f, struct worker *self, int64_t deadline, uint64_t word)
{
    const struct timer_action action = {.fire = fire, .data = f, .word = word};

    return hark__sched_arm(f->sched, self, deadline, &action);
}

static void
a_timer_from_outside_fires_on_a_worker_and_not_early(void **state)
{
    struct fixture *f = *state;
    int64_t deadline = hark__env_now(f->env) + 5 * MS;

    assert_true(arm(f, NULL, deadline, 7) != 0);
    assert_true(latch_wait(f, &f->fired));
    assert_true(f->fired_at >= deadline);
    assert_int_equal(f->order[0], 7);
    assert_int_equal(f->order[1], 1);
}

static void
an_earlier_timer_wakes_a_worker_that_sleeps_for_a_later_one(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 100; round++) {
        atomic_store(&f->fired.open, 0);
        assert_true(arm(f, NULL, hark__env_now(f->env) + LONG_NS * 10, 1) != 0);
        assert_true(arm(f, NULL, hark__env_now(f->env) + MS, 2) != 0);
        assert_true(latch_wait(f, &f->fired));
        assert_int_equal(f->order[0], 2);
    }
}

static void
arm_soon(struct job *job, struct worker *worker)
{
    struct fixture *f = job->f;

    arm(f, worker, hark__worker_now(worker) + 2 * MS, 3);
}

static void
a_timer_armed_in_a_turn_fires_after_it(void **state)
{
    struct fixture *f = *state;

    submit(f, NULL, job_of(f, 0, arm_soon));
    assert_true(latch_wait(f, &f->fired));
    assert_int_equal(f->order[0], 3);
}

static void
arm_and_wait(struct job *job, struct worker *worker)
{
    struct fixture *f = job->f;

    arm(f, worker, hark__worker_now(worker) + 2 * MS, 4);
    job->count = latch_wait(f, &f->fired);
    latch_open(f, &job->done);
}

static void
a_timer_of_a_worker_in_a_long_turn_is_fired_by_another(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 5; round++) {
        struct job *job = job_of(f, 0, arm_and_wait);

        atomic_store(&f->fired.open, 0);
        submit(f, NULL, job);
        assert_true(latch_wait(f, &job->done));
        assert_int_equal(job->count, 1);
        let_pass(f->env, 30 * MS); // so that nobody watches when the next round begins
    }
}

static void
wait_for_the_timer(struct job *job, struct worker *worker)
{
    (void)worker;
    latch_open(job->f, &job->f->reached);
    job->count = latch_wait(job->f, &job->f->fired);
    latch_open(job->f, &job->done);
}

static void
a_timer_armed_before_its_workers_long_turn_is_fired_by_another(void **state)
{
    struct fixture *f = *state;

    // Worker 0 has the timer, and is woken first for the turn. Nobody watches by then.
    submit(f, NULL, job_of(f, 1, end));
    assert_true(latch_wait(f, &f->jobs[1].done));
    assert_true(arm(f, NULL, hark__env_now(f->env) + 120 * MS, 5) != 0);
    let_pass(f->env, 80 * MS);
    struct job *job = job_of(f, 0, wait_for_the_timer);
    submit(f, NULL, job);
    assert_true(latch_wait(f, &job->done));
    assert_int_equal(job->count, 1);
}

static void
submit_from_timer(void *poll_arg, struct timer_action *action)
{
    struct fixture *f = action->data;

    submit(f, poll_arg, &f->jobs[action->word]);
}

static void
a_timer_may_submit_a_task_to_the_worker_that_fires_it(void **state)
{
    struct fixture *f = *state;
    int64_t deadline = hark__env_now(f->env) + 2 * MS;

    for (uint32_t i = 0; i < 100; i++) { // more than the wheel hands over at once
        const struct timer_action action = {
            .fire = submit_from_timer, .data = f, .word = i};

        job_of(f, i, end);
        assert_true(hark__sched_arm(f->sched, NULL, deadline, &action) != 0);
    }
    for (uint32_t i = 0; i < 100; i++) {
        assert_true(latch_wait(f, &f->jobs[i].done));
    }
}

static void
a_cancelled_timer_gives_its_action_back_once(void **state)
{
    struct fixture *f = *state;
    struct timer_action action = {0};
    uint64_t timer = arm(f, NULL, hark__env_now(f->env) + LONG_NS, 9);

    assert_true(hark__sched_cancel(f->sched, timer, &action));
    assert_int_equal(action.word, 9);
    assert_false(hark__sched_cancel(f->sched, timer, &action));
    assert_false(hark__sched_cancel(f->sched, 0, &action));
    assert_false(hark__sched_cancel(f->sched, UINT64_MAX, &action));
}

// ---- rest and end ----

static void
idle_workers_use_no_cpu(void **state)
{
    struct fixture *f = *state;
    struct sched_stats before, after;

    submit(f, NULL, job_of(f, 0, submit_all_others));
    assert_true(latch_wait(f, &f->reached));
    let_pass(f->env, 100 * MS); // the watcher looks on for some ticks
    hark__sched_stats_read(f->sched, &before);
    int64_t used = cpu_used_us();
    let_pass(f->env, 300 * MS);
    used = cpu_used_us() - used;
    hark__sched_stats_read(f->sched, &after);
    assert_true(used < 15000); // a thousandth of a spinning worker's; and our own
    assert_true(after.parks == before.parks);
}

static void
dropped(void *arg, struct timer_action *action)
{
    uint64_t *sum = arg;

    *sum += action->word;
}

static void
stop_ends_in_the_middle_of_work_and_drops_the_timers(void **state)
{
    struct fixture *f = *state;
    uint64_t sum = 0;

    arm(f, NULL, hark__env_now(f->env) + LONG_NS, 40);
    arm(f, NULL, hark__env_now(f->env) + LONG_NS * 2, 2);
    submit(f, NULL, job_of(f, 0, submit_itself_until_the_gate_opens)); // it never does
    assert_true(latch_wait(f, &f->reached));
    hark__sched_stop(f->sched);
    hark__sched_free(f->sched, dropped, &sum);
    f->sched = NULL;
    assert_int_equal(sum, 42);
}

static void
a_scheduler_can_be_stopped_at_any_moment_of_its_start(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        void *locals[WORKERS] = {NULL};
        const struct sched_options options = {
            .env = hark__env_real(), .workers = WORKERS, .locals = locals};
        struct sched *sched;

        assert_int_equal(hark__sched_open(&options, &sched), HARK_OK);
        hark__sched_stop(sched);
        hark__sched_free(sched, NULL, NULL);
    }
}

#define ONE(name) cmocka_unit_test_setup_teardown(name, setup_one, teardown)
#define TWO(name) cmocka_unit_test_setup_teardown(name, setup_two, teardown)
#define THREE(name) cmocka_unit_test_setup_teardown(name, setup_three, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TWO(a_task_from_outside_runs_on_a_worker),
        ONE(tasks_from_outside_run_in_the_order_they_were_submitted),
        ONE(the_task_woken_last_runs_next_and_the_others_in_order),
        ONE(a_task_that_yields_goes_behind_all_others),
        ONE(a_chatty_task_does_not_starve_the_ring),
        ONE(a_chatty_task_does_not_starve_tasks_from_outside),
        TWO(more_tasks_than_a_ring_holds_all_run),
        ONE(more_tasks_than_a_ring_holds_run_in_order),
        ONE(more_tasks_than_a_ring_holds_all_run_without_memory),
        TWO(a_task_behind_a_long_turn_is_taken_by_another_worker),
        TWO(a_task_in_the_ring_of_a_busy_worker_is_stolen),
        THREE(a_task_behind_a_long_turn_is_taken_though_the_watcher_is_called_away),
        TWO(two_long_turns_from_outside_run_side_by_side),
        TWO(a_timer_from_outside_fires_on_a_worker_and_not_early),
        TWO(an_earlier_timer_wakes_a_worker_that_sleeps_for_a_later_one),
        TWO(a_timer_armed_in_a_turn_fires_after_it),
        TWO(a_timer_of_a_worker_in_a_long_turn_is_fired_by_another),
        TWO(a_timer_armed_before_its_workers_long_turn_is_fired_by_another),
        TWO(a_timer_may_submit_a_task_to_the_worker_that_fires_it),
        TWO(a_cancelled_timer_gives_its_action_back_once),
        TWO(idle_workers_use_no_cpu),
        TWO(stop_ends_in_the_middle_of_work_and_drops_the_timers),
        cmocka_unit_test(a_scheduler_can_be_stopped_at_any_moment_of_its_start),
    };
    return cmocka_run_group_tests_name("sched/sched", tests, NULL, NULL);
}
