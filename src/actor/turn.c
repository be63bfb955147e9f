// The turn: what a worker does with an actor that has something to do.
//
// One turn takes up to TURN_MESSAGES messages, about TURN_NS, or ends when it has sent
// TURN_SENDS: so those who are sent to read what is still in the cache, and mailboxes
// stay short. The slot may have no actor (any more): then what it finds is undeliverable. The message in hand stays in
// the mailbox's chain until the next one is there or the actor sleeps (mailbox.h).

#include "actor/await.h"
#include "actor/chain_id.h"
#include "actor/ctx.h"
#include "actor/deadlock.h"
#include "actor/names.h"
#include "actor/owed.h"
#include "actor/request.h"
#include "actor/stream.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    TURN_MESSAGES = 4096,
    TURN_LOOK = 16, // messages between looks at the clock
    TURN_NS = 50 * 1000,
    TURN_SENDS = 256,
};

static inline const hark_behavior *
behavior_of(const struct slot *slot)
{
    // relaxed: its writer is the reader of the mailbox, which we are.
    return atomic_load_explicit(&slot->behavior, memory_order_relaxed);
}

// ---- the actor's end ----

static void
free_extra(hark_ctx *ctx, struct extra *extra)
{
    if (extra->promises != NULL) {
        hark__promises_free(ctx, extra->promises);
    }
    if (extra->futures != NULL) {
        hark__futures_free(extra->futures, ctx_pool(ctx), ctx);
    }
    if (extra->waits != NULL) {
        hark__waits_free(ctx, extra->waits);
    }
    if (extra->requests != NULL) {
        hark__requests_free(extra->requests, ctx_pool(ctx));
    }
    free(extra);
}

// For somebody who lived here before.
__attribute__((cold)) void
hark__refuse_late(hark_ctx *ctx, struct hark_message *message)
{
    hark_ref to = {ctx->node->id,
                   hark__slot_name(ctx->slot->index, message->generation)};

    hark__bounce_message(ctx, to, message, HARK_ESTOPPED, HARK_STAGE_QUEUED,
                         "the actor stopped before it looked at the message");
}

// The message in hand was to be set aside, by an actor that has ended.
static void
forget_aside(hark_ctx *ctx)
{
    struct hark_message *message = ctx->slot->current;

    if (message != NULL && (message->flags & MESSAGE_ASIDE)) {
        message->flags &= (uint8_t)~MESSAGE_ASIDE;
        hark__refuse_late(ctx, message);
    }
}

void
hark__slot_vacate(hark_ctx *ctx)
{
    struct slot *slot = ctx->slot;
    // relaxed: only the reader writes it.
    uint32_t generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);

    // seq_cst, then the load of named: see names.h.
    atomic_store_explicit(&slot->generation, generation + 1, memory_order_seq_cst);
    if (atomic_load_explicit(&slot->named, memory_order_seq_cst)) {
        // relaxed: the next to live here starts without a name.
        atomic_store_explicit(&slot->named, false, memory_order_relaxed);
        hark__names_forget(ctx->node->names, ctx->self.actor);
    }
    if (slot->extra != NULL) {
        struct extra *extra = slot->extra;

        free_extra(ctx, extra);
        slot->extra = NULL;
        // relaxed: see hark_dump.
        atomic_store_explicit(&slot->asks, false, memory_order_relaxed);
        forget_aside(ctx);
    }
    const hark_behavior *behavior = behavior_of(slot);
    if (behavior != NULL && behavior->state_size > SLOT_STATE) {
        hark__pool_free(ctx_pool(ctx), slot->state.outside, slot->state_class);
    }
    // relaxed: others read it only for its name.
    atomic_store_explicit(&slot->behavior, NULL, memory_order_relaxed);
    // relaxed: nobody here has requests.
    atomic_store_explicit(&slot->foreign, false, memory_order_relaxed);
    atomic_store_explicit(&slot->waits, false, memory_order_relaxed); // as above
    slot->life = SLOT_FREE;
    slot->heed = 0;
    ctx->self = (hark_ref){0, 0};
}

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

static void
start_actor(hark_ctx *ctx)
{
    ctx->slot->start_owed = false;
    ctx->trace = ctx->slot->spawned; // for whose sake the hook runs
    behavior_of(ctx->slot)->start(ctx, hark__slot_state(ctx->slot));
    end_invocation(ctx);
    ctx->trace = 0;
}

// ---- system messages ----

static void
be_told_to_stop(struct slot *slot)
{
    slot->heed |= SLOT_EXITING | SLOT_TOLD;
    if (slot->extra != NULL && slot->extra->waits != NULL
        && !(slot->heed & SLOT_STOPPING)) {
        hark__waits_break(slot->extra->waits, HARK_ESTOPPED, "the actor is to stop");
    }
}

// For the actor that lives here.
static void
heed(hark_ctx *ctx, struct hark_message *message)
{
    struct slot *slot = ctx->slot;

    switch ((enum system_code)message->code) {
    case SYSTEM_STOP:
        be_told_to_stop(slot);
        if (message->correlation != 0
            && !hark__promise_end(ctx, message->from, message->correlation)) {
            hark__fail_ask(ctx, message, HARK_ENOMEM, HARK_STAGE_RUNNING, NULL);
        }
        break;
    case SYSTEM_TIMEOUTS: // the end of a turn sees to them
        hark__timer_came(ctx);
        break;
    case SYSTEM_CANCEL:
        hark__cancel_came(ctx, message->from, message->correlation);
        break;
    case SYSTEM_DUMP:
        hark__dump_came(ctx, message);
        break;
    case SYSTEM_LOST:
        hark__loss_came(ctx, message->from.node);
        break;
    case SYSTEM_CREDIT:
        hark__credit_came(ctx, message);
        break;
    }
}

static void
tell_end(hark_ctx *ctx, struct hark_message *asks)
{
    hark__fail_ask(ctx, asks, HARK_ESTOPPED, HARK_STAGE_RUNNING, NULL);
}

static void
handle_system(hark_ctx *ctx, struct hark_message *message)
{
    struct slot *slot = ctx->slot;

    while (message != NULL) {
        // relaxed: ours since it was taken from the lane.
        struct hark_message *next =
            atomic_load_explicit(&message->next, memory_order_relaxed);

        // relaxed: only the reader writes it.
        if (message->generation
            == atomic_load_explicit(&slot->generation, memory_order_relaxed)) {
            heed(ctx, message);
        } else if ((message->code == SYSTEM_STOP && message->correlation != 0)
                   || message->code == SYSTEM_DUMP) {
            tell_end(ctx, message); // it had ended before
        }
        hark__system_free(ctx, message);
        message = next;
    }
}

// ---- the turn ----

static inline bool
has_futures_to_settle(const struct extra *extra)
{
    return extra != NULL && extra->futures != NULL
           && (extra->expired || hark__futures_are_unsettled(extra->futures));
}

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

static __attribute__((noinline)) void
settle_futures(hark_ctx *ctx)
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

// What belongs to the end of a turn, and must be done before the actor can be found by
// another worker.
static inline void
end_turn(hark_ctx *ctx)
{
    if (has_futures_to_settle(ctx->slot->extra)) {
        settle_futures(ctx);
    }
    if (ctx->target_count > 0) {
        hark__ctx_flush(ctx);
    }
}

// Takes message, which was in hand, from the chain.
static inline void
let_go(hark_ctx *ctx, struct hark_message *message)
{
    if (message == NULL) {
        return;
    }
    if (message->flags & (MESSAGE_HELD | MESSAGE_OWED)) {
        hark__ask_unchain(ctx, message);
    } else {
        hark__message_free(ctx_pool(ctx), message);
    }
}

// A sender has swapped the tail and is about to link its message behind last.
static __attribute__((noinline)) void
come_back(hark_ctx *ctx, struct hark_message *last)
{
    ctx->slot->current = last;
    hark__sched_yield(ctx->worker, &ctx->slot->task);
}

// Does no handler that waits keep any message from being handled?
static bool
admits_all(const struct slot *slot)
{
    const struct waits *waits = slot->extra->waits;

    return !(slot->heed & SLOT_EXITING) && waits->exclusive == 0 && waits->chained == 0;
}

// May it be handled? It is for handlers.
static bool
admits(const hark_ctx *ctx, const struct hark_message *message)
{
    const struct slot *slot = ctx->slot;

    return admits_all(slot)
           || (!(slot->heed & SLOT_EXITING)
               && hark__waits_admit(slot->extra->waits,
                                    hark__chain_of(message, ctx->node->id)));
}

// As sleep_slot, with a message in hand that somebody keeps: it is theirs before another
// reader can be there.
static __attribute__((noinline)) bool
sleep_with_kept(hark_ctx *ctx, struct hark_message *last)
{
    struct slot *slot = ctx->slot;
    struct waits *waits = ctx_waits(ctx);
    struct hark_message *before = waits != NULL ? waits->last_aside : NULL;
    uint8_t flags = last->flags;

    if (flags & MESSAGE_ASIDE) {
        assert(waits != NULL); // who marked it
        if (admits(ctx, last)) {
            return false; // the handler that kept it from being handled has gone on
        }
    }
    slot->current = NULL;
    last->flags &= (uint8_t) ~(MESSAGE_CHAINED | MESSAGE_HELD | MESSAGE_ASIDE);
    if (flags & MESSAGE_ASIDE) {
        assert(waits != NULL); // who marked it
        hark__waits_append_aside(waits, last);
    }
    enum mailbox_end end = hark__mailbox_sleep(&slot->box, last);
    if (end == MAILBOX_MORE) { // it stays in the chain
        if (flags & MESSAGE_ASIDE) {
            hark__waits_cut_aside(waits, before);
        }
        last->flags = flags;
        come_back(ctx, last);
        return true;
    }
    if ((flags & (MESSAGE_HELD | MESSAGE_ASIDE)) == 0) { // nobody's
        hark__ask_send_owed(ctx, last);
    }
    return end == MAILBOX_ASLEEP;
}

// True: the slot is not ours any more.
static inline bool
sleep_slot(hark_ctx *ctx)
{
    struct slot *slot = ctx->slot;
    struct hark_message *last = slot->current;

    if (last != NULL && (last->flags & (MESSAGE_HELD | MESSAGE_ASIDE | MESSAGE_OWED))) {
        return sleep_with_kept(ctx, last);
    }
    slot->current = NULL; // before another reader can be there
    enum mailbox_end end = hark__mailbox_sleep(&slot->box, last);
    if (end == MAILBOX_MORE) {
        come_back(ctx, last);
        return true;
    }
    if (last != NULL) {
        hark__message_free(ctx_pool(ctx), last);
    }
    return end == MAILBOX_ASLEEP;
}

void
hark__take_news(hark_ctx *ctx)
{
    struct hark_message *system = hark__mailbox_take_system(&ctx->slot->box);

    if (system != NULL) {
        handle_system(ctx, system);
    }
}

static __attribute__((noinline)) void
take_system(hark_ctx *ctx)
{
    hark__take_news(ctx);
    stop_if_due(ctx);
    if (ctx->scratch != NULL) {
        end_invocation(ctx); // of an error on the way
    }
}

static inline void
look_at_system(hark_ctx *ctx)
{
    if (hark__mailbox_has_system(&ctx->slot->box)
        || (ctx->slot->heed & ~SLOT_WAITS) != 0) {
        take_system(ctx);
    }
}

// The turn's allowance.
struct budget {
    uint32_t used;    // messages
    int64_t start_ns; // of the clock's first look; 0: none yet
};

// By the coarse clock, which is cheap: has this worker not looked around for long? Then
// a handler of this turn, or some together, took long.
static bool
is_late(const hark_ctx *ctx)
{
    struct env *env = ctx->node->env;
    int64_t lag_ns;
    int64_t now_ns = env->ops->now_coarse_ns(env, &lag_ns);

    return now_ns > hark__worker_now(ctx->worker) + TURN_NS;
}

static bool
is_out_of_time(hark_ctx *ctx, struct budget *budget)
{
    int64_t now_ns = hark__env_now(ctx->node->env);

    if (budget->start_ns == 0) {
        budget->start_ns = now_ns;
    }
    return budget->used >= TURN_MESSAGES || now_ns - budget->start_ns > TURN_NS;
}

// After the first messages, ever more apart, we look at a cheap clock if more wait, and
// then regularly at the exact one: a turn of quick handlers costs no clock, and one of
// slow ones is short.
static inline bool
is_spent(hark_ctx *ctx, struct budget *budget)
{
    uint32_t used = ++budget->used;

    if (ctx->sent >= TURN_SENDS) {
        return true;
    }
    if (used % TURN_LOOK == 0) {
        return is_out_of_time(ctx, budget);
    }
    return (used & (used + 1)) == 0 // 1, 3, 7, 15
           && used < TURN_LOOK
           && hark__mailbox_has_next(&ctx->slot->box, ctx->slot->current)
           && is_late(ctx);
}

// ---- while handlers wait ----

// Away from the common path, which has its own copy.
static __attribute__((noinline)) void
dispatch_meanwhile(hark_ctx *ctx, struct hark_message *message)
{
    dispatch(ctx, message, true);
}

// As let_go, or sets the message aside.
static void
let_go_aside(hark_ctx *ctx, struct hark_message *message)
{
    if (message != NULL && (message->flags & MESSAGE_ASIDE)) {
        hark__waits_set_aside(ctx_waits(ctx), message);
    } else {
        let_go(ctx, message);
    }
}

static bool
is_for_handlers(const struct slot *slot, const struct hark_message *message)
{
    // relaxed: only the reader writes it.
    return message->kind <= MESSAGE_ASK
           && message->generation
                  == atomic_load_explicit(&slot->generation, memory_order_relaxed);
}

// It is in hand, and is to be handled later; unless it is an ask whose cancel has come
// before: by then that may be forgotten, since the message it waits for may pass this one.
static void
set_aside(hark_ctx *ctx, struct hark_message *message)
{
    const struct requests *requests = ctx->slot->extra->requests;

    if (message->kind == MESSAGE_ASK && requests != NULL
        && hark__requests_are_missing(requests) && !hark__ask_is_wanted(ctx, message)) {
        hark__heed_flags(ctx, message);
        return;
    }
    message->flags |= MESSAGE_ASIDE;
    hark__deadlock_aside(ctx, message);
    if (message->flags & MESSAGE_MARKED) {
        hark__timer_see(ctx, message); // it is no answer
    }
}

// Handles the message in hand if it was to be set aside, and now may be handled. False: it
// is none such.
static bool
take_marked(hark_ctx *ctx)
{
    struct hark_message *message = ctx->slot->current;

    if (message == NULL || !(message->flags & MESSAGE_ASIDE) || !admits(ctx, message)) {
        return false;
    }
    message->flags &= (uint8_t)~MESSAGE_ASIDE;
    dispatch_meanwhile(ctx, message);
    return true;
}

// Takes the next message from the mailbox, and handles it or marks it as set aside.
// False: there is none.
static bool
take_next(hark_ctx *ctx)
{
    struct slot *slot = ctx->slot;

    if (take_marked(ctx)) {
        return true;
    }
    struct hark_message *next = hark__mailbox_next(&slot->box, slot->current);
    if (next == NULL) {
        return false;
    }
    let_go_aside(ctx, slot->current);
    slot->current = next;
    next->flags |= MESSAGE_CHAINED;
    if (is_for_handlers(slot, next) && !admits(ctx, next)) {
        set_aside(ctx, next);
    } else {
        dispatch_meanwhile(ctx, next);
    }
    return true;
}

// Handles the first message that was set aside and may be handled. False: there is none.
static bool
take_aside(hark_ctx *ctx)
{
    struct waits *waits = ctx->slot->extra->waits;
    struct hark_message *message = NULL;

    if (admits_all(ctx->slot)) {
        message = hark__waits_take_aside(waits);
    } else if (!(ctx->slot->heed & SLOT_EXITING)) {
        message = hark__waits_sift(waits);
        if (message != NULL) {
            hark__pass_mark(ctx, message);
        }
    }
    if (message == NULL) {
        return false;
    }
    dispatch_meanwhile(ctx, message);
    hark__ask_drop(ctx, message);
    return true;
}

// Goes on with a handler that is due, if one may go on. True: the slot is that one's.
static bool
go_on_if_due(hark_ctx *ctx)
{
    if (hark__waits_due(ctx_waits(ctx)) == NULL) {
        return false;
    }
    end_turn(ctx); // may run continuations, which may wait themselves
    if (!(ctx->slot->heed & SLOT_WAITS)) {
        return false;
    }
    struct await *await = hark__waits_due(ctx_waits(ctx));
    if (await != NULL) {
        hark__await_go_on(ctx, await);
    }
    return await != NULL;
}

// Nobody waits, and nothing is set aside?
static inline bool
is_over(const struct slot *slot, const struct waits *waits)
{
    return waits->count == 0 && waits->first_aside == NULL
           && (slot->current == NULL || !(slot->current->flags & MESSAGE_ASIDE));
}

// The mailbox has nothing. True: the slot is not ours any more.
static bool
rest_waiting(hark_ctx *ctx)
{
    struct slot *slot = ctx->slot;

    end_turn(ctx);
    if (!(slot->heed & SLOT_WAITS) || hark__waits_due(ctx_waits(ctx)) != NULL) {
        return false; // a continuation that ran just now has changed things
    }
    return sleep_slot(ctx);
}

// The turn of an actor with handlers that wait. True: the slot is not ours any more;
// false: nobody waits any more.
static __attribute__((noinline)) bool
run_waiting(hark_ctx *ctx, struct budget *budget)
{
    struct slot *slot = ctx->slot;

    for (;;) {
        look_at_system(ctx);
        if (!(slot->heed & SLOT_WAITS)) {
            return false; // it has ended
        }
        struct waits *waits = ctx_waits(ctx);
        if (is_over(slot, waits)) {
            hark__probes_tidy(ctx, waits);
            hark__chains_end(&waits->aside);
            slot->heed &= (uint8_t)~SLOT_WAITS;
            // relaxed: see hark_dump.
            atomic_store_explicit(&slot->waits, false, memory_order_relaxed);
            return false;
        }
        if (!hark__list_is_empty(&waits->due)) {
            if (go_on_if_due(ctx)) {
                return true;
            }
            if (!(slot->heed & SLOT_WAITS)) {
                return false;
            }
        }
        if (!(waits->first_aside != NULL && take_aside(ctx)) && !take_next(ctx)) {
            if (rest_waiting(ctx)) {
                return true;
            }
        } else if (is_spent(ctx, budget)) {
            end_turn(ctx);
            hark__sched_yield(ctx->worker, &slot->task);
            return true;
        }
    }
}

// ---- all together ----

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
