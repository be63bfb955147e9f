#include "actor/debt.h"

#include "actor/stream.h"

enum { LOOK = 64 }; // handlers that wait, through which a probe looks one by one

static bool
is_asked(const struct hark_message *message, const struct hark_message *from,
         const struct probe *probe)
{
    return message->kind == MESSAGE_ASK && message->correlation == probe->asked
           && hark_ref_equal(message->from, from->from);
}

// Does the handler of ctx wait, with that ask in hand?
static bool
has_in_hand(const hark_ctx *ctx, const struct hark_message *message,
            const struct probe *probe)
{
    const struct await *await = ctx->await;

    return await != NULL && (await->waits || !hark__list_is_empty(&await->by_state))
           && ctx->owes_answer && is_asked(ctx->message, message, probe);
}

static struct await *
find_in_list(const struct list *list, const struct hark_message *message,
             const struct probe *probe)
{
    for (struct list *link = list->next; link != list; link = link->next) {
        struct await *await = CONTAINER_OF(link, struct await, by_state);

        if (has_in_hand(await->ctx, message, probe)) {
            return await;
        }
    }
    return NULL;
}

// request: what is known by the ask's name; NULL: nothing.
static struct await *
find_handler(const struct waits *waits, const struct request *request,
             const struct hark_message *message, const struct probe *probe)
{
    struct await *await = NULL;

    if (request != NULL && request->turn != NULL) {
        const hark_ctx *handler = request->turn;

        return has_in_hand(handler, message, probe) ? handler->await : NULL;
    }
    if (waits->count <= LOOK) { // its request may have found no memory
        await = find_in_list(&waits->suspended, message, probe);
    }
    if (await == NULL && waits->count <= LOOK) {
        await = find_in_list(&waits->due, message, probe);
    }
    return await;
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
debt_until(const hark_ctx *ctx, int64_t deadline_ns, struct await *handler,
           uint64_t chain_id)
{
    bool is_owed =
        deadline_ns == INT64_MAX || deadline_ns > hark__env_now(ctx->node->env);

    return (struct debt){is_owed, false, handler, chain_id};
}

// The answer was deferred: all of the actor's code may give it, and callbacks of futures
// made of others run even while nobody is let in. Of a stream an item may be on its way.
static struct debt
debt_deferred(const hark_ctx *ctx, const struct request *request,
              const struct probe *probe)
{
    struct debt debt = debt_until(ctx, request->deadline_ns, NULL, 0);
    const struct futures *futures = ctx_futures(ctx);

    debt.is_free = futures != NULL && futures->calling > 0;
    if (request->producer != NULL && hark__producer_sent(request) != probe->items) {
        debt.is_owed = false;
    }
    return debt;
}

struct debt
hark__debt_find(const hark_ctx *ctx, const struct waits *waits,
                const struct hark_message *message, const struct probe *probe)
{
    const struct request *request = hark__requests_find(
        ctx->slot->extra->requests, (struct request_name){message->from, probe->asked});

    if (request != NULL && request->state != REQUEST_OPEN) {
        return (struct debt){false, false, NULL, 0};
    }
    struct await *handler = find_handler(waits, request, message, probe);
    if (handler != NULL) {
        return debt_until(ctx, handler->ctx->message->deadline_ns, handler,
                          handler->ctx->chain_id);
    }
    if (request != NULL) {
        return debt_deferred(ctx, request, probe);
    }
    const struct hark_message *aside = find_aside(ctx, waits, message, probe);
    return aside != NULL ? debt_until(ctx, aside->deadline_ns, NULL,
                                      hark__chain_of_ask(aside, ctx->node->id))
                         : (struct debt){false, false, NULL, 0};
}

bool
hark__debt_waits_for(const struct debt *debt, const struct await *await)
{
    return await == debt->handler || (await->lock == LOCK_ALL && !debt->is_free)
           || (await->lock == LOCK_OTHERS && debt->chain_id != 0
               && !hark__chain_is_same(await->ctx->chain_id, debt->chain_id));
}
