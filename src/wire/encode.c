#include "message/type.h"
#include "wire/pack.h"
#include "wire/payload.h"

struct encoder {
    struct bytes *out;
    const struct ref_watch *watch;
    int depth;
    hark_err err; // the first one; but for memory, which `out` knows
};

// Nested values are calls, so that the common ones need no stack frame of theirs.
static __attribute__((noinline)) void
put_message(struct encoder *encoder, const hark_type *type, const uint8_t *value);
static __attribute__((noinline)) void
put_list(struct encoder *encoder, const hark_field *field, const hark_list *list);

static void
fail(struct encoder *encoder, hark_err err)
{
    encoder->err = encoder->err == HARK_OK ? err : encoder->err;
}

// False: so many bytes or items at data cannot be sent; noted.
static inline bool
is_sound(struct encoder *encoder, const void *data, size_t count)
{
    if (count <= UINT32_MAX && (data != NULL || count == 0)) {
        return true;
    }
    fail(encoder, data == NULL ? HARK_EINVAL : HARK_ETOOBIG);
    return false;
}

static void
put_str(struct encoder *encoder, const hark_str *str)
{
    uint8_t *at;

    if (is_sound(encoder, str->ptr, str->len)
        && (at = hark__bytes_open(encoder->out, str->len)) != NULL) {
        at = hark__pack_str_head(at, str->len);
        hark__bytes_close(encoder->out, hark__pack_body(at, str->ptr, str->len));
    }
}

static void
put_bytes(struct encoder *encoder, const hark_bytes *bytes)
{
    uint8_t *at;

    if (is_sound(encoder, bytes->ptr, bytes->len)
        && (at = hark__bytes_open(encoder->out, bytes->len)) != NULL) {
        at = hark__pack_bin_head(at, bytes->len);
        hark__bytes_close(encoder->out, hark__pack_body(at, bytes->ptr, bytes->len));
    }
}

static inline uint8_t *
pack_ref(struct encoder *encoder, uint8_t *at, hark_ref ref)
{
    if (encoder->watch != NULL && !hark_ref_is_null(ref)) {
        encoder->watch->on_ref(encoder->watch->arg, ref);
    }
    return hark__pack_ref(at, ref);
}

// A value whose size does not depend on its content. Gives the end of what is written.
static inline uint8_t *
pack_fixed(struct encoder *encoder, uint8_t kind, const void *value, uint8_t *at)
{
    switch (kind) {
    case HARK_KIND_bool:
        return hark__pack_bool(at, *(const bool *)value);
    case HARK_KIND_i8:
        return hark__pack_i64(at, *(const int8_t *)value);
    case HARK_KIND_i16:
        return hark__pack_i64(at, *(const int16_t *)value);
    case HARK_KIND_i32:
        return hark__pack_i64(at, *(const int32_t *)value);
    case HARK_KIND_i64:
        return hark__pack_i64(at, *(const int64_t *)value);
    case HARK_KIND_u8:
        return hark__pack_u64(at, *(const uint8_t *)value);
    case HARK_KIND_u16:
        return hark__pack_u64(at, *(const uint16_t *)value);
    case HARK_KIND_u32:
        return hark__pack_u64(at, *(const uint32_t *)value);
    case HARK_KIND_u64:
        return hark__pack_u64(at, *(const uint64_t *)value);
    case HARK_KIND_f32:
        return hark__pack_f32(at, *(const float *)value);
    case HARK_KIND_f64:
        return hark__pack_f64(at, *(const double *)value);
    default:
        return pack_ref(encoder, at, *(const hark_ref *)value);
    }
}

static inline void
put_fixed(struct encoder *encoder, uint8_t kind, const void *value)
{
    uint8_t *at = hark__bytes_open(encoder->out, 0);

    if (at != NULL) {
        hark__bytes_close(encoder->out, pack_fixed(encoder, kind, value, at));
    }
}

// One value of a field, or of its list.
static inline __attribute__((always_inline)) void
put_value(struct encoder *encoder, uint8_t kind, const hark_field *field,
          const void *value)
{
    switch (kind) {
    case HARK_KIND_str:
        put_str(encoder, value);
        break;
    case HARK_KIND_bytes:
        put_bytes(encoder, value);
        break;
    case HARK_KIND_message:
        put_message(encoder, field->type, value);
        break;
    case HARK_KIND_list:
        put_list(encoder, field, value);
        break;
    default:
        put_fixed(encoder, kind, value);
        break;
    }
}

// Opens an array. False: too deep.
static inline bool
open_array(struct encoder *encoder, size_t count)
{
    uint8_t *at = hark__bytes_open(encoder->out, 0);

    if (encoder->depth == PAYLOAD_DEPTH || at == NULL) {
        fail(encoder, HARK_ETOOBIG);
        return false;
    }
    encoder->depth++;
    hark__bytes_close(encoder->out, hark__pack_array_head(at, count));
    return true;
}

static void
put_list(struct encoder *encoder, const hark_field *field, const hark_list *list)
{
    size_t stride = hark__kind_size(field->element, field->type);

    if (!is_sound(encoder, list->items, list->count)
        || !open_array(encoder, list->count)) {
        return;
    }
    for (size_t i = 0; i < list->count && encoder->err == HARK_OK; i++) {
        put_value(encoder, field->element, field,
                  (const uint8_t *)list->items + i * stride);
    }
    encoder->depth--;
}

static inline void
put_fields(struct encoder *encoder, const hark_type *type, const uint8_t *value)
{
    if (!open_array(encoder, type->count)) {
        return;
    }
    for (uint16_t i = 0; i < type->count && encoder->err == HARK_OK; i++) {
        const hark_field *field = &type->fields[i];

        put_value(encoder, field->kind, field, value + field->offset);
    }
    encoder->depth--;
}

static void
put_message(struct encoder *encoder, const hark_type *type, const uint8_t *value)
{
    put_fields(encoder, type, value);
}

hark_err
hark__payload_encode(struct bytes *out, const hark_type *type, const void *value,
                     const struct ref_watch *watch)
{
    struct encoder encoder = {.out = out, .watch = watch};

    put_fields(&encoder, type, value);
    return out->failed ? HARK_ENOMEM : encoder.err;
}
