// An ask without a limit ends even when there is no memory left to say how: from some
// allocation on each one fails, on whatever thread, until all asks have ended.

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include <hark/hark.h>

#include "unit/scarce.h"

// RUN_S: a run that takes longer hangs.
enum { RUN_S = 60 };

HARK_MESSAGE(get, (i64, n))
HARK_MESSAGE(got, (i64, n))
HARK_MESSAGE(again)  // is answered twice, if once is not enough
HARK_MESSAGE(refuse) // says no
HARK_MESSAGE(forget) // says nothing
HARK_MESSAGE(stray)  // is not handled
HARK_MESSAGE(later)  // is answered by the next one
HARK_MESSAGE(fulfil)
HARK_MESSAGE(retract)
HARK_MESSAGE(leave) // is not answered by an actor that ends
HARK_MESSAGE(pass)  // asks the server for the asker's sake
HARK_MESSAGE(act, (u32, which))
HARK_MESSAGE(acted, (i32, code))

struct cast {
    hark_ref server, leaver, relay, gone, doer;
};

static struct cast cast;
static _Atomic(int) code_of_reply; // what hark_reply has said last
static _Atomic(int) redeemed;

// ---- the cast ----

typedef struct {
    hark_promise kept;
} server;

HARK_ON(server, get) {
    atomic_store(&code_of_reply, (int)hark_reply(ctx, got, .n = msg->n));
}
HARK_ON(server, again) {
    if (hark_reply(ctx, got, .n = 1) == HARK_ENOMEM) {
        atomic_store(&code_of_reply, (int)hark_reply(ctx, got, .n = 2));
    }
}
HARK_ON(server, refuse) {
    hark_refuse(ctx, HARK_EUSER, "no, as always");
}
HARK_ON(server, forget) {
}
HARK_ON(server, later) {
    self->kept = hark_defer(ctx);
}
HARK_ON(server, fulfil) {
    (void)hark_fulfil(ctx, self->kept, got, .n = 1);
    atomic_fetch_add(&redeemed, 1);
    hark_reply(ctx, got, .n = 1);
}
HARK_ON(server, retract) {
    (void)hark_break(ctx, self->kept, HARK_EUSER, "not after all");
    atomic_fetch_add(&redeemed, 1);
    hark_reply(ctx, got, .n = 1);
}
HARK_ACTOR(server, get, again, refuse, forget, later, fulfil, retract)

typedef struct {
    hark_promise kept;
} leaver;

HARK_ON(leaver, leave) {
    self->kept = hark_defer(ctx);
    hark_exit(ctx);
}
HARK_ACTOR(leaver, leave)

// ---- what is asked ----

// Waits, and drops the future. 0, or why it failed.
static int
end(hark_ctx *ctx, hark_future future)
{
    int code = hark_await(ctx, future, got) != NULL ? 0 : hark_error_of(ctx)->code;

    hark_future_drop(ctx, future);
    return code;
}

#define ASK(ctx, to, ...) hark_ask_within(ctx, HARK_FOREVER, to, __VA_ARGS__)

static int
ask_for_answers(hark_ctx *ctx)
{
    hark_future first = ASK(ctx, cast.server, get, .n = 1);
    hark_future second = ASK(ctx, cast.server, get, .n = 2);
    hark_future third = ASK(ctx, cast.server, again);
    int code = end(ctx, first);
    int other = end(ctx, second);

    (void)end(ctx, third);
    return code != 0 ? code : other;
}

static int
ask_in_vain(hark_ctx *ctx)
{
    hark_future refused = ASK(ctx, cast.server, refuse);
    hark_future forgotten = ASK(ctx, cast.server, forget);
    hark_future strayed = ASK(ctx, cast.server, stray);
    hark_future missed = ASK(ctx, cast.gone, get, .n = 1);
    int code = end(ctx, refused);

    (void)end(ctx, forgotten);
    (void)end(ctx, strayed);
    (void)end(ctx, missed);
    return code;
}

static int
ask_who_ends(hark_ctx *ctx)
{
    hark_future left = ASK(ctx, cast.leaver, leave);
    hark_future queued = ASK(ctx, cast.leaver, leave);

    int code = end(ctx, left);

    (void)end(ctx, queued); // HARK_ESTOPPED or HARK_ENOACTOR: it may have ended before
    return code;
}

// The promise is redeemed by what may not get there; then its future is dropped.
static int
ask_who_defers(hark_ctx *ctx)
{
    int before = atomic_load(&redeemed);
    hark_future deferred = ASK(ctx, cast.server, later);
    int code = end(ctx, ASK(ctx, cast.server, fulfil));

    if (atomic_load(&redeemed) == before) {
        hark_future_drop(ctx, deferred);
        return code;
    }
    code = end(ctx, deferred);
    before = atomic_load(&redeemed);
    deferred = ASK(ctx, cast.server, later);
    (void)end(ctx, ASK(ctx, cast.server, retract));
    if (atomic_load(&redeemed) == before) {
        hark_future_drop(ctx, deferred);
        return code;
    }
    (void)end(ctx, deferred);
    return code;
}

typedef struct {
    int unused;
} relay;

HARK_ON(relay, pass) {
    int code = end(ctx, ASK(ctx, cast.server, get, .n = 1));

    if (code == 0) {
        hark_reply(ctx, got, .n = 1);
    } else {
        hark_refuse(ctx, code, "%s", hark_error_of(ctx)->text);
    }
}
HARK_ACTOR(relay, pass)

static int
ask_who_waits(hark_ctx *ctx)
{
    hark_future first = ASK(ctx, cast.relay, pass);
    hark_future second = ASK(ctx, cast.relay, pass);
    int code = end(ctx, first);

    (void)end(ctx, second);
    return code;
}

static const struct scenario {
    const char *name;
    int (*run)(hark_ctx *ctx);
    int best; // code, when nothing is scarce
} scenarios[] = {
    {"answers", ask_for_answers, 0},
    {"refusals and bounces", ask_in_vain, HARK_EUSER},
    {"an end", ask_who_ends, HARK_ESTOPPED},
    {"promises", ask_who_defers, 0},
    {"a handler that waits", ask_who_waits, 0},
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

static void
spawn_cast(hark_ctx *me)
{
    cast.server = hark_spawn(me, server);
    cast.leaver = hark_spawn(me, leaver);
    cast.relay = hark_spawn(me, relay);
    cast.doer = hark_spawn(me, doer);
    cast.gone = hark_spawn(me, leaver);
    assert_int_equal(end(me, ASK(me, cast.gone, leave)), HARK_ESTOPPED);
}

// In which all allocations after nth others fail. False: none was wanted, and all went
// well.
static bool
starve_after(const struct scenario *scenario, bool in_actor, long nth)
{
    hark_system *system = hark_start(&(hark_options){.workers = 1});
    hark_ctx *me = hark_attach(system);
    int code;

    assert_non_null(me);
    spawn_cast(me);
    alarm(RUN_S);
    scarce_begin(nth, SCARCE_LAST);
    if (in_actor) {
        hark_future f =
            ASK(me, cast.doer, act, .which = (uint32_t)(scenario - scenarios));
        const acted *a = hark_await(me, f, acted);

        code = a != NULL ? a->code : hark_error_of(me)->code;
        hark_future_drop(me, f);
    } else {
        code = scenario->run(me);
    }
    bool has_failed = scarce_end();
    if (!has_failed && code != scenario->best) {
        fail_msg("%s, %ld: %s", scenario->name, nth, hark_err_name(code));
    }
    // With memory again all is as before.
    assert_int_equal(end(me, ASK(me, cast.server, get, .n = 1)), 0);
    hark_detach(me);
    assert_int_equal(hark_stop(system, HARK_SECONDS(RUN_S)), HARK_OK);
    alarm(0);
    return has_failed;
}

static void
each_ask_ends_however_soon_memory_does(void **state)
{
    for (int in_actor = 0; in_actor < 2; in_actor++) {
        long nth = 0;

        while (starve_after(*state, in_actor, nth)) {
            nth++;
        }
        print_message("in %s: %ld runs\n", in_actor ? "an actor" : "a thread", nth + 1);
    }
}

// Whoever could not reply knows it, and may try again; else its asker hears HARK_ENOMEM.
static void
reply_without_memory_fails_its_ask_with_enomem(void **state)
{
    hark_system *system = hark_start(&(hark_options){.workers = 1});
    hark_ctx *me = hark_attach(system);
    int seen = 0;

    (void)state;
    assert_non_null(me);
    spawn_cast(me);
    alarm(RUN_S);
    for (long nth = 0; nth < 20 && seen != HARK_ENOMEM; nth++) {
        atomic_store(&code_of_reply, 0);
        scarce_begin(nth, SCARCE_LAST);
        int code = end(me, ASK(me, cast.server, get, .n = 1));
        (void)scarce_end();
        seen = atomic_load(&code_of_reply);
        if (seen == HARK_ENOMEM) {
            assert_int_equal(code, HARK_ENOMEM);
        }
    }
    alarm(0);
    hark_detach(me);
    assert_int_equal(hark_stop(system, HARK_SECONDS(RUN_S)), HARK_OK);
}

int
main(void)
{
    struct CMUnitTest tests[SCENARIOS + 1];

    for (size_t i = 0; i < SCENARIOS; i++) {
        tests[i] = (struct CMUnitTest){
            .name = scenarios[i].name,
            .test_func = each_ask_ends_however_soon_memory_does,
            .initial_state = (void *)&scenarios[i],
        };
    }
    tests[SCENARIOS] = (struct CMUnitTest)cmocka_unit_test(
        reply_without_memory_fails_its_ask_with_enomem);
    return cmocka_run_group_tests_name("unit/actor/starved", tests, NULL, NULL);
}
