// hark/cancel.h - deadlines and cancellation of asks.
//
// Each ask carries a deadline, and may be cancelled by its asker: by hark_cancel, by
// dropping its future, or by the asker's end or the loss of its node. One that waits in
// a mailbox is removed then (hark_stats.cancelled); one whose time is over there is not
// run either (hark_stats.expired). A handler that runs is never torn off: it looks with
// hark_cancelled or hark_checkpoint, and what it has asked for the request's sake is
// cancelled in turn, through any number of nodes. See docs/guide/cancellation.md.
//
// "The request" of a handler is the ask in hand until it is answered; of a
// continuation, the one whose handler has asked. What is asked then gets the smaller of
// its own timeout and what the request has left; so does a hark_delay, which is a
// future like others. A message has no deadline and no cancel: what hark_send_after
// sends comes, whatever becomes of the request in whose handler that was armed, and
// belongs to none (hark_scope_timer ends with its scope). For the ctx of one turn or
// thread, as everything.

#ifndef HARK_CANCEL_H
#define HARK_CANCEL_H

#include <hark/base.h>
#include <hark/future.h>

HARK_BEGIN_DECLS

// Cancels an open future: it fails with HARK_ECANCELLED, its continuation runs as after
// any failure, and whoever was asked hears of it. Of hark_all's future the members are
// cancelled when it is dropped. HARK_ESTALE: it has ended already, or is not of ctx.
HARK_API hark_err hark_cancel(hark_ctx *ctx, hark_future future);

// True in a handler or continuation if nobody waits for its answer any more: the
// request was cancelled, its time is over, its asker's node is lost, or the actor is
// being stopped. In a shield: if the shield's time is over. In an attached thread: if
// the system stops. Looks for news, so a long handler may loop on it.
HARK_API bool hark_cancelled(hark_ctx *ctx);

// For long handlers: says whether to go on, and lets others run meanwhile. HARK_OK;
// or, first that applies: HARK_ESTOPPED (the actor, or the system, is being stopped),
// HARK_ECANCELLED, HARK_ETIMEOUT (the request's time is over). HARK_EINVAL: no ctx.
HARK_API hark_err hark_checkpoint(hark_ctx *ctx);

// Milliseconds until the request's deadline, rounded down; 0: it is over. HARK_FOREVER:
// there is none, or no request.
HARK_API uint32_t hark_remaining_ms(hark_ctx *ctx);

// Begins a shield, for cleanup: until hark_shield_end, or the end of the handler,
// neither the request's deadline nor its cancellation counts, but a limit of its own
// (HARK_FOREVER: none). What is asked inside, and the continuations of that, stay in
// it. Shields nest; an outer one's limit does not bound an inner one. HARK_ENOMEM,
// HARK_EINVAL: no ctx.
HARK_API hark_err hark_shield(hark_ctx *ctx, uint32_t limit_ms);
// Ends the innermost shield of this handler, and leaves the scopes (hark/scope.h) that
// were opened inside it. Without one it does nothing.
HARK_API void hark_shield_end(hark_ctx *ctx);

// True if nobody waits for this deferred answer any more: it was cancelled, or its
// asker's node is lost; also if it is no promise of this actor. hark_fulfil and
// hark_break then return HARK_ECANCELLED (or HARK_ESTALE), and nothing is sent.
HARK_API bool hark_promise_cancelled(hark_ctx *ctx, hark_promise promise);

// Has value (a struct of type; it is copied) told to this actor, once, as soon as
// nobody waits for this deferred answer any more, as hark_promise_cancelled says: at
// once if that is so already, and never if the promise is used before. It comes as any
// message, behind what the asker has sent before, but no mailbox limit refuses it; its
// sender is the asker. A deadline that passes is not told. A second one takes the first
// one's place. HARK_ESTALE: no such promise of this actor. HARK_EINVAL, HARK_ETOOBIG,
// HARK_ENOMEM: as hark_tell_value.
HARK_API hark_err hark_promise_watch_value(hark_ctx *ctx, hark_promise promise,
                                           const hark_type *type, const void *value);
// hark_promise_watch(ctx, promise, message, .field = value, ...)
#define hark_promise_watch(ctx, promise, ...)                                          \
    hark_promise_watch_value(ctx, promise, HARK_TYPE_(__VA_ARGS__),                    \
                             HARK_VALUE_(__VA_ARGS__))

HARK_END_DECLS

#endif // HARK_CANCEL_H
