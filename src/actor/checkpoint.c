// Checkpoint: whether a handler shall go on, and how much time it has.

#include "hark/blocking.h"
#include "hark/cancel.h"

#include "actor/await.h"
#include "actor/hand.h"

#define YIELD_NS INT64_C(50000) // as long as a turn may take

// Of the request in hand, if there is one.
static hark_err
look_at_request(hark_ctx *ctx)
{
    const struct request *request = ctx->request;
    const struct hark_message *message = unanswered(ctx);
    hark_ref asker;
    int64_t deadline_ns;
    unsigned epoch;

    while (request != NULL && request->is_scope) {
        if (request->state == REQUEST_CANCELLED) {
            return HARK_ECANCELLED;
        }
        if (left_ns(ctx, request->deadline_ns) <= 0) {
            return HARK_ETIMEOUT;
        }
        request = request->outer;
    }
    if (request != NULL && request->state == REQUEST_ENDED) {
        return HARK_OK;
    }
    if (request != NULL) {
        asker = request->asker;
        epoch = request->epoch;
        deadline_ns = request->deadline_ns;
    } else if (message != NULL) {
        asker = message->from;
        epoch = message->epoch;
        deadline_ns = message->deadline_ns;
    } else {
        return HARK_OK;
    }
    if ((request != NULL && request->state == REQUEST_CANCELLED)
        || is_lost(ctx, asker.node, epoch)) {
        return HARK_ECANCELLED;
    }
    return left_ns(ctx, deadline_ns) <= 0 ? HARK_ETIMEOUT : HARK_OK;
}

// Whether to go on.
static hark_err
look(hark_ctx *ctx)
{
    const struct request *request = beyond_scopes(ctx->request);
    bool is_shielded = request != NULL && is_shield(request);

    if (ctx->slot != NULL && !ctx->is_thread) {
        hark__take_news(ctx);
        if ((ctx->slot->heed & SLOT_EXITING) && !is_shielded) {
            return HARK_ESTOPPED;
        }
    }
    // relaxed: it is only ever set; who sees it late looks again.
    if (ctx->is_thread && !is_shielded
        && atomic_load_explicit(&ctx->node->stopping, memory_order_relaxed)) {
        return HARK_ESTOPPED;
    }
    if (!is_shielded && hark_blocking_cancelled(ctx)) {
        return HARK_ECANCELLED;
    }
    return look_at_request(ctx);
}

bool
hark_cancelled(hark_ctx *ctx)
{
    return ctx != NULL && look(ctx) != HARK_OK;
}

// By the exact clock: has the worker not looked around for as long as a turn may take?
static bool
is_long(const hark_ctx *ctx)
{
    return hark__env_now(ctx->node->env) - hark__worker_now(ctx->worker) > YIELD_NS;
}

hark_err
hark_checkpoint(hark_ctx *ctx)
{
    if (ctx == NULL) {
        return HARK_EINVAL;
    }
    hark_err err = look(ctx);
    if (err == HARK_OK && ctx->worker != NULL && ctx->slot != NULL && is_long(ctx)
        && hark__await_yield(ctx)) {
        err = look(ctx);
    }
    return err;
}

uint32_t
hark_remaining_ms(hark_ctx *ctx)
{
    const struct request *request = ctx != NULL ? ctx->request : NULL;
    const struct hark_message *message = ctx != NULL ? unanswered(ctx) : NULL;

    if (request != NULL) {
        return request->state == REQUEST_ENDED
                   ? HARK_FOREVER
                   : in_ms(left_ns(ctx, request->deadline_ns));
    }
    return message != NULL ? in_ms(left_ns(ctx, message->deadline_ns)) : HARK_FOREVER;
}
