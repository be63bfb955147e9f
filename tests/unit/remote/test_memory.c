// Asks over a link end when memory runs out, on either side of it: each allocation on the
// way fails once, and then each from some one on. No ask has a limit, nor is a link ended
// by its clock soon: each ends with its answer, or an error, that somebody sends.

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <hark/control.h>
#include <hark/hark.h>

#include "unit/scarce.h"

// RUN_S: a run that takes longer hangs. CLOCK_MS: what waits for a clock takes longer.
enum { RUN_S = 60, CLOCK_MS = 600 * 1000, STOP_MS = 300, ITEMS = 20, ENDPOINT = 64 };

HARK_MESSAGE(get, (i64, n))
HARK_MESSAGE(got, (i64, n))
HARK_MESSAGE(measure, (bytes, what)) // is answered with how many, and with them
HARK_MESSAGE(measured, (i64, n), (bytes, what))
HARK_MESSAGE(refuse)                   // says no
HARK_MESSAGE(forget)                   // says nothing
HARK_MESSAGE(stray)                    // is not handled
HARK_MESSAGE(keep)                     // is answered by the next one
HARK_MESSAGE(let_go)                   // or by this
HARK_MESSAGE(pass)                     // asks the server to keep it
HARK_MESSAGE(meet, (ref, a), (ref, b)) // asks a to ask b, or b to be got
HARK_MESSAGE(listing, (i64, items))    // a stream
HARK_MESSAGE(leave)
HARK_MESSAGE(act, (u32, which))
HARK_MESSAGE(acted, (i32, code))

// Two nodes, and who is there; made anew for each run.
struct run {
    hark_hub *hub;
    hark_system *here_system, *there_system; // NULL: it was stopped
    hark_ctx *here, *there;
    char endpoint[ENDPOINT], name[ENDPOINT + 16];
    hark_ref server, relay, leaver, semaphore; // there
    hark_ref meeter, doer;                     // here
    bool was_scarce;                           // as far as it has ended by itself
};

static struct run run;

// Waits, and drops the future. 0, or why it failed.
static int
end(hark_ctx *ctx, hark_future future, const hark_type *type)
{
    int code =
        hark_await_value(ctx, future, type) != NULL ? 0 : hark_error_of(ctx)->code;

    hark_future_drop(ctx, future);
    return code;
}

#define ASK(ctx, to, ...) hark_ask_within(ctx, HARK_FOREVER, to, __VA_ARGS__)

static int
first_of(int code, int other)
{
    return code != 0 ? code : other;
}

// ---- the cast ----

typedef struct {
    hark_promise kept;
} server;

HARK_ON(server, get) {
    hark_reply(ctx, got, .n = msg->n);
}
HARK_ON(server, measure) {
    hark_reply(ctx, measured, .n = (int64_t)msg->what.len, .what = msg->what);
}
HARK_ON(server, refuse) {
    hark_refuse(ctx, HARK_EUSER, "no, as always");
}
HARK_ON(server, forget) {
}
HARK_ON(server, keep) {
    (void)hark_fulfil(ctx, self->kept, got, .n = 1);
    self->kept = hark_defer(ctx);
}
HARK_ON(server, let_go) {
    (void)hark_fulfil(ctx, self->kept, got, .n = 1);
    hark_reply(ctx, got, .n = 1);
}
HARK_ON(server, listing) {
    hark_sink out = hark_stream_begin(ctx);

    for (int64_t i = 0; i < msg->items; i++) {
        hark_err err = hark_stream_write(ctx, out, got, .n = i);

        if (err != HARK_OK) {
            (void)hark_stream_fail(ctx, out, err, "%s", hark_error_of(ctx)->text);
            return;
        }
    }
    (void)hark_stream_end(ctx, out);
}
HARK_ACTOR_WITH(server, (interleave), get, measure, refuse, forget, keep, let_go,
                listing)

typedef struct {
    hark_promise kept;
} leaver;

HARK_ON(leaver, leave) {
    self->kept = hark_defer(ctx);
    hark_exit(ctx);
}
HARK_ACTOR(leaver, leave)

typedef struct {
    int unused;
} relay;

static void
answer(hark_ctx *ctx, int code)
{
    if (code == 0) {
        hark_reply(ctx, got, .n = 1);
    } else {
        hark_refuse(ctx, code, "%s", hark_error_of(ctx)->text);
    }
}

HARK_ON(relay, get) {
    answer(ctx, end(ctx, ASK(ctx, run.server, get, .n = msg->n), &got_type));
}
HARK_ON(relay, pass) {
    answer(ctx, end(ctx, ASK(ctx, run.server, keep), &got_type));
}
HARK_ON(relay, meet) {
    hark_future f = hark_ref_is_null(msg->b)
                        ? ASK(ctx, msg->a, get, .n = 1)
                        : ASK(ctx, msg->a, meet, .a = msg->b, .b = {0, 0});
    answer(ctx, end(ctx, f, &got_type));
}
HARK_ACTOR(relay, get, pass, meet)

// ---- what is done, in a thread and in an actor ----

static int
ask_for_answers(hark_ctx *ctx)
{
    hark_future first = ASK(ctx, run.server, get, .n = 1);
    hark_future second = ASK(ctx, run.server, get, .n = 2);
    int code = end(ctx, first, &got_type);

    return first_of(code, end(ctx, second, &got_type));
}

static int
ask_for_much(hark_ctx *ctx)
{
    static const uint8_t much[100 * 1000];
    hark_bytes bytes = {.ptr = much, .len = sizeof much};
    int code = end(ctx, ASK(ctx, run.server, measure, .what = bytes), &measured_type);

    return first_of(
        code, end(ctx, ASK(ctx, run.server, measure, .what = bytes), &measured_type));
}

static int
ask_in_vain(hark_ctx *ctx)
{
    hark_ref nobody = {run.server.node, run.server.actor + 1000};
    hark_future refused = ASK(ctx, run.server, refuse);
    hark_future forgotten = ASK(ctx, run.server, forget);
    hark_future strayed = ASK(ctx, run.server, stray);
    hark_future missed = ASK(ctx, nobody, get, .n = 1);
    int code = end(ctx, refused, &got_type);

    (void)end(ctx, forgotten, &got_type);
    (void)end(ctx, strayed, &got_type);
    (void)end(ctx, missed, &got_type);
    return code == HARK_EUSER ? 0 : code;
}

static int
ask_who_ends(hark_ctx *ctx)
{
    hark_future left = ASK(ctx, run.leaver, leave);
    hark_future queued = ASK(ctx, run.leaver, leave);
    int code = end(ctx, left, &got_type);

    (void)end(ctx, queued, &got_type);
    return code == HARK_ESTOPPED ? 0 : code;
}

// More than there are rows at first.
static int
ask_much_at_once(hark_ctx *ctx)
{
    enum { MANY = 80 };
    hark_future futures[MANY];
    int code = 0;

    for (int i = 0; i < MANY; i++) {
        futures[i] = ASK(ctx, run.server, keep);
    }
    bool all = end(ctx, ASK(ctx, run.server, let_go), &got_type) == 0;
    for (int i = 0; i < MANY; i++) {
        if (!all) { // the last may be kept for ever
            code = HARK_ENOMEM;
            hark_future_drop(ctx, futures[i]);
        } else {
            code = first_of(code, end(ctx, futures[i], &got_type));
        }
    }
    return code;
}

// With credits for so many items.
static hark_stream_options
window(uint32_t items)
{
    return (hark_stream_options){.window = items, .item_ms = HARK_FOREVER};
}

static int
take_a_stream(hark_ctx *ctx)
{
    hark_stream_options few = window(4);
    hark_stream in =
        hark_stream_open_with(ctx, &few, run.server, listing, .items = ITEMS);
    const got *item;
    int64_t next = 0;

    while ((item = hark_stream_await(ctx, in, got)) != NULL) {
        if (item->n != next++) {
            return HARK_EUSER; // one is missing
        }
    }
    int code = hark_error_of(ctx)->code;
    (void)hark_stream_close(ctx, in);
    return code != HARK_EEND ? code : next == ITEMS ? 0 : HARK_EUSER;
}

static int
take_futures_of_a_stream(hark_ctx *ctx)
{
    hark_stream_options one = window(1);
    hark_stream in =
        hark_stream_open_with(ctx, &one, run.server, listing, .items = ITEMS);
    hark_future nexts[ITEMS / 2];
    int code = 0;

    for (int i = 0; i < ITEMS / 2; i++) {
        nexts[i] = hark_stream_next(ctx, in);
    }
    for (int i = 0; i < ITEMS / 2; i++) {
        code = first_of(code, end(ctx, nexts[i], &got_type));
    }
    (void)hark_stream_close(ctx, in); // with items in it
    return code;
}

// The relay waits for what is kept, until it hears that nobody waits for it.
static int
cancel_asks(hark_ctx *ctx)
{
    hark_future passed = ASK(ctx, run.relay, pass);
    hark_future queued = ASK(ctx, run.relay, get, .n = 1);
    int code = end(ctx, ASK(ctx, run.server, get, .n = 1), &got_type);

    (void)hark_cancel(ctx, passed);
    hark_future_drop(ctx, queued);
    hark_future_drop(ctx, passed);
    int later = end(ctx, ASK(ctx, run.relay, get, .n = 1), &got_type);
    return first_of(code, later);
}

static int
use_permit(hark_ctx *ctx, hark_future future)
{
    const hark_permit *had = hark_await(ctx, future, hark_permit);
    int code = had != NULL ? 0 : hark_error_of(ctx)->code;
    const hark_permit permit = had != NULL ? *had : (hark_permit){0};

    hark_future_drop(ctx, future);
    return code != 0 ? code : (int)hark_release(ctx, &permit);
}

static int
use_permits(hark_ctx *ctx)
{
    hark_future first = hark_acquire_within(ctx, HARK_FOREVER, run.semaphore, 2);
    hark_future second = hark_acquire_within(ctx, HARK_FOREVER, run.semaphore, 1);
    int code = use_permit(ctx, first);

    code = first_of(code, use_permit(ctx, second));
    hark_future_drop(ctx, hark_acquire_within(ctx, HARK_FOREVER, run.semaphore, 1));
    return code;
}

static int
look_up_names(hark_ctx *ctx)
{
    char unknown[ENDPOINT + 16];

    snprintf(unknown, sizeof unknown, "%s/nobody", run.endpoint);
    hark_future known = hark_lookup_ask(ctx, run.name, CLOCK_MS);
    hark_future missed = hark_lookup_ask(ctx, unknown, CLOCK_MS);
    int code = end(ctx, known, &hark_found_type);

    (void)end(ctx, missed, &hark_found_type);
    return code;
}

static int
meet_in_a_circle(hark_ctx *ctx)
{
    hark_future f = ASK(ctx, run.meeter, meet, .a = run.relay, .b = run.meeter);
    int code = end(ctx, f, &got_type);

    return code == HARK_EDEADLK ? 0 : code;
}

// The other node goes while it is asked, and an actor of ours is asked by it.
static int
lose_the_node(hark_ctx *ctx)
{
    hark_future kept = ASK(ctx, run.server, keep);
    hark_future passed = ASK(ctx, run.relay, pass);
    hark_stream_options few = window(4);
    hark_stream in =
        hark_stream_open_with(ctx, &few, run.server, listing, .items = ITEMS);
    hark_future item = hark_stream_next(ctx, in);
    int code = end(ctx, ASK(ctx, run.server, get, .n = 1), &got_type);

    while (hark_stop(run.there_system, STOP_MS) != HARK_OK) {
        run.was_scarce |= scarce_end(); // it has found no memory to tell all
    }
    run.there_system = NULL;
    (void)end(ctx, kept, &got_type);
    (void)end(ctx, passed, &got_type);
    (void)end(ctx, item, &got_type);
    (void)hark_stream_close(ctx, in);
    return code;
}

static const struct scenario {
    const char *name;
    int (*run)(hark_ctx *ctx);
    bool is_first; // there is no link before it
    bool is_of_thread;
} scenarios[] = {
    {"answers", ask_for_answers, false, false},
    {"large answers", ask_for_much, false, false},
    {"refusals and bounces", ask_in_vain, false, false},
    {"an end", ask_who_ends, false, false},
    {"many at once", ask_much_at_once, false, false},
    {"a stream", take_a_stream, false, false},
    {"futures of a stream", take_futures_of_a_stream, false, false},
    {"cancels", cancel_asks, false, false},
    {"permits", use_permits, false, false},
    {"names", look_up_names, false, false},
    {"a first lookup", look_up_names, true, false},
    {"a circle", meet_in_a_circle, false, false},
    {"the end of a node", lose_the_node, false, true},
};
enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

typedef struct {
    int unused;
} doer;

HARK_ON(doer, act) {
    hark_reply(ctx, acted, .code = scenarios[msg->which].run(ctx));
}
HARK_ACTOR(doer, act)

// ---- one run ----

static char now_running[128];

static void
tell_hang(int signal)
{
    (void)signal;
    (void)!write(STDERR_FILENO, now_running, strlen(now_running));
    _exit(1);
}

static hark_system *
start(const char *name)
{
    hark_system *system = hark_start(&(hark_options){
        .name = name,
        .workers = 1,
        .ask_timeout_ms = CLOCK_MS,
        .connect_ms = CLOCK_MS,
        .heartbeat_ms = CLOCK_MS,
        .hub = run.hub,
    });

    assert_non_null(system);
    return system;
}

static void
open_run(bool is_linked)
{
    run = (struct run){.hub = hark_hub_new()};
    run.here_system = start("here");
    run.there_system = start("there");
    run.here = hark_attach(run.here_system);
    run.there = hark_attach(run.there_system);
    assert_non_null(run.here);
    assert_non_null(run.there);
    run.server = hark_spawn(run.there, server);
    run.relay = hark_spawn(run.there, relay);
    run.leaver = hark_spawn(run.there, leaver);
    run.semaphore = hark_semaphore(run.there, &(hark_semaphore_options){.permits = 2});
    run.meeter = hark_spawn(run.here, relay);
    run.doer = hark_spawn(run.here, doer);
    assert_int_equal(hark_register(run.there, "server", run.server), HARK_OK);
    assert_int_equal(hark_listen(run.there, "mem://there", run.endpoint, ENDPOINT),
                     HARK_OK);
    snprintf(run.name, sizeof run.name, "%s/server", run.endpoint);
    if (is_linked) {
        assert_true(hark_ref_equal(hark_lookup(run.here, run.name), run.server));
    }
    hark_detach(run.there);
}

// With memory again there is a link, or will be, and over it all is as before.
static void
check_link(void)
{
    hark_ctx *me = run.here;
    const hark_permits *permits = NULL;
    bool is_free = false;
    int code;

    do {
        (void)end(me, hark_lookup_ask(me, run.name, CLOCK_MS), &hark_found_type);
        code = end(me, ASK(me, run.server, get, .n = 1), &got_type);
    } while (code != 0);
    while (!is_free) {
        hark_future f = ASK(me, run.semaphore, hark_permits_read);

        permits = hark_await(me, f, hark_permits);
        is_free = permits != NULL && permits->held + permits->waiting == 0;
        hark_future_drop(me, f);
    }
    assert_int_equal(end(me, ASK(me, run.relay, get, .n = 1), &got_type), 0);
}

static void
close_run(void)
{
    hark_detach(run.here);
    if (run.there_system != NULL) {
        assert_int_equal(hark_stop(run.there_system, HARK_SECONDS(RUN_S)), HARK_OK);
    }
    assert_int_equal(hark_stop(run.here_system, HARK_SECONDS(RUN_S)), HARK_OK);
    hark_hub_free(run.hub);
}

static int
act_out(const struct scenario *scenario, bool in_actor)
{
    hark_ctx *me = run.here;

    if (!in_actor) {
        return scenario->run(me);
    }
    hark_future f = ASK(me, run.doer, act, .which = (uint32_t)(scenario - scenarios));
    const acted *a = hark_await(me, f, acted);
    int code = a != NULL ? a->code : hark_error_of(me)->code;
    hark_future_drop(me, f);
    return code;
}

// In which the allocation after nth others fails, or all do. False: none was wanted,
// and all went well.
static bool
starve_after(const struct scenario *scenario, bool in_actor, enum scarce how, long nth)
{
    snprintf(now_running, sizeof now_running, "%s, in %s, %s, %ld: it hangs\n",
             scenario->name, in_actor ? "an actor" : "a thread",
             how == SCARCE_LAST ? "all" : "one", nth);
    open_run(!scenario->is_first);
    alarm(RUN_S);
    scarce_begin(nth, how);
    int code = act_out(scenario, in_actor);
    bool has_failed = scarce_end() || run.was_scarce;
    if ((!has_failed && code != 0) || code == HARK_ETIMEOUT || code == HARK_EUSER) {
        fail_msg("%s, %ld: %s", scenario->name, nth, hark_err_name(code));
    }
    if (run.there_system != NULL) {
        check_link();
    }
    close_run();
    alarm(0);
    return has_failed;
}

static void
each_ask_ends_whichever_side_has_no_memory(void **state)
{
    static const enum scarce ways[] = {SCARCE_ONCE, SCARCE_LAST};
    const struct scenario *scenario = *state;

    signal(SIGALRM, tell_hang);
    for (int in_actor = 0; in_actor < (scenario->is_of_thread ? 1 : 2); in_actor++) {
        for (int way = 0; way < 2; way++) {
            long nth = 0;

            while (starve_after(scenario, in_actor, ways[way], nth)) {
                nth++;
            }
            print_message("in %s, %s: %ld runs\n", in_actor ? "an actor" : "a thread",
                          ways[way] == SCARCE_LAST ? "all" : "one", nth + 1);
        }
    }
}

int
main(void)
{
    struct CMUnitTest tests[SCENARIOS];

    for (size_t i = 0; i < SCENARIOS; i++) {
        tests[i] = (struct CMUnitTest){
            .name = scenarios[i].name,
            .test_func = each_ask_ends_whichever_side_has_no_memory,
            .initial_state = (void *)&scenarios[i],
        };
    }
    return cmocka_run_group_tests_name("unit/remote/memory", tests, NULL, NULL);
}
