#include "sched/sched.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "sched/balance.h"
#include "sched/next.h"
#include "sched/ring.h"

enum {
    LOOK_EVERY = 32,      // turns between looks at the clock and the injection queue
    NEXT_STREAK = 64,     // run-next turns in a row before the ring has its turn
    INJECTION_BATCH = 64, // most tasks taken from the injection queue at once
    SURPLUS = 3,          // tasks in a ring from which on others are called to help
    WATCH_IDLE_TICKS = 4, // ticks without work after which nobody watches
    WHEEL_SHIFT = 58,     // a timer id's upper bits name the wheel
};

#define WATCH_TICK_NS INT64_C(250000)
#define LATE_TIMER_NS INT64_C(1000000) // others' timers that are due so long are fired
#define LONG_WAIT_NS INT64_C(20000)    // in a ring: then another worker should help
#define GATHERED_WAIT_NS INT64_C(2000000) // the same while tasks are gathered
#define POLL_EVERY_NS INT64_C(100000)     // between looks of busy workers at the idler

// What a worker saw of another when it last looked after it.
struct sighting {
    struct task *task;
    uint64_t turns;
    int64_t at_ns; // 0: nothing yet
};

struct worker {
    // Written by the owner, read by watchers.
    _Alignas(64) struct next next;
    _Atomic(uint64_t) turns; // owner counts
    _Atomic(uint64_t) units; // owner counts; see balance.h
    // Owner only.
    uint32_t until_look;   // turns until the next look around
    int64_t watched_ns;    // when it last looked after others
    struct sighting *seen; // of each worker
    int64_t now_ns;
    uint32_t streak; // run-next turns since the ring was served
    uint32_t random;
    unsigned index;
    void *local;
    struct sched *sched;
    struct thread *thread;
    _Atomic(uint64_t) steals, parks; // owner counts; statistics read
    // Parking: the waker that cleared our bit in sched->idle sets token.
    _Alignas(64) _Atomic(uint32_t) token;
    _Atomic(int64_t) sleep_until_ns; // owner writes before sleeping; armers read
    _Atomic(bool) in_idler;          // owner writes; wakers read
    struct wheel *wheel;
    struct ring ring;
};

struct sched {
    struct env *env;
    unsigned count;
    // Read mostly; written when a worker parks or wakes.
    _Alignas(64) _Atomic(uint64_t) idle; // parked workers, by bit
    _Atomic(uint32_t) searching;         // workers that look for work to steal
    _Atomic(bool) watched;               // a parked worker is the watcher
    _Atomic(bool) stopping;
    _Atomic(struct idler *) idler;    // NULL: none; written once
    _Atomic(bool) idler_used;         // one worker at a time is in it
    _Atomic(int64_t) idler_polled_ns; // its user writes; a hint to others
    // Balance.
    _Atomic(uint32_t) gathered_on;   // a worker's index + 1; 0: tasks are spread
    _Atomic(int64_t) next_sample_ns; // who samples writes
    _Atomic(bool) sampling;          // one worker at a time; guards balance
    struct balance balance;
    // Injection queue.
    _Alignas(64) pthread_mutex_t lock; // guards first and last
    struct task *first, *last;
    _Atomic(uint32_t) injected; // how many; written under the lock, read by anyone
    struct worker *workers[SCHED_MAX_WORKERS];
};

// ---- the idler ----

static bool unpark(struct sched *sched, unsigned index);

static struct idler *
idler_of(struct sched *sched)
{
    // acquire: pairs with wait_in.
    return atomic_load_explicit(&sched->idler, memory_order_acquire);
}

// NULL: there is none, or another worker is in it. Else the caller leaves it again.
static struct idler *
enter_idler(struct sched *sched)
{
    struct idler *idler = idler_of(sched);

    // relaxed: a hint that saves the exchange. acquire: what the last one in it left.
    if (idler == NULL || atomic_load_explicit(&sched->idler_used, memory_order_relaxed)
        || atomic_exchange_explicit(&sched->idler_used, true, memory_order_acquire)) {
        return NULL;
    }
    return idler;
}

static void
leave_idler(struct sched *sched)
{
    // release: pairs with enter.
    atomic_store_explicit(&sched->idler_used, false, memory_order_release);
}

// The caller has entered it, and leaves it with this.
static void
poll_and_leave(struct worker *self, struct idler *idler)
{
    struct sched *sched = self->sched;

    idler->poll(idler, self);
    // relaxed: a hint of when to look again.
    atomic_store_explicit(&sched->idler_polled_ns, self->now_ns, memory_order_relaxed);
    leave_idler(sched);
}

// A busy worker's look.
static void
poll_idler(struct worker *self)
{
    struct sched *sched = self->sched;
    // relaxed: a hint.
    int64_t polled_ns =
        atomic_load_explicit(&sched->idler_polled_ns, memory_order_relaxed);

    if (self->now_ns - polled_ns > POLL_EVERY_NS) {
        struct idler *idler = enter_idler(sched);

        if (idler != NULL) {
            poll_and_leave(self, idler);
        }
    }
}

void
hark__sched_wait_in(struct sched *sched, struct idler *idler)
{
    // release: pairs with idler_of.
    atomic_store_explicit(&sched->idler, idler, memory_order_release);
    for (unsigned i = 0; i < sched->count; i++) {
        (void)unpark(sched, i); // so that one of those who sleep waits there
    }
}

// ---- waking ----

// True: we are the one to wake it, and have.
static bool
unpark(struct sched *sched, unsigned index)
{
    uint64_t bit = UINT64_C(1) << index;

    // acq_rel: one waker gets the bit; pairs with the worker's own claim in park.
    if ((atomic_fetch_and_explicit(&sched->idle, ~bit, memory_order_acq_rel) & bit)
        == 0) {
        return false;
    }
    struct worker *worker = sched->workers[index];
    // Release: pairs with the acquire in sleep_until; what we queued is seen. seq_cst:
    // token, then in_idler; doze does it the other way round, so one sees the other.
    atomic_store_explicit(&worker->token, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&worker->in_idler, memory_order_seq_cst)) {
        struct idler *idler = idler_of(sched);

        idler->wake(idler);
    } else {
        sched->env->ops->wake(sched->env, &worker->token);
    }
    return true;
}

// Wakes one parked worker unless one is searching. The caller has made work visible by
// a sequentially consistent store; so are these loads, and the reverse in park.
static void
wake_one(struct sched *sched)
{
    for (;;) {
        if (atomic_load_explicit(&sched->searching, memory_order_seq_cst) > 0) {
            return;
        }
        uint64_t idle = atomic_load_explicit(&sched->idle, memory_order_seq_cst);
        if (idle == 0 || unpark(sched, (unsigned)__builtin_ctzll(idle))) {
            return;
        }
    }
}

// Something may come to wait behind a long turn: somebody should watch.
static void
want_watcher(struct sched *sched)
{
    if (sched->count > 1
        // relaxed: a hint; who misses it now is asked again by the next submit.
        && !atomic_load_explicit(&sched->watched, memory_order_relaxed)) {
        wake_one(sched);
    }
}

// ---- gathering ----

// The worker that tasks are gathered on; NULL: they are spread.
static struct worker *
primary_of(struct sched *sched)
{
    // seq_cst: who spreads writes it and then looks for parked workers; a worker parks
    // and then looks at it.
    uint32_t on = atomic_load_explicit(&sched->gathered_on, memory_order_seq_cst);

    return on != 0 ? sched->workers[on - 1] : NULL;
}

// May it take what is not its own?
static bool
may_take(struct worker *self)
{
    struct worker *primary = primary_of(self->sched);

    return primary == NULL || primary == self;
}

// There is more than this worker should do alone.
static void
call_help(struct sched *sched)
{
    if (primary_of(sched) == NULL) {
        wake_one(sched);
    } else {
        want_watcher(sched);
    }
}

// Something is in the injection queue.
static void
announce_injected(struct sched *sched)
{
    struct worker *primary = primary_of(sched);

    if (primary == NULL) {
        wake_one(sched);
    } else if (!unpark(sched, primary->index)) {
        want_watcher(sched); // it is awake, perhaps in a long turn
    }
}

// ---- the injection queue ----

static void
inject_chain(struct sched *sched, struct task *first, struct task *last, uint32_t count)
{
    last->next = NULL;
    pthread_mutex_lock(&sched->lock);
    if (sched->last != NULL) {
        sched->last->next = first;
    } else {
        sched->first = first;
    }
    sched->last = last;
    // seq_cst: pairs with park, as ring's tail does.
    atomic_fetch_add_explicit(&sched->injected, count, memory_order_seq_cst);
    pthread_mutex_unlock(&sched->lock);
}

// Gives one task and moves some more to self's ring.
static struct task *
take_injected(struct worker *self)
{
    struct sched *sched = self->sched;
    uint32_t taken = 0;

    // seq_cst: see park.
    if (atomic_load_explicit(&sched->injected, memory_order_seq_cst) == 0) {
        return NULL;
    }
    pthread_mutex_lock(&sched->lock);
    // relaxed: exact under the lock.
    uint32_t there = atomic_load_explicit(&sched->injected, memory_order_relaxed);
    uint32_t share = there / sched->count + 1;
    struct task *first = sched->first;

    share = share < INJECTION_BATCH ? share : INJECTION_BATCH;
    if (first != NULL) {
        sched->first = first->next;
        taken = 1;
    }
    while (taken < share && sched->first != NULL) {
        struct task *task = sched->first;
        struct task *next = task->next;

        if (!hark__ring_push(&self->ring, task)) {
            break;
        }
        sched->first = next;
        taken++;
    }
    if (sched->first == NULL) {
        sched->last = NULL;
    }
    // relaxed: guarded by the lock; a reader that sees too many only looks in vain.
    atomic_fetch_sub_explicit(&sched->injected, taken, memory_order_relaxed);
    pthread_mutex_unlock(&sched->lock);
    if (there > 1) {
        // Their producers may have woken us alone, and our next turn may be long.
        // models/parking.pml, BUG_NO_WAKE_FOR_THE_REST.
        call_help(sched);
    }
    return first;
}

// ---- submitting ----

// The ring is full: half of it and task go where every worker takes from.
static void
overflow(struct worker *self, struct task *task)
{
    struct task *first = task;
    struct task *last = task;
    uint32_t count = 1;

    for (; count <= RING_SIZE / 2; count++) {
        struct task *moved = hark__ring_pop(&self->ring);

        if (moved == NULL) {
            break;
        }
        last->next = moved;
        last = moved;
    }
    if (first != last) { // the oldest first, task last
        struct task *oldest = first->next;
        last->next = first;
        last = first;
        first = oldest;
    }
    inject_chain(self->sched, first, last, count);
}

static void
push_ring(struct worker *self, struct task *task)
{
    if (!hark__ring_push(&self->ring, task)) {
        overflow(self, task);
    }
    if (hark__ring_count(&self->ring) >= SURPLUS) {
        call_help(self->sched);
    } else {
        want_watcher(self->sched);
    }
}

void
hark__sched_submit(struct sched *sched, struct worker *self, struct task *task)
{
    if (self == NULL) {
        inject_chain(sched, task, task, 1);
        announce_injected(sched);
        return;
    }
    struct task *displaced = hark__next_swap(&self->next, task);

    if (displaced != NULL) {
        push_ring(self, displaced);
    } else {
        want_watcher(sched);
    }
}

void
hark__sched_yield(struct worker *self, struct task *task)
{
    self->until_look = 1; // that was a long turn: others may wait for a look
    push_ring(self, task);
}

// ---- finding ----

static uint32_t
next_random(struct worker *self)
{
    self->random ^= self->random << 13; // Marsaglia, "Xorshift RNGs", 2003
    self->random ^= self->random >> 17;
    self->random ^= self->random << 5;
    return self->random;
}

// What this worker has itself: the run-next first, unless it has had its way too long.
static struct task *
take_local(struct worker *self)
{
    if (hark__next_peek(&self->next) != NULL) {
        struct task *task = hark__next_swap(&self->next, NULL);

        if (task != NULL) {
            if (++self->streak < NEXT_STREAK || hark__ring_is_empty(&self->ring)) {
                return task;
            }
            push_ring(self, task);
        }
    }
    self->streak = 0;
    return hark__ring_pop(&self->ring);
}

static void
count(_Atomic(uint64_t) *counter)
{
    // relaxed: one writer, and readers only want a recent value.
    atomic_store_explicit(counter,
                          atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static struct task *
steal(struct worker *self)
{
    struct sched *sched = self->sched;
    uint32_t start = next_random(self);

    if (!may_take(self)) {
        return NULL;
    }
    for (unsigned i = 0; i < sched->count; i++) {
        struct worker *victim = sched->workers[(start + i) % sched->count];

        if (victim == self || hark__ring_count(&victim->ring) < SURPLUS) {
            continue;
        }
        struct task *task = hark__ring_steal(&victim->ring, &self->ring);
        if (task != NULL) {
            count(&self->steals);
            return task;
        }
    }
    return NULL;
}

static struct task *
search(struct worker *self)
{
    struct sched *sched = self->sched;

    // seq_cst: pairs with wake_one, which does not wake while we are counted. Whoever
    // stops searching with nothing looks at every queue once more in park.
    atomic_fetch_add_explicit(&sched->searching, 1, memory_order_seq_cst);
    struct task *task = steal(self);
    if (task == NULL && may_take(self)) {
        task = take_injected(self);
    }
    bool last =
        atomic_fetch_sub_explicit(&sched->searching, 1, memory_order_seq_cst) == 1;
    if (task != NULL && last) {
        wake_one(sched); // there may be more, announced to us alone
    }
    return task;
}

static void
poll_timers(struct worker *self)
{
    self->now_ns = hark__env_now(self->sched->env);
    if (hark__wheel_next_ns(self->wheel) <= self->now_ns) {
        hark__wheel_poll(self->wheel, self->now_ns, self);
    }
}

// Hands on what this worker has, for the one that tasks are gathered on.
static void
hand_on(struct worker *self)
{
    struct task *next = hark__next_swap(&self->next, NULL);

    if (next != NULL) {
        inject_chain(self->sched, next, next, 1);
    }
    for (struct task *task; (task = hark__ring_pop(&self->ring)) != NULL;) {
        inject_chain(self->sched, task, task, 1);
    }
    announce_injected(self->sched);
}

// The tasks are to be gathered on self, or spread.
static void
set_gathered(struct worker *self, bool gathered)
{
    struct sched *sched = self->sched;
    struct worker *primary = primary_of(sched);

    if (gathered == (primary != NULL)) {
        return;
    }
    // seq_cst: see primary_of.
    atomic_store_explicit(&sched->gathered_on, gathered ? self->index + 1 : 0,
                          memory_order_seq_cst);
    if (!gathered) {
        wake_one(sched);
    }
}

// True: the caller has the balance, and leaves it with end_sample.
static bool
begin_sample(struct sched *sched)
{
    // acquire: pairs with end_sample.
    return !atomic_exchange_explicit(&sched->sampling, true, memory_order_acquire);
}

static void
end_sample(struct sched *sched)
{
    // release: pairs with begin_sample.
    atomic_store_explicit(&sched->sampling, false, memory_order_release);
}

static void
sample(struct worker *self)
{
    struct sched *sched = self->sched;
    uint64_t units[SCHED_MAX_WORKERS];

    // relaxed, here and below: recent values are enough.
    if (self->now_ns
            < atomic_load_explicit(&sched->next_sample_ns, memory_order_relaxed)
        || !begin_sample(sched)) {
        return;
    }
    for (unsigned i = 0; i < sched->count; i++) {
        units[i] =
            atomic_load_explicit(&sched->workers[i]->units, memory_order_relaxed);
    }
    set_gathered(
        self, hark__balance_sample(&sched->balance, self->now_ns, units, sched->count));
    atomic_store_explicit(&sched->next_sample_ns, self->now_ns + BALANCE_SAMPLE_NS,
                          memory_order_relaxed);
    end_sample(sched);
}

// Something has waited too long for the worker that tasks are gathered on.
static void
spread_now(struct worker *self)
{
    if (begin_sample(self->sched)) {
        hark__balance_spread(&self->sched->balance, self->now_ns);
        set_gathered(self, false);
        end_sample(self->sched);
    }
}

// Does something wait for a worker that is in a long turn, or would the last task in its
// ring wait long if turns go on as they went since then?
static bool
waits_long(struct worker *other, const struct sighting *now,
           const struct sighting *before)
{
    struct sched *sched = other->sched;
    bool is_gathered = primary_of(sched) == other;
    int64_t limit_ns = is_gathered ? GATHERED_WAIT_NS : LONG_WAIT_NS;
    int64_t waiting = hark__ring_count(&other->ring) + (now->task != NULL);
    int64_t turns = (int64_t)(now->turns - before->turns);

    if (is_gathered) { // and it alone takes these
        // relaxed: an estimate.
        waiting += atomic_load_explicit(&sched->injected, memory_order_relaxed);
    }
    if (waiting == 0 || before->at_ns == 0) {
        return false;
    }
    return turns == 0 || waiting * (now->at_ns - before->at_ns) / turns > limit_ns;
}

// Takes what waits long at another worker; who is busy itself, only from one that is
// stuck in a turn. NULL: nothing, or another was faster.
static struct task *
relieve(struct worker *self, struct worker *other, const struct sighting *now,
        const struct sighting *before, bool is_busy)
{
    if (!waits_long(other, now, before) || (is_busy && now->turns != before->turns)) {
        return NULL;
    }
    if (primary_of(self->sched) == other) {
        spread_now(self);
    }
    if (now->turns == before->turns && now->task != NULL && now->task == before->task
        && hark__next_steal(&other->next, self->sched->env, now->task)) {
        return now->task;
    }
    return hark__ring_steal(&other->ring, &self->ring);
}

// Looks after the others, and fires their late timers. Gives a task that it took.
static struct task *
watch(struct worker *self, bool is_busy)
{
    struct sched *sched = self->sched;
    struct task *task = NULL;

    self->watched_ns = self->now_ns;
    for (unsigned i = 0; i < sched->count && task == NULL; i++) {
        struct worker *other = sched->workers[i];

        if (other == self) {
            continue;
        }
        if (hark__wheel_next_ns(other->wheel) < self->now_ns - LATE_TIMER_NS) {
            hark__wheel_poll(other->wheel, self->now_ns, self);
        }
        struct sighting now = {
            .task = hark__next_peek(&other->next),
            // relaxed: only tells how it moves.
            .turns = atomic_load_explicit(&other->turns, memory_order_relaxed),
            .at_ns = self->now_ns,
        };
        task = relieve(self, other, &now, &self->seen[i], is_busy);
        self->seen[i] = now;
    }
    if (task != NULL) {
        count(&self->steals);
    }
    return task;
}

// What a worker does now and then, however much it has to do itself.
static struct task *
look_around(struct worker *self)
{
    self->until_look = LOOK_EVERY;
    poll_timers(self);
    if (idler_of(self->sched) != NULL) {
        poll_idler(self);
    }
    if (self->sched->count > 1) {
        sample(self);
        if (!may_take(self)) {
            hand_on(self);
            return NULL;
        }
        if (self->now_ns - self->watched_ns >= WATCH_TICK_NS) {
            struct task *task = watch(self, true);

            if (task != NULL) {
                return task;
            }
        }
    }
    return take_injected(self);
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
        task = search(self);
    }
    return task;
}

// ---- parking ----

static bool
work_is_visible(struct worker *self)
{
    struct sched *sched = self->sched;

    if (!hark__ring_is_empty(&self->ring)
        || atomic_load_explicit(&sched->stopping, memory_order_seq_cst)) {
        return true;
    }
    if (!may_take(self)) {
        return false;
    }
    if (atomic_load_explicit(&sched->injected, memory_order_seq_cst) > 0) {
        return true;
    }
    for (unsigned i = 0; i < sched->count; i++) {
        if (hark__ring_count(&sched->workers[i]->ring) >= SURPLUS) {
            return true;
        }
    }
    return false;
}

static bool
others_work(const struct worker *self)
{
    struct sched *sched = self->sched;
    uint64_t all = sched->count == 64 ? UINT64_MAX : (UINT64_C(1) << sched->count) - 1;
    uint64_t mine = UINT64_C(1) << self->index;

    // relaxed: a hint, looked at again at the next tick.
    return ((atomic_load_explicit(&sched->idle, memory_order_relaxed) | mine) & all)
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
    struct idler *idler = enter_idler(sched);
    bool came = false;

    if (idler == NULL) {
        sched->env->ops->wait(sched->env, &self->token, 0, until_ns);
        return NULL;
    }
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
    if (hark__wheel_next_ns(self->wheel) >= until_ns) {
        // acquire: pairs with unpark's release of token.
        while (atomic_load_explicit(&self->token, memory_order_acquire) == 0
               && hark__env_now(sched->env) < until_ns && *out_idler == NULL) {
            *out_idler = doze(self, until_ns);
        }
    }
    // relaxed: only says that nobody need wake us for a timer any more.
    atomic_store_explicit(&self->sleep_until_ns, INT64_MIN, memory_order_relaxed);
    // acq_rel: we or a waker get the bit, not both.
    if (atomic_fetch_and_explicit(&sched->idle, ~bit, memory_order_acq_rel) & bit) {
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

// One sleep, announced. Gives a task that only a watcher finds, else NULL.
static struct task *
park_once(struct worker *self, bool watcher, bool *out_woken)
{
    struct sched *sched = self->sched;
    int64_t until = hark__wheel_next_ns(self->wheel);
    int64_t tick = hark__env_now(sched->env) + WATCH_TICK_NS;
    struct idler *idler = NULL;

    // seq_cst: announce, then look; a producer queues, then looks for announced ones.
    atomic_fetch_or_explicit(&sched->idle, UINT64_C(1) << self->index,
                             memory_order_seq_cst);
    if (work_is_visible(self)) {
        until = INT64_MIN; // takes the announcement back
    } else if (watcher && tick < until) {
        until = tick;
    }
    *out_woken = sleep_until(self, until, &idler) || until == INT64_MIN;
    poll_timers(self);
    if (idler != NULL) {
        poll_and_leave(self, idler);
    }
    return watcher ? watch(self, false) : NULL;
}

// While we run task (NULL: another one), something may wait here that only a watcher
// sees: a timer, or a run-next that task goes before.
static bool
leaves_something(struct worker *self, const struct task *task)
{
    return hark__wheel_next_ns(self->wheel) != INT64_MAX
           || (task != NULL && hark__next_peek(&self->next) != NULL);
}

static struct task *
park(struct worker *self)
{
    struct sched *sched = self->sched;
    struct task *task = NULL;
    unsigned idle_ticks = 0;
    bool woken = false;
    // relaxed: an election among parked workers; nothing is handed over through it.
    bool watcher =
        sched->count > 1
        && !atomic_exchange_explicit(&sched->watched, true, memory_order_relaxed);

    count(&self->parks);
    while (task == NULL && !woken) {
        task = park_once(self, watcher, &woken);
        if (has_own_work(self)) {
            break; // of a timer, or from outside
        }
        idle_ticks = others_work(self) ? 0 : idle_ticks + 1;
        if (watcher && idle_ticks > WATCH_IDLE_TICKS) {
            watcher = false;
            atomic_store_explicit(&sched->watched, false, memory_order_relaxed);
        }
    }
    if (watcher) {
        // relaxed: the election again; who is woken next to see it is woken below.
        atomic_store_explicit(&sched->watched, false, memory_order_relaxed);
    }
    if (woken && has_own_work(self)) {
        // We were woken for something else, perhaps, and run this before it.
        // models/idler.pml, BUG_KEEPS_A_WAKE_FOR_ITSELF.
        wake_one(sched);
    }
    if ((watcher && others_work(self)) || leaves_something(self, task)) {
        want_watcher(sched); // a sleeper takes over: we and they may be in long turns
    }
    return task;
}

// ---- the workers ----

static void
worker_loop(struct worker *self)
{
    struct sched *sched = self->sched;

    // relaxed: a worker that sees it late parks, and is woken by stop.
    while (!atomic_load_explicit(&sched->stopping, memory_order_relaxed)) {
        struct task *task = find(self);

        if (task == NULL) {
            task = park(self);
        }
        if (task != NULL) {
            count(&self->turns);
            task->run(task, self, self->local);
        }
    }
}

static void
worker_main(void *arg)
{
    worker_loop(arg);
}

static void
worker_free(struct worker *worker, void (*dropped)(void *arg, struct timer_action *),
            void *arg)
{
    if (worker->wheel != NULL) {
        hark__wheel_close(worker->wheel, dropped, arg);
    }
    hark__next_fini(&worker->next);
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
    worker->random = (uint32_t)sched->env->ops->random(sched->env) | 1;
    worker->now_ns = hark__env_now(sched->env);
    atomic_init(&worker->sleep_until_ns, INT64_MIN);
    worker->wheel = hark__wheel_open(worker->now_ns);
    worker->seen = calloc(sched->count, sizeof *worker->seen);
    if (worker->wheel == NULL || worker->seen == NULL) {
        worker_free(worker, NULL, NULL);
        return NULL;
    }
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
    };
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
    // seq_cst: pairs with work_is_visible; a worker that parks sees it, or is woken.
    atomic_store_explicit(&sched->stopping, true, memory_order_seq_cst);
    for (unsigned i = 0; i < sched->count; i++) {
        if (sched->workers[i] != NULL && sched->workers[i]->thread != NULL) {
            unpark(sched, i);
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
    pthread_mutex_destroy(&sched->lock);
    free(sched);
}

void
hark__worker_did(struct worker *worker, uint32_t units)
{
    // relaxed: one writer, and readers only want a recent value.
    uint64_t before = atomic_load_explicit(&worker->units, memory_order_relaxed);

    atomic_store_explicit(&worker->units, before + units, memory_order_relaxed);
}

void *
hark__worker_local(const struct worker *worker)
{
    return worker->local;
}

int64_t
hark__worker_now(const struct worker *worker)
{
    return worker->now_ns;
}

// ---- timers ----

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
        // seq_cst: see sleep_until.
        int64_t until =
            atomic_load_explicit(&worker->sleep_until_ns, memory_order_seq_cst);
        if (until == INT64_MIN) {
            want_watcher(sched); // it is awake, perhaps in a long turn
        } else if (until > deadline_ns) {
            unpark(sched, worker->index);
        }
    }
    return (id & ((UINT64_C(1) << WHEEL_SHIFT) - 1))
           | (uint64_t)worker->index << WHEEL_SHIFT;
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
