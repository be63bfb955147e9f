// Node: the local actors' world; what every ctx of one system shares.
//
// A seat is what one thread needs to run or to speak: a pool, a stock of slots,
// counters. Each worker has one, each attached thread, and the remote room's poller.

#ifndef ACTOR_NODE_H
#define ACTOR_NODE_H

#include <stdatomic.h>

#include "actor/slot.h"
#include "actor/target.h"
#include "actor/trace.h"
#include "base/env.h"
#include "base/list.h"
#include "base/pool.h"
#include "hark/blocking.h"
#include "hark/system.h"
#include "message/registry.h"
#include "sched/sched.h"

struct names;
struct letters;
struct remote;

// A behavior whose types are known.
struct known_behavior {
    const hark_behavior *behavior;
};

// A node whose target is known.
struct known_target {
    uint64_t node; // 0: none
    struct target *target;
    uint32_t flush; // the seat's number of the flush that it is listed for
};

enum { SEAT_BEHAVIORS = 16, SEAT_TARGETS = 64 };

struct seat {
    struct node *node;
    struct pool *pool;
    struct slot_cache cache;
    struct known_behavior known[SEAT_BEHAVIORS]; // by a hash of the address
    struct known_target targets[SEAT_TARGETS];   // by the node's low bits
    struct target *to_flush[SEAT_TARGETS];       // when the turn in hand ends
    uint32_t to_flush_count;
    uint32_t flush;                         // which flush they wait for; never 0
    struct trace_known traces[TRACE_CACHE]; // by a hash of the site
    struct seat *next;                      // in node->seats
    struct seat *next_spare;                // in node->spare_seats
    _Atomic(uint32_t) calls; // odd while its thread, not a worker's, is at others'
                             // slots; that thread writes, who trims slots reads
    uint32_t calls_seen;     // by who trims them; see surplus.c
    // Counters: this seat's thread adds, statistics read.
    _Atomic(uint64_t) born, ended, dead_letters, failures_unseen, cancelled, expired;
};

struct node_limits {
    uint32_t mailbox;        // 0: none
    uint32_t ask_timeout_ms; // never 0
    uint32_t futures;
};

struct node {
    struct env *env;
    uint64_t id; // this node's incarnation; never 0
    const char *name;
    char own_name[16];     // the name of who was given none
    hark_system *system;   // for hark_system_of
    struct remote *remote; // for the remote room's public functions
    struct depot *depot;
    struct sched *sched;
    struct registry *registry;
    struct names *names;
    struct letters *letters;
    struct slots slots;
    struct traces traces;
    struct targets targets;
    struct node_limits limits;
    hark_unseen_failure *on_unseen_failure; // NULL: nobody
    void *on_unseen_failure_arg;
    _Atomic(bool) stopping;         // no more births
    _Atomic(uint32_t) foreign_news; // cancels, credits and probes of other nodes, that
                                    // no actor has looked at
    _Atomic(uint32_t) ending; // counts threads that detached; node_stop waits on it
    hark_executor *executor;  // the system's own
    pthread_mutex_t lock;     // guards what follows, but the workers' seats
    struct list threads;      // attached ones
    struct seat *seats;
    struct seat retired;            // counters of seats that are gone
    struct seat *spare_seats;       // for blocking work
    struct seat *last_seat;         // of those without memory for one, in turns
    pthread_mutex_t last_seat_lock; // is held by who has it
    struct list executors;
    uint64_t blocking_started; // threads of executors that are gone
    struct seat *worker_seats[SCHED_MAX_WORKERS];
    uint32_t workers;
    uint8_t trimming;          // enum trimming of surplus.c; its one thread's
    int64_t trimming_pause_ns; // until it looks again; as trimming
};

struct node_options {
    struct env *env;
    hark_system *system;
    struct registry *registry; // borrowed
    const char *name;          // borrowed; NULL: one by its id
    uint32_t workers;
    uint32_t actor_limit;
    struct node_limits limits;
    size_t stack_bytes;   // as in hark_options
    uint32_t stack_limit; // as in hark_options
    bool reports_overflow;
    hark_executor_options blocking;         // of the node's own executor; all set
    hark_unseen_failure *on_unseen_failure; // NULL: nobody
    void *on_unseen_failure_arg;
};

// Gives a running node.
HARK_CHECKED hark_err hark__node_open(const struct node_options *options,
                                      struct node **out_node);
// Detaches the calling thread, ends every actor and waits for other attached threads to
// detach. HARK_ETIMEOUT: not all have, by deadline_ns; may be called again.
HARK_CHECKED hark_err hark__node_stop(struct node *node, int64_t deadline_ns);
// Joins the workers. Nothing runs any more; other rooms may still hold seats.
void hark__node_halt(struct node *node);
// Gives memory back that is free for long, from now on. See surplus.c.
void hark__node_watch_surplus(struct node *node);
// Not any more. Nothing runs.
void hark__node_unwatch_surplus(struct node *node);
// What each worker does in a round (sched.h): hands back the stock of its seat.
void hark__seat_pass(void *seat);
// Frees everything. All seats but the workers' are closed.
void hark__node_close(struct node *node);
void hark__node_stats(struct node *node, hark_stats *out_stats);

// Gives a seat; NULL: no memory.
struct seat *hark__seat_open(struct node *node);
void hark__seat_close(struct seat *seat);
// Closes a seat and counts the end of the thread that had it: the node may be closed by
// another thread as soon as that can be seen.
void hark__seat_retire(struct seat *seat);

// Gives a ctx for the calling thread. NULL: no memory, the actor limit, or stopping.
hark_ctx *hark__thread_attach(struct node *node);

// Its thread, which is no worker's, is about to look up slots by refs, and to push to
// those who live there: until it has left, their memory stays. Not nested.
static inline void
hark__seat_enter(struct seat *seat)
{
    // relaxed, both: one writer; ordered before what follows by the fence here and the
    // barrier in surplus.c.
    uint32_t calls = atomic_load_explicit(&seat->calls, memory_order_relaxed);

    atomic_store_explicit(&seat->calls, calls + 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void
hark__seat_leave(struct seat *seat)
{
    // relaxed: one writer.
    uint32_t calls = atomic_load_explicit(&seat->calls, memory_order_relaxed);

    // release: pairs with the acquire in surplus.c; who sees us gone sees our pushes.
    atomic_store_explicit(&seat->calls, calls + 1, memory_order_release);
}

static inline void
hark__seat_count(_Atomic(uint64_t) *counter)
{
    // relaxed: one writer; readers want a recent value.
    atomic_store_explicit(counter,
                          atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

// The end of an actor. Its worker still uses the node: it is closed after the workers.
static inline void
hark__seat_count_end(struct seat *seat)
{
    // relaxed: one writer.
    uint64_t ended = atomic_load_explicit(&seat->ended, memory_order_relaxed);

    // release: pairs with is_empty in node.c; what was born before is counted there.
    atomic_store_explicit(&seat->ended, ended + 1, memory_order_release);
}

#endif // ACTOR_NODE_H
