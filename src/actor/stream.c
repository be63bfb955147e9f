// The consumer's end of a stream.

#include "hark/stream.h"

#include <stdlib.h>

#include "actor/stream.h"
#include "future/computed.h"

enum { DEFAULT_WINDOW = 64, FIRST_PLACES = 16 };

// ---- queues ----

static bool
grow(struct queue *queue)
{
    uint32_t capacity = queue->capacity == 0 ? FIRST_PLACES : queue->capacity * 2;
    union queued *places = malloc(capacity * sizeof *places);

    if (places == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < queue->count; i++) {
        places[i] = queue->places[(queue->first + i) & (queue->capacity - 1)];
    }
    free(queue->places);
    queue->places = places;
    queue->capacity = capacity;
    queue->first = 0;
    return true;
}

bool
hark__queue_push(struct queue *queue, union queued what)
{
    if (queue->count == queue->capacity && !grow(queue)) {
        return false;
    }
    queue->places[(queue->first + queue->count++) & (queue->capacity - 1)] = what;
    return true;
}

union queued
hark__queue_pop(struct queue *queue)
{
    union queued what = queue->places[queue->first];

    queue->first = (queue->first + 1) & (queue->capacity - 1);
    queue->count--;
    return what;
}

void
hark__queue_free(struct queue *queue)
{
    free(queue->places);
    *queue = (struct queue){0};
}

// ---- state ----

struct stream {
    struct waiter waiter;         // of the ask's future
    struct queue items;           // that nobody has taken yet
    struct queue nexts;           // ids of futures that wait, while there are no items
    struct hark_message *current; // lent by the last await; NULL: none
    uint32_t window;
    uint32_t credits; // items that the producer may still send
    uint32_t taken;   // items since the last credit was given
    uint32_t came;    // items ever
    uint32_t item_ms;
    bool kept;
    bool is_starved; // the last credits could not be sent: no memory
    uint8_t size_class;
};

// What a handler or continuation has opened, in its scratch memory.
struct opened {
    struct opened *next;
    uint64_t id;
};

static void stream_complete(struct waiter *waiter, void *turn, struct future *future);
static void stream_drop(struct waiter *waiter, void *turn, struct future *future);

// NULL: it is not a stream's future.
static struct stream *
stream_of(const struct future *future)
{
    return future != NULL && future->waiter != NULL
                   && future->waiter->complete == stream_complete
               ? CONTAINER_OF(future->waiter, struct stream, waiter)
               : NULL;
}

// The future of a stream of ctx. NULL: there is none, and that is the error of ctx.
static struct future *
find(hark_ctx *ctx, hark_stream name, const char *call)
{
    struct future *future = hark__ctx_future(ctx, (hark_future){name.owner, name.id});

    if (stream_of(future) == NULL) {
        if (!hark__ctx_error_tells(ctx, name.id)) {
            hark__ctx_error(ctx, HARK_ESTALE,
                            "%s: the stream is closed, or is not of this actor or "
                            "thread",
                            call);
        }
        return NULL;
    }
    return future;
}

// ---- credits ----

// The asker has taken items: when they are half a window, the producer hears of it.
static void
grant(hark_ctx *ctx, const struct future *future, struct stream *stream)
{
    if (future->state != FUTURE_OPEN || stream->taken * 2 < stream->window) {
        return;
    }
    hark_err err =
        hark__send_credit(ctx, future->target, future, (uint16_t)stream->taken);
    stream->is_starved = err == HARK_ENOMEM; // other errors end the stream
    if (err == HARK_OK) {
        stream->credits += stream->taken;
        stream->taken = 0;
    }
}

// The producer has sent all that it may, and there was no memory to tell it of more.
static bool
stands_still(const struct future *future, const struct stream *stream)
{
    return future->state == FUTURE_OPEN && stream->credits == 0 && stream->is_starved;
}

// Gives the first item; there is one.
static struct hark_message *
take(hark_ctx *ctx, const struct future *future, struct stream *stream)
{
    struct hark_message *message = hark__queue_pop(&stream->items).message;

    stream->taken++;
    grant(ctx, future, stream);
    if (stream->taken == 0) {
        hark__ctx_flush(ctx); // this handler may go on for long with what is here
    }
    return message;
}

// ---- what comes ----

_Static_assert(sizeof(void *) == sizeof(uint64_t), "a pointer has room for an id");

const struct future *
hark__item_ask(const hark_ctx *ctx, const struct future *next, uint32_t *out_items)
{
    const struct future *future =
        hark__future_find(ctx_futures(ctx), (uint64_t)(uintptr_t)next->waiter_arg);
    const struct stream *stream = stream_of(future);

    if (stream == NULL || future->state != FUTURE_OPEN) {
        return NULL;
    }
    *out_items = stream->came;
    return future;
}

// Gives the first of those who wait for an item; NULL: nobody does.
static struct future *
first_waiting(const hark_ctx *ctx, struct stream *stream)
{
    while (stream->nexts.count > 0) {
        struct future *next =
            hark__future_find(ctx_futures(ctx), hark__queue_pop(&stream->nexts).id);

        if (next != NULL && next->state == FUTURE_OPEN) {
            return next;
        }
    }
    return NULL;
}

// Takes message, but on error. False: no memory.
static bool
give(hark_ctx *ctx, struct stream *stream, struct hark_message *message)
{
    struct future *next = first_waiting(ctx, stream);

    if (next == NULL) {
        return hark__queue_push(&stream->items, (union queued){.message = message});
    }
    hark__future_settle(ctx_futures(ctx), next, message, HARK_OK, HARK_STAGE_RUNNING,
                        0);
    stream->taken++;
    return true;
}

static void
fail_starved(hark_ctx *ctx, struct future *next)
{
    hark__future_settle(ctx_futures(ctx), next, NULL, HARK_ENOMEM, HARK_STAGE_RUNNING,
                        hark__env_now(ctx->node->env));
}

// For those who wait nothing would come. Who asks later has the credits sent again.
static __attribute__((cold, noinline)) void
starve(hark_ctx *ctx, struct stream *stream)
{
    struct future *next;

    while ((next = first_waiting(ctx, stream)) != NULL) {
        fail_starved(ctx, next);
    }
}

void
hark__item_came(hark_ctx *ctx, struct hark_message *message)
{
    struct futures *futures = ctx_futures(ctx);
    struct future *future = hark__future_find(futures, message->correlation);
    struct stream *stream = stream_of(future);

    if (stream == NULL || future->state == FUTURE_DONE) {
        hark__bounce_message(ctx, ctx->self, message, HARK_ESTALE,
                             HARK_STAGE_REPLY_LOST,
                             "the stream that this item is for is closed");
        return;
    }
    if (!give(ctx, stream, message)) {
        hark__bounce_message(ctx, ctx->self, message, HARK_ENOMEM,
                             HARK_STAGE_REPLY_LOST, NULL);
        hark__future_complete(futures, ctx, future, NULL, HARK_ENOMEM,
                              HARK_STAGE_REPLY_LOST, hark__env_now(ctx->node->env));
        return;
    }
    message->flags |= MESSAGE_HELD;
    stream->came++;
    stream->credits -= stream->credits > 0;
    grant(ctx, future, stream);
    if (stands_still(future, stream)) {
        starve(ctx, stream);
    }
}

// ---- the end ----

// No item comes for next any more, since future has ended.
static void
fail_next(hark_ctx *ctx, struct future *next, struct future *future)
{
    if (future->code == HARK_EEND) {
        next->looked_at = true; // that is no failure to look for
    }
    future->looked_at = true; // from now on it is next's
    next->blame = future->id;
    hark__future_settle(ctx_futures(ctx), next, NULL, future->code,
                        (hark_stage)future->stage, hark__env_now(ctx->node->env));
}

// A handler has replied: a stream of one item, and its end.
static void
take_reply(hark_ctx *ctx, struct stream *stream, struct future *future)
{
    struct hark_message *message = future->message;

    future->message = NULL;
    future->code = HARK_EEND;
    future->stage = HARK_STAGE_RUNNING;
    if (!give(ctx, stream, message)) {
        hark__message_drop(ctx_pool(ctx), message);
        future->code = HARK_ENOMEM;
        future->stage = HARK_STAGE_REPLY_LOST;
    }
}

// The future of the ask has ended; the stream stays until that is closed.
static void
stream_complete(struct waiter *waiter, void *turn, struct future *future)
{
    struct stream *stream = CONTAINER_OF(waiter, struct stream, waiter);
    hark_ctx *ctx = turn;
    struct future *next;

    future->waiter = waiter;
    if (future->code == HARK_OK) {
        take_reply(ctx, stream, future);
    } else if (future->code == HARK_ETIMEOUT
               || future->stage == HARK_STAGE_REPLY_LOST) {
        // It was this side that ended it.
        future->owes_word =
            !hark__send_cancel(ctx, future->target, future->id, future->number);
    }
    future->looked_at = future->code == HARK_EEND || future->code == HARK_ECANCELLED;
    while ((next = first_waiting(ctx, stream)) != NULL) {
        fail_next(ctx, next, future);
    }
}

static void
free_stream(struct stream *stream, struct pool *pool)
{
    while (stream->items.count > 0) {
        hark__message_drop(pool, hark__queue_pop(&stream->items).message);
    }
    if (stream->current != NULL) {
        hark__message_drop(pool, stream->current);
    }
    hark__queue_free(&stream->items);
    hark__queue_free(&stream->nexts);
    hark__pool_free(pool, stream, stream->size_class);
}

// The future is being closed.
static void
stream_drop(struct waiter *waiter, void *turn, struct future *future)
{
    struct stream *stream = CONTAINER_OF(waiter, struct stream, waiter);
    hark_ctx *ctx = turn;
    struct future *next;

    (void)future;
    while ((next = first_waiting(ctx, stream)) != NULL) {
        next->looked_at = true; // whoever closes it knows
        hark__future_settle(ctx_futures(ctx), next, NULL, HARK_ECANCELLED,
                            HARK_STAGE_RUNNING, hark__env_now(ctx->node->env));
    }
    free_stream(stream, ctx_pool(ctx));
}

static void
close_stream(hark_ctx *ctx, struct future *future)
{
    hark__future_close(ctx_futures(ctx), ctx_pool(ctx), ctx, future);
}

void
hark__streams_close_opened(hark_ctx *ctx)
{
    while (ctx->opened != NULL) {
        struct future *future = hark__future_find(ctx_futures(ctx), ctx->opened->id);
        const struct stream *stream = stream_of(future);

        ctx->opened = ctx->opened->next;
        if (stream != NULL && !stream->kept) {
            close_stream(ctx, future);
        }
    }
}

hark_err
hark_stream_close(hark_ctx *ctx, hark_stream name)
{
    struct future *future = find(ctx, name, "hark_stream_close");

    if (future == NULL) {
        return HARK_ESTALE;
    }
    future->looked_at = true;
    close_stream(ctx, future);
    return HARK_OK;
}

hark_err
hark_stream_keep(hark_ctx *ctx, hark_stream name)
{
    const struct future *future = find(ctx, name, "hark_stream_keep");

    if (future == NULL) {
        return HARK_ESTALE;
    }
    stream_of(future)->kept = true;
    return HARK_OK;
}

// ---- opening ----

static struct stream *
new_stream(hark_ctx *ctx, const hark_stream_options *options)
{
    uint8_t size_class;
    struct stream *stream =
        hark__pool_alloc(ctx_pool(ctx), sizeof *stream, &size_class);
    uint32_t window =
        options != NULL && options->window != 0 ? options->window : DEFAULT_WINDOW;

    if (stream != NULL) {
        *stream = (struct stream){
            .waiter = {stream_complete, stream_drop},
            .window = window < UINT16_MAX ? window : UINT16_MAX,
            .credits = window < UINT16_MAX ? window : UINT16_MAX,
            .item_ms = options != NULL && options->item_ms != 0
                           ? options->item_ms
                           : ctx->node->limits.ask_timeout_ms,
            .size_class = size_class,
        };
    }
    return stream;
}

// The handler that runs closes the stream, unless it keeps it. False: no memory.
static bool
remember(hark_ctx *ctx, uint64_t id)
{
    if (ctx->is_thread) {
        return true;
    }
    struct opened *opened = hark_alloc(ctx, sizeof *opened);
    if (opened != NULL) {
        *opened = (struct opened){ctx->opened, id};
        ctx->opened = opened;
    }
    return opened != NULL;
}

hark_stream
hark_stream_open_at(hark_ctx *ctx, const char *site, const hark_stream_options *options,
                    hark_ref to, const hark_type *type, const void *value)
{
    struct future *future =
        ctx != NULL ? hark__ask_future(ctx, to, type, HARK_FOREVER, site) : NULL;

    if (future == NULL) {
        return (hark_stream){0, 0};
    }
    struct stream *stream = new_stream(ctx, options);
    if (stream != NULL) {
        hark__future_watch(ctx_futures(ctx), future, &stream->waiter);
    }
    if (stream == NULL || !remember(ctx, future->id)) {
        future->target = (hark_ref){0, 0}; // nobody was asked yet
        close_stream(ctx, future);
        hark__ctx_error(ctx, HARK_ENOMEM, "hark_stream_open: no memory");
        return (hark_stream){0, 0};
    }
    hark_stream name = {ctx->self.actor, future->id};
    hark__ask_for(ctx, to,
                  &(struct outgoing){.type = type,
                                     .value = value,
                                     .credits = (uint16_t)stream->window,
                                     .call = "hark_stream_open"},
                  future);
    return name;
}

// ---- taking ----

// Opens a future for an item. NULL: the error of ctx is set.
static struct future *
open_next(hark_ctx *ctx, const struct future *future, uint32_t timeout_ms)
{
    struct futures *futures = ctx_futures(ctx);
    struct future *next = hark__future_open(futures, ctx_pool(ctx), timeout_ms);

    if (next == NULL) {
        hark__ctx_error_futures(ctx, futures->open_count >= futures->limit);
        return NULL;
    }
    next->computed = &hark__self_made; // so no cancel of its own goes out
    next->waiter_arg = (void *)(uintptr_t)future->id;
    next->target = future->target;
    next->asked = future->asked;
    next->site = future->site;
    next->trace = future->trace;
    return next;
}

// Those at the front that wait no more make room.
static void
tidy_nexts(const hark_ctx *ctx, struct stream *stream)
{
    struct queue *nexts = &stream->nexts;

    while (nexts->count > 0) {
        const struct future *next =
            hark__future_find(ctx_futures(ctx), nexts->places[nexts->first].id);

        if (next != NULL && next->state == FUTURE_OPEN) {
            return;
        }
        (void)hark__queue_pop(nexts);
    }
}

// next gets an item or the end, now or later.
static void
serve(hark_ctx *ctx, struct future *next, struct future *future)
{
    struct stream *stream = stream_of(future);

    if (stream->items.count > 0) {
        hark__future_settle(ctx_futures(ctx), next, take(ctx, future, stream), HARK_OK,
                            HARK_STAGE_RUNNING, 0);
        return;
    }
    if (future->state == FUTURE_DONE) {
        fail_next(ctx, next, future);
        return;
    }
    tidy_nexts(ctx, stream);
    grant(ctx, future, stream); // if the last items' could not be sent
    if (stands_still(future, stream)
        || !hark__queue_push(&stream->nexts, (union queued){.id = next->id})) {
        fail_starved(ctx, next);
    }
}

hark_future
hark_stream_next(hark_ctx *ctx, hark_stream name)
{
    struct future *future = find(ctx, name, "hark_stream_next");
    struct request *parent = NULL;

    if (future == NULL) {
        return hark_future_failed_at(ctx, NULL, hark_error_of(ctx)->code, "%s",
                                     hark_error_of(ctx)->text);
    }
    uint32_t limit_ms = stream_of(future)->item_ms;
    if (ctx->owes_answer || ctx->request != NULL) {
        parent = hark__parent(ctx, &limit_ms);
    }
    struct future *next = open_next(ctx, future, limit_ms);
    if (next == NULL) {
        return (hark_future){0, 0};
    }
    if (parent != NULL) {
        hark__parent_adopt(parent, next);
    }
    serve(ctx, next, future);
    return hark__own_name(ctx, next);
}

// Waits for an item. NULL: the error of ctx is set.
static struct hark_message *
wait_for(hark_ctx *ctx, hark_stream name, const hark_type *type)
{
    struct future *future = find(ctx, name, "hark_stream_await");
    struct future *next = open_next(ctx, future, stream_of(future)->item_ms);
    struct hark_message *message = NULL;

    if (next == NULL) {
        return NULL;
    }
    serve(ctx, next, future);
    hark_future waits = hark__own_name(ctx, next);
    // Its error is ours; an item of another type is told of by who takes it.
    const void *seen = hark_await_value(ctx, waits, type);
    (void)seen;
    next = hark__ctx_future(ctx, waits);
    if (next == NULL) {
        return NULL;
    }
    if (next->state == FUTURE_DONE && next->code == HARK_OK
        && find(ctx, name, "hark_stream_await") != NULL) {
        message = next->message;
        next->message = NULL;
    }
    next->looked_at = true;
    close_stream(ctx, next);
    return message;
}

// The item that is lent from now on. NULL: the error of ctx is set.
static struct hark_message *
take_or_wait(hark_ctx *ctx, hark_stream name, const hark_type *type)
{
    struct future *future = find(ctx, name, "hark_stream_await");
    struct stream *stream = stream_of(future);

    if (stream == NULL) {
        return NULL;
    }
    if (stream->current != NULL) {
        hark__message_drop(ctx_pool(ctx), stream->current);
        stream->current = NULL;
    }
    if (stream->items.count > 0) {
        stream->current = take(ctx, future, stream);
    } else if (future->state == FUTURE_DONE) {
        future->looked_at = true;
        hark__ctx_error_of(ctx, ctx_futures(ctx), future);
    } else {
        struct hark_message *message = wait_for(ctx, name, type);

        if (message == NULL) {
            return NULL;
        }
        stream = stream_of(find(ctx, name, "hark_stream_await"));
        stream->current = message;
    }
    return stream->current;
}

const void *
hark_stream_await_value(hark_ctx *ctx, hark_stream name, const hark_type *type)
{
    if (ctx == NULL || type == NULL) {
        hark__ctx_error(ctx, HARK_EINVAL, "hark_stream_await: null argument");
        return NULL;
    }
    const struct hark_message *message = take_or_wait(ctx, name, type);
    const void *value = message != NULL ? hark_message_as(message, type) : NULL;
    if (message != NULL && value == NULL) {
        hark__ctx_error(ctx, HARK_ETYPE, "the item is %s, not %s", message->type->name,
                        type->name);
    }
    return value;
}
