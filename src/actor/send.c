#include "actor/ctx.h"

#include <inttypes.h>
#include <stdio.h>

#include "actor/owed.h"

// ---- scheduling ----

void
hark__schedule(hark_ctx *ctx, struct slot *slot)
{
    if (slot->task.run == hark__thread_run) {
        hark__thread_wake(slot, ctx->node);
    } else {
        hark__sched_submit(ctx->node->sched, ctx->worker, &slot->task);
    }
}

// ---- sending ----

// Counts a user message against the limit of its mailbox. False: it is full.
static bool
count_waiting(struct slot *slot, struct hark_message *message, uint32_t limit)
{
    // relaxed, both: a count; the mailbox orders the messages.
    if (atomic_fetch_add_explicit(&slot->waiting, 1, memory_order_relaxed) >= limit) {
        atomic_fetch_sub_explicit(&slot->waiting, 1, memory_order_relaxed);
        return false;
    }
    message->flags |= MESSAGE_COUNTED;
    return true;
}

// The slot of an actor that lives, as far as we know; NULL: there is none.
static inline struct slot *
find_slot(hark_ctx *ctx, hark_ref to)
{
    struct slot *slot = hark__slot_at(&ctx->node->slots, (uint32_t)to.actor);
    uint32_t generation = (uint32_t)(to.actor >> 32);

    // relaxed: a hint that saves a push in vain; the receiver compares again.
    return slot != NULL && hark__generation_lives(generation)
                   && atomic_load_explicit(&slot->generation, memory_order_relaxed)
                          == generation
               ? slot
               : NULL;
}

// Says what the limit of to's mailbox is, unless it has just ended.
static const char *
tell_limit(hark_ctx *ctx, hark_ref to, char *out, size_t size)
{
    hark__slots_enter(ctx);
    struct slot *slot = find_slot(ctx, to);
    // relaxed: set at birth.
    uint32_t limit =
        slot != NULL ? atomic_load_explicit(&slot->limit, memory_order_relaxed) : 0;
    hark__slots_leave(ctx);

    if (limit == 0) {
        return "its mailbox is full";
    }
    snprintf(out, size,
             "its mailbox is full: its limit is %" PRIu32 " waiting message%s", limit,
             limit == 1 ? "" : "s");
    return out;
}

// Takes message.
static __attribute__((cold, noinline)) hark_err
undeliverable(hark_ctx *ctx, hark_ref to, struct hark_message *message, hark_err err)
{
    char full[100];
    const char *text = err == HARK_ELIMIT     ? tell_limit(ctx, to, full, sizeof full)
                       : hark_ref_is_null(to) ? "the target is a null ref"
                                              : NULL;

    hark__bounce_message(ctx, to, message, err, HARK_STAGE_NOT_SENT, text);
    hark__ask_free(ctx, message);
    return err;
}

// Takes message, but on error.
static inline __attribute__((always_inline)) hark_err
push_here(hark_ctx *ctx, hark_ref to, struct hark_message *message)
{
    struct slot *slot = find_slot(ctx, to);

    if (slot == NULL) {
        return HARK_ENOACTOR;
    }
    // relaxed: set at birth, before anyone had this ref.
    uint32_t limit = atomic_load_explicit(&slot->limit, memory_order_relaxed);
    if (limit != 0 && message->kind <= MESSAGE_ASK
        && !count_waiting(slot, message, limit)) {
        return HARK_ELIMIT;
    }
    message->generation = (uint32_t)(to.actor >> 32);
    ctx->sends_left--;
    if (hark__mailbox_push(&slot->box, message)) {
        hark__schedule(ctx, slot);
    }
    return HARK_OK;
}

// As send_here, on a thread that is no worker's.
static __attribute__((noinline)) hark_err
send_from_outside(hark_ctx *ctx, hark_ref to, struct hark_message *message)
{
    hark__seat_enter(ctx->seat);
    hark_err err = push_here(ctx, to, message);
    hark__seat_leave(ctx->seat);
    return err == HARK_OK ? HARK_OK : undeliverable(ctx, to, message, err);
}

static hark_err
send_here(hark_ctx *ctx, hark_ref to, struct hark_message *message)
{
    if (ctx->worker == NULL) {
        return send_from_outside(ctx, to, message);
    }
    hark_err err = push_here(ctx, to, message);
    return err == HARK_OK ? HARK_OK : undeliverable(ctx, to, message, err);
}

void
hark__send_own(hark_ctx *ctx, struct hark_message *message)
{
    message->generation = (uint32_t)(ctx->self.actor >> 32);
    if (hark__mailbox_push(&ctx->slot->box, message)) {
        hark__schedule(ctx, ctx->slot);
    }
}

// ---- chains ----

enum { CHAIN_MOST = 64 }; // messages; the actor may run while the next are read

// One by one: each has to be counted against a limit, or goes astray by itself.
static void
send_each(hark_ctx *ctx, const struct chain *chain)
{
    struct hark_message *message = chain->first;
    bool is_last;

    do {
        // relaxed: still ours.
        struct hark_message *next =
            atomic_load_explicit(&message->next, memory_order_relaxed);

        is_last = message == chain->last;
        (void)send_here(ctx, chain->to, message); // an error is accounted for
        message = next;
    } while (!is_last);
}

// False: its messages cannot go together.
static bool
push_chain(hark_ctx *ctx, const struct chain *chain)
{
    hark__slots_enter(ctx);
    struct slot *slot = find_slot(ctx, chain->to);
    // relaxed: as in push_here.
    bool together =
        slot != NULL && atomic_load_explicit(&slot->limit, memory_order_relaxed) == 0;
    if (together) {
        ctx->sends_left -= CHAIN_MOST - chain->room;
        if (hark__mailbox_push_chain(&slot->box, chain->first, chain->last)) {
            hark__schedule(ctx, slot);
        }
    }
    hark__slots_leave(ctx);
    return together;
}

void
hark__chain_send(hark_ctx *ctx, struct chain *chain)
{
    const struct chain full = *chain;

    if (hark_ref_is_null(full.to)) {
        return;
    }
    *chain = (struct chain){.room = 0}; // what we do here may send
    if (!push_chain(ctx, &full)) {
        send_each(ctx, &full);
    }
}

void
hark__chain_begin(hark_ctx *ctx, struct chain *chain, hark_ref to,
                  struct hark_message *message)
{
    hark__chain_send(ctx, chain);
    if (!hark__is_here(ctx, to) || hark_ref_is_null(to)) {
        (void)hark__send(ctx, to, message); // an error is accounted for
        return;
    }
    message->generation = (uint32_t)(to.actor >> 32);
    *chain = (struct chain){to, message, message, CHAIN_MOST - 1};
}

// Targets stay, so a seat may remember where they are. NULL: the node has never been
// heard of.
static inline struct known_target *
find_known(hark_ctx *ctx, uint64_t node)
{
    struct known_target *known = &ctx->seat->targets[node % SEAT_TARGETS];

    if (known->node != node) {
        struct target *target = hark__targets_find(&ctx->node->targets, node);

        if (target == NULL) {
            return NULL;
        }
        *known = (struct known_target){node, target, 0};
    }
    return known;
}

struct target *
hark__find_target(hark_ctx *ctx, uint64_t node)
{
    const struct known_target *known = find_known(ctx, node);

    return known != NULL ? known->target : NULL;
}

// Sees to it that target, which was sent to, is flushed when the turn ends. known is
// where it was found, unless another one has taken its place since.
static __attribute__((noinline)) void
list_for_flush(hark_ctx *ctx, struct known_target *known, struct target *target)
{
    struct seat *seat = ctx->seat;

    if (seat->to_flush_count == SEAT_TARGETS) {
        hark__ctx_flush(ctx);
    }
    seat->to_flush[seat->to_flush_count++] = target;
    ctx->keeps_back = true;
    if (known->target == target) {
        known->flush = seat->flush;
    }
}

static __attribute__((cold, noinline)) hark_err
refuse_unknown(hark_ctx *ctx, hark_ref to, const struct outgoing *what)
{
    hark__bounce(ctx, to, what, HARK_ENONODE, HARK_STAGE_NOT_SENT,
                 "its node has never been heard of here");
    return HARK_ENONODE;
}

static hark_err
send_away(hark_ctx *ctx, hark_ref to, const struct outgoing *what)
{
    struct known_target *known = find_known(ctx, to.node);

    if (known == NULL) {
        return refuse_unknown(ctx, to, what);
    }
    struct target *target = known->target;
    hark_err err = target->deliver(target, ctx, to, what);
    if (err == HARK_EINVAL && what->call != NULL) {
        hark__ctx_error_value(ctx, what->call, what->type, what->value);
    }
    if (known->target != target || known->flush != ctx->seat->flush) {
        list_for_flush(ctx, known, target);
    }
    if (ctx->is_thread) {
        hark__ctx_flush(ctx); // it has no turn that would end
    }
    return err;
}

hark_err
hark__send(hark_ctx *ctx, hark_ref to, struct hark_message *message)
{
    if (hark__is_here(ctx, to)) {
        return send_here(ctx, to, message);
    }
    struct outgoing what = hark__outgoing_of(message);
    hark_err err = send_away(ctx, to, &what);

    hark__message_free(ctx_pool(ctx), message);
    return err;
}

// No message can be made of it, or no envelope: says why, and to whom it matters.
static __attribute__((cold, noinline)) hark_err
unsendable(hark_ctx *ctx, hark_ref to, const struct outgoing *what)
{
    hark_err err = hark__ctx_error_value(ctx, what->call != NULL ? what->call : "hark",
                                         what->type, what->value);
    const char *text = hark_error_of(ctx)->text;

    hark__bounce(ctx, to, what, err, HARK_STAGE_NOT_SENT, text);
    if (what->kind == MESSAGE_REPLY
        && !(err == HARK_ENOMEM && hark__answer_starved(ctx, to, what->correlation))) {
        hark__fail(ctx, to, what->correlation, err, HARK_STAGE_REPLY_LOST, text);
    }
    return err;
}

// NULL: no message can be made of it.
static inline struct hark_message *
new_message(hark_ctx *ctx, const struct outgoing *what)
{
    const struct future *future = what->future;

    if (future == NULL || future->chain_id == 0) {
        return hark__message_new(ctx_pool(ctx), what->type, what->value);
    }
    struct hark_message *message = hark__message_new_roomy(
        ctx_pool(ctx), what->type, what->value, MESSAGE_CHAIN_ROOM);
    if (message != NULL) {
        hark__message_put_chain_id(message, future->chain_id);
    }
    return message;
}

hark_err
hark__send_value(hark_ctx *ctx, hark_ref to, const struct outgoing *what)
{
    if (!hark__is_here(ctx, to)) {
        return send_away(ctx, to, what);
    }
    const struct future *future = what->future;
    struct hark_message *message = new_message(ctx, what);
    if (message == NULL) {
        return unsendable(ctx, to, what);
    }
    message->from = what->from;
    message->correlation = what->correlation;
    message->credits = what->credits;
    if (future != NULL) {
        message->deadline_ns = future->expires_ns;
        message->trace = future->trace;
    }
    message->kind = what->kind;
    return send_here(ctx, to, message);
}

bool
hark__send_system(hark_ctx *ctx, hark_ref to, enum system_code code)
{
    return hark__send_system_about(ctx, to, code, (hark_ref){0, 0}, 0);
}

// False: there is no such actor, and message is the caller's.
static bool
push_system(hark_ctx *ctx, hark_ref to, struct hark_message *message,
            enum system_code code)
{
    message->kind = MESSAGE_SYSTEM;
    message->code = (uint16_t)code;
    message->generation = (uint32_t)(to.actor >> 32);
    hark__slots_enter(ctx);
    struct slot *slot = find_slot(ctx, to);
    if (slot != NULL && hark__mailbox_push_system(&slot->box, message)) {
        hark__schedule(ctx, slot);
    }
    hark__slots_leave(ctx);
    return slot != NULL;
}

// Of what, from, correlation and credits count.
static bool
send_system(hark_ctx *ctx, hark_ref to, enum system_code code,
            const struct outgoing *what)
{
    if (find_slot(ctx, to) == NULL) {
        return false;
    }
    struct hark_message *message = hark__message_alloc(ctx_pool(ctx), NULL, 0);
    if (message == NULL) {
        return false;
    }
    message->from = what->from;
    message->correlation = what->correlation;
    message->more = what->credits;
    if (!push_system(ctx, to, message, code)) { // it has ended just now
        hark__message_free(ctx_pool(ctx), message);
        return false;
    }
    return true;
}

bool
hark__send_system_about(hark_ctx *ctx, hark_ref to, enum system_code code,
                        hark_ref from, uint64_t correlation)
{
    return send_system(ctx, to, code,
                       &(struct outgoing){.from = from, .correlation = correlation});
}

bool
hark__send_credits(hark_ctx *ctx, hark_ref to, hark_ref from, uint64_t correlation,
                   uint16_t credits)
{
    return send_system(ctx, to, SYSTEM_CREDIT,
                       &(struct outgoing){.from = from,
                                          .correlation = correlation,
                                          .credits = credits});
}

void
hark__send_system_in(hark_ctx *ctx, hark_ref to, struct hark_message *message,
                     enum system_code code, uint64_t correlation)
{
    message->from = ctx->self;
    message->correlation = correlation;
    if (!push_system(ctx, to, message, code)) {
        hark__message_free(ctx_pool(ctx), message);
    }
}

bool
hark__send_cancel(hark_ctx *ctx, hark_ref to, uint64_t correlation, uint64_t number)
{
    // An actor that has ended has answered already; a link's errors leave it to the
    // deadline.
    if (hark__is_here(ctx, to)) {
        return hark__send_system_about(ctx, to, SYSTEM_CANCEL, ctx->self, correlation);
    }
    if (number != 0) {
        (void)send_away(ctx, to,
                        &(struct outgoing){.from = ctx->self,
                                           .correlation = number,
                                           .kind = MESSAGE_SYSTEM});
    }
    return true;
}

hark_err
hark__send_credit(hark_ctx *ctx, hark_ref to, const struct future *future,
                  uint16_t credits)
{
    if (hark__is_here(ctx, to)) {
        return hark__send_credits(ctx, to, ctx->self, future->id, credits) ? HARK_OK
               : hark_is_alive(ctx, to)                                    ? HARK_ENOMEM
                                        : HARK_ENOACTOR;
    }
    return future->number == 0
               ? HARK_ENONODE
               : send_away(ctx, to,
                           &(struct outgoing){.from = ctx->self,
                                              .correlation = future->number,
                                              .kind = MESSAGE_SYSTEM,
                                              .credits = credits});
}

// ---- telling ----

// What hark_tell_value does seldom stands apart, for the sake of what it does often.
static __attribute__((noinline)) hark_err
tell_away(hark_ctx *ctx, hark_ref to, const hark_type *type, const void *value)
{
    return send_away(ctx, to,
                     &(struct outgoing){
                         .type = type,
                         .value = value,
                         .from = ctx->self,
                         .correlation = ctx->chain_id,
                         .kind = MESSAGE_TELL,
                         .call = "hark_tell",
                     });
}

static __attribute__((cold, noinline)) hark_err
untellable(hark_ctx *ctx, hark_ref to, const hark_type *type, const void *value)
{
    hark_err err = hark__ctx_error_value(ctx, "hark_tell", type, value);

    hark__letter(ctx, to, ctx->self, type->name, err, NULL);
    return err;
}

static __attribute__((noinline)) hark_err
tell_any(hark_ctx *ctx, hark_ref to, const hark_type *type, const void *value)
{
    if (ctx == NULL || type == NULL || value == NULL) {
        return hark__ctx_error(ctx, HARK_EINVAL, "hark_tell: null argument");
    }
    if (!hark__is_here(ctx, to)) {
        return tell_away(ctx, to, type, value);
    }
    struct hark_message *message = hark__message_new(ctx_pool(ctx), type, value);
    if (message == NULL) {
        return untellable(ctx, to, type, value);
    }
    message->from = ctx->self; // kind is MESSAGE_TELL, 0
    message->correlation = ctx->chain_id;
    return send_here(ctx, to, message);
}

// Most tells are short, to actors here, and find a free block at hand. Nothing is called
// for them but send_here at the end, so that no register is to be saved.
hark_err
hark_tell_value(hark_ctx *ctx, hark_ref to, const hark_type *type, const void *value)
{
    struct hark_message *message = NULL;
    uint8_t size_class;

    if (ctx != NULL && type != NULL && value != NULL && hark__is_here(ctx, to)
        && hark__type_is_short(type)) {
        message =
            hark__pool_take(ctx_pool(ctx), sizeof *message + type->size, &size_class);
    }
    if (message == NULL) {
        return tell_any(ctx, to, type, value);
    }
    *message = (struct hark_message){.type = type,
                                     .from = ctx->self,
                                     .correlation = ctx->chain_id,
                                     .size = type->size,
                                     .size_class = size_class,
                                     .kind = MESSAGE_TELL};
    hark__message_fill_short(message, type, value);
    return send_here(ctx, to, message);
}

hark_err
hark_send(hark_ctx *ctx, hark_ref to, hark_message *message)
{
    if (ctx == NULL || message == NULL) {
        return hark__ctx_error(ctx, HARK_EINVAL, "hark_send: null argument");
    }
    message->kind = MESSAGE_TELL;
    message->from = ctx->self;
    message->correlation = ctx->chain_id;
    message->trace = 0; // one that was received may have a timer's
    return hark__send(ctx, to, message);
}
