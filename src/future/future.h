// Future: a one-shot result, an entry in its owner's table.
//
//             hark__future_open              complete
//   (none) ---------------------> OPEN ---------------------> DONE ---close---> (none)
//                                   \________close____________________________/
//
// Only the owner's turn touches its table, so nothing here is atomic: whoever completes
// a future sends a message to the owner, whose turn calls hark__future_complete.
//
// Timeouts: nearly none fires, and arming and disarming are list operations
// (deadlines.h). A future made in a turn counts from when its maker has set started_ns,
// or else from the end of that turn (start). A long timeout is counted by the coarse
// clock, and a little late rather than early.
//
// Whoever completes a future in a message's or timer's name tells its waiter at once.
// One that is settled by its owner, or computed from others (computed.h), only goes to
// the list of the ready ones: their waiters are told at the end of the turn, one after
// the other, so that a chain of any length needs no deep stack and no callback runs
// inside the call that caused it.

#ifndef FUTURE_FUTURE_H
#define FUTURE_FUTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "base/list.h"
#include "future/deadlines.h"
#include "hark/async.h"
#include "hark/future.h"
#include "message/message.h"

struct computed;
struct future;
struct futures;
struct outcome;

// Who is told when a future is done: the seam to the room above, which embeds it, or
// keeps what it needs in the future's waiter_data.
struct waiter {
    // Called in the owner's turn, once. The waiter may be freed by it.
    void (*complete)(struct waiter *waiter, void *turn, struct future *future);
    // Called instead of complete when the future is closed first; it is still there.
    void (*drop)(struct waiter *waiter, void *turn, struct future *future);
};

// What stands behind a future and ends with it: the seam to the room above, which
// embeds it.
struct backing {
    // The future, done or not, is gone: nobody looks at it any more. turn is the
    // closer's, here and in the next.
    void (*close)(struct backing *backing, void *turn);
    // The future, which is open, is about to fail: its time is over, or it is
    // cancelled. Returns how far its request has got.
    hark_stage (*cancel)(struct backing *backing, void *turn);
    const char *name; // for hark_dump; lives as long as this
};

// What the room above lends to every table of one node. turn is what was given to the
// function that calls back.
struct futures_host {
    struct pool *(*pool_of)(void *turn);
    // A future is closed that failed with nobody looking.
    void (*unseen)(struct futures *futures, void *turn, const struct future *future);
};

enum future_state { FUTURE_OPEN, FUTURE_DONE };

// In an order in which two words that are set as one stand in one line of the cache:
// else each block that crosses a page there is slow to open.
struct future {
    struct list by_timeout; // see deadlines.h; alone: not started, or it never expires
    struct list by_turn;    // in futures->fresh or ->ready, in made, or alone
    struct list by_parent;  // among its parent's children, if it has one
    void *parent;           // the room's above: whose child it is; NULL: nobody's
    uint64_t number;        // the room's above: its name on the wire; 0: none
    uint64_t chain_id;      // the room's above: what it descends from; 0: it begins one
    uint64_t id;
    struct hark_message *message; // DONE: the reply or the failure; NULL: see code
    struct waiter *waiter;        // NULL: nobody looks
    struct list *made;       // of its maker's turn, which was paused; NULL: it was not
    const void *waiter_data; // the waiter's own
    void *waiter_arg;        // the waiter's own; else see actor/stream.h
    struct computed *computed; // who makes it from others; NULL: nobody
    struct backing *backing;   // NULL: none
    uint64_t blame;            // DONE, failed: whose error it is; 0: its own
    uint64_t held;             // DONE: what its reply holds (holding.c); 0: nothing
    hark_ref target;           // whom it asks; for errors
    const hark_type *asked;    // with what
    const char *site;          // from where
    int64_t started_ns;        // 0: not started yet
    int64_t expires_ns;        // INT64_MAX: never
    int64_t ended_ns;
    uint32_t timeout_ms; // HARK_FOREVER: none
    int32_t code;        // DONE: HARK_OK or why it failed
    uint16_t trace;      // the room's above: how it came about; 0: unknown
    uint8_t stage;       // of a failure
    uint8_t state;       // enum future_state
    bool kept;           // stays until it is dropped
    bool looked_at;      // somebody has, or had, an interest in how it ends
    bool owes_word;      // nobody could be told that it is unwanted: no memory
    uint8_t size_class;
    struct list later; // see deadlines.h
};

enum { FUTURE_EXACT_MS = 100 }; // shorter timeouts are counted by the exact clock

// The seam to the room above: what it does about a future's end. turn is the closer's.
struct futures_hooks {
    // It is closed, or cancelled, while it is open: nobody wants the answer any more.
    // False: there was no memory to tell that.
    bool (*unwanted)(void *turn, struct future *future);
    // Takes the future, closed but for its memory, and tells it with that.
    void (*last_word)(void *turn, struct future *future);
    // It is closed, and has a parent.
    void (*leave)(void *turn, struct future *future);
};

// Where an id leads. The generation outlives the future, so that a stale id is noticed.
struct future_place {
    struct future *future; // NULL: free
    uint32_t generation;
    uint32_t next_free;
};

struct futures {
    struct future_place *places;
    uint32_t place_count; // in places
    uint32_t free;        // first free place
    uint32_t open_count;  // entries, done ones too
    uint32_t limit;
    uint32_t calling; // futures made of others that call functions of the user
    struct deadlines deadlines; // of those that are started
    struct list fresh;          // opened in this turn
    struct list ready;          // done, with a waiter still to be told; or to be woken
    bool ending;             // hark__futures_free is at work: waiters are only dropped
    bool closing;            // the loop over doomed is at work
    struct computed *doomed; // whose futures were closed: theirs are still to be
    struct outcome *outcome; // of the callback that runs; NULL: none does
    struct env *env;
    const struct futures_host *host;
    const struct futures_hooks *hooks; // NULL: none
};

// Gives an empty table; NULL: no memory.
struct futures *hark__futures_new(uint32_t limit, struct env *env,
                                  const struct futures_host *host);
// Closes every future; turn goes to the waiters' drop.
void hark__futures_free(struct futures *futures, struct pool *pool, void *turn);

// Gives an open future. NULL: no memory, or the limit is reached.
struct future *hark__future_open(struct futures *futures, struct pool *pool,
                                 uint32_t timeout_ms);
// NULL: closed, or never was.
static inline struct future *
hark__future_find(const struct futures *futures, uint64_t id)
{
    uint32_t index = (uint32_t)id;

    if (futures == NULL || index >= futures->place_count) {
        return NULL;
    }
    const struct future_place *place = &futures->places[index];
    return place->generation == (uint32_t)(id >> 32) ? place->future : NULL;
}

// Takes message (the reply or a FAILURE, possibly still in its mailbox's chain; NULL:
// code and stage say it all). The future is OPEN. Tells its waiter.
void hark__future_complete(struct futures *futures, void *turn, struct future *future,
                           struct hark_message *message, int code, hark_stage stage,
                           int64_t now_ns);
// The same by the owner itself, or by who computes it: its waiter is told by the next
// hark__futures_tell_ready.
void hark__future_settle(struct futures *futures, struct future *future,
                         struct hark_message *message, int code, hark_stage stage,
                         int64_t now_ns);
// Settles to as `from` ended, whose message it takes, with all that an error tells.
void hark__future_settle_as(struct futures *futures, struct future *to,
                            struct future *from);
// Makes to's error tell whom and where `from` asked.
void hark__future_blame(struct futures *futures, struct future *to,
                        const struct future *from);
// Has the next hark__futures_tell_ready wake who computes an open future.
void hark__future_wake(struct futures *futures, struct future *future);
// Ends it and frees its message. Drops its waiter if that was not told yet.
void hark__future_close(struct futures *futures, struct pool *pool, void *turn,
                        struct future *future);
// Fails an open future with HARK_ECANCELLED. Its waiter is told by the next
// hark__futures_tell_ready, so this may be called while a handler runs.
void hark__future_cancel(struct futures *futures, void *turn, struct future *future,
                         hark_stage stage, int64_t now_ns);
// Has the room above tell that nobody wants the answer of an open future any more, now
// or when that is closed.
void hark__future_unwant(const struct futures_hooks *hooks, void *turn,
                         struct future *future);
// Sets the waiter of a future that has none. If it is done already, its waiter is told
// by the next hark__futures_tell_ready.
void hark__future_watch(struct futures *futures, struct future *future,
                        struct waiter *waiter);

// The same without counting as somebody who looks.
void hark__future_adopt(struct futures *futures, struct future *future,
                        struct waiter *guardian);
// Its reply is in the hands of somebody, who sees to what it holds.
static inline void
hark__future_got(struct future *future)
{
    future->held = 0;
}

// The time from which a timeout of that length counts when it begins now.
static inline int64_t
hark__futures_now(struct env *env, uint32_t timeout_ms)
{
    int64_t lag_ns;

    if (timeout_ms < FUTURE_EXACT_MS) {
        return hark__env_now(env);
    }
    int64_t now_ns = env->ops->now_coarse_ns(env, &lag_ns);
    return now_ns + lag_ns;
}
// Starts the clock of an open future before hark__futures_start does.
static inline void
hark__future_count_from(struct future *future, int64_t now_ns)
{
    future->started_ns = now_ns;
    future->expires_ns = future->timeout_ms == HARK_FOREVER
                             ? INT64_MAX
                             : now_ns + (int64_t)future->timeout_ms * NS_PER_MS;
}
// Starts the clocks of all fresh futures. Returns when the first of them runs out;
// INT64_MAX: none does. turn: closes those that nobody watches and nobody keeps; NULL:
// no.
int64_t hark__futures_start(struct futures *futures, struct env *env, void *turn);
// The same for a turn that goes on later: they move to `made`, and none is closed.
int64_t hark__futures_pause(struct futures *futures, struct env *env,
                            struct list *made);
// They are fresh again, and their turn ends soon.
void hark__futures_unpause(struct futures *futures, struct list *made);
// Has a future that is in no list of its table's turns end with the maker of those in
// `made`, unless it is kept.
static inline void
hark__future_give(struct future *future, struct list *made)
{
    future->made = made;
    hark__list_append(made, &future->by_turn);
}
// Has a future that is done, and was watched, be told later by
// hark__futures_tell_ready: it waits in held until then.
void hark__future_hold(struct future *future, struct waiter *waiter, struct list *held);
void hark__futures_unhold(struct futures *futures, struct list *held);
// For hark__futures_tell_ready, when there are some.
void hark__futures_tell_them(struct futures *futures, void *turn);
// Tells the waiters of ready futures until there are none.
static inline void
hark__futures_tell_ready(struct futures *futures, void *turn)
{
    if (!hark__list_is_empty(&futures->ready)) {
        hark__futures_tell_them(futures, turn);
    }
}
// True: one of the two has something to do.
static inline bool
hark__futures_are_unsettled(const struct futures *futures)
{
    return !hark__list_is_empty(&futures->fresh)
           || !hark__list_is_empty(&futures->ready);
}

// When the earliest started future runs out; INT64_MAX: none does.
int64_t hark__futures_next_ns(struct futures *futures);
// An open future whose time is over, or NULL. The caller completes it.
struct future *hark__futures_overdue(struct futures *futures, int64_t now_ns);

// Why a future failed. Its strings live as long as the future.
hark_error hark__future_error(const struct futures *futures,
                              const struct future *future);

#endif // FUTURE_FUTURE_H
