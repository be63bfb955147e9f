#include "actor/undo.h"

#include "actor/await.h"
#include "actor/scope.h"
#include "hark/cancel.h"

// ---- records ----

struct undo *
hark__undo_new(hark_ctx *ctx, enum undo_kind kind)
{
    uint8_t size_class;
    struct undo *undo = hark__pool_alloc(ctx_pool(ctx), sizeof *undo, &size_class);

    if (undo != NULL) {
        *undo = (struct undo){.kind = (uint8_t)kind, .size_class = size_class};
    }
    return undo;
}

static struct undo *
take(struct undo **list)
{
    struct undo *undo = *list;

    *list = undo->next;
    return undo;
}

void
hark__undo_free(hark_ctx *ctx, struct undo *undo)
{
    hark__pool_free(ctx_pool(ctx), undo, undo->size_class);
}

// ---- actors ----

// The future of an actor's end; 0: it is not waited for.
static uint64_t
open_end(hark_ctx *ctx)
{
    struct futures *futures = ctx_futures(ctx);
    uint32_t timeout_ms = ctx->node->limits.ask_timeout_ms;
    struct future *future = hark__must_stop(ctx)
                                ? NULL
                                : hark__future_open(futures, ctx_pool(ctx), timeout_ms);

    if (future == NULL) {
        return 0;
    }
    future->looked_at = true;
    hark__future_count_from(future, hark__futures_now(ctx->node->env, timeout_ms));
    return hark__own_name(ctx, future).id;
}

static void
stop_actor(hark_ctx *ctx, struct undo *undo)
{
    if (!hark_is_alive(ctx, undo->actor)) {
        hark__message_free(ctx_pool(ctx), undo->stop);
        return;
    }
    undo->ended = open_end(ctx);
    hark__send_system_in(ctx, undo->actor, undo->stop, SYSTEM_STOP, undo->ended);
}

static void
wait_for_end(hark_ctx *ctx, const struct undo *undo)
{
    struct future *future;

    if (hark__scope_future(ctx, undo->ended) != NULL) {
        (void)hark__wait(ctx, (hark_future){ctx->self.actor, undo->ended});
        future = hark__scope_future(ctx, undo->ended);
        if (future != NULL) {
            hark__future_close(ctx_futures(ctx), ctx_pool(ctx), ctx, future);
        }
    }
}

// Stops the actors that are next, side by side.
static void
stop_actors(hark_ctx *ctx, struct undo **list)
{
    const struct request *before = ctx->request;
    struct undo *stopped = NULL;

    while (*list != NULL && (*list)->kind == UNDO_ACTOR) {
        struct undo *undo = take(list);

        stop_actor(ctx, undo);
        hark__undo_push(&stopped, undo);
    }
    (void)hark_shield(ctx, HARK_FOREVER);
    while (stopped != NULL) {
        struct undo *undo = take(&stopped);

        wait_for_end(ctx, undo);
        hark__undo_free(ctx, undo);
    }
    hark__request_let_go(ctx, before);
}

void
hark__undo_last(hark_ctx *ctx, struct undo **list)
{
    if ((*list)->kind == UNDO_ACTOR) {
        stop_actors(ctx, list);
        return;
    }
    struct undo *undo = take(list);
    if (undo->kind == UNDO_TIMER) {
        (void)hark_timer_cancel(ctx, undo->timer);
    } else {
        hark__scope_clean(ctx, undo);
    }
    hark__undo_free(ctx, undo);
}
