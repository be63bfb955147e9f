// Trimming of slots: the memory of chunks that nobody lives in goes back, and their
// addresses stay.
//
// A push to a slot may come at any moment, from whoever has a ref, and must not meet a
// page that is just going: it would be lost, or found by nobody. So:
//
//   1. A chunk whose slots are all in its list retires: nobody is born there.
//   2. All its slots are dead by then, and a sender pushes only where it has just seen
//      that the slot's generation is the ref's. Who looks from now on sees that it is
//      not: the generation is the mark that the chunk is closed.
//   3. Whoever has looked before gets time to be through with it (surplus.c).
//   4. Now nobody pushes there. Slots that were pushed to have their turn, and are idle.
//   5. The pages go. What an old ref finds there is zeros: generation 0, of the dead.
//   6. When slots are wanted again, their generations begin with the highest that one
//      of the chunk had: an old ref finds none that is its own, as ever.
//
// Up to 5 a chunk may be taken into use again, as if nothing had been.
// models/slots.pml has 1 to 6.

#include <sys/mman.h>

#include "actor/slot.h"

enum {
    LOOK_SLOTS = 4096, // looked at in a step; some 100 us
    MOST_TRIES = 8,    // of a slot that is busy, before its chunk stays
    WORN = 1 << 30,    // generation from which on a chunk stays
};

// ---- when ----

void
hark__slots_watch(struct slots *slots, void (*surplus)(void *arg), void *arg)
{
    pthread_mutex_lock(&slots->lock);
    slots->surplus = surplus;
    slots->surplus_arg = arg;
    pthread_mutex_unlock(&slots->lock);
}

enum slots_trimmed
hark__slots_look(struct slots *slots)
{
    enum slots_trimmed result = SLOTS_TRIM;

    pthread_mutex_lock(&slots->lock);
    if (!hark__slots_are_many(slots)) {
        slots->is_asked = false;
        result = SLOTS_TRIMMED;
    } else if (slots->has_dipped) {
        result = SLOTS_WAIT;
    }
    slots->has_dipped = false; // from now on, till the next look
    pthread_mutex_unlock(&slots->lock);
    return result;
}

// What is free now is scattered over chunks in use: not until there is much more, or
// twice as much, if that was why nothing has gone. True: chunks went, and as many have
// become whole since we began, so there will be another time. The lock is held.
static bool
finish(struct slots *slots)
{
    bool some = slots->trim.gone > 0;

    slots->ask_free = some ? slots->free + SLOTS_SURPLUS : 2 * slots->free;
    if (slots->ask_free < SLOTS_SURPLUS) {
        slots->ask_free = SLOTS_SURPLUS;
    }
    slots->is_asked = some && hark__slots_are_many(slots);
    return slots->is_asked;
}

// ---- retiring ----

bool
hark__slots_retire(struct slots *slots)
{
    struct list *wholes = &slots->states[CHUNK_WHOLE];
    bool some = false;

    slots->trim = (struct slots_trim){.chunk = NULL};
    pthread_mutex_lock(&slots->lock);
    while (slots->wholes > LEFT_CHUNKS) {
        hark__chunk_move(slots, CONTAINER_OF(wholes->next, struct chunk, link),
                         CHUNK_RETIRING);
        some = true;
    }
    if (!some) {
        (void)finish(slots);
    }
    pthread_mutex_unlock(&slots->lock);
    return some;
}

// ---- going ----

static bool
is_retiring(const struct chunk *chunk)
{
    // relaxed: the lock is held.
    return atomic_load_explicit(&chunk->state, memory_order_relaxed) == CHUNK_RETIRING;
}

// Has trim->chunk be one that is to go; NULL: there is none. The lock is held.
static void
choose(struct slots *slots)
{
    struct slots_trim *trim = &slots->trim;
    struct list *retiring = &slots->states[CHUNK_RETIRING];

    if (trim->chunk != NULL && is_retiring(trim->chunk)) {
        return;
    }
    trim->chunk = NULL;
    if (!hark__list_is_empty(retiring)) {
        trim->chunk = CONTAINER_OF(retiring->next, struct chunk, link);
        trim->at = (uint32_t)(trim->chunk - slots->chunks) * CHUNK_SLOTS;
        trim->highest = 0;
        trim->tries = 0;
    }
}

// Nobody has, or is about to have, anything to do with the slot.
static bool
is_idle(struct slots_trim *trim, const struct slot *slot)
{
    // acquire: pairs with sleep's release; its last reader's turn is over. relaxed:
    // what was pushed there is older than that. Its generation has been for long what
    // it is.
    if (atomic_load_explicit(&slot->box.tail, memory_order_acquire) != MAILBOX_IDLE
        || hark__mailbox_has_system(&slot->box)) {
        return false;
    }
    uint32_t generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);
    if (generation > trim->highest) {
        trim->highest = generation;
    }
    return true;
}

// SLOTS_TRIMMED: all slots of trim->chunk are idle. Without the lock: it may be taken
// into use meanwhile, which is seen in the end.
static enum slots_trimmed
look_at_some(struct slots *slots)
{
    struct slots_trim *trim = &slots->trim;
    uint32_t start = (uint32_t)(trim->chunk - slots->chunks) * CHUNK_SLOTS;
    uint32_t end = start + trim->chunk->whole;

    for (uint32_t i = 0; i < LOOK_SLOTS && trim->at < end; i++, trim->at++) {
        if (!is_idle(trim, &slots->base[trim->at])) {
            return SLOTS_WAIT;
        }
    }
    return trim->at == end ? SLOTS_TRIMMED : SLOTS_TRIM;
}

// A slot stays busy, so its chunk stays for now.
static void
keep_busy(struct slots *slots)
{
    pthread_mutex_lock(&slots->lock);
    if (is_retiring(slots->trim.chunk)) {
        hark__chunk_move(slots, slots->trim.chunk, CHUNK_WHOLE);
    }
    pthread_mutex_unlock(&slots->lock);
}

// When it comes back all its slots are as old as the oldest was. A slot that has gone
// far towards its last generation would take thousands with it: its chunk stays.
static bool
is_worn(const struct slots_trim *trim)
{
    return trim->highest >= WORN;
}

// It is not looked at again.
static void
keep_worn(struct slots *slots)
{
    struct chunk *chunk = slots->trim.chunk;

    pthread_mutex_lock(&slots->lock);
    if (is_retiring(chunk)) {
        chunk->whole = UINT32_MAX;
        hark__chunk_move(slots, chunk, CHUNK_PARTIAL);
    }
    pthread_mutex_unlock(&slots->lock);
}

// All slots of trim->chunk were idle.
static void
go(struct slots *slots)
{
    struct slots_trim *trim = &slots->trim;
    struct chunk *chunk = trim->chunk;
    struct slot *start = &slots->base[(uint32_t)(chunk - slots->chunks) * CHUNK_SLOTS];

    trim->chunk = NULL;
    pthread_mutex_lock(&slots->lock);
    bool goes = is_retiring(chunk);
    if (goes) {
        chunk->generation = trim->highest;
        slots->free -= chunk->whole;
        hark__chunk_move(slots, chunk, CHUNK_GOING);
    }
    pthread_mutex_unlock(&slots->lock);
    if (!goes) {
        return;
    }
    goes = madvise(start, chunk->whole * sizeof(struct slot), MADV_DONTNEED) == 0;
    pthread_mutex_lock(&slots->lock);
    if (goes) {
        hark__chunk_move(slots, chunk, CHUNK_GONE);
        trim->gone++;
    } else { // memory is locked
        slots->free += chunk->whole;
        hark__chunk_move(slots, chunk, CHUNK_WHOLE);
        slots->surplus = NULL; // it would be in vain for ever
    }
    pthread_mutex_unlock(&slots->lock);
}

enum slots_trimmed
hark__slots_let_go(struct slots *slots, bool *out_again)
{
    struct slots_trim *trim = &slots->trim;

    pthread_mutex_lock(&slots->lock);
    choose(slots);
    if (trim->chunk == NULL) {
        *out_again = finish(slots);
        pthread_mutex_unlock(&slots->lock);
        return SLOTS_TRIMMED;
    }
    pthread_mutex_unlock(&slots->lock);
    switch (look_at_some(slots)) {
    case SLOTS_TRIM:
        return SLOTS_TRIM;
    case SLOTS_WAIT:
        if (++trim->tries < MOST_TRIES) {
            return SLOTS_WAIT;
        }
        keep_busy(slots);
        return SLOTS_TRIM;
    case SLOTS_TRIMMED:
        break;
    }
    if (is_worn(trim)) {
        keep_worn(slots);
    } else {
        go(slots);
    }
    return SLOTS_TRIM;
}
