// A gate that blocking work waits at, with counts of what became of it; work that tests
// share; and what they say of its futures.

#ifndef API_GATE_H
#define API_GATE_H

#include "api/world.h"

#include <pthread.h>
#include <sched.h>

HARK_MESSAGE(answer, (i64, n))

// ---- a gate that work waits at ----

enum { MANY = 300 };

// One for all tests, opened anew for each.
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int waiting; // are at it now
    int allowed; // may still pass
    int passed;
    int most; // waited at once
    int64_t order[MANY];
    int came;
    int dropped;
    int cancelled; // passed, and found that nobody waits for them
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static inline void
gate_pass(int64_t number)
{
    pthread_mutex_lock(&gate.lock);
    gate.order[gate.came++ % MANY] = number;
    gate.waiting++;
    gate.most = gate.waiting > gate.most ? gate.waiting : gate.most;
    pthread_cond_broadcast(&gate.changed);
    while (gate.allowed == 0) {
        pthread_cond_wait(&gate.changed, &gate.lock);
    }
    gate.allowed--;
    gate.waiting--;
    gate.passed++;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static inline void
gate_allow(int count)
{
    pthread_mutex_lock(&gate.lock);
    gate.allowed += count;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static inline void
gate_count(int *count)
{
    pthread_mutex_lock(&gate.lock);
    (*count)++;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

// Waits, without sleeping, until a count of the gate is so much.
static inline void
gate_until(const int *count, int value)
{
    pthread_mutex_lock(&gate.lock);
    while (*count != value) {
        pthread_cond_wait(&gate.changed, &gate.lock);
    }
    pthread_mutex_unlock(&gate.lock);
}

static inline void
drop_number(void *arg)
{
    free(arg);
    gate_count(&gate.dropped);
}

static inline int64_t *
number(int64_t n)
{
    int64_t *at = malloc(sizeof *at);

    assert_non_null(at);
    *at = n;
    return at;
}

// ---- the work ----

HARK_BLOCKING_WITH(twice, int64_t, drop_number) {
    hark_reply(ctx, answer, .n = *arg * 2);
}
HARK_BLOCKING_WITH(at_gate, int64_t, drop_number) {
    gate_pass(*arg);
    if (hark_blocking_cancelled(ctx)) {
        assert_true(hark_cancelled(ctx));
        gate_count(&gate.cancelled);
        return;
    }
    hark_reply(ctx, answer, .n = *arg);
}

// ---- fixture ----

static inline struct world *
open_with(uint32_t threads, uint32_t queue)
{
    gate.waiting = gate.allowed = gate.passed = gate.most = 0;
    gate.came = gate.dropped = gate.cancelled = 0;
    return world_open(REACH_LOCAL, &(hark_options){.blocking_limit = threads,
                                                   .blocking_queue_limit = queue});
}

static inline int64_t
get(struct world *w, hark_future f)
{
    const answer *a = hark_await(w->here, f, answer);

    if (a == NULL) {
        fail_msg("%s", world_error(w));
        return 0;
    }
    int64_t n = a->n;
    hark_future_drop(w->here, f);
    return n;
}

static inline void
assert_fails(struct world *w, hark_future f, int code, hark_stage stage,
             const char *words)
{
    const answer *a = hark_await(w->here, f, answer);

    assert_null(a);
    world_assert_error(w, code, words);
    assert_int_equal(hark_error_of(w->here)->stage, stage);
    assert_true(hark_ref_is_null(hark_error_of(w->here)->target));
    assert_non_null(hark_error_of(w->here)->site);
    hark_future_drop(w->here, f);
}

#endif // API_GATE_H
