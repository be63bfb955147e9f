#include "base/depot.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { TRADED = 2 * BATCH }; // blocks between a row and the depot at once, as a rule

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
    hark__large_free_kept(depot);
    pthread_mutex_destroy(&depot->lock);
    free(depot);
}

// ---- batches ----

struct pool_batch *
hark__batch_make(void **blocks, uint32_t count)
{
    struct pool_batch *batch = blocks[0];
    uint32_t at = 1;

    batch->count = count;
    for (unsigned i = 0; at < count; i++) {
        void **list = blocks[at++];
        uint32_t listed = count - at < LISTED ? count - at : LISTED;

        memcpy(list, &blocks[at], listed * sizeof *list);
        batch->lists[i] = list;
        at += listed;
    }
    return batch;
}

static uint32_t
count_lists(const struct pool_batch *batch)
{
    return (batch->count - 1 + LISTED) / (LISTED + 1);
}

uint32_t
hark__batch_list(const struct pool_batch *batch, void *out_blocks[BATCH])
{
    uint32_t at = 1;
    uint32_t lists = count_lists(batch);

    for (uint32_t i = 0; i < lists; i++) {
        __builtin_prefetch(batch->lists[i]);
    }
    out_blocks[0] = (void *)batch;
    for (uint32_t i = 0; i < lists; i++) {
        out_blocks[at++] = batch->lists[i];
        uint32_t listed = batch->count - at < LISTED ? batch->count - at : LISTED;

        memcpy(&out_blocks[at], batch->lists[i], listed * sizeof *out_blocks);
        at += listed;
    }
    return at;
}

void
hark__depot_shelve(struct depot *depot, unsigned class, struct pool_batch *batch)
{
    batch->next = depot->shelves[class];
    depot->shelves[class] = batch;
    depot->free_bytes += batch->count * hark__class_bytes(class);
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

// ---- the depot gives ----

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

// Gives how many blocks it could make. The lock is held.
static uint32_t
carve(struct depot *depot, unsigned class, void **out_blocks)
{
    size_t block_bytes = hark__class_bytes(class);
    uint32_t count = 0;

    while (count < TRADED) {
        if (depot->fresh_bytes < block_bytes && !grow(depot)) {
            break;
        }
        out_blocks[count++] = depot->fresh;
        depot->fresh += block_bytes;
        depot->fresh_bytes -= block_bytes;
    }
    return count;
}

// NULL: the shelf is empty. The lock is held.
static struct pool_batch *
unshelve(struct depot *depot, unsigned class)
{
    struct pool_batch *batch = depot->shelves[class];

    if (batch == NULL) {
        return NULL;
    }
    depot->shelves[class] = batch->next;
    depot->free_bytes -= batch->count * hark__class_bytes(class);
    if (depot->free_bytes < depot->least_bytes) {
        depot->least_bytes = depot->free_bytes;
    }
    return batch;
}

// Gives up to TRADED blocks; none if there is no memory. Under the lock nobody waits for
// more than a line of each batch.
static uint32_t
depot_take(struct depot *depot, unsigned class, void **out_blocks)
{
    uint32_t count = 0;

    pthread_mutex_lock(&depot->lock);
    struct pool_batch *first = unshelve(depot, class);
    struct pool_batch *second = unshelve(depot, class);
    if (first == NULL) {
        count = carve(depot, class, out_blocks);
    }
    pthread_mutex_unlock(&depot->lock);
    if (second != NULL) {
        count = hark__batch_list(second, out_blocks);
    }
    if (first != NULL) {
        count += hark__batch_list(first, &out_blocks[count]);
    }
    return count;
}

// ---- a pool ----

struct pool *
hark__pool_open(struct depot *depot)
{
    struct pool *pool = calloc(1, sizeof *pool);

    if (pool != NULL) {
        pool->depot = depot;
        for (uint32_t i = 0; i <= POOL_CLASSES; i++) {
            pool->last[i] = i < POOL_SMALL_CLASSES ? i * POOL_ROW : POOL_ROW - 1;
        }
        hark__large_open(pool);
    }
    return pool;
}

// Hands over up to TRADED blocks from the beginning of a row. The rest moves down.
static void
give_back(struct pool *pool, unsigned class, uint32_t count)
{
    struct depot *depot = pool->depot;
    void **row = &pool->blocks[class * POOL_ROW + 1];
    uint32_t left = pool->last[class] % POOL_ROW - count;
    uint32_t in_first = count < BATCH ? count : BATCH;
    struct pool_batch *first = hark__batch_make(row, in_first);
    struct pool_batch *second =
        count > BATCH ? hark__batch_make(&row[BATCH], count - BATCH) : NULL;

    pthread_mutex_lock(&depot->lock);
    hark__depot_shelve(depot, class, first);
    if (second != NULL) {
        hark__depot_shelve(depot, class, second);
    }
    bool is_much = asks(depot);
    pthread_mutex_unlock(&depot->lock);
    memmove(row, &row[count], left * sizeof *row);
    pool->last[class] -= count;
    if (is_much) {
        depot->surplus(depot->surplus_arg);
    }
}

void
hark__pool_close(struct pool *pool)
{
    for (unsigned i = 0; i < POOL_SMALL_CLASSES; i++) {
        for (uint32_t left; (left = pool->last[i] % POOL_ROW) > 0;) {
            give_back(pool, i, left < TRADED ? left : TRADED);
        }
    }
    hark__large_close(pool);
    free(pool);
}

void *
hark__pool_alloc_slow(struct pool *pool, size_t size, uint8_t *out_class)
{
    if (size > POOL_SMALL) {
        return hark__large_alloc(pool, size, out_class);
    }
    unsigned class = size > 0 ? (unsigned)((size - 1) >> POOL_CLASS_SHIFT) : 0;

    *out_class = (uint8_t) class;
    if (pool->last[class] % POOL_ROW == 0) {
        pool->last[class] +=
            depot_take(pool->depot, class, &pool->blocks[class * POOL_ROW + 1]);
    }
    return pool->last[class] % POOL_ROW != 0 ? pool->blocks[pool->last[class]--] : NULL;
}

// Of a full row.
void
hark__pool_free_slow(struct pool *pool, void *memory, uint8_t size_class)
{
    if (size_class >= POOL_SMALL_CLASSES) {
        hark__large_free(pool, memory, size_class);
        return;
    }
    give_back(pool, size_class, TRADED);
    pool->blocks[++pool->last[size_class]] = memory;
}
