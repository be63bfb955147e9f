// Budget: what one turn may use up.
//
// A turn takes up to TURN_MESSAGES messages, about TURN_NS, or ends when it has sent
// TURN_SENDS: so those who are sent to read what is still in the cache, and mailboxes
// stay short. While work is spread over processors a turn may send more (GRAIN_SPREAD).
// Inline, since each message asks. Only the thread that runs the turn does.

#ifndef ACTOR_BUDGET_H
#define ACTOR_BUDGET_H

#include "actor/ctx.h"

enum {
    TURN_MESSAGES = 4096,
    TURN_LOOK = 16, // messages between looks at the clock
    TURN_NS = 50 * 1000,
};

struct budget {
    uint32_t used;    // messages
    int64_t start_ns; // of the clock's first look; 0: none yet
};

// By the coarse clock, which is cheap: has this worker not looked around for long? Then
// a handler of this turn, or some together, took long.
static inline bool
is_late(const hark_ctx *ctx)
{
    struct env *env = ctx->node->env;
    int64_t lag_ns;
    int64_t now_ns = env->ops->now_coarse_ns(env, &lag_ns);

    return now_ns > hark__worker_now(ctx->worker) + TURN_NS;
}

static inline bool
is_out_of_time(hark_ctx *ctx, struct budget *budget)
{
    int64_t now_ns = hark__env_now(ctx->node->env);

    if (budget->start_ns == 0) {
        budget->start_ns = now_ns;
    }
    return budget->used >= TURN_MESSAGES || now_ns - budget->start_ns > TURN_NS;
}

// After the first messages, ever more apart, we look at a cheap clock if more wait, and
// then regularly at the exact one: a turn of quick handlers costs no clock, and one of
// slow ones is short.
static inline bool
is_spent(hark_ctx *ctx, struct budget *budget)
{
    uint32_t used = ++budget->used;

    if ((int32_t)ctx->sends_left <= 0) {
        return true;
    }
    if (used % TURN_LOOK == 0) {
        return is_out_of_time(ctx, budget);
    }
    return (used & (used + 1)) == 0 // 1, 3, 7, 15
           && used < TURN_LOOK
           && hark__mailbox_has_next(&ctx->slot->box, ctx->slot->current)
           && is_late(ctx);
}

#endif // ACTOR_BUDGET_H
