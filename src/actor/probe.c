#include "actor/deadlock.h"

#include <stdio.h>

#include "actor/debt.h"
#include "actor/stream.h"
#include "message/failure.h"

enum {
    HOPS = 1000,  // of one probe
    KEPT = 256,   // probes that one actor keeps
    NAME = 400,   // bytes of an actor's name, at most
    GUESSES = 64, // waits for one that looks at all that are kept
    TIDY = 64,    // probes that are turned away before room is looked for again
};

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

// Gives a message with room for a path. NULL: no memory.
static struct hark_message *
new_probe(const struct onward *onward, bool with_node)
{
    hark_ctx *ctx = onward->ctx;
    const struct probe *before =
        onward->before != NULL ? (const struct probe *)(onward->before + 1) : NULL;
    char path[PROBE_PATH];
    size_t size = before != NULL ? before->size : 0;

    if (before != NULL) {
        memcpy(path, before->path, size);
    }
    size = put_hop(ctx, path, sizeof path, size, with_node);
    struct hark_message *message =
        hark__message_alloc(ctx_pool(ctx), NULL, sizeof(struct probe) + size);
    if (message == NULL) {
        return NULL;
    }
    struct probe *probe = hark__message_payload(message);
    *probe = before != NULL
                 ? *before
                 : (struct probe){.origin = ctx->self, .nonce = onward->await->nonce};
    hark__list_init(&probe->by_waits);
    probe->hops++;
    probe->size = (uint32_t)size;
    memcpy(probe->path, path, size);
    message->kind = MESSAGE_SYSTEM;
    message->from = ctx->self;
    return message;
}

// Sends a probe to whom future asks, behind that ask; or behind what the stream has
// asked of which it is an item.
static bool
send_probe(void *arg, struct future *future)
{
    const struct onward *onward = arg;
    hark_ctx *ctx = onward->ctx;
    const struct future *ask = future;
    uint32_t items = 0;

    if (hark__future_is_item(future)) {
        ask = hark__item_ask(ctx, future, &items);
    }
    if (ask == NULL) {
        return true; // the stream is over, and so the item will be
    }
    bool is_far = !hark__is_here(ctx, ask->target);
    struct hark_message *message =
        new_probe(onward, is_far
                              || (onward->before != NULL
                                  && onward->before->from.node != ctx->node->id));
    if (message == NULL) {
        return false;
    }
    struct probe *probe = (struct probe *)(message + 1);
    if (onward->before == NULL) {
        probe->wait = future->id;
    }
    probe->asked = is_far ? ask->number : ask->id;
    probe->items = items;
    // Who has ended deadlocks nobody.
    return hark__send(ctx, ask->target, message) != HARK_ENOMEM;
}

// It cannot be found out whether a wait is part of a circle, in which nothing else would
// end it: that does.
static __attribute__((cold, noinline)) void
give_up(hark_ctx *ctx, struct await *await)
{
    hark__wait_break(ctx_waits(ctx), await, HARK_ENOMEM,
                     "no memory to find out whether it waits for itself");
}

void
hark__probe_begin_anew(hark_ctx *ctx, struct await *await)
{
    if (!hark__needs_each_way(ctx, await, send_probe,
                              &(struct onward){.ctx = ctx, .await = await})) {
        give_up(ctx, await);
        return;
    }
    hark__deadlock_note_probe(ctx, await);
}

void
hark__probe_begin(hark_ctx *ctx, struct await *await)
{
    if (await->nonce == 0) {
        uint64_t nonce = ctx->node->env->ops->random(ctx->node->env) | NONCE_SENT;

        await->nonce = hark__needs_choice(ctx, await) ? nonce | NONCE_CHOICE
                                                      : nonce & ~(uint64_t)NONCE_CHOICE;
        hark__probe_begin_anew(ctx, await);
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
            hark__probe_begin(ctx, await);
        }
    }
}

// ---- proving: the way on ----

static const struct probe *
probe_of(const struct list *link)
{
    return CONTAINER_OF(link, const struct probe, by_waits);
}

static struct hark_message *
message_of(struct list *link)
{
    return (struct hark_message *)CONTAINER_OF(link, struct probe, by_waits) - 1;
}

static bool
is_same_wait(const struct probe *a, const struct probe *b)
{
    return a->nonce == b->nonce && a->wait == b->wait
           && hark_ref_equal(a->origin, b->origin);
}

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
see_other(void *arg, struct future *future)
{
    return future->id != *(const uint64_t *)arg;
}

// What has come back to a wait.
struct returned {
    const hark_ctx *ctx;
    struct waits *waits;
    const struct await *await;
    struct hark_message *message; // the probe of the last that was asked about
};

static bool
has_returned(void *arg, struct future *future)
{
    struct returned *returned = arg;

    for (struct list *link = returned->waits->kept.next; link != &returned->waits->kept;
         link = link->next) {
        const struct probe *probe = probe_of(link);

        if (probe->nonce != returned->await->nonce || probe->wait != future->id) {
            continue;
        }
        struct debt debt =
            hark__debt_find(returned->ctx, returned->waits, message_of(link), probe);
        if (debt.is_owed && hark__debt_waits_for(&debt, returned->await)) {
            returned->message = message_of(link);
            return true;
        }
    }
    return false;
}

// The wait that a probe of ctx's actor was sent for. NULL: it is over.
static struct await *
find_origin(const struct waits *waits, const struct probe *probe)
{
    for (struct list *link = waits->suspended.next; link != &waits->suspended;
         link = link->next) {
        struct await *await = CONTAINER_OF(link, struct await, by_state);

        // 0: that wait has sent none.
        if (await->nonce != 0 && await->nonce == probe->nonce) {
            return await;
        }
    }
    return NULL;
}

// A probe that is kept has come back to its origin, where one of several may do: if
// none of them can, all end.
static void
judge(hark_ctx *ctx, struct waits *waits, const struct hark_message *message)
{
    const struct probe *probe = (const struct probe *)(message + 1);
    struct returned returned = {.ctx = ctx, .waits = waits};
    struct future *dead;

    if (hark_ref_equal(probe->origin, ctx->self)) {
        returned.await = find_origin(waits, probe);
    }
    waits->is_judging = true; // so that message stays
    while (returned.await != NULL && returned.await->waits
           && (dead = hark__needs_dead(ctx, returned.await, has_returned, &returned))
                  != NULL) {
        (void)has_returned(&returned, dead);
        end_ask(ctx, dead, returned.message);
    }
    waits->is_judging = false;
}

// The probe has come back to await, which it was sent for. True: it is to be kept, until
// others have.
static bool
come_back(hark_ctx *ctx, const struct await *await, const struct hark_message *message)
{
    uint64_t wait = ((const struct probe *)(message + 1))->wait;

    if (!hark__needs_each(ctx, await, see_other, &wait)) {
        end_ask(ctx, hark__future_find(ctx_futures(ctx), wait), message);
        return false;
    }
    return hark__needs_choice(ctx, await);
}

// Has the same probe gone along await, about another ask that came before?
static bool
has_gone(const hark_ctx *ctx, struct waits *waits, const struct hark_message *message,
         const struct await *await)
{
    const struct probe *probe = (const struct probe *)(message + 1);

    for (struct list *link = waits->kept.next; link != &waits->kept;
         link = link->next) {
        const struct probe *kept = probe_of(link);

        if (kept == probe) {
            break; // what follows came later
        }
        if (is_same_wait(kept, probe)) {
            struct debt debt = hark__debt_find(ctx, waits, message_of(link), kept);

            if (debt.is_owed && hark__debt_waits_for(&debt, await)) {
                return true;
            }
        }
    }
    return false;
}

// The probe goes on along await. Where it has been before, or is not enough, await sends
// its own: there may be a circle that the origin is not in.
static void
go_along(hark_ctx *ctx, struct waits *waits, const struct hark_message *message,
         struct await *await)
{
    if (has_gone(ctx, waits, message, await)) {
        hark__probe_begin(ctx, await);
        return;
    }
    if (!hark__needs_each(ctx, await, send_probe,
                          &(struct onward){ctx, await, message})) {
        give_up(ctx, await);
        return;
    }
    if (hark__needs_choice(ctx, await)) {
        hark__probe_begin(ctx, await);
    } else {
        hark__deadlock_note_probe(ctx, await);
    }
}

typedef void see_wait(hark_ctx *ctx, struct waits *waits,
                      const struct hark_message *message, struct await *await);

// Calls see for each wait that keeps the debt from being paid.
static void
each_blocking(hark_ctx *ctx, struct waits *waits, const struct hark_message *message,
              const struct debt *debt, see_wait *see)
{
    if (waits->exclusive + waits->chained == 0) {
        if (debt->handler != NULL && debt->handler->waits) {
            see(ctx, waits, message, debt->handler);
        }
        return;
    }
    for (struct list *link = waits->suspended.next, *next; link != &waits->suspended;
         link = next) {
        struct await *await = CONTAINER_OF(link, struct await, by_state);

        next = link->next; // a wait that is seen may end
        if (hark__debt_waits_for(debt, await)) {
            see(ctx, waits, message, await);
        }
    }
}

// Sees to a probe that has come. False: it is of no use any more.
static bool
pass_on(hark_ctx *ctx, struct waits *waits, const struct hark_message *message)
{
    const struct probe *probe = (const struct probe *)(message + 1);
    struct debt debt = hark__debt_find(ctx, waits, message, probe);

    if (!debt.is_owed || probe->hops >= HOPS) {
        return false;
    }
    if (hark_ref_equal(probe->origin, ctx->self)) {
        const struct await *origin = find_origin(waits, probe);

        if (origin == NULL || hark__debt_waits_for(&debt, origin)) {
            return origin != NULL && come_back(ctx, origin, message);
        } // it has come by another handler of the same actor
    }
    each_blocking(ctx, waits, message, &debt, go_along);
    return true;
}

// ---- keeping ----

static void
drop(hark_ctx *ctx, struct waits *waits, struct list *link)
{
    hark__list_remove(link);
    waits->kept_count--;
    waits->kept_choices -= (probe_of(link)->nonce & NONCE_CHOICE) != 0;
    hark__message_drop(ctx_pool(ctx), message_of(link));
}

static void
keep(hark_ctx *ctx, struct waits *waits, struct hark_message *message)
{
    struct probe *probe = (struct probe *)(message + 1);
    struct request *request = hark__requests_find(
        ctx->slot->extra->requests, (struct request_name){message->from, probe->asked});

    if (request != NULL) {
        request->is_probed = true;
    } else {
        waits->keeps_aside = true;
    }
    message->flags |= MESSAGE_HELD;
    hark__list_append(&waits->kept, &probe->by_waits);
    waits->kept_count++;
    waits->kept_choices += (probe->nonce & NONCE_CHOICE) != 0;
}

// The same probe, about the same ask: then it goes round in a circle that its origin is
// not in.
static bool
is_kept(const struct waits *waits, const struct hark_message *message)
{
    const struct probe *probe = (const struct probe *)(message + 1);

    for (struct list *link = waits->kept.next; link != &waits->kept;
         link = link->next) {
        const struct probe *kept = probe_of(link);

        if (is_same_wait(kept, probe) && kept->asked == probe->asked
            && hark_ref_equal(message_of(link)->from, message->from)) {
            return true;
        }
    }
    return false;
}

// Lets go of those of what is owed no more.
static void
tidy(hark_ctx *ctx, struct waits *waits)
{
    struct list *link = waits->kept.next;

    while (link != &waits->kept) {
        struct list *next = link->next;

        if (!hark__debt_find(ctx, waits, message_of(link), probe_of(link)).is_owed) {
            drop(ctx, waits, link);
        }
        link = next;
    }
}

// Heeds a probe that is kept, if it is about what cannot be paid before await, which has
// begun, goes on. True: await is to send its own in its place.
static bool
heed(hark_ctx *ctx, struct waits *waits, const struct hark_message *message,
     const struct debt *debt, struct await *await)
{
    const struct probe *probe = (const struct probe *)(message + 1);

    if (!hark__debt_waits_for(debt, await)) {
        return false;
    }
    if (probe->nonce & NONCE_CHOICE) { // that of await would not pass its origin
        go_along(ctx, waits, message, await);
        return false;
    }
    return true;
}

// The same with all, as far as need be.
static bool
heed_kept(hark_ctx *ctx, struct waits *waits, struct await *await)
{
    struct list *link = waits->kept.next;
    bool is_heeded = false;

    while (link != &waits->kept && (!is_heeded || waits->kept_choices > 0)) {
        struct list *next = link->next;
        struct debt debt =
            hark__debt_find(ctx, waits, message_of(link), probe_of(link));

        if (debt.is_owed) {
            is_heeded |= heed(ctx, waits, message_of(link), &debt, await);
        } else if (!waits->is_judging) {
            drop(ctx, waits, link);
        }
        link = next;
    }
    return is_heeded;
}

// May a probe be kept about what the handler, which lets all others run, has in hand?
static bool
is_probed(const hark_ctx *handler)
{
    const struct request *request = handler->request;

    while (request != NULL && !request->is_probed) {
        request = request->outer;
    }
    return request != NULL || (handler->request == NULL && handler->owes_answer);
}

// Which of those that are kept are of use still is looked at now and then only, where
// that may take long: what is set aside may be much.
static bool
is_likely_awaited(struct waits *waits, const struct await *begun)
{
    return begun->lock == LOCK_ALL && waits->keeps_aside && waits->kept_choices == 0
           && ++waits->guesses % GUESSES != 0;
}

void
hark__probes_pass_on(hark_ctx *ctx, struct waits *waits, struct await *begun)
{
    if (waits->kept_count > 0
        && (begun->lock != LOCK_NOBODY || waits->keeps_aside || is_probed(begun->ctx))
        && (is_likely_awaited(waits, begun) || heed_kept(ctx, waits, begun))) {
        hark__probe_begin(ctx, begun);
    }
}

void
hark__probes_tidy(hark_ctx *ctx, struct waits *waits)
{
    if (waits->kept_count > 0) {
        tidy(ctx, waits);
    }
    waits->keeps_aside = waits->keeps_aside && waits->kept_count > 0;
}

void
hark__probes_fini(hark_ctx *ctx, struct waits *waits)
{
    while (!hark__list_is_empty(&waits->kept)) {
        drop(ctx, waits, waits->kept.next);
    }
}

// ---- what comes ----

static void
begin_along(hark_ctx *ctx, struct waits *waits, const struct hark_message *message,
            struct await *await)
{
    (void)waits;
    (void)message;
    hark__probe_begin(ctx, await);
}

// A probe that has gone round: those that it comes by send theirs.
static void
begin_own(hark_ctx *ctx, struct waits *waits, const struct hark_message *message)
{
    struct debt debt =
        hark__debt_find(ctx, waits, message, (const struct probe *)(message + 1));

    if (debt.is_owed) {
        each_blocking(ctx, waits, message, &debt, begin_along);
    }
}

// Is there room for one more that is kept? It is looked for rarely when there is none.
static bool
has_room(hark_ctx *ctx, struct waits *waits)
{
    if (waits->kept_count >= KEPT && waits->turned_away++ % TIDY == 0) {
        hark__probes_tidy(ctx, waits);
    }
    return waits->kept_count < KEPT;
}

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
    if (waits != NULL && is_kept(waits, message)) {
        begin_own(ctx, waits, message);
    } else if (waits != NULL && pass_on(ctx, waits, message) && has_room(ctx, waits)) {
        keep(ctx, waits, message);
        judge(ctx, waits, message);
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
