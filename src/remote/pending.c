#include "remote/pending.h"

#include <stdlib.h>

enum {
    FIRST_ROWS = 64,
    PREPARED = 32,    // rows at once
    READY_LEAST = 256 // that stay so
};

#define NO_ROW UINT32_MAX

void
hark__pendings_init(struct pendings *pendings)
{
    *pendings = (struct pendings){.ready = NO_ROW, .bare = NO_ROW};
    pthread_mutex_init(&pendings->lock, NULL);
}

void
hark__pendings_fini(struct pendings *pendings, struct pool *pool)
{
    for (uint32_t i = 0; i < pendings->count; i++) {
        if (pendings->rows[i].spare != NULL) {
            hark__message_free(pool, pendings->rows[i].spare);
        }
    }
    pthread_mutex_destroy(&pendings->lock);
    for (uint32_t i = 0; i < pendings->count; i++) {
        free(pendings->rows[i].lookup); // of a free row NULL
    }
    free(pendings->rows);
}

// ---- free rows ----

// The lock is held, here and below.
static bool
grow(struct pendings *pendings)
{
    uint32_t count = pendings->count == 0 ? FIRST_ROWS : pendings->count * 2;
    struct pending *rows = realloc(pendings->rows, count * sizeof *rows);

    if (rows == NULL) {
        return false;
    }
    for (uint32_t i = count; i-- > pendings->count;) {
        rows[i] = (struct pending){.generation = 1, .next_free = pendings->bare};
        pendings->bare = i;
    }
    pendings->rows = rows;
    pendings->count = count;
    return true;
}

// False: no memory.
static bool
prepare_one(struct pendings *pendings, struct pool *pool)
{
    if (pendings->bare == NO_ROW && !grow(pendings)) {
        return false;
    }
    uint32_t index = pendings->bare;
    struct pending *row = &pendings->rows[index];

    row->spare = hark__message_alloc(pool, NULL, 0);
    if (row->spare == NULL) {
        return false;
    }
    pendings->bare = row->next_free;
    row->next_free = pendings->ready;
    pendings->ready = index;
    return true;
}

bool
hark__pendings_prepare(struct pendings *pendings, struct pool *pool)
{
    pthread_mutex_lock(&pendings->lock);
    for (uint32_t i = 0; i < PREPARED && prepare_one(pendings, pool); i++) {
    }
    bool is_ready = pendings->ready != NO_ROW;
    pthread_mutex_unlock(&pendings->lock);
    return is_ready;
}

void
hark__pendings_trim(struct pendings *pendings, struct pool *pool)
{
    uint32_t kept = 0;

    pthread_mutex_lock(&pendings->lock);
    uint32_t *at = &pendings->ready;
    while (*at != NO_ROW && kept < READY_LEAST) {
        at = &pendings->rows[*at].next_free;
        kept++;
    }
    // Rows are taken from the front, and come back there: these lay idle.
    for (uint32_t i = 0; i < READY_LEAST && *at != NO_ROW; i++) {
        uint32_t index = *at;
        struct pending *row = &pendings->rows[index];

        hark__message_free(pool, row->spare);
        row->spare = NULL;
        *at = row->next_free;
        row->next_free = pendings->bare;
        pendings->bare = index;
    }
    pthread_mutex_unlock(&pendings->lock);
}

// ---- rows ----

uint64_t
hark__pending_add(struct pendings *pendings, const struct pending *pending)
{
    uint64_t number = 0;

    pthread_mutex_lock(&pendings->lock);
    if (pendings->ready != NO_ROW) {
        uint32_t index = pendings->ready;
        struct pending *row = &pendings->rows[index];
        uint32_t generation = row->generation;
        struct hark_message *spare = row->spare;

        pendings->ready = row->next_free;
        *row = *pending;
        row->generation = generation;
        row->spare = spare;
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

// Frees the row, which keeps its spare if it has one.
static void
release(struct pendings *pendings, struct pending *row)
{
    uint32_t *list = row->spare != NULL ? &pendings->ready : &pendings->bare;

    row->link = NULL;
    row->generation = row->generation == UINT32_MAX ? 1 : row->generation + 1;
    row->next_free = *list;
    *list = (uint32_t)(row - pendings->rows);
}

// Takes the row for the caller, but for its lookup.
static void
take(struct pendings *pendings, struct pending *row, struct pending *out_pending)
{
    free(row->lookup);
    row->lookup = NULL;
    *out_pending = *row;
    release(pendings, row);
}

// The same, with its spare for the caller.
static void
take_to_fail(struct pendings *pendings, struct pending *row,
             struct pending *out_pending)
{
    free(row->lookup);
    row->lookup = NULL;
    *out_pending = *row;
    row->spare = NULL;
    release(pendings, row);
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
hark__pending_take_to_fail(struct pendings *pendings, uint64_t number,
                           struct pending *out_pending)
{
    pthread_mutex_lock(&pendings->lock);
    struct pending *row = find(pendings, number);
    if (row != NULL) {
        take_to_fail(pendings, row, out_pending);
    }
    pthread_mutex_unlock(&pendings->lock);
    return row != NULL;
}

struct hark_message *
hark__pending_take_spare(struct pendings *pendings, uint64_t number)
{
    struct hark_message *spare = NULL;

    pthread_mutex_lock(&pendings->lock);
    struct pending *row = find(pendings, number);
    if (row != NULL) {
        spare = row->spare;
        row->spare = NULL;
    }
    pthread_mutex_unlock(&pendings->lock);
    return spare;
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
        take_to_fail(pendings, row, out_pending);
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
