#include "actor/hand.h"

#include "hark/cancel.h"

#include "actor/chain_id.h"
#include "actor/owed.h"

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
        // seq_cst, then the load of live: who ends a link clears its bit, and then
        // looks here.
        atomic_store_explicit(&ctx->slot->foreign, true, memory_order_seq_cst);
    }
    request->turn = ctx;
    request->epoch = message->epoch;
    if (is_lost(ctx, message->from.node, message->epoch)) {
        request->state = REQUEST_CANCELLED;
    }
    request->is_unseen = (ctx->chain_id & CHAIN_UNSEEN) != 0;
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

// The last who held it lets go: its asker is told by its block.
static __attribute__((cold, noinline)) void
send_owed(hark_ctx *ctx, struct request *request)
{
    _Static_assert(sizeof(struct request) >= sizeof(struct hark_message),
                   "a request makes a message without payload");

    hark__request_end(ctx, request);
    hark__owed_send(ctx, request->asker, request->correlation, request->owed,
                    HARK_STAGE_RUNNING, request, request->size_class);
}

void
hark__request_drop(hark_ctx *ctx, struct request *request)
{
    if (request->owed != 0 && request->holders == 1) {
        send_owed(ctx, request);
        return;
    }
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

void
hark__request_tell(hark_ctx *ctx, struct request *request)
{
    struct hark_message *note = request->note;

    request->note = NULL;
    if (note != NULL) {
        hark__send_own(ctx, note);
    }
}

bool
hark__request_is_dead(hark_ctx *ctx, const struct request *request)
{
    return request->state == REQUEST_CANCELLED
           || is_lost(ctx, request->asker.node, request->epoch);
}

// ---- children ----

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

// A cancel must not be lost for want of memory: it may be that of a hold
// (hark/future.h), which no deadline ends.
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

// ---- shields ----

hark_err
hark_shield(hark_ctx *ctx, uint32_t limit_ms)
{
    if (ctx == NULL) {
        return HARK_EINVAL;
    }
    struct request *shield =
        hark__request_new(ctx_pool(ctx), (struct request_name){{0, 0}, 0},
                          hark__env_deadline(ctx->node->env, limit_ms));
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
