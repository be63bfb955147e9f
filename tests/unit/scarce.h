// Memory that runs out: each allocation of our own code asks here first. For programs that are
// linked with --wrap (tests/CMakeLists.txt), one source file each. In builds with our own pool
// (HARK_POOL) a block is asked for only when a row of the pool is empty; in the others, always.

#ifndef UNIT_SCARCE_H
#define UNIT_SCARCE_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;

enum scarce {
    SCARCE_HERE, // one allocation of the calling thread fails
    SCARCE_ONCE, // one of any thread fails
    SCARCE_LAST, // of any thread, and all that follow
};

static _Atomic(long) scarce_left =
    -1; // allocations until one fails; below 0: none does
static _Atomic(int) scarce_how;
static _Atomic(bool) scarce_has_failed;
static _Thread_local bool scarce_is_here;
static _Thread_local bool scarce_is_counted; // by who allocates for another now

// From now on, the allocation after `count` others fails.
static inline void
scarce_begin(long count, enum scarce how)
{
    atomic_store(&scarce_has_failed, false);
    atomic_store(&scarce_how, (int)how);
    scarce_is_here = how == SCARCE_HERE;
    atomic_store(&scarce_left, count);
}

// True: one has failed.
static inline bool
scarce_end(void)
{
    atomic_store(&scarce_left, -1);
    scarce_is_here = false;
    return atomic_load(&scarce_has_failed);
}

static inline bool
scarce_is_out(void)
{
    enum scarce how = (enum scarce)atomic_load(&scarce_how);
    long left = atomic_load(&scarce_left);

    if (scarce_is_counted || (how == SCARCE_HERE && !scarce_is_here)) {
        return false;
    }
    while (left > 0 || (left == 0 && how != SCARCE_LAST)) {
        if (atomic_compare_exchange_weak(&scarce_left, &left, left - 1)) {
            break;
        }
    }
    if (left != 0) {
        return false;
    }
    errno = ENOMEM;
    atomic_store(&scarce_has_failed, true);
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strdup(const char *text);
int __real_mprotect(void *memory, size_t size, int what);
void *__real_hark__pool_alloc_slow(struct pool *pool, size_t size, uint8_t *out_class);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);
int __wrap_mprotect(void *memory, size_t size, int what);
void *__wrap_hark__pool_alloc_slow(struct pool *pool, size_t size, uint8_t *out_class);

void *
__wrap_malloc(size_t size)
{
    return scarce_is_out() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return scarce_is_out() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *memory, size_t size)
{
    return scarce_is_out() ? NULL : __real_realloc(memory, size);
}

char *
__wrap_strdup(const char *text)
{
    return scarce_is_out() ? NULL : __real_strdup(text);
}

// Stacks and slots come by it.
int
__wrap_mprotect(void *memory, size_t size, int what)
{
    return scarce_is_out() ? -1 : __real_mprotect(memory, size, what);
}

void *
__wrap_hark__pool_alloc_slow(struct pool *pool, size_t size, uint8_t *out_class)
{
    if (scarce_is_out()) {
        return NULL;
    }
    scarce_is_counted = true;
    void *block = __real_hark__pool_alloc_slow(pool, size, out_class);
    scarce_is_counted = false;
    return block;
}

#endif // UNIT_SCARCE_H
