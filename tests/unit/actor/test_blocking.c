// Blocking work where memory or threads run out: each future ends, and each argument is
// dropped once. (What users see otherwise is in tests/api/test_blocking.c.)

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "actor/blocking.h"
#include "actor/node.h"
#include "hark/future.h"
#include "message/registry.h"
#include "unit/scarce.h"

HARK_MESSAGE(answer, (i64, n))

enum { WAIT_MS = 50 };

// ---- threads that run out ----

static _Atomic(bool) threads_are_out;

static struct thread *
start_thread(struct env *env, const char *name, void (*run)(void *), void *arg)
{
    return atomic_load(&threads_are_out)
               ? NULL
               : hark__env_real()->ops->thread_start(env, name, run, arg);
}

// ---- fixture ----

struct fixture {
    struct env env;
    struct env_ops ops;
    struct registry *registry;
    struct node *node;
    hark_ctx *ctx;
};

static int
setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);

    f->ops = *hark__env_real()->ops;
    f->ops.thread_start = start_thread;
    f->env.ops = &f->ops;
    f->registry = hark__registry_new();
    assert_non_null(f->registry);
    struct node_options options = {
        .env = &f->env,
        .registry = f->registry,
        .name = "node",
        .workers = 1,
        .actor_limit = 100,
        .limits = {.ask_timeout_ms = 5000, .futures = 100},
        .blocking = {.name = "blocking", .threads = 2, .queue = 2, .idle_ms = 1},
    };
    assert_int_equal(hark__node_open(&options, &f->node), HARK_OK);
    f->ctx = hark__thread_attach(f->node);
    assert_non_null(f->ctx);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(hark__node_stop(f->node, INT64_MAX), HARK_OK);
    hark__node_halt(f->node);
    hark__node_close(f->node);
    hark__registry_free(f->registry);
    test_free(f);
    return 0;
}

static _Atomic(int) drops;

static void
count_drop(void *arg)
{
    (void)arg;
    atomic_fetch_add(&drops, 1);
}

HARK_BLOCKING_WITH(echo, int64_t, count_drop) {
    hark_reply(ctx, answer, .n = *arg);
}

// True: the work was done. Else its future has failed, or there was none.
static bool
call(struct fixture *f, uint32_t timeout_ms, int64_t n)
{
    hark_blocking_options options = {.timeout_ms = timeout_ms};
    int before = atomic_load(&drops);
    hark_future future = hark_blocking_with(f->ctx, &options, echo, &n);
    const answer *a = future.id != 0 ? hark_await(f->ctx, future, answer) : NULL;
    bool done = a != NULL;

    if (done) {
        assert_int_equal(a->n, n);
    }
    (void)scarce_end();
    hark_future_drop(f->ctx, future);
    while (atomic_load(&drops) == before) { // it may still run, and use n
        sched_yield();
    }
    hark_stats stats;
    do { // until nothing runs any more
        stats = (hark_stats){0};
        hark__node_stats(f->node, &stats);
    } while (stats.blocking_threads > 0);
    assert_int_equal(atomic_load(&drops), before + 1);
    return done;
}

static void
without_memory_each_future_ends_and_each_argument_is_dropped_once(void **state)
{
    struct fixture *f = *state;
    int allowed = 0;

    for (;; allowed++) {
        scarce_begin(allowed, SCARCE_LAST);
        if (call(f, WAIT_MS, allowed)) {
            break;
        }
        assert_in_range(allowed, 0, 100);
    }
    assert_in_range(allowed, 1, 100);
}

static void
without_threads_work_fails_and_says_so(void **state)
{
    struct fixture *f = *state;
    int64_t n = 1;

    atomic_store(&threads_are_out, true);
    hark_future future = hark_blocking(f->ctx, echo, &n);
    assert_null(hark_await(f->ctx, future, answer));
    const hark_error *error = hark_error_of(f->ctx);
    assert_int_equal(error->code, HARK_ENOMEM);
    assert_int_equal(error->stage, HARK_STAGE_NOT_SENT);
    assert_string_equal(error->text, "echo: executor \"blocking\" has no thread, and "
                                     "could start none");
    atomic_store(&threads_are_out, false);
    assert_true(call(f, HARK_SECONDS(20), 2));
}

static void
without_memory_there_is_no_executor(void **state)
{
    struct fixture *f = *state;
    hark_executor_options options = {
        .name = "e", .threads = 1, .queue = 1, .idle_ms = 1};

    for (int allowed = 0; allowed < 2; allowed++) { // of an executor, and its pool
        scarce_begin(allowed, SCARCE_LAST);
        hark_executor *executor = hark__executor_new(f->node, &options);
        (void)scarce_end();
        assert_null(executor);
    }
    hark_executor *executor = hark__executor_new(f->node, &options);
    assert_non_null(executor);
    hark_executor_free(executor);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_memory_each_future_ends_and_each_argument_is_dropped_once),
        TEST(without_threads_work_fails_and_says_so),
        TEST(without_memory_there_is_no_executor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
