// overflow HOW: a handler that needs more stack than it has (HOW is stack), or a fault of
// another kind (null). For test_overflow.

#include <stdio.h>
#include <string.h>

#include <hark/hark.h>

HARK_MESSAGE(dive, (i32, depth))
HARK_MESSAGE(surfaced, (i32, depth))

typedef struct {
    int32_t dives;
} diver;

// gcc sees through plain recursion.
static int32_t go_down(int32_t depth);
static int32_t (*volatile deeper)(int32_t depth) = go_down;

static int32_t
go_down(int32_t depth)
{
    volatile char frame[1024];

    memset((char *)frame, depth, sizeof frame);
    return depth == 0 ? frame[0] : deeper(depth - 1) + frame[1];
}

static volatile int *volatile nowhere;

HARK_ON(diver, dive) {
    self->dives += msg->depth < 0 ? *nowhere : go_down(msg->depth);
    hark_reply(ctx, surfaced, .depth = msg->depth);
}
HARK_ACTOR(diver, dive)

int
main(int argc, char **argv)
{
    bool on_stack = argc > 1 && strcmp(argv[1], "stack") == 0;
    hark_system *system = hark_start(&(hark_options){.report_overflow = argc > 2});
    hark_ctx *me = hark_attach(system);
    hark_ref who = hark_spawn(me, diver);
    const surfaced *s = hark_await(me, hark_ask(me, who, dive, .depth = 8), surfaced);

    printf("%s\n", s != NULL ? "surfaced" : "lost");
    fflush(stdout);
    hark_future f = hark_ask(me, who, dive, .depth = on_stack ? 1000 : -1);
    s = hark_await(me, f, surfaced);
    printf("not reached: %d\n", s != NULL);
    return 0;
}
