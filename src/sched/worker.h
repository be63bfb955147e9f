// Worker: what the files of the scheduler share. Private to them.
//
// sched.c runs the workers: submitting, finding. inject.c is the queue that all take from,
// search.c how a worker looks for what is not its own. park.c lets one sleep that finds
// nothing, and wakes it, for a timer too. share.c moves work between workers: stealing,
// looking after those in long turns, gathering.

#ifndef SCHED_WORKER_H
#define SCHED_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/spin.h"
#include "sched/balance.h"
#include "sched/next.h"
#include "sched/ring.h"
#include "sched/sched.h"
#include "sched/stack.h"

enum {
    SURPLUS = 3,       // tasks in a ring from which on others are called to help,
    SURPLUS_EAGER = 1, // and while sharing has been found to pay; see balance.h
    GRAIN_SPREAD = 8,  // of turns, then
};

#define WATCH_TICK_NS INT64_C(250000) // between two looks of a watcher

// What a worker saw of another when it last looked after it.
struct sighting {
    struct task *task;
    uint64_t turns;
    int64_t at_ns; // 0: nothing yet
};

struct worker {
    // Owner only, but for face.units.
    _Alignas(64) struct worker_face face;
    uint32_t until_look;   // turns until the next look around
    uint32_t quiet_looks;  // looks in a row, as the watcher, that found nothing
    int64_t watched_ns;    // when it last looked after others
    struct sighting *seen; // of each worker
    uint32_t streak;       // run-next turns since the ring was served
    uint32_t random;
    unsigned index;
    void *local;
    struct sched *sched;
    // Written by the owner, read by watchers.
    _Alignas(64) struct next next;
    _Atomic(uint64_t) turns; // owner counts
    struct thread *thread;
    struct task *running;      // the last one that its loop has begun; for overflow.h
    struct stack *stack;       // that its loop runs on
    struct stack *resumed;     // that it goes on with after this turn; NULL: none
    struct stack home;         // its thread's own
    struct stack_cache stacks; // free ones
    _Atomic(uint64_t) steals, parks; // owner counts; statistics read
    _Atomic(uint32_t) passed;        // the last round; owner writes; see round.c
    // Parking: the waker that cleared our bit in sched->idle sets token.
    _Alignas(64) _Atomic(uint32_t) token;
    _Atomic(int64_t) sleep_until_ns; // owner writes before sleeping; armers read
    _Atomic(bool) in_idler;          // owner writes; wakers read
    struct spin spin;
    int64_t slept_ns; // how long the last sleep took; INT64_MAX: none
    bool was_called;  // owner only: a waker has ended its last sleep
    bool is_guest;    // owner only: it was there, and has not left
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
    _Atomic(bool) stopping;              // set once, by who stops it; workers read
    _Atomic(struct idler *) idler;       // NULL: none; written once
    _Atomic(bool) idler_used;            // one worker at a time is in it
    _Atomic(int64_t) idler_polled_ns;    // its user writes; a hint to others, as is
    _Atomic(uint32_t) idler_user;        // the index of the last one
    // Balance.
    _Atomic(uint32_t) gathered_on;   // a worker's index + 1; 0: tasks are spread
    _Atomic(uint32_t) surplus;       // SURPLUS or SURPLUS_EAGER; who samples writes
    _Atomic(int64_t) next_sample_ns; // who samples writes
    _Atomic(bool) sampling;          // one worker at a time; guards balance
    struct balance balance;
    // Injection queue.
    _Alignas(64) pthread_mutex_t lock; // guards first and last
    struct task *first, *last;
    _Atomic(uint32_t) injected; // how many; written under the lock, read by anyone
    struct stacks stacks;
    _Atomic(uint32_t) round;   // see round.c; who begins one writes, workers read
    void (*pass)(void *local); // constant, as are the next two
    bool reports_overflow;
    void (*print_task)(const struct task *task, char *out, size_t size);
    struct worker *workers[SCHED_MAX_WORKERS];
};

// ---- sched.c ----

// Looks at the clock and fires self's timers that are due.
void hark__worker_poll_timers(struct worker *self);

// ---- inject.c ----

// Queues count tasks, chained by next, for all workers. The caller announces it.
void hark__sched_inject(struct sched *sched, struct task *first, struct task *last,
                        uint32_t count);
// Something is in the queue: calls a worker that may take it.
void hark__sched_announce(struct sched *sched);
// Gives one task and moves some more to self's ring. NULL: the queue is empty.
struct task *hark__worker_take_injected(struct worker *self);

// ---- search.c ----

// Looks at the queues of all, and goes on for a while if that pays. NULL: nothing.
struct task *hark__worker_search(struct worker *self);

// ---- park.c ----

// Sleeps until there is work. Gives a task that only a watcher finds, else NULL.
struct task *hark__worker_park(struct worker *self);
// Polls the idler, if nobody has for a while. A busy worker's look.
void hark__worker_poll_idler(struct worker *self);
// Wakes that worker if it is parked. True: we are the one to wake it, and have.
bool hark__sched_unpark(struct sched *sched, unsigned index);
// Wakes one parked worker unless one is searching. The caller has made work visible by
// a sequentially consistent store.
void hark__sched_wake_one(struct sched *sched);

// ---- share.c ----

// Takes a task from another worker's ring, and more into self's. NULL: nothing there.
struct task *hark__worker_steal(struct worker *self);
// Has the balance take a sample if it is time, and gathers or spreads as it says.
void hark__worker_sample(struct worker *self);
// Looks after the others, and fires their late timers. Gives a task that it took.
struct task *hark__worker_watch(struct worker *self, bool is_busy);

// ---- round.c ----

// Passes in that round.
void hark__worker_pass(struct worker *self, uint32_t round);

// ---- small things ----

// Gives the round that self has not passed in; 0: there is none.
static inline uint32_t
hark__worker_owes_round(const struct worker *self)
{
    // seq_cst: pairs with hark__sched_begin_round; who parks sets its idle bit before.
    // What came before the round is seen from here on.
    uint32_t round = atomic_load_explicit(&self->sched->round, memory_order_seq_cst);
    // relaxed: our own.
    uint32_t passed = atomic_load_explicit(&self->passed, memory_order_relaxed);

    return round != passed ? round : 0;
}

// NULL: there is none.
static inline struct idler *
hark__sched_idler(struct sched *sched)
{
    // acquire: pairs with hark__sched_wait_in.
    return atomic_load_explicit(&sched->idler, memory_order_acquire);
}

// Counts one more. The counter's owner.
static inline void
hark__worker_count(_Atomic(uint64_t) *counter)
{
    // relaxed: one writer, and readers only want a recent value.
    atomic_store_explicit(counter,
                          atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

// The worker that tasks are gathered on; NULL: they are spread.
static inline struct worker *
hark__sched_primary(struct sched *sched)
{
    // seq_cst: who spreads writes it and then looks for parked workers; a worker parks
    // and then looks at it.
    uint32_t on = atomic_load_explicit(&sched->gathered_on, memory_order_seq_cst);

    return on != 0 ? sched->workers[on - 1] : NULL;
}

// Are there enough tasks in the ring for others to take some?
static inline bool
hark__sched_has_surplus(struct sched *sched, struct ring *ring)
{
    // relaxed: a policy; who makes us eager wakes a worker, which looks for what was
    // not announced before.
    return hark__ring_count(ring)
           >= atomic_load_explicit(&sched->surplus, memory_order_relaxed);
}

// Is there something that any worker could take? seq_cst, as is what the ring's count reads: a
// producer queues, and then looks for who searches or sleeps; who has stopped searching, or
// announced its sleep, calls this after.
static inline bool
hark__sched_has_work(struct sched *sched)
{
    if (atomic_load_explicit(&sched->injected, memory_order_seq_cst) > 0) {
        return true;
    }
    for (unsigned i = 0; i < sched->count; i++) {
        if (hark__sched_has_surplus(sched, &sched->workers[i]->ring)) {
            return true;
        }
    }
    return false;
}

// May it take what is not its own?
static inline bool
hark__worker_may_take(struct worker *self)
{
    struct worker *primary = hark__sched_primary(self->sched);

    return primary == NULL || primary == self;
}

// Something may come to wait behind a long turn: somebody should watch.
static inline void
hark__sched_want_watcher(struct sched *sched)
{
    if (sched->count > 1
        // seq_cst: see start_watching in park.c.
        && !atomic_load_explicit(&sched->watched, memory_order_seq_cst)) {
        hark__sched_wake_one(sched);
    }
}

// There is more than this worker should do alone.
static inline void
hark__sched_call_help(struct sched *sched)
{
    if (hark__sched_primary(sched) == NULL) {
        hark__sched_wake_one(sched);
    } else {
        hark__sched_want_watcher(sched);
    }
}

#endif // SCHED_WORKER_H
