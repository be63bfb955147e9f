// await.h - waiting inside an actor: await_seq, await, suspended.

#ifndef BENCH_WORKLOADS_AWAIT_H
#define BENCH_WORKLOADS_AWAIT_H

#include "ask.h"
#include "bench.h"
#include "idle.h"

enum {
    READY_AWAITS = 2000000,
    SUSPENDED = 100000,
    LINKS = 1000, // of a chain
    JOINED = 1000,
    ROUNDS_OF_EACH = 500,
    CANCELS = 200000,
};

// Has a sitter wait for that many answers, one after the other.
HARK_MESSAGE(sit, (i64, asks))
// Has it wait that many times for one that is there.
HARK_MESSAGE(look, (i64, times))
// Answered by a door once it is open.
HARK_MESSAGE(pass)
HARK_MESSAGE(open_door)
// Has it wait at a door.
HARK_MESSAGE(wait_at, (ref, door))

// Has it make a chain of LINKS steps and wait for its end, that many times.
HARK_MESSAGE(link_up, (i64, times))
// Has it ask JOINED times at once and wait for all, that many times.
HARK_MESSAGE(join_up, (i64, times))
// Has it ask at a door and cancel that, that many times.
HARK_MESSAGE(call_off, (ref, door), (i64, times))

typedef struct {
    hark_ref server;
    hark_ref owner;
} sitter;

HARK_ON(sitter, sit) {
    for (int64_t i = 0; i < msg->asks; i++) {
        hark_future answer = hark_ask(ctx, self->server, add, .value = i);
        const total *t = hark_await(ctx, answer, total);

        if (t == NULL) {
            fail_with_error(ctx, hark_error_of(ctx), "await");
        }
        expect_count("total", t->value, i + 1);
        hark_future_drop(ctx, answer); // or all would be there until the end
    }
    hark_tell(ctx, self->owner, done, .value = msg->asks);
}

HARK_ON(sitter, look) {
    hark_future answer = hark_ask(ctx, self->server, add, .value = 1);
    int64_t sum = 0;

    for (int64_t i = 0; i < msg->times; i++) {
        const total *t = hark_await(ctx, answer, total);

        sum += t != NULL ? t->value : 0;
    }
    hark_tell(ctx, self->owner, done, .value = sum);
}

HARK_ON(sitter, wait_at) {
    hark_future opened = hark_ask_within(ctx, HARK_FOREVER, msg->door, pass);

    if (hark_await(ctx, opened, total) == NULL) {
        fail_with_error(ctx, hark_error_of(ctx), "await");
    }
    hark_tell(ctx, self->owner, done, .value = 1);
}

HARK_MAP(one_more, total)
{
    hark_result(ctx, total, .value = msg->value + 1);
}

HARK_ON(sitter, link_up) {
    int64_t sum = 0;

    for (int64_t i = 0; i < msg->times; i++) {
        hark_future first = hark_future_of(ctx, total, .value = 0);
        hark_future last = first;

        for (int j = 0; j < LINKS; j++) {
            last = hark_map(ctx, last, one_more, NULL);
        }
        const total *t = hark_await(ctx, last, total);
        sum += t != NULL ? t->value : 0;
        hark_future_drop(ctx, last);
    }
    hark_tell(ctx, self->owner, done, .value = sum);
}

HARK_ON(sitter, join_up) {
    int64_t count = 0;

    for (int64_t i = 0; i < msg->times; i++) {
        hark_future asked[JOINED];

        for (int j = 0; j < JOINED; j++) {
            asked[j] = hark_ask(ctx, self->server, add, .value = j);
        }
        hark_future all = hark_all(ctx, asked, JOINED);
        const hark_all_done *d = hark_await(ctx, all, hark_all_done);
        count += d != NULL ? d->count : 0;
        hark_future_drop(ctx, all);
    }
    hark_tell(ctx, self->owner, done, .value = count);
}

HARK_ON(sitter, call_off) {
    for (int64_t i = 0; i < msg->times; i++) {
        hark_future_drop(ctx, hark_ask(ctx, msg->door, add, .value = i));
    }
    // The door has looked at all of them when it answers this.
    hark_future last = hark_ask(ctx, msg->door, add, .value = 1);
    const total *t = hark_await(ctx, last, total);
    hark_tell(ctx, self->owner, done, .value = t != NULL ? t->value : 0);
}

HARK_ACTOR(sitter, sit, look, wait_at, link_up, join_up, call_off)

typedef struct {
    hark_promise *waiting;
    int64_t count;
    int64_t expected;
    hark_ref owner;
} door;

HARK_ON(door, pass) {
    self->waiting[self->count++] = hark_defer(ctx);
    if (self->count == self->expected) {
        hark_tell(ctx, self->owner, done, .value = self->count);
    }
}

HARK_ON(door, open_door) {
    for (int64_t i = 0; i < self->count; i++) {
        hark_fulfil(ctx, self->waiting[i], total);
    }
    self->count = 0;
}

HARK_ACTOR(door, pass, open_door)

static hark_ref
spawn_sitter(struct bench *bench, hark_ref to)
{
    return need_actor(bench->me, hark_spawn(bench->me, sitter, .server = to,
                                            .owner = hark_self(bench->me)));
}

// Nanoseconds an ask that is waited for.
static double
time_awaits(struct bench *bench, hark_ref who, int64_t asks)
{
    double began = measure_now();

    hark_tell(bench->me, who, sit, .asks = asks);
    expect_count("answers", await_done(bench, 1), asks);
    return (measure_now() - began) * 1e9 / (double)asks;
}

// The same workload as ask_seq, which continues with hark_then.
static void
run_await_seq(struct bench *bench)
{
    hark_ref to = need_actor(bench->me, hark_spawn(bench->me, server));
    double took_ns = time_awaits(bench, spawn_sitter(bench, to), ASKS);

    figure_add(bench->figures, "throughput", 1e9 / took_ns, "ask/s");
}

static double
time_ready(struct bench *bench, hark_ref who)
{
    double began = measure_now();

    hark_tell(bench->me, who, look, .times = READY_AWAITS);
    expect_count("sum", await_done(bench, 1), (int64_t)READY_AWAITS * 2);
    return (measure_now() - began) * 1e9 / READY_AWAITS;
}

// ---- await: what a wait costs, beside a continuation ----

static void
run_await(struct bench *bench)
{
    hark_ctx *me = bench->me;
    hark_ref to = need_actor(me, hark_spawn(me, server));
    hark_ref waits = spawn_sitter(bench, to);
    hark_ref continues =
        need_actor(me, hark_spawn(me, asker, .server = to, .owner = hark_self(me)));
    double await_ns, then_ns, began;

    (void)time_awaits(bench, waits, ASKS / 10); // each once, for the first pages
    run_burst(bench, continues, ASKS / 10, 1);
    await_ns = time_awaits(bench, waits, ASKS);
    began = measure_now();
    run_burst(bench, continues, ASKS, 1);
    then_ns = (measure_now() - began) * 1e9 / ASKS;
    figure_add(bench->figures, "ready", time_ready(bench, waits), "ns");
    began = measure_now();
    hark_tell(me, waits, link_up, .times = ROUNDS_OF_EACH);
    expect_count("links", await_done(bench, 1), (int64_t)ROUNDS_OF_EACH * LINKS);
    figure_add(bench->figures, "chain",
               (measure_now() - began) * 1e9 / ((double)ROUNDS_OF_EACH * LINKS),
               "ns/link");
    began = measure_now();
    hark_tell(me, waits, join_up, .times = ROUNDS_OF_EACH);
    expect_count("joined", await_done(bench, 1), (int64_t)ROUNDS_OF_EACH * JOINED);
    figure_add(bench->figures, "all_1000",
               (measure_now() - began) * 1e9 / ((double)ROUNDS_OF_EACH * JOINED), "ns");
    began = measure_now();
    hark_tell(me, waits, call_off, .door = to, .times = CANCELS);
    expect_count("answer", await_done(bench, 1), 2);
    figure_add(bench->figures, "ask+cancel", (measure_now() - began) * 1e9 / CANCELS,
               "ns");
    figure_add(bench->figures, "ask_await", await_ns, "ns");
    figure_add(bench->figures, "ask_then", then_ns, "ns");
    figure_add(bench->figures, "await/then", await_ns / then_ns, "x");
}

// ---- suspended: the memory of a handler that waits ----

static void
run_suspended(struct bench *bench)
{
    hark_ctx *me = bench->me;
    hark_ref *sitters = new_array(SUSPENDED, sizeof *sitters);
    hark_promise *waiting = new_array(SUSPENDED, sizeof *waiting);
    hark_ref at =
        need_actor(me, hark_spawn(me, door, .waiting = waiting, .expected = SUSPENDED,
                                  .owner = hark_self(me)));
    double before, began;

    memset(waiting, 1, SUSPENDED * sizeof *waiting); // its pages are not the actors'
    for (int i = 0; i < SUSPENDED; i++) {
        sitters[i] = spawn_sitter(bench, at);
    }
    before = resident_bytes();
    began = measure_now();
    for (int i = 0; i < SUSPENDED; i++) {
        hark_tell(me, sitters[i], wait_at, .door = at);
    }
    expect_count("waiting", await_done(bench, 1), SUSPENDED);
    figure_add(bench->figures, "suspend", (measure_now() - began) * 1e9 / SUSPENDED,
               "ns");
    figure_add(bench->figures, "memory", (resident_bytes() - before) / SUSPENDED,
               "B/actor");
    began = measure_now();
    hark_tell(me, at, open_door);
    expect_count("gone on", await_done(bench, SUSPENDED), SUSPENDED);
    figure_add(bench->figures, "go_on", (measure_now() - began) * 1e9 / SUSPENDED,
               "ns");
    figure_add(bench->figures, "kept", (resident_bytes() - before) / SUSPENDED,
               "B/actor");
    free(sitters);
    free(waiting);
}

#endif // BENCH_WORKLOADS_AWAIT_H
