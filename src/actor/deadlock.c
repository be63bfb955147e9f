#include "actor/deadlock.h"

enum {
    CIRCLE = 1000,              // the longest that is looked for
    FEW = 4,                    // handlers that wait, of which a mark can tell
    DOUBT_NS = 5 * 1000 * 1000, // a wait in doubt lasts so long before a probe goes
};

// waits_for: WIDE: several; the lower bits are a filter of the chains for whose sake.
// PROBED: nobody is let in, and a probe has gone along that wait.
#define WIDE (UINT32_C(1) << 31)
#define PROBED (UINT32_C(1) << 30)
#define LOW_BITS (PROBED - 1)
#define ANY_CHAIN LOW_BITS

// ---- suspecting: marks ----

enum suspicion { CLEAR, IN_DOUBT, SUSPECTED };

// A chain's in the filter.
static uint32_t
chain_bits(uint64_t chain_id)
{
    enum { BITS = 30 };

    return UINT32_C(1) << (uint32_t)(chain_id & 0xFFFF) % BITS
           | UINT32_C(1) << (uint32_t)(chain_id >> 16 & 0xFFFF) % BITS
           | UINT32_C(1) << (uint32_t)(chain_id >> 32 & 0xFFFF) % BITS;
}

// The mark of the actor that mark, which is simple, says. 0: it has none.
static inline uint32_t
next_mark(const hark_ctx *ctx, uint32_t mark)
{
    struct slot *slot = hark__slot_at(&ctx->node->slots, (mark & LOW_BITS) - 1);

    // seq_cst: after the store of our own mark; see deadlock.h.
    return slot != NULL ? atomic_load_explicit(&slot->waits_for, memory_order_seq_cst)
                        : 0;
}

// Where does the way lead whose first mark is next, for the sake of that chain?
static __attribute__((noinline)) enum suspicion
follow(const hark_ctx *ctx, uint64_t chain_id, uint32_t next)
{
    for (int i = 0; i < CIRCLE && next != 0; i++) {
        if (next & WIDE) {
            uint32_t chains = next & LOW_BITS;
            uint32_t own = chain_bits(chain_id);

            return chains != ANY_CHAIN && (chains & own) == own ? SUSPECTED : IN_DOUBT;
        }
        if ((next & LOW_BITS) - 1 == ctx->slot->index) {
            return SUSPECTED;
        }
        next = next_mark(ctx, next);
    }
    return CLEAR;
}

// 0: future asks somebody of another node.
static uint32_t
simple_mark(const hark_ctx *ctx, const struct future *future)
{
    return future->target.node == ctx->node->id
               ? ((uint32_t)future->target.actor + 1) & LOW_BITS
               : 0;
}

// The mark that says what some handlers wait for.
struct marking {
    const hark_ctx *ctx;
    uint32_t mark;   // of the one for whom they wait; 0: nobody here
    uint32_t chains; // the filter
    uint64_t chain_id;
    bool is_wide;
};

static bool
mark_ask(void *arg, struct future *future)
{
    struct marking *marking = arg;
    uint32_t mark = simple_mark(marking->ctx, future);

    if (mark != 0) {
        marking->is_wide =
            marking->is_wide || (marking->mark != 0 && mark != marking->mark);
        marking->mark = mark;
        marking->chains |= chain_bits(marking->chain_id);
    }
    return true;
}

static uint32_t
mark_of(const hark_ctx *ctx, const struct waits *waits)
{
    struct marking marking = {.ctx = ctx};
    uint32_t probed = 0;

    for (struct list *link = waits->suspended.next; link != &waits->suspended;
         link = link->next) {
        const struct await *await = CONTAINER_OF(link, struct await, by_state);

        marking.chain_id = await->ctx->chain_id;
        (void)hark__needs_each_way(ctx, await, mark_ask, &marking);
        if (await->lock == LOCK_ALL && (await->circle & AWAIT_PROBED)) {
            probed = PROBED;
        }
    }
    if (marking.mark == 0) {
        return 0;
    }
    return (marking.is_wide ? WIDE | marking.chains : marking.mark) | probed;
}

// Of many it would take long to say for whom they wait.
static uint32_t
mark_of_few(const hark_ctx *ctx, const struct waits *waits)
{
    return waits->count <= FEW ? mark_of(ctx, waits) : WIDE | ANY_CHAIN;
}

struct looking {
    hark_ctx *ctx;
    uint64_t chain_id;
    enum suspicion found;
    bool is_again; // whom a probe has gone along already is left out
};

static bool
look_along(void *arg, struct future *future)
{
    struct looking *looking = arg;
    uint32_t mark = simple_mark(looking->ctx, future);
    uint32_t next = mark != 0 ? next_mark(looking->ctx, mark) : 0;

    if (next == 0 || (looking->is_again && (next & PROBED))) {
        return true;
    }
    enum suspicion found = follow(looking->ctx, looking->chain_id, next);
    looking->found = found > looking->found ? found : looking->found;
    return looking->found != SUSPECTED;
}

static enum suspicion
look(hark_ctx *ctx, const struct await *await, bool is_again)
{
    struct looking looking = {ctx, await->ctx->chain_id, CLEAR, is_again};

    (void)hark__needs_each_way(ctx, await, look_along, &looking);
    return looking.found;
}

// ---- doubt ----

static void
doubt(hark_ctx *ctx, struct await *await)
{
    if (!(await->circle & AWAIT_DOUBTED)) {
        await->circle |= AWAIT_DOUBTED;
        hark__list_append(&ctx_waits(ctx)->doubtful, &await->by_doubt);
    }
    hark__clock_arm(ctx, hark__worker_now(ctx->worker) + DOUBT_NS);
}

static void
doubt_no_more(struct await *await)
{
    if (await->circle & AWAIT_DOUBTED) {
        await->circle &= (uint8_t)~AWAIT_DOUBTED;
        hark__list_remove(&await->by_doubt);
    }
}

int64_t
hark__deadlock_look_again(hark_ctx *ctx, int64_t due_ns)
{
    struct waits *waits = ctx_waits(ctx);

    while (waits != NULL && !hark__list_is_empty(&waits->doubtful)) {
        struct await *await =
            CONTAINER_OF(waits->doubtful.next, struct await, by_doubt);

        if (await->waits && await->since_ns + DOUBT_NS > due_ns) {
            return await->since_ns + DOUBT_NS;
        }
        doubt_no_more(await);
        if (await->waits && look(ctx, await, true) != CLEAR) {
            hark__probe_begin(ctx, await);
        }
    }
    return INT64_MAX;
}

void
hark__deadlock_note_probe(hark_ctx *ctx, struct await *await)
{
    // relaxed: ours alone to write.
    uint32_t mark = atomic_load_explicit(&ctx->slot->waits_for, memory_order_relaxed);

    await->circle |= AWAIT_PROBED;
    if (await->lock == LOCK_ALL && mark != 0) {
        // relaxed: who has not seen it sends a probe in vain; who sees it too long has
        // come before the next wait, which looks for itself.
        atomic_store_explicit(&ctx->slot->waits_for, mark | PROBED,
                              memory_order_relaxed);
    }
}

// The mark says less than it did, and who has followed it before is in doubt.
void
hark__deadlock_forget_one(hark_ctx *ctx, struct waits *waits, struct await *await)
{
    doubt_no_more(await);
    if (waits->count <= FEW) {
        // relaxed: as in hark__deadlock_forget.
        atomic_store_explicit(&ctx->slot->waits_for, mark_of(ctx, waits),
                              memory_order_relaxed);
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

static void
heed(hark_ctx *ctx, struct await *await, enum suspicion found)
{
    if (found == SUSPECTED) {
        hark__probe_begin(ctx, await);
    } else if (found == IN_DOUBT) {
        doubt(ctx, await);
    }
}

// The general case of hark__deadlock_look; also when what a wait needs has changed.
static __attribute__((noinline)) void
look_closely(hark_ctx *ctx, struct await *await)
{
    struct waits *waits = ctx_waits(ctx);

    // seq_cst: before the loads in next_mark; see deadlock.h.
    atomic_store_explicit(&ctx->slot->waits_for, mark_of_few(ctx, waits),
                          memory_order_seq_cst);
    heed(ctx, await, look(ctx, await, false));
    if (await->lock != LOCK_NOBODY && is_waited_for(ctx, waits, await)) {
        hark__probes_begin(ctx, waits);
    }
    hark__probes_pass_on(ctx, waits, await);
}

void
hark__deadlock_follow(hark_ctx *ctx, const struct future *future)
{
    struct await *await = hark__needs_of(ctx, future);

    if (await == NULL) {
        return;
    }
    look_closely(ctx, await);
    if (await->nonce != 0) {
        hark__probe_begin_anew(ctx, await);
    }
}

// The actor whose mark is next may stand in a circle.
static __attribute__((noinline)) void
look_on(hark_ctx *ctx, struct await *await, uint32_t next)
{
    heed(ctx, await, follow(ctx, ctx->chain_id, next));
}

void
hark__deadlock_look(hark_ctx *ctx, struct await *await, const struct future *future)
{
    const struct extra *extra = ctx->slot->extra;
    const struct waits *waits = extra->waits;

    await->nonce = 0;
    await->circle = 0;
    if (!hark__future_is_ask(future) || waits->count > 1 || waits->kept_count > 0
        || waits->has_unseen || extra->promises != NULL) {
        look_closely(ctx, await);
        return;
    }
    uint32_t mark = simple_mark(ctx, future);
    // seq_cst: before the loads in next_mark; see deadlock.h.
    atomic_store_explicit(&ctx->slot->waits_for, mark, memory_order_seq_cst);
    uint32_t next = mark != 0 ? next_mark(ctx, mark) : 0;
    if (next != 0) {
        look_on(ctx, await, next);
    }
}
