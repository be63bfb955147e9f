// idle.h - what costs without doing anything: timers that never fire, actors that wait,
// links without traffic. timers_pair, mem, mem_5M, mem_10M, idle.

#ifndef BENCH_WORKLOADS_IDLE_H
#define BENCH_WORKLOADS_IDLE_H

#include <stdatomic.h>

#include "../support/child.h"
#include "../support/endpoint.h"
#include "bench.h"

// ---- timers_pair: set a timer, cancel it ----

enum { TIMERS = 1000000, TIMER_MS = 60000, TIMER_SPREAD_MS = 5000 };

HARK_MESSAGE(tick)

typedef struct {
    hark_ref owner;
    int64_t ticks;
} timekeeper;

HARK_ON(timekeeper, go) {
    int64_t cancelled = 0;

    for (uint32_t i = 0; i < TIMERS; i++) {
        uint32_t delay_ms = TIMER_MS + i % TIMER_SPREAD_MS;
        hark_timer timer = hark_send_after(ctx, delay_ms, hark_self(ctx), tick);

        cancelled += hark_timer_cancel(ctx, timer);
    }
    hark_tell(ctx, self->owner, done, .value = cancelled);
}

HARK_ON(timekeeper, tick) {
    fail("a cancelled timer fired");
}

HARK_ACTOR(timekeeper, go, tick)

static void
run_timers_pair(struct bench *bench)
{
    hark_ctx *me = bench->me;
    hark_ref keeper =
        need_actor(me, hark_spawn(me, timekeeper, .owner = hark_self(me)));
    double began = measure_now();
    double took;

    hark_tell(me, keeper, go);
    expect_count("timers cancelled", await_done(bench, 1), TIMERS);
    took = measure_now() - began;
    figure_add(bench->figures, "set+cancel", TIMERS / took, "pair/s");
}

// ---- mem: the memory of an actor that waits ----

// Tells an idler to end.
HARK_MESSAGE(leave)

// What all idlers share. NULL in those that are never told anything.
struct lodge {
    _Atomic(int64_t) unmet; // every idler that is told takes one off
    hark_ref owner;         // told `done` by the one that takes the last
};

// The size of a small actor's state.
typedef struct {
    struct lodge *lodge;
    int64_t met;
} idler;

static void
sign_off(hark_ctx *ctx, struct lodge *lodge)
{
    // Relaxed: the count is all that is shared, and `done` orders what comes after.
    if (atomic_fetch_sub_explicit(&lodge->unmet, 1, memory_order_relaxed) == 1) {
        hark_tell(ctx, lodge->owner, done, .value = 1);
    }
}

HARK_ON(idler, go) {
    self->met++;
    sign_off(ctx, self->lodge);
}

HARK_ON(idler, leave) {
    expect_count("messages to an idler", self->met, 1);
    sign_off(ctx, self->lodge);
    hark_exit(ctx);
}

HARK_ACTOR(idler, go, leave)

// Bytes of this process that are in memory.
static double
resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long all = 0, resident = 0;

    if (file == NULL || fscanf(file, "%ld %ld", &all, &resident) != 2) {
        fail("cannot read /proc/self/statm");
    }
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static int64_t
count_actors(const struct bench *bench)
{
    hark_stats stats;

    hark_stats_read(bench->system, &stats);
    return (int64_t)stats.actors;
}

// What `count` actors take that do nothing.
static void
measure_idlers(struct bench *bench, int64_t count)
{
    hark_ctx *me = bench->me;
    double before = resident_bytes();
    double began = measure_now();
    double took;

    for (int64_t i = 0; i < count; i++) {
        need_actor(me, hark_spawn(me, idler, .lodge = NULL));
    }
    took = measure_now() - began;
    usleep(500000); // whatever the workers still do to new actors
    figure_add(bench->figures, "idle_bytes_per_actor",
               (resident_bytes() - before) / (double)count, "B");
    figure_add(bench->figures, "spawn_only", (double)count / took, "actor/s");
    expect_count("actors alive, this thread too", count_actors(bench), count + 1);
}

static void
run_mem(struct bench *bench)
{
    measure_idlers(bench, 1000000);
}

static void
run_mem_5M(struct bench *bench)
{
    measure_idlers(bench, 5000000);
}

// ---- mem_10M: ten million actors are born, told once, and end ----

enum { MANY_IDLERS = 10000000, CROWD = 100000 };

// Tells all idlers, a crowd at a time, since none takes a message while we send to the
// next. Gives how long that took, in seconds.
static double
tell_idlers(struct bench *bench, const hark_ref *idlers, struct lodge *lodge,
            const hark_type *type)
{
    double began = measure_now();

    for (int64_t i = 0; i < MANY_IDLERS; i++) {
        if (i % CROWD == 0) {
            atomic_init(&lodge->unmet, CROWD);
        }
        // None of these types has a field, so any byte is a value.
        if (hark_tell_value(bench->me, idlers[i], type, "") != HARK_OK) {
            fail("an idler cannot be told");
        }
        if (i % CROWD == CROWD - 1) {
            expect_count("crowds", await_done(bench, 1), 1);
        }
    }
    return measure_now() - began;
}

// Looks on until nothing more goes back, for some seconds.
static void
measure_what_goes_back(struct bench *bench, double before)
{
    enum { QUIET_LOOKS = 40, MOST_LOOKS = 600, LOOK_US = 100000 };
    double ended = measure_now();
    double least = resident_bytes();
    double least_at = ended;
    int quiet = 0;

    for (int look = 0; look < MOST_LOOKS && quiet < QUIET_LOOKS; look++, quiet++) {
        usleep(LOOK_US);
        double now = resident_bytes();

        if (now < least - 1e6) {
            least = now;
            least_at = measure_now();
            quiet = 0;
        }
    }
    figure_add(bench->figures, "kept_in_the_end", (least - before) / 1e6, "MB");
    figure_add(bench->figures, "until_gone_back", least_at - ended, "s");
}

static void
run_mem_10M(struct bench *bench)
{
    hark_ctx *me = bench->me;
    hark_ref *idlers = new_array(MANY_IDLERS, sizeof *idlers);
    struct lodge lodge = {.owner = hark_self(me)};
    double before, full, began;

    memset(idlers, 1, MANY_IDLERS * sizeof *idlers); // so that its pages count before
    before = resident_bytes();
    began = measure_now();
    for (int64_t i = 0; i < MANY_IDLERS; i++) {
        idlers[i] = need_actor(me, hark_spawn(me, idler, .lodge = &lodge));
    }
    figure_add(bench->figures, "spawn_only", MANY_IDLERS / (measure_now() - began),
               "actor/s");
    figure_add(bench->figures, "tell_once",
               MANY_IDLERS / tell_idlers(bench, idlers, &lodge, &go_type), "msg/s");
    full = resident_bytes() - before;
    figure_add(bench->figures, "idle_bytes_per_actor", full / MANY_IDLERS, "B");
    figure_add(bench->figures, "stop",
               MANY_IDLERS / tell_idlers(bench, idlers, &lodge, &leave_type),
               "actor/s");
    await_actors(bench, 1);
    figure_add(bench->figures, "kept_bytes_per_actor",
               (resident_bytes() - before) / MANY_IDLERS, "B");
    measure_what_goes_back(bench, before);
    free(idlers);
}

// ---- idle: the processor time of a system that has nothing to do ----

enum { QUIET_ACTORS = 1000000, QUIET_LINKS = 4, QUIET_SECONDS = 5 };

// User and system time of this process, in the kernel's ticks.
static double
processor_ticks(void)
{
    FILE *file = fopen("/proc/self/stat", "r");
    unsigned long user = 0, system = 0;

    // The second field, the program's name, has no spaces here.
    if (file == NULL
        || fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                  &user, &system)
               != 2) {
        fail("cannot read /proc/self/stat");
    }
    fclose(file);
    return (double)(user + system);
}

static double
processor_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// The other ends of our links, each a process that listens.
struct neighbours {
    struct endpoint_folder folder;
    struct child processes[QUIET_LINKS];
};

static void
open_neighbours(struct bench *bench, struct neighbours *neighbours)
{
    char endpoint[ENDPOINT_BYTES];
    hark_stats stats;

    endpoint_folder_open(&neighbours->folder);
    for (int i = 0; i < QUIET_LINKS; i++) {
        endpoint_in_folder(&neighbours->folder, i, endpoint);
        neighbours->processes[i] = child_open((const char *const[]){
            "hark_bench", "serve", endpoint, "--workers", "1", NULL});
        child_read_line(&neighbours->processes[i], endpoint, sizeof endpoint);
        if (hark_connect(bench->me, endpoint) != HARK_OK) {
            fail_with_error(bench->me, hark_error_of(bench->me), endpoint);
        }
    }
    hark_stats_read(bench->system, &stats);
    expect_count("links", (long long)stats.links, QUIET_LINKS);
}

static void
close_neighbours(struct neighbours *neighbours)
{
    for (int i = 0; i < QUIET_LINKS; i++) {
        child_close(&neighbours->processes[i]);
    }
    endpoint_folder_close(&neighbours->folder);
}

static void
run_idle(struct bench *bench)
{
    hark_ctx *me = bench->me;
    struct neighbours neighbours;
    double ticks, seconds;
    hark_stats stats;

    open_neighbours(bench, &neighbours);
    for (int64_t i = 0; i < QUIET_ACTORS; i++) {
        need_actor(me, hark_spawn(me, idler, .lodge = NULL));
    }
    usleep(1000000); // whatever the workers still do to new actors
    ticks = processor_ticks();
    seconds = processor_seconds();
    usleep(QUIET_SECONDS * 1000000);
    figure_add(bench->figures, "ticks_in_5_s", processor_ticks() - ticks, "tick");
    figure_add(bench->figures, "busy_in_5_s", (processor_seconds() - seconds) * 1e3,
               "ms");
    hark_stats_read(bench->system, &stats);
    expect_count("links", (long long)stats.links, QUIET_LINKS);
    expect_count("actors alive, this thread too", (long long)stats.actors,
                 QUIET_ACTORS + 1);
    close_neighbours(&neighbours);
}

#endif // BENCH_WORKLOADS_IDLE_H
