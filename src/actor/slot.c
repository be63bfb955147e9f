#include "actor/slot.h"

#include <sys/mman.h>

enum {
    // A thread's stock is a small part of the limit, or nothing: what it holds, others
    // lack.
    STOCK_SHARE = 1024,
    HUGE_PAGE = 2 * 1024 * 1024,
    SMALL_STEP = 4096,                            // slots
    LARGE_STEP = HUGE_PAGE / sizeof(struct slot), // slots
};

#define NO_SLOT UINT32_MAX

// ---- memory ----

bool
hark__slots_init(struct slots *slots, uint32_t limit)
{
    uint32_t share = limit / STOCK_SHARE;

    *slots = (struct slots){
        .limit = limit,
        .batch = share < SLOT_CACHE / 2 ? share : SLOT_CACHE / 2,
        .free_first = NO_SLOT,
        .free_last = NO_SLOT,
        .reserved_bytes = (size_t)limit * sizeof(struct slot) + (size_t)2 * HUGE_PAGE,
    };
    slots->reserved = mmap(NULL, slots->reserved_bytes, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (slots->reserved == MAP_FAILED) {
        return false;
    }
    uintptr_t start = (uintptr_t)slots->reserved + HUGE_PAGE - 1;
    slots->base = (struct slot *)(start - start % HUGE_PAGE);
    pthread_mutex_init(&slots->lock, NULL);
    return true;
}

void
hark__slots_fini(struct slots *slots)
{
    munmap(slots->reserved, slots->reserved_bytes);
    pthread_mutex_destroy(&slots->lock);
}

// Puts the pages of a step in place. Huge ones once there are many: a million actors
// touched at random need fewer translations then.
static bool
commit(struct slots *slots, uint32_t from, uint32_t more)
{
    void *start = &slots->base[from];
    size_t bytes = (size_t)more * sizeof(struct slot);

    if (mprotect(start, bytes, PROT_READ | PROT_WRITE) != 0) {
        return false;
    }
    // All advice: without it pages come one by one.
    if (from >= LARGE_STEP) {
        (void)madvise(start, bytes, MADV_HUGEPAGE);
    }
    (void)madvise(start, bytes, MADV_POPULATE_WRITE);
    return true;
}

// One more step. The lock is held.
static bool
grow(struct slots *slots)
{
    // relaxed: written under the lock that we hold.
    uint32_t count = atomic_load_explicit(&slots->count, memory_order_relaxed);
    uint32_t more = count < LARGE_STEP ? SMALL_STEP : LARGE_STEP;

    if (more > slots->limit - count) {
        more = slots->limit - count;
    }
    if (more == 0 || !commit(slots, count, more)) {
        return false;
    }
    for (uint32_t i = count; i < count + more; i++) {
        hark__mailbox_init(&slots->base[i].box);
        atomic_init(&slots->base[i].generation, 1);
        slots->base[i].index = i;
    }
    // release: pairs with slot_at.
    atomic_store_explicit(&slots->count, count + more, memory_order_release);
    return true;
}

// ---- the list of free slots; the lock is held ----

static void
put_free(struct slots *slots, uint32_t index)
{
    slots->base[index].next_free = NO_SLOT;
    if (slots->free_count++ == 0) {
        slots->free_first = index;
    } else {
        slots->base[slots->free_last].next_free = index;
    }
    slots->free_last = index;
}

// The oldest used one, or a new one. NO_SLOT: the limit, or no memory.
static uint32_t
take_free(struct slots *slots)
{
    if (slots->free_count > 0) {
        uint32_t index = slots->free_first;

        slots->free_first = slots->base[index].next_free;
        slots->free_count--;
        return index;
    }
    // relaxed: written under the lock that we hold.
    if (slots->fresh == atomic_load_explicit(&slots->count, memory_order_relaxed)
        && !grow(slots)) {
        return NO_SLOT;
    }
    return slots->fresh++;
}

// ---- caches ----

// Fills the cache, which is empty, by a batch.
static void
refill(struct slots *slots, struct slot_cache *cache)
{
    uint32_t taken[SLOT_CACHE / 2];
    uint32_t wanted = slots->batch > 0 ? slots->batch : 1;
    uint32_t count = 0;

    pthread_mutex_lock(&slots->lock);
    while (count < wanted && (taken[count] = take_free(slots)) != NO_SLOT) {
        count++;
    }
    pthread_mutex_unlock(&slots->lock);
    while (count > 0) { // the oldest on top
        cache->indices[cache->count++] = taken[--count];
    }
}

// The older half of a full cache goes back.
static __attribute__((noinline)) void
spill(struct slots *slots, struct slot_cache *cache)
{
    uint32_t half = cache->count / 2;

    pthread_mutex_lock(&slots->lock);
    for (uint32_t i = 0; i < half; i++) {
        put_free(slots, cache->indices[i]);
    }
    pthread_mutex_unlock(&slots->lock);
    cache->count -= half;
    for (uint32_t i = 0; i < cache->count; i++) {
        cache->indices[i] = cache->indices[half + i];
    }
}

static __attribute__((noinline)) void
give_back(struct slots *slots, const struct slot *slot)
{
    pthread_mutex_lock(&slots->lock);
    put_free(slots, slot->index);
    pthread_mutex_unlock(&slots->lock);
}

// As hark__slot_claim, if the newest one in the cache will not do.
static __attribute__((noinline)) struct slot *
search(struct slots *slots, struct slot_cache *cache)
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

struct slot *
hark__slot_claim(struct slots *slots, struct slot_cache *cache)
{
    if (cache->count > 0) {
        struct slot *slot = hark__slot_at(slots, cache->indices[cache->count - 1]);

        if (hark__mailbox_claim(&slot->box)) {
            cache->count--;
            return slot;
        }
    }
    return search(slots, cache);
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
    cache->indices[cache->count++] = slot->index;
    if (cache->count >= 2 * slots->batch) {
        spill(slots, cache);
    }
}

void
hark__slots_return(struct slots *slots, struct slot_cache *cache)
{
    pthread_mutex_lock(&slots->lock);
    for (uint32_t i = 0; i < cache->count; i++) {
        put_free(slots, cache->indices[i]);
    }
    pthread_mutex_unlock(&slots->lock);
    cache->count = 0;
}
