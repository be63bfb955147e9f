// gate.h - what the gate programs share: one operation, done as often as told.
//
//     GATE COUNT
//
// tools/check_gates counts the instructions of two runs, of which the second does more
// operations. The difference, over the further operations, is what one costs: all that
// a run does but once (start, growth to its full size, stop) cancels out. One worker,
// and the measuring thread does nothing but wait, so little depends on the scheduler of
// the kernel. For one thread.

#ifndef BENCH_GATES_GATE_H
#define BENCH_GATES_GATE_H

#include <stdint.h>

#include <hark/hark.h>

#include "../support/measure.h"

HARK_MESSAGE(start, (i64, count))
HARK_MESSAGE(finished, (i64, count))

// The number of operations on the command line.
static inline int64_t
gate_count(char **argv)
{
    char *end;
    long long count = argv[1] == NULL ? 0 : strtoll(argv[1], &end, 10);

    if (count <= 0 || *end != '\0') {
        fail("usage: %s COUNT", argv[0]);
    }
    return count;
}

// The error of a call on ctx that failed.
__attribute__((noreturn)) static inline void
gate_fail(hark_ctx *ctx, const hark_error *error)
{
    char text[2048];

    hark_error_print(ctx, error, text, sizeof text);
    fail("%s", text);
}

// Runs one actor that does count operations when it is told `start`, and then tells
// `finished` to its `owner`, whose ref stands first in its state. Gives the program's
// status.
static inline int
gate_run(char **argv, const hark_behavior *behavior)
{
    int64_t count = gate_count(argv);
    hark_system *system = hark_start(&(hark_options){.workers = 1});
    hark_ctx *me = system == NULL ? NULL : hark_attach(system);
    char state[256] = {0};
    hark_message *message;
    hark_ref self, actor;
    const finished *end;

    if (me == NULL || behavior->state_size > sizeof state) {
        fail("no system");
    }
    self = hark_self(me);
    memcpy(state, &self, sizeof self);
    if (hark_spawn_value(me, behavior, state, NULL, &actor) != HARK_OK) {
        gate_fail(me, hark_error_of(me));
    }
    hark_tell(me, actor, start, .count = count);
    message = hark_receive(me, HARK_FOREVER);
    end = (const finished *)hark_message_as(message, &finished_type);
    if (end == NULL) {
        fail("another message");
    }
    expect_count("operations", end->count, count);
    hark_message_free(me, message);
    return hark_stop(system, HARK_SECONDS(60));
}

#endif // BENCH_GATES_GATE_H
