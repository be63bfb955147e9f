// Pool: blocks of memory by size class, for messages and small records.
//
// A block is usually allocated by one thread and freed by another. So each thread keeps
// two short stacks ("magazines") a size class and trades whole ones with a shared
// depot, under its lock, once in POOL_MAGAZINE blocks. (Bonwick and Adams, "Magazines
// and Vmem", USENIX 2001.) A pool belongs to one thread at a time; the depot to the
// system. Memory goes back to the operating system when the depot is closed.
//
// Sanitizer builds use pool_malloc.c instead, so that each block is checked.

#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

struct depot;
struct pool;

// Gives a depot, or NULL.
struct depot *hark__depot_open(void);
// Every pool must be closed before. Frees all blocks, whoever has them.
void hark__depot_close(struct depot *depot);

// Gives a pool for one thread, or NULL.
struct pool *hark__pool_open(struct depot *depot);
// Hands its blocks to the depot.
void hark__pool_close(struct pool *pool);

// Gives size bytes, aligned to 16 and not cleared, or NULL. *out_class says what
// hark__pool_free needs to know.
void *hark__pool_alloc(struct pool *pool, size_t size, uint8_t *out_class);
// Takes a block that any pool of the same depot gave.
void hark__pool_free(struct pool *pool, void *memory, uint8_t size_class);

#endif // BASE_POOL_H
