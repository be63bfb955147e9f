#include "actor/deadlock.h"

enum { CIRCLE = 1000 }; // the longest that is looked for

// waits_for: several; the other bits are of the chain for whose sake.
#define WIDE (UINT32_C(1) << 31)

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

// next is the mark of the first on the way. An actor that waits for several is a way
// back if it does so for the sake of the same request: then that has come back to where
// it was.
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
            && !hark__await_each_ask(ctx, await, mark_ask, &marking)) {
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
    return !hark__await_each_ask(ctx, await, see_way_back, ctx);
}

// The mark says more than it did, and those who followed it before have not seen that.
void
hark__deadlock_forget_one(hark_ctx *ctx, const struct waits *waits)
{
    uint32_t mark = mark_of(ctx, waits);

    // seq_cst: before the loads in next_mark; see deadlock.h.
    atomic_store_explicit(&ctx->slot->waits_for, mark, memory_order_seq_cst);
    if (mark != 0 && !(mark & WIDE) && leads_back(ctx, mark)) {
        hark__probes_begin(ctx, waits);
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
        hark__probes_begin(ctx, waits);
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
        hark__probes_begin(ctx, waits);
    }
    hark__probes_pass_on(ctx, waits, await);
}

// The actor whose mark is next may stand in a circle.
static __attribute__((noinline)) void
look_on(hark_ctx *ctx, uint32_t next)
{
    if (comes_back(ctx, next)) {
        hark__probes_begin(ctx, ctx_waits(ctx));
    }
}

void
hark__deadlock_look(hark_ctx *ctx, struct await *await, const struct future *future)
{
    const struct extra *extra = ctx->slot->extra;
    const struct waits *waits = extra->waits;

    await->nonce = 0;
    if (await->lock == LOCK_NOBODY || !hark__future_is_ask(future) || waits->count > 1
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
