// Who has nothing to do uses no processor: less than half a tick (10 ms) of it in five
// seconds, so /proc/self/stat would show none. A tick itself is no measure: whether a
// microsecond is the one that completes it is chance. A link is never quite idle, since it
// looks for silence and sends a heartbeat now and then; it may use one tick.

#include "api/world.h"

#include <time.h>

HARK_MESSAGE(nudge)
HARK_MESSAGE(nudged, (u64, count))

typedef struct {
    uint64_t count;
} sleeper;

HARK_ON(sleeper, nudge) {
    hark_reply(ctx, nudged, .count = ++self->count);
}
HARK_ACTOR(sleeper, nudge)

enum { IDLE_MS = 5000, SETTLE_MS = 1000, ACTORS = 10000, SYSTEMS = 6 };

// A sanitizer's own thread, and what its instrumented code costs, are not ours.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOWER 40
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SLOWER 40
#endif
#endif
#ifndef SLOWER
#define SLOWER 1
#endif

enum { QUIET_US = 5000 * SLOWER, LINKED_US = 10000 * SLOWER };

// What the kernel has charged to this process, all threads.
static int64_t
used_us(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
}

// me waits in hark_receive, as an idle program does. The best of three counts: who uses
// the processor does so each time, but what others do to a busy machine's caches makes
// the same few wakes dear now and then.
static void
assert_idle(hark_ctx *me, int64_t most_us)
{
    int64_t least_us = INT64_MAX;

    for (int i = 0; i < 3 && least_us > most_us; i++) {
        assert_null(hark_receive(me, SETTLE_MS));
        int64_t before_us = used_us();

        assert_null(hark_receive(me, IDLE_MS));
        int64_t spent_us = used_us() - before_us;

        least_us = spent_us < least_us ? spent_us : least_us;
    }
    assert_in_range(least_us, 0, most_us);
}

static void
system_with_actors_and_far_timers_uses_no_processor(void **state)
{
    (void)state;
    hark_system *sys = hark_start(NULL);
    hark_ctx *me = hark_attach(sys);

    for (int i = 0; i < ACTORS; i++) {
        hark_ref s = hark_spawn(me, sleeper);

        hark_tell(me, s, nudge);
        if (i % 10 == 0) {
            hark_send_after(me, HARK_SECONDS(3600) + (uint32_t)i, s, nudge);
        }
    }
    hark_future open = hark_ask_within(me, HARK_SECONDS(10), hark_self(me), nudge);
    hark_future_drop(me, open);
    assert_idle(me, QUIET_US);
    assert_int_equal(hark_stop(sys, HARK_SECONDS(60)), HARK_OK);
}

static void
idle_links_use_no_processor(void **state)
{
    static const enum reach reaches[] = {REACH_MEMORY, REACH_TCP, REACH_IPC};

    (void)state;
    for (size_t i = 0; i < sizeof reaches / sizeof reaches[0]; i++) {
        struct world *w = world_open(reaches[i], NULL);
        hark_ref s = world_reach(w, "sleeper", hark_spawn(w->there, sleeper));
        hark_future f = hark_ask(w->here, s, nudge);

        assert_non_null(hark_await(w->here, f, nudged));
        assert_idle(w->here, LINKED_US);
        f = hark_ask(w->here, s, nudge); // the link is up all the while
        const nudged *answer = hark_await(w->here, f, nudged);
        assert_non_null(answer);
        assert_int_equal(answer->count, 2);
        world_close(w);
    }
}

static void
many_systems_of_a_process_use_no_processor(void **state)
{
    hark_system *systems[SYSTEMS];
    hark_ctx *me[SYSTEMS];

    (void)state;
    for (int i = 0; i < SYSTEMS; i++) {
        systems[i] = hark_start(NULL);
        me[i] = hark_attach(systems[i]);
        hark_ref s = hark_spawn(me[i], sleeper);
        hark_future f = hark_ask(me[i], s, nudge);
        assert_non_null(hark_await(me[i], f, nudged));
        assert_int_equal(hark_listen(me[i], "tcp://127.0.0.1:0", NULL, 0), HARK_OK);
    }
    assert_idle(me[0], QUIET_US);
    for (int i = 0; i < SYSTEMS; i++) {
        assert_int_equal(hark_stop(systems[i], HARK_SECONDS(60)), HARK_OK);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(system_with_actors_and_far_timers_uses_no_processor),
        cmocka_unit_test(idle_links_use_no_processor),
        cmocka_unit_test(many_systems_of_a_process_use_no_processor),
    };
    return cmocka_run_group_tests_name("api/idle", tests, NULL, NULL);
}
