// Await: a handler that waits for a future, and what its actor does meanwhile.
//
// The handler's stack stays as it is (sched/stack.h), with its ctx and this record; the
// actor's turn goes on on another stack. Completing the future makes the handler due,
// and the actor's turn goes on with it before it looks at anything else.
//
//                 await                future done, stop            go on
//   (running) -----------> SUSPENDED ---------------------> DUE ----------> (running)
//
// While a handler waits that is exclusive, the actor runs no other code of the user:
// messages for handlers are set aside in the order they came, continuations are held.
// What completes futures, and the system's own messages, it does take. Handlers that
// interleave let others run. One that waits in the mode chain lets those run that are
// of its own chain (chain_id.h); so handlers that wait so at one time are all of one
// chain.
//
// Only the actor's own turn touches any of this.

#ifndef ACTOR_AWAIT_H
#define ACTOR_AWAIT_H

#include "actor/chain_id.h"
#include "actor/chains.h"
#include "actor/ctx.h"
#include "actor/request.h"

struct stack;

// Whom a handler that waits keeps from running.
enum lock { LOCK_NOBODY, LOCK_OTHERS, LOCK_ALL };

// What is known of circles (deadlock.h) of a handler that waits: independent facts.
enum await_circle {
    AWAIT_DOUBTED = 1, // it may be in one, and is looked at again
    AWAIT_PROBED = 2,  // a probe went along all that it waits for
};

// A handler that has waited, in its turn's memory (hark_alloc).
struct await {
    struct list by_state; // in waits->suspended or ->due, or alone
    struct list by_doubt; // in waits->doubtful while AWAIT_DOUBTED
    struct waiter waiter;
    struct stack *stack;
    hark_ctx *ctx;                // the handler's own
    struct list made;             // futures that it has made before it waited
    struct hark_message *message; // held for it beyond the mailbox's chain; NULL: none
    uint64_t future;              // that it waits for
    int64_t since_ns;             // it waits, by the worker's last look at the clock
    uint64_t nonce;               // of probes for this wait; 0: none was sent
    uint8_t mode;                 // enum hark_wait
    uint8_t lock;                 // enum lock, while it waits
    uint8_t circle;               // enum await_circle
    bool waits;                   // now
    hark_err err;                 // why the wait ended without the future; HARK_OK
    const char *why;              // in words
};

// An actor's handlers that wait, and what waits for them.
struct waits {
    struct list suspended;
    struct list due;
    uint32_t exclusive; // of both lists: how many are LOCK_ALL
    uint32_t chained;   // of both lists: how many are LOCK_OTHERS
    uint64_t chain_id;  // of those
    uint32_t count;     // of both lists
    bool is_sifted;     // as things are, nothing that is aside may be handled
    struct hark_message *first_aside, *last_aside; // chained by next
    struct chains aside; // of those, when they are many; ids are of node
    uint64_t node;       // this one
    struct list held;    // futures whose continuations wait for the handler
    struct list kept;    // probes that may have to go on; see deadlock.h
    uint32_t kept_count;
    uint32_t kept_choices; // of these, with NONCE_CHOICE
    uint32_t guesses;      // of what is kept; see probe.c
    uint32_t turned_away;  // probes, for there were too many
    struct list doubtful;  // those that may be in circles, the longest wait first
    bool keeps_aside;      // some that are kept may be of what was set aside
    bool is_judging;       // none that are kept may be let go of now
    bool has_unseen;       // asks that marks do not show may be among those aside
};

// The waits of ctx's actor, made if need be; NULL: no memory.
struct waits *hark__waits_of(hark_ctx *ctx);

// Suspends the handler until the future is done. Errors go to hark_error_of.
const void *hark__await(hark_ctx *ctx, hark_future name, const hark_type *type);
// Suspends the handler until a future that nobody watches is done. False: as
// hark__wait.
bool hark__await_done(hark_ctx *ctx, hark_future name);
// Its stop was asked for by others: then nothing waits any more, but in its stop hook.
bool hark__must_stop(const hark_ctx *ctx);
// The handler, hook or continuation that has waited is over.
void hark__await_end(hark_ctx *ctx);
// Has a handler that is due go on when ctx's own turn, which has nothing in hand,
// returns: as its next step, and the slot is not its any more.
void hark__await_go_on(hark_ctx *ctx, struct await *await);

// Lets other actors run, and goes on. False: it could not, and nothing has run.
bool hark__await_yield(hark_ctx *ctx);
// The handlers that wait for that request's sake go on with HARK_ECANCELLED, but in a
// shield.
void hark__waits_cancel(struct waits *waits, const struct request *request);
// Gives an ask that was set aside. NULL: none of that name is among the first so many,
// which may be all.
struct hark_message *hark__waits_take_out(hark_ctx *ctx, struct request_name name,
                                          bool *out_is_all);

// The wait that waiter stands for; NULL: it is another one's.
struct await *hark__await_of(struct waiter *waiter);
// Who may go on now; NULL: nobody.
struct await *hark__waits_due(const struct waits *waits);
// That wait, which is suspended or about to be, ends with err.
void hark__wait_break(struct waits *waits, struct await *await, hark_err err,
                      const char *why);
// Every wait ends with err.
void hark__waits_break(struct waits *waits, hark_err err, const char *why);
// Keeps a continuation back while a handler lets nobody run. False: it may run. The
// actor has handlers that wait.
bool hark__waits_hold(hark_ctx *ctx, struct future *future, struct waiter *waiter);
// The actor has ended: what was set aside is undeliverable.
void hark__waits_free(hark_ctx *ctx, struct waits *waits);

static inline struct waits *
ctx_waits(const hark_ctx *ctx)
{
    return ctx->slot->extra != NULL ? ctx->slot->extra->waits : NULL;
}

// May what is of that chain run? It was not running before, or waits itself.
static inline bool
hark__waits_admit(const struct waits *waits, uint64_t chain_id)
{
    return waits->exclusive == 0
           && (waits->chained == 0 || hark__chain_is_same(waits->chain_id, chain_id));
}

// What the chain ids say of what is asked by those who run while handlers of ctx's
// actor wait; see chain_id.h.
static inline uint64_t
hark__waits_unseen(const hark_ctx *ctx)
{
    const struct waits *waits = ctx_waits(ctx);

    return waits->exclusive + waits->chained > 0 ? CHAIN_UNSEEN : 0;
}

// Takes message, whose next is NULL.
static inline void
hark__waits_append_aside(struct waits *waits, struct hark_message *message)
{
    // relaxed: ours alone, but for the last one's, which a sender may still write if it
    // has not left the mailbox; see hark__waiting_sleep.
    if (waits->last_aside != NULL) {
        atomic_store_explicit(&waits->last_aside->next, message, memory_order_relaxed);
    } else {
        waits->first_aside = message;
    }
    waits->last_aside = message;
    if (hark__chains_are_kept(&waits->aside)) {
        hark__chains_add(&waits->aside, hark__chain_of(message, waits->node));
    }
}

// message is aside no more.
static inline void
hark__waits_left_aside(struct waits *waits, const struct hark_message *message)
{
    if (hark__chains_are_kept(&waits->aside)) {
        hark__chains_remove(&waits->aside, hark__chain_of(message, waits->node));
    }
}

// Takes message, which the mailbox lets go of: there is one behind it.
static inline void
hark__waits_set_aside(struct waits *waits, struct hark_message *message)
{
    message->flags &= (uint8_t) ~(MESSAGE_CHAINED | MESSAGE_ASIDE);
    // relaxed: ours alone since its sender linked the next.
    atomic_store_explicit(&message->next, NULL, memory_order_relaxed);
    hark__waits_append_aside(waits, message);
}

// Takes the last one back; last (NULL: none) was before it.
static inline void
hark__waits_cut_aside(struct waits *waits, struct hark_message *last)
{
    hark__waits_left_aside(waits, waits->last_aside);
    waits->last_aside = last;
    if (last != NULL) {
        // relaxed: ours alone.
        atomic_store_explicit(&last->next, NULL, memory_order_relaxed);
    } else {
        waits->first_aside = NULL;
    }
}

// Gives the first that was set aside and may be handled, while handlers keep some from
// it. NULL: none.
struct hark_message *hark__waits_sift(struct waits *waits);

// Gives the first that was set aside; NULL: none.
static inline struct hark_message *
hark__waits_take_aside(struct waits *waits)
{
    struct hark_message *message = waits->first_aside;

    if (message != NULL) {
        // relaxed: ours alone.
        waits->first_aside = atomic_load_explicit(&message->next, memory_order_relaxed);
        if (waits->first_aside == NULL) {
            waits->last_aside = NULL;
        }
        hark__waits_left_aside(waits, message);
    }
    return message;
}

#endif // ACTOR_AWAIT_H
