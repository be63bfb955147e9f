// Slot: where one actor lives, and where others of its kind lived before.
//
// Slots are of one type for ever and stay where they are until the node closes, so a
// push to a slot is always safe: the message carries the generation that it was meant
// for, and the reader compares. A freed slot may still be pushed to and so be
// scheduled; an actor is therefore born only by claiming an idle slot, as a push would,
// and a slot that is being drained is skipped.
//
//            claim, set up               die                     drained
//   FREE ---------------------> LIVE ---------> FREE (messages) ---------> FREE (idle)
//
// A generation is even while somebody lives here, and odd in between.
//
// First cache line: senders. Second: the actor's own turn, with its state if that is
// small. So an idle actor is two cache lines and nothing else.

#ifndef ACTOR_SLOT_H
#define ACTOR_SLOT_H

#include <pthread.h>
#include <stdalign.h>

#include "actor/mailbox.h"
#include "hark/actor.h"
#include "sched/task.h"

struct attached;
struct extra;

enum { SLOT_STATE = 32 }; // bytes of state that stand in the slot itself

enum slot_life {
    SLOT_FREE,   // nobody; messages here are undeliverable
    SLOT_ACTOR,  // an actor: run by workers
    SLOT_THREAD, // an attached thread: run by itself
};

// Independent facts; the actor's own turn writes and reads them.
enum slot_heed {
    SLOT_EXITING = 1,  // it ends as soon as no handler runs or waits
    SLOT_TOLD = 2,     // by others: its handlers' waits end too
    SLOT_STOPPING = 4, // its stop hook runs
    SLOT_WAITS = 8,    // handlers wait, or messages were set aside (await.h)
};

struct slot {
    alignas(64) struct task task;
    struct mailbox box;
    _Atomic(uint32_t) generation; // reader adds 1 at birth and death; others compare
    _Atomic(uint32_t) waiting;    // user messages in box, counted if limit is not 0
    _Atomic(uint32_t) limit;      // reader writes at birth; senders read; 0: none
    uint32_t index;               // constant
    _Atomic(uint32_t) waits_for;  // index + 1 of whom it waits for; see deadlock.h
    _Atomic(bool) waits;          // handlers wait; reader writes, hark_dump reads
    _Atomic(bool) asks;           // has, or had, futures; as waits
    _Atomic(bool) named;          // has, or had, a name; see names.h
    _Atomic(bool) foreign;        // has, or had, requests of other nodes; see hand.c

    alignas(64) struct hark_message *current; // the message in hand, still in the chain
    _Atomic(const hark_behavior *) behavior;  // reader writes; others read for its name
    union {
        alignas(16) unsigned char inside[SLOT_STATE]; // an actor's small state
        void *outside;                                // a larger one: the pool's
        struct attached *attached;                    // SLOT_THREAD
    } state;
    struct extra *extra; // what few actors have; NULL: nothing yet
    union {
        uint32_t next_free; // in the free list, under its lock
        uint16_t spawned;   // of who lives here: by which trace; 0: unknown
    };
    uint8_t life;        // enum slot_life
    uint8_t state_class; // of an outside state, for the pool
    bool start_owed;     // the start hook has not run
    uint8_t heed;        // enum slot_heed: what its turn must see to beside messages
};

_Static_assert(sizeof(struct slot) == 128, "a slot is two cache lines");

// All slots of a node: one range of addresses, of which the first `count` slots are
// there. It grows in steps whose pages are put in place at once.
struct slots {
    struct slot *base;       // constant
    _Atomic(uint32_t) count; // slots that exist; written under lock
    uint32_t limit;          // slots at most
    uint32_t batch;          // slots that a cache trades at once; 0: none is kept there
    void *reserved;          // the range; base is its first huge page
    size_t reserved_bytes;
    pthread_mutex_t lock; // guards growth and all below
    uint32_t fresh;       // slots from here to count were never used
    uint32_t free_first, free_last, free_count; // the list of used ones, oldest first
};

enum { SLOT_CACHE = 64 };

// A thread's own stock of free slots, so that few spawns take the lock.
struct slot_cache {
    uint32_t indices[SLOT_CACHE];
    uint32_t count;
};

bool hark__slots_init(struct slots *slots, uint32_t limit);
// No actor lives any more.
void hark__slots_fini(struct slots *slots);

// Gives a free slot that the caller has claimed; NULL: the limit, or no memory.
struct slot *hark__slot_claim(struct slots *slots, struct slot_cache *cache);
// Hands a dead slot back. It may still be draining.
void hark__slot_free(struct slots *slots, struct slot_cache *cache, struct slot *slot);

// Hands back a whole cache, whose owner is going.
void hark__slots_return(struct slots *slots, struct slot_cache *cache);

// NULL: no such slot ever was.
static inline struct slot *
hark__slot_at(struct slots *slots, uint32_t index)
{
    // acquire: pairs with growth; a ref that came here before its slot was seen by us
    // is published with it.
    if (index >= atomic_load_explicit(&slots->count, memory_order_acquire)) {
        return NULL;
    }
    return &slots->base[index];
}

// An actor's state; NULL: it has none, or is a thread. Reader only.
static inline void *
hark__slot_state(struct slot *slot)
{
    // relaxed: its writer is the reader of the mailbox.
    const hark_behavior *behavior =
        atomic_load_explicit(&slot->behavior, memory_order_relaxed);

    if (behavior == NULL || behavior->state_size == 0) {
        return NULL;
    }
    return behavior->state_size <= SLOT_STATE ? slot->state.inside
                                              : slot->state.outside;
}

static inline bool
hark__generation_lives(uint32_t generation)
{
    return generation % 2 == 0;
}

// The actor word of a ref.
static inline uint64_t
hark__slot_name(uint32_t index, uint32_t generation)
{
    return (uint64_t)generation << 32 | index;
}

#endif // ACTOR_SLOT_H
