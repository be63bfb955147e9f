// Values: what the tests of the wire room share. Seeded chance, values of any type made
// by it, and copies of bytes in blocks of just their size, so that a sanitizer sees
// whoever reads behind them.

#ifndef UNIT_WIRE_VALUES_H
#define UNIT_WIRE_VALUES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "message/type.h"
#include "wire/bytes.h"

enum { VALUES_LIST_MOST = 5, VALUES_TEXT_MOST = 40 };

// One seed, one series of values. The memory of what it made is its own.
struct values {
    uint64_t seed;
    void *blocks; // each begins with the next
};

static inline struct values
values_of(uint64_t seed)
{
    return (struct values){.seed = seed};
}

static inline void
values_fini(struct values *values)
{
    while (values->blocks != NULL) {
        void *block = values->blocks;

        memcpy(&values->blocks, block, sizeof values->blocks);
        free(block);
    }
}

static inline void *
values_alloc(struct values *values, size_t size)
{
    uint8_t *block = calloc(1, 16 + size);

    assert_non_null(block);
    memcpy(block, &values->blocks, sizeof values->blocks);
    values->blocks = block;
    return block + 16;
}

// splitmix64
static inline uint64_t
values_next(struct values *values)
{
    uint64_t z = (values->seed += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline uint64_t
values_below(struct values *values, uint64_t limit)
{
    return values_next(values) % limit;
}

// Numbers of every length, and often at an edge of a msgpack format.
static inline uint64_t
values_number(struct values *values)
{
    uint64_t number = values_next(values) >> values_below(values, 64);

    if (values_below(values, 4) == 0) {
        number = (UINT64_C(1) << values_below(values, 64)) - values_below(values, 2);
    }
    return values_below(values, 3) == 0 ? UINT64_C(0) - number : number;
}

static inline hark_str
values_text(struct values *values)
{
    size_t size = (size_t)values_below(values, VALUES_TEXT_MOST);
    char *text = values_alloc(values, size + 1);

    for (size_t i = 0; i < size; i++) {
        text[i] = (char)values_next(values);
    }
    return (hark_str){text, size};
}

static inline void values_fill(struct values *values, const hark_type *type,
                               uint8_t *out);

// One value of a kind; type is a message's.
static inline void
values_put(struct values *values, uint8_t kind, const hark_type *type, void *out)
{
    uint64_t number = values_number(values);
    hark_str text;

    switch (kind) {
    case HARK_KIND_bool:
        *(bool *)out = (number & 1) != 0;
        break;
    case HARK_KIND_f32:
        *(float *)out = (float)(int64_t)number / 3;
        break;
    case HARK_KIND_f64:
        *(double *)out = (double)(int64_t)number / 3;
        break;
    case HARK_KIND_ref:
        *(hark_ref *)out = (number & 1) != 0 ? (hark_ref){values_next(values), number}
                                             : (hark_ref){0, 0};
        break;
    case HARK_KIND_str:
        *(hark_str *)out = values_text(values);
        break;
    case HARK_KIND_bytes:
        text = values_text(values);
        *(hark_bytes *)out = (hark_bytes){.ptr = text.ptr, .len = text.len};
        break;
    case HARK_KIND_message:
        values_fill(values, type, out);
        break;
    default: // an integer, cut to its size
        memcpy(out, &number, hark__kind_size(kind, NULL));
        break;
    }
}

static inline void
values_put_list(struct values *values, const hark_field *field, hark_list *out)
{
    size_t count = (size_t)values_below(values, VALUES_LIST_MOST + 1);
    size_t stride = hark__kind_size(field->element, field->type);
    uint8_t *items = values_alloc(values, count * stride);

    for (size_t i = 0; i < count; i++) {
        values_put(values, field->element, field->type, items + i * stride);
    }
    *out = (hark_list){items, count};
}

// Fills a struct of that type, which is all zero.
static inline void
values_fill(struct values *values, const hark_type *type, uint8_t *out)
{
    for (uint16_t i = 0; i < type->count; i++) {
        const hark_field *field = &type->fields[i];

        if (field->kind == HARK_KIND_list) {
            values_put_list(values, field, (hark_list *)(void *)(out + field->offset));
        } else {
            values_put(values, field->kind, field->type, out + field->offset);
        }
    }
}

static inline bool values_same(const hark_type *type, const uint8_t *a,
                               const uint8_t *b);

static inline bool
values_same_one(uint8_t kind, const hark_field *field, const void *a, const void *b)
{
    const hark_list *list = a, *other = b;
    const hark_bytes *bytes = a;
    size_t stride;

    switch (kind) {
    case HARK_KIND_str:
        return hark_str_equal(*(const hark_str *)a, *(const hark_str *)b);
    case HARK_KIND_bytes:
        return bytes->len == ((const hark_bytes *)b)->len
               && memcmp(bytes->ptr, ((const hark_bytes *)b)->ptr, bytes->len) == 0;
    case HARK_KIND_message:
        return values_same(field->type, a, b);
    case HARK_KIND_list:
        stride = hark__kind_size(field->element, field->type);
        for (size_t i = 0; i < list->count && list->count == other->count; i++) {
            if (!values_same_one(field->element, field,
                                 (const uint8_t *)list->items + i * stride,
                                 (const uint8_t *)other->items + i * stride)) {
                return false;
            }
        }
        return list->count == other->count;
    default: // bit by bit, so that a NaN is like itself
        return memcmp(a, b, hark__kind_size(kind, NULL)) == 0;
    }
}

// Do two structs of that type mean the same?
static inline bool
values_same(const hark_type *type, const uint8_t *a, const uint8_t *b)
{
    for (uint16_t i = 0; i < type->count; i++) {
        const hark_field *field = &type->fields[i];

        if (!values_same_one(field->kind, field, a + field->offset,
                             b + field->offset)) {
            return false;
        }
    }
    return true;
}

// Gives a copy in a block of just that size.
static inline uint8_t *
exact_copy(const void *data, size_t size)
{
    uint8_t *copy = malloc(size);

    if (size > 0) {
        assert_non_null(copy);
        memcpy(copy, data, size);
    }
    return copy;
}

// Bytes of a literal, for inputs written by hand.
#define RAW(literal) (literal), sizeof(literal) - 1

static inline void
assert_bytes(const struct bytes *bytes, const void *expected, size_t size)
{
    assert_false(bytes->failed);
    assert_int_equal(bytes->size, size);
    assert_memory_equal(bytes->data, expected, size);
}

#endif // UNIT_WIRE_VALUES_H
