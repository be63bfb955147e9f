// Deadlock: handlers that wait for each other in a circle, on one node or over several.
//
// An actor whose handler waits exclusively, or in the mode chain, for an ask is blocked
// by whom it asks until that has answered. When there may be a circle, a probe is sent
// around (Chandy, Misra and Haas, "Distributed deadlock detection", 1983): to whom is
// asked, behind the ask, and from there on as long as each one's own turn finds that it
// owes the answer and cannot give it before an ask of its own has ended. Where it comes
// back, it is true, and that wait ends with HARK_EDEADLK. Whoever owes the answer and
// is not blocked keeps the probe, and passes it on when a handler begins to wait; so no
// circle is too late for it.
//
// When may there be a circle? On one node by marks. Whoever begins to wait says for
// whom in its slot (waits_for), and then follows the marks from actor to actor:
//
//   A: store waits_for[A], then load waits_for[B], ...   (sequentially consistent)
//   B: store waits_for[B], then load waits_for[A], ...
//
// so the last one of a circle to begin sees all the others.
//
// Over links, and where several handlers of one actor wait in the mode chain, so that
// one mark cannot say for whom, by chain ids (chain_id.h). In a circle some asks were
// set aside, since each ask that is being handled is older than what its handler asks.
// Go along the circle, from an ask that no mark shows on to the first one that was set
// aside: all those between are of one chain, and the id of the last says that it came
// unseen. So whoever sets such an ask aside, or owes an answer to one while another
// handler blocks it, sends a probe along its own wait; one for each wait.
//
// Who waits for several at once (hark_all) marks the chain instead; that tells when a
// request comes back to where it was.
//
// A probe names the wait and a random number that only those know whom it has come by.
// So who lies can end no wait but one that goes through itself.

#ifndef ACTOR_DEADLOCK_H
#define ACTOR_DEADLOCK_H

#include "actor/await.h"
#include "actor/probe.h"

// A handler of ctx has begun to wait for future, and lets not all others run meanwhile;
// or (LOCK_NOBODY) all.
void hark__deadlock_look(hark_ctx *ctx, struct await *await,
                         const struct future *future);
// The general case of hark__deadlock_forget.
void hark__deadlock_forget_one(hark_ctx *ctx, const struct waits *waits);

// One waits no more.
static inline void
hark__deadlock_forget(hark_ctx *ctx, const struct waits *waits)
{
    if (waits->exclusive + waits->chained > 0) {
        hark__deadlock_forget_one(ctx, waits);
        return;
    }
    // relaxed: who sees the mark too long only sends a probe in vain.
    atomic_store_explicit(&ctx->slot->waits_for, 0, memory_order_relaxed);
}

// A message was set aside.
void hark__deadlock_aside(hark_ctx *ctx, const struct hark_message *message);
// ---- probe.c ----

// Sees an open ask that something waits for. False: no more is wanted.
typedef bool see_ask(void *arg, const struct future *future);

static inline bool
hark__future_is_ask(const struct future *future)
{
    return future->computed == NULL && future->asked != NULL;
}

// Calls see for each ask that must end before what await waits for can succeed. False:
// see wanted no more.
bool hark__await_each_ask(const hark_ctx *ctx, const struct await *await, see_ask *see,
                          void *arg);
// Sends the one probe of each wait that keeps others from running, if it is not sent
// yet.
void hark__probes_begin(hark_ctx *ctx, const struct waits *waits);
// A probe came to ctx's actor, and all that was sent before it has been looked at.
void hark__probe_came(hark_ctx *ctx, struct hark_message *message);
// Passes those that are kept on along a wait that has begun.
void hark__probes_pass_on(hark_ctx *ctx, struct waits *waits,
                          const struct await *begun);
// Lets go of those that are of no use any more; or of all.
void hark__probes_tidy(hark_ctx *ctx, struct waits *waits);
void hark__probes_fini(hark_ctx *ctx, struct waits *waits);

#endif // ACTOR_DEADLOCK_H
