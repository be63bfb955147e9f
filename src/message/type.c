#include "message/type.h"

#include <string.h>

#include "message/registry.h"

struct kind_row {
    const char *name;
    uint8_t size;
};

// clang-format off
#define ROW(kind, c_type) [HARK_KIND_##kind] = {#kind, sizeof(c_type)}

// A message's size is its type's.
static const struct kind_row kinds[] = {
    ROW(bool, bool),
    ROW(i8, int8_t),
    ROW(i16, int16_t),
    ROW(i32, int32_t),
    ROW(i64, int64_t),
    ROW(u8, uint8_t),
    ROW(u16, uint16_t),
    ROW(u32, uint32_t),
    ROW(u64, uint64_t),
    ROW(f32, float),
    ROW(f64, double),
    ROW(ref, hark_ref),
    ROW(str, hark_str),
    ROW(bytes, hark_bytes),
    [HARK_KIND_message] = {"message", 0},
    ROW(list, hark_list),
};
// clang-format on

static bool
is_kind(uint8_t kind)
{
    return kind >= HARK_KIND_bool && kind <= HARK_KIND_list;
}

size_t
hark__kind_size(uint8_t kind, const hark_type *type)
{
    if (kind == HARK_KIND_message) {
        return type->size;
    }
    return is_kind(kind) ? kinds[kind].size : 0;
}

const char *
hark__kind_name(uint8_t kind)
{
    return is_kind(kind) ? kinds[kind].name : "?";
}

// Does the field, or what a list holds, have a message type?
static bool
has_type(const hark_field *field)
{
    return field->kind == HARK_KIND_message || field->element == HARK_KIND_message;
}

static bool same_type(const hark_type *a, const hark_type *b, int depth);

static bool
same_field(const hark_field *a, const hark_field *b, int depth)
{
    return a->kind == b->kind && a->element == b->element && a->offset == b->offset
           && strcmp(a->name, b->name) == 0
           && (!has_type(a) || same_type(a->type, b->type, depth + 1));
}

static bool
same_type(const hark_type *a, const hark_type *b, int depth)
{
    if (a == b) {
        return true;
    }
    if (a->count != b->count || a->size != b->size || strcmp(a->name, b->name) != 0
        || depth > MAX_DEPTH) {
        return false;
    }
    for (uint16_t i = 0; i < a->count; i++) {
        if (!same_field(&a->fields[i], &b->fields[i], depth)) {
            return false;
        }
    }
    return true;
}

bool
hark_type_equal(const hark_type *a, const hark_type *b)
{
    return a == b || (a != NULL && b != NULL && same_type(a, b, 1));
}

// FNV-1a, 64 bits.
static uint64_t
hash_bytes(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *at = (const uint8_t *)data;

    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

// The bytes: name, 0, count (2 bytes, big-endian); then for each field its name, 0,
// kind, element, and the same bytes again of its message type if it has one.
static uint64_t
hash_type(uint64_t hash, const hark_type *type, int depth)
{
    const uint8_t count[2] = {(uint8_t)(type->count >> 8), (uint8_t)type->count};

    hash = hash_bytes(hash, type->name, strlen(type->name) + 1);
    hash = hash_bytes(hash, count, sizeof count);
    for (uint16_t i = 0; i < type->count; i++) {
        const hark_field *field = &type->fields[i];
        const uint8_t what[2] = {field->kind, field->element};

        hash = hash_bytes(hash, field->name, strlen(field->name) + 1);
        hash = hash_bytes(hash, what, sizeof what);
        if (has_type(field) && depth < MAX_DEPTH) {
            hash = hash_type(hash, field->type, depth + 1);
        }
    }
    return hash;
}

uint64_t
hark__type_hash(const hark_type *type)
{
    return hash_type(UINT64_C(0xcbf29ce484222325), type, 1);
}

static bool is_sound(const hark_type *type, int depth);

// Is element what the kind needs: a kind for lists (no list of lists), else none?
static bool
is_element_sound(const hark_field *field)
{
    if (field->kind != HARK_KIND_list) {
        return field->element == 0;
    }
    return is_kind(field->element) && field->element != HARK_KIND_list;
}

static bool
is_field_sound(const hark_type *type, const hark_field *field, int depth)
{
    if (field->name == NULL || !is_kind(field->kind) || !is_element_sound(field)) {
        return false;
    }
    if (has_type(field) && (field->type == NULL || !is_sound(field->type, depth + 1))) {
        return false;
    }

    size_t size = hark__kind_size(field->kind, field->type);

    return field->offset <= type->size && size <= type->size - field->offset;
}

// A field that points outside the struct must not stand in a flat type.
static bool
is_flat_sound(const hark_type *type, const hark_field *field)
{
    bool is_flat = field->kind < HARK_KIND_str
                   || (field->kind == HARK_KIND_message && field->type->flat);

    return is_flat || !type->flat;
}

static bool
is_sound(const hark_type *type, int depth)
{
    if (depth > MAX_DEPTH || type->name == NULL || type->name[0] == '\0'
        || type->size == 0 || (type->count > 0 && type->fields == NULL)) {
        return false;
    }
    for (uint16_t i = 0; i < type->count; i++) {
        const hark_field *field = &type->fields[i];

        if (!is_field_sound(type, field, depth) || !is_flat_sound(type, field)) {
            return false;
        }
    }
    return true;
}

hark_err
hark__type_check(const hark_type *type)
{
    return type != NULL && is_sound(type, 1) ? HARK_OK : HARK_EINVAL;
}
