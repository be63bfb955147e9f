#include "message/registry.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "message/type.h"

#define FIRST_CAPACITY 64 // a power of two
#define EMPTY UINT32_MAX

// Types in the order they were added, and an open-addressed table of their numbers by
// the hash of their names. The table is never more than half full, and as large as
// twice the array: both grow together.
struct registry {
    pthread_mutex_t lock; // guards all below
    uint32_t count;
    uint32_t capacity; // of types; the table has twice as many
    const hark_type **types;
    uint32_t *table; // numbers, or EMPTY
};

static uint32_t
hash_name(const char *name, size_t len)
{
    uint32_t hash = UINT32_C(0x811c9dc5);

    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (uint8_t)name[i]) * UINT32_C(0x01000193);
    }
    return hash;
}

static bool
has_name(const hark_type *type, const char *name, size_t len)
{
    // A peer's name may hold a NUL.
    return strlen(type->name) == len && memcmp(type->name, name, len) == 0;
}

// The table's cell that holds the name's number, or the empty one where it belongs.
static uint32_t *
cell_of(const struct registry *registry, const char *name, size_t len)
{
    uint32_t mask = registry->capacity * 2 - 1;
    uint32_t at = hash_name(name, len) & mask;

    while (registry->table[at] != EMPTY
           && !has_name(registry->types[registry->table[at]], name, len)) {
        at = (at + 1) & mask;
    }
    return &registry->table[at];
}

// Gives both arrays new sizes and fills the table again. False: no memory.
static bool
resize(struct registry *registry, uint32_t capacity)
{
    uint32_t *table = malloc(2 * sizeof *table * capacity);
    const hark_type **types = malloc(sizeof *types * capacity);

    if (table == NULL || types == NULL) {
        free(table);
        free(types);
        return false;
    }
    memset(table, 0xff, 2 * sizeof *table * capacity); // EMPTY
    if (registry->count > 0) {
        memcpy(types, registry->types, sizeof *types * registry->count);
    }
    free(registry->table);
    free(registry->types);
    registry->table = table;
    registry->types = types;
    registry->capacity = capacity;
    for (uint32_t i = 0; i < registry->count; i++) {
        *cell_of(registry, types[i]->name, strlen(types[i]->name)) = i;
    }
    return true;
}

struct registry *
hark__registry_new(void)
{
    struct registry *registry = calloc(1, sizeof *registry);

    if (registry == NULL) {
        return NULL;
    }
    if (!resize(registry, FIRST_CAPACITY)) {
        free(registry);
        return NULL;
    }
    pthread_mutex_init(&registry->lock, NULL);
    return registry;
}

void
hark__registry_free(struct registry *registry)
{
    if (registry == NULL) {
        return;
    }
    pthread_mutex_destroy(&registry->lock);
    free(registry->table);
    free(registry->types);
    free(registry);
}

// Adds one type; the lock is held.
static hark_err
add_one(struct registry *registry, const hark_type *type)
{
    uint32_t *cell = cell_of(registry, type->name, strlen(type->name));

    if (*cell != EMPTY) {
        return hark_type_equal(registry->types[*cell], type) ? HARK_OK : HARK_EEXIST;
    }
    if (registry->count == registry->capacity) {
        if (!resize(registry, registry->capacity * 2)) {
            return HARK_ENOMEM;
        }
        cell = cell_of(registry, type->name, strlen(type->name));
    }
    registry->types[registry->count] = type;
    *cell = registry->count++;
    return HARK_OK;
}

// Adds the nested types first, so that a type's number is above those it is made of.
// The descriptor has been checked, which bounds the depth.
static hark_err
add_tree(struct registry *registry, const hark_type *type)
{
    for (uint16_t i = 0; i < type->count; i++) {
        const hark_field *field = &type->fields[i];

        if (field->kind == HARK_KIND_message || field->element == HARK_KIND_message) {
            hark_err err = add_tree(registry, field->type);

            if (err != HARK_OK) {
                return err;
            }
        }
    }
    return add_one(registry, type);
}

hark_err
hark__registry_add(struct registry *registry, const hark_type *type)
{
    hark_err err = hark__type_check(type);

    if (err != HARK_OK) {
        return err;
    }
    pthread_mutex_lock(&registry->lock);
    err = add_tree(registry, type);
    pthread_mutex_unlock(&registry->lock);
    return err;
}

const hark_type *
hark__registry_find(struct registry *registry, const char *name, size_t name_len)
{
    pthread_mutex_lock(&registry->lock);

    uint32_t index = *cell_of(registry, name, name_len);
    const hark_type *type = index != EMPTY ? registry->types[index] : NULL;

    pthread_mutex_unlock(&registry->lock);
    return type;
}

uint32_t
hark__registry_count(struct registry *registry)
{
    pthread_mutex_lock(&registry->lock);

    uint32_t count = registry->count;

    pthread_mutex_unlock(&registry->lock);
    return count;
}

const hark_type *
hark__registry_at(struct registry *registry, uint32_t index)
{
    pthread_mutex_lock(&registry->lock);

    const hark_type *type = index < registry->count ? registry->types[index] : NULL;

    pthread_mutex_unlock(&registry->lock);
    return type;
}

uint32_t
hark__registry_index(struct registry *registry, const hark_type *type)
{
    pthread_mutex_lock(&registry->lock);

    uint32_t index = *cell_of(registry, type->name, strlen(type->name));

    if (index != EMPTY && !hark_type_equal(registry->types[index], type)) {
        index = UINT32_MAX;
    }
    pthread_mutex_unlock(&registry->lock);
    return index;
}
