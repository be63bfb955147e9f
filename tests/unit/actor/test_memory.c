// What waits, streams, locks, traces and cancels do when memory runs out: each allocation on
// the way fails once, on whatever thread, and then all from some one on. Each run ends soon, with an answer or an error;
// nothing is lost, as what is used shows afterwards; and nothing leaks, as sanitizers show.
// Nothing waits for its clock: that takes far longer than a run may.

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
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

// CLOCK_MS: what waits for a clock takes longer than a whole run, RUN_S, may. SHORT_MS: a
// clock that is waited for.
enum { CLOCK_MS = 600 * 1000, RUN_S = 60, SHORT_MS = 3, ITEMS = 20 };

HARK_MESSAGE(get, (i64, n))
HARK_MESSAGE(got, (i64, n))
HARK_MESSAGE(pass_to, (ref, next), (ref, last)) // asks next to ask last
HARK_MESSAGE(refuse)
HARK_MESSAGE(keep)                  // is never answered
HARK_MESSAGE(listing, (i64, items)) // a stream
HARK_MESSAGE(act, (u32, which))
HARK_MESSAGE(acted, (i32, code))

// Whom a run uses; made anew for each.
struct cast {
    hark_ref server, relays[2], doer;
    hark_ref semaphore, mutex, rwlock, limit, breaker, rate, slow, latch, barrier;
    hark_ref flights;
};

static struct cast cast;

static int
error_of(hark_ctx *ctx)
{
    return hark_error_of(ctx)->code;
}

// Waits, and drops the future. 0, or why it failed.
static int
end(hark_ctx *ctx, hark_future future, const hark_type *type)
{
    int code = hark_await_value(ctx, future, type) != NULL ? 0 : error_of(ctx);

    hark_future_drop(ctx, future);
    return code;
}

// The same of one that was made of two; if it could not be, they are still there.
static int
end_of_two(hark_ctx *ctx, hark_future made, const hark_future *members,
           const hark_type *type)
{
    if (made.id == 0) {
        int code = error_of(ctx);

        hark_future_drop(ctx, members[0]);
        hark_future_drop(ctx, members[1]);
        return code;
    }
    return end(ctx, made, type);
}

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
HARK_ON(server, refuse) {
    hark_refuse(ctx, HARK_EUSER, "no, as always");
}
HARK_ON(server, keep) {
    self->kept = hark_defer(ctx);
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
HARK_ACTOR_WITH(server, (interleave), get, refuse, keep, listing)

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
    answer(ctx, end(ctx, hark_ask(ctx, cast.server, get, .n = msg->n), &got_type));
}
HARK_ON(relay, refuse) {
    answer(ctx, end(ctx, hark_ask(ctx, cast.server, refuse), &got_type));
}
HARK_ON(relay, pass_to) {
    answer(ctx,
           end(ctx, hark_ask(ctx, msg->next, pass_to, .next = msg->last), &got_type));
}
HARK_ON(relay, keep) {
    answer(ctx, end(ctx, hark_ask(ctx, cast.server, keep), &got_type));
}
HARK_ACTOR(relay, get, refuse, pass_to, keep)

// ---- what is done, in a thread and in an actor ----

static int
wait_for_answers(hark_ctx *ctx)
{
    int code = end(ctx, hark_ask(ctx, cast.relays[0], get, .n = 1), &got_type);

    return code != 0 ? code
                     : end(ctx, hark_ask(ctx, cast.relays[1], get, .n = 2), &got_type);
}

static int
wait_in_a_circle(hark_ctx *ctx)
{
    hark_ref a = cast.relays[0];
    hark_ref b = cast.relays[1];
    hark_future f =
        hark_ask_within(ctx, HARK_FOREVER, a, pass_to, .next = b, .last = a);
    int code = end(ctx, f, &got_type);

    return code == HARK_EDEADLK ? 0 : code != 0 ? code : HARK_EUSER;
}

static int
tell_traces(hark_ctx *ctx)
{
    char text[2000];
    hark_future kept = hark_ask(ctx, cast.relays[1], keep);
    int code = end(ctx, hark_ask(ctx, cast.relays[0], refuse), &got_type);

    (void)hark_error_print(ctx, hark_error_of(ctx), text, sizeof text);
    (void)hark_backtrace(ctx, text, sizeof text);
    (void)hark_dump(ctx, text, sizeof text);
    hark_future_drop(ctx, kept);
    return code == HARK_EUSER ? 0 : code;
}

static int
take_a_stream(hark_ctx *ctx)
{
    hark_stream in = hark_stream_open_with(ctx, &(hark_stream_options){.window = 4},
                                           cast.server, listing, .items = ITEMS);
    const got *item;
    int64_t next = 0;

    while ((item = hark_stream_await(ctx, in, got)) != NULL) {
        if (item->n != next++) {
            return HARK_EUSER; // one is missing
        }
    }
    int code = error_of(ctx);
    (void)hark_stream_close(ctx, in);
    return code != HARK_EEND ? code : next == ITEMS ? 0 : HARK_EUSER;
}

static int
take_futures_of_a_stream(hark_ctx *ctx)
{
    enum { AHEAD = 20 }; // more than a queue has at first
    hark_stream in =
        hark_stream_open(ctx, cast.server, listing, .items = AHEAD + ITEMS);
    hark_future nexts[AHEAD];
    int code = 0;

    for (int i = 0; i < AHEAD; i++) {
        nexts[i] = hark_stream_next(ctx, in);
    }
    for (int i = 0; i < AHEAD; i++) {
        int one = end(ctx, nexts[i], &got_type);

        code = code != 0 ? code : one;
    }
    (void)hark_stream_close(ctx, in); // with items in it
    return code;
}

static int
use_one_lock(hark_ctx *ctx, hark_future locks)
{
    const hark_permit *had = hark_await(ctx, locks, hark_permit);

    if (had == NULL) {
        int code = error_of(ctx);
        hark_future_drop(ctx, locks);
        return code;
    }
    const hark_permit permit = *had;
    hark_future_drop(ctx, locks);
    return (int)hark_release(ctx, &permit);
}

static int
use_permits(hark_ctx *ctx)
{
    hark_future first = hark_acquire(ctx, cast.semaphore, 2);
    hark_future second = hark_acquire(ctx, cast.semaphore, 2);
    hark_future third = hark_acquire(ctx, cast.semaphore, 1);
    int code = use_one_lock(ctx, first);

    hark_future_drop(ctx, third);
    int later = use_one_lock(ctx, second);
    hark_future_drop(ctx,
                     hark_acquire(ctx, cast.semaphore, 1)); // whatever has become of it
    return code != 0 ? code : later;
}

HARK_JOB(work)
{
    (void)arg;
    hark_result_future(ctx, hark_ask(ctx, cast.server, get, .n = 3));
}

static int
use_locks(hark_ctx *ctx)
{
    int code = use_one_lock(ctx, hark_lock(ctx, cast.mutex));

    code = code != 0 ? code : use_one_lock(ctx, hark_read_lock(ctx, cast.rwlock));
    code = code != 0 ? code : use_one_lock(ctx, hark_write_lock(ctx, cast.rwlock));
    return code != 0
               ? code
               : end(ctx, hark_with_permit(ctx, cast.mutex, 1, work, NULL), &got_type);
}

static int
ask_through_guards(hark_ctx *ctx)
{
    hark_future dropped = hark_ask_through(ctx, cast.limit, keep);
    int code = end(ctx, hark_ask_through(ctx, cast.limit, get, .n = 1), &got_type);

    hark_future_drop(ctx, dropped);
    return code != 0
               ? code
               : end(ctx, hark_ask_through(ctx, cast.breaker, get, .n = 1), &got_type);
}

static int
wait_at_gates(hark_ctx *ctx)
{
    hark_future opens = hark_latch_wait(ctx, cast.latch);
    hark_future both[2] = {hark_barrier_wait(ctx, cast.barrier),
                           hark_barrier_wait(ctx, cast.barrier)};
    int code = end(ctx, hark_rate_wait(ctx, cast.rate, 1), &hark_unit_type);

    code = first_of(
        code, end(ctx, hark_count_down(ctx, cast.latch, 1), &hark_latch_left_type));
    if (code == 0) {
        code = end(ctx, opens, &hark_unit_type);
    } else {
        hark_future_drop(ctx, opens); // it may stay closed
    }
    // If one has failed nobody comes for the other.
    return first_of(code,
                    end_of_two(ctx, hark_all(ctx, both, 2), both, &hark_all_done_type));
}

static int
share_a_flight(hark_ctx *ctx)
{
    hark_future leaves = hark_flight(ctx, cast.flights, HARK_STR("key"));
    hark_future stays = hark_flight(ctx, cast.flights, HARK_STR("key"));

    hark_future_drop(ctx, leaves);
    return end(ctx, stays, &got_type);
}

static int
cancel_asks(hark_ctx *ctx)
{
    hark_future kept = hark_ask_within(ctx, HARK_FOREVER, cast.relays[0], keep);
    hark_future queued = hark_ask(ctx, cast.relays[0], get, .n = 1);
    int code = end(ctx, hark_ask(ctx, cast.server, get, .n = 1), &got_type);

    if (hark_shield(ctx, CLOCK_MS) == HARK_OK) {
        (void)hark_checkpoint(ctx);
        hark_shield_end(ctx);
    }
    (void)hark_cancel(ctx, kept);
    hark_future_drop(ctx, queued);
    hark_future_drop(ctx, kept);
    // It has been let go of, and so has a relay that waits.
    int later = end(ctx, hark_ask(ctx, cast.relays[0], get, .n = 1), &got_type);
    return code != 0 ? code : later;
}

// The second waits for a timer of the rate.
static int
wait_for_a_rate(hark_ctx *ctx)
{
    hark_future now = hark_rate_wait(ctx, cast.slow, 1);
    hark_future later = hark_rate_wait(ctx, cast.slow, 1);
    int code = end(ctx, now, &hark_unit_type);

    return first_of(code, end(ctx, later, &hark_unit_type));
}

// Clocks that are to end what nobody answers.
static int
run_out_of_time(hark_ctx *ctx)
{
    hark_future delay = hark_delay(ctx, SHORT_MS);
    hark_future kept = hark_ask_within(ctx, SHORT_MS, cast.server, keep);
    hark_future dropped =
        hark_timeout(ctx, hark_ask(ctx, cast.server, keep), 2 * SHORT_MS);
    int code = end(ctx, kept, &got_type);
    int other = end(ctx, dropped, &got_type);

    code = code == HARK_ETIMEOUT ? 0 : first_of(code, HARK_EUSER);
    code = first_of(code, other == HARK_ETIMEOUT ? 0 : first_of(other, HARK_EUSER));
    return first_of(code, end(ctx, delay, &hark_unit_type));
}

HARK_BLOCKING(echo, int64_t) {
    hark_reply(ctx, got, .n = *arg);
}

HARK_BLOCKING(deny, int64_t) {
    hark_refuse(ctx, HARK_EUSER, "no, as always");
}

HARK_BLOCKING(pass_by, int64_t) {
    int code = end(ctx, hark_ask(ctx, cast.server, get, .n = *arg), &got_type);

    if (code == 0) {
        hark_reply(ctx, got, .n = *arg);
    } else {
        hark_refuse(ctx, code, "%s", hark_error_of(ctx)->text);
    }
}

static int
block(hark_ctx *ctx)
{
    static int64_t n = 5;
    hark_future echoed = hark_blocking(ctx, echo, &n);
    hark_future denied = hark_blocking(ctx, deny, &n);
    hark_future passed = hark_blocking(ctx, pass_by, &n);
    hark_future dropped = hark_blocking(ctx, echo, &n);
    int code = end(ctx, echoed, &got_type);
    int other = end(ctx, denied, &got_type);

    hark_future_drop(ctx, dropped);
    code = first_of(code, other == HARK_EUSER ? 0 : first_of(other, HARK_ESTALE));
    return first_of(code, end(ctx, passed, &got_type));
}

HARK_MAP(add_one, got)
{
    hark_result(ctx, got, .n = msg->n + 1);
}

HARK_RECOVER(forgive)
{
    hark_result(ctx, got, .n = -1);
}

static hark_future
ask_server(hark_ctx *ctx)
{
    return hark_ask(ctx, cast.server, get, .n = 1);
}

static int
combine(hark_ctx *ctx)
{
    hark_future a[2] = {ask_server(ctx), hark_ask(ctx, cast.server, refuse)};
    int any = end_of_two(ctx, hark_any(ctx, a, 2), a, &got_type);
    int code = any == HARK_EUSER ? HARK_ENOMEM : any; // the other has failed before
    hark_future b[2] = {ask_server(ctx), hark_ask(ctx, cast.server, keep)};
    code = first_of(code, end_of_two(ctx, hark_race(ctx, b, 2), b, &got_type));
    hark_future c[2] = {ask_server(ctx), hark_ask(ctx, cast.server, refuse)};
    code = first_of(
        code, end_of_two(ctx, hark_all_settled(ctx, c, 2), c, &hark_all_done_type));
    hark_future mapped = hark_map(ctx, ask_server(ctx), add_one, NULL);
    code = first_of(code, end(ctx, mapped, &got_type));
    hark_future forgiven =
        hark_recover(ctx, hark_ask(ctx, cast.server, refuse), forgive, NULL);
    return first_of(code, end(ctx, forgiven, &got_type));
}

HARK_JOB(try_twice)
{
    int *tries = arg;

    if ((*tries)++ == 0) {
        hark_fail_with(ctx, HARK_ENONODE, "not yet");
    } else {
        hark_result_future(ctx, hark_ask(ctx, cast.server, get, .n = 3));
    }
}

static int
try_again(hark_ctx *ctx)
{
    int tries[2] = {0, 0};
    hark_retry_options again = {.delay_ms = 1};
    hark_hedge_options soon = {.delay_ms = 1};
    hark_each_options few = {.at_most = 2};
    int code = end(ctx, hark_retry(ctx, try_twice, &tries[0], &again), &got_type);

    code = first_of(code,
                    end(ctx, hark_hedge(ctx, try_twice, &tries[1], &soon), &got_type));
    code = first_of(
        code, end(ctx, hark_for_each(ctx, 5, work, NULL, &few), &hark_each_done_type));
    return first_of(
        code, end(ctx, hark_map_each(ctx, 5, work, NULL, &few), &hark_each_done_type));
}

static void
clean_up(hark_ctx *ctx, void *arg)
{
    (void)ctx;
    ++*(int *)arg;
}

static int
use_a_scope(hark_ctx *ctx)
{
    static int cleaned; // it may be used when this has returned
    hark_scope scope = hark_scope_open(ctx, NULL);
    int wanted = 0;

    cleaned = 0;
    (void)hark_scope_ask(ctx, scope, cast.server, get, .n = 1);
    (void)hark_scope_ask(ctx, scope, cast.relays[0], get, .n = 2);
    (void)hark_scope_spawn(ctx, scope, server);
    (void)hark_scope_timer(ctx, scope, CLOCK_MS, cast.server, refuse);
    wanted += hark_scope_defer(ctx, scope, clean_up, &cleaned) == HARK_OK;
    (void)!hark_defer_cleanup(ctx, clean_up, &cleaned);
    int code = (int)hark_scope_join(ctx, scope);
    (void)hark_scope_close(ctx, scope);
    return cleaned != wanted ? HARK_EUSER : code;
}

static int
use_names(hark_ctx *ctx)
{
    hark_ref named = hark_spawn(ctx, server);

    if (hark_ref_is_null(named)) {
        return error_of(ctx);
    }
    int code = (int)hark_register(ctx, "one", named);
    if (code == 0) {
        code = end(ctx, hark_lookup_ask(ctx, "one", 0), &hark_found_type);
    }
    int other = end(ctx, hark_ask(ctx, named, get, .n = 1), &got_type);
    return first_of(first_of(code, other), (int)hark_actor_stop(ctx, named));
}

static const struct scenario {
    const char *name;
    int (*run)(hark_ctx *ctx);
} scenarios[] = {
    {"waits", wait_for_answers},
    {"a circle", wait_in_a_circle},
    {"traces", tell_traces},
    {"a stream", take_a_stream},
    {"futures of a stream", take_futures_of_a_stream},
    {"permits", use_permits},
    {"locks", use_locks},
    {"guards", ask_through_guards},
    {"gates", wait_at_gates},
    {"a flight", share_a_flight},
    {"cancels", cancel_asks},
    {"a rate", wait_for_a_rate},
    {"clocks", run_out_of_time},
    {"blocking work", block},
    {"combinators", combine},
    {"retries", try_again},
    {"a scope", use_a_scope},
    {"names", use_names},
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

static hark_future
start_flight(hark_ctx *ctx, hark_str key, void *arg)
{
    (void)key;
    (void)arg;
    return hark_ask(ctx, cast.server, get, .n = 4);
}

static void
spawn_cast(hark_ctx *me)
{
    cast.server = hark_spawn(me, server);
    cast.relays[0] = hark_spawn(me, relay);
    cast.relays[1] = hark_spawn(me, relay);
    cast.doer = hark_spawn(me, doer);
    cast.semaphore = hark_semaphore(me, &(hark_semaphore_options){.permits = 2});
    cast.mutex = hark_mutex(me, NULL);
    cast.rwlock = hark_rwlock(me, NULL);
    cast.limit =
        hark_limit(me, &(hark_limit_options){.target = cast.server, .at_most = 2});
    cast.breaker = hark_breaker(me, &(hark_breaker_options){.target = cast.server});
    cast.rate = hark_rate(me, &(hark_rate_options){.per_second = 1e6, .burst = 1});
    cast.slow = hark_rate(me, &(hark_rate_options){.per_second = 1e3, .burst = 1});
    cast.latch = hark_latch(me, &(hark_latch_options){.count = 1});
    cast.barrier = hark_barrier(me, &(hark_barrier_options){.parties = 2});
    cast.flights = hark_flights(
        me, &(hark_flights_options){.start = start_flight, .reply = &got_type});
}

// With memory again, nothing is held that nobody holds.
static void
check_stand(hark_ctx *me, hark_ref object)
{
    hark_permits stand;

    do {
        hark_future f = hark_ask_within(me, HARK_FOREVER, object, hark_permits_read);
        const hark_permits *permits = hark_await(me, f, hark_permits);

        assert_non_null(permits);
        stand = *permits;
        hark_future_drop(me, f);
    } while (stand.held + stand.waiting > 0);
}

static char now_running[128];

static void
tell_hang(int signal)
{
    (void)signal;
    (void)!write(STDERR_FILENO, now_running, strlen(now_running));
    _exit(1);
}

struct tally {
    int runs, fine;
};

// In which the allocation after nth others fails, or all do. False: none did, and all
// went well.
static bool
fail_after(const struct scenario *scenario, bool in_actor, enum scarce how, long nth,
           struct tally *tally)
{
    hark_system *system =
        hark_start(&(hark_options){.workers = 1, .ask_timeout_ms = CLOCK_MS});
    hark_ctx *me = hark_attach(system);
    int code;

    snprintf(now_running, sizeof now_running, "%s, in %s, %s, %ld: it hangs\n",
             scenario->name, in_actor ? "an actor" : "a thread",
             how == SCARCE_LAST ? "all" : "one", nth);
    assert_non_null(me);
    spawn_cast(me);
    alarm(RUN_S);
    scarce_begin(nth, how);
    if (in_actor) {
        hark_future f = hark_ask_within(me, HARK_FOREVER, cast.doer, act,
                                        .which = (uint32_t)(scenario - scenarios));
        const acted *a = hark_await(me, f, acted);

        code = a != NULL ? a->code : error_of(me);
        hark_future_drop(me, f);
    } else {
        code = scenario->run(me);
    }
    bool has_failed = scarce_end();
    if (code == HARK_EUSER || code == HARK_ETIMEOUT || (code != 0 && !has_failed)) {
        fail_msg("%s, %ld: %s", scenario->name, nth, hark_err_name(code));
    }
    tally->runs++;
    tally->fine += code == 0;
    const hark_ref objects[] = {cast.semaphore, cast.mutex, cast.rwlock, cast.limit};
    for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++) {
        check_stand(me, objects[i]);
    }
    hark_detach(me);
    assert_int_equal(hark_stop(system, HARK_SECONDS(RUN_S)), HARK_OK);
    alarm(0);
    return has_failed;
}

static void
each_allocation_may_fail_and_nothing_is_lost(void **state)
{
    const struct scenario *scenario = *state;

    signal(SIGALRM, tell_hang);
    for (int kind = 0; kind < 4; kind++) {
        enum scarce how = kind % 2 == 0 ? SCARCE_ONCE : SCARCE_LAST;
        bool in_actor = kind / 2 == 1;
        struct tally tally = {0};
        long nth = 0;

        while (fail_after(scenario, in_actor, how, nth, &tally)) {
            nth++;
        }
        print_message("in %s, %s: %d runs, %d went well\n",
                      in_actor ? "an actor" : "a thread",
                      how == SCARCE_LAST ? "all" : "one", tally.runs, tally.fine);
    }
}

int
main(void)
{
    struct CMUnitTest tests[SCENARIOS];

    for (size_t i = 0; i < SCENARIOS; i++) {
        tests[i] = (struct CMUnitTest){
            .name = scenarios[i].name,
            .test_func = each_allocation_may_fail_and_nothing_is_lost,
            .initial_state = (void *)&scenarios[i],
        };
    }
    return cmocka_run_group_tests_name("unit/actor/memory", tests, NULL, NULL);
}
