// Reader: msgpack from bytes that nobody vouches for.
//
// It never reads behind `end`, allocates nothing and does not recurse. A count is
// believed only as far as the bytes at hand could hold that many values (each takes at
// least one), so whoever allocates by a count has bounded memory. Views point into the
// input. What fails leaves the reader where it was.

#ifndef WIRE_READER_H
#define WIRE_READER_H

#include <endian.h>
#include <string.h>

#include "hark/message.h"
#include "wire/bytes.h"

// What a value may be.
enum item_kind {
    ITEM_END, // the input ends inside the value, or before a value for each it counts
    ITEM_BAD, // no msgpack
    ITEM_NIL,
    ITEM_BOOL,
    ITEM_INT,
    ITEM_FLOAT,
    ITEM_STR,
    ITEM_BIN,
    ITEM_ARRAY,
    ITEM_MAP,
    ITEM_EXT,
};

struct integer {
    uint64_t number; // two's complement, if negative
    bool is_negative;
};

struct reader {
    const uint8_t *at, *end;
};

static inline struct reader
hark__reader_of(const void *data, size_t size)
{
    const uint8_t *at = (const uint8_t *)data;

    // Adding even 0 to NULL is undefined.
    return (struct reader){at, size > 0 ? at + size : at};
}

static inline size_t
hark__reader_left(const struct reader *in)
{
    return (size_t)(in->end - in->at);
}

// What stands there; for errors.
enum item_kind hark__reader_kind(const struct reader *in);
// Its name with an article: "a string", "the end".
const char *hark__item_name(enum item_kind kind);

// Skips one value with all it holds, however deep.
bool hark__reader_skip(struct reader *in);

// Skips what stands in an array of count values behind the first ones, which are known.
static inline bool
hark__reader_skip_rest(struct reader *in, uint32_t count, uint32_t known)
{
    for (uint32_t i = known; i < count; i++) {
        if (!hark__reader_skip(in)) {
            return false;
        }
    }
    return true;
}

// The number at `at`, big-endian.
static inline uint64_t
hark__load_u64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof value);
    return be64toh(value);
}

// What follows are the general cases of the inline functions below.
bool hark__reader_int_any(struct reader *in, struct integer *out_integer);
bool hark__reader_u64_any(struct reader *in, uint64_t *out_value);
bool hark__reader_u32_any(struct reader *in, uint32_t *out_value);
bool hark__reader_ref_any(struct reader *in, hark_ref *out_ref);
bool hark__reader_array_any(struct reader *in, uint32_t *out_count);
bool hark__reader_str_any(struct reader *in, hark_str *out_view);
bool hark__reader_bin_any(struct reader *in, hark_bytes *out_view);

// Read one value of that kind. False: it is another, or out of range.
static inline bool
hark__reader_array(struct reader *in, uint32_t *out_count)
{
    size_t left = hark__reader_left(in);

    if (left >= 1 && (in->at[0] & 0xf0) == 0x90 && (in->at[0] & 0x0fu) < left) {
        *out_count = *in->at++ & 0x0fu;
        return true;
    }
    return hark__reader_array_any(in, out_count);
}

static inline bool
hark__reader_int(struct reader *in, struct integer *out_integer)
{
    if (hark__reader_left(in) >= 1 && (int8_t)in->at[0] >= -32) {
        int8_t value = (int8_t)*in->at++;

        *out_integer = (struct integer){(uint64_t)(int64_t)value, value < 0};
        return true;
    }
    return hark__reader_int_any(in, out_integer);
}

static inline bool
hark__reader_u64(struct reader *in, uint64_t *out_value)
{
    size_t left = hark__reader_left(in);

    if (left >= 1 && in->at[0] < 0x80) {
        *out_value = *in->at++;
        return true;
    }
    if (left >= 9 && in->at[0] == 0xcf) {
        *out_value = hark__load_u64(in->at + 1);
        in->at += 9;
        return true;
    }
    return hark__reader_u64_any(in, out_value);
}

static inline bool
hark__reader_u32(struct reader *in, uint32_t *out_value)
{
    if (hark__reader_left(in) >= 1 && in->at[0] < 0x80) {
        *out_value = *in->at++;
        return true;
    }
    return hark__reader_u32_any(in, out_value);
}

bool hark__reader_part(struct reader *in, uint16_t *out_number);
bool hark__reader_i64(struct reader *in, int64_t *out_value);
bool hark__reader_bool(struct reader *in, bool *out_value);
bool hark__reader_f64(struct reader *in, double *out_value);

static inline bool
hark__reader_str(struct reader *in, hark_str *out_view)
{
    size_t left = hark__reader_left(in);

    if (left >= 1 && (in->at[0] & 0xe0) == 0xa0 && (in->at[0] & 0x1fu) < left) {
        *out_view = (hark_str){(const char *)in->at + 1, in->at[0] & 0x1fu};
        in->at += 1 + out_view->len;
        return true;
    }
    return hark__reader_str_any(in, out_view);
}

static inline bool
hark__reader_bin(struct reader *in, hark_bytes *out_view)
{
    size_t left = hark__reader_left(in);

    if (left >= 2 && in->at[0] == 0xc4 && in->at[1] <= left - 2) {
        *out_view = (hark_bytes){.ptr = in->at + 2, .len = in->at[1]};
        in->at += 2 + out_view->len;
        return true;
    }
    return hark__reader_bin_any(in, out_view);
}

static inline bool
hark__reader_nil(struct reader *in)
{
    bool is_nil = hark__reader_left(in) >= 1 && in->at[0] == 0xc0;

    in->at += is_nil;
    return is_nil;
}
// nil gives nobody.
static inline bool
hark__reader_ref(struct reader *in, hark_ref *out_ref)
{
    if (hark__reader_left(in) >= 18 && in->at[0] == 0xd8 && in->at[1] == EXT_REF) {
        *out_ref = (hark_ref){hark__load_u64(in->at + 2), hark__load_u64(in->at + 10)};
        in->at += 18;
        return true;
    }
    return hark__reader_ref_any(in, out_ref);
}

#endif // WIRE_READER_H
