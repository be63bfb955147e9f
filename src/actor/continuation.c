// Continuations: what runs when a future is done (hark_then), and who watches one that
// is on its own (hark_future_detach).

#include <stdio.h>

#include "actor/await.h"
#include "actor/chain_id.h"
#include "actor/ctx.h"
#include "actor/request.h"

static void
close_future(hark_ctx *ctx, struct future *future)
{
    hark__future_close(ctx_futures(ctx), ctx_pool(ctx), ctx, future);
}

// ---- of hark_then ----

// A continuation is kept in its future: waiter_data is the hark_continuation,
// waiter_arg its arg.
struct continuation {
    const hark_continuation *what;
    void *arg;
};

static struct continuation
continuation_of(const struct future *future)
{
    return (struct continuation){future->waiter_data, future->waiter_arg};
}

static void
drop_arg(const hark_continuation *what, void *arg)
{
    if (what != NULL && what->drop != NULL) {
        what->drop(arg);
    }
}

static void
run_failure(hark_ctx *ctx, const struct continuation *continuation,
            const hark_error *error)
{
    if (continuation->what->on_failure != NULL) {
        continuation->what->on_failure(ctx, hark__slot_state(ctx->slot), error,
                                       continuation->arg);
    }
}

static __attribute__((cold, noinline)) void
run_other_reply(hark_ctx *ctx, const struct continuation *continuation,
                const struct future *future)
{
    char text[ERROR_TEXT];
    hark_error error = hark__future_error(ctx_futures(ctx), future);

    snprintf(text, sizeof text, "the reply is %s, not %s", future->message->type->name,
             continuation->what->type->name);
    error.code = HARK_ETYPE;
    error.stage = HARK_STAGE_REPLY_LOST;
    error.text = text;
    run_failure(ctx, continuation, &error);
}

static void
run_reply(hark_ctx *ctx, const struct continuation *continuation, struct future *future)
{
    const hark_type *expected = continuation->what->type;
    const void *reply = future->message->type == expected
                            ? future->message + 1
                            : hark_message_as(future->message, expected);

    if (reply == NULL) {
        run_other_reply(ctx, continuation, future);
    } else if (continuation->what->on_reply != NULL) {
        hark__future_got(future);
        continuation->what->on_reply(ctx, hark__slot_state(ctx->slot), reply,
                                     continuation->arg);
    }
}

static __attribute__((cold, noinline)) void
run_own_failure(hark_ctx *ctx, const struct continuation *continuation,
                const struct future *future)
{
    hark_error error = hark__future_error(ctx_futures(ctx), future);

    run_failure(ctx, continuation, &error);
}

// A continuation is over, which had this in hand from the start; NULL: nothing.
static __attribute__((noinline)) void
put_back(hark_ctx *ctx, struct request *parent)
{
    hark__request_let_go(ctx, parent); // shields that it has left up
    ctx->request = NULL;
    if (parent != NULL) {
        hark__request_drop(ctx, parent);
    }
}

static void
continuation_complete(struct waiter *waiter, void *turn, struct future *future)
{
    hark_ctx *ctx = turn;
    struct continuation continuation = continuation_of(future);
    struct request *parent = future->parent;
    uint16_t outer = ctx->trace;
    uint64_t id = future->id;

    uint64_t unseen = 0;
    if (ctx->slot->heed & SLOT_WAITS) {
        if (hark__waits_hold(ctx, future, waiter)) {
            return; // a handler waits, and nobody's code may run meanwhile
        }
        unseen = hark__waits_unseen(ctx);
    }
    if (parent != NULL) { // it goes on for the sake of whom it was asked
        hark__request_hold(parent);
        ctx->request = parent;
    }
    ctx->trace = future->trace; // what it asks, it asks because of that
    ctx->chain_id = hark__chain_of_future(ctx->self, future) | unseen;
    if (future->code == HARK_OK) {
        run_reply(ctx, &continuation, future);
    } else {
        run_own_failure(ctx, &continuation, future);
    }
    if (ctx->scopes != NULL) {
        hark__scopes_leave(ctx);
    }
    if (ctx->request != NULL) {
        put_back(ctx, parent);
    }
    ctx->trace = outer;
    drop_arg(continuation.what, continuation.arg);
    future = hark__future_find(ctx_futures(ctx), id);
    if (future != NULL) { // the continuation may have dropped it
        close_future(ctx, future);
    }
}

static void
continuation_drop(struct waiter *waiter, void *turn, struct future *future)
{
    struct continuation continuation = continuation_of(future);

    (void)waiter;
    (void)turn;
    drop_arg(continuation.what, continuation.arg);
}

static struct waiter continuation_waiter = {continuation_complete, continuation_drop};

hark_err
hark_then_value(hark_ctx *ctx, hark_future name, const hark_continuation *what,
                void *arg)
{
    struct future *future = hark__ctx_future(ctx, name);

    if (what == NULL || what->type == NULL) {
        drop_arg(what, arg);
        return hark__ctx_error(ctx, HARK_EINVAL, "hark_then: no continuation");
    }
    if (future == NULL || future->waiter != NULL) {
        drop_arg(what, arg);
        return hark__ctx_error(
            ctx, HARK_ESTALE,
            "hark_then: the future has ended, is continued already, or "
            "is not this actor's");
    }
    future->waiter_data = what;
    future->waiter_arg = arg;
    hark__future_watch(ctx_futures(ctx), future, &continuation_waiter);
    return HARK_OK;
}

// ---- of nobody ----

// Guardian of the futures that are detached.
static void
guardian_complete(struct waiter *waiter, void *turn, struct future *future)
{
    (void)waiter;
    close_future(turn, future);
}

static void
guardian_drop(struct waiter *waiter, void *turn, struct future *future)
{
    (void)waiter;
    (void)turn;
    (void)future;
}

static struct waiter guardian = {guardian_complete, guardian_drop};

hark_err
hark_future_detach(hark_ctx *ctx, hark_future name)
{
    struct future *future = hark__ctx_future(ctx, name);

    if (future == NULL || future->waiter != NULL) {
        return hark__ctx_error(ctx, HARK_ESTALE,
                               "hark_future_detach: the future has ended, is continued "
                               "already, or is not of this actor or thread");
    }
    if (future->state == FUTURE_DONE) {
        close_future(ctx, future);
        return HARK_OK;
    }
    if (future->parent != NULL) {
        hark__ask_hooks.leave(ctx, future);
    }
    future->kept = false;
    hark__future_adopt(ctx_futures(ctx), future, &guardian);
    return HARK_OK;
}

// ---- for dump.c ----

bool
hark__future_is_missed(const struct future *future)
{
    return future->state == FUTURE_OPEN && future->waiter != &guardian
           && (future->asked != NULL || future->backing != NULL
               || future->waiter == &continuation_waiter);
}
