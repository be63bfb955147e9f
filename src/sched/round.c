// Rounds: each worker passes a point between two turns, and says so.
//
// There it has nothing in hand of what tasks, timers and the idler look at: their turns
// are over. So who made something unreachable, and then sees a round go by, knows that
// no worker is still at it ("quiescent states").
//
//     who begins                       worker, between turns
//     make it unreachable              sees round: what was made so is seen from now on
//     round++; wake the sleepers       pass
//     ... passed == round, of all? <-- passed = round: what it did before is seen

#include "sched/worker.h"

void
hark__sched_begin_round(struct sched *sched)
{
    // relaxed: only our caller's calls write it.
    uint32_t round = atomic_load_explicit(&sched->round, memory_order_relaxed) + 1;

    // 0 means none. seq_cst: pairs with owes_round; a worker that parks sees the round,
    // or we see its idle bit.
    atomic_store_explicit(&sched->round, round != 0 ? round : 1, memory_order_seq_cst);
    for (unsigned i = 0; i < sched->count; i++) {
        (void)hark__sched_unpark(sched, i);
    }
}

bool
hark__sched_has_passed(const struct sched *sched)
{
    // relaxed: as above.
    uint32_t round = atomic_load_explicit(&sched->round, memory_order_relaxed);

    for (unsigned i = 0; i < sched->count; i++) {
        // acquire: pairs with worker_pass.
        if (atomic_load_explicit(&sched->workers[i]->passed, memory_order_acquire)
            != round) {
            return false;
        }
    }
    return true;
}

void
hark__worker_pass(struct worker *self, uint32_t round)
{
    if (self->sched->pass != NULL) {
        self->sched->pass(self->local);
    }
    // release: pairs with has_passed.
    atomic_store_explicit(&self->passed, round, memory_order_release);
}
