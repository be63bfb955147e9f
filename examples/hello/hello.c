#include <hark/hark.h>
#include <stdio.h>

HARK_MESSAGE(greet, (str, name))
HARK_MESSAGE(greeting, (str, text), (u32, count))

typedef struct {
    uint32_t count; // an actor's state: only its own handlers touch it
} greeter;

HARK_ON(greeter, greet) {
    hark_str text = hark_format(ctx, "Hello, %s!", msg->name.ptr);
    hark_reply(ctx, greeting, .text = text, .count = ++self->count);
}
HARK_ACTOR(greeter, greet)

int
main(void)
{
    hark_system *system = hark_start(NULL);
    hark_ctx *me = hark_attach(system); // this thread may now ask and wait
    hark_ref whom = hark_spawn(me, greeter);
    hark_future f = hark_ask(me, whom, greet, .name = HARK_STR("world"));
    const greeting *answer = hark_await(me, f, greeting);

    puts(answer != NULL ? answer->text.ptr : hark_error_of(me)->text);
    return hark_stop(system, HARK_SECONDS(5));
}
