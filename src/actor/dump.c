// Dump: whoever waits, with what for, since when, and from where.
//
// Only an actor's own turn knows, and only an attached thread itself. So each that may
// have something to tell is asked, by a system message, and answers with lines of text.
// A thread that waits looks at such messages; one that does not is not asked.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "actor/await.h"
#include "actor/owed.h"
#include "future/computed.h"

enum {
    PATIENCE_MS = 1000, // with the first who does not answer, half of it with the next
    PATIENCE_LEAST_MS = 10, // but this at least
    TOGETHER = 256,         // are asked at once
    TEXT_MOST = 256 * 1024, // bytes of one's answer
    FUTURES_MOST = 16,      // of one that are told one by one
};

// ---- the side of who waits ----

// Text that grows; as hark__append's arguments.
struct text {
    char *out;
    size_t size, used;
};

// What somebody waits for.
struct wait {
    const struct future *future; // NULL: what `what` says
    const char *what;
    const hark_type *in; // in whose handler; NULL: in none
    int64_t since_ns;    // 0: not known
    uint16_t trace;      // for whose sake
};

static void
print_what(hark_ctx *ctx, const struct wait *wait, struct text *text)
{
    const struct future *future = wait->future;

    if (future != NULL && future->asked != NULL) {
        hark__append(text->out, text->size, &text->used, "%s of ", future->asked->name);
        hark__append_whom(ctx, future->target, text->out, text->size, &text->used);
    } else if (future != NULL && future->backing != NULL) {
        hark__append(text->out, text->size, &text->used, "blocking work %s",
                     future->backing->name);
    } else if (future != NULL && future->computed != NULL
               && future->computed->ops != NULL) {
        hark__append(text->out, text->size, &text->used, "%s",
                     future->computed->ops->name);
    } else {
        hark__append(text->out, text->size, &text->used, "%s", wait->what);
    }
    if (future != NULL && future->site != NULL) {
        hark__append(text->out, text->size, &text->used, " at %s", future->site);
    }
}

static void
print_wait(hark_ctx *ctx, const struct wait *wait, struct text *text)
{
    char ref[REF_TEXT];

    hark_ref_print(ctx, ctx->self, ref, sizeof ref);
    hark__append(text->out, text->size, &text->used, "%s", ref);
    if (ctx->is_thread) {
        char name[TRACE_NAME];

        hark__append(text->out, text->size, &text->used, " (%s)",
                     hark__thread_name(ctx, name, sizeof name));
    }
    if (wait->in != NULL) {
        hark__append(text->out, text->size, &text->used, " in %s", wait->in->name);
    }
    hark__append(text->out, text->size, &text->used, " waits ");
    if (wait->since_ns != 0) {
        hark__append(text->out, text->size, &text->used, "%" PRId64 " ms ",
                     (hark__env_now(ctx->node->env) - wait->since_ns) / NS_PER_MS);
    }
    hark__append(text->out, text->size, &text->used, "for ");
    print_what(ctx, wait, text);
    hark__trace_print(ctx, wait->trace, false, text->out, text->size, &text->used);
    hark__trace_print_birth(ctx, text->out, text->size, &text->used);
    hark__append(text->out, text->size, &text->used, "\n");
}

static void
print_await(hark_ctx *ctx, const struct await *await, struct text *text)
{
    const struct future *future = hark__future_find(ctx_futures(ctx), await->future);
    const struct hark_message *message = await->ctx->message;

    print_wait(ctx,
               &(struct wait){
                   .future = future,
                   .what = future != NULL ? "a future" : "its turn",
                   .in = message != NULL ? message->type : NULL,
                   .since_ns = await->since_ns,
                   .trace = hark__trace_cause(await->ctx),
               },
               text);
}

static void
print_awaits(hark_ctx *ctx, const struct list *list, struct text *text)
{
    for (const struct list *link = list->next; link != list; link = link->next) {
        print_await(ctx, CONTAINER_OF(link, struct await, by_state), text);
    }
}

static bool
is_awaited(const struct waits *waits, uint64_t id)
{
    const struct list *lists[] = {&waits->suspended, &waits->due};

    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        for (const struct list *link = lists[i]->next; link != lists[i];
             link = link->next) {
            if (CONTAINER_OF(link, struct await, by_state)->future == id) {
                return true;
            }
        }
    }
    return false;
}

// The first call of its trace, if it has one, is the ask itself.
static void
print_future(hark_ctx *ctx, const struct future *future, struct text *text)
{
    const struct trace *row = hark__trace_row(&ctx->node->traces, future->trace);

    print_wait(ctx,
               &(struct wait){
                   .future = future,
                   .what = "a future",
                   .since_ns = hark__future_since(future),
                   .trace = row->site == NULL ? future->trace : row->parent,
               },
               text);
}

// Those that a continuation, or nobody yet, waits for.
static void
print_futures(hark_ctx *ctx, const struct futures *futures, const struct waits *waits,
              struct text *text)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < futures->place_count; i++) {
        const struct future *future = futures->places[i].future;

        if (future == NULL || !hark__future_is_missed(future)
            || (waits != NULL && is_awaited(waits, future->id))) {
            continue;
        }
        if (count++ < FUTURES_MOST) {
            print_future(ctx, future, text);
        }
    }
    if (count > FUTURES_MOST) {
        hark__append(text->out, text->size, &text->used, "and for %" PRIu32 " others\n",
                     count - FUTURES_MOST);
    }
}

static void
print_actor(hark_ctx *ctx, struct text *text)
{
    const struct waits *waits = ctx_waits(ctx);
    const struct futures *futures = ctx_futures(ctx);

    if (waits != NULL) {
        print_awaits(ctx, &waits->suspended, text);
        print_awaits(ctx, &waits->due, text);
    }
    if (futures != NULL) {
        print_futures(ctx, futures, waits, text);
    }
}

static void
print_thread(hark_ctx *ctx, struct text *text)
{
    struct thread_wait seen = hark__thread_waits_for(ctx);
    const struct future *future = hark__future_find(ctx_futures(ctx), seen.future);
    const struct hark_message *job = ctx->message;

    if (seen.since_ns != 0) {
        print_wait(ctx,
                   &(struct wait){
                       .future = future,
                       .what = seen.future != 0 ? "a future" : "a message",
                       .since_ns = seen.since_ns,
                       .trace = job != NULL ? job->trace : 0,
                   },
                   text);
    }
}

static void
print_all(hark_ctx *ctx, struct text *text)
{
    if (ctx->is_thread) {
        print_thread(ctx, text);
    } else {
        print_actor(ctx, text);
    }
}

// Gives what there is to tell, for the caller to free; NULL: no memory.
static char *
tell(hark_ctx *ctx)
{
    struct text text = {NULL, 0, 0};

    print_all(ctx, &text); // only counts
    size_t size = text.used + 64 < TEXT_MOST ? text.used + 64 : TEXT_MOST;
    text = (struct text){malloc(size), size, 0};
    if (text.out != NULL) {
        text.out[0] = '\0';
        print_all(ctx, &text);
        if (text.used >= size) {
            snprintf(text.out + size - 8, 8, "\n...\n");
        }
    }
    return text.out;
}

void
hark__dump_came(hark_ctx *ctx, struct hark_message *message)
{
    char *text = tell(ctx);
    const hark_dumped dumped = {
        .text = text != NULL ? hark_str_of(text) : HARK_STR("no memory for a dump\n")};
    struct hark_message *reply =
        hark__message_new(ctx_pool(ctx), &hark_dumped_type, &dumped);
    free(text);
    if (reply == NULL) {
        hark__fail_ask(ctx, message, HARK_ENOMEM, HARK_STAGE_RUNNING, NULL);
        return;
    }
    reply->kind = MESSAGE_REPLY;
    reply->from = ctx->self;
    reply->correlation = message->correlation;
    (void)hark__send(ctx, message->from, reply); // who is gone waits no more
}

// ---- who asks ----

// Tells whether somebody lives in slot who may wait.
static bool
may_wait(const struct slot *slot)
{
    // relaxed, all: a look at the recent past.
    bool waits = atomic_load_explicit(&slot->waits, memory_order_relaxed);
    bool asks = atomic_load_explicit(&slot->asks, memory_order_relaxed);
    bool is_actor = atomic_load_explicit(&slot->behavior, memory_order_relaxed) != NULL;

    return waits || (asks && is_actor); // a thread that runs would not answer
}

struct asked {
    hark_future futures[TOGETHER];
    hark_ref whom[TOGETHER];
    uint32_t count;
    uint32_t patience_ms;
};

// False: no room for another future.
static bool
ask_slot(hark_ctx *ctx, const struct slot *slot, struct asked *asked)
{
    // relaxed: as above.
    uint32_t generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);
    hark_ref to = {ctx->node->id, hark__slot_name(slot->index, generation)};

    if (slot == ctx->slot || !may_wait(slot) || !hark__generation_lives(generation)) {
        return true;
    }
    hark_future future = hark__ask_open(ctx, to, NULL, asked->patience_ms, NULL);
    if (future.id == 0) {
        return false;
    }
    if (!hark__send_system_about(ctx, to, SYSTEM_DUMP, ctx->self, future.id)) {
        hark_future_drop(ctx, future);
        return true;
    }
    asked->whom[asked->count] = to;
    asked->futures[asked->count++] = future;
    return true;
}

static void
take_answers(hark_ctx *ctx, struct asked *asked, struct text *text)
{
    bool is_late = false;

    for (uint32_t i = 0; i < asked->count; i++) {
        const hark_dumped *dumped = hark_await(ctx, asked->futures[i], hark_dumped);

        if (dumped != NULL) {
            hark__append(text->out, text->size, &text->used, "%s", dumped->text.ptr);
        } else if (hark_error_of(ctx)->code == HARK_ETIMEOUT) {
            char ref[REF_TEXT];

            is_late = true;
            hark_ref_print(ctx, asked->whom[i], ref, sizeof ref);
            hark__append(text->out, text->size, &text->used,
                         "%s runs: what waits there is not known\n", ref);
        }
        hark_future_drop(ctx, asked->futures[i]);
    }
    if (is_late && asked->patience_ms > 2 * PATIENCE_LEAST_MS) {
        asked->patience_ms /= 2;
    }
    asked->count = 0;
}

size_t
hark_dump(hark_ctx *ctx, char *out, size_t size)
{
    struct text text = {out, size, 0};
    struct asked asked = {.count = 0, .patience_ms = PATIENCE_MS};

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
    for (uint32_t i = hark__slots_next(slots, 0, count); i < count;
         i = hark__slots_next(slots, i + 1, count)) {
        const struct slot *slot = hark__slot_at(slots, i);

        if (slot != NULL && (!ask_slot(ctx, slot, &asked) || asked.count == TOGETHER)) {
            take_answers(ctx, &asked, &text);
        }
    }
    take_answers(ctx, &asked, &text);
    return text.used;
}
