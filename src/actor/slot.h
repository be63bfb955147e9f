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
// A generation is odd while somebody lives here, and even in between; 0 is of a slot
// whose page is not there.
//
// The memory of a chunk of slots that are all free and idle goes back to the operating
// system, while its addresses stay: slot_trim.c. It takes that nobody is between seeing
// that an actor lives and pushing to it: see hark__slots_enter in ctx.h.
//
// First cache line: senders. Second: the actor's own turn, with its state if that is
// small. So an idle actor is two cache lines and nothing else.

#ifndef ACTOR_SLOT_H
#define ACTOR_SLOT_H

#include <pthread.h>
#include <stdalign.h>

#include "actor/mailbox.h"
#include "base/list.h"
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
        uint32_t next_free; // in its chunk's list, under the lock
        uint16_t spawned;   // of who lives here: by which trace; 0: unknown
    };
    uint8_t life;        // enum slot_life
    uint8_t state_class; // of an outside state, for the pool
    bool start_owed;     // the start hook has not run
    uint8_t heed;        // enum slot_heed: what its turn must see to beside messages
};

_Static_assert(sizeof(struct slot) == 128, "a slot is two cache lines");

enum {
    SLOT_CACHE = 64,
    CHUNK_SLOTS = 2 * 1024 * 1024 / sizeof(struct slot), // one huge page
    SLOTS_SURPLUS =
        (16 << 20) / sizeof(struct slot), // free ones that are kept at least
};

// The slots whose memory goes and comes back together.
//
//                 one freed            all freed              nobody wanted them
//   NEW ---> FULL ----------> PARTIAL ----------> WHOLE --------------> RETIRING
//             ^ all taken      |   ^    one taken  |                     |    |
//             +----------------+   +---------------+---------------------+    | nobody
//                                  ^ one is taken, for want of others         | can push
//                                  +--------------------------- GONE <--------+ any more
//
// The first chunk is never WHOLE, so it stays; nor is one that is worn (slot_trim.c).
// GOING is on the way to GONE.
enum chunk_state {
    CHUNK_FULL,     // none of its slots is free for others to take
    CHUNK_PARTIAL,  // some are
    CHUNK_WHOLE,    // all are
    CHUNK_RETIRING, // all are, and it is to go, unless one is wanted before
    CHUNK_GOING,    // its pages are being given back
    CHUNK_GONE,     // they read as zeros
    CHUNK_STATES,
};

struct chunk {
    struct list link;       // among those of its state
    _Atomic(uint8_t) state; // enum chunk_state; written under the lock
    uint32_t free;          // slots that are, not counting those in threads' stocks
    uint32_t whole;         // if so many are free, all are; never, in one that stays
    uint32_t first;         // of its free ones that were used, newest first
    uint32_t fresh, end;    // from fresh up to end they were not, since it is there
    uint32_t generation;    // while it is gone: the highest that a slot had; even
};

// How far trimming is; its trimmer's, one thread at a time.
struct slots_trim {
    struct chunk *chunk; // that is being looked at; NULL: none
    uint32_t at;         // its next slot
    uint32_t highest;    // generation seen so far
    uint32_t tries;      // how often that slot was busy
    uint32_t gone;       // chunks that went this time
};

// All slots of a node: one range of addresses, of which the first `count` slots were
// made. It grows in steps whose pages are put in place at once.
struct slots {
    struct slot *base;       // constant
    _Atomic(uint32_t) count; // slots that were made; written under lock
    uint32_t limit;          // slots at most
    uint32_t batch;          // slots that a cache trades at once; 0: none is kept there
    struct chunk *chunks;    // constant, one for each CHUNK_SLOTS of the limit
    void *reserved;          // the range; base is its first huge page
    size_t reserved_bytes;
    struct slots_trim trim;
    pthread_mutex_t lock;             // guards growth and all below
    struct list states[CHUNK_STATES]; // the chunks of each state
    uint32_t wholes;                  // chunks that are WHOLE
    uint32_t free;                    // slots in the lists, whose memory is there
    uint32_t ask_free;                // from so many on, surplus is called
    bool has_dipped;                  // there was no surplus, since the last look
    bool is_asked;                    // it was, and its trims have not ended
    void (*surplus)(void *arg);       // NULL: nobody asked
    void *surplus_arg;
};

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

// Hands back a whole cache, whose owner is going, or trims.
void hark__slots_return(struct slots *slots, struct slot_cache *cache);

// ---- for slot.c and slot_trim.c; the lock is held ----

enum {
    LEFT_CHUNKS = 2,     // whole ones that stay
    SURPLUS_CHUNKS = 10, // more whole ones are a surplus, however many slots are free
};

// Is so much free that some of it may go?
static inline bool
hark__slots_are_many(const struct slots *slots)
{
    return slots->free > slots->ask_free || slots->wholes > SURPLUS_CHUNKS;
}

// Moves chunk to a state.
void hark__chunk_move(struct slots *slots, struct chunk *chunk, enum chunk_state state);

// ---- slot_trim.c: giving memory back; one thread at a time ----

// Has surplus called when many slots are free, on the thread that frees the last of
// them; again only after trims that have ended. NULL: not any more.
void hark__slots_watch(struct slots *slots, void (*surplus)(void *arg), void *arg);

enum slots_trimmed {
    SLOTS_TRIMMED, // all that can go back has; surplus will be called again
    SLOTS_TRIM,    // there is more to do
    SLOTS_WAIT,    // it is not time yet
};

// Has so much been free since the last look that trimming may pay? SLOTS_TRIM: yes;
// SLOTS_WAIT: perhaps, look again after a while.
enum slots_trimmed hark__slots_look(struct slots *slots);
// Takes chunks that are whole out of use. False: none is; then that was all. Threads
// should have handed back their stocks.
bool hark__slots_retire(struct slots *slots);
// One step of giving their memory back: some 100 us. Nobody who saw an actor live in
// them before they retired is about to push there. SLOTS_WAIT: a slot has messages
// still, and its worker must have its turn. SLOTS_TRIMMED: all are gone; look again if
// *out_again, since others have become whole meanwhile.
enum slots_trimmed hark__slots_let_go(struct slots *slots, bool *out_again);

// The first index from `from` on whose slot may be lived in; count: there is none.
static inline uint32_t
hark__slots_next(const struct slots *slots, uint32_t from, uint32_t count)
{
    // relaxed: for who looks at all of them; who is born after that look is not seen.
    while (from < count && from % CHUNK_SLOTS == 0
           && atomic_load_explicit(&slots->chunks[from / CHUNK_SLOTS].state,
                                   memory_order_relaxed)
                  == CHUNK_GONE) {
        from += CHUNK_SLOTS;
    }
    return from < count ? from : count;
}

// NULL: no such slot ever was. Of one that is gone, all reads as 0.
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
    return generation % 2 == 1;
}

// The actor word of a ref.
static inline uint64_t
hark__slot_name(uint32_t index, uint32_t generation)
{
    return (uint64_t)generation << 32 | index;
}

#endif // ACTOR_SLOT_H
