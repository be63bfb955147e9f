#include "future/future.h"

#include <stdlib.h>

#include "message/failure.h"

#define NS_PER_MS INT64_C(1000000)
#define NO_PLACE UINT32_MAX

enum {
    FIRST_PLACES = 4,
    EXACT_MS = 100, // shorter timeouts are counted by the exact clock
};

struct futures *
hark__futures_new(uint32_t limit)
{
    struct futures *futures = calloc(1, sizeof *futures);

    if (futures == NULL) {
        return NULL;
    }
    futures->limit = limit;
    futures->free = NO_PLACE;
    hark__list_init(&futures->fresh);
    hark__list_init(&futures->ready);
    return futures;
}

void
hark__futures_free(struct futures *futures, struct pool *pool, void *turn)
{
    futures->ending = true;
    for (uint32_t i = 0; i < futures->place_count; i++) {
        if (futures->places[i].future != NULL) {
            hark__future_close(futures, pool, turn, futures->places[i].future);
        }
    }
    free(futures->places);
    free(futures);
}

static bool
grow(struct futures *futures)
{
    uint32_t count =
        futures->place_count == 0 ? FIRST_PLACES : futures->place_count * 2;
    struct future_place *places = realloc(futures->places, count * sizeof *places);

    if (places == NULL) {
        return false;
    }
    for (uint32_t i = count; i-- > futures->place_count;) {
        places[i] = (struct future_place){NULL, 1, futures->free};
        futures->free = i;
    }
    futures->places = places;
    futures->place_count = count;
    return true;
}

struct future *
hark__future_open(struct futures *futures, struct pool *pool, uint32_t timeout_ms)
{
    uint8_t size_class;

    if (futures->open_count >= futures->limit) {
        return NULL;
    }
    if (futures->free == NO_PLACE && !grow(futures)) {
        return NULL;
    }
    struct future *future = hark__pool_alloc(pool, sizeof *future, &size_class);
    if (future == NULL) {
        return NULL;
    }
    uint32_t index = futures->free;
    struct future_place *place = &futures->places[index];
    futures->free = place->next_free;
    futures->open_count++;
    place->future = future;
    *future = (struct future){
        .id = (uint64_t)place->generation << 32 | index,
        .timeout_ms = timeout_ms,
        .state = FUTURE_OPEN,
        .size_class = size_class,
    };
    hark__list_init(&future->by_timeout);
    hark__list_append(&futures->fresh, &future->by_turn);
    return future;
}

static void
tell(struct future *future, void *turn)
{
    struct waiter *waiter = future->waiter;

    future->waiter = NULL;
    waiter->complete(waiter, turn, future);
}

void
hark__future_complete(struct futures *futures, void *turn, struct future *future,
                      struct hark_message *message, int code, hark_stage stage,
                      int64_t now_ns)
{
    (void)futures;
    hark__list_remove(&future->by_timeout);
    future->state = FUTURE_DONE;
    future->message = message;
    future->code = code;
    future->stage = (uint8_t)stage;
    future->ended_ns = now_ns;
    if (message != NULL && message->kind == MESSAGE_FAILURE) {
        future->code = hark__failure_of(message)->code;
        future->stage = (uint8_t)hark__failure_of(message)->stage;
    }
    if (future->waiter != NULL) {
        tell(future, turn);
    }
}

void
hark__future_close(struct futures *futures, struct pool *pool, void *turn,
                   struct future *future)
{
    struct future_place *place = &futures->places[(uint32_t)future->id];
    struct waiter *waiter = future->waiter;
    struct backing *backing = future->backing;

    hark__list_unlink(&future->by_timeout);
    hark__list_unlink(&future->by_turn);
    place->future = NULL;
    place->generation += place->generation == UINT32_MAX ? 2 : 1; // never 0
    place->next_free = futures->free;
    futures->free = (uint32_t)future->id;
    futures->open_count--;
    if (waiter != NULL) {
        waiter->drop(waiter, turn, future);
    }
    if (future->message != NULL) {
        hark__message_drop(pool, future->message);
    }
    hark__pool_free(pool, future, future->size_class);
    if (backing != NULL) {
        backing->close(backing, futures, pool, turn);
    }
}

void
hark__future_watch(struct futures *futures, struct future *future,
                   struct waiter *waiter)
{
    future->waiter = waiter;
    future->looked_at = true;
    if (future->state == FUTURE_DONE) {
        hark__list_remove(&future->by_turn);
        hark__list_append(&futures->ready, &future->by_turn);
    }
}

static int64_t
expiry_ns(const struct future *future)
{
    return future->started_ns + (int64_t)future->timeout_ms * NS_PER_MS;
}

// The list for this length; the last one when there are too many lengths.
static struct timeout_list *
list_for(struct futures *futures, uint32_t timeout_ms)
{
    for (uint32_t i = 0; i < futures->list_count; i++) {
        if (futures->lists[i].timeout_ms == timeout_ms) {
            return &futures->lists[i];
        }
    }
    if (futures->list_count == FUTURE_TIMEOUT_LISTS) {
        return &futures->lists[FUTURE_TIMEOUT_LISTS - 1];
    }
    struct timeout_list *list = &futures->lists[futures->list_count++];
    list->timeout_ms = timeout_ms;
    hark__list_init(&list->list);
    return list;
}

// Keeps the list in order of expiry. One length: the end is its place.
static void
insert(struct timeout_list *list, struct future *future)
{
    struct list *after = list->list.prev;

    while (after != &list->list
           && expiry_ns(CONTAINER_OF(after, struct future, by_timeout))
                  > expiry_ns(future)) {
        after = after->prev;
    }
    hark__list_append(after->next, &future->by_timeout); // before what comes after
}

void
hark__futures_tell_ready(struct futures *futures, void *turn)
{
    while (!hark__list_is_empty(&futures->ready)) {
        struct future *future =
            CONTAINER_OF(futures->ready.next, struct future, by_turn);

        hark__list_remove(&future->by_turn);
        tell(future, turn);
    }
}

// Watches without counting as somebody who looks.
static void
adopt(struct futures *futures, struct future *future, struct waiter *guardian)
{
    bool was_looked_at = future->looked_at;

    hark__future_watch(futures, future, guardian);
    future->looked_at = was_looked_at;
}

// Starts the clock of an open future. Returns when it runs out.
static inline __attribute__((always_inline)) int64_t
start(struct futures *futures, struct env *env, struct future *future)
{
    if (future->timeout_ms < EXACT_MS) {
        future->started_ns = hark__env_now(env);
    } else {
        int64_t lag_ns;
        int64_t now_ns = env->ops->now_coarse_ns(env, &lag_ns);

        future->started_ns = now_ns + lag_ns;
    }
    if (future->timeout_ms == HARK_FOREVER) {
        return INT64_MAX;
    }
    insert(list_for(futures, future->timeout_ms), future);
    return expiry_ns(future);
}

// INT64_MAX: it is done, or was started before a pause.
static int64_t
start_once(struct futures *futures, struct env *env, struct future *future)
{
    return future->state == FUTURE_OPEN && future->started_ns == 0
               ? start(futures, env, future)
               : INT64_MAX;
}

int64_t
hark__futures_start(struct futures *futures, struct env *env, struct waiter *guardian)
{
    int64_t first_ns = INT64_MAX;

    while (!hark__list_is_empty(&futures->fresh)) {
        struct future *future =
            CONTAINER_OF(futures->fresh.next, struct future, by_turn);

        hark__list_remove(&future->by_turn);
        int64_t expiry = start_once(futures, env, future);
        first_ns = expiry < first_ns ? expiry : first_ns;
        if (guardian != NULL && future->waiter == NULL && !future->kept) {
            adopt(futures, future, guardian);
        }
    }
    return first_ns;
}

int64_t
hark__futures_pause(struct futures *futures, struct env *env, struct list *made)
{
    int64_t first_ns = INT64_MAX;

    for (struct list *link = futures->fresh.next; link != &futures->fresh;
         link = link->next) {
        struct future *future = CONTAINER_OF(link, struct future, by_turn);
        int64_t expiry = start_once(futures, env, future);

        first_ns = expiry < first_ns ? expiry : first_ns;
    }
    hark__list_splice(made, &futures->fresh);
    return first_ns;
}

void
hark__futures_unpause(struct futures *futures, struct list *made)
{
    hark__list_splice(&futures->fresh, made);
}

void
hark__future_hold(struct future *future, struct waiter *waiter, struct list *held)
{
    future->waiter = waiter;
    hark__list_remove(&future->by_turn);
    hark__list_append(held, &future->by_turn);
}

void
hark__futures_unhold(struct futures *futures, struct list *held)
{
    hark__list_splice(&futures->ready, held);
}

int64_t
hark__futures_next_ns(const struct futures *futures)
{
    int64_t next = INT64_MAX;

    for (uint32_t i = 0; i < futures->list_count; i++) {
        const struct list *list = &futures->lists[i].list;

        if (!hark__list_is_empty(list)) {
            int64_t expiry =
                expiry_ns(CONTAINER_OF(list->next, struct future, by_timeout));
            next = expiry < next ? expiry : next;
        }
    }
    return next;
}

struct future *
hark__futures_overdue(struct futures *futures, int64_t now_ns)
{
    for (uint32_t i = 0; i < futures->list_count; i++) {
        struct list *list = &futures->lists[i].list;

        if (!hark__list_is_empty(list)) {
            struct future *first = CONTAINER_OF(list->next, struct future, by_timeout);

            if (expiry_ns(first) <= now_ns) {
                return first;
            }
        }
    }
    return NULL;
}
