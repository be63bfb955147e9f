// Ring: a worker's own run queue, first in first out, that other workers steal from.
//
// The owner pushes at the tail without an atomic read-modify-write and takes at the head
// with one compare-and-swap; a thief takes half, also with one. First in first out on
// both ends, unlike a Chase-Lev deque, because an actor that yields its turn must go
// behind the others (docs/adr/0002).
//
//   head: moved by whoever takes (compare-and-swap); tail: by the owner only.
//   tail - head is the number of tasks; both wrap.
//
// The places are a row in use out of several, each twice as long as the one before: a ring
// that is full goes on in the next one, and one that is empty in the first. (Growing as in
// Chase and Lev, "Dynamic circular work-stealing deque", SPAA 2005; there is nothing of
// theirs to copy when it shrinks.) A thief may still read a row that has been left: what it
// read counts only if its compare-and-swap finds the head where it was, and
//  - a row that was left for a longer one keeps what stood in it then;
//  - a row is written again only after the ring has been empty, so the head has moved.

#ifndef SCHED_RING_H
#define SCHED_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sched/task.h"

enum {
    RING_SIZE = 256,            // places in the first row
    RING_ROWS = 23,             // the last one has 2^30 places
    RING_STEAL = RING_SIZE / 2, // most that a thief takes at once
};

typedef _Atomic(struct task *) ring_place;

struct ring {
    _Alignas(64) _Atomic(uint32_t) head; // owner and thieves
    _Alignas(64) _Atomic(uint32_t) tail; // owner; thieves read
    _Atomic(uint32_t) row;               // the one in use; as tail
    ring_place *places;                  // its own; the owner's, as are the next two
    uint32_t mask;                       // its size - 1
    uint32_t longest;                    // row that may have memory
    // Each is set once, by the owner, before it is in use: NULL before.
    ring_place *rows[RING_ROWS];
    ring_place first[RING_SIZE]; // rows[0]
};

void hark__ring_init(struct ring *ring);
// Frees its rows. Nobody else uses it any more.
void hark__ring_fini(struct ring *ring);
// Owner. Goes on in a row twice as long. False: no memory.
bool hark__ring_grow(struct ring *ring);
// Owner of an empty ring: goes on in the first row.
void hark__ring_shrink(struct ring *ring);
// Owner: long rows that are not in use give their memory back; they stay mapped.
void hark__ring_trim(struct ring *ring);

// Owner. False: the row is full.
static inline bool
hark__ring_push(struct ring *ring, struct task *task)
{
    // acquire: pairs with the takers' release of head; their reads of a place come
    // before we write it again.
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    // relaxed: only we write it.
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

    if (tail - head > ring->mask) {
        return false;
    }
    // relaxed: published by the store of tail.
    atomic_store_explicit(&ring->places[tail & ring->mask], task, memory_order_relaxed);
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
        struct task *task = atomic_load_explicit(&ring->places[head & ring->mask],
                                                 memory_order_relaxed);
        // release: pairs with push's acquire of head (on whichever thread owns next).
        if (atomic_compare_exchange_weak_explicit(&ring->head, &head, head + 1,
                                                  memory_order_acq_rel,
                                                  memory_order_relaxed)) {
            return task;
        }
    }
    if (ring->mask != RING_SIZE - 1) {
        hark__ring_shrink(ring);
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

static inline uint32_t
hark__ring_mask(uint32_t row)
{
    return ((uint32_t)RING_SIZE << row) - 1;
}

// Owner of `to`. Moves half of from's tasks (at least one, at most RING_STEAL) into it, as
// far as there is room, and gives the first of them; NULL: nothing there, or another was
// faster.
static inline struct task *
hark__ring_steal(struct ring *from, struct ring *to)
{
    // acquire: head before tail, so that the count is not too large by much.
    uint32_t head = atomic_load_explicit(&from->head, memory_order_acquire);
    // acquire: pairs with push; the tasks up to tail can be read,
    uint32_t tail = atomic_load_explicit(&from->tail, memory_order_acquire);
    // and in this row, or one that has copies of them. acquire: pairs with grow.
    uint32_t row = atomic_load_explicit(&from->row, memory_order_acquire);
    const ring_place *places = from->rows[row];
    uint32_t mask = hark__ring_mask(row);
    uint32_t count = tail - head;
    uint32_t end = atomic_load_explicit(&to->tail, memory_order_relaxed); // ours
    // acquire: as in push; the reads of those who took from `to` come before our
    // writes.
    uint32_t room =
        to->mask + 1 - (end - atomic_load_explicit(&to->head, memory_order_acquire));

    if ((int32_t)count <= 0) {
        return NULL; // empty, or head moved between the two loads
    }
    count -= count / 2;
    count = count < RING_STEAL ? count : RING_STEAL;
    count = count - 1 < room ? count : room + 1;
    // relaxed: these are only ours if the compare-and-swap succeeds.
    struct task *first =
        atomic_load_explicit(&places[head & mask], memory_order_relaxed);
    for (uint32_t i = 1; i < count; i++) {
        struct task *task =
            atomic_load_explicit(&places[(head + i) & mask], memory_order_relaxed);
        atomic_store_explicit(&to->places[(end + i - 1) & to->mask], task,
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
