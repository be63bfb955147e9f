#include "sched/next.h"

struct task *
hark__next_swap_locked(struct next *next, struct task *task)
{
    // relaxed: a watcher that sees us busy a little longer only tries again.
    atomic_store_explicit(&next->busy, false, memory_order_relaxed);
    pthread_mutex_lock(&next->lock);
    // relaxed, both: whoever else is here has the lock.
    struct task *before = atomic_load_explicit(&next->task, memory_order_relaxed);
    atomic_store_explicit(&next->task, task, memory_order_relaxed);
    pthread_mutex_unlock(&next->lock);
    return before;
}

// The lock is held and the place is revoked.
static bool
take(struct next *next, struct task *task)
{
    // acquire: pairs with the release in swap.
    if (atomic_load_explicit(&next->busy, memory_order_acquire)
        || atomic_load_explicit(&next->task, memory_order_acquire) != task) {
        return false;
    }
    // relaxed: published by clearing revoked, or by the lock.
    atomic_store_explicit(&next->task, NULL, memory_order_relaxed);
    return true;
}

bool
hark__next_steal(struct next *next, struct env *env, struct task *task)
{
    bool taken;

    pthread_mutex_lock(&next->lock);
    // relaxed: written under this lock only.
    bool always = atomic_load_explicit(&next->revoked, memory_order_relaxed);
    // relaxed: ordered by the barrier.
    atomic_store_explicit(&next->revoked, true, memory_order_relaxed);
    taken = (always || env->ops->barrier(env)) && take(next, task);
    // release: pairs with the acquire in swap.
    atomic_store_explicit(&next->revoked, always, memory_order_release);
    pthread_mutex_unlock(&next->lock);
    return taken;
}
