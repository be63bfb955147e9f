#include "actor/deadlock.h"

#include <stdio.h>

#include "future/computed.h"
#include "message/failure.h"

enum {
    CIRCLE = 1000, // the longest that is looked for
    KEPT = 256,    // probes that one actor keeps
    NAME = 400,    // bytes of an actor's name, at most
    DEPTH = 8,     // futures made of futures made of ...
    WIDTH = 256,   // futures of one, that are looked at
};

// waits_for: several; the other bits are of the chain for whose sake.
#define WIDE (UINT32_C(1) << 31)

// ---- what is waited for ----

// Sees an open ask that something waits for. False: no more is wanted.
typedef bool see_ask(void *arg, const struct future *future);

static bool
is_plain(const struct future *future)
{
    return future->computed == NULL && future->asked != NULL;
}

// Calls see for each ask that must end before future does.
static bool
each_ask(const struct futures *futures, const struct future *future, int depth,
         see_ask *see, void *arg)
{
    if (future == NULL || future->state != FUTURE_OPEN) {
        return true;
    }
    if (is_plain(future)) {
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

static bool
each_ask_of(const hark_ctx *ctx, const struct await *await, see_ask *see, void *arg)
{
    const struct futures *futures = ctx_futures(ctx);

    return each_ask(futures, hark__future_find(futures, await->future), 0, see, arg);
}

// ---- paths ----

// Appends ctx's own actor to a path; with its node, if there is another in question.
static size_t
put_name(hark_ctx *ctx, char *text, size_t size, size_t used, bool with_node)
{
    used += hark_ref_print(ctx, ctx->self, text + used, size - used);
    if (with_node && used < size) {
        used +=
            (size_t)snprintf(text + used, size - used, " at %.100s", ctx->node->name);
    }
    return used < size ? used : size - 1;
}

// Appends "a<..> waits for ", or dots for all that has no room. Returns the length.
static size_t
put_hop(hark_ctx *ctx, char *text, size_t size, size_t used, bool with_node)
{
    static const char dots[] = "... waits for ";
    const size_t known = sizeof dots - 1;

    if (size - used > NAME + known) {
        used = put_name(ctx, text, size, used, with_node);
        return used + (size_t)snprintf(text + used, size - used, " waits for ");
    }
    if (used >= known && memcmp(text + used - known, dots, known) == 0) {
        return used;
    }
    return used + (size_t)snprintf(text + used, size - used, "%s", dots);
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
        return false; // timeouts end it
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
    (void)hark__send(ctx, future->target, message); // who has ended deadlocks nobody
    return true;
}

// Sends the one probe of a wait that may be part of a circle.
static void
begin(hark_ctx *ctx, struct await *await)
{
    if (await->nonce == 0) {
        await->nonce = ctx->node->env->ops->random(ctx->node->env) | 1;
        (void)each_ask_of(ctx, await, send_probe,
                          &(struct onward){.ctx = ctx, .await = await});
    }
}

// The same for all waits that keep others from running.
static void
begin_all(hark_ctx *ctx, const struct waits *waits)
{
    for (struct list *link = waits->suspended.next; link != &waits->suspended;
         link = link->next) {
        struct await *await = CONTAINER_OF(link, struct await, by_state);

        if (await->lock != LOCK_NOBODY) {
            begin(ctx, await);
        }
    }
}

// ---- suspecting: marks ----

static uint32_t
wide_mark(uint64_t chain_id)
{
    return WIDE | (uint32_t)chain_id;
}

// The mark of the actor that mark, which is simple, says. 0: it has none.
static inline uint32_t
next_mark(const hark_ctx *ctx, uint32_t mark)
{
    struct slot *slot = hark__slot_at(&ctx->node->slots, mark - 1);

    // seq_cst: after the store of our own mark; see deadlock.h.
    return slot != NULL ? atomic_load_explicit(&slot->waits_for, memory_order_seq_cst)
                        : 0;
}

// next is the mark of the first on the way. An actor that waits for several is a way back
// if it does so for the sake of the same request: then that has come back to where it was.
static __attribute__((noinline)) bool
comes_back(const hark_ctx *ctx, uint32_t next)
{
    for (int i = 0; i < CIRCLE && next != 0; i++) {
        if (next & WIDE) {
            return next == wide_mark(ctx->chain_id);
        }
        if (next - 1 == ctx->slot->index) {
            return true;
        }
        next = next_mark(ctx, next);
    }
    return false;
}

// Does the way that begins with mark, a simple one, lead back to ctx's actor?
static inline bool
leads_back(const hark_ctx *ctx, uint32_t mark)
{
    uint32_t next = next_mark(ctx, mark); // itself, if ctx's actor asks itself

    return next != 0 && comes_back(ctx, next);
}

// 0: future asks somebody of another node.
static uint32_t
simple_mark(const hark_ctx *ctx, const struct future *future)
{
    return future->target.node == ctx->node->id
               ? ((uint32_t)future->target.actor + 1) & ~WIDE
               : 0;
}

// The mark that says what some handlers wait for.
struct marking {
    const hark_ctx *ctx;
    uint64_t chain_id;
    uint32_t mark;
};

static bool
mark_ask(void *arg, const struct future *future)
{
    struct marking *marking = arg;
    uint32_t mark = simple_mark(marking->ctx, future);

    if (marking->mark != 0 && mark != 0 && mark != marking->mark) {
        marking->mark = wide_mark(marking->chain_id);
        return false;
    }
    marking->mark |= mark;
    return true;
}

static uint32_t
mark_of(const hark_ctx *ctx, const struct waits *waits)
{
    struct marking marking = {ctx, 0, 0};

    for (struct list *link = waits->suspended.next; link != &waits->suspended;
         link = link->next) {
        const struct await *await = CONTAINER_OF(link, struct await, by_state);

        marking.chain_id = await->ctx->chain_id;
        if (await->lock != LOCK_NOBODY
            && !each_ask_of(ctx, await, mark_ask, &marking)) {
            break;
        }
    }
    return marking.mark;
}

static bool
see_way_back(void *arg, const struct future *future)
{
    const hark_ctx *ctx = arg;

    uint32_t mark = simple_mark(ctx, future);

    return mark == 0 || !leads_back(ctx, mark);
}

// True: the marks say that a handler's wait may have closed a circle.
static bool
look_along(hark_ctx *ctx, const struct waits *waits, const struct await *await)
{
    // seq_cst: before the loads in next_mark; see deadlock.h.
    atomic_store_explicit(&ctx->slot->waits_for, mark_of(ctx, waits),
                          memory_order_seq_cst);
    return !each_ask_of(ctx, await, see_way_back, ctx);
}

// The mark says more than it did, and those who followed it before have not seen that.
void
hark__deadlock_forget_one(hark_ctx *ctx, const struct waits *waits)
{
    uint32_t mark = mark_of(ctx, waits);

    // seq_cst: before the loads in next_mark; see deadlock.h.
    atomic_store_explicit(&ctx->slot->waits_for, mark, memory_order_seq_cst);
    if (mark != 0 && !(mark & WIDE) && leads_back(ctx, mark)) {
        begin_all(ctx, waits);
    }
}

// ---- suspecting: chains ----

static bool
is_aside(const hark_ctx *ctx, const struct waits *waits)
{
    const struct hark_message *current = ctx->slot->current;

    return waits->first_aside != NULL
           || (current != NULL && (current->flags & MESSAGE_ASIDE));
}

static bool
owes_unseen(const struct await *await)
{
    return await->ctx->owes_answer && (await->ctx->chain_id & CHAIN_UNSEEN) != 0;
}

// Does somebody wait, unseen, for a handler other than await?
static bool
others_owe_unseen(const struct waits *waits, const struct await *await)
{
    const struct list *const lists[] = {&waits->suspended, &waits->due};

    for (int i = 0; i < 2; i++) {
        for (struct list *link = lists[i]->next; link != lists[i]; link = link->next) {
            const struct await *other = CONTAINER_OF(link, struct await, by_state);

            if (other != await && owes_unseen(other)) {
                return true;
            }
        }
    }
    return false;
}

// May somebody wait for ctx's actor, unseen by marks, whom the new wait blocks?
static bool
is_waited_for(const hark_ctx *ctx, struct waits *waits, const struct await *await)
{
    if (waits->has_unseen) {
        waits->has_unseen = is_aside(ctx, waits);
    }
    return waits->has_unseen
           || (ctx->slot->extra->promises != NULL && hark__promises_are_unseen(ctx))
           || (waits->count > 1 && others_owe_unseen(waits, await));
}

void
hark__deadlock_aside(hark_ctx *ctx, const struct hark_message *message)
{
    struct waits *waits = ctx_waits(ctx);

    if (message->kind == MESSAGE_ASK
        && (hark__chain_of_ask(message, ctx->node->id) & CHAIN_UNSEEN)) {
        waits->has_unseen = true;
        begin_all(ctx, waits);
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

    memcpy(text, probe->path, probe->size);
    size_t size = put_name(ctx, text, sizeof text, probe->size,
                           message->from.node != ctx->node->id);
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
            if (!each_ask_of(ctx, await, see_other, &wait)) {
                end_ask(ctx, hark__future_find(ctx_futures(ctx), wait), message);
            }
            return;
        }
    }
}

// Sees to a probe; only: along that wait, NULL: along all. False: it is of no use any more.
static bool
pass_on(hark_ctx *ctx, const struct waits *waits, const struct hark_message *message,
        const struct await *only)
{
    const struct probe *probe = (const struct probe *)(message + 1);
    struct debt debt = find_debt(ctx, waits, message, probe);

    if (!debt.is_owed || probe->hops >= CIRCLE) {
        return false;
    }
    if (hark_ref_equal(probe->origin, ctx->self)) {
        come_back(ctx, waits, message, &debt);
        return false;
    }
    for (struct list *link = waits->suspended.next; link != &waits->suspended;
         link = link->next) {
        const struct await *await = CONTAINER_OF(link, const struct await, by_state);

        if ((only == NULL || await == only) && blocks(await, &debt)) {
            (void)each_ask_of(ctx, await, send_probe,
                              &(struct onward){ctx, await, message});
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

// The same probe, about the same ask: then it goes round in a circle that its origin is not
// in.
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
hark__deadlock_tidy(hark_ctx *ctx, struct waits *waits)
{
    if (waits->kept_count > 0) {
        go_through(ctx, waits, NULL);
    }
}

void
hark__deadlock_fini(hark_ctx *ctx, struct waits *waits)
{
    while (!hark__list_is_empty(&waits->kept)) {
        drop(ctx, waits, waits->kept.next);
    }
}

// ---- what happens ----

// The general case of hark__deadlock_look.
static __attribute__((noinline)) void
look_closely(hark_ctx *ctx, const struct await *await)
{
    struct waits *waits = ctx_waits(ctx);

    if (await->lock != LOCK_NOBODY
        && (look_along(ctx, waits, await) || is_waited_for(ctx, waits, await))) {
        begin_all(ctx, waits);
    }
    if (waits->kept_count > 0) {
        go_through(ctx, waits, await);
    }
}

// The actor whose mark is next may stand in a circle.
static __attribute__((noinline)) void
look_on(hark_ctx *ctx, uint32_t next)
{
    if (comes_back(ctx, next)) {
        begin_all(ctx, ctx_waits(ctx));
    }
}

void
hark__deadlock_look(hark_ctx *ctx, struct await *await, const struct future *future)
{
    const struct extra *extra = ctx->slot->extra;
    const struct waits *waits = extra->waits;

    await->nonce = 0;
    if (await->lock == LOCK_NOBODY || !is_plain(future) || waits->count > 1
        || waits->kept_count > 0 || waits->has_unseen || extra->promises != NULL) {
        look_closely(ctx, await);
        return;
    }
    uint32_t mark = simple_mark(ctx, future);
    // seq_cst: before the loads in next_mark; see deadlock.h.
    atomic_store_explicit(&ctx->slot->waits_for, mark, memory_order_seq_cst);
    uint32_t next = mark != 0 ? next_mark(ctx, mark) : 0;
    if (next != 0) {
        look_on(ctx, next);
    }
}

void
hark__deadlock_probe(hark_ctx *ctx, struct hark_message *message)
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
        hark__deadlock_tidy(ctx, waits);
    }
    if (waits->kept_count < KEPT) {
        keep(waits, message);
    }
}

void
hark__deadlock_from(hark_ctx *ctx, hark_ref to, hark_ref asker,
                    const struct probe *probe, hark_str path)
{
    size_t size = path.len < PROBE_PATH ? path.len : PROBE_PATH - 1;

    // What is over the bound is left to the deadline.
    if (!hark__foreign_in(ctx->node)) {
        return;
    }
    struct hark_message *message =
        hark__message_alloc(ctx_pool(ctx), NULL, sizeof *probe + size);
    if (message == NULL) {
        hark__foreign_out(ctx->node);
        return;
    }
    struct probe *copy = hark__message_payload(message);
    *copy = *probe;
    hark__list_init(&copy->by_waits);
    copy->size = (uint32_t)size;
    memcpy(copy->path, path.ptr, size);
    message->kind = MESSAGE_SYSTEM;
    message->from = asker;
    (void)hark__send(ctx, to, message); // who has ended deadlocks nobody
}
