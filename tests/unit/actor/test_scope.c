// Scopes when memory runs out: each allocation fails once, and nothing is lost. A
// thread's scopes are those of an actor; so that only what it allocates itself fails,
// it is a thread.

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hark/hark.h"
#include "unit/scarce.h"

HARK_MESSAGE(get, (i64, n))
HARK_MESSAGE(got, (i64, n))

// ---- one run ----

typedef struct {
    int unused;
} child;

HARK_ON(child, get) {
    hark_reply(ctx, got, .n = msg->n);
}
HARK_ACTOR(child, get)

struct run {
    int cleaned;  // cleanups that ran
    int promised; // and were promised
    hark_ref children[2];
};

static void
clean(hark_ctx *ctx, void *arg)
{
    struct run *run = arg;
    const got *g = hark_await(ctx, hark_ask(ctx, run->children[0], get, .n = 1), got);

    (void)g; // without memory it may fail
    run->cleaned++;
}

static void
use_scopes(hark_ctx *ctx, struct run *run)
{
    run->promised += hark_defer_cleanup(ctx, clean, run) == HARK_OK;
    hark_scope outer = hark_scope_open(ctx, NULL);
    run->children[0] = hark_scope_spawn(ctx, outer, child);
    run->promised += hark_scope_defer(ctx, outer, clean, run) == HARK_OK;
    hark_scope inner =
        hark_scope_open(ctx, &(hark_scope_options){.timeout_ms = HARK_SECONDS(60)});
    run->children[1] = hark_scope_spawn(ctx, inner, child);
    (void)hark_scope_timer(ctx, inner, HARK_SECONDS(60), run->children[1], get);
    run->promised += hark_scope_defer(ctx, inner, clean, run) == HARK_OK;
    hark_future f = hark_scope_ask(ctx, inner, run->children[1], get, .n = 1);
    (void)hark_scope_add(ctx, outer, hark_future_new(ctx));
    if (hark_scope_join(ctx, inner) == HARK_OK) {
        const got *g = hark_future_get(ctx, f, got);

        assert_non_null(g);
        assert_int_equal(g->n, 1);
    } else {
        assert_true(atomic_load(&scarce_has_failed));
    }
    (void)hark_scope_close(ctx, outer);
}

// In which the allocation after `count` others fails. False: none did.
static bool
fail_after(long count)
{
    struct run run = {0};
    hark_system *system = hark_start(&(hark_options){.workers = 1});
    hark_ctx *ctx = hark_attach(system);

    assert_non_null(ctx);
    scarce_begin(count, SCARCE_HERE);
    use_scopes(ctx, &run);
    bool has_failed = scarce_end();
    for (int i = 0; i < 2; i++) { // stopped, even without memory
        while (hark_is_alive(ctx, run.children[i])) {
            hark_message_free(ctx, hark_receive(ctx, 1));
        }
    }
    hark_detach(ctx);
    assert_int_equal(run.cleaned, run.promised);
    assert_int_equal(hark_stop(system, HARK_SECONDS(10)), HARK_OK);
    return has_failed;
}

static void
each_allocation_may_fail_and_nothing_is_lost(void **state)
{
    long count = 0;

    (void)state;
    while (fail_after(count)) {
        count++;
    }
    assert_true(count > 5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_may_fail_and_nothing_is_lost),
    };

    return cmocka_run_group_tests_name("unit/actor/scope", tests, NULL, NULL);
}
