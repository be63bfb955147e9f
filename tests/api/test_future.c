// Futures inside actors: continuations, what outlives a turn, what ends with its owner.

#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "api/world.h"

HARK_MESSAGE(question, (i64, n))
HARK_MESSAGE(answer, (i64, n))
HARK_MESSAGE(stall)
HARK_MESSAGE(unstall)
HARK_MESSAGE(run, (ref, whom), (i32, what))
HARK_MESSAGE(ran, (i64, n), (i32, code), (str, text))

typedef struct {
    hark_promise held[16];
    size_t count;
} server;

HARK_ON(server, question) {
    if (msg->n < 0) {
        hark_refuse(ctx, HARK_EUSER, "negative: %d", (int)msg->n);
        return;
    }
    hark_reply(ctx, answer, .n = msg->n + 1);
}
HARK_ON(server, stall) {
    self->held[self->count++ % 16] = hark_defer(ctx);
}
HARK_ON(server, unstall) {
    while (self->count > 0) {
        hark_fulfil(ctx, self->held[--self->count], answer, .n = 1);
    }
    hark_reply(ctx, answer);
}
HARK_ACTOR(server, question, stall, unstall)

enum { THEN_TWICE, ORPHAN, KEPT, REPLY_TWICE, DEFER_TWICE, ALL, LEAVE };

typedef struct {
    hark_promise promise;
    hark_future kept;
    hark_future all[3];
} client;

static int dropped;

static void
count_drop(void *arg)
{
    (void)arg;
    dropped++;
}

HARK_THEN(client, done, answer) {
    hark_fulfil(ctx, self->promise, ran, .n = msg->n,
                .code = arg == &dropped ? 0 : HARK_EINVAL);
}
HARK_ELSE(client, done) {
    hark_fulfil(ctx, self->promise, ran, .code = error->code,
                .text = hark_str_of(error->text));
}

HARK_THEN(client, all, hark_all_done) {
    int64_t sum = 0;

    for (int i = 0; i < 3; i++) {
        const answer *a = hark_future_get(ctx, self->all[i], answer);
        assert_non_null(a);
        sum += a->n;
    }
    hark_fulfil(ctx, self->promise, ran, .n = sum, .code = (int32_t)msg->count);
}
HARK_ELSE(client, all) {
    hark_fulfil(ctx, self->promise, ran, .code = error->code,
                .text = hark_str_of(error->text));
}
HARK_CONTINUATION(client, all, hark_all_done)

HARK_CONTINUATION_WITH(client, done, answer, count_drop)

static void
ask_all(hark_ctx *ctx, client *self, hark_ref whom)
{
    for (int i = 0; i < 3; i++) {
        self->all[i] = hark_ask(ctx, whom, question, .n = i);
    }
    hark_future all = hark_all(ctx, self->all, 3);
    assert_int_equal(hark_then(ctx, self->all[0], client, done, NULL), HARK_ESTALE);
    assert_int_equal(hark_then(ctx, all, client, all, NULL), HARK_OK);
}

HARK_ON(client, run) {
    hark_future f;

    switch (msg->what) {
    case THEN_TWICE:
        f = hark_ask(ctx, msg->whom, question, .n = 4);
        self->promise = hark_defer(ctx);
        assert_int_equal(hark_then(ctx, f, client, done, &dropped), HARK_OK);
        assert_int_equal(hark_then(ctx, f, client, done, NULL), HARK_ESTALE);
        return;
    case ORPHAN: // nobody looks: it must not stay, and its failure is counted
        f = hark_ask(ctx, msg->whom, question, .n = -1);
        assert_int_equal(hark_future_detach(ctx, f), HARK_OK);
        assert_int_equal(hark_future_detach(ctx, f), HARK_ESTALE);
        hark_reply(ctx, ran, .n = (int64_t)f.id);
        return;
    case KEPT:
        if (self->kept.id == 0) {
            self->kept = hark_ask(ctx, msg->whom, question, .n = 7);
            assert_int_equal(hark_future_keep(ctx, self->kept), HARK_OK);
            hark_reply(ctx, ran);
        } else if (!hark_future_done(ctx, self->kept)) {
            hark_reply(ctx, ran);
        } else {
            const answer *a = hark_future_get(ctx, self->kept, answer);
            hark_reply(ctx, ran, .n = a != NULL ? a->n : -1);
            hark_future_drop(ctx, self->kept);
            assert_null(hark_future_get(ctx, self->kept, answer));
        }
        return;
    case REPLY_TWICE:
        assert_int_equal(hark_reply(ctx, ran, .n = 1), HARK_OK);
        assert_int_equal(hark_reply(ctx, ran, .n = 2), HARK_ENOASK);
        assert_int_equal(hark_refuse(ctx, HARK_EUSER, "late"), HARK_ENOASK);
        assert_int_equal(hark_defer(ctx).id, 0);
        return;
    case DEFER_TWICE:
        self->promise = hark_defer(ctx);
        assert_int_equal(hark_reply(ctx, ran), HARK_ENOASK);
        assert_int_equal(hark_fulfil(ctx, self->promise, ran, .n = 3), HARK_OK);
        assert_int_equal(hark_fulfil(ctx, self->promise, ran, .n = 4), HARK_ESTALE);
        assert_int_equal(hark_break(ctx, self->promise, HARK_EUSER, "no"), HARK_ESTALE);
        return;
    case ALL:
        self->promise = hark_defer(ctx);
        ask_all(ctx, self, msg->whom);
        return;
    case LEAVE: // with a future that is continued
        f = hark_ask(ctx, msg->whom, stall);
        assert_int_equal(hark_then(ctx, f, client, done, NULL), HARK_OK);
        hark_reply(ctx, ran);
        hark_exit(ctx);
        return;
    default:
        return;
    }
}
HARK_ACTOR(client, run)

// ---- an actor with much to do ----

HARK_MESSAGE(begin, (ref, whom), (u32, time_ms))
HARK_MESSAGE(wait_in_vain, (ref, whom))
HARK_MESSAGE(hog)
HARK_MESSAGE(note, (bool, again))

static _Atomic(int) hogging; // 1: the handler runs; 2: it may end

typedef struct {
    hark_promise promise;
    bool rests;
} busy;

HARK_THEN(busy, came, answer) {
    hark_fulfil(ctx, self->promise, ran, .n = msg->n);
}
HARK_ELSE(busy, came) {
    self->rests = true;
    hark_fulfil(ctx, self->promise, ran, .code = error->code);
}
HARK_CONTINUATION(busy, came, answer)

HARK_ON(busy, begin) {
    hark_future f = hark_ask_within(ctx, msg->time_ms, msg->whom, stall);

    self->promise = hark_defer(ctx);
    assert_int_equal(hark_then(ctx, f, busy, came, NULL), HARK_OK);
}
HARK_ON(busy, wait_in_vain) {
    const answer *a =
        hark_await(ctx, hark_ask_within(ctx, 20, msg->whom, stall), answer);

    hark_reply(ctx, ran, .code = a != NULL ? 0 : hark_error_of(ctx)->code);
}
HARK_ON(busy, hog) {
    atomic_store(&hogging, 1);
    while (atomic_load(&hogging) != 2) {
        sched_yield();
    }
}
HARK_ON(busy, note) {
    if (msg->again && !self->rests) {
        hark_tell(ctx, hark_self(ctx), note, .again = true);
    }
}
HARK_ACTOR(busy, begin, wait_in_vain, hog, note)

struct fixture {
    struct world *w;
    hark_ref server, client;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->w = world_open(REACH_LOCAL, NULL);
    f->server = hark_spawn(f->w->here, server);
    f->client = hark_spawn(f->w->here, client);
    dropped = 0;
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    world_close(f->w);
    free(f);
    return 0;
}

static ran
have_run(struct fixture *f, int what)
{
    hark_future future =
        hark_ask(f->w->here, f->client, run, .whom = f->server, .what = what);
    const ran *r = hark_await(f->w->here, future, ran);

    if (r == NULL) {
        fail_msg("%s", world_error(f->w));
    }
    return *r;
}

static void
future_is_continued_once_and_drops_each_argument(void **state)
{
    struct fixture *f = *state;
    ran r = have_run(f, THEN_TWICE);

    assert_int_equal(r.n, 5);
    assert_int_equal(r.code, 0);
    (void)have_run(f, REPLY_TWICE); // the turn of the continuation is over
    assert_int_equal(dropped, 2);
}

static void
failure_that_nobody_looked_at_is_counted(void **state)
{
    struct fixture *f = *state;
    hark_stats stats;

    (void)have_run(f, ORPHAN);
    do {
        (void)have_run(f, REPLY_TWICE);
        hark_stats_read(f->w->here_system, &stats);
    } while (stats.failures_unseen == 0);
    assert_int_equal(stats.failures_unseen, 1);
    assert_int_equal(stats.dead_letters, 0);
}

static void
kept_future_outlives_its_turn(void **state)
{
    struct fixture *f = *state;
    ran r;

    (void)have_run(f, KEPT);
    do {
        r = have_run(f, KEPT);
    } while (r.n == 0);
    assert_int_equal(r.n, 8);
}

static void
second_answer_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(have_run(f, REPLY_TWICE).n, 1);
    assert_int_equal(have_run(f, DEFER_TWICE).n, 3);
}

static void
all_in_an_actor_gives_each_reply(void **state)
{
    ran r = have_run(*state, ALL);

    assert_int_equal(r.n, 1 + 2 + 3);
    assert_int_equal(r.code, 3);
}

static void
continuation_of_an_actor_that_ended_is_only_dropped(void **state)
{
    struct fixture *f = *state;
    hark_stats stats;

    (void)have_run(f, LEAVE);
    hark_future g = hark_ask(f->w->here, f->server, unstall);
    assert_non_null(hark_await(f->w->here, g, answer));
    while (hark_is_alive(f->w->here, f->client)) {
        g = hark_ask(f->w->here, f->server, question);
        assert_non_null(hark_await(f->w->here, g, answer));
    }
    do { // dead, but perhaps not buried
        hark_stats_read(f->w->here_system, &stats);
    } while (stats.actors > 2);
    g = hark_ask(f->w->here, f->server, question);
    assert_non_null(hark_await(f->w->here, g, answer));
    assert_int_equal(dropped, 1);
}

static void
all_of_nothing_is_done_and_of_stale_ones_is_refused(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_future none = hark_all(me, NULL, 0);
    const hark_all_done *done = hark_await(me, none, hark_all_done);

    assert_non_null(done);
    assert_int_equal(done->count, 0);
    hark_future stale = hark_ask(me, f->server, question);
    hark_future_drop(me, stale);
    assert_int_equal(hark_all(me, &stale, 1).id, 0);
    assert_int_equal(hark_error_of(me)->code, HARK_ESTALE);
}

static void
all_over_many_ends_once(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    enum { COUNT = 5000 };
    static hark_future all[COUNT];

    for (int i = 0; i < COUNT; i++) {
        all[i] = hark_ask(me, f->server, question, .n = i);
    }
    hark_future every = hark_all(me, all, COUNT);
    const hark_all_done *done = hark_await(me, every, hark_all_done);
    assert_non_null(done);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(hark_future_get(me, all[i], answer)->n, i + 1);
    }
}

static void
timeouts_of_many_lengths_fire_in_their_order(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_future futures[12];

    for (uint32_t i = 0; i < 12; i++) { // more lengths than lists
        futures[i] = hark_ask_within(me, 20 + 7 * (11 - i), f->server, stall);
    }
    for (uint32_t i = 12; i-- > 0;) {
        assert_null(hark_await(me, futures[i], answer));
        assert_int_equal(hark_error_of(me)->code, HARK_ETIMEOUT);
        assert_true(i == 0 || !hark_future_done(me, futures[0])
                    || hark_error_of(me)->elapsed_ms >= 20);
    }
}

static int64_t
now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
tell_notes(hark_ctx *me, hark_ref whom, int count, bool again)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(hark_tell(me, whom, note, .again = again), HARK_OK);
    }
}

// How an ask ends whose answer waits, from before its time is over, in the mailbox of a busy
// actor, behind others. -1: the answer was not there in time.
static int
code_of_a_late_look(struct fixture *f, uint32_t time_ms)
{
    hark_ctx *me = f->w->here;
    hark_ref asker = hark_spawn(me, busy);
    int64_t over_ms = now_ms() + time_ms;
    hark_future r = hark_ask(me, asker, begin, .whom = f->server, .time_ms = time_ms);

    atomic_store(&hogging, 0);
    assert_int_equal(hark_tell(me, asker, hog), HARK_OK);
    while (atomic_load(&hogging) != 1) {
        sched_yield();
    }
    tell_notes(me, asker, 20000, false); // more than a turn takes
    hark_future given = hark_ask(me, f->server, unstall);
    assert_non_null(hark_await(me, given, answer));
    bool is_in_time = now_ms() < over_ms;
    while (now_ms() < over_ms + 20) {
        sched_yield();
    }
    atomic_store(&hogging, 2);
    const ran *result = hark_await(me, r, ran);
    assert_non_null(result);
    return is_in_time ? result->code : -1;
}

static void
answer_that_has_come_is_not_late_because_its_asker_was_busy(void **state)
{
    uint32_t time_ms = 20;
    int code;

    while ((code = code_of_a_late_look(*state, time_ms)) == -1) {
        time_ms *= 2; // the machine is busy, too
    }
    assert_int_equal(code, HARK_OK);
}

static void
ask_of_an_actor_whose_mailbox_is_never_empty_times_out(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_ref asker = hark_spawn(me, busy);

    tell_notes(me, asker, 100, true);
    hark_future r = hark_ask(me, asker, begin, .whom = f->server, .time_ms = 20);
    const ran *result = hark_await(me, r, ran);
    assert_non_null(result);
    assert_int_equal(result->code, HARK_ETIMEOUT);
}

static void
wait_of_a_handler_times_out_whatever_was_set_aside(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_ref asker = hark_spawn(me, busy);
    hark_future r = hark_ask(me, asker, wait_in_vain, .whom = f->server);

    while (!hark_future_done(me, r)) { // some of them just when the time is over
        tell_notes(me, asker, 10, false);
        hark_message_free(me, hark_receive(me, 0));
    }
    const ran *result = hark_await(me, r, ran);
    assert_non_null(result);
    assert_int_equal(result->code, HARK_ETIMEOUT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(future_is_continued_once_and_drops_each_argument),
        TEST(failure_that_nobody_looked_at_is_counted),
        TEST(kept_future_outlives_its_turn),
        TEST(second_answer_is_refused),
        TEST(all_in_an_actor_gives_each_reply),
        TEST(continuation_of_an_actor_that_ended_is_only_dropped),
        TEST(all_of_nothing_is_done_and_of_stale_ones_is_refused),
        TEST(all_over_many_ends_once),
        TEST(timeouts_of_many_lengths_fire_in_their_order),
        TEST(answer_that_has_come_is_not_late_because_its_asker_was_busy),
        TEST(ask_of_an_actor_whose_mailbox_is_never_empty_times_out),
        TEST(wait_of_a_handler_times_out_whatever_was_set_aside),
    };
    return cmocka_run_group_tests_name("api/future", tests, NULL, NULL);
}
