// Fuzz: what the targets share. The types of the registry, and a pool that sees each
// block (the preset turns hark's own pool off).

#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "message/message.h"
#include "unit/message/shapes.h"

enum { FUZZ_LIMIT_BYTES = 1024 * 1024, FUZZ_TEXT = 300 };

static const hark_type *const fuzz_types[] = {
    &get_balance_type, &deposit_type, &point_type, &line_type,  &drawing_type,
    &numbers_type,     &lists_type,   &blob_type,  &album_type,
};

enum { FUZZ_TYPES = sizeof fuzz_types / sizeof fuzz_types[0] };

// What holds for every input; a message on stderr and an abort if it does not.
#define FUZZ_HOLDS(condition)                                                          \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "%s: does not hold: %s\n", HARK_HERE, #condition);         \
            abort();                                                                   \
        }                                                                              \
    } while (0)

// Opened once, with the first input.
static inline struct pool *
fuzz_pool(void)
{
    static struct depot *depot;
    static struct pool *pool;

    if (pool == NULL) {
        depot = hark__depot_open();
        pool = depot != NULL ? hark__pool_open(depot) : NULL;
        FUZZ_HOLDS(pool != NULL);
    }
    return pool;
}

// libFuzzer's entry; returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif // FUZZ_FUZZ_H
