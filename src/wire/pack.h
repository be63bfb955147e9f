// Pack: one msgpack value at a cursor, written by msgpack-c's packers.
//
// The caller has made room: PACK_MOST bytes for each value, of text and bytes the head
// only. Each function gives the cursor behind what it wrote. They are inline so that
// the cursor stays in a register, and msgpack-c's small copies become single stores.

#ifndef WIRE_PACK_H
#define WIRE_PACK_H

#include <endian.h>
#include <string.h>

#include <msgpack/pack.h>

#include "wire/bytes.h"

// The most that one value takes: a ref. A number, or a head, takes 9 at most.
#define PACK_MOST 18

// What msgpack-c calls with each piece; data is the cursor.
static inline int
pack__piece(void *data, const char *piece, size_t size)
{
    uint8_t **at = data;

    memcpy(*at, piece, size);
    *at += size;
    return 0;
}

// An expression of a packer that writes at `at`.
#define PACK__AT(at) (&(msgpack_packer){.data = &(at), .callback = pack__piece})

static inline uint8_t *
hark__pack_nil(uint8_t *at)
{
    msgpack_pack_nil(PACK__AT(at));
    return at;
}

static inline uint8_t *
hark__pack_bool(uint8_t *at, bool value)
{
    if (value) {
        msgpack_pack_true(PACK__AT(at));
    } else {
        msgpack_pack_false(PACK__AT(at));
    }
    return at;
}

static inline uint8_t *
hark__pack_u64(uint8_t *at, uint64_t value)
{
    msgpack_pack_uint64(PACK__AT(at), value);
    return at;
}

static inline uint8_t *
hark__pack_i64(uint8_t *at, int64_t value)
{
    msgpack_pack_int64(PACK__AT(at), value);
    return at;
}

static inline uint8_t *
hark__pack_f32(uint8_t *at, float value)
{
    msgpack_pack_float(PACK__AT(at), value);
    return at;
}

static inline uint8_t *
hark__pack_f64(uint8_t *at, double value)
{
    msgpack_pack_double(PACK__AT(at), value);
    return at;
}

// Heads: size bytes, or count values, must follow. At most UINT32_MAX.
static inline uint8_t *
hark__pack_str_head(uint8_t *at, size_t size)
{
    msgpack_pack_str(PACK__AT(at), size);
    return at;
}

static inline uint8_t *
hark__pack_bin_head(uint8_t *at, size_t size)
{
    msgpack_pack_bin(PACK__AT(at), size);
    return at;
}

static inline uint8_t *
hark__pack_array_head(uint8_t *at, size_t count)
{
    msgpack_pack_array(PACK__AT(at), count);
    return at;
}

// nil for nobody.
static inline uint8_t *
hark__pack_ref(uint8_t *at, hark_ref ref)
{
    const uint64_t body[2] = {htobe64(ref.node), htobe64(ref.actor)};

    if (hark_ref_is_null(ref)) {
        return hark__pack_nil(at);
    }
    msgpack_pack_ext(PACK__AT(at), sizeof body, EXT_REF);
    msgpack_pack_ext_body(PACK__AT(at), body, sizeof body);
    return at;
}

// What stands for bytes that are a part of the frame.
static inline uint8_t *
hark__pack_part(uint8_t *at, uint16_t number)
{
    const uint16_t body = htobe16(number);

    msgpack_pack_ext(PACK__AT(at), sizeof body, EXT_PART);
    msgpack_pack_ext_body(PACK__AT(at), &body, sizeof body);
    return at;
}

// Always 9 bytes, so that hark__bytes_store_u64 can change it in place later.
static inline uint8_t *
hark__pack_wide_u64(uint8_t *at, uint64_t value)
{
    msgpack_pack_fix_uint64(PACK__AT(at), value);
    return at;
}

// What follows the head of text or bytes.
static inline uint8_t *
hark__pack_body(uint8_t *at, const void *data, size_t size)
{
    if (size > 0) { // data may be NULL
        memcpy(at, data, size);
    }
    return at + size;
}

// ---- in a growing block ----

// Room for a value that takes `body` bytes besides its head; NULL: no memory, and
// bytes->failed is set.
static inline uint8_t *
hark__bytes_open(struct bytes *bytes, size_t body)
{
    return hark__bytes_reserve(bytes, PACK_MOST + body) ? bytes->data + bytes->size
                                                        : NULL;
}

// The value ends at `end`.
static inline void
hark__bytes_close(struct bytes *bytes, const uint8_t *end)
{
    bytes->size = (size_t)(end - bytes->data);
}

#endif // WIRE_PACK_H
