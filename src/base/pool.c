#include "base/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    POOL_MAGAZINE = 128, // blocks that move between a pool and the depot at once
    SLAB_BYTES = 1 << 18,
};

struct slab {
    struct slab *next;
};

struct depot {
    pthread_mutex_t lock; // guards all below
    struct pool_block *magazines[POOL_CLASSES];
    struct slab *slabs;
    char *fresh; // the unused rest of the newest slab
    size_t fresh_bytes;
};

static const struct pool_magazine EMPTY = {NULL, POOL_MAGAZINE};

struct depot *
hark__depot_open(void)
{
    struct depot *depot = calloc(1, sizeof *depot);

    if (depot != NULL) {
        pthread_mutex_init(&depot->lock, NULL);
    }
    return depot;
}

void
hark__depot_close(struct depot *depot)
{
    while (depot->slabs != NULL) {
        struct slab *slab = depot->slabs;

        depot->slabs = slab->next;
        munmap(slab, SLAB_BYTES);
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
        for (unsigned i = 0; i < POOL_CLASSES; i++) {
            pool->active[i] = pool->spare[i] = EMPTY;
        }
    }
    return pool;
}

// Takes magazine, which may be empty. The lock is held.
static void
shelve(struct depot *depot, unsigned class, struct pool_magazine magazine)
{
    if (magazine.first != NULL) {
        magazine.first->count = POOL_MAGAZINE - magazine.room;
        magazine.first->next_magazine = depot->magazines[class];
        depot->magazines[class] = magazine.first;
    }
}

void
hark__pool_close(struct pool *pool)
{
    struct depot *depot = pool->depot;

    pthread_mutex_lock(&depot->lock);
    for (unsigned i = 0; i < POOL_CLASSES; i++) {
        shelve(depot, i, pool->active[i]);
        shelve(depot, i, pool->spare[i]);
    }
    pthread_mutex_unlock(&depot->lock);
    free(pool);
}

// Maps one slab with its pages in place: touching them one by one costs 20 times more.
static bool
grow(struct depot *depot)
{
    struct slab *slab = mmap(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (slab == MAP_FAILED) {
        return false;
    }
    slab->next = depot->slabs;
    depot->slabs = slab;
    depot->fresh = (char *)slab + 64; // keeps blocks on cache lines
    depot->fresh_bytes = SLAB_BYTES - 64;
    return true;
}

static struct pool_magazine
carve(struct depot *depot, size_t block_bytes)
{
    struct pool_magazine magazine = EMPTY;

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

static struct pool_magazine
depot_take(struct depot *depot, unsigned class)
{
    struct pool_magazine magazine = EMPTY;

    pthread_mutex_lock(&depot->lock);
    if (depot->magazines[class] != NULL) {
        magazine.first = depot->magazines[class];
        magazine.room = POOL_MAGAZINE - magazine.first->count;
        depot->magazines[class] = magazine.first->next_magazine;
    } else {
        magazine = carve(depot, (size_t)(class + 1) << POOL_CLASS_SHIFT);
    }
    pthread_mutex_unlock(&depot->lock);
    return magazine;
}

static void
refill(struct pool *pool, unsigned class)
{
    if (pool->spare[class].first != NULL) {
        pool->active[class] = pool->spare[class];
        pool->spare[class] = EMPTY;
    } else {
        pool->active[class] = depot_take(pool->depot, class);
    }
}

void *
hark__pool_alloc_slow(struct pool *pool, size_t size, uint8_t *out_class)
{
    size = size > 0 ? size : 1;
    if (size > POOL_LARGEST) {
        *out_class = POOL_MALLOC;
        return malloc(size);
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
    if (pool->spare[class].first != NULL) {
        pthread_mutex_lock(&pool->depot->lock);
        shelve(pool->depot, class, pool->spare[class]);
        pthread_mutex_unlock(&pool->depot->lock);
    }
    pool->spare[class] = pool->active[class];
    pool->active[class] = EMPTY;
}

void
hark__pool_free_slow(struct pool *pool, void *memory, uint8_t size_class)
{
    if (size_class == POOL_MALLOC) {
        free(memory);
        return;
    }
    rotate(pool, size_class);
    hark__pool_free(pool, memory, size_class);
}
