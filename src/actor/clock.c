// The clock of an actor's futures: what is asked starts it when the turn ends, and what
// is due then fails. An actor arms at most one wheel timer, for its earliest.

#include "actor/ctx.h"
#include "actor/deadlock.h"

enum { RETRY_NS = 10 * 1000 * 1000 };

hark_stage
hark__ask_give_up(const hark_ctx *ctx, const struct future *future)
{
    struct backing *backing = future->backing;

    if (backing != NULL) {
        return backing->cancel(backing);
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

// A wheel timer of an actor came due, on the thread of worker poll_arg.
static void
timer_due(void *poll_arg, struct timer_action *action)
{
    struct worker *worker = poll_arg;
    struct seat *seat = hark__worker_local(worker);
    struct node *node = seat->node;
    hark_ctx ctx = {.node = node, .seat = seat, .worker = worker};
    hark_ref owner = {node->id, action->word};

    if (!hark__send_system(&ctx, owner, SYSTEM_TIMEOUTS)
        && hark_is_alive(&ctx, owner)) {
        // No memory: the record of this timer is free again, so arming cannot fail.
        (void)hark__sched_arm(node->sched, worker, hark__env_now(node->env) + RETRY_NS,
                              action);
    }
}

static void
arm(hark_ctx *ctx, struct extra *extra, int64_t next_ns)
{
    struct timer_action action = {.fire = timer_due, .word = ctx->self.actor};

    if (hark__sched_arm(ctx->node->sched, ctx->worker, next_ns, &action) != 0) {
        extra->armed_ns = next_ns;
    }
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
