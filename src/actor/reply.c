#include "actor/ctx.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "actor/owed.h"
#include "actor/request.h"
#include "actor/stream.h"
#include "hark/cancel.h"
#include "message/failure.h"

enum { FIRST_PROMISES = 4, REFUSAL_TEXT = 1001 };

#define NO_PROMISE UINT32_MAX

// An answer that an actor owes. A generation outlives it, so that a stale name is
// noticed.
struct promise {
    hark_ref asker; // null: the place is free
    uint64_t correlation;
    struct request *request; // held
    uint32_t generation;
    uint32_t next_free;
};

struct promises {
    struct promise *places;
    uint32_t count;
    uint32_t free;
    uint32_t unseen_count; // of those whose askers marks do not show
};

// ---- the ask in hand ----

// Answers asker; what says with which value, and which call does it.
static hark_err
answer(hark_ctx *ctx, hark_ref asker, uint64_t correlation, struct outgoing *what)
{
    what->from = ctx->self;
    what->correlation = correlation;
    what->kind = MESSAGE_REPLY;
    return hark__send_value(ctx, asker, what);
}

static inline hark_err
reply(hark_ctx *ctx, const hark_type *type, const void *value)
{
    return answer(
        ctx, ctx->message->from, ctx->message->correlation,
        &(struct outgoing){.type = type, .value = value, .call = "hark_reply"});
}

// The ask in hand has become a request.
static __attribute__((noinline)) hark_err
reply_to_request(hark_ctx *ctx, const hark_type *type, const void *value)
{
    hark_err err = hark__request_answered(ctx);

    return err == HARK_OK ? reply(ctx, type, value) : err;
}

hark_err
hark_reply_value(hark_ctx *ctx, const hark_type *type, const void *value)
{
    if (ctx == NULL || type == NULL || value == NULL) {
        return hark__ctx_error(ctx, HARK_EINVAL, "hark_reply: null argument");
    }
    if (!ctx->owes_answer) {
        return HARK_ENOASK;
    }
    ctx->owes_answer = false;
    return ctx->request == NULL ? reply(ctx, type, value)
                                : reply_to_request(ctx, type, value);
}

hark_err
hark_refuse(hark_ctx *ctx, int code, const char *format, ...)
{
    char text[REFUSAL_TEXT];
    va_list args;

    if (ctx == NULL || code <= 0 || format == NULL) {
        return hark__ctx_error(
            ctx, HARK_EINVAL, "hark_refuse: null argument, or a code that is no error");
    }
    if (!ctx->owes_answer) {
        return HARK_ENOASK;
    }
    ctx->owes_answer = false;
    if (ctx->request != NULL && hark__request_answered(ctx) != HARK_OK) {
        return HARK_ECANCELLED;
    }
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    hark__fail_ask(ctx, ctx->message, code, HARK_STAGE_RUNNING, text);
    return HARK_OK;
}

// ---- promises ----

static bool
grow(struct promises *promises)
{
    uint32_t count = promises->count == 0 ? FIRST_PROMISES : promises->count * 2;
    struct promise *places = realloc(promises->places, count * sizeof *places);

    if (places == NULL) {
        return false;
    }
    for (uint32_t i = count; i-- > promises->count;) {
        places[i] = (struct promise){.generation = 1, .next_free = promises->free};
        promises->free = i;
    }
    promises->places = places;
    promises->count = count;
    return true;
}

static struct promises *
promises_of(hark_ctx *ctx)
{
    struct extra *extra = hark__ctx_extra(ctx);

    if (extra != NULL && extra->promises == NULL) {
        extra->promises = calloc(1, sizeof *extra->promises);
        if (extra->promises != NULL) {
            extra->promises->free = NO_PROMISE;
        }
    }
    return extra != NULL ? extra->promises : NULL;
}

// Takes a place, and holds request. The table has room.
static hark_promise
promise_to(hark_ctx *ctx, struct promises *promises, struct request_name name,
           struct request *request)
{
    uint32_t index = promises->free;
    struct promise *promise = &promises->places[index];

    promises->free = promise->next_free;
    promise->asker = name.asker;
    promise->correlation = name.correlation;
    promise->request = request;
    promises->unseen_count += request->is_unseen;
    hark__request_hold(request);
    return (hark_promise){ctx->self.actor, (uint64_t)promise->generation << 32 | index};
}

static bool
has_room(struct promises *promises)
{
    return promises != NULL && (promises->free != NO_PROMISE || grow(promises));
}

bool
hark__promise_end(hark_ctx *ctx, hark_ref asker, uint64_t correlation)
{
    struct request_name name = {asker, correlation};
    struct promises *promises = promises_of(ctx);
    struct request *request =
        has_room(promises) ? hark__request_new(ctx_pool(ctx), name, INT64_MAX) : NULL;

    if (request == NULL) {
        return false;
    }
    (void)promise_to(ctx, promises, name, request);
    hark__request_drop(ctx, request);
    return true;
}

hark_promise
hark_defer(hark_ctx *ctx)
{
    if (ctx == NULL || !ctx->owes_answer) {
        hark__ctx_error(ctx, HARK_ENOASK, "hark_defer: no ask is in hand");
        return (hark_promise){0, 0};
    }
    if (ctx->is_thread) { // blocking work, whose ctx ends with it
        hark__ctx_error(ctx, HARK_ENOTSUP, "hark_defer: not in blocking work");
        return (hark_promise){0, 0};
    }
    struct promises *promises = promises_of(ctx);
    struct request *request = hark__request_of(ctx);
    if (request == NULL || !has_room(promises)) {
        hark__ctx_error(ctx, HARK_ENOMEM, "hark_defer: no memory");
        return (hark_promise){0, 0};
    }
    ctx->owes_answer = false;
    return promise_to(
        ctx, promises,
        (struct request_name){ctx->message->from, ctx->message->correlation}, request);
}

static struct promises *
promises_had(const hark_ctx *ctx)
{
    const struct extra *extra = ctx->slot != NULL ? ctx->slot->extra : NULL;

    return extra != NULL ? extra->promises : NULL;
}

// NULL: there is none of that name.
static struct promise *
find_promise(const hark_ctx *ctx, hark_promise name)
{
    struct promises *promises = promises_had(ctx);
    uint32_t index = (uint32_t)name.id;

    if (promises == NULL || name.owner != ctx->self.actor || index >= promises->count
        || promises->places[index].generation != (uint32_t)(name.id >> 32)
        || hark_ref_is_null(promises->places[index].asker)) {
        return NULL;
    }
    return &promises->places[index];
}

bool
hark__promises_are_unseen(const hark_ctx *ctx)
{
    const struct promises *promises = promises_had(ctx);

    return promises != NULL && promises->unseen_count > 0;
}

struct request *
hark__promise_request(const hark_ctx *ctx, hark_promise name)
{
    const struct promise *promise = find_promise(ctx, name);

    return promise != NULL ? promise->request : NULL;
}

// Takes the promise out of its table. Its request has been answered, and may owe that
// still.
static void
redeem(hark_ctx *ctx, hark_promise name)
{
    struct promises *promises = promises_had(ctx);
    struct promise *promise = &promises->places[(uint32_t)name.id];
    struct request *request = promise->request;

    if (request->producer != NULL) {
        hark__producer_free(ctx, request);
    }
    promises->unseen_count -= request->is_unseen;
    promise->asker = (hark_ref){0, 0};
    promise->generation++;
    promise->next_free = promises->free;
    promises->free = (uint32_t)name.id;
    hark__request_end(ctx, request);
    hark__request_drop(ctx, request);
}

// Gives whom to answer; then the caller redeems it. HARK_ESTALE: there is none of that
// name. HARK_ECANCELLED: nobody waits for it any more, and it is redeemed.
static hark_err
find_asker(hark_ctx *ctx, hark_promise name, struct request_name *out_asker)
{
    const struct promise *promise = find_promise(ctx, name);

    if (promise == NULL) {
        return HARK_ESTALE;
    }
    *out_asker = (struct request_name){promise->asker, promise->correlation};
    if (hark__request_is_dead(ctx, promise->request)) {
        redeem(ctx, name);
        return HARK_ECANCELLED;
    }
    return HARK_OK;
}

bool
hark_promise_cancelled(hark_ctx *ctx, hark_promise name)
{
    if (ctx == NULL) {
        return true;
    }
    if (ctx->slot != NULL && !ctx->is_thread) {
        hark__take_news(ctx);
    }
    const struct promise *promise = find_promise(ctx, name);
    return promise == NULL || hark__request_is_dead(ctx, promise->request);
}

hark_err
hark_promise_watch_value(hark_ctx *ctx, hark_promise name, const hark_type *type,
                         const void *value)
{
    if (ctx == NULL || type == NULL || value == NULL) {
        return hark__ctx_error(ctx, HARK_EINVAL, "hark_promise_watch: null argument");
    }
    struct promise *promise = find_promise(ctx, name);
    if (promise == NULL) {
        return hark__ctx_error(ctx, HARK_ESTALE,
                               "hark_promise_watch: the promise was used, or is not of "
                               "this actor");
    }
    struct hark_message *note = hark__message_new(ctx_pool(ctx), type, value);
    if (note == NULL) {
        return hark__ctx_error_value(ctx, "hark_promise_watch", type, value);
    }
    note->from = promise->asker; // kind is MESSAGE_TELL, 0
    struct request *request = promise->request;
    if (request->note != NULL) {
        hark__message_free(ctx_pool(ctx), request->note);
    }
    request->note = note;
    if (hark__request_is_dead(ctx, request)) {
        hark__request_tell(ctx, request);
    }
    return HARK_OK;
}

hark_err
hark_fulfil_value(hark_ctx *ctx, hark_promise name, const hark_type *type,
                  const void *value)
{
    struct request_name whom;

    if (ctx == NULL || type == NULL || value == NULL) {
        return hark__ctx_error(ctx, HARK_EINVAL, "hark_fulfil: null argument");
    }
    hark_err err = find_asker(ctx, name, &whom);
    if (err != HARK_OK) {
        return err;
    }
    err =
        answer(ctx, whom.asker, whom.correlation,
               &(struct outgoing){.type = type, .value = value, .call = "hark_fulfil"});
    redeem(ctx, name);
    return err;
}

hark_err
hark_break(hark_ctx *ctx, hark_promise name, int code, const char *format, ...)
{
    struct request_name whom;
    char text[REFUSAL_TEXT];
    va_list args;

    if (ctx == NULL || code <= 0 || format == NULL) {
        return hark__ctx_error(ctx, HARK_EINVAL,
                               "hark_break: null argument, or a code that is no error");
    }
    hark_err err = find_asker(ctx, name, &whom);
    if (err != HARK_OK) {
        return err;
    }
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!hark__fail(ctx, whom.asker, whom.correlation, code, HARK_STAGE_RUNNING,
                    text)) { // its ask may be in hand still, but not for an answer
        find_promise(ctx, name)->request->owed = code;
    }
    redeem(ctx, name);
    return HARK_OK;
}

void
hark__promises_free(hark_ctx *ctx, struct promises *promises)
{
    for (uint32_t i = 0; i < promises->count; i++) {
        const struct promise *promise = &promises->places[i];

        if (hark_ref_is_null(promise->asker)) {
            continue;
        }
        if (promise->request->state != REQUEST_CANCELLED
            && !hark__fail(ctx, promise->asker, promise->correlation, HARK_ESTOPPED,
                           HARK_STAGE_RUNNING, "the actor ended before it answered")) {
            promise->request->owed = HARK_ESTOPPED;
        }
        if (promise->request->producer != NULL) {
            hark__producer_free(ctx, promise->request);
        }
        hark__request_drop(ctx, promise->request);
    }
    free(promises->places);
    free(promises);
}
