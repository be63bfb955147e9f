// What hark/scope.h offers: arguments checked, errors told; the rest is scope_end.c.

#include "actor/scope.h"

#include <stdio.h>
#include <string.h>

#include "actor/await.h"
#include "actor/request.h"

// ---- opening ----

// False: ctx can have no scopes here, and hark_error_of says why.
static bool
may_open(hark_ctx *ctx, const char *call)
{
    if (ctx == NULL || ctx->slot == NULL || ctx_is_in_callback(ctx)) {
        hark__ctx_error(ctx, ctx == NULL ? HARK_EINVAL : HARK_ENOTSUP,
                        "%s: not in a handler or an attached thread", call);
        return false;
    }
    return true;
}

// NULL: no memory.
static struct scopes *
scopes_of(hark_ctx *ctx)
{
    uint8_t size_class;

    if (ctx->scopes != NULL || hark__ctx_extra(ctx) == NULL) {
        return ctx->scopes;
    }
    struct scopes *scopes =
        hark__pool_alloc(ctx_pool(ctx), sizeof *scopes, &size_class);
    if (scopes != NULL) {
        *scopes = (struct scopes){.size_class = size_class};
        ctx->scopes = scopes;
    }
    return scopes;
}

// When a scope ends that is opened now; INT64_MAX: never.
static int64_t
deadline_of(const hark_ctx *ctx, uint32_t timeout_ms)
{
    const struct request *outer = ctx->request;
    int64_t outer_ns =
        outer != NULL && outer->state != REQUEST_ENDED ? outer->deadline_ns : INT64_MAX;

    if (timeout_ms == 0 || timeout_ms == HARK_FOREVER) {
        return outer_ns;
    }
    int64_t own_ns = hark__env_now(ctx->node->env) + (int64_t)timeout_ms * NS_PER_MS;
    return own_ns < outer_ns ? own_ns : outer_ns;
}

static struct scope *
new_scope(hark_ctx *ctx, struct scopes *scopes)
{
    uint8_t size_class;
    struct scope *scope = hark__pool_alloc(ctx_pool(ctx), sizeof *scope, &size_class);

    if (scope != NULL) {
        *scope = (struct scope){
            .of = scopes,
            .id = ++ctx->slot->extra->scope_count,
            .size_class = size_class,
        };
        hark__list_init(&scope->by_actor);
        hark__list_init(&scope->open);
        hark__list_init(&scope->ended);
    }
    return scope;
}

// A scope around ends by then, and with it what is inside.
static bool
is_clocked(const hark_ctx *ctx, int64_t deadline_ns)
{
    const struct request *outer = ctx->request;

    return outer != NULL && outer->is_scope && outer->deadline_ns <= deadline_ns;
}

// Opens the futures of its own. False: no memory, or no more futures.
static bool
open_own(hark_ctx *ctx, struct scope *scope, int64_t deadline_ns)
{
    struct futures *futures = hark__own_futures(ctx);
    struct future *done = futures != NULL
                              ? hark__future_open(futures, ctx_pool(ctx), HARK_FOREVER)
                              : NULL;

    if (done == NULL) {
        return false;
    }
    done->kept = true;
    scope->done = hark__own_name(ctx, done).id;
    if (deadline_ns == INT64_MAX || is_clocked(ctx, deadline_ns)) {
        return true;
    }
    int64_t now_ns = hark__env_now(ctx->node->env);
    int64_t ms = (deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
    uint32_t timeout_ms = ms < 1 ? 1 : (uint32_t)ms;
    struct future *clock = hark__future_open(futures, ctx_pool(ctx), timeout_ms);
    if (clock == NULL) {
        return false;
    }
    clock->kept = true;
    hark__future_count_from(clock, now_ns);
    hark__scope_watch_clock(ctx, scope, clock);
    (void)hark__own_name(ctx, clock); // starts it
    return true;
}

// NULL: no memory, or no more futures.
static struct scope *
open_scope(hark_ctx *ctx, const hark_scope_options *options)
{
    struct scopes *scopes = scopes_of(ctx);

    if (ctx->owes_answer) {
        (void)hark__request_of(ctx); // so that a cancel finds it
    }
    struct scope *scope = scopes != NULL ? new_scope(ctx, scopes) : NULL;
    if (scope == NULL) {
        return NULL;
    }
    int64_t deadline_ns = deadline_of(ctx, options->timeout_ms);
    scope->policy = (uint8_t)options->policy;
    scope->request =
        hark__request_new(ctx_pool(ctx), (struct request_name){{0, 0}, 0}, deadline_ns);
    if (scope->request == NULL || !open_own(ctx, scope, deadline_ns)) {
        hark__scope_close_own(ctx, &scope->done);
        if (scope->request != NULL) {
            hark__request_drop(ctx, scope->request);
        }
        hark__pool_free(ctx_pool(ctx), scope, scope->size_class);
        return NULL;
    }
    scope->outer = scopes->first;
    scopes->first = scope;
    hark__list_append(&ctx->slot->extra->scopes, &scope->by_actor);
    hark__request_enter(ctx, scope->request);
    return scope;
}

hark_scope
hark_scope_open(hark_ctx *ctx, const hark_scope_options *given)
{
    hark_scope_options options = given != NULL ? *given : (hark_scope_options){0};

    if (!may_open(ctx, "hark_scope_open")) {
        return (hark_scope){0, 0};
    }
    if (options.policy > HARK_SCOPE_COLLECT) {
        hark__ctx_error(ctx, HARK_EINVAL, "hark_scope_open: no such policy");
        return (hark_scope){0, 0};
    }
    struct scope *scope = open_scope(ctx, &options);
    if (scope == NULL) {
        const struct futures *futures = ctx_futures(ctx);
        bool full = futures != NULL && futures->open_count + 1 >= futures->limit;

        hark__ctx_error(ctx, full ? HARK_ELIMIT : HARK_ENOMEM, "hark_scope_open: %s",
                        full ? "too many open futures" : "no memory");
        return (hark_scope){0, 0};
    }
    if (scope->request->state == REQUEST_CANCELLED) {
        hark__scope_cancel(ctx, scope, HARK_ECANCELLED);
    }
    return (hark_scope){ctx->self.actor, scope->id};
}

// ---- finding ----

// NULL: none of this handler, or closed.
static struct scope *
find_scope(const hark_ctx *ctx, hark_scope name)
{
    struct scope *scope = ctx != NULL && ctx->scopes != NULL
                                  && name.owner == ctx->self.actor
                                  && name.id > ctx->scopes->floor
                              ? ctx->scopes->first
                              : NULL;

    while (scope != NULL && scope->id != name.id) {
        scope = scope->outer;
    }
    return scope;
}

static hark_err
refuse_stale(hark_ctx *ctx, const struct scope *scope, const char *call)
{
    return hark__ctx_error(ctx, HARK_ESTALE, "%s: %s", call,
                           scope != NULL
                               ? "the scope was joined before"
                               : "the scope was closed, or is not of this handler or "
                                 "thread");
}

// NULL: it is not open, or cannot be used here, as hark_error_of says.
static struct scope *
find_open(hark_ctx *ctx, hark_scope name, const char *call)
{
    struct scope *scope = find_scope(ctx, name);

    if (ctx != NULL && ctx_is_in_callback(ctx)) {
        hark__ctx_error(ctx, HARK_ENOTSUP, "%s: in a callback", call);
        return NULL;
    }
    if (scope == NULL || scope->state != SCOPE_OPEN) {
        refuse_stale(ctx, scope, call);
        return NULL;
    }
    return scope;
}

static hark_err
last_code(hark_ctx *ctx)
{
    return (hark_err)hark_error_of(ctx)->code;
}

// ---- adding ----

// future could not be added. Takes it.
static hark_future
refuse_member(hark_ctx *ctx, struct scope *scope, hark_future future, hark_err err)
{
    hark_future_drop(ctx, future);
    hark__scope_fail(ctx, scope, err);
    return (hark_future){0, 0};
}

static hark_future
add(hark_ctx *ctx, struct scope *scope, hark_future name, const char *call)
{
    struct future *future = hark__own_find(ctx, name);

    if (future == NULL && name.id == 0 && last_code(ctx) != HARK_OK) {
        return refuse_member(ctx, scope, name, last_code(ctx)); // why there is none
    }
    if (future == NULL || future->waiter != NULL) {
        hark_err err = hark__ctx_error(
            ctx, HARK_ESTALE,
            "%s: the future has ended, is continued already, or is not of this actor "
            "or thread",
            call);

        return refuse_member(ctx, scope, (hark_future){0, 0}, err);
    }
    struct member *member = hark__member_new(ctx, scope, future);
    if (member == NULL) {
        return refuse_member(ctx, scope, name,
                             hark__ctx_error(ctx, HARK_ENOMEM, "%s: no memory", call));
    }
    if (future->parent != NULL && future->parent != scope->request) {
        hark__ask_hooks.leave(ctx, future);
        hark__parent_adopt(scope->request, future);
    }
    if (future->state == FUTURE_OPEN) {
        hark__future_watch(ctx_futures(ctx), future, &member->waiter);
    }
    if (future->state != FUTURE_OPEN || scope->request->state == REQUEST_CANCELLED) {
        hark__member_ended(ctx, member, future);
    }
    return name;
}

hark_future
hark_scope_add(hark_ctx *ctx, hark_scope name, hark_future future)
{
    struct scope *scope = find_open(ctx, name, "hark_scope_add");

    if (scope == NULL) {
        hark_future_drop(ctx, future);
        return (hark_future){0, 0};
    }
    return add(ctx, scope, future, "hark_scope_add");
}

hark_future
hark_scope_ask_at(hark_ctx *ctx, const char *site, hark_scope name, hark_ref to,
                  const hark_type *type, const void *value)
{
    struct scope *scope = find_open(ctx, name, "hark_scope_ask");

    if (scope == NULL) {
        return (hark_future){0, 0};
    }
    struct request *inner = ctx->request;
    ctx->request = scope->request;
    hark_future future = hark_ask_at(ctx, site, 0, to, type, value);
    ctx->request = inner;
    return add(ctx, scope, future, "hark_scope_ask");
}

hark_ref
hark_scope_spawn_ref(hark_ctx *ctx, hark_scope scope, const hark_behavior *behavior,
                     const void *state, const hark_spawn_options *options)
{
    return hark_scope_spawn_at(ctx, NULL, scope, behavior, state, options);
}

hark_ref
hark_scope_spawn_at(hark_ctx *ctx, const char *site, hark_scope name,
                    const hark_behavior *behavior, const void *state,
                    const hark_spawn_options *options)
{
    const hark_ref nobody = {0, 0};
    struct scope *scope = find_open(ctx, name, "hark_scope_spawn");

    if (scope == NULL) {
        return nobody;
    }
    struct undo *undo = hark__undo_new(ctx, UNDO_ACTOR);
    if (undo != NULL) {
        undo->stop = hark__message_alloc(ctx_pool(ctx), NULL, 0);
    }
    if (undo == NULL || undo->stop == NULL) {
        if (undo != NULL) {
            hark__undo_free(ctx, undo);
        }
        hark__ctx_error(ctx, HARK_ENOMEM, "hark_scope_spawn: no memory");
        return nobody;
    }
    undo->actor = hark_spawn_at(ctx, site, behavior, state, options);
    if (hark_ref_is_null(undo->actor)) {
        hark__message_free(ctx_pool(ctx), undo->stop);
        hark__undo_free(ctx, undo);
        return nobody;
    }
    hark__undo_push(&scope->undos, undo);
    return undo->actor;
}

hark_timer
hark_scope_timer_value(hark_ctx *ctx, hark_scope scope, uint32_t delay_ms, hark_ref to,
                       const hark_type *type, const void *value)
{
    return hark_scope_timer_at(ctx, NULL, scope, delay_ms, to, type, value);
}

hark_timer
hark_scope_timer_at(hark_ctx *ctx, const char *site, hark_scope name, uint32_t delay_ms,
                    hark_ref to, const hark_type *type, const void *value)
{
    const hark_timer none = {0};
    struct scope *scope = find_open(ctx, name, "hark_scope_timer");

    if (scope == NULL) {
        return none;
    }
    struct undo *undo = hark__undo_new(ctx, UNDO_TIMER);
    if (undo == NULL) {
        hark__ctx_error(ctx, HARK_ENOMEM, "hark_scope_timer: no memory");
        return none;
    }
    undo->timer = hark_send_after_at(ctx, site, delay_ms, to, type, value);
    if (undo->timer.id == 0) {
        hark__undo_free(ctx, undo);
        return none;
    }
    hark__undo_push(&scope->undos, undo);
    return undo->timer;
}

static hark_err
defer(hark_ctx *ctx, struct undo **undos, hark_cleanup *run, void *arg,
      const char *call)
{
    if (run == NULL) {
        return hark__ctx_error(ctx, HARK_EINVAL, "%s: null argument", call);
    }
    struct undo *undo = hark__undo_new(ctx, UNDO_CLEANUP);
    if (undo == NULL) {
        return hark__ctx_error(ctx, HARK_ENOMEM, "%s: no memory", call);
    }
    undo->run = run;
    undo->arg = arg;
    hark__undo_push(undos, undo);
    return HARK_OK;
}

hark_err
hark_scope_defer(hark_ctx *ctx, hark_scope name, hark_cleanup *run, void *arg)
{
    struct scope *scope = find_open(ctx, name, "hark_scope_defer");

    return scope != NULL ? defer(ctx, &scope->undos, run, arg, "hark_scope_defer")
                         : last_code(ctx);
}

hark_err
hark_defer_cleanup(hark_ctx *ctx, hark_cleanup *run, void *arg)
{
    if (!may_open(ctx, "hark_defer_cleanup")) {
        return last_code(ctx);
    }
    struct scopes *scopes = scopes_of(ctx);
    return scopes != NULL
               ? defer(ctx, &scopes->cleanups, run, arg, "hark_defer_cleanup")
               : hark__ctx_error(ctx, HARK_ENOMEM, "hark_defer_cleanup: no memory");
}

// ---- joining, cancelling, closing ----

static const char *
why(const struct scope *scope)
{
    switch (scope->code) {
    case HARK_ETIMEOUT:
        return "the scope's time is over";
    case HARK_ECANCELLED:
        return "the scope was cancelled";
    default:
        return hark_err_text(scope->code);
    }
}

// Puts how many have failed before the text of the last error.
static void
tell_count(hark_ctx *ctx, const struct scope *scope)
{
    struct last_error *last = hark__ctx_last_error(ctx);
    char text[ERROR_TEXT];

    if (last != NULL && scope->failed > 1) {
        int size =
            snprintf(text, sizeof text, "%u of %u failed, the first: ", scope->failed,
                     scope->count);

        snprintf(text + size, sizeof text - (size_t)size, "%s", last->error.text);
        memcpy(last->text, text, sizeof text);
        last->error.text = last->text;
    }
}

// How a scope that was joined has ended.
static hark_err
report(hark_ctx *ctx, const struct scope *scope)
{
    const struct future *future = hark__scope_future(ctx, scope->blame);

    if (scope->code == HARK_OK) {
        return HARK_OK;
    }
    if (future != NULL) {
        hark__ctx_error_of(ctx, ctx_futures(ctx), future);
    } else {
        hark__ctx_error(ctx, scope->code, "hark_scope_join: %s", why(scope));
    }
    tell_count(ctx, scope);
    return (hark_err)scope->code;
}

hark_err
hark_scope_join(hark_ctx *ctx, hark_scope name)
{
    struct scope *scope = find_open(ctx, name, "hark_scope_join");

    if (scope == NULL) {
        return last_code(ctx);
    }
    hark__scope_leave_inner(ctx, scope);
    scope->is_joined = true;
    if (!hark__list_is_empty(&scope->open)
        && !hark__wait(ctx, (hark_future){ctx->self.actor, scope->done})
        && !hark__list_is_empty(&scope->open)) {
        hark__scope_cancel(ctx, scope, last_code(ctx));
    }
    hark__scope_leave(ctx, scope);
    return report(ctx, scope);
}

uint32_t
hark_scope_failures(hark_ctx *ctx, hark_scope name)
{
    const struct scope *scope = find_scope(ctx, name);

    return scope != NULL ? scope->failed : 0;
}

hark_err
hark_scope_cancel(hark_ctx *ctx, hark_scope name)
{
    struct scope *scope = find_open(ctx, name, "hark_scope_cancel");

    if (scope == NULL) {
        return last_code(ctx);
    }
    hark__scope_cancel(ctx, scope, HARK_ECANCELLED);
    return HARK_OK;
}

hark_err
hark_scope_close(hark_ctx *ctx, hark_scope name)
{
    struct scope *scope = find_scope(ctx, name);

    if (ctx != NULL && ctx_is_in_callback(ctx)) {
        return hark__ctx_error(ctx, HARK_ENOTSUP, "hark_scope_close: in a callback");
    }
    if (scope == NULL) {
        return refuse_stale(ctx, NULL, "hark_scope_close");
    }
    hark__scope_close(ctx, scope);
    return HARK_OK;
}
