#include "actor/slot.h"

#include <stdlib.h>
#include <sys/mman.h>

enum {
    // A thread's stock is a small part of the limit, or nothing: what it holds, others
    // lack.
    STOCK_SHARE = 1024,
    HUGE_PAGE = CHUNK_SLOTS * sizeof(struct slot),
    SMALL_STEP = 4096, // slots; later ones are whole chunks
};

#define NO_SLOT UINT32_MAX
#define GENERATION_LAST (UINT32_MAX - 1) // of a dead slot

// ---- memory ----

bool
hark__slots_init(struct slots *slots, uint32_t limit)
{
    uint32_t share = limit / STOCK_SHARE;

    *slots = (struct slots){
        .limit = limit,
        .batch = share < SLOT_CACHE / 2 ? share : SLOT_CACHE / 2,
        .ask_free = SLOTS_SURPLUS,
        .chunks = calloc(limit / CHUNK_SLOTS + 1, sizeof(struct chunk)),
        .reserved_bytes = (size_t)limit * sizeof(struct slot) + (size_t)2 * HUGE_PAGE,
    };
    slots->reserved = mmap(NULL, slots->reserved_bytes, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (slots->chunks == NULL || slots->reserved == MAP_FAILED) {
        free(slots->chunks);
        if (slots->reserved != MAP_FAILED) {
            munmap(slots->reserved, slots->reserved_bytes);
        }
        return false;
    }
    uintptr_t start = (uintptr_t)slots->reserved + HUGE_PAGE - 1;
    slots->base = (struct slot *)(start - start % HUGE_PAGE);
    for (int state = 0; state < CHUNK_STATES; state++) {
        hark__list_init(&slots->states[state]);
    }
    pthread_mutex_init(&slots->lock, NULL);
    return true;
}

void
hark__slots_fini(struct slots *slots)
{
    munmap(slots->reserved, slots->reserved_bytes);
    free(slots->chunks);
    pthread_mutex_destroy(&slots->lock);
}

// Puts the pages of a step in place. Huge ones once there are many: a million actors
// touched at random need fewer translations then. All advice: without it pages come one
// by one.
static void
populate(struct slots *slots, uint32_t from, uint32_t end)
{
    void *start = &slots->base[from];
    size_t bytes = (size_t)(end - from) * sizeof(struct slot);

    if (from >= CHUNK_SLOTS) {
        (void)madvise(start, bytes, MADV_HUGEPAGE);
    }
    (void)madvise(start, bytes, MADV_POPULATE_WRITE);
}

// Free and idle slots are made of zeros.
static void
fill(struct slots *slots, uint32_t from, uint32_t end, uint32_t generation)
{
    populate(slots, from, end);
    for (uint32_t i = from; i < end; i++) {
        struct slot *slot = &slots->base[i];

        // relaxed, both: published by the lock, or by the count. Who has an old ref, or
        // let go of the slot just before all this, may look, and sees a dead one.
        atomic_store_explicit(&slot->box.tail, MAILBOX_IDLE, memory_order_relaxed);
        atomic_store_explicit(&slot->generation, generation, memory_order_relaxed);
        slot->index = i;
    }
}

// ---- chunks; the lock is held ----

void
hark__chunk_move(struct slots *slots, struct chunk *chunk, enum chunk_state state)
{
    // relaxed, both: written under the lock; others look for a hint.
    slots->wholes -=
        atomic_load_explicit(&chunk->state, memory_order_relaxed) == CHUNK_WHOLE;
    slots->wholes += state == CHUNK_WHOLE;
    atomic_store_explicit(&chunk->state, (uint8_t)state, memory_order_relaxed);
    hark__list_unlink(&chunk->link);
    hark__list_append(&slots->states[state], &chunk->link);
}

// The chunk that has been for longest in that state; NULL: none.
static struct chunk *
first_of(struct slots *slots, enum chunk_state state)
{
    struct list *list = &slots->states[state];

    return hark__list_is_empty(list) ? NULL
                                     : CONTAINER_OF(list->next, struct chunk, link);
}

static void
add_fresh(struct slots *slots, struct chunk *chunk, uint32_t more)
{
    chunk->end += more;
    chunk->free += more;
    slots->free += more;
}

// One more step, in a chunk that has begun, or the next one. NULL: the limit, or no
// memory.
static struct chunk *
grow(struct slots *slots)
{
    // relaxed: written under the lock that we hold.
    uint32_t count = atomic_load_explicit(&slots->count, memory_order_relaxed);
    uint32_t more = count < CHUNK_SLOTS ? SMALL_STEP : CHUNK_SLOTS;
    struct chunk *chunk = &slots->chunks[count / CHUNK_SLOTS];

    if (more > slots->limit - count) {
        more = slots->limit - count;
    }
    if (more == 0
        || mprotect(&slots->base[count], (size_t)more * sizeof(struct slot),
                    PROT_READ | PROT_WRITE)
               != 0) {
        return NULL;
    }
    fill(slots, count, count + more, 0);
    if (chunk->end == 0) {
        chunk->first = NO_SLOT;
        chunk->fresh = chunk->end = count;
        chunk->whole = count == 0 ? UINT32_MAX : more;
        hark__list_init(&chunk->link);
    }
    add_fresh(slots, chunk, more);
    // release: pairs with slot_at.
    atomic_store_explicit(&slots->count, count + more, memory_order_release);
    return chunk;
}

// A chunk that is gone comes back, its slots as old as the oldest was, so that nobody
// who is born there is taken for somebody before.
static struct chunk *
bring_back(struct slots *slots)
{
    struct chunk *chunk = first_of(slots, CHUNK_GONE);

    if (chunk == NULL) {
        return NULL;
    }
    chunk->first = NO_SLOT;
    chunk->fresh = chunk->end = (uint32_t)(chunk - slots->chunks) * CHUNK_SLOTS;
    chunk->free = 0;
    fill(slots, chunk->fresh, chunk->fresh + chunk->whole, chunk->generation);
    add_fresh(slots, chunk, chunk->whole);
    return chunk;
}

// A chunk with a free slot: one that is in use, so that others may become whole. NULL:
// the limit, or no memory.
static struct chunk *
open_chunk(struct slots *slots)
{
    struct chunk *chunk = first_of(slots, CHUNK_PARTIAL);

    if (chunk != NULL) {
        return chunk;
    }
    if ((chunk = first_of(slots, CHUNK_WHOLE)) == NULL
        && (chunk = first_of(slots, CHUNK_RETIRING)) == NULL
        && (chunk = bring_back(slots)) == NULL && (chunk = grow(slots)) == NULL) {
        return NULL;
    }
    hark__chunk_move(slots, chunk, CHUNK_PARTIAL);
    return chunk;
}

// Takes up to wanted slots. Returns how many.
static uint32_t
take_free(struct slots *slots, uint32_t *out_taken, uint32_t wanted)
{
    uint32_t count = 0;
    struct chunk *chunk;

    while (count < wanted && (chunk = open_chunk(slots)) != NULL) {
        uint32_t before = count;

        for (; count < wanted && chunk->first != NO_SLOT; count++) {
            out_taken[count] = chunk->first;
            chunk->first = slots->base[chunk->first].next_free;
        }
        for (; count < wanted && chunk->fresh < chunk->end; count++) {
            out_taken[count] = chunk->fresh++;
        }
        slots->free -= count - before;
        chunk->free -= count - before;
        if (chunk->free == 0) {
            hark__chunk_move(slots, chunk, CHUNK_FULL);
        }
    }
    slots->has_dipped |= !hark__slots_are_many(slots);
    return count;
}

static void
put_free(struct slots *slots, const uint32_t *indices, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct chunk *chunk = &slots->chunks[indices[i] / CHUNK_SLOTS];

        slots->base[indices[i]].next_free = chunk->first;
        chunk->first = indices[i];
        chunk->free++;
        if (chunk->free == chunk->whole) {
            hark__chunk_move(slots, chunk, CHUNK_WHOLE);
        } else if (chunk->free == 1) {
            hark__chunk_move(slots, chunk, CHUNK_PARTIAL);
        }
    }
    slots->free += count;
}

// ---- caches ----

// The lock is not held.
static void
give_back(struct slots *slots, const uint32_t *indices, uint32_t count)
{
    void (*surplus)(void *arg) = NULL;
    void *arg = NULL;

    pthread_mutex_lock(&slots->lock);
    put_free(slots, indices, count);
    if (!slots->is_asked && slots->surplus != NULL && hark__slots_are_many(slots)) {
        slots->is_asked = true;
        slots->has_dipped = false;
        surplus = slots->surplus;
        arg = slots->surplus_arg;
    }
    pthread_mutex_unlock(&slots->lock);
    if (surplus != NULL) {
        surplus(arg);
    }
}

// Fills the cache, which is empty, by a batch.
static void
refill(struct slots *slots, struct slot_cache *cache)
{
    uint32_t taken[SLOT_CACHE / 2];

    pthread_mutex_lock(&slots->lock);
    uint32_t count = take_free(slots, taken, slots->batch > 0 ? slots->batch : 1);
    pthread_mutex_unlock(&slots->lock);
    while (count > 0) { // the first on top
        cache->indices[cache->count++] = taken[--count];
    }
}

// The older half of a full cache goes back.
static __attribute__((noinline)) void
spill(struct slots *slots, struct slot_cache *cache)
{
    uint32_t half = cache->count / 2;

    give_back(slots, cache->indices, half);
    cache->count -= half;
    for (uint32_t i = 0; i < cache->count; i++) {
        cache->indices[i] = cache->indices[half + i];
    }
}

// As hark__slot_claim, if the newest one in the cache will not do.
static __attribute__((noinline)) struct slot *
search(struct slots *slots, struct slot_cache *cache)
{
    // Those that are being drained, which are skipped; if there are too many, the
    // search ends.
    uint32_t busy[4 * SLOT_CACHE];
    uint32_t count = 0;
    struct slot *found = NULL;

    while (found == NULL && count < 4 * SLOT_CACHE) {
        if (cache->count == 0) {
            refill(slots, cache);
            if (cache->count == 0) {
                break;
            }
        }
        struct slot *slot = hark__slot_at(slots, cache->indices[--cache->count]);
        if (hark__mailbox_claim(&slot->box)) {
            found = slot;
        } else {
            busy[count++] = slot->index;
        }
    }
    if (count > 0) {
        give_back(slots, busy, count);
    }
    return found;
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
    if (atomic_load_explicit(&slot->generation, memory_order_relaxed)
        == GENERATION_LAST) {
        return; // the next generation but one would wrap: the slot retires
    }
    if (slots->batch == 0) {
        give_back(slots, &slot->index, 1);
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
    if (cache->count > 0) {
        give_back(slots, cache->indices, cache->count);
        cache->count = 0;
    }
}
