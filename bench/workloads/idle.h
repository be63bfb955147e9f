// idle.h - what costs without doing anything: timers that never fire, actors that wait.

#ifndef BENCH_WORKLOADS_IDLE_H
#define BENCH_WORKLOADS_IDLE_H

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

enum { IDLERS = 1000000 };

// The size of a small actor's state.
typedef struct {
    int64_t number;
    int64_t met;
} idler;

HARK_ON(idler, go) {
    self->met++;
}

HARK_ACTOR(idler, go)

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

static void
run_mem(struct bench *bench)
{
    hark_ctx *me = bench->me;
    double before = resident_bytes();
    double began = measure_now();
    double took;
    hark_stats stats;

    for (int64_t i = 0; i < IDLERS; i++) {
        need_actor(me, hark_spawn(me, idler, .number = i));
    }
    took = measure_now() - began;
    usleep(500000); // whatever the workers still do to new actors
    figure_add(bench->figures, "idle_bytes_per_actor_1000000",
               (resident_bytes() - before) / IDLERS, "B");
    figure_add(bench->figures, "spawn_only_1000000", IDLERS / took, "actor/s");
    hark_stats_read(bench->system, &stats);
    expect_count("actors alive, this thread too", (long long)stats.actors, IDLERS + 1);
}

#endif // BENCH_WORKLOADS_IDLE_H
