// Hand: what a turn does for those who asked.
//
// The ask in hand is ctx->message, and costs nothing more. Once others are asked for
// its sake it is a request too (request.h), ctx->request. Shields and scopes stand
// before it there, linked by `outer`; what is asked is a child of the first of them,
// and gets no more time than is left of that one's.

#ifndef ACTOR_HAND_H
#define ACTOR_HAND_H

#include "actor/ctx.h"
#include "actor/request.h"

// A shield or a scope: nobody has asked for it.
static inline bool
is_own(const struct request *request)
{
    return hark_ref_is_null(request->asker);
}

static inline bool
is_shield(const struct request *request)
{
    return is_own(request) && !request->is_scope;
}

// What a handler has in hand but for its scopes.
static inline struct request *
beyond_scopes(struct request *request)
{
    while (request != NULL && request->is_scope) {
        request = request->outer;
    }
    return request;
}

// NULL: none so far.
static inline struct requests *
requests_of(const hark_ctx *ctx)
{
    return ctx->slot != NULL && ctx->slot->extra != NULL ? ctx->slot->extra->requests
                                                         : NULL;
}

// The same, made if need be. NULL: no memory.
static inline struct requests *
make_requests(hark_ctx *ctx)
{
    struct extra *extra = hark__ctx_extra(ctx);

    if (extra != NULL && extra->requests == NULL) {
        extra->requests = hark__requests_new();
    }
    return extra != NULL ? extra->requests : NULL;
}

// The ask in hand, if it still waits for its answer.
static inline const struct hark_message *
unanswered(const hark_ctx *ctx)
{
    return ctx->owes_answer ? ctx->message : NULL;
}

// True: the link by which it was asked has ended, and so has the ask.
static inline bool
is_lost(hark_ctx *ctx, uint64_t node, unsigned epoch)
{
    if (node == ctx->node->id || node == 0) {
        return false;
    }
    struct target *target = hark__find_target(ctx, node);
    // seq_cst: pairs with hark__node_lost; see make_request in hand.c.
    return target == NULL
           || (atomic_load_explicit(&target->live, memory_order_seq_cst) >> epoch & 1)
                  == 0;
}

// By the exact clock. INT64_MAX: there is no deadline.
static inline int64_t
left_ns(const hark_ctx *ctx, int64_t deadline_ns)
{
    return deadline_ns == INT64_MAX ? INT64_MAX
                                    : deadline_ns - hark__env_now(ctx->node->env);
}

// Rounded down.
static inline uint32_t
in_ms(int64_t ns)
{
    if (ns == INT64_MAX) {
        return HARK_FOREVER;
    }
    int64_t ms = ns > 0 ? ns / NS_PER_MS : 0;
    return ms < HARK_FOREVER ? (uint32_t)ms : HARK_FOREVER - 1;
}

#endif // ACTOR_HAND_H
