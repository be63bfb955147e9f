// World: two places that speak to each other, for tests that must hold wherever the
// other side is: on this node, or on another one behind some link. One thread has a ctx
// in each.

#ifndef API_WORLD_H
#define API_WORLD_H

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <hark/hark.h>

// How long whatever is not about a limit may take: the machine may be very busy. A node
// that gets no processor for a while is silent, too.
enum { WORLD_PATIENCE_MS = HARK_SECONDS(55) };

enum reach { REACH_LOCAL, REACH_MEMORY, REACH_TCP, REACH_IPC };

struct world {
    enum reach reach;
    hark_hub *hub;
    hark_system *here_system, *there_system; // the same when local
    hark_ctx *here, *there;                  // the same when local
    char endpoint[256];                      // of there; empty when local
    char name[320];                          // world_name's
    char error[1024];                        // world_error's
};

// What went wrong last here, for messages.
static inline const char *
world_error(struct world *world)
{
    hark_error_print(world->here, hark_error_of(world->here), world->error,
                     sizeof world->error);
    return world->error;
}

// Waits until counter, which handlers raise, is at least value. A wait that does not end
// fails the test, which says more than a test that hangs. Only the test's own thread.
static inline void
world_until(const _Atomic(int) *counter, int value)
{
    time_t until = time(NULL) + WORLD_PATIENCE_MS / 1000;

    while (atomic_load(counter) < value) {
        if (time(NULL) > until) {
            fail_msg("waited for %d, and it is %d", value, atomic_load(counter));
        }
        sched_yield();
    }
}

// The last error here must have that code and say that text.
static inline void
world_assert_error(struct world *world, int code, const char *text)
{
    const hark_error *error = hark_error_of(world->here);

    if (error->code != code || strstr(error->text, text) == NULL) {
        fail_msg("expected %s with \"%s\", got %s", hark_err_name(code), text,
                 world_error(world));
    }
}

// Where a node of that name may listen; of this process alone, so that tests can run side
// by side. Valid until the next call.
static inline const char *
world_wish(enum reach reach, const char *name)
{
    static char wish[128];

    if (reach == REACH_TCP) {
        return "tcp://127.0.0.1:0";
    }
    snprintf(wish, sizeof wish, "%s%s-%ld",
             reach == REACH_MEMORY ? "mem://" : "ipc://@hark-test-", name,
             (long)getpid());
    return wish;
}

static inline struct world *
world_open(enum reach reach, const hark_options *options)
{
    struct world *world = calloc(1, sizeof *world);
    hark_options own = options != NULL ? *options : (hark_options){0};

    assert_non_null(world);
    world->reach = reach;
    world->hub = hark_hub_new();
    assert_non_null(world->hub);
    own.hub = world->hub;
    own.workers = own.workers != 0 ? own.workers : 2;
    own.ask_timeout_ms =
        own.ask_timeout_ms != 0 ? own.ask_timeout_ms : WORLD_PATIENCE_MS;
    own.connect_ms = own.connect_ms != 0 ? own.connect_ms : WORLD_PATIENCE_MS;
    own.heartbeat_ms = own.heartbeat_ms != 0 ? own.heartbeat_ms : WORLD_PATIENCE_MS;
    own.name = "here";
    world->here_system = hark_start(&own);
    assert_non_null(world->here_system);
    world->here = hark_attach(world->here_system);
    assert_non_null(world->here);
    if (reach == REACH_LOCAL) {
        world->there_system = world->here_system;
        world->there = world->here;
        return world;
    }
    own.name = "there";
    world->there_system = hark_start(&own);
    assert_non_null(world->there_system);
    world->there = hark_attach(world->there_system);
    assert_non_null(world->there);
    if (hark_listen(world->there, world_wish(reach, "there"), world->endpoint,
                    sizeof world->endpoint)
        != HARK_OK) {
        fail_msg("%s", hark_error_of(world->there)->text);
    }
    return world;
}

static inline void
world_close(struct world *world)
{
    if (world->there_system != world->here_system && world->there_system != NULL) {
        assert_int_equal(hark_stop(world->there_system, HARK_SECONDS(10)), HARK_OK);
    }
    if (world->here_system != NULL) {
        assert_int_equal(hark_stop(world->here_system, HARK_SECONDS(10)), HARK_OK);
    }
    hark_hub_free(world->hub);
    free(world);
}

// The teardown of a test whose state is a world.
static inline int
world_teardown(void **state)
{
    world_close(*state);
    return 0;
}

static inline hark_stats
world_stats(hark_system *system)
{
    hark_stats stats;

    hark_stats_read(system, &stats);
    return stats;
}

static inline void
world_assert_no_dead_letters(struct world *world)
{
    assert_int_equal(world_stats(world->here_system).dead_letters, 0);
    assert_int_equal(world_stats(world->there_system).dead_letters, 0);
}

// The name by which here looks up a name of there.
static inline const char *
world_name(struct world *world, const char *name)
{
    snprintf(world->name, sizeof world->name, "%s%s%s", world->endpoint,
             world->endpoint[0] != '\0' ? "/" : "", name);
    return world->name;
}

// Names actor, which lives there, and looks it up from here: the ref as here sees it.
static inline hark_ref
world_reach(struct world *world, const char *name, hark_ref actor)
{
    assert_int_equal(hark_register(world->there, name, actor), HARK_OK);
    hark_ref found = hark_lookup(world->here, world_name(world, name));
    if (hark_ref_is_null(found)) {
        fail_msg("lookup: %s", world_error(world));
    }
    return found;
}

#endif // API_WORLD_H
