// Result: what the program gives itself, to a future of its own (hark_future_new) or as
// what a callback of a combinator ends with.

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "actor/async.h"
#include "actor/deadlock.h"
#include "future/computed.h"
#include "message/failure.h"

enum { FAILURE_TEXT = 1001 };

// ---- replies and failures ----

// Gives a reply; NULL: hark_error_of says why.
static struct hark_message *
new_reply(hark_ctx *ctx, const hark_type *type, const void *value, const char *call)
{
    if (type == NULL || value == NULL) {
        hark__async_refuse_null(ctx, call);
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

// ---- one's own futures ----

static struct future *
open_own(hark_ctx *ctx, const char *site, const char *call)
{
    struct futures *futures = hark__own_futures(ctx);
    struct future *future =
        futures != NULL ? hark__future_open(futures, ctx_pool(ctx), HARK_FOREVER)
                        : NULL;

    if (future == NULL) {
        hark__async_refuse_full(ctx, call);
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
        return hark__async_refuse(ctx, HARK_EINVAL, "hark_future_failed",
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
    hark__ctx_error(ctx, HARK_ESTALE,
                    "%s: the future has ended, or is not made by its owner", call);
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
    hark__ctx_error(ctx, HARK_ENOASK, "%s: %s", call,
                    outcome == NULL ? "no callback runs"
                                    : "the callback has given a result");
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
    struct future *future = hark__async_input(ctx, name, "hark_result_future");
    if (future == NULL || future == outcome->computed->future) {
        int code = future == NULL ? hark_error_of(ctx)->code : HARK_ESTALE;

        fail_outcome(ctx, outcome, code, "%s",
                     future == NULL ? hark_error_of(ctx)->text
                                    : "a future cannot wait for itself");
        return (hark_err)code;
    }
    outcome->kind = OUTCOME_FUTURE;
    hark__computed_watch(outcome->computed, outcome->input, future);
    if (ctx_waits(ctx) != NULL) {
        hark__deadlock_follow(ctx, future);
    }
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
