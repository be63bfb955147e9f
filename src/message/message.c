#include "message/message.h"

#include "message/type.h"

const hark_type *
hark_message_type(const hark_message *message)
{
    return message->type;
}

const void *
hark_message_value(const hark_message *message)
{
    return message + 1;
}

const void *
hark_message_as(const hark_message *message, const hark_type *type)
{
    if (message == NULL) {
        return NULL;
    }
    if (message->type == type || hark_type_equal(message->type, type)) {
        return hark_message_value(message);
    }
    return NULL;
}

hark_ref
hark_message_sender(const hark_message *message)
{
    return message->from;
}

static void release_fields(const hark_type *type, const uint8_t *value);

static void
release_list(const hark_field *field, const hark_list *list)
{
    size_t stride = hark__kind_size(field->element, field->type);

    for (size_t i = 0; i < list->count; i++) {
        const uint8_t *item = (const uint8_t *)list->items + i * stride;

        if (field->element == HARK_KIND_bytes) {
            hark_buffer_release(((const hark_bytes *)item)->buffer);
        } else {
            release_fields(field->type, item);
        }
    }
}

static void
release_fields(const hark_type *type, const uint8_t *value)
{
    if (type->flat) {
        return;
    }
    for (uint16_t i = 0; i < type->count; i++) {
        const hark_field *field = &type->fields[i];
        const void *at = value + field->offset;

        if (field->kind == HARK_KIND_bytes) {
            hark_buffer_release(((const hark_bytes *)at)->buffer);
        } else if (field->kind == HARK_KIND_message) {
            release_fields(field->type, at);
        } else if (field->element == HARK_KIND_bytes
                   || field->element == HARK_KIND_message) {
            release_list(field, hark__list_at(at));
        }
    }
}

void
hark__message_release_buffers(struct hark_message *message)
{
    release_fields(message->type, hark__message_payload(message));
}
