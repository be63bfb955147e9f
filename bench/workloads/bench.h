// bench.h - one round of one workload: its system, the thread that measures, the end.
//
// A workload spawns its actors, notes the time, starts them, and waits until they tell
// `done` to the measuring thread. Every workload checks what `done` carries, and
// bench_close checks that nothing was lost on the way.

#ifndef BENCH_WORKLOADS_BENCH_H
#define BENCH_WORKLOADS_BENCH_H

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#include <hark/hark.h>

#include "../support/measure.h"

// Starts the actor whom the measuring thread tells it.
HARK_MESSAGE(go)
// Ends a workload, or an actor's share of it: value is what it counted, dead_letters
// how many it caused and made good.
HARK_MESSAGE(done, (i64, value), (i64, dead_letters))

// How many messages an actor that floods others sends in one handler, before it lets
// them run: no handler is ever interrupted, so on one worker all would be stored.
enum { SLICE = 64 };

// No workload runs longer.
#define BENCH_PATIENCE HARK_SECONDS(120)

struct bench {
    hark_system *system;
    hark_ctx *me; // the measuring thread
    int workers;
    struct figures *figures;
    int64_t dead_letters; // known and made good
};

// Prints the last error of ctx and ends the process.
__attribute__((noreturn)) static inline void
fail_with_error(hark_ctx *ctx, const hark_error *error, const char *what)
{
    char text[2048];

    hark_error_print(ctx, error, text, sizeof text);
    fail("%s: %s", what, text);
}

// Fails if ref names nobody: what was just spawned or looked up on ctx.
static inline hark_ref
need_actor(hark_ctx *ctx, hark_ref ref)
{
    if (hark_ref_is_null(ref)) {
        fail_with_error(ctx, hark_error_of(ctx), "no actor");
    }
    return ref;
}

// Starts a system of that many workers and attaches this thread.
static inline struct bench
bench_open(int workers, struct figures *figures)
{
    struct bench bench = {.workers = workers, .figures = figures};

    bench.system = hark_start(&(hark_options){.workers = (uint32_t)workers});
    if (bench.system == NULL) {
        fail("hark_start: %s", strerror(errno));
    }
    bench.me = hark_attach(bench.system);
    if (bench.me == NULL) {
        fail("hark_attach failed");
    }
    return bench;
}

// Fails if a message or an error got lost, or the system does not stop.
static inline void
bench_close(struct bench *bench)
{
    hark_stats stats;
    hark_err err;

    hark_stats_read(bench->system, &stats);
    expect_count("dead letters", (long long)stats.dead_letters, bench->dead_letters);
    expect_count("unseen failures", (long long)stats.failures_unseen, 0);
    err = hark_stop(bench->system, HARK_SECONDS(30));
    if (err != HARK_OK) {
        fail("hark_stop: %s", hark_err_text(err));
    }
}

// Waits until `done` was told to this thread that many times. Gives the sum of what the
// actors counted.
static inline int64_t
await_done(struct bench *bench, int actors)
{
    int64_t sum = 0;

    for (int i = 0; i < actors; i++) {
        hark_message *message = hark_receive(bench->me, BENCH_PATIENCE);
        const done *end;

        if (message == NULL) {
            fail("%d of %d actors did not finish", actors - i, actors);
        }
        end = (const done *)hark_message_as(message, &done_type);
        if (end == NULL) {
            fail("told a %s", hark_message_type(message)->name);
        }
        sum += end->value;
        bench->dead_letters += end->dead_letters;
        hark_message_free(bench->me, message);
    }
    return sum;
}

// Waits until no more than `count` actors are alive, attached threads included: the end
// of an actor is counted a little after its last message.
static inline void
await_actors(struct bench *bench, uint64_t count)
{
    double began = measure_now();
    hark_stats stats;

    hark_stats_read(bench->system, &stats);
    while (stats.actors > count) {
        if (measure_now() - began > BENCH_PATIENCE / 1e3) {
            fail("%llu actors did not end", (unsigned long long)(stats.actors - count));
        }
        usleep(1000);
        hark_stats_read(bench->system, &stats);
    }
}

#endif // BENCH_WORKLOADS_BENCH_H
