#include "actor/ctx.h"

#include <string.h>

#include "actor/names.h"

static const hark_ref nobody = {0, 0};

// ---- checks ----

static bool
is_sound(const hark_behavior *behavior)
{
    if (behavior == NULL || behavior->name == NULL
        || (behavior->clause_count > 0 && behavior->clauses == NULL)) {
        return false;
    }
    for (uint32_t i = 0; i < behavior->clause_count; i++) {
        if (behavior->clauses[i].type == NULL || behavior->clauses[i].run == NULL) {
            return false;
        }
    }
    return true;
}

static struct known_behavior *
known_place(struct seat *seat, const hark_behavior *behavior)
{
    uintptr_t address = (uintptr_t)behavior;

    return &seat->known[(address >> 4 ^ address >> 10) % SEAT_BEHAVIORS];
}

// Makes the behavior's types known to the wire; once a behavior and seat is enough.
static hark_err
learn(hark_ctx *ctx, const hark_behavior *behavior)
{
    struct known_behavior *known = known_place(ctx->seat, behavior);

    if (known->behavior == behavior) {
        return HARK_OK;
    }
    if (!is_sound(behavior)) {
        return hark__ctx_error(
            ctx, HARK_EINVAL,
            "hark_spawn: the behavior has no name, or a clause without "
            "type or handler");
    }
    for (uint32_t i = 0; i < behavior->clause_count; i++) {
        const hark_type *type = behavior->clauses[i].type;
        hark_err err = hark__registry_add(ctx->node->registry, type);

        if (err != HARK_OK) {
            return hark__ctx_error(
                ctx, err == HARK_EEXIST ? HARK_ETYPE : err,
                "hark_spawn: %s: message type %s: %s", behavior->name,
                type->name != NULL ? type->name : "(no name)",
                err == HARK_EEXIST ? "another type has that name, or one nested in it"
                                   : hark_err_text(err));
        }
    }
    known->behavior = behavior;
    return HARK_OK;
}

// ---- birth ----

// Copies the state into the claimed slot, or a block that it has. False: no memory.
static bool
set_state(hark_ctx *ctx, struct slot *slot, const hark_behavior *behavior,
          const void *state)
{
    void *to = slot->state.inside;

    if (behavior->state_size > SLOT_STATE) {
        to = hark__pool_alloc(ctx_pool(ctx), behavior->state_size, &slot->state_class);
        if (to == NULL) {
            return false;
        }
        slot->state.outside = to;
    }
    if (state != NULL) {
        memcpy(to, state, behavior->state_size);
    } else {
        memset(to, 0, behavior->state_size);
    }
    return true;
}

// The claimed slot becomes an actor. Returns its ref; we are still its reader.
static hark_ref
give_birth(hark_ctx *ctx, struct slot *slot, const hark_behavior *behavior,
           uint32_t mailbox_limit)
{
    // relaxed: only the reader, which we are, writes it.
    uint32_t generation =
        atomic_load_explicit(&slot->generation, memory_order_relaxed) + 1;

    slot->task.run = hark__actor_run;
    slot->life = SLOT_ACTOR;
    slot->start_owed = behavior->start != NULL;
    slot->heed = 0;
    // relaxed, both: published by generation, or read for a name only.
    atomic_store_explicit(&slot->limit, mailbox_limit, memory_order_relaxed);
    atomic_store_explicit(&slot->behavior, behavior, memory_order_relaxed);
    // release: pairs with the acquire in behavior_name.
    atomic_store_explicit(&slot->generation, generation, memory_order_release);
    return (hark_ref){ctx->node->id, hark__slot_name(slot->index, generation)};
}

// Lets others find the new actor: it sleeps, or has its first turn.
static void
let_go(hark_ctx *ctx, struct slot *slot)
{
    if (slot->start_owed || hark__mailbox_sleep(&slot->box, NULL) != MAILBOX_ASLEEP) {
        hark__schedule(ctx, slot);
    }
}

// Counts a birth. False: the system stops, and it must not be.
static bool
announce(hark_ctx *ctx)
{
    struct seat *seat = ctx->seat;
    // relaxed: one writer.
    uint64_t born = atomic_load_explicit(&seat->born, memory_order_relaxed);

    // seq_cst, then the load: node_stop writes stopping and then counts, so one of us
    // sees the other.
    atomic_store_explicit(&seat->born, born + 1, memory_order_seq_cst);
    if (!atomic_load_explicit(&ctx->node->stopping, memory_order_seq_cst)) {
        return true;
    }
    hark__seat_count(&seat->ended);
    return false;
}

static void
unclaim(hark_ctx *ctx, struct slot *slot)
{
    slot->task.run = hark__actor_run;
    hark__slot_free(&ctx->node->slots, &ctx->seat->cache, slot);
    let_go(ctx, slot);
}

static __attribute__((cold, noinline)) hark_ref
refuse_full(hark_ctx *ctx, const hark_behavior *behavior)
{
    hark__ctx_error(ctx, HARK_ELIMIT,
                    "hark_spawn: %s: the limit of %u actors and threads is reached "
                    "(hark_options.actor_limit), or there is no memory",
                    behavior->name, (unsigned)ctx->node->slots.limit);
    return nobody;
}

// The claimed slot has no state.
static __attribute__((cold, noinline)) hark_ref
refuse_stateless(hark_ctx *ctx, struct slot *slot, const hark_behavior *behavior)
{
    unclaim(ctx, slot);
    hark__ctx_error(ctx, HARK_ENOMEM, "hark_spawn: %s: no memory", behavior->name);
    return nobody;
}

static __attribute__((cold, noinline)) hark_ref
refuse_stopping(hark_ctx *ctx, struct slot *slot, const hark_behavior *behavior)
{
    if (behavior->state_size > SLOT_STATE) {
        hark__pool_free(ctx_pool(ctx), slot->state.outside, slot->state_class);
    }
    unclaim(ctx, slot);
    hark__ctx_error(ctx, HARK_ESTOPPED, "hark_spawn: %s: the system stops",
                    behavior->name);
    return nobody;
}

// False: it ends without having lived.
static bool
take_name(hark_ctx *ctx, struct slot *slot, const char *name, hark_ref ref)
{
    if (hark_register(ctx, name, ref) == HARK_OK) {
        return true;
    }
    slot->heed = SLOT_EXITING;
    slot->start_owed = true; // so that it has a turn
    return false;
}

hark_ref
hark_spawn_at(hark_ctx *ctx, const char *site, const hark_behavior *behavior,
              const void *state, const hark_spawn_options *options)
{
    if (ctx == NULL || behavior == NULL) {
        hark__ctx_error(ctx, HARK_EINVAL, "hark_spawn: null argument");
        return nobody;
    }
    if (learn(ctx, behavior) != HARK_OK) {
        return nobody;
    }
    struct node *node = ctx->node;
    struct slot *slot = hark__slot_claim(&node->slots, &ctx->seat->cache);
    if (slot == NULL) {
        return refuse_full(ctx, behavior);
    }
    if (!set_state(ctx, slot, behavior, state)) {
        return refuse_stateless(ctx, slot, behavior);
    }
    if (!announce(ctx)) {
        return refuse_stopping(ctx, slot, behavior);
    }
    uint32_t limit = options != NULL && options->mailbox_limit != 0
                         ? options->mailbox_limit
                         : node->limits.mailbox;
    slot->spawned = ctx->slot != NULL ? hark__trace_of(ctx, site, TRACE_SPAWNED) : 0;
    hark_ref ref = give_birth(ctx, slot, behavior, limit);
    bool is_born = options == NULL || options->name == NULL
                   || take_name(ctx, slot, options->name, ref);
    let_go(ctx, slot);
    return is_born ? ref : nobody;
}

hark_ref
hark_spawn_ref(hark_ctx *ctx, const hark_behavior *behavior, const void *state,
               const hark_spawn_options *options)
{
    return hark_spawn_at(ctx, NULL, behavior, state, options);
}

hark_err
hark_spawn_value(hark_ctx *ctx, const hark_behavior *behavior, const void *state,
                 const hark_spawn_options *options, hark_ref *out_ref)
{
    if (out_ref == NULL) {
        return hark__ctx_error(ctx, HARK_EINVAL, "hark_spawn: null argument");
    }
    hark_ref ref = hark_spawn_at(ctx, NULL, behavior, state, options);
    if (hark_ref_is_null(ref)) {
        hark_err err = (hark_err)hark_error_of(ctx)->code;

        return err != HARK_OK ? err
                              : HARK_ENOMEM; // there was none for the error either
    }
    *out_ref = ref;
    return HARK_OK;
}
