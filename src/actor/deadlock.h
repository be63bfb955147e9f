// Deadlock: handlers that wait for each other in a circle, on one node or over several.
//
// An actor whose handler waits exclusively, or in the mode chain, for an ask is blocked
// by whom it asks until that has answered. When there may be a circle, a probe is sent
// around (Chandy, Misra and Haas, "Distributed deadlock detection", 1983): to whom is
// asked, behind the ask, and from there on as long as each one's own turn finds that it
// owes the answer and cannot give it before an ask of its own has ended. Where it comes
// back, it is true, and that wait ends with HARK_EDEADLK. Whoever owes the answer and
// is not blocked keeps the probe, and when a handler begins to wait, that wait sends its
// own in its place; so no circle is too late for it.
//
// When may there be a circle? On one node by marks. Whoever begins to wait says for
// whom in its slot (waits_for), and then follows the marks from actor to actor:
//
//   A: store waits_for[A], then load waits_for[B], ...   (sequentially consistent)
//   B: store waits_for[B], then load waits_for[A], ...
//
// so the last one of a circle to begin sees all the others.
//
// Who waits for several, or has several handlers that wait for others, has a wide mark:
// of it is known only for whose sakes they wait. If for the same as the one who comes
// by, that request may have come back to where it was, and the probe goes at once. Else
// the wait is in doubt, and the probe goes when it has lasted DOUBT_NS and still is;
// most do not. So the last one of a circle comes to itself or to a wide mark, which is in
// the circle too. One probe along a wait that lets nobody in is enough
// for all who come to that wait: it says so in its mark.
//
// Over links, and where several handlers of one actor wait in the mode chain, so that
// one mark cannot say for whom, by chain ids (chain_id.h). In a circle some asks were
// set aside, since each ask that is being handled is older than what its handler asks.
// Go along the circle, from an ask that no mark shows on to the first one that was set
// aside: all those between are of one chain, and the id of the last says that it came
// unseen. So whoever sets such an ask aside, or owes an answer to one while another
// handler blocks it, sends a probe along its own wait; one for each wait.
//
// Who waits for one of several (hark_any, hark_race) passes no probe on, but sends its
// own along each; when all have come back, no one of them can come, and all end
// (needs.h). So of circles with such choices those are found that have one.
//
// A probe names the wait and a random number that only those know whom it has come by.
// So who lies can end no wait but one that goes through itself.

#ifndef ACTOR_DEADLOCK_H
#define ACTOR_DEADLOCK_H

#include "actor/await.h"
#include "actor/needs.h"
#include "actor/probe.h"

// A handler of ctx has begun to wait for future.
void hark__deadlock_look(hark_ctx *ctx, struct await *await,
                         const struct future *future);
// The general case of hark__deadlock_forget.
void hark__deadlock_forget_one(hark_ctx *ctx, struct waits *waits, struct await *await);

// One waits no more.
static inline void
hark__deadlock_forget(hark_ctx *ctx, struct waits *waits, struct await *await)
{
    if (waits->count > 0 || (await->circle & AWAIT_DOUBTED)) {
        hark__deadlock_forget_one(ctx, waits, await);
        return;
    }
    // relaxed: who sees the mark too long only sends a probe in vain.
    atomic_store_explicit(&ctx->slot->waits_for, 0, memory_order_relaxed);
}

// A callback has given future, for which something may have begun to wait with it.
void hark__deadlock_follow(hark_ctx *ctx, const struct future *future);
// Looks again at those waits of ctx's actor that were in doubt for long enough at
// due_ns. Returns when to do so again; INT64_MAX: never.
int64_t hark__deadlock_look_again(hark_ctx *ctx, int64_t due_ns);
// A probe has gone along all that await waits for.
void hark__deadlock_note_probe(hark_ctx *ctx, struct await *await);
// A message was set aside.
void hark__deadlock_aside(hark_ctx *ctx, const struct hark_message *message);

// ---- probe.c ----

// Sends the probe of a wait, if it is not sent yet.
void hark__probe_begin(hark_ctx *ctx, struct await *await);
// Sends it once more: what the wait needs has changed.
void hark__probe_begin_anew(hark_ctx *ctx, struct await *await);
// Sends those of all waits that keep others from running.
void hark__probes_begin(hark_ctx *ctx, const struct waits *waits);
// A probe came to ctx's actor, and all that was sent before it has been looked at.
void hark__probe_came(hark_ctx *ctx, struct hark_message *message);
// Sends the probe of a wait that has begun, if one is kept that it keeps from going on:
// that needs not go itself, since a circle of both is one of begun.
void hark__probes_pass_on(hark_ctx *ctx, struct waits *waits, struct await *begun);
// Lets go of those that are of no use any more; or of all.
void hark__probes_tidy(hark_ctx *ctx, struct waits *waits);
void hark__probes_fini(hark_ctx *ctx, struct waits *waits);

#endif // ACTOR_DEADLOCK_H
