// What hark/async.h offers: arguments checked, errors told; the rest is src/future/.

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "actor/ctx.h"
#include "future/combine.h"
#include "message/failure.h"

enum {
    FAILURE_TEXT = 1001,
    DEFAULT_ATTEMPTS = 3,
    DEFAULT_DELAY_MS = 100,
    DEFAULT_MAX_DELAY_MS = 10 * 1000,
    DEFAULT_JITTER_PERCENT = 50,
    DEFAULT_HEDGE_ATTEMPTS = 2,
    MOST_HEDGE_ATTEMPTS = 16,
    DEFAULT_AT_MOST = 16,
};

static const hark_future no_future = {0, 0};

// ---- errors ----

static hark_future
refuse(hark_ctx *ctx, int code, const char *call, const char *why)
{
    hark__ctx_error(ctx, code, "%s: %s", call, why);
    return no_future;
}

static hark_future
refuse_null(hark_ctx *ctx, const char *call)
{
    return refuse(ctx, HARK_EINVAL, call, "null argument");
}

// Why nothing was opened. What opens two has let go of the first one again.
static hark_future
refuse_full(hark_ctx *ctx, const char *call)
{
    const struct futures *futures = ctx_futures(ctx);

    return futures != NULL && futures->open_count + 1 >= futures->limit
               ? refuse(ctx, HARK_ELIMIT, call, "too many open futures")
               : refuse(ctx, HARK_ENOMEM, call, "no memory");
}

// NULL: it is not free to be an input. Without a future at all, why there is none is
// known already.
static struct future *
find_free(hark_ctx *ctx, hark_future name, const char *call)
{
    struct future *future = hark__own_find(ctx, name);

    if (future != NULL && future->waiter == NULL) {
        return future;
    }
    if (name.id != 0 || hark_error_of(ctx)->code == HARK_OK) {
        refuse(ctx, HARK_ESTALE, call,
               "the future has ended, is continued already, or is not of this actor or "
               "thread");
    }
    return NULL;
}

static hark_future
give(hark_ctx *ctx, struct future *future, const char *site)
{
    if (future->site == NULL) {
        future->site = site;
    }
    return hark__own_name(ctx, future);
}

// An input that was taken for nothing.
static void
close_input(hark_ctx *ctx, struct future *future)
{
    hark__future_close(ctx_futures(ctx), ctx_pool(ctx), ctx, future);
}

// ---- one's own futures ----

static struct future *
open_own(hark_ctx *ctx, const char *site, const char *call)
{
    struct futures *futures = hark__own_futures(ctx);
    struct future *future =
        futures != NULL ? hark__future_open(futures, ctx_pool(ctx), HARK_FOREVER)
                        : NULL;

    if (future == NULL) {
        refuse_full(ctx, call);
        return NULL;
    }
    future->site = site;
    future->computed = &hark__self_made;
    return future;
}

hark_future
hark_future_new_at(hark_ctx *ctx, const char *site)
{
    struct future *future = ctx != NULL ? open_own(ctx, site, "hark_future_new") : NULL;

    return future != NULL ? hark__own_name(ctx, future) : no_future;
}

static void
settle(hark_ctx *ctx, struct future *future, struct hark_message *message, int code)
{
    hark__future_settle(ctx_futures(ctx), future, message, code, HARK_STAGE_RUNNING, 0);
}

// Gives a reply; NULL: hark_error_of says why.
static struct hark_message *
new_reply(hark_ctx *ctx, const hark_type *type, const void *value, const char *call)
{
    if (type == NULL || value == NULL) {
        refuse_null(ctx, call);
        return NULL;
    }
    struct hark_message *reply = hark__message_new(ctx_pool(ctx), type, value);
    if (reply == NULL) {
        hark__ctx_error_value(ctx, call, type, value);
        return NULL;
    }
    reply->kind = MESSAGE_REPLY;
    return reply;
}

// NULL: no memory; then the code alone must do.
static HARK_PRINTF(3, 0) struct hark_message *new_failure(hark_ctx *ctx, int code,
                                                          const char *format,
                                                          va_list args)
{
    char text[FAILURE_TEXT];

    vsnprintf(text, sizeof text, format, args);
    return hark__failure_new(ctx_pool(ctx), 0, code, HARK_STAGE_RUNNING, text,
                             strlen(text));
}

hark_future
hark_future_of_value(hark_ctx *ctx, const hark_type *type, const void *value)
{
    struct hark_message *reply =
        ctx != NULL ? new_reply(ctx, type, value, "hark_future_of") : NULL;

    if (reply == NULL) {
        return no_future;
    }
    struct future *future = open_own(ctx, NULL, "hark_future_of");
    if (future == NULL) {
        hark__message_free(ctx_pool(ctx), reply);
        return no_future;
    }
    settle(ctx, future, reply, HARK_OK);
    return hark__own_name(ctx, future);
}

hark_future
hark_future_failed_at(hark_ctx *ctx, const char *site, int code, const char *format,
                      ...)
{
    va_list args;

    if (ctx == NULL || code <= 0 || format == NULL) {
        return refuse(ctx, HARK_EINVAL, "hark_future_failed",
                      "null argument, or a code that is no error");
    }
    struct future *future = open_own(ctx, site, "hark_future_failed");
    if (future == NULL) {
        return no_future;
    }
    va_start(args, format);
    settle(ctx, future, new_failure(ctx, code, format, args), code);
    va_end(args);
    return hark__own_name(ctx, future);
}

// NULL: it is none that its owner may complete.
static struct future *
find_own(hark_ctx *ctx, hark_future name, const char *call)
{
    struct future *future = hark__own_find(ctx, name);

    if (future != NULL && future->computed == &hark__self_made
        && future->state == FUTURE_OPEN) {
        return future;
    }
    refuse(ctx, HARK_ESTALE, call, "the future has ended, or is not made by its owner");
    return NULL;
}

hark_err
hark_future_complete_value(hark_ctx *ctx, hark_future name, const hark_type *type,
                           const void *value)
{
    struct future *future = find_own(ctx, name, "hark_future_complete");

    if (future == NULL) {
        return HARK_ESTALE;
    }
    struct hark_message *reply = new_reply(ctx, type, value, "hark_future_complete");
    if (reply == NULL) {
        return (hark_err)hark_error_of(ctx)->code;
    }
    settle(ctx, future, reply, HARK_OK);
    return HARK_OK;
}

hark_err
hark_future_fail(hark_ctx *ctx, hark_future name, int code, const char *format, ...)
{
    va_list args;

    if (ctx == NULL || code <= 0 || format == NULL) {
        return hark__ctx_error(ctx, HARK_EINVAL,
                               "hark_future_fail: null argument, or a code that is no "
                               "error");
    }
    struct future *future = find_own(ctx, name, "hark_future_fail");
    if (future == NULL) {
        return HARK_ESTALE;
    }
    va_start(args, format);
    settle(ctx, future, new_failure(ctx, code, format, args), code);
    va_end(args);
    return HARK_OK;
}

const hark_error *
hark_future_error(hark_ctx *ctx, hark_future name)
{
    struct future *future = hark__own_find(ctx, name);

    if (future == NULL) {
        refuse(ctx, HARK_ESTALE, "hark_future_error",
               "the future has ended, or is not of this actor or thread");
        return hark_error_of(ctx);
    }
    future->looked_at = true;
    if (future->state == FUTURE_OPEN || future->code == HARK_OK) {
        return NULL;
    }
    hark__ctx_error_of(ctx, ctx_futures(ctx), future);
    return hark_error_of(ctx);
}

hark_future
hark_future_member(hark_ctx *ctx, hark_future name, size_t index)
{
    const struct future *future = hark__own_find(ctx, name);
    const struct computed *computed = future != NULL ? future->computed : NULL;

    if (computed == NULL || computed->ops == NULL || computed->ops->member == NULL) {
        return no_future;
    }
    const struct future *member =
        hark__future_find(ctx_futures(ctx), computed->ops->member(computed, index));
    return member != NULL ? (hark_future){ctx->self.actor, member->id} : no_future;
}

// ---- what a callback gives ----

// NULL: none runs that has given nothing yet.
static struct outcome *
outcome_of(hark_ctx *ctx, const char *call)
{
    const struct futures *futures = ctx != NULL ? ctx_futures(ctx) : NULL;
    struct outcome *outcome = futures != NULL ? futures->outcome : NULL;

    if (outcome != NULL && outcome->kind == OUTCOME_NONE) {
        return outcome;
    }
    refuse(ctx, HARK_ENOASK, call,
           outcome == NULL ? "no callback runs" : "the callback has given a result");
    return NULL;
}

static HARK_PRINTF(4, 5) void fail_outcome(hark_ctx *ctx, struct outcome *outcome,
                                           int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    outcome->kind = OUTCOME_FAILURE;
    outcome->code = code;
    outcome->message = new_failure(ctx, code, format, args);
    va_end(args);
}

hark_err
hark_result_value(hark_ctx *ctx, const hark_type *type, const void *value)
{
    struct outcome *outcome = outcome_of(ctx, "hark_result");

    if (outcome == NULL) {
        return HARK_ENOASK;
    }
    struct hark_message *reply = new_reply(ctx, type, value, "hark_result");
    if (reply == NULL) {
        int code = hark_error_of(ctx)->code;

        fail_outcome(ctx, outcome, code, "%s", hark_error_of(ctx)->text);
        return (hark_err)code;
    }
    outcome->kind = OUTCOME_REPLY;
    outcome->message = reply;
    return HARK_OK;
}

hark_err
hark_result_future(hark_ctx *ctx, hark_future name)
{
    struct outcome *outcome = outcome_of(ctx, "hark_result_future");

    if (outcome == NULL) {
        return HARK_ENOASK;
    }
    struct future *future = find_free(ctx, name, "hark_result_future");
    if (future == NULL || future == outcome->computed->future) {
        int code = future == NULL ? hark_error_of(ctx)->code : HARK_ESTALE;

        fail_outcome(ctx, outcome, code, "%s",
                     future == NULL ? hark_error_of(ctx)->text
                                    : "a future cannot wait for itself");
        return (hark_err)code;
    }
    outcome->kind = OUTCOME_FUTURE;
    hark__computed_watch(outcome->computed, outcome->input, future);
    return HARK_OK;
}

hark_err
hark_fail_with(hark_ctx *ctx, int code, const char *format, ...)
{
    va_list args;

    if (ctx == NULL || code <= 0 || format == NULL) {
        return hark__ctx_error(
            ctx, HARK_EINVAL,
            "hark_fail_with: null argument, or a code that is no error");
    }
    struct outcome *outcome = outcome_of(ctx, "hark_fail_with");
    if (outcome == NULL) {
        return HARK_ENOASK;
    }
    va_start(args, format);
    outcome->kind = OUTCOME_FAILURE;
    outcome->code = code;
    outcome->message = new_failure(ctx, code, format, args);
    va_end(args);
    return HARK_OK;
}

// ---- steps ----

static hark_future
drop_step(const hark_step *step, void *arg)
{
    if (step != NULL && step->drop != NULL) {
        step->drop(arg);
    }
    return no_future;
}

hark_future
hark_step_at(hark_ctx *ctx, const char *site, hark_future name, const hark_step *step,
             void *arg)
{
    if (ctx == NULL || step == NULL
        || (step->on_reply == NULL && step->on_error == NULL)) {
        refuse_null(ctx, "hark_step");
        hark_future_drop(ctx, name);
        return drop_step(step, arg);
    }
    struct future *input = find_free(ctx, name, "hark_step");
    if (input == NULL) {
        return drop_step(step, arg);
    }
    struct future *future =
        hark__step_open(ctx_futures(ctx), ctx_pool(ctx), input, step, arg);
    if (future == NULL) {
        refuse_full(ctx, "hark_step");
        close_input(ctx, input);
        return drop_step(step, arg);
    }
    return give(ctx, future, site);
}

// ---- many at once ----

// NULL: they are not all of ctx.
static struct futures *
find_all(hark_ctx *ctx, const hark_future *futures, size_t count, const char *call)
{
    if (ctx == NULL || (futures == NULL && count > 0)) {
        refuse_null(ctx, call);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (hark__own_find(ctx, futures[i]) != NULL) {
            continue;
        }
        if (!hark__ctx_error_tells(ctx, futures[i].id)) {
            hark__ctx_error(
                ctx, HARK_ESTALE,
                "%s: future %zu has ended, or is not of this actor or thread", call, i);
        }
        return NULL;
    }
    struct futures *table = hark__own_futures(ctx);
    if (table == NULL) {
        refuse_full(ctx, call);
    }
    return table;
}

static hark_future
open_all(hark_ctx *ctx, const hark_future *futures, size_t count, enum all_mode mode,
         const char *call)
{
    struct futures *table = find_all(ctx, futures, count, call);
    struct future *future = NULL;

    if (table == NULL) {
        return no_future;
    }
    hark_err err = hark__all_open(table, ctx_pool(ctx), futures, count, mode, &future);
    return err == HARK_OK ? hark__own_name(ctx, future)
                          : refuse(ctx, err, call, hark_err_text(err));
}

hark_future
hark_all(hark_ctx *ctx, const hark_future *futures, size_t count)
{
    return open_all(ctx, futures, count, ALL_CANCEL, "hark_all");
}

hark_future
hark_all_with(hark_ctx *ctx, const hark_future *futures, size_t count,
              const hark_all_options *options)
{
    bool keep_going = options != NULL && options->keep_going;

    return open_all(ctx, futures, count, keep_going ? ALL_GO_ON : ALL_CANCEL,
                    "hark_all_with");
}

hark_future
hark_all_settled(hark_ctx *ctx, const hark_future *futures, size_t count)
{
    return open_all(ctx, futures, count, ALL_SETTLED, "hark_all_settled");
}

static hark_future
open_first(hark_ctx *ctx, const char *site, const hark_future *futures, size_t count,
           enum first_mode mode, const char *call)
{
    struct futures *table = find_all(ctx, futures, count, call);
    struct future *future = NULL;

    if (table == NULL) {
        return no_future;
    }
    hark_err err = hark__first_open(table, ctx, futures, count, mode, &future);
    return err == HARK_OK ? give(ctx, future, site)
                          : refuse(ctx, err, call, hark_err_text(err));
}

hark_future
hark_any_at(hark_ctx *ctx, const char *site, const hark_future *futures, size_t count)
{
    return open_first(ctx, site, futures, count, FIRST_SUCCESS, "hark_any");
}

hark_future
hark_race_at(hark_ctx *ctx, const char *site, const hark_future *futures, size_t count)
{
    return open_first(ctx, site, futures, count, FIRST_END, "hark_race");
}

// ---- time ----

hark_future
hark_delay_at(hark_ctx *ctx, const char *site, uint32_t ms)
{
    struct futures *futures = ctx != NULL ? hark__own_futures(ctx) : NULL;

    if (ctx == NULL) {
        return no_future;
    }
    struct future *future =
        futures != NULL ? hark__delay_open(futures, ctx_pool(ctx), ms) : NULL;
    return future != NULL ? give(ctx, future, site) : refuse_full(ctx, "hark_delay");
}

hark_future
hark_timeout_at(hark_ctx *ctx, const char *site, hark_future name, uint32_t ms)
{
    struct future *input = ctx != NULL ? find_free(ctx, name, "hark_timeout") : NULL;

    if (input == NULL) {
        return no_future;
    }
    struct future *future =
        hark__timeout_open(ctx_futures(ctx), ctx_pool(ctx), input, ms);
    if (future == NULL) {
        refuse_full(ctx, "hark_timeout");
        close_input(ctx, input);
        return no_future;
    }
    return give(ctx, future, site);
}

hark_future
hark_holding_at(hark_ctx *ctx, const char *site, hark_future name,
                hark_future held_name, bool keep)
{
    struct future *input = ctx != NULL ? find_free(ctx, name, "hark_holding") : NULL;
    struct future *held =
        ctx != NULL ? find_free(ctx, held_name, "hark_holding") : NULL;
    struct future *future = NULL;

    if (input != NULL && held != NULL && input != held) {
        future = hark__holding_open(ctx_futures(ctx), ctx_pool(ctx), input, held, keep);
        if (future != NULL) {
            return give(ctx, future, site);
        }
        refuse_full(ctx, "hark_holding");
    } else if (input != NULL && input == held) {
        refuse(ctx, HARK_EINVAL, "hark_holding", "both futures are the same");
    }
    if (input != NULL) {
        close_input(ctx, input);
    }
    if (held != NULL && held != input) {
        close_input(ctx, held);
    }
    return no_future;
}

// ---- jobs ----

static hark_future
drop_job(const hark_job *job, void *arg)
{
    if (job != NULL && job->drop != NULL) {
        job->drop(arg);
    }
    return no_future;
}

// NULL: the job cannot be run; arg is dropped.
static struct futures *
take_job(hark_ctx *ctx, const hark_job *job, void *arg, const char *call)
{
    if (ctx == NULL || job == NULL || job->run == NULL) {
        refuse_null(ctx, call);
        drop_job(job, arg);
        return NULL;
    }
    struct futures *futures = hark__own_futures(ctx);
    if (futures == NULL) {
        refuse_full(ctx, call);
        drop_job(job, arg);
    }
    return futures;
}

// future: NULL: it could not be opened.
static hark_future
give_or_drop(hark_ctx *ctx, struct future *future, const char *site,
             const hark_job *job, void *arg, const char *call)
{
    if (future == NULL) {
        refuse_full(ctx, call);
        return drop_job(job, arg);
    }
    return give(ctx, future, site);
}

bool
hark_is_retryable(const hark_error *error, void *arg)
{
    (void)arg;
    return error->code == HARK_ETIMEOUT || error->code == HARK_ENONODE
           || error->code == HARK_ELIMIT || error->code == HARK_ENOMEM;
}

static uint32_t
or_default(uint32_t value, uint32_t preset)
{
    return value != 0 ? value : preset;
}

// False: an option that cannot be.
static bool
fill_in_retry(hark_retry_options *options)
{
    options->attempts = or_default(options->attempts, DEFAULT_ATTEMPTS);
    options->delay_ms = or_default(options->delay_ms, DEFAULT_DELAY_MS);
    options->max_delay_ms = or_default(options->max_delay_ms, DEFAULT_MAX_DELAY_MS);
    options->jitter_percent =
        or_default(options->jitter_percent, DEFAULT_JITTER_PERCENT);
    if (options->jitter_percent == HARK_JITTER_NONE) {
        options->jitter_percent = 0;
    }
    if (options->factor < 1 && options->factor > 0) {
        return false;
    }
    options->factor = options->factor > 0 ? options->factor : 2;
    options->is_retryable =
        options->is_retryable != NULL ? options->is_retryable : hark_is_retryable;
    return options->jitter_percent <= 100;
}

hark_future
hark_retry_at(hark_ctx *ctx, const char *site, const hark_job *job, void *arg,
              const hark_retry_options *given)
{
    hark_retry_options options = given != NULL ? *given : (hark_retry_options){0};
    struct futures *futures = take_job(ctx, job, arg, "hark_retry");

    if (futures == NULL) {
        return no_future;
    }
    if (!(options.factor >= 0) || !fill_in_retry(&options)) {
        refuse(ctx, HARK_EINVAL, "hark_retry",
               "a factor under 1, or a jitter over 100");
        return drop_job(job, arg);
    }
    return give_or_drop(ctx, hark__retry_open(futures, ctx, &options, job, arg), site,
                        job, arg, "hark_retry");
}

hark_future
hark_hedge_at(hark_ctx *ctx, const char *site, const hark_job *job, void *arg,
              const hark_hedge_options *given)
{
    hark_hedge_options options = given != NULL ? *given : (hark_hedge_options){0};
    struct futures *futures = take_job(ctx, job, arg, "hark_hedge");

    if (futures == NULL) {
        return no_future;
    }
    options.attempts = or_default(options.attempts, DEFAULT_HEDGE_ATTEMPTS);
    options.delay_ms = or_default(options.delay_ms, DEFAULT_DELAY_MS);
    if (options.attempts > MOST_HEDGE_ATTEMPTS) {
        refuse(ctx, HARK_EINVAL, "hark_hedge", "over 16 attempts");
        return drop_job(job, arg);
    }
    return give_or_drop(ctx, hark__hedge_open(futures, ctx, &options, job, arg), site,
                        job, arg, "hark_hedge");
}

static hark_future
open_each(hark_ctx *ctx, const char *site, size_t count, const hark_each_options *given,
          bool keep_ends, const hark_job *job, void *arg, const char *call)
{
    hark_each_options options = given != NULL ? *given : (hark_each_options){0};
    struct futures *futures = take_job(ctx, job, arg, call);
    struct each_range range = {
        .count = count,
        .at_most = or_default(options.at_most, DEFAULT_AT_MOST),
        .keep_going = options.keep_going,
        .keep_ends = keep_ends,
    };

    if (futures == NULL) {
        return no_future;
    }
    return give_or_drop(ctx, hark__each_open(futures, ctx, &range, job, arg), site, job,
                        arg, call);
}

hark_future
hark_for_each_at(hark_ctx *ctx, const char *site, size_t count, const hark_job *job,
                 void *arg, const hark_each_options *options)
{
    return open_each(ctx, site, count, options, false, job, arg, "hark_for_each");
}

hark_future
hark_map_each_at(hark_ctx *ctx, const char *site, size_t count, const hark_job *job,
                 void *arg, const hark_each_options *options)
{
    return open_each(ctx, site, count, options, true, job, arg, "hark_map_each");
}
