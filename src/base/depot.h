// Depot: what the threads' pools share. Private to pool.c and pool_trim.c.
//
// Small blocks are carved from slabs, of any classes mixed, and never change their
// class. A slab goes back to the operating system when all its blocks are free:
// pool_trim.c finds such slabs, since to count in each slab what is free would cost
// every exchange of magazines some 128 cache misses.
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
};

struct slab {
    struct slab *next, *prev; // among the depot's
    uint32_t carved;          // bytes of blocks; 0 while it is being carved
    // While the depot is trimmed, its trimmer's:
    uint32_t free;             // bytes found so far
    bool is_empty;             // all its blocks are free, and taken out
    struct slab *next_touched; // slabs with something free; then the empty ones
};

// How far a trim is; see pool_trim.c.
enum trim_state { TRIM_RESTS, TRIM_COUNTS, TRIM_SORTS, TRIM_UNMAPS };

struct trim {
    enum trim_state state;
    struct pool_block *taken[POOL_SMALL_CLASSES]; // magazines to be counted, or sorted,
    struct pool_block *looked[POOL_SMALL_CLASSES]; // and those that have been counted
    struct pool_magazine
        kept[POOL_SMALL_CLASSES]; // blocks that stay: one in the making
    struct slab *touched;
};

struct depot {
    pthread_mutex_t lock; // guards all below but trim
    struct pool_block *magazines[POOL_CLASSES];
    size_t kept_bytes; // of the large ones among them
    size_t free_bytes; // of the small ones among them
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

// The bytes of a block of that class.
size_t hark__class_bytes(unsigned class);
// Blocks in a magazine of that class, at most.
uint32_t hark__magazine_size(unsigned class);
// Puts a magazine of small blocks on its shelf. The lock is held.
void hark__depot_shelve(struct depot *depot, unsigned class,
                        struct pool_magazine magazine);

#endif // BASE_DEPOT_H
