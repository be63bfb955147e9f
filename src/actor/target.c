#include "actor/target.h"

#include <stdlib.h>

struct target_row {
    uint64_t node; // 0: free
    struct target *target;
};

void
hark__targets_init(struct targets *targets)
{
    *targets = (struct targets){.rows = NULL};
    pthread_mutex_init(&targets->lock, NULL);
}

void
hark__targets_fini(struct targets *targets)
{
    pthread_mutex_destroy(&targets->lock);
    free(targets->rows);
}

// Node ids are random, so their low bits are a hash. Linear probing; the place of node,
// or the free one where it would go.
static struct target_row *
probe(struct target_row *rows, uint32_t capacity, uint64_t node)
{
    uint32_t i = (uint32_t)node & (capacity - 1);

    while (rows[i].node != 0 && rows[i].node != node) {
        i = (i + 1) & (capacity - 1);
    }
    return &rows[i];
}

static bool
grow(struct targets *targets)
{
    uint32_t capacity = targets->capacity == 0 ? 16 : targets->capacity * 2;
    struct target_row *rows = calloc(capacity, sizeof *rows);

    if (rows == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < targets->capacity; i++) {
        if (targets->rows[i].node != 0) {
            *probe(rows, capacity, targets->rows[i].node) = targets->rows[i];
        }
    }
    free(targets->rows);
    targets->rows = rows;
    targets->capacity = capacity;
    return true;
}

bool
hark__targets_add(struct targets *targets, uint64_t node, struct target *target)
{
    bool ok = true;

    pthread_mutex_lock(&targets->lock);
    if (targets->count * 2 >= targets->capacity) {
        ok = grow(targets);
    }
    if (ok) {
        struct target_row *row = probe(targets->rows, targets->capacity, node);

        targets->count += row->node == 0;
        *row = (struct target_row){node, target};
    }
    pthread_mutex_unlock(&targets->lock);
    return ok;
}

struct target *
hark__targets_find(struct targets *targets, uint64_t node)
{
    struct target *target = NULL;

    pthread_mutex_lock(&targets->lock);
    if (targets->capacity > 0) {
        target = probe(targets->rows, targets->capacity, node)->target;
    }
    pthread_mutex_unlock(&targets->lock);
    return target;
}
