// tell: one message from an actor to another, and the turn that handles it. Two actors
// throw a ball, so each operation is a tell to an actor that sleeps.

#include "gate.h"

HARK_MESSAGE(ball, (i64, thrown))

// Throws back whatever comes.
typedef struct {
    int64_t caught;
} catcher;

HARK_ON(catcher, ball) {
    self->caught++;
    hark_tell(ctx, hark_sender(ctx), ball, .thrown = msg->thrown + 1);
}

HARK_ACTOR(catcher, ball)

typedef struct {
    hark_ref owner;
    hark_ref other;
    int64_t count; // even
} thrower;

HARK_ON(thrower, start) {
    self->other = hark_spawn(ctx, catcher);
    self->count = msg->count;
    if (hark_ref_is_null(self->other)) {
        gate_fail(ctx, hark_error_of(ctx));
    }
    hark_tell(ctx, self->other, ball, .thrown = 1);
}

HARK_ON(thrower, ball) {
    if (msg->thrown == self->count) {
        hark_tell(ctx, self->owner, finished, .count = msg->thrown);
    } else {
        hark_tell(ctx, self->other, ball, .thrown = msg->thrown + 1);
    }
}

HARK_ACTOR(thrower, start, ball)

int
main(int argc, char **argv)
{
    (void)argc;
    return gate_run(argv, &thrower_behavior);
}
