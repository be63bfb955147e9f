// The deep copy of a value into one block. The same walk runs twice: first with no
// block, to learn its size, then to fill it. So both cannot disagree.

#include "message/message.h"
#include "message/type.h"

#define LIST_ALIGN 8

// Hands out the block behind the struct, front to back.
struct arena {
    uint8_t *block; // NULL while measuring
    size_t used;
    int depth;
    bool has_buffers;
    hark_err err; // why it cannot be copied; only while measuring
};

// Gives size bytes; NULL while measuring, or after an error.
static void *
take(struct arena *arena, size_t size, size_t align)
{
    size_t start = (arena->used + align - 1) & ~(align - 1);

    if (arena->err != HARK_OK) {
        return NULL;
    }
    if (size > UINT32_MAX || start > UINT32_MAX - size) {
        arena->err = HARK_ETOOBIG;
        return NULL;
    }
    arena->used = start + size;
    return arena->block != NULL ? arena->block + start : NULL;
}

// False: so many elements of stride bytes at data cannot be; the error is set.
static bool
is_sound(struct arena *arena, const void *data, size_t count, size_t stride)
{
    if (count > 0 && data == NULL) {
        arena->err = HARK_EINVAL;
    } else if (count > (UINT32_MAX - 1) / stride) {
        arena->err = HARK_ETOOBIG;
    }
    return arena->err == HARK_OK;
}

static void
copy_str(struct arena *arena, const hark_str *from, hark_str *to)
{
    if (!is_sound(arena, from->ptr, from->len, 1)) {
        return;
    }

    char *text = from->len > 0 ? take(arena, from->len + 1, 1) : NULL;

    if (to == NULL) {
        return;
    }
    if (text != NULL) {
        memcpy(text, from->ptr, from->len);
        text[from->len] = '\0';
    }
    to->ptr = text != NULL ? text : "";
    to->len = from->len;
}

static void
copy_bytes(struct arena *arena, const hark_bytes *from, hark_bytes *to)
{
    if (from->buffer != NULL) {
        arena->has_buffers = true;
        if (to != NULL) {
            *to = *from;
            hark_buffer_retain(to->buffer);
        }
        return;
    }
    if (!is_sound(arena, from->ptr, from->len, 1)) {
        return;
    }

    void *data = from->len > 0 ? take(arena, from->len, 1) : NULL;

    if (to == NULL) {
        return;
    }
    if (data != NULL) {
        memcpy(data, from->ptr, from->len);
    }
    *to = (hark_bytes){.ptr = data != NULL ? data : "", .len = from->len};
}

static void copy_fields(struct arena *arena, const hark_type *type, const uint8_t *from,
                        uint8_t *to);

// One element of a list that points outside itself; its struct is copied already.
static void
copy_item(struct arena *arena, const hark_field *field, const void *from, void *to)
{
    switch (field->element) {
    case HARK_KIND_str:
        copy_str(arena, from, to);
        break;
    case HARK_KIND_bytes:
        copy_bytes(arena, from, to);
        break;
    default:
        copy_fields(arena, field->type, from, to);
        break;
    }
}

static bool
is_item_flat(const hark_field *field)
{
    return field->element == HARK_KIND_message ? field->type->flat
                                               : field->element < HARK_KIND_str;
}

static void
copy_list(struct arena *arena, const hark_field *field, const hark_list *from,
          hark_list *to)
{
    size_t stride = hark__kind_size(field->element, field->type);

    if (!is_sound(arena, from->items, from->count, stride)) {
        return;
    }

    size_t size = from->count * stride;
    uint8_t *items = size > 0 ? take(arena, size, LIST_ALIGN) : NULL;

    if (items != NULL) {
        memcpy(items, from->items, size);
    }
    if (to != NULL) {
        *to = (hark_list){.items = items, .count = from->count};
    }
    for (size_t i = 0; i < from->count && !is_item_flat(field) && arena->err == HARK_OK;
         i++) {
        copy_item(arena, field, (const uint8_t *)from->items + i * stride,
                  items != NULL ? items + i * stride : NULL);
    }
}

static void
copy_field(struct arena *arena, const hark_field *field, const void *from, void *to)
{
    switch (field->kind) {
    case HARK_KIND_str:
        copy_str(arena, from, to);
        break;
    case HARK_KIND_bytes:
        copy_bytes(arena, from, to);
        break;
    case HARK_KIND_message:
        copy_fields(arena, field->type, from, to);
        break;
    case HARK_KIND_list:
        copy_list(arena, field, from, to);
        break;
    default:
        break; // inside the struct
    }
}

// Replaces what points out of the struct at `to` by copies in the block. `to` holds the
// struct's own bytes already; NULL while measuring.
static void
copy_fields(struct arena *arena, const hark_type *type, const uint8_t *from,
            uint8_t *to)
{
    if (type->flat) {
        return;
    }
    if (arena->depth == MAX_DEPTH) {
        arena->err = HARK_ETOOBIG;
        return;
    }
    arena->depth++;
    for (uint16_t i = 0; i < type->count && arena->err == HARK_OK; i++) {
        const hark_field *field = &type->fields[i];

        copy_field(arena, field, from + field->offset,
                   to != NULL ? to + field->offset : NULL);
    }
    arena->depth--;
}

struct hark_message *
hark__message_copy(struct pool *pool, const hark_type *type, const void *value,
                   size_t room)
{
    struct arena arena = {.used = type->size};

    copy_fields(&arena, type, value, NULL);
    if (arena.err != HARK_OK) {
        return NULL;
    }

    struct hark_message *message =
        hark__message_alloc_roomy(pool, type, arena.used, room);

    if (message == NULL) {
        return NULL;
    }

    uint8_t *payload = hark__message_payload(message);

    message->has_buffers = arena.has_buffers;
    memcpy(payload, value, type->size);
    arena = (struct arena){.block = payload, .used = type->size};
    copy_fields(&arena, type, value, payload);
    return message;
}

hark_err
hark__message_fault(const hark_type *type, const void *value)
{
    struct arena arena = {.used = type->size};

    copy_fields(&arena, type, value, NULL);
    return arena.err != HARK_OK ? arena.err : HARK_ENOMEM;
}

struct hark_message *
hark__message_roomy(struct pool *pool, struct hark_message *message)
{
    struct hark_message *roomy =
        hark__message_new_roomy(pool, message->type, message + 1, MESSAGE_CHAIN_ROOM);

    if (roomy != NULL) {
        roomy->from = message->from;
        roomy->correlation = message->correlation;
        roomy->deadline_ns = message->deadline_ns;
        roomy->credits = message->credits;
        roomy->kind = message->kind;
        roomy->trace = message->trace;
        hark__message_free(pool, message);
    }
    return roomy;
}
