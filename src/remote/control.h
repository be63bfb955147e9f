// Control: what the runtimes of two nodes say to each other.
//
// Cancels, credits and probes for asks on the way, lookups and what they find,
// failures, and declarations of types, nodes and traces. control_in.c takes them from a
// batch that came, on the poller; control_out.c puts them into an outbox.

#ifndef REMOTE_CONTROL_H
#define REMOTE_CONTROL_H

#include "remote/link.h"
#include "wire/entry.h"

// Takes an envelope of the runtime's own; kinds of a later version are passed by.
// Poller.
void hark__control_take(struct link *link, const struct envelope *envelope);
// Takes an entry that is no envelope. HARK_OK, or why the link must end. Poller.
hark_err hark__control_declare(struct link *link, struct entry *entry);

// Puts what the runtime of an actor says to that of another one: what is a
// MESSAGE_SYSTEM. As hark__link_put. The link's lock is held.
hark_err hark__control_put(struct link *link, hark_ref to, const struct outgoing *what,
                           struct remote_text *error);

#endif // REMOTE_CONTROL_H
