// Inbound: what a batch that came has for actors, and for the runtime (control.h).
//
// Nothing here is trusted: a bad entry harms itself, a bad frame its link. Poller only.

#ifndef REMOTE_INBOUND_H
#define REMOTE_INBOUND_H

#include "remote/link.h"
#include "wire/envelope.h"
#include "wire/frame.h"

enum {
    NOBODY = -1, // the actor word of a guest that gave no ref
};

// Takes a batch of so many bytes, with its parts. False: the link went down.
bool hark__inbound_batch(struct link *link, struct frame *frame, size_t size);
// The request that an answer is for fails, if it has not ended.
void hark__inbound_fail(struct link *link, const struct envelope *envelope, int code,
                        hark_stage stage, const char *text);
// An answer of a kind that does not answer the request: the request ends all the same.
void hark__inbound_refuse_answer(struct link *link, const struct envelope *envelope);

// Looks at the row that an answer is for. False: there is none, or the answer's peer is
// not the one that was asked.
static inline bool
inbound_find_row(struct link *link, const struct envelope *envelope,
                 struct pending *out_pending)
{
    return hark__pending_read(&link->remote->pendings, envelope->correlation,
                              out_pending)
           && out_pending->link->peer == link->peer;
}

// The asker of an ASK from this peer. A guest need not have a ref.
static inline hark_ref
inbound_asker(const struct link *link, const struct envelope *envelope)
{
    uint64_t actor = envelope->sender.actor;

    return (hark_ref){link->peer->incarnation, actor != 0 ? actor : (uint64_t)NOBODY};
}

// As a message holds them.
static inline uint16_t
inbound_credits(const struct envelope *envelope)
{
    return envelope->credits < UINT16_MAX ? (uint16_t)envelope->credits : UINT16_MAX;
}

#endif // REMOTE_INBOUND_H
