// Asks through a guard: enter it, ask its target, tell it the outcome.

#include <stdlib.h>

#include "gate.h"

enum { NS_PER_MS = 1000000 };

struct passage {
    const char *site;
    hark_ref guard;
    hark_future enter, payload; // members of a hark_all until the target is asked
    const hark_type *type;      // the payload's
    int64_t deadline_ns;        // 0: the default each time
    uint64_t number;            // of the pass; 0: nobody wants to know the outcome
};

static uint32_t
left_ms(hark_ctx *ctx, const struct passage *passage)
{
    if (passage->deadline_ns == 0) {
        return 0;
    }
    if (passage->deadline_ns == INT64_MAX) {
        return HARK_FOREVER;
    }
    int64_t left_ns = passage->deadline_ns - hark_now_ns(ctx);
    return left_ns > NS_PER_MS ? (uint32_t)(left_ns / NS_PER_MS) : 1;
}

static void
pass(hark_ctx *ctx, const void *reply, void *arg)
{
    struct passage *passage = arg;
    const hark_pass *got = hark_future_get(ctx, passage->enter, hark_pass);
    const void *value = hark_future_value(ctx, passage->payload, passage->type);

    (void)reply;
    if (got == NULL || value == NULL) {
        const hark_error *error = hark_error_of(ctx);
        hark_fail_with(ctx, error->code, "%s", error->text);
        return;
    }
    passage->number = got->number;
    hark_result_future(ctx, hark_ask_at(ctx, passage->site, left_ms(ctx, passage),
                                        got->target, passage->type, value));
}

static void
tell_outcome(hark_ctx *ctx, const struct passage *passage, int code)
{
    if (passage->number != 0) {
        (void)hark_tell(ctx, passage->guard, hark_outcome, .number = passage->number,
                        .code = code);
    }
}

static void
succeeded(hark_ctx *ctx, const void *reply, void *arg)
{
    (void)reply;
    tell_outcome(ctx, arg, HARK_OK);
}

static void
failed(hark_ctx *ctx, const hark_error *error, void *arg)
{
    tell_outcome(ctx, arg, error->code);
}

static const hark_step passing = {.on_reply = pass};
static const hark_step telling = {
    .on_reply = succeeded, .on_error = failed, .drop = free, .only_looks = true};

hark_future
hark_ask_through_at(hark_ctx *ctx, const char *site, uint32_t timeout_ms,
                    hark_ref guard, const hark_type *type, const void *value)
{
    const hark_enter enter = {0};
    bool is_ask = ctx != NULL && type != NULL && value != NULL;
    struct passage *passage = is_ask ? malloc(sizeof *passage) : NULL;

    if (passage == NULL) {
        hark_error_set(ctx, is_ask ? HARK_ENOMEM : HARK_EINVAL, "hark_ask_through: %s",
                       is_ask ? "no memory" : "null argument");
        return (hark_future){0, 0};
    }
    *passage = (struct passage){.site = site, .guard = guard, .type = type};
    if (timeout_ms != 0) {
        passage->deadline_ns = timeout_ms == HARK_FOREVER
                                   ? INT64_MAX
                                   : hark_now_ns(ctx) + (int64_t)timeout_ms * NS_PER_MS;
    }
    hark_future hold = hark__gate_ask_hold(ctx, site, guard);
    passage->payload = hark_future_of_value(ctx, type, value);
    passage->enter =
        hark_ask_at(ctx, site, timeout_ms, guard, &hark_enter_type, &enter);
    // The message waits beside the ask until that is answered.
    hark_future both =
        hark_all(ctx, (hark_future[]){passage->enter, passage->payload}, 2);
    if (both.id == 0) {
        hark_future_drop(ctx, passage->enter);
        hark_future_drop(ctx, passage->payload);
    }
    hark_future future = hark_step_at(ctx, site, both, &passing, passage);
    future = hark_step_at(ctx, site, future, &telling, passage);
    return hark_holding_at(ctx, site, future, hold, false);
}
