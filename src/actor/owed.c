#include "actor/owed.h"

#include <string.h>

#include "actor/hand.h"
#include "message/failure.h"

enum { TEXT_LIMIT = 1000 };

// ---- failing an ask ----

// What leaves for another node needs no block.
static void
fail_away(hark_ctx *ctx, hark_ref asker, uint64_t correlation, int code,
          hark_stage stage, const char *text)
{
    size_t size = text != NULL ? strnlen(text, TEXT_LIMIT) : 0;
    union {
        struct failure failure;
        char bytes[sizeof(struct failure) + TEXT_LIMIT + 1];
    } room;

    room.failure =
        (struct failure){.code = code, .stage = stage, .size = (uint32_t)size};
    memcpy(room.failure.text, text != NULL ? text : "", size);
    room.failure.text[size] = '\0';
    (void)hark__send_value(ctx, asker,
                           &(struct outgoing){.value = &room,
                                              .from = ctx->self,
                                              .correlation = correlation,
                                              .kind = MESSAGE_FAILURE});
}

// It is ctx's own, and needs no message.
static bool
fail_own(hark_ctx *ctx, uint64_t correlation, int code, hark_stage stage)
{
    struct future *future = hark__future_find(ctx_futures(ctx), correlation);

    if (future != NULL && future->state != FUTURE_DONE) {
        hark__future_complete(ctx_futures(ctx), ctx, future, NULL, code, stage,
                              hark__env_now(ctx->node->env));
    }
    return true;
}

// By the request's block, as soon as nobody needs that any more.
static bool
owe_by_request(const hark_ctx *ctx, struct request_name name, int code)
{
    struct request *request = hark__requests_find(requests_of(ctx), name);

    if (request != NULL) {
        request->owed = code;
    }
    return request != NULL;
}

static __attribute__((cold, noinline)) bool
fail_without_memory(hark_ctx *ctx, hark_ref asker, uint64_t correlation, int code,
                    hark_stage stage)
{
    if (ctx->slot != NULL && asker.actor == ctx->self.actor) {
        return fail_own(ctx, correlation, code, stage);
    }
    bool is_in_hand = ctx->message != NULL && ctx->message->correlation == correlation
                      && hark_ref_equal(ctx->message->from, asker);
    return !is_in_hand
           && owe_by_request(ctx, (struct request_name){asker, correlation}, code);
}

bool
hark__fail(hark_ctx *ctx, hark_ref asker, uint64_t correlation, int code,
           hark_stage stage, const char *text)
{
    if (!hark__is_here(ctx, asker)) {
        fail_away(ctx, asker, correlation, code, stage, text);
        return true;
    }
    size_t size = text != NULL ? strlen(text) : 0;
    struct hark_message *message =
        hark__failure_new(ctx_pool(ctx), correlation, code, stage, text, size);
    if (message == NULL) {
        return fail_without_memory(ctx, asker, correlation, code, stage);
    }
    message->from = ctx->self;
    (void)hark__send(ctx, asker, message); // who is gone waits no more
    return true;
}

void
hark__fail_surely(hark_ctx *ctx, hark_ref asker, uint64_t correlation, int code,
                  hark_stage stage, const char *text, struct hark_message *spare)
{
    if (spare == NULL) {
        (void)hark__fail(ctx, asker, correlation, code, stage, text);
        return;
    }
    struct hark_message *message = hark__failure_new(
        ctx_pool(ctx), correlation, code, stage, text, text != NULL ? strlen(text) : 0);
    if (message == NULL) {
        hark__owed_send(ctx, asker, correlation, code, stage, spare, spare->size_class);
        return;
    }
    hark__message_free(ctx_pool(ctx), spare);
    message->from = ctx->self;
    (void)hark__send(ctx, asker, message); // who is gone waits no more
}

// ---- by the ask's own block ----

bool
hark__answer_starved(hark_ctx *ctx, hark_ref asker, uint64_t correlation)
{
    struct hark_message *ask = ctx->message;

    if (ask == NULL || ask->kind != MESSAGE_ASK || ask->correlation != correlation
        || !hark_ref_equal(ask->from, asker)) {
        return false;
    }
    ask->generation = ASK_STARVED;
    ctx->owes_answer = true;
    return true;
}

// Code and stage stand in the ask's generation, which nobody reads any more: its
// payload may still be read by the handler.
enum { STAGE_BITS = 3, CODE_MOST = (1 << (31 - STAGE_BITS)) - 1 };

_Static_assert(HARK_STAGE_REPLY_LOST < 1 << STAGE_BITS, "a stage fits its bits");

void
hark__fail_ask(hark_ctx *ctx, struct hark_message *ask, int code, hark_stage stage,
               const char *text)
{
    if (hark__fail(ctx, ask->from, ask->correlation, code, stage, text)) {
        return;
    }
    ask->flags |= MESSAGE_OWED;
    ask->generation = (uint32_t)(code <= CODE_MOST ? code : HARK_ENOMEM) << STAGE_BITS
                      | (uint32_t)stage;
}

void
hark__owed_send(hark_ctx *ctx, hark_ref asker, uint64_t correlation, int code,
                hark_stage stage, void *block, uint8_t size_class)
{
    struct hark_message *message = block;

    hark__failure_in(message, size_class, correlation, code, stage);
    message->from = ctx->self;
    (void)hark__send(ctx, asker, message); // who is gone waits no more
}

int
hark__owed_code(const struct hark_message *ask)
{
    return (int)(ask->generation >> STAGE_BITS);
}

hark_stage
hark__owed_stage(const struct hark_message *ask)
{
    return (hark_stage)(ask->generation & ((1u << STAGE_BITS) - 1));
}

void
hark__ask_send_owed(hark_ctx *ctx, struct hark_message *ask)
{
    if (ask->has_buffers) {
        hark__message_release_buffers(ask);
    }
    hark__owed_send(ctx, ask->from, ask->correlation, hark__owed_code(ask),
                    hark__owed_stage(ask), ask, ask->size_class);
}

void
hark__ask_unchain(hark_ctx *ctx, struct hark_message *message)
{
    if (message->flags & MESSAGE_HELD) { // who keeps it frees it
        hark__message_unchain(ctx_pool(ctx), message);
    } else {
        hark__ask_free(ctx, message);
    }
}
