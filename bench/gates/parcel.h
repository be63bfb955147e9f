// parcel.h - the message that encode, decode and repeat work on: small, of mixed fields.
// These gates look at src/wire alone, since across a real link the size of a batch, and
// so the count, would depend on the time.

#ifndef BENCH_GATES_PARCEL_H
#define BENCH_GATES_PARCEL_H

#include "base/pool.h"
#include "gate.h"
#include "message/message.h"
#include "wire/envelope.h"
#include "wire/payload.h"

HARK_MESSAGE(parcel, (u64, number), (i32, weight), (str, street), (bytes, inside))

static const char parcel_inside[30] = "012345678901234567890123456789";

// Appends the payload.
static inline void
parcel_encode_payload(struct bytes *out, uint64_t number)
{
    const parcel value = {.number = number,
                          .weight = -70000,
                          .street = HARK_STR("Main St."),
                          .inside = {.ptr = parcel_inside, .len = 30}};

    if (hark__payload_encode(out, &parcel_type, &value, NULL) != HARK_OK) {
        fail("cannot encode");
    }
}

// Appends the envelope and the payload of a tell.
static inline void
parcel_encode(struct bytes *out, uint64_t number)
{
    const struct envelope envelope = {.kind = ENVELOPE_TELL,
                                      .target = 0x123456789abcu,
                                      .sender = {0x1122334455667788u, 77},
                                      .type = 3};

    hark__envelope_begin(out, &envelope);
    parcel_encode_payload(out, number);
}

// Decodes the payload into a block, frees it, and gives its number.
static inline uint64_t
parcel_decode(struct pool *pool, struct envelope *envelope)
{
    static uint16_t guess;
    struct payload_options options = {.limit_bytes = 1 << 20, .guess = &guess};
    hark_message *message;
    uint64_t number;

    if (hark__payload_decode(pool, &parcel_type, &envelope->payload, &options, &message)
        != HARK_OK) {
        fail("payload");
    }
    number = ((const parcel *)hark_message_as(message, &parcel_type))->number;
    hark__message_free(pool, message);
    return number;
}

#endif // BENCH_GATES_PARCEL_H
