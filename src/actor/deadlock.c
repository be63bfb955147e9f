#include "actor/deadlock.h"

#include <stdio.h>

#include "message/failure.h"

enum {
    CIRCLE = 1000,      // the longest that is looked for
    NAMED = 16,         // actors that a probe remembers the names of
    TEXT = NAMED * 100, // of an error
};

// What is sent around.
struct probe {
    hark_ref origin; // whose wait is in question
    uint64_t wait;   // for which of its futures
    hark_ref asker;  // who waits for the one that gets this
    uint64_t asked;  // by which of its futures
    uint32_t hops;
    hark_ref named[NAMED]; // the first of those that it has come by
};

// ---- suspecting ----

static bool
leads_back(hark_ctx *ctx, uint32_t index)
{
    for (int i = 0; i < CIRCLE; i++) {
        if (index == ctx->slot->index) {
            return true;
        }
        struct slot *slot = hark__slot_at(&ctx->node->slots, index);
        if (slot == NULL) {
            return false;
        }
        // seq_cst: after the store in hark__deadlock_look; see deadlock.h.
        uint32_t next = atomic_load_explicit(&slot->waits_for, memory_order_seq_cst);
        if (next == 0) {
            return false;
        }
        index = next - 1;
    }
    return false;
}

// To whom future asks, behind that ask.
static void
send_probe(hark_ctx *ctx, const struct future *future, const struct probe *before)
{
    struct hark_message *message =
        hark__message_alloc(ctx_pool(ctx), NULL, sizeof(struct probe));

    if (message == NULL) {
        return; // timeouts end it
    }
    struct probe *probe = hark__message_payload(message);
    if (before != NULL) {
        *probe = *before;
    } else {
        *probe = (struct probe){.origin = ctx->self, .wait = future->id};
    }
    probe->asker = ctx->self;
    probe->asked = future->id;
    if (probe->hops < NAMED) {
        probe->named[probe->hops] = ctx->self;
    }
    probe->hops++;
    message->kind = MESSAGE_SYSTEM;
    (void)hark__send(ctx, future->target, message); // who has ended deadlocks nobody
}

void
hark__deadlock_look(hark_ctx *ctx, const struct future *future)
{
    if (future->asked == NULL || future->computed != NULL
        || future->target.node != ctx->node->id) {
        return;
    }
    uint32_t index = (uint32_t)future->target.actor;

    // seq_cst: before the loads in leads_back; see deadlock.h.
    atomic_store_explicit(&ctx->slot->waits_for, index + 1, memory_order_seq_cst);
    if (leads_back(ctx, index)) {
        send_probe(ctx, future, NULL);
    }
}

void
hark__deadlock_forget(hark_ctx *ctx)
{
    // relaxed: who sees the mark too long only sends a probe in vain.
    atomic_store_explicit(&ctx->slot->waits_for, 0, memory_order_relaxed);
}

// ---- proving ----

static bool
is_asked(const struct hark_message *message, const struct probe *probe)
{
    return message->kind == MESSAGE_ASK && message->correlation == probe->asked
           && hark_ref_equal(message->from, probe->asker);
}

static bool
is_owed_in(const struct list *list, const struct probe *probe)
{
    for (const struct list *link = list->next; link != list; link = link->next) {
        const struct await *await = CONTAINER_OF(link, const struct await, by_state);

        if (await->ctx->owes_answer && is_asked(await->ctx->message, probe)) {
            return true;
        }
    }
    return false;
}

// Does this actor still owe the answer that the probe's sender waits for?
static bool
is_owed(const hark_ctx *ctx, const struct waits *waits, const struct probe *probe)
{
    const struct hark_message *message = ctx->slot->current;

    if (message != NULL && (message->flags & MESSAGE_ASIDE)
        && is_asked(message, probe)) {
        return true;
    }
    for (message = waits->first_aside; message != NULL;
         // relaxed: ours alone.
         message = atomic_load_explicit(&message->next, memory_order_relaxed)) {
        if (is_asked(message, probe)) {
            return true;
        }
    }
    return is_owed_in(&waits->suspended, probe) || is_owed_in(&waits->due, probe);
}

// The handler that lets nobody else run; NULL: it is about to go on.
static struct await *
who_blocks(const struct waits *waits)
{
    for (struct list *link = waits->suspended.next; link != &waits->suspended;
         link = link->next) {
        struct await *await = CONTAINER_OF(link, struct await, by_state);

        if (await->mode == HARK_WAIT_EXCLUSIVE) {
            return await;
        }
    }
    return NULL;
}

// "a<..> waits for b<..> waits for a<..>". Returns its length.
static size_t
describe(hark_ctx *ctx, const struct probe *probe, char *text, size_t size)
{
    size_t used = 0;
    uint32_t named = probe->hops < NAMED ? probe->hops : NAMED;

    for (uint32_t i = 0; i < named && used < size; i++) {
        used += hark_ref_print(ctx, probe->named[i], text + used, size - used);
        if (used < size) {
            used +=
                (size_t)snprintf(text + used, size - used, " waits for %s",
                                 i + 1 < probe->hops && i + 1 == named ? "... " : "");
        }
    }
    if (used < size) {
        used += hark_ref_print(ctx, ctx->self, text + used, size - used);
    }
    return used < size ? used : size - 1;
}

// The ask that closes the circle ends, here and where it waits.
static void
end_ask(hark_ctx *ctx, struct future *future, const struct probe *probe)
{
    struct futures *futures = ctx_futures(ctx);
    char text[TEXT];
    size_t size = describe(ctx, probe, text, sizeof text);
    // Without memory for it the code must do.
    struct hark_message *failure = hark__failure_new(
        ctx_pool(ctx), future->id, HARK_EDEADLK, HARK_STAGE_QUEUED, text, size);

    hark__future_unwant(futures->hooks, ctx, future);
    hark__future_complete(futures, ctx, future, failure, HARK_EDEADLK,
                          HARK_STAGE_QUEUED, hark__env_now(ctx->node->env));
}

void
hark__deadlock_probe(hark_ctx *ctx, const struct hark_message *message)
{
    const struct probe *probe = (const struct probe *)(message + 1);
    struct waits *waits = ctx->is_thread ? NULL : ctx_waits(ctx);
    struct await *await = waits != NULL ? who_blocks(waits) : NULL;

    if (await == NULL || !is_owed(ctx, waits, probe)) {
        return;
    }
    struct future *future = hark__future_find(ctx_futures(ctx), await->future);
    if (future == NULL || future->state != FUTURE_OPEN || future->asked == NULL
        || future->computed != NULL || future->target.node != ctx->node->id) {
        return;
    }
    if (!hark_ref_equal(ctx->self, probe->origin)) {
        if (probe->hops < CIRCLE) {
            send_probe(ctx, future, probe);
        }
    } else if (future->id == probe->wait) {
        end_ask(ctx, future, probe);
    }
}
