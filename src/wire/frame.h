// Frame: one message of the transport.
//
//     HELLO, WELCOME   [kind, 0, 0, "hark", versions..., who speaks...]
//     GOODBYE          [kind, seq, ack, code, text]
//     BATCH            [kind, seq, ack] entry entry entry ...
//     HEARTBEAT        [kind, seq, ack]
//
// A batch's entries stand back to back behind its array, up to the end of the frame: so
// a sender can append entries without knowing how many there will be. An entry is an
// envelope, a declaration of types, or an introduction of a third node. Elements behind
// the known ones, and unknown frames and entries, are skipped.
//
// Views point into the frame; nothing is allocated. One thread at a time.

#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

#include "wire/envelope.h"

// The protocol's version that this code speaks.
#define WIRE_VERSION 1

// The numbers are part of the protocol.
enum frame_kind {
    FRAME_HELLO = 1,
    FRAME_WELCOME = 2,
    FRAME_GOODBYE = 3,
    FRAME_BATCH = 4,
    FRAME_HEARTBEAT = 5,
};

enum hello_flag {
    HELLO_GUEST = 1,   // binds nothing: reach it over its own connection
    HELLO_REPEATS = 2, // understands repeats (wire/entry.h)
    HELLO_PARTS = 4,   // takes frames with parts (wire/payload.h)
};

// Who speaks, in a HELLO and its answer.
struct hello {
    uint32_t version_min, version_max; // WELCOME: both are the version chosen
    hark_str node_name;
    uint64_t incarnation;
    uint32_t flags; // enum hello_flag
    uint32_t heartbeat_ms;
    hark_str endpoint; // empty for a guest
    uint64_t max_frame_bytes;
};

struct frame {
    uint8_t kind; // enum frame_kind, or a later version's
    uint64_t seq, ack;
    struct hello hello;    // HELLO, WELCOME
    int32_t code;          // GOODBYE
    hark_str text;         // GOODBYE
    struct reader entries; // BATCH
};

// HELLO or WELCOME.
void hark__frame_hello(struct bytes *out, enum frame_kind kind,
                       const struct hello *hello);
void hark__frame_goodbye(struct bytes *out, uint64_t seq, uint64_t ack, int code,
                         hark_str text);
// Starts a batch: FRAME_HEAD_SIZE bytes; entries follow.
void hark__frame_batch(struct bytes *out, uint64_t seq, uint64_t ack);
void hark__frame_heartbeat(struct bytes *out, uint64_t seq, uint64_t ack);

// What a batch, heartbeat or goodbye begins with. Their numbers are always written in 9
// bytes, so that they can be set when the frame leaves (again).
#define FRAME_HEAD_SIZE 20
void hark__frame_stamp(uint8_t *frame, uint64_t seq, uint64_t ack);

// Borrows data as long as the views are used. HARK_EDECODE, HARK_EPROTO (a HELLO of
// something else); error then says what is wrong.
HARK_CHECKED hark_err hark__frame_decode(const uint8_t *data, size_t size,
                                         struct frame *out_frame, char *error,
                                         size_t error_size);

// The highest version that both speak; 0: none.
uint32_t hark__version_choose(const struct hello *ours, const struct hello *theirs);

#endif // WIRE_FRAME_H
