// Many threads ask, and cancel what may just be answered: each ask ends once, and each
// cancel is accounted for once: the ask was not run, or its answer was refused, or it
// crossed the cancel on its way.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

#include "hark/hark.h"
#include "sanitized.h"

enum {
    THREADS = 4,
    SERVERS = 3,
    RELAYS = 2,
    BATCH = 128,
    ASKS = IS_SANITIZED ? 200 * 1000 : 10 * 1000 * 1000, // of all threads
    HELD = 1024,
};

HARK_MESSAGE(work)
HARK_MESSAGE(later)
HARK_MESSAGE(pass)
HARK_MESSAGE(done)
HARK_MESSAGE(sync_all)
HARK_MESSAGE(sums, (i64, ran), (i64, refused), (i64, asked), (i64, cancelled))

typedef struct {
    int64_t ran;     // handlers of asks
    int64_t refused; // answers that nobody waited for
    size_t held_count;
    hark_promise held[HELD];
} server;

static void
note(int64_t *refused, hark_err err)
{
    assert_true(err == HARK_OK || err == HARK_ECANCELLED);
    *refused += err == HARK_ECANCELLED;
}

HARK_ON(server, work) {
    self->ran++;
    if (self->ran % 64 == 0) { // it may learn of the cancel by itself
        (void)hark_cancelled(ctx);
    }
    note(&self->refused, hark_reply(ctx, done));
}
HARK_ON(server, later) {
    self->ran++;
    if (self->held_count == HELD) {
        note(&self->refused, hark_reply(ctx, done));
        return;
    }
    self->held[self->held_count++] = hark_defer(ctx);
}
HARK_ON(server, sync_all) {
    while (self->held_count > 0) {
        note(&self->refused, hark_fulfil(ctx, self->held[--self->held_count], done));
    }
    hark_reply(ctx, sums, .ran = self->ran, .refused = self->refused);
}
HARK_ACTOR(server, work, later, sync_all)

// Has the work done by another. Its promises are by the child's number.
typedef struct {
    hark_ref next;
    int64_t ran, refused;
    int64_t asked, cancelled; // of its children
    hark_promise promises[1 << 16];
} relay;

HARK_THEN(relay, worked, done) {
    note(&self->refused, hark_fulfil(ctx, self->promises[(uintptr_t)arg], done));
}
HARK_ELSE(relay, worked) {
    assert_int_equal(error->code, HARK_ECANCELLED);
    self->cancelled++;
    note(&self->refused, hark_fulfil(ctx, self->promises[(uintptr_t)arg], done));
}
HARK_CONTINUATION(relay, worked, done)

HARK_ON(relay, pass) {
    uintptr_t place = (uintptr_t)(self->asked++ % (1 << 16));
    hark_future f = hark_ask_within(ctx, HARK_FOREVER, self->next, work);

    self->ran++;
    self->promises[place] = hark_defer(ctx);
    assert_int_equal(hark_then(ctx, f, relay, worked, (void *)place), HARK_OK);
}
HARK_ON(relay, sync_all) {
    hark_reply(ctx, sums, .ran = self->ran, .refused = self->refused,
               .asked = self->asked, .cancelled = self->cancelled);
}
HARK_ACTOR(relay, pass, sync_all)

// ---- the threads ----

struct crowd {
    hark_system *system;
    hark_ref servers[SERVERS], relays[RELAYS];
    _Atomic(int64_t) asked, cancelled;
};

// One ask of a batch.
struct record {
    hark_future future;
    unsigned ends; // how often it has ended
    int code;
};

static void
on_done(hark_ctx *ctx, void *self, const void *reply, void *arg)
{
    struct record *record = arg;

    (void)ctx;
    (void)self;
    (void)reply;
    record->ends++;
    record->code = HARK_OK;
}

static void
on_failure(hark_ctx *ctx, void *self, const hark_error *error, void *arg)
{
    struct record *record = arg;

    (void)ctx;
    (void)self;
    record->ends++;
    record->code = error->code;
}

static const hark_continuation recording = {&done_type, on_done, on_failure, NULL};

static uint32_t
next_random(uint32_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 17;
    *random ^= *random << 5;
    return *random;
}

static void
ask_one(struct crowd *crowd, hark_ctx *me, uint32_t random, struct record *record)
{
    hark_ref s = crowd->servers[random / 8 % SERVERS];
    hark_ref r = crowd->relays[random / 8 % RELAYS];

    record->ends = 0;
    record->code = -1;
    record->future = random % 4 == 0   ? hark_ask_within(me, HARK_FOREVER, r, pass)
                     : random % 4 == 1 ? hark_ask_within(me, HARK_FOREVER, s, later)
                                       : hark_ask_within(me, HARK_FOREVER, s, work);
    assert_int_equal(hark_then_value(me, record->future, &recording, record), HARK_OK);
}

enum fate { LEFT_ALONE, CANCELLED, DROPPED, CAME_TOO_LATE };

static enum fate
end_one(hark_ctx *me, uint32_t random, const struct record *record)
{
    if (random % 2 == 0) {
        return LEFT_ALONE;
    }
    if (random % 4 == 1) {
        return hark_cancel(me, record->future) == HARK_OK ? CANCELLED : CAME_TOO_LATE;
    }
    bool is_late = hark_future_done(me, record->future);
    hark_future_drop(me, record->future);
    return is_late ? CAME_TOO_LATE : DROPPED;
}

static void
pause_at_random(hark_ctx *me, uint32_t random)
{
    if (random % 128 == 0) {
        sched_yield();
    }
    if (random % 32 == 3) { // looks at what has come
        assert_null(hark_receive(me, 0));
    }
}

// All have answered, and all answers have come.
static void
settle(struct crowd *crowd, hark_ctx *me)
{
    for (int i = 0; i < RELAYS; i++) {
        hark_future f = hark_ask_within(me, HARK_FOREVER, crowd->relays[i], sync_all);
        assert_non_null(hark_await(me, f, sums));
        hark_future_drop(me, f);
    }
    for (int i = 0; i < SERVERS; i++) {
        hark_future f = hark_ask_within(me, HARK_FOREVER, crowd->servers[i], sync_all);
        assert_non_null(hark_await(me, f, sums));
        hark_future_drop(me, f);
    }
}

static void
run_batch(struct crowd *crowd, hark_ctx *me, uint32_t *random)
{
    struct record records[BATCH];
    enum fate fates[BATCH];
    int cancelled = 0;

    for (int i = 0; i < BATCH; i++) {
        ask_one(crowd, me, next_random(random), &records[i]);
        pause_at_random(me, next_random(random));
    }
    for (int i = 0; i < BATCH; i++) {
        fates[i] = end_one(me, next_random(random), &records[i]);
        cancelled += fates[i] == CANCELLED || fates[i] == DROPPED;
        pause_at_random(me, next_random(random));
    }
    settle(crowd, me);
    for (int i = 0; i < BATCH; i++) {
        while (records[i].ends == 0 && fates[i] != DROPPED) { // a relay's: soon
            assert_null(hark_receive(me, 1));
        }
        assert_int_equal(records[i].ends, fates[i] == DROPPED ? 0 : 1);
        assert_int_equal(records[i].code, fates[i] == DROPPED     ? -1
                                          : fates[i] == CANCELLED ? HARK_ECANCELLED
                                                                  : HARK_OK);
    }
    atomic_fetch_add(&crowd->asked, BATCH);
    atomic_fetch_add(&crowd->cancelled, cancelled);
}

static void *
run_thread(void *arg)
{
    struct crowd *crowd = arg;
    hark_ctx *me = hark_attach(crowd->system);
    uint32_t random = (uint32_t)(uintptr_t)&me | 1;

    assert_non_null(me);
    for (int i = 0; i < ASKS / THREADS / BATCH; i++) {
        run_batch(crowd, me, &random);
    }
    hark_detach(me);
    return NULL;
}

// ---- the test ----

static void
add(hark_ctx *me, hark_ref whom, sums *total)
{
    hark_future f = hark_ask_within(me, HARK_FOREVER, whom, sync_all);
    const sums *reply = hark_await(me, f, sums);

    assert_non_null(reply);
    total->ran += reply->ran;
    total->refused += reply->refused;
    total->asked += reply->asked;
    total->cancelled += reply->cancelled;
    hark_future_drop(me, f);
}

static void
cancel_while_completing_ends_each_ask_once(void **state)
{
    static struct crowd crowd;
    pthread_t threads[THREADS];
    hark_stats stats;
    sums total;

    (void)state;
    crowd.system = hark_start(&(hark_options){.workers = 3});
    hark_ctx *me = hark_attach(crowd.system);
    for (int i = 0; i < SERVERS; i++) {
        crowd.servers[i] = hark_spawn(me, server);
    }
    for (int i = 0; i < RELAYS; i++) {
        crowd.relays[i] = hark_spawn(me, relay, .next = crowd.servers[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_thread, &crowd), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    do { // what is still on its way comes to its end
        total = (sums){0};
        for (int i = 0; i < RELAYS; i++) {
            add(me, crowd.relays[i], &total);
        }
        for (int i = 0; i < SERVERS; i++) {
            add(me, crowd.servers[i], &total);
        }
        hark_stats_read(crowd.system, &stats);
    } while (total.ran + (int64_t)stats.cancelled
                 < atomic_load(&crowd.asked) + total.asked
             || (int64_t)stats.cancelled + total.refused + (int64_t)stats.dead_letters
                    < atomic_load(&crowd.cancelled) + total.cancelled);
    assert_int_equal(total.ran + (int64_t)stats.cancelled,
                     atomic_load(&crowd.asked) + total.asked);
    assert_int_equal((int64_t)stats.cancelled + total.refused
                         + (int64_t)stats.dead_letters,
                     atomic_load(&crowd.cancelled) + total.cancelled);
    assert_int_equal(stats.expired, 0);
    print_message("not run: %lld, refused: %lld, crossed: %lld\n",
                  (long long)stats.cancelled, (long long)total.refused,
                  (long long)stats.dead_letters);
    assert_int_equal(hark_stop(crowd.system, HARK_SECONDS(60)), HARK_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancel_while_completing_ends_each_ask_once),
    };
    return cmocka_run_group_tests_name("stress/cancel", tests, NULL, NULL);
}
