// How workers share work: they steal what stands in others' rings, look after those in
// long turns, and gather all on one worker where that is faster (balance.h).

#include "sched/worker.h"

#define LATE_TIMER_NS INT64_C(1000000) // others' timers that are due so long are fired
#define LONG_WAIT_NS INT64_C(20000)    // in a ring: then another worker should help
#define GATHERED_WAIT_NS INT64_C(2000000) // the same while tasks are gathered

// ---- stealing ----

static uint32_t
next_random(struct worker *self)
{
    self->random ^= self->random << 13; // Marsaglia, "Xorshift RNGs", 2003
    self->random ^= self->random >> 17;
    self->random ^= self->random << 5;
    return self->random;
}

struct task *
hark__worker_steal(struct worker *self)
{
    struct sched *sched = self->sched;
    uint32_t start = next_random(self);

    if (!hark__worker_may_take(self)) {
        return NULL;
    }
    for (unsigned i = 0; i < sched->count; i++) {
        struct worker *victim = sched->workers[(start + i) % sched->count];

        if (victim == self || !hark__sched_has_surplus(sched, &victim->ring)) {
            continue;
        }
        struct task *task = hark__ring_steal(&victim->ring, &self->ring);
        if (task != NULL) {
            hark__worker_count(&self->steals);
            return task;
        }
    }
    return NULL;
}

// ---- gathering and spreading ----

// Does as the balance says: the tasks are gathered on self, or spread, eagerly or not.
// The caller has the balance.
static void
follow_balance(struct worker *self)
{
    struct sched *sched = self->sched;
    bool gather = hark__balance_is_gathered(&sched->balance);
    bool is_gathered = hark__sched_primary(sched) != NULL;
    uint32_t surplus =
        hark__balance_is_eager(&sched->balance) ? SURPLUS_EAGER : SURPLUS;
    // relaxed, both: we alone write it; see hark__sched_has_surplus.
    uint32_t old_surplus = atomic_load_explicit(&sched->surplus, memory_order_relaxed);

    atomic_store_explicit(&sched->surplus, surplus, memory_order_relaxed);
    if (gather != is_gathered) {
        // seq_cst: see hark__sched_primary.
        atomic_store_explicit(&sched->gathered_on, gather ? self->index + 1 : 0,
                              memory_order_seq_cst);
    }
    if ((is_gathered && !gather) || surplus < old_surplus) {
        hark__sched_wake_one(sched);
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

// Does something wait there, in the eyes of self, which is between two turns? What self is
// about to run does not.
static bool
has_waiting(struct worker *self, struct worker *worker)
{
    uint32_t ready = hark__ring_count(&worker->ring);

    if (worker == self) {
        ready += hark__next_peek(&self->next) != NULL;
        return ready > 1;
    }
    return ready > 0;
}

void
hark__worker_sample(struct worker *self)
{
    struct sched *sched = self->sched;
    uint64_t units[SCHED_MAX_WORKERS];
    struct balance_sample sample = {.units = units, .count = sched->count};

    // relaxed, here and below: recent values are enough.
    // relaxed: who samples wrote it; a turn or two of the old size do no harm.
    self->face.grain =
        atomic_load_explicit(&sched->surplus, memory_order_relaxed) == SURPLUS_EAGER
            ? GRAIN_SPREAD
            : 1;
    if (self->face.now_ns
            < atomic_load_explicit(&sched->next_sample_ns, memory_order_relaxed)
        || !begin_sample(sched)) {
        return;
    }
    for (unsigned i = 0; i < sched->count; i++) {
        units[i] =
            atomic_load_explicit(&sched->workers[i]->face.units, memory_order_relaxed);
        sample.waits = sample.waits || has_waiting(self, sched->workers[i]);
    }
    hark__balance_sample(&sched->balance, self->face.now_ns, &sample);
    follow_balance(self);
    atomic_store_explicit(&sched->next_sample_ns, self->face.now_ns + BALANCE_SAMPLE_NS,
                          memory_order_relaxed);
    end_sample(sched);
}

// Something has waited too long for the worker that tasks are gathered on.
static void
spread_now(struct worker *self)
{
    if (begin_sample(self->sched)) {
        hark__balance_spread(&self->sched->balance, self->face.now_ns);
        follow_balance(self);
        end_sample(self->sched);
    }
}

// ---- watching ----

// Does something wait for a worker that is in a long turn, or would the last task in
// its ring wait long if turns go on as they went since then?
static bool
waits_long(struct worker *other, const struct sighting *now,
           const struct sighting *before)
{
    struct sched *sched = other->sched;
    bool is_gathered = hark__sched_primary(sched) == other;
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
    if (hark__sched_primary(self->sched) == other) {
        spread_now(self);
    }
    if (now->turns == before->turns && now->task != NULL && now->task == before->task
        && hark__next_steal(&other->next, self->sched->env, now->task)) {
        return now->task;
    }
    return hark__ring_steal(&other->ring, &self->ring);
}

struct task *
hark__worker_watch(struct worker *self, bool is_busy)
{
    struct sched *sched = self->sched;
    struct task *task = NULL;

    self->watched_ns = self->face.now_ns;
    for (unsigned i = 0; i < sched->count && task == NULL; i++) {
        struct worker *other = sched->workers[i];

        if (other == self) {
            continue;
        }
        if (hark__wheel_next_ns(other->wheel) < self->face.now_ns - LATE_TIMER_NS) {
            hark__wheel_poll(other->wheel, self->face.now_ns, self);
        }
        struct sighting now = {
            .task = hark__next_peek(&other->next),
            // relaxed: only tells how it moves.
            .turns = atomic_load_explicit(&other->turns, memory_order_relaxed),
            .at_ns = self->face.now_ns,
        };
        task = relieve(self, other, &now, &self->seen[i], is_busy);
        self->seen[i] = now;
    }
    if (task != NULL) {
        hark__worker_count(&self->steals);
    }
    return task;
}
