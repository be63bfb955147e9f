#include "remote/types.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_TYPES = 32 };

#define NO_NUMBER UINT32_MAX

// ---- ours ----

void
hark__types_out_fini(struct types_out *types)
{
    free((void *)types->types);
    free(types->table);
}

static uint32_t *
cell_of(const struct types_out *types, const hark_type *type)
{
    uint32_t mask = types->capacity * 2 - 1;
    uint32_t at = (uint32_t)((uintptr_t)type >> 4) * UINT32_C(0x9E3779B1) & mask;

    while (types->table[at] != NO_NUMBER && types->types[types->table[at]] != type) {
        at = (at + 1) & mask;
    }
    return &types->table[at];
}

static void
rehash(struct types_out *types)
{
    memset(types->table, 0xff, sizeof *types->table * 2 * types->capacity); // NO_NUMBER
    for (uint32_t i = 0; i < types->count; i++) {
        *cell_of(types, types->types[i]) = i;
    }
}

static bool
grow(struct types_out *types)
{
    uint32_t capacity = types->capacity == 0 ? FIRST_TYPES : types->capacity * 2;
    const hark_type **grown =
        realloc((void *)types->types, capacity * sizeof(const hark_type *));

    if (grown == NULL) {
        return false;
    }
    types->types = grown;
    uint32_t *table = realloc(types->table, sizeof *table * 2 * capacity);
    if (table == NULL) {
        return false;
    }
    types->table = table;
    types->capacity = capacity;
    rehash(types);
    return true;
}

static hark_err
declare(struct types_out *types, struct bytes *out, const hark_type *type)
{
    uint32_t number;

    for (uint16_t i = 0; i < type->count; i++) {
        const hark_field *field = &type->fields[i];

        if (field->kind == HARK_KIND_message || field->element == HARK_KIND_message) {
            hark_err err = hark__types_out_number(types, out, field->type, &number);
            if (err != HARK_OK) {
                return err;
            }
        }
    }
    if (types->count == TYPES_LIMIT) {
        return HARK_ELIMIT;
    }
    if (types->count == types->capacity && !grow(types)) {
        return HARK_ENOMEM;
    }
    hark__entry_types(out, types->count, 1);
    hark__entry_type(out, type);
    types->types[types->count] = type;
    *cell_of(types, type) = types->count;
    types->count++;
    return HARK_OK;
}

hark_err
hark__types_out_number(struct types_out *types, struct bytes *out,
                       const hark_type *type, uint32_t *out_number)
{
    if (types->last != type) {
        if (types->capacity == 0 || *cell_of(types, type) == NO_NUMBER) {
            hark_err err = declare(types, out, type);
            if (err != HARK_OK) {
                return err;
            }
        }
        types->last_number = *cell_of(types, type);
        types->last = type;
    }
    *out_number = types->last_number;
    return HARK_OK;
}

void
hark__types_out_truncate(struct types_out *types, uint32_t count)
{
    if (types->count > count) {
        types->count = count;
        types->last = NULL;
        rehash(types);
    }
}

// ---- theirs ----

void
hark__types_in_fini(struct types_in *types)
{
    for (uint32_t i = 0; i < types->count; i++) {
        free(types->types[i]);
    }
    free((void *)types->types);
    free(types->readable);
}

static bool
is_readable(const struct types_in *types, struct registry *registry,
            const hark_type *type)
{
    uint32_t number = hark__registry_index(registry, type);

    return number < types->known && types->readable[number];
}

// A peer may declare one name again and again, so this must not take a search.
static hark_err
set_readable(struct types_in *types, uint32_t number, bool is_readable)
{
    if (number >= types->known) {
        uint32_t known = number < FIRST_TYPES ? FIRST_TYPES : number * 2;
        bool *readable = realloc(types->readable, known * sizeof *readable);

        if (readable == NULL) {
            return HARK_ENOMEM;
        }
        memset(readable + types->known, 0, (known - types->known) * sizeof *readable);
        types->readable = readable;
        types->known = known;
    }
    types->readable[number] = is_readable;
    return HARK_OK;
}

// What is nested in the fields that both have must have been declared before, and be
// readable.
static bool
are_nested_readable(const struct types_in *types, struct registry *registry,
                    const hark_type *local, uint32_t fields, char *why, size_t why_size)
{
    for (uint16_t i = 0; i < local->count && i < fields; i++) {
        const hark_field *field = &local->fields[i];

        if ((field->kind == HARK_KIND_message || field->element == HARK_KIND_message)
            && !is_readable(types, registry, field->type)) {
            snprintf(why, why_size, "field %s: message type %s cannot be read",
                     field->name, field->type->name);
            return false;
        }
    }
    return true;
}

static hark_err
match(struct types_in *types, struct registry *registry,
      const struct type_decl *declared, struct type_in *type)
{
    const hark_type *local =
        hark__registry_find(registry, declared->name.ptr, declared->name.len);

    if (local == NULL) {
        snprintf(type->why, sizeof type->why, "it is not known here");
        return HARK_OK;
    }
    if (hark__types_compatible(local, declared, type->why, sizeof type->why)
        && are_nested_readable(types, registry, local, declared->left, type->why,
                               sizeof type->why)) {
        type->local = local;
    }
    return set_readable(types, hark__registry_index(registry, local),
                        type->local != NULL);
}

static hark_err
add(struct types_in *types, struct registry *registry, const struct type_decl *declared)
{
    if (types->count == TYPES_LIMIT) {
        return HARK_ELIMIT;
    }
    if (types->count == types->capacity) {
        uint32_t capacity = types->capacity == 0 ? FIRST_TYPES : types->capacity * 2;
        struct type_in **grown =
            realloc((void *)types->types, capacity * sizeof(struct type_in *));

        if (grown == NULL) {
            return HARK_ENOMEM;
        }
        types->types = grown;
        types->capacity = capacity;
    }
    struct type_in *type = calloc(1, sizeof *type);
    if (type == NULL) {
        return HARK_ENOMEM;
    }
    int size = declared->name.len < TYPE_NAME ? (int)declared->name.len : TYPE_NAME - 1;
    snprintf(type->name, sizeof type->name, "%.*s", size, declared->name.ptr);
    types->types[types->count++] = type;
    return match(types, registry, declared, type);
}

hark_err
hark__types_in_declare(struct types_in *types, struct registry *registry,
                       struct types *declared)
{
    struct type_decl type;
    hark_err err = declared->first == types->count ? HARK_OK : HARK_EPROTO;

    while (err == HARK_OK && hark__types_next(declared, &type)) {
        err = add(types, registry, &type);
    }
    return err;
}
