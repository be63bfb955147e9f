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

// Room behind `at` for `body` bytes and `values` more values. Gives `at`, or where that
// is now; NULL: no memory.
static inline uint8_t *
open_at(struct encoder *encoder, const uint8_t *at, size_t body, size_t values)
{
    struct bytes *out = encoder->out;

    hark__bytes_close(out, at);
    return hark__bytes_open(out, body + values * PACK_MOST);
}

// Gives the end of what is written, with room for `left` more values; NULL: an error.
static inline uint8_t *
pack_str(struct encoder *encoder, uint8_t *at, const hark_str *str, size_t left)
{
    if (!is_sound(encoder, str->ptr, str->len)
        || (at = open_at(encoder, at, str->len, left)) == NULL) {
        return NULL;
    }
    return hark__pack_body(hark__pack_str_head(at, str->len), str->ptr, str->len);
}

// As above.
static inline uint8_t *
pack_own_bytes(struct encoder *encoder, uint8_t *at, const hark_bytes *bytes,
               size_t left)
{
    if (!is_sound(encoder, bytes->ptr, bytes->len)
        || (at = open_at(encoder, at, bytes->len, left)) == NULL) {
        return NULL;
    }
    return hark__pack_body(hark__pack_bin_head(at, bytes->len), bytes->ptr, bytes->len);
}

// Those with a buffer may become a part.
static __attribute__((noinline)) uint8_t *
pack_buffer(struct encoder *encoder, uint8_t *at, const hark_bytes *bytes, size_t left)
{
    const struct ref_watch *watch = encoder->watch;
    uint16_t part;

    if (!is_sound(encoder, bytes->ptr, bytes->len)) {
        return NULL;
    }
    if (watch != NULL && watch->take_part != NULL
        && (part = watch->take_part(watch->arg, bytes)) != 0) {
        return hark__pack_part(at, part); // there is room for a value
    }
    return pack_own_bytes(encoder, at, bytes, left);
}

static inline uint8_t *
pack_bytes(struct encoder *encoder, uint8_t *at, const hark_bytes *bytes, size_t left)
{
    return bytes->buffer != NULL ? pack_buffer(encoder, at, bytes, left)
                                 : pack_own_bytes(encoder, at, bytes, left);
}

static __attribute__((noinline)) uint8_t *
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

// One value of a field, or of its list, for which there is room at `at`. Gives its end,
// with room for `left` more; NULL: an error.
static inline __attribute__((always_inline)) uint8_t *
pack_value(struct encoder *encoder, uint8_t kind, const hark_field *field,
           const void *value, uint8_t *at, size_t left)
{
    switch (kind) {
    case HARK_KIND_str:
        return pack_str(encoder, at, value, left);
    case HARK_KIND_bytes:
        return pack_bytes(encoder, at, value, left);
    case HARK_KIND_message:
        hark__bytes_close(encoder->out, at);
        put_message(encoder, field->type, value);
        break;
    case HARK_KIND_list:
        hark__bytes_close(encoder->out, at);
        put_list(encoder, field, value);
        break;
    default:
        return pack_fixed(encoder, kind, value, at);
    }
    return encoder->err == HARK_OK ? hark__bytes_open(encoder->out, left * PACK_MOST)
                                   : NULL;
}

// Opens an array, with room for `values` of its values. NULL: an error.
static inline uint8_t *
open_array(struct encoder *encoder, size_t count, size_t values)
{
    uint8_t *at = hark__bytes_open(encoder->out, values * PACK_MOST);

    if (encoder->depth == PAYLOAD_DEPTH || at == NULL) {
        fail(encoder, HARK_ETOOBIG);
        return NULL;
    }
    encoder->depth++;
    return hark__pack_array_head(at, count);
}

static inline void
close_array(struct encoder *encoder, const uint8_t *at)
{
    encoder->depth--;
    hark__bytes_close(encoder->out, at);
}

static void
put_list(struct encoder *encoder, const hark_field *field, const hark_list *list)
{
    size_t stride = hark__kind_size(field->element, field->type);
    const uint8_t *item = list->items;
    uint8_t *at;

    if (!is_sound(encoder, list->items, list->count)
        || (at = open_array(encoder, list->count, 1)) == NULL) {
        return;
    }
    for (size_t i = 0; i < list->count; i++, item += stride) {
        // Room for one more, and not for all: they may be many, and small.
        at = open_at(encoder, at, 0, 1);
        if (at == NULL
            || (at = pack_value(encoder, field->element, field, item, at, 1)) == NULL) {
            return;
        }
    }
    close_array(encoder, at);
}

static inline void
put_fields(struct encoder *encoder, const hark_type *type, const uint8_t *value)
{
    const hark_field *field = type->fields;
    size_t left = type->count;
    uint8_t *at = open_array(encoder, left, left);

    for (; left > 0 && at != NULL; field++) {
        left--;
        at = pack_value(encoder, field->kind, field, value + field->offset, at, left);
    }
    if (at != NULL) {
        close_array(encoder, at);
    }
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
