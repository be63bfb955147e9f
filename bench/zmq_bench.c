// zmq_bench: raw libzmq doing what hark's remote workloads do, as a yardstick.
//
//     zmq_bench WORKLOAD [--workers N] [--rounds N]      N: libzmq's I/O threads
//
//     remote_ask_seq     DEALER/ROUTER, one request at a time: p50, p99 and p999
//     remote_ask_1000    DEALER/ROUTER, 1,000 requests in flight
//     remote_tell_30B    PUSH/PULL, one way; the last one is acknowledged
//     remote_tell_1KB    the same, larger
//     remote_tell_64KB   the same, and all share one block: nothing is copied
//
// Two processes over tcp on loopback, or over ipc with `_ipc` behind the name; 30 bytes
// a request, and no encoding, types, timeouts or acknowledgements but libzmq's own.

#include <pthread.h>
#include <stdint.h>

#include <zmq.h>

#include "support/child.h"
#include "support/endpoint.h"
#include "support/measure.h"

enum {
    MESSAGE_BYTES = 30,
    SEQ_ASKS = 50000,
    SEQ_WARM_UP = 5000,
    WINDOW = 1000,
    WINDOW_ASKS = 500000,
    SMALL_BYTES = MESSAGE_BYTES,
    MIDDLE_BYTES = 1024,
    LARGE_BYTES = 65536,
    SMALL_TELLS = 5000000,
    MIDDLE_TELLS = 1000000,
    LARGE_TELLS = 50000,
};

// Messages in each queue: libzmq's own default. Larger marks, and none, were faster in
// some runs and slower in others.
#define TELL_HWM 1000
// A ROUTER drops what passes its mark, so it must have none.
#define ASK_HWM 0

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

// Binds to the endpoint and tells the parent where that is.
static void
bind_and_announce(void *socket, const char *wanted)
{
    char endpoint[ENDPOINT_BYTES];
    size_t size = sizeof endpoint;

    require(zmq_bind(socket, wanted), "zmq_bind");
    require(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size), "endpoint");
    printf("%s\n", endpoint);
    fflush(stdout);
}

// Sends every message back, forever.
static void
serve_asks(void *context, const char *endpoint)
{
    void *router = open_socket(context, ZMQ_ROUTER, ASK_HWM);
    zmq_msg_t id, body;

    zmq_msg_init(&id);
    zmq_msg_init(&body);
    bind_and_announce(router, endpoint);
    for (;;) {
        require(zmq_msg_recv(&id, router, 0), "receive id");
        require(zmq_msg_recv(&body, router, 0), "receive body");
        require(zmq_msg_send(&id, router, ZMQ_SNDMORE), "send id");
        require(zmq_msg_send(&body, router, 0), "send body");
    }
}

// Receives messages of size bytes, as many as `count` says, and acknowledges the last.
static void
take_tells(void *pull, void *push, int64_t count, size_t size)
{
    zmq_msg_t message;

    zmq_msg_init(&message);
    for (int64_t i = 0; i < count; i++) {
        require(zmq_msg_recv(&message, pull, 0), "receive");
        expect_count("bytes of a message", (long long)zmq_msg_size(&message),
                     (long long)size);
    }
    zmq_msg_close(&message);
    send_number(push, count);
}

// Takes one number, which shows that both sockets are connected, then as many messages
// as it says.
static void
serve_tells(void *context, const char *endpoint, const char *second_endpoint,
            size_t size)
{
    void *pull = open_socket(context, ZMQ_PULL, TELL_HWM);
    void *push = open_socket(context, ZMQ_PUSH, TELL_HWM);
    int64_t count;

    bind_and_announce(pull, endpoint);
    bind_and_announce(push, second_endpoint);
    count = receive_number(pull);
    send_number(push, count);
    take_tells(pull, push, count, size);
}

// The second process's main, `serve FOLDER` for ipc or `serve tcp`. What to do comes
// as the first line on stdin: a size of tells, or 0 for asks. Never returns: the watcher
// ends the process.
static void
serve(const struct bench_options *options)
{
    void *context = open_context(options->workers);
    char first[ENDPOINT_BYTES] = "tcp://127.0.0.1:*";
    char second[ENDPOINT_BYTES] = "tcp://127.0.0.1:*";
    unsigned long size = 0;
    pthread_t watcher;

    if (strcmp(options->argument, "tcp") != 0) {
        struct endpoint_folder folder;

        snprintf(folder.path, sizeof folder.path, "%s", options->argument);
        endpoint_in_folder(&folder, 0, first);
        endpoint_in_folder(&folder, 1, second);
    }
    if (scanf("%lu", &size) != 1) {
        fail("nobody says what to serve");
    }
    if (pthread_create(&watcher, NULL, watch_parent, NULL) != 0) {
        fail("no thread");
    }
    if (size > 0) {
        serve_tells(context, first, second, size);
    } else {
        serve_asks(context, first);
    }
    pthread_join(watcher, NULL);
}

// The second process and the folder of its sockets.
struct host {
    struct child child;
    struct endpoint_folder folder;
};

// size: of the tells that it takes; 0: it answers.
static struct host
open_host(size_t size, int workers, enum transport transport)
{
    struct host host;
    char number[16];

    endpoint_folder_open(&host.folder);
    snprintf(number, sizeof number, "%d", workers);
    host.child = child_open((const char *const[]){
        "zmq_bench", "serve", transport == TRANSPORT_IPC ? host.folder.path : "tcp",
        "--workers", number, NULL});
    if (dprintf(host.child.stdin_fd, "%zu\n", size) < 0) {
        fail("cannot tell the second process what to serve");
    }
    return host;
}

static void
close_host(struct host *host)
{
    child_close(&host->child);
    endpoint_folder_close(&host->folder);
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
run_asks(struct figures *figures, int workers, enum transport transport,
         void (*measure)(struct figures *figures, void *dealer))
{
    struct host host = open_host(0, workers, transport);
    void *context = open_context(workers);
    void *dealer = connect_to(&host.child, context, ZMQ_DEALER, ASK_HWM);

    measure(figures, dealer);
    zmq_close(dealer);
    zmq_ctx_term(context);
    close_host(&host);
}

static void
free_nothing(void *data, void *hint)
{
    (void)data;
    (void)hint;
}

// Sends count messages of size bytes. Large ones are not copied: all share one block,
// which outlives them.
static void
send_blobs(void *push, int64_t count, size_t size)
{
    char *block = new_array(1, size); // freed by the process's end: libzmq has it

    for (int64_t i = 0; i < count; i++) {
        zmq_msg_t message;

        if (size < LARGE_BYTES) {
            require(zmq_send(push, block, size, 0), "zmq_send");
        } else {
            zmq_msg_init_data(&message, block, size, free_nothing, NULL);
            require(zmq_msg_send(&message, push, 0), "zmq_msg_send");
        }
    }
}

static void
run_tells(struct figures *figures, int workers, enum transport transport, size_t size,
          int64_t tells)
{
    struct host host = open_host(size, workers, transport);
    void *context = open_context(workers);
    void *push = connect_to(&host.child, context, ZMQ_PUSH, TELL_HWM);
    void *pull = connect_to(&host.child, context, ZMQ_PULL, TELL_HWM);
    double began;

    send_number(push, tells);
    expect_count("echo", receive_number(pull), tells);
    began = measure_now();
    send_blobs(push, tells, size);
    expect_count("messages", receive_number(pull), tells);
    figure_add_rate(figures, (double)tells, began, "msg/s");
    zmq_close(push);
    zmq_close(pull);
    zmq_ctx_term(context);
    close_host(&host);
}

static const struct workload {
    const char *name;
    void (*measure)(struct figures *figures, void *dealer); // asks; NULL: tells
    size_t size;
    int64_t tells;
} workloads[] = {
    {"remote_ask_seq", measure_asks, 0, 0},
    {"remote_ask_1000", measure_windowed_asks, 0, 0},
    {"remote_tell_30B", NULL, SMALL_BYTES, SMALL_TELLS},
    {"remote_tell_1KB", NULL, MIDDLE_BYTES, MIDDLE_TELLS},
    {"remote_tell_64KB", NULL, LARGE_BYTES, LARGE_TELLS},
};

enum { WORKLOADS = sizeof workloads / sizeof workloads[0] };

__attribute__((noreturn)) static void
fail_with_usage(void)
{
    fputs("usage: zmq_bench WORKLOAD[_ipc] [--workers N] [--rounds N]\nworkloads:",
          stderr);
    for (int i = 0; i < WORKLOADS; i++) {
        fprintf(stderr, " %s", workloads[i].name);
    }
    fputc('\n', stderr);
    exit(2);
}

// The workload that is meant by name, and over which transport. NULL: none.
static const struct workload *
find_workload(const char *name, enum transport *out_transport)
{
    for (int i = 0; i < WORKLOADS; i++) {
        size_t length = strlen(workloads[i].name);

        if (strncmp(name, workloads[i].name, length) == 0) {
            if (strcmp(name + length, "") == 0) {
                *out_transport = TRANSPORT_TCP;
                return &workloads[i];
            }
            if (strcmp(name + length, "_ipc") == 0) {
                *out_transport = TRANSPORT_IPC;
                return &workloads[i];
            }
        }
    }
    return NULL;
}

int
main(int argc, char **argv)
{
    const struct workload *workload;
    struct bench_options options;
    struct figures figures = {0};
    enum transport transport;

    (void)argc;
    if (!parse_options(argv, &options)) {
        fail_with_usage();
    }
    if (strcmp(options.workload, "serve") == 0 && options.argument != NULL) {
        serve(&options);
        return 0;
    }
    workload = find_workload(options.workload, &transport);
    if (workload == NULL) {
        fail_with_usage();
    }
    for (int round = 0; round < options.rounds; round++) {
        if (workload->measure != NULL) {
            run_asks(&figures, options.workers, transport, workload->measure);
        } else {
            run_tells(&figures, options.workers, transport, workload->size,
                      workload->tells);
        }
    }
    figures_print(&figures, "libzmq", &options);
    return 0;
}
