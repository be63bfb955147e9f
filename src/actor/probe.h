// Probe: what is sent around in search of a circle of handlers that wait for each other
// (deadlock.h), on this node and over links.

#ifndef ACTOR_PROBE_H
#define ACTOR_PROBE_H

#include "actor/actor.h"
#include "base/list.h"

enum { PROBE_PATH = 1000 }; // bytes of a path, at most

// Bits of a nonce. CHOICE: one of several would do its origin.
enum { NONCE_SENT = 1, NONCE_CHOICE = 2 };

// What is sent around, as the payload of a MESSAGE_SYSTEM from whoever waits for the
// answer of the one that gets it.
struct probe {
    struct list by_waits; // among those that an actor keeps, or alone
    hark_ref origin;      // whose wait is in question
    uint64_t wait;        // for which of its futures
    uint64_t nonce;       // of that wait
    uint64_t asked;       // by what the answer that is owed is called
    uint32_t items;       // of a stream, that its consumer has had; of others 0
    uint32_t hops;
    uint32_t size; // of the path: "a<..> waits for b<..> waits for "
    char path[];
};

// A probe for `to` came from another node, which waits for the answer to what asker has
// asked. Copies the path. False: there is no memory to tell `to`.
bool hark__probe_from(hark_ctx *ctx, hark_ref to, hark_ref asker,
                      const struct probe *probe, hark_str path);

#endif // ACTOR_PROBE_H
