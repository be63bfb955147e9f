// Timers of the API: a message that leaves later.

#include "actor/ctx.h"

// On the thread of worker poll_arg.
static void
send_due(void *poll_arg, struct timer_action *action)
{
    struct worker *worker = poll_arg;
    struct seat *seat = hark__worker_local(worker);
    hark_ctx ctx = {.node = seat->node, .seat = seat, .worker = worker};

    // An error has become a dead letter.
    (void)hark__send(&ctx, (hark_ref){action->word, action->more}, action->data);
    hark__ctx_flush(&ctx);
}

hark_timer
hark_send_after_at(hark_ctx *ctx, const char *site, uint32_t delay_ms, hark_ref to,
                   const hark_type *type, const void *value)
{
    if (ctx == NULL || type == NULL || value == NULL) {
        hark__ctx_error(ctx, HARK_EINVAL, "hark_send_after: null argument");
        return (hark_timer){0};
    }
    struct node *node = ctx->node;
    struct hark_message *message = hark__message_new(ctx_pool(ctx), type, value);
    if (message == NULL) {
        hark__ctx_error_value(ctx, "hark_send_after", type, value);
        return (hark_timer){0};
    }
    message->from = ctx->self;
    if (ctx->slot != NULL) {
        message->trace = hark__trace_of(ctx, site, TRACE_ARMED);
    }
    struct timer_action action = {
        .fire = send_due, .data = message, .word = to.node, .more = to.actor};
    int64_t deadline_ns =
        hark__futures_now(node->env, delay_ms) + (int64_t)delay_ms * NS_PER_MS;
    uint64_t id = hark__sched_arm(node->sched, ctx->worker, deadline_ns, &action);
    if (id == 0) {
        hark__message_free(ctx_pool(ctx), message);
        hark__ctx_error(ctx, HARK_ENOMEM, "hark_send_after: no memory");
    }
    return (hark_timer){id};
}

hark_timer
hark_send_after_value(hark_ctx *ctx, uint32_t delay_ms, hark_ref to,
                      const hark_type *type, const void *value)
{
    return hark_send_after_at(ctx, NULL, delay_ms, to, type, value);
}

int64_t
hark_now_ns(hark_ctx *ctx)
{
    return ctx != NULL ? hark__env_now(ctx->node->env) : 0;
}

bool
hark_timer_cancel(hark_ctx *ctx, hark_timer timer)
{
    struct timer_action action;

    if (ctx == NULL || !hark__sched_cancel(ctx->node->sched, timer.id, &action)) {
        return false;
    }
    if (action.fire != send_due) {
        return false; // not a timer of this API: no such id was ever given out
    }
    hark__message_free(ctx_pool(ctx), action.data);
    return true;
}
