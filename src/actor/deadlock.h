// Deadlock: handlers that wait for each other in a circle.
//
// An actor whose handler waits exclusively for an ask to another actor here is blocked by
// that one until it has answered. Whoever begins to wait says so in its slot (waits_for),
// and then follows the marks from actor to actor; if they lead back, there may be a
// circle. The marks alone prove nothing: an answer may be on its way. So a probe is sent
// around (Chandy, Misra and Haas, "Distributed deadlock detection", 1983): to whom is
// asked, behind the ask, and from there on as long as each one's own turn finds that it is
// blocked, and still owes the answer. Where it comes back, it is true, and that wait ends
// with HARK_EDEADLK.
//
//   A: store waits_for[A], then load waits_for[B], ...   (sequentially consistent)
//   B: store waits_for[B], then load waits_for[A], ...
//
// so the last one of a circle to begin sees all the others.

#ifndef ACTOR_DEADLOCK_H
#define ACTOR_DEADLOCK_H

#include "actor/await.h"

// A handler of ctx has begun to wait, exclusively, for future: an ask to an actor here.
void hark__deadlock_look(hark_ctx *ctx, const struct future *future);
// It waits no more.
void hark__deadlock_forget(hark_ctx *ctx);
// A probe came to ctx's actor, and all that was sent before it has been looked at.
void hark__deadlock_probe(hark_ctx *ctx, const struct hark_message *message);

#endif // ACTOR_DEADLOCK_H
