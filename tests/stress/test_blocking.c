// Blocking work under strain: threads that submit, wait, give up, time out and end, on
// executors that come and go. Each argument is dropped once, and each future ends.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <hark/hark.h>

HARK_MESSAGE(answer, (i64, n))

enum { THREADS = 4, CALLS = 3000, ROUNDS = 10 };

static _Atomic(int64_t) taken;   // arguments made
static _Atomic(int64_t) dropped; // and dropped

typedef struct {
    int64_t n;
    uint32_t spin;
} load;

static void
drop_load(void *arg)
{
    free(arg);
    // relaxed: a count, read when all is over.
    atomic_fetch_add_explicit(&dropped, 1, memory_order_relaxed);
}

HARK_BLOCKING_WITH(carry, load, drop_load) {
    for (volatile uint32_t i = 0; i < arg->spin; i++) {
        if (hark_blocking_cancelled(ctx)) {
            return;
        }
    }
    hark_reply(ctx, answer, .n = arg->n);
}

static load *
load_new(int64_t n, uint32_t chance)
{
    load *l = malloc(sizeof *l);

    if (l == NULL) {
        abort();
    }
    *l = (load){n, chance % 8 == 0 ? 20000 : chance % 64};
    // relaxed: as in drop_load.
    atomic_fetch_add_explicit(&taken, 1, memory_order_relaxed);
    return l;
}

static uint32_t
next_chance(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

struct caller {
    hark_system *system;
    uint32_t seed;
    uint32_t wrong;
    uint32_t done;
};

// One piece of work, and what becomes of its future.
static void
call_once(struct caller *caller, hark_ctx *me, hark_executor *executor, int64_t n)
{
    uint32_t chance = next_chance(&caller->seed);
    hark_blocking_options options = {.timeout_ms = chance % 5 == 0 ? 1 : 60000,
                                     .executor = chance % 3 == 0 ? executor : NULL};
    hark_future f = hark_blocking_with(me, &options, carry, load_new(n, chance));

    if (chance % 7 < 2) {
        hark_future_drop(me, f);
        return;
    }
    if (chance % 7 == 2) {
        return; // left open
    }
    const answer *a = hark_await(me, f, answer);
    int code = a == NULL ? hark_error_of(me)->code : 0;
    caller->done += a != NULL;
    caller->wrong += a != NULL ? a->n != n
                               : code != HARK_ETIMEOUT && code != HARK_ELIMIT
                                     && code != HARK_ESTOPPED;
    hark_future_drop(me, f);
}

static void *
run_caller(void *arg)
{
    struct caller *caller = arg;

    for (int i = 0; i < CALLS;) {
        hark_ctx *me = hark_attach(caller->system);
        hark_executor *executor = hark_executor_new(
            caller->system,
            &(hark_executor_options){.threads = 2, .queue = 8, .idle_ms = 1});

        if (me == NULL || executor == NULL) {
            caller->wrong++;
            return NULL;
        }
        for (uint32_t end = next_chance(&caller->seed) % 200; end > 0; end--, i++) {
            call_once(caller, me, executor, i);
        }
        hark_executor_free(executor);
        hark_detach(me);
    }
    return NULL;
}

static void
each_argument_is_dropped_once_whatever_happens(void **state)
{
    uint32_t done = 0;

    (void)state;
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        hark_system *system = hark_start(
            &(hark_options){.workers = 2, .blocking_limit = 3, .blocking_idle_ms = 1});
        pthread_t threads[THREADS];
        struct caller callers[THREADS];

        assert_non_null(system);
        for (uint32_t i = 0; i < THREADS; i++) {
            callers[i] = (struct caller){system, round * 100 + i, 0, 0};
            assert_int_equal(pthread_create(&threads[i], NULL, run_caller, &callers[i]),
                             0);
        }
        for (uint32_t i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(callers[i].wrong, 0);
            done += callers[i].done;
        }
        assert_int_equal(hark_stop(system, HARK_SECONDS(20)), HARK_OK);
        assert_int_equal(atomic_load(&taken), atomic_load(&dropped));
    }
    assert_in_range(done, 1, THREADS * ROUNDS * (CALLS + 200));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_argument_is_dropped_once_whatever_happens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
