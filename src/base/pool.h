// Pool: blocks of memory by size class, for messages and small records.
//
// A block is usually allocated by one thread and freed by another. So each thread keeps
// a row of blocks a size class and trades batches of them with a shared depot, under its
// lock, once in many blocks. (Bonwick and Adams, "Magazines and Vmem", USENIX 2001.) A
// pool belongs to one thread at a time; the depot to the system. Memory goes back to the
// operating system by hark__depot_trim, and when the depot is closed.
//
// A row holds addresses: who takes or gives a block does not touch it. Its line is most
// often in the cache of another processor, whose answer takes as long as ten messages;
// blocks that are chained through themselves have each thread wait for that each time.
//
// Blocks over 1 KiB come from malloc, one at a time; they are kept for reuse because
// malloc gives large ones back to the operating system as soon as they are free, and
// then each of their pages costs a fault again. The depot keeps so many bytes of them
// and no more. Those over 128 KiB no pool keeps: each goes to the depot and comes from
// there.
//
// Taking from and giving to a row stands here, so that it is inlined. Sanitizer builds
// link pool_malloc.c, whose rows are never filled: each block is malloc's, and checked.

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
    POOL_LARGEST = POOL_SMALL << POOL_DOUBLINGS, // 4 MiB; above it malloc serves
    POOL_LARGE_CLASSES = 4 * POOL_DOUBLINGS,
    POOL_STACKS = 4 * 7, // of them; up to 128 KiB
    POOL_CLASSES = POOL_SMALL_CLASSES + POOL_LARGE_CLASSES,
    POOL_MALLOC = POOL_CLASSES, // the class of what malloc gave and is to get back
    DEPOT_SURPLUS = 16 << 20,   // bytes of free small blocks that are kept at least
    POOL_ROW = 512,             // places of a row, the first of which stays unused
};

struct depot;

// A large block that nobody uses.
struct pool_block {
    struct pool_block *next;
    // Of the first one of a stack in the depot:
    struct pool_block *next_stack;
    uint32_t count; // blocks in this stack
};

// Large blocks of one class, for which a cache line more or less is nothing.
struct pool_stack {
    struct pool_block *first;
    uint32_t room; // how many more may be given to it
};

struct pool {
    // The place in blocks of the one that is taken next; at a multiple of POOL_ROW there
    // is none. Those of large classes and POOL_MALLOC stay at the end of a row: full.
    uint32_t last[POOL_CLASSES + 1];
    void *blocks[POOL_SMALL_CLASSES * POOL_ROW];
    struct pool_stack large[POOL_STACKS];
    struct pool_stack large_spare[POOL_STACKS]; // few swaps reach the depot
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

// What follows is for the inline functions: an empty row or a large block; a full row.
void *hark__pool_alloc_slow(struct pool *pool, size_t size, uint8_t *out_class);
void hark__pool_free_slow(struct pool *pool, void *memory, uint8_t size_class);

// As hark__pool_alloc if that takes no call; else NULL.
static inline void *
hark__pool_take(struct pool *pool, size_t size, uint8_t *out_class)
{
    // Of size 0 the class is far too large; that is one of the rare cases.
    size_t size_class = (size - 1) >> POOL_CLASS_SHIFT;

    if (size_class < POOL_SMALL_CLASSES) {
        uint32_t last = pool->last[size_class];

        if (last % POOL_ROW != 0) {
            pool->last[size_class] = last - 1;
            *out_class = (uint8_t)size_class;
            return pool->blocks[last];
        }
    }
    return NULL;
}

// Gives size bytes, aligned to 16 and not cleared, or NULL. *out_class says what
// hark__pool_free needs to know.
static inline void *
hark__pool_alloc(struct pool *pool, size_t size, uint8_t *out_class)
{
    void *block = hark__pool_take(pool, size, out_class);

    return block != NULL ? block : hark__pool_alloc_slow(pool, size, out_class);
}

// Takes a block that any pool of the same depot gave.
static inline void
hark__pool_free(struct pool *pool, void *memory, uint8_t size_class)
{
    uint32_t last = pool->last[size_class] + 1;

    if (last % POOL_ROW == 0) {
        hark__pool_free_slow(pool, memory, size_class);
        return;
    }
    pool->blocks[last] = memory;
    pool->last[size_class] = last;
}

#endif // BASE_POOL_H
