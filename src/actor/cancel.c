// Deadlines and cancellation: what an actor's turn knows of those who wait for it, and
// what it tells those whom it no longer waits for.
//
// A cancel is a system message {asker, correlation} to the actor that was asked. Its ask
// was sent before it, so here it is in hand, or a request (request.h: deferred, or with
// children), or answered, or still in the mailbox.

#include "hark/blocking.h"
#include "hark/cancel.h"

#include "actor/await.h"
#include "actor/ctx.h"
#include "actor/request.h"
#include "actor/stream.h"

#define NS_PER_MS INT64_C(1000000)
#define YIELD_NS INT64_C(50000)

// A shield or a scope: nobody has asked for it.
static bool
is_own(const struct request *request)
{
    return hark_ref_is_null(request->asker);
}

static bool
is_shield(const struct request *request)
{
    return is_own(request) && !request->is_scope;
}

// What a handler has in hand but for its scopes.
static struct request *
beyond_scopes(struct request *request)
{
    while (request != NULL && request->is_scope) {
        request = request->outer;
    }
    return request;
}

static struct requests *
requests_of(const hark_ctx *ctx)
{
    return ctx->slot != NULL && ctx->slot->extra != NULL ? ctx->slot->extra->requests
                                                         : NULL;
}

static struct requests *
make_requests(hark_ctx *ctx)
{
    struct extra *extra = hark__ctx_extra(ctx);

    if (extra != NULL && extra->requests == NULL) {
        extra->requests = hark__requests_new();
    }
    return extra != NULL ? extra->requests : NULL;
}

// True: the node cannot be reached any more, and nor can an answer.
static bool
is_lost(hark_ctx *ctx, uint64_t node)
{
    if (node == ctx->node->id || node == 0) {
        return false;
    }
    struct target *target = hark__find_target(ctx, node);
    // seq_cst: pairs with hark__node_lost; see make_request.
    return target == NULL || atomic_load_explicit(&target->lost, memory_order_seq_cst);
}

// ---- the request in hand ----

// The ask in hand becomes a request. NULL: no memory.
static struct request *
make_request(hark_ctx *ctx)
{
    const struct hark_message *message = ctx->message;
    struct requests *requests = make_requests(ctx);
    struct request *request =
        requests == NULL ? NULL
                         : hark__request_new(
                             ctx_pool(ctx),
                             (struct request_name){message->from, message->correlation},
                             message->deadline_ns);

    if (request == NULL) {
        return NULL;
    }
    if (!hark__requests_add(requests, request)) {
        hark__request_release(requests, ctx_pool(ctx), request);
        return NULL;
    }
    if (message->from.node != ctx->node->id) {
        // seq_cst, then the load of lost: who finds the link lost sets that, and then
        // looks here.
        atomic_store_explicit(&ctx->slot->foreign, true, memory_order_seq_cst);
    }
    request->turn = ctx;
    if (is_lost(ctx, message->from.node)) {
        request->state = REQUEST_CANCELLED;
    }
    return request;
}

struct request *
hark__request_of(hark_ctx *ctx)
{
    struct request **at = &ctx->request;

    while (*at != NULL) {
        if (!is_own(*at)) {
            return *at;
        }
        at = &(*at)->outer;
    }
    if (ctx->owes_answer) {
        *at = make_request(ctx);
    }
    return *at;
}

void
hark__request_drop(hark_ctx *ctx, struct request *request)
{
    hark__request_release(requests_of(ctx), ctx_pool(ctx), request);
}

// Takes the innermost off ctx.
static void
pop(hark_ctx *ctx)
{
    struct request *request = ctx->request;

    ctx->request = request->outer;
    request->outer = NULL;
    request->turn = NULL;
    hark__request_drop(ctx, request);
}

void
hark__request_let_go(hark_ctx *ctx, const struct request *until)
{
    while (ctx->request != NULL && ctx->request != until && ctx->request->turn == ctx) {
        pop(ctx);
    }
}

void
hark__request_enter(hark_ctx *ctx, struct request *request)
{
    const struct request *outer = ctx->request;

    request->turn = ctx;
    request->outer = ctx->request;
    request->is_scope = true;
    if (outer != NULL && outer->state == REQUEST_CANCELLED) {
        request->state = REQUEST_CANCELLED;
    }
    ctx->request = request;
}

// The children of request, which has ended, go on as those of outer.
static void
pass_on_children(hark_ctx *ctx, struct request *request, struct request *outer)
{
    while (!hark__list_is_empty(&request->children)) {
        struct future *child =
            CONTAINER_OF(request->children.next, struct future, by_parent);

        hark__ask_hooks.leave(ctx, child);
        if (outer != NULL) {
            hark__parent_adopt(outer, child);
        }
    }
}

void
hark__request_leave(hark_ctx *ctx, struct request *request)
{
    pass_on_children(ctx, request, request->outer);
    hark__request_let_go(ctx, request);
    pop(ctx);
}

hark_err
hark__request_answered(hark_ctx *ctx)
{
    struct request *request = ctx->request;

    while (request != NULL && is_own(request)) {
        request = request->outer;
    }
    if (request == NULL) {
        return HARK_OK;
    }
    bool is_cancelled = request->state == REQUEST_CANCELLED;
    hark__request_end(ctx, request);
    return is_cancelled ? HARK_ECANCELLED : HARK_OK;
}

void
hark__request_end(hark_ctx *ctx, struct request *request)
{
    request->state = REQUEST_ENDED;
    if (request->note != NULL) {
        hark__message_free(ctx_pool(ctx), request->note);
        request->note = NULL;
    }
    hark__requests_remove(requests_of(ctx), request);
}

bool
hark__request_is_dead(hark_ctx *ctx, const struct request *request)
{
    return request->state == REQUEST_CANCELLED || is_lost(ctx, request->asker.node);
}

// ---- children ----

static int64_t
left_ns(const hark_ctx *ctx, int64_t deadline_ns)
{
    return deadline_ns == INT64_MAX ? INT64_MAX
                                    : deadline_ns - hark__env_now(ctx->node->env);
}

// Rounded down.
static uint32_t
in_ms(int64_t ns)
{
    if (ns == INT64_MAX) {
        return HARK_FOREVER;
    }
    int64_t ms = ns > 0 ? ns / NS_PER_MS : 0;
    return ms < HARK_FOREVER ? (uint32_t)ms : HARK_FOREVER - 1;
}

struct request *
hark__parent(hark_ctx *ctx, uint32_t *timeout_ms)
{
    struct request *parent =
        ctx->request != NULL ? ctx->request : hark__request_of(ctx);

    if (parent == NULL || parent->state == REQUEST_ENDED) {
        return NULL;
    }
    uint32_t left_ms = in_ms(left_ns(ctx, parent->deadline_ns));
    if (left_ms < *timeout_ms) {
        *timeout_ms = left_ms > 0 ? left_ms : 1;
    }
    return parent;
}

void
hark__parent_adopt(struct request *parent, struct future *future)
{
    future->parent = parent;
    hark__list_append(&parent->children, &future->by_parent);
    hark__request_hold(parent);
}

hark_err
hark__parent_fault(const hark_ctx *ctx, const struct future *future)
{
    const struct request *parent = future->parent;

    if (parent->state == REQUEST_CANCELLED) {
        return HARK_ECANCELLED;
    }
    return left_ns(ctx, parent->deadline_ns) <= 0 ? HARK_ETIMEOUT : HARK_OK;
}

// A child is closed.
static void
leave(void *turn, struct future *future)
{
    hark_ctx *ctx = turn;
    struct request *parent = future->parent;

    future->parent = NULL;
    hark__list_remove(&future->by_parent);
    hark__request_drop(ctx, parent);
}

// An ask that nobody waits for any more.
static bool
unwanted(void *turn, struct future *future)
{
    return future->computed != NULL || hark_ref_is_null(future->target)
           || hark__send_cancel(turn, future->target, future->id, future->number);
}

// A cancel must not be lost for want of memory: it may be that of a hold (hark/future.h),
// which no deadline ends.
static void
last_word(void *turn, struct future *future)
{
    _Static_assert(sizeof(struct future) >= sizeof(struct hark_message),
                   "a future makes a message without payload");
    hark_ref to = future->target;
    uint64_t correlation = future->id;
    uint8_t size_class = future->size_class;
    struct hark_message *message = (struct hark_message *)(void *)future;

    *message = (struct hark_message){.size_class = size_class};
    hark__send_system_in(turn, to, message, SYSTEM_CANCEL, correlation);
}

const struct futures_hooks hark__ask_hooks = {unwanted, last_word, leave};

// ---- cancels that come ----

void
hark__cancel_future(hark_ctx *ctx, struct future *future)
{
    hark__future_cancel(ctx_futures(ctx), ctx, future, hark__ask_give_up(ctx, future),
                        hark__env_now(ctx->node->env));
}

void
hark__request_tell(hark_ctx *ctx, struct request *request)
{
    struct hark_message *note = request->note;

    request->note = NULL;
    if (note != NULL) {
        hark__send_own(ctx, note);
    }
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

// The ask in hand, if it still waits for its answer.
static const struct hark_message *
unanswered(const hark_ctx *ctx)
{
    return ctx->owes_answer ? ctx->message : NULL;
}

// The newest message that has not been looked at, in the mailbox or set aside. NULL: none.
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

// An ask that is in nobody's hands: before newest, or answered.
static void
miss(hark_ctx *ctx, struct request_name name, struct hark_message *newest)
{
    struct requests *requests = newest != NULL ? make_requests(ctx) : NULL;

    // Without memory, or when somebody floods us, the ask is handled in vain.
    if (requests != NULL && requests->count < ctx->node->limits.futures) {
        (void)hark__requests_miss(requests, ctx_pool(ctx), name, newest);
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
    if (message->flags & MESSAGE_MARKED) {
        hark__requests_see(requests_of(ctx), message, ctx_waits(ctx)->last_aside);
        message->flags &= (uint8_t)~MESSAGE_MARKED;
    }
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
    // Without memory for it the handler does not hear of the cancel.
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
static bool
is_let_in(struct node *node)
{
    // relaxed, both: a count.
    if (atomic_fetch_add_explicit(&node->foreign_news, 1, memory_order_relaxed)
        < node->limits.futures) {
        return true;
    }
    atomic_fetch_sub_explicit(&node->foreign_news, 1, memory_order_relaxed);
    return false;
}

static void
let_out(struct node *node)
{
    // relaxed: a count.
    atomic_fetch_sub_explicit(&node->foreign_news, 1, memory_order_relaxed);
}

void
hark__cancel_from(hark_ctx *ctx, hark_ref to, hark_ref asker, uint64_t correlation)
{
    // What is over the bound is left to the deadline.
    if (is_let_in(ctx->node)
        && !hark__send_system_about(ctx, to, SYSTEM_CANCEL, asker, correlation)) {
        let_out(ctx->node);
    }
}

void
hark__credit_from(hark_ctx *ctx, hark_ref to, hark_ref asker, uint64_t correlation,
                  uint16_t credits)
{
    // Over the bound the stream stands still, and its consumer's clock ends it.
    if (is_let_in(ctx->node)
        && !hark__send_credits(ctx, to, asker, correlation, credits)) {
        let_out(ctx->node);
    }
}

void
hark__system_free(hark_ctx *ctx, struct hark_message *message)
{
    if ((message->code == SYSTEM_CANCEL || message->code == SYSTEM_CREDIT)
        && message->from.node != ctx->node->id) {
        let_out(ctx->node);
    }
    hark__message_free(ctx_pool(ctx), message);
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
            if (request->asker.node == node) {
                hark__request_cancel(ctx, request);
            }
        }
    }
}

// ---- asks from the mailbox ----

bool
hark__ask_is_wanted(hark_ctx *ctx, const struct hark_message *message)
{
    struct requests *requests = requests_of(ctx);
    bool is_cancelled =
        requests != NULL && hark__requests_are_missing(requests)
        && hark__requests_meet(requests, ctx_pool(ctx), message, newest_of(ctx));

    if (is_cancelled || is_lost(ctx, message->from.node)) {
        hark__seat_count(&ctx->seat->cancelled);
        return false;
    }
    if (message->deadline_ns <= hark__worker_now(ctx->worker)) {
        hark__seat_count(&ctx->seat->expired);
        hark__fail(ctx, message->from, message->correlation, HARK_ETIMEOUT,
                   HARK_STAGE_QUEUED, "its time ran out before the actor looked at it");
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

void
hark__node_lost(hark_ctx *ctx, uint64_t node_id)
{
    struct node *node = ctx->node;
    // acquire: pairs with growth.
    uint32_t count = atomic_load_explicit(&node->slots.count, memory_order_acquire);

    for (uint32_t i = 0; i < count; i++) {
        struct slot *slot = hark__slot_at(&node->slots, i);
        // seq_cst, after the store of lost; see make_request.
        bool foreign = atomic_load_explicit(&slot->foreign, memory_order_seq_cst);
        // relaxed: who is born after this knows of the loss.
        uint32_t generation =
            atomic_load_explicit(&slot->generation, memory_order_relaxed);

        if (foreign && hark__generation_lives(generation)) {
            (void)hark__send_system_about(
                ctx, (hark_ref){node->id, hark__slot_name(i, generation)}, SYSTEM_LOST,
                (hark_ref){node_id, 0}, 0);
        }
    }
}

// ---- looking ----

// Of the request in hand, if there is one.
static hark_err
look_at_request(hark_ctx *ctx)
{
    const struct request *request = ctx->request;
    const struct hark_message *message = unanswered(ctx);
    hark_ref asker;
    int64_t deadline_ns;

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
        deadline_ns = request->deadline_ns;
    } else if (message != NULL) {
        asker = message->from;
        deadline_ns = message->deadline_ns;
    } else {
        return HARK_OK;
    }
    if ((request != NULL && request->state == REQUEST_CANCELLED)
        || is_lost(ctx, asker.node)) {
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

// ---- shields ----

hark_err
hark_shield(hark_ctx *ctx, uint32_t limit_ms)
{
    if (ctx == NULL) {
        return HARK_EINVAL;
    }
    int64_t deadline_ns =
        limit_ms == HARK_FOREVER
            ? INT64_MAX
            : hark__env_now(ctx->node->env) + (int64_t)limit_ms * NS_PER_MS;
    struct request *shield =
        hark__request_new(ctx_pool(ctx), (struct request_name){{0, 0}, 0}, deadline_ns);
    if (shield == NULL) {
        return hark__ctx_error(ctx, HARK_ENOMEM, "hark_shield: no memory");
    }
    shield->turn = ctx;
    shield->outer = ctx->request;
    ctx->request = shield;
    return HARK_OK;
}

void
hark_shield_end(hark_ctx *ctx)
{
    const struct request *shield = ctx != NULL ? beyond_scopes(ctx->request) : NULL;

    if (shield != NULL && shield->turn == ctx && is_shield(shield)) {
        hark__scopes_leave_inside(ctx, shield);
        pop(ctx);
    }
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
