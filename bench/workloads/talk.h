// talk.h - two actors, or a ring of them: pingpong, pairs, counting, threadring.
//
// The definitions and sizes are those of the Savina suite as our peer programs use it.

#ifndef BENCH_WORKLOADS_TALK_H
#define BENCH_WORKLOADS_TALK_H

#include "bench.h"

// ---- pingpong: one message bounces between two actors ----

enum { PINGS = 5000000 };

HARK_MESSAGE(ping)
HARK_MESSAGE(pong)

typedef struct {
    int64_t pings;
} ponger;

HARK_ON(ponger, ping) {
    self->pings++;
    hark_tell(ctx, hark_sender(ctx), pong);
}

HARK_ACTOR(ponger, ping)

typedef struct {
    hark_ref other;
    hark_ref owner;
    int64_t pongs, goal;
} pinger;

HARK_ON(pinger, go) {
    hark_tell(ctx, self->other, ping);
}

HARK_ON(pinger, pong) {
    if (++self->pongs == self->goal) {
        hark_tell(ctx, self->owner, done, .value = self->pongs);
    } else {
        hark_tell(ctx, self->other, ping);
    }
}

HARK_ACTOR(pinger, go, pong)

// The one of two new actors that begins.
static hark_ref
open_pair(hark_ctx *me, int64_t pings)
{
    hark_ref other = need_actor(me, hark_spawn(me, ponger));

    return need_actor(me, hark_spawn(me, pinger, .other = other, .owner = hark_self(me),
                                     .goal = pings));
}

static void
run_pingpong(struct bench *bench)
{
    hark_ctx *me = bench->me;
    hark_ref first = open_pair(me, PINGS);
    double began = measure_now();

    hark_tell(me, first, go);
    expect_count("pongs", await_done(bench, 1), PINGS);
    figure_add_rate(bench->figures, 2.0 * PINGS, began, "msg/s");
}

// ---- pairs: what a second worker gains where pairs have nothing to do with another ----

enum { PAIRS_PINGS = 20000000, PAIRS_MOST = 16, PAIRS_ROUNDS = 5 };

// Seconds that so many pairs take to send PAIRS_PINGS together.
static double
time_pairs(int workers, int pairs)
{
    struct bench bench = bench_open(workers, NULL);
    hark_ref first[PAIRS_MOST];
    int64_t each = PAIRS_PINGS / pairs;

    for (int i = 0; i < pairs; i++) {
        first[i] = open_pair(bench.me, each);
    }
    double began = measure_now();
    for (int i = 0; i < pairs; i++) {
        hark_tell(bench.me, first[i], go);
    }
    expect_count("pongs", await_done(&bench, pairs), each * pairs);
    double took = measure_now() - began;
    bench_close(&bench);
    return took;
}

// By turns, since a machine drifts; the median of the ratios.
static double
gain_of_pairs(int pairs)
{
    double gains[PAIRS_ROUNDS];

    for (int i = 0; i < PAIRS_ROUNDS; i++) {
        double alone = time_pairs(1, pairs);

        gains[i] = alone / time_pairs(2, pairs);
    }
    qsort(gains, PAIRS_ROUNDS, sizeof *gains, compare_doubles);
    return gains[PAIRS_ROUNDS / 2];
}

static void
run_pairs(struct bench *bench)
{
    figure_add(bench->figures, "gain_of_2", gain_of_pairs(2), "x");
    figure_add(bench->figures, "gain_of_4", gain_of_pairs(4), "x");
    figure_add(bench->figures, "gain_of_16", gain_of_pairs(PAIRS_MOST), "x");
}

// ---- counting: one actor floods another ----

enum { INCREMENTS = 10000000 };

HARK_MESSAGE(increment)
HARK_MESSAGE(report, (ref, to))

typedef struct {
    int64_t count;
} counter;

HARK_ON(counter, increment) {
    self->count++;
}

HARK_ON(counter, report) {
    hark_tell(ctx, msg->to, done, .value = self->count);
}

HARK_ACTOR(counter, increment, report)

typedef struct {
    hark_ref target;
    hark_ref owner;
    int64_t unsent;
} producer;

HARK_ON(producer, go) {
    for (int i = 0; i < SLICE && self->unsent > 0; i++) {
        hark_tell(ctx, self->target, increment);
        self->unsent--;
    }
    if (self->unsent > 0) {
        hark_tell(ctx, hark_self(ctx), go);
    } else {
        hark_tell(ctx, self->target, report, .to = self->owner);
    }
}

HARK_ACTOR(producer, go)

static void
run_counting(struct bench *bench)
{
    hark_ctx *me = bench->me;
    hark_ref target = need_actor(me, hark_spawn(me, counter));
    hark_ref source =
        need_actor(me, hark_spawn(me, producer, .target = target,
                                  .owner = hark_self(me), .unsent = INCREMENTS));
    double began = measure_now();

    hark_tell(me, source, go);
    expect_count("increments", await_done(bench, 1), INCREMENTS);
    figure_add_rate(bench->figures, INCREMENTS, began, "msg/s");
}

// ---- threadring: one message goes round a ring of actors ----

enum { RING_ACTORS = 100, HOPS = 5000000 };

HARK_MESSAGE(join_ring, (ref, next))
HARK_MESSAGE(hop, (i64, left))
HARK_MESSAGE(get_hops)
HARK_MESSAGE(hops, (i64, count))

typedef struct {
    hark_ref next;
    hark_ref owner;
    int64_t hops;
} ring_link;

HARK_ON(ring_link, join_ring) {
    self->next = msg->next;
}

HARK_ON(ring_link, hop) {
    self->hops++;
    if (msg->left == 0) {
        hark_tell(ctx, self->owner, done);
    } else {
        hark_tell(ctx, self->next, hop, .left = msg->left - 1);
    }
}

HARK_ON(ring_link, get_hops) {
    hark_reply(ctx, hops, .count = self->hops);
}

HARK_ACTOR(ring_link, join_ring, hop, get_hops)

static void
open_ring(hark_ctx *me, hark_ref *links)
{
    for (int i = 0; i < RING_ACTORS; i++) {
        links[i] = need_actor(me, hark_spawn(me, ring_link, .owner = hark_self(me)));
    }
    for (int i = 0; i < RING_ACTORS; i++) {
        hark_tell(me, links[i], join_ring, .next = links[(i + 1) % RING_ACTORS]);
    }
}

// The sum over all links. The answers also show that the links are ready.
static int64_t
count_hops(hark_ctx *me, const hark_ref *links)
{
    int64_t sum = 0;

    for (int i = 0; i < RING_ACTORS; i++) {
        hark_future answer = hark_ask(me, links[i], get_hops);
        const hops *counted = hark_await(me, answer, hops);

        if (counted == NULL) {
            fail_with_error(me, hark_error_of(me), "get_hops");
        }
        sum += counted->count;
        hark_future_drop(me, answer);
    }
    return sum;
}

static void
run_threadring(struct bench *bench)
{
    hark_ref links[RING_ACTORS];
    double began;

    open_ring(bench->me, links);
    expect_count("hops before the start", count_hops(bench->me, links), 0);
    began = measure_now();
    hark_tell(bench->me, links[0], hop, .left = HOPS);
    await_done(bench, 1);
    figure_add_rate(bench->figures, HOPS, began, "hop/s");
    expect_count("hops", count_hops(bench->me, links), HOPS + 1);
}

#endif // BENCH_WORKLOADS_TALK_H
