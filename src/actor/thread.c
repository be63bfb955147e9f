// An attached thread takes in what came (attached.h), and waits.

#include <inttypes.h>

#include "actor/attached.h"
#include "actor/await.h"
#include "actor/owed.h"
#include "actor/request.h"

#define LINK_WAIT_NS INT64_C(20000)

// ---- waking ----

void
hark__thread_run(struct task *task, struct worker *worker, void *local)
{
    (void)task;
    (void)worker;
    (void)local;
}

void
hark__thread_wake(struct slot *slot, struct node *node)
{
    struct attached *attached = slot->state.attached;

    // release: pairs with the acquire in wait_token; our message is seen. The thread
    // may detach and free the word as soon as it sees this; waking a word that is gone
    // wakes nobody, or somebody who looks again.
    if (atomic_exchange_explicit(&attached->token, TOKEN_SET, memory_order_release)
        == TOKEN_NONE) {
        node->env->ops->wake(node->env, &attached->token);
    }
}

// Looks at the token for a while, until end_ns at most. True: it came.
static bool
spin_for_token(struct attached *attached, int64_t end_ns)
{
    struct env *env = attached->ctx.node->env;
    uint32_t none = TOKEN_NONE, seen = TOKEN_SEEN;

    // relaxed, both, where it fails: it has been set, which wait_token acquires. relaxed
    // where it succeeds: whoever sets it tells by its exchange which of the two it found.
    if (!atomic_compare_exchange_strong_explicit(&attached->token, &none, TOKEN_SEEN,
                                                 memory_order_relaxed,
                                                 memory_order_relaxed)) {
        return true;
    }
    (void)env->ops->spin(env, &attached->token, TOKEN_SEEN, end_ns);
    return !atomic_compare_exchange_strong_explicit(&attached->token, &seen, TOKEN_NONE,
                                                    memory_order_relaxed,
                                                    memory_order_relaxed);
}

// True: the token came; we are the reader again.
static bool
wait_token(struct attached *attached, int64_t until_ns)
{
    struct env *env = attached->ctx.node->env;
    int64_t began_ns = hark__env_now(env);

    if (until_ns > began_ns && hark__spin_pays(&attached->spin, attached->waited_ns)) {
        int64_t end_ns = began_ns + SPIN_NS < until_ns ? began_ns + SPIN_NS : until_ns;

        hark__spin_ended(&attached->spin, spin_for_token(attached, end_ns));
    }
    // acquire: pairs with thread_wake.
    while (atomic_load_explicit(&attached->token, memory_order_acquire) == TOKEN_NONE) {
        if (until_ns != INT64_MAX && hark__env_now(env) >= until_ns) {
            attached->waited_ns = INT64_MAX;
            return false;
        }
        env->ops->wait(env, &attached->token, TOKEN_NONE, until_ns);
    }
    attached->waited_ns = hark__env_now(env) - began_ns;
    // relaxed: nobody sets it before we are idle again.
    atomic_store_explicit(&attached->token, TOKEN_NONE, memory_order_relaxed);
    return true;
}

// Becomes the reader again; whoever was faster is about to give us the token.
static void
reclaim(struct attached *attached)
{
    if (!hark__mailbox_claim(&attached->ctx.slot->box)) {
        (void)wait_token(attached, INT64_MAX);
    }
}

// ---- taking messages in ----

static bool
is_current(const struct slot *slot, const struct hark_message *message)
{
    // relaxed: only the reader writes it.
    return message->generation
           == atomic_load_explicit(&slot->generation, memory_order_relaxed);
}

void
hark__attached_let_go(struct attached *attached, struct hark_message *message)
{
    if (message == NULL) {
        return;
    }
    if (message->kind != MESSAGE_TELL || !is_current(attached->ctx.slot, message)) {
        hark__ask_unchain(&attached->ctx, message);
        return;
    }
    message->flags = 0;
    // relaxed: ours alone.
    atomic_store_explicit(&message->next, NULL, memory_order_relaxed);
    if (attached->last != NULL) {
        atomic_store_explicit(&attached->last->next, message, memory_order_relaxed);
    } else {
        attached->first = message;
    }
    attached->last = message;
}

static void
dispatch(hark_ctx *ctx, struct hark_message *message)
{
    struct slot *slot = ctx->slot;

    if (message->flags & MESSAGE_COUNTED) {
        // relaxed: a count.
        atomic_fetch_sub_explicit(&slot->waiting, 1, memory_order_relaxed);
    }
    if (!is_current(slot, message)) {
        hark_ref to = {ctx->node->id,
                       hark__slot_name(slot->index, message->generation)};

        hark__bounce_message(ctx, to, message, HARK_ESTOPPED, HARK_STAGE_QUEUED, NULL);
    } else if (message->kind == MESSAGE_ASK) {
        hark__bounce_message(ctx, ctx->self, message, HARK_ENOHANDLER,
                             HARK_STAGE_RUNNING, "a thread is told, not asked");
    } else if (message->kind != MESSAGE_TELL) {
        hark__complete(ctx, message);
    }
}

static void
take_system(struct attached *attached)
{
    hark_ctx *ctx = &attached->ctx;
    struct hark_message *message = hark__mailbox_take_system(&ctx->slot->box);

    while (message != NULL) {
        // relaxed: ours since it was taken.
        struct hark_message *next =
            atomic_load_explicit(&message->next, memory_order_relaxed);

        // Only the system's own stop counts; seq_cst as in node_stop, though any order
        // would do: the message was sent after stopping was set.
        if (message->code == SYSTEM_STOP && is_current(ctx->slot, message)
            && atomic_load_explicit(&ctx->node->stopping, memory_order_seq_cst)) {
            attached->stopping = true;
        } else if (message->code == SYSTEM_DUMP && is_current(ctx->slot, message)) {
            hark__dump_came(ctx, message);
        }
        hark__system_free(ctx, message);
        message = next;
    }
}

// Takes in all that is there.
static void
pump(struct attached *attached)
{
    struct slot *slot = attached->ctx.slot;
    struct request *request = attached->ctx.request;
    struct scopes *scopes = attached->ctx.scopes;
    uint64_t chain_id = attached->ctx.chain_id;
    struct hark_message *next;

    // Continuations are not in the thread's shields and scopes, nor in its chain.
    attached->ctx.request = NULL;
    attached->ctx.scopes = NULL;
    attached->ctx.chain_id = 0;
    take_system(attached);
    while ((next = hark__mailbox_next(&slot->box, slot->current)) != NULL) {
        hark__attached_let_go(attached, slot->current);
        slot->current = next;
        next->flags |= MESSAGE_CHAINED;
        dispatch(&attached->ctx, next);
    }
    struct futures *futures = ctx_futures(&attached->ctx);
    if (futures != NULL) {
        if (hark__mailbox_newest(&slot->box, slot->current) == NULL) {
            hark__futures_expire(&attached->ctx,
                                 hark__env_now(attached->ctx.node->env));
        } // else a sender is about to link a message, and answers may be behind it
        hark__futures_tell_ready(futures, &attached->ctx);
        // Those that were opened meanwhile.
        (void)hark__futures_start(futures, attached->ctx.node->env, NULL);
    }
    attached->ctx.request = request;
    attached->ctx.scopes = scopes;
    attached->ctx.chain_id = chain_id;
    hark__ctx_flush(&attached->ctx);
}

// Goes idle until something comes or until_ns. Nothing is in hand afterwards, except
// when a sender is just linking its message.
static void
rest(struct attached *attached, int64_t until_ns)
{
    struct slot *slot = attached->ctx.slot;
    struct hark_message *last = slot->current;

    slot->current = NULL;
    switch (hark__mailbox_sleep(&slot->box, last)) {
    case MAILBOX_MORE:
        slot->current = last;
        attached->ctx.node->env->ops->wait(attached->ctx.node->env, &attached->token, 0,
                                           hark__env_now(attached->ctx.node->env)
                                               + LINK_WAIT_NS);
        return;
    case MAILBOX_SYSTEM:
        hark__attached_let_go(attached, last);
        return;
    default:
        hark__attached_let_go(attached, last);
        if (!wait_token(attached, until_ns)) {
            reclaim(attached);
        }
        return;
    }
}

void
hark__attached_settle(struct attached *attached)
{
    pump(attached);
    while (attached->ctx.slot->current != NULL) {
        rest(attached, INT64_MIN);
        pump(attached);
    }
}

// ---- waiting ----

static int64_t
next_look_ns(const hark_ctx *ctx, int64_t until_ns)
{
    struct futures *futures = ctx_futures(ctx);
    int64_t next_ns = futures != NULL ? hark__futures_next_ns(futures) : INT64_MAX;

    return next_ns < until_ns ? next_ns : until_ns;
}

// Whoever dumps may ask us from now on. Returns what wait_end is to be given.
static struct thread_wait
wait_begin(hark_ctx *ctx, uint64_t future)
{
    struct attached *attached = attached_of(ctx);
    struct thread_wait outer = attached->wait;

    attached->wait = (struct thread_wait){future, hark__env_now(ctx->node->env)};
    // relaxed: see hark_dump.
    atomic_store_explicit(&ctx->slot->waits, true, memory_order_relaxed);
    return outer;
}

static void
wait_end(hark_ctx *ctx, struct thread_wait outer)
{
    attached_of(ctx)->wait = outer;
    // relaxed: as above.
    atomic_store_explicit(&ctx->slot->waits, outer.since_ns != 0, memory_order_relaxed);
}

struct thread_wait
hark__thread_waits_for(const hark_ctx *ctx)
{
    return attached_of(ctx)->wait;
}

// False: the wait has ended first.
static bool
rest_until_done(hark_ctx *ctx, hark_future future)
{
    struct attached *attached = attached_of(ctx);

    while (!hark_future_done(ctx, future)) {
        if (attached->stopping) {
            hark__ctx_error(ctx, HARK_ESTOPPED, "hark_await: the system stops");
            return false;
        }
        if (ctx->request != NULL && ctx->request->state == REQUEST_CANCELLED) {
            hark__ctx_error(ctx, HARK_ECANCELLED,
                            "hark_await: the scope was cancelled");
            return false;
        }
        rest(attached, next_look_ns(ctx, INT64_MAX));
        pump(attached);
    }
    return true;
}

// As above, of a thread that has just called.
static bool
wait_in_thread(hark_ctx *ctx, hark_future future)
{
    pump(attached_of(ctx));
    if (hark_future_done(ctx, future)) {
        return true;
    }
    struct thread_wait outer = wait_begin(ctx, future.id);
    bool is_done = rest_until_done(ctx, future);
    wait_end(ctx, outer);
    return is_done;
}

bool
hark__wait(hark_ctx *ctx, hark_future future)
{
    return ctx->is_thread ? wait_in_thread(ctx, future) : hark__await_done(ctx, future);
}

const void *
hark_await_value(hark_ctx *ctx, hark_future future, const hark_type *type)
{
    if (ctx == NULL) {
        return NULL;
    }
    if (!ctx->is_thread) {
        return hark__await(ctx, future, type);
    }
    if (ctx_is_in_callback(ctx)) {
        hark__ctx_error(ctx, HARK_ENOTSUP, "hark_await: a callback must not wait");
        return NULL;
    }
    return wait_in_thread(ctx, future) ? hark_future_value(ctx, future, type) : NULL;
}

static hark_message *
pop_inbox(struct attached *attached)
{
    struct hark_message *message = attached->first;

    if (message != NULL) {
        // relaxed: ours alone.
        attached->first = atomic_load_explicit(&message->next, memory_order_relaxed);
        if (attached->first == NULL) {
            attached->last = NULL;
        }
    }
    return message;
}

static void
explain_nothing(struct attached *attached, uint32_t timeout_ms)
{
    if (attached->stopping) {
        hark__ctx_error(&attached->ctx, HARK_ESTOPPED,
                        "hark_receive: the system stops");
    } else {
        hark__ctx_error(&attached->ctx, HARK_ETIMEOUT,
                        "hark_receive: nothing came within %" PRIu32 " ms", timeout_ms);
    }
}

// NULL: the wait has ended first.
static hark_message *
rest_until_told(struct attached *attached, uint32_t timeout_ms)
{
    hark_ctx *ctx = &attached->ctx;
    struct env *env = ctx->node->env;
    int64_t until_ns = hark__env_deadline(env, timeout_ms);
    hark_message *message;

    while ((message = pop_inbox(attached)) == NULL) {
        if (attached->stopping || hark__env_now(env) >= until_ns) {
            explain_nothing(attached, timeout_ms);
            return NULL;
        }
        rest(attached, next_look_ns(ctx, until_ns));
        hark__attached_settle(attached);
    }
    return message;
}

hark_message *
hark_receive(hark_ctx *ctx, uint32_t timeout_ms)
{
    if (ctx == NULL || !ctx->is_thread) {
        hark__ctx_error(ctx, HARK_ENOTSUP, "hark_receive: only in an attached thread");
        return NULL;
    }
    if (ctx_is_in_callback(ctx)) {
        hark__ctx_error(ctx, HARK_ENOTSUP, "hark_receive: a callback must not wait");
        return NULL;
    }
    struct attached *attached = attached_of(ctx);

    hark__scratch_free(ctx);
    hark__attached_settle(attached);
    hark_message *message = pop_inbox(attached);
    if (message == NULL) {
        struct thread_wait outer = wait_begin(ctx, 0);

        message = rest_until_told(attached, timeout_ms);
        wait_end(ctx, outer);
    }
    return message;
}
