// timer: a timer is set and cancelled.

#include "gate.h"

enum { DELAY_MS = 3600000, DELAYS = 5000 };

HARK_MESSAGE(tick)

typedef struct {
    hark_ref owner;
} keeper;

HARK_ON(keeper, start) {
    int64_t cancelled = 0;

    for (int64_t i = 0; i < msg->count; i++) {
        uint32_t delay_ms = DELAY_MS + (uint32_t)(i % DELAYS);
        hark_timer timer = hark_send_after(ctx, delay_ms, hark_self(ctx), tick);

        cancelled += hark_timer_cancel(ctx, timer);
    }
    hark_tell(ctx, self->owner, finished, .count = cancelled);
}

HARK_ON(keeper, tick) {
    fail("a cancelled timer fired");
}

HARK_ACTOR(keeper, start, tick)

int
main(int argc, char **argv)
{
    (void)argc;
    return gate_run(argv, &keeper_behavior);
}
