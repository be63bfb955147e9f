// The injection queue: tasks from threads that are no workers, and what a worker hands on or
// has no room for. Chained through the tasks, so nothing is needed for it but a task.

#include "sched/worker.h"

enum { BATCH = 64 }; // most tasks taken at once

void
hark__sched_inject(struct sched *sched, struct task *first, struct task *last,
                   uint32_t count)
{
    last->next = NULL;
    pthread_mutex_lock(&sched->lock);
    if (sched->last != NULL) {
        sched->last->next = first;
    } else {
        sched->first = first;
    }
    sched->last = last;
    // seq_cst: pairs with hark__sched_has_work, as ring's tail does.
    atomic_fetch_add_explicit(&sched->injected, count, memory_order_seq_cst);
    pthread_mutex_unlock(&sched->lock);
}

struct task *
hark__worker_take_injected(struct worker *self)
{
    struct sched *sched = self->sched;
    uint32_t taken = 0;

    // seq_cst: pairs with hark__sched_inject; who parks looks again.
    if (atomic_load_explicit(&sched->injected, memory_order_seq_cst) == 0) {
        return NULL;
    }
    pthread_mutex_lock(&sched->lock);
    // relaxed: exact under the lock.
    uint32_t there = atomic_load_explicit(&sched->injected, memory_order_relaxed);
    uint32_t share = there / sched->count + 1;
    struct task *first = sched->first;

    share = share < BATCH ? share : BATCH;
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
        hark__sched_call_help(sched);
    }
    return first;
}

void
hark__sched_announce(struct sched *sched)
{
    struct worker *primary = hark__sched_primary(sched);

    if (primary == NULL) {
        hark__sched_wake_one(sched);
    } else if (!hark__sched_unpark(sched, primary->index)) {
        hark__sched_want_watcher(sched); // it is awake, perhaps in a long turn
    }
}
