// hark/blocking.h - work that blocks: files, getaddrinfo, a database's client, a long
// computation. It runs on threads beside the workers, and gives a future.
//
// A function that blocks a worker holds up every actor that the worker would have run.
// Here it holds up a thread of an elastic pool: threads start when work comes and none
// is idle, up to a limit, and end when they have been idle for long. Work beyond the
// limit waits, first come first served, up to another limit; then it fails with
// HARK_ELIMIT.
//
// The function reads like a handler: `ctx` is its own, as an attached thread's, and
// with it it may tell, ask, spawn and await; hark_reply gives the result, hark_refuse
// fails. The future is the caller's like that of an ask.

#ifndef HARK_BLOCKING_H
#define HARK_BLOCKING_H

#include <hark/actor.h>
#include <hark/base.h>
#include <hark/future.h>

HARK_BEGIN_DECLS

// Runs once, on a thread that may block. ctx is this work's own: it names nobody
// before, and nobody after. What is to be used by others at the same time needs a lock,
// as between any two threads; the ctx and the state of an actor are never to be used
// here.
typedef void hark_blocking_run(hark_ctx *ctx, void *arg);

// What is to be done. Static data.
typedef struct hark_blocking_work {
    const char *name; // shown in errors
    hark_blocking_run *run;
    // Frees arg, once, when all is over: after run, or if that never runs. On any
    // thread. NULL: nothing to free.
    void (*drop)(void *arg);
} hark_blocking_work;

// An executor: a pool of its own with a name and a cap, so that what is slow there
// takes no thread from anything else (a bulkhead). Opaque; used by any thread.
typedef struct hark_executor hark_executor;

// No work waits: it has a thread at once, or fails.
#define HARK_NO_QUEUE UINT32_MAX

// How an executor is set up. All zero is a good default.
typedef struct hark_executor_options {
    const char *name; // shown in errors, and of its threads, cut at 15 bytes. NULL:
                      // "executor". At most 255 bytes
    uint32_t threads; // at most so many at once; 0: hark_options.blocking_limit
    uint32_t queue;   // work that waits for one, at most; HARK_NO_QUEUE: none; 0:
                      // hark_options.blocking_queue_limit
    uint32_t idle_ms; // after which a thread without work ends; 0:
                      // hark_options.blocking_idle_ms
} hark_executor_options;

// Gives an executor, without threads as yet. It ends with its system, or before that by
// hark_executor_free. options may be NULL. NULL: no memory, a bad name, or the system
// stops.
HARK_CHECKED hark_executor *hark_executor_new(hark_system *system,
                                              const hark_executor_options *options);
// Takes executor: nobody may use it any more. What waits there fails with
// HARK_ESTOPPED; what runs goes on, and its future ends as ever. Does not wait. NULL is
// allowed.
HARK_API void hark_executor_free(hark_executor *executor);

// How work is done. All zero is a good default.
typedef struct hark_blocking_options {
    uint32_t timeout_ms;     // as of an ask. 0: hark_options.ask_timeout_ms, or 5 s.
                             // HARK_FOREVER: no limit
    hark_executor *executor; // where; NULL: the system's own
} hark_blocking_options;

// Has work done with arg, and gives its future, which ends as an ask's does: with what
// the function replied or refused; HARK_ENOREPLY if it returned without either;
// HARK_ETIMEOUT; HARK_ELIMIT at once if the executor is full, or the actor limit has no
// room for the ctx; HARK_ESTOPPED; HARK_ENOMEM (no thread either); HARK_EINVAL (no
// function, or an executor of another system). In the error `target` is null, and the
// stage is "not sent" if it was refused at once, "queued" if the function had not
// begun, else "running". site is static, as HARK_HERE, or NULL; options may be NULL.
// Takes arg, also on error.
//
// If the future ends early (its time is over, it is dropped or cancelled, or the caller
// ends) what still waits is not run any more, and what runs can tell by
// hark_blocking_cancelled; a reply that it gives then is a dead letter. hark_stop waits
// for what runs.
//
// {0} only if there is no memory, the future limit is reached (HARK_ELIMIT in
// hark_error_of), or ctx is NULL.
HARK_CHECKED hark_future hark_blocking_at(hark_ctx *ctx, const char *site,
                                          const hark_blocking_options *options,
                                          const hark_blocking_work *work, void *arg);

// In a function that runs as blocking work: true once nobody waits for its result any
// more, or the system stops; hark_cancelled (hark/cancel.h) says so too. So a long one
// should look now and then, and return. False for any other ctx.
HARK_API bool hark_blocking_cancelled(const hark_ctx *ctx);

// HARK_BLOCKING(name, type) { ... } defines work whose function is the block. In scope:
// `ctx`, and `arg`, a pointer to type.
//
//     HARK_BLOCKING_WITH(read_size, char, free) {
//         struct stat found;
//         if (stat(arg, &found) != 0) {
//             hark_refuse(ctx, HARK_EUSER, "%s: %s", arg, strerror(errno));
//             return;
//         }
//         hark_reply(ctx, size, .bytes = found.st_size);
//     }
//     ...
//     hark_future f = hark_blocking(ctx, read_size, strdup(path));
//     const size *s = hark_await(ctx, f, size);
#define HARK_BLOCKING(name, type) HARK_BLOCKING_WITH(name, type, NULL)

// HARK_BLOCKING_WITH(name, type, drop) { ... }: the same, and drop(arg), such as free,
// is called when all is over, also if the function never ran.
#define HARK_BLOCKING_WITH(name, type, drop_arg)                                       \
    static void name##_blocks_(hark_ctx *ctx, type *arg);                              \
    static void name##_block_(hark_ctx *ctx, void *arg)                                \
    {                                                                                  \
        name##_blocks_(ctx, (type *)arg);                                              \
    }                                                                                  \
    static inline void *name##_arg_(type *arg)                                         \
    {                                                                                  \
        return (void *)arg;                                                            \
    }                                                                                  \
    static const hark_blocking_work name##_work = {#name, name##_block_, drop_arg};    \
    static void name##_blocks_(__attribute__((unused)) hark_ctx *ctx,                  \
                               __attribute__((unused)) type *arg)

// hark_blocking(ctx, name, arg): has HARK_BLOCKING(name, type) done with arg, a type *.
#define hark_blocking(ctx, name, arg)                                                  \
    hark_blocking_at(ctx, HARK_HERE, NULL, &name##_work, name##_arg_(arg))
// hark_blocking_with(ctx, options, name, arg), options as
// &(hark_blocking_options){.executor = disk}.
#define hark_blocking_with(ctx, options, name, arg)                                    \
    hark_blocking_at(ctx, HARK_HERE, options, &name##_work, name##_arg_(arg))
// hark_blocking_on(ctx, executor, name, arg)
#define hark_blocking_on(ctx, where, name, arg)                                        \
    hark_blocking_at(ctx, HARK_HERE,                                                   \
                     (const hark_blocking_options *)HARK_VALUE_(                       \
                         hark_blocking_options, .timeout_ms = 0, .executor = where),   \
                     &name##_work, name##_arg_(arg))

HARK_END_DECLS

#endif // HARK_BLOCKING_H
