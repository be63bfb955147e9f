// Cancel: what an actor does about asks that nobody waits for any more.
//
// A cancel is a system message {asker, correlation} to the actor that was asked. Its
// ask was sent before it, so here it is in hand, or a request (request.h: deferred, or
// with children), or answered, or still in the mailbox.

#include "hark/cancel.h"

#include "actor/await.h"
#include "actor/hand.h"
#include "actor/owed.h"
#include "actor/stream.h"

// ---- cancels that come ----

void
hark__cancel_future(hark_ctx *ctx, struct future *future)
{
    hark__future_cancel(ctx_futures(ctx), ctx, future, hark__ask_give_up(ctx, future),
                        hark__env_now(ctx->node->env));
}

void
hark__request_cancel(hark_ctx *ctx, struct request *request)
{
    if (request->state != REQUEST_OPEN) {
        return;
    }
    request->state = REQUEST_CANCELLED;
    hark__request_tell(ctx, request);
    if (ctx->slot->heed & SLOT_WAITS) {
        hark__waits_cancel(ctx_waits(ctx), request);
    }
    for (struct list *at = request->children.next; at != &request->children;
         at = at->next) {
        struct future *child = CONTAINER_OF(at, struct future, by_parent);

        if (child->state == FUTURE_OPEN) {
            hark__cancel_future(ctx, child); // its waiter is told later: the list stays
        }
    }
    hark__scopes_cancel(ctx, request);
}

// The newest message that has not been looked at, in the mailbox or set aside. NULL:
// none.
static struct hark_message *
newest_of(const hark_ctx *ctx)
{
    const struct slot *slot = ctx->slot;
    struct hark_message *newest = hark__mailbox_newest(&slot->box, slot->current);

    if (newest != NULL || !(slot->heed & SLOT_WAITS)) {
        return newest;
    }
    return slot->current != NULL && (slot->current->flags & MESSAGE_ASIDE)
               ? slot->current
               : ctx_waits(ctx)->last_aside;
}

// True: message is that ask, whose time is over from now on.
static bool
doom_one(struct hark_message *message, struct request_name name)
{
    bool is_it = message->kind == MESSAGE_ASK
                 && message->correlation == name.correlation
                 && hark_ref_equal(message->from, name.asker);

    if (is_it) {
        message->deadline_ns = INT64_MIN;
    }
    return is_it;
}

// Without memory to note that an ask is missing it is looked for, in all that waits. If
// it is not there, it was answered.
static __attribute__((cold, noinline)) void
doom(hark_ctx *ctx, struct request_name name)
{
    const struct slot *slot = ctx->slot;
    struct hark_message *at =
        slot->heed & SLOT_WAITS ? ctx_waits(ctx)->first_aside : NULL;

    while (at != NULL && !doom_one(at, name)) {
        // relaxed: what is aside is ours alone.
        at = atomic_load_explicit(&at->next, memory_order_relaxed);
    }
    if (at != NULL || (slot->current != NULL && doom_one(slot->current, name))) {
        return;
    }
    at = slot->current;
    while (hark__mailbox_newest(&slot->box, at) != NULL) {
        struct hark_message *next = hark__mailbox_peek(&slot->box, at);

        if (next != NULL && doom_one(next, name)) {
            return;
        }
        at = next != NULL ? next : at; // else its sender is about to link it
    }
}

// An ask that is in nobody's hands: before newest, or answered.
static void
miss(hark_ctx *ctx, struct request_name name, struct hark_message *newest)
{
    struct requests *requests = newest != NULL ? make_requests(ctx) : NULL;
    bool is_flood = requests != NULL && requests->count >= ctx->node->limits.futures;

    // When somebody floods us, the ask is handled in vain.
    if (newest != NULL && !is_flood
        && (requests == NULL
            || !hark__requests_miss(requests, ctx_pool(ctx), name, newest))) {
        doom(ctx, name);
    }
}

void
hark__pass_mark(hark_ctx *ctx, struct hark_message *message)
{
    if (message->flags & MESSAGE_MARKED) {
        hark__requests_see(requests_of(ctx), message, ctx_waits(ctx)->last_aside);
        message->flags &= (uint8_t)~MESSAGE_MARKED;
    }
}

// An ask that was set aside while a handler waits leaves at once, if it is found soon.
static void
cancel_aside(hark_ctx *ctx, struct request_name name)
{
    bool is_all;
    struct hark_message *message = hark__waits_take_out(ctx, name, &is_all);

    if (message == NULL) {
        miss(ctx, name,
             is_all ? hark__mailbox_newest(&ctx->slot->box, ctx->slot->current)
                    : newest_of(ctx));
        return;
    }
    hark__seat_count(&ctx->seat->cancelled);
    hark__pass_mark(ctx, message);
    hark__heed_flags(ctx, message);
    hark__message_drop(ctx_pool(ctx), message);
}

void
hark__cancel_came(hark_ctx *ctx, hark_ref asker, uint64_t correlation)
{
    struct request_name name = {asker, correlation};
    const struct hark_message *message = unanswered(ctx);
    bool is_in_hand = message != NULL && message->correlation == correlation
                      && hark_ref_equal(message->from, asker);
    // Without memory for it a handler that runs does not hear of the cancel; one that
    // waits has made it before.
    struct request *request = is_in_hand ? hark__request_of(ctx)
                                         : hark__requests_find(requests_of(ctx), name);

    if (request != NULL) {
        hark__request_cancel(ctx, request);
    } else if (is_in_hand) {
        return;
    } else if (ctx->slot->heed & SLOT_WAITS) {
        cancel_aside(ctx, name);
    } else {
        miss(ctx, name, newest_of(ctx));
    }
}

// What another node says about its asks waits here, until the actor looks; no more than
// so much of it.
bool
hark__foreign_in(struct node *node)
{
    // relaxed, both: a count.
    if (atomic_fetch_add_explicit(&node->foreign_news, 1, memory_order_relaxed)
        < node->limits.futures) {
        return true;
    }
    atomic_fetch_sub_explicit(&node->foreign_news, 1, memory_order_relaxed);
    return false;
}

void
hark__foreign_out(struct node *node)
{
    // relaxed: a count.
    atomic_fetch_sub_explicit(&node->foreign_news, 1, memory_order_relaxed);
}

// What was counted could not be sent. True: nobody is there who would miss it.
static bool
count_out(hark_ctx *ctx, hark_ref to)
{
    hark__foreign_out(ctx->node);
    return !hark_is_alive(ctx, to);
}

bool
hark__cancel_from(hark_ctx *ctx, hark_ref to, hark_ref asker, uint64_t correlation)
{
    // What is over the bound is left to the deadline.
    return !hark__foreign_in(ctx->node)
           || hark__send_system_about(ctx, to, SYSTEM_CANCEL, asker, correlation)
           || count_out(ctx, to);
}

bool
hark__credit_from(hark_ctx *ctx, hark_ref to, hark_ref asker, uint64_t correlation,
                  uint16_t credits)
{
    // Over the bound the stream stands still, and its consumer's clock ends it.
    return !hark__foreign_in(ctx->node)
           || hark__send_credits(ctx, to, asker, correlation, credits)
           || count_out(ctx, to);
}

void
hark__system_free(hark_ctx *ctx, struct hark_message *message)
{
    if ((message->code == SYSTEM_CANCEL || message->code == SYSTEM_CREDIT)
        && message->from.node != ctx->node->id) {
        hark__foreign_out(ctx->node);
    }
    hark__ask_free(ctx, message);
}

void
hark__credit_came(hark_ctx *ctx, const struct hark_message *message)
{
    struct request *request = hark__requests_find(
        requests_of(ctx), (struct request_name){message->from, message->correlation});

    if (request != NULL && request->producer != NULL) {
        hark__producer_credit(ctx, request, message->more);
    }
}

void
hark__loss_came(hark_ctx *ctx, uint64_t node)
{
    struct requests *requests = requests_of(ctx);

    // An ask in hand that is no request yet: hark_cancelled looks for itself.
    for (uint32_t i = 0; requests != NULL && i < requests->capacity; i++) {
        for (struct request *request = requests->buckets[i]; request != NULL;
             request = request->next) {
            if (request->asker.node == node && is_lost(ctx, node, request->epoch)) {
                hark__request_cancel(ctx, request);
            }
        }
    }
}

// ---- asks from the mailbox ----

bool
hark__ask_is_wanted(hark_ctx *ctx, struct hark_message *message)
{
    struct requests *requests = requests_of(ctx);
    bool is_cancelled =
        requests != NULL && hark__requests_are_missing(requests)
        && hark__requests_meet(requests, ctx_pool(ctx), message, newest_of(ctx));

    if (is_cancelled || is_lost(ctx, message->from.node, message->epoch)) {
        hark__seat_count(&ctx->seat->cancelled);
        return false;
    }
    if (message->deadline_ns <= hark__worker_now(ctx->worker)) {
        hark__seat_count(&ctx->seat->expired);
        hark__fail_ask(ctx, message, HARK_ETIMEOUT, HARK_STAGE_QUEUED,
                       "its time ran out before the actor looked at it");
        return false;
    }
    return true;
}

void
hark__see_mark(hark_ctx *ctx, const struct hark_message *message)
{
    const struct slot *slot = ctx->slot;
    // What is looked at at once, as an answer is, passes what is set aside.
    bool is_passing = message == slot->current && (slot->heed & SLOT_WAITS);

    hark__requests_see(requests_of(ctx), message,
                       is_passing ? ctx_waits(ctx)->last_aside : NULL);
}

// ---- the loss of a node ----

bool
hark__node_lost(hark_ctx *ctx, uint64_t node_id)
{
    struct node *node = ctx->node;
    bool all = true;
    // acquire: pairs with growth.
    uint32_t count = atomic_load_explicit(&node->slots.count, memory_order_acquire);

    for (uint32_t i = hark__slots_next(&node->slots, 0, count); i < count;
         i = hark__slots_next(&node->slots, i + 1, count)) {
        struct slot *slot = hark__slot_at(&node->slots, i);
        // seq_cst, after live was cleared; see make_request in hand.c.
        bool foreign = atomic_load_explicit(&slot->foreign, memory_order_seq_cst);
        // relaxed: who is born after this knows of the loss.
        uint32_t generation =
            atomic_load_explicit(&slot->generation, memory_order_relaxed);

        if (foreign && hark__generation_lives(generation)) {
            hark_ref to = {node->id, hark__slot_name(i, generation)};

            if (!hark__send_system_about(ctx, to, SYSTEM_LOST, (hark_ref){node_id, 0},
                                         0)
                && hark_is_alive(ctx, to)) {
                all = false;
            }
        }
    }
    return all;
}

// ---- cancelling ----

hark_err
hark_cancel(hark_ctx *ctx, hark_future name)
{
    struct future *future = ctx != NULL && name.id != 0 && name.owner == ctx->self.actor
                                ? hark__future_find(ctx_futures(ctx), name.id)
                                : NULL;

    if (future == NULL || future->state == FUTURE_DONE) {
        return hark__ctx_error(ctx, HARK_ESTALE,
                               "hark_cancel: the future has ended, or is not of this "
                               "actor or thread");
    }
    hark__cancel_future(ctx, future);
    return HARK_OK;
}
