// Futures as their owner's code looks at them, keeps and drops them.

#include "actor/ctx.h"

const void *
hark_future_value(hark_ctx *ctx, hark_future name, const hark_type *type)
{
    struct future *future = hark__ctx_future(ctx, name);

    if (future == NULL || type == NULL) {
        if (type == NULL || !hark__ctx_error_tells(ctx, name.id)) {
            hark__ctx_error(ctx, type == NULL ? HARK_EINVAL : HARK_ESTALE,
                            "the future has ended, or is not of this actor or thread");
        }
        return NULL;
    }
    future->looked_at = true;
    if (future->state == FUTURE_OPEN) {
        hark__ctx_error(ctx, HARK_ETIMEOUT, "the future is still open");
        return NULL;
    }
    if (future->code != HARK_OK) {
        hark__ctx_error_of(ctx, ctx_futures(ctx), future);
        return NULL;
    }
    const void *value = hark_message_as(future->message, type);
    if (value == NULL) {
        hark__ctx_error(ctx, HARK_ETYPE, "the reply is %s, not %s",
                        future->message->type->name, type->name);
        hark__ctx_error_about(ctx, ctx_futures(ctx), future);
        return NULL;
    }
    hark__future_got(future);
    return value;
}

bool
hark_future_done(hark_ctx *ctx, hark_future name)
{
    const struct future *future = hark__ctx_future(ctx, name);

    return future == NULL || future->state == FUTURE_DONE;
}

hark_err
hark_future_keep(hark_ctx *ctx, hark_future name)
{
    struct future *future = hark__ctx_future(ctx, name);

    if (future == NULL) {
        return hark__ctx_error(ctx, HARK_ESTALE,
                               "hark_future_keep: the future has ended, "
                               "or is not this actor's");
    }
    future->kept = true;
    return HARK_OK;
}

void
hark_future_drop(hark_ctx *ctx, hark_future name)
{
    struct future *future = hark__ctx_future(ctx, name);

    if (future != NULL) {
        hark__future_close(ctx_futures(ctx), ctx_pool(ctx), ctx, future);
    }
}
