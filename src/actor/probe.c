#include "actor/deadlock.h"

#include <stdio.h>

#include "future/computed.h"
#include "message/failure.h"

enum {
    HOPS = 1000, // of one probe
    KEPT = 256,  // probes that one actor keeps
    NAME = 400,  // bytes of an actor's name, at most
    DEPTH = 8,   // futures made of futures made of ...
    WIDTH = 256, // futures of one, that are looked at
};

// ---- what is waited for ----

// Calls see for each ask that must end before future does.
static bool
each_ask(const struct futures *futures, const struct future *future, int depth,
         see_ask *see, void *arg)
{
    if (future == NULL || future->state != FUTURE_OPEN) {
        return true;
    }
    if (hark__future_is_ask(future)) {
        return see(arg, future);
    }
    const struct computed *computed = future->computed;
    if (computed == NULL || computed->ops == NULL || !computed->ops->needs_all
        || depth == DEPTH) {
        return true;
    }
    for (size_t i = 0; i < computed->input_count && i < WIDTH; i++) {
        if (!each_ask(futures, hark__future_find(futures, computed->inputs[i].id),
                      depth + 1, see, arg)) {
            return false;
        }
    }
    return true;
}

bool
hark__await_each_ask(const hark_ctx *ctx, const struct await *await, see_ask *see,
                     void *arg)
{
    const struct futures *futures = ctx_futures(ctx);

    return each_ask(futures, hark__future_find(futures, await->future), 0, see, arg);
}

// ---- paths ----

// Appends ctx's own actor to a path; with its node, if there is another in question.
static void
put_name(hark_ctx *ctx, char *text, size_t size, size_t *used, bool with_node)
{
    char name[NAME];

    hark_ref_print(ctx, ctx->self, name, sizeof name);
    hark__append(text, size, used, "%s", name);
    if (with_node) {
        hark__append(text, size, used, " at %.100s", ctx->node->name);
    }
}

// Appends "a<..> waits for ", or dots for all that has no room. used is below size.
// Returns the length.
static size_t
put_hop(hark_ctx *ctx, char *text, size_t size, size_t used, bool with_node)
{
    static const char dots[] = "... waits for ";
    const size_t known = sizeof dots - 1;

    if (size - used > NAME + known) {
        put_name(ctx, text, size, &used, with_node);
        hark__append(text, size, &used, " waits for ");
    } else if (used < known || memcmp(text + used - known, dots, known) != 0) {
        hark__append(text, size, &used, "%s", dots);
    }
    return used < size ? used : size - 1; // what another node says may be any length
}

// ---- sending ----

struct onward {
    hark_ctx *ctx;
    const struct await *await;         // on whose behalf
    const struct hark_message *before; // the probe that is passed on; NULL: a new one
};

// Sends a probe to whom future asks, behind that ask.
static bool
send_probe(void *arg, const struct future *future)
{
    const struct onward *onward = arg;
    hark_ctx *ctx = onward->ctx;
    const struct probe *before =
        onward->before != NULL ? (const struct probe *)(onward->before + 1) : NULL;
    bool is_far = !hark__is_here(ctx, future->target);
    char path[PROBE_PATH];
    size_t size = before != NULL ? before->size : 0;

    if (before != NULL) {
        memcpy(path, before->path, size);
    }
    size = put_hop(
        ctx, path, sizeof path, size,
        is_far || (before != NULL && onward->before->from.node != ctx->node->id));
    struct hark_message *message =
        hark__message_alloc(ctx_pool(ctx), NULL, sizeof(struct probe) + size);
    if (message == NULL) {
        return false;
    }
    struct probe *probe = hark__message_payload(message);
    if (before != NULL) {
        *probe = *before;
    } else {
        *probe = (struct probe){
            .origin = ctx->self, .wait = future->id, .nonce = onward->await->nonce};
    }
    hark__list_init(&probe->by_waits);
    probe->asked = is_far ? future->number : future->id;
    probe->hops++;
    probe->size = (uint32_t)size;
    memcpy(probe->path, path, size);
    message->kind = MESSAGE_SYSTEM;
    message->from = ctx->self;
    // Who has ended deadlocks nobody.
    return hark__send(ctx, future->target, message) != HARK_ENOMEM;
}

// It cannot be found out whether a wait is part of a circle, in which nothing else would
// end it: that does.
static __attribute__((cold, noinline)) void
give_up(hark_ctx *ctx, struct await *await)
{
    hark__wait_break(ctx_waits(ctx), await, HARK_ENOMEM,
                     "no memory to find out whether it waits for itself");
}

// Sends the one probe of a wait that may be part of a circle.
static void
begin(hark_ctx *ctx, struct await *await)
{
    if (await->nonce == 0) {
        await->nonce = ctx->node->env->ops->random(ctx->node->env) | 1;
        if (!hark__await_each_ask(ctx, await, send_probe,
                                  &(struct onward){.ctx = ctx, .await = await})) {
            give_up(ctx, await);
        }
    }
}

void
hark__probes_begin(hark_ctx *ctx, const struct waits *waits)
{
    for (struct list *link = waits->suspended.next, *next; link != &waits->suspended;
         link = next) {
        struct await *await = CONTAINER_OF(link, struct await, by_state);

        next = link->next;
        if (await->lock != LOCK_NOBODY) {
            begin(ctx, await);
        }
    }
}

// ---- proving: is the answer owed? ----

// How an actor owes the answer that a probe is about.
struct debt {
    bool is_owed;
    const struct await *handler; // that has it in hand; NULL: it does not run
    uint64_t chain_id;           // of the ask; 0: not known
};

static bool
is_asked(const struct hark_message *message, const struct hark_message *from,
         const struct probe *probe)
{
    return message->kind == MESSAGE_ASK && message->correlation == probe->asked
           && hark_ref_equal(message->from, from->from);
}

static const struct await *
find_handler(const struct list *list, const struct hark_message *message,
             const struct probe *probe)
{
    for (const struct list *link = list->next; link != list; link = link->next) {
        const struct await *await = CONTAINER_OF(link, const struct await, by_state);

        if (await->ctx->owes_answer && is_asked(await->ctx->message, message, probe)) {
            return await;
        }
    }
    return NULL;
}

// NULL: it was not set aside.
static const struct hark_message *
find_aside(const hark_ctx *ctx, const struct waits *waits,
           const struct hark_message *message, const struct probe *probe)
{
    const struct hark_message *current = ctx->slot->current;
    const struct hark_message *aside = waits->first_aside;

    while (aside != NULL && !is_asked(aside, message, probe)) {
        // relaxed: ours alone.
        aside = atomic_load_explicit(&aside->next, memory_order_relaxed);
    }
    if (aside == NULL && current != NULL && (current->flags & MESSAGE_ASIDE)
        && is_asked(current, message, probe)) {
        aside = current;
    }
    return aside;
}

// Has the asker's own clock not ended it?
static struct debt
debt_until(const hark_ctx *ctx, int64_t deadline_ns, const struct await *handler,
           uint64_t chain_id)
{
    bool is_owed =
        deadline_ns == INT64_MAX || deadline_ns > hark__env_now(ctx->node->env);

    return (struct debt){is_owed, handler, chain_id};
}

static struct debt
find_debt(const hark_ctx *ctx, const struct waits *waits,
          const struct hark_message *message, const struct probe *probe)
{
    const struct await *handler = find_handler(&waits->suspended, message, probe);
    const struct hark_message *aside;

    if (handler == NULL) {
        handler = find_handler(&waits->due, message, probe);
    }
    if (handler != NULL) {
        return debt_until(ctx, handler->ctx->message->deadline_ns, handler,
                          handler->ctx->chain_id);
    }
    aside = find_aside(ctx, waits, message, probe);
    if (aside != NULL) {
        return debt_until(ctx, aside->deadline_ns, NULL,
                          hark__chain_of_ask(aside, ctx->node->id));
    }
    const struct request *promised = hark__requests_find(
        ctx->slot->extra->requests, (struct request_name){message->from, probe->asked});
    if (promised != NULL && promised->state == REQUEST_OPEN) {
        return debt_until(ctx, promised->deadline_ns, NULL, 0);
    }
    return (struct debt){false, NULL, 0};
}

// Can the answer not be given before the handler that waits goes on?
static bool
blocks(const struct await *await, const struct debt *debt)
{
    return await == debt->handler || await->lock == LOCK_ALL
           || (await->lock == LOCK_OTHERS && debt->chain_id != 0
               && !hark__chain_is_same(await->ctx->chain_id, debt->chain_id));
}

// ---- proving: the way on ----

// The ask that closes the circle ends, here and where it waits.
static void
end_ask(hark_ctx *ctx, struct future *future, const struct hark_message *message)
{
    const struct probe *probe = (const struct probe *)(message + 1);
    struct futures *futures = ctx_futures(ctx);
    char text[PROBE_PATH + NAME];

    size_t size = probe->size;
    memcpy(text, probe->path, size);
    put_name(ctx, text, sizeof text, &size, message->from.node != ctx->node->id);
    size = size < sizeof text ? size : sizeof text - 1;
    // Without memory for it the code must do.
    struct hark_message *failure = hark__failure_new(
        ctx_pool(ctx), future->id, HARK_EDEADLK, HARK_STAGE_QUEUED, text, size);

    hark__future_unwant(futures->hooks, ctx, future);
    hark__future_complete(futures, ctx, future, failure, HARK_EDEADLK,
                          HARK_STAGE_QUEUED, hark__env_now(ctx->node->env));
}

static bool
see_other(void *arg, const struct future *future)
{
    return future->id != *(const uint64_t *)arg;
}

// The probe has come back to its origin.
static void
come_back(hark_ctx *ctx, const struct waits *waits, const struct hark_message *message,
          const struct debt *debt)
{
    const struct probe *probe = (const struct probe *)(message + 1);
    uint64_t wait = probe->wait;

    for (struct list *link = waits->suspended.next; link != &waits->suspended;
         link = link->next) {
        const struct await *await = CONTAINER_OF(link, const struct await, by_state);

        // 0: that wait has sent none.
        if (await->nonce != 0 && await->nonce == probe->nonce && blocks(await, debt)) {
            if (!hark__await_each_ask(ctx, await, see_other, &wait)) {
                end_ask(ctx, hark__future_find(ctx_futures(ctx), wait), message);
            }
            return;
        }
    }
}

// Sees to a probe; only: along that wait, NULL: along all. False: it is of no use any
// more.
static bool
pass_on(hark_ctx *ctx, const struct waits *waits, const struct hark_message *message,
        const struct await *only)
{
    const struct probe *probe = (const struct probe *)(message + 1);
    struct debt debt = find_debt(ctx, waits, message, probe);

    if (!debt.is_owed || probe->hops >= HOPS) {
        return false;
    }
    if (hark_ref_equal(probe->origin, ctx->self)) {
        come_back(ctx, waits, message, &debt);
        return false;
    }
    for (struct list *link = waits->suspended.next, *next; link != &waits->suspended;
         link = next) {
        struct await *await = CONTAINER_OF(link, struct await, by_state);

        next = link->next;
        if ((only == NULL || await == only) && blocks(await, &debt)
            && !hark__await_each_ask(ctx, await, send_probe,
                                     &(struct onward){ctx, await, message})) {
            give_up(ctx, await);
        }
    }
    return true;
}

// ---- keeping ----

static struct hark_message *
message_of(struct list *link)
{
    return (struct hark_message *)CONTAINER_OF(link, struct probe, by_waits) - 1;
}

static void
drop(hark_ctx *ctx, struct waits *waits, struct list *link)
{
    hark__list_remove(link);
    waits->kept_count--;
    hark__message_drop(ctx_pool(ctx), message_of(link));
}

static void
keep(struct waits *waits, struct hark_message *message)
{
    struct probe *probe = (struct probe *)(message + 1);

    message->flags |= MESSAGE_HELD;
    hark__list_append(&waits->kept, &probe->by_waits);
    waits->kept_count++;
}

// The same probe, about the same ask: then it goes round in a circle that its origin is
// not in.
static bool
is_kept(const struct waits *waits, const struct hark_message *message)
{
    const struct probe *probe = (const struct probe *)(message + 1);

    for (struct list *link = waits->kept.next; link != &waits->kept;
         link = link->next) {
        const struct probe *kept = CONTAINER_OF(link, const struct probe, by_waits);

        if (kept->nonce == probe->nonce && kept->wait == probe->wait
            && kept->asked == probe->asked
            && hark_ref_equal(kept->origin, probe->origin)
            && hark_ref_equal(message_of(link)->from, message->from)) {
            return true;
        }
    }
    return false;
}

// Goes through those that are kept: has each passed on along a wait that has begun, or
// (NULL) only looks.
static void
go_through(hark_ctx *ctx, struct waits *waits, const struct await *begun)
{
    struct list *link = waits->kept.next;

    while (link != &waits->kept) {
        struct list *next = link->next;
        const struct hark_message *message = message_of(link);

        bool is_needed = begun != NULL ? pass_on(ctx, waits, message, begun)
                                       : find_debt(ctx, waits, message,
                                                   (const struct probe *)(message + 1))
                                             .is_owed;
        if (!is_needed) {
            drop(ctx, waits, link);
        }
        link = next;
    }
}

void
hark__probes_pass_on(hark_ctx *ctx, struct waits *waits, const struct await *begun)
{
    if (waits->kept_count > 0) {
        go_through(ctx, waits, begun);
    }
}

void
hark__probes_tidy(hark_ctx *ctx, struct waits *waits)
{
    if (waits->kept_count > 0) {
        go_through(ctx, waits, NULL);
    }
}

void
hark__probes_fini(hark_ctx *ctx, struct waits *waits)
{
    while (!hark__list_is_empty(&waits->kept)) {
        drop(ctx, waits, waits->kept.next);
    }
}

// ---- what comes ----

void
hark__probe_came(hark_ctx *ctx, struct hark_message *message)
{
    struct extra *extra = ctx->slot->extra;

    if (message->from.node != ctx->node->id) {
        hark__foreign_out(ctx->node);
    }
    // Who has never waited has nothing aside; but it may have promised the answer.
    if (ctx->is_thread || extra == NULL
        || (extra->waits == NULL && extra->promises == NULL)) {
        return;
    }
    struct waits *waits = hark__waits_of(ctx);
    if (waits == NULL || is_kept(waits, message)
        || !pass_on(ctx, waits, message, NULL)) {
        return;
    }
    if (waits->kept_count >= KEPT) {
        hark__probes_tidy(ctx, waits);
    }
    if (waits->kept_count < KEPT) {
        keep(waits, message);
    }
}

bool
hark__probe_from(hark_ctx *ctx, hark_ref to, hark_ref asker, const struct probe *probe,
                 hark_str path)
{
    size_t size = path.len < PROBE_PATH ? path.len : PROBE_PATH - 1;

    // What is over the bound is left to the deadline.
    if (!hark__foreign_in(ctx->node)) {
        return true;
    }
    struct hark_message *message =
        hark__message_alloc(ctx_pool(ctx), NULL, sizeof *probe + size);
    if (message == NULL) {
        hark__foreign_out(ctx->node);
        return false;
    }
    struct probe *copy = hark__message_payload(message);
    *copy = *probe;
    hark__list_init(&copy->by_waits);
    copy->size = (uint32_t)size;
    memcpy(copy->path, path.ptr, size);
    message->kind = MESSAGE_SYSTEM;
    message->from = asker;
    (void)hark__send(ctx, to, message); // who has ended deadlocks nobody
    return true;
}
