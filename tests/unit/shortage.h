// Shortage: memory that runs out when a test wants it to.
//
// What the test's own thread allocates fails once, after so many allocations. For a
// program of one file, linked so that malloc, calloc, realloc and the pool's slow path
// are ours (tests/CMakeLists.txt).

#ifndef UNIT_SHORTAGE_H
#define UNIT_SHORTAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;

static _Thread_local long shortage_left = -1; // allocations until it; -1: none to come
static _Thread_local bool shortage_came;      // since shortage_begin

// The allocation after `count` others of this thread fails.
static inline void
shortage_begin(long count)
{
    shortage_came = false;
    shortage_left = count;
}

// No more fail. False: none did.
static inline bool
shortage_end(void)
{
    shortage_left = -1;
    return shortage_came;
}

static bool
is_out_of_memory(void)
{
    if (shortage_left < 0 || shortage_left-- > 0) {
        return false;
    }
    shortage_came = true;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_hark__pool_alloc_slow(struct pool *pool, size_t size, uint8_t *out_class);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_hark__pool_alloc_slow(struct pool *pool, size_t size, uint8_t *out_class);

void *
__wrap_malloc(size_t size)
{
    return is_out_of_memory() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return is_out_of_memory() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *memory, size_t size)
{
    return is_out_of_memory() ? NULL : __real_realloc(memory, size);
}

void *
__wrap_hark__pool_alloc_slow(struct pool *pool, size_t size, uint8_t *out_class)
{
    return is_out_of_memory() ? NULL
                              : __real_hark__pool_alloc_slow(pool, size, out_class);
}

#endif // UNIT_SHORTAGE_H
