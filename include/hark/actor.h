// hark/actor.h - what an actor is; spawn it, tell it, name it, stop it.
//
// Each function takes the hark_ctx of its caller: an actor in its handler, or an
// attached thread. A ctx is used by one thread at a time; refs are plain values. None
// of these functions blocks, except hark_lookup of a remote name.

#ifndef HARK_ACTOR_H
#define HARK_ACTOR_H

#include <hark/base.h>
#include <hark/message.h>

HARK_BEGIN_DECLS

// Runs one message: self is the actor's state, message a struct of the clause's type.
// Both are borrowed until the handler returns.
typedef void hark_thunk(hark_ctx *ctx, void *self, const void *message);

// Runs when an actor starts or stops.
typedef void hark_hook(hark_ctx *ctx, void *self);

// Which handler runs which type of message.
typedef struct hark_clause {
    const hark_type *type;
    hark_thunk *run;
} hark_clause;

// What an actor's other messages do while a handler of it waits (hark_await).
typedef enum hark_wait {
    HARK_WAIT_EXCLUSIVE =
        0, // they wait too: nothing runs between two lines of a handler
    HARK_WAIT_INTERLEAVE = 1, // they are handled: state may change during an await
    HARK_WAIT_CHAIN =
        2, // only those are that descend from the same request: what is asked
           // or told for its sake, however far and on whatever node. They
           // may pass others, which wait
} hark_wait;

// What an actor is. Static data; one behavior serves many actors.
typedef struct hark_behavior {
    const char *name;    // shown in errors, dead letters and logs
    uint32_t state_size; // bytes; 0 is allowed
    uint32_t clause_count;
    const hark_clause *clauses;
    hark_hook *start HARK_ZERO_; // first turn, before any message; NULL: none
    hark_hook *stop HARK_ZERO_;  // last turn; NULL: none
    hark_wait wait HARK_ZERO_;   // for handlers that do not say otherwise
} hark_behavior;

// How one actor is set up. All zero is a good default.
typedef struct hark_spawn_options {
    const char *name;       // registered as its name; NULL: none. Borrowed for the call
    uint32_t mailbox_limit; // waiting user messages; 0: the system's default
} hark_spawn_options;

// HARK_ON(actor, message) { ... } is the handler of that message. In scope: `ctx`,
// `self` (the actor's struct) and `msg` (the message's struct, constant).
#define HARK_ON(actor, message)                                                        \
    static void actor##_on_##message(hark_ctx *ctx, actor *self, const message *msg);  \
    static void actor##_run_##message(hark_ctx *ctx, void *self, const void *msg)      \
    {                                                                                  \
        actor##_on_##message(ctx, (actor *)self, (const message *)msg);                \
    }                                                                                  \
    static void actor##_on_##message(__attribute__((unused)) hark_ctx *ctx,            \
                                     __attribute__((unused)) actor *self,              \
                                     __attribute__((unused)) const message *msg)

// HARK_HOOK(actor, start) { ... } and HARK_HOOK(actor, stop) { ... }: `ctx` and `self`
// are in scope. Name them in HARK_ACTOR_WITH. An actor's handlers may wait there too.
#define HARK_HOOK(actor, when)                                                         \
    static void actor##_at_##when(hark_ctx *ctx, actor *self);                         \
    static void actor##_hook_##when(hark_ctx *ctx, void *self)                         \
    {                                                                                  \
        actor##_at_##when(ctx, (actor *)self);                                         \
    }                                                                                  \
    static void actor##_at_##when(__attribute__((unused)) hark_ctx *ctx,               \
                                  __attribute__((unused)) actor *self)

#define HARK_PP_CLAUSE(actor, message) {&message##_type, actor##_run_##message},
#define HARK_PP_HOOK(actor, when) HARK_PP_HOOK_##when(actor)
#define HARK_PP_HOOK_start(actor) .start = actor##_hook_start,
#define HARK_PP_HOOK_stop(actor) .stop = actor##_hook_stop,
#define HARK_PP_HOOK_interleave(actor) .wait = HARK_WAIT_INTERLEAVE,
#define HARK_PP_HOOK_chain(actor) .wait = HARK_WAIT_CHAIN,
#define HARK_PP_HOOKS(actor, ...) HARK_PP_EACH(HARK_PP_HOOK, actor, __VA_ARGS__)

// HARK_ACTOR_DECLARE(actor) announces an actor, so that code above its HARK_ACTOR may
// spawn it: its own handlers, say, for a tree of actors of one kind.
#define HARK_ACTOR_DECLARE(actor) HARK_FORWARD_ const hark_behavior actor##_behavior;

// HARK_ACTOR(actor, message, ...) ends an actor's definition: its struct, and a HARK_ON
// for each message named here. Gives the static hark_behavior `actor_behavior`.
#define HARK_ACTOR(actor, ...)                                                         \
    static const hark_clause actor##_clauses_[] = {                                    \
        HARK_PP_EACH(HARK_PP_CLAUSE, actor, __VA_ARGS__)};                             \
    HARK_STATIC_ const hark_behavior actor##_behavior = {                              \
        .name = #actor,                                                                \
        .state_size = sizeof(actor),                                                   \
        .clause_count = sizeof actor##_clauses_ / sizeof actor##_clauses_[0],          \
        .clauses = actor##_clauses_,                                                   \
        .start = NULL,                                                                 \
        .stop = NULL,                                                                  \
    };

// The same with hooks: HARK_ACTOR_WITH(actor, (start, stop), message, ...). In the same
// list, interleave: other messages are handled while a handler of this actor waits; or
// chain: those are that descend from the same request.
#define HARK_ACTOR_WITH(actor, hooks, ...)                                             \
    static const hark_clause actor##_clauses_[] = {                                    \
        HARK_PP_EACH(HARK_PP_CLAUSE, actor, __VA_ARGS__)};                             \
    HARK_STATIC_ const hark_behavior actor##_behavior = {                              \
        .name = #actor,                                                                \
        .state_size = sizeof(actor),                                                   \
        .clause_count = sizeof actor##_clauses_ / sizeof actor##_clauses_[0],          \
        .clauses = actor##_clauses_,                                                   \
        HARK_PP_HOOKS(actor, HARK_PP_UNPAREN hooks)};

// How this handler, hook or continuation waits from now on, instead of its behavior's
// way. HARK_EINVAL: not in an actor, or no such mode. HARK_ENOMEM.
HARK_API hark_err hark_wait_mode(hark_ctx *ctx, hark_wait mode);

// Spawns an actor (any ctx may, in a handler too) whose state starts as a copy of state
// (state_size bytes; NULL: all zero). options may be NULL. Gives its ref in *out_ref.
// HARK_EINVAL: a null argument, or a malformed behavior. HARK_EEXIST: the name is
// taken. HARK_ETYPE: a message type of that name but with other fields is in use.
// HARK_ELIMIT: the system's actor limit. HARK_ESTOPPED: the system stops. HARK_ENOMEM.
// hark_error_of(ctx) tells more.
HARK_CHECKED hark_err hark_spawn_value(hark_ctx *ctx, const hark_behavior *behavior,
                                       const void *state,
                                       const hark_spawn_options *options,
                                       hark_ref *out_ref);

// As above; gives the ref, or a null ref on error.
HARK_API hark_ref hark_spawn_ref(hark_ctx *ctx, const hark_behavior *behavior,
                                 const void *state, const hark_spawn_options *options);
// The same, telling where: site is static, as HARK_HERE, or NULL. hark_backtrace and
// hark_dump show it, and errors of what the start hook asks.
HARK_API hark_ref hark_spawn_at(hark_ctx *ctx, const char *site,
                                const hark_behavior *behavior, const void *state,
                                const hark_spawn_options *options);

// hark_spawn(ctx, actor, .field = value, ...): an actor whose state has these first
// values, all else zero. A null ref on error; hark_error_of(ctx) says why. In C++ give
// the struct's members default values, or g++ warns of those that are left out.
#define hark_spawn(ctx, ...)                                                           \
    hark_spawn_at(ctx, HARK_HERE, HARK_BEHAVIOR_(__VA_ARGS__),                         \
                  HARK_VALUE_(__VA_ARGS__), NULL)

// hark_spawn_with(ctx, options, actor, .field = value, ...), options as
// &(hark_spawn_options){.name = "till"}.
#define hark_spawn_with(ctx, options, ...)                                             \
    hark_spawn_at(ctx, HARK_HERE, HARK_BEHAVIOR_(__VA_ARGS__),                         \
                  HARK_VALUE_(__VA_ARGS__), options)

// The caller's own ref. An attached thread has one too: what is told to it waits for
// hark_receive.
HARK_API hark_ref hark_self(const hark_ctx *ctx);

// Who sent the message in hand; a null ref outside a handler, or if nobody can be
// answered.
HARK_API hark_ref hark_sender(const hark_ctx *ctx);

// The system that ctx belongs to.
HARK_API hark_system *hark_system_of(const hark_ctx *ctx);

// Tells value (a struct of type) to an actor; it is copied. Messages from one sender to
// one receiver arrive in order. An error means that it became a dead letter:
// HARK_EINVAL (a field with a length and a null pointer), HARK_ENOACTOR, HARK_ENONODE,
// HARK_ELIMIT (its mailbox, or the link, is full), HARK_ETOOBIG, HARK_ENOMEM. A null
// argument is HARK_EINVAL too, and no dead letter. HARK_OK does not mean that it was
// handled.
HARK_API hark_err hark_tell_value(hark_ctx *ctx, hark_ref to, const hark_type *type,
                                  const void *value);

// Takes message, also on error. Else as hark_tell_value; the caller is its sender.
// message must come from hark_message_new, hark_message_keep or hark_receive.
HARK_API hark_err hark_send(hark_ctx *ctx, hark_ref to, hark_message *message);

// hark_tell(ctx, to, message, .field = value, ...)
#define hark_tell(ctx, to, ...)                                                        \
    hark_tell_value(ctx, to, HARK_TYPE_(__VA_ARGS__), HARK_VALUE_(__VA_ARGS__))

// Gives the message in hand, so that it outlives its handler: a copy (buffers are
// shared), with its sender. NULL: no message in hand (as in a continuation), or no
// memory.
HARK_CHECKED hark_message *hark_message_keep(hark_ctx *ctx);

// Asks an actor to stop: its current handler ends, its stop hook runs, what waits in
// its mailbox becomes dead letters, and asks there fail with HARK_ESTOPPED. Another's
// stop overtakes waiting messages. HARK_ENOACTOR (it has ended already), HARK_ENOTSUP
// (it is on another node, or an attached thread), HARK_EINVAL, HARK_ENOMEM;
// hark_error_of(ctx) tells more.
HARK_API hark_err hark_actor_stop(hark_ctx *ctx, hark_ref actor);

// Stops the actor in whose handler, hook or continuation this is called, when that
// returns. In an attached thread it does nothing.
HARK_API void hark_exit(hark_ctx *ctx);

// True while the actor lives: it may end right after. On another node: while its link
// is up. A null ref is not alive.
HARK_API bool hark_is_alive(hark_ctx *ctx, hark_ref actor);

// Names actor on this node, until it ends or is unregistered. HARK_EEXIST,
// HARK_ENOACTOR, HARK_EINVAL (empty, over 255 bytes, or with a slash), HARK_ENOMEM.
HARK_CHECKED hark_err hark_register(hark_ctx *ctx, const char *name, hark_ref actor);
// Frees the name, whosever it is. HARK_ENONAME, HARK_EINVAL (no ctx).
HARK_API hark_err hark_unregister(hark_ctx *ctx, const char *name);

// Finds an actor by name: "account" on this node, or "tcp://host:port/account" on
// another (opens the link if there is none; an ipc path ends at its last slash). If that
// node restarts just now, the new one is looked up, while there is time. A null ref on
// error, with the reason in hark_error_of(ctx): HARK_ENONAME, HARK_EENDPOINT,
// HARK_ENONODE, HARK_EPROTO, HARK_ETIMEOUT. A remote name blocks the calling thread for
// up to hark_options.connect_ms and a little more, so only an attached thread may ask
// for one; an actor uses hark_lookup_ask (else HARK_ENOTSUP).
HARK_API hark_ref hark_lookup(hark_ctx *ctx, const char *name);

// A timer that sends a message later. A plain value; all zero names none.
typedef struct hark_timer {
    uint64_t id;
} hark_timer;

// Sends value after delay_ms (at least; the clock ticks in milliseconds, and a delay of
// 100 ms or more may be one tick of the kernel longer, up to 10 ms). Gives a timer for
// hark_timer_cancel; {0} if it could not be set (hark_error_of(ctx): HARK_EINVAL,
// HARK_ETOOBIG, HARK_ENOMEM). It fires even if the caller has ended by then, or the
// request in hand was answered, cancelled or is over: a message has no deadline (a
// cache's entry expires, whoever asked for it). What must end with the request is a
// hark_delay, or a hark_scope_timer. For one that repeats, the handler sets the next.
// hark_stop ends those that are still to come.
HARK_API hark_timer hark_send_after_value(hark_ctx *ctx, uint32_t delay_ms, hark_ref to,
                                          const hark_type *type, const void *value);
// The same, telling where: site is static, as HARK_HERE, or NULL. Errors of what the
// message's handler asks show it.
HARK_API hark_timer hark_send_after_at(hark_ctx *ctx, const char *site,
                                       uint32_t delay_ms, hark_ref to,
                                       const hark_type *type, const void *value);

// hark_send_after(ctx, delay_ms, to, message, .field = value, ...)
#define hark_send_after(ctx, delay_ms, to, ...)                                        \
    hark_send_after_at(ctx, HARK_HERE, delay_ms, to, HARK_TYPE_(__VA_ARGS__),          \
                       HARK_VALUE_(__VA_ARGS__))

// Nanoseconds of the clock that all timers and deadlines of ctx's system go by. It only
// goes forward, from no moment in particular; systems' clocks differ. 0: no ctx.
HARK_API int64_t hark_now_ns(hark_ctx *ctx);

// True: it will not fire. False: it has fired (its message may still wait in the
// mailbox), was cancelled before, or never was. Any ctx of the system may cancel it.
HARK_API bool hark_timer_cancel(hark_ctx *ctx, hark_timer timer);

// Memory that lives until the turn ends, aligned to 16; in an attached thread until it
// detaches or calls hark_receive. NULL: no memory.
HARK_API void *hark_alloc(hark_ctx *ctx, size_t size);
// A string made like printf's, in hark_alloc's memory. The empty string without memory.
HARK_API hark_str hark_format(hark_ctx *ctx, const char *format, ...) HARK_PRINTF(2, 3);

// Writes "account<3f9a.17.4>" (behavior, the node's first digits, slot, generation) and
// a NUL. On another node the behavior is known once its actor was looked up, or soon
// after it was first sent to; "actor" where it is not. Returns the whole length.
HARK_API size_t hark_ref_print(hark_ctx *ctx, hark_ref ref, char *out, size_t size);

HARK_END_DECLS

#endif // HARK_ACTOR_H
