// Debt: how an actor owes the answer that a probe is about (deadlock.h), and which waits
// of its handlers keep it from being given.
//
// The ask is in hand of a handler that waits, was set aside, or was deferred. While it is
// in hand only that handler can answer; what is deferred any code of the actor can.

#ifndef ACTOR_DEBT_H
#define ACTOR_DEBT_H

#include "actor/await.h"
#include "actor/probe.h"

struct debt {
    bool is_owed;
    bool is_free;          // also code that a wait does not keep from running may pay
    struct await *handler; // that has it in hand; NULL: it does not run
    uint64_t chain_id;     // of the ask; 0: not known
};

// What is owed of what the probe in message, which has come to ctx's actor, is about.
struct debt hark__debt_find(const hark_ctx *ctx, const struct waits *waits,
                            const struct hark_message *message,
                            const struct probe *probe);
// Can the answer not be given before the handler that waits goes on?
bool hark__debt_waits_for(const struct debt *debt, const struct await *await);

#endif // ACTOR_DEBT_H
