// hark/scope.h - scopes: what a handler begins, it ends.
//
// A scope holds futures, spawned actors, timers and resources. Joining it waits for the
// futures; leaving it, by whichever way, cancels what is still open, stops the actors
// and runs the cleanups, last in, first out. Nothing outlives it. A scope belongs to
// the handler, hook or continuation (or attached thread) that has opened it, and a
// scope that is open when that returns is closed then.
//
// While a scope is open, it is the innermost: what is asked then, whoever the future is
// given to, has at most the time that the scope has left, and is cancelled with it.
// Scopes nest, and leaving one closes those that were opened inside. When a scope is
// cancelled (by hark_scope_cancel, a failure, its deadline, the request's or an outer
// scope's cancellation) its futures fail with HARK_ECANCELLED at once, and so do waits
// of the handler inside it. An ask that is cancelled has ended here; whoever was asked
// hears of it (hark/cancel.h).
//
//     hark_scope s = hark_scope_open(ctx, NULL);
//     hark_future a = hark_scope_ask(ctx, s, shop, get_price, .item = 1);
//     hark_future b = hark_scope_ask(ctx, s, shop, get_price, .item = 2);
//     if (hark_scope_join(ctx, s) == HARK_OK) {
//         sum = hark_future_get(ctx, a, price)->cents
//               + hark_future_get(ctx, b, price)->cents;
//     }
//
// Functions whose docstring does not say otherwise return HARK_ESTALE for a scope that
// is not of this handler or thread, or was joined or closed before. In a combinator's
// callback there are no scopes: HARK_ENOTSUP. hark_error_of(ctx) tells more.

#ifndef HARK_SCOPE_H
#define HARK_SCOPE_H

#include <hark/actor.h>
#include <hark/base.h>
#include <hark/future.h>

HARK_BEGIN_DECLS

// A plain value; all zero is no scope.
typedef struct hark_scope {
    uint64_t owner;
    uint64_t id;
} hark_scope;

// What the failure of a future does to the others of its scope.
typedef enum hark_scope_policy {
    HARK_SCOPE_FAIL_FAST = 0, // cancels them
    HARK_SCOPE_COLLECT = 1,   // nothing: all are waited for
} hark_scope_policy;

// How a scope is. All zero is a good default.
typedef struct hark_scope_options {
    hark_scope_policy policy;
    uint32_t timeout_ms; // the scope is cancelled then; 0 or HARK_FOREVER: no limit but
                         // that of the request or scope around it
} hark_scope_options;

// Opens a scope inside those that are open. options may be NULL. {0} on error:
// HARK_EINVAL, HARK_ENOTSUP, HARK_ELIMIT (a scope takes up to two futures),
// HARK_ENOMEM. Given {0}, the other functions fail with HARK_ESTALE.
HARK_CHECKED hark_scope hark_scope_open(hark_ctx *ctx,
                                        const hark_scope_options *options);

// Adds a future, also a combinator's, and gives it back. Takes future: if it can't be
// added it is dropped (but not one that is continued already), {0} is given, and the
// scope has failed with the reason (HARK_ESTALE: the future has ended, is continued
// already, or is not of ctx; or why there is none; or HARK_ENOMEM), so that the join
// tells it. A future of a scope must not be continued or combined, but may be awaited,
// by the scope's handler, and after the join be read with hark_future_get and
// hark_future_error. One that is dropped leaves its scope.
HARK_API hark_future hark_scope_add(hark_ctx *ctx, hark_scope scope,
                                    hark_future future);

// Asks, and adds the future: as hark_ask_at and hark_scope_add.
HARK_API hark_future hark_scope_ask_at(hark_ctx *ctx, const char *site,
                                       hark_scope scope, hark_ref to,
                                       const hark_type *type, const void *value);
// hark_scope_ask(ctx, scope, to, message, .field = value, ...)
#define hark_scope_ask(ctx, scope, to, ...)                                            \
    hark_scope_ask_at(ctx, HARK_HERE, scope, to, HARK_TYPE_(__VA_ARGS__),              \
                      HARK_VALUE_(__VA_ARGS__))

// Spawns an actor that is stopped when the scope is left; that waits for its end, for
// as long as an ask may take by default, unless the caller is to stop itself. Joining
// does not wait for it to end on its own. A null ref on error, as hark_spawn_ref.
HARK_API hark_ref hark_scope_spawn_ref(hark_ctx *ctx, hark_scope scope,
                                       const hark_behavior *behavior, const void *state,
                                       const hark_spawn_options *options);
// The same, telling where, as hark_spawn_at.
HARK_API hark_ref hark_scope_spawn_at(hark_ctx *ctx, const char *site, hark_scope scope,
                                      const hark_behavior *behavior, const void *state,
                                      const hark_spawn_options *options);
// hark_scope_spawn(ctx, scope, actor, .field = value, ...)
#define hark_scope_spawn(ctx, scope, ...)                                              \
    hark_scope_spawn_at(ctx, HARK_HERE, scope, HARK_BEHAVIOR_(__VA_ARGS__),            \
                        HARK_VALUE_(__VA_ARGS__), NULL)

// As hark_send_after, but the timer is cancelled when the scope is left.
HARK_API hark_timer hark_scope_timer_value(hark_ctx *ctx, hark_scope scope,
                                           uint32_t delay_ms, hark_ref to,
                                           const hark_type *type, const void *value);
// The same, telling where, as hark_send_after_at.
HARK_API hark_timer hark_scope_timer_at(hark_ctx *ctx, const char *site,
                                        hark_scope scope, uint32_t delay_ms,
                                        hark_ref to, const hark_type *type,
                                        const void *value);
// hark_scope_timer(ctx, scope, delay_ms, to, message, .field = value, ...)
#define hark_scope_timer(ctx, scope, delay_ms, to, ...)                                \
    hark_scope_timer_at(ctx, HARK_HERE, scope, delay_ms, to, HARK_TYPE_(__VA_ARGS__),  \
                        HARK_VALUE_(__VA_ARGS__))

// Cleans up what arg stands for. It runs in the owner's turn, inside a shield of its
// own (hark/cancel.h): it may tell, ask and wait, also when the handler was cancelled;
// only a stop of the actor ends its waits. A scope that it opens, it leaves.
typedef void hark_cleanup(hark_ctx *ctx, void *arg);

// Has run(ctx, arg) called when the scope is left, once, whichever way: in the reverse
// order of hark_scope_defer, hark_scope_spawn and hark_scope_timer. HARK_EINVAL,
// HARK_ENOMEM: it will not be called.
HARK_CHECKED hark_err hark_scope_defer(hark_ctx *ctx, hark_scope scope,
                                       hark_cleanup *run, void *arg);

// The same when the handler, hook or continuation returns, after its scopes are closed
// and an ask without an answer has failed; in an attached thread when it detaches.
// HARK_EINVAL, HARK_ENOTSUP, HARK_ENOMEM: it will not be called.
HARK_CHECKED hark_err hark_defer_cleanup(hark_ctx *ctx, hark_cleanup *run, void *arg);

// Waits until every future of the scope has ended, and leaves it. In an actor this
// suspends the handler. HARK_OK: none has failed; or the code of the first that has,
// with its error in hark_error_of(ctx) (if several have, its text says how many);
// HARK_ETIMEOUT: the scope's time was over; HARK_ECANCELLED: it was cancelled; or why
// it could not wait, as hark_await: then the rest was cancelled. Its futures can be
// read until it is closed.
HARK_API hark_err hark_scope_join(hark_ctx *ctx, hark_scope scope);

// How many of its futures have failed so far, those not counted that the scope itself
// has cancelled; also when it was joined. 0 for one that is stale.
HARK_API uint32_t hark_scope_failures(hark_ctx *ctx, hark_scope scope);

// Cancels all that is open in it, and all that is added or asked from now on. It is
// still to be joined or closed.
HARK_API hark_err hark_scope_cancel(hark_ctx *ctx, hark_scope scope);

// Leaves the scope, if it was not joined, and drops its futures. Of all that it ends it
// waits for the actors only (hark_scope_spawn).
HARK_API hark_err hark_scope_close(hark_ctx *ctx, hark_scope scope);

HARK_END_DECLS

#endif // HARK_SCOPE_H
