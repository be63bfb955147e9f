#include "base/depot.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    MAGAZINE = 128, // blocks that move between a pool and the depot at once; of large
    MAGAZINE_BYTES = 64 << 10, // ones fewer: so many bytes, or one block
    KEPT_BYTES = 16 << 20,     // of large blocks in the depot
};

size_t
hark__class_bytes(unsigned class)
{
    if (class < POOL_SMALL_CLASSES) {
        return (size_t)(class + 1) << POOL_CLASS_SHIFT;
    }
    unsigned large = class - POOL_SMALL_CLASSES;
    return (size_t)(POOL_SMALL / 4) * (large % 4 + 5) << large / 4;
}

// The class for a size over POOL_SMALL and up to POOL_LARGEST.
static unsigned
large_class(size_t size)
{
    // In quarters of the power of two that is next below the size: 4 to 7.
    unsigned doubling = 0;
    size_t quarters = (size - 1) / (POOL_SMALL / 4);

    while (quarters >= 8) {
        quarters /= 2;
        doubling++;
    }
    return POOL_SMALL_CLASSES + 4 * doubling + (unsigned)quarters - 4;
}

uint32_t
hark__magazine_size(unsigned class)
{
    size_t fit = MAGAZINE_BYTES / hark__class_bytes(class);

    return (uint32_t)(fit > MAGAZINE || class < POOL_SMALL_CLASSES ? MAGAZINE
                      : fit > 0                                    ? fit
                                                                   : 1);
}

static struct pool_magazine
empty_magazine(unsigned class)
{
    return (struct pool_magazine){NULL, hark__magazine_size(class)};
}

static void
free_all(struct pool_block *block)
{
    while (block != NULL) {
        struct pool_block *next = block->next;

        free(block);
        block = next;
    }
}

struct depot *
hark__depot_open(void)
{
    struct depot *depot = calloc(1, sizeof *depot);

    if (depot != NULL) {
        pthread_mutex_init(&depot->lock, NULL);
        depot->ask_bytes = DEPOT_SURPLUS;
    }
    return depot;
}

void
hark__depot_watch(struct depot *depot, void (*surplus)(void *arg), void *arg)
{
    pthread_mutex_lock(&depot->lock);
    depot->surplus = surplus;
    depot->surplus_arg = arg;
    pthread_mutex_unlock(&depot->lock);
}

static void
unmap_all(struct slab *slab)
{
    while (slab != NULL) {
        struct slab *next = slab->next;

        munmap(slab, SLAB_BYTES);
        slab = next;
    }
}

void
hark__depot_close(struct depot *depot)
{
    unmap_all(depot->slabs);
    unmap_all(depot->spare);
    for (unsigned i = POOL_SMALL_CLASSES; i < POOL_CLASSES; i++) {
        while (depot->magazines[i] != NULL) {
            struct pool_block *first = depot->magazines[i];

            depot->magazines[i] = first->next_magazine;
            free_all(first);
        }
    }
    pthread_mutex_destroy(&depot->lock);
    free(depot);
}

struct pool *
hark__pool_open(struct depot *depot)
{
    struct pool *pool = calloc(1, sizeof *pool);

    if (pool != NULL) {
        pool->depot = depot;
        for (unsigned i = 0; i < POOL_HUGE_CLASS; i++) {
            pool->active[i] = pool->spare[i] = empty_magazine(i);
        }
    }
    return pool;
}

void
hark__depot_shelve(struct depot *depot, unsigned class, struct pool_magazine magazine)
{
    magazine.first->count = hark__magazine_size(class) - magazine.room;
    magazine.first->next_magazine = depot->magazines[class];
    depot->magazines[class] = magazine.first;
    if (class < POOL_SMALL_CLASSES) {
        depot->free_bytes += magazine.first->count * hark__class_bytes(class);
    }
}

// Takes magazine, which is not empty. The lock is held. Gives what is to be freed
// without it.
static struct pool_block *
shelve(struct depot *depot, unsigned class, struct pool_magazine magazine)
{
    if (class >= POOL_SMALL_CLASSES) {
        size_t bytes =
            (hark__magazine_size(class) - magazine.room) * hark__class_bytes(class);

        if (bytes > KEPT_BYTES - depot->kept_bytes) {
            return magazine.first;
        }
        depot->kept_bytes += bytes;
    }
    hark__depot_shelve(depot, class, magazine);
    return NULL;
}

// There is much that could go back, and nobody was told. The lock is held.
static bool
asks(struct depot *depot)
{
    bool asks = depot->free_bytes > depot->ask_bytes && !depot->is_asked
                && depot->surplus != NULL;

    depot->is_asked = depot->is_asked || asks;
    return asks;
}

static void
give_back(struct depot *depot, unsigned class, struct pool_magazine magazine)
{
    if (magazine.first != NULL) {
        pthread_mutex_lock(&depot->lock);
        struct pool_block *surplus = shelve(depot, class, magazine);
        bool is_much = asks(depot);
        pthread_mutex_unlock(&depot->lock);
        free_all(surplus);
        if (is_much) {
            depot->surplus(depot->surplus_arg);
        }
    }
}

void
hark__pool_close(struct pool *pool)
{
    for (unsigned i = 0; i < POOL_CLASSES; i++) {
        give_back(pool->depot, i, pool->active[i]);
        give_back(pool->depot, i, pool->spare[i]);
    }
    free(pool);
}

// As numbers, since these are cut. 0: no memory.
static uintptr_t
map(size_t bytes, int flags)
{
    uintptr_t start = (uintptr_t)mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

    // cppcheck-suppress memleak // the caller's, as a number
    return start == (uintptr_t)MAP_FAILED ? 0 : start;
}

// One that starts where a slab must: cut out of a larger one. Its pages come when they
// are wanted.
static uintptr_t
map_aligned(void)
{
    uintptr_t from = map((size_t)2 * SLAB_BYTES, MAP_NORESERVE);
    size_t before = (SLAB_BYTES - from % SLAB_BYTES) % SLAB_BYTES;
    uintptr_t slab = from + before;

    if (from == 0) {
        return 0;
    }
    if (before > 0) {
        munmap((void *)from, before);
    }
    munmap((void *)(slab + SLAB_BYTES), SLAB_BYTES - before);
    return slab;
}

// Maps one slab with its pages in place: touching them one by one costs 20 times more.
// The kernel puts it beside the last one as a rule, and so where it must start.
static struct slab *
map_slab(void)
{
    uintptr_t start = map(SLAB_BYTES, MAP_POPULATE);

    if (start % SLAB_BYTES != 0) {
        munmap((void *)start, SLAB_BYTES);
        start = map_aligned();
    }
    return (struct slab *)start;
}

static bool
grow(struct depot *depot)
{
    struct slab *slab = depot->spare;

    if (slab != NULL) {
        depot->spare = slab->next;
    } else {
        slab = map_slab();
    }
    if (slab == NULL) {
        return false;
    }
    if (depot->slabs != NULL) { // the one that was carved last
        depot->slabs->carved = (uint32_t)(SLAB_BYTES - SLAB_HEAD - depot->fresh_bytes);
        depot->slabs->prev = slab;
    }
    *slab = (struct slab){.next = depot->slabs};
    depot->slabs = slab;
    depot->fresh = (char *)slab + SLAB_HEAD;
    depot->fresh_bytes = SLAB_BYTES - SLAB_HEAD;
    return true;
}

static struct pool_magazine
carve(struct depot *depot, unsigned class)
{
    size_t block_bytes = hark__class_bytes(class);
    struct pool_magazine magazine = empty_magazine(class);

    while (magazine.room > 0) {
        if (depot->fresh_bytes < block_bytes && !grow(depot)) {
            break;
        }
        struct pool_block *block = (struct pool_block *)(void *)depot->fresh;
        depot->fresh += block_bytes;
        depot->fresh_bytes -= block_bytes;
        block->next = magazine.first;
        magazine.first = block;
        magazine.room--;
    }
    return magazine;
}

// So many bytes of that class leave the shelves. The lock is held.
static void
take_count(struct depot *depot, unsigned class, size_t bytes)
{
    if (class >= POOL_SMALL_CLASSES) {
        depot->kept_bytes -= bytes;
        return;
    }
    depot->free_bytes -= bytes;
    if (depot->free_bytes < depot->least_bytes) {
        depot->least_bytes = depot->free_bytes;
    }
}

// Takes a magazine from the depot, or makes one of small blocks. It may be empty.
static struct pool_magazine
depot_take(struct depot *depot, unsigned class)
{
    struct pool_magazine magazine = empty_magazine(class);

    pthread_mutex_lock(&depot->lock);
    if (depot->magazines[class] != NULL) {
        magazine.first = depot->magazines[class];
        magazine.room -= magazine.first->count;
        depot->magazines[class] = magazine.first->next_magazine;
        take_count(depot, class, magazine.first->count * hark__class_bytes(class));
    } else if (class < POOL_SMALL_CLASSES) {
        magazine = carve(depot, class);
    }
    pthread_mutex_unlock(&depot->lock);
    return magazine;
}

static void
refill(struct pool *pool, unsigned class)
{
    if (pool->spare[class].first != NULL) {
        pool->active[class] = pool->spare[class];
        pool->spare[class] = empty_magazine(class);
    } else {
        pool->active[class] = depot_take(pool->depot, class);
    }
}

// NULL: none is kept.
static struct pool_block *
take_large(struct pool *pool, unsigned class)
{
    struct pool_magazine *active = &pool->active[class];

    if (class >= POOL_HUGE_CLASS) {
        return depot_take(pool->depot, class).first; // its only one
    }
    if (active->first == NULL) {
        refill(pool, class);
    }
    struct pool_block *block = active->first;
    if (block != NULL) {
        active->first = block->next;
        active->room++;
    }
    return block;
}

static void *
alloc_large(struct pool *pool, size_t size, uint8_t *out_class)
{
    unsigned class = large_class(size);
    struct pool_block *block = take_large(pool, class);

    *out_class = (uint8_t) class;
    return block != NULL
               ? (void *)block
               : aligned_alloc((size_t)1 << POOL_CLASS_SHIFT, hark__class_bytes(class));
}

void *
hark__pool_alloc_slow(struct pool *pool, size_t size, uint8_t *out_class)
{
    size = size > 0 ? size : 1;
    if (size > POOL_LARGEST) {
        *out_class = POOL_MALLOC;
        return malloc(size);
    }
    if (size > POOL_SMALL) {
        return alloc_large(pool, size, out_class);
    }
    unsigned class = (unsigned)((size - 1) >> POOL_CLASS_SHIFT);

    refill(pool, class);
    return pool->active[class].first != NULL ? hark__pool_alloc(pool, size, out_class)
                                             : NULL;
}

// Makes room: the full magazine becomes the spare, and the old spare goes to the depot.
static void
rotate(struct pool *pool, unsigned class)
{
    give_back(pool->depot, class, pool->spare[class]);
    pool->spare[class] = pool->active[class];
    pool->active[class] = empty_magazine(class);
}

void
hark__pool_free_slow(struct pool *pool, void *memory, uint8_t size_class)
{
    if (size_class == POOL_MALLOC) {
        free(memory);
        return;
    }
    if (size_class >= POOL_HUGE_CLASS) {
        struct pool_block *block = memory;

        block->next = NULL;
        give_back(pool->depot, size_class, (struct pool_magazine){block, 0});
        return;
    }
    rotate(pool, size_class);
    hark__pool_free(pool, memory, size_class);
}
