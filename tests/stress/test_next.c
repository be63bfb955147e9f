// A run-next place with one owner and thieves: every task comes out exactly once, with
// what its owner wrote into it, where the system has the barrier and where it has not.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <sched.h>

#include <cmocka.h>

#include "base/env.h"
#include "sched/next.h"

#define RUN_NS INT64_C(700000000) // the owner stops then

enum { THIEVES = 2, POOL = 64, SWAPS_A_LOOK = 256, LEAST_STOLEN = 20 };

struct item {
    struct task task; // first member
    uint64_t round;   // plain: whoever has the item writes and reads
    uint64_t check;   // plain: of round
    _Atomic(uint32_t) holders;
};

struct contest {
    struct env *env;
    struct next next;
    struct item items[POOL];
    _Atomic(struct item *) back; // what a thief took comes back to the owner here
    _Atomic(uint64_t) put, taken, stolen;
    _Atomic(uint32_t) twice, torn;
    _Atomic(bool) ending;
};

static uint64_t
check_of(uint64_t round)
{
    return round * UINT64_C(0x9E3779B97F4A7C15);
}

// We have it: alone, and whole.
static void
take(struct contest *contest, struct item *item)
{
    // relaxed, all: counts that are looked at when the threads have ended.
    if (atomic_fetch_sub_explicit(&item->holders, 1, memory_order_relaxed) != 1) {
        atomic_fetch_add_explicit(&contest->twice, 1, memory_order_relaxed);
    }
    if (item->check != check_of(item->round)) {
        atomic_fetch_add_explicit(&contest->torn, 1, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&contest->taken, 1, memory_order_relaxed);
}

static void *
thief_main(void *arg)
{
    struct contest *contest = arg;

    // acquire: pairs with the end's release.
    while (!atomic_load_explicit(&contest->ending, memory_order_acquire)) {
        struct task *task = hark__next_peek(&contest->next);
        struct item *none = NULL;

        if (task == NULL || !hark__next_steal(&contest->next, contest->env, task)) {
            sched_yield();
            continue;
        }
        struct item *item = (struct item *)task;
        take(contest, item);
        item->round++; // it is ours
        item->check = check_of(item->round);
        atomic_fetch_add_explicit(&contest->stolen, 1, memory_order_relaxed); // a count
        // release: pairs with the owner's acquire.
        while (!atomic_compare_exchange_weak_explicit(
            &contest->back, &none, item, memory_order_release, memory_order_relaxed)) {
            none = NULL;
            sched_yield();
        }
    }
    return NULL;
}

// The owner's stock of items that are nowhere else.
struct stock {
    struct item *items[POOL];
    unsigned count;
};

static void
take_back(struct contest *contest, struct stock *stock)
{
    // acquire: pairs with the thief's release.
    struct item *item =
        atomic_exchange_explicit(&contest->back, NULL, memory_order_acquire);

    if (item != NULL) {
        stock->items[stock->count++] = item;
    }
}

static void
keep(struct contest *contest, struct stock *stock, struct task *task)
{
    if (task != NULL) {
        struct item *item = (struct item *)task;

        take(contest, item);
        stock->items[stock->count++] = item;
    }
}

static void
put(struct contest *contest, struct stock *stock)
{
    struct item *item = stock->items[--stock->count];

    item->round++;
    item->check = check_of(item->round);
    // relaxed, both: counts.
    atomic_fetch_add_explicit(&item->holders, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&contest->put, 1, memory_order_relaxed);
    keep(contest, stock, hark__next_swap(&contest->next, &item->task));
}

static void
play(struct contest *contest, struct stock *stock)
{
    for (unsigned i = 0; i < SWAPS_A_LOOK; i++) {
        take_back(contest, stock);
        if (stock->count > 0) {
            put(contest, stock);
        }
        if (i % 3 == 0) {
            keep(contest, stock, hark__next_swap(&contest->next, NULL));
        }
        if (i % 64 == 1) {
            sched_yield(); // a long turn: something may stand there
        }
    }
}

static bool
no_barrier(struct env *env)
{
    (void)env;
    return false;
}

static void
run_contest(struct contest *contest)
{
    struct env *env = hark__env_real();
    struct stock stock = {.count = 0};
    pthread_t threads[THIEVES];

    hark__next_init(&contest->next, contest->env);
    for (unsigned i = 0; i < POOL; i++) {
        stock.items[stock.count++] = &contest->items[i];
    }
    for (unsigned i = 0; i < THIEVES; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, thief_main, contest), 0);
    }
    int64_t end = hark__env_now(env) + RUN_NS;
    int64_t last = end + 20 * RUN_NS; // on a busy machine thieves may come late
    int64_t now;
    while ((now = hark__env_now(env)) < end
           || (contest->stolen < LEAST_STOLEN && now < last)) {
        play(contest, &stock);
    }
    keep(contest, &stock, hark__next_swap(&contest->next, NULL));
    // release: pairs with thief_main.
    atomic_store_explicit(&contest->ending, true, memory_order_release);
    for (unsigned i = 0; i < THIEVES; i++) {
        while (pthread_tryjoin_np(threads[i], NULL) != 0) {
            take_back(contest, &stock); // a thief may wait for that
            sched_yield();
        }
    }
    take_back(contest, &stock);
    hark__next_fini(&contest->next);
    assert_int_equal(contest->twice, 0);
    assert_int_equal(contest->torn, 0);
    assert_true(contest->put == contest->taken);
    assert_int_equal(stock.count, POOL);
    assert_true(contest->stolen >= LEAST_STOLEN);
}

static void
every_task_is_taken_once_by_the_owner_or_a_thief(void **state)
{
    static struct contest contest = {.env = NULL};

    (void)state;
    contest.env = hark__env_real();
    run_contest(&contest);
}

static void
every_task_is_taken_once_where_there_is_no_barrier(void **state)
{
    static struct contest contest = {.env = NULL};
    struct env_ops ops = *hark__env_real()->ops;
    struct env env = {.ops = &ops};

    (void)state;
    ops.barrier = no_barrier;
    contest.env = &env;
    run_contest(&contest);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_is_taken_once_by_the_owner_or_a_thief),
        cmocka_unit_test(every_task_is_taken_once_where_there_is_no_barrier),
    };
    return cmocka_run_group_tests_name("stress/next", tests, NULL, NULL);
}
