#include "wire/bytes.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "wire/pack.h"

#define FIRST_CAPACITY 256

void
hark__bytes_init(struct bytes *bytes)
{
    *bytes = (struct bytes){0};
}

void
hark__bytes_fini(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

bool
hark__bytes_grow(struct bytes *bytes, size_t more)
{
    if (bytes->failed) {
        return false;
    }
    if (more > SIZE_MAX / 4 - bytes->size) {
        bytes->failed = true;
        return false;
    }

    size_t capacity = bytes->capacity > 0 ? bytes->capacity : FIRST_CAPACITY;

    while (capacity < bytes->size + more) {
        capacity *= 2;
    }

    uint8_t *data = realloc(bytes->data, capacity);

    if (data == NULL) {
        bytes->failed = true;
        return false;
    }
    bytes->data = data;
    bytes->capacity = capacity;
    return true;
}

bool
hark__bytes_reserve_just(struct bytes *bytes, size_t capacity)
{
    bytes->data = malloc(capacity);
    bytes->failed = bytes->data == NULL;
    bytes->capacity = bytes->failed ? 0 : capacity;
    return !bytes->failed;
}

void
hark__bytes_truncate(struct bytes *bytes, size_t size)
{
    if (size < bytes->size) {
        bytes->size = size;
    }
    bytes->failed = false;
}

void
hark__bytes_append(struct bytes *bytes, const void *data, size_t size)
{
    if (size > 0 && hark__bytes_reserve(bytes, size)) {
        memcpy(bytes->data + bytes->size, data, size);
        bytes->size += size;
    }
}

void
hark__bytes_put_nil(struct bytes *bytes)
{
    uint8_t *at = hark__bytes_open(bytes, 0);

    if (at != NULL) {
        hark__bytes_close(bytes, hark__pack_nil(at));
    }
}

void
hark__bytes_put_u64(struct bytes *bytes, uint64_t value)
{
    uint8_t *at = hark__bytes_open(bytes, 0);

    if (at != NULL) {
        hark__bytes_close(bytes, hark__pack_u64(at, value));
    }
}

void
hark__bytes_put_i64(struct bytes *bytes, int64_t value)
{
    uint8_t *at = hark__bytes_open(bytes, 0);

    if (at != NULL) {
        hark__bytes_close(bytes, hark__pack_i64(at, value));
    }
}

void
hark__bytes_put_ref(struct bytes *bytes, hark_ref ref)
{
    uint8_t *at = hark__bytes_open(bytes, 0);

    if (at != NULL) {
        hark__bytes_close(bytes, hark__pack_ref(at, ref));
    }
}

void
hark__bytes_put_wide_u64(struct bytes *bytes, uint64_t value)
{
    uint8_t *at = hark__bytes_open(bytes, 0);

    if (at != NULL) {
        hark__bytes_close(bytes, hark__pack_wide_u64(at, value));
    }
}

void
hark__bytes_put_str(struct bytes *bytes, hark_str text)
{
    bytes->failed = bytes->failed || text.len > UINT32_MAX;

    uint8_t *at = hark__bytes_open(bytes, text.len);

    if (at != NULL) {
        at = hark__pack_str_head(at, text.len);
        hark__bytes_close(bytes, hark__pack_body(at, text.ptr, text.len));
    }
}

void
hark__bytes_put_array(struct bytes *bytes, size_t count)
{
    bytes->failed = bytes->failed || count > UINT32_MAX;

    uint8_t *at = hark__bytes_open(bytes, 0);

    if (at != NULL) {
        hark__bytes_close(bytes, hark__pack_array_head(at, count));
    }
}

void
hark__bytes_store_u64(uint8_t *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, sizeof value);
}
