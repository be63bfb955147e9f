#include "actor/await.h"

#include <stdlib.h>

#include "actor/deadlock.h"
#include "actor/owed.h"

enum { MANY_ASIDE = 64 }; // more are counted by their chains

// A cancel looks through so many that were set aside; what is behind them is found when
// its turn comes.
enum { LOOK_ASIDE = 256 };

// ---- records ----

static __attribute__((noinline)) struct waits *
make_waits(hark_ctx *ctx)
{
    struct extra *extra = hark__ctx_extra(ctx);

    if (extra != NULL && extra->waits == NULL) {
        extra->waits = calloc(1, sizeof *extra->waits);
        if (extra->waits != NULL) {
            hark__list_init(&extra->waits->suspended);
            hark__list_init(&extra->waits->due);
            hark__list_init(&extra->waits->held);
            hark__list_init(&extra->waits->kept);
            hark__list_init(&extra->waits->doubtful);
            extra->waits->node = ctx->node->id;
        }
    }
    return extra != NULL ? extra->waits : NULL;
}

struct waits *
hark__waits_of(hark_ctx *ctx)
{
    struct waits *waits = ctx_waits(ctx);

    return waits != NULL ? waits : make_waits(ctx);
}

static hark_wait
mode_of(const hark_ctx *ctx)
{
    // relaxed: its writer is the reader of the mailbox, which we are.
    const hark_behavior *behavior =
        atomic_load_explicit(&ctx->slot->behavior, memory_order_relaxed);

    return (hark_wait)behavior->wait;
}

// The handler's record, made when it first waits.
static struct await *
await_of(hark_ctx *ctx)
{
    if (ctx->await == NULL) {
        ctx->await = hark_alloc(ctx, sizeof *ctx->await);
        if (ctx->await != NULL) {
            *ctx->await = (struct await){.ctx = ctx, .mode = (uint8_t)mode_of(ctx)};
            hark__list_init(&ctx->await->by_state);
            hark__list_init(&ctx->await->made);
        }
    }
    return ctx->await;
}

hark_err
hark_wait_mode(hark_ctx *ctx, hark_wait mode)
{
    if (ctx == NULL || ctx->is_thread || ctx->slot == NULL || mode > HARK_WAIT_CHAIN) {
        return hark__ctx_error(ctx, HARK_EINVAL,
                               "hark_wait_mode: no actor, or no such mode");
    }
    struct await *await = await_of(ctx);
    if (await == NULL) {
        return hark__ctx_error(ctx, HARK_ENOMEM, "hark_wait_mode: no memory");
    }
    await->mode = (uint8_t)mode;
    return HARK_OK;
}

// ---- becoming due ----

static void
make_due(struct waits *waits, struct await *await)
{
    if (!await->waits) {
        return; // not suspended yet, or due already
    }
    await->waits = false;
    hark__list_remove(&await->by_state);
    hark__list_append(&waits->due, &await->by_state);
}

static void
await_complete(struct waiter *waiter, void *turn, struct future *future)
{
    struct await *await = CONTAINER_OF(waiter, struct await, waiter);

    if (hark__list_is_empty(&future->by_turn)) {
        // It was settled, and so has left the list that would have it closed.
        hark__future_give(future, &await->made);
    }
    make_due(ctx_waits(turn), await);
}

struct await *
hark__await_of(struct waiter *waiter)
{
    return waiter->complete == await_complete
               ? CONTAINER_OF(waiter, struct await, waiter)
               : NULL;
}

static void
end_wait(struct waits *waits, struct await *await, hark_err err, const char *why)
{
    await->err = err;
    await->why = why;
    make_due(waits, await);
}

static void
await_drop(struct waiter *waiter, void *turn, struct future *future)
{
    (void)future;
    end_wait(ctx_waits(turn), CONTAINER_OF(waiter, struct await, waiter), HARK_ESTALE,
             "the future was dropped meanwhile");
}

void
hark__wait_break(struct waits *waits, struct await *await, hark_err err,
                 const char *why)
{
    end_wait(waits, await, err, why);
}

void
hark__waits_break(struct waits *waits, hark_err err, const char *why)
{
    while (!hark__list_is_empty(&waits->suspended)) {
        end_wait(waits, CONTAINER_OF(waits->suspended.next, struct await, by_state),
                 err, why);
    }
}

static const char *
why_cancelled(const struct request *request)
{
    return request->is_scope ? "the scope was cancelled"
                             : "nobody waits for the answer";
}

void
hark__waits_cancel(struct waits *waits, const struct request *request)
{
    struct list *link = waits->suspended.next;

    while (link != &waits->suspended) {
        struct await *await = CONTAINER_OF(link, struct await, by_state);

        link = link->next;
        if (await->ctx->request == request) {
            end_wait(waits, await, HARK_ECANCELLED, why_cancelled(request));
        }
    }
}

struct await *
hark__waits_due(const struct waits *waits)
{
    for (struct list *link = waits->due.next; link != &waits->due; link = link->next) {
        struct await *await = CONTAINER_OF(link, struct await, by_state);

        if (await->lock == LOCK_ALL || hark__waits_admit(waits, await->ctx->chain_id)) {
            return await;
        }
    }
    return NULL;
}

// ---- suspending ----

// What the handler has in hand outlives the mailbox's interest in it.
static void
hold_message(struct await *await, struct hark_message *message)
{
    if (message != NULL && await->message == NULL
        && (message->flags & MESSAGE_CHAINED)) {
        message->flags |= MESSAGE_HELD;
        await->message = message;
    }
}

static void
enter(struct waits *waits, struct await *await)
{
    await->waits = true;
    await->err = HARK_OK;
    waits->count++;
    waits->is_sifted = false;
    if (await->mode == HARK_WAIT_INTERLEAVE) {
        await->lock = LOCK_NOBODY;
    } else if (await->mode == HARK_WAIT_CHAIN && await->ctx->chain_id != 0) {
        await->lock = LOCK_OTHERS;
        waits->chained++;
        waits->chain_id = await->ctx->chain_id;
    } else { // who is of no chain has no relatives
        await->lock = LOCK_ALL;
        waits->exclusive++;
    }
    hark__list_append(&waits->suspended, &await->by_state);
}

static void
leave(struct waits *waits, struct await *await)
{
    await->waits = false;
    waits->count--;
    waits->is_sifted = false;
    if (await->lock == LOCK_ALL) {
        waits->exclusive--;
    } else {
        waits->chained -= await->lock == LOCK_OTHERS;
    }
    hark__list_remove(&await->by_state);
}

// Leaves the handler's stack, and the worker goes on with rest. HARK_ELIMIT: there is
// no other stack. In its caller's frame; see hark__stack_switch.
static inline __attribute__((always_inline)) hark_err
suspend(hark_ctx *ctx, struct waits *waits, struct await *await, task_run *rest)
{
    hold_message(await, ctx->message);
    if (ctx_futures(ctx) != NULL) {
        hark__futures_pause_turn(ctx, &await->made);
    }
    if (ctx->keeps_back) {
        hark__ctx_flush(ctx);
    }
    ctx->slot->heed |= SLOT_WAITS;
    // relaxed: see hark_dump.
    atomic_store_explicit(&ctx->slot->waits, true, memory_order_relaxed);
    await->since_ns = hark__worker_now(ctx->worker);
    struct worker *worker =
        hark__sched_suspend(ctx->worker, &ctx->slot->task, rest, &await->stack);
    if (worker == NULL) {
        leave(waits, await);
        return HARK_ELIMIT;
    }
    ctx->worker = worker;
    ctx->seat = hark__worker_local(worker);
    ctx->sends_left = TURN_SENDS * hark__worker_grain(worker);
    return HARK_OK;
}

void
hark__await_go_on(hark_ctx *ctx, struct await *await)
{
    struct waits *waits = ctx_waits(ctx);

    leave(waits, await);
    hark__deadlock_forget(ctx, waits, await);
    hark__sched_resume(ctx->worker, await->stack);
}

bool
hark__must_stop(const hark_ctx *ctx)
{
    return (ctx->slot->heed & SLOT_TOLD) && !(ctx->slot->heed & SLOT_STOPPING);
}

// For whose sake the handler waits, so that a cancel finds it. NULL: nobody's, or (if it
// owes an answer) there is no memory.
static const struct request *
make_known(hark_ctx *ctx)
{
    return ctx->request == NULL && ctx->owes_answer ? hark__request_of(ctx)
                                                    : ctx->request;
}

// Waits for an open future. False: the wait failed, and hark_error_of says why. In its
// caller's frame, as suspend.
static inline __attribute__((always_inline)) bool
wait_for(hark_ctx *ctx, struct future *future)
{
    struct waits *waits = hark__waits_of(ctx);
    struct await *await = await_of(ctx);

    if (hark__must_stop(ctx)) {
        hark__ctx_error(ctx, HARK_ESTOPPED, "hark_await: the actor is to stop");
        return false;
    }
    if (waits == NULL || await == NULL) {
        hark__ctx_error(ctx, HARK_ENOMEM, "hark_await: no memory");
        return false;
    }
    const struct request *request = make_known(ctx);
    if (request == NULL && ctx->owes_answer) {
        hark__ctx_error(ctx, HARK_ENOMEM, "hark_await: no memory");
        return false;
    }
    if (request != NULL && request->state == REQUEST_CANCELLED) {
        hark__ctx_error(ctx, HARK_ECANCELLED, "hark_await: %s", why_cancelled(request));
        return false;
    }
    uint64_t id = future->id;
    await->future = id;
    await->waiter = (struct waiter){await_complete, await_drop};
    hark__future_watch(ctx_futures(ctx), future, &await->waiter);
    enter(waits, await);
    hark__deadlock_look(ctx, await, future);
    if (suspend(ctx, waits, await, hark__actor_rest) != HARK_OK) {
        future->waiter = NULL;
        hark__deadlock_forget(ctx, waits, await);
        hark__ctx_error(ctx, HARK_ELIMIT,
                        "hark_await: no stack for another handler that waits");
        return false;
    }
    if (await->err != HARK_OK) {
        future = hark__future_find(ctx_futures(ctx), id);
        if (future != NULL && future->waiter == &await->waiter) {
            future->waiter = NULL;
        }
        hark__ctx_error(ctx, await->err, "hark_await: %s", await->why);
        return false;
    }
    return true;
}

static void
rest_yielding(struct task *task, struct worker *worker, void *local)
{
    (void)local;
    hark__sched_yield(worker, task);
}

bool
hark__await_yield(hark_ctx *ctx)
{
    if (ctx_is_in_callback(ctx)) {
        return false;
    }
    struct waits *waits = hark__waits_of(ctx);
    struct await *await = await_of(ctx);
    if (waits == NULL || await == NULL) {
        return false;
    }
    (void)make_known(ctx);
    enter(waits, await);
    make_due(waits, await);
    return suspend(ctx, waits, await, rest_yielding) == HARK_OK;
}

// Waits for a future that somebody watches: a scope may allow that.
static __attribute__((noinline)) const void *
await_lent(hark_ctx *ctx, struct future *future, const hark_type *type)
{
    hark_future name = {ctx->self.actor, future->id};
    struct waiter *lender = hark__scope_lend(ctx, future);

    if (lender == NULL) {
        hark__ctx_error(ctx, HARK_ESTALE,
                        "hark_await: the future is continued already");
        return NULL;
    }
    bool done = type == NULL || hark__await_done(ctx, name);
    hark__scope_take_back(ctx, lender, hark__ctx_future(ctx, name));
    return done ? hark_future_value(ctx, name, type) : NULL;
}

bool
hark__await_done(hark_ctx *ctx, hark_future name)
{
    struct future *future = hark__ctx_future(ctx, name);

    return future == NULL || future->state != FUTURE_OPEN || wait_for(ctx, future);
}

const void *
hark__await(hark_ctx *ctx, hark_future name, const hark_type *type)
{
    struct future *future = hark__ctx_future(ctx, name);

    if (ctx->slot == NULL || ctx_is_in_callback(ctx)) {
        hark__ctx_error(ctx, HARK_ENOTSUP, "hark_await: a callback must not wait");
        return NULL;
    }
    if (future != NULL && future->waiter != NULL) {
        return await_lent(ctx, future, type);
    }
    if (future != NULL && type != NULL && future->state == FUTURE_OPEN
        && !wait_for(ctx, future)) {
        return NULL;
    }
    return hark_future_value(ctx, name, type);
}

// ---- the end ----

void
hark__await_end(hark_ctx *ctx)
{
    struct await *await = ctx->await;
    struct waits *waits = ctx_waits(ctx);
    struct futures *futures = ctx_futures(ctx);

    ctx->await = NULL;
    if (await->message != NULL) {
        hark__ask_drop(ctx, await->message);
    }
    if (futures != NULL) {
        hark__futures_unpause(futures, &await->made);
    }
    if (waits != NULL && waits->exclusive == 0 && futures != NULL) {
        hark__futures_unhold(futures, &waits->held);
    }
}

bool
hark__waits_hold(hark_ctx *ctx, struct future *future, struct waiter *waiter)
{
    struct waits *waits = ctx_waits(ctx);

    if (hark__waits_admit(waits, hark__chain_of_future(ctx->self, future))) {
        return false;
    }
    hark__future_hold(future, waiter, &waits->held);
    return true;
}

static bool
is_named(const struct hark_message *message, struct request_name name)
{
    return message->kind == MESSAGE_ASK && message->correlation == name.correlation
           && hark_ref_equal(message->from, name.asker);
}

// relaxed, in all that walks along what is aside: ours alone.
static struct hark_message *
next_of(const struct hark_message *message)
{
    return atomic_load_explicit(&message->next, memory_order_relaxed); // see above
}

// Takes message, which stands behind `before` (NULL: it is the first), out of what is
// aside.
static void
take_out(struct waits *waits, struct hark_message *before, struct hark_message *message)
{
    struct hark_message *next = next_of(message);

    if (before != NULL) {
        atomic_store_explicit(&before->next, next, memory_order_relaxed); // see above
    } else {
        waits->first_aside = next;
    }
    if (next == NULL) {
        waits->last_aside = before;
    }
    hark__waits_left_aside(waits, message);
}

// From now on it is counted what is aside. Without memory it is not.
static void
count_aside(struct waits *waits)
{
    if (!hark__chains_begin(&waits->aside)) {
        return;
    }
    for (const struct hark_message *message = waits->first_aside;
         message != NULL && hark__chains_are_kept(&waits->aside);
         message = next_of(message)) {
        hark__chains_add(&waits->aside, hark__chain_of(message, waits->node));
    }
}

struct hark_message *
hark__waits_sift(struct waits *waits)
{
    struct hark_message *before = NULL;
    uint32_t steps = 0;

    if (waits->exclusive > 0 || waits->is_sifted
        || (hark__chains_are_kept(&waits->aside)
            && !hark__chains_have(&waits->aside, waits->chain_id))) {
        return NULL;
    }
    for (struct hark_message *message = waits->first_aside; message != NULL;
         message = next_of(message)) {
        if (hark__chain_is_same(waits->chain_id,
                                hark__chain_of(message, waits->node))) {
            take_out(waits, before, message);
            return message;
        }
        before = message;
        steps++;
    }
    waits->is_sifted = true;
    if (steps > MANY_ASIDE && !hark__chains_are_kept(&waits->aside)) {
        count_aside(waits);
    }
    return NULL;
}

struct hark_message *
hark__waits_take_out(hark_ctx *ctx, struct request_name name, bool *out_is_all)
{
    struct waits *waits = ctx_waits(ctx);
    struct hark_message *current = ctx->slot->current;
    struct hark_message *before = NULL;
    struct hark_message *message = waits->first_aside;
    int left = LOOK_ASIDE;

    while (message != NULL && !is_named(message, name)) {
        if (--left == 0) {
            *out_is_all = false;
            return NULL;
        }
        before = message;
        message = next_of(message);
    }
    if (message != NULL) {
        take_out(waits, before, message);
    } else if (current != NULL && (current->flags & MESSAGE_ASIDE)
               && is_named(current, name)) {
        current->flags &= (uint8_t)~MESSAGE_ASIDE; // it leaves with the chain
        message = current;
    }
    *out_is_all = true;
    return message;
}

void
hark__waits_free(hark_ctx *ctx, struct waits *waits)
{
    struct hark_message *message;

    while ((message = hark__waits_take_aside(waits)) != NULL) {
        hark__refuse_late(ctx, message);
        hark__ask_free(ctx, message);
    }
    hark__probes_fini(ctx, waits);
    hark__chains_end(&waits->aside);
    free(waits);
}
