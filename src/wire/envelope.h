// Envelope: what stands around a payload on its way to another node.
//
//     [kind, target, sender, correlation, remaining, trace, credits, chain, type,
//      payload]
//
// The payload is a msgpack value of its own, decoded later (wire/payload.h), when its
// type is known; nobody walks over it before that. Elements behind it are skipped, so a
// later version may append some.
// Views point into the frame. One thread at a time.

#ifndef WIRE_ENVELOPE_H
#define WIRE_ENVELOPE_H

#include "wire/bytes.h"
#include "wire/reader.h"

// The numbers are part of the protocol.
enum envelope_kind {
    ENVELOPE_TELL = 1,
    ENVELOPE_ASK = 2,
    ENVELOPE_REPLY = 3,
    ENVELOPE_FAILURE = 4, // payload [code, stage, text]
    ENVELOPE_LOOKUP = 5,  // payload [name]
    ENVELOPE_FOUND = 6,   // payload [ref, called]: the answer to a LOOKUP
    ENVELOPE_CANCEL = 7,  // of an ASK with this sender and correlation; no payload
    ENVELOPE_MONITOR = 8, // reserved, as is the next: ignored
    ENVELOPE_DOWN = 9,
    ENVELOPE_ITEM = 10,   // one of many answers to an ASK with credits
    ENVELOPE_CREDIT = 11, // more credits for it; no payload
    ENVELOPE_PROBE = 12,  // payload [origin, wait, nonce, hops, path, items]
};

#define TYPE_NONE UINT32_MAX

struct envelope {
    uint8_t kind;          // enum envelope_kind, or a later version's
    uint32_t remaining_ms; // ASK: until the asker gives up; HARK_FOREVER
    uint64_t target;       // an actor of the receiver; 0: the node itself
    hark_ref sender;       // who is answered; null: nobody
    uint64_t correlation;  // ASK, LOOKUP: chosen by the asker; its answer repeats it
    uint64_t trace;        // TELL, ASK: how it came about (wire/entry.h); 0: unknown
    uint64_t chain;   // TELL, ASK: which request it descends from; 0: see docs/wire.md
    uint64_t credits; // ASK, CREDIT: so many ITEMs are welcome
    uint32_t type;    // index among the sender's declared types, or TYPE_NONE
    // FAILURE
    uint32_t stage; // hark_stage
    int32_t code;
    // FAILURE: what happened. LOOKUP: the name. FOUND: what the actor is called. PROBE:
    // the path.
    hark_str text;
    hark_ref found; // FOUND. PROBE: the origin
    // PROBE
    uint64_t wait, nonce;
    uint32_t hops, items;
    // The payload's msgpack, one value. Encoding, of every other kind: nothing is nil.
    // Decoding: it begins there, may be malformed, and more of the frame may follow.
    struct reader payload;
};

// Appends the envelope with its payload: text, ref and numbers for FAILURE, LOOKUP,
// FOUND and PROBE, else the payload.
void hark__envelope_encode(struct bytes *out, const struct envelope *envelope);

// Appends all but the payload. Exactly one value must follow.
void hark__envelope_begin(struct bytes *out, const struct envelope *envelope);

// Reads one envelope up to its payload, and the payload too if its form is part of the
// protocol. *out_behind: how many values belong to it behind the payload. HARK_EDECODE:
// error says which element is wrong, and *out_envelope is not to be used.
HARK_CHECKED hark_err hark__envelope_decode(struct reader in,
                                            struct envelope *out_envelope,
                                            uint32_t *out_behind, char *error,
                                            size_t error_size);

#endif // WIRE_ENVELOPE_H
