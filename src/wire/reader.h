// Reader: msgpack from bytes that nobody vouches for.
//
// It never reads behind `end`, allocates nothing and does not recurse. A count is
// believed only as far as the bytes at hand could hold that many values (each takes at
// least one), so whoever allocates by a count has bounded memory. Views point into the
// input. What fails leaves the reader where it was.

#ifndef WIRE_READER_H
#define WIRE_READER_H

#include "hark/message.h"

enum item_kind {
    ITEM_END, // the input ends inside the value
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

// One value; of an array or map the header only.
struct item {
    enum item_kind kind;
    bool is_negative; // INT: number is a two's complement negative
    int8_t ext;       // EXT: which
    uint64_t number;  // BOOL: 0, 1; INT; ARRAY, MAP: values that follow (2 a map entry)
    double real;      // FLOAT
    hark_bytes body;  // STR, BIN, EXT: a view
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

// Reads one value. False: out_item->kind is ITEM_END or ITEM_BAD, with nothing in it.
bool hark__reader_next(struct reader *in, struct item *out_item);

// Skips one value with all it holds, however deep.
bool hark__reader_skip(struct reader *in);

// Read one value of that kind. False: it is another, or out of range.
bool hark__reader_array(struct reader *in, uint32_t *out_count);
bool hark__reader_u64(struct reader *in, uint64_t *out_value);
bool hark__reader_u32(struct reader *in, uint32_t *out_value);
bool hark__reader_i64(struct reader *in, int64_t *out_value);
bool hark__reader_bool(struct reader *in, bool *out_value);
bool hark__reader_f64(struct reader *in, double *out_value);
bool hark__reader_str(struct reader *in, hark_str *out_view);
bool hark__reader_bin(struct reader *in, hark_bytes *out_view);
bool hark__reader_nil(struct reader *in);
// nil gives nobody.
bool hark__reader_ref(struct reader *in, hark_ref *out_ref);

// What an item holds, with its article: "a string", "the end".
const char *hark__item_name(enum item_kind kind);
// False: not a ref and not nil.
bool hark__item_ref(const struct item *item, hark_ref *out_ref);

#endif // WIRE_READER_H
