#include "future/future.h"

#include <stdlib.h>

#include "future/computed.h"
#include "message/failure.h"

#define NO_PLACE UINT32_MAX

enum {
    FIRST_PLACES = 4,
};

struct futures *
hark__futures_new(uint32_t limit, struct env *env, const struct futures_host *host)
{
    struct futures *futures = calloc(1, sizeof *futures);

    if (futures == NULL) {
        return NULL;
    }
    futures->limit = limit;
    futures->env = env;
    futures->host = host;
    futures->free = NO_PLACE;
    hark__deadlines_init(&futures->deadlines);
    hark__list_init(&futures->fresh);
    hark__list_init(&futures->ready);
    return futures;
}

void
hark__futures_free(struct futures *futures, struct pool *pool, void *turn)
{
    futures->ending = true;
    futures->limit = 0; // whoever is told of this opens no more
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

// Field by field: to clear all of it takes longer.
static inline void
init(struct future *future, uint64_t id, uint32_t timeout_ms, uint8_t size_class)
{
    hark__list_init(&future->by_timeout);
    future->parent = NULL;
    future->number = 0;
    future->chain_id = 0;
    future->id = id;
    future->started_ns = 0;
    future->expires_ns = INT64_MAX;
    future->ended_ns = 0;
    future->message = NULL;
    future->waiter = NULL;
    future->made = NULL;
    future->computed = NULL;
    future->backing = NULL;
    future->blame = 0;
    future->target = (hark_ref){0, 0};
    future->asked = NULL;
    future->site = NULL;
    future->trace = 0;
    future->timeout_ms = timeout_ms;
    future->code = HARK_OK;
    future->stage = HARK_STAGE_NOT_SENT;
    future->state = FUTURE_OPEN;
    future->kept = false;
    future->looked_at = false;
    future->owes_word = false;
    future->held = 0;
    future->size_class = size_class;
    future->later.next = NULL;
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
    init(future, (uint64_t)place->generation << 32 | index, timeout_ms, size_class);
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

// What an open future becomes, which has no children in the heap of deadlines.
static inline void
end(struct future *future, struct hark_message *message, int code, hark_stage stage,
    int64_t now_ns)
{
    hark__list_remove(&future->by_timeout);
    future->state = FUTURE_DONE;
    future->message = message;
    future->code = code;
    future->stage = (uint8_t)stage;
    future->ended_ns = now_ns;
    if (message != NULL && message->kind == MESSAGE_FAILURE) {
        future->code = hark__failure_code(message);
        future->stage = (uint8_t)hark__failure_stage(message);
    }
}

// Apart, so that the common way is short.
static __attribute__((noinline)) void
complete_parent(struct futures *futures, void *turn, struct future *future,
                struct hark_message *message, int code, hark_stage stage,
                int64_t now_ns)
{
    hark__deadlines_orphan(future);
    hark__future_complete(futures, turn, future, message, code, stage, now_ns);
}

void
hark__future_complete(struct futures *futures, void *turn, struct future *future,
                      struct hark_message *message, int code, hark_stage stage,
                      int64_t now_ns)
{
    if (future->later.next != NULL) {
        complete_parent(futures, turn, future, message, code, stage, now_ns);
        return;
    }
    end(future, message, code, stage, now_ns);
    if (future->waiter != NULL) {
        tell(future, turn);
    }
}

void
hark__future_unwant(const struct futures_hooks *hooks, void *turn,
                    struct future *future)
{
    future->owes_word = !hooks->unwanted(turn, future);
}

// Of a future that is being closed.
static void
tell_hooks(const struct futures_hooks *hooks, void *turn, struct future *future)
{
    if (future->state == FUTURE_OPEN) {
        hark__future_unwant(hooks, turn, future);
    }
    if (future->parent != NULL) {
        hooks->leave(turn, future);
    }
}

static void
make_ready(struct futures *futures, struct future *future)
{
    hark__list_remove(&future->by_turn);
    hark__list_append(&futures->ready, &future->by_turn);
}

// As complete_parent.
static __attribute__((noinline)) void
settle_parent(struct futures *futures, struct future *future,
              struct hark_message *message, int code, hark_stage stage, int64_t now_ns)
{
    hark__deadlines_orphan(future);
    hark__future_settle(futures, future, message, code, stage, now_ns);
}

void
hark__future_settle(struct futures *futures, struct future *future,
                    struct hark_message *message, int code, hark_stage stage,
                    int64_t now_ns)
{
    if (future->later.next != NULL) {
        settle_parent(futures, future, message, code, stage, now_ns);
        return;
    }
    end(future, message, code, stage, now_ns);
    if (future->waiter != NULL) {
        make_ready(futures, future);
    }
}

void
hark__future_wake(struct futures *futures, struct future *future)
{
    make_ready(futures, future);
}

// Whose error a failed future tells.
static const struct future *
to_blame(const struct futures *futures, const struct future *future)
{
    const struct future *blame = hark__future_find(futures, future->blame);

    return blame != NULL ? blame : future;
}

void
hark__future_blame(struct futures *futures, struct future *to,
                   const struct future *from)
{
    from = to_blame(futures, from);
    to->target = from->target;
    to->asked = from->asked;
    to->trace = from->trace;
    to->site = from->site != NULL ? from->site : to->site;
    to->started_ns = from->started_ns;
}

void
hark__future_settle_as(struct futures *futures, struct future *to, struct future *from)
{
    const struct future *whose = to_blame(futures, from);
    int64_t ended_ns = whose->ended_ns;
    struct hark_message *message = from->message;
    int code = from->code;
    hark_stage stage = (hark_stage)from->stage;

    if (code != HARK_OK) {
        hark__future_blame(futures, to, whose);
        if (message == NULL && whose != from) { // it is closed together with from
            struct future *blame = hark__future_find(futures, from->blame);

            message = blame->message;
            blame->message = NULL;
        }
    }
    from->message = NULL;
    if (from->held != 0 && to->held == 0) {
        to->held = from->held;
        from->held = 0;
    }
    hark__future_settle(futures, to, message, code, stage, ended_ns);
}

static inline bool
is_unseen(const struct future *future)
{
    return future->state == FUTURE_DONE && future->code != HARK_OK
           && !future->looked_at;
}

// What belongs to a future whose place is free already.
static void
dispose(struct futures *futures, struct pool *pool, void *turn, struct future *future)
{
    struct computed *computed = future->computed;
    uint64_t held_id = future->held;
    struct backing *backing = future->backing;

    if (is_unseen(future)) {
        futures->host->unseen(futures, turn, future);
    }
    if (future->message != NULL) {
        hark__message_drop(pool, future->message);
    }
    if (future->owes_word && futures->hooks != NULL) { // who else would owe it
        futures->hooks->last_word(turn, future);
    } else {
        hark__pool_free(pool, future, future->size_class);
    }
    if (backing != NULL) {
        backing->close(backing, turn);
    }
    if (computed != NULL) {
        hark__computed_close(computed, futures, pool, turn);
    }
    struct future *held = held_id != 0 ? hark__future_find(futures, held_id) : NULL;
    if (held != NULL) {
        hark__future_close(futures, pool, turn, held);
    }
}

void
hark__future_close(struct futures *futures, struct pool *pool, void *turn,
                   struct future *future)
{
    struct future_place *place = &futures->places[(uint32_t)future->id];
    struct waiter *waiter = future->waiter;

    if ((future->state == FUTURE_OPEN || future->parent != NULL)
        && futures->hooks != NULL) {
        tell_hooks(futures->hooks, turn, future);
    }
    if (future->later.next != NULL) {
        hark__deadlines_orphan(future);
    }
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
    dispose(futures, pool, turn, future);
}

void
hark__future_watch(struct futures *futures, struct future *future,
                   struct waiter *waiter)
{
    future->waiter = waiter;
    future->looked_at = true;
    if (future->state == FUTURE_DONE) {
        make_ready(futures, future);
    }
}

// Nobody waits for it (yet): whether anybody will is seen when its turn is over.
static void
make_fresh(struct futures *futures, struct future *future)
{
    struct list *list = future->made != NULL ? future->made : &futures->fresh;

    hark__list_remove(&future->by_turn);
    hark__list_append(list, &future->by_turn);
}

static void
wake(struct futures *futures, void *turn, struct future *future)
{
    uint64_t id = future->id;

    hark__computed_wake(future->computed, turn);
    future = hark__future_find(futures, id);
    if (future != NULL && future->waiter == NULL) {
        make_fresh(futures, future);
    }
}

void
hark__futures_tell_them(struct futures *futures, void *turn)
{
    while (!hark__list_is_empty(&futures->ready)) {
        struct future *future =
            CONTAINER_OF(futures->ready.next, struct future, by_turn);

        hark__list_remove(&future->by_turn);
        if (future->state == FUTURE_OPEN) {
            wake(futures, turn, future);
        } else if (future->waiter != NULL) {
            tell(future, turn);
        } else {
            make_fresh(futures, future);
        }
    }
}

void
hark__future_adopt(struct futures *futures, struct future *future,
                   struct waiter *guardian)
{
    bool was_looked_at = future->looked_at;

    hark__future_watch(futures, future, guardian);
    future->looked_at = was_looked_at;
}

void
hark__future_cancel(struct futures *futures, void *turn, struct future *future,
                    hark_stage stage, int64_t now_ns)
{
    if (futures->hooks != NULL) {
        hark__future_unwant(futures->hooks, turn, future);
    }
    future->looked_at = true; // it was meant to fail
    if (future->computed != NULL && future->computed != &hark__self_made) {
        future->ended_ns = now_ns;
        hark__computed_fail(future->computed, turn, HARK_ECANCELLED, stage, NULL);
    } else {
        hark__future_settle(futures, future, NULL, HARK_ECANCELLED, stage, now_ns);
    }
}

// hark__deadlines_add; most often its place is the end of a list.
static inline void
add_deadline(struct deadlines *deadlines, struct future *future)
{
    struct list *list = hark__deadlines_list(deadlines, future->timeout_ms);

    if (list != NULL
        && (hark__list_is_empty(list)
            || CONTAINER_OF(list->prev, struct future, by_timeout)->expires_ns
                   <= future->expires_ns)) {
        hark__list_append(list, &future->by_timeout);
    } else {
        hark__deadlines_add(deadlines, future);
    }
}

// Starts the clock of an open future. Returns when it runs out.
static inline __attribute__((always_inline)) int64_t
start(struct futures *futures, struct env *env, struct future *future)
{
    if (future->timeout_ms == HARK_FOREVER && future->asked == NULL) {
        return INT64_MAX; // it is no ask, whose errors say how long it took
    }
    if (future->started_ns == 0) {
        hark__future_count_from(future, hark__futures_now(env, future->timeout_ms));
    }
    if (future->timeout_ms != HARK_FOREVER) {
        add_deadline(&futures->deadlines, future);
    }
    return future->expires_ns;
}

// INT64_MAX: it is done, or was started before a pause.
static inline __attribute__((always_inline)) int64_t
start_once(struct futures *futures, struct env *env, struct future *future)
{
    return future->state == FUTURE_OPEN && hark__list_is_empty(&future->by_timeout)
               ? start(futures, env, future)
               : INT64_MAX;
}

int64_t
hark__futures_start(struct futures *futures, struct env *env, void *turn)
{
    int64_t first_ns = INT64_MAX;

    while (!hark__list_is_empty(&futures->fresh)) {
        struct future *future =
            CONTAINER_OF(futures->fresh.next, struct future, by_turn);

        hark__list_remove(&future->by_turn);
        if (turn != NULL && future->waiter == NULL && !future->kept) {
            hark__future_close(futures, futures->host->pool_of(turn), turn, future);
            continue;
        }
        int64_t expiry = start_once(futures, env, future);
        first_ns = expiry < first_ns ? expiry : first_ns;
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

        future->made = made;
        first_ns = expiry < first_ns ? expiry : first_ns;
    }
    hark__list_splice(made, &futures->fresh);
    return first_ns;
}

static void
forget_made(struct list *list, const struct list *made)
{
    for (struct list *link = list->next; link != list; link = link->next) {
        struct future *future = CONTAINER_OF(link, struct future, by_turn);

        if (future->made == made) {
            future->made = NULL;
        }
    }
}

void
hark__futures_unpause(struct futures *futures, struct list *made)
{
    forget_made(made, made);
    forget_made(&futures->ready, made);
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
hark__futures_next_ns(struct futures *futures)
{
    const struct future *first = hark__deadlines_first(&futures->deadlines);

    return first != NULL ? first->expires_ns : INT64_MAX;
}

struct future *
hark__futures_overdue(struct futures *futures, int64_t now_ns)
{
    struct future *first = hark__deadlines_first(&futures->deadlines);

    return first != NULL && first->expires_ns <= now_ns ? first : NULL;
}

hark_error
hark__future_error(const struct futures *futures, const struct future *future)
{
    const struct future *whose = to_blame(futures, future);
    hark_error error = {
        .code = future->code,
        .stage = (hark_stage)future->stage,
        .text = hark_err_text(future->code),
        .target = whose->target,
        .type = whose->asked != NULL ? whose->asked->name : NULL,
        .site = whose->site,
        .trace = whose->trace,
    };

    if (whose->message != NULL && whose->message->kind == MESSAGE_FAILURE
        && hark__failure_text(whose->message) != NULL) {
        error.text = hark__failure_text(whose->message);
    }
    if (whose->started_ns != 0 && whose->ended_ns > whose->started_ns) {
        error.elapsed_ms =
            (uint32_t)((whose->ended_ns - whose->started_ns) / NS_PER_MS);
    }
    return error;
}
