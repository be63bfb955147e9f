// spawn: an actor is born, gets one message, tells its parent, and ends. The next is
// born after that.

#include "gate.h"

HARK_MESSAGE(live)
HARK_MESSAGE(lived)

typedef struct {
    hark_ref parent;
} mayfly;

HARK_ON(mayfly, live) {
    hark_tell(ctx, self->parent, lived);
    hark_exit(ctx);
}

HARK_ACTOR(mayfly, live)

typedef struct {
    hark_ref owner;
    int64_t count;
    int64_t lived;
} breeder;

static void
breed(hark_ctx *ctx)
{
    hark_ref child = hark_spawn(ctx, mayfly, .parent = hark_self(ctx));

    if (hark_ref_is_null(child)) {
        gate_fail(ctx, hark_error_of(ctx));
    }
    hark_tell(ctx, child, live);
}

HARK_ON(breeder, start) {
    self->count = msg->count;
    breed(ctx);
}

HARK_ON(breeder, lived) {
    if (++self->lived < self->count) {
        breed(ctx);
    } else {
        hark_tell(ctx, self->owner, finished, .count = self->lived);
    }
}

HARK_ACTOR(breeder, start, lived)

int
main(int argc, char **argv)
{
    (void)argc;
    return gate_run(argv, &breeder_behavior);
}
