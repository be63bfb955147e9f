#include "actor/ctx.h"

#include <string.h>

#include "actor/names.h"

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
        hark__sched_submit(ctx->node->sched, ctx->worker, &slot->task);
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

static hark_err
spawn(hark_ctx *ctx, const hark_behavior *behavior, const void *state,
      const hark_spawn_options *options, hark_ref *out_ref)
{
    struct node *node = ctx->node;
    struct slot *slot = hark__slot_claim(&node->slots, &ctx->seat->cache);

    if (slot == NULL) {
        return hark__ctx_error(
            ctx, HARK_ELIMIT,
            "hark_spawn: %s: the limit of %u actors is reached, or there "
            "is no memory",
            behavior->name, (unsigned)node->slots.limit);
    }
    if (!set_state(ctx, slot, behavior, state)) {
        unclaim(ctx, slot);
        return hark__ctx_error(ctx, HARK_ENOMEM, "hark_spawn: %s: no memory",
                               behavior->name);
    }
    if (!announce(ctx)) {
        if (behavior->state_size > SLOT_STATE) {
            hark__pool_free(ctx_pool(ctx), slot->state.outside, slot->state_class);
        }
        unclaim(ctx, slot);
        return hark__ctx_error(ctx, HARK_ESTOPPED, "hark_spawn: %s: the system stops",
                               behavior->name);
    }
    uint32_t limit = options != NULL && options->mailbox_limit != 0
                         ? options->mailbox_limit
                         : node->limits.mailbox;
    hark_ref ref = give_birth(ctx, slot, behavior, limit);
    hark_err err = HARK_OK;
    if (options != NULL && options->name != NULL) {
        err = hark_register(ctx, options->name, ref);
        if (err != HARK_OK) {
            slot->heed = SLOT_EXITING;
            slot->start_owed = true; // so that it has a turn
        }
    }
    if (err == HARK_OK) {
        *out_ref = ref;
    }
    let_go(ctx, slot);
    return err;
}

hark_err
hark_spawn_value(hark_ctx *ctx, const hark_behavior *behavior, const void *state,
                 const hark_spawn_options *options, hark_ref *out_ref)
{
    if (ctx == NULL || behavior == NULL || out_ref == NULL) {
        return hark__ctx_error(ctx, HARK_EINVAL, "hark_spawn: null argument");
    }
    hark_err err = learn(ctx, behavior);
    return err != HARK_OK ? err : spawn(ctx, behavior, state, options, out_ref);
}

hark_ref
hark_spawn_ref(hark_ctx *ctx, const hark_behavior *behavior, const void *state,
               const hark_spawn_options *options)
{
    hark_ref ref = {0, 0};
    hark_err err = hark_spawn_value(ctx, behavior, state, options, &ref);

    return err == HARK_OK ? ref : (hark_ref){0, 0};
}
