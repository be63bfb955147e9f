#include "actor/slot.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// A thread's stock is a small part of the limit, or nothing: what it holds, others
// lack.
enum { STOCK_SHARE = 1024 };

bool
hark__slots_init(struct slots *slots, uint32_t limit)
{
    *slots = (struct slots){.limit = limit};
    slots->chunk_limit = (limit + SLOT_CHUNK - 1) / SLOT_CHUNK;
    slots->batch =
        limit / STOCK_SHARE < SLOT_CACHE / 2 ? limit / STOCK_SHARE : SLOT_CACHE / 2;
    slots->chunks = calloc(slots->chunk_limit, sizeof(struct slot *));
    if (slots->chunks == NULL) {
        return false;
    }
    pthread_mutex_init(&slots->lock, NULL);
    return true;
}

void
hark__slots_fini(struct slots *slots)
{
    for (uint32_t i = 0; i < slots->chunk_limit && slots->chunks[i] != NULL; i++) {
        munmap(slots->chunks[i], sizeof(struct slot) * SLOT_CHUNK);
    }
    pthread_mutex_destroy(&slots->lock);
    free(slots->free);
    free((void *)slots->chunks);
}

// One more chunk, its pages in place at once. The lock is held.
static bool
grow(struct slots *slots)
{
    // relaxed: written under the lock that we hold.
    uint32_t count = atomic_load_explicit(&slots->count, memory_order_relaxed);
    uint32_t chunk = count >> SLOT_CHUNK_BITS;

    if (count >= slots->limit || chunk >= slots->chunk_limit) {
        return false;
    }
    struct slot *fresh =
        mmap(NULL, sizeof(struct slot) * SLOT_CHUNK, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (fresh == MAP_FAILED) {
        return false;
    }
    for (uint32_t i = 0; i < SLOT_CHUNK; i++) {
        hark__mailbox_init(&fresh[i].box);
        atomic_init(&fresh[i].generation, 1);
        fresh[i].index = count + i;
    }
    slots->chunks[chunk] = fresh;
    uint32_t more =
        slots->limit - count < SLOT_CHUNK ? slots->limit - count : SLOT_CHUNK;
    // release: pairs with slot_at.
    atomic_store_explicit(&slots->count, count + more, memory_order_release);
    return true;
}

static bool
reserve_free(struct slots *slots, uint32_t more)
{
    uint32_t need = slots->free_count + more;

    if (need <= slots->free_capacity) {
        return true;
    }
    uint32_t capacity =
        slots->free_capacity == 0 ? SLOT_CHUNK * 2 : slots->free_capacity;
    while (capacity < need) {
        capacity *= 2;
    }
    uint32_t *grown = malloc(capacity * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < slots->free_count; i++) {
        uint32_t at = slots->free_first + i;

        grown[i] =
            slots->free[at < slots->free_capacity ? at : at - slots->free_capacity];
    }
    free(slots->free);
    slots->free = grown;
    slots->free_capacity = capacity;
    slots->free_first = 0;
    return true;
}

static void
put_free(struct slots *slots, uint32_t index)
{
    slots->free[(slots->free_first + slots->free_count++) % slots->free_capacity] =
        index;
}

static uint32_t
take_free(struct slots *slots)
{
    uint32_t index = slots->free[slots->free_first];

    slots->free_first = (slots->free_first + 1) % slots->free_capacity;
    slots->free_count--;
    return index;
}

// Fills the cache by a batch, from the oldest free slots, or from new ones.
static void
refill(struct slots *slots, struct slot_cache *cache)
{
    pthread_mutex_lock(&slots->lock);
    if (slots->free_count == 0 && reserve_free(slots, SLOT_CHUNK)) {
        uint32_t from =
            atomic_load_explicit(&slots->count, memory_order_relaxed); // locked
        if (grow(slots)) {
            uint32_t to = atomic_load_explicit(&slots->count, memory_order_relaxed);
            while (from < to) {
                put_free(slots, from++);
            }
        }
    }
    uint32_t taken[SLOT_CACHE / 2];
    uint32_t wanted = slots->batch > 0 ? slots->batch : 1;
    uint32_t count = 0;
    while (count < wanted && slots->free_count > 0) {
        taken[count++] = take_free(slots);
    }
    pthread_mutex_unlock(&slots->lock);
    while (count > 0) { // the oldest on top
        cache->indices[cache->count++] = taken[--count];
    }
}

// The older half of a full cache goes back. Without memory for that it is kept in the
// cache's place of the newest, and that one slot is lost until the node closes.
static void
spill(struct slots *slots, struct slot_cache *cache)
{
    uint32_t half = cache->count / 2;

    pthread_mutex_lock(&slots->lock);
    if (reserve_free(slots, half)) {
        for (uint32_t i = 0; i < half; i++) {
            put_free(slots, cache->indices[i]);
        }
        memmove(cache->indices, cache->indices + half,
                (cache->count - half) * sizeof cache->indices[0]);
        cache->count -= half;
    } else {
        cache->count--;
    }
    pthread_mutex_unlock(&slots->lock);
}

static void
give_back(struct slots *slots, const struct slot *slot)
{
    pthread_mutex_lock(&slots->lock);
    if (reserve_free(slots, 1)) { // else it is lost until the node closes
        put_free(slots, slot->index);
    }
    pthread_mutex_unlock(&slots->lock);
}

struct slot *
hark__slot_claim(struct slots *slots, struct slot_cache *cache)
{
    // A slot that is being drained is skipped; a full round of them ends the search.
    for (uint32_t tries = 0; tries < 4 * SLOT_CACHE; tries++) {
        if (cache->count == 0) {
            refill(slots, cache);
            if (cache->count == 0) {
                return NULL;
            }
        }
        struct slot *slot = hark__slot_at(slots, cache->indices[--cache->count]);
        if (hark__mailbox_claim(&slot->box)) {
            return slot;
        }
        give_back(slots, slot);
    }
    return NULL;
}

void
hark__slot_free(struct slots *slots, struct slot_cache *cache, struct slot *slot)
{
    // relaxed: the reader itself wrote it.
    if (atomic_load_explicit(&slot->generation, memory_order_relaxed) == UINT32_MAX) {
        return; // the next generation would wrap: the slot retires
    }
    if (slots->batch == 0) {
        give_back(slots, slot);
        return;
    }
    if (cache->count >= 2 * slots->batch) {
        spill(slots, cache);
    }
    cache->indices[cache->count++] = slot->index;
}

void
hark__slots_return(struct slots *slots, struct slot_cache *cache)
{
    pthread_mutex_lock(&slots->lock);
    if (reserve_free(slots, cache->count)) {
        for (uint32_t i = 0; i < cache->count; i++) {
            put_free(slots, cache->indices[i]);
        }
    }
    cache->count = 0;
    pthread_mutex_unlock(&slots->lock);
}
