// Pool: blocks of memory by size class, for messages and small records.
//
// A block is usually allocated by one thread and freed by another. So each thread keeps
// two short stacks ("magazines") a size class and trades whole ones with a shared
// depot, under its lock, once in many blocks. (Bonwick and Adams, "Magazines and Vmem",
// USENIX 2001.) A pool belongs to one thread at a time; the depot to the system. Memory
// goes back to the operating system by hark__depot_trim, and when the depot is closed.
//
// Blocks over 1 KiB come from malloc, one at a time; they are kept for reuse because
// malloc gives large ones back to the operating system as soon as they are free, and
// then each of their pages costs a fault again. The depot keeps so many bytes of them
// and no more. Those over POOL_HUGE no pool keeps: each goes to the depot and comes from
// there.
//
// Taking from and giving to a magazine stands here, so that it is inlined. Sanitizer
// builds link pool_malloc.c, whose magazines are never filled: each block is malloc's,
// and checked.

#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

enum {
    // Classes are a cache line apart. A block shares no line with its neighbour, which
    // another thread may have in hand: that made two busy workers a third slower.
    POOL_CLASS_SHIFT = 6,
    POOL_SMALL_CLASSES = 16,
    POOL_SMALL = POOL_SMALL_CLASSES << POOL_CLASS_SHIFT, // 1 KiB
    // Four large classes for each doubling: 1280, 1536, 1792, 2048, 2560, ... bytes.
    POOL_DOUBLINGS = 12,
    POOL_HUGE = POOL_SMALL << 7, // 128 KiB
    POOL_HUGE_CLASS = POOL_SMALL_CLASSES + 4 * 7,
    POOL_LARGEST = POOL_SMALL << POOL_DOUBLINGS, // 4 MiB; above it malloc serves
    POOL_CLASSES = POOL_SMALL_CLASSES + 4 * POOL_DOUBLINGS,
    POOL_MALLOC = POOL_CLASSES, // the class of what malloc gave and is to get back
    DEPOT_SURPLUS = 16 << 20,   // bytes of free small blocks that are kept at least
};

struct depot;

// A block that nobody uses.
struct pool_block {
    struct pool_block *next;
    // Of the first block of a magazine in the depot:
    struct pool_block *next_magazine;
    uint32_t count; // blocks in this magazine
};

// Blocks of one class.
struct pool_magazine {
    struct pool_block *first;
    uint32_t room; // how many more may be given to it
};

struct pool {
    struct pool_magazine
        active[POOL_CLASSES + 1]; // those from POOL_HUGE_CLASS on stay empty, and full
    struct pool_magazine
        spare[POOL_CLASSES]; // kept back: a swap goes to the depot rarely
    struct depot *depot;
};

// Gives a depot, or NULL.
struct depot *hark__depot_open(void);
// Every pool must be closed before. Frees all blocks, whoever has them.
void hark__depot_close(struct depot *depot);

// Has surplus called when more than DEPOT_SURPLUS bytes of small blocks are free, on
// the thread that frees the last of them. It is called again only after trims that have
// ended. NULL: not any more.
void hark__depot_watch(struct depot *depot, void (*surplus)(void *arg), void *arg);

enum depot_trim {
    DEPOT_TRIMMED, // all that can go back has; surplus will be called again
    DEPOT_TRIMS,   // there is more to do
    DEPOT_WAITS,   // what is free now may be wanted: look again after a while
};

// One step of giving back memory that was free since the last step: some 100 us. One
// thread at a time.
enum depot_trim hark__depot_trim(struct depot *depot);

// Gives a pool for one thread, or NULL.
struct pool *hark__pool_open(struct depot *depot);
// Hands its blocks to the depot.
void hark__pool_close(struct pool *pool);

// What follows is for the inline functions: an empty magazine or a large block; a full
// magazine.
void *hark__pool_alloc_slow(struct pool *pool, size_t size, uint8_t *out_class);
void hark__pool_free_slow(struct pool *pool, void *memory, uint8_t size_class);

// Gives size bytes, aligned to 16 and not cleared, or NULL. *out_class says what
// hark__pool_free needs to know.
static inline void *
hark__pool_alloc(struct pool *pool, size_t size, uint8_t *out_class)
{
    // Of size 0 the class is far too large; that is one of the rare cases.
    size_t size_class = (size - 1) >> POOL_CLASS_SHIFT;

    if (size_class < POOL_SMALL_CLASSES) {
        struct pool_magazine *active = &pool->active[size_class];
        struct pool_block *block = active->first;

        if (block != NULL) {
            active->first = block->next;
            active->room++;
            *out_class = (uint8_t)size_class;
            return block;
        }
    }
    return hark__pool_alloc_slow(pool, size, out_class);
}

// Takes a block that any pool of the same depot gave.
static inline void
hark__pool_free(struct pool *pool, void *memory, uint8_t size_class)
{
    struct pool_magazine *active = &pool->active[size_class];
    struct pool_block *block = memory;

    if (active->room == 0) {
        hark__pool_free_slow(pool, memory, size_class);
        return;
    }
    block->next = active->first;
    active->first = block;
    active->room--;
}

#endif // BASE_POOL_H
