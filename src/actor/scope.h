// Scopes: what a handler (hook, continuation, attached thread) has begun, and ends.
//
//            cancel: a failure, the clock, a cancel of its request
//     OPEN ------------------------------------------------------> OPEN, cancelled
//        \______________________ leave (join, close) ________________/--> LEFT
//
// An open scope stands among what its ctx has in hand as a request of its own
// (request.h), so what is asked inside are its children, and whoever cancels the
// request below cancels it. Its members, which it watches, are waited for. What it
// undoes last in, first out (cleanups, actors, timers) is in undo.h. One that is left
// stays, so that the members can be read, until it is closed or its handler returns.

#ifndef ACTOR_SCOPE_H
#define ACTOR_SCOPE_H

#include "actor/ctx.h"
#include "actor/undo.h"
#include "hark/scope.h"

enum scope_state { SCOPE_OPEN, SCOPE_LEFT };

struct member {
    struct waiter waiter;
    struct list link; // in scope->open or ->ended
    struct scope *scope;
    uint64_t id; // of its future
    bool is_open;
    uint8_t size_class;
};

struct scope {
    struct scope *outer; // of the same handler, was opened before
    struct scopes *of;
    struct list by_actor;    // in extra->scopes while it is open
    struct request *request; // NULL: it is left
    struct list open, ended; // members
    struct undo *undos;
    struct waiter clock_waiter;
    uint64_t id;
    uint64_t clock; // the future that fails at its deadline; 0: none
    uint64_t done;  // the future that ends when no member is open
    uint64_t blame; // the future that failed first; 0: none
    int code;       // why it has failed; HARK_OK
    uint32_t count; // members so far
    uint32_t failed;
    uint8_t policy; // hark_scope_policy
    uint8_t state;  // enum scope_state
    bool is_joined; // its handler waits for done
    uint8_t size_class;
};

// What one handler has opened.
struct scopes {
    struct scope *first;   // the last opened
    struct undo *cleanups; // of hark_defer_cleanup
    uint64_t floor;        // a cleanup runs, which reaches no scope up to this id
    uint8_t size_class;
};

static inline struct future *
hark__scope_future(const hark_ctx *ctx, uint64_t id)
{
    return id != 0 ? hark__future_find(ctx_futures(ctx), id) : NULL;
}

// scope_end.c

// Gives a member, which is open and not watched yet. NULL: no memory.
struct member *hark__member_new(hark_ctx *ctx, struct scope *scope,
                                const struct future *future);
// A member that is not open any more, or whose scope is cancelled.
void hark__member_ended(hark_ctx *ctx, struct member *member, struct future *future);
// The future that ends with the members of whom waiter is one; 0: it is no member's.
uint64_t hark__scope_joined_by(const struct waiter *waiter);
// Something has failed that is, or should have become, a member.
void hark__scope_fail(hark_ctx *ctx, struct scope *scope, int code);
// Ends all that is open in a scope, and what is begun in it from now on. code: why, if
// nothing has failed before.
void hark__scope_cancel(hark_ctx *ctx, struct scope *scope, int code);
// Watches the clock of a scope.
void hark__scope_watch_clock(hark_ctx *ctx, struct scope *scope, struct future *clock);
// Closes a future of the scope's own.
void hark__scope_close_own(hark_ctx *ctx, uint64_t *id);
// Leaves those that are open inside of scope.
void hark__scope_leave_inner(hark_ctx *ctx, const struct scope *scope);
// scope is open, and those inside it are left.
void hark__scope_leave(hark_ctx *ctx, struct scope *scope);
// Leaves scope if it is open, and frees it.
void hark__scope_close(hark_ctx *ctx, struct scope *scope);

#endif // ACTOR_SCOPE_H
