#include "actor/async.h"

#include "future/combine.h"

// ---- arguments and errors ----

hark_future
hark__async_refuse(hark_ctx *ctx, int code, const char *call, const char *why)
{
    hark__ctx_error(ctx, code, "%s: %s", call, why);
    hark__ctx_error_is_of_none(ctx);
    return no_future;
}

hark_future
hark__async_refuse_null(hark_ctx *ctx, const char *call)
{
    return hark__async_refuse(ctx, HARK_EINVAL, call, "null argument");
}

hark_future
hark__async_refuse_full(hark_ctx *ctx, const char *call)
{
    const struct futures *futures = ctx_futures(ctx);

    return futures != NULL && futures->open_count + 1 >= futures->limit
               ? hark__async_refuse(ctx, HARK_ELIMIT, call, "too many open futures")
               : hark__async_refuse(ctx, HARK_ENOMEM, call, "no memory");
}

struct future *
hark__async_input(hark_ctx *ctx, hark_future name, const char *call)
{
    struct future *future = hark__own_find(ctx, name);

    if (future != NULL && future->waiter == NULL) {
        return future;
    }
    if (name.id != 0 || hark_error_of(ctx)->code == HARK_OK) {
        hark__async_refuse(
            ctx, HARK_ESTALE, call,
            "the future has ended, is continued already, or is not of this actor or "
            "thread");
    }
    return NULL;
}

hark_future
hark__async_give(hark_ctx *ctx, struct future *future, const char *site)
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

// ---- looking ----

const hark_error *
hark_future_error(hark_ctx *ctx, hark_future name)
{
    struct future *future = hark__own_find(ctx, name);

    if (future == NULL) {
        hark__ctx_error(ctx, HARK_ESTALE,
                        "hark_future_error: the future has ended, or is not of this "
                        "actor or thread");
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
        hark__async_refuse_null(ctx, "hark_step");
        hark_future_drop(ctx, name);
        return drop_step(step, arg);
    }
    struct future *input = hark__async_input(ctx, name, "hark_step");
    if (input == NULL) {
        return drop_step(step, arg);
    }
    struct future *future =
        hark__step_open(ctx_futures(ctx), ctx_pool(ctx), input, step, arg);
    if (future == NULL) {
        hark__async_refuse_full(ctx, "hark_step");
        close_input(ctx, input);
        return drop_step(step, arg);
    }
    return hark__async_give(ctx, future, site);
}

// ---- many at once ----

// NULL: they are not all of ctx.
static struct futures *
find_all(hark_ctx *ctx, const hark_future *futures, size_t count, const char *call)
{
    if (ctx == NULL || (futures == NULL && count > 0)) {
        hark__async_refuse_null(ctx, call);
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
        hark__async_refuse_full(ctx, call);
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
                          : hark__async_refuse(ctx, err, call, hark_err_text(err));
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
    return err == HARK_OK ? hark__async_give(ctx, future, site)
                          : hark__async_refuse(ctx, err, call, hark_err_text(err));
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

// The delay is for the sake of that request, which must still be wanted.
static void
adopt_delay(hark_ctx *ctx, struct request *parent, struct future *future)
{
    hark__parent_adopt(parent, future);
    hark_err err = hark__parent_fault(ctx, future);
    if (err != HARK_OK) {
        hark__computed_fail(future->computed, ctx, err, HARK_STAGE_NOT_SENT, NULL);
    }
}

hark_future
hark_delay_at(hark_ctx *ctx, const char *site, uint32_t ms)
{
    struct futures *futures = ctx != NULL ? hark__own_futures(ctx) : NULL;
    struct request *parent = NULL;
    uint32_t limit_ms = HARK_FOREVER;

    if (ctx == NULL) {
        return no_future;
    }
    if (ctx->owes_answer || ctx->request != NULL) {
        parent = hark__parent(ctx, &limit_ms);
    }
    struct future *future =
        futures != NULL ? hark__delay_open(futures, ctx_pool(ctx), ms, limit_ms) : NULL;
    if (future == NULL) {
        return hark__async_refuse_full(ctx, "hark_delay");
    }
    future->trace = hark__trace_of(ctx, site, TRACE_ARMED);
    if (parent != NULL) {
        adopt_delay(ctx, parent, future);
    }
    return hark__async_give(ctx, future, site);
}

hark_future
hark_timeout_at(hark_ctx *ctx, const char *site, hark_future name, uint32_t ms)
{
    struct future *input =
        ctx != NULL ? hark__async_input(ctx, name, "hark_timeout") : NULL;

    if (input == NULL) {
        return no_future;
    }
    struct future *future =
        hark__timeout_open(ctx_futures(ctx), ctx_pool(ctx), input, ms);
    if (future == NULL) {
        hark__async_refuse_full(ctx, "hark_timeout");
        close_input(ctx, input);
        return no_future;
    }
    return hark__async_give(ctx, future, site);
}

hark_future
hark_holding_at(hark_ctx *ctx, const char *site, hark_future name,
                hark_future held_name, bool keep)
{
    struct future *input =
        ctx != NULL ? hark__async_input(ctx, name, "hark_holding") : NULL;
    struct future *held =
        ctx != NULL ? hark__async_input(ctx, held_name, "hark_holding") : NULL;
    struct future *future = NULL;

    if (input != NULL && held != NULL && input != held) {
        future = hark__holding_open(ctx_futures(ctx), ctx_pool(ctx), input, held, keep);
        if (future != NULL) {
            return hark__async_give(ctx, future, site);
        }
        hark__async_refuse_full(ctx, "hark_holding");
    } else if (input != NULL && input == held) {
        hark__async_refuse(ctx, HARK_EINVAL, "hark_holding",
                           "both futures are the same");
    }
    if (input != NULL) {
        close_input(ctx, input);
    }
    if (held != NULL && held != input) {
        close_input(ctx, held);
    }
    return no_future;
}
