// Depot: what the threads' pools share. Private to pool.c, pool_large.c and pool_trim.c.
//
// Small blocks are carved from slabs, of any classes mixed, and never change their
// class. A slab goes back to the operating system when all its blocks are free:
// pool_trim.c finds such slabs, since to count in each slab what is free would cost
// every exchange with a pool some 110 cache misses.
//
// A slab starts at a multiple of its size, so that a block tells its slab.

#ifndef BASE_DEPOT_H
#define BASE_DEPOT_H

#include <pthread.h>
#include <stdbool.h>

#include "base/pool.h"

enum {
    SLAB_BYTES = 1 << 18,
    SLAB_HEAD = 64, // keeps blocks on cache lines
    LISTED = 8,     // addresses that fit into a small block
    BATCH_LISTS = 6,
    BATCH = 1 + BATCH_LISTS * (1 + LISTED), // blocks; an odd 55
};

struct slab {
    struct slab *next, *prev; // among the depot's
    uint32_t carved;          // bytes of blocks; 0 while it is being carved
    // While the depot is trimmed, its trimmer's:
    uint32_t free;             // bytes found so far
    bool is_empty;             // all its blocks are free, and taken out
    struct slab *next_touched; // slabs with something free; then the empty ones
};

// Free blocks on a shelf. One of them says which six hold the addresses of the others:
// who takes a batch waits for two cache lines, and for the second six at once.
struct pool_batch {
    struct pool_batch *next;
    void **lists[BATCH_LISTS];
    uint32_t count; // with this block and the lists; all but the last list are full
};

// Blocks of one class that are to make up a batch.
struct pool_handful {
    uint32_t count;
    void *blocks[BATCH];
};

// How far a trim is; see pool_trim.c.
enum trim_state { TRIM_RESTS, TRIM_COUNTS, TRIM_SORTS, TRIM_UNMAPS };

struct trim {
    enum trim_state state;
    struct pool_batch *taken[POOL_SMALL_CLASSES];  // to be counted, or sorted,
    struct pool_batch *looked[POOL_SMALL_CLASSES]; // and those that have been counted
    struct pool_handful kept[POOL_SMALL_CLASSES];  // blocks that stay
    struct slab *touched;
};

struct depot {
    pthread_mutex_t lock; // guards all below but trim
    struct pool_batch *shelves[POOL_SMALL_CLASSES];
    size_t free_bytes; // on the shelves
    struct pool_block *stacks[POOL_LARGE_CLASSES];
    size_t kept_bytes; // in the stacks
    struct slab *slabs;
    struct slab *spare; // those that could not be unmapped, by next
    char *fresh;        // the unused rest of the newest slab
    size_t fresh_bytes;
    void (*surplus)(void *arg); // NULL: nobody asked
    void *surplus_arg;
    bool is_asked;      // surplus was called, and its trims have not ended
    size_t least_bytes; // of free ones, since the trimmer last looked
    size_t ask_bytes;   // free ones from which on surplus is called
    struct trim trim;   // one thread at a time: who trims
};

// The bytes of a block of that small class.
static inline size_t
hark__class_bytes(unsigned class)
{
    return (size_t)(class + 1) << POOL_CLASS_SHIFT;
}

// Makes a batch of 1 to BATCH blocks.
struct pool_batch *hark__batch_make(void **blocks, uint32_t count);
// Puts it on its shelf. The lock is held.
void hark__depot_shelve(struct depot *depot, unsigned class, struct pool_batch *batch);
// Gives how many blocks a batch is, and their addresses; changes nothing.
uint32_t hark__batch_list(const struct pool_batch *batch, void *out_blocks[BATCH]);

// Large blocks: sizes over POOL_SMALL.
void hark__large_open(struct pool *pool);
void hark__large_close(struct pool *pool);
void *hark__large_alloc(struct pool *pool, size_t size, uint8_t *out_class);
void hark__large_free(struct pool *pool, void *memory, uint8_t size_class);
// Frees those of a depot that closes.
void hark__large_free_kept(struct depot *depot);

#endif // BASE_DEPOT_H
