// ask.h - requests and their answers: ask_seq, ask_100, and what the remote workloads
// share with them.
//
// The asker continues each ask with hark_then and keeps `window` of them open. Each has
// the default timeout, armed.

#ifndef BENCH_WORKLOADS_ASK_H
#define BENCH_WORKLOADS_ASK_H

#include "bench.h"

enum { ASKS = 2000000, THREAD_ASKS = 100000 };

HARK_MESSAGE(add, (i64, value))
HARK_MESSAGE(total, (i64, value))
HARK_MESSAGE(blob, (bytes, data))
HARK_MESSAGE(count_blobs)
HARK_MESSAGE(blobs, (i64, count), (i64, bytes))

typedef struct {
    int64_t blobs;
    int64_t bytes; // in all of them
} server;

HARK_ON(server, add) {
    hark_reply(ctx, total, .value = msg->value + 1);
}

HARK_ON(server, blob) {
    self->blobs++;
    self->bytes += (int64_t)msg->data.len;
}

HARK_ON(server, count_blobs) {
    hark_reply(ctx, blobs, .count = self->blobs, .bytes = self->bytes);
}

HARK_ACTOR(server, add, blob, count_blobs)

// Tells an asker to do that many asks, `window` at a time.
HARK_MESSAGE(burst, (i64, asks), (i64, window))

typedef struct {
    hark_ref server;
    hark_ref owner;
    double *latencies_us; // room for a burst with window 1; NULL: not measured
    double asked_at;
    int64_t asks;
    int64_t asked;
    int64_t answered;
} asker;

static void ask_next(hark_ctx *ctx, asker *self);

HARK_THEN(asker, added, total) {
    int64_t asked = (int64_t)(intptr_t)arg;

    expect_count("total", msg->value, asked + 1);
    if (self->latencies_us != NULL) {
        self->latencies_us[self->answered] = (measure_now() - self->asked_at) * 1e6;
    }
    if (++self->answered == self->asks) {
        hark_tell(ctx, self->owner, done, .value = self->answered);
    } else if (self->asked < self->asks) {
        ask_next(ctx, self);
    }
}

HARK_ELSE(asker, added) {
    fail_with_error(ctx, error, "ask");
}

HARK_CONTINUATION(asker, added, total)

static void
ask_next(hark_ctx *ctx, asker *self)
{
    int64_t value = self->asked++;
    hark_future answer;

    if (self->latencies_us != NULL) {
        self->asked_at = measure_now();
    }
    answer = hark_ask(ctx, self->server, add, .value = value);
    if (hark_then(ctx, answer, asker, added, (void *)(intptr_t)value) != HARK_OK) {
        fail("cannot continue an ask");
    }
}

HARK_ON(asker, burst) {
    self->asks = msg->asks;
    self->asked = self->answered = 0;
    for (int64_t i = 0; i < msg->window; i++) {
        ask_next(ctx, self);
    }
}

HARK_ACTOR(asker, burst)

// Has an asker do a burst and waits for its end.
static void
run_burst(struct bench *bench, hark_ref from, int64_t asks, int64_t window)
{
    hark_tell(bench->me, from, burst, .asks = asks, .window = window);
    expect_count("answers", await_done(bench, 1), asks);
}

static void
run_local_asks(struct bench *bench, int64_t window)
{
    hark_ctx *me = bench->me;
    hark_ref to = need_actor(me, hark_spawn(me, server));
    hark_ref from =
        need_actor(me, hark_spawn(me, asker, .server = to, .owner = hark_self(me)));
    double began = measure_now();

    run_burst(bench, from, ASKS, window);
    figure_add_rate(bench->figures, ASKS, began, "ask/s");
}

static void
run_ask_seq(struct bench *bench)
{
    run_local_asks(bench, 1);
}

static void
run_ask_100(struct bench *bench)
{
    run_local_asks(bench, 100);
}

// One ask from the measuring thread, which blocks for the answer.
static void
await_one(hark_ctx *me, hark_ref to, int64_t value)
{
    hark_future future = hark_ask(me, to, add, .value = value);
    const total *reply = hark_await(me, future, total);

    if (reply == NULL) {
        fail_with_error(me, hark_error_of(me), "await");
    }
    expect_count("total", reply->value, value + 1);
    hark_future_drop(me, future);
}

// As ask_seq, but a thread asks and waits, and not an actor.
static void
run_thread_ask(struct bench *bench)
{
    hark_ctx *me = bench->me;
    hark_ref to = need_actor(me, hark_spawn(me, server));
    double began = measure_now();

    for (int64_t i = 0; i < THREAD_ASKS; i++) {
        await_one(me, to, i);
    }
    figure_add(bench->figures, "round_trip",
               (measure_now() - began) / THREAD_ASKS * 1e6, "us/ask");
}

#endif // BENCH_WORKLOADS_ASK_H
