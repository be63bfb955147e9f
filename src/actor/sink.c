// The producer's end of a stream: a promise with credits.

#include "hark/stream.h"

#include <stdarg.h>
#include <stdio.h>

#include "actor/stream.h"
#include "hark/cancel.h"

enum { FAILURE_TEXT = 1001 };

struct producer {
    uint32_t credits;    // items that the consumer takes
    uint32_t sent;       // items ever
    struct queue readys; // ids of futures that wait for some
    uint8_t size_class;
};

// ---- state ----

static hark_promise
promise_of(hark_sink sink)
{
    return (hark_promise){sink.owner, sink.id};
}

// NULL: it is no sink of this actor.
static struct request *
find(const hark_ctx *ctx, hark_sink sink)
{
    struct request *request = hark__promise_request(ctx, promise_of(sink));

    return request != NULL && request->producer != NULL ? request : NULL;
}

// An actor's news may be a cancel, or credits.
static void
look_around(hark_ctx *ctx)
{
    if (ctx->slot != NULL && !ctx->is_thread) {
        hark__take_news(ctx);
    }
}

// Gives the first future that waits for credits; NULL: none does.
static struct future *
first_ready(const hark_ctx *ctx, struct producer *producer)
{
    while (producer->readys.count > 0) {
        struct future *ready =
            hark__future_find(ctx_futures(ctx), hark__queue_pop(&producer->readys).id);

        if (ready != NULL && ready->state == FUTURE_OPEN) {
            return ready;
        }
    }
    return NULL;
}

static void
fail_ready(hark_ctx *ctx, struct future *ready, hark_err err)
{
    hark__future_settle(ctx_futures(ctx), ready, NULL, err, HARK_STAGE_RUNNING,
                        hark__env_now(ctx->node->env));
}

static void
tell_ready(hark_ctx *ctx, struct future *ready, const struct producer *producer)
{
    struct hark_message *message =
        hark__message_new(ctx_pool(ctx), &hark_stream_room_type,
                          &(hark_stream_room){.items = producer->credits});

    if (message == NULL) {
        fail_ready(ctx, ready, HARK_ENOMEM);
        return;
    }
    message->kind = MESSAGE_REPLY;
    hark__future_settle(ctx_futures(ctx), ready, message, HARK_OK, HARK_STAGE_RUNNING,
                        0);
}

void
hark__producer_credit(hark_ctx *ctx, struct request *request, uint16_t credits)
{
    struct producer *producer = request->producer;
    struct future *ready;

    producer->credits += credits < UINT32_MAX - producer->credits ? credits : 0;
    while ((ready = first_ready(ctx, producer)) != NULL) {
        tell_ready(ctx, ready, producer);
    }
}

uint32_t
hark__producer_sent(const struct request *request)
{
    return request->producer->sent;
}

void
hark__producer_free(hark_ctx *ctx, struct request *request)
{
    struct producer *producer = request->producer;
    struct future *ready;

    request->producer = NULL;
    while ((ready = first_ready(ctx, producer)) != NULL) {
        fail_ready(ctx, ready, HARK_ESTALE);
    }
    hark__queue_free(&producer->readys);
    hark__pool_free(ctx_pool(ctx), producer, producer->size_class);
}

// ---- the beginning ----

// An ask in hand that was not made by hark_stream_open.
static void
refuse_plain(hark_ctx *ctx)
{
    static const char why[] =
        "the answer is a stream, which hark_stream_open takes and "
        "hark_ask does not";

    (void)hark_refuse(ctx, HARK_ENOTSUP, "%s", why); // nobody waits: as good
    hark__ctx_error(ctx, HARK_ENOTSUP, "hark_stream_begin: %s", why);
}

hark_sink
hark_stream_begin(hark_ctx *ctx)
{
    uint8_t size_class;

    if (ctx == NULL || !ctx->owes_answer) {
        hark__ctx_error(ctx, HARK_ENOASK, "hark_stream_begin: no ask is in hand");
        return (hark_sink){0, 0};
    }
    uint32_t credits = ctx->message->credits;
    if (credits == 0) {
        refuse_plain(ctx);
        return (hark_sink){0, 0};
    }
    struct producer *producer =
        hark__pool_alloc(ctx_pool(ctx), sizeof *producer, &size_class);
    hark_promise promise = producer != NULL ? hark_defer(ctx) : (hark_promise){0, 0};
    if (promise.id == 0) {
        if (producer != NULL) {
            hark__pool_free(ctx_pool(ctx), producer, size_class);
        }
        (void)hark_refuse(ctx, HARK_ENOMEM, "no memory for a stream");
        hark__ctx_error(ctx, HARK_ENOMEM, "hark_stream_begin: no memory");
        return (hark_sink){0, 0};
    }
    *producer = (struct producer){.credits = credits, .size_class = size_class};
    hark__promise_request(ctx, promise)->producer = producer;
    return (hark_sink){promise.owner, promise.id};
}

// ---- writing ----

static hark_err
refuse_stale(hark_ctx *ctx, const char *call)
{
    return hark__ctx_error(ctx, HARK_ESTALE,
                           "%s: the stream has ended, or is not of this actor", call);
}

// Nobody listens any more: the sink is used up.
static hark_err
abandon(hark_ctx *ctx, hark_sink sink)
{
    (void)hark_break(ctx, promise_of(sink), HARK_ECANCELLED, "nobody listens any more");
    return hark__ctx_error(ctx, HARK_ECANCELLED,
                           "the consumer of the stream does not listen any more");
}

// An item could not be sent. To leave it out would be a loss in silence.
static hark_err
give_up(hark_ctx *ctx, hark_sink sink, const hark_type *type, hark_err err)
{
    if (err == HARK_ENOACTOR || err == HARK_ENONODE) {
        return abandon(ctx, sink);
    }
    (void)hark_break(ctx, promise_of(sink), err, "an item %s could not be sent: %s",
                     type->name, hark_err_text(err));
    return hark__ctx_error(ctx, err, "hark_stream_write: %s: %s", type->name,
                           hark_err_text(err));
}

hark_err
hark_stream_try_write_value(hark_ctx *ctx, hark_sink sink, const hark_type *type,
                            const void *value)
{
    if (ctx == NULL || type == NULL || value == NULL) {
        return hark__ctx_error(ctx, HARK_EINVAL, "hark_stream_write: null argument");
    }
    look_around(ctx);
    struct request *request = find(ctx, sink);
    if (request == NULL) {
        return refuse_stale(ctx, "hark_stream_write");
    }
    if (hark__request_is_dead(ctx, request)) {
        return abandon(ctx, sink);
    }
    if (request->producer->credits == 0) {
        return HARK_EAGAIN;
    }
    request->producer->credits--;
    request->producer->sent++;
    hark_err err = hark__send_value(ctx, request->asker,
                                    &(struct outgoing){
                                        .type = type,
                                        .value = value,
                                        .from = ctx->self,
                                        .correlation = request->correlation,
                                        .kind = MESSAGE_ITEM,
                                        .call = "hark_stream_write",
                                    });
    return err == HARK_OK ? HARK_OK : give_up(ctx, sink, type, err);
}

// Waits until there may be room. HARK_OK: it is worth another try.
static hark_err
wait_for_room(hark_ctx *ctx, hark_sink sink)
{
    hark_future ready = hark_stream_ready(ctx, sink);
    bool is_ready = hark_await_value(ctx, ready, &hark_stream_room_type) != NULL;
    const struct request *request = find(ctx, sink);
    // The try says what has become of the stream.
    bool is_over = request == NULL || hark__request_is_dead(ctx, request);

    hark_future_drop(ctx, ready);
    return is_ready || is_over ? HARK_OK : (hark_err)hark_error_of(ctx)->code;
}

hark_err
hark_stream_write_value(hark_ctx *ctx, hark_sink sink, const hark_type *type,
                        const void *value)
{
    hark_err err = hark_stream_try_write_value(ctx, sink, type, value);

    while (err == HARK_EAGAIN) {
        err = wait_for_room(ctx, sink);
        if (err == HARK_OK) {
            err = hark_stream_try_write_value(ctx, sink, type, value);
        }
    }
    return err;
}

hark_future
hark_stream_ready(hark_ctx *ctx, hark_sink sink)
{
    struct request *request = ctx != NULL ? find(ctx, sink) : NULL;

    if (request == NULL) {
        refuse_stale(ctx, "hark_stream_ready");
        return hark_future_failed_at(ctx, NULL, HARK_ESTALE, "%s",
                                     hark_error_of(ctx)->text);
    }
    hark_future name = hark_future_new_at(ctx, NULL);
    struct future *ready = hark__ctx_future(ctx, name);
    if (ready == NULL) {
        return name;
    }
    if (hark__request_is_dead(ctx, request)) {
        fail_ready(ctx, ready, HARK_ECANCELLED);
    } else if (request->producer->credits > 0) {
        tell_ready(ctx, ready, request->producer);
    } else if (!hark__queue_push(&request->producer->readys,
                                 (union queued){.id = ready->id})) {
        fail_ready(ctx, ready, HARK_ENOMEM);
    } else {
        hark__parent_adopt(request, ready); // which a cancel of the request fails
    }
    return name;
}

// ---- the end ----

hark_err
hark_stream_end(hark_ctx *ctx, hark_sink sink)
{
    if (ctx == NULL || find(ctx, sink) == NULL) {
        return refuse_stale(ctx, "hark_stream_end");
    }
    return hark_break(ctx, promise_of(sink), HARK_EEND, "%s", hark_err_text(HARK_EEND));
}

hark_err
hark_stream_fail(hark_ctx *ctx, hark_sink sink, int code, const char *format, ...)
{
    char text[FAILURE_TEXT];
    va_list args;

    if (ctx == NULL || code <= 0 || format == NULL) {
        return hark__ctx_error(
            ctx, HARK_EINVAL,
            "hark_stream_fail: null argument, or a code that is no error");
    }
    if (find(ctx, sink) == NULL) {
        return refuse_stale(ctx, "hark_stream_fail");
    }
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return hark_break(ctx, promise_of(sink), code, "%s", text);
}

bool
hark_stream_cancelled(hark_ctx *ctx, hark_sink sink)
{
    return ctx == NULL || find(ctx, sink) == NULL
           || hark_promise_cancelled(ctx, promise_of(sink));
}
