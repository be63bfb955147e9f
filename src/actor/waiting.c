// The turn while handlers wait: it takes what may come in between, sets the other
// messages aside, and goes on with handlers that are due (await.h).

#include <assert.h>

#include "actor/await.h"
#include "actor/chain_id.h"
#include "actor/deadlock.h"
#include "actor/owed.h"
#include "actor/request.h"
#include "actor/turn.h"

// Does no handler that waits keep any message from being handled?
static bool
admits_all(const struct slot *slot)
{
    const struct waits *waits = slot->extra->waits;

    return !(slot->heed & SLOT_EXITING) && waits->exclusive == 0 && waits->chained == 0;
}

// May it be handled? It is for handlers.
static bool
admits(const hark_ctx *ctx, const struct hark_message *message)
{
    const struct slot *slot = ctx->slot;

    return admits_all(slot)
           || (!(slot->heed & SLOT_EXITING)
               && hark__waits_admit(slot->extra->waits,
                                    hark__chain_of(message, ctx->node->id)));
}

bool
hark__waiting_sleep(hark_ctx *ctx, struct hark_message *last)
{
    struct slot *slot = ctx->slot;
    struct waits *waits = ctx_waits(ctx);
    struct hark_message *before = waits != NULL ? waits->last_aside : NULL;
    uint8_t flags = last->flags;

    if (flags & MESSAGE_ASIDE) {
        assert(waits != NULL); // who marked it
        if (admits(ctx, last)) {
            return false; // the handler that kept it from being handled has gone on
        }
    }
    slot->current = NULL;
    last->flags &= (uint8_t) ~(MESSAGE_CHAINED | MESSAGE_HELD | MESSAGE_ASIDE);
    if (flags & MESSAGE_ASIDE) {
        assert(waits != NULL); // who marked it
        hark__waits_append_aside(waits, last);
    }
    enum mailbox_end end = hark__mailbox_sleep(&slot->box, last);
    if (end == MAILBOX_MORE) { // it stays in the chain
        if (flags & MESSAGE_ASIDE) {
            hark__waits_cut_aside(waits, before);
        }
        last->flags = flags;
        hark__turn_come_back(ctx, last);
        return true;
    }
    if ((flags & (MESSAGE_HELD | MESSAGE_ASIDE)) == 0) { // nobody's
        hark__ask_send_owed(ctx, last);
    }
    if (end == MAILBOX_SYSTEM) {
        hark__schedule(ctx, slot); // as in sleep_slot
    }
    return true;
}

// As let_go, or sets the message aside.
static void
let_go_aside(hark_ctx *ctx, struct hark_message *message)
{
    if (message != NULL && (message->flags & MESSAGE_ASIDE)) {
        hark__waits_set_aside(ctx_waits(ctx), message);
    } else {
        let_go(ctx, message);
    }
}

static bool
is_for_handlers(const struct slot *slot, const struct hark_message *message)
{
    // relaxed: only the reader writes it.
    return message->kind <= MESSAGE_ASK
           && message->generation
                  == atomic_load_explicit(&slot->generation, memory_order_relaxed);
}

// It is in hand, and is to be handled later; unless it is an ask whose cancel has come
// before: by then that may be forgotten, since the message it waits for may pass this
// one.
static void
set_aside(hark_ctx *ctx, struct hark_message *message)
{
    const struct requests *requests = ctx->slot->extra->requests;

    if (message->kind == MESSAGE_ASK && requests != NULL
        && hark__requests_are_missing(requests) && !hark__ask_is_wanted(ctx, message)) {
        hark__heed_flags(ctx, message);
        return;
    }
    message->flags |= MESSAGE_ASIDE;
    hark__deadlock_aside(ctx, message);
    if (message->flags & MESSAGE_MARKED) {
        hark__timer_see(ctx, message); // it is no answer
    }
}

// Handles the message in hand if it was to be set aside, and now may be handled. False:
// it is none such.
static bool
take_marked(hark_ctx *ctx)
{
    struct hark_message *message = ctx->slot->current;

    if (message == NULL || !(message->flags & MESSAGE_ASIDE) || !admits(ctx, message)) {
        return false;
    }
    message->flags &= (uint8_t)~MESSAGE_ASIDE;
    hark__turn_dispatch_meanwhile(ctx, message);
    return true;
}

// Takes the next message from the mailbox, and handles it or marks it as set aside.
// False: there is none.
static bool
take_next(hark_ctx *ctx)
{
    struct slot *slot = ctx->slot;

    if (take_marked(ctx)) {
        return true;
    }
    struct hark_message *next = hark__mailbox_next(&slot->box, slot->current);
    if (next == NULL) {
        return false;
    }
    let_go_aside(ctx, slot->current);
    slot->current = next;
    next->flags |= MESSAGE_CHAINED;
    if (is_for_handlers(slot, next) && !admits(ctx, next)) {
        set_aside(ctx, next);
    } else {
        hark__turn_dispatch_meanwhile(ctx, next);
    }
    return true;
}

// Handles the first message that was set aside and may be handled. False: there is
// none.
static bool
take_aside(hark_ctx *ctx)
{
    struct waits *waits = ctx->slot->extra->waits;
    struct hark_message *message = NULL;

    if (admits_all(ctx->slot)) {
        message = hark__waits_take_aside(waits);
    } else if (!(ctx->slot->heed & SLOT_EXITING)) {
        message = hark__waits_sift(waits);
        if (message != NULL) {
            hark__pass_mark(ctx, message);
        }
    }
    if (message == NULL) {
        return false;
    }
    hark__turn_dispatch_meanwhile(ctx, message);
    hark__ask_drop(ctx, message);
    return true;
}

// Goes on with a handler that is due, if one may go on. True: the slot is that one's.
static bool
go_on_if_due(hark_ctx *ctx)
{
    if (hark__waits_due(ctx_waits(ctx)) == NULL) {
        return false;
    }
    end_turn(ctx); // may run continuations, which may wait themselves
    if (!(ctx->slot->heed & SLOT_WAITS)) {
        return false;
    }
    struct await *await = hark__waits_due(ctx_waits(ctx));
    if (await != NULL) {
        hark__await_go_on(ctx, await);
    }
    return await != NULL;
}

// Nobody waits, and nothing is set aside?
static inline bool
is_over(const struct slot *slot, const struct waits *waits)
{
    return waits->count == 0 && waits->first_aside == NULL
           && (slot->current == NULL || !(slot->current->flags & MESSAGE_ASIDE));
}

// The mailbox has nothing. True: the slot is not ours any more.
static bool
rest_waiting(hark_ctx *ctx)
{
    struct slot *slot = ctx->slot;

    end_turn(ctx);
    if (!(slot->heed & SLOT_WAITS) || hark__waits_due(ctx_waits(ctx)) != NULL) {
        return false; // a continuation that ran just now has changed things
    }
    return sleep_slot(ctx);
}

bool
hark__waiting_run(hark_ctx *ctx, struct budget *budget)
{
    struct slot *slot = ctx->slot;

    for (;;) {
        look_at_system(ctx);
        if (!(slot->heed & SLOT_WAITS)) {
            return false; // it has ended
        }
        struct waits *waits = ctx_waits(ctx);
        if (is_over(slot, waits)) {
            hark__probes_tidy(ctx, waits);
            hark__chains_end(&waits->aside);
            slot->heed &= (uint8_t)~SLOT_WAITS;
            // relaxed: see hark_dump.
            atomic_store_explicit(&slot->waits, false, memory_order_relaxed);
            return false;
        }
        if (!hark__list_is_empty(&waits->due)) {
            if (go_on_if_due(ctx)) {
                return true;
            }
            if (!(slot->heed & SLOT_WAITS)) {
                return false;
            }
        }
        if (!(waits->first_aside != NULL && take_aside(ctx)) && !take_next(ctx)) {
            if (rest_waiting(ctx)) {
                return true;
            }
        } else if (is_spent(ctx, budget)) {
            end_turn(ctx);
            hark__sched_yield(ctx->worker, &slot->task);
            return true;
        }
    }
}
