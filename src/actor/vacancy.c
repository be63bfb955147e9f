// Vacancy: an actor has ended, and its slot is free for another one.

#include <stdlib.h>

#include "actor/await.h"
#include "actor/ctx.h"
#include "actor/names.h"
#include "actor/request.h"

static void
free_extra(hark_ctx *ctx, struct extra *extra)
{
    if (extra->promises != NULL) {
        hark__promises_free(ctx, extra->promises);
    }
    if (extra->futures != NULL) {
        hark__futures_free(extra->futures, ctx_pool(ctx), ctx);
    }
    if (extra->waits != NULL) {
        hark__waits_free(ctx, extra->waits);
    }
    if (extra->requests != NULL) {
        hark__requests_free(extra->requests, ctx_pool(ctx));
    }
    free(extra);
}

// For somebody who lived here before.
__attribute__((cold)) void
hark__refuse_late(hark_ctx *ctx, struct hark_message *message)
{
    hark_ref to = {ctx->node->id,
                   hark__slot_name(ctx->slot->index, message->generation)};

    hark__bounce_message(ctx, to, message, HARK_ESTOPPED, HARK_STAGE_QUEUED,
                         "the actor stopped before it looked at the message");
}

// The message in hand was to be set aside, by an actor that has ended.
static void
forget_aside(hark_ctx *ctx)
{
    struct hark_message *message = ctx->slot->current;

    if (message != NULL && (message->flags & MESSAGE_ASIDE)) {
        message->flags &= (uint8_t)~MESSAGE_ASIDE;
        hark__refuse_late(ctx, message);
    }
}

void
hark__slot_vacate(hark_ctx *ctx)
{
    struct slot *slot = ctx->slot;
    // relaxed: only the reader writes it.
    uint32_t generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);

    // seq_cst, then the load of named: see names.h.
    atomic_store_explicit(&slot->generation, generation + 1, memory_order_seq_cst);
    if (atomic_load_explicit(&slot->named, memory_order_seq_cst)) {
        // relaxed: the next to live here starts without a name.
        atomic_store_explicit(&slot->named, false, memory_order_relaxed);
        hark__names_forget(ctx->node->names, ctx->self.actor);
    }
    if (slot->extra != NULL) {
        struct extra *extra = slot->extra;

        free_extra(ctx, extra);
        slot->extra = NULL;
        // relaxed: see hark_dump.
        atomic_store_explicit(&slot->asks, false, memory_order_relaxed);
        forget_aside(ctx);
    }
    // relaxed: its writer is the reader of the mailbox, which we are.
    const hark_behavior *behavior =
        atomic_load_explicit(&slot->behavior, memory_order_relaxed);
    if (behavior != NULL && behavior->state_size > SLOT_STATE) {
        hark__pool_free(ctx_pool(ctx), slot->state.outside, slot->state_class);
    }
    // relaxed: others read it only for its name.
    atomic_store_explicit(&slot->behavior, NULL, memory_order_relaxed);
    // relaxed: nobody here has requests.
    atomic_store_explicit(&slot->foreign, false, memory_order_relaxed);
    atomic_store_explicit(&slot->waits, false, memory_order_relaxed); // as above
    slot->life = SLOT_FREE;
    slot->heed = 0;
    ctx->self = (hark_ref){0, 0};
}
