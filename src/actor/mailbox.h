// Mailbox: many senders, one reader, and the one word that says who must run the actor.
//
// Messages form a chain. `tail` is the newest message, or one of two marks when there
// is none: IDLE (the actor sleeps) or EMPTY (it runs, or waits in a run queue). A
// sender swaps its message into tail and then links it behind what was there: the older
// message, or `first` when there was a mark. Finding IDLE, it must schedule the actor.
// So a push is one exchange and one release store, and the tag is the one scheduled
// state. A chain of messages from one sender is pushed the same way, as if it were one:
// its last goes into the tail, and its first is linked.
//
//           push: caller schedules               last one taken, sleep
//   IDLE ------------------------> messages ------------------------------> IDLE
//     |                               ^  |
//     | wake: caller schedules   push |  | last one taken, not asleep: it is `current`
//     +-------------------------> EMPTY <+
//
// The message in hand (`current`) stays at the tail until the next one is behind it or
// the actor sleeps, so there is no separate stub node. (The chain is Vyukov's intrusive
// queue; the tag in the tail and the missing stub are ours. models/mailbox.pml.)
//
// The system lane is a second, small stack, looked at first. A push there must wake an
// idle actor too: it swaps IDLE for EMPTY. A reader that has set IDLE looks at the lane
// once more: lane before tail there, tail before lane here, sequentially consistent.

#ifndef ACTOR_MAILBOX_H
#define ACTOR_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "message/message.h"

struct mailbox {
    _Atomic(uintptr_t) tail; // senders swap; reader swaps to IDLE
    _Atomic(struct hark_message *)
        first; // a sender that found a mark writes, reader takes
    _Atomic(struct hark_message *) lane; // system messages, newest first
};

#define MAILBOX_EMPTY ((uintptr_t)0)
#define MAILBOX_IDLE ((uintptr_t)1)

// Starts idle.
static inline void
hark__mailbox_init(struct mailbox *box)
{
    atomic_init(&box->tail, MAILBOX_IDLE);
    atomic_init(&box->first, NULL);
    atomic_init(&box->lane, NULL);
}

// Takes messages that are chained by next from first to last; they may be one. True: it
// was idle and the caller must schedule the actor.
static inline bool
hark__mailbox_push_chain(struct mailbox *box, struct hark_message *first,
                         struct hark_message *last)
{
    // relaxed: published by the exchange.
    atomic_store_explicit(&last->next, NULL, memory_order_relaxed);
    // release: hands over the messages (with the store below, on the same path).
    // acquire: finding IDLE, we take over what the reader left; and the message in
    // front is initialised before we write its next.
    uintptr_t seen =
        atomic_exchange_explicit(&box->tail, (uintptr_t)last, memory_order_acq_rel);
    // release: pairs with the reader's acquire in next; those behind first are seen
    // through it.
    if (seen > MAILBOX_IDLE) {
        struct hark_message *before = (struct hark_message *)seen;
        atomic_store_explicit(&before->next, first, memory_order_release);
    } else {
        atomic_store_explicit(&box->first, first, memory_order_release);
    }
    return seen == MAILBOX_IDLE;
}

// Takes message. True: it was idle and the caller must schedule the actor.
static inline bool
hark__mailbox_push(struct mailbox *box, struct hark_message *message)
{
    return hark__mailbox_push_chain(box, message, message);
}

// Takes message into the system lane. True: the caller must schedule the actor.
static inline bool
hark__mailbox_push_system(struct mailbox *box, struct hark_message *message)
{
    // relaxed: the compare-and-swap checks it.
    struct hark_message *top = atomic_load_explicit(&box->lane, memory_order_relaxed);

    do {
        // relaxed: published by the compare-and-swap.
        atomic_store_explicit(&message->next, top, memory_order_relaxed);
        // seq_cst: lane, then tail; mailbox_sleep does it the other way round. Also the
        // release to take_system.
    } while (!atomic_compare_exchange_weak_explicit(
        &box->lane, &top, message, memory_order_seq_cst, memory_order_relaxed));
    uintptr_t idle = MAILBOX_IDLE;
    // seq_cst as above; acquire of what the reader left when we find it idle.
    return atomic_compare_exchange_strong_explicit(
        &box->tail, &idle, MAILBOX_EMPTY, memory_order_seq_cst, memory_order_relaxed);
}

// Anyone who wants to be the reader of an idle mailbox. True: the caller is, now.
static inline bool
hark__mailbox_claim(struct mailbox *box)
{
    uintptr_t idle = MAILBOX_IDLE;

    // acquire: pairs with the release in sleep: what the last reader left.
    return atomic_compare_exchange_strong_explicit(
        &box->tail, &idle, MAILBOX_EMPTY, memory_order_acq_rel, memory_order_relaxed);
}

// Reader only. The message behind current (NULL: the first), which stays in the chain;
// NULL: none, or its sender has not linked it yet.
static inline struct hark_message *
hark__mailbox_next(struct mailbox *box, struct hark_message *current)
{
    // acquire: pairs with push's release store.
    if (current != NULL) {
        return atomic_load_explicit(&current->next, memory_order_acquire);
    }
    struct hark_message *first =
        atomic_load_explicit(&box->first, memory_order_acquire);
    if (first != NULL) {
        // relaxed: nobody writes it until the tail is a mark again, which we make.
        atomic_store_explicit(&box->first, NULL, memory_order_relaxed);
    }
    return first;
}

// Reader only. The same, but the first stays the first: to look at what waits.
static inline struct hark_message *
hark__mailbox_peek(const struct mailbox *box, const struct hark_message *current)
{
    // acquire, both: as in next.
    return current != NULL ? atomic_load_explicit(&current->next, memory_order_acquire)
                           : atomic_load_explicit(&box->first, memory_order_acquire);
}

// Reader only: is there a message behind current?
static inline bool
hark__mailbox_has_next(const struct mailbox *box, const struct hark_message *current)
{
    // relaxed: a hint; next looks again.
    return current != NULL
               ? atomic_load_explicit(&current->next, memory_order_relaxed) != NULL
               : atomic_load_explicit(&box->first, memory_order_relaxed) != NULL;
}

// Reader only. The newest message that waits; it may not be linked yet. NULL: none
// does.
static inline struct hark_message *
hark__mailbox_newest(const struct mailbox *box, const struct hark_message *current)
{
    // acquire: pairs with push's exchange; the message is whole.
    uintptr_t tail = atomic_load_explicit(&box->tail, memory_order_acquire);

    return tail > MAILBOX_IDLE && tail != (uintptr_t)current
               ? (struct hark_message *)tail
               : NULL;
}

enum mailbox_end {
    MAILBOX_ASLEEP, // current is out of the chain; somebody else may be the reader now
    MAILBOX_MORE,   // current stays; a message comes behind it
    MAILBOX_SYSTEM, // current is out of the chain; the system lane has something
};

// Reader only, when there is no next and the system lane looked empty. When it is
// asleep somebody else may be the reader, for another who lives there, or the memory
// may go (slot_trim.c) and be zeros: the second look at the lane and the claim are
// harmless there.
static inline enum mailbox_end
hark__mailbox_sleep(struct mailbox *box, struct hark_message *current)
{
    uintptr_t seen = (uintptr_t)current; // NULL is EMPTY

    // seq_cst: tail, then lane; see push_system. Release: hands the actor to whoever
    // finds IDLE. relaxed: what was pushed instead is read by way of its link.
    if (!atomic_compare_exchange_strong_explicit(&box->tail, &seen, MAILBOX_IDLE,
                                                 memory_order_seq_cst,
                                                 memory_order_relaxed)) {
        return MAILBOX_MORE;
    }
    if (atomic_load_explicit(&box->lane, memory_order_seq_cst) == NULL) {
        return MAILBOX_ASLEEP;
    }
    return hark__mailbox_claim(box) ? MAILBOX_SYSTEM : MAILBOX_ASLEEP;
}

// Reader only: is there something in the system lane?
static inline bool
hark__mailbox_has_system(const struct mailbox *box)
{
    // relaxed: a push after it wakes us or is seen in sleep.
    return atomic_load_explicit(&box->lane, memory_order_relaxed) != NULL;
}

// Reader only. Gives the system messages, oldest first, chained by next.
static inline struct hark_message *
hark__mailbox_take_system(struct mailbox *box)
{
    if (!hark__mailbox_has_system(box)) {
        return NULL; // most often; saves the exchange
    }
    // acquire: pairs with push_system.
    struct hark_message *newest =
        atomic_exchange_explicit(&box->lane, NULL, memory_order_acquire);
    struct hark_message *oldest = NULL;
    while (newest != NULL) {
        // relaxed: ours since the exchange.
        struct hark_message *older =
            atomic_load_explicit(&newest->next, memory_order_relaxed);
        atomic_store_explicit(&newest->next, oldest, memory_order_relaxed);
        oldest = newest;
        newest = older;
    }
    return oldest;
}

#endif // ACTOR_MAILBOX_H
