// step: what `ask` does, with a map between the reply and the continuation.

#include "asker.h"

HARK_MAP(passed, answer)
{
    hark_result(ctx, answer, .value = msg->value);
}

static hark_future
asker_pass(hark_ctx *ctx, hark_future asked)
{
    return hark_map(ctx, asked, passed, NULL);
}

int
main(int argc, char **argv)
{
    (void)argc;
    return gate_run(argv, &asker_behavior);
}
