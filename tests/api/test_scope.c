// Scopes: what is begun in one has ended when it is left, whichever way that happens.
// The same scenes are played by an attached thread and by an actor, with those whom
// they ask on this node and behind each kind of link.

#include <sched.h>
#include <stdatomic.h>

#include "api/world.h"

HARK_MESSAGE(get, (i64, n))
HARK_MESSAGE(got, (i64, n))
HARK_MESSAGE(linger)
HARK_MESSAGE(hold)
HARK_MESSAGE(count_dead)
HARK_MESSAGE(play, (i32, scene), (ref, whom))
HARK_MESSAGE(played, (i32, code))
HARK_MESSAGE(wait_there, (i32, how), (ref, whom))
HARK_MESSAGE(note, (i64, n))

enum { MANY = 1000, REFUSED = HARK_EUSER + 7, SHORT_MS = 20 };

static _Atomic(int) lingering;  // handlers of `linger` that wait
static _Atomic(int) heard;      // and have heard that nobody waits for them
static _Atomic(int) held_count; // asks that are deferred

// ---- who is asked ----

typedef struct {
    hark_promise held[MANY];
    int64_t count;
} server;

HARK_ON(server, get) {
    if (msg->n < 0) {
        hark_refuse(ctx, REFUSED, "no %d", (int)msg->n);
    } else {
        hark_reply(ctx, got, .n = msg->n);
    }
}
// Waits for what never comes, but for a cancel.
HARK_ON(server, linger) {
    hark_future never = hark_future_new(ctx);

    atomic_fetch_add(&lingering, 1);
    if (hark_await(ctx, never, got) == NULL
        && hark_error_of(ctx)->code == HARK_ECANCELLED) {
        atomic_fetch_add(&heard, 1);
    }
}
HARK_ON(server, hold) {
    self->held[self->count++] = hark_defer(ctx);
    atomic_fetch_add(&held_count, 1);
}
HARK_ON(server, count_dead) {
    int64_t dead = 0;

    for (int64_t i = 0; i < self->count; i++) {
        dead += hark_promise_cancelled(ctx, self->held[i]);
    }
    hark_reply(ctx, got, .n = dead);
}
HARK_ACTOR_WITH(server, (interleave), get, linger, hold, count_dead)

// ---- a log of what was cleaned up, in which order ----

static char journal[64];
static _Atomic(int) entries;

static void
write_down(const char *what)
{
    journal[atomic_load(&entries)] = *what;
    atomic_fetch_add(&entries, 1); // seq_cst: who sees the count sees the letters
}

static void
clean(hark_ctx *ctx, void *arg)
{
    (void)ctx;
    write_down(arg);
}

static void
assert_journal(const char *expected)
{
    world_until(&entries, (int)strlen(expected));
    journal[atomic_load(&entries)] = '\0';
    assert_string_equal(journal, expected);
    atomic_store(&entries, 0);
}

typedef struct {
    const char *name;
} child;

HARK_ON(child, get) {
    hark_reply(ctx, got, .n = msg->n + 1);
}
HARK_HOOK(child, stop) {
    write_down(self->name);
}
HARK_ACTOR_WITH(child, (stop), get)

// ---- scenes ----

static hark_scope
open_scope(hark_ctx *ctx, const hark_scope_options *options)
{
    hark_scope scope = hark_scope_open(ctx, options);

    assert_int_not_equal(scope.id, 0);
    return scope;
}

static void
assert_error(hark_ctx *ctx, int code, const char *text)
{
    const hark_error *error = hark_error_of(ctx);

    if (error->code != code || strstr(error->text, text) == NULL) {
        fail_msg("expected %s with \"%s\", got %s: %s", hark_err_name(code), text,
                 hark_err_name(error->code), error->text);
    }
}

static int
code_of(hark_ctx *ctx, hark_future future)
{
    const hark_error *error = hark_future_error(ctx, future);

    return error != NULL ? error->code : HARK_OK;
}

static void
join_gives_every_reply(hark_ctx *ctx, hark_ref whom)
{
    hark_scope s = open_scope(ctx, NULL);
    hark_future f[4];

    f[0] = hark_scope_ask(ctx, s, whom, get, .n = 1);
    f[1] = hark_scope_add(ctx, s, hark_ask(ctx, whom, get, .n = 2));
    f[2] = hark_scope_add(ctx, s, hark_future_of(ctx, got, .n = 3));
    hark_future pair[] = {hark_ask(ctx, whom, get, .n = 4),
                          hark_ask(ctx, whom, get, .n = 5)};
    f[3] = hark_scope_add(ctx, s, hark_all(ctx, pair, 2));
    assert_int_equal(hark_scope_join(ctx, s), HARK_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(hark_future_get(ctx, f[i], got)->n, i + 1);
    }
    assert_int_equal(hark_future_get(ctx, f[3], hark_all_done)->count, 2);
    assert_int_equal(hark_future_get(ctx, pair[1], got)->n, 5);
    assert_int_equal(hark_scope_failures(ctx, s), 0);
    assert_int_equal(hark_scope_join(ctx, s), HARK_ESTALE);
    assert_error(ctx, HARK_ESTALE, "joined before");
    assert_int_equal(hark_scope_close(ctx, s), HARK_OK);
    assert_null(hark_future_get(ctx, f[0], got));
    assert_int_equal(hark_scope_close(ctx, s), HARK_ESTALE);
    assert_error(ctx, HARK_ESTALE, "was closed");
}

static void
first_failure_cancels_the_others(hark_ctx *ctx, hark_ref whom)
{
    hark_scope s = open_scope(ctx, NULL);
    int before = atomic_load(&heard);
    hark_future slow = hark_scope_ask(ctx, s, whom, linger);
    hark_future own = hark_scope_add(ctx, s, hark_future_new(ctx));

    world_until(&lingering, 1);
    hark_future bad = hark_scope_ask(ctx, s, whom, get, .n = -1);
    assert_int_equal(hark_scope_join(ctx, s), REFUSED);
    assert_error(ctx, REFUSED, "no -1");
    assert_int_equal(code_of(ctx, slow), HARK_ECANCELLED);
    assert_int_equal(code_of(ctx, own), HARK_ECANCELLED);
    assert_int_equal(code_of(ctx, bad), REFUSED);
    assert_int_equal(hark_scope_failures(ctx, s), 1);
    world_until(&heard, before + 1);
    assert_int_equal(hark_scope_close(ctx, s), HARK_OK);
}

static void
collect_waits_for_all_and_counts(hark_ctx *ctx, hark_ref whom)
{
    hark_scope s = open_scope(ctx, &(hark_scope_options){.policy = HARK_SCOPE_COLLECT});
    hark_future failed =
        hark_scope_add(ctx, s, hark_future_failed(ctx, HARK_EUSER, "first"));

    (void)hark_scope_ask(ctx, s, whom, get, .n = -2);
    hark_future good = hark_scope_ask(ctx, s, whom, get, .n = 3);
    assert_int_equal(hark_scope_join(ctx, s), HARK_EUSER);
    assert_error(ctx, HARK_EUSER, "2 of 3 failed, the first: first");
    assert_int_equal(code_of(ctx, failed), HARK_EUSER);
    assert_int_equal(hark_future_get(ctx, good, got)->n, 3);
    assert_int_equal(hark_scope_failures(ctx, s), 2);
}

static void
own_wait_ends_when_a_sibling_fails(hark_ctx *ctx, hark_ref whom)
{
    hark_scope s = open_scope(ctx, NULL);
    hark_future never = hark_future_new(ctx);

    (void)hark_scope_ask(ctx, s, whom, get, .n = -1);
    assert_null(hark_await(ctx, never, got));
    assert_error(ctx, HARK_ECANCELLED, "the scope was cancelled");
    assert_true(hark_cancelled(ctx));
    hark_future late = hark_scope_ask(ctx, s, whom, get, .n = 1);
    assert_null(hark_await(ctx, late, got));
    assert_error(ctx, HARK_ECANCELLED, "");
    assert_int_equal(hark_scope_join(ctx, s), REFUSED);
    assert_false(hark_cancelled(ctx));
    const got *g = hark_await(ctx, hark_ask(ctx, whom, get, .n = 4), got);
    assert_non_null(g); // outside, all goes on
    assert_int_equal(g->n, 4);
    hark_future_drop(ctx, never);
}

static void
members_may_be_awaited(hark_ctx *ctx, hark_ref whom)
{
    hark_scope s = open_scope(ctx, &(hark_scope_options){.policy = HARK_SCOPE_COLLECT});
    hark_future a = hark_scope_ask(ctx, s, whom, get, .n = 1);
    hark_future b = hark_scope_ask(ctx, s, whom, get, .n = -1);
    hark_future c = hark_scope_ask(ctx, s, whom, get, .n = 3);
    const got *g = hark_await(ctx, a, got);

    assert_non_null(g);
    assert_int_equal(g->n, 1);
    assert_null(hark_await(ctx, b, got));
    assert_error(ctx, REFUSED, "no -1");
    assert_int_equal(hark_scope_failures(ctx, s), 1);
    hark_future_drop(ctx, c); // it leaves the scope
    assert_int_equal(hark_scope_join(ctx, s), REFUSED);
    assert_int_equal(hark_future_get(ctx, a, got)->n, 1);
}

static void
deadline_ends_all(hark_ctx *ctx, hark_ref whom)
{
    hark_scope s = open_scope(ctx, &(hark_scope_options){.timeout_ms = SHORT_MS});
    hark_scope inner = open_scope(ctx, NULL);

    assert_true(hark_remaining_ms(ctx) <= SHORT_MS);
    hark_future slow =
        hark_scope_add(ctx, s, hark_ask_within(ctx, HARK_FOREVER, whom, linger));
    hark_future own = hark_scope_add(ctx, inner, hark_future_new(ctx));
    assert_int_not_equal(hark_scope_join(ctx, inner), HARK_OK);
    assert_int_not_equal(code_of(ctx, own), HARK_OK);
    assert_int_equal(hark_scope_join(ctx, s), HARK_ETIMEOUT);
    assert_int_not_equal(code_of(ctx, slow), HARK_OK);
}

// What Java's get(timeout) and asyncio's wait(timeout=...) are: the future goes on.
static void
wait_within_a_time_leaves_the_future(hark_ctx *ctx, hark_ref whom)
{
    hark_future own = hark_future_new(ctx);
    hark_future held = hark_ask(ctx, whom, hold);
    hark_scope s = open_scope(ctx, &(hark_scope_options){.timeout_ms = SHORT_MS});

    assert_null(hark_await(ctx, own, got));
    assert_null(hark_await(ctx, held, got));
    assert_int_equal(hark_scope_join(ctx, s), HARK_ETIMEOUT);
    assert_false(hark_future_done(ctx, own));
    assert_false(hark_future_done(ctx, held));
    assert_int_equal(hark_future_complete(ctx, own, got, .n = 7), HARK_OK);
    const got *g = hark_await(ctx, own, got);
    assert_non_null(g);
    assert_int_equal(g->n, 7);
    hark_future_drop(ctx, own);
    hark_future_drop(ctx, held);
}

static void
scopes_nest(hark_ctx *ctx, hark_ref whom)
{
    hark_scope outer = open_scope(ctx, NULL);
    hark_future a = hark_scope_add(ctx, outer, hark_future_new(ctx));
    hark_scope inner = open_scope(ctx, NULL);
    hark_future held = hark_scope_ask(ctx, outer, whom, hold);
    hark_future in = hark_scope_add(ctx, inner, hark_future_new(ctx));

    (void)hark_scope_ask(ctx, inner, whom, get, .n = -1);
    assert_int_equal(hark_scope_join(ctx, inner), REFUSED);
    assert_int_equal(code_of(ctx, in), HARK_ECANCELLED);
    assert_false(hark_future_done(ctx, a));
    assert_false(hark_future_done(ctx, held)); // it belongs to the outer one
    inner = open_scope(ctx, NULL);
    in = hark_scope_add(ctx, inner, hark_future_new(ctx));
    assert_int_equal(hark_scope_cancel(ctx, outer), HARK_OK);
    assert_int_equal(code_of(ctx, in), HARK_ECANCELLED);
    assert_int_equal(hark_scope_join(ctx, inner), HARK_ECANCELLED);
    assert_error(ctx, HARK_ECANCELLED, "the scope was cancelled");
    inner = open_scope(ctx, NULL); // in vain from the start
    hark_future late = hark_scope_ask(ctx, inner, whom, get, .n = 1);
    assert_int_equal(code_of(ctx, late), HARK_ECANCELLED);
    assert_int_equal(hark_scope_join(ctx, outer), HARK_ECANCELLED); // leaves inner too
    assert_int_equal(hark_scope_join(ctx, inner), HARK_ESTALE);
    assert_int_equal(code_of(ctx, held), HARK_ECANCELLED);
}

static void
all_is_left_last_in_first_out(hark_ctx *ctx, hark_ref whom)
{
    hark_scope s = open_scope(ctx, NULL);

    (void)whom;
    assert_int_equal(hark_scope_defer(ctx, s, clean, "1"), HARK_OK);
    hark_ref actor = hark_scope_spawn(ctx, s, child, .name = "c");
    assert_false(hark_ref_is_null(actor));
    hark_timer timer = hark_scope_timer(ctx, s, HARK_SECONDS(3600), actor, note);
    assert_int_not_equal(timer.id, 0);
    assert_int_equal(hark_scope_defer(ctx, s, clean, "2"), HARK_OK);
    assert_int_equal(hark_scope_defer(ctx, s, clean, "3"), HARK_OK);
    hark_future f = hark_scope_ask(ctx, s, actor, get, .n = 1);
    assert_int_equal(hark_scope_join(ctx, s), HARK_OK);
    assert_int_equal(hark_future_get(ctx, f, got)->n, 2);
    assert_false(hark_is_alive(ctx, actor)); // its end was waited for
    assert_false(hark_timer_cancel(ctx, timer));
    assert_journal("32c1");
    assert_int_equal(hark_scope_defer(ctx, s, clean, "4"), HARK_ESTALE);
}

static void
children_that_have_ended_are_not_waited_for(hark_ctx *ctx, hark_ref whom)
{
    hark_scope s = open_scope(ctx, NULL);

    (void)whom;
    hark_ref a = hark_scope_spawn(ctx, s, child, .name = "a");
    hark_ref b = hark_scope_spawn(ctx, s, child, .name = "b");
    assert_int_equal(hark_actor_stop(ctx, a), HARK_OK);
    world_until(&entries, 1);
    assert_int_equal(hark_scope_close(ctx, s), HARK_OK);
    assert_false(hark_is_alive(ctx, a) || hark_is_alive(ctx, b));
    assert_journal("ab");
}

static void
misuse_is_told(hark_ctx *ctx, hark_ref whom)
{
    hark_scope s = open_scope(ctx, NULL);
    hark_scope foreign = {s.owner + 1, s.id};
    hark_scope none = {0, 0};

    assert_int_equal(hark_scope_join(ctx, none), HARK_ESTALE);
    assert_int_equal(hark_scope_close(ctx, foreign), HARK_ESTALE);
    assert_error(ctx, HARK_ESTALE, "not of this handler");
    assert_int_equal(hark_scope_cancel(ctx, foreign), HARK_ESTALE);
    assert_int_equal(hark_scope_defer(ctx, none, clean, "x"), HARK_ESTALE);
    assert_int_equal(hark_scope_defer(ctx, s, NULL, NULL), HARK_EINVAL);
    assert_int_equal(hark_defer_cleanup(ctx, NULL, NULL), HARK_EINVAL);
    assert_int_equal(hark_scope_timer(ctx, none, 1, whom, note).id, 0);
    assert_true(hark_ref_is_null(hark_scope_spawn(ctx, none, child)));
    assert_int_equal(hark_scope_failures(ctx, none), 0);
    assert_int_equal(hark_scope_ask(ctx, none, whom, get).id, 0);
    hark_future lost = hark_future_new(ctx);
    assert_int_equal(hark_scope_add(ctx, none, lost).id, 0);
    assert_true(hark_future_done(ctx, lost)); // taken also on error
    assert_int_equal(hark_scope_open(NULL, NULL).id, 0);
    assert_int_equal(
        hark_scope_open(ctx, &(hark_scope_options){.policy = (hark_scope_policy)2}).id,
        0);
    assert_error(ctx, HARK_EINVAL, "policy");
    hark_future other = {s.owner + 1, 5};
    assert_int_equal(hark_scope_add(ctx, s, other).id, 0);
    assert_int_equal(hark_scope_join(ctx, s), HARK_ESTALE); // the one check
    s = open_scope(ctx, NULL);
    hark_future twice = hark_scope_ask(ctx, s, whom, get, .n = 1);
    assert_int_equal(hark_scope_add(ctx, s, twice).id, 0);
    assert_int_equal(hark_scope_join(ctx, s), HARK_ESTALE);
}

HARK_JOB(try_scopes)
{
    (void)index;
    assert_int_equal(hark_scope_open(ctx, NULL).id, 0);
    assert_error(ctx, HARK_ENOTSUP, "hark_scope_open");
    assert_int_equal(hark_scope_join(ctx, *(hark_scope *)arg), HARK_ENOTSUP);
    assert_int_equal(hark_scope_close(ctx, *(hark_scope *)arg), HARK_ENOTSUP);
    assert_int_equal(hark_defer_cleanup(ctx, clean, "x"), HARK_ENOTSUP);
    hark_result(ctx, got);
}

static void
callbacks_have_no_scopes(hark_ctx *ctx, hark_ref whom)
{
    hark_scope s = open_scope(ctx, NULL);

    (void)whom;
    (void)hark_scope_add(ctx, s, hark_retry(ctx, try_scopes, &s, NULL));
    assert_int_equal(hark_scope_join(ctx, s), HARK_OK);
}

static void
leave_by_a_shield(hark_ctx *ctx, hark_ref whom)
{
    assert_int_equal(hark_shield(ctx, HARK_FOREVER), HARK_OK);
    hark_scope s = open_scope(ctx, NULL);
    hark_future f = hark_scope_ask(ctx, s, whom, hold);
    assert_int_equal(hark_scope_defer(ctx, s, clean, "s"), HARK_OK);
    hark_shield_end(ctx);
    assert_journal("s");
    assert_int_equal(code_of(ctx, f), HARK_ECANCELLED);
    assert_int_equal(hark_scope_join(ctx, s), HARK_ESTALE);
    s = open_scope(ctx, NULL);
    assert_int_equal(hark_shield(ctx, HARK_FOREVER), HARK_OK); // and left up
    assert_int_equal(hark_scope_close(ctx, s), HARK_OK);
    hark_shield_end(ctx);
}

static void
busy_cleanup(hark_ctx *ctx, void *arg)
{
    hark_ref whom = *(hark_ref *)arg;
    hark_scope left_open = open_scope(ctx, NULL);
    const got *g = hark_await(ctx, hark_ask(ctx, whom, get, .n = 9), got);

    assert_int_equal(hark_scope_defer(ctx, left_open, clean, "i"), HARK_OK);
    write_down(g != NULL && g->n == 9 ? "9" : "?");
}

static void
cleanup_of_a_cancelled_scope_may_wait(hark_ctx *ctx, hark_ref whom)
{
    hark_scope s = open_scope(ctx, NULL);

    assert_int_equal(hark_scope_defer(ctx, s, busy_cleanup, &whom), HARK_OK);
    assert_int_equal(hark_scope_cancel(ctx, s), HARK_OK);
    assert_int_equal(hark_scope_join(ctx, s), HARK_ECANCELLED);
    assert_journal("9i");
}

typedef void scene(hark_ctx *ctx, hark_ref whom);

static scene *const scenes[] = {
    join_gives_every_reply,
    first_failure_cancels_the_others,
    collect_waits_for_all_and_counts,
    own_wait_ends_when_a_sibling_fails,
    members_may_be_awaited,
    deadline_ends_all,
    wait_within_a_time_leaves_the_future,
    scopes_nest,
    all_is_left_last_in_first_out,
    children_that_have_ended_are_not_waited_for,
    misuse_is_told,
    callbacks_have_no_scopes,
    leave_by_a_shield,
    cleanup_of_a_cancelled_scope_may_wait,
};

enum { SCENES = sizeof scenes / sizeof scenes[0] };

// ---- who plays ----

typedef struct {
    hark_future kept[MANY];
    hark_ref whom;
} player;

static _Atomic(int) waits_begun;
static _Atomic(int) last_code;

enum {
    LEAVE_OPEN,    // a scope, by returning
    LEAVE_REFUSED, // the same, and the ask is refused
    JOIN,          // until somebody ends the wait
    EXIT,
    KEEP_MANY, // MANY futures, and returns
    SCOPE_MANY,
    IGNORE, // a future
    DETACH, // a future
    DETACH_IN_SCOPE,
};

static void
ask_many(hark_ctx *ctx, player *self, hark_ref whom, bool in_scope)
{
    hark_scope s = in_scope ? open_scope(ctx, NULL) : (hark_scope){0, 0};

    for (int i = 0; i < MANY; i++) {
        self->kept[i] = hark_ask_within(ctx, HARK_FOREVER, whom, hold);
        if (in_scope) {
            (void)hark_scope_add(ctx, s, self->kept[i]);
        } else {
            assert_int_equal(hark_future_keep(ctx, self->kept[i]), HARK_OK);
        }
    }
    atomic_fetch_add(&waits_begun, 1);
    if (in_scope) {
        atomic_store(&last_code, hark_scope_join(ctx, s));
    }
}

static void
wait_in_scope(hark_ctx *ctx, hark_ref *whom, int how) // whom outlives the handler
{
    hark_scope s;

    assert_int_equal(hark_defer_cleanup(ctx, clean, "1"), HARK_OK);
    assert_int_equal(hark_defer_cleanup(ctx, busy_cleanup, whom), HARK_OK);
    s = open_scope(ctx, NULL);
    assert_int_equal(hark_scope_defer(ctx, s, clean, "s"), HARK_OK);
    (void)hark_scope_spawn(ctx, s, child, .name = "c");
    (void)hark_scope_add(ctx, s, hark_ask_within(ctx, HARK_FOREVER, *whom, linger));
    atomic_fetch_add(&waits_begun, 1);
    if (how == JOIN) {
        atomic_store(&last_code, hark_scope_join(ctx, s));
    } else if (how == LEAVE_REFUSED) {
        hark_refuse(ctx, REFUSED, "not today");
    } else if (how == EXIT) {
        hark_exit(ctx);
    }
}

HARK_ON(player, wait_there) {
    hark_ref whom = msg->whom;

    switch (msg->how) {
    case KEEP_MANY:
    case SCOPE_MANY:
        ask_many(ctx, self, whom, msg->how == SCOPE_MANY);
        return;
    case IGNORE:
        (void)!hark_ask_within(ctx, HARK_FOREVER, whom, linger).id;
        hark_reply(ctx, played);
        return;
    case DETACH:
    case DETACH_IN_SCOPE:
        if (msg->how == DETACH_IN_SCOPE) {
            (void)open_scope(ctx, NULL);
        }
        assert_int_equal(hark_future_detach(ctx, hark_ask(ctx, whom, get, .n = -1)),
                         HARK_OK);
        hark_reply(ctx, played);
        return;
    default:
        self->whom = whom;
        wait_in_scope(ctx, &self->whom, msg->how);
    }
}
HARK_ON(player, play) {
    scenes[msg->scene](ctx, msg->whom);
    hark_reply(ctx, played);
}
HARK_ACTOR(player, play, wait_there)

static void
reset(void)
{
    atomic_store(&lingering, 0);
    atomic_store(&heard, 0);
    atomic_store(&held_count, 0);
    atomic_store(&entries, 0);
    atomic_store(&waits_begun, 0);
    atomic_store(&last_code, -1);
}

static void
play_all(enum reach reach)
{
    struct world *w = world_open(reach, NULL);
    hark_ref whom = world_reach(w, "server", hark_spawn(w->there, server));
    hark_ref actor = hark_spawn(w->here, player);

    for (int i = 0; i < SCENES; i++) {
        reset();
        scenes[i](w->here, whom);
        reset();
        hark_future f = hark_ask_within(w->here, HARK_SECONDS(60), actor, play,
                                        .scene = i, .whom = whom);
        if (hark_await(w->here, f, played) == NULL) {
            fail_msg("scene %d: %s", i, world_error(w));
        }
    }
    world_close(w);
}

static void
scenes_on_one_node(void **state)
{
    (void)state;
    play_all(REACH_LOCAL);
}

static void
scenes_over_a_link_in_memory(void **state)
{
    (void)state;
    play_all(REACH_MEMORY);
}

static void
scenes_over_tcp(void **state)
{
    (void)state;
    play_all(REACH_TCP);
}

// ---- the ways in which a handler ends ----

struct pair {
    struct world *w;
    hark_ref whom, actor;
};

static struct pair
open_pair(enum reach reach)
{
    struct pair p = {.w = world_open(reach, NULL)};

    p.whom = world_reach(p.w, "server", hark_spawn(p.w->there, server));
    p.actor = hark_spawn(p.w->here, player);
    reset();
    return p;
}

static hark_future
begin(struct pair *p, int how)
{
    return hark_ask_within(p->w->here, HARK_SECONDS(60), p->actor, wait_there,
                           .how = how, .whom = p->whom);
}

static int
code_of_wait(struct pair *p, hark_future future)
{
    return hark_await(p->w->here, future, played) != NULL
               ? HARK_OK
               : hark_error_of(p->w->here)->code;
}

static const enum reach reaches[] = {REACH_LOCAL, REACH_MEMORY, REACH_TCP};

// The handler ends in that way, of itself, and the asker hears code.
static void
check_end(int how, int code)
{
    for (int i = 0; i < 3; i++) {
        struct pair p = open_pair(reaches[i]);

        assert_int_equal(code_of_wait(&p, begin(&p, how)), code);
        assert_journal("cs9i1");
        world_close(p.w);
        assert_int_equal(atomic_load(&entries), 0); // no second time
    }
}

static void
scope_left_by_return_is_closed(void **state)
{
    (void)state;
    check_end(LEAVE_OPEN, HARK_ENOREPLY);
}

static void
scope_left_by_failure_is_closed(void **state)
{
    (void)state;
    check_end(LEAVE_REFUSED, REFUSED);
}

static void
scope_left_by_exit_is_closed(void **state)
{
    (void)state;
    check_end(EXIT, HARK_ENOREPLY);
}

static void
asker_cancels_what_the_scope_waits_for(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct pair p = open_pair(reaches[i]);
        hark_future f = begin(&p, JOIN);

        world_until(&lingering, 1);
        assert_int_equal(hark_cancel(p.w->here, f), HARK_OK);
        assert_journal("cs9i1"); // and cleanups could wait
        world_until(&heard, 1);
        assert_int_equal(atomic_load(&last_code), HARK_ECANCELLED);
        world_close(p.w);
        assert_int_equal(atomic_load(&entries), 0);
    }
}

static void
stop_ends_what_the_scope_waits_for(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct pair p = open_pair(reaches[i]);
        hark_future f = begin(&p, JOIN);

        world_until(&lingering, 1);
        assert_int_equal(hark_actor_stop(p.w->here, p.actor), HARK_OK);
        (void)code_of_wait(&p, f);
        world_until(&entries, 5); // no wait works any more: the child ends when it does
        world_until(&heard, 1);
        assert_int_equal(atomic_load(&last_code), HARK_ESTOPPED);
        world_close(p.w);
        assert_int_equal(atomic_load(&entries), 5);
        assert_non_null(memchr(journal, '?', 5)); // its question was in vain
        assert_non_null(memchr(journal, 'c', 5));
        assert_non_null(memchr(journal, 's', 5));
        assert_non_null(memchr(journal, '1', 5));
    }
}

static void
until_dead(struct pair *p, int64_t count)
{
    const got *g;

    do {
        hark_future f = hark_ask(p->w->here, p->whom, count_dead);

        g = hark_await(p->w->here, f, got);
        assert_non_null(g);
        int64_t dead = g->n;
        hark_future_drop(p->w->here, f);
        if (dead == count) {
            return;
        }
    } while (true);
}

static void
owner_that_ends_with_a_thousand_futures_open_cancels_them(void **state)
{
    static const int hows[] = {KEEP_MANY, SCOPE_MANY};

    (void)state;
    for (int i = 0; i < 6; i++) {
        struct pair p = open_pair(reaches[i / 2]);

        hark_tell(p.w->here, p.actor, wait_there, .how = hows[i % 2], .whom = p.whom);
        world_until(&held_count, MANY);
        assert_int_equal(hark_actor_stop(p.w->here, p.actor), HARK_OK);
        until_dead(&p, MANY);
        world_close(p.w);
    }
}

static void
future_that_nobody_looked_at_is_cancelled_at_the_return(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct pair p = open_pair(reaches[i]);
        hark_stats stats;

        // One that has not begun is taken out of the mailbox.
        do {
            assert_int_equal(code_of_wait(&p, begin(&p, IGNORE)), HARK_OK);
            hark_stats_read(p.w->there_system, &stats);
        } while (atomic_load(&heard) == 0 && stats.cancelled == 0);
        hark_stats_read(p.w->here_system, &stats);
        assert_int_equal(stats.failures_unseen, 0);
        world_close(p.w);
    }
}

static void
detached_future_goes_on_and_its_failure_is_counted(void **state)
{
    static const int hows[] = {DETACH, DETACH_IN_SCOPE};

    (void)state;
    for (int i = 0; i < 6; i++) {
        struct pair p = open_pair(reaches[i / 2]);
        hark_stats stats;

        assert_int_equal(code_of_wait(&p, begin(&p, hows[i % 2])), HARK_OK);
        do {
            sched_yield();
            hark_stats_read(p.w->here_system, &stats);
        } while (stats.failures_unseen == 0);
        assert_int_equal(stats.dead_letters, 0);
        world_close(p.w);
    }
}

// ---- hooks and continuations ----

typedef struct {
    hark_ref whom;
} hooked;

static void
open_in_hook(hark_ctx *ctx, hooked *self, const char *letter)
{
    hark_scope s = open_scope(ctx, NULL);

    assert_int_equal(hark_defer_cleanup(ctx, clean, "d"), HARK_OK);
    assert_int_equal(hark_scope_defer(ctx, s, clean, (void *)(uintptr_t)letter),
                     HARK_OK);
    hark_future f = hark_scope_ask(ctx, s, self->whom, get, .n = 1);
    assert_non_null(hark_await(ctx, f, got));
}

HARK_HOOK(hooked, start) {
    open_in_hook(ctx, self, "b");
}
HARK_HOOK(hooked, stop) {
    open_in_hook(ctx, self, "e");
}
HARK_THEN(hooked, answered, got) {
    open_in_hook(ctx, self, "t");
}
HARK_ELSE(hooked, answered) {
    open_in_hook(ctx, self, "f");
}
HARK_CONTINUATION(hooked, answered, got)
HARK_ON(hooked, get) {
    hark_future f = hark_ask(ctx, self->whom, get, .n = msg->n);

    assert_int_equal(hark_then(ctx, f, hooked, answered, NULL), HARK_OK);
}
HARK_ACTOR_WITH(hooked, (start, stop), get)

static void
hooks_and_continuations_leave_what_they_open(void **state)
{
    struct pair p = open_pair(REACH_LOCAL);
    hark_ref actor = hark_spawn(p.w->here, hooked, .whom = p.whom);

    (void)state;
    assert_journal("bd");
    hark_tell(p.w->here, actor, get, .n = 1);
    assert_journal("td");
    hark_tell(p.w->here, actor, get, .n = -1);
    assert_journal("fd");
    assert_int_equal(hark_actor_stop(p.w->here, actor), HARK_OK);
    assert_journal("ed");
    world_close(p.w);
}

// ---- threads ----

static void
thread_that_detaches_leaves_all(void **state)
{
    struct pair p = open_pair(REACH_LOCAL);
    hark_ctx *ctx = hark_attach(p.w->here_system);

    (void)state;
    wait_in_scope(ctx, &p.whom, LEAVE_OPEN);
    world_until(&lingering, 1);
    hark_detach(ctx);
    assert_journal("cs9i1");
    world_until(&heard, 1);
    world_close(p.w);
}

typedef struct {
    int unused;
} nobody;

HARK_THEN(nobody, seen, got) {
    assert_int_equal(hark_defer_cleanup(ctx, clean, "k"), HARK_OK);
    hark_scope s = open_scope(ctx, NULL);
    assert_int_equal(hark_scope_defer(ctx, s, clean, "j"), HARK_OK);
    write_down("t");
}
HARK_ELSE(nobody, seen) {
    write_down("e");
}
HARK_CONTINUATION(nobody, seen, got)

static void
continuation_of_a_thread_leaves_its_own_and_no_others(void **state)
{
    struct pair p = open_pair(REACH_LOCAL);
    hark_ctx *ctx = p.w->here;

    (void)state;
    assert_int_equal(hark_shield(ctx, HARK_SECONDS(100)), HARK_OK);
    hark_scope s = open_scope(ctx, NULL);
    hark_future f = hark_ask(ctx, p.whom, get, .n = 1);
    assert_int_equal(hark_then(ctx, f, nobody, seen, NULL), HARK_OK);
    hark_future g = hark_scope_ask(ctx, s, p.whom, get, .n = 2);
    assert_non_null(hark_await(ctx, g, got));
    assert_journal("tjk");
    assert_true(hark_remaining_ms(ctx) <= HARK_SECONDS(100)); // the shield stands
    assert_int_equal(hark_scope_join(ctx, s), HARK_OK);
    hark_shield_end(ctx);
    assert_int_equal(hark_remaining_ms(ctx), HARK_FOREVER);
    world_close(p.w);
}

// A scope of one handler is nothing to another one.
static void
scope_of_somebody_else_is_stale(void **state)
{
    struct pair p = open_pair(REACH_LOCAL);
    hark_ctx *other = hark_attach(p.w->here_system);
    hark_scope s = open_scope(p.w->here, NULL);

    (void)state;
    assert_int_equal(hark_scope_join(other, s), HARK_ESTALE);
    hark_future f = hark_future_new(other);
    assert_int_equal(hark_scope_add(p.w->here, s, f).id, 0);
    assert_int_equal(hark_error_of(p.w->here)->code, HARK_ESTALE);
    assert_false(hark_future_done(other, f));
    assert_int_equal(hark_scope_join(p.w->here, s), HARK_ESTALE);
    hark_detach(other);
    world_close(p.w);
}

static void
no_scope_beyond_the_limit_of_futures(void **state)
{
    struct world *w = world_open(REACH_LOCAL, &(hark_options){.future_limit = 2});
    hark_ctx *ctx = w->here;
    hark_future f = hark_future_new(ctx);

    (void)state;
    assert_int_equal(hark_scope_open(ctx, &(hark_scope_options){.timeout_ms = 1000}).id,
                     0);
    world_assert_error(w, HARK_ELIMIT, "hark_scope_open");
    hark_scope s = open_scope(ctx, NULL);
    assert_int_equal(hark_scope_add(ctx, s, hark_future_new(ctx)).id, 0);
    assert_false(hark_future_done(ctx, f));
    assert_int_equal(hark_scope_join(ctx, s), HARK_ELIMIT);
    world_close(w);
}

#define TEST(name) cmocka_unit_test(name)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(scenes_on_one_node),
        TEST(scenes_over_a_link_in_memory),
        TEST(scenes_over_tcp),
        TEST(scope_left_by_return_is_closed),
        TEST(scope_left_by_failure_is_closed),
        TEST(scope_left_by_exit_is_closed),
        TEST(asker_cancels_what_the_scope_waits_for),
        TEST(stop_ends_what_the_scope_waits_for),
        TEST(owner_that_ends_with_a_thousand_futures_open_cancels_them),
        TEST(future_that_nobody_looked_at_is_cancelled_at_the_return),
        TEST(detached_future_goes_on_and_its_failure_is_counted),
        TEST(hooks_and_continuations_leave_what_they_open),
        TEST(thread_that_detaches_leaves_all),
        TEST(continuation_of_a_thread_leaves_its_own_and_no_others),
        TEST(scope_of_somebody_else_is_stale),
        TEST(no_scope_beyond_the_limit_of_futures),
    };

    return cmocka_run_group_tests_name("api/scope", tests, NULL, NULL);
}
