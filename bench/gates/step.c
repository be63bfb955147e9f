// step: what `ask` does, with a map between the reply and the continuation.

#include "gate.h"

HARK_MESSAGE(question, (i64, value))
HARK_MESSAGE(answer, (i64, value))

typedef struct {
    int64_t answered;
} oracle;

HARK_ON(oracle, question) {
    hark_reply(ctx, answer, .value = msg->value + 1);
}

HARK_ACTOR(oracle, question)

typedef struct {
    hark_ref owner;
    hark_ref oracle;
    int64_t left;
    int64_t answered;
} asker;

static void ask_next(hark_ctx *ctx, asker *self);

HARK_MAP(passed, answer)
{
    hark_result(ctx, answer, .value = msg->value);
}

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

    future = hark_map(ctx, future, passed, NULL);
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

int
main(int argc, char **argv)
{
    (void)argc;
    return gate_run(argv, &asker_behavior);
}
