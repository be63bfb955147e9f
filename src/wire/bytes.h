// Bytes: a growing block that msgpack is written to.
//
// Nobody checks each write. When memory runs out the block says so once, in `failed`,
// and takes nothing more; whoever finishes a frame looks at it. Text of more than 4
// GiB, which msgpack cannot say, fails the same way. One thread at a time.

#ifndef WIRE_BYTES_H
#define WIRE_BYTES_H

#include "hark/message.h"

// The msgpack extensions in use: a ref, 16 bytes, node then actor, big-endian; and the
// number of a part of the frame, 2 bytes, which stands for bytes.
#define EXT_REF 1
#define EXT_PART 2

struct bytes {
    uint8_t *data;
    size_t size, capacity;
    bool failed;
};

void hark__bytes_init(struct bytes *bytes);
void hark__bytes_fini(struct bytes *bytes);

// The general case of hark__bytes_reserve.
bool hark__bytes_grow(struct bytes *bytes, size_t more);

// Gives an empty block a capacity of just `capacity` bytes. False: no memory, and
// failed is set.
bool hark__bytes_reserve_just(struct bytes *bytes, size_t capacity);

// Makes room for `more` bytes behind size. False: no memory, and failed is set.
static inline bool
hark__bytes_reserve(struct bytes *bytes, size_t more)
{
    if (!bytes->failed && more <= bytes->capacity - bytes->size) {
        return true;
    }
    return hark__bytes_grow(bytes, more);
}

// Forgets what stands behind `size`, and a failure with it; the memory stays. To take
// back a half-written entry, or (with 0) to start anew.
void hark__bytes_truncate(struct bytes *bytes, size_t size);

// Appends raw bytes.
void hark__bytes_append(struct bytes *bytes, const void *data, size_t size);

// Append one msgpack value, in its shortest form. More kinds, and without a call for
// each value: wire/pack.h.
void hark__bytes_put_nil(struct bytes *bytes);
void hark__bytes_put_u64(struct bytes *bytes, uint64_t value);
void hark__bytes_put_i64(struct bytes *bytes, int64_t value);
void hark__bytes_put_str(struct bytes *bytes, hark_str text);
// nil for nobody.
void hark__bytes_put_ref(struct bytes *bytes, hark_ref ref);
// A header: count values must follow.
void hark__bytes_put_array(struct bytes *bytes, size_t count);

// Always 9 bytes, so that hark__bytes_store_u64 can change it in place later.
void hark__bytes_put_wide_u64(struct bytes *bytes, uint64_t value);
// Writes value at `at`, 8 bytes, big-endian.
void hark__bytes_store_u64(uint8_t *at, uint64_t value);

#endif // WIRE_BYTES_H
