#include "actor/ctx.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

hark_ctx *
hark__service_open(struct node *node)
{
    hark_ctx *ctx = calloc(1, sizeof *ctx);
    struct seat *seat = hark__seat_open(node);

    if (ctx == NULL || seat == NULL) {
        free(ctx);
        if (seat != NULL) {
            hark__seat_close(seat);
        }
        return NULL;
    }
    ctx->node = node;
    ctx->seat = seat;
    return ctx;
}

void
hark__service_close(hark_ctx *ctx)
{
    hark__scratch_free(ctx);
    hark__seat_close(ctx->seat);
    free(ctx);
}

void
hark__node_wait_in(struct node *node, struct idler *idler)
{
    hark__sched_wait_in(node->sched, idler);
}

void
hark__service_enter(hark_ctx *ctx, struct worker *worker)
{
    ctx->worker = worker;
}

struct node *
hark__ctx_node(const hark_ctx *ctx)
{
    return ctx->node;
}

struct pool *
hark__ctx_pool(const hark_ctx *ctx)
{
    return ctx_pool(ctx);
}

bool
hark__ctx_is_thread(const hark_ctx *ctx)
{
    return ctx->is_thread;
}

void
hark__ctx_flush(hark_ctx *ctx)
{
    struct seat *seat = ctx->seat;

    ctx->keeps_back = false;
    // Who is sent to from now on is listed anew.
    seat->flush += seat->flush == UINT32_MAX ? 2 : 1;
    // A flush may fail asks, and so send to further targets.
    while (seat->to_flush_count > 0) {
        struct target *target = seat->to_flush[--seat->to_flush_count];

        target->flush(target, ctx);
    }
}

struct extra *
hark__ctx_extra(hark_ctx *ctx)
{
    struct slot *slot = ctx->slot;

    if (slot != NULL && slot->extra == NULL) {
        slot->extra = calloc(1, sizeof *slot->extra);
        if (slot->extra != NULL) {
            slot->extra->armed_ns = INT64_MAX;
            hark__list_init(&slot->extra->scopes);
        }
    }
    return slot != NULL ? slot->extra : NULL;
}

// ---- memory of a turn ----

void *
hark_alloc(hark_ctx *ctx, size_t size)
{
    uint8_t size_class;

    if (ctx == NULL || size > SIZE_MAX - sizeof(struct scratch)) {
        return NULL;
    }
    struct scratch *scratch =
        hark__pool_alloc(ctx_pool(ctx), sizeof *scratch + size, &size_class);
    if (scratch == NULL) {
        return NULL;
    }
    scratch->size_class = size_class;
    scratch->next = ctx->scratch;
    ctx->scratch = scratch;
    return scratch->bytes;
}

void
hark__scratch_free(hark_ctx *ctx)
{
    while (ctx->scratch != NULL) {
        struct scratch *scratch = ctx->scratch;

        ctx->scratch = scratch->next;
        hark__pool_free(ctx_pool(ctx), scratch, scratch->size_class);
    }
    if (!ctx->is_thread) {
        ctx->last_error = NULL; // it was one of them
    }
}

hark_str
hark_format(hark_ctx *ctx, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = size >= 0 ? hark_alloc(ctx, (size_t)size + 1) : NULL;
    if (text == NULL) {
        return (hark_str){"", 0};
    }
    va_start(args, format);
    vsnprintf(text, (size_t)size + 1, format, args);
    va_end(args);
    return (hark_str){text, (size_t)size};
}

// ---- errors ----

// Without memory for an error, it is that. Never written.
static const struct last_error no_room = {
    .error = {.code = HARK_ENOMEM, .text = "no memory to say what has failed"}};

struct last_error *
hark__ctx_last_error(hark_ctx *ctx)
{
    if (ctx->last_error == NULL || ctx->last_error == &no_room) {
        struct last_error *last = hark_alloc(ctx, sizeof *last);

        if (last == NULL) {
            ctx->last_error = (struct last_error *)&no_room;
            return NULL;
        }
        ctx->last_error = last;
    }
    return ctx->last_error;
}

hark_err
hark__ctx_error(hark_ctx *ctx, int code, const char *format, ...)
{
    struct last_error *last = ctx != NULL ? hark__ctx_last_error(ctx) : NULL;
    va_list args;

    if (last != NULL) {
        last->error = (hark_error){.code = code, .text = last->text};
        last->is_of_none = false;
        va_start(args, format);
        vsnprintf(last->text, sizeof last->text, format, args);
        va_end(args);
    }
    return (hark_err)code;
}

hark_err
hark_error_set(hark_ctx *ctx, int code, const char *format, ...)
{
    struct last_error *last = NULL;
    va_list args;

    if (ctx != NULL && format != NULL && code > 0) {
        last = hark__ctx_last_error(ctx);
    }
    if (last != NULL) {
        last->error = (hark_error){.code = code, .text = last->text};
        last->is_of_none = false;
        va_start(args, format);
        vsnprintf(last->text, sizeof last->text, format, args);
        va_end(args);
    }
    return (hark_err)code;
}

void
hark__ctx_error_is_of_none(hark_ctx *ctx)
{
    if (ctx != NULL && ctx->last_error != NULL && ctx->last_error != &no_room) {
        ctx->last_error->is_of_none = true;
    }
}

bool
hark__ctx_error_tells(hark_ctx *ctx, uint64_t id)
{
    int code = ctx != NULL ? hark_error_of(ctx)->code : HARK_OK;

    return id == 0
           && (code == HARK_ENOMEM || code == HARK_ELIMIT
               || (code != HARK_OK && ctx->last_error != NULL
                   && ctx->last_error->is_of_none));
}

hark_err
hark__ctx_error_value(hark_ctx *ctx, const char *call, const hark_type *type,
                      const void *value)
{
    hark_err err = hark__message_fault(type, value);

    return hark__ctx_error(ctx, err, "%s: %s: %s", call, type->name,
                           err == HARK_EINVAL
                               ? "a field has a length and a null pointer"
                               : hark_err_text(err));
}

const hark_error *
hark_error_of(hark_ctx *ctx)
{
    static const hark_error none = {.code = HARK_OK, .text = "success"};
    static const hark_error null_ctx = {.code = HARK_EINVAL,
                                        .text = "the ctx is a null pointer"};

    if (ctx == NULL) {
        return &null_ctx;
    }
    return ctx->last_error != NULL ? &ctx->last_error->error : &none;
}

void
hark__ctx_error_of(hark_ctx *ctx, const struct futures *futures,
                   const struct future *future)
{
    struct last_error *last = hark__ctx_last_error(ctx);
    hark_error error = hark__future_error(futures, future);

    if (last != NULL) {
        snprintf(last->text, sizeof last->text, "%s", error.text);
        error.text = last->text;
        last->error = error;
        last->is_of_none = false;
    }
}

void
hark__ctx_error_futures(hark_ctx *ctx, bool is_full)
{
    if (is_full) {
        hark__ctx_error(ctx, HARK_ELIMIT,
                        "too many open futures: the limit of one actor or thread is "
                        "%" PRIu32 " (hark_options.future_limit)",
                        ctx->node->limits.futures);
    } else {
        hark__ctx_error(ctx, HARK_ENOMEM, "no memory for a future");
    }
}

void
hark__ctx_error_about(hark_ctx *ctx, const struct futures *futures,
                      const struct future *future)
{
    struct last_error *last = hark__ctx_last_error(ctx);

    if (last != NULL) {
        int code = last->error.code;

        last->error = hark__future_error(futures, future);
        last->error.code = code;
        last->error.stage = HARK_STAGE_REPLY_LOST;
        last->error.text = last->text;
    }
}

// ---- printing ----

const char *
hark__called_here(struct node *node, uint64_t actor)
{
    struct slot *slot = hark__slot_at(&node->slots, (uint32_t)actor);
    uint32_t generation = (uint32_t)(actor >> 32);

    // acquire: pairs with birth's release; the behavior is that of this generation, or
    // of a later one, which only a dead ref can bring up. Behaviors are static.
    if (slot == NULL || !hark__generation_lives(generation)
        || atomic_load_explicit(&slot->generation, memory_order_acquire)
               != generation) {
        return NULL;
    }
    // relaxed: see above.
    const hark_behavior *behavior =
        atomic_load_explicit(&slot->behavior, memory_order_relaxed);
    return behavior != NULL ? behavior->name : "thread";
}

// The target that stands for another node's actors; NULL: ref is of this node, or
// nobody knows.
static struct target *
target_of(hark_ctx *ctx, hark_ref ref)
{
    return ctx != NULL && ref.node != 0 && ref.node != ctx->node->id
               ? hark__targets_find(&ctx->node->targets, ref.node)
               : NULL;
}

// NULL: it is not known. out: room for it.
static const char *
called(hark_ctx *ctx, hark_ref ref, char out[CALLED_SIZE])
{
    struct target *target = target_of(ctx, ref);

    if (target != NULL) {
        return target->call(target, ref, out) ? out : NULL;
    }
    return ctx != NULL && ref.node == ctx->node->id
               ? hark__called_here(ctx->node, ref.actor)
               : NULL;
}

size_t
hark_ref_print(hark_ctx *ctx, hark_ref ref, char *out, size_t size)
{
    char room[CALLED_SIZE];

    if (hark_ref_is_null(ref)) {
        return (size_t)snprintf(out, size, "nobody");
    }
    const char *name = called(ctx, ref, room);
    return (size_t)snprintf(out, size, "%s<%04" PRIx64 ".%" PRIu32 ".%" PRIu32 ">",
                            name != NULL ? name : "actor", ref.node >> 48,
                            (uint32_t)ref.actor, (uint32_t)(ref.actor >> 32));
}

void
hark__append_whom(hark_ctx *ctx, hark_ref ref, char *out, size_t size, size_t *used)
{
    const struct target *target = target_of(ctx, ref);
    char text[REF_TEXT];

    hark_ref_print(ctx, ref, text, sizeof text);
    hark__append(out, size, used, "%s", text);
    if (target != NULL) {
        hark__append(out, size, used, " of node %s", target->node_name);
    }
}

void
hark__append(char *out, size_t size, size_t *used, const char *format, ...)
{
    size_t at = *used < size ? *used : size;
    va_list args;

    va_start(args, format);
    int more = vsnprintf(size > 0 ? out + at : NULL, size - at, format, args);
    va_end(args);
    *used += more > 0 ? (size_t)more : 0;
}

size_t
hark__error_head(hark_ctx *ctx, const hark_error *error, bool with_site, char *out,
                 size_t size)
{
    size_t used = 0;

    if (error == NULL) {
        hark__append(out, size, &used, "no error");
        return used;
    }
    if (error->code >= HARK_EUSER) {
        hark__append(out, size, &used, "%d: %s", error->code, error->text);
    } else {
        hark__append(out, size, &used, "%s: %s", hark_err_name(error->code),
                     error->text);
    }
    if (error->type == NULL && error->site == NULL) {
        if (error->elapsed_ms > 0
            && strcmp(error->text, hark_err_text(error->code)) == 0) {
            hark__append(out, size, &used, " after %" PRIu32 " ms", error->elapsed_ms);
        }
        return used;
    }
    if (error->type != NULL || error->elapsed_ms != 0) { // else nobody took the time
        hark__append(out, size, &used, " after %" PRIu32 " ms", error->elapsed_ms);
    }
    if (error->type != NULL) {
        hark__append(out, size, &used, ": ask %s to ", error->type);
        hark__append_whom(ctx, error->target, out, size, &used);
    }
    if (with_site && error->site != NULL) {
        hark__append(out, size, &used, " at %s", error->site);
    }
    if (error->type != NULL || error->stage != HARK_STAGE_NOT_SENT) {
        hark__append(out, size, &used, ", stage: %s", hark_stage_name(error->stage));
    }
    return used;
}

size_t
hark_error_line(hark_ctx *ctx, const hark_error *error, char *out, size_t size)
{
    return hark__error_head(ctx, error, true, out, size);
}

// ---- the speaker ----

hark_ref
hark_self(const hark_ctx *ctx)
{
    return ctx != NULL ? ctx->self : (hark_ref){0, 0};
}

hark_ref
hark_sender(const hark_ctx *ctx)
{
    return ctx != NULL && ctx->message != NULL ? ctx->message->from : (hark_ref){0, 0};
}

hark_system *
hark_system_of(const hark_ctx *ctx)
{
    return ctx != NULL ? ctx->node->system : NULL;
}

hark_message *
hark_message_new(hark_ctx *ctx, const hark_type *type, const void *value)
{
    if (ctx == NULL || type == NULL || value == NULL) {
        hark__ctx_error(ctx, HARK_EINVAL, "hark_message_new: null argument");
        return NULL;
    }
    hark_message *message =
        hark__message_new_roomy(ctx_pool(ctx), type, value, MESSAGE_CHAIN_ROOM);
    if (message == NULL) {
        hark__ctx_error_value(ctx, "hark_message_new", type, value);
        return NULL;
    }
    message->flags = MESSAGE_ROOMY;
    return message;
}

void
hark_message_free(hark_ctx *ctx, hark_message *message)
{
    if (ctx != NULL && message != NULL) {
        hark__message_free(ctx_pool(ctx), message);
    }
}

hark_message *
hark_message_keep(hark_ctx *ctx)
{
    if (ctx == NULL || ctx->message == NULL || ctx->message->type == NULL) {
        return NULL;
    }
    // The block in hand still serves the mailbox's chain: so a copy.
    hark_message *copy = hark__message_new_roomy(ctx_pool(ctx), ctx->message->type,
                                                 ctx->message + 1, MESSAGE_CHAIN_ROOM);
    if (copy != NULL) {
        copy->flags = MESSAGE_ROOMY;
        copy->from = ctx->message->from;
    }
    return copy;
}
