// Chains: how many messages of each chain were set aside, so that a handler that lets
// its own chain in need not look through all that waits. A hash table with linear
// probing, without marks of what is gone. Made when first of use; one thread.

#ifndef ACTOR_CHAINS_H
#define ACTOR_CHAINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chain_row {
    uint64_t chain_id; // without its top bit; 0: free
    uint32_t count;
};

// Starts as {0}: not in use.
struct chains {
    struct chain_row *rows; // NULL: not in use
    uint32_t capacity;      // a power of 2, over twice the count
    uint32_t count;         // rows in use
};

static inline bool
hark__chains_are_kept(const struct chains *chains)
{
    return chains->rows != NULL;
}

// Has it in use, and empty. False: no memory.
bool hark__chains_begin(struct chains *chains);
void hark__chains_end(struct chains *chains);

// One more, or one less, of that chain; 0 is none, and not counted. The table is in
// use; without memory for one more it is not any longer.
void hark__chains_add(struct chains *chains, uint64_t chain_id);
void hark__chains_remove(struct chains *chains, uint64_t chain_id);
// Is there one?
bool hark__chains_have(const struct chains *chains, uint64_t chain_id);

#endif // ACTOR_CHAINS_H
