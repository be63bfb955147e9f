// The turn: what a worker does with an actor that has something to do, as much as its
// budget (budget.h) allows.
//
// The slot may have no actor (any more): then what it finds is undeliverable. The
// message in hand stays in the mailbox's chain until the next one is there or the actor
// sleeps (mailbox.h).

#include "actor/turn.h"

#include <inttypes.h>
#include <stdio.h>

#include "actor/await.h"
#include "actor/chain_id.h"
#include "actor/owed.h"
#include "actor/request.h"
#include "actor/stream.h"

static inline const hark_behavior *
behavior_of(const struct slot *slot)
{
    // relaxed: its writer is the reader of the mailbox, which we are.
    return atomic_load_explicit(&slot->behavior, memory_order_relaxed);
}

// ---- the actor's end ----

// A handler, hook or continuation has returned.
static __attribute__((noinline)) void
end_invocation(hark_ctx *ctx)
{
    if (ctx->scopes != NULL) { // of a hook
        hark__scopes_leave(ctx);
    }
    if (ctx->request != NULL) { // shields of a hook
        hark__request_let_go(ctx, NULL);
    }
    if (ctx->await != NULL) {
        hark__await_end(ctx);
    }
    if (ctx->opened != NULL) {
        hark__streams_close_opened(ctx);
    }
    hark__scratch_free(ctx);
}

static void
stop_actor(hark_ctx *ctx)
{
    struct slot *slot = ctx->slot;
    const hark_behavior *behavior = behavior_of(slot);

    ctx->message = NULL;
    ctx->chain_id = 0;
    ctx->owes_answer = false;
    ctx->trace = slot->spawned;
    slot->heed |= SLOT_STOPPING;
    if (behavior->stop != NULL && !slot->start_owed) {
        behavior->stop(ctx, hark__slot_state(slot));
        end_invocation(ctx);
    }
    slot->start_owed = false;
    hark__slot_vacate(ctx);
    hark__slot_free(&ctx->node->slots, &ctx->seat->cache, slot);
    hark__seat_count_end(ctx->seat);
}

// ---- handlers ----

// Another shared object's descriptor of the same type? NULL: no handler.
static __attribute__((cold, noinline)) const hark_clause *
find_equal_clause(const hark_behavior *behavior, const hark_type *type)
{
    for (uint32_t i = 0; i < behavior->clause_count; i++) {
        if (hark_type_equal(behavior->clauses[i].type, type)) {
            return &behavior->clauses[i];
        }
    }
    return NULL;
}

static inline const hark_clause *
find_clause(const hark_behavior *behavior, const hark_type *type)
{
    for (uint32_t i = 0; i < behavior->clause_count; i++) {
        if (behavior->clauses[i].type == type) {
            return &behavior->clauses[i];
        }
    }
    return find_equal_clause(behavior, type);
}

static __attribute__((cold, noinline)) void
refuse_unhandled(hark_ctx *ctx, struct hark_message *message)
{
    hark__bounce_message(ctx, ctx->self, message, HARK_ENOHANDLER, HARK_STAGE_RUNNING,
                         NULL);
}

static __attribute__((cold, noinline)) void
refuse_unanswered(hark_ctx *ctx, struct hark_message *message)
{
    // And its handler may have seen that.
    bool is_late = message->deadline_ns <= hark__env_now(ctx->node->env);
    int code = message->generation == ASK_STARVED ? HARK_ENOMEM
               : is_late                          ? HARK_ETIMEOUT
                                                  : HARK_ENOREPLY;

    ctx->owes_answer = false;
    if (ctx->request == NULL || hark__request_answered(ctx) == HARK_OK) {
        hark__fail_ask(ctx, message, code, HARK_STAGE_RUNNING, NULL);
    }
}

// Is an ask to be run? A close look is rarely needed.
static inline bool
is_wanted(hark_ctx *ctx, struct hark_message *message)
{
    const struct extra *extra = ctx->slot->extra;

    if (message->deadline_ns > hark__worker_now(ctx->worker)
        && message->from.node == ctx->node->id
        && (extra == NULL || extra->requests == NULL
            || !hark__requests_are_missing(extra->requests))) {
        return true;
    }
    return hark__ask_is_wanted(ctx, message);
}

// meanwhile: handlers of this actor wait.
static inline __attribute__((always_inline)) void
handle(hark_ctx *ctx, struct hark_message *message, bool meanwhile)
{
    const hark_behavior *behavior = behavior_of(ctx->slot);
    const hark_clause *clause = find_clause(behavior, message->type);
    bool is_ask = message->kind == MESSAGE_ASK;

    if (is_ask && !is_wanted(ctx, message)) {
        return;
    }
    if (clause == NULL) {
        refuse_unhandled(ctx, message);
        return;
    }
    ctx->chain_id =
        (is_ask ? hark__chain_of_ask(message, ctx->node->id) : message->correlation)
        | (meanwhile ? hark__waits_unseen(ctx) : 0);
    ctx->message = message;
    ctx->owes_answer = is_ask;
    clause->run(ctx, hark__slot_state(ctx->slot), message + 1);
    if (ctx->owes_answer) {
        refuse_unanswered(ctx, message);
    }
    if (ctx->scopes != NULL) {
        hark__scopes_leave(ctx);
    }
    if (ctx->request != NULL) {
        hark__request_let_go(ctx, NULL);
    }
    ctx->message = NULL;
}

void
hark__heed_flags(hark_ctx *ctx, const struct hark_message *message)
{
    if (message->flags & MESSAGE_COUNTED) {
        // relaxed: a count; see count_waiting.
        atomic_fetch_sub_explicit(&ctx->slot->waiting, 1, memory_order_relaxed);
    }
    if (message->flags & MESSAGE_MARKED) {
        hark__see_mark(ctx, message);
        hark__timer_see(ctx, message);
    }
}

static inline __attribute__((always_inline)) void
dispatch(hark_ctx *ctx, struct hark_message *message, bool meanwhile)
{
    struct slot *slot = ctx->slot;

    if (message->flags & (MESSAGE_COUNTED | MESSAGE_MARKED)) {
        hark__heed_flags(ctx, message);
    }
    // relaxed: only the reader writes it.
    if (message->generation
        != atomic_load_explicit(&slot->generation, memory_order_relaxed)) {
        hark__refuse_late(ctx, message);
    } else if (message->kind <= MESSAGE_ASK) {
        handle(ctx, message, meanwhile);
    } else {
        hark__complete(ctx, message);
    }
    if (ctx->scratch != NULL) {
        end_invocation(ctx);
    }
}

// Away from the common path, which has its own copy.
void
hark__turn_dispatch_meanwhile(hark_ctx *ctx, struct hark_message *message)
{
    dispatch(ctx, message, true);
}

static void
start_actor(hark_ctx *ctx)
{
    ctx->slot->start_owed = false;
    ctx->trace = ctx->slot->spawned; // for whose sake the hook runs
    behavior_of(ctx->slot)->start(ctx, hark__slot_state(ctx->slot));
    end_invocation(ctx);
    ctx->trace = 0;
}

// ---- the turn ----

// Ends the actor if it is to end, and no handler waits.
static void
stop_if_due(hark_ctx *ctx)
{
    const struct slot *slot = ctx->slot;

    if ((slot->heed & (SLOT_EXITING | SLOT_STOPPING)) == SLOT_EXITING
        && (!(slot->heed & SLOT_WAITS) || slot->extra->waits->count == 0)) {
        stop_actor(ctx);
    }
}

void
hark__turn_settle(hark_ctx *ctx)
{
    ctx->chain_id = 0; // what runs now has one of its own, or none
    do {
        hark__futures_end_turn(ctx);
        if (ctx->scratch != NULL) {
            end_invocation(ctx); // may end futures: of streams that are closed with it
        }
        // A continuation that ran just now may have called hark_exit.
        if (ctx->slot->heed & SLOT_EXITING) {
            stop_if_due(ctx);
        }
    } while (has_futures_to_settle(ctx->slot->extra));
}

void
hark__turn_come_back(hark_ctx *ctx, struct hark_message *last)
{
    ctx->slot->current = last;
    hark__sched_yield(ctx->worker, &ctx->slot->task);
}

void
hark__turn_take_system(hark_ctx *ctx)
{
    hark__take_news(ctx);
    stop_if_due(ctx);
    if (ctx->scratch != NULL) {
        end_invocation(ctx); // of an error on the way
    }
}

// Its own copy of the steps below is away from the common path.
static inline bool
run_waiting(hark_ctx *ctx, struct budget *budget)
{
    return hark__waiting_run(ctx, budget);
}

// Returns how many messages it took.
static uint32_t
run_slot(hark_ctx *ctx)
{
    struct slot *slot = ctx->slot;
    struct budget budget = {0, 0};

    // exiting before it has started: its name was taken, and it never lives.
    if (slot->start_owed && slot->heed == 0) {
        start_actor(ctx);
    }
    for (;;) {
        if (hark__mailbox_has_system(&slot->box) || slot->heed != 0) {
            look_at_system(ctx);
            if ((slot->heed & SLOT_WAITS) && run_waiting(ctx, &budget)) {
                return budget.used;
            }
        }
        struct hark_message *next = hark__mailbox_next(&slot->box, slot->current);
        if (next == NULL) {
            end_turn(ctx);
            if (sleep_slot(ctx)) {
                return budget.used;
            }
            continue;
        }
        let_go(ctx, slot->current);
        slot->current = next;
        next->flags |= MESSAGE_CHAINED;
        dispatch(ctx, next, false);
        if (is_spent(ctx, &budget)) {
            look_at_system(ctx);
            end_turn(ctx);
            hark__sched_yield(ctx->worker, &slot->task);
            return budget.used;
        }
    }
}

void
hark__actor_run(struct task *task, struct worker *worker, void *local)
{
    struct slot *slot = CONTAINER_OF(task, struct slot, task);
    struct seat *seat = local;
    hark_ctx ctx;

    ctx_begin(&ctx, seat, worker, slot);
    if (slot->life == SLOT_ACTOR) {
        // relaxed: only the reader writes it.
        uint32_t generation =
            atomic_load_explicit(&slot->generation, memory_order_relaxed);

        ctx.self = (hark_ref){seat->node->id, hark__slot_name(slot->index, generation)};
    }
    uint32_t units = run_slot(&ctx);
    hark__worker_did(ctx.worker, units); // which may be another than it began on
}

void
hark__actor_rest(struct task *task, struct worker *worker, void *local)
{
    struct slot *slot = CONTAINER_OF(task, struct slot, task);
    const struct waits *waits = slot->extra->waits;
    hark_ctx ctx;

    ctx_begin(&ctx, local, worker, slot);
    if (slot->heed != SLOT_WAITS || waits->first_aside != NULL
        || !hark__list_is_empty(&waits->due) || has_futures_to_settle(slot->extra)
        || hark__mailbox_has_next(&slot->box, slot->current)
        || hark__mailbox_has_system(&slot->box) || !sleep_slot(&ctx)) {
        hark__actor_run(task, worker, local);
    }
}

void
hark__actor_print(const struct task *task, char *out, size_t size)
{
    const struct slot *slot = CONTAINER_OF(task, const struct slot, task);
    const struct hark_message *message = slot->current;
    const hark_behavior *behavior = behavior_of(slot);
    bool is_handler = message != NULL && message->kind <= MESSAGE_ASK
                      && message->type != NULL && !(slot->heed & SLOT_WAITS);
    // relaxed: only the reader writes it.
    uint32_t generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);

    snprintf(out, size, "%s<%" PRIu32 ".%" PRIu32 ">%s%s",
             behavior != NULL ? behavior->name : "actor", slot->index, generation,
             is_handler ? " in " : "", is_handler ? message->type->name : "");
}
