// How a worker sleeps that finds nothing, in the idler or on its futex, and all that
// ends such a sleep: wakers, what comes from outside, timers.

#include "sched/worker.h"

enum {
    WATCH_IDLE_TICKS = 8, // ticks without work after which nobody watches
    QUIET_LOOKS = 8,  // of a watcher that find nothing, before it takes twice the time
    WATCH_STEPS = 3,  // how often that
    WHEEL_SHIFT = 58, // a timer id's upper bits name the wheel
};

#define POLL_EVERY_NS INT64_C(100000) // between looks of busy workers at the idler
#define KEPT_NS INT64_C(250000) // so long it is left to who was in it and is in a turn

// ---- the idler ----

// NULL: there is none, or another worker is in it. Else the caller leaves it again.
static struct idler *
enter_idler(struct worker *self)
{
    struct sched *sched = self->sched;
    struct idler *idler = hark__sched_idler(sched);

    // relaxed: a hint that saves the exchange. acquire: what the last one in it left.
    if (idler == NULL || atomic_load_explicit(&sched->idler_used, memory_order_relaxed)
        || atomic_exchange_explicit(&sched->idler_used, true, memory_order_acquire)) {
        return NULL;
    }
    // relaxed: a hint, see is_kept.
    atomic_store_explicit(&sched->idler_user, self->index, memory_order_relaxed);
    return idler;
}

// Whoever is in the idler under traffic leaves it for each turn, and comes back. Another
// one that parks meanwhile should not take its place: what comes would wander from one
// processor to the other. If the turn is long, the watcher takes it at its next look. The
// last one that was in the idler never leaves it to another (models/idler.pml).
static bool
is_kept(const struct worker *self)
{
    struct sched *sched = self->sched;
    // relaxed, both: hints; our own index we see if it is the last one written.
    uint32_t user = atomic_load_explicit(&sched->idler_user, memory_order_relaxed);
    int64_t polled_ns =
        atomic_load_explicit(&sched->idler_polled_ns, memory_order_relaxed);

    return user != self->index && self->face.now_ns - polled_ns < KEPT_NS;
}

static void
leave_idler(struct sched *sched)
{
    // release: pairs with enter_idler.
    atomic_store_explicit(&sched->idler_used, false, memory_order_release);
}

// The caller has entered it, and leaves it with this.
static void
poll_and_leave(struct worker *self, struct idler *idler)
{
    struct sched *sched = self->sched;

    idler->poll(idler, self);
    // relaxed: a hint of when to look again.
    atomic_store_explicit(&sched->idler_polled_ns, self->face.now_ns,
                          memory_order_relaxed);
    leave_idler(sched);
}

// A busy worker's look.
void
hark__worker_poll_idler(struct worker *self)
{
    struct sched *sched = self->sched;
    // relaxed: a hint.
    int64_t polled_ns =
        atomic_load_explicit(&sched->idler_polled_ns, memory_order_relaxed);

    if (self->face.now_ns - polled_ns > POLL_EVERY_NS) {
        struct idler *idler = enter_idler(self);

        if (idler != NULL) {
            poll_and_leave(self, idler);
        }
    }
}

void
hark__sched_wait_in(struct sched *sched, struct idler *idler)
{
    // release: pairs with hark__sched_idler.
    atomic_store_explicit(&sched->idler, idler, memory_order_release);
    for (unsigned i = 0; i < sched->count; i++) {
        (void)hark__sched_unpark(sched, i); // so that one of the sleepers waits there
    }
}

// ---- waking ----

bool
hark__sched_unpark(struct sched *sched, unsigned index)
{
    uint64_t bit = UINT64_C(1) << index;

    // One waker gets the bit, or the worker itself in sleep_until. seq_cst: who works
    // looks at watched after this, see start_watching.
    if ((atomic_fetch_and_explicit(&sched->idle, ~bit, memory_order_seq_cst) & bit)
        == 0) {
        return false;
    }
    struct worker *worker = sched->workers[index];
    // Release: pairs with the acquire in sleep_until; what we queued is seen. seq_cst:
    // token, then in_idler; doze does it the other way round, so one sees the other.
    atomic_store_explicit(&worker->token, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&worker->in_idler, memory_order_seq_cst)) {
        struct idler *idler = hark__sched_idler(sched);

        idler->wake(idler);
    } else {
        sched->env->ops->wake(sched->env, &worker->token);
    }
    return true;
}

// The caller has made work visible by a sequentially consistent store; so are these
// loads, and the reverse in park_once.
void
hark__sched_wake_one(struct sched *sched)
{
    for (;;) {
        if (atomic_load_explicit(&sched->searching, memory_order_seq_cst) > 0) {
            return;
        }
        uint64_t idle = atomic_load_explicit(&sched->idle, memory_order_seq_cst);
        if (idle == 0 || hark__sched_unpark(sched, (unsigned)__builtin_ctzll(idle))) {
            return;
        }
    }
}

// ---- parking ----

// A last look before we sleep. seq_cst, all loads: our bit in idle is set by now, and
// whoever leaves work, or stops the scheduler, does that first and then looks at idle.
static bool
work_is_visible(struct worker *self)
{
    struct sched *sched = self->sched;

    if (!hark__ring_is_empty(&self->ring)
        || atomic_load_explicit(&sched->stopping, memory_order_seq_cst)
        || hark__worker_owes_round(self) != 0) {
        return true;
    }
    return hark__worker_may_take(self) && hark__sched_has_work(sched);
}

static bool
others_work(const struct worker *self)
{
    struct sched *sched = self->sched;
    uint64_t all = sched->count == 64 ? UINT64_MAX : (UINT64_C(1) << sched->count) - 1;
    uint64_t mine = UINT64_C(1) << self->index;

    // seq_cst: see start_watching.
    return ((atomic_load_explicit(&sched->idle, memory_order_seq_cst) | mine) & all)
           != all;
}

static bool
has_own_work(struct worker *self)
{
    return hark__next_peek(&self->next) != NULL || !hark__ring_is_empty(&self->ring);
}

// One wait, for the token or, if no other worker is there, in the idler as well. Gives
// the idler, still entered, if something has come from outside.
static struct idler *
doze(struct worker *self, int64_t until_ns)
{
    struct sched *sched = self->sched;
    struct idler *idler = is_kept(self) ? NULL : enter_idler(self);
    bool came = false;

    if (idler == NULL) {
        sched->env->ops->wait(sched->env, &self->token, 0, until_ns);
        return NULL;
    }
    self->is_guest = true;
    // seq_cst, twice, each before a look at token: see unpark.
    atomic_store_explicit(&self->in_idler, true, memory_order_seq_cst);
    if (atomic_load_explicit(&self->token, memory_order_seq_cst) == 0) {
        came = idler->wait(idler, until_ns);
    }
    atomic_store_explicit(&self->in_idler, false, memory_order_seq_cst);
    if (!came) {
        leave_idler(sched);
        return NULL;
    }
    return idler;
}

// Sleeps until woken, until_ns, or until something comes from outside: then *out_idler
// is what to poll and leave. True: a waker has cleared our bit.
static bool
sleep_until(struct worker *self, int64_t until_ns, struct idler **out_idler)
{
    struct sched *sched = self->sched;
    uint64_t bit = UINT64_C(1) << self->index;

    // seq_cst: written before the wheel is read, and an armer writes the wheel before
    // it reads this; so a timer that is set now wakes us, or we see it.
    atomic_store_explicit(&self->sleep_until_ns, until_ns, memory_order_seq_cst);
    int64_t began_ns = hark__env_now(sched->env);
    if (hark__wheel_next_ns(self->wheel) >= until_ns) {
        // acquire: pairs with unpark's release of token.
        while (atomic_load_explicit(&self->token, memory_order_acquire) == 0
               && hark__env_now(sched->env) < until_ns && *out_idler == NULL) {
            *out_idler = doze(self, until_ns);
        }
    }
    self->slept_ns = hark__env_now(sched->env) - began_ns;
    // relaxed: only says that nobody need wake us for a timer any more.
    atomic_store_explicit(&self->sleep_until_ns, INT64_MIN, memory_order_relaxed);
    // We or a waker get the bit, not both. seq_cst: as in unpark.
    if (atomic_fetch_and_explicit(&sched->idle, ~bit, memory_order_seq_cst) & bit) {
        return false;
    }
    // A waker has it and will set token, if it has not yet.
    while (atomic_load_explicit(&self->token, memory_order_acquire) == 0) {
        sched->env->ops->wait(sched->env, &self->token, 0, INT64_MAX);
    }
    // relaxed: nobody writes it until our bit is set again.
    atomic_store_explicit(&self->token, 0, memory_order_relaxed);
    return true;
}

// ---- watching ----

// While somebody works and a worker is parked, one of the parked is the watcher. It
// takes an order of steps, all of them seq_cst (models/watcher.pml): who begins to work
// clears its idle bit, leaves things behind its turn, and then looks at watched
// (want_watcher); who parks sets its idle bit, and then looks whether others work and
// nobody watches; who stops watching clears watched, and then looks for who works, and
// wakes who is parked.

static bool
start_watching(struct sched *sched)
{
    return sched->count > 1
           && !atomic_exchange_explicit(&sched->watched, true, memory_order_seq_cst);
}

static void
stop_watching(struct sched *sched)
{
    atomic_store_explicit(&sched->watched, false, memory_order_seq_cst);
}

// Where turns are short, a watcher finds nothing for long, and looks more seldom.
static int64_t
watch_tick_ns(const struct worker *self)
{
    uint32_t steps = self->quiet_looks / QUIET_LOOKS;

    return WATCH_TICK_NS << (steps < WATCH_STEPS ? steps : WATCH_STEPS);
}

static struct task *
watch(struct worker *self)
{
    struct task *task = hark__worker_watch(self, false);

    self->quiet_looks = task != NULL ? 0 : self->quiet_looks + 1;
    return task;
}

// One sleep, announced. *watcher: whether self is; it may become it. Gives a task that
// only a watcher finds, else NULL.
static struct task *
park_once(struct worker *self, bool *watcher, bool *out_woken)
{
    struct sched *sched = self->sched;
    int64_t until = hark__wheel_next_ns(self->wheel);
    int64_t tick = hark__env_now(sched->env) + watch_tick_ns(self);
    struct idler *idler = NULL;

    // seq_cst: announce, then look; a producer queues, then looks for announced ones.
    atomic_fetch_or_explicit(&sched->idle, UINT64_C(1) << self->index,
                             memory_order_seq_cst);
    // Who was called watches: else the next turn that leaves something calls it again.
    *watcher =
        *watcher || ((others_work(self) || self->was_called) && start_watching(sched));
    self->was_called = false;
    if (work_is_visible(self)) {
        until = INT64_MIN; // takes the announcement back
    } else if (*watcher && tick < until) {
        until = tick;
    }
    self->was_called = sleep_until(self, until, &idler);
    *out_woken = self->was_called || until == INT64_MIN;
    hark__worker_poll_timers(self);
    if (idler != NULL) {
        poll_and_leave(self, idler);
    }
    return *watcher ? watch(self) : NULL;
}

// While we run task (NULL: another one), something may wait here that only a watcher
// sees: a timer, or a run-next that task goes before.
static bool
leaves_something(struct worker *self, const struct task *task)
{
    return hark__wheel_next_ns(self->wheel) != INT64_MAX
           || (task != NULL && hark__next_peek(&self->next) != NULL);
}

struct task *
hark__worker_park(struct worker *self)
{
    struct sched *sched = self->sched;
    struct task *task = NULL;
    unsigned idle_ticks = 0;
    bool woken = false;
    bool watcher = false;
    bool leaves_others = false;

    hark__worker_count(&self->parks);
    hark__ring_trim(&self->ring);
    while (task == NULL && !woken) {
        task = park_once(self, &watcher, &woken);
        if (has_own_work(self)) {
            break; // of a timer, or from outside
        }
        idle_ticks = others_work(self) ? 0 : idle_ticks + 1;
        if (watcher && idle_ticks > WATCH_IDLE_TICKS) {
            stop_watching(sched);
            watcher = false;
        }
    }
    if (self->is_guest) {
        struct idler *idler = hark__sched_idler(sched);

        self->is_guest = false;
        idler->leave(idler);
    }
    if (watcher) {
        stop_watching(sched);
        leaves_others = others_work(self);
    }
    if (woken && has_own_work(self)) {
        // We were woken for something else, perhaps, and run this before it.
        // models/idler.pml, BUG_KEEPS_A_WAKE_FOR_ITSELF.
        hark__sched_wake_one(sched);
    }
    if (leaves_others || leaves_something(self, task)) {
        // A sleeper takes over: we and they may be in long turns.
        hark__sched_want_watcher(sched);
    }
    return task;
}

// ---- timers ----

// The wheel's earliest deadline is that one now: who sleeps for it must wake by then.
static inline __attribute__((always_inline)) void
hurry(struct sched *sched, struct worker *worker, int64_t deadline_ns)
{
    // seq_cst: see sleep_until.
    int64_t until = atomic_load_explicit(&worker->sleep_until_ns, memory_order_seq_cst);

    if (until == INT64_MIN) {
        hark__sched_want_watcher(sched); // it is awake, perhaps in a long turn
    } else if (until > deadline_ns) {
        hark__sched_unpark(sched, worker->index);
    }
}

uint64_t
hark__sched_arm(struct sched *sched, struct worker *self, int64_t deadline_ns,
                const struct timer_action *action)
{
    struct worker *worker = self != NULL ? self : sched->workers[0];
    bool earlier = false;
    uint64_t id = hark__wheel_arm(worker->wheel, deadline_ns, action, &earlier);

    if (id == 0) {
        return 0;
    }
    if (earlier) {
        hurry(sched, worker, deadline_ns);
    }
    return (id & ((UINT64_C(1) << WHEEL_SHIFT) - 1))
           | (uint64_t)worker->index << WHEEL_SHIFT;
}

void
hark__sched_arm_reserve(struct sched *sched, struct worker *self, int64_t deadline_ns,
                        const struct timer_action *action)
{
    struct worker *worker = self != NULL ? self : sched->workers[0];

    if (hark__wheel_arm_reserve(worker->wheel, deadline_ns, action)) {
        hurry(sched, worker, deadline_ns);
    }
}

bool
hark__sched_cancel(struct sched *sched, uint64_t timer, struct timer_action *out_action)
{
    unsigned index = (unsigned)(timer >> WHEEL_SHIFT);

    if (timer == 0 || index >= sched->count) {
        return false;
    }
    return hark__wheel_cancel(sched->workers[index]->wheel,
                              timer & ((UINT64_C(1) << WHEEL_SHIFT) - 1), out_action);
}
