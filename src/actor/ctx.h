// Ctx: who speaks, and what one turn has in hand.
//
// An actor's ctx lives on the stack of its turn, so it goes with the stack wherever
// that is run; an attached thread's and a service thread's live on the heap. Nothing in
// it is shared. The seat and the worker are the thread's that runs the turn now.

#ifndef ACTOR_CTX_H
#define ACTOR_CTX_H

#include "actor/actor.h"
#include "future/future.h"

struct job;

enum { ERROR_TEXT = 512, REF_TEXT = 300 };

// What hark_error_of gives, with room for its text.
struct last_error {
    hark_error error;
    bool is_of_none; // it says why {0} was given instead of a future made of others
    char text[ERROR_TEXT];
};

// Memory of a turn (hark_alloc); its bytes follow.
struct scratch {
    struct scratch *next;
    uint8_t size_class;
    _Alignas(16) unsigned char bytes[];
};

struct hark_ctx {
    struct node *node;
    struct seat *seat;
    struct worker *worker;        // NULL: not a worker's thread
    struct slot *slot;            // NULL: a service thread
    hark_ref self;                // null: a service thread
    struct hark_message *message; // in hand; NULL: none
    uint64_t chain_id;            // of what runs (chain_id.h); 0: none yet
    bool owes_answer;             // message is an ask, not answered yet
    bool is_thread;               // attached: sends leave at once
    uint16_t trace;               // with nothing in hand: for whose sake; 0: unknown
    uint32_t sends_left; // messages to actors here in this turn: below 0, it is to end
    bool keeps_back;     // the seat has targets to flush when the turn ends
    struct scratch *scratch;
    struct await *await;           // in scratch; NULL: the handler has not waited
    struct last_error *last_error; // NULL: none yet
    struct request
        *request; // in hand, its shields and scopes first; NULL: not needed yet
    struct scopes *scopes; // what the handler has opened (scope.c); NULL: nothing
    struct opened *opened; // streams, in scratch; see stream.h
};

// What few actors have: made when first needed, gone with the actor.
struct extra {
    struct futures *futures;   // NULL: none asked
    struct promises *promises; // NULL: none deferred
    struct waits *waits;       // NULL: no handler has ever waited
    struct requests *requests; // NULL: none so far
    struct list scopes;        // those of its handlers that are open
    uint64_t scope_count;      // ever opened
    int64_t armed_ns; // when a wheel timer will have us look at the clock; or INT64_MAX
    int64_t due_ns;   // when it had us look last
    const struct hark_message *newest; // in the mailbox then, and still; NULL: none
    bool expired; // what was due then is to fail, for none of what was there answers it
};

// Codes of MESSAGE_SYSTEM.
enum system_code {
    SYSTEM_STOP = 1,     // end
    SYSTEM_TIMEOUTS = 2, // look at the futures' clocks
    SYSTEM_CANCEL = 3,   // `from` does not wait for its `correlation` any more
    SYSTEM_LOST = 4,     // the node of `from` cannot be reached any more
    SYSTEM_DUMP = 5,     // answer `from` with the handlers that wait
    SYSTEM_CREDIT = 6,   // `from` takes more items for its `correlation`
};

// ctx.c

// Gives the extra of ctx's owner. NULL: no memory.
struct extra *hark__ctx_extra(hark_ctx *ctx);
// Appends to text like snprintf; *used, its length so far, counts on beyond size.
void hark__append(char *out, size_t size, size_t *used, const char *format, ...)
    HARK_PRINTF(4, 5);
// Appends a ref as hark_ref_print writes it, and the name of its node if that is
// another one.
void hark__append_whom(hark_ctx *ctx, hark_ref ref, char *out, size_t size,
                       size_t *used);
// Writes an error as one line, with the place of its ask or without.
size_t hark__error_head(hark_ctx *ctx, const hark_error *error, bool with_site,
                        char *out, size_t size);
// Where the error of ctx is written. NULL: no memory, and the error of ctx is that.
struct last_error *hark__ctx_last_error(hark_ctx *ctx);
// True: a future, stream or sink of that id could not even be made, and the error of
// ctx says why already.
bool hark__ctx_error_tells(hark_ctx *ctx, uint64_t id);
// The error that was just set says why {0} is given; of a null ctx it does nothing.
void hark__ctx_error_is_of_none(hark_ctx *ctx);
// Frees what hark_alloc gave.
void hark__scratch_free(hark_ctx *ctx);
// Sets hark_error_of to why `call` could make no message of value, and returns the
// code.
hark_err hark__ctx_error_value(hark_ctx *ctx, const char *call, const hark_type *type,
                               const void *value);
// Sets hark_error_of to why ctx's owner has no room for another future.
void hark__ctx_error_futures(hark_ctx *ctx, bool is_full);
// The error of ctx, which was just set, is about what a future has asked: it says so.
void hark__ctx_error_about(hark_ctx *ctx, const struct futures *futures,
                           const struct future *future);
// Sets hark_error_of to a future's failure.
void hark__ctx_error_of(hark_ctx *ctx, const struct futures *futures,
                        const struct future *future);

// send.c

// Schedules the owner of a mailbox that a push found idle.
void hark__schedule(hark_ctx *ctx, struct slot *slot);
// Takes message, for ctx's own actor, which no limit refuses.
void hark__send_own(hark_ctx *ctx, struct hark_message *message);
// Sends a system message. False: no such actor, or no memory.
bool hark__send_system(hark_ctx *ctx, hark_ref to, enum system_code code);
// The same, about somebody.
bool hark__send_system_about(hark_ctx *ctx, hark_ref to, enum system_code code,
                             hark_ref from, uint64_t correlation);
// SYSTEM_CREDIT, to an actor here.
bool hark__send_credits(hark_ctx *ctx, hark_ref to, hark_ref from, uint64_t correlation,
                        uint16_t credits);
// Tells `to` that ctx's owner does not wait for the ask `correlation` any more; on the
// wire it is named number (0: it never got there). False: no memory, or no such actor
// here.
bool hark__send_cancel(hark_ctx *ctx, hark_ref to, uint64_t correlation,
                       uint64_t number);
// Sends a system message about ctx's owner to an actor of this node. Takes message, an
// empty one. Of SYSTEM_STOP, correlation is the future (0: none) that fails with
// HARK_ESTOPPED when the actor has ended.
void hark__send_system_in(hark_ctx *ctx, hark_ref to, struct hark_message *message,
                          enum system_code code, uint64_t correlation);
// Tells `to` that ctx's owner takes more items for the ask of that future. HARK_ENOMEM,
// or why nobody there can be told.
hark_err hark__send_credit(hark_ctx *ctx, hark_ref to, const struct future *future,
                           uint16_t credits);
// The target for a node. NULL: never heard of it.
struct target *hark__find_target(hark_ctx *ctx, uint64_t node);

// ask.c

// Opens a future for an ask. NULL: the error of ctx is set.
struct future *hark__ask_future(hark_ctx *ctx, hark_ref to, const hark_type *asked,
                                uint32_t timeout_ms, const char *site);
// Asks for it. Of what, type, value, credits and call are set. An error fails the
// future.
void hark__ask_for(hark_ctx *ctx, hark_ref to, struct outgoing *what,
                   struct future *future);
// A REPLY, FAILURE or ITEM came, and is in hand.
void hark__complete(hark_ctx *ctx, struct hark_message *message);
// The table of ctx's owner; NULL: no memory, or nobody's.
struct futures *hark__own_futures(hark_ctx *ctx);
// NULL: it is not one of ctx's.
struct future *hark__own_find(const hark_ctx *ctx, hark_future future);
// What the user gets of a future that was just made, and of those made with it.
hark_future hark__own_name(hark_ctx *ctx, struct future *future);

// clock.c

// The end of an actor's turn that has opened futures: continues those that are done,
// starts clocks, sees to the timer.
void hark__futures_end_turn(hark_ctx *ctx);
// A handler of ctx's owner goes on later: starts the clocks of what it has asked, which
// moves to `made`, and sees to the timer.
void hark__futures_pause_turn(hark_ctx *ctx, struct list *made);
// Has the end of a turn look at the clock of ctx's owner at that time, or before.
void hark__clock_arm(hark_ctx *ctx, int64_t at_ns);
// An open future is about to fail: its time is over, or it is cancelled. Tells what
// stands behind it, and returns how far it has got.
hark_stage hark__ask_give_up(hark_ctx *ctx, const struct future *future);
// Fails every future of ctx's owner whose time was over at due_ns. What had come by
// then was taken before.
void hark__futures_expire(hark_ctx *ctx, int64_t due_ns);
// SYSTEM_TIMEOUTS: what is due fails as soon as all has been looked at that is in the
// mailbox now; it may be its answer.
void hark__timer_came(hark_ctx *ctx);
// A message with MESSAGE_MARKED is looked at: was it the last of those?
void hark__timer_see(hark_ctx *ctx, const struct hark_message *message);

// continuation.c

// Tells whether it is an answer, or something continued, that its owner still waits
// for.
bool hark__future_is_missed(const struct future *future);

// hand.c

// What an actor does about the ends of its asks.
extern const struct futures_hooks hark__ask_hooks;
// The request that the ask in hand is, made if need be. NULL: none is in hand, or no
// memory.
struct request *hark__request_of(hark_ctx *ctx);
// What ctx has in hand is let go, down to `until` (NULL: all), which it had from
// before.
void hark__request_let_go(hark_ctx *ctx, const struct request *until);
// Somebody does not hold it any more.
void hark__request_drop(hark_ctx *ctx, struct request *request);
// The ask in hand, which has become a request, is being answered. HARK_ECANCELLED:
// nobody waits for it any more.
hark_err hark__request_answered(hark_ctx *ctx);
// The request has its answer: no cancel finds it any more.
void hark__request_end(hark_ctx *ctx, struct request *request);
// Its note, if any, is told to ctx's actor.
void hark__request_tell(hark_ctx *ctx, struct request *request);
// Nobody waits for its answer.
bool hark__request_is_dead(hark_ctx *ctx, const struct request *request);
// For whose sake ctx asks; lowers *timeout_ms to what is left of its time. NULL:
// nobody's.
struct request *hark__parent(hark_ctx *ctx, uint32_t *timeout_ms);
void hark__parent_adopt(struct request *parent, struct future *future);
// Why a child must not be sent at all; HARK_OK: it may.
hark_err hark__parent_fault(const hark_ctx *ctx, const struct future *future);
// Puts request, which ctx's handler ends (hark__request_leave), before what is in hand.
void hark__request_enter(hark_ctx *ctx, struct request *request);
// Takes it off again with all that stands before it; its children become those of what
// it stood before.
void hark__request_leave(hark_ctx *ctx, struct request *request);

// cancel.c

// Its children, the waits and the scopes that stand on it end.
void hark__request_cancel(hark_ctx *ctx, struct request *request);
// Fails an open future with HARK_ECANCELLED, and tells whoever was asked.
void hark__cancel_future(hark_ctx *ctx, struct future *future);
// SYSTEM_CANCEL and SYSTEM_LOST.
void hark__cancel_came(hark_ctx *ctx, hark_ref asker, uint64_t correlation);
void hark__loss_came(hark_ctx *ctx, uint64_t node);
// SYSTEM_CREDIT.
void hark__credit_came(hark_ctx *ctx, const struct hark_message *message);
// One more message for an actor from another node, about what it asks: false, it must
// not come in, there are too many already.
bool hark__foreign_in(struct node *node);
// One less: it was looked at.
void hark__foreign_out(struct node *node);
// Takes a system message that has been looked at.
void hark__system_free(hark_ctx *ctx, struct hark_message *message);
// Looks closely at an ask from the mailbox. False: it is not to be run, and that is
// accounted for.
bool hark__ask_is_wanted(hark_ctx *ctx, struct hark_message *message);
// A message with MESSAGE_MARKED is looked at.
void hark__see_mark(hark_ctx *ctx, const struct hark_message *message);
// A message leaves what is set aside out of turn: if it is marked, that goes on to the
// newest one there.
void hark__pass_mark(hark_ctx *ctx, struct hark_message *message);

// dump.c

// SYSTEM_DUMP; message is freed next.
void hark__dump_came(hark_ctx *ctx, struct hark_message *message);

// scope.c

// A handler, hook or continuation that has ctx->scopes is over, or a thread detaches:
// all is left, and cleaned up.
void hark__scopes_leave(hark_ctx *ctx);
// Leaves those of ctx's handler that stand on request.
void hark__scopes_leave_inside(hark_ctx *ctx, const struct request *request);
// The request was cancelled: so are those that stand on it.
void hark__scopes_cancel(hark_ctx *ctx, const struct request *request);
// A scope of ctx's handler lets the handler wait for a future that it watches. NULL: it
// is not such a one. To be taken back; the future may be closed by then (NULL).
struct waiter *hark__scope_lend(const hark_ctx *ctx, struct future *future);
void hark__scope_take_back(hark_ctx *ctx, struct waiter *waiter, struct future *future);

// reply.c

// Has `asker` told with HARK_ESTOPPED when ctx's actor has ended. False: no memory.
bool hark__promise_end(hark_ctx *ctx, hark_ref asker, uint64_t correlation);

// The request that a promise of ctx's actor is to answer. NULL: there is none of that
// name.
struct request *hark__promise_request(const hark_ctx *ctx, hark_promise name);
// Does ctx's actor owe an answer that it has deferred to somebody whom marks do not
// show?
bool hark__promises_are_unseen(const hark_ctx *ctx);
// Fails every ask that was deferred and not answered, and frees the table.
void hark__promises_free(hark_ctx *ctx, struct promises *promises);

// turn.c

// A message leaves the mailbox or what was set aside: its limit, and marks of cancels.
void hark__heed_flags(hark_ctx *ctx, const struct hark_message *message);
// The task of every actor's slot, and of free ones.
void hark__actor_run(struct task *task, struct worker *worker, void *local);
// The rest of a turn in which a handler has begun to wait: as hark__actor_run, quicker
// if there is nothing to do.
void hark__actor_rest(struct task *task, struct worker *worker, void *local);
// Writes whose task it is and what it has in hand, in that thread's turn of it.
void hark__actor_print(const struct task *task, char *out, size_t size);

// vacancy.c

// A message for an actor that has ended: a failure to its asker, or a dead letter.
void hark__refuse_late(hark_ctx *ctx, struct hark_message *message);
// Nobody lives in ctx's slot any more: its generation, names, promises, futures, state.
void hark__slot_vacate(hark_ctx *ctx);

// news.c

// Handles the system messages that have come, in the middle of a handler: nothing else
// runs, and a stop waits.
void hark__take_news(hark_ctx *ctx);

// thread.c

// Waits until a future that nobody watches is done. False: it could not, as
// hark_error_of says.
bool hark__wait(hark_ctx *ctx, hark_future future);
// The task of an attached thread's slot; only its address counts (hark__schedule).
void hark__thread_run(struct task *task, struct worker *worker, void *local);
void hark__thread_wake(struct slot *slot, struct node *node);
// What an attached thread, which is just looking at its system messages, waits for.
struct thread_wait {
    uint64_t future;  // 0: a message
    int64_t since_ns; // 0: it does not wait
};
struct thread_wait hark__thread_waits_for(const hark_ctx *ctx);

// attached.c

// Detaches the calling thread from node, as often as it is attached.
void hark__thread_detach_own(struct node *node);
// Gives a ctx for the calling thread, as an attached one's, with a seat that it has for
// one job; only hark__thread_rise ends it. NULL: no memory, the actor limit, or
// stopping.
hark_ctx *hark__thread_sit(struct seat *seat, struct job *job);
void hark__thread_rise(hark_ctx *ctx);
// NULL: not such a ctx.
struct job *hark__thread_job(const hark_ctx *ctx);
// Gives what people call the thread that ctx speaks for: written to out, or a constant.
const char *hark__thread_name(hark_ctx *ctx, char *out, size_t size);

// Messages that a turn may send, as a rule; see budget.h.
enum { TURN_SENDS = 256 };

// Nothing in hand, on a worker's thread, for a slot.
static inline void
ctx_begin(hark_ctx *ctx, struct seat *seat, struct worker *worker, struct slot *slot)
{
    ctx->node = seat->node;
    ctx->seat = seat;
    ctx->worker = worker;
    ctx->slot = slot;
    ctx->self = (hark_ref){0, 0};
    ctx->message = NULL;
    ctx->chain_id = 0;
    ctx->owes_answer = false;
    ctx->is_thread = false;
    ctx->trace = 0;
    ctx->sends_left = TURN_SENDS * hark__worker_grain(worker);
    ctx->keeps_back = false;
    ctx->scratch = NULL;
    ctx->await = NULL;
    ctx->last_error = NULL;
    ctx->request = NULL;
    ctx->scopes = NULL;
    ctx->opened = NULL;
}

// For whose sake ctx acts. 0: nobody's, or it is not known.
static inline uint16_t
hark__trace_cause(const hark_ctx *ctx)
{
    return ctx->message != NULL ? ctx->message->trace
           : ctx->trace != 0    ? ctx->trace
                                : hark__trace_outside(ctx);
}

// Gives the trace of what ctx, which has a slot, does at site (NULL: unknown). 0: none.
static inline uint16_t
hark__trace_of(hark_ctx *ctx, const char *site, enum trace_kind kind)
{
    const struct hark_message *message = ctx->message;
    const hark_type *in = message != NULL ? message->type : NULL;
    uint32_t parent = hark__trace_cause(ctx);
    uint32_t about = parent | (uint32_t)kind << 16;
    // relaxed: its writer is the reader of the mailbox, which we are.
    const hark_behavior *behavior =
        atomic_load_explicit(&ctx->slot->behavior, memory_order_relaxed);
    uintptr_t hash = (uintptr_t)site >> 3 ^ parent;
    struct trace_known *known = &ctx->seat->traces[hash % TRACE_CACHE];

    if (known->site == site && known->behavior == behavior && known->in == in
        && known->about == about) {
        return known->number;
    }
    *known = (struct trace_known){site, behavior, in, about, 0};
    return hark__trace_learn(ctx, known);
}

// From finding the slot of a ref up to the end of a push there, the slot's memory must
// stay. Workers need not say so: it does until their turn is over. Not nested, so
// nothing in between sends.
static inline void
hark__slots_enter(hark_ctx *ctx)
{
    if (ctx->worker == NULL) {
        hark__seat_enter(ctx->seat);
    }
}

static inline void
hark__slots_leave(hark_ctx *ctx)
{
    if (ctx->worker == NULL) {
        hark__seat_leave(ctx->seat);
    }
}

static inline bool
hark__is_here(const hark_ctx *ctx, hark_ref ref)
{
    return ref.node == ctx->node->id || ref.node == 0;
}

static inline struct pool *
ctx_pool(const hark_ctx *ctx)
{
    return ctx->seat->pool;
}

static inline struct futures *
ctx_futures(const hark_ctx *ctx)
{
    return ctx->slot != NULL && ctx->slot->extra != NULL ? ctx->slot->extra->futures
                                                         : NULL;
}

// NULL: it is not one of ctx's.
static inline struct future *
hark__ctx_future(const hark_ctx *ctx, hark_future name)
{
    return ctx != NULL && name.owner == ctx->self.actor && name.id != 0
               ? hark__future_find(ctx_futures(ctx), name.id)
               : NULL;
}

// True: a callback of a combinator runs, which must not wait.
static inline bool
ctx_is_in_callback(const hark_ctx *ctx)
{
    const struct futures *futures = ctx_futures(ctx);

    return futures != NULL && futures->outcome != NULL;
}

#endif // ACTOR_CTX_H
