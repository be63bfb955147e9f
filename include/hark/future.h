// hark/future.h - ask, and get the answer: by continuation, or by waiting.
//
// A future belongs to the ctx that asked, and only that ctx may use it. Its
// continuation runs as a turn of that actor, so a handler and a continuation never run
// at once. Every ask ends exactly once: reply, refusal, timeout, or the target's end.
//
// A future belongs to the handler or continuation that made it: when that returns, one
// that it has neither continued (hark_then), kept (hark_future_keep), detached
// (hark_future_detach) nor made part of another is dropped, and its ask is cancelled:
// at the latest with the actor's turn, some tens of microseconds, in which it may handle
// more messages.
// In an attached thread it stays until it is dropped or the thread detaches.

#ifndef HARK_FUTURE_H
#define HARK_FUTURE_H

#include <hark/actor.h>
#include <hark/base.h>
#include <hark/message.h>

HARK_BEGIN_DECLS

// The answer that an ask will get. A plain value; stale once it was dropped or its turn
// is over. All zero is no future: an await fails with why there is none, or as a then
// does with HARK_ESTALE.
typedef struct hark_future {
    uint64_t owner;
    uint64_t id;
} hark_future;

// An answer that is owed. A plain value; used once.
typedef struct hark_promise {
    uint64_t owner;
    uint64_t id;
} hark_promise;

// Why something failed, and how far it got. Strings live as long as the struct does.
typedef struct hark_error {
    int code; // hark_err, or an application's own from HARK_EUSER on
    hark_stage stage;
    const char *text;    // what happened, in words
    hark_ref target;     // whom it was for; null if nobody
    const char *type;    // the message's type; NULL if none
    const char *site;    // "file:line" of the ask; NULL if unknown
    uint32_t elapsed_ms; // from the ask to the failure
    uint32_t trace;      // for hark_error_print; 0: not known
} hark_error;

// Writes an error, and a line for each call that led to it, the last one first, through
// any number of nodes:
//   HARK_ETIMEOUT: timed out after 500 ms: ask get_balance to account<3f9a.17.4>,
//   stage: queued
//     asked by teller<3f9a.4.1> in transfer at bank.c:61
//     asked by main at bank.c:102, node counter
// and a NUL; returns the whole length. What was no ask (a hark_delay, a future of one's
// own) has none in its line. A call is an ask, "armed by" (a timer's message,
// a hark_delay) or "spawned by" (asks of a start hook); tells have none. Its node is
// told if it is another one, as is the target's ("of node counter"); who called is the
// actor's behavior or the thread's name. For people: see hark_error_line. ctx is of the
// node of the error's ask; NULL: a line only.
HARK_API size_t hark_error_print(hark_ctx *ctx, const hark_error *error, char *out,
                                 size_t size);

// Writes one line, for logs, such as
//   HARK_ETIMEOUT: timed out after 500 ms: ask get_balance to account<3f9a.17.4> at
//   bank.c:61, stage: queued
// and a NUL; returns the whole length.
HARK_API size_t hark_error_line(hark_ctx *ctx, const hark_error *error, char *out,
                                size_t size);

// Lines of an actor, for hark_dump.
HARK_MESSAGE(hark_dumped, (str, text))

// Writes who of this node waits now: who, in what, since when, for what (an ask, the
// function that made the future, blocking work), asked where, and the calls that led to
// it, as hark_backtrace does; and a NUL. Those are handlers that wait, futures that are
// continued or kept (without a handler; of one actor the first 16), and attached
// threads, but the caller. Asks them, so it takes a second, and
// then less, for those that have a handler that runs and does not return. Only in an
// attached thread: HARK_ENOTSUP. Returns the whole length, as snprintf does.
HARK_API size_t hark_dump(hark_ctx *ctx, char *out, size_t size);

// Writes who runs here and in what, and the calls that led to it, as hark_error_print
// does: the asynchronous call stack; and by what call the actor was spawned. Returns
// the whole length.
HARK_API size_t hark_backtrace(hark_ctx *ctx, char *out, size_t size);

// The error of the last call on ctx that failed and whose docstring points here. Never
// NULL; code 0 if none failed. Borrowed until the next such call.
HARK_API const hark_error *hark_error_of(hark_ctx *ctx);

// Makes (code, text) what hark_error_of(ctx) gives, for functions that are built on
// these and whose docstrings point there. Returns code; the text is cut at 500 bytes. A
// null ctx or format, or a code that is no error, changes nothing.
HARK_API hark_err hark_error_set(hark_ctx *ctx, int code, const char *format, ...)
    HARK_PRINTF(3, 4);

// How one ask is done. All zero is a good default.
typedef struct hark_ask_options {
    // 0: hark_options.ask_timeout_ms. HARK_FOREVER: no limit but that of the request in
    // hand (hark/cancel.h).
    uint32_t timeout_ms;
    const char *site; // shown in errors; static, or NULL: unknown
} hark_ask_options;

// Asks an actor: value (a struct of type) is copied and sent. Always gives a future
// that ends; if the ask could not even be sent, it fails with the reason. {0} only if
// there is no memory, the future limit is reached (HARK_ELIMIT in hark_error_of), or
// ctx is NULL.
HARK_CHECKED hark_future hark_ask_value(hark_ctx *ctx, hark_ref to,
                                        const hark_type *type, const void *value,
                                        const hark_ask_options *options);
// Takes message, also on error; else as hark_ask_value.
HARK_CHECKED hark_future hark_request(hark_ctx *ctx, hark_ref to, hark_message *message,
                                      const hark_ask_options *options);
// As hark_ask_value with a timeout (0: default) and a site.
HARK_CHECKED hark_future hark_ask_at(hark_ctx *ctx, const char *site,
                                     uint32_t timeout_ms, hark_ref to,
                                     const hark_type *type, const void *value);

// hark_ask(ctx, to, message, .field = value, ...)
#define hark_ask(ctx, to, ...)                                                         \
    hark_ask_at(ctx, HARK_HERE, 0, to, HARK_TYPE_(__VA_ARGS__),                        \
                HARK_VALUE_(__VA_ARGS__))
// hark_ask_within(ctx, timeout_ms, to, message, .field = value, ...)
#define hark_ask_within(ctx, timeout_ms, to, ...)                                      \
    hark_ask_at(ctx, HARK_HERE, timeout_ms, to, HARK_TYPE_(__VA_ARGS__),               \
                HARK_VALUE_(__VA_ARGS__))

// What a name was found to be: the answer to hark_lookup_ask.
HARK_MESSAGE(hark_found, (ref, actor))

// Looks a name up as hark_lookup does, and answers with hark_found. Never blocks. The
// future fails with hark_lookup's errors; timeout_ms 0: a little more than connect_ms.
HARK_CHECKED hark_future hark_lookup_ask(hark_ctx *ctx, const char *name,
                                         uint32_t timeout_ms);

// ---- the answering side ----

// Answers the ask in hand; value is copied. Once a handler. HARK_ENOASK: what is in
// hand was told and not asked, is answered or deferred already, or nothing is in hand
// (as in a continuation): nothing is sent. HARK_ECANCELLED: the handler has learnt that
// nobody waits for the answer (hark/cancel.h); nothing is sent. HARK_ENOMEM, of an
// asker of this node: it is owed an answer still, and fails with HARK_ENOMEM if the
// handler returns without another one. Any other error is hark_tell_value's, and the
// ask fails with it.
HARK_API hark_err hark_reply_value(hark_ctx *ctx, const hark_type *type,
                                   const void *value);
// hark_reply(ctx, message, .field = value, ...)
#define hark_reply(ctx, ...)                                                           \
    hark_reply_value(ctx, HARK_TYPE_(__VA_ARGS__), HARK_VALUE_(__VA_ARGS__))

// Refuses the ask in hand: it fails with code (over 0; an application's own start at
// HARK_EUSER) and the text (cut at 1,000 bytes). HARK_ENOASK and HARK_ECANCELLED as
// above, HARK_EINVAL.
HARK_API hark_err hark_refuse(hark_ctx *ctx, int code, const char *format, ...)
    HARK_PRINTF(3, 4);

// Takes the ask in hand off the turn: it is answered later, by this actor, with
// hark_fulfil or hark_break. If the actor ends first, the ask fails with HARK_ESTOPPED.
// {0}: nothing was asked, or no memory.
HARK_CHECKED hark_promise hark_defer(hark_ctx *ctx);
// Answers a deferred ask, in any later turn of the actor. HARK_ESTALE: answered before,
// or not this actor's. HARK_ECANCELLED: nobody waits for it any more, so nothing is
// sent; the promise is used up all the same. Any other error is hark_tell_value's, and
// the ask fails with it.
HARK_API hark_err hark_fulfil_value(hark_ctx *ctx, hark_promise promise,
                                    const hark_type *type, const void *value);
// hark_fulfil(ctx, promise, message, .field = value, ...)
#define hark_fulfil(ctx, promise, ...)                                                 \
    hark_fulfil_value(ctx, promise, HARK_TYPE_(__VA_ARGS__), HARK_VALUE_(__VA_ARGS__))
// Fails a deferred ask, as hark_refuse does. HARK_ESTALE, HARK_ECANCELLED, HARK_EINVAL.
HARK_API hark_err hark_break(hark_ctx *ctx, hark_promise promise, int code,
                             const char *format, ...) HARK_PRINTF(4, 5);

// ---- the asking side: continuations ----

// Runs when a future succeeds: reply is a struct of the continuation's type. arg is the
// continuation's. All borrowed until it returns.
typedef void hark_on_reply(hark_ctx *ctx, void *self, const void *reply, void *arg);
// Runs when a future fails. error is borrowed until it returns.
typedef void hark_on_failure(hark_ctx *ctx, void *self, const hark_error *error,
                             void *arg);

// What happens when a future ends.
typedef struct hark_continuation {
    const hark_type *type;       // the reply expected; another type is HARK_ETYPE
    hark_on_reply *on_reply;     // NULL: nothing to do
    hark_on_failure *on_failure; // NULL: nothing to do
    void (*drop)(void *arg);     // frees arg, once, when all is over; NULL: nothing
} hark_continuation;

// Continues a future: exactly one of the two functions runs, as a turn of the caller,
// unless the caller ends first (then only drop runs). In an attached thread they run in
// its calls of hark_await, hark_await_all and hark_receive, with self NULL. Takes arg,
// also on error. HARK_ESTALE: not a future of ctx, or continued already. HARK_EINVAL:
// no continuation, or one without a type.
HARK_CHECKED hark_err hark_then_value(hark_ctx *ctx, hark_future future,
                                      const hark_continuation *continuation, void *arg);

// HARK_THEN(actor, name, reply) { ... } and HARK_ELSE(actor, name) { ... } are the two
// ends of a continuation, and HARK_CONTINUATION(actor, name, reply) joins them. In
// scope: `ctx`, `self`, `arg`, and `msg` (the reply) or `error`.
//
//     HARK_THEN(shop, paid, receipt) { self->sold += msg->amount; }
//     HARK_ELSE(shop, paid) { self->code = error->code; }
//     HARK_CONTINUATION(shop, paid, receipt)
//     ...
//     hark_then(ctx, hark_ask(ctx, till, pay, .amount = 5), shop, paid, NULL);
#define HARK_THEN(actor, name, reply)                                                  \
    static void actor##_then_##name(hark_ctx *ctx, actor *self, const reply *msg,      \
                                    void *arg);                                        \
    static void actor##_resume_##name##_##reply(hark_ctx *ctx, void *self,             \
                                                const void *msg, void *arg)            \
    {                                                                                  \
        actor##_then_##name(ctx, (actor *)self, (const reply *)msg, arg);              \
    }                                                                                  \
    static void actor##_then_##name(                                                   \
        __attribute__((unused)) hark_ctx *ctx, __attribute__((unused)) actor *self,    \
        __attribute__((unused)) const reply *msg, __attribute__((unused)) void *arg)

#define HARK_ELSE(actor, name)                                                         \
    static void actor##_else_##name(hark_ctx *ctx, actor *self,                        \
                                    const hark_error *error, void *arg);               \
    static void actor##_fail_##name(hark_ctx *ctx, void *self,                         \
                                    const hark_error *error, void *arg)                \
    {                                                                                  \
        actor##_else_##name(ctx, (actor *)self, error, arg);                           \
    }                                                                                  \
    static void actor##_else_##name(__attribute__((unused)) hark_ctx *ctx,             \
                                    __attribute__((unused)) actor *self,               \
                                    __attribute__((unused)) const hark_error *error,   \
                                    __attribute__((unused)) void *arg)

#define HARK_CONTINUATION(actor, name, reply)                                          \
    HARK_CONTINUATION_WITH(actor, name, reply, NULL)

// HARK_CONTINUATION_WITH(actor, name, reply, drop): the same, and drop(arg), such as
// free, is called when all is over: also if the actor ended before either ran.
#define HARK_CONTINUATION_WITH(actor, name, reply, drop_arg)                           \
    static const hark_continuation actor##_##name = {                                  \
        .type = &reply##_type,                                                         \
        .on_reply = actor##_resume_##name##_##reply,                                   \
        .on_failure = actor##_fail_##name,                                             \
        .drop = drop_arg,                                                              \
    };

// hark_then(ctx, future, actor, name, arg): continues with HARK_CONTINUATION(actor,
// name).
#define hark_then(ctx, future, actor, name, ...)                                       \
    hark_then_value(ctx, future, &actor##_##name, __VA_ARGS__)

// ---- the asking side: waiting ----

// Waits until the future ends. Gives the reply. NULL if it failed: hark_error_of(ctx)
// is the ask's own error (of a {0}: why it could not be made, if that was just now),
// or HARK_ETYPE (the reply is of another type), HARK_ESTALE (not a future of ctx,
// continued, or dropped meanwhile), HARK_ESTOPPED (the system stops, or
// another has stopped this actor), HARK_ECANCELLED (the request in hand, or the scope
// that it waits in, is cancelled: hark/cancel.h, hark/scope.h).
//
// In an attached thread it blocks; continuations of the thread's futures run meanwhile.
// The reply is borrowed until the future is dropped or the thread detaches.
//
// In an actor it suspends the handler, hook or continuation that calls it: the worker
// goes on with other actors. The reply is borrowed until the handler returns. This
// actor's other messages and continuations wait until then, unless its behavior or
// hark_wait_mode says otherwise; a stop ends the wait. The handler may go on in another
// thread: what belongs to a thread (errno, thread-locals, locks that are held) does not
// survive an await. Also HARK_ELIMIT (hark_options.waiting_limit), HARK_ENOMEM,
// HARK_ECANCELLED (nobody waits for this handler's own answer any more, hark/cancel.h),
// HARK_EDEADLK (whom it waits for waits for it, here or on other nodes; the error names
// them),
// HARK_ENOTSUP (in a callback of hark/async.h).
HARK_CHECKED const void *hark_await_value(hark_ctx *ctx, hark_future future,
                                          const hark_type *type);
// hark_await(ctx, future, message): the same, typed.
#define hark_await(ctx, future, message)                                               \
    ((const message *)hark_await_value(ctx, future, &message##_type))

// The reply of a future that has succeeded, without waiting; else NULL (HARK_ETIMEOUT
// in hark_error_of if it is still open; else as hark_await_value). Borrowed as there,
// in an actor until its turn ends. For the futures behind hark_all.
HARK_API const void *hark_future_value(hark_ctx *ctx, hark_future future,
                                       const hark_type *type);
// hark_future_get(ctx, future, message): the same, typed.
#define hark_future_get(ctx, future, message)                                          \
    ((const message *)hark_future_value(ctx, future, &message##_type))

// True once it has ended, well or not; true for one that is no longer known.
HARK_API bool hark_future_done(hark_ctx *ctx, hark_future future);

// Keeps a future of an actor beyond the turn that made it, until it is dropped.
// HARK_ESTALE: it is not (or no longer) of ctx.
HARK_API hark_err hark_future_keep(hark_ctx *ctx, hark_future future);

// Lets a future end on its own, for its effect: its reply is let go of when it comes,
// and a failure is counted as unseen. Neither the end of the handler nor that of the
// request cancels it; its timeout stays, and so does the owner's end. HARK_ESTALE: it
// is not (or no longer) of ctx, or is continued already.
HARK_API hark_err hark_future_detach(hark_ctx *ctx, hark_future future);

// Lets go of a future and its reply. If it is still open, whoever was asked hears that
// nobody waits any more (hark/cancel.h); an answer that has left before is a dead
// letter. One that is not (or no longer) of ctx is left alone.
HARK_API void hark_future_drop(hark_ctx *ctx, hark_future future);

// The answer of hark_all: how many succeeded.
HARK_MESSAGE(hark_all_done, (u32, count))

// A future over many of the same ctx: it succeeds when all have, and fails as soon as
// one fails, with that one's error; then it closes those that are still open
// (hark_all_with in hark/async.h: not). One that is dropped has failed with
// HARK_ESTALE. It keeps them until it is dropped itself, so that hark_future_get
// reaches each reply; none of them may be continued otherwise. One that is named twice
// counts as done with the first. count 0 succeeds at once. {0} on error, with the
// reason in hark_error_of(ctx): HARK_EINVAL, HARK_ESTALE (one is not of ctx, or
// continued), HARK_ELIMIT (the future limit), HARK_ENOMEM; then all are as before.
HARK_CHECKED hark_future hark_all(hark_ctx *ctx, const hark_future *futures,
                                  size_t count);

HARK_END_DECLS

#endif // HARK_FUTURE_H
