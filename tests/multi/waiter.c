// waiter: a handler that waits deep in its stack, for test_gdb to look at.

#include <stdio.h>

#include <hark/hark.h>

HARK_MESSAGE(question, (i64, n))
HARK_MESSAGE(answer, (i64, n))
HARK_MESSAGE(held)

typedef struct {
    hark_promise promise;
    int64_t count;
} oracle;

HARK_ON(oracle, question) {
    self->promise = hark_defer(ctx);
    self->count++;
}
HARK_ON(oracle, held) {
    hark_reply(ctx, answer, .n = self->count);
}
HARK_ACTOR(oracle, question, held)

typedef struct {
    hark_ref oracle;
} seeker;

static __attribute__((noinline)) int64_t
seek(hark_ctx *ctx, const seeker *self, int depth)
{
    volatile int64_t here = depth;

    if (depth > 0) {
        return seek(ctx, self, depth - 1) + here;
    }
    const answer *a = hark_await(ctx, hark_ask(ctx, self->oracle, question), answer);
    return a != NULL ? a->n : -1;
}

HARK_ON(seeker, question) {
    hark_reply(ctx, answer, .n = seek(ctx, self, 3));
}
HARK_ACTOR(seeker, question)

hark_system *the_system;
void look(void);

// Where the debugger stops.
__attribute__((noinline)) void
look(void)
{
    __asm__ volatile("");
}

int
main(void)
{
    the_system = hark_start(NULL);
    hark_ctx *me = hark_attach(the_system);
    hark_ref asked = hark_spawn(me, oracle);
    hark_ref waits = hark_spawn(me, seeker, .oracle = asked);
    hark_future f = hark_ask(me, waits, question);
    const answer *a;

    do {
        a = hark_await(me, hark_ask(me, asked, held), answer);
    } while (a != NULL && a->n == 0);
    look();
    hark_future_drop(me, f);
    return hark_stop(the_system, HARK_SECONDS(5));
}
