// Pressure: a link that is full takes no message until its peer has acknowledged more.
//
// Answers go out all the same, up to a bound of their own. The link's lock is held.

#ifndef REMOTE_PRESSURE_H
#define REMOTE_PRESSURE_H

#include "remote/link.h"

enum {
    CONNECTING_LIMIT = 1024 * 1024, // bytes that wait for a link to open
};

static inline bool
hark__pressure_is_full(const struct link *link)
{
    if (link->state == LINK_CONNECTING && link->outbox.size > CONNECTING_LIMIT) {
        return true;
    }
    return link->unacked_bytes + hark__link_batch_bytes(link)
           > link->remote->link_limit_bytes;
}

// The link is full: the peer shall acknowledge what it has.
void hark__pressure_want_ack(struct link *link);
// An answer was put: ends the link if too many are not acknowledged.
void hark__pressure_bound_answers(struct link *link);

#endif // REMOTE_PRESSURE_H
