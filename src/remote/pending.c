#include "remote/pending.h"

#include <stdlib.h>

enum { FIRST_ROWS = 64 };

#define NO_ROW UINT32_MAX

void
hark__pendings_init(struct pendings *pendings)
{
    *pendings = (struct pendings){.free = NO_ROW};
    pthread_mutex_init(&pendings->lock, NULL);
}

void
hark__pendings_fini(struct pendings *pendings)
{
    pthread_mutex_destroy(&pendings->lock);
    for (uint32_t i = 0; i < pendings->count; i++) {
        free(pendings->rows[i].lookup); // of a free row NULL
    }
    free(pendings->rows);
}

static bool
grow(struct pendings *pendings)
{
    uint32_t count = pendings->count == 0 ? FIRST_ROWS : pendings->count * 2;
    struct pending *rows = realloc(pendings->rows, count * sizeof *rows);

    if (rows == NULL) {
        return false;
    }
    for (uint32_t i = count; i-- > pendings->count;) {
        rows[i] = (struct pending){.generation = 1, .next_free = pendings->free};
        pendings->free = i;
    }
    pendings->rows = rows;
    pendings->count = count;
    return true;
}

uint64_t
hark__pending_add(struct pendings *pendings, const struct pending *pending)
{
    uint64_t number = 0;

    pthread_mutex_lock(&pendings->lock);
    if (pendings->free != NO_ROW || grow(pendings)) {
        uint32_t index = pendings->free;
        struct pending *row = &pendings->rows[index];
        uint32_t generation = row->generation;

        pendings->free = row->next_free;
        *row = *pending;
        row->generation = generation;
        number = (uint64_t)generation << 32 | index;
    }
    pthread_mutex_unlock(&pendings->lock);
    return number;
}

// NULL: none of that number. The lock is held.
static struct pending *
find(struct pendings *pendings, uint64_t number)
{
    uint32_t index = (uint32_t)number;

    if (index >= pendings->count || pendings->rows[index].link == NULL
        || pendings->rows[index].generation != (uint32_t)(number >> 32)) {
        return NULL;
    }
    return &pendings->rows[index];
}

// Takes the row for the caller, and frees it.
static void
take(struct pendings *pendings, struct pending *row, struct pending *out_pending)
{
    if (row->lookup != NULL) {
        free(row->lookup);
        row->lookup = NULL;
    }
    *out_pending = *row;
    row->link = NULL;
    row->generation = row->generation == UINT32_MAX ? 1 : row->generation + 1;
    row->next_free = pendings->free;
    pendings->free = (uint32_t)(row - pendings->rows);
}

bool
hark__pending_take(struct pendings *pendings, uint64_t number,
                   struct pending *out_pending)
{
    pthread_mutex_lock(&pendings->lock);
    struct pending *row = find(pendings, number);
    if (row != NULL) {
        take(pendings, row, out_pending);
    }
    pthread_mutex_unlock(&pendings->lock);
    return row != NULL;
}

bool
hark__pending_read(struct pendings *pendings, uint64_t number,
                   struct pending *out_pending)
{
    pthread_mutex_lock(&pendings->lock);
    const struct pending *row = find(pendings, number);
    if (row != NULL) {
        *out_pending = *row;
    }
    pthread_mutex_unlock(&pendings->lock);
    return row != NULL;
}

bool
hark__pending_spend(struct pendings *pendings, uint64_t number,
                    struct pending *out_pending)
{
    pthread_mutex_lock(&pendings->lock);
    struct pending *row = find(pendings, number);
    if (row != NULL) {
        *out_pending = *row;
        row->credits -= row->credits > 0;
    }
    pthread_mutex_unlock(&pendings->lock);
    return row != NULL;
}

bool
hark__pending_credit(struct pendings *pendings, uint64_t number,
                     const struct link *link, uint32_t credits)
{
    pthread_mutex_lock(&pendings->lock);
    struct pending *row = find(pendings, number);
    bool is_there = row != NULL && row->link == link && row->kind == PENDING_STREAM;
    if (is_there) {
        row->credits += credits;
    }
    pthread_mutex_unlock(&pendings->lock);
    return is_there;
}

static bool
is_wanted(const struct pending *row, const struct pending_filter *filter)
{
    if (row->link == NULL || (filter->connects_only && row->kind != PENDING_CONNECT)
        || (filter->lookups_only && row->lookup == NULL)) {
        return false;
    }
    return filter->link != NULL ? row->link == filter->link
                                : row->expiry_ns < filter->now_ns;
}

// The next row that is wanted; NULL: no more. The lock is held.
static struct pending *
next_wanted(struct pendings *pendings, uint32_t *cursor,
            const struct pending_filter *filter)
{
    while (*cursor < pendings->count) {
        struct pending *row = &pendings->rows[(*cursor)++];

        if (is_wanted(row, filter)) {
            return row;
        }
    }
    return NULL;
}

bool
hark__pending_take_next(struct pendings *pendings, uint32_t *cursor,
                        const struct pending_filter *filter,
                        struct pending *out_pending)
{
    pthread_mutex_lock(&pendings->lock);
    struct pending *row = next_wanted(pendings, cursor, filter);
    if (row != NULL) {
        take(pendings, row, out_pending);
    }
    pthread_mutex_unlock(&pendings->lock);
    return row != NULL;
}

bool
hark__pending_see_next(struct pendings *pendings, uint32_t *cursor,
                       const struct pending_filter *filter, uint64_t *out_number,
                       struct pending *out_pending)
{
    pthread_mutex_lock(&pendings->lock);
    struct pending *row = next_wanted(pendings, cursor, filter);
    if (row != NULL) {
        *out_number = (uint64_t)row->generation << 32 | (*cursor - 1);
        *out_pending = *row;
    }
    pthread_mutex_unlock(&pendings->lock);
    return row != NULL;
}

void
hark__pending_move(struct pendings *pendings, uint64_t number, struct link *link)
{
    pthread_mutex_lock(&pendings->lock);
    struct pending *row = find(pendings, number);
    if (row != NULL) {
        row->link = link;
    }
    pthread_mutex_unlock(&pendings->lock);
}
