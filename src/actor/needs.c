#include "actor/needs.h"

#include "actor/scope.h"

enum {
    DEPTH = 8,   // futures made of futures made of ...
    WIDTH = 256, // futures of one, that are looked at
};

// One walk through a formula.
struct walk {
    const struct await *await;
    const struct futures *futures;
    bool with_choices; // go where one of several may do, too
    see_ask *see;
    void *arg;
};

// The scope that the handler waits to join by future. NULL: none.
static const struct scope *
scope_of(const struct walk *walk, const struct future *future)
{
    const struct scopes *scopes = walk->await->ctx->scopes;
    const struct scope *scope = scopes != NULL ? scopes->first : NULL;

    while (scope != NULL && (scope->done != future->id || !scope->is_joined)) {
        scope = scope->outer;
    }
    return scope;
}

static struct future *
member_of(const struct walk *walk, const struct list *link)
{
    return hark__future_find(walk->futures,
                             CONTAINER_OF(link, const struct member, link)->id);
}

static bool visit(const struct walk *walk, struct future *future, int depth);

static bool
visit_members(const struct walk *walk, const struct scope *scope, int depth)
{
    int left = WIDTH;

    for (const struct list *link = scope->open.next; link != &scope->open && left-- > 0;
         link = link->next) {
        if (!visit(walk, member_of(walk, link), depth + 1)) {
            return false;
        }
    }
    return true;
}

static bool
visit_inputs(const struct walk *walk, const struct computed *computed, int depth)
{
    size_t count = computed->ops->needs == NEEDS_FIRST ? 1 : computed->input_count;

    for (size_t i = 0; i < count && i < WIDTH; i++) {
        if (!visit(walk, hark__future_find(walk->futures, computed->inputs[i].id),
                   depth + 1)) {
            return false;
        }
    }
    return true;
}

// It is no ask, and made of no others.
static bool
is_own(const struct future *future)
{
    return future->computed == NULL || future->computed == &hark__self_made;
}

// The scopes of a handler are few; a future of its owner need not be one's.
static bool
visit_own(const struct walk *walk, const struct future *future, int depth)
{
    const struct scope *scope = scope_of(walk, future);

    return scope == NULL || visit_members(walk, scope, depth);
}

// False: see wants no more. future: NULL: none.
static bool
visit(const struct walk *walk, struct future *future, int depth)
{
    if (future == NULL || future->state != FUTURE_OPEN || depth == DEPTH) {
        return true;
    }
    if (hark__future_is_ask(future) || hark__future_is_item(future)) {
        return walk->see(walk->arg, future);
    }
    const struct computed *computed = future->computed;
    if (is_own(future)) {
        return visit_own(walk, future, depth);
    }
    if (computed->ops->needs == NEEDS_NOTHING
        || (computed->ops->needs == NEEDS_ONE && !walk->with_choices)) {
        return true;
    }
    return visit_inputs(walk, computed, depth);
}

static bool
walk_from(const hark_ctx *ctx, const struct await *await, bool with_choices,
          see_ask *see, void *arg)
{
    const struct futures *futures = ctx_futures(ctx);
    const struct walk walk = {await, futures, with_choices, see, arg};

    return visit(&walk, hark__future_find(futures, await->future), 0);
}

bool
hark__needs_each(const hark_ctx *ctx, const struct await *await, see_ask *see,
                 void *arg)
{
    return walk_from(ctx, await, false, see, arg);
}

bool
hark__needs_each_way(const hark_ctx *ctx, const struct await *await, see_ask *see,
                     void *arg)
{
    return walk_from(ctx, await, true, see, arg);
}

static bool
count(void *arg, struct future *future)
{
    (void)future;
    ++*(size_t *)arg;
    return true;
}

bool
hark__needs_choice(const hark_ctx *ctx, const struct await *await)
{
    size_t needed = 0, all = 0;

    (void)hark__needs_each(ctx, await, count, &needed);
    (void)hark__needs_each_way(ctx, await, count, &all);
    return all > needed;
}

// ---- which cannot succeed ----

static struct future *find_dead(const struct walk *walk, struct future *future,
                                int depth);

static struct future *
find_dead_member(const struct walk *walk, const struct scope *scope, int depth)
{
    struct future *dead = NULL;
    int left = WIDTH;

    for (const struct list *link = scope->open.next;
         link != &scope->open && left-- > 0 && dead == NULL; link = link->next) {
        dead = find_dead(walk, member_of(walk, link), depth + 1);
    }
    return dead;
}

// Of a future that needs all of its inputs, or the first.
static struct future *
find_dead_input(const struct walk *walk, const struct computed *computed, int depth)
{
    size_t count = computed->ops->needs == NEEDS_FIRST ? 1 : computed->input_count;
    struct future *dead = NULL;

    for (size_t i = 0; i < count && i < WIDTH && dead == NULL; i++) {
        dead = find_dead(walk, hark__future_find(walk->futures, computed->inputs[i].id),
                         depth + 1);
    }
    return dead;
}

// Of a future to which one input may do: it is dead if all are that it still has.
static struct future *
find_dead_choice(const struct walk *walk, const struct computed *computed, int depth)
{
    struct future *first = NULL;

    if (computed->input_count > WIDTH) {
        return NULL;
    }
    for (size_t i = 0; i < computed->input_count; i++) {
        struct future *input = hark__future_find(walk->futures, computed->inputs[i].id);
        struct future *dead = input != NULL ? find_dead(walk, input, depth + 1) : NULL;

        if (dead == NULL && (input != NULL || computed->inputs[i].lost)) {
            return NULL;
        }
        first = first != NULL ? first : dead;
    }
    return first;
}

// NULL: future may succeed, or has ended.
static struct future *
find_dead(const struct walk *walk, struct future *future, int depth)
{
    if (future == NULL || future->state != FUTURE_OPEN || depth == DEPTH) {
        return NULL;
    }
    if (hark__future_is_ask(future) || hark__future_is_item(future)) {
        return walk->see(walk->arg, future) ? future : NULL;
    }
    const struct computed *computed = future->computed;
    if (is_own(future)) {
        const struct scope *scope = scope_of(walk, future);

        return scope != NULL ? find_dead_member(walk, scope, depth) : NULL;
    }
    if (computed->ops->needs == NEEDS_NOTHING) {
        return NULL;
    }
    return computed->ops->needs == NEEDS_ONE ? find_dead_choice(walk, computed, depth)
                                             : find_dead_input(walk, computed, depth);
}

struct future *
hark__needs_dead(const hark_ctx *ctx, const struct await *await, see_ask *is_dead,
                 void *arg)
{
    const struct futures *futures = ctx_futures(ctx);
    const struct walk walk = {await, futures, true, is_dead, arg};

    return find_dead(&walk, hark__future_find(futures, await->future), 0);
}

// ---- whose they are ----

struct await *
hark__needs_of(const hark_ctx *ctx, const struct future *future)
{
    for (int i = 0; i < DEPTH && future != NULL && future->waiter != NULL; i++) {
        struct await *await = hark__await_of(future->waiter);

        if (await != NULL) {
            return await->waits ? await : NULL;
        }
        uint64_t joined = hark__scope_joined_by(future->waiter);
        future = joined != 0 ? hark__future_find(ctx_futures(ctx), joined)
                             : hark__computed_of(future->waiter);
    }
    return NULL;
}
