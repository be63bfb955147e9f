// Payload: a message's value to msgpack and back, guided by its type.
//
// A message is an array of its fields in order. The decoder trusts nothing: if the size
// of the one block depends on the input, then that is checked as a whole before the
// block is allocated. Missing fields at the end are zero or empty; more than the type
// has are skipped; so a newer and an older program understand each other. One thread at
// a time.

#ifndef WIRE_PAYLOAD_H
#define WIRE_PAYLOAD_H

#include "message/message.h"
#include "wire/bytes.h"
#include "wire/reader.h"

// How many arrays (messages and lists) may stand inside one another.
#define PAYLOAD_DEPTH 32

// Bytes with a buffer may go beside the payload, as a part of the frame, without a
// copy. The payload has the part's number in their place.

// Sees every ref that a payload holds, so that its node can be introduced to the peer
// first; and, if take_part is not NULL, bytes that have a buffer. The payload may be
// half-written; the callbacks must not touch its bytes.
struct ref_watch {
    void (*on_ref)(void *arg, hark_ref ref); // never a null ref
    void *arg;
    // Gives the number of the part that these bytes are from now on; 0: they are
    // copied.
    uint16_t (*take_part)(void *arg, const hark_bytes *bytes);
};

// Appends value. watch may be NULL. HARK_EINVAL: a string, bytes or a list has a length
// and a null pointer. HARK_ETOOBIG: nested too deep, or a part of it is
// over 4 GiB. HARK_ENOMEM. After an error the caller truncates `out` to what it was.
HARK_CHECKED hark_err hark__payload_encode(struct bytes *out, const hark_type *type,
                                           const void *value,
                                           const struct ref_watch *watch);

// How a payload is decoded and where an error's text goes.
struct payload_options {
    size_t limit_bytes; // of the decoded block; at most UINT32_MAX is used
    size_t room;        // more bytes that the block gets behind the payload
    // How large a block the next message of this type is thought to need: kept by the
    // caller, from one call to the next; 0 at first. NULL: never mind. Bytes that fit a
    // small block are copied, whatever share_least says.
    uint16_t *guess;
    // How bytes of at least share_least are shared instead of copied: gives a buffer
    // that holds the input, and stays while decoding goes on; NULL: then they are
    // copied. share NULL: none are shared.
    hark_buffer *(*share)(void *arg);
    void *share_arg;
    size_t share_least;
    // Gives the bytes of a part of the frame. With a buffer they are shared, as above;
    // else they are there while decoding goes on, and are copied. False: there is no
    // such part. NULL: there are none.
    bool (*find_part)(void *arg, uint16_t number, hark_bytes *out_bytes);
    void *part_arg;
    char *error;       // one line, such as "deposit.amount: expected an integer, found
    size_t error_size; // a string"; untouched on success. NULL, 0: not wanted
};

// Reads one value as a message of that type, gives it, and leaves `in` behind the
// value; after an error `in` is where it was. HARK_EDECODE, HARK_ETOOBIG
// (over the limit), HARK_ENOMEM.
HARK_CHECKED hark_err hark__payload_decode(struct pool *pool, const hark_type *type,
                                           struct reader *in,
                                           const struct payload_options *options,
                                           struct hark_message **out_message);

#endif // WIRE_PAYLOAD_H
