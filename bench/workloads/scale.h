// scale.h - what a message, an ask or a tell costs when there is much else: growth,
// ask_open, timers_armed.

#ifndef BENCH_WORKLOADS_SCALE_H
#define BENCH_WORKLOADS_SCALE_H

#include "ask.h"
#include "bench.h"
#include "idle.h"

// ---- growth: messages to actors touched at random ----

enum { WALKERS = 64, STEPS = 2000000 };

HARK_MESSAGE(step, (i64, left), (u32, random), (i64, taken))

// All actors of one size of crowd.
struct field {
    hark_ref *plots;
    uint32_t count;
};

typedef struct {
    const struct field *field;
    hark_ref owner;
    int64_t steps;
} plot;

// Whoever comes goes on to any other.
HARK_ON(plot, step) {
    uint32_t random = msg->random * 1664525u + 1013904223u;
    uint32_t next = (uint32_t)(((uint64_t)random * self->field->count) >> 32);

    self->steps++;
    if (msg->left == 0) {
        hark_tell(ctx, self->owner, done, .value = msg->taken);
    } else {
        hark_tell(ctx, self->field->plots[next], step, .left = msg->left - 1,
                  .random = random, .taken = msg->taken + 1);
    }
}

HARK_ACTOR(plot, step)

static void
measure_walk(struct bench *bench, uint32_t count, const char *metric)
{
    hark_ctx *me = bench->me;
    struct field field = {.plots = new_array(count, sizeof(hark_ref)), .count = count};
    double began;

    for (uint32_t i = 0; i < count; i++) {
        field.plots[i] = need_actor(
            me, hark_spawn(me, plot, .field = &field, .owner = hark_self(me)));
    }
    began = measure_now();
    for (uint32_t i = 0; i < WALKERS; i++) {
        hark_tell(me, field.plots[i % count], step, .left = STEPS / WALKERS,
                  .random = i * 2654435761u);
    }
    expect_count("steps", await_done(bench, WALKERS), STEPS);
    figure_add(bench->figures, metric, (measure_now() - began) / STEPS * 1e9, "ns/msg");
    for (uint32_t i = 0; i < count; i++) {
        hark_actor_stop(me, field.plots[i]);
    }
    await_actors(bench, 1);
    free(field.plots);
}

static void
run_growth(struct bench *bench)
{
    measure_walk(bench, 10, "to_10");
    measure_walk(bench, 1000, "to_1k");
    measure_walk(bench, 100000, "to_100k");
    measure_walk(bench, 1000000, "to_1M");
}

// ---- ask_open: asks while others stay open ----

enum { PROBES = 500000 };

HARK_MESSAGE(hold)     // asked; answered only at a `release`
HARK_MESSAGE(release)  // told
HARK_MESSAGE(get_owed) // asked; answered with a total
HARK_MESSAGE(debt)
// Tells a holder to open that many futures.
HARK_MESSAGE(open_futures, (i64, count))

// Owes everybody an answer.
typedef struct {
    hark_promise *owed;
    int64_t count;
} debtor;

HARK_ON(debtor, hold) {
    self->owed[self->count++] = hark_defer(ctx);
}

HARK_ON(debtor, release) {
    while (self->count > 0) {
        if (hark_fulfil(ctx, self->owed[--self->count], debt) != HARK_OK) {
            fail("an ask did not stay open");
        }
    }
}

HARK_ON(debtor, get_owed) {
    hark_reply(ctx, total, .value = self->count);
}

HARK_ACTOR(debtor, hold, release, get_owed)

typedef struct {
    hark_ref debtor;
    hark_ref server;
    hark_ref owner;
    int64_t open;
    int64_t closed;
    int64_t unprobed;
} holder;

HARK_THEN(holder, freed, debt) {
    if (++self->closed == self->open) {
        hark_tell(ctx, self->owner, done, .value = self->closed);
    }
}

HARK_ELSE(holder, freed) {
    fail_with_error(ctx, error, "hold");
}

HARK_CONTINUATION(holder, freed, debt)

HARK_ON(holder, open_futures) {
    for (; self->open < msg->count; self->open++) {
        hark_future future = hark_ask_within(ctx, BENCH_PATIENCE, self->debtor, hold);

        if (hark_then(ctx, future, holder, freed, NULL) != HARK_OK) {
            fail("cannot continue an ask");
        }
    }
    hark_tell(ctx, self->owner, done, .value = self->open);
}

static void probe_server(hark_ctx *ctx, holder *self);

HARK_THEN(holder, probed, total) {
    expect_count("total", msg->value, self->unprobed + 1);
    if (self->unprobed == 0) {
        hark_tell(ctx, self->owner, done, .value = PROBES);
    } else {
        probe_server(ctx, self);
    }
}

HARK_ELSE(holder, probed) {
    fail_with_error(ctx, error, "add");
}

HARK_CONTINUATION(holder, probed, total)

static void
probe_server(hark_ctx *ctx, holder *self)
{
    hark_future answer = hark_ask(ctx, self->server, add, .value = --self->unprobed);

    if (hark_then(ctx, answer, holder, probed, NULL) != HARK_OK) {
        fail("cannot continue an ask");
    }
}

HARK_ON(holder, go) {
    self->unprobed = PROBES;
    probe_server(ctx, self);
}

HARK_ACTOR(holder, open_futures, go)

// Waits until the debtor has deferred them all: else it would do so beside the asks that are
// measured, on the same worker. Its mailbox has the question behind them.
static void
await_owed(hark_ctx *me, hark_ref owing, int64_t count)
{
    hark_future future = hark_ask_within(me, BENCH_PATIENCE, owing, get_owed);
    const total *owed = hark_await(me, future, total);

    if (owed == NULL) {
        fail_with_error(me, hark_error_of(me), "get_owed");
    }
    expect_count("asks deferred", owed->value, count);
    hark_future_drop(me, future);
}

static void
measure_asks_beside(struct bench *bench, int64_t open, const char *metric)
{
    hark_ctx *me = bench->me;
    hark_promise *owed = new_array((size_t)open, sizeof *owed);
    hark_ref owing = need_actor(me, hark_spawn(me, debtor, .owed = owed));
    hark_ref to = need_actor(me, hark_spawn(me, server));
    hark_ref from = need_actor(me, hark_spawn(me, holder, .debtor = owing, .server = to,
                                              .owner = hark_self(me)));
    double began = measure_now();

    hark_tell(me, from, open_futures, .count = open);
    expect_count("futures opened", await_done(bench, 1), open);
    await_owed(me, owing, open);
    if (open >= PROBES) {
        figure_add(bench->figures, "open_1M",
                   (measure_now() - began) / (double)open * 1e9, "ns/ask");
    }
    began = measure_now();
    hark_tell(me, from, go);
    expect_count("asks", await_done(bench, 1), PROBES);
    figure_add(bench->figures, metric, (measure_now() - began) / PROBES * 1e9,
               "ns/ask");
    hark_tell(me, owing, release);
    expect_count("futures ended", await_done(bench, 1), open);
    free(owed);
}

static void
run_ask_open(struct bench *bench)
{
    measure_asks_beside(bench, 1, "beside_1");
    measure_asks_beside(bench, 1000, "beside_1k");
    measure_asks_beside(bench, 1000000, "beside_1M");
}

// ---- timers_armed: tells while a million timers wait ----

enum { ARMED = 1000000, BOUNCES = 2000000 };

HARK_MESSAGE(bounce, (i64, left))

// Two of them throw a ball to each other.
typedef struct {
    hark_ref owner;
} thrower;

HARK_ON(thrower, bounce) {
    if (msg->left == 0) {
        hark_tell(ctx, self->owner, done, .value = BOUNCES);
    } else {
        hark_tell(ctx, hark_sender(ctx), bounce, .left = msg->left - 1);
    }
}

// The first of them is told whom to throw to.
HARK_MESSAGE(throw_to, (ref, other))

HARK_ON(thrower, throw_to) {
    hark_tell(ctx, msg->other, bounce, .left = BOUNCES);
}

HARK_ACTOR(thrower, bounce, throw_to)

// Holds many timers.
typedef struct {
    hark_timer *timers;
    hark_ref owner;
} alarm_clock;

HARK_ON(alarm_clock, go) {
    for (uint32_t i = 0; i < ARMED; i++) {
        self->timers[i] =
            hark_send_after(ctx, TIMER_MS + i % TIMER_SPREAD_MS, hark_self(ctx), tick);
    }
    hark_tell(ctx, self->owner, done, .value = ARMED);
}

HARK_ON(alarm_clock, release) {
    int64_t cancelled = 0;

    for (uint32_t i = 0; i < ARMED; i++) {
        cancelled += hark_timer_cancel(ctx, self->timers[i]);
    }
    hark_tell(ctx, self->owner, done, .value = cancelled);
}

HARK_ON(alarm_clock, tick) {
    fail("a timer fired early");
}

HARK_ACTOR(alarm_clock, go, release, tick)

static void
measure_bounces(struct bench *bench, const char *metric)
{
    hark_ctx *me = bench->me;
    hark_ref a = need_actor(me, hark_spawn(me, thrower, .owner = hark_self(me)));
    hark_ref b = need_actor(me, hark_spawn(me, thrower, .owner = hark_self(me)));
    double began = measure_now();

    hark_tell(me, a, throw_to, .other = b);
    expect_count("bounces", await_done(bench, 1), BOUNCES);
    figure_add(bench->figures, metric, (measure_now() - began) / BOUNCES * 1e9,
               "ns/msg");
}

static void
run_timers_armed(struct bench *bench)
{
    hark_ctx *me = bench->me;
    hark_timer *timers = new_array(ARMED, sizeof *timers);
    hark_ref clock = need_actor(
        me, hark_spawn(me, alarm_clock, .timers = timers, .owner = hark_self(me)));

    measure_bounces(bench, "beside_0");
    hark_tell(me, clock, go);
    expect_count("timers armed", await_done(bench, 1), ARMED);
    measure_bounces(bench, "beside_1M");
    hark_tell(me, clock, release);
    expect_count("timers cancelled", await_done(bench, 1), ARMED);
    free(timers);
}

#endif // BENCH_WORKLOADS_SCALE_H
