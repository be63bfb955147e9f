#include "base/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    CLASS_SHIFT = 5, // classes are 32 bytes apart
    CLASS_COUNT = 32,
    LARGEST = CLASS_COUNT << CLASS_SHIFT, // 1 KiB; above it malloc serves
    CLASS_MALLOC = CLASS_COUNT,
    POOL_MAGAZINE = 128, // blocks that move between a pool and the depot at once
    SLAB_BYTES = 1 << 18,
};

struct block {
    struct block *next;
    // Of the first block of a magazine in the depot:
    struct block *next_magazine;
    uint32_t count; // blocks in this magazine
};

// Blocks of one class, at most POOL_MAGAZINE of them.
struct magazine {
    struct block *first;
    uint32_t count;
};

struct shelf {
    struct magazine active; // taken from and given to
    struct magazine spare;  // kept back, so that a swap goes to the depot rarely
};

struct pool {
    struct shelf shelves[CLASS_COUNT];
    struct depot *depot;
};

struct slab {
    struct slab *next;
};

struct depot {
    pthread_mutex_t lock; // guards all below
    struct block *magazines[CLASS_COUNT];
    struct slab *slabs;
    char *fresh; // the unused rest of the newest slab
    size_t fresh_bytes;
};

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
    }
    return pool;
}

// Takes magazine, which may be empty. The lock is held.
static void
shelve(struct depot *depot, unsigned class, struct magazine magazine)
{
    if (magazine.first != NULL) {
        magazine.first->count = magazine.count;
        magazine.first->next_magazine = depot->magazines[class];
        depot->magazines[class] = magazine.first;
    }
}

void
hark__pool_close(struct pool *pool)
{
    struct depot *depot = pool->depot;

    pthread_mutex_lock(&depot->lock);
    for (unsigned i = 0; i < CLASS_COUNT; i++) {
        shelve(depot, i, pool->shelves[i].active);
        shelve(depot, i, pool->shelves[i].spare);
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

static struct magazine
carve(struct depot *depot, size_t block_bytes)
{
    struct magazine magazine = {0};

    while (magazine.count < POOL_MAGAZINE) {
        if (depot->fresh_bytes < block_bytes && !grow(depot)) {
            break;
        }
        struct block *block = (struct block *)(void *)depot->fresh;
        depot->fresh += block_bytes;
        depot->fresh_bytes -= block_bytes;
        block->next = magazine.first;
        magazine.first = block;
        magazine.count++;
    }
    return magazine;
}

static struct magazine
depot_take(struct depot *depot, unsigned class)
{
    struct magazine magazine = {0};

    pthread_mutex_lock(&depot->lock);
    if (depot->magazines[class] != NULL) {
        magazine.first = depot->magazines[class];
        magazine.count = magazine.first->count;
        depot->magazines[class] = magazine.first->next_magazine;
    } else {
        magazine = carve(depot, (size_t)(class + 1) << CLASS_SHIFT);
    }
    pthread_mutex_unlock(&depot->lock);
    return magazine;
}

static void
refill(struct pool *pool, unsigned class)
{
    struct shelf *shelf = &pool->shelves[class];

    if (shelf->spare.first != NULL) {
        shelf->active = shelf->spare;
        shelf->spare = (struct magazine){0};
    } else {
        shelf->active = depot_take(pool->depot, class);
    }
}

void *
hark__pool_alloc(struct pool *pool, size_t size, uint8_t *out_class)
{
    if (size > LARGEST) {
        *out_class = CLASS_MALLOC;
        return malloc(size);
    }
    unsigned class = size == 0 ? 0 : (unsigned)((size - 1) >> CLASS_SHIFT);
    struct magazine *active = &pool->shelves[class].active;

    if (active->first == NULL) {
        refill(pool, class);
        if (active->first == NULL) {
            return NULL;
        }
    }
    struct block *block = active->first;
    active->first = block->next;
    active->count--;
    *out_class = (uint8_t) class;
    return block;
}

// Makes room in active: it becomes the spare, and the old spare goes to the depot.
static void
rotate(struct pool *pool, unsigned class)
{
    struct shelf *shelf = &pool->shelves[class];

    if (shelf->spare.first != NULL) {
        pthread_mutex_lock(&pool->depot->lock);
        shelve(pool->depot, class, shelf->spare);
        pthread_mutex_unlock(&pool->depot->lock);
    }
    shelf->spare = shelf->active;
    shelf->active = (struct magazine){0};
}

void
hark__pool_free(struct pool *pool, void *memory, uint8_t size_class)
{
    if (size_class == CLASS_MALLOC) {
        free(memory);
        return;
    }
    struct magazine *active = &pool->shelves[size_class].active;
    struct block *block = memory;

    if (active->count == POOL_MAGAZINE) {
        rotate(pool, size_class);
    }
    block->next = active->first;
    active->first = block;
    active->count++;
}
