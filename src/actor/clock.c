// The clock of an actor's futures: what is asked starts it when the turn ends, and what
// is due then fails. An actor arms at most one wheel timer, for its earliest.

#include "actor/ctx.h"
#include "actor/deadlock.h"

enum { RETRY_NS = 10 * 1000 * 1000 };

hark_stage
hark__ask_give_up(hark_ctx *ctx, const struct future *future)
{
    struct backing *backing = future->backing;

    if (backing != NULL) {
        return backing->cancel(backing, ctx);
    }
    // On this node it is in the mailbox at least; of others we know nothing.
    return hark__is_here(ctx, future->target) ? HARK_STAGE_QUEUED : HARK_STAGE_SENT;
}

void
hark__futures_expire(hark_ctx *ctx, int64_t due_ns)
{
    struct futures *futures = ctx_futures(ctx);
    struct future *future;

    if (futures == NULL) {
        return;
    }
    int64_t now_ns = hark__env_now(ctx->node->env);
    while ((future = hark__futures_overdue(futures, due_ns)) != NULL) {
        hark__future_complete(futures, ctx, future, NULL, HARK_ETIMEOUT,
                              hark__ask_give_up(ctx, future), now_ns);
    }
}

// Without memory for a message: whoever finds the actor idle is its reader, and may look
// at its clock himself. False: it is not idle, and may not look before long.
static __attribute__((cold, noinline)) bool
look_for(hark_ctx *ctx, hark_ref owner)
{
    struct slot *slot = hark__slot_at(&ctx->node->slots, (uint32_t)owner.actor);

    if (!hark__mailbox_claim(&slot->box)) {
        return false;
    }
    // relaxed: only the reader, which we are, writes it.
    uint32_t generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);
    if (generation == (uint32_t)(owner.actor >> 32)) {
        hark_ctx its = *ctx;

        its.slot = slot;
        hark__timer_came(&its);
    }
    hark__schedule(ctx, slot);
    return true;
}

// Has the owner look at its clock. False: not now, for want of memory.
static bool
remind(hark_ctx *ctx, hark_ref owner)
{
    return hark__send_system(ctx, owner, SYSTEM_TIMEOUTS) || !hark_is_alive(ctx, owner)
           || look_for(ctx, owner);
}

static void some_are_due(void *poll_arg, struct timer_action *action);

// For an actor that finds no memory for a timer.
static __attribute__((cold, noinline)) void
arm_reserve(struct sched *sched, struct worker *worker, int64_t due_ns)
{
    hark__sched_arm_reserve(sched, worker, due_ns,
                            &(struct timer_action){.fire = some_are_due});
}

// A wheel timer of an actor came due, on the thread of worker poll_arg.
static void
timer_due(void *poll_arg, struct timer_action *action)
{
    struct worker *worker = poll_arg;
    struct seat *seat = hark__worker_local(worker);
    struct node *node = seat->node;
    hark_ctx ctx = {.node = node, .seat = seat, .worker = worker};
    hark_ref owner = {node->id, action->word};

    int64_t again_ns = hark__env_now(node->env) + RETRY_NS;
    // The record of this timer is free again, unless somebody has just taken it.
    if (!remind(&ctx, owner)
        && hark__sched_arm(node->sched, worker, again_ns, action) == 0) {
        arm_reserve(node->sched, worker, again_ns);
    }
}

// ---- actors without a timer ----

// Has the actor in that slot look at its clock, if it has one. False: no memory.
static bool
remind_slot(hark_ctx *ctx, uint32_t index)
{
    struct node *node = ctx->node;
    struct slot *slot = hark__slot_at(&node->slots, index);
    // relaxed, all: whoever found no timer had set these long before, and nobody else
    // needs to be reminded.
    bool asks = atomic_load_explicit(&slot->asks, memory_order_relaxed);
    bool is_actor = atomic_load_explicit(&slot->behavior, memory_order_relaxed) != NULL;
    uint32_t generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);
    hark_ref owner = {node->id, hark__slot_name(index, generation)};

    return !asks || !is_actor || !hark__generation_lives(generation)
           || remind(ctx, owner);
}

// Some actors found no memory for a timer, and it is not known which. The first of them
// is due.
static void
some_are_due(void *poll_arg, struct timer_action *action)
{
    struct worker *worker = poll_arg;
    struct seat *seat = hark__worker_local(worker);
    struct node *node = seat->node;
    hark_ctx ctx = {.node = node, .seat = seat, .worker = worker};
    // acquire: pairs with growth.
    uint32_t count = atomic_load_explicit(&node->slots.count, memory_order_acquire);
    bool all = true;

    (void)action;
    for (uint32_t i = 0; i < count; i++) {
        all = remind_slot(&ctx, i) && all;
    }
    if (!all) {
        arm_reserve(node->sched, worker, hark__env_now(node->env) + RETRY_NS);
    }
}

// ---- arming ----

static void
arm(hark_ctx *ctx, struct extra *extra, int64_t next_ns)
{
    struct timer_action action = {.fire = timer_due, .word = ctx->self.actor};

    if (hark__sched_arm(ctx->node->sched, ctx->worker, next_ns, &action) == 0) {
        arm_reserve(ctx->node->sched, ctx->worker, next_ns);
    }
    extra->armed_ns = next_ns;
}

void
hark__clock_arm(hark_ctx *ctx, int64_t at_ns)
{
    struct extra *extra = ctx->slot->extra;

    if (at_ns < extra->armed_ns) {
        arm(ctx, extra, at_ns);
    }
}

static void
let_expire(struct extra *extra)
{
    extra->newest = NULL;
    extra->expired = true;
    extra->armed_ns = INT64_MAX;
}

void
hark__timer_came(hark_ctx *ctx)
{
    struct slot *slot = ctx->slot;
    struct extra *extra = slot->extra;

    if (extra == NULL || extra->futures == NULL) {
        return; // another who lived here was meant
    }
    if (extra->newest != NULL) {
        return; // when that is passed, the next is armed, or comes at once
    }
    struct hark_message *newest = hark__mailbox_newest(&slot->box, slot->current);
    extra->due_ns = hark__env_now(ctx->node->env);
    if (newest == NULL) {
        let_expire(extra);
    } else {
        newest->flags |= MESSAGE_MARKED;
        extra->newest = newest;
        extra->armed_ns = INT64_MIN; // so that none is armed meanwhile
    }
}

void
hark__timer_see(hark_ctx *ctx, const struct hark_message *message)
{
    struct extra *extra = ctx->slot->extra;

    if (extra != NULL && extra->newest == message) {
        let_expire(extra);
    }
}

void
hark__futures_end_turn(hark_ctx *ctx)
{
    struct extra *extra = ctx->slot->extra;
    struct futures *futures = extra->futures;
    int64_t next_ns = INT64_MAX;

    if (extra->expired) {
        hark__futures_expire(ctx, extra->due_ns);
        next_ns = hark__futures_next_ns(futures);
        int64_t look_ns = hark__deadlock_look_again(ctx, extra->due_ns);
        next_ns = look_ns < next_ns ? look_ns : next_ns;
        extra->expired = false;
    }
    while (hark__futures_are_unsettled(futures)) {
        hark__futures_tell_ready(futures, ctx);
        int64_t first_ns = hark__futures_start(futures, ctx->node->env, ctx);

        next_ns = first_ns < next_ns ? first_ns : next_ns;
    }
    if (next_ns < extra->armed_ns) {
        arm(ctx, extra, next_ns);
    }
}

void
hark__futures_pause_turn(hark_ctx *ctx, struct list *made)
{
    struct extra *extra = ctx->slot->extra;
    struct futures *futures = extra->futures;
    int64_t next_ns = hark__futures_pause(futures, ctx->node->env, made);

    // If it has expired, the rest of this turn sees to that.
    if (next_ns < extra->armed_ns) {
        arm(ctx, extra, next_ns);
    }
}
