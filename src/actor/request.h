// Request: what an actor is doing for somebody, beyond the handler that it began in.
//
// An ask in hand costs nothing here. It becomes a request when the handler asks others
// for its sake (they are its children), defers the answer, or puts up a shield; then a
// cancel finds it by {asker, correlation}, and ends its children in turn.
//
//             answered, or its promise redeemed
//     OPEN --------------------------------------------------> ENDED
//        \                                                     /
//         +--- a cancel, or the asker's node lost --> CANCELLED
//
// A shield is a request that nobody has made: no cancel finds it, and its deadline is
// its own limit. It stands before the request that it shields (`outer`). So does a
// scope's (scope.c), but whoever cancels what it stands on cancels it.
//
// A request lives while something holds it: the turn that has it in hand, its children,
// its promise.
//
// Missing: cancels of asks that still wait, in the mailbox or set aside (await.h). A
// cancel comes after its ask, so the ask is before what is the newest message then.
// That one is marked; once it has been looked at, what was missing cannot come any more
// and is forgotten. Cancels that come while a mark is out wait for the next one. So
// there are never more than the cancels of one pass through the mailbox.

#ifndef ACTOR_REQUEST_H
#define ACTOR_REQUEST_H

#include "base/list.h"
#include "hark/base.h"
#include "message/message.h"

struct future;

enum request_state { REQUEST_OPEN, REQUEST_CANCELLED, REQUEST_ENDED };

struct request {
    struct request *next;  // in its bucket
    struct request *outer; // what is in hand again when this shield or scope ends
    const void *turn;      // whose it is to let go; NULL: nobody has it in hand so
    hark_ref asker;        // null: a shield or a scope
    uint64_t correlation;
    int64_t deadline_ns;       // INT64_MAX: none
    struct list children;      // struct future, by_parent
    struct list by_age;        // missing only
    struct producer *producer; // of a stream that answers it; NULL: none
    hark_message *note;        // told to the actor on a cancel; NULL: none
    uint32_t holders;
    int owed;      // code that its asker gets when it is freed (owed.h); 0: none
    uint8_t state; // enum request_state
    uint8_t epoch; // of the ask; see struct target
    bool is_listed;
    bool is_scope;
    bool is_unseen; // its chain id says so; see chain_id.h
    bool is_probed; // a probe is kept that is about it; see deadlock.h
    uint8_t size_class;
};

// An actor's requests that a cancel may name.
struct requests {
    struct request **buckets;
    uint32_t capacity; // a power of 2
    uint32_t count;
    struct list missing[2]; // [0]: until the mark is passed. [1]: until the next one is
    const struct hark_message *mark; // in the mailbox, or looked at; NULL: none
    bool has_passed;                 // it has been looked at
};

// Who asked for it, and by which of his futures.
struct request_name {
    hark_ref asker;
    uint64_t correlation;
};

// Gives an empty table; NULL: no memory.
struct requests *hark__requests_new(void);
// Nothing holds one any more; what is missing is dropped.
void hark__requests_free(struct requests *requests, struct pool *pool);

// Gives a request with one holder. NULL: no memory.
struct request *hark__request_new(struct pool *pool, struct request_name name,
                                  int64_t deadline_ns);
// From now on it can be found. False: no memory.
bool hark__requests_add(struct requests *requests, struct request *request);
// NULL: there is none. requests may be NULL.
struct request *hark__requests_find(const struct requests *requests,
                                    struct request_name name);
void hark__requests_remove(struct requests *requests, struct request *request);

static inline void
hark__request_hold(struct request *request)
{
    request->holders++;
}

// The last one frees it.
void hark__request_release(struct requests *requests, struct pool *pool,
                           struct request *request);

// True: some cancel is still without its ask.
static inline bool
hark__requests_are_missing(const struct requests *requests)
{
    return !hark__list_is_empty(&requests->missing[0])
           || !hark__list_is_empty(&requests->missing[1]);
}

// A marked message is looked at, or gone. older is the newest before it that waits on;
// NULL: none. requests may be NULL.
void hark__requests_see(struct requests *requests, const struct hark_message *message,
                        struct hark_message *older);

// A cancel came of an ask that is nowhere but in the mailbox, whose newest message is
// newest. Nobody has that name yet. False: no memory.
bool hark__requests_miss(struct requests *requests, struct pool *pool,
                         struct request_name name, struct hark_message *newest);
// Looks at an ask from the mailbox, whose newest message is newest (NULL: no other
// waits). True: it was missing, and is not any more.
bool hark__requests_meet(struct requests *requests, struct pool *pool,
                         const struct hark_message *message,
                         struct hark_message *newest);

#endif // ACTOR_REQUEST_H
