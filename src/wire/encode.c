#include "message/type.h"
#include "wire/payload.h"

struct encoder {
    struct bytes *out;
    const struct ref_watch *watch;
    int depth;
    bool is_too_big;
    bool is_unsound; // a length with a null pointer
};

static void put_message(struct encoder *encoder, const hark_type *type,
                        const uint8_t *value);
static void put_list(struct encoder *encoder, const hark_field *field,
                     const hark_list *list);

static void
put_ref(struct encoder *encoder, hark_ref ref)
{
    if (encoder->watch != NULL && !hark_ref_is_null(ref)) {
        encoder->watch->on_ref(encoder->watch->arg, ref);
    }
    hark__bytes_put_ref(encoder->out, ref);
}

// False: so many bytes or items at data cannot be sent; noted.
static bool
is_sound(struct encoder *encoder, const void *data, size_t count)
{
    encoder->is_too_big = encoder->is_too_big || count > UINT32_MAX;
    encoder->is_unsound = encoder->is_unsound || (data == NULL && count > 0);
    return count <= UINT32_MAX && (data != NULL || count == 0);
}

static void
put_str(struct encoder *encoder, const hark_str *str)
{
    if (!is_sound(encoder, str->ptr, str->len)) {
        return;
    }
    hark__bytes_put_str(encoder->out, *str);
}

static void
put_bytes(struct encoder *encoder, const hark_bytes *bytes)
{
    if (!is_sound(encoder, bytes->ptr, bytes->len)) {
        return;
    }
    hark__bytes_put_bin(encoder->out, bytes->ptr, bytes->len);
}

// One value of a field, or of its list; one arm a kind.
static void
put_value(struct encoder *encoder, uint8_t kind, const hark_field *field,
          const void *at)
{
    struct bytes *out = encoder->out;

    switch (kind) {
    case HARK_KIND_bool:
        hark__bytes_put_bool(out, *(const bool *)at);
        break;
    case HARK_KIND_i8:
        hark__bytes_put_i64(out, *(const int8_t *)at);
        break;
    case HARK_KIND_i16:
        hark__bytes_put_i64(out, *(const int16_t *)at);
        break;
    case HARK_KIND_i32:
        hark__bytes_put_i64(out, *(const int32_t *)at);
        break;
    case HARK_KIND_i64:
        hark__bytes_put_i64(out, *(const int64_t *)at);
        break;
    case HARK_KIND_u8:
        hark__bytes_put_u64(out, *(const uint8_t *)at);
        break;
    case HARK_KIND_u16:
        hark__bytes_put_u64(out, *(const uint16_t *)at);
        break;
    case HARK_KIND_u32:
        hark__bytes_put_u64(out, *(const uint32_t *)at);
        break;
    case HARK_KIND_u64:
        hark__bytes_put_u64(out, *(const uint64_t *)at);
        break;
    case HARK_KIND_f32:
        hark__bytes_put_f32(out, *(const float *)at);
        break;
    case HARK_KIND_f64:
        hark__bytes_put_f64(out, *(const double *)at);
        break;
    case HARK_KIND_ref:
        put_ref(encoder, *(const hark_ref *)at);
        break;
    case HARK_KIND_str:
        put_str(encoder, at);
        break;
    case HARK_KIND_bytes:
        put_bytes(encoder, at);
        break;
    case HARK_KIND_message:
        put_message(encoder, field->type, at);
        break;
    default:
        put_list(encoder, field, at);
        break;
    }
}

// Opens an array. False: too deep, or too long.
static bool
open_array(struct encoder *encoder, size_t count)
{
    if (encoder->depth == PAYLOAD_DEPTH || count > UINT32_MAX) {
        encoder->is_too_big = true;
        return false;
    }
    encoder->depth++;
    hark__bytes_put_array(encoder->out, count);
    return true;
}

static bool
is_going_well(const struct encoder *encoder)
{
    return !encoder->is_too_big && !encoder->is_unsound && !encoder->out->failed;
}

static void
put_list(struct encoder *encoder, const hark_field *field, const hark_list *list)
{
    size_t stride = hark__kind_size(field->element, field->type);

    if (!is_sound(encoder, list->items, list->count)
        || !open_array(encoder, list->count)) {
        return;
    }
    for (size_t i = 0; i < list->count && is_going_well(encoder); i++) {
        put_value(encoder, field->element, field,
                  (const uint8_t *)list->items + i * stride);
    }
    encoder->depth--;
}

static void
put_message(struct encoder *encoder, const hark_type *type, const uint8_t *value)
{
    if (!open_array(encoder, type->count)) {
        return;
    }
    for (uint16_t i = 0; i < type->count && is_going_well(encoder); i++) {
        const hark_field *field = &type->fields[i];

        put_value(encoder, field->kind, field, value + field->offset);
    }
    encoder->depth--;
}

hark_err
hark__payload_encode(struct bytes *out, const hark_type *type, const void *value,
                     const struct ref_watch *watch)
{
    struct encoder encoder = {.out = out, .watch = watch};

    put_message(&encoder, type, value);
    if (encoder.is_unsound) {
        return HARK_EINVAL;
    }
    if (encoder.is_too_big) {
        return HARK_ETOOBIG;
    }
    return out->failed ? HARK_ENOMEM : HARK_OK;
}
