// Decoder: one walk over a payload's values, guided by their type.
//
// It reads into a struct, or into nothing, and reserves what text, bytes and lists need
// in a block that may not be there yet: then text and bytes are views into the input,
// and `used` tells how large the block must be. The first thing that is wrong ends the
// walk, and is told with its place. Nothing is believed: counts and lengths are at most
// the bytes at hand.

#ifndef WIRE_DECODER_H
#define WIRE_DECODER_H

#include <stddef.h>
#include <string.h>

#include "message/type.h"
#include "wire/payload.h"

struct decoder {
    struct reader in;
    const struct payload_options *options;
    size_t limit;
    uint8_t *block; // NULL: the first walk
    size_t used;    // bytes of the block
    int depth;
    bool has_items;      // a list that is not empty
    size_t share_least;  // bytes that are shared; SIZE_MAX: none
    hark_buffer *shared; // NULL: not needed yet
    bool has_buffers;    // it shares bytes

    // The first thing wrong; the walk ends with it.
    hark_err err;
    const char *what, *detail; // the text is put together where the place is known
};

// Reads one value as a message of that type into `to`, if that is not NULL. False: what
// is wrong is in decoder, and not told yet if no field of the message is to blame.
bool hark__decoder_read(struct decoder *decoder, const hark_type *type, uint8_t *to);
// One walk over the whole payload, with what it needs in block (NULL: it is only
// counted). On an error all is told.
hark_err hark__decoder_walk(struct decoder *decoder, const hark_type *type,
                            uint8_t *block, uint8_t *to);
// Tells that the struct alone is over the limit.
void hark__decoder_too_big(struct decoder *decoder, const hark_type *type);

// A string takes a NUL in the block, if it has any bytes.
static inline uint64_t
str_size(hark_str str)
{
    return str.len > 0 ? (uint64_t)str.len + 1 : 0;
}

// The string at `text`, which has room for it; an empty one stands nowhere.
static inline hark_str
copy_str(hark_str str, char *text)
{
    if (str.len == 0) {
        return (hark_str){"", 0};
    }
    memcpy(text, str.ptr, str.len);
    text[str.len] = '\0';
    return (hark_str){text, str.len};
}

static inline hark_bytes
copy_bytes(hark_bytes bytes, void *data)
{
    if (bytes.len == 0) {
        return (hark_bytes){.ptr = ""};
    }
    memcpy(data, bytes.ptr, bytes.len);
    return (hark_bytes){.ptr = data, .len = bytes.len};
}

#endif // WIRE_DECODER_H
