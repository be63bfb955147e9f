// Ring: a worker's own run queue, first in first out, that other workers steal from.
//
// Bounded. The owner pushes at the tail without an atomic read-modify-write and takes
// at the head with one compare-and-swap; a thief takes half, also with one. First in
// first out on both ends, unlike a Chase-Lev deque, because an actor that yields its
// turn must go behind the others (docs/adr/0002).
//
//   head: moved by whoever takes (compare-and-swap); tail: by the owner only.
//   tail - head is the number of tasks; both wrap.

#ifndef SCHED_RING_H
#define SCHED_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sched/task.h"

enum { RING_SIZE = 256 };

struct ring {
    _Alignas(64) _Atomic(uint32_t) head;     // owner and thieves
    _Alignas(64) _Atomic(uint32_t) tail;     // owner; thieves read
    _Atomic(struct task *) tasks[RING_SIZE]; // owner writes; thieves read
};

// Owner. False: full.
static inline bool
hark__ring_push(struct ring *ring, struct task *task)
{
    // acquire: pairs with the takers' release of head; their reads of a place come
    // before we write it again.
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    // relaxed: only we write it.
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

    if (tail - head >= RING_SIZE) {
        return false;
    }
    // relaxed: published by the store of tail.
    atomic_store_explicit(&ring->tasks[tail % RING_SIZE], task, memory_order_relaxed);
    // release to a thief's load of tail; sequentially consistent against a worker that
    // parks: it announces itself and then looks at tail, we move tail and then look for
    // announced ones. One of the two sees the other.
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_seq_cst);
    return true;
}

// Owner. NULL: empty.
static inline struct task *
hark__ring_pop(struct ring *ring)
{
    // relaxed: the compare-and-swap below is what counts.
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed); // ours

    while (head != tail) {
        // relaxed: we wrote it ourselves.
        struct task *task =
            atomic_load_explicit(&ring->tasks[head % RING_SIZE], memory_order_relaxed);
        // release: pairs with push's acquire of head (on whichever thread owns next).
        if (atomic_compare_exchange_weak_explicit(&ring->head, &head, head + 1,
                                                  memory_order_acq_rel,
                                                  memory_order_relaxed)) {
            return task;
        }
    }
    return NULL;
}

// How many tasks it holds, to any thread. Sequentially consistent: see push.
static inline uint32_t
hark__ring_count(struct ring *ring)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_seq_cst);
    // relaxed: a head that is behind only makes the ring look fuller; one that has
    // moved on since makes the difference negative.
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

    return (int32_t)(tail - head) > 0 ? tail - head : 0;
}

static inline bool
hark__ring_is_empty(struct ring *ring)
{
    return hark__ring_count(ring) == 0;
}

// Owner of `to`. Moves half of from's tasks (at least one) into it, as far as there is
// room, and gives the first of them; NULL: nothing there, or another was faster.
static inline struct task *
hark__ring_steal(struct ring *from, struct ring *to)
{
    // acquire: head before tail, so that the count is not too large by much.
    uint32_t head = atomic_load_explicit(&from->head, memory_order_acquire);
    // acquire: pairs with push; the tasks up to tail can be read.
    uint32_t tail = atomic_load_explicit(&from->tail, memory_order_acquire);
    uint32_t count = tail - head;
    uint32_t end = atomic_load_explicit(&to->tail, memory_order_relaxed); // ours

    // acquire: as in push; the reads of those who took from `to` come before our
    // writes.
    uint32_t room =
        RING_SIZE - (end - atomic_load_explicit(&to->head, memory_order_acquire));

    count -= count / 2;
    if (count == 0 || count > RING_SIZE / 2) {
        return NULL; // empty, or head moved between the two loads
    }
    count = count - 1 < room ? count : room + 1;
    // relaxed: these are only ours if the compare-and-swap succeeds.
    struct task *first =
        atomic_load_explicit(&from->tasks[head % RING_SIZE], memory_order_relaxed);
    for (uint32_t i = 1; i < count; i++) {
        struct task *task = atomic_load_explicit(&from->tasks[(head + i) % RING_SIZE],
                                                 memory_order_relaxed);
        atomic_store_explicit(&to->tasks[(end + i - 1) % RING_SIZE], task,
                              memory_order_relaxed);
    }
    // release: our reads above come before the owner's next write of those places.
    if (!atomic_compare_exchange_strong_explicit(&from->head, &head, head + count,
                                                 memory_order_acq_rel,
                                                 memory_order_relaxed)) {
        return NULL;
    }
    // release to other thieves; see push for the order against parking workers.
    atomic_store_explicit(&to->tail, end + count - 1, memory_order_seq_cst);
    return first;
}

#endif // SCHED_RING_H
