// hark/async.h - futures made of futures: steps, many at once, time, and one's own.
//
// Each function that gives a future takes futures of the same ctx, which are the new
// one's from then on: a combinator keeps what it was made of, and closes what is still
// open of it as soon as it is no longer needed, or when the new one is dropped itself.
// What is closed is stale. So only the last future of a chain is in hand, and dropping
// it drops the chain. It belongs to the turn that made it, as every future: continue it
// (hark_then), combine it, keep it (hark_future_keep) or, in a thread, await it.
//
// {0} means that there is no new future, with the reason in hark_error_of(ctx):
// HARK_EINVAL (a null argument), HARK_ESTALE (a future has ended, is continued already,
// or is not of ctx), HARK_ELIMIT (the future limit), HARK_ENOMEM. Given {0} they give
// {0}, and the reason stays: a whole chain needs one check.
//
// A function name_at is told where it was called: site is static, as HARK_HERE, or
// NULL, and shown in errors. The macro name does so itself.
//
// The functions that a combinator runs (callbacks) get no `self`: they run as soon as
// their input has ended, as part of the owner's turn (in an attached thread within its
// calls of hark_await and hark_receive), also while a handler of the actor waits. They
// never run in another thread or inside the call that made the future, except that a
// job is started there. They must not wait: hark_await and hark_receive are
// HARK_ENOTSUP in them. What they need is in arg; its destructor (drop) is called once,
// when the future they work for has ended or is closed, also if the owner ends before.

#ifndef HARK_ASYNC_H
#define HARK_ASYNC_H

#include <hark/base.h>
#include <hark/future.h>
#include <hark/message.h>

HARK_BEGIN_DECLS

// ---- one's own futures ----

// Gives an open future that its owner completes itself, with hark_future_complete or
// hark_future_fail. It has no timeout: hark_timeout gives it one.
HARK_CHECKED hark_future hark_future_new_at(hark_ctx *ctx, const char *site);
#define hark_future_new(ctx) hark_future_new_at(ctx, HARK_HERE)

// Gives a future that has succeeded already: value (a struct of type) is copied.
HARK_CHECKED hark_future hark_future_of_value(hark_ctx *ctx, const hark_type *type,
                                              const void *value);
// hark_future_of(ctx, message, .field = value, ...)
#define hark_future_of(ctx, ...)                                                       \
    hark_future_of_value(ctx, HARK_TYPE_(__VA_ARGS__), HARK_VALUE_(__VA_ARGS__))

// Gives a future that has failed already, with code (over 0; an application's own start
// at HARK_EUSER) and the text (cut at 1,000 bytes).
HARK_CHECKED hark_future hark_future_failed_at(hark_ctx *ctx, const char *site,
                                               int code, const char *format, ...)
    HARK_PRINTF(4, 5);
// hark_future_failed(ctx, code, format, ...)
#define hark_future_failed(ctx, code, ...)                                             \
    hark_future_failed_at(ctx, HARK_HERE, code, __VA_ARGS__)

// Completes a future of hark_future_new: value is copied. Who waits for it hears of it
// at the end of the turn (a thread: in its next wait), not inside this call.
// HARK_ESTALE: it has ended, or is not such a future of ctx. HARK_EINVAL, HARK_ETOOBIG,
// HARK_ENOMEM: as hark_tell_value; it is still open.
HARK_API hark_err hark_future_complete_value(hark_ctx *ctx, hark_future future,
                                             const hark_type *type, const void *value);
// hark_future_complete(ctx, future, message, .field = value, ...)
#define hark_future_complete(ctx, future, ...)                                         \
    hark_future_complete_value(ctx, future, HARK_TYPE_(__VA_ARGS__),                   \
                               HARK_VALUE_(__VA_ARGS__))
// Fails it likewise, as hark_refuse does. HARK_ESTALE, HARK_EINVAL.
HARK_API hark_err hark_future_fail(hark_ctx *ctx, hark_future future, int code,
                                   const char *format, ...) HARK_PRINTF(4, 5);

// Why a future failed; NULL if it has succeeded or is still open. HARK_ESTALE for one
// that is not (or no longer) of ctx. Borrowed as hark_error_of(ctx), which it is then.
HARK_API const hark_error *hark_future_error(hark_ctx *ctx, hark_future future);

// The future at that place of a hark_all, hark_all_settled or hark_map_each: for
// hark_future_get and hark_future_error. It belongs to that one, and must be neither
// continued nor dropped. {0}: there is none, or none yet.
HARK_API hark_future hark_future_member(hark_ctx *ctx, hark_future future,
                                        size_t index);

// ---- what a callback gives ----

// A callback gives its result by one of these, once. A second one, or one that is not
// in a callback, is HARK_ENOASK.

// A reply: value is copied. HARK_EINVAL, HARK_ETOOBIG, HARK_ENOMEM: as hark_tell_value;
// the future fails with that.
HARK_API hark_err hark_result_value(hark_ctx *ctx, const hark_type *type,
                                    const void *value);
// hark_result(ctx, message, .field = value, ...)
#define hark_result(ctx, ...)                                                          \
    hark_result_value(ctx, HARK_TYPE_(__VA_ARGS__), HARK_VALUE_(__VA_ARGS__))
// However that future will end. Takes it. HARK_ESTALE: the callback fails with that, or
// with why there is no such future if it is {0}. One that waits for the result itself
// never ends.
HARK_API hark_err hark_result_future(hark_ctx *ctx, hark_future future);
// A failure, as of hark_refuse. HARK_EINVAL.
HARK_API hark_err hark_fail_with(hark_ctx *ctx, int code, const char *format, ...)
    HARK_PRINTF(3, 4);

// ---- steps: from one future to the next ----

// What one step does with the end of its input. At least one of the functions is there.
typedef struct hark_step {
    const hark_type *type; // on_reply's reply; another one fails with HARK_ETYPE. NULL:
                           // of whatever type
    // NULL: a reply goes on as it is.
    void (*on_reply)(hark_ctx *ctx, const void *reply, void *arg);
    // NULL: an error goes on as it is.
    void (*on_error)(hark_ctx *ctx, const hark_error *error, void *arg);
    void (*drop)(void *arg); // see above; NULL: nothing
    // The end of the input goes on as it is, after a future that was given has ended,
    // if any, unless the function or that future fails. A reply given is for nothing.
    bool only_looks;
} hark_step;

// Gives the future of what the step makes of future. Takes future and arg, also on
// error. A function that gives no result: after a reply HARK_ENOREPLY; after an error
// that error goes on. The reply and the error are borrowed until the function returns.
HARK_CHECKED hark_future hark_step_at(hark_ctx *ctx, const char *site,
                                      hark_future future, const hark_step *step,
                                      void *arg);

// HARK_MAP(name, reply) { ... }: another reply from a reply, or a failure, or the
// future to go on with. In scope: `ctx`, `msg` (the reply) and `arg`. An error of the
// input goes on as it is.
//
//     HARK_MAP(add_tax, price) {
//         hark_result(ctx, price, .cents = msg->cents * 6 / 5);
//     }
//     ...
//     hark_future f = hark_map(ctx, hark_ask(ctx, shop, get_price), add_tax, NULL);
#define HARK_MAP(name, reply) HARK_MAP_WITH(name, reply, NULL)
// HARK_MAP_WITH(name, reply, drop): the same, with arg's destructor, such as free.
#define HARK_MAP_WITH(name, reply, drop_arg)                                           \
    HARK_STEP_ON_REPLY_(name##_map, reply, drop_arg, false)
// hark_map(ctx, future, name, arg)
#define hark_map(ctx, future, name, ...)                                               \
    hark_step_at(ctx, HARK_HERE, future, &name##_map, __VA_ARGS__)

// HARK_RECOVER(name) { ... }: a reply, another failure or a future from an error. In
// scope: `ctx`, `error` and `arg`. A reply goes on as it is; so does the error if the
// function gives nothing.
#define HARK_RECOVER(name) HARK_RECOVER_WITH(name, NULL)
// HARK_RECOVER_WITH(name, drop): the same, with arg's destructor.
#define HARK_RECOVER_WITH(name, drop_arg)                                              \
    static void name##_on_recover(hark_ctx *ctx, const hark_error *error, void *arg);  \
    static const hark_step name##_recover = {                                          \
        .type = NULL,                                                                  \
        .on_reply = NULL,                                                              \
        .on_error = name##_on_recover,                                                 \
        .drop = drop_arg,                                                              \
        .only_looks = false,                                                           \
    };                                                                                 \
    static void name##_on_recover(__attribute__((unused)) hark_ctx *ctx,               \
                                  __attribute__((unused)) const hark_error *error,     \
                                  __attribute__((unused)) void *arg)
// hark_recover(ctx, future, name, arg)
#define hark_recover(ctx, future, name, ...)                                           \
    hark_step_at(ctx, HARK_HERE, future, &name##_recover, __VA_ARGS__)

// HARK_TAP(name, reply) { ... }: looks at a reply, which goes on as it is, unless the
// function (or the future that it gives) fails. In scope as in HARK_MAP. An error goes
// on.
#define HARK_TAP(name, reply) HARK_TAP_WITH(name, reply, NULL)
// HARK_TAP_WITH(name, reply, drop): the same, with arg's destructor.
#define HARK_TAP_WITH(name, reply, drop_arg)                                           \
    HARK_STEP_ON_REPLY_(name##_tap, reply, drop_arg, true)
// hark_tap(ctx, future, name, arg)
#define hark_tap(ctx, future, name, ...)                                               \
    hark_step_at(ctx, HARK_HERE, future, &name##_tap, __VA_ARGS__)

// HARK_FINALLY(name) { ... }: runs whichever way the input ended, and that goes on as
// it is, unless the function (or the future that it gives) fails. In scope: `ctx`,
// `error` (NULL: it succeeded) and `arg`. Not run if the future is dropped or its owner
// ends before: what must be done even then is for the destructor.
#define HARK_FINALLY(name) HARK_FINALLY_WITH(name, NULL)
// HARK_FINALLY_WITH(name, drop): the same, with arg's destructor.
#define HARK_FINALLY_WITH(name, drop_arg)                                              \
    static void name##_at_end(hark_ctx *ctx, const hark_error *error, void *arg);      \
    static void name##_after_reply(hark_ctx *ctx, const void *reply, void *arg)        \
    {                                                                                  \
        (void)reply;                                                                   \
        name##_at_end(ctx, NULL, arg);                                                 \
    }                                                                                  \
    static const hark_step name##_finally = {                                          \
        .type = NULL,                                                                  \
        .on_reply = name##_after_reply,                                                \
        .on_error = name##_at_end,                                                     \
        .drop = drop_arg,                                                              \
        .only_looks = true,                                                            \
    };                                                                                 \
    static void name##_at_end(__attribute__((unused)) hark_ctx *ctx,                   \
                              __attribute__((unused)) const hark_error *error,         \
                              __attribute__((unused)) void *arg)
// hark_finally(ctx, future, name, arg)
#define hark_finally(ctx, future, name, ...)                                           \
    hark_step_at(ctx, HARK_HERE, future, &name##_finally, __VA_ARGS__)

// HARK_MAP and HARK_TAP.
#define HARK_STEP_ON_REPLY_(step, reply, drop_arg, looks)                              \
    static void step##_on(hark_ctx *ctx, const reply *msg, void *arg);                 \
    static void step##_run(hark_ctx *ctx, const void *msg, void *arg)                  \
    {                                                                                  \
        step##_on(ctx, (const reply *)msg, arg);                                       \
    }                                                                                  \
    static const hark_step step = {                                                    \
        .type = &reply##_type,                                                         \
        .on_reply = step##_run,                                                        \
        .on_error = NULL,                                                              \
        .drop = drop_arg,                                                              \
        .only_looks = looks,                                                           \
    };                                                                                 \
    static void step##_on(__attribute__((unused)) hark_ctx *ctx,                       \
                          __attribute__((unused)) const reply *msg,                    \
                          __attribute__((unused)) void *arg)

// Ends as future does, and has another one, held, meanwhile: one that asks for what
// somebody gives as long as it is asked for, such as a permit. If held ends first, it
// ends as that has. held is closed with it; or, with keep, goes on after a success:
// then it belongs to the reply and is closed if that is let go of before anybody has
// got it (by an await, hark_future_get, a continuation or a HARK_MAP). Whoever got it
// drops held. Takes both, also on error. HARK_EINVAL too: both are the same.
HARK_CHECKED hark_future hark_holding_at(hark_ctx *ctx, const char *site,
                                         hark_future future, hark_future held,
                                         bool keep);
#define hark_holding(ctx, future, held, keep)                                          \
    hark_holding_at(ctx, HARK_HERE, future, held, keep)

// ---- many at once ----

// How a hark_all is done. All zero is a good default.
typedef struct hark_all_options {
    bool keep_going; // a failure leaves the others open; false: it closes them
} hark_all_options;

// hark_all with options (NULL: the defaults, as hark_all).
HARK_CHECKED hark_future hark_all_with(hark_ctx *ctx, const hark_future *futures,
                                       size_t count, const hark_all_options *options);

// Succeeds when all have ended, whichever way; hark_all_done's count says how many
// succeeded. Keeps them as hark_all does, for hark_future_get and hark_future_error.
// One that is dropped counts as failed. On error all are as before.
HARK_CHECKED hark_future hark_all_settled(hark_ctx *ctx, const hark_future *futures,
                                          size_t count);

// Succeeds as the first that succeeds, with its reply, and closes the others. When all
// have failed (or count is 0: HARK_EINVAL) it fails with the code of the last one, and
// a text that says how many there were and names the first errors. One that is named
// twice counts once. On error all are as before.
HARK_CHECKED hark_future hark_any_at(hark_ctx *ctx, const char *site,
                                     const hark_future *futures, size_t count);
// hark_any(ctx, futures, count)
#define hark_any(ctx, ...) hark_any_at(ctx, HARK_HERE, __VA_ARGS__)

// Ends as the first that ends, either way, and closes the others. count 0 fails with
// HARK_EINVAL. On error all are as before.
HARK_CHECKED hark_future hark_race_at(hark_ctx *ctx, const char *site,
                                      const hark_future *futures, size_t count);
// hark_race(ctx, futures, count)
#define hark_race(ctx, ...) hark_race_at(ctx, HARK_HERE, __VA_ARGS__)

// ---- time ----

// No value: what a delay gives.
HARK_MESSAGE(hark_unit)

// Succeeds with a hark_unit after ms milliseconds at least, counted from the end of the
// turn (in a thread: from now). HARK_FOREVER: never. For a request's sake it ends with
// that (hark/cancel.h): HARK_ECANCELLED, HARK_ETIMEOUT.
HARK_CHECKED hark_future hark_delay_at(hark_ctx *ctx, const char *site, uint32_t ms);
#define hark_delay(ctx, ms) hark_delay_at(ctx, HARK_HERE, ms)

// Ends as future does, but fails with HARK_ETIMEOUT and closes it if that takes more
// than ms milliseconds (0: if it has not ended yet). Takes future, also on error.
HARK_CHECKED hark_future hark_timeout_at(hark_ctx *ctx, const char *site,
                                         hark_future future, uint32_t ms);
#define hark_timeout(ctx, future, ms) hark_timeout_at(ctx, HARK_HERE, future, ms)

// Work that can be started more than once: run gives a future (hark_result_future), or
// a reply or failure at once. Nothing given is HARK_ENOREPLY.
typedef struct hark_job {
    void (*run)(hark_ctx *ctx, size_t index, void *arg);
    void (*drop)(void *arg); // see above; NULL: nothing
} hark_job;

// HARK_JOB(name) { ... }; in scope: `ctx`, `index` (from 0: which attempt, which input)
// and `arg`.
//
//     HARK_JOB(get_price) {
//         hark_result_future(ctx, hark_ask(ctx, *(hark_ref *)arg, price_of, .n = 7));
//     }
//     ...
//     hark_future f = hark_retry(ctx, get_price, &self->shop, NULL);
#define HARK_JOB(name) HARK_JOB_WITH(name, NULL)
// HARK_JOB_WITH(name, drop): the same, with arg's destructor, such as free.
#define HARK_JOB_WITH(name, drop_arg)                                                  \
    static void name##_on_start(hark_ctx *ctx, size_t index, void *arg);               \
    static const hark_job name##_job = {                                               \
        .run = name##_on_start,                                                        \
        .drop = drop_arg,                                                              \
    };                                                                                 \
    static void name##_on_start(__attribute__((unused)) hark_ctx *ctx,                 \
                                __attribute__((unused)) size_t index,                  \
                                __attribute__((unused)) void *arg)

// No jitter at all.
#define HARK_JITTER_NONE UINT32_MAX

// How often and how fast a job is tried. All zero is a good default.
typedef struct hark_retry_options {
    uint32_t attempts;       // at most; 0: 3. HARK_FOREVER: no limit
    uint32_t delay_ms;       // before the second attempt; 0: 100
    double factor;           // each later delay is so many times longer; 0: 2
    uint32_t max_delay_ms;   // no delay is longer; 0: 10 s
    uint32_t jitter_percent; // up to so much of a delay is left out, at random; 0: 50
    uint32_t budget_ms;      // for all of it; 0: no limit
    // May that be tried again? NULL: hark_is_retryable. arg is the job's.
    bool (*is_retryable)(const hark_error *error, void *arg);
} hark_retry_options;

// True for what may well be gone next time: HARK_ETIMEOUT, HARK_ENONODE, HARK_ELIMIT,
// HARK_ENOMEM. The first two may mean that the work was done and only the answer lost:
// retry what may be done twice. arg is not used. Any thread.
HARK_API bool hark_is_retryable(const hark_error *error, void *arg);

// Succeeds as the first attempt that does. Starts the first one within the call, each
// next one after a delay. Fails with the error of the last attempt, if that is not
// retryable or was the last allowed; with HARK_ETIMEOUT if the budget ends first, whose
// text tells the last error: an attempt in flight is closed then. Takes arg, also on
// error. HARK_EINVAL too: factor under 1, jitter over 100.
HARK_CHECKED hark_future hark_retry_at(hark_ctx *ctx, const char *site,
                                       const hark_job *job, void *arg,
                                       const hark_retry_options *options);
// hark_retry(ctx, name, arg, options): retries HARK_JOB(name). options may be NULL.
#define hark_retry(ctx, name, arg, ...)                                                \
    hark_retry_at(ctx, HARK_HERE, &name##_job, arg, __VA_ARGS__)

// How a hedge is done. All zero is a good default.
typedef struct hark_hedge_options {
    uint32_t attempts; // at most, side by side; 0: 2. At most 16
    uint32_t delay_ms; // before each next one is started too; 0: 100
} hark_hedge_options;

// Starts the job, and again after a delay if it has not ended by then, or as soon as it
// has failed. Succeeds as the first that does, and closes the others; fails with the
// last error when all have failed. For what may be done twice. Takes arg, also on
// error.
HARK_CHECKED hark_future hark_hedge_at(hark_ctx *ctx, const char *site,
                                       const hark_job *job, void *arg,
                                       const hark_hedge_options *options);
// hark_hedge(ctx, name, arg, options): hedges HARK_JOB(name). options may be NULL.
#define hark_hedge(ctx, name, arg, ...)                                                \
    hark_hedge_at(ctx, HARK_HERE, &name##_job, arg, __VA_ARGS__)

// ---- many inputs, few at a time ----

// How many at a time. All zero is a good default.
typedef struct hark_each_options {
    uint32_t at_most; // in flight; 0: 16
    bool keep_going;  // a failure is counted only; false: it ends all
} hark_each_options;

// The answer of hark_for_each and hark_map_each.
HARK_MESSAGE(hark_each_done, (u64, count), (u64, failed))

// Starts the job for each index from 0 to count - 1, in that order, with at_most in
// flight at once; the first ones within the call. Succeeds when all have ended. Unless
// keep_going, the first failure ends it with that error, closes those in flight and
// starts no more. Replies are let go of at once. Takes arg, also on error.
HARK_CHECKED hark_future hark_for_each_at(hark_ctx *ctx, const char *site, size_t count,
                                          const hark_job *job, void *arg,
                                          const hark_each_options *options);
// hark_for_each(ctx, count, name, arg, options): HARK_JOB(name) for each.
#define hark_for_each(ctx, count, name, arg, ...)                                      \
    hark_for_each_at(ctx, HARK_HERE, count, &name##_job, arg, __VA_ARGS__)

// The same, and keeps each end until it is dropped itself, in the order of the inputs:
// hark_future_member(ctx, future, index) gives it. Each counts against the future
// limit.
HARK_CHECKED hark_future hark_map_each_at(hark_ctx *ctx, const char *site, size_t count,
                                          const hark_job *job, void *arg,
                                          const hark_each_options *options);
// hark_map_each(ctx, count, name, arg, options)
#define hark_map_each(ctx, count, name, arg, ...)                                      \
    hark_map_each_at(ctx, HARK_HERE, count, &name##_job, arg, __VA_ARGS__)

HARK_END_DECLS

#endif // HARK_ASYNC_H
