// News: an actor's system messages, which go before all others.

#include "actor/await.h"
#include "actor/ctx.h"
#include "actor/owed.h"
#include "actor/stream.h"

static void
be_told_to_stop(struct slot *slot)
{
    slot->heed |= SLOT_EXITING | SLOT_TOLD;
    if (slot->extra != NULL && slot->extra->waits != NULL
        && !(slot->heed & SLOT_STOPPING)) {
        hark__waits_break(slot->extra->waits, HARK_ESTOPPED, "the actor is to stop");
    }
}

// For the actor that lives here.
static void
heed(hark_ctx *ctx, struct hark_message *message)
{
    struct slot *slot = ctx->slot;

    switch ((enum system_code)message->code) {
    case SYSTEM_STOP:
        be_told_to_stop(slot);
        if (message->correlation != 0
            && !hark__promise_end(ctx, message->from, message->correlation)) {
            hark__fail_ask(ctx, message, HARK_ENOMEM, HARK_STAGE_RUNNING, NULL);
        }
        break;
    case SYSTEM_TIMEOUTS: // the end of a turn sees to them
        hark__timer_came(ctx);
        break;
    case SYSTEM_CANCEL:
        hark__cancel_came(ctx, message->from, message->correlation);
        break;
    case SYSTEM_DUMP:
        hark__dump_came(ctx, message);
        break;
    case SYSTEM_LOST:
        hark__loss_came(ctx, message->from.node);
        break;
    case SYSTEM_CREDIT:
        hark__credit_came(ctx, message);
        break;
    }
}

static void
tell_end(hark_ctx *ctx, struct hark_message *asks)
{
    hark__fail_ask(ctx, asks, HARK_ESTOPPED, HARK_STAGE_RUNNING, NULL);
}

static void
handle_system(hark_ctx *ctx, struct hark_message *message)
{
    struct slot *slot = ctx->slot;

    while (message != NULL) {
        // relaxed: ours since it was taken from the lane.
        struct hark_message *next =
            atomic_load_explicit(&message->next, memory_order_relaxed);

        // relaxed: only the reader writes it.
        if (message->generation
            == atomic_load_explicit(&slot->generation, memory_order_relaxed)) {
            heed(ctx, message);
        } else if ((message->code == SYSTEM_STOP && message->correlation != 0)
                   || message->code == SYSTEM_DUMP) {
            tell_end(ctx, message); // it had ended before
        }
        hark__system_free(ctx, message);
        message = next;
    }
}

void
hark__take_news(hark_ctx *ctx)
{
    struct hark_message *system = hark__mailbox_take_system(&ctx->slot->box);

    if (system != NULL) {
        handle_system(ctx, system);
    }
}
