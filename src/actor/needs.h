// Needs: which asks must end before what a handler waits for can succeed.
//
// A wait is for one future, which may be made of others. So it is a formula over asks:
// all of these (hark_all, hark_map, a scope that is joined), or one of those (hark_any,
// hark_race). An item of a stream counts as the ask of the stream. What may come by
// itself, or from anywhere (hark_delay, hark_future_new, hark_hedge), needs none.
//
// For the turn of the actor whose handler waits.

#ifndef ACTOR_NEEDS_H
#define ACTOR_NEEDS_H

#include "actor/await.h"
#include "future/computed.h"

// An open ask, or item, that something waits for. False: no more is wanted.
typedef bool see_ask(void *arg, struct future *future);

// An item that its stream has not given yet.
static inline bool
hark__future_is_item(const struct future *future)
{
    return future->computed == &hark__self_made && future->asked != NULL;
}

static inline bool
hark__future_is_ask(const struct future *future)
{
    return future->computed == NULL && future->asked != NULL;
}

// Calls see for each ask that await cannot do without. False: see wanted no more.
bool hark__needs_each(const hark_ctx *ctx, const struct await *await, see_ask *see,
                      void *arg);
// The same also for those that may be replaced by others of them.
bool hark__needs_each_way(const hark_ctx *ctx, const struct await *await, see_ask *see,
                          void *arg);
// Are there some that may be?
bool hark__needs_choice(const hark_ctx *ctx, const struct await *await);
// Gives an ask that must end for await to end, if is_dead tells which asks cannot
// succeed before await has ended: of those that may be replaced, only if all others are
// dead as well. NULL: none.
struct future *hark__needs_dead(const hark_ctx *ctx, const struct await *await,
                                see_ask *is_dead, void *arg);

// The wait that future works for, by what others are made of it. NULL: none.
struct await *hark__needs_of(const hark_ctx *ctx, const struct future *future);

#endif // ACTOR_NEEDS_H
