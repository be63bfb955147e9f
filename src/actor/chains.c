#include "actor/chains.h"

#include <stdlib.h>

#include "actor/chain_id.h"

enum { FIRST_ROWS = 256 };

// Ids are mixed, so their low bits are a hash. The row of that chain, or the free one
// where it would go.
static struct chain_row *
find(const struct chains *chains, uint64_t chain_id)
{
    uint32_t i = (uint32_t)chain_id & (chains->capacity - 1);

    while (chains->rows[i].count != 0 && chains->rows[i].chain_id != chain_id) {
        i = (i + 1) & (chains->capacity - 1);
    }
    return &chains->rows[i];
}

bool
hark__chains_begin(struct chains *chains)
{
    *chains = (struct chains){
        .rows = calloc(FIRST_ROWS, sizeof *chains->rows),
        .capacity = FIRST_ROWS,
    };
    return chains->rows != NULL;
}

void
hark__chains_end(struct chains *chains)
{
    free(chains->rows);
    *chains = (struct chains){0};
}

static bool
grow(struct chains *chains)
{
    struct chains larger = {
        .rows = calloc((size_t)chains->capacity * 2, sizeof *chains->rows),
        .capacity = chains->capacity * 2,
        .count = chains->count,
    };

    if (larger.rows == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < chains->capacity; i++) {
        if (chains->rows[i].count != 0) {
            *find(&larger, chains->rows[i].chain_id) = chains->rows[i];
        }
    }
    free(chains->rows);
    *chains = larger;
    return true;
}

void
hark__chains_add(struct chains *chains, uint64_t chain_id)
{
    chain_id &= ~CHAIN_UNSEEN;
    if (chain_id == 0) {
        return;
    }
    if (chains->count * 2 >= chains->capacity && !grow(chains)) {
        hark__chains_end(chains);
        return;
    }
    struct chain_row *row = find(chains, chain_id);
    chains->count += row->count == 0;
    row->chain_id = chain_id;
    row->count++;
}

// A row has become free: those behind it that have come past their place go nearer to
// it.
static void
close_gap(struct chains *chains, uint32_t gap)
{
    uint32_t mask = chains->capacity - 1;

    for (uint32_t i = (gap + 1) & mask; chains->rows[i].count != 0;
         i = (i + 1) & mask) {
        uint32_t home = (uint32_t)chains->rows[i].chain_id & mask;

        if (((i - home) & mask) >= ((i - gap) & mask)) {
            chains->rows[gap] = chains->rows[i];
            chains->rows[i].count = 0;
            gap = i;
        }
    }
}

void
hark__chains_remove(struct chains *chains, uint64_t chain_id)
{
    chain_id &= ~CHAIN_UNSEEN;
    struct chain_row *row = find(chains, chain_id);
    if (row->count == 0 || chain_id == 0) {
        return;
    }
    row->count--;
    if (row->count == 0) {
        chains->count--;
        close_gap(chains, (uint32_t)(row - chains->rows));
    }
}

bool
hark__chains_have(const struct chains *chains, uint64_t chain_id)
{
    return find(chains, chain_id & ~CHAIN_UNSEEN)->count != 0;
}
