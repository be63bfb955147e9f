// remote.h - the same with the server in a second process, over tcp on loopback and over
// ipc: remote_ask_seq, remote_await_seq, remote_ask_1000, remote_tell_30B,
// remote_tell_1KB, remote_tell_64KB, each also with _ipc behind its name.

#ifndef BENCH_WORKLOADS_REMOTE_H
#define BENCH_WORKLOADS_REMOTE_H

#include "../support/child.h"
#include "../support/endpoint.h"
#include "ask.h"
#include "bench.h"

enum {
    REMOTE_ASKS = 50000,
    REMOTE_WARM_UP = 5000,
    REMOTE_WINDOW = 1000,
    REMOTE_WINDOW_ASKS = 500000,
    SMALL_TELLS = 5000000,
    MIDDLE_TELLS = 1000000,
    LARGE_TELLS = 50000,
    SMALL_BYTES = 30,
    MIDDLE_BYTES = 1024,
    LARGE_BYTES = 65536,
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

// The second process and the folder of its socket.
struct host {
    struct child child;
    struct endpoint_folder folder;
    hark_ref server;
};

// Opens the second process and finds its server.
static struct host
open_host(struct bench *bench, enum transport transport)
{
    struct host host;
    char number[16], listen[ENDPOINT_BYTES] = "tcp://127.0.0.1:0";
    char endpoint[ENDPOINT_BYTES], name[ENDPOINT_BYTES + sizeof "/server"];

    endpoint_folder_open(&host.folder);
    if (transport == TRANSPORT_IPC) {
        endpoint_in_folder(&host.folder, 0, listen);
    }
    snprintf(number, sizeof number, "%d", bench->workers);
    host.child = child_open((const char *const[]){"hark_bench", "serve", listen,
                                                  "--workers", number, NULL});
    child_read_line(&host.child, endpoint, sizeof endpoint);
    snprintf(name, sizeof name, "%s/server", endpoint);
    host.server = need_actor(bench->me, hark_lookup(bench->me, name));
    return host;
}

static void
close_host(struct host *host)
{
    child_close(&host->child);
    endpoint_folder_close(&host->folder);
}

// ---- asks ----

static void
measure_remote_ask_seq(struct bench *bench, enum transport transport)
{
    hark_ctx *me = bench->me;
    struct host host = open_host(bench, transport);
    double *latencies_us = new_array(REMOTE_ASKS, sizeof *latencies_us);
    hark_ref from = need_actor(me, hark_spawn(me, asker, .server = host.server,
                                              .owner = hark_self(me),
                                              .latencies_us = latencies_us));
    double began;

    run_burst(bench, from, REMOTE_WARM_UP, 1);
    began = measure_now();
    run_burst(bench, from, REMOTE_ASKS, 1);
    figure_add_rate(bench->figures, REMOTE_ASKS, began, "ask/s");
    figure_add_latencies(bench->figures, latencies_us, REMOTE_ASKS);
    free(latencies_us);
    close_host(&host);
}

static void
measure_remote_ask_1000(struct bench *bench, enum transport transport)
{
    hark_ctx *me = bench->me;
    struct host host = open_host(bench, transport);
    hark_ref from = need_actor(
        me, hark_spawn(me, asker, .server = host.server, .owner = hark_self(me)));
    double began;

    run_burst(bench, from, REMOTE_WARM_UP, REMOTE_WINDOW);
    began = measure_now();
    run_burst(bench, from, REMOTE_WINDOW_ASKS, REMOTE_WINDOW);
    figure_add_rate(bench->figures, REMOTE_WINDOW_ASKS, began, "ask/s");
    close_host(&host);
}

// As remote_ask_seq, but a thread asks and waits, and not an actor.
static void
measure_remote_await_seq(struct bench *bench, enum transport transport)
{
    hark_ctx *me = bench->me;
    struct host host = open_host(bench, transport);
    double *latencies_us = new_array(REMOTE_ASKS, sizeof *latencies_us);
    double began;

    for (int i = 0; i < REMOTE_WARM_UP; i++) {
        await_one(me, host.server, i);
    }
    began = measure_now();
    for (int i = 0; i < REMOTE_ASKS; i++) {
        double asked_at = measure_now();

        await_one(me, host.server, i);
        latencies_us[i] = (measure_now() - asked_at) * 1e6;
    }
    figure_add_rate(bench->figures, REMOTE_ASKS, began, "ask/s");
    figure_add_latencies(bench->figures, latencies_us, REMOTE_ASKS);
    free(latencies_us);
    close_host(&host);
}

// ---- tells ----

typedef struct {
    hark_ref server;
    hark_ref owner;
    hark_bytes data; // of every message
    int64_t unsent;
    int64_t refused; // tells that met a full link, and were sent again
} teller;

static void tell_slice(hark_ctx *ctx, teller *self);

HARK_THEN(teller, counted, blobs) {
    if (self->unsent > 0) {
        tell_slice(ctx, self);
    } else {
        expect_count("bytes", msg->bytes, msg->count * (int64_t)self->data.len);
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
    for (int i = 0; i < SLICE && self->unsent > 0; i++) {
        hark_err err = hark_tell(ctx, self->server, blob, .data = self->data);

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
measure_remote_tell(struct bench *bench, enum transport transport, size_t size,
                    int64_t tells)
{
    hark_ctx *me = bench->me;
    struct host host = open_host(bench, transport);
    hark_buffer *buffer = hark_buffer_new(size);
    hark_bytes data = hark_bytes_of_buffer(buffer);
    hark_ref from;
    double began;

    if (buffer == NULL) {
        fail("no memory for a buffer");
    }
    memset(hark_buffer_data(buffer), 'x', size);
    if (size < LARGE_BYTES) {
        data.buffer = NULL; // small bytes are copied, large ones shared
    }
    from = need_actor(me, hark_spawn(me, teller, .server = host.server,
                                     .owner = hark_self(me), .data = data,
                                     .unsent = tells));
    began = measure_now();
    hark_tell(me, from, go);
    expect_count("blobs", await_done(bench, 1), tells);
    figure_add_rate(bench->figures, (double)tells, began, "msg/s");
    close_host(&host);
    hark_buffer_release(buffer);
}

// ---- both transports ----

// clang-format off
#define REMOTE_WORKLOAD(name, ...)                                                     \
    static void run_remote_##name(struct bench *bench)                                 \
    {                                                                                  \
        enum transport transport = TRANSPORT_TCP;                                      \
        __VA_ARGS__;                                                                   \
    }                                                                                  \
    static void run_remote_##name##_ipc(struct bench *bench)                           \
    {                                                                                  \
        enum transport transport = TRANSPORT_IPC;                                      \
        __VA_ARGS__;                                                                   \
    }

REMOTE_WORKLOAD(ask_seq, measure_remote_ask_seq(bench, transport))
REMOTE_WORKLOAD(await_seq, measure_remote_await_seq(bench, transport))
REMOTE_WORKLOAD(ask_1000, measure_remote_ask_1000(bench, transport))
REMOTE_WORKLOAD(tell_30B,
                measure_remote_tell(bench, transport, SMALL_BYTES, SMALL_TELLS))
REMOTE_WORKLOAD(tell_1KB,
                measure_remote_tell(bench, transport, MIDDLE_BYTES, MIDDLE_TELLS))
REMOTE_WORKLOAD(tell_64KB,
                measure_remote_tell(bench, transport, LARGE_BYTES, LARGE_TELLS))
// clang-format on

#endif // BENCH_WORKLOADS_REMOTE_H
