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

// The code of the value at hand, or, if there is none, of what is no msgpack.
static inline unsigned
peek_code(const struct reader *in)
{
    return hark__reader_left(in) > 0 ? in->at[0] : 0xc1;
}

// ---- any value ----

// What a format says of itself: how long its head is, and what follows the head.
struct format {
    uint8_t kind; // enum item_kind
    uint8_t head; // bytes with the code
    uint8_t body; // bytes behind it, if `sized` is 0
    uint8_t
        sized; // bytes at the end of the head (before an extension's type) that tell
               // the length of the body, or the number of values
    uint8_t values; // values that follow for each that is counted: arrays 1, maps 2
};

// From 0xc0 to 0xdf.
static const struct format formats[32] = {
    {ITEM_NIL, 1, 0, 0, 0},  {ITEM_BAD, 1, 0, 0, 0},   {ITEM_BOOL, 1, 0, 0, 0},
    {ITEM_BOOL, 1, 0, 0, 0}, {ITEM_BIN, 2, 0, 1, 0},   {ITEM_BIN, 3, 0, 2, 0},
    {ITEM_BIN, 5, 0, 4, 0},  {ITEM_EXT, 3, 0, 1, 0},   {ITEM_EXT, 4, 0, 2, 0},
    {ITEM_EXT, 6, 0, 4, 0},  {ITEM_FLOAT, 1, 4, 0, 0}, {ITEM_FLOAT, 1, 8, 0, 0},
    {ITEM_INT, 1, 1, 0, 0},  {ITEM_INT, 1, 2, 0, 0},   {ITEM_INT, 1, 4, 0, 0},
    {ITEM_INT, 1, 8, 0, 0},  {ITEM_INT, 1, 1, 0, 0},   {ITEM_INT, 1, 2, 0, 0},
    {ITEM_INT, 1, 4, 0, 0},  {ITEM_INT, 1, 8, 0, 0},   {ITEM_EXT, 2, 1, 0, 0},
    {ITEM_EXT, 2, 2, 0, 0},  {ITEM_EXT, 2, 4, 0, 0},   {ITEM_EXT, 2, 8, 0, 0},
    {ITEM_EXT, 2, 16, 0, 0}, {ITEM_STR, 2, 0, 1, 0},   {ITEM_STR, 3, 0, 2, 0},
    {ITEM_STR, 5, 0, 4, 0},  {ITEM_ARRAY, 3, 0, 2, 1}, {ITEM_ARRAY, 5, 0, 4, 1},
    {ITEM_MAP, 3, 0, 2, 2},  {ITEM_MAP, 5, 0, 4, 2},
};

static enum item_kind
kind_of(unsigned code)
{
    return code < 0x80 || code >= 0xe0 ? ITEM_INT
           : code < 0x90               ? ITEM_MAP
           : code < 0xa0               ? ITEM_ARRAY
           : code < 0xc0               ? ITEM_STR
                                       : (enum item_kind)formats[code - 0xc0].kind;
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

// Steps over one value, of an array or map over the head only. *out_values: how many
// belong to it.
static inline bool
step(struct reader *in, uint64_t *out_values)
{
    size_t left = hark__reader_left(in);

    *out_values = 0;
    if (left == 0) {
        return false;
    }
    unsigned code = in->at[0];
    uint64_t size = 1;
    if (code >= 0x90 && code < 0xa0) {
        *out_values = code & 0x0fu;
    } else if (code >= 0xc0 && code < 0xe0) {
        const struct format *format = &formats[code - 0xc0];
        uint64_t counted = 0;

        if (format->kind == ITEM_BAD || format->head > left) {
            return false;
        }
        if (format->sized != 0) {
            counted = load_big(in->at + 1, format->sized);
        }
        if (format->values != 0) {
            *out_values = counted * format->values;
            counted = 0;
        }
        size = format->head + counted + format->body;
    } else if (code >= 0xa0 && code < 0xc0) {
        size += code & 0x1fu;
    } else if (code >= 0x80 && code < 0x90) {
        *out_values = 2 * (code & 0x0fu);
    }
    if (size > left) {
        return false;
    }
    in->at += size;
    return true;
}

enum item_kind
hark__reader_kind(const struct reader *in)
{
    struct reader rest = *in;
    enum item_kind kind = kind_of(peek_code(in));
    uint64_t values;

    if (hark__reader_left(in) == 0
        || (kind != ITEM_BAD
            && (!step(&rest, &values) || values > hark__reader_left(&rest)))) {
        return ITEM_END;
    }
    return kind;
}

// The size of the value at hand, if it is one of the short ones that most payloads are
// made of, whole, and no array or map. Else 0.
static inline size_t
short_size(const struct reader *in)
{
    size_t left = hark__reader_left(in), size = 0;

    if (left == 0) {
        return 0;
    }
    unsigned code = in->at[0];
    if (code < 0x80 || code >= 0xe0) {
        return 1; // a small integer
    }
    if ((code & 0xe0) == 0xa0) {
        size = 1 + (code & 0x1fu); // a short string
    } else if ((code == 0xc4 || code == 0xd9) && left >= 2) {
        size = 2 + (size_t)in->at[1]; // bytes, a string
    }
    return size <= left ? size : 0;
}

bool
hark__reader_skip(struct reader *in)
{
    struct reader rest = *in;
    uint64_t values;

    // Which array a value belongs to does not matter, only how many are still to come.
    // Each takes a byte, so more than the bytes at hand means that some are missing.
    for (uint64_t pending = 1; pending > 0; pending += values - 1) {
        size_t size = short_size(&rest);

        values = 0;
        rest.at += size;
        if (size == 0
            && (pending > hark__reader_left(&rest) || !step(&rest, &values))) {
            return false;
        }
    }
    *in = rest;
    return true;
}

// ---- one value of a known kind ----

// The number of `width` bytes, 1, 2, 4 or 8, behind the code at in->at. False: cut off.
static inline bool
peek_number(const struct reader *in, size_t width, uint64_t *out_value)
{
    size_t left = hark__reader_left(in);

    if (left > sizeof(uint64_t)) {
        *out_value = hark__load_u64(in->at + 1) >> (64 - 8 * width);
        return true;
    }
    if (left <= width) {
        return false;
    }
    *out_value = load_big(in->at + 1, width);
    return true;
}

bool
hark__reader_int_any(struct reader *in, struct integer *out_integer)
{
    unsigned code = peek_code(in);
    bool is_signed = code >= 0xd0;
    size_t width = (size_t)1 << (code & 3);
    uint64_t number;

    if (code < 0xcc || code > 0xd3 || !peek_number(in, width, &number)) {
        return false;
    }
    if (is_signed) {
        uint64_t sign = UINT64_C(1) << (8 * width - 1);

        number = (number ^ sign) - sign; // extends it
    }
    *out_integer = (struct integer){number, is_signed && (int64_t)number < 0};
    in->at += 1 + width;
    return true;
}

bool
hark__reader_u64_any(struct reader *in, uint64_t *out_value)
{
    const uint8_t *start = in->at;
    struct integer integer;

    if (!hark__reader_int(in, &integer) || integer.is_negative) {
        in->at = start;
        return false;
    }
    *out_value = integer.number;
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
    struct integer integer;

    if (!hark__reader_int(in, &integer)
        || (!integer.is_negative && integer.number > INT64_MAX)) {
        in->at = start;
        return false;
    }
    *out_value = (int64_t)integer.number;
    return true;
}

// Behind a code whose family begins with `first`: `size` values or bytes, the number of
// `narrowest` bytes for the first of the family, and twice as many for each further
// one.
static bool
read_size(struct reader *in, unsigned first, size_t narrowest, uint64_t *out_size)
{
    size_t width = narrowest << (in->at[0] - first);

    if (!peek_number(in, width, out_size)
        || *out_size > hark__reader_left(in) - 1 - width) {
        return false;
    }
    in->at += 1 + width;
    return true;
}

bool
hark__reader_array_any(struct reader *in, uint32_t *out_count)
{
    unsigned code = peek_code(in);
    uint64_t count;

    if (code < 0xdc || code > 0xdd || !read_size(in, 0xdc, 2, &count)) {
        return false;
    }
    *out_count = (uint32_t)count; // 32 bits at most, by the format
    return true;
}

bool
hark__reader_str_any(struct reader *in, hark_str *out_view)
{
    unsigned code = peek_code(in);
    uint64_t size;

    if (code < 0xd9 || code > 0xdb || !read_size(in, 0xd9, 1, &size)) {
        return false;
    }
    *out_view = (hark_str){(const char *)in->at, (size_t)size};
    in->at += size;
    return true;
}

bool
hark__reader_bin_any(struct reader *in, hark_bytes *out_view)
{
    unsigned code = peek_code(in);
    uint64_t size;

    if (code < 0xc4 || code > 0xc6 || !read_size(in, 0xc4, 1, &size)) {
        return false;
    }
    *out_view = (hark_bytes){.ptr = in->at, .len = (size_t)size};
    in->at += size;
    return true;
}

bool
hark__reader_bool(struct reader *in, bool *out_value)
{
    unsigned code = peek_code(in);

    if ((code & ~1u) != 0xc2) {
        return false;
    }
    *out_value = code == 0xc3;
    in->at++;
    return true;
}

bool
hark__reader_f64(struct reader *in, double *out_value)
{
    unsigned code = peek_code(in);
    uint64_t raw;

    if (code == 0xca && peek_number(in, sizeof(float), &raw)) {
        uint32_t raw32 = (uint32_t)raw;
        float single;

        memcpy(&single, &raw32, sizeof single);
        *out_value = (double)single;
        in->at += 1 + sizeof single;
        return true;
    }
    if (code == 0xcb && peek_number(in, sizeof(double), &raw)) {
        memcpy(out_value, &raw, sizeof *out_value);
        in->at += 1 + sizeof raw;
        return true;
    }
    return false;
}

// A ref in a wider format than need be, or nil.
bool
hark__reader_ref_any(struct reader *in, hark_ref *out_ref)
{
    const uint8_t *start = in->at;
    unsigned code = peek_code(in);
    uint64_t size;

    if (hark__reader_nil(in)) {
        *out_ref = (hark_ref){0, 0};
        return true;
    }
    if (code < 0xc7 || code > 0xc9 || !read_size(in, 0xc7, 1, &size) || size != 16
        || hark__reader_left(in) < 17 || in->at[0] != EXT_REF) {
        in->at = start;
        return false;
    }
    *out_ref = (hark_ref){hark__load_u64(in->at + 1), hark__load_u64(in->at + 9)};
    in->at += 17;
    return true;
}

bool
hark__reader_part(struct reader *in, uint16_t *out_number)
{
    const uint8_t *start = in->at;
    unsigned code = peek_code(in);
    uint64_t size = 2;

    if (code == 0xd5) {
        in->at++;
    } else if (code < 0xc7 || code > 0xc9 || !read_size(in, 0xc7, 1, &size)) {
        return false;
    }
    if (size != 2 || hark__reader_left(in) < 3 || in->at[0] != EXT_PART) {
        in->at = start;
        return false;
    }
    *out_number = (uint16_t)(in->at[1] << 8 | in->at[2]);
    in->at += 3;
    return true;
}
