// Asks: a future is opened, what it asks for is sent, and what answers it completes it.

#include "actor/await.h"
#include "actor/chain_id.h"
#include "actor/ctx.h"
#include "actor/deadlock.h"
#include "actor/stream.h"
#include "future/computed.h"

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

// The future for which a callback of a combinator runs, with ctx in no chain; NULL:
// none does, or it is closed.
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
    bool is_starved = false; // a cancel would not find what is asked for its sake

    if (futures != NULL) {
        uint32_t limit_ms =
            timeout_ms != 0 ? timeout_ms : ctx->node->limits.ask_timeout_ms;
        if (ctx->owes_answer || ctx->request != NULL) {
            parent = hark__parent(ctx, &limit_ms);
            is_starved = parent == NULL && ctx->request == NULL;
        }
        future =
            is_starved ? NULL : hark__future_open(futures, ctx_pool(ctx), limit_ms);
    }
    if (future == NULL) {
        bool full = futures != NULL && futures->open_count >= futures->limit;
        hark__ctx_error_futures(ctx, full);
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
