// cliffs.h - where a cost may jump: sizes (of messages), delays (of how many lengths),
// nodes (that one handler speaks to), broadcast (to how many actors).

#ifndef BENCH_WORKLOADS_CLIFFS_H
#define BENCH_WORKLOADS_CLIFFS_H

#include "bench.h"

// ---- sizes: messages of 1 KB to 1 MB, a few under way ----

enum { SIZES_BYTES = 400 << 20, SIZES_OPEN = 4 };

HARK_MESSAGE(parcel, (bytes, data))
HARK_MESSAGE(parcel_got)

typedef struct {
    int64_t bytes;
} parcel_sink;

HARK_ON(parcel_sink, parcel) {
    self->bytes += (int64_t)msg->data.len;
    hark_tell(ctx, hark_sender(ctx), parcel_got);
}

HARK_ACTOR(parcel_sink, parcel)

typedef struct {
    hark_ref sink, owner;
    hark_bytes data;
    int64_t unsent, open;
} parcel_source;

static void
send_parcel(hark_ctx *ctx, parcel_source *self)
{
    if (self->unsent > 0) {
        self->unsent--;
        self->open++;
        hark_tell(ctx, self->sink, parcel, .data = self->data);
    } else if (self->open == 0) {
        hark_tell(ctx, self->owner, done);
    }
}

HARK_ON(parcel_source, go) {
    for (int i = 0; i < SIZES_OPEN; i++) {
        send_parcel(ctx, self);
    }
}

HARK_ON(parcel_source, parcel_got) {
    self->open--;
    send_parcel(ctx, self);
}

HARK_ACTOR(parcel_source, go, parcel_got)

static void
measure_size(struct bench *bench, const char *metric, size_t size)
{
    hark_ctx *me = bench->me;
    int64_t count = SIZES_BYTES / (int64_t)size;
    char *bytes = new_array(size, 1);
    hark_ref sink = need_actor(me, hark_spawn(me, parcel_sink));
    hark_ref source = need_actor(
        me, hark_spawn(me, parcel_source, .sink = sink, .owner = hark_self(me),
                       .data = {.ptr = bytes, .len = size}, .unsent = count));
    double began = measure_now();

    hark_tell(me, source, go);
    await_done(bench, 1);
    figure_add(bench->figures, metric, (measure_now() - began) / (double)count * 1e9,
               "ns/msg");
    free(bytes);
}

static void
run_sizes(struct bench *bench)
{
    measure_size(bench, "of_1KB", 1000);
    measure_size(bench, "of_100KB", 100000);
    measure_size(bench, "of_200KB", 200000);
    measure_size(bench, "of_1MB", 1000000);
}

// ---- delays: of one length, and of 2,000 lengths at random ----

enum { DELAYS = 200000, DELAY_LENGTHS = 2000 };

typedef struct {
    hark_ref owner;
    int64_t ended;
    uint32_t lengths, random;
} delayer;

HARK_THEN(delayer, ended, hark_unit) {
    if (++self->ended == DELAYS) {
        hark_tell(ctx, self->owner, done, .value = self->ended);
    }
}

HARK_ELSE(delayer, ended) {
    fail_with_error(ctx, error, "delay");
}

HARK_CONTINUATION(delayer, ended, hark_unit)

HARK_ON(delayer, go) {
    for (int i = 0; i < DELAYS; i++) {
        self->random = self->random * 1664525 + 1013904223; // Numerical Recipes
        uint32_t ms = 1 + (self->random >> 8) % self->lengths;

        if (hark_then(ctx, hark_delay(ctx, ms), delayer, ended, NULL) != HARK_OK) {
            fail("cannot continue a delay");
        }
    }
}

HARK_ACTOR(delayer, go)

// Processor time, since the clock shows how long they were.
static void
measure_delays(struct bench *bench, const char *metric, uint32_t lengths)
{
    hark_ctx *me = bench->me;
    hark_ref who = need_actor(
        me, hark_spawn(me, delayer, .owner = hark_self(me), .lengths = lengths));
    struct timespec before, after;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    hark_tell(me, who, go);
    expect_count("delays", await_done(bench, 1), DELAYS);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    figure_add(bench->figures, metric,
               ((double)(after.tv_sec - before.tv_sec) * 1e9
                + (double)(after.tv_nsec - before.tv_nsec))
                   / DELAYS,
               "ns/delay");
}

static void
run_delays(struct bench *bench)
{
    measure_delays(bench, "of_1_length", 1);
    measure_delays(bench, "of_2k_lengths", DELAY_LENGTHS);
}

// ---- nodes: one handler tells 1, and 10 nodes by turns ----

enum { NODES_MOST = 10, NODES_TELLS = 1000000 };

HARK_MESSAGE(seed)
HARK_MESSAGE(count_seeds)
HARK_MESSAGE(seeds, (i64, count))

typedef struct {
    int64_t count;
} acre;

HARK_ON(acre, seed) {
    self->count++;
}

HARK_ON(acre, count_seeds) {
    hark_reply(ctx, seeds, .count = self->count);
}

HARK_ACTOR(acre, seed, count_seeds)

typedef struct {
    const hark_ref *acres;
    hark_ref owner;
    int64_t nodes, unsent;
} sower;

// What the acres have got is known when each has answered the last sender.
static int64_t
count_all(hark_ctx *ctx, const sower *self)
{
    int64_t sum = 0;

    for (int64_t i = 0; i < self->nodes; i++) {
        const seeds *some = hark_await(
            ctx, hark_ask_within(ctx, BENCH_PATIENCE, self->acres[i], count_seeds),
            seeds);

        if (some == NULL) {
            fail_with_error(ctx, hark_error_of(ctx), "count_seeds");
        }
        sum += some->count;
    }
    return sum;
}

HARK_ON(sower, go) {
    for (int i = 0; i < SLICE && self->unsent > 0; i++) {
        hark_err err = hark_tell(ctx, self->acres[self->unsent % self->nodes], seed);

        if (err != HARK_OK) {
            fail("tell: %s", hark_err_text(err));
        }
        self->unsent--;
    }
    if (self->unsent > 0) {
        hark_tell(ctx, hark_self(ctx), go);
    } else {
        hark_tell(ctx, self->owner, done, .value = count_all(ctx, self));
    }
}

HARK_ACTOR(sower, go)

// A node of this process with a acre, reached from bench's by a link of memory.
static struct bench
open_acre(struct bench *from, hark_hub *hub, int number, hark_ref *out_acre)
{
    struct bench node = {.workers = 1};
    char endpoint[32], name[40];

    node.system = hark_start(&(hark_options){.workers = 1, .hub = hub});
    node.me = hark_attach(node.system);
    if (node.me == NULL) {
        fail("cannot start node %d", number);
    }
    snprintf(endpoint, sizeof endpoint, "mem://%d", number);
    snprintf(name, sizeof name, "%s/acre", endpoint);
    need_actor(node.me,
               hark_spawn_with(node.me, &(hark_spawn_options){.name = "acre"}, acre));
    if (hark_listen(node.me, endpoint, NULL, 0) != HARK_OK) {
        fail_with_error(node.me, hark_error_of(node.me), endpoint);
    }
    *out_acre = need_actor(from->me, hark_lookup(from->me, name));
    return node;
}

static void
measure_nodes(struct bench *bench, const char *metric, int count)
{
    struct bench own = {.workers = bench->workers}, nodes[NODES_MOST];
    hark_ref acres[NODES_MOST];
    hark_hub *hub = hark_hub_new();

    own.system =
        hark_start(&(hark_options){.workers = (uint32_t)bench->workers, .hub = hub});
    own.me = hark_attach(own.system);
    if (own.me == NULL) {
        fail("cannot start a node");
    }
    for (int i = 0; i < count; i++) {
        nodes[i] = open_acre(&own, hub, i, &acres[i]);
    }
    hark_ref who = need_actor(
        own.me, hark_spawn(own.me, sower, .acres = acres, .owner = hark_self(own.me),
                           .nodes = count, .unsent = NODES_TELLS));
    double began = measure_now();
    hark_tell(own.me, who, go);
    expect_count("seeds", await_done(&own, 1), NODES_TELLS);
    figure_add(bench->figures, metric, (measure_now() - began) / NODES_TELLS * 1e9,
               "ns/msg");
    bench_close(&own);
    for (int i = 0; i < count; i++) {
        bench_close(&nodes[i]);
    }
    hark_hub_free(hub);
}

static void
run_nodes(struct bench *bench)
{
    measure_nodes(bench, "to_1", 1);
    measure_nodes(bench, "to_10", NODES_MOST);
}

// ---- broadcast: one handler tells each of 200, 10,000 and 100,000 actors ----

enum { BROADCASTS = 10000000 }; // messages

HARK_MESSAGE(bulletin)

typedef struct {
    int64_t seen, left;
    hark_ref owner;
} subscriber;

HARK_ON(subscriber, bulletin) {
    if (++self->seen == self->left) {
        hark_tell(ctx, self->owner, done, .value = self->seen);
    }
}

HARK_ACTOR(subscriber, bulletin)

typedef struct {
    const hark_ref *subscribers;
    int64_t count, rounds_left;
} publisher;

HARK_ON(publisher, go) {
    for (int64_t i = 0; i < self->count; i++) {
        hark_tell(ctx, self->subscribers[i], bulletin);
    }
    if (--self->rounds_left > 0) {
        hark_tell(ctx, hark_self(ctx), go);
    }
}

HARK_ACTOR(publisher, go)

static void
measure_broadcast(struct bench *bench, const char *metric, int64_t count)
{
    hark_ctx *me = bench->me;
    int64_t rounds = BROADCASTS / count;
    hark_ref *subscribers = new_array((size_t)count, sizeof *subscribers);
    double began;

    for (int64_t i = 0; i < count; i++) {
        subscribers[i] = need_actor(
            me, hark_spawn(me, subscriber, .left = rounds, .owner = hark_self(me)));
    }
    hark_ref head = need_actor(me, hark_spawn(me, publisher, .subscribers = subscribers,
                                              .count = count, .rounds_left = rounds));
    began = measure_now();
    hark_tell(me, head, go);
    expect_count("seen", await_done(bench, count), count * rounds);
    figure_add(bench->figures, metric,
               (measure_now() - began) / (double)(count * rounds) * 1e9, "ns/msg");
    for (int64_t i = 0; i < count; i++) {
        hark_actor_stop(me, subscribers[i]);
    }
    hark_actor_stop(me, head);
    free(subscribers);
}

static void
run_broadcast(struct bench *bench)
{
    measure_broadcast(bench, "to_200", 200);
    measure_broadcast(bench, "to_10k", 10000);
    measure_broadcast(bench, "to_100k", 100000);
}

#endif // BENCH_WORKLOADS_CLIFFS_H
