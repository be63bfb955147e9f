// How scopes end: their members, their clock, cancels, and leaving.

#include "actor/await.h"
#include "actor/scope.h"
#include "hark/cancel.h"

static void
close_future(hark_ctx *ctx, struct future *future)
{
    hark__future_close(ctx_futures(ctx), ctx_pool(ctx), ctx, future);
}

// ---- members and their ends ----

static void
tell_joiner(hark_ctx *ctx, struct scope *scope)
{
    struct future *done = hark__scope_future(ctx, scope->done);

    if (scope->is_joined && hark__list_is_empty(&scope->open) && done != NULL
        && done->state == FUTURE_OPEN) {
        hark__future_settle(ctx_futures(ctx), done, NULL, HARK_OK, HARK_STAGE_RUNNING,
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
        struct future *future = hark__scope_future(ctx, member->id);

        set_ended(member);
        if (future != NULL) {
            account(ctx, member, future);
        }
    }
    hark__request_cancel(ctx, scope->request);
    tell_joiner(ctx, scope);
}

void
hark__scope_cancel(hark_ctx *ctx, struct scope *scope, int code)
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

void
hark__scope_fail(hark_ctx *ctx, struct scope *scope, int code)
{
    count_failure(scope, code, 0);
    fail_fast(ctx, scope);
}

void
hark__member_ended(hark_ctx *ctx, struct member *member, struct future *future)
{
    set_ended(member);
    account(ctx, member, future);
    fail_fast(ctx, member->scope);
    tell_joiner(ctx, member->scope);
}

static void
member_complete(struct waiter *waiter, void *turn, struct future *future)
{
    hark__member_ended(turn, CONTAINER_OF(waiter, struct member, waiter), future);
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

uint64_t
hark__scope_joined_by(const struct waiter *waiter)
{
    return waiter->complete == member_complete
               ? CONTAINER_OF(waiter, const struct member, waiter)->scope->done
               : 0;
}

struct member *
hark__member_new(hark_ctx *ctx, struct scope *scope, const struct future *future)
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
        hark__member_ended(ctx, member, future);
    }
}

// ---- its clock ----

static void
clock_complete(struct waiter *waiter, void *turn, struct future *future)
{
    struct scope *scope = CONTAINER_OF(waiter, struct scope, clock_waiter);

    scope->clock = 0;
    close_future(turn, future);
    hark__scope_cancel(turn, scope, HARK_ETIMEOUT);
}

static void
clock_drop(struct waiter *waiter, void *turn, struct future *future)
{
    (void)turn;
    (void)future;
    CONTAINER_OF(waiter, struct scope, clock_waiter)->clock = 0;
}

void
hark__scope_watch_clock(hark_ctx *ctx, struct scope *scope, struct future *clock)
{
    scope->clock_waiter = (struct waiter){clock_complete, clock_drop};
    hark__future_watch(ctx_futures(ctx), clock, &scope->clock_waiter);
    scope->clock = clock->id;
}

// ---- leaving ----

void
hark__scope_clean(hark_ctx *ctx, const struct undo *undo)
{
    struct scopes *scopes = ctx->scopes;
    uint64_t floor = scopes->floor;
    uint64_t mark = ctx->slot->extra->scope_count;
    const struct request *before = ctx->request;

    (void)hark_shield(ctx, HARK_FOREVER); // without memory it runs all the same
    scopes->floor = mark;
    undo->run(ctx, undo->arg);
    while (scopes->first != NULL && scopes->first->id > mark) {
        hark__scope_close(ctx, scopes->first);
    }
    scopes->floor = floor;
    hark__request_let_go(ctx, before);
}

void
hark__scope_close_own(hark_ctx *ctx, uint64_t *id)
{
    struct future *future = hark__scope_future(ctx, *id);

    *id = 0;
    if (future != NULL) {
        close_future(ctx, future);
    }
}

// It is open, and those inside it are left.
void
hark__scope_leave(hark_ctx *ctx, struct scope *scope)
{
    struct request *request = scope->request;

    scope->state = SCOPE_LEFT;
    cancel_all(ctx, scope);
    hark__scope_close_own(ctx, &scope->clock);
    hark__scope_close_own(ctx, &scope->done);
    hark__list_remove(&scope->by_actor);
    scope->request = NULL;
    hark__request_leave(ctx, request);
    while (scope->undos != NULL) {
        hark__undo_last(ctx, &scope->undos);
    }
}

void
hark__scope_leave_inner(hark_ctx *ctx, const struct scope *scope)
{
    struct scope *inner = ctx->scopes->first;

    while (inner != scope) {
        struct scope *outer = inner->outer;

        if (inner->state == SCOPE_OPEN) {
            hark__scope_leave(ctx, inner);
        }
        inner = outer;
    }
}

// Drops a member's future, unless somebody has taken it over since.
static void
drop_member(hark_ctx *ctx, struct member *member)
{
    struct future *future = hark__scope_future(ctx, member->id);

    hark__list_remove(&member->link);
    hark__pool_free(ctx_pool(ctx), member, member->size_class);
    if (future != NULL && future->waiter == NULL && !future->kept) {
        close_future(ctx, future);
    }
}

void
hark__scope_close(hark_ctx *ctx, struct scope *scope)
{
    struct scope **at = &ctx->scopes->first;

    if (scope->state == SCOPE_OPEN) {
        hark__scope_leave_inner(ctx, scope);
        hark__scope_leave(ctx, scope);
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
            hark__scope_close(ctx, scopes->first);
        } else {
            hark__undo_last(ctx, &scopes->cleanups);
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
            hark__scope_leave(ctx, scope);
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
        hark__scope_cancel(ctx, scope, HARK_ECANCELLED);
    }
}
