// Who has nothing to do sleeps. What is counted is how often threads go to sleep again,
// which the kernel knows exactly, and which is the same on a busy machine; how much
// processor time that took is printed, since what a waking costs is the machine's affair.
//
// A link is never quite idle: it looks for silence, and sends a heartbeat now and then. A
// heartbeat and its answer are some 8 wakings: the clock's, libzmq's threads' to send and
// to receive, and those of the workers that take them, at both ends.

#include "api/world.h"
#include "cpu.h"
#include "sanitized.h"

#include <inttypes.h>
#include <sys/resource.h>

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

// A sanitizer has a thread of its own.
enum { OTHERS = IS_SANITIZED ? 400 : 0 };

enum {
    HEARTBEAT_MS = 3000,                          // the default
    BEATS = IDLE_MS / (HEARTBEAT_MS * 2 / 5) + 2, // in that time, and one that was due
    // For a while after the last message a link is looked at more often.
    QUIET_WAKES = 10 + OTHERS,
    LINKED_WAKES = QUIET_WAKES + 8 * BEATS,
};

// How often its threads went to sleep, all of them.
static int64_t
slept(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
}

// me waits in hark_receive, as an idle program does. The better of two counts: what
// happened before may still have consequences in the first.
static void
assert_idle(hark_ctx *me, int64_t most_wakes)
{
    int64_t least = INT64_MAX;

    for (int i = 0; i < 2 && least > most_wakes; i++) {
        assert_null(hark_receive(me, SETTLE_MS));
        int64_t before_us = cpu_used_us();
        int64_t before = slept();

        assert_null(hark_receive(me, IDLE_MS));
        int64_t wakes = slept() - before;

        print_message("%" PRId64 " wakings and %" PRId64 " us in %d s\n", wakes,
                      cpu_used_us() - before_us, IDLE_MS / 1000);
        least = wakes < least ? wakes : least;
    }
    assert_in_range(least, 0, most_wakes);
}

static void
system_with_actors_and_far_timers_sleeps(void **state)
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
    assert_idle(me, QUIET_WAKES);
    assert_int_equal(hark_stop(sys, HARK_SECONDS(60)), HARK_OK);
}

static void
idle_links_wake_for_their_heartbeats_only(void **state)
{
    static const enum reach reaches[] = {REACH_MEMORY, REACH_TCP, REACH_IPC};

    (void)state;
    for (size_t i = 0; i < sizeof reaches / sizeof reaches[0]; i++) {
        struct world *w =
            world_open(reaches[i], &(hark_options){.heartbeat_ms = HARK_SECONDS(3)});
        hark_ref s = world_reach(w, "sleeper", hark_spawn(w->there, sleeper));
        hark_future f = hark_ask(w->here, s, nudge);

        assert_non_null(hark_await(w->here, f, nudged));
        assert_idle(w->here, LINKED_WAKES);
        f = hark_ask(w->here, s, nudge); // the link is up all the while
        const nudged *answer = hark_await(w->here, f, nudged);
        assert_non_null(answer);
        assert_int_equal(answer->count, 2);
        world_close(w);
    }
}

static void
many_systems_of_a_process_sleep(void **state)
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
    assert_idle(me[0], QUIET_WAKES);
    for (int i = 0; i < SYSTEMS; i++) {
        assert_int_equal(hark_stop(systems[i], HARK_SECONDS(60)), HARK_OK);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(system_with_actors_and_far_timers_sleeps),
        cmocka_unit_test(idle_links_wake_for_their_heartbeats_only),
        cmocka_unit_test(many_systems_of_a_process_sleep),
    };
    return cmocka_run_group_tests_name("api/idle", tests, NULL, NULL);
}
