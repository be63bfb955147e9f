// zmq_bench: raw libzmq doing what hark's remote workloads do, as a yardstick.
//
//     zmq_bench WORKLOAD [--workers N] [--rounds N]      N: libzmq's I/O threads
//
//     remote_ask_seq    DEALER/ROUTER, one request at a time: p50 and p99
//     remote_ask_1000   DEALER/ROUTER, 1,000 requests in flight
//     remote_tell_30B   PUSH/PULL, one way; the last one is acknowledged
//
// Two processes over tcp on loopback; 30 bytes a message, and no encoding, types,
// timeouts or acknowledgements but libzmq's own.

#include <pthread.h>
#include <stdint.h>

#include <zmq.h>

#include "support/child.h"
#include "support/measure.h"

enum {
    MESSAGE_BYTES = 30,
    SEQ_ASKS = 50000,
    SEQ_WARM_UP = 5000,
    WINDOW = 1000,
    WINDOW_ASKS = 500000,
    TELLS = 5000000,
    ENDPOINT_BYTES = 128,
};

// Messages in each queue: libzmq's own default. Larger marks, and none, were faster in
// some runs and slower in others.
#define TELL_HWM 1000
// A ROUTER drops what passes its mark, so it must have none.
#define ASK_HWM 0

static const char usage[] =
    "usage: zmq_bench remote_ask_seq|remote_ask_1000|remote_tell_30B "
    "[--workers N] [--rounds N]";

// One end of a connection.
struct end {
    void *context;
    void *socket;
};

static void
require(int result, const char *what)
{
    if (result < 0) {
        fail("%s: %s", what, zmq_strerror(zmq_errno()));
    }
}

static void *
open_context(int io_threads)
{
    void *context = zmq_ctx_new();

    if (context == NULL) {
        fail("zmq_ctx_new: %s", zmq_strerror(zmq_errno()));
    }
    require(zmq_ctx_set(context, ZMQ_IO_THREADS, io_threads), "ZMQ_IO_THREADS");
    return context;
}

static void *
open_socket(void *context, int type, int high_water_mark)
{
    void *socket = zmq_socket(context, type);
    int linger = 0;

    if (socket == NULL) {
        fail("zmq_socket: %s", zmq_strerror(zmq_errno()));
    }
    zmq_setsockopt(socket, ZMQ_SNDHWM, &high_water_mark, sizeof high_water_mark);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &high_water_mark, sizeof high_water_mark);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    return socket;
}

// Sends a message of MESSAGE_BYTES that starts with number.
static void
send_number(void *socket, int64_t number)
{
    char bytes[MESSAGE_BYTES] = {0};

    memcpy(bytes, &number, sizeof number);
    require(zmq_send(socket, bytes, sizeof bytes, 0), "zmq_send");
}

static int64_t
receive_number(void *socket)
{
    char bytes[MESSAGE_BYTES];
    int64_t number;
    int got = zmq_recv(socket, bytes, sizeof bytes, 0);

    require(got, "zmq_recv");
    expect_count("bytes of a message", got, MESSAGE_BYTES);
    memcpy(&number, bytes, sizeof number);
    return number;
}

// ---- the second process ----

// Ends this process when our stdin closes, whatever the main thread waits for.
static void *
watch_parent(void *unused)
{
    child_wait_for_parent();
    _exit(0);
    return unused;
}

// Binds to a free port and tells the parent which.
static void
bind_and_announce(void *socket)
{
    char endpoint[ENDPOINT_BYTES];
    size_t size = sizeof endpoint;

    require(zmq_bind(socket, "tcp://127.0.0.1:*"), "zmq_bind");
    require(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size), "endpoint");
    printf("%s\n", endpoint);
    fflush(stdout);
}

// Sends every message back, forever.
static void
serve_asks(void *context)
{
    void *router = open_socket(context, ZMQ_ROUTER, ASK_HWM);
    zmq_msg_t id, body;

    zmq_msg_init(&id);
    zmq_msg_init(&body);
    bind_and_announce(router);
    for (;;) {
        require(zmq_msg_recv(&id, router, 0), "receive id");
        require(zmq_msg_recv(&body, router, 0), "receive body");
        require(zmq_msg_send(&id, router, ZMQ_SNDMORE), "send id");
        require(zmq_msg_send(&body, router, 0), "send body");
    }
}

// Receives count messages and acknowledges the last.
static void
take_tells(void *pull, void *push, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        expect_count("number in a message", receive_number(pull), i);
    }
    send_number(push, count);
}

// Takes one message, which shows that both sockets are connected, and then TELLS.
static void
serve_tells(void *context)
{
    void *pull = open_socket(context, ZMQ_PULL, TELL_HWM);
    void *push = open_socket(context, ZMQ_PUSH, TELL_HWM);

    bind_and_announce(pull);
    bind_and_announce(push);
    take_tells(pull, push, 1);
    take_tells(pull, push, TELLS);
}

// The second process's main. Never returns: the watcher ends the process.
static void
serve(const struct bench_options *options)
{
    void *context = open_context(options->workers);
    pthread_t watcher;

    if (pthread_create(&watcher, NULL, watch_parent, NULL) != 0) {
        fail("no thread");
    }
    if (strcmp(options->argument, "tells") == 0) {
        serve_tells(context);
    } else {
        serve_asks(context);
    }
    pthread_join(watcher, NULL);
}

static struct child
open_server(const char *what, int workers)
{
    char number[16];

    snprintf(number, sizeof number, "%d", workers);
    return child_open(
        (const char *const[]){"zmq_bench", "serve", what, "--workers", number, NULL});
}

// Gives a socket that is connected to the endpoint on the child's next line.
static void *
connect_to(struct child *child, void *context, int type, int high_water_mark)
{
    char endpoint[ENDPOINT_BYTES];
    void *socket = open_socket(context, type, high_water_mark);

    child_read_line(child, endpoint, sizeof endpoint);
    require(zmq_connect(socket, endpoint), "zmq_connect");
    return socket;
}

// ---- the workloads ----

static void
ask_one(void *dealer, int64_t number)
{
    send_number(dealer, number);
    expect_count("answer", receive_number(dealer), number);
}

static void
measure_asks(struct figures *figures, void *dealer)
{
    double *latencies_us = new_array(SEQ_ASKS, sizeof *latencies_us);
    double began, before, after;

    for (int i = 0; i < SEQ_WARM_UP; i++) {
        ask_one(dealer, i);
    }
    began = before = measure_now();
    for (int i = 0; i < SEQ_ASKS; i++) {
        ask_one(dealer, i);
        after = measure_now();
        latencies_us[i] = (after - before) * 1e6;
        before = after;
    }
    figure_add_rate(figures, SEQ_ASKS, began, "ask/s");
    figure_add_latencies(figures, latencies_us, SEQ_ASKS);
    free(latencies_us);
}

// Keeps WINDOW requests in flight. Answers come in order.
static void
ask_windowed(void *dealer, int64_t asks)
{
    int64_t sent = 0;

    while (sent < WINDOW) {
        send_number(dealer, sent++);
    }
    for (int64_t got = 0; got < asks; got++) {
        expect_count("answer", receive_number(dealer), got);
        if (sent < asks) {
            send_number(dealer, sent++);
        }
    }
}

static void
measure_windowed_asks(struct figures *figures, void *dealer)
{
    double began;

    ask_windowed(dealer, SEQ_WARM_UP);
    began = measure_now();
    ask_windowed(dealer, WINDOW_ASKS);
    figure_add_rate(figures, WINDOW_ASKS, began, "ask/s");
}

// One round of either of the two, which get a connected DEALER.
static void
run_asks(struct figures *figures, int workers,
         void (*measure)(struct figures *figures, void *dealer))
{
    struct child child = open_server("asks", workers);
    void *context = open_context(workers);
    void *dealer = connect_to(&child, context, ZMQ_DEALER, ASK_HWM);

    measure(figures, dealer);
    zmq_close(dealer);
    zmq_ctx_term(context);
    child_close(&child);
}

static void
run_remote_ask_seq(struct figures *figures, int workers)
{
    run_asks(figures, workers, measure_asks);
}

static void
run_remote_ask_1000(struct figures *figures, int workers)
{
    run_asks(figures, workers, measure_windowed_asks);
}

static void
tell_and_wait(void *push, void *acknowledged, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        send_number(push, i);
    }
    expect_count("messages", receive_number(acknowledged), count);
}

static void
run_remote_tell(struct figures *figures, int workers)
{
    struct child child = open_server("tells", workers);
    void *context = open_context(workers);
    void *push = connect_to(&child, context, ZMQ_PUSH, TELL_HWM);
    void *pull = connect_to(&child, context, ZMQ_PULL, TELL_HWM);
    double began;

    tell_and_wait(push, pull, 1);
    began = measure_now();
    tell_and_wait(push, pull, TELLS);
    figure_add_rate(figures, TELLS, began, "msg/s");
    zmq_close(push);
    zmq_close(pull);
    zmq_ctx_term(context);
    child_close(&child);
}

static const struct workload {
    const char *name;
    void (*run)(struct figures *figures, int workers);
} workloads[] = {
    {"remote_ask_seq", run_remote_ask_seq},
    {"remote_ask_1000", run_remote_ask_1000},
    {"remote_tell_30B", run_remote_tell},
};

enum { WORKLOADS = sizeof workloads / sizeof workloads[0] };

// Runs one workload in all its rounds and prints its figures.
static void
run_workload(const struct workload *workload, struct bench_options options)
{
    struct figures figures = {0};

    options.workload = workload->name;
    for (int round = 0; round < options.rounds; round++) {
        workload->run(&figures, options.workers);
    }
    figures_print(&figures, "libzmq", &options);
}

int
main(int argc, char **argv)
{
    struct bench_options options;
    int runs = 0;

    (void)argc;
    if (!parse_options(argv, &options)) {
        fail("%s", usage);
    }
    if (strcmp(options.workload, "serve") == 0 && options.argument != NULL) {
        serve(&options);
        return 0;
    }
    for (int i = 0; i < WORKLOADS; i++) {
        if (strcmp(options.workload, workloads[i].name) == 0
            || strcmp(options.workload, "all") == 0) {
            run_workload(&workloads[i], options);
            runs++;
        }
    }
    if (runs == 0) {
        fail("%s", usage);
    }
    return 0;
}
