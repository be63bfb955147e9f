#include "wire/reader.h"

#include <string.h>

static const char *const names[] = {
    [ITEM_END] = "the end",      [ITEM_BAD] = "a byte that is no msgpack",
    [ITEM_NIL] = "nil",          [ITEM_BOOL] = "a bool",
    [ITEM_INT] = "an integer",   [ITEM_FLOAT] = "a float",
    [ITEM_STR] = "a string",     [ITEM_BIN] = "bytes",
    [ITEM_ARRAY] = "an array",   [ITEM_MAP] = "a map",
    [ITEM_EXT] = "an extension",
};

const char *
hark__item_name(enum item_kind kind)
{
    return names[kind];
}

static uint64_t
load_big(const uint8_t *at, size_t size)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

// Takes size bytes; NULL: the input is shorter.
static const uint8_t *
take(struct reader *in, size_t size)
{
    if (size > hark__reader_left(in)) {
        return NULL;
    }

    const uint8_t *at = in->at;

    in->at += size;
    return at;
}

// A big-endian number of 1, 2, 4 or 8 bytes.
static bool
take_number(struct reader *in, size_t size, uint64_t *out_value)
{
    const uint8_t *at = take(in, size);

    if (at == NULL) {
        return false;
    }
    *out_value = load_big(at, size);
    return true;
}

static bool
set_body(struct reader *in, struct item *item, enum item_kind kind, uint64_t size)
{
    if (size > hark__reader_left(in)) {
        return false;
    }
    item->kind = kind;
    item->body = (hark_bytes){.ptr = take(in, (size_t)size), .len = (size_t)size};
    return true;
}

// A str, bin: its length, of `width` bytes, and its body.
static bool
read_body(struct reader *in, struct item *item, enum item_kind kind, size_t width)
{
    uint64_t size;

    return take_number(in, width, &size) && set_body(in, item, kind, size);
}

static bool
set_ext(struct reader *in, struct item *item, uint64_t size)
{
    uint64_t ext;

    if (!take_number(in, 1, &ext)) {
        return false;
    }
    item->ext = (int8_t)(uint8_t)ext;
    return set_body(in, item, ITEM_EXT, size);
}

static bool
read_ext(struct reader *in, struct item *item, size_t width)
{
    uint64_t size;

    return take_number(in, width, &size) && set_ext(in, item, size);
}

// An array or a map of `count` values, which must still fit.
static bool
set_count(const struct reader *in, struct item *item, enum item_kind kind,
          uint64_t count)
{
    item->kind = kind;
    item->number = count;
    return count <= hark__reader_left(in);
}

static bool
read_count(struct reader *in, struct item *item, enum item_kind kind, size_t width)
{
    uint64_t count;

    return take_number(in, width, &count)
           && set_count(in, item, kind, kind == ITEM_MAP ? 2 * count : count);
}

static bool
read_uint(struct reader *in, struct item *item, size_t width)
{
    item->kind = ITEM_INT;
    return take_number(in, width, &item->number);
}

static bool
read_int(struct reader *in, struct item *item, size_t width)
{
    if (!read_uint(in, item, width)) {
        return false;
    }

    unsigned bits = 8 * (unsigned)width;

    item->is_negative = (item->number >> (bits - 1)) != 0;
    if (item->is_negative && bits < 64) {
        item->number |= UINT64_MAX << bits;
    }
    return true;
}

static bool
read_float(struct reader *in, struct item *item, size_t width)
{
    uint64_t raw;

    if (!take_number(in, width, &raw)) {
        return false;
    }
    item->kind = ITEM_FLOAT;
    if (width == sizeof(float)) {
        uint32_t raw32 = (uint32_t)raw;
        float single;

        memcpy(&single, &raw32, sizeof single);
        item->real = (double)single;
    } else {
        memcpy(&item->real, &raw, sizeof item->real);
    }
    return true;
}

static bool
set_bool(struct item *item, bool value)
{
    item->kind = ITEM_BOOL;
    item->number = value;
    return true;
}

// The formats from 0xc0 to 0xdf. Widths double from one format to the next, so each
// family is its first format and a shift.
static bool
read_coded(struct reader *in, struct item *item, unsigned code)
{
    switch (code) {
    case 0xc0:
        item->kind = ITEM_NIL;
        return true;
    case 0xc2:
    case 0xc3:
        return set_bool(item, code == 0xc3);
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return read_body(in, item, ITEM_BIN, (size_t)1 << (code - 0xc4));
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return read_ext(in, item, (size_t)1 << (code - 0xc7));
    case 0xca:
    case 0xcb:
        return read_float(in, item, (size_t)4 << (code - 0xca));
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return read_uint(in, item, (size_t)1 << (code - 0xcc));
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return read_int(in, item, (size_t)1 << (code - 0xd0));
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return set_ext(in, item, (uint64_t)1 << (code - 0xd4));
    case 0xd9:
    case 0xda:
    case 0xdb:
        return read_body(in, item, ITEM_STR, (size_t)1 << (code - 0xd9));
    case 0xdc:
    case 0xdd:
        return read_count(in, item, ITEM_ARRAY, (size_t)2 << (code - 0xdc));
    case 0xde:
    case 0xdf:
        return read_count(in, item, ITEM_MAP, (size_t)2 << (code - 0xde));
    default:
        item->kind = ITEM_BAD;
        return false;
    }
}

static bool
read_any(struct reader *in, struct item *item)
{
    const uint8_t *at = take(in, 1);

    if (at == NULL) {
        return false;
    }

    unsigned code = *at;

    if (code < 0x80 || code >= 0xe0) {
        item->kind = ITEM_INT;
        item->is_negative = code >= 0xe0;
        item->number = item->is_negative ? UINT64_MAX << 8 | code : code;
        return true;
    }
    if (code < 0x90) {
        return set_count(in, item, ITEM_MAP, 2 * (code & 0x0fu));
    }
    if (code < 0xa0) {
        return set_count(in, item, ITEM_ARRAY, code & 0x0fu);
    }
    if (code < 0xc0) {
        return set_body(in, item, ITEM_STR, code & 0x1fu);
    }
    return read_coded(in, item, code);
}

bool
hark__reader_next(struct reader *in, struct item *out_item)
{
    const uint8_t *start = in->at;

    *out_item = (struct item){.kind = ITEM_END};
    if (read_any(in, out_item)) {
        return true;
    }
    if (out_item->kind != ITEM_BAD) {
        out_item->kind = ITEM_END;
    }
    in->at = start;
    return false;
}

// What a format says of itself: how long its head is, and what follows the head.
struct format {
    uint8_t head; // bytes with the code; 0: no msgpack
    uint8_t body; // bytes behind it, if `sized` is 0
    uint8_t
        sized; // bytes at the end of the head (before an extension's type) that tell
               // the length of the body, or the number of values
    uint8_t values; // values that follow for each that is counted: arrays 1, maps 2
};

// From 0xc0 to 0xdf.
static const struct format formats[32] = {
    [0x00] = {1, 0, 0, 0},                                                // nil
    [0x02] = {1, 0, 0, 0},                                                // false, true
    [0x03] = {1, 0, 0, 0},  [0x04] = {2, 0, 1, 0},                        // bin
    [0x05] = {3, 0, 2, 0},  [0x06] = {5, 0, 4, 0}, [0x07] = {3, 0, 1, 0}, // ext
    [0x08] = {4, 0, 2, 0},  [0x09] = {6, 0, 4, 0}, [0x0a] = {1, 4, 0, 0}, // floats
    [0x0b] = {1, 8, 0, 0},  [0x0c] = {1, 1, 0, 0},                        // unsigned
    [0x0d] = {1, 2, 0, 0},  [0x0e] = {1, 4, 0, 0}, [0x0f] = {1, 8, 0, 0},
    [0x10] = {1, 1, 0, 0}, // signed
    [0x11] = {1, 2, 0, 0},  [0x12] = {1, 4, 0, 0}, [0x13] = {1, 8, 0, 0},
    [0x14] = {2, 1, 0, 0}, // fixext
    [0x15] = {2, 2, 0, 0},  [0x16] = {2, 4, 0, 0}, [0x17] = {2, 8, 0, 0},
    [0x18] = {2, 16, 0, 0}, [0x19] = {2, 0, 1, 0},                        // str
    [0x1a] = {3, 0, 2, 0},  [0x1b] = {5, 0, 4, 0}, [0x1c] = {3, 0, 2, 1}, // array
    [0x1d] = {5, 0, 4, 1},  [0x1e] = {3, 0, 2, 2},                        // map
    [0x1f] = {5, 0, 4, 2},
};

// Steps over one value, of an array or map over the head only. *out_values: how many
// belong to it.
static bool
step(struct reader *in, uint64_t *out_values)
{
    size_t left = hark__reader_left(in);

    *out_values = 0;
    if (left == 0) {
        return false;
    }
    unsigned code = in->at[0];
    uint64_t size = 1;
    if (code >= 0xc0 && code < 0xe0) {
        const struct format *format = &formats[code - 0xc0];

        if (format->head == 0 || format->head > left) {
            return false;
        }
        uint64_t counted = load_big(in->at + 1, format->sized);
        *out_values = counted * format->values;
        size = format->head + (format->values != 0 ? 0 : counted) + format->body;
    } else if (code >= 0xa0 && code < 0xc0) {
        size += code & 0x1fu;
    } else if (code >= 0x90 && code < 0xa0) {
        *out_values = code & 0x0fu;
    } else if (code >= 0x80 && code < 0x90) {
        *out_values = 2 * (code & 0x0fu);
    }
    if (size > left) {
        return false;
    }
    in->at += size;
    return true;
}

bool
hark__reader_skip(struct reader *in)
{
    const uint8_t *start = in->at;
    uint64_t values;

    // Which array a value belongs to does not matter, only how many are still to come.
    // Each takes a byte, so more than the bytes at hand means that some are missing.
    for (uint64_t pending = 1; pending > 0; pending += values - 1) {
        if (pending > hark__reader_left(in) || !step(in, &values)) {
            in->at = start;
            return false;
        }
    }
    return true;
}

// Reads one value if it is of that kind.
static bool
expect(struct reader *in, enum item_kind kind, struct item *item)
{
    const uint8_t *start = in->at;

    if (hark__reader_next(in, item) && item->kind == kind) {
        return true;
    }
    in->at = start;
    return false;
}

bool
hark__reader_array_any(struct reader *in, uint32_t *out_count)
{
    struct item item;

    if (!expect(in, ITEM_ARRAY, &item)) {
        return false;
    }
    *out_count = (uint32_t)item.number; // 32 bits at most, by the format
    return true;
}

bool
hark__reader_u64_any(struct reader *in, uint64_t *out_value)
{
    const uint8_t *start = in->at;
    struct item item;

    if (!expect(in, ITEM_INT, &item) || item.is_negative) {
        in->at = start;
        return false;
    }
    *out_value = item.number;
    return true;
}

bool
hark__reader_u32_any(struct reader *in, uint32_t *out_value)
{
    const uint8_t *start = in->at;
    uint64_t value;

    if (!hark__reader_u64(in, &value) || value > UINT32_MAX) {
        in->at = start;
        return false;
    }
    *out_value = (uint32_t)value;
    return true;
}

bool
hark__reader_i64(struct reader *in, int64_t *out_value)
{
    const uint8_t *start = in->at;
    struct item item;

    if (!expect(in, ITEM_INT, &item)
        || (!item.is_negative && item.number > INT64_MAX)) {
        in->at = start;
        return false;
    }
    *out_value = (int64_t)item.number;
    return true;
}

bool
hark__reader_bool(struct reader *in, bool *out_value)
{
    struct item item;

    if (!expect(in, ITEM_BOOL, &item)) {
        return false;
    }
    *out_value = item.number != 0;
    return true;
}

bool
hark__reader_f64(struct reader *in, double *out_value)
{
    struct item item;

    if (!expect(in, ITEM_FLOAT, &item)) {
        return false;
    }
    *out_value = item.real;
    return true;
}

bool
hark__reader_str(struct reader *in, hark_str *out_view)
{
    struct item item;

    if (!expect(in, ITEM_STR, &item)) {
        return false;
    }
    *out_view = (hark_str){item.body.ptr, item.body.len};
    return true;
}

bool
hark__reader_bin(struct reader *in, hark_bytes *out_view)
{
    struct item item;

    if (!expect(in, ITEM_BIN, &item)) {
        return false;
    }
    *out_view = item.body;
    return true;
}

bool
hark__item_ref(const struct item *item, hark_ref *out_ref)
{
    if (item->kind == ITEM_NIL) {
        *out_ref = (hark_ref){0, 0};
        return true;
    }
    if (item->kind != ITEM_EXT || item->ext != EXT_REF || item->body.len != 16) {
        return false;
    }

    const uint8_t *body = item->body.ptr;

    *out_ref = (hark_ref){load_big(body, 8), load_big(body + 8, 8)};
    return true;
}

bool
hark__reader_ref_any(struct reader *in, hark_ref *out_ref)
{
    const uint8_t *start = in->at;
    struct item item;

    if (hark__reader_next(in, &item) && hark__item_ref(&item, out_ref)) {
        return true;
    }
    in->at = start;
    return false;
}
