#include "sched/ring.h"

#include <sys/mman.h>

enum { WARM_ROWS = 8 }; // after the first, that keep their memory: 1 MiB in all

static size_t
row_bytes(uint32_t row)
{
    return ((size_t)RING_SIZE << row) * sizeof(ring_place);
}

void
hark__ring_init(struct ring *ring)
{
    *ring = (struct ring){
        .places = ring->first, .mask = RING_SIZE - 1, .rows = {ring->first}};
}

void
hark__ring_fini(struct ring *ring)
{
    for (uint32_t row = 1; row < RING_ROWS && ring->rows[row] != NULL; row++) {
        (void)munmap(ring->rows[row], row_bytes(row));
    }
}

static bool
map_row(struct ring *ring, uint32_t row)
{
    void *memory = mmap(NULL, row_bytes(row), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        return false;
    }
    ring->rows[row] = memory;
    return true;
}

static void
use_row(struct ring *ring, uint32_t row)
{
    ring->places = ring->rows[row];
    ring->mask = hark__ring_mask(row);
    // release: pairs with steal; who sees the row sees where it is, and its tasks.
    atomic_store_explicit(&ring->row, row, memory_order_release);
}

bool
hark__ring_grow(struct ring *ring)
{
    // relaxed, here and below: only we write them.
    uint32_t row = atomic_load_explicit(&ring->row, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

    if (row + 1 == RING_ROWS
        || (ring->rows[row + 1] == NULL && !map_row(ring, row + 1))) {
        return false;
    }
    // Advice: all at once costs a twentieth of a fault for each page.
    (void)madvise(ring->rows[row + 1], row_bytes(row + 1), MADV_POPULATE_WRITE);
    if (row + 1 > ring->longest) {
        ring->longest = row + 1;
    }
    // What thieves take meanwhile is copied in vain. relaxed: they move it on at most.
    for (uint32_t i = atomic_load_explicit(&ring->head, memory_order_relaxed);
         i != tail; i++) {
        struct task *task =
            atomic_load_explicit(&ring->places[i & ring->mask], memory_order_relaxed);
        atomic_store_explicit(&ring->rows[row + 1][i & hark__ring_mask(row + 1)], task,
                              memory_order_relaxed);
    }
    use_row(ring, row + 1);
    return true;
}

void
hark__ring_shrink(struct ring *ring)
{
    use_row(ring, 0); // there is nothing to copy
}

void
hark__ring_trim(struct ring *ring)
{
    // relaxed: only we write it.
    uint32_t used = atomic_load_explicit(&ring->row, memory_order_relaxed);
    uint32_t keep = used > WARM_ROWS ? used : WARM_ROWS;

    for (; ring->longest > keep; ring->longest--) {
        (void)madvise(ring->rows[ring->longest], row_bytes(ring->longest),
                      MADV_DONTNEED);
    }
}
