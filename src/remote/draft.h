// Draft: an envelope in the making.
//
// It is encoded behind what is in the outbox, after what the peer needs to know first;
// or all of it is taken back. If both do not fit into one frame, the outbox leaves
// first. An envelope that goes the way of the one before it says only that. The link's
// lock is held.

#ifndef REMOTE_DRAFT_H
#define REMOTE_DRAFT_H

#include "actor/chain_id.h"
#include "future/future.h"
#include "remote/link.h"
#include "wire/envelope.h"

enum {
    SEND_AT = 64 * 1024, // bytes in the outbox that leave without waiting for the turn
};

// What an envelope is made of.
struct draft {
    const struct envelope *plain; // one of the runtime's own; NULL: what follows
    const struct outgoing *what;
    hark_ref to;
    uint64_t correlation;
    uint16_t trace; // declared, or 0
};

// Puts the whole envelope, or nothing and an error: then error tells.
hark_err hark__draft_put(struct link *link, const struct draft *draft, char *error,
                         size_t error_size);

// A message was put, and is counted: sends the frame if it is large, and sees to it
// that somebody looks at the link.
static inline void
hark__draft_done(struct link *link)
{
    if (hark__link_batch_bytes(link) >= SEND_AT) {
        hark__link_flush_locked(link);
    }
    if (link->is_calm) { // else its next look comes soon
        link->is_calm = false;
        hark__net_kick(link->remote->net);
    }
}

// ---- what the route says of a message ----

// Of one that is no failure.
static inline uint8_t
draft_kind(const struct outgoing *what)
{
    static const uint8_t kinds[] = {
        [MESSAGE_TELL] = ENVELOPE_TELL,
        [MESSAGE_ASK] = ENVELOPE_ASK,
        [MESSAGE_REPLY] = ENVELOPE_REPLY,
        [MESSAGE_ITEM] = ENVELOPE_ITEM,
    };

    return kinds[what->kind];
}

static inline bool
draft_is_same_ref(hark_ref a, hark_ref b)
{
    return a.node == b.node && a.actor == b.actor;
}

// Of an ask.
static inline uint32_t
draft_remaining_ms(const struct outgoing *what)
{
    return what->future != NULL ? what->future->timeout_ms : 0;
}

// Of an ask or tell; 0: it is of none, or an ask that begins one.
static inline uint64_t
draft_chain_id(const struct outgoing *what)
{
    if (what->kind == MESSAGE_TELL) {
        return what->correlation & ~CHAIN_UNSEEN;
    }
    return what->future != NULL ? what->future->chain_id & ~CHAIN_UNSEEN : 0;
}

// Of an ask, or a timer's tell. 0: none.
static inline uint16_t
draft_trace(const struct outgoing *what)
{
    return what->future != NULL ? what->future->trace : what->trace;
}

#endif // REMOTE_DRAFT_H
