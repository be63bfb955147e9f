// asker.h - an actor that asks the oracle, one ask after the other, and continues each
// with a function.

#ifndef BENCH_GATES_ASKER_H
#define BENCH_GATES_ASKER_H

#include "oracle.h"

typedef struct {
    hark_ref owner;
    hark_ref oracle;
    int64_t left;
    int64_t answered;
} asker;

static void ask_next(hark_ctx *ctx, asker *self);

// Gives the future of the answer to an ask, or of what is made of it: the gate's own part.
static hark_future asker_pass(hark_ctx *ctx, hark_future asked);

HARK_THEN(asker, told, answer) {
    self->answered = msg->value;
    if (--self->left > 0) {
        ask_next(ctx, self);
    } else {
        hark_tell(ctx, self->owner, finished, .count = self->answered);
    }
}

HARK_ELSE(asker, told) {
    gate_fail(ctx, error);
}

HARK_CONTINUATION(asker, told, answer)

// A long timeout: counting makes the program slow.
static void
ask_next(hark_ctx *ctx, asker *self)
{
    hark_future future = hark_ask_within(ctx, HARK_SECONDS(600), self->oracle, question,
                                         .value = self->answered);

    future = asker_pass(ctx, future);
    if (hark_then(ctx, future, asker, told, NULL) != HARK_OK) {
        fail("cannot continue an ask");
    }
}

HARK_ON(asker, start) {
    self->oracle = hark_spawn(ctx, oracle);
    self->left = msg->count;
    ask_next(ctx, self);
}

HARK_ACTOR(asker, start)

#endif // BENCH_GATES_ASKER_H
