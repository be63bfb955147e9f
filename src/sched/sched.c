#include "sched/sched.h"

#include <stdio.h>
#include <stdlib.h>

#include "sched/overflow.h"
#include "sched/worker.h"

enum {
    LOOK_EVERY = 32,  // turns between looks at the clock and the injection queue
    NEXT_STREAK = 64, // run-next turns in a row before the ring has its turn
    STACK_BYTES = 64 * 1024,
    STACK_LIMIT = 1000000,
};

// ---- submitting ----

static __attribute__((noinline)) void
push_full_ring(struct worker *self, struct task *task)
{
    if (!hark__ring_grow(&self->ring) || !hark__ring_push(&self->ring, task)) {
        // No memory: it goes where nothing but the task is needed, and it runs earlier.
        hark__sched_inject(self->sched, task, task, 1);
    }
}

static __attribute__((noinline)) void
push_ring(struct worker *self, struct task *task)
{
    if (!hark__ring_push(&self->ring, task)) {
        push_full_ring(self, task);
    }
    if (hark__sched_has_surplus(self->sched, &self->ring)) {
        hark__sched_call_help(self->sched);
    } else {
        hark__sched_want_watcher(self->sched);
    }
}

// From a thread that is no worker.
static __attribute__((noinline)) void
inject(struct sched *sched, struct task *task)
{
    hark__sched_inject(sched, task, task, 1);
    hark__sched_announce(sched);
}

void
hark__sched_submit(struct sched *sched, struct worker *self, struct task *task)
{
    if (self == NULL) {
        inject(sched, task);
        return;
    }
    struct task *displaced = hark__next_swap(&self->next, task);

    if (displaced != NULL) {
        push_ring(self, displaced);
    } else {
        hark__sched_want_watcher(self->sched);
    }
}

void
hark__sched_yield(struct worker *self, struct task *task)
{
    self->until_look = 1; // that was a long turn: others may wait for a look
    push_ring(self, task);
}

// ---- finding ----

// The run-next has had its way too long: it goes behind the others.
static __attribute__((noinline)) struct task *
take_other(struct worker *self, struct task *next)
{
    push_ring(self, next);
    self->streak = 0;
    return hark__ring_pop(&self->ring);
}

// What this worker has itself: the run-next first.
static struct task *
take_local(struct worker *self)
{
    if (hark__next_peek(&self->next) != NULL) {
        struct task *task = hark__next_swap(&self->next, NULL);

        if (task != NULL) {
            if (++self->streak < NEXT_STREAK || hark__ring_is_empty(&self->ring)) {
                return task;
            }
            return take_other(self, task);
        }
    }
    self->streak = 0;
    return hark__ring_pop(&self->ring);
}

void
hark__worker_poll_timers(struct worker *self)
{
    self->face.now_ns = hark__env_now(self->sched->env);
    if (hark__wheel_next_ns(self->wheel) <= self->face.now_ns) {
        hark__wheel_poll(self->wheel, self->face.now_ns, self);
    }
}

static void
hand_on_ring(struct worker *self)
{
    struct task *first = hark__ring_pop(&self->ring);
    struct task *last = first;
    uint32_t count = 1;

    if (first == NULL) {
        return;
    }
    for (struct task *task; (task = hark__ring_pop(&self->ring)) != NULL; count++) {
        last->next = task;
        last = task;
    }
    hark__sched_inject(self->sched, first, last, count);
}

// Hands on what this worker has, for the one that tasks are gathered on.
static void
hand_on(struct worker *self)
{
    struct task *next = hark__next_swap(&self->next, NULL);

    if (next != NULL) {
        hark__sched_inject(self->sched, next, next, 1);
    }
    hand_on_ring(self);
    hark__sched_announce(self->sched);
}

// What a worker does now and then, however much it has to do itself.
static struct task *
look_around(struct worker *self)
{
    uint32_t round = hark__worker_owes_round(self);

    self->until_look = LOOK_EVERY;
    if (round != 0) {
        hark__worker_pass(self, round);
    }
    hark__worker_poll_timers(self);
    if (hark__sched_idler(self->sched) != NULL) {
        hark__worker_poll_idler(self);
    }
    if (self->sched->count > 1) {
        hark__worker_sample(self);
        if (!hark__worker_may_take(self)) {
            hand_on(self);
            return NULL;
        }
        if (self->face.now_ns - self->watched_ns >= WATCH_TICK_NS) {
            struct task *task = hark__worker_watch(self, true);

            if (task != NULL) {
                return task;
            }
        }
    }
    return hark__worker_take_injected(self);
}

static struct task *
find(struct worker *self)
{
    struct task *task = NULL;

    if (--self->until_look == 0) {
        task = look_around(self);
    }
    if (task == NULL) {
        task = take_local(self);
    }
    if (task == NULL) {
        task = look_around(self);
    }
    if (task == NULL) {
        task = take_local(self); // what looking around may have brought
    }
    if (task == NULL) {
        task = hark__worker_search(self);
    }
    return task;
}

// ---- the workers ----

// A turn of task, by the worker that the stack belongs to: another one afterwards, if
// the turn was left and somebody else went on with it. Where a turn has another one go
// on, this stack is left to that, until somebody needs a loop again.
static inline void
run(struct stack *stack, struct task *task, task_run *how)
{
    struct worker *self = stack->worker;
    struct stack *resumed;

    how(task, self, self->local);
    while ((resumed = (self = stack->worker)->resumed) != NULL) {
        self->resumed = NULL;
        self->stack = resumed;
        resumed->worker = self;
        stack->parked = true;
        (void)hark__stack_switch(stack, resumed); // none is left to us for good
        self = stack->worker;
        stack->run_first(stack->first, self, self->local);
    }
}

// The loop of the worker that the stack belongs to.
static void
worker_loop(struct stack *stack)
{
    if (stack->first != NULL) {
        run(stack, stack->first, stack->run_first);
    }
    // relaxed: a worker that sees it late parks, and is woken by stop.
    while (
        !atomic_load_explicit(&stack->worker->sched->stopping, memory_order_relaxed)) {
        struct worker *self = stack->worker;
        struct task *task = find(self);

        if (task == NULL) {
            task = hark__worker_park(self);
        }
        if (task != NULL) {
            hark__worker_count(&self->turns);
            self->running = task;
            run(stack, task, task->run);
        }
    }
    hark__stack_resume(stack, &stack->worker->home);
}

static void
worker_main(void *arg)
{
    struct worker *self = arg;
    struct overflow_thread *overflow =
        self->sched->reports_overflow ? hark__overflow_enter(self) : NULL;

    hark__stack_enter(&self->home, self->stack, worker_loop);
    hark__overflow_leave(overflow);
    // Not the one that was entered, if a turn was left on that.
    hark__stack_give(&self->sched->stacks, &self->stacks, self->stack);
    self->stack = NULL;
}

// ---- turns that wait ----

struct stack *
hark__sched_leave(struct worker *self, struct task *task, task_run *rest,
                  struct stack **out_stack)
{
    struct stack *other = hark__stack_take_parked(&self->sched->stacks, &self->stacks);

    if (other == NULL) {
        return NULL;
    }
    if (!other->parked) {
        hark__stack_prepare(other, worker_loop);
    }
    other->parked = false;
    other->worker = self;
    other->first = task;
    other->run_first = rest;
    *out_stack = self->stack;
    self->stack = other;
    return other;
}

struct worker *
hark__sched_arrive(const struct stack *stack, struct stack *left)
{
    struct worker *self = stack->worker;

    hark__stack_give_parked(&self->sched->stacks, &self->stacks, left);
    return self;
}

void
hark__sched_resume(struct worker *self, struct stack *stack)
{
    self->resumed = stack;
}

size_t
hark__sched_stack_deepest(struct sched *sched)
{
    return hark__stacks_deepest(&sched->stacks);
}

static void
worker_free(struct worker *worker, void (*dropped)(void *arg, struct timer_action *),
            void *arg)
{
    if (worker->wheel != NULL) {
        hark__wheel_close(worker->wheel, dropped, arg);
    }
    if (worker->stack != NULL) {
        hark__stack_give(&worker->sched->stacks, &worker->stacks, worker->stack);
    }
    hark__stacks_return(&worker->sched->stacks, &worker->stacks);
    hark__next_fini(&worker->next);
    hark__ring_fini(&worker->ring);
    free(worker->seen);
    free(worker);
}

static struct worker *
worker_new(struct sched *sched, unsigned index, void *local)
{
    struct worker *worker = aligned_alloc(64, (sizeof *worker + 63) / 64 * 64);

    if (worker == NULL) {
        return NULL;
    }
    *worker = (struct worker){
        .sched = sched, .index = index, .local = local, .until_look = LOOK_EVERY};
    hark__next_init(&worker->next, sched->env);
    hark__ring_init(&worker->ring);
    worker->random = (uint32_t)sched->env->ops->random(sched->env) | 1;
    worker->face.now_ns = hark__env_now(sched->env);
    worker->face.grain = 1;
    worker->slept_ns = INT64_MAX;
    atomic_init(&worker->sleep_until_ns, INT64_MIN);
    worker->wheel = hark__wheel_open(worker->face.now_ns);
    worker->stack = hark__stack_take(&sched->stacks, &worker->stacks);
    worker->seen = calloc(sched->count, sizeof *worker->seen);
    if (worker->wheel == NULL || worker->seen == NULL || worker->stack == NULL) {
        worker_free(worker, NULL, NULL);
        return NULL;
    }
    worker->stack->worker = worker;
    worker->stack->first = NULL;
    return worker;
}

static bool
start_workers(struct sched *sched)
{
    for (unsigned i = 0; i < sched->count; i++) {
        char name[16];

        snprintf(name, sizeof name, "hark-worker-%u", i % 100);
        struct worker *worker = sched->workers[i];
        worker->thread =
            sched->env->ops->thread_start(sched->env, name, worker_main, worker);
        if (worker->thread == NULL) {
            return false;
        }
    }
    return true;
}

hark_err
hark__sched_open(const struct sched_options *options, struct sched **out_sched)
{
    struct sched *sched = aligned_alloc(64, (sizeof *sched + 63) / 64 * 64);
    bool ok = true;

    if (sched == NULL) {
        return HARK_ENOMEM;
    }
    *sched = (struct sched){
        .env = options->env,
        .count = options->workers,
        .surplus = SURPLUS,
        .pass = options->pass,
        .reports_overflow = options->reports_overflow,
        .print_task = options->print_task,
    };
    size_t stack_bytes = options->stack_bytes != 0 ? options->stack_bytes : STACK_BYTES;
    uint32_t stack_limit =
        options->stack_limit != 0 ? options->stack_limit : STACK_LIMIT;
    if (!hark__stacks_init(&sched->stacks, stack_bytes,
                           stack_limit + options->workers)) {
        free(sched);
        return HARK_ENOMEM;
    }
    if (sched->reports_overflow) {
        hark__overflow_open();
    }
    pthread_mutex_init(&sched->lock, NULL);
    hark__balance_init(&sched->balance, hark__env_now(sched->env));
    for (unsigned i = 0; i < sched->count && ok; i++) {
        sched->workers[i] = worker_new(sched, i, options->locals[i]);
        ok = sched->workers[i] != NULL;
    }
    if (ok && start_workers(sched)) {
        *out_sched = sched;
        return HARK_OK;
    }
    hark__sched_stop(sched);
    hark__sched_free(sched, NULL, NULL);
    return HARK_ENOMEM;
}

void
hark__sched_stop(struct sched *sched)
{
    // seq_cst: pairs with work_is_visible in park.c; a worker that parks sees it, or is
    // woken.
    atomic_store_explicit(&sched->stopping, true, memory_order_seq_cst);
    for (unsigned i = 0; i < sched->count; i++) {
        if (sched->workers[i] != NULL && sched->workers[i]->thread != NULL) {
            hark__sched_unpark(sched, i);
        }
    }
    for (unsigned i = 0; i < sched->count; i++) {
        struct worker *worker = sched->workers[i];

        if (worker != NULL && worker->thread != NULL) {
            sched->env->ops->thread_join(sched->env, worker->thread);
            worker->thread = NULL;
        }
    }
}

void
hark__sched_free(struct sched *sched, void (*dropped)(void *arg, struct timer_action *),
                 void *arg)
{
    for (unsigned i = 0; i < sched->count; i++) {
        if (sched->workers[i] != NULL) {
            worker_free(sched->workers[i], dropped, arg);
        }
    }
    if (sched->reports_overflow) {
        hark__overflow_close();
    }
    hark__stacks_fini(&sched->stacks);
    pthread_mutex_destroy(&sched->lock);
    free(sched);
}

void *
hark__worker_local(const struct worker *worker)
{
    return worker->local;
}

void
hark__sched_stats_read(struct sched *sched, struct sched_stats *out_stats)
{
    *out_stats = (struct sched_stats){0, 0};
    for (unsigned i = 0; i < sched->count; i++) {
        struct worker *worker = sched->workers[i];

        // relaxed: counts of the recent past.
        out_stats->steals +=
            atomic_load_explicit(&worker->steals, memory_order_relaxed);
        out_stats->parks += atomic_load_explicit(&worker->parks, memory_order_relaxed);
    }
}
