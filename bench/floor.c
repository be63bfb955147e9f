// floor: the least that a machine must do for what an actor runtime does.
//
//     floor WORKLOAD [--rounds N]
//
//     message   take a block, fill it, one exchange, one indirect call, give it back:
//               what any message costs at least, in one thread, without a queue
//     costs     single costs: an exchange, a call, the clock, a system call, a wake
//     touch     two cache lines of one of many places at random, by a table of where they
//               are, one after the other: what a message to one of many actors must touch
//     link      a byte to another process and back, over a tcp and a unix socket
//
// It is no implementation of anything: a figure of hark over one of these tells how far
// it is from the ground.

#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "support/measure.h"

// ---- message ----

enum { MESSAGES = 50000000, BLOCKS = 64 };

// As much as a message must carry: its successor, type, sender, correlation, a value.
struct block {
    struct block *next;
    const void *type;
    uint64_t sender[2];
    uint64_t correlation;
    uint64_t time;
    int64_t value;
    uint64_t size;
};

struct actor {
    _Atomic(struct block *) newest; // exchanged by whoever sends
    void (*handle)(struct actor *self, const struct block *message);
    int64_t sum;
};

static void
add_value(struct actor *self, const struct block *message)
{
    self->sum += message->value;
}

static void
run_message(struct figures *figures)
{
    static struct block blocks[BLOCKS];
    struct block *free_blocks = NULL;
    // Volatile, or the compiler would call directly what it can see.
    void (*volatile handle)(struct actor *, const struct block *) = add_value;
    struct actor actor = {.handle = handle};
    double began;

    for (int i = 0; i < BLOCKS; i++) {
        blocks[i].next = free_blocks;
        free_blocks = &blocks[i];
    }
    atomic_init(&actor.newest, NULL);
    began = measure_now();
    for (int64_t i = 0; i < MESSAGES; i++) {
        struct block *message = free_blocks;
        struct block *taken;

        free_blocks = message->next;
        *message = (struct block){
            .type = &blocks, .sender = {1, (uint64_t)i}, .value = 1, .size = 8};
        // The order that a queue between threads needs.
        taken = atomic_exchange_explicit(&actor.newest, message, memory_order_acq_rel);
        actor.handle(&actor, message);
        if (taken != NULL) {
            taken->next = free_blocks;
            free_blocks = taken;
        }
    }
    figure_add_rate(figures, MESSAGES, began, "msg/s");
    expect_count("sum", actor.sum, MESSAGES);
}

// ---- costs ----

enum { CHEAP = 20000000, DEAR = 500000 };

static void
figure_add_cost(struct figures *figures, const char *metric, double began, int count)
{
    figure_add(figures, metric, (measure_now() - began) * 1e9 / count, "ns");
}

static void
run_costs(struct figures *figures)
{
    _Atomic(int64_t) word;
    _Atomic(uint32_t) futex;
    int event = eventfd(0, EFD_CLOEXEC);
    uint64_t one = 1;
    double began;

    atomic_init(&word, 0);
    atomic_init(&futex, 0);
    began = measure_now();
    for (int64_t i = 0; i < CHEAP; i++) {
        atomic_exchange(&word, i);
    }
    figure_add_cost(figures, "exchange", began, CHEAP);
    expect_count("last word", atomic_load(&word), CHEAP - 1);
    began = measure_now();
    for (int i = 0; i < CHEAP; i++) {
        measure_now();
    }
    figure_add_cost(figures, "clock", began, CHEAP);
    began = measure_now();
    for (int i = 0; i < DEAR; i++) {
        syscall(SYS_getppid);
    }
    figure_add_cost(figures, "system_call", began, DEAR);
    began = measure_now();
    for (int i = 0; i < DEAR; i++) {
        syscall(SYS_futex, &futex, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
    figure_add_cost(figures, "wake_nobody", began, DEAR);
    began = measure_now();
    for (int i = 0; i < DEAR; i++) {
        if (write(event, &one, sizeof one) != sizeof one
            || read(event, &one, sizeof one) != sizeof one) {
            fail("eventfd");
        }
    }
    figure_add_cost(figures, "eventfd_write_read", began, DEAR);
    close(event);
}

// ---- touch ----

enum { TOUCHES = 2000000, HUGE_PAGE = 1 << 21 };

// As much as an actor is: a line that others write, and a line of its own.
struct place {
    _Alignas(64) _Atomic(uint64_t) newest;
    _Alignas(64) int64_t touched;
};

// As much as is known of an actor before it is touched.
struct known_place {
    struct place *place;
    uint64_t number;
};

static void
measure_touch(struct figures *figures, const char *metric, uint32_t count)
{
    size_t size = (count * sizeof(struct place) + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    struct place *places = aligned_alloc(HUGE_PAGE, size);
    struct known_place *known = new_array(count, sizeof *known);
    int64_t sum = 0;
    uint32_t random = 1;
    double began;

    if (places == NULL) {
        fail("no memory");
    }
    (void)madvise(places, size, MADV_HUGEPAGE);
    memset(places, 0, size);
    for (uint32_t i = 0; i < count; i++) {
        known[i] = (struct known_place){&places[i], i};
    }
    began = measure_now();
    for (int i = 0; i < TOUCHES; i++) {
        struct place *place = known[((uint64_t)random * count) >> 32].place;
        uint64_t old =
            atomic_exchange_explicit(&place->newest, random, memory_order_acq_rel);

        place->touched++;
        // Each waits for the one before: between two messages there is more to do than a
        // processor can look ahead.
        random = random * 1664525u + 1013904223u + (old == UINT64_MAX);
    }
    figure_add_cost(figures, metric, began, TOUCHES);
    for (uint32_t i = 0; i < count; i++) {
        sum += places[i].touched;
    }
    expect_count("touches", sum, TOUCHES);
    free(known);
    free(places);
}

static void
run_touch(struct figures *figures)
{
    measure_touch(figures, "to_10", 10);
    measure_touch(figures, "to_1k", 1000);
    measure_touch(figures, "to_100k", 100000);
    measure_touch(figures, "to_1M", 1000000);
}

// ---- link ----

enum { TRIPS = 50000, WARM_UP_TRIPS = 1000 };

static void
exchange_byte(int fd, bool first)
{
    char byte = 1;

    if (first && write(fd, &byte, 1) != 1) {
        fail("write");
    }
    if (read(fd, &byte, 1) != 1) {
        fail("read");
    }
    if (!first && write(fd, &byte, 1) != 1) {
        fail("write");
    }
}

// Bounces a byte between this process and a fork of it, on the two ends of a connection.
static void
measure_trips(struct figures *figures, int ours, int theirs, const char *p50,
              const char *p99)
{
    double *trips_us = new_array(TRIPS, sizeof *trips_us);
    pid_t pid = fork();
    int status;

    if (pid < 0) {
        fail("fork");
    }
    if (pid == 0) {
        for (int i = 0; i < WARM_UP_TRIPS + TRIPS; i++) {
            exchange_byte(theirs, false);
        }
        _exit(0);
    }
    for (int i = 0; i < WARM_UP_TRIPS + TRIPS; i++) {
        double began = measure_now();

        exchange_byte(ours, true);
        if (i >= WARM_UP_TRIPS) {
            trips_us[i - WARM_UP_TRIPS] = (measure_now() - began) * 1e6;
        }
    }
    if (waitpid(pid, &status, 0) != pid || status != 0) {
        fail("the second process failed");
    }
    qsort(trips_us, TRIPS, sizeof *trips_us, compare_doubles);
    figure_add(figures, p50, trips_us[TRIPS / 2], "us");
    figure_add(figures, p99, trips_us[TRIPS * 99 / 100], "us");
    free(trips_us);
    close(ours);
    close(theirs);
}

// Gives the two ends of a tcp connection over loopback.
static void
open_tcp_pair(int out_ends[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;

    out_ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, size) != 0
        || listen(listener, 1) != 0
        || getsockname(listener, (struct sockaddr *)&address, &size) != 0
        || connect(out_ends[0], (struct sockaddr *)&address, size) != 0) {
        fail("no tcp on loopback");
    }
    out_ends[1] = accept(listener, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        setsockopt(out_ends[i], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    }
    close(listener);
}

static void
run_link(struct figures *figures)
{
    int ends[2];

    open_tcp_pair(ends);
    measure_trips(figures, ends[0], ends[1], "tcp_p50", "tcp_p99");
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) {
        fail("socketpair");
    }
    measure_trips(figures, ends[0], ends[1], "unix_p50", "unix_p99");
}

static const struct workload {
    const char *name;
    void (*run)(struct figures *figures);
} workloads[] = {
    {"message", run_message},
    {"costs", run_costs},
    {"touch", run_touch},
    {"link", run_link},
};

enum { WORKLOADS = sizeof workloads / sizeof workloads[0] };

int
main(int argc, char **argv)
{
    struct bench_options options;
    struct figures figures = {0};

    (void)argc;
    if (!parse_options(argv, &options)) {
        fail("usage: floor message|costs|touch|link [--rounds N]");
    }
    for (int i = 0; i < WORKLOADS; i++) {
        if (strcmp(options.workload, workloads[i].name) == 0) {
            for (int round = 0; round < options.rounds; round++) {
                workloads[i].run(&figures);
            }
            figures_print(&figures, "floor", &options);
            return 0;
        }
    }
    fail("no workload %s", options.workload);
}
