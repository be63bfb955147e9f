// Deadlines and cancellation: whoever is asked hears that nobody waits any more, wherever
// the ask is by then and however many nodes are in between.

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "api/world.h"

HARK_MESSAGE(block)
HARK_MESSAGE(count)
HARK_MESSAGE(counted, (i64, n))
HARK_MESSAGE(spin)
HARK_MESSAGE(spun)
HARK_MESSAGE(later)
HARK_MESSAGE(fulfil_it)
HARK_MESSAGE(was, (i32, cancelled), (i32, code))
HARK_MESSAGE(left)
HARK_MESSAGE(ms_left, (u32, ms))
HARK_MESSAGE(check)
HARK_MESSAGE(bell)

// Shared by all systems of this process.
static _Atomic(bool) gate;          // `block` waits for it
static _Atomic(int) begun;          // handlers that wait for something
static _Atomic(int) run_count;      // `count` has run
static _Atomic(int) seen;           // `spin` saw that it is cancelled
static _Atomic(int) last_code;      // of the reply of `spin`, or of `check`
static _Atomic(int) relays_failed;  // relays that saw HARK_ECANCELLED
static _Atomic(int) relays_refused; // and whose own answer was not wanted
static _Atomic(int) tidied;         // cleanup that was done
static _Atomic(int) rung;           // enum rung
static _Atomic(uint32_t) had_left;  // ms that the handler of `bell` had

enum rung { NO_BELL, BELL_CAME_FIRST, BELL_CAME_LATER }; // than the cancel

typedef struct {
    hark_promise promise;
} server;

HARK_ON(server, block) {
    atomic_fetch_add(&begun, 1);
    while (!atomic_load(&gate)) {
        sched_yield();
    }
}
HARK_ON(server, count) {
    hark_reply(ctx, counted, .n = atomic_fetch_add(&run_count, 1) + 1);
}
HARK_ON(server, spin) {
    atomic_fetch_add(&begun, 1);
    while (!hark_cancelled(ctx)) {
        sched_yield();
    }
    atomic_store(&last_code, hark_reply(ctx, spun));
    atomic_fetch_add(&seen, 1);
}
HARK_ON(server, check) {
    hark_err err;

    atomic_fetch_add(&begun, 1);
    while ((err = hark_checkpoint(ctx)) == HARK_OK) {
        sched_yield();
    }
    atomic_store(&last_code, err);
    atomic_fetch_add(&seen, 1);
}
HARK_ON(server, later) {
    self->promise = hark_defer(ctx);
    atomic_fetch_add(&begun, 1);
}
HARK_ON(server, fulfil_it) {
    bool cancelled = hark_promise_cancelled(ctx, self->promise);

    hark_reply(ctx, was, .cancelled = cancelled,
               .code = hark_fulfil(ctx, self->promise, counted));
}
HARK_ON(server, left) {
    hark_reply(ctx, ms_left, .ms = hark_remaining_ms(ctx));
}
HARK_ACTOR(server, block, count, spin, check, later, fulfil_it, left)

// Passes a request on, and the answer back.
typedef struct {
    hark_ref next;
    hark_promise promise;
} relay;

HARK_THEN(relay, passed, spun) {
    hark_fulfil(ctx, self->promise, spun);
}
HARK_ELSE(relay, passed) {
    atomic_fetch_add(&relays_failed, error->code == HARK_ECANCELLED);
    if (hark_fulfil(ctx, self->promise, spun) == HARK_ECANCELLED) {
        atomic_fetch_add(&relays_refused, 1);
    }
}
HARK_CONTINUATION(relay, passed, spun)

HARK_ON(relay, spin) {
    hark_future f = hark_ask_within(ctx, HARK_FOREVER, self->next, spin);

    assert_int_equal(hark_then(ctx, f, relay, passed, NULL), HARK_OK);
    self->promise = hark_defer(ctx);
}

HARK_THEN(relay, told_left, ms_left) {
    hark_fulfil(ctx, self->promise, ms_left, .ms = msg->ms);
}
HARK_ELSE(relay, told_left) {
    hark_break(ctx, self->promise, error->code, "%s", error->text);
}
HARK_CONTINUATION(relay, told_left, ms_left)

HARK_ON(relay, left) {
    hark_future f = hark_ask_within(ctx, HARK_SECONDS(600), self->next, left);

    self->promise = hark_defer(ctx);
    assert_int_equal(hark_then(ctx, f, relay, told_left, NULL), HARK_OK);
}
HARK_ACTOR(relay, spin, left)

// Asks for a handler's sake, and waits in the handler.
typedef struct {
    hark_ref next;
} parent;

HARK_THEN(parent, child, spun) {
}
HARK_ELSE(parent, child) {
    atomic_fetch_add(&relays_failed, error->code == HARK_ECANCELLED);
}
HARK_CONTINUATION(parent, child, spun)

HARK_ON(parent, spin) {
    hark_future f = hark_ask_within(ctx, HARK_FOREVER, self->next, spin);

    assert_int_equal(hark_then(ctx, f, parent, child, NULL), HARK_OK);
    while (!hark_cancelled(ctx)) {
        sched_yield();
    }
    assert_true(hark_future_done(ctx, f));
    // What comes after it is not even sent.
    f = hark_ask(ctx, self->next, count);
    assert_true(hark_future_done(ctx, f));
    assert_null(hark_future_get(ctx, f, counted));
    assert_int_equal(hark_error_of(ctx)->code, HARK_ECANCELLED);
    assert_int_equal(hark_error_of(ctx)->stage, HARK_STAGE_NOT_SENT);
}

HARK_THEN(parent, cleanup, counted) {
    assert_int_equal(arg == NULL, true);
    assert_false(hark_cancelled(ctx)); // still in the shield
    assert_true(hark_remaining_ms(ctx) <= HARK_SECONDS(60));
    hark_shield_end(ctx); // not its own: nothing happens
    assert_false(hark_cancelled(ctx));
    atomic_fetch_add(&tidied, 1);
}
HARK_ELSE(parent, cleanup) {
}
HARK_CONTINUATION(parent, cleanup, counted)

HARK_ON(parent, check) {
    atomic_fetch_add(&begun, 1);
    while (!hark_cancelled(ctx)) {
        sched_yield();
    }
    assert_int_equal(hark_shield(ctx, HARK_SECONDS(60)), HARK_OK);
    assert_false(hark_cancelled(ctx));
    assert_int_equal(hark_checkpoint(ctx), HARK_OK);
    assert_true(hark_remaining_ms(ctx) > HARK_SECONDS(30));
    assert_true(hark_remaining_ms(ctx) <= HARK_SECONDS(60));
    hark_future f = hark_ask_within(ctx, HARK_FOREVER, self->next, count);
    assert_int_equal(hark_then(ctx, f, parent, cleanup, NULL), HARK_OK);
    assert_int_equal(hark_shield(ctx, 0), HARK_OK); // of no time at all
    assert_true(hark_cancelled(ctx));
    hark_shield_end(ctx);
    assert_false(hark_cancelled(ctx));
    hark_shield_end(ctx);
    hark_shield_end(ctx); // one too many
    assert_true(hark_cancelled(ctx));
    assert_int_equal(hark_checkpoint(ctx), HARK_ECANCELLED);
    assert_int_equal(hark_reply(ctx, spun), HARK_ECANCELLED);
    assert_int_equal(hark_reply(ctx, spun), HARK_ENOASK);
    assert_false(hark_cancelled(ctx)); // nothing is in hand
    assert_int_equal(hark_remaining_ms(ctx), HARK_FOREVER);
}
HARK_ACTOR(parent, spin, check)

// Waits for a time that is longer than any request's, in a continuation and in a handler,
// and has itself told after a short one.
typedef struct {
    hark_promise promise;
    uint32_t bell_ms;
} sleeper;

HARK_THEN(sleeper, slept, hark_unit) {
    fail_msg("it has slept for ten minutes");
}
HARK_ELSE(sleeper, slept) {
    atomic_store(&last_code, error->code);
    atomic_fetch_add(&seen, 1);
}
HARK_CONTINUATION(sleeper, slept, hark_unit)

HARK_ON(sleeper, later) {
    self->promise = hark_defer(ctx);
    hark_send_after(ctx, self->bell_ms, hark_self(ctx), bell);
    hark_future f = hark_delay(ctx, HARK_SECONDS(600));
    assert_int_equal(hark_then(ctx, f, sleeper, slept, NULL), HARK_OK);
    atomic_fetch_add(&begun, 1);
}
HARK_ON(sleeper, bell) {
    atomic_store(&had_left, hark_remaining_ms(ctx));
    assert_false(hark_cancelled(ctx)); // it is no request's
    bool cancelled = hark_promise_cancelled(ctx, self->promise);
    atomic_store(&rung, cancelled ? BELL_CAME_LATER : BELL_CAME_FIRST);
}
HARK_ON(sleeper, spin) {
    hark_future f = hark_delay(ctx, HARK_SECONDS(600));
    atomic_fetch_add(&begun, 1);
    assert_null(hark_await(ctx, f, hark_unit));
    if (hark_error_of(ctx)->code == HARK_ESTOPPED) {
        return; // one that began late, as the test was over
    }
    atomic_store(&last_code, hark_error_of(ctx)->code);
    if (hark_error_of(ctx)->code == HARK_ECANCELLED) {
        f = hark_delay(ctx, 1); // for nobody's sake any more
        assert_true(hark_future_done(ctx, f));
        assert_null(hark_future_get(ctx, f, hark_unit));
        assert_int_equal(hark_error_of(ctx)->code, HARK_ECANCELLED);
    }
    assert_int_equal(hark_shield(ctx, HARK_SECONDS(60)), HARK_OK);
    assert_non_null(hark_await(ctx, hark_delay(ctx, 1), hark_unit)); // but for its own
    hark_shield_end(ctx);
    atomic_fetch_add(&seen, 1);
}
HARK_ACTOR(sleeper, later, bell, spin)

// Asks a lot, and ends.
typedef struct {
    hark_ref whom;
} leaver;

enum { LEAVER_ASKS = 1000, SLACK_MS = 100 }; // clocks may be coarse

HARK_ON(leaver, count) {
    for (int i = 0; i < LEAVER_ASKS; i++) {
        hark_future f = hark_ask(ctx, self->whom, count);
        assert_int_equal(hark_future_keep(ctx, f), HARK_OK);
    }
}
HARK_ON(leaver, block) {
    hark_exit(ctx);
}
HARK_ACTOR(leaver, count, block)

// ---- fixture ----

static enum reach reach;

struct fixture {
    struct world *w;
    hark_ref server, other; // there, as here sees them
};

static void
reset(void)
{
    atomic_store(&gate, false);
    atomic_store(&begun, 0);
    atomic_store(&run_count, 0);
    atomic_store(&seen, 0);
    atomic_store(&last_code, 0);
    atomic_store(&relays_failed, 0);
    atomic_store(&relays_refused, 0);
    atomic_store(&tidied, 0);
    atomic_store(&rung, NO_BELL);
}

static int
setup(void **state)
{
    static struct fixture fixture;

    reset();
    fixture.w = world_open(reach, &(hark_options){.workers = 6});
    fixture.server =
        world_reach(fixture.w, "server", hark_spawn(fixture.w->there, server));
    fixture.other =
        world_reach(fixture.w, "other", hark_spawn(fixture.w->there, server));
    *state = &fixture;
    return 0;
}

static int
teardown(void **state)
{
    world_close(((struct fixture *)*state)->w);
    return 0;
}

// What here has sent there before has arrived.
static void
let_arrive(struct fixture *f)
{
    hark_future future = hark_ask(f->w->here, f->other, left);

    if (hark_await(f->w->here, future, ms_left) == NULL) {
        fail_msg("%s", world_error(f->w));
    }
}

// The server stays in a handler until the gate opens.
static void
occupy(struct fixture *f)
{
    assert_int_equal(hark_tell(f->w->here, f->server, block), HARK_OK);
    world_until(&begun, 1);
}

static int64_t
count_on(struct fixture *f)
{
    hark_future future = hark_ask(f->w->here, f->server, count);
    const counted *reply = hark_await(f->w->here, future, counted);

    if (reply == NULL) {
        fail_msg("%s", world_error(f->w));
    }
    return reply->n;
}

// ---- tests ----

static void
queued_ask_whose_future_is_dropped_is_not_run(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;

    occupy(f);
    hark_future dropped = hark_ask(me, f->server, count);
    hark_future kept = hark_ask(me, f->server, count);
    hark_future_drop(me, dropped);
    let_arrive(f);
    atomic_store(&gate, true);
    const counted *reply = hark_await(me, kept, counted);
    assert_non_null(reply);
    assert_int_equal(reply->n, 1);
    assert_int_equal(world_stats(f->w->there_system).cancelled, 1);
    world_assert_no_dead_letters(f->w);
}

static void
queued_ask_that_is_cancelled_fails_and_is_not_run(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;

    occupy(f);
    hark_future asked = hark_ask(me, f->server, count);
    assert_int_equal(hark_cancel(me, asked), HARK_OK);
    assert_int_equal(hark_cancel(me, asked), HARK_ESTALE);
    assert_null(hark_await(me, asked, counted));
    world_assert_error(f->w, HARK_ECANCELLED, "cancelled");
    assert_int_equal(hark_error_of(me)->stage,
                     reach == REACH_LOCAL ? HARK_STAGE_QUEUED : HARK_STAGE_SENT);
    let_arrive(f);
    atomic_store(&gate, true);
    assert_int_equal(count_on(f), 1);
    assert_int_equal(world_stats(f->w->there_system).cancelled, 1);
    world_assert_no_dead_letters(f->w);
}

static void
every_second_of_many_queued_asks_is_cancelled_and_the_others_run(void **state)
{
    enum { ASKS = 2000 };
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    static hark_future asks[ASKS];

    occupy(f);
    for (int i = 0; i < ASKS; i++) {
        asks[i] = hark_ask_within(me, HARK_FOREVER, f->server, count);
    }
    for (int i = 0; i < ASKS; i += 2) {
        assert_int_equal(hark_cancel(me, asks[i]), HARK_OK);
    }
    let_arrive(f);
    atomic_store(&gate, true);
    for (int i = 1; i < ASKS; i += 2) {
        const counted *reply = hark_await(me, asks[i], counted);
        assert_non_null(reply);
        assert_int_equal(reply->n, i / 2 + 1);
    }
    assert_int_equal(world_stats(f->w->there_system).cancelled, ASKS / 2);
    world_assert_no_dead_letters(f->w);
}

static void
running_handler_sees_the_cancel_and_its_reply_is_not_sent(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_future asked = hark_ask_within(me, HARK_FOREVER, f->server, spin);

    world_until(&begun, 1);
    assert_int_equal(hark_cancel(me, asked), HARK_OK);
    world_until(&seen, 1);
    assert_int_equal(atomic_load(&last_code), HARK_ECANCELLED);
    assert_int_equal(count_on(f), 1);
    assert_int_equal(world_stats(f->w->there_system).cancelled, 0); // it did run
    world_assert_no_dead_letters(f->w);
}

static void
running_handler_sees_that_its_time_is_over(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_stats stats;
    uint64_t expired = 0;
    uint32_t ms = 20;

    // On a busy machine its time may run out before it begins.
    do {
        assert_null(hark_await(me, hark_ask_within(me, ms, f->server, check), spun));
        world_assert_error(f->w, HARK_ETIMEOUT, "");
        uint64_t before = expired;
        do {
            hark_stats_read(f->w->there_system, &stats);
            expired = stats.expired;
            sched_yield();
        } while (atomic_load(&seen) == 0 && expired == before);
        ms *= 2;
    } while (atomic_load(&seen) == 0);
    assert_int_equal(atomic_load(&last_code), HARK_ETIMEOUT);
}

static void
handler_of_an_actor_that_is_stopped_sees_it(void **state)
{
    struct fixture *f = *state;
    hark_ref mine = hark_spawn(f->w->here, server);
    hark_future asked = hark_ask_within(f->w->here, HARK_FOREVER, mine, check);

    world_until(&begun, 1);
    assert_int_equal(hark_actor_stop(f->w->here, mine), HARK_OK);
    world_until(&seen, 1);
    assert_int_equal(atomic_load(&last_code), HARK_ESTOPPED);
    assert_null(hark_await(f->w->here, asked, spun)); // HARK_ENOREPLY, as ever
    // And one that was only told something.
    mine = hark_spawn(f->w->here, server);
    assert_int_equal(hark_tell(f->w->here, mine, spin), HARK_OK);
    world_until(&begun, 2);
    assert_int_equal(hark_actor_stop(f->w->here, mine), HARK_OK);
    world_until(&seen, 2);
}

static void
deferred_answer_that_is_cancelled_is_not_wanted(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_future asked = hark_ask_within(me, HARK_FOREVER, f->server, later);

    world_until(&begun, 1);
    hark_future_drop(me, asked);
    let_arrive(f);
    hark_future told = hark_ask(me, f->server, fulfil_it);
    const was *reply = hark_await(me, told, was);
    assert_non_null(reply);
    assert_true(reply->cancelled);
    assert_int_equal(reply->code, HARK_ECANCELLED);
    told = hark_ask(me, f->server, fulfil_it);
    reply = hark_await(me, told, was);
    assert_non_null(reply);
    assert_true(reply->cancelled);
    assert_int_equal(reply->code, HARK_ESTALE); // its place is free
    world_assert_no_dead_letters(f->w);
}

static void
deferred_answer_of_a_living_ask_is_wanted(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_future asked = hark_ask(me, f->server, later);
    hark_future told = hark_ask(me, f->server, fulfil_it);
    const was *reply = hark_await(me, told, was);

    assert_non_null(reply);
    assert_false(reply->cancelled);
    assert_int_equal(reply->code, HARK_OK);
    assert_non_null(hark_await(me, asked, counted));
}

static void
ask_that_is_answered_cannot_be_cancelled(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_future asked = hark_ask(me, f->server, count);

    assert_non_null(hark_await(me, asked, counted));
    assert_int_equal(hark_cancel(me, asked), HARK_ESTALE);
    assert_non_null(hark_future_get(me, asked, counted)); // as it was
    hark_future_drop(me, asked);
    assert_int_equal(hark_cancel(me, asked), HARK_ESTALE);
    assert_int_equal(hark_cancel(me, (hark_future){0, 0}), HARK_ESTALE);
    assert_int_equal(hark_cancel(NULL, asked), HARK_ESTALE);
    let_arrive(f);
    assert_int_equal(count_on(f), 2);
    assert_int_equal(world_stats(f->w->there_system).cancelled, 0);
}

static void
ask_that_timed_out_is_not_cancelled_too(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;

    // One whose time runs out before it begins is asked again with more.
    for (uint32_t ms = 20; atomic_load(&begun) == 0; ms *= 2) {
        hark_future asked = hark_ask_within(me, ms, f->server, later);

        assert_null(hark_await(me, asked, counted));
        hark_future_drop(me, asked);
        let_arrive(f);
    }
    hark_future told = hark_ask(me, f->server, fulfil_it);
    const was *reply = hark_await(me, told, was);
    assert_non_null(reply);
    assert_false(reply->cancelled); // its deadline has told it already
}

static void
cancel_goes_down_a_chain_of_asks(void **state)
{
    struct fixture *f = *state;
    struct world *w = f->w;
    // here -> there -> here -> there -> here -> there
    hark_ref d = hark_spawn(w->here, relay, .next = f->server);
    hark_ref c = hark_spawn(w->there, relay, .next = d);
    hark_ref b = hark_spawn(w->here, relay, .next = world_reach(w, "c", c));
    hark_ref a = hark_spawn(w->there, relay, .next = b);
    hark_future asked =
        hark_ask_within(w->here, HARK_FOREVER, world_reach(w, "a", a), spin);

    world_until(&begun, 1);
    assert_int_equal(hark_cancel(w->here, asked), HARK_OK);
    world_until(&seen, 1);
    world_until(&relays_refused, 4);
    assert_int_equal(atomic_load(&relays_failed), 4);
    assert_int_equal(atomic_load(&last_code), HARK_ECANCELLED);
    world_assert_no_dead_letters(f->w);
}

static void
what_a_handler_has_asked_is_cancelled_with_its_request(void **state)
{
    struct fixture *f = *state;
    hark_ref p = hark_spawn(f->w->here, parent, .next = f->server);
    hark_future asked = hark_ask_within(f->w->here, HARK_FOREVER, p, spin);

    world_until(&begun, 1); // the child's handler
    assert_int_equal(hark_cancel(f->w->here, asked), HARK_OK);
    world_until(&seen, 1);
    world_until(&relays_failed, 1);
    assert_int_equal(count_on(f), 1); // what came after it was not sent
}

static void
end_of_an_asker_cancels_all_that_it_has_asked(void **state)
{
    struct fixture *f = *state;
    hark_ref l = hark_spawn(f->w->here, leaver, .whom = f->server);
    uint64_t actors = world_stats(f->w->here_system).actors;

    occupy(f);
    assert_int_equal(hark_tell(f->w->here, l, count), HARK_OK);
    assert_int_equal(hark_tell(f->w->here, l, block), HARK_OK);
    while (world_stats(f->w->here_system).actors == actors) {
        sched_yield();
    }
    let_arrive(f);
    atomic_store(&gate, true);
    assert_int_equal(count_on(f), 1);
    assert_int_equal(world_stats(f->w->there_system).cancelled, LEAVER_ASKS);
    world_assert_no_dead_letters(f->w);
}

static void
thread_that_detaches_cancels_all_that_it_has_asked(void **state)
{
    struct fixture *f = *state;
    hark_ctx *guest = hark_attach(f->w->here_system);

    occupy(f);
    for (int i = 0; i < 10; i++) {
        hark_future unused = hark_ask(guest, f->server, count);
        (void)unused;
    }
    hark_detach(guest);
    let_arrive(f);
    atomic_store(&gate, true);
    assert_int_equal(count_on(f), 1);
    assert_int_equal(world_stats(f->w->there_system).cancelled, 10);
}

static void
ask_has_no_more_time_than_its_parent(void **state)
{
    struct fixture *f = *state;
    struct world *w = f->w;
    hark_ref b = hark_spawn(w->here, relay, .next = f->server);
    hark_ref a = hark_spawn(w->there, relay, .next = b);
    hark_ref seen_a = world_reach(w, "a", a);
    hark_future asked = hark_ask_within(w->here, HARK_SECONDS(20), seen_a, left);
    const ms_left *reply = hark_await(w->here, asked, ms_left);

    assert_non_null(reply);
    assert_true(reply->ms <= HARK_SECONDS(20) + SLACK_MS);
    assert_true(reply->ms > 0);
    // The ask's own is smaller.
    asked = hark_ask_within(w->here, HARK_FOREVER, seen_a, left);
    reply = hark_await(w->here, asked, ms_left);
    assert_non_null(reply);
    assert_true(reply->ms <= HARK_SECONDS(600) + SLACK_MS);
    assert_true(reply->ms > HARK_SECONDS(300));
    // No limit at all.
    asked = hark_ask_within(w->here, HARK_FOREVER, f->server, left);
    reply = hark_await(w->here, asked, ms_left);
    assert_non_null(reply);
    assert_int_equal(reply->ms, HARK_FOREVER);
    assert_int_equal(hark_remaining_ms(w->here), HARK_FOREVER);
}

// A message has no deadline and is not cancelled: it comes, though whoever made its handler
// arm it has given up.
static void
timer_outlives_the_request_that_has_armed_it(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    char name[32];

    // Until the cancel is faster than the timer, which a busy machine may prevent.
    for (uint32_t ms = 50; atomic_load(&rung) != BELL_CAME_LATER; ms *= 2) {
        reset();
        snprintf(name, sizeof name, "sleeper-%u", (unsigned)ms);
        hark_ref s =
            world_reach(f->w, name, hark_spawn(f->w->there, sleeper, .bell_ms = ms));
        hark_future asked = hark_ask_within(me, HARK_SECONDS(60), s, later);

        world_until(&begun, 1);
        assert_int_equal(hark_cancel(me, asked), HARK_OK);
        world_until(&rung, BELL_CAME_FIRST);
        hark_future_drop(me, asked);
    }
    assert_int_equal(atomic_load(&had_left), HARK_FOREVER);
}

// It is a future, and so as much a child of the request as an ask is.
static void
delay_is_cancelled_with_its_request(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_ref s =
        world_reach(f->w, "sleeper",
                    hark_spawn(f->w->there, sleeper, .bell_ms = HARK_SECONDS(600)));
    hark_future asked = hark_ask_within(me, HARK_FOREVER, s, later);

    world_until(&begun, 1);
    assert_int_equal(hark_cancel(me, asked), HARK_OK);
    world_until(&seen, 1);
    assert_int_equal(atomic_load(&last_code), HARK_ECANCELLED);
    hark_future_drop(me, asked);
    reset();
    asked = hark_ask_within(me, HARK_FOREVER, s, spin);
    world_until(&begun, 1);
    hark_future_drop(me, asked);
    world_until(&seen, 1);
    assert_int_equal(atomic_load(&last_code), HARK_ECANCELLED);
}

static void
delay_has_no_more_time_than_its_request(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_ref s =
        world_reach(f->w, "sleeper",
                    hark_spawn(f->w->there, sleeper, .bell_ms = HARK_SECONDS(600)));
    uint32_t ms = 20;

    // One whose time runs out before it begins is asked again with more.
    for (; atomic_load(&seen) == 0; ms *= 2) {
        assert_null(hark_await(me, hark_ask_within(me, ms, s, later), counted));
        if (atomic_load(&begun) > 0) {
            world_until(&seen, 1);
        }
    }
    assert_int_equal(atomic_load(&last_code), HARK_ETIMEOUT);
    reset();
    for (ms = 20; atomic_load(&seen) == 0; ms *= 2) {
        assert_null(hark_await(me, hark_ask_within(me, ms, s, spin), spun));
        if (atomic_load(&begun) > 0) {
            world_until(&seen, 1);
        }
    }
    assert_int_equal(atomic_load(&last_code), HARK_ETIMEOUT);
}

static void
ask_whose_time_runs_out_in_the_mailbox_is_not_run(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;

    occupy(f);
    hark_future asked = hark_ask_within(me, 20, f->server, count);
    hark_future patient = hark_ask_within(me, HARK_FOREVER, f->server, count);
    assert_null(hark_await(me, asked, counted));
    world_assert_error(f->w, HARK_ETIMEOUT, "");
    // There its time begins when it arrives.
    assert_null(hark_receive(me, 200));
    atomic_store(&gate, true);
    const counted *reply = hark_await(me, patient, counted);
    assert_non_null(reply);
    assert_int_equal(reply->n, 1);
    assert_int_equal(world_stats(f->w->there_system).expired, 1);
    assert_int_equal(world_stats(f->w->there_system).cancelled, 0);
    world_assert_no_dead_letters(f->w);
}

static void
shield_lets_a_cancelled_handler_clean_up(void **state)
{
    struct fixture *f = *state;
    hark_ref p = hark_spawn(f->w->here, parent, .next = f->server);
    hark_future asked = hark_ask_within(f->w->here, HARK_FOREVER, p, check);

    world_until(&begun, 1);
    hark_future_drop(f->w->here, asked);
    world_until(&tidied, 1);
    assert_int_equal(atomic_load(&run_count), 1);
}

static void
thread_in_a_shield_asks_within_its_limit(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;

    assert_int_equal(hark_shield(NULL, 1), HARK_EINVAL);
    assert_int_equal(hark_checkpoint(NULL), HARK_EINVAL);
    assert_false(hark_cancelled(NULL));
    assert_int_equal(hark_shield(me, HARK_SECONDS(60)), HARK_OK);
    hark_future asked = hark_ask_within(me, HARK_FOREVER, f->server, left);
    const ms_left *reply = hark_await(me, asked, ms_left);
    assert_non_null(reply);
    assert_true(reply->ms <= HARK_SECONDS(60) + SLACK_MS);
    hark_shield_end(me);
    hark_shield_end(me);
    assert_int_equal(hark_checkpoint(me), HARK_OK);
    assert_int_equal(hark_remaining_ms(me), HARK_FOREVER);
    assert_int_equal(hark_shield(me, HARK_SECONDS(60)), HARK_OK); // left up
}

// ---- a node that is lost ----

// Another process: asks, until it is killed.
static void
be_killed(int endpoint_from)
{
    char endpoint[256] = "";
    char name[300];

    if (read(endpoint_from, endpoint, sizeof endpoint - 1) <= 0) {
        _exit(1);
    }
    hark_system *system = hark_start(&(hark_options){.workers = 1});
    hark_ctx *me = hark_attach(system);
    snprintf(name, sizeof name, "%s/deferrer", endpoint);
    hark_ref deferrer = hark_lookup(me, name);
    snprintf(name, sizeof name, "%s/runner", endpoint);
    hark_ref runner = hark_lookup(me, name);
    snprintf(name, sizeof name, "%s/relayer", endpoint);
    hark_ref relayer = hark_lookup(me, name);
    hark_future f[4] = {
        hark_ask_within(me, HARK_FOREVER, deferrer, later),
        hark_ask_within(me, HARK_FOREVER, runner, spin),
        hark_ask_within(me, HARK_FOREVER, runner, count), // waits behind it
        hark_ask_within(me, HARK_FOREVER, relayer, spin), // asks another for it
    };
    _exit(hark_await(me, f[2], counted) != NULL ? 2 : 1);
}

static void
loss_of_the_askers_node_cancels_what_it_has_asked(void **state)
{
    int pipes[2];
    char endpoint[256];

    (void)state;
    reset();
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        be_killed(pipes[0]);
    }
    hark_system *system =
        hark_start(&(hark_options){.workers = 6, .heartbeat_ms = HARK_SECONDS(60)});
    hark_ctx *me = hark_attach(system);
    hark_ref deferrer =
        hark_spawn_with(me, &(hark_spawn_options){.name = "deferrer"}, server);
    hark_ref runner =
        hark_spawn_with(me, &(hark_spawn_options){.name = "runner"}, server);
    hark_ref last = hark_spawn(me, server);
    hark_ref relayer = hark_spawn_with(me, &(hark_spawn_options){.name = "relayer"},
                                       relay, .next = last);
    assert_false(hark_ref_is_null(relayer));
    assert_int_equal(hark_listen(me, "tcp://127.0.0.1:0", endpoint, sizeof endpoint),
                     HARK_OK);
    assert_true(write(pipes[1], endpoint, strlen(endpoint)) > 0);
    world_until(&begun, 3); // deferred, running, and running for the relay
    assert_int_equal(atomic_load(&seen), 0);
    assert_int_equal(kill(child, SIGKILL), 0);
    world_until(&seen, 2);
    world_until(&relays_refused, 1);
    hark_future f = hark_ask(me, deferrer, fulfil_it);
    const was *reply = hark_await(me, f, was);
    assert_non_null(reply);
    assert_true(reply->cancelled);
    assert_int_equal(reply->code, HARK_ECANCELLED);
    f = hark_ask(me, runner, count);
    const counted *counts = hark_await(me, f, counted);
    assert_non_null(counts);
    assert_int_equal(counts->n, 1); // the one that waited was not run
    assert_int_equal(world_stats(system).cancelled, 1);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(pipes[0]);
    close(pipes[1]);
    assert_int_equal(hark_stop(system, HARK_SECONDS(10)), HARK_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(queued_ask_whose_future_is_dropped_is_not_run),
        TEST(queued_ask_that_is_cancelled_fails_and_is_not_run),
        TEST(every_second_of_many_queued_asks_is_cancelled_and_the_others_run),
        TEST(running_handler_sees_the_cancel_and_its_reply_is_not_sent),
        TEST(running_handler_sees_that_its_time_is_over),
        TEST(handler_of_an_actor_that_is_stopped_sees_it),
        TEST(deferred_answer_that_is_cancelled_is_not_wanted),
        TEST(deferred_answer_of_a_living_ask_is_wanted),
        TEST(ask_that_is_answered_cannot_be_cancelled),
        TEST(ask_that_timed_out_is_not_cancelled_too),
        TEST(cancel_goes_down_a_chain_of_asks),
        TEST(what_a_handler_has_asked_is_cancelled_with_its_request),
        TEST(end_of_an_asker_cancels_all_that_it_has_asked),
        TEST(thread_that_detaches_cancels_all_that_it_has_asked),
        TEST(ask_has_no_more_time_than_its_parent),
        TEST(timer_outlives_the_request_that_has_armed_it),
        TEST(delay_is_cancelled_with_its_request),
        TEST(delay_has_no_more_time_than_its_request),
        TEST(ask_whose_time_runs_out_in_the_mailbox_is_not_run),
        TEST(shield_lets_a_cancelled_handler_clean_up),
        TEST(thread_in_a_shield_asks_within_its_limit),
    };
    const struct CMUnitTest lost[] = {
        cmocka_unit_test(loss_of_the_askers_node_cancels_what_it_has_asked),
    };
    static const char *const names[] = {"cancel/local", "cancel/memory", "cancel/tcp"};
    // First: the process that it forks must have no other threads.
    int failed = cmocka_run_group_tests_name("cancel/lost", lost, NULL, NULL);

    for (reach = REACH_LOCAL; reach <= REACH_TCP; reach++) {
        failed += cmocka_run_group_tests_name(names[reach], tests, NULL, NULL);
    }
    return failed;
}
