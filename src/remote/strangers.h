// Strangers: third nodes that a message has refs of, and the peer may not know.
//
// While a message is encoded they are collected; if there are any, they are introduced
// in front of it, and it is encoded again. Its large bytes are seen on the way, too:
// those with a buffer go beside the batch, as parts. The link's lock is held.

#ifndef REMOTE_STRANGERS_H
#define REMOTE_STRANGERS_H

#include "remote/link.h"

enum {
    NODES_MOST = 16, // new third nodes in one message; others need a link of their own
};

// Nodes of refs in one message that the peer may not know.
struct strangers {
    struct link *link;
    uint64_t nodes[NODES_MOST];
    uint32_t count;
};

// For struct ref_watch (wire/payload.h), with strangers as its arg.
void hark__strangers_ref(void *arg, hark_ref ref);
uint16_t hark__strangers_bytes(void *arg, const hark_bytes *bytes);
// Puts what the peer needs to know of them into the outbox.
void hark__strangers_introduce(struct link *link, const struct strangers *strangers);

#endif // REMOTE_STRANGERS_H
