// Next: a worker's run-next place, the task that it runs next on its warm cache.
//
// Its owner puts and takes at every turn, and another worker takes hardly ever: only
// when a task has stood there behind a long turn. So the owner's side has no locked
// instruction, and the other side pays for both ("asymmetric Dekker", after Dice, Huang
// and Yang, "Asymmetric Dekker Synchronization", 2001): it announces itself in
// `revoked`, has every running thread pass a full barrier (membarrier), and looks at
// `busy`.
//
//     owner                            watcher
//     busy = 1                         revoked = 1
//     (compiler barrier)               (barrier in every thread)
//     revoked? -> use the lock         busy? -> give up
//     swap                             take
//     busy = 0                         revoked = 0
//
// An owner that began before the barrier is seen to be busy, or is done; one that
// begins after it sees `revoked`. models/next.pml searches this with a store buffer.
//
// Where the kernel cannot do such a barrier the place stays revoked, and both sides use
// the lock.

#ifndef SCHED_NEXT_H
#define SCHED_NEXT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/env.h"
#include "sched/task.h"

struct next {
    _Atomic(struct task *) task; // owner writes, also a watcher that has revoked it
    _Atomic(bool) busy;          // the owner is at it, and writes this
    _Atomic(bool) revoked;       // watchers write under the lock; the owner reads
    pthread_mutex_t lock;        // one watcher at a time; the owner, if revoked
};

static inline void
hark__next_init(struct next *next, struct env *env)
{
    atomic_init(&next->task, NULL);
    atomic_init(&next->busy, false);
    atomic_init(&next->revoked, !env->ops->barrier(env));
    pthread_mutex_init(&next->lock, NULL);
}

static inline void
hark__next_fini(struct next *next)
{
    pthread_mutex_destroy(&next->lock);
}

// hark__next_swap while somebody has revoked the place.
struct task *hark__next_swap_locked(struct next *next, struct task *task);

// Owner. Puts task there (NULL: none) and gives what stood there.
static inline struct task *
hark__next_swap(struct next *next, struct task *task)
{
    // relaxed: ordered by the fence here and the barrier there; see above.
    atomic_store_explicit(&next->busy, true, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    // acquire: pairs with the release in steal; if it is cleared again, what was taken
    // is seen.
    if (atomic_load_explicit(&next->revoked, memory_order_acquire)) {
        return hark__next_swap_locked(next, task);
    }
    // relaxed: only we write it now.
    struct task *before = atomic_load_explicit(&next->task, memory_order_relaxed);
    // release: pairs with a watcher's acquire; what the task needs is seen.
    atomic_store_explicit(&next->task, task, memory_order_release);
    // release: pairs with the acquire in steal; who sees us done sees the swap.
    atomic_store_explicit(&next->busy, false, memory_order_release);
    return before;
}

// Any thread: what stands there just now, to look at.
static inline struct task *
hark__next_peek(const struct next *next)
{
    // relaxed: a hint.
    return atomic_load_explicit(&next->task, memory_order_relaxed);
}

// Another thread. Takes task if it still stands there. False: it does not, or its owner
// is at it.
bool hark__next_steal(struct next *next, struct env *env, struct task *task);

#endif // SCHED_NEXT_H
