// Chain id: which request a message descends from, however far.
//
// The first ask of a turn that was told nothing of a chain, and each ask of a thread,
// begins one. That ask itself carries no id: both its ends derive it from what the ask
// is called, {asker, correlation}. All that is asked or told for its sake carries the
// id: a TELL in its correlation, an ASK behind its payload. So handlers that wait in
// the mode chain know who may pass (await.h).
//
// The low 63 bits say which; 0 is no chain. The top bit says that the message, or one
// that it descends from, came by a way that the marks of deadlock.h do not show: over a
// link, or from a handler that was let in while another one of its actor waits. Ids
// from other nodes are believed: whatever they are, they can only equal one or not.

#ifndef ACTOR_CHAIN_ID_H
#define ACTOR_CHAIN_ID_H

#include "future/future.h"
#include "message/message.h"

#define CHAIN_UNSEEN (UINT64_C(1) << 63)

// Part of the protocol (docs/wire.md).
static inline uint64_t
hark__chain_mix(hark_ref asker, uint64_t correlation)
{
    const uint64_t factor = UINT64_C(0xD6E8FEB86659FD93);
    uint64_t x = asker.node + asker.actor * UINT64_C(0x9E3779B97F4A7C15);

    x = (x ^ x >> 32) * factor + correlation;
    x = (x ^ x >> 32) * factor;
    x = (x ^ x >> 32) & ~CHAIN_UNSEEN;
    return x != 0 ? x : 1;
}

// The chain that an ask without an id begins. On its own node an ask is called by its
// future, on another by its number there; the two must not be taken for each other.
static inline uint64_t
hark__chain_near(hark_ref asker, uint64_t future)
{
    return hark__chain_mix(asker, ~future);
}

// Of an ASK in hand, at node.
static inline uint64_t
hark__chain_of_ask(const struct hark_message *ask, uint64_t node)
{
    if (ask->flags & MESSAGE_LINKED) {
        return hark__message_get_chain_id(ask);
    }
    return ask->from.node == node
               ? hark__chain_near(ask->from, ask->correlation)
               : hark__chain_mix(ask->from, ask->correlation) | CHAIN_UNSEEN;
}

// Of a message for a handler. 0: none.
static inline uint64_t
hark__chain_of(const struct hark_message *message, uint64_t node)
{
    return message->kind == MESSAGE_ASK ? hark__chain_of_ask(message, node)
                                        : message->correlation;
}

// Of what is asked by owner's future, which was sent; also of its continuation.
static inline uint64_t
hark__chain_of_future(hark_ref owner, const struct future *future)
{
    if (future->chain_id != 0) {
        return future->chain_id;
    }
    return future->number != 0 ? hark__chain_mix(owner, future->number)
                               : hark__chain_near(owner, future->id);
}

// The same chain; none is the same as nothing.
static inline bool
hark__chain_is_same(uint64_t a, uint64_t b)
{
    return (a ^ b) << 1 == 0 && a << 1 != 0;
}

#endif // ACTOR_CHAIN_ID_H
