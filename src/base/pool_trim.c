// Trimming: memory of small blocks goes back to the operating system, slab by slab.
//
//            much was free all the while       all are counted       all are sorted
//   RESTS -----------------------------> COUNTS -------------> SORTS -------> UNMAPS
//     ^----------------------------------------------------------------------- all are
//                                                                              unmapped
//
// COUNTS: batches are taken from the shelves, and each of their blocks is added to
// its slab. Whose carved bytes are all there is empty. SORTS: blocks of empty slabs are
// forgotten, the others go back to the shelves. What others allocate meanwhile comes
// from what was left there, or is new.
//
// All this in small steps, since a worker has other things to do; under the depot's
// lock only where the shelves and the list of slabs are touched.

#include "base/depot.h"

#include <sys/mman.h>

enum {
    LEFT_BATCHES = 16, // of a class, that are not taken
    STEP_BATCHES = 32, // counted or sorted at once; 4,000 blocks
    STEP_SLABS = 32,   // unmapped at once; 8 MiB
};

static struct slab *
slab_of(const void *block)
{
    return (struct slab *)((uintptr_t)block & ~(uintptr_t)(SLAB_BYTES - 1));
}

// Takes the next batch of a row; NULL: there is none. *out_class is its class.
static struct pool_batch *
take_next(struct pool_batch *row[POOL_SMALL_CLASSES], unsigned *out_class)
{
    for (unsigned class = 0; class < POOL_SMALL_CLASSES; class ++) {
        struct pool_batch *first = row[class];

        if (first != NULL) {
            row[class] = first->next;
            *out_class = class;
            return first;
        }
    }
    return NULL;
}

// ---- starting ----

// Takes all but a few batches of a class from the shelf. Gives the bytes that are
// left. The lock is held.
static size_t
take_shelf(struct depot *depot, unsigned class)
{
    struct pool_batch **link = &depot->shelves[class];
    size_t left = 0;

    for (unsigned i = 0; i < LEFT_BATCHES && *link != NULL; i++) {
        left += (*link)->count * hark__class_bytes(class);
        link = &(*link)->next;
    }
    depot->trim.taken[class] = *link;
    *link = NULL;
    return left;
}

// The lock is held.
static void
start(struct depot *depot)
{
    struct trim *trim = &depot->trim;

    depot->free_bytes = 0;
    for (unsigned class = 0; class < POOL_SMALL_CLASSES; class ++) {
        depot->free_bytes += take_shelf(depot, class);
        trim->kept[class].count = 0;
    }
    trim->state = TRIM_COUNTS;
}

// ---- counting ----

static void
count_block(struct trim *trim, const void *block, size_t bytes)
{
    struct slab *slab = slab_of(block);

    if (slab->free == 0) {
        slab->next_touched = trim->touched;
        trim->touched = slab;
    }
    slab->free += (uint32_t)bytes;
}

static void
count_batch(struct trim *trim, const struct pool_batch *batch, size_t bytes)
{
    void *blocks[BATCH];
    uint32_t count = hark__batch_list(batch, blocks);

    for (uint32_t i = 0; i < count; i++) {
        count_block(trim, blocks[i], bytes);
    }
}

// False: all are counted.
static bool
count_some(struct trim *trim)
{
    unsigned class = 0;

    for (unsigned i = 0; i < STEP_BATCHES; i++) {
        struct pool_batch *batch = take_next(trim->taken, &class);

        if (batch == NULL) {
            return false;
        }
        count_batch(trim, batch, hark__class_bytes(class));
        batch->next = trim->looked[class];
        trim->looked[class] = batch;
    }
    return true;
}

// The lock is held.
static void
take_out(struct depot *depot, struct slab *slab)
{
    if (slab->prev != NULL) {
        slab->prev->next = slab->next;
    } else {
        depot->slabs = slab->next;
    }
    if (slab->next != NULL) {
        slab->next->prev = slab->prev;
    }
}

// Leaves the empty ones of the touched slabs in that list. The one that is being carved
// is none of them. The lock is held.
static void
judge(struct depot *depot)
{
    struct slab *touched = depot->trim.touched;

    depot->trim.touched = NULL;
    while (touched != NULL) {
        struct slab *slab = touched;

        touched = slab->next_touched;
        slab->is_empty = slab->free == slab->carved;
        slab->free = 0;
        if (slab->is_empty) {
            slab->next_touched = depot->trim.touched;
            depot->trim.touched = slab;
        }
    }
}

// ---- sorting ----

static void
shelve_kept(struct depot *depot, unsigned class)
{
    struct pool_handful *kept = &depot->trim.kept[class];

    if (kept->count > 0) {
        struct pool_batch *batch = hark__batch_make(kept->blocks, kept->count);

        pthread_mutex_lock(&depot->lock);
        hark__depot_shelve(depot, class, batch);
        pthread_mutex_unlock(&depot->lock);
    }
    kept->count = 0;
}

static void
sort_batch(struct depot *depot, unsigned class, const struct pool_batch *batch)
{
    struct pool_handful *kept = &depot->trim.kept[class];
    void *blocks[BATCH];
    uint32_t count = hark__batch_list(batch, blocks);

    for (uint32_t i = 0; i < count; i++) {
        if (!slab_of(blocks[i])->is_empty) {
            kept->blocks[kept->count++] = blocks[i];
        }
        if (kept->count == BATCH) {
            shelve_kept(depot, class);
        }
    }
}

// False: all are sorted.
static bool
sort_some(struct depot *depot)
{
    unsigned class = 0;

    for (unsigned i = 0; i < STEP_BATCHES; i++) {
        struct pool_batch *batch = take_next(depot->trim.looked, &class);

        if (batch == NULL) {
            for (class = 0; class < POOL_SMALL_CLASSES; class ++) {
                shelve_kept(depot, class);
            }
            return false;
        }
        sort_batch(depot, class, batch);
    }
    return true;
}

// ---- unmapping ----

// False: all are unmapped.
static bool
unmap_some(struct depot *depot)
{
    struct trim *trim = &depot->trim;

    for (unsigned i = 0; i < STEP_SLABS && trim->touched != NULL; i++) {
        struct slab *slab = trim->touched;

        trim->touched = slab->next_touched;
        pthread_mutex_lock(&depot->lock);
        take_out(depot, slab);
        pthread_mutex_unlock(&depot->lock);
        if (munmap(slab, SLAB_BYTES) != 0) { // too many holes
            pthread_mutex_lock(&depot->lock);
            slab->next = depot->spare;
            depot->spare = slab;
            pthread_mutex_unlock(&depot->lock);
        }
    }
    return trim->touched != NULL;
}

// ---- all of it ----

// What is free now is scattered over slabs in use: not until there is twice as much.
// The lock is held.
static enum depot_trim
finish(struct depot *depot)
{
    size_t scattered = 2 * depot->free_bytes;

    depot->ask_bytes = scattered > DEPOT_SURPLUS ? scattered : DEPOT_SURPLUS;
    depot->is_asked = false;
    return DEPOT_TRIMMED;
}

// It may start now, or later, or what was free is wanted again. The lock is held.
static enum depot_trim
consider(struct depot *depot)
{
    if (depot->free_bytes <= depot->ask_bytes) {
        depot->is_asked = false;
        return DEPOT_TRIMMED;
    }
    if (depot->least_bytes <= depot->ask_bytes) {
        depot->least_bytes = depot->free_bytes; // from now on, till the next look
        return DEPOT_WAITS;
    }
    start(depot);
    return DEPOT_TRIMS;
}

enum depot_trim
hark__depot_trim(struct depot *depot)
{
    struct trim *trim = &depot->trim;
    enum depot_trim result = DEPOT_TRIMS;

    switch (trim->state) {
    case TRIM_RESTS:
        pthread_mutex_lock(&depot->lock);
        result = consider(depot);
        pthread_mutex_unlock(&depot->lock);
        break;
    case TRIM_COUNTS:
        if (!count_some(trim)) {
            pthread_mutex_lock(&depot->lock);
            judge(depot);
            pthread_mutex_unlock(&depot->lock);
            trim->state = TRIM_SORTS;
        }
        break;
    case TRIM_SORTS:
        trim->state = sort_some(depot) ? TRIM_SORTS : TRIM_UNMAPS;
        break;
    case TRIM_UNMAPS:
        if (!unmap_some(depot)) {
            pthread_mutex_lock(&depot->lock);
            trim->state = TRIM_RESTS;
            result = finish(depot);
            pthread_mutex_unlock(&depot->lock);
        }
        break;
    }
    return result;
}
