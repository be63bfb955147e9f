// Concurrency control: each object, used by a thread and by actors, with the object on this
// node and behind links. Whoever waits is served in order; whoever is gone leaves nothing
// behind.

#include <sched.h>
#include <stdatomic.h>

#include "api/world.h"
#include "sanitized.h"

HARK_MESSAGE(go, (ref, object), (i32, what))
HARK_MESSAGE(done, (i32, code), (i64, n))
HARK_MESSAGE(let_go)
HARK_MESSAGE(work, (i64, n))
HARK_MESSAGE(open_all)

// ---- an actor that uses what it is told to ----

enum what { LOCK, LOCK_AND_END, WAIT, ARRIVE, TOKEN, THROUGH, LOCK_BY_JOB };

typedef struct {
    hark_permit permit;
    hark_promise answer;
    hark_ref server;
} user;

HARK_THEN(user, locked, hark_permit) {
    self->permit = *msg;
    hark_fulfil(ctx, self->answer, done, .n = msg->count);
}
HARK_ELSE(user, locked) {
    hark_break(ctx, self->answer, error->code, "%s", error->text);
}
HARK_CONTINUATION(user, locked, hark_permit)

HARK_JOB(work_once)
{
    hark_result_future(ctx, hark_ask(ctx, *(hark_ref *)arg, work, .n = 1));
}

static void
finish(hark_ctx *ctx, hark_future f, const hark_type *type)
{
    if (hark_await_value(ctx, f, type) != NULL) {
        hark_reply(ctx, done, .n = 1);
    } else {
        hark_refuse(ctx, hark_error_of(ctx)->code, "%s", hark_error_of(ctx)->text);
    }
}

HARK_ON(user, go) {
    switch ((enum what)msg->what) {
    case LOCK:
        self->answer = hark_defer(ctx);
        assert_int_equal(
            hark_then(ctx, hark_acquire(ctx, msg->object, 1), user, locked, NULL),
            HARK_OK);
        break;
    case LOCK_AND_END:
        assert_non_null(hark_await(ctx, hark_lock(ctx, msg->object), hark_permit));
        hark_reply(ctx, done);
        hark_exit(ctx);
        break;
    case WAIT:
        finish(ctx, hark_latch_wait(ctx, msg->object), &hark_unit_type);
        break;
    case ARRIVE:
        finish(ctx, hark_barrier_wait(ctx, msg->object), &hark_arrived_type);
        break;
    case TOKEN:
        finish(ctx, hark_rate_wait(ctx, msg->object, 1), &hark_unit_type);
        break;
    case THROUGH:
        finish(ctx, hark_ask_through(ctx, msg->object, work, .n = 1), &done_type);
        break;
    case LOCK_BY_JOB:
        finish(ctx, hark_with_permit(ctx, msg->object, 1, work_once, &self->server),
               &done_type);
        break;
    }
}
HARK_ON(user, let_go) {
    hark_err err = hark_release(ctx, &self->permit);

    if (err != HARK_OK) {
        hark_refuse(ctx, err, "%s", hark_error_of(ctx)->text);
        return;
    }
    hark_reply(ctx, done);
}
HARK_ACTOR(user, go, let_go)

// ---- actors that change their minds ----

HARK_MESSAGE(churn, (ref, semaphore), (u32, seed), (u32, rounds), (u32, permits))

static _Atomic(uint32_t) inside;      // permits that are held by those who know it
static _Atomic(uint32_t) most_inside; // ever

typedef struct {
    char unused;
} fickle;

// Holds what it got for a moment.
static void
be_inside(hark_ctx *ctx, const hark_permit *permit)
{
    uint32_t now = atomic_fetch_add(&inside, permit->count) + permit->count;
    uint32_t most = atomic_load(&most_inside);

    while (now > most && !atomic_compare_exchange_weak(&most_inside, &most, now)) {
    }
    (void)hark_checkpoint(ctx);
    atomic_fetch_sub(&inside, permit->count);
    assert_int_equal(hark_release(ctx, permit), HARK_OK);
}

HARK_ON(fickle, churn) {
    uint32_t chance = msg->seed;

    for (uint32_t i = 0; i < msg->rounds; i++) {
        chance = chance * 1664525 + 1013904223;
        uint32_t what = chance >> 24 & 7;
        uint32_t count = 1 + (chance >> 16) % msg->permits;
        hark_future f = hark_acquire_within(ctx, what < 3 ? 1 : HARK_SECONDS(60),
                                            msg->semaphore, count);

        if (what == 4) {
            f = hark_timeout(ctx, f, 1);
        }
        if (what == 5) { // others run meanwhile, and so may the grant
            hark_future pause = hark_ask(ctx, msg->semaphore, hark_permits_read);

            (void)!hark_await(ctx, pause, hark_permits);
        } else if (what > 0) {
            const hark_permit *permit = hark_await(ctx, f, hark_permit);

            if (permit != NULL) {
                be_inside(ctx, permit);
            }
        }
        hark_future_drop(ctx, f);
    }
    hark_reply(ctx, done);
}
HARK_ACTOR(fickle, churn)

// ---- whom guards guard ----

static _Atomic(int) in_work;   // asks that were not answered yet
static _Atomic(int) most_work; // at once
static _Atomic(int) started;   // asks ever

enum { HELD = 256 };

typedef struct {
    hark_promise held[HELD];
    int count;
} server;

// n: 0 is kept, over 0 is answered, under 0 is refused with that code.
HARK_ON(server, work) {
    started++;
    if (msg->n == 0) {
        in_work++;
        most_work = in_work > most_work ? in_work : most_work;
        self->held[self->count++ % HELD] = hark_defer(ctx);
    } else if (msg->n < 0) {
        hark_refuse(ctx, (int)-msg->n, "refused as asked");
    } else {
        hark_reply(ctx, done, .n = msg->n);
    }
}
HARK_ON(server, open_all) {
    int n = self->count;

    in_work -= n;
    self->count = 0;
    for (int i = 0; i < n; i++) {
        (void)hark_fulfil(ctx, self->held[i], done, .n = 7);
    }
    hark_reply(ctx, done, .n = n);
}
HARK_ON(server, let_go) { // how many of the held ones are not wanted any more
    int64_t n = 0;

    for (int i = 0; i < self->count; i++) {
        n += hark_promise_cancelled(ctx, self->held[i]);
    }
    hark_reply(ctx, done, .n = n);
}
HARK_ACTOR(server, work, open_all, let_go)

// ---- fixture ----

static enum reach reach;

struct fixture {
    struct world *w;
    hark_ctx *me;
    hark_ref server; // there, as here sees it
    int names;
};

static hark_ref
reached(struct fixture *f, hark_ref there)
{
    char name[32];

    assert_false(hark_ref_is_null(there));
    snprintf(name, sizeof name, "object-%d", f->names++);
    return world_reach(f->w, name, there);
}

static int
setup(void **state)
{
    static struct fixture fixture;

    in_work = most_work = started = 0;
    fixture.w = world_open(reach, NULL);
    fixture.me = fixture.w->here;
    fixture.names = 0;
    fixture.server = reached(&fixture, hark_spawn(fixture.w->there, server));
    *state = &fixture;
    return 0;
}

static int
teardown(void **state)
{
    world_close(((struct fixture *)*state)->w);
    return 0;
}

static hark_ref
semaphore(struct fixture *f, uint32_t permits)
{
    return reached(
        f, hark_semaphore(f->w->there,
                          &(hark_semaphore_options){.name = "db", .permits = permits}));
}

static hark_permit
take(struct fixture *f, hark_future future)
{
    const hark_permit *permit = hark_await(f->me, future, hark_permit);

    if (permit == NULL) {
        fail_msg("%s", world_error(f->w));
    }
    hark_permit copy = *permit;
    hark_future_drop(f->me, future);
    return copy;
}

// Ends well, with whatever reply.
static void
end_well(struct fixture *f, hark_future future, const hark_type *type)
{
    if (hark_await_value(f->me, future, type) == NULL) {
        fail_msg("%s", world_error(f->w));
    }
    hark_future_drop(f->me, future);
}

static void
end_badly(struct fixture *f, hark_future future, int code, const char *text)
{
    assert_null(hark_await(f->me, future, done));
    world_assert_error(f->w, code, text);
    hark_future_drop(f->me, future);
}

static hark_permits
stand_of(struct fixture *f, hark_ref object)
{
    hark_future future = hark_ask(f->me, object, hark_permits_read);
    const hark_permits *permits = hark_await(f->me, future, hark_permits);

    if (permits == NULL) {
        fail_msg("%s", world_error(f->w));
    }
    hark_permits copy = *permits;
    hark_future_drop(f->me, future);
    return copy;
}

// Cancels overtake and are overtaken: asks until it stands so.
static void
until_stand(struct fixture *f, hark_ref object, uint32_t held, uint32_t waiting)
{
    for (;;) {
        hark_permits stand = stand_of(f, object);

        if (stand.held == held && stand.waiting == waiting) {
            return;
        }
    }
}

static bool
is_open(struct fixture *f, hark_ref object, hark_future future)
{
    (void)stand_of(f, object); // what has left before has come
    return !hark_future_done(f->me, future);
}

static hark_future
send(struct fixture *f, hark_ref who, hark_ref object, enum what what)
{
    return hark_ask(f->me, who, go, .object = object, .what = what);
}

// ---- semaphore ----

static void
permits_are_given_in_order_of_asking(void **state)
{
    struct fixture *f = *state;
    hark_ref s = semaphore(f, 2);
    hark_future waiting[5];
    hark_permit held[2] = {take(f, hark_acquire(f->me, s, 1)),
                           take(f, hark_acquire(f->me, s, 1))};

    for (int i = 0; i < 5; i++) {
        waiting[i] = hark_acquire(f->me, s, 1);
    }
    assert_true(is_open(f, s, waiting[0]));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(hark_release(f->me, &held[i % 2]), HARK_OK);
        held[i % 2] = take(f, waiting[i]);
        if (i < 4) {
            assert_true(is_open(f, s, waiting[i + 1]));
        }
    }
    assert_int_equal(hark_release(f->me, &held[0]), HARK_OK);
    assert_int_equal(hark_release(f->me, &held[1]), HARK_OK);
    until_stand(f, s, 0, 0);
}

static void
who_wants_many_permits_is_not_passed(void **state)
{
    struct fixture *f = *state;
    hark_ref s = semaphore(f, 3);
    hark_permit one = take(f, hark_acquire(f->me, s, 1));
    hark_future three = hark_acquire(f->me, s, 3);
    hark_future after = hark_acquire(f->me, s, 1);

    assert_true(is_open(f, s, three));
    assert_true(is_open(f, s, after));
    assert_int_equal(hark_release(f->me, &one), HARK_OK);
    hark_permit all = take(f, three);
    assert_int_equal(all.count, 3);
    assert_true(is_open(f, s, after));
    assert_int_equal(hark_release(f->me, &all), HARK_OK);
    one = take(f, after);
    assert_int_equal(hark_release(f->me, &one), HARK_OK);
    until_stand(f, s, 0, 0);
}

static void
one_that_is_cancelled_in_line_is_skipped(void **state)
{
    struct fixture *f = *state;
    hark_ref s = semaphore(f, 1);
    hark_permit held = take(f, hark_acquire(f->me, s, 1));
    hark_future dropped = hark_acquire(f->me, s, 1);
    hark_future cancelled = hark_acquire(f->me, s, 1);
    hark_future late = hark_acquire_within(f->me, 1, s, 1);
    hark_future last = hark_acquire(f->me, s, 1);

    hark_future_drop(f->me, dropped);
    assert_int_equal(hark_cancel(f->me, cancelled), HARK_OK);
    end_badly(f, cancelled, HARK_ECANCELLED, "cancelled");
    end_badly(f, late, HARK_ETIMEOUT, "");
    until_stand(f, s, 1, 1);
    assert_int_equal(hark_release(f->me, &held), HARK_OK);
    held = take(f, last);
    assert_int_equal(hark_release(f->me, &held), HARK_OK);
    until_stand(f, s, 0, 0);
}

static void
one_that_wanted_many_lets_those_behind_it_in_when_it_goes(void **state)
{
    struct fixture *f = *state;
    hark_ref s = semaphore(f, 2);
    hark_permit held = take(f, hark_acquire(f->me, s, 1));
    hark_future both = hark_acquire(f->me, s, 2);
    hark_future one = hark_acquire(f->me, s, 1);

    assert_true(is_open(f, s, one));
    hark_future_drop(f->me, both);
    hark_permit other = take(f, one);
    assert_int_equal(hark_release(f->me, &held), HARK_OK);
    assert_int_equal(hark_release(f->me, &other), HARK_OK);
    until_stand(f, s, 0, 0);
}

static void
a_permit_that_nobody_looked_at_goes_back(void **state)
{
    struct fixture *f = *state;
    hark_ref s = semaphore(f, 1);
    hark_future granted = hark_acquire(f->me, s, 1);

    while (!hark_future_done(f->me, granted)) {
        (void)stand_of(f, s);
    }
    assert_int_equal(stand_of(f, s).held, 1);
    hark_future_drop(f->me, granted);
    until_stand(f, s, 0, 0);
    // Also through what is made of it: the loser has its permit already.
    hark_ref other = semaphore(f, 1);
    hark_future two[] = {hark_timeout(f->me, hark_acquire(f->me, s, 1), 60000),
                         hark_timeout(f->me, hark_acquire(f->me, other, 1), 60000)};
    while (!hark_future_done(f->me, two[0]) || !hark_future_done(f->me, two[1])) {
        (void)stand_of(f, s);
    }
    hark_permit won = take(f, hark_race(f->me, two, 2));
    until_stand(f, s, hark_ref_equal(won.of, s), 0);
    until_stand(f, other, hark_ref_equal(won.of, other), 0);
    assert_int_equal(hark_release(f->me, &won), HARK_OK);
    until_stand(f, s, 0, 0);
    until_stand(f, other, 0, 0);
}

// How many interleavings; a sanitizer makes each slower.
enum { ROUNDS = IS_SANITIZED ? 2000 : 100000 };

static void
no_permit_is_lost_when_grants_cross_cancels(void **state)
{
    enum { PERMITS = 3, OPEN = 8 };
    struct fixture *f = *state;
    hark_ref s = semaphore(f, PERMITS);
    uint32_t chance = 1;
    hark_future open[OPEN] = {{0, 0}};
    hark_permit held[OPEN];
    int held_count = 0;

    for (int i = 0; i < ROUNDS; i++) {
        chance = chance * 1664525 + 1013904223;
        hark_future *at = &open[chance >> 8 & (OPEN - 1)];
        uint32_t what = chance >> 24 & 7;

        if (at->id == 0) {
            *at = what == 0 ? hark_acquire_within(f->me, 1, s, 1)
                            : hark_acquire(f->me, s, 1 + (what == 1));
        } else if (what < 3) {
            hark_future_drop(f->me, *at);
            *at = (hark_future){0, 0};
        } else if (what == 3) {
            (void)hark_cancel(f->me, *at);
        } else if (hark_future_done(f->me, *at) && held_count < OPEN) {
            const hark_permit *permit = hark_future_get(f->me, *at, hark_permit);

            if (permit != NULL) {
                held[held_count++] = *permit;
            }
            hark_future_drop(f->me, *at);
            *at = (hark_future){0, 0};
        } else if (held_count > 0) {
            assert_int_equal(hark_release(f->me, &held[--held_count]), HARK_OK);
        }
        if ((chance >> 12 & 3) == 0) { // what was asked is run
            sched_yield();
        }
        if ((chance >> 14 & 3) == 0) { // answers are looked at
            hark_message_free(f->me, hark_receive(f->me, 0));
        }
    }
    for (int i = 0; i < OPEN; i++) {
        hark_future_drop(f->me, open[i]);
    }
    while (held_count > 0) {
        assert_int_equal(hark_release(f->me, &held[--held_count]), HARK_OK);
    }
    until_stand(f, s, 0, 0);
    hark_permit all = take(f, hark_acquire(f->me, s, PERMITS));
    assert_int_equal(hark_release(f->me, &all), HARK_OK);
}

static void
no_permit_is_lost_by_actors_that_change_their_minds(void **state)
{
    enum { ACTORS = 8, PERMITS = 3 };
    struct fixture *f = *state;
    hark_ref s = semaphore(f, PERMITS);
    hark_future asks[ACTORS];

    inside = most_inside = 0;
    for (uint32_t i = 0; i < ACTORS; i++) {
        asks[i] = hark_ask_within(f->me, HARK_FOREVER, hark_spawn(f->me, fickle), churn,
                                  .semaphore = s, .seed = i + 1, .rounds = ROUNDS / 100,
                                  .permits = PERMITS);
    }
    for (int i = 0; i < ACTORS; i++) {
        end_well(f, asks[i], &done_type);
    }
    assert_in_range(most_inside, 1, PERMITS);
    until_stand(f, s, 0, 0);
}

static void
a_try_does_not_wait(void **state)
{
    struct fixture *f = *state;
    hark_ref s = semaphore(f, 1);
    hark_permit held = take(f, hark_try_acquire(f->me, s, 1));

    end_badly(f, hark_try_acquire(f->me, s, 1), HARK_ELIMIT,
              "semaphore \"db\": not free");
    // What is released is there for what is asked after that.
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(hark_release(f->me, &held), HARK_OK);
        held = take(f, hark_try_acquire(f->me, s, 1));
    }
    assert_int_equal(hark_release(f->me, &held), HARK_OK);
    until_stand(f, s, 0, 0);
}

static void
a_full_line_refuses(void **state)
{
    struct fixture *f = *state;
    hark_ref s = reached(
        f, hark_semaphore(f->w->there, &(hark_semaphore_options){.name = "small",
                                                                 .permits = 1,
                                                                 .waiting_limit = 2}));
    hark_permit held = take(f, hark_acquire(f->me, s, 1));
    hark_future a = hark_acquire(f->me, s, 1);
    hark_future b = hark_acquire(f->me, s, 1);

    end_badly(f, hark_acquire(f->me, s, 1), HARK_ELIMIT,
              "semaphore \"small\": 2 wait already");
    hark_future_drop(f->me, b);
    until_stand(f, s, 1, 1);
    b = hark_acquire(f->me, s, 1);
    assert_int_equal(hark_release(f->me, &held), HARK_OK);
    held = take(f, a);
    assert_int_equal(hark_release(f->me, &held), HARK_OK);
    held = take(f, b);
    assert_int_equal(hark_release(f->me, &held), HARK_OK);
}

static void
misuse_of_permits_is_told(void **state)
{
    struct fixture *f = *state;
    hark_ref s = semaphore(f, 2);
    hark_ref who = hark_spawn(f->me, user);

    end_badly(f, hark_acquire(f->me, s, 3), HARK_EINVAL,
              "semaphore \"db\" has 2 permits: 3 cannot be had");
    end_badly(f, hark_acquire(f->me, s, 0), HARK_EINVAL, "0 cannot be had");
    hark_permit held = take(f, hark_acquire(f->me, s, 1));
    assert_int_equal(hark_release(f->me, &held), HARK_OK);
    assert_int_equal(hark_release(f->me, &held), HARK_ESTALE);
    world_assert_error(f->w, HARK_ESTALE, "was released before");
    end_well(f, send(f, who, s, LOCK), &done_type);
    hark_permit foreign = {.of = s, .count = 1, .owner = 12345, .hold = 1};
    assert_int_equal(hark_release(f->me, &foreign), HARK_ESTALE);
    assert_int_equal(hark_release(f->me, NULL), HARK_EINVAL);
    assert_int_equal(hark_release(NULL, &held), HARK_EINVAL);
    until_stand(f, s, 1, 0);
    end_well(f, hark_ask(f->me, who, let_go), &done_type);
    end_badly(f, hark_ask(f->me, who, let_go), HARK_ESTALE, "was released before");
    until_stand(f, s, 0, 0);
    // An ask that was not made by our functions.
    end_badly(f, hark_ask(f->me, s, hark_acquire_permit, .count = 1), HARK_EINVAL,
              "without a hark_hold");
    assert_int_equal(hark_tell(f->me, s, hark_hold), HARK_OK);
    end_badly(f, hark_ask(f->me, s, hark_enter), HARK_ENOHANDLER,
              "semaphore \"db\" has no target");
    end_badly(f, hark_acquire(f->me, f->server, 1), HARK_ENOHANDLER, "");
    until_stand(f, s, 0, 0);
}

static void
objects_that_cannot_be_are_refused(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->me;

    assert_true(hark_ref_is_null(hark_semaphore(me, NULL)));
    world_assert_error(f->w, HARK_EINVAL, "hark_semaphore");
    assert_true(hark_ref_is_null(
        hark_semaphore(me, &(hark_semaphore_options){.name = "none"})));
    world_assert_error(f->w, HARK_EINVAL, "semaphore \"none\": no permits");
    assert_true(hark_ref_is_null(hark_limit(me, &(hark_limit_options){.at_most = 1})));
    world_assert_error(f->w, HARK_EINVAL, "hark_limit");
    assert_true(
        hark_ref_is_null(hark_barrier(me, &(hark_barrier_options){.name = "zero"})));
    world_assert_error(f->w, HARK_EINVAL, "barrier \"zero\": no parties");
    assert_true(hark_ref_is_null(hark_rate(me, &(hark_rate_options){.name = "never"})));
    world_assert_error(f->w, HARK_EINVAL, "rate \"never\"");
    assert_true(hark_ref_is_null(hark_breaker(me, NULL)));
    assert_true(hark_ref_is_null(hark_breaker(
        me,
        &(hark_breaker_options){.name = "odd", .target = f->server, .failures = 30})));
    world_assert_error(f->w, HARK_EINVAL, "breaker \"odd\": 30 failures");
    assert_true(hark_ref_is_null(hark_latch(me, NULL)));
    assert_true(hark_ref_is_null(hark_flights(me, NULL)));
    assert_true(hark_ref_is_null(hark_mutex(NULL, NULL)));
    assert_int_equal(hark_acquire(NULL, f->server, 1).id, 0);
    assert_int_equal(hark_ask_through(NULL, f->server, work).id, 0);
    assert_int_equal(hark_ask_through_at(me, NULL, 0, f->server, NULL, NULL).id, 0);
    assert_int_equal(hark_with_permit_at(me, NULL, 0, f->server, 1, NULL, NULL).id, 0);
}

static void
a_holder_that_ends_gives_back(void **state)
{
    struct fixture *f = *state;
    hark_ref m = reached(f, hark_mutex(f->w->there, NULL));

    for (int i = 0; i < 3; i++) {
        end_well(f, send(f, hark_spawn(f->me, user), m, LOCK_AND_END), &done_type);
    }
    hark_ref stopped = hark_spawn(f->me, user);
    end_well(f, send(f, stopped, m, LOCK), &done_type);
    hark_ctx *other = hark_attach(f->w->here_system);
    assert_non_null(other);
    hark_future waiting = hark_lock(other, m);
    until_stand(f, m, 1, 1);
    assert_int_equal(hark_actor_stop(f->me, stopped), HARK_OK);
    assert_non_null(hark_await(other, waiting, hark_permit));
    hark_future next = hark_lock(f->me, m);
    assert_true(is_open(f, m, next));
    hark_detach(other); // a thread's end
    hark_permit held = take(f, next);
    assert_int_equal(hark_release(f->me, &held), HARK_OK);
    until_stand(f, m, 0, 0);
}

static void
a_node_that_is_lost_gives_back(void **state)
{
    struct fixture *f = *state;
    hark_hub *hub = hark_hub_new();
    hark_system *s = hark_start(&(hark_options){.workers = 1,
                                                .hub = hub,
                                                .name = "lost",
                                                .connect_ms = WORLD_PATIENCE_MS,
                                                .heartbeat_ms = WORLD_PATIENCE_MS});
    hark_ctx *it = hark_attach(s);
    char endpoint[256];
    hark_ref m = hark_mutex(f->me, NULL);

    assert_non_null(it);
    assert_int_equal(hark_register(f->me, "lock", m), HARK_OK);
    assert_int_equal(hark_listen(f->me, "tcp://127.0.0.1:0", endpoint, sizeof endpoint),
                     HARK_OK);
    strcat(endpoint, "/lock");
    hark_ref far = hark_lookup(it, endpoint);
    assert_false(hark_ref_is_null(far));
    assert_non_null(hark_await(it, hark_lock(it, far), hark_permit));
    hark_future next = hark_lock(f->me, m);
    assert_true(is_open(f, m, next));
    assert_int_equal(hark_stop(s, HARK_SECONDS(10)), HARK_OK);
    hark_permit held = take(f, next);
    assert_int_equal(hark_release(f->me, &held), HARK_OK);
    hark_hub_free(hub);
}

static void
a_semaphore_that_ends_says_so(void **state)
{
    struct fixture *f = *state;
    hark_ref there = hark_semaphore(
        f->w->there, &(hark_semaphore_options){.name = "db", .permits = 1});
    hark_ref s = reached(f, there);
    hark_permit held = take(f, hark_acquire(f->me, s, 1));
    hark_future waiting = hark_acquire(f->me, s, 1);

    assert_true(is_open(f, s, waiting));
    assert_int_equal(hark_actor_stop(f->w->there, there), HARK_OK);
    assert_null(hark_await(f->me, waiting, hark_permit));
    world_assert_error(f->w, HARK_ESTOPPED, "semaphore \"db\" has ended");
    hark_future_drop(f->me, waiting);
    // Its end may not have been heard of yet.
    hark_err err = hark_release(f->me, &held);
    assert_true(err == HARK_OK || err == HARK_ESTOPPED);
    while (hark_is_alive(f->w->there, there)) {
        sched_yield(); // it tells who waits before it has ended
    }
    end_badly(f, hark_acquire(f->me, s, 1), HARK_ENOACTOR, "");
}

// ---- locks ----

static void
writers_exclude_all_and_are_not_starved(void **state)
{
    struct fixture *f = *state;
    hark_ref l =
        reached(f, hark_rwlock(f->w->there, &(hark_lock_options){.name = "table"}));
    hark_permit a = take(f, hark_read_lock(f->me, l));
    hark_permit b = take(f, hark_read_lock(f->me, l));
    hark_future writer = hark_write_lock(f->me, l);
    hark_future reader = hark_read_lock(f->me, l);

    assert_true(is_open(f, l, writer));
    assert_true(is_open(f, l, reader)); // it does not pass the writer
    assert_int_equal(hark_release(f->me, &a), HARK_OK);
    assert_true(is_open(f, l, writer));
    assert_int_equal(hark_release(f->me, &b), HARK_OK);
    a = take(f, writer);
    assert_true(is_open(f, l, reader));
    assert_int_equal(hark_release(f->me, &a), HARK_OK);
    b = take(f, reader);
    assert_int_equal(hark_release(f->me, &b), HARK_OK);
    until_stand(f, l, 0, 0);
}

static void
actors_share_a_mutex(void **state)
{
    enum { USERS = 8 };
    struct fixture *f = *state;
    hark_ref m = reached(f, hark_mutex(f->w->there, NULL));
    hark_ref users[USERS];
    hark_future asks[USERS];

    for (int i = 0; i < USERS; i++) {
        users[i] = hark_spawn(f->me, user);
        asks[i] = send(f, users[i], m, LOCK);
        until_stand(f, m, 1, (uint32_t)i);
    }
    for (int i = 0; i < USERS; i++) {
        end_well(f, asks[i], &done_type);
        assert_true(i + 1 == USERS || is_open(f, m, asks[i + 1]));
        end_well(f, hark_ask(f->me, users[i], let_go), &done_type);
    }
    until_stand(f, m, 0, 0);
}

static void
a_job_has_its_permit_as_long_as_it_runs(void **state)
{
    struct fixture *f = *state;
    hark_ref m = reached(f, hark_mutex(f->w->there, NULL));
    hark_ref who = hark_spawn(f->me, user, .server = f->server);
    hark_permit held = take(f, hark_lock(f->me, m));
    hark_future job = send(f, who, m, LOCK_BY_JOB);

    until_stand(f, m, 1, 1);
    assert_int_equal(started, 0);
    assert_int_equal(hark_release(f->me, &held), HARK_OK);
    end_well(f, job, &done_type);
    assert_int_equal(started, 1);
    until_stand(f, m, 0, 0);
}

// ---- limit ----

static void
a_limit_lets_so_many_through(void **state)
{
    enum { ASKS = 20, MOST = 3 };
    struct fixture *f = *state;
    hark_ref l =
        reached(f, hark_limit(f->w->there, &(hark_limit_options){.name = "three",
                                                                 .target = f->server,
                                                                 .at_most = MOST}));
    hark_future asks[ASKS];

    for (int i = 0; i < ASKS; i++) {
        asks[i] = hark_ask_through(f->me, l, work, .n = 0);
    }
    hark_future_drop(f->me, asks[ASKS - 1]);
    while (started < MOST) { // and no more, before one ends
        hark_message_free(f->me, hark_receive(f->me, 1)); // what is granted is asked
    }
    for (int ended = 0; ended < ASKS - 1;) {
        hark_future f1 = hark_ask(f->me, f->server, open_all);
        const done *d = hark_await(f->me, f1, done);
        assert_non_null(d);
        ended += (int)d->n;
        hark_future_drop(f->me, f1);
    }
    for (int i = 0; i < ASKS - 1; i++) {
        end_well(f, asks[i], &done_type);
    }
    assert_int_equal(most_work, MOST);
    assert_int_equal(started, ASKS - 1);
    until_stand(f, l, 0, 0);
    end_badly(f, hark_ask_through(f->me, l, work, .n = -HARK_EUSER), HARK_EUSER,
              "refused as asked");
    end_badly(f, hark_acquire(f->me, l, 1), HARK_ENOHANDLER, "limit \"three\"");
    end_well(f, send(f, hark_spawn(f->me, user), l, THROUGH), &done_type);
    until_stand(f, l, 0, 0);
}

static void
an_ask_through_a_limit_that_is_dropped_makes_room(void **state)
{
    struct fixture *f = *state;
    hark_ref l =
        reached(f, hark_limit(f->w->there, &(hark_limit_options){.target = f->server,
                                                                 .at_most = 1}));
    hark_future first = hark_ask_through(f->me, l, work, .n = 0);

    while (started < 1) {
        hark_message_free(f->me, hark_receive(f->me, 1));
    }
    hark_future second = hark_ask_through(f->me, l, work, .n = 1);
    until_stand(f, l, 1, 1);
    hark_future_drop(f->me, first);
    end_well(f, second, &done_type);
    // Whom it had asked has heard of it, too.
    for (int64_t gone = 0; gone == 0;) {
        hark_future g = hark_ask(f->me, f->server, let_go);
        const done *d = hark_await(f->me, g, done);
        assert_non_null(d);
        gone = d->n;
        hark_future_drop(f->me, g);
    }
    until_stand(f, l, 0, 0);
}

// ---- breaker ----

static hark_breaker_state
breaker_stand(struct fixture *f, hark_ref b)
{
    hark_future future = hark_ask(f->me, b, hark_breaker_read);
    const hark_breaker_state *s = hark_await(f->me, future, hark_breaker_state);

    assert_non_null(s);
    hark_breaker_state copy = *s;
    hark_future_drop(f->me, future);
    return copy;
}

static void
a_breaker_opens_probes_and_closes(void **state)
{
    struct fixture *f = *state;
    hark_ref b = reached(
        f, hark_breaker(f->w->there, &(hark_breaker_options){.name = "till",
                                                             .target = f->server,
                                                             .window = 4,
                                                             .failures = 2,
                                                             .open_ms = 50}));

    end_well(f, hark_ask_through(f->me, b, work, .n = 1), &done_type);
    // A refusal is an answer.
    end_badly(f, hark_ask_through(f->me, b, work, .n = -HARK_EUSER), HARK_EUSER, "");
    assert_int_equal(breaker_stand(f, b).failures, 0);
    end_badly(f, hark_ask_through(f->me, b, work, .n = -HARK_ENOMEM), HARK_ENOMEM, "");
    end_badly(f, hark_ask_through(f->me, b, work, .n = -HARK_ENOMEM), HARK_ENOMEM, "");
    hark_breaker_state s = breaker_stand(f, b);
    while (s.mode == HARK_BREAKER_CLOSED) {
        s = breaker_stand(f, b);
    }
    assert_int_equal(s.mode, HARK_BREAKER_OPEN);
    int before = started;
    hark_future refused = hark_ask_through(f->me, b, work, .n = 1);
    if (hark_await(f->me, refused, done) == NULL) { // unless 50 ms were over
        world_assert_error(
            f->w, HARK_ELIMIT,
            "breaker \"till\" is open after 2 failures; it tries again in ");
        assert_int_equal(started, before);
        hark_future_drop(f->me, refused);
        // The probe fails: it opens again.
        while (breaker_stand(f, b).retry_ms > 0) {
        }
        end_badly(f, hark_ask_through(f->me, b, work, .n = -HARK_ENOMEM), HARK_ENOMEM,
                  "");
        while (breaker_stand(f, b).mode != HARK_BREAKER_OPEN) {
        }
        while (breaker_stand(f, b).retry_ms > 0) {
        }
        // A probe that is dropped is none; the next one is, and others wait for it.
        before = started;
        hark_future probe = hark_ask_through(f->me, b, work, .n = 0);
        while (started == before) {
            hark_message_free(f->me, hark_receive(f->me, 1));
        }
        assert_int_equal(breaker_stand(f, b).mode, HARK_BREAKER_HALF_OPEN);
        end_badly(f, hark_ask_through(f->me, b, work, .n = 1), HARK_ELIMIT,
                  "half open");
        hark_future_drop(f->me, probe);
        for (bool done_well = false; !done_well;) {
            probe = hark_ask_through(f->me, b, work, .n = 1);
            done_well = hark_await(f->me, probe, done) != NULL;
            hark_future_drop(f->me, probe);
        }
    }
    while (breaker_stand(f, b).mode != HARK_BREAKER_CLOSED) {
    }
    end_well(f, send(f, hark_spawn(f->me, user), b, THROUGH), &done_type);
}

// ---- rate ----

static void
tokens_come_at_their_rate(void **state)
{
    enum { BURST = 5, MORE = 10, PER_SECOND = 100 };
    struct fixture *f = *state;
    hark_ref r =
        reached(f, hark_rate(f->w->there, &(hark_rate_options){.name = "api",
                                                               .per_second = PER_SECOND,
                                                               .burst = BURST}));
    int64_t begin_ns = hark_now_ns(f->me);

    for (int i = 0; i < BURST + MORE; i++) {
        end_well(f, hark_rate_wait(f->me, r, 1), &hark_unit_type);
    }
    assert_true(hark_now_ns(f->me) - begin_ns
                >= INT64_C(1000000000) / PER_SECOND * MORE - 1000000);
    end_badly(f, hark_rate_wait(f->me, r, BURST + 1), HARK_EINVAL,
              "rate \"api\" holds 5 tokens: 6 cannot be had");
    hark_future a = hark_rate_wait(f->me, r, BURST);
    end_badly(f, hark_rate_try(f->me, r, 1), HARK_ELIMIT, "rate \"api\": not yet");
    hark_future b = hark_rate_wait(f->me, r, 1);
    hark_future_drop(f->me, a); // the next one need not wait for its tokens
    end_well(f, b, &hark_unit_type);
    end_well(f, send(f, hark_spawn(f->me, user), r, TOKEN), &done_type);
}

static void
waiting_ends_when_its_own_time_is_over(void **state)
{
    struct fixture *f = *state;
    hark_ref r =
        reached(f, hark_rate(f->w->there, &(hark_rate_options){.name = "slow",
                                                               .per_second = 0.001}));
    hark_ref s = semaphore(f, 1);
    hark_permit held = take(f, hark_acquire(f->me, s, 1));

    end_well(f, hark_rate_wait(f->me, r, 1), &hark_unit_type);
    end_badly(f, hark_rate_wait_within(f->me, 1, r, 1), HARK_ETIMEOUT, "");
    end_badly(f, hark_with_permit_within(f->me, 1, s, 1, work_once, &f->server),
              HARK_ETIMEOUT, "");
    assert_int_equal(hark_release(f->me, &held), HARK_OK);
    until_stand(f, s, 0, 0);
}

// ---- latch ----

static void
a_latch_opens_for_all_and_stays_open(void **state)
{
    struct fixture *f = *state;
    hark_ref l = reached(
        f, hark_latch(f->w->there, &(hark_latch_options){.name = "ready", .count = 3}));
    hark_future mine = hark_latch_wait(f->me, l);
    hark_future gone = hark_latch_wait(f->me, l);
    hark_future theirs = send(f, hark_spawn(f->me, user), l, WAIT);

    end_badly(f, hark_latch_wait_within(f->me, 1, l), HARK_ETIMEOUT, "");
    hark_future_drop(f->me, gone);
    end_badly(f, hark_count_down(f->me, l, 4), HARK_EINVAL,
              "latch \"ready\" is at 3: it cannot be counted down by 4");
    end_badly(f, hark_count_down(f->me, l, 0), HARK_EINVAL, "by 0");
    end_well(f, hark_count_down(f->me, l, 2), &hark_latch_left_type);
    assert_false(hark_future_done(f->me, mine));
    end_well(f, hark_count_down(f->me, l, 1), &hark_latch_left_type);
    end_well(f, mine, &hark_unit_type);
    end_well(f, theirs, &done_type);
    end_well(f, hark_latch_wait(f->me, l), &hark_unit_type);
    end_badly(f, hark_count_down(f->me, l, 1), HARK_EINVAL, "is at 0");
}

// ---- barrier ----

static void
a_barrier_lets_go_when_all_are_there(void **state)
{
    struct fixture *f = *state;
    hark_ref b =
        reached(f, hark_barrier(f->w->there, &(hark_barrier_options){.name = "start",
                                                                     .parties = 3}));

    for (uint64_t generation = 0; generation < 3; generation++) {
        hark_future gone = hark_barrier_wait(f->me, b);
        hark_future mine = hark_barrier_wait(f->me, b);

        hark_future_drop(f->me, gone); // it leaves
        end_badly(f, hark_barrier_wait_within(f->me, 1, b), HARK_ETIMEOUT, "");
        hark_future first = send(f, hark_spawn(f->me, user), b, ARRIVE);
        hark_future second = send(f, hark_spawn(f->me, user), b, ARRIVE);
        const hark_arrived *arrived = hark_await(f->me, mine, hark_arrived);
        assert_non_null(arrived);
        assert_int_equal(arrived->generation, generation);
        hark_future_drop(f->me, mine);
        end_well(f, first, &done_type);
        end_well(f, second, &done_type);
    }
}

// ---- single flight ----

static hark_future
start_work(hark_ctx *ctx, hark_str key, void *arg)
{
    const struct fixture *f = arg;

    if (key.len == 0) {
        return (hark_future){0, 0};
    }
    return hark_ask_within(ctx, HARK_FOREVER, f->server, work,
                           .n = key.ptr[0] == 'f' ? -HARK_EUSER : 0);
}

static hark_ref
new_flights(struct fixture *f)
{
    return hark_flights(f->me, &(hark_flights_options){.name = "pages",
                                                       .start = start_work,
                                                       .arg = f,
                                                       .reply = &done_type});
}

static void
one_flight_serves_all_who_join_it(void **state)
{
    enum { JOINS = 6 };
    struct fixture *f = *state;
    hark_ref fl = new_flights(f);
    hark_future joins[JOINS];

    for (int i = 0; i < JOINS; i++) {
        joins[i] = hark_flight(f->me, fl, HARK_STR("a"));
    }
    hark_future other = hark_flight(f->me, fl, HARK_STR("b"));
    hark_future_drop(f->me, joins[0]);
    assert_int_equal(hark_cancel(f->me, joins[1]), HARK_OK);
    end_badly(f, joins[1], HARK_ECANCELLED, "");
    while (started < 2) {
        hark_message_free(f->me, hark_receive(f->me, 1));
    }
    end_well(f, hark_ask(f->me, f->server, open_all), &done_type);
    for (int i = 2; i < JOINS; i++) {
        end_well(f, joins[i], &done_type);
    }
    end_well(f, other, &done_type);
    assert_int_equal(started, 2);
    end_badly(f, hark_flight(f->me, fl, HARK_STR("fail")), HARK_EUSER,
              "refused as asked");
    end_badly(f, hark_flight(f->me, fl, HARK_STR("")), HARK_EINVAL,
              "flights \"pages\": no work was started");
}

static void
the_last_who_leaves_calls_the_flight_off(void **state)
{
    struct fixture *f = *state;
    hark_ref fl = new_flights(f);
    hark_future a = hark_flight(f->me, fl, HARK_STR("a"));
    hark_future b = hark_flight(f->me, fl, HARK_STR("a"));

    while (started < 1) {
        hark_message_free(f->me, hark_receive(f->me, 1));
    }
    hark_future_drop(f->me, a);
    end_badly(f, hark_flight_within(f->me, 1, fl, HARK_STR("a")), HARK_ETIMEOUT, "");
    assert_int_equal(started, 1);
    hark_future_drop(f->me, b);
    for (int64_t gone = 0; gone == 0;) {
        hark_future g = hark_ask(f->me, f->server, let_go);
        const done *d = hark_await(f->me, g, done);
        assert_non_null(d);
        gone = d->n;
        hark_future_drop(f->me, g);
    }
    // The next one begins anew.
    a = hark_flight(f->me, fl, HARK_STR("a"));
    while (started < 2) {
        hark_message_free(f->me, hark_receive(f->me, 1));
    }
    hark_future_drop(f->me, a);
}

// ---- all ----

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    static const struct {
        enum reach reach;
        const char *name;
    } worlds[] = {{REACH_LOCAL, "control, local"},
                  {REACH_MEMORY, "control, over mem"},
                  {REACH_TCP, "control, over tcp"}};
    const struct CMUnitTest tests[] = {
        TEST(permits_are_given_in_order_of_asking),
        TEST(who_wants_many_permits_is_not_passed),
        TEST(one_that_is_cancelled_in_line_is_skipped),
        TEST(one_that_wanted_many_lets_those_behind_it_in_when_it_goes),
        TEST(a_permit_that_nobody_looked_at_goes_back),
        TEST(no_permit_is_lost_when_grants_cross_cancels),
        TEST(no_permit_is_lost_by_actors_that_change_their_minds),
        TEST(a_try_does_not_wait),
        TEST(a_full_line_refuses),
        TEST(misuse_of_permits_is_told),
        TEST(objects_that_cannot_be_are_refused),
        TEST(a_holder_that_ends_gives_back),
        TEST(a_node_that_is_lost_gives_back),
        TEST(a_semaphore_that_ends_says_so),
        TEST(writers_exclude_all_and_are_not_starved),
        TEST(actors_share_a_mutex),
        TEST(a_job_has_its_permit_as_long_as_it_runs),
        TEST(a_limit_lets_so_many_through),
        TEST(an_ask_through_a_limit_that_is_dropped_makes_room),
        TEST(a_breaker_opens_probes_and_closes),
        TEST(tokens_come_at_their_rate),
        TEST(waiting_ends_when_its_own_time_is_over),
        TEST(a_latch_opens_for_all_and_stays_open),
        TEST(a_barrier_lets_go_when_all_are_there),
        TEST(one_flight_serves_all_who_join_it),
        TEST(the_last_who_leaves_calls_the_flight_off),
    };
    int failed = 0;

    for (size_t i = 0; i < sizeof worlds / sizeof worlds[0]; i++) {
        reach = worlds[i].reach;
        failed += cmocka_run_group_tests_name(worlds[i].name, tests, NULL, NULL);
    }
    return failed;
}
