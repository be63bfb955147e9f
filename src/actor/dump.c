// Dump: every handler that waits, with what it waits for, since when, and from where.
//
// Only an actor's own turn knows. So each actor that has handlers that wait is asked, by a
// system message, and answers with lines of text.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "actor/await.h"

enum { ANSWER_MS = 1000, LINES = 4096 };

#define NS_PER_MS INT64_C(1000000)

// ---- the actor's side ----

static void
print_await(hark_ctx *ctx, const struct await *await, char *out, size_t size,
            size_t *used)
{
    const struct future *future = hark__future_find(ctx_futures(ctx), await->future);
    const struct hark_message *message = await->ctx->message;
    int64_t since_ns = hark__env_now(ctx->node->env) - await->since_ns;
    char ref[300];

    hark_ref_print(ctx, ctx->self, ref, sizeof ref);
    hark__append(out, size, used, "%s", ref);
    if (message != NULL && message->type != NULL) {
        hark__append(out, size, used, " in %s", message->type->name);
    }
    hark__append(out, size, used, " waits %" PRId64 " ms for ", since_ns / NS_PER_MS);
    if (future != NULL && future->asked != NULL) {
        hark_ref_print(ctx, future->target, ref, sizeof ref);
        hark__append(out, size, used, "%s of %s", future->asked->name, ref);
    } else {
        hark__append(out, size, used, "%s", future != NULL ? "a future" : "its turn");
    }
    if (future != NULL && future->site != NULL) {
        hark__append(out, size, used, " at %s", future->site);
    }
    hark__trace_print(ctx, message != NULL ? message->trace : await->ctx->trace, out,
                      size, used);
    hark__append(out, size, used, "\n");
}

static void
print_list(hark_ctx *ctx, const struct list *list, char *out, size_t size, size_t *used)
{
    for (const struct list *link = list->next; link != list; link = link->next) {
        print_await(ctx, CONTAINER_OF(link, const struct await, by_state), out, size,
                    used);
    }
}

void
hark__dump_came(hark_ctx *ctx, const struct hark_message *message)
{
    const struct waits *waits = ctx_waits(ctx);
    char text[LINES] = "";
    size_t used = 0;

    if (waits != NULL) {
        print_list(ctx, &waits->suspended, text, sizeof text, &used);
        print_list(ctx, &waits->due, text, sizeof text, &used);
    }
    const hark_dumped dumped = {.text = hark_str_of(text)};
    struct outgoing what = {
        .type = &hark_dumped_type,
        .value = &dumped,
        .from = ctx->self,
        .correlation = message->correlation,
        .kind = MESSAGE_REPLY,
    };
    (void)hark__send_value(ctx, message->from, &what);
}

// ---- who asks ----

// Gives a future of the lines of the actor in slot; {0}: it has none.
static hark_future
ask_slot(hark_ctx *ctx, uint32_t index)
{
    struct slot *slot = hark__slot_at(&ctx->node->slots, index);

    if (slot == NULL) {
        return (hark_future){0, 0};
    }
    // relaxed, both: a look at the recent past.
    bool waits = atomic_load_explicit(&slot->waits, memory_order_relaxed);
    uint32_t generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);
    hark_ref to = {ctx->node->id, hark__slot_name(slot->index, generation)};

    if (!waits || !hark__generation_lives(generation)) {
        return (hark_future){0, 0};
    }
    hark_future future = hark__ask_open(ctx, to, NULL, ANSWER_MS, NULL);
    if (future.id != 0
        && !hark__send_system_about(ctx, to, SYSTEM_DUMP, ctx->self, future.id)) {
        hark_future_drop(ctx, future);
        future = (hark_future){0, 0};
    }
    return future;
}

static void
take_lines(hark_ctx *ctx, hark_future future, char *out, size_t size, size_t *used)
{
    const hark_dumped *dumped = hark_await(ctx, future, hark_dumped);

    if (dumped != NULL) {
        hark__append(out, size, used, "%s", dumped->text.ptr);
    } else if (hark_error_of(ctx)->code == HARK_ETIMEOUT) {
        hark__append(out, size, used,
                     "an actor has waiting handlers, and another that runs\n");
    }
    hark_future_drop(ctx, future);
}

size_t
hark_dump(hark_ctx *ctx, char *out, size_t size)
{
    size_t used = 0;

    if (size > 0) {
        out[0] = '\0';
    }
    if (ctx == NULL || !ctx->is_thread) {
        hark__ctx_error(ctx, HARK_ENOTSUP, "hark_dump: only in an attached thread");
        return 0;
    }
    struct slots *slots = &ctx->node->slots;
    // acquire: pairs with growth.
    uint32_t count = atomic_load_explicit(&slots->count, memory_order_acquire);
    uint32_t asked = 0, room = 0;
    hark_future *futures = NULL;
    for (uint32_t i = 0; i < count; i++) {
        hark_future future = ask_slot(ctx, i);

        if (future.id == 0) {
            continue;
        }
        if (asked == room) {
            room = room == 0 ? 64 : room * 2;
            hark_future *more = realloc(futures, room * sizeof *futures);
            if (more == NULL) {
                hark_future_drop(ctx, future);
                break;
            }
            futures = more;
        }
        futures[asked++] = future;
    }
    for (uint32_t i = 0; i < asked; i++) {
        take_lines(ctx, futures[i], out, size, &used);
    }
    free(futures);
    return used;
}
