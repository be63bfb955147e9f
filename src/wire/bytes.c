#include "wire/bytes.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <msgpack/pack.h>

#define FIRST_CAPACITY 256

// The most that a value's head takes: a code, and 8 bytes of number or length.
#define HEAD_BYTES 9

// What msgpack-c calls with each piece. Room has been made, so it is small enough to be
// inlined, and with it the copies.
static inline int
write_piece(void *data, const char *piece, size_t size)
{
    struct bytes *bytes = data;

    memcpy(bytes->data + bytes->size, piece, size);
    bytes->size += size;
    return 0;
}

static inline msgpack_packer
packer_of(struct bytes *bytes)
{
    return (msgpack_packer){.data = bytes, .callback = write_piece};
}

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
    msgpack_packer packer = packer_of(bytes);

    if (hark__bytes_reserve(bytes, HEAD_BYTES)) {
        msgpack_pack_nil(&packer);
    }
}

void
hark__bytes_put_bool(struct bytes *bytes, bool value)
{
    msgpack_packer packer = packer_of(bytes);

    if (hark__bytes_reserve(bytes, HEAD_BYTES)) {
        (value ? msgpack_pack_true : msgpack_pack_false)(&packer);
    }
}

void
hark__bytes_put_u64_any(struct bytes *bytes, uint64_t value)
{
    msgpack_packer packer = packer_of(bytes);

    if (hark__bytes_reserve(bytes, HEAD_BYTES)) {
        msgpack_pack_uint64(&packer, value);
    }
}

void
hark__bytes_put_i64(struct bytes *bytes, int64_t value)
{
    msgpack_packer packer = packer_of(bytes);

    if (hark__bytes_reserve(bytes, HEAD_BYTES)) {
        msgpack_pack_int64(&packer, value);
    }
}

void
hark__bytes_put_f32(struct bytes *bytes, float value)
{
    msgpack_packer packer = packer_of(bytes);

    if (hark__bytes_reserve(bytes, HEAD_BYTES)) {
        msgpack_pack_float(&packer, value);
    }
}

void
hark__bytes_put_f64(struct bytes *bytes, double value)
{
    msgpack_packer packer = packer_of(bytes);

    if (hark__bytes_reserve(bytes, HEAD_BYTES)) {
        msgpack_pack_double(&packer, value);
    }
}

void
hark__bytes_put_str(struct bytes *bytes, hark_str text)
{
    msgpack_packer packer = packer_of(bytes);

    if (text.len > UINT32_MAX) {
        bytes->failed = true;
    } else if (hark__bytes_reserve(bytes, HEAD_BYTES + text.len)) {
        msgpack_pack_str(&packer, text.len);
        hark__bytes_append(bytes, text.ptr, text.len);
    }
}

void
hark__bytes_put_bin(struct bytes *bytes, const void *data, size_t size)
{
    msgpack_packer packer = packer_of(bytes);

    if (size > UINT32_MAX) {
        bytes->failed = true;
    } else if (hark__bytes_reserve(bytes, HEAD_BYTES + size)) {
        msgpack_pack_bin(&packer, size);
        hark__bytes_append(bytes, data, size);
    }
}

void
hark__bytes_put_ref(struct bytes *bytes, hark_ref ref)
{
    msgpack_packer packer = packer_of(bytes);
    uint8_t body[16];

    if (!hark__bytes_reserve(bytes, HEAD_BYTES + sizeof body)) {
        return;
    }
    if (hark_ref_is_null(ref)) {
        msgpack_pack_nil(&packer);
        return;
    }
    hark__bytes_store_u64(body, ref.node);
    hark__bytes_store_u64(body + 8, ref.actor);
    msgpack_pack_ext_with_body(&packer, body, sizeof body, EXT_REF);
}

void
hark__bytes_put_array(struct bytes *bytes, size_t count)
{
    msgpack_packer packer = packer_of(bytes);

    if (count > UINT32_MAX) {
        bytes->failed = true;
    } else if (hark__bytes_reserve(bytes, HEAD_BYTES)) {
        msgpack_pack_array(&packer, count);
    }
}

void
hark__bytes_put_wide_u64(struct bytes *bytes, uint64_t value)
{
    msgpack_packer packer = packer_of(bytes);

    if (hark__bytes_reserve(bytes, HEAD_BYTES)) {
        msgpack_pack_fix_uint64(&packer, value);
    }
}

void
hark__bytes_store_u64(uint8_t *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, sizeof value);
}
