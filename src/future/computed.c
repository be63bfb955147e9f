#include "future/computed.h"

#include <string.h>

#include "message/failure.h"

struct computed hark__self_made;

// ---- inputs ----

static struct input *
input_of(struct waiter *waiter)
{
    return CONTAINER_OF(waiter, struct input, waiter);
}

static void
input_complete(struct waiter *waiter, void *turn, struct future *future)
{
    struct input *input = input_of(waiter);
    struct computed *computed = input->of;

    if (computed->future != NULL && computed->future->state == FUTURE_OPEN) {
        hark__computed_enter(computed);
        computed->ops->ended(computed, turn, input, future);
        hark__computed_leave(computed, turn);
    }
}

static void
input_drop(struct waiter *waiter, void *turn, struct future *future)
{
    struct input *input = input_of(waiter);
    struct computed *computed = input->of;

    (void)turn;
    (void)future;
    // When the whole table ends, the result is about to be closed too.
    if (computed->futures->ending) {
        return;
    }
    input->id = 0;
    if (computed->future != NULL && computed->future->state == FUTURE_OPEN) {
        input->lost = true;
        hark__future_wake(computed->futures, computed->future);
    }
}

struct future *
hark__computed_of(const struct waiter *waiter)
{
    return waiter != NULL && waiter->complete == input_complete
               ? CONTAINER_OF(waiter, const struct input, waiter)->of->future
               : NULL;
}

bool
hark__futures_are_free(const struct futures *futures, const hark_future *members,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct future *future = hark__future_find(futures, members[i].id);

        if (future == NULL || future->waiter != NULL) {
            return false;
        }
    }
    return true;
}

size_t
hark__computed_watch_all(struct computed *computed, const hark_future *members)
{
    size_t watched = 0;

    for (size_t i = 0; i < computed->input_count; i++) {
        struct future *future = hark__future_find(computed->futures, members[i].id);

        if (future->waiter == NULL) {
            hark__computed_watch(computed, &computed->inputs[i], future);
            watched++;
        } else { // named twice: the first time counts
            computed->inputs[i].id = future->id;
        }
    }
    return watched;
}

void
hark__computed_watch(struct computed *computed, struct input *input,
                     struct future *future)
{
    input->waiter = (struct waiter){input_complete, input_drop};
    input->of = computed;
    input->id = future->id;
    input->lost = false;
    future->kept = true;
    hark__future_watch(computed->futures, future, &input->waiter);
}

void
hark__computed_close_input(struct computed *computed, struct input *input,
                           struct pool *pool, void *turn)
{
    struct future *future = hark__future_find(computed->futures, input->id);

    input->id = 0;
    input->lost = false;
    if (future != NULL) {
        future->waiter = NULL;
        hark__future_close(computed->futures, pool, turn, future);
    }
}

static bool
is_open(const struct computed *computed)
{
    return computed->future != NULL && computed->future->state == FUTURE_OPEN;
}

void
hark__computed_wake(struct computed *computed, void *turn)
{
    hark__computed_enter(computed);
    for (size_t i = 0; i < computed->input_count && is_open(computed); i++) {
        struct input *input = &computed->inputs[i];

        if (input->lost) {
            input->lost = false;
            computed->ops->ended(computed, turn, input, NULL);
        }
    }
    hark__computed_leave(computed, turn);
}

// ---- opening and closing ----

void *
hark__computed_new(struct futures *futures, struct pool *pool,
                   const struct computed_ops *ops, size_t size, size_t inputs)
{
    size_t total = size + inputs * sizeof(struct input);
    struct future *future = hark__future_open(futures, pool, HARK_FOREVER);
    uint8_t size_class;

    if (future == NULL) {
        return NULL;
    }
    struct computed *computed = hark__pool_alloc(pool, total, &size_class);
    if (computed == NULL) {
        hark__future_close(futures, pool, NULL, future);
        return NULL;
    }
    memset(computed, 0, total);
    *computed = (struct computed){
        .ops = ops,
        .futures = futures,
        .future = future,
        .inputs = (struct input *)(void *)((char *)computed + size),
        .input_count = inputs,
        .size_class = size_class,
    };
    future->computed = computed;
    futures->calling += ops->calls;
    return computed;
}

// The end of a computed that has no result any more.
static void
dissolve(struct computed *computed, struct pool *pool, void *turn)
{
    for (size_t i = 0; i < computed->input_count; i++) {
        hark__computed_close_input(computed, &computed->inputs[i], pool, turn);
    }
    if (computed->ops->fini != NULL) {
        computed->ops->fini(computed, pool, turn);
    }
    computed->futures->calling -= computed->ops->calls;
    hark__pool_free(pool, computed, computed->size_class);
}

void
hark__computed_enter(struct computed *computed)
{
    computed->is_busy = true;
}

void
hark__computed_leave(struct computed *computed, void *turn)
{
    computed->is_busy = false;
    if (computed->future == NULL) {
        hark__computed_close(computed, computed->futures,
                             hark__turn_pool(computed, turn), turn);
    }
}

void
hark__computed_close(struct computed *computed, struct futures *futures,
                     struct pool *pool, void *turn)
{
    if (computed == &hark__self_made) {
        return;
    }
    computed->future = NULL;
    if (computed->is_busy) {
        return;
    }
    computed->next_doomed = futures->doomed;
    futures->doomed = computed;
    if (futures->closing) {
        return;
    }
    futures->closing = true;
    while ((computed = futures->doomed) != NULL) {
        futures->doomed = computed->next_doomed;
        dissolve(computed, pool, turn);
    }
    futures->closing = false;
}

// ---- settling ----

// The result is settled, and is on its own now.
static void
part(struct computed *computed, void *turn)
{
    computed->future->computed = NULL;
    hark__computed_close(computed, computed->futures, hark__turn_pool(computed, turn),
                         turn);
}

void
hark__computed_succeed(struct computed *computed, void *turn,
                       struct hark_message *message)
{
    message->kind = MESSAGE_REPLY;
    hark__future_settle(computed->futures, computed->future, message, HARK_OK,
                        HARK_STAGE_RUNNING, 0);
    part(computed, turn);
}

void
hark__computed_fail(struct computed *computed, void *turn, int code, hark_stage stage,
                    const char *text)
{
    struct hark_message *failure = NULL;

    if (text != NULL) { // without memory the code's own text must do
        failure = hark__failure_new(hark__turn_pool(computed, turn), 0, code, stage,
                                    text, strlen(text));
    }
    hark__future_settle(computed->futures, computed->future, failure, code, stage,
                        computed->future->ended_ns);
    part(computed, turn);
}

void
hark__computed_pass(struct computed *computed, void *turn, struct future *future)
{
    if (future == NULL) {
        hark__computed_fail(computed, turn, HARK_ESTALE, HARK_STAGE_NOT_SENT,
                            "a future that this one was made of was dropped");
        return;
    }
    hark__future_settle_as(computed->futures, computed->future, future);
    part(computed, turn);
}

// ---- since when ----

enum { SINCE_DEPTH = 64 }; // futures made of futures that are looked through

// The earliest start among the inputs; *out_next: one that has none of its own.
static int64_t
first_start(const struct computed *computed, const struct future **out_next)
{
    int64_t first_ns = 0;

    *out_next = NULL;
    for (size_t i = 0; i < computed->input_count; i++) {
        const struct future *input =
            hark__future_find(computed->futures, computed->inputs[i].id);

        if (input == NULL) {
            continue;
        }
        if (input->started_ns == 0) {
            *out_next = input;
        } else if (first_ns == 0 || input->started_ns < first_ns) {
            first_ns = input->started_ns;
        }
    }
    return first_ns;
}

int64_t
hark__future_since(const struct future *future)
{
    int64_t since_ns = future->started_ns;

    for (int i = 0; since_ns == 0 && i < SINCE_DEPTH && future != NULL
                    && future->computed != NULL && future->computed != &hark__self_made;
         i++) {
        since_ns = first_start(future->computed, &future);
    }
    return since_ns;
}

// ---- callbacks ----

void
hark__outcome_begin(struct outcome *outcome, struct computed *computed,
                    struct input *input)
{
    *outcome = (struct outcome){
        .computed = computed,
        .input = input,
        .outer = computed->futures->outcome,
    };
    computed->futures->outcome = outcome;
}

bool
hark__outcome_end(struct outcome *outcome, void *turn)
{
    struct computed *computed = outcome->computed;

    computed->futures->outcome = outcome->outer;
    if (computed->future == NULL) {
        hark__outcome_free(outcome, turn);
    }
    return computed->future != NULL;
}

void
hark__outcome_fail(struct outcome *outcome, void *turn)
{
    struct computed *computed = outcome->computed;

    hark__future_settle(computed->futures, computed->future, outcome->message,
                        outcome->code, HARK_STAGE_RUNNING, 0);
    outcome->message = NULL;
    part(computed, turn);
}

void
hark__outcome_free(struct outcome *outcome, void *turn)
{
    if (outcome->message != NULL) {
        hark__message_free(hark__turn_pool(outcome->computed, turn), outcome->message);
        outcome->message = NULL;
    }
}
