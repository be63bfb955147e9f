// ask: a request with its timeout armed, the reply, and the continuation.

#include "asker.h"

static hark_future
asker_pass(hark_ctx *ctx, hark_future asked)
{
    (void)ctx;
    return asked;
}

int
main(int argc, char **argv)
{
    (void)argc;
    return gate_run(argv, &asker_behavior);
}
