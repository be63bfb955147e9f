// Message: one block, a header of one cache line with the payload behind it.
//
// Whoever holds the pointer owns the block; sending moves it. While a message stands in
// a mailbox only `next` is touched by others: the sender that comes after it writes it
// once (release), and the reader of the mailbox reads it (acquire).
//
// Strings, bytes and lists of the payload live in the same block, behind the struct.
// Only buffers that are shared by count stand outside.

#ifndef MESSAGE_MESSAGE_H
#define MESSAGE_MESSAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/pool.h"
#include "hark/message.h"

// What a message means to the one who receives it.
enum message_kind {
    MESSAGE_TELL,    // for a handler
    MESSAGE_ASK,     // for a handler, which owes an answer to {from, correlation}
    MESSAGE_REPLY,   // completes the future `correlation` of the receiver
    MESSAGE_FAILURE, // fails it; the payload is a struct failure
    MESSAGE_ITEM,    // one of many answers, before a REPLY or FAILURE
    MESSAGE_SYSTEM,  // for the runtime; `code` says what
};

// Only the thread that has the message in hand, or the sender before it lets go,
// touches them.
enum message_flag {
    MESSAGE_COUNTED = 1, // counted against its mailbox's limit
    MESSAGE_CHAINED = 2, // in hand, but its header still serves the mailbox's chain
    MESSAGE_HELD = 4,    // in hand, and somebody keeps it beyond that
    MESSAGE_ASIDE = 8,   // a handler waits: it is looked at later (actor/await.h)
    MESSAGE_MARKED = 16, // the last when some cancels (actor/request.h) or a timer came
    MESSAGE_LINKED = 32, // an ASK whose chain id stands behind its payload
    MESSAGE_ROOMY = 64,  // there is room for one
    MESSAGE_OWED = 128,  // an ASK that fails when it is freed (actor/owed.h)
};

// Bytes behind a payload for a chain id, which has no room in the header.
enum { MESSAGE_CHAIN_ROOM = 8 };

struct hark_message {
    _Atomic(struct hark_message *) next; // see above
    const hark_type *type;               // NULL: no payload, or a struct failure
    hark_ref from;                       // who is answered; null: nobody
    uint64_t correlation; // ASK and its answers: the asker's future. TELL: its chain id
    // ASK: until then its asker waits. A FAILURE without payload: its code and stage
    int64_t deadline_ns;
    uint32_t generation; // of the slot it is meant for
    uint32_t size;       // of the payload, bytes
    union {
        uint16_t code;    // SYSTEM: which
        uint16_t credits; // ASK: ITEMs that its asker takes at once
    };
    uint8_t kind;         // enum message_kind
    uint8_t size_class;   // for hark__pool_free
    bool has_buffers : 1; // shares buffers that must be released
    unsigned epoch : 7;   // ASK of another node: by which link it came (struct target)
    uint8_t flags;        // enum message_flag
    union {
        uint16_t trace; // ASK, or a timer's TELL: how it came about; 0: nobody knows
        uint16_t more;  // SYSTEM: ITEMs that `from` takes beyond those
    };
};

_Static_assert(sizeof(struct hark_message) == 64, "the header is one cache line");

// The payload; writable by the owner until the message is sent.
static inline void *
hark__message_payload(struct hark_message *message)
{
    return message + 1;
}

// Gives a message with size bytes of payload that are not set, and `room` more behind
// them; NULL: no memory, or size over UINT32_MAX. The header is cleared but for type,
// size and class.
static inline struct hark_message *
hark__message_alloc_roomy(struct pool *pool, const hark_type *type, size_t size,
                          size_t room)
{
    uint8_t size_class;
    struct hark_message *message = NULL;

    if (size <= UINT32_MAX) {
        message = hark__pool_alloc(pool, sizeof *message + size + room, &size_class);
    }
    if (message != NULL) {
        *message = (struct hark_message){
            .type = type, .size = (uint32_t)size, .size_class = size_class};
    }
    return message;
}

// The same with nothing behind the payload.
static inline struct hark_message *
hark__message_alloc(struct pool *pool, const hark_type *type, size_t size)
{
    return hark__message_alloc_roomy(pool, type, size, 0);
}

// ---- short payloads ----

enum { MESSAGE_SHORT = 32 }; // bytes of payload that are copied without a call

// Does hark__message_fill_short do for it?
static inline bool
hark__type_is_short(const hark_type *type)
{
    return type->flat
           && (type->count == 0 || (type->size >= 4 && type->size <= MESSAGE_SHORT));
}

// Copies a value of a type that is short: its first and its last bytes, which overlap.
static inline void
hark__message_fill_short(struct hark_message *message, const hark_type *type,
                         const void *value)
{
    const unsigned char *from = value;
    unsigned char *to = hark__message_payload(message);
    size_t size = type->size;

    if (type->count == 0) {
        return; // a message without fields touches no second cache line
    }
    if (size >= 16) {
        memcpy(to, from, 16);
        memcpy(to + size - 16, from + size - 16, 16);
    } else if (size >= 8) {
        uint64_t last;

        memcpy(&last, from + size - 8, 8);
        memcpy(to, from, 8);
        memcpy(to + size - 8, &last, 8);
    } else {
        memcpy(to, from, 4);
        memcpy(to + size - 4, from + size - 4, 4);
    }
}

// Writes a chain id behind the payload of an ASK that has room for it.
static inline void
hark__message_put_chain_id(struct hark_message *message, uint64_t chain_id)
{
    memcpy((unsigned char *)(message + 1) + message->size, &chain_id, sizeof chain_id);
    message->flags |= MESSAGE_LINKED;
}

// Of an ASK with MESSAGE_LINKED.
static inline uint64_t
hark__message_get_chain_id(const struct hark_message *message)
{
    uint64_t chain_id;

    memcpy(&chain_id, (const unsigned char *)(message + 1) + message->size,
           sizeof chain_id);
    return chain_id;
}

// Why hark__message_new gave NULL. HARK_EINVAL: a string, bytes or a list of value has
// a length and a null pointer. HARK_ETOOBIG: over 4 GiB, or nested too deep.
// HARK_ENOMEM.
hark_err hark__message_fault(const hark_type *type, const void *value);

// The general case of hark__message_new_roomy: a value that points outside its struct.
struct hark_message *hark__message_copy(struct pool *pool, const hark_type *type,
                                        const void *value, size_t room);

// Gives a message with a deep copy of value, and `room` bytes behind it. NULL:
// hark__message_fault says why.
static inline struct hark_message *
hark__message_new_roomy(struct pool *pool, const hark_type *type, const void *value,
                        size_t room)
{
    if (!type->flat) {
        return hark__message_copy(pool, type, value, room);
    }

    struct hark_message *message =
        hark__message_alloc_roomy(pool, type, type->size, room);

    // A message without fields touches no second cache line.
    if (message != NULL && type->count > 0) {
        memcpy(hark__message_payload(message), value, type->size);
    }
    return message;
}

// The same with nothing behind the payload.
static inline struct hark_message *
hark__message_new(struct pool *pool, const hark_type *type, const void *value)
{
    return hark__message_new_roomy(pool, type, value, 0);
}

// Takes message, and gives one with the same payload, and room behind it for a chain
// id; of the header it has kind, from, correlation, deadline, credits and trace. NULL:
// no memory, and message is the caller's.
struct hark_message *hark__message_roomy(struct pool *pool,
                                         struct hark_message *message);

// Drops the references that the payload holds on buffers.
void hark__message_release_buffers(struct hark_message *message);

// Takes message; releases the buffers it shares.
static inline void
hark__message_free(struct pool *pool, struct hark_message *message)
{
    if (message->has_buffers) {
        hark__message_release_buffers(message);
    }
    hark__pool_free(pool, message, message->size_class);
}

// Takes message from whoever held it: frees it, now or when the mailbox lets go of it.
static inline void
hark__message_drop(struct pool *pool, struct hark_message *message)
{
    if (message->flags & MESSAGE_CHAINED) {
        message->flags &= (uint8_t)~MESSAGE_HELD;
    } else {
        hark__message_free(pool, message);
    }
}

// The mailbox lets go of the message in hand.
static inline void
hark__message_unchain(struct pool *pool, struct hark_message *message)
{
    if (message->flags & MESSAGE_HELD) {
        message->flags &= (uint8_t) ~(MESSAGE_CHAINED | MESSAGE_HELD);
    } else {
        hark__message_free(pool, message);
    }
}

#endif // MESSAGE_MESSAGE_H
