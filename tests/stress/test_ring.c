// Rings with thieves: every task comes out exactly once.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <sched.h>

#include <cmocka.h>

#include "base/env.h"
#include "sched/ring.h"

#define RUN_NS INT64_C(1200000000) // the owner stops then

enum { THIEVES = 3, POOL = 4096, MOST = 400 /* rounds of the pool */ };

// A task goes round: made ready by the owner, taken by anybody.
struct item {
    struct task task;        // first member
    _Atomic(uint32_t) taken; // how often in this round; the taker writes
};

struct contest {
    struct ring rings[THIEVES + 1]; // the owner's is the first
    struct item items[POOL];
    _Atomic(uint64_t) done;
    _Atomic(uint32_t) twice;
    _Atomic(bool) ending;
};

struct thief {
    struct contest *contest;
    unsigned index;
};

static void
run_item(struct contest *contest, struct task *task)
{
    struct item *item = (struct item *)task;

    // relaxed: all are counted before they are looked at.
    if (atomic_fetch_add_explicit(&item->taken, 1, memory_order_relaxed) != 0) {
        atomic_fetch_add_explicit(&contest->twice, 1, memory_order_relaxed);
    }
    // release: the owner that sees the count may start the next round.
    atomic_fetch_add_explicit(&contest->done, 1, memory_order_release);
}

static void
drain(struct contest *contest, struct ring *ring)
{
    struct task *task;

    while ((task = hark__ring_pop(ring)) != NULL) {
        run_item(contest, task);
    }
}

static void *
thief_main(void *arg)
{
    const struct thief *thief = arg;
    struct contest *contest = thief->contest;
    struct ring *mine = &contest->rings[thief->index];
    unsigned from = 0;

    // acquire: pairs with the end's release.
    while (!atomic_load_explicit(&contest->ending, memory_order_acquire)) {
        from = (from + 1) % (THIEVES + 1);
        if (from == thief->index) {
            sched_yield();
            continue;
        }
        struct task *task = hark__ring_steal(&contest->rings[from], mine);
        if (task != NULL) {
            run_item(contest, task);
            drain(contest, mine);
        }
    }
    return NULL;
}

// Pushes every item once. The ring grows every other round; else the owner pops where it
// is full.
static void
play_round(struct contest *contest, bool grows)
{
    struct ring *ring = &contest->rings[0];

    for (unsigned i = 0; i < POOL; i++) {
        // relaxed: published by the push.
        atomic_store_explicit(&contest->items[i].taken, 0, memory_order_relaxed);
        while (!hark__ring_push(ring, &contest->items[i].task)) {
            struct task *task = NULL;

            if (!grows || !hark__ring_grow(ring)) {
                task = hark__ring_pop(ring);
            }
            if (task != NULL) {
                run_item(contest, task);
            }
        }
        if (i % (grows ? 512 : 16) == 0) {
            sched_yield();
        }
    }
    drain(contest, ring);
}

// False: some task never came.
static bool
wait_until_done(struct contest *contest, uint64_t count)
{
    struct env *env = hark__env_real();
    int64_t deadline = hark__env_now(env) + INT64_C(5000000000);

    // acquire: pairs with run_item.
    while (atomic_load_explicit(&contest->done, memory_order_acquire) < count) {
        if (hark__env_now(env) > deadline) {
            return false;
        }
        sched_yield();
    }
    return true;
}

static void
every_task_is_taken_once_by_the_owner_or_a_thief(void **state)
{
    static struct contest contest; // aligned
    struct env *env = hark__env_real();
    struct thief thieves[THIEVES];
    pthread_t threads[THIEVES];
    uint64_t rounds = 0;
    bool complete = true;

    (void)state;
    for (unsigned i = 0; i <= THIEVES; i++) { // soon to wrap
        hark__ring_init(&contest.rings[i]);
        atomic_init(&contest.rings[i].head, UINT32_MAX - 1000);
        atomic_init(&contest.rings[i].tail, UINT32_MAX - 1000);
    }
    for (unsigned i = 0; i < THIEVES; i++) {
        thieves[i] = (struct thief){&contest, i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, thief_main, &thieves[i]), 0);
    }
    int64_t end = hark__env_now(env) + RUN_NS;
    while (complete && rounds < MOST && hark__env_now(env) < end) {
        play_round(&contest, rounds % 2 == 1);
        complete = wait_until_done(&contest, ++rounds * POOL);
    }
    // release: pairs with thief_main.
    atomic_store_explicit(&contest.ending, true, memory_order_release);
    for (unsigned i = 0; i < THIEVES; i++) {
        pthread_join(threads[i], NULL);
    }
    for (unsigned i = 0; i <= THIEVES; i++) {
        hark__ring_fini(&contest.rings[i]);
    }
    assert_true(complete);
    assert_int_equal(contest.twice, 0);
    assert_true(contest.done == rounds * POOL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_is_taken_once_by_the_owner_or_a_thief),
    };
    return cmocka_run_group_tests_name("stress/ring", tests, NULL, NULL);
}
