// The pool of sanitizer builds: every block is malloc's, so every misuse is seen. No
// row ever holds a block.

#include "base/pool.h"

#include <stdlib.h>

struct depot {
    char nothing; // a byte gives each its own address
};

struct depot *
hark__depot_open(void)
{
    return calloc(1, sizeof(struct depot));
}

void
hark__depot_close(struct depot *depot)
{
    free(depot);
}

void
hark__depot_watch(struct depot *depot, void (*surplus)(void *arg), void *arg)
{
    (void)depot;
    (void)surplus;
    (void)arg;
}

enum depot_trim
hark__depot_trim(struct depot *depot)
{
    (void)depot;
    return DEPOT_TRIMMED;
}

struct pool *
hark__pool_open(struct depot *depot)
{
    struct pool *pool = calloc(1, sizeof *pool);

    (void)depot;
    if (pool != NULL) {
        pool->last[POOL_MALLOC] = POOL_ROW - 1; // full; the others are empty
    }
    return pool;
}

void
hark__pool_close(struct pool *pool)
{
    free(pool);
}

void *
hark__pool_alloc_slow(struct pool *pool, size_t size, uint8_t *out_class)
{
    (void)pool;
    *out_class = POOL_MALLOC;
    return malloc(size > 0 ? size : 1);
}

void
hark__pool_free_slow(struct pool *pool, void *memory, uint8_t size_class)
{
    (void)pool;
    (void)size_class;
    free(memory);
}
