// What is done with an actor by its ref, besides sending to it: to see whether it lives,
// to name it, to stop it.

#include <string.h>

#include "actor/ctx.h"
#include "actor/names.h"

// ---- living ----

static struct slot *
live_slot(const hark_ctx *ctx, hark_ref ref)
{
    struct slot *slot = hark__slot_at(&ctx->node->slots, (uint32_t)ref.actor);
    uint32_t generation = (uint32_t)(ref.actor >> 32);

    // seq_cst: for hark_register, see names.h; others need less.
    return slot != NULL && hark__generation_lives(generation)
                   && atomic_load_explicit(&slot->generation, memory_order_seq_cst)
                          == generation
               ? slot
               : NULL;
}

// False: it has ended.
static bool
mark_named(hark_ctx *ctx, hark_ref actor)
{
    hark__slots_enter(ctx);
    struct slot *slot = live_slot(ctx, actor);
    if (slot != NULL) {
        // seq_cst, then live_slot's load: see names.h.
        atomic_store_explicit(&slot->named, true, memory_order_seq_cst);
        slot = live_slot(ctx, actor);
    }
    hark__slots_leave(ctx);
    return slot != NULL;
}

bool
hark_is_alive(hark_ctx *ctx, hark_ref actor)
{
    if (ctx == NULL || hark_ref_is_null(actor)) {
        return false;
    }
    if (hark__is_here(ctx, actor)) {
        return live_slot(ctx, actor) != NULL;
    }
    struct target *target = hark__targets_find(&ctx->node->targets, actor.node);
    return target != NULL && target->is_up(target);
}

// ---- names ----

static const char gone[] = "has ended, or never was";

static __attribute__((cold, noinline)) hark_err
refuse_ref(hark_ctx *ctx, hark_err err, const char *call, hark_ref ref, const char *why)
{
    char text[REF_TEXT];
    size_t used = 0;

    hark__append_whom(ctx, ref, text, sizeof text, &used);
    return hark__ctx_error(ctx, err, "%s: %s %s", call, text, why);
}

static __attribute__((cold, noinline)) hark_err
refuse_name(hark_ctx *ctx, hark_err err, const char *name)
{
    char holder[REF_TEXT];

    if (err == HARK_EEXIST) {
        hark_ref_print(ctx, hark__names_find(ctx->node->names, name, strlen(name)),
                       holder, sizeof holder); // nobody, if it has just been let go
        return hark__ctx_error(ctx, err, "name \"%.255s\": already taken, by %s", name,
                               holder);
    }
    return hark__ctx_error(ctx, err, "name \"%.255s\": %s", name,
                           err == HARK_EINVAL ? "must have 1 to 255 bytes and no slash"
                                              : hark_err_text(err));
}

hark_err
hark_register(hark_ctx *ctx, const char *name, hark_ref actor)
{
    if (ctx == NULL || name == NULL) {
        return hark__ctx_error(ctx, HARK_EINVAL, "hark_register: null argument");
    }
    if (!hark__is_here(ctx, actor)) {
        return refuse_ref(ctx, HARK_EINVAL, "hark_register", actor,
                          "is not of this node");
    }
    if (live_slot(ctx, actor) == NULL) {
        return refuse_ref(ctx, HARK_ENOACTOR, "hark_register", actor, gone);
    }
    actor.node = ctx->node->id;
    hark_err err = hark__names_add(ctx->node->names, name, actor);
    if (err != HARK_OK) {
        return refuse_name(ctx, err, name);
    }
    if (!mark_named(ctx, actor)) {
        hark__names_forget(ctx->node->names, actor.actor);
        return refuse_ref(ctx, HARK_ENOACTOR, "hark_register", actor, gone);
    }
    return HARK_OK;
}

hark_err
hark_unregister(hark_ctx *ctx, const char *name)
{
    if (ctx == NULL) {
        return HARK_EINVAL;
    }
    hark_err err = hark__names_remove(ctx->node->names, name);
    if (err != HARK_OK) {
        return hark__ctx_error(ctx, err, "no actor is named \"%.255s\"",
                               name != NULL ? name : "");
    }
    return HARK_OK;
}

// ---- stopping ----

hark_err
hark_actor_stop(hark_ctx *ctx, hark_ref actor)
{
    if (ctx == NULL || hark_ref_is_null(actor)) {
        return hark__ctx_error(ctx, HARK_EINVAL, "hark_actor_stop: null argument");
    }
    if (!hark__is_here(ctx, actor)) {
        return refuse_ref(ctx, HARK_ENOTSUP, "hark_actor_stop", actor,
                          "cannot be stopped from another node: tell it to stop");
    }
    if (ctx->worker != NULL && ctx->self.actor == actor.actor) {
        hark_exit(ctx);
        return HARK_OK;
    }
    struct slot *slot = live_slot(ctx, actor);
    if (slot == NULL) {
        return refuse_ref(ctx, HARK_ENOACTOR, "hark_actor_stop", actor, gone);
    }
    // relaxed: live_slot has seen the birth that set it; a thread has none.
    if (atomic_load_explicit(&slot->behavior, memory_order_relaxed) == NULL) {
        return live_slot(ctx, actor) != NULL
                   ? hark__ctx_error(ctx, HARK_ENOTSUP,
                                     "hark_actor_stop: it is an attached thread")
                   : refuse_ref(ctx, HARK_ENOACTOR, "hark_actor_stop", actor, gone);
    }
    return hark__send_system(ctx, actor, SYSTEM_STOP)
               ? HARK_OK
               : hark__ctx_error(ctx, HARK_ENOMEM, "hark_actor_stop: no memory");
}

void
hark_exit(hark_ctx *ctx)
{
    if (ctx != NULL && ctx->slot != NULL && !ctx->is_thread) {
        ctx->slot->heed |= SLOT_EXITING;
    }
}
