// Scopes: what a handler (hook, continuation, attached thread) has begun, and ends.
//
//            cancel_all: a failure, the clock, a cancel of its request
//     OPEN --------------------------------------------------------> OPEN, cancelled
//        \_________________________ leave (join, close) ________________/--> LEFT
//
// An open scope stands among what its ctx has in hand as a request of its own (request.h),
// so what is asked inside are its children, and whoever cancels the request below cancels
// it. Its members, which it watches, are waited for. What it ends last in, first out
// (cleanups, actors, timers) are its items. One that is left stays, so that the members can
// be read, until it is closed or its handler returns.

#include "hark/scope.h"

#include <stdio.h>
#include <string.h>

#include "actor/await.h"
#include "actor/ctx.h"
#include "actor/request.h"
#include "hark/cancel.h"

#define NS_PER_MS INT64_C(1000000)

enum scope_state { SCOPE_OPEN, SCOPE_LEFT };

struct member {
    struct waiter waiter;
    struct list link; // in scope->open or ->ended
    struct scope *scope;
    uint64_t id; // of its future
    bool is_open;
    uint8_t size_class;
};

enum item_kind { ITEM_CLEANUP, ITEM_TIMER, ITEM_ACTOR };

struct item {
    struct item *next; // came before
    hark_cleanup *run;
    void *arg;
    hark_timer timer;
    hark_ref actor;
    struct hark_message *stop; // to send to it
    uint64_t ended;            // the future of its end; 0: none
    uint8_t kind;              // enum item_kind
    uint8_t size_class;
};

struct scope {
    struct scope *outer; // of the same handler, was opened before
    struct scopes *of;
    struct list by_actor;    // in extra->scopes while it is open
    struct request *request; // NULL: it is left
    struct list open, ended; // members
    struct item *items;
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
    struct item *cleanups; // of hark_defer_cleanup
    uint64_t floor;        // a cleanup runs, which reaches no scope up to this id
    uint8_t size_class;
};

static struct futures *
futures_of(const hark_ctx *ctx)
{
    return ctx_futures(ctx);
}

static struct future *
find_future(const hark_ctx *ctx, uint64_t id)
{
    return id != 0 ? hark__future_find(futures_of(ctx), id) : NULL;
}

static void
close_future(hark_ctx *ctx, struct future *future)
{
    hark__future_close(futures_of(ctx), ctx_pool(ctx), ctx, future);
}

// ---- members and their ends ----

static void
tell_joiner(hark_ctx *ctx, struct scope *scope)
{
    struct future *done = find_future(ctx, scope->done);

    if (scope->is_joined && hark__list_is_empty(&scope->open) && done != NULL
        && done->state == FUTURE_OPEN) {
        hark__future_settle(futures_of(ctx), done, NULL, HARK_OK, HARK_STAGE_RUNNING,
                            0);
    }
}

static void
set_ended(struct member *member)
{
    member->is_open = false;
    hark__list_remove(&member->link);
    hark__list_append(&member->scope->ended, &member->link);
}

static void
count_failure(struct scope *scope, int code, uint64_t blame)
{
    scope->failed++;
    if (scope->code == HARK_OK) {
        scope->code = code;
        scope->blame = blame;
    }
}

// A member that is not open any more. The scope itself looks at it from now on.
static void
account(hark_ctx *ctx, struct member *member, struct future *future)
{
    if (future->waiter == &member->waiter) {
        future->waiter = NULL;
    }
    future->looked_at = true;
    if (future->state == FUTURE_OPEN) {
        hark__cancel_future(ctx, future);
    } else if (future->code != HARK_OK) {
        count_failure(member->scope, future->code, future->id);
    }
}

// Ends all that is open in a scope, and what is begun in it from now on.
static void
cancel_all(hark_ctx *ctx, struct scope *scope)
{
    // Destructors of the user may run meanwhile, and close any future.
    while (!hark__list_is_empty(&scope->open)) {
        struct member *member = CONTAINER_OF(scope->open.next, struct member, link);
        struct future *future = find_future(ctx, member->id);

        set_ended(member);
        if (future != NULL) {
            account(ctx, member, future);
        }
    }
    hark__request_cancel(ctx, scope->request);
    tell_joiner(ctx, scope);
}

static void
cancel_because(hark_ctx *ctx, struct scope *scope, int code)
{
    if (scope->code == HARK_OK) {
        scope->code = code;
    }
    cancel_all(ctx, scope);
}

static void
fail_fast(hark_ctx *ctx, struct scope *scope)
{
    if (scope->failed > 0 && scope->policy == HARK_SCOPE_FAIL_FAST) {
        cancel_all(ctx, scope);
    }
}

static void
member_ended(hark_ctx *ctx, struct member *member, struct future *future)
{
    set_ended(member);
    account(ctx, member, future);
    fail_fast(ctx, member->scope);
    tell_joiner(ctx, member->scope);
}

static void
member_complete(struct waiter *waiter, void *turn, struct future *future)
{
    member_ended(turn, CONTAINER_OF(waiter, struct member, waiter), future);
}

// Its future is closed.
static void
forget_member(hark_ctx *ctx, struct member *member)
{
    struct scope *scope = member->scope;

    hark__list_remove(&member->link);
    hark__pool_free(ctx_pool(ctx), member, member->size_class);
    tell_joiner(ctx, scope);
}

static void
member_drop(struct waiter *waiter, void *turn, struct future *future)
{
    (void)future;
    forget_member(turn, CONTAINER_OF(waiter, struct member, waiter));
}

struct waiter *
hark__scope_lend(const hark_ctx *ctx, struct future *future)
{
    struct waiter *waiter = future->waiter;

    if (waiter->complete != member_complete
        || CONTAINER_OF(waiter, struct member, waiter)->scope->of != ctx->scopes) {
        return NULL;
    }
    future->waiter = NULL;
    return waiter;
}

void
hark__scope_take_back(hark_ctx *ctx, struct waiter *waiter, struct future *future)
{
    struct member *member = CONTAINER_OF(waiter, struct member, waiter);

    if (!member->is_open) {
        return; // the scope was cancelled meanwhile
    }
    if (future == NULL) {
        forget_member(ctx, member);
    } else if (future->state == FUTURE_OPEN) {
        future->waiter = waiter;
    } else {
        member_ended(ctx, member, future);
    }
}

// ---- its clock ----

static void
clock_complete(struct waiter *waiter, void *turn, struct future *future)
{
    struct scope *scope = CONTAINER_OF(waiter, struct scope, clock_waiter);

    scope->clock = 0;
    close_future(turn, future);
    cancel_because(turn, scope, HARK_ETIMEOUT);
}

static void
clock_drop(struct waiter *waiter, void *turn, struct future *future)
{
    (void)turn;
    (void)future;
    CONTAINER_OF(waiter, struct scope, clock_waiter)->clock = 0;
}

// ---- items ----

static struct item *
new_item(hark_ctx *ctx, enum item_kind kind)
{
    uint8_t size_class;
    struct item *item = hark__pool_alloc(ctx_pool(ctx), sizeof *item, &size_class);

    if (item != NULL) {
        *item = (struct item){.kind = (uint8_t)kind, .size_class = size_class};
    }
    return item;
}

static void
push(struct item **items, struct item *item)
{
    item->next = *items;
    *items = item;
}

static struct item *
take(struct item **items)
{
    struct item *item = *items;

    *items = item->next;
    return item;
}

static void
free_item(hark_ctx *ctx, struct item *item)
{
    hark__pool_free(ctx_pool(ctx), item, item->size_class);
}

static void close_scope(hark_ctx *ctx, struct scope *scope);

// Runs a cleanup in a shield, and leaves what it has opened.
static void
run_cleanup(hark_ctx *ctx, const struct item *item)
{
    struct scopes *scopes = ctx->scopes;
    uint64_t floor = scopes->floor;
    uint64_t mark = ctx->slot->extra->scope_count;
    const struct request *before = ctx->request;

    (void)hark_shield(ctx, HARK_FOREVER); // without memory it runs all the same
    scopes->floor = mark;
    item->run(ctx, item->arg);
    while (scopes->first != NULL && scopes->first->id > mark) {
        close_scope(ctx, scopes->first);
    }
    scopes->floor = floor;
    hark__request_let_go(ctx, before);
}

// The future of an actor's end; 0: it is not waited for.
static uint64_t
open_end(hark_ctx *ctx)
{
    struct futures *futures = futures_of(ctx);
    uint32_t timeout_ms = ctx->node->limits.ask_timeout_ms;
    struct future *future = hark__must_stop(ctx)
                                ? NULL
                                : hark__future_open(futures, ctx_pool(ctx), timeout_ms);

    if (future == NULL) {
        return 0;
    }
    future->looked_at = true;
    hark__future_count_from(future, hark__futures_now(ctx->node->env, timeout_ms));
    return hark__own_name(ctx, future).id;
}

static void
stop_actor(hark_ctx *ctx, struct item *item)
{
    if (!hark_is_alive(ctx, item->actor)) {
        hark__message_free(ctx_pool(ctx), item->stop);
        return;
    }
    item->ended = open_end(ctx);
    hark__send_stop(ctx, item->actor, item->stop, item->ended);
}

static void
wait_for_end(hark_ctx *ctx, const struct item *item)
{
    struct future *future;

    if (find_future(ctx, item->ended) != NULL) {
        (void)hark__wait(ctx, (hark_future){ctx->self.actor, item->ended});
        future = find_future(ctx, item->ended);
        if (future != NULL) {
            close_future(ctx, future);
        }
    }
}

// Stops the actors that are next, side by side.
static void
stop_actors(hark_ctx *ctx, struct item **items)
{
    const struct request *before = ctx->request;
    struct item *stopped = NULL;

    while (*items != NULL && (*items)->kind == ITEM_ACTOR) {
        struct item *item = take(items);

        stop_actor(ctx, item);
        push(&stopped, item);
    }
    (void)hark_shield(ctx, HARK_FOREVER);
    while (stopped != NULL) {
        struct item *item = take(&stopped);

        wait_for_end(ctx, item);
        free_item(ctx, item);
    }
    hark__request_let_go(ctx, before);
}

static void
run_items(hark_ctx *ctx, struct item **items)
{
    while (*items != NULL) {
        if ((*items)->kind == ITEM_ACTOR) {
            stop_actors(ctx, items);
            continue;
        }
        struct item *item = take(items);
        if (item->kind == ITEM_TIMER) {
            (void)hark_timer_cancel(ctx, item->timer);
        } else {
            run_cleanup(ctx, item);
        }
        free_item(ctx, item);
    }
}

// ---- leaving ----

static void
close_own(hark_ctx *ctx, uint64_t *id)
{
    struct future *future = find_future(ctx, *id);

    *id = 0;
    if (future != NULL) {
        close_future(ctx, future);
    }
}

// It is open, and those inside it are left.
static void
leave(hark_ctx *ctx, struct scope *scope)
{
    struct request *request = scope->request;

    scope->state = SCOPE_LEFT;
    cancel_all(ctx, scope);
    close_own(ctx, &scope->clock);
    close_own(ctx, &scope->done);
    hark__list_remove(&scope->by_actor);
    scope->request = NULL;
    hark__request_leave(ctx, request);
    run_items(ctx, &scope->items);
}

static void
leave_inner(hark_ctx *ctx, const struct scope *scope)
{
    struct scope *inner = ctx->scopes->first;

    while (inner != scope) {
        struct scope *outer = inner->outer;

        if (inner->state == SCOPE_OPEN) {
            leave(ctx, inner);
        }
        inner = outer;
    }
}

// Drops a member's future, unless somebody has taken it over since.
static void
drop_member(hark_ctx *ctx, struct member *member)
{
    struct future *future = find_future(ctx, member->id);

    hark__list_remove(&member->link);
    hark__pool_free(ctx_pool(ctx), member, member->size_class);
    if (future != NULL && future->waiter == NULL && !future->kept) {
        close_future(ctx, future);
    }
}

static void
close_scope(hark_ctx *ctx, struct scope *scope)
{
    struct scope **at = &ctx->scopes->first;

    if (scope->state == SCOPE_OPEN) {
        leave_inner(ctx, scope);
        leave(ctx, scope);
    }
    while (*at != scope) {
        at = &(*at)->outer;
    }
    *at = scope->outer;
    while (!hark__list_is_empty(&scope->ended)) {
        drop_member(ctx, CONTAINER_OF(scope->ended.next, struct member, link));
    }
    hark__pool_free(ctx_pool(ctx), scope, scope->size_class);
}

void
hark__scopes_leave(hark_ctx *ctx)
{
    struct scopes *scopes = ctx->scopes;

    while (scopes->first != NULL || scopes->cleanups != NULL) {
        if (scopes->first != NULL) {
            close_scope(ctx, scopes->first);
        } else {
            struct item *item = take(&scopes->cleanups);

            run_cleanup(ctx, item);
            free_item(ctx, item);
        }
    }
    ctx->scopes = NULL;
    hark__pool_free(ctx_pool(ctx), scopes, scopes->size_class);
}

void
hark__scopes_leave_inside(hark_ctx *ctx, const struct request *request)
{
    struct scope *scope = ctx->scopes != NULL ? ctx->scopes->first : NULL;

    while (scope != NULL && ctx->request != request) {
        struct scope *outer = scope->outer;

        if (scope->state == SCOPE_OPEN) {
            leave(ctx, scope);
        }
        scope = outer;
    }
}

// NULL: no scope that is still to be cancelled stands on request.
static struct scope *
standing_on(const hark_ctx *ctx, const struct request *request)
{
    const struct list *scopes = &ctx->slot->extra->scopes;

    for (struct list *link = scopes->next; link != scopes; link = link->next) {
        struct scope *scope = CONTAINER_OF(link, struct scope, by_actor);

        if (scope->request != NULL && scope->request->outer == request
            && scope->request->state == REQUEST_OPEN) {
            return scope;
        }
    }
    return NULL;
}

void
hark__scopes_cancel(hark_ctx *ctx, const struct request *request)
{
    struct scope *scope;

    while ((scope = standing_on(ctx, request)) != NULL) {
        cancel_because(ctx, scope, HARK_ECANCELLED);
    }
}

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
            .clock_waiter = {clock_complete, clock_drop},
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
    hark__future_watch(futures, clock, &scope->clock_waiter);
    scope->clock = hark__own_name(ctx, clock).id;
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
        close_own(ctx, &scope->done);
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
        const struct futures *futures = futures_of(ctx);
        bool full = futures != NULL && futures->open_count + 1 >= futures->limit;

        hark__ctx_error(ctx, full ? HARK_ELIMIT : HARK_ENOMEM, "hark_scope_open: %s",
                        full ? "too many open futures" : "no memory");
        return (hark_scope){0, 0};
    }
    if (scope->request->state == REQUEST_CANCELLED) {
        cancel_because(ctx, scope, HARK_ECANCELLED);
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
    count_failure(scope, err, 0);
    fail_fast(ctx, scope);
    return (hark_future){0, 0};
}

// NULL: no memory.
static struct member *
new_member(hark_ctx *ctx, struct scope *scope, const struct future *future)
{
    uint8_t size_class;
    struct member *member =
        hark__pool_alloc(ctx_pool(ctx), sizeof *member, &size_class);

    if (member != NULL) {
        *member = (struct member){
            .waiter = {member_complete, member_drop},
            .scope = scope,
            .id = future->id,
            .is_open = true,
            .size_class = size_class,
        };
        hark__list_append(&scope->open, &member->link);
        scope->count++;
    }
    return member;
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
    struct member *member = new_member(ctx, scope, future);
    if (member == NULL) {
        return refuse_member(ctx, scope, name,
                             hark__ctx_error(ctx, HARK_ENOMEM, "%s: no memory", call));
    }
    if (future->parent != NULL && future->parent != scope->request) {
        hark__ask_hooks.leave(ctx, future);
        hark__parent_adopt(scope->request, future);
    }
    if (future->state == FUTURE_OPEN) {
        hark__future_watch(futures_of(ctx), future, &member->waiter);
    }
    if (future->state != FUTURE_OPEN || scope->request->state == REQUEST_CANCELLED) {
        member_ended(ctx, member, future);
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
hark_scope_spawn_ref(hark_ctx *ctx, hark_scope name, const hark_behavior *behavior,
                     const void *state, const hark_spawn_options *options)
{
    const hark_ref nobody = {0, 0};
    struct scope *scope = find_open(ctx, name, "hark_scope_spawn");

    if (scope == NULL) {
        return nobody;
    }
    struct item *item = new_item(ctx, ITEM_ACTOR);
    if (item != NULL) {
        item->stop = hark__message_alloc(ctx_pool(ctx), NULL, 0);
    }
    if (item == NULL || item->stop == NULL) {
        if (item != NULL) {
            free_item(ctx, item);
        }
        hark__ctx_error(ctx, HARK_ENOMEM, "hark_scope_spawn: no memory");
        return nobody;
    }
    item->actor = hark_spawn_ref(ctx, behavior, state, options);
    if (hark_ref_is_null(item->actor)) {
        hark__message_free(ctx_pool(ctx), item->stop);
        free_item(ctx, item);
        return nobody;
    }
    push(&scope->items, item);
    return item->actor;
}

hark_timer
hark_scope_timer_value(hark_ctx *ctx, hark_scope name, uint32_t delay_ms, hark_ref to,
                       const hark_type *type, const void *value)
{
    const hark_timer none = {0};
    struct scope *scope = find_open(ctx, name, "hark_scope_timer");

    if (scope == NULL) {
        return none;
    }
    struct item *item = new_item(ctx, ITEM_TIMER);
    if (item == NULL) {
        hark__ctx_error(ctx, HARK_ENOMEM, "hark_scope_timer: no memory");
        return none;
    }
    item->timer = hark_send_after_value(ctx, delay_ms, to, type, value);
    if (item->timer.id == 0) {
        free_item(ctx, item);
        return none;
    }
    push(&scope->items, item);
    return item->timer;
}

static hark_err
defer(hark_ctx *ctx, struct item **items, hark_cleanup *run, void *arg,
      const char *call)
{
    if (run == NULL) {
        return hark__ctx_error(ctx, HARK_EINVAL, "%s: null argument", call);
    }
    struct item *item = new_item(ctx, ITEM_CLEANUP);
    if (item == NULL) {
        return hark__ctx_error(ctx, HARK_ENOMEM, "%s: no memory", call);
    }
    item->run = run;
    item->arg = arg;
    push(items, item);
    return HARK_OK;
}

hark_err
hark_scope_defer(hark_ctx *ctx, hark_scope name, hark_cleanup *run, void *arg)
{
    struct scope *scope = find_open(ctx, name, "hark_scope_defer");

    return scope != NULL ? defer(ctx, &scope->items, run, arg, "hark_scope_defer")
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
    struct last_error *last = ctx->last_error;
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
    const struct future *future = find_future(ctx, scope->blame);

    if (scope->code == HARK_OK) {
        return HARK_OK;
    }
    if (future != NULL) {
        hark__ctx_error_of(ctx, futures_of(ctx), future);
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
    leave_inner(ctx, scope);
    scope->is_joined = true;
    if (!hark__list_is_empty(&scope->open)
        && !hark__wait(ctx, (hark_future){ctx->self.actor, scope->done})
        && !hark__list_is_empty(&scope->open)) {
        cancel_because(ctx, scope, last_code(ctx));
    }
    leave(ctx, scope);
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
    cancel_because(ctx, scope, HARK_ECANCELLED);
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
    close_scope(ctx, scope);
    return HARK_OK;
}
