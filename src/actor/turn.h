// Turn: the steps that it has in common with one in which handlers wait.
//
// turn.c runs an actor's turn while no handler of it waits, waiting.c while some do.
// The steps that each turn takes are inline. All is for the thread that runs the turn.

#ifndef ACTOR_TURN_H
#define ACTOR_TURN_H

#include "actor/budget.h"
#include "actor/ctx.h"
#include "actor/owed.h"

// turn.c

// Continues what is settled, and ends the actor if that called hark_exit. There is
// something to settle.
void hark__turn_settle(hark_ctx *ctx);
// A sender has swapped the tail and is about to link its message behind last, which is
// in hand: the turn goes on soon, and the slot is not ctx's any more.
void hark__turn_come_back(hark_ctx *ctx, struct hark_message *last);
// Handles the system messages, and ends the actor if it is to end.
void hark__turn_take_system(hark_ctx *ctx);
// Dispatches message while handlers of the actor wait.
void hark__turn_dispatch_meanwhile(hark_ctx *ctx, struct hark_message *message);

// waiting.c

// The turn of an actor with handlers that wait. True: the slot is not ours any more;
// false: nobody waits any more.
bool hark__waiting_run(hark_ctx *ctx, struct budget *budget);
// As sleep_slot, with a message in hand that somebody keeps: it is theirs before
// another reader can be there.
bool hark__waiting_sleep(hark_ctx *ctx, struct hark_message *last);

static inline bool
has_futures_to_settle(const struct extra *extra)
{
    return extra != NULL && extra->futures != NULL
           && (extra->expired || hark__futures_are_unsettled(extra->futures));
}

// What belongs to the end of a turn, and must be done before the actor can be found by
// another worker.
static inline void
end_turn(hark_ctx *ctx)
{
    if (has_futures_to_settle(ctx->slot->extra)) {
        hark__turn_settle(ctx);
    }
    if (ctx->keeps_back) {
        hark__ctx_flush(ctx);
    }
}

// Takes message, which was in hand, from the chain.
static inline void
let_go(hark_ctx *ctx, struct hark_message *message)
{
    if (message == NULL) {
        return;
    }
    if (message->flags & (MESSAGE_HELD | MESSAGE_OWED)) {
        hark__ask_unchain(ctx, message);
    } else {
        hark__message_free(ctx_pool(ctx), message);
    }
}

// True: the slot is not ours any more.
static inline bool
sleep_slot(hark_ctx *ctx)
{
    struct slot *slot = ctx->slot;
    struct hark_message *last = slot->current;

    if (last != NULL && (last->flags & (MESSAGE_HELD | MESSAGE_ASIDE | MESSAGE_OWED))) {
        return hark__waiting_sleep(ctx, last);
    }
    slot->current = NULL; // before another reader can be there
    enum mailbox_end end = hark__mailbox_sleep(&slot->box, last);
    if (end == MAILBOX_MORE) {
        hark__turn_come_back(ctx, last);
        return true;
    }
    if (last != NULL) {
        hark__message_free(ctx_pool(ctx), last);
    }
    if (end == MAILBOX_SYSTEM) {
        hark__schedule(ctx, slot); // somebody else may live there by now
    }
    return true;
}

static inline void
look_at_system(hark_ctx *ctx)
{
    if (hark__mailbox_has_system(&ctx->slot->box)
        || (ctx->slot->heed & ~SLOT_WAITS) != 0) {
        hark__turn_take_system(ctx);
    }
}

#endif // ACTOR_TURN_H
