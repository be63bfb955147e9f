// remote.h - the same over tcp on loopback, with the server in a second process:
// remote_ask_seq, remote_await_seq, remote_ask_1000, remote_tell_30B.

#ifndef BENCH_WORKLOADS_REMOTE_H
#define BENCH_WORKLOADS_REMOTE_H

#include "../support/child.h"
#include "ask.h"
#include "bench.h"

enum {
    REMOTE_ASKS = 50000,
    REMOTE_WARM_UP = 5000,
    REMOTE_WINDOW = 1000,
    REMOTE_WINDOW_ASKS = 500000,
    REMOTE_TELLS = 5000000,
    ENDPOINT_BYTES = 128,
};

// ---- the second process ----

// `hark_bench serve ENDPOINT`: a server named "server". Prints the endpoint that others
// use, and ends when stdin closes.
static void
serve(const struct bench_options *options)
{
    struct bench bench = bench_open(options->workers, NULL);
    hark_spawn_options named = {.name = "server"};
    char endpoint[ENDPOINT_BYTES];

    need_actor(bench.me, hark_spawn_with(bench.me, &named, server));
    if (hark_listen(bench.me, options->argument, endpoint, sizeof endpoint)
        != HARK_OK) {
        fail_with_error(bench.me, hark_error_of(bench.me), options->argument);
    }
    printf("%s\n", endpoint);
    fflush(stdout);
    child_wait_for_parent();
    bench_close(&bench);
}

static struct child
open_server(int workers)
{
    char number[16];

    snprintf(number, sizeof number, "%d", workers);
    return child_open((const char *const[]){"hark_bench", "serve", "tcp://127.0.0.1:0",
                                            "--workers", number, NULL});
}

// Finds the server that the child has just announced.
static hark_ref
find_server(hark_ctx *me, struct child *child)
{
    char endpoint[ENDPOINT_BYTES], name[ENDPOINT_BYTES + sizeof "/server"];

    child_read_line(child, endpoint, sizeof endpoint);
    snprintf(name, sizeof name, "%s/server", endpoint);
    return need_actor(me, hark_lookup(me, name));
}

// ---- asks ----

static void
run_remote_ask_seq(struct bench *bench)
{
    hark_ctx *me = bench->me;
    struct child child = open_server(bench->workers);
    double *latencies_us = new_array(REMOTE_ASKS, sizeof *latencies_us);
    hark_ref to = find_server(me, &child);
    hark_ref from =
        need_actor(me, hark_spawn(me, asker, .server = to, .owner = hark_self(me),
                                  .latencies_us = latencies_us));
    double began;

    run_burst(bench, from, REMOTE_WARM_UP, 1);
    began = measure_now();
    run_burst(bench, from, REMOTE_ASKS, 1);
    figure_add_rate(bench->figures, REMOTE_ASKS, began, "ask/s");
    figure_add_latencies(bench->figures, latencies_us, REMOTE_ASKS);
    free(latencies_us);
    child_close(&child);
}

static void
run_remote_ask_1000(struct bench *bench)
{
    hark_ctx *me = bench->me;
    struct child child = open_server(bench->workers);
    hark_ref to = find_server(me, &child);
    hark_ref from =
        need_actor(me, hark_spawn(me, asker, .server = to, .owner = hark_self(me)));
    double began;

    run_burst(bench, from, REMOTE_WARM_UP, REMOTE_WINDOW);
    began = measure_now();
    run_burst(bench, from, REMOTE_WINDOW_ASKS, REMOTE_WINDOW);
    figure_add_rate(bench->figures, REMOTE_WINDOW_ASKS, began, "ask/s");
    child_close(&child);
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

// As remote_ask_seq, but a thread asks and waits, and not an actor.
static void
run_remote_await_seq(struct bench *bench)
{
    hark_ctx *me = bench->me;
    struct child child = open_server(bench->workers);
    double *latencies_us = new_array(REMOTE_ASKS, sizeof *latencies_us);
    hark_ref to = find_server(me, &child);
    double began;

    for (int i = 0; i < REMOTE_WARM_UP; i++) {
        await_one(me, to, i);
    }
    began = measure_now();
    for (int i = 0; i < REMOTE_ASKS; i++) {
        double asked_at = measure_now();

        await_one(me, to, i);
        latencies_us[i] = (measure_now() - asked_at) * 1e6;
    }
    figure_add_rate(bench->figures, REMOTE_ASKS, began, "ask/s");
    figure_add_latencies(bench->figures, latencies_us, REMOTE_ASKS);
    free(latencies_us);
    child_close(&child);
}

// ---- tells ----

typedef struct {
    hark_ref server;
    hark_ref owner;
    int64_t unsent;
    int64_t refused; // tells that met a full link, and were sent again
} teller;

static void tell_slice(hark_ctx *ctx, teller *self);

HARK_THEN(teller, counted, blobs) {
    if (self->unsent > 0) {
        tell_slice(ctx, self);
    } else {
        hark_tell(ctx, self->owner, done, .value = msg->count,
                  .dead_letters = self->refused);
    }
}

HARK_ELSE(teller, counted) {
    if (error->code != HARK_ELIMIT) {
        fail_with_error(ctx, error, "count_blobs");
    }
    hark_send_after(ctx, 1, hark_self(ctx), go); // no room for the question either
}

HARK_CONTINUATION(teller, counted, blobs)

// Waits until the server has all that was sent so far. That may take longer than an ask
// usually does.
static void
wait_for_server(hark_ctx *ctx, teller *self)
{
    hark_future answer =
        hark_ask_within(ctx, BENCH_PATIENCE, self->server, count_blobs);

    if (hark_then(ctx, answer, teller, counted, NULL) != HARK_OK) {
        fail("cannot continue an ask");
    }
}

// Sends the next slice, and then goes on by a message to itself, or waits: because the
// link is full, or all is sent.
static void
tell_slice(hark_ctx *ctx, teller *self)
{
    static const char bytes[BLOB_BYTES] = "012345678901234567890123456789";

    for (int i = 0; i < SLICE && self->unsent > 0; i++) {
        hark_err err = hark_tell(ctx, self->server, blob,
                                 .data = {.ptr = bytes, .len = sizeof bytes});

        if (err == HARK_ELIMIT) {
            self->refused++;
            wait_for_server(ctx, self);
            return;
        }
        if (err != HARK_OK) {
            fail("tell: %s", hark_err_text(err));
        }
        self->unsent--;
    }
    if (self->unsent > 0) {
        hark_tell(ctx, hark_self(ctx), go);
    } else {
        wait_for_server(ctx, self);
    }
}

HARK_ON(teller, go) {
    tell_slice(ctx, self);
}

HARK_ACTOR(teller, go)

static void
run_remote_tell(struct bench *bench)
{
    hark_ctx *me = bench->me;
    struct child child = open_server(bench->workers);
    hark_ref to = find_server(me, &child);
    hark_ref from =
        need_actor(me, hark_spawn(me, teller, .server = to, .owner = hark_self(me),
                                  .unsent = REMOTE_TELLS));
    double began = measure_now();

    hark_tell(me, from, go);
    expect_count("blobs", await_done(bench, 1), REMOTE_TELLS);
    figure_add_rate(bench->figures, REMOTE_TELLS, began, "msg/s");
    child_close(&child);
}

#endif // BENCH_WORKLOADS_REMOTE_H
