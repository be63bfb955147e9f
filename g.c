#include <hark/hark.h>
#include <inttypes.h>
#include <stdio.h>

HARK_MESSAGE(count_to, (i64, n))
HARK_MESSAGE(number, (i64, n))
HARK_MESSAGE(add_up, (ref, counter), (i64, n))
HARK_MESSAGE(sum, (i64, n))

typedef struct {
    hark_sink out;
    int64_t next, last;
} counter;

static void go_on(hark_ctx *ctx, counter *self);

HARK_THEN(counter, room, hark_stream_room) {
    go_on(ctx, self);
}
HARK_ELSE(counter, room) { // HARK_ECANCELLED: nobody listens any more
    self->next = self->last;
}
HARK_CONTINUATION(counter, room, hark_stream_room)

static void
go_on(hark_ctx *ctx, counter *self)
{
    while (self->next <= self->last) {
        hark_err err = hark_stream_try_write(ctx, self->out, number, .n = self->next);

        if (err == HARK_EAGAIN) {
            hark_future ready = hark_stream_ready(ctx, self->out);
            err = hark_then(ctx, ready, counter, room, NULL);
            if (err == HARK_OK) {
                return;
            }
        }
        if (err != HARK_OK) { // nobody listens, or no memory
            hark_stream_fail(ctx, self->out, err, "%s", hark_err_text(err));
            return;
        }
        self->next++;
    }
    hark_stream_end(ctx, self->out);
}
HARK_ON(counter, count_to) {
    *self = (counter){.out = hark_stream_begin(ctx), .next = 1, .last = msg->n};
    go_on(ctx, self);
}
HARK_ACTOR(counter, count_to)

typedef struct {
    hark_stream in;
    hark_promise owed;
    int64_t sum;
} adder;

static void take(hark_ctx *ctx, adder *self);

HARK_THEN(adder, added, number) {
    self->sum += msg->n;
    take(ctx, self);
}
HARK_ELSE(adder, added) {
    if (error->code == HARK_EEND) {
        hark_fulfil(ctx, self->owed, sum, .n = self->sum);
    } else {
        hark_break(ctx, self->owed, error->code, "%s", error->text);
    }
    hark_stream_close(ctx, self->in);
}
HARK_CONTINUATION(adder, added, number)

static void
take(hark_ctx *ctx, adder *self)
{
    hark_future next = hark_stream_next(ctx, self->in);

    if (hark_then(ctx, next, adder, added, NULL) != HARK_OK) {
        hark_break(ctx, self->owed, HARK_ENOMEM, "no memory for a future");
    }
}
HARK_ON(adder, add_up) {
    self->in = hark_stream_open_with(ctx, &(hark_stream_options){.window = 10},
                                     msg->counter, count_to, .n = msg->n);
    hark_stream_keep(ctx, self->in); // beyond this handler
    self->owed = hark_defer(ctx);
    take(ctx, self);
}
HARK_ACTOR(adder, add_up)

int
main(void)
{
    hark_system *system = hark_start(NULL);
    hark_ctx *me = hark_attach(system);
    hark_ref from = hark_spawn(me, counter);
    hark_ref to = hark_spawn(me, adder);
    hark_future f = hark_ask(me, to, add_up, .counter = from, .n = 1000);
    const sum *s = hark_await(me, f, sum);

    printf("%" PRId64 "\n", s != NULL ? s->n : -1);
    return hark_stop(system, HARK_SECONDS(5));
}
