// await: a request with its timeout armed, the reply, and a handler that waits for it.

#include "oracle.h"

typedef struct {
    hark_ref owner;
    hark_ref oracle;
    int64_t answered;
} asker;

HARK_ON(asker, start) {
    self->oracle = hark_spawn(ctx, oracle);
    for (int64_t i = 0; i < msg->count; i++) {
        hark_future future = hark_ask_within(ctx, HARK_SECONDS(600), self->oracle,
                                             question, .value = self->answered);
        const answer *told = hark_await(ctx, future, answer);

        if (told == NULL) {
            gate_fail(ctx, hark_error_of(ctx));
        }
        self->answered = told->value;
        hark_future_drop(ctx, future);
    }
    hark_tell(ctx, self->owner, finished, .count = self->answered);
}

HARK_ACTOR(asker, start)

int
main(int argc, char **argv)
{
    (void)argc;
    return gate_run(argv, &asker_behavior);
}
