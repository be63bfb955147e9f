// Async: what the calls of hark/async.h have in common. Each checks its arguments, has
// src/future/ make the future, and gives its name, or sets why there is none. async.c
// has the combinators, job.c those that start work themselves, result.c what the
// program completes itself. As a ctx, for its owner's thread only.

#ifndef ACTOR_ASYNC_H
#define ACTOR_ASYNC_H

#include "actor/ctx.h"

static const hark_future no_future = {0, 0};

// Sets what hark_error_of gives: `call` failed with code. Gives no_future. Any ctx,
// NULL too.
hark_future hark__async_refuse(hark_ctx *ctx, int code, const char *call,
                               const char *why);
// The same for an argument that is NULL.
hark_future hark__async_refuse_null(hark_ctx *ctx, const char *call);
// The same for a future that could not be opened: the limit, or no memory. What opens
// two has let go of the first one again.
hark_future hark__async_refuse_full(hark_ctx *ctx, const char *call);
// Gives a future that is free to be an input. NULL: it is not. Without a future at all
// (id 0), why there is none is known already.
struct future *hark__async_input(hark_ctx *ctx, hark_future name, const char *call);
// What the user gets of a future that was just made, at site (NULL: unknown).
hark_future hark__async_give(hark_ctx *ctx, struct future *future, const char *site);

#endif // ACTOR_ASYNC_H
