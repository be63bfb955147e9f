#include "actor/await.h"
#include "actor/chain_id.h"
#include "actor/ctx.h"
#include "actor/deadlock.h"

#include <stdio.h>
#include <stdlib.h>

#include "actor/request.h"
#include "actor/stream.h"
#include "future/computed.h"

enum { RETRY_NS = 10 * 1000 * 1000 };

// ---- opening ----

static struct pool *
pool_of(void *turn)
{
    return ctx_pool(turn);
}

static void
report_unseen(struct futures *futures, void *turn, const struct future *future)
{
    hark_ctx *ctx = turn;
    const struct node *node = ctx->node;

    hark__seat_count(&ctx->seat->failures_unseen);
    if (node->on_unseen_failure != NULL) {
        hark_error error = hark__future_error(futures, future);
        struct scopes *scopes = ctx->scopes; // of a handler that this is no part of

        ctx->scopes = NULL;
        node->on_unseen_failure(ctx, &error, node->on_unseen_failure_arg);
        if (ctx->scopes != NULL) {
            hark__scopes_leave(ctx);
        }
        ctx->scopes = scopes;
    }
}

static const struct futures_host host = {pool_of, report_unseen};

static __attribute__((noinline)) struct futures *
make_futures(hark_ctx *ctx)
{
    struct extra *extra = hark__ctx_extra(ctx);

    if (extra != NULL && extra->futures == NULL) {
        extra->futures =
            hark__futures_new(ctx->node->limits.futures, ctx->node->env, &host);
        if (extra->futures != NULL) {
            extra->futures->hooks = &hark__ask_hooks;
            // relaxed: see hark_dump.
            atomic_store_explicit(&ctx->slot->asks, true, memory_order_relaxed);
        }
    }
    return extra != NULL ? extra->futures : NULL;
}

static inline struct futures *
futures_of(hark_ctx *ctx)
{
    struct futures *futures = ctx_futures(ctx);

    return futures != NULL ? futures : make_futures(ctx);
}

static hark_future
name_of(const hark_ctx *ctx, const struct future *future)
{
    return (hark_future){ctx->self.actor, future->id};
}

// An attached thread's futures count at once: it has no turn that would end.
static void
start_clock(hark_ctx *ctx, struct futures *futures)
{
    if (ctx->is_thread) {
        (void)hark__futures_start(futures, ctx->node->env, NULL);
    }
}

// The future for which a callback of a combinator runs, with ctx in no chain; NULL: none
// does, or it is closed.
static struct future *
called_for(const hark_ctx *ctx)
{
    const struct futures *futures = ctx_futures(ctx);

    return futures->outcome != NULL ? futures->outcome->computed->future : NULL;
}

// The chain of what is asked with ctx in none.
static __attribute__((noinline)) uint64_t
other_chain(const hark_ctx *ctx)
{
    const struct future *made = called_for(ctx);

    return made != NULL ? made->chain_id : 0;
}

// What was sent for future begins a chain, or a callback goes on in one.
static __attribute__((noinline)) void
enter_other_chain(hark_ctx *ctx, const struct future *future)
{
    struct future *made = called_for(ctx);
    uint64_t chain_id = hark__chain_of_future(ctx->self, future);

    if (ctx_is_in_callback(ctx)) {
        if (made != NULL) {
            made->chain_id = chain_id;
        }
    } else if (!ctx->is_thread) { // a thread's asks have nothing to do with each other
        ctx->chain_id = chain_id;
    }
}

static inline void
enter_chain(hark_ctx *ctx, const struct future *future)
{
    if (ctx->chain_id == 0) {
        enter_other_chain(ctx, future);
    }
}

static struct future *
open_future(hark_ctx *ctx, hark_ref to, const hark_type *asked, uint32_t timeout_ms,
            const char *site)
{
    struct futures *futures = futures_of(ctx);
    struct request *parent = NULL;
    struct future *future = NULL;

    if (futures != NULL) {
        uint32_t limit_ms =
            timeout_ms != 0 ? timeout_ms : ctx->node->limits.ask_timeout_ms;
        if (ctx->owes_answer || ctx->request != NULL) {
            parent = hark__parent(ctx, &limit_ms);
        }
        future = hark__future_open(futures, ctx_pool(ctx), limit_ms);
    }
    if (future == NULL) {
        bool full = futures != NULL && futures->open_count >= futures->limit;
        hark__ctx_error(ctx, full ? HARK_ELIMIT : HARK_ENOMEM,
                        full ? "too many open futures" : "no memory for a future");
        return NULL;
    }
    future->target = to;
    future->asked = asked;
    future->site = site;
    future->trace = hark__trace_of(ctx, site, TRACE_ASKED);
    future->chain_id = ctx->chain_id != 0 ? ctx->chain_id : other_chain(ctx);
    hark__future_count_from(future,
                            hark__futures_now(ctx->node->env, future->timeout_ms));
    if (parent != NULL) {
        hark__parent_adopt(parent, future);
    }
    start_clock(ctx, futures);
    return future;
}

hark_future
hark__ask_open(hark_ctx *ctx, hark_ref to, const hark_type *asked, uint32_t timeout_ms,
               const char *site)
{
    struct future *future = open_future(ctx, to, asked, timeout_ms, site);

    if (future == NULL) {
        return (hark_future){0, 0};
    }
    enter_chain(ctx, future);
    return name_of(ctx, future);
}

// ---- asking ----

static void
fail_at_once(hark_ctx *ctx, struct future *future, hark_err err)
{
    hark__future_complete(ctx_futures(ctx), ctx, future, NULL, err, HARK_STAGE_NOT_SENT,
                          0);
}

// Those for whose sake it is asked do not wait any more: true, and it has failed.
static bool
is_in_vain(hark_ctx *ctx, struct future *future)
{
    hark_err err = future->parent != NULL ? hark__parent_fault(ctx, future) : HARK_OK;

    if (err != HARK_OK) {
        fail_at_once(ctx, future, err);
    }
    return err != HARK_OK;
}

// Sends what, of which only type, value, credits and call are set.
static inline void
ask_for(hark_ctx *ctx, hark_ref to, struct outgoing *what, struct future *future)
{
    if (what->type == NULL || what->value == NULL) {
        fail_at_once(ctx, future, HARK_EINVAL);
        return;
    }
    if (is_in_vain(ctx, future)) {
        return;
    }
    what->kind = MESSAGE_ASK;
    what->from = ctx->self;
    what->correlation = future->id;
    what->future = future;
    // An error comes back as a failure, like any other.
    (void)hark__send_value(ctx, to, what);
    enter_chain(ctx, future);
}

// Opens a future and sends what, as above.
static hark_future
ask(hark_ctx *ctx, hark_ref to, struct outgoing *what, uint32_t timeout_ms,
    const char *site)
{
    struct future *future = open_future(ctx, to, what->type, timeout_ms, site);

    if (future == NULL) {
        return (hark_future){0, 0};
    }
    hark_future name = name_of(ctx, future);
    ask_for(ctx, to, what, future);
    return name;
}

struct future *
hark__ask_future(hark_ctx *ctx, hark_ref to, const hark_type *asked,
                 uint32_t timeout_ms, const char *site)
{
    return open_future(ctx, to, asked, timeout_ms, site);
}

void
hark__ask_for(hark_ctx *ctx, hark_ref to, struct outgoing *what, struct future *future)
{
    ask_for(ctx, to, what, future);
}

hark_future
hark_ask_at(hark_ctx *ctx, const char *site, uint32_t timeout_ms, hark_ref to,
            const hark_type *type, const void *value)
{
    struct outgoing what = {.type = type, .value = value, .call = "hark_ask"};

    return ctx != NULL ? ask(ctx, to, &what, timeout_ms, site) : (hark_future){0, 0};
}

hark_future
hark_ask_value(hark_ctx *ctx, hark_ref to, const hark_type *type, const void *value,
               const hark_ask_options *options)
{
    return hark_ask_at(ctx, options != NULL ? options->site : NULL,
                       options != NULL ? options->timeout_ms : 0, to, type, value);
}

// Sends message, which its future asks for, within this node. Takes it.
static void
send_here(hark_ctx *ctx, hark_ref to, struct hark_message *message,
          struct future *future)
{
    message->flags &= MESSAGE_ROOMY;
    if (future->chain_id != 0 && message->flags == 0) {
        struct hark_message *roomy = hark__message_roomy(ctx_pool(ctx), message);

        if (roomy == NULL) {
            hark__message_free(ctx_pool(ctx), message);
            fail_at_once(ctx, future, HARK_ENOMEM);
            return;
        }
        message = roomy;
    }
    if (future->chain_id != 0) {
        hark__message_put_chain_id(message, future->chain_id);
    }
    (void)hark__send(ctx, to, message); // an error comes back, as in ask_for
    enter_chain(ctx, future);
}

// Takes message.
static hark_future
request(hark_ctx *ctx, hark_ref to, struct hark_message *message, uint32_t timeout_ms,
        const char *site)
{
    struct future *future = open_future(ctx, to, message->type, timeout_ms, site);

    if (future == NULL) {
        hark__message_free(ctx_pool(ctx), message);
        return (hark_future){0, 0};
    }
    hark_future name = name_of(ctx, future);
    message->kind = MESSAGE_ASK;
    message->from = ctx->self;
    message->correlation = future->id;
    message->deadline_ns = future->expires_ns;
    message->trace = future->trace;
    if (is_in_vain(ctx, future)) {
        hark__message_free(ctx_pool(ctx), message);
    } else if (hark__is_here(ctx, to)) {
        send_here(ctx, to, message, future);
    } else {
        struct outgoing what = hark__outgoing_of(message);

        what.future = future;
        (void)hark__send_value(ctx, to, &what); // an error comes back, as in ask_for
        enter_chain(ctx, future);
        hark__message_free(ctx_pool(ctx), message);
    }
    return name;
}

hark_future
hark_request(hark_ctx *ctx, hark_ref to, hark_message *message,
             const hark_ask_options *options)
{
    if (ctx == NULL) {
        return (hark_future){0, 0};
    }
    if (message == NULL) {
        return hark_ask_value(ctx, to, NULL, NULL, options);
    }
    return request(ctx, to, message, options != NULL ? options->timeout_ms : 0,
                   options != NULL ? options->site : NULL);
}

// ---- completing ----

void
hark__complete(hark_ctx *ctx, struct hark_message *message)
{
    struct futures *futures = ctx_futures(ctx);
    struct future *future = hark__future_find(futures, message->correlation);

    if (message->kind == MESSAGE_ITEM) {
        hark__item_came(ctx, message);
        return;
    }
    if (future == NULL || future->state == FUTURE_DONE) {
        if (message->kind == MESSAGE_SYSTEM) {
            hark__probe_came(ctx, message);
            return;
        }
        hark__bounce_message(ctx, ctx->self, message, HARK_ESTALE,
                             HARK_STAGE_REPLY_LOST,
                             "nobody waits for this reply any more");
        return;
    }
    // Only a failure tells how long it took.
    int64_t now_ns =
        message->kind == MESSAGE_FAILURE ? hark__env_now(ctx->node->env) : 0;
    message->flags |= MESSAGE_HELD;
    hark__future_complete(futures, ctx, future, message, HARK_OK, HARK_STAGE_RUNNING,
                          now_ns);
}

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

// ---- the end of a turn ----

static void
close_future(hark_ctx *ctx, struct future *future)
{
    hark__future_close(ctx_futures(ctx), ctx_pool(ctx), ctx, future);
}

// Guardian of the futures that are detached.
static void
guardian_complete(struct waiter *waiter, void *turn, struct future *future)
{
    (void)waiter;
    close_future(turn, future);
}

static void
guardian_drop(struct waiter *waiter, void *turn, struct future *future)
{
    (void)waiter;
    (void)turn;
    (void)future;
}

static struct waiter guardian = {guardian_complete, guardian_drop};

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

// ---- continuations ----

// A continuation is kept in its future: waiter_data is the hark_continuation, waiter_arg
// its arg.
struct continuation {
    const hark_continuation *what;
    void *arg;
};

static struct continuation
continuation_of(const struct future *future)
{
    return (struct continuation){future->waiter_data, future->waiter_arg};
}

static void
drop_arg(const hark_continuation *what, void *arg)
{
    if (what != NULL && what->drop != NULL) {
        what->drop(arg);
    }
}

static void
run_failure(hark_ctx *ctx, const struct continuation *continuation,
            const hark_error *error)
{
    if (continuation->what->on_failure != NULL) {
        continuation->what->on_failure(ctx, hark__slot_state(ctx->slot), error,
                                       continuation->arg);
    }
}

static __attribute__((cold, noinline)) void
run_other_reply(hark_ctx *ctx, const struct continuation *continuation,
                const struct future *future)
{
    char text[ERROR_TEXT];
    hark_error error = hark__future_error(ctx_futures(ctx), future);

    snprintf(text, sizeof text, "the reply is %s, not %s", future->message->type->name,
             continuation->what->type->name);
    error.code = HARK_ETYPE;
    error.stage = HARK_STAGE_REPLY_LOST;
    error.text = text;
    run_failure(ctx, continuation, &error);
}

static void
run_reply(hark_ctx *ctx, const struct continuation *continuation, struct future *future)
{
    const hark_type *expected = continuation->what->type;
    const void *reply = future->message->type == expected
                            ? future->message + 1
                            : hark_message_as(future->message, expected);

    if (reply == NULL) {
        run_other_reply(ctx, continuation, future);
    } else if (continuation->what->on_reply != NULL) {
        hark__future_got(future);
        continuation->what->on_reply(ctx, hark__slot_state(ctx->slot), reply,
                                     continuation->arg);
    }
}

static __attribute__((cold, noinline)) void
run_own_failure(hark_ctx *ctx, const struct continuation *continuation,
                const struct future *future)
{
    hark_error error = hark__future_error(ctx_futures(ctx), future);

    run_failure(ctx, continuation, &error);
}

// A continuation is over, which had this in hand from the start; NULL: nothing.
static __attribute__((noinline)) void
put_back(hark_ctx *ctx, struct request *parent)
{
    hark__request_let_go(ctx, parent); // shields that it has left up
    ctx->request = NULL;
    if (parent != NULL) {
        hark__request_drop(ctx, parent);
    }
}

static void
continuation_complete(struct waiter *waiter, void *turn, struct future *future)
{
    hark_ctx *ctx = turn;
    struct continuation continuation = continuation_of(future);
    struct request *parent = future->parent;
    uint16_t outer = ctx->trace;
    uint64_t id = future->id;

    uint64_t unseen = 0;
    if (ctx->slot->heed & SLOT_WAITS) {
        if (hark__waits_hold(ctx, future, waiter)) {
            return; // a handler waits, and nobody's code may run meanwhile
        }
        unseen = hark__waits_unseen(ctx);
    }
    if (parent != NULL) { // it goes on for the sake of whom it was asked
        hark__request_hold(parent);
        ctx->request = parent;
    }
    ctx->trace = future->trace; // what it asks, it asks because of that
    ctx->chain_id = hark__chain_of_future(ctx->self, future) | unseen;
    if (future->code == HARK_OK) {
        run_reply(ctx, &continuation, future);
    } else {
        run_own_failure(ctx, &continuation, future);
    }
    if (ctx->scopes != NULL) {
        hark__scopes_leave(ctx);
    }
    if (ctx->request != NULL) {
        put_back(ctx, parent);
    }
    ctx->trace = outer;
    drop_arg(continuation.what, continuation.arg);
    future = hark__future_find(ctx_futures(ctx), id);
    if (future != NULL) { // the continuation may have dropped it
        close_future(ctx, future);
    }
}

static void
continuation_drop(struct waiter *waiter, void *turn, struct future *future)
{
    struct continuation continuation = continuation_of(future);

    (void)waiter;
    (void)turn;
    drop_arg(continuation.what, continuation.arg);
}

static struct waiter continuation_waiter = {continuation_complete, continuation_drop};

hark_err
hark_then_value(hark_ctx *ctx, hark_future name, const hark_continuation *what,
                void *arg)
{
    struct future *future = hark__ctx_future(ctx, name);

    if (what == NULL || what->type == NULL) {
        drop_arg(what, arg);
        return hark__ctx_error(ctx, HARK_EINVAL, "hark_then: no continuation");
    }
    if (future == NULL || future->waiter != NULL) {
        drop_arg(what, arg);
        return hark__ctx_error(
            ctx, HARK_ESTALE,
            "hark_then: the future has ended, is continued already, or "
            "is not this actor's");
    }
    future->waiter_data = what;
    future->waiter_arg = arg;
    hark__future_watch(ctx_futures(ctx), future, &continuation_waiter);
    return HARK_OK;
}

// ---- looking at futures ----

const void *
hark_future_value(hark_ctx *ctx, hark_future name, const hark_type *type)
{
    struct future *future = hark__ctx_future(ctx, name);

    if (future == NULL || type == NULL) {
        if (type == NULL || !hark__ctx_error_tells(ctx, name.id)) {
            hark__ctx_error(ctx, type == NULL ? HARK_EINVAL : HARK_ESTALE,
                            "the future has ended, or is not of this actor or thread");
        }
        return NULL;
    }
    future->looked_at = true;
    if (future->state == FUTURE_OPEN) {
        hark__ctx_error(ctx, HARK_ETIMEOUT, "the future is still open");
        return NULL;
    }
    if (future->code != HARK_OK) {
        hark__ctx_error_of(ctx, ctx_futures(ctx), future);
        return NULL;
    }
    const void *value = hark_message_as(future->message, type);
    if (value == NULL) {
        hark__ctx_error(ctx, HARK_ETYPE, "the reply is %s, not %s",
                        future->message->type->name, type->name);
        return NULL;
    }
    hark__future_got(future);
    return value;
}

bool
hark_future_done(hark_ctx *ctx, hark_future name)
{
    const struct future *future = hark__ctx_future(ctx, name);

    return future == NULL || future->state == FUTURE_DONE;
}

hark_err
hark_future_keep(hark_ctx *ctx, hark_future name)
{
    struct future *future = hark__ctx_future(ctx, name);

    if (future == NULL) {
        return hark__ctx_error(ctx, HARK_ESTALE,
                               "hark_future_keep: the future has ended, "
                               "or is not this actor's");
    }
    future->kept = true;
    return HARK_OK;
}

hark_err
hark_future_detach(hark_ctx *ctx, hark_future name)
{
    struct future *future = hark__ctx_future(ctx, name);

    if (future == NULL || future->waiter != NULL) {
        return hark__ctx_error(ctx, HARK_ESTALE,
                               "hark_future_detach: the future has ended, is continued "
                               "already, or is not of this actor or thread");
    }
    if (future->state == FUTURE_DONE) {
        close_future(ctx, future);
        return HARK_OK;
    }
    if (future->parent != NULL) {
        hark__ask_hooks.leave(ctx, future);
    }
    future->kept = false;
    hark__future_adopt(ctx_futures(ctx), future, &guardian);
    return HARK_OK;
}

void
hark_future_drop(hark_ctx *ctx, hark_future name)
{
    struct future *future = hark__ctx_future(ctx, name);

    if (future != NULL) {
        close_future(ctx, future);
    }
}

// ---- for dump.c ----

bool
hark__future_is_missed(const struct future *future)
{
    return future->state == FUTURE_OPEN && future->waiter != &guardian
           && (future->asked != NULL || future->backing != NULL
               || future->waiter == &continuation_waiter);
}

// ---- for async.c ----

struct futures *
hark__own_futures(hark_ctx *ctx)
{
    return futures_of(ctx);
}

struct future *
hark__own_find(const hark_ctx *ctx, hark_future future)
{
    return hark__ctx_future(ctx, future);
}

hark_future
hark__own_name(hark_ctx *ctx, struct future *future)
{
    if (future->trace == 0) { // what goes on with it, goes on for that sake
        future->trace = hark__trace_cause(ctx);
    }
    if (future->chain_id == 0) {
        future->chain_id = ctx->chain_id;
    } else if (ctx->chain_id == 0 && !ctx->is_thread && !ctx_is_in_callback(ctx)) {
        ctx->chain_id = future->chain_id; // its callback has begun one
    }
    start_clock(ctx, ctx_futures(ctx));
    return name_of(ctx, future);
}
