// Large blocks: over 1 KiB, malloc's. See pool.h for why they are kept.

#include "base/depot.h"

#include <stdlib.h>

enum {
    STACK_BLOCKS = 128,     // move between a pool and the depot at once, or fewer:
    STACK_BYTES = 64 << 10, // so many bytes, or one block
    KEPT_BYTES = 16 << 20,  // in the depot
};

// ---- classes, counted from the first large one ----

static size_t
bytes_of(unsigned large)
{
    return (size_t)(POOL_SMALL / 4) * (large % 4 + 5) << large / 4;
}

// For a size over POOL_SMALL and up to POOL_LARGEST.
static unsigned
class_for(size_t size)
{
    // In quarters of the power of two that is next below the size: 4 to 7.
    unsigned doubling = 0;
    size_t quarters = (size - 1) / (POOL_SMALL / 4);

    while (quarters >= 8) {
        quarters /= 2;
        doubling++;
    }
    return 4 * doubling + (unsigned)quarters - 4;
}

static uint32_t
stack_size(unsigned large)
{
    size_t fit = STACK_BYTES / bytes_of(large);

    return (uint32_t)(fit > STACK_BLOCKS ? STACK_BLOCKS : fit > 0 ? fit : 1);
}

static struct pool_stack
empty_stack(unsigned large)
{
    return (struct pool_stack){NULL, stack_size(large)};
}

// ---- the depot's ----

static void
free_all(struct pool_block *block)
{
    while (block != NULL) {
        struct pool_block *next = block->next;

        free(block);
        block = next;
    }
}

void
hark__large_free_kept(struct depot *depot)
{
    for (unsigned i = 0; i < POOL_LARGE_CLASSES; i++) {
        while (depot->stacks[i] != NULL) {
            struct pool_block *first = depot->stacks[i];

            depot->stacks[i] = first->next_stack;
            free_all(first);
        }
    }
}

// Keeps a stack that is not empty, unless that is too much. The lock is held.
static bool
keep(struct depot *depot, unsigned large, struct pool_stack stack)
{
    uint32_t count = stack_size(large) - stack.room;
    size_t bytes = count * bytes_of(large);

    if (bytes > KEPT_BYTES - depot->kept_bytes) {
        return false;
    }
    depot->kept_bytes += bytes;
    stack.first->count = count;
    stack.first->next_stack = depot->stacks[large];
    depot->stacks[large] = stack.first;
    return true;
}

static void
give_back(struct depot *depot, unsigned large, struct pool_stack stack)
{
    if (stack.first != NULL) {
        pthread_mutex_lock(&depot->lock);
        bool is_kept = keep(depot, large, stack);
        pthread_mutex_unlock(&depot->lock);
        if (!is_kept) {
            free_all(stack.first);
        }
    }
}

// It may be empty.
static struct pool_stack
take_kept(struct depot *depot, unsigned large)
{
    struct pool_stack stack = empty_stack(large);

    pthread_mutex_lock(&depot->lock);
    if (depot->stacks[large] != NULL) {
        stack.first = depot->stacks[large];
        stack.room -= stack.first->count;
        depot->stacks[large] = stack.first->next_stack;
        depot->kept_bytes -= stack.first->count * bytes_of(large);
    }
    pthread_mutex_unlock(&depot->lock);
    return stack;
}

// ---- a pool's ----

void
hark__large_open(struct pool *pool)
{
    for (unsigned i = 0; i < POOL_STACKS; i++) {
        pool->large[i] = pool->large_spare[i] = empty_stack(i);
    }
}

void
hark__large_close(struct pool *pool)
{
    for (unsigned i = 0; i < POOL_STACKS; i++) {
        give_back(pool->depot, i, pool->large[i]);
        give_back(pool->depot, i, pool->large_spare[i]);
    }
}

static void
refill(struct pool *pool, unsigned large)
{
    if (pool->large_spare[large].first != NULL) {
        pool->large[large] = pool->large_spare[large];
        pool->large_spare[large] = empty_stack(large);
    } else {
        pool->large[large] = take_kept(pool->depot, large);
    }
}

// NULL: none is kept.
static struct pool_block *
take(struct pool *pool, unsigned large)
{
    if (large >= POOL_STACKS) {
        return take_kept(pool->depot, large).first; // its only one
    }
    struct pool_stack *stack = &pool->large[large];

    if (stack->first == NULL) {
        refill(pool, large);
    }
    struct pool_block *block = stack->first;
    if (block != NULL) {
        stack->first = block->next;
        stack->room++;
    }
    return block;
}

void *
hark__large_alloc(struct pool *pool, size_t size, uint8_t *out_class)
{
    if (size > POOL_LARGEST) {
        *out_class = POOL_MALLOC;
        return malloc(size);
    }
    unsigned large = class_for(size);
    struct pool_block *block = take(pool, large);

    *out_class = (uint8_t)(POOL_SMALL_CLASSES + large);
    return block != NULL
               ? (void *)block
               : aligned_alloc((size_t)1 << POOL_CLASS_SHIFT, bytes_of(large));
}

// Makes room: the full stack becomes the spare, and the old spare goes to the depot.
static void
rotate(struct pool *pool, unsigned large)
{
    give_back(pool->depot, large, pool->large_spare[large]);
    pool->large_spare[large] = pool->large[large];
    pool->large[large] = empty_stack(large);
}

void
hark__large_free(struct pool *pool, void *memory, uint8_t size_class)
{
    if (size_class == POOL_MALLOC) {
        free(memory);
        return;
    }
    unsigned large = size_class - POOL_SMALL_CLASSES;
    struct pool_block *block = memory;

    if (large >= POOL_STACKS) {
        block->next = NULL;
        give_back(pool->depot, large, (struct pool_stack){block, 0});
        return;
    }
    struct pool_stack *stack = &pool->large[large];

    if (stack->room == 0) {
        rotate(pool, large);
    }
    block->next = stack->first;
    stack->first = block;
    stack->room--;
}
